"""`scrubjay table split` and `scrubjay table partitions`: a partition is asked to become two, and what partitions a table has and had (ADR 0078). Who carries a split on is `storage.control.splits`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from scrubjay.base.env import Env
from scrubjay.base.errors import Conflict, Invalid, Unavailable
from scrubjay.base.ids import PartitionId
from scrubjay.base.times import utc_text
from scrubjay.server.control import Control
from scrubjay.server.ports import ProgressSink, Report
from scrubjay.storage.catalogue import FormerPartition, GlobalIndex, PartitionInfo, TableMeta, index_table, index_tables
from scrubjay.storage.control.asking import Asking
from scrubjay.storage.control.by_size import FIND_S, find_cut
from scrubjay.storage.control.fleet import copy_of
from scrubjay.storage.control.splits import split_of
from scrubjay.storage.items import global_index
from scrubjay.storage.items.errors import ItemError, SerializationError
from scrubjay.storage.items.keys import check_key_sizes, hash_prefix
from scrubjay.storage.items.values import Value
from scrubjay.storage.items.wire import item_from_json

POLL_S = 0.1


class TableSplits:
    """works: whether this process works for the cluster."""

    def __init__(self, env: Env, control: Control, *, works: Callable[[], bool]) -> None:
        self._env, self._control, self._works = env, control, works
        self._asking = Asking(env, control.fleet.ports, limit_s=FIND_S)

    async def split(self, asked: TableMeta, at: Any, progress: ProgressSink, *, index: str = "") -> Report:
        """Split the partition that has the partition key of `at` (DynamoDB JSON; the key and what lies above it goes right), or where `at` is None the largest one at half of its bytes; wait until
        its children serve. It goes on whether anybody waits or not. index: of which of the table's global indexes, "": of the table itself. Raises Invalid, Conflict, Unavailable; Unsafe: the cluster's version lets nobody
        split it."""
        splits = self._control.splits
        if splits is None or not self._works():
            raise Unavailable(
                "another durability process works for this cluster", next="ask that one, or wait until this one has taken over"
            )
        await self._control.metadata.newest()
        owner = self._control.metadata.tables.get(asked.table_id)
        if owner is None or owner.status == "DROPPED":
            raise Invalid("the table is dropped", table=asked.name, next="only a table that is there is split")
        began_us = self._env.clock.boot_us()
        found = _index(owner, index) if index else None
        table = owner if found is None else index_table(owner, found)
        # Whoever asks again alone is told the same: a process has to be exchanged first (ADR 0081).
        self._control.store.version.allow(split_of(table), table=owner.name)
        if at is None:
            info, cut = await self._half(table)
        else:
            cut = _cut(owner, at) if found is None else _index_cut(found, at)
            info = next(one for one in reversed(table.partitions) if bytes.fromhex(one.lo) <= cut)
        split = await splits.begin(table, info, cut)
        while (known := self._known(table)) is not None and not isinstance(known.split, msgspec.UnsetType) and known.split.id == split.id:
            why = splits.waiting.get(table.table_id, "")
            progress({"phase": "splitting", "done": 0, "total": 1, **({"left": why} if why else {})})
            await self._env.tasks.sleep(POLL_S)
            if not self._works():
                raise Unavailable("another durability process goes on with it", table=table.name)
        former = None if known is None else next((one for one in known.former or () if one.split.id == split.id), None)
        if known is None or (former is None and all(one.partition_id != split.left for one in known.partitions)):
            raise Conflict("the table, or its index, was dropped before its partition was split", table=table.name)
        return {
            "exit": 0,
            "table": owner.name,
            "table_id": owner.table_id,
            "index": index or None,
            "partition": info.partition_id,
            "cut": split.cut,
            "left": split.left,
            "right": split.right,
            "lsn": None if former is None else former.final.lsn,
            "seconds": round((self._env.clock.boot_us() - began_us) / 1e6, 3),
        }

    def _known(self, table: TableMeta) -> TableMeta | None:
        return self._control.metadata.any_table(table.table_id)

    async def _half(self, table: TableMeta) -> tuple[PartitionInfo, bytes]:
        """The largest partition, and where a copy of it is cut in halves."""
        fleet = self._control.fleet
        sizes = {info: one.size for info in table.partitions if (one := fleet.leader(info.partition_id)) is not None}
        if not sizes:
            raise Unavailable("no partition of the table has a leader", table=table.name)
        info = max(sizes, key=lambda one: sizes[one])
        found = await find_cut(self._asking, fleet, info.partition_id)
        if not found.cut:
            raise Invalid(
                "all of the partition is of one partition key, or it is empty: there is nowhere to cut it",
                table=table.name,
                partition=info.partition_id,
                next="name a key with --at, if it is to be split before it is filled",
            )
        return info, found.cut

    # ------------------------------------------------------------------ looking

    def partitions(self, table: TableMeta) -> Report:
        """A table's partitions, and those of each of its global indexes, in the order of their ranges, what is being split, and what was. Asked of nobody."""
        inner = index_tables(table)
        names = [(index.name, one) for index in table.global_indexes or () for one in (index, index.next) if one is not None]
        of = {one.table_id: (name, one.created_at) for name, one in names}
        return {
            "exit": 0,
            "table": table.name,
            "table_id": table.table_id,
            **self._shown(table),
            "indexes": [{"index": of[one.table_id][0], "made": utc_text(of[one.table_id][1]), **self._shown(one)} for one in inner],
        }

    def _shown(self, table: TableMeta) -> Report:
        splits = self._control.splits
        by_size = self._control.by_size
        large = {one.partition: one.why for one in ([] if by_size is None else by_size.large.get(table.table_id, ()))}
        intent = None if isinstance(table.split, msgspec.UnsetType) else table.split
        return {
            "partitions": [self._partition(info, large) for info in table.partitions],
            "split": None
            if intent is None
            else {
                "partition": intent.parent,
                "cut": intent.cut,
                "left": intent.left,
                "right": intent.right,
                "began": utc_text(intent.began_at),
                "waits": None if splits is None else splits.waiting.get(table.table_id),
            },
            "former": [_former(one) for one in table.former or ()],
        }

    def _partition(self, info: PartitionInfo, large: Mapping[PartitionId, str]) -> dict[str, Any]:
        fleet = self._control.fleet
        leader = fleet.leader(info.partition_id)
        return {
            "partition": info.partition_id,
            "lo": info.lo,
            "hi": info.hi,
            "leader": None if leader is None else leader.node,
            "items": None if leader is None else leader.rows,
            "bytes": None if leader is None else leader.size,
            "large": info.partition_id in large,
            "waits": large.get(info.partition_id) or None,
            "copies": {node.name: copy_of(node, node.facts(info.partition_id)).state for node in fleet.members(info)},
        }


