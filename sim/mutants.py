"""Planted bugs: each breaks one rule on purpose, and the simulator must notice within the seeds that run in CI. Production code knows nothing of them.

A mutant is a context manager that replaces small, well-named methods. `killed` runs seeds until one reports a violation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from scrubjay.base.hlc import HybridClock
from scrubjay.base.ids import Ballot, Lsn, Member, PartitionId, Stamp
from scrubjay.sim.consensus_run import ConsensusResult, ConsensusRun
from scrubjay.sim.group_node import GroupCopy, GroupNode, GroupReplica, GroupWaiting
from scrubjay.sim.members_run import NOBODY, MembersRun
from scrubjay.storage.consensus.acceptor import Acceptor
from scrubjay.storage.consensus.allegiance import Allegiance
from scrubjay.storage.consensus.campaign import Campaigner
from scrubjay.storage.consensus.closed import ClosedTime
from scrubjay.storage.consensus.follower import Follower
from scrubjay.storage.consensus.group_state import Campaign, Leadership, Piece, Staging
from scrubjay.storage.consensus.leading import Leader
from scrubjay.storage.consensus.lease import Lease
from scrubjay.storage.consensus.liveness import Liveness
from scrubjay.storage.consensus.membership import Change, Membership, Remove
from scrubjay.storage.consensus.messages import Stage
from scrubjay.storage.consensus.ready import Now, Ready
from scrubjay.storage.consensus.resignation import Resignation
from scrubjay.storage.log.configuration import Configuration, Vote
from scrubjay.storage.node.turn import Turn
from scrubjay.storage.replica.host import Driven


@contextmanager
def replaced(owner: type, **methods: Any) -> Iterator[None]:
    """The methods of `owner` for as long as the context lasts."""
    before = {name: owner.__dict__[name] for name in methods}
    for name, method in methods.items():
        setattr(owner, name, method)
    try:
        yield
    finally:
        for name, method in before.items():
            setattr(owner, name, method)


@dataclass(frozen=True, slots=True)
class Mutant:
    """name; rule: what is broken, in words; plant: makes the context in which it is. profile: which run looks for it."""

    name: str
    rule: str
    plant: Callable[[], Any]
    profile: str = "consensus"


_plan = Campaigner._plan_adoption


def _slot_wise(self: Campaigner, campaign: Campaign) -> tuple[Ballot, Lsn, list[Piece]]:
    """Each slot from whichever log reaches it, the higher ballot first."""
    source, cut_at, pieces = _plan(self, campaign)
    end = pieces[-1].last if pieces else cut_at
    longest = max(campaign.answers.items(), key=lambda one: one[1].last, default=None)
    if longest is not None and longest[1].last > end and longest[1].first <= end + 1:
        pieces.append(Piece(longest[0], longest[1].accepted, Lsn(end + 1), longest[1].last))
    return source, cut_at, pieces


def _some_staged(self: Acceptor, staging: Staging, message: Stage) -> bool:
    return staging.last > staging.cut_at or staging.last == message.adopted_last


def _early_answer(self: GroupReplica, waiting: GroupWaiting, now: Now) -> None:
    waiting.request.done(waiting.outcome, waiting.value, waiting.lsn)


def _answer_unchecked(self: GroupReplica, request: Any, value: int | None, lsn: Lsn, now: Now) -> None:
    request.done("ok", value, lsn)


def _wall_read(self: ClosedTime, now: Now) -> Stamp:
    """The leader's own clock, whatever the grants acknowledged."""
    clock = self._state.clock
    own = clock.read(now.wall_us)
    clock.merge(own, now.wall_us)
    return own


def _tick_without_reservation(self: HybridClock, wall_us: int) -> Stamp:
    self.latest = Stamp(max(wall_us << 12, self.latest + 1))
    return self.latest


def _read_without_reservation(self: HybridClock, wall_us: int) -> Stamp:
    return Stamp(max(wall_us << 12, self.latest))


@contextmanager
def _forgotten_clock() -> Iterator[None]:
    """A clock that starts anew from the wall clock, and never waits for a reservation."""
    with (
        replaced(GroupNode, _reservation=lambda self: Stamp(0)),
        replaced(HybridClock, tick=_tick_without_reservation, read=_read_without_reservation),
        replaced(Liveness, _acknowledge=lambda self, ask: ask.clock),
    ):
        yield


@contextmanager
def _forgotten_epoch() -> Iterator[None]:
    """Epochs begin anew at every restart; the quiet time stays, so that only this is broken."""
    with (
        replaced(Liveness, _quiet_us=lambda self: self.options.grant_us),
        replaced(Liveness, _new_epoch=_counted_epoch),
    ):
        yield


