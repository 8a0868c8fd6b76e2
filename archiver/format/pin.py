"""The `pins/` object: a backup by name. No copy: it says which moment of which table has to stay restorable, and retention leaves what that needs (docs/formats/pin.md).

It says enough of the table to make it anew where nobody remembers it, and which bytes it is of: the chain value of each partition's log at the seal that ends the moment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import msgspec

from scrubjay.archiver.format import canonical
from scrubjay.archiver.format.fields import Fields
from scrubjay.archiver.format.layout import PinKey
from scrubjay.base.ids import Lsn, PartitionId, TableId
from scrubjay.storage.catalogue import GlobalIndex, KeyAttribute, KeySchema, LocalIndex, PartitionInfo, TableMeta, Throughput

T = TypeVar("T")
FORMAT = "scrubjay pin"
VERSION = 3
_FIRST_VERSION, _ENDS_VERSION = 1, 2
_BILLING = ("PROVISIONED", "PAY_PER_REQUEST")
_VIEWS = ("KEYS_ONLY", "NEW_IMAGE", "OLD_IMAGE", "NEW_AND_OLD_IMAGES")


class PinEnd(NamedTuple):
    """Where the log of a partition ended that the archive proved when the backup was made. lsn: of a seal, closed at or after the moment; or of the base that holds it whole.
    chain: the chain value there, 64 hex digits: it covers every byte before it."""

    partition: PartitionId
    lsn: Lsn
    chain: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupPin:
    """id: see PinKey. name: as its maker called it, not unique. at_us: the moment, inclusive. created_us: when it was made. table: as it was then: key, local indexes,
    attributes, partitions (without members), billing, throughput, class; its status is ACTIVE. rows, bytes: of its leaders, then. ends: of each partition, by its id; None: the archive was late, or the pin is of version 1. stream: view type of the stream that was on, "": none was, or
    nobody knows. ttl: attribute of its time to live, likewise. epoch, owner: as in every object.
    """

    cluster: str
    id: str
    name: str
    at_us: int
    created_us: int
    table: TableMeta
    rows: int
    bytes: int
    epoch: int
    owner: str
    ends: tuple[PinEnd, ...] | None = None
    stream: str = ""
    ttl: str = ""

    def key(self) -> PinKey:
        return PinKey(self.cluster, self.id)


def encode_pin(pin: BackupPin) -> bytes:
    table = pin.table
    indexes = {name: msgspec.to_builtins(found) for name in _INDEXES if (found := getattr(table, name))}
    features = {name: found for name in _FEATURES if (found := getattr(pin, name))}
    return canonical.encode(
        {
            **indexes,
            **features,
            "format": FORMAT,
            # a release before reads what has nothing new to say
            "version": VERSION if features else _ENDS_VERSION,
            "cluster": pin.cluster,
            "id": pin.id,
            "name": pin.name,
            "at": pin.at_us,
            "created": pin.created_us,
            "table": table.table_id,
            "table_name": table.name,
            "table_created": table.created_at,
            "key": [[one.name, one.type] for one in (table.key.partition, table.key.sort) if one is not None],
            "attributes": [list(one) for one in table.attributes],
            "partitions": [[one.partition_id, one.lo, one.hi] for one in table.partitions],
            "billing": table.billing,
            "throughput": [table.throughput.read, table.throughput.write],
            "on_demand": None if table.on_demand is None else [table.on_demand.read, table.on_demand.write],
            "table_class": table.table_class,
            "rows": pin.rows,
            "bytes": pin.bytes,
            "ends": None if pin.ends is None else [list(end) for end in pin.ends],
            "epoch": pin.epoch,
            "owner": pin.owner,
        }
    )


_INDEXES = ("local_indexes", "global_indexes", "attributes_now")
"""Only of a table that has such."""
_FEATURES = ("stream", "ttl")
"""Likewise; since version 3."""
_NAMES = (
    "format", "version", "cluster", "id", "name", "at", "created", "table", "table_name", "table_created", "key", "attributes", "partitions", "billing", "throughput",
    "on_demand", "table_class", "rows", "bytes", "epoch", "owner",
)  # fmt: skip


def decode_pin(data: bytes, *, where: str) -> BackupPin:
    """where: its object key. Raises Corrupt."""
    said = canonical.decode(data, where=where, format=FORMAT, version=VERSION, later=(_FIRST_VERSION, _ENDS_VERSION))
    f = Fields(said, what="pin", where=where)
    features = _FEATURES if said["version"] == VERSION else ()
    f.only(
        *_NAMES,
        *(("ends",) if said["version"] >= _ENDS_VERSION else ()),
        *(name for name in (*_INDEXES, *features) if name in f.fields),
    )
    pin = BackupPin(
        cluster=f.uuid("cluster"),
        id=f.text("id"),
        name=f.text("name"),
        at_us=f.integer("at"),
        created_us=f.integer("created"),
        table=_table(f),
        rows=f.integer("rows"),
        bytes=f.integer("bytes"),
        epoch=f.integer("epoch", low=1),
        owner=f.uuid("owner"),
        ends=_ends(f),
        stream=_feature(f, "stream"),
        ttl=_feature(f, "ttl"),
    )
    if pin.stream not in ("", *_VIEWS):
        raise f.bad("stream")
    f.stands_at(pin.key())
    return pin


def _feature(f: Fields, name: str) -> str:
    return f.text(name) if name in f.fields else ""


def _ends(f: Fields) -> tuple[PinEnd, ...] | None:
    """One for each partition, in the order of their ids. Raises Corrupt."""
    if f.fields.get("ends") is None:
        return None
    ends = []
    for row in f.items("ends"):
        if not isinstance(row, list) or len(row) != 3:
            raise f.bad("ends")
        end = Fields(dict(zip(("partition", "lsn", "chain"), row, strict=True)), what=f.what, where=f.where)
        ends.append(PinEnd(PartitionId(end.uuid("partition")), Lsn(end.integer("lsn")), end.hex("chain", 64)))
    if [end.partition for end in ends] != sorted([str(row[0]) for row in f.items("partitions")]):
        raise f.bad("ends")
    return tuple(ends)


def _table(f: Fields) -> TableMeta:
    keys = [KeyAttribute(name, kind) for name, kind in _rows(f, "key", 2)]
    partitions = []
    for row in _rows(f, "partitions", 3):
        part = Fields(dict(zip(("partition", "lo", "hi"), row, strict=True)), what=f.what, where=f.where)
        partitions.append(PartitionInfo(PartitionId(part.uuid("partition")), part.bound("lo"), part.bound("hi"), ()))
    billing, on_demand = f.text("billing"), f.fields.get("on_demand", "")
    if not 1 <= len(keys) <= 2 or not partitions or any(one.type not in ("S", "N", "B") for one in keys):
        raise f.bad("key")
    if billing not in _BILLING:
        raise f.bad("billing")
    return TableMeta(
        table_id=TableId(f.uuid("table")),
        name=f.text("table_name"),
        status="ACTIVE",
        key=KeySchema(*keys),
        attributes=tuple((name, kind) for name, kind in _rows(f, "attributes", 2)),
        partitions=tuple(partitions),
        created_at=f.integer("table_created"),
        billing=billing,
        throughput=_units(f, "throughput"),
        on_demand=None if on_demand is None else _units(f, "on_demand"),
        table_class=f.text("table_class"),
        local_indexes=_described(f, "local_indexes", tuple[LocalIndex, ...]),
        global_indexes=_described(f, "global_indexes", tuple[GlobalIndex, ...]),
        attributes_now=_described(f, "attributes_now", tuple[tuple[str, str], ...]),
    )


def _described(f: Fields, name: str, kind: type[T]) -> T | msgspec.UnsetType:
    """A list of what `kind` has; UNSET: nothing is said of it. Raises Corrupt."""
    if name not in f.fields:
        return msgspec.UNSET
    try:
        return msgspec.convert(f.items(name), kind)
    except msgspec.ValidationError as error:
        raise f.bad(name) from error


def _rows(f: Fields, name: str, columns: int) -> list[list[str]]:
    rows = f.items(name)
    if any(not isinstance(row, list) or len(row) != columns or any(not isinstance(one, str) for one in row) for row in rows):
        raise f.bad(name)
    return rows


def _units(f: Fields, name: str) -> Throughput:
    """Read and write units; -1 in an on-demand ceiling is none."""
    pair: list[Any] = f.items(name)
    if len(pair) != 2 or any(not isinstance(one, int) or isinstance(one, bool) or one < -1 for one in pair):
        raise f.bad(name)
    return Throughput(*pair)
