"""Who is a member, as the log says: the payload of CONFIG, the changes that may be proposed, and what each rule of `storage.consensus.membership` refuses."""

from __future__ import annotations

import pytest

from scrubjay.base.errors import Corrupt, Invalid, Unavailable
from scrubjay.base.ids import Ballot, Lsn, Member, Stamp, ballot, ballot_round
from scrubjay.storage.consensus.group_config import GroupStart
from scrubjay.storage.consensus.group_state import Campaign
from scrubjay.storage.consensus.membership import (
    AddLearner,
    Change,
    Grow,
    LetVote,
    Membership,
    MembershipLog,
    Remove,
    Rest,
    changed,
    check_step,
)
from scrubjay.storage.consensus.messages import Accept, AskHealth, Prepare, Promise, Removed, Resign
from scrubjay.storage.consensus.ready import Envelope
from scrubjay.storage.log.configuration import (
    Configuration,
    CopyKind,
    MemberPlace,
    Vote,
    decode_configuration,
    encode_configuration,
    founding,
)
from scrubjay.storage.log.record import Record, RecordKind, encode
from tests.fixtures.golden import Golden
from tests.unit.consensus.trio import OWNER, Disk, Node, Trio

STORAGE, LOG = CopyKind.STORAGE, CopyKind.LOG
THREE = tuple([Member(number, 1) for number in (1, 2, 3)])
MIXED = Configuration(
    (
        MemberPlace(Member(1, 1), STORAGE, Vote.VOTES),
        MemberPlace(Member(2, 3), LOG, Vote.VOTES),
        MemberPlace(Member(7, 2), STORAGE, Vote.LEARNER),
        MemberPlace(Member(9, 1), STORAGE, Vote.GONE),
    )
)


def places(configuration: Configuration) -> dict[int, tuple[int, Vote]]:
    return {place.member.node: (place.member.incarnation, place.vote) for place in configuration.places}


# --- the payload ---


def test_golden_configuration(golden: Golden) -> None:
    golden.check("config/mixed.bin", encode_configuration(MIXED))
    back = decode_configuration(golden.read("config/mixed.bin"))
    golden.check_json("config/mixed.json", [[*one.member, one.kind.name, one.vote.name] for one in back.places])
    assert back == MIXED
    assert decode_configuration(encode_configuration(Configuration(()))) == Configuration(())


@pytest.mark.parametrize(
    ("at", "value"),
    [(0, 5), (1, 9), (2, 1), (4, 1), (8 + 4, 2), (8 + 5, 3), (8 + 6, 1), (8, 3)],
    ids=["count", "count-large", "reserved", "reserved2", "kind", "vote", "place-reserved", "order"],
)
def test_a_payload_that_is_malformed_or_of_a_later_version_is_refused(at: int, value: int) -> None:
    data = bytearray(encode_configuration(MIXED))
    data[at] = value
    with pytest.raises(Corrupt):
        decode_configuration(bytes(data))


@pytest.mark.parametrize("length", [0, 7, 39, 41])
def test_a_payload_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(Corrupt):
        decode_configuration((encode_configuration(MIXED) + bytes(1))[:length])


# --- a configuration, and what may follow it ---


def test_who_counts_and_who_may_lead() -> None:
    one, log, learner, gone = (Membership(Member(*member), MIXED) for member in ((1, 1), (2, 3), (7, 2), (9, 1)))
    assert (one.quorum, one.backers, one.votes, one.leads) == (2, 1, True, True)
    assert (log.votes, log.leads) == (True, False), "a log replica votes and never leads"
    assert (learner.backers, learner.votes, learner.leads) == (2, False, False)
    assert (gone.votes, gone.leads, gone.peers) == (False, False, (Member(1, 1), Member(2, 3), Member(7, 2)))
    assert not one.enough([Member(7, 2)]), "a learner's answer counts for nothing"
    assert not one.enough([Member(2, 2)]), "nor does that of an earlier member of the node"
    assert one.enough([Member(2, 3)])
    assert one.hopeless({2})
    assert [MIXED.gone(Member(*member)) for member in ((9, 1), (9, 2), (2, 2), (2, 3), (4, 1))] == [True, False, True, False, False]
    nobody = Membership(Member(4, 1), Configuration(()))
    assert not nobody.enough([Member(1, 1), Member(2, 1)]), "who knows of no member counts none"


