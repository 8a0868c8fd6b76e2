"""Scripted runs of real groups: what each rule does when exactly this message is lost."""

from __future__ import annotations

import itertools

import pytest

from scrubjay.base.errors import Corrupt
from scrubjay.base.ids import Ballot, Lsn, Member, Stamp, ballot, ballot_owner
from scrubjay.storage.consensus.group_config import GroupStart
from scrubjay.storage.consensus.messages import (
    Accept,
    Accepted,
    Ask,
    AskHealth,
    Grant,
    LogHealth,
    Moved,
    Prepare,
    Promise,
    Question,
    Refused,
    Resign,
    Resigned,
    ShellMessage,
    Snapshot,
    Stage,
)
from scrubjay.storage.consensus.ready import Now
from scrubjay.storage.log.record import RecordKind, encode
from scrubjay.storage.wal import port as wal
from tests.unit.consensus.trio import OPTIONS, OWNER, Node, Trio


@pytest.fixture
def trio() -> Trio:
    return Trio()


def test_three_members_elect_one_leader_and_choose_in_order(trio: Trio) -> None:
    leader = trio.elect()
    for count in (1, 5, 40):
        trio.propose(leader, count)
    trio.advance(300_000)
    for node in trio.nodes.values():
        assert [record.lsn for record in node.chosen] == list(range(1, 48))
        assert node.group.leader == leader.group.me
    assert leader.group.serving(trio.now)


def test_nothing_is_chosen_before_a_quorum_has_synced_it(trio: Trio) -> None:
    leader = trio.elect()
    for node in trio.nodes.values():
        node.hold_sync = True
    trio.propose(leader, 3)
    trio.settle()
    assert leader.group.log.chosen == 1
    assert not [one for one in trio.delivered if isinstance(one[2], Accepted) and one[2].last == 4]
    follower = next(node for node in trio.nodes.values() if node is not leader)
    trio.sync(follower)
    trio.settle()
    assert leader.group.log.chosen == 1, "one synced copy is not a quorum"
    trio.sync(leader)
    assert leader.group.log.chosen == 4
    assert len(leader.chosen) == 4


def test_chosen_is_given_only_from_the_own_synced_log(trio: Trio) -> None:
    leader = trio.elect()
    leader.hold_sync = True
    trio.propose(leader, 2)
    trio.settle()
    assert leader.group.log.chosen == 3, "two followers are a quorum"
    assert len(leader.chosen) == 1
    trio.sync(leader)
    assert len(leader.chosen) == 3


def test_a_thousand_idle_groups_have_no_deadline(trio: Trio) -> None:
    trio.elect()
    trio.advance(3_000_000)
    trio.delivered.clear()
    leader = trio.leader()
    for node in trio.nodes.values():
        due = node.group.deadline()
        assert due is None, (node.number, node is leader, due)
    trio.advance(3_000_000)
    assert not [one for one in trio.delivered if hasattr(one[2], "ballot")], "an idle partition says nothing"


def test_a_follower_that_missed_records_is_brought_up(trio: Trio) -> None:
    leader = trio.elect()
    away = next(node for node in trio.nodes.values() if node is not leader)
    trio.drop = lambda sender, receiver, message: receiver == away.number and isinstance(message, Accept)
    trio.propose(leader, 30)
    trio.settle()
    assert leader.group.log.chosen == 31
    trio.drop = lambda sender, receiver, message: False
    trio.advance(1_000_000)
    assert [record.data for record in away.chosen] == [record.data for record in leader.chosen]


def _cut_off(trio: Trio, gone: Node) -> None:
    trio.drop = lambda sender, receiver, message: gone.number in {sender, receiver}


