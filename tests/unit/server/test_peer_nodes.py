"""The node port over lanes: what is asked when, what is known, for how long, and what a lane that ends leaves. Time is virtual, frames are carried by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from scrubjay.base.errors import NotLeader, Unavailable
from scrubjay.base.ids import Lsn, NodeName, PartitionId
from scrubjay.base.peer_wire import Hello
from scrubjay.server.peer_nodes import BEAT_S, EVERYTHING_US, HELD_UP_US, IDLE_BEATS, LARGE_BYTES, SILENT_US, STALE_US, PeerNode, PeerNodes
from scrubjay.sim.lone import LoneHost
from scrubjay.storage.commands.values import RangeRead, SwapCommand
from scrubjay.storage.node import errand_messages as errands
from scrubjay.storage.node import port
from scrubjay.storage.node.port_codec import decode_request, decode_said, encode_request, encode_said
from tests.unit.control.house import House
from tests.unit.node.test_port_codec import FACTS, P

NAME = NodeName("n2")
STATUS = port.NodeStatus(NAME, 2, started=True, boots=7)
ASKER = Hello("c", "node", "n1")


class HandLane:
    """A lane whose frames a test carries. to: gets each frame; None: they wait in `sent`."""

    def __init__(self) -> None:
        self.up = True
        self.full = False
        self.sent: list[bytes] = []
        self.to: Callable[[bytes], None] | None = None
        self.heard: Callable[[bytes | bytearray], None] = lambda data: None
        self.lost: Callable[[], None] = lambda: None

    def send(self, data: bytes) -> bool:
        if not self.up or self.full:
            return False
        self.sent.append(data)
        if self.to is not None:
            self.to(data)
        return True

    def cut(self) -> None:
        self.up = False
        self.lost()


class HandLanes:
    """Lanes to one peer; `asked` is this process's own half."""

    def __init__(self) -> None:
        self.asked: Callable[[Hello, bytes | bytearray, Callable[[bytes], None]], None] | None = None
        self.small, self.bulk = HandLane(), HandLane()

    def lane(self, name: NodeName, *, bulk: bool = False) -> HandLane:
        assert name == NAME
        return self.bulk if bulk else self.small


class Asker:
    """Over a lone host: a node of another process whose answers a test says. looks: how often its facts were asked for. moved: what it tells who asks since `moved.since`."""

    def __init__(self, *, answering: bool = True) -> None:
        self.host = LoneHost()
        self.lanes = HandLanes()
        self.facts: tuple[port.ReplicaFacts, ...] = (FACTS,)
        self.moved: port.FactsOfReplicas | None = None
        self.asked_since: list[int] = []
        self.looks = 0
        self.upto = 0
        """What it says beside all its facts; 0: it is of a release that does not count."""
        if answering:
            self.lanes.small.to = self._answers
        self.nodes = PeerNodes(self.host.env(), NodeName("n1"), self.lanes)
        self.node: PeerNode = self.nodes.node(NAME, 2)

    def _answers(self, data: bytes) -> None:
        asked = decode_request(data)
        if isinstance(asked.request, port.AskFacts):
            self.looks += 1
            self.asked_since.append(asked.request.since)
            told = self.moved if self.moved is not None and self.moved.since == asked.request.since else None
            self.lanes.small.heard(encode_said(asked.id, told or port.FactsOfReplicas(self.facts, self.upto)))
        elif isinstance(asked.request, port.AskStatus):
            self.lanes.small.heard(encode_said(asked.id, STATUS))

    def pass_time(self, seconds: float) -> None:
        self.host.run_for(seconds)


def down(node: PeerNode) -> bool:
    """What is told of a node that cannot be reached, all of it or nothing."""
    told = (node.status().failed is not None, node.facts(P) is None, node.all_facts() == (), node.applied(P) == 0)
    assert len(set(told)) == 1, told
    return told[0]


def test_before_a_node_told_anything_it_is_out_of_reach_and_then_it_tells_all() -> None:
    asker = Asker()
    assert down(asker.node)
    asker.pass_time(BEAT_S * 1.5)
    assert not down(asker.node)
    assert (asker.node.status(), asker.node.facts(P), asker.node.applied(P)) == (STATUS, FACTS, FACTS.applied)
    assert asker.node.facts(PartitionId("another")) is None


