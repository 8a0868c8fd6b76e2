"""The archiving agent against a fake log source and a store with every kind of bad day, on virtual time."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

import scrubjay.archiver.write.outgoing
import scrubjay.archiver.write.settling
from scrubjay.archiver.format.closed import decode_closed
from scrubjay.archiver.format.layout import ClosedKey, EpochKey, IdentityKey, SegmentKey, build, parse
from scrubjay.archiver.format.manifest import decode_manifest
from scrubjay.archiver.write.agent import ArchiveAgent
from scrubjay.archiver.write.agent_state import AgentOptions
from scrubjay.archiver.write.writer import FENCED, Stopped, Writer
from scrubjay.base.errors import Corrupt, DiskFull, Missing, ScrubjayError, Unavailable
from scrubjay.base.ids import Lsn, NodeName, PartitionId, Stamp, TableId
from scrubjay.base.wrap.faulty import FaultyStore
from scrubjay.base.wrap.retry import RetryingStore
from scrubjay.sim.lone import LoneDisk, LoneHost, LoneJobs, LoneStore
from scrubjay.storage.archive_port import ArchivedHistory, Attestation, ClosedPoint, PartitionFacts, SealedSegment, ToArchive
from scrubjay.storage.log.record import HEADER_SIZE
from tests.unit.archiver.sample import ATTACHED, CLUSTER, Sample, history, other_partition


class FakeSource:
    """One node's view of some partitions. Every member here sees the same segments; `logs` may be changed to make one differ."""

    def __init__(self, number: int, samples: list[Sample], *, leads: bool, after: Callable[[str, int], None] = lambda _p, _l: None) -> None:
        self.node = NodeName(f"n{number}")
        self.number = number
        self.samples = {PartitionId(sample.partition): sample for sample in samples}
        self.leading = leads
        self.archived_lsn: dict[PartitionId, int] = dict.fromkeys(self.samples, 0)
        self.announced: list[tuple[str, int, int]] = []
        self.findings: list[str] = []
        self.own_faults: list[str] = []
        self.said: list[Attestation] = []
        self.bad: dict[tuple[str, int], dict[int, str]] = {}
        self.points: list[ClosedPoint] = []
        self.raw_of: Callable[[SealedSegment, bytes], bytes] = lambda _segment, raw: raw
        self._listeners: list[Callable[[PartitionId], None]] = []
        self._after = after
        self.at_once: Callable[[int], Callable[[], bytes]] | None = None
        """What `read_at_once` answers, by the first LSN."""
        self.auto_archived = True

    def partitions(self) -> list[PartitionId]:
        return sorted(partition for partition in self.samples if self.sealed(partition))

    def facts(self, partition: PartitionId) -> PartitionFacts:
        return self.samples[partition].facts

    def leads(self, partition: PartitionId) -> bool:
        return self.leading

    def archived(self, partition: PartitionId) -> Lsn:
        return Lsn(self.archived_lsn[partition])

    def sealed(self, partition: PartitionId) -> list[SealedSegment]:
        return [one for one in self.samples[partition].segments if one.last > self.archived_lsn[partition]]

    def waiting(self, partition: PartitionId) -> ToArchive:
        found = self.sealed(partition)
        return ToArchive(len(found), sum(one.raw_size for one in found), min((one.first_stamp for one in found), default=0))

    def read_raw(self, partition: PartitionId, first: Lsn, last: Lsn) -> Iterator[bytes]:
        sample = self.samples[partition]
        segment = next((one for one in sample.segments if (one.first, one.last) == (first, last)), None)
        if segment is None:
            raise Missing("records are not in the WAL", what=partition, lsn=first)
        yield self.raw_of(segment, sample.raw(segment))

    def read_at_once(self, partition: PartitionId, first: Lsn, last: Lsn) -> Callable[[], bytes] | None:
        return None if self.at_once is None else self.at_once(first)

    def hosted(self) -> list[PartitionId]:
        return sorted(self.samples)

    def knows_birth(self, partition: PartitionId) -> bool:
        return True

    def announce(self, partition: PartitionId, first: Lsn, last: Lsn, said: Attestation) -> None:
        self.announced.append((partition, first, last))
        self.said.append(said)
        if self.auto_archived:
            self.archived_lsn[partition] = max(self.archived_lsn[partition], last)
        self._after(partition, last)

    def refute(self, partition: PartitionId, last: Lsn, *, generation: int, object: str, kind: str, reason: str) -> None:  # noqa: A002
        self.findings.append(f"{kind} {object}: {reason}")
        self.bad.setdefault((partition, last), {})[generation] = reason

    def refuted(self, partition: PartitionId, last: Lsn) -> dict[int, str]:
        return dict(self.bad.get((partition, last), {}))

    def written(self, partition: PartitionId) -> Lsn:
        return Lsn(0)

    def faulty(self, partition: PartitionId, *, lsn: Lsn, detail: str) -> None:
        self.own_faults.append(detail)

    def blame(self, partition: PartitionId, *, object: str, kind: str, lsn: Lsn, detail: str) -> None:  # noqa: A002
        self.findings.append(f"{kind} {detail}")

    def history(self, partition: PartitionId) -> ArchivedHistory | None:
        if not self.leading:
            return None
        sample = self.samples[partition]
        archived = self.archived_lsn[partition]
        newest = next((one for one in sample.segments if one.last == archived), None)
        return ArchivedHistory(
            TableId(sample.table),
            partition,
            Lsn(archived),
            Lsn(newest.first if newest is not None else 0),
            newest.chain if newest is not None else b"",
            tuple((one.last, one.chain, one.raw_sha256) for one in sample.segments if one.last > archived),
            sample.segments[-1].last if sample.segments else Lsn(0),
            sample.chain,
        )

    def closed_points(self) -> list[ClosedPoint]:
        return self.points

    def subscribe(self, changed: Callable[[PartitionId], None]) -> None:
        self._listeners.append(changed)

    def changed(self, partition: str) -> None:
        for listener in self._listeners:
            listener(PartitionId(partition))


