"""What is wrong with an object of the archive, as one value, whoever met it. Pure. The kind comes with the error (`base.errors`): nobody reads its words."""

from __future__ import annotations

from typing import NamedTuple

from scrubjay.archiver.format.layout import parse
from scrubjay.base.errors import Corrupt, Missing, NoKey


class Fault(NamedTuple):
    """kind: unreadable | hole | forged (base.errors); or no_key, which is no fault: whether it is one nobody can tell without that key. object: its key, "" if unknown (of a lost one: as much of it as can be known). lsn: the first record
    that cannot be had because of it, None if unknown. last: the last one, None if it is not a range of the log."""

    kind: str
    object: str
    lsn: int | None
    detail: str
    last: int | None = None


def object_of(error: Missing | Corrupt | NoKey) -> str | None:
    """Key of the object that an error names, in `where` or else in `what` or `object`; None if it names none."""
    for name in ("where", "what", "object"):
        said = error.fields.get(name)
        if isinstance(said, str) and parse(said) is not None:
            return said
    return None


def fault_of(error: Missing | Corrupt | NoKey, *, where: str = "", lsn: int | None = None) -> Fault:
    """What an error from reading says about the archive. where, lsn: of what was being read, for what the error itself does not name."""
    return Fault(error.kind, object_of(error) or where, error.fields.get("lsn", lsn), said_of(error))


def said_of(error: Missing | Corrupt | NoKey) -> str:
    """In words. Of a key that is lost the same for every object under it."""
    return error.message if isinstance(error, NoKey) else str(error)
