"""A copy loaded from a row file is taken only for what its own bytes say: by heals and by restores."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from scrubjay.base.errors import Corrupt, DiskFull, Missing, Unavailable
from scrubjay.base.ids import NodeName, PartitionId
from scrubjay.pitr.new_table import NewTable
from scrubjay.pitr.target import RestoreTarget
from scrubjay.sim.whole.commands import item_of, key_of
from scrubjay.storage.btree.beside import FOLDER, TreesHere, folder_of
from scrubjay.storage.btree.engine import TreeFile
from scrubjay.storage.btree.memory_engine import MemoryTrees
from scrubjay.storage.btree.memory_treefile import FILE, MAKER, ModelTreeWriter
from scrubjay.storage.log.digest import RANGES
from tests.unit.control.house import House

ROWS = 6


@pytest.fixture
def house() -> House:
    house = House()
    table = house.create("orders")
    for key in range(ROWS):
        house.put(table, key, key)
    house.pass_time(6)
    return house


def other_value(trees: MemoryTrees, partition: PartitionId) -> None:
    """A row that checks and is another one."""
    assert trees.plant_row(partition, key_of(3), 0, 0, item_of(3, 999))


def unreadable_extra(trees: MemoryTrees, partition: PartitionId) -> None:
    """A row that does not check, where no row should be: no digest over sound rows shows it."""
    assert trees.plant_row(partition, key_of(ROWS + 1), 0, 0, item_of(ROWS + 1, 1))
    assert trees.flip_row(partition, key_of(ROWS + 1), 7)


def spoil_loads(house: House, node: str, how: Callable[[MemoryTrees, PartitionId], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """What `node` loads from now on is not what its row file says."""
    (found,) = [one for one in house.cluster.nodes() if one.name == node]
    engine: Any = found.engine
    load = engine.load

    def spoilt(partition: PartitionId, path: str, state: Any, done: Callable[[Any], None], **named: Any) -> None:
        def loaded(result: Any) -> None:
            how(house.cluster.trees[NodeName(node)], partition)
            done(result)

        load(partition, path, state, loaded, **named)

    monkeypatch.setattr(engine, "load", spoilt)


@pytest.mark.parametrize("how", [other_value, unreadable_extra])
def test_a_healed_copy_that_is_not_its_reference_never_serves(
    house: House, how: Callable[[MemoryTrees, PartitionId], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = house.table("orders")
    (info,) = table.partitions
    reference = house.run(house.references().rebuild(table, info, until=house.service.archived(info.partition_id), progress=None))
    (node,) = [one for one in house.cluster.nodes() if one.name == "n2"]
    spoil_loads(house, "n2", how, monkeypatch)
    with pytest.raises(Corrupt):
        house.run(
            house.service.heal(
                info.partition_id,
                node.name,
                rows=reference.rows,
                lsn=reference.lsn,
                stamp=reference.stamp,
                total=reference.digest.total(),
                chain=reference.chain,
                reason="a test",
            )
        )
    assert node.replicas[info.partition_id].state == "suspect"


@pytest.mark.parametrize("how", [other_value, unreadable_extra])
def test_a_restored_copy_that_is_not_what_was_read_never_starts(
    house: House, how: Callable[[MemoryTrees, PartitionId], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    at = house.run(house.restore.preparing.look(house.table("orders")))[1].latest_us
    spoil_loads(house, "n2", how, monkeypatch)
    house.run(house.restore.start(house.table("orders"), "back", RestoreTarget(at_us=at)))
    report = house.restored("back")
    assert report["state"] in ("differs", "failed"), report
    restoring = house.table("back").restore_of
    assert restoring is not None
    assert restoring.in_progress
    (info,) = house.table("back").partitions
    (node,) = [one for one in house.cluster.nodes() if one.name == "n2"]
    assert node.replicas[info.partition_id].state == "base"


def test_the_copies_of_a_partition_are_loaded_beside_each_other(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """No node waits for another to have its rows: each load is held back until all three have begun."""
    held: list[Callable[[], None]] = []
    began_us: list[int] = []

    def hold(load: Callable[..., None], *arguments: Any, **named: Any) -> None:
        began_us.append(house.world.now)
        held.append(lambda: load(*arguments, **named))
        if len(held) == 3:
            for one in held:
                one()

    for node in house.cluster.nodes():
        engine: Any = node.engine
        monkeypatch.setattr(engine, "load", partial(hold, engine.load))
    source = house.table("orders")
    house.run(house.restore.start(source, "again", RestoreTarget(latest=True)))
    assert house.restored("again")["state"] == "published"
    assert len(held) == 3
    assert began_us[2] - began_us[0] < 1_000_000, "and not when a load that was waited for has timed out"


@pytest.mark.parametrize("why", [Missing("gone", what="tree file"), Corrupt("other bytes", what="tree"), Unavailable("the worker died")])
def test_a_tree_file_is_for_the_others_first_and_where_it_cannot_be_had_rows_are_loaded(
    house: House, monkeypatch: pytest.MonkeyPatch, why: Exception
) -> None:
    """It may be taken away for the last copy only once the others have theirs."""
    asked: list[tuple[bool, int]] = []
    answered = 0

    def adopt(partition: PartitionId, made: TreeFile, done: Callable[[Any], None], *, last: bool) -> None:
        asked.append((last, answered))

        def later() -> None:
            nonlocal answered
            answered += 1
            done(why)

        house.env.tasks.call_later(1.0, later)

    for node in house.cluster.nodes():
        engine: Any = node.engine
        monkeypatch.setattr(engine, "adopt", adopt)
    port: Any = house.service
    load_base = port.load_base
    given = TreeFile(1, bytes(16), bytes(RANGES * 24), 1)
    monkeypatch.setattr(port, "load_base", lambda *args, **more: load_base(*args, **{**more, "tree": given}))
    house.run(house.restore.start(house.table("orders"), "again", RestoreTarget(latest=True)))
    assert house.restored("again")["state"] == "published"
    assert asked == [(False, 0), (False, 0), (True, 2)]
    (info,) = house.table("again").partitions
    for node in ("n1", "n2", "n3"):
        assert [
            line
            for line in house.lines
            if f"partition {info.partition_id} on {node} loads its rows one by one" in line and str(why) in line
        ]


def rotten(house: House, path: str) -> None:
    data = house.cluster.folder.disk.read_file(path)
    assert data is not None
    house.cluster.folder.disk.write_file(path, data[:-40] + bytes([data[-40] ^ 1]) + data[-39:])


def gone(house: House, path: str) -> None:
    house.cluster.folder.disk.remove(path)


def watched(house: House, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What each engine is asked for a new tree, in order."""
    asked: list[str] = []
    for node in house.cluster.nodes():
        engine: Any = node.engine
        for way in ("load", "adopt"):
            call = getattr(engine, way)
            monkeypatch.setattr(engine, way, lambda *some, way=way, call=call, **more: (asked.append(way), call(*some, **more)))
    return asked


