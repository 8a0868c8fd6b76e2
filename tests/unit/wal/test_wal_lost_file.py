"""A file of the log that is gone, empty or cut is noticed, the newest too; and what a crash leaves is never taken for that."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from scrubjay.base.ids import Ballot, Lsn, Member, PartitionId
from scrubjay.storage.log.record import Record, RecordKind, encode
from scrubjay.storage.wal import format as wal_format
from scrubjay.storage.wal.format import DATA_START, MARK_SLOTS
from scrubjay.storage.wal.marks import Marks
from scrubjay.storage.wal.port import Append, Boot, Create, Recovered
from scrubjay.storage.wal.recover import FILE_NAME
from scrubjay.storage.wal.wal import Wal
from tests.unit.wal.wal_disk import MemoryDisk

P = PartitionId("00000000-0000-4000-8000-00000000000a")
Q = PartitionId("10000000-0000-4000-8000-00000000000b")
FILE = 1 << 15
SIZE = 1500
Loss = Callable[[MemoryDisk, str], None]


def never(after_s: float, callback: Callable[[], object]) -> None:
    """A log so busy that no mark is written for quiet."""


def opened(disk: MemoryDisk, *, busy: bool = True) -> tuple[Wal, Recovered]:
    return Wal.open(disk, "wal", file_size=FILE, reserve_bytes=0, call_later=never if busy else None)


def commit(wal: Wal) -> None:
    results: list[object] = []
    assert wal.commit(results.append)
    assert results == [None]
    wal.check_invariants()


def record(lsn: int) -> Record:
    return encode(
        owner=bytes.fromhex(P.replace("-", ""))[:8], lsn=lsn, stamp=1000 + lsn, kind=RecordKind.DATA, payload=bytes([lsn & 0xFF]) * SIZE
    )


class Life:
    """A log of one replica that is written a record with each commit, and trimmed: so files are made, recycled and removed."""

    def __init__(self, *, busy: bool = True) -> None:
        self.busy = busy
        self.disk = MemoryDisk()
        self.wal, _ = opened(self.disk, busy=busy)
        self.last = 0
        self.wal.queue(Create(P, Member(1, 1), Lsn(1)))
        self.in_file = 0
        """Commits into the newest file."""
        self.go_on()

    def go_on(self, *, keep: int = 60) -> None:
        self.last += 1
        self.wal.queue(Append(P, Ballot(1), (record(self.last),), staged=False))
        before = self.wal._current
        commit(self.wal)
        self.in_file = self.in_file + 1 if self.wal._current is before else 1
        self.wal.trim(P, Lsn(max(1, self.last - keep)))

    def restart(self) -> Recovered:
        self.disk = self.disk.copy()
        self.wal, found = opened(self.disk, busy=self.busy)
        assert self.wal.findings == ()
        assert (found.replicas[P].last, found.replicas[P].amnesia) == (self.last, "")
        self.wal.queue(Boot(1))
        return found

    @property
    def newest(self) -> str:
        assert self.wal._current is not None
        return f"wal/{self.wal._current.name}"


def removed(disk: MemoryDisk, name: str) -> None:
    del disk.files[name]


def zeroed(disk: MemoryDisk, name: str) -> None:
    disk.files[name].synced = bytearray(FILE)


def without_batches(disk: MemoryDisk, name: str) -> None:
    disk.files[name].synced[DATA_START:] = bytes(FILE - DATA_START)


def cut_behind_the_head(disk: MemoryDisk, name: str) -> None:
    del disk.files[name].synced[DATA_START:]


def cut_in_the_newest_batch(disk: MemoryDisk, name: str) -> None:
    del disk.files[name].synced[disk.files[name].synced.rfind(b"SJWB") + 100 :]


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("loss", [removed, zeroed, without_batches, cut_behind_the_head, cut_in_the_newest_batch])
def test_the_newest_file_lost_is_amnesia_at_every_point_of_a_life(loss: Loss, restarts: bool) -> None:
    life = Life()
    entered = set()
    for turn in range(150):
        life.go_on()
        entered.add(life.newest)
        disk = life.disk.copy()
        loss(disk, life.newest)
        wal, found = opened(disk)
        log = found.replicas.get(P)
        if len(entered) == 1 and log is None:
            continue  # there is no other file: the node knows by its identity that it had a log
        if loss is without_batches and life.in_file == 1:
            continue  # documented: nothing else knows of a file's first batch until the second
        assert log is not None, turn
        assert (log.vote, bool(log.amnesia)) == ("amnesiac", True), (turn, life.newest, log)
        assert wal.findings
        if restarts and turn % 7 == 0:
            life.restart()
    assert len(entered) > 6


@pytest.mark.slow
@pytest.mark.parametrize("busy", [True, False])
def test_what_a_crash_leaves_is_no_lost_file(busy: bool) -> None:
    """Killed, or without power, at every write of a file's entering: renamed or not, named or not, the first batch there or not."""
    life = Life(busy=busy)
    for turn in range(120):
        life.go_on()
        life.disk.hold = True
        life.wal.queue(Append(P, Ballot(1), (record(life.last + 1),), staged=False))
        assert life.wal.commit(lambda error: None)
        for _ in range(3):
            for disk in (life.disk.copy(), life.disk.after_crash()):
                wal, found = opened(disk, busy=busy)
                log = found.replicas[P]
                assert (wal.findings, log.amnesia, log.damaged) == ((), "", ()), turn
                assert log.last in (life.last, life.last + 1)
            if not life.disk.held:
                break
            life.disk.finish()
        life.disk.hold = False
        life.last += 1
        if turn % 11 == 0:
            life.restart()


