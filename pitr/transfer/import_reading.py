"""Items of a file that is imported, one after the other with the line (of Parquet: the row) each stands in. Holds a line or a few rows in memory, not the file.

A line that is no item is an error that names file and line (BadLine); a file that cannot be opened up to its end is Corrupt.
"""

from __future__ import annotations

import base64
import binascii
import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

import msgspec
import zstandard

from scrubjay.base.env import File
from scrubjay.base.errors import Corrupt, Unsafe
from scrubjay.pitr.transfer.aws_layout import CSV, PARQUET
from scrubjay.pitr.transfer.formats import CSV_FIELD_MAX
from scrubjay.pitr.transfer.import_source import GZIP, NONE, ZSTD, compression_of
from scrubjay.pitr.transfer.known_formats import check_installed
from scrubjay.storage.catalogue import KeySchema
from scrubjay.storage.items.encoding import encode_item
from scrubjay.storage.items.errors import ItemError, SerializationError
from scrubjay.storage.items.keys import check_item_keys, key_attributes, storage_key
from scrubjay.storage.items.numbers import canonical
from scrubjay.storage.items.size import ITEM_ENCODED_BYTES_MAX, ITEM_SIZE_MAX, ITEM_TOO_LARGE, item_size
from scrubjay.storage.items.values import Item, Value
from scrubjay.storage.items.wire import item_from_json

LINE_BYTES_MAX = 16 << 20
"""No item of 400 KiB is longer, however it is written."""
READ_BYTES = 1 << 20
BAD_LINE = "BadLine"
"""Code of the error."""
_decode = msgspec.json.Decoder().decode
_ENDS_EARLY = (OSError, EOFError, zlib.error, zstandard.ZstdError)


class Dialect(NamedTuple):
    """How files are to be read. compression: None: by their first bytes. delimiter, header: of CSV; header None: each file's first line."""

    format: str
    compression: str | None = None
    delimiter: str = ","
    header: list[str] | None = None


class ReadItem(NamedTuple):
    """An item, as a table keeps it. line: or row, counted from 1."""

    line: int
    key: bytes
    item: bytes


class _Raw(io.RawIOBase):
    """A file of a disk as Python's own readers, and pyarrow's, want it."""

    def __init__(self, file: File) -> None:
        self._file, self._offset = file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._offset = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._offset, io.SEEK_END: self._file.size()}[whence]
        return self._offset

    def tell(self) -> int:
        return self._offset

    def readinto(self, buffer: Any) -> int:
        data = self._file.pread(self._offset, len(buffer))
        buffer[: len(data)] = data
        self._offset += len(data)
        return len(data)


def items_in(file: File, dialect: Dialect, key: KeySchema, *, name: str) -> Iterator[ReadItem]:
    """name: of the file, for errors. Raises Unsafe (BadLine: not an item, without the key, too large; NoAttributes: columns that are none), Corrupt (cannot be
    read to its end), Unavailable (the format needs a package that is not here)."""
    line = 0
    try:
        for line, item in _numbered(file, dialect, key, name):
            check_item_keys(key, item)
            encoded = encode_item(item)
            if item_size(item) > ITEM_SIZE_MAX or len(encoded) > ITEM_ENCODED_BYTES_MAX:
                raise ItemError(ITEM_TOO_LARGE)
            yield ReadItem(line, storage_key(key, item), encoded)
    except _At as bad:
        raise _bad_line(dialect, name, bad.line, bad.why) from bad
    except ItemError as error:
        raise _bad_line(dialect, name, line, str(error)) from error
    except _ENDS_EARLY as error:
        raise Corrupt(f"a file cannot be read to its end: {error}", what="import", where=name, after_line=line) from error


def _bad_line(dialect: Dialect, name: str, number: int, why: str) -> Unsafe:
    place = "row" if dialect.format == PARQUET else "line"
    told = {"file": name, place: number, "why": why}
    return Unsafe(f"a {place} of a file is no item of this table", **told, error_code=BAD_LINE, next="mend it, or leave it out")


def _numbered(file: File, dialect: Dialect, key: KeySchema, name: str) -> Iterator[tuple[int, Item]]:
    if dialect.format == PARQUET:
        return _parquet_items(file, name)
    stream = _opened(file, dialect.compression or compression_of(file.pread(0, 4)))
    return _csv_items(stream, dialect, key) if dialect.format == CSV else _json_items(stream)


def _parquet_items(file: File, name: str) -> Iterator[tuple[int, Item]]:
    check_installed(PARQUET)
    from scrubjay.pitr.transfer.parquet import parquet_rows  # an extra: nobody else needs it

    for number, item, why in parquet_rows(_Raw(file), name=name):
        if item is None:
            raise _At(number, why)
        yield number, item


class _At(Exception):
    """What is wrong with a line."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(why)
        self.line, self.why = line, why


def _opened(file: File, compression: str) -> IO[bytes]:
    raw = io.BufferedReader(_Raw(file), READ_BYTES)
    if compression == GZIP:
        return io.BufferedReader(gzip.GzipFile(fileobj=raw), READ_BYTES)
    if compression == ZSTD:
        return io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True), READ_BYTES)
    assert compression == NONE, compression
    return raw


def _lines(stream: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    number = 0
    while line := stream.readline(LINE_BYTES_MAX + 1):
        number += 1
        if len(line) > LINE_BYTES_MAX:
            raise _At(number, f"longer than {LINE_BYTES_MAX} bytes")
        yield number, line


def _json_items(stream: IO[bytes]) -> Iterator[tuple[int, Item]]:
    for number, line in _lines(stream):
        if not line.strip():
            continue
        try:
            yield number, item_from_json(_decode(line)["Item"])
        except (msgspec.DecodeError, SerializationError, ItemError, KeyError, TypeError, UnicodeError) as error:
            raise _At(number, f'no {{"Item": …}}: {error}') from error


def _csv_items(stream: IO[bytes], dialect: Dialect, key: KeySchema) -> Iterator[tuple[int, Item]]:
    """Keys have the types of the table; everything else is a string, as DynamoDB's own import has it. An empty field is no attribute."""
    csv.field_size_limit(CSV_FIELD_MAX)
    kinds = {one.name: one.type for one in key_attributes(key)}
    reader = csv.reader((_text(number, line) for number, line in _lines(stream)), delimiter=dialect.delimiter, strict=True)
    try:
        header = dialect.header or next(reader, [])
        if len(set(header)) != len(header) or not all(header):
            raise _At(1, "the header names an attribute twice, or has one without a name")
        for fields in reader:
            if not fields:
                continue
            if len(fields) != len(header):
                raise _At(reader.line_num, f"{len(fields)} fields under a header of {len(header)}")
            try:
                yield reader.line_num, {name: _value(kinds.get(name, "S"), text) for name, text in zip(header, fields, strict=True) if text}
            except (ItemError, binascii.Error, ValueError) as error:
                raise _At(reader.line_num, str(error)) from error
    except csv.Error as error:
        raise _At(reader.line_num, str(error)) from error


def _text(number: int, line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise _At(number, str(error)) from error


def _value(kind: str, text: str) -> Value:
    if kind == "N":
        return kind, canonical(text)
    return (kind, base64.b64decode(text, validate=True)) if kind == "B" else (kind, text)