def test_a_new_leader_adopts_the_best_log_of_its_quorum_whole(trio: Trio) -> None:
    """One follower has records the other lacks; whoever leads next has them all."""
    leader = trio.elect()
    one, other = [node for node in trio.nodes.values() if node is not leader]
    trio.drop = lambda sender, receiver, message: receiver == other.number and isinstance(message, Accept)
    trio.propose(leader, 20)
    trio.settle()
    _cut_off(trio, leader)
    trio.advance(4_000_000)
    after = trio.leader()
    assert after in (one, other)
    assert after.group.last >= 21
    trio.propose(after, 1, kind=RecordKind.NOOP)
    trio.advance(500_000)
    assert [record.data for record in one.chosen[:21]] == [record.data for record in leader.chosen[:21]]
    assert [record.data for record in one.chosen] == [record.data for record in other.chosen]


def test_an_old_leaders_tail_is_replaced_not_mixed(trio: Trio) -> None:
    leader = trio.elect()
    _cut_off(trio, leader)
    trio.propose(leader, 10)
    trio.settle()
    lost = trio.make(leader, 0) or [leader.group.last]
    assert lost == [11]
    trio.advance(4_000_000)
    after = trio.leader()
    trio.propose(after, 3)
    trio.drop = lambda sender, receiver, message: False
    trio.advance(1_500_000)
    assert leader.deposed == 1
    assert not leader.group.leading
    assert [record.data for record in leader.chosen] == [record.data for record in after.chosen]
    assert leader.group.state.accepted == after.group.ballot


def test_adoption_moves_the_ballot_only_when_every_piece_is_in(trio: Trio) -> None:
    """Pieces are lost: the follower keeps its old ballot and promises with it."""
    leader = trio.elect()
    one, other = [node for node in trio.nodes.values() if node is not leader]
    trio.drop = lambda sender, receiver, message: receiver == other.number and isinstance(message, Accept)
    trio.propose(leader, 20)
    trio.settle()
    old = other.group.state.accepted
    seen = 0

    def drop(sender: int, receiver: int, message: object) -> bool:
        nonlocal seen
        if isinstance(message, Stage) and message.records and receiver == other.number:
            seen += 1
            return seen > 1
        return leader.number in {sender, receiver} or (isinstance(message, Prepare) and sender == other.number)

    trio.drop = drop
    trio.advance(4_000_000)
    assert seen > 1, "the script must see a log in pieces"
    assert one.group.leading
    assert other.group.state.promised == one.group.ballot
    assert other.group.state.accepted == old
    assert [frame for frame in other.disk.frames if isinstance(frame, wal.Append) and frame.staged]
    trio.drop = lambda sender, receiver, message: False
    trio.advance(1_000_000)
    assert other.group.state.accepted == one.group.ballot
    adopt = [frame for frame in other.disk.frames if isinstance(frame, wal.Adopt)][-1]
    staged = [
        record.lsn
        for frame in other.disk.frames
        if isinstance(frame, wal.Append) and frame.staged and frame.ballot == adopt.ballot
        for record in frame.records
    ]
    assert set(range(adopt.cut_at + 1, adopt.adopted_last + 1)) <= set(staged)


def test_no_accept_before_the_leaders_own_adopt_is_synced(trio: Trio) -> None:
    for node in trio.nodes.values():
        node.hold_sync = True
    for _ in range(300):
        trio.advance(10_000)
        for node in trio.nodes.values():
            if node.tokens and isinstance(node.disk.frames[-1], wal.Adopt):
                assert not node.group.leading
                assert not [one for one in trio.delivered if one[0] == node.number and isinstance(one[2], Stage | Accept)]
            trio.sync(node)
        if any(node.group.leading for node in trio.nodes.values()):
            return
    raise AssertionError("nobody was elected")


def test_bound_members_refuse_others_while_the_owner_is_supported(trio: Trio) -> None:
    leader = trio.elect()
    one, other = [node for node in trio.nodes.values() if node is not leader]
    forged = ballot(50, Member(one.number, 1))
    other.group.step(one.number, Prepare(forged), trio.now)
    trio.pump(other)
    trio.settle()
    assert other.group.state.promised == leader.group.ballot
    assert [message for _, to, message in trio.delivered if isinstance(message, Refused) and to == one.number and message.hears]
    assert leader.group.lease.held(trio.now)


