"""The sorted row file: base snapshots, bulk loads and heals use these very bytes (docs/formats/rowfile.md).

A header, blocks of about 256 KiB of rows (zstd level 1, each with its own checksum and raw length), an index of first keys, and a footer with the row
count and the state digest total of all rows. Writing and reading are streaming: memory is one block and the index (about 30 bytes a block).
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import zstandard

from scrubjay.base.checksum import crc32c_masked, crc32c_raw, row_hash, row_hashes
from scrubjay.base.errors import Corrupt, Invalid
from scrubjay.storage.btree.engine import Row
from scrubjay.storage.log.digest import MASK, Total

VERSION = 1
HEADER_MAGIC = b"SJROWS\r\n"
BLOCK_MAGIC = b"SJRB"
FOOTER_MAGIC = b"SJROWEND"
BLOCK_BYTES = 256 << 10
"""Raw bytes after which a block is closed; a block is longer by at most one row."""
RAW_BYTES_MAX = 64 << 20
"""Bytes. Larger raw lengths are damage, refused before any allocation."""
KEY_BYTES_MAX = 0xFFFF

HEADER = struct.Struct("<8sHHI")
"""magic, version, flags, crc over the bytes before it."""
BLOCK = struct.Struct("<4sIIII")
"""magic, raw length, stored length, rows, crc over the four fields before it and the stored bytes."""
ROW = struct.Struct("<HIQQ")
"""key length, item length, lsn, stamp; key and item follow."""
ENTRY = struct.Struct("<QIH")
"""offset, rows, length of the first key, which follows."""
FOOTER = struct.Struct("<8sHHIQ16sQQII")
"""magic, version, flags, blocks, rows, digest sum, index offset, index length, index crc, crc over the bytes before it."""
LEVEL = 1


class BlockEntry(NamedTuple):
    """Where a block lies and what it begins with."""

    offset: int
    rows: int
    first_key: bytes


class RowFileWriter:
    """Writes rows in strictly rising key order. sink takes the file's bytes one piece after another."""

    def __init__(self, sink: Callable[[bytes], None]) -> None:
        self._sink = sink
        self._compress = zstandard.ZstdCompressor(level=LEVEL, write_content_size=True).compress
        self._offset = 0
        self._parts: list[bytes] = []
        self._raw = 0
        self._rows = 0
        self._first = b""
        self._last = b""
        self._entries: list[BlockEntry] = []
        self._sum = 0
        self._total = 0
        head = HEADER.pack(HEADER_MAGIC, VERSION, 0, 0)[:-4]
        self._emit(head + crc32c_masked(head).to_bytes(4, "little"))

    def _emit(self, data: bytes) -> None:
        self._sink(data)
        self._offset += len(data)

    def add(self, key: bytes, lsn: int, stamp: int, item: bytes) -> None:
        """One row. Raises Invalid unless key is longer than nothing, at most 65,535 bytes, and greater than the one before."""
        self.add_all([(key, lsn, stamp, item)], [row_hash(key, item)])

    def add_all(self, rows: Sequence[tuple[bytes, int, int, bytes]], hashes: Sequence[int]) -> None:
        """Many rows (key, lsn, stamp, item), as `add`. hashes: of each row; whoever reads the file computes it anew."""
        pack, head = ROW.pack, ROW.size
        last = self._last
        for key, lsn, stamp, item in rows:
            if key <= last or len(key) > KEY_BYTES_MAX:
                raise Invalid("row file keys must rise strictly", key=key.hex(), previous=last.hex())
            if not self._rows:
                self._first = key
            last = key
            self._parts += (pack(len(key), len(item), lsn, stamp), key, item)
            self._rows += 1
            self._raw += head + len(key) + len(item)
            if self._raw >= BLOCK_BYTES:
                self._close_block()
        self._last = last
        self._sum += sum(hashes)

    def _close_block(self) -> None:
        raw = b"".join(self._parts)
        stored = self._compress(raw)
        head = BLOCK.pack(BLOCK_MAGIC, len(raw), len(stored), self._rows, 0)[:-4]
        crc = crc32c_masked(stored, crc32c_raw(head))
        self._entries.append(BlockEntry(self._offset, self._rows, self._first))
        self._total += self._rows
        self._emit(b"".join((head, crc.to_bytes(4, "little"), stored)))
        self._parts, self._raw, self._rows = [], 0, 0

    def finish(self) -> Total:
        """Write index and footer. The digest total of all rows."""
        if self._parts:
            self._close_block()
        index = b"".join([ENTRY.pack(offset, rows, len(first)) + first for offset, rows, first in self._entries])
        offset = self._offset
        total = Total(self._sum & MASK, self._total)
        self._emit(index)
        foot = FOOTER.pack(
            FOOTER_MAGIC,
            VERSION,
            0,
            len(self._entries),
            total.rows,
            total.sum.to_bytes(16, "little"),
            offset,
            len(index),
            crc32c_masked(index),
            0,
        )[:-4]
        self._emit(foot + crc32c_masked(foot).to_bytes(4, "little"))
        return total


