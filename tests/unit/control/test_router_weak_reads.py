"""Which replica an eventually consistent read is sent to."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from base.env import Env
from base.errors import NotLeader
from base.ids import Lsn, Member, NodeName, PartitionId, TableId
from storage.command import Outcome, ReadAnswer, Verdict, WriteAnswer
from storage.control.catalogue import KeyAttribute, KeySchema, PartitionInfo, TableMeta
from storage.control.router import Router

PARTITION = PartitionId("p")
TABLE = TableMeta(
    table_id=TableId("t"),
    name="table",
    status="ACTIVE",
    key=KeySchema(KeyAttribute("pk", "S")),
    attributes=(("pk", "S"),),
    partitions=(PartitionInfo(PARTITION, "00" * 16, "", (Member(1, 1),)),),
    created_at=0,
)


class FakeNode:
    """Applies only what it is told to; the first of all leads."""

    def __init__(self, name: str, *, leads: bool) -> None:
        self.name = NodeName(name)
        self.leads = leads
        self.broken = False
        self.replicas: dict[PartitionId, Any] = {PARTITION: SimpleNamespace(applied=Lsn(0))}

    def write(self, partition: PartitionId, command: Any, done: Any) -> None:
        if not self.leads:
            done(NotLeader("no", partition=partition, hint="a"))
            return
        self.replicas[partition].applied = Lsn(self.replicas[partition].applied + 1)
        done(WriteAnswer(Outcome(Verdict.PUT, None, b""), partition, self.replicas[partition].applied, 1))

    def read(self, partition: PartitionId, key: bytes, *, consistent: bool, min_lsn: Lsn, done: Any) -> None:
        if self.broken:
            done(NotLeader("replica does not serve", partition=partition))
        else:
            done(ReadAnswer(None, partition, self.replicas[partition].applied))


@pytest.fixture
def nodes() -> dict[NodeName, FakeNode]:
    return {NodeName(name): FakeNode(name, leads=name == "a") for name in "abc"}


@pytest.fixture
def router(nodes: dict[NodeName, FakeNode]) -> Router:
    clock = SimpleNamespace(boot_us=lambda: 0, wall_us=lambda: 0)
    return Router(Env(clock, None, None), nodes)  # type: ignore[arg-type]


def lsns(router: Router, count: int = 6) -> list[int]:
    answers: list[Any] = []
    for _ in range(count):
        router.read(TABLE, b"\x00" * 16, consistent=False, done=answers.append)
    return [answer.lsn for answer in answers]


def put(router: Router) -> None:
    router.write(TABLE, SimpleNamespace(key=b"\x00" * 16), lambda answer: None)  # type: ignore[arg-type]


def test_reads_are_spread_while_nothing_was_acknowledged(router: Router, nodes: dict[NodeName, FakeNode]) -> None:
    for applied, node in enumerate(nodes.values()):
        node.replicas[PARTITION].applied = Lsn(applied)
    assert sorted(lsns(router)) == [0, 0, 1, 1, 2, 2]


def test_a_replica_that_has_the_last_acknowledged_write_is_preferred(router: Router, nodes: dict[NodeName, FakeNode]) -> None:
    put(router)
    assert lsns(router) == [1] * 6
    nodes[NodeName("c")].replicas[PARTITION].applied = Lsn(7)
    assert sorted(dict.fromkeys(lsns(router))) == [1, 7]


def test_a_stale_answer_is_better_than_none(router: Router, nodes: dict[NodeName, FakeNode]) -> None:
    put(router)
    nodes[NodeName("a")].broken = True
    assert lsns(router) == [0] * 6


def test_a_replica_that_is_gone_is_asked_last(router: Router, nodes: dict[NodeName, FakeNode]) -> None:
    put(router)
    nodes[NodeName("b")].replicas.clear()
    assert lsns(router) == [1] * 6
