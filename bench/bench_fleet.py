"""How a fleet scales: the work of scrubs, restores, exports and verifies over several partitions, on 1, 2, … workers of a real Dask scheduler on this machine.

    .venv/bin/python -m bench.bench_fleet [--partitions 8] [--mb 32] [--workers 1,2] [--rounds 1] [--folder PATH]

Makes an archive in a folder (`file://`), starts a scheduler and as many workers (one thread each) as asked, and sends them the jobs that the services send: through `FleetJobs`, as
many at once as there are workers. Nodes, their trees and the loads of a restore are not in it: they are no work of the fleet. For each work and number of workers: seconds, the speed-up over the first number,
CPU seconds for a partition (of the workers and the processes of their jobs, and apart of this process, which stands for the server and does not scale), raw MB a second. One JSON object. The first
round of each warms the workers up and does not count.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from scrubjay.archiver.format.identity import encode_epoch, encode_identity
from scrubjay.archiver.format.layout import EpochKey, IdentityKey, build
from scrubjay.archiver.verify.report import VerifyOptions
from scrubjay.archiver.verify.run import verify
from scrubjay.base.real.clock import RealClock
from scrubjay.base.real.disk import RealDisk
from scrubjay.base.real.fleet_jobs import FleetJobs
from scrubjay.base.real.jobs import WorkerJobs
from scrubjay.base.real.localfs import LocalStore
from scrubjay.base.real.loop import AsyncTasks, run
from scrubjay.base.together import in_parallel
from scrubjay.pitr.source import REBUILD
from scrubjay.pitr.transfer.aws_layout import DYNAMODB_JSON
from scrubjay.pitr.transfer.exports import EXPORT
from scrubjay.scrubber.jobs import REFERENCE
from scrubjay.serving.jobs import TRAVELS
from scrubjay.storage.catalogue import KeyAttribute, KeySchema
from scrubjay.storage.items.encoding import encode_item
from scrubjay.storage.items.keys import storage_key
from scrubjay.storage.log.record import Effect, Op, RecordKind, Seal
from tests.fixtures.fleet import Fleet
from tests.unit.archiver.sample import CLUSTER, OWNER, START_US, Sample

SEGMENT_BYTES = 8 << 20
ITEM_BYTES = 900
SCHEMA = KeySchema(KeyAttribute("k", "S"))
TICKS = os.sysconf("SC_CLK_TCK")
MOMENT_US = START_US + 10**12


class Part:
    """One partition of the archive. raw: bytes of its log."""

    def __init__(self, partition: str, segments: list[str], lsn: int, raw: int) -> None:
        self.partition, self.segments, self.lsn, self.raw = partition, segments, lsn, raw


def fill(folder: str, mb: int, number: int) -> tuple[str, list[str], int, int]:
    """Write one partition's log into the archive at `folder`; half of every item compresses, half does not."""
    partition = f"9a471710-0000-4000-8000-{number:012x}"
    sample = Sample(seed=number, partition=partition)
    draw = random.Random(number)
    text = "scrub jay oak wood acorn cache " * 40
    sample.append(RecordKind.SCHEMA, b"{}")
    sample.seal(reason=Seal.SCHEMA)
    raw = 0
    for _ in range(max(1, (mb << 20) // SEGMENT_BYTES)):
        size = 0
        while size < SEGMENT_BYTES:
            name = hashlib.md5(draw.randrange(40_000).to_bytes(4, "big")).hexdigest()
            item = {"k": ("S", name), "b": ("B", draw.randbytes(ITEM_BYTES // 2)), "s": ("S", text[: ITEM_BYTES // 2])}
            size += len(sample.write([Effect(Op.PUT, storage_key(SCHEMA, {"k": ("S", name)}), encode_item(item))]).data)  # type: ignore[arg-type]
            sample.states.clear()  # the model keeps every state; here nobody asks for it
        sample.seal()
        raw += size
    names = sorted(sample.objects().items())
    for key, data in names:
        path = Path(folder) / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    segments = [build(one.key()) for one in sample.manifests()]
    return partition, segments, sample.lsn, raw


def cpu_s(pids: list[int]) -> float:
    """CPU seconds of processes, of all below them, and of their children that ended."""
    below: dict[int, list[int]] = {}
    spent: dict[int, float] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            below.setdefault(int(fields[1]), []).append(int(entry.name))
            spent[int(entry.name)] = sum(map(int, fields[11:15])) / TICKS
    total, left = 0.0, list(pids)
    while left:
        pid = left.pop()
        total += spent.get(pid, 0.0)
        left += below.get(pid, [])
    return total


class Work:
    """What the services would have done, by the same jobs."""

    def __init__(self, tasks: AsyncTasks, jobs: FleetJobs, url: str, data: Path, parts: list[Part], lanes: int) -> None:
        self._tasks, self._jobs, self._url, self._data, self._parts, self._lanes = tasks, jobs, url, data, parts, lanes
        self._turn = 0

    async def _each(self, one: Callable[[Part, str], Awaitable[None]]) -> None:
        self._turn += 1

        async def whole(part: Part) -> None:
            rows = f"tmp/bench/{self._turn}/{part.partition}.rows"
            await one(part, rows)
            self._jobs.drop(rows)
            (self._data / rows).unlink(missing_ok=True)

        await in_parallel(self._tasks, whole, self._parts, lanes=self._lanes, name="bench")

    def _arguments(self, part: Part, rows: str) -> dict[str, Any]:
        return {"url": self._url, "base": None, "segments": part.segments, "output": rows, "work": rows + ".base"}

    async def scrub(self) -> None:
        async def one(part: Part, rows: str) -> None:
            await self._jobs.run(REFERENCE, {**self._arguments(part, rows), "lsn": part.lsn, "lo": bytes(16), "hi": None})

        await self._each(one)

    async def rebuild(self) -> None:
        async def one(part: Part, rows: str) -> None:
            await self._jobs.run(REBUILD, {**self._arguments(part, rows), "stamp": MOMENT_US << 12, "rebase": True})

        await self._each(one)

    async def restore(self) -> None:
        async def one(part: Part, rows: str) -> None:
            await self._jobs.run(REBUILD, {**self._arguments(part, rows), "stamp": MOMENT_US << 12, "rebase": True})
            await self._jobs.bring(rows)

        await self._each(one)

    async def export(self) -> None:
        async def one(part: Part, rows: str) -> None:
            await self._jobs.run(REBUILD, {**self._arguments(part, rows), "stamp": MOMENT_US << 12, "rebase": True})
            asked = {"id": f"bench{self._turn}", "partition": part.partition, "key": msgspec.to_builtins(SCHEMA), "format": DYNAMODB_JSON}
            await self._jobs.run(EXPORT, {"url": self._url, "rows": rows, "view": None, **asked})

        await self._each(one)

    async def verify(self) -> None:
        store = LocalStore(self._data.parent / "archive")
        disk = RealDisk(self._data)
        disk.mkdir("tmp")
        options = VerifyOptions(level="replayed", cluster=CLUSTER, parallel=self._lanes)
        found = await verify(
            store, disk, options=options, now_us=RealClock().boot_us, work="tmp/verify", jobs=self._jobs, tasks=self._tasks
        )
        assert found.verdict == "match", [one.detail for one in found.findings[:3]]


WORKS = ("scrub", "rebuild", "restore", "export", "verify")


def measure(folder: Path, parts: list[Part], workers: int, rounds: int, asked: list[str]) -> dict[str, Any]:
    fleet = Fleet(folder / f"fleet{workers}")
    try:
        for _ in range(workers):
            fleet.add()
        pids = [process.pid for process in fleet.workers]
        data = folder / "data"
        data.mkdir(exist_ok=True)
        url = (folder / "archive").as_uri()
        raw = sum(part.raw for part in parts)

        async def main(tasks: AsyncTasks) -> dict[str, Any]:
            jobs = FleetJobs(WorkerJobs(data, workers=1), data, address=fleet.address, travels=TRAVELS, url=url, cluster=CLUSTER)
            found: dict[str, Any] = {}
            try:
                work = Work(tasks, jobs, url, data, parts, workers)
                warm = Work(tasks, jobs, url, data, parts[:workers], workers)
                await warm.rebuild()
                for name in asked:
                    times, theirs, ours = [], [], []
                    for _ in range(rounds):
                        began, cpu, own = time.perf_counter(), cpu_s(pids), time.process_time()
                        await getattr(work, name)()
                        times.append(time.perf_counter() - began)
                        theirs.append((cpu_s(pids) - cpu) / len(parts))
                        ours.append((time.process_time() - own) / len(parts))
                    seconds = statistics.median(times)
                    found[name] = {
                        "seconds": round(seconds, 2),
                        "raw_mb_s": round(raw / 1e6 / seconds, 1),
                        "cpu_s_a_partition": round(statistics.median(theirs), 3),
                        "server_cpu_s_a_partition": round(statistics.median(ours), 3),
                    }
            finally:
                await jobs.close()
            return found

        return run(main)
    finally:
        fleet.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--mb", type=int, default=32, help="raw log of each partition")
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--works", default=",".join(WORKS))
    parser.add_argument("--folder", default=None, help="where; it is left behind. None: a temporary one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as made:
        folder = Path(made)
        archive = folder / "archive"
        small = {
            build(IdentityKey(CLUSTER)): encode_identity(cluster=CLUSTER, created_us=START_US, parent=None),
            build(EpochKey(CLUSTER, 1)): encode_epoch(cluster=CLUSTER, epoch=1, owner=OWNER, created_us=START_US),
        }
        for key, data in small.items():
            (archive / key).parent.mkdir(parents=True, exist_ok=True)
            (archive / key).write_bytes(data)
        began = time.perf_counter()
        with ProcessPoolExecutor() as pool:
            parts = [Part(*one) for one in pool.map(partial(fill, str(archive), options.mb), range(1, options.partitions + 1))]
        print(f"an archive of {options.partitions} partitions in {time.perf_counter() - began:.0f} s", file=sys.stderr)
        counts = [int(one) for one in options.workers.split(",")]
        results: dict[str, Any] = {}
        for workers in counts:
            found = measure(folder, parts, workers, options.rounds, options.works.split(","))
            for name, row in found.items():
                first = results.get(str(counts[0]), {}).get(name, row)
                row["speed_up"] = round(first["seconds"] / row["seconds"], 2)
            results[str(workers)] = found
            print(json.dumps({workers: found}), file=sys.stderr, flush=True)
        print(
            json.dumps(
                {
                    "partitions": options.partitions,
                    "raw_mb_a_partition": round(parts[0].raw / 1e6, 1),
                    "cores": os.cpu_count(),
                    "load": [round(one, 1) for one in os.getloadavg()],
                    "workers": results,
                },
                indent=2,
            )
        )


if __name__ == "__main__":
    main()
