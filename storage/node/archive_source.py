"""A node's logs as its archiving agent sees them: `storage.archive_port.LogSource` over `storage.node.Node`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from scrubjay.base.errors import Missing
from scrubjay.base.ids import Lsn, PartitionId, Stamp
from scrubjay.storage.archive_port import ArchivedHistory, Attestation, ClosedPoint, PartitionFacts, SealedSegment, ToArchive
from scrubjay.storage.log import record as records
from scrubjay.storage.log.split import decode_born
from scrubjay.storage.node import Node
from scrubjay.storage.replica import BASE, OK, LogReplica
from scrubjay.storage.replica.segments import OwnSegment
from scrubjay.storage.wal.disk_runs import read_runs

PIECE_BYTES = 128 << 10
"""Of the log that is read at once: others run between two pieces."""


class NodeLogSource:
    """See the port. One per node; lives as long as it does."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.node = node.name
        self.number = node.number
        self._listeners: list[Callable[[PartitionId], None]] = []

    def partitions(self) -> list[PartitionId]:
        return sorted(
            partition for partition, replica in self._node.members.items() if replica.archives and replica.segments.waiting.segments
        )

    def waiting(self, partition: PartitionId) -> ToArchive:
        return self._replica(partition).segments.waiting

    def hosted(self) -> list[PartitionId]:
        return sorted(partition for partition, replica in self._node.members.items() if replica.archives and replica.state != BASE)

    def facts(self, partition: PartitionId) -> PartitionFacts:
        replica = self._replica(partition)
        return replica.described._replace(born=decode_born(replica.born))

    def knows_birth(self, partition: PartitionId) -> bool:
        return self._replica(partition).knows_birth

    def leads(self, partition: PartitionId) -> bool:
        return self._replica(partition).leads

    def archived(self, partition: PartitionId) -> Lsn:
        return Lsn(self._replica(partition).segments.facts.archived)

    def sealed(self, partition: PartitionId) -> list[SealedSegment]:
        replica = self._replica(partition)
        if self._in_front(replica):
            return []
        return [self._segment(replica, own) for own in replica.segments.facts.sealed if own.known]

    def _in_front(self, replica: LogReplica) -> bool:
        """Whether it is a child of a split and the end of its parent's log is not archived yet, by this node's copy of it. A child goes behind: who finds a part of it in the archive finds all
        that it rests on, and no hole."""
        born = decode_born(replica.born)
        parent = None if born is None else self._node.members.get(born.parent)
        return (
            born is not None
            and parent is not None
            and parent.archives
            and parent.state != BASE
            and parent.segments.facts.archived < born.lsn
        )

    def read_raw(self, partition: PartitionId, first: Lsn, last: Lsn) -> Iterator[bytes]:
        replica = self._replica(partition)
        at = int(first)
        while at <= last:
            parts: list[bytes] = []
            # Past the cache: what rotted since it was hashed for the seal is found here, before this member says that its log holds what is archived.
            for record in self._node.wal.read(partition, Lsn(at), Lsn(last + 1), max_bytes=PIECE_BYTES, cached=False):
                if record.lsn != at:
                    raise Missing("hole in the log", what="record", lsn=at)
                if record.kind is records.RecordKind.UNKNOWN:
                    records.decode(record.data, owner=replica.owner)  # raises, and says what is not known
                parts.append(record.data)
                at += 1
            yield b"".join(parts)

    def read_at_once(self, partition: PartitionId, first: Lsn, last: Lsn) -> Callable[[], bytes] | None:
        runs = self._node.wal.runs(partition, first, Lsn(last + 1)) if partition in self._node.members else None
        return None if runs is None else lambda: read_runs(runs)

    def announce(self, partition: PartitionId, first: Lsn, last: Lsn, said: Attestation) -> None:
        self._node.peers.attest(self._replica(partition), first=first, last=last, said=said)

    def refute(self, partition: PartitionId, last: Lsn, *, generation: int, object: str, kind: str, reason: str) -> None:  # noqa: A002
        replica = self._replica(partition)
        self._node.finding(replica, kind=kind, found_by="agent", lsn=last, detail=reason, object=object)
        self._node.peers.refute(replica, last=last, generation=generation, object=object, reason=reason)

    def refuted(self, partition: PartitionId, last: Lsn) -> dict[int, str]:
        return self._replica(partition).attest.tally.bad(last)

    def written(self, partition: PartitionId) -> Lsn:
        return self._replica(partition).attest.written

    def faulty(self, partition: PartitionId, *, lsn: Lsn, detail: str) -> None:
        self._node.finding(self._replica(partition), kind="different", found_by="agent", lsn=lsn, detail=detail)

    def blame(self, partition: PartitionId, *, object: str, kind: str, lsn: Lsn, detail: str) -> None:  # noqa: A002
        self._node.finding(self._replica(partition), kind=kind, found_by="agent", lsn=lsn, detail=detail, object=object)

    def history(self, partition: PartitionId) -> ArchivedHistory | None:
        replica = self._replica(partition)
        # A leader serves only once a record of its own ballot is applied: then everything chosen before, and so every seal that anybody archived, is too.
        if replica.state != OK or not replica.leads:
            return None
        facts = replica.segments.facts
        return ArchivedHistory(
            replica.table.table_id,
            partition,
            Lsn(facts.archived),
            Lsn(facts.archived_first),
            facts.archived_chain,
            tuple((Lsn(own.statement.last), own.statement.chain, own.statement.raw_sha256) for own in facts.sealed),
            Lsn(facts.last_seal),
            facts.chain,
        )

    def closed_points(self) -> list[ClosedPoint]:
        found: list[ClosedPoint] = []
        for partition in sorted(self._node.members):
            replica = self._node.members[partition]
            point = replica.closed_point() if replica.archives else None
            if point is not None:
                facts = replica.segments.facts
                found.append(ClosedPoint(replica.table.table_id, partition, *point, facts.chain, _archived(replica, facts.archived)))
        return found

    def subscribe(self, changed: Callable[[PartitionId], None]) -> None:
        self._listeners.append(changed)

    def notify(self, partition: PartitionId) -> None:
        """Wired to the node's events: a segment became agreed, or an ARCHIVED record was applied."""
        replica = self._node.members.get(partition)
        if replica is not None and not replica.archives:
            return
        halves = () if replica is None or replica.split is None else (replica.split.left, replica.split.right)
        # A half may not be hosted yet in this life, or was split and is gone before its parent is.
        here = [half for half in halves if half in self._node.members]
        for listener in self._listeners:
            for one in (partition, *here):
                listener(one)

    def _replica(self, partition: PartitionId) -> LogReplica:
        replica = self._node.members.get(partition)
        if replica is None:
            raise Missing("no such replica on this node", what="replica", partition=partition, node=self.node)
        return replica

    def _segment(self, replica: LogReplica, own: OwnSegment) -> SealedSegment:
        agreed, suspect = replica.segments.agreed(own)
        statement = own.statement
        return SealedSegment(
            table=replica.table.table_id,
            partition=replica.partition,
            first=Lsn(statement.first),
            last=Lsn(statement.last),
            first_stamp=Stamp(own.first_stamp),
            last_stamp=Stamp(own.last_stamp),
            records=own.records,
            content=own.content,
            raw_size=own.raw_size,
            raw_sha256=statement.raw_sha256,
            before=own.before,
            total=own.total,
            seal=own.seal,
            chain_before=own.chain_before,
            chain=statement.chain,
            agreed=agreed,
            suspect=suspect,
        )


def _archived(replica: LogReplica, lsn: int) -> Lsn:
    """Up to where its own log is archived: what lies in front of where a child of a split began is its parent's."""
    born = decode_born(replica.born)
    return Lsn(0) if born is not None and lsn <= born.lsn else Lsn(lsn)
