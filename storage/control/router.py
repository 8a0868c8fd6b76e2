"""The request router: finds the partition and its leader, retries what may be retried, and turns to another replica where one found rot.

Holds no data. A node wrongly asked answers NotLeader with a hint; the router remembers who answered last. What was proposed and whose outcome is
unknown is never retried here: the caller must see that.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Generic, TypeVar

from scrubjay.base.env import Env
from scrubjay.base.errors import Corrupt, DiskFull, NotLeader, ScrubjayError, Unavailable
from scrubjay.base.ids import Lsn, NodeName, PartitionId
from scrubjay.storage.catalogue import PartitionInfo, TableMeta
from scrubjay.storage.commands.values import RangeAnswer, RangeRead, ReadAnswer, WriteAnswer, WriteCommand
from scrubjay.storage.node.port import Done, NodePort

A = TypeVar("A")

GIVE_UP_US = 10_000_000
"""How long a request is retried while no replica answers for its partition."""
_FIRST_PAUSE_S = 0.005
_PAUSE_MAX_S = 0.1


class Router:
    """nodes: every storage node by name, in the order reads are spread over them."""

    def __init__(self, env: Env, nodes: Mapping[NodeName, NodePort]) -> None:
        self.env = env
        self.nodes = dict(nodes)
        self.names = list(self.nodes)
        self.leaders: dict[PartitionId, NodeName] = {}
        self._acknowledged: dict[PartitionId, Lsn] = {}
        """Of the last write answered through this router: eventually consistent reads go, where they can, to a replica that has applied it."""
        self._bounds: dict[str, tuple[int, list[str]]] = {}
        self._turn = 0
        self.closed = False
        """No write is sent on any more, or tried again: this process stops. Reads go on."""

    def partition_of(self, table: TableMeta, key: bytes) -> PartitionInfo:
        """The partition whose range holds a storage key."""
        partitions = table.partitions
        if len(partitions) == 1:
            return partitions[0]
        cached = self._bounds.get(table.table_id)
        if cached is None or cached[0] != table.version:
            cached = (table.version, [info.lo for info in partitions])
            self._bounds[table.table_id] = cached
        return partitions[bisect.bisect_right(cached[1], key[:16].hex()) - 1]

    def leader(self, partition: PartitionId) -> NodeName | None:
        """Who last answered as leader."""
        return self.leaders.get(partition)

    def write(self, table: TableMeta, command: WriteCommand, done: Done[WriteAnswer]) -> None:
        partition = self.partition_of(table, command.key).partition_id

        def acknowledged(answer: WriteAnswer | ScrubjayError) -> None:
            if isinstance(answer, WriteAnswer) and answer.lsn > self._acknowledged.get(partition, 0):
                self._acknowledged[partition] = Lsn(answer.lsn)
            done(answer)

        if self.closed:
            done(stopping())
            return
        self._ask_leader(partition, lambda node, answer: node.write(partition, command, answer), acknowledged, write=True)

    def read(self, table: TableMeta, key: bytes, *, consistent: bool, done: Done[ReadAnswer]) -> None:
        partition = self.partition_of(table, key).partition_id

        def ask(node: NodePort, answer: Done[ReadAnswer], *, strong: bool, min_lsn: Lsn) -> None:
            node.read(partition, key, consistent=strong, min_lsn=min_lsn, done=answer)

        self._read(partition, ask, done, consistent=consistent)

    def read_range(self, partition: PartitionId, request: RangeRead, done: Done[RangeAnswer]) -> None:
        weak = replace(request, consistent=False)

        def ask(node: NodePort, answer: Done[RangeAnswer], *, strong: bool, min_lsn: Lsn) -> None:
            node.read_range(partition, request if strong else weak, min_lsn=min_lsn, done=answer)

        self._read(partition, ask, done, consistent=request.consistent)

    # ------------------------------------------------------------------

    def _read(self, partition: PartitionId, ask: Callable[..., None], done: Done[A], *, consistent: bool) -> None:
        if consistent:
            first: NodeName | None = None

            def answered(answer: A | ScrubjayError) -> None:
                if isinstance(answer, Corrupt):
                    # the leader applied this far with its lease held: any replica that has applied as much answers the same question
                    applied = Lsn(int(answer.fields.get("applied", 0)))
                    self._ask_others(partition, ask, done, min_lsn=applied, without=first)
                else:
                    done(answer)

            def to_leader(node: NodePort, answer: Done[A]) -> None:
                nonlocal first
                first = node.name
                ask(node, answer, strong=True, min_lsn=Lsn(0))

            self._ask_leader(partition, to_leader, answered)
        else:
            self._ask_others(partition, ask, done, min_lsn=Lsn(0), without=None)

    def _ask_others(
        self, partition: PartitionId, ask: Callable[..., None], done: Done[A], *, min_lsn: Lsn, without: NodeName | None
    ) -> None:
        """Ask replicas in turn, whoever serves; start over until the time is up."""
        self._turn += 1
        order = [
            name for name in self.names[self._turn % len(self.names) :] + self.names[: self._turn % len(self.names)] if name != without
        ]
        fresh = self._acknowledged.get(partition)
        if fresh is not None:
            # no promise, but a client that writes and then reads through one router does not often see what was before
            order.sort(key=lambda name: not self._has_applied(name, partition, fresh))
        _AnyReplica(self, partition, ask, done, order, floor=min_lsn).attempt()

    def _has_applied(self, name: NodeName, partition: PartitionId, lsn: Lsn) -> bool:
        return self.nodes[name].applied(partition) >= lsn

    def _ask_leader(self, partition: PartitionId, ask: Callable[[NodePort, Done[A]], None], done: Done[A], *, write: bool = False) -> None:
        _Leader(self, partition, ask, done, self.leaders.get(partition) or self.names[0], write=write).attempt()


class _Leader(Generic[A]):
    """One request on its way to a leader. An object rather than closures: those would refer to each other, and every request would leave garbage behind
    that only the collector finds."""

    __slots__ = ("_ask", "_deadline", "_done", "_name", "_partition", "_pause", "_router", "_tries", "_write")

    def __init__(
        self,
        router: Router,
        partition: PartitionId,
        ask: Callable[[NodePort, Done[A]], None],
        done: Done[A],
        name: NodeName,
        *,
        write: bool,
    ) -> None:
        self._write = write
        self._router, self._partition, self._ask, self._done, self._name = router, partition, ask, done, name
        self._deadline = 0
        self._pause = _FIRST_PAUSE_S
        self._tries = 0

    def attempt(self) -> None:
        if self._write and self._router.closed:
            self._done(stopping())
        else:
            self._ask(self._router.nodes[self._name], self._answered)

    def _answered(self, answer: A | ScrubjayError) -> None:
        router = self._router
        if not isinstance(answer, ScrubjayError):
            if router.leaders.get(self._partition) != self._name:
                router.leaders[self._partition] = self._name
            self._done(answer)
            return
        if not may_retry(answer):
            self._done(answer)
            return
        now = router.env.clock.boot_us()
        self._deadline = self._deadline or now + GIVE_UP_US
        if now >= self._deadline:
            self._done(Unavailable("no leader for this partition in time", partition=self._partition, last=str(answer)))
            return
        self._tries += 1
        if isinstance(answer, NotLeader):
            hint = answer.fields.get("hint")
            names = router.names
            if isinstance(hint, str) and hint in router.nodes and hint != self._name:
                self._name = NodeName(hint)
            else:
                self._name = names[(names.index(self._name) + 1) % len(names)]
            if self._tries < len(names):
                self.attempt()
                return
        router.env.tasks.call_later(self._pause, self.attempt)
        self._pause = min(self._pause * 2, _PAUSE_MAX_S)


class _AnyReplica(Generic[A]):
    """One read on its way to whichever replica serves, in the order given; starts over until the time is up. floor: applied at least this far."""

    __slots__ = ("_ask", "_deadline", "_done", "_floor", "_order", "_partition", "_router", "_tried")

    def __init__(
        self, router: Router, partition: PartitionId, ask: Callable[..., None], done: Done[A], order: list[NodeName], *, floor: Lsn
    ) -> None:
        self._router, self._partition, self._ask, self._done, self._order, self._floor = router, partition, ask, done, order, floor
        self._deadline = router.env.clock.boot_us() + GIVE_UP_US
        self._tried = 0

    def attempt(self) -> None:
        name = self._order[self._tried % len(self._order)]
        self._ask(self._router.nodes[name], self._answered, strong=False, min_lsn=self._floor)

    def _answered(self, answer: A | ScrubjayError) -> None:
        if not isinstance(answer, ScrubjayError):
            self._done(answer)
            return
        if isinstance(answer, Corrupt):
            self._floor = max(self._floor, Lsn(int(answer.fields.get("applied", 0))))
        self._tried += 1
        if self._router.env.clock.boot_us() >= self._deadline:
            self._done(Unavailable("no replica could answer in time", partition=self._partition, last=str(answer)))
        elif self._tried % len(self._order):
            self.attempt()
        else:
            self._router.env.tasks.call_later(_PAUSE_MAX_S, self.attempt)


def stopping() -> Unavailable:
    """What a write is told that was not proposed when this process began to stop: ask again, elsewhere or later."""
    return Unavailable("the server is stopping")


def may_retry(error: ScrubjayError) -> bool:
    """Whether asking again can do no harm and may help: never after a proposal whose outcome is unknown."""
    return isinstance(error, Unavailable) and not isinstance(error, DiskFull) and not error.fields.get("unknown")
