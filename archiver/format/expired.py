"""The `expired/` object: what retention took away at the beginning of a partition's history, and why it might (docs/formats/expired.md).

It is there before the first object goes, so at no moment is anything absent of which nobody says why. Whoever reads it takes the history to begin at the
base that it names; what still lies below is left over and counts for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from scrubjay.archiver.format import canonical
from scrubjay.archiver.format.fields import Fields, stamp_text
from scrubjay.archiver.format.layout import BaseKey, ExpiredKey, parse

FORMAT = "scrubjay expired"
VERSION = 1

RETENTION, DROPPED = "retention", "dropped"
"""Why: older than the window; or the table was dropped and its window has ended, so that all of it goes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpiredObject:
    """Records [1, lsn] and every base below `lsn` are taken away. stamp, chain: at `lsn` (chain None: dropped, nobody reads on). base: object key of the
    base manifest on which the rest stands; None: there is no rest, the table was dropped. keep_from_us: every moment from there on stays restorable.
    at_us: when this was decided. objects, bytes: that were to go then. generation, epoch, owner: as in every object."""

    cluster: str
    table: str
    partition: str
    table_name: str
    lsn: int
    stamp: int
    chain: bytes | None
    base: str | None
    reason: str
    keep_from_us: int
    at_us: int
    objects: int
    bytes: int
    generation: int
    epoch: int
    owner: str

    @property
    def whole(self) -> bool:
        """Nothing of the partition is left."""
        return self.base is None

    def key(self) -> ExpiredKey:
        return ExpiredKey(self.cluster, self.table, self.partition, self.lsn, self.generation)


_NAMES = (
    "format", "version", "cluster", "table", "partition", "table_name", "lsn", "stamp", "chain", "base", "reason", "keep_from", "at", "objects", "bytes",
    "generation", "epoch", "owner",
)  # fmt: skip


def encode_expired(expired: ExpiredObject) -> bytes:
    e = expired
    return canonical.encode(
        {
            "format": FORMAT,
            "version": VERSION,
            "cluster": e.cluster,
            "table": e.table,
            "partition": e.partition,
            "table_name": e.table_name,
            "lsn": e.lsn,
            "stamp": stamp_text(e.stamp),
            "chain": None if e.chain is None else e.chain.hex(),
            "base": e.base,
            "reason": e.reason,
            "keep_from": e.keep_from_us,
            "at": e.at_us,
            "objects": e.objects,
            "bytes": e.bytes,
            "generation": e.generation,
            "epoch": e.epoch,
            "owner": e.owner,
        }
    )


def decode_expired(data: bytes, *, where: str) -> ExpiredObject:
    """where: its object key. Raises Corrupt."""
    f = Fields(canonical.decode(data, where=where, format=FORMAT, version=VERSION), what="expired", where=where)
    f.only(*_NAMES)
    expired = ExpiredObject(
        cluster=f.uuid("cluster"),
        table=f.uuid("table"),
        partition=f.uuid("partition"),
        table_name=f.text("table_name"),
        lsn=f.integer("lsn", low=1),
        stamp=f.stamp("stamp"),
        chain=None if f.fields.get("chain", "") is None else bytes.fromhex(f.hex("chain", 64)),
        base=None if f.fields.get("base", "") is None else f.text("base"),
        reason=f.text("reason"),
        keep_from_us=f.integer("keep_from"),
        at_us=f.integer("at"),
        objects=f.integer("objects"),
        bytes=f.integer("bytes"),
        generation=f.integer("generation", low=1),
        epoch=f.integer("epoch", low=1),
        owner=f.uuid("owner"),
    )
    if (
        expired.reason not in (RETENTION, DROPPED)
        or expired.whole != (expired.reason == DROPPED)
        or expired.whole != (expired.chain is None)
    ):
        raise f.bad("reason")
    if expired.base is not None:
        rest = parse(expired.base)
        if (
            not isinstance(rest, BaseKey)
            or rest[:4] != (expired.cluster, expired.table, expired.partition, expired.lsn)
            or rest.part is not None
        ):
            raise f.bad("base")
    f.stands_at(expired.key())
    return expired
