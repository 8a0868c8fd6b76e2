"""What a group goes by once its quorum is lost for good (`storage.consensus.membership.left_alone`)."""

from __future__ import annotations

import pytest

from scrubjay.base.errors import Unsafe
from scrubjay.base.ids import Member
from scrubjay.storage.consensus.membership import Membership, has_quorum, left_alone
from scrubjay.storage.log.configuration import Configuration, CopyKind, MemberPlace, Vote

ME = Member(1, 1)
STORAGE, LOG = CopyKind.STORAGE, CopyKind.LOG
VOTES, LEARNER, GONE = Vote.VOTES, Vote.LEARNER, Vote.GONE


def places(*votes: tuple[int, CopyKind, Vote]) -> Configuration:
    return Configuration(tuple([MemberPlace(Member(node, 1), kind, vote) for node, kind, vote in votes]))


THREE = places((1, STORAGE, VOTES), (2, STORAGE, VOTES), (3, STORAGE, VOTES))


def test_the_survivor_alone_votes_and_leads_and_the_lost_are_gone_for_good() -> None:
    after = left_alone(THREE, ME, lost={2, 3})
    assert after == places((1, STORAGE, VOTES), (2, STORAGE, GONE), (3, STORAGE, GONE))
    membership = Membership(ME, after)
    assert (membership.quorum, membership.leads, membership.backers, membership.peers) == (1, True, 0, ())
    assert after.gone(Member(2, 1))
    assert not after.gone(Member(2, 2)), "another folder of that node may join"


def test_a_learner_that_is_left_stays_one() -> None:
    before = places((1, STORAGE, VOTES), (2, STORAGE, VOTES), (3, STORAGE, VOTES), (4, LOG, LEARNER))
    assert left_alone(before, ME, lost={2, 3}).place(4) == MemberPlace(Member(4, 1), LOG, LEARNER)


@pytest.mark.parametrize(
    ("before", "lost", "why"),
    [
        (THREE, {3}, "has its quorum"),
        (THREE, {1, 2, 3}, "among the lost"),
        (places((1, STORAGE, VOTES), (2, STORAGE, VOTES), (3, STORAGE, VOTES), (4, STORAGE, VOTES)), {2, 3}, "another voter"),
        (places((1, LOG, VOTES), (2, STORAGE, VOTES), (3, STORAGE, VOTES)), {2, 3}, "keeps the log alone"),
        (places((1, STORAGE, LEARNER), (2, STORAGE, VOTES), (3, STORAGE, VOTES)), {2, 3}, "no vote"),
        (places((1, STORAGE, GONE), (2, STORAGE, VOTES), (3, STORAGE, VOTES)), {2, 3}, "no vote"),
        (Configuration((MemberPlace(Member(1, 2), STORAGE, VOTES), *THREE.places[1:])), {2, 3}, "no vote"),
        (places((2, STORAGE, VOTES), (3, STORAGE, VOTES)), {2, 3}, "no vote"),
    ],
)
def test_what_is_in_the_way_is_named(before: Configuration, lost: set[int], why: str) -> None:
    with pytest.raises(Unsafe, match=why):
        left_alone(before, ME, lost=lost)


def test_nobody_at_all_is_no_quorum() -> None:
    assert not has_quorum(Configuration(()), lost=set())
    assert has_quorum(THREE, lost={3})
    assert not has_quorum(THREE, lost={2, 3})
