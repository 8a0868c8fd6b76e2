"""Round trips of every archive format and key, and refusal of every damaged one."""

from __future__ import annotations

import dataclasses
import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scrubjay.archiver.format import canonical
from scrubjay.archiver.format.base import BaseManifest, BaseOrigin, decode_base, encode_base
from scrubjay.archiver.format.closed import ClosedObject, decode_closed, encode_closed
from scrubjay.archiver.format.keyfilter import key_filter
from scrubjay.archiver.format.layout import BaseKey, ClosedKey, EpochKey, IdentityKey, Key, SegmentKey, build, parse, time_text
from scrubjay.archiver.format.manifest import SegmentManifest, Sums, Superseded, decode_manifest, encode_manifest
from scrubjay.archiver.format.segment import FRAME_RAW_BYTES, SegmentHead, decode_segment, encode_segment
from scrubjay.base.errors import Corrupt, Invalid
from scrubjay.base.ids import Lsn, PartitionId, Stamp, TableId
from scrubjay.storage.archive_port import ClosedPoint
from scrubjay.storage.log.digest import Total

u64 = st.integers(0, (1 << 64) - 1)
lsns = st.integers(1, (1 << 64) - 1)
uuids = st.uuids().map(str)
sha16 = st.binary(min_size=8, max_size=8).map(bytes.hex)
sha256 = st.binary(min_size=32, max_size=32)
generations = st.integers(1, 999_999_999)
nodes = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
times = st.integers(0, 4_000_000_000_000_000)
ranges = st.tuples(lsns, lsns).map(lambda pair: (min(pair), max(pair)))

keys: st.SearchStrategy[Key] = st.one_of(
    st.builds(IdentityKey, uuids),
    st.builds(EpochKey, uuids, u64),
    st.builds(
        lambda c, t, p, r, g, s, m: SegmentKey(c, t, p, r[0], r[1], g, s, m), uuids, uuids, uuids, ranges, generations, sha16, st.booleans()
    ),
    st.builds(BaseKey, uuids, uuids, uuids, u64, generations, sha16, st.one_of(st.none(), st.integers(0, 999_999))),
    st.builds(ClosedKey, uuids, nodes, times),
)


@given(keys)
def test_keys_round_trip(key: Key) -> None:
    assert parse(build(key)) == key


@given(
    st.one_of(
        st.text(max_size=80),
        keys.map(build).flatmap(lambda text: st.integers(0, len(text) - 1).map(lambda at: text[:at] + "x" + text[at + 1 :])),
    )
)
def test_what_parses_is_built_the_same(text: str) -> None:
    key = parse(text)
    assert key is None or build(key) == text


@given(st.tuples(ranges, ranges), uuids, sha16)
def test_listing_order_is_lsn_order(two: tuple[tuple[int, int], tuple[int, int]], cluster: str, sha: str) -> None:
    first, second = (build(SegmentKey(cluster, cluster, cluster, *one, 1, sha, False)) for one in two)
    assert (first < second) == (two[0] < two[1])


@given(st.tuples(times, times))
def test_closed_order_is_time_order(two: tuple[int, int]) -> None:
    assert (time_text(two[0]) < time_text(two[1])) == (two[0] < two[1])


@pytest.mark.parametrize(
    "key",
    [
        SegmentKey("x", "y", "z", 1, 2, 1, "ab", False),
        ClosedKey("0c1a5e00-0000-4000-8000-000000000001", "../up", 5),
        EpochKey("0C1A5E00-0000-4000-8000-000000000001", 1),
        SegmentKey(*["0c1a5e00-0000-4000-8000-000000000001"] * 3, 5, 4, 1, "0" * 16, False),
        SegmentKey(*["0c1a5e00-0000-4000-8000-000000000001"] * 3, 0, 4, 1, "0" * 16, False),
    ],
)
def test_parts_that_make_no_key_are_refused(key: Key) -> None:
    with pytest.raises(Invalid):
        build(key)


heads = st.builds(
    lambda c, t, p, first, count, stamp, g: SegmentHead(c, t, p, first, first + count - 1, stamp, stamp + count, count, g),
    uuids, uuids, uuids, st.integers(1, 1 << 60), st.integers(1, 1 << 31), st.integers(1, 1 << 60), st.integers(1, 1 << 31),
)  # fmt: skip


@given(heads, st.binary(min_size=1, max_size=400), st.sampled_from([1, 2, FRAME_RAW_BYTES // 150, FRAME_RAW_BYTES // 80]))
@settings(max_examples=60, deadline=None)
def test_segments_round_trip(head: SegmentHead, seed: bytes, times_: int) -> None:
    raw = seed * times_
    found = decode_segment(encode_segment(head, raw), where="k")
    assert (found.head, found.raw) == (head, raw)


@given(heads, st.binary(min_size=1, max_size=400), st.randoms(use_true_random=False))
@settings(max_examples=80, deadline=None)
def test_damaged_segments_are_corrupt(head: SegmentHead, raw: bytes, rng: random.Random) -> None:
    data = encode_segment(head, raw)
    at = rng.randrange(len(data))
    for bad in (
        data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :],
        data[:at],
        data + b"\0",
        data[at:],
        data[:at] + data[at + 1 :],
    ):
        if bad != data:
            with pytest.raises(Corrupt):
                decode_segment(bad, where="k")


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), u64, st.text(max_size=10)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=10,
)


@given(
    st.dictionaries(st.text(max_size=6).filter(lambda name: name not in ("checksum", "mac", "format", "version")), json_values, max_size=5)
)
def test_canonical_json_round_trips(fields: dict[str, object]) -> None:
    whole = {**fields, "format": "f", "version": 1}
    data = canonical.encode(whole)
    assert canonical.decode(data, where="k", format="f", version=1) == whole
    data.decode("ascii")


