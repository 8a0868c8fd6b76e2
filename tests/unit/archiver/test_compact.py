"""Which segments are packed, and that a run packs those, proves what it put, and deletes nothing that is not proven elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from scrubjay.archiver.compact import plan as plans
from scrubjay.archiver.compact.plan import LEAST, LOCK, SETTLED_US, PackPlan, plan_packs
from scrubjay.archiver.expire.locks import LockBook
from scrubjay.archiver.expire.plan import DAY_US, Locks
from scrubjay.archiver.format.layout import SegmentKey, build, parse
from scrubjay.archiver.format.manifest import PackManifest, decode_manifest, encode_manifest
from scrubjay.archiver.read import check
from scrubjay.archiver.read.names import names_of
from scrubjay.archiver.write.writer import FENCED, Stopped
from scrubjay.base.env import Recalled
from scrubjay.base.errors import Corrupt, Fenced, Unsafe
from scrubjay.sim.lone import LoneStore
from tests.unit.archiver.compact_world import CompactWorld
from tests.unit.archiver.expire_world import ExpireWorld
from tests.unit.archiver.sample import CLUSTER


def planned(world: CompactWorld, **more: object) -> PackPlan:
    names = world.loop.run(names_of(world.store, CLUSTER, world.sample.table, world.sample.partition))
    now_us = more.pop("now_us", world.now_us)
    place = more.pop("place", world.place())
    return plan_packs(place, world.afresh(), names, now_us=now_us, **more)  # type: ignore[arg-type]


def lasts(plan: PackPlan) -> list[list[int]]:
    return [[row.last for row in run] for run in plan.runs]


def test_a_pack_is_a_day_that_is_over() -> None:
    world = CompactWorld()
    world.trickle(3, per_day=6)
    plan = planned(world, now_us=world.now_us + SETTLED_US)
    ends = [one.last for one in world.sample.segments]
    first = 1 if len(plan.runs[0]) == 6 else 0  # the SCHEMA segment is of the day before
    assert lasts(plan) == [ends[first : first + 6], ends[first + 6 : first + 12], ends[first + 12 : first + 17]]
    assert all(ends[-1] not in run for run in lasts(plan)), "the newest segment stays as it is"
    assert lasts(planned(world, now_us=world.now_us + SETTLED_US - 1)) == lasts(plan)[:2]
    assert plan.saved == 2 * (17 - 3)


def test_no_pack_goes_over_a_base_or_a_hole_or_what_is_not_attested() -> None:
    world = CompactWorld()
    world.trickle(1, per_day=16)
    world.idle(2)
    ends = [one.last for one in world.sample.segments]
    (whole,) = lasts(planned(world))
    world.base(ends[8])
    assert lasts(planned(world)) == [[one for one in whole if one <= ends[8]], [one for one in whole if one > ends[8]]]
    attested = world.place()._replace(archived=ends[13])
    assert lasts(planned(world, place=attested)) == [whole[: whole.index(ends[8]) + 1], [one for one in whole if ends[8] < one <= ends[13]]]
    for name in [name for name in world.keys("log") if f"-{ends[4]:016x}." in name]:
        del world.store.objects[name]
    before, behind = [one for one in whole if one < ends[4]], [one for one in whole if ends[4] < one <= ends[8]]
    assert len(before) < LEAST or before in lasts(planned(world))
    assert behind in lasts(planned(world))
    assert not any(ends[4] in run for run in lasts(planned(world)))


def test_a_pack_has_no_more_parts_than_its_readers_take(monkeypatch: pytest.MonkeyPatch) -> None:
    world = CompactWorld()
    world.trickle(1, per_day=12)
    world.idle(2)
    (whole,) = lasts(planned(world))
    monkeypatch.setattr(plans, "PARTS_MAX", LEAST + 1)
    assert lasts(planned(world)) == [whole[: LEAST + 1], whole[LEAST + 1 : 2 * (LEAST + 1)]]


def test_wide_segments_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    world = CompactWorld()
    world.trickle(1, per_day=12)
    world.idle(2)
    (whole,) = lasts(planned(world))
    sizes = {one.last: one.raw_size for one in world.sample.segments}
    monkeypatch.setattr(plans, "PACK_BYTES", sum(sizes[one] for one in whole[:6]))
    assert lasts(planned(world))[0] == whole[:6]
    assert sum(map(len, lasts(planned(world)))) >= len(whole) - LEAST
    monkeypatch.setattr(plans, "NARROW_BYTES", min(sizes[one] for one in whole))
    assert lasts(planned(world)) == []


def test_what_has_several_generations_is_evidence_and_stays() -> None:
    world = CompactWorld()
    world.trickle(1, per_day=12)
    world.idle(2)
    second, data = world.sample.manifest(world.sample.segments[6], 2)
    world.store.objects[build(second.key())] = data
    world.store.objects[build(second.key().twin())] = encode_manifest(second)
    assert not any(second.last in run for run in lasts(planned(world)))
    assert len(lasts(planned(world))) == 2


def test_nothing_is_packed_of_two_histories_under_a_marker_or_in_a_store_that_locks() -> None:
    world = CompactWorld()
    world.trickle(2, per_day=6)
    assert planned(world).runs
    plan = planned(world, locks=Locks(LockBook(6 * DAY_US), world.now_us))
    assert (plan.runs, plan.held is not None and plan.held[0]) == ((), LOCK)
    over = {"x": Recalled("hole", "deleted: a delete marker stands over version 1")}
    assert "delete marker" in (planned(world, over=over).refused or "")
    other = CompactWorld()
    other.trickle(1, per_day=6)
    other.take_over(world, days=1, base_every=0)
    plan = planned(world)
    assert (plan.runs, plan.replaced) == ((), ())
    assert "two histories" in (plan.refused or "")
    before = dict(world.store.objects)
    assert world.compact().exit == 4
    assert world.store.objects == before


@pytest.mark.slow
def test_an_idle_trickle_costs_few_objects_a_day() -> None:
    """A segment every ten minutes: 288 objects a day, and two of them afterwards."""
    world = CompactWorld()
    world.trickle(1, per_day=144)
    world.idle(1)
    before = world.coverage()
    assert len(world.keys("log")) == 2 * (144 + 1)
    report = world.compact()
    assert (report.exit, report.as_json()["totals"]["made"]) == (0, 1)
    assert len(world.keys("log")) <= 2 * 3, "the pack, the newest segment, and the one that made the table"
    assert world.coverage() == before
    assert world.verify().findings == []
    assert world.verify(offline=True).findings == []
    assert not world.planned().as_json()["totals"]["segments"], "there is nothing left to do"
    count = len(world.store.objects)
    assert world.compact().exit == 0
    assert len(world.store.objects) == count
    gone = [key for key in world.forgotten if key.endswith(".seg")]
    assert len(gone) == 144 - 1, "the ledger hears of every one"


@pytest.mark.slow
def test_retention_and_packs_go_together() -> None:
    world = CompactWorld()
    world.keep_us = 3 * DAY_US
    for _ in range(6):
        world.trickle(1, per_day=6)
        world.base()
        assert world.compact().exit == 0
        assert world.expire(attended=True).exit == 0
        assert world.verify().findings == []
        earliest, latest = world.window()
        assert earliest is not None
        assert latest is not None
        for at_us in (max(earliest, world.now_us - world.keep_us), latest):
            assert world.restored(at_us) == world.state_at(at_us)
    assert world.keys("expired"), "something went"
    assert len(world.keys("log")) < 2 * 6 * 3


# --- a pack without a sound manifest ---


@pytest.mark.parametrize("how", ["lost", "rotten"])
def test_the_manifest_of_a_pack_is_written_anew_out_of_the_pack(how: str) -> None:
    world = CompactWorld()
    world.trickle(3, per_day=6)
    assert world.compact().exit == 0
    before, pack = world.coverage(), world.packs()[0]
    told = build(pack.key().twin())
    sound = world.store.objects.pop(told)
    if how == "rotten":
        world.store.objects[told] = sound[:50] + b"x" + sound[51:]
        world.index = world.new_index()  # a good manifest is not read again: a verify finds it, or whoever begins
    assert {one.object for one in world.verify().findings} == {told}
    before_keys = set(world.keys("log"))
    plan = world.planned()
    assert plan.as_json()["totals"]["unnamed"] == 1
    assert world.store.objects.get(told) != sound, "a plan changes nothing"
    report = world.compact()
    assert (report.exit, report.as_json()["totals"]["named"]) == (0, 1), report.as_json()
    if how == "lost":
        assert world.store.objects[told] == sound, "byte for byte what it was"
    else:
        (name,) = set(world.keys("log")) - before_keys - {name for name in world.keys("log") if name.endswith(".seg")}
        again = decode_manifest(world.store.objects[name], where=name)
        assert isinstance(again, PackManifest)
        assert (again.generation, again.supersedes[0].generation, again.raw) == (2, 1, pack.raw)
        assert [one.generation for one in again.parts] == [one.generation for one in pack.parts]
        assert world.store.objects[told] != sound, "what was bad is evidence"
    assert world.coverage() == before
    assert not world.afresh().problems
    assert world.verify().findings == []
    assert world.verify(offline=True).findings == []
    for at_us in (world.now_us - 1000, world.now_us - 2 * DAY_US - 7_000_000):
        assert world.restored(at_us) == world.state_at(at_us)
    count = dict(world.store.objects)
    assert (world.compact().exit, world.planned().as_json()["totals"]["unnamed"]) == (0, 0)
    assert world.store.objects == count, "once is enough"


@pytest.mark.parametrize("how", ["lost", "rotten"])
def test_no_manifest_is_written_for_a_pack_that_does_not_check(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It rotted behind the look that said what it holds: its records are read before anything is said of them."""
    world = CompactWorld()
    world.trickle(3, per_day=6)
    assert world.compact().exit == 0
    told = build(world.packs()[0].key().twin())
    sound = world.store.objects.pop(told)
    if how == "rotten":
        world.store.objects[told] = sound[:50] + b"x" + sound[51:]
        world.index = world.new_index()  # a good manifest is not read again: a verify finds it, or whoever begins
    keys = set(world.store.objects)

    def bad(*_args: object, **_more: object) -> None:
        raise Corrupt("a record does not check", what="segment", where=told.replace(".json", ".seg"))

    monkeypatch.setattr(check, "check_records", bad)
    report = world.compact()
    assert report.exit == 2
    assert {fault.object for one in report.outcomes for fault in one.faults} == {told.replace(".json", ".seg")}
    assert set(world.store.objects) == keys


