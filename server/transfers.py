"""Exports and imports as a server shows them: to the admin API as reports, to the DynamoDB API as descriptions."""

from __future__ import annotations

from scrubjay.base.errors import Unavailable
from scrubjay.pitr.transfer.export_notes import ExportAsked
from scrubjay.pitr.transfer.exports import Exports
from scrubjay.server.ports import Report, TransferPort
from scrubjay.storage.catalogue import TableMeta


class Transfers:
    def __init__(self, exports: Exports) -> None:
        self.exports = exports

    async def stop(self) -> None:
        await self.exports.stop()

    # ------------------------------------------------------------------ the admin API (server.ports.TransferPort)

    async def export(self, source: TableMeta, *, url: str, format: str, at_us: int | None, from_us: int | None) -> Report:  # noqa: A002
        job = await self.exports.start(source, ExportAsked(url=url, format=format, at_us=at_us, from_us=from_us))
        return self.exports.report(job)

    def export_status(self, id_: str) -> Report:
        job = self.exports.find(id_)
        if job is None:
            raise Unavailable("no such export", error_code="ResourceNotFound", asked=id_)
        return self.exports.report(job)


def _check_port(transfers: Transfers) -> TransferPort:
    """For the type checker."""
    return transfers
