"""Recovery on the real classes: a cluster's tables out of its archive, into a cluster that has none of them any more (its own, after they were dropped)."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from scrubjay.archiver.format.layout import SegmentKey, build, parse
from scrubjay.archiver.format.pin import BackupPin, encode_pin
from scrubjay.base.env import Jobs
from scrubjay.base.errors import Corrupt, DiskFull, Exhausted, Internal, Missing, ScrubjayError, Unavailable, Unsafe
from scrubjay.base.sealed import Key, Keyring, seal
from scrubjay.base.times import utc_text
from scrubjay.base.wrap.encrypted import EncryptedStore
from scrubjay.pitr import first_base
from scrubjay.pitr.archive import Progress
from scrubjay.pitr.first_base import FOLDER, FirstBases
from scrubjay.pitr.job import LOAD, PREFIX, READ
from scrubjay.pitr.options import RestoreOptions
from scrubjay.pitr.pace import Costs, StepCost, Work
from scrubjay.pitr.rates import Rates
from scrubjay.pitr.recover import choose
from scrubjay.pitr.recover.choose import Choice, Chooser
from scrubjay.pitr.recover.parent import Parent
from scrubjay.pitr.recover.parent_source import RecoverySource
from scrubjay.pitr.recover.remake import ParentRows
from scrubjay.pitr.recover.report import plan_report, plans_of
from scrubjay.pitr.recover.run import Brought, Foreseen, Recovery
from scrubjay.pitr.recover.schedules import carried
from scrubjay.scrubber.schedule.settings import JobNote, JobSettings, LastRun
from scrubjay.server.archive import start_agents
from scrubjay.sim.store import SimObject, StoreFaults
from scrubjay.sim.whole.cluster import CLUSTER
from scrubjay.sim.whole.commands import key_of
from scrubjay.sim.whole.run import AGENT
from scrubjay.storage.btree.beside import TreesHere
from scrubjay.storage.btree.memory_treefile import MAKER
from scrubjay.storage.catalogue import METADATA_TABLE, TableMeta, Throughput
from tests.unit.control.house import House

ROWS = 8
NAMES = ("blackbirds", "orders")
TAGS = (("who", "birds"),)
SET = JobNote(settings=JobSettings(cron="5 3 * * *", within_us=7), set_us=11, paused_us=13)
"""Of the schedule's job `scrub`, before everything was lost."""


COSTS = Costs({}, (StepCost(1, 1, 1, 1),) * 2, 1.0, 0.1, 1)


class Lost:
    """A cluster whose tables are gone, and the moment before. `at`: when all was there and proven."""

    def __init__(self, *, partitions: int = 2, scrubbed: bool = False) -> None:
        """scrubbed: bases were made before that moment."""
        self.house = House(partitions=partitions)
        self.told: list[dict[str, Any]] = []
        self.foreseen: Foreseen | None = None
        self.want: dict[str, dict[bytes, int]] = {}
        for name in NAMES:
            table = self.house.create(name)
            self.house.run(self.house.cluster.store.update_table(name, {"tags": TAGS}))
            for key in range(ROWS):
                self.house.put(table, key, key)
            self.want[name] = {key_of(key): key for key in range(ROWS)}
        if scrubbed:
            assert self.house.scrub().verdict == "match"
        ran = msgspec.structs.replace(SET, handled_us=17, last=LastRun(19, "match", 1.0, 2, 0))
        self.house.run(self.house.service.save_job("schedule/scrub", msgspec.to_builtins(ran)))
        self.house.pass_time(6)
        self.parent = self.opened()
        self.at = self.choose().at_us
        self.house.run(self.house.service.save_job("schedule/scrub", None))
        for name in NAMES:
            self.house.run(self.house.cluster.store.delete_table(name))
        self.house.until(lambda: not self.house.cluster.store.table_names())
        self.house.pass_time(6)
        self.parent = self.opened()
        self.source: RecoverySource | None = None

    def opened(self) -> Parent:
        house = self.house
        parent = Parent(house.env, house.client(), house.cluster.folder.disk, CLUSTER, ahead_us=5_000_000)
        house.run(parent.open())
        return parent

    def chooser(self, *only: str) -> Chooser:
        return Chooser(self.parent, only=only, now_us=self.house.env.clock.wall_us())

    def choose(self, at_us: int | None = None, *only: str) -> Choice:
        return self.house.run(self.chooser(*only).choose(at_us))

    def recovery(self, choice: Choice) -> Recovery:
        """A new life of it, as the control part that runs now sees the cluster."""
        house = self.house
        self.source = RecoverySource(
            house.env,
            house.service,
            house.jobs(),
            house.cluster.folder.disk,
            self.parent,
            url=house.cluster.archive.url,
            trees=TreesHere(MAKER, ""),
        )
        return Recovery(
            house.env,
            house.service,
            self.source,
            RestoreOptions(lanes=2),
            choice,
            max_offset_us=500_000,
            tell=self.told.append,
            log=house.lines.append,
            foreseen=self.foreseen,
        )

    def bases(self, jobs: Jobs | None = None, *, remade: bool = False) -> FirstBases:
        """remade: the parent's archive may be asked for rows that are no good here any more."""
        house, disk = self.house, self.house.cluster.folder.disk
        parent = ParentRows(house.env, house.jobs(), disk, disk, url=house.cluster.archive.url, opened=house.client, ahead_us=5_000_000)
        return FirstBases(
            house.env, house.service, jobs or house.jobs(), disk, url=house.cluster.archive.url, writer=house.writer,
            log=lambda level, line: house.lines.append(f"{level} {line}"), remake=parent.make if remade else None,
        )  # fmt: skip

    def restart(self) -> None:
        self.house.restart_control()
        self.parent = self.opened()

    def holds(self, brought: list[Brought]) -> None:
        assert [(one.source.name, one.report["state"], one.report["verdict"], one.report["rows"]) for one in brought] == [
            (name, "published", "match", ROWS) for name in NAMES
        ], [one.report for one in brought]
        for name in NAMES:
            table = self.house.table(name)
            self.house.until(lambda table=table: all(self.house.cluster.store.leader(info.partition_id) for info in table.partitions))  # type: ignore[misc]
            assert self.house.rows(table) == self.want[name]
            assert table.tags == TAGS


