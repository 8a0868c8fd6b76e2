"""Guards of the agent and the placer, each with the one situation in which nothing else would notice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from scrubjay.archiver.format.layout import build
from scrubjay.archiver.format.manifest import SegmentManifest, encode_manifest
from scrubjay.archiver.write.agent import ArchiveAgent
from scrubjay.archiver.write.agent_state import AgentOptions
from scrubjay.archiver.write.outgoing import Outgoing, prepare, request
from scrubjay.archiver.write.placing import GENERATIONS_MAX, Own, Placer
from scrubjay.archiver.write.publishing import ClosedPublisher
from scrubjay.archiver.write.settling import _Own
from scrubjay.archiver.write.writer import Writer
from scrubjay.base.errors import Corrupt
from scrubjay.base.ids import Lsn, PartitionId, Stamp
from scrubjay.sim.lone import LoneHost, LoneStore
from scrubjay.storage.archive_port import ClosedPoint, SealedSegment
from scrubjay.storage.log import chain as chains
from scrubjay.storage.log.digest import Total
from tests.unit.archiver.sample import ATTACHED, CLUSTER, Sample, history
from tests.unit.archiver.test_archive_agent import Bench, FakeSource


def placer(loop: LoneHost, store: LoneStore) -> Placer:
    return Placer(store, loop.env(), writer=Writer(CLUSTER, ATTACHED), node="n2")


def forged(manifest: SegmentManifest, **facts: Any) -> SegmentManifest:
    """Consistent with itself: the chain value follows from what it says."""
    made = replace(manifest, **facts)
    return replace(made, chain=made.expected_chain())


def owned(raw: bytes | None) -> Own:
    async def own() -> bytes | None:
        return raw

    return own


def test_who_has_no_log_to_compare_with_calls_nothing_bad() -> None:
    loop, store, sample = LoneHost(), LoneStore(), history(segments=1)
    segment = sample.segments[1]
    manifest, _ = sample.manifest(segment)
    store.objects[build(manifest.key().twin())] = b"no manifest"
    mine = placer(loop, store)
    assert loop.run(mine.compare(segment, owned(None), refuted={})) == (None, ())
    _, bad = loop.run(mine.compare(segment, owned(sample.raw(segment)), refuted={}))
    assert [one.kind for one in bad] == ["unreadable"]


def test_records_that_are_not_the_ones_in_our_log_are_no_match() -> None:
    """The object and its manifest are whole; only the comparison with the log's own bytes tells."""
    loop, store, sample = LoneHost(), LoneStore(), history(segments=1)
    store.objects.update(sample.objects())
    segment = sample.segments[1]
    raw = sample.raw(segment)
    mine = placer(loop, store)
    assert loop.run(mine.compare(segment, owned(raw), refuted={})) == (1, ())
    other = raw[:-1] + bytes([raw[-1] ^ 1])
    generation, bad = loop.run(mine.compare(segment, owned(other), refuted={}))
    assert generation is None
    assert [(one.generation, one.kind) for one in bad] == [(1, "different")]


FACTS: dict[str, Any] = {
    "closed": 1 << 62,
    "schema": "{}",
    "lo": "ff" * 16,
    "table_name": "other",
    "total": Total(7, 7),
    "before": Total(7, 7),
    "first_stamp": 1,
    "content": 0,
    "reason": 3,
    "chain_before": bytes([1] * 32),
}


@pytest.mark.parametrize("fact", FACTS)
def test_a_manifest_that_says_something_else_than_the_seal_is_no_match_and_not_built_upon(fact: str) -> None:
    loop, store, sample = LoneHost(), LoneStore(), history(segments=1)
    store.objects.update(sample.objects())
    segment = sample.segments[1]
    manifest, _ = sample.manifest(segment)
    name = build(manifest.key().twin())
    store.objects[name] = encode_manifest(forged(manifest, **{fact: FACTS[fact]}))
    generation, bad = loop.run(placer(loop, store).compare(segment, owned(sample.raw(segment)), refuted={}))
    assert (generation, [(one.object, one.kind) for one in bad]) == (None, [(name, "forged")])
    # Whoever places the segment finds the same and writes the next generation.
    bench = Bench()
    bench.memory.objects.update(store.objects)
    source = FakeSource(1, [sample], leads=True)
    source.archived_lsn[PartitionId(sample.partition)] = sample.segments[0].last
    bench.agent(source)
    bench.loop.run_for(5)
    assert [said.generation for said in source.said] == [2]
    assert any(name in finding and "forged" in finding for finding in source.findings)


