"""The bytes of trees and row files: pages agree with the code, golden files, round trips, every flip refused."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrubjay.base.errors import Corrupt, Invalid
from scrubjay.base.ids import Lsn, Stamp
from scrubjay.storage.btree import fence, lmdb_tree, row, rowfile
from scrubjay.storage.btree.engine import Row, TreeState
from scrubjay.storage.btree.fence import Fence
from scrubjay.storage.btree.lmdb_tree import TreeFacts
from scrubjay.storage.log.digest import Total
from tests.docs.format_tables import assert_layout, parse_tables
from tests.fixtures.golden import Golden

KEYS = st.binary(min_size=1, max_size=60)
U64 = st.integers(0, (1 << 64) - 1)
SUMS = st.integers(0, (1 << 128) - 1)
PARTITION = bytes(range(16))


@pytest.mark.parametrize(
    ("page", "heading", "layout"),
    [
        ("tree", "Row value", row.HEADER),
        ("tree", "Fence value", fence.HEADER),
        ("tree", "State", lmdb_tree.META),
        ("rowfile", "Header", rowfile.HEADER),
        ("rowfile", "Block", rowfile.BLOCK),
        ("rowfile", "Row", rowfile.ROW),
        ("rowfile", "Index entry", rowfile.ENTRY),
        ("rowfile", "Footer", rowfile.FOOTER),
    ],
)
def test_the_page_says_what_the_code_does(page: str, heading: str, layout: struct.Struct) -> None:
    (table,) = [one for one in parse_tables(f"docs/formats/{page}.md") if one.heading == heading]
    assert_layout(table, layout)


def test_golden_values(golden: Golden) -> None:
    values = {
        "row": row.encode_value(b"0123456789abcdefsort", 7, 9 << 12, b"item bytes"),
        "fence": fence.encode_fence(Fence(b"0123456789abcdef", b"5", 32, 1 << 100, 3)),
        "fence-last": fence.encode_fence(Fence(b"\0", None, 0, 0, 0)),
        "state": lmdb_tree.encode_meta(TreeFacts(TreeState(Lsn(5), Stamp(6), b"extra"), 7, 8, 9, 10), partition=PARTITION, key=b"state/1"),
    }
    for name, data in values.items():
        golden.check(f"tree/{name}.bin", data)
    golden.check_json(
        "tree/values.json",
        {
            "row": [str(part) for part in row.decode_value(b"0123456789abcdefsort", golden_bytes(golden, values, "row"))],
            "fence": [str(part) for part in fence.decode_fence(b"0123456789abcdef", golden_bytes(golden, values, "fence"))],
            "fence-last": [str(part) for part in fence.decode_fence(b"\0", golden_bytes(golden, values, "fence-last"))],
            "state": str(lmdb_tree.decode_meta(golden_bytes(golden, values, "state"), partition=PARTITION, key=b"state/1")),
        },
    )


def golden_bytes(golden: Golden, values: dict[str, bytes], name: str) -> bytes:
    """The stored bytes, so that what is decoded is what an old release wrote."""
    return values[name] if golden.rewrite else golden.read(f"tree/{name}.bin")


def write(rows: list[Row]) -> tuple[bytes, Total]:
    parts: list[bytes] = []
    writer = rowfile.RowFileWriter(parts.append)
    for one in rows:
        writer.add(*one)
    total = writer.finish()
    return b"".join(parts), total


def read(data: bytes) -> list[Row]:
    return list(rowfile.read_rowfile(lambda offset, length: data[offset : offset + length], len(data)))


def test_golden_rowfile(golden: Golden) -> None:
    rows = [Row(b"%016d" % n, Lsn(n), Stamp(n << 12), b"item %d" % n) for n in range(1, 6)]
    data, total = write(rows)
    if golden.rewrite:
        golden.check("rowfile/five.rows", data)
    stored = golden.read("rowfile/five.rows")
    assert read(stored) == rows
    golden.check_json(
        "rowfile/five.json", {"rows": [[one.key.decode(), one.lsn, one.stamp, one.item.decode()] for one in read(stored)], "sum": total.hex}
    )


def test_an_empty_rowfile() -> None:
    data, total = write([])
    assert (read(data), total) == ([], Total(0, 0))


@given(st.dictionaries(KEYS, st.tuples(U64, U64, st.binary(max_size=200)), max_size=40))
def test_rowfile_round_trip(content: dict[bytes, tuple[int, int, bytes]]) -> None:
    rows = [Row(key, Lsn(lsn), Stamp(stamp), item) for key, (lsn, stamp, item) in sorted(content.items())]
    data, total = write(rows)
    assert read(data) == rows
    assert total.rows == len(rows)


def test_rowfile_of_many_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rowfile, "BLOCK_BYTES", 1000)
    rows = [Row(b"%016d" % n, Lsn(n), Stamp(n), b"x" * (n % 300)) for n in range(1, 400)]
    data, _ = write(rows)
    index = rowfile.read_index(lambda offset, length: data[offset : offset + length], len(data))
    assert len(index.blocks) > 20
    assert read(data) == rows


def test_every_flip_and_every_cut_of_a_rowfile_is_refused() -> None:
    rows = [Row(b"%016d" % n, Lsn(n), Stamp(n), b"item%d" % n) for n in range(1, 8)]
    data, _ = write(rows)
    for bit in range(len(data) * 8):
        bad = bytearray(data)
        bad[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Corrupt):
            read(bytes(bad))
    for length in range(len(data)):
        with pytest.raises(Corrupt):
            read(data[:length])
    with pytest.raises(Corrupt):
        read(data + b"\0")


def test_negative_control_a_rowfile_without_checksums_lets_flips_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rowfile, "crc32c_masked", lambda data, start=0: 7)
    monkeypatch.setattr(rowfile, "row_hash", lambda key, item: 1)
    monkeypatch.setattr(rowfile, "row_hashes", lambda rows: [1 for _ in rows])
    monkeypatch.setattr(rowfile.zstandard, "ZstdDecompressor", _Plain)
    monkeypatch.setattr(rowfile.zstandard, "ZstdCompressor", _Plain)
    data, _ = write([Row(b"%016d" % n, Lsn(n), Stamp(n), b"item%d" % n) for n in range(1, 8)])
    passed = 0
    for at in range(len(data)):
        bad = bytearray(data)
        bad[at] ^= 1
        try:
            read(bytes(bad))
        except Corrupt:
            continue
        passed += 1
    assert passed > 50


class _Plain:
    def __init__(self, **options: object) -> None:
        pass

    def compress(self, data: bytes) -> bytes:
        return data

    def decompress(self, data: bytes, max_output_size: int) -> bytes:
        return data


def test_keys_must_rise() -> None:
    writer = rowfile.RowFileWriter(lambda data: None)
    writer.add(b"b", 1, 1, b"")
    for key in (b"b", b"a", b""):
        with pytest.raises(Invalid):
            writer.add(key, 1, 1, b"")


@given(KEYS, U64, U64, st.binary(max_size=100), st.data())
def test_row_values(key: bytes, lsn: int, stamp: int, item: bytes, data: st.DataObject) -> None:
    value = row.encode_value(key, lsn, stamp, item)
    assert row.decode_value(key, value) == (key, lsn, stamp, item)
    bit = data.draw(st.integers(0, len(value) * 8 - 1))
    bad = bytearray(value)
    bad[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Corrupt):
        row.decode_value(key, bytes(bad))
    other = data.draw(KEYS.filter(lambda one: one != key))
    with pytest.raises(Corrupt):
        row.decode_value(other, value)


def test_row_hash_is_unambiguous_between_item_and_key() -> None:
    value = row.encode_value(b"bc", 1, 1, b"a")
    with pytest.raises(Corrupt):
        row.decode_value(b"c", value + b"b")


@given(KEYS, st.none() | KEYS, st.integers(0, 1 << 31), SUMS, SUMS, st.data())
def test_fences(start: bytes, end: bytes | None, rows: int, keys: int, sums: int, data: st.DataObject) -> None:
    one = Fence(start, end, rows, keys, sums)
    value = fence.encode_fence(one)
    assert fence.decode_fence(start, value) == one
    bit = data.draw(st.integers(0, len(value) * 8 - 1))
    bad = bytearray(value)
    bad[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Corrupt):
        fence.decode_fence(start, bytes(bad))
    with pytest.raises(Corrupt):
        fence.decode_fence(start + b"x", value)


def test_every_flip_of_the_state_is_refused() -> None:
    facts = TreeFacts(TreeState(Lsn(5), Stamp(6), b"extra"), 7, 8, 9, 10)
    value = lmdb_tree.encode_meta(facts, partition=PARTITION, key=b"state/1")
    assert lmdb_tree.decode_meta(value, partition=PARTITION, key=b"state/1") == facts
    for bit in range(len(value) * 8):
        bad = bytearray(value)
        bad[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Corrupt):
            lmdb_tree.decode_meta(bytes(bad), partition=PARTITION, key=b"state/1")
    with pytest.raises(Corrupt, match="another partition"):
        lmdb_tree.decode_meta(value, partition=bytes(16), key=b"state/1")
    with pytest.raises(Corrupt):
        lmdb_tree.decode_meta(value, partition=PARTITION, key=b"state/2")
