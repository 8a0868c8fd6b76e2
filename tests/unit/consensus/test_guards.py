"""One test for each guard of the core that a run of seeds can miss: what is refused, what waits, what is written before it is said."""

from __future__ import annotations

import pytest

from scrubjay.base.errors import Corrupt
from scrubjay.base.ids import Ballot, Lsn, Member, ballot, ballot_round
from scrubjay.storage.consensus.group_config import GroupStart
from scrubjay.storage.consensus.messages import Accept, Accepted, Ask, Behind, Grant, Refused, Resign, Resigned, Stage
from scrubjay.storage.consensus.ready import Envelope
from scrubjay.storage.log.record import Record, RecordKind, encode
from scrubjay.storage.wal import port as wal
from tests.unit.consensus.trio import OWNER, Disk, Node, Trio


@pytest.fixture
def trio() -> Trio:
    return Trio()


class RottenDisk(Disk):
    def read(self, first: Lsn, end: Lsn, *, max_bytes: int) -> list[Record]:
        raise Corrupt("bad bytes", what="wal", lsn=first)


def others(trio: Trio, node: Node) -> list[Node]:
    return [one for one in trio.nodes.values() if one is not node]


def deliver(trio: Trio, sender: Node, receiver: Node, message: object) -> None:
    trio.post(sender.number, [Envelope(receiver.number, message)])  # type: ignore[arg-type]
    trio.settle()


def test_an_answer_that_persists_nothing_waits_for_the_sync_of_what_it_rests_on(trio: Trio) -> None:
    leader = trio.elect()
    follower = others(trio, leader)[0]
    follower.hold_sync = True
    trio.propose(leader, 1)
    trio.settle()
    before = len(trio.said(Accepted))
    # the same question once more, while the record is queued and not synced
    deliver(trio, leader, follower, Accept(leader.group.ballot, leader.group.last + 1, leader.group.log.chosen, b""))
    assert not [one for one in trio.said(Accepted)[before:] if one[0] == follower.number], "said before it was durable"
    follower.hold_sync = False
    trio.sync(follower)
    trio.settle()
    assert [one for one in trio.said(Accepted)[before:] if one[0] == follower.number]


@pytest.mark.parametrize("kind", ["stage", "accept"])
def test_a_bound_member_refuses_every_message_of_another_owner_not_its_prepare_alone(trio: Trio, kind: str) -> None:
    leader = trio.elect()
    follower, rival = others(trio, leader)
    group = follower.group
    higher = ballot(ballot_round(group.state.promised) + 1, Member(rival.number, 1))
    before = group.state.promised, group.state.accepted, group.last
    message = (
        Stage(higher, 0, int(group.log.chosen), int(group.last), int(group.last) + 1, b"")
        if kind == "stage"
        else Accept(higher, int(group.last) + 1, 0, b"")
    )
    deliver(trio, rival, follower, message)
    assert (group.state.promised, group.state.accepted, group.last) == before
    refused = [one[2] for one in trio.said(Refused) if one[0] == follower.number]
    assert refused
    assert isinstance(refused[-1], Refused)
    assert refused[-1].hears


def test_what_was_accepted_before_a_restart_is_not_chosen_for_that(trio: Trio) -> None:
    """The log reaches to 3, the tree to 1: records 2 and 3 may yet be cut by whoever leads."""
    leader = trio.elect()
    follower = others(trio, leader)[0]
    for node in trio.nodes.values():
        node.hold_sync = True
    trio.propose(leader, 2)
    trio.settle()
    group = follower.group
    start = GroupStart(group.state.promised, group.state.accepted, group.state.resigned, Lsn(1), group.last, Lsn(1))
    assert group.last == 3
    again = Node(trio, follower.number, boot=2, start=start, disk=follower.disk)
    assert again.group.log.chosen == 1
    ready = again.group.ready()
    assert ready is None or not ready.chosen


def test_closed_lies_below_the_first_record_that_is_not_chosen(trio: Trio) -> None:
    leader = trio.elect()
    trio.propose(leader, 1)
    trio.advance(100_000)
    for node in trio.nodes.values():
        node.hold_sync = True
    trio.propose(leader, 2)
    first = leader.group.log.read(leader.group.log.chosen + 1, leader.group.log.chosen + 2, max_bytes=1)[0]
    trio.advance(700_000)  # grants acknowledge clocks far above that record
    assert leader.group.log.chosen == first.lsn - 1
    closed = leader.group.closed(trio.now)
    assert closed is not None
    assert closed == first.stamp - 1, "closed at a stamp means: nothing with that stamp is to come"


