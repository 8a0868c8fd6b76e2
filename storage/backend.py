"""The port between the DynamoDB API and the store behind it.

`storage.api` knows nothing else of the store; `storage.control.router` implements it for real, `tests.fixtures.memory_backend` as a plain model.
Data calls take a callback and make no task or future (DESIGN: no task per request); `done` is called exactly once, perhaps at once, with the
answer or with a ScrubjayError. Control calls are coroutines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from scrubjay.base.errors import ScrubjayError
from scrubjay.storage.catalogue import KeySchema, LocalIndex, PartitionInfo, TableMeta, TableStats, Throughput, TimeToLive
from scrubjay.storage.commands.values import RangeAnswer, RangeRead, ReadAnswer, WriteAnswer, WriteCommand


class TableSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A checked CreateTable (the fields of TableMeta that the caller chooses)."""

    name: str
    key: KeySchema
    attributes: tuple[tuple[str, str], ...]
    billing: str
    throughput: Throughput
    deletion_protection: bool = False
    table_class: str = "STANDARD"
    tags: tuple[tuple[str, str], ...] = ()
    on_demand: Throughput | None = None
    """Ceilings of an on-demand table in request units, -1 for none; None: not asked for."""
    local_indexes: tuple[LocalIndex, ...] | msgspec.UnsetType = msgspec.UNSET


class ContinuousBackups(msgspec.Struct, frozen=True):
    """What DescribeContinuousBackups shows. earliest_us, latest_us: None until the window is proven."""

    enabled: bool
    days: int
    earliest_us: int | None
    latest_us: int | None


class BackupInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A backup by name. status: CREATING (its moment is not proven by the archive yet) | AVAILABLE | DELETED. table: as it was then. rows, bytes: of its leaders, then."""

    id: str
    name: str
    status: str
    created_us: int
    table: TableMeta
    rows: int
    bytes: int


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


class Backend(Protocol):
    def table(self, name: str) -> TableMeta | None:
        """The table now owning `name` as the API sees it (DELETING and restoring tables included), or None."""
        ...

    def table_names(self) -> Sequence[str]:
        """Sorted by UTF-8 bytes; system tables left out."""
        ...

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

    async def set_time_to_live(self, name: str, decide: Callable[[TableMeta], TimeToLive]) -> TableMeta:
        """decide: the new setting, of the table as it is; called again if it changed meanwhile. Raises Missing, Conflict (it changes again and again), and what `decide` raises."""
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

    def read_range(
        self,
        table: TableMeta,
        partition: PartitionInfo,
        request: RangeRead,
        done: Callable[[RangeAnswer | ScrubjayError], None],
    ) -> None: ...
