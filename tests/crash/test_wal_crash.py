"""Crash and rot enumeration of the WAL: every prefix of the unsynced tail, subsets of its sectors, every bit flip. Wrong bytes and silent loss never come out."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any

import pytest

from scrubjay.base.errors import Corrupt, Missing, Unsafe
from scrubjay.base.ids import Ballot, Lsn, Member, PartitionId, Stamp
from scrubjay.storage.log.record import Record, RecordKind, encode
from scrubjay.storage.wal import marks as marks_module
from scrubjay.storage.wal import recover as recover_module
from scrubjay.storage.wal import scan as scan_module
from scrubjay.storage.wal.port import Adopt, Append, Boot, Create, Promise, ReplicaLog, Reserve
from scrubjay.storage.wal.wal import Wal
from tests.unit.wal.wal_disk import Content, MemoryDisk

P = PartitionId("00000000-0000-4000-8000-00000000000a")
Q = PartitionId("10000000-0000-4000-8000-00000000000b")
FILE = 1 << 14


def record(lsn: int, partition: PartitionId = P, size: int = 40) -> Record:
    owner = bytes.fromhex(partition.replace("-", ""))[:8]
    return encode(owner=owner, lsn=lsn, stamp=1000 + lsn, kind=RecordKind.DATA, payload=bytes((lsn * 31 + at) & 0xFF for at in range(size)))


def records(first: int, end: int, partition: PartitionId = P, size: int = 40) -> tuple[Record, ...]:
    return tuple(record(lsn, partition, size) for lsn in range(first, end))


def opened(disk: MemoryDisk) -> tuple[Wal, Any]:
    return Wal.open(disk, "wal", file_size=FILE, reserve_bytes=0)


def commit(wal: Wal) -> None:
    results: list[object] = []
    assert wal.commit(results.append)
    assert results == [None]


class Life:
    """A WAL with three synced batches, and one under way that a crash may tear."""

    def __init__(self, *, recycled: bool = False) -> None:
        self.disk = MemoryDisk()
        self.wal, _ = opened(self.disk)
        wal = self.wal
        wal.queue(Boot(1))
        wal.queue(Reserve(Stamp(5000)))
        wal.queue(Create(P, Member(1, 1), Lsn(1)))
        wal.queue(Create(Q, Member(1, 1), Lsn(1)))
        wal.queue(Promise(Q, Ballot(3)))
        self.first = 1
        if recycled:
            for _ in range(60):
                wal.queue(Append(P, Ballot(1), records(self.first, self.first + 9), staged=False))
                commit(wal)
                self.first += 9
                wal.trim(P, Lsn(self.first))
        wal.queue(Append(P, Ballot(1), records(self.first, self.first + 4), staged=False))
        commit(wal)
        wal.queue(Append(Q, Ballot(3), records(1, 3, Q), staged=False))
        wal.queue(Promise(P, Ballot(2)))
        commit(wal)
        wal.queue(Append(P, Ballot(2), records(self.first + 4, self.first + 6), staged=False))
        wal.queue(Promise(Q, Ballot(9)))
        commit(wal)
        self.last = self.first + 5

    @property
    def current(self) -> str:
        """The file that is written; behind it may lie one made ahead."""
        assert self.wal._current is not None
        return f"wal/{self.wal._current.name}"

    def begin(self) -> None:
        """A batch under way: it may be torn anywhere."""
        self.disk.hold = True
        self.wal.queue(Append(P, Ballot(2), records(self.last + 1, self.last + 6, size=200), staged=False))
        self.wal.queue(Promise(P, Ballot(11)))
        assert self.wal.commit(lambda error: None)

    def check(self, disk: MemoryDisk) -> ReplicaLog:
        """What was acknowledged is there; the torn batch is there whole or not at all."""
        wal, recovered = opened(disk)
        p, q = recovered.replicas[P], recovered.replicas[Q]
        assert (p.amnesia, p.damaged, q.amnesia, q.damaged) == ("", (), "", ())
        assert (recovered.boot_count, recovered.reservation) == (1, 5000)
        assert (q.promised, q.last) == (9, 2)
        assert (p.promised, p.last) in ((2, self.last), (11, self.last + 5))
        expected = [*records(self.first, self.last + 1), *records(self.last + 1, self.last + 6, size=200)]
        assert wal.read(P, Lsn(self.first), Lsn(p.last + 1)) == expected[: p.last + 1 - self.first]
        wal.queue(Append(P, Ballot(11), records(p.last + 1, p.last + 3), staged=False))
        commit(wal)
        _, again = opened(disk.copy())
        assert again.replicas[P].last == p.last + 2
        assert again.replicas[P].amnesia == ""
        return p


@pytest.mark.slow
@pytest.mark.parametrize("recycled", [False, True])
def test_every_prefix_of_the_torn_batch(recycled: bool) -> None:
    life = Life(recycled=recycled)
    life.begin()
    seen = set()
    name = life.current  # older files may have an unsynced mark too: it is lost here
    content = life.disk.files[name]
    *before, (offset, chunk) = content.pending
    for length in range(len(chunk) + 1):
        kept = [*before, (offset, chunk[:length])]
        disk = life.disk.after_crash(lambda other, _, kept=kept: kept if other == name else ())  # type: ignore[misc]
        seen.add(life.check(disk).last)
    assert seen == {life.last, life.last + 5}


@pytest.mark.parametrize("recycled", [False, True])
def test_subsets_of_the_torn_batchs_sectors(recycled: bool) -> None:
    life = Life(recycled=recycled)
    life.begin()
    name = life.current  # older files may have an unsynced mark too: it is lost here
    content = life.disk.files[name]
    writes: list[tuple[int, bytes]] = []
    for offset, chunk in content.pending:  # the mark of the batch before is unsynced too
        writes += [(offset + at, chunk[at : at + 512]) for at in range(0, len(chunk), 512)]
    assert 3 < len(writes) <= 10
    for mask in itertools.product((False, True), repeat=len(writes)):
        kept = [write for write, keep in zip(writes, mask, strict=True) if keep]
        life.check(life.disk.after_crash(lambda other, _, kept=kept: kept if other == name else ()))  # type: ignore[misc]


def outcome(disk: MemoryDisk, life: Life) -> str:
    """What a rotted WAL gives out: "same", "named" (damage, amnesia), or a wrong answer."""
    try:
        wal, recovered = opened(disk)
    except Unsafe:
        return "rot was taken for another version"
    named = False
    for partition, expected in ((P, [*records(life.first, life.last + 1)]), (Q, [*records(1, 3, Q)])):
        log = recovered.replicas.get(partition)
        if log is None:
            return "replica forgotten"
        promised = 2 if partition == P else 9
        trouble = bool(log.amnesia or log.damaged)
        named = named or trouble
        if not log.amnesia and (log.promised != promised or log.last != expected[-1].lsn):
            return f"{partition} control state wrong: {log}"
        if log.last > expected[-1].lsn:
            return f"{partition} is longer than it was"
        for lsn in range(expected[0].lsn, log.last + 1):
            if lsn < log.first:
                continue
            try:
                got = wal.read(partition, Lsn(lsn), Lsn(lsn + 1))
            except (Corrupt, Missing):
                if not trouble:
                    return f"lsn {lsn} unreadable and unnamed"
                continue
            if got != [expected[lsn - expected[0].lsn]]:
                return f"lsn {lsn} wrong"
    if recovered.boot_count != 1 or recovered.reservation != 5000:
        return "boot count or reservation lost"
    return "named" if named else "same"


def flips(life: Life, *, step: int) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name, content in life.disk.files.items():
        view = content.view()
        used = view.rstrip(b"\0")
        for bit in range(0, len(used) * 8, step):
            disk = life.disk.copy()
            disk.files[name].synced[bit // 8] ^= 1 << bit % 8
            found = outcome(disk, life)
            counts[found] = counts.get(found, 0) + 1
    return counts


@pytest.mark.slow
def test_every_bit_flip_is_found_or_harmless() -> None:
    counts = flips(Life(), step=5)
    assert set(counts) == {"same", "named"}, counts
    assert counts["named"] > 1000


def test_negative_control_without_record_and_batch_checksums_flips_come_out(monkeypatch: pytest.MonkeyPatch) -> None:
    blind: Callable[..., int] = lambda data, start=0: 7  # noqa: E731
    for module in (
        "scrubjay.storage.wal.format",
        "scrubjay.storage.wal.batch",
        "scrubjay.storage.wal.scan",
        "scrubjay.storage.wal.recover",
        "scrubjay.storage.log.record",
    ):
        monkeypatch.setattr(f"{module}.crc32c_masked", blind)
    counts = flips(Life(), step=97)
    assert set(counts) - {"same", "named"}, "a WAL that checks nothing must be caught by this test"


def test_negative_control_a_wal_without_marks_loses_a_rotted_tail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marks_module, "encode_mark", lambda header, **named: b"")
    counts = flips(Life(), step=97)
    assert any("control state wrong" in found for found in counts), counts


def test_lost_sectors_in_the_middle_are_named_and_the_rest_is_kept() -> None:
    life = Life()
    rand = random.Random(5)
    for name, content in life.disk.files.items():
        used = len(content.view().rstrip(b"\0"))
        for start in range(4096, used, 512):
            for fill in (bytes(512), rand.randbytes(512)):
                disk = life.disk.copy()
                disk.files[name].synced[start : start + 512] = fill
                # The very first sector holds a batch header and frames whose effect the State frames behind them carry too.
                assert outcome(disk, life) in (("same", "named") if start == 4096 else ("named",)), (name, start)


def test_amnesia_is_remembered_by_later_recoveries() -> None:
    life = Life()
    disk = life.disk.copy()
    name = life.current
    at = disk.files[name].synced.rfind(b"SJWB")
    disk.files[name].synced[at : at + 512] = bytes(512)
    wal, recovered = opened(disk)
    assert recovered.replicas[Q].amnesia
    wal.queue(Boot(2))
    commit(wal)
    for _ in range(3):
        wal, recovered = opened(disk)
        assert recovered.replicas[Q].amnesia
        assert recovered.replicas[Q].vote == "amnesiac"
        wal.queue(Boot(recovered.boot_count + 1))
        commit(wal)


def test_a_lost_file_in_the_middle_is_named() -> None:
    disk = MemoryDisk()
    wal, _ = opened(disk)
    wal.queue(Create(P, Member(1, 1), Lsn(1)))
    for turn in range(30):
        wal.queue(Append(P, Ballot(1), records(1 + turn * 20, 21 + turn * 20, size=250), staged=False))
        commit(wal)
    assert wal._current is not None
    names = sorted(name for name in disk.files if name <= f"wal/{wal._current.name}")
    assert len(names) > 4
    for lost in names:
        found = disk.copy()
        del found.files[lost]
        _, recovered = opened(found)
        log = recovered.replicas.get(P)
        assert log is not None, lost
        assert log.amnesia or log.damaged, lost


def test_the_nth_write_that_fails_leaves_what_was_acknowledged() -> None:
    for failing in range(1, 12):
        disk = MemoryDisk()
        wal, _ = opened(disk)
        wal.queue(Create(P, Member(1, 1), Lsn(1)))
        acknowledged = 0
        for turn in range(11):
            wal.queue(Append(P, Ballot(1), records(1 + turn * 3, 4 + turn * 3), staged=False))
            disk.fail_sync = disk.syncs + 1 == failing
            results: list[object] = []
            wal.commit(results.append)
            if results != [None]:
                break
            acknowledged = 3 + turn * 3
        assert acknowledged == (failing - 1) * 3
        for survivor in (disk.copy(), disk.after_crash()):
            if acknowledged:
                again, recovered = opened(survivor)
                assert recovered.replicas[P].last >= acknowledged
                assert again.read(P, Lsn(1), Lsn(acknowledged + 1)) == list(records(1, acknowledged + 1))


def test_a_staged_tail_torn_before_its_adopt_does_not_count() -> None:
    disk = MemoryDisk()
    wal, _ = opened(disk)
    wal.queue(Create(P, Member(1, 1), Lsn(1)))
    wal.queue(Append(P, Ballot(1), records(1, 5), staged=False))
    commit(wal)
    wal.queue(Append(P, Ballot(2), records(3, 9), staged=True))
    commit(wal)
    disk.hold = True
    wal.queue(Adopt(P, Ballot(2), Lsn(2), Lsn(8)))
    assert wal.commit(lambda error: None)
    _, recovered = opened(disk.after_crash())
    assert (recovered.replicas[P].last, recovered.replicas[P].accepted) == (4, 1)
    _, recovered = opened(disk.copy())
    assert (recovered.replicas[P].last, recovered.replicas[P].accepted) == (8, 2)


def keep_all(name: str, content: Content) -> list[tuple[int, bytes]]:
    return content.pending


def killed_in_a_commit_then_power_loss() -> tuple[Wal, ReplicaLog]:
    """A process is killed between writing a batch and syncing it, the next one reads it and goes on, then the power fails."""
    life = Life()
    life.begin()
    disk = life.disk
    disk.hold, disk.held = False, []
    wal, recovered = opened(disk)
    assert recovered.replicas[P].last == life.last + 5, "what was written reads like the rest"
    wal.queue(Append(P, Ballot(11), records(life.last + 6, life.last + 7, size=11000), staged=False))
    commit(wal)
    assert wal._current is not None
    assert f"wal/{wal._current.name}" != life.current, (
        "too much for the rest of the file: syncing the next one says nothing of the one before"
    )
    again, recovered = opened(disk.after_crash())
    assert recovered.replicas[P].last == life.last + 6
    return again, recovered.replicas[P]


def test_what_a_killed_process_wrote_unsynced_and_the_next_built_on_survives_power_loss() -> None:
    wal, log = killed_in_a_commit_then_power_loss()
    assert (log.amnesia, log.damaged, wal.findings) == ("", (), ())


def test_negative_control_a_recovery_that_does_not_sync_what_it_reads_loses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_module.Files, "_make_durable", lambda files, handle: None)
    monkeypatch.setattr(recover_module, "_write_again", lambda result, files, newest: None)
    _, log = killed_in_a_commit_then_power_loss()
    assert log.amnesia or log.damaged


def test_a_log_that_cannot_be_synced_at_the_start_is_not_written() -> None:
    life = Life()
    life.disk.fail_sync = True
    wal, recovered = opened(life.disk)
    assert wal.findings
    assert recovered.replicas[P].last == life.last
    with pytest.raises(Corrupt):
        wal.queue(Boot(2))


def test_rot_in_both_marks_is_found_though_a_file_made_ahead_comes_behind() -> None:
    life = Life()
    life.begin()
    disk = life.disk.copy()
    current = life.current
    disk.files[f"wal/{int(current[4:20], 16) + 1:016x}.wal"] = Content(FILE)
    data = disk.files[current].synced
    for slot in (0, 2048):
        data[slot : slot + 96] = b"\1" * 96
    at = data.rfind(b"SJWB")
    data[at + 100] ^= 1
    _, recovered = opened(disk)
    assert recovered.replicas[P].amnesia
