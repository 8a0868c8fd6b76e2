"""Recovery of the WAL: read every file, tell a torn tail from damage, and replay what was synced (docs/formats/wal.md, "Recovery").

- A bad batch behind the last synced one was torn by the crash and is dropped whole: nothing of it was ever acknowledged.
- A bad batch that a durable mark calls synced (a later batch, or the mark) is *damage*. Its frames are read one by one. What is lost of an Append is a
  damaged range of LSNs, to be repaired from a peer. A lost frame header puts every partition that may have had a frame there in doubt, until a
  later frame of it tells by its running number and control state what was lost. Doubt that nothing settles is amnesia.
- What a process left written and not synced is synced before it is read: the next life builds on it, so it must not be lost to a later power loss.
- If both copies of the mark are unreadable while the tail is bad, it cannot be known whether the tail was synced: amnesia.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from base.checksum import crc32c_masked
from base.env import Disk, File
from base.errors import Corrupt, ScrubjayError
from base.ids import Lsn, PartitionId, Stamp, uuid_text
from storage.record import HEADER, HEADER_SIZE, RECORD_SIZE_MAX, Record, decode
from storage.wal.format import (
    ALIGN,
    BATCH_MAGIC,
    BATCH_SIZE,
    DATA_START,
    FRAME_SIZE,
    MARK_SIZE,
    MARK_SLOTS,
    NODE,
    PLACE,
    STAGED,
    SUSPECTS,
    BatchHeader,
    FrameHeader,
    Type,
    bit_of,
    decode_batch_header,
    decode_frame_header,
    decode_mark,
)
from storage.wal.log import Recovered, ReplicaLog
from storage.wal.state import Body, LogState, WalFile

FILE_NAME = re.compile(r"^([0-9a-f]{16})\.wal$")
_BLOCK = 4096
_LOG_SUSPECT = 2


def file_name(id_: int) -> str:
    return f"{id_:016x}.wal"


class Item(NamedTuple):
    """One stretch of a file. header None: unreadable. good: its body checks."""

    offset: int
    end: int
    header: BatchHeader | None
    good: bool


class Scan(NamedTuple):
    """One file as read. marks: valid marks of this life. unknown: both mark copies are there and unreadable."""

    file: WalFile
    items: tuple[Item, ...]
    mark: BatchHeader | None
    unknown: bool


class Replay:
    """The state rebuilt so far, and where the log goes on. boot_count, reservation: from batch headers and frames, highest seen."""

    def __init__(self) -> None:
        self.states: dict[PartitionId, LogState] = {}
        self.files: list[WalFile] = []
        self.boot_count = 0
        self.reservation = 0
        self.sequence = 0
        """Highest sequence number that must not be used again."""
        self.previous_file = 0
        self.previous_end = 0
        self.findings: list[str] = []
        """What was wrong, as text, for the log of the process."""
        self.unsynced: ScrubjayError | None = None
        """What was read could not be made durable: the disk must not be used."""

    def recovered(self) -> Recovered:
        replicas = {}
        for partition, state in sorted(self.states.items()):
            promised, accepted, resigned = state.ballots()
            replicas[partition] = ReplicaLog(
                partition=partition,
                member=state.member_id,
                promised=promised,
                accepted=accepted,
                resigned=resigned,
                first=Lsn(state.first),
                last=Lsn(state.last),
                suspect=SUSPECTS[state.suspect],
                amnesia=state.amnesia,
                damaged=state.extents.missing(state.first, state.last),
            )
        return Recovered(self.boot_count, Stamp(self.reservation), replicas)


def read_tolerant(handle: File, size: int) -> bytes:
    """The whole file; blocks the disk cannot read count as zeros."""
    try:
        return handle.pread(0, size)
    except Corrupt:
        parts = []
        for offset in range(0, size, _BLOCK):
            length = min(_BLOCK, size - offset)
            try:
                parts.append(handle.pread(offset, length).ljust(length, b"\0"))
            except Corrupt:
                parts.append(bytes(length))
        return b"".join(parts)


def scan_file(file: WalFile, data: bytes) -> Scan:
    """Find the batches of this life of the file."""
    items: list[Item] = []
    at = DATA_START
    while at + BATCH_SIZE <= len(data):
        header = _header_at(file, data, at)
        if header is None:
            following = _next_header(file, data, at + ALIGN)
            if following is None:
                break
            items.append(Item(at, following, None, good=False))
            at = following
            continue
        body = memoryview(data)[at + BATCH_SIZE : at + BATCH_SIZE + header.length]
        items.append(Item(at, header.end, header, good=crc32c_masked(body) == header.body_crc))
        at = header.end
    mark: BatchHeader | None = None
    unreadable = 0
    for slot in MARK_SLOTS:
        found = decode_mark(data, slot)
        if found is None:
            unreadable += any(data[slot : slot + MARK_SIZE])
        elif found.file == file.id and (mark is None or found.sequence > mark.sequence):
            mark = found
    return Scan(file, tuple(items), mark, unreadable == len(MARK_SLOTS))


def _header_at(file: WalFile, data: bytes, at: int) -> BatchHeader | None:
    header = decode_batch_header(data, at)
    if header is None or header.file != file.id or header.offset != at or header.end > len(data):
        return None
    return header


def _next_header(file: WalFile, data: bytes, at: int) -> int | None:
    while (found := data.find(BATCH_MAGIC, at)) >= 0:
        if found % ALIGN == 0 and _header_at(file, data, found) is not None:
            return found
        at = found + 1
    return None


def replay(disk: Disk, directory: str) -> Replay:
    """Read all files of `directory`, in order, one in memory at a time. Raises nothing for damage: that is in the result."""
    result = Replay()
    names = sorted(name for name in disk.listdir(directory) if FILE_NAME.match(name))
    scans: list[Scan] = []
    for name in names:
        handle = disk.open(f"{directory}/{name}")
        file = WalFile(int(name[:16], 16), name, handle, DATA_START)
        _make_durable(result, handle)
        scans.append(scan_file(file, read_tolerant(handle, handle.size())))
    ends = _synced_ends(scans)
    good = [item.header for scan in scans for item in _trusted(scan, ends) if item.good and item.header is not None]
    last_good = good[-1].sequence if good else 0
    marks = [scan.mark for scan in scans if scan.mark is not None]
    marked = max((mark.sequence for mark in marks), default=0)
    expected = good[0].sequence if good else 1
    synced = max(last_good, marked)
    unreadable = 0
    for scan in scans:
        file = scan.file
        result.files.append(file)
        items = _trusted(scan, ends)
        wanted = any(not item.good or item.header is None or item.header.frames for item in items)
        data = read_tolerant(file.handle, file.handle.size()) if wanted else b""
        for item in items:
            header = item.header
            if item.good and header is not None:
                if header.sequence != expected + unreadable:
                    _lost(result, None, f"batches {expected}..{header.sequence - 1} are missing")
                unreadable = 0
                _play(result, file, data, item, header.sequence)
                expected = header.sequence + 1
                file.end = item.end
                result.previous_file, result.previous_end = file.id, item.end
                continue
            if (header is not None and header.sequence > synced) or (header is None and expected > synced):
                continue  # torn: the crash came before its sync
            result.findings.append(f"damage in {file.name} at {item.offset}..{item.end}")
            if not _play(result, file, data, item, header.sequence if header is not None else expected):
                _lost(result, header, f"frames in {file.name} at {item.offset}..{item.end} are unreadable")
            if header is None:
                unreadable = 1  # if the next readable batch is the one after that, nothing else is missing
            else:
                unreadable = 0
                expected = header.sequence + 1
                file.end = item.end
                result.previous_file, result.previous_end = file.id, item.end
    _tail(result, scans, ends, expected, synced)
    result.sequence = max(synced, expected - 1)
    _settle(result)
    return result


def _make_durable(result: Replay, handle: File) -> None:
    """Sync what a process that was killed had written and not synced. It reads like the rest, and what is read becomes log: the batches behind it say so."""
    try:
        handle.sync()
    except ScrubjayError as error:
        result.unsynced = error
        result.findings.append(f"what was read cannot be made durable: {error}")


def _synced_ends(scans: list[Scan]) -> dict[int, int]:
    """Per file id, the end its successor's first batch says was synced."""
    ends: dict[int, int] = {}
    for scan in scans:
        for item in scan.items:
            if item.header is not None and item.good:
                header = item.header
                if header.previous_file != header.file and item.offset == DATA_START:
                    ends[header.previous_file] = header.previous_end
                break
    return ends


