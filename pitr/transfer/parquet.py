"""Items as rows of Parquet, and rows of Parquet as items. docs/formats/parquet.md. Imported only where the format is asked for: pyarrow is an extra.

Ours: one column for each attribute of the key, to filter and join by, and `dynamodb_json`, which alone carries the item, so that nothing is rounded or lost. Whoever reads such a
file holds every other column to what the item says. Files of others have no such column: each of their columns is an attribute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from io import RawIOBase
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import types

from scrubjay.base.errors import Corrupt, Unsafe
from scrubjay.base.hlc import stamp_micros
from scrubjay.base.ids import Stamp
from scrubjay.pitr.timeline.jobs import images_of
from scrubjay.pitr.transfer.aws_layout import NEW_AND_OLD_IMAGES
from scrubjay.pitr.transfer.formats import ReadBack, change_record
from scrubjay.storage.btree.engine import Row
from scrubjay.storage.catalogue import KeyAttribute, KeySchema
from scrubjay.storage.items.encoding import encode_item
from scrubjay.storage.items.errors import ItemError, SerializationError
from scrubjay.storage.items.keys import key_attributes, storage_key
from scrubjay.storage.items.numbers import canonical
from scrubjay.storage.items.values import NESTING_MAX, Item, Value
from scrubjay.storage.items.wire import check_name, item_bytes_to_json, item_from_json

ITEM, OLD, NEW, WRITTEN = "dynamodb_json", "old_dynamodb_json", "new_dynamodb_json", "written_at"
RESERVED = frozenset((ITEM, OLD, NEW, WRITTEN))
"""Columns that no key attribute may be called, in any case: some readers know none."""
MARK, VERSION = b"scrubjay_parquet", b"1"
"""In the file's metadata; what rewrote a file may have dropped it."""
BATCH_ROWS = 128
"""That are read at a time."""
READ_BYTES = 1 << 20
"""Of one column that are read ahead."""
COMPRESSION, LEVEL = "zstd", 3
_MICROS = pa.timestamp("us", tz="UTC")
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_Maker = Callable[[Any], Value]


class _ParquetFormat:
    """What both kinds of export share."""

    suffix = ".parquet"

    def __init__(self, key: KeySchema) -> None:
        self._key = key
        self._names = [one.name for one in key_attributes(key)]
        for name in self._names:
            if name.lower() in RESERVED:
                raise Unsafe(
                    "Parquet cannot carry a key attribute of that name: a column of the layout is called so",
                    attribute=name, error_code="NotInParquet", next="export as dynamodb-json",
                )  # fmt: skip

    def _written(self, shown: Sequence[dict[str, Any]], columns: dict[str, pa.Array]) -> bytes:
        """shown: items as JSON, of which each row's key is taken."""
        keys = {one.name: pa.array([item[one.name][one.type] for item in shown], type=_type_of(one)) for one in key_attributes(self._key)}
        table = pa.table({**keys, **columns}).replace_schema_metadata({MARK: VERSION})
        sink = pa.BufferOutputStream()
        pq.write_table(
            table, sink, compression=COMPRESSION, compression_level=LEVEL, use_dictionary=self._names, write_page_checksum=True,
        )  # fmt: skip
        data: bytes = sink.getvalue().to_pybytes()
        return data

    def _rows(self, data: bytes) -> Iterator[dict[str, Any]]:
        with _reading():
            for batch in _opened(pa.BufferReader(data)).iter_batches(BATCH_ROWS, use_threads=False):
                yield from batch.to_pylist()

    def _check_key(self, row: dict[str, Any], key: Item) -> None:
        if any(row[name] != key[name][1] for name in self._names):
            raise ValueError("a key's column is not what the item says")


class ParquetItems(_ParquetFormat):
    """A full export."""

    def encode(self, rows: Sequence[Row]) -> bytes:
        shown = [item_bytes_to_json(row.item) for row in rows]
        return self._written(shown, {ITEM: _texts(shown)})

    def records(self, rows: Sequence[Row]) -> Iterator[ReadBack]:
        for row in rows:
            yield ReadBack(row.key, bytes(row.item))

    def found(self, data: bytes) -> Iterator[ReadBack]:
        for row in self._rows(data):
            item = item_from_json(_decode(row[ITEM]))
            self._check_key(row, item)
            yield ReadBack(storage_key(self._key, item), encode_item(item))


