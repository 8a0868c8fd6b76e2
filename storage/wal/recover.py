"""Recovery of the WAL: read every file, tell a torn tail from damage, and replay what was synced (docs/formats/wal.md, "Recovery").

- A bad batch behind the last synced one was torn by the crash and is dropped whole: nothing of it was ever acknowledged.
- A bad batch that a durable mark calls synced (a later batch, or the mark) is *damage*. Its frames are read one by one. What is lost of an Append is a
  damaged range of LSNs, to be repaired from a peer. A lost frame header puts every partition that may have had a frame there in doubt, until a
  later frame of it tells by its running number and control state what was lost. Doubt that nothing settles is amnesia.
- What a process left written and not synced is synced before it is read: the next life builds on it, so it must not be lost to a later power loss. A sync
  that failed may have left pages that read well, look clean and are not on the disk: the newest batch, the only one this can be, is written again.
- If neither mark slot can be read it cannot be known whether more was synced, and if a file is gone that the one before names, not what was in it: amnesia.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from scrubjay.base.checksum import crc32c_masked
from scrubjay.base.env import Disk
from scrubjay.base.errors import ScrubjayError
from scrubjay.base.ids import Lsn, PartitionId, Stamp, uuid_text
from scrubjay.storage.log.record import HEADER_SIZE as RECORD_HEADER_SIZE
from scrubjay.storage.log.record import Record
from scrubjay.storage.wal.format import (
    BATCH_SIZE,
    FRAME,
    FRAME_MAGIC,
    FRAME_SIZE,
    MARK_SLOTS,
    NODE,
    PLACE,
    STAGED,
    TREES,
    VOTES,
    BatchHeader,
    FrameHeader,
    Type,
    bit_of,
    decode_frame_header,
    encode_batch_header,
    encode_mark,
    header_of,
    pad8,
)
from scrubjay.storage.wal.port import Recovered, ReplicaLog
from scrubjay.storage.wal.salvage import salvage
from scrubjay.storage.wal.scan import Files, Scan, Stretch
from scrubjay.storage.wal.state import Body, LogState, WalFile

Progress = Callable[[int, int], object]
FILE_NAME = re.compile(r"^([0-9a-f]{16})\.wal$")
AMNESIAC = VOTES.index("amnesiac")


def file_name(id_: int) -> str:
    return f"{id_:016x}.wal"


class NewestBatch(NamedTuple):
    """slot: where the newest mark of its file lies, if there is one (marked). following: the id of the file that this mark names as the next, 0: none."""

    file: WalFile
    header: bytes
    slot: int
    marked: bool
    following: int


class LogReplay:
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
        self.goes_on: WalFile | None = None
        """The newest file with batches, if nothing was torn or lost at its end: what comes next may be written into it."""
        self.newest: NewestBatch | None = None
        """The newest readable batch."""
        self.by_raw: dict[bytes, LogState] = {}
        """`states` by the partition's 16 bytes."""

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
                tree=TREES[state.tree],
                vote=VOTES[state.vote],
                amnesia=state.amnesia,
                damaged=state.extents.missing(state.first, state.last),
            )
        return Recovered(self.boot_count, Stamp(self.reservation), replicas)


