"""The data folder: one process at a time, and which cluster it belongs to.

    DIR/lock            flock held by the serving process; the kernel lets go of it when the process ends, however it ends
    DIR/cluster.json    {"version": 1, "cluster_id", "metadata_table_id", "metadata_partition_id", "created_at", "attached"}
    DIR/nodes/<node>/   a storage node each
    DIR/tmp/            work files of jobs; emptied at start
    DIR/findings.json, DIR/ledger.db, DIR/archive/ (the default archive)

`attached` turns true once the archive's identity was written: until then an empty archive prefix is expected, afterwards the folder's own.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

import msgspec

from base.env import Disk, Rand
from base.errors import Corrupt, Unsafe
from base.ids import ClusterId, PartitionId, TableId

FILE = "cluster.json"


class ClusterFile(msgspec.Struct, frozen=True):
    """created_at: microseconds. attached: see the module."""

    version: int
    cluster_id: ClusterId
    metadata_table_id: TableId
    metadata_partition_id: PartitionId
    created_at: int
    attached: bool


class FolderLock:
    """Holds the data folder for this process. Raises Unsafe (exit 4) if another process has it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            raise Unsafe("the data folder is in use by another process", folder=str(folder)) from error

    def release(self) -> None:
        os.close(self._file)


def read_cluster(disk: Disk) -> ClusterFile | None:
    """What the folder says it is; None for a new folder. Raises Corrupt if the file cannot be understood (never guessed, never replaced)."""
    data = disk.read_file(FILE)
    if data is None:
        return None
    try:
        found = msgspec.json.decode(data, type=ClusterFile)
    except msgspec.MsgspecError as error:
        raise Corrupt("the data folder's cluster.json cannot be read", what=FILE, detail=str(error)) from error
    if found.version != 1:
        raise Corrupt("the data folder's cluster.json has an unknown version", what=FILE, found=found.version)
    return found


def new_cluster(rand: Rand, *, now_us: int) -> ClusterFile:
    """Fresh ids for a new cluster."""
    return ClusterFile(1, ClusterId(rand.uuid()), TableId(rand.uuid()), PartitionId(rand.uuid()), now_us, attached=False)


def write_cluster(disk: Disk, cluster: ClusterFile) -> None:
    disk.write_file(FILE, msgspec.json.format(msgspec.json.encode(cluster), indent=2))


def empty_tmp(folder: Path) -> None:
    """Work files of jobs do not outlive their process: every job starts from the archive again."""
    shutil.rmtree(folder / "tmp", ignore_errors=True)
    (folder / "tmp").mkdir()