class ParquetChanges(_ParquetFormat):
    """An incremental export: rows are of the form `pitr.timeline.jobs.KEPT`. A column has NULL where there is no image, or where nobody knows when."""

    def __init__(self, key: KeySchema, view: str) -> None:
        super().__init__(key)
        self._old = view == NEW_AND_OLD_IMAGES

    def encode(self, rows: Sequence[Row]) -> bytes:
        changes = [[None if one is None else item_bytes_to_json(one) for one in images_of(row)] for row in rows]
        columns = {WRITTEN: pa.array([stamp_micros(Stamp(row.stamp)) if row.stamp else None for row in rows], type=_MICROS)}
        if self._old:
            columns[OLD] = _texts([before for before, _ in changes])
        columns[NEW] = _texts([after for _, after in changes])
        return self._written([after or before or {} for before, after in changes], columns)

    def records(self, rows: Sequence[Row]) -> Iterator[ReadBack]:
        for row in rows:
            yield change_record(row, old=self._old)

    def found(self, data: bytes) -> Iterator[ReadBack]:
        for row in self._rows(data):
            images = [None if row.get(name) is None else item_from_json(_decode(row[name])) for name in (OLD, NEW)]
            key: Item = {one.name: (one.type, row[one.name]) for one in key_attributes(self._key)}
            for image in images:
                if image is not None:
                    self._check_key(row, image)
            when = row[WRITTEN]
            micros = 0 if when is None else (when - _EPOCH) // _MICROSECOND
            packed = (micros, *(None if image is None else encode_item(image) for image in images))
            yield ReadBack(storage_key(self._key, key), msgspec.msgpack.encode(packed))


_EPOCH = pa.scalar(0, _MICROS).as_py()
_MICROSECOND = pa.scalar(1, pa.duration("us")).as_py()


def _texts(shown: Sequence[dict[str, Any] | None]) -> pa.Array:
    return pa.array([None if one is None else _encode(one).decode() for one in shown], type=pa.string())


def _type_of(one: KeyAttribute) -> pa.DataType:
    """A number is text: no type of Parquet's holds 38 digits at any exponent."""
    return pa.binary() if one.type == "B" else pa.string()


# ---------------------------------------------------------------------------------------------------------------- reading whatever is there


class ParquetRow(NamedTuple):
    """number: counted from 1. item: or why the row is none."""

    number: int
    item: Item | None
    why: str


def parquet_rows(source: RawIOBase, *, name: str) -> Iterator[ParquetRow]:
    """The rows of a file, of ours or of anybody's. source: can be sought in. name: for errors. Holds `BATCH_ROWS` rows and a page of each column in memory.

    Raises Unsafe (columns that are no attributes), Corrupt (no Parquet, or not to be read to its end).
    """
    number = 0
    try:
        with _reading():
            file = _opened(source)
            make = _maker_of(file.schema_arrow, file.schema_arrow.metadata or {}, name)
            for batch in file.iter_batches(BATCH_ROWS, use_threads=False):
                for row in _plain(batch).to_pylist(maps_as_pydicts=None):
                    number += 1
                    try:
                        yield ParquetRow(number, make(row), "")
                    except (ItemError, _NoItem) as error:
                        yield ParquetRow(number, None, str(error))
    except ValueError as error:
        raise Corrupt(f"a file cannot be read to its end: {error}", what="import", where=name, after_row=number) from error


def types_in(tail: bytes) -> tuple[tuple[str, str], ...]:
    """Types of the attributes that columns are, by name, of those that may be a key's. tail: the end of a file, its footer in it. Empty if the file says nothing of the kind."""
    try:
        with _reading():
            schema = pq.read_schema(pa.BufferReader(_MAGIC + tail))
    except ValueError:
        return ()
    if ITEM in schema.names:
        return ()
    kinds = {field.name: _scalar_kind(field.type) for field in schema}
    return tuple((name, kind) for name, kind in kinds.items() if kind in ("S", "N", "B"))


_MAGIC = b"PAR1"


class _NoItem(Exception):
    """What is wrong with a row."""


@contextmanager
def _reading() -> Iterator[None]:
    """What pyarrow says of bytes that are no Parquet, as ValueError. An error of the machine stays what it is."""
    try:
        yield
    except pa.lib.ArrowMemoryError:
        raise
    except pa.lib.ArrowException as error:
        raise ValueError(str(error)) from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise ValueError(str(error)) from error


