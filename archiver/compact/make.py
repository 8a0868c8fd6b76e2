"""One pack out of its parts: every byte of each is read and proven against its manifest, its records against what the manifest says, and each against the one before.

Loops over every record: a job of a worker process. It reads and returns; what is put, and in whose name, is its caller's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from scrubjay.archiver.format.identity import Attached
from scrubjay.archiver.format.keyfilter import key_filter
from scrubjay.archiver.format.layout import SegmentKey, build
from scrubjay.archiver.format.manifest import (
    PackManifest,
    SegmentManifest,
    Sums,
    Superseded,
    check_follows,
    decode_directory,
    directory_of,
    pack_of,
)
from scrubjay.archiver.format.records import check_against, check_records
from scrubjay.archiver.format.segment import encode_segment
from scrubjay.archiver.read.check import check_deeply
from scrubjay.archiver.read.objects import fetch_manifest, fetch_segment, pack_by_itself
from scrubjay.archiver.read.rebuild import segment_keys
from scrubjay.base.checksum import sha256_hex
from scrubjay.base.env import JobContext, ObjectStore
from scrubjay.base.errors import FORGED, Corrupt, Missing

MAKE_JOB = "scrubjay.archiver.compact.make:make_job"
ANEW_JOB = "scrubjay.archiver.compact.make:anew_job"


class Made(NamedTuple):
    """A pack's object and its manifest."""

    data: bytes
    manifest: PackManifest


async def make_pack(
    store: ObjectStore, keys: Sequence[SegmentKey], *, writer: Attached, node: str, generation: int, supersedes: tuple[Superseded, ...] = ()
) -> Made:
    """keys: of the parts' own objects, rising. Raises Corrupt, Missing (what is bad or gone, by its key), Unavailable."""
    parts: list[SegmentManifest] = []
    pieces: list[bytes] = []
    keys_in: set[bytes] = set()
    for key in keys:
        part = await fetch_manifest(store, key)
        where, told = build(key), build(key.twin())
        raw = await fetch_segment(store, part)
        if len(part.each()) > 1:
            raise Corrupt("a pack is no part of another", kind=FORGED, what="manifest", where=told)
        if parts:
            check_follows(parts[-1], part, where=told)
        after = parts[-1].last_stamp if parts else 0
        span = check_records(raw, partition=part.partition, first=part.first, last=part.last, where=where, after_stamp=after)
        check_against(span, part, where=told)
        parts.append(part)
        pieces.append(raw)
        keys_in |= span.keys
    whole = b"".join(pieces)
    pack = pack_of(
        parts, writer=writer, node=node, raw=Sums.of(whole), keys=key_filter(keys_in), generation=generation, supersedes=supersedes
    )
    return _made(pack, whole)


async def pack_anew(
    store: ObjectStore, key: SegmentKey, *, writer: Attached, node: str, generation: int, supersedes: tuple[Superseded, ...]
) -> Made:
    """The next generation of a pack whose manifest is bad, out of the pack itself: the object names its parts. Raises Corrupt, Missing (it does not any more), Unavailable."""
    found = await pack_by_itself(store, key)
    if found is None:
        raise Missing("the pack is gone, or does not say what it holds", what=build(key), lsn=key.first)
    raw = await fetch_segment(store, found)
    check_deeply(found, raw)
    pack = pack_of(found.parts, writer=writer, node=node, raw=found.raw, keys=found.keys, generation=generation, supersedes=supersedes)
    return _made(pack, raw)


def _made(pack: PackManifest, raw: bytes) -> Made:
    directory = directory_of(pack)
    data = encode_segment(pack.head(), raw, directory=directory)
    assert sha256_hex(raw) == pack.raw.sha256
    return Made(data, decode_directory(directory, stored=Sums.of(data), where=build(pack.own_key())))


async def make_job(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """`make_pack` in a worker process. arguments: url, keys, writer [cluster, epoch, owner], node, generation, supersedes [[generation, reason]]. Answer: data,
    directory."""
    made = await make_pack(
        context.store(arguments["url"]),
        segment_keys(arguments["keys"]),
        writer=Attached(*arguments["writer"]),
        node=arguments["node"],
        generation=arguments["generation"],
        supersedes=tuple(Superseded(*one) for one in arguments["supersedes"]),
    )
    return _answer(made)


async def anew_job(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """`pack_anew` in a worker process. arguments, answer: as of `make_job`; keys: of the pack alone."""
    (key,) = segment_keys(arguments["keys"])
    made = await pack_anew(
        context.store(arguments["url"]),
        key,
        writer=Attached(*arguments["writer"]),
        node=arguments["node"],
        generation=arguments["generation"],
        supersedes=tuple(Superseded(*one) for one in arguments["supersedes"]),
    )
    return _answer(made)


def _answer(made: Made) -> dict[str, Any]:
    return {"data": made.data, "key": build(made.manifest.own_key()), "directory": directory_of(made.manifest)}


def from_job(answer: dict[str, Any]) -> Made:
    data = answer["data"]
    return Made(data, decode_directory(answer["directory"], stored=Sums.of(data), where=answer["key"]))
