"""What requests do that meet a partition that was split: they wait for the map, and go to the child that has their key. On the real nodes, with a parent that says of itself that it was split."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import pytest

from scrubjay.base.errors import ScrubjayError, Unavailable
from scrubjay.base.hlc import stamp_of
from scrubjay.base.ids import Lsn, PartitionId
from scrubjay.sim.whole.commands import key_of, put, value_of
from scrubjay.storage.api.pages import Page, ranges_of
from scrubjay.storage.backend import TransactPart
from scrubjay.storage.catalogue import FinalSeal, SplitIntent, TableMeta, coming, halves, with_children
from scrubjay.storage.commands.values import RangeAnswer, RangeRead, ReadAnswer, WriteAnswer
from scrubjay.storage.control import router as routing
from scrubjay.storage.control.router import Router
from scrubjay.storage.log.split import Split, split_away
from scrubjay.storage.node.port import NodePort
from tests.unit.control.house import SECOND, House
from tests.unit.control.test_following import Pair, spec

HALF = "80" + "0" * 30
LEFT, RIGHT = PartitionId("bbbbbbbb-0000-4000-8000-000000000000"), PartitionId("cccccccc-0000-4000-8000-000000000000")


def below(number: int) -> bool:
    return key_of(number)[:16].hex() < HALF


KEYS = range(1, 13)
LOW, HIGH = [key for key in KEYS if below(key)], [key for key in KEYS if not below(key)]


class Refusing:
    """A node whose copy of the parent knows that it was split; `late`: it does not know it yet."""

    def __init__(self, node: NodePort, parent: PartitionId, *, late: bool = False) -> None:
        self._node, self._parent, self.late = node, parent, late
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._node, name)

    def _refuses(self, partition: PartitionId, done: Callable[[Any], None]) -> bool:
        if partition != self._parent or self.late:
            return False
        self.asked += 1
        done(split_away(partition, Split(bytes(16), bytes(16), LEFT, RIGHT)))
        return True

    def write(self, partition: PartitionId, command: Any, done: Callable[[Any], None]) -> None:
        if not self._refuses(partition, done):
            self._node.write(partition, command, done)

    def read(self, partition: PartitionId, key: bytes, *, consistent: bool, min_lsn: Lsn, done: Callable[[Any], None]) -> None:
        if not self._refuses(partition, done):
            self._node.read(partition, key, consistent=consistent, min_lsn=min_lsn, done=done)

    def read_range(self, partition: PartitionId, request: RangeRead, *, min_lsn: Lsn, done: Callable[[Any], None]) -> None:
        if not self._refuses(partition, done):
            self._node.read_range(partition, request, min_lsn=min_lsn, done=done)


def refuse(router: Router, parent: PartitionId) -> list[Refusing]:
    found = {name: Refusing(node, parent) for name, node in router.nodes.items()}
    router.nodes.update(found)
    return list(found.values())


def meant(table: TableMeta) -> TableMeta:
    intent = SplitIntent("0f" * 16, table.partitions[0].partition_id, HALF, LEFT, RIGHT, 7)
    return msgspec.structs.replace(table, split=intent)


class Parted:
    """A table whose only partition was split; the catalogue does not say so before `map`. The children have the rows that `put` gave them."""

    def __init__(self) -> None:
        self.house = House()
        self.table = self.house.create("orders")
        (self.parent,) = self.table.partitions
        self.meant = meant(self.table)
        children = msgspec.structs.replace(self.table, status="CREATING", partitions=coming(self.meant), version=self.table.version + 1)
        self.house.run(self.house.cluster.parts.fleet.host(children))
        self.house.until(lambda: all(self.house.cluster.parts.fleet.leader(one) is not None for one in (LEFT, RIGHT)))
        self.router = self.house.cluster.router
        rows = []
        for key in KEYS:
            child = LEFT if below(key) else RIGHT
            leader = self.house.cluster.parts.fleet.leader(child)
            assert leader is not None
            rows.append(self.ask(partial(self.router.nodes[leader.node].write, child, put(key, key, blind=True))))
        for row in rows:
            assert isinstance(self.house.run(row), WriteAnswer)
        self.nodes = refuse(self.router, self.parent.partition_id)

    @property
    def asked(self) -> int:
        return sum(node.asked for node in self.nodes)

    def map(self) -> TableMeta:
        """The catalogue names the children."""
        metadata = self.house.cluster.metadata
        known = self.house.run(metadata.put_table(msgspec.structs.replace(metadata.tables[self.table.table_id], split=self.meant.split)))
        final = FinalSeal(self.parent.partition_id, 40, stamp_of(1_000), "0c" * 32, "0d" * 16, 12)
        return self.house.run(metadata.put_table(with_children(known, final)))

    def ask(self, work: Callable[[Callable[[Any], None]], None]) -> Any:
        """The future of a request's answer, errors too."""
        future = self.house.env.tasks.future()
        work(future.set_result)
        return future

    def write(self, key: int, value: int) -> Any:
        return self.ask(partial(self.router.write, self.table, put(key, value, blind=True)))

    def read(self, key: int, *, consistent: bool) -> Any:
        return self.ask(lambda done: self.router.read(self.table, key_of(key), consistent=consistent, done=done))

    def page(self, *, limit: int | None = None, reverse: bool = False) -> Any:
        future = self.house.env.tasks.future()
        Page(
            self.house.cluster.store, self.table, ranges_of(self.table, b"", None),
            limit=limit, reverse=reverse, consistent=True, condition=None, projection=None, count_only=False, measure=False, done=future.set_result,
        ).start()  # fmt: skip
        return future


