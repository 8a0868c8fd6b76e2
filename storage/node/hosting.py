"""Which replicas a node runs: made anew, opened as an earlier life left them, started from a loaded base, forgotten for good."""

from __future__ import annotations

from typing import TYPE_CHECKING

from base.env import Timer
from base.errors import Corrupt, Exists, Missing, ScrubjayError, Unavailable
from base.ids import Ballot, Lsn, Member, PartitionId, Stamp
from storage.btree.engine import EMPTY, Tree
from storage.consensus.group import Group
from storage.consensus.ready import GroupState
from storage.control.catalogue import PartitionInfo, TableMeta
from storage.record import Record
from storage.replica import AMNESIAC, BASE, HEALING, OK, SUSPECT, Replica
from storage.wal.log import Create, Drop, Install, Recovered, ReplicaLog, SetVote, WalLog

if TYPE_CHECKING:
    from storage.node.node import Node


RETRY_MIN_S, RETRY_MAX_S = 0.1, 5.0
"""Pauses between tries to open a tree that the machine does not let us open now; doubled each time."""


class WalReader:
    """One partition's log as the consensus core reads what it no longer holds in memory."""

    def __init__(self, wal: WalLog, partition: PartitionId) -> None:
        self._wal, self._partition = wal, partition

    def read(self, first: Lsn, end: Lsn, *, max_bytes: int) -> list[Record]:
        return self._wal.read(self._partition, first, end, max_bytes=max_bytes)


def _holds_all(replica: Replica, log: ReplicaLog) -> bool:
    """The log alone makes the tree: nothing was let go of, no base was loaded below it, and no heal had set a tree aside."""
    return log.first == 1 and replica.table.restore_of is None and (log.tree, log.vote) == ("ok", "votes")


