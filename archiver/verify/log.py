"""The log of one partition: every manifest, and at deeper levels the segments beside them, each fitting the one before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scrubjay.archiver.format.fault import Fault
from scrubjay.archiver.format.layout import (
    SegmentKey,
    build,
    parse,
)
from scrubjay.archiver.format.manifest import PartitionPlace, SegmentManifest, check_follows, place
from scrubjay.archiver.read.check import SegmentToCheck
from scrubjay.archiver.read.manifests import superseded, usable
from scrubjay.archiver.read.names import PARALLEL, Names
from scrubjay.archiver.read.partition import PartitionIndex
from scrubjay.archiver.read.rows import rows_of
from scrubjay.archiver.verify.jobs import batches
from scrubjay.archiver.verify.round import Round
from scrubjay.base.errors import FORGED, Corrupt
from scrubjay.base.together import in_parallel

BATCH = 16
"""Segments that one worker is given at a time, at most BATCH_BYTES stored."""
BATCH_BYTES = 64 << 20


class LogCheck:
    """stamps: first and last one met, in whatever log. place: of the partition at hand, None if no manifest of it can be read."""

    def __init__(self, round_: Round) -> None:
        self._round = round_
        self.stamps: tuple[int, int] | None = None
        self.place: PartitionPlace | None = None

    async def run(self, names: Names, index: PartitionIndex) -> list[Fault]:
        """Every manifest, and at deeper levels the segments beside them. Of a range and content the highest generation that verifies is looked into."""
        groups: dict[tuple[int, int, str], list[SegmentKey]] = {}
        for key in map(parse, names.log):
            if isinstance(key, SegmentKey) and key.manifest:
                groups.setdefault((key.first, key.last, key.sha16), []).append(key)
        problems: list[Fault] = []
        order = sorted(groups)
        ends: dict[tuple[int, bytes], SegmentManifest] = {}
        self.place = None
        for start in range(0, len(order), BATCH * 4):
            self._round.spend()
            keys = [key for ident in order[start : start + BATCH * 4] for key in groups[ident]]
            read = await in_parallel(self._round.tasks, self._round.reader.manifest, keys, lanes=PARALLEL, name="read manifests")
            found = dict(zip(keys, read, strict=True))
            items: list[SegmentToCheck] = []
            for ident in order[start : start + BATCH * 4]:
                best, bad = _best(groups[ident], found, names.log)
                problems += bad
                if best is None:
                    continue
                for row in rows_of(best):
                    index.rows.add(row)
                if self._round.options.members is not None and not self._round.options.members.issuperset(agreed := _agreed(best)):
                    detail = f"agreed by members {sorted(agreed)}, of whom not all exist"
                    problems.append(Fault(FORGED, build(best.key().twin()), best.first, detail, best.last))
                low, high = self.stamps or (best.first_stamp, best.last_stamp)
                self.stamps = (min(low, best.first_stamp), max(high, best.last_stamp))
                before = ends.get((best.first, best.chain_before))
                items.append(SegmentToCheck(best, before.last_stamp if before is not None else 0))
                if before is not None:
                    try:
                        check_follows(before, best, where=build(best.key().twin()))
                    except Corrupt as error:
                        problems.append(Fault(error.kind, build(best.key().twin()), best.first, str(error), best.last))
                # Beside a pack its parts may lie, so what comes before is not always what was read last.
                ends = {at: one for at, one in ends.items() if at[0] >= best.first} | {(best.last + 1, best.chain): best}
                self.place = index.rows.place = index.rows.place or place(best)
            await self._objects(items, names.table, names.partition)
        return superseded(problems, index.rows)

    async def _objects(self, items: Sequence[SegmentToCheck], table: str, partition: str) -> None:
        """Segments of one stretch, by content; the manifests beside them were read."""
        await self._round.tell([build(item.manifest.key().twin()) for item in items])
        if not self._round.at_least("objects"):
            return
        fresh = await self._round.fresh([build(item.manifest.key()) for item in items])
        wanted = [item for item in items if build(item.manifest.key()) not in fresh]
        for batch in batches(wanted, count=1 if self._round.jobs is None else BATCH, size=BATCH_BYTES):
            self._round.spend()
            await self._round.checked(table, partition, what="segments", segments=batch, deep=self._round.at_least("records"))
            self._round.report.checked += len(batch)
            self._round.report.bytes += sum(item.manifest.stored.size for item in batch)
            await self._round.tell([build(item.manifest.key()) for item in batch])
            self._round.say(phase="objects", table_id=table, partition=partition)


def _agreed(manifest: SegmentManifest) -> set[int]:
    return {member for one in manifest.each() for member in one.members}


def _best(
    group: Sequence[SegmentKey], found: Mapping[SegmentKey, SegmentManifest | Fault], sizes: Mapping[str, int]
) -> tuple[SegmentManifest | None, list[Fault]]:
    """The highest generation of one range and content that can be used, and what is wrong with those above it."""
    problems: list[Fault] = []
    for key in sorted(group, key=lambda one: -one.generation):
        one = usable(key, found[key], sizes)
        if isinstance(one, SegmentManifest):
            return one, problems
        problems.append(one)
    return None, problems
