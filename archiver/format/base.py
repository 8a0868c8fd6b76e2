"""Base snapshots: a partition's rows at one LSN as a row file, cut into objects, with a manifest written last (docs/formats/base.md).

Every base is a verified one: it is what a rebuild proved equal to an agreed digest, or the first state of a restored table (`lsn` 0). The bytes of the
parts, one after the other, are exactly the row file (storage.btree.rowfile), so a replica loads what was downloaded as it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

from scrubjay.archiver.format import canonical
from scrubjay.archiver.format.fields import Fields, read_total, stamp_text, total_fields
from scrubjay.archiver.format.identity import Attached
from scrubjay.archiver.format.layout import BaseKey, build
from scrubjay.archiver.format.manifest import Sums, Superseded
from scrubjay.base.checksum import crc32c_raw
from scrubjay.base.env import Disk, File, ObjectStore
from scrubjay.base.errors import FORGED, Corrupt, Exists, Missing
from scrubjay.storage.log.digest import Total

FORMAT = "scrubjay base"
VERSION = 2
PART_BYTES = 32 << 20
"""Bytes per rows object, the last one less. One is held in memory at a time."""
GENERATIONS_MAX = 16


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a base came from when it is not this partition's own log: a restore to `at_us` (microseconds, inclusive) of these partitions."""

    cluster: str
    table: str
    partitions: tuple[str, ...]
    at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseManifest:
    """lsn, stamp, chain: of the last record in it (0, 0 and storage.log.chain.START for the first state of a restored table). parts: of the row file, in order.
    epoch, owner: in which term it was written (archiver.format.identity)."""

    cluster: str
    table: str
    partition: str
    table_name: str
    schema: str
    lo: str
    hi: str
    lsn: int
    stamp: int
    chain: bytes
    total: Total
    file: Sums
    parts: tuple[Sums, ...]
    generation: int
    epoch: int
    owner: str
    origin: Origin | None = None
    supersedes: tuple[Superseded, ...] = ()

    def key(self, part: int | None = None) -> BaseKey:
        """Key of the manifest, or of rows object `part`."""
        return BaseKey(self.cluster, self.table, self.partition, self.lsn, self.generation, self.file.sha256[:16], part)


def encode_base(manifest: BaseManifest) -> bytes:
    m = manifest
    origin = m.origin and {
        "cluster": m.origin.cluster,
        "table": m.origin.table,
        "partitions": list(m.origin.partitions),
        "at": m.origin.at_us,
    }
    return canonical.encode(
        {
            "format": FORMAT,
            "version": VERSION,
            "cluster": m.cluster,
            "table": m.table,
            "partition": m.partition,
            "table_name": m.table_name,
            "schema": m.schema,
            "lo": m.lo,
            "hi": m.hi,
            "lineage": [],
            "lsn": m.lsn,
            "stamp": stamp_text(m.stamp),
            "chain": m.chain.hex(),
            "digest": total_fields(m.total),
            "prepares": [],
            "file": m.file.fields(),
            "parts": [part.fields() for part in m.parts],
            "encryption": None,
            "generation": m.generation,
            "epoch": m.epoch,
            "owner": m.owner,
            "origin": origin,
            "supersedes": [{"generation": old.generation, "reason": old.reason} for old in m.supersedes],
        }
    )


_NAMES = (
    "format", "version", "cluster", "table", "partition", "table_name", "schema", "lo", "hi", "lineage", "lsn", "stamp", "chain", "digest", "prepares",
    "file", "parts", "encryption", "generation", "epoch", "owner", "origin", "supersedes",
)  # fmt: skip


def decode_base(data: bytes, *, where: str) -> BaseManifest:
    """where: its object key, which must be the manifest's. Raises Corrupt."""
    f = Fields(canonical.decode(data, where=where, format=FORMAT, version=VERSION), what="base", where=where)
    f.only(*_NAMES)
    if f.items("lineage") or f.items("prepares") or f.maybe("encryption") is not None:
        raise Corrupt("base uses a feature that is unknown", what="base", where=where)
    origin = f.maybe("origin")
    manifest = BaseManifest(
        cluster=f.uuid("cluster"),
        table=f.uuid("table"),
        partition=f.uuid("partition"),
        table_name=f.text("table_name"),
        schema=f.text("schema"),
        lo=f.text("lo"),
        hi=f.text("hi"),
        lsn=f.integer("lsn"),
        stamp=f.stamp("stamp"),
        chain=bytes.fromhex(f.hex("chain", 64)),
        total=read_total(f.object("digest")),
        file=Sums.read(f.object("file")),
        parts=tuple(Sums.read(Fields(part, what="base", where=where)) for part in f.items("parts")),
        generation=f.integer("generation", low=1),
        epoch=f.integer("epoch", low=1),
        owner=f.uuid("owner"),
        origin=None
        if origin is None
        else Origin(
            origin.uuid("cluster"), origin.uuid("table"), tuple(str(one) for one in origin.items("partitions")), origin.integer("at")
        ),
        supersedes=tuple(
            Superseded(old.integer("generation", low=1), old.text("reason"))
            for old in (Fields(one, what="base", where=where) for one in f.items("supersedes"))
        ),
    )
    if sum(part.size for part in manifest.parts) != manifest.file.size:
        raise Corrupt("base parts and file size differ", kind=FORGED, what="base", where=where)
    if build(manifest.key()) != where:
        raise Corrupt("base lies under another object's name", kind=FORGED, what="base", where=where, expected=build(manifest.key()))
    return manifest


