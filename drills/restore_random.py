"""`restore-random`: a moment of the proven window, drawn by the seed, is restored to a scratch table; every item is compared by two other ways; then the table goes.

What it leaves when it is killed: a note `drill/<id>` in the metadata group, written before the restore begins, by which the scratch table is found and dropped.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from scrubjay.base.env import Env
from scrubjay.base.errors import Conflict, Corrupt, Missing, ScrubjayError, Unavailable
from scrubjay.base.times import utc_text
from scrubjay.drills.contents import PREFIX, TRIES_MAX, TRY_AGAIN_S, Contents, usable
from scrubjay.drills.report import DrillOutcome
from scrubjay.drills.scenario import Drill
from scrubjay.pitr.job import DIFFERS, PUBLISHED, RUNNING
from scrubjay.pitr.target import RestoreTarget
from scrubjay.storage.catalogue import TableMeta
from scrubjay.storage.service_port import Pinned, ServicePort

NOTES = "drill/"
POLL_S = 0.2
MOMENTS_MAX = 3
"""Moments that one drill restores at most: where the table was empty nothing was compared."""
RESTORE_MAX_US = 6 * 3_600_000_000
"""A restore that takes longer is given up, and the drill with it."""

Report = dict[str, Any]


class Restores(Protocol):
    """What of `pitr.service.RestoreService` is used."""

    async def start(self, source: TableMeta, to: str, asked: RestoreTarget) -> Report: ...
    def status(self, to: str) -> Report | None: ...
    async def cancel(self, to: str) -> Report: ...


class RestoreRandom:
    """drop: DeleteTable by name."""

    name = "restore-random"
    summary = "restore a random proven moment of a table to a scratch table, compare every item, drop it"

    def __init__(
        self, env: Env, port: ServicePort, restores: Restores, contents: Contents, *, drop: Callable[[str], Awaitable[object]]
    ) -> None:
        self._env, self._port, self._restores, self._contents, self._drop = env, port, restores, contents, drop

    async def due(self) -> bool:
        """See Scenario: a table has a proven moment."""
        return await self._contents.any_proven()

    async def run(self, drill: Drill) -> DrillOutcome:
        """See Scenario."""
        with drill.steps.step("choose"):
            source, at_us, latest_us = await self._choose(drill)
            drill.outcome.tables = [source.name]
            drill.outcome.rpo_seconds = round(max(0, self._env.clock.wall_us() - latest_us) / 1e6, 3)
        for left in reversed(range(MOMENTS_MAX)):
            outcome = await self._restored_and_dropped(drill, source, at_us, left)
            if outcome.rows_compared or outcome.differences or at_us == latest_us:
                break
            drill.go_on()
            # The table was empty then, which proves nothing: a later moment, at last the latest.
            at_us = latest_us if left == 1 else at_us + 1 + drill.dice.below(latest_us - at_us)
        return outcome

    async def _restored_and_dropped(self, drill: Drill, source: TableMeta, at_us: int, left: int) -> DrillOutcome:
        """One moment. left: moments that may follow. Raises Unavailable."""
        drill.outcome.facts = {"at": utc_text(at_us)}
        self._contents.check_room(source, at_us=at_us)
        target = f"{PREFIX}{drill.id}" if left == MOMENTS_MAX - 1 else f"{PREFIX}{drill.id}.{left}"
        await self._port.save_job(NOTES + drill.id, {"target": target})
        try:
            outcome = await self._carried_out(drill, source, target, at_us)
        except ScrubjayError:
            await self._undo(drill.id, target)
            raise
        with drill.steps.step("drop"):
            await self._undo(drill.id, target)
        return outcome

    async def _choose(self, drill: Drill) -> tuple[TableMeta, int, int]:
        """A table, a moment of its proven window, and the latest moment of that. Raises Unavailable: no table has one."""
        tables = [one for one in drill.tables or self._port.tables() if usable(one)]
        while tables:
            source = tables.pop(drill.dice.below(len(tables)))
            window = await self._contents.window(source)
            if window.earliest_us is not None and window.latest_us is not None:
                at_us = window.earliest_us + drill.dice.below(window.latest_us - window.earliest_us + 1)
                return source, at_us, window.latest_us
        raise Unavailable("no table has a proven window yet, so there is no moment to restore", next="scrubjay archive status")

    async def _carried_out(self, drill: Drill, source: TableMeta, target: str, at_us: int) -> DrillOutcome:
        outcome = drill.outcome
        with drill.steps.step("restore"):
            report = await self._restored(drill, source, target, at_us)
        outcome.rto_seconds, outcome.predicted_seconds = report["seconds"]["total"], report["predicted_seconds"]
        if report["state"] != PUBLISHED:
            error = report["error"] or {}
            if report["state"] != DIFFERS and error.get("code") not in (Corrupt.code, Missing.code):
                raise Unavailable(
                    f"the restore did not come to its end: {error.get('message')}", asked=f"{source.name} as of {utc_text(at_us)}"
                )
            outcome.differences.append(f"{error.get('message')}: {error.get('found')}")
            return outcome
        restored = next((table for table in self._port.tables() if table.table_id == report["to_id"]), None)
        if restored is None:
            raise Unavailable("the restored table is gone: somebody dropped it", table=target)
        with drill.steps.step("compare"):
            await self._compare(drill, source, restored, at_us, outcome)
        return outcome

    async def _restored(self, drill: Drill, source: TableMeta, target: str, at_us: int) -> Report:
        """The report of the restore at its end. Raises Unavailable."""
        give_up_us = self._env.clock.boot_us() + RESTORE_MAX_US
        report: Report | None = await self._restores.start(source, target, RestoreTarget(at_us=at_us))
        while report is not None and report["state"] == RUNNING and self._env.clock.boot_us() < give_up_us:
            drill.go_on()
            await self._env.tasks.sleep(POLL_S)
            report = self._restores.status(target)
        if report is None or report["state"] == RUNNING:
            raise Unavailable("the restore has not come to its end", asked=target)
        return report

    async def _compare(self, drill: Drill, source: TableMeta, restored: TableMeta, at_us: int, outcome: DrillOutcome) -> None:
        targets = {info.lo: info for info in restored.partitions}
        lived, another, unasked = 0, 0, 0
        await self._contents.window(source)
        for info in source.partitions:
            expected = await self._contents.expected(source, info, at_us=at_us)
            try:
                copy = await self._contents.pinned(targets[info.lo].partition_id, drill.dice)
                live: Pinned | None = None
                try:
                    try:
                        live = await self._contents.pinned(info.partition_id, drill.dice)
                    except Unavailable:
                        unasked += 1
                    compared = await self._contents.compare(drill, expected, copy)
                    outcome.rows_compared += compared.rows
                    drill.differ(compared.differences)
                    if live is not None:
                        beside = await self._contents.compare_live(drill, expected, live)
                        lived += beside.rows
                        drill.differ(beside.differences)
                finally:
                    copy.release()
                    if live is not None:
                        live.release()
            finally:
                self._contents.discard(expected)
            another += int(expected.another)
        outcome.facts |= {
            "rows_live": lived,
            "partitions": len(source.partitions),
            "partitions_from_another_base": another,
            "partitions_without_live_copy": unasked,
        }

    # ------------------------------------------------------------------ afterwards

    async def sweep(self) -> int:
        """See Scenario."""
        left: Sequence[tuple[str, Report]] = sorted(self._port.jobs(NOTES).items())
        for key, note in left:
            await self._undo(key.removeprefix(NOTES), str(note.get("target")))
        return len(left)

    async def _undo(self, drill: str, target: str) -> None:
        """No scratch table, then no note of it. The name holds the drill's own id, and the table is the restore's: nobody else's can be meant. Raises Unavailable."""
        for left in reversed(range(TRIES_MAX)):
            try:
                if self._gone(target) or await self._taken_away(target):
                    return await self._port.save_job(NOTES + drill, None)
            except (Unavailable, Conflict) as error:
                if not left:
                    raise Unavailable(f"the scratch table {target} could not be dropped: {error}", table=target) from error
            await self._env.tasks.sleep(TRY_AGAIN_S)
        raise Unavailable(f"the scratch table {target} is still there", table=target)

    def _gone(self, target: str) -> bool:
        report = self._restores.status(target)
        pending = report is not None and report["state"] in (RUNNING, "failed", DIFFERS)
        return not pending and self._table(target) is None

    def _table(self, target: str) -> TableMeta | None:
        """The scratch table as long as it is no dropped one."""
        return next(
            (one for one in self._port.tables() if one.name == target and one.dropped_at is None and one.status != "DELETING"), None
        )

    async def _taken_away(self, target: str) -> bool:
        """One try. False: look again. Raises Unavailable, Conflict."""
        report = self._restores.status(target)
        if report is not None and report["state"] in (RUNNING, "failed", DIFFERS):
            await self._restores.cancel(target)
            return True
        table = self._table(target)
        if table is None or table.restore_of is None:
            return True
        await self._drop(target)
        return False
