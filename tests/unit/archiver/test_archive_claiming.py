"""Who writes: owners, epochs, other clusters with our identity, logs that do not continue the archive. On virtual time, over the simulator's store."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from scrubjay.archiver.format.identity import Attached, decode_epoch, encode_epoch
from scrubjay.archiver.format.layout import EpochKey, IdentityKey, SegmentKey, build, parse
from scrubjay.archiver.format.manifest import SegmentManifest, encode_manifest
from scrubjay.archiver.write.agent import ArchiveAgent
from scrubjay.archiver.write.agent_state import AgentOptions
from scrubjay.archiver.write.claiming import OWNERS_KEPT, Claiming, ClaimOptions
from scrubjay.archiver.write.meeting import compare
from scrubjay.archiver.write.writer import BLOCKED, DIVERGED, FENCED, UNKNOWN, Writer
from scrubjay.base.errors import Conflict, Fenced, Missing, ScrubjayError, Unavailable, Unsafe
from scrubjay.base.ids import Lsn, PartitionId, TableId
from scrubjay.base.wrap.faulty import FaultyStore
from scrubjay.sim.lone import LoneHost, LoneStore
from scrubjay.storage.archive_port import ArchivedHistory, SealedSegment
from scrubjay.storage.catalogue import WriterNotes
from tests.unit.archiver.sample import CLUSTER, OWNER, START_US, Sample, history
from tests.unit.archiver.test_archive_agent import FakeSource

OTHER = "11111111-1111-4111-8111-111111111111"


class MemoryBook:
    """The notes of one cluster's metadata log. `fail`: every write of them fails so."""

    def __init__(self, notes: WriterNotes | None = None) -> None:
        self.writer = notes or WriterNotes()
        self.fail: ScrubjayError | None = None
        self.written: list[WriterNotes] = []

    async def put_writer(self, notes: WriterNotes) -> None:
        if self.fail is not None:
            raise self.fail
        self.writer = notes
        self.written.append(notes)

    async def newest(self) -> None:
        """Nobody else writes them."""


class OldNotes(MemoryBook):
    """The notes as a process knows them, as old as the test lets them be. away: they cannot be read."""

    def __init__(self, book: MemoryBook) -> None:
        super().__init__(book.writer)
        self.book, self.away = book, False

    async def newest(self) -> None:
        if self.away:
            raise Unavailable("the metadata group has no leader")
        self.writer = self.book.writer


class World:
    """One archive, and lives of clusters over it: `life(book, sample)` is a start with that folder's notes and log."""

    def __init__(self) -> None:
        self.loop = LoneHost(seed=9)
        self.memory = LoneStore()
        self.memory.objects[build(IdentityKey(CLUSTER))] = b"identity"
        self.store = FaultyStore(self.memory, self.loop.env())
        self.lines: list[tuple[str, str]] = []

    def life(self, book: MemoryBook, sample: Sample, *, agent: bool = True) -> Life:
        return Life(self, book, sample, agent=agent)

    def epochs(self) -> list[Attached]:
        keys = [key for key in sorted(self.memory.objects) if isinstance(parse(key), EpochKey)]
        return [decode_epoch(self.memory.objects[key], where=key) for key in keys]

    def foreign(self, number: int, owner: str = OTHER) -> str:
        key = build(EpochKey(CLUSTER, number))
        self.memory.objects[key] = encode_epoch(cluster=CLUSTER, epoch=number, owner=owner, created_us=START_US)
        return key

    def segments(self) -> list[str]:
        return [key for key in sorted(self.memory.objects) if isinstance(parse(key), SegmentKey)]


class Life:
    """One process: a writer, its claim, and one leading agent."""

    def __init__(self, world: World, book: MemoryBook, sample: Sample, *, agent: bool) -> None:
        self.world, self.book = world, book
        self.writer = Writer(CLUSTER)
        self.source = FakeSource(1, [sample], leads=True)
        env = world.loop.env()
        self.claiming = Claiming(
            env, world.store, self.writer, book, lambda: [self.source], log=lambda level, line: world.lines.append((level, line))
        )
        self.agent = ArchiveAgent(env, world.store, self.source, self.writer, options=AgentOptions())
        if agent:
            self.agent.start()

    def begin(self) -> None:
        self.world.loop.run(self.claiming.begin())

    def start(self) -> Life:
        self.begin()
        self.claiming.start()
        return self

    def stop(self) -> None:
        self.claiming.stop()
        self.agent.stop()


