"""One object out of the archive, proven: sums, form, and that segment and manifest belong together. Of the generations of one content the highest that verifies."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import accumulate
from typing import NamedTuple, Protocol, TypeVar

from scrubjay.archiver.format.base import BaseManifest
from scrubjay.archiver.format.fault import Fault, fault_of
from scrubjay.archiver.format.layout import SegmentKey, build, log_prefix, parse
from scrubjay.archiver.format.manifest import PackManifest, PartManifest, SegmentManifest, Sums, decode_directory, decode_manifest
from scrubjay.archiver.format.segment import HEADER, SegmentHead, decode_head, decode_segment
from scrubjay.archiver.read.names import list_all
from scrubjay.base.checksum import feed, pieces, sha256_of
from scrubjay.base.env import Disk, ObjectStore
from scrubjay.base.errors import FORGED, HOLE, Corrupt, Missing, NoKey
from scrubjay.storage.btree.engine import Row
from scrubjay.storage.btree.rowfile import FOOTER, block_span, find_row, index_span, read_index_alone

T = TypeVar("T")


async def fetch_base(store: ObjectStore, manifest: BaseManifest, disk: Disk, path: str) -> None:
    """Download the row file to `path` (replaced if it is there), every part checked before it is written. Scratch: it is not synced. Raises Corrupt, Missing."""
    if disk.exists(path):
        disk.remove(path)
    file = disk.open(path, create_size=0)
    try:
        offset, whole = 0, sha256_of()
        for number, part in enumerate(manifest.parts):
            key = build(manifest.key(number))
            data = await store.get(key)
            part.check(data, what="base", where=key)
            feed(whole, data)
            for piece in pieces(data):
                file.write(offset, piece)
                offset += len(piece)
        if whole.hexdigest() != manifest.file.sha256:
            raise not_its_file(manifest)
    finally:
        file.close()


async def row_of_base(store: ObjectStore, manifest: BaseManifest, key: bytes) -> Row | None:
    """One row of a base: fetches the parts that hold its index and the one block that can hold the key, each part proven by its own sums. The rows' total is not
    recomputed: `verify` does. Raises Corrupt, Missing, Unavailable."""
    starts = [0, *accumulate(part.size for part in manifest.parts)]
    parts: dict[int, bytes] = {}

    async def fetch(start: int, end: int) -> None:
        for number in range(max(bisect_right(starts, start) - 1, 0), bisect_left(starts, end)):
            if number not in parts:
                where = build(manifest.key(number))
                data = await store.get(where)
                manifest.parts[number].check(data, what="base", where=where)
                parts[number] = data

    def read(offset: int, length: int) -> bytes:
        """Of what was fetched: a gap ends it."""
        found, at = [], offset
        while at < offset + length and (number := bisect_right(starts, at) - 1) in parts:
            piece = parts[number][at - starts[number] : offset + length - starts[number]]
            found.append(piece)
            at += len(piece)
        return b"".join(found)

    size = manifest.file.size
    try:
        await fetch(max(size - FOOTER.size, 0), size)
        await fetch(*index_span(read, size))
        index = read_index_alone(read, size)
        span = block_span(index, key)
        if span is None:
            return None
        await fetch(*span)
        return find_row(read, index, key)
    except Corrupt as error:
        if parse(str(error.fields.get("where"))) is not None:
            raise
        raise Corrupt(error.message, kind=FORGED, what="base", where=build(manifest.key())) from error


def not_its_file(manifest: BaseManifest) -> Corrupt:
    """The parts are what the manifest says of each, and together are not what it says of the file: so the manifest lies."""
    return Corrupt("the base's parts do not make its row file", kind=FORGED, what="base", where=build(manifest.key()))


class Off(Protocol):
    """`Tasks.blocking`: where a reader on a node's loop has its sums and its decompression done."""

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]: ...


async def _here(work: Callable[[], T]) -> T:
    """In a worker process there is no loop to keep free."""
    return work()


async def fetch_segment(store: ObjectStore, manifest: SegmentManifest, *, off: Off = _here) -> bytes:
    """Raw bytes of a segment, proven to be the ones that its manifest names. Raises Corrupt, Missing, Unavailable."""
    where = build(manifest.key())
    try:
        data = await store.get(where)
    except Missing as error:
        raise Missing("a segment object is gone", what=where, lsn=manifest.first) from error
    return await off(lambda: open_segment(manifest, data))


async def fetch_manifest(store: ObjectStore, key: SegmentKey, *, off: Off = _here) -> SegmentManifest:
    """Raises Corrupt, Missing, Unavailable."""
    where = build(key._replace(manifest=True))
    data = await store.get(where)
    return await off(lambda: decode_manifest(data, where=where))


class Extremes(NamedTuple):
    """LSNs and stamps of a segment's first and last record."""

    first: int
    last: int
    first_stamp: int
    last_stamp: int


async def fetch_span(store: ObjectStore, key: SegmentKey, *, off: Off = _here) -> Extremes:
    """By the first bytes of the object, which its manifest must agree with when it is read; by the manifest, if they cannot be read or are another's. Raises Corrupt, Missing, Unavailable."""
    where = build(key._replace(manifest=False))
    head: SegmentHead | SegmentManifest | None = None
    with suppress(Corrupt, Missing, NoKey):
        head = decode_head(await store.get_range(where, 0, HEADER.size), where=where).head
    if head is None or (head.first, head.last) != (key.first, key.last):
        head = await fetch_manifest(store, key, off=off)
    return Extremes(head.first, head.last, head.first_stamp, head.last_stamp)


