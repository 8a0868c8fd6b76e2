"""The data folder: one process at a time, and which cluster it belongs to.

    DIR/lock            flock held by the serving process (scrubjay/serving/lock.py)
    DIR/cluster.json    {"version": 1, "cluster_id", "metadata_table_id", "metadata_partition_id", "created_at", "attached"}
    DIR/cluster-version.json    {"version": 1, "number"}: the highest of the cluster's version that was read here (scrubjay.server.raising)
    DIR/nodes/<node>/   a storage node each
    DIR/takeover.json   {"version": 1, "cluster_id", "epoch"}: an operator's word, for the next start (scrubjay.takeover)
    DIR/recover.json    {"version": 1, …}: the folder was made, or is half made, by `scrubjay recover`
    DIR/first-bases/    rows that a recovered cluster's archive is still owed (scrubjay.pitr.first_base)
    DIR/tmp/            work files of jobs; emptied at start
    DIR/leaps.json      leaps of this machine's clock that still count (scrubjay.server.leaps)
    DIR/log/            the server's last log lines (base.real.kept_lines)
    DIR/findings.json, DIR/ledger.db, DIR/archive/ (the default archive)

`attached` turns true once the archive's identity was written: until then an empty archive prefix is expected, afterwards the folder's own.
"""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import Any

import msgspec

from scrubjay.base.env import Disk, Rand
from scrubjay.base.errors import Corrupt, Unsafe
from scrubjay.base.ids import ClusterId, NodeName, PartitionId, TableId
from scrubjay.base.times import utc_text
from scrubjay.base.versioned import decode_versioned

NODES = (NodeName("n1"), NodeName("n2"), NodeName("n3"))
"""Of a process that is all of its cluster: one node per zone; node numbers are 1, 2, 3 in this order."""
FILE = "cluster.json"
TAKEOVER = "takeover.json"
RECOVER = "recover.json"
LOG = "log/server.log"


class ClusterFile(msgspec.Struct, frozen=True):
    """created_at: microseconds. attached: see the module. archive: the URL it was last attached to, "" for the folder's own `archive/` (the folder may be moved).
    parent: the cluster that this one was recovered from. second: URL of the second archive, "" without one. second_decides: it has
    what the first one may lack. moving: it keeps its turn, the archive moves there."""

    version: int
    cluster_id: ClusterId
    metadata_table_id: TableId
    metadata_partition_id: PartitionId
    created_at: int
    attached: bool
    archive: str = ""
    parent: ClusterId | None = None
    second: str = ""
    second_decides: bool = False
    moving: bool = False


def read_cluster(disk: Disk) -> ClusterFile | None:
    """What the folder says it is; None for a new folder. Raises Corrupt if the file cannot be understood (never guessed, never replaced)."""
    data = disk.read_file(FILE)
    return None if data is None else decode_versioned(data, ClusterFile, version=1, what=f"the data folder's {FILE}", name=FILE)


def new_cluster(rand: Rand, *, now_us: int, parent: ClusterId | None = None) -> ClusterFile:
    """Fresh ids for a new cluster."""
    return ClusterFile(1, ClusterId(rand.uuid()), TableId(rand.uuid()), PartitionId(rand.uuid()), now_us, attached=False, parent=parent)


def write_cluster(disk: Disk, cluster: ClusterFile) -> None:
    disk.write_file(FILE, msgspec.json.format(msgspec.json.encode(cluster), indent=2))


class RecoverFile(msgspec.Struct, frozen=True, kw_only=True):
    """What `scrubjay recover` makes, or made, of this folder. asked_us: the moment that was asked for, None: the latest. at_us: what that came to. only: the tables
    that were asked for, none: all. cluster: the new one's ids. report: of the finished recovery."""

    version: int = 1
    url: str
    parent: ClusterId
    asked_us: int | None
    at_us: int
    only: tuple[str, ...]
    cluster: ClusterFile
    done: bool = False
    report: dict[str, Any] = {}


def read_recover(disk: Disk) -> RecoverFile | None:
    """None if the folder was not recovered. Raises Corrupt if the file cannot be understood."""
    data = disk.read_file(RECOVER)
    return None if data is None else decode_versioned(data, RecoverFile, version=1, what=f"the data folder's {RECOVER}", name=RECOVER)


def write_recover(disk: Disk, recover: RecoverFile) -> None:
    disk.write_file(RECOVER, msgspec.json.format(msgspec.json.encode(recover), indent=2))


def refuse_unfinished(disk: Disk) -> None:
    """Raises Unsafe if the folder is half of a recovery: what is not in it yet would be missed by everybody who is served from it."""
    found = read_recover(disk)
    if found is not None and not found.done:
        raise Unsafe(
            "recover is unfinished, run it again: not every table is in this data folder yet",
            found=f"{RECOVER} of a recovery from cluster {found.parent} as of {utc_text(found.at_us)}",
            next=f"scrubjay recover --archive {shlex.quote(found.url)} --cluster {found.parent} with the same --data goes on where it stopped",
        )


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