def _trusted(scan: Scan, ends: dict[int, int]) -> list[Item]:
    """The items below the synced end of a file; a stretch that is lacking below it is added as unreadable."""
    end = ends.get(scan.file.id)
    if end is None:
        return list(scan.items)
    items = [item for item in scan.items if item.offset < end]
    reached = items[-1].end if items else DATA_START
    if reached < end:
        items.append(Item(reached, end, None, good=False))
    return items


def _tail(result: Replay, scans: list[Scan], ends: dict[int, int], expected: int, synced: int) -> None:
    if expected <= synced:
        mark = max((scan.mark for scan in scans if scan.mark is not None), key=lambda one: one.sequence)
        _lost(result, mark, f"batches {expected}..{synced} were synced and cannot be found")
        result.previous_file, result.previous_end = mark.file, mark.end
        return
    for last in reversed(scans):  # behind the newest file with batches there may be files made ahead
        if last.unknown and last.file.id not in ends:
            bad = next((item.header for item in last.items if not item.good and item.header is not None), None)
            _lost(result, bad, f"both marks of {last.file.name} are unreadable: whether more was synced cannot be known")
        if last.items or last.mark is not None:
            break


def _lost(result: Replay, header: BatchHeader | None, reason: str) -> None:
    """Something synced may be lost: put the partitions concerned in doubt."""
    result.findings.append(reason)
    for state in result.states.values():
        if header is None or header.partitions & bit_of(state.raw):
            state.doubt = state.doubt or reason


