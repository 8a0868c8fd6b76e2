"""The cluster's version: what is raised when, who holds it, what asks for it, and what a process keeps to. Two seconds of a processor, most of it the worlds of nodes that are exchanged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from scrubjay.base.errors import Conflict, Corrupt, DiskFull, ScrubjayError, Unavailable, Unsafe
from scrubjay.base.ids import NodeName
from scrubjay.base.peer_wire import Hello
from scrubjay.server.admission import DURABILITY, NODE, RAISED, ROUTER, below
from scrubjay.server.peer_nodes import STALE_US
from scrubjay.server.raising import FILE, ProcessTold, Raising, VersionKept, guests_of, hold, next_number, processes, version_report
from scrubjay.sim.lone import LoneDisk
from scrubjay.sim.world import World
from scrubjay.storage.api.errors import CANNOT_NOW, from_store
from scrubjay.storage.backend import TableSpec
from scrubjay.storage.catalogue import (
    DRAINING,
    REMOVED,
    GlobalIndex,
    KeyAttribute,
    KeySchema,
    NodeMember,
    ResourcePolicy,
    Throughput,
    TimeToLive,
    VersionNote,
)
from scrubjay.storage.cluster_version import (
    CONFIGURES,
    FLAGGED,
    LOWEST,
    MOVING,
    NEWEST,
    NUMBERED,
    REMOVES,
    REPLACING,
    SPLITS,
    SPLITTING,
    STANDING_IN,
    STANDS_IN,
    STREAMS,
    Feature,
    said,
)
from scrubjay.storage.commands.values import Failure
from scrubjay.storage.control.feature_gate import ClusterVersion
from scrubjay.storage.node.port import AskStatus, NodeStatus
from tests.unit.control.house import House

LATER = Feature("what a later release writes", NEWEST + 1)


def told(name: str, number: int, can: int, *, down: bool = False, **guests: int) -> NodeStatus:
    """As a node of that release tells it."""
    if down:
        return NodeStatus(NodeName(name), number, started=False, failed=Failure("NotLeader", "node is down", {}))
    flags = {"configures": can >= CONFIGURES, "removes": can >= REMOVES, "splits": can >= SPLITS, "stands_in": can >= STANDS_IN}
    return NodeStatus(NodeName(name), number, started=True, can=can if can >= NUMBERED else 0, guests=guests, **flags)


class Port:
    """told: what the node told last. says: what it answers now, None: nothing."""

    def __init__(self, status: NodeStatus) -> None:
        self.name, self.number, self.told = status.name, status.number, status
        self.says: NodeStatus | ScrubjayError | None = None

    def status(self) -> NodeStatus:
        return self.told

    def ask(self, request: Any, done: Callable[[Any], None], *, timeout_s: float) -> None:
        done(self.told if self.says is None else self.says)


@dataclass
class Notes:
    """What the catalogue says."""

    version: VersionNote = field(default_factory=VersionNote)
    nodes: dict[str, NodeMember] = field(default_factory=dict)
    written: list[VersionNote] = field(default_factory=list)
    conflicts: list[VersionNote] = field(default_factory=list)
    """What somebody else writes before each of the next writes."""

    async def newest(self) -> None:
        """Nobody else writes."""

    def standing(self, name: str, number: int) -> NodeMember | None:
        return self.nodes.get(name, NodeMember(number, 1, "", 0) if number <= 3 else None)

    async def put_version(self, note: VersionNote) -> None:
        if self.conflicts:
            self.version = self.conflicts.pop(0)
            raise Conflict("metadata was changed by someone else")
        self.version = note
        self.written.append(note)


class Cluster:
    """Three members and a node that has not joined, as a process sees them."""

    def __init__(self, *cans: int) -> None:
        self.ports = {
            NodeName(f"n{number}"): Port(told(f"n{number}", number, can)) for number, can in enumerate(cans or (NEWEST, NEWEST, NEWEST), 1)
        }
        self.metadata = Notes()
        self.world = World(1)
        observer = self.world.add_host(NodeName("observer"), build=lambda host: host)
        observer.start()
        self.env = observer.env

    def run(self, work: Any) -> Any:
        task = self.env.tasks.spawn(work, name="test")
        assert self.world.run(until_us=self.world.now + 10_000_000, stop=task.done)
        return task.result()

    def members(self) -> dict[NodeName, NodeMember]:
        known = {name: self.metadata.standing(name, port.number) for name, port in self.ports.items()}
        return {name: member for name, member in known.items() if member is not None and member.state != REMOVED}

    @property
    def version(self) -> ClusterVersion:
        cluster: Any = self
        return ClusterVersion(cluster.metadata, cluster.ports)


# ------------------------------------------------------------------ what a process can


def test_flags_of_older_releases_are_numbers() -> None:
    assert [said(told("n1", 1, can)) for can in range(LOWEST, NEWEST + 1)] == list(range(LOWEST, NEWEST + 1))
    assert said(NodeStatus(NodeName("n1"), 1, started=True, splits=True, stands_in=True)) == LOWEST, (
        "each says that the ones before it hold"
    )


def test_what_each_number_means_is_never_another() -> None:
    assert (CONFIGURES, REMOVES, SPLITS, STANDS_IN, NUMBERED) == (2, 3, 4, 5, 6)
    assert [one.number for one in (REPLACING, MOVING, SPLITTING, STANDING_IN)] == [2, 3, 4, 5]
    assert FLAGGED < NUMBERED <= NEWEST


# ------------------------------------------------------------------ raising

A, B, C = (ProcessTold(f"n{number}", NODE, NEWEST) for number in (1, 2, 3))


@pytest.mark.parametrize(
    ("note", "processes_", "number", "holds"),
    [
        (VersionNote(), [A, B, C], NEWEST, ()),
        (VersionNote(), [A, B, C._replace(can=5)], 5, ("n3 can 5",)),
        (VersionNote(5), [A, B, C._replace(can=4)], 5, ("n3 can 4",)),
        (VersionNote(), [A, B, C._replace(can=None)], 1, ("n3 is away: nobody knows what it can",)),
        (VersionNote(5), [A, B._replace(can=4), C._replace(can=None)], 5, ("n3 is away: nobody knows what it can", "n2 can 4")),
        (VersionNote(), [A, B, C, ProcessTold("r1", ROUTER, 1)], 1, ("r1 can 1",)),
        (VersionNote(5, 5, 1), [A, B, C], 5, ("it is held at 5 since 1970-01-01T00:00:00.000001Z",)),
        (VersionNote(1, 1, 1), [A, B._replace(can=1), C], 1, ("n2 can 1",)),
        (VersionNote(NEWEST), [A, B, C._replace(can=None)], NEWEST, ()),
        (VersionNote(NEWEST + 1), [A, B, C], NEWEST + 1, ()),
        # A process that can more than the one that would raise it: as far as that one can.
        (VersionNote(), [A._replace(can=9), B._replace(can=9), C._replace(can=9)], NEWEST, ()),
    ],
)
def test_to_what_it_is_raised(note: VersionNote, processes_: list[ProcessTold], number: int, holds: tuple[str, ...]) -> None:
    assert next_number(note, processes_) == (number, holds)


def test_who_counts() -> None:
    cluster: Any = Cluster(NEWEST, 5, NEWEST, 4)
    by_name = {one.name: one for one in processes(cluster)}
    assert by_name["n2"] == ("n2", NODE, 5)
    assert by_name["n4"] == ("n4", NODE, 4), "it has not joined, and is connected"
    cluster.ports[NodeName("n4")].told = told("n4", 4, 0, down=True)
    cluster.metadata.nodes["n2"] = NodeMember(2, 1, "", 0, REMOVED)
    cluster.metadata.nodes["n3"] = NodeMember(3, 1, "", 0, DRAINING)
    cluster.ports[NodeName("n2")].told = told("n2", 2, 0, down=True)
    cluster.ports[NodeName("n3")].told = told("n3", 3, 0, down=True)
    assert [tuple(one) for one in processes(cluster)] == [("n1", NODE, NEWEST), ("n3", NODE, None)], (
        "one that only leaves is a member still"
    )


def test_processes_that_are_no_nodes_are_known_by_the_nodes_that_they_are_connected_to() -> None:
    cluster: Any = Cluster()
    cluster.ports[NodeName("n1")].told = told("n1", 1, NEWEST, r1=NEWEST, durability=1)
    cluster.ports[NodeName("n2")].told = told("n2", 2, NEWEST, r1=4, durability=NEWEST, n3=NEWEST)
    cluster.ports[NodeName("n3")].told = told("n3", 3, 0, down=True)
    found = {one.name: (one.role, one.can) for one in processes(cluster)}
    assert found == {"n1": (NODE, NEWEST), "n2": (NODE, NEWEST), "n3": (NODE, NEWEST), "r1": (ROUTER, 4), "durability": (DURABILITY, 1)}
    hellos = {
        NodeName("r1"): Hello("c", ROUTER, "r1", can=NEWEST),
        NodeName("r2"): Hello("c", ROUTER, "r2"),
        NodeName("n2"): Hello("c", NODE, "n2", 2, can=NEWEST),
    }
    assert guests_of(hellos) == {"r1": NEWEST, "r2": LOWEST}


def raising(cluster: Any, *, works: Callable[[], bool] = lambda: True) -> Raising:
    return Raising(cluster.env, cluster, works=works, log=lambda _: None)


def test_somebody_else_who_holds_it_at_the_same_time_is_not_overwritten() -> None:
    cluster: Any = Cluster()
    cluster.metadata.conflicts = [VersionNote(1, 1, 7)]
    cluster.run(raising(cluster).look())
    cluster.run(raising(cluster).look())
    assert cluster.metadata.written == []
    assert version_report(cluster)["holds"] == ["it is held at 1 since 1970-01-01T00:00:00.000007Z"]
    cluster.metadata.conflicts = [VersionNote(1)]
    cluster.run(hold(cluster, held=False))
    cluster.run(raising(cluster).look())
    assert cluster.metadata.written == [VersionNote(NEWEST)], "it was held no more already"


def test_what_a_node_told_last_is_not_enough() -> None:
    """It may have come back as another release since, or be gone."""
    cluster: Any = Cluster()
    port = cluster.ports[NodeName("n2")]
    for says in (
        told("n2", 2, 5),
        told("n2", 2, 0, down=True),
        Unavailable("the node did not answer in time"),
        told("n2", 2, NEWEST, r1=1),
    ):
        port.says = says
        cluster.run(raising(cluster).look())
        assert cluster.metadata.version.number < NEWEST
    port.says = Unavailable("node is down")
    port.told = NodeStatus(NodeName("n2"), 2, started=False, failed=Failure("Unsafe", "it stays out", {}), can=NEWEST)
    cluster.run(raising(cluster).look())
    assert cluster.metadata.version.number == NEWEST, "a node that stays out in this process, which answers for it"


def test_a_hold_that_comes_while_nodes_are_asked_stays() -> None:
    cluster: Any = Cluster()
    port = cluster.ports[NodeName("n2")]

    def ask(request: Any, done: Callable[[Any], None], *, timeout_s: float) -> None:
        cluster.metadata.version = VersionNote(1, 1, 7)
        done(port.told)

    port.ask = ask
    cluster.run(raising(cluster).look())
    assert (cluster.metadata.version, cluster.metadata.written) == (VersionNote(1, 1, 7), [])


def test_a_hold_is_tried_again_over_what_others_write() -> None:
    cluster: Any = Cluster()
    cluster.metadata.conflicts = [VersionNote(5)]
    cluster.run(hold(cluster, held=True))
    cluster.run(hold(cluster, held=True))
    held = VersionNote(5, 5, cluster.env.clock.wall_us())
    assert cluster.metadata.written == [held], "at what it is by then; and once"
    cluster.metadata.conflicts = [held] * 5
    with pytest.raises(Unavailable):
        cluster.run(hold(cluster, held=False))


# ------------------------------------------------------------------ what asks for it


def test_what_came_before_the_number_is_asked_of_every_member_that_is_up() -> None:
    cluster = Cluster(NEWEST, 3, NEWEST, 1)
    assert cluster.version.lacks(MOVING) == "", "the fourth has not joined"
    assert cluster.version.lacks(SPLITTING) == "to split a partition needs version 4 of every node, n2 can 3"
    assert cluster.version.lacks(SPLITTING, besides=NodeName("n2")) == ""
    cluster.ports[NodeName("n2")].told = told("n2", 2, 0, down=True)
    assert cluster.version.lacks(SPLITTING) == ""
    cluster.ports[NodeName("n2")].told = told("n2", 2, 3)
    cluster.metadata.version = VersionNote(SPLITS)
    assert cluster.version.lacks(SPLITTING) == "", "it was raised: nobody is asked"
    assert cluster.version.lacks(STREAMS) != ""
    cluster.metadata.nodes["n2"] = NodeMember(2, 1, "", 0, REMOVED)
    assert cluster.version.lacks(STREAMS) == ""


def test_what_came_since_asks_for_the_number_alone() -> None:
    cluster = Cluster(9, 9, 9)
    assert cluster.version.lacks(LATER) == f"what a later release writes needs version {NEWEST + 1} of the cluster, it has 1"
    with pytest.raises(Unsafe, match="needs version") as verb:
        cluster.version.allow(LATER, node="n1")
    assert verb.value.exit_code == 4
    assert verb.value.fields["node"] == "n1"
    with pytest.raises(Unavailable, match="needs version") as request:
        cluster.version.need(LATER)
    answer = from_store(request.value)
    assert (answer.status, answer.name) == (500, "InternalServerError"), "an SDK tries again"
    assert answer.message == f"{CANNOT_NOW}{request.value.message}."
    cluster.metadata.version = VersionNote(NEWEST + 1)
    cluster.version.need(LATER)


def test_what_the_api_turns_on_is_refused_while_a_node_cannot_read_it() -> None:
    house = House()
    server: Any = house.cluster.hosts[1].process.port.server
    key = KeySchema(KeyAttribute("k", "S"))
    spec = TableSpec(name="t", key=key, attributes=(("k", "S"),), billing="PAY_PER_REQUEST", throughput=Throughput(0, 0))
    streamed = msgspec.structs.replace(spec, stream_view="KEYS_ONLY")
    store = house.cluster.store
    table = house.create("table")
    index = GlobalIndex(name="i", hash=(KeyAttribute("v", "N"),))
    server.can = SPLITS
    house.pass_time(1)
    wanted: list[Callable[[], Any]] = [
        lambda: store.create_table(streamed),
        lambda: store.update_table("table", {"streams": ()}),
        lambda: store.set_time_to_live("table", lambda _: TimeToLive(True, "e", 1)),
        lambda: store.transact_write([], token=None, digest=b""),
        lambda: store.set_policy("table", lambda _: None),
        lambda: store.create_index("table", index, (), {}),
        lambda: store.create_table(msgspec.structs.replace(spec, policy=ResourcePolicy("{}", 1))),
        lambda: store.create_table(msgspec.structs.replace(spec, global_indexes=(index,))),
    ]
    for ask in wanted:
        with pytest.raises(Unavailable, match="needs version 5 of every node, n2 can 4"):
            house.run(ask())
    house.run(store.create_table(spec))
    house.put(table, 1, 1)
    # a policy that a release of that time would take for a wider one
    server.can = STANDS_IN
    house.cluster.metadata.version = VersionNote(STANDS_IN)
    house.pass_time(1)
    for key in ("dynamodb:attributes", "dynamodb:FullTableScan"):
        narrowed = ResourcePolicy(f'{{"Condition": {{"ForAllValues:StringEquals": {{"{key}": "a"}}}}}}', 1)
        asked: list[Callable[[], Any]] = [
            lambda narrowed=narrowed: store.set_policy("table", lambda _: narrowed),
            lambda narrowed=narrowed: store.create_table(msgspec.structs.replace(spec, name="other", policy=narrowed)),
        ]
        for ask in asked:
            with pytest.raises(Unavailable, match="needs version 6 of the cluster, it has 5"):
                house.run(ask())
    assert house.run(store.set_policy("table", lambda _: ResourcePolicy("{}", 1))).policies
    server.can = NEWEST
    house.pass_time(1)
    assert house.run(store.create_table(msgspec.structs.replace(streamed, name="streamed"))).streams
    assert house.run(store.set_time_to_live("table", lambda _: TimeToLive(True, "e", 1))).ttl


# ------------------------------------------------------------------ the catalogue


def test_the_number_is_of_the_catalogue_and_never_lowered() -> None:
    house = House()
    metadata = house.cluster.metadata
    heard: list[VersionNote] = []
    metadata.on_version.append(heard.append)
    house.run(metadata.put_version(VersionNote(5, 5, 7)))
    with pytest.raises(Unsafe, match="never lowered"):
        house.run(metadata.put_version(VersionNote(4)))
    assert heard == [metadata.version] == [VersionNote(5, 5, 7)]
    house.restart_control()
    assert house.cluster.metadata.version == VersionNote(5, 5, 7)
    assert house.cluster.store.version.number == 5


@pytest.mark.parametrize("seed", range(12))
def test_nodes_that_are_exchanged_one_way_and_the_other(seed: int) -> None:
    """Whatever comes and goes: it is raised only while every member is there, and says as much; it is raised in the end; and what a process read of it never goes down."""
    house = House(seed)
    cluster, rand = house.cluster, house.world.stream("releases")
    written: list[int] = []
    seen: list[int] = []
    wrong: list[str] = []

    def watched() -> Raising:
        metadata = cluster.metadata
        put = metadata.put_version

        async def checked(note: VersionNote) -> None:
            for host in cluster.hosts:  # as it is, not as it is told; a loop that is kept would swallow what is asserted in it
                life = host.process
                if life is None or life.port.server.can < note.number:
                    wrong.append(f"raised to {note.number}, {host.name} {'is away' if life is None else f'can {life.port.server.can}'}")
            await put(note)
            written.append(note.number)

        metadata.put_version = checked  # type: ignore[method-assign]
        one = Raising(cluster.env, cluster.parts, works=lambda: True, log=lambda _: None)
        cluster.control.env.tasks.keep(one._run, name="raising")
        return one

    for host in cluster.hosts:
        _reborn(house, host.name, rand.choice((1, 3, FLAGGED)))
    watched()
    for _ in range(12):
        host = rand.choice(cluster.hosts)
        what = rand.choice(("away", "exchange", "exchange", "control", "cut"))
        least = max(cluster.metadata.version.number, LOWEST)
        if what == "away":
            host.crash(power=rand.random() < 0.5)
        elif what == "exchange":
            _reborn(house, host.name, rand.choice([can for can in (1, 3, FLAGGED, NEWEST) if can >= least]))
        elif what == "cut":
            _cut(house, host.name)
            if rand.random() < 0.7:
                _reborn(house, host.name, rand.choice([can for can in (1, 3, FLAGGED) if can >= least] or [NEWEST]))
        elif what == "control":
            house.restart_control()
            watched()
        house.pass_time(rand.choice((0.3, 1.5, 4.0)))
        seen.append(cluster.metadata.version.number)
        for one in cluster.hosts:
            if not one.up and rand.random() < 0.5:
                _reborn(house, one.name, rand.choice((least, NEWEST)))
    for host in cluster.hosts:
        _reborn(house, host.name, NEWEST)
    house.restart_control()
    watched()
    house.until(lambda: cluster.metadata.version.number == NEWEST, seconds=20)
    assert wrong == []
    assert seen == sorted(seen)
    assert written
    assert written == sorted(set(written))


def _cut(house: House, name: NodeName) -> None:
    """Nothing passes between the present life of the control part and that node any more; what it told last is told on for as long as in production."""
    door: Any = house.cluster.parts.fleet.ports[name]
    last, until_us = door.status(), house.world.now + STALE_US
    door._send = lambda data: True
    door._look = lambda request: last if isinstance(request, AskStatus) and house.world.now < until_us else None


def _reborn(house: House, name: NodeName, can: int) -> None:
    (host,) = (one for one in house.cluster.hosts if one.name == name)
    house.cluster.releases[name] = can
    if host.up:
        host.crash(power=False)
    host.start()


def test_while_a_member_is_away_nothing_is_raised_and_held_it_stays() -> None:
    house = House()
    cluster = house.cluster
    one = Raising(cluster.env, cluster.parts, works=lambda: works, log=house.lines.append)
    works = False
    cluster.control.env.tasks.keep(one._run, name="raising")
    house.pass_time(3)
    assert cluster.metadata.version == VersionNote(), "another process works for the cluster"
    house.run(hold(cluster.parts, held=True))
    works = True
    house.pass_time(3)
    assert cluster.metadata.version.number == LOWEST
    cluster.hosts[2].crash(power=False)
    house.run(hold(cluster.parts, held=False))
    house.pass_time(5)
    assert cluster.metadata.version == VersionNote()
    cluster.hosts[2].start()
    house.until(lambda: cluster.metadata.version.number == NEWEST, seconds=10)


# ------------------------------------------------------------------ what a process keeps to


def hello(can: int, role: str = NODE) -> Hello:
    return Hello("c", role, "n2", 2, can=can)


def test_who_is_let_in_where() -> None:
    assert all(below(hello(0), number) is None for number in range(LOWEST, FLAGGED + 1)), "what it can is told by flags"
    assert below(hello(NUMBERED), NUMBERED) is None
    for role in (NODE, ROUTER, DURABILITY):
        refusal = below(hello(0, role), NUMBERED)
        assert refusal is not None
        assert (refusal.fields[RAISED], refusal.fields["can"]) == (NUMBERED, LOWEST)
    assert below(hello(NUMBERED), NUMBERED + 1) is not None


def kept(disk: Any, *, own: int = NEWEST) -> tuple[VersionKept, list[str]]:
    ended: list[str] = []
    found = VersionKept(disk, log=ended.append, own=own)
    found.end = lambda: ended.append("end")
    found.raised = lambda: ended.append("raised")
    return found, ended


def test_what_was_read_lies_in_the_folder_and_stops_an_older_release() -> None:
    disk = LoneDisk()
    one, ended = kept(disk)
    one.check()
    one.learn(VersionNote(NEWEST))
    one.learn(VersionNote(5))
    assert (one.number, ended) == (NEWEST, ["raised"])
    again, _ = kept(disk)
    assert again.number == NEWEST
    again.check()
    before = disk.read_file(FILE)
    older, _ = kept(disk, own=NEWEST - 1)
    with pytest.raises(Unsafe, match=f"too old: the cluster's version is {NEWEST}, and it can {NEWEST - 1}") as refused:
        older.check()
    assert refused.value.exit_code == 4
    assert disk.read_file(FILE) == before
    disk.write_file(FILE, b"{")
    with pytest.raises(Corrupt):
        VersionKept(disk, log=lambda _: None)


def test_a_process_that_reads_a_number_above_its_own_ends() -> None:
    one, ended = kept(LoneDisk(), own=5)
    one.learn(VersionNote(5))
    assert not one.over
    one.learn(VersionNote(6))
    assert ended == ["raised", "raised", "end"]
    with pytest.raises(Unsafe):
        one.check()


def test_a_process_that_is_not_let_in_for_its_release_ends() -> None:
    one, ended = kept(LoneDisk(), own=5)
    for error in (Unsafe("stays out"), Unsafe("older", **{RAISED: 5}), Unsafe("odd", **{RAISED: "6"}), Unavailable("no", **{RAISED: 6})):
        one.refused(error)
    assert ended == []
    refusal = below(hello(5), 6)
    assert refusal is not None
    one.refused(refusal)
    assert ended == ["end"]
    with pytest.raises(Unsafe, match="the cluster's version is 6"):
        one.check()


def test_a_disk_that_takes_nothing_does_not_keep_the_door_open() -> None:
    class Full(LoneDisk):
        def write_file(self, name: str, data: bytes) -> None:
            raise DiskFull("no room")

    one, ended = kept(Full())
    one.learn(VersionNote(NEWEST))
    assert one.number == NEWEST
    assert ended[-1] == "raised"
    assert "could not be noted" in ended[0]
    assert one.too_old(hello(0)) is not None
    assert one.too_old(hello(NEWEST)) is None
