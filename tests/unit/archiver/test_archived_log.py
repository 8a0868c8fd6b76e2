"""A partition's archived log, read on from any LSN by the names of its objects alone."""

from __future__ import annotations

from array import array
from typing import Any

import pytest

from scrubjay.archiver.format.layout import build
from scrubjay.archiver.read import archived_log
from scrubjay.archiver.read.archived_log import ListedLog
from scrubjay.base.errors import Corrupt, Missing
from scrubjay.base.ids import Lsn, PartitionId, Stamp, TableId
from scrubjay.sim.lone import LoneHost, LoneStore
from tests.unit.archiver.sample import CLUSTER, Sample

HOST = LoneHost()


def listed(store: LoneStore) -> ListedLog:
    return ListedLog(store, CLUSTER, HOST.tasks)


def written(segments: int = 12, writes: int = 5) -> tuple[Sample, LoneStore]:
    sample, store = Sample(seed=7), LoneStore()
    for _ in range(segments):
        for _ in range(writes):
            sample.random_write()
        sample.seal()
    store.objects.update(sample.objects())
    return sample, store


def read(log: ListedLog, first: int, *, bytes_max: int = 1 << 20) -> list[bytes]:
    found = HOST.run(log.read(TableId(Sample.table), PartitionId(Sample.partition), Lsn(first), bytes_max=bytes_max))
    return [record.data for record in found]


def test_from_any_record_on_it_goes_on_to_the_end() -> None:
    sample, store = written()
    wanted = [record.data for record in sample.records]
    for first in (1, 2, 6, 7, 40, sample.lsn):
        log, at, found = listed(store), first, []
        while at <= sample.lsn:
            page = read(log, at, bytes_max=300)
            assert sum(map(len, page[:-1])) < 300
            found += page
            at += len(page)
        assert found == wanted[first - 1 :]
    with pytest.raises(Missing) as missing:
        read(log, sample.lsn + 1)
    assert missing.value.fields["lsn"] == sample.lsn + 1


def test_what_is_not_there_is_missing_and_what_is_bad_is_named() -> None:
    sample, store = written()
    gone, bad = sample.manifests()[3], sample.manifests()[5]
    del store.objects[build(gone.key().twin())]
    key = build(bad.key())
    store.objects[key] = store.objects[key][:-1] + bytes([store.objects[key][-1] ^ 1])
    log = listed(store)
    with pytest.raises(Missing) as missing:
        read(log, gone.first + 2)
    assert missing.value.fields["lsn"] == gone.first + 2
    assert read(log, gone.last + 1) == [record.data for record in sample.records[gone.last : gone.last + 6]]
    with pytest.raises(Corrupt):
        read(log, bad.first)


def test_no_more_is_kept_than_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    sample, store = written()
    monkeypatch.setattr(archived_log, "KEPT_BYTES", 2700)
    log = listed(store)
    for first in [one.first for one in sample.manifests()]:
        read(log, first)
        assert sum(piece.size for piece in log._kept.values()) <= 2700
    assert len(log._kept) > 1
    asked = dict(store.objects)
    store.objects.clear()  # the last one is there still
    assert read(log, sample.manifests()[-1].first + 1)
    store.objects.update(asked)


def test_the_first_record_since_a_moment_is_found_by_its_segment() -> None:
    sample, store = written(20)
    log = listed(store)
    manifests = sample.manifests()

    def since(stamp: int) -> int | None:
        return HOST.run(log.first_since(TableId(Sample.table), PartitionId(Sample.partition), Stamp(stamp)))

    assert since(0) == 1
    for one, after in zip(manifests, [*manifests[1:], None], strict=True):
        assert since(one.first_stamp) == since(one.last_stamp) == one.first
        assert since(one.last_stamp + 1) == (one.last + 1 if after is None else after.first)
    for one in manifests[:4]:  # a beginning that was taken away
        del store.objects[build(one.key())], store.objects[build(one.key().twin())]
    assert since(0) == manifests[4].first
    for one in manifests[10:12]:  # as of a pack that begins further in front, and of whose parts these are gone already
        del store.objects[build(one.key())], store.objects[build(one.key().twin())]
    assert since(manifests[9].last_stamp + 1) == manifests[10].first
    store.objects.clear()
    assert since(0) is None


