"""What a node tells of its replicas (`port.ReplicaFacts`), and what has moved since somebody heard it last.

With a thousand replicas that nobody writes to, what costs is looking and telling, not what there is to tell. So a fact is made anew when what it follows from has changed (`_grounds`), and who has heard all before
is told what has moved since. A replica is looked at when something was done with it (`Node.on_stir`), and where time alone moves what is told: one that leads may lose its lease, its transactions pend for too long, and
how a log that ended stands goes by what others say of it.

Closed timestamps move with the clock: they are as of when a replica was looked at for another reason, or was asked for by itself or among all, and do not count as moving.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

import msgspec

from scrubjay.base.errors import ScrubjayError
from scrubjay.base.ids import Lsn, PartitionId
from scrubjay.storage.catalogue import FinalSeal
from scrubjay.storage.consensus.ready import Now
from scrubjay.storage.log.split import encode_split
from scrubjay.storage.node import port
from scrubjay.storage.node.node import Node
from scrubjay.storage.replica import LOG, OK, LogReplica
from scrubjay.storage.replica.term import Term

STALLED_TOLD_MAX = 16
"""Of one partition at once."""
GONE_MAX = 1_000
"""Replicas that are remembered as gone: whoever last heard before those that are not is told all."""


class _Told(NamedTuple):
    """grounds: what the facts followed from. serving: it led, and served strong reads."""

    grounds: tuple[Any, ...]
    facts: port.ReplicaFacts
    serving: bool


class MovedFacts:
    """node: whose replicas they are."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._told: dict[PartitionId, _Told] = {}
        self._stirred: dict[PartitionId, None] = {}
        """To be looked at."""
        self._unsure: set[PartitionId] = set(node.members)
        """Of these it is not known whether transactions pend in them."""
        self._pending: set[PartitionId] = set()
        """In these some did when somebody asked last."""
        self._timed: dict[PartitionId, None] = {}
        """What is told of these may move with time alone."""
        self._failed = node.failed
        self._blocked: dict[PartitionId, ScrubjayError] = {}
        self._began = node.env.clock.wall_us() << 10
        """Numbers of moves go on from here: none of an earlier life of this node is among them."""
        self._count = self._began
        self._moves: dict[PartitionId, int] = {}
        """By replica the number of its last move, in order."""
        self._gone: dict[PartitionId, int] = {}
        self._forgotten = self._began
        """Up to this number, some that are gone are not remembered."""
        self._sums: tuple[int, dict[str, int], int] = (0, {}, 0)
        node.on_stir.append(self._stir)

    def _stir(self, partition: PartitionId) -> None:
        self._stirred[partition] = None
        self._unsure.add(partition)

    # ------------------------------------------------------------------ told

    def facts(self, partition: PartitionId) -> port.ReplicaFacts | None:
        replica = self._node.members.get(partition)
        return None if replica is None else self._with_closed(replica)

    def all(self) -> tuple[port.ReplicaFacts, ...]:
        """Of every replica, by partition, each looked at."""
        self._drop_gone()
        self._stirred.clear()
        return tuple([self._with_closed(replica) for _, replica in sorted(self._node.members.items())])

    def since(self, number: int) -> port.FactsOfReplicas:
        """What has moved since an answer whose `upto` was this number; all, if that is none of this life, or too long ago."""
        if not max(self._began, self._forgotten) < number <= self._count:
            every = self.all()
            return port.FactsOfReplicas(every, self._count)
        self.look()
        moved = []
        for partition, moved_at in reversed(self._moves.items()):
            if moved_at <= number:
                break
            moved.append(self._told[partition].facts)
        gone = tuple([partition for partition, gone_at in self._gone.items() if gone_at > number])
        return port.FactsOfReplicas(tuple(moved), self._count, number, gone)

    def sums(self) -> tuple[dict[str, int], int]:
        """How many replicas are in each state, and how many lead: neither moves with time alone."""
        self.look(timed=False)
        at, states, leaders = self._sums
        if at != self._count:
            states, leaders = {}, 0
            for told in self._told.values():
                states[told.facts.state] = states.get(told.facts.state, 0) + 1
                leaders += told.facts.leads
            self._sums = self._count, states, leaders
        return dict(states), leaders

    def stalled(self) -> list[port.StalledOf]:
        """The transactions that are pending too long, of those that lead."""
        found: list[port.StalledOf] = []
        asked = sorted(self._unsure | self._pending)
        self._unsure.clear()
        self._pending.clear()
        for partition in asked:
            replica = self._node.members.get(partition)
            term = None if replica is None else replica.term
            if replica is not None and term is not None and replica.group is not None and term.transacting.any:
                self._pending.add(partition)
                found += [port.StalledOf(partition, replica.table.table_id, *one) for one in _stalled(term)]
        return found

    # ------------------------------------------------------------------ looking

    def look(self, *, timed: bool = True) -> None:
        """At what may have moved. timed: also where time alone may have done it."""
        members = self._node.members
        if self._node.failed is not self._failed:
            self._failed = self._node.failed
            self._stirred.update(dict.fromkeys(members))
        blocked = self._node.hosting.blocked
        if blocked != self._blocked:
            self._stirred.update(dict.fromkeys((*blocked, *self._blocked)))
            self._blocked = dict(blocked)
        self._drop_gone()
        now = self._node.now()
        by_itself = [one for one in self._timed if self._moves_by_itself(one, now)] if timed else []
        due = [*self._stirred, *sorted(members.keys() - self._told.keys()), *by_itself]
        self._stirred.clear()
        for partition in due:
            replica = members.get(partition)
            if replica is not None:
                self._look_at(replica)

    def _moves_by_itself(self, partition: PartitionId, now: Now) -> bool:
        replica, told = self._node.members.get(partition), self._told.get(partition)
        if replica is None or told is None or told.facts.ended:
            return True
        term, group = replica.term, replica.group
        return term is not None and group is not None and (group.serving(now) != told.serving or term.transacting.any)

    def _drop_gone(self) -> None:
        for partition in sorted(self._told.keys() - self._node.members.keys()):
            del self._told[partition]
            self._moves.pop(partition, None)
            self._timed.pop(partition, None)
            self._count += 1
            self._gone[partition] = self._count
            if len(self._gone) > GONE_MAX:
                first = next(iter(self._gone))
                self._forgotten = self._gone.pop(first)

    def _look_at(self, replica: LogReplica) -> port.ReplicaFacts:
        """The facts, made anew if what they follow from has changed, but perhaps for the closed timestamp."""
        grounds, told = self._grounds(replica), self._told.get(replica.partition)
        ended = replica.segments.facts.ended  # how such a log stands goes by what others say of it
        if told is not None and told.grounds == grounds and not ended:
            return told.facts
        facts = self._fresh(replica)
        if told is None or facts != told.facts:
            self._moved(replica.partition)
        self._keep(replica, _Told(grounds, facts, replica.term is not None and replica.term.serving()))
        return facts

    def _with_closed(self, replica: LogReplica) -> port.ReplicaFacts:
        facts = self._look_at(replica)
        if replica.term is None or (closed := replica.closed_point()) == facts.closed:
            return facts
        told = self._told[replica.partition]
        facts = msgspec.structs.replace(facts, closed=closed)
        self._told[replica.partition] = told._replace(facts=facts)
        return facts

    def _keep(self, replica: LogReplica, told: _Told) -> None:
        self._told[replica.partition] = told
        if replica.term is not None or told.facts.ended:
            self._timed[replica.partition] = None
        else:
            self._timed.pop(replica.partition, None)

    def _moved(self, partition: PartitionId) -> None:
        self._count += 1
        self._moves.pop(partition, None)
        self._moves[partition] = self._count
        self._gone.pop(partition, None)

    def check_invariants(self) -> None:
        """Programmer errors only: 1 what is not looked at again has not moved. 2 nothing that is told of a replica is older than the replica."""
        members = self._node.members
        if self._node.failed is self._failed and self._node.hosting.blocked == self._blocked:
            for partition, told in self._told.items():
                replica = members.get(partition)
                if (
                    replica is not None
                    and partition not in self._stirred
                    and not (partition in self._timed and self._moves_by_itself(partition, self._node.now()))
                ):
                    assert told.grounds == self._grounds(replica), (partition, _differing(told.grounds, self._grounds(replica)))
        for facts in self.all():
            assert facts == self._fresh(members[facts.partition]), facts

    # ------------------------------------------------------------------ one replica

    def _grounds(self, replica: LogReplica) -> tuple[Any, ...]:
        """All that the facts of a replica follow from, but for the closed timestamp, which moves with the clock. What changes with records alone goes by how far
        they are applied. Each is compared by its value, or is made anew when it changes."""
        node, status, term, segments = self._node, replica.status, replica.term, replica.segments.facts
        return (
            replica,
            replica.table,
            replica.applied,
            replica.chosen,
            status.tree,
            status.vote,
            status.reason,
            node.failed,
            node.hosting.blocked.get(replica.partition),
            replica.logged,
            replica.usable,
            replica.behind,
            replica.group is None,
            None if term is None else (len(term.pending.waiting), term.seal_at, term.serving(), _stalled(term)),
            _leads_under(replica),
            replica.size,
            segments,  # made anew with each tree that takes the place of another: one may have been at the same LSN by other records
            segments.sealed,
            segments.chain,
            replica.born,
        )

    def _fresh(self, replica: LogReplica) -> port.ReplicaFacts:
        node, status, segments, term = self._node, replica.status, replica.segments.facts, replica.term
        lack = node.hosting.blocked.get(replica.partition)
        serves = node.failed is None and replica.status.serves and replica.group is not None
        return port.ReplicaFacts(
            node=node.name,
            partition=replica.partition,
            table=replica.table.table_id,
            state=replica.state,
            tree=status.tree,
            vote=status.vote,
            reason=replica.reason,
            logged=replica.logged,
            lack=None if lack is None else port.failure_of(lack),
            up=node.failed is None,
            serves=serves,
            answers=serves and replica.leads and replica.split is None,
            leads=term is not None and replica.group is not None,
            usable=replica.usable,
            behind=replica.behind,
            applied=replica.applied,
            chosen=replica.chosen,
            rows=replica.total().rows,
            size=replica.size,
            waiting=0 if term is None else len(term.pending.waiting),
            sealing=term is not None and term.seal_at is not None,
            archived=Lsn(segments.archived),
            archived_chain=_chain_at_archived(replica),
            content=segments.content,
            last_content=Lsn(segments.last_content),
            last_content_stamp=segments.last_content_stamp,
            last_seal=Lsn(segments.last_seal),
            sealed=len(segments.sealed),
            unarchived=replica.segments.sealed_bytes + (segments.size if segments.content else 0) if replica.archives else 0,
            archived_by=(segments.counts[0], segments.counts[1], segments.counts[2]),
            final=_final(replica),
            ended=Lsn(segments.ended),
            ended_closed=segments.ended_closed,
            closed=replica.closed_point(),
            indexes=replica.index_sizes,
            stated=replica.stated if replica.stated.version else None,
            configured=replica.configured,
            incarnation=replica.member.incarnation,
            stalled=() if term is None else _stalled(term),
            ballot=_leads_under(replica),
            split=b"" if replica.split is None else encode_split(replica.split),
            born=replica.born,
        )