def index_span(read: Callable[[int, int], bytes], size: int) -> tuple[int, int]:
    """[start, end) of the index, by the footer. Raises Corrupt."""
    _, _, _, offset, length, _ = _footer(read, size)
    return offset, offset + length


def _footer(read: Callable[[int, int], bytes], size: int) -> tuple[int, int, bytes, int, int, int]:
    """(blocks, rows, digest sum, offset and length of the index, its crc). Raises Corrupt."""
    start = size - FOOTER.size
    foot = read(start, FOOTER.size) if start >= HEADER.size else b""
    if len(foot) < FOOTER.size or crc32c_masked(foot[:-4]) != int.from_bytes(foot[-4:], "little"):
        raise _corrupt("footer checksum differs", max(start, 0))
    magic, version, flags, blocks, rows, sum_, offset, length, crc, _ = FOOTER.unpack(foot)
    if magic != FOOTER_MAGIC or version != VERSION or flags or offset < HEADER.size or offset + length != start:
        raise _corrupt("footer malformed", start)
    return blocks, rows, sum_, offset, length, crc


class RowFileIndex(NamedTuple):
    total: Total
    blocks: tuple[BlockEntry, ...]
    end: int
    """Offset behind the last block."""


def read_index(read: Callable[[int, int], bytes], size: int) -> RowFileIndex:
    """Check header, footer and index. read(offset, length): bytes of the file. Raises Corrupt."""
    head = read(0, HEADER.size)
    if len(head) < HEADER.size or crc32c_masked(head[:-4]) != int.from_bytes(head[-4:], "little"):
        raise _corrupt("header checksum differs", 0)
    magic, version, flags, _ = HEADER.unpack(head)
    if magic != HEADER_MAGIC or version != VERSION or flags:
        raise _corrupt("header magic, version or flag unknown", 0)
    return read_index_alone(read, size)


def read_index_alone(read: Callable[[int, int], bytes], size: int) -> RowFileIndex:
    """Check footer and index, where the file's beginning is not here. Raises Corrupt."""
    blocks, rows, sum_, offset, length, crc = _footer(read, size)
    index = read(offset, length)
    if len(index) < length or crc32c_masked(index) != crc:
        raise _corrupt("index checksum differs", offset)
    entries: list[BlockEntry] = []
    at = 0
    while at < length:
        if length - at < ENTRY.size:
            raise _corrupt("index cut short", offset + at)
        where, count, key_length = ENTRY.unpack_from(index, at)
        at += ENTRY.size + key_length
        entries.append(BlockEntry(where, count, index[at - key_length : at]))
    if at != length or len(entries) != blocks or sum(entry.rows for entry in entries) != rows:
        raise _corrupt("index does not agree with the footer", offset)
    return RowFileIndex(Total(int.from_bytes(sum_, "little"), rows), tuple(entries), offset)


def find_row(read: Callable[[int, int], bytes], index: RowFileIndex, key: bytes) -> Row | None:
    """One row, by the index: reads the one block that can hold it (`block_span`). Raises Corrupt; the total of all rows is not checked."""
    number = block_of(index, key)
    if number is None:
        return None
    return next((row for row in rows_of_block(read, index, number) if row.key == key), None)


def block_span(index: RowFileIndex, key: bytes) -> tuple[int, int] | None:
    """[start, end) of the block that can hold the key; None: no block can."""
    number = block_of(index, key)
    return None if number is None else span_of(index, number)


def span_of(index: RowFileIndex, number: int) -> tuple[int, int]:
    """[start, end) of a block of the index."""
    return index.blocks[number].offset, index.blocks[number + 1].offset if number + 1 < len(index.blocks) else index.end


def rows_of_block(read: Callable[[int, int], bytes], index: RowFileIndex, number: int) -> list[Row]:
    """The rows of one block of the index, of which `read` has the bytes. Raises Corrupt; the total of all rows is not checked."""
    entry = index.blocks[number]
    raw, rows, _ = _read_block(read, zstandard.ZstdDecompressor(), entry.offset, index.end)
    if rows != entry.rows:
        raise _corrupt("block and index differ in rows", entry.offset)
    return _rows_of(raw, entry)


def block_of(index: RowFileIndex, key: bytes) -> int | None:
    """The number of the block that can hold the key; None: none can."""
    number = bisect_right(index.blocks, key, key=lambda one: one.first_key) - 1
    return number if number >= 0 else None


