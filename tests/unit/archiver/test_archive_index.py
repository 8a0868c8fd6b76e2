"""The index that feeds coverage, and what `archive status` says."""

from __future__ import annotations

import pytest

from scrubjay.archiver.format.closed import ClosedObject, encode_closed
from scrubjay.archiver.format.layout import build
from scrubjay.archiver.format.manifest import Superseded, encode_manifest
from scrubjay.archiver.read.archive_status import ArchivedTable, StoreFacts, archive_status
from scrubjay.archiver.read.index import ArchiveIndex, KnownArchived
from scrubjay.archiver.read.names import list_all, newest_closed
from scrubjay.archiver.read.partition import PartitionIndex
from scrubjay.archiver.read.rebuild import rebuild
from scrubjay.archiver.read.replay import Cut
from scrubjay.archiver.read.rows import SegmentRows, rows_of
from scrubjay.archiver.write.bases import upload_base
from scrubjay.base.env import ListPage
from scrubjay.base.errors import Unavailable
from scrubjay.base.hlc import stamp_micros
from scrubjay.base.ids import Lsn, PartitionId, Stamp, TableId
from scrubjay.storage.archive_port import ClosedPoint
from scrubjay.storage.log import chain as chains
from scrubjay.storage.log.record import Seal
from tests.unit.archiver.sample import (
    ATTACHED,
    CLUSTER,
    OWNER,
    PARTITION,
    START_US,
    TABLE,
    Sample,
    history,
    other_partition,
    replace,
    total_of,
)
from tests.unit.archiver.small_archive import SmallArchive

# --- the index ---


def tables_in(index: ArchiveIndex) -> list[ArchivedTable]:
    """The tables that the archive itself knows, sorted by id."""
    partitions: dict[str, list[PartitionIndex]] = {}
    for (table, _), found in sorted(index.partitions.items()):
        partitions.setdefault(table, []).append(found)
    return [
        ArchivedTable(table, next((one.table_name for one in some if one.table_name), ""), tuple(one.partition for one in some))
        for table, some in partitions.items()
    ]


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
        assert [row.first for row in found.best()] == [segment.first for segment in sample.segments]
        assert found.reach() == sample.lsn
        assert found.problems == []
        assert found.window().holes == ()
        assert found.window().latest_us == stamp_micros(sample.stamp) + 20_000_000 - 1
    assert [base.lsn for base in index.partitions[(TABLE, PARTITION)].bases] == [archive.base.lsn]


def test_a_look_that_began_earlier_takes_nothing_back() -> None:
    """Two looks at a time, the longer one begun first: what was shown as restorable meanwhile stays so. A clock that was set back does count."""
    archive = SmallArchive()
    index = refreshed(archive)
    found = index.partitions[(TABLE, PARTITION)]
    latest = found.window().latest_us
    assert latest is not None
    archive.loop.run(index.refresh(now_us=START_US + 8_000_000))
    assert found.window().latest_us == latest
    archive.loop.run(index.refresh(now_us=START_US + 40_000_000))
    assert found.window().latest_us == latest
    archive.loop.run(index.refresh(now_us=START_US - 1_000_000_000))
    assert (found.window().latest_us or 0) < latest


def test_following_reads_only_what_grew() -> None:
    archive = SmallArchive()
    index = refreshed(archive)
    sample = archive.samples[0]
    sample.stamp += 21_000_000 << 12  # behind what the closed objects say
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
    archive.loop.run(index.listen(now_us=START_US + 40_000_000))
    assert read == [], "no closed object says that anything grew"
    point = ClosedPoint(
        TableId(sample.table),
        PartitionId(sample.partition),
        Stamp(sample.stamp + (19_000_000 << 12)),
        Lsn(sample.lsn - 1),
        Lsn(sample.lsn),
        sample.chain,
    )
    made = ClosedObject(CLUSTER, "n2", START_US + 41_000_000, 1, OWNER, (point,))
    archive.store.objects[made.key()] = encode_closed(made)
    archive.loop.run(index.listen(now_us=START_US + 42_000_000))
    assert sorted(read) == sorted([made.key(), *[key for key in new if key.endswith(".json")]])
    assert index.partitions[(sample.table, sample.partition)].reach() == sample.lsn


