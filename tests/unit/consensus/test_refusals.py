"""What a member must not take: messages of the wrong sender, of an old ballot, of another cut; and what it must not say too early. One test for each rule."""

from __future__ import annotations

import pytest

from scrubjay.base.ids import Ballot, Lsn, Member, Stamp, ballot, ballot_round
from scrubjay.storage.consensus.follower import Standing
from scrubjay.storage.consensus.group_state import Campaign
from scrubjay.storage.consensus.messages import (
    Accept,
    Accepted,
    Ask,
    Chosen,
    Fetch,
    Fetched,
    Grant,
    Leads,
    Prepare,
    Promise,
    Question,
    Refused,
    Resign,
    Resigned,
    Snapshot,
    Stage,
)
from scrubjay.storage.consensus.ready import Envelope, Now
from scrubjay.storage.log.record import Record, RecordKind, encode
from scrubjay.storage.wal import port as wal
from tests.unit.consensus.trio import OPTIONS, OWNER, Node, Trio

LIVENESS = Ask | Grant


@pytest.fixture
def trio() -> Trio:
    return Trio()


def others(trio: Trio, node: Node) -> list[Node]:
    return [one for one in trio.nodes.values() if one is not node]


def deliver(trio: Trio, sender: int, receiver: Node, message: object) -> None:
    trio.post(sender, [Envelope(receiver.number, message)])  # type: ignore[arg-type]
    trio.settle()


def record(trio: Trio, lsn: int, *, more_us: int = 0) -> Record:
    return encode(owner=OWNER, lsn=Lsn(lsn), stamp=Stamp((trio.now.wall_us + lsn + more_us) << 12), kind=RecordKind.NOOP, payload=b"")


def given_up(trio: Trio) -> tuple[Node, Node, Node, Ballot]:
    """An old leader that resigned and whose messages are lost from now on, two members that nothing binds, and a higher ballot of the second of them."""
    leader = trio.elect()
    follower, heir = others(trio, leader)
    for node in (follower, heir):
        deliver(trio, leader.number, node, Resign(leader.group.ballot, 0))
    trio.drop = lambda sender, receiver, message: receiver in (leader.number, heir.number)
    return leader, follower, heir, ballot(ballot_round(follower.group.state.promised) + 1, Member(heir.number, 1))


# --- whose message it is


def test_a_ballot_is_followed_only_from_its_owner(trio: Trio) -> None:
    leader, follower, heir, higher = given_up(trio)
    before = follower.group.state.promised
    deliver(trio, leader.number, follower, Prepare(higher))
    assert follower.group.state.promised == before
    deliver(trio, heir.number, follower, Prepare(higher))
    assert follower.group.state.promised == higher


def test_nobody_resigns_anothers_ballot(trio: Trio) -> None:
    leader = trio.elect()
    follower, heir = others(trio, leader)
    deliver(trio, heir.number, follower, Resign(leader.group.ballot, 0))
    assert follower.group.state.resigned != leader.group.ballot
    assert follower.group.leader == leader.group.me


def test_only_the_owner_says_how_far_its_log_is_chosen(trio: Trio) -> None:
    leader = trio.elect()
    follower, heir = others(trio, leader)
    for node in trio.nodes.values():
        node.hold_sync = True
    trio.propose(leader, 2)
    trio.settle()
    assert (follower.group.log.chosen, follower.group.last) == (1, 3)
    follower.group.step(heir.number, Chosen(follower.group.state.promised, 3), trio.now)
    assert follower.group.log.chosen == 1
    follower.group.step(leader.number, Chosen(follower.group.state.promised, 3), trio.now)
    assert follower.group.log.chosen == 3


def test_a_snapshot_is_fetched_at_the_word_of_the_present_leader_alone(trio: Trio) -> None:
    leader = trio.elect()
    follower = others(trio, leader)[0]
    deliver(trio, leader.number, follower, Snapshot(leader.group.ballot - 1, 100))
    assert follower.install_from is None
    deliver(trio, leader.number, follower, Snapshot(leader.group.ballot, 100))
    assert follower.install_from == leader.group.me