@pytest.mark.parametrize(
    ("change", "after"),
    [
        (AddLearner(Member(4, 1), STORAGE), {4: (1, Vote.LEARNER)}),
        (AddLearner(Member(9, 2), LOG), {9: (2, Vote.LEARNER)}),
        (AddLearner(Member(2, 4), STORAGE), {2: (4, Vote.LEARNER)}),
        (LetVote(7), {7: (2, Vote.VOTES)}),
        (LetVote(7, 2), {7: (2, Vote.VOTES)}),
        (Rest(2), {2: (3, Vote.LEARNER)}),
        (Grow(2), {}),
        (Remove(2), {2: (3, Vote.GONE)}),
        (Remove(7), {7: (2, Vote.GONE)}),
        (Remove(2, 3), {2: (3, Vote.GONE)}),
    ],
)
def test_a_change_moves_one_place(change: Change, after: dict[int, tuple[int, Vote]]) -> None:
    made = changed(MIXED, change)
    assert places(made) == places(MIXED) | after
    assert [place.member.node for place in made.places] == sorted(places(made))
    check_step(MIXED, made, leader=Member(1, 1))


def test_a_log_replica_that_has_grown_may_lead() -> None:
    made = changed(MIXED, Grow(2))
    assert [place.kind for place in made.places if place.member.node == 2] == [STORAGE]
    assert Membership(Member(2, 3), made).leads
    assert not Membership(Member(2, 3), MIXED).leads


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (AddLearner(Member(9, 1), STORAGE), "come back"),
        (AddLearner(Member(1, 1), STORAGE), "come back"),
        (AddLearner(Member(2, 2), STORAGE), "come back"),
        (LetVote(1), "votes already"),
        (LetVote(9), "no member"),
        (LetVote(5), "no member"),
        (Rest(7), "does not vote"),
        (Rest(9), "no member"),
        (Rest(1), "nobody would be left"),
        (Grow(1), "storage replica"),
        (Grow(9), "no member"),
        (Remove(9), "no member"),
        (Remove(2, 2), "another member"),
        (LetVote(7, 1), "another member"),
        (Rest(2, 4), "another member"),
        (Grow(2, 2), "another member"),
        (Remove(1), "nobody would be left"),
        (AddLearner(Member(1, 2), STORAGE), "nobody would be left"),
    ],
)
def test_a_change_that_changes_nothing_or_leaves_nobody_is_refused(change: Change, why: str) -> None:
    with pytest.raises(Invalid, match=why):
        changed(MIXED, change)


def test_two_places_at_once_and_ones_own_are_refused() -> None:
    before = founding(THREE)
    swapped = changed(changed(changed(before, AddLearner(Member(4, 1), STORAGE)), LetVote(4)), Remove(3))
    with pytest.raises(Invalid, match="one place"):
        check_step(before, swapped, leader=Member(1, 1))
    with pytest.raises(Invalid, match="one place"):
        check_step(before, before, leader=Member(1, 1))
    with pytest.raises(Invalid, match="own place"):
        check_step(before, changed(before, Remove(1)), leader=Member(1, 1))


def _entry(lsn: int, configuration: Configuration) -> Membership:
    return Membership(Member(1, 1), configuration, Lsn(lsn))


def test_the_log_of_memberships_is_cut_settled_and_replaced() -> None:
    base, five, nine = _entry(0, founding(THREE)), _entry(5, MIXED), _entry(9, founding(THREE))
    log = MembershipLog(base)
    log.extend([five, nine])
    assert [log.chosen(lsn) for lsn in (0, 4, 5, 8, 9, 20)] == [base, base, five, five, nine, nine]
    log.cut(Lsn(8))
    assert log.last is five
    log.settle(4)
    assert log.chosen(0) is base
    log.settle(5)
    assert log.chosen(0) is five, "what is applied is not asked for below"
    log.cut(Lsn(0))
    assert log.last is five
    log.extend([nine])
    log.install(Lsn(7), 0, founding((Member(1, 1),)), Lsn(7))
    assert (log.last, log.chosen(8).lsn, len(log.chosen(8).voters)) == (nine, 7, 1)


# --- a group ---


def learner(trio: Trio, number: int, *, incarnation: int = 1) -> Node:
    """A node that was told to make a copy anew."""
    node = trio.nodes[number] = Node(trio, number, boot=incarnation, members=Membership(Member(number, incarnation), Configuration(())))
    return node


