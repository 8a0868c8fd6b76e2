"""Every kind of object has a check of its bytes."""

from __future__ import annotations

from typing import get_args

import pytest

from scrubjay.archiver.format.layout import (
    BaseKey,
    ClosedKey,
    EpochKey,
    ExpiredKey,
    FormerKey,
    IdentityKey,
    IndexKey,
    Key,
    PinKey,
    SegmentKey,
    build,
)
from scrubjay.archiver.format.sound import sound

C, T, P = ("00000000-0000-4000-8000-00000000000" + digit for digit in "123")
KEYS: list[Key] = [
    IdentityKey(C),
    EpochKey(C, 1),
    FormerKey(C, 1),
    SegmentKey(C, T, P, 1, 2, 1, "0" * 16, manifest=False),
    SegmentKey(C, T, P, 1, 2, 1, "0" * 16, manifest=True),
    BaseKey(C, T, P, 1, 1, "0" * 16, None),
    ExpiredKey(C, T, P, 1, 1),
    ClosedKey(C, "n1", 1),
    PinKey(C, "01489602797149-73d8d5bc"),
    IndexKey(C, "20260101", 1),
]


def test_all_kinds_are_here() -> None:
    assert {type(key) for key in KEYS} == set(get_args(Key))


@pytest.mark.parametrize("key", KEYS, ids=lambda key: type(key).__name__)
def test_bytes_that_were_never_put_are_not_sound(key: Key) -> None:
    assert sound(build(key), b"{}") is False
