"""What the WAL keeps in memory for reads: bounded by what it costs, and gone with what it shows."""

from __future__ import annotations

import pytest

from scrubjay.base.ids import Ballot, Lsn, Member
from scrubjay.storage.wal import reader
from scrubjay.storage.wal.port import Append, Create, Drop, Promise
from scrubjay.storage.wal.wal import Wal
from tests.unit.wal.test_wal import P, Q, commit, fresh, records
from tests.unit.wal.wal_disk import MemoryDisk


def kept(wal: Wal) -> tuple[int, int]:
    """(bodies, their cost) in the cache."""
    cache = wal._reader._cache
    assert wal._reader._cache_bytes == sum(reader.cost(body) for body in cache)
    return len(cache), wal._reader._cache_bytes


def filled(*, partitions: int = 1, each: int = 20) -> Wal:
    wal, _ = fresh(MemoryDisk())
    for partition in (P, Q)[:partitions]:
        wal.queue(Create(partition, Member(2, 7), Lsn(1)))
        wal.queue(Promise(partition, Ballot(1)))
        for lsn in range(1, each + 1):
            wal.queue(Append(partition, Ballot(1), records(lsn, lsn + 1, partition), staged=False))
            commit(wal)
    return wal


def test_records_of_a_dropped_replica_are_let_go_of() -> None:
    wal = filled(partitions=2)
    both, _ = kept(wal)
    wal.queue(Drop(Q))
    commit(wal)
    assert kept(wal)[0] == both // 2
    wal.queue(Drop(P))
    commit(wal)
    assert kept(wal) == (0, 0)


def test_trimmed_records_are_let_go_of() -> None:
    wal = filled()
    wal.trim(P, Lsn(16))
    assert kept(wal)[0] == 5
    assert [one.lsn for one in wal.read(P, Lsn(16), Lsn(21), max_bytes=1 << 20)] == [16, 17, 18, 19, 20]


def test_small_records_cost_more_than_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "CACHE_BYTES_MAX", 10 * reader.RECORD_COST)
    wal = filled(each=40)
    bodies, size = kept(wal)
    assert 0 < bodies <= 10
    assert size <= 10 * reader.RECORD_COST
