"""The tree model of the simulator: it forgets what was not committed, and its rot is found where the real tree finds it."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from scrubjay.base.checksum import row_hash, row_hashes
from scrubjay.base.errors import Corrupt, Exists, Missing, ScrubjayError, Unavailable
from scrubjay.base.ids import Lsn, PartitionId, Stamp, uuid_bytes
from scrubjay.sim.disk import SimDisk
from scrubjay.sim.events import Life
from scrubjay.sim.world import World
from scrubjay.storage.btree.beside import folder_of
from scrubjay.storage.btree.engine import EMPTY, Change, Row, TreeState
from scrubjay.storage.btree.memory_engine import MemoryEngine, MemoryTrees
from scrubjay.storage.btree.memory_treefile import FILE, ModelTreeWriter
from scrubjay.storage.log.digest import MASK, RangeDigest, Total

P = PartitionId("00000000-0000-4000-8000-00000000000a")


class Rig:
    """A world with one disk; `run` drives it until the callback came."""

    def __init__(self) -> None:
        self.world = World(1)
        self.disk = SimDisk(self.world, "n1", capacity=1 << 24)
        self.disk.attach(Life(self.world))
        self.trees = MemoryTrees()
        self.engine = self.new_engine()

    def new_engine(self) -> MemoryEngine:
        return MemoryEngine(self.trees, _Tasks(self.world), self.disk)  # type: ignore[arg-type]

    def run(self, call: Any, *arguments: Any, **options: Any) -> Any:
        results: list[Any] = []
        call(*arguments, **options, done=results.append)
        self.world.run(until_us=self.world.now + 10_000_000, stop=lambda: bool(results))
        assert len(results) == 1
        if isinstance(results[0], ScrubjayError):
            raise results[0]
        return results[0]


class _Tasks:
    def __init__(self, world: World) -> None:
        self._world = world

    def call_later(self, seconds: float, callback: Any) -> Any:
        return self._world.after(round(seconds * 1e6), callback)


def key(n: int) -> bytes:
    return n.to_bytes(16, "big") + b"k"


def put(n: int, lsn: int) -> Change:
    return Change(key(n), Lsn(lsn), Stamp(lsn), b"item%d" % lsn)


def at(lsn: int) -> TreeState:
    return TreeState(Lsn(lsn), Stamp(lsn), b"x")


def filled() -> tuple[Rig, Any]:
    rig = Rig()
    tree = rig.run(rig.engine.create, P)
    rig.run(tree.checkpoint, [put(n, n) for n in range(1, 51)], at(50))
    return rig, tree


def test_life() -> None:
    rig, tree = filled()
    assert tree.state == at(50)
    assert tree.get(key(7)) == put(7, 7)
    assert tree.get(key(99)) is None
    assert [row.lsn for row in tree.range(key(3), key(6))] == [3, 4, 5]
    assert [row.lsn for row in tree.range(key(3), None, reverse=True)][:2] == [50, 49]
    pin = rig.run(tree.pin, Lsn(50))
    with pytest.raises(Unavailable):
        rig.run(tree.pin, Lsn(49))
    rig.run(tree.checkpoint, [Change(key(7), Lsn(51), Stamp(51), None)], at(51))
    assert tree.get(key(7)) is None
    result = rig.run(pin.digest, bytes(16), None, bytes_per_second=None)
    expected = RangeDigest(bytes(16), None)
    for n in range(1, 51):
        expected.add(key(n), row_hash(key(n), b"item%d" % n))
    assert result.digest.encode() == expected.encode()
    assert rig.run(pin.dump, "dump.rows") == expected.total()
    low, high = rig.run(pin.dump, "low.rows", end=key(7)[:16]), rig.run(pin.dump, "high.rows", start=key(7)[:16])
    assert (low.sum + high.sum) % (1 << 128) == expected.total().sum
    assert 0 < low.rows < low.rows + high.rows == expected.total().rows
    assert [fact.lsn for fact in rig.run(pin.rows, key(1), key(4), 100)] == [1, 2, 3]
    assert [fact.lsn for fact in rig.run(pin.rows, key(1), key(4), 2)] == [1, 2]
    with pytest.raises(Exists):
        rig.run(rig.engine.load, P, "dump.rows", at(50))
    tree.close()
    assert rig.run(rig.engine.load, P, "dump.rows", at(50)).get(key(7)) == put(7, 7)


def test_a_crash_forgets_what_was_not_committed() -> None:
    rig, tree = filled()
    calls: list[object] = []
    tree.checkpoint([put(1, 60)], at(60), calls.append)
    rig.engine.crash()
    rig.world.run(until_us=rig.world.now + 1_000_000)
    assert calls == []
    again = rig.run(rig.new_engine().open, P)
    assert again.state == at(50)
    assert again.get(key(1)) == put(1, 1)


def test_missing_and_set_aside() -> None:
    rig = Rig()
    with pytest.raises(Missing):
        rig.run(rig.engine.open, P)
    rig.run(rig.engine.create, P).close()
    path = rig.engine.set_aside(P, "test")
    assert path in rig.trees.quarantine
    assert rig.run(rig.engine.create, P).state == EMPTY


def test_a_flipped_bit_is_found_by_every_read() -> None:
    rig, tree = filled()
    assert rig.trees.flip_row(P, key(9), 333)
    for read in (lambda: tree.get(key(9)), lambda: list(tree.range(key(5), key(12)))):
        with pytest.raises(Corrupt) as caught:
            read()
        assert caught.value.fields["key"] == key(9).hex()
    pin = rig.run(tree.pin, Lsn(50))
    assert rig.run(pin.digest, bytes(16), None, bytes_per_second=None).bad == (key(9),)
    with pytest.raises(Corrupt):
        rig.run(tree.checkpoint, [put(9, 60)], at(60))


def test_lost_and_planted_rows_are_found_by_absence_and_range() -> None:
    rig, tree = filled()
    rig.trees.lose_row(P, key(9))
    with pytest.raises(Corrupt):
        tree.get(key(9))
    with pytest.raises(Corrupt):
        list(tree.range(key(5), key(12)))
    assert len(list(tree.range(key(10), key(12)))) == 2
    rig, tree = filled()
    rig.trees.plant_row(P, key(60), 1, 1, b"planted")
    with pytest.raises(Corrupt):
        list(tree.range(key(5), None))
    pin = rig.run(tree.pin, Lsn(50))
    assert rig.run(pin.digest, bytes(16), None, bytes_per_second=None).structure
    tree.close()
    with pytest.raises(Corrupt):
        rig.run(rig.engine.open, P)


def test_damaged_structure_fails_everything() -> None:
    rig, tree = filled()
    rig.trees.damage_structure(P)
    with pytest.raises(Corrupt):
        tree.get(key(1))
    with pytest.raises(Corrupt):
        rig.run(tree.checkpoint, [put(1, 60)], at(60))


@pytest.mark.parametrize("bit", [None, 3, 700])
def test_a_tree_file_is_taken_for_what_was_read_back_and_nothing_else(bit: int | None) -> None:
    """bit: that rotted in it since."""
    rig = Rig()
    engine = MemoryEngine(rig.trees, _Tasks(rig.world), rig.disk, tree_files=rig.disk)  # type: ignore[arg-type]
    rows = [Row(key(n), Lsn(0), Stamp(0), b"item%d" % n) for n in range(40)]
    with closing(ModelTreeWriter(rig.disk, folder_of(P), uuid_bytes(P))) as writer:
        writer.add(rows, row_hashes(rows))
        made = writer.finish(bytes(16), None)
    path = f"{folder_of(P)}/{FILE}"
    if bit is not None:
        data = bytearray(rig.disk.read_file(path) or b"")
        data[bit // 8] ^= 1 << bit % 8
        rig.disk.write_file(path, bytes(data))
        with pytest.raises(Corrupt, match="not what was read back"):
            rig.run(engine.adopt, P, made, last=False)
        assert P not in rig.trees.trees
        return
    tree = rig.run(engine.adopt, P, made, last=True)
    digest = RangeDigest(bytes(16), None)
    digest.load(made.digest)
    assert tree.state == EMPTY
    assert list(tree.range(b"", None)) == rows
    assert digest.total() == Total(sum(row_hashes(rows)) & MASK, len(rows))
    assert not rig.disk.exists(path), "the last one takes it"
    tree.close()
    with pytest.raises(Missing):
        rig.run(engine.adopt, P, made, last=False)
