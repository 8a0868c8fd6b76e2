"""Drills on a cluster of their own: a job in a process of its own makes it below `tmp/drills/`, harms it and says what it found. Nothing live is touched.

The job's folder is the note of it: every start empties `tmp/`, every drill sweeps, and the job's process and all that it started die with this one.
What a job answers is `answer_of`; jobs are `async def job(context, arguments)` as for any worker (base.env.Jobs), with folder (absolute), seed and faults among the arguments.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from scrubjay.base.env import Disk, Env, Jobs
from scrubjay.base.errors import ScrubjayError, Unavailable
from scrubjay.drills.contents import FOLDER, SPARE_BYTES
from scrubjay.drills.report import DrillOutcome
from scrubjay.drills.scenario import Drill, DrillStep

ROOM_BYTES = 1 << 30
"""What a cluster of a few thousand items takes, with its logs preallocated, its copy and its archive."""
TRIES_MAX = 20
TRY_AGAIN_S = 0.25
_NUMBERS = ("rto_seconds", "rpo_seconds", "predicted_seconds")


class ScratchPlace:
    """Where jobs of drills work, and how. own: runs each in a process of its own, and ends that afterwards. disk: rooted at the data folder; root: its path."""

    def __init__(self, env: Env, own: Jobs, disk: Disk, *, root: str) -> None:
        self._env, self._own, self._disk, self._root = env, own, disk, root

    def place(self, drill: Drill, name: str) -> str:
        """Path of a drill's folder below the data folder, made now."""
        place = f"{FOLDER}/{name}-{drill.id}"
        self._disk.mkdir(place)
        return place

    def check_room(self, needed: int) -> None:
        """Raises Unavailable."""
        free = self._disk.free_bytes()
        if needed + SPARE_BYTES > free:
            raise Unavailable("there is no room for a scratch cluster", needed_bytes=needed + SPARE_BYTES, free_bytes=free)

    async def run(self, drill: Drill, job: str, place: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The job's answer, merged into the drill's outcome. Raises Unavailable: it could not be carried out, what it had found is in the outcome; CutOff."""

        def told(facts: dict[str, Any]) -> None:
            drill.go_on()
            drill.steps.told(facts)

        asked = {"folder": f"{self._root}/{place}", "seed": drill.seed, "faults": drill.faults, **arguments}
        answer = await self._own.run(job, asked, progress=told)
        merge(drill, answer)
        if answer["error"] is not None:
            raise Unavailable(str(answer["error"]))
        return answer

    async def remove(self, place: str) -> None:
        """Its processes die with the job's, but not before it: what they still write is waited for. What stays all the same goes with the next sweep."""
        for _ in range(TRIES_MAX):
            with suppress(ScrubjayError):
                self._disk.remove_tree(place)
                return
            await self._env.tasks.sleep(TRY_AGAIN_S)

    def sweep(self, name: str) -> int:
        """Folders of that scenario which a drill that was killed has left; how many. Raises Unavailable."""
        left = [one for one in self._disk.listdir(FOLDER) if one.startswith(f"{name}-")]
        for one in left:
            self._disk.remove_tree(f"{FOLDER}/{one}")
        return len(left)


def answer_of(outcome: DrillOutcome, steps: list[DrillStep], error: str | None) -> dict[str, Any]:
    """What a job says. error: why it did not come to its end. Pure."""
    numbers = {name: getattr(outcome, name) for name in _NUMBERS}
    counts = {name: getattr(outcome, name) for name in ("rows_compared", "planted", "detected")}
    return {
        **numbers,
        **counts,
        "differences": outcome.differences,
        "facts": outcome.facts,
        "steps": [list(one) for one in steps],
        "error": error,
    }


def merge(drill: Drill, answer: Mapping[str, Any]) -> None:
    outcome = drill.outcome
    for name in _NUMBERS:
        if answer[name] is not None:
            setattr(outcome, name, answer[name])
    outcome.rows_compared += answer["rows_compared"]
    outcome.planted += answer["planted"]
    outcome.detected += answer["detected"]
    drill.differ(answer["differences"])
    outcome.facts |= answer["facts"]
    drill.steps.done.extend(DrillStep(*one) for one in answer["steps"])


class ScratchScenario:
    """One that needs nothing of the live cluster. job: its name for `base.env.Jobs`."""

    def __init__(self, place: ScratchPlace, *, name: str, summary: str, job: str) -> None:
        self.name, self.summary = name, summary
        self._place, self._job = place, job

    async def due(self) -> bool:
        """See Scenario."""
        return True

    async def run(self, drill: Drill) -> DrillOutcome:
        """See Scenario."""
        drill.outcome.tables = []
        self._place.check_room(ROOM_BYTES)
        place = self._place.place(drill, self.name)
        try:
            await self._place.run(drill, self._job, place, {})
        finally:
            await self._place.remove(place)
        return drill.outcome

    async def sweep(self) -> int:
        """See Scenario."""
        return self._place.sweep(self.name)