def _former(one: FormerPartition) -> dict[str, Any]:
    return {
        "partition": one.info.partition_id,
        "lo": one.info.lo,
        "hi": one.info.hi,
        "left": one.split.left,
        "right": one.split.right,
        "lsn": one.final.lsn,
        "until": utc_text(one.closed_us),
        "archived": None if one.archived_at is None else utc_text(one.archived_at),
    }


def _index(table: TableMeta, name: str) -> GlobalIndex:
    """Raises Invalid."""
    found = next((one for one in table.global_indexes or () if one.name == name and one.status != "DELETING"), None)
    if found is None:
        raise Invalid("the table has no such global index", table=table.name, index=name)
    return found


def _index_cut(index: GlobalIndex, at: Any) -> bytes:
    """The hash of an index's partition key. Raises Invalid."""
    values: list[Value] = []
    try:
        item = item_from_json(at, "at")
        for one in index.hash:
            value = item.get(one.name)
            if value is None or value[0] != one.type:
                raise Invalid(
                    "a partition key is needed",
                    asked=json.dumps(at, ensure_ascii=False),
                    next=f"name the attribute {one.name}, of type {one.type}",
                )
            values.append(value)
    except (ItemError, SerializationError) as error:
        raise Invalid("no key of this index", asked=json.dumps(at, ensure_ascii=False), found=str(error)) from None
    return global_index.hash_prefix(values)


def _cut(table: TableMeta, at: Any) -> bytes:
    """The hash of a partition key. Raises Invalid."""
    name = table.key.partition.name
    try:
        value = item_from_json(at, "at").get(name)
        if value is None or value[0] != table.key.partition.type:
            raise Invalid(
                "a partition key is needed",
                asked=json.dumps(at, ensure_ascii=False),
                next=f"name the attribute {name}, of type {table.key.partition.type}",
            )
        if table.key.sort is None:
            check_key_sizes(table.key, {name: value})
    except (ItemError, SerializationError) as error:
        raise Invalid("no key of this table", asked=json.dumps(at, ensure_ascii=False), found=str(error)) from None
    return hash_prefix(table.key, value)
