"""`cluster takeover`: let one data folder go on as the writer of its archive after it was fenced, or after it was put back from an older state.

Works on a stopped data folder and reads the archive; what it decides is left in the folder (`takeover.json`) and takes effect at the next start, which notes
it in the metadata log, claims the next epoch and so fences every other copy. Nothing in the archive is changed: what others wrote stays, as a branch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scrubjay.archiver.format.identity import decode_epoch
from scrubjay.archiver.read.names import clusters, epochs_after
from scrubjay.archives import open_archive
from scrubjay.base.env import Env, ObjectStore
from scrubjay.base.errors import Corrupt, Missing, Unsafe
from scrubjay.base.real.clock import RealClock
from scrubjay.base.real.disk import RealDisk
from scrubjay.base.real.loop import AsyncTasks, run
from scrubjay.base.real.rand import RealRand
from scrubjay.base.wrap.retry import RetryingStore
from scrubjay.config import Config
from scrubjay.serving.folder import Takeover, read_cluster, write_takeover
from scrubjay.serving.lock import FolderLock, data_folder

UNREADABLE = "cannot be read"


def take_over(config: Config, url: str, *, data: str, confirm: bool) -> dict[str, Any]:
    """The report. Raises Unsafe (the folder is served now, is new, or the archive is not its own), Invalid, Unavailable (the store)."""

    async def main(tasks: AsyncTasks) -> dict[str, Any]:
        env = Env(RealClock(), RealRand(), tasks)
        store = RetryingStore((await open_archive(env, config, url)).store, env)
        return await _take_over(store, RealDisk(folder, post=tasks.post), folder, confirm=confirm)

    folder = data_folder(data)
    if not folder.is_dir():
        raise Unsafe(
            "there is no such data folder", asked=f"--data {folder}", found="no folder", next="give the folder that shall go on with --data"
        )
    lock = FolderLock(folder)
    try:
        return run(main)
    finally:
        lock.release()


async def _take_over(store: ObjectStore, disk: RealDisk, folder: Path, *, confirm: bool) -> dict[str, Any]:
    cluster = read_cluster(disk)
    if cluster is None:
        raise Unsafe(
            "the data folder is new", asked=f"--data {folder}", found="no cluster.json in it", next="give the folder that shall go on"
        )
    present = await clusters(store)
    if cluster.cluster_id not in present:
        raise Unsafe(
            "the archive is not this data folder's own",
            asked=cluster.cluster_id,
            found=", ".join(present) or "no cluster",
            next="give the right --archive",
        )
    claims: list[dict[str, Any]] = []
    for key in await epochs_after(store, cluster.cluster_id, 0):
        try:
            owner = decode_epoch(await store.get(key), where=key).owner
        except (Corrupt, Missing):
            owner = UNREADABLE
        claims.append({"epoch": int(key.rpartition("/")[2], 16), "owner": owner})
    newest = max((claim["epoch"] for claim in claims), default=0)
    if confirm:
        write_takeover(disk, Takeover(1, cluster.cluster_id, newest))
    return {
        "cluster": cluster.cluster_id,
        "url": store.url,
        "data": str(folder),
        "epochs": claims[-10:],
        "gives_up_to_epoch": newest,
        "confirmed": confirm,
        "error": None,
    }