class Hosting:
    """replicas: what runs here. recovered: what the WAL knew at the start. blocked: replicas whose tree the machine does not let us open now, and why:
    neither a fault of theirs nor kept anywhere; it is tried again for as long as they are hosted."""

    def __init__(self, node: Node, recovered: Recovered) -> None:
        self._node = node
        self._logs: dict[PartitionId, ReplicaLog] = dict(recovered.replicas)
        self.replicas: dict[PartitionId, Replica] = {}
        self.blocked: dict[PartitionId, ScrubjayError] = {}
        self._retries: dict[PartitionId, Timer] = {}

    def known(self, partition: PartitionId) -> bool:
        """The WAL knows this replica from an earlier life, or it runs."""
        return partition in self._logs or partition in self.replicas

    def host(self, table: TableMeta, info: PartitionInfo, *, awaits_base: bool = False) -> Replica:
        """Run the replica of `info` on this node, made anew or as it was. awaits_base: do nothing until a base is loaded."""
        node = self._node
        present = self.replicas.get(info.partition_id)
        if present is not None:
            present.table, present.info = table, info
            return present
        member = next(member for member in info.members if member[0] == node.number)
        replica = Replica(node, table, info, member=Member(*member))
        self.replicas[info.partition_id] = replica
        log = self._logs.get(info.partition_id)
        if log is None and awaits_base:
            replica.state = BASE
        elif log is None:
            self._create_log(replica)
            self._open(replica, None)
        else:
            self._open(replica, log)
        return replica

    def _open(self, replica: Replica, log: ReplicaLog | None, pause_s: float = RETRY_MIN_S) -> None:
        """Make (log None: the replica is new) or open the tree."""
        engine, partition = self._node.engine, replica.partition

        def opened(tree: Tree | ScrubjayError) -> None:
            if replica.stopped or self._node.stopping:
                if not isinstance(tree, ScrubjayError):
                    tree.close()
            elif isinstance(tree, Unavailable):
                self._again(replica, log, tree, pause_s)
            elif isinstance(tree, Missing) and log is not None and _holds_all(replica, log):
                # The log's Create was durable before the tree was: every record it ever had is still in the log.
                engine.create(partition, opened)
            else:
                self.blocked.pop(partition, None)
                self._opened(replica, log, tree)

        def made(tree: Tree | ScrubjayError) -> None:
            if isinstance(tree, Exists):
                engine.open(partition, found)
            else:
                opened(tree)

        def found(tree: Tree | ScrubjayError) -> None:
            # An earlier life made it, and died before the log knew of the replica: an empty tree is as good as new.
            if isinstance(tree, ScrubjayError) or tree.state == EMPTY:
                opened(tree)
                return
            tree.close()
            opened(Corrupt("a tree with rows lies here, and the log does not know the replica", what="tree", where=partition))

        if log is None:
            engine.create(partition, made)
        else:
            engine.open(partition, opened)

    def _again(self, replica: Replica, log: ReplicaLog | None, error: Unavailable, pause_s: float) -> None:
        """No memory, no descriptors, a worker that was killed: says nothing about the tree."""
        node, partition = self._node, replica.partition
        if str(self.blocked.get(partition)) != str(error):
            replica.reason = f"its tree cannot be opened now: {error}"
            node.log_state(replica, replica.state, f"{replica.reason}; it is tried again")
        self.blocked[partition] = error

        def retry() -> None:
            self._retries.pop(partition, None)
            if not replica.stopped and not node.stopping and node.failed is None:
                self._open(replica, log, min(2 * pause_s, RETRY_MAX_S))

        self._retries[partition] = node.env.tasks.call_later(pause_s, retry)

    def _create_log(self, replica: Replica) -> None:
        """Make the replica known to the WAL; its log starts at LSN 1."""
        self._node.queue_control(Create(replica.partition, replica.member, Lsn(1)))

    def _opened(self, replica: Replica, log: ReplicaLog | None, tree: Tree | ScrubjayError) -> None:
        node = self._node
        if isinstance(tree, ScrubjayError):
            self._start_group(replica, log, Lsn(log.first - 1) if log is not None else Lsn(0))
            if isinstance(tree, Missing) and log is not None and log.tree in (SUSPECT, HEALING):
                replica.behind = True  # a heal was cut off after it had set the old tree aside: no new fault, the heal is due again
            else:
                node.finding(replica, kind="unreadable", found_by="read", detail=f"tree cannot be opened: {tree}")
            replica.suspect(f"tree cannot be opened: {tree}")
            return
        try:
            replica.opened(tree)
        except Corrupt as error:
            tree.close()
            self._start_group(replica, log, Lsn(log.first - 1) if log is not None else Lsn(0))
            replica.behind = log is not None and log.tree in (SUSPECT, HEALING)  # a heal was cut off: it is due again
            replica.suspect(f"tree state malformed: {error}")
            return
        self._start_group(replica, log, tree.state.applied, tree.state.stamp)
        if log is not None:
            if log.tree in (SUSPECT, HEALING):
                replica.state = OK
                replica.set_state(SUSPECT, "found suspect before the last stop")
            if log.vote == AMNESIAC:
                node.queue_control(SetVote(replica.partition, AMNESIAC))
                replica.set_state(AMNESIAC, log.amnesia or "its log lost synced bytes before the last stop")
        if log is not None and log.damaged and replica.state != AMNESIAC:
            replica.log_damaged(log.damaged[0][0], Corrupt("damage found in the log at start", what="wal", ranges=log.damaged))
        for own in replica.segments.facts.sealed:
            replica.state_segment(own, want=True)
        node.dirty(replica)

    def _start_group(self, replica: Replica, log: ReplicaLog | None, applied: Lsn, stamp: Stamp = Stamp(0)) -> None:
        node = self._node
        if log is None:
            state = GroupState(Ballot(0), Ballot(0), Ballot(0), Lsn(1), Lsn(0), applied)
        else:
            first, last = log.first, log.last
            if applied > last:
                # The tree is ahead of its log (a heal whose Install was not synced when the node died): the log restarts behind it.
                first, last = Lsn(applied + 1), applied
                node.queue_control(Install(replica.partition, applied, log.accepted))
            state = GroupState(log.promised, log.accepted, log.resigned, first, last, applied, stamp)
        rand = node.env.rand
        replica.group = Group(
            partition=replica.partition,
            me=replica.member,
            members=tuple(Member(*member) for member in replica.info.members),
            state=state,
            log=WalReader(node.wal, replica.partition),
            liveness=node.liveness,
            clock=node.clock,
            options=node.consensus_options,
            jitter=lambda: rand.uniform(0.0, 1.0),
        )
        replica.chosen = max(replica.chosen, applied)
        node.dirty(replica)

    def start_loaded(self, replica: Replica, tree: Tree) -> None:
        """A restored base is loaded (state at LSN 0): the replica begins its log."""
        if replica.group is None:
            if replica.partition not in self._logs:
                self._create_log(replica)
            replica.opened(tree)
            self._start_group(replica, self._logs.get(replica.partition), tree.state.applied)

    def forget(self, partition: PartitionId) -> None:
        """The table was dropped and its log is archived: remove the replica for good."""
        node = self._node
        replica = self.replicas.pop(partition, None)
        log = self._logs.pop(partition, None)
        self.blocked.pop(partition, None)
        retry = self._retries.pop(partition, None)
        if retry is not None:
            retry.cancel()
        if replica is not None:
            replica.stopped = True
            tree = replica.detach_tree()
            if tree is not None:
                tree.close()
            if replica.group is not None or replica.state != BASE:
                node.queue_control(Drop(partition))
            node.engine.drop(partition)
            node.deadlines.forget(partition)
            node.turn.forget(partition)
            node.turn.schedule()
        elif log is not None:
            # It was not hosted in this life: a node that was down while the others forgot it.
            node.queue_control(Drop(partition))
            node.engine.drop(partition)