def test_a_write_waits_for_the_map_and_goes_to_the_child_that_has_its_key() -> None:
    parted = Parted()
    waiting = [parted.write(key, 100 + key) for key in (LOW[0], HIGH[0])]
    parted.house.pass_time(1)
    assert not any(one.done() for one in waiting), "nobody knows where it belongs"
    parted.map()
    answers = [parted.house.run(one) for one in waiting]
    assert [answer.partition for answer in answers] == [LEFT, RIGHT]
    assert parted.house.run(parted.read(HIGH[0], consistent=True)).item is not None


def test_while_requests_wait_the_parent_is_left_alone() -> None:
    parted = Parted()
    waiting = [parted.write(key, 100 + key) for key in KEYS]
    parted.house.pass_time(1)
    assert parted.asked == len(KEYS), "each has heard it once"
    parted.map()
    began = parted.house.world.now
    for one in waiting:
        assert isinstance(parted.house.run(one), WriteAnswer)
    assert parted.house.world.now - began < SECOND // 4, "the map wakes them, not a clock"


@pytest.mark.slow
@pytest.mark.parametrize("consistent", [True, False])
def test_a_read_finds_the_child_too(consistent: bool) -> None:
    parted = Parted()
    waiting = [parted.read(key, consistent=consistent) for key in (LOW[1], HIGH[1])]
    parted.house.pass_time(1)
    assert not any(one.done() for one in waiting)
    parted.map()
    answers = [parted.house.run(one) for one in waiting]
    assert [(answer.partition, value_of(answer.item)) for answer in answers] == [(LEFT, LOW[1]), (RIGHT, HIGH[1])]


def test_an_eventual_read_may_be_answered_by_a_copy_that_has_not_heard() -> None:
    parted = Parted()
    parted.nodes[1].late = True
    answers = [parted.house.run(parted.read(1, consistent=False)) for _ in range(4)]
    assert all(isinstance(answer, ReadAnswer) and answer.partition == parted.parent.partition_id for answer in answers)


def test_a_table_as_it_was_is_enough_once_the_map_is_known() -> None:
    """A request that began long ago."""
    parted = Parted()
    parted.map()
    assert parted.house.run(parted.write(LOW[0], 5)).partition == LEFT
    assert parted.asked == 1