@pytest.mark.parametrize("name", ["zzz", "99991231T235959.999999Z.json"], ids=["none of ours", "a time that has not come"])
def test_names_that_do_not_count_stand_in_front_of_no_closed_object(name: str) -> None:
    """They sort behind every one that a node will ever publish."""
    archive = SmallArchive()
    archive.store.objects[f"{CLUSTER}/closed/n1/{name}"] = b"junk"
    index = refreshed(archive)
    latest = {key: one.window().latest_us for key, one in index.partitions.items()}
    points = tuple(
        ClosedPoint(TableId(s.table), PartitionId(s.partition), Stamp(s.stamp + (30_000_000 << 12)), Lsn(s.lsn - 1), Lsn(s.lsn), s.chain)
        for s in archive.samples
    )
    made = ClosedObject(CLUSTER, "n1", START_US + 31_000_000, 1, OWNER, points)
    archive.store.objects[made.key()] = encode_closed(made)
    archive.loop.run(index.listen(now_us=START_US + 32_000_000))
    assert all((one.window().latest_us or 0) > (latest[key] or 0) for key, one in index.partitions.items())
    keys = archive.loop.run(newest_closed(archive.store, CLUSTER, "n1", now_us=START_US + 32_000_000, ahead_us=0))
    assert keys == [made.key()]


def test_a_closed_object_that_the_store_did_not_give_is_read_at_the_next_look() -> None:
    archive = SmallArchive()
    newest = max(key for key in archive.store.objects if "/closed/" in key)
    index, get, down = ArchiveIndex(archive.store, CLUSTER, tasks=archive.loop), archive.store.get, [newest]

    async def failing(key: str) -> bytes:
        if key in down:
            raise Unavailable("the store does not answer")
        return await get(key)

    archive.store.get = failing  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        archive.loop.run(index.refresh(now_us=START_US + 30_000_000))
    down.clear()
    archive.loop.run(index.refresh(now_us=START_US + 30_000_000))
    expected = refreshed(archive)
    assert {key: one.closed for key, one in index.partitions.items()} == {key: one.closed for key, one in expected.partitions.items()}


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
    objects = archive.store.objects
    second, data = sample.manifest(sample.segments[1], generation=2)
    second = replace(second, supersedes=(Superseded(1, "rot"),))
    objects[build(second.key())], objects[build(second.key().twin())] = data, encode_manifest(second)

    def generations() -> tuple[list[int], PartitionIndex]:
        found = refreshed(archive).partitions[(sample.table, sample.partition)]
        return [row.generation for row in found.best()], found

    assert generations()[0] == [1, 2, 1, 1]
    objects[build(second.key().twin())] = b"rot"
    kept, found = generations()
    assert kept == [1, 1, 1, 1]
    assert [problem.object for problem in found.problems] == [build(second.key().twin())]
    assert found.window().holes == (), "a finding and no hole"
    objects[build(second.key().twin())] = encode_manifest(second)
    objects[build(sample.manifest(sample.segments[1])[0].key().twin())] = b"rot"
    kept, found = generations()
    assert kept == [1, 2, 1, 1]
    assert found.problems == [], "what was superseded is evidence and no news"