LIVES_MAX = 200


class Failing:
    """Jobs that fail while `error` is set. only: that partition's."""

    def __init__(self, jobs: Jobs, error: ScrubjayError | None, *, only: str | None = None) -> None:
        self.jobs, self.error, self.only, self.tries = jobs, error, only, 0

    async def run(self, job: str, arguments: dict[str, Any], *, progress: Progress | None = None) -> dict[str, Any]:
        self.tries += 1
        if self.error is not None and self.only in (None, arguments["partition"]):
            raise self.error
        return await self.jobs.run(job, arguments, progress=progress)


@pytest.fixture
def lost() -> Lost:
    return Lost()


def test_everything_comes_back_and_is_archived_from_then_on(lost: Lost) -> None:
    choice = lost.choose(lost.at)
    assert [table.name for table in choice.tables] == list(NAMES)
    works = {table.table_id: {info.partition_id: Work(1.0, 0.1, 0.1, 0.1) for info in table.partitions} for table in choice.tables}
    lost.foreseen = Foreseen(10.0, works, 3)
    recovery = lost.recovery(choice)
    brought = lost.house.run(recovery.run())
    lost.holds(brought)
    assert lost.told[0]["left_s"] == 10.0
    assert recovery._left(lost.foreseen) == 0.0, "all that was foreseen is done"
    assert not [line for line in lost.house.lines if "one by one" in line]
    old = {table.table_id for table in choice.tables}
    for name in NAMES:
        table = lost.house.table(name)
        assert table.table_id not in old
        assert (table.restore_of.at, table.restore_of.in_progress) == (lost.at, False)  # type: ignore[union-attr]
    done: list[dict[str, Any]] = []
    lost.house.run(recovery.settled(brought, lambda: done.append(lost.house.service.jobs(PREFIX))))
    assert [len(notes) for notes in done] == [len(NAMES)]
    assert lost.house.service.jobs(PREFIX) == {}
    assert lost.bases().owed
    lost.house.run(lost.bases().deliver())
    assert not lost.bases().owed
    assert lost.house.service.jobs(first_base.PREFIX) == {}
    assert not lost.house.cluster.folder.disk.exists(FOLDER)
    lost.house.pass_time(6)
    report = lost.house.scrub()
    assert report.verdict == "match", report


def test_the_latest_moment_is_behind_the_drop(lost: Lost) -> None:
    choice = lost.choose()
    assert choice.tables == ()
    assert choice.at_us > lost.at
    assert sorted((table.name, why) for table, why in choice.left_out) == [(name, "dropped") for name in NAMES]


def test_between_two_drops_one_is_there() -> None:
    lost = Lost()
    catalogue = lost.choose().catalogue
    first, second = sorted(catalogue.tables, key=lambda table: table.dropped_at or 0)
    between = (first.dropped_at or 0) + 1
    assert between < (second.dropped_at or 0)
    names = [table.name for table in lost.choose(between).tables]
    assert first.name not in names


@pytest.mark.slow
def test_of_chosen_tables(lost: Lost) -> None:
    choice = lost.choose(lost.at, "orders")
    assert [table.name for table in choice.tables] == ["orders"]
    with pytest.raises(Unavailable, match="no such table") as refused:
        lost.choose(lost.at, "orders", "sparrows")
    assert refused.value.fields["error_code"] == "ResourceNotFound"
    assert refused.value.fields["asked"] == "sparrows"


def test_outside_what_is_proven_nothing_is_chosen(lost: Lost) -> None:
    for at in (1, lost.house.env.clock.wall_us() + 60_000_000):
        with pytest.raises(Unsafe, match="outside what the archive proves") as refused:
            lost.choose(at)
        assert refused.value.fields["body"]["works_at"] is not None
        assert ("has not come yet" in refused.value.message) == (at > 1), "and not that something is lost which nobody could have"


