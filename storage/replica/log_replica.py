"""A replica of one partition on one node, as far as it needs no tree: a log, a vote, and a word on the segments that the log is cut into.

A log replica is this and nothing more, with a file beside the log that says who is a member (ADR 0080): it votes, follows what is chosen, states the bytes of its segments and attests archived ones, and never leads or serves.
A storage replica (`storage.replica.replica`) is one of these with a tree.

Synchronous: calls and events in, callbacks out; everything runs on the node's loop. What state it is in: `storage.replica.status`.

Invariants: those of its parts (check_invariants of each).
"""

from __future__ import annotations

from functools import partial

from scrubjay.base.errors import Corrupt, NotLeader, ScrubjayError, Unavailable
from scrubjay.base.ids import Lsn, Member, PartitionId, Stamp, uuid_bytes
from scrubjay.storage.archive_port import facts_of
from scrubjay.storage.btree.index_rows import Sizes
from scrubjay.storage.catalogue import PartitionInfo, TableMeta
from scrubjay.storage.consensus.group import Group
from scrubjay.storage.consensus.ready import Now
from scrubjay.storage.log import record as records
from scrubjay.storage.log.configuration import Configuration, Vote, decode_configuration
from scrubjay.storage.log.digest import Total
from scrubjay.storage.log.record import Record
from scrubjay.storage.log.split import Split, encode_born
from scrubjay.storage.log.stated import Stated
from scrubjay.storage.replica.attest import Attest
from scrubjay.storage.replica.follow import Follow
from scrubjay.storage.replica.host import ReplicaHost
from scrubjay.storage.replica.repair import Repair
from scrubjay.storage.replica.segments import OwnSegment, SegmentFacts, SegmentTracker
from scrubjay.storage.replica.state import UNCONFIGURED, Configured
from scrubjay.storage.replica.status import AMNESIAC, LEARNER, LOG, OK, STOPPED, VOTES, Status
from scrubjay.storage.replica.term import Term
from scrubjay.storage.wal.port import SetVote

KEEP_AGAIN_US = 200_000
"""Until it is tried again to keep who is a member."""


