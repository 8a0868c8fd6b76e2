"""What a server says of itself, from the real parts of a cluster in simulated time: since when, until when, of which copy."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest

from scrubjay.archiver.read.index import ArchiveIndex
from scrubjay.base.errors import ScrubjayError, Unavailable
from scrubjay.base.hlc import stamp_of
from scrubjay.base.ids import NodeName, PartitionId, TableId
from scrubjay.base.sealed import Key, Keyring, seal
from scrubjay.base.steady import AWAY_S
from scrubjay.base.wrap.encrypted import EncryptedStore
from scrubjay.base.wrap.faulty import FaultyStore
from scrubjay.base.wrap.metered import MeteredStore
from scrubjay.scrubber.ledger import READ, WHOLE, PartitionProof
from scrubjay.scrubber.schedule.notes import ScheduleBook
from scrubjay.scrubber.schedule.scheduler import Scheduler
from scrubjay.scrubber.schedule.settings import DAY_US
from scrubjay.scrubber.schedule.views import NightJob, Shift, ShiftOutcome
from scrubjay.scrubber.sqlite_ledger import MEMORY, SqliteLedger
from scrubjay.server.health import Health, HealthOptions, Heard, Problem, View
from scrubjay.server.nightly import DEFAULTS, TaskAlarm
from scrubjay.server.problems import RULES, VersionHealth
from scrubjay.server.remembered import HANGS_S, PATIENCE_S
from scrubjay.server.windows import archived_here
from scrubjay.sim.store import SimObject
from scrubjay.sim.whole.cluster import CLUSTER, NAMES
from scrubjay.storage.catalogue import RestoreOrigin, TableMeta, VersionNote
from scrubjay.storage.cluster_version import NEWEST
from scrubjay.storage.control.fleet import copy_of
from scrubjay.storage.node import Node
from scrubjay.storage.replica.status import TREE_MOVES, VOTE_MOVES
from scrubjay.storage.service_port import Finding
from tests.unit.control.house import House

URL = "sim://archive"


class Watched:
    """A house and its health. told: (kind, whether it is over), as logged."""

    def __init__(self, partitions: int = 1, *, lag_alarm_us: int = 1 << 60) -> None:
        self.house = House(partitions=partitions)
        self.table: TableMeta = self.house.create("birds")
        self.told: list[tuple[str, bool]] = []
        self.owed: dict[str, str] = {}
        self.schedule: Scheduler | None = None
        self.heard = Heard()
        self.store = FaultyStore(self.house.cluster.archive.client(self.house.env.tasks), self.house.env)
        self.meter = MeteredStore(self.store, self.house.env)
        self.ledger: SqliteLedger = self.house.run(SqliteLedger.open(self.house.env.tasks, MEMORY))
        self._lag_alarm_us = lag_alarm_us
        self.health = self.begun()

    def begun(self) -> Health:
        """Of a process that begins now."""
        return Health(
            self.house.env,
            control=self.house.cluster.parts,
            heard=self.heard,
            agents=list(self.house.agents.values()),
            writer=self.house.writer,
            meter=self.meter,
            index=ArchiveIndex(self.meter, CLUSTER, tasks=self.house.env.tasks),
            ledger=self.ledger,
            free=lambda _name: None,
            options=HealthOptions(URL, "1", {}, 1 << 20, 1 << 30, self._lag_alarm_us),
            log=self._log,
            owed=lambda: self.owed,
            schedule=self.schedule,
        )

    def _log(self, problem: Problem, over: bool) -> None:
        self.told.append((problem.found.kind, over))

    def node(self, name: str) -> Node:
        return next(node for node in self.house.cluster.nodes() if node.name == name)

    def kinds(self) -> list[str]:
        return [problem.found.kind for problem in self.look().problems]

    def look(self) -> View:
        return self.health.look()

    def ask(self) -> None:
        """One request to the store, whatever becomes of it."""

        async def head() -> None:
            try:
                await self.meter.head("x")
            except ScrubjayError:
                return

        self.house.run(head())

    def status(self) -> dict[str, Any]:
        return dict(self.house.run(self.health.status()))

    def proven(self, number: int, verdict: str, *, ago_s: float) -> None:
        info = self.table.partitions[number]
        at_us = self.house.env.clock.wall_us() - int(ago_s * 1e6)
        proof = PartitionProof(info.partition_id, self.table.table_id, "scrub", at_us, 1, verdict, False, 0, None)
        self.house.run(self.ledger.scrubbed(proof))


def test_a_node_whose_syncs_are_slow_is_not_said_to_be_ahead() -> None:
    watched = Watched()
    clock = watched.node("n2").pulse.clock
    clock.reserved(stamp_of(watched.house.env.clock.wall_us() + 13_000_000), took_us=6_000_000)
    watched.look()
    watched.house.pass_time(1.5)
    assert watched.kinds() == []


@pytest.fixture(scope="module")
def two() -> Watched:
    """Of a table with two partitions."""
    return Watched(partitions=2)


def test_a_problem_is_shown_once_it_lasts_with_the_moment_at_which_it_began() -> None:
    watched = Watched()
    assert watched.kinds() == []
    clock = watched.node("n2").pulse.clock
    clock.reserved(stamp_of(watched.house.env.clock.wall_us() + 90_000_000), took_us=0)
    began = watched.house.env.clock.wall_us()
    assert watched.kinds() == [], "it may pass by itself"
    watched.house.pass_time(0.7)
    assert watched.kinds() == []
    watched.house.pass_time(0.7)
    view = watched.look()
    assert [(one.found.kind, one.found.subject, one.since_us) for one in view.problems] == [("clock-ahead", "n2", began)]
    assert watched.told == [("clock-ahead", False)]
    watched.house.pass_time(100)
    assert watched.kinds() == []
    assert watched.told == [("clock-ahead", False)], "it may come back"
    watched.house.pass_time(AWAY_S)
    assert watched.kinds() == []
    assert watched.told == [("clock-ahead", False), ("clock-ahead", True)]


def test_what_was_proven_stays_proven_when_a_later_scrub_could_not_compare(two: Watched) -> None:
    for number in (0, 1):
        two.proven(number, "match", ago_s=500)
    two.proven(0, "unverified", ago_s=5)
    (row,) = two.status()["tables"]
    assert (row["last_verdict"], 499 < row["oldest_unproven_seconds"] < 502) == ("unverified", True)


def test_a_first_base_that_is_owed_is_a_problem_of_its_table() -> None:
    """While a new cluster delivers them it is none; one that stays is, with the reason, until it is there."""
    watched = Watched()
    partition = watched.table.partitions[0].partition_id
    watched.owed = {partition: ""}
    assert watched.kinds() == []
    watched.owed = {partition: "the disk is full"}
    watched.house.pass_time(31)
    (problem,) = watched.look().problems
    assert (problem.found.kind, problem.found.table) == ("first-base-owed", "birds")
    assert f"partition {partition}, the disk is full" in problem.found.what
    watched.owed = {}
    assert watched.kinds() == []


def test_who_asks_twice_in_a_moment_gets_one_look_and_a_new_one_later() -> None:
    watched = Watched()
    view = watched.health.view()
    assert watched.health.view() is view
    watched.house.pass_time(0.3)
    assert watched.health.view() is not view


def test_members_whose_logs_are_full_take_no_writes() -> None:
    watched = Watched()
    leads = watched.house.cluster.leader(watched.table.partitions[0].partition_id)
    assert leads is not None
    others = [watched.node(name) for name in NAMES if name != leads.node.name]
    others[0].turn.full = True
    assert watched.look().serves, "two of three take writes"
    others[1].turn.full = True
    view = watched.look()
    assert not view.serves
    assert [one.found.kind for one in view.problems] == ["node-full", "node-full"]
    assert view.health == "down"


def test_a_table_that_is_being_restored_is_watched_from_its_publication_on() -> None:
    """Its copies wait for their base and nobody leads them: nobody asks them for anything yet, so that nothing is wrong."""
    watched = Watched()
    house, source = watched.house, watched.table
    house.put(source, 1, 1)
    at_us = house.env.clock.wall_us()
    target = msgspec.structs.replace(
        source,
        table_id=TableId("7a1b0000-0000-4000-8000-000000000001"),
        name="back",
        status="CREATING",
        partitions=tuple(msgspec.structs.replace(info, partition_id=PartitionId(house.env.rand.uuid())) for info in source.partitions),
        created_at=at_us,
        restore_of=RestoreOrigin(source.table_id, source.name, at_us, True),
        version=1,
    )
    house.run(house.service.create_restoring(target))
    for seconds in (0.1, 30.0):
        house.pass_time(seconds)
        view = watched.look()
        assert view.problems == ()
        assert view.serves
        assert "back" not in {table["table"] for table in watched.status()["tables"]}
    restored = house.table("back")
    published = msgspec.structs.replace(restored, status="ACTIVE", restore_of=RestoreOrigin(source.table_id, source.name, at_us, False))
    house.run(house.cluster.parts.store.metadata.put_table(published))
    assert not watched.look().serves, "as of now it is a table like any other, and nobody leads it"


def test_a_server_that_has_just_begun_calls_nothing_late_that_it_has_not_looked_at() -> None:
    watched = Watched(lag_alarm_us=5_000_000)
    watched.house.pass_time(20)
    watched.health = watched.begun()
    assert "archive-lags" not in watched.kinds(), "a table that is older than the alarm, at a start"
    watched.house.pass_time(4.5)
    assert "archive-lags" not in watched.kinds()
    watched.house.pass_time(1)
    assert "archive-lags" in watched.kinds(), "nobody has looked since"


def test_what_the_ledger_was_not_asked_yet_is_not_called_overdue() -> None:
    """Whoever asked for the health of an old cluster in the first moments of its process got an alarm for nothing."""
    watched = Watched()
    house, now_us = watched.house, watched.house.env.clock.wall_us()

    async def idle(_shift: Shift) -> ShiftOutcome:
        return ShiftOutcome("nothing_due", 0, 0)

    jobs = [NightJob(name, settings, idle) for name, settings in DEFAULTS.items()]
    watched.schedule = Scheduler(
        house.env,
        ScheduleBook(house.cluster.metadata),
        jobs,
        alarm=TaskAlarm(house.env),
        since_us=now_us - 40 * DAY_US,
        alone=True,
        log=print,
    )
    watched.health = watched.begun()
    house.run(watched.health._remembered.look())
    assert set(watched.kinds()) == {"archive-unread", "scrub-overdue", "verify-overdue"}, "nothing of it was ever looked at"
    house.run(watched.ledger.verified([PartitionProof(WHOLE, "", READ, now_us, None, "match", False, None, None)]))
    watched.told.clear()
    watched.health = watched.begun()
    assert (watched.kinds(), watched.told) == ([], [])
    house.run(watched.health._remembered.look())
    assert set(watched.kinds()) == {"scrub-overdue", "verify-overdue"}, "of the metadata group"


def test_an_archive_that_went_is_gone_and_not_out_of_reach() -> None:
    watched = Watched()
    watched.store.fault = lambda _verb, _key: Unavailable("the archive was here and is gone", error_code="ArchiveGone")
    watched.ask()
    assert watched.kinds() == ["archive-gone"]
    archive = watched.status()["archive"]
    assert (archive["reachable"], archive["present"]) == (True, False)
    watched.store.fault = lambda _verb, _key: Unavailable("connection refused")
    watched.ask()
    watched.house.pass_time(4)
    assert watched.kinds() == ["archive-unreachable"]


def test_a_copy_that_is_well_again_has_nothing_to_explain() -> None:
    heard = Heard()
    name = NodeName("n1")
    heard.told(name, None, "full", "no room")
    assert heard.why("n1", None) == "no room"
    heard.told(name, None, "ok", "")
    assert heard.why("n1", None) == ""


def test_one_partition_that_differs_is_a_table_that_differs(two: Watched) -> None:
    two.proven(0, "match", ago_s=10)
    two.proven(1, "mismatch", ago_s=10)
    table = two.status()["tables"][0]
    assert table["last_verdict"] == "mismatch"
    assert "scrub-mismatch" in two.kinds()


def test_a_table_is_proven_when_all_of_its_partitions_are(two: Watched) -> None:
    two.house.pass_time(60)
    two.proven(0, "match", ago_s=5)
    two.proven(1, "mismatch", ago_s=5)
    assert two.status()["tables"][0]["oldest_unproven_seconds"] > 59, "since it was made"
    two.proven(1, "match", ago_s=8)
    assert two.status()["tables"][0]["oldest_unproven_seconds"] == pytest.approx(8, abs=0.5)


def test_what_the_cluster_knows_to_be_archived_is_what_its_furthest_member_knows() -> None:
    watched = Watched()
    house = watched.house
    partition = watched.table.partitions[0].partition_id
    house.put(watched.table, 1, 1)
    house.until(lambda: all(watched.node(name).replicas[partition].segments.facts.archived for name in NAMES))
    replicas = [watched.node(name).replicas[partition] for name in NAMES]
    reached = max(one.segments.facts.archived for one in replicas)
    replicas[0].segments.facts.archived = replicas[1].segments.facts.archived = 0
    found = next(one for one in archived_here(house.cluster.parts) if one.partition == partition)
    assert found.lsn == reached


def test_a_table_that_is_being_made_takes_no_server_out_of_service() -> None:
    """Its partitions have no leaders yet: whoever asks for it has his answer all the same. One that is never done is a problem."""
    watched = Watched()
    house, metadata = watched.house, watched.house.cluster.metadata
    like = msgspec.structs.replace(
        watched.table, table_id=TableId("made"), name="made", status="CREATING", partitions=house.cluster.store.tables.new_partitions(1)
    )
    house.run(metadata.put_table(msgspec.structs.replace(like, created_at=house.env.clock.wall_us())))
    assert watched.look().serves
    assert watched.kinds() == []
    house.pass_time(70)
    assert not watched.look().serves
    house.pass_time(4)
    assert "no-leader" in watched.kinds()


def test_a_loop_that_fell_is_a_problem() -> None:
    watched = Watched()

    async def falls() -> None:
        raise KeyError("a bug")

    watched.house.env.tasks.keep(falls, name="looks at something")
    watched.house.pass_time(0.5)
    (problem,) = watched.look().problems
    assert problem.found.kind == "loop-fallen"
    assert "looks at something, fell over a bug: KeyError('a bug')" in problem.found.what
    assert problem.since_us <= watched.house.env.clock.wall_us() - 400_000


def test_a_ledger_that_hangs_keeps_nobody_from_being_told_nor_from_an_answer() -> None:
    watched = Watched()
    house, tasks = watched.house, watched.house.env.tasks
    answer, asked, sound = tasks.future(), list[int](), watched.ledger.partitions

    async def hangs() -> list[PartitionProof]:
        asked.append(house.env.clock.boot_us())
        await answer
        return await sound()

    watched.ledger.partitions = hangs  # type: ignore[method-assign]
    watched.health.start()
    house.pass_time(0.5)
    watched.node("n2").turn.full = True
    house.pass_time(1)
    assert watched.told == [("node-full", False)]
    began_us = house.env.clock.boot_us()
    watched.status()
    assert house.env.clock.boot_us() - began_us < (PATIENCE_S + 1) * 1e6
    house.pass_time(HANGS_S)
    (problem,) = [one for one in watched.look().problems if one.found.kind == "ledger-unkept"]
    assert "has not answered" in problem.found.what
    assert len(asked) == 1, "whoever asks meanwhile waits for the same"
    watched.proven(0, "match", ago_s=1)
    answer.set_result(None)
    house.pass_time(1)
    assert "ledger-unkept" not in watched.kinds()
    assert watched.status()["tables"][0]["last_verdict"] == "match"
    watched.health.stop()


def test_who_asks_while_the_ledger_is_asked_hears_what_was_noted_before_he_asked() -> None:
    watched = Watched()
    house, tasks = watched.house, watched.house.env.tasks
    answer, sound = tasks.future(), watched.ledger.partitions

    async def slow() -> list[PartitionProof]:
        found = await sound()
        await answer
        await tasks.sleep(0.2)
        return found

    watched.ledger.partitions = slow  # type: ignore[method-assign]
    tasks.spawn(watched.health._remembered.look(), name="before")
    house.pass_time(0.1)
    watched.proven(0, "mismatch", ago_s=1)
    tasks.call_later(0.5, lambda: answer.set_result(None))
    assert watched.status()["tables"][0]["last_verdict"] == "mismatch"


def test_no_state_of_a_copy_is_without_a_name_for_its_problem(two: Watched) -> None:
    """A kind that the rules do not know would end the look at everything, for everybody."""
    fleet = two.house.cluster.parts.fleet
    facts = fleet.all_facts()[0]
    node = two.house.cluster.parts.ports[facts.node]
    every = itertools.product(TREE_MOVES, {*VOTE_MOVES, "votes"}, (False, True), (False, True))
    seen = set()
    for tree, vote, behind, up in every:
        one = msgspec.structs.replace(facts, tree=tree, vote=vote, state="amnesiac" if vote == "amnesiac" else tree, behind=behind, up=up)
        seen.add(copy_of(node, one).state)
    assert {f"copy-{state}" for state in seen - {"ok"}} == {kind for kind in RULES if kind.startswith("copy-")}


def test_what_lies_under_a_lost_key_is_named_by_its_id_and_is_no_hole() -> None:
    watched = Watched()
    bucket = watched.house.cluster.archive
    watched.house.pass_time(30)
    key = next(key for key in bucket.keys("") if watched.table.table_id in key and "/log/" in key and key.endswith(".json"))
    sound = bucket.objects[key].data
    sealed = EncryptedStore(watched.meter, None, random=lambda size: bytes(size))

    def look() -> list[tuple[str, str]]:
        index = watched.health._index = ArchiveIndex(sealed, CLUSTER, tasks=watched.house.env.tasks)
        now_us = watched.house.env.clock.wall_us()
        watched.house.run(index.refresh(now_us=now_us, archived=archived_here(watched.house.cluster.parts)))
        return [(one.found.kind, one.found.what) for one in watched.look().problems if one.found.kind.startswith("archive-")]

    assert look() == []
    bucket.objects[key].data = seal(Keyring((Key("2027", b"l" * 32),)), key, sound, random=lambda size: bytes(size))
    ((kind, what),) = look()
    assert kind == "archive-no-key"
    assert "under key 2027, which is not configured: 1 objects" in what
    assert watched.status()["exit"] == 3
    del bucket.objects[key]
    assert [kind for kind, _ in look()] == ["archive-hole"]
    bucket.objects[key] = SimObject(sound, 0)
    assert look() == []


def test_what_keeps_the_clusters_version_is_told_and_after_a_day_it_is_a_problem() -> None:
    watched = Watched()
    house, metadata = watched.house, watched.house.cluster.metadata
    server: Any = house.cluster.hosts[1].process.port.server

    def told() -> VersionHealth | None:
        return watched.health.look().facts.version

    assert told() is None, "it is raised in a moment"
    server.can = 5
    house.pass_time(1)
    assert told() == VersionHealth(1, ("n2 can 5",), None)
    assert "releases-differ" not in [one.found.kind for one in watched.health.look().problems], "as in every upgrade"
    server.can = NEWEST
    house.run(metadata.put_version(VersionNote(1, 1, 7)))
    house.pass_time(1)
    assert told() == VersionHealth(1, (), 7)
    assert "version-held" in [one.found.kind for one in watched.health.look().problems], "for decades"
    house.run(metadata.put_version(VersionNote(1, 1, house.env.clock.wall_us())))
    assert "version-held" not in [one.found.kind for one in watched.begun().look().problems]
    house.run(metadata.put_version(VersionNote(NEWEST, NEWEST, 7)))
    assert told() is None, "there is nothing to be raised to"


def test_of_a_table_that_was_just_made_nothing_is_a_problem_before_nodes_have_told_who_leads_it() -> None:
    watched = Watched()
    fleet = watched.house.cluster.parts.fleet
    metadata = watched.house.cluster.metadata
    now_us = watched.house.env.clock.wall_us()
    table = metadata.tables[watched.table.table_id]
    metadata.tables[watched.table.table_id] = msgspec.structs.replace(table, created_at=now_us)

    def parts() -> list[str]:
        return [part.partition for part in watched.look().facts.partitions if part.table == table.name]

    fleet._led.clear()
    assert parts() == [table.partitions[0].partition_id], "its leader is known"
    fleet._led.clear()
    fleet.facts = lambda partition: []  # type: ignore[method-assign]
    assert parts() == []


def test_what_was_found_of_a_partition_that_was_split_is_told_until_a_scrub_of_its_halves_has_told_of_it() -> None:
    """No scrub compares it any more, and moments before the split are restored from what the archive has of it."""
    watched = Watched()
    house, service = watched.house, watched.house.service
    for key in range(20):
        house.put(watched.table, key, key)
    house.pass_time(6)
    splits: Any = house.cluster.parts.splits
    (parent,) = house.table("birds").partitions
    house.run(splits.begin(house.table("birds"), parent, bytes([0x80]) + bytes(15)))
    house.until(lambda: bool(house.table("birds").former))
    (right,) = [info for info in house.table("birds").partitions if not info.hi]
    house.run(splits.begin(house.table("birds"), right, bytes([0xC0]) + bytes(15)))
    house.until(lambda: len(house.table("birds").former or ()) == 2)
    house.pass_time(10)
    assert house.scrub().verdict.value == "match"
    found = [
        Finding(
            "unreadable",
            "archive",
            place.partition_id,
            None,
            None,
            f"object of {place.lo}",
            1,
            None,
            "verify",
            "none",
            "rot",
            house.world.now,
        )
        for place in (parent, right)
    ]
    for one in found:
        service.note(one)
    assert len([one for one in watched.health.look().problems if one.found.kind == "finding"]) == 1
    report = house.scrub()
    told = [one.finding.object for table in report.tables for part in table.partitions for one in part.findings]
    assert (report.verdict.value, sorted(told)) == ("mismatch", sorted(str(one.object) for one in found))
    assert [one for one in watched.health.look().problems if one.found.kind == "finding"] == []
    assert house.scrub().verdict.value == "match"
    # What a verify said of its archive stands, too.
    proof = PartitionProof(
        parent.partition_id, watched.table.table_id, "records", house.world.now, None, "mismatch", False, None, None, None
    )
    house.run(watched.ledger.verified([proof]))
    house.run(watched.health._remembered.look())
    assert [one.found.kind for one in watched.health.look().problems if one.found.kind == "verify-mismatch"] == ["verify-mismatch"]
