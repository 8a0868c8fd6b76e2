"""Processes of one cluster meet, are founded together, and tell what they found: the rules, over a wire that loses what a test wants lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scrubjay.archiver.format.closed import ClosedObject
from scrubjay.base.errors import Corrupt, ScrubjayError, Unavailable, Unsafe
from scrubjay.base.ids import ClusterId, NodeName, PartitionId, TableId
from scrubjay.base.peer_wire import Hello
from scrubjay.server.admission import DURABILITY, NODE, ROUTER, Admission, must_stay_out
from scrubjay.server.founding import Founder
from scrubjay.server.health import lost_peers
from scrubjay.server.news import KEPT_MAX, NODE_STALE_US, NewsReader, NodeNews
from scrubjay.server.process_talk import (
    AskFounded,
    AskIdentity,
    AskNews,
    AskNode,
    FindingTold,
    Found,
    Founded,
    FoundedHere,
    IdentityTold,
    IndexLate,
    LinkDown,
    News,
    NodeTold,
    NodeToldLate,
    Question,
    Renew,
    decode_answer,
    decode_question,
    encode,
)
from scrubjay.sim.lone import LoneDisk, LoneHost
from scrubjay.storage.control.findings import Findings
from scrubjay.storage.node.identity import Members
from scrubjay.storage.service_port import Finding
from tests.fixtures.golden import Golden

NODES = (NodeName("n1"), NodeName("n2"), NodeName("n3"))
NAMES = dict(enumerate(NODES, 1))
CLUSTER = ClusterId("00000000-0000-4000-8000-00000000c1c1")
OTHER = ClusterId("00000000-0000-4000-8000-00000000c2c2")
PLAN = b"plan"
FOUNDED = Founded(CLUSTER, TableId("t"), PartitionId("p"), 7, NODES)
MACHINE = NodeTold(
    1 << 30,
    "the store refuses",
    (LinkDown(NODES[2], "port", 1.0, ""), LinkDown(NODES[1], "talk", 3.0, "later"), LinkDown(NODES[1], "port", 12.5, "refused")),
)
LATE = NodeToldLate(None, "", (), (IndexLate("birds", TableId("t"), "by-colour", 61.0, "no leader"),))
TOLD = FindingTold("different", "n1", "p", {"k": {"S": "a"}}, b"\x01", None, 9, None, "read", "none", "a bit fell", 11, None)


def hello(name: str = "n2", **change: Any) -> Hello:
    facts: dict[str, Any] = {
        "cluster": CLUSTER, "role": NODE, "name": name, "number": int(name[1]), "identity": "b", "incarnation": 1, "boots": 2, "reserved": 9, "note": PLAN
    }  # fmt: skip
    return Hello(**(facts | change))


def admission(*, founded: bool = True) -> Admission:
    members = Members(LoneDisk(), CLUSTER) if founded else None
    return Admission(cluster=CLUSTER if founded else None, plan=PLAN, names=NAMES, members=members)


# ------------------------------------------------------------------ who is let in


def test_who_is_let_in() -> None:
    door = admission()
    assert door.admit(hello(), "one") is None
    assert door.admit(hello(boots=3, reserved=12), "one") is None
    assert door.admit(hello("n2", role=DURABILITY, number=0, identity=""), "one") is None
    assert door.admit(hello("n2", role=ROUTER, number=0, identity=""), "one") is None, "a node that stays out goes on as a router"
    assert door.admit(hello(cluster="", identity=""), "one") is None, "who is not founded may ask"
    assert admission(founded=False).admit(hello(), "one") is None


@pytest.mark.parametrize(
    ("change", "says", "stays_out"),
    [
        ({"role": "king"}, "no such role", False),
        ({"note": b"other"}, "names another cluster, or other nodes", False),
        ({"cluster": OTHER}, "belongs to another cluster", False),
        ({"number": 3}, "no such node", False),
        ({"identity": "new", "boots": 0, "reserved": 0}, "not the one that joined", True),
        ({"incarnation": 0}, "not the one that joined", True),
        ({"boots": 1}, "older than what this member has promised", True),
        ({"reserved": 8}, "a copy made in the same life", True),
    ],
)
def test_who_is_not(change: dict[str, Any], says: str, stays_out: bool) -> None:
    door = admission()
    assert door.admit(hello(), "one") is None
    refusal = door.admit(hello(**change), "another")
    assert isinstance(refusal, Unsafe)
    assert says in str(refusal)
    assert must_stay_out(refusal) == stays_out
    assert door.admit(hello(), "one") is None, "who was refused has changed nothing"


def test_who_is_too_old_is_not_let_in() -> None:
    """Whoever it is, and before it is looked at who it says it is."""
    number = 6
    door = Admission(cluster=CLUSTER, plan=PLAN, names=NAMES, members=Members(LoneDisk(), CLUSTER), version=lambda: number)
    assert door.admit(hello(can=6), "one") is None
    for change in ({}, {"role": ROUTER}, {"role": DURABILITY}, {"identity": "new"}, {"can": 5}):
        refusal = door.admit(hello(**change), "one")
        assert isinstance(refusal, Unsafe)
        assert "older than what this cluster was raised to" in str(refusal)
        assert not must_stay_out(refusal), "it may come back as another release"
    assert door.admit(hello(cluster=""), "one") is None, "one that is not founded yet has nothing to say"
    number = 7
    assert door.admit(hello(can=6), "one") is not None, "as the number is then"


def test_what_one_process_said_before_is_no_older_log() -> None:
    """Found by hand: a node was stopped for eight seconds. What the others had said of themselves when they dialled it again waited in its sockets, and was read in another order than it
    was said: both were told that their logs were old, and stayed out. A log that is older is another life's."""
    door = admission()
    assert door.admit(hello(boots=2, reserved=9), "one") is None
    assert door.admit(hello(boots=2, reserved=7), "one") is None
    assert door.admit(hello(boots=1, reserved=7), "one") is None, "it spoke before its start was durable"
    assert must_stay_out(door.admit(hello(boots=2, reserved=8), "two") or Unavailable("")), (
        "what is known of it has not gone back meanwhile"
    )
    assert must_stay_out(door.admit(hello(boots=2, reserved=8), "two") or Unavailable("")), "one that was refused was not met"
    assert must_stay_out(door.admit(hello(identity="new"), "one") or Unavailable(""))
    assert door.admit(hello(boots=3, reserved=9), "two") is None
    assert must_stay_out(door.admit(hello(boots=2, reserved=9), "one") or Unavailable("")), "the life before is over"