def segments(lost: Lost, table: TableMeta) -> list[str]:
    """Keys of a table's segment objects."""
    found = []
    for name in sorted(lost.house.cluster.archive.objects):
        key = parse(name)
        if isinstance(key, SegmentKey) and not key.manifest and key.table == table.table_id:
            found.append(name)
    return found


def test_a_hole_is_named_with_a_moment_that_works(lost: Lost) -> None:
    orders = next(table for table in lost.choose(lost.at).tables if table.name == "orders")
    gone = segments(lost, orders)[1]
    del lost.house.cluster.archive.objects[gone]
    lost.parent = lost.opened()
    with pytest.raises(Missing, match="a hole where this moment needs it") as refused:
        lost.choose(lost.at)
    body: dict[str, Any] = refused.value.fields["body"]
    key = parse(gone)
    assert isinstance(key, SegmentKey)
    assert [(one["table"], one["partition"], one["first_lsn"]) for one in body["holes"]] == [("orders", key.partition, key.first)]
    works = lost.house.run(lost.chooser().settle(lost.at))
    assert works is not None
    assert works.at_us < lost.at
    again = lost.choose(works.at_us)
    assert again.at_us == works.at_us
    assert lost.choose(lost.at, "blackbirds").at_us == lost.at, "the other table is whole"


def locked(lost: Lost, *names: str) -> None:
    """Those objects lie under a key that this machine does not have."""
    house = lost.house
    for name in names:
        held = house.cluster.archive.objects[name]
        data = seal(Keyring((Key("2027", b"l" * 32),)), name, held.data, random=lambda size: bytes(size))
        house.cluster.archive.objects[name] = SimObject(data, held.made_us)
    sealed = EncryptedStore(house.client(), None, random=lambda size: bytes(size))
    lost.parent = Parent(house.env, sealed, house.cluster.folder.disk, CLUSTER, ahead_us=5_000_000)


def test_what_lies_under_a_lost_key_is_no_hole(lost: Lost) -> None:
    orders = next(table for table in lost.choose(lost.at).tables if table.name == "orders")
    locked(lost, segments(lost, orders)[1].removesuffix(".seg") + ".json")
    lost.house.run(lost.parent.open())
    with pytest.raises(Unsafe, match="under key 2027, which is not configured") as refused:
        lost.choose(lost.at)
    body: dict[str, Any] = refused.value.fields["body"]
    assert [(one["table"], "2027" in one["no_key"]) for one in body["holes"]] == [("orders", True)]
    works = lost.house.run(lost.chooser().settle(lost.at))
    assert works is not None
    assert body["works_at"] == utc_text(works.at_us)
    assert "encryption.keys" in refused.value.fields["next"]


def test_a_catalogue_under_a_lost_key_is_not_called_lost(lost: Lost) -> None:
    locked(lost, *(name for name in lost.house.cluster.archive.objects if "/log/" in name and name.endswith(".json")))
    with pytest.raises(Unsafe, match="under key 2027, which is not configured"):
        lost.house.run(lost.parent.open())


def test_a_lost_end_is_no_earlier_latest() -> None:
    """The newest segment of a live table is gone: to go back silently to what is left would lose what was proven."""
    house = House()
    table = house.create("orders")
    for key in range(ROWS):
        house.put(table, key, key)
        house.pass_time(2)
    house.pass_time(6)
    lost = Lost.__new__(Lost)
    lost.house = house
    lost.parent = lost.opened()
    whole = lost.choose()
    newest = segments(lost, table)[-1]
    for name in (newest, newest.removesuffix(".seg") + ".json"):
        house.cluster.archive.objects.pop(name, None)
    lost.parent = lost.opened()
    with pytest.raises(Missing) as refused:
        lost.choose()
    works = refused.value.fields["body"]["works_at"]
    assert works is not None
    found = house.run(lost.chooser().settle(whole.at_us))
    assert found is not None
    assert lost.choose(found.at_us).at_us < whole.at_us


def of_the_catalogue(lost: Lost) -> list[str]:
    return segments(lost, lost.parent.system)


def rot(lost: Lost, name: str) -> None:
    """One bit of an object of the archive."""
    good = lost.house.cluster.archive.objects[name]
    data = bytearray(good.data)
    data[-9] ^= 4
    lost.house.cluster.archive.objects[name] = SimObject(bytes(data), good.made_us)


def test_where_nothing_at_all_is_proven_the_moment_that_was_asked_for_is_told(lost: Lost) -> None:
    first = of_the_catalogue(lost)[0]
    for name in list(lost.house.cluster.archive.objects):
        if name == first or name.startswith(first.partition("/log/")[0] + "/base/"):
            del lost.house.cluster.archive.objects[name]
    for at, told in ((lost.at, utc_text(lost.at)), (None, "--latest")):
        lost.parent = lost.opened()
        with pytest.raises((Missing, Unsafe)) as refused:
            lost.choose(at)
        assert refused.value.fields["asked"] == told
        assert refused.value.fields["body"]["works_at"] is None