def test_what_is_used_is_asked_for_on_each_beat_and_what_is_not_on_one_in_ten() -> None:
    asker = Asker()
    asker.pass_time(2 * BEAT_S)
    asker.looks = 0
    for _ in range(50):
        asker.node.applied(P)
        asker.pass_time(BEAT_S)
    assert 45 <= asker.looks <= 50
    asker.looks = 0
    asker.pass_time(50 * BEAT_S)
    assert 50 // IDLE_BEATS - 1 <= asker.looks <= 50 // IDLE_BEATS + 1


def test_a_node_of_many_replicas_is_looked_at_less_often() -> None:
    asker = Asker()
    asker.facts = tuple(msgspec.structs.replace(FACTS, partition=PartitionId(str(n))) for n in range(900))
    asker.pass_time(2 * BEAT_S)
    asker.looks = 0
    for _ in range(50):
        asker.node.applied(P)
        asker.pass_time(BEAT_S)
    assert 9 <= asker.looks <= 11


def test_news_arrives_within_a_beat() -> None:
    asker = Asker()
    asker.pass_time(1.5 * BEAT_S)
    assert asker.node.applied(P) == FACTS.applied
    asker.facts = (msgspec.structs.replace(FACTS, applied=Lsn(FACTS.applied + 1)),)
    asker.pass_time(BEAT_S)
    assert asker.node.applied(P) == FACTS.applied + 1


OTHER = PartitionId("00000000-0000-4000-8000-0000000000aa")


def test_what_has_moved_is_asked_for_and_kept_beside_the_rest() -> None:
    asker = Asker()
    gone = PartitionId("00000000-0000-4000-8000-0000000000bb")
    asker.facts = (FACTS, *(msgspec.structs.replace(FACTS, partition=one) for one in (OTHER, gone)))
    asker.upto = 5
    asker.pass_time(1.5 * BEAT_S)
    assert len(asker.node.all_facts()) == 3
    farther = msgspec.structs.replace(FACTS, applied=Lsn(FACTS.applied + 1))
    asker.moved = port.FactsOfReplicas((farther,), 9, 5, (gone,))
    asker.pass_time(BEAT_S)
    assert asker.node.all_facts() == tuple(
        sorted((farther, msgspec.structs.replace(FACTS, partition=OTHER)), key=lambda one: one.partition)
    )
    assert (asker.node.facts(P), asker.node.facts(gone), asker.node.applied(P)) == (farther, None, farther.applied)
    asker.pass_time(BEAT_S)
    assert asker.asked_since[-2:] == [5, 9]


def test_what_is_no_answer_to_what_is_kept_is_not_taken() -> None:
    asker = Asker()
    asker.upto = 5
    asker.pass_time(1.5 * BEAT_S)
    farther = msgspec.structs.replace(FACTS, applied=Lsn(FACTS.applied + 1))
    asker.node._told_status(asker.host.env().clock.boot_us(), port.FactsOfReplicas((farther,), 9, 4), STATUS)
    assert asker.node.applied(P) == FACTS.applied


def test_a_connection_that_ended_begins_with_everything() -> None:
    asker = Asker()
    asker.upto = 5
    asker.pass_time(1.5 * BEAT_S)
    asker.lanes.small.cut()
    asker.lanes.small.up = True
    asker.asked_since.clear()
    asker.pass_time(1.5 * BEAT_S)
    assert asker.asked_since[0] == 0


def test_everything_is_asked_for_now_and_then() -> None:
    asker = Asker()
    asker.upto = 5
    asker.moved = port.FactsOfReplicas((), 5, 5)
    asker.pass_time(2.2 * EVERYTHING_US / 1e6)
    assert [since for since in asker.asked_since if not since] == [0, 0, 0]
    assert len(asker.asked_since) > 30


def test_what_was_told_too_long_ago_is_told_no_more() -> None:
    """A node that is connected and says nothing: its facts age from when they were asked for, not from when they came."""
    asker = Asker()
    asker.pass_time(1.5 * BEAT_S)
    asker.lanes.small.to = None
    asker.pass_time(STALE_US / 1e6 - 3 * BEAT_S)
    assert not down(asker.node)
    asker.pass_time(4 * BEAT_S)
    assert down(asker.node)


