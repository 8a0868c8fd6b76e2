"""What clients did and saw: the input of every history checker."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

FOREVER = 1 << 62
"""End of an operation that was never answered: it may take effect at any later time, or never."""


class Kind(Enum):
    """WRITE sets a value. READ returns one (None: absent). CAS sets `value` if the present one equals `expected`; ok says whether it did.

    WEAK is a read that may be late: bound to the LSN that it names, not to time; only the witness judges it.
    """

    WRITE = "write"
    READ = "read"
    CAS = "cas"
    WEAK = "weak"


@dataclass(frozen=True, slots=True)
class HistoryOperation:
    """One operation of one client on one key. Times are true microseconds.

    start, end: call and answer; FOREVER if no answer came (effect unknown). value: written, or read. ok: for CAS, None if unknown.
    lsn: what the answer named: the commit LSN, or the LSN that a read or a refused CAS was served at; None if there was no answer.
    Operations that certainly had no effect are left out of a history.
    """

    id: int
    client: int
    key: int
    kind: Kind
    start: int
    end: int
    value: int | None = None
    expected: int | None = None
    ok: bool | None = None
    lsn: int | None = None

    @property
    def answered(self) -> bool:
        return self.end < FOREVER
