"""Compaction on every kind of store, sealed ones too: what is proven is the same before and after, and verify reads every record out of the packs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from scrubjay.archiver.compact.run import Compactor, CompactParts
from scrubjay.archiver.expire.plan import DAY_US
from scrubjay.archiver.format.layout import SegmentKey, parse
from scrubjay.archiver.read.index import ArchiveIndex
from scrubjay.archiver.read.names import list_all
from scrubjay.archiver.verify.report import VerifyOptions
from scrubjay.archiver.verify.run import verify
from scrubjay.base.env import Env, ObjectStore
from scrubjay.base.together import in_parallel
from scrubjay.sim.lone import LoneDisk
from tests.contract.object_store_kinds import Kind, make
from tests.contract.test_object_store import MARKED
from tests.unit.archiver.compact_world import CompactWorld
from tests.unit.archiver.sample import CLUSTER


@pytest.fixture(params=MARKED)
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kind]:
    with make(request.param, request, tmp_path) as made:
        yield made


def test_a_day_becomes_a_pack_on_every_store(kind: Kind) -> None:
    world = CompactWorld()
    world.trickle(1, per_day=12)
    world.idle(1)
    before = world.coverage()

    async def main(store: ObjectStore, env: Env) -> None:
        async def put(item: tuple[str, bytes]) -> None:
            await store.put(*item)

        await in_parallel(env.tasks, put, [*world.store.objects.items()], lanes=8, name="put")
        index = ArchiveIndex(store, CLUSTER, tasks=env.tasks, ahead_us=400 * DAY_US)
        gone: list[str] = []

        async def forget(keys: Sequence[str]) -> None:
            gone.extend(keys)

        parts = CompactParts(
            env=env, store=store, disk=LoneDisk(), jobs=None, index=index, writer=world.writer, locks=world.book, archived=world.archived, forget=forget,
            progress=lambda facts: None,
        )  # fmt: skip
        now_us = max(env.clock.wall_us(), world.now_us)
        report = await Compactor(parts).run([world.place()])
        assert report.exit == 0, report.as_json()
        totals = report.as_json()["totals"]
        if env.clock.wall_us() >= world.now_us:  # by its clock the day is over
            assert totals["made"] == 1
            assert totals["packed"] >= 11
        assert totals["deleted"] == 2 * totals["packed"] == len(gone)
        listed = [key for key in map(parse, await list_all(store, f"{CLUSTER}/")) if isinstance(key, SegmentKey)]
        assert len(listed) == len(world.keys("log")) - totals["deleted"] + 2 * totals["made"]
        afresh = ArchiveIndex(store, CLUSTER, tasks=env.tasks, ahead_us=400 * DAY_US)
        await afresh.refresh(now_us=now_us, archived=world.archived())
        assert afresh.partitions[world.sample.table, world.sample.partition].coverage().thread == before.thread
        options = VerifyOptions(level="replayed", cluster=CLUSTER, archived=world.archived(), wall_us=lambda: now_us, ahead_us=400 * DAY_US)
        found = await verify(store, LoneDisk(), options=options, now_us=env.clock.boot_us, work="v", tasks=env.tasks)
        assert found.findings == []
        assert (await Compactor(parts).run([world.place()])).as_json()["totals"]["made"] == 0, "nothing is left to be done"

    kind.run(main)
