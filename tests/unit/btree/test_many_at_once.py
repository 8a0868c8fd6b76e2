"""What is done to many rows at once, without a call for each, is what the functions for one row do."""

from __future__ import annotations

import random

import pytest

from scrubjay.base.checksum import row_hash, row_hashes
from scrubjay.base.errors import Corrupt
from scrubjay.base.ids import Lsn, Stamp
from scrubjay.storage.btree.engine import Row
from scrubjay.storage.btree.row import checked_hashes, decode_value, encode_value, encode_values
from scrubjay.storage.log.digest import RANGES, RangeDigest

RNG = random.Random(7)
ROWS = [
    Row(RNG.randbytes(16 + RNG.randrange(40)), Lsn(RNG.randrange(1 << 60)), Stamp(RNG.randrange(1 << 60)), RNG.randbytes(RNG.randrange(90)))
    for _ in range(50)
]


def test_rows_are_hashed_and_encoded_as_one_by_one() -> None:
    assert row_hashes(ROWS) == [row_hash(row.key, row.item) for row in ROWS]
    assert encode_values(ROWS) == [(row.key, encode_value(*row)) for row in ROWS]
    assert row_hashes([]) == encode_values([]) == []


def test_the_hash_of_a_value_is_that_of_its_row_and_none_of_a_damaged_one() -> None:
    values = encode_values(ROWS)
    assert checked_hashes(values) == row_hashes(ROWS)
    key, value = values[3]
    bad = [(key, value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :]) for at in range(len(value))]
    bad += [(key, value[:length]) for length in range(len(value))] + [(key + b"\0", value), (key[:-1], value), (values[4][0], value)]
    for one in bad:
        with pytest.raises(Corrupt):
            decode_value(*one)
    assert checked_hashes([*bad, (key, value)]) == [0] * len(bad) + [row_hash(key, ROWS[3].item)]


@pytest.mark.parametrize(
    ("lo", "hi"), [(bytes(16), None), (b"\x10" + bytes(15), b"\x10" + bytes(12) + b"\x07\x03\x01"), (bytes(16), b"\x80" + bytes(15))]
)
def test_rising_rows_are_added_to_a_digest_as_one_by_one(lo: bytes, hi: bytes | None) -> None:
    one, many = RangeDigest(lo, hi), RangeDigest(lo, hi)
    bounds = [one.bounds(index)[0] for index in range(RANGES)]
    below = [(int.from_bytes(bound, "big") - 1).to_bytes(16, "big") for bound in bounds[1:]]
    keys = sorted({*bounds, *below, *(bound + b"\0" for bound in bounds), *(key + b"\xff\xff" for key in below)})
    hashes = [RNG.randrange(1 << 128) for _ in keys]
    for key, hash_ in zip(keys, hashes, strict=True):
        one.add(key, hash_)
    at = len(keys) // 3
    many.add_rising(keys[:at], hashes[:at])
    many.add_rising(keys[at:], hashes[at:])
    many.add_rising([], [])
    assert many.encode() == one.encode()
    assert all(one.holds(key) for key in keys)
    outside = [] if hi is None else [hi, hi + b"\0"]
    for key in outside + ([] if lo == bytes(16) else [(int.from_bytes(lo, "big") - 1).to_bytes(16, "big")]):
        assert not one.holds(key)
        with pytest.raises(Corrupt):
            many.add_rising([key], [1])
