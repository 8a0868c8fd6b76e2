"""Several processes change one catalogue: what one of them makes the others know, a name is owned once, and what a dead one began is gone on with."""

from __future__ import annotations

from typing import Any

import pytest

from scrubjay.base.errors import Conflict, ScrubjayError, Unavailable
from scrubjay.base.ids import Lsn, NodeName
from scrubjay.server.control import Control
from scrubjay.sim.whole.cluster import WholeCluster
from scrubjay.sim.whole.commands import SCHEMA
from scrubjay.sim.whole.run import CONSENSUS, STORAGE
from scrubjay.sim.world import World
from scrubjay.storage.backend import TableSpec
from scrubjay.storage.catalogue import TableMeta, Throughput
from scrubjay.storage.control import following
from scrubjay.storage.node import port, port_server

SECOND = 1_000_000


class Pair:
    """A cluster of three nodes with two processes that route; neither works until it is told to."""

    def __init__(self, seed: int = 1) -> None:
        self.world = World(seed)
        self.cluster = WholeCluster(self.world, storage=STORAGE, consensus=CONSENSUS, wal_file_bytes=1 << 15, second=True)
        self.cluster.start()
        hosts = self.cluster.control, self.cluster.others[0]
        self.until(lambda: all(host.process is not None and host.process.up for host in hosts))
        self.one, self.two = self.parts(0), self.parts(1)

    def parts(self, number: int) -> Control:
        host = (self.cluster.control, *self.cluster.others)[number]
        found: Control = host.process.parts
        return found

    def spawn(self, number: int, work: Any) -> Any:
        host = (self.cluster.control, *self.cluster.others)[number]
        return host.env.tasks.spawn(work, name="test")

    def run(self, number: int, work: Any) -> Any:
        task = self.spawn(number, work)
        self.until(task.done)
        return task.result()

    def until(self, holds: Any, *, seconds: float = 60.0) -> None:
        end = self.world.now + int(seconds * SECOND)
        while not holds():
            assert self.world.now < end, "it did not come about in time"
            self.world.run(until_us=self.world.now + SECOND // 20)

    def pass_time(self, seconds: float) -> None:
        self.world.run(until_us=self.world.now + int(seconds * SECOND))


def spec(name: str) -> TableSpec:
    return TableSpec(name=name, key=SCHEMA, attributes=(("k", "S"),), billing="PAY_PER_REQUEST", throughput=Throughput())


def status(parts: Control, name: str) -> str | None:
    table = parts.store.table(name)
    return None if table is None else table.status


def named(parts: Control, name: str) -> list[TableMeta]:
    return [table for table in parts.metadata.tables.values() if table.name == name and table.status != "DROPPED"]


def test_what_one_process_makes_and_drops_the_other_knows_at_once() -> None:
    pair = Pair()
    pair.run(0, pair.one.store.create_table(spec("orders")))
    pair.until(lambda: status(pair.one, "orders") == "ACTIVE")
    pair.until(lambda: status(pair.two, "orders") == "ACTIVE", seconds=0.5)
    changed = pair.run(1, pair.two.store.update_table("orders", {"deletion_protection": True}))
    pair.until(lambda: pair.one.store.table("orders").version == changed.version, seconds=0.5)  # type: ignore[union-attr]
    pair.run(0, pair.one.store.update_table("orders", {"deletion_protection": False}))
    pair.run(1, pair.two.store.delete_table("orders"))
    pair.until(lambda: status(pair.one, "orders") is None)


def test_a_change_by_an_old_view_is_made_on_what_is_there() -> None:
    """The other process has just changed the table, and this one was not told yet: it asks first."""
    pair = Pair()
    pair.run(0, pair.one.store.create_table(spec("orders")))
    pair.until(lambda: status(pair.two, "orders") == "ACTIVE")
    assert pair.two.following is not None
    pair.two.following.stop()
    pair.run(0, pair.one.store.update_table("orders", {"deletion_protection": True}))
    table = pair.run(1, pair.two.store.update_table("orders", {"table_class": "STANDARD_INFREQUENT_ACCESS"}))
    assert table.deletion_protection
    assert pair.run(1, refused(pair.two.store.create_table(spec("orders")))) is not None
    pair.run(0, pair.one.store.update_table("orders", {"deletion_protection": False}))
    pair.run(1, pair.two.store.delete_table("orders"))


async def refused(work: Any) -> ScrubjayError | None:
    try:
        await work
    except Conflict as error:
        return error
    return None


@pytest.mark.parametrize("seed", range(1, 4))
def test_two_processes_that_make_one_name_at_once_make_it_once(seed: int) -> None:
    pair = Pair(seed)
    tasks = [pair.spawn(number, refused(parts.store.create_table(spec("orders")))) for number, parts in enumerate((pair.one, pair.two))]
    pair.until(lambda: all(task.done() for task in tasks))
    assert sum(task.result() is None for task in tasks) == 1
    for parts in (pair.one, pair.two):
        pair.until(lambda parts=parts: status(parts, "orders") == "ACTIVE")
        assert len(named(parts, "orders")) == 1
    pair.pass_time(2.0)
    hosted = {partition for node in pair.cluster.nodes() for partition in node.members}
    known = {info.partition_id for table in named(pair.one, "orders") for info in table.partitions}
    assert hosted == known | {pair.cluster.system.partitions[0].partition_id}, "nothing is left of the other one"


@pytest.mark.parametrize("works", [True, False])
def test_what_a_dead_process_began_is_gone_on_with_by_the_one_that_works(works: bool) -> None:
    pair = Pair()
    pair.two.works = lambda: works

    async def half() -> None:
        tables = pair.one.store.tables
        tables._begin = lambda table: None  # type: ignore[method-assign]  # it dies before it has told any node
        await tables.create(spec("orders"))

    pair.run(0, half())
    pair.cluster.control.crash(power=False)
    pair.pass_time(following.ADOPT_US / 1e6 + 5.0)
    assert status(pair.two, "orders") == ("ACTIVE" if works else "CREATING")
    if not works:
        return
    table = pair.two.store.table("orders")
    assert table is not None
    pair.run(1, pair.two.metadata.put_table(msgspec_replace(table, status="DELETING")))
    pair.pass_time(following.ADOPT_US / 1e6 + 5.0)
    assert pair.two.metadata.tables[table.table_id].status == "DROPPED"


def msgspec_replace(table: TableMeta, **change: Any) -> TableMeta:
    import msgspec

    return msgspec.structs.replace(table, **change)


def test_of_two_tables_left_alone_under_one_name_one_goes() -> None:
    pair = Pair()
    made = []
    for number, parts in enumerate((pair.one, pair.two)):
        tables = parts.store.tables
        tables._begin = lambda table: None  # type: ignore[method-assign]
        tables._has_its_name = nothing  # type: ignore[method-assign]
        made.append((number, pair.spawn(number, tables.create(spec("orders")))))
    pair.until(lambda: all(task.done() for _, task in made))
    pair.until(lambda: len(named(pair.two, "orders")) == 2)
    pair.two.works = lambda: True
    del pair.two.store.tables._begin  # type: ignore[attr-defined]
    pair.until(lambda: [one.status for one in named(pair.two, "orders")] == ["ACTIVE"])
    assert named(pair.two, "orders")[0].table_id == min(task.result().table_id for _, task in made)


async def nothing(table: TableMeta) -> None:
    """Nobody looks whether another has the name."""


def test_while_the_catalogue_cannot_be_read_what_was_known_is_served_and_it_is_said() -> None:
    pair = Pair()
    pair.run(0, pair.one.store.create_table(spec("orders")))
    pair.until(lambda: status(pair.two, "orders") == "ACTIVE")
    for host in pair.cluster.hosts[:2]:
        host.crash(power=False)
    pair.pass_time(20.0)
    assert pair.two.following is not None
    assert pair.two.following.failed is not None
    assert status(pair.two, "orders") == "ACTIVE"
    for host in pair.cluster.hosts[:2]:
        host.start()
    pair.until(lambda: pair.two.following is not None and pair.two.following.failed is None)


def counted(parts: Control, kinds: tuple[str, ...]) -> list[str]:
    """From now on: what is asked of nodes, by kind; of `ask` the name of the request."""
    asked: list[str] = []
    for node in parts.router.nodes.values():
        for kind in kinds:
            before = getattr(node, kind)

            def heard(*a: Any, before: Any = before, kind: str = kind, **k: Any) -> None:
                asked.append(type(a[0]).__name__ if kind == "ask" else kind)
                before(*a, **k)

            setattr(node, kind, heard)
    return asked


def test_a_quiet_catalogue_is_asked_for_at_a_constant_rate_and_read_whole_now_and_then() -> None:
    pair = Pair()
    pair.pass_time(1.0)
    reads = counted(pair.two, ("read", "read_range"))
    pair.pass_time(60.0)
    assert 28 <= reads.count("read") <= 32, "one item each"
    assert 2 <= reads.count("read_range") <= 4


def test_while_nothing_happens_nodes_are_asked_for_nothing_and_what_happens_is_known_at_once() -> None:
    pair = Pair()
    pair.pass_time(1.0)
    asks = counted(pair.two, ("ask", "applied"))
    pair.pass_time(60.0)
    assert set(asks) == {"AwaitApplied", "Read", "Range"}, "and the catalogue, at its rate"
    assert asks.count("AwaitApplied") <= 3 * (60 / following.AWAIT_S + 1)
    pair.run(0, pair.one.store.create_table(spec("orders")))
    pair.until(lambda: pair.two.store.table("orders") is not None, seconds=0.1)


def test_a_node_that_cannot_be_asked_is_asked_again_with_the_next_read() -> None:
    pair = Pair()
    asks: list[int] = []
    for node in pair.two.router.nodes.values():

        def ask(request: Any, done: Any, *, before: Any = node.ask, **more: Any) -> None:
            if type(request).__name__ == "AwaitApplied":
                asks.append(pair.world.now)
                done(Unavailable("it does not understand"))
            else:
                before(request, done, **more)

        node.ask = ask  # type: ignore[method-assign, assignment]
    pair.pass_time(following.AWAIT_S + 1.0)
    asks.clear()
    pair.pass_time(60.0)
    assert 60 <= len(asks) <= 3 * (60 / following.REFRESH_S + 3)
    pair.run(0, pair.one.store.create_table(spec("orders")))
    pair.until(lambda: pair.two.store.table("orders") is not None, seconds=following.REFRESH_S + 0.5)


def await_applied(pair: Pair, lsn: int, wait_s: float) -> list[Any]:
    """Asks a node to say when its copy of the metadata group has applied more; its answer."""
    answers: list[Any] = []
    node = pair.two.router.nodes[NodeName("n1")]
    request = port.AwaitApplied(pair.cluster.system.partitions[0].partition_id, Lsn(lsn), int(wait_s * 1e6))
    node.ask(request, answers.append, timeout_s=wait_s + 5.0)
    return answers


def test_whoever_waits_is_answered_when_its_time_is_up() -> None:
    pair = Pair()
    at_once, late = await_applied(pair, 0, 10.0), await_applied(pair, 1 << 40, 3.0)
    pair.until(lambda: at_once, seconds=0.2)
    assert at_once[0].replicas[0].applied > 0
    pair.pass_time(2.5)
    assert not late
    pair.until(lambda: late, seconds=1.0)
    assert late[0].replicas[0].applied < 1 << 40


def test_a_bounded_number_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair()
    monkeypatch.setattr(port_server, "AWAITING_MAX", 0)
    refused = await_applied(pair, 1 << 40, 10.0)
    pair.until(lambda: refused, seconds=0.2)
    assert isinstance(refused[0], Unavailable)