class LogReplica:
    """table, info: what the catalogue says (replaced as it changes). member: who this is in the group. group: None until it runs. logged: the WAL knows it,
    durably. behind: it lacks records that no member's log holds any more. kept: who is a member, durably beside the log. stopped: it is gone from this node.

    More than 15 fields: parts, and what is known of one copy. More than 25 methods: it is what a turn drives and a node runs (`storage.replica.host`: twelve of them) and what its parts ask of it."""

    follow: Follow

    def __init__(self, node: ReplicaHost, table: TableMeta, info: PartitionInfo, *, member: Member) -> None:
        self.node = node
        self.table = table
        self.info = info
        self.partition: PartitionId = info.partition_id
        self.member = member
        self.owner = records.owner_tag(uuid_bytes(info.partition_id))
        self.described = facts_of(node.cluster_id, table, info)
        self.status = Status(partial(node.stirred, info.partition_id))
        self.group: Group | None = None
        self.attest = Attest(self)
        self.repair = Repair(self)
        self.follow = self._following()
        self.stopped = False
        self.logged = False
        self.behind = False
        self.kept = UNCONFIGURED

    def _following(self) -> Follow:
        """What becomes of the records chosen."""
        return Follow(self)

    def start(self, group: Group, applied: Lsn) -> None:
        """It takes part from now on. applied: as `group` knows it, at least."""
        self.group = group
        self.follow.chosen = max(self.follow.chosen, applied)
        self.node.dirty(self)

    def opened_log(self, first: Lsn) -> None:
        """Its log begins at `first`. What lies below was archived: only that is let go of."""
        facts = SegmentFacts(first=first, archived=first - 1)
        if first > 1 or self.table.restore_of is not None:
            facts.chain, facts.sum = (b"" if first > 1 else facts.chain), b""
        self.follow.restart(Lsn(first - 1), Stamp(0), facts)
        self.status.move_tree(LOG, "")

    def told(self, table: TableMeta, info: PartitionInfo) -> None:
        """The catalogue says something else of it now."""
        self.table, self.info = table, info
        self.node.stirred(self.partition)

    def close(self) -> None:
        """It is gone from this node, which stops."""
        self.stopped = True

    def forgotten(self) -> None:
        """It is gone from this node for good."""
        self.stopped = True

    # ------------------------------------------------------------------ what it is in

    @property
    def begun(self) -> bool:
        """Its log has begun, in this life or an earlier one: it is not to be made of anything any more. It may not run yet, for its tree is being opened."""
        return self.logged or self.group is not None

    @property
    def state(self) -> str:
        """In one word: see `Status.word`."""
        return self.status.word

    @property
    def archives(self) -> bool:
        """Its log goes to the archive. That of an index's table does not, for it is derived."""
        return not self.table.index_of

    @property
    def reason(self) -> str:
        return self.status.reason

    @property
    def damaged(self) -> bool:
        """Records in the middle of its log are bad; peers are asked for them."""
        return self.repair.damaged

    @property
    def follows(self) -> bool:
        """It goes on following what is chosen."""
        return self.state == LOG and not self.behind

    @property
    def out(self) -> bool:
        """Its log is gone: it takes no part and never will under this member id."""
        return self.group is None and self.status.vote == AMNESIAC

    @property
    def usable(self) -> bool:
        """It has a tree that is applied to."""
        return False

    @property
    def compares(self) -> bool:
        """It minds what other members state of its segments."""
        return self.follows

    @property
    def applied(self) -> Lsn:
        return self.follow.lsn

    @property
    def stamp(self) -> Stamp:
        """Of the record at `applied`."""
        return self.follow.stamp

    @property
    def chosen(self) -> Lsn:
        return self.follow.chosen

    @property
    def segments(self) -> SegmentTracker:
        return self.follow.segments

    @property
    def stated(self) -> Stated:
        """What its log said last of the table, as of `applied`."""
        return self.follow.stated

    @property
    def split(self) -> Split | None:
        """What the partition was split into, as of `applied`."""
        return self.follow.split

    @property
    def born(self) -> bytes:
        """How the partition began, if a split made it (`storage.log.split.encode_born`); b"": with its table, or nobody knows here."""
        birth = self.follow.birth
        return b"" if birth is None or birth.born is None else encode_born(birth.born)

    @property
    def knows_birth(self) -> bool:
        """`born` says how the partition began, and that no split made it too. A log that was let go of at its beginning says nothing of it any more."""
        return self.follow.birth is not None

    @property
    def digest_void(self) -> bool:
        """What its digest should be is unknown: it states nothing."""
        return False

    @property
    def leads(self) -> bool:
        """It leads, holds the lease, and has applied a record of its own ballot."""
        return False

    def serves(self, *, consistent: bool) -> ScrubjayError | None:
        """None if a read may be answered now, else why not."""
        return NotLeader("replica does not serve", partition=self.partition, state=self.state)

    def note(self, reason: str) -> None:
        """What keeps it from opening for now; its state stays what it is."""
        self.status.note(reason)

    # ------------------------------------------------------------------ changes of state

    def set_state(self, tree: str, reason: str) -> None:
        """The tree's state changes to one that does not serve. Leadership is given up, waiting reads are told. The vote is not touched."""
        if self.status.move_tree(tree, reason):
            self.no_longer_serves()

    def amnesia(self, reason: str, *, known: bool = True) -> None:
        """Its log may lack what was synced once: it never votes again under this member id. Durable, whatever befalls its tree. known: the WAL knows it;
        that it does not says as much at every start."""
        if self.status.move_vote(AMNESIAC, reason):
            if known:
                self.node.queue_control(SetVote(self.partition, AMNESIAC))
            if self.group is not None:
                self.group.set_vote(False, self.node.now())
            self.no_longer_serves()

    def no_longer_serves(self) -> None:
        self.node.log_state(self, self.state, self.reason)
        if self.group is not None:
            self.group.set_lead(False, self.node.now())
            self.ended()
            self.node.dirty(self)

    def suspect(self, reason: str) -> None:
        """Its statement was outvoted: of its log it is that something is wrong, there is nothing else."""
        self.amnesia(reason)

    def stop_at(self, record: Record, why: str = "") -> None:
        """Its log holds what this version does not know. To skip it would be to serve something else than the log says. why: what is not understood in it."""
        because = f" ({why})" if why else ""
        if self.status.move_tree(
            STOPPED, f"record {records.named(record)} at LSN {record.lsn} is not implemented by this version{because}"
        ):
            self.given_up()
            self.no_longer_serves()

    def given_up(self) -> None:
        """It follows the log no further."""
        self.follow.drop()

    def cannot_seal(self, why: str) -> None:
        """A segment that it must state cannot be: of its log it is that something is wrong, there is nothing else."""
        self.amnesia(why)
        self.given_up()

    def left_behind(self) -> None:
        """The leader's log no longer reaches back to what this replica lacks. It votes on, with what it has."""
        if not self.behind:
            self.behind = True
            self.note("left behind: the leader's log no longer reaches back")
            self.node.log_state(self, self.state, self.reason)

    # ------------------------------------------------------------------ the turn (storage.replica.host.Driven)

    def elected(self) -> None:
        """It does not lead: somebody who can serve must."""
        assert self.group is not None
        self.group.resign(self.node.now())

    def deposed(self) -> None:
        self.ended()
        if self.node.leaving is not None and self.group is not None:
            self.group.set_lead(False, self.node.now())

    def ended(self) -> None:
        """It leads no more."""

    def take_chosen(self, chosen: tuple[Record, ...]) -> None:
        """Records chosen and in this member's own synced log, gap-free."""
        self.follow.take(chosen)

    def apply_ready(self) -> None:
        """Apply what is chosen, in order, as far as it goes now."""
        self.follow.go_on()

    def install_from(self, leader: Member) -> None:
        """The leader's log does not reach back to what this replica lacks."""
        self.left_behind()

    def log_failed(self, error: Corrupt) -> None:
        self.repair.log_failed(error)

    def drained(self) -> None:
        """Everything the group wanted is carried out."""
        self.node.arm(self)

    # ------------------------------------------------------------------ the node

    def leave(self, leaving: frozenset[int]) -> None:
        """The node is about to stop: whoever can take over does, and this copy does not stand again. leaving: numbers of nodes that stop too."""
        if self.group is None or self.stopped:
            return
        if not self.hand_over(leaving):
            self.group.set_lead(False, self.node.now())
        self.node.dirty(self)

    def hand_over(self, leaving: frozenset[int]) -> bool:
        """If it leads, give that to whoever can take it. False: it does not, or nobody can."""
        return False

    def node_failed(self) -> None:
        """The node stops: whoever waits here is told, and goes on elsewhere."""
        self.ended()

    # ------------------------------------------------------------------ what only a storage replica has

    term: Term | None = None

    def total(self) -> Total:
        """The digest kept at apply, as of `applied`."""
        return Total(0, 0)

    @property
    def size(self) -> int:
        """Bytes of keys and items."""
        return 0

    @property
    def index_sizes(self) -> Sizes:
        """(rows, bytes) of each local index: a log has none."""
        return ()

    def closed_point(self) -> tuple[Stamp, Lsn, Lsn] | None:
        """What may be published as closed now: nothing by who does not lead."""
        return None

    # ------------------------------------------------------------------ members

    @property
    def configured(self) -> Configured:
        """Who is a member, as far as this copy has applied CONFIGs, or was told."""
        return self.kept

    def takes_place(self, configuration: Configuration, *, lsn: Lsn) -> None:
        """Who is a member from the CONFIG at `lsn` on, 0: from the beginning. A copy that no CONFIG lets vote yet learns, and serves nothing; one that is removed never votes again."""
        if configuration.gone(self.member):
            self.amnesia(f"it was removed from its group by the CONFIG at LSN {lsn}")
            return
        place = configuration.place(self.member.node)
        votes = place is not None and place.member == self.member and place.vote is Vote.VOTES
        if not votes and self.status.vote == VOTES:
            self.status.move_vote(LEARNER, "it learns: no CONFIG lets it vote yet")
        elif votes and self.status.vote == LEARNER:
            self.status.move_vote(VOTES, "" if self.status.tree == OK else self.reason)
            self.node.log_state(self, self.state, f"it votes since the CONFIG at LSN {lsn}")

    def may_configure(self, record: Record) -> bool:
        """Its log will let go of the record: what it says is kept beside the log first. False: not now."""
        return self._keeps(Configured(record.lsn, record.payload))

    def _keeps(self, told: Configured) -> bool:
        """Who is a member is durable here, by the newest CONFIG that is known. False: not now, it is tried again."""
        if told.lsn <= self.kept.lsn:
            return True
        try:
            self.node.note_configured()
            self.node.keep_log_members(self.partition, told.lsn, told.payload)
        except ScrubjayError as error:
            self.node.log_state(self, self.state, f"following waits: {error}")
            self.repair.until_us = self.node.boot_us() + KEEP_AGAIN_US
            return False
        self.kept = told
        return True

    def configured_by(self, configuration: Configuration, record: Record) -> None:
        """A CONFIG was applied."""
        if record.lsn >= self.configured.lsn:  # else it was told of a later one
            self.takes_place(configuration, lsn=record.lsn)

    def begin_behind(self, lsn: Lsn, told: Configured) -> None:
        """Its log begins anew behind `lsn`, up to which all is archived, unless it reaches further. told: who is a member by the last CONFIG that is chosen. Raises Unavailable, Corrupt."""
        group = self.group
        if group is None or self.out:
            raise Unavailable("this copy takes no part", partition=self.partition, state=self.state)
        if lsn <= group.applied:
            if self.behind:
                raise Unavailable("what this log lacks is not archived yet", partition=self.partition, applied=group.applied)
            return
        members = decode_configuration(told.payload) if told.lsn else None
        if not self._keeps(told):
            raise Unavailable("who is a member cannot be kept now", partition=self.partition)
        group.installed(lsn, Stamp(0), self.node.now(), members=members, members_lsn=told.lsn)
        self.follow.chosen = lsn
        self.follow.restart(lsn, Stamp(0), SegmentFacts(first=Lsn(lsn + 1), archived=lsn, chain=b"", sum=b""))
        self.behind = False
        if members is not None:
            self.takes_place(members, lsn=told.lsn)
        self.node.log_state(self, self.state, f"its log begins behind {lsn}, which is archived")
        self.node.run_turn(self)

    # ------------------------------------------------------------------ segments

    def log_archived(self, *, complete_only: bool) -> None:
        """Whoever leads logs ARCHIVED; not this one."""

    def sealed(self, record: Record, own: OwnSegment) -> None:
        """A SEAL was applied."""

    def trim(self) -> None:
        """Let go of the log that is archived and followed: nothing else here needs it. While a slice is followed the group does not know yet how far that came."""
        if self.group is None or self.stopped:
            return
        below = Lsn(min(self.segments.facts.archived, self.group.applied) + 1)
        if below > self.group.log.first:
            self.node.wal.trim(self.partition, below)
            self.group.trimmed(below)

    # ------------------------------------------------------------------ time

    def deadline(self) -> int | None:
        """Boot time in microseconds at which `tick` has something to do, None if never."""
        group_due = None if self.group is None else self.group.deadline()
        return earliest(group_due, self.attest.deadline(), self.repair.until_us or None)

    def tick(self) -> None:
        """Do what is due."""
        now = self.node.now()
        self._tick_group(now)
        self._tick_log(now.boot_us)

    def _tick_group(self, now: Now) -> None:
        if self.group is not None:
            due = self.group.deadline()
            if due is not None and due <= now.boot_us:
                self.group.tick(now)
                self.node.dirty(self)

    def _tick_log(self, now_us: int) -> None:
        self.repair.tick(now_us)
        self.attest.tick(now_us)

    def check_invariants(self) -> None:
        """Programmer errors only; called by the simulator after each step."""
        self.follow.check_invariants()


def earliest(*due: int | None) -> int | None:
    """The first of several deadlines, None if none is set."""
    first: int | None = None
    for at in due:
        if at is not None and (first is None or at < first):
            first = at
    return first
