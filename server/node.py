"""One storage node from its ports: disk, network, tree engine, options. `serve --dev` opens three of these in one process, the simulator one per host and life."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from scrubjay.base.env import Disk, Env, Network
from scrubjay.base.errors import ScrubjayError, Unsafe
from scrubjay.base.hlc import COUNTER_BITS, HybridClock
from scrubjay.base.ids import ClusterId, NodeName, PartitionId
from scrubjay.storage.btree.engine import TreeEngine
from scrubjay.storage.consensus.options import ConsensusOptions
from scrubjay.storage.node import Node, NodeEvents
from scrubjay.storage.node.archive_source import NodeLogSource
from scrubjay.storage.node.identity import Members
from scrubjay.storage.node.port import NodePort
from scrubjay.storage.node.port_local import AbsentNode, LocalNode
from scrubjay.storage.options import StorageOptions
from scrubjay.storage.replica import BASE, Replica
from scrubjay.storage.service_port import Finding
from scrubjay.storage.wal.port import Recovered
from scrubjay.storage.wal.wal import Wal

JOIN_POLL_S = 0.02
NOTE_S = 10.0
"""Between two notes of how far the logs have come; so old a copy of a node's folder may be, put back in the same life, before it is noticed."""
RESERVATION_US = 3_000_000
"""How far ahead of the wall clock a reservation reaches by itself (base.hlc), where syncs are not slow."""


class ClockFault(Unsafe):
    """The machine's clock is wrong: nobody who runs on it may start."""


class WalSizes(NamedTuple):
    """Bytes: of one file, of all of them, and of the part of the limit that data may not fill."""

    file: int
    limit: int
    reserve: int


class NodeListeners(NamedTuple):
    """Who hears what a node has to say. state(node, partition or None, state, reason)."""

    finding: Callable[[Finding], None]
    state: Callable[[NodeName, PartitionId | None, str, str], None]


@dataclass(slots=True)
class RunningNode:
    """A node and what it stands on. port: what others see of it. `close` once it is stopped."""

    node: Node
    port: LocalNode
    wal: Wal
    engine: TreeEngine
    source: NodeLogSource

    def close(self) -> None:
        self.engine.close()
        self.wal.close()


class Founding(NamedTuple):
    """Who belongs to the cluster. members: its list. mint: a fresh UUID, for a folder that never was a node's."""

    cluster_id: ClusterId
    members: Members
    mint: Callable[[], str]


def open_node(
    *,
    name: NodeName,
    names: Mapping[int, NodeName],
    env: Env,
    disk: Disk,
    network: Network,
    engine: Callable[[], TreeEngine],
    wal: WalSizes,
    options: StorageOptions,
    consensus: ConsensusOptions,
    founding: Founding,
    told: NodeListeners,
    replayed: Callable[[int, int], object] | None = None,
    alone_since_us: int | None = None,
) -> RunningNode:
    """Recover the node's log and make the node; it speaks only after `start_node`. names: every node's name by its number.

    replayed: told how far the log is read, (bytes, bytes in all). alone_since_us: see Node.

    Raises ClockFault if its clock reservation lies further ahead of the wall clock than `check_clock` allows; Unsafe if this folder must not speak for
    this member (`storage.node.identity`); Corrupt, DiskFull, Unavailable if it cannot be read or written.
    """
    number = next(at for at, one in names.items() if one == name)
    identity, joining = founding.members.admit(disk, node=name, number=number, mint=founding.mint(), now_us=env.clock.wall_us())
    log, recovered = Wal.open(
        disk,
        "wal",
        file_size=wal.file,
        limit_bytes=wal.limit,
        reserve_bytes=wal.reserve,
        call_later=env.tasks.call_later,
        said=replayed,
    )
    try:
        _check_owner(name, number, recovered)
        founding.members.check_log(name, boots=recovered.boot_count, reserved=recovered.reservation)
        check_clock(env, name, recovered.reservation >> 12, options)
    except ScrubjayError:
        log.close()
        raise
    running: list[RunningNode] = []

    def changed(partition: PartitionId) -> None:
        for one in running:
            one.source.notify(partition)

    def finding(node: Node, replica: Replica, **facts: Any) -> None:
        told.finding(finding_of(node.name, replica.partition, facts, at_us=env.clock.wall_us()))

    def state(node: Node, replica: Replica | None, state: str, reason: str) -> None:
        told.state(node.name, replica.partition if replica is not None else None, state, reason)

    opened = engine()
    node = Node(
        name=name,
        number=number,
        peers={at: peer for at, peer in names.items() if peer != name},
        env=env,
        network=network,
        engine=opened,
        disk=disk,
        wal=log,
        recovered=recovered,
        options=options,
        consensus_options=consensus,
        events=NodeEvents(finding=finding, state=state, archive=changed),
        cluster_id=founding.cluster_id,
        incarnation=identity.incarnation,
        joining=joining,
        alone_since_us=alone_since_us,
    )
    running.append(RunningNode(node, LocalNode(node), log, opened, NodeLogSource(node)))
    return running[0]


