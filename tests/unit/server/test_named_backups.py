"""Backups by name as they are shown: what cannot be restored is not shown as if it could."""

from __future__ import annotations

import random

from scrubjay.archiver.coverage import coverage, table_window
from scrubjay.base.hlc import stamp_micros
from scrubjay.pitr.backups import AVAILABLE, DAMAGED
from scrubjay.server.backups import NamedBackups
from tests.unit.pitr.test_backups import STATS, BackupWorld


def test_a_moment_in_a_hole_is_damaged_wherever_it_is_shown() -> None:
    world = BackupWorld(partitions=1)
    sound = world.create("sound")
    world.arrive()
    world.write(random.Random(4), 10)
    lost = world.create("lost")
    world.arrive()
    (log,) = world.logs.values()
    log.bases = [(log.archived, log.entries[-1].stamp)]
    world.write(random.Random(5), 10)
    world.arrive()
    segments = log.segments
    log.segments = lambda: [one for one in segments() if stamp_micros(one.last_stamp) != lost.at_us]  # type: ignore[method-assign]
    window = table_window([coverage(one.facts).window for one in world.run(world.look(world.source)).histories])
    assert window.earliest_us is not None
    assert window.latest_us is not None
    assert window.earliest_us <= sound.at_us < lost.at_us <= window.latest_us, "the window goes on behind it"
    named = NamedBackups(world.env, world.backups, stats=lambda _: STATS, tables=world.tables, proven=lambda _: window)
    assert [(one["backup"], one["state"]) for one in world.run(named.listed(None))["backups"]] == [("sound", AVAILABLE), ("lost", DAMAGED)]
    assert [one.status for one in world.run(named.list())] == ["AVAILABLE", "CREATING"], "the API has no word for it"
    assert [world.run(named.show(one.id))["state"] for one in (sound, lost)] == [AVAILABLE, DAMAGED]