def test_a_late_refusal_of_an_old_ballot_deposes_nobody(trio: Trio) -> None:
    leader = trio.elect()
    follower = others(trio, leader)[0]
    deliver(trio, follower.number, leader, Refused(leader.group.ballot - 1, leader.group.ballot, False))
    assert leader.group.leading
    assert leader.deposed == 0


def test_a_promise_of_another_incarnation_makes_no_quorum(trio: Trio) -> None:
    trio.drop = lambda sender, receiver, message: not isinstance(message, LIVENESS)
    trio.advance(1_000_000)
    node = trio[1]
    node.group.campaign(trio.now)
    trio.pump(node)
    own = node.group.state.promised
    for voter in (2, 0):  # 0: it says of none
        node.group.step(2, Promise(own, voter, 0, 0, 0, 1, 0, 0), trio.now)
        trio.pump(node)
        assert not node.group.leading
    node.group.step(2, Promise(own, 1, 0, 0, 0, 1, 0, 0), trio.now)
    trio.pump(node)
    assert node.group.leading


def test_a_log_is_handed_out_under_the_ballot_it_was_accepted_under_and_no_other(trio: Trio) -> None:
    leader, follower, heir, higher = given_up(trio)
    trio.drop = lambda sender, receiver, message: receiver == leader.number
    deliver(trio, heir.number, follower, Prepare(higher))
    accepted = follower.group.state.accepted
    before = len(trio.said(Fetched))
    deliver(trio, heir.number, follower, Fetch(higher, accepted + 1, 1, 1))
    assert len(trio.said(Fetched)) == before
    deliver(trio, heir.number, follower, Fetch(higher, accepted, 1, 1))
    assert len(trio.said(Fetched)) == before + 1


def test_what_is_told_again_is_the_own_ballot_whatever_others_gave_up_meanwhile(trio: Trio) -> None:
    """Else who does not answer is told for ever, of a ballot that is not the teller's: 40 groups of 1,000 did that, twice a second each."""
    leader = trio.elect()
    mine, (heir, last) = leader.group.ballot, others(trio, leader)
    trio.drop = lambda sender, receiver, message: sender != heir.number
    leader.group.resign(trio.now)
    trio.pump(leader)
    trio.settle()
    higher = ballot(ballot_round(mine) + 1, Member(heir.number, 1))
    deliver(trio, heir.number, leader, Prepare(higher))
    deliver(trio, heir.number, leader, Resign(higher, 0))
    assert leader.group.state.resigned == higher
    between = {leader.number, last.number}
    trio.drop = lambda sender, receiver, message: not isinstance(message, LIVENESS | Resign | Resigned) or {sender, receiver} != between
    trio.delivered.clear()
    trio.advance(2 * OPTIONS.retry_us)
    assert [message for _, receiver, message in trio.said(Resign) if receiver == last.number] == [Resign(mine, 0)], "once: it answered"


# --- what is adopted and accepted


def test_the_ballot_does_not_move_while_the_last_record_of_an_adoption_is_lacking(trio: Trio) -> None:
    _, follower, heir, higher = given_up(trio)
    accepted = follower.group.state.accepted
    deliver(trio, heir.number, follower, Stage(higher, accepted, 1, 3, 2, record(trio, 2).data))
    assert (follower.group.state.promised, follower.group.state.accepted, follower.group.last) == (higher, accepted, 1)
    deliver(trio, heir.number, follower, Stage(higher, accepted, 1, 3, 3, record(trio, 3).data))
    assert (follower.group.state.accepted, follower.group.last) == (higher, 3)


def test_what_was_staged_for_one_ballot_is_nothing_under_the_next(trio: Trio) -> None:
    _, follower, heir, higher = given_up(trio)
    accepted = follower.group.state.accepted
    deliver(trio, heir.number, follower, Stage(higher, accepted, 1, 3, 2, record(trio, 2).data))
    deliver(trio, heir.number, follower, Resign(higher, 0))
    highest = ballot(ballot_round(higher) + 1, Member(heir.number, 1))
    two, three = record(trio, 2, more_us=50), record(trio, 3, more_us=50)
    deliver(trio, heir.number, follower, Stage(highest, accepted, 1, 3, 2, two.data + three.data))
    assert (follower.group.state.accepted, follower.group.last) == (highest, 3)
    assert [one.data for one in follower.group.log.read(2, 4, max_bytes=1 << 20)] == [two.data, three.data]


