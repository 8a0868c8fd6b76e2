"""A node as one life of the control part sees it: the node's present life, or a dead one.

Nothing crosses from a life that ended: a dead control part asks nothing and hears nothing, a paused node is asked when it wakes. Commands and answers
go through their codec: what the simulator proves holds for nodes in processes of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from base.errors import NotLeader, ScrubjayError
from base.ids import Lsn, NodeName, PartitionId
from server.node import RunningNode
from sim.world import Host, Life
from storage.btree.engine import TreeEngine
from storage.commands.codec import decode_answer, decode_command, encode_answer, encode_command
from storage.commands.values import RangeAnswer, RangeRead, ReadAnswer, WriteAnswer, WriteCommand
from storage.node import Node
from storage.replica import Replica

A = TypeVar("A")
_DOWN = NotLeader("node is down")


class Door:
    """host: the node's machine. life: of the control part that looks through this door."""

    def __init__(self, host: Host, number: int, life: Life) -> None:
        self._host, self._life = host, life
        self.name: NodeName = host.name
        self.number = number

    @property
    def node(self) -> Node | None:
        life: RunningNode | None = self._host.process
        return life.node if life is not None and life.node.started else None

    @property
    def failed(self) -> ScrubjayError | None:
        node = self.node
        return _DOWN if node is None else node.failed

    @property
    def replicas(self) -> dict[PartitionId, Replica]:
        node = self.node
        return {} if node is None else node.replicas

    @property
    def engine(self) -> TreeEngine:
        life: RunningNode | None = self._host.process
        if life is None:
            raise _DOWN
        return life.engine

    def __getattr__(self, name: str) -> Any:
        """Whatever else is asked of a node: of the present life, or nobody."""
        node = self.node
        if node is None:
            raise _DOWN
        return getattr(node, name)

    def known(self, partition: PartitionId) -> bool:
        node = self.node
        return node is not None and node.known(partition)

    def lack(self, partition: PartitionId) -> ScrubjayError | None:
        node = self.node
        return None if node is None else node.lack(partition)

    def host(self, *arguments: Any, **options: Any) -> Replica | None:
        node = self.node
        return None if node is None else node.host(*arguments, **options)

    def forget(self, partition: PartitionId) -> None:
        node = self.node
        if node is not None:
            node.forget(partition)

    def start_loaded(self, *arguments: Any) -> None:
        node = self.node
        if node is not None:
            node.start_loaded(*arguments)

    def write(self, partition: PartitionId, command: WriteCommand, done: Callable[[WriteAnswer | ScrubjayError], None]) -> None:
        sent = encode_command(command)
        self._ask(lambda node, answer: node.write(partition, decode_command(sent), answer), done)

    def read(
        self, partition: PartitionId, key: bytes, *, consistent: bool, min_lsn: Lsn, done: Callable[[ReadAnswer | ScrubjayError], None]
    ) -> None:
        self._ask(lambda node, answer: node.read(partition, key, consistent=consistent, min_lsn=min_lsn, done=answer), done)

    def read_range(
        self, partition: PartitionId, request: RangeRead, *, min_lsn: Lsn, done: Callable[[RangeAnswer | ScrubjayError], None]
    ) -> None:
        self._ask(lambda node, answer: node.read_range(partition, request, min_lsn=min_lsn, done=answer), done)

    def _ask(self, call: Callable[[Node, Callable[[A | ScrubjayError], None]], None], done: Callable[[A | ScrubjayError], None]) -> None:
        if not self._life.alive:
            return
        node = self.node
        if node is None:
            done(_DOWN)
            return

        def answered(answer: Any) -> None:
            said: Any = decode_answer(encode_answer(answer))
            self._life.run(partial(done, said))

        self._host.life.run(lambda: call(node, answered))
