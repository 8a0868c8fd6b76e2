"""`rot`: in a copy of the archive, objects of each kind rot by one bit, one after another; verify must name each, and nothing before it was planted. Then the trees and the
logs of a scratch cluster rot (the job `replicas`), and the scrub and the recovery of the log must say so.

What it leaves when it is killed: a folder below `tmp/`, which every start empties and every drill sweeps. The archive itself is only read.
"""

from __future__ import annotations

from collections.abc import Callable

from scrubjay.archiver.format.layout import BaseKey, ClosedKey, SegmentKey, is_of_base, parse
from scrubjay.archiver.read.names import list_all
from scrubjay.archiver.verify.report import VerifyOptions, VerifyReport
from scrubjay.archiver.verify.run import verify
from scrubjay.base.env import Disk, Env, Jobs, ObjectStore
from scrubjay.base.errors import Missing, Unavailable
from scrubjay.drills.contents import FOLDER, SPARE_BYTES
from scrubjay.drills.damage import flip_object
from scrubjay.drills.report import DrillOutcome
from scrubjay.drills.scenario import DIFFERENCES_MAX, Drill
from scrubjay.drills.scratch import ROOM_BYTES, ScratchPlace

KINDS = ("segment", "manifest", "base", "closed")
COPY_BYTES_MAX = 1 << 30
"""A larger archive is not copied."""
_PREFIX = "rot-"


class Replicas:
    """Rot in a cluster of its own. job: its name (drills.scratch)."""

    def __init__(self, place: ScratchPlace, job: str) -> None:
        self._place, self._job = place, job

    async def rot(self, drill: Drill) -> None:
        """Raises Unavailable, CutOff."""
        self._place.check_room(ROOM_BYTES)
        place = self._place.place(drill, _PREFIX.rstrip("-"))
        try:
            await self._place.run(drill, self._job, place, {})
        finally:
            await self._place.remove(place)


