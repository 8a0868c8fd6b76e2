"""What is remembered of an export (kept by `ServicePort.save_job` under `export/<id>`), and its report. docs/formats/transfer-jobs.md."""

from __future__ import annotations

from typing import Any

import msgspec

from scrubjay.base.errors import ScrubjayError
from scrubjay.base.times import utc_text, utc_text_or_none
from scrubjay.pitr.job import error_json
from scrubjay.pitr.transfer.aws_layout import SUMMARY, folder

PREFIX = "export/"
VERSION = 1
RUNNING, COMPLETED, FAILED = "running", "completed", "failed"


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


class ExportJob(msgspec.Struct, kw_only=True):
    """at_us: the moment, once it is fixed. ended_us: set before the manifests are put, which say it. digest, rows: of what was read back. exit: of a failed one."""

    version: int = VERSION
    id: str
    source_id: str
    source_name: str
    asked: ExportAsked
    at_us: int
    created_us: int
    state: str = RUNNING
    ended_us: int | None = None
    files: int | None = None
    bytes: int | None = None
    rows: int | None = None
    digest: str | None = None
    error: dict[str, Any] | None = None
    exit: int = 0

    @property
    def incremental(self) -> bool:
        return self.asked.from_us is not None

    @property
    def view(self) -> str:
        return self.asked.view if self.incremental else "NEW_IMAGE"

    def as_notes(self) -> dict[str, Any]:
        notes: dict[str, Any] = msgspec.to_builtins(self)
        return notes

    def fail(self, error: ScrubjayError) -> None:
        self.state, self.exit = FAILED, error.exit_code
        self.error = error_json(error, asked=f"export of {self.source_name} to {self.asked.url}", next_step="scrubjay export begins anew")

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


def load_export(notes: dict[str, Any]) -> ExportJob | None:
    """None if they are of another version or malformed: such notes are left as they are."""
    try:
        job = msgspec.convert(notes, ExportJob)
    except msgspec.ValidationError:
        return None
    return job if job.version == VERSION else None
