"""Scans of a pinned tree from the file's bytes: digests, rows, dumps. Generators, so that one worker serves several at a bounded pace.

Each yields the bytes it read since it last yielded; its result is the generator's return value. A scan never stops at damage: it names it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import NamedTuple

from scrubjay.base.checksum import row_hash
from scrubjay.base.errors import Corrupt
from scrubjay.storage.btree.engine import RowFact
from scrubjay.storage.btree.fence import FIRST_START, Fence, decode_fence, key_hash
from scrubjay.storage.btree.lmdb_tree import TreeReader
from scrubjay.storage.btree.row import decode_value, lsn_of
from scrubjay.storage.btree.rowfile import RowFileWriter
from scrubjay.storage.log.digest import MASK, RangeDigest, Total

YIELD_BYTES = 1 << 20
FINDINGS_MAX = 1000
"""Bad keys and structure findings kept of one scan; more are counted in a last line."""


class Scanned(NamedTuple):
    """digest: `RangeDigest.encode()`."""

    digest: bytes
    bad: list[bytes]
    structure: list[str]
    bytes_read: int


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

    def row(self, key: bytes, hash_: int) -> None:
        """A row went by. hash_: 0 for a bad one."""
        while self._at < len(self._fences) and self._past(self._fences[self._at], key):
            self._close()
        if self._at < len(self._fences) and self._fences[self._at].holds(key):
            self._rows += 1
            self._keys += key_hash(key)
            self._sums += hash_
            self._bad += not hash_

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


def scan_digest(reader: TreeReader, lo: bytes, hi: bytes | None) -> Generator[int, None, Scanned]:
    """Digest of everything in the tree, recomputed from its bytes; [lo, hi) is the partition's range, rows outside are findings."""
    digest = RangeDigest(lo, hi)
    bad: list[bytes] = []
    structure: list[str] = []
    total = pending = 0
    runs = _Runs(reader, structure)
    last = b""
    try:
        for key, value in reader.raw_rows():
            size = len(key) + len(value)
            pending += size
            total += size
            try:
                hash_ = row_hash(key, decode_value(key, value).item)
                digest.add(key, hash_)
            except Corrupt:
                hash_ = 0
                bad.append(key)
            runs.row(key, hash_)
            if key <= last:
                structure.append(f"row {key.hex()}: out of order")
            last = key
            if pending >= YIELD_BYTES:
                yield pending
                pending = 0
        runs.finish()
    except Corrupt as error:
        structure.append(f"rows behind {last.hex()}: {error.message}")
    return Scanned(digest.encode(), bad[:FINDINGS_MAX], _bounded(structure), total)


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


def scan_dump(reader: TreeReader, sink: Callable[[bytes], None]) -> Generator[int, None, Total]:
    """All rows as a row file, through the checked path. Raises Corrupt if anything is bad."""
    writer = RowFileWriter(sink)
    pending = 0
    for row in reader.range(FIRST_START, None):
        writer.add(row.key, row.lsn, row.stamp, row.item)
        pending += len(row.key) + len(row.item)
        if pending >= YIELD_BYTES:
            yield pending
            pending = 0
    return writer.finish()