class Rot:
    """replicas: where trees and logs rot, None: they do not. store: of the archive. copies: a store in a folder of `disk`, which is rooted at the data folder. level: of the verify that must find what is planted."""

    name = "rot"
    summary = "let objects of each kind rot in a copy of the archive, and trees and logs of a scratch cluster; each must be found"

    def __init__(
        self,
        env: Env,
        store: ObjectStore,
        copies: Callable[[str], ObjectStore],
        jobs: Jobs,
        disk: Disk,
        *,
        cluster: str,
        ahead_us: int,
        level: str = "records",
        replicas: Replicas | None = None,
    ) -> None:
        self._env, self._store, self._copies, self._jobs, self._disk = env, store, copies, jobs, disk
        self._cluster, self._ahead_us, self._level = cluster, ahead_us, level
        self._replicas = replicas

    async def due(self) -> bool:
        """See Scenario."""
        return bool(await list_all(self._store, f"{self._cluster}/"))

    async def run(self, drill: Drill) -> DrillOutcome:
        """See Scenario. The copy is of the whole cluster: --table does not narrow it."""
        place = f"{FOLDER}/{_PREFIX}{drill.id}"
        outcome = drill.outcome
        outcome.tables = []
        try:
            with drill.steps.step("copy"):
                copy = self._copies(place)
                sizes = await self._copied(copy, place)
            outcome.facts = {"objects": len(sizes), "bytes": sum(sizes.values()), "found_seconds": {}, "not_there": [], "false_alarms": 0}
            with drill.steps.step("verify"):
                clean = await self._verify(copy, place)
            if clean.verdict != "match":
                outcome.differences += [f"the copy, before anything was planted: {one.kind} {one.object}" for one in clean.findings]
                outcome.differences = outcome.differences[:DIFFERENCES_MAX]
                if not outcome.differences:
                    raise Unavailable(f"the copy could not be verified: {clean.reason}")
                return outcome
            for kind in KINDS:
                with drill.steps.step(f"rot of a {kind}"):
                    keys = sorted(key for key in sizes if kind_of(key) == kind)
                    for number in range((drill.faults or 1) if keys else 0):
                        drill.go_on()
                        drill.steps.told({"phase": f"rot of a {kind}", "done": number, "total": drill.faults or 1})
                        await self._one(drill, copy, place, kind, keys, outcome)
                    if not keys:
                        outcome.facts["not_there"].append(kind)
            with drill.steps.step("verify what was put right"):
                outcome.facts["false_alarms"] = len((await self._verify(copy, place)).findings)
            if outcome.facts["false_alarms"]:
                drill.differ([f"{outcome.facts['false_alarms']} findings in a copy in which everything was put right again"])
        finally:
            self._disk.remove_tree(place)
        if self._replicas is not None:
            await self._replicas.rot(drill)
        return outcome

    async def _copied(self, copy: ObjectStore, place: str) -> dict[str, int]:
        """Keys and sizes of what was copied. Closed objects come before the logs they tell of, as names sort: what they name is there. Raises Unavailable."""
        found = await list_all(self._store, f"{self._cluster}/")
        size = sum(found.values())
        if size > min(COPY_BYTES_MAX, self._disk.free_bytes() - SPARE_BYTES):
            raise Unavailable("there is no room for a copy of the archive", asked=f"{size} bytes", found=f"at most {COPY_BYTES_MAX}")
        self._disk.mkdir(place)
        copied: dict[str, int] = {}
        for key in found:
            try:
                data = await self._store.get(key)
            except Missing:
                if await self._store.head(key) is not None:
                    raise
                continue  # retention took it away meanwhile
            await copy.put(key, data)
            copied[key] = len(data)
        return copied

    async def _verify(self, copy: ObjectStore, place: str) -> VerifyReport:
        return await verify(
            copy,
            self._disk,
            options=VerifyOptions(level=self._level, cluster=self._cluster, wall_us=self._env.clock.wall_us, ahead_us=self._ahead_us),
            now_us=self._env.clock.boot_us,
            work=f"{place}.work",
            jobs=self._jobs,
            tasks=self._env.tasks,
        )

    async def _one(self, drill: Drill, copy: ObjectStore, place: str, kind: str, keys: list[str], outcome: DrillOutcome) -> None:
        """Plant, look, put right again."""
        key = keys[drill.dice.below(len(keys))]
        sound = await flip_object(copy, key, drill.dice.below)
        began_us = self._env.clock.boot_us()
        found = await self._verify(copy, place)
        outcome.planted += 1  # not before: where verify could not look, nothing was missed
        longest = outcome.facts["found_seconds"].get(kind, 0.0)
        outcome.facts["found_seconds"][kind] = max(longest, round((self._env.clock.boot_us() - began_us) / 1e6, 3))
        if any(_names(one.object, key) for one in found.findings):
            outcome.detected += 1
        else:
            drill.differ([f"one flipped bit in the {kind} {key} was not found"])
        await copy.delete(key)
        await copy.put(key, sound)

    async def sweep(self) -> int:
        """See Scenario."""
        left = [name for name in self._disk.listdir(FOLDER) if name.startswith(_PREFIX)]
        for name in left:
            self._disk.remove_tree(f"{FOLDER}/{name}")
        return len(left)


def kind_of(name: str) -> str | None:
    """Of KINDS; None: none of them. Pure."""
    key = parse(name)
    if isinstance(key, SegmentKey):
        return "manifest" if key.manifest else "segment"
    if isinstance(key, BaseKey):
        return "base" if key.part is not None else None
    return "closed" if isinstance(key, ClosedKey) else None


def _names(found: str | None, key: str) -> bool:
    """A finding is about that object; of a base, about any part of it."""
    base = parse(key)
    return found is not None and (found == key or (isinstance(base, BaseKey) and is_of_base(found, base)))
