"""Which replicas a node runs: made anew, opened as an earlier life left them, started from a loaded base, forgotten for good."""

from __future__ import annotations

from functools import partial

from scrubjay.base.env import Timer
from scrubjay.base.errors import Corrupt, Exists, Invalid, Missing, ScrubjayError, Unavailable
from scrubjay.base.ids import Ballot, Lsn, Member, PartitionId, Stamp
from scrubjay.storage.btree.engine import EMPTY, Tree
from scrubjay.storage.catalogue import INCARNATION_FIRST, PartitionInfo, TableMeta, parent_of
from scrubjay.storage.consensus.group import Group
from scrubjay.storage.consensus.group_config import GroupConfig, GroupStart
from scrubjay.storage.consensus.membership import Membership
from scrubjay.storage.log.configuration import Configuration, decode_configuration, founding
from scrubjay.storage.log.record import Record
from scrubjay.storage.node.home import Home
from scrubjay.storage.node.pulse import Pulse
from scrubjay.storage.replica import AMNESIAC, BASE, HEALING, LOG, SUSPECT, Configured, LogReplica, Replica
from scrubjay.storage.wal.port import Create, Drop, Install, Recovered, ReplicaLog, SetTree, WalLog

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


def _published(table: TableMeta, info: PartitionInfo) -> bool:
    """The table was restored or imported, and is served: its partitions go on from bases that were loaded by then. Those that splits made since go on from others."""
    return table.restore_of is not None and table.status != "CREATING" and parent_of(table, info.partition_id) is None


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

    @property
    def begun(self) -> bool:
        """The WAL knows of some replica, or is about to: a member may have spoken from this folder."""
        return bool(self._logs or self._created or self.members)

    def known(self, partition: PartitionId) -> bool:
        """The WAL knows this replica from an earlier life, or it runs."""
        return partition in self._logs or partition in self.members

    def host(self, table: TableMeta, info: PartitionInfo, *, awaits_base: bool = False, coming: bool = False) -> LogReplica | None:
        """Run the replica of `info` on this node, made anew or as it was; None if it is gone for good. awaits_base: do nothing until a base is loaded. coming: a split is to make the
        partition (`storage.node.splitting`): do nothing until then.
        Raises Invalid if the node is none of its members."""
        node = self._node
        member = info.member_on(node.number, node.incarnation)
        self._let_go(info, member)
        present = self.members.get(info.partition_id)
        if present is not None:
            present.told(table, info)
            if isinstance(present, Replica) and present.state == BASE and not (awaits_base or coming) and _published(table, info):
                self._begin_without_base(present)
            return present
        log = self._logs.get(info.partition_id)
        if log is None and table.status == "DROPPED":
            return None
        if node.number not in info.nodes:
            raise Invalid("this node is no member of the partition", partition=info.partition_id, node=node.name)
        if log is not None and log.member != member:
            raise Invalid("the log is of an earlier member of this node", partition=info.partition_id, node=node.name, found=log.member)
        kept = self._kept(info.partition_id, log)
        if node.number in info.logs or kept is not None:
            return self._host_log(LogReplica(node, table, info, member=member), log, kept, coming=coming)
        replica = Replica(node, table, info, member=member)
        self.members[info.partition_id] = self.replicas[info.partition_id] = replica
        replica.logged = log is not None
        if log is not None:
            self._open(replica, log)
        elif awaits_base:
            replica.awaits_base()
        elif coming:
            replica.awaits_parent()
        elif not self._may_begin(table, info):
            self._stays_out(replica)
        elif parent_of(table, info.partition_id) is not None:
            node.engine.drop(replica.partition)  # what an earlier life made of it, and died before its log began
            self.begin_behind(replica)
        else:
            if _published(table, info):
                self._begin_without_base(replica)
            else:
                self._create_log(replica)
                self._open(replica, None)
        return replica

    def _begin_without_base(self, replica: Replica) -> None:
        """Of a restored table whose rows were loaded while this node was down, or could not take them: an empty tree would not be what the log goes on from. It has the log from its first record on, and a heal brings the tree. A base
        that is being loaded comes too late: it is given up."""
        if not self._may_begin(replica.table, replica.info):
            self._stays_out(replica)
            return
        self._create_log(replica)
        self._start_group(replica, None, Lsn(0))
        replica.lacks_its_tree("the base of this restored table never came here")

    def _let_go(self, info: PartitionInfo, member: Member) -> None:
        """A copy that left its group here, which nobody has told so, goes before the one that comes back begins."""
        present, log = self.members.get(info.partition_id), self._logs.get(info.partition_id)
        before = present.member if present is not None else None if log is None else log.member
        if before is not None and member in info.again and before.incarnation < member.incarnation:
            self.forget(info.partition_id)

    def _kept(self, partition: PartitionId, log: ReplicaLog | None) -> Configured | ScrubjayError | None:
        """What a log replica of an earlier life keeps; None: the copy is none, or is made anew."""
        if log is None:
            self._node.forget_log_members(partition)
            return None
        try:
            return self._node.log_members(partition)
        except ScrubjayError as error:
            return error

    def _host_log(
        self, replica: LogReplica, log: ReplicaLog | None, kept: Configured | ScrubjayError | None, *, coming: bool
    ) -> LogReplica:
        """A log replica: its log has to be there, with the file that says who is a member once a CONFIG was followed; it never leads. coming: see `host`."""
        self.members[replica.partition] = replica
        replica.logged = log is not None
        if isinstance(kept, ScrubjayError):
            replica.amnesia(f"who is a member cannot be read beside its log: {kept}", known=False)
            self._node.finding(replica, kind="unreadable", found_by="read", detail=replica.reason)
            return replica
        if kept is not None:
            replica.kept = kept
        if log is None and coming:
            return replica
        if log is None and not self._may_begin(replica.table, replica.info):
            self._stays_out(replica)
            return replica
        self._begin_log(replica, log, Lsn(1))
        return replica

    def _begin_log(self, replica: LogReplica, log: ReplicaLog | None, first: Lsn) -> None:
        """first: where a log that is not there yet begins."""
        if log is None:
            self._note_log(replica)
            self._create_log(replica, first)
        else:
            first = log.first
        replica.opened_log(first)
        group = self._start_group(replica, log, Lsn(first - 1))
        group.set_lead(False, self._node.now())
        self._remember(replica, log)

    def _note_log(self, replica: LogReplica) -> None:
        """That it is a log replica is known before any catalogue is. If that cannot be noted now the catalogue says it, and the first CONFIG that is followed notes it."""
        try:
            self._node.keep_log_members(replica.partition, Lsn(0), b"")
        except ScrubjayError as error:
            self._node.log_state(replica, replica.state, f"that it keeps the log alone is not noted yet: {error}")

    def grow(self, partition: PartitionId) -> None:
        """The log replica here becomes a storage replica that lacks its tree: a heal brings it. It votes on with the log that it has. Raises Unavailable."""
        before = self.members.get(partition)
        if before is None or before.group is None or before.out:
            raise Unavailable("no log replica runs here", partition=partition, node=self._node.name)
        if not isinstance(before, Replica):
            # Durable before the copy is one without a tree: a node that dies half-way then knows at its next start why there is none.
            self._node.queue_control(SetTree(partition, HEALING), partial(self._grown, before))

    def _grown(self, before: LogReplica) -> None:
        node, partition, group = self._node, before.partition, before.group
        if before.stopped or group is None or self.members.get(partition) is not before:
            return
        node.forget_log_members(partition)
        replica = Replica(node, before.table, before.info, member=before.member)
        replica.logged = True
        replica.follow.configured = before.kept
        before.group, before.stopped = None, True
        self.members[partition] = self.replicas[partition] = replica
        replica.takes_place(group.members_chosen.configuration, lsn=group.members_chosen.lsn)
        replica.start(group, group.applied)
        replica.behind = True
        replica.set_state(SUSPECT, "its tree is made anew: it kept the log alone")
        node.arm(replica)

    def _stays_out(self, replica: LogReplica) -> None:
        replica.amnesia(
            f"its log is gone: the catalogue has this member since the table was made ({replica.table.status}), and the WAL does not know it",
            known=False,
        )
        self._node.finding(replica, kind="unreadable", found_by="read", detail=f"replica stays out: {replica.reason}")

    def _may_begin(self, table: TableMeta, info: PartitionInfo) -> bool:
        """A log that the WAL does not know is made only on the word of the catalogue: nobody can have counted on it yet."""
        if table.status == "CREATING" or self._node.number in table.absent or self._node.number in info.fresh:
            return True
        # A first member that did not found the group has a copy on the word above alone: from an emptied folder it would begin what it had before.
        founds = self._node.number in [member[0] for member in info.members]
        return self._node.joining and (founds or self._node.incarnation > INCARNATION_FIRST)

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

    def _create_log(self, replica: LogReplica, first: Lsn = Lsn(1)) -> None:
        """Make the replica known to the WAL; its log starts at that LSN."""

        def durable() -> None:
            replica.logged = True
            self._node.stirred(replica.partition)

        self._created.add(replica.partition)
        self._node.queue_control(Create(replica.partition, replica.member, first), durable)

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
            if healing and isinstance(tree, Missing):
                replica.lacks_its_tree(
                    bad
                )  # a heal was cut off after it had set the old tree aside: no new fault, over any number of starts; it is due again
            else:
                replica.behind = healing
                replica.suspect(bad)
            self._remember(replica, log)
            return
        ahead = log is not None and tree.state.applied > log.last
        self._start_group(replica, log, tree.state.applied, tree.state.stamp, install=ahead, keep=healing)
        if log is not None and ahead and not healing:
            # Nothing durable says that a snapshot took the place of this log, so the log has lost what the tree was made of.
            replica.amnesia(f"its tree is at LSN {tree.state.applied}, beyond the end of its log at {log.last}")
        if log is not None and log.tree in (SUSPECT, HEALING):
            replica.behind = replica.behind or healing  # as above
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
        heir: bool = False,
    ) -> Group:
        """heir: see `GroupConfig`. install: the tree is a snapshot beyond the log, which restarts behind it (a heal whose Install was not synced when the node died). keep: durably."""
        node = self._node
        base, base_lsn = self._base(replica, log)
        replica.takes_place(base, lsn=base_lsn)
        if log is None:
            start = GroupStart(Ballot(0), Ballot(0), Ballot(0), Lsn(applied + 1), applied, applied, stamp)
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
                members=Membership(replica.member, base, base_lsn),
                start=start,
                reader=WalReader(node.wal, replica.partition),
                liveness=self._pulse.liveness,
                clock=self._pulse.clock,
                options=self._pulse.options,
                jitter=lambda: rand.uniform(0.0, 1.0),
                heir=heir,
            )
        )
        replica.start(group, applied)
        return group

    def _base(self, replica: LogReplica, log: ReplicaLog | None) -> tuple[Configuration, Lsn]:
        """Who is a member where the log goes on from: as the tree has it; the founding members, if no CONFIG can have been let go of. Else nobody: it learns, until its log or a heal says more."""
        known, info = replica.configured, replica.info
        if known.lsn:
            return decode_configuration(known.payload), known.lsn
        founders = tuple(Member(*member) for member in info.members)
        told = self._node.configured and log is not None and log.first > 1 and replica.status.tree != LOG and not replica.usable
        if replica.member not in founders or told:
            return Configuration(()), Lsn(0)
        return founding(founders, logs=tuple(info.logs)), Lsn(0)

    def start_loaded(self, replica: Replica, tree: Tree, *, heir: bool = False) -> None:
        """A restored base is loaded (state at LSN 0), or what its parent's log made is whole (at its last LSN): the replica begins its log behind that. heir: see `GroupConfig`."""
        if replica.group is None:
            if replica.partition not in self._logs and replica.partition not in self._created:
                self._create_log(replica, Lsn(tree.state.applied + 1))
            replica.opened(tree)
            self._start_group(replica, self._logs.get(replica.partition), tree.state.applied, tree.state.stamp, heir=heir)

    def begin_following(self, replica: LogReplica, last: Lsn) -> None:
        """The log replica of a partition that a split made begins its log. last: of the one that was split."""
        if not replica.begun:
            self._begin_log(replica, None, Lsn(last + 1))

    def begin_behind(self, replica: LogReplica) -> None:
        """There is nothing here that it could be made of: it begins without a tree, and is healed. An empty log below where the others begin: it can elect, and is elected by none of them."""
        if replica.begun:
            return
        if not isinstance(replica, Replica):
            self._begin_log(replica, None, Lsn(1))
            return
        self._create_log(replica)
        self._start_group(replica, None, Lsn(0))
        replica.lacks_its_tree("no copy was here of the partition that was split")

    def forget(self, partition: PartitionId) -> None:
        """The table was dropped and its log is archived: remove the replica for good."""
        node = self._node
        self.replicas.pop(partition, None)
        replica = self.members.pop(partition, None)
        log = self._logs.pop(partition, None)
        logged = log is not None or partition in self._created
        self._created.discard(partition)
        self.blocked.pop(partition, None)
        node.forget_log_members(partition)
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
