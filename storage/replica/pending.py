"""What a leader has proposed that is not applied yet: speculative state, answers that wait, content not yet closed.

Pure. Conditions are evaluated against the speculative state (applied plus proposed), so writers of one key pipeline without latches. Every answer waits:
a write for its record to be applied, an answer that proposed nothing for the last LSN proposed when it was evaluated. All of it is dropped when
leadership ends; what waited is told to retry, and whether its record was proposed (then the outcome is unknown).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from scrubjay.base.errors import NotLeader, ScrubjayError, Unavailable
from scrubjay.base.ids import Lsn, Stamp


class Waiting(NamedTuple):
    """answer(None): applied up to lsn. answer(error): leadership ended, or it took until `until_us` (boot time). proposed: a record of this request may
    yet be chosen."""

    lsn: Lsn
    proposed: bool
    until_us: int
    answer: Callable[[ScrubjayError | None], None]


class Pending:
    """speculative: per key, the LSN that writes it last and its item then (None: deleted). content: stamp and LSN of content records proposed, rising."""

    def __init__(self) -> None:
        self.speculative: dict[bytes, tuple[Lsn, bytes | None]] = {}
        self.waiting: deque[Waiting] = deque()
        self.content: deque[tuple[Stamp, Lsn]] = deque()
        self.closed_content: Lsn = Lsn(0)

    def written_by(self, key: bytes) -> Lsn | None:
        """LSN of the record proposed that writes a key last, None if none does."""
        entry = self.speculative.get(key)
        return None if entry is None else entry[0]

    def wait(self, lsn: Lsn, answer: Callable[[ScrubjayError | None], None], *, proposed: bool, until_us: int) -> None:
        """lsn, until_us: never below those of the answer queued before (all only rise)."""
        assert not self.waiting or self.waiting[-1].lsn <= lsn
        self.waiting.append(Waiting(lsn, proposed, until_us, answer))

    def deadline(self) -> int | None:
        """When the oldest answer has waited long enough."""
        return self.waiting[0].until_us if self.waiting else None

    def expire(self, now_us: int) -> None:
        """A quorum that cannot write (two disks full, two nodes gone) must not keep its clients for ever: say that the outcome is unknown."""
        while self.waiting and self.waiting[0].until_us <= now_us:
            entry = self.waiting.popleft()
            if entry.proposed:
                entry.answer(Unavailable("no quorum has written this in time; it may or may not happen yet", unknown=True))
            else:
                entry.answer(Unavailable("what this answer rests on was not written in time"))

    def applied(self, key: bytes, lsn: Lsn) -> None:
        """The effect of `lsn` on `key` is applied: it is speculative no more, unless a later one is."""
        entry = self.speculative.get(key)
        if entry is not None and entry[0] <= lsn:
            del self.speculative[key]

    def answer_to(self, applied: Lsn) -> None:
        """Give every answer that waited for an LSN up to `applied`."""
        waiting = self.waiting
        while waiting and waiting[0].lsn <= applied:
            waiting.popleft().answer(None)

    def last_content_at(self, closed: Stamp, *, before: Lsn) -> Lsn:
        """The last content LSN with a stamp <= closed. before: last content LSN when this leadership began. Forgets what lies below."""
        while self.content and self.content[0][0] <= closed:
            self.closed_content = self.content.popleft()[1]
        return max(self.closed_content, before)

    def end(self) -> None:
        """Leadership is over: tell all who wait."""
        waiting, self.waiting = self.waiting, deque()
        for entry in waiting:
            if entry.proposed:
                entry.answer(Unavailable("leadership ended before the answer; the write may or may not have happened", unknown=True))
            else:
                entry.answer(NotLeader("leadership ended before the answer"))