class Bench:
    """A loop, a faulty store with an identity in it, and agents."""

    def __init__(self, *, options: AgentOptions | None = None, retries: bool = False) -> None:
        self.loop = LoneHost(seed=5)
        self.memory = LoneStore()
        self.memory.objects[build(IdentityKey(CLUSTER))] = b"identity"
        self.memory.objects[build(EpochKey(CLUSTER, 1))] = b"epoch"
        self.store = FaultyStore(self.memory, self.loop.env())
        self.options = options or AgentOptions()
        self.retries = retries

    def agent(self, source: FakeSource, **more: object) -> ArchiveAgent:
        env = self.loop.env()
        store = RetryingStore(self.store, env) if self.retries else self.store
        agent = ArchiveAgent(env, store, source, Writer(CLUSTER, ATTACHED), options=self.options, **more)  # type: ignore[arg-type]
        agent.start()
        return agent

    def segment_keys(self) -> list[SegmentKey]:
        found = [parse(key) for key in sorted(self.memory.objects)]
        return [key for key in found if isinstance(key, SegmentKey)]

    def puts(self) -> list[str]:
        return [key for verb, key in self.store.calls if verb == "put"]


def complete(bench: Bench, sample: Sample) -> bool:
    """Every segment of the sample has a good object and a good manifest."""
    for segment in sample.segments:
        manifest, data = sample.manifest(segment)
        if bench.memory.objects.get(build(manifest.key())) != data:
            return False
        name = build(manifest.key().twin())
        said = decode_manifest(bench.memory.objects[name], where=name)
        if replace(said, node="", epoch=1) != replace(manifest, node=""):
            return False
    return True


def test_the_leader_archives_in_order_segment_before_manifest() -> None:
    bench, sample = Bench(), history(segments=3)
    source = FakeSource(1, [sample], leads=True)
    bench.agent(source)
    bench.loop.run_for(3)
    assert complete(bench, sample)
    assert [last for _, _, last in source.announced] == [segment.last for segment in sample.segments]
    puts = bench.puts()
    assert puts == [
        build(key) for segment in sample.segments for key in (sample.manifest(segment)[0].key(), sample.manifest(segment)[0].key().twin())
    ]


def test_followers_compare_and_attest_what_the_leader_uploaded() -> None:
    bench, sample = Bench(), history(segments=3)
    sources = [FakeSource(number, [sample], leads=number == 1) for number in (1, 2, 3)]
    agents = [bench.agent(source) for source in sources]
    for source in sources:
        source.changed(sample.partition)
    bench.loop.run_for(3)
    for source in sources:
        assert [last for _, _, last in source.announced] == [segment.last for segment in sample.segments]
    assert [agent.status().placed for agent in agents] == [4, 0, 0]
    assert [agent.status().compared for agent in agents] == [0, 4, 4]


