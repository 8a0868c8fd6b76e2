"""References from the real archive: `archiver.read.rebuild` in worker processes, row files below `tmp/scrub/` of the data folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from scrubjay.archiver.format.fault import Fault, fault_of
from scrubjay.archiver.format.layout import SegmentKey, build
from scrubjay.archiver.format.manifest import PartitionPlace
from scrubjay.archiver.read.rebuild import from_answer, write_none
from scrubjay.archiver.write.bases import base_due, upload
from scrubjay.archiver.write.writer import Writer
from scrubjay.base.env import Disk, Env, Jobs
from scrubjay.base.errors import FORGED, HOLE, NO_KEY, Corrupt, Internal, Missing, NoKey
from scrubjay.base.hlc import stamp_micros
from scrubjay.base.ids import ClusterId, Lsn, PartitionId, Stamp
from scrubjay.scrubber.jobs import FACTS, ITEMS, REFERENCE, TRACE, facts_of
from scrubjay.scrubber.reference import Cost, Progress, Reference, RowOrigin
from scrubjay.scrubber.shelves import Shelf, ShelfBase, ShelfInherited, Shelves, fault_at
from scrubjay.storage import archive_port
from scrubjay.storage.btree.engine import RowFact
from scrubjay.storage.btree.index_rows import IndexTally
from scrubjay.storage.catalogue import PartitionInfo, TableMeta
from scrubjay.storage.items.local_index import LocalRows
from scrubjay.storage.log.digest import RangeDigest
from scrubjay.storage.log.split import Born

FOLDER = "tmp/scrub"
TRACE_SEGMENTS_MAX = 64
"""Segments searched, newest first, for the record that last touched a key the reference does not have."""


class ArchiveReferences:
    """url: of the archive, as the workers open it. disk: rooted at the data folder, as the workers see it. born: how a partition began that a split made, as its copies say."""

    def __init__(
        self,
        env: Env,
        jobs: Jobs,
        disk: Disk,
        shelves: Shelves,
        *,
        url: str,
        writer: Writer,
        born: Callable[[PartitionId], Born | None] = lambda _: None,
    ) -> None:
        self._env = env
        self._jobs = jobs
        self._disk = disk
        self._shelves = shelves
        self._url = url
        self._writer = writer
        self._told_born = born
        self._bases: dict[str, str | None] = {}
        """Key of the base that a reference began with, by row file."""
        self._born: dict[str, Born | None] = {}
        """How its partition began, likewise."""

    def sweep(self) -> None:
        """At start: remove what a killed process left behind."""
        for name in self._disk.listdir(FOLDER):
            self._disk.remove(f"{FOLDER}/{name}")

    def cost(self, table: TableMeta, info: PartitionInfo, *, until: Lsn) -> Cost | None:
        shelf = self._shelves.seen(table.table_id, info.partition_id, upto=until)
        if shelf is None:
            return None
        size = 0 if shelf.base is None else shelf.base.size
        stored, raw = (sum(one.row.stored for one in shelf.segments), sum(one.row.raw for one in shelf.segments))
        return Cost(None if shelf.base is None else shelf.base.lsn, len(shelf.segments), size + stored, size + raw)

    def base_due(self, table: TableMeta, info: PartitionInfo, *, until: Lsn) -> bool:
        """Whether a scrub that matches at `until` would make a new base, by the archive as it was last seen; nobody is asked."""
        shelf = self._shelves.seen(table.table_id, info.partition_id, upto=until)
        if shelf is None:
            return False
        base = shelf.base
        return base_due(
            base_lsn=None if base is None else base.lsn,
            base_raw=0 if base is None else base.size,
            log_raw=sum(one.row.raw for one in shelf.segments),
            segments=len(shelf.segments),
            age_us=0 if base is None else self._env.clock.wall_us() - stamp_micros(Stamp(base.stamp)),
        )

    async def rebuild(self, table: TableMeta, info: PartitionInfo, *, until: Lsn, progress: Progress | None) -> Reference:
        damage: list[Fault] = []
        without: tuple[str, ...] = ()
        while True:
            shelf = await self._shelves.shelf(table.table_id, info.partition_id, upto=until, without=without, told=self._told(table, info))
            for first, last in shelf.gaps:
                lost = await self._shelves.lost(table.table_id, info.partition_id, first=first, last=last)
                _note_damage(damage, Fault(HOLE, lost, first, f"records {first} to {last} are not in the archive"))
            for problem in shelf.problems:
                if problem.kind != NO_KEY:
                    _note_damage(damage, problem)
            for name in shelf.astray:
                _note_damage(damage, Fault(FORGED, name, None, "it belongs to no history that counts"))
            base = shelf.base
            try:
                return await self._rebuild(table, info, shelf, base, until, damage, progress)
            except (Corrupt, Missing) as error:
                found = await self._damage(table, info, shelf, error)
                _note_damage(damage, found)
                if error.fields.get("what") != "rowfile":  # that is our own file, not the archive's
                    self._shelves.distrust(found)
                rotted = None if base is None else base.base_at(found.object)
                if rotted is None or rotted in without:
                    error.fields["damage"] = tuple(damage)
                    raise
                without = (*without, rotted)  # a base that rotted is found, named and done without

    def _told(self, table: TableMeta, info: PartitionInfo) -> PartitionPlace:
        """What manifests of the partition would say."""
        facts = archive_port.facts_of(ClusterId(self._writer.cluster), table, info)
        return PartitionPlace(facts.table_name, facts.schema, facts.lo, facts.hi, self._told_born(info.partition_id))

    async def _rebuild(
        self,
        table: TableMeta,
        info: PartitionInfo,
        shelf: Shelf,
        base: ShelfBase | ShelfInherited | None,
        until: Lsn,
        damage: list[Fault],
        progress: Progress | None,
    ) -> Reference:
        self._disk.mkdir(FOLDER)
        name = f"{FOLDER}/{self._env.rand.uuid()}"
        local = LocalRows.of_table(table.key, table.local_indexes)
        lo, hi = bytes.fromhex(info.lo), bytes.fromhex(info.hi) if info.hi else None
        objects = [] if base is None else base.objects()
        segments = [build(one) for one in shelf.objects()]
        arguments = {
            "url": self._url,
            "base": None if base is None else base.asked,
            "segments": segments,
            "lsn": until,
            "output": name + ".rows",
            "work": name + ".base",
            "lo": lo,
            "hi": hi,
            "lasting": False,  # swept at start; a scrub begins anew
            "indexing": b"" if local is None else local.encode(),
        }
        try:
            answer = await self._jobs.run(REFERENCE, arguments, progress=progress)
        except BaseException:
            self._remove(name)
            raise
        digest = RangeDigest(lo, hi)
        digest.load(answer.pop("digest"))
        entries = _tallied(answer.pop("entries"), lo, hi)
        rebuilt = from_answer(answer)
        for spoilt in rebuilt.spoilt:
            _note_damage(damage, spoilt)
            self._shelves.distrust(spoilt)
        reference = Reference(
            lsn=Lsn(rebuilt.applied),
            stamp=Stamp(rebuilt.stamp),
            digest=digest,
            chain=rebuilt.chain,
            rows=name + ".rows",
            base_lsn=None if base is None else base.lsn,
            base_raw=0 if base is None else base.size,
            log_raw=rebuilt.raw_bytes,
            bytes=sum(one.row.stored for one in shelf.segments) + (0 if base is None else base.size),
            objects=(*objects, *segments, *(build(one.twin()) for one in shelf.objects())),
            damage=tuple(damage),
            segments=rebuilt.segments,
            base_us=0 if base is None else stamp_micros(Stamp(base.stamp)),
            local=local,
            entries=entries,
        )
        if not rebuilt.exact:
            self.discard(reference)
            raise Internal("a scrub's reference does not end at a seal", partition=info.partition_id, lsn=until)
        self._bases[reference.rows] = build(base.key) if isinstance(base, ShelfBase) else None
        self._born[reference.rows] = shelf.born
        return reference

    async def beginning(self, table: TableMeta, info: PartitionInfo) -> Reference:
        if table.restore_of is not None:
            return await self.rebuild(table, info, until=Lsn(0), progress=None)
        self._disk.mkdir(FOLDER)
        rows = f"{FOLDER}/{self._env.rand.uuid()}.rows"
        none = write_none(self._disk, rows)
        digest = RangeDigest(bytes.fromhex(info.lo), bytes.fromhex(info.hi) if info.hi else None)
        self._bases[rows] = None
        return Reference(Lsn(0), Stamp(0), digest, none.chain, rows, base_lsn=None, base_raw=0, log_raw=0, bytes=0)

    async def _damage(self, table: TableMeta, info: PartitionInfo, shelf: Shelf, error: Corrupt | Missing) -> Fault:
        """Name the object behind a failed rebuild."""
        fault = fault_of(error)
        if fault.object or fault.lsn is None:
            return fault
        known = fault_at(shelf.problems, fault.lsn) or next((one for one in shelf.problems if one.kind == NO_KEY and one.lsn is None), None)
        if known is not None and known.kind == NO_KEY:  # nobody knows whether anything is damaged
            raise NoKey(known.detail, object=known.object) from error
        if known is not None:
            return known
        behind = min((one.row.first for one in shelf.segments if one.row.first > fault.lsn), default=None)
        lost = await self._shelves.lost(table.table_id, info.partition_id, first=fault.lsn, last=None if behind is None else behind - 1)
        return fault._replace(object=lost)

    async def facts(self, reference: Reference, ranges: Sequence[tuple[bytes, bytes | None]]) -> list[list[RowFact]]:
        indexing = b"" if reference.local is None else reference.local.encode()
        answer = await self._jobs.run(FACTS, {"rows": reference.rows, "ranges": [list(pair) for pair in ranges], "indexing": indexing})
        return facts_of(answer)

    async def items(self, reference: Reference, keys: Sequence[bytes]) -> list[bytes | None]:
        order = sorted(set(keys))
        answer = await self._jobs.run(ITEMS, {"rows": reference.rows, "keys": order})
        found = dict(zip(order, answer["items"], strict=True))
        return [found[key] for key in keys]

    async def origins(
        self, table: TableMeta, info: PartitionInfo, reference: Reference, keys: Sequence[tuple[bytes, Lsn | None]]
    ) -> list[RowOrigin]:
        names = [one for one in await self._shelves.names(table.table_id, info.partition_id) if one.first <= reference.lsn]
        unknown = sorted({key for key, lsn in keys if lsn is None})
        places: dict[bytes, tuple[int, str]] = {}
        if unknown and names:
            newest = [build(one) for one in reversed(names)][:TRACE_SEGMENTS_MAX]
            answer = await self._jobs.run(TRACE, {"url": self._url, "segments": newest, "keys": unknown, "upto": reference.lsn})
            places = {key: (place[0], place[1]) for key, place in zip(unknown, answer["places"], strict=True) if place is not None}
        return [_origin(key, lsn, self._bases[reference.rows], names, places) for key, lsn in keys]

    async def write_base(self, table: TableMeta, info: PartitionInfo, reference: Reference) -> str:
        return await upload(
            self._jobs, self._url, reference.rows, writer=self._writer.attached, table=table, info=info,
            lsn=reference.lsn, stamp=reference.stamp, chain=reference.chain, total=reference.digest.total(),
            born=self._born.get(reference.rows),
        )  # fmt: skip

    async def at_hand(self, reference: Reference) -> None:
        await self._jobs.bring(reference.rows)

    def discard(self, reference: Reference) -> None:
        self._bases.pop(reference.rows, None)
        self._born.pop(reference.rows, None)
        self._jobs.drop(reference.rows)
        self._remove(reference.rows.removesuffix(".rows"))

    def _remove(self, name: str) -> None:
        for path in (name + ".rows", name + ".base"):
            if self._disk.exists(path):
                self._disk.remove(path)


def _tallied(data: bytes, lo: bytes, hi: bytes | None) -> RangeDigest | None:
    """The digest of the index rows that a job derived; None if there are none."""
    if not data:
        return None
    tally = IndexTally(lo, hi)
    tally.load(data)
    return tally.digest


def _note_damage(damage: list[Fault], found: Fault) -> None:
    """Each object once, by what was said of it first."""
    if not any(one.object == found.object for one in damage):
        damage.append(found)


def _origin(key: bytes, lsn: Lsn | None, base: str | None, names: Sequence[SegmentKey], places: dict[bytes, tuple[int, str]]) -> RowOrigin:
    """LSN 0 is a row that a restored table began with: it came with the base."""
    if lsn is None:
        place = places.get(key)
        return RowOrigin(None, None) if place is None else RowOrigin(Lsn(place[0]), place[1])
    if lsn == 0:
        return RowOrigin(None, base)
    holder = next((one for one in names if one.first <= lsn <= one.last), None)
    return RowOrigin(lsn, None if holder is None else build(holder))
