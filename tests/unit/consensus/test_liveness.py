"""Grants, credits and epochs between two nodes."""

from __future__ import annotations

from scrubjay.base.hlc import HybridClock, stamp_of
from scrubjay.base.ids import Ballot, Lsn, Member, PartitionId, Stamp
from scrubjay.storage.consensus.group_log import GroupLog
from scrubjay.storage.consensus.liveness import MOVED_MAX, Liveness
from scrubjay.storage.consensus.membership import Membership, quorum_of
from scrubjay.storage.consensus.messages import Ask, Grant, Moved
from scrubjay.storage.consensus.options import ConsensusOptions
from scrubjay.storage.consensus.ready import Now
from scrubjay.storage.log.configuration import founding

OPTIONS = ConsensusOptions(grant_us=1_000_000, interval_us=200_000, drift_us=10_000)
WALL = 1_800_000_000_000_000
START = Now(5_000_000, WALL)
PARTITION = PartitionId("11111111-2222-4333-8444-555555555555")


def _node(me: int, *, boot: int = 1, reserved_us: int = 10_000_000, now: Now = START) -> Liveness:
    clock = HybridClock(reservation=stamp_of(WALL + reserved_us))
    clock.latest = Stamp(1)
    liveness = Liveness(me=me, boot_count=boot, clock=clock, options=OPTIONS, now=now)
    liveness.watch(3 - me)
    return liveness


def _later(by_us: int, now: Now = START) -> Now:
    return Now(now.boot_us + by_us, now.wall_us + by_us)


def _exchange(asker: Liveness, granter: Liveness, now: Now, *, travel_us: int = 0) -> Grant:
    ask = asker.tick(now)[0].message
    assert isinstance(ask, Ask)
    arrived = _later(travel_us, now)
    grant = granter.step(asker.me, ask, arrived)[0].message
    assert isinstance(grant, Grant)
    asker.step(granter.me, grant, _later(travel_us, arrived))
    return grant


def test_credit_is_counted_from_sending_and_ends_before_support() -> None:
    a, b = _node(1), _node(2)
    _exchange(a, b, START, travel_us=300_000)
    assert a.credit(2).until_us == START.boot_us + OPTIONS.grant_us - OPTIONS.drift_us
    assert b.supports(1, _later(300_000 + OPTIONS.grant_us - 1))
    assert not b.supports(1, _later(300_000 + OPTIONS.grant_us))
    assert not a.credited(2, _later(OPTIONS.grant_us - OPTIONS.drift_us))


def test_a_renewal_keeps_the_epoch_and_a_lapse_moves_it() -> None:
    a, b = _node(1), _node(2)
    first = _exchange(a, b, START).epoch
    assert first == 1 << 32 | 1
    assert _exchange(a, b, _later(500_000)).epoch == first
    a.changed(), b.changed()
    moved = _exchange(a, b, _later(2_000_000)).epoch
    assert moved > first
    assert a.changed() == [2]
    assert b.changed() == [1]


def test_renewals_are_no_change() -> None:
    a, b = _node(1), _node(2)
    _exchange(a, b, START)
    a.changed(), b.changed()
    _exchange(a, b, _later(200_000))
    assert (a.changed(), b.changed()) == ([], [])


def test_epochs_rise_over_a_restart_and_a_restarted_node_is_quiet() -> None:
    a, b = _node(1), _node(2)
    before = _exchange(a, b, START).epoch
    again = _node(2, boot=2)
    assert again.quiet(START)
    assert not again.quiet(_later(OPTIONS.grant_us))
    assert _exchange(a, again, _later(200_000)).epoch > before
    assert not _node(2).quiet(START), "a node that never ran has supported nobody"


