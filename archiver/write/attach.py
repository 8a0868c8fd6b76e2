"""Whose archive this is: a data folder and a prefix belong together, or the start is refused. Who writes from then on: `archiver.write.claiming`."""

from __future__ import annotations

from contextlib import suppress

from scrubjay.archiver.format.identity import VERSION, decode_identity, encode_identity
from scrubjay.archiver.format.layout import IdentityKey, build
from scrubjay.archiver.read.names import clusters
from scrubjay.base.env import Env, ObjectStore
from scrubjay.base.errors import Corrupt, Exists, Missing, NoKey, Unsafe


async def attach(store: ObjectStore, env: Env, *, cluster_id: str | None, folder_is_new: bool, parent: str | None = None) -> str:
    """Make sure that this prefix is the data folder's own; the cluster id. Who writes is claimed apart from it (archiver.write.claiming).

    cluster_id: the data folder's id, None if it has none yet (then a new one is minted). folder_is_new: nothing was ever written in the data folder.
    parent: for a recovered cluster, the one it came from: it may write beside it.
    Raises Unsafe: an empty folder on a prefix that is in use, an archive that is not the folder's own, one of another format version, or one that the keys at
    hand do not fit.
    """
    present = await clusters(store)
    if cluster_id is None or folder_is_new:
        if present and cluster_id not in present and parent not in present:
            raise Unsafe(
                "the data folder is empty, but the archive already belongs to a cluster",
                found=present,
                archive=store.url,
                next="give that cluster's own data folder with --data, or another place with --archive; if the folder is lost, scrubjay recover makes"
                " a new one from the archive",
            )
        cluster_id = cluster_id or env.rand.uuid()
    elif cluster_id not in present:
        raise Unsafe(
            "the archive is not this data folder's own",
            asked=cluster_id,
            found=present,
            archive=store.url,
            next="give the right one with --archive (scrubjay recover makes a new cluster from another's archive)",
        )
    await _claim_identity(store, env, cluster_id, parent)
    return cluster_id


def without_key(error: NoKey, store: ObjectStore) -> Unsafe:
    """The refusal to write into an archive that the keys at hand do not open: to come up without it, as while a store is down, would only put it off."""
    return Unsafe(error.message, archive=store.url, **error.fields)


async def _claim_identity(store: ObjectStore, env: Env, cluster: str, parent: str | None) -> None:
    """Make sure the identity object is there. Its name alone says whose prefix this is: a rotted content is a finding of `verify`, no reason to stop. One of
    another version is refused: what lies beside it cannot be read."""
    key = build(IdentityKey(cluster))
    try:
        decode_identity(await store.get(key), where=key)
    except NoKey as error:
        raise without_key(error, store) from error
    except Missing:
        with suppress(Exists):
            await store.put(key, encode_identity(cluster=cluster, created_us=env.clock.wall_us(), parent=parent))
    except Corrupt as error:
        version = error.fields.get("version")  # it is told only where all else is sound
        if isinstance(version, int):
            raise Unsafe(
                f"the archive is of format version {version}, this release reads and writes version {VERSION} only: give another place with --archive",
                archive=store.url,
                cluster=cluster,
                found=version,
            ) from error