def _counted_epoch(self: Liveness) -> int:
    self._counter += 1
    return self._counter


_commit = Turn._commit


def commit_early(self: Turn) -> None:
    """What waits for the sync leaves before it."""
    tokens, self._tokens = self._tokens, []
    _commit(self)
    self._persisted(tokens)


def commit_with_the_one_before(self: Turn) -> None:
    """While a batch syncs, what waits for the next one takes that for its own sync."""
    if self._wal.committing and self._tokens:
        tokens, self._tokens = self._tokens, []
        for driven, token in tokens:
            if driven.group is not None:
                self._shell.post(driven.partition, driven.group.persisted(token))
    _commit(self)


_persist = Turn._persist


def _persist_at_once(self: Turn, driven: Driven, ready: Ready) -> None:
    _persist(self, driven, ready)
    if ready.token and driven.group is not None and self._tokens and self._tokens[-1] == (driven, ready.token):
        self._tokens.pop()
        self._shell.post(driven.partition, driven.group.persisted(ready.token))


def _method(owner: type, name: str, value: Any) -> Callable[[], Any]:
    return lambda: replaced(owner, **{name: value})


def _unsynced(self: Leader, leadership: Leadership) -> int:
    marks = [int(follower.acked) for follower in leadership.followers.values() if follower.adopted and follower.votes]
    marks.append(self._state.log.last)
    return self._state.members.reached(marks)


CONSENSUS = (
    Mutant("slot-wise", "a new leader mixes logs slot by slot", _method(Campaigner, "_plan_adoption", _slot_wise)),
    Mutant(
        "adoption-in-pieces", "ADOPT is written before all staged records are in", _method(Acceptor, "_adoption_complete", _some_staged)
    ),
    Mutant(
        "count-unanswered",
        "a grant counts though the member never answered the ballot",
        _method(Lease, "_confirmed", lambda self, follower, credit: True),
    ),
    Mutant(
        "no-epoch",
        "an answer counts under any later epoch",
        _method(Lease, "_confirmed", lambda self, follower, credit: follower.answered != 0),
    ),
    Mutant("forget-quiet", "a restarted node promises at once", _method(Liveness, "_quiet_us", lambda self: 0)),
    Mutant(
        "count-from-receipt",
        "credit is counted from the receipt of the grant",
        _method(Liveness, "_credit_from_us", lambda self, grant, now: now.boot_us),
    ),
    Mutant("forgotten-epoch", "epochs repeat after a restart", _forgotten_epoch),
    Mutant("publish-ahead", "closed at a time no grant acknowledged", _method(ClosedTime, "_closable_clock", _wall_read)),
    Mutant(
        "promise-no-clock",
        "the candidate ignores the clocks in promises",
        _method(Campaigner, "_merge_promise_clock", lambda self, clock, now: True),
    ),
    Mutant(
        "publish-early",
        "closed before a quorum has the leader's log",
        _method(ClosedTime, "_own_log_accepted", lambda self, leadership: True),
    ),
    Mutant("forgotten-clock", "the clock's reservation is forgotten over a restart", _forgotten_clock),
    Mutant("amnesiac-vote", "a replica that lost synced bytes votes on", _method(GroupNode, "_may_vote", lambda self, partition: True)),
    Mutant("sync-skipped", "messages leave before the sync", _method(Turn, "_commit", commit_early)),
    Mutant(
        "sync-of-another",
        "messages leave because some batch is at the disk, not their own",
        _method(Turn, "_commit", commit_with_the_one_before),
    ),
    Mutant("votes-at-once", "what waits for the sync leaves with what may leave now", _method(Turn, "_persist", _persist_at_once)),
    Mutant(
        "early-negative-answer",
        "a refused condition is answered from speculative state",
        _method(GroupReplica, "answer_negative", _early_answer),
    ),
    Mutant(
        "bound-ignored",
        "promises to others while the owner is supported",
        _method(Allegiance, "bound_against", lambda self, candidate, now: False),
    ),
    Mutant("own-vote-unsynced", "the leader counts its own unsynced records", _method(Leader, "_quorum_accepted", _unsynced)),
)


# --- members ---


def _with_the_elected(self: Lease, now: Now) -> None:
    """By the members of the log as it was when leadership began."""
    state, leadership = self._state, self._state.leadership
    assert leadership is not None
    kept = next((one for one in _ELECTED if one[0] is leadership), None)
    if kept is None:
        kept = (leadership, state.members, dict(leadership.followers))
        _ELECTED.append(kept)
    members, followers = state.members, leadership.followers
    state.members, leadership.followers = kept[1], {**kept[2], **{node: row for node, row in followers.items() if node in kept[2]}}
    try:
        _compute(self, now)
    finally:
        state.members, leadership.followers = members, followers


