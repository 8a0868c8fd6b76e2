"""Whatever one replica does or suffers, the log of a node stays within a small multiple of what it must keep, over any number of lives."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from scrubjay.base.errors import Corrupt, Internal, ScrubjayError
from scrubjay.base.ids import Ballot, Lsn, Member, PartitionId
from scrubjay.base.real.disk import RealDisk
from scrubjay.storage.log.record import Record, RecordKind, encode
from scrubjay.storage.wal import wal as wal_module
from scrubjay.storage.wal.format import BATCH_SIZE, BatchHeader, encode_batch_header
from scrubjay.storage.wal.port import Adopt, Append, Boot, Create, Recovered, Reserve
from scrubjay.storage.wal.wal import Wal
from tests.unit.wal.wal_disk import MemoryDisk

P = PartitionId("00000000-0000-4000-8000-00000000000a")
Q = PartitionId("10000000-0000-4000-8000-00000000000b")
FILE = 1 << 17


def record(lsn: int, partition: PartitionId, size: int) -> Record:
    owner = bytes.fromhex(partition.replace("-", ""))[:8]
    return encode(owner=owner, lsn=lsn, stamp=1000 + lsn, kind=RecordKind.DATA, payload=bytes([lsn & 0xFF]) * size)


def commit(wal: Wal) -> None:
    results: list[object] = []
    assert wal.commit(results.append)
    assert results == [None]
    wal.check_invariants()


def opened(disk: MemoryDisk | RealDisk, *, files: int = 64) -> tuple[Wal, Recovered]:
    return Wal.open(disk, "wal", file_size=FILE, limit_bytes=files * FILE, reserve_bytes=FILE // 4)


def born(disk: MemoryDisk | RealDisk) -> Wal:
    wal, _ = opened(disk)
    wal.queue(Boot(1))
    for partition in (P, Q):
        wal.queue(Create(partition, Member(1, 1), Lsn(1)))
    commit(wal)
    return wal


def busy(wal: Wal, rounds: int, *, size: int = 16 << 10) -> int:
    """Another table works on, and is archived at once. Returns the most files that were in use."""
    most = 0
    last = wal._states[Q].last
    for _ in range(rounds):
        last += 1
        wal.queue(Append(Q, Ballot(1), (record(last, Q, size),), staged=False))
        commit(wal)
        wal.trim(Q, Lsn(last + 1))
        wal._reader.forget()
        most = max(most, wal.usage().used // FILE)
    return most


@pytest.mark.parametrize(
    ("count", "size", "trimmed_to"),
    [
        (2, 1000, 2),  # the last small record
        (100, 1000, 100),  # the last one of a long body
        (100, 1000, 1),  # a long body, all of it
        (6, 20_000, 1),
        (1, 100_000, 1),  # a record that is a large part of a file
    ],
)
def test_an_idle_partition_does_not_keep_the_log_from_being_recycled(count: int, size: int, trimmed_to: int) -> None:
    wal = born(MemoryDisk())
    kept = tuple(record(lsn, P, size) for lsn in range(1, count + 1))
    wal.queue(Append(P, Ballot(1), kept, staged=False))
    commit(wal)
    wal.trim(P, Lsn(trimmed_to))
    assert busy(wal, 400) <= 8
    assert wal.read(P, Lsn(trimmed_to), Lsn(count + 1)) == list(kept[trimmed_to - 1 :])
    wal, found = opened(wal._disk.copy())  # type: ignore[attr-defined]
    assert (wal.findings, found.replicas[P].damaged) == ((), ())
    assert wal.read(P, Lsn(trimmed_to), Lsn(count + 1)) == list(kept[trimmed_to - 1 :])


def test_one_commit_copies_a_part_of_a_long_body() -> None:
    wal = born(MemoryDisk())
    wal.queue(Append(P, Ballot(1), tuple(record(lsn, P, 500) for lsn in range(1, 101)), staged=False))
    commit(wal)
    sizes = []
    appended = Wal._append

    def watched(self: Wal, state: object, records: tuple[Record, ...], *rest: object, **named: object) -> None:
        if rest[1] & 2:  # type: ignore[operator]
            sizes.append(sum(len(one.data) for one in records))
        appended(self, state, records, *rest, **named)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wal_module, "COPY_BYTES_PER_COMMIT", 4096)
        patch.setattr(Wal, "_append", watched)
        busy(wal, 100)
    assert len(sizes) > 2, "the body was copied forward, in several commits"
    assert max(sizes) <= 2 * (16 << 10) + 1200, "at most twice what is committed with it, and the record it ends with"


@pytest.mark.parametrize("repairs", [False, True])
def test_damage_met_while_copying_is_told_is_known_and_stops_nothing(repairs: bool) -> None:
    disk = MemoryDisk()
    wal = born(disk)
    told: list[tuple[PartitionId, ScrubjayError]] = []
    wal.on_damage(lambda partition, error: told.append((partition, error)))
    kept = tuple(record(lsn, P, 1000) for lsn in range(1, 4))
    wal.queue(Append(P, Ballot(1), kept, staged=False))
    commit(wal)
    wal._reader.forget()
    extent = wal._states[P].extents.at(2)
    assert extent is not None
    disk.files[f"wal/{wal._files[0].name}"].synced[extent.body.offset + 1048 + 60] ^= 1
    assert busy(wal, 100) <= 8
    assert [(partition, error.fields["lsn"]) for partition, error in told] == [(P, 2)]
    assert wal.damaged(P) == ((2, 2),)
    assert wal.read(P, Lsn(1), Lsn(2)) == [kept[0]]
    assert wal.read(P, Lsn(3), Lsn(4)) == [kept[2]], "the good ones of the same body are kept"
    if repairs:
        wal.repair(P, [kept[1]])
        commit(wal)
        wal.reread(P, Lsn(1), Lsn(4))
        assert wal.damaged(P) == ()
    assert busy(wal, 300) <= 8
    wal, found = opened(disk.copy())
    assert found.replicas[P].damaged == (() if repairs else ((2, 2),)), "a restart finds the same"


@pytest.mark.parametrize("adopted", [True, False])
def test_a_staged_record_that_is_damaged_keeps_no_file_and_is_damage_once_it_is_adopted(adopted: bool) -> None:
    disk = MemoryDisk()
    wal = born(disk)
    told: list[tuple[PartitionId, object]] = []
    wal.on_damage(lambda partition, error: told.append((partition, error.fields["lsn"])))
    staged = tuple(record(lsn, P, 1000) for lsn in range(1, 5))
    wal.queue(Append(P, Ballot(2), staged, staged=True))
    commit(wal)
    wal._reader.forget()
    extent = wal._states[P].staged.at(2)
    assert extent is not None
    disk.files[f"wal/{wal._files[0].name}"].synced[extent.body.offset + 1048 + 60] ^= 1
    assert busy(wal, 300) <= 8, "the file is let go of"
    assert told == [], "it is not log yet"
    with pytest.raises(Internal):
        wal.queue(Adopt(P, Ballot(2), Lsn(0), Lsn(5)))
    if not adopted:
        wal.queue(Append(P, Ballot(3), staged, staged=True))
        wal.queue(Adopt(P, Ballot(3), Lsn(0), Lsn(4)))
        commit(wal)
        assert wal.damaged(P) == ()
        return
    wal.queue(Adopt(P, Ballot(2), Lsn(0), Lsn(4)))
    commit(wal)
    assert told == [(P, 2)]
    assert wal.damaged(P) == ((2, 2),)
    again, found = opened(disk.copy())
    assert (found.replicas[P].damaged, found.replicas[P].last, found.replicas[P].amnesia) == (((2, 2),), 4, "")
    wal.repair(P, [staged[1]])
    commit(wal)
    wal.reread(P, Lsn(1), Lsn(5))
    again, found = opened(disk.copy())
    assert found.replicas[P].damaged == ()
    assert again.read(P, Lsn(1), Lsn(5)) == list(staged)


def test_a_repair_that_rots_before_it_is_read_back_is_none() -> None:
    disk = MemoryDisk()
    wal = born(disk)
    wal.queue(Append(P, Ballot(1), (record(1, P, 100), record(2, P, 100)), staged=False))
    commit(wal)
    wal._reader.forget()

    def rot() -> None:
        extent = wal._states[P].extents.at(1)
        assert extent is not None
        assert extent.body.file is not None
        disk.files[f"wal/{extent.body.file.name}"].synced[extent.body.offset + 60] ^= 1

    rot()
    with pytest.raises(Corrupt):
        wal.read(P, Lsn(1), Lsn(2))
    wal.repair(P, [record(1, P, 100)])
    commit(wal)
    assert wal.damaged(P) == ()
    rot()
    assert wal.read(P, Lsn(1), Lsn(2)), "the cache still has what was written"
    with pytest.raises(Corrupt):
        wal.reread(P, Lsn(1), Lsn(3))
    assert wal.damaged(P) == ((1, 1),)


def test_what_the_machine_refuses_is_no_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    from scrubjay.base.errors import Unavailable
    from tests.unit.wal.wal_disk import MemoryFile

    wal = born(MemoryDisk())
    wal.queue(Append(P, Ballot(1), (record(1, P, 100),), staged=False))
    commit(wal)
    wal._reader.forget()
    with monkeypatch.context() as patch:

        def refuse(file: MemoryFile, offset: int, length: int) -> bytes:
            raise Unavailable("the machine refused: out of memory")

        patch.setattr(MemoryFile, "pread", refuse)
        with pytest.raises(Unavailable):
            wal.read(P, Lsn(1), Lsn(2))
        busy(wal, 80)
    assert wal.damaged(P) == ()
    busy(wal, 100)
    assert wal.usage().used // FILE <= 8
    assert wal.read(P, Lsn(1), Lsn(2)) == [record(1, P, 100)]


def lives(disk: MemoryDisk | RealDisk, count: int, seed: int, *, torn: bool = False, pinned: int = 0) -> int:
    """Many short lives: a boot, a few commits, a kill (a torn tail every third time). pinned: bytes that one replica keeps for ever. Returns the most files."""
    draw = random.Random(seed)
    wal = born(disk)
    last = 0
    if pinned:
        wal.queue(Append(P, Ballot(1), tuple(record(lsn, P, 1000) for lsn in range(1, pinned // 1000 + 1)), staged=False))
        commit(wal)
    most = 0
    for life in range(2, count + 2):
        for _ in range(draw.randint(0, 4)):
            wal.queue(Append(Q, Ballot(1), (record(last + 1, Q, draw.randint(10, 3000)),), staged=False))
            last += 1
            commit(wal)
        if draw.random() < 0.5:
            wal.trim(Q, Lsn(last + 1))
        if isinstance(disk, MemoryDisk):
            disk = disk.copy()
            if torn and life % 3 == 0:
                current = wal._current
                assert current is not None
                if current.end + 1024 < FILE:
                    torn_at = current.end
                    header = BatchHeader(1, current.id, wal._sequence + 1, torn_at, 100, 1, current.id, torn_at, 1, life, 1)
                    disk.files[f"wal/{current.name}"].synced[torn_at : torn_at + BATCH_SIZE] = encode_batch_header(header)
            wal, found = opened(disk)
        else:
            wal.close()
            wal, found = opened(disk)
        assert wal.findings == ()
        assert {log.amnesia for log in found.replicas.values()} == {""}
        assert found.replicas[Q].last == last
        wal.queue(Boot(life))
        commit(wal)
        wal.trim(Q, Lsn(max(1, last - 2)))
        wal.queue(Reserve(wal._reservation))  # type: ignore[arg-type]
        commit(wal)
        usage = wal.usage()
        most = max(most, (usage.used + usage.recycled) // FILE)
    return most


@pytest.mark.slow
@pytest.mark.parametrize(("torn", "pinned"), [(False, 0), (True, 0), (False, 100_000), (True, 100_000)])
def test_the_number_of_files_is_bounded_over_hundreds_of_short_lives(torn: bool, pinned: int) -> None:
    assert lives(MemoryDisk(), 300, 1, torn=torn, pinned=pinned) <= 12


@pytest.mark.slow
def test_the_number_of_files_is_bounded_on_a_real_disk(tmp_path: Path) -> None:
    assert lives(RealDisk(tmp_path), 40, 2, pinned=100_000) <= 8
    assert len(list((tmp_path / "wal").iterdir())) <= 8


@pytest.mark.slow
def test_negative_control_without_copying_what_is_mostly_empty_files_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wal_module, "COPY_WHEN_USED_BELOW", 0.0)
    assert lives(MemoryDisk(), 120, 1, torn=True, pinned=100_000) > 12


def test_less_than_a_quarter_of_the_limit_is_ample() -> None:
    wal = born(MemoryDisk())
    assert wal.ample()
    last = 0
    while wal.usage().used // FILE < 16:
        assert wal.ample()
        last += 1
        wal.queue(Append(Q, Ballot(1), (record(last, Q, 16 << 10),), staged=False))
        commit(wal)
    assert not wal.ample()
    wal.trim(Q, Lsn(last + 1))
    busy(wal, 8)
    assert wal.ample()
