"""Replay of the WAL at a start: MB of log a second, for logs as a node leaves them. Files in the page cache.

    python -m bench.bench_replay [folder]

small: commits of one record of 300 bytes, the least a busy leader writes at once (512 bytes of file each). batches: 16 records of 1 KiB a commit.
copied: an idle partition's many small records, copied forward again and again by the traffic of a busy one.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from scrubjay.base.ids import Ballot, Lsn, Member, PartitionId
from scrubjay.base.real.disk import RealDisk
from scrubjay.storage.log.record import Record, RecordKind, encode
from scrubjay.storage.wal.port import Append, Boot, Create
from scrubjay.storage.wal.wal import Wal

P = PartitionId("00000000-0000-4000-8000-00000000000a")
Q = PartitionId("10000000-0000-4000-8000-00000000000b")
FILE = 16 << 20


class _Quick(RealDisk):
    """Writes at once and syncs nothing: only what is read back is measured."""


def _record(lsn: int, partition: PartitionId, size: int) -> Record:
    owner = bytes.fromhex(partition.replace("-", ""))[:8]
    return encode(owner=owner, lsn=lsn, stamp=lsn, kind=RecordKind.DATA, payload=bytes([lsn & 0xFF]) * size)


def _append(wal: Wal, partition: PartitionId, first: int, count: int, size: int) -> int:
    wal.queue(Append(partition, Ballot(1), tuple(_record(first + at, partition, size) for at in range(count)), staged=False))
    return first + count


def _commit(wal: Wal) -> None:
    wal.commit(lambda error: None)


def small(wal: Wal) -> None:
    at = 1
    for _ in range(3 * FILE // 512):
        at = _append(wal, P, at, 1, 200)
        _commit(wal)


def batches(wal: Wal) -> None:
    at = 1
    for _ in range(6 * FILE // 17_000):
        at = _append(wal, P, at, 16, 1000)
        _commit(wal)


def copied(wal: Wal) -> None:
    at = 1
    for _ in range(10_000):
        at = _append(wal, P, at, 1, 100)
        _commit(wal)
    busy = 1
    for _ in range(12 * FILE // 110_000):
        busy = _append(wal, Q, busy, 100, 1000)
        _commit(wal)
        wal.trim(Q, Lsn(busy - 50))


def _measure(name: str, fill: Callable[[Wal], None], folder: Path) -> None:
    root = folder / name
    disk = RealDisk(root)
    disk.sync_dir = lambda path: None  # type: ignore[method-assign]
    wal, _ = Wal.open(disk, "wal", file_size=FILE, reserve_bytes=0)
    wal.queue(Boot(1))
    for partition in (P, Q):
        wal.queue(Create(partition, Member(1, 1), Lsn(1)))
    _commit(wal)
    fill(wal)
    used = wal.usage().used
    wal.close()
    best = 1e9
    for _ in range(3):
        began = time.process_time()
        wal, recovered = Wal.open(RealDisk(root), "wal", file_size=FILE, reserve_bytes=0)
        best = min(best, time.process_time() - began)
        wal.close()
    assert not wal.findings
    extents = sum(len(state.extents) for state in wal._states.values())
    print(f"{name}: {used / 1e6:.0f} MB in {best:.2f} s of CPU, {used / 1e6 / best:.0f} MB/s; {extents} extents")
    assert all(not log.damaged for log in recovered.replicas.values())
    shutil.rmtree(root)


def main() -> None:
    folder = Path(tempfile.mkdtemp(dir=sys.argv[1] if len(sys.argv) > 1 else None))
    try:
        for fill in (small, batches, copied):
            _measure(fill.__name__, fill, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
