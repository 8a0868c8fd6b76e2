"""The control part over a connection that loses frames: what is told again, what never is, and who hears of it. Ids, deadlines and orders of the node port."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from scrubjay.base.errors import Invalid, Unavailable
from scrubjay.base.ids import Lsn, Member, PartitionId
from scrubjay.server.windows import archived_table_now
from scrubjay.sim.whole.door import Wire
from scrubjay.storage.catalogue import PartitionInfo, TableMeta
from scrubjay.storage.commands import codec
from scrubjay.storage.commands.values import RangeRead
from scrubjay.storage.control.fleet import Fleet, unarchived
from scrubjay.storage.log.record import Seal
from scrubjay.storage.node import port, port_codec
from scrubjay.storage.node.port import NodePort, ReplicaFacts, asked
from scrubjay.storage.node.port_codec import decode_request, decode_said, encode_request
from scrubjay.storage.node.port_remote import RemoteNode
from scrubjay.storage.node.port_server import NodeServer
from tests.unit.control.house import House
from tests.unit.node.test_port_codec import FACTS

STRANGE = PartitionId("00000000-0000-4000-8000-00000000aaaa")


class Losing(Wire):
    """Loses the next `left` requests of a kind, or their answers."""

    def __init__(self) -> None:
        self.kind: type[Any] | None = None
        self.left = 0
        self.answers = False
        self.seen: dict[type[Any], int] = {}
        self._lost: set[int] = set()

    def lose(self, kind: type[Any], count: int = 1, *, answers: bool = False) -> None:
        self.kind, self.left, self.answers = kind, count, answers
        self.seen.clear()

    def passage_us(self, data: bytes, *, back: bool) -> int | None:
        if back:
            id_ = decode_said(data).id
            return None if id_ in self._lost and self._taken(id_) else 0
        asked_ = decode_request(data)
        self.seen[type(asked_.request)] = self.seen.get(type(asked_.request), 0) + 1
        if type(asked_.request) is self.kind and self.left:
            self.left -= 1
            if not self.answers:
                return None
            self._lost.add(asked_.id)
        return 0

    def _taken(self, id_: int) -> bool:
        self._lost.discard(id_)
        return True


def losing() -> tuple[House, Losing]:
    wire = Losing()
    return House(wire=wire), wire


def a_table(house: House) -> tuple[TableMeta, PartitionInfo]:
    """One that the catalogue does not know: nobody but the test tells nodes of it."""
    like = house.create("orders")
    info = PartitionInfo(STRANGE, "0" * 32, "", like.partitions[0].members)
    return msgspec.structs.replace(like, partitions=(info,), version=5), info


def first(house: House) -> NodePort:
    return next(iter(house.cluster.parts.fleet.ports.values()))


def test_a_lost_order_to_host_is_given_again() -> None:
    house, wire = losing()
    table, info = a_table(house)
    wire.lose(port.Host)
    hosted = house.cluster.parts.fleet.host(table)
    assert not house.cluster.nodes()[0].hosting.known(info.partition_id)
    assert house.run(hosted) is True
    assert house.cluster.nodes()[0].hosting.known(info.partition_id)
    assert wire.seen[port.Host] == 4, "three members, one of them told twice"


def test_a_lost_answer_to_an_order_changes_nothing_when_it_is_given_again() -> None:
    house, wire = losing()
    table, info = a_table(house)
    wire.lose(port.Host, answers=True)
    hosted = house.cluster.parts.fleet.host(table)
    replica = house.cluster.nodes()[0].replicas[info.partition_id]
    assert house.run(hosted) is True
    assert house.cluster.nodes()[0].replicas[info.partition_id] is replica


def test_an_order_is_given_a_bounded_number_of_times() -> None:
    house, wire = losing()
    table, _ = a_table(house)
    wire.lose(port.Host, 1_000)
    assert house.run(house.cluster.parts.fleet.host(table)) is False
    assert wire.seen[port.Host] == 3 * 5


def test_an_order_that_got_lost_is_not_given_again_after_a_newer_one() -> None:
    """A replica that was to be forgotten meanwhile would be made again."""
    house, wire = losing()
    table, info = a_table(house)
    wire.lose(port.Host)
    fleet = house.cluster.parts.fleet
    fleet.host(table)
    house.run(fleet.forget(info.partition_id, first(house)))
    house.pass_time(30)
    assert not house.cluster.nodes()[0].hosting.known(info.partition_id)


def test_what_the_catalogue_said_before_does_not_replace_what_it_says_now() -> None:
    house, _ = losing()
    table, info = a_table(house)
    fleet = house.cluster.parts.fleet
    house.run(fleet.host(table))
    house.run(fleet.host(msgspec.structs.replace(table, name="before", version=4)))
    assert {node.replicas[info.partition_id].table.name for node in house.cluster.nodes()} == {table.name}
    house.run(fleet.host(msgspec.structs.replace(table, name="after", version=6)))
    assert {node.replicas[info.partition_id].table.name for node in house.cluster.nodes()} == {"after"}


def test_a_write_whose_answer_is_lost_is_told_as_unknown_and_not_made_again() -> None:
    house, wire = losing()
    table = house.create("orders")
    house.put(table, 1, 1)
    wire.lose(port.Write, answers=True)
    answer = house.run(house.ask(table, 1, 2))
    assert isinstance(answer, Unavailable)
    assert answer.fields["unknown"] is True
    assert wire.seen[port.Write] == 1
    assert list(house.rows(table).values()) == [2]


def test_a_stop_does_not_end_on_a_lost_answer() -> None:
    """A node that does not answer in time counts as it told last."""
    house, wire = losing()
    table = house.create("orders")
    house.put(table, 1, 1)
    wire.lose(port.AskFacts, 4)
    left = house.run(house.cluster.store.stop(deadline_us=house.env.clock.boot_us() + 20_000_000))
    assert left == 0
    (info,) = table.partitions
    assert all(node.replicas[info.partition_id].segments.facts.archived for node in house.cluster.nodes())


def test_no_answer_leaves_a_node_after_the_time_that_whoever_asked_had_left() -> None:
    house, _ = losing()
    table = house.create("orders")
    replica = house.cluster.leader(table.partitions[0].partition_id)
    assert replica is not None
    node: Any = replica.node
    said: list[bytes] = []
    request = port.ProposeSeal(table.partitions[0].partition_id, Seal.AGE, bytes(16))
    house.put(table, 1, 1)
    for id_, left_us in ((1, 10), (2, 10_000_000)):
        NodeServer(node).frame(encode_request(id_, left_us, request), node.env.clock, said.append)
    house.until(lambda: len(said) > 0)
    house.pass_time(1)
    assert [decode_said(one).id for one in said] == [2]


def test_an_answer_of_another_kind_is_an_error_of_ours() -> None:
    house, _ = losing()
    node = first(house)
    assert isinstance(node, RemoteNode)
    found: list[str] = []

    async def ask() -> None:
        try:
            await asked(house.env.tasks, node, port.AskStatus(), port.Sealed)
        except Exception as error:
            found.append(type(error).__name__)

    house.run(ask())
    assert found == ["Internal"]


def test_an_answer_that_fits_into_no_message_is_told_as_unknown_and_the_node_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks says how much it wants: nothing that is asked may stop a node."""
    house, _ = losing()
    table = house.create("orders")
    for key in range(50):
        house.put(table, key, key)
    monkeypatch.setattr(codec, "ANSWER_BYTES_MAX", 1_000)
    monkeypatch.setattr(port_codec, "MESSAGE_BYTES_MAX", 300)
    request = RangeRead(b"", None, 10_000, 1 << 30, reverse=False, consistent=True)
    (info,) = table.partitions
    read, told = house.env.tasks.future(), house.env.tasks.future()
    house.cluster.store.read_range(table, info, request, read.set_result)
    first(house).ask(port.AskFacts(None), told.set_result)
    for answer in (house.run(read), house.run(told)):
        assert isinstance(answer, Unavailable)
        assert answer.fields["unknown"] is True
    assert not house.cluster.broken
    assert all(node.running for node in house.cluster.nodes())