def test_a_fenced_run_writes_no_manifest() -> None:
    world = CompactWorld()
    world.trickle(3, per_day=6)
    assert world.compact().exit == 0
    del world.store.objects[build(world.packs()[0].key().twin())]
    before = dict(world.store.objects)
    fenced_after(world, 0)
    assert world.compact().exit == 1
    assert world.store.objects == before


# --- in a store that locks ---


@pytest.mark.slow
def test_in_a_store_that_locks_parts_go_when_their_lock_ends() -> None:
    """Locked for 8 days and kept for 35: packs are made each day; what they took the place of is not locked for longer, not tried before, and goes."""
    world = CompactWorld()
    world.keep_us = 35 * DAY_US
    world.lock(8)
    for day in range(24):
        world.trickle(1, per_day=5)
        if day == 12:
            world.base()
        report, expired = world.compact(), world.expire()
        assert (report.exit, expired.exit) == (0, 0), (report.as_json(), expired.as_json())
        assert not report.outcomes[0].held, "something was tried in vain"
    held = world.planned().outcomes[0].plan.held
    assert held is not None
    assert held.by == LOCK
    assert held.until_us is not None
    assert world.now_us < held.until_us <= world.now_us + 8 * DAY_US
    assert held.objects == len(locked_parts(world))
    assert len(world.packs()) >= 22
    assert len(world.narrow()) <= 2 * 5 * 12, "of the last eight days, of today, and of the day that is not over"
    assert world.verify().findings == []
    for at_us in (world.now_us - 1000, world.now_us - 20 * DAY_US):
        assert world.restored(at_us) == world.state_at(at_us)
    needed = [build(key) for one in world.packs() for key in (one.key(), one.key().twin())]
    for name in needed:
        assert world.store._store.objects[name].locked_until_us > world.now_us, "what is needed is locked"


