"""The admin API's calls of `export` and `import`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import parse_qsl

import msgspec

from scrubjay.admin_asked import body_of, check_name, resolve_table
from scrubjay.base.http_values import Request
from scrubjay.server.ports import Report, TransferPort
from scrubjay.storage.catalogue import TableMeta


class ExportRequest(msgspec.Struct, forbid_unknown_fields=True):
    """at_us None: now. from_us: of an incremental export."""

    table: str
    url: str
    format: str
    at_us: int | None = None
    from_us: int | None = None


class ImportRequest(msgspec.Struct, forbid_unknown_fields=True):
    """key: [name, type] of the partition key, then of the sort key; type null: as the source has it; none of them: as the export says. format null: its own."""

    url: str
    table: str
    key: list[tuple[str, str | None]] = msgspec.field(default_factory=list)
    format: str | None = None


class TransferCalls:
    """routes: as `AdminApi` has them."""

    def __init__(self, tables: Callable[[], Sequence[TableMeta]], transfers: TransferPort) -> None:
        self._tables, self._transfers = tables, transfers
        self.routes: dict[tuple[str, str], Callable[[Request], Awaitable[Report]]] = {
            ("POST", "export"): self._post_export,
            ("GET", "export/status"): self._get_export,
            ("POST", "import"): self._post_import,
            ("GET", "import/status"): self._get_import,
        }

    async def _post_export(self, request: Request) -> Report:
        asked = body_of(request, ExportRequest)
        source = resolve_table(self._tables(), asked.table)
        return await self._transfers.export(source, url=asked.url, format=asked.format, at_us=asked.at_us, from_us=asked.from_us)

    async def _get_export(self, request: Request) -> Report:
        return self._transfers.export_status(dict(parse_qsl(request.query)).get("id", ""))

    async def _post_import(self, request: Request) -> Report:
        asked = body_of(request, ImportRequest)
        check_name(asked.table, "a table", f"--table {asked.table}")
        return await self._transfers.import_(url=asked.url, table=asked.table, key=asked.key, format=asked.format)

    async def _get_import(self, request: Request) -> Report:
        return self._transfers.import_status(dict(parse_qsl(request.query)).get("id", ""))
