"""What was there each day, told to the archive: a ledger that is lost together with a partition of the archive misses it all the same."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from scrubjay.archiver.expire.plan import DAY_US, plan_index
from scrubjay.archiver.format.day import IndexedRun, IndexObject, day_of, decode_index, encode_index, missed
from scrubjay.archiver.format.expired import DROPPED, ExpiredObject, encode_expired
from scrubjay.archiver.format.layout import IndexKey, SegmentKey, build, parse
from scrubjay.archiver.read.days import read_days
from scrubjay.archiver.read.index import ArchiveIndex
from scrubjay.archiver.verify.report import VerifyOptions
from scrubjay.archiver.verify.run import verify
from scrubjay.base.errors import Corrupt, Fenced, Invalid, Unavailable
from scrubjay.base.gate import Gate
from scrubjay.scrubber import daily_index, ledger_keeping
from scrubjay.scrubber.daily_index import AGAIN_US, FINDINGS, DailyIndex, fitting, indexed, recalled
from scrubjay.scrubber.ledger import SCRUB, VERIFY, LedgerRun, Proof
from scrubjay.scrubber.ledger_keeping import AGAIN_S, LedgerKeeping
from scrubjay.scrubber.sqlite_ledger import MEMORY, SqliteLedger
from scrubjay.scrubber.telling import Telling
from scrubjay.server.expiry import ExpireRuns
from scrubjay.sim.whole.cluster import CLUSTER
from tests.fixtures.golden import Golden
from tests.unit.archiver.sample import CLUSTER as SAMPLE
from tests.unit.archiver.sample import OWNER, PARTITION, START_US, TABLE
from tests.unit.server.test_verifying import BrokenLedger, Verifying


class Told(Verifying):
    """A house that was verified, and its daily index."""

    def __init__(self) -> None:
        super().__init__()
        self.daily = self.index_of(self.ledger)

    def index_of(self, ledger: SqliteLedger) -> DailyIndex:
        house = self.house
        return DailyIndex(house.env, house.client(), ledger, house.writer, log=self.lines.append)

    def tell(self) -> list[str]:
        """Objects that came."""
        before = set(self.house.cluster.archive.objects)
        self.house.run(self.daily.tell())
        return sorted(key for key in set(self.house.cluster.archive.objects) - before if isinstance(parse(key), IndexKey))

    def lose_ledger(self) -> None:
        self.ledger = self.house.run(SqliteLedger.open(self.house.env.tasks, MEMORY))

    def rebuild(self, ledger: SqliteLedger | None = None) -> SqliteLedger:
        house, ledger = self.house, ledger or self.ledger
        keeping = LedgerKeeping(
            house.env, ledger, house.cluster.metadata, house.client(), cluster=CLUSTER, tables=house.service.tables, log=self.lines.append,
            recall=self.index_of(ledger).recall,
        )  # fmt: skip
        house.run(keeping.rebuild(lost=ledger is self.ledger))
        return ledger

    def of_partition(self) -> list[str]:
        """All that the archive holds of the table's first partition."""
        partition = self.table.partitions[0].partition_id
        return sorted(key for key in self.house.cluster.archive.objects if f"/p={partition}/" in key)


@pytest.fixture
def one() -> Told:
    return Told()


