"""What plain restarts may not do to a log: nothing intact is called damaged, words are kept apart, other versions are refused by name."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from scrubjay.base.errors import Internal, Unsafe
from scrubjay.base.ids import Ballot, Lsn, Member, PartitionId
from scrubjay.base.real.disk import RealDisk
from scrubjay.storage.log.record import Record, RecordKind, encode
from scrubjay.storage.wal import format as wal_format
from scrubjay.storage.wal.format import BatchHeader, FrameHeader, Type
from scrubjay.storage.wal.port import Adopt, Append, Boot, Create, Promise, Recovered, SetTree, SetVote
from scrubjay.storage.wal.wal import Wal
from tests.fixtures.golden import Golden
from tests.unit.wal.wal_disk import Content, MemoryDisk

P = PartitionId("00000000-0000-4000-8000-00000000000a")
Q = PartitionId("10000000-0000-4000-8000-00000000000b")
FILE = 1 << 16


def record(lsn: int, partition: PartitionId, size: int) -> Record:
    owner = bytes.fromhex(partition.replace("-", ""))[:8]
    return encode(owner=owner, lsn=lsn, stamp=1000 + lsn, kind=RecordKind.DATA, payload=bytes([lsn & 0xFF]) * size)


def records(first: int, end: int, partition: PartitionId = P, size: int = 100) -> tuple[Record, ...]:
    return tuple(record(lsn, partition, size) for lsn in range(first, end))


def commit(wal: Wal) -> None:
    results: list[object] = []
    assert wal.commit(results.append)
    assert results == [None]
    wal.check_invariants()


def opened(disk: MemoryDisk | RealDisk) -> tuple[Wal, Recovered]:
    return Wal.open(disk, "wal", file_size=FILE, limit_bytes=64 * FILE, reserve_bytes=0)


def both(wal: Wal) -> None:
    wal.queue(Boot(1))
    for partition in (P, Q):
        wal.queue(Create(partition, Member(1, 1), Lsn(1)))


def test_records_copied_forward_in_front_of_the_state_frames_of_the_first_file_are_found_again(tmp_path: Path) -> None:
    def restart() -> tuple[Wal, Recovered]:
        return opened(RealDisk(tmp_path))

    wal, _ = restart()
    both(wal)
    wal.queue(Append(P, Ballot(1), records(1, 11), staged=False))
    commit(wal)
    last = 0
    for _ in range(60):
        wal.queue(Append(Q, Ballot(1), records(last + 1, last + 6, Q, 1000), staged=False))
        last += 5
        commit(wal)
    wal.close()
    wal, _ = restart()
    wal.trim(Q, Lsn(last + 1))
    wal.queue(Boot(2))
    commit(wal)
    for _ in range(80):
        wal.queue(Append(Q, Ballot(1), records(last + 1, last + 6, Q, 1000), staged=False))
        last += 5
        commit(wal)
    wal.close()
    wal, found = restart()
    assert wal.findings == ()
    assert (found.replicas[P].damaged, found.replicas[P].vote, found.replicas[P].first) == ((), "votes", 1)
    assert wal.read(P, Lsn(1), Lsn(11)) == list(records(1, 11))
    wal.close()


def test_the_oldest_file_may_begin_with_what_was_copied_into_it() -> None:
    """A commit enters a file with records copied forward in it, everything older is let go and recycled, and the next start begins there."""
    disk = MemoryDisk()
    wal, _ = opened(disk)
    both(wal)
    wal.queue(Append(P, Ballot(1), records(1, 4), staged=False))
    commit(wal)
    last = 0
    extent = began = wal._states[P].extents.at(1)
    assert began is not None
    first = began.body.file
    while extent is None or extent.body.file is first:
        wal.queue(Append(Q, Ballot(1), (record(last + 1, Q, 50_000),), staged=False))
        last += 1
        assert last < 10
        commit(wal)
        wal.trim(Q, Lsn(last))
        extent = wal._states[P].extents.at(1)
    kept = wal._current
    assert kept is not None
    assert kept is extent.body.file
    wal.trim(Q, Lsn(last + 1))
    for _ in range(2):
        wal.queue(Boot(1))
        commit(wal)
    for file in wal._pool.free:
        if file.id < kept.id:
            disk.remove(f"wal/{file.name}")
    assert min(disk.files) == f"wal/{kept.name}", "that file is the oldest"
    wal, found = opened(disk.copy())
    assert wal.findings == ()
    log = found.replicas[P]
    assert (log.amnesia, log.damaged, log.first, log.last) == ("", (), 1, 3)
    assert wal.read(P, Lsn(1), Lsn(4)) == [*records(1, 4)]


@pytest.mark.parametrize("seed", [8, 16, 3, 5])
def test_an_idle_partition_beside_a_busy_one_whose_archive_lags(seed: int) -> None:
    """Restarts of seeds 8 and 16 once called the idle one's records damaged. Odd seeds: it has an adoption that was never finished."""
    draw = random.Random(seed)
    disk = MemoryDisk()
    wal, _ = opened(disk)
    both(wal)
    wal.queue(Append(P, Ballot(1), records(1, 4), staged=False))
    staged = seed % 2
    if staged:
        wal.queue(Append(P, Ballot(2), records(4, 6), staged=True))
    commit(wal)
    last, size = 0, draw.choice((8000, 14000, 20000, 30000))
    lag = draw.choice((3, 5, 7)) * FILE
    kept = down = 0
    for life in range(2, 12):
        for _ in range(draw.randint(1, 40 * 8000 // size * 4)):
            wal.queue(Append(Q, Ballot(1), (record(last + 1, Q, size),), staged=False))
            last += 1
            commit(wal)
            down = down - 1 if down else (draw.randint(20, 60) if draw.random() < 0.02 else 0)
            if not down and (last - kept) * size > lag + FILE // 2:
                kept = last - lag // size
                wal.trim(Q, Lsn(kept + 1))
        disk = disk.without_dead(wal) if draw.random() < 0.7 else disk.copy()
        wal, found = opened(disk)
        assert wal.findings == ()
        assert {partition: (log.damaged, log.amnesia) for partition, log in found.replicas.items()} == {P: ((), ""), Q: ((), "")}
        assert wal.read(P, Lsn(1), Lsn(4)) == list(records(1, 4))
        assert len(disk.files) * FILE < 3 * (lag + FILE // 2 + 70 * size), "what is kept back, with slack"
        wal.queue(Boot(life))
        commit(wal)
    if staged:
        wal.queue(Adopt(P, Ballot(2), Lsn(3), Lsn(5)))
        commit(wal)
        wal, found = opened(disk.copy())
        assert wal.read(P, Lsn(1), Lsn(6)) == list(records(1, 6)), "what was staged was copied forward as such"


def test_a_replica_whose_state_frames_are_lost_starts_where_its_records_do_and_is_an_amnesiac() -> None:
    disk = MemoryDisk()
    wal, _ = opened(disk)
    both(wal)
    last = 0
    while len(wal._files) < 2:
        wal.queue(Append(P, Ballot(1), records(last + 1, last + 11, size=600), staged=False))
        last += 10
        commit(wal)
    kept = last
    for _ in range(2):
        wal.queue(Append(P, Ballot(1), records(last + 1, last + 11, size=600), staged=False))
        last += 10
        commit(wal)
    old, new = wal._files
    disk = disk.copy()
    disk.remove(f"wal/{old.name}")
    data = disk.files[f"wal/{new.name}"].synced
    end = data.find(b"SJWB", wal_format.DATA_START + 4)
    data[wal_format.DATA_START : end] = bytes(end - wal_format.DATA_START)
    wal, found = opened(disk)
    log = found.replicas[P]
    assert (log.vote, log.first, log.last) == ("amnesiac", kept + 1, last)
    assert log.damaged == (), "below its first record nothing is known, and nothing is called damaged"
    assert wal.read(P, log.first, Lsn(last + 1)) == list(records(kept + 1, last + 1, size=600))


# --- the two words ---


def test_the_word_for_the_tree_and_the_word_for_the_log_never_overwrite_each_other() -> None:
    disk = MemoryDisk()
    wal, _ = opened(disk)
    both(wal)
    wal.queue(SetVote(P, "amnesiac"))
    wal.queue(SetTree(P, "suspect"))
    commit(wal)
    for tree in ("healing", "ok", "base", "opening"):
        wal, found = opened(disk.copy())
        assert found.replicas[P].vote == "amnesiac"
        assert found.replicas[Q][7:] == ("ok", "votes", "", ())
        wal.queue(SetTree(P, tree))
        commit(wal)
        disk = wal._disk  # type: ignore[assignment]
        wal, found = opened(disk.copy())
        assert (found.replicas[P].tree, found.replicas[P].vote) == (tree, "amnesiac")


def test_an_amnesiac_is_one_until_its_member_is_another() -> None:
    disk = MemoryDisk()
    wal, _ = opened(disk)
    both(wal)
    wal.queue(SetVote(P, "amnesiac"))
    for word in ("votes", "learner"):
        with pytest.raises(Internal):
            wal.queue(SetVote(P, word))
    wal.queue(Create(P, Member(1, 2), Lsn(1), "learner"))
    commit(wal)
    wal, found = opened(disk.copy())
    assert (found.replicas[P].vote, found.replicas[P].member, found.replicas[P].amnesia) == ("learner", Member(1, 2), "")
    wal.queue(SetVote(P, "votes"))
    commit(wal)
    _, found = opened(wal._disk.copy())  # type: ignore[attr-defined]
    assert found.replicas[P].vote == "votes"


# --- what this version does not know ---


@pytest.mark.parametrize("version", [1, 2])
def test_a_log_of_an_earlier_version_is_refused_by_name(golden: Golden, version: int) -> None:
    disk = MemoryDisk()
    content = disk.files["wal/0000000000000001.wal"] = Content()
    content.synced = bytearray(golden.read(f"v{version}/wal/life.wal").ljust(1 << 14, b"\0"))
    with pytest.raises(Unsafe, match=rf"another format version.*found={version}, expected=3"):
        opened(disk)


def a_log_with(frame: bytes, *, flags: int = 0) -> MemoryDisk:
    """A file with one intact batch that holds this frame alone."""
    disk = MemoryDisk()
    content = disk.files["wal/0000000000000001.wal"] = Content(FILE)
    content.synced[: wal_format.DATA_START] = wal_format.blank_head(FILE)
    body = wal_format.seal_frame(frame, 1)
    header = wal_format.encode_batch_header(
        BatchHeader(wal_format.crc32c_masked(body), 1, 1, wal_format.DATA_START, len(body), 1, 0, 0, 1, 1, 1)
    )
    if flags:
        head = header[:6] + flags.to_bytes(2, "little") + bytes(4) + header[12:]
        header = head[:8] + wal_format.crc32c_masked(head[12:], wal_format.crc32c_raw(head[:8])).to_bytes(4, "little") + head[12:]
    content.synced[wal_format.DATA_START : wal_format.DATA_START + len(header) + len(body)] = header + body
    return disk


def frame_of(kind: int, flags: int = 0, *, partition: bytes = bytes(range(16)), tree: int = 0, vote: int = 0, reserved: int = 0) -> bytes:
    return wal_format.FRAME.pack(
        wal_format.FRAME_MAGIC,
        kind,
        flags,
        0,
        0,
        wal_format.crc32c_masked(b""),
        partition,
        1,
        0,
        1,
        0,
        0,
        0,
        0,
        0,
        1 << 16,
        tree,
        vote,
        reserved,
    )


@pytest.mark.parametrize(
    ("frame", "named"),
    [
        (frame_of(14), "type=14"),
        (frame_of(0), "type=0"),
        (frame_of(Type.APPEND, 4), "flags=4"),
        (frame_of(Type.PROMISE, wal_format.STAGED), "flags=1"),
        (frame_of(Type.STATE, tree=5), "tree=5"),
        (frame_of(Type.STATE, vote=3), "vote=3"),
        (frame_of(Type.STATE, reserved=1), "reserved=1"),
        (frame_of(Type.BOOT), "type=1"),
        (frame_of(Type.STATE, partition=wal_format.NODE), "type=13"),
    ],
)
def test_an_intact_frame_that_is_unknown_here_stops_the_reader_by_name(frame: bytes, named: str) -> None:
    with pytest.raises(Unsafe, match=named):
        opened(a_log_with(frame))


def test_a_batch_with_unknown_flags_stops_the_reader_and_a_known_one_does_not() -> None:
    known = frame_of(Type.CREATE)
    with pytest.raises(Unsafe, match=r"unknown flags.*flags=2"):
        opened(a_log_with(known, flags=2))
    wal, found = opened(a_log_with(known))
    assert (wal.findings, len(found.replicas)) == ((), 1)


def test_a_damaged_header_of_another_version_is_damage_and_not_another_version() -> None:
    disk = MemoryDisk()
    wal, _ = opened(disk)
    both(wal)
    commit(wal)
    wal.queue(Promise(P, Ballot(3)))
    commit(wal)
    data = disk.files["wal/0000000000000001.wal"].synced
    data[wal_format.DATA_START + 4] = 1
    wal, found = opened(disk)
    assert wal.findings
    assert found.replicas[P].promised == 3


def test_frame_headers_keep_the_words_apart() -> None:
    for tree in range(len(wal_format.TREES)):
        for vote in range(len(wal_format.VOTES)):
            header = FrameHeader(Type.STATE, 0, 0, 0, bytes(range(16)), 1, 0, 1, 0, 0, 0, 0, 0, 1, tree, vote)
            back = wal_format.decode_frame_header(wal_format.seal_frame(wal_format.pack_frame(header, b""), 3), 0, 3)
            assert back is not None
            assert (back.tree, back.vote) == (tree, vote)


@pytest.mark.parametrize("left", [0, 100])
def test_a_newest_file_that_was_cut_to_nothing_is_amnesia_and_a_whole_one_is_not(left: int) -> None:
    """A file has its full size before it has its name: one without room for its marks held something once, and nobody knows what."""
    disk = MemoryDisk()
    wal, _ = opened(disk)
    wal.queue(Create(P, Member(1, 1), Lsn(1)))
    for turn in range(9):
        wal.queue(Append(P, Ballot(1), records(1 + turn * 20, 21 + turn * 20, size=300), staged=False))
        commit(wal)
    _, whole = opened(disk.copy())
    assert (whole.replicas[P].last, whole.replicas[P].vote, whole.replicas[P].amnesia) == (180, "votes", "")
    cut = disk.copy()
    newest = max(name for name, content in cut.files.items() if any(content.synced))
    del cut.files[newest].synced[left:]
    _, recovered = opened(cut)
    log = recovered.replicas[P]
    assert log.last < 180
    assert log.vote == "amnesiac"
    assert "cut off" in log.amnesia


def test_the_last_batch_gone_without_trace_is_amnesia_if_a_mark_knows_it() -> None:
    """A block that the disk cannot read counts as zeros: alone it looks like the end of the log."""
    disk = MemoryDisk()
    wal, _ = opened(disk)
    wal.queue(Create(P, Member(1, 1), Lsn(1)))
    for turn in range(3):
        wal.queue(Append(P, Ballot(1), records(1 + turn * 5, 6 + turn * 5), staged=False))
        commit(wal)
        if turn == 1:
            ends = {
                name: max(at for at, byte in enumerate(content.view()) if byte)
                for name, content in disk.files.items()
                if any(content.view())
            }
    (name, end), lost = next(iter(ends.items())), disk.copy()
    lost.files[name].synced[end + 1 :] = bytes(len(lost.files[name].synced) - end - 1)
    _, recovered = opened(lost)
    log = recovered.replicas[P]
    assert (log.last, log.vote) == (10, "amnesiac")
    assert "were synced and cannot be found" in log.amnesia