def test_grants_to_an_earlier_boot_are_ignored() -> None:
    a, b = _node(1), _node(2)
    ask = a.tick(START)[0].message
    grant = b.step(1, ask, START)[0].message
    again = _node(1, boot=2)
    again.step(2, grant, START)
    assert not again.credited(2, START)
    b.step(1, again.tick(START)[0].message, START)
    assert b.boot_of(1) == 2
    assert b.step(1, ask, START) == [], "an ask from before the restart is late"


def test_an_acknowledged_clock_is_covered_by_the_granters_reservation() -> None:
    a, b = _node(1), _node(2, reserved_us=1_000)
    grant = _exchange(a, b, _later(400_000))
    assert grant.acknowledged == stamp_of(WALL + 1_000)
    assert a.credit(2).clock == grant.acknowledged


def test_a_clock_too_far_ahead_gets_no_grant() -> None:
    a, b = _node(1), _node(2)
    ask = a.tick(Now(START.boot_us, WALL + 600_000))[0].message
    assert b.step(1, ask, START) == []
    assert b.refused_clocks == 1
    assert not b.supports(1, START)


def test_lapses_are_noticed_at_the_deadline() -> None:
    a, b = _node(1), _node(2)
    _exchange(a, b, START)
    a.changed(), b.changed()
    b.tick(START)
    b.changed()
    b._next_ask_us = a._next_ask_us = 1 << 60
    for liveness, end in ((a, OPTIONS.grant_us - OPTIONS.drift_us), (b, OPTIONS.grant_us)):
        at = Now(liveness.deadline(), WALL)
        assert at.boot_us == START.boot_us + end
        liveness.tick(at)
        assert liveness.changed() == [3 - liveness.me]


def test_moved_indexes_go_soon_and_again_until_acknowledged() -> None:
    a, b = _node(1), _node(2)
    _exchange(a, b, START)
    now = _later(50_000)
    a.chosen_moved(PARTITION, Ballot(9), Lsn(4), peers=(2,), now=now)
    assert a.deadline() == now.boot_us + OPTIONS.chosen_delay_us
    moved = a.tick(_later(OPTIONS.chosen_delay_us, now))[0].message
    assert isinstance(moved, Moved)
    lost = a.tick(_later(200_000))[0].message
    assert isinstance(lost, Ask)
    assert lost.chosen == ((PARTITION, 9, 4),)
    _exchange(a, b, _later(400_000))
    assert b.take_chosen() == [(1, PARTITION, 9, 4)]
    after = a.tick(_later(600_000))[0].message
    assert isinstance(after, Ask)
    assert after.chosen == ()


def test_one_message_carries_a_bounded_number_of_indexes() -> None:
    a, b = _node(1), _node(2)
    for number in range(MOVED_MAX + 10):
        a.chosen_moved(PartitionId(f"{number:08x}-2222-4333-8444-555555555555"), Ballot(9), Lsn(1), peers=(2,), now=START)
    _exchange(a, b, START)
    assert len(b.take_chosen()) == MOVED_MAX
    _exchange(a, b, _later(200_000))
    assert len(b.take_chosen()) == 10


def test_quorums() -> None:
    assert [quorum_of(size) for size in range(1, 8)] == [1, 2, 2, 3, 3, 4, 4]
    three, five = (Membership(Member(1, 1), founding(tuple([Member(number, 1) for number in range(1, size + 1)]))) for size in (3, 5))
    assert three.reached([5, 9]) == 5
    assert three.reached([9]) == 0, "two that said nothing are no quorum with one"
    assert five.reached([1, 2, 3, 4, 5]) == 3
    assert [five.enough([Member(2 + other, 1) for other in range(others)]) for others in range(4)] == [False, False, True, True]
    assert [five.hopeless(set(range(2, 2 + refused))) for refused in range(5)] == [False, False, False, True, True]
    assert [five.peer(node) for node in (1, 2, 6)] == [None, Member(2, 1), None], "oneself is no peer"