def write(sample: Sample, count: int = 5) -> None:
    for _ in range(count):
        sample.random_write()
    sample.seal()


def test_the_owner_is_noted_before_the_claim_and_the_claim_after_it() -> None:
    world, book = World(), MemoryBook()
    puts: list[tuple[str, WriterNotes]] = []
    put = world.memory.put

    async def watched(key: str, data: bytes) -> None:
        puts.append((key, book.writer))
        await put(key, data)

    world.memory.put = watched  # type: ignore[method-assign]
    life = world.life(book, history(segments=1)).start()
    world.loop.run_for(3)
    epoch = [(key, notes) for key, notes in puts if "/epoch/" in key]
    assert [key for key, _ in epoch] == [build(EpochKey(CLUSTER, 1))]
    (mine,) = world.epochs()
    assert mine.owner in epoch[0][1].owners
    assert epoch[0][1].epoch == 0
    assert book.writer.epoch == 1
    assert life.writer.attached == mine
    assert world.segments()


def test_every_start_claims_the_next_epoch_and_objects_name_it() -> None:
    world, book, sample = World(), MemoryBook(), history(segments=1)
    for number in (1, 2, 3):
        life = world.life(book, sample).start()
        world.loop.run_for(3)
        assert life.writer.attached.epoch == number
        assert {said.epoch for said in world.epochs()} == set(range(1, number + 1))
        life.stop()
        write(sample)
    assert len(set(book.writer.owners)) == 3


def test_owners_are_bounded() -> None:
    world, book, sample = World(), MemoryBook(), history(segments=1)
    for _ in range(OWNERS_KEPT + 5):
        life = world.life(book, sample, agent=False).start()
        world.loop.run_for(1)
        life.stop()
    assert len(book.writer.owners) == OWNERS_KEPT


def test_claims_that_came_through_unanswered_are_ours_however_many_there_were() -> None:
    """Each tries another owner, and of owners only so many are remembered."""
    world, book, sample = World(), MemoryBook(), history(segments=1)
    world.store.lose_answers = OWNERS_KEPT + 5
    life = world.life(book, sample, agent=False).start()
    world.loop.run_for(400)
    assert life.writer.stopped is None, world.lines
    assert life.writer.attached.epoch == OWNERS_KEPT + 6


def test_a_claim_cut_off_before_its_note_is_ours_at_the_next_start() -> None:
    """Killed between the epoch object and the note: the owner in the log says that it was us."""
    world, book, sample = World(), MemoryBook(WriterNotes(owners=(OWNER,), epoch=3)), history(segments=1)
    world.foreign(4, OWNER)
    life = world.life(book, sample).start()
    world.loop.run_for(3)
    assert life.writer.attached.epoch == 5
    assert life.writer.stopped is None


def test_who_was_paused_while_another_process_claimed_takes_it_for_no_stranger() -> None:
    """Of several processes of one cluster: the one that works is stopped for minutes, another takes over and claims, and the first goes on with the notes that it had."""
    world, book, sample = World(), MemoryBook(), history(segments=1)
    mine = OldNotes(book)
    paused = world.life(mine, sample, agent=False).start()
    world.loop.run_for(1)
    book.writer = mine.writer
    other = world.life(book, sample, agent=False).start()
    world.loop.run_for(1)
    other.stop()
    mine.away = True
    world.loop.run_for(60)
    assert paused.writer.stopped is None, "nobody is called a stranger by notes that may be old"
    mine.away = False
    world.loop.run_for(60)
    assert (paused.writer.stopped, mine.writer.stopped) == (None, None)
    world.foreign(3)
    world.loop.run_for(60)
    assert paused.writer.state == FENCED, "it looks behind the claims of its own cluster"


