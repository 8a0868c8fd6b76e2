"""Jobs of worker processes: files that are imported become sorted runs, and runs the row file of each partition of the new table.

A run is a row file over the whole table in which each row carries where it came from: LSN is the number of its file, stamp its line. What is in memory is one
run's rows while files are read, and one block of each run while they are merged.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Iterator
from heapq import merge
from itertools import islice
from operator import attrgetter
from typing import Any

import msgspec

from scrubjay.archiver.read.rebuild import Also, Sink, no_collector
from scrubjay.base.checksum import row_hashes
from scrubjay.base.env import Disk, JobContext, ObjectStore
from scrubjay.base.errors import Corrupt, Unsafe
from scrubjay.base.ids import Lsn, Stamp
from scrubjay.pitr.transfer.import_reading import Dialect, items_in
from scrubjay.pitr.transfer.import_source import SourceFile
from scrubjay.storage.btree.beside import TreeBeside
from scrubjay.storage.btree.engine import Row
from scrubjay.storage.btree.rowfile import RowFileWriter, read_between, read_rowfile
from scrubjay.storage.catalogue import KeySchema
from scrubjay.storage.log.digest import Total

RUN_BYTES = 64 << 20
"""Of keys and items, and what Python adds to them, in memory before a run is written."""
ROW_OVERHEAD = 400
BLOCK_ROWS = 256
FETCH_BYTES = 4 << 20
DUPLICATE = "DuplicateKey"
_key = attrgetter("key")


async def sort_job(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """arguments: url (of the place), files (each [number, SourceFile]), key (KeySchema as plain data), dialect (`Dialect`), run (path that the numbers of runs are
    appended to), work (scratch). Answer: runs ([path, rows, sum] each), rows. Raises Unsafe (BadLine, DuplicateKey), Corrupt, Missing, Unavailable, DiskFull."""
    key = msgspec.convert(arguments["key"], KeySchema)
    dialect = Dialect(*arguments["dialect"])
    store = context.place(arguments["url"])
    runs = _Runs(context.disk, arguments["run"])
    with no_collector():
        for number, told in arguments["files"]:
            file = SourceFile(*told)
            await fetch(store, context.disk, file, arguments["work"])
            try:
                count = runs.take(number, dialect, key, file, arguments["work"])
            finally:
                context.disk.remove(arguments["work"])
            if file.items is not None and count != file.items:
                raise Corrupt(
                    "a file holds another number of items than its manifest says",
                    what="import",
                    where=file.key,
                    expected=file.items,
                    found=count,
                )
            context.progress({"phase": "read", "rows": runs.rows})
        runs.spill()
    return {"runs": [[path, total.rows, total.hex] for path, total in runs.written], "rows": runs.rows}


async def fetch(store: ObjectStore, disk: Disk, file: SourceFile, path: str) -> None:
    """The object as a file on `disk`, its checksum compared if a manifest gives one. Raises Missing, Corrupt, Unavailable, DiskFull."""
    disk.mkdir(path.rpartition("/")[0])
    if disk.exists(path):
        disk.remove(path)
    target = disk.open(path, create_size=0)
    md5 = hashlib.md5(usedforsecurity=False)
    try:
        for at in range(0, file.bytes, FETCH_BYTES):
            data = await store.get_range(file.key, at, min(file.bytes, at + FETCH_BYTES))
            md5.update(data)
            target.write(at, data)
    finally:
        target.close()
    found = b64encode(md5.digest()).decode("ascii")
    if file.md5 is not None and found != file.md5:
        raise Corrupt("a file is not what its manifest says", what="import", where=file.key, expected=file.md5, found=found)


class _Runs:
    def __init__(self, disk: Disk, path: str) -> None:
        self._disk, self._path = disk, path
        self._held: list[Row] = []
        self._size = 0
        self.written: list[tuple[str, Total]] = []
        self.rows = 0

    def take(self, number: int, dialect: Dialect, key: KeySchema, file: SourceFile, path: str) -> int:
        """The items of one file. Returns how many."""
        opened = self._disk.open(path)
        count = 0
        try:
            for one in items_in(opened, dialect, key, name=file.key):
                self._held.append(Row(one.key, Lsn(number), Stamp(one.line), one.item))
                self._size += len(one.key) + len(one.item) + ROW_OVERHEAD
                count += 1
                if self._size >= RUN_BYTES:
                    self.spill()
        finally:
            opened.close()
        self.rows += count
        return count

    def spill(self) -> None:
        if self._held:
            self._held.sort(key=_key)
            path = f"{self._path}-{len(self.written):04d}.rows"
            self.written.append((path, write_rows(self._disk, path, unique(iter(self._held)), origins=True)))
            self._held, self._size = [], 0


async def merge_job(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """arguments: runs (paths), lo, hi (of the partition, as `PartitionInfo` has them; lo None: all of it, and rows keep where they came from), output (path), tree (of `TreesHere.asked`,
    None: none is made). Answer: rows, sum (hex), and those of `TreeBeside.finish`. Raises Unsafe (DuplicateKey: `one`, `other`: [file number, line]), Corrupt, DiskFull."""
    files = [context.disk.open(path) for path in arguments["runs"]]
    lo, hi = arguments["lo"], arguments["hi"]
    tree = TreeBeside(context.disk, arguments["tree"])
    try:
        with no_collector():
            parts = [
                read_rowfile(file.pread, file.size())
                if lo is None
                else read_between(file.pread, file.size(), bytes.fromhex(lo), bytes.fromhex(hi) if hi else None)
                for file in files
            ]
            rows = unique(merge(*parts, key=_key))
            total = write_rows(context.disk, arguments["output"], rows, origins=lo is None, also=tree.add if tree.wanted else None)
        return {"rows": total.rows, "sum": total.hex, **tree.finish()}
    finally:
        tree.close()
        for file in files:
            file.close()


def unique(rows: Iterator[Row]) -> Iterator[Row]:
    """Raises Unsafe at the second row of a key."""
    last: Row | None = None
    for row in rows:
        if last is not None and row.key == last.key:
            raise Unsafe(
                "two lines are of the same item", error_code=DUPLICATE, one=[last.lsn, last.stamp], other=[row.lsn, row.stamp],
                next="a table has one item of a key: leave one of them out",
            )  # fmt: skip
        yield row
        last = row


def write_rows(disk: Disk, path: str, rows: Iterator[Row], *, origins: bool, also: Also | None = None) -> Total:
    """A row file of sorted rows, replaced. also: gets them too. origins: rows keep LSN and stamp; else they are a new table's first state, written by no record of its own."""
    disk.mkdir(path.rpartition("/")[0])
    if disk.exists(path):
        disk.remove(path)
    target = disk.open(path, create_size=0)
    try:
        sink = Sink(target)
        writer = RowFileWriter(sink)
        while block := list(islice(rows, BLOCK_ROWS)):
            if not origins:
                block = [Row(row.key, Lsn(0), Stamp(0), row.item) for row in block]
            hashes = row_hashes(block)
            writer.add_all(block, hashes)
            if also is not None:
                also(block, hashes)
        total = writer.finish()
        sink.flush()
        target.sync()
    finally:
        target.close()
    disk.sync_dir(path.rpartition("/")[0])
    return total
