"""Index rows in a real tree: derived as a row file is loaded, told apart as the tree is scanned, left out where it is dumped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from scrubjay.base.checksum import row_hash
from scrubjay.base.ids import Lsn, Stamp
from scrubjay.storage.btree.engine import Change, Row, TreeState
from scrubjay.storage.btree.index_rows import IndexTally, index_tally
from scrubjay.storage.btree.rowfile import RowFileWriter, read_rowfile
from scrubjay.storage.catalogue import KeyAttribute, KeySchema, LocalIndex
from scrubjay.storage.items.encoding import encode_item
from scrubjay.storage.items.keys import storage_key
from scrubjay.storage.items.local_index import LocalRows, encode_size, is_entry
from scrubjay.storage.log.digest import RangeDigest
from tests.unit.btree.engines import Bench, P

LO = bytes(16)
INDEXES = (LocalIndex("all", KeyAttribute("n", "N")), LocalIndex("keys", KeyAttribute("t", "S"), "KEYS_ONLY"))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def items_of(sort_type: str) -> tuple[LocalRows, list[Row]]:
    local = LocalRows(KeySchema(KeyAttribute("p", "S"), KeyAttribute("s", sort_type)), INDEXES)
    rows = []
    for number in range(600):
        sort = f"s{number:03d}" if sort_type == "S" else bytes([250 + number % 6, number % 256])
        item = {"p": ("S", f"p{number % 7}"), "s": (sort_type, sort), "t": ("S", f"t{number % 50}")}
        if number % 3:
            item["n"] = ("N", str(number - 300))
        rows.append(Row(storage_key(local.key, item), Lsn(number + 1), Stamp(number), encode_item(item)))
    return local, sorted({row.key: row for row in rows}.values())


@pytest.mark.parametrize("sort_type", ["S", "B"])
def test_a_row_file_is_loaded_with_its_index_rows_and_scanned_without_them_in_the_digest(bench: Bench, sort_type: str) -> None:
    local, items = items_of(sort_type)
    parts: list[bytes] = []
    writer = RowFileWriter(parts.append)
    for row in items:
        writer.add(*row)
    total = writer.finish()
    (bench.root / "rows").write_bytes(b"".join(parts))
    tree = bench.run(bench.engine.load, P, "rows", TreeState(Lsn(9), Stamp(9), b""), indexing=local.encode())
    held = list(tree.range(b"", None))
    entries = [one for row in items for one in local.rows(row.key, row.item)]
    sizes: dict[bytes, int] = {}
    for key, value in [*entries, *[(row.key, row.item) for row in items]]:
        sizes[key[:16]] = sizes.get(key[:16], 0) + len(value)
    collections = [(local.size_key(prefix), encode_size(size)) for prefix, size in sizes.items()]
    expected = sorted([(row.key, row.item) for row in items] + entries + collections)
    assert len(sizes) == 7
    assert [(row.key, row.item) for row in held] == expected
    pin = bench.run(tree.pin, Lsn(9))
    scanned = bench.run(pin.digest, LO, None, bytes_per_second=None, indexed=True)
    assert (scanned.bad, scanned.structure) == ((), ())
    assert scanned.digest.total() == total
    tally, wanted = IndexTally(LO, None), index_tally(items, local, LO, None)
    tally.load(scanned.entries)
    assert (tally.digest.total(), tally.sizes, tally.size) == (wanted.digest.total(), wanted.sizes, wanted.size)
    assert sum(rows for rows, _ in tally.sizes) == len(entries)
    every = bench.run(pin.digest, LO, None, bytes_per_second=None)
    together = RangeDigest(LO, None)
    for key, item in expected:
        together.add(key, row_hash(key, item))
    assert (every.digest.total(), every.entries) == (together.total(), b""), "of a table without indexes they are rows like others"
    bench.run(pin.dump, "dumped")
    data = (bench.root / "dumped").read_bytes()
    assert [row.key for row in read_rowfile(lambda at, size: data[at : at + size], len(data))] == [row.key for row in items]
    gone = next(row for row in held if is_entry(row.key, row.item))
    bench.run(tree.checkpoint, [Change(gone.key, Lsn(10), Stamp(10), None)], TreeState(Lsn(10), Stamp(10), b""))
    pin.release()
    pin = bench.run(tree.pin, Lsn(10))
    after = bench.run(pin.digest, LO, None, bytes_per_second=None, indexed=True)
    assert after.digest.total() == total
    assert after.entries != scanned.entries