@given(st.binary(max_size=60))
@example(b"[" * 100_000)
@example(b'{"checksum":1}')
@example(b'{"checksum":"sha256:x","format":NaN}\n')
@example(b"{}\n")
def test_no_other_bytes_are_canonical(data: bytes) -> None:
    with pytest.raises(Corrupt):
        canonical.decode(data, where="k", format="f", version=1)


sums = st.builds(lambda size, crc, sha: Sums(size, f"{crc:08x}", sha.hex()), st.integers(1, 1 << 40), st.integers(0, (1 << 32) - 1), sha256)
totals = st.builds(Total, st.integers(0, (1 << 128) - 1), u64)
olds = st.lists(st.builds(Superseded, generations, st.text(max_size=20)), max_size=2).map(tuple)


@st.composite
def manifests(draw: st.DrawFn) -> SegmentManifest:
    first = draw(st.integers(1, 1 << 60))
    records = draw(st.integers(1, 1000))
    stamp = draw(st.integers(1, 1 << 62))
    made = SegmentManifest(
        cluster=draw(uuids), table=draw(uuids), partition=draw(uuids), table_name=draw(st.text(max_size=20)), schema=draw(st.text(max_size=20)),
        lo=draw(st.sampled_from(("", "00" * 16, "8f" * 16))), hi="", first=first, last=first + records - 1, first_stamp=stamp, last_stamp=stamp + records - 1,
        content=draw(st.integers(0, records)), generation=draw(generations), raw=draw(sums), stored=draw(sums), before=draw(totals), total=draw(totals),
        members=tuple(sorted(draw(st.sets(st.integers(1, 9), min_size=2, max_size=3)))), chain_before=draw(sha256), chain=b"", closed=draw(st.integers(0, stamp)),
        reason=draw(st.integers(0, 6)), tag=draw(st.binary(min_size=16, max_size=16)), node=draw(nodes), epoch=draw(st.integers(1, 1 << 40)), owner=draw(uuids), supersedes=draw(olds),
        keys=draw(st.none() | st.sets(st.binary(min_size=1, max_size=9), max_size=9).map(key_filter)),
    )  # fmt: skip
    # Only an earlier generation can be superseded.
    made = dataclasses.replace(made, supersedes=tuple(old for old in made.supersedes if old.generation < made.generation))
    return dataclasses.replace(made, chain=made.expected_chain())


@given(manifests(), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_manifests_round_trip_and_refuse_damage(manifest: SegmentManifest, rng: random.Random) -> None:
    where = build(manifest.key().twin())
    data = encode_manifest(manifest)
    assert decode_manifest(data, where=where) == manifest
    at = rng.randrange(len(data))
    for bad in (data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :], data[:at], data + b"\n", b" " + data):
        with pytest.raises(Corrupt):
            decode_manifest(bad, where=where)
    with pytest.raises(Corrupt):
        decode_manifest(data, where=where.replace(".json", ".seg"))
    with pytest.raises(Corrupt):
        decode_manifest(encode_manifest(dataclasses.replace(manifest, first_stamp=manifest.first_stamp ^ 1, chain=bytes(32))), where=where)


@given(
    uuids,
    uuids,
    uuids,
    st.lists(sums, min_size=1, max_size=4),
    totals,
    u64,
    u64,
    sha256,
    generations,
    st.booleans(),
    st.randoms(use_true_random=False),
)
@settings(max_examples=40, deadline=None)
def test_base_manifests_round_trip_and_refuse_damage(
    cluster: str, table: str, partition: str, parts: list[Sums], total: Total, lsn: int, stamp: int, chain: bytes, generation: int, restored: bool,
    rng: random.Random,
) -> None:  # fmt: skip
    whole = Sums(sum(part.size for part in parts), "00000000", chain.hex())
    made = BaseManifest(
        cluster=cluster, table=table, partition=partition, table_name="t", schema="{}", lo="", hi="", lsn=lsn, stamp=stamp, chain=chain, total=total,
        file=whole, parts=tuple(parts), generation=generation, epoch=7, owner=cluster, origin=BaseOrigin(cluster, table, (partition,), 5) if restored else None,
    )  # fmt: skip
    where = build(made.key())
    data = encode_base(made)
    assert decode_base(data, where=where) == made
    at = rng.randrange(len(data))
    with pytest.raises(Corrupt):
        decode_base(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], where=where)
    with pytest.raises(Corrupt):
        decode_base(encode_base(dataclasses.replace(made, parts=(*parts, parts[0]))), where=where)


points = st.lists(
    st.builds(
        lambda t, p, c, lc, ls, ch, a: ClosedPoint(TableId(t), PartitionId(p), Stamp(c), Lsn(lc), Lsn(ls), ch, Lsn(a)),
        uuids,
        uuids,
        u64,
        u64,
        u64,
        sha256,
        u64,
    ),
    max_size=5,
)


@given(uuids, nodes, times, points, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_closed_objects_round_trip_and_refuse_damage(
    cluster: str, node: str, time_us: int, some: list[ClosedPoint], rng: random.Random
) -> None:
    made = ClosedObject(cluster, node, time_us, 3, cluster, tuple(some), rng.choice((None, time_us // 2)) if time_us else None)
    data = encode_closed(made)
    assert decode_closed(data, where=made.key()) == made
    at = rng.randrange(len(data))
    with pytest.raises(Corrupt):
        decode_closed(data[:at] + bytes([data[at] ^ 2]) + data[at + 1 :], where=made.key())