def test_records_behind_a_gap_are_not_taken(trio: Trio) -> None:
    leader = trio.elect()
    follower = others(trio, leader)[0]
    last = follower.group.last
    deliver(trio, leader.number, follower, Accept(leader.group.ballot, last + 2, 0, record(trio, last + 2).data))
    assert follower.group.last == last
    said = [one[2] for one in trio.said(Accepted) if one[0] == follower.number]
    assert isinstance(said[-1], Accepted)
    assert said[-1].gap


def test_a_sync_of_what_was_cut_since_says_nothing_of_the_log_that_took_its_place(trio: Trio) -> None:
    leader = trio.elect()
    follower, heir = others(trio, leader)
    follower.hold_sync = True
    trio.propose(leader, 2)
    trio.settle()
    first = follower.tokens[0]
    deliver(trio, leader.number, follower, Resign(leader.group.ballot, 0))
    higher = ballot(ballot_round(follower.group.state.promised) + 1, Member(heir.number, 1))
    trio.drop = lambda sender, receiver, message: True
    chosen = int(follower.group.log.chosen)
    assert chosen == 1
    follower.group.step(
        heir.number, Stage(higher, 0, 1, 4, 2, b"".join([record(trio, lsn, more_us=90).data for lsn in (2, 3, 4)])), trio.now
    )
    trio.pump(follower)
    assert (follower.group.state.accepted, follower.group.last) == (higher, 4)
    follower.group.persisted(first)
    assert follower.group.log.synced == 1


def test_the_higher_ballot_is_adopted_before_the_longer_log_and_cut_at_what_is_chosen(trio: Trio) -> None:
    leader, follower, heir, higher = given_up(trio)
    group = follower.group
    deliver(trio, leader.number, follower, Accept(group.state.promised, 2, 0, record(trio, 2).data + record(trio, 3).data))
    assert (group.last, group.log.chosen) == (3, 1)
    campaign = Campaign(higher)
    newer = Ballot(group.state.accepted + 1)
    campaign.answers[heir.group.me] = Standing(newer, Lsn(1), Lsn(2), Lsn(1), 1)
    assert group._campaigner._plan_adoption(campaign) == (newer, 1, [(heir.group.me, newer, 2, 2)])
    campaign.answers[heir.group.me] = Standing(group.state.accepted, Lsn(1), Lsn(5), Lsn(1), 1)
    assert group._campaigner._plan_adoption(campaign) == (group.state.accepted, 3, [(heir.group.me, group.state.accepted, 4, 5)]), (
        "the same log, longer"
    )


# --- ballots of an earlier life


def test_a_ballot_that_one_no_longer_knows_is_never_used_again(trio: Trio) -> None:
    leader = trio.elect()
    node = others(trio, leader)[0]
    forgotten = ballot(50, node.group.me)
    deliver(trio, leader.number, node, Question(forgotten))
    assert node.group.state.resigned == forgotten
    assert [one for one in trio.said(Resign) if one[0] == node.number]
    trio.drop = lambda sender, receiver, message: leader.number in (sender, receiver) or isinstance(message, Prepare)
    trio.advance(2_000_000)
    while ballot_round(node.group.state.promised) < 50:
        trio.advance(100_000)
        if node.group.state.promised != leader.group.ballot:
            break
    assert ballot_round(node.group.state.promised) > 50


def test_a_restart_resigns_in_its_log_at_the_first_tick(trio: Trio) -> None:
    leader = trio.elect()
    given = leader.group.ballot
    again = trio.restart(leader.number, boot=2)
    trio.drop = lambda sender, receiver, message: True
    again.group.tick(trio.now)
    trio.pump(again)
    assert again.disk.frames[-1] == wal.Resign(again.group.partition, given)


