"""Log records: round trips, and every way in which bytes can be wrong is refused, never misread."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrubjay.base.checksum import crc32c_masked, crc32c_raw
from scrubjay.base.errors import Corrupt
from scrubjay.base.ids import Lsn, Stamp
from scrubjay.storage.log import record as records
from scrubjay.storage.log.record import Archived, Effect, Op, RecordKind, Seal
from scrubjay.storage.wal.salvage import salvage

OWNER = b"partit-1"
EFFECTS = st.lists(
    st.builds(Effect, st.sampled_from(Op), st.binary(min_size=1, max_size=40), st.binary(max_size=80), st.none() | st.binary(max_size=80)),
    max_size=5,
)


@given(EFFECTS, st.integers(1, 2**63), st.integers(0, 2**63))
def test_data_round_trip(effects: list[Effect], lsn: int, stamp: int) -> None:
    record = records.encode(
        owner=OWNER, lsn=lsn, stamp=stamp, kind=RecordKind.DATA, payload=records.encode_effects(effects), count=len(effects)
    )
    back = records.decode(record.data, owner=OWNER)
    assert back == record
    assert records.effects(back) == effects
    assert back.effective == back.stamp


def test_every_flipped_bit_is_found() -> None:
    record = records.encode(
        owner=OWNER, lsn=7, stamp=9, kind=RecordKind.DATA, payload=records.encode_effects([Effect(Op.PUT, b"k", b"v")]), count=1
    )
    for bit in range(len(record.data) * 8):
        bad = bytearray(record.data)
        bad[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Corrupt):
            records.decode(bytes(bad), owner=OWNER)


def test_zero_bytes_are_no_record() -> None:
    with pytest.raises(Corrupt):
        records.decode(bytes(4096))


def test_a_record_of_another_partition_is_refused() -> None:
    record = records.encode(owner=b"someoneX", lsn=1, stamp=1, kind=RecordKind.NOOP, payload=b"")
    with pytest.raises(Corrupt, match="another partition"):
        records.decode(record.data, owner=OWNER)


def test_a_cut_concatenation_is_refused() -> None:
    parts = [records.encode(owner=OWNER, lsn=lsn, stamp=lsn, kind=RecordKind.NOOP, payload=b"") for lsn in (1, 2, 3)]
    whole = b"".join(part.data for part in parts)
    assert list(records.decode_all(whole, owner=OWNER)) == parts
    with pytest.raises(Corrupt):
        list(records.decode_all(whole[:-1], owner=OWNER))


def test_seal_and_archived_round_trip() -> None:
    seal = Seal(Lsn(3), Stamp(77), Seal.SCRUB, bytes(range(16)))
    record = records.encode(owner=OWNER, lsn=9, stamp=80, kind=RecordKind.SEAL, payload=records.encode_seal(seal))
    assert records.decode_seal(record) == seal
    archived = Archived(Lsn(3), Lsn(9), bytes(range(32)), (1, 2, 3))
    record = records.encode(owner=OWNER, lsn=10, stamp=81, kind=RecordKind.ARCHIVED, payload=records.encode_archived(archived))
    assert records.decode_archived(record) == archived


def test_a_seal_that_starts_after_itself_is_refused() -> None:
    record = records.encode(
        owner=OWNER, lsn=2, stamp=2, kind=RecordKind.SEAL, payload=records.encode_seal(Seal(Lsn(3), Stamp(0), 0, bytes(16)))
    )
    with pytest.raises(Corrupt):
        records.decode_seal(record)


def _later(lsn: int, *, version: int = 1, kind: int = 16, flags: int = 0) -> bytes:
    """A whole record as another version may write it."""
    head = records.HEADER.pack(records.HEADER_SIZE, 0, version, kind, flags, 0, OWNER, lsn, 5, 5)
    return head[:4] + crc32c_masked(head[8:], crc32c_raw(head[:4])).to_bytes(4, "little") + head[8:]


@pytest.mark.parametrize(("fields", "named"), [({"kind": 8}, "kind 8"), ({"version": 2}, "version 2"), ({"flags": 1}, "flags 0x1")])
def test_what_a_later_version_wrote_is_carried_and_never_read(fields: dict[str, int], named: str) -> None:
    data = _later(3, **fields)
    with pytest.raises(Corrupt, match="version, kind or flag unknown"):
        records.decode(data, owner=OWNER)
    with pytest.raises(Corrupt):
        list(records.decode_all(data, owner=OWNER))
    (record,) = records.decode_all(data, owner=OWNER, opaque=True)
    assert (record.lsn, record.stamp, record.kind, record.data) == (3, 5, RecordKind.UNKNOWN, data)
    assert named in records.named(record)
    with pytest.raises(Corrupt, match="another partition"):
        records.decode(data, owner=b"someoneX", opaque=True)
    with pytest.raises(Corrupt, match="checksum"):
        records.decode(data[:30] + b"?" + data[31:], owner=OWNER, opaque=True)


def test_beside_a_damaged_record_one_of_a_later_version_is_none() -> None:
    parts = [_later(1), _later(2, kind=200), _later(3), _later(4, flags=2)]
    spoilt = b"".join([*parts[:2], parts[2][:40] + b"?" + parts[2][41:], parts[3]])
    found = [record and int(record.lsn) for _, record in salvage(spoilt, first=1, count=4, owner=OWNER)]
    assert found == [1, 2, None, 4]
