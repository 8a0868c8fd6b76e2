"""Rows of a global index for the items of a tree as it is pinned, page by page: what a backfill puts into the index (ADR 0071).

A row that does not check ends the page: another copy may have it, and an index without it would be wrong.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator

from scrubjay.storage.btree.engine import IndexPage, IndexWanted
from scrubjay.storage.btree.row import decode_value
from scrubjay.storage.indexes.kept_rows import stored
from scrubjay.storage.items.global_index import GlobalRows
from scrubjay.storage.items.local_index import is_entry

STEP_ROWS = 256
"""Rows between two rests of a scan."""


def index_page(rows: Iterator[tuple[bytes, bytes]], wanted: IndexWanted) -> Generator[int, None, IndexPage]:
    """One page of `rows` (key and encoded value, unchecked, in key order). Says every STEP_ROWS how many more it has looked at. Raises Corrupt, and what `rows` does."""
    derive = GlobalRows.decode(wanted.definition).row
    found: list[tuple[int, bytes, bytes]] = []
    looked = told = size = 0
    for key, value in rows:
        if looked >= wanted.rows or size >= wanted.size:
            return IndexPage(tuple(found), key, looked)
        looked += 1
        row = decode_value(key, value)
        size += len(value)
        if not is_entry(key, row.item) and (made := derive(key, row.item)) is not None:
            found.append((row.lsn, made[0], stored(wanted.owner, row.lsn, made[1])))
        if looked - told >= STEP_ROWS:
            yield looked - told
            told = looked
    return IndexPage(tuple(found), None, looked)