@pytest.mark.parametrize("seen", [False, True], ids=["at the first look", "after a good one"])
def test_a_segment_of_another_size_than_its_manifest_says_is_not_used(seen: bool) -> None:
    archive = SmallArchive()
    sample = archive.samples[1]
    index = ArchiveIndex(archive.store, CLUSTER, tasks=archive.loop)
    name = build(sample.manifest(sample.segments[1])[0].key())
    good = archive.store.objects[name]
    for wrong in (b"", good[:-1], good + b"\0"):
        archive.store.objects[name] = good
        if seen:
            archive.loop.run(index.refresh(now_us=START_US + 30_000_000))
        archive.store.objects[name] = wrong
        archive.loop.run(index.refresh(now_us=START_US + 30_000_000))
        found = index.partitions[(sample.table, sample.partition)]
        assert [(problem.object, problem.kind) for problem in found.problems] == [(name, "unreadable")]
        assert [(hole.first_lsn, hole.last_lsn) for hole in found.window().holes] == [(sample.segments[1].first, sample.segments[1].last)]


def test_a_manifest_that_was_bad_is_looked_at_again() -> None:
    archive = SmallArchive()
    sample = archive.samples[1]
    name = build(sample.manifest(sample.segments[1])[0].key().twin())
    good = archive.store.objects[name]
    archive.store.objects[name] = b"rot"
    index = refreshed(archive)
    found = index.partitions[(sample.table, sample.partition)]
    assert [(hole.first_lsn, hole.last_lsn) for hole in found.window().holes] == [(sample.segments[1].first, sample.segments[1].last)]
    archive.store.objects[name] = good
    archive.loop.run(index.refresh(now_us=START_US + 30_000_000))
    assert found.window().holes == ()
    assert found.problems == []


def test_rot_that_somebody_met_is_looked_at_and_once_sound_again_believed() -> None:
    """A manifest is read once; one that rots afterwards is seen by status as soon as verify met it, and no longer than it is so."""
    archive = SmallArchive()
    index = refreshed(archive)
    sample = archive.samples[0]
    key = build(sample.manifest(sample.segments[1])[0].key().twin())
    base = next(name for name in archive.store.objects if "/base/" in name and name.endswith(".json"))
    good = {name: archive.store.objects[name] for name in (key, base)}
    for name, data in good.items():
        archive.store.objects[name] = data[:50] + bytes([data[50] ^ 1]) + data[51:]
    found = index.partitions[(sample.table, sample.partition)]
    archive.loop.run(index.refresh(now_us=START_US + 31_000_000))
    assert found.problems == [], "nobody has met it yet"
    index.distrust([key, base, "no/such.json"])
    archive.loop.run(index.refresh(now_us=START_US + 32_000_000))
    assert {problem.object for one in index.partitions.values() for problem in one.problems} == {key, base}
    archive.store.objects.update(good)
    archive.loop.run(index.refresh(now_us=START_US + 33_000_000))
    assert [problem for one in index.partitions.values() for problem in one.problems] == []


def test_following_the_clusters_word_costs_nothing_while_nothing_grows() -> None:
    archive = SmallArchive()
    index = refreshed(archive)
    asked: list[str] = []
    listing, get = archive.store.list, archive.store.get

    async def list_(prefix: str, *, after: str = "", limit: int = 1000) -> object:
        asked.append("list")
        return await listing(prefix, after=after, limit=limit)

    async def get_(key: str) -> bytes:
        asked.append("get")
        return await get(key)

    archive.store.list, archive.store.get = list_, get_  # type: ignore[assignment, method-assign]
    sample = archive.samples[0]
    ends = archive.archived()
    archive.loop.run(index.follow(now_us=START_US + 40_000_000, archived=ends))
    assert asked == []
    sample.stamp += 21_000_000 << 12  # behind what the closed objects say
    for _ in range(3):
        sample.random_write()
        segment = sample.seal()
        archive.store.objects.update(sample.objects())
        archive.loop.run(
            index.follow(
                now_us=START_US + 41_000_000, archived=[KnownArchived(sample.table, sample.partition, segment.last, segment.chain)]
            )
        )
        assert asked == ["list", "get"]
        asked.clear()
        found = index.partitions[(sample.table, sample.partition)]
        assert found.reach() == segment.last
        assert found.window() == PartitionIndex.window(found)
        kept = found.summary()
        found.forget()
        assert (kept.window, kept.reach, kept.forks, kept.end) == (
            found.summary().window,
            found.summary().reach,
            found.summary().forks,
            found.summary().end,
        ), "judged from the end alone it is what it is from everything"


