"""The window, hole by hole; the index that feeds it; and what `archive status` says."""

from __future__ import annotations

from archiver.closed import ClosedObject, encode_closed
from archiver.index import ArchiveIndex, ShelfReader, list_all, partitions_of, span_of
from archiver.layout import build
from archiver.manifest import Superseded, encode_manifest
from archiver.status import StoreFacts, TableFacts, archive_status, tables_in, time_text
from archiver.window import Closed, Hole, Start, Window, table_window, window_of
from base.hlc import last_stamp_at, stamp_micros, stamp_of
from base.ids import Lsn, PartitionId, Stamp, TableId
from storage.archive_port import ClosedPoint
from storage.record import Kind, Seal
from tests.unit.archiver.sample import CLUSTER, OWNER, PARTITION, START_US, TABLE, Sample, history, replace
from tests.unit.archiver.small_archive import SmallArchive

MINUTE = 60_000_000


def spans(sample: Sample) -> list:  # type: ignore[type-arg]
    return [span_of(one) for one in sample.manifests()]


def window(sample: Sample, *, without: tuple[int, ...] = (), starts: tuple[Start, ...] = (), closed: tuple[Closed, ...] = ()) -> Window:
    some = [span for number, span in enumerate(spans(sample)) if number not in without]
    return window_of(PARTITION, spans=some, starts=starts, closed=closed)


def start_at(sample: Sample, index: int) -> Start:
    segment = sample.segments[index]
    return Start(segment.last, segment.last_stamp, segment.chain)


def test_from_the_first_record_to_the_last_closed_timestamp() -> None:
    sample = history(segments=3)
    closed = Closed(stamp_of(START_US + MINUTE), sample.lsn)
    assert window(sample, closed=(closed,)) == Window(stamp_micros(sample.records[0].stamp), START_US + MINUTE - 1, ())


def test_a_closed_timestamp_beyond_the_archived_end_proves_nothing() -> None:
    sample = history(segments=3)
    closed = Closed(stamp_of(START_US + MINUTE), sample.lsn + 1)
    found = window(sample, closed=(closed,))
    assert found.latest_us is not None
    assert last_stamp_at(found.latest_us) <= sample.segments[-1].seal.closed


def test_nothing_closed_is_no_window() -> None:
    sample = Sample()
    sample.append(Kind.SCHEMA, b"{}")
    sample.seal(closed=0)
    assert window(sample) == Window(None, None, ())
    assert window(sample, closed=(Closed(stamp_of(START_US + MINUTE), 1),)).latest_us == START_US + MINUTE - 1


def test_an_empty_table_has_a_window() -> None:
    sample = Sample()
    sample.append(Kind.SCHEMA, b"{}")
    sample.seal()
    assert window(sample, closed=(Closed(stamp_of(START_US + MINUTE), 1),)).latest_us == START_US + MINUTE - 1


def test_no_object_at_all() -> None:
    assert window_of(PARTITION, spans=[], starts=[], closed=[]) == Window(None, None, ())


def test_a_hole_ends_what_is_proven() -> None:
    sample = history(segments=3)
    lost = sample.segments[2]
    found = window(sample, without=(2,), closed=(Closed(stamp_of(START_US + MINUTE), sample.lsn),))
    assert found.holes == (Hole(PARTITION, lost.first, lost.last, found.latest_us, None),)
    assert found.latest_us is not None
    assert last_stamp_at(found.latest_us) <= sample.segments[1].seal.closed


def test_a_base_behind_a_hole_takes_up_again() -> None:
    sample = history(segments=4)
    base = start_at(sample, 3)
    closed = Closed(stamp_of(START_US + MINUTE), sample.lsn)
    found = window(sample, without=(2,), starts=(base,), closed=(closed,))
    assert found.latest_us == START_US + MINUTE - 1
    (hole,) = found.holes
    assert (hole.first_lsn, hole.last_lsn) == (sample.segments[2].first, sample.segments[2].last)
    assert hole.to_us == stamp_micros(base.stamp)
    assert hole.from_us is not None
    assert hole.from_us < hole.to_us


def test_expiry_below_a_base_is_no_hole() -> None:
    sample = history(segments=4)
    base = start_at(sample, 2)
    found = window(sample, without=(0, 1, 2), starts=(base,), closed=(Closed(stamp_of(START_US + MINUTE), sample.lsn),))
    assert found.holes == ()
    assert found.earliest_us == stamp_micros(base.stamp)


