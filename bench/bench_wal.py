"""WAL figures: records per second through queue and commit on a real disk, in batches as a busy node makes them, and recovery.

python bench/bench_wal.py [folder]
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
import time
from pathlib import Path

from scrubjay.base.ids import Ballot, Lsn, Member, PartitionId
from scrubjay.base.real.disk import RealDisk
from scrubjay.storage.log.record import RecordKind, encode
from scrubjay.storage.wal.port import Append, Create
from scrubjay.storage.wal.wal import Wal

P = PartitionId("00000000-0000-4000-8000-00000000000a")
OWNER = bytes.fromhex(P.replace("-", ""))[:8]


def three(folder: Path) -> None:
    """Three logs in one process, as the nodes of one machine: every batch goes to all of them; it counts when all have synced it."""
    loop = asyncio.new_event_loop()
    disks = [RealDisk(folder / f"n{number}", loop.call_soon_threadsafe) for number in range(3)]
    wals = [Wal.open(disk, "wal", call_later=loop.call_later)[0] for disk in disks]
    for wal in wals:
        wal.queue(Create(P, Member(1, 1), Lsn(1)))
        wal.commit(lambda error: None)
    loop.run_until_complete(asyncio.sleep(0.5))
    payload = bytes(1000)
    lsn = 1
    for batch in (1, 4, 16, 64):
        turns = max(300, 12_000 // batch) if batch > 1 else 1500
        spent = longest = 0.0
        cpu, start = time.process_time(), time.perf_counter()
        for _ in range(turns):
            future = loop.create_future()
            left = [len(wals)]

            def done(error: object, left=left, future=future) -> None:  # type: ignore[no-untyped-def]
                assert error is None
                left[0] -= 1
                if not left[0]:
                    future.set_result(None)

            frames = tuple(encode(owner=OWNER, lsn=lsn + at, stamp=lsn + at, kind=RecordKind.DATA, payload=payload) for at in range(batch))
            lsn += batch
            begun = time.perf_counter()
            for wal in wals:
                wal.queue(Append(P, Ballot(1), frames, staged=False))
                wal.trim(P, Lsn(max(1, lsn - 20_000)))
                wal.commit(done)
            took = time.perf_counter() - begun
            spent += took
            longest = max(longest, took)
            loop.run_until_complete(future)
        wall, cpu = time.perf_counter() - start, time.process_time() - cpu
        print(
            f"three logs, {batch:3d} records: {turns * batch / wall:8,.0f} records/s, {wall / turns * 1e6:6.0f} us a commit, queue+commit on the loop "
            f"{spent / turns / 3 * 1e6:6.1f} us a log (longest {longest * 1e3:.1f} ms for all), {cpu / turns / 3 * 1e6:6.1f} us CPU a log"
        )
    for wal, disk in zip(wals, disks, strict=True):
        wal.close()
        disk.close()
    loop.close()


def main() -> None:
    folder = Path(tempfile.mkdtemp(dir=sys.argv[1] if len(sys.argv) > 1 else None))
    three(folder)
    loop = asyncio.new_event_loop()
    disk = RealDisk(folder, loop.call_soon_threadsafe)
    wal, _ = Wal.open(disk, "wal")
    wal.queue(Create(P, Member(1, 1), Lsn(1)))
    payload = bytes(1000)
    lsn = 1
    for batch in (1, 16, 64, 256):
        turns = 40_000 // batch if batch > 1 else 3000
        frames = []
        for _ in range(turns):
            frames.append(
                tuple(encode(owner=OWNER, lsn=lsn + at, stamp=lsn + at, kind=RecordKind.DATA, payload=payload) for at in range(batch))
            )
            lsn += batch
        start = time.perf_counter()
        cpu = time.process_time()
        future = loop.create_future()
        left = iter(frames)

        def step(error: object = None, left=left, future=future) -> None:  # type: ignore[no-untyped-def]
            assert error is None
            records = next(left, None)
            if records is None:
                future.set_result(None)
                return
            wal.queue(Append(P, Ballot(1), records, staged=False))
            wal.trim(P, Lsn(max(1, records[0].lsn - 20_000)))
            wal.commit(step)

        step()
        loop.run_until_complete(future)
        wall = time.perf_counter() - start
        count = turns * batch
        cpu = time.process_time() - cpu
        print(
            f"batch of {batch:4d}: {count / wall:10,.0f} records/s, {wall / turns * 1e6:8.0f} us a commit, {cpu / count * 1e6:6.2f} us CPU a record"
        )
    used = wal.usage()
    wal.close()
    start = time.perf_counter()
    again, recovered = Wal.open(disk, "wal")
    seconds = time.perf_counter() - start
    size = (used.used + used.recycled) / 1e6
    print(
        f"recovery: {size:.0f} MB in {seconds:.3f} s, {size / seconds:.0f} MB/s; log {recovered.replicas[P].first}..{recovered.replicas[P].last}"
    )
    start = time.perf_counter()
    got = again.read(P, recovered.replicas[P].first, Lsn(recovered.replicas[P].last + 1))
    seconds = time.perf_counter() - start
    print(f"cold read: {len(got) / seconds:,.0f} records/s")
    again.close()
    disk.close()
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