def test_who_could_not_be_known_again_is_not_let_in() -> None:
    """The list does not take it: a later one of that name would not be told from it. That is this process's trouble, and nobody stays out for it."""
    door = admission()
    members = door._members
    assert members is not None

    def refuse(*_: Any, **__: Any) -> None:
        raise Unavailable("no room")

    members._write = refuse  # type: ignore[method-assign]
    refusal = door.admit(hello(), "one")
    assert isinstance(refusal, Unavailable)
    assert not must_stay_out(refusal)


# ------------------------------------------------------------------ founded together


class Town:
    """Three processes over one wire. down: those that cannot be reached."""

    def __init__(self) -> None:
        self.host = LoneHost()
        self.down: set[str] = set()
        self.kept: dict[str, list[Founded]] = {name: [] for name in NODES}
        self.full: set[str] = set()
        self.processes = {name: self.process(name, None) for name in NODES}

    def process(self, name: NodeName, known: Founded | None) -> Founder:
        return Founder(
            self.host.env(),
            self,
            me=name,
            nodes=NODES,
            known=known,
            keep=self.kept[name].append,
            empty=lambda: name not in self.full,
        )

    def ask(self, name: NodeName, body: bytes, done: Callable[[bytes | ScrubjayError], None], *, timeout_s: float = 10.0) -> None:
        if name in self.down:
            done(Unavailable("the peer cannot be reached"))
            return
        try:
            question = decode_question(body)
            assert isinstance(question, AskFounded | Found)
            done(encode(self.processes[name].answer(question)))
        except ScrubjayError as error:
            done(error)

    def init(self, name: NodeName = NODES[0]) -> Any:
        return self.host.run(self.processes[name].init())

    def ids(self) -> set[str | None]:
        return {None if one.known is None else one.known.cluster_id for one in self.processes.values()}


def test_a_cluster_is_founded_once_and_each_keeps_it() -> None:
    town = Town()
    first = town.init()
    assert first["founded"]
    assert town.ids() == {first["cluster_id"]}
    assert all(len(kept) == 1 for kept in town.kept.values())
    again = town.init()
    assert (again["cluster_id"], again["founded"]) == (first["cluster_id"], False)
    assert all(len(kept) == 1 for kept in town.kept.values())