def test_a_lost_beginning_without_a_base_is_a_hole() -> None:
    sample = history(segments=2)
    found = window(sample, without=(0,))
    assert (found.earliest_us, found.latest_us) == (None, None)
    assert found.holes == (Hole(PARTITION, 1, 2, None, None),)


def test_a_restored_table_rests_on_its_base() -> None:
    source = history(segments=1)
    sample = history(segments=2, start=source.state)
    closed = (Closed(stamp_of(START_US + MINUTE), sample.lsn),)
    lost = window(sample, closed=closed)
    assert lost.latest_us is None
    assert lost.holes == (Hole(PARTITION, 0, 0, None, None),)
    base = Start(0, 0, sample.segments[0].chain_before)
    found = window(sample, starts=(base,), closed=closed)
    assert (found.earliest_us, found.latest_us) == (stamp_micros(sample.records[0].stamp), START_US + MINUTE - 1)


def test_a_broken_chain_is_a_hole() -> None:
    sample = history(segments=3)
    some = spans(sample)
    some[2] = some[2]._replace(chain_before=bytes(32))
    found = window_of(PARTITION, spans=some, starts=[], closed=[])
    assert [(hole.first_lsn, hole.last_lsn) for hole in found.holes] == [(some[2].first, some[2].last)]
    assert found.latest_us is not None
    assert last_stamp_at(found.latest_us) <= some[1].closed


def test_a_table_is_what_all_partitions_can_restore() -> None:
    assert table_window([Window(5, 90, ()), Window(10, 80, ())]) == Window(10, 80, ())
    assert table_window([Window(5, 90, ()), Window(None, None, ())]) == Window(None, None, ())
    assert table_window([Window(5, 9, ()), Window(10, 80, ())]) == Window(None, None, ())
    assert table_window([]) == Window(None, None, ())


# --- the index ---


def refreshed(archive: SmallArchive) -> ArchiveIndex:
    index = ArchiveIndex(archive.store, CLUSTER, tasks=archive.loop)
    archive.loop.run(index.refresh(now_us=START_US + 30_000_000))
    return index


def test_the_index_finds_everything() -> None:
    archive = SmallArchive()
    index = refreshed(archive)
    assert sorted(index.partitions) == sorted((sample.table, sample.partition) for sample in archive.samples)
    for sample in archive.samples:
        found = index.partitions[(sample.table, sample.partition)]
        assert sorted(found.entries) == [segment.first for segment in sample.segments]
        assert found.reach() == sample.lsn
        assert found.problems == []
        assert found.window().holes == ()
        assert found.window().latest_us == stamp_micros(sample.stamp) + 20_000_000 - 1
    assert [base.lsn for base in index.partitions[(TABLE, PARTITION)].bases] == [archive.base.lsn]
    assert archive.loop.run(partitions_of(archive.store, CLUSTER)) == sorted(index.partitions)


def test_following_reads_only_what_grew() -> None:
    archive = SmallArchive()
    index = refreshed(archive)
    sample = archive.samples[0]
    for _ in range(3):
        sample.random_write()
    sample.seal()
    before = dict(archive.store.objects)
    archive.store.objects.update(sample.objects())
    new = [key for key in archive.store.objects if key not in before]
    assert len(new) == 2
    read: list[str] = []
    get = archive.store.get

    async def counting(key: str) -> bytes:
        read.append(key)
        return await get(key)

    archive.store.get = counting  # type: ignore[method-assign]
    archive.loop.run(index.follow(now_us=START_US + 40_000_000))
    assert read == [], "no closed object says that anything grew"
    point = ClosedPoint(
        TableId(sample.table),
        PartitionId(sample.partition),
        Stamp(sample.stamp + (MINUTE << 12)),
        Lsn(sample.lsn - 1),
        Lsn(sample.lsn),
        sample.chain,
    )
    made = ClosedObject(CLUSTER, "n2", START_US + 41_000_000, 1, OWNER, (point,))
    archive.store.objects[made.key()] = encode_closed(made)
    archive.loop.run(index.follow(now_us=START_US + 42_000_000))
    assert sorted(read) == sorted([made.key(), *[key for key in new if key.endswith(".json")]])
    assert index.partitions[(sample.table, sample.partition)].reach() == sample.lsn


def test_a_refresh_misses_what_was_deleted() -> None:
    archive = SmallArchive()
    index = refreshed(archive)
    sample = archive.samples[1]
    key = build(sample.manifest(sample.segments[2])[0].key())
    del archive.store.objects[key]
    archive.loop.run(index.refresh(now_us=START_US + 30_000_000))
    found = index.partitions[(sample.table, sample.partition)]
    assert [(problem.object, problem.kind) for problem in found.problems] == [(key, "hole")]
    (hole,) = found.window().holes
    assert (hole.first_lsn, hole.last_lsn) == (sample.segments[2].first, sample.segments[2].last)


