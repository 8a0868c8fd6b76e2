"""When a segment counts as archived: two members, one of whom read the object back; what is bad is said, blocks it, and is written anew by an honest one."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from scrubjay.archiver.format.base import decode_base
from scrubjay.archiver.format.layout import BaseKey, SegmentKey, build, parse
from scrubjay.archiver.format.manifest import decode_manifest
from scrubjay.archiver.read.objects import fetch_base
from scrubjay.archiver.read.rebuild import rebuild
from scrubjay.archiver.read.replay import Cut
from scrubjay.archiver.verify.report import VerifyOptions
from scrubjay.archiver.verify.run import verify
from scrubjay.archiver.write.agent import ArchiveAgent
from scrubjay.archiver.write.agent_state import AgentOptions
from scrubjay.archiver.write.bases import upload_base
from scrubjay.archiver.write.writer import Writer
from scrubjay.base.ids import Lsn, PartitionId
from scrubjay.sim.lone import LoneDisk, LoneHost, LoneStore
from scrubjay.storage.archive_port import Attestation
from scrubjay.storage.replica.attest import KEPT_MAX, Attestations
from tests.unit.archiver.sample import ATTACHED, CLUSTER, Sample, history
from tests.unit.archiver.test_archive_agent import Bench, FakeSource

RAW, OTHER = bytes(32), bytes([1] * 32)


def attest(*said: tuple[int, int, bool], raw: bytes = RAW, last: int = 9) -> Attestations:
    """said: (node, generation, read)."""
    made = Attestations()
    for node, generation, read in said:
        made.attested(last, node, Attestation(raw, generation, read))
    return made


@pytest.mark.parametrize(
    ("said", "members"),
    [
        ([], ()),
        ([(1, 1, False)], ()),
        ([(1, 1, True)], ()),
        ([(1, 1, False), (2, 1, False)], ()),
        ([(1, 1, False), (2, 1, False), (3, 1, False)], ()),
        ([(1, 1, False), (2, 1, True)], (1, 2)),
        ([(1, 1, True), (2, 1, True)], (1, 2)),
        ([(1, 1, False), (2, 2, True)], ()),
        ([(1, 1, False), (2, 1, True), (3, 2, True)], (1, 2)),
        ([(1, 1, False), (2, 1, True), (3, 1, False)], (1, 2, 3)),
        ([(1, 1, False), (1, 1, True)], ()),
    ],
)
def test_two_members_one_of_whom_read_it_back(said: list[tuple[int, int, bool]], members: tuple[int, ...]) -> None:
    assert attest(*said).archived(9, RAW) == members


def test_what_was_read_once_need_not_be_read_again_but_another_generation_must() -> None:
    assert attest((1, 1, True), (1, 1, False), (2, 1, False)).archived(9, RAW) == (1, 2)
    assert attest((1, 1, True), (1, 2, False), (2, 2, False)).archived(9, RAW) == ()


def test_words_about_other_records_do_not_count() -> None:
    made = attest((1, 1, False), (2, 1, True), raw=OTHER)
    assert made.archived(9, RAW) == ()
    assert made.archived(8, OTHER) == ()


def test_a_refuted_generation_never_counts_whatever_was_said_of_it() -> None:
    made = attest((1, 1, False), (2, 1, True))
    assert made.refuted(9, 1, "cut short")
    assert not made.refuted(9, 1, "again")
    assert made.archived(9, RAW) == ()
    assert made.bad(9) == {1: "cut short"}
    made.attested(9, 3, Attestation(RAW, 1, True))
    assert made.archived(9, RAW) == ()
    made.attested(9, 1, Attestation(RAW, 2, False))
    made.attested(9, 3, Attestation(RAW, 2, True))
    assert made.archived(9, RAW) == (1, 3)


def test_a_refutation_is_forgotten_with_its_segment() -> None:
    """Once the segment is archived nothing about it is kept: neither words for it nor against it, and no others go with it."""
    made = attest((1, 1, True))
    for last in (9, 19):
        made.refuted(last, 1, "cut short")
    made.forget(9)
    assert made.bad(9) == {}
    assert made.lasts() == [19]
    assert made.bad(19) == {1: "cut short"}
    assert made.refuted(9, 1, "said anew"), "it is news again"


def test_forgotten_refutations_give_their_place_up() -> None:
    made = Attestations()
    for last in range(1, KEPT_MAX + 1):
        assert made.refuted(last, 1, "bad")
    assert not made.refuted(KEPT_MAX + 1, 1, "bad")
    made.forget(1)
    assert made.refuted(KEPT_MAX + 1, 1, "bad")
    assert made.bad(KEPT_MAX + 1) == {1: "bad"}


@pytest.mark.slow
def test_what_is_kept_is_bounded() -> None:
    made = Attestations()
    for last in range(1, KEPT_MAX + 10):
        made.attested(last, 1, Attestation(RAW, 1, True))
        made.refuted(last, 1, "bad")
    assert len(made.lasts()) == KEPT_MAX
    assert made.bad(KEPT_MAX + 5) == {}
    made.forget(1)
    made.attested(KEPT_MAX + 5, 1, Attestation(RAW, 1, True))
    assert KEPT_MAX + 5 in made.lasts()


# --- three agents over one store that spoils what was put ---


class Group:
    """Three members' sources that hear each other, as nodes do: ARCHIVED is applied everywhere once it counts."""

    def __init__(self, bench: Bench, sample: Sample, *, leads: int = 1) -> None:
        self.partition = PartitionId(sample.partition)
        self.attestations = Attestations()
        self.members: dict[int, tuple[int, ...]] = {}
        self.sources = [GroupSource(self, number, sample, leads=number == leads) for number in (1, 2, 3)]
        self.agents = [bench.agent(source) for source in self.sources]

    def archived(self, last: int) -> None:
        for source in self.sources:
            source.archived_lsn[self.partition] = max(source.archived_lsn[self.partition], last)