def config(trio: Trio, node: Node, configuration: Configuration) -> Record:
    return encode(
        owner=OWNER,
        lsn=node.group.next_lsn,
        stamp=node.clock.tick(trio.now.wall_us),
        kind=RecordKind.CONFIG,
        payload=encode_configuration(configuration),
    )


def change(trio: Trio, leader: Node, what: Change) -> None:
    leader.group.propose([config(trio, leader, leader.group.plan_members(what, trio.now))])
    trio.pump(leader)


def others(trio: Trio, node: Node) -> list[Node]:
    return [one for one in trio.nodes.values() if one is not node]


def four(trio: Trio) -> Node:
    """Four voters; the leader of them."""
    leader = trio.elect()
    learner(trio, 4)
    change(trio, leader, AddLearner(Member(4, 1), STORAGE))
    trio.advance(500_000)
    change(trio, leader, LetVote(4))
    trio.advance(500_000)
    assert trio.leader() is leader
    return leader


@pytest.fixture
def trio() -> Trio:
    return Trio()


def test_a_learner_gets_the_log_and_does_not_count(trio: Trio) -> None:
    leader = trio.elect()
    fourth = learner(trio, 4)
    trio.propose(leader, 5)
    change(trio, leader, AddLearner(Member(4, 1), STORAGE))
    trio.advance(500_000)
    assert fourth.group.log.applied == leader.group.last
    assert (leader.group.members.quorum, fourth.group.members.votes) == (2, False)
    first, second = {1, 2, 3} - {leader.number}
    trio.drop = lambda sender, receiver, message: bool({first, second} & {sender, receiver})
    trio.propose(leader, 1)
    trio.advance(100_000)
    assert leader.group.log.chosen == leader.group.last - 1, "the learner has it, and that is no quorum"
    assert fourth.group.last == leader.group.last
    trio.advance(2_000_000)
    assert not leader.group.lease.held(trio.now), "nor does its grant make a lease"


def test_a_learner_is_let_vote_once_it_holds_the_log_and_then_counts(trio: Trio) -> None:
    leader = trio.elect()
    learner(trio, 4)
    trio.drop = lambda sender, receiver, message: 4 in (sender, receiver)
    change(trio, leader, AddLearner(Member(4, 1), STORAGE))
    trio.advance(300_000)
    with pytest.raises(Unavailable, match="does not hold the log"):
        leader.group.plan_members(LetVote(4), trio.now)
    trio.drop = lambda sender, receiver, message: False
    trio.advance(1_000_000)
    change(trio, leader, LetVote(4))
    trio.advance(300_000)
    assert (leader.group.members.quorum, leader.group.log.chosen) == (3, leader.group.last)
    first, second = {1, 2, 3} - {leader.number}
    trio.drop = lambda sender, receiver, message: bool({first, second} & {sender, receiver})
    trio.propose(leader, 1)
    trio.advance(100_000)
    assert leader.group.log.chosen == leader.group.last - 1, "two of four"
    trio.drop = lambda sender, receiver, message: first in (sender, receiver)
    trio.advance(600_000)
    assert leader.group.log.chosen == leader.group.last, "three of four"


def test_one_change_at_a_time_and_none_before_a_record_of_the_own_ballot(trio: Trio) -> None:
    trio.advance(3_000_000)
    leader = trio.leader()
    with pytest.raises(Unavailable, match="no record of this leader's ballot"):
        leader.group.plan_members(AddLearner(Member(4, 1), STORAGE), trio.now)
    trio.propose(leader, 1, kind=RecordKind.NOOP)
    trio.advance(100_000)
    change(trio, leader, AddLearner(Member(4, 1), STORAGE))
    with pytest.raises(Unavailable, match="under way"):
        leader.group.plan_members(AddLearner(Member(5, 1), STORAGE), trio.now)
    follower = others(trio, leader)[0]
    with pytest.raises(Unavailable, match="does not lead"):
        follower.group.plan_members(AddLearner(Member(5, 1), STORAGE), trio.now)
    trio.advance(100_000)
    with pytest.raises(Invalid, match="own place"):
        leader.group.plan_members(Remove(leader.number), trio.now)
    assert places(leader.group.plan_members(AddLearner(Member(5, 1), STORAGE), trio.now))[5] == (1, Vote.LEARNER)