def test_a_back_up_uploads_after_a_delay() -> None:
    bench, sample = Bench(), history(segments=1)
    source = FakeSource(2, [sample], leads=False)
    bench.agent(source)
    bench.loop.run_for(10)
    assert not bench.segment_keys()
    bench.loop.run_for(20)
    assert complete(bench, sample)
    assert len(source.announced) == 2


def test_nothing_is_uploaded_before_two_members_agree() -> None:
    bench, sample = Bench(), history(segments=1)
    sample.segments[1] = sample.segments[1]._replace(agreed=(1,))
    source = FakeSource(1, [sample], leads=True)
    bench.agent(source)
    bench.loop.run_for(60)
    assert {key.last for key in bench.segment_keys()} == {2}
    sample.segments[1] = sample.segments[1]._replace(agreed=(1, 3))
    source.changed(sample.partition)
    bench.loop.run_for(3)
    assert complete(bench, sample)


def test_a_suspect_member_uploads_nothing() -> None:
    bench, sample = Bench(), history(segments=1)
    sample.segments[0] = sample.segments[0]._replace(suspect=True)
    bench.agent(FakeSource(1, [sample], leads=True))
    bench.loop.run_for(60)
    assert not bench.segment_keys()


@pytest.mark.parametrize("outage_s", [5, 30, 3600])
def test_catches_up_by_itself_after_an_outage(outage_s: int) -> None:
    bench, sample = Bench(retries=True), history(segments=5)
    source = FakeSource(1, [sample], leads=True)
    bench.store.down = True
    agent = bench.agent(source)
    bench.loop.run_for(outage_s)
    status = agent.status()
    assert not status.reachable
    assert status.last_error
    assert status.unarchived_segments == 6
    assert status.unarchived_bytes == sum(segment.raw_size for segment in sample.segments)
    assert status.lag_us > 0
    requests = len(bench.store.calls)
    assert requests < 20 + outage_s * 4, "a store that is down is not hammered"
    bench.store.down = False
    bench.loop.run_for(bench.options.backoff_cap_s + 5)
    assert complete(bench, sample)
    assert agent.status().reachable
    assert agent.status().unarchived_bytes == 0


def test_a_full_store_holds_the_archive_back_and_nothing_else() -> None:
    bench, sample = Bench(), history(segments=2)
    source = FakeSource(1, [sample], leads=True)
    bench.store.full = True
    agent = bench.agent(source)
    bench.loop.run_for(60)
    assert "full" in str(agent.status().last_error)
    bench.store.full = False
    bench.loop.run_for(15)
    assert complete(bench, sample)


def test_full_between_segment_and_manifest() -> None:
    bench, sample = Bench(), history(segments=2)

    def fault(verb: str, key: str) -> ScrubjayError | None:
        return DiskFull("full") if verb == "put" and key.endswith(".json") and bench.loop.now_us < start + 20_000_000 else None

    start = bench.loop.now_us
    bench.store.fault = fault
    source = FakeSource(1, [sample], leads=True)
    bench.agent(source)
    bench.loop.run_for(15)
    assert [key.manifest for key in bench.segment_keys()] == [False]
    bench.loop.run_for(30)
    assert complete(bench, sample)


@pytest.mark.parametrize("retries", [False, True])
def test_an_answer_lost_after_the_effect_is_settled_by_content(retries: bool) -> None:
    bench, sample = Bench(retries=retries), history(segments=3)
    bench.store.lose_answers = 3
    source = FakeSource(1, [sample], leads=True)
    bench.agent(source)
    bench.loop.run_for(60)
    assert complete(bench, sample)
    assert {key.generation for key in bench.segment_keys()} == {1}
    assert not source.findings


def test_a_slow_store_and_two_agents_that_both_upload() -> None:
    bench, sample = Bench(), history(segments=3)
    bench.store.slow_s = 7.0
    sources = [FakeSource(number, [sample], leads=True) for number in (1, 2)]
    for source in sources:
        bench.agent(source)
    bench.loop.run_for(200)
    assert complete(bench, sample)
    assert all(len(source.announced) == 4 and not source.findings for source in sources)


def test_a_spoilt_segment_gets_a_new_generation_that_says_why() -> None:
    bench, sample = Bench(), history(segments=1)
    manifest, data = sample.manifest(sample.segments[1])
    bad = build(manifest.key())
    bench.memory.objects[bad] = data[:-70] + bytes([data[-70] ^ 4]) + data[-69:]
    source = FakeSource(1, [sample], leads=True)
    bench.agent(source)
    bench.loop.run_for(5)
    assert bench.memory.objects[bad] != data, "evidence is kept"
    second = build(manifest.key()._replace(generation=2).twin())
    said = decode_manifest(bench.memory.objects[second], where=second)
    assert said.supersedes[0].generation == 1
    assert bad in said.supersedes[0].reason, "and which object it is about"
    assert any(bad in finding for finding in source.findings)
    assert source.announced[-1][2] == sample.lsn


