"""Sums of large buffers: as of the whole, and never more than a piece of it at once in a library (ADR 0065)."""

from __future__ import annotations

import hashlib
from typing import Any

import crc32c
import pytest

from scrubjay.base import checksum
from scrubjay.base.checksum import PIECE_BYTES, crc32c_masked, crc32c_raw, feed, sha256_hex, sha256_of


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES - 7])
def test_in_pieces_it_is_the_sum_of_the_whole(size: int) -> None:
    data = bytes(at * 31 % 251 for at in range(size % 4096)) + bytes(size - size % 4096)
    assert sha256_hex(data) == sha256_hex(memoryview(data)) == hashlib.sha256(data).hexdigest()
    assert sha256_of(data, b"", data).hexdigest() == hashlib.sha256(data + data).hexdigest()
    assert crc32c_raw(data) == crc32c.crc32c(data)
    assert crc32c_raw(data, crc32c_raw(b"before")) == crc32c.crc32c(b"before" + data)
    assert crc32c_masked(memoryview(data), 7) == (((crc := crc32c.crc32c(data, 7)) >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def test_no_more_than_a_piece_is_given_to_a_library_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that gives way rests between two calls, and whoever is served waits for the end of one."""
    given: list[int] = []

    class Sums:
        def update(self, data: Any) -> None:
            given.append(len(data))

        @staticmethod
        def crc32c(data: Any, start: int = 0) -> int:
            given.append(len(data))
            return start

    monkeypatch.setattr(checksum, "_crc32c", Sums.crc32c)
    data = bytes(5 * PIECE_BYTES + 1)
    feed(Sums(), data)  # type: ignore[arg-type]
    crc32c_raw(data)
    crc32c_masked(data)
    assert given == [*[PIECE_BYTES] * 5, 1] * 3
    assert PIECE_BYTES <= 512 << 10, "SHA-256 takes 0.7 ms for a MiB"