def test_a_removed_member_gives_up_and_is_heard_no_more(trio: Trio) -> None:
    leader = four(trio)
    removed = next(one for one in others(trio, leader) if one.number != 4)
    change(trio, leader, Remove(removed.number))
    assert removed.number not in leader.group.state.leadership.followers  # type: ignore[union-attr]
    trio.advance(200_000)
    assert removed.group.state.removed
    assert trio.said(Removed)
    promised = leader.group.state.promised
    higher = ballot(ballot_round(promised) + 5, removed.group.me)
    trio.delivered.clear()
    for node in others(trio, removed):
        trio.post(removed.number, [Envelope(node.number, Prepare(higher)), Envelope(node.number, AskHealth(promised, 1, 1))])
    trio.settle()
    assert {node.group.state.promised for node in others(trio, removed)} == {promised}
    assert [one[2] for one in trio.said(Removed)].count(Removed(1, int(leader.group.members.lsn))) == 6
    trio.drop = lambda sender, receiver, message: leader.number in (sender, receiver)
    trio.advance(6_000_000)
    assert not removed.group.leading
    assert removed.group.state.campaign is None
    heir = next(node for node in others(trio, leader) if node.group.leading)
    assert heir.group.members.voters == leader.group.members.voters


def test_whoever_is_bound_to_a_removed_member_is_freed(trio: Trio) -> None:
    leader = four(trio)
    removed, bound = [one for one in others(trio, leader) if one.number != 4]
    higher = ballot(ballot_round(leader.group.state.promised) + 5, removed.group.me)
    state = removed.group.state
    state.promised = higher
    removed.group.step(leader.number, Removed(1, 9), trio.now)
    assert state.resigned == higher
    trio.pump(removed)
    assert [one for one in removed.disk.frames[-1:] if getattr(one, "ballot", 0) == higher], "durably"
    trio.settle()
    assert (removed.number, bound.number, Resign(higher, 0)) in trio.delivered
    removed.group.campaign(trio.now)
    assert state.campaign is None
    removed.group.step(leader.number, Accept(int(leader.group.ballot), 1, 0, b""), trio.now)
    assert removed.group.ready() is None, "it answers nobody"


def test_a_removal_meant_for_an_earlier_member_of_the_node_is_ignored(trio: Trio) -> None:
    node = learner(trio, 4, incarnation=2)
    node.group.step(1, Removed(1, 9), trio.now)
    assert not node.group.state.removed
    node.group.step(1, Removed(2, 9), trio.now)
    assert node.group.state.removed


def test_a_candidate_counts_by_the_log_that_it_adopts(trio: Trio) -> None:
    """It knows three members; the log of whoever answers names four, and two of them are no quorum."""
    leader = trio.elect()
    late, able = others(trio, leader)
    trio.drop = lambda sender, receiver, message: late.number in (sender, receiver)
    learner(trio, 4)
    change(trio, leader, AddLearner(Member(4, 1), STORAGE))
    trio.advance(500_000)
    change(trio, leader, LetVote(4))
    trio.advance(500_000)
    assert (able.group.members.quorum, late.group.members.quorum) == (3, 2)
    trio.drop = lambda sender, receiver, message: bool({leader.number, 4} & {sender, receiver})
    trio.advance(2_500_000)
    late.group.campaign(trio.now)
    trio.pump(late)
    trio.settle()
    assert [one for one in trio.said(Promise) if one[:2] == (able.number, late.number)], "promised"
    campaign = late.group.state.campaign
    assert campaign is not None
    assert not campaign.fetching, "two of four"
    assert campaign.asked == {1, 2, 3, 4} - {late.number}, "whom the better log names is asked too"
    trio.drop = lambda sender, receiver, message: leader.number in (sender, receiver)
    trio.advance(4_000_000)
    heir = trio.leader()
    assert len(heir.group.members.voters) == 4


