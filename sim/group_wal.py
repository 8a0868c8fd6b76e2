"""A write-ahead log reduced to its meaning, for the consensus profile: frames become durable in order, a crash keeps a prefix of what was not synced.
It has room for ever, and is otherwise what `storage.node.turn` needs of a WAL.

It is written from the docstrings of `storage.wal.port`, not from `storage.wal`, and so is a second reading of the frame rules.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from scrubjay.base.errors import Missing, ScrubjayError
from scrubjay.base.ids import Ballot, Lsn, Member, PartitionId, Stamp
from scrubjay.storage.log.record import Record
from scrubjay.storage.wal import port as wal

if TYPE_CHECKING:
    from scrubjay.sim.world import WorldHost

NONE = Ballot(0)


class ReplicaImage:
    """What frames so far say of one replica."""

    def __init__(self) -> None:
        self.member: Member | None = None
        self.promised = NONE
        self.accepted = NONE
        self.resigned = NONE
        self.first = Lsn(1)
        self.last = Lsn(0)
        self.records: dict[int, Record] = {}
        self.staged_ballot = NONE
        self.staged: dict[int, Record] = {}

    def copy(self) -> ReplicaImage:
        other = ReplicaImage()
        other.__dict__.update(self.__dict__)
        other.records = dict(self.records)
        other.staged = dict(self.staged)
        return other

    def apply(self, frame: wal.Frame) -> None:
        if isinstance(frame, wal.Promise):
            assert frame.ballot > self.promised
            self.promised = frame.ballot
        elif isinstance(frame, wal.Resign):
            self.resigned = frame.ballot
        elif isinstance(frame, wal.Append) and frame.staged:
            self._stage(frame)
        elif isinstance(frame, wal.Append):
            assert frame.ballot == self.accepted
            for record in frame.records:
                assert record.lsn == self.last + 1
                self.records[record.lsn] = record
                self.last = record.lsn
        elif isinstance(frame, wal.Adopt):
            self._adopt(frame)
        elif isinstance(frame, wal.Install):
            self.trim(Lsn(frame.lsn + 1))
            self.last = max(self.last, frame.lsn)
        else:
            raise AssertionError(frame)

    def _stage(self, frame: wal.Append) -> None:
        if frame.ballot != self.staged_ballot:
            self.staged_ballot, self.staged = frame.ballot, {}
        for lsn in [lsn for lsn in self.staged if lsn >= frame.records[0].lsn]:
            del self.staged[lsn]
        self.staged.update({record.lsn: record for record in frame.records})

    def _adopt(self, frame: wal.Adopt) -> None:
        assert frame.ballot > self.accepted
        assert frame.cut_at <= self.last
        for lsn in range(frame.cut_at + 1, self.last + 1):
            self.records.pop(lsn, None)
        for lsn in range(frame.cut_at + 1, frame.adopted_last + 1):
            assert self.staged_ballot == frame.ballot
            self.records[lsn] = self.staged[lsn]
        self.accepted, self.last = frame.ballot, frame.adopted_last
        self.staged_ballot, self.staged = NONE, {}

    def trim(self, below: Lsn) -> None:
        for lsn in range(self.first, below):
            self.records.pop(lsn, None)
        self.first = max(self.first, below)


def _apply(images: dict[PartitionId, ReplicaImage], frame: wal.Frame) -> None:
    assert not isinstance(frame, wal.Boot | wal.Reserve)
    if isinstance(frame, wal.Drop):
        images.pop(frame.partition, None)
    elif isinstance(frame, wal.Create):
        image = images[frame.partition] = ReplicaImage()
        image.member = frame.member
    else:
        images.setdefault(frame.partition, ReplicaImage()).apply(frame)


class GroupWal:
    """One host's log. It survives the host's processes; `restart` makes the state of the next one."""

    def __init__(self, host: WorldHost) -> None:
        self._host = host
        self._draw = host.world.stream(f"{host.name}/wal")
        self._begin()

    def _begin(self) -> None:
        self.boot_count = 0
        self.reservation = Stamp(0)
        self.durable: dict[PartitionId, ReplicaImage] = {}
        self.seen: dict[PartitionId, ReplicaImage] = {}
        self.lost: set[PartitionId] = set()
        """Replicas whose log lost synced bytes: they know it, and never vote again."""
        self._old: dict[PartitionId, ReplicaImage] | None = None
        self._waiting: list[wal.Frame] = []
        self._flying: list[wal.Frame] = []
        self.committing = False

    def replica(self, partition: PartitionId) -> ReplicaImage:
        return self.seen.setdefault(partition, ReplicaImage())

    def queue(self, frame: wal.Frame) -> None:
        self._waiting.append(frame)
        if not isinstance(frame, wal.Boot | wal.Reserve):
            _apply(self.seen, frame)

    @property
    def queued(self) -> int:
        return len(self._waiting)

    @property
    def short(self) -> bool:
        return False

    def roomy(self) -> bool:
        return True

    def commit(self, done: Callable[[ScrubjayError | None], None]) -> bool:
        """Sync what is queued as one batch; `done` runs in the process that is alive then. False, and nothing happens, if nothing is queued."""
        assert not self.committing
        if not self._waiting:
            return False
        self.committing = True
        self._flying, self._waiting = self._waiting, []
        life = self._host.life

        def finish() -> None:
            if life.alive:
                self._settle(self._flying)
                self._flying = []
                self.committing = False
                life.run(lambda: done(None))

        self._host.world.after(self._host.disk.sync_time_us(), finish)
        return True

    def _settle(self, frames: list[wal.Frame]) -> None:
        for frame in frames:
            if isinstance(frame, wal.Boot):
                self.boot_count = frame.count
            elif isinstance(frame, wal.Reserve):
                self.reservation = max(self.reservation, frame.reservation)
            else:
                if isinstance(frame, wal.Create | wal.Drop):
                    self.lost.discard(frame.partition)
                _apply(self.durable, frame)

    def restart(self) -> None:
        """After a crash: a prefix of what was under way is kept, the rest is lost."""
        self._settle(self._flying[: self._draw.between(0, len(self._flying))])
        self._flying, self._waiting, self.committing = [], [], False
        self.seen = {partition: image.copy() for partition, image in self.durable.items()}

    def remember(self) -> None:
        """Keep the present state as what a lying disk may fall back to."""
        self._old = {partition: image.copy() for partition, image in self.durable.items()}

    def forget_synced(self) -> bool:
        """The disk lost synced bytes: back to an older state, and it knows (DESIGN: amnesia). False if there is none."""
        if self._old is None:
            return False
        old, self._old = self._old, None
        for partition, image in self.durable.items():
            before = old.get(partition)
            # A copy that was made since has lost its beginning with the rest.
            self.lost.add(partition)
            if before is not None and before.member == image.member:
                self.durable[partition] = before
            else:
                self.durable[partition] = ReplicaImage()
                self.durable[partition].member = image.member
        return True

    def emptied(self, *, boot_count: int) -> None:
        """The disk was replaced by an empty one. boot_count: what the node goes on from, which the catalogue says; it never ran with a higher one."""
        self._begin()
        self.boot_count = boot_count

    def trim(self, partition: PartitionId, below: Lsn) -> None:
        self.durable[partition].trim(below)
        self.seen[partition].trim(below)

    def read(self, partition: PartitionId, first: Lsn, end: Lsn, *, max_bytes: int) -> list[Record]:
        image = self.seen[partition]
        found, size = [], 0
        for lsn in range(first, end):
            record = image.records.get(lsn)
            if record is None:
                raise Missing("not in the log", what="record", lsn=lsn)
            found.append(record)
            size += len(record.data)
            if size >= max_bytes:
                break
        return found
