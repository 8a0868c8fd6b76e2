"""`closed/` objects: the closed timestamps of the partitions that one node leads, one object per interval (docs/formats/closed.md).

They move the end of the restorable window while nothing is written. "closed" at C with `last_content` L says: every content record with a stamp <= C has
an LSN <= L. So once the archive reaches L without a hole, every moment up to C can be restored.
"""

from __future__ import annotations

from dataclasses import dataclass

from scrubjay.archiver.format import canonical
from scrubjay.archiver.format.fields import Fields, stamp_text
from scrubjay.archiver.format.layout import ClosedKey, build
from scrubjay.base.ids import Lsn, PartitionId, Stamp, TableId
from scrubjay.storage.archive_port import ClosedPoint

FORMAT = "scrubjay closed"
VERSION = 2
_ROW = ("partition", "table", "closed", "last_content", "last_seal", "chain", "archived")


@dataclass(frozen=True, slots=True)
class ClosedObject:
    """points: sorted by partition. time_us: when it was published, on the node's clock. epoch, owner: in which term (archiver.format.identity).

    before_us: time of the node's closed object before this one, None for its first: so the loss of one is seen from the next.
    """

    cluster: str
    node: str
    time_us: int
    epoch: int
    owner: str
    points: tuple[ClosedPoint, ...]
    before_us: int | None = None

    def key(self) -> str:
        return build(ClosedKey(self.cluster, self.node, self.time_us))


def encode_closed(closed: ClosedObject) -> bytes:
    """Partitions are rows [partition, table, closed, last_content, last_seal, chain, archived]: a thousand of them are about 160 KB."""
    tables = sorted({str(point.table) for point in closed.points})
    number = {table: index for index, table in enumerate(tables)}
    rows = [
        [
            point.partition,
            number[point.table],
            stamp_text(point.closed),
            point.last_content,
            point.last_seal,
            point.chain.hex(),
            point.archived,
        ]
        for point in closed.points
    ]
    return canonical.encode(
        {
            "format": FORMAT,
            "version": VERSION,
            "cluster": closed.cluster,
            "node": closed.node,
            "time": closed.time_us,
            "epoch": closed.epoch,
            "owner": closed.owner,
            "before": closed.before_us,
            "tables": tables,
            "partitions": rows,
        }
    )


def decode_closed(data: bytes, *, where: str) -> ClosedObject:
    """where: its object key. Raises Corrupt."""
    f = Fields(canonical.decode(data, where=where, format=FORMAT, version=VERSION), what="closed", where=where)
    f.only("format", "version", "cluster", "node", "time", "epoch", "owner", "before", "tables", "partitions")
    before = f.integer("before") if f.fields.get("before", 0) is not None else None
    tables = [Fields({"table": table}, what="closed", where=where).uuid("table") for table in f.items("tables")]
    points = []
    for row in f.items("partitions"):
        if not isinstance(row, list) or len(row) != len(_ROW):
            raise f.bad("partitions")
        r = Fields(dict(zip(_ROW, row, strict=True)), what="closed", where=where)
        points.append(
            ClosedPoint(
                TableId(tables[r.integer("table", high=len(tables) - 1)]),
                PartitionId(r.uuid("partition")),
                Stamp(r.stamp("closed")),
                Lsn(r.integer("last_content")),
                Lsn(r.integer("last_seal")),
                bytes.fromhex(r.hex("chain", 64)),
                Lsn(r.integer("archived")),
            )
        )
    closed = ClosedObject(
        f.uuid("cluster"), f.text("node"), f.integer("time"), f.integer("epoch", low=1), f.uuid("owner"), tuple(points), before
    )
    if before is not None and before >= closed.time_us:
        raise f.bad("before")
    f.stands_at(ClosedKey(closed.cluster, closed.node, closed.time_us))
    return closed
