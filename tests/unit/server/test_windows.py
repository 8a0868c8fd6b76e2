"""Windows: what one life of a server knows to be bad in the archive, and the next one too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pytest

from scrubjay.archiver.format.closed import ClosedObject, encode_closed
from scrubjay.archiver.format.layout import build, closed_prefix
from scrubjay.archiver.read.archive_status import StoreFacts, archive_status
from scrubjay.archiver.read.index import CLOSED_COLD_READ, ArchiveIndex, KnownArchived
from scrubjay.archiver.write.agent_state import AgentOptions
from scrubjay.archiver.write.claiming import ClaimOptions
from scrubjay.base.errors import Unavailable
from scrubjay.base.hlc import stamp_micros
from scrubjay.base.ids import Lsn, PartitionId, Stamp, TableId
from scrubjay.base.wrap.metered import MeteredStore
from scrubjay.config import ArchiveConfig
from scrubjay.scrubber.ledger import Proof
from scrubjay.scrubber.sqlite_ledger import MEMORY, SqliteLedger
from scrubjay.server.windows import AGAIN_S, CLOSED_LOOK_S, WindowBook, Windows, agreed_end
from scrubjay.storage.archive_port import ClosedPoint
from tests.unit.archiver.sample import CLUSTER, OWNER, START_US
from tests.unit.archiver.small_archive import SmallArchive


def life(archive: SmallArchive, book: WindowBook, said: list[str]) -> Windows:
    index = ArchiveIndex(archive.store, CLUSTER, tasks=archive.loop.tasks)
    meter = MeteredStore(archive.store, archive.loop.env())
    windows = Windows(archive.loop.env(), archive.store, index, meter, url="memory://", lag_alarm_us=60_000_000, log=said.append)
    windows.book, windows.nodes = book, ["n1"]
    windows.start()
    archive.loop.run_for(2)
    return windows


def told(windows: Windows) -> list[str]:
    """What `archive status` says is bad, its exit code first."""
    said = archive_status(windows.index, tables=(), store=StoreFacts("memory://", reachable=True), now_us=0, lag_alarm_s=60)
    return [str(said["exit"]), *(f"{one['kind']} {one['object']}" for one in said["findings"])]


def test_closed_objects_that_are_gone_are_missed_unasked_and_at_the_next_start() -> None:
    archive, said = SmallArchive(), list[str]()
    archive.loop.now_us = START_US + 30_000_000  # behind what they were published at
    ledger = archive.loop.run(SqliteLedger.open(archive.loop.tasks, MEMORY))
    closed = {key: data for key, data in archive.store.objects.items() if "/closed/" in key}
    newest = max(closed)
    first = life(archive, ledger, said)
    archive.loop.run_for(CLOSED_LOOK_S)
    assert told(first) == ["0"]
    for key in closed:
        del archive.store.objects[key]
    archive.loop.run_for(CLOSED_LOOK_S)
    assert told(first) == ["2", f"hole {newest}"], "by itself"
    archive.store.objects.update(closed)
    archive.loop.run_for(AGAIN_S)
    assert told(first) == ["0"], "put back"
    for key in closed:
        del archive.store.objects[key]
    archive.loop.run(first.index.refresh(now_us=archive.loop.wall_us()))
    assert told(first) == ["2", f"hole {newest}"], "at once, when asked"
    archive.store.objects.update(closed)
    archive.loop.run_for(AGAIN_S)
    assert told(first) == ["0"]
    first.stop()
    for key in closed:
        del archive.store.objects[key]
    assert told(life(archive, ledger, said)) == ["2", f"hole {newest}"], "it was there in an earlier life"
    assert said == []


def test_what_a_node_says_has_moved_is_followed_until_what_it_tells_of_its_copies_can_be_as_new() -> None:
    """A cluster of processes: the word that a partition was archived further, and how far, come on different ways."""
    archive = SmallArchive()
    archive.loop.now_us = START_US + 30_000_000
    sample = archive.samples[1]
    last = [build(key) for key in (sample.manifest(sample.segments[-1])[0].key(), sample.manifest(sample.segments[-1])[0].key().twin())]
    late = {name: archive.store.objects.pop(name) for name in last}
    windows = life(archive, archive.loop.run(SqliteLedger.open(archive.loop.tasks, MEMORY)), [])
    index = windows.index.partitions[sample.table, sample.partition]
    before = index.reach()
    told: list[KnownArchived] = []
    asked: list[list[PartitionId]] = []

    def archived_of(partitions: Iterable[PartitionId]) -> list[KnownArchived]:
        asked.append(list(partitions))
        return [one for one in told if one.partition in asked[-1]]

    windows._archived_of = archived_of  # type: ignore[method-assign]
    archive.store.objects.update(late)
    windows.note_moved(PartitionId(sample.partition))
    archive.loop.run_for(2.0)
    assert index.reach() == before
    told += archive.archived()
    archive.loop.run_for(1.0)
    assert index.reach() == sample.lsn
    archive.loop.run_for(2.0)
    asked.clear()
    archive.loop.run_for(2.0)
    assert asked
    assert not any(asked), "and not for ever"


def window_ends(windows: Windows) -> list[int | None]:
    """The latest restorable moment of each partition."""
    return [one.window().latest_us for one in windows.index.partitions.values()]


def test_the_next_start_reads_the_closed_objects_that_its_ledger_knows_of() -> None:
    """A name that was noted is no object that was read: the last words of a planned stop are proven in the next life too."""
    archive, said = SmallArchive(), list[str]()
    archive.loop.now_us = START_US + 30_000_000
    ledger = archive.loop.run(SqliteLedger.open(archive.loop.tasks, MEMORY))
    without = life(archive, FullLedger(), said)
    proven = window_ends(without)
    without.stop()
    first = life(archive, ledger, said)
    first.stop()
    assert archive.loop.run(ledger.newest(closed_prefix(CLUSTER, "n1"))) == max(first.index.newest_heard()), "noted"
    second = life(archive, ledger, said)
    assert window_ends(second) == window_ends(first) == proven
    newest = max(point.closed for one in second.index.partitions.values() for point in one.closed)
    assert stamp_micros(newest) - 1 in proven, "by the last closed object, not by a seal"


def test_an_agent_that_publishes_before_the_first_look_hides_nothing_that_was_published_earlier() -> None:
    """It says less than the one before it: it does not lead the second partition, or not yet."""
    archive, said = SmallArchive(), list[str]()
    archive.loop.now_us = START_US + 30_000_000
    proven = window_ends(life(archive, FullLedger(), said))
    index = ArchiveIndex(archive.store, CLUSTER, tasks=archive.loop.tasks)
    sample = archive.samples[0]
    point = ClosedPoint(
        TableId(sample.table), PartitionId(sample.partition), Stamp(sample.stamp), Lsn(sample.lsn - 1), Lsn(sample.lsn), sample.chain
    )
    early = ClosedObject(CLUSTER, "n1", START_US + 25_000_000, 1, OWNER, (point,), START_US + 20_000_000)
    archive.store.objects[early.key()] = encode_closed(early)
    index.heard(early)
    archive.loop.run(index.refresh(now_us=archive.loop.wall_us()))
    assert [one.window().latest_us for one in index.partitions.values()] == proven


def closed_now(archive: SmallArchive, *, since: int, many: int, node: str = "n1", of: Sequence[int] = (0,), ahead: int = 0) -> None:
    """Closed objects, a second after another, of a node that leads these partitions and no other one any more. ahead: records that are written and not archived."""
    for number in range(many):
        at_us = START_US + since * 1_000_000 + number * 1_000_000
        points = tuple(
            ClosedPoint(
                TableId(sample.table), PartitionId(sample.partition), Stamp(at_us << 12), Lsn(sample.lsn - 1 if not ahead else sample.lsn + ahead),
                Lsn(sample.lsn), sample.chain,
            )
            for sample in (archive.samples[one] for one in of)
        )  # fmt: skip
        made = ClosedObject(CLUSTER, node, at_us, 1, OWNER, points, at_us - 1_000_000)
        archive.store.objects[made.key()] = encode_closed(made)


def closed_read(archive: SmallArchive, index: ArchiveIndex) -> int:
    """How many closed objects one look read."""
    read, get = list[str](), archive.store.get

    async def noted(key: str) -> bytes:
        read.append(key)
        return await get(key)

    archive.store.get = noted  # type: ignore[method-assign]
    archive.loop.run(index.refresh(now_us=archive.loop.wall_us()))
    archive.store.get = get  # type: ignore[method-assign]
    return len([key for key in read if "/closed/" in key])


@pytest.mark.parametrize("later", [1, 6, 90])
def test_a_start_proves_what_was_proven_of_a_partition_that_nobody_has_led_since(later: int) -> None:
    """Of a table with such a partition, `--latest` must not mean an older moment after a start than before the stop."""
    archive = SmallArchive()
    archive.loop.now_us = START_US + 200_000_000
    before = ArchiveIndex(archive.store, CLUSTER, tasks=archive.loop.tasks)
    archive.loop.run(before.refresh(now_us=archive.loop.wall_us()))
    closed_now(archive, since=21, many=later)
    archive.loop.run(before.refresh(now_us=archive.loop.wall_us()))
    after = ArchiveIndex(archive.store, CLUSTER, tasks=archive.loop.tasks)
    archive.loop.run(after.refresh(now_us=archive.loop.wall_us()))
    proven = {key: one.window().latest_us for key, one in before.partitions.items()}
    assert {key: one.window().latest_us for key, one in after.partitions.items()} == proven
    assert closed_read(archive, after) == 0, "once"


def test_a_start_goes_back_no_further_than_something_can_be_said_there() -> None:
    archive = SmallArchive()
    archive.loop.now_us = START_US + 200_000_000
    assert closed_read(archive, ArchiveIndex(archive.store, CLUSTER, tasks=archive.loop.tasks)) == 2, "each was led lately"
    for key in [key for key in archive.store.objects if "/closed/" in key]:
        del archive.store.objects[key]
    closed_now(archive, since=-200, many=150)  # before anything of the second partition was sealed
    closed_now(archive, since=21, many=10)
    index = ArchiveIndex(archive.store, CLUSTER, tasks=archive.loop.tasks)
    assert closed_read(archive, index) == 10, "all behind its last seal, and none before it"
    assert closed_read(archive, index) == 0


def proven_of(index: ArchiveIndex) -> dict[tuple[str, str], int | None]:
    return {key: one.window().latest_us for key, one in index.partitions.items()}


def test_a_start_proves_what_was_proven_before_the_writes_that_are_not_archived_yet() -> None:
    """A table that rested for long was written to as the archive lagged: the newest closed objects name what the archive does not hold."""
    archive = SmallArchive()
    archive.loop.now_us = START_US + 200_000_000
    before = ArchiveIndex(archive.store, CLUSTER, tasks=archive.loop.tasks)
    closed_now(archive, since=100, many=2, of=(0, 1))
    archive.loop.run(before.refresh(now_us=archive.loop.wall_us()))
    closed_now(archive, since=103, many=6, of=(0, 1), ahead=1)
    archive.loop.run(before.refresh(now_us=archive.loop.wall_us()))
    after = ArchiveIndex(archive.store, CLUSTER, tasks=archive.loop.tasks)
    assert closed_read(archive, after) == CLOSED_COLD_READ + 3, "up to the newest that the archive has reached"
    assert proven_of(after) == proven_of(before)
    assert set(proven_of(after).values()) == {START_US + 101_000_000 - 1}


def test_of_what_several_nodes_closed_the_newest_counts() -> None:
    """Who led the partition earlier comes first by name."""
    archive = SmallArchive()
    archive.loop.now_us = START_US + 200_000_000
    before = ArchiveIndex(archive.store, CLUSTER, tasks=archive.loop.tasks)
    archive.loop.run(before.refresh(now_us=archive.loop.wall_us()))
    closed_now(archive, since=30, many=1, of=(1,))
    closed_now(archive, since=60, many=1, of=(1,), node="n2")
    archive.loop.run(before.refresh(now_us=archive.loop.wall_us()))
    for node in ("n1", "n2"):
        closed_now(archive, since=70, many=6, node=node)
    archive.loop.run(before.refresh(now_us=archive.loop.wall_us()))
    after = ArchiveIndex(archive.store, CLUSTER, tasks=archive.loop.tasks)
    assert closed_read(archive, after) == 2 * CLOSED_COLD_READ + 5
    assert proven_of(after) == proven_of(before)


@pytest.mark.parametrize("failing", [1, 2, 6])
def test_a_store_that_fails_in_the_first_look_ends_no_search(failing: int) -> None:
    archive = SmallArchive()
    archive.loop.now_us = START_US + 200_000_000
    closed_now(archive, since=21, many=8)
    whole = ArchiveIndex(archive.store, CLUSTER, tasks=archive.loop.tasks)
    archive.loop.run(whole.refresh(now_us=archive.loop.wall_us()))
    get, asked = archive.store.get, list[str]()

    async def once(key: str) -> bytes:
        if "/closed/" in key:
            asked.append(key)
            if len(asked) == failing:
                raise Unavailable("no answer")
        return await get(key)

    archive.store.get = once  # type: ignore[method-assign]
    after = ArchiveIndex(archive.store, CLUSTER, tasks=archive.loop.tasks)
    with pytest.raises(Unavailable):
        archive.loop.run(after.refresh(now_us=archive.loop.wall_us()))
    archive.loop.run(after.refresh(now_us=archive.loop.wall_us()))
    assert proven_of(after) == proven_of(whole)
    assert len(asked) == CLOSED_COLD_READ + 5 + 1, "none is read again but the one that was not given"


def test_what_was_heard_in_its_turn_is_not_read_again() -> None:
    archive = SmallArchive()
    archive.loop.now_us = START_US + 30_000_000
    index = ArchiveIndex(archive.store, CLUSTER, tasks=archive.loop.tasks)
    archive.loop.run(index.refresh(now_us=archive.loop.wall_us()))
    read, get = list[str](), archive.store.get

    async def noted(key: str) -> bytes:
        read.append(key)
        return await get(key)

    archive.store.get = noted  # type: ignore[method-assign]
    made = [
        ClosedObject(CLUSTER, "n1", START_US + at * 1_000_000, 1, OWNER, (), START_US + before * 1_000_000)
        for before, at in ((20, 25), (25, 28), (26, 29))
    ]
    for one in made:
        archive.store.objects[one.key()] = encode_closed(one)
        index.heard(one)
    archive.loop.run(index.listen(now_us=archive.loop.wall_us()))
    assert [key for key in read if "/closed/" in key] == [made[2].key()], "before it lies one that was not heard"


def test_an_idle_hour_has_air() -> None:
    """Requests of three nodes that each lead something: closed objects, the watch over the epoch, the look at closed objects."""
    assert 3 * 3600 / AgentOptions().closed_interval_s + 3600 / ClaimOptions().watch_s + 3600 / CLOSED_LOOK_S <= 1000
    assert 2 * ClaimOptions().watch_s <= 30, "an emptied bucket, or another writer, is seen this soon"
    assert ArchiveConfig().closed_interval_us == AgentOptions().closed_interval_s * 1e6 <= 20e6, "`latest` is at most 30 s behind"


def test_what_was_found_bad_is_bad_after_a_restart_until_it_is_found_sound() -> None:
    archive, said = SmallArchive(), list[str]()
    ledger = archive.loop.run(SqliteLedger.open(archive.loop.tasks, MEMORY))
    sample = archive.samples[0]
    keys = [build(sample.manifest(sample.segments[number])[0].key()) for number in (1, 2)]
    good = archive.store.objects[keys[0]]
    first = life(archive, ledger, said)
    archive.store.objects[keys[0]] = good[:-9] + bytes([good[-9] ^ 1]) + good[-8:]  # of the same size: no listing shows it
    first.index.distrust(keys[:1])
    first.index.distrust(keys[1:], kind="forged", detail="a lie", level="replayed")
    archive.loop.run_for(1)
    first.stop()

    second = life(archive, ledger, said)
    assert sorted(second.index.suspects.by_object) == sorted(keys)
    holes = [(hole.first_lsn, hole.last_lsn) for one in second.index.partitions.values() for hole in one.window().holes]
    assert holes == [(sample.segments[number].first, sample.segments[number].last) for number in (1, 2)]
    archive.store.objects[keys[0]] = good
    second.index.trust(keys[1:], level="replayed")
    archive.loop.run_for(AGAIN_S + 1)
    assert second.index.suspects.by_object == {}, "looked at again, unasked"
    assert [hole for one in second.index.partitions.values() for hole in one.window().holes] == []
    second.stop()

    third = life(archive, ledger, said)
    assert third.index.suspects.by_object == {}
    assert [hole for one in third.index.partitions.values() for hole in one.window().holes] == []
    assert said == []


class FullLedger:
    """Cannot be written for a while."""

    def __init__(self) -> None:
        self.full = True
        self.found: Mapping[str, tuple[str, str, str]] = {}

    async def newest(self, prefix: str) -> str | None:
        raise Unavailable("the ledger cannot be used", why="cannot be read")

    async def proved(self, proofs: Sequence[Proof]) -> None:
        raise AssertionError("nothing was read")

    async def suspects(self) -> Mapping[str, tuple[str, str, str]]:
        return {}

    async def keep_suspects(self, found: Mapping[str, tuple[str, str, str]]) -> None:
        if self.full:
            raise Unavailable("the ledger cannot be used", why="disk full")
        self.found = found


def test_a_ledger_that_cannot_be_written_is_said_once_and_tried_again() -> None:
    archive, said, ledger = SmallArchive(), list[str](), FullLedger()
    windows = life(archive, ledger, said)
    key = build(archive.samples[0].manifest(archive.samples[0].segments[1])[0].key())
    windows.index.distrust([key])
    archive.loop.run_for(5)
    assert len([line for line in said if "disk full" in line]) == 1
    assert len([line for line in said if "cannot be read" in line]) == 1
    assert len(said) == 2
    assert windows.index.partitions, "the archive is followed all the same"
    ledger.full = False
    archive.loop.run_for(1)
    assert list(ledger.found) == [key]
    windows.stop()


def test_the_end_of_the_archive_is_what_most_copies_state() -> None:
    """One copy with a chain value of its own makes no hole, and no history of what the others archived."""
    assert agreed_end([(5, b"x"), (7, None), (7, b"a")]) == (7, b"a")
    assert agreed_end([(7, b"bad"), (7, b"a"), (7, b"a")]) == (7, b"a")
    assert agreed_end([(7, b"bad"), (7, b"a")]) == (7, None), "nobody knows which"
    assert agreed_end([(7, None), (3, b"a")]) == (7, None)
