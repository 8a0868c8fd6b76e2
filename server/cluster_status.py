"""`scrubjay cluster status`: nodes and partitions as this process knows them, asked of nobody."""

from __future__ import annotations

from typing import Any

from scrubjay.base.ids import NodeName
from scrubjay.server.control import Control
from scrubjay.server.health import in_use, restoring
from scrubjay.server.ports import Report
from scrubjay.storage.catalogue import PartitionInfo, TableMeta
from scrubjay.storage.control.fleet import copy_of
from scrubjay.storage.node.port import error_of

ALL_WELL, DEGRADED = 0, 3


def serves(control: Control, now_us: int) -> bool:
    """Reads and writes of every table in use would be served, as far as is known here."""
    for table in (control.system, *control.metadata.tables.values()):
        if restoring(table) or not in_use(table, now_us):
            continue
        for info in table.partitions:
            leader = control.fleet.leader(info.partition_id)
            if leader is None or control.ports[leader.node].status().full:
                return False
    return True


def cluster_report(control: Control, zones: dict[NodeName, str]) -> Report:
    """exit: 0 if every copy of every partition is whole and has a leader, else 3."""
    nodes = [_node(control, name, zones.get(name)) for name in control.ports]
    shown = [table for table in (control.system, *control.metadata.tables.values()) if table.status != "DROPPED"]
    partitions = [_partition(control, table, info) for table in sorted(shown, key=lambda each: each.name) for info in table.partitions]
    well = all(node["state"] == "ok" for node in nodes)
    well = well and all(one["leader"] is not None and all(copy["state"] == "ok" for copy in one["members"]) for one in partitions)
    following = control.following
    return {
        "exit": ALL_WELL if well else DEGRADED,
        "nodes": nodes,
        "partitions": partitions,
        "catalogue": None if following is None or following.failed is None else str(following.failed),
    }


def _node(control: Control, name: NodeName, zone: str | None) -> dict[str, Any]:
    status = control.ports[name].status()
    state = "failed" if status.failed is not None else "full" if status.full else "ok" if status.started else "starting"
    return {
        "node": name,
        "zone": zone,
        "state": state,
        "failed": None if status.failed is None else str(error_of(status.failed)),
        "leaders": status.leaders,
        "replicas": status.replicas,
    }


def _partition(control: Control, table: TableMeta, info: PartitionInfo) -> dict[str, Any]:
    leader = control.fleet.leader(info.partition_id)
    facts = {one.node: one for one in control.fleet.facts(info.partition_id)}
    furthest = max((one.chosen for one in facts.values()), default=0)
    members = []
    for node in control.fleet.members(info):
        one = facts.get(node.name)
        copy = copy_of(node, one)
        members.append(
            {
                "node": node.name,
                "incarnation": next((member[1] for member in info.members if member[0] == node.number), None),
                "kind": copy.kind,
                "state": copy.state,
                "tree": None if one is None else one.tree,
                "vote": None if one is None else one.vote,
                "applied": None if one is None else one.applied,
                "lag": None if one is None else max(0, furthest - one.applied),
            }
        )
    return {
        "table": table.name,
        "partition": info.partition_id,
        "lo": info.lo,
        "hi": info.hi,
        "leader": None if leader is None else leader.node,
        "ballot": None,
        "members": members,
        "healing": any(one.state == "healing" for one in facts.values()),
        "lineage": None,
    }
