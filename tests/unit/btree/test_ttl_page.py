"""Looking for items whose time to live is over: in the simulator's tree, and in LMDB's by its worker process. Both say the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scrubjay.base.errors import Unavailable
from scrubjay.base.ids import Lsn, Stamp
from scrubjay.storage.btree.engine import Change, ExpiredItem, ExpiredPage, ExpiredWanted, Tree, TreeState
from scrubjay.storage.btree.row import encode_value as encode_row
from scrubjay.storage.btree.ttl_page import STEP_ROWS, expired_page
from scrubjay.storage.catalogue import KeyAttribute, KeySchema
from scrubjay.storage.items.encoding import encode_item, encode_value
from scrubjay.storage.items.keys import storage_key
from scrubjay.storage.items.values import Item
from tests.unit.btree.engines import Bench, P

SCHEMA = KeySchema(KeyAttribute("k", "S"), KeyAttribute("n", "N"))
NOW = 1_800_000_000
WANTED = ExpiredWanted(SCHEMA, "ends", NOW, 1_000_000, 1_000_000)


def item(number: int, ends: Any = None) -> Item:
    found: Item = {"k": ("S", f"item-{number}"), "n": ("N", str(number))}
    return found if ends is None else found | {"ends": ends}


def rows_of(items: list[Item]) -> list[tuple[bytes, bytes]]:
    """In key order."""
    return sorted((key := storage_key(SCHEMA, one), encode_row(key, 1, 1, encode_item(one))) for one in items)


def page(rows: list[tuple[bytes, bytes]], wanted: ExpiredWanted = WANTED) -> tuple[ExpiredPage, list[int]]:
    steps, told = expired_page(iter(rows), wanted), []
    while True:
        try:
            told.append(next(steps))
        except StopIteration as stop:
            return stop.value, told


OVER = item(1, ("N", str(NOW - 5)))
ITEMS = [OVER, item(2), item(3, ("N", str(NOW + 5))), item(4, ("S", str(NOW - 5))), item(5, ("M", {"ends": ("N", str(NOW - 5))}))]
FOUND = ExpiredItem(storage_key(SCHEMA, OVER), encode_item({name: OVER[name] for name in ("k", "n")}), encode_value(("N", str(NOW - 5))))


def test_what_is_over_is_named_and_nothing_else() -> None:
    assert page(rows_of(ITEMS)) == (ExpiredPage((FOUND,), None, 5), [])


def test_a_row_that_does_not_check_and_one_under_another_key_are_passed_over() -> None:
    good = rows_of([item(number, ("N", str(NOW - 5))) for number in range(4)])
    rotten = good[0][0], good[0][1][:-1] + bytes([good[0][1][-1] ^ 1])
    other = good[1][0] + b"#index"
    astray = other, encode_row(other, 1, 1, good[1][1][26:])
    no_item = good[2][0], encode_row(good[2][0], 1, 1, b"\x09ends")
    found, _ = page([rotten, astray, no_item, good[3]])
    assert ([one.key for one in found.found], found.rows) == ([good[3][0]], 4)


def test_a_page_ends_with_what_it_may_look_at_and_with_what_it_may_name() -> None:
    rows = rows_of([item(number, ("N", str(NOW - 5))) for number in range(10)])
    first, _ = page(rows, ExpiredWanted(SCHEMA, "ends", NOW, 4, 100))
    assert (len(first.found), first.next, first.rows) == (4, rows[4][0], 4)
    few, _ = page(rows, ExpiredWanted(SCHEMA, "ends", NOW, 100, 3))
    assert (len(few.found), few.next, few.rows) == (3, rows[3][0], 3)
    last, _ = page(rows[4:], ExpiredWanted(SCHEMA, "ends", NOW, 6, 100))
    assert (len(last.found), last.next, last.rows) == (6, None, 6)


def test_it_says_how_far_it_is_for_whoever_keeps_its_pace() -> None:
    _, told = page(rows_of([item(number) for number in range(STEP_ROWS * 2 + 7)]))
    assert told == [STEP_ROWS, STEP_ROWS]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


@pytest.mark.slow
def test_the_worker_of_a_real_tree_finds_the_same(bench: Bench) -> None:
    tree: Tree = bench.run(bench.engine.create, P)
    rows = [(storage_key(SCHEMA, one), encode_item(one)) for one in ITEMS]
    changes = [Change(key, Lsn(1), Stamp(1), bytes_) for key, bytes_ in sorted(rows)]
    bench.run(tree.checkpoint, changes, TreeState(Lsn(1), Stamp(1), b""))
    pin = bench.run(tree.pin, Lsn(1))
    assert bench.run(pin.expired, b"", WANTED, rows_per_second=None) == ExpiredPage((FOUND,), None, 5)
    behind = bench.run(pin.expired, FOUND.key + b"\0", WANTED, rows_per_second=1_000_000)
    assert behind.found == ()
    pin.release()
    with pytest.raises(Unavailable):
        bench.run(pin.expired, b"", WANTED, rows_per_second=None)