def test_what_no_router_would_ask_is_refused_by_name_and_the_node_goes_on() -> None:
    house, _ = losing()
    table = house.create("orders")
    (info,) = table.partitions
    elsewhere = msgspec.structs.replace(info, partition_id=STRANGE, members=(Member(7, 1),))
    leader = house.cluster.parts.fleet.leader(info.partition_id)
    assert leader is not None
    node = house.cluster.parts.fleet.ports[leader.node]
    for request in (
        port.Host(table, elsewhere),
        port.ProposeSeal(info.partition_id, 99_999, bytes(16)),
        port.ProposeSeal(info.partition_id, Seal.AGE, b"short"),
    ):
        heard = house.env.tasks.future()
        node.ask(request, heard.set_result)
        assert isinstance(house.run(heard), Invalid), request
    house.put(table, 1, 1)
    assert not house.cluster.broken
    assert all(not one.hosting.known(STRANGE) for one in house.cluster.nodes())


def test_what_is_told_to_run_only_if_it_is_known_is_not_made() -> None:
    house, _ = losing()
    table, info = a_table(house)
    assert house.run(house.cluster.parts.fleet.host(table, only_known=True)) is False
    assert not any(node.hosting.known(info.partition_id) for node in house.cluster.nodes())


def test_what_is_chosen_and_not_applied_is_not_archived_unless_who_leads_tells_of_it() -> None:
    """A stop that asks while nobody leads must not end on what a follower has not looked at yet."""
    behind = msgspec.structs.replace(FACTS, state="ok", leads=False, applied=Lsn(5), chosen=Lsn(9), unarchived=0)
    assert unarchived([behind]) == 1
    assert unarchived([behind, msgspec.structs.replace(behind, leads=True)]) == 0
    assert unarchived([msgspec.structs.replace(behind, applied=Lsn(9))]) == 0


def test_what_is_acknowledged_and_not_archived_is_told_of_though_followers_have_not_applied_it() -> None:
    """`archive status` took the word of whichever copy came first: it said that nothing was left of what had just been acknowledged."""
    house = House()
    house.stop_agents()
    table = house.create("orders")
    (info,) = table.partitions
    house.put(table, 1, 1)
    fleet = house.cluster.parts.fleet
    (leader,) = [one for one in fleet.facts(info.partition_id) if one.leads]
    assert leader.unarchived > 0
    lagging = msgspec.structs.replace(leader, leads=False, unarchived=0, applied=Lsn(leader.applied - 1))
    for copies in ([leader, lagging], [lagging, leader], [lagging, leader, lagging]):
        assert archived_table_now(table, _Told(copies)).unarchived_bytes == leader.unarchived


class _Told(Fleet):
    """The copies say what they are made to say."""

    def __init__(self, copies: list[ReplicaFacts]) -> None:
        self._copies = copies

    def facts(self, partition: PartitionId) -> list[ReplicaFacts]:
        return self._copies
