"""References from the real archive: `archiver.rebuild` in worker processes, row files below `tmp/scrub/` of the data folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from archiver.base import BaseManifest
from archiver.layout import build
from archiver.manifest import SegmentManifest
from archiver.rebuild import from_answer
from base.env import Disk, Env, Jobs
from base.errors import Internal
from base.ids import Lsn, Stamp
from scrubber.jobs import FACTS, ITEMS, REFERENCE, TRACE, UPLOAD, facts_of
from scrubber.reference import Origin, Progress, Reference
from storage.btree.engine import RowFact
from storage.control.catalogue import PartitionInfo, TableMeta
from storage.digest import RangeDigest

FOLDER = "tmp/scrub"
TRACE_SEGMENTS_MAX = 64
"""Segments searched, newest first, for the record that last touched a key the reference does not have."""


class Shelf(NamedTuple):
    """What the archive holds of one partition: both rising by LSN, of each range the highest generation that verifies."""

    bases: tuple[BaseManifest, ...]
    segments: tuple[SegmentManifest, ...]


class Shelves(Protocol):
    """Lists the archive. `archiver.index` behind a small face, so that tests can put anything on a shelf."""

    async def shelf(self, table: str, partition: str) -> Shelf:
        """Raises Corrupt (a manifest), Unavailable."""
        ...


class ArchiveReferences:
    """url: of the archive, as the workers open it. disk: rooted at the data folder, as the workers see it."""

    def __init__(self, env: Env, jobs: Jobs, disk: Disk, shelves: Shelves, *, url: str, cluster: str) -> None:
        self._env = env
        self._jobs = jobs
        self._disk = disk
        self._shelves = shelves
        self._url = url
        self._cluster = cluster
        self._made: dict[str, tuple[BaseManifest | None, tuple[SegmentManifest, ...], str]] = {}

    def sweep(self) -> None:
        """At start: remove what a killed process left behind."""
        if self._disk.exists(FOLDER):
            self._disk.remove_tree(FOLDER)

    async def rebuild(self, table: TableMeta, info: PartitionInfo, *, until: Lsn, progress: Progress | None) -> Reference:
        shelf = await self._shelves.shelf(table.table_id, info.partition_id)
        base, segments = choose(shelf, until)
        self._disk.mkdir(FOLDER)
        name = f"{FOLDER}/{self._env.rand.uuid()}"
        lo, hi = bytes.fromhex(info.lo), bytes.fromhex(info.hi) if info.hi else None
        arguments = {
            "url": self._url,
            "base": None if base is None else build(base.key()),
            "segments": [build(one.key()) for one in segments],
            "lsn": until,
            "output": name + ".rows",
            "work": name + ".base",
            "lo": lo,
            "hi": hi,
        }
        try:
            answer = await self._jobs.run(REFERENCE, arguments, progress=progress)
        except BaseException:
            self._remove(name)
            raise
        digest = RangeDigest(lo, hi)
        digest.load(answer.pop("digest"))
        rebuilt = from_answer(answer)
        reference = Reference(
            lsn=Lsn(rebuilt.applied),
            stamp=Stamp(rebuilt.stamp),
            digest=digest,
            chain=rebuilt.chain,
            rows=name + ".rows",
            base_lsn=None if base is None else Lsn(base.lsn),
            base_raw=0 if base is None else base.file.size,
            log_raw=rebuilt.raw_bytes,
            bytes=sum(one.stored.size for one in segments) + (0 if base is None else base.file.size),
        )
        if not rebuilt.exact:
            self.discard(reference)
            raise Internal("a scrub's reference does not end at a seal", partition=info.partition_id, lsn=until)
        self._made[reference.rows] = (base, shelf.segments, rebuilt.schema)
        return reference

    async def facts(self, reference: Reference, ranges: Sequence[tuple[bytes, bytes | None]]) -> list[list[RowFact]]:
        answer = await self._jobs.run(FACTS, {"rows": reference.rows, "ranges": [list(pair) for pair in ranges]})
        return facts_of(answer)

    async def items(self, reference: Reference, keys: Sequence[bytes]) -> list[bytes | None]:
        order = sorted(set(keys))
        answer = await self._jobs.run(ITEMS, {"rows": reference.rows, "keys": order})
        found = dict(zip(order, answer["items"], strict=True))
        return [found[key] for key in keys]

    async def origins(
        self, table: TableMeta, info: PartitionInfo, reference: Reference, keys: Sequence[tuple[bytes, Lsn | None]]
    ) -> list[Origin]:
        base, segments, _ = self._made[reference.rows]
        covered = [one for one in segments if one.first <= reference.lsn]
        unknown = sorted({key for key, lsn in keys if lsn is None})
        places: dict[bytes, tuple[int, str]] = {}
        if unknown and covered:
            newest = [build(one.key()) for one in reversed(covered)][:TRACE_SEGMENTS_MAX]
            answer = await self._jobs.run(TRACE, {"url": self._url, "segments": newest, "keys": unknown, "upto": reference.lsn})
            places = {key: (place[0], place[1]) for key, place in zip(unknown, answer["places"], strict=True) if place is not None}
        return [_origin(key, lsn, base, covered, places) for key, lsn in keys]

    async def write_base(self, table: TableMeta, info: PartitionInfo, reference: Reference) -> str:
        _, segments, schema = self._made[reference.rows]
        last = next((one for one in reversed(segments) if one.last <= reference.lsn), None)
        total = reference.digest.total()
        answer = await self._jobs.run(
            UPLOAD,
            {
                "url": self._url,
                "rows": reference.rows,
                "cluster": self._cluster,
                "table": table.table_id,
                "partition": info.partition_id,
                "table_name": table.name,
                "schema": schema if last is None else last.schema,
                "lo": info.lo,
                "hi": info.hi,
                "lsn": reference.lsn,
                "stamp": reference.stamp,
                "chain": reference.chain.hex(),
                "total": {"sum": total.hex, "rows": total.rows},
                "origin": None,
            },
        )
        return str(answer["object"])

    def discard(self, reference: Reference) -> None:
        self._made.pop(reference.rows, None)
        self._remove(reference.rows.removesuffix(".rows"))

    def _remove(self, name: str) -> None:
        for path in (name + ".rows", name + ".base"):
            if self._disk.exists(path):
                self._disk.remove(path)


def choose(shelf: Shelf, until: Lsn) -> tuple[BaseManifest | None, tuple[SegmentManifest, ...]]:
    """The newest base at or below `until` that no segment straddles, and the segments from there to the one that ends at or behind it. Pure."""
    bases = [one for one in shelf.bases if one.lsn <= until and not any(seg.first <= one.lsn < seg.last for seg in shelf.segments)]
    base = max(bases, key=lambda one: (one.lsn, one.generation), default=None)
    floor = base.lsn if base is not None else 0
    return base, tuple(one for one in shelf.segments if one.first > floor and one.first <= until)


def _origin(
    key: bytes, lsn: Lsn | None, base: BaseManifest | None, segments: Sequence[SegmentManifest], places: dict[bytes, tuple[int, str]]
) -> Origin:
    """LSN 0 is a row that a restored table began with: it came with the base."""
    if lsn is None:
        place = places.get(key)
        return Origin(None, None) if place is None else Origin(Lsn(place[0]), place[1])
    if lsn == 0:
        return Origin(None, None if base is None else build(base.key()))
    holder = next((one for one in segments if one.first <= lsn <= one.last), None)
    return Origin(lsn, None if holder is None else build(holder.key()))