def test_a_back_up_finds_a_spoilt_manifest_and_repairs_it() -> None:
    bench, sample = Bench(), history(segments=1)
    bench.memory.objects.update(sample.objects())
    manifest, _ = sample.manifest(sample.segments[1])
    name = build(manifest.key().twin())
    bench.memory.objects[name] = bench.memory.objects[name].replace(b'"n1"', b'"n9"')
    source = FakeSource(2, [sample], leads=False)
    bench.agent(source)
    bench.loop.run_for(60)
    assert any(name in finding for finding in source.findings)
    second = build(manifest.key()._replace(generation=2).twin())
    assert decode_manifest(bench.memory.objects[second], where=second).supersedes


def test_a_back_up_finds_a_lost_segment_object() -> None:
    bench, sample = Bench(), history(segments=1)
    bench.memory.objects.update(sample.objects())
    manifest, _ = sample.manifest(sample.segments[1])
    del bench.memory.objects[build(manifest.key())]
    source = FakeSource(2, [sample], leads=False)
    bench.agent(source)
    bench.loop.run_for(60)
    assert any("gone" in finding for finding in source.findings)
    assert len(source.announced) == 2


def test_a_member_whose_wal_differs_says_so_and_overwrites_nothing() -> None:
    bench, sample, other = Bench(), history(seed=1, segments=1), history(seed=2, segments=1)
    bench.memory.objects.update(other.objects())
    before = dict(bench.memory.objects)
    source = FakeSource(2, [sample], leads=False)
    bench.agent(source)
    bench.loop.run_for(120)
    assert any("another history" in finding for finding in source.findings)
    assert {key: data for key, data in bench.memory.objects.items() if "/log/" in key} == {
        k: v for k, v in before.items() if "/log/" in k
    } | {build(key): bench.memory.objects[build(key)] for key in bench.segment_keys() if key.last == 2}


@pytest.mark.parametrize("leads", [False, True])
def test_after_a_restart_what_the_log_has_let_go_of_is_no_trouble_unless_it_stays_so(leads: bool) -> None:
    """The log lets go of what is archived; that it was is applied again a moment after the start."""
    bench, sample = Bench(), history(segments=2)
    bench.memory.objects.update(sample.objects())

    def gone(segment: SealedSegment, raw: bytes) -> bytes:
        if segment.first == 1:
            raise Missing("records are not in the WAL", what=segment.partition, lsn=1)
        return raw

    said: list[str] = []
    source = FakeSource(2, [sample], leads=leads)
    source.raw_of = gone
    agent = bench.agent(source, log=lambda level, line: said.append(f"{level} {line}"))
    bench.loop.run_for(10)
    assert (said, agent.state().trouble, source.announced) == ([], None, [])
    source.archived_lsn[PartitionId(sample.partition)] = 2
    bench.loop.run_for(20)
    assert [last for _, _, last in source.announced] == [segment.last for segment in sample.segments[1:]]
    assert (said, agent.state().trouble) == ([], None)

    stuck = FakeSource(3, [sample], leads=leads)
    stuck.raw_of = gone
    agent = bench.agent(stuck, log=lambda level, line: said.append(f"{level} {line}"))
    bench.loop.run_for(40)
    assert [line for line in said if "not in the WAL" in line]
    assert agent.state().trouble is not None


def test_a_segment_is_read_in_pieces_between_which_others_run() -> None:
    bench, sample = Bench(), history(segments=1)
    seen: list[int] = []
    turns = [0]

    async def others() -> None:
        for _ in range(20):
            turns[0] += 1
            await bench.loop.tasks.sleep(0)

    def pieces(partition: PartitionId, first: Lsn, last: Lsn) -> Iterator[bytes]:
        raw = b"".join(whole(partition, first, last))
        if not seen:
            bench.loop.spawn(others(), name="others")
        for piece in (raw[:10], raw[10:20], raw[20:]):
            seen.append(turns[0])
            yield piece

    source = FakeSource(1, [sample], leads=True)
    whole, source.read_raw = source.read_raw, pieces  # type: ignore[method-assign]
    bench.agent(source)
    bench.loop.run_for(3)
    assert complete(bench, sample)
    assert seen[0] < seen[1] < seen[2]


