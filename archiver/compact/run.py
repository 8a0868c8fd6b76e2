"""Carrying a plan of compaction out, one partition after the other.

Look and plan; make each pack out of its parts, proven; put the object, then its manifest; look again, as everybody does; read each pack back as it lies in the store, every record of it,
against its manifest, and of two archives either has it; and only then delete what it took the place of, manifests first. A run that is cut off anywhere leaves every record in an
object that counts, and the next goes on: what it finds made it compares and uses, what it finds replaced it proves anew and deletes.

Two that do the same make the same pack, whoever is first. What one of them deletes the other does not miss: it is in a pack that both have proven.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from scrubjay.archiver.compact.make import ANEW_JOB, MAKE_JOB, Made, from_job, make_pack, pack_anew
from scrubjay.archiver.compact.plan import LEFT, Nameless, PackedPlace, PackPlan, plan_packs
from scrubjay.archiver.compact.report import PackOutcome, PackReport
from scrubjay.archiver.expire.deleting import BATCH, delete_some
from scrubjay.archiver.expire.locks import LockBook
from scrubjay.archiver.expire.plan import Held, Locks
from scrubjay.archiver.format.fault import Fault, fault_of
from scrubjay.archiver.format.layout import SegmentKey, build, parse
from scrubjay.archiver.format.manifest import (
    PackManifest,
    PartManifest,
    Sums,
    Superseded,
    decode_directory,
    decode_manifest,
    encode_manifest,
)
from scrubjay.archiver.format.segment import decode_segment
from scrubjay.archiver.read.check import SegmentToCheck
from scrubjay.archiver.read.index import ArchiveIndex, KnownArchived
from scrubjay.archiver.read.names import Names, names_of
from scrubjay.archiver.read.objects import fetch_manifest, open_segment, pack_by_itself
from scrubjay.archiver.read.partition import PartitionIndex
from scrubjay.archiver.read.replaced import Replaced
from scrubjay.archiver.read.rows import SegmentRow, objects_of
from scrubjay.archiver.verify.jobs import run_check
from scrubjay.archiver.write.writer import Writer
from scrubjay.base.env import Disk, Env, Jobs, ObjectStore
from scrubjay.base.errors import FORGED, Corrupt, Exists, Fenced, Missing, ScrubjayError, Unavailable

GENERATIONS_MAX = 8
NODE = "compact"
"""Who wrote it, in a pack's manifest."""
Assure = Callable[[Sequence[str]], Awaitable[None]]


async def one_archive(keys: Sequence[str]) -> None:
    """What was read is all there is."""


@dataclass(frozen=True, slots=True)
class CompactParts:
    """What a run is given. jobs None: everything inline. locks: of the store, as far as is known. forget: told of keys that are gone. assure: of two archives, that either has
    these objects, the same; raises Unavailable, Corrupt."""

    env: Env
    store: ObjectStore
    disk: Disk
    jobs: Jobs | None
    index: ArchiveIndex
    writer: Writer
    locks: LockBook
    archived: Callable[[], Sequence[KnownArchived]]
    forget: Callable[[Sequence[str]], Awaitable[None]]
    progress: Callable[[dict[str, object]], None]
    assure: Assure = one_archive


class _Spoilt(NamedTuple):
    """Why a generation of a pack that is there is not the one to be made."""

    object: str
    kind: str
    reason: str