def _pieces(file: File, size: int) -> Iterator[bytes]:
    for start in range(0, size, PART_BYTES):
        piece = file.pread(start, min(PART_BYTES, size - start))
        if len(piece) != min(PART_BYTES, size - start):
            raise Corrupt("the row file is shorter than it was", what="rows", where=start)
        yield piece


async def upload_base(
    store: ObjectStore,
    disk: Disk,
    path: str,
    *,
    writer: Attached,
    table: str,
    partition: str,
    table_name: str,
    schema: str,
    lo: str,
    hi: str,
    lsn: int,
    stamp: int,
    chain: bytes,
    total: Total,
    origin: Origin | None = None,
) -> BaseManifest:
    """Put the row file at `path` into the archive as a base; its manifest goes last. Every object is read back and compared before the next step, and a base
    counts only when its manifest did. May be run again: parts already there are compared, not sent.

    Reads the file twice (its hash is in the objects' names). Runs in a worker process. Raises Unavailable, DiskFull; Corrupt if every generation is spoilt.
    """
    file = disk.open(path)
    try:
        size = file.size()
        parts = tuple(Sums.of(piece) for piece in _pieces(file, size))
        whole, crc = hashlib.sha256(), 0
        for piece in _pieces(file, size):
            whole.update(piece)
            crc = crc32c_raw(piece, crc)
        sums = Sums(size, f"{crc:08x}", whole.hexdigest())
        supersedes: tuple[Superseded, ...] = ()
        for generation in range(1, GENERATIONS_MAX + 1):
            manifest = BaseManifest(
                cluster=writer.cluster, table=table, partition=partition, table_name=table_name, schema=schema, lo=lo, hi=hi, lsn=lsn, stamp=stamp,
                chain=chain, total=total, file=sums, parts=parts, generation=generation, epoch=writer.epoch, owner=writer.owner, origin=origin, supersedes=supersedes,
            )  # fmt: skip
            bad = await _upload(store, file, manifest)
            if bad is None:
                return manifest
            supersedes = (*supersedes, Superseded(generation, bad))
    finally:
        file.close()
    raise Corrupt("every generation of this base has a bad object", what="base", where=build(manifest.key()))


async def _upload(store: ObjectStore, file: File, manifest: BaseManifest) -> str | None:
    """Put all objects of one generation and read every one back; the reason why it is spoilt if one does not hold what it should."""
    for number, piece in enumerate(_pieces(file, manifest.file.size)):
        key = build(manifest.key(number))
        await _put(store, key, piece)
        if await _read_back(store, key) != piece:
            return f"rows object {number} does not hold what was put there"
    key = build(manifest.key())
    await _put(store, key, encode_base(manifest))
    there = await _read_back(store, key)
    try:
        said = decode_base(there or b"", where=key)
    except Corrupt as error:
        return f"the manifest does not hold what was put there: {error}"
    return None if _content(said) == _content(manifest) else "the manifest has other content"


async def _put(store: ObjectStore, key: str, data: bytes) -> None:
    """Create an object unless something is there already. A part that is there is not sent again: it may be large."""
    if await store.head(key) is None:
        with suppress(Exists):
            await store.put(key, data)


async def _read_back(store: ObjectStore, key: str) -> bytes | None:
    """What the store gives for it; None if it is gone. Nobody's word that it was put is taken for it."""
    try:
        return await store.get(key)
    except Missing:
        return None


def _content(manifest: BaseManifest) -> BaseManifest:
    """A manifest without what two honest writers may say differently."""
    return replace(manifest, epoch=0, owner="", supersedes=())


async def fetch_base(store: ObjectStore, manifest: BaseManifest, disk: Disk, path: str) -> None:
    """Download the row file to `path` (replaced if it is there), every part checked before it is written, and make it durable. Raises Corrupt, Missing."""
    if disk.exists(path):
        disk.remove(path)
    file = disk.open(path, create_size=0)
    try:
        offset, whole = 0, hashlib.sha256()
        for number, part in enumerate(manifest.parts):
            key = build(manifest.key(number))
            data = await store.get(key)
            part.check(data, what="base", where=key)
            whole.update(data)
            file.write(offset, data)
            offset += len(data)
        if whole.hexdigest() != manifest.file.sha256:
            raise Corrupt("the base's parts do not make its row file", what="base", where=build(manifest.key()))
        file.sync()
    finally:
        file.close()
    disk.sync_dir(path.rpartition("/")[0])
