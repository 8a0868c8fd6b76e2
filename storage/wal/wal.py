"""The write-ahead log of one node (docs/formats/wal.md): group commit, reads by extents, trimming, recycling, copying forward. Recovery is `recover.py`.

Guarantees: what `commit` reported durable is found by the next `open`, or its loss is named (`damaged`, `amnesia`). After a failed write or sync nothing is
written any more. Synchronous: writes run off the loop through `File.write_sync`, their completion comes back on it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

from base.checksum import crc32c_masked
from base.env import Disk
from base.errors import Corrupt, DiskFull, Internal, Invalid, Missing, ScrubjayError, Unavailable
from base.ids import Lsn, PartitionId
from storage.record import Record, decode, decode_all
from storage.wal.files import SPARE_FILES_MAX, FilePool, clean
from storage.wal.format import (
    ALIGN,
    BATCH_SIZE,
    DATA_START,
    FRAME_SIZE,
    MARK_SLOTS,
    NODE,
    PLACE,
    STAGED,
    SUSPECTS,
    BatchHeader,
    FrameHeader,
    Type,
    align,
    bit_of,
    encode_batch_header,
    encode_mark,
    pack_frame,
    pad8,
    seal_frame,
)
from storage.wal.log import Adopt, Append, Boot, Create, Drop, Frame, Install, Promise, Recovered, Reserve, Resign, Suspect, WalUsage
from storage.wal.recover import Replay, replay, salvage
from storage.wal.state import Body, LogState, WalFile

Done = Callable[[ScrubjayError | None], None]

FRAME_BODY_MAX = 4 << 20
"""Bytes. Longer appends are split into several frames."""
CACHE_BYTES_MAX = 16 << 20
"""Bytes of decoded extents kept for reads."""
COPY_BYTES_PER_COMMIT = 1 << 20
"""Bytes that may be copied forward with one commit."""
COPY_WHEN_FILES = 4
COPY_WHEN_LIVE_BELOW = 0.25
RESERVE_PARTS = 4
"""The last of so many parts of the reserve is for control frames alone."""
MARK_AFTER_S = 0.01
AHEAD_WHEN_FULL = 0.25
"""The next file is made when so much of the current one is written."""


class _Queued:
    """A frame waiting for its batch."""

    __slots__ = ("bit", "body", "data", "head")

    def __init__(self, head: bytes, data: bytes, body: Body | None, bit: int) -> None:
        self.head = head
        self.data = data
        self.body = body
        self.bit = bit

    @property
    def size(self) -> int:
        return FRAME_SIZE + pad8(len(self.data))


class _Batch:
    """A batch on its way to the disk. bodies: with their offsets in the file."""

    __slots__ = ("bits", "bodies", "file", "length", "offset", "parts")

    def __init__(self, file: WalFile) -> None:
        self.file = file
        self.offset = file.end
        self.parts: list[_Queued] = []
        self.length = 0
        self.bits = 0
        self.bodies: list[Body] = []

    def room(self, file_size: int) -> int:
        return file_size - self.offset - BATCH_SIZE - self.length

    def add(self, item: _Queued) -> None:
        if item.body is not None:
            item.body.place(self.file, self.offset + BATCH_SIZE + self.length + FRAME_SIZE)
            self.bodies.append(item.body)
        self.parts.append(item)
        self.length += item.size
        self.bits |= item.bit

    def encode(
        self, *, sequence: int, previous_file: int, previous_end: int, boot_count: int, reservation: int
    ) -> tuple[bytes, bytes, bytes]:
        """(header, frames, zeros up to the alignment)."""
        pieces: list[bytes] = []
        for item in self.parts:
            pieces += (seal_frame(item.head, sequence), item.data, bytes(-len(item.data) & 7))
        body = b"".join(pieces)
        header = encode_batch_header(
            BatchHeader(
                crc32c_masked(body),
                self.file.id,
                sequence,
                self.offset,
                len(body),
                len(self.parts),
                previous_file,
                previous_end,
                self.bits,
                boot_count,
                reservation,
            )
        )
        return header, body, bytes(align(BATCH_SIZE + len(body)) - BATCH_SIZE - len(body))


class Wal:
    """Implements `storage.wal.log.WalLog`.

    Invariants: (1) at most one commit is under way; (2) file ids rise in the order the files are written; (3) a file is reused only after the
    trims and the control state that made it dead are durable elsewhere; (4) `Append` leaves a last part of the reserve to control frames, and says `short` when it takes of the rest.
    """

    def __init__(self, disk: Disk, directory: str, replayed: Replay, *, file_size: int, limit_bytes: int, reserve_bytes: int) -> None:
        self._disk = disk
        self._directory = directory
        self._file_size = file_size
        self._limit_files = max(2, limit_bytes // file_size)
        self._reserve = min(reserve_bytes, (self._limit_files - 1) * (file_size - DATA_START))
        self._states = replayed.states
        self._files: list[WalFile] = []
        self._current: WalFile | None = None
        self._pool = FilePool(
            disk,
            directory,
            file_size=file_size,
            limit=self._limit_files,
            spare=SPARE_FILES_MAX + self._reserve // (file_size - DATA_START),
            last_id=max((file.id for file in replayed.files), default=0),
            arrived=self._arrived,
        )
        self._boot_count = replayed.boot_count
        self._reservation = replayed.reservation
        self._sequence = replayed.sequence
        self._previous = (replayed.previous_file, replayed.previous_end)
        self._node_nth = 0
        self._queue: list[_Queued] = []
        self._committing = False
        self._broken: ScrubjayError | None = None
        if replayed.unsynced is not None:
            self._broken = Corrupt("the WAL could not be synced and is not written", what="wal", cause=str(replayed.unsynced))
        self._trimmed: dict[PartitionId, None] = {}
        self._cache: OrderedDict[Body, tuple[Record, ...]] = OrderedDict()
        self._cache_bytes = 0
        self._mark_slot = 0
        self._call_later: Callable[[float, Callable[[], object]], object] | None = None
        self._copy_stuck: WalFile | None = None
        self._ahead_failed: WalFile | None = None
        self.short = False
        """See WalLog."""
        self._plan_left = 0
        self._plan_free = 0
        self.findings: tuple[str, ...] = tuple(replayed.findings)
        """What recovery found wrong, as text."""
        self._files = list(replayed.files)
        while self._files and self._files[-1].end == DATA_START and self._files[-1].bodies == 0:
            self._pool.free.insert(0, self._files.pop())

    @classmethod
    def open(
        cls,
        disk: Disk,
        directory: str,
        *,
        file_size: int = 16 << 20,
        limit_bytes: int = 4 << 30,
        reserve_bytes: int = 4 << 20,
        call_later: Callable[[float, Callable[[], object]], object] | None = None,
    ) -> tuple[Wal, Recovered]:
        """Recover `directory` (made if it is absent) and go on behind what was synced, in a fresh file.

        file_size: bytes per file, used for new ones. limit_bytes: above it no data is taken; control frames go beyond it, a file at a time. reserve_bytes: kept below the limit for both.
        call_later: `Tasks.call_later`; with it the mark is written after MARK_AFTER_S of quiet, so that it costs a busy log nothing; without it at once.
        """
        if file_size % ALIGN or file_size < 1 << 14:
            raise Invalid("WAL file size must be a multiple of 512 and at least 16 KiB", file_size=file_size)
        disk.mkdir(directory)
        clean(disk, directory)
        replayed = replay(disk, directory)
        wal = cls(disk, directory, replayed, file_size=file_size, limit_bytes=limit_bytes, reserve_bytes=reserve_bytes)
        wal._call_later = call_later
        wal._plan()
        return wal, replayed.recovered()

    # --- writing -------------------------------------------------------------------------------------------------------------------

    @property
    def committing(self) -> bool:
        return self._committing

    @property
    def queued(self) -> int:
        return len(self._queue)

    def queue(self, frame: Frame) -> None:
        """See WalLog. Raises Invalid for a record that no file can hold, Internal for an append that does not continue the log."""
        if self._broken is not None:
            raise self._broken
        match frame:
            case Append():
                self._queue_append(frame)
            case Boot(count):
                self._boot_count = max(self._boot_count, count)
                self._control_node(Type.BOOT, count)
            case Reserve(reservation):
                self._reservation = max(self._reservation, reservation)
                self._control_node(Type.RESERVE, reservation)
            case Create(partition, member, first):
                self._take_room(FRAME_SIZE, 0)
                state = self._states.setdefault(partition, LogState(partition))
                packed = member.node << 16 | member.incarnation
                state.effect(Type.CREATE, 0, ballot=0, a=first, b=0, bodies=(), member=packed)
                self._push(state, state.header(Type.CREATE, 0, a=first), b"", None)
            case Promise(partition, ballot):
                self._control(partition, Type.PROMISE, ballot=ballot)
            case Resign(partition, ballot):
                self._control(partition, Type.RESIGN, ballot=ballot)
            case Adopt(partition, ballot, cut_at, adopted_last):
                self._check_adopt(frame)
                self._control(partition, Type.ADOPT, ballot=ballot, a=cut_at, b=adopted_last)
            case Install(partition, lsn, ballot):
                self._control(partition, Type.INSTALL, ballot=ballot, a=lsn)
            case Suspect(partition, word):
                self._control(partition, Type.SUSPECT, a=SUSPECTS.index(word))
            case Drop(partition):
                self._take_room(FRAME_SIZE, 0)
                state = self._state(partition)
                self._push(state, state.header(Type.DROP, 0), b"", None)
                state.extents.clear()
                state.staged.clear()
                del self._states[partition]
                self._trimmed.pop(partition, None)

    def _state(self, partition: PartitionId) -> LogState:
        state = self._states.get(partition)
        if state is None:
            raise Missing("no such replica in the WAL", what=partition)
        return state

    def _control_node(self, kind: Type, value: int) -> None:
        self._take_room(FRAME_SIZE, 0)
        self._node_nth += 1
        header = FrameHeader(kind, 0, 0, 0, NODE, self._node_nth, 0, value, 0, 0, 0, 0, 0, 0)
        self._queue.append(_Queued(pack_frame(header, b""), b"", None, 0))

    def _control(self, partition: PartitionId, kind: Type, *, ballot: int = 0, a: int = 0, b: int = 0) -> None:
        state = self._state(partition)
        self._take_room(FRAME_SIZE, 0)
        state.effect(kind, 0, ballot=ballot, a=a, b=b, bodies=())
        self._push(state, state.header(kind, 0, ballot=ballot, a=a, b=b), b"", None)

    def _check_adopt(self, frame: Adopt) -> None:
        state = self._state(frame.partition)
        if not state.first - 1 <= frame.cut_at <= min(state.last, frame.adopted_last):
            raise Internal(
                "adoption cuts outside the log", partition=frame.partition, cut_at=frame.cut_at, first=state.first, last=state.last
            )
        if frame.adopted_last > frame.cut_at and (
            state.staged_ballot != frame.ballot or state.staged.missing(frame.cut_at + 1, frame.adopted_last)
        ):
            raise Internal("adoption of records that were not staged", partition=frame.partition, adopted_last=frame.adopted_last)

    def _queue_append(self, frame: Append) -> None:
        state = self._state(frame.partition)
        records = frame.records
        if not records:
            return
        first = records[0].lsn
        if not frame.staged and first != state.last + 1:
            raise Internal("append does not continue the log", partition=frame.partition, first=first, last=state.last)
        if records[-1].lsn != first + len(records) - 1:
            raise Internal("records of an append are not contiguous", partition=frame.partition, first=first)
        self._append(state, records, frame.ballot, STAGED if frame.staged else 0, dip=True)

    def _append(
        self, state: LogState, records: Sequence[Record], ballot: int, flags: int, *, reserve: int | None = None, dip: bool = False
    ) -> None:
        """reserve: to leave, None for all of it. dip: down to its last part it may be taken. Raises DiskFull, with nothing appended."""
        runs = _split(records, self._body_max())
        keep = self._reserve if reserve is None else reserve
        for _, data in runs:  # all or nothing: a full disk must not leave half an append in the log
            least = min(keep, self._capacity()) // RESERVE_PARTS if dip else None
            short = self._take_room(FRAME_SIZE + pad8(len(data)), keep, least=least)
            self.short = short or (self.short and not dip)
        for chunk, data in runs:
            body = Body(chunk[0].lsn, len(chunk), len(data), chunk)
            state.effect(Type.APPEND, flags, ballot=ballot, a=body.base, b=body.count, bodies=(body,))
            self._push(state, state.header(Type.APPEND, flags, ballot=ballot, a=body.base, b=body.count), data, body)

    def _body_max(self) -> int:
        return min(FRAME_BODY_MAX, self._file_size // 2)

    def _push(self, state: LogState, header: FrameHeader, data: bytes, body: Body | None) -> None:
        self._queue.append(_Queued(pack_frame(header, data), data, body, bit_of(state.raw)))

    # --- room ----------------------------------------------------------------------------------------------------------------------

    def _capacity(self) -> int:
        """Bytes of frames an empty file holds beside the State frames it begins with."""
        return self._file_size - DATA_START - 2 * BATCH_SIZE - 512 - (len(self._states) + 1) * FRAME_SIZE

    def _plan(self) -> None:
        """Start counting room afresh: nothing is queued."""
        current = self._current
        self._plan_left = self._file_size - current.end - BATCH_SIZE if current is not None else 0
        self._plan_free = len(self._pool.free)

    def roomy(self) -> bool:
        """See WalLog."""
        try:
            return self._broken is None and not self._take_room(0, self._reserve, least=0)
        except DiskFull:
            return False

    def _take_room(self, size: int, reserve: int, *, least: int | None = None) -> bool:
        """Count `size` bytes of frames into the files there are; make more so that `reserve` is left. True if that cannot be, but `least` is left.

        least None: the same as reserve. Raises DiskFull, Invalid.
        """
        capacity = self._capacity()
        if size > capacity:
            raise Invalid("frame larger than a WAL file", size=size, file_size=self._file_size)
        left, free = self._plan_left, self._plan_free
        if size <= left:
            left -= size
        else:
            left, free = capacity - size, free - 1
        short = False
        try:
            while free < 0 or left + free * capacity < reserve:
                # Control frames go beyond the limit: a node that cannot say that it started, or what it reserved, could never make room again.
                self._pool.make(len(self._files), beyond=reserve == 0)
                free += 1
        except DiskFull:
            if free < 0 or least is None or left + free * capacity < least:
                raise
            short = True
        self._plan_left, self._plan_free = left, free
        return short

    def _enter_file(self) -> WalFile:
        """Go on in the next free file; the plan has seen to it that there is one, unless the plan was too small."""
        if not self._pool.free:
            self._pool.make(len(self._files), beyond=True)
        file = self._pool.take(self._files[-1].id if self._files else 0)
        self._files.append(file)
        self._current = file
        return file

    def _look_ahead(self) -> None:
        """Have the next file made before this one is full, so that no commit waits for its zeros; and let go of files that are too many."""
        current = self._current
        if current is None or self._broken is not None:
            return
        if current.end - DATA_START >= AHEAD_WHEN_FULL * (self._file_size - DATA_START) and self._ahead_failed is not current:
            self._pool.make_ahead(len(self._files))
        if self._plan_free > 0 and self._pool.shrink():
            self._plan_free -= 1

    def _arrived(self, error: ScrubjayError | None) -> None:
        """A file made ahead came, or did not."""
        if error is None:
            self._plan_free += 1
        elif isinstance(error, Unavailable):  # no room, no handles: whoever needs the file will hear of it
            self._ahead_failed = self._current
        elif self._broken is None:
            self._broken = Corrupt("the WAL's disk failed and is not written any more", what="wal", cause=str(error))

    # --- commit --------------------------------------------------------------------------------------------------------------------

    def commit(self, done: Done) -> bool:
        if self._committing or not self._queue:
            return False
        if self._broken is not None:
            raise self._broken
        dying = self._dying()
        try:
            self._copy_forward()
            if dying:
                self._queue_trims()
            batches = self._pack()
        except ScrubjayError as error:
            self._broken = Corrupt("the WAL could not lay out a batch", what="wal", cause=str(error))
            done(error)
            return True
        self._committing = True
        self._plan()
        self._write(batches, 0, dying, done)
        return True

    def _dying(self) -> list[WalFile]:
        """Oldest files that hold nothing any more and whose control state is durable in a later one."""
        dying: list[WalFile] = []
        for index, file in enumerate(self._files):
            if file is self._current or file.bodies or not any(later.stated for later in self._files[index + 1 :]):
                break
            dying.append(file)
        return dying

    def _queue_trims(self) -> None:
        for partition in self._trimmed:
            state = self._states[partition]
            self._push(state, state.header(Type.TRIM, 0, a=state.first), b"", None)
        self._trimmed.clear()

    def _copy_forward(self) -> None:
        """Copy what still pins the oldest file, if that is little, so that the file can be recycled."""
        if len(self._files) < COPY_WHEN_FILES or self._files[0] is self._copy_stuck:
            return
        oldest = self._files[0]
        if not 0 < oldest.live <= COPY_WHEN_LIVE_BELOW * self._file_size:
            return
        budget = COPY_BYTES_PER_COMMIT
        for state in self._states.values():
            for extent in [one for one in state.extents if one.body.file is oldest]:
                if extent.body.length > budget:
                    return
                budget -= extent.body.length
                try:
                    records = self.read(state.partition, Lsn(extent.first), Lsn(extent.end))
                    self._append(state, records, state.accepted, PLACE, dip=True)  # it frees a whole file for a part of one
                except DiskFull:
                    return
                except Corrupt:
                    self._copy_stuck = oldest  # damaged: stays where it is until it is repaired
                    return

    def _pack(self) -> list[_Batch]:
        """Lay the queue out in batches. A commit that enters a file ends with the State frame of every replica."""
        items, self._queue = self._queue, []
        batches: list[_Batch] = []
        current = self._current
        stated = current is not None
        batch = _Batch(current if current is not None else self._enter_file())
        batches.append(batch)
        at = 0
        while at < len(items) or not stated:
            if at == len(items):
                stated = True
                for state in self._states.values():
                    header = state.header(Type.STATE, 0, a=state.first)
                    items.append(_Queued(pack_frame(header, b""), b"", None, bit_of(state.raw)))
                continue
            item = items[at]
            if item.size > batch.room(self._file_size):
                batch.file.end = align(batch.offset + BATCH_SIZE + batch.length)
                stated = False
                if not batch.parts:
                    batches.pop()
                batch = _Batch(self._enter_file())
                batches.append(batch)
            batch.add(item)
            at += 1
        batch.file.end = align(batch.offset + BATCH_SIZE + batch.length)
        return batches

    def _write(self, batches: list[_Batch], index: int, dying: list[WalFile], done: Done) -> None:
        batch = batches[index]
        self._sequence += 1
        chunks = batch.encode(
            sequence=self._sequence,
            previous_file=self._previous[0],
            previous_end=self._previous[1],
            boot_count=self._boot_count,
            reservation=self._reservation,
        )

        def written(error: ScrubjayError | None) -> None:
            if error is not None:
                self._committing = False
                self._broken = Corrupt("the WAL failed and is not written any more", what="wal", where=batch.file.name, cause=str(error))
                done(error)
                return
            self._previous = (batch.file.id, align(batch.offset + BATCH_SIZE + batch.length))
            for body in batch.bodies:
                self._written(body)
            if index + 1 < len(batches):
                self._write(batches, index + 1, dying, done)
                return
            self._committed(batch, chunks[0], dying)
            done(None)

        def settled(error: ScrubjayError | None) -> None:
            if error is not None:
                written(error)
                return
            batch.file.handle.write_sync(batch.offset, chunks, written)

        self._pool.settle(batch.file, settled)

    def _written(self, body: Body) -> None:
        records, body.records = body.records, None
        if records is not None and body.refs:
            self._remember(body, records)

    def _committed(self, batch: _Batch, header: bytes, dying: list[WalFile]) -> None:
        self._committing = False
        batch.file.stated = True
        if dying:
            self._files = self._files[len(dying) :]
            for file in dying:
                file.stated = False
            self._pool.free += dying
            self._plan_free += len(dying)
        self._look_ahead()
        if self._queue:
            return  # the next batch will say that this one was synced
        if self._call_later is None:
            self._mark(batch.file, header, self._sequence)
        else:
            file, sequence = batch.file, self._sequence
            self._call_later(MARK_AFTER_S, lambda: self._mark(file, header, sequence))

    def _mark(self, file: WalFile, header: bytes, sequence: int) -> None:
        """Say in the mark that the batch was synced, unless a later batch says so. Two slots in turn: a torn mark leaves the one before readable."""
        if self._broken is not None or self._committing or sequence != self._sequence:
            return
        self._mark_slot ^= 1
        if self._call_later is not None:
            file.handle.write_sync(MARK_SLOTS[self._mark_slot], [encode_mark(header)], self._marked)
            return
        try:  # not synced: it may be lost in a crash, it cannot be wrong
            file.handle.write(MARK_SLOTS[self._mark_slot], encode_mark(header))
        except ScrubjayError as error:
            self._marked(error)

    def _marked(self, error: ScrubjayError | None) -> None:
        if error is not None and self._broken is None:
            self._broken = Corrupt("the WAL failed and is not written any more", what="wal", cause=str(error))

    # --- reading -------------------------------------------------------------------------------------------------------------------

    def read(self, partition: PartitionId, first: Lsn, end: Lsn, *, max_bytes: int = 1 << 30) -> list[Record]:
        state = self._state(partition)
        if first >= end:
            return []
        if first < state.first or end > state.last + 1:
            raise Missing("records are not in the WAL", what=partition, lsn=first if first < state.first else state.last + 1)
        found: list[Record] = []
        at: int = first
        size = 0
        while at < end and size < max_bytes:
            extent = state.extents.at(at)
            if extent is None:
                if found:
                    break
                raise Corrupt("record is damaged in the WAL", what="wal", partition=partition, lsn=at)
            stop = min(extent.end, end)
            for record in self._records(state, extent.body, at, stop):
                found.append(record)
                size += len(record.data)
                if size >= max_bytes:
                    break
            at = stop
        return found

    def _records(self, state: LogState, body: Body, first: int, end: int) -> Sequence[Record]:
        """Records [first, end) of a body, from memory or checked from the file. Raises Corrupt (field lsn)."""
        whole = body.records
        if whole is None:
            whole = self._cache.get(body)
            if whole is not None:
                self._cache.move_to_end(body)
            else:
                whole = self._load(state, body, first, end)
                if len(whole) != body.count:
                    return whole
        return whole[first - body.base : end - body.base]

    def _load(self, state: LogState, body: Body, first: int, end: int) -> tuple[Record, ...]:
        file = body.file
        assert file is not None
        data = file.handle.pread(body.offset, body.length)
        try:
            records = tuple(decode_all(data, owner=state.owner))
            intact = len(records) == body.count and all(record.lsn == body.base + at for at, record in enumerate(records))
        except Corrupt:
            intact = False
        if intact:
            self._remember(body, records)
            return records
        some: list[Record] = []
        for lsn, (_, record) in enumerate(salvage(data, first=body.base, count=body.count, owner=state.owner), body.base):
            if first <= lsn < end:
                if record is None:
                    raise Corrupt("record is damaged in the WAL", what="wal", where=file.name, partition=state.partition, lsn=lsn)
                some.append(record)
        if len(some) == body.count:
            raise Corrupt("bytes behind the records of a frame", what="wal", where=file.name, partition=state.partition, lsn=first)
        return tuple(some)

    def _remember(self, body: Body, records: tuple[Record, ...]) -> None:
        self._cache[body] = records
        self._cache_bytes += body.length
        while self._cache_bytes > CACHE_BYTES_MAX and len(self._cache) > 1:
            old, _ = self._cache.popitem(last=False)
            self._cache_bytes -= old.length

    # --- trimming, repair ----------------------------------------------------------------------------------------------------------

    def trim(self, partition: PartitionId, below: Lsn) -> None:
        state = self._state(partition)
        if state.trim(below):
            self._trimmed[partition] = None

    def usage(self) -> WalUsage:
        pinned: dict[PartitionId, int] = {}
        for partition, state in self._states.items():
            pinned[partition] = sum(extent.body.length for extent in state.extents) + sum(extent.body.length for extent in state.staged)
        return WalUsage(len(self._files) * self._file_size, len(self._pool.free) * self._file_size, pinned)

    def damaged(self, partition: PartitionId) -> tuple[tuple[Lsn, Lsn], ...]:
        """Ranges of the log, both ends included, whose records recovery could not read and nobody has repaired yet."""
        state = self._state(partition)
        return state.extents.missing(state.first, state.last)

    def repair(self, partition: PartitionId, records: Sequence[Record]) -> None:
        """See WalLog. Raises Invalid if a record is not this partition's, is outside the log, or contradicts a good record or the order of stamps."""
        if self._broken is not None:
            raise self._broken
        state = self._state(partition)
        for record in records:
            self._check_repair(state, record)
            self._append(state, (record,), state.accepted, PLACE, reserve=0)

    def _check_repair(self, state: LogState, record: Record) -> None:
        decode(record.data, owner=state.owner)
        if not state.first <= record.lsn <= state.last:
            raise Invalid("repair outside the log", partition=state.partition, lsn=record.lsn)
        for lsn in (record.lsn - 1, record.lsn, record.lsn + 1):
            mine = self._readable(state, lsn)
            if mine is None:
                continue
            order = (record.stamp > mine.stamp) - (record.stamp < mine.stamp)
            if order != record.lsn - lsn or (lsn == record.lsn and mine.data != record.data):
                raise Invalid("repair contradicts the log", partition=state.partition, lsn=record.lsn)

    def _readable(self, state: LogState, lsn: int) -> Record | None:
        try:
            return self.read(state.partition, Lsn(lsn), Lsn(lsn + 1))[0]
        except (Missing, Corrupt):
            return None

    def close(self) -> None:
        """Close the files. Nothing may be under way."""
        for file in self._files:
            file.handle.close()
        self._pool.close()
        self._broken = Corrupt("the WAL is closed", what="wal")

    def check_invariants(self) -> None:
        """Invariants 1 to 3 of the class, for the simulator."""
        assert len({file.id for file in (*self._files, *self._pool.free)}) == len(self._files) + len(self._pool.free)
        assert all(one.id < two.id for one, two in zip(self._files, self._files[1:], strict=False))
        assert self._current is None or self._current is self._files[-1]
        for file in self._pool.free:
            assert file.bodies == 0, file.name
        counted: dict[WalFile, set[Body]] = {}
        for state in self._states.values():
            for extent in (*state.extents, *state.staged):
                if extent.body.file is not None:
                    counted.setdefault(extent.body.file, set()).add(extent.body)
        for file in self._files:
            assert file.bodies == len(counted.get(file, ())), (file.name, file.bodies)


def _split(records: Sequence[Record], limit: int) -> list[tuple[tuple[Record, ...], bytes]]:
    """Records in runs of at most `limit` bytes (a single record may be longer), each with its bytes."""
    data = b"".join([one.data for one in records])
    if len(data) <= limit:
        return [(tuple(records), data)]
    runs: list[tuple[tuple[Record, ...], bytes]] = []
    start = size = 0
    for index, record in enumerate(records):
        if size and size + len(record.data) > limit:
            runs.append((tuple(records[start:index]), b"".join([one.data for one in records[start:index]])))
            start, size = index, 0
        size += len(record.data)
    runs.append((tuple(records[start:]), b"".join([one.data for one in records[start:]])))
    return runs


__all__ = ["Wal"]