def test_a_claim_that_another_process_came_before_goes_on_above_it() -> None:
    world, book, sample = World(), MemoryBook(), history(segments=1)
    mine = OldNotes(book)
    slow = world.life(mine, sample, agent=False)
    slow.begin()
    put = world.memory.put

    async def last(key: str, data: bytes) -> None:
        world.memory.put = put  # type: ignore[method-assign]
        for number in (1, 3):
            world.foreign(number)
        book.writer = WriterNotes(owners=(*mine.writer.owners, OTHER), epoch=3)
        await put(key, data)

    world.memory.put = last  # type: ignore[method-assign]
    slow.claiming.start()
    world.loop.run_for(5)
    assert slow.writer.attached.epoch == 2
    assert mine.writer.epoch == 3, "what was noted is taken back by nobody"


def test_who_rests_writes_nothing_and_claims_anew_when_it_works_again() -> None:
    world, book = World(), MemoryBook()
    life = world.life(book, history(segments=1), agent=False).start()
    world.loop.run_for(1)
    life.claiming.rest()
    life.claiming.reclaim()
    world.loop.run_for(60)
    assert life.writer.state == UNKNOWN
    assert len(world.epochs()) == 1
    life.claiming.start()
    world.loop.run_for(1)
    assert life.writer.attached.epoch == 2
    life.claiming.reclaim()
    world.loop.run_for(1)
    assert life.writer.attached.epoch == 3


def test_an_epoch_object_that_was_damaged_on_its_way_once_stops_nobody() -> None:
    world, book, sample = World(), MemoryBook(WriterNotes(owners=(OWNER,), epoch=3)), history(segments=1)
    key, get, reads = world.foreign(4, OWNER), world.memory.get, iter(range(100))

    async def flipped(name: str) -> bytes:
        data = await get(name)
        return data[:-2] + bytes([data[-2] ^ 1]) + data[-1:] if name == key and next(reads) == 0 else data

    world.memory.get = flipped  # type: ignore[method-assign]
    life = world.life(book, sample).start()
    world.loop.run_for(3)
    assert next(reads) > 1
    assert life.writer.attached.epoch == 5


@pytest.mark.parametrize("restarts", [1, 2])
def test_another_owner_fences_for_good_over_restarts(restarts: int) -> None:
    world, book, sample = World(), MemoryBook(), history(segments=1)
    life = world.life(book, sample).start()
    world.loop.run_for(3)
    life.stop()
    key = world.foreign(2)
    for _ in range(restarts):
        life = world.life(book, sample).start()
        write(sample)
        before = dict(world.memory.objects)
        world.loop.run_for(200)
        assert world.memory.objects == before, "nothing at all is written"
        assert life.writer.state == FENCED
        assert life.writer.stopped is not None
        assert key in life.writer.stopped.reason
        assert book.writer.stopped is not None
        assert life.agent.state().fenced
        with pytest.raises(Fenced):
            _ = life.writer.attached
        life.stop()
    # The object is taken away again: what was seen is remembered.
    del world.memory.objects[key]
    life = world.life(book, sample).start()
    world.loop.run_for(100)
    assert life.writer.state == FENCED
    assert any(level == "error" and "fenced" in line for level, line in world.lines)


def test_an_epoch_object_that_cannot_be_read_is_not_taken_for_ours() -> None:
    world, book, sample = World(), MemoryBook(), history(segments=1)
    key = world.foreign(1)
    world.memory.objects[key] = b"rot"
    life = world.life(book, sample).start()
    world.loop.run_for(10)
    assert life.writer.state == FENCED
    assert not world.segments()


def test_a_live_cluster_sees_another_owner_within_half_a_minute_and_before_any_upload() -> None:
    world, book, sample = World(), MemoryBook(), history(segments=1)
    life = world.life(book, sample).start()
    world.loop.run_for(30)
    done = len(world.segments())
    world.foreign(2)
    write(sample)
    life.source.changed(sample.partition)
    world.loop.run_for(10)
    assert len(world.segments()) == done, "the look before the upload found it"
    assert life.writer.state == FENCED
    idle = World()
    life = idle.life(MemoryBook(), history(segments=1)).start()
    idle.loop.run_for(30)
    idle.foreign(2)
    idle.loop.run_for(30)
    assert life.writer.state == FENCED


