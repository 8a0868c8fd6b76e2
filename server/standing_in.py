"""Which log replica stands in for a storage replica whose node does not answer, and when it rests again: the next step, from the catalogue and the group's own CONFIG alone (ADR 0080). Pure.

    lost        somebody that votes is on a node that is lost
    a log       the catalogue names a node that is to have the log; its log begins; it is a learner; its log begins behind what is archived; it lacks little
    swapped     the lost member rests: it votes no more, and keeps what it has; the log replica votes
    back        the lost member is whole again and votes; then the log replica rests, and stands by
    gone        all have been whole for an hour: the log replica leaves the group, and its log goes

Each step leaves a quorum of those that are up as large as it was, or larger. No step takes anything away from who votes: whoever rests keeps its copy, and its place under the same id. A log that was let go of comes back as the next member.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import msgspec

from scrubjay.base.ids import Member
from scrubjay.server.copy_moves import SETTLED, Layout, Move, besides, with_copy, without
from scrubjay.storage.catalogue import MEMBER, PartitionInfo
from scrubjay.storage.control.placement import COPIES, Site, next_site
from scrubjay.storage.log.configuration import Configuration, CopyKind, MemberPlace, Vote
from scrubjay.storage.node.port import GROWS, LOG_LEARNS, RESTS, BeginLog, ChangeMembers, ChangePlace, GrowTree, RemoveMember, ReplicaFacts

LAG_MAX = 1_000
"""So many records a log may lack when it is let vote."""
LOG_KEPT_US = 3_600_000_000
"""So long all storage replicas of a partition are whole before a log that stands by is let go of: where a node comes and goes it is there at once."""
NOBODY = "no other node is there that could stand in"


def next_stand_in(
    info: PartitionInfo,
    configuration: Configuration,
    placed: Layout,
    *,
    lost: Collection[int],
    leader: ReplicaFacts,
    copies: Mapping[int, ReplicaFacts],
) -> Move:
    """What is next, or SETTLED: nobody has to stand in, or to rest. lost: numbers of nodes that have not answered for too long. copies: by node number."""
    for number in info.logs:
        place = configuration.place(number)
        known = place is not None and place.vote is Vote.GONE and number in placed.members
        if known and place is not None and placed.wanted(info, number).incarnation <= place.member.incarnation:
            return Move("its log goes", without(info, number))  # it could stand in as another member only, and that is begun anew
    voters = [place for place in configuration.places if place.vote is Vote.VOTES]
    out = [place.member for place in voters if place.member.node in lost]
    fit = [place for place in voters if place.member.node not in lost]
    if len(fit) >= COPIES:
        if out:
            return Move(
                "its member rests while its node is out", request=ChangePlace(info.partition_id, out[0].node, RESTS, out[0].incarnation)
            )
        # One that is to be a storage replica goes on voting: its tree is made, or is there, and the group is told next.
        logs = [place.member for place in fit if place.kind is CopyKind.LOG and place.member.node in info.logs]
        if logs and len(fit) - len(logs) >= COPIES:
            return Move("the log replica rests", request=ChangePlace(info.partition_id, logs[0].node, RESTS, logs[0].incarnation))
        return SETTLED
    if not any(number in lost for number in (*[member.node for member in out], *placed.storage(info))):
        return SETTLED
    for number in _able(info, configuration, placed, lost, copies):
        return _brought(info, number, configuration, placed, out=out, leader=leader, copies=copies)
    for number in info.fresh:
        if number in info.logs and number in lost:
            return Move("its new log is given up", without(info, number))
    site = _site(info, placed, lost, [place.member.node for place in fit])
    if site is None:
        return Move(NOBODY)
    return Move("another node stands in", with_copy(info, site.member, configuration, log=True))


def only_stands_by(
    info: PartitionInfo, configuration: Configuration, placed: Layout, *, lost: Collection[int], copies: Mapping[int, ReplicaFacts]
) -> bool:
    """Nobody needs the partition's log replicas: all storage replicas that it should have vote, and are there and whole, and nothing of it is on its way."""
    if not info.logs or info.fresh or info.goes or any(placed.leaves(number) for number in info.nodes):
        return False
    if any(place.vote is Vote.VOTES and place.member.node in info.logs for place in configuration.places):
        return False
    storage = placed.storage(info)
    for number in storage:
        copy = copies.get(number)
        if number in lost or MemberPlace(placed.wanted(info, number), CopyKind.STORAGE, Vote.VOTES) not in configuration.places:
            return False
        if copy is None or not copy.up or copy.tree != "ok" or copy.behind:
            return False
    return len(storage) >= COPIES