def _play(result: Replay, file: WalFile, data: bytes, item: Item, sequence: int) -> bool:
    """Apply the frames of a batch. False if some may have been there that cannot be read."""
    header = item.header
    if header is not None:
        result.boot_count = max(result.boot_count, header.boot_count)
        result.reservation = max(result.reservation, header.reservation)
    stop = item.offset + BATCH_SIZE + header.length if header is not None else item.end
    at = end = item.offset + BATCH_SIZE
    frames, gaps = 0, False
    while at + FRAME_SIZE <= stop:
        frame = decode_frame_header(data, at, sequence)
        if frame is None or at + FRAME_SIZE + frame.body_length > stop:
            at += 8
            continue
        gaps = gaps or at != end
        _apply(result, file, data, at + FRAME_SIZE, frame, whole=item.good)
        frames += 1
        at = end = at + frame.size
    if header is not None:
        return frames == header.frames
    return not gaps and not any(data[end : item.end])


def _apply(result: Replay, file: WalFile, data: bytes, at: int, frame: FrameHeader, *, whole: bool) -> None:
    if frame.partition == NODE or frame.type in (Type.BOOT, Type.RESERVE):
        if frame.type == Type.BOOT:
            result.boot_count = max(result.boot_count, frame.a)
        elif frame.type == Type.RESERVE:
            result.reservation = max(result.reservation, frame.a)
        return
    partition = PartitionId(uuid_text(frame.partition))
    state = result.states.get(partition)
    if frame.type == Type.DROP:
        if state is not None:
            state.extents.clear()
            state.staged.clear()
            del result.states[partition]
        return
    if state is None:
        state = result.states[partition] = LogState(partition)
        if frame.type != Type.CREATE:
            _begin(state, frame)
    elif frame.nth <= state.nth:
        state.amnesia = state.amnesia or f"frame {frame.nth} follows frame {state.nth}"
        return
    elif frame.nth > state.nth + 1 and frame.type != Type.CREATE:
        _bridge(state, frame)
    elif frame.nth == state.nth + 1:
        state.doubt = ""
    if frame.type == Type.STATE:
        state.partial = ""
        state.last = frame.last
    bodies = tuple(_bodies(file, data, at, frame, state.owner, whole=whole)) if frame.type == Type.APPEND else ()
    state.effect(frame.type, frame.flags, ballot=frame.ballot, a=frame.a, b=frame.b, bodies=bodies, member=frame.member)
    state.nth = frame.nth
    if difference := state.differs(frame):
        state.amnesia = state.amnesia or difference
        state.take_control(frame)
        state.last = frame.last


