"""The manifest of a segment: what it holds, who agreed, and the chain that ties it to everything before (docs/formats/manifest.md).

A segment counts as archived when its manifest is there. Manifests are written after their segment and deleted before it. Of a pack, which holds many segments
in one object, the manifest says all that their own did (docs/formats/pack.md); readers go through `each`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple, Protocol, TypeVar

from scrubjay.archiver.format import canonical
from scrubjay.archiver.format.fields import Fields, read_total, stamp_text, total_fields
from scrubjay.archiver.format.identity import Attached
from scrubjay.archiver.format.keyfilter import KeyFilter
from scrubjay.archiver.format.layout import SegmentKey
from scrubjay.archiver.format.segment import SegmentHead
from scrubjay.base.checksum import crc32c_raw, sha256_hex
from scrubjay.base.errors import FORGED, Corrupt
from scrubjay.base.hlc import last_stamp_at, stamp_micros
from scrubjay.base.ids import ClusterId, PartitionId, TableId
from scrubjay.storage.archive_port import PartitionFacts, SealedSegment
from scrubjay.storage.log.chain import Link, next_chain
from scrubjay.storage.log.digest import Total
from scrubjay.storage.log.split import Born, born_facts, read_born

FORMAT = "scrubjay manifest"
VERSION = 2
PACK_FORMAT = "scrubjay pack"
PACK_VERSION = 3
PARTS_MAX = 2048
M = TypeVar("M", bound="SegmentManifest")


@dataclass(frozen=True, slots=True)
class Sums:
    """size in bytes, CRC-32C and SHA-256 (hex) of some bytes."""

    size: int
    crc32c: str
    sha256: str

    @classmethod
    def of(cls, data: bytes) -> Sums:
        return cls(len(data), f"{crc32c_raw(data):08x}", sha256_hex(data))

    def fields(self) -> dict[str, Any]:
        return {"size": self.size, "crc32c": self.crc32c, "sha256": self.sha256}

    @classmethod
    def read(cls, fields: Fields) -> Sums:
        return cls(fields.integer("size", low=1), fields.hex("crc32c", 8), fields.hex("sha256", 64))

    def check(self, data: bytes, *, what: str, where: str) -> None:
        """Raises Corrupt unless `data` has this size and both checksums."""
        if len(data) != self.size:
            raise Corrupt(f"{what} has the wrong size", what=what, where=where, expected=self.size, found=len(data))
        if f"{crc32c_raw(data):08x}" != self.crc32c:
            raise Corrupt(f"{what} CRC-32C differs from its manifest", what=what, where=where, expected=self.crc32c)
        found = sha256_hex(data)
        if found != self.sha256:
            raise Corrupt(f"{what} SHA-256 differs from its manifest", what=what, where=where, expected=self.sha256, found=found)


@dataclass(frozen=True, slots=True)
class Superseded:
    """A generation that this one replaces, and why."""

    generation: int
    reason: str

    def fields(self) -> dict[str, Any]:
        return {"generation": self.generation, "reason": self.reason}


def read_supersedes(f: Fields, *, generation: int) -> tuple[Superseded, ...]:
    """Of the manifest of a segment or a base of that generation. Raises Corrupt."""
    found = []
    for one in f.items("supersedes"):
        old = Fields(one, what=f.what, where=f.where)
        found.append(Superseded(old.integer("generation", low=1), old.text("reason")))
    if any(old.generation >= generation for old in found):
        raise Corrupt(f"{f.what} supersedes a generation that is not before it", kind=FORGED, what=f.what, where=f.where)
    return tuple(found)


class Described(Protocol):
    """What a manifest says of its partition, of a segment or of a base."""

    @property
    def cluster(self) -> str: ...
    @property
    def table(self) -> str: ...
    @property
    def partition(self) -> str: ...
    @property
    def table_name(self) -> str: ...
    @property
    def schema(self) -> str: ...
    @property
    def lo(self) -> str: ...
    @property
    def hi(self) -> str: ...
    @property
    def born(self) -> Born | None: ...


class PartitionPlace(NamedTuple):
    """What does not change while a partition lives."""

    table_name: str
    schema: str
    lo: str
    hi: str
    born: Born | None = None


def place(manifest: Described) -> PartitionPlace:
    """A base's must be that of the log around it, which the chain covers, but for `born`: that the log's first record says too (`records.check_against`)."""
    return PartitionPlace(manifest.table_name, manifest.schema, manifest.lo, manifest.hi, manifest.born)


def whose_fields(m: Described) -> dict[str, Any]:
    """Whose history an object holds, as every manifest says it: `read_whose` reads it."""
    return {
        "cluster": m.cluster,
        "table": m.table,
        "partition": m.partition,
        "table_name": m.table_name,
        "schema": m.schema,
        "lo": m.lo,
        "hi": m.hi,
        "lineage": [] if m.born is None else [born_facts(m.born)],
    }


def read_whose(f: Fields) -> dict[str, Any]:
    """Raises Corrupt."""
    ids = {name: f.uuid(name) for name in ("cluster", "table", "partition")}
    lineage = f.items("lineage")
    if len(lineage) > 1:
        raise f.bad("lineage")
    try:
        born = read_born(lineage[0]) if lineage else None
    except Corrupt as error:
        raise f.bad("lineage") from error
    if born is not None and lineage != [born_facts(born)]:
        raise f.bad("lineage")
    if born is not None and born.parent == ids["partition"]:
        raise Corrupt(f"{f.what} names its own partition as the one that it came from", kind=FORGED, what=f.what, where=f.where)
    return {**ids, "table_name": f.text("table_name"), "schema": f.text("schema"), "lo": f.bound("lo"), "hi": f.bound("hi"), "born": born}


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentManifest:
    """Stamps: 64-bit hybrid clock values. content: records that are content. before, total: state digest in front of `first` and at `last`. closed, reason,
    tag: of the SEAL at `last`. members: those that had agreed. node, epoch, owner: who wrote this object, in which term (archiver.format.identity).

    keys: filter of the keys that the records touch, None if it says nothing of them. born: how the partition began, None: with LSN 1.

    The chain covers all of it except what two honest writers may say differently: stored, members, generation, node, epoch, owner, supersedes; and `keys` and `born`, which
    follow from the records (`records.check_keys`, `records.check_against`).
    """

    cluster: str
    table: str
    partition: str
    table_name: str
    schema: str
    lo: str
    hi: str
    first: int
    last: int
    first_stamp: int
    last_stamp: int
    content: int
    generation: int
    raw: Sums
    stored: Sums
    before: Total
    total: Total
    members: tuple[int, ...]
    chain_before: bytes
    chain: bytes
    closed: int
    reason: int
    tag: bytes
    node: str
    epoch: int
    owner: str
    supersedes: tuple[Superseded, ...] = ()
    keys: KeyFilter | None = None
    born: Born | None = None

    @property
    def records(self) -> int:
        return self.last - self.first + 1

    def key(self) -> SegmentKey:
        """Key of the object that holds the records."""
        return self.own_key()

    def own_key(self) -> SegmentKey:
        """The name that its own fields make."""
        return SegmentKey(self.cluster, self.table, self.partition, self.first, self.last, self.generation, self.raw.sha256[:16], False)

    def each(self) -> tuple[SegmentManifest, ...]:
        """The segments that it is about, rising: itself, or the parts of a pack."""
        return (self,)

    def pieces(self, raw: bytes) -> Iterator[tuple[SegmentManifest, bytes]]:
        """`each`, with its records out of the raw bytes of all of them."""
        yield self, raw

    def head(self) -> SegmentHead:
        """What the segment object's header must say."""
        return SegmentHead(
            self.cluster,
            self.table,
            self.partition,
            self.first,
            self.last,
            self.first_stamp,
            self.last_stamp,
            self.records,
            self.generation,
        )

    def expected_chain(self) -> bytes:
        """The chain value that this manifest's content gives after `chain_before`."""
        facts = PartitionFacts(
            ClusterId(self.cluster), TableId(self.table), self.table_name, PartitionId(self.partition), self.schema, self.lo, self.hi
        )
        link = Link(
            place=facts.place(),
            first=self.first,
            last=self.last,
            first_stamp=self.first_stamp,
            last_stamp=self.last_stamp,
            content=self.content,
            raw_size=self.raw.size,
            raw_sha256=bytes.fromhex(self.raw.sha256),
            before=self.before,
            total=self.total,
            closed=self.closed,
            reason=self.reason,
            tag=self.tag,
        )
        return next_chain(self.chain_before, link)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartManifest(SegmentManifest):
    """A segment in a pack: what its own manifest said, its generation too; `stored`: of the pack. pack: key of the object."""

    pack: SegmentKey

    def key(self) -> SegmentKey:
        return self.pack


