"""A storage replica of one partition on one node: a log replica with a tree. It applies what is chosen to overlay and tree, keeps the state digest and answers
reads; while it leads, a `Term` evaluates commands and proposes.

Where things are: `status` what it is in · `follow`, `apply` what becomes of chosen records · `reads` · `term` what only a leader has · `attest` its word on
segments · `checkpoints` how the overlay goes down to the tree, what the log may let go of · `repair` a damaged log.

Invariants (check_invariants), beside those of a log replica and of its parts: 1 a copy that does not serve never leads.
"""

from __future__ import annotations

from collections.abc import Callable

from scrubjay.base.errors import Corrupt, NotLeader, ScrubjayError, Unavailable
from scrubjay.base.ids import Lsn, Member, Stamp
from scrubjay.storage.btree.engine import Tree, TreeState
from scrubjay.storage.btree.index_rows import Sizes
from scrubjay.storage.catalogue import PartitionInfo, TableMeta
from scrubjay.storage.commands.values import RangeAnswer, RangeRead, ReadAnswer, WriteAnswer, WriteCommand
from scrubjay.storage.consensus.membership import Change
from scrubjay.storage.items.index_keys import IndexKeys
from scrubjay.storage.items.local_index import LocalRows
from scrubjay.storage.log.configuration import Configuration, decode_configuration
from scrubjay.storage.log.digest import Total
from scrubjay.storage.log.record import Record
from scrubjay.storage.log.split import Split, split_away
from scrubjay.storage.log.transaction import PendingTransactions
from scrubjay.storage.replica.apply import RETRY_US, Apply
from scrubjay.storage.replica.checkpoints import Checkpoints
from scrubjay.storage.replica.host import ReplicaHost
from scrubjay.storage.replica.log_replica import LogReplica, earliest
from scrubjay.storage.replica.overlay import Overlay
from scrubjay.storage.replica.reads import Reads
from scrubjay.storage.replica.segments import OwnSegment
from scrubjay.storage.replica.state import Configured
from scrubjay.storage.replica.status import AMNESIAC, BASE, HEALING, OK, OPENING, SUSPECT
from scrubjay.storage.replica.term import Term
from scrubjay.storage.wal.port import SetTree