def test_two_copies_at_once_one_is_fenced() -> None:
    world, sample = World(), history(segments=1)
    notes = WriterNotes(owners=(OWNER,), epoch=0)
    first, second = world.life(MemoryBook(notes), sample), world.life(MemoryBook(notes), sample)
    for life in (first, second):
        life.claiming.start()
    world.loop.run_for(5)
    assert sorted(life.writer.state for life in (first, second)) == ["", FENCED]


@pytest.mark.parametrize("gone", [True, False], ids=["forgotten", "there"])
def test_a_partition_that_is_forgotten_while_a_start_compares_them_ends_no_start(gone: bool) -> None:
    """Its table was dropped, or it was split, between the list and the look: the process did not come up."""
    world, sample = World(), history(segments=1)
    life = world.life(MemoryBook(), sample, agent=False)

    def forgotten(partition: PartitionId) -> None:
        life.source.hosted = lambda: [] if gone else [partition]  # type: ignore[method-assign, assignment]
        raise Missing("no such replica on this node", what="replica", partition=partition)

    life.source.history = forgotten  # type: ignore[method-assign, assignment]
    if not gone:
        with pytest.raises(Missing):
            life.begin()
        return
    life.start()
    world.loop.run_for(3)
    assert life.writer.attached.epoch == 1


def test_an_unreachable_store_leaves_the_epoch_unknown_and_nothing_is_archived_until_it_is_known() -> None:
    world, book, sample = World(), MemoryBook(), history(segments=1)
    world.store.down = True
    life = world.life(book, sample)
    with pytest.raises(Unavailable):
        life.begin()
    life.claiming.start()
    world.loop.run_for(60)
    assert life.writer.state == UNKNOWN
    assert life.agent.state().stopped == UNKNOWN
    assert not world.segments()
    world.foreign(1)
    world.store.down = False
    world.loop.run_for(30)
    assert life.writer.state == FENCED, "what was claimed meanwhile is seen"
    assert not world.segments()
    again = World()
    life = again.life(MemoryBook(), sample)
    again.store.down = True
    life.claiming.start()
    again.loop.run_for(60)
    again.store.down = False
    again.loop.run_for(30)
    assert life.writer.attached.epoch == 1
    assert again.segments()


def test_a_store_that_names_each_request_anew_is_one_line_a_kind_of_trouble() -> None:
    world, book, requests = World(), MemoryBook(), iter(range(1_000))
    life = world.life(book, Sample(), agent=False)
    life.begin()
    kind = "the object store did not answer as it should"

    async def put_writer(notes: WriterNotes) -> None:
        raise Unavailable(kind, key=f"k{next(requests)}", cause=f"status 503, RequestId {next(requests)}")

    book.put_writer = put_writer  # type: ignore[method-assign]
    life.claiming.start()
    world.loop.run_for(60)
    kind = "the credentials for the object store have expired"
    world.loop.run_for(60)
    kind = "the object store did not answer as it should"
    world.loop.run_for(60)
    assert next(requests) > 20, "it was tried again and again"
    lines = [line for level, line in world.lines if level == "warning"]
    assert len(lines) == 2, lines
    assert "RequestId 1" in lines[0]
    assert "expired" in lines[1]


def test_a_metadata_group_that_does_not_answer_holds_the_claim_back() -> None:
    world, book, sample = World(), MemoryBook(), history(segments=1)
    book.fail = Unavailable("no leader")
    life = world.life(book, sample).start()
    world.loop.run_for(30)
    assert life.writer.state == UNKNOWN
    assert world.epochs() == [], "no claim before the owner is in the log"
    book.fail = Conflict("somebody else")
    world.loop.run_for(30)
    book.fail = None
    world.loop.run_for(30)
    assert life.writer.attached.epoch == 1


def test_an_archive_that_is_not_there_any_more_blocks_writing_until_it_is() -> None:
    world, book, sample = World(), MemoryBook(), history(segments=1)
    life = world.life(book, sample).start()
    world.loop.run_for(10)
    kept = dict(world.memory.objects)
    world.memory.objects.clear()
    world.loop.run_for(100)
    assert life.writer.state == BLOCKED
    write(sample)
    life.source.changed(sample.partition)
    world.loop.run_for(60)
    assert world.memory.objects == {}, "nothing is written into another place"
    world.memory.objects.update(kept)
    world.loop.run_for(120)
    assert life.writer.state == ""
    assert len(world.segments()) == 2 * len(sample.segments)


