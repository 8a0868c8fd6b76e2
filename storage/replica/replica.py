"""One storage replica of one partition on one node: it drives the consensus group, applies what is chosen to overlay and tree, keeps the state
digest, states segments, and answers reads; while it leads it evaluates commands and proposes.

Synchronous: calls and events in, callbacks out; everything runs on the node's loop. What state it is in: `storage.replica.status`.

Invariants (check_invariants): 1 applied <= chosen. 2 checkpoints rise. 3 the digest's row counts are not negative. 4 a suspect never leads. 5 no
content follows the last SEAL of a dropped table.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import msgspec

from scrubjay.base.checksum import row_hash
from scrubjay.base.errors import Corrupt, Missing, NotLeader, ScrubjayError, Unavailable
from scrubjay.base.hlc import stamp_micros
from scrubjay.base.ids import Lsn, Member, PartitionId, Stamp, uuid_bytes
from scrubjay.storage.archive_port import facts_of
from scrubjay.storage.btree.engine import Tree, TreeState
from scrubjay.storage.catalogue import PartitionInfo, TableMeta
from scrubjay.storage.commands.values import RangeAnswer, RangeRead, ReadAnswer, WriteAnswer, WriteCommand
from scrubjay.storage.consensus.group import Group
from scrubjay.storage.log import record as records
from scrubjay.storage.log.digest import RangeDigest, Total
from scrubjay.storage.log.record import Archived, Effect, Kind, Op, Record, Seal
from scrubjay.storage.replica.attest import Attest
from scrubjay.storage.replica.checkpoints import Checkpoints
from scrubjay.storage.replica.host import ReplicaHost
from scrubjay.storage.replica.overlay import Overlay
from scrubjay.storage.replica.reads import Reads
from scrubjay.storage.replica.repair import Repair
from scrubjay.storage.replica.segments import SegmentFacts, SegmentTracker, raw_sha256
from scrubjay.storage.replica.state import EXTRA_VERSION, ReplicaExtra
from scrubjay.storage.replica.status import AMNESIAC, OK, OPENING, STOPPED, SUSPECT, VOTES, Status
from scrubjay.storage.replica.term import Term
from scrubjay.storage.wal.port import SetTree, SetVote

APPLY_RETRY_US = 200_000
"""Pause before a record is applied again that the machine did not let us apply."""


class Replica:
    """See the module. table, info: what the catalogue says (replaced as it changes). number: this node's number."""

    def __init__(self, node: ReplicaHost, table: TableMeta, info: PartitionInfo, *, member: Member) -> None:
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
        self.term: Term | None = None
        self.attest = Attest(self)
        self.reads = Reads(self)
        self.repair = Repair(self)
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
        term, self.term = self.term, None
        if term is not None:
            term.end()

    # ------------------------------------------------------------------ consensus events

    def elected(self) -> None:
        """Adoption is done: a record of the own ballot must be chosen before anything is served."""
        group = self.group
        assert group is not None
        if not self.status.serves:
            group.resign(self.node.now())
            return
        self.term = Term(self, group)
        self.term.begin()

    def deposed(self) -> None:
        self.ended()
        if self.node.leaving is not None and self.group is not None:
            self.group.set_lead(False, self.node.now())

    def leave(self, leaving: frozenset[int]) -> None:
        """The node is about to stop: whoever can take over does, and this copy does not stand again. leaving: numbers of nodes that stop too."""
        group = self.group
        if group is None or self.stopped:
            return
        if self.term is None or not self.term.hand_over(leaving):
            group.set_lead(False, self.node.now())
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
        if self.term is not None:
            self.term.pending.answer_to(self.applied)
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
        if self.term is not None:
            self.term.pending.applied(key, record.lsn)

    def _apply_seal(self, record: Record, seal: Seal, now_us: int) -> bool:
        first = Lsn(seal.first)
        try:
            raw = raw_sha256(self.node.wal, self.partition, first, record.lsn)
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
        if self.term is not None:
            self.term.sealed(record)
        self.attest.state(own)
        return True

    def _apply_archived(self, archived: Archived) -> None:
        self.segments.on_archived(archived)
        self.attest.on_archived(archived)
        self.checkpoints.trim()
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
        if consistent and not self.leads:
            return NotLeader("not the leader, or its lease is not held", partition=self.partition, hint=self.node.hint(self.group.leader))
        return None

    def read(self, key: bytes, *, consistent: bool, min_lsn: Lsn, done: Callable[[ReadAnswer | ScrubjayError], None]) -> None:
        self.reads.one(key, consistent=consistent, min_lsn=min_lsn, done=done)

    def read_range(self, request: RangeRead, *, min_lsn: Lsn, done: Callable[[RangeAnswer | ScrubjayError], None]) -> None:
        self.reads.range(request, min_lsn=min_lsn, done=done)

    # ------------------------------------------------------------------ what a leader does

    def write(self, command: WriteCommand, done: Callable[[WriteAnswer | ScrubjayError], None]) -> None:
        """Evaluated and proposed by the leader; answered when it is applied."""
        refusal, term = self.serves(consistent=True), self.term
        if refusal is not None or term is None:
            done(refusal or NotLeader("not the leader", partition=self.partition))
        else:
            term.write(command, done)

    def seal(self, reason: int, tag: bytes, done: Callable[[Record | ScrubjayError], None]) -> None:
        """Seal the open segment now; done with the SEAL once it is applied here. Raises nothing: refusals go to `done`."""
        refusal, term = self.serves(consistent=True), self.term
        if refusal is not None or term is None:
            done(refusal or NotLeader("not the leader", partition=self.partition))
        else:
            term.seal(reason, tag, done)

    def log_archived(self, *, complete_only: bool) -> None:
        """See `Term.log_archived`; whoever does not lead leaves it to who does."""
        if self.term is not None:
            self.term.log_archived(complete_only=complete_only)

    def closed_point(self) -> tuple[Stamp, Lsn, Lsn] | None:
        """(closed, last content LSN <= closed, last applied seal) as may be published now, or None."""
        return None if self.term is None else self.term.closed_point()

    @property
    def leads(self) -> bool:
        """It leads, holds the lease, and has applied a record of its own ballot."""
        return self.term is not None and self.term.serving()

    # ------------------------------------------------------------------ time

    def deadline(self) -> int | None:
        """Boot time in microseconds at which `tick` has something to do, None if never."""
        due = []
        attest_due = self.attest.deadline()
        if attest_due is not None:
            due.append(attest_due)
        if self.group is not None:
            group_due = self.group.deadline()
            if group_due is not None:
                due.append(group_due)
        if self.term is not None:
            term_due = self.term.deadline()
            if term_due is not None:
                due.append(term_due)
        if self.usable:
            checkpoint_due = self.checkpoints.deadline()
            if checkpoint_due is not None:
                due.append(checkpoint_due)
            seal_due = None if self.term is None else self.term.seal_deadline()
            if seal_due is not None:
                due.append(seal_due)
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
        if self.term is not None:
            self.term.tick(now_us)
        if self.usable:
            self.checkpoints.tick(now_us)
            if self.term is not None:
                self.term.maybe_seal(now_us)
        self.repair.tick(now_us)
        self.attest.tick(now_us)
        self.reads.expire(now_us)
        self.checkpoints.expire_pins(now_us)

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
        self.attest.state_all()

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
        assert self.status.serves or self.term is None
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
