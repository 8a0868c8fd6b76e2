"""Statements about segments: who agrees, who is outvoted, and what survives a restart."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from scrubjay.base.errors import Corrupt
from scrubjay.base.ids import Lsn, PartitionId, Stamp
from scrubjay.storage.archive_port import ToArchive
from scrubjay.storage.log import record as records
from scrubjay.storage.log.digest import RangeDigest, Total
from scrubjay.storage.log.record import Archived, Record, RecordKind, Seal
from scrubjay.storage.log.split import Born
from scrubjay.storage.replica.segments import STEP_BYTES, OwnSegment, RawHash, SegmentFacts, SegmentTracker, Statement, needs_seal

OWNER = b"partit-1"


def tracker(me: int = 1) -> SegmentTracker:
    return SegmentTracker(place=bytes(32), me=me, facts=SegmentFacts())


def feed(track: SegmentTracker, count: int = 3, *, at: int = 1) -> Record:
    for lsn in range(at, at + count):
        track.applied(records.encode(owner=OWNER, lsn=lsn, stamp=lsn * 10, kind=RecordKind.DATA, payload=b""), 1000 + lsn)
    seal = Seal(Lsn(at), Stamp(5), Seal.AGE, bytes(16))
    record = records.encode(owner=OWNER, lsn=at + count, stamp=(at + count) * 10, kind=RecordKind.SEAL, payload=records.encode_seal(seal))
    track.applied(record, 2000)
    return record


def test_two_equal_statements_agree_and_a_third_that_differs_is_outvoted() -> None:
    one, two, three = tracker(1), tracker(2), tracker(3)
    good, bad = hashlib.sha256(b"good").digest(), hashlib.sha256(b"bad").digest()
    owns = []
    for track, raw in ((one, good), (two, good), (three, bad)):
        record = feed(track)
        owns.append(track.sealed(record, records.decode_seal(record), raw_sha256=raw, total=Total(9, 3)))
    assert one.agreed(owns[0]) == ((1,), False)
    one.heard(2, owns[1].statement)
    assert one.agreed(owns[0]) == ((1, 2), False)
    three.heard(1, owns[0].statement)
    assert three.agreed(owns[2]) == ((3,), False)  # one against one is no vote
    three.heard(2, owns[1].statement)
    assert three.agreed(owns[2]) == ((3,), True)
    one.heard(3, owns[2].statement)
    one.heard(4, owns[2].statement)
    assert one.agreed(owns[0]) == ((1, 2), False)  # two against two outvote nobody


def test_a_different_digest_under_equal_bytes_is_a_difference() -> None:
    one, two = tracker(1), tracker(2)
    raw = hashlib.sha256(b"same").digest()
    record = feed(one)
    own = one.sealed(record, records.decode_seal(record), raw_sha256=raw, total=Total(1, 1))
    record = feed(two)
    other = two.sealed(record, records.decode_seal(record), raw_sha256=raw, total=Total(2, 1))
    one.heard(2, other.statement)
    assert one.agreed(own) == ((1,), False)


def test_the_chain_links_segments_and_survives_a_dump() -> None:
    track = tracker()
    record = feed(track)
    first = track.sealed(record, records.decode_seal(record), raw_sha256=bytes(32), total=Total(1, 1))
    facts = msgspec.msgpack.decode(msgspec.msgpack.encode(track.facts), type=SegmentFacts)
    again = SegmentTracker(place=bytes(32), me=1, facts=facts)
    record = feed(again, at=5)
    second = again.sealed(record, records.decode_seal(record), raw_sha256=bytes(32), total=Total(1, 1))
    assert second.chain_before == first.statement.chain != second.statement.chain
    assert [own.statement.last for own in again.facts.sealed] == [4, 8]


def test_a_seal_that_does_not_continue_is_refused() -> None:
    track = tracker()
    feed(track)
    stray = records.encode(
        owner=OWNER, lsn=9, stamp=99, kind=RecordKind.SEAL, payload=records.encode_seal(Seal(Lsn(2), Stamp(0), 0, bytes(16)))
    )
    with pytest.raises(Corrupt):
        track.sealed(stray, records.decode_seal(stray), raw_sha256=bytes(32), total=Total(0, 0))


def test_archived_moves_the_mark_and_counts_attestations_once() -> None:
    track = tracker()
    record = feed(track)
    track.sealed(record, records.decode_seal(record), raw_sha256=bytes(32), total=Total(1, 1))
    track.heard(2, Statement(1, 4, bytes(32), bytes(16), 1, bytes(32)))
    assert track.waiting.bytes > 0
    track.on_archived(Archived(Lsn(1), Lsn(4), bytes(32), (1, 2)))
    assert (track.facts.archived, track.facts.sealed, track.facts.counts) == (4, [], [0, 1, 0])
    track.on_archived(Archived(Lsn(1), Lsn(4), bytes(32), (1, 2, 3)))
    assert track.facts.counts == [0, 0, 1]
    assert track.waiting == ToArchive(0, 0, 0)


def test_bookkeeping_alone_never_opens_the_timer() -> None:
    track = tracker()
    track.applied(records.encode(owner=OWNER, lsn=1, stamp=1, kind=RecordKind.NOOP, payload=b""), 0)
    assert needs_seal(track.facts, opened_at_us=track.opened_at_us, now_us=10**12, size_bytes=1 << 20, age_us=1) is None
    track.applied(records.encode(owner=OWNER, lsn=2, stamp=2, kind=RecordKind.DATA, payload=b""), 100)
    assert needs_seal(track.facts, opened_at_us=track.opened_at_us, now_us=100, size_bytes=1 << 20, age_us=1) is None
    assert needs_seal(track.facts, opened_at_us=track.opened_at_us, now_us=101, size_bytes=1 << 20, age_us=1) == Seal.AGE
    assert needs_seal(track.facts, opened_at_us=track.opened_at_us, now_us=100, size_bytes=64, age_us=1) == Seal.SIZE


def test_range_digest_bounds_tile_the_partition() -> None:
    for lo, hi in (("00" * 16, None), ("00" * 16, "55" * 16), ("aa" * 16, "aa" * 15 + "ff")):
        digest = RangeDigest(bytes.fromhex(lo), bytes.fromhex(hi) if hi else None)
        edges = [digest.bounds(index) for index in range(256)]
        assert edges[0][0] == bytes.fromhex(lo)
        for index in range(255):
            assert edges[index][1] == edges[index + 1][0]
            start = edges[index][0]
            if start != edges[index][1]:
                assert digest.range_of(start) == index
        assert edges[255][1] == (bytes.fromhex(hi) if hi else None)


def log_tracker(facts: SegmentFacts | None = None) -> SegmentTracker:
    return SegmentTracker(place=bytes(32), me=3, facts=facts or SegmentFacts(), digests=False)


RAW = hashlib.sha256(b"the bytes").digest()


def cut(track: SegmentTracker, *, at: int = 1, raw: bytes = RAW, total: Total | None = None) -> Statement:
    """Feed a segment; what this member states of it."""
    record = feed(track, at=at)
    return track.word(track.sealed(record, records.decode_seal(record), raw_sha256=raw, total=total))


def test_a_log_replica_states_bytes_alone_and_learns_the_rest_from_two_that_agree() -> None:
    one, two, log = tracker(1), tracker(2), log_tracker()
    said = [cut(one, total=Total(9, 3)), cut(two, total=Total(9, 3))]
    word = cut(log)
    assert (word.raw_sha256, word.sum, word.chain) == (RAW, b"", b"")
    log.heard(1, said[0])
    assert not log.facts.sealed[0].known, "one member's digest is nobody's"
    log.heard(2, said[1])
    learned = log.facts.sealed[0]
    assert learned.known
    assert learned == one.facts.sealed[0]
    assert log.agreed(learned) == ((1, 2, 3), False)
    assert log.word(learned) == word, "what it learned it does not state"
    # the next segment goes on from there
    said = [cut(one, at=5, total=Total(8, 2)), cut(two, at=5, total=Total(8, 2))]
    cut(log, at=5)
    for number, one_said in enumerate(said, 1):
        log.heard(number, one_said)
    assert log.facts.sealed[1] == one.facts.sealed[1]


def test_the_word_of_a_log_replica_neither_confirms_nor_contradicts_a_digest() -> None:
    one, log = tracker(1), log_tracker()
    cut(one, total=Total(9, 3))
    word = cut(log)
    for node in (3, 4):
        one.heard(node, word)
    assert one.agreed(one.facts.sealed[0]) == ((1,), False)
    other = cut(log_tracker(), raw=hashlib.sha256(b"other bytes").digest())
    for node in (3, 4):
        one.heard(node, other)
    assert one.agreed(one.facts.sealed[0]) == ((1,), True), "two logs that are equal and differ from this one's do"


def test_a_log_replica_takes_no_chain_that_does_not_follow_from_its_bytes() -> None:
    one, log = tracker(1), log_tracker()
    said = cut(one, total=Total(9, 3))
    cut(log)
    forged = msgspec.structs.replace(said, chain=bytes(32))
    for node in (1, 2):
        log.heard(node, forged)
    assert not log.facts.sealed[0].known


@pytest.mark.parametrize("told", [True, False], ids=["as it was", "something else"])
def test_of_a_child_a_log_replica_knows_what_the_first_segment_goes_on_from(told: bool) -> None:
    """As the log's first record says, if what two members state of the segment's end follows from it."""
    chain, total = hashlib.sha256(b"the parent's").digest(), Total(7, 2)
    begins = {"first": 5, "archived": 4, "chain": chain, "sum": total.sum.to_bytes(16, "little"), "rows": total.rows}
    one, two = [SegmentTracker(place=bytes(32), me=me, facts=SegmentFacts(**begins)) for me in (1, 2)]
    log = log_tracker(SegmentFacts(first=5, archived=4, chain=b"", sum=b""))
    log.born = Born(PartitionId("p"), Lsn(4), Stamp(1), chain, total if told else Total(8, 2))
    said = [cut(track, at=5, total=Total(9, 3)) for track in (one, two)]
    cut(log, at=5)
    for node, word in enumerate(said, 1):
        log.heard(node, word)
    assert log.facts.sealed[0].known is told
    assert (log.facts.sealed[0] == one.facts.sealed[0]) is told
    assert log.facts.sealed[0].statement == one.facts.sealed[0].statement, "what two agree on it takes either way"
    log.check_invariants()


def test_a_log_that_begins_inside_a_segment_goes_on_behind_it() -> None:
    one, two = tracker(1), tracker(2)
    for track in (one, two):
        cut(track, total=Total(9, 3))
    log = log_tracker(SegmentFacts(first=3, archived=2, chain=b"", sum=b""))
    seal = Seal(Lsn(1), Stamp(5), Seal.AGE, bytes(16))
    log.passed(records.encode(owner=OWNER, lsn=4, stamp=40, kind=RecordKind.SEAL, payload=records.encode_seal(seal)), seal)
    assert (log.facts.first, log.facts.archived, log.facts.sealed) == (5, 4, [])
    for at, total in ((5, Total(8, 2)), (9, Total(7, 1))):
        cut(log, at=at)
        for number, track in enumerate((one, two), 1):
            log.heard(number, cut(track, at=at, total=total))
    assert [own.known for own in log.facts.sealed] == [False, True], "what lies in front of the first is not known"
    assert log.facts.sealed[1] == one.facts.sealed[2]


class Counted(list[OwnSegment]):
    """visits: how often one of them was looked at."""

    visits = 0

    def __iter__(self) -> Iterator[OwnSegment]:
        for one in super().__iter__():
            self.visits += 1
            yield one

    def __getitem__(self, at: Any) -> Any:
        self.visits += 1
        return super().__getitem__(at)


def test_what_waits_is_counted_as_it_comes_is_learned_and_goes() -> None:
    one, two, log = tracker(1), tracker(2), log_tracker()
    for number in range(5):
        at = 1 + 4 * number
        said = [cut(one, at=at, total=Total(number, 3)), cut(two, at=at, total=Total(number, 3))]
        cut(log, at=at)
        for node, statement in enumerate(said, 1):
            log.heard(node, statement)
            for each in (one, two, log):
                each.check_invariants()
        assert one.waiting == log.waiting == ToArchive(number + 1, one.sealed_bytes, 10)
    for each in (one, log):
        each.on_archived(Archived(Lsn(9), Lsn(12), RAW, (1, 2)))
        each.check_invariants()
        assert (each.waiting.segments, each.waiting.oldest) == (2, 130)
        again = SegmentTracker(place=bytes(32), me=1, facts=each.facts)
        assert again.waiting == each.waiting, "a restart counts them anew"


@pytest.mark.parametrize("digests", [True, False])
def test_an_outage_of_a_thousand_segments_costs_a_look_no_more_than_one_of_ten(digests: bool) -> None:
    """Each segment that is added, stated or looked at visits a few of those that wait, not all of them: else an hour without the store costs its square."""
    spent: dict[int, int] = {}
    for count in (10, 1_000):
        one, two, track = tracker(1), tracker(2), tracker(3) if digests else log_tracker()
        track.facts.sealed = Counted()
        for number in range(count):
            at = 1 + 4 * number
            said = [cut(one, at=at, total=Total(7, 3)), cut(two, at=at, total=Total(7, 3))]
            cut(track, at=at, total=Total(7, 3) if digests else None)
            for node, statement in enumerate(said, 1):
                track.heard(node, statement)
            assert len(track.news()) >= 1
            assert track.waiting.segments == number + 1
        spent[count] = track.facts.sealed.visits // count
    assert spent[10] > 0
    assert spent[1_000] <= 4 * spent[10]


class Log:
    """Of a WAL what is read back. read_bytes: by the last call that read. rotten: LSNs that cannot be read."""

    def __init__(self, count: int, size: int) -> None:
        self.records = [
            records.encode(owner=OWNER, lsn=lsn, stamp=lsn, kind=RecordKind.DATA, payload=bytes(size)) for lsn in range(1, count + 1)
        ]
        self.read_bytes = 0
        self.rotten: set[int] = set()

    def reread(self, _partition: str, first: int, end: int) -> None:
        self.read_bytes = 0
        if self.rotten & set(range(first, end)):
            raise Corrupt("rot", what="wal", lsn=first)

    def read(self, _partition: str, first: int, end: int, *, max_bytes: int) -> list[Record]:
        found: list[Record] = []
        for one in self.records[first - 1 : end - 1]:
            found.append(one)
            if sum(len(each.data) for each in found) >= max_bytes:
                break
        self.read_bytes += sum(len(each.data) for each in found)
        return found

    def sha256(self, first: int, last: int) -> bytes:
        return hashlib.sha256(b"".join(one.data for one in self.records[first - 1 : last])).digest()


def grow(back: RawHash, log: Any, first: int, last: int) -> int:
    """The most that was read at once."""
    most = 0
    for one in log.records[first - 1 : last]:
        log.read_bytes = 0
        back.grown(log, PartitionId("p"), first=first, last=one.lsn, size=len(one.data))
        most = max(most, log.read_bytes)
    return most


def test_a_segment_is_read_back_in_steps_while_it_grows_and_not_all_of_it_at_its_seal() -> None:
    log: Any = Log(400, 20_000)
    back = RawHash()
    most = grow(back, log, 1, 300)
    log.read_bytes = 0
    assert back.sha256(log, PartitionId("p"), Lsn(1), Lsn(301)) == log.sha256(1, 301)
    assert 0 < max(most, log.read_bytes) < 2 * STEP_BYTES
    grow(back, log, 302, 390)
    assert back.sha256(log, PartitionId("p"), Lsn(302), Lsn(391)) == log.sha256(302, 391), "the next one begins anew"
    assert RawHash().sha256(log, PartitionId("p"), Lsn(302), Lsn(391)) == log.sha256(302, 391), "after a restart all of it is read"


def test_rot_that_a_step_meets_is_told_at_the_seal_and_once_it_is_mended_the_hash_is_right() -> None:
    log: Any = Log(200, 20_000)
    back = RawHash()
    log.rotten = {60}
    grow(back, log, 1, 150)
    with pytest.raises(Corrupt):
        back.sha256(log, PartitionId("p"), Lsn(1), Lsn(151))
    log.rotten = set()
    assert back.sha256(log, PartitionId("p"), Lsn(1), Lsn(151)) == log.sha256(1, 151)
