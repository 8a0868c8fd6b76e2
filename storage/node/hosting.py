"""Which replicas a node runs: made anew, opened as an earlier life left them, started from a loaded base, forgotten for good."""

from __future__ import annotations

from scrubjay.base.env import Timer
from scrubjay.base.errors import Corrupt, Exists, Invalid, Missing, ScrubjayError, Unavailable
from scrubjay.base.ids import Ballot, Lsn, Member, PartitionId, Stamp
from scrubjay.storage.btree.engine import EMPTY, Tree
from scrubjay.storage.catalogue import PartitionInfo, TableMeta
from scrubjay.storage.consensus.group import Group
from scrubjay.storage.consensus.group_config import GroupConfig, GroupStart
from scrubjay.storage.consensus.membership import Membership
from scrubjay.storage.log.configuration import founding
from scrubjay.storage.log.record import Record
from scrubjay.storage.node.home import Home
from scrubjay.storage.node.pulse import Pulse
from scrubjay.storage.replica import AMNESIAC, HEALING, SUSPECT, LogReplica, Replica
from scrubjay.storage.wal.port import Create, Drop, Install, Recovered, ReplicaLog, WalLog

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
    """members: what runs here. replicas: of them the storage replicas. recovered: what the WAL knew at the start. blocked: replicas whose tree the machine does not let us open now, and why:
    neither a fault of theirs nor kept anywhere; it is tried again for as long as they are hosted."""

    def __init__(self, node: Home, recovered: Recovered, pulse: Pulse) -> None:
        self._node, self._pulse = node, pulse
        self._logs: dict[PartitionId, ReplicaLog] = dict(recovered.replicas)
        self.members: dict[PartitionId, LogReplica] = {}
        self.replicas: dict[PartitionId, Replica] = {}
        self.blocked: dict[PartitionId, ScrubjayError] = {}
        self._retries: dict[PartitionId, Timer] = {}
        self._created: set[PartitionId] = set()
        """Replicas whose log was begun in this life."""

    def known(self, partition: PartitionId) -> bool:
        """The WAL knows this replica from an earlier life, or it runs."""
        return partition in self._logs or partition in self.members

    def host(self, table: TableMeta, info: PartitionInfo, *, awaits_base: bool = False) -> LogReplica | None:
        """Run the replica of `info` on this node, made anew or as it was; None if it is gone for good. awaits_base: do nothing until a base is loaded.
        Raises Invalid if the node is none of its members."""
        node = self._node
        present = self.members.get(info.partition_id)
        if present is not None:
            present.table, present.info = table, info
            return present
        log = self._logs.get(info.partition_id)
        if log is None and table.status == "DROPPED":
            return None
        member = next((member for member in info.members if member[0] == node.number), None)
        if member is None:
            raise Invalid("this node is no member of the partition", partition=info.partition_id, node=node.name)
        if node.number in info.logs:
            return self._host_log(LogReplica(node, table, info, member=Member(*member)), log)
        replica = Replica(node, table, info, member=Member(*member))
        self.members[info.partition_id] = self.replicas[info.partition_id] = replica
        replica.logged = log is not None
        if log is not None:
            self._open(replica, log)
        elif awaits_base:
            replica.awaits_base()
        elif not self._may_begin(table):
            self._stays_out(replica)
        else:
            self._create_log(replica)
            if table.restore_of is not None and table.status != "CREATING":
                # Its rows were loaded while this node was down: an empty tree would not be what the log goes on from.
                self._start_group(replica, None, Lsn(0))
                replica.behind = True
                replica.suspect("the base of this restored table never came here")
            else:
                self._open(replica, None)
        return replica

    def _host_log(self, replica: LogReplica, log: ReplicaLog | None) -> LogReplica:
        """A log replica: nothing but its log has to be there, and it never leads."""
        self.members[replica.partition] = replica
        replica.logged = log is not None
        if log is None and not self._may_begin(replica.table):
            self._stays_out(replica)
            return replica
        if log is None:
            self._create_log(replica)
        first = Lsn(1) if log is None else log.first
        replica.opened_log(first)
        group = self._start_group(replica, log, Lsn(first - 1))
        group.set_lead(False, self._node.now())
        self._remember(replica, log)
        return replica

    def _stays_out(self, replica: LogReplica) -> None:
        replica.amnesia(
            f"its log is gone: the catalogue has this member since the table was made ({replica.table.status}), and the WAL does not know it",
            known=False,
        )
        self._node.finding(replica, kind="unreadable", found_by="read", detail=f"replica stays out: {replica.reason}")

    def _may_begin(self, table: TableMeta) -> bool:
        """A log that the WAL does not know is made only on the word of the catalogue: nobody can have counted on it yet."""
        return table.status == "CREATING" or self._node.joining or self._node.number in table.absent

    def _open(self, replica: Replica, log: ReplicaLog | None, pause_s: float = RETRY_MIN_S) -> None:
        """Make (log None: the replica is new) or open the tree."""
        engine, partition, guarded = self._node.engine, replica.partition, self._node.guarded

        def opened(tree: Tree | ScrubjayError) -> None:
            if replica.stopped or self._node.stopping:
                if not isinstance(tree, ScrubjayError):
                    tree.close()
            elif isinstance(tree, Unavailable):
                self._again(replica, log, tree, pause_s)
            elif isinstance(tree, Missing) and log is not None and _holds_all(replica, log):
                # The log's Create was durable before the tree was: every record it ever had is still in the log.
                engine.create(partition, guarded(opened))
            else:
                self.blocked.pop(partition, None)
                self._opened(replica, log, tree)

        def made(tree: Tree | ScrubjayError) -> None:
            if isinstance(tree, Exists):
                engine.open(partition, guarded(found))
            else:
                opened(tree)

        def found(tree: Tree | ScrubjayError) -> None:
            # An earlier life made it, and died before the log knew of the replica: an empty tree is as good as new.
            if isinstance(tree, ScrubjayError) or tree.state == EMPTY:
                opened(tree)
                return
            tree.close()
            opened(Corrupt("a tree with rows lies here, and the log does not know the replica", what="tree", where=partition))

        try:
            if log is None:
                engine.create(partition, guarded(made))
            else:
                engine.open(partition, guarded(opened))
        except ScrubjayError as error:
            opened(error)

    def _again(self, replica: Replica, log: ReplicaLog | None, error: Unavailable, pause_s: float) -> None:
        """No memory, no descriptors, a worker that was killed: says nothing about the tree."""
        node, partition = self._node, replica.partition
        if str(self.blocked.get(partition)) != str(error):
            replica.note(f"its tree cannot be opened now: {error}")
            node.log_state(replica, replica.state, f"{replica.reason}; it is tried again")
        self.blocked[partition] = error

        def retry() -> None:
            self._retries.pop(partition, None)
            if not replica.stopped and not node.stopping and node.failed is None:
                self._open(replica, log, min(2 * pause_s, RETRY_MAX_S))

        self._retries[partition] = node.env.tasks.call_later(pause_s, node.guarded(retry))

    def _create_log(self, replica: LogReplica) -> None:
        """Make the replica known to the WAL; its log starts at LSN 1."""

        def durable() -> None:
            replica.logged = True

        self._created.add(replica.partition)
        self._node.queue_control(Create(replica.partition, replica.member, Lsn(1)), durable)

    def _opened(self, replica: Replica, log: ReplicaLog | None, tree: Tree | ScrubjayError) -> None:
        node = self._node
        healing = log is not None and log.tree == HEALING
        bad = ""
        if isinstance(tree, ScrubjayError):
            bad = f"tree cannot be opened: {tree}"
            if not (isinstance(tree, Missing) and healing):
                node.finding(replica, kind="unreadable", found_by="read", detail=bad)
        else:
            try:
                replica.opened(tree)
            except Corrupt as error:
                tree.close()
                bad = f"tree state malformed: {error}"
        if bad or isinstance(tree, ScrubjayError):
            self._start_group(replica, log, Lsn(log.first - 1) if log is not None else Lsn(0))
            replica.behind = healing  # a heal was cut off after it had set the old tree aside: no new fault, it is due again
            replica.suspect(bad)
            self._remember(replica, log)
            return
        ahead = log is not None and tree.state.applied > log.last
        self._start_group(replica, log, tree.state.applied, tree.state.stamp, install=ahead, keep=healing)
        if log is not None and ahead and not healing:
            # Nothing durable says that a snapshot took the place of this log, so the log has lost what the tree was made of.
            replica.amnesia(f"its tree is at LSN {tree.state.applied}, beyond the end of its log at {log.last}")
        if log is not None and log.tree in (SUSPECT, HEALING):
            replica.set_state(SUSPECT, "found suspect before the last stop")
        self._remember(replica, log)
        replica.attest.state_all()
        node.dirty(replica)

    def _remember(self, replica: LogReplica, log: ReplicaLog | None) -> None:
        """What the WAL says of this replica's log, whatever became of its tree."""
        if log is None:
            return
        if log.vote == AMNESIAC:
            replica.amnesia(log.amnesia or "its log lost synced bytes before the last stop")
        elif log.damaged and replica.status.vote != AMNESIAC:
            replica.repair.found(log.damaged[0][0], Corrupt("damage found in the log at start", what="wal", ranges=log.damaged))

        else:
            replica.trim()  # what is archived and in the tree need not be read at the next start

    def _start_group(
        self,
        replica: LogReplica,
        log: ReplicaLog | None,
        applied: Lsn,
        stamp: Stamp = Stamp(0),
        *,
        install: bool = False,
        keep: bool = True,
    ) -> Group:
        """install: the tree is a snapshot beyond the log, which restarts behind it (a heal whose Install was not synced when the node died). keep: durably."""
        node = self._node
        if log is None:
            start = GroupStart(Ballot(0), Ballot(0), Ballot(0), Lsn(1), Lsn(0), applied)
        else:
            first, last = log.first, log.last
            if install:
                first, last = Lsn(applied + 1), applied
                if keep:
                    node.queue_control(Install(replica.partition, applied, log.accepted))
            start = GroupStart(log.promised, log.accepted, log.resigned, first, last, applied, stamp)
        rand = node.env.rand
        group = Group(
            GroupConfig(
                partition=replica.partition,
                members=Membership(
                    replica.member, founding(tuple(Member(*member) for member in replica.info.members), logs=tuple(replica.info.logs))
                ),
                start=start,
                reader=WalReader(node.wal, replica.partition),
                liveness=self._pulse.liveness,
                clock=self._pulse.clock,
                options=self._pulse.options,
                jitter=lambda: rand.uniform(0.0, 1.0),
            )
        )
        replica.start(group, applied)
        return group

    def start_loaded(self, replica: Replica, tree: Tree) -> None:
        """A restored base is loaded (state at LSN 0): the replica begins its log."""
        if replica.group is None:
            if replica.partition not in self._logs and replica.partition not in self._created:
                self._create_log(replica)
            replica.opened(tree)
            self._start_group(replica, self._logs.get(replica.partition), tree.state.applied)

    def forget(self, partition: PartitionId) -> None:
        """The table was dropped and its log is archived: remove the replica for good."""
        node = self._node
        self.replicas.pop(partition, None)
        replica = self.members.pop(partition, None)
        log = self._logs.pop(partition, None)
        logged = log is not None or partition in self._created
        self._created.discard(partition)
        self.blocked.pop(partition, None)
        retry = self._retries.pop(partition, None)
        if retry is not None:
            retry.cancel()
        if replica is not None:
            replica.forgotten()
            if logged:
                node.queue_control(Drop(partition))
            node.engine.drop(partition)
            node.deadlines.forget(partition)
            node.turn.forget(partition)
            node.turn.schedule()
        elif log is not None:
            # It was not hosted in this life: a node that was down while the others forgot it.
            node.queue_control(Drop(partition))
            node.engine.drop(partition)