def test_the_window_of_an_idle_table_moves_with_what_its_agent_publishes() -> None:
    """Minutes after the last look at the store, with no request at all: what is heard is believed by the clock of now."""
    archive = SmallArchive()
    index = refreshed(archive)
    sample = archive.samples[0]
    found = index.partitions[(sample.table, sample.partition)]
    for seconds in (60, 120, 600):
        index.heard(
            ClosedObject(
                CLUSTER,
                "n1",
                START_US + seconds * 1_000_000,
                1,
                OWNER,
                (
                    ClosedPoint(
                        TableId(sample.table),
                        PartitionId(sample.partition),
                        Stamp((START_US + seconds * 1_000_000) << 12),
                        Lsn(sample.lsn - 1),
                        Lsn(sample.lsn),
                        sample.chain,
                    ),
                ),
            )
        )
        archive.loop.run(index.follow(now_us=START_US + seconds * 1_000_000, archived=archive.archived()))
        assert found.window().latest_us == START_US + seconds * 1_000_000 - 1


def grow(archive: SmallArchive) -> tuple[Sample, KnownArchived, dict[str, bytes]]:
    """One more segment, its objects not yet in the store."""
    sample = archive.samples[0]
    sample.stamp += 21_000_000 << 12
    sample.random_write()
    segment = sample.seal()
    made = {key: data for key, data in sample.objects().items() if key not in archive.store.objects}
    return sample, KnownArchived(sample.table, sample.partition, segment.last, segment.chain), made


def told_of(sample: Sample, seconds: int) -> ClosedObject:
    """A closed object that says that all of the sample's log is archived."""
    stamp = Stamp(sample.stamp + (seconds * 1_000_000 << 12))
    point = ClosedPoint(
        TableId(sample.table), PartitionId(sample.partition), stamp, Lsn(sample.lsn - 1), Lsn(sample.lsn), sample.chain, Lsn(sample.lsn)
    )
    return ClosedObject(CLUSTER, "n1", START_US + seconds * 1_000_000, 1, OWNER, (point,))


def test_what_a_closed_object_tells_of_is_no_hole_before_the_archive_was_looked_at_again() -> None:
    """A segment is archived and told of between two looks: the index has not read it yet, and nothing is missing."""
    archive = SmallArchive()
    index = refreshed(archive)
    sample, end, made = grow(archive)
    found = index.partitions[(sample.table, sample.partition)]
    archive.store.objects.update(made)
    index.heard(told_of(sample, 25))
    assert found.window().holes == ()
    archive.loop.run(index.follow(now_us=START_US + 60_000_000, archived=[end]))
    assert (found.window().holes, found.reach()) == ((), end.lsn)
    for key in made:
        del archive.store.objects[key]
    archive.loop.run(index.refresh(now_us=START_US + 61_000_000))
    assert [(hole.first_lsn, hole.last_lsn) for hole in found.window().holes] == [(end.lsn - 1, end.lsn)], "looked for, and gone"