class _Player:
    """Goes through the files in order. expected: the sequence number of the next batch; None before the first.

    unreadable: 1 behind a stretch of which not even the header can be read: if the next readable batch is the one after that, nothing else is missing.
    """

    def __init__(self, result: LogReplay, files: Files) -> None:
        self.result = result
        self.files = files
        self.expected: int | None = None
        self.unreadable = 0
        self.newest = 0
        """Highest sequence number of a readable batch."""
        self.newest_at: tuple[WalFile, BatchHeader] | None = None
        """Where that one lies."""

    def play(self, scan: Scan) -> None:
        result, file, data = self.result, scan.file, scan.data
        result.files.append(file)
        for item in scan.items:
            header = item.header
            if item.good and header is not None:
                sequence = header.sequence
                if self.expected is not None and sequence != self.expected + self.unreadable:
                    _lost(result, None, f"batches {self.expected}..{sequence - 1} are missing")
                if sequence > self.newest:
                    self.newest, self.newest_at = sequence, (file, header)
                if not _play_good(result, file, data, item, header):
                    _lost(result, header, f"frames in {file.name} at {item.offset}..{item.end} are unreadable")
                self._behind(file, header)
            else:
                self._bad(file, data, item)

    def _bad(self, file: WalFile, data: bytes, item: Stretch) -> None:
        header, result = item.header, self.result
        if self.expected is None:
            self.expected = max(1, self.files.first_readable - (header is None))
        if (header.sequence if header is not None else self.expected) > self.files.synced:
            return  # torn: the crash came before its sync
        result.findings.append(f"damage in {file.name} at {item.offset}..{item.end}")
        if not _play_bad(result, file, data, item, header.sequence if header is not None else self.expected):
            _lost(result, header, f"frames in {file.name} at {item.offset}..{item.end} are unreadable")
        if header is None:
            self.unreadable = 1
        else:
            self._behind(file, header)

    def _behind(self, file: WalFile, header: BatchHeader) -> None:
        """The log reaches to the end of this batch."""
        result = self.result
        self.unreadable = 0
        self.expected = header.sequence + 1
        file.end = header.end
        result.previous_file, result.previous_end = file.id, header.end


def replay(disk: Disk, directory: str, *, said: Progress | None = None) -> LogReplay:
    """Read all files of `directory`, in order, one in memory at a time. said: told (bytes read, bytes in all) after each file.

    Damage raises nothing: it is in the result. Raises Unsafe for a log that this version cannot read, and what the machine refuses (Unavailable).
    """
    result = LogReplay()
    files = Files(disk, directory, sorted(name for name in disk.listdir(directory) if FILE_NAME.match(name)))
    if files.unsynced is not None:
        result.unsynced = files.unsynced
        result.findings.append(f"what was read cannot be made durable: {files.unsynced}")
    player = _Player(result, files)
    read = 0
    newest: Scan | None = None
    for scan in files.scans():
        player.play(scan)
        if scan.items:
            newest = scan._replace(data=b"")
        read += len(scan.data)
        if said is not None:
            said(read, files.size_bytes)
    mark = files.newest_mark()
    synced = max(player.newest, mark.sequence if mark is not None else 0)
    expected = player.expected if player.expected is not None else 1
    _tail(result, files, newest, expected, synced)
    missing = _missing_file(result, files, player.newest_at)
    result.sequence = max(synced, expected - 1)
    if newest is not None and newest.end is None and newest.items[-1].end == newest.file.end and all(item.good for item in newest.items):
        facts = files.facts[files.files.index(newest.file)]
        if expected > synced and not facts.unknown and not missing and files.unsynced is None:
            result.goes_on = newest.file
    _write_again(result, files, player.newest_at)
    _settle(result)
    return result


def _write_again(result: LogReplay, files: Files, newest: tuple[WalFile, BatchHeader] | None) -> None:
    """Make the newest batch durable, unless a mark says that it is: its sync may have failed, and what is in memory then looks clean to any later sync.

    Its mark comes first: a power loss in the midst of this leaves damage that is named, never a batch that is taken for torn.
    """
    mark = files.newest_mark()
    if newest is None:
        return
    file, header = newest
    facts = files.facts[files.files.index(file)]
    following = facts.following[-1] if facts.following else 0
    result.newest = NewestBatch(file, encode_batch_header(header), facts.slot, facts.mark is not None, following)
    if files.unsynced is not None or (mark is not None and mark.sequence >= header.sequence):
        return
    if facts.unknown:
        return  # in doubt already, and rot may not be written over
    slot = facts.slot ^ 1
    try:
        batch = file.handle.pread(header.offset, header.end - header.offset)
        file.handle.write(MARK_SLOTS[slot], encode_mark(batch[:BATCH_SIZE], following=following, size=file.size))
        file.handle.sync()
        file.handle.write(header.offset, batch)
        file.handle.sync()
    except ScrubjayError as error:
        result.unsynced = error
        result.findings.append(f"the newest batch cannot be made durable: {error}")
        return
    result.newest = result.newest._replace(slot=slot, marked=True)