class Compactor:
    """One run, or one plan. stop(bytes read): why a run must end in front of its next pack, None: it goes on."""

    def __init__(self, parts: CompactParts, *, stop: Callable[[int], str | None] | None = None) -> None:
        self._parts = parts
        self._store, self._index, self._writer = parts.store, parts.index, parts.writer
        self._stop = stop
        self._read = 0

    async def plan(self, places: Sequence[PackedPlace]) -> PackReport:
        """Changes nothing. Raises Unavailable."""
        report = PackReport(self._now(), ran=False)
        for one in places:
            report.outcomes.append(PackOutcome((await self._look(one))[0]))
        return report

    async def run(self, places: Sequence[PackedPlace]) -> PackReport:
        """Pack what may be packed. A partition that fails does not keep the others; a store that does not answer ends the run. Raises Fenced, Unavailable."""
        _ = self._writer.attached
        report = PackReport(self._now(), ran=True)
        for number, one in enumerate(places):
            report.cut = self._ends()
            if report.cut is None:
                self._parts.progress({"phase": "compact", "done": number, "total": len(places), "unit": "partitions"})
                outcome = PackOutcome(PackPlan(one))
                report.outcomes.append(outcome)
                try:
                    report.cut = await self._one(outcome)
                except (Unavailable, Fenced) as error:
                    outcome.error = str(error)
                    report.left = tuple(places[number:])
                    break
                except ScrubjayError as error:
                    outcome.error = str(error)
            if report.cut is not None:
                report.left = tuple(places[number:])
                break
        report.bytes = self._read
        return report

    def _now(self) -> int:
        return self._parts.env.clock.wall_us()

    def _ends(self) -> str | None:
        return None if self._stop is None else self._stop(self._read)

    async def _look(self, place: PackedPlace) -> tuple[PackPlan, PartitionIndex]:
        """By a new look at everything that lies there. Raises Unavailable."""
        cluster = self._index.cluster
        archived = [one for one in self._parts.archived() if (one.table, one.partition) == (place.table, place.partition)]
        await self._index.refresh(now_us=self._now(), table=place.table, partition=place.partition, archived=archived)
        names: Names = await names_of(self._store, cluster, place.table, place.partition)
        index = self._index.partitions.get((place.table, place.partition)) or PartitionIndex(cluster, place.table, place.partition)
        over = self._index.covered_of(place.table, place.partition)
        locks = Locks(self._parts.locks, self._now()) if self._parts.locks.locks_us else None
        return plan_packs(place, index, names, now_us=self._now(), locks=locks, over=over), index

    async def _one(self, outcome: PackOutcome) -> str | None:
        """Why it ended early, None: it did not."""
        outcome.plan, _ = await self._look(outcome.plan.place)
        plan = outcome.plan
        if plan.nameless and plan.refused is None:
            for one in plan.nameless:
                if (why := self._ends()) is not None:
                    return why
                await self._name(one, outcome)
            plan, _ = await self._look(plan.place)
        # What an earlier run left goes first: where it cannot, no more is put beside it.
        why = await self._replace_all(plan, outcome)
        if why is not None or not plan.runs:
            return why
        if plan.replaced:
            plan, _ = await self._look(plan.place)
            if plan.replaced:
                outcome.held.append(Held(LEFT, build(plan.replaced[0].pack), "what it took the place of is still there: no more is packed"))
                return None
        for run in plan.runs:
            if (why := self._ends()) is not None:
                return why
            await self._make(run, outcome)
        plan, _ = await self._look(plan.place)
        return await self._replace_all(plan, outcome)

    async def _replace_all(self, plan: PackPlan, outcome: PackOutcome) -> str | None:
        if plan.refused is None:
            for one in plan.replaced:
                if (why := self._ends()) is not None:
                    return why
                await self._replace(one, outcome)
        return None

    # --- a pack is made ---

    async def _make(self, run: Sequence[SegmentRow], outcome: PackOutcome) -> None:
        """Put the pack of these segments, object and manifest. What is bad is told of, and nothing is put. Raises Unavailable, Fenced."""
        place = outcome.plan.place
        keys = objects_of(run, self._index.cluster, place.table, place.partition)
        if await self._generations(MAKE_JOB, keys, 1, (), (run[0].chain_before, run[-1].chain), outcome):
            outcome.packs += 1
            outcome.packed += len(run)

    async def _generations(
        self,
        job: str,
        keys: Sequence[SegmentKey],
        first: int,
        spoilt: tuple[Superseded, ...],
        chain: tuple[bytes, bytes] | None,
        outcome: PackOutcome,
    ) -> bool:
        """Put a pack, from generation `first` on the next that can be put. keys: what it is made of. chain: in front of it and behind, as it was looked at; None: it was
        not. False: what it is made of is bad, and was told of. Raises Unavailable, Fenced, Corrupt if no generation is left."""
        for generation in range(first, GENERATIONS_MAX + 1):
            try:
                made = await self._made(job, keys, generation, spoilt)
            except (Corrupt, Missing) as error:
                self._found(fault_of(error), outcome)
                return False
            if chain is not None and (made.manifest.chain_before, made.manifest.chain) != chain:
                self._found(
                    Fault(FORGED, build(keys[0].twin()), keys[0].first, "the manifests say other things than when they were read first"),
                    outcome,
                )
                return False
            self._read += len(made.data)
            bad = await self._put(made)
            if bad is None:
                return True
            self._found(Fault(bad.kind, bad.object, keys[0].first, bad.reason), outcome)
            spoilt = (*spoilt, Superseded(generation, bad.reason))
        raise Corrupt("every generation of this pack has a bad object", what="segment", where=build(keys[0]))

    async def _name(self, one: Nameless, outcome: PackOutcome) -> None:
        """Write the manifest of a pack anew, out of the pack, every record of which was proven first. A bad one is evidence and stays: the pack's next generation takes its place.
        Raises Unavailable, Fenced."""
        if one.bad is not None:
            spoilt = (Superseded(one.pack.generation, one.bad),)
            outcome.named += await self._generations(ANEW_JOB, [one.pack], one.pack.generation + 1, spoilt, None, outcome)
            return
        found = await pack_by_itself(self._store, one.pack)
        if found is None:
            return  # gone or bad by now: whoever looks next says so
        faults = await run_check(
            self._store, self._parts.disk, self._parts.jobs, what="segments", segments=[SegmentToCheck(found, 0)], deep=True
        )
        for fault in faults:
            self._found(fault, outcome)
        if faults:
            return
        self._read += found.stored.size
        await self._writer.assure(self._store)
        with suppress(Exists):  # somebody has put it back: it is looked at as what it is
            await self._store.put(build(one.pack.twin()), encode_manifest(found))
        outcome.named += 1

    def _found(self, fault: Fault, outcome: PackOutcome) -> None:
        self._index.distrust([fault.object], kind=fault.kind, detail=fault.detail)
        outcome.faults.append(fault)

    async def _made(self, job: str, keys: Sequence[SegmentKey], generation: int, spoilt: tuple[Superseded, ...]) -> Made:
        who = self._writer.attached
        if self._parts.jobs is None:
            if job == ANEW_JOB:
                return await pack_anew(self._store, keys[0], writer=who, node=NODE, generation=generation, supersedes=spoilt)
            return await make_pack(self._store, keys, writer=who, node=NODE, generation=generation, supersedes=spoilt)
        arguments = {
            "url": self._store.url,
            "keys": [build(key) for key in keys],
            "writer": [who.cluster, who.epoch, who.owner],
            "node": NODE,
            "generation": generation,
            "supersedes": [[one.generation, one.reason] for one in spoilt],
        }
        return from_job(await self._parts.jobs.run(job, arguments))

    async def _put(self, made: Made) -> _Spoilt | None:
        """Object, then manifest. What is there already is used if it says the same of the same parts. Raises Unavailable, Fenced."""
        await self._writer.assure(self._store)
        key, manifest = made.manifest.own_key(), made.manifest
        where, told = build(key), build(key.twin())
        try:
            await self._store.put(where, made.data)
        except Exists:
            there = await self._there(where, made.manifest)
            if isinstance(there, _Spoilt):
                return there
            manifest = there
        try:
            await self._store.put(told, encode_manifest(manifest))
        except Exists:
            try:
                said = decode_manifest(await self._store.get(told), where=told)
            except Missing as error:
                raise Unavailable("an object was refused as existing, but it is not there", key=told) from error
            except Corrupt as error:
                return _Spoilt(told, error.kind, str(error))
            if not isinstance(said, PackManifest) or _parts_of(said) != _parts_of(manifest) or said.stored != manifest.stored:
                return _Spoilt(told, FORGED, "the manifest says something else")
        return None

    async def _there(self, where: str, wanted: PackManifest) -> PackManifest | _Spoilt:
        """The manifest of the object that is there, by what it says of itself: another's, or one put before by us, compressed otherwise."""
        try:
            data = await self._store.get(where)
            found = decode_directory(decode_segment(data, where=where).directory, stored=Sums.of(data), where=where)
            open_segment(found, data)
        except Missing as error:
            raise Unavailable("an object was refused as existing, but it is not there", key=where) from error
        except Corrupt as error:
            return _Spoilt(where, error.kind, str(error))
        if _parts_of(found) != _parts_of(wanted):
            return _Spoilt(where, FORGED, "the pack says something else of its parts")
        return found

    # --- and takes the place of its parts ---

    async def _replace(self, one: Replaced, outcome: PackOutcome) -> None:
        """Delete what the pack took the place of, if it is as it should be, there, now. Raises Unavailable, Fenced."""
        faults, manifest = await self._proven(one)
        for fault in faults:
            self._found(fault, outcome)
        if faults or manifest is None:
            return
        try:
            await self._parts.assure([build(one.pack), build(one.pack.twin())])
        except Corrupt as error:
            outcome.held.append(Held(LEFT, build(one.pack), f"what it took the place of stays: {error}"))
            return
        held = {(part.first, part.last, part.raw.sha256[:16]) for part in manifest.parts}
        plan, index = await self._look(outcome.plan.place)
        again = next((other for other in plan.replaced if other.pack == one.pack), None)
        if again is None or plan.refused is not None or not index.rows.has(one.pack):
            return
        objects = [(name, size) for name, size in again.objects if (name, size) in one.objects and _ident(name) in held]
        sizes = dict(objects)
        # Manifests all before the first of what they describe.
        manifests = [name for name, _ in objects if name.endswith(".json")]
        bodies = [name for name, _ in objects if not name.endswith(".json")]
        for some in (manifests, bodies):
            for start in range(0, len(some), BATCH):
                await self._writer.assure(self._store)
                _ = self._writer.attached
                gone = await delete_some(
                    self._store, self._parts.env.tasks, self._index, some[start : start + BATCH], outcome.held, self._parts.forget,
                    note=self._parts.locks.note if self._parts.locks.locks_us else None,
                )  # fmt: skip
                outcome.deleted += len(gone)
                outcome.freed += sum(sizes[name] for name in gone)
                self._parts.progress({"phase": "delete", "done": outcome.deleted, "total": len(objects), "unit": "objects"})

    async def _proven(self, one: Replaced) -> tuple[list[Fault], PackManifest | None]:
        """What is wrong with the pack as it lies there: its manifest, every byte of its object, every record of every part."""
        try:
            manifest = await fetch_manifest(self._store, one.pack)
        except (Corrupt, Missing) as error:
            return [fault_of(error, where=build(one.pack.twin()), lsn=one.pack.first)], None
        if not isinstance(manifest, PackManifest):
            return [Fault(FORGED, build(one.pack.twin()), one.pack.first, "it is no pack")], None
        self._read += manifest.stored.size
        segments = [SegmentToCheck(manifest, 0)]
        faults = await run_check(self._store, self._parts.disk, self._parts.jobs, what="segments", segments=segments, deep=True)
        return faults, manifest


def _parts_of(pack: PackManifest) -> list[tuple[object, ...]]:
    """What two honest writers say alike: every part with its chain, and so every fact of it."""
    return [_facts(part) for part in pack.parts]


def _facts(part: PartManifest) -> tuple[object, ...]:
    return part.first, part.last, part.raw, part.total, part.chain, part.epoch, part.owner, part.members


def _ident(name: str) -> tuple[int, int, str]:
    key = parse(name)
    assert isinstance(key, SegmentKey), "a plan took it out of a log"
    return key.first, key.last, key.sha16
