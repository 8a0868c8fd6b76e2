"""The scrub as the server keeps it: one run at a time, its progress, and the runs before it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from scrubjay.base.env import Env
from scrubjay.base.errors import ScrubjayError
from scrubjay.base.gate import Gate
from scrubjay.base.ids import PartitionId, TableId
from scrubjay.base.times import utc_text_or_none
from scrubjay.scrubber.ledger import SCRUB, Ledger, LedgerRun, findings_of
from scrubjay.scrubber.options import ScrubOptions, Turns
from scrubjay.scrubber.reference import References
from scrubjay.scrubber.run import scrub
from scrubjay.scrubber.telling import Telling
from scrubjay.storage.service_port import ServicePort

Report = dict[str, Any]
ProgressSink = Callable[[dict[str, Any]], None]
Log = Callable[[str], None]

HISTORY_SHOWN = 50
"""Runs told of at once, unless more are asked for."""
HISTORY_MAX = 2_000
"""The most that is ever looked through."""
FIXED_S = 0.5
"""Of what the scrub of a partition takes, at most so much is what it costs however small it is: a seal, a checkpoint and a pin of each copy, their syncs, a job. No worker's rest covers that."""


class ScrubService:
    """ledger None: nothing is remembered (tests). log: one line per note of a run. telling: of each finding; None: in the log."""

    def __init__(
        self,
        env: Env,
        port: ServicePort,
        references: References,
        ledger: Ledger | None,
        options: ScrubOptions,
        *,
        log: Log,
        telling: Telling | None = None,
    ) -> None:
        self._telling = telling or Telling(log)
        self._env = env
        self._port = port
        self._references = references
        self._ledger = ledger
        self._options = options
        self._log = log
        self._gate = Gate(env.tasks)
        self.at: set[PartitionId] = set()
        """Partitions whose copies are compared just now."""
        self._started_us: int | None = None
        self._finished_us: int | None = None
        self._progress: dict[str, Any] = {}
        self._last: Report | None = None
        self._share = 1.0

    def share(self, share: float) -> None:
        """How much of a core nights may use from now on (server/courtesy.py): what a partition costs however small it is counts against that. 0 < share <= 1."""
        self._share = share

    async def _rest(self, took_s: float) -> None:
        """Behind a partition of a run of the schedule. A large one has rested while it was read; that much of it did not."""
        wait_s = rest_s(took_s, self._share)
        if wait_s > 0.0:
            await self._env.tasks.sleep(wait_s)

    async def run(
        self,
        *,
        tables: Sequence[TableId] | None = None,
        partition: PartitionId | None = None,
        progress: ProgressSink | None = None,
        turns: Turns | None = None,
        rate_bytes: int | None = None,
    ) -> Report:
        """One scrub; the answer of `scrub run`. A second caller waits until the first is done. turns: a run of the schedule, which reads the copies of a partition in
        turn. rate_bytes: per second and node, instead of what the configuration says. Raises Unavailable (ResourceNotFound)."""
        options = self._options
        if turns is not None:
            rate = options.rate_bytes if rate_bytes is None else max(1, rate_bytes // options.lanes)
            options = replace(options, in_turn=True, rate_bytes=rate)

        def tell(facts: dict[str, Any]) -> None:
            self._progress = facts
            if progress is not None:
                progress(facts)

        async with self._gate:
            self._started_us, self._progress = self._env.clock.wall_us(), {"phase": "seal"}
            began_us = self._env.clock.boot_us()
            try:
                report = await scrub(
                    self._env,
                    self._port,
                    self._references,
                    self._ledger,
                    options,
                    tables=tables,
                    partition=partition,
                    progress=tell,
                    turns=turns,
                    rest=None if turns is None else self._rest,
                    at=self.at,
                    planned=lambda plan: self._log(f"scrub planned: {plan}"),
                )
            finally:
                self._started_us = None
            for note in report.notes:
                self._log(note)
            if turns is not None and report.plan is None:
                return report.as_json()  # nothing was due: that is no result, and hides none
            self._last, self._finished_us = report.as_json(), self._env.clock.wall_us()
            self._telling.tell(SCRUB, self._last, self._env.clock.boot_us() - began_us)
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

    async def history(self, *, table: str | None = None, since_us: int | None = None, limit: int = HISTORY_SHOWN) -> Report:
        """`scrub history`: the newest runs first, with their findings. table: id; only what they found in it, and only runs that covered it. since_us: begun then or later.

        `more`: older runs are remembered that would fit. `rebuilt`: when the ledger was lost and begun anew, null: it was not. Raises Unavailable if the ledger cannot be read."""
        runs = [] if self._ledger is None else await self._ledger.runs(HISTORY_MAX, kind=SCRUB, since_us=since_us)
        told = [one for one in (_told(run, table) for run in runs) if one is not None]
        rebuilt = None if self._ledger is None else self._ledger.rebuilt
        at = None if rebuilt is None else utc_text_or_none(rebuilt.at_us)
        return {"exit": 0, "error": None, "runs": told[:limit], "more": len(told) > limit, "rebuilt": at}

    async def _remembered(self, ledger: Ledger) -> tuple[Report | None, int | None]:
        try:
            runs = await ledger.runs(HISTORY_SHOWN, kind=SCRUB)
        except ScrubjayError as error:
            self._log(f"the ledger could not be read: {error}")
            return None, None
        # What came back from the archive after the ledger was lost is shortened to what `history` tells.
        done = next((run for run in runs if run.report is not None and "healed" in run.report), None)
        return (None, None) if done is None else (done.report, done.finished_us)


def rest_s(took_s: float, share: float) -> float:
    """Seconds to the next partition, after one that took `took_s`: its fixed cost is the share of itself and the rest together. Pure."""
    return min(took_s, FIXED_S) * (1.0 / share - 1.0)


def _told(run: LedgerRun, table: str | None) -> dict[str, Any] | None:
    """A run as `scrub history` tells it; None if it did not cover `table`. Pure."""
    parts = [] if run.report is None else [one for one in run.report.get("tables") or [] if table in (None, one.get("table_id"))]
    if table is not None and not parts and run.report is not None:
        return None
    verdicts = [part["verdict"] for one in parts for part in one["partitions"]]
    return {
        "run": run.id,
        "started": utc_text_or_none(run.started_us),
        "finished": utc_text_or_none(run.finished_us),
        "verdict": run.verdict if table is None else next((word for word in ("mismatch", "unverified", "match") if word in verdicts), None),
        "healed": run.healed,
        "tables": [one["table"] for one in parts],
        "totals": None if run.report is None else run.report.get("totals"),
        "findings": findings_of({"tables": parts}),
    }
