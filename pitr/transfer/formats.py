"""Items as records of a format: what a data file of an export holds, and what is found in it again. Pure.

dynamodb-json   one {"Item": …} a line, as AWS writes it; of an incremental export {"Metadata", "Keys", "OldImage", "NewImage"}
parquet         one column with the item as DynamoDB JSON, and one for each attribute of the key (`pitr.transfer.parquet`)
csv             a header, then a line an item; carries S, N, B (base64) and BOOL (true, false) as text, and refuses everything else
"""

from __future__ import annotations

import base64
import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from scrubjay.base.checksum import row_hash
from scrubjay.base.errors import Corrupt, Unsafe
from scrubjay.base.hlc import stamp_micros
from scrubjay.base.ids import Stamp
from scrubjay.pitr.timeline.jobs import images_of
from scrubjay.pitr.transfer.aws_layout import NEW_AND_OLD_IMAGES
from scrubjay.storage.btree.engine import Row
from scrubjay.storage.catalogue import KeySchema
from scrubjay.storage.items.encoding import decode_item, encode_item
from scrubjay.storage.items.errors import ItemError, SerializationError
from scrubjay.storage.items.keys import key_attributes, storage_key
from scrubjay.storage.items.values import Item
from scrubjay.storage.items.wire import item_bytes_to_json, item_from_json, item_to_json
from scrubjay.storage.log.digest import MASK, Total

COMPRESSION = 3
CSV_FIELD_MAX = 16 << 20
"""Characters of one value that is read back: the largest item's, as base64. Python's own limit is 128 KiB."""
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_pack = msgspec.msgpack.Encoder().encode
_BAD = (OSError, EOFError, zlib.error, msgspec.MsgspecError, ItemError, SerializationError, KeyError, TypeError, ValueError, csv.Error)
"""What reading text that is not what was written comes to."""


class ReadBack(NamedTuple):
    """As it counts for the digest of what was read back: key and content, both bytes."""

    key: bytes
    content: bytes


class Format(Protocol):
    """One format for one table."""

    suffix: str

    def encode(self, rows: Sequence[Row]) -> bytes:
        """The bytes of a data file. Raises Unsafe (an item that the format cannot carry), Corrupt."""
        ...

    def records(self, rows: Sequence[Row]) -> Iterator[ReadBack]:
        """What `found` of those bytes has to give."""
        ...

    def found(self, data: bytes) -> Iterator[ReadBack]:
        """What is in a data file. Raises whatever bytes that are none come to (`total_in`)."""
        ...


def total(records: Iterator[ReadBack]) -> Total:
    sum_ = rows = 0
    for key, content in records:
        sum_ += row_hash(key, content)
        rows += 1
    return Total(sum_ & MASK, rows)


def total_in(format_: Format, data: bytes, *, where: str) -> Total:
    """What the records of a data file come to. Raises Corrupt."""
    try:
        return total(format_.found(data))
    except _BAD as error:
        raise Corrupt(f"no data file of an export: {error}", what="export", where=where) from error


def change_record(row: Row, *, old: bool) -> ReadBack:
    """Of a row of an incremental export. old: whether the format carries the image before."""
    before, after = images_of(row)
    micros = stamp_micros(Stamp(row.stamp)) if row.stamp else 0
    return ReadBack(row.key, _pack((micros, before if old else None, after)))


class JsonItems:
    """A full export."""

    suffix = ".json.gz"

    def __init__(self, key: KeySchema) -> None:
        self._key = key

    def encode(self, rows: Sequence[Row]) -> bytes:
        return _zipped(b"".join([_encode({"Item": item_bytes_to_json(row.item)}) + b"\n" for row in rows]))

    def records(self, rows: Sequence[Row]) -> Iterator[ReadBack]:
        for row in rows:
            yield ReadBack(row.key, bytes(row.item))

    def found(self, data: bytes) -> Iterator[ReadBack]:
        for line in gzip.decompress(data).split(b"\n")[:-1]:
            item = item_from_json(_decode(line)["Item"])
            yield ReadBack(storage_key(self._key, item), encode_item(item))