def test_the_time_of_a_request_does_not_begin_anew() -> None:
    parted = Parted()
    began = parted.house.world.now
    answer = parted.house.run(parted.write(1, 1))
    assert isinstance(answer, Unavailable)
    assert answer.message == "no leader for this partition in time"
    assert not answer.fields.get("unknown"), "nothing was done"
    assert routing.GIVE_UP_US <= parted.house.world.now - began < routing.GIVE_UP_US + SECOND


class Silent:
    """A catalogue of which no question is ever answered."""

    alone = False

    def __init__(self, parted: Parted) -> None:
        self._tasks, self.known, self.gone = parted.house.env.tasks, parted.router.maps.known, parted.router.maps.gone

    async def fetch_table(self, table_id: str) -> None:
        del table_id
        await self._tasks.sleep(60.0)


@pytest.mark.parametrize("consistent", [True, False])
def test_who_waits_for_the_map_waits_no_longer_than_a_question_for_it_takes(*, consistent: bool) -> None:
    parted = Parted()
    silent = Silent(parted)
    parted.router.maps.catalogue = silent  # type: ignore[assignment]
    silent.known, silent.gone = (lambda table: table), (lambda table: False)
    began = parted.house.world.now
    store = parted.house.cluster.store
    answer = parted.house.run(parted.ask(lambda done: store.read(parted.table, key_of(1), consistent=consistent, done=done)))
    assert isinstance(answer, Unavailable)
    assert parted.house.world.now - began < routing.REFUSE_US + SECOND // 2


def test_a_range_is_the_callers_to_divide() -> None:
    parted = Parted()
    request = RangeRead(b"", None, 10, 1 << 20, reverse=False, consistent=True)
    answer = parted.ask(lambda done: parted.router.read_range(parted.parent.partition_id, request, done, table=parted.table))
    parted.house.pass_time(1)
    assert not answer.done()
    parted.map()
    found = parted.house.run(answer)
    assert isinstance(found, Unavailable)
    assert found.fields["split"]
    at_once = parted.house.run(parted.ask(lambda done: parted.router.read_range(parted.parent.partition_id, request, done)))
    assert at_once.fields["split"], "who says of no table whose partition it is does not wait"


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("limit", [None, len(LOW) + 2])
def test_a_page_goes_on_in_the_children_and_has_every_row_once(limit: int | None, *, reverse: bool) -> None:
    parted = Parted()
    waiting = parted.page(limit=limit, reverse=reverse)
    parted.house.pass_time(1)
    assert not waiting.done()
    parted.map()
    page = parted.house.run(waiting)
    assert isinstance(page, Page), page
    order = sorted(KEYS, key=key_of, reverse=reverse)
    assert [item["k"]["S"] for item in page.items] == [f"key-{key}" for key in order[:limit]]
    assert (page.last is None) == (limit is None)


def test_a_page_that_had_begun_reads_what_is_left_of_it_in_the_children() -> None:
    """Rows that were read in the parent are not read again."""
    parted = Parted()
    for node in parted.nodes:
        node.late = True
    house, order = parted.house, sorted(KEYS, key=key_of)
    rows = [house.ask(parted.table, key, 1_000 + key) for key in KEYS]
    for row in rows:
        house.run(row)

    class First:
        """Answers the first four rows of the parent; then it was split."""

        known = staticmethod(house.cluster.store.known)

        @staticmethod
        def read_range(table: TableMeta, info: Any, request: RangeRead, done: Callable[[Any], None]) -> None:
            if info.partition_id == parted.parent.partition_id and not parted.nodes[0].late:
                house.cluster.store.read_range(table, info, request, done)
                return

            def cut(answer: RangeAnswer | ScrubjayError) -> None:
                for node in parted.nodes:
                    node.late = False
                assert isinstance(answer, RangeAnswer)
                done(answer)

            if info.partition_id == parted.parent.partition_id:
                request = RangeRead(request.start, request.end, 4, 1 << 20, request.reverse, request.consistent)
                house.cluster.store.read_range(table, info, request, cut)
            else:
                house.cluster.store.read_range(table, info, request, done)

    future = house.env.tasks.future()
    Page(
        First(), parted.table, ranges_of(parted.table, b"", None),  # type: ignore[arg-type]
        limit=None, reverse=False, consistent=True, condition=None, projection=None, count_only=False, measure=False, done=future.set_result,
    ).start()  # fmt: skip
    house.pass_time(1)
    parted.map()
    page = house.run(future)
    assert isinstance(page, Page), page
    assert [item["k"]["S"] for item in page.items] == [f"key-{key}" for key in order]
    assert page.scanned == len(order)


