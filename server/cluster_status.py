"""`scrubjay cluster status`: nodes and partitions as this process knows them, asked of nobody."""

from __future__ import annotations

from typing import Any

from scrubjay.base.ids import NodeName
from scrubjay.base.times import utc_text
from scrubjay.server.balancing import balance_report
from scrubjay.server.control import Control
from scrubjay.server.cut_histories import cuts_of
from scrubjay.server.health import in_use, restoring
from scrubjay.server.ports import Report
from scrubjay.server.raising import version_report
from scrubjay.storage.catalogue import DRAINING, NodeMember, PartitionInfo, TableMeta, parent_of
from scrubjay.storage.control.fleet import copy_of
from scrubjay.storage.node.port import error_of

ALL_WELL, DEGRADED = 0, 3


def serves(control: Control, now_us: int) -> bool:
    """Reads and writes of every table in use would be served, as far as is known here; while the metadata group has no leader too. A router that is down for each new
    table, until nodes have told who leads it, would be taken out of its load balancer's list."""
    tables = [table for table in control.metadata.tables.values() if not restoring(table) and in_use(table, now_us)]
    for table in tables or [control.system]:
        for info in table.partitions:
            leader = control.fleet.leader(info.partition_id)
            if leader is None and tables and control.fleet.awaited(table, info.partition_id, now_us):
                continue
            if leader is None or control.ports[leader.node].status().full:
                return False
    return True


def cluster_report(control: Control, zones: dict[NodeName, str]) -> Report:
    """exit: 0 if every copy of every partition is whole and has a leader, else 3. A copy on its way to another node is asked nothing."""
    members = control.members()
    nodes = [_node(control, name, zones.get(name), members.get(name)) for name in control.ports]
    shown = [table for table in (control.system, *control.metadata.tables.values()) if table.status != "DROPPED"]
    partitions = [_partition(control, table, info) for table in sorted(shown, key=lambda each: each.name) for info in table.partitions]
    well = all(node["state"] in ("ok", "draining") for node in nodes if NodeName(node["node"]) in members)
    well = well and all(
        one["leader"] is not None
        and all(
            copy["moves"] or (copy["state"] == "ok" and copy["vote"] == "votes")
            for copy in one["members"]
            if copy["kind"] != "log" or copy["vote"] == "votes"
        )
        for one in partitions
    )
    following = control.following
    return {
        "exit": ALL_WELL if well else DEGRADED,
        "nodes": nodes,
        "partitions": partitions,
        "version": version_report(control),
        "balance": balance_report(control),
        "catalogue": None if following is None or following.failed is None else str(following.failed),
    }


def voters_up(control: Control, info: PartitionInfo) -> int:
    """How many members vote and answer: with one fewer than two the partition stops."""
    facts = [node.facts(info.partition_id) for node in control.fleet.members(info)]
    return sum(one is not None and one.up and one.vote == "votes" for one in facts)


def stand_in(control: Control, info: PartitionInfo) -> NodeName | None:
    """The node whose log replica votes in the place of a member that is lost (ADR 0080)."""
    logs = [node for node in control.fleet.members(info) if node.number in info.logs]
    return next((node.name for node in logs if (one := node.facts(info.partition_id)) is not None and one.vote == "votes"), None)


def _node(control: Control, name: NodeName, zone: str | None, member: NodeMember | None) -> dict[str, Any]:
    """member: None: the configuration names it, and it has not joined, or was removed."""
    status = control.ports[name].status()
    state = "failed" if status.failed is not None else "full" if status.full else "ok" if status.started else "starting"
    if member is None:
        state = "no member" if control.metadata.standing(name, status.number) is None else "removed"
    elif state == "ok" and member.state == DRAINING:
        state = DRAINING
    return {
        "node": name,
        "zone": zone,
        "state": state,
        "failed": None if status.failed is None else str(error_of(status.failed)),
        "leaders": status.leaders,
        "replicas": status.replicas,
    }


def _lineage(table: TableMeta, info: PartitionInfo) -> dict[str, Any] | None:
    """What the partition was split from, and the LSN of that log behind which its own goes on. None: it began with its table."""
    former = parent_of(table, info.partition_id)
    return None if former is None else {"partition": former.info.partition_id, "lsn": former.final.lsn, "until": utc_text(former.closed_us)}


def _partition(control: Control, table: TableMeta, info: PartitionInfo) -> dict[str, Any]:
    leader = control.fleet.leader(info.partition_id)
    facts = {one.node: one for one in control.fleet.facts(info.partition_id)}
    furthest = max((one.chosen for one in facts.values()), default=0)
    members = []
    known = {name: member.incarnation for name, member in control.metadata.nodes.items()}
    for node in control.fleet.members(info):
        one = facts.get(node.name)
        copy = copy_of(node, one)
        members.append(
            {
                "node": node.name,
                "incarnation": known.get(node.name, 1) if one is None else one.incarnation,
                "kind": copy.kind,
                "state": copy.state,
                "tree": None if one is None else one.tree,
                "vote": None if one is None else one.vote,
                "applied": None if one is None else one.applied,
                "moves": control.fleet.on_its_way(info, node.number),
                "lag": None if one is None else max(0, furthest - one.applied),
            }
        )
    return {
        "table": table.name,
        "partition": info.partition_id,
        "lo": info.lo,
        "hi": info.hi,
        "leader": None if leader is None else leader.node,
        "ballot": None if leader is None else leader.ballot,
        "members": members,
        "voters": voters_up(control, info),
        "stand_in": stand_in(control, info),
        "healing": any(one.state == "healing" for one in facts.values()),
        "lineage": _lineage(table, info),
        "recovered": _recovered(control, info),
    }


def _recovered(control: Control, info: PartitionInfo) -> dict[str, Any] | None:
    """That its quorum was lost, and behind which LSN its history was cut; None: never, as far as is known."""
    note, cut = cuts_of(control.metadata.jobs).get(info.partition_id, (None, None))
    if note is None or cut is None:
        return None
    return {
        "at": utc_text(note.at_us),
        "from": note.survivor,
        "lost": list(note.nodes),
        "kept_to": cut.last,
        "archived": cut.archived,
        "proven": None if cut.over_us is None else utc_text(cut.over_us),
    }
