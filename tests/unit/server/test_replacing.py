"""What `cluster replace` does next in a group, and what it refuses before anything is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from scrubjay.base.errors import Invalid, ScrubjayError, Unavailable, Unsafe
from scrubjay.base.ids import Lsn, Member, NodeName, PartitionId, TableId
from scrubjay.server.process_talk import IdentityTold, encode
from scrubjay.server.replacing import DONE, LAG_MAX, NextStep, Replacing, next_step
from scrubjay.sim.world import World
from scrubjay.storage.catalogue import DRAINING, NodeMember, TableMeta, VersionNote
from scrubjay.storage.control.feature_gate import ClusterVersion
from scrubjay.storage.control.metadata import metadata_table
from scrubjay.storage.log.configuration import Configuration, CopyKind, MemberPlace, Vote, founding

WANTED = Member(3, 2)
FOUNDERS = founding(tuple([Member(number, 1) for number in (1, 2, 3)]))


def among(member: Member, vote: Vote) -> Configuration:
    return Configuration((*FOUNDERS.places[:2], MemberPlace(member, CopyKind.STORAGE, vote)))


@dataclass(frozen=True)
class CopyFacts:
    """Of a copy, what the next step goes by."""

    up: bool = True
    incarnation: int = 2
    logged: bool = True
    tree: str = "ok"
    vote: str = "learner"
    behind: bool = False
    applied: Lsn = Lsn(5000)
    state: str = "ok"


def facts(**other: Any) -> Any:
    return replace(CopyFacts(), **other)


LEARNS = among(WANTED, Vote.LEARNER)
VOTES = among(WANTED, Vote.VOTES)


@pytest.mark.parametrize(
    ("configuration", "copy", "incarnation", "left"),
    [
        (FOUNDERS, facts(), 2, True),
        (FOUNDERS, None, None, True),
        (FOUNDERS, facts(logged=False), None, True),
        (FOUNDERS, facts(incarnation=1), None, True),
        (FOUNDERS, facts(up=False), None, True),
        (among(Member(3, 1), Vote.GONE), facts(), 2, True),
        (LEARNS, facts(), 0, True),
        (LEARNS, facts(applied=Lsn(5000 - LAG_MAX)), 0, True),
        (LEARNS, facts(applied=Lsn(4999 - LAG_MAX)), None, True),
        (LEARNS, facts(tree="suspect"), None, True),
        (LEARNS, facts(behind=True), None, True),
        (LEARNS, facts(vote="amnesiac"), None, True),
        (LEARNS, facts(incarnation=1), None, True),
        (LEARNS, None, None, True),
        (among(WANTED, Vote.GONE), facts(), None, True),
        (VOTES, facts(vote="votes"), None, False),
        (VOTES, facts(vote="learner"), None, True),
        (VOTES, facts(vote="votes", tree="healing"), None, True),
        (among(Member(3, 3), Vote.VOTES), facts(), None, False),
        (founding((Member(1, 1), Member(2, 1))), facts(), 2, True),
    ],
)
def test_the_next_step(configuration: Configuration, copy: Any, incarnation: int | None, left: bool) -> None:
    step = next_step(WANTED, configuration, leader=facts(applied=Lsn(5000)), copy=copy)
    assert (step.incarnation, bool(step.left)) == (incarnation, left)
    assert left or step == DONE == NextStep(None, "")


@dataclass(frozen=True)
class Told:
    """Of a node's status, what is asked."""

    failed: None = None
    started: bool = True
    can: int = 0
    configures: bool = True
    removes: bool = False
    splits: bool = False
    stands_in: bool = False
    incarnation: int = 1


@dataclass
class Port:
    name: NodeName
    number: int
    told: Told = field(default_factory=Told)

    def status(self) -> Told:
        return self.told


@dataclass
class Notes:
    """What the catalogue says of nodes."""

    nodes: dict[str, NodeMember] = field(default_factory=dict)
    version: VersionNote = field(default_factory=VersionNote)
    spoke: dict[int, int] = field(default_factory=dict)
    """The highest incarnation of a copy that came back to a node, by its number."""
    tables: dict[str, TableMeta] = field(default_factory=dict)

    async def newest(self) -> None:
        """Nobody else writes."""

    def standing(self, name: str, number: int) -> NodeMember:
        return self.nodes.get(name, NodeMember(number, 1, "", 0))

    def spoke_as(self, number: int) -> int:
        return self.spoke.get(number, 0)

    async def put_node(self, name: str, member: NodeMember) -> None:
        self.nodes[name] = member


@dataclass
class Asked:
    """Of the store, what is asked."""

    version: ClusterVersion


@dataclass
class Parts:
    ports: dict[NodeName, Port]
    metadata: Notes
    system: TableMeta

    @property
    def store(self) -> Any:
        """As far as it is asked."""
        notes: Any = self.metadata
        ports: Any = self.ports
        return Asked(ClusterVersion(notes, ports))

    def members(self) -> dict[NodeName, Port]:
        return self.ports