@dataclass(frozen=True, slots=True, kw_only=True)
class PackManifest(SegmentManifest):
    """Many segments in one object. parts: rising, without a hole, each on the chain of the one before; what the pack says of itself follows from them.
    node, epoch, owner: who wrote the pack; each part has its own."""

    parts: tuple[PartManifest, ...]

    def each(self) -> tuple[SegmentManifest, ...]:
        return self.parts

    def pieces(self, raw: bytes) -> Iterator[tuple[SegmentManifest, bytes]]:
        at = 0
        for part in self.parts:
            yield part, raw[at : at + part.raw.size]
            at += part.raw.size

    def expected_chain(self) -> bytes:
        """The value behind the last part: every part's was worked out from the one before when it was made (`_part`)."""
        return self.parts[-1].chain


def pack_of(
    parts: Sequence[SegmentManifest],
    *,
    writer: Attached,
    node: str,
    raw: Sums,
    keys: KeyFilter | None,
    generation: int,
    supersedes: tuple[Superseded, ...] = (),
    stored: Sums | None = None,
) -> PackManifest:
    """The manifest of a pack of these segments, each the one behind the one before. raw: sums of all their record bytes. keys: filter of all their keys. stored: None
    while the object is not made: what it says of itself (`directory_of`) does not depend on it."""
    first, last = parts[0], parts[-1]
    whose = {name: getattr(first, name) for name in _WHOSE}
    key = SegmentKey(first.cluster, first.table, first.partition, first.first, last.last, generation, raw.sha256[:16], False)
    sums = stored or Sums(1, "0" * 8, "0" * 64)
    return PackManifest(
        **whose, first=first.first, last=last.last, first_stamp=first.first_stamp, last_stamp=last.last_stamp, content=sum(one.content for one in parts),
        generation=generation, raw=raw, stored=sums, before=first.before, total=last.total, members=last.members, chain_before=first.chain_before,
        chain=last.chain, closed=last.closed, reason=last.reason, tag=last.tag, node=node, epoch=writer.epoch, owner=writer.owner, supersedes=supersedes,
        keys=keys, parts=tuple(_within(part, key, sums) for part in parts),
    )  # fmt: skip


