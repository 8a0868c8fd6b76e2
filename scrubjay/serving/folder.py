"""The data folder: one process at a time, and which cluster it belongs to.

    DIR/lock            flock held by the serving process (scrubjay/serving/lock.py)
    DIR/cluster.json    {"version": 1, "cluster_id", "metadata_table_id", "metadata_partition_id", "created_at", "attached"}
    DIR/nodes/<node>/   a storage node each
    DIR/takeover.json   {"version": 1, "cluster_id", "epoch"}: an operator's word, for the next start (scrubjay.takeover)
    DIR/tmp/            work files of jobs; emptied at start
    DIR/findings.json, DIR/ledger.db, DIR/archive/ (the default archive)

`attached` turns true once the archive's identity was written: until then an empty archive prefix is expected, afterwards the folder's own.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec

from scrubjay.base.env import Disk, Rand
from scrubjay.base.errors import Corrupt
from scrubjay.base.ids import ClusterId, PartitionId, TableId
from scrubjay.base.versioned import decode_versioned

FILE = "cluster.json"
TAKEOVER = "takeover.json"


class ClusterFile(msgspec.Struct, frozen=True):
    """created_at: microseconds. attached: see the module. archive: the URL it was last attached to, "" for the folder's own `archive/` (the folder may be moved)."""

    version: int
    cluster_id: ClusterId
    metadata_table_id: TableId
    metadata_partition_id: PartitionId
    created_at: int
    attached: bool
    archive: str = ""


def read_cluster(disk: Disk) -> ClusterFile | None:
    """What the folder says it is; None for a new folder. Raises Corrupt if the file cannot be understood (never guessed, never replaced)."""
    data = disk.read_file(FILE)
    return None if data is None else decode_versioned(data, ClusterFile, version=1, what=f"the data folder's {FILE}", name=FILE)


def new_cluster(rand: Rand, *, now_us: int) -> ClusterFile:
    """Fresh ids for a new cluster."""
    return ClusterFile(1, ClusterId(rand.uuid()), TableId(rand.uuid()), PartitionId(rand.uuid()), now_us, attached=False)


def write_cluster(disk: Disk, cluster: ClusterFile) -> None:
    disk.write_file(FILE, msgspec.json.format(msgspec.json.encode(cluster), indent=2))


class Takeover(msgspec.Struct, frozen=True):
    """A confirmed takeover that the next start carries out. epoch: up to which other owners and histories are given up."""

    version: int
    cluster_id: ClusterId
    epoch: int


def write_takeover(disk: Disk, takeover: Takeover) -> None:
    disk.write_file(TAKEOVER, msgspec.json.encode(takeover))


def read_takeover(disk: Disk, cluster_id: ClusterId) -> Takeover | None:
    """None if nobody asked for one. Raises Corrupt if it cannot be understood or is another cluster's."""
    data = disk.read_file(TAKEOVER)
    if data is None:
        return None
    found = decode_versioned(data, Takeover, version=1, what=f"the data folder's {TAKEOVER}", name=TAKEOVER)
    if found.cluster_id != cluster_id:
        raise Corrupt(f"the data folder's {TAKEOVER} is of another cluster", what=TAKEOVER, found=found.cluster_id)
    return found


def empty_tmp(folder: Path) -> None:
    """Work files of jobs do not outlive their process: every job starts from the archive again."""
    shutil.rmtree(folder / "tmp", ignore_errors=True)
    (folder / "tmp").mkdir()