def test_what_was_proven_is_told_once_and_again_before_it_would_age_out(one: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    assert one.tell() == [], "nothing was proven yet"
    one.verify()
    (first,) = one.tell()
    found = decode_index(one.house.cluster.archive.objects[first].data, where=first)
    objects = one.house.cluster.archive.objects
    segments = [key for key in objects if isinstance(key_ := parse(key), SegmentKey) and not key_.manifest]
    wanted = sorted([*segments, *(key for key in objects if key.endswith("/manifest.json"))])
    assert set(wanted) >= set(found.names) >= {key for key in wanted if f"t={one.table.table_id}" in key}
    assert [run.kind for run in found.runs] == [VERIFY]
    assert one.tell() == [], "nothing new"
    one.verify()
    (second,) = one.tell()
    assert (parse(second), len(decode_index(objects[second].data, where=second).runs)) == (
        IndexKey(CLUSTER, found.day, 2),
        1,
    )
    now_us = one.house.env.clock.wall_us()
    monkeypatch.setattr(one.house.env.clock, "wall_us", lambda: now_us + AGAIN_US + DAY_US)
    (third,) = one.tell()
    assert decode_index(objects[third].data, where=third).names == found.names


def test_a_partition_that_is_lost_together_with_the_ledger_is_a_hole_and_what_was_found_is_known(one: Told) -> None:
    one.verify()
    one.tell()
    archive = one.house.cluster.archive
    rotten = one.of_partition()[0]
    good = archive.objects[rotten].data
    archive.objects[rotten].data = b"?"
    found = one.verify()["findings"]
    assert found
    one.tell()
    archive.objects[rotten].data = good
    gone = one.of_partition()
    for key in gone:
        del archive.objects[key]
    for key in [key for key in archive.objects if "/closed/" in key]:
        del archive.objects[key]
    one.lose_ledger()
    one.rebuild()
    rebuilt = one.ledger.rebuilt
    assert rebuilt is not None
    assert (rebuilt.missed, rebuilt.runs) == (sum(key.endswith((".seg", "/manifest.json")) for key in gone), 2)
    known = set(one.house.run(one.ledger.known("")))
    assert {key for key in gone if key.endswith(".seg")} <= known
    holes = {finding["object"] for finding in one.verify()["findings"] if finding["kind"] == "hole"}
    assert {key for key in gone if key.endswith(".seg")} <= holes
    runs = one.house.run(one.ledger.runs(9, kind=VERIFY))
    assert [run.verdict for run in runs] == ["mismatch", "mismatch", "match"], "the newest first"
    assert runs[1].report is not None
    assert runs[1].report["findings"] == found


def test_a_rebuild_that_is_cut_off_is_begun_again_by_the_next_life(one: Told, tmp_path: Any) -> None:
    one.verify()
    one.tell()
    tasks, path = one.house.env.tasks, str(tmp_path / "ledger.db")
    anew = one.house.run(SqliteLedger.open(tasks, path))
    real, calls = anew.proved, []

    async def killed(proofs: Any) -> None:
        calls.append(proofs)
        raise KeyboardInterrupt

    anew.proved = killed  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        one.rebuild(anew)
    assert calls
    anew.proved = real  # type: ignore[method-assign]
    one.house.run(anew.close())
    again = one.house.run(SqliteLedger.open(tasks, path))
    one.house.run(again.begin_run(5))
    assert again.rebuilt is not None
    assert again.rebuilt.objects is None
    one.rebuild(again)
    assert {key for key in one.of_partition() if key.endswith(".seg")} <= set(one.house.run(again.known("")))
    one.house.run(again.close())
    last = one.house.run(SqliteLedger.open(tasks, path))
    assert last.rebuilt == again.rebuilt, "it goes on saying so"
    lines = one.lines.copy()
    one.rebuild(last)
    assert one.lines == lines, "and is left alone"
    assert [run.kind for run in one.house.run(last.runs(9))] == [SCRUB, VERIFY], (
        "what came from the archive stands in front of what was begun since"
    )


@pytest.mark.parametrize("step", ["before the put", "after the put", "before the note"])
def test_killed_at_any_step_of_telling_the_next_life_tells_it(one: Told, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one.verify()
    store, ledger = one.house.client(), one.ledger
    put = store.put

    async def dying(*asked: Any) -> None:
        if step == "after the put":
            await put(*asked)
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr(*((ledger, "said") if step == "before the note" else (store, "put")), dying)
        one.daily = DailyIndex(one.house.env, store, ledger, one.house.writer, log=one.lines.append)
        with pytest.raises(KeyboardInterrupt):
            one.tell()
    one.daily = one.index_of(ledger)
    one.tell()
    days = one.house.run(read_days(one.house.client(), CLUSTER))
    told = sorted(name for names in days.names.values() for name in names)
    assert told == one.house.run(ledger.unsaid(CLUSTER, before_us=1 << 62, now_us=1 << 62, limit=9_999)) != []
    assert [kind for kind, _ in days.runs] == [VERIFY]
    assert one.tell() == []
    assert one.verify()["verdict"] == "match"


def test_an_object_of_the_index_that_rots_is_found_and_says_nothing(one: Told) -> None:
    one.verify()
    (key,) = one.tell()
    archive = one.house.cluster.archive
    data = archive.objects[key].data
    archive.objects[key].data = data[:-9] + b"?" + data[-8:]
    assert [(finding["object"], finding["kind"]) for finding in one.verify()["findings"]] == [(key, "unreadable")]
    days = one.house.run(read_days(one.house.client(), CLUSTER))
    assert (days.names, [fault.object for fault in days.unread]) == ({}, [key])
    archive.objects[key].data = data
    assert one.verify()["verdict"] == "match"
    del archive.objects[key]
    assert [(finding["object"], finding["kind"]) for finding in one.verify()["findings"]] == [(key, "hole")]


@pytest.mark.parametrize("lost", ["gone", "rotten"])
def test_what_an_object_told_that_is_lost_is_told_again(one: Told, lost: str) -> None:
    """Else a ledger that is lost in the four weeks after it would know of nothing that is missing."""
    one.verify()
    (key,) = one.tell()
    archive = one.house.cluster.archive
    first = decode_index(archive.objects[key].data, where=key)
    if lost == "gone":
        del archive.objects[key]
    else:
        archive.objects[key].data = archive.objects[key].data[:50]
    one.daily = one.index_of(one.ledger)
    one.house.run(one.house.env.tasks.sleep(1))
    (again,) = one.tell()
    found = decode_index(archive.objects[again].data, where=again)
    assert (found.names, found.runs) == (first.names, first.runs)
    assert any("are told to the archive again" in line for line in one.lines)
    assert one.tell() == [], "once"
    one.daily = one.index_of(one.ledger)
    assert one.tell() == [], "nor by the next life"
    one.lose_ledger()
    one.rebuild()
    one.daily = one.index_of(one.ledger)
    assert one.tell() == [], "nor by one that has it from there"


def test_many_names_are_several_objects_and_a_night_tells_no_more_than_its_share(one: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    one.verify()
    monkeypatch.setattr(daily_index, "NAMES", 2)
    monkeypatch.setattr(daily_index, "OBJECTS", 2)
    first, second = one.tell(), one.tell()
    assert (len(first), len(second)) == (2, 2)
    while one.tell():
        pass
    days = one.house.run(read_days(one.house.client(), CLUSTER))
    told = [name for names in days.names.values() for name in names]
    assert sorted(told) == one.house.run(one.ledger.unsaid(CLUSTER, before_us=1 << 62, now_us=1 << 62, limit=9_999))


def test_a_day_that_is_not_yet_hides_no_loss_of_others_is_told_of_and_goes(one: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    one.verify()
    (real,) = one.tell()
    clock, now_us = one.house.env.clock, one.house.env.clock.wall_us()
    one.verify()
    with monkeypatch.context() as ahead:
        ahead.setattr(clock, "wall_us", lambda: now_us + 400 * DAY_US)
        (future,) = one.tell()
    told = one.verify()["findings"]
    assert [(finding["object"], finding["kind"]) for finding in told] == [(future, "forged")]
    del one.house.cluster.archive.objects[real]
    told = one.verify()["findings"]
    assert {(finding["object"], finding["kind"]) for finding in told} == {(future, "forged"), (real, "hole")}, (
        "and is no day by which another is old"
    )
    since_us = now_us - 35 * DAY_US
    untold = one.ledger.untold
    assert one.house.run(untold(CLUSTER, since_us=since_us, now_us=clock.wall_us())), "what that day told is to be told again first"
    (again,) = one.tell()
    assert decode_index(one.house.cluster.archive.objects[again].data, where=again).names
    assert not one.house.run(untold(CLUSTER, since_us=since_us, now_us=clock.wall_us()))
    listed = dict.fromkeys([future, again], 1)
    assert plan_index(listed, keep_from_us=since_us, now_us=clock.wall_us()) == ((future, 1),)


def test_an_object_of_the_index_in_somebody_elses_name_says_nothing(one: Told) -> None:
    one.verify()
    (key,) = one.tell()
    archive = one.house.cluster.archive
    found = decode_index(archive.objects[key].data, where=key)
    archive.objects[key].data = encode_index(replace(found, owner=OWNER))
    assert [(finding["object"], finding["kind"]) for finding in one.verify()["findings"]] == [(key, "forged")]
    days = one.house.run(read_days(one.house.client(), CLUSTER))
    assert (days.names, days.runs, [fault.kind for fault in days.unread]) == ({}, {}, ["forged"])


def test_it_is_asked_right_before_whether_this_process_still_writes_there(one: Told) -> None:
    one.verify()

    async def fenced(_store: Any) -> None:
        raise Fenced("somebody else writes here", cluster=CLUSTER, kind="fenced")

    one.house.writer.assure = fenced
    assert one.tell() == []
    assert "somebody else writes here" in one.lines[-1]


def test_what_another_process_told_is_not_told_again(one: Told) -> None:
    one.verify()
    assert len(one.tell()) == 1
    one.lose_ledger()
    one.verify()
    other = one.index_of(one.ledger)
    one.daily = other
    (key,) = one.tell()
    found = decode_index(one.house.cluster.archive.objects[key].data, where=key)
    assert (found.names, len(found.runs)) == ((), 1), "the run is its own; what it proved was told by the other"


def test_a_name_that_rotted_in_the_ledger_is_not_told_and_keeps_nothing_up(one: Told) -> None:
    rotten = f"{CLUSTER}/t=birds/p=?/log/x.seg"
    one.house.run(one.ledger.proved([Proof(rotten, "records", 5)]))
    assert one.tell() == []
    one.verify()
    (key,) = one.tell()
    assert rotten not in decode_index(one.house.cluster.archive.objects[key].data, where=key).names
    with pytest.raises(Invalid, match="the index does not tell of it"):
        encode_index(replace(MADE, names=(rotten,)))


def test_a_ledger_that_cannot_be_asked_lets_no_day_go(one: Told) -> None:
    house = one.house
    broken = house.run(BrokenLedger.open(house.env.tasks, MEMORY))
    runs = ExpireRuns(
        house.env, house.client(), house.cluster.folder.disk, house.jobs(), broken, house.cluster.parts, ArchiveIndex(house.client(), CLUSTER, tasks=house.env.tasks),
        house.writer, needs=list, gate=Gate(house.env.tasks), log=one.lines.append, telling=Telling(one.lines.append),
    )  # fmt: skip
    assert house.run(runs._untold(0)), "who told what is not known"
    assert "the daily index stays as it is" in one.lines[-1]


def test_what_retention_took_is_not_missed_after_a_lost_ledger(one: Told) -> None:
    one.verify()
    one.tell()
    archive = one.house.cluster.archive
    partition = one.table.partitions[0]
    segments = [key for key in one.of_partition() if key.endswith(".seg")]
    key = parse(segments[0])
    assert isinstance(key, SegmentKey)
    who = one.house.writer.attached
    word = ExpiredObject(
        cluster=CLUSTER, table=one.table.table_id, partition=partition.partition_id, table_name="birds", lsn=1 << 40, stamp=5, chain=None, base=None,
        reason=DROPPED, keep_from_us=1, at_us=2, objects=1, bytes=1, generation=1, epoch=who.epoch, owner=who.owner,
    )  # fmt: skip
    for name in one.of_partition():
        del archive.objects[name]
    one.house.run(one.house.client().put(build(word.key()), encode_expired(word)))
    one.lose_ledger()
    one.rebuild()
    assert one.ledger.rebuilt is not None
    assert one.ledger.rebuilt.missed == 0
    assert not [name for name in one.house.run(one.ledger.known("")) if name in segments]


@pytest.mark.slow
def test_a_rebuild_for_which_the_archive_did_not_answer_is_tried_again_in_the_same_life(one: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_keeping, "TRIES", 3)
    one.verify()
    one.tell()
    for key in one.of_partition():
        del one.house.cluster.archive.objects[key]
    one.lose_ledger()
    house, away = one.house, 5

    async def recall() -> tuple[int, int]:
        nonlocal away
        away -= 1
        if away:
            raise Unavailable("the archive does not answer")
        return await one.index_of(one.ledger).recall()

    keeping = LedgerKeeping(
        house.env, one.ledger, house.cluster.metadata, house.client(), cluster=CLUSTER, tables=house.service.tables, log=one.lines.append, recall=recall,
    )  # fmt: skip
    house.run(keeping.rebuild(lost=True))
    assert away == 2, "it was tried again and again, and not for ever"
    assert "tried again" in one.lines[-1]
    house.run(keeping.keep())
    house.until(lambda: one.ledger.rebuilt is not None and one.ledger.rebuilt.missed > 0, seconds=2 * AGAIN_S)
    assert not house.run(one.ledger.unfinished())


def test_offline_what_the_index_names_and_is_gone_is_a_hole(one: Told) -> None:
    """Closed objects are gone with it: nothing else speaks of the end of that log."""
    one.verify()
    one.tell()
    archive = one.house.cluster.archive
    newest = max(key for key in one.of_partition() if key.endswith(".seg"))
    for key in (newest, newest.removesuffix(".seg") + ".json"):
        del archive.objects[key]

    def look(level: str) -> list[tuple[str, str | None]]:
        for key in [key for key in archive.objects if "/closed/" in key]:
            del archive.objects[key]
        house = one.house
        options = VerifyOptions(level=level, cluster=CLUSTER, wall_us=house.env.clock.wall_us, ahead_us=2_000_000)
        work = verify(
            house.client(), house.cluster.folder.disk, options=options, now_us=house.env.clock.boot_us, work="tmp-v", tasks=house.env.tasks
        )
        return [
            (finding.kind, finding.object) for finding in house.run(work).findings if finding.object not in (None, f"{CLUSTER}/closed/")
        ]

    assert look("listed") == [], "the index is read from level objects on"
    assert look("objects") == [("hole", newest)]
    for key in one.of_partition():
        del archive.objects[key]
    assert ("hole", newest) in look("objects"), "a partition of which nothing is listed too"


def test_an_object_holds_as_many_reports_as_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [(number, IndexedRun(VERIFY, 1, 2, "match", False, "x" * size)) for number, size in enumerate((50, 40, 30))]
    for most, wanted in ((200, 3), (120, 3), (119, 2), (50, 1), (9, 1)):
        monkeypatch.setattr(daily_index, "REPORTS_CHARS", most)
        assert len(fitting(runs)) == wanted
    assert fitting([]) == []


def segment(first: int, last: int) -> str:
    return build(SegmentKey(SAMPLE, TABLE, PARTITION, first, last, 1, f"{first:016x}", manifest=False))


@pytest.mark.parametrize(
    ("listed", "wanted"),
    [
        ([], [segment(5, 9)]),
        ([segment(5, 9)], []),
        ([segment(1, 12)], []),
        ([segment(1, 6), segment(7, 12)], []),
        ([segment(1, 6), segment(8, 12)], [segment(5, 9)]),
        ([segment(6, 12)], [segment(5, 9)]),
        ([segment(1, 8)], [segment(5, 9)]),
    ],
)
def test_a_segment_whose_records_are_in_others_is_not_missed(listed: list[str], wanted: list[str]) -> None:
    assert missed([segment(5, 9)], dict.fromkeys(listed)) == wanted


def test_objects_of_days_older_than_every_window_may_go() -> None:
    days = {build(IndexKey(CLUSTER, day_of(day * DAY_US), 1)): day for day in range(20_000, 20_040)}
    gone = plan_index({**days, f"{CLUSTER}/index/notes.txt": 1}, keep_from_us=20_005 * DAY_US + 5, now_us=20_037 * DAY_US + 5)
    assert [size for _, size in gone] == [20_000, 20_001, 20_002, 20_003, 20_004, 20_039], "and of a day that is not yet"
    assert AGAIN_US + 2 * DAY_US < 35 * DAY_US, "what is there is told by a younger one"


def test_a_report_is_shortened_and_comes_back() -> None:
    finding = {"kind": "different", "key": {"id": {"S": "ö"}}}
    part = {"partition": "p", "verdict": "mismatch", "copies": [1], "findings": [finding] * (FINDINGS + 9)}
    report = {
        "exit": 2,
        "verdict": "mismatch",
        "totals": {"seconds": 1.5},
        "tables": [{"table": "birds", "table_id": "t", "partitions": [part]}],
    }
    run = LedgerRun(7, 5, 9, "mismatch", True, report, SCRUB)
    again = recalled(indexed(run))
    assert (again.started_us, again.finished_us, again.verdict, again.healed, again.kind) == (5, 9, "mismatch", True, SCRUB)
    assert again.report is not None
    (table,) = again.report["tables"]
    assert table["partitions"] == [{"partition": "p", "verdict": "mismatch", "findings": [finding] * FINDINGS}]
    for none in ("[]", '{"tables": 5}', '{"tables": [{"table": "birds", "partitions": [{}]}]}'):
        assert recalled(IndexedRun(SCRUB, 1, 2, "match", False, none)).report is None, "what `scrub history` could not tell"


MADE = IndexObject(
    cluster=SAMPLE, day="20251009", generation=2, time_us=START_US, epoch=3, owner=OWNER, names=(segment(1, 4), segment(5, 9)),
    runs=(IndexedRun(VERIFY, START_US, START_US + 5, "match", False, "{}"),),
)  # fmt: skip


def test_golden_index(golden: Golden) -> None:
    golden.check("v3/archive/index.json", encode_index(MADE))
    again = decode_index(golden.read("v3/archive/index.json"), where=build(MADE.key()))
    assert again == MADE
    golden.check_json("v3/archive/index.decoded.json", json.loads(encode_index(again)))


@pytest.mark.parametrize(
    "run",
    [
        IndexedRun(VERIFY, 1 << 63, 5, "match", False, "{}"),
        IndexedRun(VERIFY, 5, 1 << 63, "match", False, "{}"),
        IndexedRun("\ud800", 1, 2, "match", False, "{}"),
    ],
)
def test_runs_that_no_ledger_could_take_in_are_none(run: IndexedRun) -> None:
    """Their checksum is right all the same: a rebuild of the ledger fell over them, after each job anew."""
    with pytest.raises(Corrupt):
        decode_index(encode_index(replace(MADE, runs=(run,))), where=build(MADE.key()))


@pytest.mark.parametrize("where", [build(MADE.key()._replace(generation=3)), build(MADE.key()._replace(day="20251010"))])
def test_an_index_object_under_another_name_is_none(where: str) -> None:
    with pytest.raises(Corrupt):
        decode_index(encode_index(MADE), where=where)
