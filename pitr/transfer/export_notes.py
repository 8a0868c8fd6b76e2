"""What is remembered of an export (kept by `ServicePort.save_job` under `export/<id>`), and its report. docs/formats/transfer-jobs.md."""

from __future__ import annotations

from typing import Any

import msgspec

from scrubjay.base.times import utc_text, utc_text_or_none
from scrubjay.pitr.transfer.aws_layout import SUMMARY, folder
from scrubjay.pitr.transfer.running import COMPLETED, RUNNING, TransferJob


class ExportAsked(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for. at_us: None: now. from_us: of an incremental export: changes behind it. url: of the place. view: of an incremental export.

    token, echo: of the API's call, to be said again.
    """

    url: str
    format: str
    at_us: int | None = None
    from_us: int | None = None
    view: str = "NEW_AND_OLD_IMAGES"
    token: str | None = None
    echo: dict[str, Any] = msgspec.field(default_factory=dict)


class ExportJob(TransferJob, kw_only=True):
    """at_us: the moment, once it is fixed. ended_us: set before the manifests are put, which say it. digest, rows: of what was read back."""

    source_id: str
    source_name: str
    asked: ExportAsked
    at_us: int

    @property
    def token(self) -> str | None:
        return self.asked.token

    @property
    def incremental(self) -> bool:
        return self.asked.from_us is not None

    @property
    def view(self) -> str:
        return self.asked.view if self.incremental else "NEW_IMAGE"

    def words(self) -> tuple[str, str]:
        return f"export of {self.source_name} to {self.asked.url}", "scrubjay export begins anew"

    def report(self, progress: dict[str, Any] | None) -> dict[str, Any]:
        done = self.state == COMPLETED
        return {
            "exit": {RUNNING: 3, COMPLETED: 0}.get(self.state, self.exit),
            "error": self.error,
            "running": self.state == RUNNING,
            "progress": progress,
            "export": self.id,
            "table": self.source_name,
            "table_id": self.source_id,
            "at": utc_text(self.at_us),
            "from": utc_text_or_none(self.asked.from_us),
            "to": self.asked.url,
            "format": self.asked.format,
            "state": self.state,
            "manifest": folder(self.id) + SUMMARY if done else None,
            "files": self.files,
            "bytes": self.bytes,
            "rows": self.rows,
            "digest": self.digest,
            "verdict": "match" if done else None if self.state == RUNNING else "unverified",
            "started": utc_text(self.created_us),
            "finished": utc_text_or_none(self.ended_us if self.state != RUNNING else None),
        }
