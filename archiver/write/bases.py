"""Base snapshots on their way into the archive: when one is worth it, what it says, and the upload, every object of it read back.

Two make bases: a scrub of the reference that matched, and a restore of its target's first state. Both come through here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from scrubjay.archiver.format.base import BaseManifest, BaseOrigin, base_content, decode_base, encode_base
from scrubjay.archiver.format.identity import Attached
from scrubjay.archiver.format.layout import build
from scrubjay.archiver.format.manifest import Sums, Superseded
from scrubjay.base.checksum import crc32c_raw, feed, sha256_of
from scrubjay.base.env import Disk, File, JobContext, Jobs, ObjectStore
from scrubjay.base.errors import Corrupt, Exists, Missing
from scrubjay.base.ids import ClusterId, Lsn
from scrubjay.storage.archive_port import facts_of
from scrubjay.storage.btree.rowfile import read_index, read_rowfile
from scrubjay.storage.catalogue import PartitionInfo, TableMeta
from scrubjay.storage.log.digest import Total
from scrubjay.storage.log.split import Born, born_facts, read_born

PART_BYTES = 32 << 20
"""Bytes per rows object, the last one less. One is held in memory at a time."""
GENERATIONS_MAX = 16


def _pieces(file: File, size: int) -> Iterator[bytes]:
    for start in range(0, size, PART_BYTES):
        piece = file.pread(start, min(PART_BYTES, size - start))
        if len(piece) != min(PART_BYTES, size - start):
            raise Corrupt("the row file is shorter than it was", what="rows", where=start)
        yield piece


def _prove(file: File, size: int, total: Total) -> None:
    """Raises Corrupt unless every row checks, and all of them come to `total`: the sums of an upload would only vouch for what rot has left."""
    for _ in read_rowfile(file.pread, size):
        pass
    found = read_index(file.pread, size).total
    if found != total:
        raise Corrupt(
            "the row file holds other rows than were proven",
            what="rows",
            expected=f"{total.rows} rows, {total.hex}",
            found=f"{found.rows} rows, {found.hex}",
        )


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
    origin: BaseOrigin | None = None,
    prove: bool = False,
    born: Born | None = None,
) -> BaseManifest:
    """Put the row file at `path` into the archive as a base; its manifest goes last. Every object is read back and compared before the next step, and a base
    counts only when its manifest did. May be run again: parts already there are compared, not sent.

    Reads the file twice (its hash is in the objects' names). Runs in a worker process. prove: read it once more before, row by row: it lay on the disk for a while.
    Raises Unavailable, DiskFull; Corrupt if every generation is spoilt, or if it is not those rows.
    """
    file = disk.open(path)
    try:
        size = file.size()
        if prove:
            _prove(file, size, total)
        parts = tuple(Sums.of(piece) for piece in _pieces(file, size))
        whole, crc = sha256_of(), 0
        for piece in _pieces(file, size):
            feed(whole, piece)
            crc = crc32c_raw(piece, crc)
        sums = Sums(size, f"{crc:08x}", whole.hexdigest())
        supersedes: tuple[Superseded, ...] = ()
        for generation in range(1, GENERATIONS_MAX + 1):
            manifest = BaseManifest(
                cluster=writer.cluster, table=table, partition=partition, table_name=table_name, schema=schema, lo=lo, hi=hi, lsn=lsn, stamp=stamp,
                chain=chain, total=total, file=sums, parts=parts, generation=generation, epoch=writer.epoch, owner=writer.owner, origin=origin, supersedes=supersedes,
                born=born,
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
    return None if base_content(said) == base_content(manifest) else "the manifest has other content"


async def _put(store: ObjectStore, key: str, data: bytes) -> None:
    """Create an object unless something is there already. A part that is there is not sent again: it may be large."""
    if await store.head(key) is None:
        with suppress(Exists):
            await store.put(key, data)


async def _read_back(store: ObjectStore, key: str) -> bytes | None:
    """What the store gives for it; None if it is gone, or gives nothing that opens (a seal that does not hold). Nobody's word that it was put is taken for it."""
    try:
        return await store.get(key)
    except (Missing, Corrupt):
        return None


UPLOAD = "scrubjay.archiver.write.bases:upload_base_job"


async def upload(
    jobs: Jobs,
    url: str,
    rows: str,
    *,
    writer: Attached,
    table: TableMeta,
    info: PartitionInfo,
    lsn: int,
    stamp: int,
    chain: bytes,
    total: Total,
    origin: BaseOrigin | None = None,
    prove: bool = False,
    born: Born | None = None,
) -> str:
    """`upload_base` in a worker process; the object key of the base's manifest. An equal one that is there already is fine.

    url: of the archive, as the workers open it. rows: the row file, below the data folder. prove: read every row of it before. born: how the partition began. Raises what `upload_base` does.
    """
    facts = facts_of(ClusterId(writer.cluster), table, info)
    arguments: dict[str, Any] = {
        "url": url,
        "rows": rows,
        "cluster": writer.cluster,
        "epoch": writer.epoch,
        "owner": writer.owner,
        "table": table.table_id,
        "partition": info.partition_id,
        "table_name": facts.table_name,
        "schema": facts.schema,
        "lo": facts.lo,
        "hi": facts.hi,
        "lsn": lsn,
        "stamp": stamp,
        "chain": chain.hex(),
        "total": {"sum": total.hex, "rows": total.rows},
        "prove": prove,
        "born": born and born_facts(born),
        "origin": origin
        and {"cluster": origin.cluster, "table": origin.table, "partitions": list(origin.partitions), "at_us": origin.at_us},
    }
    answer = await jobs.run(UPLOAD, arguments)
    return str(answer["object"])


async def upload_base_job(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """`upload_base` in a worker.

    arguments: url, rows (path), cluster, epoch, owner, table, partition, table_name, schema, lo, hi, lsn, stamp, chain (hex), total {sum (hex), rows}, prove, born (as manifests say it, or None), and origin:
    None or {cluster, table, partitions, at_us}. Answer: object (key of the base's manifest). May be run again. Raises Unavailable, Corrupt, DiskFull.
    """
    one = dict(arguments)
    store, path, origin, total = context.store(one.pop("url")), one.pop("rows"), one.pop("origin"), one.pop("total")
    born = one.pop("born")
    writer = Attached(one.pop("cluster"), one.pop("epoch"), one.pop("owner"))
    manifest = await upload_base(
        store,
        context.disk,
        path,
        writer=writer,
        **{**one, "chain": bytes.fromhex(one["chain"])},
        total=Total(int(total["sum"], 16), total["rows"]),
        origin=None if origin is None else BaseOrigin(origin["cluster"], origin["table"], tuple(origin["partitions"]), origin["at_us"]),
        born=None if born is None else read_born(born),
    )
    return {"object": build(manifest.key())}


BASE_RATIO = 0.5
BASE_LOG_BYTES_MIN = 1 << 20
"""Raw bytes of log below which only the first base is written."""


BASE_SEGMENTS = 1_000
"""Segments above a base that are too many to be read at every scrub and restore, however little is in them,"""
BASE_AGE_US = 7 * 86_400_000_000
"""unless the base is younger than this."""


def base_due(*, base_lsn: Lsn | None, base_raw: int, log_raw: int, segments: int = 0, age_us: int = 0) -> bool:
    """Whether a matched reference is worth a new base snapshot.

    The first always is. After that the log since the last must be at least 1 MiB and half of what the last base holds: a restore then never reads more
    log than that ratio allows beside its base, and bases written are bounded by the log written (at most 3 bytes of base per byte of log). What only
    trickles gets one a week if it has come to 1,000 segments: retention can take them away, and a window of 35 days never holds more than six for that reason.
    base_raw, log_raw: raw bytes. segments: above the base. age_us: of the base's last record.
    """
    if base_lsn is None:
        return log_raw > 0
    if segments >= BASE_SEGMENTS and age_us >= BASE_AGE_US:
        return True
    return log_raw >= BASE_LOG_BYTES_MIN and log_raw >= BASE_RATIO * base_raw
