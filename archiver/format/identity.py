"""Who may write below an archive prefix: identity and epoch, both create-once (docs/formats/identity.md, INTERFACE section 2).

The identity says that a cluster id lives here and was written by the data folder that holds the same id. An epoch object says in whose name that cluster
writes from then on; `archiver.write.claiming` makes them and watches for those of others.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from scrubjay.archiver.format import canonical
from scrubjay.archiver.format.fields import Fields
from scrubjay.archiver.format.layout import AFTER_ALL, EpochKey, IdentityKey, build, cluster_of, parse
from scrubjay.base.env import Env, ObjectStore
from scrubjay.base.errors import FORGED, Corrupt, Exists, Missing, Unsafe

IDENTITY_FORMAT = "scrubjay identity"
EPOCH_FORMAT = "scrubjay epoch"
VERSION = 2
CLUSTERS_MAX = 100
"""Clusters named in one error or listing; a prefix normally holds one."""


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
    if build(IdentityKey(cluster)) != where:
        raise Corrupt("identity lies under another cluster's name", kind=FORGED, what="identity", where=where, found=cluster)
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
    if build(found) != where:
        raise Corrupt("epoch lies under another name", kind=FORGED, what="epoch", where=where)
    return Attached(found.cluster, found.number, owner)


async def clusters(store: ObjectStore) -> list[str]:
    """Ids of the clusters that have objects below the prefix, sorted; at most CLUSTERS_MAX. Objects that are none of ours do not count."""
    found: list[str] = []
    after = ""
    while len(found) < CLUSTERS_MAX:
        page = await store.list("", after=after, limit=100)
        if not page.objects:
            break
        for info in page.objects:
            cluster = cluster_of(info.key)
            if cluster is not None:
                found.append(cluster)
                after = f"{cluster}/{AFTER_ALL}"
                break
            after = info.key
        else:
            if not page.more:
                break
    return found


async def epochs_after(store: ObjectStore, cluster: str, number: int) -> list[str]:
    """Keys of the epoch objects above `number`, rising."""
    found: list[str] = []
    after = build(EpochKey(cluster, number)) if number else ""
    while True:
        page = await store.list(f"{cluster}/epoch/", after=after)
        found += [info.key for info in page.objects if isinstance(parse(info.key), EpochKey)]
        if not page.more or not page.objects:
            return found
        after = page.objects[-1].key


async def attach(store: ObjectStore, env: Env, *, cluster_id: str | None, folder_is_new: bool, parent: str | None = None) -> str:
    """Make sure that this prefix is the data folder's own; the cluster id. Who writes is claimed apart from it (archiver.write.claiming).

    cluster_id: the data folder's id, None if it has none yet (then a new one is minted). folder_is_new: nothing was ever written in the data folder.
    parent: for a recovered cluster, the one it came from.
    Raises Unsafe: an empty folder on a prefix that is in use, an archive that is not the folder's own, or one of another format version.
    """
    present = await clusters(store)
    if cluster_id is None or folder_is_new:
        if present and cluster_id not in present:
            raise Unsafe(
                "the data folder is empty, but the archive already belongs to a cluster",
                found=present,
                archive=store.url,
                next="give that cluster's own data folder with --data, or another place with --archive (recover, which makes a data folder"
                " from an archive, is not built yet)",
            )
        cluster_id = cluster_id or env.rand.uuid()
    elif cluster_id not in present:
        raise Unsafe(
            "the archive is not this data folder's own",
            asked=cluster_id,
            found=present,
            archive=store.url,
            next="give the right one with --archive (recover, which makes a new cluster from another's archive, is not built yet)",
        )
    await _claim_identity(store, env, cluster_id, parent)
    return cluster_id


async def _claim_identity(store: ObjectStore, env: Env, cluster: str, parent: str | None) -> None:
    """Make sure the identity object is there. Its name alone says whose prefix this is: a rotted content is a finding of `verify`, no reason to stop. One of
    another version is refused: what lies beside it cannot be read."""
    key = build(IdentityKey(cluster))
    try:
        data = await store.get(key)
    except Missing:
        with suppress(Exists):
            await store.put(key, encode_identity(cluster=cluster, created_us=env.clock.wall_us(), parent=parent))
        return
    try:
        decode_identity(data, where=key)
    except Corrupt as error:
        version = error.fields.get("version")  # it is told only where all else is sound
        if isinstance(version, int):
            raise Unsafe(
                f"the archive is of format version {version}, this release reads and writes version {VERSION} only: give another place with --archive",
                archive=store.url,
                cluster=cluster,
                found=version,
            ) from error
