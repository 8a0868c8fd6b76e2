"""Compaction under faults: the day is over, small segments become packs while the store fails, listings lag and the machine that packs dies, again and again.

At the end everything must be packed, what is proven of the archive must be what it was, and a pack whose manifest was lost must have it again. Whoever judges a run behind it (scrub, verify, restore) reads
packs. The seeds in which it happens are of their own, so that no seed that something was found with becomes another.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scrubjay.archiver.facts import Span
from scrubjay.archiver.format.layout import build
from scrubjay.archiver.read.index import ArchiveIndex
from scrubjay.base.errors import ScrubjayError
from scrubjay.sim.rand import Stream
from scrubjay.sim.whole.cluster import CLUSTER, WholeCluster
from scrubjay.sim.world import World

PACKED, PACKED_FROM = 0.5, 4_000
"""In how many of the seeds, of those from PACKED_FROM on, small segments are packed before the run is judged."""
LATER_US = 2 * 86_400_000_000
"""The day in which everything was written is over."""
ROUNDS = 6
QUIET_TRIES = 8
PACK_S = 300.0


def draw_packing(seed: int, draw: Stream) -> Stream | None:
    """What packing of this seed draws from; None: nothing is packed."""
    return draw if seed >= PACKED_FROM and draw.chance(PACKED) else None


class Packing:
    """count: told of every fault and of what was done."""

    def __init__(self, world: World, cluster: WholeCluster, draw: Stream, count: Callable[[str], None]) -> None:
        self._world, self._cluster, self._draw, self._count = world, cluster, draw, count

    async def run(self) -> str:
        """What was broken; "" if everything held. Raises ScrubjayError where the quiet cluster cannot do what it must."""
        before = await self._proven()
        for host in self._world.hosts.values():
            host.clock.jump(LATER_US)
        for _ in range(ROUNDS):
            await self._round()
        self._cluster.archive.faults = type(self._cluster.archive.faults)()
        if (why := await self._whole("packing")) or (why := unproven_since(before, await self._proven())):
            return why
        lost = await self._lose_a_manifest()
        if lost is not None:
            if why := await self._whole("packing after a manifest was lost"):
                return why
            if lost not in self._cluster.archive.objects:
                return f"the manifest of a pack was lost and is not there again: {lost}"
        return unproven_since(before, await self._proven())

    async def _round(self) -> None:
        """A run of compaction that something happens to."""
        draw, cluster, faults = self._draw, self._cluster, self._cluster.archive.faults
        rate = draw.choice((0.0, 0.05, 0.15))
        faults.throttled = faults.timeout_after = faults.timeout_before = faults.short_body = rate
        faults.stale_us = draw.choice((0, 0, 3_000_000))
        if rate:
            self._count("packed while the store fails")
        if faults.stale_us:
            self._count("packed while listings lag")
        if draw.chance(0.6):
            self._world.after(draw.between(20, 4_000) * 1000, self._kill)
        if draw.chance(0.3):
            faults.down = True
            self._count("packed while the store is away")
            self._world.after(draw.between(100, 2_000) * 1000, self._back)
        await cluster.up()
        try:
            await self._pack()
        except ScrubjayError as error:
            self._world.note(f"packing was cut short: {error}")

    def _kill(self) -> None:
        control = self._cluster.control
        if control.up:
            self._count("killed while packing")
            control.crash(power=self._draw.chance(0.5))
            self._world.after(self._draw.between(20, 2_000) * 1000, self._start)

    def _start(self) -> None:
        if not self._cluster.control.up:
            self._cluster.control.start()

    def _back(self) -> None:
        self._cluster.archive.faults.down = False

    async def _pack(self, *, confirm: bool = True) -> dict[str, Any]:
        await self._cluster.up()
        work = self._cluster.durability.compact.compact(tables=None, confirm=confirm, progress=lambda _facts: None)
        report: dict[str, Any] = await self._cluster.ask(work, seconds=PACK_S)
        for what in ("made", "packed", "deleted", "named"):
            for _ in range(report["totals"][what]):
                self._count(f"packs: {what}")
        return report

    async def _whole(self, what: str) -> str:
        """Run until nothing is left to be packed, deleted or named; a quiet store lets it."""
        report: dict[str, Any] = {}
        for _ in range(QUIET_TRIES):
            try:
                report = await self._pack()
                left = (await self._pack(confirm=False))["totals"]
            except ScrubjayError as error:
                self._world.note(f"{what}: {error}")
                await self._cluster.env.tasks.sleep(1.0)
                continue
            if report["exit"] == 0 and not left["objects_saved"] and not left["unnamed"]:
                return ""
            await self._cluster.env.tasks.sleep(1.0)
        return f"{what} does not come to an end: {report}"

    async def _lose_a_manifest(self) -> str | None:
        """Somebody deletes the manifest of a pack; its name as it lies there, None: there is no pack."""
        index = ArchiveIndex(self._cluster.look, CLUSTER, tasks=self._cluster.env.tasks)
        await index.refresh(now_us=self._cluster.env.clock.wall_us())
        told = {
            build(row.key(CLUSTER, found.table, found.partition).twin())
            for found in index.partitions.values()
            for row in found.rows
            if row.pack is not None
        }
        there = [key for key in sorted(self._cluster.archive.objects) if self._cluster.seen_as(key) in told]
        if not there:
            return None
        lost = self._draw.choice(there)
        self._cluster.archive.lose(lost)
        self._count("manifests of packs lost")
        return lost

    async def _proven(self) -> dict[tuple[str, str], tuple[Span, ...]]:
        """The history that counts of every partition, as whoever begins now finds it."""
        index = ArchiveIndex(self._cluster.look, CLUSTER, tasks=self._cluster.env.tasks)
        await index.refresh(now_us=self._cluster.env.clock.wall_us())
        return {key: tuple(found.coverage().thread) for key, found in index.partitions.items()}


def unproven_since(before: dict[tuple[str, str], tuple[Span, ...]], now: dict[tuple[str, str], tuple[Span, ...]]) -> str:
    """What was proven `before` and is not `now`. A segment in front of it may have come since: its first upload was bad."""
    for key, thread in before.items():
        if not {*thread} <= {*now.get(key, ())}:
            return f"packing changed what is proven of partition {key[1]}"
    return ""
