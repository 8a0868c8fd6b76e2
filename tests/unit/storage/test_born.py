"""How a partition that a split made says how it began: what is written, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from scrubjay.base.errors import Corrupt
from scrubjay.base.ids import Lsn, PartitionId, Stamp
from scrubjay.storage.log.digest import Total
from scrubjay.storage.log.split import Born, born_facts, decode_born, encode_born, read_born

PARENT = PartitionId("00000000-0000-4000-8000-000000000001")
BORN = Born(PARENT, Lsn(7), Stamp(1 << 62), bytes(range(32)), Total(5, 3))


def test_what_is_written_is_read() -> None:
    assert read_born(born_facts(BORN)) == BORN
    assert decode_born(encode_born(BORN)) == BORN
    assert decode_born(b"") is None, "a partition that was made with its table"
    assert read_born({**born_facts(BORN), "later": 1}) == BORN


@pytest.mark.parametrize(
    "wrong",
    [
        {"partition": "no id"},
        {"partition": PARENT.upper().replace("0", "A", 1)},
        {"lsn": 0},
        {"lsn": True},
        {"lsn": "7"},
        {"stamp": "7"},
        {"stamp": 7},
        {"chain": "00"},
        {"chain": "zz" * 32},
        {"digest": {"rows": 3}},
        {"digest": {"rows": -1, "sum": "0" * 32}},
        {"digest": {"rows": 3, "sum": "5"}},
        {"digest": None},
    ],
)
def test_what_nobody_writes_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(Corrupt):
        read_born({**born_facts(BORN), **wrong})
    for missing in wrong:
        with pytest.raises(Corrupt):
            read_born({name: value for name, value in born_facts(BORN).items() if name != missing})


@pytest.mark.parametrize("data", [b"{", b"[]", b"null", b"{}"])
def test_bytes_that_are_no_birth_are_refused(data: bytes) -> None:
    with pytest.raises(Corrupt):
        decode_born(data)