def test_a_record_in_anothers_place_is_refused() -> None:
    _, store = written(1)
    log = listed(store)
    read(log, 1)
    key, piece = next(iter(log._kept.items()))
    log._kept[key] = piece._replace(starts=array("I", [piece.starts[1], *piece.starts[1:]]))
    with pytest.raises(Corrupt, match="out of order"):
        read(log, 1)


class Slow:
    """A store whose objects take a while, and who knows how many are on their way at once."""

    def __init__(self, store: LoneStore) -> None:
        self._store = store
        self.now, self.most, self.segments = 0, 0, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def get(self, key: str) -> bytes:
        self.segments += key.endswith(".seg")
        self.now += 1
        self.most = max(self.most, self.now)
        await HOST.sleep(0.01)
        self.now -= 1
        return await self._store.get(key)


def at_once(log: ListedLog, asked: list[tuple[str, int]]) -> list[list[bytes]]:
    """All of these reads at the same time: partition and first LSN of each."""

    async def one(partition: str, first: int) -> list[bytes]:
        return [record.data for record in await log.read(TableId(Sample.table), PartitionId(partition), Lsn(first), bytes_max=1)]

    async def all_() -> list[list[bytes]]:
        tasks = [HOST.spawn(one(*place), name="read") for place in asked]
        return [await task for task in tasks]

    return HOST.run(all_())


def test_readers_at_once_share_what_they_open_and_open_few() -> None:
    sample, store = written()
    slow = Slow(store)
    first = sample.manifests()[2].first
    assert at_once(listed(slow), [(Sample.partition, first + 1)] * 5) == [[sample.records[first].data]] * 5
    assert slow.segments == 1, "who wants the same one waits for it"
    others = []
    for number in range(6):
        other = Sample(seed=9, partition=f"9a471710-0000-4000-8000-00000000010{number}")
        other.random_write()
        other.seal()
        store.objects.update(other.objects())
        others.append((other.partition, 1))
    slow = Slow(store)
    log = listed(slow)
    assert [len(found) for found in at_once(log, others)] == [1] * 6
    assert (slow.segments, slow.most) == (6, archived_log.OPENINGS_MAX)
    assert not log._gates, "of nothing that is open any more something is left"


def test_what_is_long_is_done_off_the_loop_or_by_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    sample, store = written(segments=1, writes=90)
    monkeypatch.setattr(archived_log, "STEP_RECORDS", 10)
    off: list[object] = []
    blocking = HOST.tasks.blocking
    monkeypatch.setattr(HOST.tasks, "blocking", lambda work: (off.append(work), blocking(work))[1])
    turns = 0

    async def beside() -> None:
        nonlocal turns
        while True:
            turns += 1
            await HOST.sleep(0)

    ticking = HOST.spawn(beside(), name="beside")
    log = listed(store)
    assert len(read(log, 1)) == len(sample.records)
    assert len(off) == 2, "a manifest, and a segment's sums"
    assert turns >= 2 * (len(sample.records) // 10), "once to find where records begin, once to read them"
    off.clear()
    assert HOST.run(log.first_since(TableId(Sample.table), PartitionId(Sample.partition), Stamp(0))) == 1
    assert not off, "its first bytes say where a segment begins"
    ticking.cancel()


def test_a_head_that_is_anothers_does_not_say_where_a_segment_begins() -> None:
    sample, store = written(4)
    _, bad_one, one, other = sample.manifests()
    key = build(bad_one.key())
    wanted = HOST.run(listed(store).first_since(TableId(Sample.table), PartitionId(Sample.partition), Stamp(one.first_stamp)))
    for bad in (store.objects[build(other.key())], b"short"):
        store.objects[key] = bad
        log = listed(store)
        assert (
            HOST.run(log.first_since(TableId(Sample.table), PartitionId(Sample.partition), Stamp(one.first_stamp))) == wanted == one.first
        )