def test_what_is_archived_while_the_names_are_listed_is_no_hole() -> None:
    """With every manifest that is read one more segment is archived and told of: each listing is older than that. Nobody sees half a look either."""
    archive = SmallArchive()
    index = ArchiveIndex(archive.store, CLUSTER, tasks=archive.loop)
    get = archive.store.get
    seen: list[list[tuple[int, int]]] = []

    async def get_(key: str) -> bytes:
        if "/log/" in key:
            sample, _, made = grow(archive)
            archive.store.objects.update(made)
            index.heard(told_of(sample, 1))
            seen.append([(hole.first_lsn, hole.last_lsn) for one in index.partitions.values() for hole in one.window().holes])
        return await get(key)

    archive.store.get = get_  # type: ignore[method-assign]
    archive.loop.run(index.refresh(now_us=START_US + 600_000_000))
    archive.store.get = get  # type: ignore[method-assign]
    sample = archive.samples[0]
    found = index.partitions[(sample.table, sample.partition)]
    assert seen == [[]] * len(seen) != []
    assert found.window().holes == ()
    assert found.reach() < found.told, "it was told of more than it has looked for"
    archive.loop.run(index.follow(now_us=START_US + 600_000_000, archived=archive.archived()))
    assert (found.window().holes, found.reach()) == ((), sample.lsn)


def test_a_listing_that_missed_a_name_is_listed_again_before_anything_is_called_missing() -> None:
    """A folder that is read while objects are linked into it shows a later one and not an earlier one. A true hole is one after two looks, too."""
    archive = SmallArchive()
    sample = archive.samples[1]
    key = sample.manifest(sample.segments[1])[0].key()
    missing = (build(key), build(key.twin()))
    index = refreshed(archive)
    found = index.partitions[(sample.table, sample.partition)]
    listing, blind = archive.store.list, 0
    during: list[tuple[int, int]] = []

    async def list_(prefix: str, *, after: str = "", limit: int = 1000) -> ListPage:
        page = await listing(prefix, after=after, limit=limit)
        if not prefix.startswith(f"{CLUSTER}/t="):
            return page
        during.append((len(found.best()), len(found.window().holes)))
        if len(during) > blind:
            return page
        return ListPage(tuple(one for one in page.objects if one.key not in missing), page.more)

    archive.store.list = list_  # type: ignore[method-assign]
    for blind in (1, 2):
        during.clear()
        archive.loop.run(index.refresh(now_us=START_US + 30_000_000))
        holes = [(hole.first_lsn, hole.last_lsn) for hole in found.window().holes]
        assert holes == ([] if blind == 1 else [(sample.segments[1].first, sample.segments[1].last)])
        assert during == [(len(sample.segments), 0)] * 2, "whoever asks meanwhile sees what was known before"


@pytest.mark.parametrize("based", [True, False])
def test_a_restored_tables_first_segment_is_followed_together_with_the_base_it_rests_on(based: bool) -> None:
    """The base was put there since the last look at everything; without it the log's beginning is a hole, as ever."""
    archive = SmallArchive()
    index = refreshed(archive)
    source = archive.samples[0]
    loop, store, disk = archive.loop, archive.store, archive.disk
    loop.run(rebuild(store, disk, base=None, segments=source.manifests(), cut=Cut(), output="restored", work="w", rebase=True))
    restored = history(seed=12, segments=1, partition=other_partition(9), start=source.state)
    store.objects.update(restored.objects())
    if based:
        loop.run(
            upload_base(
                store, disk, "restored", writer=ATTACHED, table=restored.table, partition=restored.partition, table_name=restored.facts.table_name,
                schema=restored.facts.schema, lo=restored.facts.lo, hi=restored.facts.hi, lsn=0, stamp=0, chain=chains.START, total=total_of(source.state),
            )
        )  # fmt: skip
    end = KnownArchived(restored.table, restored.partition, restored.segments[-1].last, restored.segments[-1].chain)
    loop.run(index.follow(now_us=START_US + 60_000_000, archived=[end]))
    found = index.partitions[(restored.table, restored.partition)]
    assert [hole.base for hole in found.window().holes] == ([] if based else [True])
    assert [base.lsn for base in found.bases] == ([0] if based else [])