def test_the_word_of_a_leader_from_before_its_restart_dispels_no_doubt(trio: Trio) -> None:
    leader = trio.elect()
    follower = others(trio, leader)[0]
    trio.drop = lambda sender, receiver, message: receiver == leader.number
    stamp = follower.clock.read(trio.now.wall_us)
    deliver(trio, leader.number, follower, Ask(2, trio.now.boot_us, stamp, ()))
    assert follower.group.deadline() is not None, "the owner's node restarted: it is asked whether it still leads"
    deliver(trio, leader.number, follower, Leads(follower.group.state.promised, 1))
    assert follower.group.deadline() is not None
    deliver(trio, leader.number, follower, Leads(follower.group.state.promised, 2))
    assert follower.group.deadline() is None


def test_a_resignation_is_told_until_it_is_answered(trio: Trio) -> None:
    leader = trio.elect()
    trio.drop = lambda sender, receiver, message: isinstance(message, Resign | Question | Prepare)
    leader.group.set_lead(False, trio.now)
    trio.pump(leader)
    sent: list[int] = []

    def drop(sender: int, receiver: int, message: object) -> bool:
        if isinstance(message, Resign) and sender == leader.number:
            sent.append(receiver)
        return isinstance(message, Resign | Question | Prepare)

    trio.drop = drop
    trio.advance(4 * OPTIONS.retry_us)
    assert sent.count(others(trio, leader)[0].number) >= 3


# --- leading


def test_strong_reads_wait_for_a_record_of_the_own_ballot(trio: Trio) -> None:
    trio.advance(3_000_000)
    leader = trio.leader()
    assert leader.group.lease.held(trio.now)
    assert not leader.group.serving(trio.now), "what was chosen before is not known to be applied"
    trio.propose(leader, 1, kind=RecordKind.NOOP)
    trio.advance(100_000)
    assert leader.group.serving(trio.now)


def test_nothing_is_closed_before_a_quorum_has_the_leaders_log(trio: Trio) -> None:
    trio.drop = lambda sender, receiver, message: isinstance(message, Stage | Accept)
    trio.advance(2_000_000)
    leader = trio.leader()
    assert leader.group.closed(trio.now) is None


def test_a_lease_needs_the_members_answer_under_the_epoch_of_its_grant(trio: Trio) -> None:
    leader = trio.elect()
    trio.advance(2_000_000)
    # It hears that the others are there, or it would give up.
    trio.drop = lambda sender, receiver, message: sender == leader.number or (receiver == leader.number and not isinstance(message, Ask))
    trio.advance(OPTIONS.grant_us + 100_000)
    trio.drop = lambda sender, receiver, message: not isinstance(message, LIVENESS)
    trio.advance(2 * OPTIONS.interval_us)
    assert leader.group.leading
    assert any(leader.liveness.credited(peer.node, trio.now) for peer in leader.group.members.peers)
    assert not leader.group.lease.held(trio.now), "support of a new epoch: it may have promised another meanwhile"


def test_leadership_goes_over_only_to_who_has_the_whole_log(trio: Trio) -> None:
    leader = trio.elect()
    heir = others(trio, leader)[1]
    trio.drop = lambda sender, receiver, message: receiver == heir.number and isinstance(message, Accept)
    trio.propose(leader, 3)
    trio.settle()
    assert leader.group.log.chosen == leader.group.last
    leader.group.transfer(heir.group.me, trio.now)
    trio.pump(leader)
    assert leader.group.leading, "the heir lacks records"
    trio.advance(OPTIONS.campaign_us + 100_000)
    assert leader.group.leading
    assert not leader.group.handing_over, "given up: it goes on leading"
    assert leader.group.can_propose(1, trio.now)


def test_what_is_chosen_gives_its_place_in_the_window_up(trio: Trio) -> None:
    leader = trio.elect()
    trio.propose(leader, 3)
    trio.advance(100_000)
    assert leader.group.log.chosen == leader.group.last
    assert leader.group.can_propose(OPTIONS.window_bytes + 1, trio.now), "whatever its size, one record fits an empty window"