def _missing_file(result: LogReplay, files: Files, newest: tuple[WalFile, BatchHeader] | None) -> bool:
    """Whether a file is gone that a mark of the newest file with batches names as the next.

    A mark names a file only when it is durable under its name, and it keeps that name at least until it is written: no crash takes it away.
    """
    if newest is None:
        return False
    there = {file.id for file in files.files}
    gone = [id_ for id_ in files.facts[files.files.index(newest[0])].following if id_ not in there]
    if gone:
        _lost(result, None, f"{file_name(gone[-1])} is gone, and {newest[0].name} says that the log goes on there")
    return bool(gone)


def _tail(result: LogReplay, files: Files, newest: Scan | None, expected: int, synced: int) -> None:
    """What may be lacking behind the last readable batch."""
    mark = files.newest_mark()
    if expected <= synced and mark is not None:
        _lost(result, mark, f"batches {expected}..{synced} were synced and cannot be found")
        result.previous_file, result.previous_end = mark.file, mark.end
        return
    for file, facts in zip(
        reversed(files.files), reversed(files.facts), strict=True
    ):  # behind the newest file with batches there may be files made ahead
        holds = newest is not None and newest.file is file
        if facts.unknown and not (holds and newest is not None and newest.end is not None):
            bad = (
                next((item.header for item in newest.items if not item.good and item.header is not None), None)
                if holds and newest
                else None
            )
            _lost(result, bad, f"both marks of {file.name} are unreadable, or it was cut off: whether more was synced cannot be known")
        if holds or facts.mark is not None:
            break


def _lost(result: LogReplay, header: BatchHeader | None, reason: str) -> None:
    """Something synced may be lost: put the partitions concerned in doubt."""
    result.findings.append(reason)
    for state in result.states.values():
        if header is None or header.partitions & bit_of(state.raw):
            state.doubt = state.doubt or reason


def _play_good(result: LogReplay, file: WalFile, data: bytes, item: Stretch, header: BatchHeader) -> bool:
    """Apply the frames of a batch whose checksum is right (so theirs are). False if they are not what its header says."""
    if header.boot_count > result.boot_count:
        result.boot_count = header.boot_count
    if header.reservation > result.reservation:
        result.reservation = header.reservation
    at = item.offset + BATCH_SIZE
    stop = at + header.length
    for _ in range(header.frames):
        body = at + FRAME_SIZE
        if body > stop:
            return False
        fields = FRAME.unpack_from(data, at)
        length = fields[4]
        if fields[0] != FRAME_MAGIC or body + length > stop:
            return False
        state = result.by_raw.get(fields[6])
        if state is None or not _plain_append(state, file, body, fields):
            frame = header_of(fields, header.sequence)
            if frame is None:
                return False
            _apply(result, file, data, body, frame, whole=True)
        at = body + pad8(length)
    return at == stop


def _plain_append(state: LogState, file: WalFile, at: int, fields: tuple[Any, ...]) -> bool:
    """Apply the frame, if it is nothing but the ordinary: an Append that continues the log and changes nothing else. Nearly all frames are; `_apply` does any.

    The comparison with what the frame says of the state behind it is the same as there.
    """
    _, kind, flags, _, length, _, _, nth, ballot, first, count, promised, accepted, resigned, last, member, tree, vote, reserved = fields
    if (
        kind != Type.APPEND
        or flags
        or reserved
        or nth != state.nth + 1
        or first != state.last + 1
        or last != first + count - 1
        or ballot != state.accepted
        or (accepted, promised, resigned, member, tree, vote)
        != (state.accepted, state.promised, state.resigned, state.member, state.tree, state.vote)
        or not count
        or count * RECORD_HEADER_SIZE > length
    ):
        return False
    state.nth, state.last, state.doubt = nth, last, ""
    body = Body(state, first, count, length)
    body.file, body.offset = file, at
    state.extents.add(first, last + 1, body)
    return True


