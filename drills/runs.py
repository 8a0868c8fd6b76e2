"""Drills as a server runs them: one at a time, each with a report that is signed and kept, and what has become worse."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from scrubjay.base.env import Env, Task
from scrubjay.base.errors import Corrupt, Invalid, Missing, ScrubjayError, Unavailable
from scrubjay.base.gate import Gate
from scrubjay.base.latency import Latency
from scrubjay.base.times import utc_text
from scrubjay.drills.kept import DrillBook
from scrubjay.drills.regression import key_trouble, worse
from scrubjay.drills.report import EXITS, FORMAT, MISMATCH, UNVERIFIED, VERSION, DrillOutcome, DrillSigner
from scrubjay.drills.scenario import CutOff, Dice, Drill, Progress, Scenario, Steps, Stop, go_on
from scrubjay.pitr.job import error_json
from scrubjay.scrubber.schedule.settings import DAY_US, JobSettings
from scrubjay.scrubber.schedule.views import NightJob, Shift, ShiftOutcome
from scrubjay.server.problems import DrillHealth
from scrubjay.storage.catalogue import TableMeta

Report = dict[str, Any]
Log = Callable[[str], None]
WEEKLY = JobSettings(cron="0 6 * * sun", within_us=15 * DAY_US)
"""Until it is set: once a week, and one that was missed is no alarm yet."""
NOTHING_DUE = "nothing_due"
CUT_OFF = "cut_off"
UNDER_WAY = "another_drill"
"""Why a drill of the schedule did not begin."""
SWEEP_AGAIN_S = 5.0
SWEEPS_MAX = 60
"""Tries after a start, while nobody leads yet, and after a drill that did not come to its end; after that the next drill sweeps."""


class Drills:
    """facts: of this cluster and program, into every report. scenarios: in the order in which they are listed. live: names of the tables that are there."""

    def __init__(
        self,
        env: Env,
        book: DrillBook,
        signer: DrillSigner,
        scenarios: Sequence[Scenario],
        *,
        facts: Mapping[str, Any],
        live: Callable[[], Collection[str]],
        log: Log,
    ) -> None:
        self._env, self._book, self._signer, self._log = env, book, signer, log
        self._scenarios = {one.name: one for one in scenarios}
        self._facts, self._live = dict(facts), live
        self._gate = Gate(env.tasks)
        self.ended: dict[str, int] = {}
        """Drills since the start, by verdict; cut off is what was to end before its end."""
        self.took = Latency()
        self._task: Task[None] | None = None

    # ------------------------------------------------------------------ life

    def start(self) -> None:
        """Sweep what an earlier life of this process left behind."""
        self._sweep_soon()

    def _sweep_soon(self) -> None:
        """Once whoever drills now is done; again and again, where something cannot be taken away yet."""
        if self._task is None or self._task.done():
            self._task = self._env.tasks.spawn(self._swept(), name="drill sweep")

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _swept(self) -> None:
        for _ in range(SWEEPS_MAX):
            try:
                async with self._gate:
                    await self._sweep()
            except ScrubjayError as error:
                self._log(f"what a drill left behind is still there: {error}")
                await self._env.tasks.sleep(SWEEP_AGAIN_S)
            else:
                return

    async def _sweep(self) -> None:
        for scenario in self._scenarios.values():
            swept = await scenario.sweep()
            if swept:
                self._log(f"swept what {swept} interrupted drills {scenario.name} left behind")

    # ------------------------------------------------------------------ verbs

    def listed(self) -> Report:
        """`drill list`."""
        last = {one["scenario"]: one for one in self.last()}
        return {
            "exit": 0,
            "error": None,
            "public_key": self._signer.public_key,
            "scenarios": [
                {
                    "scenario": scenario.name,
                    "summary": scenario.summary,
                    "runs": sum(one["scenario"] == scenario.name for one in self._book.all()),
                    "last": None if scenario.name not in last else _short(last[scenario.name]),
                }
                for scenario in self._scenarios.values()
            ],
            "damaged": [{"report": name, "detail": error.message} for name, error in self._book.damaged.items()],
        }

    def last(self) -> list[Report]:
        """The newest kept report of each scenario."""
        return list({one["scenario"]: one for one in self._book.all()}.values())

    def report(self, drill: str | None) -> tuple[Report, list[Report]]:
        """A kept report, None: the newest; and all of its scenario up to it, oldest first. Raises Unavailable (ResourceNotFound), Corrupt (it is not as it was signed)."""
        found = self._book.find(drill)
        if found is None:
            what = "no such drill" if drill else "no drill has been run yet"
            raise Unavailable(what, error_code="ResourceNotFound", asked=drill, next="scrubjay drill list")
        runs = [one for one in self._book.all() if one["scenario"] == found["scenario"]]
        return found, runs[: runs.index(found) + 1]

    async def run(
        self,
        name: str,
        *,
        tables: Sequence[TableMeta] = (),
        seed: int | None = None,
        faults: int | None = None,
        progress: Progress,
        stop: Stop = go_on,
        by_itself: bool = False,
    ) -> Report:
        """One drill, to its report; a second caller waits until the first is done. seed None: one that was not used. stop, faults: see Drill. Raises Invalid (no such
        scenario), CutOff: it was to end before its end, and had found nothing: that is worth no report; nor is, where nobody asked (by_itself), that there was nothing to compare."""
        scenario = self._scenarios.get(name)
        if scenario is None:
            raise Invalid("no such drill", asked=name, found=", ".join(self._scenarios), next="scrubjay drill list")
        async with self._gate:
            began_us, boot_us = self._env.clock.wall_us(), self._env.clock.boot_us()
            seed = self._env.rand.u64() >> 12 if seed is None else seed
            steps = Steps(self._env.clock, progress)
            outcome = DrillOutcome([table.name for table in tables])
            drill = Drill(self._env.rand.uuid(), seed, tables, steps, Dice(seed), outcome, stop, faults)
            error: ScrubjayError | None = None
            try:
                with steps.step("sweep"):
                    await self._sweep()
                outcome = await scenario.run(drill)
            except CutOff as cut:
                self._sweep_soon()
                if not outcome.differences:
                    self._log(f"drill {name} was cut off: {cut.fields['why']}")
                    self._over(CUT_OFF, boot_us)
                    raise
                error = cut
            except ScrubjayError as failed:
                self._sweep_soon()  # what it could not take away itself does not stay until the next drill
                error = failed
            wrong = outcome.differences or isinstance(error, (Corrupt, Missing))
            verdict = outcome.verdict if error is None else MISMATCH if wrong else UNVERIFIED
            if by_itself and error is None and verdict == UNVERIFIED:
                raise CutOff("there was nothing to compare", why=NOTHING_DUE)
            report = self._signer.signed(
                {
                    "format": FORMAT,
                    "version": VERSION,
                    "id": drill.id,
                    "scenario": name,
                    "seed": seed,
                    "started": utc_text(began_us),
                    "seconds": round((self._env.clock.boot_us() - boot_us) / 1e6, 3),
                    "verdict": verdict,
                    "tables": outcome.tables,
                    "rto_seconds": outcome.rto_seconds,
                    "rpo_seconds": outcome.rpo_seconds,
                    "predicted_seconds": None if outcome.predicted_seconds is None else round(outcome.predicted_seconds, 3),
                    "rows_compared": outcome.rows_compared,
                    "planted": outcome.planted,
                    "detected": outcome.detected,
                    "differences": outcome.differences,
                    "facts": outcome.facts,
                    "steps": [step._asdict() for step in steps.done],
                    "error": None if error is None else error_json(error, asked=f"drill {name}", next_step="runbooks/drill-failed.md"),
                    **self._facts,
                }
            )
            self._over(verdict, boot_us)
            self._book.keep(report, began_us=began_us)
        self._log(f"drill {name} ended with {verdict}: {outcome.rows_compared} items compared, seed {seed}, report {drill.id}")
        return {**report, "exit": EXITS[verdict]}

    def _over(self, verdict: str, began_us: int) -> None:
        """Count it. began_us: on the boot clock."""
        self.ended[verdict] = self.ended.get(verdict, 0) + 1
        self.took.took(self._env.clock.boot_us() - began_us)

    def weekly(self, name: str) -> NightJob:
        """The drill as a job of the schedule. A cluster without anything to rehearse it on has no report, and is no alarm."""

        async def work(shift: Shift) -> ShiftOutcome:
            why = shift.stop(0)
            if why is not None:
                return ShiftOutcome(UNVERIFIED, 0, 1, why)
            if not self._gate.free:  # by hand, and it may take hours: the other jobs of the night do not wait for that
                return ShiftOutcome(UNVERIFIED, 0, 1, UNDER_WAY, again=True)
            if not await self._scenarios[name].due():
                return ShiftOutcome(NOTHING_DUE, 0, 0)
            try:
                report = await self.run(name, progress=lambda _facts: None, stop=lambda: shift.stop(0), by_itself=True)
            except CutOff as cut:
                if cut.fields["why"] == NOTHING_DUE:
                    return ShiftOutcome(NOTHING_DUE, 0, 0)
                return ShiftOutcome(UNVERIFIED, 0, 1, str(cut.fields["why"]))
            error = (report["error"] or {}).get("message")
            return ShiftOutcome(str(report["verdict"]), 1, 0, error, again=report["verdict"] == UNVERIFIED)

        return NightJob(f"drill:{name}", WEEKLY, work)

    # ------------------------------------------------------------------ health

    @property
    def public_key(self) -> str | None:
        return self._signer.public_key

    def worse(self) -> list[DrillHealth]:
        """What a person should know, of each scenario."""
        return worse(self._book.all(), live=self._live())

    def key_trouble(self) -> str | None:
        """What is wrong with the key that signs reports, None: nothing."""
        return key_trouble(self._book.all(), self.public_key)


def _short(report: Mapping[str, Any]) -> Report:
    return {
        name: report[name] for name in ("id", "started", "verdict", "rto_seconds", "rpo_seconds", "rows_compared", "planted", "detected")
    }
