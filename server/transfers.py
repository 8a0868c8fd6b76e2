"""Exports and imports as a server shows them: to the admin API as reports."""

from __future__ import annotations

from collections.abc import Sequence

from scrubjay.base.errors import Unavailable
from scrubjay.pitr.transfer.export_notes import ExportAsked
from scrubjay.pitr.transfer.exports import Exports
from scrubjay.pitr.transfer.import_notes import ImportAsked
from scrubjay.pitr.transfer.imports import Imports
from scrubjay.server.ports import Report, TransferPort
from scrubjay.storage.catalogue import TableMeta


class Transfers:
    def __init__(self, exports: Exports, imports: Imports) -> None:
        self.exports, self.imports = exports, imports

    def resume_unfinished(self) -> None:
        self.exports.resume_unfinished()
        self.imports.resume_unfinished()

    async def stop(self) -> None:
        await self.exports.stop()
        await self.imports.stop()

    # ------------------------------------------------------------------ the admin API (server.ports.TransferPort)

    async def export(self, source: TableMeta, *, url: str, format: str, at_us: int | None, from_us: int | None) -> Report:  # noqa: A002
        job = await self.exports.start(source, ExportAsked(url=url, format=format, at_us=at_us, from_us=from_us))
        return self.exports.report(job)

    def export_status(self, id_: str) -> Report:
        job = self.exports.find(id_)
        if job is None:
            raise Unavailable("no such export", error_code="ResourceNotFound", asked=id_)
        return self.exports.report(job)

    async def import_(self, *, url: str, table: str, key: Sequence[tuple[str, str | None]], format: str | None) -> Report:  # noqa: A002
        job = await self.imports.start(ImportAsked(url=url, table=table, key=tuple(key), format=format))
        return self.imports.report(job)

    def import_status(self, id_: str) -> Report:
        job = self.imports.find(id_)
        if job is None:
            raise Unavailable("no such import", error_code="ResourceNotFound", asked=id_)
        return self.imports.report(job)


def _check_port(transfers: Transfers) -> TransferPort:
    """For the type checker."""
    return transfers
