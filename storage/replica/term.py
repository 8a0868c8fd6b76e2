"""What only a leader has: made when a term of leadership begins, under one ballot, and dropped when it ends. Nothing else asks whether this member leads.

Commands are evaluated on the speculative state and their resolved effects proposed; segments are sealed; ARCHIVED is logged; what is closed is published;
before a planned stop the lead is handed over. What waited when the term ended is told to retry, and whether its record was proposed.

Invariants (check_invariants): 1 a SEAL that is waited for is not applied. 2 nor is what an answer waits for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from scrubjay.base.errors import Corrupt, DiskFull, Invalid, NotLeader, ScrubjayError, Unavailable
from scrubjay.base.hlc import last_stamp_at, stamp_micros
from scrubjay.base.ids import Lsn, Stamp
from scrubjay.storage.catalogue import LEDGER_TABLE, METADATA_TABLE, PartitionInfo, TableMeta
from scrubjay.storage.commands.evaluate import evaluate
from scrubjay.storage.commands.values import (
    Decision,
    ExpireCommand,
    FeedCommand,
    FinishCommand,
    ItemCommand,
    LookCommand,
    Outcome,
    PrepareCommand,
    SwapCommand,
    WriteAnswer,
    WriteCommand,
)
from scrubjay.storage.consensus.group import Group
from scrubjay.storage.consensus.membership import Change
from scrubjay.storage.dropped import dropped
from scrubjay.storage.indexes import feed
from scrubjay.storage.indexes.kept_rows import Fed
from scrubjay.storage.items.index_keys import IndexKeys
from scrubjay.storage.items.local_index import LocalRows
from scrubjay.storage.log import record as records
from scrubjay.storage.log.configuration import encode_configuration
from scrubjay.storage.log.digest import Total
from scrubjay.storage.log.record import Archived, Effect, Op, Record, RecordKind, Seal
from scrubjay.storage.log.split import Split, born_facts, check_split, decode_born, encode_split, split_away
from scrubjay.storage.log.stated import MEMBER, Stated, definition_of
from scrubjay.storage.log.transaction import PendingTransactions
from scrubjay.storage.replica.attest import Attest
from scrubjay.storage.replica.checkpoints import Checkpoints
from scrubjay.storage.replica.collection_limit import CollectionLimit
from scrubjay.storage.replica.host import Hosted, ReplicaHost
from scrubjay.storage.replica.overlay import Overlay
from scrubjay.storage.replica.pending import Pending
from scrubjay.storage.replica.segments import OwnSegment, SegmentTracker, is_tiny, needs_seal, seal_age_us
from scrubjay.storage.replica.status import Status
from scrubjay.storage.replica.transacting import DRAIN_LOOK_US, Transacting, locked

BEGIN_RETRY_US = 20_000
SEALS_WAITING_MAX = 1_000


class SealWaiter(NamedTuple):
    lsn: Lsn
    done: Callable[[Record | ScrubjayError], None]


class Led(Hosted, Protocol):
    """What a term asks of its replica. term: the one that is on now."""

    node: ReplicaHost
    table: TableMeta
    info: PartitionInfo
    owner: bytes
    lo: bytes
    hi: bytes | None
    status: Status
    overlay: Overlay
    checkpoints: Checkpoints
    attest: Attest
    index_keys: IndexKeys | None
    local: LocalRows | None

    @property
    def term(self) -> object: ...
    @property
    def applied(self) -> Lsn: ...
    @property
    def segments(self) -> SegmentTracker: ...
    @property
    def stated(self) -> Stated: ...
    @property
    def split(self) -> Split | None: ...
    @property
    def transactions(self) -> PendingTransactions: ...
    @property
    def newest_delete(self) -> Lsn: ...
    @property
    def born(self) -> bytes: ...

    def find(self, key: bytes) -> bytes | None:
        """The applied version of a key. Raises Corrupt, Unavailable."""
        ...

    def written_by(self, key: bytes) -> Lsn | None:
        """LSN of the record that wrote the applied version of a key. Raises Corrupt."""
        ...

    def total(self) -> Total: ...

    def serves(self, *, consistent: bool) -> ScrubjayError | None:
        """None if an answer may leave now, else why not."""
        ...

    def found_rot(self, error: Corrupt, *, found_by: str) -> None: ...


class Term:
    """More than 25 methods: all that a leader does. begun: a record of this ballot was proposed. seal_at: LSN of a proposed SEAL that is not applied yet, None otherwise. ended: what
    ends the log is proposed; _split: that is this SPLIT. stated: what the log says of its table behind all that is proposed, None: not
    looked at yet; _defined: the definition that was compared with it. _trickle: segments sealed by their age in a row that were tiny. _archived_said: per segment's last LSN, (first LSN, raw SHA-256, attestations already logged).

    More than 25 methods: all that a leader does under one ballot, and drops with it."""

    def __init__(self, replica: Led, group: Group) -> None:
        self._replica = replica
        self._group = group
        self.ballot = group.ballot
        self.pending = Pending()
        self.stated: Stated | None = None
        self._defined: TableMeta | None = None
        self.transacting = Transacting(
            replica,
            group,
            self.pending,
            no_room=self._no_room,
            when_applied=self._strong_read,
            keeps_old=lambda: self.keeps_old,
        )
        self.begun = False
        self.ended = False
        self._split: Split | None = None
        self.seal_at: Lsn | None = None
        self._seal_waiters: list[SealWaiter] = []
        self._trickle = 0
        self._archived_said: dict[int, tuple[int, bytes, int]] = {}

    # ------------------------------------------------------------------ life

    def begin(self) -> None:
        """Propose the first record of this ballot: SCHEMA in an empty log, else NOOP. Tried again until the lease allows it."""
        if self.begun:
            return
        born = decode_born(self._replica.born)
        if self._group.last == (0 if born is None else born.lsn):
            if born is not None and not self._replica.node.heard(last_stamp_at(stamp_micros(born.stamp))):
                return  # what its parent's end closed stays closed
            self.begun = self._propose(RecordKind.SCHEMA, schema_payload(self._replica, begins=True)) is not None
        else:
            self.begun = self._propose(RecordKind.NOOP, b"") is not None

    def hand_over(self, leaving: frozenset[int]) -> bool:
        """Give the lead to whoever can take it soonest, besides nodes that leave too, or keep the log alone. False: nobody can."""
        now = self._replica.node.now()
        heir = self._group.successor(now, besides=leaving.union(self._replica.info.logs)) if self.begun else None
        if heir is None:
            return False
        self._group.transfer(heir, now)
        return True

    def end(self) -> None:
        """The term is over: whoever waits for what it proposed is told."""
        self.pending.end()
        waiters, self._seal_waiters = self._seal_waiters, []
        for waiter in waiters:
            waiter.done(NotLeader("leadership ended before the seal was applied"))

    def serving(self) -> bool:
        """It holds the lease, and a record of its own ballot is applied."""
        return self._group.serving(self._replica.node.now())

    # ------------------------------------------------------------------ writing

    def write(self, command: WriteCommand, done: Callable[[WriteAnswer | ScrubjayError], None]) -> None:
        """Evaluate on the speculative state, propose the resolved effect, answer when it is applied. The replica was just seen to serve."""
        replica = self._replica
        if self._ending():
            done(self._ended())
            return
        if (type(command) is FeedCommand) != bool(replica.table.index_of):
            done(Invalid("an index's table is fed, and nothing else is", table=replica.table.name))
            return
        self.define()
        if isinstance(command, PrepareCommand | FinishCommand | LookCommand):
            self.transacting.ask(command, done)
            return
        if self.transacting.locks(command.key):
            done(locked(replica.partition))
            return
        limit: CollectionLimit | None = None
        try:
            if replica.local is not None:
                limit = CollectionLimit(replica.local, command.key, limit=replica.node.options.item_collection_bytes_max, find=replica.find)
            old = None if command.blind and not self.keeps_old and (limit is None or not limit.near) else self._present(command.key)
            lsn = (
                self.pending.written_by(command.key) or self._replica.written_by(command.key)
                if isinstance(command, SwapCommand) and command.lsn is not None
                else None
            )
        except Corrupt as rot:
            replica.found_rot(rot, found_by="read")
            done(NotLeader("rot found while evaluating; this replica no longer leads", partition=replica.partition))
            return
        except Unavailable as lack:
            done(lack)
            return
        if isinstance(command, FeedCommand):
            self._feed(command, old, done)
            return
        now_s = replica.node.env.clock.wall_us() // 1_000_000 if isinstance(command, ExpireCommand) else None
        outcome = evaluate(command, old, lsn=lsn, now_s=now_s, indexes=replica.index_keys)
        if limit is not None:
            outcome = limit.passed(command.key, old, outcome)
        decision = outcome.decision
        if decision is Decision.PUT or decision is Decision.DELETE:
            self._propose_effect(command, outcome, done)
        else:
            self._answer_unproposed(outcome, done)

    def _feed(self, command: FeedCommand, old: bytes | None, done: Callable[[WriteAnswer | ScrubjayError], None]) -> None:
        """What an index's table is fed: one record of how far that is and all rows that follow from it. old: how far it was."""
        try:
            taken = feed.take(command, None if old is None else Fed.decode(old))
        except Corrupt as error:
            done(error)
            return
        if not isinstance(taken, feed.FeedStep):
            decision = Decision.UNCHANGED if taken is None else Decision.CONDITION_FAILED
            self._answer_unproposed(Outcome(decision, old, old), done)
            return
        fed = taken.fed.encode()
        rows = [Effect(Op.DELETE, key, b"") if value is None else Effect(Op.PUT, key, value) for key, value in taken.rows.items()]
        effects = (Effect(Op.PUT, command.key, fed), *rows)
        self._propose_effects(effects, Outcome(Decision.PUT, old, fed), {command.key: fed}, done)

    @property
    def keeps_old(self) -> bool:
        """What is proposed now carries the old item."""
        return self.stated is not None and self.stated.old_items

    def define(self) -> None:
        """Have the log say what the table's definition says, if that is newer than what it said last. Once all that was there before this term is applied: until then nobody
        knows what the log says. What cannot be proposed now is when something is applied or written next."""
        replica = self._replica
        table = replica.table
        if table is self._defined or not self.serving() or self._ending():
            return
        stated = self.stated if self.stated is not None else replica.stated
        if not stated.follows(table):
            lsn = self._propose(RecordKind.SCHEMA, schema_payload(replica, begins=False))
            if lsn is None:
                self.stated = stated
                return
            stated = Stated(table.version, lsn, table.keeps_old, table.stream_label)
        self.stated, self._defined = stated, table

    def _present(self, key: bytes) -> bytes | None:
        """A key's speculative version: proposed, else applied."""
        entry = self.pending.speculative.get(key)
        return entry[1] if entry is not None else self._replica.find(key)

    def _answer_unproposed(self, outcome: Outcome, done: Callable[[WriteAnswer | ScrubjayError], None]) -> None:
        partition, last = self._replica.partition, self._group.last
        self._strong_read(last, lambda error: done(error if error is not None else WriteAnswer(outcome, partition, last, None)))

    def _strong_read(self, last: Lsn, read: Callable[[ScrubjayError | None], None]) -> None:
        """What proposed nothing is a strong read at the last LSN proposed: under this same term, with the lease held at its end."""
        replica, options = self._replica, self._replica.node.options

        def answer(error: ScrubjayError | None) -> None:
            if error is None:
                error = replica.serves(consistent=True)
            if error is None and replica.term is not self:
                error = NotLeader("leadership changed before the answer", partition=replica.partition)
            read(error)

        if self._may_answer(last):
            answer(None)
        elif len(self.pending.waiting) >= options.answers_waiting_max:
            answer(Unavailable("too many answers wait for this partition", partition=replica.partition))
        else:
            self.pending.wait(last, answer, proposed=False, until_us=replica.node.boot_us() + options.write_wait_us)
            replica.node.stirred(replica.partition)

    def _may_answer(self, last: Lsn) -> bool:
        """What proposed nothing rests on everything proposed before it: it is answered once that is applied."""
        return self._replica.applied >= last

    def _propose_effect(self, command: ItemCommand, outcome: Outcome, done: Callable[[WriteAnswer | ScrubjayError], None]) -> None:
        key = command.key
        old = outcome.old or b"" if self.keeps_old else None
        if outcome.decision is Decision.PUT:
            assert outcome.new is not None
            effect = Effect(Op.PUT, key, outcome.new, old)
        else:
            effect = Effect(Op.EXPIRE if type(command) is ExpireCommand else Op.DELETE, key, command.key_item, old)
        # What decides a transaction, or says that it is done. While it stays pending nothing is sealed where it is, so nothing of that is archived.
        ends = self._replica.table.name == LEDGER_TABLE and type(command) is SwapCommand and command.expect is not None
        self._propose_effects((effect,), outcome, {key: outcome.new}, done, reserved=ends)

    def _propose_effects(
        self,
        effects: Sequence[Effect],
        outcome: Outcome,
        speculative: Mapping[bytes, bytes | None],
        done: Callable[[WriteAnswer | ScrubjayError], None],
        *,
        reserved: bool = False,
    ) -> None:
        """Propose them in one record; `outcome` is the answer once it is applied. speculative: what whoever is evaluated next must see of it, by key. reserved: see `_no_room`."""
        replica, group, node = self._replica, self._group, self._replica.node
        partition = replica.partition
        payload = records.encode_effects(effects)
        refusal = self._no_room(len(payload), reserved=reserved)
        if refusal is not None:
            done(refusal)
            return
        try:
            stamp = node.stamp()
        except Unavailable as error:
            done(error)
            return
        lsn = group.next_lsn
        group.propose(
            (records.encode(owner=replica.owner, lsn=lsn, stamp=stamp, kind=RecordKind.DATA, payload=payload, count=len(effects)),)
        )
        pending = self.pending
        for key, item in speculative.items():
            pending.speculative[key] = (lsn, item)
        pending.content.append((stamp, lsn))

        def answer(error: ScrubjayError | None) -> None:
            done(error if error is not None else WriteAnswer(outcome, partition, lsn, stamp >> 12))

        pending.wait(lsn, answer, proposed=True, until_us=node.boot_us() + node.options.write_wait_us)
        node.dirty(replica)

    def _no_room(self, payload_bytes: int, *, reserved: bool = False) -> ScrubjayError | None:
        """Why a write of this size cannot be proposed now, or None. reserved: a full log becomes no emptier without it, so it may go into the reserve."""
        replica, node = self._replica, self._replica.node
        if node.full and not reserved and replica.table.name != METADATA_TABLE:
            # What the cluster notes of itself goes on, out of the reserve: without a claim noted there nothing is archived, and a full log would stay full.
            return DiskFull("the log has reached its limit; writes are refused until the archive catches up", partition=replica.partition)
        if replica.overlay.size > node.options.overlay_bytes:
            failure = replica.checkpoints.failure
            kind = DiskFull if isinstance(failure, DiskFull) else Unavailable
            return kind("the tree takes no checkpoints; writes are refused until it does", partition=replica.partition, why=str(failure))
        if self._group.handing_over:
            return NotLeader("leadership is being handed over", partition=replica.partition)
        if not self._group.can_propose(payload_bytes + records.HEADER_SIZE, node.now()):
            return Unavailable("too much is in flight for this partition", partition=replica.partition)
        return None

    def _propose(self, kind: RecordKind, payload: bytes) -> Lsn | None:
        """Propose a record of our own. None if it cannot be done now."""
        return self._propose_stamped(kind, len(payload), lambda _: payload)

    def _propose_stamped(self, kind: RecordKind, size: int, payload: Callable[[Stamp], bytes]) -> Lsn | None:
        """As `_propose`, for a payload of `size` bytes that names its own record's stamp."""
        replica, group, node = self._replica, self._group, self._replica.node
        if not group.can_propose(size + records.HEADER_SIZE, node.now()):
            return None
        try:
            stamp = node.stamp()
        except Unavailable:
            return None
        lsn = group.next_lsn
        group.propose((records.encode(owner=replica.owner, lsn=lsn, stamp=stamp, kind=kind, payload=payload(stamp)),))
        if kind.is_content:
            self.pending.content.append((stamp, lsn))
        node.dirty(replica)
        return lsn

    # ------------------------------------------------------------------ members

    def change_members(self, change: Change) -> None:
        """Propose the CONFIG that makes it. Raises Unavailable (not now: try again), Invalid (never), Missing (the log takes nothing more)."""
        replica = self._replica
        if self._ending():
            raise self._ended()
        after = self._group.plan_members(change, replica.node.now())
        if self._propose(RecordKind.CONFIG, encode_configuration(after)) is None:
            raise Unavailable("cannot propose a change of members now", partition=replica.partition)

    # ------------------------------------------------------------------ sealing

    def _ending(self) -> bool:
        """What ends this log, a last SEAL or a SPLIT, is applied or proposed: no content may follow it, under this leader or a later one. A leader serves only once it has
        applied all that it took over, so one that took over the end knows."""
        replica = self._replica
        return self.ended or replica.split is not None or replica.segments.facts.ended > 0

    def _ended(self) -> ScrubjayError:
        """What whoever asks for content is told behind the end."""
        replica = self._replica
        split = self._split or replica.split
        if split is not None:
            return split_away(replica.partition, split)
        return dropped(replica.table.name)

    def split(self, split: Split, done: Callable[[Record | ScrubjayError], None]) -> None:
        """End the log: propose SPLIT and the SEAL behind it; done with that SEAL once it is applied here. Raises nothing: refusals go to `done`."""
        replica = self._replica
        refusal = replica.serves(consistent=True)
        if refusal is None and self._ending():
            refusal = self._ended()
        if refusal is None:
            try:
                check_split(split, parent=replica.partition, lo=replica.lo, hi=replica.hi)
            except Invalid as error:
                refusal = error
        if refusal is not None:
            done(refusal)
        elif self.seal_at is not None:
            self._seal_waiters.append(SealWaiter(self.seal_at, lambda _: self.split(split, done)))
        elif not self.transacting.wants_seal():
            done(Unavailable("no split while a transaction is pending: come again", partition=replica.partition))
        elif self._propose(RecordKind.SPLIT, encode_split(split)) is None:
            done(Unavailable("cannot propose a split now", partition=replica.partition))
        else:
            self.ended, self._split = True, split
            lsn = self._propose_seal(Seal.SPLIT)
            if lsn is None:
                done(Unavailable("the split is proposed, its end follows: come again", partition=replica.partition))
            else:
                self._seal_waiters.append(SealWaiter(lsn, done))

    def _owes_end(self) -> bool:
        """A SPLIT stands in the log, and the SEAL behind it does not: whoever proposed it could not, or lost the lead."""
        replica = self._replica
        return self.seal_at is None and not replica.segments.facts.ended and (self._split is not None or replica.split is not None)

    def seal(self, reason: int, tag: bytes, done: Callable[[Record | ScrubjayError], None]) -> None:
        """Propose a SEAL now; done with its record once it is applied here. Raises nothing: refusals go to `done`."""
        replica = self._replica
        refusal = replica.serves(consistent=True)
        if refusal is not None:
            done(refusal)
        elif self._ending():
            done(self._ended())
        elif len(self._seal_waiters) >= SEALS_WAITING_MAX:
            done(Unavailable("too many seals wait for this partition", partition=replica.partition))
        elif self.seal_at is not None:
            self._seal_waiters.append(SealWaiter(self.seal_at, lambda _: self.seal(reason, tag, done)))
        elif not self.transacting.wants_seal():
            done(Unavailable("no seal while a transaction is pending: come again", partition=replica.partition))
        else:
            lsn = self._propose_seal(reason, tag)
            if lsn is None:
                done(Unavailable("cannot propose a seal now", partition=replica.partition))
            else:
                self._seal_waiters.append(SealWaiter(lsn, done))

    def maybe_seal(self, now_us: int) -> None:
        """Seal the open segment if it is time."""
        replica = self._replica
        if self.seal_at is not None or not self.serving():
            return
        if self._owes_end():
            self._propose_seal(Seal.SPLIT)
        if self._ending():
            return
        facts, options = replica.segments.facts, replica.node.options
        if not facts.last_seal and facts.content:
            if self.transacting.wants_seal():
                self._propose_seal(Seal.SCHEMA)
            return
        opened = replica.segments.opened_at_us
        reason = needs_seal(facts, opened_at_us=opened, now_us=now_us, size_bytes=options.seal_bytes, age_us=self._seal_age_us())
        if reason is not None and self.transacting.wants_seal():
            self._propose_seal(reason)

    def _seal_age_us(self) -> int:
        options = self._replica.node.options
        return seal_age_us(
            self._replica.segments.facts,
            trickle=self._trickle,
            size_bytes=options.seal_bytes,
            age_us=options.seal_age_us,
            age_max_us=options.seal_age_max_us,
        )

    def _propose_seal(self, reason: int, tag: bytes = bytes(16)) -> Lsn | None:
        closed = self._group.closed(self._replica.node.now(), in_seal=True) or Stamp(0)
        first = Lsn(self._replica.segments.facts.first)

        def payload(stamp: Stamp) -> bytes:
            # Nothing follows the last SEAL, so it is closed at its own moment; a moment is a whole microsecond, and a write may lie in the same one.
            return records.encode_seal(Seal(first, last_stamp_at(stamp_micros(stamp)) if reason in Seal.LAST else closed, reason, tag))

        lsn = self._propose_stamped(RecordKind.SEAL, records.SEAL_PAYLOAD.size, payload)
        if lsn is not None:
            self.seal_at = lsn
            self.ended = self.ended or reason in Seal.LAST
        return lsn

    def sealed(self, record: Record, own: OwnSegment) -> None:
        """A SEAL was applied."""
        if own.reason in (Seal.AGE, Seal.SIZE):
            tiny = own.reason == Seal.AGE and is_tiny(own.raw_size, self._replica.node.options.seal_bytes)
            self._trickle = self._trickle + 1 if tiny else 0
        self.transacting.sealed()
        if self.seal_at is not None and self.seal_at <= record.lsn:
            self.seal_at = None
        done, self._seal_waiters = (
            [waiter for waiter in self._seal_waiters if waiter.lsn <= record.lsn],
            [waiter for waiter in self._seal_waiters if waiter.lsn > record.lsn],
        )
        for waiter in done:
            waiter.done(record)

    def log_archived(self, *, complete_only: bool) -> None:
        """Log ARCHIVED for what counts as archived (storage.replica.attest), and all that lies before it does. complete_only: only where all members attested it; otherwise with those that have.

        The record says how far the archive has the log, and every member lets go of it up to there. Segments do not come to count in their order: one that somebody found bad is written
        anew while those behind it are attested, and a log replica that begins its log attests what it can compare.
        """
        replica = self._replica
        if not self.serving():
            return
        tally, members_all = replica.attest.tally, len(replica.info.members)
        reaches = replica.segments.facts.archived
        for last in tally.lasts():
            own, said = replica.segments.sealed_at(last), self._archived_said.get(last)
            if own is not None:
                first, raw = own.statement.first, own.statement.raw_sha256
            elif said is not None:
                first, raw = said[:2]
            else:
                continue
            if first > reaches + 1:
                return
            logged = said[2] if said is not None else 0
            if logged:
                reaches = max(reaches, last)
            members = tally.archived(last, raw)
            if len(members) <= logged or (complete_only and len(members) < members_all):
                continue
            payload = records.encode_archived(Archived(Lsn(first), Lsn(last), raw, members))
            if self._propose(RecordKind.ARCHIVED, payload) is None:
                return
            self._archived_said[last] = (first, raw, len(members))
            reaches = max(reaches, last)

    def closed_point(self) -> tuple[Stamp, Lsn, Lsn] | None:
        """(closed, last content LSN <= closed, last applied seal) as may be published now, or None."""
        replica = self._replica
        if not replica.status.serves or not self.serving():
            return None
        closed = self._group.closed(replica.node.now())
        facts = replica.segments.facts
        if facts.ended:
            return Stamp(facts.ended_closed), Lsn(facts.last_content), Lsn(facts.last_seal)
        if closed is None:
            return None
        closed = self.transacting.closable(closed)
        began = Lsn(facts.last_content) if facts.last_content_stamp <= closed else Lsn(0)
        last_content = self.pending.last_content_at(closed, before=began)
        if not last_content and facts.last_content:
            return None
        return closed, last_content, Lsn(facts.last_seal)

    # ------------------------------------------------------------------ time

    def deadline(self) -> int | None:
        """When `tick` has something to do, boot time; sealing apart."""
        answer_due = self.pending.deadline()
        if self.begun:
            return answer_due
        retry = self._replica.node.boot_us() + BEGIN_RETRY_US
        return retry if answer_due is None else min(retry, answer_due)

    def seal_deadline(self) -> int | None:
        """When `maybe_seal` has something to do, boot time."""
        segments = self._replica.segments
        if self._owes_end():
            return self._replica.node.boot_us() + BEGIN_RETRY_US
        if self.seal_at is not None or segments.opened_at_us is None:
            return None
        due = segments.opened_at_us + (self._seal_age_us() if segments.facts.last_seal else 0)
        look = self._replica.node.boot_us() + DRAIN_LOOK_US
        if self.transacting.draining:
            return look  # also of one that is due by its size: a flood of transactions must not be let in again before it
        return max(due, look) if self.transacting.any else due

    def tick(self, now_us: int) -> None:
        self.begin()
        self.pending.expire(now_us)

    def check_invariants(self) -> None:
        """Programmer errors only."""
        applied, waiting = self._replica.applied, self.pending.waiting
        assert self.seal_at is None or self.seal_at > applied, (self.seal_at, applied)
        assert not waiting or waiting[0].lsn > applied, (waiting[0].lsn, applied)
        self.transacting.check_invariants()


def schema_payload(replica: Led, *, begins: bool) -> bytes:
    """SCHEMA: canonical JSON of what the partition is. begins: the log begins with it; base: it starts from rows loaded at LSN 0, with this digest; born: from
    those of the partition that was split."""
    table, info = replica.table, replica.info
    facts = {
        "attributes": [list(pair) for pair in table.attributes],
        "hi": info.hi,
        "key": json.loads(msgspec.json.encode(table.key)),
        "lo": info.lo,
        "name": table.name,
        "partition_id": info.partition_id,
        "table_id": table.table_id,
        "version": 1,
    }
    born = decode_born(replica.born)
    if begins and born is not None:
        facts["born"] = born_facts(born)
    elif begins:
        total = replica.total()
        facts["base"] = None if total.rows == 0 and table.restore_of is None else {"rows": total.rows, "sum": total.hex}
    if table.keeps_old or not begins:
        facts[MEMBER] = definition_of(table)
    if table.local_indexes:
        facts["local_indexes"] = json.loads(msgspec.json.encode(table.local_indexes))
    return json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()
