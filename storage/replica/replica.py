"""One storage replica of one partition on one node: it drives the consensus group, applies what is chosen to overlay and tree, keeps the state
digest, states segments, and answers reads; while it leads it evaluates commands and proposes.

Synchronous: calls and events in, callbacks out; everything runs on the node's loop. What state it is in: `storage.replica.status`.

Invariants (check_invariants): 1 applied <= chosen. 2 checkpoints rise. 3 the digest's row counts are not negative. 4 a suspect never leads. 5 no
content follows the last SEAL of a dropped table.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from base.checksum import row_hash
from base.errors import Corrupt, DiskFull, Missing, NotLeader, ScrubjayError, Unavailable
from base.hlc import last_stamp_at, stamp_micros
from base.ids import Lsn, Member, PartitionId, Stamp, uuid_bytes
from storage.archive_port import Attestation, facts_of
from storage.btree.engine import Tree, TreeState
from storage.catalogue import METADATA_TABLE, PartitionInfo, TableMeta
from storage.commands.evaluate import evaluate
from storage.commands.values import Outcome, RangeAnswer, RangeRead, ReadAnswer, Verdict, WriteAnswer, WriteCommand
from storage.log import record as records
from storage.log.digest import RangeDigest, Total
from storage.log.record import Archived, Effect, Kind, Op, Record, Seal
from storage.replica.attest import Attestations
from storage.replica.checkpoints import Checkpoints
from storage.replica.overlay import Overlay
from storage.replica.reads import Reads
from storage.replica.repair import Repair
from storage.replica.segments import ATTESTED_KEPT, OwnSegment, SegmentFacts, SegmentTracker, needs_seal
from storage.replica.state import EXTRA_VERSION, ReplicaExtra
from storage.replica.status import AMNESIAC, OK, OPENING, STOPPED, SUSPECT, VOTES, Status
from storage.replica.term import Leading
from storage.wal.port import SetTree, SetVote

if TYPE_CHECKING:
    from storage.consensus.group import Group
    from storage.node import Node

BEGIN_RETRY_US = 20_000
SEALS_WAITING_MAX, STATEMENTS_ASKED_MAX = 1_000, 64
APPLY_RETRY_US = 200_000
"""Pause before a record is applied again that the machine did not let us apply."""


class SealWaiter(NamedTuple):
    lsn: Lsn
    done: Callable[[Record | ScrubjayError], None]


class Replica:
    """See the module. table, info: what the catalogue says (replaced as it changes). number: this node's number."""

    def __init__(self, node: Node, table: TableMeta, info: PartitionInfo, *, member: Member) -> None:
        self.node = node
        self.table = table
        self.info = info
        self.partition: PartitionId = info.partition_id
        self.member = member
        self.raw_id = uuid_bytes(info.partition_id)
        self.owner = records.owner_tag(self.raw_id)
        self.lo = bytes.fromhex(info.lo)
        self.hi = bytes.fromhex(info.hi) if info.hi else None
        self.status = Status()
        self.group: Group | None = None
        self.tree: Tree | None = None
        self.overlay = Overlay()
        self.checkpoints = Checkpoints(self)
        self.digest = RangeDigest(self.lo, self.hi)
        self.bytes = 0
        self.described = facts_of(node.cluster_id, table, info)
        self.segments = SegmentTracker(place=self.described.place(), me=member.node, facts=SegmentFacts())
        self.applied = Lsn(0)
        self.stamp = Stamp(0)
        self.chosen = Lsn(0)
        self.fresh: deque[Record] = deque()
        self._fresh_bytes = 0
        self.leading: Leading | None = None
        self.attestations = Attestations()
        self.written = Lsn(0)
        """Highest last LSN of a segment whose manifest a member says it has written."""
        self.reads = Reads(self)
        self.repair = Repair(self)
        self.seal_waiters: list[SealWaiter] = []
        self.statements_at_us: int | None = None
        self.attest_at_us: int | None = None
        self.stopped = False
        self.logged = False
        """The WAL knows it, durably."""
        self.stuck = False
        """Its tree can take no more: neither applied to nor pinned at a seal."""
        self.behind = False
        """It lacks records that no member's log holds any more."""
        self.digest_void = False
        """A row that rotted was overwritten: what the digest should be is unknown, so nothing is stated until the copy is healed."""

    # ------------------------------------------------------------------ life

    def opened(self, tree: Tree) -> None:
        """The tree is there: take over its state. Raises Corrupt if what it holds beside the rows is malformed."""
        state = tree.state
        if state.applied > 0 and not state.extra:
            raise Corrupt("the tree was loaded but its load was never confirmed", what="tree", partition=self.partition)
        self.tree = tree
        self._load_state(state)
        self.status.move_tree(OK, "")

    def _load_state(self, state: TreeState) -> None:
        self.overlay.clear()
        self.digest = RangeDigest(self.lo, self.hi)
        self.bytes = 0
        facts = SegmentFacts()
        if state.extra:
            try:
                extra = msgspec.msgpack.decode(state.extra, type=ReplicaExtra)
            except msgspec.MsgspecError as error:
                raise Corrupt("replica state in the tree is malformed", what="tree", partition=self.partition) from error
            if extra.version != EXTRA_VERSION:
                raise Corrupt("replica state has an unknown version", what="tree", found=extra.version)
            self.digest.load(extra.digest)
            self.bytes = extra.size
            facts = extra.segments
        self.segments = SegmentTracker(place=self.described.place(), me=self.member.node, facts=facts)
        if facts.content:
            self.segments.opened_at_us = self._since(facts.first_stamp)
        self.applied, self.stamp = state.applied, state.stamp
        self.checkpoints.restart(state.applied)
        self.chosen = max(self.chosen, state.applied)
        self._drop_fresh()

    def extra(self) -> bytes:
        """What is committed beside the rows, as of `applied`."""
        return msgspec.msgpack.encode(ReplicaExtra(EXTRA_VERSION, self.digest.encode(), self.bytes, self.segments.facts))

    @property
    def state(self) -> str:
        """In one word: see `Status.word`."""
        return self.status.word

    @property
    def reason(self) -> str:
        return self.status.reason

    @property
    def damaged(self) -> bool:
        """Records in the middle of its log are bad; peers are asked for them."""
        return self.repair.damaged

    @property
    def usable(self) -> bool:
        """It has a tree that is applied to: serving, or suspect and kept comparable."""
        return self.tree is not None and self.state in (OK, SUSPECT) and not self.behind and not self.stuck

    def total(self) -> Total:
        """The digest kept at apply, as of `applied`."""
        return self.digest.total()

    def set_state(self, tree: str, reason: str) -> None:
        """The tree's state changes to one that does not serve. Leadership is given up, waiting reads are told. The vote is not touched."""
        if self.status.move_tree(tree, reason):
            self._no_longer_serves()

    def amnesia(self, reason: str) -> None:
        """Its log may lack what was synced once: it never votes again under this member id. Durable, whatever befalls its tree."""
        if self.status.move_vote(AMNESIAC, reason):
            self.node.queue_control(SetVote(self.partition, AMNESIAC))
            if self.group is not None:
                self.group.set_vote(False, self.node.now())
            self._no_longer_serves()

    def _no_longer_serves(self) -> None:
        self.node.log_state(self, self.state, self.reason)
        group = self.group
        if group is not None:
            group.set_lead(False, self.node.now())
            self.ended()
            self.node.dirty(self)
        self.reads.end(Unavailable("replica stopped serving", partition=self.partition, state=self.state))

    def keep_tree(self, word: str, synced: Callable[[], None] | None = None) -> None:
        """Make the word for the tree durable (`suspect`, `healing`: it is being replaced, `ok`). The word for the log is another."""
        self.node.queue_control(SetTree(self.partition, word), synced)

    def suspect(self, reason: str) -> None:
        """Rot was found in the tree, or its statement was outvoted."""
        if self.status.tree in (OK, OPENING):
            self.keep_tree(SUSPECT)
            self.set_state(SUSPECT, reason)

    def stop_at(self, record: Record, why: str = "") -> None:
        """Its log holds what this version does not know. To skip it would be to serve something else than the log says. why: what is not understood in it."""
        because = f" ({why})" if why else ""
        if self.status.move_tree(
            STOPPED, f"record {records.named(record)} at LSN {record.lsn} is not implemented by this version{because}"
        ):
            self.checkpoints.abandon()
            self._drop_fresh()
            self._no_longer_serves()

    def _drop_fresh(self) -> None:
        self.fresh.clear()
        self._fresh_bytes = 0

    def give_up_tree(self) -> None:
        """The tree can follow the log no further. It stays open, as evidence, until a heal has surveyed it and sets it aside."""
        self.stuck = True
        self.checkpoints.abandon()
        self.overlay.clear()
        self._drop_fresh()

    def ended(self) -> None:
        """It leads no more: whoever waits for what it proposed is told."""
        leading, self.leading = self.leading, None
        waiters, self.seal_waiters = self.seal_waiters, []
        if leading is not None:
            leading.end()
        for waiter in waiters:
            waiter.done(NotLeader("leadership ended before the seal was applied"))

    # ------------------------------------------------------------------ consensus events

    def elected(self) -> None:
        """Adoption is done: a record of the own ballot must be chosen before anything is served."""
        group = self.group
        assert group is not None
        if not self.status.serves:
            group.resign(self.node.now())
            return
        self.leading = Leading(group.ballot)
        self._begin()

    def _begin(self) -> None:
        """Propose the first record of this ballot: SCHEMA in an empty log, else NOOP. Tried again until the lease allows it."""
        leading, group = self.leading, self.group
        if leading is None or leading.begun or group is None:
            return
        if group.next_lsn == 1:
            leading.begun = self._propose(Kind.SCHEMA, self.node.schema_payload(self)) is not None
        else:
            leading.begun = self._propose(Kind.NOOP, b"") is not None

    def deposed(self) -> None:
        self.ended()
        if self.node.leaving is not None and self.group is not None:
            self.group.set_lead(False, self.node.now())

    def leave(self, leaving: frozenset[int]) -> None:
        """The node is about to stop: whoever can take over does, and this copy does not stand again. leaving: numbers of nodes that stop too."""
        group, now = self.group, self.node.now()
        if group is None or self.stopped:
            return
        heir = group.successor(now, besides=leaving) if self.leading is not None and self.leading.begun else None
        if heir is not None:
            group.transfer(heir, now)
        else:
            group.set_lead(False, now)
        self.node.dirty(self)

    def node_failed(self) -> None:
        """The node stops: whoever waits here is told, and goes on elsewhere."""
        self.ended()
        self.reads.end(NotLeader("node is down", partition=self.partition))

    def install_from(self, leader: Member) -> None:
        """The leader's log does not reach back to what this replica lacks."""
        self.left_behind()

    def drained(self) -> None:
        """Everything the group wanted is carried out."""
        self.node.arm(self)

    def log_failed(self, error: Corrupt) -> None:
        self.repair.log_failed(error)

    def left_behind(self) -> None:
        """The leader's log no longer reaches back to what this replica lacks: it needs a snapshot, which a heal brings. Nothing is wrong with its tree."""
        if not self.behind:
            self.behind = True
            self.set_state(SUSPECT, "left behind: the leader's log no longer reaches back")

    def take_chosen(self, chosen: tuple[Record, ...]) -> None:
        """Records chosen and in this member's own synced log, gap-free."""
        self.chosen = chosen[-1].lsn
        if not self.usable:
            return
        reached = self.fresh[-1].lsn if self.fresh else self.applied
        if chosen[0].lsn == reached + 1 and self._fresh_bytes <= self.node.options.apply_slice_bytes:
            self.fresh.extend(chosen)
            self._fresh_bytes += sum(len(record.data) for record in chosen)
        # else: applying waits for the tree; what is chosen meanwhile is read back from the log when its turn comes.
        self.apply_ready()

    def apply_ready(self) -> None:
        """Apply what is chosen, in order; stops where the replica stops being able to."""
        if not self.usable:
            self._drop_fresh()
            return
        if self.fresh and self.fresh[0].lsn != self.applied + 1:
            self._drop_fresh()
        if not self.fresh and self.applied < self.chosen:
            try:
                self.fresh.extend(
                    self.node.wal.read(
                        self.partition,
                        Lsn(self.applied + 1),
                        Lsn(self.chosen + 1),
                        max_bytes=self.node.options.apply_slice_bytes,
                    )
                )
                self._fresh_bytes = sum(len(record.data) for record in self.fresh)
            except Missing:
                self.left_behind()
                return
            except Corrupt as error:
                self.repair.ask(Lsn(self.applied + 1), Lsn(self.chosen + 1), error)
                return
        now_us = self.node.boot_us()
        while self.fresh and not self._must_wait(self.fresh[0]):
            if not self._apply(self.fresh[0], now_us):
                break
            self._fresh_bytes -= len(self.fresh.popleft().data)
        group = self.group
        assert group is not None
        if self.applied > group.applied:
            group.applied_to(self.applied)
        leading = self.leading
        if leading is not None:
            leading.answer_to(self.applied)
        self.reads.applied()
        if self.usable and not self.fresh and self.applied < self.chosen and self.overlay.size <= 2 * self.node.options.overlay_bytes:
            self.node.soon(self)
        self.node.arm(self)

    def _must_wait(self, record: Record) -> bool:
        """The tree must take a checkpoint before this is applied."""
        options = self.node.options
        return self.overlay.size > 2 * options.overlay_bytes or (
            record.kind is Kind.SEAL and len(self.overlay.frozen) >= options.frozen_layers_max
        )

    def _apply(self, record: Record, now_us: int) -> bool:
        """Apply one record. False: not now (the replica waits, is suspect or stops)."""
        kind = record.kind
        assert record.lsn == self.applied + 1, (record.lsn, self.applied)
        if kind not in records.IMPLEMENTED:
            self.stop_at(record)
            return False
        effects: list[Effect] = []
        seal = archived = None
        try:
            if kind is Kind.DATA or kind is Kind.COMMIT:
                effects = records.effects(record)
            elif kind is Kind.SEAL:
                seal = records.decode_seal(record)
            elif kind is Kind.ARCHIVED:
                archived = records.decode_archived(record)
        except Corrupt as error:
            # Its checksum is right and a quorum chose it: it is what its leader wrote, and that was a later version (or one gone wrong).
            self.stop_at(record, str(error))
            return False
        if effects:
            try:
                for effect in effects:
                    self._apply_effect(effect, record)
            except Unavailable as error:
                # Only the first effect can meet it, before anything was changed: the tree rested and the machine does not let it be opened now.
                self.node.log_state(self, self.state, f"applying waits: {error}")
                self.repair.until_us = now_us + APPLY_RETRY_US
                return False
        elif seal is not None:
            return self._apply_seal(record, seal, now_us)
        since_us = self._since(record.stamp)
        self.segments.applied(record, since_us)
        self.applied, self.stamp = record.lsn, record.stamp
        self.checkpoints.touched(since_us, idle=not kind.is_content)
        if archived is not None:
            self._apply_archived(archived)
        return True

    def _since(self, stamp: int) -> int:
        """Boot time at which something was stamped, as far as the clocks tell, at most a seal's age ago.

        What a restart applies again is as old as it is: lives shorter than a checkpoint's or a seal's age must come to both all the same.
        """
        age_us = self.node.env.clock.wall_us() - stamp_micros(Stamp(stamp))
        return self.node.boot_us() - max(0, min(age_us, self.node.options.seal_age_us))

    def _apply_effect(self, effect: Effect, record: Record) -> None:
        key = effect.key
        try:
            old = self.find(key, proven=False)
        except Corrupt as error:
            self.found_rot(error, found_by="read")
            self.digest_void = True
            old = None
        if old is not None:
            self.digest.remove(key, row_hash(key, old))
            self.bytes -= len(key) + len(old)
        if effect.op is Op.PUT:
            self.digest.add(key, row_hash(key, effect.body))
            self.bytes += len(key) + len(effect.body)
            self.overlay.put(key, record.lsn, record.stamp, effect.body)
        else:
            self.overlay.put(key, record.lsn, record.stamp, None)
        if self.leading is not None:
            self.leading.applied(key, record.lsn)

    def _apply_seal(self, record: Record, seal: Seal, now_us: int) -> bool:
        first = Lsn(seal.first)
        try:
            raw = self.node.raw_sha256(self.partition, first, record.lsn)
        except (Corrupt, Missing) as error:
            if record.lsn > self.segments.facts.archived and isinstance(error, Corrupt):
                self.repair.ask(first, Lsn(record.lsn + 1), error)
                return False
            self.set_state(SUSPECT, f"cannot read back its own log: {error}")
            self.give_up_tree()
            return False
        self.segments.applied(record, now_us)
        self.applied, self.stamp = record.lsn, record.stamp
        self.checkpoints.touched(now_us, idle=False)
        own = self.segments.sealed(record, seal, raw_sha256=raw, total=self.digest.total())
        if seal.reason == Seal.SCRUB:
            self.checkpoints.scrub_seal(record, now_us)
        if self.leading is not None and self.leading.seal_at is not None and self.leading.seal_at <= record.lsn:
            self.leading.seal_at = None
        done, self.seal_waiters = (
            [w for w in self.seal_waiters if w.lsn <= record.lsn],
            [w for w in self.seal_waiters if w.lsn > record.lsn],
        )
        for waiter in done:
            waiter.done(record)
        self.state_segment(own, want=True)
        return True

    def _apply_archived(self, archived: Archived) -> None:
        self.segments.on_archived(archived)
        done = [last for last in self.attestations.lasts() if last <= archived.last]
        whole = len(archived.members) >= len(self.info.members)
        for last in done if whole else done[:-ATTESTED_KEPT]:
            self.attestations.forget(last)
        self.checkpoints.trim()
        self.node.archive_changed(self.partition)

    # ------------------------------------------------------------------ segments: statements, attestations, repair

    def state_segment(self, own: OwnSegment, *, want: bool) -> None:
        """Tell the other members what this one has for a segment."""
        self.node.say_statement(self, own.statement, want=want)
        self.statements_at_us = self.node.boot_us() + self.node.options.statement_retry_us
        self.check_statements()

    def check_statements(self) -> None:
        """Compare what was stated; announce agreement, notice being outvoted."""
        if self.digest_void or not self.status.serves:
            return
        for own in self.segments.facts.sealed:
            agreed, outvoted = self.segments.agreed(own)
            if outvoted:
                self.node.finding(
                    self, kind="different", found_by="seal", lsn=Lsn(own.statement.last), detail="this member's statement was outvoted"
                )
                self.suspect(f"its statement on the segment ending at {own.statement.last} was outvoted")
                return
            if len(agreed) >= 2:
                self.node.archive_changed(self.partition)

    def attested(self, node: int, *, last: int, said: Attestation) -> None:
        """A member holds the archived segment for equal to its WAL. The leader collects these and logs ARCHIVED."""
        self.attestations.attested(last, node, said)
        if self.attest_at_us is None:
            self.attest_at_us = self.node.boot_us() + self.node.options.attest_wait_us
        self._log_archived(complete_only=True)
        self.node.arm(self)

    def _log_archived(self, *, complete_only: bool) -> None:
        """Log ARCHIVED for what counts as archived (storage.replica.attest). complete_only: only where all members attested it; otherwise with those that have."""
        leading, group = self.leading, self.group
        if leading is None or group is None or not group.serving(self.node.now()):
            return
        known = {own.statement.last: own.statement for own in self.segments.facts.sealed}
        for last in self.attestations.lasts():
            statement = known.get(last)
            if statement is not None:
                first, raw = statement.first, statement.raw_sha256
            elif last in leading.archived_said:
                first, raw = leading.archived_said[last][:2]
            else:
                continue
            logged = leading.archived_said[last][2] if last in leading.archived_said else 0
            members = self.attestations.archived(last, raw)
            if len(members) <= logged or (complete_only and len(members) < len(self.info.members)):
                continue
            payload = records.encode_archived(Archived(Lsn(first), Lsn(last), raw, members))
            if self._propose(Kind.ARCHIVED, payload) is None:
                return
            leading.archived_said[last] = (first, raw, len(members))

    def refuted(self, *, last: int, generation: int, reason: str) -> None:
        """A member found this generation of an archived segment bad: it does not count, and this node's agent looks again."""
        if self.attestations.refuted(last, generation, reason):
            self.node.archive_changed(self.partition)

    # ------------------------------------------------------------------ reading

    def find(self, key: bytes, *, proven: bool = True) -> bytes | None:
        """The applied version of a key. Raises Corrupt if the tree's row, or (if `proven`, as every answer needs) its absence, fails its check."""
        change = self.overlay.find(key)
        if change is not None:
            return change.item
        tree = self.tree
        assert tree is not None
        row = tree.get(key, proven=proven)
        return None if row is None else row.item

    def found_rot(self, error: Corrupt, *, found_by: str) -> None:
        """A read of the tree failed its check: state it, stop serving, let another replica answer."""
        self.node.finding(
            self,
            kind="unreadable",
            found_by=found_by,
            storage_key=_key_of(error),
            lsn=self.applied,
            detail=error.message,
        )
        self.suspect(f"rot in the tree: {error}")

    def serves(self, *, consistent: bool) -> ScrubjayError | None:
        """None if a read may be answered now, else why not."""
        if not self.status.serves or self.group is None:
            return NotLeader("replica does not serve", partition=self.partition, state=self.state)
        if consistent and (self.leading is None or not self.group.serving(self.node.now())):
            return NotLeader("not the leader, or its lease is not held", partition=self.partition, hint=self.node.hint(self.group.leader))
        return None

    def read(self, key: bytes, *, consistent: bool, min_lsn: Lsn, done: Callable[[ReadAnswer | ScrubjayError], None]) -> None:
        self.reads.one(key, consistent=consistent, min_lsn=min_lsn, done=done)

    def read_range(self, request: RangeRead, *, min_lsn: Lsn, done: Callable[[RangeAnswer | ScrubjayError], None]) -> None:
        self.reads.range(request, min_lsn=min_lsn, done=done)

    # ------------------------------------------------------------------ leading

    def write(self, command: WriteCommand, done: Callable[[WriteAnswer | ScrubjayError], None]) -> None:
        """Evaluate on the speculative state, propose the resolved effect, answer when it is applied."""
        leading, group = self.leading, self.group
        refusal = self.serves(consistent=True)
        if refusal is not None or leading is None or group is None:
            done(refusal or NotLeader("not the leader", partition=self.partition))
            return
        if self.ending(leading):
            done(Missing("the table is dropped: its log takes nothing more", what="table", table=self.table.name))
            return
        key = command.key
        try:
            old = None if command.blind else self._present(key, leading)
        except Corrupt as rot:
            self.found_rot(rot, found_by="read")
            done(NotLeader("rot found while evaluating; this replica no longer leads", partition=self.partition))
            return
        except Unavailable as lack:
            done(lack)
            return
        outcome = evaluate(command, old)
        verdict = outcome.verdict
        if verdict is Verdict.PUT or verdict is Verdict.DELETE:
            self._propose_effect(command, outcome, done)
            return
        last = group.last

        def answer(error: ScrubjayError | None) -> None:
            if error is None:
                error = self.serves(consistent=True)
            if error is None and (self.leading is None or self.leading.ballot != leading.ballot):
                error = NotLeader("leadership changed before the answer", partition=self.partition)
            done(error if error is not None else WriteAnswer(outcome, self.partition, last, None))

        if self._may_answer(last):
            answer(None)
        elif len(leading.waiting) >= self.node.options.answers_waiting_max:
            done(Unavailable("too many answers wait for this partition", partition=self.partition))
        else:
            leading.wait(last, answer, proposed=False, until_us=self.node.boot_us() + self.node.options.write_wait_us)

    def _present(self, key: bytes, leading: Leading) -> bytes | None:
        """A key's speculative version: proposed, else applied."""
        entry = leading.speculative.get(key)
        return entry[1] if entry is not None else self.find(key)

    def _may_answer(self, last: Lsn) -> bool:
        """What proposed nothing rests on everything proposed before it: it is answered once that is applied."""
        return self.applied >= last

    def _propose_effect(self, command: WriteCommand, outcome: Outcome, done: Callable[[WriteAnswer | ScrubjayError], None]) -> None:
        leading, group = self.leading, self.group
        assert leading is not None
        assert group is not None
        key = command.key
        if outcome.verdict is Verdict.PUT:
            assert outcome.new is not None
            effect = Effect(Op.PUT, key, outcome.new)
        else:
            effect = Effect(Op.DELETE, key, command.key_item)
        payload = records.encode_effects((effect,))
        if self.node.full and self.table.name != METADATA_TABLE:
            # What the cluster notes of itself goes on, out of the reserve: without a claim noted there nothing is archived, and a full log would stay full.
            done(DiskFull("the log has reached its limit; writes are refused until the archive catches up", partition=self.partition))
            return
        if self.overlay.size > self.node.options.overlay_bytes:
            done(self._overlay_full())
            return
        if group.handing_over:
            done(NotLeader("leadership is being handed over", partition=self.partition))
            return
        if not group.can_propose(len(payload) + records.HEADER_SIZE, self.node.now()):
            done(Unavailable("too much is in flight for this partition", partition=self.partition))
            return
        try:
            stamp = self.node.stamp()
        except Unavailable as error:
            done(error)
            return
        lsn = group.next_lsn
        record = records.encode(owner=self.owner, lsn=lsn, stamp=stamp, kind=Kind.DATA, payload=payload, count=1)
        group.propose((record,))
        leading.speculative[key] = (lsn, outcome.new)
        leading.content.append((stamp, lsn))

        def answer(error: ScrubjayError | None) -> None:
            done(error if error is not None else WriteAnswer(outcome, self.partition, lsn, stamp >> 12))

        leading.wait(lsn, answer, proposed=True, until_us=self.node.boot_us() + self.node.options.write_wait_us)
        self.node.dirty(self)

    def _overlay_full(self) -> Unavailable:
        failure = self.checkpoints.failure
        kind = DiskFull if isinstance(failure, DiskFull) else Unavailable
        return kind("the tree takes no checkpoints; writes are refused until it does", partition=self.partition, why=str(failure))

    def _propose(self, kind: Kind, payload: bytes) -> Lsn | None:
        """Propose a record of our own. None if it cannot be done now."""
        return self._propose_stamped(kind, len(payload), lambda _: payload)

    def _propose_stamped(self, kind: Kind, size: int, payload: Callable[[Stamp], bytes]) -> Lsn | None:
        """As `_propose`, for a payload of `size` bytes that names its own record's stamp."""
        group, leading = self.group, self.leading
        if group is None or leading is None or not group.can_propose(size + records.HEADER_SIZE, self.node.now()):
            return None
        try:
            stamp = self.node.stamp()
        except Unavailable:
            return None
        lsn = group.next_lsn
        group.propose((records.encode(owner=self.owner, lsn=lsn, stamp=stamp, kind=kind, payload=payload(stamp)),))
        if kind.is_content:
            leading.content.append((stamp, lsn))
        self.node.dirty(self)
        return lsn

    def ending(self, leading: Leading) -> bool:
        """The last SEAL of this log is applied or proposed: no content may follow it, under this leader or a later one. A leader serves only once it has
        applied all that it took over, so one that took over the last SEAL knows."""
        return leading.ended or self.segments.facts.ended > 0

    def seal(self, reason: int, tag: bytes, done: Callable[[Record | ScrubjayError], None]) -> None:
        """Propose a SEAL now; done with its record once it is applied here. Raises nothing: refusals go to `done`."""
        refusal = self.serves(consistent=True)
        if refusal is not None:
            done(refusal)
        elif self.leading is not None and self.ending(self.leading):
            done(Missing("the table is dropped: its log takes nothing more", what="table", table=self.table.name))
        elif len(self.seal_waiters) >= SEALS_WAITING_MAX:
            done(Unavailable("too many seals wait for this partition", partition=self.partition))
        elif self.leading is not None and self.leading.seal_at is not None:
            self.seal_waiters.append(SealWaiter(self.leading.seal_at, lambda _: self.seal(reason, tag, done)))
        else:
            lsn = self._propose_seal(reason, tag)
            if lsn is None:
                done(Unavailable("cannot propose a seal now", partition=self.partition))
            else:
                self.seal_waiters.append(SealWaiter(lsn, done))

    def _propose_seal(self, reason: int, tag: bytes = bytes(16)) -> Lsn | None:
        leading, group = self.leading, self.group
        assert leading is not None
        assert group is not None
        closed = group.closed(self.node.now(), in_seal=True) or Stamp(0)
        first = Lsn(self.segments.facts.first)

        def payload(stamp: Stamp) -> bytes:
            # Nothing follows the last SEAL, so it is closed at its own moment; a moment is a whole microsecond, and a write may lie in the same one.
            return records.encode_seal(Seal(first, last_stamp_at(stamp_micros(stamp)) if reason == Seal.DROP else closed, reason, tag))

        lsn = self._propose_stamped(Kind.SEAL, records.SEAL_PAYLOAD.size, payload)
        if lsn is not None:
            leading.seal_at = lsn
            leading.ended = leading.ended or reason == Seal.DROP
        return lsn

    def closed_point(self) -> tuple[Stamp, Lsn, Lsn] | None:
        """(closed, last content LSN <= closed, last applied seal) as may be published now, or None."""
        leading, group = self.leading, self.group
        if not self.status.serves or leading is None or group is None or not group.serving(self.node.now()):
            return None
        closed = group.closed(self.node.now())
        facts = self.segments.facts
        if facts.ended:
            return Stamp(facts.ended_closed), Lsn(facts.last_content), Lsn(facts.last_seal)
        if closed is None:
            return None
        began = Lsn(facts.last_content) if facts.last_content_stamp <= closed else Lsn(0)
        last_content = leading.last_content_at(closed, before=began)
        if not last_content and facts.last_content:
            return None
        return closed, last_content, Lsn(facts.last_seal)

    # ------------------------------------------------------------------ time

    def deadline(self) -> int | None:
        """Boot time in microseconds at which `tick` has something to do, None if never."""
        due = [at for at in (self.statements_at_us, self.attest_at_us) if at is not None]
        if self.group is not None:
            group_due = self.group.deadline()
            if group_due is not None:
                due.append(group_due)
        options, segments = self.node.options, self.segments
        if self.leading is not None:
            if not self.leading.begun:
                due.append(self.node.boot_us() + BEGIN_RETRY_US)
            answer_due = self.leading.deadline()
            if answer_due is not None:
                due.append(answer_due)
        if self.usable:
            checkpoint_due = self.checkpoints.deadline()
            if checkpoint_due is not None:
                due.append(checkpoint_due)
            if self.leading is not None and self.leading.seal_at is None and segments.opened_at_us is not None:
                first = not segments.facts.last_seal
                due.append(segments.opened_at_us if first else segments.opened_at_us + options.seal_age_us)
        reads_due = self.reads.deadline()
        if reads_due is not None:
            due.append(reads_due)
        if self.repair.until_us:
            due.append(self.repair.until_us)
        pin_due = self.checkpoints.pin_deadline()
        if pin_due is not None:
            due.append(pin_due)
        return min(due) if due else None

    def tick(self) -> None:
        """Do what is due."""
        now = self.node.now()
        now_us = now.boot_us
        group = self.group
        if group is not None:
            due = group.deadline()
            if due is not None and due <= now_us:
                group.tick(now)
                self.node.dirty(self)
        self._begin()
        if self.leading is not None:
            self.leading.expire(now_us)
        if self.usable:
            self.checkpoints.tick(now_us)
            self._maybe_seal(now_us)
        self.repair.tick(now_us)
        if self.statements_at_us is not None and now_us >= self.statements_at_us:
            self._ask_statements(now_us)
        if self.attest_at_us is not None and now_us >= self.attest_at_us:
            self.attest_at_us = None
            self._log_archived(complete_only=False)
        self.reads.expire(now_us)
        self.checkpoints.expire_pins(now_us)

    def _ask_statements(self, now_us: int) -> None:
        open_ones = [own for own in self.segments.facts.sealed if len(self.segments.agreed(own)[0]) < 2]
        self.statements_at_us = now_us + self.node.options.statement_retry_us if open_ones else None
        for own in open_ones[:STATEMENTS_ASKED_MAX]:
            self.node.say_statement(self, own.statement, want=True)

    def _maybe_seal(self, now_us: int) -> None:
        leading, group = self.leading, self.group
        if leading is None or leading.seal_at is not None or group is None or not group.serving(self.node.now()) or self.ending(leading):
            return
        facts, options = self.segments.facts, self.node.options
        if not facts.last_seal and facts.content:
            self._propose_seal(Seal.SCHEMA)
            return
        opened = self.segments.opened_at_us
        reason = needs_seal(facts, opened_at_us=opened, now_us=now_us, size_bytes=options.seal_bytes, age_us=options.seal_age_us)
        if reason is not None:
            self._propose_seal(reason)

    # ------------------------------------------------------------------ healing

    def replace_tree(self, tree: Tree) -> None:
        """A healed tree takes the place of the one set aside; the log above it is applied again."""
        self.tree = tree
        self._load_state(tree.state)
        self.status.move_tree(OK, "")
        self.digest_void = self.behind = self.stuck = False
        if self.group is not None:
            now = self.node.now()
            if tree.state.applied > self.group.applied:
                # The group gives what it knows to be chosen above the snapshot anew.
                self.group.installed(tree.state.applied, tree.state.stamp, now)
                self.chosen = tree.state.applied
                # Its Install is queued now, before the word that the heal is over: a tree ahead of its log is amnesia without either.
                self.node.run_turn(self)
            self.group.set_lead(self.status.vote == VOTES, now)
        self.keep_tree(OK)
        self.node.dirty(self)
        self.apply_ready()
        for own in self.segments.facts.sealed:
            self.state_segment(own, want=True)

    def detach_tree(self) -> Tree | None:
        """Stop using the tree (it is about to be set aside)."""
        self.checkpoints.abandon()
        tree, self.tree = self.tree, None
        self.overlay.clear()
        self._drop_fresh()
        return tree

    def check_invariants(self) -> None:
        """Programmer errors only; called by the simulator after each step."""
        assert self.applied <= max(self.chosen, self.checkpoints.committed), (self.applied, self.chosen)
        assert self.checkpoints.committed_before <= self.checkpoints.committed
        assert self.digest_void or min(self.digest.rows) >= 0
        assert self.status.serves or self.leading is None
        assert not self.segments.facts.ended or not self.segments.facts.content, "content behind the last seal"


def _key_of(error: Corrupt) -> bytes | None:
    """The storage key that an error of the tree names, as bytes or hex digits."""
    key = error.fields.get("key")
    if isinstance(key, bytes):
        return key
    try:
        return bytes.fromhex(key) if isinstance(key, str) else None
    except ValueError:
        return None
