"""400 days of traffic in virtual time, with compaction and retention every day as the schedule runs them: a restore to any moment of the window is right, always, and neither the bytes
nor the objects that are stored grow."""

from __future__ import annotations

import random

import pytest

from scrubjay.archiver.expire.plan import DAY_US
from scrubjay.archiver.write.bases import base_due
from scrubjay.base.ids import Lsn
from tests.unit.archiver.compact_world import CompactWorld

DAYS = 400
KEEP_DAYS = 35
SEGMENTS = 5
"""A day. More than the least that is packed."""
FACTOR_MAX = 2.0
"""Bytes of log and bases that lie in the archive, over what the window must hold: its log and the rows at its beginning. Measured: 1.33."""
LIVE_MAX = 150.0
"""The same bytes over the rows that live: these are few and small (30 of some 80 bytes), so that manifests are most of what is stored. Measured: 114."""
OBJECTS_MAX = 3.5
"""Objects of log and bases for each day that lies in the archive. Measured: 2.8; unpacked 4.4 of the log alone."""


def due(world: CompactWorld) -> bool:
    """The rule of bases, on the sizes of this small world: a MiB here is a KiB."""
    world.refresh()
    found = world.index.partitions[world.sample.table, world.sample.partition]
    base = max(found.bases, default=None, key=lambda one: one.lsn)
    above = [row for row in found.best() if base is None or row.first > base.lsn]
    return base_due(
        base_lsn=None if base is None else Lsn(base.lsn), base_raw=0 if base is None else base.size << 10, log_raw=sum(row.raw for row in above) << 10
    )  # fmt: skip


def rows_of(state: dict[bytes, bytes]) -> int:
    """Bytes of rows as a base holds them."""
    return sum(len(key) + len(item) + 40 for key, item in state.items())


def needs(world: CompactWorld, oldest_us: int) -> int:
    """Bytes that a window from `oldest_us` cannot do without: the rows then, and the log since."""
    begun = sum(1 for one in world.sample.records if one.stamp <= oldest_us << 12)
    since = [key for key in world.keys("log") if int(key.rsplit("/", 1)[1][:16], 16) > begun]
    return rows_of(world.state_at(oldest_us)) + sum(len(world.store.objects[key]) for key in since)


@pytest.mark.slow
def test_400_days() -> None:
    world = CompactWorld(seed=11, keys=30)
    world.keep_us = KEEP_DAYS * DAY_US
    draw = random.Random(7)
    worst, over_live, most, bases, deleted, packs = 0.0, 0.0, 0.0, 0, 0, 0
    sizes: list[int] = []
    for day in range(1, DAYS + 1):
        world.trickle(1, per_day=draw.choice((SEGMENTS, SEGMENTS, 1, 0, 0)))
        if due(world):
            world.base()
            bases += 1
        packed = world.compact()
        assert packed.exit == 0, packed.as_json()
        packs += packed.outcomes[0].packs
        report = world.expire()
        assert report.exit == 0
        deleted += report.outcomes[0].deleted
        if day % 4:
            continue
        earliest, latest = world.window()
        assert earliest is not None
        assert latest is not None
        oldest = max(world.now_us - world.keep_us, earliest)
        if day > KEEP_DAYS:
            assert earliest <= world.now_us - world.keep_us, f"day {day}: the window is shorter than was promised"
        if day % 20 == 0:
            for at_us in (oldest, draw.randrange(oldest, latest), latest):
                assert world.restored(at_us) == world.state_at(at_us), f"day {day}, at {at_us}"
        if day % 200 == 0:
            assert world.verify("records").findings == []
        if day > 2 * KEEP_DAYS:
            needed, live = needs(world, oldest), rows_of(world.state_at(world.now_us))
            held = world.keys("log") + world.keys("base")
            sizes.append(sum(len(world.store.objects[key]) for key in held))
            worst, over_live = max(worst, sizes[-1] / needed), max(over_live, sizes[-1] / live)
            most = max(most, len(held) / ((world.now_us - earliest) / DAY_US))
    print(
        f"400 days: {bases} bases, {packs} packs, {deleted} objects deleted, stored at most {worst:.2f} of what the window must hold, {over_live:.1f} of the live rows, "
        f"{most:.1f} objects a day"
    )
    assert bases > 10
    assert deleted > 500
    assert max(sizes[-40:]) <= 1.2 * max(sizes[:40]), "what is stored grows"
    assert worst <= FACTOR_MAX, f"{worst:.2f} bytes stored for each that the window must hold"
    assert over_live <= LIVE_MAX, f"{over_live:.1f} bytes stored for each that lives"
    assert most <= OBJECTS_MAX, f"{most:.1f} objects for each day"
    assert packs > 100
    assert len(world.keys("closed")) <= KEEP_DAYS + 1
    assert len(world.keys("expired")) == 1