def test_an_agent_does_not_archive_a_segment_whose_chain_does_not_go_on() -> None:
    bench, sample = Bench(), history(segments=3)
    at = 2
    segment = sample.segments[at]
    link = chains.Link(
        place=sample.facts.place(), first=segment.first, last=segment.last, first_stamp=segment.first_stamp, last_stamp=segment.last_stamp,
        content=segment.content, raw_size=segment.raw_size, raw_sha256=segment.raw_sha256, before=segment.before, total=segment.total,
        closed=segment.seal.closed, reason=segment.seal.reason, tag=segment.seal.tag,
    )  # fmt: skip
    before = bytes([9] * 32)
    broken: SealedSegment = segment._replace(chain_before=before, chain=chains.next_chain(before, link))
    sample.segments[at] = broken
    source = FakeSource(1, [sample], leads=True)
    agent = bench.agent(source)
    bench.loop.run_for(60)
    assert {key.last for key in bench.segment_keys()} == {one.last for one in sample.segments[:at]}
    assert "chain does not continue" in str(agent.status().last_error)


def test_a_first_segment_whose_chain_does_not_start_at_the_start_is_not_archived() -> None:
    bench, sample = Bench(), history(segments=1)
    sample.segments[0] = sample.segments[0]._replace(chain_before=bytes([1] * 32))
    agent = bench.agent(FakeSource(1, [sample], leads=True))
    bench.loop.run_for(30)
    assert not bench.segment_keys()
    assert "does not start at the start" in str(agent.status().last_error)


def test_a_rival_of_an_earlier_epoch_is_reported_and_lost_one_of_ours_or_a_later_one_stops_the_segment() -> None:
    for epoch, goes_on in ((1, True), (2, False), (3, False)):
        bench, sample, other = Bench(), history(seed=1, segments=1), history(seed=2, segments=1)
        for segment in other.segments[1:]:
            manifest, data = other.manifest(segment)
            manifest = replace(manifest, epoch=epoch)
            bench.memory.objects[build(manifest.key())] = data
            bench.memory.objects[build(manifest.key().twin())] = encode_manifest(manifest)
        source = FakeSource(1, [sample], leads=True)
        writer = Writer(CLUSTER, replace(ATTACHED, epoch=2))
        writer.met[sample.partition] = None  # it was compared before the other branch came
        source.archived_lsn[PartitionId(sample.partition)] = sample.segments[0].last
        agent = ArchiveAgent(bench.loop.env(), bench.store, source, writer)
        agent.start()
        bench.loop.run_for(20)
        assert any("another history" in finding for finding in source.findings)
        assert bool(source.announced) == goes_on, epoch
        assert (agent.state().trouble is None) == goes_on


def test_a_store_that_spoils_everything_is_given_up_within_bounds_and_that_is_seen() -> None:
    bench, sample = Bench(), history(segments=1)
    put = bench.memory.put

    async def rotting(key: str, data: bytes) -> None:
        await put(key, data)
        if key.endswith(".seg"):
            bench.memory.objects[key] = data[:-1]

    bench.memory.put = rotting  # type: ignore[method-assign]
    lines: list[tuple[str, str]] = []
    source = FakeSource(2, [sample], leads=False)
    source.auto_archived = False
    agent = ArchiveAgent(
        bench.loop.env(), bench.store, source, Writer(CLUSTER, ATTACHED), log=lambda level, line: lines.append((level, line)),
        options=AgentOptions(backup_after_s=0.0),
    )  # fmt: skip
    agent.start()
    bench.loop.run_for(600)
    assert not any(said.read for said in source.said), "it only ever wrote"
    assert len({key.generation for key in bench.segment_keys() if key.first == 1}) <= GENERATIONS_MAX
    state = agent.state()
    assert state.trouble is not None
    assert state.queue[0].trouble is not None
    assert [level for level, line in lines if "cannot archive" in line] == ["warning"], "said once, not at every try"


def test_trouble_is_a_value_with_its_beginning_and_one_line_each_way() -> None:
    bench, sample = Bench(), history(segments=2)
    lines: list[str] = []
    source = FakeSource(1, [sample], leads=True)
    agent = ArchiveAgent(bench.loop.env(), bench.store, source, Writer(CLUSTER, ATTACHED), log=lambda _level, line: lines.append(line))
    assert agent.state().trouble is None
    bench.store.down = True
    began = bench.loop.wall_us()
    agent.start()
    bench.loop.run_for(120)
    state = agent.state()
    assert not state.reachable
    assert state.trouble is not None
    assert "down" in state.trouble.error
    assert began <= state.trouble.since_us <= began + 5_000_000, "since when, not when last"
    assert state.lag_us > 0
    assert [(one.partition, one.segments) for one in state.queue] == [(sample.partition, 3)]
    assert state.unarchived_bytes == sum(one.bytes for one in state.queue) == sum(one.raw_size for one in sample.segments)
    bench.store.down = False
    bench.loop.run_for(60)
    state = agent.state()
    assert (state.reachable, state.trouble, state.queue) == (True, None, ())
    assert len(lines) == 2
    assert "cannot archive" in lines[0]
    assert "goes on" in lines[1]


