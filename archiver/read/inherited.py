"""What a child of a split rests on while it has no base of its own: its parent's rows at the parent's last SEAL, as far as they lie in the child's range (ADR 0078).

To whoever rebuilds a child this is a base that is made instead of fetched: `rebuild` makes it, and so do the jobs of time travel. How is said by names of objects alone, so that it travels to
a worker as a base's name does: the parent's base or, where that one inherits too, how that is made, and the parent's segments up to its last SEAL.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from scrubjay.archiver.format.base import BaseManifest, decode_base
from scrubjay.archiver.format.layout import SegmentKey, parse
from scrubjay.archiver.format.manifest import PartitionPlace, Sums
from scrubjay.base.env import ObjectStore
from scrubjay.base.errors import Invalid
from scrubjay.storage.log.split import born_facts, read_born

_NO_FILE = Sums(0, "0" * 8, "0" * 64)


class Inheritance(NamedTuple):
    """How the first state of the child `partition` is made. place: of the child; its `born` says what must come out. base: key of the base manifest of the parent to begin with, or how what the parent
    inherits is made, None: the parent's log is read from its beginning. segments: object keys, of the parent's log from there to its end."""

    cluster: str
    table: str
    partition: str
    place: PartitionPlace
    base: str | Inheritance | None
    segments: tuple[str, ...]

    def argument(self) -> dict[str, Any]:
        """As a worker is told: plain data."""
        born = self.place.born
        assert born is not None
        return {
            "cluster": self.cluster,
            "table": self.table,
            "partition": self.partition,
            "place": [*self.place[:4], born_facts(born)],
            "base": self.base.argument() if isinstance(self.base, Inheritance) else self.base,
            "segments": list(self.segments),
        }

    def objects(self) -> list[str]:
        """Keys of the objects that it names, oldest first."""
        before = self.base.objects() if isinstance(self.base, Inheritance) else [] if self.base is None else [self.base]
        return [*before, *self.segments]


@dataclass(frozen=True, slots=True, kw_only=True)
class InheritedBase(BaseManifest):
    """The first state of a child: no object of the archive. of, segments: the parent's base, None: its log is read from its beginning; and the log behind it."""

    of: BaseManifest | None
    segments: tuple[SegmentKey, ...]

    def holds(self, key: bytes, _item: bytes) -> bool:
        """A row of the parent lies in the child's range."""
        return bytes.fromhex(self.lo) <= key and (not self.hi or key < bytes.fromhex(self.hi))


async def start_of(store: ObjectStore, asked: str | dict[str, Any] | None) -> BaseManifest | None:
    """What a rebuild begins with, as a job is told: key of a base manifest, or `Inheritance.argument`; None: from the empty state. Raises Missing, Corrupt, Invalid, Unavailable."""
    if not asked:
        return None
    if isinstance(asked, str):
        return decode_base(await store.get(asked), where=asked)
    table_name, schema, lo, hi, said = asked["place"]
    born = read_born(said)
    segments = [parse(name) for name in asked["segments"]]
    if not all(isinstance(key, SegmentKey) for key in segments):
        raise Invalid("not a segment's key", key=str(asked["segments"]))
    return InheritedBase(
        cluster=asked["cluster"], table=asked["table"], partition=asked["partition"], table_name=table_name, schema=schema, lo=lo, hi=hi,
        lsn=born.lsn, stamp=born.stamp, chain=born.chain, total=born.total, file=_NO_FILE, parts=(), generation=1, epoch=1, owner="", born=born,
        of=await start_of(store, asked["base"]), segments=tuple(key for key in segments if isinstance(key, SegmentKey)),
    )  # fmt: skip
