"""What SPLIT holds: into which two partitions this one goes on, and where it is cut (docs/formats/record.md, ADR 0078). Pure.

SPLIT ends its log, together with the SEAL behind it: only bookkeeping may lie between them and behind them. Nothing is pending at a SPLIT, as at a SEAL.
"""

from __future__ import annotations

import json
import struct
from typing import Any, NamedTuple

from scrubjay.base.errors import Corrupt, Invalid, Unavailable
from scrubjay.base.ids import Lsn, PartitionId, Stamp, uuid_bytes, uuid_text
from scrubjay.storage.log.digest import Total
from scrubjay.storage.log.record import Record, RecordKind

SPLIT_PAYLOAD = struct.Struct("<16s16s16s16s")
SPLIT_ID_BYTES = 16
CHAIN_BYTES = 32


class Split(NamedTuple):
    """id: 16 bytes, names the intent in the catalogue. cut: 16 bytes; what lies below goes left, all else right, so no partition key is divided. left, right: the children."""

    id: bytes
    cut: bytes
    left: PartitionId
    right: PartitionId


def check_split(split: Split, *, parent: PartitionId, lo: bytes, hi: bytes | None) -> None:
    """Raises Invalid unless it makes three partitions of one, and each child gets a range. lo, hi: of the parent, half-open; hi None: to the end."""
    if len({split.left, split.right, parent}) != 3 or len(split.id) != SPLIT_ID_BYTES:
        raise Invalid("a split makes two new partitions of one", partition=parent, left=split.left, right=split.right)
    if not lo < split.cut or (hi is not None and split.cut >= hi):
        raise Invalid("a split has to cut inside the partition's range", partition=parent, cut=split.cut.hex())


def encode_split(split: Split) -> bytes:
    """The payload of a SPLIT record."""
    assert len(split.id) == SPLIT_ID_BYTES
    assert len(split.cut) == SPLIT_ID_BYTES
    return SPLIT_PAYLOAD.pack(split.id, split.cut, uuid_bytes(split.left), uuid_bytes(split.right))


def decode_split(record: Record) -> Split:
    """Raises Corrupt if the payload is malformed."""
    return split_from(record.payload)


def split_from(payload: bytes) -> Split:
    """As `decode_split`, of the payload alone."""
    if len(payload) != SPLIT_PAYLOAD.size:
        raise Corrupt("split payload has the wrong size", what="record", found=len(payload))
    id_, cut, left, right = SPLIT_PAYLOAD.unpack(payload)
    return Split(id_, cut, PartitionId(uuid_text(left)), PartitionId(uuid_text(right)))


def split_away(partition: PartitionId, split: Split) -> Unavailable:
    """What whoever asks a partition that was split is told: nothing was done, the catalogue knows the children. split: id, in hex."""
    return Unavailable("the partition was split: ask its children", partition=partition, split=split.id.hex())


def was_split(error: object) -> bool:
    """Whether it is that answer: nothing was done."""
    return isinstance(error, Unavailable) and bool(error.fields.get("split"))


# --- what a child says of its beginning ----------------------------------------------------------------------------------------------------


class Born(NamedTuple):
    """How a child began. parent: the partition that was split. lsn, stamp, chain: of that one's last SEAL. total: of the rows of the child's own range there."""

    parent: PartitionId
    lsn: Lsn
    stamp: Stamp
    chain: bytes
    total: Total


def born_facts(born: Born) -> dict[str, Any]:
    """As JSON has it: `born` of the SCHEMA record that begins a child's log, an entry of `lineage` of its manifests."""
    return {
        "chain": born.chain.hex(),
        "digest": {"rows": born.total.rows, "sum": born.total.hex},
        "lsn": born.lsn,
        "partition": born.parent,
        "stamp": f"{born.stamp:016x}",
    }


def read_born(facts: Any, *, what: str = "record") -> Born:
    """What `born_facts` made. what: it stands in. Raises Corrupt if it is anything else; members that are not known are left alone."""
    try:
        digest, lsn = facts["digest"], facts["lsn"]
        chain, stamp, total = bytes.fromhex(facts["chain"]), int(facts["stamp"], 16), Total(int(digest["sum"], 16), digest["rows"])
        parent = PartitionId(uuid_text(uuid_bytes(facts["partition"])))
        sound = len(chain) == CHAIN_BYTES and len(facts["stamp"]) == 16 and len(digest["sum"]) == 32
        sound = sound and type(lsn) is int and 0 < lsn < 1 << 63 and type(total.rows) is int and total.rows >= 0
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Corrupt("the birth of a partition is malformed", what=what) from error
    born = Born(parent, Lsn(lsn), Stamp(stamp), chain, total)
    if not sound or any(facts.get(name) != value for name, value in born_facts(born).items()):
        raise Corrupt("the birth of a partition is malformed", what=what)
    return born


class Birth(NamedTuple):
    """What the SCHEMA says with which a log begins. born: None: no split made the partition."""

    born: Born | None


def birth_in(record: Record) -> Birth | None:
    """None: the record begins no log. Raises Corrupt."""
    if record.kind is not RecordKind.SCHEMA:
        return None
    try:
        facts = json.loads(record.payload)
        begins = "born" in facts or "base" in facts
    except (ValueError, TypeError, RecursionError) as error:
        raise Corrupt("a SCHEMA record cannot be read", what="record", lsn=record.lsn) from error
    if not begins:
        return None
    return Birth(read_born(facts["born"]) if "born" in facts else None)


def encode_born(born: Born) -> bytes:
    """Canonical JSON of `born_facts`: as it stands beside a tree, and crosses between nodes."""
    return json.dumps(born_facts(born), sort_keys=True, separators=(",", ":")).encode()


def decode_born(data: bytes) -> Born | None:
    """None of no bytes: the partition was made with its table. Raises Corrupt."""
    if not data:
        return None
    try:
        facts = json.loads(data)
    except ValueError as error:
        raise Corrupt("the birth of a partition is malformed", what="state") from error
    return read_born(facts, what="state")
