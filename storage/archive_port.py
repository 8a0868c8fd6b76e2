"""What an archiver may see and say of the logs on one node. `storage` never imports `archiver`; it is told what was archived."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

import msgspec

from scrubjay.base.ids import ClusterId, Lsn, NodeName, PartitionId, Stamp, TableId
from scrubjay.storage.catalogue import PartitionInfo, TableMeta
from scrubjay.storage.log.chain import place_of
from scrubjay.storage.log.digest import Total
from scrubjay.storage.log.record import Record, Seal
from scrubjay.storage.log.split import Born


class Attestation(NamedTuple):
    """raw_sha256: of the records compared. generation: of the object. read: it was read back from the store, not only written."""

    raw_sha256: bytes
    generation: int
    read: bool


class SealedSegment(NamedTuple):
    """A segment [first, last] that this member applied, as it sees it; `last` is a SEAL.

    raw_sha256: over the record bytes as read back from this member's WAL. total: state digest at `last`. chain_before, chain: 32 bytes each (storage.log.chain).
    before: state digest in front of `first`. agreed: node numbers (rising, this one included) whose statements are equal; two or more make it archivable. suspect: this member differs from an agreed pair.
    """

    table: TableId
    partition: PartitionId
    first: Lsn
    last: Lsn
    first_stamp: Stamp
    last_stamp: Stamp
    records: int
    content: int
    raw_size: int
    raw_sha256: bytes
    before: Total
    total: Total
    seal: Seal
    chain_before: bytes
    chain: bytes
    agreed: tuple[int, ...]
    suspect: bool


class ToArchive(NamedTuple):
    """Sealed segments above the archived LSN that can be archived: digest and chain are known. bytes: raw. oldest: stamp of their first record, 0: there is none."""

    segments: int
    bytes: int
    oldest: int


class ArchivedHistory(NamedTuple):
    """What a leader's log says of the archive. archived, archived_first, archived_chain: the newest segment that the log knows to be archived (its first LSN
    0 and its chain empty: not known). sealed: (last LSN, chain, SHA-256 of the records) of every segment above, rising. last_seal, chain: the newest seal applied."""

    table: TableId
    partition: PartitionId
    archived: Lsn
    archived_first: Lsn
    archived_chain: bytes
    sealed: tuple[tuple[Lsn, bytes, bytes], ...]
    last_seal: Lsn
    chain: bytes


class ClosedPoint(NamedTuple):
    """No content record above `last_content` will carry a stamp <= closed. last_seal, chain: the newest applied SEAL and the chain value at it.
    archived: the log is archived up to there, so whoever reads this later knows what must be in the archive."""

    table: TableId
    partition: PartitionId
    closed: Stamp
    last_content: Lsn
    last_seal: Lsn
    chain: bytes
    archived: Lsn = Lsn(0)


class PartitionFacts(NamedTuple):
    """What a manifest says of its partition. cluster: id. name, schema, lo, hi: attributes (schema: JSON of catalogue.KeySchema plus attributes). born: how it began, None: with LSN 1."""

    cluster: ClusterId

    table: TableId
    table_name: str
    partition: PartitionId
    schema: str
    lo: str
    hi: str
    born: Born | None = None

    def place(self) -> bytes:
        """What the chain covers of it (storage.log.chain). What is said of `born` follows from the records: the first is SCHEMA, and says it too."""
        return place_of(
            cluster=self.cluster,
            table=self.table,
            partition=self.partition,
            table_name=self.table_name,
            schema=self.schema,
            lo=self.lo,
            hi=self.hi,
        )


def facts_of(cluster: ClusterId, table: TableMeta, info: PartitionInfo, *, born: Born | None = None) -> PartitionFacts:
    """A partition as its manifests describe it. Nothing in it changes while the partition lives: every member computes the same. born: of a child of a split (ADR 0078)."""
    schema = msgspec.json.encode({"key": table.key, "attributes": table.attributes}, order="deterministic").decode()
    return PartitionFacts(cluster, table.table_id, table.name, info.partition_id, schema, info.lo, info.hi, born)


class ArchivedLog(Protocol):
    """The archived records of any partition, for who reads a log on where no node holds it any more."""

    async def read(self, table: TableId, partition: PartitionId, first: Lsn, *, bytes_max: int) -> list[Record]:
        """Records from LSN `first` on, in order, without a hole, proven: at least one, not many more than `bytes_max` bytes. Raises Missing (lsn: it is not in the archive),
        Corrupt, Unavailable."""
        ...

    async def first_since(self, table: TableId, partition: PartitionId, stamp: Stamp) -> Lsn | None:
        """From where on archived records have stamps that are not below `stamp`, or somewhat in front of it; behind all of them if all are older; None: none are there. Raises as `read`."""
        ...


class LogSource(Protocol):
    """The logs of all replicas on one node, as its archiving agent sees them."""

    node: NodeName
    number: int

    def partitions(self) -> list[PartitionId]:
        """Partitions with something sealed above their archived LSN, sorted."""
        ...

    def hosted(self) -> list[PartitionId]:
        """Every partition with a log on this node, sorted."""
        ...

    def facts(self, partition: PartitionId) -> PartitionFacts: ...

    def knows_birth(self, partition: PartitionId) -> bool:
        """Whether `born` of the facts is known. A log without a tree that was let go of at its beginning does not say it any more."""
        ...

    def leads(self, partition: PartitionId) -> bool:
        """This node leads the partition with its lease held."""
        ...

    def archived(self, partition: PartitionId) -> Lsn: ...

    def sealed(self, partition: PartitionId) -> list[SealedSegment]:
        """Applied segments above the archived LSN, oldest first, contiguous."""
        ...

    def waiting(self, partition: PartitionId) -> ToArchive:
        """How much `sealed` would name. Costs the same however much it is: health, status and metrics ask it all the time."""
        ...

    def read_raw(self, partition: PartitionId, first: Lsn, last: Lsn) -> Iterator[bytes]:
        """The records' bytes from this node's WAL, every checksum and the LSN order checked, in pieces of up to a MiB: whoever needs many lets others run in between.
        Raises Missing, Corrupt."""
        ...

    def read_at_once(self, partition: PartitionId, first: Lsn, last: Lsn) -> Callable[[], bytes] | None:
        """Reads the records' bytes as they lie on this node's disk, in one piece and **unchecked**: for a thread, and for whoever knows their hash. None: they do not all lie there
        whole; `read_raw` says what is wrong, as it does if the hash differs. No record of a kind that is not known is among them: a replica stops before it, and seals nothing behind.
        Both raise Corrupt, Missing, Exhausted, Unavailable."""
        ...

    def announce(self, partition: PartitionId, first: Lsn, last: Lsn, said: Attestation) -> None:
        """Segment and manifest are in the archive and equal to this member's WAL: attest it. The leader collects and logs ARCHIVED (storage.replica.attest)."""
        ...

    def refute(self, partition: PartitionId, last: Lsn, *, generation: int, object: str, kind: str, reason: str) -> None:  # noqa: A002
        """This generation of an archived segment is bad: it must not count as archived. States a finding about the archive (kind: unreadable | different |
        hole | forged; object: the bad object's key), found by the agent."""
        ...

    def refuted(self, partition: PartitionId, last: Lsn) -> dict[int, str]:
        """Generations of the segment ending at `last` that any member found bad, with its reason."""
        ...

    def written(self, partition: PartitionId) -> Lsn:
        """Highest last LSN of a segment whose manifest another member says it has written; 0: none."""
        ...

    def faulty(self, partition: PartitionId, *, lsn: Lsn, detail: str) -> None:
        """This member's own log does not hold what it stated: a finding about this node's copy."""
        ...

    def blame(self, partition: PartitionId, *, object: str, kind: str, lsn: Lsn, detail: str) -> None:  # noqa: A002
        """A finding about an object of the archive that is not a generation of one of our segments."""
        ...

    def history(self, partition: PartitionId) -> ArchivedHistory | None:
        """Where this member's log and the archive must meet; None unless it leads, with everything chosen before its term applied."""
        ...

    def closed_points(self) -> list[ClosedPoint]:
        """Closed timestamps this node may publish now for the partitions it leads (consensus rule of DESIGN section 4), sorted by partition."""
        ...

    def subscribe(self, changed: Callable[[PartitionId], None]) -> None:
        """Called after a segment became agreed here, or an ARCHIVED record was applied."""
        ...
