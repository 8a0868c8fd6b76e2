"""Services that answer what a test tells them, and tables to name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from scrubjay.base.errors import Unavailable, Unsafe
from scrubjay.base.ids import Member, PartitionId, TableId
from scrubjay.pitr.target import RestoreTarget
from scrubjay.scrubber.schedule.settings import JobSettings
from scrubjay.server.nightly import DEFAULTS
from scrubjay.server.ports import ProgressSink, Report
from scrubjay.storage.catalogue import KeyAttribute, KeySchema, PartitionInfo, TableMeta


def table(name: str, number: int, *, dropped_at: int | None = None) -> TableMeta:
    ident = TableId(f"00000000-0000-4000-8000-{number:012d}")
    part = PartitionInfo(PartitionId(f"10000000-0000-4000-8000-{number:012d}"), "0" * 32, "", (Member(1, 1),))
    return TableMeta(
        table_id=ident,
        name=name,
        status="DROPPED" if dropped_at else "ACTIVE",
        key=KeySchema(KeyAttribute("pk", "S")),
        attributes=(("pk", "S"),),
        partitions=(part,),
        created_at=1,
        dropped_at=dropped_at,
    )


class FakeServices:
    """All five services. scrub_work: what a scrub does; calls: what was asked, in order."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.restores: dict[str, Report] = {}
        self.archive_report: Report = {
            "exit": 0,
            "error": None,
            "tables": [],
            "store": {"url": "file:///x", "reachable": True, "last_error": None},
        }
        self.scrub_status: Report = {"exit": 3, "error": None, "running": False, "last": None}
        self.scrub_work: Callable[[ProgressSink], Awaitable[Report]] | None = None
        self.scrub_report: Report = {
            "exit": 0,
            "error": None,
            "verdict": "match",
            "healed": False,
            "tables": [],
            "totals": {"partitions": 0, "rows": 0, "bytes": 0, "seconds": 0.0},
        }

    async def status(self) -> Report:
        return {"exit": 3, "error": None, "health": "degraded", "nodes": [], "tables": [], "archive": {"url": "file:///x"}, "problems": []}

    async def expire(self, *, tables: Sequence[TableId] | None, keep_us: int | None, confirm: bool, progress: ProgressSink) -> Report:
        self.calls.append(("expire", tables, keep_us, confirm))
        return {"exit": 4, "error": None, "ran": confirm, "tables": []}

    async def compact(self, *, tables: Sequence[TableId] | None, confirm: bool, progress: ProgressSink) -> Report:
        self.calls.append(("compact", tables, confirm))
        return {"exit": 3, "error": None, "ran": confirm, "tables": []}

    async def move(self, *, confirm: bool, back: bool, progress: ProgressSink) -> Report:
        self.calls.append(("move", confirm, back))
        return {"exit": 0, "error": None, "ran": confirm}

    async def verify(
        self, *, tables: Sequence[TableId] | None, level: str, budget_us: int | None, max_age_us: int, progress: ProgressSink
    ) -> Report:
        self.calls.append(("verify", tables, level, budget_us, max_age_us))
        return {"exit": 2, "error": None, "verdict": "mismatch", "findings": [{"kind": "lacking"}]}

    async def history(
        self, source: TableMeta, *, key: Any, from_us: int | None, to_us: int | None, limit: int, progress: ProgressSink
    ) -> Report:
        self.calls.append(("history of", source.table_id, key, from_us, to_us, limit))
        return {"exit": 3, "error": None, "versions": [], "unproven": [{"reason": "hole"}]}

    async def diff(self, source: TableMeta, *, from_us: int, to_us: int | None, key: Any, prefix: Any, progress: ProgressSink) -> Report:
        self.calls.append(("diff", source.table_id, from_us, to_us, key, prefix))
        return {"exit": 0, "error": None, "totals": {"added": 2, "removed": 0, "changed": 0, "same": 0}, "result": "r"}

    def changes(self, result: str, at: str) -> tuple[list[bytes], str | None]:
        self.calls.append(("changes", result, at))
        return ([b'{"key":{"pk":{"S":"a"}}}'], "0:5") if not at else ([b'{"key":{"pk":{"S":"b"}}}'], None)

    async def undo(
        self, source: TableMeta, *, from_us: int, to_us: int | None, key: Any, prefix: Any, confirm: bool, progress: ProgressSink
    ) -> Report:
        self.calls.append(("undo", source.table_id, from_us, to_us, key, prefix, confirm))
        raise Unsafe("outside the restorable window", body={"window": {"earliest": None, "latest": None, "holes": []}})


class FakeArchive:
    def __init__(self, services: FakeServices) -> None:
        self.services = services

    async def status(self, tables: Sequence[TableMeta]) -> Report:
        self.services.calls.append(("status", [one.table_id for one in tables]))
        return self.services.archive_report


class FakeScrub:
    def __init__(self, services: FakeServices) -> None:
        self.services = services

    async def run(self, *, tables: Sequence[TableId] | None, partition: PartitionId | None, progress: ProgressSink) -> Report:
        self.services.calls.append(("scrub", tables, partition))
        if self.services.scrub_work is not None:
            return await self.services.scrub_work(progress)
        return self.services.scrub_report

    async def status(self) -> Report:
        return self.services.scrub_status

    async def history(self, *, table: str | None, since_us: int | None, limit: int) -> Report:
        self.services.calls.append(("history", table, since_us, limit))
        return {"exit": 0, "error": None, "runs": [], "more": False, "rebuilt": None}