def test_a_tail_that_the_cluster_knows_of_and_is_not_there_is_a_hole() -> None:
    archive = SmallArchive()
    index = refreshed(archive)
    sample = archive.samples[0]
    end = KnownArchived(sample.table, sample.partition, sample.lsn + 5, None)
    archive.loop.run(index.follow(now_us=START_US + 41_000_000, archived=[end]))
    found = index.partitions[(sample.table, sample.partition)]
    assert [(hole.first_lsn, hole.last_lsn) for hole in found.window().holes] == [(sample.lsn + 1, sample.lsn + 5)]


def test_a_table_whose_folder_is_gone_is_a_hole() -> None:
    archive = SmallArchive()
    ends = archive.archived()
    for key in [key for key in archive.store.objects if f"/t={TABLE}/" in key]:
        del archive.store.objects[key]
    for known in (True, False):
        index = ArchiveIndex(archive.store, CLUSTER, tasks=archive.loop)
        archive.loop.run(index.refresh(now_us=START_US + 30_000_000, archived=ends if known else []))
        holes = [(hole.partition, hole.first_lsn, hole.last_lsn) for one in index.partitions.values() for hole in one.window().holes]
        assert sorted(holes) == sorted((one.partition, 1, one.lsn) for one in archive.samples), "the closed objects tell of it too"


def test_written_in_the_name_of_somebody_else() -> None:
    archive = SmallArchive()
    sample = archive.samples[1]
    objects = archive.store.objects
    for change in ({"owner": "0e4e0000-0000-4000-8000-0000000000ff"}, {"epoch": 2}):
        manifest = replace(sample.manifest(sample.segments[2])[0], **change)  # type: ignore[arg-type]
        name = build(manifest.key().twin())
        good = objects[name]
        objects[name] = encode_manifest(manifest)
        found = refreshed(archive).partitions[(sample.table, sample.partition)]
        assert [(problem.object, problem.kind) for problem in found.problems] == [(name, "forged")]
        assert found.window().holes
        objects[name] = good


def test_an_earlier_closed_object_proves_what_the_newest_cannot_yet() -> None:
    """The archive lags: the newest closed objects speak of segments that are not there yet."""
    archive = SmallArchive()
    sample = archive.samples[0]
    before_us = START_US + 20_000_000
    for number in range(3):
        point = ClosedPoint(
            TableId(sample.table),
            PartitionId(sample.partition),
            Stamp(sample.stamp + ((30 + number) * 1_000_000 << 12)),
            Lsn(sample.lsn + 3),
            Lsn(sample.lsn + 4),
            bytes(31) + b"x",
        )
        made = ClosedObject(CLUSTER, "n1", START_US + (30 + number) * 1_000_000, 1, OWNER, (point,), before_us)
        before_us = made.time_us
        archive.store.objects[made.key()] = encode_closed(made)
    index = ArchiveIndex(archive.store, CLUSTER, tasks=archive.loop)
    archive.loop.run(index.refresh(now_us=START_US + 40_000_000))
    assert index.partitions[(sample.table, sample.partition)].window().latest_us == stamp_micros(sample.stamp) + 20_000_000 - 1


def test_a_closed_timestamp_ahead_of_the_clock_is_not_believed() -> None:
    archive = SmallArchive()
    sample = archive.samples[0]
    good = refreshed(archive).partitions[(sample.table, sample.partition)].window().latest_us
    ahead = Stamp(sample.stamp + (600_000_000 << 12))
    point = ClosedPoint(TableId(sample.table), PartitionId(sample.partition), ahead, Lsn(sample.lsn - 1), Lsn(sample.lsn), sample.chain)
    for time_us in (START_US + 25_000_000, START_US + 599_000_000):
        made = ClosedObject(CLUSTER, "n7", time_us, 1, OWNER, (point,))
        archive.store.objects[made.key()] = encode_closed(made)
        assert refreshed(archive).partitions[(sample.table, sample.partition)].window().latest_us == good
        del archive.store.objects[made.key()]