_compute = Lease._compute
_ELECTED: list[tuple[Leadership, Membership, dict[int, Follower]]] = []
_plan_members = Leader.plan_members
_membership = Membership.__init__


def _swap(self: Leader, change: Change, now: Now) -> Configuration:
    """A removal lets a learner vote in the same record."""
    after = _plan_members(self, change, now)
    learner = next((place for place in after.places if place.vote is Vote.LEARNER), None)
    if not isinstance(change, Remove) or learner is None:
        return after
    return Configuration(tuple([one._replace(vote=Vote.VOTES) if one is learner else one for one in after.places]))


def _all_vote(self: Membership, me: Member, configuration: Configuration, lsn: Lsn = Lsn(0)) -> None:
    _membership(self, me, configuration, lsn)
    self.voters = frozenset(self.all)


def _any_kind_leads(self: Membership, me: Member, configuration: Configuration, lsn: Lsn = Lsn(0)) -> None:
    _membership(self, me, configuration, lsn)
    self.leads = self.votes


@contextmanager
def _two_at_once() -> Iterator[None]:
    with replaced(Leader, plan_members=_swap), replaced(Leader, _check_step=lambda self, after: None):
        yield


def _copies_again(self: MembersRun, copies: dict[PartitionId, GroupCopy]) -> dict[PartitionId, GroupCopy]:
    return {partition: copy._replace(base=NOBODY) if copy.member.incarnation > 1 else copy for partition, copy in copies.items()}


MEMBERS = (
    Mutant(
        "early-config",
        "a CONFIG is proposed before a record of the leader's ballot is chosen",
        _method(Leader, "_own_chosen", lambda self, leadership: True),
        "members",
    ),
    Mutant("many-pending", "a CONFIG is proposed while another is not chosen", _method(Leader, "_settled", lambda self: True), "members"),
    Mutant("two-at-once", "one CONFIG removes a voter and lets another vote", _two_at_once, "members"),
    Mutant(
        "own-config",
        "a candidate counts by its own log, not by the one it adopts",
        _method(Campaigner, "_members_of", lambda self, campaign: self._state.members),
        "members",
    ),
    Mutant(
        "emptied-votes",
        "a node with an empty disk goes on as the member it was",
        _method(MembersRun, "_known_after_loss", _copies_again),
        "members",
    ),
    Mutant("learners-count", "answers of learners count", _method(Membership, "__init__", _all_vote), "members"),
    Mutant(
        "removed-leads",
        "a candidate leads whom the adopted log calls none",
        _method(Campaigner, "_leads_by", lambda self, members: True),
        "members",
    ),
    Mutant(
        "lease-as-elected", "the lease is counted by the members at the election", _method(Lease, "_compute", _with_the_elected), "members"
    ),
    Mutant("log-replica-leads", "a log replica leads", _method(Membership, "__init__", _any_kind_leads), "members"),
    Mutant("removed-keeps-ballot", "a removed member does not resign", _method(Resignation, "remove", lambda self, now: None), "members"),
)


KILLERS: dict[str, int] = {
    "slot-wise": 2,
    "adoption-in-pieces": 42,
    "count-unanswered": 2,
    "no-epoch": 106,
    "forget-quiet": 17,
    "count-from-receipt": 36,
    "forgotten-epoch": 1,
    "publish-ahead": 1,
    "promise-no-clock": 7,
    "publish-early": 1,
    "forgotten-clock": 9,
    "amnesiac-vote": 7,
    "sync-skipped": 1,
    "sync-of-another": 1,
    "votes-at-once": 1,
    "early-negative-answer": 1,
    "bound-ignored": 68,
    "own-vote-unsynced": 17,
}
"""A seed that kills each mutant, as found by `python -m scrubjay.sim mutants`; tests try it first."""


def run_seed(seed: int, *, seconds: int = 20) -> ConsensusResult:
    return ConsensusRun(seed, seconds=seconds).run()


def hunt(mutant: Mutant, seeds: Iterable[int], *, seconds: int = 20) -> tuple[ConsensusResult | None, int]:
    """The first run that notices (None if none does), and how many seeds were tried."""
    tried = 0
    run = MembersRun if mutant.profile == "members" else ConsensusRun
    with mutant.plant():
        for seed in seeds:
            tried += 1
            result = run(seed, seconds=seconds).run()
            if result.violation:
                return result, tried
    return None, tried