def test_an_answer_that_was_long_under_way_is_as_old_as_its_question() -> None:
    asker = Asker(answering=False)
    asker.pass_time(0.5 * BEAT_S)
    (asked,) = asker.lanes.small.sent
    asker.pass_time(2.0)
    asker.lanes.small.to = asker._answers
    asker._answers(asked)
    assert not down(asker.node)
    asker.lanes.small.to = None
    asker.pass_time(STALE_US / 1e6 - 1.9)
    assert down(asker.node)


def test_a_lane_that_ends_forgets_what_was_told_and_tells_everyone_who_waits() -> None:
    asker = Asker()
    asker.pass_time(1.5 * BEAT_S)
    got: list[Any] = []
    for size in (1, LARGE_BYTES):
        asker.node.write(P, SwapCommand(b"k", b"i", None, bytes(size)), got.append)
    assert (len(asker.lanes.small.sent), len(asker.lanes.bulk.sent)) == (3, 1)
    asker.lanes.small.cut()
    assert len(got) == 1
    assert down(asker.node)
    asker.lanes.bulk.cut()
    assert [type(one) for one in got] == [Unavailable, Unavailable]
    assert all(one.fields["unknown"] is True for one in got)
    asker.node.write(P, SwapCommand(b"k", b"i", None, b"n"), got.append)
    assert isinstance(got[2], NotLeader)
    assert "unknown" not in got[2].fields
    asker.lanes.small.up = True
    assert down(asker.node), "what was told over the lane that ended counts no more"
    asker.pass_time(1.5 * BEAT_S)
    assert not down(asker.node)


def test_a_look_that_is_lost_is_followed_by_another() -> None:
    asker = Asker(answering=False)
    asker.pass_time(1.5 * BEAT_S)
    assert len(asker.lanes.small.sent) == 1
    asker.lanes.small.to = asker._answers
    asker.pass_time(STALE_US / 1e6 + BEAT_S)
    assert not down(asker.node)


def read(asker: Asker, got: list[Any]) -> None:
    asker.node.read(P, b"k", consistent=True, min_lsn=Lsn(0), done=got.append)


def put(asker: Asker, got: list[Any], size: int = 1) -> None:
    asker.node.write(P, SwapCommand(b"k", b"i", None, bytes(size)), got.append)


def test_a_node_that_is_connected_and_says_nothing_is_passed_over_until_it_speaks() -> None:
    asker = Asker()
    asker.pass_time(1.5 * BEAT_S)
    asker.lanes.small.to = None
    reads: list[Any] = []
    writes: list[Any] = []
    read(asker, reads)
    asker.node.read_range(P, RangeRead(b"", None, 1, 1, reverse=False, consistent=True), min_lsn=Lsn(0), done=reads.append)
    put(asker, writes)
    put(asker, writes, LARGE_BYTES)
    asker.pass_time(SILENT_US / 1e6 - BEAT_S)
    assert (reads, writes, asker.node.silent) == ([], [], False)
    asker.pass_time(3 * BEAT_S)
    assert [type(one) for one in reads] == [NotLeader, NotLeader]
    assert "unknown" not in reads[0].fields
    assert writes == [], "what was sent may happen yet: only it can say"
    sent = len(asker.lanes.bulk.sent)
    read(asker, reads)
    put(asker, writes)
    put(asker, writes, LARGE_BYTES)
    assert [type(one) for one in (reads[-1], *writes)] == [NotLeader, NotLeader, NotLeader]
    assert "unknown" not in writes[0].fields
    assert len(asker.lanes.bulk.sent) == sent, "nothing more is sent to it"
    asker.pass_time(STALE_US / 1e6)
    assert [one.fields.get("unknown") for one in writes[2:]] == [True, True], "by then another one leads"
    asker.lanes.small.to = asker._answers
    asker.pass_time(2 * BEAT_S)
    assert not asker.node.silent
    put(asker, writes)
    assert len(writes) == 4, "it is sent, and waited for"


def test_a_node_that_takes_long_and_answers_other_things_is_not_passed_over() -> None:
    asker = Asker()
    asker.pass_time(1.5 * BEAT_S)
    got: list[Any] = []
    read(asker, got)
    put(asker, got)
    asker.pass_time(STALE_US / 1e6 * 2)
    assert (got, asker.node.silent) == ([], False)