def locked_parts(world: CompactWorld) -> set[str]:
    """Names of what lies there beside a pack that holds it."""
    packs = {(part.first, part.last) for one in world.packs() for part in one.parts}
    return {name for name in world.narrow() if isinstance(key := parse(name), SegmentKey) and (key.first, key.last) in packs}


def test_a_lock_that_was_not_foreseen_is_waited_for() -> None:
    """Somebody locked the parts by hand, in a store that locks: it is tried once, and told; the next run waits, and packs on."""
    world = CompactWorld()
    world.keep_us = 35 * DAY_US
    world.lock(4)
    world.trickle(1, per_day=6)
    world.idle(6)
    bucket = world.store._store
    for name in world.keys("log"):
        bucket.objects[name] = replace(bucket.objects[name], locked_until_us=world.now_us + 5 * DAY_US)
    report = world.compact()
    assert (report.exit, {one.by for one in report.outcomes[0].held}) == (3, {LOCK})
    packs = len(world.packs())
    world.trickle(2, per_day=6)
    report = world.compact()
    assert (report.exit, report.outcomes[0].held) == (0, [])
    assert len(world.packs()) > packs
    world.idle(12)
    assert world.compact().exit == 0
    assert locked_parts(world) == set()


# --- what must not be deleted ---


def test_a_pack_that_is_bad_where_it_lies_takes_the_place_of_nothing() -> None:
    world = CompactWorld()
    world.trickle(2, per_day=6)
    before, narrow = world.coverage(), set(world.keys("log"))

    class Rots(LoneStore):
        """Spoils what is put as a pack, behind the checks of whoever put it."""

        def __init__(self) -> None:
            super().__init__()
            self._store = world.store._store

        async def put(self, key: str, data: bytes) -> None:
            await super().put(key, data)
            if key.endswith(".seg"):
                world.store.objects[key] = data[:-70] + bytes([data[-70] ^ 1]) + data[-69:]

    report = world.compact(Rots())
    assert report.exit == 2
    assert all(one.faults for one in report.outcomes)
    assert narrow <= set(world.keys("log")), "nothing of it was deleted"
    assert world.coverage() == before
    bad = {one.object for one in world.verify().findings}
    assert bad == {build(one.key()) for one in world.packs()}, "it is named"
    world.index = world.new_index()
    world.loop.run(world.index.refresh(now_us=world.now_us, archived=world.archived()))
    world.index.distrust(bad)
    report = world.compact()
    assert not [one.error for one in report.outcomes if one.error]
    assert {one.generation for one in world.packs()} == {1, 2}, "the next run makes the next generation"
    assert world.compact().exit in (0, 2)
    assert world.coverage() == before


