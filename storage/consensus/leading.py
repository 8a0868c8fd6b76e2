"""Leading: followers brought to the leader's log, phase 2 in pipelined batches, the lease, and closed timestamps.

A follower is in one of four states: UNKNOWN (probed), STAGING (its log is being replaced in pieces), STREAMING (its log has adopted our ballot), SNAPSHOT (our
log no longer reaches back to what it lacks). A follower whose node grants us nothing is parked: no timer runs for it until `on_liveness`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from scrubjay.base.errors import Missing
from scrubjay.base.ids import Ballot, Lsn, Member, Stamp
from scrubjay.storage.consensus.acceptor import NONE
from scrubjay.storage.consensus.campaign import Campaign, Campaigner, Standing
from scrubjay.storage.consensus.liveness import Credit
from scrubjay.storage.consensus.messages import Accept, Accepted, Behind, Snapshot, Stage
from scrubjay.storage.consensus.quorum import reached
from scrubjay.storage.consensus.ready import NeedsSnapshot, Now
from scrubjay.storage.log.record import Record

UNKNOWN, STAGING, STREAMING, SNAPSHOT = range(4)
FAR = 1 << 62
REWIND_US = 50_000


class Peer:
    """A follower as its leader sees it.

    next: first LSN not sent yet. cut_at, target: the adoption under way (Stage.cut_at, Stage.adopted_last). acked: last LSN it accepted under our ballot, synced. answered: epoch it last named (0: none). asked: epoch for which it was asked anew.
    owed: it owes an answer since sent_us. flying: (last LSN, bytes) of unanswered messages.
    """

    __slots__ = (
        "acked",
        "adopted",
        "answered",
        "ask_again",
        "asked",
        "cut_at",
        "flying",
        "flying_bytes",
        "member",
        "next",
        "owed",
        "parked",
        "rewound_us",
        "sent_us",
        "state",
        "target",
        "told",
    )

    def __init__(self, member: Member) -> None:
        self.member = member
        self.state = UNKNOWN
        self.next: Lsn = Lsn(0)
        self.acked: Lsn = Lsn(0)
        self.cut_at: Lsn = Lsn(0)
        self.target: Lsn = Lsn(0)
        self.adopted = False
        self.answered = 0
        self.asked = 0
        self.ask_again = True
        self.owed = False
        self.sent_us = 0
        self.rewound_us = -REWIND_US
        self.parked = False
        self.told: Lsn = Lsn(0)
        self.flying: deque[tuple[int, int]] = deque()
        self.flying_bytes = 0

    def land(self, last: int) -> None:
        while self.flying and self.flying[0][0] <= last:
            self.flying_bytes -= self.flying.popleft()[1]

    def ground(self) -> None:
        self.flying.clear()
        self.flying_bytes = 0


class Leader(Campaigner):
    """Adds leadership to the candidate."""

    def __init__(self, **campaigner: Any) -> None:
        super().__init__(**campaigner)
        self._peers: dict[int, Peer] = {}
        self._own_from: Lsn = Lsn(0)
        self._adopted_last: Lsn = Lsn(0)
        self._source = NONE
        self._stamp: Stamp = Stamp(0)
        self._window: deque[tuple[int, int, int]] = deque()
        self._window_bytes = 0
        self._elected: Ballot | None = None
        self._snapshots: list[NeedsSnapshot] = []
        self._retry_at: int | None = None
        self._lease_at: int | None = None
        self._handover: int = 0
        self._handover_at: int | None = None
        self._lease_version = 0
        self._lease = (0, 0, 0)

    # --- beginning and end ---

    def _lead(self, ballot: Ballot, campaign: Campaign) -> None:
        """Our ADOPT is synced: leadership begins."""
        assert self.promised == ballot
        assert self.accepted == ballot
        now = self._now
        stamp = self._last_stamp()
        if not self.clock.merge(stamp, now.wall_us):
            self.clock_refusals += 1
            self.resign(now)
            return
        self._stamp = stamp
        self._campaign = None
        self._campaign_at = self._election_at = self._question_at = None
        self._failures = 0
        self._deferred = False
        self.leading = True
        self._elected = ballot
        self._adopted_last = self.log.last
        self._own_from = Lsn(self.log.last + 1)
        self._source = campaign.source
        self._peers = {}
        self._lease_version = 0
        for member in self.peers:
            peer = self._peers[member.node] = Peer(member)
            standing = campaign.answers.get(member)
            if standing is not None:
                peer.answered = standing.epoch
                self._begin_staging(peer, standing)
        self._lease_at = now.boot_us + self.options.resign_after_us
        self._advance_chosen()

    def _stop_leading(self) -> None:
        self._peers = {}
        self._window.clear()
        self._window_bytes = 0
        self._elected = None
        self._snapshots = []
        self._retry_at = self._lease_at = self._handover_at = None
        self._handover = 0

    # --- proposing ---

    def can_propose(self, size: int, now: Now) -> bool:
        """Leading, lease held, not handing over, and `size` more bytes fit the window of what is proposed and not chosen."""
        if not self.leading or self._handover or not self.has_lease(now):
            return False
        return self._window_bytes == 0 or self._window_bytes + size <= self.options.window_bytes

    def propose(self, records: Sequence[Record]) -> None:
        """Append to the log and replicate. Records are encoded, LSNs go on from `next_lsn`, stamps rise. They count when they come back in `Ready.chosen`."""
        assert self.leading
        assert records[0].lsn == self.log.last + 1
        stamp, size = self._stamp, 0
        for record in records:
            assert record.stamp > stamp
            stamp = record.stamp
            size += len(record.data)
        self._stamp = stamp
        self._window.append((records[-1].lsn, size, records[0].stamp))
        self._window_bytes += size
        self.log.append(records, size)
        self._appending += records
        if self.quorum == 1:
            self._advance_chosen()

    def _advance_chosen(self) -> None:
        """What a quorum has accepted under our ballot is chosen, the whole log up to there."""
        chosen = self._quorum_accepted()
        if chosen > self.chosen:
            self.chosen = Lsn(chosen)
            window = self._window
            while window and window[0][0] <= chosen:
                self._window_bytes -= window.popleft()[1]
        if self._handover:
            self._maybe_hand_over()

    def _quorum_accepted(self) -> int:
        """Own vote counts when it is synced, like any other."""
        marks = [peer.acked for peer in self._peers.values() if peer.adopted]
        marks.append(self._synced_last)
        return reached(marks, len(self.members))

    # --- followers ---

    def _begin_staging(self, peer: Peer, standing: Standing) -> None:
        """Where our adopted log and the follower's agree: up to its end if it has the accepted ballot that we adopted, else up to what it knows chosen."""
        if standing.accepted == self._source and standing.accepted != NONE:
            cut_at = min(standing.last, self._adopted_last)
        else:
            cut_at = standing.chosen
        peer.state = STAGING
        peer.cut_at = Lsn(max(cut_at, standing.chosen))
        # A snapshot may have brought it beyond what we adopted: what is chosen there is our log too.
        peer.target = max(self._adopted_last, peer.cut_at)
        peer.next = Lsn(peer.cut_at + 1)
        peer.ask_again = peer.cut_at == peer.target
        peer.ground()

    def _pump(self) -> None:
        """Send what each follower lacks, within its bound of unanswered bytes."""
        shared: dict[tuple[int, int], tuple[int, bytes]] = {}
        for peer in self._peers.values():
            if not peer.parked:
                self._pump_peer(peer, shared)

    def _pump_peer(self, peer: Peer, shared: dict[tuple[int, int], tuple[int, bytes]]) -> None:
        state, ballot, node = peer.state, self.promised, peer.member.node
        if state == STREAMING:
            while peer.next <= self.log.last and peer.flying_bytes < self.options.inflight_bytes:
                last, blob = self._slice(peer, peer.next, self.log.last + 1, shared)
                if not last:
                    return
                self._send(node, Accept(ballot, peer.next, self.chosen, blob))
                self._sent(peer, last, len(blob))
                peer.told = self.chosen
        elif state == STAGING:
            end = peer.target + 1
            while peer.next < end and peer.flying_bytes < self.options.inflight_bytes:
                last, blob = self._slice(peer, peer.next, end, shared)
                if not last:
                    return
                self._send(node, Stage(ballot, self._source, peer.cut_at, peer.target, peer.next, blob))
                self._sent(peer, last, len(blob))
            if peer.ask_again and peer.next == end:
                self._send(node, Stage(ballot, self._source, peer.cut_at, peer.target, end, b""))
                self._sent(peer, peer.target, 0)
        if peer.ask_again:
            self._send(node, Accept(ballot, self.log.last + 1, self.chosen, b""))
            self._await(peer)

    def _slice(self, peer: Peer, first: int, end: int, shared: dict[tuple[int, int], tuple[int, bytes]]) -> tuple[int, bytes]:
        """Last LSN and bytes of a batch from `first`; (0, b"") if the log does not reach back: the follower needs a snapshot."""
        found = shared.get((first, end))
        if found is None:
            try:
                records = self.log.read(first, end, max_bytes=self.options.batch_bytes)
            except Missing:
                peer.state = SNAPSHOT
                peer.ground()
                self._snapshots.append(NeedsSnapshot(peer.member, Lsn(self.log.first - 1)))
                self._send(peer.member.node, Snapshot(self.promised, self.log.first - 1))
                self._await(peer)
                return 0, b""
            found = shared[first, end] = records[-1].lsn, b"".join([record.data for record in records])
        return found

    def _sent(self, peer: Peer, last: int, size: int) -> None:
        peer.next = Lsn(last + 1)
        peer.flying.append((last, size))
        peer.flying_bytes += size
        self._await(peer)

    def _await(self, peer: Peer) -> None:
        """The follower owes an answer; the timer that minds this runs only while somebody does."""
        peer.ask_again = False
        if not peer.owed:
            peer.owed = True
            peer.sent_us = self._now.boot_us
            if self._retry_at is None:
                self._retry_at = self._now.boot_us + self.options.retry_us

    def _heard(self, peer: Peer, epoch: int, now: Now, *, progress: bool) -> None:
        peer.parked = False
        if epoch > peer.answered:
            peer.answered = epoch
            self._lease_version = 0
        peer.owed = bool(peer.flying) or peer.state == STAGING
        if progress:
            peer.sent_us = now.boot_us
        self._maybe_confirm(peer, now)

    def _maybe_confirm(self, peer: Peer, now: Now) -> None:
        """After an epoch moved, ask once more: a member's answer counts only under the epoch of its live grant."""
        credit = self.liveness.credit(peer.member.node)
        if credit.until_us > now.boot_us and credit.epoch != peer.answered and credit.epoch != peer.asked:
            peer.asked = credit.epoch
            peer.ask_again = True

    def _on_accepted(self, sender: Member, message: Accepted, now: Now) -> None:
        if not self.leading or message.ballot != self.promised or message.voter != sender.incarnation or message.last > self.log.last:
            return
        peer = self._peers[sender.node]
        if peer.state != STREAMING:
            peer.state = STREAMING
            peer.adopted = True
            peer.next = Lsn(message.last + 1)
            peer.acked = Lsn(message.last)
            peer.ground()
            progress = True
        else:
            progress = message.last > peer.acked
            if progress:
                peer.acked = Lsn(message.last)
                if peer.next <= message.last:
                    peer.next = Lsn(message.last + 1)
            elif message.gap and now.boot_us - peer.rewound_us >= REWIND_US:
                peer.rewound_us = now.boot_us
                peer.next = Lsn(peer.acked + 1)
                peer.ground()
        peer.land(message.last)
        self._heard(peer, message.epoch, now, progress=progress)
        self._advance_chosen()

    def _on_behind(self, sender: Member, message: Behind, now: Now) -> None:
        if not self.leading or message.ballot != self.promised or message.voter != sender.incarnation:
            return
        peer = self._peers[sender.node]
        if peer.adopted:
            return
        progress = peer.state != STAGING
        standing = Standing(Ballot(message.accepted), Lsn(message.first), Lsn(message.last), Lsn(message.chosen), message.epoch)
        if message.staged and peer.state == STAGING and message.cut_at == peer.cut_at:
            progress = bool(peer.flying) and peer.flying[0][0] <= message.staged
            peer.land(message.staged)
            peer.next = Lsn(max(peer.next, message.staged + 1))
        elif peer.state == STAGING and ((peer.flying and message.chosen <= peer.cut_at) or now.boot_us - peer.rewound_us < REWIND_US):
            pass  # an answer from before the first piece arrived: the timer sends again if it was lost
        else:
            peer.rewound_us = now.boot_us
            self._begin_staging(peer, standing)
        self._heard(peer, message.epoch, now, progress=progress)

    # --- timers and liveness ---

    def _tick_leader(self, now: Now) -> None:
        at = now.boot_us
        if self._retry_at is not None and self._retry_at <= at:
            self._retry_at = None
            self._retry_followers(now)
        if self._lease_at is not None and self._lease_at <= at:
            self._lease_at = None
            if self.leading and not self.has_lease(now):
                # Heard by nobody, or hearing nobody: others may do better, and stay bound to us until we say so.
                self.resign(now)
        if self._handover_at is not None and self._handover_at <= at:
            self._handover_at = None
            self._handover = 0

    def _retry_followers(self, now: Now) -> None:
        due: int | None = None
        retry = self.options.retry_us
        for peer in self._peers.values():
            if not peer.owed or peer.parked:
                continue
            wait = retry * 8 if peer.state == SNAPSHOT else retry
            if peer.sent_us + wait <= now.boot_us:
                if not self.liveness.credited(peer.member.node, now):
                    peer.parked = True
                    continue
                self._rewind(peer)
                peer.sent_us = now.boot_us
            due = peer.sent_us + wait if due is None else min(due, peer.sent_us + wait)
        self._retry_at = due

    def _rewind(self, peer: Peer) -> None:
        """Send again what was not answered: all of it, or the question where the follower stands."""
        peer.ground()
        peer.ask_again = True
        if peer.state == STREAMING:
            peer.next = Lsn(peer.acked + 1)
        elif peer.state == STAGING:
            peer.next = Lsn(peer.cut_at + 1)
        else:
            peer.state = UNKNOWN

    def _leader_on_liveness(self, now: Now) -> None:
        for peer in self._peers.values():
            if self.liveness.credited(peer.member.node, now):
                if peer.parked:
                    peer.parked = False
                    peer.owed = False
                    self._rewind(peer)
                self._maybe_confirm(peer, now)
        if self.has_lease(now):
            self._lease_at = None
        elif self._lease_at is None:
            self._lease_at = now.boot_us + self.options.resign_after_us

    def transfer(self, to: Member, now: Now) -> None:
        """Hand leadership to `to`: no more proposals; when it has the whole log and all is chosen, resign in its favour. Given up after campaign_us."""
        if self.leading and to in self.peers:
            self._handover = to.node
            self._handover_at = now.boot_us + self.options.campaign_us
            self._maybe_hand_over()

    @property
    def handing_over(self) -> bool:
        return self._handover != 0

    def successor(self, now: Now, *, besides: frozenset[int]) -> Member | None:
        """The follower that could take over soonest: one that hears and is heard, has our log, and lacks least of it. besides: node numbers that must not."""
        able = [
            peer
            for peer in self._peers.values()
            if peer.adopted and peer.member.node not in besides and self.liveness.credited(peer.member.node, now)
        ]
        return max(able, key=lambda peer: (peer.acked, -peer.member.node)).member if able else None

    def _maybe_hand_over(self) -> None:
        peer = self._peers[self._handover]
        if self.chosen == self.log.last == peer.acked and peer.adopted:
            self.resign(self._now, successor=peer.member.node)

    # --- the lease: rules that the simulator breaks on purpose are methods of their own ---

    def _confirmed(self, peer: Peer, credit: Credit) -> bool:
        """The epoch that the member last named when answering our ballot is the epoch of its grant."""
        return peer.answered != 0 and peer.answered == credit.epoch

    def _backers(self, now: Now) -> list[Credit]:
        """Live credits of confirmed members, the longest first."""
        found = []
        for peer in self._peers.values():
            credit = self.liveness.credit(peer.member.node)
            if credit.until_us > now.boot_us and self._confirmed(peer, credit):
                found.append(credit)
        found.sort(key=lambda credit: -credit.until_us)
        return found

    def has_lease(self, now: Now) -> bool:
        """No other member can lead until after `now`. Check it after the read, before the answer."""
        if not self.leading:
            return False
        if self._lease_version != self.liveness.version:
            self._compute_lease(now)
        until, lowest, highest = self._lease
        return now.boot_us < until and lowest <= now.wall_us - now.boot_us <= highest

    def _compute_lease(self, now: Now) -> None:
        self._lease_version = self.liveness.version
        need = self.quorum - 1
        if need == 0:
            self._lease = (FAR, -FAR, FAR)
            return
        backers = self._backers(now)[:need]
        if len(backers) < need:
            self._lease = (0, 0, 0)
            return
        offsets = [credit.offset_us for credit in backers]
        drift = self.options.drift_us
        # Void if wall and boot clocks moved apart since the asks were sent: one of them cannot be trusted.
        self._lease = (backers[-1].until_us, max(offsets) - drift, min(offsets) + drift)

    def _leads_with_lease(self, now: Now) -> bool:
        return self.has_lease(now)

    def serving(self, now: Now) -> bool:
        """May answer strong reads: lease held and a record of the own ballot applied, so everything chosen before is."""
        return self.leading and self.applied >= self._own_from and self.has_lease(now)

    # --- closed timestamps ---

    def _own_log_accepted(self) -> bool:
        """A quorum has our log as its own, under our ballot."""
        return 1 + sum([peer.adopted for peer in self._peers.values()]) >= self.quorum

    def _closable_clock(self, now: Now) -> Stamp:
        """Any later leader needs a promise from somebody whose clock is at least this: the lowest clock acknowledged by the best quorum that backs us."""
        own = self.clock.read(now.wall_us)
        need = self.quorum - 1
        if need == 0:
            self.clock.merge(own, now.wall_us)
            return own
        clocks = sorted([credit.clock for credit in self._backers(now)], reverse=True)
        return min(own, clocks[need - 1]) if len(clocks) >= need else Stamp(0)

    def _closes_under_lease(self, now: Now) -> bool:
        return self.has_lease(now)

    def closed(self, now: Now, *, in_seal: bool = False) -> Stamp | None:
        """The highest C for which "closed at C" may be said now: no record that is ever chosen beyond the ones meant carries a stamp <= C. None: nothing may be said.

        The ones meant are those chosen so far; in_seal: those proposed so far, for a SEAL that is proposed in the same turn (it is chosen only if they are).
        """
        if not self.leading or not self._closes_under_lease(now) or not self._own_log_accepted():
            return None
        clock = self._closable_clock(now)
        if not in_seal and self.chosen < self.log.last:
            clock = Stamp(min(clock, self._first_unchosen_stamp() - 1))
        return clock if clock > 0 else None

    def _first_unchosen_stamp(self) -> int:
        if self.chosen < self._adopted_last:
            return self.log.read(self.chosen + 1, self.chosen + 2, max_bytes=1)[0].stamp
        for last, _, stamp in self._window:
            if last > self.chosen:
                return stamp  # first record of a batch whose end is not chosen: never too high
        raise AssertionError