def slots_unsynced(disk: MemoryDisk) -> int:
    """Most mark slots of one file that a power loss may spoil now."""
    return max(len({offset for offset, _ in content.pending if offset in MARK_SLOTS}) for content in disk.files.values())


@pytest.mark.parametrize("busy", [True, False])
def test_never_are_both_slots_of_a_file_unsynced(busy: bool) -> None:
    life = Life(busy=busy)
    most = 0
    for turn in range(80):
        life.disk.finish_ahead()
        life.disk.hold = life.disk.hold_ahead = True
        life.last += 1
        life.wal.queue(Append(P, Ballot(1), (record(life.last),), staged=False))
        assert life.wal.commit(lambda error: None)
        while life.disk.held:
            most = max(most, slots_unsynced(life.disk))
            life.disk.finish()
        life.disk.hold = False
        if turn % 13 == 5:
            life.restart()
    assert most == 1
    assert life.disk.ahead > 1


def test_a_mark_on_its_way_is_not_joined_by_another() -> None:
    timers: list[Callable[[], object]] = []
    disk = MemoryDisk()
    wal, _ = Wal.open(disk, "wal", file_size=FILE, reserve_bytes=0, call_later=lambda after_s, timer: timers.append(timer))
    wal.queue(Create(P, Member(1, 1), Lsn(1)))
    commit(wal)
    for lsn in range(1, 60):
        disk.hold = True
        while timers:
            timers.pop()()
        disk.finish_ahead()  # while the mark is on its way there is something new to say
        disk.hold_ahead = True
        wal.queue(Append(P, Ballot(1), (record(lsn),), staged=False))
        assert wal.commit(lambda error: None)
        assert slots_unsynced(disk) <= 1
        while disk.held:
            disk.finish()
        disk.hold = False
    assert wal._files[-1].id > 3


def test_a_restart_goes_on_in_the_file_that_is_named_though_one_with_a_lower_id_came_late() -> None:
    life = Life()
    life.disk.hold_ahead = True
    while not life.disk.held_ahead:
        life.go_on()
    life.wal._pool.make(len(life.wal._files))
    named = life.wal._pool.free[0].id
    life.disk.finish_ahead()
    life.go_on()
    assert life.wal._marks._named == named
    assert [file.id for file in life.wal._pool.free] == [named, named - 1]
    life.restart()
    assert life.wal._pool.free[0].id == named
    while life.wal._files[-1].id <= named:
        life.go_on()
    life.restart()


@pytest.mark.parametrize("loss", [removed, zeroed])
def test_a_file_entered_in_a_hurry_is_missed_too(loss: Loss) -> None:
    """The next file was not made in time, or the first commit of a life finds a torn tail and enters one at once."""
    life = Life()
    for torn in (False, True):
        before = life.newest
        while life.newest == before:
            life.disk.hold_ahead, life.disk.held_ahead = True, []
            life.go_on()
            if torn:
                end = life.wal._files[-1].end
                life.disk.files[life.newest].synced[end : end + 600] = life.disk.files[life.newest].synced[DATA_START : DATA_START + 600]
                header = wal_format.encode_batch_header(
                    wal_format.BatchHeader(1, life.wal._files[-1].id, life.wal._sequence + 1, end, 500, 1, 1, 1, 1, 1, 1)
                )
                life.disk.files[life.newest].synced[end : end + len(header)] = header
                life.restart()
                life.go_on()
        disk = life.disk.copy()
        loss(disk, life.newest)
        _, found = opened(disk)
        assert found.replicas[P].vote == "amnesiac", torn


