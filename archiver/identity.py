"""Who may write below an archive prefix: identity and epoch, both create-once (docs/formats/identity.md, INTERFACE section 2).

The identity says that a cluster id lives here and was written by the data folder that holds the same id. The epoch says which incarnation of that cluster
writes; taking a cluster over writes the next one, and the agents of the old one stop as Fenced when they see it.
"""

from __future__ import annotations

from dataclasses import dataclass

from archiver import canonical
from archiver.fields import Fields
from archiver.layout import AFTER_ALL, EpochKey, IdentityKey, build, cluster_of, parse
from base.env import Env, ObjectStore
from base.errors import Corrupt, Exists, Fenced, Missing, Unavailable, Unsafe

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


class Writer:
    """In whose name this process writes; shared by agents and whatever makes bases. The epoch is unknown until it was claimed."""

    def __init__(self, cluster: str, attached: Attached | None = None) -> None:
        assert attached is None or attached.cluster == cluster
        self.cluster = cluster
        self._attached = attached

    @property
    def attached(self) -> Attached:
        """Raises Unavailable while the epoch is unknown: nothing may be written then."""
        if self._attached is None:
            raise Unavailable("the archive's epoch is not known yet: nothing is written", cluster=self.cluster)
        return self._attached

    def claimed(self, attached: Attached) -> None:
        assert attached.cluster == self.cluster
        self._attached = attached


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
        raise Corrupt("identity lies under another cluster's name", what="identity", where=where, found=cluster)
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
        raise Corrupt("epoch lies under another name", what="epoch", where=where)
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


async def current_epoch(store: ObjectStore, cluster: str) -> int:
    """The highest epoch; 0 if there is none. Only its name counts, so a rotted epoch object still fences."""
    highest, after = 0, ""
    while True:
        page = await store.list(f"{cluster}/epoch/", after=after)
        for info in page.objects:
            key = parse(info.key)
            if isinstance(key, EpochKey):
                highest = max(highest, key.number)
            after = info.key
        if not page.more:
            return highest


async def attach(
    store: ObjectStore, env: Env, *, cluster_id: str | None, folder_is_new: bool, epoch: int | None = None, parent: str | None = None
) -> Attached:
    """Claim the right to write below this prefix at start.

    cluster_id: the data folder's id, None if it has none yet (then a new one is minted). folder_is_new: nothing was ever written in the data folder.
    epoch: the one the data folder remembers from its last attach; None if it does not know. parent: for a recovered cluster, the one it came from.
    Raises Unsafe: an empty folder on a prefix that is in use, or an archive that is not the folder's own. Fenced: a newer epoch took this cluster over.
    """
    present = await clusters(store)
    if cluster_id is None or folder_is_new:
        if present and cluster_id not in present:
            raise Unsafe(
                "the data folder is empty, but the archive already belongs to a cluster: use `recover` to rebuild that cluster from it,"
                " or give another place with --archive",
                found=present,
                archive=store.url,
            )
        cluster_id = cluster_id or env.rand.uuid()
    elif cluster_id not in present:
        raise Unsafe(
            "the archive is not this data folder's own: give the right one with --archive, or use `recover` to make a new cluster from it",
            asked=cluster_id,
            found=present,
            archive=store.url,
        )
    await _claim_identity(store, env, cluster_id, parent)
    highest = await current_epoch(store, cluster_id)
    if epoch is not None and highest > epoch:
        raise Fenced("a newer epoch of this cluster writes to the archive", cluster=cluster_id, epoch=epoch, newest=highest)
    if highest:
        key = build(EpochKey(cluster_id, highest))
        return decode_epoch(await store.get(key), where=key)
    made = Attached(cluster_id, 1, env.rand.uuid())
    key = build(EpochKey(cluster_id, made.epoch))
    try:
        await store.put(key, encode_epoch(cluster=cluster_id, epoch=made.epoch, owner=made.owner, created_us=env.clock.wall_us()))
    except Exists as error:
        raise Fenced("another process claimed this archive at the same time", cluster=cluster_id, epoch=made.epoch) from error
    return made


async def _claim_identity(store: ObjectStore, env: Env, cluster: str, parent: str | None) -> None:
    """Make sure the identity object is there. Its name alone says whose prefix this is: a rotted content is a finding of `verify`, no reason to stop."""
    key = build(IdentityKey(cluster))
    if await store.head(key) is None:
        try:
            await store.put(key, encode_identity(cluster=cluster, created_us=env.clock.wall_us(), parent=parent))
        except Exists:
            return


async def check_epoch(store: ObjectStore, attached: Attached) -> None:
    """Agents call this now and then. Raises Fenced (stop for good) if a newer epoch is there, Missing (do not write now) if the identity is gone:
    another bucket may have taken its place. Unavailable if the store does not answer."""
    page = await store.list(f"{attached.cluster}/epoch/", after=build(EpochKey(attached.cluster, attached.epoch)), limit=1)
    if page.objects:
        raise Fenced("a newer epoch of this cluster writes to the archive", epoch=attached.epoch, newest=page.objects[0].key)
    key = build(IdentityKey(attached.cluster))
    if await store.head(key) is None:
        raise Missing("the archive has lost this cluster's identity: is it another bucket?", what=key)