class GroupSource(FakeSource):
    def __init__(self, group: Group, number: int, sample: Sample, *, leads: bool) -> None:
        super().__init__(number, [sample], leads=leads)
        self.group = group
        self.auto_archived = False
        self.wrote: int = 0

    def announce(self, partition: PartitionId, first: Lsn, last: Lsn, said: Attestation) -> None:
        super().announce(partition, first, last, said)
        self.group.attestations.attested(last, self.number, said)
        members = self.group.attestations.archived(last, said.raw_sha256)
        if members:
            self.group.members.setdefault(last, members)
            self.group.archived(last)

    def refute(self, partition: PartitionId, last: Lsn, *, generation: int, object: str, kind: str, reason: str) -> None:  # noqa: A002
        super().refute(partition, last, generation=generation, object=object, kind=kind, reason=reason)
        if self.group.attestations.refuted(last, generation, reason):
            for source in self.group.sources:
                source.changed(partition)

    def refuted(self, partition: PartitionId, last: Lsn) -> dict[int, str]:
        return self.group.attestations.bad(last)


Spoil = Callable[[dict[str, bytes], str], None]


def flipped(objects: dict[str, bytes], key: str) -> None:
    data = bytearray(objects[key])
    data[len(data) // 2] ^= 1
    objects[key] = bytes(data)


def truncated(objects: dict[str, bytes], key: str) -> None:
    objects[key] = objects[key][:-7]


def emptied(objects: dict[str, bytes], key: str) -> None:
    objects[key] = b""


def deleted(objects: dict[str, bytes], key: str) -> None:
    del objects[key]


def replaced(objects: dict[str, bytes], key: str) -> None:
    """By another valid object of the same kind: another segment of the same partition, or its manifest."""
    objects[key] = next(data for name, data in sorted(objects.items()) if name != key and name.endswith(key[-4:]) and "/log/" in name)


SPOILS: list[Spoil] = [flipped, truncated, emptied, deleted, replaced]


@pytest.mark.parametrize("leader_stays", [True, False], ids=["leader alive", "leader dies after its upload"])
@pytest.mark.parametrize("ending", [".seg", ".json"])
@pytest.mark.parametrize("spoil", SPOILS, ids=lambda one: one.__name__)
def test_a_spoilt_upload_is_never_archived_and_written_anew(spoil: Spoil, ending: str, leader_stays: bool) -> None:
    bench, sample = Bench(options=AgentOptions(compare_after_s=0.7)), history(segments=2)
    target = build(sample.manifest(sample.segments[1])[0].key())
    target = target if ending == ".seg" else target.replace(".seg", ".json")
    put, spoilt = bench.memory.put, [False]

    async def spoiling(key: str, data: bytes) -> None:
        await put(key, data)
        if not spoilt[0] and target in bench.memory.objects and target.replace(".seg", ".json") in bench.memory.objects:
            spoilt[0] = True
            spoil(bench.memory.objects, target)
            if not leader_stays:
                group.agents[0].stop()
                group.sources[0].leading = False
                group.sources[1].leading = True

    bench.memory.put = spoiling  # type: ignore[method-assign]
    group = Group(bench, sample)
    for source in group.sources:
        source.changed(sample.partition)
    bench.loop.run_for(90)
    assert spoilt[0]
    assert set(group.members) == {segment.last for segment in sample.segments}
    for last, members in group.members.items():
        assert len(members) >= 2
        assert any(
            said.read for source in group.sources for (_, _, at), said in zip(source.announced, source.said, strict=True) if at == last
        )
    findings = [finding for source in group.sources for finding in source.findings]
    # What is simply gone again may be put again under its own name; whatever else lies there is evidence.
    anew = spoil is deleted and (ending == ".json" or not leader_stays)
    if not anew:
        assert any(target in finding or target.replace(".json", ".seg") in finding for finding in findings), findings
    assert not any(source.own_faults for source in group.sources), "nobody honest is accused"
    # What counts as archived is whole: an independent reader proves it, and the bad object stays as evidence.
    report = bench.loop.run(
        verify(bench.memory, LoneDisk(), options=VerifyOptions(level="replayed", cluster=CLUSTER), now_us=bench.loop.boot_us, work="w")
    )
    assert {finding.object for finding in report.findings if finding.kind == "hole" and "/log/" in str(finding.object)} <= {target}
    keys = [key for key in map(parse, bench.memory.objects) if isinstance(key, SegmentKey) and key.first == sample.segments[1].first]
    if not anew:
        assert {key.generation for key in keys if key.manifest} >= {2}
        best = build(next(key for key in keys if key.manifest and key.generation == 2))
        assert [old.generation for old in decode_manifest(bench.memory.objects[best], where=best).supersedes] == [1]


def test_a_member_whose_own_log_rotted_accuses_nobody_and_attests_nothing() -> None:
    bench, sample = Bench(), history(segments=2)
    group = Group(bench, sample)
    rng = random.Random(3)

    def rot(segment: object, raw: bytes) -> bytes:
        at = rng.randrange(len(raw))
        return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]

    group.sources[2].raw_of = rot
    group.agents[1].stop()
    for source in group.sources:
        source.changed(sample.partition)
    bench.loop.run_for(30)
    assert group.members == {}, "one honest member alone is not enough"
    assert not any(source.findings for source in group.sources)
    assert group.sources[2].own_faults
    assert group.sources[2].announced == []


