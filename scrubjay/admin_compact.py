"""The admin API's call of compaction: `archive compact`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from scrubjay.admin_asked import body_of, resolve_table
from scrubjay.admin_jobs import JobBoard
from scrubjay.base.http_values import Request
from scrubjay.output import DONE
from scrubjay.server.ports import CompactPort, ProgressSink, Report
from scrubjay.storage.catalogue import TableMeta


class CompactRequest(msgspec.Struct, forbid_unknown_fields=True):
    """confirm: do it; else the plan."""

    table: str | None = None
    confirm: bool = False


class CompactCalls:
    """routes: as `AdminApi` has them."""

    def __init__(self, board: JobBoard, tables: Callable[[], Sequence[TableMeta]], compact: CompactPort) -> None:
        self._board, self._tables, self._compact = board, tables, compact
        self.routes: dict[tuple[str, str], Callable[[Request], Awaitable[Report]]] = {("POST", "archive/compact"): self._post_compact}

    async def _post_compact(self, request: Request) -> Report:
        asked = body_of(request, CompactRequest)
        one = None if asked.table is None else resolve_table(self._tables(), asked.table)

        async def work(progress: ProgressSink) -> Report:
            return await self._compact.compact(tables=None if one is None else [one.table_id], confirm=asked.confirm, progress=progress)

        # In the lane of scrubs: what one of them reads is not packed meanwhile.
        job = self._board.start("archive/compact", work, lane="scrub")
        return {"exit": DONE, "id": job.id, "kind": job.kind, "running": True}