def test_who_waits_for_others_reads_nothing_of_its_log_until_there_is_something_to_compare_with() -> None:
    bench, sample = Bench(), history(segments=1)
    read: list[int] = []

    def counted(segment: SealedSegment, raw: bytes) -> bytes:
        read.append(segment.last)
        return raw

    source = FakeSource(2, [sample], leads=False)
    source.raw_of = counted
    agent = bench.agent(source)
    bench.loop.run_for(agent.options.backup_after_s / 2)
    assert read == []
    bench.memory.objects.update(sample.objects())
    bench.loop.run_for(agent.options.backup_after_s / 2)
    assert read == [segment.last for segment in sample.segments], "each once"
    assert [last for _, _, last in source.announced] == read


@pytest.mark.parametrize("leads", [False, True])
def test_a_log_that_can_be_read_at_once_is_not_read_record_by_record(leads: bool) -> None:
    bench, sample = Bench(), history(segments=1)
    if not leads:
        bench.memory.objects.update(sample.objects())
    source = FakeSource(1, [sample], leads=leads)
    source.at_once = lambda first: lambda: next(sample.raw(one) for one in sample.segments if one.first == first)
    source.raw_of = lambda _segment, _raw: pytest.fail("read record by record")
    bench.agent(source)
    bench.loop.run_for(5)
    assert complete(bench, sample)
    assert len(source.announced) == len(sample.segments)


def failing(_first: int) -> Callable[[], bytes]:
    def reads() -> bytes:
        raise Corrupt("read failed", what="file")

    return reads


@pytest.mark.parametrize("reading", [lambda _first: lambda: b"of a file that was begun anew", failing], ids=["other bytes", "error"])
def test_what_is_read_at_once_and_is_not_what_was_agreed_says_nothing_of_the_log(reading: Callable[[int], Callable[[], bytes]]) -> None:
    bench, sample = Bench(), history(segments=1)
    source = FakeSource(1, [sample], leads=True)
    source.at_once = reading
    bench.agent(source)
    bench.loop.run_for(5)
    assert complete(bench, sample)
    assert (source.own_faults, source.findings) == ([], [])


def test_what_others_archived_after_an_outage_before_we_came_to_it_is_no_trouble() -> None:
    """The segments were named before, all at once; the log has let go of them meanwhile, and rightly."""
    bench, sample = Bench(retries=True), history(segments=5)
    bench.memory.objects.update(sample.objects())

    def gone(segment: SealedSegment, raw: bytes) -> bytes:
        if segment.last <= source.archived_lsn[PartitionId(sample.partition)]:
            raise Missing("records are not in the WAL", what=segment.partition, lsn=segment.first)
        return raw

    def others(partition: PartitionId, _last: int) -> None:
        source.archived_lsn[partition] = int(sample.segments[-1].last)

    said: list[str] = []
    source = FakeSource(2, [sample], leads=False, after=others)
    source.raw_of = gone
    bench.store.down = True
    agent = bench.agent(source, log=lambda level, line: said.append(f"{level} {line}"))
    bench.loop.run_for(120)
    bench.store.down = False
    bench.loop.run_for(60)
    assert len(source.announced) == 1
    assert not [line for line in said if "not in the WAL" in line]
    assert agent.state().trouble is None


def test_trouble_ends_when_another_member_archived_what_was_left() -> None:
    """Nobody writes any more: without another try of our own, the trouble of the outage would stand for ever."""
    bench, sample = Bench(), history(segments=1)
    source = FakeSource(1, [sample], leads=True)
    bench.store.down = True
    agent = bench.agent(source)
    bench.loop.run_for(60.0)  # its tries are further apart by now than the looks for forgotten partitions
    assert agent.state().trouble is not None
    source.archived_lsn[PartitionId(sample.partition)] = sample.segments[-1].last
    bench.loop.run_for(30.0)
    assert source.announced == [], "no try of its own succeeded"
    assert agent.state().trouble is None
    assert agent.state().reachable


