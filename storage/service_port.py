"""What the durability services (scrub, restore) may ask of the store. Implemented by `storage.control.service`; coordinators see nothing else of it.

All coroutines here may raise Unavailable (no leader, node down, timed out): the caller reports `unverified`, it does not guess.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple, Protocol

from scrubjay.base.errors import ScrubjayError, Unavailable
from scrubjay.base.ids import Lsn, Member, NodeName, PartitionId, Stamp, TableId
from scrubjay.storage.btree.engine import RowFact, ScanResult, TreeFile
from scrubjay.storage.catalogue import PartitionInfo, TableMeta
from scrubjay.storage.log.digest import Total


class Copy(NamedTuple):
    """One replica. kind: 'storage' | 'log'. state: 'ok' | 'suspect' (tree rotted, may vote) | 'amnesiac' (log lost) | 'healing' | 'behind' (sound, but
    the log it lacks is gone: a heal is due) | 'down'.

    scannable: it applies and can be pinned; a suspect copy is kept so where its tree allows, that a scrub may name all that is wrong with it.
    """

    node: NodeName
    number: int
    kind: str
    state: str
    applied: Lsn
    scannable: bool = True


Told = Callable[[NodeName, ScrubjayError], None]
"""Hears which copy was loaded row by row, and why it could not take the tree of its rows."""


class LoadedBase(NamedTuple):
    """What became of a base on the copies of its partition. copies: the digest that each recomputed from its own bytes. lacking: which copies have not loaded it, and why: their nodes are down, or
    could not for now."""

    copies: dict[NodeName, Total]
    lacking: dict[NodeName, Unavailable]


class SealPoint(NamedTuple):
    """A SEAL that was chosen. closed: closed timestamp in it."""

    lsn: Lsn
    stamp: Stamp
    closed: Stamp


class Finding(NamedTuple):
    """A fault as reported (INTERFACE section 3). Times in microseconds; key: DynamoDB JSON of the key attributes, None if not about an item.

    kind: different | lacking | extra | unreadable | hole | forged. copy: node name or 'archive'. found_by: scrub | read | seal | agent | verify.
    action: healed | quarantined | none. storage_key: the raw tree key where only that is known yet (router-side code adds `key` from a good copy).
    evidence: where the tree it was found in was set aside since, below the data folder; None: it was not.
    """

    kind: str
    copy: str
    partition: str
    key: dict[str, Any] | None
    storage_key: bytes | None
    object: str | None
    lsn: int | None
    segment: str | None
    found_by: str
    action: str
    detail: str
    at_us: int
    evidence: str | None = None


class Pinned(Protocol):
    """Coroutine face of storage.btree.engine.PinnedTree."""

    async def digest(self, *, bytes_per_second: int | None) -> ScanResult: ...
    async def rows(self, start: bytes, end: bytes | None) -> list[RowFact]: ...
    async def item(self, key: bytes) -> bytes | None:
        """Canonical item bytes of a good row, None if absent. Raises Corrupt."""
        ...

    def release(self) -> None: ...


class ServicePort(Protocol):
    def tables(self) -> tuple[TableMeta, ...]:
        """Every table, live, restoring and dropped, the metadata table included, sorted by id."""
        ...

    def copies(self, partition: PartitionId) -> list[Copy]: ...

    async def seal(self, partition: PartitionId, *, reason: int, tag: bytes = bytes(16)) -> SealPoint:
        """Have the leader propose a SEAL (storage.log.record.Seal.SCRUB, RESTORE, ...); returns once it is applied on the leader."""
        ...

    async def pin(self, partition: PartitionId, node: NodeName, lsn: Lsn, *, timeout_s: float) -> Pinned:
        """The replica's tree at exactly `lsn`, a SCRUB seal that it checkpoints at. Raises Unavailable, or Corrupt (the tree cannot be opened)."""
        ...

    def archived(self, partition: PartitionId) -> Lsn: ...

    async def wait_archived(self, partition: PartitionId, lsn: Lsn, *, timeout_s: float) -> bool:
        """True once archived(partition) >= lsn."""
        ...

    async def closed_point(self, partition: PartitionId) -> tuple[Stamp, Lsn, Lsn] | None:
        """(closed, last content LSN <= closed, last seal) as the leader may publish now; None if it may not."""
        ...

    def findings(self, partition: PartitionId) -> list[Finding]:
        """What was found outside a scrub and not yet reported; kept over restarts."""
        ...

    def note(self, finding: Finding) -> None: ...

    def reported(self, partition: PartitionId, findings: Sequence[Finding]) -> None:
        """A scrub has reported exactly these, as `findings` returned them. One that was found again since is kept."""
        ...

    async def keep_log(self, partition: PartitionId, lsn: Lsn) -> Callable[[], None]:
        """No replica that can be reached lets go of its log above `lsn` until the returned function is called: a copy rebuilt at `lsn` must find what follows. If
        the process that asked dies, it ends by itself."""
        ...

    async def survey(self, partition: PartitionId, node: NodeName) -> int:
        """Before a copy that no scrub has compared is healed: note every row of its tree that fails its check. Returns how many; 0 if it has no tree, or
        serves."""
        ...

    async def prove_indexes(self, table: TableMeta, info: PartitionInfo) -> list[str]:
        """Compare the global indexes of a table with the items of one partition, both ways; what differs is noted as findings of it, and such an index is built anew. Returns why one could not be
        compared."""
        ...

    async def healed(self, partition: PartitionId, *, timeout_s: float) -> None:
        """Wait until no heal is running or due at once on this partition."""
        ...

    async def heal(
        self, partition: PartitionId, node: NodeName, *, rows: str, lsn: Lsn, stamp: Stamp, total: Total, chain: bytes, reason: str
    ) -> str:
        """Set the replica's tree aside (returns its quarantine path below the data folder, noted with what was found in it too; "": there was no tree),
        bulk-load the row file `rows` (below this process's data folder; its bytes are sent to the node) as its state at the seal `lsn`, replay the log above it, and serve again only if the
        recomputed digest equals `total`. Ends when the copy has followed the log up to what is archived, so that the log kept for it may go; bounded. Raises
        Corrupt if the digest differs."""
        ...

    # --- restore: a new table is invisible (data operations answer ResourceNotFound) until published ---

    def new_partitions(self) -> tuple[PartitionInfo, ...]:
        """Those of a new table, not recorded anywhere yet: as many as a table made now has, placed where its would be."""
        ...

    def placed(self, count: int) -> list[tuple[Member, ...]]:
        """On which nodes the copies of `count` new partitions would be."""
        ...

    async def create_restoring(self, meta: TableMeta) -> TableMeta:
        """Record the target (status CREATING, restore_of.in_progress) and make its replicas, which wait for their base. Raises Conflict if the name is taken."""
        ...

    async def load_base(
        self,
        partition: PartitionId,
        *,
        rows: str,
        total: Total,
        tree: TreeFile | None = None,
        told: Told | None = None,
        done: Collection[NodeName] = (),
    ) -> LoadedBase:
        """Bulk-load the row file (as of `heal`) as the state at LSN 0 on every replica that can be reached and start the group; the digest of each, recomputed from its bytes. May be called
        again: a copy that is loaded already is read again. tree: made of the same rows on this machine: where it can be had it is copied, and not loaded anew; where not `told` hears why.
        done: nodes whose copies need not be asked again, unless they wait for the base once more. Raises Corrupt."""
        ...

    async def publish(self, table: TableId) -> TableMeta:
        """Show it. A copy that has no base by then begins without one, and is healed (ADR 0091)."""
        ...

    async def abandon(self, table: TableId) -> None:
        """Remove an unpublished target."""
        ...

    async def save_job(self, key: str, job: dict[str, Any] | None) -> None:
        """Durable, replicated notes of a coordinator (None removes). key: for example 'restore/<table id>'."""
        ...

    def jobs(self, prefix: str) -> dict[str, dict[str, Any]]: ...
