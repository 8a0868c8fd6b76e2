"""Base snapshots: a partition's rows at one LSN as a row file, cut into objects, with a manifest written last (docs/formats/base.md).

Every base is a verified one: it is what a rebuild proved equal to an agreed digest, or the first state of a restored table (`lsn` 0). The bytes of the
parts, one after the other, are exactly the row file (storage.btree.rowfile), so a replica loads what was downloaded as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from scrubjay.archiver.format import canonical
from scrubjay.archiver.format.fields import Fields, read_total, stamp_text, total_fields
from scrubjay.archiver.format.layout import BaseKey
from scrubjay.archiver.format.manifest import Sums, Superseded, check_goes_on, read_supersedes, read_whose, whose_fields
from scrubjay.base.errors import FORGED, Corrupt
from scrubjay.storage.log.digest import Total
from scrubjay.storage.log.split import Born

FORMAT = "scrubjay base"
VERSION = 2


@dataclass(frozen=True, slots=True)
class BaseOrigin:
    """Where a base came from when it is not this partition's own log: a restore to `at_us` (microseconds, inclusive) of these partitions."""

    cluster: str
    table: str
    partitions: tuple[str, ...]
    at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseManifest:
    """lsn, stamp, chain: of the last record in it (0, 0 and storage.log.chain.START for the first state of a restored table). parts: of the row file, in order.
    epoch, owner: in which term it was written (archiver.format.identity). born: how the partition began, None: with LSN 1."""

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
    origin: BaseOrigin | None = None
    supersedes: tuple[Superseded, ...] = ()
    born: Born | None = None

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
            **whose_fields(m),
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
            "supersedes": [old.fields() for old in m.supersedes],
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
    if f.items("prepares") or f.maybe("encryption") is not None:
        raise Corrupt("base uses a feature that is unknown", what="base", where=where)
    origin = f.maybe("origin")
    generation = f.integer("generation", low=1)
    manifest = BaseManifest(
        **read_whose(f),
        lsn=f.integer("lsn"),
        stamp=f.stamp("stamp"),
        chain=bytes.fromhex(f.hex("chain", 64)),
        total=read_total(f.object("digest")),
        file=Sums.read(f.object("file")),
        parts=tuple(Sums.read(Fields(part, what="base", where=where)) for part in f.items("parts")),
        generation=generation,
        epoch=f.integer("epoch", low=1),
        owner=f.uuid("owner"),
        origin=None
        if origin is None
        else BaseOrigin(
            origin.uuid("cluster"), origin.uuid("table"), tuple(str(one) for one in origin.items("partitions")), origin.integer("at")
        ),
        supersedes=read_supersedes(f, generation=generation),
    )
    if sum(part.size for part in manifest.parts) != manifest.file.size:
        raise Corrupt("base parts and file size differ", kind=FORGED, what="base", where=where)
    if manifest.born is not None:
        check_goes_on(f, manifest.born, lsn=manifest.lsn, stamp=manifest.stamp, chain=manifest.chain, total=manifest.total)
    f.stands_at(manifest.key())
    return manifest


def base_content(manifest: BaseManifest) -> BaseManifest:
    """A manifest without what two honest writers may say differently."""
    return replace(manifest, epoch=0, owner="", supersedes=())
