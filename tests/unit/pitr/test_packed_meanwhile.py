"""Whoever reads the archive while what it is about to read is packed or taken away by retention: at every one of its requests the other one's work is done, and it ends as it would have,
by what it finds then."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from scrubjay.archiver.compact.plan import PackedPlace
from scrubjay.archiver.compact.run import Compactor, CompactParts
from scrubjay.archiver.expire.locks import LockBook
from scrubjay.archiver.expire.plan import DAY_US, Wanted
from scrubjay.archiver.expire.run import ExpireParts, Expirer
from scrubjay.archiver.format.base import BaseManifest
from scrubjay.archiver.format.closed import ClosedObject, encode_closed
from scrubjay.archiver.read.check import check_base
from scrubjay.archiver.read.index import ArchiveIndex, KnownArchived
from scrubjay.archiver.write.writer import Writer
from scrubjay.base.env import ObjectStore
from scrubjay.base.hlc import last_stamp_at
from scrubjay.base.ids import Lsn, PartitionId, Stamp, TableId
from scrubjay.sim.lone import LoneStore
from scrubjay.storage.archive_port import ClosedPoint
from tests.unit.archiver.sample import ATTACHED, CLUSTER
from tests.unit.pitr.test_exports import Exporting
from tests.unit.pitr.test_timeline import history, undo
from tests.unit.pitr.timeline_world import TimelineWorld, made

KEY = 5
SEED = 5
Read = Callable[[TimelineWorld], Any]


class Meanwhile:
    """A world of a table's archive of which somebody else, with a store and an index of his own, does `work` in front of request `at` of this world's readers (0: never).
    bases: there is one at each of both moments."""

    def __init__(self, work: Callable[[TimelineWorld, ObjectStore], Any], at: int, *, bases: bool = False) -> None:
        self.world = made(SEED, partitions=1, steps=14)
        (sample,) = self.world.samples.values()
        if bases:
            self.world.snapshot(sample)
        self.middle_us = self.world.now_us
        self.world.write(random.Random(SEED + 1), 8)
        self.world.seal_all()
        if bases:
            self.world.snapshot(sample)
        self.written_us = self.world.now_us
        before: int | None = None
        for _ in range(12):  # as a leader says in idle days how far they are
            self.world.now_us += DAY_US // 4
            lsn, cut = Lsn(sample.segments[-1].last), Stamp(last_stamp_at(self.world.now_us - 1000))
            point = ClosedPoint(TableId(sample.table), PartitionId(sample.partition), cut, Lsn(lsn - 1), lsn, sample.chain, lsn)
            one = ClosedObject(CLUSTER, "n1", self.world.now_us, ATTACHED.epoch, ATTACHED.owner, (point,), before)
            before = self.world.now_us
            self.world.objects.objects[one.key()] = encode_closed(one)
        self.requests = 0
        self.done: Any = None
        store, begin, mine = self.world.objects, self.world.objects._begin, LoneStore()
        mine._store = store._store

        async def meanwhile() -> None:
            self.requests += 1
            if self.requests == at:
                self.done = await work(self.world, mine)
            await begin()

        store._begin = meanwhile  # type: ignore[method-assign]


def known(world: TimelineWorld) -> list[KnownArchived]:
    return [
        KnownArchived(sample.table, sample.partition, sample.segments[-1].last, sample.segments[-1].chain)
        for sample in world.samples.values()
    ]


async def forget(_keys: Any) -> None:
    """Nobody remembers."""


async def packs(world: TimelineWorld, store: ObjectStore) -> Any:
    disk: Any = world.disk
    parts = CompactParts(
        env=world.env, store=store, disk=disk, jobs=None, index=ArchiveIndex(store, CLUSTER, tasks=world.env.tasks),
        writer=Writer(CLUSTER, ATTACHED), locks=LockBook(0), archived=lambda: known(world), forget=forget, progress=lambda facts: None,
    )  # fmt: skip
    places = [PackedPlace(one.table, "table1", one.partition, one.segments[-1].last, 35 * DAY_US) for one in world.samples.values()]
    report = await Compactor(parts).run(places)
    assert report.exit == 0
    return report


async def expires(world: TimelineWorld, store: ObjectStore) -> Any:
    """Of a table that keeps a day: all of it may go but the newest base and what follows, if nobody needs more."""

    async def prove(base: BaseManifest) -> Sequence[Any]:
        return await check_base(store, base, deep=True)

    async def untold(_since_us: int) -> bool:
        return False

    exports: Any = getattr(world, "exporting", None)
    needs = [world.service.needs, world.timeline.needs, *([exports.exports.needs] if exports is not None else [])]
    parts = ExpireParts(
        env=world.env, store=store, index=ArchiveIndex(store, CLUSTER, tasks=world.env.tasks), writer=Writer(CLUSTER, ATTACHED), prove=prove,
        holds=lambda: [need for one in needs for need in one()], archived=lambda: known(world), afresh=lambda one: one, forget=forget,
        untold=untold, progress=lambda facts: None, locks=LockBook(0),
    )  # fmt: skip
    wanted = [Wanted(one.table, "table1", one.partition, one.segments[-1].last, DAY_US, None, None, 0) for one in world.samples.values()]
    return await Expirer(parts, keep_us=None, attended=False).run(wanted, closed_keep_us=None)


# --- who reads; of each what it says ---


def of_history(one: Meanwhile) -> Any:
    told = history(one.world, KEY, to_us=one.written_us)
    return told["exit"], told["unproven"], [(version["lsn"], version["op"], version["item"]) for version in told["versions"]]


def of_undo(one: Meanwhile) -> Any:
    report = undo(one.world, one.middle_us, one.written_us)
    return report["exit"], report["totals"], report["conflicts"], sorted(one.world.live().items())


def of_export(one: Meanwhile) -> Any:
    exporting = Exporting(one.world)
    one.world.exporting = exporting  # type: ignore[attr-defined]
    done = exporting.done(at_us=one.middle_us)
    return done["state"], done["rows"], done["digest"]


def of_changes(one: Meanwhile) -> Any:
    exporting = Exporting(one.world)
    one.world.exporting = exporting  # type: ignore[attr-defined]
    done = exporting.done(from_us=one.middle_us, at_us=one.written_us)
    return done["state"], done["rows"], done["digest"]


READERS = [of_history, of_undo, of_export, of_changes]


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS, ids=lambda one: one.__name__)
def test_what_is_packed_in_front_of_any_request_is_read_all_the_same(reader: Callable[[Meanwhile], Any]) -> None:
    quiet = Meanwhile(packs, 0)
    wanted = reader(quiet)
    assert quiet.requests > 5
    for at in range(1, quiet.requests + 1):
        one = Meanwhile(packs, at)
        assert reader(one) == wanted, f"packed in front of request {at}"
        assert sum(part.deleted for part in one.done.outcomes) > 6
        assert not [line for line in one.world.lines if "damage" in line or "done without" in line], f"packed in front of request {at}"
        assert not one.world.found, f"packed in front of request {at}"


@pytest.mark.slow
@pytest.mark.parametrize("reader", [of_undo, of_export], ids=lambda one: one.__name__)
def test_what_retention_takes_away_in_front_of_any_request_is_not_what_is_read(reader: Callable[[Meanwhile], Any]) -> None:
    """A name that was learnt before the delete: a moment that is asked for is needed from the first request on."""
    quiet = Meanwhile(expires, 0, bases=True)
    wanted = reader(quiet)
    taken = 0
    for at in range(1, quiet.requests + 1):
        one = Meanwhile(expires, at, bases=True)
        assert reader(one) == wanted, f"taken away in front of request {at}"
        taken += sum(part.deleted for part in one.done.outcomes)
    assert taken > 6
