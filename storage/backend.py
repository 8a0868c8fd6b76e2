"""The port between the DynamoDB API and the store behind it.

`storage.api` knows nothing else of the store; `storage.control.router` implements it for real, `tests.fixtures.memory_backend` as a plain model.
Data calls take a callback and make no task or future (DESIGN: no task per request); `done` is called exactly once, perhaps at once, with the
answer or with a ScrubjayError. Control calls are coroutines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from scrubjay.base.errors import ScrubjayError
from scrubjay.base.ids import Lsn, Stamp
from scrubjay.storage.catalogue import (
    GlobalIndex,
    KeySchema,
    LocalIndex,
    PartitionInfo,
    ResourcePolicy,
    TableMeta,
    TableStats,
    Throughput,
    TimeToLive,
)
from scrubjay.storage.commands.values import Outcome, RangeAnswer, RangeRead, ReadAnswer, TransactedCommand, WriteAnswer, WriteCommand
from scrubjay.storage.log.item_changes import ChangesPage
from scrubjay.storage.log.stated import StreamName


class TableSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A checked CreateTable (the fields of TableMeta that the caller chooses)."""

    name: str
    key: KeySchema
    attributes: tuple[tuple[str, str], ...]
    billing: str
    throughput: Throughput
    deletion_protection: bool = False
    table_class: str = "STANDARD"
    class_named: bool = False
    tags: tuple[tuple[str, str], ...] = ()
    on_demand: Throughput | None = None
    """Ceilings of an on-demand table in request units, -1 for none; None: not asked for."""
    local_indexes: tuple[LocalIndex, ...] | msgspec.UnsetType = msgspec.UNSET
    stream_view: str = ""
    """Of the stream that it shall have, "": none."""
    global_indexes: tuple[GlobalIndex, ...] | msgspec.UnsetType = msgspec.UNSET
    """Without the ids of their tables, which are made with the table."""
    warm: Throughput | msgspec.UnsetType = msgspec.UNSET
    policy: ResourcePolicy | None = None


class ContinuousBackups(msgspec.Struct, frozen=True):
    """What DescribeContinuousBackups shows. earliest_us, latest_us: None until the window is proven."""

    enabled: bool
    days: int
    earliest_us: int | None
    latest_us: int | None


class BackupInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A backup by name. status: CREATING (its moment is not proven by the archive yet) | AVAILABLE | DELETED. table: as it was then. rows, bytes: of its leaders, then. stream_view,
    ttl_attribute: of the stream that was on and of its time to live, "" for none."""

    id: str
    name: str
    status: str
    created_us: int
    table: TableMeta
    rows: int
    bytes: int
    stream_view: str = ""
    ttl_attribute: str = ""


class TableBackups(Protocol):
    """Backups by name. Every call but `create` may raise Missing (no such backup), and every one Unavailable (the object store)."""

    async def create(self, table: TableMeta, name: str) -> BackupInfo:
        """As of now. Raises Unsafe (too many), Fenced."""
        ...

    async def list(self) -> Sequence[BackupInfo]:
        """Oldest first."""
        ...

    async def describe(self, id_: str) -> BackupInfo: ...

    async def delete(self, id_: str) -> BackupInfo: ...

    async def restore(self, id_: str, target: str, overrides: dict[str, object]) -> TableMeta:
        """Start a restore to a new table. overrides: fields of TableMeta it shall have otherwise than the backup. Raises Conflict (target exists), Unsafe."""
        ...


class ExportSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A checked ExportTableToPointInTime. place: URL. format: as the API names it, or would. at_us: inclusive, None: now. from_us: of an incremental export: what changed behind it. view: of one. token:
    two calls with one are one. echo: members of the call that a description says again."""

    place: str
    at_us: int | None = None
    from_us: int | None = None
    view: str = "NEW_AND_OLD_IMAGES"
    format: str = "DYNAMODB_JSON"
    token: str | None = None
    echo: dict[str, Any] = msgspec.field(default_factory=dict)


class ExportInfo(msgspec.Struct, frozen=True, kw_only=True):
    """An export. status: IN_PROGRESS | COMPLETED | FAILED. at_us: as it was fixed. manifest: key of the summary, of a completed one. failure: code and message."""

    id: str
    table_id: str
    table_name: str
    spec: ExportSpec
    status: str
    at_us: int
    started_us: int
    ended_us: int | None = None
    manifest: str | None = None
    items: int | None = None
    bytes: int | None = None
    failure: tuple[str, str] | None = None


class ImportSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A checked ImportTable. format: dynamodb-json | csv. compression: None: by the first bytes of each object. header: of CSV; None: each object's first line."""

    place: str
    table: TableSpec
    format: str
    compression: str | None = None
    delimiter: str = ","
    header: tuple[str, ...] | None = None
    token: str | None = None
    echo: dict[str, Any] = msgspec.field(default_factory=dict)


class ImportInfo(msgspec.Struct, frozen=True, kw_only=True):
    """An import. status: as of an export. bad_lines: how many ended it (0 or 1)."""

    id: str
    table_id: str
    table_name: str
    status: str
    started_us: int
    token: str | None
    echo: dict[str, Any]
    ended_us: int | None = None
    items: int | None = None
    bytes: int | None = None
    bad_lines: int = 0
    failure: tuple[str, str] | None = None


class TableTransfers(Protocol):
    """Exports and imports; those that are remembered, oldest first."""

    async def start_export(self, table: TableMeta, spec: ExportSpec) -> ExportInfo:
        """Raises Conflict (the token was of another), Unsafe (outside the window; field error_code TooMany: too many run), Invalid (the place), Unavailable."""
        ...

    def exports_info(self) -> Sequence[ExportInfo]: ...

    async def start_import(self, spec: ImportSpec) -> ImportInfo:
        """Raises Conflict (field error_code TokenTaken: the token was of another; else the name is taken), Unsafe (TooMany, or nothing that can be imported is
        there), Invalid (the place), Corrupt (a manifest), Missing, Unavailable."""
        ...

    def imports_info(self) -> Sequence[ImportInfo]: ...


class TransactPart(NamedTuple):
    """One item of a transaction that writes."""

    table: TableMeta
    command: TransactedCommand


class Transacted(NamedTuple):
    """What became of a transaction that writes. outcomes: of each part, in order (LOCKED: another transaction holds its item; UNCHANGED of one that is not what stopped it). written: (partition, LSN of its COMMIT). stamp: by which
    it is effective. repeated: it was done before, with the same token: nothing is known of its parts."""

    committed: bool
    outcomes: tuple[Outcome, ...]
    written: tuple[tuple[str, int], ...] = ()
    stamp: int = 0
    repeated: bool = False


class TransactRead(NamedTuple):
    """items: canonical bytes, None: absent; none if some were `held` by transactions, or changed, for as long as it was tried. traces: (partition, LSN)."""

    items: tuple[bytes | None, ...]
    held: tuple[int, ...]
    traces: tuple[tuple[str, int], ...]


class StreamReads(Protocol):
    """The logs of partitions as streams of changes (ADR 0073)."""

    async def read(
        self,
        info: PartitionInfo,
        first: Lsn,
        *,
        position: int = 0,
        last: Lsn | None = None,
        stream: StreamName | None = None,
        limit: int = 1000,
        max_bytes: int = 1 << 20,
    ) -> ChangesPage:
        """The changes of a partition from a place in its log on, up to LSN `last` or where the log says that `stream` ends, at most `limit`; maybe none though more follow. Raises Missing
        (nobody holds it any more; what: old item: it does not say what was there before), Unavailable, Corrupt."""
        ...

    async def position(self, info: PartitionInfo) -> Lsn:
        """An LSN behind which nothing was acknowledged yet, and at or behind everything that was. Raises Unavailable: nobody leads."""
        ...

    async def since(self, table: TableMeta, info: PartitionInfo, stamp: Stamp) -> Lsn:
        """From where on the log has records not older than `stamp`, or somewhat in front of it; behind all that is archived if that is older. Raises Unavailable, Corrupt."""
        ...


