"""How a replica follows what is chosen: in order, in slices, cutting its log into segments at every SEAL. What the records do to a tree is `storage.replica.apply`.

What is chosen arrives with the turn (`take`), or is read back from the log when the replica was held up. It stops where the replica cannot go on: at a record
that this version does not know, at damage of the log (peers are asked), or while whatever takes the records has no room.

Invariants (check_invariants): 1 applied <= chosen. 2 no content follows the last SEAL of a log that has ended. 3 what is held in memory continues what is applied.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

from scrubjay.base.errors import Corrupt, Missing
from scrubjay.base.hlc import stamp_micros
from scrubjay.base.ids import Lsn, Member, Stamp
from scrubjay.storage.archive_port import PartitionFacts
from scrubjay.storage.log import record as records
from scrubjay.storage.log.configuration import Configuration, decode_configuration
from scrubjay.storage.log.digest import Total
from scrubjay.storage.log.record import Archived, Effect, Record, RecordKind, Seal
from scrubjay.storage.log.split import Birth, Split, birth_in, decode_split
from scrubjay.storage.log.stated import SILENT, stated_in
from scrubjay.storage.replica.attest import Attest
from scrubjay.storage.replica.host import Hosted, ReplicaHost
from scrubjay.storage.replica.repair import Repair
from scrubjay.storage.replica.segments import OwnSegment, RawHash, SegmentFacts, SegmentTracker


class Followed(Hosted, Protocol):
    """What following asks of its replica. follows: it goes on."""

    node: ReplicaHost
    member: Member
    described: PartitionFacts
    attest: Attest
    repair: Repair

    @property
    def follows(self) -> bool: ...
    @property
    def state(self) -> str: ...

    def left_behind(self) -> None:
        """No member's log holds what comes next."""
        ...

    def stop_at(self, record: Record, why: str = "") -> None:
        """This version does not know the record. why: what is not understood in it."""
        ...

    def cannot_seal(self, why: str) -> None:
        """A segment that it must state cannot be: its own log cannot be read back and no peer is asked, or does not fit what the replica knows of it."""
        ...

    def may_configure(self, record: Record) -> bool:
        """It can keep who is a member from this CONFIG on. False: not now, or it stops."""
        ...

    def configured_by(self, configuration: Configuration, record: Record) -> None:
        """A CONFIG was applied."""
        ...

    def sealed(self, record: Record, own: OwnSegment) -> None:
        """A SEAL was applied."""
        ...

    def trim(self) -> None:
        """Something was archived: the log may be let go of."""
        ...