def test_a_restarted_node_promises_nothing_for_a_full_d(trio: Trio) -> None:
    leader = trio.elect()
    one, other = [node for node in trio.nodes.values() if node is not leader]
    other = trio.restart(other.number, boot=2)
    forged = ballot(50, Member(one.number, 1))
    other.group.tick(trio.now)
    other.group.step(one.number, Prepare(forged), trio.now)
    trio.pump(other)
    assert other.group.state.promised != forged
    trio.drop = lambda sender, receiver, message: leader.number in {sender, receiver}
    trio.advance(OPTIONS.grant_us + 50_000)
    other.group.step(one.number, Prepare(forged), trio.now)
    assert other.group.state.promised == forged


def test_gray_failure_a_deaf_follower_does_not_depose_a_leader_that_others_hear(trio: Trio) -> None:
    leader = trio.elect()
    deaf = next(node for node in trio.nodes.values() if node is not leader)
    trio.drop = lambda sender, receiver, message: (sender, receiver) == (leader.number, deaf.number)
    trio.advance(5_000_000)
    assert trio.said(AskHealth)
    assert leader.group.leading
    assert leader.group.lease.held(trio.now)
    assert not [one for one in trio.said(Prepare) if one[0] == deaf.number and one[2].ballot > leader.group.ballot]  # type: ignore[attr-defined]


def test_an_heir_leads_as_soon_as_the_others_are_there_and_its_answers_may_be_slow() -> None:
    for later in range(5):
        trio = Trio(heir=3)
        trio.drop = lambda sender, receiver, message: not isinstance(message, Ask | Grant | Moved)
        trio.advance(100_000 + 20_000 * later, step_us=5_000)
        trio.drop = lambda sender, receiver, message: False
        trio.advance(10_000, step_us=5_000)
        assert trio.leader().number == 3
        assert trio[3].group.ballot == ballot(1, trio[3].group.me), "the others have not asked for it meanwhile"
    trio, late = Trio(heir=3), list[tuple[int, int, LogHealth]]()

    def slow(sender: int, receiver: int, message: object) -> bool:
        if isinstance(message, LogHealth) and receiver == 3:
            late.append((sender, receiver, message))
        return isinstance(message, LogHealth | Prepare)

    trio.drop = slow
    trio.advance(50_000, step_us=5_000)
    asked = trio.said(AskHealth)
    assert len([one for one in asked if one[:2] == (3, 1)]) > 3
    trio[3].group.step(late[0][0], late[0][2], trio.now)
    assert trio[3].group.state.campaign is not None, "an answer to the first question is as good as one to the last"


def test_an_heir_that_nobody_answers_waits_as_the_others_do() -> None:
    trio = Trio(heir=3)
    trio.drop = lambda sender, receiver, message: not isinstance(message, Ask | Grant | Moved)
    trio.advance(2_000_000, step_us=5_000)
    late = trio[3].group.deadline()
    assert late is not None
    assert late - trio.now.boot_us > 5_000


def test_a_leader_that_cannot_hear_resigns_so_that_others_may_lead(trio: Trio) -> None:
    leader = trio.elect()
    trio.advance(OPTIONS.resign_after_us)
    trio.drop = lambda sender, receiver, message: receiver == leader.number
    trio.advance(OPTIONS.grant_us + 200_000)
    assert any(trio[peer.node].liveness.supports(leader.number, trio.now) for peer in leader.group.members.peers), "its asks are heard"
    assert not leader.group.leading
    assert trio.leader() is not leader, "within a lease and an election, as when it is cut off both ways"


def test_a_leader_that_hears_too_few_but_some_waits_for_its_lease(trio: Trio) -> None:
    leader = trio.elect()
    trio.advance(OPTIONS.resign_after_us)
    trio.drop = lambda sender, receiver, message: receiver == leader.number and not isinstance(message, Ask)
    trio.advance(OPTIONS.grant_us + OPTIONS.resign_after_us - 500_000)
    assert not leader.group.lease.held(trio.now)
    assert leader.group.leading, "they are there, and may answer again"
    trio.advance(1_000_000)
    assert not leader.group.leading