def _play_bad(result: LogReplay, file: WalFile, data: bytes, item: Stretch, sequence: int) -> bool:
    """Apply what can be read of a damaged batch, frame by frame. False if some may have been there that cannot be read."""
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
        _apply(result, file, data, at + FRAME_SIZE, frame, whole=False)
        frames += 1
        at = end = at + frame.size
    if header is not None:
        return frames == header.frames
    return not gaps and not any(data[end : item.end])


def _apply(result: LogReplay, file: WalFile, data: bytes, at: int, frame: FrameHeader, *, whole: bool) -> None:
    kind = frame.type
    if frame.partition == NODE:
        if kind is Type.BOOT:
            result.boot_count = max(result.boot_count, frame.a)
        elif kind is Type.RESERVE:
            result.reservation = max(result.reservation, frame.a)
        return
    state = result.by_raw.get(frame.partition)
    if kind is Type.DROP:
        if state is not None:
            state.extents.clear()
            state.staged.clear()
            del result.states[state.partition], result.by_raw[state.raw]
        return
    if state is None:
        state = result.by_raw[frame.partition] = LogState(PartitionId(uuid_text(frame.partition)))
        result.states[state.partition] = state
        if kind is not Type.CREATE:
            _begin(state, frame)
    elif frame.nth == state.nth + 1:
        state.doubt = ""
    elif frame.nth <= state.nth:
        state.amnesia = state.amnesia or f"frame {frame.nth} follows frame {state.nth}"
        return
    elif kind is not Type.CREATE:
        _bridge(state, frame)
    if kind is Type.STATE:
        state.partial = ""
        state.last = frame.last
    bodies = tuple(_bodies(file, data, at, frame, state, whole=whole)) if kind is Type.APPEND else ()
    state.effect(kind, frame.flags, ballot=frame.ballot, a=frame.a, b=frame.b, bodies=bodies, member=frame.member)
    state.nth = frame.nth
    if difference := state.differs(frame):
        state.amnesia = state.amnesia or difference
        state.take_control(frame)
        state.last = frame.last


def _begin(state: LogState, frame: FrameHeader) -> None:
    """First frame seen of a replica that is older than the oldest file (or whose Create was lost): believed once a State frame came.

    That frame also says where its log starts. Until then nothing is cut off below: what was copied forward into this file may lie in front of it.
    """
    state.take_control(frame)
    state.partial = "first frames of the replica are missing"
    grows = frame.type == Type.APPEND and not frame.flags & (STAGED | PLACE)
    state.last = frame.a - 1 if grows else frame.last
    if frame.type == Type.ADOPT:
        state.last = frame.a


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


def _bodies(file: WalFile, data: bytes, at: int, frame: FrameHeader, state: LogState, *, whole: bool) -> Iterator[Body]:
    """Where the records of an Append lie: one body, or, if it is damaged, one for each run of records that still check."""
    if whole or crc32c_masked(memoryview(data)[at : at + frame.body_length]) == frame.body_crc:
        yield _placed(state, file, at, frame.a, frame.b, frame.body_length)
        return
    run: list[Record] = []
    start = at
    for offset, record in salvage(data[at : at + frame.body_length], first=frame.a, count=frame.b, owner=state.owner):
        if record is not None:
            if not run:
                start = at + offset
            run.append(record)
        elif run:
            yield _placed(state, file, start, run[0].lsn, len(run), sum(len(one.data) for one in run))
            run = []
    if run:
        yield _placed(state, file, start, run[0].lsn, len(run), sum(len(one.data) for one in run))


def _placed(state: LogState, file: WalFile, offset: int, base: int, count: int, length: int) -> Body:
    body = Body(state, base, count, length)
    body.place(file, offset)
    return body


def _settle(result: LogReplay) -> None:
    for state in result.states.values():
        state.amnesia = state.amnesia or state.doubt or state.partial
        if state.vote == AMNESIAC:
            state.amnesia = state.amnesia or "recorded as amnesiac"
        if state.amnesia:
            state.vote = AMNESIAC
        if state.partial:
            state.first = next((extent.first for extent in state.extents), state.last + 1)