def _rows_of(raw: bytes, entry: BlockEntry, *, after: bytes = b"") -> list[Row]:
    """The rows of one block, which has as many as its entry says. after: the key before the first one. Raises Corrupt."""
    rows: list[Row] = []
    unpack, size, make, end = ROW.unpack_from, ROW.size, tuple.__new__, len(raw)
    position = 0
    last = after
    for _ in range(entry.rows):
        if end - position < size:
            raise _corrupt("row cut short", entry.offset)
        key_length, item_length, lsn, stamp = unpack(raw, position)
        position += size
        middle = position + key_length
        key = raw[position:middle]
        position = middle + item_length
        if position > end or key <= last:
            raise _corrupt("row out of order or out of bounds", entry.offset)
        last = key
        rows.append(make(Row, (key, lsn, stamp, raw[middle:position])))
    if position != end:
        raise _corrupt("bytes behind the last row of a block", entry.offset)
    if rows and rows[0].key != entry.first_key:
        raise _corrupt("row out of order or out of bounds", entry.offset)
    return rows


def read_rowfile(read: Callable[[int, int], bytes], size: int) -> Iterator[Row]:
    """All rows, in key order. Raises Corrupt at the first thing that fails; the total of all rows is checked behind the last one."""
    for rows, _ in read_blocks(read, size):
        yield from rows


def read_blocks(read: Callable[[int, int], bytes], size: int) -> Iterator[tuple[list[Row], list[int]]]:
    """`read_rowfile` a block at a time, with the hash of each row for who needs it too: it was computed for the total."""
    index = read_index(read, size)
    decompressor = zstandard.ZstdDecompressor()
    total = seen = 0
    last = b""
    at = HEADER.size
    for entry in index.blocks:
        if entry.offset != at:
            raise _corrupt("block is not where the index says", at)
        raw, count, at = _read_block(read, decompressor, at, index.end)
        if count != entry.rows:
            raise _corrupt("block and index differ in rows", entry.offset)
        rows = _rows_of(raw, entry, after=last)
        hashes = row_hashes(rows)
        total += sum(hashes)
        seen += count
        if rows:
            last = rows[-1].key
        yield rows, hashes
    if at != index.end or Total(total & MASK, seen) != index.total:
        raise _corrupt("rows do not add up to the total", at)


def read_between(read: Callable[[int, int], bytes], size: int, start: bytes, end: bytes | None) -> Iterator[Row]:
    """Rows with start <= key < end (None: to the end), of the blocks that may hold some: the others are not read, so the total is not checked. Raises Corrupt."""
    index = read_index(read, size)
    for number in range(block_of(index, start) or 0, len(index.blocks)):
        if end is not None and index.blocks[number].first_key >= end:
            return
        yield from (row for row in rows_of_block(read, index, number) if start <= row.key and (end is None or row.key < end))


def read_beginning(data: bytes) -> Iterator[list[Row]]:
    """The rows of each whole block at the beginning of a row file of which the rest is not here: enough to measure by, and no proof. Raises Corrupt."""
    decompressor = zstandard.ZstdDecompressor()
    at = HEADER.size
    while (
        len(data) - at >= BLOCK.size and at + BLOCK.size + BLOCK.unpack_from(data, at)[2] <= len(data) and data[at : at + 4] == BLOCK_MAGIC
    ):
        begin = at
        raw, rows, at = _read_block(lambda offset, length: data[offset : offset + length], decompressor, at, len(data))
        first = raw[ROW.size : ROW.size + ROW.unpack_from(raw)[0]] if len(raw) >= ROW.size else b""
        yield _rows_of(raw, BlockEntry(begin, rows, first))


def _read_block(read: Callable[[int, int], bytes], decompressor: zstandard.ZstdDecompressor, at: int, end: int) -> tuple[bytes, int, int]:
    head = read(at, BLOCK.size)
    if len(head) < BLOCK.size:
        raise _corrupt("block cut short", at)
    magic, raw_length, stored_length, rows, crc = BLOCK.unpack(head)
    after = at + BLOCK.size + stored_length
    if magic != BLOCK_MAGIC or raw_length > RAW_BYTES_MAX or after > end:
        raise _corrupt("block header malformed", at)
    stored = read(at + BLOCK.size, stored_length)
    if len(stored) < stored_length or crc32c_masked(stored, crc32c_raw(head[:-4])) != crc:
        raise _corrupt("block checksum differs", at)
    try:
        raw = decompressor.decompress(stored, max_output_size=raw_length)
    except zstandard.ZstdError as error:
        raise _corrupt("block cannot be decompressed", at) from error
    if len(raw) != raw_length:
        raise _corrupt("block has another raw length", at)
    return raw, rows, after


def _corrupt(message: str, where: int) -> Corrupt:
    return Corrupt(f"row file: {message}", what="rowfile", where=where)
