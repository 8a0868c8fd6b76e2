"""The LMDB engine with its real worker processes: life of a tree, damage, killed workers."""

from __future__ import annotations

import contextlib
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from base.checksum import row_hash
from base.errors import Corrupt, Exists, Missing, Unavailable
from base.ids import Lsn, Stamp
from storage.btree.engine import EMPTY, Change, Tree, TreeState
from storage.digest import MASK, RangeDigest
from storage.rowfile import RowFileWriter
from tests.unit.btree.engines import Bench, P

LO = bytes(16)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def key(n: int) -> bytes:
    return n.to_bytes(16, "big") + b"k%d" % n


def put(n: int, lsn: int, size: int = 30) -> Change:
    return Change(key(n), Lsn(lsn), Stamp(lsn * 10), b"%d-%d-" % (n, lsn) + b"x" * size)


def at(lsn: int) -> TreeState:
    return TreeState(Lsn(lsn), Stamp(lsn), b"extra%d" % lsn)


def test_life_of_a_tree(bench: Bench) -> None:
    tree: Tree = bench.run(bench.engine.create, P)
    assert tree.state == EMPTY
    assert tree.get(key(1)) is None
    assert list(tree.range(b"", None)) == []
    bench.run(tree.checkpoint, [put(n, n) for n in range(1, 301)], at(300))
    assert tree.state == at(300)
    row = tree.get(key(7))
    assert row == put(7, 7)
    bench.run(tree.checkpoint, [Change(key(7), Lsn(301), Stamp(1), None), put(8, 302)], at(302))
    assert tree.get(key(7)) is None
    assert [row.lsn for row in tree.range(key(6), key(10))] == [6, 302, 9]
    assert [row.lsn for row in tree.range(key(6), key(10), reverse=True)] == [9, 302, 6]
    tree.close()
    bench.close()
    again = Bench(bench.root)
    tree = again.run(again.engine.open, P)
    assert tree.state == at(302)
    assert len(list(tree.range(b"", None))) == 299
    with pytest.raises(Exists):
        again.run(again.engine.create, P)
    again.close()
    bench.loop, bench.disk = again.loop, again.disk


def test_a_checkpoint_must_continue_the_tree(bench: Bench) -> None:
    tree = bench.run(bench.engine.create, P)
    bench.run(tree.checkpoint, [put(1, 1)], at(1))
    tree._state = at(0)
    with pytest.raises(Exception, match="does not continue"):
        bench.run(tree.checkpoint, [put(2, 2)], at(2))


def test_missing_and_damaged_trees_do_not_open(bench: Bench) -> None:
    with pytest.raises(Missing):
        bench.run(bench.engine.open, P)
    tree = bench.run(bench.engine.create, P)
    bench.run(tree.checkpoint, [put(n, n) for n in range(1, 301)], at(300))
    tree.close()
    path = bench.root / "replicas" / P / "btree" / "data.mdb"
    data = bytearray(path.read_bytes())
    where = data.find(key(77))
    data[where + 3] ^= 4
    path.write_bytes(data)
    with pytest.raises(Corrupt):
        bench.run(bench.engine.open, P)
    aside = bench.engine.set_aside(P, "test")
    assert (bench.root / aside / "data.mdb").exists()
    with pytest.raises(Missing):
        bench.run(bench.engine.open, P)
    bench.run(bench.engine.create, P)


def test_a_bit_flipped_while_the_tree_is_open_is_found_by_the_next_read(bench: Bench) -> None:
    tree = bench.run(bench.engine.create, P)
    bench.run(tree.checkpoint, [put(n, n) for n in range(1, 301)], at(300))
    path = bench.root / "replicas" / P / "btree" / "data.mdb"
    with open(path, "r+b") as file:
        data = file.read()
        where = data.rfind(b"99-99-")
        file.seek(where)
        file.write(b"98")
    with pytest.raises(Corrupt) as caught:
        tree.get(key(99))
    assert caught.value.fields["key"] == key(99).hex()
    with pytest.raises(Corrupt):
        list(tree.range(key(90), key(110)))
    pin = bench.run(tree.pin, Lsn(300))
    result = bench.run(pin.digest, LO, None, bytes_per_second=None)
    assert result.bad == (key(99),)
    facts = {fact.key: fact.hash for fact in bench.run(pin.rows, key(98), key(101))}
    assert facts[key(99)] == 0
    assert facts[key(100)] == row_hash(key(100), put(100, 100).item or b"")
    with pytest.raises(Corrupt):
        bench.run(pin.dump, "dump.rows")
    pin.release()