@pytest.mark.parametrize("unread", [False, True])
def test_a_pause_longer_than_the_lease_is_not_taken_for_the_silence_of_others(trio: Trio, unread: bool) -> None:
    leader = trio.elect()
    trio.advance(OPTIONS.resign_after_us)
    ballot_ = leader.group.ballot
    if unread:  # stopped right after an ask, whose answers wait for it
        trio.drop = lambda sender, receiver, message: receiver == leader.number
        trio.advance(OPTIONS.interval_us)
        trio.drop = lambda sender, receiver, message: False
    trio.now = Now(trio.now.boot_us + OPTIONS.grant_us, trio.now.wall_us + OPTIONS.grant_us)
    trio.advance(OPTIONS.interval_us)
    assert leader.group.lease.held(trio.now)
    assert leader.group.ballot == ballot_, "nobody else had led meanwhile"


def test_whoever_campaigns_is_not_overtaken_while_its_own_promise_is_not_synced(trio: Trio) -> None:
    first, second = _without_leader(trio)
    first.hold_sync = True
    first.group.campaign(trio.now)
    trio.pump(first)
    trio.advance(600_000)
    assert [one for one in trio.said(AskHealth) if one[0] == second.number]
    assert second.group.state.campaign is None
    assert second.group.ballot < first.group.ballot
    first.group.step(9, AskHealth(first.group.ballot, 1, 1), trio.now)  # nobody's business
    first.hold_sync = False
    trio.sync(first)
    first.group.step(9, AskHealth(first.group.ballot, 2, 1), trio.now)
    trio.pump(first)
    assert sorted([to for sender, to, message in trio.queue if isinstance(message, Prepare)]) == [2, 3]
    trio.advance(100_000)
    assert trio.leader() is first


def test_a_prepare_that_was_lost_is_said_again_to_who_asks(trio: Trio) -> None:
    first, second = _without_leader(trio)
    trio.drop = lambda sender, receiver, message: isinstance(message, Prepare)
    first.group.campaign(trio.now)
    trio.pump(first)
    trio.settle()
    trio.drop = lambda sender, receiver, message: {sender, receiver} != {first.number, second.number}
    trio.advance(OPTIONS.election_us * 2)
    assert first.group.leading, "before its campaign was over"


def test_whoever_gave_its_campaign_up_keeps_nobody_from_one(trio: Trio) -> None:
    first, second = _without_leader(trio)
    first.hold_sync = True
    first.group.campaign(trio.now)
    trio.pump(first)
    while first.group.state.campaign is not None:
        assert second.group.state.campaign is None
        trio.advance(25_000)
    first.group.set_lead(False, trio.now)
    trio.advance(200_000)
    assert second.group.state.campaign is not None


def test_a_campaign_lasts_as_long_as_promises_take_to_be_durable(trio: Trio) -> None:
    first, second = _without_leader(trio)
    for node in (first, second):
        node.hold_sync = True
    first.clock.slow_us = 1_000_000
    first.group.campaign(trio.now)
    trio.pump(first)
    trio.advance(2_000_000)
    trio.sync(first)
    trio.advance(1_900_000)
    trio.sync(second)
    trio.settle()
    assert first.group.state.campaign is not None
    assert first.group.state.campaign.fetching, "own promise after two seconds, the other's two later"


def test_a_campaign_after_one_that_came_to_nothing_is_given_twice_as_long(trio: Trio) -> None:
    """The other disk may be slower than one's own, and says nothing of it."""
    first, second = _without_leader(trio)
    second.group.set_lead(False, trio.now)
    second.hold_sync = True
    lasted: list[int] = []
    for _ in range(3):
        while first.group.state.campaign is None:
            trio.advance(25_000)
        began_us = trio.now.boot_us
        while first.group.state.campaign is not None:
            trio.advance(25_000)
        lasted.append(trio.now.boot_us - began_us)
    assert [later > 1.8 * earlier for earlier, later in itertools.pairwise(lasted)] == [True, True], lasted