def test_a_catalogue_that_rots_all_over_is_given_up(lost: Lost, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each object that reading finds bad costs another rebuild from an earlier end: so many are tried, and then it is told which is bad."""
    rot(lost, of_the_catalogue(lost)[-1])
    lost.parent = lost.opened()
    monkeypatch.setattr(choose, "DAMAGED_MAX", 0)
    with pytest.raises(Corrupt) as refused:
        lost.choose()
    assert refused.value.fields["where"] == of_the_catalogue(lost)[-1]


@pytest.mark.parametrize("gone", [True, False])
def test_a_lost_end_of_the_catalogue_is_no_earlier_latest(lost: Lost, gone: bool) -> None:
    """Of the metadata group's log the newest segment is gone, or rotten, which only reading finds: what tables there were since is lost, and is not gone back over."""
    whole = lost.choose()
    newest = of_the_catalogue(lost)[-1]
    if gone:
        for name in (newest, newest.removesuffix(".seg") + ".json"):
            lost.house.cluster.archive.objects.pop(name, None)
    else:
        rot(lost, newest)
    lost.parent = lost.opened()
    with pytest.raises(Missing) as refused:
        lost.choose()
    body = refused.value.fields["body"]
    assert [one["table"] for one in body["holes"]] == [METADATA_TABLE]
    works = lost.house.run(lost.chooser().settle(whole.at_us))
    assert works is not None
    assert works.at_us < whole.at_us
    assert body["works_at"] == utc_text(works.at_us)
    assert lost.choose(works.at_us).at_us == works.at_us


def test_a_clock_that_is_behind_does_not_choose_the_latest(lost: Lost) -> None:
    """What lies ahead of this machine's clock is not believed; a recovery to what was the latest by then would lose the rest without a word."""
    house = lost.house
    lost.parent = Parent(house.env, house.client(), house.cluster.folder.disk, CLUSTER, ahead_us=-9_000_000)
    house.run(lost.parent.open())
    with pytest.raises(Unsafe, match="ahead of this machine's clock") as refused:
        lost.choose()
    assert refused.value.fields["body"]["works_at"] is not None


def test_a_beginning_that_rotted_below_a_base_costs_nothing() -> None:
    """Of every log the first segment, with its SCHEMA record, cannot be read; what is restored begins behind it."""
    lost = Lost(scrubbed=True)
    for table in (lost.parent.system, *lost.choose(lost.at).tables):
        for name in segments(lost, table):
            key = parse(name)
            if isinstance(key, SegmentKey) and key.first == 1:
                rot(lost, name)
    lost.parent = lost.opened()
    lost.holds(lost.house.run(lost.recovery(lost.choose(lost.at)).run()))


def test_a_beginning_that_rotted_is_named_by_whom_needs_it(lost: Lost) -> None:
    first = of_the_catalogue(lost)[0]
    rot(lost, first)
    lost.parent = lost.opened()
    with pytest.raises(Missing) as refused:
        lost.choose()
    assert [(one["table"], one["first_lsn"]) for one in refused.value.fields["body"]["holes"]] == [(METADATA_TABLE, 1)]


def test_damage_that_only_reading_finds(lost: Lost) -> None:
    """The listing is whole and one object is rotten: its table does not come back, the other does; put back, the same again brings the rest."""
    choice = lost.choose(lost.at)
    orders = next(table for table in choice.tables if table.name == "orders")
    rotten = segments(lost, orders)[1]
    good = lost.house.cluster.archive.objects[rotten]
    rot(lost, rotten)
    brought = lost.house.run(lost.recovery(choice).run())
    states = {one.source.name: one.report["state"] for one in brought}
    assert states == {"blackbirds": "published", "orders": "failed"}
    report = next(one.report for one in brought if one.source.name == "orders")
    assert [finding["object"] for finding in report["findings"]] == [rotten]
    works = lost.house.run(lost.chooser().settle(lost.at))
    assert works is not None
    assert works.at_us < lost.at, "what was found bad is no proof any more"
    lost.house.cluster.archive.objects[rotten] = good
    lost.parent = lost.opened()
    lost.holds(lost.house.run(lost.recovery(lost.choose(lost.at)).run()))


def test_a_table_that_was_just_being_made_comes_back_empty(lost: Lost) -> None:
    choice = lost.choose(lost.at)
    made = tuple(msgspec.structs.replace(table, status="CREATING") if table.name == "orders" else table for table in choice.tables)
    begun = tuple(table for table in made if table.status == "CREATING")
    brought = lost.house.run(lost.recovery(choice._replace(tables=made, empty=begun)).run())
    assert {one.source.name: (one.report["state"], one.report["rows"]) for one in brought} == {
        "blackbirds": ("published", ROWS),
        "orders": ("published", 0),
    }
    assert lost.house.table("orders").status == "ACTIVE"
    assert lost.house.rows(lost.house.table("orders")) == {}


def test_the_log_itself_says_what_it_is(lost: Lost) -> None:
    """A catalogue that says another schema than the SCHEMA record of the log: nothing is rebuilt by it."""
    orders = next(table for table in lost.choose(lost.at).tables if table.name == "orders")
    forged = msgspec.structs.replace(orders, attributes=(("k", "B"),))
    lost.house.run(lost.parent.check_schema(orders, orders.partitions[0], None))
    with pytest.raises(Corrupt, match="SCHEMA record"):
        lost.house.run(lost.parent.check_schema(forged, orders.partitions[0], None))


def test_where_the_beginning_of_the_log_is_gone_the_base_says_what_it_is() -> None:
    """Retention took LSN 1 away. What is rebuilt from the base must be of the schema that the catalogue says, as with the record itself."""
    lost = Lost(scrubbed=True)
    choice = lost.choose(lost.at)
    orders = next(table for table in choice.tables if table.name == "orders")
    for name in segments(lost, orders):
        key = parse(name)
        if isinstance(key, SegmentKey) and key.first == 1:
            for one in (name, name.removesuffix(".seg") + ".json"):
                lost.house.cluster.archive.objects.pop(one, None)
    lost.parent = lost.opened()
    plan = plans_of(lost.parent, choice, rates=Rates(), workers=1)[orders.table_id]
    info = orders.partitions[0]
    (part,) = (part for part in plan.partitions if part.partition == info.partition_id)
    base = part.base.object if part.base is not None else None
    forged = msgspec.structs.replace(orders, attributes=(("k", "B"),))
    lost.house.run(lost.parent.check_schema(orders, info, base))
    with pytest.raises(Corrupt, match="the base behind that"):
        lost.house.run(lost.parent.check_schema(forged, info, base))
    lost.recovery(choice)
    assert lost.source is not None
    with pytest.raises(Corrupt, match="the base behind that"):
        lost.house.run(lost.source.rebuild(forged, info, part, cut=plan.cut, path=first_base.rows_path(info.partition_id), progress=None))


@pytest.mark.parametrize("seed", range(4))
def test_killed_and_run_again(lost: Lost, seed: int) -> None:
    """The process dies, again and again, at moments that a seed picks; each life goes on and the last one has everything, once."""
    rng = random.Random(seed)
    for _ in range(3):
        recovery = lost.recovery(lost.choose(lost.at))
        lost.house.env.tasks.spawn(recovery.run(), name="recover")
        lost.house.pass_time(rng.uniform(0.01, 1.5))
        lost.restart()
    lost.holds(lost.house.run(lost.recovery(lost.choose(lost.at)).run()))
    assert lost.house.cluster.store.table_names() == sorted(NAMES)
    lost.house.run(lost.bases().deliver())
    lost.house.pass_time(6)
    assert lost.house.scrub().verdict == "match"


@pytest.mark.slow
def test_killed_after_every_step() -> None:
    """A life ends as soon as it has left anything behind that no life before it had: a note, a row file, a table, what a copy loaded. The last has everything, once."""
    lost = Lost(partitions=1)
    house = lost.house
    seen: set[str] = set()

    def moved() -> bool:
        """Something is there now, noted or on a disk, that never was before."""
        jobs = {
            job["source_name"]: (job["phase"], job["state"], [(one["sum"], one["copies"]) for one in job["partitions"]])
            for job in house.service.jobs(PREFIX).values()
        }
        tables = [(table.name, table.status, table.restore_of and table.restore_of.in_progress) for table in house.service.tables()]
        disk = house.cluster.folder.disk
        files = sorted(disk.listdir(FOLDER)) if disk.exists(FOLDER) else []
        now = repr((sorted(jobs.items()), sorted(map(repr, tables)), files, sorted(house.service.jobs(first_base.PREFIX))))
        new = now not in seen
        seen.add(now)
        return new

    moved()
    for _ in range(LIVES_MAX):
        work = house.env.tasks.spawn(lost.recovery(lost.choose(lost.at)).run(), name="recover")
        assert house.world.run(until_us=house.world.now + 120_000_000, stop=lambda: work.done() or moved())  # noqa: B023
        if work.done():
            break
        lost.restart()
    lost.holds(work.result())
    assert len(seen) > 4 * len(NAMES) * house.partitions, "it went through in many steps"
    house.run(lost.bases().deliver())
    house.pass_time(6)
    assert house.scrub().verdict == "match"


@pytest.mark.parametrize("seed", range(2))
def test_the_store_is_away_in_the_middle(lost: Lost, seed: int) -> None:
    """Slow-downs and lost answers on the way; then nothing answers any more (or the token has expired: every request is refused): the run ends, says so, and the same
    again goes on when it is back."""
    house = lost.house
    house.cluster.archive.faults = StoreFaults(throttled=0.1, timeout_before=0.05, short_body=0.05)
    work = house.env.tasks.spawn(lost.recovery(lost.choose(lost.at)).run(), name="recover")
    house.until(lambda: any(job["phase"] == READ for job in house.service.jobs(PREFIX).values()))
    house.pass_time(0.02 * seed)
    house.cluster.archive.faults.down = True
    house.until(work.done, seconds=900)
    failed = [one.report for one in work.result() if not one.published]
    assert failed, "it was away before everything had been read"
    assert all(report["state"] == "failed" and report["error"]["code"] == "Unavailable" for report in failed), failed
    house.cluster.archive.faults.down = False
    lost.parent = lost.opened()
    lost.holds(house.run(lost.recovery(lost.choose(lost.at)).run()))


def test_what_was_set_of_the_schedule_comes_back(lost: Lost) -> None:
    """Settings and pauses; not what its runs had reached, which was another cluster's. A note that is no good is said."""
    choice = lost.choose(lost.at)
    recovery = lost.recovery(choice)
    brought = lost.house.run(recovery.run())
    assert lost.house.service.jobs("schedule/") == {}
    lost.house.run(recovery.settled(brought, lambda: None))
    assert lost.house.service.jobs("schedule/") == {"schedule/scrub": msgspec.to_builtins(SET)}
    assert recovery.schedules.said == ({"job": "scrub", "brought": True, "why": None},)
    bad = carried({"schedule/verify": {"paused_us": "yes"}, "schedule/expire": {"handled_us": 3}, "pin/x": {}})
    assert bad.notes == {}
    assert [(one["job"], one["brought"]) for one in bad.said] == [("verify", False)]


def test_log_replicas_are_as_many_as_before(lost: Lost) -> None:
    choice = lost.choose(lost.at)
    tables = tuple(
        msgspec.structs.replace(table, partitions=tuple(msgspec.structs.replace(info, logs=(2,)) for info in table.partitions))
        for table in choice.tables
    )
    brought = lost.house.run(lost.recovery(choice._replace(tables=tables)).run())
    lost.holds(brought)
    for name in NAMES:
        assert [info.logs for info in lost.house.table(name).partitions] == [(2,)] * lost.house.partitions


def test_all_that_users_set_stays(lost: Lost) -> None:
    """Every field of a table is either as it was, or one of those that are the new cluster's own."""
    table = msgspec.structs.replace(
        next(iter(lost.choose(lost.at).tables)), billing="PAY_PER_REQUEST", billing_changed_at=3, throughput=Throughput(4, 5),
        throughput_changed_at=(6, 7), deletion_protection=True, table_class="STANDARD_INFREQUENT_ACCESS", table_class_changed_at=8,
        pitr_enabled_at=9, pitr_days=10, on_demand=Throughput(11, 12), created_at=13,
    )  # fmt: skip
    made = lost.recovery(lost.choose(lost.at)).target_of(table)
    own = {"table_id", "status", "partitions", "restore_of", "dropped_at", "finals", "archived_at", "absent", "version"}
    for field in msgspec.structs.fields(table):
        if field.name not in own:
            assert getattr(made, field.name) == getattr(table, field.name), field.name


def test_notes_go_only_when_it_is_said_that_all_is_done(lost: Lost) -> None:
    """There is no room to say so, or the process dies: the next life knows its tables by their notes."""
    recovery = lost.recovery(lost.choose(lost.at))
    brought = lost.house.run(recovery.run())

    def full() -> None:
        raise DiskFull("no room")

    with pytest.raises(DiskFull):
        lost.house.run(recovery.settled(brought, full))
    lost.restart()
    lost.holds(lost.house.run(lost.recovery(lost.choose(lost.at)).run()))


def test_what_was_read_is_not_read_again(lost: Lost) -> None:
    recovery = lost.recovery(lost.choose(lost.at))
    lost.house.env.tasks.spawn(recovery.run(), name="recover")

    def read() -> bool:
        """One table is read whole, and not loaded yet."""
        return any(job["phase"] == LOAD for job in lost.house.service.jobs(PREFIX).values())

    assert lost.house.world.run(until_us=lost.house.world.now + 60_000_000, stop=read)
    lost.restart()
    lost.holds(lost.house.run(lost.recovery(lost.choose(lost.at)).run()))
    assert lost.source is not None
    assert lost.source.reused >= lost.house.partitions


def test_a_row_file_that_rots_between_two_lives_is_never_published(lost: Lost) -> None:
    """What was noted beside it is no proof: each copy says what it holds. The life that meets it fails, the next reads it anew."""
    recovery = lost.recovery(lost.choose(lost.at))
    lost.house.env.tasks.spawn(recovery.run(), name="recover")
    disk = lost.house.cluster.folder.disk

    def rebuilt() -> list[str]:
        return [name for name in disk.listdir(FOLDER) if name.endswith(".rows.json")]

    assert lost.house.world.run(until_us=lost.house.world.now + 60_000_000, stop=lambda: bool(rebuilt()))
    lost.restart()
    path = f"{FOLDER}/{rebuilt()[0].removesuffix('.json')}"
    file = disk.open(path)
    data = file.pread(60, 1)
    file.write(60, bytes([data[0] ^ 1]))
    file.sync()
    file.close()
    brought = lost.house.run(lost.recovery(lost.choose(lost.at)).run())
    assert any(not one.published for one in brought)
    lost.restart()
    lost.holds(lost.house.run(lost.recovery(lost.choose(lost.at)).run()))


def test_the_plan_says_what_is_read(lost: Lost) -> None:
    choice = lost.choose(lost.at)
    plans = plans_of(lost.parent, choice, rates=Rates(), workers=2)
    report = plan_report(
        lost.parent, choice, plans, costs=COSTS, workers=2, lanes=2, copies=3, backups=lost.house.run(lost.parent.backups())
    )
    assert [one["table"] for one in report["tables"]] == list(NAMES)
    assert report["bytes"] == sum(one["bytes"] for one in report["tables"]) > 0
    assert report["requests"] > 0
    assert report["predicted_seconds"] >= Rates().fixed
    assert (report["parent"], report["holes"], report["forks"], report["end_checked"]) == (CLUSTER, [], [], False)
    assert report["backups"] == report["backups_unread"] == []


def test_a_backup_of_the_parent_is_named_and_its_moment_comes_back_alone(lost: Lost) -> None:
    """Its tables were dropped since: the pin says of which moment, and the parent's archive still has that."""
    source = next(table for table in lost.choose(lost.at).tables if table.name == "orders")
    members_left_out = tuple(msgspec.structs.replace(info, members=(), logs=()) for info in source.partitions)
    kept = TableMeta(
        table_id=source.table_id, name="orders", status="ACTIVE", key=source.key, attributes=source.attributes, partitions=members_left_out,
        created_at=source.created_at, billing=source.billing,
    )  # fmt: skip
    who = lost.house.writer.attached
    pin = BackupPin(
        cluster=CLUSTER, id="01760000000123-00c0ffee", name="quarter", at_us=lost.at, created_us=lost.at, table=kept, rows=ROWS, bytes=1, epoch=who.epoch,
        owner=who.owner,
    )  # fmt: skip
    client = lost.house.client()
    lost.house.run(client.put(build(pin.key()), encode_pin(pin)))
    lost.house.run(client.put(f"{CLUSTER}/pins/rotten.json", b"{"))
    found = lost.house.run(lost.opened().backups())
    latest = lost.choose()
    report = plan_report(lost.parent, latest, {}, costs=COSTS, workers=2, lanes=2, copies=3, backups=found)
    assert report["backups"] == [
        {"backup": "quarter", "backup_id": pin.id, "table": "orders", "table_id": source.table_id, "at": utc_text(lost.at)}
    ]
    assert report["backups_unread"] == [f"{CLUSTER}/pins/rotten.json"]
    (brought,) = lost.house.run(lost.recovery(lost.choose(pin.at_us, "orders")).run())
    assert (brought.source.name, brought.report["state"], brought.report["verdict"]) == ("orders", "published", "match")
    table = lost.house.table("orders")
    lost.house.until(lambda: all(lost.house.cluster.store.leader(info.partition_id) for info in table.partitions))
    assert lost.house.rows(table) == lost.want["orders"]


def test_nothing_else_is_archived_before_the_first_bases(lost: Lost) -> None:
    """While the store is away they are owed, and tried again; it is told once."""
    lost.house.run(lost.recovery(lost.choose(lost.at)).run())
    lost.house.cluster.archive.faults.down = True
    work = lost.house.env.tasks.spawn(lost.bases().deliver(), name="deliver")
    lost.house.pass_time(20)
    assert not work.done()
    assert sum("first bases are not in the archive yet" in line for line in lost.house.lines) == 1
    lost.house.cluster.archive.faults.down = False
    lost.house.until(work.done)
    assert not lost.bases().owed


@pytest.mark.parametrize("sound", [False, True])
def test_a_row_file_that_rots_before_it_is_delivered_is_no_first_base(lost: Lost, sound: bool) -> None:
    """It is read whole before it goes: what rot has left, or a sound file of other rows, is never vouched for. It is said, seen as a hole, and the others go on."""
    lost.house.run(lost.recovery(lost.choose(lost.at)).run())
    disk = lost.house.cluster.folder.disk
    names = [name for name in disk.listdir(FOLDER) if name.endswith(".rows")]
    assert len(names) == len(NAMES) * lost.house.partitions
    held = {name: disk.read_file(f"{FOLDER}/{name}") or b"" for name in names}
    other, *_, rotten = sorted(names, key=lambda name: len(held[name]))
    bad = bytearray(held[rotten])
    bad[60] ^= 1
    disk.write_file(f"{FOLDER}/{rotten}", held[other] if sound else bytes(bad))
    assert held[other] != held[rotten]
    bases = lost.bases()
    lost.house.run(bases.deliver())
    assert sum("has no first base in the archive" in line for line in lost.house.lines) == 1
    partition = rotten.removesuffix(".rows")
    assert list(bases.left()) == [partition]
    assert "row" in bases.left()[partition]
    assert list(lost.house.service.jobs(first_base.PREFIX)) == [first_base.PREFIX + partition], "the next start tries again"
    assert [name for name in disk.listdir(FOLDER) if name.endswith(".rows")] == [rotten], "it stays as evidence"
    lost.house.pass_time(6)
    partitions = lost.opened().index.partitions
    assert [(key[1], hole.base) for key, one in partitions.items() for hole in one.window().holes] == [(partition, True)]


@pytest.mark.parametrize("gone", [False, True])
def test_a_row_file_that_is_no_good_is_made_anew_from_the_parent(lost: Lost, gone: bool) -> None:
    lost.house.run(lost.recovery(lost.choose(lost.at)).run())
    disk = lost.house.cluster.folder.disk
    path = f"{FOLDER}/{max(name for name in disk.listdir(FOLDER) if name.endswith('.rows'))}"
    if gone:
        disk.remove(path)
    else:
        data = bytearray(disk.read_file(path) or b"")
        data[60] ^= 1
        disk.write_file(path, bytes(data))
    bases = lost.bases(remade=True)
    lost.house.run(bases.deliver())
    assert not bases.owed
    assert bases.left() == {}
    assert sum("was made anew" in line for line in lost.house.lines) == 1
    lost.house.pass_time(6)
    assert lost.house.scrub().verdict == "match"


@pytest.mark.slow
def test_what_keeps_a_base_from_the_archive_is_seen_and_tried_again(lost: Lost) -> None:
    """Neither rot nor the store: a job that fails for any other reason keeps nobody else waiting, and is no verdict for ever."""
    lost.house.run(lost.recovery(lost.choose(lost.at)).run())
    jobs = Failing(lost.house.jobs(), Internal("a bug"))
    bases = lost.bases(jobs)
    lost.house.run(bases.deliver())
    assert len(bases.left()) == len(NAMES) * lost.house.partitions
    assert set(bases.left().values()) == {"a bug"}
    assert sum("a bug" in line for line in lost.house.lines) == 1, "one line, not one for each"
    lost.house.pass_time(first_base.LATER_S + 1)
    assert bases.owed
    tried = jobs.tries
    jobs.error = None
    lost.house.until(lambda: not bases.owed, seconds=4 * first_base.LATER_S)
    assert bases.left() == {}
    assert tried <= 2 * len(NAMES) * lost.house.partitions, "slower and slower"
    assert any("is in the archive now" in line for line in lost.house.lines)


def test_no_room_for_one_base_does_not_keep_the_others(lost: Lost) -> None:
    lost.house.run(lost.recovery(lost.choose(lost.at)).run())
    first = next(iter(lost.bases().left()))
    jobs = Failing(lost.house.jobs(), Exhausted("no memory"), only=first)
    bases = lost.bases(jobs)
    work = lost.house.env.tasks.spawn(bases.deliver(), name="deliver")
    lost.house.pass_time(20)
    assert not work.done(), "nothing else is archived before it"
    assert bases.left() == {first: "no memory"}
    jobs.error = None
    lost.house.until(work.done, seconds=2 * first_base.AGAIN_CAP_S)
    assert not bases.owed


def test_a_row_file_of_another_moment_is_not_taken_for_this_one(lost: Lost) -> None:
    table = next(table for table in lost.choose(lost.at).tables if table.name == "orders")
    info = table.partitions[0]
    lost.recovery(lost.choose(lost.at))
    assert lost.source is not None
    rows = []
    for at in (lost.at, lost.at, table.created_at + 1_000_000):
        choice = lost.choose(at)
        plan = plans_of(lost.parent, choice, rates=Rates(), workers=1)[table.table_id]
        (part,) = (part for part in plan.partitions if part.partition == info.partition_id)
        work = lost.source.rebuild(table, info, part, cut=plan.cut, path=first_base.rows_path(info.partition_id), progress=None)
        rows.append(lost.house.run(work).total)
    assert rows[0] == rows[1]
    assert lost.source.reused == 1, "the third is of another moment"


def test_agents_begin_behind_the_first_bases() -> None:
    house = House()
    table = house.create("orders")
    house.pass_time(6)
    house.stop_agents()
    before = set(house.cluster.archive.objects)
    opened = house.env.tasks.future()

    async def first() -> None:
        await opened

    start_agents(
        house.env, house.client(), {one.node: one for one in house.cluster.sources()}, house.writer, options=AGENT, jobs=None, first=first
    )
    house.put(table, 1, 1)
    house.pass_time(6)
    assert set(house.cluster.archive.objects) == before
    opened.set_result(None)
    house.until(lambda: set(house.cluster.archive.objects) > before)
