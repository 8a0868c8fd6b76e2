"""What days tell of is held in 32 bytes a name, and given out once each, in order, as often as it is asked for."""

from __future__ import annotations

import random
import tracemalloc

import pytest

from scrubjay.archiver.format.day import IndexObject, day_of
from scrubjay.archiver.format.layout import BaseKey, SegmentKey, build
from scrubjay.archiver.read.days import Days
from tests.unit.archiver.sample import CLUSTER, OWNER, START_US, TABLE, other_partition

PARTITIONS = [other_partition(number) for number in range(1, 4)]


def names(count: int, *, seed: int = 1) -> list[str]:
    draw = random.Random(seed)
    found = []
    for at in range(count):
        partition, sha16 = PARTITIONS[at % 3], draw.randbytes(8).hex()
        if at % 10:
            found.append(build(SegmentKey(CLUSTER, TABLE, partition, 1 + at * 100, 100 + at * 100, 1 + at % 3, sha16, manifest=False)))
        else:
            found.append(build(BaseKey(CLUSTER, TABLE, partition, at * 100, 1, sha16, None)))
    return found


def day(told: list[str], generation: int) -> IndexObject:
    return IndexObject(
        cluster=CLUSTER, day=day_of(START_US), generation=generation, time_us=START_US, epoch=1, owner=OWNER, names=tuple(told), runs=()
    )


def test_each_name_once_in_order_and_as_often_as_asked() -> None:
    told = names(300)
    draw = random.Random(2)
    days = Days()
    for generation in range(1, 12):  # some are told again and again, in any order
        days.note_names(day(draw.sample(told, 60), generation))
    days.note_names(day(told, 12))
    assert sorted(days.names) == [(TABLE, partition) for partition in sorted(PARTITIONS)]
    for (_, partition), some in days.names.items():
        mine = [name for name in told if f"/p={partition}/" in name]
        assert sorted(some) == sorted(mine)
        assert list(some) == list(some)
        assert len(list(some)) == len(set(some)), "each once"


@pytest.mark.slow
def test_a_name_takes_32_bytes() -> None:
    """At a million objects that is 32 MB, where the names themselves were 150; and nothing more is made of it to look through it."""
    count = 30_000
    objects = [day(names(1_000, seed=seed), seed + 1) for seed in range(count // 1_000)]
    tracemalloc.start()
    try:
        days = Days()
        for one in objects:
            days.note_names(one)
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        assert sum(1 for some in days.names.values() for _ in some) == count
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 40 * count
    assert peak - held < 4 * count
