"""What the admin API asks of the durability services: small ports, JSON-able dicts in the shape of INTERFACE section 3 as results.

Every result carries `exit` (the verb's exit code) and `error` (null, or code/message/…: a report may exist although something was unreachable).
Errors are raised as ScrubjayError. `progress` takes {"phase", "done", "total", "unit"}, all but the phase optional.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from scrubjay.base.ids import PartitionId, TableId
from scrubjay.pitr.target import RestoreTarget
from scrubjay.scrubber.schedule.settings import JobSettings
from scrubjay.storage.catalogue import TableMeta

Report = dict[str, Any]
ProgressSink = Callable[[dict[str, Any]], None]


class ArchiverPort(Protocol):
    async def status(self, tables: Sequence[TableMeta]) -> Report:
        """`tables[]` and `store`. Never raises because the store is unreachable: that is in the report, exit 1."""
        ...


class VerifyPort(Protocol):
    async def verify(
        self, *, tables: Sequence[TableId] | None, level: str, budget_us: int | None, max_age_us: int, progress: ProgressSink
    ) -> Report:
        """tables None: all of them and the metadata group. The ledger remembers what was proven."""
        ...


class ExpirePort(Protocol):
    async def expire(self, *, tables: Sequence[TableId] | None, keep_us: int | None, confirm: bool, progress: ProgressSink) -> Report:
        """The plan; with confirm, what a run of it came to. tables None: all of them and the metadata group, and what belongs to none. keep_us None: each
        table's own retention. Raises Unsafe (less than that; a clock that leapt), Fenced, Unavailable."""
        ...


class CompactPort(Protocol):
    async def compact(self, *, tables: Sequence[TableId] | None, confirm: bool, progress: ProgressSink) -> Report:
        """The plan; with confirm, what a run of it came to. tables None: all of them and the metadata group. Raises Fenced, Unavailable."""
        ...


class SplitPort(Protocol):
    async def split(self, asked: TableMeta, at: Any, progress: ProgressSink, *, index: str = "") -> Report:
        """Split the partition that a key lies in, at None: the largest one; its report once both halves serve. index: of a global index, "": of the table. Raises Invalid, Conflict, Unavailable."""
        ...

    def partitions(self, table: TableMeta) -> Report:
        """`partitions[]`, `split`, `former[]`, and the same of each of `indexes[]`."""
        ...


class MovePort(Protocol):
    async def move(self, *, confirm: bool, back: bool, progress: ProgressSink) -> Report:
        """How far the second archive is; with confirm, everything is brought and proven the same, and it decides from then on. back: it is given up, and the first one decides
        again. Raises Unsafe (there is no second one), Unavailable."""
        ...


class ScrubPort(Protocol):
    async def run(self, *, tables: Sequence[TableId] | None, partition: PartitionId | None, progress: ProgressSink) -> Report:
        """One scrub; a second caller waits until the first is done."""
        ...

    async def status(self) -> Report:
        """`running`, `started`, `progress`, `finished`, `last`; over restarts too. exit: of the last result; 3 while one runs or none has finished."""
        ...

    async def history(self, *, table: str | None, since_us: int | None, limit: int) -> Report:
        """`runs[]`, newest first, with findings; `more`. table: id. Raises Unavailable if the ledger cannot be read."""
        ...


class RestorePort(Protocol):
    """Restores are remembered durably: they survive the server. A report has `to`, `state` (running | published | failed | differs | cancelled), `at`, …"""

    async def plan(self, source: TableMeta, to: str, asked: RestoreTarget) -> Report: ...

    async def start(self, source: TableMeta, to: str, asked: RestoreTarget) -> Report:
        """Start, or attach to the unfinished restore of the same source, target and instant. Raises Unsafe, Conflict."""
        ...

    def status(self, to: str) -> Report | None: ...

    def all(self) -> Sequence[Report]: ...

    async def resume(self, to: str) -> Report: ...

    async def cancel(self, to: str) -> Report: ...


