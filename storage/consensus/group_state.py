"""What the roles of one group share: the durable facts, the log, and whether this member campaigns or leads. Each role is given the same `GroupState`.

Who writes what: `acceptor` and `adoption` the ballots and the log, `campaign` the campaign, `leading` the leadership, `resignation` ends either.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from scrubjay.base.errors import Corrupt, Missing
from scrubjay.base.ids import Ballot, Lsn, Member, Stamp, ballot_owner, uuid_bytes
from scrubjay.storage.consensus.follower import Follower, Standing
from scrubjay.storage.consensus.group_config import GroupConfig
from scrubjay.storage.consensus.group_log import GroupLog
from scrubjay.storage.consensus.membership import Membership, MembershipLog
from scrubjay.storage.consensus.outbox import NONE, Outbox
from scrubjay.storage.consensus.ready import Now
from scrubjay.storage.log.configuration import Configuration
from scrubjay.storage.log.record import Record, decode_all, owner_tag


class Staging:
    """An adoption under way: records queued to the WAL that are not log yet. cut_at: behind which it was begun. kept: up to there our own log turned out to hold the very
    records, and keeps them. last: the last record staged or kept. records: those staged that are in memory, none if that are too many. memberships: what the staged ones say."""

    __slots__ = ("ballot", "cut_at", "kept", "last", "memberships", "records", "size")

    def __init__(self, ballot: Ballot, cut_at: Lsn) -> None:
        self.ballot = ballot
        self.cut_at = cut_at
        self.kept = cut_at
        self.last = cut_at
        self.records: list[Record] = []
        self.memberships: list[Membership] = []
        self.size = 0


class Piece(NamedTuple):
    """Part of an adoption: records [first, last] of the log that `source` accepted under `accepted`."""

    source: Member
    accepted: Ballot
    first: Lsn
    last: Lsn


class Campaign:
    """One campaign. own: our own promise is synced. fetching: the quorum is complete, its best log is being fetched. at: boot clock at which it is looked after.
    asked: nodes that were asked for a promise. members: what the log of each member that answered says, seen by us."""

    __slots__ = ("answers", "asked", "at", "ballot", "fetching", "members", "own", "pieces", "refused", "retries", "source", "staging")

    def __init__(self, ballot: Ballot, at: int | None = None) -> None:
        self.ballot = ballot
        self.at = at
        self.own = False
        self.answers: dict[Member, Standing] = {}
        self.members: dict[Member, Membership] = {}
        self.asked: set[int] = set()
        self.refused: set[int] = set()
        self.fetching = False
        self.pieces: list[Piece] = []
        self.source = NONE
        self.staging: Staging | None = None
        self.retries = 0


class Leadership:
    """What a leader has under one ballot; gone when it ends.

    source: accepted ballot of the log that it adopted. adopted_last: where that ended. own_from: first LSN of its own. stamp: of the last record proposed.
    window: (last LSN, bytes, first stamp) of each batch proposed and not chosen. announced: the shell knows. handover: node that is to lead next, 0: none.
    leaving: members that a CONFIG not chosen yet removes.
    retry_at, lease_at, handover_at: boot clock at which an answer is overdue, a lease missed for too long, a hand-over given up.
    """

    __slots__ = (
        "adopted_last",
        "announced",
        "ballot",
        "followers",
        "handover",
        "handover_at",
        "lease_at",
        "leaving",
        "own_from",
        "retry_at",
        "source",
        "stamp",
        "window",
        "window_bytes",
    )

    def __init__(self, campaign: Campaign, members: Membership, *, last: Lsn, stamp: Stamp, lease_at: int) -> None:
        self.ballot = campaign.ballot
        self.source = campaign.source
        self.adopted_last = last
        self.own_from = Lsn(last + 1)
        self.stamp = stamp
        self.followers = {member.node: Follower(member, votes=member in members.voters) for member in members.peers}
        self.leaving: dict[Member, Lsn] = {}
        self.window: deque[tuple[int, int, int]] = deque()
        self.window_bytes = 0
        self.announced = False
        self.handover = 0
        self.retry_at: int | None = None
        self.lease_at: int | None = lease_at
        self.handover_at: int | None = None


class GroupState:
    """promised, accepted, resigned: the ballots that are durable. staging: a follower's adoption under way. may_vote, may_lead: the shell's word; unread: why
    the log could not be read for the members it names, so that this one does not vote. removed: what is chosen says that this is no member. members: as of the end of
    the log; memberships: along it. campaign, leadership: at most one of them. now: of the event at hand.

    More than 15 fields: it is the one place for them.
    """

    __slots__ = (
        "_applied_stamp",
        "_owner_tag",
        "accepted",
        "campaign",
        "clock",
        "clock_refusals",
        "leadership",
        "liveness",
        "log",
        "may_lead",
        "may_vote",
        "members",
        "memberships",
        "now",
        "options",
        "out",
        "partition",
        "promised",
        "removed",
        "resigned",
        "staging",
        "unread",
    )

    def __init__(self, config: GroupConfig) -> None:
        start = config.start
        self.partition = config.partition
        self.members = config.members
        self.memberships = MembershipLog(config.members)
        self.removed = False
        self.unread: Corrupt | None = None
        self.options = config.options
        self.liveness = config.liveness
        self.clock = config.clock
        self.promised = start.promised
        self.accepted = start.accepted
        self.resigned = start.resigned
        self.log = GroupLog(config.reader, first=start.first, last=start.last, applied=start.applied)
        self.out = Outbox(config.partition)
        self.staging: Staging | None = None
        self.may_vote = True
        self.may_lead = True
        self.campaign: Campaign | None = None
        self.leadership: Leadership | None = None
        self.clock_refusals = 0
        self.now = Now(0, 0)
        self._owner_tag = owner_tag(uuid_bytes(config.partition))
        self._applied_stamp = start.stamp

    # --- who is a member ---

    @property
    def votes(self) -> bool:
        """What this member says counts for what it is: its log is whole, it can be read for its members, and it was not removed."""
        return self.may_vote and self.unread is None and not self.removed

    def members_moved(self) -> None:
        """The log was extended, cut or replaced: who is a member is read from its end."""
        last = self.memberships.last
        if last is not self.members:
            self.members = last
            for peer in last.peers:
                self.liveness.watch(peer.node)

    def read_members(self) -> None:
        """Read the log above what is applied for its CONFIG records. `unread` says why that is not possible now."""
        log = self.log
        self.unread = None
        try:
            self.memberships.cut(log.applied)
            at = max(log.first, Lsn(log.applied + 1))
            while at <= log.last:
                records = log.read(at, log.last + 1, max_bytes=self.options.batch_bytes)
                self.memberships.extend(self.memberships.read(records))
                at = Lsn(records[-1].lsn + 1)
        except Corrupt as error:
            self.unread = error
        except Missing as error:
            self.unread = Corrupt(f"a record that the log must hold is not there: {error.message}", what="wal", lsn=error.fields.get("lsn"))
        self.members_moved()

    # --- whose ballot it is ---

    @property
    def owns_promised(self) -> bool:
        """The promised ballot is of this node, perhaps of an earlier incarnation."""
        return self.promised != NONE and ballot_owner(self.promised).node == self.members.me.node

    @property
    def leader(self) -> Member | None:
        """The member best known to lead, None if there is none."""
        if self.leadership is not None:
            return self.members.me
        if self.promised in {NONE, self.resigned} or self.accepted != self.promised:
            return None
        return None if self.owns_promised else ballot_owner(self.promised)

    # --- records and clocks that come in ---

    def decode(self, first: int, blob: bytes) -> list[Record]:
        """Records of a message. Raises Corrupt if they are not gap-free from `first`, or not of this partition."""
        try:
            records = list(decode_all(blob, owner=self._owner_tag, opaque=True))
        except Corrupt as error:
            raise Corrupt(f"records of a message are bad: {error.message}", **{**error.fields, "what": "message"}) from error
        if records and (records[0].lsn != first or records[-1].lsn != first + len(records) - 1):
            raise Corrupt("records of a message are not in order", what="message", lsn=first)
        return records

    def take_clock(self, stamp: Stamp, now: Now) -> bool:
        """Merge a clock that came in. False: it is too far ahead; what it came with is refused."""
        if self.clock.merge(stamp, now.wall_us):
            return True
        self.clock_refusals += 1
        return False

    def take_stamp(self, records: Sequence[Record], now: Now) -> bool:
        """Merge the last stamp of records that came in. False: they are refused."""
        return not records or self.take_clock(records[-1].stamp, now)

    def last_stamp(self) -> Stamp:
        """Stamp of the last record of the log, from the log or, if that is empty, from the tree; 0 if unknown. Raises Corrupt."""
        log = self.log
        if log.last >= log.first:
            return log.read(log.last, log.last + 1, max_bytes=1)[0].stamp
        return self._applied_stamp

    def install(self, lsn: Lsn, stamp: Stamp, configuration: Configuration | None, configured: Lsn) -> None:
        """A snapshot stands for the log up to `lsn`. stamp: of the record there. configuration: who is a member by the CONFIG at `configured`, None: who is known to be."""
        self.staging = None
        known = self.log.chosen
        self.log.install(lsn)
        self.memberships.install(lsn, known, configuration, configured)
        self.members_moved()
        self._applied_stamp = stamp
