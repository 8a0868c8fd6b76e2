"""The error tree. Classes are chosen by what the caller does next; fields, not prose, carry the facts.

    ScrubjayError
    +-- Invalid       fix the call (wrong usage, bad input)                         exit 64
    +-- Conflict      a condition failed, the name is taken                         exit 4
    +-- Unavailable   nothing is wrong with the call: retry later                   exit 1
    |   +-- NotLeader     ask the leader; `hint` names the node last known to lead
    |   +-- DiskFull      the disk refuses growth; reads go on
    |   +-- Exhausted     the machine has no more memory, descriptors or processes
    |   +-- NoKey         the keys at hand do not fit what lies there: `key_id`; says nothing about the data
    +-- Fenced        stop: someone newer owns this                                 exit 4
    +-- Missing       something that must exist is not there: `what`, `lsn`         exit 2
    +-- Corrupt       never retry: quarantine, keep the evidence                    exit 2
    +-- Unsafe        refused: it would break a promise                             exit 4
    +-- Exists        create-once met an object that is already there               exit 4
    +-- Internal      our bug                                                       exit 1

Bytes from a disk, the network or a store never meet `assert`: they raise these. Only `base.wrap.retry` retries.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

UNREADABLE: Final = "unreadable"
HOLE: Final = "hole"
FORGED: Final = "forged"
"""Kinds of fault (INTERFACE section 3): bytes that fail a checksum or a format; not there; sound bytes that do not belong there, or do not follow."""


NO_KEY: Final = "no_key"
"""Said beside the kinds of fault, and none of them: an object that the keys at hand do not open. Whoever tells of faults tells of it apart: it is no finding."""


class ScrubjayError(Exception):
    """Root of the tree. `code` is the stable word shown in JSON answers; `exit_code` is the process exit code it maps to."""

    code: ClassVar[str] = "Internal"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, /, **fields: Any) -> None:
        super().__init__(message)
        self.message = message
        self.fields: dict[str, Any] = fields

    def __str__(self) -> str:
        """One line for a log or a note: the facts in brackets, and what to do next, where that is known, behind them."""
        facts = ", ".join(f"{name}={value}" for name, value in self.fields.items() if name != "next")
        said = f"{self.message} ({facts})" if facts else self.message
        step = self.fields.get("next")
        return said if step is None else f"{said}; {step}"


class Invalid(ScrubjayError):
    """The call itself is wrong; the same call will always fail."""

    code = "Invalid"
    exit_code = 64


class Conflict(ScrubjayError):
    """A condition failed or a name is taken."""

    code = "Conflict"
    exit_code = 4


class Unavailable(ScrubjayError):
    """Could not be done now; nothing is known to be wrong with the call. Retry later."""

    code = "Unavailable"
    exit_code = 1


class NotLeader(Unavailable):
    """This replica does not lead (any more). `hint`: node name last known to lead, or None."""

    code = "NotLeader"


class DiskFull(Unavailable):
    """The disk has no room for the write."""

    code = "DiskFull"


class Exhausted(Unavailable):
    """The machine has no more memory, descriptors, processes or locks. Says nothing about data; nothing of it is kept."""

    code = "Exhausted"


class NoKey(Unavailable):
    """The keys at hand do not open it: one is lost or another, or it was never sealed. Says nothing about the data, and trying again does not help. Field: `key_id`."""

    code = "NoKey"
    kind: ClassVar[str] = NO_KEY


class Fenced(ScrubjayError):
    """Someone newer owns what this process was writing. Stop."""

    code = "Fenced"
    exit_code = 4


class Missing(ScrubjayError):
    """A thing that must exist is not there. Fields: `what`, and `lsn` for a hole in a log, and `kind` where it is not a hole."""

    code = "Missing"
    exit_code = 2

    @property
    def kind(self) -> str:
        """Of the fault, as a finding about it says: a hole; or no_key, where whoever raised it knew that it lies there under a key that is not at hand."""
        return NO_KEY if self.fields.get("kind") == NO_KEY else HOLE


class Corrupt(ScrubjayError):
    """Bytes failed a check. Never retried. Fields: `what`, `where`, `expected`, `found` as known, and `kind` where it is not `unreadable`."""

    code = "Corrupt"
    exit_code = 2

    @property
    def kind(self) -> str:
        """Of the fault, as a finding about it says: unreadable (the bytes fail a checksum or a format) unless whoever raised it knew better."""
        return FORGED if self.fields.get("kind") == FORGED else UNREADABLE


class Unsafe(ScrubjayError):
    """Refused, because a promise would break."""

    code = "Unsafe"
    exit_code = 4


class Exists(ScrubjayError):
    """Create-once met an object that is already there. Field: `key`."""

    code = "Exists"
    exit_code = 4


class Internal(ScrubjayError):
    """A broken invariant of ours."""

    code = "Internal"


_BY_CODE: dict[str, type[ScrubjayError]] = {
    kind.code: kind
    for kind in (Invalid, Conflict, Unavailable, NotLeader, DiskFull, Exhausted, NoKey, Fenced, Missing, Corrupt, Unsafe, Exists, Internal)
}


def from_code(code: str, message: str, fields: dict[str, Any]) -> ScrubjayError:
    """The error that another process said as code, message and fields. A code this version does not know is an Internal that names it as `code`."""
    kind = _BY_CODE.get(code)
    error = Internal(message) if kind is None else kind(message)
    error.fields = dict(fields) if kind is not None else {**fields, "code": code}
    return error