class Replica(LogReplica):
    """term: what it has as a leader, None while it does not lead. lo, hi: its range of keys, half-open; hi None: to the end. stuck: its tree can take no more:
    neither applied to nor pinned at a seal.
    local: derives the rows of the table's local indexes, None if it has none. index_keys: what all its indexes ask of its items, None if it has none.

    More than 25 methods: a storage replica's parts ask it for what lies between them."""

    follow: Apply

    def __init__(self, node: ReplicaHost, table: TableMeta, info: PartitionInfo, *, member: Member) -> None:
        self.lo = bytes.fromhex(info.lo)
        self.hi = bytes.fromhex(info.hi) if info.hi else None
        self.local = LocalRows.of_table(table.key, table.local_indexes)
        self.index_keys = IndexKeys.of_table(table)
        super().__init__(node, table, info, member=member)
        self.tree: Tree | None = None
        self.overlay = Overlay()
        self.checkpoints = Checkpoints(self)
        self.reads = Reads(self)
        self.stuck = False

    def _following(self) -> Apply:
        return Apply(self)

    # ------------------------------------------------------------------ the tree

    def awaits_base(self) -> None:
        """It takes part once the base of the restored table is loaded."""
        self.status.move_tree(BASE, "waits for the base of a restored table")

    def awaits_parent(self) -> None:
        """It takes part once the log of the partition that it comes of has ended, and its tree is made of that one's."""
        self.status.move_tree(BASE, "waits for the partition that is to be split")

    def inherits(self, tree: Tree, state: TreeState) -> None:
        """While it waits it follows its parent's log with this tree. state: what the tree would be at if it were its own."""
        self.follow.load(state)
        self.tree = tree

    def opened(self, tree: Tree) -> None:
        """The tree is there: take over its state. Raises Corrupt if what it holds beside the rows is malformed."""
        state = tree.state
        if state.applied > 0 and not state.extra:
            raise Corrupt("the tree was loaded but its load was never confirmed", what="tree", partition=self.partition)
        self.follow.load(state)
        self.tree = tree  # not before: what cannot be loaded is closed by whoever opened it, and never applied to
        self.status.move_tree(OK, "")

    def replace_tree(self, tree: Tree) -> None:
        """A healed tree takes the place of the one set aside; the log above it is applied again."""
        self.tree = tree
        self.follow.load(tree.state)
        self.status.move_tree(OK, "")
        self.follow.void = self.behind = self.stuck = False
        if self.configured.lsn:
            self.takes_place(decode_configuration(self.configured.payload), lsn=self.configured.lsn)
        if self.group is not None:
            now = self.node.now()
            if tree.state.applied > self.group.applied:
                # The group gives what it knows to be chosen above the snapshot anew.
                members = self.configured
                self.group.installed(
                    tree.state.applied,
                    tree.state.stamp,
                    now,
                    members=decode_configuration(members.payload) if members.lsn else None,
                    members_lsn=members.lsn,
                )
                self.follow.chosen = tree.state.applied
                # Its Install is queued now, before the word that the heal is over: a tree ahead of its log is amnesia without either.
                self.node.run_turn(self)
            self.group.set_lead(self.status.vote != AMNESIAC, now)
        self.keep_tree(OK)
        self.node.dirty(self)
        self.apply_ready()
        self.attest.state_all()

    def detach_tree(self) -> Tree | None:
        """Stop using the tree (it is about to be set aside)."""
        self.given_up()
        tree, self.tree = self.tree, None
        self.overlay.clear()
        return tree

    def give_up_tree(self) -> None:
        """The tree can follow the log no further. It stays open, as evidence, until a heal has surveyed it and sets it aside."""
        self.stuck = True
        self.node.stirred(self.partition)  # a suspect one is not scannable any more: whoever heals goes by that
        self.given_up()
        self.overlay.clear()

    def given_up(self) -> None:
        self.checkpoints.abandon()
        super().given_up()

    def keep_tree(self, word: str, synced: Callable[[], None] | None = None) -> None:
        """Make the word for the tree durable (`suspect`, `healing`: it is being replaced, `ok`). The word for the log is another."""
        self.node.queue_control(SetTree(self.partition, word), synced)

    def close(self) -> None:
        super().close()
        if self.tree is not None:
            self.tree.close()

    def forgotten(self) -> None:
        super().forgotten()
        tree = self.detach_tree()
        if tree is not None:
            tree.close()

    @property
    def usable(self) -> bool:
        """It has a tree that is applied to: serving, or suspect and kept comparable."""
        return self.tree is not None and self.state in (OK, SUSPECT) and not self.behind and not self.stuck

    @property
    def follows(self) -> bool:
        return self.usable

    @property
    def compares(self) -> bool:
        return self.status.serves and not self.follow.void

    @property
    def born(self) -> bytes:
        return self.follow.born

    @property
    def knows_birth(self) -> bool:
        return True

    @property
    def digest_void(self) -> bool:
        return self.follow.void

    @property
    def size(self) -> int:
        """Bytes of keys and items."""
        return self.follow.size

    @property
    def index_sizes(self) -> Sizes:
        """(rows, bytes) of each local index."""
        return self.follow.sizes

    def total(self) -> Total:
        """The digest kept at apply, as of `applied`."""
        return self.follow.digest.total()

    @property
    def transactions(self) -> PendingTransactions:
        """Those that are pending as of `applied`."""
        return self.follow.transactions

    @property
    def newest_delete(self) -> Lsn:
        """No key of which nothing is known any more was deleted by a record above it: what was deleted since the last checkpoint is known still."""
        return min(self.follow.newest_delete, self.checkpoints.committed)

    def extra(self) -> bytes:
        """What is committed beside the rows, as of `applied`."""
        return self.follow.extra()

    # ------------------------------------------------------------------ changes of state

    def lacks_its_tree(self, reason: str) -> None:
        """Its log begins, and a heal brings its tree. Durably so: what is found in the place of a tree at the next start is no sign of a log that lost something."""
        self.behind = True
        self.keep_tree(HEALING)
        self.set_state(SUSPECT, reason)

    def suspect(self, reason: str) -> None:
        """Rot was found in the tree, or its statement was outvoted."""
        if self.status.tree in (OK, OPENING):
            self.keep_tree(SUSPECT)
            self.set_state(SUSPECT, reason)

    def found_rot(self, error: Corrupt, *, found_by: str) -> None:
        """A read of the tree failed its check: state it, stop serving, let another replica answer."""
        self.node.finding(self, kind="unreadable", found_by=found_by, storage_key=_key_of(error), lsn=self.applied, detail=error.message)
        self.suspect(f"rot in the tree: {error}")

    def cannot_seal(self, why: str) -> None:
        self.set_state(SUSPECT, why)
        self.give_up_tree()

    def left_behind(self) -> None:
        """The leader's log no longer reaches back to what this replica lacks: it needs a snapshot, which a heal brings. Nothing is wrong with its tree."""
        if not self.behind:
            self.behind = True
            self.node.stirred(self.partition)  # it may be suspect already, and no state changes
            self.set_state(SUSPECT, "left behind: the leader's log no longer reaches back")

    def no_longer_serves(self) -> None:
        super().no_longer_serves()
        self.reads.end(Unavailable("replica stopped serving", partition=self.partition, state=self.state))

    # ------------------------------------------------------------------ a term of leadership

    def elected(self) -> None:
        """Adoption is done: a record of the own ballot must be chosen before anything is served."""
        if not self.status.serves:
            super().elected()
            return
        assert self.group is not None
        self.term = Term(self, self.group)
        self.term.begin()

    def ended(self) -> None:
        """It leads no more: whoever waits for what it proposed is told."""
        term, self.term = self.term, None
        if term is not None:
            term.end()

    @property
    def leads(self) -> bool:
        return self.term is not None and self.term.serving()

    def hand_over(self, leaving: frozenset[int]) -> bool:
        return self.term is not None and self.term.hand_over(leaving)

    def node_failed(self) -> None:
        super().node_failed()
        self.reads.end(NotLeader("node is down", partition=self.partition))

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

    def end_in_split(self, split: Split, done: Callable[[Record | ScrubjayError], None]) -> None:
        """End the log with a SPLIT and its SEAL; done with the SEAL once it is applied here. Raises nothing: refusals go to `done`."""
        refusal, term = self.serves(consistent=True), self.term
        if refusal is not None or term is None:
            done(refusal or NotLeader("not the leader", partition=self.partition))
        else:
            term.split(split, done)

    def change_members(self, change: Change) -> None:
        """Propose the CONFIG that makes it. Raises Unavailable (not now), Invalid (never)."""
        refusal, term = self.serves(consistent=True), self.term
        if refusal is not None or term is None:
            raise refusal or NotLeader("not the leader", partition=self.partition)
        term.change_members(change)

    def gives_way(self, leaving: frozenset[int]) -> None:
        """Hand the lead over to a member besides those, and go on following. Raises Unavailable: it does not lead, or nobody can take it now."""
        refusal, term = self.serves(consistent=True), self.term
        if refusal is not None or term is None:
            raise refusal or NotLeader("not the leader", partition=self.partition)
        if not term.hand_over(leaving) and not term.hand_over(frozenset()):
            raise Unavailable("no other member can take the lead now", partition=self.partition)
        self.node.dirty(self)

    def gives_lead(self, number: int) -> None:
        """Hand the lead over to the member on that node, and go on following. Raises Unavailable: it does not lead, or that member cannot take it now."""
        refusal, term = self.serves(consistent=True), self.term
        if refusal is not None or term is None or self.group is None:
            raise refusal or NotLeader("not the leader", partition=self.partition)
        others = frozenset([member.node for member in self.group.state.members.all]) - {number}
        if not term.hand_over(others):
            raise Unavailable("that member cannot take the lead now", partition=self.partition, to=number)
        self.node.dirty(self)

    def closed_point(self) -> tuple[Stamp, Lsn, Lsn] | None:
        """(closed, last content LSN <= closed, last applied seal) as may be published now, or None."""
        return None if self.term is None else self.term.closed_point()

    def log_archived(self, *, complete_only: bool) -> None:
        """See `Term.log_archived`; whoever does not lead leaves it to who does."""
        if self.term is not None:
            self.term.log_archived(complete_only=complete_only)

    def told(self, table: TableMeta, info: PartitionInfo) -> None:
        super().told(table, info)
        self.index_keys = IndexKeys.of_table(table)
        if self.term is not None:
            self.term.define()

    # ------------------------------------------------------------------ what was applied

    def key_applied(self, key: bytes, lsn: Lsn) -> None:
        if self.term is not None:
            self.term.pending.applied(key, lsn)

    def transaction_applied(self, id_: bytes) -> None:
        if self.term is not None:
            self.term.transacting.applied(id_)

    def sealed(self, record: Record, own: OwnSegment) -> None:
        if self.term is not None:
            self.term.sealed(record, own)

    def reached(self, lsn: Lsn) -> None:
        """All up to `lsn` is applied: whoever waits for it is answered."""
        if self.term is not None:
            self.term.pending.answer_to(lsn)
            self.term.define()
        self.reads.applied()

    def trim(self) -> None:
        self.checkpoints.trim()

    # ------------------------------------------------------------------ members

    @property
    def configured(self) -> Configured:
        return self.follow.configured

    def may_configure(self, record: Record) -> bool:
        """Before the first CONFIG is kept in a tree, the node knows for good that it may be: a tree that cannot be read says nothing of members."""
        try:
            self.node.note_configured()
        except ScrubjayError as error:
            self.node.log_state(self, self.state, f"applying waits: {error}")
            self.repair.until_us = self.node.boot_us() + RETRY_US
            return False
        return True

    def takes_place(self, configuration: Configuration, *, lsn: Lsn) -> None:
        served = self.status.serves
        super().takes_place(configuration, lsn=lsn)
        if served and not self.status.serves:
            self.reads.end(Unavailable("replica stopped serving", partition=self.partition, state=self.state))

    def configured_by(self, configuration: Configuration, record: Record) -> None:
        if record.lsn > self.follow.configured.lsn:  # else a heal was told of a later one
            self.follow.configured = Configured(record.lsn, record.payload)
            super().configured_by(configuration, record)

    # ------------------------------------------------------------------ reading

    def serves(self, *, consistent: bool) -> ScrubjayError | None:
        """None if a read may be answered now, else why not."""
        if not self.status.serves or self.group is None:
            return super().serves(consistent=consistent)
        if consistent and not self.leads:
            return NotLeader("not the leader, or its lease is not held", partition=self.partition, hint=self.node.hint(self.group.leader))
        if self.split is not None:
            return split_away(self.partition, self.split)  # its children have newer versions, or will soon
        return None

    def find(self, key: bytes, *, proven: bool = True) -> bytes | None:
        """The applied version of a key. Raises Corrupt if the tree's row, or (if `proven`, as every answer needs) its absence, fails its check."""
        change = self.overlay.find(key)
        if change is not None:
            return change.item
        tree = self.tree
        assert tree is not None
        row = tree.get(key, proven=proven)
        return None if row is None else row.item

    def written_by(self, key: bytes) -> Lsn | None:
        """LSN of the record that wrote (or, as far as that is still known, deleted) the applied version of a key; 0: a row that its table began with. Raises Corrupt."""
        change = self.overlay.find(key)
        if change is not None:
            return change.lsn
        assert self.tree is not None
        row = self.tree.get(key)
        return None if row is None else row.lsn

    def read(self, key: bytes, *, consistent: bool, min_lsn: Lsn, done: Callable[[ReadAnswer | ScrubjayError], None]) -> None:
        self.reads.one(key, consistent=consistent, min_lsn=min_lsn, done=done)

    def read_range(self, request: RangeRead, *, min_lsn: Lsn, done: Callable[[RangeAnswer | ScrubjayError], None]) -> None:
        self.reads.range(request, min_lsn=min_lsn, done=done)

    # ------------------------------------------------------------------ time

    def deadline(self) -> int | None:
        term, checkpoints = self.term, self.checkpoints
        due = earliest(super().deadline(), None if term is None else term.deadline(), self.reads.deadline(), checkpoints.pin_deadline())
        due = earliest(due, checkpoints.kept.deadline())
        if self.usable:
            due = earliest(due, checkpoints.deadline(), None if term is None else term.seal_deadline())
        return due

    def tick(self) -> None:
        now = self.node.now()
        now_us = now.boot_us
        self._tick_group(now)
        if self.term is not None:
            self.term.tick(now_us)
        if self.usable:
            self.checkpoints.tick(now_us)
            if self.term is not None:
                self.term.maybe_seal(now_us)
        self._tick_log(now_us)
        self.reads.expire(now_us)
        self.checkpoints.expire_pins(now_us)
        self.checkpoints.let_go(now_us)

    def check_invariants(self) -> None:
        """Programmer errors only; called by the simulator after each step."""
        super().check_invariants()
        assert self.status.serves or self.term is None
        self.checkpoints.check_invariants()
        if self.term is not None:
            self.term.check_invariants()


def _key_of(error: Corrupt) -> bytes | None:
    """The storage key that an error of the tree names, as bytes or hex digits."""
    key = error.fields.get("key")
    if isinstance(key, bytes):
        return key
    try:
        return bytes.fromhex(key) if isinstance(key, str) else None
    except ValueError:
        return None