def _within(part: SegmentManifest, pack: SegmentKey, stored: Sums) -> PartManifest:
    """The part of a pack that a segment becomes. Its key filter and what its object had superseded stay behind: both are of an object that goes."""
    said = {one.name: getattr(part, one.name) for one in fields(SegmentManifest)}
    return PartManifest(**{**said, "stored": stored, "keys": None, "supersedes": ()}, pack=pack)


def _described(m: SegmentManifest) -> dict[str, Any]:
    """What a manifest says, and a pack of itself."""
    return {
        **whose_fields(m),
        "first": m.first,
        "last": m.last,
        "first_stamp": stamp_text(m.first_stamp),
        "last_stamp": stamp_text(m.last_stamp),
        "records": m.records,
        "content": m.content,
        "generation": m.generation,
        "raw": m.raw.fields(),
        "digest": {"before": total_fields(m.before), "after": total_fields(m.total)},
        "members": list(m.members),
        "chain_before": m.chain_before.hex(),
        "chain": m.chain.hex(),
        "seal": _seal_fields(m),
        "node": m.node,
        "epoch": m.epoch,
        "owner": m.owner,
        "supersedes": [old.fields() for old in m.supersedes],
        **({} if m.keys is None else {"keys": m.keys.fields()}),
        **({"parts": [_part_fields(part) for part in m.parts]} if isinstance(m, PackManifest) else {}),
    }


