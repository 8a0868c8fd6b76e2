"""Retention beside backups by name: what a pin needs stays for as long as it is there, whatever else goes; what nobody can read holds everything."""

from __future__ import annotations

import pytest

from scrubjay.archiver.expire.plan import CLOSED_KEPT, DAY_US, PIN, Need
from scrubjay.archiver.format.layout import build
from scrubjay.archiver.format.pin import BackupPin, encode_pin
from scrubjay.base.errors import Missing, Unavailable
from scrubjay.base.ids import PartitionId, TableId
from scrubjay.storage.catalogue import KeyAttribute, KeySchema, PartitionInfo, TableMeta
from tests.unit.archiver.expire_world import ExpireWorld
from tests.unit.archiver.sample import CLUSTER, OWNER, PARTITION

OTHER = "7ab1e000-0000-4000-8000-00000000000f"


def pinned(world: ExpireWorld, at_us: int, *, table: str | None = None, number: int = 1) -> str:
    """A backup as of that moment; its object's key."""
    key = KeySchema(KeyAttribute("pk", "S"))
    whole = (PartitionInfo(PartitionId(PARTITION), "00" * 16, "", ()),)
    meta = TableMeta(
        table_id=TableId(table or world.sample.table), name="orders", status="ACTIVE", key=key, attributes=(("pk", "S"),), partitions=whole, created_at=1
    )  # fmt: skip
    pin = BackupPin(
        cluster=CLUSTER, id=f"{at_us // 1000:014d}-{number:08x}", name="quarter", at_us=at_us, created_us=world.now_us, table=meta, rows=1, bytes=2,
        epoch=1, owner=OWNER,
    )  # fmt: skip
    where = build(pin.key())
    world.store.objects[where] = encode_pin(pin)
    return where


@pytest.mark.slow
def test_what_a_pin_needs_is_there_after_400_days_and_goes_once_it_is_deleted() -> None:
    world = ExpireWorld()
    world.days(13, base_every=4)
    at_us = world.now_us - 2 * DAY_US
    then = world.state_at(at_us)
    where = pinned(world, at_us)
    earlier_us = world.now_us - 8 * DAY_US
    for _ in range(20):
        world.days(20, writes=2, base_every=5)
        report = world.expire()
        assert report.exit in (0, 3)
    held = [one for one in report.outcomes[0].plan.held if one.by == PIN]
    assert [one.name for one in held] == [f"quarter ({at_us // 1000:014d}-00000001)"]
    assert world.restored(at_us) == then
    assert then != world.state_at(world.now_us)
    with pytest.raises((Missing, Unavailable)):
        world.restored(earlier_us)
    assert world.verify("records").findings == []
    kept = len(world.keys("log"))
    assert len(world.keys("closed")) <= max(CLOSED_KEPT, world.keep_us // DAY_US + 2), "of closed objects the later ones say it all"
    del world.store.objects[where]
    assert world.expire().exit == 0
    assert len(world.keys("log")) < kept / 5
    with pytest.raises((Missing, Unavailable)):
        world.restored(at_us)
    assert world.verify("records").findings == []


def test_a_pin_keeps_a_dropped_table_beyond_its_window() -> None:
    world = ExpireWorld()
    world.days(6, base_every=2)
    at_us = world.now_us - DAY_US
    then = world.state_at(at_us)
    where = pinned(world, at_us)
    world.dropped_at_us = world.now_us
    world.idle(100)
    assert [one.by for one in world.expire().outcomes[0].plan.held] == [PIN]
    assert world.restored(at_us) == then
    del world.store.objects[where]
    assert world.expire().outcomes[0].plan.whole
    assert not world.keys("log")


def test_a_pin_of_another_table_holds_nothing_here() -> None:
    world = ExpireWorld()
    world.days(18, base_every=4)
    pinned(world, world.now_us - 17 * DAY_US, table=OTHER)
    report = world.expire()
    assert report.exit == 0
    assert report.outcomes[0].plan.held == ()
    assert report.outcomes[0].deleted > 0


def test_more_pins_than_a_page_are_all_read() -> None:
    world = ExpireWorld()
    world.days(18, base_every=4)
    oldest_us = world.now_us - 17 * DAY_US
    for number in range(120):
        pinned(world, world.now_us - 1 - number, number=number)
    where = pinned(world, oldest_us, number=120)
    world.store.objects[where.replace(where.rpartition("/")[2][:14], "9" * 14)] = world.store.objects.pop(where)
    plan = world.plan().outcomes[0].plan
    assert [one.name for one in plan.held if one.by == PIN] == [f"{CLUSTER}/pins/{'9' * 14}-00000078.json"], (
        "one that lies under another name is none"
    )
    assert plan.lsn == 0


def test_a_pin_that_rots_holds_everything_and_verify_names_it() -> None:
    world = ExpireWorld()
    world.days(18, base_every=4)
    where = pinned(world, world.now_us - DAY_US)
    data = world.store.objects[where]
    world.store.objects[where] = data.replace(b"quarter", b"quartes")
    report = world.expire()
    assert (report.outcomes[0].deleted, report.closed_deleted) == (0, 0)
    for told in (report, world.plan(attended=True)):
        assert told.exit == 4, "it is seen, and not only in what is held"
        assert where in told.as_json()["error"]["message"]
    assert [one.name for one in report.outcomes[0].plan.held] == [where]
    assert [(one.kind, one.object) for one in world.verify("listed").findings] == [("unreadable", where)]


def test_a_pin_that_is_gone_is_a_hole_as_long_as_somebody_remembers_it() -> None:
    world = ExpireWorld()
    world.days(2)
    there, gone = pinned(world, world.now_us - 2), pinned(world, world.now_us - 1, number=2)
    assert world.verify("listed", noted=lambda: [there, gone]).findings == []
    del world.store.objects[gone]
    assert [(one.kind, one.object) for one in world.verify("listed", noted=lambda: [there, gone]).findings] == [("hole", gone)]
    remembered = iter([[there, gone], [there]])  # deleted after it was asked, before it was listed
    assert world.verify("listed", noted=lambda: next(remembered)).findings == []


@pytest.mark.parametrize("deleted", [False, True], ids=["lost", "deleted"])
def test_a_pin_that_is_listed_and_not_to_be_had_holds_everything_unless_it_was_deleted(deleted: bool) -> None:
    world = ExpireWorld()
    world.days(18, base_every=4)
    where = pinned(world, world.now_us - DAY_US)
    get = world.store.get

    async def without(key: str) -> bytes:
        if key != where:
            return await get(key)
        if deleted:
            world.store.objects.pop(where, None)
        raise Missing("no such object", what=key)

    world.store.get = without  # type: ignore[method-assign]
    outcome = world.expire().outcomes[0]
    assert [one.name for one in outcome.plan.held if one.by == PIN] == ([] if deleted else [where])
    assert bool(outcome.deleted) is deleted


def test_a_backup_that_this_process_made_is_named_once() -> None:
    world = ExpireWorld()
    world.days(18, base_every=4)
    at_us = world.now_us - 17 * DAY_US
    pinned(world, at_us)
    world.holds.append(Need(world.sample.table, at_us, PIN, f"quarter ({at_us // 1000:014d}-00000001)"))
    assert [one.name for one in world.plan().outcomes[0].plan.held if one.by == PIN] == [world.holds[0].name]