def test_a_partition_with_nothing_to_do_does_not_end_the_trouble_of_a_store_that_is_away() -> None:
    """What no other member has agreed to yet is looked at again and again, and the store is asked nothing."""
    bench, sample, waiting = Bench(), history(segments=1), history(segments=1, partition=other_partition(1))
    waiting.segments[:] = [one._replace(agreed=(1,)) for one in waiting.segments]
    source = FakeSource(1, [sample, waiting], leads=True)
    bench.store.down = True
    agent = bench.agent(source)
    bench.loop.run_for(5.0)
    work = agent._work[PartitionId(waiting.partition)]
    work.running, agent._running = True, agent._running + 1
    bench.loop.run(agent._one(PartitionId(waiting.partition)))
    assert (agent.state().reachable, agent.state().trouble is None, agent._backoff_s > 0) == (False, False, True)
    bench.store.down = False
    bench.loop.run_for(bench.options.backoff_cap_s + 5)
    assert (agent.state().reachable, agent.state().trouble) == (True, None)


def flip(segment: SealedSegment, raw: bytes) -> bytes:
    """One bit of the payload of a record in the second segment."""
    at = len(raw) - HEADER_SIZE - 40
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :] if segment.first > 1 else raw


def test_a_rotted_wal_is_never_archived() -> None:
    bench, sample = Bench(), history(segments=1)
    source = FakeSource(1, [sample], leads=True)
    source.raw_of = flip
    agent = bench.agent(source)
    bench.loop.run_for(60)
    assert {key.last for key in bench.segment_keys()} == {2}
    assert "differ" in str(agent.status().last_error)
    good = FakeSource(2, [sample], leads=False)
    bench.agent(good)
    bench.loop.run_for(60)
    assert complete(bench, sample)


