"""How fast an agent archives: raw log bytes per second, check, compress, put and compare, against a folder, memory or an S3 server.

    .venv/bin/python bench/bench_archive.py [--url file:///tmp/x | s3://bucket/prefix] [--segments 6]

Without --url the store is in memory: what is measured is the agent's own work. Two agents run: one uploads (leads), one downloads and compares.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from bench.bench_rebuild import fill
from scrubjay.archiver.write.agent import ArchiveAgent
from scrubjay.archiver.write.agent_state import AgentOptions
from scrubjay.archiver.write.attach import attach
from scrubjay.archiver.write.claiming import Claiming
from scrubjay.archiver.write.outgoing import prepare, request
from scrubjay.archiver.write.writer import Writer
from scrubjay.base.env import Env
from scrubjay.base.real.clock import RealClock
from scrubjay.base.real.loop import AsyncTasks, run
from scrubjay.base.real.rand import RealRand
from scrubjay.base.real.stores import bare_store
from scrubjay.base.wrap.metered import MeteredStore
from scrubjay.sim.lone import LoneStore
from tests.unit.archiver.sample import CLUSTER, Sample
from tests.unit.archiver.test_archive_agent import FakeSource
from tests.unit.archiver.test_archive_claiming import MemoryBook


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="")
    parser.add_argument("--segments", type=int, default=6)
    parser.add_argument("--item", type=int, default=900)
    options = parser.parse_args()
    sample = Sample(seed=1)
    fill(sample, options.segments, options.item, 40_000)
    raw_bytes = sum(segment.raw_size for segment in sample.segments)

    started, cpu = time.perf_counter(), time.process_time()
    stored = 0
    for segment in sample.segments:
        asked = request(segment, sample.facts, sample.raw(segment), generation=1, after_stamp=0)
        stored += prepare(asked).stored.size
    wall, used = time.perf_counter() - started, time.process_time() - cpu
    print(
        f"check and compress: {raw_bytes / 1e6 / wall:.0f} MB/s raw ({raw_bytes / 1e6 / used:.0f} per CPU second), ratio {raw_bytes / stored:.2f}"
    )

    async def whole(tasks: AsyncTasks) -> None:
        env = Env(RealClock(), RealRand(), tasks)
        bare: Any = bare_store(options.url) if options.url else LoneStore()
        store = MeteredStore(bare, env)
        writer = Writer(CLUSTER)
        await attach(store, env, cluster_id=CLUSTER, folder_is_new=True)
        await Claiming(env, store, writer, MemoryBook(), list, log=lambda _level, _line: None).claim()
        leads, follows = FakeSource(1, [sample], leads=True), FakeSource(2, [sample], leads=False)
        agents = [
            ArchiveAgent(env, store, source, writer, options=AgentOptions(compare_after_s=0.01, rescan_s=0.01))
            for source in (leads, follows)
        ]
        began = time.perf_counter()
        for agent in agents:
            agent.start()
        for agent in agents:
            await agent.drain(600)
        wall = time.perf_counter() - began
        requests = {verb: stats.requests for verb, stats in store.stats.items() if stats.requests}
        print(f"archive and compare: {raw_bytes / 1e6:.0f} MB raw in {wall:.2f} s, {raw_bytes / 1e6 / wall:.0f} MB/s, requests {requests}")
        for agent in agents:
            agent.stop()
        close = getattr(bare, "close", None)
        if close is not None:
            close()

    run(whole)


if __name__ == "__main__":
    main()
