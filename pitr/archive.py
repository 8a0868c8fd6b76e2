"""What a restore asks of the archive. `pitr.source` answers from the real one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from scrubjay.archiver.facts import Window
from scrubjay.archiver.format.fault import Fault
from scrubjay.base.ids import Lsn, Stamp
from scrubjay.pitr.part import PartAsked
from scrubjay.pitr.plan import PartitionHistory, PartitionPlan
from scrubjay.storage.btree.engine import TreeFile
from scrubjay.storage.catalogue import PartitionInfo, TableMeta
from scrubjay.storage.log.digest import Total

Progress = Callable[[dict[str, Any]], None]


class TableArchive(NamedTuple):
    """A table as the archive holds it. window: what is proven of it, and the holes. histories: one per partition that the table has, and had before it was split."""

    window: Window
    histories: tuple[PartitionHistory, ...]

    def of(self, partitions: Sequence[PartitionInfo]) -> list[PartitionHistory]:
        """Those of some partitions, in their order."""
        found = {one.partition: one for one in self.histories}
        return [found[info.partition_id] for info in partitions]


class RestoredRows(NamedTuple):
    """A rebuilt partition: its row file (below the data folder) and the digest that the rebuild proved. raw: bytes replayed; bytes: fetched.
    proven: LSN of the last seal on whose agreed digest the rebuild was checked (of the base, if there was no seal). damage: met on the way and done without.
    of: where only a part was asked for, the digest of all rows that it was chosen from. tree: made of the same rows for every copy on this machine, None: there is none.
    treeless: why not, "": none was wanted."""

    rows: str
    total: Total
    raw: int
    bytes: int
    proven: Lsn
    damage: tuple[Fault, ...] = ()
    of: Total | None = None
    tree: TreeFile | None = None
    treeless: str = ""


class ArchiveView(Protocol):
    """Every call may raise Unavailable."""

    async def look(self, table: TableMeta) -> TableArchive:
        """List what is there now. Raises Corrupt (a manifest)."""
        ...


class TimelineArchive(ArchiveView, Protocol):
    """What time travel asks of the archive."""

    async def read(self, job: str, arguments: dict[str, Any], *, progress: Progress | None) -> dict[str, Any]:
        """Run a job that only reads the archive; its argument `url` is added. The file it makes is here when it has ended. Raises what it raises."""
        ...

    async def without(self, key: bytes, objects: Sequence[str]) -> list[str]:
        """Those of some segments, newest first, that are known not to hold a key. objects: keys of segments and of base manifests."""
        ...


class RestoreArchive(ArchiveView, Protocol):
    """What a restore asks of it."""

    async def rebuild(
        self,
        table: TableMeta,
        info: PartitionInfo,
        plan: PartitionPlan,
        *,
        cut: Stamp,
        path: str,
        part: PartAsked | None,
        progress: Progress | None,
    ) -> RestoredRows:
        """Rows of one partition as of the cut into the row file `path`, every checksum, seal and the chain checked. part: only these, None: all.

        Raises Missing, Corrupt; if an object of the archive is to blame, with it in the field `damage` (a tuple of Fault).
        """
        ...

    async def upload_base(self, source: TableMeta | None, target: TableMeta, info: PartitionInfo, rows: RestoredRows, *, at_us: int) -> str:
        """The first base (LSN 0) of a new table's partition; returns its object key. An equal one that is there already is fine. source: None of rows that came
        from outside."""
        ...

    def rows_path(self, target_id: str, partition: str) -> str:
        """Where the row file of that partition of that target lies, below the data folder."""
        ...

    def tree_asked(self, path: str, *, lo: str, hi: str) -> dict[str, Any] | None:
        """What a job of this machine that writes the row file `path` is told, so that it makes the tree of those rows too (`storage.btree.beside`). lo, hi: of the partition that is to have
        them. None: no tree is made."""
        ...

    async def at_hand(self, path: str) -> None:
        """A row file that `rebuild` made lies below this process's data folder when it returns, wherever it was made. May be called again. Raises Unavailable."""
        ...

    def loaded(self, path: str) -> None:
        """Every replica holds that row file's rows now."""
        ...

    def discard(self, path: str) -> None:
        """Remove a row file, or a folder of them; no error if it is not there."""
        ...
