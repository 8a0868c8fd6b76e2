"""What a leader sends its followers: pieces of the adopted log, records in pipelined batches, questions, and again what was not answered."""

from __future__ import annotations

from scrubjay.base.errors import Missing
from scrubjay.base.ids import Lsn
from scrubjay.storage.consensus.follower import SNAPSHOT, STAGING, STREAMING, Follower
from scrubjay.storage.consensus.group_state import GroupState, Leadership
from scrubjay.storage.consensus.messages import Accept, Snapshot, Stage
from scrubjay.storage.consensus.ready import Now

_Batches = dict[tuple[int, int], tuple[int, bytes]]
"""(first, end) asked for -> (last LSN, bytes): one encoding for all followers that lack the same."""

_SNAPSHOT_WAITS = 8
"""A follower that fetches a snapshot is asked so many times less often than another."""


class Replication:
    """Keeps every follower's pipeline filled."""

    __slots__ = ("_state",)

    def __init__(self, state: GroupState) -> None:
        self._state = state

    def pump(self, leadership: Leadership) -> None:
        """Send what each follower lacks, within its bound of unanswered bytes. Raises Corrupt."""
        batches: _Batches = {}
        for follower in leadership.followers.values():
            if not follower.parked:
                self._pump_one(leadership, follower, batches)

    def _pump_one(self, leadership: Leadership, follower: Follower, batches: _Batches) -> None:
        state, ballot, node = self._state, leadership.ballot, follower.member.node
        log = state.log
        inflight = state.options.inflight_bytes
        if follower.state == STREAMING:
            while follower.next <= log.last and follower.flying_bytes < inflight:
                last, blob = self._batch(leadership, follower, log.last + 1, batches)
                if not last:
                    return
                state.out.send(node, Accept(ballot, follower.next, log.chosen, blob))
                follower.fly(last, len(blob))
                self._await(leadership, follower)
                follower.told = log.chosen
        elif follower.state == STAGING:
            end, source = follower.target + 1, leadership.source
            while follower.next < end and follower.flying_bytes < inflight:
                last, blob = self._batch(leadership, follower, end, batches)
                if not last:
                    return
                state.out.send(node, Stage(ballot, source, follower.cut_at, follower.target, follower.next, blob))
                follower.fly(last, len(blob))
                self._await(leadership, follower)
            if follower.ask_again and follower.next == end:
                state.out.send(node, Stage(ballot, source, follower.cut_at, follower.target, end, b""))
                follower.fly(follower.target, 0)
                self._await(leadership, follower)
        if follower.ask_again:
            state.out.send(node, Accept(ballot, log.last + 1, log.chosen, b""))
            self._await(leadership, follower)

    def _batch(self, leadership: Leadership, follower: Follower, end: int, batches: _Batches) -> tuple[int, bytes]:
        """Last LSN and bytes of a batch from its next; (0, b"") if the log does not reach back: the follower is told to fetch a snapshot."""
        state, first = self._state, follower.next
        found = batches.get((first, end))
        if found is None:
            try:
                records = state.log.read(first, end, max_bytes=state.options.batch_bytes)
            except Missing:
                follower.state = SNAPSHOT
                follower.ground()
                state.out.send(follower.member.node, Snapshot(leadership.ballot, state.log.first - 1))
                self._await(leadership, follower)
                return 0, b""
            found = batches[first, end] = records[-1].lsn, b"".join([record.data for record in records])
        return found

    def _await(self, leadership: Leadership, follower: Follower) -> None:
        """The follower owes an answer; the timer that minds this runs only while somebody does."""
        follower.ask_again = False
        if not follower.owed:
            now_us = self._state.now.boot_us
            follower.owed = True
            follower.sent_us = now_us
            if leadership.retry_at is None:
                leadership.retry_at = now_us + self._state.options.retry_us

    def tick(self, leadership: Leadership, now: Now) -> None:
        """Answers are overdue: send again, and park whom we do not hear."""
        if leadership.retry_at is None or leadership.retry_at > now.boot_us:
            return
        due: int | None = None
        retry = self._state.options.retry_us
        for follower in leadership.followers.values():
            if not follower.owed or follower.parked:
                continue
            wait = retry * _SNAPSHOT_WAITS if follower.state == SNAPSHOT else retry
            if follower.sent_us + wait <= now.boot_us:
                if not self._state.liveness.credited(follower.member.node, now):
                    follower.parked = True
                    continue
                follower.rewind()
                follower.sent_us = now.boot_us
            due = follower.sent_us + wait if due is None else min(due, follower.sent_us + wait)
        leadership.retry_at = due

    def tell_chosen(self, leadership: Leadership) -> None:
        """Followers that no Accept told: the node's next message does."""
        state = self._state
        chosen = state.log.chosen
        nodes: tuple[int, ...] = ()
        for follower in leadership.followers.values():
            if follower.told < chosen:
                follower.told = chosen
                nodes += (follower.member.node,)
        if nodes:
            state.liveness.chosen_moved(state.partition, leadership.ballot, Lsn(chosen), peers=nodes, now=state.now)
