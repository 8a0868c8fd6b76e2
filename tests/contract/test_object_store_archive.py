"""The whole archive on every kind of store: attach, archive by two agents at once, index, verify, base, rebuild, and damage that is found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from scrubjay.archiver.format.layout import build
from scrubjay.archiver.read.index import ArchiveIndex
from scrubjay.archiver.read.rebuild import rebuild
from scrubjay.archiver.read.replay import Cut
from scrubjay.archiver.verify.report import VerifyOptions, VerifyReport
from scrubjay.archiver.verify.run import verify
from scrubjay.archiver.write.agent import ArchiveAgent
from scrubjay.archiver.write.agent_state import AgentOptions
from scrubjay.archiver.write.attach import attach
from scrubjay.archiver.write.bases import upload_base
from scrubjay.archiver.write.claiming import Claiming
from scrubjay.archiver.write.probe import probe
from scrubjay.archiver.write.writer import Writer
from scrubjay.base.env import Env, ObjectStore
from scrubjay.base.ids import Lsn, PartitionId, Stamp
from scrubjay.base.wrap.limit import LimitedStore
from scrubjay.base.wrap.metered import MeteredStore
from scrubjay.base.wrap.retry import RetryingStore
from scrubjay.sim.lone import LoneDisk
from scrubjay.storage.archive_port import ClosedPoint
from tests.contract.object_store_kinds import Kind, make
from tests.contract.test_object_store import MARKED
from tests.unit.archiver.sample import CLUSTER, history, other_partition, total_of
from tests.unit.archiver.test_archive_agent import FakeSource
from tests.unit.archiver.test_archive_claiming import MemoryBook

OPTIONS = AgentOptions(compare_after_s=0.05, rescan_s=0.05, closed_interval_s=0.2)


@pytest.fixture(params=MARKED)
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kind]:
    with make(request.param, request, tmp_path) as made:
        yield made


def test_an_archive_from_first_to_last(kind: Kind) -> None:
    samples = [history(seed=number, segments=3, partition=other_partition(number)) for number in (1, 2)]

    async def main(bare: ObjectStore, env: Env) -> None:
        await probe(bare, env)
        metered = MeteredStore(bare, env)
        store = LimitedStore(RetryingStore(metered, env), env, in_flight=4)
        await attach(store, env, cluster_id=CLUSTER, folder_is_new=True)
        writer = Writer(CLUSTER)
        sources = [FakeSource(number, samples, leads=number < 3) for number in (1, 2, 3)]
        sample = samples[0]
        sources[0].points = [
            ClosedPoint(one.segments[0].table, PartitionId(one.partition), Stamp(one.stamp + 1), Lsn(one.lsn), Lsn(one.lsn), one.chain)
            for one in samples
        ]
        agents = [ArchiveAgent(env, store, source, writer, options=OPTIONS) for source in sources]
        await Claiming(env, store, writer, MemoryBook(), lambda: sources[:1], log=lambda _level, _line: None).claim()
        for agent in agents:
            agent.start()
        for agent in agents:
            assert await agent.drain(60) == 0
        while not agents[0].status().closed_published:
            await env.tasks.sleep(0.05)
        for agent, source in zip(agents, sources, strict=True):
            agent.stop()
            assert not source.findings
            assert agent.status().last_error is None
        assert sum(agent.status().placed for agent in agents[:2]) == 16
        assert agents[2].status().compared == 8

        index = ArchiveIndex(store, CLUSTER, tasks=env.tasks)
        await index.refresh(now_us=env.clock.wall_us())
        for one in samples:
            found = index.partitions[(one.table, one.partition)]
            assert found.reach() == one.lsn
            assert found.window().holes == ()
            assert found.window().latest_us is not None
        held = index.partitions[(sample.table, sample.partition)]
        segments = [row.key(CLUSTER, sample.table, sample.partition) for row in held.best()]
        disk = LoneDisk()
        done = await rebuild(store, disk, base=None, segments=segments, cut=Cut(lsn=sample.segments[2].last), output="rows", work="w")
        assert done.total == total_of(sample.states[sample.segments[2].last])
        await upload_base(
            store, disk, "rows", writer=writer.attached, table=sample.table, partition=sample.partition, table_name="orders", schema=sample.facts.schema, lo=sample.facts.lo, hi=sample.facts.hi,
            lsn=done.applied, stamp=done.stamp, chain=done.chain, total=done.total,
        )  # fmt: skip

        async def check() -> VerifyReport:
            return await verify(store, disk, options=VerifyOptions(level="replayed"), now_us=env.clock.boot_us, work="v")

        report = await check()
        assert report.findings == []
        assert report.verdict == "match"
        victim = build(segments[1])
        data = await store.get(victim)
        await store.delete(victim)
        await store.put(victim, data[:100] + bytes([data[100] ^ 1]) + data[101:])
        report = await check()
        assert {finding.object for finding in report.findings} == {victim}
        assert metered.reachable

    kind.run(main)
