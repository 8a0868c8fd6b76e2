"""Retention: what goes, what stays and why, over an archive that lived for weeks; the words it leaves behind, and everybody who reads them."""

from __future__ import annotations

import pytest

from scrubjay.archiver.expire.plan import ARCHIVE, CLOSED_KEPT, DAY_US, LOCK, PIN, PROOF, RESTORE, Need, PartPlan, plan_closed
from scrubjay.archiver.expire.report import ExpireReport
from scrubjay.archiver.format.base import BaseOrigin
from scrubjay.archiver.format.closed import ClosedObject, encode_closed
from scrubjay.archiver.format.day import day_of
from scrubjay.archiver.format.layout import ClosedKey, ExpiredKey, IndexKey, SegmentKey, build, parse
from scrubjay.archiver.write.bases import upload_base
from scrubjay.base.errors import Fenced, Missing, Unavailable, Unsafe
from scrubjay.sim.lone import LoneStore
from scrubjay.storage.log import chain as chains
from tests.unit.archiver.expire_world import ExpireWorld
from tests.unit.archiver.sample import CLUSTER


def one(report: ExpireReport) -> PartPlan:
    return report.outcomes[0].plan


def moments(world: ExpireWorld, *, step_us: int = DAY_US // 3) -> list[int]:
    """Moments inside the retention, the first and the last one too."""
    earliest, latest = world.window()
    assert earliest is not None
    assert latest is not None
    begin = max(world.now_us - world.keep_us, earliest)
    return [*range(begin, latest, step_us), latest]


def check(world: ExpireWorld) -> None:
    """Everything that must hold at any time: nothing amiss, to anybody, and every moment kept can be restored."""
    for offline in (False, True):
        report = world.verify(offline=offline)
        assert report.findings == []
        assert report.verdict == "match"
    earliest, _ = world.window()
    assert earliest is not None
    assert earliest <= world.now_us - world.keep_us
    assert world.index.partitions[world.sample.table, world.sample.partition].window().holes == ()
    for at_us in moments(world, step_us=3 * DAY_US):
        assert world.restored(at_us) == world.state_at(at_us)


def test_what_is_older_than_the_window_goes_and_every_moment_inside_stays() -> None:
    world = ExpireWorld()
    world.days(18, base_every=4)
    before = dict(world.store.objects)
    plan = one(world.plan())
    assert dict(world.store.objects) == before, "a plan changes nothing"
    assert plan.base is not None
    assert plan.lsn == plan.base.lsn
    assert plan.held == ()
    assert plan.earliest_us is not None
    assert world.now_us - 14 * DAY_US <= plan.earliest_us <= world.now_us - 10 * DAY_US
    report = world.expire()
    assert report.exit == 0
    assert report.outcomes[0].deleted == len(plan.objects) > 0
    assert report.outcomes[0].freed == plan.bytes
    earliest, _ = world.window()
    assert earliest == plan.earliest_us
    for key in map(parse, world.store.objects):
        if isinstance(key, SegmentKey):
            assert key.last > plan.lsn
    check(world)
    for at_us in (earliest - 1, world.now_us - 16 * DAY_US):
        with pytest.raises((Missing, Unavailable)):
            world.restored(at_us)
    again = world.expire()
    assert (again.outcomes[0].deleted, again.closed_deleted, again.exit) == (0, 0, 0), "there is nothing left to do"


def test_manifests_go_before_what_they_describe_and_the_word_about_it_before_all() -> None:
    world = ExpireWorld()
    world.days(12, base_every=3)
    world.keep_us = 4 * DAY_US
    order: list[tuple[str, str]] = []
    store = Watched(world, order)
    world.expire(store)
    deleted = [key for what, key in order if what == "delete" and "/closed/" not in key]
    bodies = [number for number, key in enumerate(deleted) if not key.endswith(".json")]
    manifests = [number for number, key in enumerate(deleted) if key.endswith(".json") and "/expired/" not in key]
    assert manifests
    assert bodies
    assert max(manifests) < min(bodies)
    put = [number for number, (what, key) in enumerate(order) if what == "put" and "/expired/" in key]
    assert put[0] < next(number for number, (what, _) in enumerate(order) if what == "delete")


class Watched(LoneStore):
    """The world's store, with a note of every change. locked: keys that it does not delete. when: run once, in front of the first delete."""

    def __init__(self, world: ExpireWorld, order: list[tuple[str, str]]) -> None:
        super().__init__()
        self._store = world.store._store
        self.order = order
        self.locked: set[str] = set()
        self.when = lambda: None

    async def put(self, key: str, data: bytes) -> None:
        self.order.append(("put", key))
        await super().put(key, data)

    async def delete(self, key: str) -> None:
        when, self.when = self.when, lambda: None
        when()
        if key in self.locked:
            raise Unsafe("the object is locked", key=key)
        self.order.append(("delete", key))
        await super().delete(key)


def test_without_a_base_nothing_goes_and_the_plan_says_what_is_missing() -> None:
    world = ExpireWorld()
    world.days(15)
    plan = one(world.plan())
    assert (plan.lsn, plan.objects, plan.refused) == (0, (), None)
    assert [held.by for held in plan.held] == [PROOF]
    assert world.expire().exit == 0
    assert not world.keys("expired")


def test_a_young_table_has_nothing_to_say() -> None:
    world = ExpireWorld()
    world.days(9, base_every=3)
    report = world.expire()
    assert (one(report).objects, one(report).held, report.exit) == ((), (), 0)


@pytest.mark.parametrize("by", [RESTORE, PIN])
def test_what_somebody_needs_stays(by: str) -> None:
    world = ExpireWorld()
    world.days(18, base_every=4)
    needed = world.now_us - 13 * DAY_US
    world.holds = [Need(world.sample.table, needed, by, "copy"), Need("another-table", 0, by, "other")]
    plan = one(world.plan())
    assert [(held.by, held.name) for held in plan.held] == [(by, "copy")]
    assert plan.earliest_us is not None
    assert plan.earliest_us <= needed
    world.expire()
    assert world.restored(needed) == world.state_at(needed)
    check(world)
    world.holds = []
    world.expire()
    with pytest.raises((Missing, Unavailable)):
        world.restored(needed)
    check(world)


def test_whatever_lies_below_pins_holds_everything() -> None:
    world = ExpireWorld()
    world.days(18, base_every=4)
    world.store.objects[f"{CLUSTER}/pins/quarter.json"] = b"of a later version"
    plan = one(world.plan())
    assert [(held.by, held.name) for held in plan.held] == [(PIN, f"{CLUSTER}/pins/quarter.json")]
    assert (plan.lsn, plan.objects) == (0, ())
    report = world.expire()
    assert (report.outcomes[0].deleted, report.closed_deleted) == (0, 0)


def test_a_base_that_two_members_have_not_attested_is_none() -> None:
    world = ExpireWorld()
    world.days(18, base_every=4)
    wanted = world.wanted()._replace(archived=3)
    report = world.expire(wanted=[wanted])
    assert [held.by for held in one(report).held] == [ARCHIVE]
    assert not world.keys("expired")


def test_a_fork_is_refused() -> None:
    world = ExpireWorld()
    world.days(18, base_every=4)
    other = ExpireWorld(seed=6)
    other.days(3)
    for key in other.keys("log"):
        world.store.objects.setdefault(key, other.store.objects[key])
    report = world.expire()
    assert report.exit == 4
    assert "histories" in str(one(report).refused)
    assert not world.keys("expired")


def test_a_hole_behind_the_base_is_refused() -> None:
    world = ExpireWorld()
    world.days(18, base_every=4)
    for key in world.keys("log")[-6:-4]:
        del world.store.objects[key]
    before = dict(world.store.objects)
    report = world.expire()
    assert report.exit == 4
    assert "not in the archive" in str(one(report).refused)
    assert {key for key in before if "/closed/" not in key} == {key for key in world.store.objects if "/closed/" not in key}


def test_a_base_whose_rows_have_rotted_carries_nothing() -> None:
    """Its manifest is good, its parts have their size: only who reads it sees it."""
    world = ExpireWorld()
    world.days(18, base_every=4)
    base = one(world.plan()).base
    assert base is not None
    part = build(base.key(CLUSTER, world.sample.table, world.sample.partition)._replace(part=0))
    data = world.store.objects[part]
    world.store.objects[part] = data[:-1] + bytes([data[-1] ^ 1])
    before = {key for key in world.store.objects if "/closed/" not in key}
    report = world.expire()
    assert report.exit == 4
    assert part in str(report.outcomes[0].refused)
    assert before == {key for key in world.store.objects if "/closed/" not in key}
    # From now on nobody goes by it: the base in front of it is good, and the log behind that one is whole.
    assert world.expire().exit == 0
    check_rotted = world.verify()
    assert [finding.object for finding in check_rotted.findings] == [part]


def test_a_restore_that_begins_meanwhile_keeps_what_is_left() -> None:
    world = ExpireWorld()
    world.days(18, base_every=4)
    store = Watched(world, [])
    needed = world.now_us - 13 * DAY_US
    store.when = lambda: world.holds.append(Need(world.sample.table, needed, RESTORE, "copy"))
    report = world.expire(store)
    outcome = report.outcomes[0]
    assert outcome.deleted < len(outcome.plan.objects)
    assert [held.name for held in outcome.held] == ["copy"]
    assert report.exit == 3
    assert one(world.plan()).objects == ()
    assert world.expire().outcomes[0].deleted == 0, "what is left over stays as long as it is needed"
    world.holds = []
    assert world.expire().outcomes[0].deleted > 0
    check(world)


def test_a_restore_that_had_planned_before_finishes() -> None:
    """It says what it needs, then looks; retention says what goes, then asks: one of them sees the other, whatever comes first."""
    world = ExpireWorld()
    world.days(18, base_every=4)
    order: list[tuple[str, str]] = []
    store = Watched(world, order)
    needed = world.now_us - 13 * DAY_US
    planned: list[str] = []

    class AtTheWord(Watched):
        async def put(self, key: str, data: bytes) -> None:
            if "/expired/" in key and not planned:
                world.holds.append(Need(world.sample.table, needed, RESTORE, "copy"))
                planned.extend(key for key in world.store.objects if "/log/" in key or "/base/" in key)
            await super().put(key, data)

    store = AtTheWord(world, order)
    report = world.expire(store)
    assert planned
    assert report.outcomes[0].deleted == 0
    assert all(key in world.store.objects for key in planned)


def test_what_the_store_refuses_to_delete_is_told() -> None:
    world = ExpireWorld()
    world.days(18, base_every=4)
    store = Watched(world, [])
    store.locked = {one(world.plan()).objects[0][0]}
    report = world.expire(store)
    assert [(held.by, held.name) for held in report.outcomes[0].held] == [(LOCK, next(iter(store.locked)))]
    assert report.exit == 3
    check(world)
    assert world.expire().outcomes[0].deleted == 1


def test_whoever_is_fenced_takes_nothing_away() -> None:
    world = ExpireWorld()
    world.days(18, base_every=4)

    async def fenced(_store: object) -> None:
        raise Fenced("another cluster writes here")

    world.writer.assure = fenced
    before = dict(world.store.objects)
    assert world.expire().exit == 1
    assert dict(world.store.objects) == before


def test_a_word_that_rotted_is_seen_and_said_again() -> None:
    world = ExpireWorld()
    world.days(18, base_every=4)
    world.expire()
    (word,) = world.keys("expired")
    data = world.store.objects[word]
    world.store.objects[word] = data[:-3] + bytes([data[-3] ^ 1]) + data[-2:]
    world.index = world.new_index()
    assert world.window()[0] is not None
    report = world.verify()
    assert word in [finding.object for finding in report.findings]
    assert any(finding.kind == "hole" for finding in report.findings), "nobody says any more why the beginning is not there"
    world.days(8, base_every=4)
    assert world.expire().exit == 0
    assert world.verify().findings == []


def test_a_name_that_was_taken_by_rot_gets_the_next_generation() -> None:
    world = ExpireWorld()
    world.days(18, base_every=4)
    lsn = one(world.plan()).lsn
    world.store.objects[build(ExpiredKey(CLUSTER, world.sample.table, world.sample.partition, lsn, 1))] = b"not what was put"
    assert world.expire().exit == 0
    assert [parse(key).generation for key in world.keys("expired")] == [2], "and the rotted one went with what is older"  # type: ignore[union-attr]
    check(world)


def test_a_base_that_stands_at_the_beginning_and_goes_is_a_hole() -> None:
    world = ExpireWorld()
    world.days(18, base_every=4)
    world.expire()
    for key in [key for key in world.keys("base") if parse(key).lsn == one(world.plan()).base.lsn]:  # type: ignore[union-attr]
        del world.store.objects[key]
    report = world.verify()
    assert [finding.kind for finding in report.findings] == ["hole"]


def test_a_late_agent_puts_back_what_went_and_nobody_minds() -> None:
    world = ExpireWorld()
    world.days(18, base_every=4)
    saved = {key: world.store.objects[key] for key in world.keys("log")[:5]}
    assert list(saved)[-1].endswith(".json"), "a manifest alone, too"
    world.expire()
    world.store.objects.update(saved)
    check(world)
    assert world.index.partitions[world.sample.table, world.sample.partition].problems == []
    assert world.expire().outcomes[0].deleted == 5
    assert not set(saved) & set(world.store.objects)


def test_closed_objects_go_with_the_window_and_the_newest_of_each_node_stay() -> None:
    world = ExpireWorld()
    world.days(18, base_every=4)
    before = world.keys("closed")
    world.idle(CLOSED_KEPT)
    world.expire()
    keep_from = world.now_us - world.keep_us
    left = world.keys("closed")
    assert set(before) - set(left)
    assert len(left) == CLOSED_KEPT, "they are older than the window, most of them, and stay"
    assert all(parse(key).time_us < keep_from for key in before if key not in left)  # type: ignore[union-attr]
    check(world)


def test_the_daily_index_goes_with_the_window_but_never_before_what_it_told_is_told_again() -> None:
    world = ExpireWorld()
    world.days(18, base_every=4)
    days = [build(IndexKey(CLUSTER, day_of(at_us), 1)) for at_us in range(world.now_us - 18 * DAY_US, world.now_us + 1, DAY_US)]
    world.store.objects.update(dict.fromkeys(days, b"{}"))
    world.untold = True
    assert world.expire().exit == 0
    assert world.keys("index") == days, "no verify has told anything for weeks: what is old is all there is"
    world.untold = False
    world.expire()
    assert world.keys("index") == [key for key in days if key >= build(IndexKey(CLUSTER, day_of(world.now_us - 10 * DAY_US), 1))]


def test_a_closed_object_of_the_window_stays() -> None:
    world = ExpireWorld()
    world.days(3)
    keys = {build(ClosedKey(CLUSTER, "n1", 1_000_000 * number)): 9 for number in range(100)}
    gone = plan_closed(keys, keep_from_us=40_000_000, now_us=100_000_000)
    assert [parse(key).time_us for key, _ in gone] == [1_000_000 * number for number in range(40)]  # type: ignore[union-attr]
    assert len(plan_closed(keys, keep_from_us=100_000_000, now_us=100_000_000)) == 100 - CLOSED_KEPT
    assert len(plan_closed(keys, keep_from_us=80_000_000, now_us=80_000_000)) == 81 - CLOSED_KEPT, (
        "what is ahead of the clock is no newest one"
    )


def test_a_dropped_table_leaves_when_its_window_ends() -> None:
    world = ExpireWorld()
    world.days(6, base_every=4)
    dropped_us = world.dropped_at_us = world.now_us
    for _ in range(2):
        world.idle(5)
        assert not one(world.plan()).whole
        world.expire()
        assert world.restored(dropped_us - 1000) == world.state_at(dropped_us)
    world.idle(1)
    world.holds = [Need(world.sample.table, dropped_us - 1, RESTORE, "copy")]
    assert one(world.plan()).objects == ()
    world.holds = []
    report = world.expire()
    assert one(report).whole
    assert report.exit == 0
    assert world.keys("log") == world.keys("base") == []
    assert len(world.keys("expired")) == 1
    for offline in (False, True):
        assert world.verify(offline=offline).findings == []
    assert world.window() == (None, None)
    assert world.index.partitions[world.sample.table, world.sample.partition].gone()
    again = world.expire()
    assert (again.exit, again.outcomes[0].deleted) == (0, 0)


def test_what_a_cancelled_restore_left_behind_goes_when_it_is_old() -> None:
    """Nobody sealed its log, nobody archived it to an end, and its base may lack the manifest."""
    world = ExpireWorld()
    world.days(2)
    world.base()
    bare = next(key for key in world.keys("base") if key.endswith(".json"))
    del world.store.objects[bare]
    given_up = world.wanted()._replace(archived=0, dropped_at_us=world.now_us, abandoned=True)
    world.idle(9)
    assert one(world.expire(wanted=[given_up])).objects == (), "it is not old"
    world.idle(2)
    report = world.expire(wanted=[given_up])
    assert (report.exit, report.outcomes[0].nothing_left) == (0, False)
    assert world.keys("log") == world.keys("base") == []
    again = world.expire(wanted=[given_up])
    assert (again.exit, again.outcomes[0].deleted, again.outcomes[0].nothing_left) == (0, 0, True)
    for key in [key for key in world.store.objects if "/t=" in key]:
        del world.store.objects[key]
    world.index = world.new_index()
    nothing = world.expire(wanted=[given_up])
    assert (nothing.exit, nothing.outcomes[0].nothing_left, world.keys("expired")) == (0, True, []), "of what never was nothing is said"


def test_the_first_base_of_a_restore_that_was_cancelled_before_its_log_began_goes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """It lies at LSN 0, and nothing else of that table does."""
    world = ExpireWorld()
    world.days(2)
    made, sample = world.base(), world.sample
    origin = BaseOrigin(CLUSTER, "0e4e0000-0000-4000-8000-0000000000aa", ("0e4e0000-0000-4000-8000-0000000000ab",), world.now_us)
    for key in [key for key in world.store.objects if "/t=" in key]:
        del world.store.objects[key]
    world.loop.run(
        upload_base(
            world.store, world.disk, "rows", writer=sample.attached, table=sample.table, partition=sample.partition, table_name=made.table_name,
            schema=made.schema, lo=made.lo, hi=made.hi, lsn=0, stamp=0, chain=chains.START, total=made.total, origin=origin,
        )
    )  # fmt: skip
    world.index = world.new_index()
    given_up = world.wanted()._replace(archived=0, dropped_at_us=world.now_us, abandoned=True)
    monkeypatch.setattr(world, "archived", list)
    writer, before_us = sample.attached, None
    for _ in range(11):
        world.now_us += DAY_US
        seen = ClosedObject(CLUSTER, "n1", world.now_us, writer.epoch, writer.owner, (), before_us)
        world.store.objects[seen.key()], before_us = encode_closed(seen), world.now_us
    assert len(world.keys("base")) == 2
    report = world.expire(wanted=[given_up])
    assert (report.exit, report.outcomes[0].error, report.outcomes[0].deleted) == (0, None, 2)
    assert world.keys("base") == []
    assert world.expire(wanted=[given_up]).outcomes[0].nothing_left


def test_a_dropped_table_whose_end_is_not_archived_stays() -> None:
    world = ExpireWorld()
    world.days(5, base_every=4)
    world.dropped_at_us = world.now_us
    world.idle(11)
    wanted = world.wanted()._replace(final_lsn=None)
    report = world.expire(wanted=[wanted])
    assert [held.by for held in one(report).held] == [ARCHIVE]
    beyond = world.wanted()._replace(final_lsn=3)
    assert world.expire(wanted=[beyond]).exit == 4
    assert world.keys("log")


def test_what_is_gone_is_told_to_the_ledger() -> None:
    world = ExpireWorld()
    world.days(18, base_every=4)
    before = set(world.store.objects)
    world.expire()
    assert set(world.forgotten) == before - set(world.store.objects)
