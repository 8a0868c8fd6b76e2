"""A file with a version is understood whole or not at all, and what is wrong with it is named."""

from __future__ import annotations

import msgspec
import pytest

from scrubjay.base.errors import Corrupt
from scrubjay.base.versioned import decode_versioned


class _Note(msgspec.Struct, frozen=True):
    version: int
    text: str


def _decode(data: bytes) -> _Note:
    return decode_versioned(data, _Note, version=2, what="the note", name="note.json")


def test_a_file_of_this_version_is_read() -> None:
    assert _decode(b'{"version": 2, "text": "t"}') == _Note(2, "t")


@pytest.mark.parametrize("data", [b"", b"{", b'{"version": 2}', b'{"version": "2", "text": "t"}', b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_corrupt_and_named(data: bytes) -> None:
    with pytest.raises(Corrupt, match="the note cannot be read") as caught:
        _decode(data)
    assert caught.value.fields["what"] == "note.json"


@pytest.mark.parametrize("version", [1, 3])
def test_a_file_of_another_version_is_refused(version: int) -> None:
    with pytest.raises(Corrupt, match="the note has an unknown version") as caught:
        _decode(msgspec.json.encode(_Note(version, "t")))
    assert caught.value.fields == {"what": "note.json", "found": version}
