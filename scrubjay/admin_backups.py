"""The admin API's calls of backups by name: `backup create|list|show|restore|delete`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import parse_qsl

import msgspec

from scrubjay.admin_asked import body_of, check_name, resolve_table
from scrubjay.admin_jobs import JobBoard
from scrubjay.base.http_values import Request
from scrubjay.output import DONE
from scrubjay.pitr.target import RestoreTarget
from scrubjay.server.ports import BackupPort, ProgressSink, Report
from scrubjay.storage.catalogue import TableMeta


class BackupRequest(msgspec.Struct, forbid_unknown_fields=True):
    """at_us None: now."""

    table: str
    name: str
    at_us: int | None = None


class BackupNameRequest(msgspec.Struct, forbid_unknown_fields=True):
    """name: a backup's name, id or ARN. to: of the new table, where one is made. confirm: of a deletion."""

    name: str
    to: str | None = None
    confirm: bool = False


class BackupCalls:
    """routes: as `AdminApi` has them. restore_answer: a restore's report with its exit code."""

    def __init__(
        self,
        board: JobBoard,
        tables: Callable[[], Sequence[TableMeta]],
        backups: BackupPort,
        restore_answer: Callable[[Report], Report],
    ) -> None:
        self._board, self._tables, self._backups, self._restore_answer = board, tables, backups, restore_answer
        self.routes: dict[tuple[str, str], Callable[[Request], Awaitable[Report]]] = {
            ("POST", "backup/create"): self._post_create,
            ("GET", "backup/list"): self._get_list,
            ("GET", "backup/show"): self._get_show,
            ("POST", "backup/restore"): self._post_restore,
            ("POST", "backup/delete"): self._post_delete,
        }

    async def _post_create(self, request: Request) -> Report:
        asked = body_of(request, BackupRequest)
        check_name(asked.name, "a backup", asked.name)
        source = resolve_table(self._tables(), asked.table)
        target = None if asked.at_us is None else RestoreTarget(at_us=asked.at_us)

        async def work(progress: ProgressSink) -> Report:
            return await self._backups.make(source, asked.name, target, progress)

        job = self._board.start("backup", work)
        return {"exit": DONE, "id": job.id, "kind": job.kind, "running": True}

    async def _get_list(self, request: Request) -> Report:
        table = dict(parse_qsl(request.query)).get("table")
        return await self._backups.listed(None if table is None else resolve_table(self._tables(), table))

    async def _get_show(self, request: Request) -> Report:
        return await self._backups.show(dict(parse_qsl(request.query)).get("name", ""))

    async def _post_restore(self, request: Request) -> Report:
        asked = body_of(request, BackupNameRequest)
        check_name(asked.to or "", "a table", f"--to {asked.to}")
        return self._restore_answer(await self._backups.bring_back(asked.name, asked.to or ""))

    async def _post_delete(self, request: Request) -> Report:
        asked = body_of(request, BackupNameRequest)
        return await self._backups.remove(asked.name, confirm=asked.confirm)
