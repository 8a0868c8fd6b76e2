"""Backups by name as they are shown: what cannot be restored is not shown as if it could."""

from __future__ import annotations

import random
from typing import Any

from scrubjay.archiver.coverage import coverage, table_window
from scrubjay.archiver.expire.plan import UNPROVEN
from scrubjay.archiver.facts import Mark
from scrubjay.archiver.format.layout import build
from scrubjay.archiver.read.backup_pins import PinReader
from scrubjay.base.errors import NO_KEY
from scrubjay.base.hlc import stamp_micros
from scrubjay.base.sealed import Key, Keyring, seal
from scrubjay.base.wrap.encrypted import EncryptedStore
from scrubjay.pitr.archive import TableArchive
from scrubjay.pitr.backups import AVAILABLE, DAMAGED, UNREAD
from scrubjay.server.backups import NamedBackups
from tests.unit.archiver.sample import CLUSTER
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


def test_one_that_lies_under_a_lost_key_is_not_damaged_and_is_there_again_with_the_key() -> None:
    world = BackupWorld(partitions=1)
    pin = world.create("sealed")
    world.arrive()
    look = world.look

    async def unread(*asked: Any, **more: Any) -> TableArchive:
        seen = await look(*asked, **more)
        (one,) = seen.histories
        unread = [(span.first, span.last, "under key 2027") for span in one.facts.spans]
        facts = one.facts._replace(spans=[], starts=[], marks=[Mark(one.facts.spans[-1].last, None)], unread=unread)
        return seen._replace(histories=(one._replace(segments=(), bases=(), facts=facts),))

    named = NamedBackups(world.env, world.backups, stats=lambda _: STATS, tables=world.tables, proven=lambda _: UNPROVEN)
    world.look = unread  # type: ignore[method-assign]
    shown = world.run(named.show(pin.id))
    assert (shown["exit"], shown["state"], "under key 2027" in str(shown["detail"])) == (3, UNREAD, True)
    assert [one.status for one in world.run(named.list())] == ["CREATING"]
    world.look = look  # type: ignore[method-assign]
    assert world.run(named.show(pin.id))["state"] == AVAILABLE


def test_a_pin_that_lies_under_a_lost_key_is_listed_as_not_read_and_nothing_as_damaged() -> None:
    world = BackupWorld(partitions=1)
    pin = world.create("sealed")
    world.arrive()
    key = build(pin.key())
    sealed = EncryptedStore(world.store, None, random=lambda size: bytes(size))
    world.store.objects[key] = seal(Keyring((Key("2027", b"l" * 32),)), key, world.store.objects[key], random=lambda size: bytes(size))
    service = world.again()
    service._reader = PinReader(world.env.tasks, sealed, CLUSTER)
    named = NamedBackups(world.env, service, stats=lambda _: STATS, tables=world.tables, proven=lambda _: UNPROVEN)
    listed = world.run(named.listed(None))
    assert (listed["exit"], [one["kind"] for one in listed["unread"]]) == (3, [NO_KEY])
    world.store.objects[key] = b"rotten"
    assert world.run(named.listed(None))["exit"] == 2
