"""Sealed objects: what any change of the bytes, of the name or of the keys leads to; and names that carry a keyed hash."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrubjay.base.errors import Corrupt, Invalid, NoKey
from scrubjay.base.sealed import HEADER, MAGIC, OVERHEAD, Key, Keyring, is_sealed, kept_name, ring_of, seal, stem_of, true_name, unseal
from tests.docs.format_tables import assert_layout, find_table
from tests.fixtures.golden import Golden

OLD, NEW = Key("2025", b"o" * 32), Key("2026", b"n" * 32)
RING = Keyring((NEW, OLD))
NAME = "c/t=1/p=2/log/0000000000000001-0000000000000009.1.0123456789abcdef.seg"


def counted(length: int) -> bytes:
    return bytes(range(length))


def opened(data: bytes, *, ring: Keyring | None = RING, name: str = NAME) -> bytes:
    return unseal(ring, name, data, where=name)


def read(data: bytes) -> bytes:
    """As a store with keys does."""
    if not is_sealed(data, where=NAME):
        raise AssertionError("taken for a plain object")
    return opened(data)


@given(st.binary(max_size=3000), st.text("abc/=.-0", min_size=1, max_size=40))
def test_what_is_sealed_comes_back_longer_by_what_is_said(data: bytes, name: str) -> None:
    sealed = seal(RING, name, data, random=counted)
    assert len(sealed) == len(data) + OVERHEAD
    assert is_sealed(sealed, where=name)
    assert opened(sealed, name=name) == data


def test_every_single_bit_that_flips_is_rot_and_nothing_else() -> None:
    """Not a lost key, not a plain object, not other data: whatever it hits, header, ids and magic included."""
    sealed = seal(RING, NAME, b"forty bytes of content, as they lie there", random=counted)
    for at in range(len(sealed)):
        for bit in range(8):
            flipped = bytearray(sealed)
            flipped[at] ^= 1 << bit
            with pytest.raises(Corrupt) as caught:
                read(bytes(flipped))
            assert caught.value.kind == "unreadable"


def test_every_cut_is_rot() -> None:
    sealed = seal(RING, NAME, b"content", random=counted)
    for length in range(len(MAGIC), len(sealed)):
        with pytest.raises(Corrupt):
            opened(sealed[:length])


def test_an_object_lies_under_its_own_name_alone() -> None:
    one, other = (seal(RING, name, b"content", random=counted) for name in (NAME, NAME.replace(".1.", ".2.")))
    assert opened(one) == b"content"
    with pytest.raises(Corrupt):
        opened(other)


def test_two_seals_of_one_content_have_nothing_in_common() -> None:
    draws = iter([b"a" * 32, b"a" * 12, b"b" * 32, b"b" * 12])
    one, other = (seal(RING, NAME, bytes(1000), random=lambda _: next(draws)) for _ in range(2))
    assert one[HEADER.size :] != other[HEADER.size :]
    assert opened(one) == opened(other)


def test_an_old_key_reads_and_the_first_one_writes() -> None:
    before = Keyring((OLD,))
    sealed = seal(before, NAME, b"content", random=counted)
    assert opened(sealed) == b"content"
    assert opened(sealed, ring=before) == b"content"
    with pytest.raises(NoKey) as caught:
        opened(seal(RING, NAME, b"content", random=counted), ring=before)
    assert caught.value.fields["key_id"] == "2026"


@pytest.mark.parametrize(
    ("ring", "key_id", "said"),
    [
        (None, "2025", "is encrypted under key 2025, which is not configured"),
        (Keyring((NEW,)), "2025", "is encrypted under key 2025, which is not configured"),
        (Keyring((NEW, Key("2025", b"x" * 32))), "2025", "another key 2025"),
        (Keyring((OLD, NEW)), "2025", "names are made with key 2025, and 2026 is the last"),
    ],
)
def test_a_key_that_is_lost_or_another_one_is_told_by_its_id(ring: Keyring | None, key_id: str, said: str) -> None:
    sealed = seal(Keyring((OLD,)), NAME, b"content", random=counted)
    with pytest.raises(NoKey, match=said) as caught:
        opened(sealed, ring=ring)
    assert caught.value.fields["key_id"] == key_id


def test_the_right_key_that_does_not_open_the_data_key_is_rot_too() -> None:
    """The header is sound in itself, and the wrapped key in it is another object's."""
    sealed = seal(RING, NAME, b"content", random=counted)
    other = seal(RING, NAME, b"content", random=lambda length: b"z" * length)
    wrapped_at = 96
    assert sealed[:wrapped_at] == other[:wrapped_at]
    mixed = other[: HEADER.size] + sealed[HEADER.size :]
    with pytest.raises(Corrupt):
        opened(mixed)


def test_keys_go_to_workers_whole_and_are_never_shown() -> None:
    assert ring_of(RING.as_text()) == RING
    assert b"n" * 32 not in repr(RING).encode()
    assert NEW.secret.hex() not in repr(RING)


@pytest.mark.parametrize("bad", [("", 32), ("-a", 32), ("a b", 32), ("a" * 33, 32), ("a", 31), ("a", 33), ("a", 0)])
def test_what_is_no_key(bad: tuple[str, int]) -> None:
    with pytest.raises(Invalid):
        Key(bad[0], bytes(bad[1]))


def test_an_id_stands_for_one_key() -> None:
    for keys in ((), (OLD, Key("2025", b"x" * 32)), tuple(Key(str(number), bytes(32)) for number in range(17))):
        with pytest.raises(Invalid):
            Keyring(keys)


HEX = st.text("0123456789abcdef", min_size=16, max_size=16)


@given(HEX, HEX, st.sampled_from([".seg", ".json", "/manifest.json", "/rows-000001"]), st.integers(1, 999_999_999))
def test_names_are_permuted_by_key_and_stem(one: str, other: str, end: str, generation: int) -> None:
    stem = f"c/t=1/p=2/log/0000000000000001-0000000000000009.{generation}."
    kept = kept_name(RING, stem + one + end)
    assert true_name(RING, kept) == stem + one + end
    assert (kept.startswith(stem), kept.endswith(end), len(kept)) == (True, True, len(stem + one + end))
    assert (kept_name(RING, stem + other + end) == kept) == (one == other)
    assert kept_name(Keyring((OLD, NEW)), stem + one + end) != kept
    assert kept_name(Keyring((Key("2027", b"m" * 32), NEW, OLD)), stem + one + end) == kept
    assert kept_name(RING, "other" + stem + one + end).removeprefix("other") != kept


def test_names_without_a_hash_stay() -> None:
    for name in (
        "c/identity",
        "c/epoch/0000000000000001",
        "c/closed/n1/20260101T000000.000000Z.json",
        "c/t=1/p=2/expired/0000000000000001.1.json",
        "probe/x/0001",
    ):
        assert (kept_name(RING, name), stem_of(name)) == (name, None)


def test_golden_and_field_table(golden: Golden) -> None:
    """Sealing has no freedom but what is drawn: the same draws give the same bytes."""
    data = seal(RING, NAME, b"what lies in the archive", random=counted)
    golden.check("sealed/object", data)
    golden.check("sealed/name.txt", kept_name(RING, NAME).encode() + b"\n")
    assert opened(golden.read("sealed/object")) == b"what lies in the archive"
    assert_layout(find_table("docs/formats/encrypted.md", "Header"), HEADER)
