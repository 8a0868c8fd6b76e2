"""A start that is busy says how far it is: while the logs are read, and while something is waited for."""

from __future__ import annotations

from functools import partial
from typing import Any

from scrubjay.base.ids import Ballot, Lsn, Member, NodeName, PartitionId
from scrubjay.serving.start import SAY_EVERY_US, ServerStart
from scrubjay.storage.log.record import RecordKind, encode
from scrubjay.storage.wal.port import Append, Create
from scrubjay.storage.wal.wal import Wal
from tests.unit.wal.wal_disk import MemoryDisk

P = PartitionId("00000000-0000-4000-8000-00000000000a")
FILE = 1 << 15


class Slow:
    """A clock that a step of the start moves on."""

    def __init__(self) -> None:
        self.now_us = 5_000_000

    def boot_us(self) -> int:
        return self.now_us

    def wall_us(self) -> int:
        return self.now_us


def busy_start() -> tuple[ServerStart, Slow, list[tuple[str, dict[str, Any]]]]:
    clock = Slow()
    lines: list[tuple[str, dict[str, Any]]] = []
    return ServerStart(clock, lambda event, **facts: lines.append((event, facts)), alone_since_us=clock.now_us), clock, lines


def test_a_log_that_takes_long_to_read_is_told_file_by_file_up_to_its_whole_size() -> None:
    disk = MemoryDisk()
    wal, _ = Wal.open(disk, "wal", file_size=FILE, reserve_bytes=0)
    wal.queue(Create(P, Member(1, 1), Lsn(1)))
    for lsn in range(1, 200):
        data = encode(owner=bytes(8), lsn=lsn, stamp=1000 + lsn, kind=RecordKind.DATA, payload=bytes(1000))
        wal.queue(Append(P, Ballot(1), (data,), staged=False))
        wal.commit(lambda error: None)
    said: list[tuple[int, int]] = []
    Wal.open(disk.copy(), "wal", file_size=FILE, reserve_bytes=0, said=lambda done, size: said.append((done, size)))
    files = [name for name in disk.files if name.endswith(".wal")]
    assert len(said) == len(files) > 5
    assert {size for _, size in said} == {len(files) * FILE}
    assert [done for done, _ in said] == sorted(done for done, _ in said)
    assert said[-1][0] > 0.7 * said[-1][1], "a file of zeros alone is passed over"


def test_what_takes_long_is_said_every_two_seconds_and_what_is_quick_is_not() -> None:
    start, clock, lines = busy_start()
    read = partial(start.replayed, NodeName("n1"))
    for turn in range(1, 11):
        clock.now_us += SAY_EVERY_US // 4
        read(turn * 10_000_000, 100_000_000)
    assert [facts["read_mb"] for _, facts in lines] == [40, 80]
    assert lines[0] == ("reading the log", {"seconds": 2.0, "node": "n1", "read_mb": 40, "of_mb": 100})
    start.done("replay")
    for _ in range(300):
        clock.now_us += SAY_EVERY_US
        start.waits("metadata: no leader for this partition in time")
    assert len(lines) == 302, "for as long as it takes"
    assert lines[-1][1] == {"seconds": 605.0, "waits_for": "metadata: no leader for this partition in time"}
    start.done("catalogue")
    start.ready()
    assert lines[-1] == ("started", {"replay_ms": 5000.0, "catalogue_ms": 600_000.0, "all_ms": 605_000.0})


def test_a_quick_start_says_one_line() -> None:
    start, clock, lines = busy_start()
    for part in ("replay", "catalogue"):
        clock.now_us += 300_000
        start.replayed(NodeName("n1"), 1, 1)
        start.done(part)
    start.ready()
    assert [event for event, _ in lines] == ["started"]
