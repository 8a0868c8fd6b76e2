"""What a replica keeps of its log though it needs it no more, for a member that was away ([ADR 0068](../../docs/adr/0068-log-for-who-was-away.md)). Pure."""

from __future__ import annotations

from collections import deque

from scrubjay.base.ids import Lsn


class KeptLog:
    """keep_us: for how long after the tree has taken a record in; 0: nothing is kept. Times on the boot clock."""

    __slots__ = ("_durable", "_keep_us")

    def __init__(self, keep_us: int) -> None:
        self._keep_us = keep_us
        self._durable: deque[tuple[int, Lsn]] = deque([(0, Lsn(0))])
        """When the tree was durable where, rising: for the first entry the time is over, for the others it is not."""

    def restart(self, applied: Lsn, now_us: int) -> None:
        """The tree begins at `applied`: what the log holds below that counts as taken in now."""
        self._durable = deque([(0, Lsn(0)), (now_us, applied)] if self._keep_us else [(0, applied)])

    def took(self, applied: Lsn, now_us: int) -> None:
        """The tree is durable at `applied`."""
        self._durable.append((now_us, applied))

    def first(self, now_us: int, *, room: bool) -> int:
        """The lowest LSN that is kept. room: without it, that is none that the tree has."""
        while len(self._durable) > 1 and self._durable[1][0] <= now_us - self._keep_us:
            self._durable.popleft()
        return self._durable[0 if room else -1][1] + 1

    def deadline(self) -> int | None:
        """Boot time at which the next of what is kept may go, None: nothing is."""
        return self._durable[1][0] + self._keep_us if len(self._durable) > 1 else None
