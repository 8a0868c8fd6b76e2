"""Whether bytes can be what was put under a key, by the formats' own checks: which of two copies of an object is to be believed; and whether two that differ say the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from scrubjay.archiver.format.base import base_content, decode_base
from scrubjay.archiver.format.closed import decode_closed
from scrubjay.archiver.format.day import decode_index
from scrubjay.archiver.format.expired import decode_expired
from scrubjay.archiver.format.former import decode_former
from scrubjay.archiver.format.identity import decode_epoch, decode_identity
from scrubjay.archiver.format.layout import (
    BaseKey,
    ClosedKey,
    EpochKey,
    ExpiredKey,
    FormerKey,
    IdentityKey,
    IndexKey,
    PinKey,
    SegmentKey,
    parse,
)
from scrubjay.archiver.format.manifest import M, PackManifest, SegmentManifest, Sums, content_of, decode_directory, decode_manifest
from scrubjay.archiver.format.pin import decode_pin
from scrubjay.archiver.format.segment import Segment, decode_segment
from scrubjay.base.errors import Corrupt
from scrubjay.base.sealed import MAGIC
from scrubjay.base.wrap.paired import Judging

_DECODERS: Mapping[type, Callable[..., object]] = {
    ClosedKey: decode_closed,
    ExpiredKey: decode_expired,
    PinKey: decode_pin,
    IndexKey: decode_index,
    EpochKey: decode_epoch,
    FormerKey: decode_former,
    IdentityKey: decode_identity,
}
"""Of objects that are one decoded document. decoder(data, where=key) raises Corrupt."""


def sound(key: str, data: bytes) -> bool | None:
    """None: the bytes alone do not say (rows of a base, what is sealed, what is none of ours). Pure; decompresses a segment."""
    parsed = parse(key)
    if parsed is None or data.startswith(MAGIC):
        return None
    try:
        if isinstance(parsed, SegmentKey):
            if parsed.manifest:
                return decode_manifest(data, where=key).key()._replace(manifest=True) == parsed
            segment = decode_segment(data, where=key)
            if segment.directory:
                decode_directory(segment.directory, stored=Sums.of(data), where=key)
            head = segment.head
            return (head.cluster, head.table, head.partition, head.first, head.last) == parsed[:5]
        if isinstance(parsed, BaseKey):
            if parsed.part is not None:
                return None
            decode_base(data, where=key)
        else:
            _DECODERS[type(parsed)](data, where=key)
    except Corrupt:
        return False
    return True


def alike(key: str, one: bytes, two: bytes) -> bool:
    """Two sound objects under one name say the same, as two honest writers may in different bytes: a segment compressed otherwise, a manifest of another term. Pure."""
    if one == two:
        return True
    parsed = parse(key)
    try:
        if isinstance(parsed, SegmentKey) and parsed.manifest:
            first, second = (_content(decode_manifest(data, where=key)) for data in (one, two))
            return first == second
        if isinstance(parsed, SegmentKey):
            here, there = (decode_segment(data, where=key) for data in (one, two))
            return (here.head, here.raw_sha256, _directory(here, key)) == (there.head, there.raw_sha256, _directory(there, key))
        if isinstance(parsed, BaseKey) and parsed.part is None:
            return base_content(decode_base(one, where=key)) == base_content(decode_base(two, where=key))
    except Corrupt:
        return False
    return False


def _content(manifest: M) -> M:
    """Also without what follows from how the object is compressed, in every part of a pack too."""
    bare = replace(content_of(manifest), stored=NO_SUMS)
    return replace(bare, parts=tuple(_content(part) for part in bare.parts)) if isinstance(bare, PackManifest) else bare


def _directory(segment: Segment, key: str) -> SegmentManifest | None:
    """What a pack says of its parts, as two honest writers would; None: it is no pack. Raises Corrupt."""
    return _content(decode_directory(segment.directory, stored=NO_SUMS, where=key)) if segment.directory else None


PLAIN = Judging(sound, alike)
NO_SUMS = Sums(0, "", "")