def test_a_leader_without_its_lease_resigns_however_long_it_led(trio: Trio) -> None:
    leader = trio.elect()
    trio.advance(OPTIONS.resign_after_us + 1_000_000)
    assert leader.group.leading
    trio.drop = lambda sender, receiver, message: not isinstance(message, Ask)  # it hears that the others are there
    trio.advance(OPTIONS.grant_us + OPTIONS.resign_after_us + 500_000)
    assert not leader.group.leading


def test_a_member_that_a_snapshot_brought_beyond_the_adopted_log_is_taken_in(trio: Trio) -> None:
    away = trio[3]
    trio.drop = lambda sender, receiver, message: away.number in (sender, receiver)
    first = trio.elect()
    trio.propose(first, 40)
    trio.advance(100_000)
    heir = next(node for node in trio.nodes.values() if node not in (first, away))
    first.group.set_lead(False, trio.now)
    trio.advance(2_000_000)
    leader = trio.leader()
    assert leader is heir
    leader.group.trimmed(Lsn(30))
    for lsn in range(1, 30):
        leader.disk.log.pop(lsn, None)
    trio.propose(leader, 3)
    trio.drop = lambda sender, receiver, message: False
    trio.advance(1_000_000)
    assert away.install_from == leader.group.me
    assert away.group.state.accepted != leader.group.ballot
    assert leader.group.log.chosen == 44, "three more than the log that it adopted"
    away.group.installed(leader.group.log.chosen, leader.chosen[-1].stamp, trio.now)
    trio.pump(away)
    trio.settle()
    trio.propose(leader, 2)
    trio.advance(1_000_000)
    assert away.group.state.accepted == leader.group.ballot
    assert away.chosen[-1].data == leader.chosen[-1].data


# --- five members: what a lease and a closed timestamp rest on is the weakest of the best


@pytest.fixture
def five() -> Trio:
    return Trio(size=5)


def test_a_lease_ends_with_the_second_longest_of_two_credits(five: Trio) -> None:
    leader = five.elect()
    near = others(five, leader)[0]
    # It hears that the others are there, or it would give up.
    five.drop = lambda sender, receiver, message: (
        not {sender, receiver} <= {leader.number, near.number} and not (receiver == leader.number and isinstance(message, Ask))
    )
    checked = 0
    for _ in range(130):
        five.advance(10_000, step_us=10_000)
        leased = leader.group.lease.held(five.now)
        until = sorted([leader.liveness.credit(peer.node).until_us for peer in leader.group.members.peers], reverse=True)
        if leader.group.leading and until[1] <= five.now.boot_us < until[0]:
            checked += 1
            assert not leased
    assert checked > 10


def test_a_lease_is_void_if_its_credits_were_given_under_clocks_too_far_apart(five: Trio) -> None:
    leader = five.elect()
    early, late = others(five, leader)[:2]
    five.drop = lambda sender, receiver, message: not {sender, receiver} <= {leader.number, early.number, late.number}
    five.advance(400_000)
    five.drop = lambda sender, receiver, message: not {sender, receiver} <= {leader.number, late.number}
    five.now = Now(five.now.boot_us, five.now.wall_us + 6_000)
    five.advance(250_000)
    assert leader.group.lease.held(five.now), "6 ms is within the drift that is allowed for"
    five.now = Now(five.now.boot_us, five.now.wall_us + 6_000)
    assert not leader.group.lease.held(five.now), "12 ms since the older of the two was asked for"


def test_closed_is_the_second_best_of_two_acknowledged_clocks(five: Trio) -> None:
    leader = five.elect()
    five.advance(500_000)
    near = others(five, leader)[0]
    five.drop = lambda sender, receiver, message: not {sender, receiver} <= {leader.number, near.number}
    five.advance(300_000)
    clocks = sorted([leader.liveness.credit(peer.node).clock for peer in leader.group.members.peers], reverse=True)
    assert clocks[0] > clocks[1]
    closed = leader.group.closed(five.now)
    assert closed is not None
    assert closed <= clocks[1]