def _opened(source: Any) -> pq.ParquetFile:
    return pq.ParquetFile(source, buffer_size=READ_BYTES, pre_buffer=False, page_checksum_verification=True, arrow_extensions_enabled=False)


def _maker_of(schema: pa.Schema, metadata: dict[bytes, bytes], name: str) -> Callable[[dict[str, Any]], Item]:
    """How a row becomes an item. Raises Unsafe."""
    if metadata.get(MARK, VERSION) != VERSION:
        raise _no_columns(
            name, f"a layout of ours of version {metadata[MARK].decode('ascii', 'replace')}", "import it with a newer release"
        )
    names = schema.names
    if len(set(names)) != len(names):
        raise _no_columns(name, "two columns of one name", "rename one of them")
    if ITEM in names:
        return _item_of
    if NEW in names or OLD in names:
        raise Unsafe("an incremental export is no table", file=name, error_code="IncrementalExport", next="import a full export")
    makers = {}
    for field in schema:
        try:
            makers[check_name(field.name)] = _maker(field.type)
        except ItemError as error:
            raise _no_columns(name, str(error), "rename the column") from error
        except _NoItem as error:
            raise _no_columns(name, f"column {field.name} of type {error}", "cast it to text or to a number") from error
    return lambda row: {one: makers[one](value) for one, value in row.items() if value is not None}


def _no_columns(name: str, found: str, next_step: str) -> Unsafe:
    return Unsafe("a Parquet file has columns that are no attributes", file=name, found=found, error_code="NoAttributes", next=next_step)


def _item_of(row: dict[str, Any]) -> Item:
    """By the column that carries it; the others have to say the same."""
    text = row.pop(ITEM)
    if not isinstance(text, str):
        raise _NoItem(f"{ITEM} is no text")
    try:
        item = item_from_json(_decode(text))
    except (msgspec.DecodeError, SerializationError, ItemError) as error:
        raise _NoItem(f"{ITEM} is no item: {error}") from error
    for name, value in row.items():
        kind, said = item.get(name, ("", None))
        if value != said or kind not in ("", "S", "N", "B"):
            raise _NoItem(f"column {name} is not what {ITEM} says, which alone counts: drop one of the two")
    return item


def _plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Categories as what they stand for."""
    if not any(types.is_dictionary(field.type) for field in batch.schema):
        return batch
    columns = [column.dictionary_decode() if types.is_dictionary(column.type) else column for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _scalar_kind(type_: pa.DataType) -> str | None:
    """Of a column of values that nest nothing; None: there is none."""
    if types.is_dictionary(type_):
        return _scalar_kind(type_.value_type)
    if types.is_string(type_) or types.is_large_string(type_) or types.is_string_view(type_):
        return "S"
    if types.is_binary(type_) or types.is_large_binary(type_) or types.is_fixed_size_binary(type_) or types.is_binary_view(type_):
        return "B"
    if types.is_integer(type_) or types.is_floating(type_) or types.is_decimal(type_):
        return "N"
    return "BOOL" if types.is_boolean(type_) else "NULL" if types.is_null(type_) else None


def _maker(type_: pa.DataType, depth: int = 1) -> _Maker:
    """How values of that type, none of them NULL, become attribute values. Raises _NoItem (its text: the type)."""
    kind = _scalar_kind(type_)
    if kind == "N":
        return _number
    if kind is not None:
        return lambda value: (kind, value)
    if depth >= NESTING_MAX:
        raise _NoItem(f"{type_}, nested deeper than {NESTING_MAX} levels")
    if types.is_list(type_) or types.is_large_list(type_) or types.is_fixed_size_list(type_):
        element = _maker(type_.value_type, depth + 1)
        return lambda value: ("L", tuple(_or_null(element, one) for one in value))
    if types.is_struct(type_):
        makers = {field.name: _maker(field.type, depth + 1) for field in type_}
        return lambda value: ("M", {name: makers[name](one) for name, one in value.items() if one is not None})
    if types.is_map(type_) and _scalar_kind(type_.key_type) == "S":
        member = _maker(type_.item_type, depth + 1)
        return lambda value: ("M", {name: _or_null(member, one) for name, one in value})
    raise _NoItem(str(type_))


def _or_null(maker: _Maker, value: Any) -> Value:
    """In a list or a map a NULL has its place, and stays one."""
    return ("NULL", True) if value is None else maker(value)


def _number(value: int | float | Decimal) -> Value:
    return "N", canonical(repr(value) if isinstance(value, float) else str(value))