def _without_leader(trio: Trio) -> tuple[Node, Node]:
    """The two followers of a leader that was cut off, at the moment when nothing binds them any more."""
    leader = trio.elect()
    trio.drop = lambda sender, receiver, message: leader.number in {sender, receiver}
    first, second = [node for node in trio.nodes.values() if node is not leader]
    while any(node.liveness.supports(leader.number, trio.now) for node in (first, second)):
        trio.advance(25_000)
    assert not any(node.group.state.campaign or node.group.leading for node in (first, second))
    return first, second


def test_resignation_is_durable_told_until_answered_and_asked_for(trio: Trio) -> None:
    leader = trio.elect()
    given_up = leader.group.ballot
    trio.drop = lambda sender, receiver, message: (
        isinstance(message, Resign | Resigned | Question) or (isinstance(message, Prepare) and sender == leader.number)
    )
    leader.group.resign(trio.now)
    trio.pump(leader)
    trio.settle()
    assert leader.disk.frames[-1] == wal.Resign(leader.group.partition, given_up)
    assert leader.deposed == 1
    trio.advance(600_000)
    assert all(node.group.state.promised == given_up for node in trio.nodes.values() if node is not leader), "bound: nobody knows"
    trio.drop = lambda sender, receiver, message: False
    trio.advance(2_000_000)
    assert trio.said(Resigned)
    assert trio.leader().group.ballot > given_up


def test_a_restarted_owner_gives_up_what_it_led(trio: Trio) -> None:
    leader = trio.elect()
    given_up = leader.group.ballot
    trio.restart(leader.number, boot=2)
    trio.advance(300_000)
    assert all(node.group.state.resigned == given_up for node in trio.nodes.values())


def test_transfer_goes_to_the_member_named_without_waiting_for_a_lapse(trio: Trio) -> None:
    leader = trio.elect()
    heir = [node for node in trio.nodes.values() if node is not leader][1]
    trio.propose(leader, 5)
    leader.group.transfer(heir.group.me, trio.now)
    assert not leader.group.can_propose(1, trio.now)
    trio.advance(100_000)
    assert trio.leader() is heir


def test_the_lease_ends_before_the_support_it_rests_on(trio: Trio) -> None:
    leader = trio.elect()
    _cut_off(trio, leader)
    trio.drop = lambda sender, receiver, message: True
    lapsed: dict[str, int] = {}
    for _ in range(200):
        trio.advance(10_000)
        if not leader.group.lease.held(trio.now):
            lapsed.setdefault("lease", trio.now.boot_us)
        if not any(node.liveness.supports(leader.number, trio.now) for node in trio.nodes.values() if node is not leader):
            lapsed.setdefault("support", trio.now.boot_us)
    assert lapsed["lease"] <= lapsed["support"]


def test_the_lease_is_void_when_the_clocks_of_the_node_move_apart(trio: Trio) -> None:
    leader = trio.elect()
    assert leader.group.lease.held(trio.now)
    assert not leader.group.lease.held(trio.now._replace(wall_us=trio.now.wall_us + OPTIONS.drift_us + 1_000))
    assert not leader.group.lease.held(trio.now._replace(wall_us=trio.now.wall_us - OPTIONS.drift_us - 1_000))


def test_after_an_epoch_moved_the_member_is_asked_once_more(trio: Trio) -> None:
    leader = trio.elect()
    one, other = [node for node in trio.nodes.values() if node is not leader]
    # It hears that the others are there, or it would give up; and nobody leads instead.
    trio.drop = lambda sender, receiver, message: sender == leader.number or isinstance(message, AskHealth)
    trio.advance(OPTIONS.grant_us + 100_000)
    assert not leader.group.lease.held(trio.now)
    stop = {one.number, other.number}
    trio.drop = lambda sender, receiver, message: sender in stop and receiver in stop
    trio.delivered.clear()
    trio.advance(500_000)
    assert leader.group.leading
    assert leader.group.lease.held(trio.now)
    assert trio.said(Accepted)