def test_a_restore_makes_one_tree_and_every_copy_takes_its_bytes(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.trees = TreesHere(MAKER, "")
    source = house.table("orders")
    asked = watched(house, monkeypatch)
    house.run(house.restore.start(source, "again", RestoreTarget(latest=True)))
    assert house.restored("again")["state"] == "published"
    assert asked == ["adopt"] * 3
    assert house.rows(house.table("again")) == house.rows(source)
    assert not [line for line in house.lines if "one by one" in line]
    assert not house.cluster.folder.disk.listdir(FOLDER), "nothing of it is left"
    assert house.scrub().verdict == "match"


@pytest.mark.parametrize("how", [rotten, gone])
def test_a_tree_that_is_not_what_was_made_is_no_copy_and_that_is_said(
    house: House, monkeypatch: pytest.MonkeyPatch, how: Callable[[House, str], None]
) -> None:
    """Between the rebuild and the copies. Every copy has the proven rows all the same."""
    house.trees = TreesHere(MAKER, "")
    source = house.table("orders")
    port: Any = house.service
    load_base = port.load_base

    def spoilt(partition: PartitionId, **more: Any) -> Any:
        how(house, f"{folder_of(partition)}/{FILE}")
        return load_base(partition, **more)

    monkeypatch.setattr(port, "load_base", spoilt)
    asked = watched(house, monkeypatch)
    house.run(house.restore.start(source, "again", RestoreTarget(latest=True)))
    assert house.restored("again")["state"] == "published"
    assert sorted(asked) == ["adopt"] * 3 + ["load"] * 3
    assert house.rows(house.table("again")) == house.rows(source)
    assert sum("could not take their tree" in line for line in house.lines) == 3
    assert not house.cluster.folder.disk.listdir(FOLDER)


def test_what_keeps_a_tree_from_being_made_keeps_no_rows_and_is_said(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.trees = TreesHere(MAKER, "")
    source = house.table("orders")

    def full(writer: ModelTreeWriter, rows: Any, hashes: Any) -> None:
        raise DiskFull("the disk is full", what="tree")

    monkeypatch.setattr(ModelTreeWriter, "add", full)
    asked = watched(house, monkeypatch)
    house.run(house.restore.start(source, "again", RestoreTarget(latest=True)))
    assert house.restored("again")["state"] == "published"
    assert asked == ["load"] * 3
    assert [line for line in house.lines if "no tree was made of them: " in line and "full" in line]
    assert not house.cluster.folder.disk.listdir(FOLDER)


def test_a_tree_that_a_restore_left_goes_with_it(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.trees = TreesHere(MAKER, "")
    port: Any = house.service

    async def never(partition: PartitionId, **more: Any) -> Any:
        raise Corrupt("a load that nobody can do")

    monkeypatch.setattr(port, "load_base", never)
    monkeypatch.setattr(NewTable, "load", lambda self, partition, *some, **more: never(partition))
    house.run(house.restore.start(house.table("orders"), "again", RestoreTarget(latest=True)))
    assert house.restored("again")["state"] == "failed"
    (info,) = house.table("again").partitions
    assert house.cluster.folder.disk.listdir(FOLDER) == [info.partition_id]
    house.run(house.restore.cancel("again"))
    assert not house.cluster.folder.disk.listdir(FOLDER)
