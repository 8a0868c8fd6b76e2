"""Who is a member of a group, and what a quorum of it is. Whoever asks either asks here.

Members are (node, incarnation) and fixed for the life of a `Group` object. The record kind CONFIG has its place in the log already; a reader that meets one
stops. Whoever builds membership change changes this module: nothing else in the room counts members or does arithmetic of majorities.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from scrubjay.base.ids import Member


def quorum_of(members: int) -> int:
    """Smallest number of members that any other such set meets."""
    assert members >= 1
    return members // 2 + 1


class Membership:
    """me: the member that this replica is. all: every member, me too. peers: the others. quorum: how many make one. backers: how many others a member needs."""

    __slots__ = ("_by_node", "all", "backers", "me", "peers", "quorum")

    def __init__(self, me: Member, members: tuple[Member, ...]) -> None:
        assert me in members
        self._by_node = {member.node: member for member in members}
        assert len(self._by_node) == len(members), "one member a node"
        self.me = me
        self.all = members
        self.peers = tuple(member for member in members if member != me)
        self.quorum = quorum_of(len(members))
        self.backers = self.quorum - 1

    def peer(self, node: int) -> Member | None:
        """The other member on that node; None: a stranger, or this node itself."""
        return self._by_node.get(node) if node != self.me.node else None

    def enough(self, others: int) -> bool:
        """This member and so many others are a quorum."""
        return others >= self.backers

    def hopeless(self, refused: Collection[int]) -> bool:
        """Without the members on these nodes there is no quorum."""
        return len(self.all) - len(refused) < self.quorum

    def reached(self, values: Iterable[int]) -> int:
        """The highest value that a quorum has reached; members that said nothing count as 0.

        values: one per member that said something, for example the last LSN it accepted.
        """
        ranked = sorted(values, reverse=True)
        return ranked[self.backers] if len(ranked) > self.backers else 0