class FakeTransfers:
    """One export, "1-a", and one import, "1-b", that are done."""

    def __init__(self, services: FakeServices) -> None:
        self.services = services

    async def export(self, source: TableMeta, *, url: str, format: str, at_us: int | None, from_us: int | None) -> Report:  # noqa: A002
        self.services.calls.append(("export", source.table_id, url, format, at_us, from_us))
        return {"exit": 3, "error": None, "running": True, "export": "1-a", "table": source.name, "at": "2026-01-01T00:00:00.000000Z"}

    def export_status(self, id_: str) -> Report:
        if id_ != "1-a":
            raise Unavailable("no such export", error_code="ResourceNotFound", asked=id_)
        return {
            "exit": 0,
            "error": None,
            "running": False,
            "export": id_,
            "state": "completed",
            "rows": 3,
            "manifest": "m",
            "files": 1,
            "bytes": 9,
        }

    async def import_(self, *, url: str, table: str, key: Sequence[tuple[str, str | None]], format: str | None) -> Report:  # noqa: A002
        self.services.calls.append(("import", url, table, list(key), format))
        return {"exit": 3, "error": None, "running": True, "import": "1-b", "table": table, "from": url}

    def import_status(self, id_: str) -> Report:
        if id_ != "1-b":
            raise Unavailable("no such import", error_code="ResourceNotFound", asked=id_)
        return {"exit": 0, "error": None, "running": False, "import": id_, "state": "completed", "rows": 3, "files": 1, "bytes": 9}


class FakeBackups:
    """One backup, "kept" of the first table."""

    def __init__(self, services: FakeServices) -> None:
        self.services = services

    def _report(self, state: str, code: int) -> Report:
        return {"exit": code, "error": None, "backup": "kept", "backup_id": "00000000000001-00000001", "table": "cities", "state": state}

    async def make(self, table: TableMeta, name: str, asked: RestoreTarget | None, progress: ProgressSink) -> Report:
        self.services.calls.append(("make", table.table_id, name, asked))
        return self._report("creating", 3)

    async def listed(self, table: TableMeta | None) -> Report:
        self.services.calls.append(("listed", None if table is None else table.table_id))
        return {"exit": 0, "error": None, "backups": [], "unread": [], "lost": []}

    def _known(self, name: str) -> None:
        if name != "kept":
            raise Unavailable("no such backup", error_code="ResourceNotFound", asked=name)

    async def show(self, name: str) -> Report:
        self._known(name)
        return self._report("available", 0)

    async def remove(self, name: str, *, confirm: bool) -> Report:
        self._known(name)
        self.services.calls.append(("remove", name, confirm))
        return {**self._report("deleted" if confirm else "kept", 0), "deleted": confirm}

    async def bring_back(self, name: str, to: str) -> Report:
        self._known(name)
        self.services.calls.append(("bring_back", name, to))
        return {"to": to, "table": "cities", "state": "running", "at": "2026-01-01T00:00:00.000000Z", "verdict": None, "backup": name}


class FakeRestore:
    def __init__(self, services: FakeServices) -> None:
        self.services = services

    async def plan(self, source: TableMeta, to: str, asked: RestoreTarget) -> Report:
        self.services.calls.append(("plan", source.table_id, to, asked))
        if asked.at_us == 1:
            raise Unsafe(
                "outside the restorable window", body={"window": {"earliest": "2026-01-01T00:00:00.000000Z", "latest": None, "holes": []}}
            )
        return {"exit": 0, "error": None, "to": to}

    async def start(self, source: TableMeta, to: str, asked: RestoreTarget) -> Report:
        self.services.calls.append(("start", source.table_id, to, asked))
        if to in self.services.restores:
            return self.services.restores[to]
        self.services.restores[to] = {
            "to": to,
            "table": source.name,
            "state": "running",
            "at": "2026-01-01T00:00:00.000000Z",
            "verdict": None,
        }
        return self.services.restores[to]

    def status(self, to: str) -> Report | None:
        return self.services.restores.get(to)

    def all(self) -> Sequence[Report]:
        return list(self.services.restores.values())

    async def resume(self, to: str) -> Report:
        self.services.calls.append(("resume", to))
        return self.services.restores[to]

    async def cancel(self, to: str) -> Report:
        self.services.calls.append(("cancel", to))
        return {**self.services.restores.pop(to), "state": "cancelled"}


class FakeDrills:
    """One scenario, whose last run found a difference."""

    def __init__(self, services: FakeServices) -> None:
        self.services = services

    def listed(self) -> Report:
        row = {"scenario": "restore-random", "summary": "restore", "runs": 1, "last": None}
        return {"exit": 0, "error": None, "scenarios": [row], "public_key": "k"}

    async def run(
        self, name: str, *, tables: Sequence[TableMeta] = (), seed: int | None = None, faults: int | None = None, progress: ProgressSink
    ) -> Report:
        self.services.calls.append(("drill", name, [table.table_id for table in tables], seed, faults))
        progress({"phase": "restore"})
        return {"exit": 2, "error": None, "verdict": "mismatch"}

    def report(self, drill: str | None) -> tuple[Report, list[Report]]:
        if drill == "none":
            raise Unavailable("no such drill", error_code="ResourceNotFound")
        return {"id": drill}, [{"id": drill}]


class FakeSchedule:
    def __init__(self, services: FakeServices) -> None:
        self.services = services

    @property
    def views(self) -> FakeSchedule:
        return self

    def listed(self) -> Report:
        return {"exit": 3, "error": None, "jobs": []}

    async def run_now(self, job: str) -> Report:
        self.services.calls.append(("run", job))
        return {"exit": 3, "error": None, "job": job, "last": None}

    async def set(self, job: str, settings: JobSettings) -> Report:
        self.services.calls.append(("set", job, settings))
        return self.listed()

    def default(self, job: str) -> JobSettings:
        return DEFAULTS[job]

    async def pause(self, job: str | None, *, paused: bool) -> Report:
        self.services.calls.append(("pause", job, paused))
        return self.listed()
