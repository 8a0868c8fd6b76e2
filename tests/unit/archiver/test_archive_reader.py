"""The checked record stream: exactly the records asked for, or an error that names what is absent or bad."""

from __future__ import annotations

import pytest

from scrubjay.archiver.format.layout import build
from scrubjay.archiver.read.reader import read_records
from scrubjay.base.errors import Corrupt, Missing
from scrubjay.sim.lone import LoneHost, LoneStore
from scrubjay.storage.log.record import Record
from tests.unit.archiver.sample import Sample


def written(segments: int = 3) -> tuple[Sample, LoneStore]:
    sample, store = Sample(seed=7), LoneStore()
    for _ in range(segments):
        for _ in range(5):
            sample.random_write()
        sample.seal()
    store.objects.update(sample.objects())
    return sample, store


def read(store: LoneStore, sample: Sample, *, first: int, last: int | None = None, skip: int | None = None) -> list[Record]:
    manifests = [one for place, one in enumerate(sample.manifests()) if place != skip]

    async def whole() -> list[Record]:
        return [record async for record in read_records(store, manifests, first=first, last=last)]

    return LoneHost().run(whole())


@pytest.mark.parametrize(("first", "last"), [(1, None), (4, None), (6, 7), (7, 7), (1, 18), (13, 18)])
def test_the_range_comes_whole_and_in_order(first: int, last: int | None) -> None:
    sample, store = written()
    found = read(store, sample, first=first, last=last)
    assert [record.data for record in found] == [record.data for record in sample.records[first - 1 : last]]


def test_a_segment_left_out_is_a_hole() -> None:
    sample, store = written()
    with pytest.raises(Missing) as missing:
        read(store, sample, first=1, skip=1)
    assert missing.value.fields["lsn"] == 7


def test_a_log_that_ends_early_is_missing() -> None:
    sample, store = written()
    with pytest.raises(Missing) as missing:
        read(store, sample, first=1, last=19)
    assert missing.value.fields["lsn"] == 19


def test_a_flipped_bit_anywhere_in_a_segment_is_named() -> None:
    sample, store = written(2)
    key = build(sample.manifests()[1].key())
    good = store.objects[key]
    for place in range(0, len(good), 7):
        store.objects[key] = good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :]
        with pytest.raises(Corrupt) as corrupt:
            read(store, sample, first=1)
        assert corrupt.value.fields["where"] == key


def test_swapped_segments_are_found() -> None:
    sample, store = written(2)
    first, second = (build(one.key()) for one in sample.manifests())
    store.objects[first], store.objects[second] = store.objects[second], store.objects[first]
    with pytest.raises(Corrupt):
        read(store, sample, first=1)
