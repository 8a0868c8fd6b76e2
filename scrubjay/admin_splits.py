"""The admin API's calls about partitions: `table split` and `table partitions`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import parse_qs

import msgspec

from scrubjay.admin_asked import body_of, resolve_table, usage
from scrubjay.admin_jobs import JobBoard
from scrubjay.base.http_values import Request
from scrubjay.output import DONE
from scrubjay.server.ports import ProgressSink, Report, SplitPort
from scrubjay.storage.catalogue import TableMeta


class SplitRequest(msgspec.Struct, forbid_unknown_fields=True):
    """at: a key as DynamoDB JSON, None: at half of the largest partition. index: of a global index, "": of the table."""

    table: str
    at: dict[str, Any] | None = None
    index: str = ""


class SplitCalls:
    """routes: as `AdminApi` has them."""

    def __init__(self, board: JobBoard, tables: Callable[[], Sequence[TableMeta]], splits: SplitPort) -> None:
        self._board, self._tables, self._splits = board, tables, splits
        self.routes: dict[tuple[str, str], Callable[[Request], Awaitable[Report]]] = {
            ("POST", "table/split"): self._post_split,
            ("GET", "table/partitions"): self._get_partitions,
        }

    async def _post_split(self, request: Request) -> Report:
        asked = body_of(request, SplitRequest)
        table = resolve_table(self._tables(), asked.table)

        async def work(progress: ProgressSink) -> Report:
            return await self._splits.split(table, asked.at, progress, index=asked.index)

        job = self._board.start("table/split", work)
        return {"exit": DONE, "id": job.id, "kind": job.kind, "running": True}

    async def _get_partitions(self, request: Request) -> Report:
        name = _table_of(request)
        return self._splits.partitions(resolve_table(self._tables(), name))


def _table_of(request: Request) -> str:
    found = parse_qs(request.query).get("table")
    if not found:
        raise usage("a table is needed", asked=request.path, next_step="give ?table=NAME")
    return found[0]
