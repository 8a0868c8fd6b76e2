"""What is done next about a partition while nodes join, are drained and removed, and where copies are placed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import msgspec
import pytest

from scrubjay.base.ids import Lsn, Member, PartitionId
from scrubjay.server.copy_moves import SETTLED, Layout, Move, without
from scrubjay.server.relocating import LANES, next_move
from scrubjay.storage.catalogue import DRAINING, MEMBER, REMOVED, NodeMember, PartitionInfo
from scrubjay.storage.control.placement import COPIES, Site, loads, next_site, place
from scrubjay.storage.log.configuration import Configuration, CopyKind, MemberPlace, Vote, founding
from scrubjay.storage.node.port import ChangeMembers, RemoveMember

FOUNDERS = tuple(Member(number, 1) for number in (1, 2, 3))
INFO = PartitionInfo(PartitionId("p"), "0" * 32, "", FOUNDERS)


@dataclass(frozen=True)
class CopyFacts:
    """Of a copy, what the next step goes by."""

    up: bool = True
    incarnation: int = 1
    logged: bool = True
    tree: str = "ok"
    vote: str = "votes"
    behind: bool = False
    applied: Lsn = Lsn(5000)
    state: str = "ok"


def info(*hosts: int, fresh: tuple[int, ...] = ()) -> PartitionInfo:
    return PartitionInfo(PartitionId("p"), "0" * 32, "", FOUNDERS, (), hosts, fresh)


def group(**votes: Vote) -> Configuration:
    """n1=Vote.GONE and so on; a founder that is not named votes."""
    places = {place.member.node: place for place in founding(FOUNDERS).places}
    for name, vote in votes.items():
        places[int(name[1:])] = MemberPlace(Member(int(name[1:]), 1), CopyKind.STORAGE, vote)
    return Configuration(tuple([places[number] for number in sorted(places)]))


def placed(zones: str = "abca", *, up: bool = True, **states: str) -> Layout:
    """Four nodes; zones: a letter each. n1=DRAINING and so on."""
    members = {number: NodeMember(number, 1, "", 0, states.get(f"n{number}", MEMBER)) for number in range(1, len(zones) + 1)}
    sites = [Site(Member(number, 1), zones[number - 1], up) for number in members if members[number].state == MEMBER]
    return Layout(members, sites, dict(zip(members, zones, strict=True)), {})


def move(info: PartitionInfo, configuration: Configuration, where: Layout, **copies: CopyFacts | None) -> Move:
    return moved(info, configuration, where, copies)


def moved(
    info: PartitionInfo, configuration: Configuration, where: Layout, copies: dict[str, CopyFacts | None], lost: tuple[int, ...] = ()
) -> Move:
    found: dict[int, Any] = {number: CopyFacts() for number in info.nodes}
    found.update({int(name[1:]): copy for name, copy in copies.items()})
    known = {number: copy for number, copy in found.items() if copy is not None}
    leader: Any = CopyFacts()
    return next_move(info, configuration, where, leader=leader, copies=known, lost=lost)


DRAINED = placed(n1=DRAINING)
LEARNS, VOTES, GONE = group(n4=Vote.LEARNER), group(n4=Vote.VOTES), group(n4=Vote.VOTES, n1=Vote.GONE)
LEARNER = CopyFacts(vote="learner")


@pytest.mark.parametrize(
    ("here", "configuration", "where", "copies", "expected"),
    [
        (INFO, group(), placed(), {}, SETTLED),
        (INFO, group(), DRAINED, {}, info(1, 2, 3, 4, fresh=(4,))),
        (info(1, 2, 3, 4, fresh=(4,)), group(), DRAINED, {"n4": None}, None),
        (info(1, 2, 3, 4, fresh=(4,)), group(), DRAINED, {"n4": CopyFacts(logged=False)}, None),
        (info(1, 2, 3, 4, fresh=(4,)), group(), DRAINED, {"n4": CopyFacts(up=False)}, None),
        (info(1, 2, 3, 4, fresh=(4,)), group(), DRAINED, {"n4": CopyFacts(incarnation=2)}, None),
        (info(1, 2, 3, 4, fresh=(4,)), group(), DRAINED, {}, info(1, 2, 3, 4)),
        (info(1, 2, 3, 4), group(), DRAINED, {}, ChangeMembers(INFO.partition_id, 4, 1, 1)),
        (info(1, 2, 3, 4), group(), DRAINED, {"n4": None}, None),
        (info(1, 2, 3, 4), LEARNS, DRAINED, {"n4": replace(LEARNER, behind=True)}, None),
        (info(1, 2, 3, 4), LEARNS, DRAINED, {"n4": replace(LEARNER, applied=Lsn(3999))}, None),
        (info(1, 2, 3, 4), LEARNS, DRAINED, {"n4": LEARNER}, ChangeMembers(INFO.partition_id, 4, 0, 1)),
        (info(1, 2, 3, 4), VOTES, DRAINED, {"n4": LEARNER}, None),
        (info(1, 2, 3, 4), VOTES, DRAINED, {"n2": None}, None),
        (info(1, 2, 3, 4), VOTES, DRAINED, {}, RemoveMember(INFO.partition_id, 1, (1,), 1)),
        (info(1, 2, 3, 4), VOTES, DRAINED, {"n1": None}, RemoveMember(INFO.partition_id, 1, (1,), 1)),
        (info(1, 2, 3, 4), GONE, DRAINED, {}, info(2, 3, 4)),
        (info(2, 3, 4), GONE, DRAINED, {"n2": None}, SETTLED),
        # The node that was to take it leaves too: nobody has counted on its copy.
        (info(1, 2, 3, 4, fresh=(4,)), group(), placed(n1=DRAINING, n4=REMOVED), {}, info(1, 2, 3)),
        # What a split made while the node was away has no log there, and a member of the group all the same: it is removed, and not forgotten as one that votes.
        (info(1, 2, 3, fresh=(1,)), group(), placed(n1=REMOVED), {"n1": None}, info(1, 2, 3, 4, fresh=(1, 4))),
        (info(1, 2, 3, 4, fresh=(1,)), VOTES, placed(n1=REMOVED), {"n1": None}, RemoveMember(INFO.partition_id, 1, (1,), 1)),
        (info(1, 2, 3, fresh=(1,)), group(), placed("abc", n1=REMOVED), {"n1": None}, RemoveMember(INFO.partition_id, 1, (1,), 1)),
        (info(1, 2, 3, 4, fresh=(1,)), GONE, placed(n1=REMOVED), {"n1": None}, info(2, 3, 4)),
        # No zone is given up for a node that only is drained; for one that was removed, two copies do.
        (INFO, group(), placed("abcb", n1=DRAINING), {}, None),
        (INFO, group(), placed("abc", n1=DRAINING), {}, None),
        (INFO, group(), placed(up=False, n1=DRAINING), {}, None),
        (INFO, group(), placed("abc", n1=REMOVED), {}, RemoveMember(INFO.partition_id, 1, (1,), 1)),
        (INFO, group(), placed("abc", n1=REMOVED, n2=DRAINING), {}, None),
        (INFO, group(), placed("abc", n1=REMOVED, n2=REMOVED), {}, None),
        (INFO, group(), placed("abca", n1=REMOVED), {}, info(1, 2, 3, 4, fresh=(4,))),
        (info(2, 3), group(n1=Vote.GONE), placed("abca", n1=REMOVED), {}, info(2, 3, 4, fresh=(4,))),
        (info(2, 3), group(n1=Vote.GONE), placed("abc", n1=REMOVED), {}, SETTLED),
        # Two leave at once: what keeps the zones is what comes for both of them, and not the first that comes alone.
        (INFO, group(), placed("abcab", n1=DRAINING, n2=DRAINING), {}, info(1, 2, 3, 4, fresh=(4,))),
        (INFO, group(), placed("abcab", n1=DRAINING, n2=REMOVED), {}, info(1, 2, 3, 4, fresh=(4,))),
        (info(1, 2, 3, 4), VOTES, placed("abcab", n1=DRAINING, n2=DRAINING), {}, info(1, 2, 3, 4, 5, fresh=(5,))),
        (INFO, group(), placed("abcaa", n1=DRAINING, n2=DRAINING), {}, None),
        (INFO, group(), placed("abca", n1=DRAINING, n2=DRAINING), {}, None),
    ],
)
def test_the_next_step(
    here: PartitionInfo, configuration: Configuration, where: Layout, copies: dict[str, CopyFacts | None], expected: object
) -> None:
    found = move(here, configuration, where, **copies)
    if expected is None:
        assert (found.info, found.request, bool(found.left)) == (None, None, True), "it waits, and says for what"
    elif isinstance(expected, PartitionInfo):
        assert (found.info, found.request, bool(found.left)) == (expected, None, True)
    elif isinstance(expected, Move):
        assert found == SETTLED
    else:
        assert (found.info, found.request, bool(found.left)) == (None, expected, True)
    assert found.begins is (found.info is not None and len(found.info.nodes) > len(here.nodes))


def test_from_its_first_step_to_its_last_a_partition_never_has_less_than_three_that_vote() -> None:
    """Each step carried out at once: the whole way of one copy."""
    here, configuration, steps = INFO, group(), 0
    while (found := move(here, configuration, DRAINED, n4=LEARNER if configuration == LEARNS else CopyFacts())) != SETTLED:
        steps += 1
        if found.info is not None:
            here = found.info
        elif isinstance(found.request, ChangeMembers):
            configuration = LEARNS if found.request.incarnation else VOTES
        else:
            assert isinstance(found.request, RemoveMember)
            configuration = GONE
        assert sum(place.vote is Vote.VOTES for place in configuration.places) >= COPIES
    assert (steps, here, configuration) == (6, info(2, 3, 4), GONE)


def test_a_copy_goes_to_who_has_the_room_and_waits_where_nobody_has() -> None:
    where = placed("abcaa", n1=DRAINING)._replace(size=lambda _: 100)
    assert move(INFO, group(), where._replace(room={4: 199, 5: 200})).info == info(1, 2, 3, 5, fresh=(5,))
    assert move(INFO, group(), where._replace(room={4: 200, 5: 200})).info == info(1, 2, 3, 4, fresh=(4,))
    assert move(INFO, group(), where._replace(room={5: 199})).info == info(1, 2, 3, 4, fresh=(4,)), "who does not say it has no bound"
    assert move(INFO, group(), where._replace(room={4: 199, 5: 199})) == Move("the nodes that could take it have no room for it")
    # What is there already, or on its way, needs no more.
    here = info(1, 2, 3, 4)
    assert move(here, group(), where._replace(room={4: 0})).request == ChangeMembers(INFO.partition_id, 4, 1, 1)
    logged = msgspec.structs.replace(here, logs=(4,))
    alone = placed("abca", n1=DRAINING)._replace(size=lambda _: 100)
    assert (alone._replace(room={4: 200}).grower(logged), alone._replace(room={4: 199}).grower(logged)) == (4, 0)


def test_copies_go_where_zones_are_apart_and_least_is_held() -> None:
    sites = [Site(Member(number, 1), zone, up=True) for number, zone in ((1, "a"), (2, "b"), (3, "c"), (4, "a"), (5, "d"))]
    assert place(sites[:3], {}) == FOUNDERS
    assert place(sites[:4], {1: 5, 4: 4}) == (Member(2, 1), Member(3, 1), Member(4, 1))
    assert place(sites[:4], {1: 4, 4: 5}) == FOUNDERS
    assert place(sites[:4], {2: 9, 3: 9}) == FOUNDERS, "two in one zone would hold less, and be lost together"
    assert place(sites, {1: 9, 4: 9}) == (Member(2, 1), Member(3, 1), Member(5, 1))
    down = [*sites[1:4], sites[0]._replace(up=False)]
    assert place(down, {4: 9}) == (Member(2, 1), Member(3, 1), Member(4, 1)), "who is up takes it, whatever it holds"
    assert place([sites[0], sites[3]], {}) == (Member(1, 1), Member(4, 1))
    assert place([sites[0], sites[3], sites[1]], {}) == (Member(1, 1), Member(2, 1), Member(4, 1)), (
        "as many as there are, in one zone if need be"
    )
    assert next_site(sites[:3], sites[:3], {}) is None


def test_what_a_node_holds_is_counted_by_where_copies_are_now() -> None:
    assert without(INFO, 1) == info(2, 3)
    assert without(info(1, 2, 4, fresh=(4,)), 4) == info(1, 2)
    assert LANES >= 1
    assert loads([]) == {}


def going(*hosts: int, goes: tuple[int, ...], fresh: tuple[int, ...] = (), again: tuple[Member, ...] = ()) -> PartitionInfo:
    return msgspec.structs.replace(info(*hosts, fresh=fresh), goes=goes, again=again)


ON = going(1, 2, 3, 4, goes=(1,))
BACK = (Member(1, 2),)


@pytest.mark.parametrize(
    ("here", "configuration", "where", "lost", "copies", "expected"),
    [
        # A copy goes though its node stays, as that of a node that leaves does.
        (going(1, 2, 3, 4, goes=(1,), fresh=(4,)), group(), placed(), (), {}, ON),
        (ON, group(), placed(), (), {}, ChangeMembers(INFO.partition_id, 4, 1, 1)),
        (ON, LEARNS, placed(), (), {"n4": LEARNER}, ChangeMembers(INFO.partition_id, 4, 0, 1)),
        (ON, VOTES, placed(), (), {"n4": LEARNER}, None),
        (ON, VOTES, placed(), (), {}, RemoveMember(INFO.partition_id, 1, (1,), 1)),
        (ON, GONE, placed(), (), {}, info(2, 3, 4)),
        # Who was to take it is lost before it votes: it is the one that goes then. Once it votes it is waited for.
        (going(1, 2, 3, 4, goes=(1,), fresh=(4,)), group(), placed(), (4,), {}, going(1, 2, 3, 4, goes=(4,), fresh=(4,))),
        (going(1, 2, 3, 4, goes=(4,), fresh=(4,)), group(), placed(), (4,), {}, info(1, 2, 3)),
        (ON, LEARNS, placed(), (4,), {}, going(1, 2, 3, 4, goes=(4,))),
        (going(1, 2, 3, 4, goes=(4,)), LEARNS, placed(), (4,), {}, RemoveMember(INFO.partition_id, 4, (4,), 1)),
        (ON, VOTES, placed(), (4,), {"n4": None}, None),
        # Who was to take it leaves: nothing goes any more but what leaves.
        (ON, LEARNS, placed(n4=DRAINING), (), {}, info(1, 2, 3, 4)),
        (ON, VOTES, placed(n4=REMOVED), (), {}, info(1, 2, 3, 4)),
        (ON, GONE, placed(n4=DRAINING), (), {}, info(2, 3, 4)),
        (ON, GONE, placed(n4=REMOVED), (), {"n4": None}, info(2, 3, 4)),
        # And where another takes the place of who leaves already, it goes on: four copies would stay for good, and take a lane from drains.
        (going(1, 2, 3, 4, 5, goes=(1,)), VOTES, placed("abcac", n3=DRAINING), (), {}, ChangeMembers(INFO.partition_id, 5, 1, 1)),
        # Another leaves meanwhile: this one takes its place if no zone is lost by that, also where it rests just now.
        (ON, VOTES, placed("abcd", n3=DRAINING), (), {}, info(1, 2, 3, 4)),
        (ON, group(n1=Vote.LEARNER, n4=Vote.VOTES), placed("abcd", n3=DRAINING), (), {}, info(1, 2, 3, 4)),
        (ON, VOTES, placed("abca", n3=DRAINING), (), {}, None),
        # Where a member was that left its group, the next one comes, and speaks as that.
        (info(2, 3, 4), GONE, placed(n4=DRAINING), (), {}, going(1, 2, 3, 4, goes=(), fresh=(1,), again=BACK)),
        (going(1, 2, 3, 4, goes=(), fresh=(1,), again=BACK), GONE, placed(n4=DRAINING), (), {}, None),
        (
            going(1, 2, 3, 4, goes=(), fresh=(1,), again=BACK),
            GONE,
            placed(n4=DRAINING),
            (),
            {"n1": CopyFacts(incarnation=2)},
            going(1, 2, 3, 4, goes=(), again=BACK),
        ),
        (
            going(1, 2, 3, 4, goes=(), again=BACK),
            GONE,
            placed(n4=DRAINING),
            (),
            {"n1": CopyFacts(incarnation=2)},
            ChangeMembers(INFO.partition_id, 1, 2, 2),
        ),
        # It was decided that it stays while its removal was on its way, and that came true: the next one comes, and nobody waits for who is gone.
        (info(1, 2, 3, 4), GONE, placed(n4=DRAINING), (), {}, going(1, 2, 3, 4, goes=(), fresh=(1,), again=BACK)),
        (going(1, 2, 3, 4, goes=(4,)), GONE, placed(), (), {}, going(1, 2, 3, 4, goes=(4,), fresh=(1,), again=BACK)),
        (going(1, 2, 3, 4, goes=(4,), fresh=(1,), again=BACK), GONE, placed(), (), {}, None),
        # And a copy was given up that had been asked to learn: its member goes too, or the partition would never be split again.
        (info(1, 2, 3), LEARNS, placed(), (), {}, RemoveMember(INFO.partition_id, 4, (), 1)),
        # Who was to take it was alone in its zone, and is no member any more, or never was one of the group: no zone is lost that is not lost anyhow.
        (ON, LEARNS, placed("aabc", n4=REMOVED), (), {}, info(1, 2, 3, 4)),
        (ON, LEARNS, placed("aabc"), (4,), {"n4": None}, going(1, 2, 3, 4, goes=(4,))),
        # One that rests has voted, and a log stands in for it.
        (msgspec.structs.replace(going(1, 2, 3, 4, 5, goes=(1,)), logs=(5,)), LEARNS, placed("aabcd"), (4,), {"n4": None}, None),
        (going(1, 2, 3, 4, goes=(1,), fresh=(4,)), group(), placed("aabc"), (4,), {}, going(1, 2, 3, 4, goes=(4,), fresh=(4,))),
        (ON, VOTES, placed("aabcc", n4=REMOVED), (), {}, going(1, 2, 3, 4, 5, goes=(1,), fresh=(5,))),
    ],
)
def test_a_copy_goes_though_its_node_stays(
    here: PartitionInfo,
    configuration: Configuration,
    where: Layout,
    lost: tuple[int, ...],
    copies: dict[str, CopyFacts | None],
    expected: object,
) -> None:
    found = moved(here, configuration, where, copies, lost)
    assert found.left
    asked = found.info if found.info is not None else found.request
    assert asked == expected, found


CANNOT = replace(LEARNER, behind=True, state="suspect")


@pytest.mark.parametrize(
    ("here", "configuration", "where", "copies", "expected"),
    [
        # Of a node that leaves another takes the copy, where there is one that has not declined one; else it is waited for.
        (info(1, 2, 3, 4, fresh=(4,)), group(), placed("abcaa", n1=DRAINING), {"n4": None}, going(1, 2, 3, 4, goes=(4,), fresh=(4,))),
        (info(1, 2, 3, 4), LEARNS, placed("abcaa", n1=DRAINING), {"n4": CANNOT}, going(1, 2, 3, 4, goes=(4,))),
        (info(1, 2, 3, 4), LEARNS, placed("abca", n1=DRAINING), {"n4": CANNOT}, None),
        (info(1, 2, 3, 4), LEARNS, placed("abcab", n1=DRAINING), {"n4": CANNOT}, None),
        (info(1, 2, 3, 4), LEARNS, placed("abcaa", n1=DRAINING)._replace(declined=(4, 5)), {"n4": CANNOT}, None),
        (info(1, 2, 3, 4), LEARNS, placed("abcaa", up=False, n1=DRAINING), {"n4": CANNOT}, None),
        # Whoever is away may come back with all that it had.
        (info(1, 2, 3, 4), LEARNS, placed("abcaa", n1=DRAINING), {"n4": None}, None),
        # What was begun there goes, and does not stay in the place of the node that leaves.
        (going(1, 2, 3, 4, goes=(4,), fresh=(4,)), group(), placed("abcaa", n1=DRAINING), {"n4": None}, info(1, 2, 3)),
        (INFO, group(), placed("abcaa", n1=DRAINING), {}, info(1, 2, 3, 5, fresh=(5,))),
        (going(1, 2, 3, 4, goes=(4,)), LEARNS, placed("abcaa", n1=DRAINING), {"n4": CANNOT}, going(1, 2, 3, 4, 5, goes=(4,), fresh=(5,))),
        # The one that takes it then cannot either.
        (going(1, 2, 3, 4, 5, goes=(4,)), LEARNS, placed("abcaaa", n1=DRAINING), {"n5": CANNOT}, going(1, 2, 3, 4, 5, goes=(4, 5))),
        # All that could have declined one: one of them is given it all the same.
        (INFO, group(), placed("abca", n1=DRAINING), {}, info(1, 2, 3, 4, fresh=(4,))),
        # Where only what evens out moves, and no zone can be lost by turning it back, nobody else is asked.
        (ON, LEARNS, placed("abcaa"), {"n4": CANNOT}, going(1, 2, 3, 4, goes=(4,))),
    ],
)
def test_a_node_that_cannot_take_the_copy_of_one_that_leaves_has_it_taken_by_another(
    here: PartitionInfo, configuration: Configuration, where: Layout, copies: dict[str, CopyFacts | None], expected: PartitionInfo | None
) -> None:
    if not where.declined:
        where = where._replace(declined=(4,))
    found: dict[int, Any] = {number: CopyFacts() for number in here.nodes}
    found.update({int(name[1:]): copy for name, copy in copies.items()})
    known = {number: copy for number, copy in found.items() if copy is not None}
    given_up = [int(name[1:]) for name in copies]
    leader: Any = CopyFacts()
    assert next_move(here, configuration, where, leader=leader, copies=known, given_up=given_up).info == expected


def test_a_copy_that_came_back_is_as_its_node_is_once_that_is_another_one() -> None:
    here = going(1, 2, 3, goes=(), again=BACK)
    assert (here.member_on(1, 1), here.member_on(1, 3), here.member_on(2, 1)) == (Member(1, 2), Member(1, 3), Member(2, 1))
    assert without(here, 1) == info(2, 3), "what it was is in the CONFIG"
