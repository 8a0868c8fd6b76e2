"""Small JSON files of ours that carry a version: read with one wording of what can be wrong with them."""

from __future__ import annotations

from typing import Protocol, TypeVar

import msgspec

from scrubjay.base.errors import Corrupt


class Versioned(Protocol):
    @property
    def version(self) -> int: ...


V = TypeVar("V", bound=Versioned)


def decode_versioned(data: bytes, kind: type[V], *, version: int, what: str, name: str) -> V:
    """The content of a file. Raises Corrupt if it is no `kind` or has another version: never guessed. what: for people ("the list of members"). name: of the file."""
    try:
        found = msgspec.json.decode(data, type=kind)
    except msgspec.MsgspecError as error:
        raise Corrupt(f"{what} cannot be read", what=name, detail=str(error)) from error
    if found.version != version:
        raise Corrupt(f"{what} has an unknown version", what=name, found=found.version)
    return found
