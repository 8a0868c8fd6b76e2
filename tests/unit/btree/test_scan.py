"""A scan takes rows by the mebibyte; what it says of a tree, sound or damaged, is what one row after the other would."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from scrubjay.base.checksum import row_hash
from scrubjay.base.errors import Corrupt
from scrubjay.base.ids import Lsn, Stamp
from scrubjay.storage.btree import scan
from scrubjay.storage.btree.engine import EMPTY
from scrubjay.storage.btree.fence import FIRST_START, Fence, encode_fence, key_hash
from scrubjay.storage.btree.lmdb_tree import TreeFacts
from scrubjay.storage.btree.row import decode_value, encode_value
from scrubjay.storage.log.digest import MASK, RangeDigest, Total

LO, HI = bytes(16), b"\xf0" + bytes(15)
RNG = random.Random(3)
KEYS = [key for key in sorted(RNG.randbytes(17) for _ in range(400)) if key < HI]


class Rotten:
    """What a reader of a tree gives: rows, fences of 20 rows each, totals. break_at: how many rows can be read."""

    def __init__(self) -> None:
        self.rows = [(key, encode_value(key, Lsn(1), Stamp(1), b"item" * 10)) for key in KEYS]
        starts = [FIRST_START, *KEYS[20::20]]
        self.fences: list[tuple[bytes, bytes]] = []
        sums = [0, 0]
        for at, start in enumerate(starts):
            keys = KEYS[20 * at : 20 * at + 20]
            key_sum, row_sum = sum(map(key_hash, keys)) & MASK, sum(row_hash(key, b"item" * 10) for key in keys) & MASK
            sums = [(sums[0] + key_sum) & MASK, (sums[1] + row_sum) & MASK]
            end = starts[at + 1] if at + 1 < len(starts) else None
            self.fences.append((start, encode_fence(Fence(start, end, len(keys), key_sum, row_sum))))
        self._facts = TreeFacts(EMPTY, len(KEYS), len(starts), *sums)
        self.break_at: int | None = None

    def facts(self) -> TreeFacts:
        return self._facts

    def raw_fences(self) -> Iterator[tuple[bytes, bytes]]:
        yield from self.fences

    def raw_rows(self) -> Iterator[tuple[bytes, bytes]]:
        yield from self.rows[: self.break_at]
        if self.break_at is not None:
            raise Corrupt("a page is gone")


def scanned(tree: Any) -> tuple[RangeDigest, list[bytes], list[str]]:
    steps = scan.scan_digest(tree, LO, HI)
    read = 0
    while True:
        try:
            read += next(steps)
        except StopIteration as stop:
            found = stop.value
            break
    assert read == found.bytes_read == sum(len(key) + len(value) for key, value in tree.rows[: tree.break_at])
    digest = RangeDigest(LO, HI)
    digest.load(found.digest)
    return digest, found.bad, found.structure


def total_of(rows: list[tuple[bytes, bytes]]) -> Total:
    return Total(sum(row_hash(key, decode_value(key, value).item) for key, value in rows) & MASK, len(rows))


@pytest.fixture(params=[1 << 20, 1000, 1], ids=["all at once", "by the piece", "one by one"])
def tree(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Rotten:
    monkeypatch.setattr(scan, "YIELD_BYTES", request.param)
    return Rotten()


def test_a_sound_tree(tree: Rotten) -> None:
    digest, bad, structure = scanned(tree)
    assert (digest.total(), bad, structure) == (total_of(tree.rows), [], [])


def test_a_rotten_row_is_named_and_explains_its_run(tree: Rotten) -> None:
    key, value = tree.rows[33]
    good = [row for at, row in enumerate(tree.rows) if at != 33]
    tree.rows[33] = (key, value[:-1] + b"x")
    digest, bad, structure = scanned(tree)
    assert (digest.total(), bad, structure) == (total_of(good), [key], [])


def test_a_row_outside_the_range_is_a_finding_and_not_in_the_digest(tree: Rotten) -> None:
    stray = HI + b"\1"
    good = list(tree.rows)
    tree.rows.append((stray, encode_value(stray, Lsn(1), Stamp(1), b"x")))
    digest, bad, structure = scanned(tree)
    assert (digest.total(), bad) == (total_of(good), [stray])
    assert len(structure) == 1, "its run has a row too many"


def test_a_missing_row_and_a_missing_fence_are_named(tree: Rotten) -> None:
    del tree.rows[47]
    _, bad, structure = scanned(tree)
    assert bad == []
    assert structure == [f"run {KEYS[40].hex()}: 19 rows, its fence says 20"]
    del tree.fences[5]
    _, _, structure = scanned(tree)
    assert [one.rpartition(": ")[2] for one in structure] == [
        "the one before it is missing",
        "fences do not add up to the tree's totals",
        "19 rows, its fence says 20",
    ]


def test_rows_out_of_order_are_named_and_counted(tree: Rotten) -> None:
    tree.rows[61], tree.rows[62] = tree.rows[62], tree.rows[61]
    digest, bad, structure = scanned(tree)
    assert (digest.total(), bad) == (total_of(tree.rows), [])
    assert structure == [f"row {KEYS[61].hex()}: out of order"]


def test_what_was_read_before_the_structure_broke_counts(tree: Rotten) -> None:
    tree.break_at = 55
    digest, bad, structure = scanned(tree)
    assert (digest.total(), bad) == (total_of(tree.rows[:55]), [])
    assert structure == [f"rows behind {KEYS[54].hex()}: a page is gone"]
