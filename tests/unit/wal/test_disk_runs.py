"""Where records lie: read in windows, off the loop, and never what is not theirs."""

from __future__ import annotations

import pytest

from scrubjay.base.ids import Ballot, Lsn, Member
from scrubjay.storage.wal.disk_runs import GAP_BYTES, WINDOW_BYTES, DiskRun, read_runs
from scrubjay.storage.wal.port import Append, Create, Promise
from scrubjay.storage.wal.wal import Wal
from tests.unit.wal.test_wal import P, Q, commit, fresh, record, records
from tests.unit.wal.wal_disk import Content, MemoryDisk, MemoryFile


class Counted(MemoryFile):
    """Remembers what it was asked for."""

    def __init__(self, size: int) -> None:
        super().__init__(MemoryDisk(), Content(size))
        self.content.synced[:] = bytes(at % 251 for at in range(size))
        self.asked: list[tuple[int, int]] = []

    def pread(self, offset: int, length: int) -> bytes:
        self.asked.append((offset, length))
        return super().pread(offset, length)


def filled(disk: MemoryDisk) -> Wal:
    """Nine records of P, three to a frame, with those of Q between them."""
    wal, _ = fresh(disk)
    for partition in (P, Q):
        wal.queue(Create(partition, Member(1, 1), Lsn(1)))
        wal.queue(Promise(partition, Ballot(1)))
    for first in (1, 4, 7):
        for partition in (P, Q):
            wal.queue(Append(partition, Ballot(1), records(first, first + 3, partition), staged=False))
            commit(wal)
    return wal


def read(wal: Wal, first: int, last: int) -> bytes | None:
    runs = wal.runs(P, Lsn(first), Lsn(last + 1))
    return None if runs is None else read_runs(runs)


def bytes_of(first: int, last: int) -> bytes:
    return b"".join(one.data for one in records(first, last + 1))


def test_any_run_of_records_is_found_in_their_order_without_those_of_others() -> None:
    wal = filled(MemoryDisk())
    for first in range(1, 10):
        for last in range(first, 10):
            assert read(wal, first, last) == bytes_of(first, last)


def test_what_is_not_all_there_has_no_runs() -> None:
    disk = MemoryDisk()
    wal = filled(disk)
    assert read(wal, 1, 10) is None, "never written"
    wal.queue(Append(P, Ballot(1), records(10, 12), staged=False))
    assert read(wal, 1, 11) is None, "queued, and not on the disk"
    disk.hold = True
    wal.commit(lambda _: None)
    assert read(wal, 1, 11) is None, "on its way to the disk"
    disk.finish()
    assert read(wal, 1, 11) == bytes_of(1, 11)
    wal.trim(P, Lsn(5))
    assert (read(wal, 4, 6), read(wal, 5, 6)) == (None, bytes_of(5, 6))


def test_a_damaged_record_has_no_place_until_it_is_repaired_and_lies_elsewhere_then() -> None:
    disk = MemoryDisk()
    filled(disk)
    content = disk.files[next(iter(disk.files))]
    content.synced[content.synced.find(record(5).data) + 60] ^= 1
    wal, recovered = fresh(disk.copy())
    assert recovered.replicas[P].damaged == ((5, 5),)
    assert (read(wal, 4, 6), read(wal, 1, 4), read(wal, 6, 9)) == (None, bytes_of(1, 4), bytes_of(6, 9))
    wal.repair(P, [record(5)])
    commit(wal)
    runs = wal.runs(P, Lsn(1), Lsn(10))
    assert runs is not None
    assert sorted(runs, key=lambda run: run.offset) != runs, "the copy was put behind all others"
    assert read_runs(runs) == bytes_of(1, 9)


def test_what_rots_on_the_disk_is_read_as_it_lies_there_whatever_the_cache_says() -> None:
    disk = MemoryDisk()
    wal = filled(disk)
    content = disk.files[next(iter(disk.files))]
    content.synced[content.synced.find(record(5).data) + 60] ^= 1
    assert wal.read(P, Lsn(1), Lsn(10)) == list(records(1, 10)), "from the cache"
    found = read(wal, 1, 9)
    assert found is not None
    assert found != bytes_of(1, 9)


@pytest.mark.parametrize(
    ("gap", "reads"),
    [(0, 1), (GAP_BYTES, 1), (GAP_BYTES + 1, 3)],
)
def test_runs_near_each_other_are_one_read(gap: int, reads: int) -> None:
    file = Counted(1 << 20)
    runs = [DiskRun(file, at * (1000 + gap), 1000) for at in range(3)]
    whole = bytes(file.content.synced)
    assert read_runs(runs) == b"".join(whole[run.offset : run.offset + 1000] for run in runs)
    assert len(file.asked) == reads


def test_a_read_takes_in_a_window_at_most_but_a_large_place_whole() -> None:
    file = Counted(4 * WINDOW_BYTES)
    half = WINDOW_BYTES // 2
    read_runs([DiskRun(file, at * half, half) for at in range(6)])
    assert file.asked == [(0, WINDOW_BYTES), (WINDOW_BYTES, WINDOW_BYTES), (2 * WINDOW_BYTES, WINDOW_BYTES)]
    file.asked.clear()
    read_runs([DiskRun(file, 0, 2 * WINDOW_BYTES)])
    assert file.asked == [(0, 2 * WINDOW_BYTES)]


def test_runs_that_lie_backwards_are_read_apart() -> None:
    file = Counted(1000)
    whole = bytes(file.content.synced)
    assert read_runs([DiskRun(file, 0, 10), DiskRun(file, 100, 10), DiskRun(file, 50, 10)]) == whole[:10] + whole[100:110] + whole[50:60]


def test_two_files_are_two_reads_and_nothing_is_nothing() -> None:
    one, other = Counted(100), Counted(200)
    assert read_runs([DiskRun(one, 0, 100), DiskRun(other, 100, 100)]) == bytes(one.content.synced) + bytes(other.content.synced[100:])
    assert read_runs([]) == b""


def test_a_part_of_what_is_found_damaged_only_now_has_no_place() -> None:
    """The ends of what is asked for are measured record by record: here none can be."""
    disk = MemoryDisk()
    wal = filled(disk)
    wal._reader.forget()
    content = disk.files[next(iter(disk.files))]
    for lsn in (4, 5, 6):
        content.synced[content.synced.find(record(lsn).data) + 60] ^= 1
    assert read(wal, 4, 5) is None
    assert read(wal, 1, 3) == bytes_of(1, 3)


def test_a_part_of_a_body_with_rot_in_it_has_no_runs() -> None:
    """Where the part begins is told by the records in front of it, of which one cannot be read."""
    disk = MemoryDisk()
    wal = filled(disk)
    content = disk.files[next(iter(disk.files))]
    content.synced[content.synced.find(record(5).data) + 60] ^= 1
    wal._reader.forget()
    assert read(wal, 6, 9) is None
    assert read(wal, 7, 9) == bytes_of(7, 9)