def test_an_idle_hour_costs_a_request_every_watch() -> None:
    world, book, sample = World(), MemoryBook(), history(segments=1)
    world.life(book, sample).start()
    world.loop.run_for(60)
    before = len(world.store.calls)
    world.loop.run_for(3600)
    calls = [verb for verb, _ in world.store.calls[before:]]
    assert len(calls) <= 3600 / ClaimOptions().watch_s + 1
    assert "list" not in calls


# --- histories ---


def copied(sample: Sample) -> Sample:
    """The same log, to go its own way."""
    twin = history(seed=sample.seed, segments=0)
    twin.rng.setstate(sample.rng.getstate())
    twin.records, twin.states, twin.segments = list(sample.records), list(sample.states), list(sample.segments)
    twin.state, twin.stamp, twin.first, twin.chain, twin.before = (
        dict(sample.state),
        sample.stamp,
        sample.first,
        sample.chain,
        sample.before,
    )
    return twin


def test_a_log_put_back_from_an_older_snapshot_is_refused_before_it_claims() -> None:
    """The epoch alone would not tell: the snapshot was taken while epoch 1 was noted, and nobody claimed another since."""
    world, book, sample = World(), MemoryBook(), history(segments=1)
    life = world.life(book, sample).start()
    world.loop.run_for(5)
    older, notes = copied(sample), book.writer
    for _ in range(3):
        write(sample)
        life.source.changed(sample.partition)
        world.loop.run_for(5)
    life.stop()
    before = dict(world.memory.objects)
    back = world.life(MemoryBook(notes), older)
    back.source.archived_lsn[PartitionId(older.partition)] = older.segments[-1].last
    with pytest.raises(Unsafe) as refused:
        back.begin()
    assert "ahead of the log" in str(refused.value)
    assert "takeover" in str(refused.value.fields["next"])
    assert world.memory.objects == before


@pytest.mark.parametrize("holds", [True, False], ids=["the log holds the records", "the log has let go of them"])
@pytest.mark.parametrize("fact", ["schema", "last_stamp"])
def test_a_forged_manifest_over_the_newest_archived_segment_stops_nobody_whose_log_holds_its_records(fact: str, holds: bool) -> None:
    """No honest generation beside it. The same records with other facts are no other history; what the log no longer holds cannot be told from one."""
    world, book, sample = World(), MemoryBook(), history(segments=1)
    life = world.life(book, sample).start()
    world.loop.run_for(5)
    life.stop()
    segment = sample.segments[-1]
    honest, _ = sample.manifest(segment)
    name = build(honest.key().twin())
    lie = replace(honest, schema=honest.schema + " ") if fact == "schema" else replace(honest, last_stamp=honest.last_stamp + 1)
    world.memory.objects[name] = encode_manifest(replace(lie, chain=lie.expected_chain()))  # consistent with itself
    back = world.life(book, sample)
    back.source.archived_lsn[PartitionId(sample.partition)] = segment.last
    if not holds:

        def gone(_segment: SealedSegment, _raw: bytes) -> bytes:
            raise Missing("records are not in the WAL")

        back.source.raw_of = gone
        with pytest.raises(Unsafe, match="another history"):
            back.begin()
        assert back.source.findings == []
        return
    back.begin()
    assert [finding for finding in back.source.findings if "our log holds" in finding and finding.startswith("forged")]
    assert back.writer.state != DIVERGED


def test_a_log_that_went_its_own_way_from_the_same_numbers_is_refused() -> None:
    world, book, sample = World(), MemoryBook(), history(segments=1)
    life = world.life(book, sample).start()
    world.loop.run_for(5)
    other, notes = copied(sample), book.writer
    write(sample)
    life.source.changed(sample.partition)
    world.loop.run_for(5)
    life.stop()
    other.rng.seed(99)
    write(other)
    assert other.segments[-1].last == sample.segments[-1].last, "the LSNs say nothing"
    back = world.life(MemoryBook(notes), other)
    back.source.archived_lsn[PartitionId(other.partition)] = other.segments[-2].last
    with pytest.raises(Unsafe) as refused:
        back.begin()
    assert "another history" in str(refused.value)