def test_a_slip_on_the_way_is_read_again_and_not_called_rot() -> None:
    bench, sample = Bench(), history(segments=2)
    slipped: dict[str, None] = {}

    def flip(key: str, data: bytes) -> bytes:
        if key.endswith(".seg") and key not in slipped:
            slipped[key] = None
            return data[:-1] + bytes([data[-1] ^ 1])
        return data

    bench.store.flip = flip
    group = Group(bench, sample)
    for source in group.sources:
        source.changed(sample.partition)
    bench.loop.run_for(60)
    assert set(group.members) == {segment.last for segment in sample.segments}
    assert not any(source.findings for source in group.sources)
    assert {key.generation for key in bench.segment_keys()} == {1}
    assert len(slipped) == len(sample.segments)


def test_a_member_alone_archives_nothing_however_often_it_says_so() -> None:
    bench, sample = Bench(), history(segments=1)
    group = Group(bench, sample)
    for agent in group.agents[1:]:
        agent.stop()
    bench.loop.run_for(120)
    assert group.members == {}
    assert len(bench.segment_keys()) == 2 * len(sample.segments)


# --- bases ---


def upload(store: LoneStore, disk: LoneDisk, loop: LoneHost, sample: Sample, writer: object = ATTACHED) -> str:
    facts = sample.facts
    done = loop.run(rebuild(store, disk, base=None, segments=sample.manifests(), cut=Cut(), output="rows", work="w"))
    made = loop.run(
        upload_base(
            store, disk, "rows", writer=writer, table=sample.table, partition=sample.partition, table_name=facts.table_name,  # type: ignore[arg-type]
            schema=facts.schema, lo=facts.lo, hi=facts.hi, lsn=done.applied, stamp=done.stamp, chain=done.chain, total=done.total,
        )
    )  # fmt: skip
    return build(made.key())


@pytest.mark.parametrize("part", [0, None], ids=["rows", "manifest"])
@pytest.mark.parametrize("spoil", [flipped, truncated, emptied, deleted], ids=lambda one: one.__name__)
def test_a_base_is_read_back_before_it_counts(spoil: Spoil, part: int | None) -> None:
    loop, store, disk, sample = LoneHost(), LoneStore(), LoneDisk(), history(segments=2)
    store.objects.update(sample.objects())
    put, spoilt = store.put, [False]

    async def spoiling(key: str, data: bytes) -> None:
        await put(key, data)
        parsed = parse(key)
        if not spoilt[0] and isinstance(parsed, BaseKey) and parsed.part == part:
            spoilt[0] = True
            spoil(store.objects, key)

    store.put = spoiling  # type: ignore[method-assign]
    where = upload(store, disk, loop, sample)
    assert spoilt[0]
    manifest = decode_base(store.objects[where], where=where)
    assert manifest.generation == 2
    assert manifest.supersedes[0].generation == 1
    loop.run(fetch_base(store, manifest, disk, "back"))


def test_a_base_that_an_earlier_term_wrote_is_found_and_kept() -> None:
    from scrubjay.archiver.format.identity import Attached

    loop, store, disk, sample = LoneHost(), LoneStore(), LoneDisk(), history(segments=2)
    store.objects.update(sample.objects())
    first = upload(store, disk, loop, sample)
    before = dict(store.objects)
    assert upload(store, disk, loop, sample, Attached(CLUSTER, 9, "99999999-9999-4999-8999-999999999999")) == first
    assert store.objects == before


def test_nothing_is_written_without_a_claim() -> None:
    bench, sample = Bench(), history(segments=1)
    source = FakeSource(1, [sample], leads=True)
    agent = ArchiveAgent(bench.loop.env(), bench.store, source, Writer(CLUSTER))
    agent.start()
    before = dict(bench.memory.objects)
    bench.loop.run_for(100)
    assert bench.memory.objects == before
    assert agent.state().stopped == "unknown_epoch"
