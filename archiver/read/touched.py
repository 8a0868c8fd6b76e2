"""Of a base, the rows whose keys the log behind it touches: all that two moments on one base can differ in, and all that the digests of the seals behind it need of it.

A seal's agreed digest is the base's, without what the log took the place of, and with what it wrote. So the rows that are read here are proven by the seals (`ArchiveReplay.merge`,
touched_only), and those that are not read are the same at either moment. Whether *they* are sound is not said: a scrub and `verify` say it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import NamedTuple

from scrubjay.archiver.format.base import BaseManifest
from scrubjay.archiver.format.layout import build
from scrubjay.base.checksum import row_hashes
from scrubjay.base.env import Disk, ObjectStore
from scrubjay.base.errors import FORGED, Corrupt
from scrubjay.storage.btree.engine import Row
from scrubjay.storage.btree.rowfile import (
    FOOTER,
    RowFileIndex,
    RowFileWriter,
    block_of,
    index_span,
    read_index_alone,
    rows_of_block,
    span_of,
)

SPAN_BYTES = 8 << 20
"""Of a base read at once, at most; a block that is larger is read by itself."""
GAP_BYTES = 256 << 10
"""What nobody wants between two blocks is read too, up to so much: a request costs more."""

Keys = Callable[[], Iterator[list[bytes]]]
"""Storage keys, rising, some at a time, from the beginning whenever it is called."""


class Touched(NamedTuple):
    """Of the base's rows within the range that was asked about: rows, all of them; found, those that were written out."""

    rows: int
    found: int


class _Part:
    """Bytes of a row file from `start` on."""

    def __init__(self, start: int, data: bytes) -> None:
        self._start, self._data = start, data

    def read(self, offset: int, length: int) -> bytes:
        return self._data[offset - self._start : offset - self._start + length]


async def fetch_touched(
    store: ObjectStore, base: BaseManifest, keys: Keys, disk: Disk, path: str, *, low: bytes, high: bytes | None
) -> Touched:
    """Into a row file at `path` (replaced if it is there) those of the base's rows that have one of the keys. low, high: the range that rows are counted in, high
    exclusive, None: to the end. Scratch: it is not synced. What is read of the base is checked by the sums of its blocks alone: whoever uses the rows proves them.
    Raises Corrupt, Missing, Unavailable."""
    if disk.exists(path):
        disk.remove(path)
    file = disk.open(path, create_size=0)
    try:
        index = await _index(store, base)
        edges = {number for edge in (low, high) if edge and (number := block_of(index, edge)) is not None}
        wanted = sorted({*edges, *_holding(index, keys())})
        offset = found = 0
        rows = sum(_rows_inside(index, low, high, without=edges))
        pieces: list[bytes] = []
        writer = RowFileWriter(pieces.append)
        asked = _Asked(keys())
        for first, last in _together(index, wanted):
            part = await _bytes(store, base, span_of(index, wanted[first])[0], span_of(index, wanted[last])[1])
            for number in wanted[first : last + 1]:
                block = rows_of_block(part.read, index, number)
                if number in edges:
                    rows += sum([_inside(row.key, low, high) for row in block])
                chosen = asked.among(block)
                found += sum([_inside(row.key, low, high) for row in chosen])
                writer.add_all(chosen, row_hashes(chosen))
            data = b"".join(pieces)
            pieces.clear()
            file.write(offset, data)
            offset += len(data)
        writer.finish()
        file.write(offset, b"".join(pieces))
    except Corrupt as error:
        raise Corrupt(error.message, kind=FORGED, what="base", where=build(base.key())) from error
    finally:
        file.close()
    return Touched(rows, found)


async def _index(store: ObjectStore, base: BaseManifest) -> RowFileIndex:
    """Raises Corrupt, also if it is not of the rows that the manifest names."""
    size = base.file.size
    start, _ = index_span((await _bytes(store, base, max(size - FOOTER.size, 0), size)).read, size)
    index = read_index_alone((await _bytes(store, base, start, size)).read, size)
    if index.total != base.total:
        raise Corrupt("the base's row file has another total than its manifest", what="base")
    return index


async def _bytes(store: ObjectStore, base: BaseManifest, start: int, end: int) -> _Part:
    """Of the base's row file, out of the objects that it is cut into."""
    ends = list(accumulate(part.size for part in base.parts))
    pieces = []
    for number in range(bisect_right(ends, start), bisect_left(ends, end) + 1):
        first = ends[number] - base.parts[number].size
        pieces.append(await store.get_range(build(base.key(number)), max(start - first, 0), min(end, ends[number]) - first))
    return _Part(start, b"".join(pieces))


def _holding(index: RowFileIndex, keys: Iterator[list[bytes]]) -> Iterator[int]:
    """The blocks that can hold some of the keys; one may come again. Pure."""
    begins = [entry.first_key for entry in index.blocks]
    last = -1
    for some in keys:
        for key in some:
            number = bisect_right(begins, key) - 1
            if number != last and number >= 0:
                yield (last := number)


def _together(index: RowFileIndex, wanted: list[int]) -> Iterator[tuple[int, int]]:
    """What is read at once: from which of the wanted blocks to which, both inclusive. Pure."""
    first = 0
    for at in range(1, len(wanted) + 1):
        if at < len(wanted):
            begin, (start, end) = span_of(index, wanted[first])[0], span_of(index, wanted[at])
            if end - begin <= SPAN_BYTES and start - span_of(index, wanted[at - 1])[1] <= GAP_BYTES:
                continue
        if wanted:
            yield first, at - 1
        first = at


def _rows_inside(index: RowFileIndex, low: bytes, high: bytes | None, *, without: set[int]) -> Iterator[int]:
    """The rows of each block that lies in the range with all its rows. without: blocks with an end of the range in them. Pure."""
    for number, entry in enumerate(index.blocks):
        if number not in without and _inside(entry.first_key, low, high):
            yield entry.rows


def _inside(key: bytes, low: bytes, high: bytes | None) -> bool:
    return low <= key and (high is None or key < high)


class _Asked:
    """Keys on their way: each block takes those that it can hold."""

    def __init__(self, keys: Iterator[list[bytes]]) -> None:
        self._keys = keys
        self._waiting: list[bytes] = []

    def among(self, rows: list[Row]) -> list[Row]:
        """Those of a block's rows that have one of the keys. Blocks come in order."""
        if not rows:
            return []
        while not self._waiting or self._waiting[-1] <= rows[-1].key:
            more = next(self._keys, None)
            if more is None:
                break
            self._waiting += more
        at = bisect_right(self._waiting, rows[-1].key)
        here = set(self._waiting[:at])
        del self._waiting[:at]
        return [row for row in rows if row.key in here]