class Follow:
    """lsn, stamp: of the last record applied. chosen: what may be. segments: what the log was cut into; replaced with the tree. stated: what the log said last of its table. split: what
    the partition was split into, None: it was not, or this copy began behind that. birth: how the log says that the partition began, None: a tree says it, or this log begins behind that."""

    _digests = False

    def __init__(self, replica: Followed) -> None:
        self._replica = replica
        self.lsn = Lsn(0)
        self.stamp = Stamp(0)
        self.chosen = Lsn(0)
        self.segments = self._tracker(SegmentFacts())
        self.stated = SILENT
        self.split: Split | None = None
        self.birth: Birth | None = None
        self._hashed = RawHash()
        self._fresh: deque[Record] = deque()
        self._fresh_bytes = 0

    def restart(self, applied: Lsn, stamp: Stamp, facts: SegmentFacts) -> None:
        """Go on from `applied`, with what was known of segments there."""
        self.segments = self._tracker(facts)
        self._hashed = RawHash()
        if facts.content:
            self.segments.opened_at_us = self._since(facts.first_stamp)
        self.lsn, self.stamp = applied, stamp
        self.chosen = max(self.chosen, applied)
        self.drop()
        self._replica.node.stirred(self._replica.partition)

    def _tracker(self, facts: SegmentFacts) -> SegmentTracker:
        return SegmentTracker(place=self._replica.described.place(), me=self._replica.member.node, facts=facts, digests=self._digests)

    def drop(self) -> None:
        """Forget what was handed over and not applied: it is read back from the log when its turn comes."""
        self._fresh.clear()
        self._fresh_bytes = 0

    # ------------------------------------------------------------------ in order

    def take(self, chosen: tuple[Record, ...]) -> None:
        """Records chosen and in this member's own synced log, gap-free."""
        self.chosen = chosen[-1].lsn
        if not self._replica.follows:
            return
        fresh = self._fresh
        reached = fresh[-1].lsn if fresh else self.lsn
        if chosen[0].lsn == reached + 1 and self._fresh_bytes <= self._replica.node.options.apply_slice_bytes:
            fresh.extend(chosen)
            self._fresh_bytes += sum(len(record.data) for record in chosen)
        # else: applying waits for the tree; what is chosen meanwhile is read back from the log when its turn comes.
        self.go_on()

    def go_on(self) -> None:
        """Apply what is chosen, in order, as far as it goes now."""
        replica = self._replica
        if not replica.follows:
            self.drop()
            return
        if self._fresh and self._fresh[0].lsn != self.lsn + 1:
            self.drop()
        if not self._fresh and self.lsn < self.chosen and not self._read_back():
            return
        now_us = replica.node.boot_us()
        while self._fresh and not self._must_wait(self._fresh[0]):
            if not self._apply(self._fresh[0], now_us):
                break
            self._fresh_bytes -= len(self._fresh.popleft().data)
        group = replica.group
        assert group is not None
        if self.lsn > group.applied:
            group.applied_to(self.lsn)
        self._reached()
        if replica.follows and not self._fresh and self.lsn < self.chosen and self._has_room():
            replica.node.soon(replica)
        replica.node.arm(replica)

    def _read_back(self) -> bool:
        """The next slice, from the log. False: it cannot be read, and what can be done about that is under way."""
        replica, node = self._replica, self._replica.node
        first, end = Lsn(self.lsn + 1), Lsn(self.chosen + 1)
        try:
            self._fresh.extend(node.wal.read(replica.partition, first, end, max_bytes=node.options.apply_slice_bytes))
        except Missing:
            replica.left_behind()
            return False
        except Corrupt as error:
            replica.repair.ask(first, end, error)
            return False
        self._fresh_bytes = sum(len(record.data) for record in self._fresh)
        return True

    def _apply(self, record: Record, now_us: int) -> bool:
        """Apply one record. False: not now (the replica waits, is suspect or stops)."""
        kind = record.kind
        assert record.lsn == self.lsn + 1, (record.lsn, self.lsn)
        if kind is RecordKind.UNKNOWN:
            self._replica.stop_at(record)
            return False
        effects: list[Effect] = []
        seal = archived = None
        stated = split = birth = None
        configuration: Configuration | None = None
        try:
            self._check_end(record)
            if records.carries_effects(kind):
                effects = records.effects(record)
                self._check_locks(record, effects)
            elif kind is RecordKind.SCHEMA:
                stated = stated_in(record)
                birth = None if self._digests else birth_in(record)
            elif kind is RecordKind.PREPARE or kind is RecordKind.ABORT:
                self._transact(record)
            elif kind is RecordKind.SEAL:
                seal = records.decode_seal(record)
                self._check_locks(record, effects)
                self._check_last(record, seal)
            elif kind is RecordKind.SPLIT:
                split = decode_split(record)
                self._check_split(record, split)
            elif kind is RecordKind.ARCHIVED:
                archived = records.decode_archived(record)
            elif kind is RecordKind.CONFIG:
                configuration = decode_configuration(record.payload)
        except Corrupt as error:
            # Its checksum is right and a quorum chose it: it is what its leader wrote, and that was a later version (or one gone wrong).
            self._replica.stop_at(record, str(error))
            return False
        if configuration is not None and not self._replica.may_configure(record):
            return False
        if effects and not self._effects(record, effects, now_us):
            return False
        if seal is not None:
            return self._seal(record, seal, now_us)
        since_us = self._since(record.stamp)
        self._counted(record, since_us, idle=not kind.is_content)
        if archived is not None:
            self._archived(archived)
        if stated is not None:
            self.stated = stated
        if split is not None:
            self.split = split
        if birth is not None:
            self.birth, self.segments.born = birth, birth.born
        if configuration is not None:
            self._replica.configured_by(configuration, record)
        return True

    def _check_end(self, record: Record) -> None:
        """What SPLIT divided belongs to two others from there on. Raises Corrupt: a record that no leader writes."""
        if self.split is not None and record.kind.is_content:
            raise Corrupt("content behind a SPLIT", what="record", lsn=record.lsn)

    def _check_last(self, record: Record, seal: Seal) -> None:
        """Raises Corrupt unless a SPLIT and a SEAL of that reason end the log together. A log alone may begin between the two."""
        if (self.split is not None) != (seal.reason == Seal.SPLIT) and (self._digests or seal.reason != Seal.SPLIT):
            raise Corrupt("a SEAL and a SPLIT that do not fit each other", what="record", lsn=record.lsn)

    def _counted(self, record: Record, since_us: int, *, idle: bool) -> None:
        """The record is applied and belongs to the open segment. idle: bookkeeping alone. since_us: since when, boot time."""
        self.segments.applied(record, since_us)
        replica = self._replica
        self._hashed.grown(replica.node.wal, replica.partition, first=self.segments.facts.first, last=record.lsn, size=len(record.data))
        self.lsn, self.stamp = record.lsn, record.stamp

    def _since(self, stamp: int) -> int:
        """Boot time at which something was stamped, as far as the clocks tell, at most a seal's age ago.

        What a restart applies again is as old as it is: lives shorter than a checkpoint's or a seal's age must come to both all the same.
        """
        node = self._replica.node
        age_us = node.env.clock.wall_us() - stamp_micros(Stamp(stamp))
        return node.boot_us() - max(0, min(age_us, node.options.seal_age_us))

    # ------------------------------------------------------------------ segments

    def _seal(self, record: Record, seal: Seal, now_us: int) -> bool:
        replica, first = self._replica, Lsn(seal.first)
        if not self._digests and first < self.segments.facts.first:
            self._counted(record, now_us, idle=False)
            self.segments.passed(record, seal)
            return True
        if first != self.segments.facts.first:
            replica.cannot_seal(f"the SEAL at {record.lsn} does not continue its segments: from {first}, not {self.segments.facts.first}")
            return False
        try:
            raw = self._hashed.sha256(replica.node.wal, replica.partition, first, record.lsn)
        except (Corrupt, Missing) as error:
            if record.lsn > self.segments.facts.archived and isinstance(error, Corrupt):
                replica.repair.ask(first, Lsn(record.lsn + 1), error)
            else:
                replica.cannot_seal(f"cannot read back its own log: {error}")
            return False
        self._counted(record, now_us, idle=False)
        own = self.segments.sealed(record, seal, raw_sha256=raw, total=self._total())
        self._cut(record, seal, now_us)
        replica.sealed(record, own)
        replica.attest.state(own)
        return True

    def _archived(self, archived: Archived) -> None:
        replica = self._replica
        self.segments.on_archived(archived)
        replica.attest.on_archived(archived)
        replica.trim()
        replica.node.archive_changed(replica.partition)

    def check_invariants(self) -> None:
        """Programmer errors only."""
        self.segments.check_invariants()
        assert self.lsn <= self.chosen, (self.lsn, self.chosen)
        assert not self.segments.facts.ended or not self.segments.facts.content, "content behind the last seal"
        assert bool(self._fresh) == (self._fresh_bytes > 0), (len(self._fresh), self._fresh_bytes)

    # ------------------------------------------------------------------ what takes the records: nothing here, see storage.replica.apply

    def _must_wait(self, record: Record) -> bool:
        """There is no room for this record now."""
        return False

    def _has_room(self) -> bool:
        """Whether another slice may be read."""
        return True

    def _check_locks(self, record: Record, effects: list[Effect]) -> None:
        """Raises Corrupt: a record that no leader writes while these transactions are pending."""

    def _check_split(self, record: Record, split: Split) -> None:
        """Raises Corrupt: a SPLIT that no leader writes."""

    def _transact(self, record: Record) -> None:
        """Take a PREPARE or an ABORT. Raises Corrupt."""

    def _effects(self, record: Record, effects: list[Effect], now_us: int) -> bool:
        """Take a record's effects. False: not now."""
        return True

    def _total(self) -> Total | None:
        """The state digest as of `lsn`; None: there is no state here."""
        return None

    def _cut(self, record: Record, seal: Seal, now_us: int) -> None:
        """The segment is cut at this SEAL."""

    def _reached(self) -> None:
        """All that could be applied just now is, and the group knows."""
        self._replica.trim()