async def pack_by_itself(store: ObjectStore, key: SegmentKey, *, off: Off = _here) -> PackManifest | None:
    """The manifest of a pack out of its object, for one that is gone or bad: the object names its parts. None: it is no pack, or does not check. Raises Unavailable."""
    where = build(key._replace(manifest=False))
    try:
        top = decode_head(await store.get_range(where, 0, HEADER.size), where=where)
        if not top.directory_size:
            return None
        data = await store.get(where)

        def opened() -> PackManifest:
            found = decode_directory(decode_segment(data, where=where).directory, stored=Sums.of(data), where=where)
            open_segment(found, data)
            return found

        return await off(opened)
    except (Corrupt, Missing, NoKey):
        return None


async def read_segment(
    store: ObjectStore, wanted: SegmentManifest | SegmentKey, *, off: Off = _here
) -> tuple[SegmentManifest, bytes, list[Fault]]:
    """Manifest and raw bytes of a segment or of a pack (`SegmentManifest.pieces` has its parts); of its generations the highest from `wanted` on down that verifies by
    content, else any other of the same content, else a pack that holds it: one that was packed meanwhile is gone, and its records are not.

    Also what is wrong with those that do not. Raises what is wrong with `wanted` if none verifies, and Unavailable.
    """
    key = wanted.key() if isinstance(wanted, SegmentManifest) else wanted
    spoilt: list[Fault] = []
    tried = [key]
    first_error: Corrupt | Missing | NoKey | None = None
    while tried:
        at = tried.pop(0)
        try:
            manifest = wanted if isinstance(wanted, SegmentManifest) and at == key else await fetch_manifest(store, at, off=off)
            return manifest, await fetch_segment(store, manifest, off=off), spoilt
        except (Corrupt, Missing, NoKey) as error:
            if not isinstance(error, NoKey):  # of that one nothing is known
                spoilt.append(fault_of(error, where=build(at), lsn=at.first))
            if first_error is None:
                first_error = error
                tried = await _generations(store, key)
    found = await _elsewhere(store, key, off)
    if found is None:
        assert first_error is not None
        raise first_error
    manifest, raw, named = found
    # What a pack took the place of is no damage; a bad manifest of a pack is.
    return (
        manifest,
        raw,
        [one for one in spoilt if one.kind != HOLE or not isinstance(manifest, PartManifest)] if named is None else [*spoilt, named],
    )


async def _elsewhere(store: ObjectStore, key: SegmentKey, off: Off) -> tuple[SegmentManifest, bytes, Fault | None] | None:
    """The records of an object out of another: of a pack without its manifest by what the pack says of itself, of a segment out of the pack that it was put into. Also what
    is wrong with that pack."""
    pack = await pack_by_itself(store, key, off=off)
    if pack is not None:
        return pack, await fetch_segment(store, pack, off=off), None
    for other in await packs_over(store, key):
        pack, fault = await _pack(store, other, off)
        part = None if pack is None else next((one for one in pack.parts if _is(one, key)), None)
        if pack is None or part is None:
            continue
        with suppress(Corrupt, Missing, NoKey):
            raw = await fetch_segment(store, pack, off=off)
            return next((one, piece, fault) for one, piece in pack.pieces(raw) if one is part)
    return None


async def _pack(store: ObjectStore, key: SegmentKey, off: Off) -> tuple[PackManifest | None, Fault | None]:
    try:
        found = await fetch_manifest(store, key, off=off)
    except (Corrupt, Missing, NoKey) as error:
        return await pack_by_itself(store, key, off=off), fault_of(error, where=build(key.twin()), lsn=key.first)
    return (found if isinstance(found, PackManifest) else None), None


async def packs_over(store: ObjectStore, key: SegmentKey) -> list[SegmentKey]:
    """Objects whose names say that they hold a segment's records and more. Raises Unavailable."""
    named = [
        one for one in map(parse, await list_all(store, log_prefix(key.cluster, key.table, key.partition))) if isinstance(one, SegmentKey)
    ]
    wider = [one for one in named if not one.manifest and one.first <= key.first and key.last <= one.last and one[3:5] != key[3:5]]
    return sorted(wider, key=lambda one: -one.generation)


def _is(part: PartManifest, key: SegmentKey) -> bool:
    return (part.first, part.last, part.raw.sha256[:16]) == (key.first, key.last, key.sha16)


async def _generations(store: ObjectStore, key: SegmentKey) -> list[SegmentKey]:
    """The other generations of the same range and content that have a manifest, the highest first."""
    prefix = f"{log_prefix(key.cluster, key.table, key.partition)}{key.first:016x}-{key.last:016x}."
    found = [other for other in map(parse, await list_all(store, prefix)) if isinstance(other, SegmentKey) and other.manifest]
    others = [one.twin() for one in found if one.sha16 == key.sha16 and one.generation != key.generation]
    return sorted(others, key=lambda one: -one.generation)


def open_segment(manifest: SegmentManifest, data: bytes) -> bytes:
    """Raw bytes out of a segment object. data: the object. Raises Corrupt."""
    where = build(manifest.key())
    manifest.stored.check(data, what="segment", where=where)
    segment = decode_segment(data, where=where)
    if segment.head != manifest.head():
        raise Corrupt(
            "segment and manifest differ", kind=FORGED, what="segment", where=where, expected=str(manifest.head()), found=str(segment.head)
        )
    if segment.raw_sha256.hex() != manifest.raw.sha256 or len(segment.raw) != manifest.raw.size:
        raise Corrupt("segment and manifest name different raw bytes", kind=FORGED, what="segment", where=where)
    return segment.raw