class JsonChanges:
    """An incremental export: rows are of the form `pitr.timeline.jobs.KEPT`."""

    suffix = ".json.gz"

    def __init__(self, key: KeySchema, view: str) -> None:
        self._key, self._old = key, view == NEW_AND_OLD_IMAGES

    def encode(self, rows: Sequence[Row]) -> bytes:
        names = [one.name for one in key_attributes(self._key)]
        lines = []
        for row in rows:
            before, after = images_of(row)
            old, new = (None if image is None else item_bytes_to_json(image) for image in (before, after))
            line: dict[str, Any] = {}
            if row.stamp:  # where the log between is not whole, nobody knows when
                line["Metadata"] = {"WriteTimestampMicros": {"N": str(stamp_micros(Stamp(row.stamp)))}}
            line["Keys"] = {name: (new or old or {})[name] for name in names}
            if self._old and old is not None:
                line["OldImage"] = old
            if new is not None:
                line["NewImage"] = new
            lines.append(_encode(line) + b"\n")
        return _zipped(b"".join(lines))

    def records(self, rows: Sequence[Row]) -> Iterator[ReadBack]:
        for row in rows:
            yield change_record(row, old=self._old)

    def found(self, data: bytes) -> Iterator[ReadBack]:
        for line in gzip.decompress(data).split(b"\n")[:-1]:
            change = _decode(line)
            key = storage_key(self._key, item_from_json(change["Keys"]))
            images = [encode_item(item_from_json(change[name])) if name in change else None for name in ("OldImage", "NewImage")]
            micros = int(change["Metadata"]["WriteTimestampMicros"]["N"]) if "Metadata" in change else 0
            yield ReadBack(key, _pack((micros, *images)))


class CsvItems:
    """A full export as text. Each file has the header of its own items: partition key, sort key, then every other attribute, sorted."""

    suffix = ".csv.gz"

    def __init__(self, key: KeySchema) -> None:
        self._names = [one.name for one in key_attributes(key)]

    def encode(self, rows: Sequence[Row]) -> bytes:
        flat = [self._flat(row) for row in rows]
        header = [*self._names, *sorted({name for one in flat for name in one}.difference(self._names))]
        text = io.StringIO(newline="")
        # RFC 4180's end of a line. With another one Python quotes no lone carriage return, and readers end the line there.
        writer = csv.writer(text, lineterminator="\r\n")
        writer.writerow(header)
        writer.writerows([one.get(name, "") for name in header] for one in flat)
        return _zipped(text.getvalue().encode())

    def records(self, rows: Sequence[Row]) -> Iterator[ReadBack]:
        for row in rows:
            yield self._record(self._flat(row))

    def found(self, data: bytes) -> Iterator[ReadBack]:
        csv.field_size_limit(CSV_FIELD_MAX)
        lines = csv.reader(io.StringIO(gzip.decompress(data).decode(), newline=""), strict=True)
        header = next(lines)
        for line in lines:
            if len(line) != len(header):
                raise ValueError("a line of another length than the header's")
            yield self._record({name: text for name, text in zip(header, line, strict=True) if text})

    def _record(self, flat: dict[str, str]) -> ReadBack:
        return ReadBack(_pack([flat.get(name) for name in self._names]), _pack(sorted(flat.items())))

    def _flat(self, row: Row) -> dict[str, str]:
        item = decode_item(row.item)
        return {name: _text_of(name, item, self._names) for name in item}


def _text_of(name: str, item: Item, keys: Sequence[str]) -> str:
    kind, payload = item[name]
    text = None
    if kind in ("S", "N"):
        text = payload
    elif kind == "B":
        text = base64.b64encode(payload).decode("ascii")
    elif kind == "BOOL":
        text = "true" if payload else "false"
    if not text:
        shown = item_to_json({one: item[one] for one in keys})
        why = "an empty value is as good as none there" if text is not None else f"it is of type {kind}, and CSV has text alone"
        raise Unsafe(
            "CSV cannot carry an attribute of this table",
            attribute=name, key=shown, found=why, error_code="NotInCsv", next="export as dynamodb-json",
        )  # fmt: skip
    return str(text)


def _zipped(text: bytes) -> bytes:
    return gzip.compress(text, COMPRESSION, mtime=0)
