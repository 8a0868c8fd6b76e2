"""The acceptor half of a replica: what it promised, which log it accepted, and the order in which that becomes durable.

State in memory moves when a frame is *queued*; whatever rests on it leaves only after the sync that covers it (`persisted`). Several Ready values may be
outstanding: batch N+1 collects while N syncs.

Rules kept here: records are accepted in LSN order only; one accepted ballot for the whole log; that ballot moves by one ADOPT frame, written after every staged record;
no promise to others while this node supports the owner of the promised ballot, or within D of a restart.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from scrubjay.base.errors import Corrupt
from scrubjay.base.hlc import HybridClock
from scrubjay.base.ids import Ballot, Lsn, Member, PartitionId, Stamp, ballot_owner, uuid_bytes
from scrubjay.storage.consensus.liveness import Liveness
from scrubjay.storage.consensus.log import Log
from scrubjay.storage.consensus.messages import Accept, Accepted, Behind, Fetch, Fetched, PartitionMessage, Prepare, Promise, Refused, Stage
from scrubjay.storage.consensus.options import ConsensusOptions
from scrubjay.storage.consensus.quorum import quorum_of
from scrubjay.storage.consensus.ready import Envelope, GroupState, LogReader, Now
from scrubjay.storage.log.record import Record, decode_all, owner_tag
from scrubjay.storage.wal import port as wal

NONE = Ballot(0)


class Pending:
    """A Ready that is not synced yet: what it makes true and which messages wait for it."""

    __slots__ = ("accepted", "elects", "last", "messages", "promises", "token")

    def __init__(self, token: int, accepted: Ballot, last: Lsn, messages: list[Envelope], promises: Ballot, elects: Ballot) -> None:
        self.token = token
        self.accepted = accepted
        self.last = last
        self.messages = messages
        self.promises = promises
        self.elects = elects


class Staging:
    """An adoption under way: records queued to the WAL that are not log yet."""

    __slots__ = ("ballot", "cut_at", "last", "records", "size")

    def __init__(self, ballot: Ballot, cut_at: Lsn) -> None:
        self.ballot = ballot
        self.cut_at = cut_at
        self.last = cut_at
        self.records: list[Record] = []
        self.size = 0


class Acceptor:
    """Durable state, log and persistence of one replica; `Group` adds the roles."""

    def __init__(
        self,
        *,
        partition: PartitionId,
        me: Member,
        members: tuple[Member, ...],
        state: GroupState,
        log: LogReader,
        liveness: Liveness,
        clock: HybridClock,
        options: ConsensusOptions,
    ) -> None:
        assert me in members
        assert state.first <= state.applied + 1
        assert state.applied <= state.last
        self.partition = partition
        self.me = me
        self.members = members
        self.peers = tuple(member for member in members if member != me)
        self.quorum = quorum_of(len(members))
        self.options = options
        self.liveness = liveness
        self.clock = clock
        self.promised = state.promised
        self.accepted = state.accepted
        self.resigned = state.resigned
        self.log = Log(log, first=state.first, last=state.last)
        self.chosen: Lsn = state.applied
        self.applied: Lsn = state.applied
        self.may_vote = True
        self.may_lead = True
        self.clock_refusals = 0
        self._owner_tag = owner_tag(uuid_bytes(partition))
        self._applied_stamp = state.stamp
        self._given: Lsn = state.applied
        self._synced_last: Lsn = state.last
        self._staging: Staging | None = None
        self._frames: list[wal.Frame] = []
        self._appending: list[Record] = []
        self._send_now: list[Envelope] = []
        self._after_sync: list[Envelope] = []
        self._outstanding: deque[Pending] = deque()
        self._token = 0
        self._promises = NONE
        self._elects = NONE
        self._install_from: Member | None = None
        self._by_node = {member.node: member for member in members}
        self._now = Now(0, 0)
        assert len(self._by_node) == len(members)
        for peer in self.peers:
            liveness.watch(peer.node)

    # --- what is read from outside ---

    @property
    def first(self) -> Lsn:
        """First LSN that can still be read from the log."""
        return self.log.first

    @property
    def last(self) -> Lsn:
        """Last LSN accepted here (queued, not necessarily synced)."""
        return self.log.last

    @property
    def next_lsn(self) -> Lsn:
        return Lsn(self.log.last + 1)

    @property
    def synced(self) -> Lsn:
        """Last LSN that is in the synced log under the accepted ballot."""
        return self._synced_last

    # --- queueing ---

    def _save(self, frame: wal.Frame) -> None:
        if self._appending:
            self._flush_append()
        self._frames.append(frame)

    def _flush_append(self) -> None:
        self._frames.append(wal.Append(self.partition, self.accepted, tuple(self._appending), False))
        self._appending = []

    def _send(self, node: int, message: PartitionMessage) -> None:
        """Leaves at once: says nothing that a crash could make untrue."""
        self._send_now.append(Envelope(node, message))

    def _answer(self, node: int, message: PartitionMessage) -> None:
        """Leaves after everything queued so far is synced."""
        self._after_sync.append(Envelope(node, message))

    def _take_frames(self) -> tuple[int, tuple[wal.Frame, ...]]:
        """Close the batch: its token (0 if nothing is persisted) and frames. Messages wait for it, or for the newest batch before it."""
        if self._appending:
            self._flush_append()
        messages, self._after_sync = self._after_sync, []
        if self._frames:
            frames, self._frames = tuple(self._frames), []
            self._token += 1
            self._outstanding.append(Pending(self._token, self.accepted, self.log.last, messages, self._promises, self._elects))
            self._promises = self._elects = NONE
            return self._token, frames
        if messages:
            if self._outstanding:
                self._outstanding[-1].messages += messages
            else:
                self._send_now += messages
        return 0, ()

    # --- votes: rules that the simulator breaks on purpose are methods of their own ---

    def _owner_supported(self, now: Now) -> bool:
        """This node still supports the owner of the promised ballot, and that owner has not resigned it."""
        if self.promised == NONE or self.promised == self.resigned:
            return False
        owner = ballot_owner(self.promised)
        if owner.node == self.me.node:
            return self._leads_with_lease(now)
        return self.liveness.supports(owner.node, now) != 0

    def _leads_with_lease(self, now: Now) -> bool:
        return False

    def _bound_against(self, candidate: Member, now: Now) -> bool:
        """May not promise `candidate` a ballot now."""
        if self.liveness.quiet(now):
            return True
        return self._owner_supported(now) and ballot_owner(self.promised).node != candidate.node

    def _epoch_named(self, node: int, now: Now) -> int:
        """The epoch named in an answer to a ballot of `node`'s member: under which this node supports it, 0 if it does not."""
        return self.liveness.supports(node, now)

    def _take_stamp(self, records: Sequence[Record], now: Now) -> bool:
        """Merge the last stamp of records that came in. False: its clock is too far ahead, the records are refused."""
        if records and not self.clock.merge(records[-1].stamp, now.wall_us):
            self.clock_refusals += 1
            return False
        return True

    def _promise(self, ballot: Ballot) -> None:
        assert ballot > self.promised
        self.promised = ballot
        self._staging = None
        self._save(wal.Promise(self.partition, ballot))

    def _doubt_owner(self, now: Now) -> None:
        """Somebody acts as if the owner of our promised ballot did not: ask the owner."""

    def _stand_down(self, now: Now) -> None:
        """Stop acting under a ballot of our own, before a higher one is promised to another."""

    def _follow(self, sender: Member, ballot: Ballot, now: Now) -> bool:
        """A message of the owner of `ballot` that asks for our vote came. True: `ballot` is our promised ballot now."""
        if not self.may_vote or ballot_owner(ballot) != sender:
            return False
        if ballot < self.promised:
            self._answer(sender.node, Refused(ballot, self.promised, False))
            return False
        if ballot > self.promised:
            if self._bound_against(sender, now):
                self._answer(sender.node, Refused(ballot, self.promised, True))
                self._doubt_owner(now)
                return False
            self._stand_down(now)
            self._promise(ballot)
        return True

    def _on_prepare(self, sender: Member, message: Prepare, now: Now) -> None:
        ballot = Ballot(message.ballot)
        if not self._follow(sender, ballot, now) or self.accepted == ballot:
            return
        epoch = self._epoch_named(sender.node, now)
        clock = self.clock.read(now.wall_us)
        self._answer(
            sender.node, Promise(ballot, self.me.incarnation, epoch, clock, self.accepted, self.log.first, self.log.last, self.chosen)
        )

    def _on_fetch(self, sender: Member, message: Fetch, now: Now) -> None:
        """A candidate that we promised adopts our log: frozen as long as the promise stands."""
        if message.ballot != self.promised or message.accepted != self.accepted or message.last > self.log.last:
            return
        if message.first < self.log.first:
            self._send(sender.node, Fetched(message.ballot, message.first, True, b""))
            return
        records = self.log.read(message.first, message.last + 1, max_bytes=self.options.batch_bytes)
        self._answer(sender.node, Fetched(message.ballot, message.first, False, b"".join([record.data for record in records])))

    def _decode(self, first: int, blob: bytes) -> list[Record]:
        """Records of a message. Raises Corrupt if they are not gap-free from `first`, or not of this partition."""
        try:
            records = list(decode_all(blob, owner=self._owner_tag, opaque=True))
        except Corrupt as error:
            raise Corrupt(f"records of a message are bad: {error.message}", **{**error.fields, "what": "message"}) from error
        if records and (records[0].lsn != first or records[-1].lsn != first + len(records) - 1):
            raise Corrupt("records of a message are not in order", what="message", lsn=first)
        return records

    # --- adoption, on a follower ---

    def _on_stage(self, sender: Member, message: Stage, now: Now) -> None:
        records = self._decode(message.first, message.records)
        if not self._take_stamp(records, now) or not self._follow(sender, Ballot(message.ballot), now):
            return
        if self.accepted == message.ballot:
            self._answer_accepted(sender, now, gap=False)
            return
        if not self._cut_is_safe(message):
            self._answer_behind(sender, now)
            return
        staging = self._staging
        if staging is None or staging.cut_at != message.cut_at:
            staging = self._staging = Staging(Ballot(message.ballot), Lsn(message.cut_at))
        if message.first > staging.last + 1:
            self._answer_behind(sender, now)
            return
        self._stage(staging, records)
        if self._adoption_complete(staging, message):
            self._adopt(staging)
            self._answer_accepted(sender, now, gap=False)
        else:
            self._answer_behind(sender, now)

    def _cut_is_safe(self, message: Stage) -> bool:
        """Up to cut_at our log is the leader's: what is chosen is, and what shares the accepted ballot of the log it adopted."""
        same = self.accepted == message.source and message.cut_at <= self.log.last
        return self.chosen <= message.cut_at and (same or message.cut_at == self.chosen) and message.cut_at <= message.adopted_last

    def _adoption_complete(self, staging: Staging, message: Stage) -> bool:
        """ADOPT is written only when every record up to the leader's adopted last LSN is staged."""
        return staging.last == message.adopted_last

    def _stage(self, staging: Staging, records: Sequence[Record]) -> None:
        """Queue records of an adoption; those staged already are skipped. Frame order in the WAL puts them before their ADOPT."""
        fresh = [record for record in records if record.lsn > staging.last]
        if not fresh:
            return
        self._save(wal.Append(self.partition, staging.ballot, tuple(fresh), True))
        staging.last = fresh[-1].lsn
        staging.size += sum([len(record.data) for record in fresh])
        if staging.size <= self.options.tail_bytes:
            staging.records += fresh
        else:
            staging.records = []

    def _adopt(self, staging: Staging) -> None:
        """The log changes hands: one frame, and the same step in memory."""
        assert staging.ballot == self.promised
        assert staging.ballot > self.accepted
        assert staging.cut_at >= self.chosen
        self._save(wal.Adopt(self.partition, staging.ballot, staging.cut_at, staging.last))
        self.accepted = staging.ballot
        self.log.cut(staging.cut_at)
        self._synced_last = min(self._synced_last, staging.cut_at)
        if staging.size <= self.options.tail_bytes:
            if staging.records:
                self.log.append(staging.records, staging.size)
        else:
            self.log.skip_to(staging.last)
        assert self.log.last == staging.last
        self._staging = None

    # --- phase 2, on a follower ---

    def _on_accept(self, sender: Member, message: Accept, now: Now) -> None:
        records = self._decode(message.first, message.records)
        if not self._take_stamp(records, now) or not self._follow(sender, Ballot(message.ballot), now):
            return
        if self.accepted != message.ballot:
            self._answer_behind(sender, now)
            return
        last = self.log.last
        gap = message.first > last + 1
        if not gap and records and records[-1].lsn > last:
            # The same ballot never names two records of one LSN: what we have is what came again.
            fresh = records[last + 1 - message.first :] if message.first <= last else records
            self.log.append(fresh)
            self._appending += fresh
        self._answer_accepted(sender, now, gap=gap)
        self._learn(message.chosen)

    def _learn(self, chosen: int) -> None:
        """The leader of the accepted ballot says so."""
        if chosen > self.chosen:
            self.chosen = Lsn(max(self.chosen, min(chosen, self.log.last)))

    def _answer_accepted(self, leader: Member, now: Now, *, gap: bool) -> None:
        self._answer(leader.node, Accepted(self.accepted, self.me.incarnation, self._epoch_named(leader.node, now), self.log.last, gap))

    def _answer_behind(self, leader: Member, now: Now) -> None:
        staging = self._staging
        cut_at, staged = (staging.cut_at, staging.last) if staging is not None else (0, 0)
        epoch = self._epoch_named(leader.node, now)
        self._answer(
            leader.node,
            Behind(self.promised, self.me.incarnation, epoch, self.accepted, self.log.first, self.log.last, self.chosen, cut_at, staged),
        )

    # --- outside events ---

    def trimmed(self, below: Lsn) -> None:
        """The WAL no longer holds records below this LSN."""
        assert below <= self.applied + 1
        self.log.first = max(self.log.first, below)

    def _last_stamp(self) -> Stamp:
        """Stamp of the last record of the log, from the log or, if that is empty, from the tree; 0 if unknown."""
        if self.log.last >= self.log.first:
            return self.log.read(self.log.last, self.log.last + 1, max_bytes=1)[0].stamp
        return self._applied_stamp
