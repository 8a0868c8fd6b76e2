"""The router and a node that went down while it led: the next request finds the new leader, it does not wait for the old one."""

from __future__ import annotations

from typing import Any

from base.errors import NotLeader, ScrubjayError, Unavailable
from base.ids import Lsn, NodeName, PartitionId
from storage.command import Outcome, Verdict, WriteAnswer
from storage.control.catalogue import KeyAttribute, KeySchema, PartitionInfo, TableMeta
from storage.control.router import Router
from storage.node import Node
from tests.unit.scrubber.fake_tasks import fake_env

P = PartitionId("00000000-0000-4000-8000-00000000000a")
TABLE: Any = TableMeta(
    table_id="t",  # type: ignore[arg-type]
    name="t",
    status="ACTIVE",
    key=KeySchema(KeyAttribute("k", "S")),
    attributes=(("k", "S"),),
    partitions=(PartitionInfo(P, "0" * 32, "", ()),),
    created_at=1,
    billing="PAY_PER_REQUEST",
)


class Command:
    key = bytes(16)


class FakeNode:
    """Answers as the real one does; the reason for a failed one comes from the real class."""

    def __init__(self, name: str, *, leads: bool = False) -> None:
        self.name, self.leads, self.asked = name, leads, 0
        self.replicas: dict[str, Any] = {}
        self.failed: ScrubjayError | None = None

    @property
    def running(self) -> bool:
        return self.failed is None

    def write(self, partition: PartitionId, command: Any, done: Any) -> None:
        self.asked += 1
        if self.failed is not None:
            done(Node._serving(self, partition))  # type: ignore[arg-type]
        elif self.leads:
            done(WriteAnswer(Outcome(Verdict.PUT, None, b"x"), partition, Lsn(5), 7))
        else:
            done(NotLeader("not the leader"))


def test_a_node_that_failed_while_it_led_is_left_at_once() -> None:
    env, tasks = fake_env(1)
    nodes = {name: FakeNode(name, leads=name == "n1") for name in ("n1", "n2", "n3")}
    router = Router(env, nodes)  # type: ignore[arg-type]
    heard: list[Any] = []

    async def ask() -> None:
        future = tasks.future()
        router.write(TABLE, Command(), lambda answer: future.set_result(answer))  # type: ignore[arg-type]
        heard.append(await future)

    tasks.run(ask())
    nodes["n1"].failed, nodes["n2"].leads = Unavailable("the disk failed"), True
    began = env.clock.boot_us()
    tasks.run(ask())
    assert all(isinstance(answer, WriteAnswer) for answer in heard), heard
    assert env.clock.boot_us() - began < 100_000
    assert router.leader(P) == NodeName("n2")
    assert nodes["n1"].asked == 2
