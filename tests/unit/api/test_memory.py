"""The model of the store: partitions, ranges, states, restore."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from scrubjay.base.env import Env
from scrubjay.base.errors import Conflict, Missing, Unsafe
from scrubjay.storage.backend import TableSpec
from scrubjay.storage.catalogue import KeyAttribute, KeySchema, TableMeta, Throughput
from scrubjay.storage.commands.values import DeleteCommand, PutCommand, RangeRead
from tests.fixtures.memory_backend import MemoryBackend


class Clock:
    def __init__(self) -> None:
        self.us = 1_000_000

    def wall_us(self) -> int:
        return self.us

    def boot_us(self) -> int:
        return self.us


class Rand:
    def __init__(self) -> None:
        self.last = 0

    def u64(self) -> int:
        self.last += 1
        return self.last

    def uuid(self) -> str:
        return f"00000000-0000-0000-0000-{self.u64():012x}"

    def uniform(self, low: float, high: float) -> float:
        return low


SPEC = TableSpec(
    name="table",
    key=KeySchema(KeyAttribute("pk", "S")),
    attributes=(("pk", "S"),),
    billing="PAY_PER_REQUEST",
    throughput=Throughput(),
)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def backend_of(clock: Clock, **options: Any) -> MemoryBackend:
    return MemoryBackend(Env(clock, Rand(), None), **options)  # type: ignore[arg-type]


def run(coroutine: Any) -> Any:
    return asyncio.run(coroutine)


def put(backend: MemoryBackend, meta: TableMeta, key: bytes, item: bytes) -> Any:
    answers: list[Any] = []
    backend.write(meta, PutCommand(key, key, item), answers.append)
    return answers[0]


def keys(backend: MemoryBackend, meta: TableMeta, request: RangeRead, partition: int = 0) -> tuple[list[bytes], bool]:
    answers: list[Any] = []
    backend.read_range(meta, meta.partitions[partition], request, answers.append)
    return [key for key, _ in answers[0].rows], answers[0].more


def test_states_move_with_the_clock(clock: Clock) -> None:
    backend = backend_of(clock, delay_us=100)
    assert run(backend.create_table(SPEC)).status == "CREATING"
    with pytest.raises(Conflict):
        run(backend.create_table(SPEC))
    with pytest.raises(Conflict):
        run(backend.delete_table("table"))
    clock.us += 100
    meta = backend.table("table")
    assert meta is not None
    assert meta.status == "ACTIVE"
    assert run(backend.update_table("table", {"tags": (("a", "b"),)})).status == "ACTIVE"
    assert run(backend.update_table("table", {"table_class": "STANDARD_INFREQUENT_ACCESS"})).status == "UPDATING"
    clock.us += 100
    assert run(backend.delete_table("table")).status == "DELETING"
    assert backend.table_names() == ["table"]
    clock.us += 100
    assert backend.table("table") is None
    assert backend.table_names() == []
    with pytest.raises(Missing):
        run(backend.delete_table("table"))


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_partitions_cover_the_hash_space(clock: Clock, count: int) -> None:
    backend = backend_of(clock, initial_partitions=count)
    meta = run(backend.create_table(SPEC))
    assert meta.partitions[0].lo == "0" * 32
    assert meta.partitions[-1].hi == ""
    assert [info.hi for info in meta.partitions[:-1]] == [info.lo for info in meta.partitions[1:]]
    for key in (b"\x00" * 16, b"\x7f" * 16, b"\x80" + b"\x00" * 15, b"\xff" * 20):
        put(backend, meta, key, b"item")
    assert backend.stats(meta).rows == 4


def test_ranges(clock: Clock) -> None:
    backend = backend_of(clock)
    meta = run(backend.create_table(SPEC))
    for key in (b"a", b"b", b"c", b"d"):
        put(backend, meta, key, b"x" * 10)
    assert keys(backend, meta, RangeRead(b"b", b"d", 10, 1000, False, True)) == ([b"b", b"c"], False)
    assert keys(backend, meta, RangeRead(b"b", None, 2, 1000, False, True)) == ([b"b", b"c"], True)
    assert keys(backend, meta, RangeRead(b"", b"d", 2, 1000, True, True)) == ([b"c", b"b"], True)
    assert keys(backend, meta, RangeRead(b"", None, 10, 15, False, True)) == ([b"a", b"b"], True)
    assert keys(backend, meta, RangeRead(b"x", None, 10, 15, False, True)) == ([], False)


def test_every_write_has_an_instant_and_a_restore_replays_up_to_it(clock: Clock) -> None:
    backend = backend_of(clock)
    meta = run(backend.create_table(SPEC))
    first = put(backend, meta, b"a" * 16, b"one")
    second = put(backend, meta, b"a" * 16, b"two")
    assert (first.lsn, second.lsn) == (1, 2)
    assert second.timestamp_us > first.timestamp_us
    answers: list[Any] = []
    backend.write(meta, DeleteCommand(b"a" * 16, b"a" * 16), answers.append)
    restored = run(backend.restore_table(meta, "then", at_us=first.timestamp_us, overrides={}))
    assert restored.restore_of.in_progress
    assert backend.stats(restored).rows == 1
    backend.read(restored, b"a" * 16, consistent=True, done=answers.append)
    assert answers[-1].item == b"one"
    later = run(backend.restore_table(meta, "later", at_us=second.timestamp_us, overrides={"table_class": "STANDARD_INFREQUENT_ACCESS"}))
    backend.read(later, b"a" * 16, consistent=True, done=answers.append)
    assert answers[-1].item == b"two"
    assert later.table_class == "STANDARD_INFREQUENT_ACCESS"
    now = run(backend.restore_table(meta, "now", at_us=None, overrides={}))
    assert backend.stats(now).rows == 0
    with pytest.raises(Unsafe):
        run(backend.restore_table(meta, "before", at_us=1, overrides={}))
    with pytest.raises(Conflict):
        run(backend.restore_table(meta, "then", at_us=None, overrides={}))
