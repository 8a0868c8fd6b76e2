"""What a pack took the place of and still lies there: it is needed no more, whoever asks. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from scrubjay.archiver.format.layout import SegmentKey, build, parse
from scrubjay.archiver.read.names import Names
from scrubjay.archiver.read.partition import PartitionIndex
from scrubjay.archiver.read.rows import SegmentRow


class Replaced(NamedTuple):
    """A pack that is there, and objects that it took the place of and that still lie there: key and size, manifests first."""

    pack: SegmentKey
    objects: tuple[tuple[str, int], ...]


def replaced_by_packs(index: PartitionIndex, names: Names, rows: Sequence[SegmentRow]) -> Iterator[Replaced]:
    """Objects of their own of segments that count in a pack with a manifest. What says something else of the same records is no such object: it stays."""
    packs: dict[tuple[int, int, str], SegmentKey] = {}
    for row in rows:
        if row.pack is not None:
            packs[row.first, row.last, row.sha16] = row.key(index.cluster, index.table, index.partition)
    own = {row[:4]: row.chain for row in index.rows if row.pack is None}
    counts = {(row.first, row.last, row.sha16): row.chain for row in rows}
    found: dict[SegmentKey, list[tuple[str, int]]] = {}
    for name, size in names.log.items():
        key = parse(name)
        if not isinstance(key, SegmentKey) or (pack := packs.get((key.first, key.last, key.sha16))) is None:
            continue
        ident = (key.first, key.last, key.sha16)
        if build(pack.twin()) in names.log and own.get(key[3:7], counts[ident]) == counts[ident]:
            found.setdefault(pack, []).append((name, size))
    for pack, objects in found.items():
        yield Replaced(pack, tuple(sorted(objects, key=lambda one: (not one[0].endswith(".json"), one[0]))))