def test_pins_see_one_lsn_while_the_tree_moves_on(bench: Bench) -> None:
    tree = bench.run(bench.engine.create, P)
    rows = [put(n, n) for n in range(1, 101)]
    bench.run(tree.checkpoint, rows, at(100))
    with pytest.raises(Unavailable):
        bench.run(tree.pin, Lsn(99))
    pin = bench.run(tree.pin, Lsn(100))
    bench.run(tree.checkpoint, [put(n, n + 1000) for n in range(1, 51)], at(1100))
    result = bench.run(pin.digest, LO, None, bytes_per_second=10_000_000)
    expected = RangeDigest(LO, None)
    for row in rows:
        assert row.item is not None
        expected.add(row.key, row_hash(row.key, row.item))
    assert result.digest.encode() == expected.encode()
    assert (result.bad, result.structure) == ((), ())
    total = bench.run(pin.dump, "work/base.rows")
    assert total == expected.total()
    pin.release()
    tree.close()
    loaded = bench.run(bench.engine.load, P, "work/base.rows", at(100))
    assert loaded.state == at(100)
    assert [row.lsn for row in loaded.range(b"", None)] == list(range(1, 101))


def test_load_replaces_a_tree_and_refuses_a_bad_file(bench: Bench) -> None:
    parts: list[bytes] = []
    writer = RowFileWriter(parts.append)
    for n in range(5000):
        writer.add(key(n), n, n, b"item%d" % n)
    total = writer.finish()
    data = b"".join(parts)
    (bench.root / "good").write_bytes(data)
    (bench.root / "bad").write_bytes(data[:200] + bytes([data[200] ^ 1]) + data[201:])
    tree = bench.run(bench.engine.create, P)
    with pytest.raises(Exists):
        bench.run(bench.engine.load, P, "good", at(9))
    tree.close()
    with pytest.raises(Corrupt):
        bench.run(bench.engine.load, P, "bad", at(9))
    tree = bench.run(bench.engine.open, P)
    assert tree.state == EMPTY
    tree.close()
    tree = bench.run(bench.engine.load, P, "good", at(9))
    assert tree.state == at(9)
    assert sum(row_hash(row.key, row.item) for row in tree.range(b"", None)) & MASK == total.sum
    bench.run(tree.checkpoint, [put(7, 10)], at(10))
    assert tree.get(key(7)) == put(7, 10)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def test_a_worker_killed_in_a_checkpoint_is_replaced_and_the_checkpoint_repeated(bench: Bench) -> None:
    tree = bench.run(bench.engine.create, P)
    rand = random.Random(3)
    lsn = 0
    for turn in range(12):
        changes = sorted((put(n, lsn + 1, 500) for n in rand.sample(range(3000), 400)), key=lambda one: one.key)
        lsn += 1
        future = bench.start(tree.checkpoint, changes, at(lsn))
        if turn % 2 and turn < 10:  # the last turns are left alone: a killer must not reach the open below
            bench.loop.call_later(rand.random() * 0.02, _kill, bench.workers[-1].pid)
        bench.wait(future)
        assert tree.state == at(lsn)
        for change in changes[:20]:
            assert tree.get(change.key) == change
    tree.close()
    assert bench.run(bench.engine.open, P).state == at(lsn)
    assert len(bench.workers) > 3


def test_an_open_cut_short_leaves_a_marker_that_makes_the_next_one_thorough(bench: Bench) -> None:
    tree = bench.run(bench.engine.create, P)
    bench.run(tree.checkpoint, [put(n, n) for n in range(1, 301)], at(300))
    tree.close()
    folder = bench.root / "replicas" / P
    marker = folder / "opening"
    marker.write_bytes(b"1\n")
    tree = bench.run(bench.engine.open, P)
    assert not marker.exists(), "a plain kill in an open makes nobody suspect"
    tree.close()
    data = bytearray((folder / "btree" / "data.mdb").read_bytes())
    data[data.rfind(b"99-99-")] ^= 1
    (folder / "btree" / "data.mdb").write_bytes(data)
    tree = bench.run(bench.engine.open, P)
    tree.close()
    marker.write_bytes(b"1\n")
    with pytest.raises(Corrupt):
        bench.run(bench.engine.open, P)
    marker.write_bytes(b"5\n")
    with pytest.raises(Corrupt, match="cut short too often"):
        bench.run(bench.engine.open, P)


def test_a_worker_killed_while_verifying_makes_the_tree_suspect_not_the_node(bench: Bench) -> None:
    tree = bench.run(bench.engine.create, P)
    tree.close()
    os.kill(bench.workers[0].pid, signal.SIGSTOP)
    future = bench.start(bench.engine.open, P)
    os.kill(bench.workers[0].pid, signal.SIGKILL)
    with pytest.raises(Corrupt, match="died while it verified"):
        bench.wait(future)
    assert bench.run(bench.engine.open, P).state == EMPTY


def test_workers_end_with_their_node(bench: Bench) -> None:
    bench.run(bench.engine.create, P)
    pid = bench.workers[0].pid
    bench.engine.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
