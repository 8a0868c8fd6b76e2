"""Where the copies of partitions are and may go, and what a step is that moves one (ADR 0077, ADR 0080). Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

import msgspec

from scrubjay.base.ids import Member, PartitionId
from scrubjay.server.balance import ROOM
from scrubjay.storage.catalogue import MEMBER, REMOVED, NodeMember, PartitionInfo
from scrubjay.storage.control.placement import COPIES, Site, next_site, zones_kept
from scrubjay.storage.log.configuration import Configuration
from scrubjay.storage.node.port import BeginLog, ChangeMembers, ChangePlace, GrowTree, RemoveMember


class Move(NamedTuple):
    """What is to be done about one partition. info: what the catalogue is to say of it. request: for the group's leader. left: why not all of it is where it belongs, "": it is.
    begins: a copy more is made by it. at: number of the node that the request goes to, 0: the leader's. tell: of the node that is told anew what it is to run,
    0: none."""

    left: str
    info: PartitionInfo | None = None
    request: ChangeMembers | RemoveMember | ChangePlace | BeginLog | GrowTree | None = None
    begins: bool = False
    at: int = 0
    tell: int = 0


SETTLED = Move("")


NO_BOUNDS: Mapping[int, int] = {}


def of_no_size(_: PartitionId) -> int:
    """Of a partition of which nothing is known."""
    return 0


class Layout(NamedTuple):
    """What the moves of all partitions are decided by. members: every node that is a member, or was, by number. sites: of them those on which a copy may be placed. zones: by number; of those
    that leave too. load: copies by number. room: bytes that may come to a node's disk beside what is on its way there, by number; one that is not there has no bound that is known. size: bytes of a partition's items.
    declined: numbers of nodes that could not take a copy just now, and are given one only where nobody else can take it."""

    members: Mapping[int, NodeMember]
    sites: Sequence[Site]
    zones: Mapping[int, str]
    load: Mapping[int, int]
    room: Mapping[int, int] = NO_BOUNDS
    size: Callable[[PartitionId], int] = of_no_size
    declined: Collection[int] = ()

    def leaves(self, number: int) -> bool:
        """No copy stays on that node."""
        member = self.members.get(number)
        return member is None or member.state != MEMBER

    def removed(self, number: int) -> bool:
        """That node is no member any more."""
        member = self.members.get(number)
        return member is None or member.state == REMOVED

    def let_go(self, info: PartitionInfo, number: int) -> bool:
        """The copy of that partition does not stay there: no copy does, or this one goes."""
        return number in info.goes or self.leaves(number)

    def wanted(self, info: PartitionInfo, number: int) -> Member:
        """The member that the partition's copy on that node is, or is to be."""
        return info.member_on(number, self.members[number].incarnation)

    def apart(self, numbers: Sequence[int]) -> int:
        """In how many zones these nodes are."""
        return len({self.zones.get(number, str(number)) for number in numbers})

    def storage(self, info: PartitionInfo) -> list[int]:
        """Nodes that have a storage replica, or are making one."""
        return [number for number in info.nodes if number not in info.logs]

    def target(self, info: PartitionInfo) -> Site | None:
        """Who takes the next copy of a partition; None: nobody can, or has the room, or only at the price of a zone. Of a copy that is the only one left, as its quorum was lost, a second is made in any."""
        site = self._target(info, besides=self.declined)
        return site if site is not None or not self.declined else self._target(info, besides=())

    def another(self, info: PartitionInfo, number: int) -> Site | None:
        """Who takes the copy of a partition that was to come to that node; None: nobody who has not declined one can."""
        return self._target(msgspec.structs.replace(info, goes=(*info.goes, number)), besides=self.declined)

    def _target(self, info: PartitionInfo, *, besides: Collection[int]) -> Site | None:
        taken = [site for site in self.sites if site.member.node in info.nodes and site.member.node not in info.goes]
        free = [site for site in self.sites if site.member.node not in info.nodes and site.member.node not in besides]
        sites = [*taken, *[site for site in free if self.fits(info, site.member.node)]]
        site = next_site(sites, taken, self.load)
        there = [number for number in info.nodes if (member := self.members.get(number)) is not None and member.state != REMOVED]
        counted = info.nodes if len(there) > 1 else there
        before = [Site(Member(number, 0), self.zones.get(number, str(number)), up=True) for number in counted]
        # Whoever leaves goes last, once all that come for those who leave are there: by them all zones are counted, and not by the first that comes.
        after = list(taken)
        while (more := next_site(sites, after, self.load)) is not None and (len(after) < COPIES or not after[len(taken) :]):
            after.append(more)
        return site if site is not None and zones_kept(before, after) else None

    def fits(self, info: PartitionInfo, number: int) -> bool:
        """That node has room for a copy of the partition, as far as it says."""
        room = self.room.get(number)
        return room is None or ROOM * self.size(info.partition_id) <= room

    def lacks_room(self, info: PartitionInfo) -> bool:
        """There would be who takes the next copy of a partition, if it had the room."""
        return self.target(info) is None and self._replace(room=NO_BOUNDS).target(info) is not None

    def grower(self, info: PartitionInfo) -> int:
        """The node that has the log alone and could make the tree too, at no zone's price; 0: there is none."""
        staying = [site for site in self.sites if site.member.node in self.storage(info)]
        before = [Site(Member(number, 0), self.zones.get(number, str(number)), up=True) for number in self.storage(info)]
        logs = [site for site in self.sites if site.up and site.member.node in info.logs and site.member.node not in info.fresh]
        logs = [site for site in logs if self.fits(info, site.member.node)]
        return next((site.member.node for site in logs if zones_kept(before, [*staying, site])), 0)


def with_copy(info: PartitionInfo, member: Member, configuration: Configuration, *, log: bool = False) -> PartitionInfo:
    """The partition with a copy more, which is to be made on the node of that member. Whose place in its group is that member's already was one there, and comes back as the next. log: it is to have the log alone."""
    number = member.node
    logs = tuple(sorted((*info.logs, number))) if log else info.logs
    hosts, fresh = tuple(sorted((*info.nodes, number))), (*info.fresh, number)
    return msgspec.structs.replace(info, hosts=hosts, fresh=fresh, logs=logs, again=_again(info, member, configuration))


def made_anew(info: PartitionInfo, member: Member, configuration: Configuration) -> PartitionInfo:
    """The partition with its copy on the node of that member begun anew, as the next member: the one that was there has left the group, and a copy is to be there still."""
    fresh = (*besides(info.fresh, member.node), member.node)
    return msgspec.structs.replace(info, hosts=info.nodes, fresh=fresh, again=_again(info, member, configuration))


def _again(info: PartitionInfo, member: Member, configuration: Configuration) -> tuple[Member, ...]:
    place = configuration.place(member.node)
    if place is None or place.member.incarnation < member.incarnation:
        return info.again
    return (*[one for one in info.again if one[0] != member.node], Member(member.node, place.member.incarnation + 1))


def without(info: PartitionInfo, number: int) -> PartitionInfo:
    """The partition without a copy on that node."""
    return msgspec.structs.replace(
        info,
        hosts=besides(info.nodes, number),
        fresh=besides(info.fresh, number),
        logs=besides(info.logs, number),
        goes=besides(info.goes, number),
        again=tuple([member for member in info.again if member[0] != number]),
    )


def besides(numbers: Sequence[int], number: int) -> tuple[int, ...]:
    """All but that one."""
    return tuple([one for one in numbers if one != number])