def _begin(state: LogState, frame: FrameHeader) -> None:
    """First frame seen of a replica that is older than the oldest file (or whose Create was lost): believed once a State frame came."""
    state.take_control(frame)
    state.partial = "first frames of the replica are missing"
    grows = frame.type == Type.APPEND and not frame.flags & (STAGED | PLACE)
    state.last = frame.a - 1 if grows else frame.last
    if frame.type == Type.ADOPT:
        state.last = frame.a
    state.first = state.last + 1


def _bridge(state: LogState, frame: FrameHeader) -> None:
    """Frames between were lost. While the accepted ballot is the same the log can only have grown: what is missing is a damaged range. Else: amnesia."""
    reason = f"frames {state.nth + 1}..{frame.nth - 1} are lost"
    grows = frame.type == Type.APPEND and not frame.flags & (STAGED | PLACE)
    before = frame.a - 1 if grows else frame.last
    if frame.type == Type.ADOPT or frame.accepted != state.accepted or before < state.last:
        state.amnesia = state.amnesia or f"{reason}, and the log changed hands or shrank meanwhile"
    if frame.type != Type.ADOPT:
        state.last = max(before, state.first - 1)
        state.extents.cut_above(state.last)
    state.take_control(frame)
    state.doubt = ""


def _bodies(file: WalFile, data: bytes, at: int, frame: FrameHeader, owner: bytes, *, whole: bool) -> Iterator[Body]:
    """Where the records of an Append lie: one body, or, if it is damaged, one for each run of records that still check."""
    body = memoryview(data)[at : at + frame.body_length]
    if whole or crc32c_masked(body) == frame.body_crc:
        yield _placed(file, at, frame.a, frame.b, frame.body_length)
        return
    run: list[Record] = []
    start = at
    for offset, record in salvage(bytes(body), first=frame.a, count=frame.b, owner=owner):
        if record is not None:
            if not run:
                start = at + offset
            run.append(record)
        elif run:
            yield _placed(file, start, run[0].lsn, len(run), sum(len(one.data) for one in run))
            run = []
    if run:
        yield _placed(file, start, run[0].lsn, len(run), sum(len(one.data) for one in run))


def _placed(file: WalFile, offset: int, base: int, count: int, length: int) -> Body:
    body = Body(base, count, length)
    body.place(file, offset)
    return body


def salvage(body: bytes, *, first: int, count: int, owner: bytes) -> Iterator[tuple[int, Record | None]]:
    """The records of a damaged body, one for each LSN: (offset, record), or None where it fails. After a bad record the next is looked for by its own bytes."""
    at = 0
    for lsn in range(first, first + count):
        record = _decode_as(body, at, lsn, owner)
        yield at, record
        if record is not None:
            at += len(record.data)
            continue
        at = _following(body, at, lsn + 1, owner) if lsn + 1 < first + count else len(body)


def _decode_as(body: bytes, at: int, lsn: int, owner: bytes) -> Record | None:
    try:
        record = decode(body, at, owner=owner)
    except Corrupt:
        return None
    return record if record.lsn == lsn else None


def _following(body: bytes, at: int, lsn: int, owner: bytes) -> int:
    """Where the record `lsn` starts behind a bad one at `at`; the bad one's own length if that leads nowhere."""
    if len(body) - at >= HEADER_SIZE:
        length: int = HEADER.unpack_from(body, at)[0]
        if HEADER_SIZE <= length <= RECORD_SIZE_MAX and _decode_as(body, at + length, lsn, owner) is not None:
            return at + length
    needle = owner + lsn.to_bytes(8, "little")
    start = body.find(needle, at + HEADER_SIZE)
    while start >= 0:
        if _decode_as(body, start - 16, lsn, owner) is not None:
            return start - 16
        start = body.find(needle, start + 1)
    return len(body)


def _settle(result: Replay) -> None:
    for state in result.states.values():
        state.amnesia = state.amnesia or state.doubt or state.partial
        if state.suspect == _LOG_SUSPECT:
            state.amnesia = state.amnesia or "recorded as amnesiac"
        if state.amnesia:
            state.suspect = _LOG_SUSPECT