def test_the_highest_generation_that_verifies_is_taken() -> None:
    archive = SmallArchive()
    sample = archive.samples[1]
    reader = ShelfReader(archive.store, CLUSTER, None)
    objects = archive.store.objects
    second, data = sample.manifest(sample.segments[1], generation=2)
    second = replace(second, supersedes=(Superseded(1, "rot"),))
    objects[build(second.key())], objects[build(second.key().twin())] = data, encode_manifest(second)
    shelf = archive.loop.run(reader.shelf(sample.table, sample.partition))
    assert [one.generation for one in shelf.segments] == [1, 2, 1, 1]
    objects[build(second.key().twin())] = b"rot"
    shelf = archive.loop.run(reader.shelf(sample.table, sample.partition))
    assert [one.generation for one in shelf.segments] == [1, 1, 1, 1]
    assert [problem.object for problem in shelf.problems] == [build(second.key().twin())]


def test_an_upload_under_way_is_neither_archived_nor_a_problem() -> None:
    archive = SmallArchive()
    sample = archive.samples[1]
    sample.random_write()
    manifest, data = sample.manifest(sample.seal())
    archive.store.objects[build(manifest.key())] = data
    found = refreshed(archive).partitions[(sample.table, sample.partition)]
    assert found.problems == []
    assert found.reach() == manifest.first - 1


def test_old_closed_objects_are_found_however_long_ago() -> None:
    archive = SmallArchive()
    index = ArchiveIndex(archive.store, CLUSTER, tasks=archive.loop)
    archive.loop.run(index.refresh(now_us=START_US + 40 * 86_400_000_000))
    assert all(one.closed for one in index.partitions.values())


# --- status ---


def test_status_of_a_good_archive() -> None:
    archive = SmallArchive()
    index = refreshed(archive)
    now_us = START_US + 25_000_000
    (table,) = tables_in(index)
    answer = archive_status(index, tables=[table], store=StoreFacts("memory://", True, None), now_us=now_us, lag_alarm_s=60)
    assert answer["exit"] == 0
    (entry,) = answer["tables"]
    assert entry["table"] == "orders"
    assert entry["table_id"] == TABLE
    assert entry["window"]["holes"] == []
    assert entry["window"]["latest"].endswith("Z")
    assert entry["lag_seconds"] > 0
    assert entry["segments"] == sum(len(sample.segments) for sample in archive.samples)
    assert entry["attestations"] == {"1": 0, "2": 0, "3": entry["segments"]}
    assert entry["bytes_raw"] == sum(segment.raw_size for sample in archive.samples for segment in sample.segments)
    assert entry["bytes_stored"] == sum(len(data) for key, data in archive.store.objects.items() if "/t=" in key)


def test_status_exit_codes() -> None:
    archive = SmallArchive()
    index = refreshed(archive)
    now_us = START_US + 25_000_000
    (table,) = tables_in(index)
    up, down = StoreFacts("m", True, None), StoreFacts("m", False, "refused")

    def code(tables: list[TableFacts], store: StoreFacts = up, at: int = now_us) -> int:
        return int(archive_status(index, tables=tables, store=store, now_us=at, lag_alarm_s=60)["exit"])

    assert code([table]) == 0
    assert code([table], store=down) == 1
    assert code([table], at=now_us + 200_000_000) == 3
    assert code([table._replace(dropped_at_us=now_us)], at=now_us + 200_000_000) == 0
    unknown = TableFacts("7ab1e000-0000-4000-8000-0000000000aa", "new", ("9a471710-0000-4000-8000-0000000000aa",))
    assert code([table, unknown]) == 3
    sample = archive.samples[0]
    index.partitions[(sample.table, sample.partition)].entries.pop(sample.segments[2].first)
    assert code([table], store=down) == 2


def test_times_are_utc_with_microseconds() -> None:
    assert time_text(START_US + 7) == "2025-10-09T08:53:20.000007Z"
    assert time_text(None) is None


def test_listing_pages() -> None:
    archive = SmallArchive()
    found = archive.loop.run(list_all(archive.store, f"{CLUSTER}/"))
    assert list(found) == sorted(key for key in archive.store.objects if key.startswith(CLUSTER))
    assert Seal.AGE == 0