@pytest.mark.parametrize("where", ["beyond what is chosen, of another log", "beyond the adopted log"])
def test_a_log_is_cut_only_where_it_is_known_to_agree(trio: Trio, where: str) -> None:
    leader = trio.elect()
    follower, heir = others(trio, leader)
    for node in trio.nodes.values():
        node.hold_sync = node is not follower
    trio.drop = lambda sender, receiver, message: receiver == heir.number
    trio.propose(leader, 4)
    trio.settle()
    group = follower.group
    assert (group.log.chosen, group.last) == (1, 5)
    # the leader gives up, so that nobody is bound; the heir comes with a log that it took elsewhere
    deliver(trio, leader, follower, Resign(group.state.promised, 0))
    higher = ballot(ballot_round(group.state.promised) + 1, Member(heir.number, 1))
    accepted = group.state.accepted
    strange = ballot(1, Member(heir.number, 1))
    message = Stage(higher, strange, 3, 3, 4, b"") if where.startswith("beyond what") else Stage(higher, accepted, 4, 3, 4, b"")
    trio.drop = lambda sender, receiver, message: False
    deliver(trio, heir, follower, message)
    assert group.state.promised == higher
    assert (group.state.accepted, group.last) == (accepted, 5), "nothing was cut, nothing adopted"
    assert [one for one in trio.said(Behind) if one[0] == follower.number]