def test_all_founding_nodes_must_be_up_and_empty() -> None:
    town = Town()
    town.down = {"n3"}
    with pytest.raises(Unavailable, match="cannot be reached"):
        town.init()
    assert town.ids() == {None}, "nothing was minted"
    town.down, town.full = set(), {"n2"}
    with pytest.raises(Unsafe, match="not empty"):
        town.init()
    assert town.ids() == {None}
    with pytest.raises(Unsafe, match="another node founds"):
        town.init(NODES[1])


def test_a_founding_that_was_cut_off_goes_on_with_the_same_ids() -> None:
    town = Town()
    taken = town.processes[NODES[2]].take

    def refuse(cluster: Founded) -> None:
        raise Unavailable("no room")

    town.processes[NODES[2]].take = refuse  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        town.init()
    town.processes[NODES[2]].take = taken  # type: ignore[method-assign]
    known = town.processes[NODES[0]].known
    assert known is not None
    found = town.host.run(town.processes[NODES[2]].follow())
    assert found == known, "by itself"
    assert not town.init()["founded"]
    assert town.ids() == {known.cluster_id}


def test_a_folder_of_another_cluster_is_refused() -> None:
    town = Town()
    other = Founded(OTHER, TableId("t"), PartitionId("p"), 7, NODES)
    town.processes[NODES[1]] = town.process(NODES[1], other)
    town.processes[NODES[2]] = town.process(NODES[2], FOUNDED)
    with pytest.raises(Unsafe, match="several clusters"):
        town.init()
    with pytest.raises(Unsafe, match="belongs to another cluster"):
        town.processes[NODES[1]].take(FOUNDED)
    with pytest.raises(Unsafe, match="other nodes"):
        town.processes[NODES[0]].take(Founded(CLUSTER, TableId("t"), PartitionId("p"), 7, NODES[:2]))
    town.full = {"n1"}
    with pytest.raises(Unsafe, match="holds a node"):
        town.processes[NODES[0]].take(FOUNDED)


# ------------------------------------------------------------------ what nodes tell


def finding(detail: str, at_us: int = 5) -> Finding:
    return Finding("different", "n1", "p", None, detail.encode(), None, 3, None, "read", "none", detail, at_us)


def closed(time_us: int) -> ClosedObject:
    return ClosedObject(CLUSTER, "n1", time_us, 1, "00000000-0000-4000-8000-000000000009", ())


class NewsWorld:
    """A node's process, and one that reads its news. lost: its answers do not come back."""

    def __init__(self) -> None:
        self.host = LoneHost()
        self.kept = Findings(LoneDisk())
        self.node = self.life("a")
        self.lost = False
        self.published: list[int] = []
        self.moved: list[str] = []
        self.noted: list[str] = []
        self.fails = False
        self.looked_at = 0
        self.reader = NewsReader(
            self.host.env(),
            self,
            [NODES[0]],
            published=lambda made: self.published.append(made.time_us),
            moved=self.moved.append,
            note=self.note,
        )

    def life(self, name: str) -> NodeNews:
        return NodeNews(name, findings=self.kept.all, forget=self.kept.forget)

    def note(self, one: Finding) -> None:
        if self.fails:
            raise Unavailable("no room")
        self.noted.append(one.detail)

    def ask(self, name: NodeName, body: bytes, done: Callable[[bytes | ScrubjayError], None], *, timeout_s: float = 10.0) -> None:
        question = decode_question(body)
        if isinstance(question, AskNode):
            self.looked_at += 1
            done(Unavailable("no such question") if self.lost else encode(MACHINE))
            return
        assert isinstance(question, AskNews)
        answer = encode(self.node.answer(question))
        done(Unavailable("the reply was lost", unknown=True) if self.lost else answer)

    def look(self) -> None:
        self.host.run(self.reader.look(NODES[0]))