def test_a_bad_segment_is_named_and_not_packed() -> None:
    world = CompactWorld()
    world.trickle(2, per_day=6)
    name = build(world.sample.manifests()[3].key())
    sound = world.store.objects[name]
    world.store.objects[name] = sound[:100] + bytes([sound[100] ^ 1]) + sound[101:]
    report = world.compact()
    assert report.exit == 2
    assert {fault.object for one in report.outcomes for fault in one.faults} == {name}
    assert name in world.store.objects
    pack = world.packs()
    assert not any(one.first <= 4 <= one.last for one in pack) or world.sample.manifests()[3].last > 4
    assert all(not (one.first <= world.sample.segments[3].first <= one.last) for one in pack)


def test_what_is_locked_stays_and_stops_the_next() -> None:
    world = CompactWorld()
    world.trickle(2, per_day=6)

    class Locks(LoneStore):
        def __init__(self) -> None:
            super().__init__()
            self._store = world.store._store

        async def delete(self, key: str) -> None:
            raise Unsafe("locked", error_code="ObjectLocked")

    before = world.coverage()
    report = world.compact(Locks())
    assert report.exit == 3
    assert {one.by for one in report.outcomes[0].held} == {LOCK}
    assert world.packs()
    world.trickle(1, per_day=6)
    packs = len(world.packs())
    report = world.compact(Locks())
    assert report.exit == 3
    assert len(world.packs()) == packs, "what cannot be taken the place of is not packed"
    assert before.thread == world.coverage().thread[: len(before.thread)]
    assert world.compact().exit == 0
    assert len(world.packs()) > packs
    assert world.verify().findings == []


def fenced_after(world: CompactWorld, asked: int) -> None:
    """Another cluster takes this one's identity over once it was asked so many times."""
    left = asked

    async def assure(_store: object) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Fenced("another cluster holds our identity", cluster=CLUSTER, kind=FENCED)

    world.writer.assure = assure


def test_fenced_packs_and_deletes_nothing() -> None:
    world = CompactWorld()
    world.trickle(2, per_day=6)
    before = dict(world.store.objects)
    fenced_after(world, 0)
    report = world.compact()
    assert world.store.objects == before
    assert report.exit == 1
    assert "another cluster" in str(report.as_json()["error"]["message"])
    world.writer.stop(Stopped(FENCED, "for good", 0))
    with pytest.raises(Fenced):
        world.compact()