def test_what_was_uploaded_and_not_yet_logged_as_archived_is_no_other_history() -> None:
    world, book, sample = World(), MemoryBook(), history(segments=1)
    life = world.life(book, sample)
    life.source.auto_archived = False
    life.start()
    world.loop.run_for(5)
    life.stop()
    assert world.segments()
    again = world.life(book, sample)
    again.source.auto_archived = False
    again.start()
    world.loop.run_for(5)
    assert again.writer.attached.epoch == 2


def test_a_divergence_found_while_running_stops_durably_and_a_start_with_the_right_folder_clears_it() -> None:
    world, book, sample = World(), MemoryBook(), history(segments=1)
    life = world.life(book, sample).start()
    world.loop.run_for(5)
    older, notes = copied(sample), book.writer
    write(sample)
    life.source.changed(sample.partition)
    world.loop.run_for(5)
    life.stop()
    old_book = MemoryBook(notes)
    back = world.life(old_book, older)
    back.source.archived_lsn[PartitionId(older.partition)] = older.segments[-1].last
    world.store.down = True
    with pytest.raises(Unavailable):
        back.begin()
    back.claiming.start()
    world.store.down = False
    before = len(world.segments())
    older.rng.seed(77)
    write(older)
    world.loop.run_for(60)
    assert back.writer.state == DIVERGED
    assert old_book.writer.stopped is not None
    assert old_book.writer.stopped[0] == DIVERGED
    assert len(world.segments()) == before
    back.stop()
    right = MemoryBook(msgspec.structs.replace(notes, stopped=old_book.writer.stopped))
    ok = world.life(right, sample)
    ok.source.archived_lsn[PartitionId(sample.partition)] = sample.segments[-1].last
    ok.start()
    world.loop.run_for(5)
    assert ok.writer.state == ""
    assert right.writer.stopped is None


def test_a_confirmed_takeover_goes_on_from_the_older_state() -> None:
    world, book, sample = World(), MemoryBook(), history(segments=1)
    life = world.life(book, sample).start()
    world.loop.run_for(5)
    older, notes = copied(sample), book.writer
    write(sample)
    life.source.changed(sample.partition)
    world.loop.run_for(5)
    life.stop()
    world.foreign(2)
    taken = MemoryBook(msgspec.structs.replace(notes, taken_over=2, stopped=None))
    older.rng.seed(5)
    write(older, 7)
    back = world.life(taken, older)
    back.source.archived_lsn[PartitionId(older.partition)] = older.segments[-2].last
    back.start()
    world.loop.run_for(20)
    assert back.writer.attached.epoch == 3
    assert back.writer.state == ""
    name = build(older.manifest(older.segments[-1])[0].key().twin())
    assert name in world.memory.objects


def facts(sample: Sample, archived: int) -> ArchivedHistory:
    sealed = [one for one in sample.segments if one.last > archived]
    newest = next((one for one in sample.segments if one.last == archived), None)
    return ArchivedHistory(
        TableId(sample.table), PartitionId(sample.partition), Lsn(archived), Lsn(newest.first if newest else 0), newest.chain if newest else b"",
        tuple((one.last, one.chain, one.raw_sha256) for one in sealed), sample.segments[-1].last, sample.chain,
    )  # fmt: skip


def test_compare_at_every_seal() -> None:
    sample = history(segments=4)
    manifests = sample.manifests()
    for segment in sample.segments:
        assert compare(facts(sample, segment.last), [one for one in manifests if one.last >= segment.last]) is None
        for at, manifest in enumerate(manifests):
            wrong: list[SegmentManifest] = [*manifests[:at], replace(manifest, chain=bytes(32)), *manifests[at + 1 :]]
            said = compare(facts(sample, segment.last), [one for one in wrong if one.last >= segment.last])
            # Above the archived end the records are known: the same ones with another chain value are a forged manifest, which the agents refute.
            assert (said is not None) == (manifest.last == segment.last)
            other: list[SegmentManifest] = [
                replace(one, raw=replace(one.raw, sha256="00" * 32)) if one.last == manifest.last else one for one in wrong
            ]
            said = compare(facts(sample, segment.last), [one for one in other if one.last >= segment.last])
            assert (said is not None) == (manifest.last >= segment.last)
    shorter = replace(manifests[-1], last=manifests[-1].last - 1)
    assert "no seal" in str(compare(facts(sample, 2), [shorter]))
    longer = replace(manifests[-1], last=manifests[-1].last + 1)
    assert "ahead" in str(compare(facts(sample, 2), [longer]))


