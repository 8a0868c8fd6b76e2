"""Jobs of worker processes: one partition's row file to data files at the export's place, each read back; and the small objects around them.

One data file is held in memory at a time, with what was read back of it. Run again, a job finds what another life of it put, and proves that instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import msgspec

from scrubjay.base.checksum import row_hash
from scrubjay.base.env import Disk, JobContext, ObjectStore
from scrubjay.base.errors import Corrupt, Exists
from scrubjay.pitr.transfer.aws_layout import DataFile, data_key, etag_of, md5_of
from scrubjay.pitr.transfer.formats import Format, total, total_in
from scrubjay.pitr.transfer.known_formats import format_of
from scrubjay.storage.btree.engine import Row
from scrubjay.storage.btree.rowfile import read_rowfile
from scrubjay.storage.catalogue import KeySchema
from scrubjay.storage.log.digest import MASK, Total

FILE_BYTES = 8 << 20
"""Of items in one data file; the one that crosses it is still in."""


def pieces(disk: Disk, path: str) -> Iterator[list[Row]]:
    """The rows of one data file after the other; one without any if there are none. Raises Corrupt."""
    file = disk.open(path)
    try:
        rows: list[Row] = []
        size = whole = 0
        for row in read_rowfile(file.pread, file.size()):
            rows.append(row)
            size += len(row.item)
            if size >= FILE_BYTES:
                yield rows
                rows, size, whole = [], 0, whole + 1
        if rows or not whole:
            yield rows
    finally:
        file.close()


async def export_rows(
    store: ObjectStore, disk: Disk, path: str, *, format_: Format, id_: str, partition: str, incremental: bool
) -> tuple[list[DataFile], Total]:
    """Put the rows, read every file back and compare it record by record. The total is of the row file. Raises Corrupt, Unsafe (the format cannot carry them),
    Unavailable."""
    files: list[DataFile] = []
    sum_ = count = 0
    for number, rows in enumerate(pieces(disk, path)):
        where = data_key(id_, partition, number, format_.suffix, incremental=incremental)
        with suppress(Exists):  # of a life of this export that was cut off: it is proven like any other
            await store.put(where, format_.encode(rows))
        there = await store.get(where)
        expected, found = total(format_.records(rows)), total_in(format_, there, where=where)
        if found != expected:
            raise Corrupt(
                "the data file does not hold what was put there",
                what="export", where=where, expected=f"{expected.rows} rows, {expected.hex}", found=f"{found.rows} rows, {found.hex}",
            )  # fmt: skip
        files.append(DataFile(where, len(rows), md5_of(there), etag_of(there), len(there)))
        sum_ = (sum_ + sum(row_hash(row.key, row.item) for row in rows)) & MASK
        count += len(rows)
    return files, Total(sum_, count)


async def export_job(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """arguments: url (of the place), rows (row file below the data folder), id, partition, key (KeySchema as plain data), format, view (of an incremental
    export, else None). Answer: files, sum (hex), rows."""
    key = msgspec.convert(arguments["key"], KeySchema)
    view = arguments["view"]
    format_ = format_of(arguments["format"], key, view=view)
    files, found = await export_rows(
        context.place(arguments["url"]), context.disk, arguments["rows"],
        format_=format_, id_=arguments["id"], partition=arguments["partition"], incremental=view is not None,
    )  # fmt: skip
    return {"files": [list(one) for one in files], "sum": found.hex, "rows": found.rows}


async def put_job(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """arguments: url, objects ([key, text] in the order in which they are put). Each is read back. Raises Corrupt, Unavailable."""
    store = context.place(arguments["url"])
    for where, text in arguments["objects"]:
        with suppress(Exists):
            await store.put(where, text.encode())
        if await store.get(where) != text.encode():
            raise Corrupt("the object does not hold what was put there", what="export", where=where)
    return {}