def _seal_fields(m: SegmentManifest) -> dict[str, Any]:
    return {"closed": stamp_text(m.closed), "reason": m.reason, "tag": m.tag.hex()}


def _part_fields(part: PartManifest) -> dict[str, Any]:
    return {
        "last": part.last,
        "first_stamp": stamp_text(part.first_stamp),
        "last_stamp": stamp_text(part.last_stamp),
        "content": part.content,
        "generation": part.generation,
        "raw": part.raw.fields(),
        "digest": total_fields(part.total),
        "seal": _seal_fields(part),
        "members": list(part.members),
        "node": part.node,
        "epoch": part.epoch,
        "owner": part.owner,
    }


def encode_manifest(manifest: SegmentManifest) -> bytes:
    m = manifest
    stored = {**m.stored.fields(), "compression": "zstd", "encryption": None}
    version = PACK_VERSION if isinstance(m, PackManifest) else VERSION
    return canonical.encode({"format": FORMAT, "version": version, **_described(m), "stored": stored})


def directory_of(pack: PackManifest) -> bytes:
    """What a pack's object says of itself: all that its manifest says but `stored`."""
    return canonical.encode({"format": PACK_FORMAT, "version": PACK_VERSION, **_described(pack)})


def decode_directory(data: bytes, *, stored: Sums, where: str) -> PackManifest:
    """The manifest that a pack's directory makes, for one that is gone or bad. stored: sums of the object. where: its key. Raises Corrupt."""
    f = Fields(canonical.decode(data, where=where, format=PACK_FORMAT, version=PACK_VERSION), what="pack", where=where)
    f.only(*(name for name in _PACK_NAMES if name != "stored"))
    found = _read(f, stored)
    assert isinstance(found, PackManifest)
    f.stands_at(found.own_key())
    return found


_NAMES = (
    "format", "version", "cluster", "table", "partition", "table_name", "schema", "lo", "hi", "lineage", "first", "last", "first_stamp", "last_stamp",
    "records", "content", "generation", "raw", "stored", "digest", "members", "chain_before", "chain", "seal", "node", "epoch", "owner", "supersedes",
    "keys",
)  # fmt: skip
_PACK_NAMES = (*_NAMES, "parts")
_WHOSE = ("cluster", "table", "partition", "table_name", "schema", "lo", "hi", "born")
"""Fields of a manifest that are the same in all parts of a pack."""
_PART_NAMES = (
    "last", "first_stamp", "last_stamp", "content", "generation", "raw", "digest", "seal", "members", "node", "epoch", "owner",
)  # fmt: skip


def decode_manifest(data: bytes, *, where: str) -> SegmentManifest:
    """Decode and check a manifest: its own checksum, every field, and its own chain step. where: its object key, which must be the manifest's.

    Raises Corrupt. What it says of its segment is checked against the segment by whoever reads both.
    """
    said = canonical.decode(data, where=where, format=FORMAT, version=VERSION, later=(PACK_VERSION,))
    f = Fields(said, what="manifest", where=where)
    f.only(*(_PACK_NAMES if said["version"] == PACK_VERSION else _NAMES))
    stored = f.object("stored")
    if stored.text("compression") != "zstd" or stored.maybe("encryption") is not None:
        raise Corrupt("manifest names a compression or encryption that is unknown", what="manifest", where=where)
    manifest = _read(f, Sums.read(stored))
    f.stands_at(manifest.own_key().twin())
    return manifest


def _read(f: Fields, stored: Sums) -> SegmentManifest:
    """Every field, and the manifest's own chain steps. Raises Corrupt."""
    digest, generation = f.object("digest"), f.integer("generation", low=1)
    common = {
        **read_whose(f),
        **_said(f),
        "first": f.integer("first", low=1),
        "generation": generation,
        "stored": stored,
        "before": read_total(digest.object("before")),
        "total": read_total(digest.object("after")),
        "chain_before": bytes.fromhex(f.hex("chain_before", 64)),
        "chain": bytes.fromhex(f.hex("chain", 64)),
        "supersedes": read_supersedes(f, generation=generation),
        "keys": KeyFilter.read(f.object("keys")) if "keys" in f.fields else None,
    }
    manifest = SegmentManifest(**common)
    if f.fields["version"] == PACK_VERSION:
        manifest = PackManifest(**common, parts=_parts(f, manifest))
    if f.integer("records") != manifest.records:
        raise Corrupt(f"{f.what}'s LSN range and record count differ", kind=FORGED, what=f.what, where=f.where)
    _check_sense(f, manifest)
    if manifest.chain != manifest.expected_chain():
        raise Corrupt(f"{f.what}'s chain value does not follow from its content", kind=FORGED, what=f.what, where=f.where)
    return manifest