def test_a_transaction_in_one_partition_is_one_in_two_when_that_was_split() -> None:
    parted = Parted()
    store = parted.house.cluster.store
    parts = [TransactPart(parted.table, put(key, 7, blind=True)) for key in (LOW[0], HIGH[0])]
    done = parted.house.env.tasks.spawn(store.transact_write(parts, token=None, digest=b"d"), name="transaction")
    parted.house.pass_time(1)
    assert not done.done()
    parted.map()
    found = parted.house.run(_awaited(done))
    assert found.committed
    assert sorted(partition for partition, _ in found.written) == [LEFT, RIGHT]
    values = [value_of(parted.house.run(parted.read(key, consistent=True)).item) for key in (LOW[0], HIGH[0])]
    assert values == [7, 7]


def test_a_transaction_with_a_token_is_begun_again_in_the_children() -> None:
    parted = Parted()
    store = parted.house.cluster.store
    parts = [TransactPart(parted.table, put(key, 8, blind=True)) for key in (LOW[0], HIGH[0])]
    done = parted.house.env.tasks.spawn(store.transact_write(parts, token="t", digest=b"d"), name="transaction")
    parted.house.pass_time(2)
    assert not done.done()
    parted.map()
    assert parted.house.run(_awaited(done)).committed
    again = parted.house.run(store.transact_write(parts, token="t", digest=b"d"))
    assert again.repeated, "and done once"


def test_a_transactional_read_looks_at_both_children() -> None:
    parted = Parted()
    reading = parted.house.env.tasks.spawn(
        parted.house.cluster.store.transact_read([(parted.table, key_of(key)) for key in (LOW[2], HIGH[2])]), name="read"
    )
    parted.house.pass_time(1)
    assert not reading.done()
    parted.map()
    found = parted.house.run(_awaited(reading))
    assert [value_of(item) for item in found.items] == [LOW[2], HIGH[2]]


async def _awaited(task: Any) -> Any:
    return await task


def test_a_router_in_another_process_asks_for_the_map() -> None:
    """It follows the catalogue too, but a request is not to wait for that."""
    pair = Pair()
    pair.one.works = lambda: True
    table = pair.run(0, pair.one.store.create_table(spec("orders")))
    pair.until(lambda: (known := pair.two.metadata.tables.get(table.table_id)) is not None and known.status == "ACTIVE")
    table = pair.two.metadata.tables[table.table_id]
    children = msgspec.structs.replace(
        table, status="CREATING", partitions=halves(table.partitions[0], meant(table).split), version=table.version + 1
    )  # type: ignore[arg-type]
    pair.run(0, _awaited(pair.one.fleet.host(children)))
    pair.until(lambda: all(pair.one.fleet.leader(one) is not None for one in (LEFT, RIGHT)))
    assert pair.two.following is not None
    pair.two.following.stop()
    refuse(pair.two.router, table.partitions[0].partition_id)
    answers: list[Any] = []
    pair.two.router.write(table, put(1, 1, blind=True), answers.append)
    pair.pass_time(0.5)
    assert not answers
    known = pair.run(0, pair.one.metadata.put_table(meant(pair.one.metadata.tables[table.table_id])))
    final = FinalSeal(table.partitions[0].partition_id, 40, stamp_of(1_000), "0c" * 32, "0d" * 16, 12)
    pair.run(0, pair.one.metadata.put_table(with_children(known, final)))
    began = pair.world.now
    pair.until(lambda: bool(answers))
    assert isinstance(answers[0], WriteAnswer), answers
    assert pair.world.now - began <= SECOND // 5
