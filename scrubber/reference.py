"""What a scrub asks of a reference: one partition rebuilt from the archive alone, to one LSN. `scrubber.rebuilt` makes it from the real archive."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from scrubjay.archiver.format.fault import Fault
from scrubjay.base.ids import Lsn, Stamp
from scrubjay.storage.btree.engine import RowFact
from scrubjay.storage.btree.index_rows import whole_digest
from scrubjay.storage.catalogue import PartitionInfo, TableMeta
from scrubjay.storage.items.local_index import LocalRows
from scrubjay.storage.log.digest import RangeDigest

Progress = Callable[[dict[str, Any]], None]


class Reference(NamedTuple):
    """A rebuilt partition. rows: its row file, relative to the data folder. chain: the chain value at `lsn`.

    base_lsn, base_raw: the base snapshot it began with (None, 0: the log was read from LSN 1), base_us: when its last record was made. log_raw, segments: raw
    bytes of log read above it, and segments.
    digest: of the items. local, entries: of a table with local indexes: what derives their rows of the items, and the digest of these rows.
    bytes: fetched from the archive. objects: keys of all objects that were read and proven. damage: what was met on the way and done without.
    """

    lsn: Lsn
    stamp: Stamp
    digest: RangeDigest
    chain: bytes
    rows: str
    base_lsn: Lsn | None
    base_raw: int
    log_raw: int
    bytes: int
    objects: tuple[str, ...] = ()
    damage: tuple[Fault, ...] = ()
    segments: int = 0
    base_us: int = 0
    local: LocalRows | None = None
    entries: RangeDigest | None = None

    @property
    def whole(self) -> RangeDigest:
        """What a copy's rows come to, the index rows with them."""
        return whole_digest(self.digest, self.entries)


class RowOrigin(NamedTuple):
    """The log record that made (or removed) a row, and the archived object that holds it. lsn None: it came with a base snapshot."""

    lsn: Lsn | None
    object: str | None


class Cost(NamedTuple):
    """What a rebuild reads. base_lsn: the base it begins with (None: the log from its beginning). stored: bytes to fetch, raw: what they hold."""

    base_lsn: Lsn | None
    segments: int
    stored: int
    raw: int


class References(Protocol):
    """Rebuilds references. Every call may raise Unavailable."""

    def cost(self, table: TableMeta, info: PartitionInfo, *, until: Lsn) -> Cost | None:
        """Of a rebuild to `until`, by the archive as it was last seen; nobody is asked. None: nothing of the partition has been seen. Never raises."""
        ...

    async def rebuild(self, table: TableMeta, info: PartitionInfo, *, until: Lsn, progress: Progress | None) -> Reference:
        """From the archive alone, every checksum, seal and the chain checked on the way.

        Raises Missing (a hole) or Corrupt, with all damage found in the field `damage`; Corrupt with `what` "rowfile" if it is our own file that rotted.
        """
        ...

    async def beginning(self, table: TableMeta, info: PartitionInfo) -> Reference:
        """The state in front of LSN 1: no rows, which asks nobody, or the base of a restored table. Raises as `rebuild` does."""
        ...

    async def facts(self, reference: Reference, ranges: Sequence[tuple[bytes, bytes | None]]) -> list[list[RowFact]]:
        """The rows in each of some disjoint, rising key ranges, whose ends are partition keys' beginnings; the index rows with them."""
        ...

    async def items(self, reference: Reference, keys: Sequence[bytes]) -> list[bytes | None]:
        """The canonical items at `keys`, in their order."""
        ...

    async def origins(
        self, table: TableMeta, info: PartitionInfo, reference: Reference, keys: Sequence[tuple[bytes, Lsn | None]]
    ) -> list[RowOrigin]:
        """Where each (key, LSN of its row if known) comes from. Without an LSN the log is searched for the record that last touched the key."""
        ...

    async def write_base(self, table: TableMeta, info: PartitionInfo, reference: Reference) -> str:
        """Upload the reference as a base snapshot; returns its object key. An equal one that is there already is fine."""
        ...

    async def at_hand(self, reference: Reference) -> None:
        """The row file lies on this process's disk when it returns: a heal reads it there."""
        ...

    def discard(self, reference: Reference) -> None:
        """Remove the row file."""
        ...
