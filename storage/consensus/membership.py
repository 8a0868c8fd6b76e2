"""Who is a member of a group, and what a quorum of it is. Whoever asks either asks here.

Members are (node, incarnation). A group begins with the members that the catalogue names; from then on the CONFIG records of its log say who is one
(docs/formats/record.md, `spec/SeqMembers.tla`). The rules:

1. Quorums are read from the log: a member goes by the last CONFIG of its own log, chosen or not, and a candidate by that of the log which it is about to adopt.
2. One place changes at a time: a learner is added (in the place of an older member of the node, if there is one), a learner is let vote, a voter is let rest (it learns again),
   a log replica becomes a storage replica, or a member is removed.
3. A CONFIG is proposed only by a leader of whose own ballot a record is chosen, and when every CONFIG before it is chosen. A leader does not change its own place.
4. A learner is let vote once it holds the log through the CONFIG that named it. Learners follow; nobody counts their answers.
5. Only a storage replica that votes leads. A log replica votes.
6. No member comes back under its id. Who has lost its log is another member afterwards.
7. Where a quorum is lost for good no CONFIG can be chosen any more. `left_alone` is what a person may have written in its place, behind the log of the one voter that is left.

`Membership` is one configuration as one member sees it; `MembershipLog` is those of its log.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from scrubjay.base.errors import Invalid, Unsafe
from scrubjay.base.ids import Lsn, Member
from scrubjay.storage.log.configuration import Configuration, CopyKind, MemberPlace, Vote, decode_configuration
from scrubjay.storage.log.record import Record, RecordKind


def quorum_of(members: int) -> int:
    """Smallest number of members that any other such set meets."""
    assert members >= 1
    return members // 2 + 1


class Membership:
    """One configuration as `me` sees it.

    lsn: of the CONFIG that says so, 0: the log's beginning. peers: the others that are members, learners too. voters: whose answers count. votes: mine does.
    leads: I may lead. quorum: how many voters make one. backers: how many others I need.
    """

    __slots__ = ("_by_node", "all", "backers", "configuration", "leads", "lsn", "me", "peers", "quorum", "voters", "votes")

    def __init__(self, me: Member, configuration: Configuration, lsn: Lsn = Lsn(0)) -> None:
        present = [place for place in configuration.places if place.vote is not Vote.GONE]
        self._by_node = {place.member.node: place.member for place in present}
        self.configuration = configuration
        self.lsn = lsn
        self.me = me
        self.all = tuple([place.member for place in present])
        self.peers = tuple([member for member in self.all if member.node != me.node])
        self.voters = frozenset([place.member for place in present if place.vote is Vote.VOTES])
        self.votes = me in self.voters
        self.leads = MemberPlace(me, CopyKind.STORAGE, Vote.VOTES) in present
        self.quorum = quorum_of(len(self.voters)) if self.voters else 1
        self.backers = self.quorum - self.votes

    def peer(self, node: int) -> Member | None:
        """The other member on that node; None: a stranger, or this node itself."""
        return self._by_node.get(node) if node != self.me.node else None

    def may_lead(self, member: Member) -> bool:
        """It is a storage replica that votes."""
        return MemberPlace(member, CopyKind.STORAGE, Vote.VOTES) in self.configuration.places

    def enough(self, others: Collection[Member]) -> bool:
        """This member and these others are a quorum."""
        return len(self.voters.intersection(others)) + self.votes >= self.quorum

    def hopeless(self, refused: Collection[int]) -> bool:
        """Without the members on these nodes there is no quorum."""
        return sum([member in self.voters and member.node not in refused for member in self.all]) < self.quorum

    def reached(self, values: Iterable[int]) -> int:
        """The highest value that a quorum has reached; voters that said nothing count as 0.

        values: one per voter that said something, for example the last LSN it accepted.
        """
        ranked = sorted(values, reverse=True)
        return ranked[self.quorum - 1] if len(ranked) >= self.quorum else 0


class MembershipLog:
    """The configurations of one log, in its order, the first from before it. What is settled is let go of."""

    __slots__ = ("_entries", "_me")

    def __init__(self, base: Membership) -> None:
        self._me = base.me
        self._entries = [base]

    @property
    def last(self) -> Membership:
        """What this member goes by."""
        return self._entries[-1]

    def chosen(self, chosen: int) -> Membership:
        """The last that is chosen. chosen: last LSN known chosen."""
        last = self._entries[-1]
        if last.lsn <= chosen:
            return last
        return next((entry for entry in reversed(self._entries) if entry.lsn <= chosen), self._entries[0])

    def read(self, records: Sequence[Record]) -> list[Membership]:
        """What these records say, beyond what is known from before them: a base may know more than the log below it holds yet. Raises Corrupt."""
        known = self._entries[0].lsn
        return [
            Membership(self._me, decode_configuration(record.payload), record.lsn)
            for record in records
            if record.kind is RecordKind.CONFIG and record.lsn > known
        ]

    def extend(self, entries: Sequence[Membership]) -> None:
        """They are in the log now."""
        for entry in entries:
            assert entry.lsn > self._entries[-1].lsn
            self._entries.append(entry)

    def cut(self, at: Lsn) -> None:
        """The log was cut behind `at`."""
        while len(self._entries) > 1 and self._entries[-1].lsn > at:
            self._entries.pop()

    def install(self, lsn: Lsn, known: int, configuration: Configuration | None, configured: Lsn) -> None:
        """A snapshot stands for the log up to `lsn`. configuration: of the CONFIG at `configured`, which is chosen and the last up to `lsn`, or a later one; None: up to `lsn` none is chosen
        beside those that are known. known: what was known chosen before: a CONFIG of the own log between that and `lsn` gave way to the snapshot."""
        if configuration is not None and configured >= self._entries[0].lsn:
            above = [entry for entry in self._entries if entry.lsn > max(lsn, configured)]
            self._entries = [Membership(self._me, configuration, configured), *above]
        else:
            first, *rest = self._entries
            self._entries = [first, *[entry for entry in rest if entry.lsn <= known or entry.lsn > lsn]]

    def settle(self, applied: int) -> None:
        """Nothing up to `applied` is ever cut: only the last of those is asked for again."""
        while len(self._entries) > 1 and self._entries[1].lsn <= applied:
            self._entries.pop(0)


# --- changes ---


class AddLearner(NamedTuple):
    """A member that follows and does not vote yet. It takes the place of an older member of its node, which is removed by that."""

    member: Member
    kind: CopyKind


class LetVote(NamedTuple):
    """The learner on that node votes from now on. incarnation: as of Rest: what a former life of the node had is not the log of the one that learns there now."""

    node: int
    incarnation: int = 0


class Rest(NamedTuple):
    """The member on that node votes no more: it keeps what it has, learns, and may be let vote again. incarnation: of the member that is meant, 0: whoever is there."""

    node: int
    incarnation: int = 0


class Grow(NamedTuple):
    """The log replica on that node is a storage replica from now on: its tree is whole. What its vote counts for stays. incarnation: as of Rest."""

    node: int
    incarnation: int = 0


class Remove(NamedTuple):
    """The member on that node is none any more. incarnation: as of Rest."""

    node: int
    incarnation: int = 0


Change = AddLearner | LetVote | Rest | Grow | Remove


def changed(before: Configuration, change: Change) -> Configuration:
    """`before` with one place changed. Raises Invalid if there is nothing to change, or it would leave nobody who can lead."""
    node = change.member.node if isinstance(change, AddLearner) else change.node
    place = before.place(node)
    if isinstance(change, AddLearner):
        if place is not None and change.member.incarnation <= place.member.incarnation:
            raise Invalid("a member does not come back under its id", node=node, incarnation=change.member.incarnation)
        after = MemberPlace(change.member, change.kind, Vote.LEARNER)
    elif place is None or place.vote is Vote.GONE:
        raise Invalid("there is no member on that node", node=node)
    elif change.incarnation not in (0, place.member.incarnation):
        # It was asked for while another member was there, and comes late: who came in its place is not meant.
        raise Invalid("another member is on that node by now", node=node, asked=change.incarnation, found=place.member.incarnation)
    elif isinstance(change, LetVote):
        if place.vote is not Vote.LEARNER:
            raise Invalid("the member votes already", node=node)
        after = place._replace(vote=Vote.VOTES)
    elif isinstance(change, Rest):
        if place.vote is not Vote.VOTES:
            raise Invalid("the member does not vote", node=node)
        after = place._replace(vote=Vote.LEARNER)
    elif isinstance(change, Grow):
        if place.kind is not CopyKind.LOG:
            raise Invalid("the member is a storage replica", node=node)
        after = place._replace(kind=CopyKind.STORAGE)
    else:
        after = place._replace(vote=Vote.GONE)
    configuration = Configuration(tuple(sorted([*[one for one in before.places if one.member.node != node], after])))
    if not any(one.vote is Vote.VOTES and one.kind is CopyKind.STORAGE for one in configuration.places):
        raise Invalid("nobody would be left who can lead", node=node)
    return configuration


def has_quorum(configuration: Configuration, *, lost: Collection[int]) -> bool:
    """Without the nodes that are lost there is still a quorum. lost: their numbers."""
    voters = [place.member.node for place in configuration.places if place.vote is Vote.VOTES]
    return bool(voters) and sum(node not in lost for node in voters) >= quorum_of(len(voters))


def left_alone(before: Configuration, survivor: Member, *, lost: Collection[int]) -> Configuration:
    """What a group goes by once its quorum is lost for good: `survivor` alone votes, and nobody of the lost nodes is a member any more (ADR 0084). lost: their numbers.

    The one change that no leader proposes, and that moves more than one place: no quorum of `before` is asked, so it is for a person to say that the lost never come back. Raises Unsafe,
    naming what is in the way: a quorum is left, another voter is, or the survivor could not lead.
    """
    place = before.place(survivor.node)
    others = sorted(one.member.node for one in before.places if one.vote is Vote.VOTES and one.member.node not in {*lost, survivor.node})
    if survivor.node in lost:
        raise Unsafe("the survivor is among the lost", node=survivor.node)
    if has_quorum(before, lost=lost):
        raise Unsafe("the group has its quorum without the lost nodes", voters_left=others)
    if others:
        raise Unsafe("another voter of the group is left: it may hold what this one lacks", voters_left=others)
    if place is None or place.member != survivor or place.vote is not Vote.VOTES:
        raise Unsafe("the survivor has no vote in the group", node=survivor.node)
    if place.kind is not CopyKind.STORAGE:
        raise Unsafe("the survivor keeps the log alone: a log replica does not lead", node=survivor.node)
    return Configuration(tuple([one._replace(vote=Vote.GONE) if one.member.node in lost else one for one in before.places]))


def check_step(before: Configuration, after: Configuration, *, leader: Member) -> None:
    """What a leader may propose after `before`: one place changes, and not its own. Raises Invalid."""
    moved = set(before.places) ^ set(after.places)
    nodes = {place.member.node for place in moved}
    if len(nodes) != 1:
        raise Invalid("one place changes at a time", nodes=sorted(nodes))
    if leader.node in nodes:
        raise Invalid("a leader does not change its own place: it hands over first", node=leader.node)
