"""The request router: finds the partition and its leader, retries what may be retried, and turns to another replica where one found rot.

Holds no data. A node wrongly asked answers NotLeader with a hint; the router remembers who answered last. What was proposed and whose outcome is
unknown is never retried here: the caller must see that.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Mapping
from typing import TypeVar

from base.env import Env
from base.errors import Corrupt, DiskFull, NotLeader, ScrubjayError, Unavailable
from base.ids import Lsn, NodeName, PartitionId
from storage.command import RangeAnswer, RangeRead, ReadAnswer, WriteAnswer, WriteCommand
from storage.control.catalogue import PartitionInfo, TableMeta
from storage.node import Node

A = TypeVar("A")
Done = Callable[[A | ScrubjayError], None]

GIVE_UP_US = 10_000_000
"""How long a request is retried while no replica answers for its partition."""
_FIRST_PAUSE_S = 0.005
_PAUSE_MAX_S = 0.1


class Router:
    """nodes: every storage node by name, in the order reads are spread over them."""

    def __init__(self, env: Env, nodes: Mapping[NodeName, Node]) -> None:
        self._env = env
        self._nodes = dict(nodes)
        self._names = list(self._nodes)
        self._leaders: dict[PartitionId, NodeName] = {}
        self._acknowledged: dict[PartitionId, Lsn] = {}
        """Of the last write answered through this router: eventually consistent reads go, where they can, to a replica that has applied it."""
        self._bounds: dict[str, tuple[int, list[str]]] = {}
        self._turn = 0

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
        return self._leaders.get(partition)

    def write(self, table: TableMeta, command: WriteCommand, done: Done[WriteAnswer]) -> None:
        partition = self.partition_of(table, command.key).partition_id

        def acknowledged(answer: WriteAnswer | ScrubjayError) -> None:
            if isinstance(answer, WriteAnswer) and answer.lsn > self._acknowledged.get(partition, 0):
                self._acknowledged[partition] = Lsn(answer.lsn)
            done(answer)

        self._ask_leader(partition, lambda node, answer: node.write(partition, command, answer), acknowledged)

    def read(self, table: TableMeta, key: bytes, *, consistent: bool, done: Done[ReadAnswer]) -> None:
        partition = self.partition_of(table, key).partition_id

        def ask(node: Node, answer: Done[ReadAnswer], *, strong: bool, min_lsn: Lsn) -> None:
            node.read(partition, key, consistent=strong, min_lsn=min_lsn, done=answer)

        self._read(partition, ask, done, consistent=consistent)

    def read_range(self, partition: PartitionId, request: RangeRead, done: Done[RangeAnswer]) -> None:
        weak = RangeRead(request.start, request.end, request.limit, request.max_bytes, request.reverse, consistent=False)

        def ask(node: Node, answer: Done[RangeAnswer], *, strong: bool, min_lsn: Lsn) -> None:
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

            def to_leader(node: Node, answer: Done[A]) -> None:
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
            name for name in self._names[self._turn % len(self._names) :] + self._names[: self._turn % len(self._names)] if name != without
        ]
        fresh = self._acknowledged.get(partition)
        if fresh is not None:
            # no promise, but a client that writes and then reads through one router does not often see what was before
            order.sort(key=lambda name: not self._has_applied(name, partition, fresh))
        deadline = self._env.clock.boot_us() + GIVE_UP_US
        tried = 0
        floor = min_lsn

        def attempt() -> None:
            ask(self._nodes[order[tried % len(order)]], answered, strong=False, min_lsn=floor)

        def answered(answer: A | ScrubjayError) -> None:
            nonlocal tried, floor
            if not isinstance(answer, ScrubjayError):
                done(answer)
                return
            if isinstance(answer, Corrupt):
                floor = max(floor, Lsn(int(answer.fields.get("applied", 0))))
            tried += 1
            if self._env.clock.boot_us() >= deadline:
                done(Unavailable("no replica could answer in time", partition=partition, last=str(answer)))
            elif tried % len(order):
                attempt()
            else:
                self._env.tasks.call_later(_PAUSE_MAX_S, attempt)

        attempt()

    def _has_applied(self, name: NodeName, partition: PartitionId, lsn: Lsn) -> bool:
        replica = self._nodes[name].replicas.get(partition)
        return replica is not None and replica.applied >= lsn

    def _ask_leader(self, partition: PartitionId, ask: Callable[[Node, Done[A]], None], done: Done[A]) -> None:
        name = self._leaders.get(partition) or self._names[0]
        deadline = 0
        pause = _FIRST_PAUSE_S
        tries = 0

        def answered(answer: A | ScrubjayError) -> None:
            nonlocal name, deadline, pause, tries
            if not isinstance(answer, ScrubjayError):
                if self._leaders.get(partition) != name:
                    self._leaders[partition] = name
                done(answer)
                return
            if not may_retry(answer):
                done(answer)
                return
            now = self._env.clock.boot_us()
            deadline = deadline or now + GIVE_UP_US
            if now >= deadline:
                done(Unavailable("no leader for this partition in time", partition=partition, last=str(answer)))
                return
            tries += 1
            if isinstance(answer, NotLeader):
                hint = answer.fields.get("hint")
                if isinstance(hint, str) and hint in self._nodes and hint != name:
                    name = NodeName(hint)
                else:
                    name = self._names[(self._names.index(name) + 1) % len(self._names)]
                if tries < len(self._names):
                    ask(self._nodes[name], answered)
                    return
            self._env.tasks.call_later(pause, again)
            pause = min(pause * 2, _PAUSE_MAX_S)

        def again() -> None:
            ask(self._nodes[name], answered)

        ask(self._nodes[name], answered)


def may_retry(error: ScrubjayError) -> bool:
    """Whether asking again can do no harm and may help: never after a proposal whose outcome is unknown."""
    return isinstance(error, Unavailable) and not isinstance(error, DiskFull) and not error.fields.get("unknown")