def _said(f: Fields) -> dict[str, Any]:
    """What a manifest says of a segment, and a pack of a part."""
    seal = f.object("seal")
    return {
        "last": f.integer("last", low=1),
        "first_stamp": f.stamp("first_stamp"),
        "last_stamp": f.stamp("last_stamp"),
        "content": f.integer("content"),
        "raw": Sums.read(f.object("raw")),
        "members": f.integers("members"),
        "closed": seal.stamp("closed"),
        "reason": seal.integer("reason", high=0xFFFF),
        "tag": bytes.fromhex(seal.hex("tag", 32)),
        "node": f.text("node"),
        "epoch": f.integer("epoch", low=1),
        "owner": f.uuid("owner"),
    }


def _parts(f: Fields, whole: SegmentManifest) -> tuple[PartManifest, ...]:
    """The parts of a pack, each going on from the one before, and together what the pack says of itself. Raises Corrupt."""
    said = f.items("parts")
    if not 2 <= len(said) <= PARTS_MAX:
        raise f.bad("parts")
    whose = {name: getattr(whole, name) for name in _WHOSE}
    parts: list[PartManifest] = []
    for one in said:
        p = Fields(one, what=f.what, where=f.where)
        p.only(*_PART_NAMES)
        before = parts[-1] if parts else None
        made = PartManifest(
            **whose,
            **_said(p),
            first=before.last + 1 if before is not None else whole.first,
            generation=p.integer("generation", low=1),
            stored=whole.stored,
            before=before.total if before is not None else whole.before,
            total=read_total(p.object("digest")),
            chain_before=before.chain if before is not None else whole.chain_before,
            chain=b"",
            pack=whole.own_key(),
        )
        _check_sense(p, made)
        if before is not None and made.first_stamp <= before.last_stamp:
            raise Corrupt(f"stamps go back between the parts of a {f.what}", kind=FORGED, what=f.what, where=f.where, lsn=made.first)
        parts.append(replace(made, chain=made.expected_chain()))
    first, last = parts[0], parts[-1]
    follows = (
        first.first_stamp, last.last, last.last_stamp, sum(one.content for one in parts), sum(one.raw.size for one in parts), last.total, last.members,
        last.closed, last.reason, last.tag,
    )  # fmt: skip
    claimed = (
        whole.first_stamp, whole.last, whole.last_stamp, whole.content, whole.raw.size, whole.total, whole.members, whole.closed, whole.reason, whole.tag,
    )  # fmt: skip
    if follows != claimed:
        raise Corrupt("what a pack says of itself does not follow from its parts", kind=FORGED, what=f.what, where=f.where)
    return tuple(parts)


def _check_sense(f: Fields, manifest: SegmentManifest) -> None:
    """Raises Corrupt where fields of one segment cannot be true together."""
    what, where = f.what, f.where
    if manifest.first > manifest.last:
        raise Corrupt(f"{what}'s LSN range and record count differ", kind=FORGED, what=what, where=where)
    if manifest.first_stamp > manifest.last_stamp or (manifest.first_stamp == manifest.last_stamp) != (manifest.records == 1):
        raise Corrupt(f"{what}'s stamps do not rise", kind=FORGED, what=what, where=where)
    if manifest.content > manifest.records:
        raise Corrupt(f"{what} counts content that its records cannot hold", kind=FORGED, what=what, where=where, found=manifest.content)
    if (
        len(manifest.members) < 2
        or list(manifest.members) != sorted(set(manifest.members))
        or not 1 <= manifest.members[0] <= manifest.members[-1] <= 999
    ):
        raise Corrupt(f"{what} names members that cannot have agreed", kind=FORGED, what=what, where=where, found=list(manifest.members))
    if manifest.closed > last_stamp_at(stamp_micros(manifest.last_stamp)):
        raise Corrupt(f"{what} is closed behind its own seal", kind=FORGED, what=what, where=where, lsn=manifest.last)
    if manifest.born is not None:
        check_goes_on(
            f, manifest.born, lsn=manifest.first - 1, stamp=manifest.first_stamp - 1, chain=manifest.chain_before, total=manifest.before
        )