def test_closed_needs_lease_own_log_at_a_quorum_and_an_acknowledged_clock(trio: Trio) -> None:
    leader = trio.elect()
    trio.advance(500_000)
    closed = leader.group.closed(trio.now)
    assert closed is not None
    acknowledged = max(leader.liveness.credit(peer.node).clock for peer in leader.group.members.peers)
    assert closed <= acknowledged
    for node in trio.nodes.values():
        node.hold_sync = True
    trio.propose(leader, 1)
    pending = leader.group.closed(trio.now)
    assert pending is not None
    assert pending < leader.group.log.read(leader.group.last, leader.group.last + 1, max_bytes=1)[0].stamp
    assert (leader.group.closed(trio.now, in_seal=True) or 0) >= pending
    follower = next(node for node in trio.nodes.values() if node is not leader)
    assert follower.group.closed(trio.now) is None
    trio.drop = lambda sender, receiver, message: True
    trio.advance(OPTIONS.grant_us)
    assert leader.group.closed(trio.now) is None


def test_later_records_are_above_what_was_closed_even_if_the_wall_clock_steps_back(trio: Trio) -> None:
    leader = trio.elect()
    trio.advance(500_000)
    closed = leader.group.closed(trio.now)
    assert closed is not None
    assert leader.clock.tick(trio.now.wall_us - 400_000) > closed


def test_a_follower_below_the_log_is_told_to_fetch_a_snapshot(trio: Trio) -> None:
    leader = trio.elect()
    away = next(node for node in trio.nodes.values() if node is not leader)
    _cut_off(trio, away)
    trio.propose(leader, 40)
    trio.settle()
    leader.group.trimmed(Lsn(30))
    for lsn in range(1, 30):
        leader.disk.log.pop(lsn, None)
    trio.drop = lambda sender, receiver, message: False
    trio.advance(1_000_000)
    assert [one for one in trio.said(Snapshot) if one[1] == away.number]
    assert away.install_from == leader.group.me
    at = leader.group.log.chosen
    away.group.installed(at, leader.chosen[-1].stamp, trio.now)
    trio.pump(away)
    trio.propose(leader, 2)
    trio.advance(1_000_000)
    assert away.group.state.accepted == leader.group.ballot
    assert away.chosen[-1].data == leader.chosen[-1].data
    assert [frame for frame in away.disk.frames if isinstance(frame, wal.Install)]


def test_an_amnesiac_neither_promises_nor_accepts_nor_campaigns(trio: Trio) -> None:
    leader = trio.elect()
    lost = next(node for node in trio.nodes.values() if node is not leader)
    lost.group.set_vote(False, trio.now)
    last = lost.group.last
    trio.propose(leader, 5)
    trio.advance(1_000_000)
    assert lost.group.last == last
    assert leader.group.log.chosen == 6, "the other two are a quorum"
    _cut_off(trio, leader)
    trio.advance(5_000_000)
    assert not any(node.group.leading for node in trio.nodes.values() if node is not leader), "one vote is none"


def test_a_clock_too_far_ahead_is_refused(trio: Trio) -> None:
    leader = trio.elect()
    follower = next(node for node in trio.nodes.values() if node is not leader)
    last = follower.group.last
    record = encode(owner=OWNER, lsn=last + 1, stamp=(trio.now.wall_us + 600_000) << 12, kind=RecordKind.NOOP, payload=b"")
    follower.group.step(leader.number, Accept(leader.group.ballot, last + 1, 0, record.data), trio.now)
    assert follower.group.last == last
    assert follower.group.state.clock_refusals == 1


