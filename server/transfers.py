"""Exports and imports as a server shows them: to the DynamoDB API (`storage.backend.TableTransfers`), and to the admin API as reports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from scrubjay.base.errors import Unavailable
from scrubjay.pitr.transfer.aws_layout import DYNAMODB_JSON, SUMMARY, WORDS, folder, place_of
from scrubjay.pitr.transfer.export_notes import ExportAsked, ExportJob
from scrubjay.pitr.transfer.exports import Exports
from scrubjay.pitr.transfer.import_notes import ImportAsked, ImportJob
from scrubjay.pitr.transfer.import_reading import BAD_LINE
from scrubjay.pitr.transfer.imports import Imports
from scrubjay.pitr.transfer.running import COMPLETED, FAILED, RUNNING
from scrubjay.server.ports import Report, TransferPort
from scrubjay.storage.backend import ExportInfo, ExportSpec, ImportInfo, ImportSpec, TableTransfers
from scrubjay.storage.catalogue import TableMeta
from scrubjay.storage.items.keys import key_attributes

_STATUS = {RUNNING: "IN_PROGRESS", COMPLETED: "COMPLETED", FAILED: "FAILED"}


class Transfers:
    def __init__(self, exports: Exports, imports: Imports) -> None:
        self.exports, self.imports = exports, imports

    def resume_unfinished(self) -> None:
        self.exports.running.resume_unfinished()
        self.imports.running.resume_unfinished()

    async def stop(self) -> None:
        await self.exports.running.stop()
        await self.imports.running.stop()

    # ------------------------------------------------------------------ the DynamoDB API

    async def start_export(self, table: TableMeta, spec: ExportSpec) -> ExportInfo:
        asked = ExportAsked(
            url=spec.place, format=DYNAMODB_JSON, at_us=spec.at_us, from_us=spec.from_us, view=spec.view, token=spec.token, echo=spec.echo
        )
        return _export_info(await self.exports.start(table, asked))

    def exports_info(self) -> Sequence[ExportInfo]:
        return [_export_info(job) for job in self.exports.running.jobs()]

    async def start_import(self, spec: ImportSpec) -> ImportInfo:
        table = spec.table
        asked = ImportAsked(
            url=spec.place, table=table.name, key=tuple((one.name, one.type) for one in key_attributes(table.key)), format=spec.format,
            compression=spec.compression, delimiter=spec.delimiter, header=spec.header, billing=table.billing, throughput=table.throughput,
            on_demand=table.on_demand, global_indexes=table.global_indexes or msgspec.UNSET,
            attributes=table.attributes if table.global_indexes else msgspec.UNSET, token=spec.token, echo=spec.echo,
        )  # fmt: skip
        return _import_info(await self.imports.start(asked))

    def imports_info(self) -> Sequence[ImportInfo]:
        return [_import_info(job) for job in self.imports.running.jobs()]

    # ------------------------------------------------------------------ the admin API (server.ports.TransferPort)

    async def export(self, source: TableMeta, *, url: str, format: str, at_us: int | None, from_us: int | None) -> Report:  # noqa: A002
        job = await self.exports.start(source, ExportAsked(url=url, format=format, at_us=at_us, from_us=from_us))
        return self.exports.running.report(job)

    def export_status(self, id_: str) -> Report:
        job = self.exports.running.find(id_)
        if job is None:
            raise Unavailable("no such export", error_code="ResourceNotFound", asked=id_)
        return self.exports.running.report(job)

    async def import_(self, *, url: str, table: str, key: Sequence[tuple[str, str | None]], format: str | None) -> Report:  # noqa: A002
        job = await self.imports.start(ImportAsked(url=url, table=table, key=tuple(key), format=format))
        return self.imports.running.report(job)

    def import_status(self, id_: str) -> Report:
        job = self.imports.running.find(id_)
        if job is None:
            raise Unavailable("no such import", error_code="ResourceNotFound", asked=id_)
        return self.imports.running.report(job)


def _export_info(job: ExportJob) -> ExportInfo:
    asked = job.asked
    spec = ExportSpec(
        place=asked.url, at_us=asked.at_us, from_us=asked.from_us, view=asked.view, format=WORDS[asked.format], token=asked.token, echo=asked.echo
    )  # fmt: skip
    return ExportInfo(
        id=job.id, table_id=job.source_id, table_name=job.source_name, spec=spec, status=_STATUS[job.state], at_us=job.at_us,
        started_us=job.created_us, ended_us=job.ended_us, manifest=_manifest(job), items=job.rows, bytes=job.bytes, failure=_failure(job.error),
    )  # fmt: skip


def _manifest(job: ExportJob) -> str:
    _, prefix = place_of(job.asked.url)
    return f"{prefix}/{folder(job.id)}{SUMMARY}".lstrip("/")


def _import_info(job: ImportJob) -> ImportInfo:
    bad = job.error is not None and job.error["code"] == BAD_LINE
    return ImportInfo(
        id=job.id, table_id=job.meta["table_id"], table_name=job.asked.table, status="FAILED" if job.error else _STATUS[job.state],
        started_us=job.created_us, token=job.asked.token, echo=job.asked.echo, ended_us=job.ended_us, items=job.rows, bytes=job.bytes,
        bad_lines=int(bad), failure=_failure(job.error),
    )  # fmt: skip


def _failure(error: dict[str, Any] | None) -> tuple[str, str] | None:
    if error is None:
        return None
    return str(error["code"]), ": ".join(str(error[name]) for name in ("message", "found") if error.get(name))


def _check_port(transfers: Transfers) -> tuple[TransferPort, TableTransfers]:
    """For the type checker."""
    return transfers, transfers
