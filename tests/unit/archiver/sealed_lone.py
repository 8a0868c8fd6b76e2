"""The simulator's store with an encrypted archive in it, for tests that were written for a plain one: they read, plant and damage `objects` as ever, and what they
plant strikes the sealed bytes. So rot shows where an object is read, before its format is looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

from scrubjay.archiver.format.base import decode_base
from scrubjay.archiver.format.closed import decode_closed
from scrubjay.archiver.format.day import decode_index
from scrubjay.archiver.format.expired import decode_expired
from scrubjay.archiver.format.identity import decode_epoch, decode_identity
from scrubjay.archiver.format.layout import BaseKey, ClosedKey, EpochKey, ExpiredKey, IdentityKey, IndexKey, PinKey, SegmentKey, parse
from scrubjay.archiver.format.manifest import decode_manifest
from scrubjay.archiver.format.pin import decode_pin
from scrubjay.archiver.format.segment import decode_segment
from scrubjay.base.errors import Corrupt
from scrubjay.base.sealed import HEADER, Key, Keyring, kept_name, seal, true_name, unseal
from scrubjay.base.wrap.encrypted import EncryptedStore
from scrubjay.sim.lone import LoneStore
from scrubjay.sim.rand import stream

RING = Keyring((Key("2026", b"n" * 32), Key("2025", b"o" * 32)))
LOST = Keyring((Key("2027", b"l" * 32), *RING.keys))
"""The same keys and one that whoever reads here has not got."""
_DECODERS: Mapping[type, Callable[..., Any]] = {
    ClosedKey: decode_closed,
    EpochKey: decode_epoch,
    ExpiredKey: decode_expired,
    IdentityKey: decode_identity,
    IndexKey: decode_index,
    PinKey: decode_pin,
}


class SealedLone(EncryptedStore):
    """objects: the content of what lies there, by the names that readers use. bare: the store below."""

    def __init__(self) -> None:
        self.bare = LoneStore()
        super().__init__(self.bare, RING, random=stream(1, "seals").randbytes)
        self.objects = _Contents(self)

    async def put(self, key: str, data: bytes) -> None:
        await super().put(key, data)
        self.objects.sound[key] = bytes(data)
        self.objects.spoilt.pop(key, None)

    def lock(self, key: str) -> None:
        """From now on the object lies under a key that is not at hand; setting it to its own content takes that back."""
        kept = kept_name(RING, key)
        self.bare.objects[kept] = seal(LOST, kept, self.objects.sound[key], random=self._random)


class _Contents(MutableMapping[str, bytes]):
    """sound: what was put first. spoilt: what a test says lies there instead; the sealed bytes are as far from sound ones."""

    def __init__(self, store: SealedLone) -> None:
        self._store = store
        self.sound: dict[str, bytes] = {}
        self.spoilt: dict[str, bytes] = {}

    def __getitem__(self, key: str) -> bytes:
        kept = kept_name(RING, key)
        data = self._store.bare.objects[kept]
        return self.spoilt[key] if key in self.spoilt else unseal(RING, kept, data, where=key)

    def __setitem__(self, key: str, data: bytes) -> None:
        kept, data = kept_name(RING, key), bytes(data)
        if key not in self:
            self.sound[key] = data
        sound = self.sound[key]
        sealed = seal(RING, kept, sound, random=self._store._random)
        self.spoilt.pop(key, None)
        if data != sound:
            self.spoilt[key], sealed = data, _spoilt(sealed, sound, data)
        elif not _decodes(key, data):
            self.spoilt[key], sealed = data, sealed[:-1] + bytes([sealed[-1] ^ 1])
        self._store.bare.objects[kept] = sealed

    def __delitem__(self, key: str) -> None:
        del self._store.bare.objects[kept_name(RING, key)]
        self.spoilt.pop(key, None)

    def __contains__(self, key: object) -> bool:
        return kept_name(RING, str(key)) in self._store.bare.objects

    def __iter__(self) -> Iterator[str]:
        return iter([true_name(RING, kept) for kept in self._store.bare.objects])

    def __len__(self) -> int:
        return len(self._store.bare.objects)


def _spoilt(sealed: bytes, sound: bytes, data: bytes) -> bytes:
    """The sealed bytes, changed as `sound` was to become `data`: bit by bit, cut, or (of another length) replaced behind the header."""
    body = sealed[HEADER.size :]
    if len(data) == len(sound):
        return sealed[: HEADER.size] + bytes(a ^ b ^ c for a, b, c in zip(body, sound, data, strict=False)) + body[len(sound) :]
    if sound.startswith(data):
        return sealed[: len(sealed) - (len(sound) - len(data))] if data else b""
    return sealed[: HEADER.size] + data + body[len(sound) :]


def _decodes(key: str, data: bytes) -> bool:
    """Whether an object put there for the first time is sound. Rows are taken for sound: their manifest alone could say."""
    at = parse(key)
    decode = _DECODERS.get(type(at))
    if isinstance(at, SegmentKey):
        decode = decode_manifest if at.manifest else decode_segment
    elif isinstance(at, BaseKey) and at.part is None:
        decode = decode_base
    try:
        if decode is not None:
            decode(data, where=key)
    except Corrupt:
        return False
    return True