def test_rows_keep_every_fact_in_order() -> None:
    sample = history(segments=6)
    rows, wanted = SegmentRows(), [row for one in sample.manifests() for row in rows_of(one)]
    for row in (*wanted[::2], *wanted[1::2], wanted[3]):
        rows.add(row)
    assert list(rows) == wanted
    assert all(rows.has(one.key()) for one in sample.manifests())
    rows.discard(sample.manifests()[2].key())
    assert list(rows) == [*wanted[:2], *wanted[3:]]
    assert SegmentRows.SIZE <= 210, "bytes that a segment costs in memory"


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

    def code(tables: list[ArchivedTable], store: StoreFacts = up, at: int = now_us) -> int:
        return int(archive_status(index, tables=tables, store=store, now_us=at, lag_alarm_s=60)["exit"])

    assert code([table]) == 0
    assert code([table], store=down) == 1
    assert code([table], at=now_us + 200_000_000) == 3
    assert code([table._replace(dropped_at_us=now_us)], at=now_us + 200_000_000) == 0
    unknown = ArchivedTable("7ab1e000-0000-4000-8000-0000000000aa", "new", ("9a471710-0000-4000-8000-0000000000aa",))
    assert code([table, unknown]) == 3
    assert code([table], store=up._replace(present=False)) == 2
    assert code([table], store=up._replace(fenced="a newer epoch")) == 3
    assert code([table], store=up._replace(stuck=True, last_error="disk full")) == 3
    assert code([table], store=up._replace(complete=False)) == 0
    sample = archive.samples[0]
    found = index.partitions[(sample.table, sample.partition)]
    found.rows.discard(sample.manifest(sample.segments[2])[0].key())
    found.forget()
    assert code([table], store=down) == 2


def test_listing_pages() -> None:
    archive = SmallArchive()
    found = archive.loop.run(list_all(archive.store, f"{CLUSTER}/"))
    assert list(found) == sorted(key for key in archive.store.objects if key.startswith(CLUSTER))
    assert Seal.AGE == 0


def test_rot_inside_a_segment_that_verify_met_is_a_hole_of_status_until_it_is_sound_again() -> None:
    """Same size, bytes flipped: no listing shows it. Status names it as long as it lasts, whatever is looked at meanwhile."""
    archive = SmallArchive()
    index = refreshed(archive)
    sample = archive.samples[0]
    key = build(sample.manifest(sample.segments[1])[0].key())
    good = archive.store.objects[key]
    archive.store.objects[key] = good[:-9] + bytes([good[-9] ^ 1]) + good[-8:]
    tables = tables_in(index)
    store = StoreFacts("mem:", reachable=True)

    def status(at_s: int) -> tuple[int, list[str], int]:
        now_us = START_US + at_s * 1_000_000
        archive.loop.run(index.refresh(now_us=now_us))
        said = archive_status(index, tables=tables, store=store, now_us=now_us, lag_alarm_s=1e9)
        return said["exit"], [one["object"] for one in said["findings"]], sum(len(one["window"]["holes"]) for one in said["tables"])

    assert status(31) == (0, [], 0), "nobody has met it yet"
    index.distrust([key])
    assert status(32) == status(33) == (2, [key], 1)
    archive.store.objects[key] = good
    assert status(34) == (0, [], 0)


def test_what_is_forged_is_believed_again_only_after_a_check_as_deep() -> None:
    archive = SmallArchive()
    index = refreshed(archive)
    sample = archive.samples[0]
    key = build(sample.manifest(sample.segments[1])[0].key())
    index.distrust([key], kind="forged", level="replayed")
    archive.loop.run(index.refresh(now_us=START_US + 31_000_000))
    index.trust([key], level="records")
    assert key in index.suspects.by_object
    index.trust([key], level="replayed")
    archive.loop.run(index.refresh(now_us=START_US + 32_000_000))
    assert index.suspects.by_object == {}
    assert [problem for one in index.partitions.values() for problem in one.problems] == []
