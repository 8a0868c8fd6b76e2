"""The admin API's calls of time travel: `history`, `diff` and its pages, `undo`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from scrubjay.admin_asked import body_of, resolve_table
from scrubjay.admin_jobs import JobBoard
from scrubjay.base.errors import ScrubjayError
from scrubjay.base.http_values import Request
from scrubjay.output import DONE, failure_of
from scrubjay.server.ports import ProgressSink, Report, TimelinePort
from scrubjay.storage.catalogue import TableMeta

HISTORY_SHOWN = 1000


class HistoryRequest(msgspec.Struct, forbid_unknown_fields=True):
    """to_us None: now. from_us None: from the beginning."""

    table: str
    key: dict[str, Any]
    from_us: int | None = None
    to_us: int | None = None
    limit: int = HISTORY_SHOWN


class DiffRequest(msgspec.Struct, forbid_unknown_fields=True):
    """to_us None: now. At most one of key and prefix."""

    table: str
    from_us: int
    to_us: int | None = None
    key: dict[str, Any] | None = None
    prefix: dict[str, Any] | None = None


class UndoRequest(DiffRequest, forbid_unknown_fields=True):
    confirm: bool = False


class TimelineCalls:
    """routes: as `AdminApi` has them. Long work runs on its board."""

    def __init__(self, board: JobBoard, tables: Callable[[], Sequence[TableMeta]], timeline: TimelinePort) -> None:
        self._board, self._tables, self._timeline = board, tables, timeline
        self.routes: dict[tuple[str, str], Callable[[Request], Awaitable[Report]]] = {
            ("POST", "history"): self._post_history,
            ("POST", "diff"): self._post_diff,
            ("GET", "diff/changes"): self._get_changes,
            ("POST", "undo"): self._post_undo,
        }

    async def _post_history(self, request: Request) -> Report:
        asked = body_of(request, HistoryRequest)
        source = resolve_table(self._tables(), asked.table)

        async def work(progress: ProgressSink) -> Report:
            return await self._timeline.history(
                source, key=asked.key, from_us=asked.from_us, to_us=asked.to_us, limit=asked.limit, progress=progress
            )

        return self._started("history", source, work)

    async def _post_diff(self, request: Request) -> Report:
        asked = body_of(request, DiffRequest)
        source = resolve_table(self._tables(), asked.table)

        async def work(progress: ProgressSink) -> Report:
            return await self._timeline.diff(
                source, from_us=asked.from_us, to_us=asked.to_us, key=asked.key, prefix=asked.prefix, progress=progress
            )

        return self._started("diff", source, work)

    async def _get_changes(self, request: Request) -> Report:
        asked = dict(parse_qsl(request.query))
        lines, after = self._timeline.changes(asked.get("result", ""), asked.get("at", ""))
        return {"exit": DONE, "error": None, "changes": [msgspec.Raw(line) for line in lines], "next": after}

    async def _post_undo(self, request: Request) -> Report:
        asked = body_of(request, UndoRequest)
        source = resolve_table(self._tables(), asked.table)

        async def work(progress: ProgressSink) -> Report:
            return await self._timeline.undo(
                source,
                from_us=asked.from_us,
                to_us=asked.to_us,
                key=asked.key,
                prefix=asked.prefix,
                confirm=asked.confirm,
                progress=progress,
            )

        return self._started("undo", source, work)

    def _started(self, kind: str, source: TableMeta, work: Callable[[ProgressSink], Awaitable[Report]]) -> Report:
        """A refusal names the table too."""

        async def named(progress: ProgressSink) -> Report:
            try:
                return await work(progress)
            except ScrubjayError as error:
                failure = failure_of(error, asked=f"{kind} of {source.name}")
                failure.body = {"table": source.name, "table_id": source.table_id, **failure.body}
                raise failure from None

        job = self._board.start(kind, named)
        return {"exit": DONE, "id": job.id, "kind": job.kind, "running": True}
