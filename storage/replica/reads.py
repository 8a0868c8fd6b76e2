"""How a replica answers reads: once applied far enough, by whoever may serve them, checked again after the read and before the answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from scrubjay.base.errors import Corrupt, ScrubjayError, Unavailable
from scrubjay.base.ids import Lsn
from scrubjay.storage.btree.engine import Tree
from scrubjay.storage.commands.values import RangeAnswer, RangeRead, ReadAnswer
from scrubjay.storage.replica.host import Hosted, ReplicaHost
from scrubjay.storage.replica.overlay import Overlay


class Reading(Hosted, Protocol):
    """What this part asks of its replica."""

    node: ReplicaHost
    lo: bytes
    hi: bytes | None
    overlay: Overlay
    tree: Tree | None

    @property
    def applied(self) -> Lsn: ...

    def find(self, key: bytes) -> bytes | None:
        """The applied version of a key, proven. Raises Corrupt, Unavailable."""
        ...

    def serves(self, *, consistent: bool) -> ScrubjayError | None:
        """None if a read may be answered now, else why not."""
        ...

    def found_rot(self, error: Corrupt, *, found_by: str) -> None: ...


class _Waiter(NamedTuple):
    """lsn: answer once applied this far. until_us: boot time at which it has waited long enough."""

    lsn: Lsn
    until_us: int
    answer: Callable[[ScrubjayError | None], None]


class Reads:
    """The reads of one replica, those that wait included (bounded in number and time)."""

    def __init__(self, replica: Reading) -> None:
        self._replica = replica
        self._waiting: list[_Waiter] = []

    def one(self, key: bytes, *, consistent: bool, min_lsn: Lsn, done: Callable[[ReadAnswer | ScrubjayError], None]) -> None:
        """min_lsn: answer only once applied that far (a read that another replica could not answer for rot)."""
        replica = self._replica

        def answer(error: ScrubjayError | None) -> None:
            refusal = error or replica.serves(consistent=consistent)
            if refusal is not None:
                done(refusal)
                return
            applied = replica.applied
            try:
                item = replica.find(key)
            except Corrupt as rot:
                replica.found_rot(rot, found_by="read")
                done(Corrupt("rot found while reading", what="row", key=key, applied=applied))
                return
            except Unavailable as lack:
                done(lack)
                return
            late = replica.serves(consistent=consistent)
            done(late if late is not None else ReadAnswer(item, replica.partition, applied))

        self._when_applied(min_lsn, answer)

    def range(self, request: RangeRead, *, min_lsn: Lsn, done: Callable[[RangeAnswer | ScrubjayError], None]) -> None:
        """As `one`, for a range. The answer is at one applied LSN."""
        replica = self._replica

        def answer(error: ScrubjayError | None) -> None:
            refusal = error or replica.serves(consistent=request.consistent)
            if refusal is not None:
                done(refusal)
                return
            applied = replica.applied
            try:
                rows, more = self._collect(request)
            except Corrupt as rot:
                replica.found_rot(rot, found_by="read")
                done(Corrupt("rot found while reading", what="row", applied=applied))
                return
            except Unavailable as lack:
                done(lack)
                return
            late = replica.serves(consistent=request.consistent)
            done(late if late is not None else RangeAnswer(rows, more, replica.partition, applied))

        self._when_applied(min_lsn, answer)

    def _collect(self, request: RangeRead) -> tuple[list[tuple[bytes, bytes]], bool]:
        replica = self._replica
        tree = replica.tree
        assert tree is not None
        rows: list[tuple[bytes, bytes]] = []
        size = 0
        start = max(request.start, replica.lo)
        end = request.end if replica.hi is None else (replica.hi if request.end is None else min(request.end, replica.hi))
        if end is not None and start >= end:
            return rows, False
        for key, item in replica.overlay.merged(tree, start, end, reverse=request.reverse):
            if len(rows) >= request.limit or size >= request.max_bytes:
                return rows, True
            rows.append((key, item))
            size += len(item)
        return rows, False

    def _when_applied(self, lsn: Lsn, answer: Callable[[ScrubjayError | None], None]) -> None:
        replica = self._replica
        if replica.applied >= lsn:
            answer(None)
        elif len(self._waiting) >= replica.node.options.reads_waiting_max:
            answer(Unavailable("too many reads wait for this replica", partition=replica.partition))
        else:
            self._waiting.append(_Waiter(lsn, replica.node.boot_us() + replica.node.options.read_wait_us, answer))
            replica.node.arm(replica)

    # ------------------------------------------------------------------ those that wait

    def applied(self) -> None:
        """The replica applied further: answer whoever waited for that."""
        if not self._waiting:
            return
        applied = self._replica.applied
        ready = [waiter for waiter in self._waiting if waiter.lsn <= applied]
        if ready:
            self._waiting = [waiter for waiter in self._waiting if waiter.lsn > applied]
            for waiter in ready:
                waiter.answer(None)

    def deadline(self) -> int | None:
        return min((waiter.until_us for waiter in self._waiting), default=None)

    def expire(self, now_us: int) -> None:
        expired = [waiter for waiter in self._waiting if waiter.until_us <= now_us]
        if expired:
            self._waiting = [waiter for waiter in self._waiting if waiter.until_us > now_us]
            for waiter in expired:
                waiter.answer(
                    Unavailable("replica has not applied far enough", partition=self._replica.partition, applied=self._replica.applied)
                )

    def end(self, error: ScrubjayError) -> None:
        """Nobody is served here any more."""
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.answer(error)
