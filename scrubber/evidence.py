"""What the judging of a scrub is about: copies as they were scanned, what is wrong with them, and the words for it. Values only."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

from scrubjay.base.ids import Lsn
from scrubjay.storage.log.digest import RangeDigest

ARCHIVE: Final = "archive"
"""The name under which the reference, and any fault of the archive, is reported."""

SUSPECT: Final = "suspect"
"""Detail of the finding about a suspect copy in which nothing else was found."""

ABSENT: Final = -1
UNREADABLE: Final = -2
"""Values a copy may hold at a key beside a row hash (which is never negative)."""


class DifferenceKind(StrEnum):
    """What is wrong with a copy at a key."""

    DIFFERENT = "different"
    LACKING = "lacking"
    EXTRA = "extra"
    UNREADABLE = "unreadable"


class Ruling(StrEnum):
    """Who is wrong. COPY: outvoted by the reference and another copy. ARCHIVE: all copies agree against it. UNDECIDED: no majority. PEERS: outvoted
    by other copies while there is no reference, so nothing may be healed on it."""

    COPY = "copy"
    ARCHIVE = "archive"
    UNDECIDED = "no_majority"
    PEERS = "peers"


class Side(NamedTuple):
    """One storage copy as scanned from its bytes. bad: keys, as found, of rows that failed. structure: faults of the tree that are not a row's.

    suspect: rot was found in it before; it is wrong whatever this scan says.
    """

    copy: str
    digest: RangeDigest
    bad: tuple[bytes, ...] = ()
    structure: tuple[str, ...] = ()
    suspect: bool = False


class Absentee(NamedTuple):
    """A copy that could not be scanned. rotten: it is known to be bad (unreadable, suspect), not merely out of reach."""

    copy: str
    kind: str
    reason: str
    rotten: bool = False


class Difference(NamedTuple):
    """One copy that is wrong, or may be, at one key. key None: the tree as a whole. lsn: of the record that made the row, None if unknown."""

    kind: DifferenceKind
    copy: str
    key: bytes | None
    lsn: Lsn | None
    ruling: Ruling
    detail: str = ""
