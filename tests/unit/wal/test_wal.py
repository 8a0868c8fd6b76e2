"""The WAL as its node uses it: append, commit, read, adopt, trim, recycle, reopen."""

from __future__ import annotations

import pytest

from scrubjay.base.errors import Corrupt, DiskFull, Internal, Invalid, Missing
from scrubjay.base.ids import Ballot, Lsn, Member, PartitionId, Stamp
from scrubjay.storage.log.record import Record, RecordKind, encode
from scrubjay.storage.wal.port import Adopt, Append, Boot, Create, Drop, Install, Promise, Recovered, Reserve, Resign, SetTree
from scrubjay.storage.wal.wal import Wal
from tests.unit.wal.wal_disk import MemoryDisk

P = PartitionId("00000000-0000-4000-8000-00000000000a")
Q = PartitionId("10000000-0000-4000-8000-00000000000b")
FILE = 1 << 16


def record(lsn: int, partition: PartitionId = P, *, size: int = 50, salt: int = 0) -> Record:
    owner = bytes.fromhex(partition.replace("-", ""))[:8]
    payload = (lsn * 7 + salt).to_bytes(8, "little") * (size // 8 + 1)
    return encode(owner=owner, lsn=lsn, stamp=1000 + lsn * 10 + salt, kind=RecordKind.DATA, payload=payload[:size])


def records(first: int, end: int, partition: PartitionId = P, *, size: int = 50, salt: int = 0) -> tuple[Record, ...]:
    return tuple(record(lsn, partition, size=size, salt=salt) for lsn in range(first, end))


def commit(wal: Wal) -> None:
    results: list[object] = []
    assert wal.commit(results.append)
    assert results == [None]
    wal.check_invariants()


def fits(wal: Wal, new: tuple[Record, ...]) -> bool:
    try:
        wal.queue(Append(P, Ballot(1), new, staged=False))
    except DiskFull:
        return False
    return True


def fresh(disk: MemoryDisk, **options: int) -> tuple[Wal, Recovered]:
    return Wal.open(disk, "wal", **{"file_size": FILE, "reserve_bytes": 0, **options})


def test_an_empty_folder_recovers_nothing() -> None:
    _, recovered = fresh(MemoryDisk())
    assert recovered == Recovered(0, Stamp(0), {})


def test_what_was_committed_is_found_again() -> None:
    disk = MemoryDisk()
    wal, _ = fresh(disk)
    wal.queue(Boot(3))
    wal.queue(Reserve(Stamp(99)))
    wal.queue(Create(P, Member(2, 7), Lsn(1)))
    wal.queue(Promise(P, Ballot(5)))
    wal.queue(Adopt(P, Ballot(5), Lsn(0), Lsn(0)))
    wal.queue(Append(P, Ballot(5), records(1, 4), staged=False))
    assert [one.lsn for one in wal.read(P, Lsn(1), Lsn(4))] == [1, 2, 3], "queued records are readable"
    commit(wal)
    wal.queue(Append(P, Ballot(5), records(4, 6), staged=False))
    wal.queue(Resign(P, Ballot(4)))
    wal.queue(SetTree(P, "suspect"))
    commit(wal)
    wal, recovered = fresh(disk.copy())
    assert recovered.boot_count == 3
    assert recovered.reservation == 99
    log = recovered.replicas[P]
    assert log == (P, Member(2, 7), 5, 5, 4, 1, 5, "suspect", "votes", "", ())
    assert wal.read(P, Lsn(1), Lsn(6)) == list(records(1, 6))
    assert wal.read(P, Lsn(2), Lsn(6), max_bytes=1) == [record(2)]


def test_reading_outside_the_log_is_missing() -> None:
    wal, _ = fresh(MemoryDisk())
    wal.queue(Create(P, Member(1, 1), Lsn(1)))
    wal.queue(Append(P, Ballot(1), records(1, 4), staged=False))
    for first, end in ((3, 5), (4, 5), (0, 2)):
        with pytest.raises(Missing):
            wal.read(P, Lsn(first), Lsn(end))
    assert wal.read(P, Lsn(4), Lsn(4)) == []
    with pytest.raises(Missing):
        wal.read(Q, Lsn(1), Lsn(2))


def test_an_append_must_continue_the_log() -> None:
    wal, _ = fresh(MemoryDisk())
    wal.queue(Create(P, Member(1, 1), Lsn(1)))
    with pytest.raises(Internal):
        wal.queue(Append(P, Ballot(1), records(2, 3), staged=False))
    with pytest.raises(Internal):
        wal.queue(Append(P, Ballot(1), (record(1), record(3)), staged=False))


def test_staged_records_count_only_with_their_adopt() -> None:
    disk = MemoryDisk()
    wal, _ = fresh(disk)
    wal.queue(Create(P, Member(1, 1), Lsn(1)))
    wal.queue(Append(P, Ballot(1), records(1, 6), staged=False))
    wal.queue(Append(P, Ballot(2), records(4, 7, salt=1), staged=True))
    commit(wal)
    wal.queue(Append(P, Ballot(2), records(7, 9, salt=1), staged=True))
    commit(wal)
    _, before = fresh(disk.copy())
    assert before.replicas[P].last == 5
    wal.queue(Adopt(P, Ballot(2), Lsn(3), Lsn(8)))
    commit(wal)
    again, after = fresh(disk.copy())
    assert after.replicas[P].last == 8
    assert after.replicas[P].accepted == 2
    expected = [*records(1, 4), *records(4, 9, salt=1)]
    assert again.read(P, Lsn(1), Lsn(9)) == expected
    assert wal.read(P, Lsn(1), Lsn(9)) == expected


def test_an_adoption_may_shorten_the_log_and_needs_its_records() -> None:
    disk = MemoryDisk()
    wal, _ = fresh(disk)
    wal.queue(Create(P, Member(1, 1), Lsn(1)))
    wal.queue(Append(P, Ballot(1), records(1, 6), staged=False))
    with pytest.raises(Internal):
        wal.queue(Adopt(P, Ballot(2), Lsn(3), Lsn(4)))
    wal.queue(Append(P, Ballot(3), records(4, 5, salt=1), staged=True))
    with pytest.raises(Internal):
        wal.queue(Adopt(P, Ballot(2), Lsn(3), Lsn(4)))
    wal.queue(Adopt(P, Ballot(2), Lsn(3), Lsn(3)))
    wal.queue(Append(P, Ballot(2), records(4, 5, salt=2), staged=False))
    commit(wal)
    again, recovered = fresh(disk.copy())
    assert recovered.replicas[P].last == 4
    assert again.read(P, Lsn(3), Lsn(5)) == [record(3), record(4, salt=2)]


def test_install_restarts_or_keeps_the_log() -> None:
    disk = MemoryDisk()
    wal, _ = fresh(disk)
    for partition in (P, Q):
        wal.queue(Create(partition, Member(1, 1), Lsn(1)))
        wal.queue(Append(partition, Ballot(1), records(1, 6, partition), staged=False))
    wal.queue(Install(P, Lsn(3), Ballot(4)))
    wal.queue(Install(Q, Lsn(9), Ballot(4)))
    commit(wal)
    again, recovered = fresh(disk.copy())
    assert recovered.replicas[P][2:7] == (1, 1, 0, 4, 5)
    assert recovered.replicas[Q][2:7] == (4, 4, 0, 10, 9)
    assert again.read(P, Lsn(4), Lsn(6)) == list(records(4, 6))


def test_a_dropped_replica_is_gone() -> None:
    disk = MemoryDisk()
    wal, _ = fresh(disk)
    wal.queue(Create(P, Member(1, 1), Lsn(1)))
    wal.queue(Append(P, Ballot(1), records(1, 6), staged=False))
    commit(wal)
    wal.queue(Drop(P))
    commit(wal)
    _, recovered = fresh(disk.copy())
    assert recovered.replicas == {}


def test_files_roll_and_are_recycled_and_old_bytes_are_refused() -> None:
    disk = MemoryDisk()
    wal, _ = fresh(disk)
    wal.queue(Create(P, Member(1, 1), Lsn(1)))
    wal.queue(Create(Q, Member(1, 1), Lsn(1)))
    wal.queue(Promise(Q, Ballot(77)))
    for turn in range(200):
        wal.queue(Append(P, Ballot(1), records(1 + turn * 10, 11 + turn * 10, size=300), staged=False))
        commit(wal)
        wal.trim(P, Lsn(max(1, turn * 10 - 100)))
        if turn % 40 == 39:
            again, recovered = fresh(disk.copy())
            log = recovered.replicas[P]
            assert (log.last, log.damaged, log.amnesia) == (10 + turn * 10, (), "")
            assert log.first <= max(1, turn * 10 - 100)
            assert again.read(P, log.first, Lsn(log.last + 1))[-1] == record(10 + turn * 10, size=300)
            assert recovered.replicas[Q].promised == 77
    assert len(disk.files) < 8, "trimmed files were used again"
    assert wal.usage().used <= 6 * FILE


def test_a_slow_partition_is_copied_forward() -> None:
    disk = MemoryDisk()
    wal, _ = fresh(disk)
    wal.queue(Create(P, Member(1, 1), Lsn(1)))
    wal.queue(Create(Q, Member(1, 1), Lsn(1)))
    wal.queue(Append(Q, Ballot(1), records(1, 8, Q), staged=False))
    for turn in range(300):
        wal.queue(Append(P, Ballot(1), records(1 + turn * 10, 11 + turn * 10, size=300), staged=False))
        commit(wal)
        wal.trim(P, Lsn(1 + turn * 10))
    assert len(disk.files) < 10
    assert wal.read(Q, Lsn(1), Lsn(8)) == list(records(1, 8, Q))
    again, recovered = fresh(disk.copy())
    assert recovered.replicas[Q].damaged == ()
    assert again.read(Q, Lsn(1), Lsn(8)) == list(records(1, 8, Q))


def test_the_limit_refuses_appends_and_keeps_a_reserve_for_control_frames() -> None:
    disk = MemoryDisk()
    wal, _ = fresh(disk, limit_bytes=3 * FILE, reserve_bytes=FILE // 2)
    wal.queue(Create(P, Member(1, 1), Lsn(1)))
    lsn = 1
    began_short = 0
    while fits(wal, records(lsn, lsn + 10, size=300)):
        commit(wal)
        lsn += 10
        assert lsn < 5000, "the limit holds"
        if wal.short and not began_short:
            began_short = lsn
        assert not (wal.short and wal.roomy())
    assert lsn > 200
    assert began_short, "an append that takes of the reserve says so"
    assert 0 < (lsn - began_short) * 320 < FILE // 2, "it may take of the reserve, not all of it"
    assert not wal.roomy()
    for ballot in range(2, 200):  # control frames find a place, beyond the limit if they must
        wal.queue(Promise(P, Ballot(ballot)))
        commit(wal)
    wal.trim(P, Lsn(lsn))
    for ballot in range(200, 204):
        wal.queue(Promise(P, Ballot(ballot)))
        commit(wal)
    assert wal.roomy()
    wal.queue(Append(P, Ballot(1), records(lsn, lsn + 10, size=300), staged=False))
    commit(wal)
    _, recovered = fresh(disk.copy(), limit_bytes=3 * FILE)
    assert recovered.replicas[P].last == lsn + 9


def test_what_is_left_of_a_file_made_beyond_the_limit_is_no_room_for_data() -> None:
    """Else a full log creeps on for as long as the store is away: control frames have a file made, data fills it, and they need the next."""
    disk = MemoryDisk()
    wal, _ = fresh(disk, limit_bytes=3 * FILE, reserve_bytes=FILE // 2)
    wal.queue(Create(P, Member(1, 1), Lsn(1)))
    lsn = 1
    while wal.roomy():
        assert fits(wal, records(lsn, lsn + 10, size=300))
        commit(wal)
        lsn += 10
    for ballot in range(2, 1_500):
        wal.queue(Promise(P, Ballot(ballot)))
        commit(wal)
        while wal.roomy():
            assert fits(wal, records(lsn, lsn + 10, size=300))
            commit(wal)
            lsn += 10
        assert wal.usage().used <= 6 * FILE, "what control frames and copies need, and no more with time"
    assert fits(wal, records(lsn, lsn + 1)), "bookkeeping goes on"
    assert wal.short, "and says that there is no room for more"
    commit(wal)
    wal.trim(P, Lsn(lsn))
    for ballot in range(1_500, 1_508):
        wal.queue(Promise(P, Ballot(ballot)))
        commit(wal)
    assert wal.roomy()


def test_restarts_at_the_limit_never_end_in_a_log_that_cannot_start() -> None:
    """Each start goes on in a fresh file. With no file left for that a node could neither boot nor log what frees its room."""
    disk = MemoryDisk()
    wal, _ = fresh(disk, limit_bytes=4 * FILE, reserve_bytes=FILE)
    wal.queue(Create(P, Member(1, 1), Lsn(1)))
    lsn = 1
    while not wal.short:
        assert fits(wal, records(lsn, lsn + 10, size=300))
        commit(wal)
        lsn += 10
    for count in range(1, 12):
        wal, recovered = fresh(disk, limit_bytes=4 * FILE, reserve_bytes=FILE)
        assert recovered.replicas[P].last == lsn - 1
        wal.queue(Boot(count))
        commit(wal)
        assert not wal.roomy(), "data has no place"
        assert fits(wal, records(lsn, lsn + 1)), "a new ballot's first record has"
        assert wal.short
        commit(wal)
        lsn += 1


def test_a_log_at_its_limit_can_change_hands() -> None:
    """What is staged goes beyond the limit, as control frames do: before it is adopted nobody leads who could make room."""
    disk = MemoryDisk()
    wal, _ = fresh(disk, limit_bytes=3 * FILE, reserve_bytes=FILE // 2)
    wal.queue(Create(P, Member(1, 1), Lsn(1)))
    lsn = 1
    while fits(wal, records(lsn, lsn + 10, size=300)):
        commit(wal)
        lsn += 10
    wal.queue(Promise(P, Ballot(2)))
    for first in range(1, lsn, 10):
        wal.queue(Append(P, Ballot(2), records(first, first + 10, size=300), staged=True))
        commit(wal)
    wal.queue(Adopt(P, Ballot(2), Lsn(0), Lsn(lsn - 1)))
    commit(wal)
    wal, recovered = fresh(disk.copy(), limit_bytes=3 * FILE, reserve_bytes=FILE // 2)
    assert (recovered.replicas[P].accepted, recovered.replicas[P].last, recovered.replicas[P].damaged) == (2, lsn - 1, ())


def test_a_really_full_disk_refuses_appends_before_they_are_written() -> None:
    disk = MemoryDisk()
    wal, _ = fresh(disk)
    wal.queue(Create(P, Member(1, 1), Lsn(1)))
    commit(wal)
    disk.limit = sum(len(one.synced) for one in disk.files.values())
    lsn = 1
    while fits(wal, records(lsn, lsn + 10, size=3000)):
        lsn += 10
    commit(wal)
    _, recovered = fresh(disk.copy())
    assert recovered.replicas[P].last == lsn - 1


def test_after_a_failed_sync_nothing_is_written_any_more() -> None:
    disk = MemoryDisk()
    wal, _ = fresh(disk)
    wal.queue(Create(P, Member(1, 1), Lsn(1)))
    commit(wal)
    disk.fail_sync = True
    wal.queue(Append(P, Ballot(1), records(1, 3), staged=False))
    results: list[object] = []
    assert wal.commit(results.append)
    assert isinstance(results[0], Corrupt)
    disk.fail_sync = False
    with pytest.raises(Corrupt):
        wal.queue(Promise(P, Ballot(9)))
    assert wal.commit(results.append) is False


def test_one_commit_at_a_time_and_the_next_batch_collects_meanwhile() -> None:
    disk = MemoryDisk()
    disk.hold = True
    wal, _ = fresh(disk)
    wal.queue(Create(P, Member(1, 1), Lsn(1)))
    results: list[object] = []
    assert wal.commit(results.append)
    wal.queue(Append(P, Ballot(1), records(1, 3), staged=False))
    assert wal.committing
    assert not wal.commit(results.append)
    disk.finish()
    assert results == [None]
    assert wal.queued == 1
    assert wal.commit(results.append)
    disk.finish()
    assert results == [None, None]


def test_a_batch_larger_than_a_file_is_spread_and_a_record_larger_is_refused() -> None:
    disk = MemoryDisk()
    wal, _ = fresh(disk)
    wal.queue(Create(P, Member(1, 1), Lsn(1)))
    wal.queue(Append(P, Ballot(1), records(1, 500, size=1000), staged=False))
    commit(wal)
    with pytest.raises(Invalid):
        wal.queue(Append(P, Ballot(1), records(500, 501, size=FILE), staged=False))
    again, recovered = fresh(disk.copy())
    assert recovered.replicas[P].last == 499
    assert again.read(P, Lsn(1), Lsn(500)) == list(records(1, 500, size=1000))


def test_repair_puts_back_what_rotted_and_refuses_what_contradicts() -> None:
    disk = MemoryDisk()
    wal, _ = fresh(disk)
    wal.queue(Create(P, Member(1, 1), Lsn(1)))
    wal.queue(Append(P, Ballot(1), records(1, 9), staged=False))
    commit(wal)
    wal.queue(Promise(P, Ballot(2)))
    commit(wal)
    name = next(iter(disk.files))
    at = disk.files[name].synced.find(record(4).data)
    disk.files[name].synced[at + 60] ^= 1
    wal, recovered = fresh(disk.copy())
    assert recovered.replicas[P].damaged == ((4, 4),)
    assert recovered.replicas[P].amnesia == ""
    assert recovered.replicas[P].promised == 2
    with pytest.raises(Corrupt):
        wal.read(P, Lsn(4), Lsn(5))
    assert [one.lsn for one in wal.read(P, Lsn(1), Lsn(9))] == [1, 2, 3], "what is before the damage is still given out"
    assert wal.read(P, Lsn(5), Lsn(9)) == list(records(5, 9))
    for wrong in (record(4, salt=100), record(5, salt=1), record(12)):
        with pytest.raises(Invalid):
            wal.repair(P, [wrong])
    wal.repair(P, [record(4)])
    commit(wal)
    assert wal.damaged(P) == ()
    again, recovered = fresh(wal._disk.copy())  # type: ignore[attr-defined]
    assert recovered.replicas[P].damaged == ()
    assert again.read(P, Lsn(1), Lsn(9)) == list(records(1, 9))


def test_in_the_steady_state_no_commit_waits_for_a_file_to_be_made() -> None:
    disk = MemoryDisk()
    wal, _ = fresh(disk)
    wal.queue(Create(P, Member(1, 1), Lsn(1)))
    for turn in range(400):
        wal.queue(Append(P, Ballot(1), records(1 + turn * 20, 21 + turn * 20), staged=False))
        commit(wal)
        wal.trim(P, Lsn(max(1, turn * 20 - 2000)))
    assert disk.made_at_once == 1, "the very first"
    assert disk.ahead >= 3
    assert wal._files[-1].id > 12, "it went through many lives of files"
    assert wal.usage().recycled <= 4 * FILE


def test_a_file_that_is_not_made_in_time_is_made_at_once_and_the_late_one_serves_later() -> None:
    disk = MemoryDisk()
    wal, _ = fresh(disk)
    disk.hold_ahead = True
    wal.queue(Create(P, Member(1, 1), Lsn(1)))
    lsn = 1
    while disk.made_at_once < 2:
        wal.queue(Append(P, Ballot(1), records(lsn, lsn + 20), staged=False))
        commit(wal)
        lsn += 20
    assert disk.ahead == 1
    disk.finish_ahead()
    wal.check_invariants()
    for _ in range(60):
        wal.queue(Append(P, Ballot(1), records(lsn, lsn + 20), staged=False))
        commit(wal)
        lsn += 20
    assert disk.made_at_once == 2
    again, recovered = fresh(disk.copy())
    assert (recovered.replicas[P].last, recovered.replicas[P].damaged, again.findings) == (lsn - 1, (), ())
    assert again.read(P, Lsn(1), Lsn(lsn)) == list(records(1, lsn))


def test_what_a_crash_left_half_made_counts_for_nothing() -> None:
    disk = MemoryDisk()
    wal, _ = fresh(disk)
    wal.queue(Create(P, Member(1, 1), Lsn(1)))
    commit(wal)
    for name in ("new.tmp", ".0000000000000002.wal.new"):
        disk.open(f"wal/{name}", create_size=100)
    wal, recovered = fresh(disk.copy())
    assert recovered.replicas[P].amnesia == ""
    assert wal._disk.listdir("wal") == ["0000000000000001.wal"]


def test_spare_files_are_removed_but_for_a_few_and_each_step_of_it_recovers() -> None:
    disk = MemoryDisk()
    wal, _ = fresh(disk)
    wal.queue(Create(P, Member(1, 1), Lsn(1)))
    for turn in range(40):
        wal.queue(Append(P, Ballot(1), records(1 + turn * 200, 201 + turn * 200), staged=False))
        commit(wal)
    most = len(disk.files)
    assert most > 12
    wal.trim(P, Lsn(7900))
    for turn in range(20):
        wal.queue(Promise(P, Ballot(2 + turn)))
        commit(wal)
        again, recovered = fresh(disk.copy())
        assert (again.findings, recovered.replicas[P].last, recovered.replicas[P].amnesia) == ((), 8000, "")
        assert again.read(P, Lsn(7900), Lsn(8001)) == list(records(7900, 8001))
    assert len(disk.files) <= 7


def test_at_the_disks_limit_a_file_that_cannot_be_made_ahead_is_no_failure() -> None:
    disk = MemoryDisk()
    disk.limit = FILE
    wal, _ = fresh(disk)
    wal.queue(Create(P, Member(1, 1), Lsn(1)))
    lsn = 1
    while fits(wal, records(lsn, lsn + 20)):
        commit(wal)
        lsn += 20
    assert disk.ahead == 1, "asked for once, not with every commit"
    disk.limit = 2 * FILE
    assert fits(wal, records(lsn, lsn + 20))
    commit(wal)
