"""The key filter of a segment: a key that is in the records is never said to be absent, whatever the keys and however many; what is not in them is said to be possible as often as stated."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrubjay.archiver.format import keyfilter
from scrubjay.archiver.format.fields import Fields
from scrubjay.archiver.format.keyfilter import BYTES_MAX, KeyFilter, key_filter
from scrubjay.archiver.format.records import check_records
from scrubjay.base.errors import Corrupt
from scrubjay.storage.log.record import Effect, Op, RecordKind
from tests.unit.archiver.sample import Sample

keys = st.sets(st.binary(min_size=1, max_size=40), max_size=60)


def read(fields: object) -> KeyFilter:
    return KeyFilter.read(Fields(fields, what="manifest", where="k"))


@pytest.mark.slow
@given(keys)
def test_no_key_of_the_records_is_ever_said_to_be_absent(some: set[bytes]) -> None:
    made = key_filter(some)
    assert made is not None
    assert made.count == len(some)
    assert all(made.may_hold(key) for key in some)
    assert read(made.fields()) == made
    assert key_filter(sorted(some, reverse=True)) == made  # it follows from the set alone


@pytest.mark.parametrize("count", [0, 1, 7, 900, 26_214, 60_000, 131_072])
def test_strange_keys_are_possible_as_often_as_stated(count: int) -> None:
    """Also where the filter is full. The keys are fixed, so the counts are; the bounds are five standard deviations wide all the same."""
    made = key_filter({b"%d" % number for number in range(count)})
    assert made is not None
    assert len(made.bits) <= BYTES_MAX
    tries = 20_000
    wrong = sum(made.may_hold(b"x%d" % number) for number in range(tries))
    expected = made.false_positives * tries
    if count >= 900:
        assert abs(wrong - expected) <= 5 * expected**0.5 + 0.1 * expected
    assert wrong <= (0.012 if count <= 26_214 else 0.41) * tries
    assert made.false_positives < (0.0095 if count <= 26_214 else 0.4)
    assert all(made.may_hold(b"%d" % number) for number in range(count))


def test_of_too_many_keys_there_is_none() -> None:
    assert key_filter({b"%d" % number for number in range(131_073)}) is None


def test_it_is_the_same_for_ever() -> None:
    """Written into manifests: another hash, or another order of bits, would call every archived filter a lie."""
    made = key_filter({b"a", b"b", b"some longer key"})
    assert made is not None
    assert made.fields() == {"count": 3, "hashes": 5, "bits": "AAAQgABAAJAAABAAAAAAAAACCACAACBACAAAAAACCAA="}


@given(st.integers(0, 300), st.integers(0, 9), st.binary(max_size=8))
def test_what_is_no_filter_is_refused(count: int, hashes: int, bits: bytes) -> None:
    made = key_filter({b"a", b"b", b"c"})
    assert made is not None
    fields = {**made.fields(), "count": count, "hashes": hashes}
    if not 1 <= count <= 25 or not 1 <= hashes <= keyfilter.HASHES_MAX:
        with pytest.raises(Corrupt):
            read(fields)
    for bad in ({**made.fields(), "bits": bits.hex() + "!"}, {**made.fields(), "more": 1}, {"count": 3, "hashes": 5}, []):
        with pytest.raises(Corrupt):
            read(bad)


@given(st.integers(0, 1 << 32))
def test_the_records_of_a_segment_give_all_their_keys(seed: int) -> None:
    """Of writes and deletes, one to a record and several."""
    rng = random.Random(seed)
    sample = Sample(seed=seed)
    sample.append(RecordKind.SCHEMA, b"{}")
    wanted = set()
    for _ in range(rng.randrange(12)):
        some = [bytes([rng.randrange(256)]) * 16 + rng.randbytes(rng.randrange(1, 300)) for _ in range(rng.choice((1, 1, 2, 3)))]
        sample.write([Effect(rng.choice((Op.PUT, Op.DELETE)), key, rng.randbytes(rng.randrange(1, 50))) for key in some])
        wanted |= set(some)
    segment = sample.seal()
    found = check_records(sample.raw(segment), partition=sample.partition, first=segment.first, last=segment.last, where="k")
    assert found.keys == wanted
    assert found.filter() == key_filter(wanted)