def test_fenced_deletes_nothing() -> None:
    """It was fenced while it put its packs."""
    world = CompactWorld()
    world.trickle(2, per_day=6)
    before, narrow = world.coverage(), set(world.keys("log"))
    packs = len(planned(world).runs)
    fenced_after(world, packs)
    assert world.compact().exit == 1
    assert len(world.packs()) == packs
    assert narrow <= set(world.keys("log"))
    assert world.coverage() == before
    assert world.verify().findings == []


def test_what_another_run_has_put_is_compared_and_used() -> None:
    """Two compactors, the second by another writer of the same epoch: it finds the first one's packs and goes on with them."""
    world = CompactWorld()
    world.trickle(2, per_day=6)
    start = dict(world.store.objects)
    assert world.compact().exit == 0
    packs = {name: data for name, data in world.store.objects.items() if name not in start}
    end = dict(world.store.objects)
    world.store.objects.clear()
    world.store.objects.update(start)
    objects = {name: data for name, data in packs.items() if name.endswith(".seg")}
    world.store.objects.update(objects)  # the other was cut off in front of its manifests
    world.index = world.new_index()
    assert world.compact().exit == 0
    assert world.store.objects == end
    world.store.objects.clear()
    world.store.objects.update({**start, **objects})
    name = min(objects)
    world.store.objects[name] = objects[name][:-70] + bytes([objects[name][-70] ^ 1]) + objects[name][-69:]
    world.index = world.new_index()
    report = world.compact()
    assert {fault.object for one in report.outcomes for fault in one.faults} == {name}, "what is bad is said, and the next generation made"
    assert sorted(one.generation for one in world.packs() if one.supersedes) == [2]
    assert world.verify().findings == [] or {one.object for one in world.verify().findings} <= {name, build(world.packs()[0].key().twin())}


def test_a_run_ends_when_it_is_told_and_the_next_goes_on() -> None:
    world = CompactWorld()
    world.trickle(4, per_day=6)
    before = world.coverage()
    looks = 0

    def stop(_read: int) -> str | None:
        nonlocal looks
        looks += 1
        return "budget_spent" if looks > 2 else None

    report = world.compact(stop=stop)
    assert (report.cut, len(report.left)) == ("budget_spent", 1)
    assert len(world.packs()) == 1
    assert world.coverage() == before
    assert world.verify().findings == []
    assert world.compact().exit == 0
    assert len(world.packs()) >= 3
    assert world.coverage() == before


def overlapping(world: CompactWorld, cut: Callable[[list[int]], list[int]]) -> None:
    """Two packs over some of the same segments, as two compactors with different views make them."""
    (run,) = lasts(planned(world))
    part = cut(run)
    attested = world.place()._replace(archived=part[-1])
    world.loop.now_us = world.now_us
    world.loop.run(world.compactor().run([attested]))


def test_packs_that_overlap_count_each_part_once() -> None:
    world = CompactWorld()
    world.trickle(1, per_day=14)
    world.idle(2)
    start, before = dict(world.store.objects), world.coverage()
    overlapping(world, lambda run: run[:6])
    first = {name: data for name, data in world.store.objects.items() if name not in start}
    world.store.objects.clear()
    world.store.objects.update(start)
    world.index = world.new_index()
    assert world.compact().exit == 0
    world.store.objects.update(first)
    assert len(world.packs()) == 2
    world.index = world.new_index()
    assert world.coverage() == before
    assert world.verify().findings == []
    for number in (3, 6, 8, 13):
        at_us = world.sample.segments[number].last_stamp >> 12
        assert world.restored(at_us) == world.state_at(at_us)
    assert world.compact().exit == 0
    assert world.coverage() == before


def test_a_segment_of_the_other_history_is_not_deleted_as_a_part() -> None:
    """Same LSNs and another content: it has another name, and is no part."""
    world = CompactWorld()
    world.trickle(2, per_day=6)
    other = ExpireWorld(seed=77)
    stray = {key: data for key, data in other.store.objects.items() if "/log/" in key}
    assert world.compact().exit == 0
    world.store.objects.update(stray)
    names = world.loop.run(names_of(world.store, CLUSTER, world.sample.table, world.sample.partition))
    for one in plan_packs(world.place(), world.afresh(), names, now_us=world.now_us).replaced:
        assert not {name for name, _ in one.objects} & (set(stray) - set(world.sample.objects()))
    assert replace(PackPlan(world.place()), refused="x").saved == 0
