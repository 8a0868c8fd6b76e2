"""Backups by name as they are shown: what cannot be restored is not shown as if it could."""

from __future__ import annotations

import random

from scrubjay.archiver.coverage import coverage, table_window
from scrubjay.archiver.expire.plan import UNPROVEN
from scrubjay.archiver.format.layout import build
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


def test_a_lost_one_is_listed_and_deleted_as_any_other() -> None:
    world = BackupWorld(partitions=1)
    world.create("there")
    gone = world.create("gone")
    world.arrive()
    del world.store.objects[build(gone.key())]
    named = NamedBackups(world.env, world.again(), stats=lambda _: STATS, tables=world.tables, proven=lambda _: UNPROVEN)
    listed = world.run(named.listed(None))
    assert (listed["exit"], [one["backup"] for one in listed["backups"]]) == (2, ["there"])
    assert [(one["backup"], one["backup_id"], one["state"]) for one in listed["lost"]] == [("gone", gone.id, "lost")]
    kept = world.run(named.remove("gone", confirm=False))
    assert (kept["exit"], kept["deleted"], kept["state"]) == (0, False, "lost")
    assert world.run(named.remove("gone", confirm=True))["deleted"]
    assert world.run(named.listed(None))["exit"] == 0
