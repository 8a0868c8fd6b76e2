"""Several processes change one catalogue: what one of them makes the others know, a name is owned once, and what a dead one began is gone on with."""

from __future__ import annotations

from typing import Any

import pytest

from scrubjay.base.errors import Conflict, ScrubjayError
from scrubjay.server.control import Control
from scrubjay.sim.whole.cluster import WholeCluster
from scrubjay.sim.whole.commands import SCHEMA
from scrubjay.sim.whole.run import CONSENSUS, STORAGE
from scrubjay.sim.world import World
from scrubjay.storage.backend import TableSpec
from scrubjay.storage.catalogue import TableMeta, Throughput
from scrubjay.storage.control import following

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


def test_a_quiet_catalogue_is_read_at_a_constant_rate() -> None:
    pair = Pair()
    pair.pass_time(1.0)
    reads: list[int] = []
    for node in pair.two.router.nodes.values():
        asked = node.read_range
        node.read_range = lambda *a, asked=asked, **k: (reads.append(1), asked(*a, **k))  # type: ignore[method-assign, assignment, misc]
    pair.pass_time(20.0)
    assert 6 <= len(reads) <= 14, len(reads)
