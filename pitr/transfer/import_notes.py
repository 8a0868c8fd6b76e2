"""What is remembered of an import (kept by `ServicePort.save_job` under `import/<id>`), and its report. docs/formats/transfer-jobs.md."""

from __future__ import annotations

from typing import Any

import msgspec

from scrubjay.base.times import utc_text, utc_text_or_none
from scrubjay.pitr.transfer.running import COMPLETED, RUNNING, TransferJob
from scrubjay.storage.catalogue import GlobalIndex, TableMeta, Throughput
from scrubjay.storage.log.digest import Total


class ImportAsked(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for. key: [name, type] of the partition key, then of the sort key; type None: as the source has it. Empty: as the export says.

    format: None: the export's own, of plain objects DynamoDB JSON. compression, delimiter, header: as `Dialect` has them. billing to attributes: of the new table; the last two only of
    one with global indexes, whose attributes are more than those of its key. token, echo: of the API's call, to be said again.
    """

    url: str
    table: str
    key: tuple[tuple[str, str | None], ...] = ()
    format: str | None = None
    compression: str | None = None
    delimiter: str = ","
    header: tuple[str, ...] | None = None
    billing: str = "PAY_PER_REQUEST"
    throughput: Throughput = Throughput()
    on_demand: Throughput | None = None
    global_indexes: tuple[GlobalIndex, ...] | msgspec.UnsetType = msgspec.UNSET
    attributes: tuple[tuple[str, str], ...] | msgspec.UnsetType = msgspec.UNSET
    token: str | None = None
    echo: dict[str, Any] = msgspec.field(default_factory=dict)


class ImportJob(TransferJob, kw_only=True):
    """meta: the table as it is made (TableMeta as plain data). export: id of the export that is imported, None: plain objects. expected: its digest, where it can be
    compared. partitions: rows and digest of each, as they were read. error: once the import has failed, also while its table is still to be removed."""

    asked: ImportAsked
    meta: dict[str, Any]
    export: str | None = None
    expected: str | None = None
    partitions: dict[str, tuple[int, str]] = msgspec.field(default_factory=dict)

    @property
    def token(self) -> str | None:
        return self.asked.token

    @property
    def table(self) -> TableMeta:
        return msgspec.convert(self.meta, TableMeta)

    def total(self, partition: str) -> Total | None:
        """As an earlier life read it."""
        found = self.partitions.get(partition)
        return None if found is None else Total(int(found[1], 16), found[0])

    def words(self) -> tuple[str, str]:
        return f"import of {self.asked.url} to {self.asked.table}", "mend it, then the same command: nothing of this one is left"

    def report(self, progress: dict[str, Any] | None) -> dict[str, Any]:
        done, running = self.state == COMPLETED, self.state == RUNNING
        compared = "match" if self.expected is not None else None
        return {
            "exit": 3 if running else 0 if done else self.exit,
            "error": self.error,
            "running": running,
            "progress": progress,
            "import": self.id,
            "table": self.asked.table,
            "table_id": self.meta["table_id"],
            "from": self.asked.url,
            "export": self.export,
            "key": [one for one in (self.meta["key"]["partition"], self.meta["key"]["sort"]) if one is not None],
            "state": self.state,
            "files": self.files,
            "bytes": self.bytes,
            "rows": self.rows,
            "digest": self.digest,
            "expected_digest": self.expected,
            "verdict": compared if done else None,
            "started": utc_text(self.created_us),
            "finished": utc_text_or_none(self.ended_us if not running else None),
        }