def test_a_question_that_waits_for_something_to_happen_is_no_silence() -> None:
    asker = Asker()
    asker.pass_time(1.5 * BEAT_S)
    got: list[Any] = []
    asker.node.ask(port.AwaitApplied(P, Lsn(7), 20_000_000), got.append, timeout_s=40.0)
    looks = asker.looks
    asker.pass_time(10.0)
    assert (got, asker.node.silent) == ([], False)
    assert asker.looks - looks <= 11, "nobody is asked for something else because of it"
    asker.lanes.small.to = None
    read(asker, reads := [])
    asker.pass_time(SILENT_US / 1e6 + 3 * BEAT_S)
    assert (len(reads), asker.node.silent) == (1, True), "and hides none"


def test_whoever_was_held_up_does_not_take_it_for_the_silence_of_others() -> None:
    asker = Asker()
    asker.pass_time(1.5 * BEAT_S)
    asker.lanes.small.to = None
    got: list[Any] = []
    read(asker, got)
    asker.pass_time(2 * BEAT_S)
    life = asker.host._life
    life.pause()
    asker.pass_time((2 * SILENT_US + HELD_UP_US) / 1e6)
    life.resume()
    asker.pass_time(2 * BEAT_S)
    assert (got, asker.node.silent) == ([], False), "what it said meanwhile has not been read yet"
    asker.pass_time(SILENT_US / 1e6 + BEAT_S)
    assert asker.node.silent


@pytest.mark.parametrize(
    ("request_", "bulk"),
    [
        (port.Write(P, bytes(LARGE_BYTES)), True),
        (port.Write(P, bytes(LARGE_BYTES - 1)), False),
        (errands.RowFileChunk(1, 0, b"", 0), True),
        (errands.PinnedRows(P, Lsn(1), b"", None), True),
        (port.Forget(P), False),
        (errands.Look("id", ""), False),
    ],
)
def test_what_is_large_has_a_lane_of_its_own(request_: port.Request, bulk: bool) -> None:
    asker = Asker()
    asker.node.ask(request_, lambda answer: None)
    assert [decode_request(one).request for one in (asker.lanes.bulk if bulk else asker.lanes.small).sent] == [request_]


def test_a_full_lane_is_told_at_once() -> None:
    asker = Asker()
    asker.lanes.small.full = True
    got: list[Any] = []
    asker.node.ask(port.Forget(P), got.append)
    assert isinstance(got[0], NotLeader)


def test_what_is_no_answer_breaks_nothing() -> None:
    asker = Asker()
    got: list[Any] = []
    asker.node.ask(port.Forget(P), got.append)
    for lane in (asker.lanes.small, asker.lanes.bulk):
        lane.heard(b"\x01\x00")
    asker.lanes.small.heard(encode_said(decode_request(asker.lanes.small.sent[0]).id, port.Fine()))
    assert got == [port.Fine()]


def test_before_a_node_is_here_requests_are_told_so_and_then_it_answers() -> None:
    house = House()
    table = house.create("orders")
    house.put(table, 1, 1)
    running: Any = house.cluster.hosts[0].process
    lanes = HandLanes()
    nodes = PeerNodes(house.env, NodeName("n1"), lanes)
    assert lanes.asked is not None
    said: list[bytes] = []
    lanes.asked(ASKER, bytearray(encode_request(1, 1_000_000, port.AskFacts(None))), said.append)
    assert isinstance(port.error_of(decode_said(said.pop()).answer), NotLeader)  # type: ignore[arg-type]
    nodes.serve(running.port.server)
    lanes.asked(ASKER, bytearray(encode_request(2, 1_000_000, port.AskFacts(None))), said.append)
    answer = decode_said(said.pop())
    assert isinstance(answer.answer, port.FactsOfReplicas)
    assert (answer.id, answer.answer.since, answer.answer.replicas) == (2, 0, running.port.all_facts())
    lanes.asked(ASKER, bytearray(encode_request(3, 1_000_000, port.AskFacts(None, answer.answer.upto))), said.append)
    moved = decode_said(said.pop()).answer
    assert isinstance(moved, port.FactsOfReplicas)
    assert (moved.since, moved.replicas) == (answer.answer.upto, ())
    lanes.asked(ASKER, b"\x01\x00", said.append)
    assert (said, nodes.misunderstood) == ([], 1)
    nodes.close()