def test_naming_the_next_file_costs_no_sync_in_the_steady_state() -> None:
    life = Life()
    for _ in range(30):
        life.go_on()
    syncs, batches = life.disk.syncs, life.wal._sequence
    files = life.wal._files[-1].id
    for _ in range(400):
        life.go_on()
    assert life.wal._files[-1].id > files + 20
    assert life.disk.syncs - syncs == life.wal._sequence - batches, "one for each batch, and nothing else"


def test_the_log_goes_on_behind_a_lost_file_and_later_starts_hold_nothing_against_new_replicas() -> None:
    for loss in (removed, zeroed, cut_behind_the_head):
        life = Life()
        while life.wal._files[-1].id < 9:
            life.go_on()
        disk = life.disk.copy()
        loss(disk, life.newest)
        wal, found = opened(disk)
        assert found.replicas[P].vote == "amnesiac"
        wal.queue(Create(Q, Member(1, 2), Lsn(1)))
        commit(wal)
        for _ in range(3):
            disk = disk.copy()
            wal, found = opened(disk)
            assert (wal.findings, found.replicas[Q].vote) == ((), "votes"), loss
            assert found.replicas[P].vote == "amnesiac", "for good"
            wal.queue(Boot(1))
            commit(wal)


def test_a_file_whose_marks_cannot_be_read_is_not_used_again() -> None:
    life = Life()
    while life.wal._files[-1].id < 6:
        life.go_on()
    disk = life.disk.copy()
    spoilt = life.newest
    disk.files[spoilt].synced[: MARK_SLOTS[1] + 200] = b"\1" * (MARK_SLOTS[1] + 200)
    wal, found = opened(disk)
    assert found.replicas[P].vote == "amnesiac"
    last = found.replicas[P].last
    for lsn in range(last + 1, last + 200):
        wal.queue(Append(P, Ballot(1), (record(lsn),), staged=False))
        commit(wal)
        wal.trim(P, Lsn(lsn - 5))
        bad = [name for name, content in disk.files.items() if all(content.view()[at + 4 : at + 8] == b"\1" * 4 for at in MARK_SLOTS)]
        assert set(bad) <= {spoilt}, "not under another name either"
    assert spoilt not in disk.files


def test_a_file_made_ahead_and_never_written_is_no_loss_but_must_be_there_once_it_is_named() -> None:
    life = Life()
    while not life.wal._pool.following(life.wal._files[-1].id):
        life.go_on()
    ahead = f"wal/{life.wal._pool.free[0].name}"
    disk = life.disk.copy()
    removed(disk, ahead)
    wal, _ = opened(disk)
    assert wal.findings == (), "no mark names it yet"
    life.go_on()
    wal, _ = opened(life.disk.copy())
    assert wal.findings == ()
    disk = life.disk.copy()
    removed(disk, ahead)
    wal, found = opened(disk)
    assert found.replicas[P].vote == "amnesiac", "whether it was written cannot be known"


def test_spare_files_are_removed_but_never_the_one_that_a_mark_names() -> None:
    life = Life()
    for _ in range(300):
        life.go_on(keep=250)
    for _ in range(60):
        life.go_on(keep=1)
        names = {int(name[4:20], 16) for name in life.disk.files if FILE_NAME.match(name[4:])}
        following = life.wal._marks._named
        assert following in (0, *names)
        wal, _ = opened(life.disk.copy())
        assert wal.findings == ()
    assert len(life.disk.files) < 8
    while not life.wal._marks._named:
        life.go_on()
    named = life.wal._marks._named
    for _ in range(8):  # as for a large reserve
        life.wal._pool.make(len(life.wal._files))
        life.wal._plan_free += 1
    while life.wal._marks._named == named and life.wal._current is not None and life.wal._current.id < named:
        assert f"wal/{named:016x}.wal" in life.disk.files
        life.go_on(keep=1)
    assert len(life.disk.files) < 13, "others were removed"


def test_negative_control_a_log_that_names_no_next_file_loses_the_newest_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Marks, "_lead_to", lambda marks, file, done: done(None))
    monkeypatch.setattr("scrubjay.storage.wal.files.FilePool.following", lambda pool, above: 0)
    silent = 0
    life = Life()
    for _ in range(60):
        life.go_on()
        disk = life.disk.copy()
        removed(disk, life.newest)
        _, found = opened(disk)
        silent += P in found.replicas and not found.replicas[P].amnesia
    assert silent
