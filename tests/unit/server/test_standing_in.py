"""What is done next about a partition of which a member's node is lost, and when it is back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from scrubjay.base.ids import Lsn, Member, PartitionId
from scrubjay.server.copy_moves import Layout, Move
from scrubjay.server.relocating import next_move
from scrubjay.server.replacing import next_step
from scrubjay.server.standing_in import NOBODY, grows, lets_go, next_stand_in, only_stands_by
from scrubjay.storage.catalogue import DRAINING, REMOVED, PartitionInfo
from scrubjay.storage.log.configuration import Configuration, CopyKind, MemberPlace, Vote, founding
from scrubjay.storage.node.port import GROWS, LOG_LEARNS, RESTS, BeginLog, ChangeMembers, ChangePlace, GrowTree, RemoveMember
from tests.unit.server.test_relocating import FOUNDERS, INFO, CopyFacts, info, placed

P = PartitionId("p")
TOLD = (Lsn(7), b"places")


def logged(*hosts: int, fresh: tuple[int, ...] = (), logs: tuple[int, ...] = (4,)) -> PartitionInfo:
    return PartitionInfo(P, "0" * 32, "", FOUNDERS, logs, hosts or (1, 2, 3, 4), fresh)


def replace_again(info: PartitionInfo, member: Member) -> PartitionInfo:
    return msgspec.structs.replace(info, again=(member,))


def group(**votes: Vote) -> Configuration:
    """n4=Vote.VOTES and so on, the fourth and fifth as logs; a founder that is not named votes."""
    places = {place.member.node: place for place in founding(FOUNDERS).places}
    for name, vote in votes.items():
        number = int(name[1:])
        places[number] = MemberPlace(Member(number, 1), CopyKind.LOG if number > 3 else CopyKind.STORAGE, vote)
    return Configuration(tuple([places[number] for number in sorted(places)]))


LOG = CopyFacts(tree="log", vote="learner", state="log")
LEARNS, STANDS, RESTED = group(n4=Vote.LEARNER), group(n3=Vote.LEARNER, n4=Vote.VOTES), group(n3=Vote.LEARNER, n4=Vote.LEARNER)


class LeaderFacts:
    applied = Lsn(5000)
    archived = Lsn(4500)
    configured = TOLD


def step(here: PartitionInfo, configuration: Configuration, where: Layout, lost: set[int], **copies: CopyFacts | None) -> Move:
    found: dict[int, Any] = {number: LOG if number in here.logs else CopyFacts() for number in here.nodes if number not in lost}
    found.update({int(name[1:]): copy for name, copy in copies.items()})
    known = {number: copy for number, copy in found.items() if copy is not None}
    leader: Any = LeaderFacts()
    return next_stand_in(here, configuration, where, lost=lost, leader=leader, copies=known)


@pytest.mark.parametrize(
    ("here", "configuration", "where", "lost", "copies", "expected"),
    [
        (INFO, group(), placed(), set(), {}, None),
        (INFO, group(), placed("abc"), {3}, {}, NOBODY),
        (INFO, group(), placed(up=False), {3}, {}, NOBODY),
        (INFO, group(), placed(), {3, 4}, {}, NOBODY),
        (INFO, group(), placed(n4=DRAINING), {3}, {}, NOBODY),
        # Where a member was that left its group, the next one comes.
        (INFO, group(n4=Vote.GONE), placed(), {3}, {}, replace_again(logged(fresh=(4,)), Member(4, 2))),
        (INFO, group(), placed(), {3}, {}, logged(fresh=(4,))),
        # A zone of its own comes first: that of the node that is lost.
        (INFO, group(), placed("abcac"), {3}, {}, logged(1, 2, 3, 5, fresh=(5,), logs=(5,))),
        (logged(fresh=(4,)), group(), placed(), {3}, {"n4": None}, "its node begins the log"),
        (logged(fresh=(4,)), group(), placed(), {3}, {"n4": replace(LOG, logged=False)}, "its node begins the log"),
        (logged(fresh=(4,)), group(), placed(), {3}, {"n4": replace(LOG, incarnation=2)}, "its node begins the log"),
        (logged(fresh=(4,)), group(), placed(), {3}, {}, logged()),
        (logged(fresh=(4,)), group(), placed(), {3, 4}, {}, info(1, 2, 3)),
        (logged(), group(), placed(), {3}, {}, ChangePlace(P, 4, LOG_LEARNS, 1)),
        (logged(), LEARNS, placed(), {3}, {"n4": replace(LOG, behind=True, applied=Lsn(0))}, BeginLog(P, Lsn(4500), TOLD)),
        (logged(), LEARNS, placed(), {3}, {"n4": replace(LOG, applied=Lsn(3499))}, BeginLog(P, Lsn(4500), TOLD)),
        (logged(), LEARNS, placed(), {3}, {"n4": replace(LOG, behind=True)}, "its log is log, learner"),
        (logged(), LEARNS, placed(), {3}, {"n4": replace(LOG, applied=Lsn(3999))}, "its log lacks 1001 records"),
        (logged(), LEARNS, placed(), {3}, {}, ChangePlace(P, 3, RESTS, 1)),
        (logged(), RESTED, placed(), {3}, {}, ChangeMembers(P, 4, 0, 1)),
        (logged(), STANDS, placed(), {3}, {}, None),
        (logged(), STANDS, placed(), set(), {}, None),
        # The log replica is lost too: another stands in, if one is there, and it rests itself.
        (logged(), STANDS, placed(), {3, 4}, {}, NOBODY),
        (logged(), STANDS, placed("abcaa"), {3, 4}, {}, logged(1, 2, 3, 4, 5, fresh=(5,), logs=(4, 5))),
        # One that can vote no more is no use.
        (logged(), LEARNS, placed(), {3}, {"n4": replace(LOG, vote="amnesiac")}, NOBODY),
        # Back: it votes first, then the log rests.
        (logged(), group(n4=Vote.VOTES), placed(), set(), {}, ChangePlace(P, 4, RESTS, 1)),
        (logged(), group(n4=Vote.VOTES), placed(), {3}, {}, ChangePlace(P, 3, RESTS, 1)),
        (logged(), LEARNS, placed(), set(), {}, None),
        # One that is to be a storage replica does not rest.
        (logged(logs=()), group(n4=Vote.VOTES), placed(), set(), {}, None),
    ],
)
def test_the_next_step(
    here: PartitionInfo, configuration: Configuration, where: Layout, lost: set[int], copies: dict[str, CopyFacts | None], expected: Any
) -> None:
    found = step(here, configuration, where, lost, **copies)
    asked = found.info or found.request or found.left or None
    assert asked == expected, found


SETTLED_GROUP = group(n4=Vote.LEARNER)


@pytest.mark.parametrize(
    ("here", "configuration", "where", "lost", "copies", "expected"),
    [
        (logged(), SETTLED_GROUP, placed(), set(), {}, True),
        (logged(), group(), placed(), set(), {}, True),
        (INFO, group(), placed(), set(), {}, False),
        (logged(fresh=(4,)), group(), placed(), set(), {}, False),
        (logged(), STANDS, placed(), set(), {}, False),
        (logged(), RESTED, placed(), set(), {}, False),
        (logged(), SETTLED_GROUP, placed(), {3}, {}, False),
        (logged(), SETTLED_GROUP, placed(), set(), {"n3": None}, False),
        (logged(), SETTLED_GROUP, placed(), set(), {"n3": CopyFacts(up=False)}, False),
        (logged(), SETTLED_GROUP, placed(), set(), {"n3": CopyFacts(tree="suspect")}, False),
        (logged(), SETTLED_GROUP, placed(), set(), {"n3": CopyFacts(behind=True)}, False),
        (logged(), SETTLED_GROUP, placed(n2=DRAINING), set(), {}, False),
        (logged(1, 2, 4), group(n3=Vote.GONE, n4=Vote.LEARNER), placed(), set(), {}, False),
        (logged(), group(n4=Vote.VOTES), placed(), set(), {}, False),
    ],
)
def test_a_log_only_stands_by_while_all_that_should_be_there_are_whole(
    here: PartitionInfo, configuration: Configuration, where: Layout, lost: set[int], copies: dict[str, CopyFacts | None], *, expected: bool
) -> None:
    found: dict[int, Any] = {number: LOG if number in here.logs else CopyFacts() for number in here.nodes}
    found.update({int(name[1:]): copy for name, copy in copies.items()})
    known = {number: copy for number, copy in found.items() if copy is not None}
    assert only_stands_by(here, configuration, where, lost=lost, copies=known) is expected


def test_a_log_leaves_its_group_before_its_copy_goes() -> None:
    assert lets_go(logged(), SETTLED_GROUP).request == RemoveMember(P, 4, (), 1)
    gone = group(n4=Vote.GONE)
    assert lets_go(logged(), gone).info == lets_go(logged(), group()).info == info(1, 2, 3)
    # Whoever works next ends what was begun: that member cannot stand in any more.
    assert step(logged(), gone, placed(), {3}).info == info(1, 2, 3)
    assert step(info(1, 2, 3), gone, placed(), {3}).info == replace_again(logged(fresh=(4,)), Member(4, 2))


def test_who_is_back_is_let_vote_by_the_ordinary_way_and_a_log_that_stands_by_is_nobody_s_affair() -> None:
    leader: Any = LeaderFacts()
    copies: dict[int, Any] = {1: CopyFacts(), 2: CopyFacts(), 3: CopyFacts(vote="learner"), 4: LOG}
    asked = next_move(logged(), STANDS, placed(), leader=leader, copies=copies)
    assert asked.request == ChangeMembers(P, 3, 0, 1)
    assert not next_move(logged(), LEARNS, placed(), leader=leader, copies=copies).left


def test_the_node_that_has_the_log_makes_the_tree_where_no_other_is_there() -> None:
    leader: Any = LeaderFacts()
    gone = placed("abcc", n3=REMOVED)
    copies: dict[int, Any] = {1: CopyFacts(), 2: CopyFacts(), 4: LOG}
    assert next_move(logged(), STANDS, gone, leader=leader, copies=copies).info == logged(logs=())
    assert next_move(logged(fresh=(4,)), STANDS, gone, leader=leader, copies={**copies, 4: None}).info is None
    other = next_move(logged(), STANDS, placed("abccc", n3=REMOVED), leader=leader, copies=copies)
    assert other.info == logged(1, 2, 3, 4, 5, fresh=(5,))
    assert next_move(logged(), STANDS, placed("abca", n3=REMOVED), leader=leader, copies=copies).info is None, "not at the price of a zone"
    grown = next_move(logged(logs=()), STANDS, gone, leader=leader, copies=copies)
    assert (grown.request, grown.at) == (GrowTree(P), 4)


@pytest.mark.parametrize(
    ("copy", "expected"),
    [
        (None, None),
        (replace(LOG, up=False), None),
        (LOG, GrowTree(P)),
        (replace(LOG, tree="healing"), None),
        (replace(LOG, tree="ok", behind=True), None),
        (replace(LOG, tree="ok", applied=Lsn(3999)), None),
        (replace(LOG, tree="ok"), ChangePlace(P, 4, GROWS, 1)),
    ],
)
def test_the_group_is_told_once_the_tree_is_whole(copy: CopyFacts | None, expected: Any) -> None:
    leader: Any = LeaderFacts()
    given: Any = copy
    found = grows(logged(logs=()), 4, leader=leader, copy=given)
    assert found.request == expected
    assert found.left


@pytest.mark.parametrize("vote", [None, Vote.LEARNER])
def test_a_log_that_no_config_calls_one_grows_before_it_is_let_in(vote: Vote | None) -> None:
    """A drain, while a log replica had begun its log and was in no CONFIG yet: it was let learn as a storage replica, and the drain waited for its tree for good."""
    leader: Any = LeaderFacts()
    copies: dict[int, Any] = {1: CopyFacts(), 2: CopyFacts(), 3: CopyFacts(), 4: LOG}
    others = founding(FOUNDERS).places
    places = (*others, MemberPlace(Member(4, 1), CopyKind.STORAGE, vote)) if vote is not None else others
    asked = next_move(info(1, 2, 3, 4), Configuration(places), placed(n3=DRAINING), leader=leader, copies=copies)
    assert (asked.request, asked.at) == (GrowTree(P), 4)


def test_who_lets_replaced_nodes_vote_leaves_a_log_that_grows_alone() -> None:
    """It let vote what was told to rest a moment before, four times a second."""
    leader: Any = LeaderFacts()
    copy: Any = CopyFacts(vote="learner")
    step = next_step(Member(4, 1), LEARNS, leader=leader, copy=copy)
    assert step.incarnation is None
    assert step.left