def test_a_candidate_whom_the_adopted_log_calls_none_gives_up(trio: Trio) -> None:
    leader = four(trio)
    gone, stays = [one for one in others(trio, leader) if one.number != 4]
    trio.drop = lambda sender, receiver, message: gone.number in (sender, receiver)
    change(trio, leader, Remove(gone.number))
    trio.advance(2_500_000)
    trio.drop = lambda sender, receiver, message: leader.number in (sender, receiver) or isinstance(message, Removed)
    trio.advance(200_000)
    own = ballot(ballot_round(leader.group.state.promised) + 3, gone.group.me)
    state = gone.group.state
    gone.group._campaigner._acceptor.promise(own)
    campaign = state.campaign = Campaign(own, None)
    campaign.own = True
    standing = stays.group.state
    members = encode_configuration(stays.group.members.configuration)
    gone.group.step(
        stays.number,
        Promise(int(own), 1, 0, 0, int(standing.accepted), 1, int(standing.log.last), int(standing.log.chosen), members),
        trio.now,
    )
    assert state.campaign is None
    assert state.resigned == own


def test_a_config_that_is_cut_off_counts_no_more(trio: Trio) -> None:
    leader = trio.elect()
    trio.drop = lambda sender, receiver, message: leader.number in (sender, receiver)
    change(trio, leader, Remove(others(trio, leader)[0].number))
    assert leader.group.members.quorum == 2
    assert len(leader.group.members.all) == 2
    trio.advance(5_000_000)
    heir = next(node for node in others(trio, leader) if node.group.leading)
    trio.propose(heir, 1, kind=RecordKind.NOOP)
    trio.drop = lambda sender, receiver, message: False
    trio.advance(3_000_000)
    assert len(leader.group.members.all) == 3, "read from its end"
    assert leader.group.members.lsn == 0


def test_a_restart_reads_the_members_from_the_log(trio: Trio) -> None:
    leader = four(trio)
    follower = next(one for one in others(trio, leader) if one.number != 4)
    state, log = follower.group.state, follower.group.log
    start = GroupStart(state.promised, state.accepted, state.resigned, Lsn(1), log.last, Lsn(0))
    again = Node(trio, follower.number, boot=2, start=start, disk=follower.disk)
    assert again.group.members.voters == leader.group.members.voters
    again = Node(trio, follower.number, boot=2, start=start, disk=Disk())
    assert not again.group.state.votes, "a log that cannot be read says of nobody that he is a member"
    with pytest.raises(Corrupt, match="not there"):
        again.group.ready()
    assert again.group.ready() is None, "said once"
    again.group.log._reader = follower.disk
    again.group.set_vote(True, trio.now)
    assert again.group.state.votes
    assert len(again.group.members.voters) == 4


def test_a_snapshot_brings_its_members(trio: Trio) -> None:
    node = learner(trio, 4)
    node.group.installed(Lsn(50), Stamp(9), trio.now, members=MIXED)
    assert node.group.members.configuration == MIXED
    assert node.group.members.lsn == 50
    assert node.liveness._peers.keys() == {1, 2, 7}, "whose support is asked for"


def test_a_log_replica_neither_campaigns_nor_is_handed_over_to(trio: Trio) -> None:
    configuration = founding(THREE, logs=(3,))
    for number in (1, 2, 3):
        trio.nodes[number] = Node(trio, number, members=Membership(Member(number, 1), configuration))
    leader = trio.elect()
    assert leader.number in (1, 2)
    third = trio[3]
    assert leader.group.successor(trio.now, besides=frozenset()) == Member(3 - leader.number, 1)
    assert leader.group.successor(trio.now, besides=frozenset({3 - leader.number})) is None
    leader.group.transfer(Member(3, 1), trio.now)
    assert leader.group.leading, "it did not resign in favour of a log"
    assert not leader.group.handing_over
    trio.drop = lambda sender, receiver, message: leader.number in (sender, receiver)
    trio.advance(6_000_000)
    assert trio[3 - leader.number].group.leading
    assert not third.elected


def test_an_owner_that_its_own_log_does_not_name_is_followed(trio: Trio) -> None:
    """A member that lags meets a leader who was added meanwhile."""
    leader = four(trio)
    late = next(one for one in others(trio, leader) if one.number != 4)
    fresh = Node(trio, late.number, boot=2, start=GroupStart(Ballot(0), Ballot(0), Ballot(0), Lsn(1), Lsn(0), Lsn(0)))
    trio.nodes[late.number] = fresh
    trio.advance(1_500_000)
    higher = ballot(ballot_round(leader.group.state.promised) + 1, Member(4, 1))
    fresh.group.state.promised = Ballot(0)
    fresh.group.step(4, Prepare(higher), trio.now)
    assert fresh.group.state.promised == higher
