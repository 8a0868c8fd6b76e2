"""Who may write below an archive prefix: identity and epoch, both create-once (docs/formats/identity.md, INTERFACE section 2).

The identity says that a cluster id lives here and was written by the data folder that holds the same id. An epoch object says in whose name that cluster
writes from then on; `archiver.write.claiming` makes them and watches for those of others.
"""

from __future__ import annotations

from dataclasses import dataclass

from scrubjay.archiver.format import canonical
from scrubjay.archiver.format.fields import Fields
from scrubjay.archiver.format.layout import EpochKey, IdentityKey

IDENTITY_FORMAT = "scrubjay identity"
EPOCH_FORMAT = "scrubjay epoch"
VERSION = 2


@dataclass(frozen=True, slots=True)
class Attached:
    """Leave to write: this cluster, in this epoch, claimed by this owner."""

    cluster: str
    epoch: int
    owner: str


def encode_identity(*, cluster: str, created_us: int, parent: str | None) -> bytes:
    """parent: the cluster that this one was recovered from."""
    return canonical.encode({"format": IDENTITY_FORMAT, "version": VERSION, "cluster": cluster, "created": created_us, "parent": parent})


def decode_identity(data: bytes, *, where: str) -> str:
    """The cluster id. Raises Corrupt."""
    f = Fields(canonical.decode(data, where=where, format=IDENTITY_FORMAT, version=VERSION), what="identity", where=where)
    f.only("format", "version", "cluster", "created", "parent")
    f.integer("created")
    cluster = f.uuid("cluster")
    f.stands_at(IdentityKey(cluster))
    return cluster


def encode_epoch(*, cluster: str, epoch: int, owner: str, created_us: int) -> bytes:
    """owner: a random id of the writer, so that two writers of one epoch differ."""
    return canonical.encode(
        {"format": EPOCH_FORMAT, "version": VERSION, "cluster": cluster, "epoch": epoch, "owner": owner, "created": created_us}
    )


def decode_epoch(data: bytes, *, where: str) -> Attached:
    """Who claimed it. Raises Corrupt."""
    f = Fields(canonical.decode(data, where=where, format=EPOCH_FORMAT, version=VERSION), what="epoch", where=where)
    f.only("format", "version", "cluster", "epoch", "owner", "created")
    owner = f.uuid("owner")
    f.integer("created")
    found = EpochKey(f.uuid("cluster"), f.integer("epoch", low=1))
    f.stands_at(found)
    return Attached(found.cluster, found.number, owner)