def test_the_log_forgets_cuts_and_reads_back() -> None:
    from tests.unit.consensus.trio import Disk, Trio

    trio = Trio()
    records = trio.make(trio[1], 10)
    disk = Disk()
    disk.log = {record.lsn: record for record in records}
    log = GroupLog(disk, first=Lsn(1), last=Lsn(0), applied=Lsn(0))
    log.append(records[:6])
    log.append(records[6:])
    log.forget(Lsn(5))
    log.check_invariants()
    assert [one.lsn for one in log.read(1, 11, max_bytes=1 << 20)] == [1, 2, 3, 4], "up to where memory begins"
    assert [one.lsn for one in log.read(3, 5, max_bytes=1)] == [3]
    assert [one.lsn for one in log.read(5, 11, max_bytes=250)] == [5, 6]
    log.cut(Lsn(7))
    assert log.last == 7
    log.cut(Lsn(2))
    assert (log.last, log.memory_bytes) == (2, 0)
    log.append(records[2:4])
    log.check_invariants()
    log.skip_to(Lsn(10))
    assert [one.lsn for one in log.read(9, 11, max_bytes=1 << 20)] == [9, 10]
    log.install(Lsn(20))
    assert (log.first, log.last) == (21, 20)
    log.check_invariants()


def test_a_late_grant_is_worth_what_the_clocks_were_when_it_was_asked_for() -> None:
    """The boot clock stood still for 5 s between two asks: a grant for the first must not be measured against how the clocks stood at the second."""
    a = _node(1)
    first = a.tick(START)[0].message
    stopped = Now(START.boot_us + OPTIONS.interval_us, START.wall_us + OPTIONS.interval_us + 5_000_000)
    second = a.tick(stopped)[0].message
    assert isinstance(first, Ask)
    assert isinstance(second, Ask)
    late = _later(10_000, stopped)
    a.step(2, Grant(1, first.sent_us, 1 << 32 | 1, 0, stamp_of(WALL)), late)
    assert a.credit(2).offset_us == START.wall_us - START.boot_us
    assert abs(late.wall_us - late.boot_us - a.credit(2).offset_us) > OPTIONS.drift_us, "the lease that rests on it is void"
    a.step(2, Grant(1, second.sent_us, 1 << 32 | 1, 0, stamp_of(WALL)), late)
    assert a.credit(2).offset_us == stopped.wall_us - stopped.boot_us


def test_a_grant_for_an_ask_that_was_never_sent_counts_for_nothing() -> None:
    a = _node(1)
    a.tick(START)
    a.step(2, Grant(1, START.boot_us + 1, 1 << 32 | 1, 0, stamp_of(WALL)), _later(10_000))
    assert a.credit(2).epoch == 0
    for number in range(1, 200):
        a.tick(_later(number * OPTIONS.interval_us))
    assert len(a._asks) <= 4 * OPTIONS.grant_us // OPTIONS.interval_us + 1, "bounded"


def test_a_grant_of_an_earlier_epoch_that_comes_late_takes_nothing_back() -> None:
    a, b = _node(1), _node(2)
    early = a.tick(START)[0].message
    assert isinstance(early, Ask)
    late = b.step(1, early, START)[0].message
    after = _later(1_500_000)
    moved = _exchange(a, b, after)
    assert isinstance(late, Grant)
    assert moved.epoch > late.epoch
    a.step(2, Grant(moved.boot, moved.sent_us, late.epoch, late.acknowledged, late.clock), after)
    assert a.credit(2).epoch == moved.epoch


def test_a_clock_acknowledged_under_an_epoch_that_lapsed_counts_no_more() -> None:
    a, b = _node(1), _node(2)
    _exchange(a, b, START)
    assert a.credit(2).clock > 0
    after = _later(1_500_000)
    ask = a.tick(after)[0].message
    assert isinstance(ask, Ask)
    a.step(2, Grant(ask.boot, ask.sent_us, 7 << 32, Stamp(5), Stamp(5)), after)
    assert a.credit(2).epoch == 7 << 32
    assert a.credit(2).clock == 5
