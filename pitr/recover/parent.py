"""The archive of a cluster that may be gone: what it holds, and its catalogue as of any proven moment. Reads only.

Which tables there were, with their schemas, tags and settings, the metadata group's own log says, rebuilt and proven as every log is. Which partition is the
metadata group's, and what a table's partition is, is taken from SCHEMA records, no manifest's word.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from scrubjay.archiver.format.base import decode_base
from scrubjay.archiver.format.fault import fault_of
from scrubjay.archiver.format.layout import build
from scrubjay.archiver.format.records import check_against, check_records
from scrubjay.archiver.read.backup_pins import PinReader, PinsFound
from scrubjay.archiver.read.index import ArchiveIndex
from scrubjay.archiver.read.objects import read_segment
from scrubjay.archiver.read.partition import PartitionIndex
from scrubjay.archiver.read.rebuild import rebuild, segment_keys
from scrubjay.archiver.read.replay import Cut
from scrubjay.base.env import Disk, Env, ObjectStore
from scrubjay.base.errors import FORGED, Corrupt, Missing, Unsafe
from scrubjay.base.hlc import last_stamp_at, stamp_micros
from scrubjay.base.ids import ClusterId, PartitionId, TableId
from scrubjay.pitr.plan import plan_partition
from scrubjay.pitr.recover.moment import NeededPart
from scrubjay.pitr.source import history_of
from scrubjay.pitr.window import LIST_KEY
from scrubjay.storage.archive_port import facts_of
from scrubjay.storage.btree.rowfile import read_rowfile
from scrubjay.storage.catalogue import METADATA_TABLE, FinalSeal, PartitionInfo, TableMeta, coming, with_children
from scrubjay.storage.control.metadata import metadata_item, metadata_table, table_from

ROWS, WORK = "catalogue.rows", "catalogue.base"
WHOLE = "0" * 32
KEPT_MAX = 8
"""Catalogues of other moments that are remembered."""


class Catalogue(NamedTuple):
    """What the metadata group held at a moment. jobs: notes of coordinators by key."""

    at_us: int
    tables: tuple[TableMeta, ...]
    jobs: dict[str, dict[str, Any]]


class Parent:
    """`await open()` first. disk: a scratch folder of its own, for one small row file. index: as of then; what was read since and found bad is left out of it."""

    def __init__(self, env: Env, store: ObjectStore, disk: Disk, cluster: str, *, ahead_us: int) -> None:
        self._env, self._store, self._disk = env, store, disk
        self.cluster = cluster
        self.index = ArchiveIndex(store, cluster, tasks=env.tasks, ahead_us=ahead_us)
        self.system = metadata_table(TableId(""), PartitionId(""), members=(), created_at=0)
        self._kept: dict[int, Catalogue] = {}

    async def open(self) -> None:
        """List the archive, read what manifests are new, find the metadata group. Raises Missing (its log is not there), Unsafe (a key is lacking without which
        nobody can tell), Corrupt, Unavailable."""
        await self.index.refresh(now_us=self._env.clock.wall_us())
        named = [one for one in self.index.partitions.values() if one.table_name == METADATA_TABLE]
        found = [one for one in named if (await self._schema_of(one) or {}).get("name", METADATA_TABLE) == METADATA_TABLE]
        unread = [fault for one in self.index.partitions.values() for fault in one.unread()]
        if not found and unread:  # what cannot be opened may be it
            raise Unsafe(unread[0].detail, cluster=self.cluster, object=unread[0].object, next=LIST_KEY)
        if len(found) != 1:
            raise Missing(
                "the log of the metadata group is not in the archive: without it nothing says which tables there were"
                if not found
                else "several logs in this archive claim to be the metadata group's",
                what="metadata",
                cluster=self.cluster,
                found=", ".join(one.partition for one in found)
                or f"{len(self.index.partitions)} partitions, none of them the metadata group's",
                next="bring its objects back from a copy or from versions of the bucket; scrubjay verify --archive URL names what is damaged",
            )
        self.system = metadata_table(TableId(found[0].table), PartitionId(found[0].partition), members=(), created_at=0)

    async def backups(self) -> PinsFound:
        """By name: they stay where they are, and their moments can be recovered for as long as this archive is there. Raises Unavailable."""
        return await PinReader(self._env.tasks, self._store, self.cluster).all()

    # ------------------------------------------------------------------ what is proven

    def piece(self, table: TableMeta, info: PartitionInfo) -> NeededPart:
        found = self.index.partitions.get((table.table_id, info.partition_id))
        return NeededPart(table, info, None if found is None else found.coverage())

    def system_piece(self) -> NeededPart:
        return self.piece(self.system, self.system.partitions[0])

    def pieces(self, tables: Iterable[TableMeta]) -> list[NeededPart]:
        return [self.piece(table, info) for table in tables for info in table.partitions]

    def ahead_of_clock(self) -> int | None:
        """The newest time in the archive's logs if it is further ahead of this machine's clock than is believed; None if none is. Microseconds."""
        facts = [one.facts() for one in self.index.partitions.values()]
        ahead = [span.last_stamp for one in facts for span in one.spans if span.last_stamp > one.credible]
        return stamp_micros(max(ahead)) if ahead else None

    async def catalogue(self, at_us: int) -> Catalogue:
        """The catalogue as of a moment at which the metadata group is proven. Raises Corrupt, Missing (what was read is damaged; the index knows by then)."""
        if at_us not in self._kept:
            if len(self._kept) >= KEPT_MAX:
                self._kept.pop(next(iter(self._kept)))
            try:
                self._kept[at_us] = await self._read(at_us)
            except (Corrupt, Missing) as error:
                self.distrust(error)
                raise
        return self._kept[at_us]

    def distrust(self, error: Corrupt | Missing) -> None:
        """Nobody here goes by that object any more."""
        fault = fault_of(error)
        if fault.object:
            self.index.distrust([fault.object], kind=fault.kind, detail=fault.detail)

    async def _read(self, at_us: int) -> Catalogue:
        info = self.system.partitions[0]
        cut = last_stamp_at(at_us)
        plan = plan_partition(history_of(info, self.index.partitions[self.system.table_id, info.partition_id]), cut)
        base = None if plan.base is None else decode_base(await self._store.get(plan.base.object), where=plan.base.object)
        keys = segment_keys(plan.objects())
        rebuilt = await rebuild(self._store, self._disk, base=base, segments=keys, cut=Cut(cut), output=ROWS, work=WORK)
        if rebuilt.schema != facts_of(ClusterId(self.cluster), self.system, info).schema:
            raise Corrupt("the metadata group's log is of another schema", kind=FORGED, what="schema", partition=info.partition_id)
        file = self._disk.open(ROWS)
        try:
            items = [metadata_item(row.item) for row in read_rowfile(file.pread, file.size())]
        finally:
            file.close()
            self._disk.remove(ROWS)
        tables = [self._split_by(table_from(name, text), at_us) for name, text in items if name.startswith("table/")]
        jobs = {name.removeprefix("job/"): _note(name, text) for name, text in items if name.startswith("job/")}
        return Catalogue(at_us, tuple(sorted(tables, key=lambda table: table.name)), jobs)

    def _split_by(self, table: TableMeta, at_us: int) -> TableMeta:
        """A table of the catalogue as of a moment at which a split of it was under way: with the children if the parent's log had ended by then, which the catalogue was told a little later. The children
        say so: of one that was never begun nothing is there."""
        known = [self.index.partitions.get((table.table_id, info.partition_id)) for info in coming(table)]
        born = next((one.born for one in known if one is not None and one.born is not None), None)
        if (
            born is None
            or isinstance(table.split, msgspec.UnsetType)
            or born.parent != table.split.parent
            or stamp_micros(born.stamp) >= at_us
        ):
            return table
        return with_children(table, FinalSeal(born.parent, born.lsn, born.stamp, born.chain.hex(), born.total.hex, born.total.rows))

    # ------------------------------------------------------------------ what a log says it is

    async def check_schema(self, table: TableMeta, info: PartitionInfo, base: str | None) -> None:
        """Raises Corrupt unless the partition's own first record says of it what the catalogue says; where retention took that away, or it rotted, the base that is
        rebuilt from (key of its manifest; None: from none) must. Raises Missing (that base is gone), Unavailable."""
        index = self.index.partitions.get((table.table_id, info.partition_id))
        said = None if index is None else await self._schema_of(index)
        if said is None and base is not None:
            said = await self._schema_of_base(base)
        if said is None:
            return  # and without either nothing can be rebuilt
        expected = {
            "table_id": table.table_id,
            "partition_id": info.partition_id,
            "lo": info.lo,
            "hi": info.hi,
            "key": msgspec.to_builtins(table.key),
            "attributes": [list(pair) for pair in table.attributes],
        }
        found = {name: said.get(name) for name in expected}
        if found != expected:
            raise Corrupt(
                "the log (its SCHEMA record, or the base behind that) and the catalogue say different things of this partition",
                kind=FORGED, what="schema", table=table.name, partition=info.partition_id, expected=expected, found=found,
            )  # fmt: skip

    async def _schema_of_base(self, key: str) -> dict[str, Any]:
        manifest = decode_base(await self._store.get(key), where=key)
        said = json.loads(manifest.schema)
        if not isinstance(said, dict):
            raise Corrupt("the schema is no JSON object", kind=FORGED, what="base", where=key)
        whose = {"table_id": manifest.table, "partition_id": manifest.partition, "lo": manifest.lo, "hi": manifest.hi}
        return said | whose

    async def _schema_of(self, index: PartitionIndex) -> dict[str, Any] | None:
        """What the SCHEMA record says with which the log begins; None if that part of the log is not there, or cannot be read: nobody goes by it any more then, and who needs it
        fails by it. A base behind it is as good as ever. Raises Corrupt (it is sound, and no beginning of a log), Unavailable."""
        begins = 1 if index.born is None else index.born.lsn + 1
        first = next((row for row in index.rows_of(index.coverage().thread) if row.first == begins), None)
        if first is None:
            return None
        key = first.key(index.cluster, index.table, index.partition)
        try:
            manifest, raw, _ = await read_segment(self._store, key)
        except (Corrupt, Missing) as error:
            fault = fault_of(error, where=build(key))
            self.index.distrust([fault.object], kind=fault.kind, detail=fault.detail)
            return None
        where = build(manifest.key())
        part, piece = next(manifest.pieces(raw))
        span = check_records(piece, partition=index.partition, first=part.first, last=part.last, where=where)
        check_against(span, part, where=where)
        if not span.schema:
            raise Corrupt("the log does not begin with a SCHEMA record", kind=FORGED, what="segment", where=where, lsn=begins)
        said: dict[str, Any] = json.loads(span.schema)  # check_against has seen that it is an object
        return said


def _note(name: str, text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise Corrupt("metadata item malformed", what="metadata", item=name) from error
    if not isinstance(found, dict):
        raise Corrupt("metadata item malformed", what="metadata", item=name)
    return found