class DrillPort(Protocol):
    def listed(self) -> Report:
        """`scenarios[]`, `public_key`."""
        ...

    async def run(
        self, name: str, *, tables: Sequence[TableMeta] = (), seed: int | None = None, faults: int | None = None, progress: ProgressSink
    ) -> Report:
        """One drill, one at a time; its signed report. tables: to choose from, none: any. faults: to plant of each kind. Raises Invalid: no such scenario."""
        ...

    def report(self, drill: str | None) -> tuple[Report, list[Report]]:
        """A kept report by its id, None: the newest; and those of its scenario up to it. Raises Unavailable (ResourceNotFound)."""
        ...


class ScheduleViewPort(Protocol):
    def listed(self) -> Report: ...

    def default(self, job: str) -> JobSettings: ...


class TimelinePort(Protocol):
    """What was, and putting it back. from_us, to_us: inclusive; to_us None: now. key, prefix: DynamoDB JSON. All raise Invalid, Unsafe (outside the window), Unavailable."""

    async def history(
        self, source: TableMeta, *, key: Any, from_us: int | None, to_us: int | None, limit: int, progress: ProgressSink
    ) -> Report: ...

    async def diff(self, source: TableMeta, *, from_us: int, to_us: int | None, key: Any, prefix: Any, progress: ProgressSink) -> Report:
        """`totals`, and `result`: under which name its changes are fetched."""
        ...

    def changes(self, result: str, at: str) -> tuple[list[bytes], str | None]:
        """Some of the changes, each as JSON, and where the next ones begin (None: that was all). at: "" at first. Raises Unavailable (ResourceNotFound)."""
        ...

    async def undo(
        self, source: TableMeta, *, from_us: int, to_us: int | None, key: Any, prefix: Any, confirm: bool, progress: ProgressSink
    ) -> Report: ...


class BackupPort(Protocol):
    """Backups by name. name: a backup's name, id or ARN. Raises Unavailable (no such backup: ResourceNotFound), Invalid (several have that name)."""

    async def make(self, table: TableMeta, name: str, asked: RestoreTarget | None, progress: ProgressSink) -> Report:
        """asked None: now. exit 3: the archive does not prove the moment yet; the backup stands. Raises Unsafe, Fenced."""
        ...

    async def listed(self, table: TableMeta | None) -> Report:
        """`backups[]`, oldest first; `unread[]`: what lies among them and cannot be read."""
        ...

    async def show(self, name: str) -> Report: ...

    async def remove(self, name: str, *, confirm: bool) -> Report:
        """Without confirm: which one it would be."""
        ...

    async def bring_back(self, name: str, to: str) -> Report:
        """The report of a restore that was started, or is under way; with `backup` and `backup_id`. Raises Conflict, Unsafe."""
        ...


class TransferPort(Protocol):
    """Exports and imports. A report has `running`, `state`, and of one that ended its exit code."""

    async def export(self, source: TableMeta, *, url: str, format: str, at_us: int | None, from_us: int | None) -> Report:  # noqa: A002
        """Start, or attach to the one under way that the same words began. at_us None: now. Raises Invalid, Unsafe, Unavailable."""
        ...

    def export_status(self, id_: str) -> Report:
        """Raises Unavailable (ResourceNotFound)."""
        ...

    async def import_(self, *, url: str, table: str, key: Sequence[tuple[str, str | None]], format: str | None) -> Report:  # noqa: A002
        """As `export`. key: (name, type) of partition key and sort key, type None: as the source has it; empty: as the export says. format None: its own."""
        ...

    def import_status(self, id_: str) -> Report: ...


class SchedulePort(Protocol):
    """Reports have `jobs[]`; a job that is not there raises Invalid."""

    @property
    def views(self) -> ScheduleViewPort: ...

    async def run_now(self, job: str) -> Report:
        """`last` of the run, which this waits for. Raises Conflict: another process runs it."""
        ...

    async def set(self, job: str, settings: JobSettings) -> Report: ...

    async def pause(self, job: str | None, *, paused: bool) -> Report:
        """None: every job."""
        ...