def test_a_rotted_manifest_at_the_end_says_nothing_about_history() -> None:
    world, book, sample = World(), MemoryBook(), history(segments=1)
    world.memory.objects.update(sample.objects())
    made, _ = sample.manifest(sample.segments[-1])
    name = build(replace(made, last=made.last + 5).key().twin())
    world.memory.objects[name] = encode_manifest(made)
    life = world.life(book, sample)
    life.source.archived_lsn[PartitionId(sample.partition)] = sample.segments[-1].last
    life.start()
    world.loop.run_for(5)
    assert life.writer.attached.epoch == 1


def test_an_epoch_claimed_between_our_look_and_our_claim_fences() -> None:
    world, book, sample = World(), MemoryBook(), history(segments=1)
    put = world.memory.put

    async def late(key: str, data: bytes) -> None:
        if key == build(EpochKey(CLUSTER, 1)):
            world.foreign(1)
        await put(key, data)

    world.memory.put = late  # type: ignore[method-assign]
    life = world.life(book, sample).start()
    world.loop.run_for(10)
    assert life.writer.state == FENCED
    assert not world.segments()


@pytest.mark.parametrize("ours", [0, 1], ids=["first", "later"])
def test_an_epoch_claimed_while_our_owner_is_noted_fences(ours: int) -> None:
    """Two copies start at once, and both have looked before either claims: whoever claims first is the writer, the other does not go on above it."""
    world, book, sample = World(), MemoryBook(), history(segments=1)
    if ours:
        before = world.life(book, sample, agent=False).start()
        world.loop.run_for(1)
        before.stop()
    put = book.put_writer

    async def overtaken(notes: WriterNotes) -> None:
        world.foreign(ours + 1)
        await put(notes)

    book.put_writer = overtaken  # type: ignore[method-assign]
    life = world.life(book, sample)
    life.start()
    world.loop.run_for(20)
    assert life.writer.state == FENCED
    assert [one.owner for one in world.epochs()][ours:] == [OTHER]
    assert not world.segments()


def test_a_partition_that_had_no_leader_at_the_start_is_compared_before_its_first_upload() -> None:
    world, sample = World(), history(segments=3)
    world.memory.objects.update(sample.objects())
    older = history(segments=1)
    older.rng.seed(4)
    life = world.life(MemoryBook(), older)
    life.source.archived_lsn[PartitionId(older.partition)] = older.segments[-1].last
    life.source.leading = False
    life.claiming.options = ClaimOptions(leaders_s=0.1)
    life.start()
    world.loop.run_for(2)
    assert life.writer.state == "", "nobody led: nothing could be compared"
    life.source.leading = True
    before = len(world.segments())
    write(older)
    life.source.changed(older.partition)
    world.loop.run_for(10)
    assert life.writer.state == DIVERGED
    assert len(world.segments()) == before


@pytest.mark.parametrize("how", ["deleted", "written over"])
def test_an_epoch_of_somebody_else_is_seen_under_what_stands_over_it(how: str) -> None:
    """In a bucket with versions: a create over a delete marker succeeds, and both would write."""
    world = World()
    book = MemoryBook()
    sample = history()
    life = world.life(book, sample).start()
    world.loop.run_for(5)
    assert life.writer.attached.epoch == 1
    life.stop()
    bucket = world.memory._store
    bucket.versioned = True
    key = world.foreign(2)
    if how == "deleted":
        bucket.lose(key)
    else:
        bucket.write_over(key, b"junk")
    later = world.life(book, sample).start()
    world.loop.run_for(5)
    assert later.writer.stopped is not None
    assert later.writer.stopped.kind == FENCED
    assert f"owner {OTHER}" in later.writer.stopped.reason
    assert build(EpochKey(CLUSTER, 3)) not in world.memory.objects
    later.stop()
