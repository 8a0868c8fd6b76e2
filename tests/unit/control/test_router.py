"""Where the router sends a request: on the real nodes, with one that lags and one that died."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial
from typing import Any

from scrubjay.base.errors import ScrubjayError, Unavailable
from scrubjay.base.ids import NodeName
from scrubjay.sim.whole.commands import key_of, put, value_of
from scrubjay.sim.world import WorldHost
from scrubjay.storage.backend import TransactPart
from scrubjay.storage.catalogue import TableMeta
from scrubjay.storage.commands.values import RangeRead, ReadAnswer, WriteAnswer
from scrubjay.storage.control.router import REFUSE_US
from tests.unit.control.house import SECOND, House


class Lagging:
    """A table whose second write one follower has not seen."""

    def __init__(self) -> None:
        self.house = House()
        self.table: TableMeta = self.house.create("orders")
        self.first = self.house.put(self.table, 1, 1)
        self.house.pass_time(1)
        self.leader = self.host(self.leading())
        self.behind = next(host for host in self.house.cluster.hosts if host is not self.leader)
        self.third = next(host for host in self.house.cluster.hosts if host not in (self.leader, self.behind))
        for host in (self.leader, self.third):
            self.house.world.net.cut_link(self.behind.name, host.name)
            self.house.world.net.cut_link(host.name, self.behind.name)
        self.second = self.house.put(self.table, 1, 2)
        self.house.pass_time(0.2)

    def leading(self) -> NodeName:
        replica = self.house.cluster.leader(self.table.partitions[0].partition_id)
        assert replica is not None
        return replica.node.name

    def host(self, name: NodeName) -> WorldHost:
        return next(host for host in self.house.cluster.hosts if host.name == name)

    def read(self, count: int = 6) -> list[int | None]:
        """What that many eventually consistent reads say."""
        found = []
        for _ in range(count):
            future = self.house.env.tasks.future()
            self.house.cluster.store.read(self.table, key_of(1), consistent=False, done=future.set_result)
            answer = self.house.run(future)
            assert isinstance(answer, ReadAnswer), answer
            found.append(value_of(answer.item))
        return found


def test_a_replica_that_has_the_last_acknowledged_write_is_preferred() -> None:
    assert Lagging().read() == [2] * 6


def test_reads_are_spread_while_nothing_was_acknowledged_here() -> None:
    world = Lagging()
    world.house.restart_control(up=False)
    world.house.run(world.house.cluster.metadata.load())
    assert sorted(dict.fromkeys(world.read())) == [1, 2], "every replica is asked in turn"  # type: ignore[type-var]


def test_a_stale_answer_is_better_than_none() -> None:
    world = Lagging()
    world.leader.crash(power=False)
    world.third.crash(power=False)
    assert world.read(3) == [1] * 3


def test_a_replica_that_is_gone_is_asked_last() -> None:
    world = Lagging()
    world.third.crash(power=False)
    assert world.read() == [2] * 6


def test_a_node_that_died_while_it_led_is_left_at_once() -> None:
    """The next request finds the new leader as soon as there is one; it does not wait for the old one."""
    house = House()
    table = house.create("orders")
    house.put(table, 1, 1)
    replica = house.cluster.leader(table.partitions[0].partition_id)
    assert replica is not None
    dead = replica.node.name
    next(host for host in house.cluster.hosts if host.name == dead).crash(power=False)
    answer = house.run(house.ask(table, 1, 2))
    assert isinstance(answer, WriteAnswer), answer
    assert house.cluster.router.leader(table.partitions[0].partition_id) not in (None, dead)


def test_a_node_that_failed_while_it_led_is_left_at_once() -> None:
    """Its process lives, but its disk takes nothing any more: it says so, and whoever asks goes on."""
    house = House()
    table = house.create("orders")
    house.put(table, 1, 1)
    (info,) = table.partitions
    replica = house.cluster.leader(info.partition_id)
    assert replica is not None
    failed = replica.node
    next(host for host in house.cluster.hosts if host.name == failed.name).disk.faults.sync_error = 1.0
    house.run(house.ask(table, 1, 2))
    house.until(lambda: failed.failed is not None)
    house.until(lambda: house.cluster.leader(info.partition_id) is not None)
    house.cluster.router.leaders[info.partition_id] = failed.name
    began = house.world.now
    assert isinstance(house.run(house.ask(table, 1, 3)), WriteAnswer)
    assert house.world.now - began < 500_000
    assert house.cluster.router.leader(info.partition_id) not in (None, failed.name)


def test_without_a_quorum_clients_are_refused_in_seconds_and_eventual_reads_go_on() -> None:
    """Whatever they ask: who hears nothing for longer gives up, where who is refused asks again."""
    house = House()
    table = house.create("orders")
    house.put(table, 1, 1)
    house.run(house.cluster.store.transact_write([TransactPart(table, put(2, 2, blind=True))], token="first", digest=b"d"))
    (info,) = table.partitions
    store, tasks = house.cluster.store, house.env.tasks
    for host in house.cluster.hosts[:2]:
        host.crash(power=False)
    for _ in range(2):  # at once, while whoever led may hold its lease still, and later
        took: dict[str, float] = {}
        answers: dict[str, Any] = {}
        began = house.world.now

        def answered(what: str, answer: Any, took: dict[str, float] = took, answers: dict[str, Any] = answers, began: int = began) -> None:
            took[what], answers[what] = (house.world.now - began) / SECOND, answer

        async def transacted(what: str, work: Awaitable[Any], answered: Any = answered) -> None:
            try:
                answered(what, await work)
            except ScrubjayError as error:
                answered(what, error)

        store.write(table, put(1, 5, blind=True), partial(answered, "write"))
        store.read(table, key_of(1), consistent=True, done=partial(answered, "read"))
        request = RangeRead(b"", None, 10, 1 << 20, reverse=False, consistent=True)
        store.read_range(table, info, request, partial(answered, "range"))
        part = TransactPart(table, put(2, 3, blind=True))
        tasks.spawn(transacted("transaction", store.transact_write([part], token="second", digest=b"d")), name="transaction")
        tasks.spawn(transacted("transactional read", store.transact_read([(table, key_of(1))])), name="transactional read")
        tasks.spawn(transacted("position", store.streams.position(info)), name="position")
        store.read(table, key_of(1), consistent=False, done=partial(answered, "eventual"))
        house.until(lambda took=took: len(took) == 7)  # type: ignore[misc]
        assert isinstance(answers.pop("eventual"), ReadAnswer)
        assert took.pop("eventual") < 0.1
        assert all(isinstance(answer, Unavailable) for answer in answers.values()), answers
        assert max(took.values()) < REFUSE_US / SECOND + 0.5, took
    for host in house.cluster.hosts[:2]:
        host.start()
    house.put(table, 1, 6)


class Held:
    """A node that takes requests and answers none of them before it is told to; `answers`: how, then."""

    def __init__(self, node: Any, order: list[Held]) -> None:
        self._node, self._order, self.held = node, order, list[Any]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._node, name)

    def read(self, *arguments: Any, done: Any, **named: Any) -> None:
        self.held.append(partial(self._node.read, *arguments, done=done, **named))
        self._order.append(self)


def held(house: House, count: int) -> tuple[list[Held], list[Held]]:
    """So many nodes, and those that were asked, in that order."""
    nodes, order = house.cluster.router.nodes, list[Held]()
    found = [Held(nodes[name], order) for name in list(nodes)[:count]]
    nodes.update({one.name: one for one in found})
    return found, order


def test_an_eventual_read_does_not_wait_for_a_copy_that_says_nothing() -> None:
    """Its connection lives, and it answers other things: so it is not passed over."""
    house = House()
    table = house.create("orders")
    house.put(table, 1, 1)
    house.pass_time(1)
    silent, _ = held(house, 2)
    worst = 0
    for _ in range(6):
        answers: list[Any] = []
        began = house.world.now
        house.cluster.store.read(table, key_of(1), consistent=False, done=answers.append)
        house.until(lambda answers=answers: bool(answers))  # type: ignore[misc]
        worst = max(worst, house.world.now - began)
        assert isinstance(answers[0], ReadAnswer)
        for one in silent:  # what it says then is not said twice
            while one.held:
                one.held.pop()()
        house.pass_time(0.1)
        assert len(answers) == 1
    assert SECOND < worst < 2.2 * SECOND, "two of them said nothing, one after the other"


def test_the_first_of_two_copies_that_are_asked_answers_an_eventual_read() -> None:
    house = House()
    table = house.create("orders")
    house.put(table, 1, 1)
    house.pass_time(1)
    silent, order = held(house, 3)
    answers: list[Any] = []
    house.cluster.store.read(table, key_of(1), consistent=False, done=answers.append)
    house.pass_time(1.5)
    assert sum(len(one.held) for one in silent) == 2
    order[0].held.pop()()
    house.until(lambda: bool(answers), seconds=0.2)
    assert isinstance(answers[0], ReadAnswer)
    house.pass_time(5)
    assert sum(len(one.held) for one in silent) == 1, "nobody else is asked any more"
    answers.clear()
    house.cluster.store.read(table, key_of(1), consistent=False, done=answers.append)
    began = house.world.now
    house.until(lambda: bool(answers))
    assert isinstance(answers[0], Unavailable)
    assert house.world.now - began < REFUSE_US + SECOND, "and nobody waits for ever"


def test_a_node_that_holds_no_copy_is_not_asked_while_another_answers() -> None:
    house = House(spares=1)
    table = house.create("orders")
    house.put(table, 1, 1)
    house.pass_time(1)
    house.restart_control(up=False)
    house.run(house.cluster.metadata.load())
    asked: list[NodeName] = []
    for name, node in house.cluster.router.nodes.items():
        _noted(node, name, asked)
    found = []
    for _ in range(8):
        future = house.env.tasks.future()
        house.cluster.store.read(table, key_of(1), consistent=False, done=future.set_result)
        found.append(house.run(future))
    assert all(isinstance(answer, ReadAnswer) and value_of(answer.item) == 1 for answer in found), found
    assert set(asked) == {"n1", "n2", "n3"}, "each that holds one in turn"


def _noted(node: Any, name: NodeName, asked: list[NodeName]) -> None:
    """Remember who is asked to read."""
    read = node.read

    def reads(*arguments: Any, **named: Any) -> None:
        asked.append(name)
        read(*arguments, **named)

    node.read = reads