@pytest.mark.parametrize("rotten", [False, True])
@pytest.mark.parametrize("pieces", [1, 4])
@pytest.mark.parametrize("other", [2, 4, 5, None])
def test_what_the_own_log_holds_in_the_same_bytes_is_kept_and_not_written_twice(
    trio: Trio, other: int | None, pieces: int, rotten: bool
) -> None:
    """other: the first record that the adopted log has otherwise; None: it is the own log with one more record behind it."""
    leader = trio.elect()
    follower, heir = others(trio, leader)
    for node in trio.nodes.values():
        node.hold_sync = node is not follower
    trio.drop = lambda sender, receiver, message: receiver == heir.number
    trio.propose(leader, 4)
    trio.settle()
    group = follower.group
    assert (group.log.chosen, group.last) == (1, 5)
    mine = {lsn: follower.disk.log[lsn] for lsn in range(2, 6)}
    first = other or 6
    theirs = [mine[lsn] for lsn in range(2, first)]
    for lsn in range(first, 7):
        stamp = leader.clock.tick(trio.now.wall_us)
        theirs.append(encode(owner=OWNER, lsn=Lsn(lsn), stamp=stamp, kind=RecordKind.DATA, payload=bytes([lsn])))
    if rotten:  # its own bytes cannot be read, so nothing is known to be there
        group.log.forget(Lsn(6))
        group.log._reader = RottenDisk()
    deliver(trio, leader, follower, Resign(group.state.promised, 0))
    higher = ballot(ballot_round(group.state.promised) + 1, Member(heir.number, 1))
    trio.drop = lambda sender, receiver, message: False
    count = len(follower.disk.frames)
    for at in range(0, 5, 5 // pieces or 1):
        piece = theirs[at : at + (5 // pieces or 1)]
        deliver(trio, heir, follower, Stage(higher, 0, 1, 6, piece[0].lsn, b"".join([one.data for one in piece])))
    assert (group.state.accepted, group.last) == (higher, 6)
    staged = [one.lsn for frame in follower.disk.frames[count:] if isinstance(frame, wal.Append) and frame.staged for one in frame.records]
    kept = 1 if rotten else first - 1
    assert staged == [*range(kept + 1, 7)], "what differs, all behind it, and nothing that was there"
    (adopted,) = [frame for frame in follower.disk.frames[count:] if isinstance(frame, wal.Adopt)]
    assert (adopted.cut_at, adopted.adopted_last) == (kept, 6)
    assert [follower.disk.log[lsn].data for lsn in range(2, 7)] == [one.data for one in theirs]
    if not rotten:
        assert [one.data for one in group.log.read(2, 7, max_bytes=1 << 20)] == [one.data for one in theirs]


def test_a_resignation_is_in_the_log_before_it_is_acknowledged(trio: Trio) -> None:
    leader = trio.elect()
    follower = others(trio, leader)[0]
    follower.hold_sync = True
    given_up = follower.group.state.promised
    deliver(trio, leader, follower, Resign(given_up, 0))
    assert [frame for frame in follower.disk.frames if isinstance(frame, wal.Resign) and frame.ballot == given_up]
    assert not [one for one in trio.said(Resigned) if one[0] == follower.number], "said before it was durable"
    trio.sync(follower)
    trio.settle()
    assert [one for one in trio.said(Resigned) if one[0] == follower.number]


def test_a_copy_that_must_not_lead_gives_its_leadership_up_at_once(trio: Trio) -> None:
    leader = trio.elect()
    ballot_ = leader.group.ballot
    leader.group.set_lead(False, trio.now)
    trio.pump(leader)
    trio.settle()
    assert not leader.group.leading
    assert leader.deposed == 1
    assert [frame for frame in leader.disk.frames if isinstance(frame, wal.Resign) and frame.ballot == ballot_]
    trio.advance(2_000_000)
    assert trio.leader() is not leader
    trio.propose(trio.leader(), 1, kind=RecordKind.NOOP)
    trio.advance(100_000)
    assert leader.group.log.chosen >= 2, "it votes on"
    assert leader.group.state.resigned == ballot_ or leader.group.state.promised > ballot_


def test_a_grant_of_an_earlier_life_is_worth_nothing_even_if_the_boot_clock_agrees() -> None:
    trio = Trio()
    again = Node(trio, 1, boot=2)
    again.liveness.watch(2)
    ask = again.liveness.tick(trio.now)[0].message
    assert isinstance(ask, Ask)
    earlier = ask.boot - 1, ask.sent_us
    again.liveness.step(2, Grant(*earlier, 1 << 32 | 7, 0, ask.clock), trio.now)
    assert again.liveness.credit(2).epoch == 0
    again.liveness.step(2, Grant(ask.boot, ask.sent_us, 1 << 32 | 7, 0, ask.clock), trio.now)
    assert again.liveness.credit(2).epoch == 1 << 32 | 7


def test_the_successor_is_who_lacks_least_and_is_heard(trio: Trio) -> None:
    leader = trio.elect()
    near, far = others(trio, leader)
    trio.drop = lambda sender, receiver, message: receiver == far.number and isinstance(message, Accept)
    trio.propose(leader, 2)
    trio.settle()
    assert leader.group.successor(trio.now, besides=frozenset()) == near.group.me
    assert leader.group.successor(trio.now, besides=frozenset({near.number})) == far.group.me
    assert leader.group.successor(trio.now, besides=frozenset({near.number, far.number})) is None
    trio.drop = lambda sender, receiver, message: near.number in (sender, receiver)
    trio.advance(1_200_000)
    assert leader.group.successor(trio.now, besides=frozenset()) in (far.group.me, None)
    assert Ballot(0) < leader.group.ballot


def test_what_was_queued_is_not_lost_over_a_log_that_cannot_be_read(trio: Trio) -> None:
    """A follower comes back with a log whose older part rotted, and takes a new record in the same turn in which it would read the rotten one."""
    leader = trio.elect()
    follower, other = others(trio, leader)
    trio.propose(leader, 2)
    trio.advance(100_000)
    group = follower.group
    start = GroupStart(group.state.promised, group.state.accepted, group.state.resigned, Lsn(1), group.last, Lsn(1))
    again = Node(trio, follower.number, boot=2, start=start, disk=follower.disk)
    again.group.log._reader = RottenDisk()  # the rot came after the start, at which the log is read for the members it names
    trio.drop = lambda sender, receiver, message: follower.number in (sender, receiver)
    trio.propose(leader, 1)
    trio.advance(100_000)
    record = leader.group.log.read(leader.group.last, leader.group.last + 1, max_bytes=1)[0]
    again.group.step(leader.number, Accept(leader.group.ballot, record.lsn, record.lsn, record.data), trio.now)
    ready = again.group.ready()
    assert ready is not None
    assert [one.records for one in ready.persist if isinstance(one, wal.Append)] == [(record,)]
    with pytest.raises(Corrupt):
        again.group.ready()
    again.group.set_vote(False, trio.now)
    answers = [one.message for one in again.group.persisted(ready.token)]
    assert [one.last for one in answers if isinstance(one, Accepted)] == [record.lsn], "said once it is durable"
    assert other.group.log.chosen == record.lsn