def check_goes_on(f: Fields, born: Born, *, lsn: int, stamp: int, chain: bytes, total: Total) -> None:
    """Raises Corrupt unless a state of a child lies behind its beginning, and is what it began with if it lies there. stamp: at least that of the state."""
    if lsn < born.lsn or stamp < born.stamp:
        raise Corrupt(
            f"{f.what} lies in front of where its partition began", kind=FORGED, what=f.what, where=f.where, lsn=lsn, expected=born.lsn
        )
    if lsn == born.lsn and (chain, total) != (born.chain, born.total):
        raise Corrupt(f"{f.what} is not of the state with which its partition began", kind=FORGED, what=f.what, where=f.where, lsn=lsn)


def manifest_of(
    segment: SealedSegment,
    facts: PartitionFacts,
    *,
    writer: Attached,
    node: str,
    raw: Sums,
    stored: Sums,
    keys: KeyFilter | None,
    generation: int = 1,
    supersedes: tuple[Superseded, ...] = (),
) -> SegmentManifest:
    """The manifest of a sealed segment as this member sees it. writer: in whose name. raw, stored: sums of the record bytes and of the segment object. keys: the
    records' filter."""
    assert raw.sha256 == segment.raw_sha256.hex()
    assert raw.size == segment.raw_size
    assert facts.cluster == writer.cluster
    return SegmentManifest(
        cluster=writer.cluster,
        table=segment.table,
        partition=segment.partition,
        table_name=facts.table_name,
        schema=facts.schema,
        lo=facts.lo,
        hi=facts.hi,
        first=segment.first,
        last=segment.last,
        first_stamp=segment.first_stamp,
        last_stamp=segment.last_stamp,
        content=segment.content,
        generation=generation,
        raw=raw,
        stored=stored,
        before=segment.before,
        total=segment.total,
        members=segment.agreed,
        chain_before=segment.chain_before,
        chain=segment.chain,
        closed=segment.seal.closed,
        reason=segment.seal.reason,
        tag=segment.seal.tag,
        node=node,
        epoch=writer.epoch,
        owner=writer.owner,
        supersedes=supersedes,
        keys=keys,
        born=facts.born,
    )


def check_follows(before: SegmentManifest, after: SegmentManifest, *, where: str) -> None:
    """Raises Corrupt unless `after` continues `before` in LSN, place, stamp, digest and chain. where: key of the later object."""
    if after.first != before.last + 1:
        raise Corrupt(
            "segment does not continue the one before",
            kind=FORGED,
            what="manifest",
            where=where,
            expected=before.last + 1,
            found=after.first,
        )
    if place(after) != place(before):
        raise Corrupt(
            "it names another table, schema or range than the segment before", kind=FORGED, what="manifest", where=where, lsn=after.first
        )
    if after.first_stamp <= before.last_stamp:
        raise Corrupt("stamps go back between segments", kind=FORGED, what="manifest", where=where, lsn=after.first)
    if after.before != before.total:
        raise Corrupt(
            "the state digest does not continue",
            kind=FORGED,
            what="manifest",
            where=where,
            lsn=after.first,
            expected=before.total.hex,
            found=after.before.hex,
        )
    if after.chain_before != before.chain:
        raise Corrupt(
            "the chain is broken",
            kind=FORGED,
            what="manifest",
            where=where,
            lsn=after.first,
            expected=before.chain.hex(),
            found=after.chain_before.hex(),
        )


def content_of(manifest: M) -> M:
    """A manifest without what two honest writers may say differently: who wrote it, in which term, who had agreed by then, what they knew to be bad, and
    whether it filters keys at all."""
    return replace(manifest, node="", epoch=0, owner="", members=(), supersedes=(), keys=None)
