"""The write-ahead log of one node (docs/formats/wal.md): group commit, reads by extents, trimming, recycling, copying forward. Recovery is `recover.py`.

Guarantees: what `commit` reported durable is found by the next `open`, or its loss is named (`damaged`, `amnesia`). After a failed write or sync nothing is
written any more. Synchronous: writes run off the loop through `File.write_sync`, their completion comes back on it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from scrubjay.base.env import Disk
from scrubjay.base.errors import Corrupt, DiskFull, Internal, Invalid, Missing, ScrubjayError, Unavailable
from scrubjay.base.ids import Lsn, PartitionId
from scrubjay.storage.log.record import Record, decode
from scrubjay.storage.wal.batch import Batch, Queued, split
from scrubjay.storage.wal.disk_runs import DiskRun
from scrubjay.storage.wal.files import SPARE_FILES_MAX, FilePool, clean
from scrubjay.storage.wal.format import (
    ALIGN,
    BATCH_SIZE,
    DATA_START,
    FRAME_SIZE,
    NODE,
    PLACE,
    STAGED,
    TREES,
    VOTES,
    FrameHeader,
    Type,
    bit_of,
    pack_frame,
    pad8,
)
from scrubjay.storage.wal.marks import Marks
from scrubjay.storage.wal.port import (
    Adopt,
    Append,
    Boot,
    Create,
    Drop,
    Frame,
    Install,
    Promise,
    Recovered,
    Reserve,
    Resign,
    SetTree,
    SetVote,
    WalUsage,
)
from scrubjay.storage.wal.reader import Reader, Told
from scrubjay.storage.wal.recover import AMNESIAC, LogReplay, Progress, replay
from scrubjay.storage.wal.state import Body, LogState, WalFile

Done = Callable[[ScrubjayError | None], None]

FRAME_BODY_MAX = 4 << 20
"""Bytes. Longer appends are split into several frames."""
COPY_BYTES_PER_COMMIT = 128 << 10
"""Bytes that may be copied forward with one commit, or twice what it writes, if that is more."""
COPY_WHEN_FILES = 4
COPY_WHEN_LIVE_BELOW = 0.25
"""Part of the oldest file that must be kept: with less, it is copied."""
COPY_WHEN_USED_BELOW = 0.5
"""Part of all files that must be kept: with less, the oldest is copied, whatever it holds."""
RESERVE_PARTS = 4
"""The last of so many parts of the reserve is for control frames alone."""
MARK_AFTER_S = 0.01
AHEAD_WHEN_FULL = 0.25
"""The next file is made when so much of the current one is written."""


class Wal:
    """Implements `storage.wal.port.WalLog`.

    Invariants: (1) at most one commit is under way; (2) file ids rise in the order the files are written; (3) a file is reused only after the
    trims and the control state that made it dead are durable elsewhere; (4) `Append` leaves a last part of the reserve to control frames, and says `short` when it takes of the rest.

    More than 25 methods, more than 15 fields: files, states and queue change together in a commit, and what does not (pool, reader, marks, recovery) is elsewhere.
    """

    def __init__(self, disk: Disk, directory: str, replayed: LogReplay, *, file_size: int, limit_bytes: int, reserve_bytes: int) -> None:
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
        self._queue: list[Queued] = []
        self._committing = False
        self._broken: ScrubjayError | None = None
        if replayed.unsynced is not None:
            self._broken = Corrupt("the WAL could not be synced and is not written", what="wal", cause=str(replayed.unsynced))
        self._trimmed: dict[PartitionId, None] = {}
        self._reader = Reader()
        self._marks = Marks()
        self._call_later: Callable[[float, Callable[[], object]], object] | None = None
        self._ahead_failed: WalFile | None = None
        self.short = False
        """See WalLog."""
        self._plan_left = 0
        self._plan_free = 0
        self.findings: tuple[str, ...] = tuple(replayed.findings)
        """What recovery found wrong, as text."""
        self._stated = False
        """This life has written the State frame of every replica."""
        self._files = list(replayed.files)
        while self._files and self._files[-1].end == DATA_START and not (self._files[-1].bodies or self._files[-1].unfit):
            self._pool.free.insert(0, self._files.pop())
        if replayed.newest is not None:
            file, header, slot, marked, following = replayed.newest
            self._marks.recovered(file, header, slot=slot, named=following, any_=marked)
            self._pool.lead(following)
        if self._files and self._files[-1] is replayed.goes_on and self._files[-1].handle.size() == file_size:
            self._current = self._files[-1]

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
        said: Progress | None = None,
    ) -> tuple[Wal, Recovered]:
        """Recover `directory` (made if it is absent) and go on behind what was synced: in the newest file if nothing was torn in it, else in a fresh one.

        file_size: bytes per file, used for new ones. limit_bytes: above it no data is taken; control frames and what is staged go beyond it, a file at a time. reserve_bytes: kept below the limit for both.
        call_later: `Tasks.call_later`; with it the mark is written after MARK_AFTER_S of quiet, so that it costs a busy log nothing; without it at once.
        said: told how far the replay is, (bytes read, bytes in all), after each file. Raises Unsafe for a log of another version.
        """
        if file_size % ALIGN or file_size < 1 << 14:
            raise Invalid("WAL file size must be a multiple of 512 and at least 16 KiB", file_size=file_size)
        disk.mkdir(directory)
        clean(disk, directory)
        replayed = replay(disk, directory, said=said)
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
            case Create(partition, member, first, vote):
                self._take_room(FRAME_SIZE, 0)
                state = self._states.setdefault(partition, LogState(partition))
                packed = member.node << 16 | member.incarnation
                state.effect(Type.CREATE, 0, ballot=0, a=first, b=VOTES.index(vote), bodies=(), member=packed)
                self._push(state, state.header(Type.CREATE, 0, a=first, b=VOTES.index(vote)), b"", None)
            case Promise(partition, ballot):
                self._control(partition, Type.PROMISE, ballot=ballot)
            case Resign(partition, ballot):
                self._control(partition, Type.RESIGN, ballot=ballot)
            case Adopt(partition, ballot, cut_at, adopted_last):
                self._check_adopt(frame)
                lost = [lsn for lsn in self._state(partition).staged_lost if cut_at < lsn <= adopted_last]
                self._control(partition, Type.ADOPT, ballot=ballot, a=cut_at, b=adopted_last)
                if lost:
                    self._reader.tell(partition, Corrupt("record is damaged in the WAL", what="wal", partition=partition, lsn=min(lost)))
            case Install(partition, lsn, ballot):
                self._control(partition, Type.INSTALL, ballot=ballot, a=lsn)
            case SetTree(partition, word):
                self._control(partition, Type.TREE, a=TREES.index(word))
            case SetVote(partition, word):
                if self._state(partition).vote == AMNESIAC and VOTES.index(word) != AMNESIAC:
                    raise Internal("an amnesiac never votes again under its member id", partition=partition, word=word)
                self._control(partition, Type.VOTE, a=VOTES.index(word))
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
        header = FrameHeader(kind, 0, 0, 0, NODE, self._node_nth, 0, value, 0, 0, 0, 0, 0, 0, 0, 0)
        self._queue.append(Queued(pack_frame(header, b""), b"", None, 0))

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
            state.staged_ballot != frame.ballot or state.unstaged(frame.cut_at + 1, frame.adopted_last)
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
        if frame.staged:  # as control frames: until it is written nobody leads, and then nobody makes room either; it is no more than a leader's log has and ours lacks
            self._append(state, records, frame.ballot, STAGED, reserve=0)
        else:
            self._append(state, records, frame.ballot, 0, dip=True)

    def _append(
        self, state: LogState, records: Sequence[Record], ballot: int, flags: int, *, reserve: int | None = None, dip: bool = False
    ) -> None:
        """reserve: to leave, None for all of it. dip: down to its last part it may be taken. Raises DiskFull, with nothing appended."""
        runs = split(records, self._body_max())
        keep = self._reserve if reserve is None else reserve
        for _, data in runs:  # all or nothing: a full disk must not leave half an append in the log
            least = min(keep, self._capacity()) // RESERVE_PARTS if dip else None
            short = self._take_room(FRAME_SIZE + pad8(len(data)), keep, least=least)
            self.short = short or (self.short and not dip)
        for chunk, data in runs:
            body = Body(state, chunk[0].lsn, len(chunk), len(data), chunk)
            state.effect(Type.APPEND, flags, ballot=ballot, a=body.base, b=body.count, bodies=(body,))
            self._push(state, state.header(Type.APPEND, flags, ballot=ballot, a=body.base, b=body.count), data, body)

    def _body_max(self) -> int:
        return min(FRAME_BODY_MAX, self._file_size // 2)

    def _push(self, state: LogState, header: FrameHeader, data: bytes, body: Body | None) -> None:
        self._queue.append(Queued(pack_frame(header, data), data, body, bit_of(state.raw)))

    # --- room ----------------------------------------------------------------------------------------------------------------------

    def _capacity(self) -> int:
        """Bytes of frames an empty file holds beside the State frames it begins with."""
        return self._file_size - DATA_START - 2 * BATCH_SIZE - 512 - (len(self._states) + 1) * FRAME_SIZE

    def _plan(self) -> None:
        """Start counting room afresh: nothing is queued."""
        current = self._current
        states = 0 if self._stated else len(self._states) * FRAME_SIZE
        self._plan_left = max(0, self._file_size - current.end - BATCH_SIZE - states) if current is not None else 0
        self._plan_free = len(self._pool.free)

    def roomy(self) -> bool:
        """See WalLog."""
        try:
            return self._broken is None and not self._take_room(0, self._reserve, least=0)
        except DiskFull:
            return False

    def ample(self) -> bool:
        """See WalLog."""
        return 4 * len(self._files) < self._limit_files

    def _take_room(self, size: int, reserve: int, *, least: int | None = None) -> bool:
        """Count `size` bytes of frames into the files there are; make more so that `reserve` is left. True if that cannot be within the limit, but `least` is left.
        A file that control frames had made beyond the limit is no room for data: else they would need the next one, and hour by hour without the store the log would grow.

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
        if least is not None and not short:
            within = self._pool.within(len(self._files) + len(self._pool.free) - free)
            short = left + min(free, within) * capacity < reserve
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
        if current.end - DATA_START >= AHEAD_WHEN_FULL * (self._file_size - DATA_START):
            if self._ahead_failed is not current:
                self._pool.make_ahead(len(self._files))
            self._pool.settle_ahead(current.id)
        if self._plan_free > 0 and self._pool.shrink(current.id):
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
        """Copy some of what still pins the oldest file, if little does or if the files are mostly empty, so that it can be recycled.

        The log stays within about twice what it must keep: a byte written makes at most about one byte copied.
        """
        files = self._files
        if len(files) < COPY_WHEN_FILES or files[0] is self._current or not files[0].bodies:
            return
        live, size = sum([file.live for file in files]), len(files) * self._file_size
        if files[0].live > COPY_WHEN_LIVE_BELOW * self._file_size and live > COPY_WHEN_USED_BELOW * size:
            return
        budget = max(COPY_BYTES_PER_COMMIT, 2 * sum([item.size for item in self._queue]))
        if not self._stated:
            budget = self._file_size  # the first commit of a life: many short lives must not add up
        try:
            for state, staged, first, end in _pinned_by(files[0], budget):
                at, extents = first, state.staged if staged else state.extents
                while at < end and budget > 0:
                    records = self._reader.shown(state, extents, at, end, max_bytes=min(budget, self._body_max()))
                    budget -= sum([len(one.data) for one in records])
                    at = records[-1].lsn + 1
                    # It frees a whole file for a part of one, so it may dip into the reserve.
                    ballot = state.staged_ballot if staged else state.accepted
                    self._append(state, records, ballot, PLACE | STAGED if staged else PLACE, dip=True)
        except (DiskFull, Corrupt, Unavailable):
            return  # no room; or damage, which the reader has told and taken out of the log; or the machine refused: the next commit goes on

    def _pack(self) -> list[Batch]:
        """Lay the queue out in batches. A commit that enters a file ends with the State frame of every replica."""
        items, self._queue = self._queue, []
        batches: list[Batch] = []
        current = self._current
        stated = current is not None and self._stated
        self._stated = True
        batch = Batch(current if current is not None else self._enter_file())
        batches.append(batch)
        at = 0
        while at < len(items) or not stated:
            if at == len(items):
                stated = True
                for state in self._states.values():
                    header = state.header(Type.STATE, 0, a=state.first)
                    items.append(Queued(pack_frame(header, b""), b"", None, bit_of(state.raw)))
                continue
            item = items[at]
            if item.size > batch.room(self._file_size):
                batch.file.end = batch.end
                stated = False
                if not batch.parts:
                    batches.pop()
                batch = Batch(self._enter_file())
                batches.append(batch)
            batch.add(item)
            at += 1
        batch.file.end = batch.end
        return batches

    def _write(self, batches: list[Batch], index: int, dying: list[WalFile], done: Done) -> None:
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
            self._previous = (batch.file.id, batch.end)
            self._marks.synced(batch.file, chunks[0])
            for body in batch.bodies:
                self._written(body)
            if index + 1 < len(batches):
                self._write(batches, index + 1, dying, done)
                return
            self._committed(batch, dying)
            done(None)

        def named(error: ScrubjayError | None) -> None:
            if error is not None:
                written(error)
                return
            batch.file.handle.write_sync(batch.offset, chunks, written)

        def settled(error: ScrubjayError | None) -> None:
            if error is not None:
                written(error)
                return
            self._marks.before(batch.file, self._pool.following(batch.file.id), named)

        self._pool.settle(batch.file, settled)

    def _written(self, body: Body) -> None:
        records, body.records = body.records, None
        if records is not None and body.refs:
            self._reader.remember(body, records)

    def _committed(self, batch: Batch, dying: list[WalFile]) -> None:
        self._committing = False
        batch.file.stated = True
        if dying:
            self._files = self._files[len(dying) :]
            for file in dying:
                file.stated = False
            for file in dying:
                if file.unfit:
                    self._pool.remove(file)
                else:
                    self._pool.free.append(file)
                    self._plan_free += 1
        self._look_ahead()
        if self._queue:
            return  # the next batch will say that this one was synced
        if self._call_later is None:
            self._mark(batch.file, self._sequence)
        else:
            file, sequence = batch.file, self._sequence
            self._call_later(MARK_AFTER_S, lambda: self._mark(file, sequence))

    def _mark(self, file: WalFile, sequence: int) -> None:
        """Say in the mark that the batch was synced, unless a later batch says so."""
        if self._broken is not None or self._committing or sequence != self._sequence:
            return
        self._marks.quiet(self._pool.following(file.id), self._marked, sync=self._call_later is not None)

    def _marked(self, error: ScrubjayError | None) -> None:
        if error is not None and self._broken is None:
            self._broken = Corrupt("the WAL failed and is not written any more", what="wal", cause=str(error))

    # --- reading -------------------------------------------------------------------------------------------------------------------

    def read(self, partition: PartitionId, first: Lsn, end: Lsn, *, max_bytes: int = 1 << 30, cached: bool = True) -> list[Record]:
        return self._reader.read(self._state(partition), first, end, max_bytes=max_bytes, cached=cached)

    def runs(self, partition: PartitionId, first: Lsn, end: Lsn) -> list[DiskRun] | None:
        """See WalLog."""
        return self._reader.runs(self._state(partition), first, end)

    def reread(self, partition: PartitionId, first: Lsn, end: Lsn) -> None:
        """See WalLog."""
        state = self._state(partition)
        at, stop = max(first, state.first), min(end, state.last + 1)
        while at < stop:
            at = self._reader.read(state, Lsn(at), Lsn(stop), max_bytes=FRAME_BODY_MAX, cached=False)[-1].lsn + 1

    def on_damage(self, told: Told) -> None:
        self._reader.told = told

    # --- trimming, repair ----------------------------------------------------------------------------------------------------------

    def trim(self, partition: PartitionId, below: Lsn) -> None:
        state = self._state(partition)
        if state.trim(below):
            self._trimmed[partition] = None

    @property
    def used(self) -> int:
        """Bytes on disk in use."""
        return len(self._files) * self._file_size

    def usage(self) -> WalUsage:
        pinned: dict[PartitionId, int] = {}
        for partition, state in self._states.items():
            pinned[partition] = sum(extent.body.length for extent in state.extents) + sum(extent.body.length for extent in state.staged)
        return WalUsage(self.used, len(self._pool.free) * self._file_size, pinned)

    def damaged(self, partition: PartitionId) -> tuple[tuple[Lsn, Lsn], ...]:
        """See WalLog."""
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
        """Invariants 1 to 3 of the class, for the simulator; and the index shows no record that is not in the log."""
        assert len({file.id for file in (*self._files, *self._pool.free)}) == len(self._files) + len(self._pool.free)
        assert all(one.id < two.id for one, two in zip(self._files, self._files[1:], strict=False))
        assert self._current is None or self._current is self._files[-1]
        for file in self._pool.free:
            assert not file.bodies, file.name
        counted: dict[WalFile, set[Body]] = {}
        for state in self._states.values():
            for extent in state.extents:
                assert state.first <= extent.first < extent.end <= state.last + 1, (state.partition, extent.first, extent.end)
            for extent in (*state.extents, *state.staged):
                if extent.body.file is not None:
                    counted.setdefault(extent.body.file, set()).add(extent.body)
        for file in self._files:
            assert set(file.bodies) == counted.get(file, set()), (file.name, len(file.bodies))
            assert file.live == sum(body.length for body in file.bodies), file.name


def _pinned_by(file: WalFile, budget: int) -> list[tuple[LogState, bool, int, int]]:
    """(replica, staged, first, end) of runs of records that `file` holds, of about `budget` bytes in all."""
    runs: list[tuple[LogState, bool, int, int]] = []
    size = 0
    for body in file.bodies:
        if size >= budget:
            break
        size += body.length
        state = body.state
        for staged, extents in ((False, state.extents), (True, state.staged)):
            for extent in extents.of(body):
                if runs and runs[-1][:2] == (state, staged) and runs[-1][3] == extent.first:
                    runs[-1] = (state, staged, runs[-1][2], extent.end)
                else:
                    runs.append((state, staged, extent.first, extent.end))
    return runs


__all__ = ["Wal"]