class Backend(Protocol):
    """More than 25 methods: all that the API asks of a store. What it tells of tables is what this process knows, which may be old where others change the catalogue too."""

    @property
    def alone(self) -> bool:
        """Nobody else changes the catalogue: what is known of it is how it is."""
        ...

    async def newest(self, wait_s: float) -> None:
        """Until what is told of tables is no older than this call. Raises Unavailable: that took longer than `wait_s`, or cannot be known now; what is known is told then as before."""
        ...

    def table(self, name: str) -> TableMeta | None:
        """The table now owning `name` as the API sees it (DELETING and restoring tables included), or None."""
        ...

    def table_names(self) -> Sequence[str]:
        """Sorted by UTF-8 bytes; system tables left out."""
        ...

    def streamed_tables(self) -> Sequence[TableMeta]:
        """Every table that has, or had, a stream, dropped ones too, by name and then by id."""
        ...

    @property
    def streams(self) -> StreamReads: ...

    def stats(self, table: TableMeta) -> TableStats: ...

    async def create_table(self, spec: TableSpec) -> TableMeta:
        """Returns with status CREATING. Raises Conflict if the name is taken."""
        ...

    async def delete_table(self, name: str) -> TableMeta:
        """Returns with status DELETING. Raises Missing, or Conflict (table not ACTIVE)."""
        ...

    async def update_table(self, name: str, change: dict[str, object]) -> TableMeta:
        """change: TableMeta fields to replace (throughput, billing, deletion_protection, table_class, tags, ...). Raises Missing, Conflict."""
        ...

    async def create_index(
        self, name: str, index: GlobalIndex, attributes: tuple[tuple[str, str], ...], change: dict[str, object]
    ) -> TableMeta:
        """Begin to make a global index of a table that is there, of the items it has and those to come. index: without a table of its own. attributes: TableMeta.shown_attributes with it. change:
        as of `update_table`, in the same write. Raises Missing, Conflict (also: an index is being made or removed)."""
        ...

    async def delete_index(self, name: str, index: str) -> TableMeta:
        """Begin to remove a global index. Raises Missing, Conflict (also: an index is being made or removed)."""
        ...

    async def update_indexes(self, name: str, changes: dict[str, dict[str, object]], change: dict[str, object]) -> TableMeta:
        """changes: by the name of a global index, fields of GlobalIndex to replace (throughput, throughput_changed_at, on_demand, warm). change: as of `update_table`, in the same write.
        Raises Missing, Conflict."""
        ...

    def index_table(self, table: TableMeta, index: str) -> TableMeta | None:
        """The internal table that holds the rows of a global index, for `read_range` (its rows are projected items, by `items.global_index.GlobalRows`) and `stats`; None: it has no such index, or
        not yet a table for it."""
        ...

    async def set_time_to_live(self, name: str, decide: Callable[[TableMeta], TimeToLive]) -> TableMeta:
        """decide: the new setting, of the table as it is; called again if it changed meanwhile. Raises Missing, Conflict (it changes again and again), and what `decide` raises."""
        ...

    async def set_policy(self, name: str, decide: Callable[[TableMeta], ResourcePolicy | None]) -> TableMeta:
        """decide: the new policy, or the note that one was removed, in place of the one of the same stream; None: it stays as it is. Called and raises as of `set_time_to_live`."""
        ...

    async def set_continuous_backups(self, name: str, *, enabled: bool, days: int | None) -> ContinuousBackups: ...

    def continuous_backups(self, table: TableMeta) -> ContinuousBackups: ...

    def hurry_window(self, table: TableMeta) -> None:
        """Somebody waits for a table's first restorable window: move it along if there is a way. May be called often."""
        ...

    async def restore_table(self, source: TableMeta, target: str, *, at_us: int | None, overrides: dict[str, object]) -> TableMeta:
        """Start a restore to a new table (at_us None: the latest). Raises Conflict (target exists), Unsafe (outside the window: fields earliest, latest)."""
        ...

    def table_backups(self) -> TableBackups:
        """Raises Unavailable if the service does not run."""
        ...

    def table_transfers(self) -> TableTransfers:
        """As `table_backups`."""
        ...

    def write(self, table: TableMeta, command: WriteCommand, done: Callable[[WriteAnswer | ScrubjayError], None]) -> None: ...

    def read(self, table: TableMeta, key: bytes, *, consistent: bool, done: Callable[[ReadAnswer | ScrubjayError], None]) -> None: ...

    def known(self, table: TableMeta) -> TableMeta:
        """The same table, or index's table, as it is known now: its partitions may have been split since."""
        ...

    def read_range(
        self,
        table: TableMeta,
        partition: PartitionInfo,
        request: RangeRead,
        done: Callable[[RangeAnswer | ScrubjayError], None],
    ) -> None: ...

    async def transact_write(self, parts: Sequence[TransactPart], *, token: str | None, digest: bytes) -> Transacted:
        """See `storage.control.transactions.coordinator.Coordinator.write`."""
        ...

    async def transact_read(self, keys: Sequence[tuple[TableMeta, bytes]]) -> TransactRead:
        """See `Coordinator.read`. keys: table and storage key."""
        ...