def test_damaged_or_foreign_records_change_nothing(trio: Trio) -> None:
    leader = trio.elect()
    follower = next(node for node in trio.nodes.values() if node is not leader)
    last = follower.group.last
    good = encode(owner=OWNER, lsn=last + 1, stamp=follower.clock.tick(trio.now.wall_us), kind=RecordKind.NOOP, payload=b"")
    foreign = encode(owner=b"elsewher", lsn=last + 1, stamp=good.stamp, kind=RecordKind.NOOP, payload=b"")
    flipped = good.data[:30] + bytes([good.data[30] ^ 1]) + good.data[31:]
    for data in (foreign.data, flipped, good.data[:-1], good.data + good.data):
        with pytest.raises(Corrupt):
            follower.group.step(leader.number, Accept(leader.group.ballot, last + 1, 0, data), trio.now)
        assert follower.group.last == last
        follower.group.check_invariants()


def test_answers_of_another_incarnation_do_not_count(trio: Trio) -> None:
    leader = trio.elect()
    follower = next(node for node in trio.nodes.values() if node is not leader)
    trio.drop = lambda sender, receiver, message: receiver == leader.number
    trio.propose(leader, 1)
    trio.settle()
    for voter in (2, 0):  # 0: it says of none
        leader.group.step(follower.number, Accepted(leader.group.ballot, voter, 1, leader.group.last, False), trio.now)
        assert leader.group.log.chosen == 1
    leader.group.step(follower.number, Accepted(leader.group.ballot, 1, 1, leader.group.last, False), trio.now)
    assert leader.group.log.chosen == 2


def test_the_window_bounds_what_is_proposed_and_not_chosen(trio: Trio) -> None:
    leader = trio.elect()
    trio.drop = lambda sender, receiver, message: True
    proposed = 0
    while leader.group.can_propose(1 << 20, trio.now):
        leader.group.propose(
            [
                encode(
                    owner=OWNER,
                    lsn=leader.group.next_lsn,
                    stamp=leader.clock.tick(trio.now.wall_us),
                    kind=RecordKind.DATA,
                    payload=bytes(1 << 20),
                )
            ]
        )
        trio.pump(leader)
        proposed += 1
    assert proposed == OPTIONS.window_bytes >> 20 or proposed == (OPTIONS.window_bytes >> 20) - 1


def test_a_group_of_one_needs_nobody() -> None:
    trio = Trio(size=1)
    leader = trio.elect()
    trio.propose(leader, 3)
    assert leader.group.log.chosen == 4
    assert leader.group.serving(trio.now)
    assert leader.group.closed(trio.now)


def test_a_recovered_log_is_given_as_chosen_once_it_is_known_chosen(trio: Trio) -> None:
    leader = trio.elect()
    trio.propose(leader, 10)
    trio.advance(300_000)
    follower = next(node for node in trio.nodes.values() if node is not leader)
    group = follower.group
    start = GroupStart(group.state.promised, group.state.accepted, group.state.resigned, Lsn(1), group.last, Lsn(4), Stamp(0))
    again = trio.nodes[follower.number] = Node(trio, follower.number, boot=2, start=start, disk=follower.disk)
    trio.advance(1_500_000)
    assert [record.lsn for record in again.chosen][:7] == [5, 6, 7, 8, 9, 10, 11]


def test_duplicates_and_late_messages_change_nothing(trio: Trio) -> None:
    leader = trio.elect()
    trio.propose(leader, 5)
    trio.advance(300_000)
    before = [
        (node.group.state.promised, node.group.state.accepted, node.group.last, node.group.log.chosen) for node in trio.nodes.values()
    ]
    for sender, to, message in list(trio.delivered):
        if isinstance(message, Accept | Accepted | Promise | Prepare | Stage):
            trio.queue.append((sender, to, message))
    trio.settle()
    trio.advance(300_000)
    assert [
        (node.group.state.promised, node.group.state.accepted, node.group.last, node.group.log.chosen) for node in trio.nodes.values()
    ] == before
    assert ballot_owner(Ballot(before[0][0])) == leader.group.me


def test_shell_messages_pass_unread(trio: Trio) -> None:
    assert trio[1].liveness.step(2, ShellMessage("x", b""), trio.now) == []
