"""The WAL against a model: appends, adoptions, trims, installs and drops in any order, small files, restarts in between. What is read is what the model holds."""

from __future__ import annotations

import random

import pytest

from scrubjay.base.ids import Ballot, Lsn, Member, PartitionId
from scrubjay.storage.log.record import Record, RecordKind, encode
from scrubjay.storage.wal.disk_runs import read_runs
from scrubjay.storage.wal.port import Adopt, Append, Create, Drop, Install, Promise, Recovered
from scrubjay.storage.wal.wal import Wal
from tests.unit.wal.wal_disk import MemoryDisk

PARTITIONS = tuple(PartitionId(f"{number}0000000-0000-4000-8000-00000000000a") for number in range(1, 4))
FILE = 1 << 14


class Replica:
    def __init__(self, first: int) -> None:
        self.first, self.last, self.ballot = first, first - 1, 1
        self.records: dict[int, Record] = {}


class Model:
    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.disk = MemoryDisk()
        self.wal, _ = self.open()
        self.replicas: dict[PartitionId, Replica] = {}
        self.salt = 0

    def open(self) -> tuple[Wal, Recovered]:
        return Wal.open(self.disk, "wal", file_size=FILE, reserve_bytes=0)

    def make(self, partition: PartitionId, first: int, end: int) -> tuple[Record, ...]:
        self.salt += 1
        owner = bytes.fromhex(partition.replace("-", ""))[:8]
        size = self.draw.choice((20, 60, 400))
        return tuple(
            encode(
                owner=owner,
                lsn=lsn,
                stamp=self.salt * 1000 + lsn,
                kind=RecordKind.DATA,
                payload=self.salt.to_bytes(4, "little") * (size // 4),
            )
            for lsn in range(first, end)
        )

    def step(self) -> None:
        draw, wal = self.draw, self.wal
        partition = draw.choice(PARTITIONS)
        replica = self.replicas.get(partition)
        if replica is None:
            replica = self.replicas[partition] = Replica(draw.randint(1, 50))
            wal.queue(Create(partition, Member(1, 1), Lsn(replica.first)))
            return
        match draw.choices(("append", "adopt", "trim", "install", "drop", "promise"), (10, 4, 5, 1, 0.3, 2))[0]:
            case "append":
                records = self.make(partition, replica.last + 1, replica.last + 1 + draw.randint(1, 12))
                wal.queue(Append(partition, Ballot(replica.ballot), records, staged=False))
                replica.last = records[-1].lsn
                replica.records |= {one.lsn: one for one in records}
            case "adopt":
                self.adopt(partition, replica)
            case "trim":
                replica.first = draw.randint(replica.first, replica.last + 1)
                wal.trim(partition, Lsn(replica.first))
            case "install":
                lsn = draw.randint(max(replica.first - 1, replica.last - 3), replica.last + 5)
                wal.queue(Install(partition, Lsn(lsn), Ballot(replica.ballot)))
                if lsn > replica.last:
                    replica.last = lsn
                replica.first = max(replica.first, lsn + 1)
            case "drop":
                wal.queue(Drop(partition))
                del self.replicas[partition]
            case _:
                replica.ballot += 1
                wal.queue(Promise(partition, Ballot(replica.ballot)))

    def adopt(self, partition: PartitionId, replica: Replica) -> None:
        cut = self.draw.randint(replica.first - 1, replica.last)
        replica.ballot += 1
        records = self.make(partition, cut + 1, cut + 1 + self.draw.randint(1, 10))
        middle = self.draw.randint(0, len(records))
        for part in (records[:middle], records[middle:]):
            if part:
                self.wal.queue(Append(partition, Ballot(replica.ballot), part, staged=True))
            if self.draw.random() < 0.4:
                self.commit()
        if self.draw.random() < 0.3:
            return  # given up: staged records never count
        last = self.draw.choice((records[-1].lsn, cut, records[0].lsn))
        self.wal.queue(Adopt(partition, Ballot(replica.ballot), Lsn(cut), Lsn(last)))
        replica.records = {lsn: one for lsn, one in replica.records.items() if lsn <= cut}
        replica.records |= {one.lsn: one for one in records if one.lsn <= last}
        replica.last = last

    def commit(self) -> None:
        results: list[object] = []
        if self.wal.commit(results.append):
            assert results == [None]
        self.wal.check_invariants()

    def check(self) -> None:
        self.wal._reader.forget()
        for partition, replica in self.replicas.items():
            wanted = [replica.records[lsn] for lsn in range(replica.first, replica.last + 1)]
            assert self.wal.read(partition, Lsn(replica.first), Lsn(replica.last + 1)) == wanted
            first = self.draw.randint(replica.first, replica.last + 1)
            end = self.draw.randint(first, replica.last + 1)
            runs = self.wal.runs(partition, Lsn(first), Lsn(end))
            assert runs is not None or self.wal.queued, "all of it lies on the disk"
            if runs is not None:
                assert read_runs(runs) == b"".join(one.data for one in wanted[first - replica.first : end - replica.first])

    def restart(self) -> None:
        self.commit()
        self.disk = self.disk.copy() if self.draw.random() < 0.3 else self.disk.without_dead(self.wal)
        self.wal, recovered = self.open()
        assert self.wal.findings == ()
        assert set(recovered.replicas) == set(self.replicas)
        for partition, replica in self.replicas.items():
            log = recovered.replicas[partition]
            assert (log.amnesia, log.damaged, log.last) == ("", (), replica.last)
            assert log.first <= replica.first


@pytest.mark.parametrize("seed", range(12))
def test_the_log_reads_as_the_model_says(seed: int) -> None:
    model = Model(seed)
    for turn in range(400):
        model.step()
        if model.draw.random() < 0.5:
            model.commit()
        if turn % 20 == 0:
            model.check()
        if model.draw.random() < 0.03:
            model.restart()
            model.check()
    model.restart()
    model.check()
    assert model.wal._files[-1].id > 20
