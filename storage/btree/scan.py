"""Scans of a pinned tree from the file's bytes: digests, rows, dumps. Generators, so that one worker serves several at a bounded pace.

Each yields the bytes it read since it last yielded; its result is the generator's return value. A scan never stops at damage: it names it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Generator, Iterator, Sequence
from operator import lt
from typing import NamedTuple

from scrubjay.base.checksum import row_hash
from scrubjay.base.errors import Corrupt
from scrubjay.storage.btree.engine import RowFact
from scrubjay.storage.btree.fence import FIRST_START, Fence, decode_fence, key_hash
from scrubjay.storage.btree.index_rows import IndexTally
from scrubjay.storage.btree.lmdb_tree import TreeReader
from scrubjay.storage.btree.row import HEADER_SIZE, checked_hashes, decode_value, lsn_of
from scrubjay.storage.btree.rowfile import RowFileWriter
from scrubjay.storage.btree.split_point import CutPoint, SplitPoint
from scrubjay.storage.items.local_index import is_entry
from scrubjay.storage.log.digest import MASK, RangeDigest, Total

YIELD_BYTES = 1 << 17
FINDINGS_MAX = 1000
"""Bad keys and structure findings kept of one scan; more are counted in a last line."""


class Scanned(NamedTuple):
    """digest: `RangeDigest.encode()`, of the items. entries: `IndexTally.encode()`, of the index rows."""

    digest: bytes
    bad: list[bytes]
    structure: list[str]
    bytes_read: int
    entries: bytes = b""


class _Runs:
    """Compares what a scan passes with the fences, run by run."""

    def __init__(self, reader: TreeReader, structure: list[str]) -> None:
        self._structure = structure
        self._fences = self._load(reader)
        self._at = 0
        self._rows = self._keys = self._sums = self._bad = 0

    def _load(self, reader: TreeReader) -> list[Fence]:
        fences: list[Fence] = []
        expected: bytes | None = FIRST_START
        try:
            for start, value in reader.raw_fences():
                try:
                    fence = decode_fence(start, value)
                except Corrupt as error:
                    self._structure.append(f"fence {start.hex()}: {error.message}")
                    expected = b""
                    continue
                if expected != start and expected != b"":
                    self._structure.append(f"fence {start.hex()}: the one before it is missing")
                expected = fence.end
                fences.append(fence)
        except Corrupt as error:
            self._structure.append(f"fences: {error.message}")
            return fences
        if expected is not None and expected != b"":
            self._structure.append("fences: the last one is missing")
        self._check_totals(reader, fences)
        return fences

    def _check_totals(self, reader: TreeReader, fences: list[Fence]) -> None:
        try:
            facts = reader.facts()
        except Corrupt as error:
            self._structure.append(f"state: {error.message}")
            return
        sums = sum(fence.key_sum for fence in fences) & MASK, sum(fence.row_sum for fence in fences) & MASK
        if (sum(fence.rows for fence in fences), len(fences), *sums) != facts[1:]:
            self._structure.append("fences do not add up to the tree's totals")

    def rows(self, keys: Sequence[bytes], hashes: Sequence[int]) -> None:
        """Rows went by, their keys rising. hashes: 0 for a bad one."""
        at, count = 0, len(keys)
        while at < count and self._at < len(self._fences):
            fence = self._fences[self._at]
            if self._past(fence, keys[at]):
                self._close()
                continue
            if keys[at] < fence.start:  # a fence is missing, and named already
                at = bisect_left(keys, fence.start, at)
                continue
            stop = count if fence.end is None else bisect_left(keys, fence.end, at)
            run = hashes[at:stop]
            self._rows += stop - at
            self._keys += sum(map(key_hash, keys[at:stop]))
            self._sums += sum(run)
            self._bad += run.count(0)
            at = stop

    @staticmethod
    def _past(fence: Fence, key: bytes) -> bool:
        return fence.end is not None and key >= fence.end

    def _close(self) -> None:
        fence = self._fences[self._at]
        if self._rows != fence.rows:
            self._structure.append(f"run {fence.start.hex()}: {self._rows} rows, its fence says {fence.rows}")
        elif self._keys & MASK != fence.key_sum:
            self._structure.append(f"run {fence.start.hex()}: keys do not add up")
        elif self._sums & MASK != fence.row_sum and not self._bad:  # a row that failed its own check explains the sum, and is named
            self._structure.append(f"run {fence.start.hex()}: rows do not add up")
        self._at += 1
        self._rows = self._keys = self._sums = self._bad = 0

    def finish(self) -> None:
        while self._at < len(self._fences):
            self._close()


def scan_digest(reader: TreeReader, lo: bytes, hi: bytes | None, *, indexed: bool = False) -> Generator[int, None, Scanned]:
    """Digests of everything in the tree, recomputed from its bytes; [lo, hi) is the partition's range, rows outside are findings.

    indexed: of a table with local indexes; index rows of any other are items like the rest, and so differ from what there must be.
    """
    digest, index = RangeDigest(lo, hi), IndexTally(lo, hi)
    bad: list[bytes] = []
    structure: list[str] = []
    total = 0
    runs = _Runs(reader, structure)
    last = b""
    rows = reader.raw_rows()
    broken: Corrupt | None = None
    while broken is None:
        taken, size, broken = _taken(rows)
        if not taken:
            break
        total += size
        keys, hashes = [key for key, _ in taken], checked_hashes(taken)
        entries = [(key, value[HEADER_SIZE:]) for key, value in taken if is_entry(key, value[HEADER_SIZE:])] if indexed else []
        in_order = last < keys[0] and all(map(lt, keys, keys[1:])) and digest.holds(keys[0]) and digest.holds(keys[-1])
        for some, theirs in [(keys, hashes)] if in_order else [([key], [hash_]) for key, hash_ in zip(keys, hashes, strict=True)]:
            if not digest.holds(some[0]):
                theirs = [0]
            if 0 in theirs:
                bad += [key for key, hash_ in zip(some, theirs, strict=True) if not hash_]
                _add(digest, index, *_good(some, theirs), entries)
            else:
                _add(digest, index, some, theirs, entries)
            runs.rows(some, theirs)
            if some[0] <= last:
                structure.append(f"row {some[0].hex()}: out of order")
            last = some[-1]
        yield size
    if broken is None:
        runs.finish()
    else:
        structure.append(f"rows behind {last.hex()}: {broken.message}")
    return Scanned(digest.encode(), bad[:FINDINGS_MAX], _bounded(structure), total, index.encode())


def _add(digest: RangeDigest, index: IndexTally, keys: list[bytes], hashes: list[int], entries: list[tuple[bytes, bytes]]) -> None:
    """Good rows, items to the one and index rows to the other. entries: the index rows among them, and others."""
    if entries:
        values = dict(entries)
        for key, hash_ in zip(keys, hashes, strict=True):
            if key in values:
                index.add(key, values[key], hash_)
        mine = [(key, hash_) for key, hash_ in zip(keys, hashes, strict=True) if key not in values]
        keys, hashes = [key for key, _ in mine], [hash_ for _, hash_ in mine]
    digest.add_rising(keys, hashes)


def _taken(rows: Iterator[tuple[bytes, bytes]]) -> tuple[list[tuple[bytes, bytes]], int, Corrupt | None]:
    """The next rows, YIELD_BYTES of them; none: that was all. Their bytes; and what keeps any more from being read."""
    taken: list[tuple[bytes, bytes]] = []
    size = 0
    try:
        for row in rows:
            taken.append(row)
            size += len(row[0]) + len(row[1])
            if size >= YIELD_BYTES:
                break
    except Corrupt as error:
        return taken, size, error
    return taken, size, None


def _good(keys: list[bytes], hashes: list[int]) -> tuple[list[bytes], list[int]]:
    """Without those that are bad."""
    return [key for key, hash_ in zip(keys, hashes, strict=True) if hash_], [hash_ for hash_ in hashes if hash_]


def _bounded(findings: list[str]) -> list[str]:
    if len(findings) <= FINDINGS_MAX:
        return findings
    return [*findings[:FINDINGS_MAX], f"and {len(findings) - FINDINGS_MAX} more"]


def scan_rows(reader: TreeReader, start: bytes, end: bytes | None, limit: int) -> Generator[int, None, list[RowFact]]:
    """What is there in [start, end), good or not, at most `limit` rows."""
    facts: list[RowFact] = []
    yield 0
    for key, value in reader.raw_rows(start, end):
        try:
            row = decode_value(key, value)
            facts.append(RowFact(key, row_hash(key, row.item), row.lsn))
        except Corrupt:
            facts.append(RowFact(key, 0, lsn_of(value)))
        if len(facts) >= limit:
            break
    return facts


def scan_dump(
    reader: TreeReader, sink: Callable[[bytes], None], start: bytes = b"", end: bytes | None = None
) -> Generator[int, None, Total]:
    """The items with start <= key < end as a row file, through the checked path. Raises Corrupt if anything is bad."""
    writer = RowFileWriter(sink)
    pending = 0
    for row in reader.range(start or FIRST_START, end):
        if not is_entry(row.key, row.item):
            writer.add(row.key, row.lsn, row.stamp, row.item)
        pending += len(row.key) + len(row.item)
        if pending >= YIELD_BYTES:
            yield pending
            pending = 0
    return writer.finish()


def scan_cut(reader: TreeReader) -> Generator[int, None, CutPoint | None]:
    """Where the tree is cut in two halves, by bytes. Raises Corrupt if anything is bad."""
    point, pending = SplitPoint(), 0
    for row in reader.range(FIRST_START, None):
        size = len(row.key) + len(row.item)
        point.add(row.key, size)
        pending += size
        if pending >= YIELD_BYTES:
            yield pending
            pending = 0
    return point.nearest()