def test_news_are_told_once_and_again_if_they_were_lost() -> None:
    world = NewsWorld()
    world.node.published(closed(1))
    world.node.moved(PartitionId("p1"))
    world.lost = True
    world.look()
    assert world.published == []
    world.lost = False
    world.look()
    world.look()
    assert (world.published, world.moved) == ([1], ["p1"])
    world.node.moved(PartitionId("p2"))
    world.node.moved(PartitionId("p2"))
    world.look()
    assert world.moved == ["p1", "p2"]
    world.node = world.life("b")
    world.node.published(closed(2))
    world.look()
    assert world.published == [1, 2], "a new life counts from the beginning"
    for number in range(KEPT_MAX + 10):
        world.node.moved(PartitionId(f"q{number}"))
    world.look()
    assert world.moved[-1] == f"q{KEPT_MAX + 9}"
    assert len(world.moved) == 2 + KEPT_MAX, "bounded; the index goes through all of them anyway"


def test_a_finding_stays_with_its_node_until_it_is_durable_elsewhere() -> None:
    world = NewsWorld()
    world.kept.add(finding("rot"))
    world.fails = True
    world.look()
    world.look()
    assert len(world.kept) == 1
    assert world.noted == []
    world.fails = False
    world.look()
    assert len(world.kept) == 1, "told, and not yet known to be kept"
    world.kept.add(finding("more"))
    world.look()
    assert [one.detail for one in world.kept.all()] == ["more"]
    world.look()
    world.look()
    assert len(world.kept) == 0
    assert set(world.noted) == {"rot", "more"}


def test_how_a_machine_is_counts_for_a_while() -> None:
    world = NewsWorld()
    assert world.reader.told(NODES[0]) is None
    world.host.run(world.reader.look_at(NODES[0]))
    assert world.reader.told(NODES[0]) == MACHINE
    world.lost = True
    world.host.run(world.reader.look_at(NODES[0]))
    assert world.reader.told(NODES[0]) == MACHINE, "it did not answer once"
    world.host.run_for(NODE_STALE_US / 1e6 + 1)
    assert world.reader.told(NODES[0]) is None, "and then nobody knows"
    world.lost, asked = False, world.looked_at
    world.reader.start()
    world.host.run_for(10.0)
    assert world.reader.told(NODES[0]) == MACHINE
    assert 4 <= world.looked_at - asked <= 6, "every two seconds"


def test_whom_a_node_does_not_reach_is_told_once_a_peer() -> None:
    assert lost_peers(MACHINE) == [("n2", 12.5, "refused"), ("n3", 1.0, "")]


# ------------------------------------------------------------------ bytes

PAGE = Path("docs/formats/process-talk.md")
MESSAGES = {
    "ask_founded": AskFounded(),
    "found": Found(FOUNDED),
    "ask_news": AskNews("life", 4, (TOLD,)),
    "ask_node": AskNode(),
    "ask_identity": AskIdentity(),
    "renew": Renew("a folder", 2),
    "identity_told": IdentityTold("a folder", 1, True, "stays out"),
    "node_told": MACHINE,
    "node_told_late": LATE,
    "founded_here": FoundedHere(FOUNDED, False),
    "news": News("life", 6, (("key", b"\x01\x02"),), (PartitionId("p"),), (TOLD,)),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_golden_bytes(name: str, golden: Golden) -> None:
    message = MESSAGES[name]
    golden.check(f"process_talk/{name}.bin", encode(message))
    data = golden.read(f"process_talk/{name}.bin")
    assert (decode_question if isinstance(message, Question) else decode_answer)(data) == message


@pytest.mark.parametrize("name", MESSAGES)
def test_bytes_that_nobody_wrote_are_corrupt_and_nothing_else(name: str) -> None:
    data = encode(MESSAGES[name])
    for length in range(len(data)):
        with pytest.raises(Corrupt):
            decode_question(data[:length])
        with pytest.raises(Corrupt):
            decode_answer(data[:length])
    for version in (0, 2, 255):
        with pytest.raises(Corrupt):
            decode_question(bytes([version]) + data[1:])


def test_the_page_lists_every_message_as_it_is() -> None:
    text = PAGE.read_text()
    for kind in (Founded, FindingTold, AskFounded, Found, AskNews, FoundedHere, News):
        tag = kind.__struct_config__.tag
        fields = ", ".join(kind.__struct_fields__)
        assert f"| {'' if tag is None else f'{tag} '}| {kind.__name__} | {fields} |" in text, kind


def test_a_finding_is_told_field_for_field() -> None:
    assert FindingTold.__struct_fields__ == Finding._fields