def test_without_the_check_rot_is_archived(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control."""
    from scrubjay.archiver.format.manifest import Sums
    from scrubjay.archiver.format.segment import SegmentHead, decode_head, encode_segment
    from scrubjay.archiver.write.outgoing import Outgoing

    def careless(asked: dict[str, object]) -> Outgoing:
        names = ("cluster", "table", "partition", "first", "last", "first_stamp", "last_stamp", "records", "generation")
        data = encode_segment(SegmentHead(*(asked[name] for name in names)), asked["raw"])  # type: ignore[arg-type]
        honest = Sums.of(asked["raw"])  # type: ignore[arg-type]
        return Outgoing(
            data, decode_head(data, where="careless")[0], replace(honest, sha256=asked["raw_sha256"].hex()), Sums.of(data), None
        )  # type: ignore[attr-defined]

    async def unproven(self: ArchiveAgent, segment: SealedSegment, _age_us: int) -> bytes:
        return b"".join(self._source.read_raw(segment.partition, segment.first, segment.last))

    monkeypatch.setattr(scrubjay.archiver.write.settling, "prepare", careless)
    monkeypatch.setattr(scrubjay.archiver.write.settling.Settler, "_own", unproven)
    bench, sample = Bench(), history(segments=1)
    source = FakeSource(1, [sample], leads=True)
    source.raw_of = flip
    bench.agent(source)
    bench.loop.run_for(60)
    assert {key.last for key in bench.segment_keys()} == {2, sample.lsn}


def swap_records(sample: Sample) -> None:
    """Two records change places; every sum of the segment is made to fit, only the order is wrong."""
    sample.records[3], sample.records[4] = sample.records[4], sample.records[3]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"records": 99}, "facts"),
        ({"first_stamp": Stamp(5)}, "facts"),
        ({"content": 1}, "facts"),
        ({"chain": bytes(32)}, "chain"),
        ({"raw_sha256": bytes(32)}, "differ"),
    ],
)
def test_checks_before_upload(change: dict[str, object], says: str) -> None:
    bench, sample = Bench(), history(segments=1)
    sample.segments[1] = sample.segments[1]._replace(**change)  # type: ignore[arg-type]
    agent = bench.agent(FakeSource(1, [sample], leads=True))
    bench.loop.run_for(10)
    assert {key.last for key in bench.segment_keys()} == {2}
    assert says in str(agent.status().last_error)


def test_records_of_another_partition_or_order_are_refused() -> None:
    from scrubjay.archiver.write.outgoing import prepare, request

    sample, foreign = history(segments=1), history(segments=1, partition=other_partition(1))
    segment = sample.segments[1]
    for raw in (foreign.raw(foreign.segments[1]), None):
        if raw is None:
            swap_records(sample)
            raw = sample.raw(segment)
        lied = segment._replace(raw_sha256=hashlib.sha256(raw).digest(), raw_size=len(raw))
        with pytest.raises(Corrupt):
            prepare(request(lied, sample.facts, raw, generation=1, after_stamp=0))
    fresh = history(segments=1)
    asked = request(fresh.segments[1], fresh.facts, fresh.raw(fresh.segments[1]), generation=1, after_stamp=fresh.segments[1].first_stamp)
    with pytest.raises(Corrupt):
        prepare(asked)


def test_an_announcement_without_effect_is_repeated() -> None:
    bench, sample = Bench(), history(segments=1)
    source = FakeSource(1, [sample], leads=True)
    source.auto_archived = False
    bench.agent(source)
    bench.loop.run_for(40)
    assert len(source.announced) >= 4
    assert {key.generation for key in bench.segment_keys()} == {1}
    assert not source.findings


def test_memory_is_bounded_over_many_partitions() -> None:
    bench = Bench(options=AgentOptions(parallel=2))
    samples = [history(seed=number, segments=1, partition=other_partition(number)) for number in range(20)]
    source = FakeSource(1, samples, leads=True)
    bench.store.slow_s = 0.01
    high = 0
    agent = bench.agent(source)
    for _ in range(200):
        bench.loop.run_for(0.05)
        high = max(high, agent._running)
    assert high == 2
    assert all(complete(bench, sample) for sample in samples)


IN_JOBS = AgentOptions(checked_here_bytes=0)


def test_jobs_do_the_checks_when_there_are_any() -> None:
    bench, sample = Bench(options=IN_JOBS), history(segments=2)
    jobs = LoneJobs(bench.loop, bench.memory, LoneDisk())
    bench.agent(FakeSource(1, [sample], leads=True), jobs=jobs)
    bench.loop.run_for(5)
    assert complete(bench, sample)
    assert jobs.ran == [scrubjay.archiver.write.settling.PREPARE_JOB] * 3


def test_no_job_is_begun_for_a_small_segment() -> None:
    """No worker process is started for the few records that an idle server seals."""
    sample = history(segments=2)
    sizes = sorted(segment.raw_size for segment in sample.segments)
    assert sizes[0] < sizes[-1]
    for bytes_max, begun in ((sizes[-1], 0), (sizes[-1] - 1, 1), (sizes[0] - 1, len(sizes))):
        bench = Bench(options=AgentOptions(checked_here_bytes=bytes_max))
        jobs = LoneJobs(bench.loop, bench.memory, LoneDisk())
        bench.agent(FakeSource(1, [sample], leads=True), jobs=jobs)
        bench.loop.run_for(5)
        assert complete(bench, sample)
        assert len(jobs.ran) == begun


def test_the_check_of_a_segment_gives_way_until_it_is_late() -> None:
    """What the store kept waiting is late, and is not made to wait for anybody else."""
    bench, sample = Bench(options=IN_JOBS), history(segments=2)
    jobs = LoneJobs(bench.loop, bench.memory, LoneDisk())
    bench.store.down = True
    bench.agent(FakeSource(1, [sample], leads=True), jobs=jobs)
    bench.loop.run_for(bench.options.late_after_s + 1)
    bench.store.down = False
    bench.loop.run_for(20)
    assert complete(bench, sample)
    assert set(jobs.ran[-2:]) == {scrubjay.archiver.write.settling.PREPARE_LATE_JOB}


def test_closed_objects_one_per_interval_none_without_leadership() -> None:
    bench, sample = Bench(), history(segments=1)
    source = FakeSource(1, [sample], leads=True)
    quiet = FakeSource(2, [], leads=False)
    bench.agent(source)
    bench.agent(quiet)
    bench.loop.run_for(100)
    assert not [key for key in bench.memory.objects if "/closed/" in key]
    source.points = [ClosedPoint(sample.segments[0].table, PartitionId(sample.partition), Stamp(sample.stamp), Lsn(13), Lsn(15), bytes(32))]
    before = len(bench.store.calls)
    bench.loop.run_for(10 * bench.options.closed_interval_s)
    keys = [key for key in sorted(bench.memory.objects) if "/closed/" in key]
    assert 9 <= len(keys) <= 11
    assert all(isinstance(parse(key), ClosedKey) for key in keys)
    said = decode_closed(bench.memory.objects[keys[0]], where=keys[0])
    assert said.points == tuple(source.points)
    assert said.node == "n1"
    for earlier, later in itertools.pairwise(keys):
        before_us = decode_closed(bench.memory.objects[later], where=later).before_us
        assert build(ClosedKey(CLUSTER, "n1", before_us or 0)) == earlier
    assert len(bench.store.calls) - before <= len(keys) + 4 + 2 * 4 * 2, "an idle partition costs a line in closed/ and nothing else"


@pytest.mark.parametrize("why", ["fenced", "gone", "unknown"])
def test_who_may_not_write_publishes_no_closed_object(why: str) -> None:
    """Somebody else's archive, one that is not there, or one that is not claimed yet: a closed timestamp would be believed."""
    bench, sample = Bench(), history(segments=1)
    source = FakeSource(1, [sample], leads=True)
    source.points = [ClosedPoint(sample.segments[0].table, PartitionId(sample.partition), Stamp(sample.stamp), Lsn(13), Lsn(15), bytes(32))]
    writer = Writer(CLUSTER, None if why == "unknown" else ATTACHED)
    if why == "fenced":
        writer.stop(Stopped(FENCED, "another cluster holds this identity", 0))
    elif why == "gone":
        writer.blocked = "the archive has lost this cluster's epoch object"
    agent = ArchiveAgent(bench.loop.env(), bench.store, source, writer, options=bench.options)
    agent.start()
    bench.loop.run_for(5 * bench.options.closed_interval_s)
    assert [key for key in bench.memory.objects if "/closed/" in key] == []
    assert bench.puts() == []
    agent.stop()
    if why == "gone":
        writer.blocked = ""
        bench.agent(source)
        bench.loop.run_for(2 * bench.options.closed_interval_s)
        assert [key for key in bench.memory.objects if "/closed/" in key], "the control: it has something to say"


def test_a_restarted_agent_names_the_closed_object_before_it() -> None:
    bench, sample = Bench(), history(segments=1)
    source = FakeSource(1, [sample], leads=True)
    source.points = [ClosedPoint(sample.segments[0].table, PartitionId(sample.partition), Stamp(sample.stamp), Lsn(13), Lsn(15), bytes(32))]
    first = bench.agent(source)
    bench.loop.run_for(12)
    first.stop()
    bench.loop.run_for(20_000)
    last = max(key for key in bench.memory.objects if "/closed/" in key)
    bench.agent(source)
    bench.store.lose_answers = 1
    bench.loop.run_for(30)
    keys = [key for key in sorted(bench.memory.objects) if "/closed/" in key and key > last]
    assert len(keys) >= 2
    chain = [last, *keys]
    for earlier, later in itertools.pairwise(chain):
        before_us = decode_closed(bench.memory.objects[later], where=later).before_us
        named = build(ClosedKey(CLUSTER, "n1", before_us or 0))
        assert named == earlier or named in chain, "an answer that was lost leaves one unnamed, never a name without object"


def test_drain_waits_and_says_what_is_left() -> None:
    bench, sample = Bench(), history(segments=2)
    source = FakeSource(1, [sample], leads=True)
    agent = bench.agent(source)
    assert bench.loop.run(agent.drain(30)) == 0
    bench.store.down = True
    sample.random_write()
    left = sample.seal()
    source.changed(sample.partition)
    start = bench.loop.now_us
    assert bench.loop.run(agent.drain(5)) == left.raw_size
    assert 5_000_000 <= bench.loop.now_us - start < 6_000_000
    agent.stop()


def test_unavailable_from_the_store_is_never_a_finding() -> None:
    bench, sample = Bench(), history(segments=3)

    def fault(verb: str, key: str) -> ScrubjayError | None:
        return Unavailable("503") if bench.loop.random.random() < 0.5 else None

    bench.store.fault = fault
    source = FakeSource(1, [sample], leads=True)
    bench.agent(source)
    bench.loop.run_for(900)
    assert complete(bench, sample)
    assert not source.findings


def test_a_follower_whose_log_let_go_of_what_no_segment_of_its_own_holds_any_more_waits_on() -> None:
    """Others archived it, and it lies in a pack by now: nothing is there to compare with, and nothing to upload from."""
    bench, sample = Bench(), history(segments=1)
    source = FakeSource(2, [sample], leads=False)

    def gone(segment: SealedSegment, _raw: bytes) -> bytes:
        source.archived_lsn[segment.partition] = sample.segments[-1].last  # applied while it looked
        raise Missing("records are not in the WAL", what=segment.partition, lsn=segment.first)

    source.raw_of = gone
    said: list[str] = []
    agent = bench.agent(source, log=lambda level, line: said.append(f"{level} {line}"))
    bench.loop.run_for(agent.options.backup_after_s * 2)
    assert (said, agent.state().trouble, source.announced, bench.segment_keys()) == ([], None, [], [])
    assert [key for verb, key in bench.store.calls if verb == "list" and "/log/" in key] == [], "no pack is looked for either"
