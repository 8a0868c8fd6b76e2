"""What a scrub does in a worker process: rebuild a reference and recompute its range digests, read rows of it, search the log for a key.

All of it loops in Python over many rows, so none of it runs in a node's process. Arguments and results are plain data (msgpack); 128-bit hashes travel
as 16 bytes, little-endian.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from scrubjay.archiver.format.records import walk
from scrubjay.archiver.read.objects import read_segment
from scrubjay.archiver.read.rebuild import rebuild_job, segment_keys
from scrubjay.base.checksum import row_hash
from scrubjay.base.env import Disk, JobContext
from scrubjay.base.errors import Corrupt, Missing
from scrubjay.base.ids import Lsn
from scrubjay.storage.btree.engine import Row, RowFact
from scrubjay.storage.btree.index_rows import CollectionSizes, index_tally
from scrubjay.storage.btree.rowfile import read_between, read_rowfile
from scrubjay.storage.items.local_index import LocalRows
from scrubjay.storage.log import record as records
from scrubjay.storage.log.digest import RangeDigest

REFERENCE = "scrubjay.scrubber.jobs:reference_job"
FACTS = "scrubjay.scrubber.jobs:facts_job"
ITEMS = "scrubjay.scrubber.jobs:items_job"
TRACE = "scrubjay.scrubber.jobs:trace_job"

HASH_BYTES = 16


async def reference_job(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """`archiver.read.rebuild:rebuild_job`, then the range digest recomputed from the row file that it wrote.

    arguments: those of rebuild_job, and lo, hi (16 bytes; hi None: to the end), indexing (`LocalRows.encode`; nothing: no local indexes). Answer: rebuild_job's, digest
    (RangeDigest.encode), and entries (IndexTally.encode, of the index rows that the rows have).
    Raises what rebuild_job does; Corrupt if a row lies outside the partition or the rows do not add up to the rebuild's total.
    """
    lo, hi = arguments["lo"], arguments["hi"]
    answer = await rebuild_job(context, {name: value for name, value in arguments.items() if name not in ("lo", "hi", "indexing")})
    digest = RangeDigest(lo, hi)
    for row in _rows(context.disk, arguments["output"]):
        digest.add(row.key, row_hash(row.key, row.item))
    total = digest.total()
    if {"sum": total.hex, "rows": total.rows} != answer["total"]:
        raise Corrupt(
            "the reference's row file does not hold what was rebuilt", what="rowfile", expected=answer["total"]["sum"], found=total.hex
        )
    local = LocalRows.decode(arguments["indexing"])
    entries = b"" if local is None else index_tally(_rows(context.disk, arguments["output"]), local, lo, hi).encode()
    return {**answer, "digest": digest.encode(), "entries": entries}


async def facts_job(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """Keys, hashes and LSNs in some disjoint, rising key ranges of a row file. arguments: rows (path), ranges ([start, end or None]: no partition key's rows lie in two),
    indexing (as of reference_job: the index rows are among those of each range then).

    Answer: facts, one list of [key, hash, lsn] per range. Raises Corrupt.
    """
    ranges = arguments["ranges"]
    facts: list[list[list[Any]]] = [[] for _ in ranges]
    local = LocalRows.decode(arguments["indexing"])
    collections = None if local is None else CollectionSizes(local)
    at = of = 0

    def add(row: Row | None) -> None:
        if row is not None:
            facts[of].append([row.key, row_hash(row.key, row.item).to_bytes(HASH_BYTES, "little"), row.lsn])

    for row in _rows_between(context.disk, arguments["rows"], ranges[0][0], ranges[-1][1]) if ranges else ():
        while at < len(ranges) and ranges[at][1] is not None and row.key >= ranges[at][1]:
            at += 1
        if at == len(ranges):
            break
        if row.key >= ranges[at][0]:
            made = [] if local is None else local.rows(row.key, row.item)
            if collections is not None:
                add(collections.add(row, made))
            of = at
            for key, value in [(row.key, row.item), *made]:
                add(Row(key, row.lsn, row.stamp, value))
    if collections is not None:
        add(collections.finish())
    return {"facts": facts}


def facts_of(answer: dict[str, Any]) -> list[list[RowFact]]:
    """The answer of facts_job as values."""
    return [[RowFact(key, int.from_bytes(hash_, "little"), Lsn(lsn)) for key, hash_, lsn in some] for some in answer["facts"]]


async def items_job(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """Items of a row file by key. arguments: rows (path), keys (rising). Answer: items, None where there is none. Raises Corrupt."""
    wanted: list[bytes] = arguments["keys"]
    found: dict[bytes, bytes] = {}
    at = 0
    for row in _rows(context.disk, arguments["rows"]):
        while at < len(wanted) and wanted[at] < row.key:
            at += 1
        if at == len(wanted):
            break
        if wanted[at] == row.key:
            found[row.key] = row.item
    return {"items": [found.get(key) for key in wanted]}


async def trace_job(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """The newest log record at or below `upto` that touched each key. arguments: url, segments (object keys, newest first), keys, upto (an LSN).

    Answer: places, per key [lsn, object key of the segment] or None. A segment that cannot be read ends the search for the keys not found yet: an older
    record would be the wrong answer. Raises Unavailable.
    """
    store = context.store(arguments["url"])
    wanted = {key: index for index, key in enumerate(arguments["keys"])}
    places: list[list[Any] | None] = [None] * len(wanted)
    for segment in arguments["segments"]:
        if not wanted:
            break
        try:
            manifest, raw, _ = await read_segment(store, *segment_keys([segment]))
            found: dict[bytes, int] = {}
            for part, piece in manifest.pieces(raw):
                found |= _touched(piece, part.partition, part.first, segment, wanted, arguments["upto"])
        except (Corrupt, Missing):
            break
        for key, lsn in found.items():
            places[wanted.pop(key)] = [lsn, segment]
    return {"places": places}


def _touched(raw: bytes, partition: str, first: int, where: str, wanted: dict[bytes, int], upto: int) -> dict[bytes, int]:
    """The last LSN in one segment that touched each wanted key. Raises Corrupt, also at a kind that this version does not know: what it did is not known."""
    found: dict[bytes, int] = {}
    for lsn, _, _, kind, _, start, _ in walk(raw, partition=partition, first=first, after_stamp=0, where=where):
        if lsn > upto:
            break
        if records.carries_effects(kind):
            for effect in records.effects(records.decode(raw, start)):
                if effect.key in wanted:
                    found[effect.key] = lsn
    return found


def _rows_between(disk: Disk, path: str, start: bytes, end: bytes | None) -> Iterator[Row]:
    file = disk.open(path)
    try:
        yield from read_between(file.pread, file.size(), start, end)
    finally:
        file.close()


def _rows(disk: Disk, path: str) -> Iterator[Row]:
    file = disk.open(path)
    try:
        yield from read_rowfile(file.pread, file.size())
    finally:
        file.close()
