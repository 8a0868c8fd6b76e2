"""`rot`: in a copy of the archive, objects of each kind rot by one bit, one after another; verify must name each, and nothing before it was planted. Then the trees and the
logs of a scratch cluster rot (the job `replicas`), and the scrub and the recovery of the log must say so.

What it leaves when it is killed: a folder below `tmp/`, which every start empties and every drill sweeps. The archive itself is only read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from scrubjay.archiver.format.layout import BaseKey, ClosedKey, SegmentKey, is_of_base, parse
from scrubjay.archiver.read.names import list_all
from scrubjay.archiver.verify.report import ArchiveFinding, VerifyOptions, VerifyReport
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
OBJECT_HERE_BYTES_MAX = 64 << 10
"""A copy of no larger object than this is verified in this process: what a worker would be sent for each object takes ten times as long as the object, and a thousand
faults of each kind are as many verifies."""
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


class Looked(NamedTuple):
    """The copy that rots, where it lies, and who reads it: None, this process."""

    copy: ObjectStore
    place: str
    jobs: Jobs | None


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
            outcome.facts = {
                "objects": len(sizes),
                "bytes": sum(sizes.values()),
                "found_seconds": {},
                "found_of": {},
                "not_there": [],
                "false_alarms": 0,
            }
            here = max(sizes.values(), default=0) <= OBJECT_HERE_BYTES_MAX
            looked = Looked(copy, place, None if here else self._jobs)
            with drill.steps.step("verify"):
                clean = await self._verify(looked)
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
                        await self._one(drill, looked, kind, keys, outcome)
                    if not keys:
                        outcome.facts["not_there"].append(kind)
            with drill.steps.step("verify what was put right"):
                again = (await self._verify(looked)).findings
            outcome.facts["false_alarms"] += len(again)
            drill.differ([f"found in a copy in which everything was put right again: {one.kind} {one.object}" for one in again])
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

    async def _verify(self, looked: Looked) -> VerifyReport:
        return await verify(
            looked.copy,
            self._disk,
            options=VerifyOptions(level=self._level, cluster=self._cluster, wall_us=self._env.clock.wall_us, ahead_us=self._ahead_us),
            now_us=self._env.clock.boot_us,
            work=f"{looked.place}.work",
            jobs=looked.jobs,
            tasks=self._env.tasks,
        )

    async def _one(self, drill: Drill, looked: Looked, kind: str, keys: list[str], outcome: DrillOutcome) -> None:
        """Plant, look, put right again."""
        copy, key = looked.copy, keys[drill.dice.below(len(keys))]
        sound = await flip_object(copy, key, drill.dice.below)
        began_us = self._env.clock.boot_us()
        found = await self._verify(looked)
        outcome.planted += 1  # not before: where verify could not look, nothing was missed
        longest = outcome.facts["found_seconds"].get(kind, 0.0)
        outcome.facts["found_seconds"][kind] = max(longest, round((self._env.clock.boot_us() - began_us) / 1e6, 3))
        of_kind = outcome.facts["found_of"].setdefault(kind, {"planted": 0, "detected": 0})
        of_kind["planted"] += 1
        if any(_names(one.object, key) for one in found.findings):
            outcome.detected += 1
            of_kind["detected"] += 1
        else:
            drill.differ([f"one flipped bit in the {kind} {key} was not found"])
        astray = [one for one in found.findings if not _names(one.object, key) and not _beside(one, key)]
        outcome.facts["false_alarms"] += len(astray)
        drill.differ([f"one flipped bit in the {kind} {key}, and what is well was blamed: {one.kind} {one.object}" for one in astray])
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


def _beside(found: ArchiveFinding, key: str) -> bool:
    """It is about the partition of that object: what refers to rot is told too."""
    of = parse(key)
    return isinstance(of, SegmentKey | BaseKey) and (found.table, found.partition) == (of.table, of.partition)


def _names(found: str | None, key: str) -> bool:
    """A finding is about that object; of a base, about any part of it."""
    base = parse(key)
    return found is not None and (found == key or (isinstance(base, BaseKey) and is_of_base(found, base)))
