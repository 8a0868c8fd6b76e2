"""Reading `index/` objects: the names that should be there, and what was found, of all days that are kept."""

from __future__ import annotations

import heapq
import struct
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field

from scrubjay.archiver.format.day import IndexedRun, IndexObject, decode_index
from scrubjay.archiver.format.fault import Fault, said_of
from scrubjay.archiver.format.layout import BaseKey, IndexKey, SegmentKey, build, index_prefix, parse
from scrubjay.archiver.read.epochs import Epochs, index_fault
from scrubjay.archiver.read.names import list_all
from scrubjay.base.env import ObjectStore
from scrubjay.base.errors import FORGED, HOLE, Corrupt, Missing, NoKey

_NAME = struct.Struct(">QQQ8s")
"""first and last LSN of a segment (of a base its LSN, and 0), generation, half of what its name says of its SHA-256: all that a name says below its partition."""


class ToldNames:
    """The names of one partition that days tell of, each once, in order; as often as they are asked for. In memory 32 bytes for each time that one is told: a year's worth of
    names is no more than the rows of the index (`archiver.read.rows`) beside it."""

    __slots__ = ("_at", "_sorted")

    def __init__(self, cluster: str, table: str, partition: str) -> None:
        self._at = (cluster, table, partition)
        self._sorted: list[bytes] = []
        """Of each object, rising."""

    def add(self, keys: Sequence[SegmentKey | BaseKey]) -> None:
        """What one object tells."""
        self._sorted.append(b"".join(sorted(map(_packed, keys))))

    def __iter__(self) -> Iterator[str]:
        last = b""
        for packed in heapq.merge(*(_each(one) for one in self._sorted)):
            if packed != last:
                last = packed
                yield self._name(packed)

    def _name(self, packed: bytes) -> str:
        first, last, generation, sha8 = _NAME.unpack(packed)
        if last:
            return build(SegmentKey(*self._at, first, last, generation, sha8.hex(), manifest=False))
        return build(BaseKey(*self._at, first, generation, sha8.hex(), None))


def _packed(key: SegmentKey | BaseKey) -> bytes:
    first, last = (key.first, key.last) if isinstance(key, SegmentKey) else (key.lsn, 0)
    return _NAME.pack(first, last, key.generation, bytes.fromhex(key.sha16))


def _each(packed: bytes) -> Iterator[bytes]:
    return (packed[at : at + _NAME.size] for at in range(0, len(packed), _NAME.size))


@dataclass(slots=True)
class Days:
    """names: by (table, partition). runs: by kind and begin, each once. unread: objects that say nothing; what they alone said is not known."""

    names: dict[tuple[str, str], ToldNames] = field(default_factory=dict)
    runs: dict[tuple[str, int], IndexedRun] = field(default_factory=dict)
    unread: list[Fault] = field(default_factory=list)

    def note_names(self, found: IndexObject) -> None:
        parts: dict[tuple[str, str], list[SegmentKey | BaseKey]] = {}
        for key in map(parse, found.names):
            if isinstance(key, SegmentKey | BaseKey):
                parts.setdefault((key.table, key.partition), []).append(key)
        for at, keys in parts.items():
            self.names.setdefault(at, ToldNames(found.cluster, *at)).add(keys)


async def read_days(store: ObjectStore, cluster: str) -> Days:
    """All of them. Raises Unavailable."""
    days = Days()
    async for found in each_day(store, cluster):
        if isinstance(found, Fault):
            days.unread.append(found)
        else:
            days.note_names(found)
            days.runs |= {(run.kind, run.started_us): run for run in found.runs}
    return days


async def each_day(store: ObjectStore, cluster: str) -> AsyncIterator[IndexObject | Fault]:
    """One after another, the newest first; also those of a clock that ran ahead: what they name was proven all the same. Raises Unavailable."""
    epochs = Epochs(store, cluster)
    for name in reversed(await list_all(store, index_prefix(cluster))):
        if isinstance(parse(name), IndexKey):
            yield await read_day(store, name, epochs, now_us=None, ahead_us=0)


async def read_day(store: ObjectStore, name: str, epochs: Epochs, *, now_us: int | None, ahead_us: int) -> IndexObject | Fault:
    """One of them, or why it says nothing. now_us None: no time is called untrue. Raises Unavailable."""
    try:
        found = decode_index(await store.get(name), where=name)
    except Missing:
        return Fault(HOLE, name, None, "it went since it was listed")
    except (Corrupt, NoKey) as error:
        return Fault(error.kind, name, None, said_of(error))
    fault = await index_fault(found, epochs, now_us=now_us, ahead_us=ahead_us)
    return found if fault is None else Fault(FORGED, name, None, fault)
