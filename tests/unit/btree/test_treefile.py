"""One tree for all copies on a machine: a copy has bytes of its own, and only those that were read back."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scrubjay.base.checksum import row_hashes
from scrubjay.base.errors import Corrupt, Missing
from scrubjay.base.ids import Lsn, Stamp, uuid_bytes
from scrubjay.storage.btree import treefile
from scrubjay.storage.btree.engine import EMPTY, Row, TreeFile
from scrubjay.storage.btree.lmdb_engine import LmdbEngine
from scrubjay.storage.btree.lmdb_tree import FILE, TreeWriter
from scrubjay.storage.btree.treefile import TreeFileWriter, copy_of, file_hash
from scrubjay.storage.log.digest import RangeDigest
from tests.unit.btree.engines import Bench, P

ROWS = [Row(number.to_bytes(16, "big") + b"k", Lsn(0), Stamp(0), b"item %d " % number * 40) for number in range(1000)]
LO, HI = bytes(16), None


def made(place: Path, rows: list[Row] = ROWS) -> TreeFile:
    tree = TreeFileWriter(place, uuid_bytes(P))
    try:
        for at in range(0, len(rows), 300):
            some = rows[at : at + 300]
            tree.add(some, row_hashes(some))
        return tree.finish(LO, HI)
    finally:
        tree.close()


@pytest.fixture
def bench(tmp_path: Path) -> Any:
    bench = Bench(tmp_path / "n1")
    bench.engine.close()
    bench.engine = LmdbEngine(str(tmp_path / "n1"), bench.disk, bench._spawn, trees=str(tmp_path / "trees"))
    yield bench
    bench.close()


def test_it_says_what_a_loaded_tree_would_say(tmp_path: Path) -> None:
    (tmp_path / "loaded").mkdir()
    tree = TreeWriter(str(tmp_path / "loaded"), uuid_bytes(P), sync=False, create=True)
    facts = tree.load([(ROWS, row_hashes(ROWS))], EMPTY)
    tree.close()
    told = made(tmp_path / "tree")
    digest = RangeDigest(LO, HI)
    digest.load(told.digest)
    assert (digest.total().rows, digest.total().sum) == (facts.rows, facts.row_sum)
    assert (told.size, told.hash) == file_hash(tmp_path / "tree" / FILE)


def test_a_copy_is_bytes_of_its_own_and_the_last_one_takes_the_file(tmp_path: Path, bench: Bench) -> None:
    told = made(tmp_path / "trees" / P)
    tree = bench.run(bench.engine.adopt, P, told, last=False)
    assert [row.item for row in tree.range(ROWS[7].key, ROWS[9].key)] == [ROWS[7].item, ROWS[8].item]
    assert tree.state == EMPTY
    source = tmp_path / "trees" / P / FILE
    mine = tmp_path / "n1" / "replicas" / P / "btree" / FILE
    assert (mine.stat().st_ino != source.stat().st_ino, file_hash(mine)) == (True, (told.size, told.hash))
    tree.close()
    bench.run(bench.engine.adopt, P, told, last=True).close()
    assert not source.exists()
    with pytest.raises(Missing):
        bench.run(bench.engine.adopt, P, told, last=False)
    assert bench.run(bench.engine.open, P).get(ROWS[3].key).item == ROWS[3].item, "what is there stays, where nothing comes in its place"


@pytest.mark.parametrize("last", [False, True])
def test_a_copy_of_other_bytes_is_none(tmp_path: Path, bench: Bench, last: bool) -> None:
    told = made(tmp_path / "trees" / P)
    source = tmp_path / "trees" / P / FILE
    data = bytearray(source.read_bytes())
    data[data.index(ROWS[500].item) + 5] ^= 1
    source.write_bytes(data)
    with pytest.raises(Corrupt):
        bench.run(bench.engine.adopt, P, told, last=last)
    assert not (tmp_path / "n1" / "replicas" / P / "btree").exists()
    with pytest.raises(Missing):
        bench.run(bench.engine.open, P)


def test_rows_that_do_not_check_when_they_are_read_back_make_no_tree(tmp_path: Path) -> None:
    """A hash that is another row's: what a fence then says, no row adds up to."""
    tree = TreeFileWriter(tmp_path / "tree", uuid_bytes(P))
    tree.add(ROWS, [*row_hashes(ROWS[:-1]), 17])
    with pytest.raises(Corrupt):
        tree.finish(LO, HI)
    tree.close()
    assert not (tmp_path / "tree").exists()


def refused(read: int, write: int, count: int) -> int:
    raise OSError(errno.EXDEV, "not here")


def half_way(read: int, write: int, count: int) -> int:
    """The kernel may copy less than it was asked for, and then no more."""
    if os.lseek(write, 0, os.SEEK_END):
        raise OSError(errno.EINVAL, "no more")
    return os.write(write, os.read(read, 5000))


@pytest.mark.parametrize("copies", [refused, half_way])
def test_a_file_system_that_does_not_copy_is_read_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, copies: Callable[[int, int, int], int]
) -> None:
    monkeypatch.setattr(treefile.os, "copy_file_range", copies)
    told = made(tmp_path / "tree")
    copy_of(tmp_path / "tree" / FILE, tmp_path / "copy", size=told.size, hash_=told.hash, move=False)
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "tree" / FILE).read_bytes()
