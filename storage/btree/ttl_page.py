"""Looking for items whose time to live is over, among the rows of a tree as it is pinned, page by page. Nothing is decided here: what is found, the leader looks at again.

A row that does not check is passed over: a scrub finds it and says so. So is one that lies under another key than its item has: it is no item of the table.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator

from scrubjay.base.errors import Corrupt
from scrubjay.storage.btree.engine import ExpiredItem, ExpiredPage, ExpiredWanted
from scrubjay.storage.btree.row import decode_value
from scrubjay.storage.items.encoding import decode_item, encode_item, encode_value
from scrubjay.storage.items.keys import key_item, storage_key
from scrubjay.storage.items.ttl import has_passed

STEP_ROWS = 512
"""Rows between two rests of a scan."""
KEY_ITEMS_BYTES_MAX = 512 << 10
"""Of what one page names: it crosses to another process, maybe to another machine."""


def expired_page(rows: Iterator[tuple[bytes, bytes]], wanted: ExpiredWanted) -> Generator[int, None, ExpiredPage]:
    """One page of `rows` (key and encoded value, unchecked, in key order). Says every STEP_ROWS how many more it has looked at. Raises what `rows` does."""
    found: list[ExpiredItem] = []
    looked = told = size = 0
    name = wanted.attribute.encode()
    for key, value in rows:
        if looked >= wanted.rows or len(found) >= wanted.found or size >= KEY_ITEMS_BYTES_MAX:
            return ExpiredPage(tuple(found), key, looked)
        looked += 1
        if name in value:  # few rows have it in most tables: what has not is not decoded
            one = _expired(key, value, wanted)
            if one is not None:
                found.append(one)
                size += len(one.key) + len(one.key_item)
        if looked - told >= STEP_ROWS:
            yield looked - told
            told = looked
    return ExpiredPage(tuple(found), None, looked)


def _expired(key: bytes, value: bytes, wanted: ExpiredWanted) -> ExpiredItem | None:
    try:
        item = decode_item(decode_value(key, value).item)
        at = item.get(wanted.attribute)
        if at is None or not has_passed(at, now_s=wanted.now_s) or storage_key(wanted.schema, item) != key:
            return None
        return ExpiredItem(key, encode_item(key_item(wanted.schema, item)), encode_value(at))
    except (Corrupt, KeyError):
        return None