def _chain_at_archived(replica: LogReplica) -> bytes:
    """The chain value at the archived LSN if the replica still has it, else b"". A copy whose tree rotted may have a digest of its own, and the chain is over digests: the archive
    is not judged by its word."""
    facts = replica.segments.facts
    if replica.digest_void or replica.status.tree not in (OK, LOG):
        return b""
    if facts.sealed and facts.sealed[0].statement.first == facts.archived + 1:
        return facts.sealed[0].chain_before
    return facts.chain if not facts.sealed and facts.last_seal == facts.archived else b""


def _leads_under(replica: LogReplica) -> int:
    """The ballot under which it leads; 0: it does not."""
    return 0 if replica.term is None or replica.group is None else int(replica.group.ballot)


def _stalled(term: Term) -> tuple[tuple[bytes, bytes, bytes], ...]:
    return tuple([(one.id, one.token, one.key) for one in term.transacting.stalled(STALLED_TOLD_MAX)])


def _final(replica: LogReplica) -> FinalSeal | None:
    """The end of a log once two members have stated the same of it, or it is archived (which takes as much). None of who knows no state there."""
    facts = replica.segments.facts
    if not facts.ended or replica.status.tree == LOG:
        return None
    own = next((own for own in facts.sealed if own.statement.last == facts.ended), None)
    if facts.archived < facts.ended and (own is None or len(replica.segments.agreed(own)[0]) < 2):
        return None
    total = replica.total()
    stamp = own.last_stamp if own is not None else facts.ended_closed
    return FinalSeal(replica.partition, facts.ended, stamp, facts.chain.hex(), total.hex, total.rows)


def _differing(one: Collection[Any], other: Collection[Any]) -> list[tuple[int, Any, Any]]:
    return [(at, mine, theirs) for at, (mine, theirs) in enumerate(zip(one, other, strict=True)) if mine != theirs]