def point(sample: Sample, closed_us: int) -> ClosedPoint:
    return ClosedPoint(
        sample.segments[0].table, PartitionId(sample.partition), Stamp(closed_us << 12), Lsn(1), Lsn(2), sample.segments[0].chain
    )


def test_closed_timestamps_ahead_of_the_clock_are_kept_back() -> None:
    loop, store, sample = LoneHost(), LoneStore(), history(segments=1)
    source = FakeSource(1, [sample], leads=True)
    told: list[Any] = []
    publisher = ClosedPublisher(loop.env(), store, source, Writer(CLUSTER, ATTACHED), max_offset_us=500_000, told=told.append)
    source.points = [point(sample, loop.now_us + 600_000_000)]
    assert loop.run(publisher.publish()) is False
    source.points = [point(sample, loop.now_us + 400_000), point(sample, loop.now_us + 600_000)]
    assert loop.run(publisher.publish()) is True
    assert [len(made.points) for made in told] == [1]


def test_two_that_publish_at_once_come_one_after_the_other_and_what_was_said_is_known() -> None:
    """The last words of a stop and the interval's own: in one microsecond both would want one name, and the one that says more might be the one dropped."""
    loop, store, sample = LoneHost(), LoneStore(), history(segments=1)
    source = FakeSource(1, [sample], leads=True)
    told: list[Any] = []
    publisher = ClosedPublisher(loop.env(), store, source, Writer(CLUSTER, ATTACHED), max_offset_us=500_000, told=told.append)
    source.points = [point(sample, loop.now_us)]
    put = store.put

    async def slow(key: str, data: bytes) -> None:
        await loop.tasks.sleep(0.1)
        await put(key, data)

    store.put = slow  # type: ignore[method-assign]
    both = [loop.tasks.spawn(publisher.publish(), name=f"publish {number}") for number in range(2)]
    loop.run_for(1)
    assert [task.result() for task in both] == [True, True]
    first, second = told
    assert (first.before_us, second.before_us) == (None, first.time_us)
    assert len(store.objects) == 2
    assert publisher.said == {PartitionId(sample.partition): 1}


def test_a_seal_whose_facts_are_not_those_of_its_record_never_leaves() -> None:
    sample = history(segments=1)
    segment, raw = sample.segments[1], sample.raw(sample.segments[1])
    prepare(request(segment, sample.facts, raw, generation=1, after_stamp=0))
    lies: list[SealedSegment] = [
        segment._replace(seal=replace(segment.seal, closed=Stamp(segment.seal.closed + 1))),
        segment._replace(seal=replace(segment.seal, reason=segment.seal.reason + 1)),
        segment._replace(seal=replace(segment.seal, tag=bytes([1] * 16))),
        segment._replace(content=segment.content - 1),
        segment._replace(first_stamp=Stamp(segment.first_stamp + 1)),
        segment._replace(before=Total(1, 1)),
        segment._replace(total=Total(1, 1)),
    ]
    for lie in lies:
        with pytest.raises(Corrupt):
            prepare(request(lie, sample.facts, raw, generation=1, after_stamp=0))
    with pytest.raises(Corrupt):
        prepare(request(segment, sample.facts._replace(schema="other"), raw, generation=1, after_stamp=0))


def test_what_was_there_already_was_read_back_and_what_was_only_written_was_not() -> None:
    loop, store, sample = LoneHost(), LoneStore(), history(segments=1)
    segment, mine = sample.segments[1], placer(loop, store)

    async def checked(generation: int) -> Outgoing:
        return prepare(request(segment, sample.facts, sample.raw(segment), generation=generation, after_stamp=0))

    first = loop.run(mine.place(segment, sample.facts, checked, refuted={}))
    again = loop.run(mine.place(segment, sample.facts, checked, refuted={}))
    assert [(placed.generation, placed.read) for placed in (first, again)] == [(1, False), (1, True)]
    del store.objects[build(mine.key(segment, 1).twin())]
    assert loop.run(mine.place(segment, sample.facts, checked, refuted={})).read is False, "its manifest was only written"
    assert loop.run(mine.place(segment, sample.facts, checked, refuted={1: "cut short"})).generation == 2


@pytest.mark.parametrize("raw", [b"records", None], ids=["there", "let go"])
def test_a_log_of_ones_own_is_read_once_for_a_segment(raw: bytes | None) -> None:
    """Each generation that is looked at asks for it, a bad one twice: a log that was let go of is not asked again either."""
    loop, asked = LoneHost(), list[None]()

    async def read() -> bytes | None:
        asked.append(None)
        return raw

    own = _Own(read)
    assert [loop.run(own.raw()) for _ in range(3)] == [raw] * 3
    assert (len(asked), own.let_go) == (1, raw is None)
