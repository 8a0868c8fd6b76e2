"""The scrub as the server keeps it: one run at a time, its progress, and the runs before it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from scrubjay.base.env import Env
from scrubjay.base.errors import ScrubjayError
from scrubjay.base.gate import Gate
from scrubjay.base.ids import PartitionId, TableId
from scrubjay.base.times import utc_text_or_none
from scrubjay.scrubber.ledger import Ledger
from scrubjay.scrubber.options import ScrubOptions
from scrubjay.scrubber.reference import References
from scrubjay.scrubber.run import scrub
from scrubjay.storage.service_port import ServicePort

Report = dict[str, Any]
ProgressSink = Callable[[dict[str, Any]], None]
Log = Callable[[str], None]

HISTORY_MAX = 200


class ScrubService:
    """ledger None: nothing is remembered (tests). log: one line per note of a run."""

    def __init__(
        self, env: Env, port: ServicePort, references: References, ledger: Ledger | None, options: ScrubOptions, *, log: Log
    ) -> None:
        self._env = env
        self._port = port
        self._references = references
        self._ledger = ledger
        self._options = options
        self._log = log
        self._gate = Gate(env.tasks)
        self._started_us: int | None = None
        self._finished_us: int | None = None
        self._progress: dict[str, Any] = {}
        self._last: Report | None = None

    async def run(
        self, *, tables: Sequence[TableId] | None = None, partition: PartitionId | None = None, progress: ProgressSink | None = None
    ) -> Report:
        """One scrub; the answer of `scrub run`. A second caller waits until the first is done. Raises Unavailable (ResourceNotFound)."""

        def tell(facts: dict[str, Any]) -> None:
            self._progress = facts
            if progress is not None:
                progress(facts)

        async with self._gate:
            self._started_us, self._progress = self._env.clock.wall_us(), {"phase": "seal"}
            try:
                report = await scrub(
                    self._env,
                    self._port,
                    self._references,
                    self._ledger,
                    self._options,
                    tables=tables,
                    partition=partition,
                    progress=tell,
                    planned=lambda plan: self._log(f"scrub planned: {plan}"),
                )
            finally:
                self._started_us = None
            for note in report.notes:
                self._log(note)
            self._last, self._finished_us = report.as_json(), self._env.clock.wall_us()
            for found in findings_of(self._last):
                self._log(finding_line(found))
            return self._last

    async def status(self) -> Report:
        """`scrub status`: the running scrub and the last result, over restarts too. exit: of the last result; 3 while one runs or none has finished."""
        last, finished_us = self._last, self._finished_us
        if last is None and self._ledger is not None:
            last, finished_us = await self._remembered(self._ledger)
        running = self._started_us is not None
        code = 3 if last is None else int(last["exit"])
        return {
            "exit": code if code == 2 or not running else 3,
            "error": None,
            "running": running,
            "started": utc_text_or_none(self._started_us),
            "progress": dict(self._progress) if running else None,
            "finished": utc_text_or_none(finished_us),
            "last": last,
        }

    async def history(self, limit: int = 20) -> Report:
        """`scrub history`: the newest runs first."""
        runs = [] if self._ledger is None else await self._ledger.runs(min(limit, HISTORY_MAX))
        return {
            "exit": 0,
            "error": None,
            "runs": [
                {
                    "started": utc_text_or_none(run.started_us),
                    "finished": utc_text_or_none(run.finished_us),
                    "verdict": run.verdict,
                    "healed": run.healed,
                    "totals": None if run.report is None else run.report.get("totals"),
                    "findings": findings_of(run.report),
                }
                for run in runs
            ],
        }

    async def _remembered(self, ledger: Ledger) -> tuple[Report | None, int | None]:
        try:
            runs = await ledger.runs(HISTORY_MAX)
        except ScrubjayError as error:
            self._log(f"the ledger could not be read: {error}")
            return None, None
        done = next((run for run in runs if run.report is not None), None)
        return (None, None) if done is None else (done.report, done.finished_us)


def findings_of(report: Report | None) -> list[dict[str, Any]]:
    """Every finding of a run's report, each with its table; of a run that was cut off, none."""
    tables = [] if report is None else report.get("tables", [])
    return [{"table": table["table"], **found} for table in tables for part in table["partitions"] for found in part["findings"]]


def finding_line(found: dict[str, Any]) -> str:
    """A finding as one line of the log."""
    where = found["object"] or f"{found['copy']} {found['partition']}"
    return f"scrub of {found['table']}: {found['kind']} in {where}, key {found['key']}, found by {found['found_by']}, {found['action']}, evidence {found['evidence']}"
