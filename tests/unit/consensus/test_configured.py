"""What is known of members beyond the own log, and five planted bugs of the profile "members" that no seed of it notices: each is noticed here, by a scene of its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from scrubjay.base.ids import Lsn, Member, Stamp
from scrubjay.sim.mutants import MEMBERS
from scrubjay.storage.consensus.membership import Membership, MembershipLog, Remove
from scrubjay.storage.log.configuration import Configuration, founding
from tests.unit.consensus import test_membership as scenes
from tests.unit.consensus.test_membership import MIXED, THREE, change, config, learner, others
from tests.unit.consensus.trio import Trio

ALONE = founding((Member(1, 1),))


def entry(lsn: int, configuration: Configuration) -> Membership:
    return Membership(Member(1, 1), configuration, Lsn(lsn))


@pytest.fixture
def trio() -> Trio:
    return Trio()


def test_a_base_that_knows_more_than_its_log_is_not_put_back_by_it(trio: Trio) -> None:
    """A copy that was healed goes by the CONFIG that it was told of, also where its log holds that one and those before it again."""
    leader = trio.elect()
    record = config(trio, leader, MIXED)
    assert [one.lsn for one in MembershipLog(entry(0, founding(THREE))).read([record])] == [record.lsn]
    for known in (record.lsn, record.lsn + 3):
        assert not MembershipLog(entry(known, ALONE)).read([record])


@pytest.mark.parametrize(
    ("told", "at", "left"),
    [
        (None, 0, [0, 3, 12]),  # the one at 3 was chosen, the one at 6 gave way to the snapshot, the one at 12 is of the log beyond it
        (ALONE, 5, [5, 12]),
        (ALONE, 11, [11, 12]),
        (ALONE, 14, [14]),
    ],
)
def test_a_snapshot_takes_the_place_of_what_the_own_log_said_below_it(told: Configuration | None, at: int, left: list[int]) -> None:
    log = MembershipLog(entry(0, founding(THREE)))
    log.extend([entry(3, MIXED), entry(6, MIXED), entry(12, MIXED)])
    log.install(Lsn(10), 4, told, Lsn(at))
    assert [one.lsn for one in log._entries] == left


def test_an_older_word_than_what_is_known_changes_nothing() -> None:
    log = MembershipLog(entry(8, MIXED))
    log.install(Lsn(10), 9, ALONE, Lsn(5))
    assert (log.last.lsn, log.last.configuration) == (8, MIXED)


def test_a_copy_is_told_of_a_later_config_than_its_snapshot(trio: Trio) -> None:
    node = learner(trio, 4)
    node.group.installed(Lsn(50), Stamp(9), trio.now, members=MIXED, members_lsn=Lsn(57))
    assert (node.group.members.configuration, node.group.members.lsn, node.group.last) == (MIXED, 57, 50)


# --- planted bugs ---


def the_lease_is_counted_by_those_who_are_members_now(trio: Trio) -> None:
    """One of three is removed: of two, the other one's grant is needed, and that of the removed is none."""
    leader = trio.elect()
    trio.propose(leader, 1)
    trio.advance(200_000)
    kept, removed = others(trio, leader)
    change(trio, leader, Remove(removed.number))
    trio.advance(300_000)
    assert leader.group.lease.held(trio.now)
    trio.drop = lambda sender, receiver, message: {sender, receiver} == {leader.number, kept.number}
    trio.advance(1_500_000)
    assert leader.liveness.credited(removed.number, trio.now), "the node of the removed one grants on"
    assert not leader.group.lease.held(trio.now)


SCENES: dict[str, Callable[[Trio], None]] = {
    "own-config": scenes.test_a_candidate_counts_by_the_log_that_it_adopts,
    "removed-leads": scenes.test_a_candidate_whom_the_adopted_log_calls_none_gives_up,
    "removed-keeps-ballot": scenes.test_a_removed_member_gives_up_and_is_heard_no_more,
    "many-pending": scenes.test_one_change_at_a_time_and_none_before_a_record_of_the_own_ballot,
    "lease-as-elected": the_lease_is_counted_by_those_who_are_members_now,
}


@pytest.mark.parametrize("name", sorted(SCENES))
def test_a_planted_bug_that_no_seed_notices_is_noticed(name: str, trio: Trio) -> None:
    SCENES[name](Trio())
    (mutant,) = [one for one in MEMBERS if one.name == name]
    with mutant.plant(), pytest.raises((AssertionError, pytest.fail.Exception)):
        SCENES[name](trio)
