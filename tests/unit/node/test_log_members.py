"""The file that says who is a member, beside a log replica's log."""

from __future__ import annotations

import pytest

from scrubjay.base.errors import Corrupt
from scrubjay.base.ids import Lsn, Member
from scrubjay.storage.log.configuration import encode_configuration, founding
from scrubjay.storage.node.log_members import HEAD, decode_log_members, encode_log_members
from scrubjay.storage.replica.state import UNCONFIGURED, Configured
from tests.fixtures.golden import Golden

PAYLOAD = encode_configuration(founding((Member(1, 1), Member(2, 1), Member(3, 2)), logs=(3,)))
DATA = encode_log_members(Lsn(77), PAYLOAD)


@pytest.mark.parametrize(("name", "kept"), [("members", Configured(Lsn(77), PAYLOAD)), ("none", UNCONFIGURED)])
def test_golden_log_members(golden: Golden, name: str, kept: Configured) -> None:
    golden.check(f"log_members/{name}.bin", encode_log_members(*kept))
    assert decode_log_members(golden.read(f"log_members/{name}.bin")) == kept


def test_it_says_what_was_put_in() -> None:
    assert decode_log_members(DATA) == Configured(Lsn(77), PAYLOAD)
    assert decode_log_members(encode_log_members(Lsn(0), b"")) == UNCONFIGURED
    assert DATA[:6] == b"SJLM\x01\x00", "the bytes that docs/formats/log-members.md names"
    assert (len(DATA), HEAD.size) == (20 + len(PAYLOAD), 20)


@pytest.mark.parametrize("bit", range(8 * len(DATA)))
def test_no_flipped_bit_is_believed(bit: int) -> None:
    flipped = bytearray(DATA)
    flipped[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Corrupt):
        decode_log_members(bytes(flipped))


@pytest.mark.parametrize("end", range(len(DATA)))
def test_no_prefix_is_believed(end: int) -> None:
    with pytest.raises(Corrupt):
        decode_log_members(DATA[:end])


def test_a_configuration_without_its_record_and_a_record_without_one_are_refused() -> None:
    with pytest.raises(Corrupt):
        decode_log_members(encode_log_members(Lsn(0), PAYLOAD))
    with pytest.raises(Corrupt):
        decode_log_members(encode_log_members(Lsn(3), b""))