def lets_go(info: PartitionInfo, configuration: Configuration) -> Move:
    """The next step by which a log that only stands by goes."""
    number = info.logs[0]
    place = configuration.place(number)
    if place is None or place.vote is Vote.GONE:
        return Move("its log goes", without(info, number))
    request = RemoveMember(info.partition_id, number, (), place.member.incarnation)
    return Move("the log that stands by is let go of", request=request)


def grows(info: PartitionInfo, number: int, *, leader: ReplicaFacts, copy: ReplicaFacts | None) -> Move:
    """A log replica that the catalogue calls a storage replica: its tree is made, and then the group is told."""
    if copy is None or not copy.up:
        return Move("its node is out")
    if copy.tree == "log":
        return Move("its tree is begun", request=GrowTree(info.partition_id), at=number)
    if copy.tree != "ok" or copy.behind or copy.applied + LAG_MAX < leader.applied:
        return Move(f"its tree is made: {copy.state}")
    return Move("it is a storage replica", request=ChangePlace(info.partition_id, number, GROWS, copy.incarnation))


def _able(
    info: PartitionInfo, configuration: Configuration, placed: Layout, lost: Collection[int], copies: Mapping[int, ReplicaFacts]
) -> Iterator[int]:
    """Nodes that have the log, or begin it, and could be let vote."""
    for number in info.logs:
        member, place, copy = placed.members.get(number), configuration.place(number), copies.get(number)
        if number in lost or member is None or member.state != MEMBER or (copy is not None and copy.vote == "amnesiac"):
            continue
        if place is None or placed.wanted(info, number).incarnation > place.member.incarnation or place.vote is Vote.LEARNER:
            yield number


def _site(info: PartitionInfo, placed: Layout, lost: Collection[int], fit: Collection[int]) -> Site | None:
    """A node that has no copy. A zone of its own comes first."""
    taken = [site for site in placed.sites if site.member.node in fit]
    free = [site for site in placed.sites if site.up and site.member.node not in lost and site.member.node not in info.nodes]
    return next_site([*taken, *free], taken, placed.load)


def _brought(
    info: PartitionInfo,
    number: int,
    configuration: Configuration,
    placed: Layout,
    *,
    out: list[Member],
    leader: ReplicaFacts,
    copies: Mapping[int, ReplicaFacts],
) -> Move:
    """The next step by which that node's log comes to vote."""
    partition, copy, place = info.partition_id, copies.get(number), configuration.place(number)
    wanted = placed.wanted(info, number)
    there = copy is not None and copy.up and copy.logged and copy.incarnation == wanted.incarnation
    if not there or copy is None:
        return Move("its node begins the log", tell=number)
    if number in info.fresh:
        return Move("its log begins", msgspec.structs.replace(info, fresh=besides(info.fresh, number)))
    if place is None or place.member != wanted:
        return Move("its log learns", request=ChangePlace(partition, number, LOG_LEARNS, wanted.incarnation))
    if copy.applied < leader.archived and (copy.behind or copy.applied + LAG_MAX < leader.archived):
        return Move("its log begins behind what is archived", request=BeginLog(partition, leader.archived, leader.configured), at=number)
    if copy.behind or copy.vote != "learner":
        return Move(f"its log is {copy.state}, {copy.vote}")
    if copy.applied + LAG_MAX < leader.applied:
        return Move(f"its log lacks {leader.applied - copy.applied} records")
    if out:
        return Move("the lost member rests", request=ChangePlace(partition, out[0].node, RESTS, out[0].incarnation))
    return Move("its log votes", request=ChangeMembers(partition, number, 0, wanted.incarnation))