def _check_owner(name: NodeName, number: int, recovered: Recovered) -> None:
    """Raises Unsafe if the log is another node's: its promises would be spoken in this member's place, and this member's own be forgotten."""
    others = sorted({log.member.node for log in recovered.replicas.values()} - {number})
    if others:
        raise Unsafe("the log in this node's folder is another node's", node=name, number=number, found=others)


def start_node(node: Node, members: Members, done: Callable[[ScrubjayError | None], None]) -> None:
    """Let the node speak. done, once: None when it may, or why it failed (its peers go on without it)."""

    def started(error: ScrubjayError | None) -> None:
        if error is None:
            try:
                members.booted(node.name, node.boot_count)
            except ScrubjayError as unwritten:
                node.log_state(None, "ok", f"an older copy of this node's folder would not be noticed: {unwritten}")
        done(error)

    if node.failed is not None:  # it learnt that it stays out before it could speak: its process goes on without it
        done(node.failed)
    else:
        node.start(started)


def join(env: Env, members: Members, node: Node) -> None:
    """A node that joins makes the logs it is asked for; once they are durable it has no others to make. Call it when everything is hosted."""
    if not node.joining or not node.running:
        return
    if all(replica.logged for replica in node.members.values() if replica.state != BASE):
        try:
            members.joined(node.name)
        except ScrubjayError as error:
            node.log_state(None, "ok", f"still joining: {error}")
        else:
            node.joining = False
            return
    env.tasks.call_later(JOIN_POLL_S, lambda: join(env, members, node))


def keep_noting(env: Env, members: Members, nodes: Sequence[Node], peers: Sequence[NodePort] = ()) -> None:
    """Note now and then, outside the nodes' folders, how far their logs have come: a folder put back from a copy made in the same life is behind it.
    nodes: of this process. peers: members in other processes, as far as they have told."""

    def note() -> None:
        going = [node for node in nodes if node.started and node.running]
        if nodes and not going:
            return
        told = {
            peer.name: status.reserved_us << COUNTER_BITS for peer in peers if (status := peer.status()).started and status.failed is None
        }
        try:
            members.note({node.name: int(node.pulse.clock.reservation) for node in going} | told)
        except ScrubjayError as error:
            for node in going[:1]:
                node.log_state(None, "ok", f"an older copy of a node's folder would not be noticed: {error}")
        finally:
            env.tasks.call_later(NOTE_S, note)

    env.tasks.call_later(NOTE_S, note)


def absent_node(*, name: NodeName, number: int, told: NodeListeners, failed: ScrubjayError) -> AbsentNode:
    """Stands for a node that cannot be opened, or must stay out."""
    told.state(name, None, "failed", f"this node stays out: {failed}")
    return AbsentNode(name=name, number=number, failed=failed)


def check_clock(env: Env, name: NodeName, reservation_us: int, options: StorageOptions) -> None:
    """Raises ClockFault if this machine's clock is behind what the node has promised already, by more than may be."""
    ahead = reservation_us - env.clock.wall_us()
    slowest = HybridClock.RESERVE_AHEAD_MAX_US - HybridClock.RESERVE_AHEAD_US  # nobody knows how slow syncs were before this start
    allowed = RESERVATION_US + slowest + options.max_clock_offset_us + options.clock_ahead_accepted_us
    if ahead > allowed:
        hours = -(-ahead // 3_600_000_000)
        raise ClockFault(
            "this machine's clock is behind what the node has already promised",
            node=name,
            ahead_seconds=round(ahead / 1e6, 3),
            allowed_seconds=allowed / 1e6,
            next=f"if this clock is wrong, set it right; if it is right and an earlier one ran ahead, wait until it has caught up, or start with "
            f"--set consensus.clock_ahead_accepted={hours}h: time stamps and the restorable window then go on from where they were (runbooks/clock-ahead.md)",
        )


def finding_of(node: NodeName, partition: PartitionId, facts: Mapping[str, Any], *, at_us: int) -> Finding:
    """What a replica found, as the services keep it."""
    return Finding(
        kind=facts["kind"],
        copy=node if facts["object"] is None else "archive",
        partition=partition,
        key=None,
        storage_key=facts["storage_key"],
        object=facts["object"],
        lsn=facts["lsn"],
        segment=None,
        found_by=facts["found_by"],
        action="none",
        detail=facts["detail"],
        at_us=at_us,
    )