class Cluster:
    """Three nodes of which n3 stays out; what a test asks of them."""

    def __init__(self) -> None:
        self.told: IdentityTold | ScrubjayError = IdentityTold("folder", 1, True, "stays out")
        self.works = True
        self.world = World(1)
        observer = self.world.add_host(NodeName("observer"), build=lambda host: host)
        observer.start()
        self.env = observer.env
        self.ports = {NodeName(f"n{number}"): Port(NodeName(f"n{number}"), number) for number in (1, 2, 3)}
        members = tuple([Member(number, 1) for number in (1, 2, 3)])
        system = metadata_table(TableId("s"), PartitionId("p"), members=members, created_at=1)
        self.notes = Notes()
        control: Any = Parts(self.ports, self.notes, system)
        self.control = control
        self.written = control.metadata.nodes
        self.replacing = Replacing(self.env, self, control, works=lambda: self.works, log=lambda _: None)

    def ask(self, name: NodeName, body: bytes, done: Callable[[bytes | ScrubjayError], None], *, timeout_s: float = 10.0) -> None:
        done(self.told if isinstance(self.told, ScrubjayError) else encode(self.told))

    def begin(self, node: str = "n3") -> None:
        """As far as the word of the catalogue; what comes after waits for the groups."""
        task = self.env.tasks.spawn(self.replacing.replace(node, lambda _: None), name="asked")
        before = dict(self.written)
        self.world.run(until_us=self.world.now + 20_000_000, stop=lambda: task.done() or self.written != before)
        if task.done():
            task.result()


def test_the_catalogue_gives_the_folder_the_next_incarnation() -> None:
    cluster = Cluster()
    cluster.begin()
    member = cluster.written["n3"]
    assert (member.number, member.incarnation, member.id) == (3, 2, "folder")
    cluster.told = IdentityTold("folder of later", 1, True, "stays out")
    cluster.written.clear()
    cluster.written["n3"] = member
    task = cluster.env.tasks.spawn(cluster.replacing.replace("n3", lambda _: None), name="asked")
    cluster.world.run(until_us=cluster.world.now + 1_000_000, stop=task.done)
    assert (cluster.written["n3"].incarnation, cluster.written["n3"].id) == (3, "folder of later")


def test_the_next_incarnation_is_above_that_of_any_copy_that_came_back() -> None:
    cluster = Cluster()
    cluster.notes.spoke[3] = 5
    cluster.begin()
    assert cluster.written["n3"].incarnation == 6, "what lay in the lost folder may have spoken as 5"


def test_two_who_ask_at_once_make_one_member_of_a_folder() -> None:
    """Who asked the folder before the other's word was written does not give it another incarnation: it could never become that."""
    cluster = Cluster()
    first = NodeMember(3, 2, "folder", 1)

    def told(name: NodeName, body: bytes, done: Callable[[bytes | ScrubjayError], None], *, timeout_s: float = 10.0) -> None:
        cluster.written["n3"] = first
        done(encode(IdentityTold("folder", 1, True, "stays out")))

    cluster.ask = told  # type: ignore[method-assign]
    task = cluster.env.tasks.spawn(cluster.replacing.replace("n3", lambda _: None), name="asked")
    cluster.world.run(until_us=cluster.world.now + 1_000_000, stop=task.done)
    assert cluster.written["n3"] == first
    assert not task.done()
    cluster.written["n3"] = NodeMember(3, 3, "another folder", 2)
    cluster.world.run(until_us=cluster.world.now + 1_000_000, stop=task.done)
    with pytest.raises(Unavailable, match="another folder"):
        task.result()


def _member(cluster: Cluster) -> None:
    cluster.told = IdentityTold("folder", 1, False, "")


def _not_empty(cluster: Cluster) -> None:
    cluster.told = IdentityTold("folder", 1, False, "its log is gone")


def _no_identity(cluster: Cluster) -> None:
    cluster.told = IdentityTold("", 0, True, "half of it is gone")


def _other_out(cluster: Cluster) -> None:
    cluster.ports[NodeName("n1")].told = Told(started=False)


def _older(cluster: Cluster) -> None:
    cluster.ports[NodeName("n2")].told = Told(configures=False)


def _draining(cluster: Cluster) -> None:
    cluster.written["n3"] = NodeMember(3, 1, "another folder", 1, DRAINING)


def _replaces_another(cluster: Cluster) -> None:
    cluster.replacing.left[NodeName("n2")] = {"p": "it learns"}


@pytest.mark.parametrize(
    ("how", "why"),
    [
        (_member, "is a member"),
        (_not_empty, "not empty"),
        (_no_identity, "not empty"),
        (_other_out, "another node is out"),
        (_older, "to replace a node needs version 2 of every node, n2 can 1"),
        (_draining, "or leaves it"),
        (_replaces_another, "another node is being replaced"),
    ],
)
def test_what_is_refused_leaves_nothing_behind(how: Callable[[Cluster], None], why: str) -> None:
    cluster = Cluster()
    how(cluster)
    before = dict(cluster.written)
    with pytest.raises(Unsafe, match=why):
        cluster.begin("n3")
    assert cluster.written == before


def test_who_cannot_be_asked_or_is_no_node_is_said() -> None:
    cluster = Cluster()
    with pytest.raises(Invalid, match="no such node"):
        cluster.begin("n4")
    cluster.told = Unavailable("no connection")
    with pytest.raises(Unavailable, match="cannot be asked"):
        cluster.begin()
    cluster.works = False
    with pytest.raises(Unavailable, match="another durability process"):
        cluster.begin()
    assert not cluster.written
