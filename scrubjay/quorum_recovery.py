"""`cluster recover-quorum`: on the machine of the one node that is left, with its process stopped (ADR 0084). The work is `server.lost_quorum`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from scrubjay.archives import open_archive
from scrubjay.base.env import Env
from scrubjay.base.errors import Invalid, Unsafe
from scrubjay.base.ids import NodeName
from scrubjay.base.real.clock import RealClock
from scrubjay.base.real.disk import RealDisk
from scrubjay.base.real.knock import answers
from scrubjay.base.real.loop import AsyncTasks, run
from scrubjay.base.real.open_files import raise_descriptors, share_out
from scrubjay.base.real.rand import RealRand
from scrubjay.base.times import utc_text
from scrubjay.base.wrap.retry import RetryingStore
from scrubjay.config import Config
from scrubjay.server.lost_quorum import LEFT, QuorumPlan, Survivor, plan_recovery, recover_quorum
from scrubjay.serving.cluster import system_table, wal_sizes
from scrubjay.serving.folder import read_cluster
from scrubjay.serving.lock import FolderLock, data_folder
from scrubjay.serving.plan import ClusterPlan, node_of, plan_of
from scrubjay.storage.btree.lmdb_look import LmdbLook
from scrubjay.storage.node.identity import Members, identity_in
from scrubjay.storage.node.log_members import log_members_file
from scrubjay.storage.wal.wal import Wal

KNOCK_S = 2.0
"""How long a lost node is given to answer."""
REFUSED, INCOMPLETE = 4, 3


def recover_lost_quorum(config: Config, name: str | None, lost: Sequence[str], *, confirm: bool) -> dict[str, Any]:
    """The report; with `confirm` it is done. name: of the node that is left. Raises Invalid (no such node), Unsafe (its process runs, a lost node answers, a group is in the way), Corrupt, Unavailable (the archive)."""
    plan = plan_of(config)
    survivor = node_of(plan, name)
    gone = {node_of(plan, one) for one in lost}
    if not gone or survivor in gone:
        raise Invalid(
            "say which nodes are lost for good",
            asked="--lost NODE",
            found="none" if not gone else f"{survivor}, which is the one to go on from",
            next="give --lost once for each node whose folder will never come back",
        )
    folder = data_folder(plan.data[survivor])
    if not (folder / "nodes" / survivor).is_dir():
        raise Unsafe(
            "this machine has no folder of that node",
            asked=f"nodes.{survivor}.data = {folder}",
            found="nothing of it",
            next="run this on the machine of the node that is left",
        )

    async def main(tasks: AsyncTasks) -> dict[str, Any]:
        return await _recover(tasks, config, plan, survivor, sorted(gone), folder, confirm=confirm)

    lock = FolderLock(folder)
    try:
        return run(main)
    finally:
        lock.release()


async def _recover(
    tasks: AsyncTasks, config: Config, plan: ClusterPlan, name: NodeName, lost: Sequence[NodeName], folder: Path, *, confirm: bool
) -> dict[str, Any]:
    env = Env(RealClock(), RealRand(), tasks)
    home = RealDisk(folder, post=tasks.post)
    cluster = read_cluster(home)
    root = folder / "nodes" / name
    disk = RealDisk(root, post=tasks.post)
    identity = identity_in(disk)
    if cluster is None or identity is None:
        raise Unsafe("the folder is of no member of a cluster", asked=f"--name {name}", found=str(folder))
    await _knock(plan, lost)
    numbers = {node: number for number, node in plan.names.items()}
    opened = await open_archive(env, config, config.archive.url)
    store = RetryingStore(opened.store, env)
    sizes = wal_sizes(config, share_out(raise_descriptors(), nodes=1))
    wal, recovered = Wal.open(disk, "wal", file_size=sizes.file, limit_bytes=sizes.limit, reserve_bytes=sizes.reserve)
    try:
        survivor = Survivor(
            name,
            numbers[name],
            identity.id,
            identity.incarnation,
            wal,
            recovered,
            partial(LmdbLook, root),
            lambda partition: disk.exists(log_members_file(partition)),
        )
        members = Members(home, cluster.cluster_id)
        found = await plan_recovery(
            env,
            store,
            survivor,
            system_table(cluster, plan.founders),
            cluster=cluster.cluster_id,
            members=members,
            lost={one: numbers[one] for one in lost},
        )
        number = None
        if confirm:
            members.recall({name: lambda: disk})  # a list that is gone is written anew before anything is added to it
            former = await recover_quorum(env, store, survivor, found, members=members, max_offset_us=config.consensus.max_clock_offset_us)
            number = None if former is None else former.number
    finally:
        wal.close()
    return {**_report(found, plan), "confirmed": confirm, "number": number, "at": utc_text(env.clock.wall_us()), "url": opened.url}


def _report(found: QuorumPlan, plan: ClusterPlan) -> dict[str, Any]:
    refused = found.refusals()
    left = [group for group in found.groups if group.standing == LEFT and group.table.status != "DROPPED"]
    return {
        "exit": REFUSED if refused else INCOMPLETE if left else 0,
        "cluster": found.cluster,
        "survivor": found.survivor,
        "lost": [{"node": one.node, "incarnation": one.incarnation, "id": one.id or None} for one in found.lost],
        "partitions": [group.as_json(plan.names) for group in found.groups],
        "unknown": list(found.unknown),
        "recovers": len(found.recovers),
        "refused": len(refused),
        "left": len(left),
        "error": None,
    }


async def _knock(plan: ClusterPlan, lost: Sequence[NodeName]) -> None:
    """Nobody answers where a lost node would, nor works for the cluster: whoever did claims the archive anew at its next start, and so in the name of who goes on. Raises Unsafe."""
    if await answers(plan.durability.host, plan.durability.port, timeout_s=KNOCK_S):
        raise Unsafe(
            "the durability process runs: it knows the cluster as it was",
            found=f"durability.listen = {plan.durability}",
            next="stop it, and start it again when the node that is left is up",
        )
    for name in lost:
        address = plan.peers[name]
        if await answers(address.host, address.port, timeout_s=KNOCK_S):
            raise Unsafe(
                "a process answers where a lost node would: it is not lost",
                node=name,
                found=f"nodes.{name}.peer = {address}",
                next="if it has its folder, it and this node may be a quorum: start this one; if that is lost, stop the process first",
            )
