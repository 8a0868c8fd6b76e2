"""A storage node: it hosts many replicas over one WAL, one liveness state per peer node, one clock and one tree engine.

Synchronous, on its loop. Everything that arrives in one turn leaves as one frame per peer and goes to the WAL as one batch; the next batch collects
while the present one syncs (group commit). Order within a turn: what groups want persisted is queued, what may leave now leaves, the batch is
committed, and only then leaves what waits for the sync.
"""

from __future__ import annotations

import hashlib
import heapq
import json
from collections import deque
from collections.abc import Callable, Mapping
from typing import NamedTuple, cast

import msgspec

from base.env import Env, Network, Timer
from base.errors import Corrupt, DiskFull, Missing, NotLeader, ScrubjayError, Unavailable
from base.hlc import HybridClock
from base.ids import Ballot, Lsn, Member, NodeName, PartitionId, Stamp
from storage import messages as talk
from storage import record as records
from storage.btree.engine import EMPTY, Tree, TreeEngine
from storage.command import RangeAnswer, RangeRead, ReadAnswer, WriteAnswer, WriteCommand
from storage.consensus import messages as consensus
from storage.consensus.group import Group
from storage.consensus.liveness import Liveness
from storage.consensus.options import ConsensusOptions
from storage.consensus.ready import Envelope, GroupState, Now, Ready
from storage.control.catalogue import PartitionInfo, TableMeta
from storage.options import StorageOptions
from storage.record import Record
from storage.replica import AMNESIAC, BASE, OK, OPENING, SUSPECT, Replica
from storage.segments import Statement
from storage.wal.log import Boot, Create, Drop, Frame, Install, Recovered, ReplicaLog, Reserve, Suspect, WalLog

_RAW_SLICE_BYTES = 1 << 20
_RETRY_FULL_S = 0.5
_PAUSE_MIN_US = 1_000
_OVERDUE_PAUSE_US = 10_000
_REPAIR_BYTES_MAX = 4 << 20


class NodeEvents(NamedTuple):
    """How a node tells the world outside storage. finding(node, replica, **facts); state(node, replica, state, reason); archive(partition)."""

    finding: Callable[..., None]
    state: Callable[..., None]
    archive: Callable[[PartitionId], None]


class _WalReader:
    """One partition's log as the consensus core reads what it no longer holds in memory."""

    def __init__(self, wal: WalLog, partition: PartitionId) -> None:
        self._wal, self._partition = wal, partition

    def read(self, first: Lsn, end: Lsn, *, max_bytes: int) -> list[Record]:
        return self._wal.read(self._partition, first, end, max_bytes=max_bytes)


class Node:
    """name, number: this node. peers: number -> name of the others. See the module."""

    def __init__(
        self,
        *,
        name: NodeName,
        number: int,
        peers: Mapping[int, NodeName],
        env: Env,
        network: Network,
        engine: TreeEngine,
        wal: WalLog,
        recovered: Recovered,
        options: StorageOptions,
        consensus_options: ConsensusOptions,
        events: NodeEvents,
        cluster: bytes,
    ) -> None:
        """cluster: 8 bytes from `storage.consensus.messages.cluster_tag`."""
        self.name, self.number, self.env, self.network = name, number, env, network
        self.engine, self.wal, self.options, self.events = engine, wal, options, events
        self._peers = dict(peers)
        self._names = {number: name, **self._peers}
        self._numbers = {peer: at for at, peer in self._peers.items()}
        self._consensus_options = consensus_options
        self._cluster = cluster
        self._logs: dict[PartitionId, ReplicaLog] = dict(recovered.replicas)
        self.replicas: dict[PartitionId, Replica] = {}
        self.clock = HybridClock(reservation=recovered.reservation, max_offset_us=options.max_clock_offset_us)
        self.boot_count = recovered.boot_count + 1
        self.liveness = Liveness(me=number, boot_count=self.boot_count, clock=self.clock, options=consensus_options, now=self.now())
        self.failed: ScrubjayError | None = None
        self.full = False
        self._full_timer: Timer | None = None
        self.started = False
        self._stopping = False
        self._dirty: dict[PartitionId, Replica] = {}
        self._flush_scheduled = False
        self._outbox: dict[int, list[tuple[PartitionId, consensus.PartitionMessage]]] = {}
        self._node_outbox: dict[int, list[consensus.NodeMessage]] = {}
        self._liveness_timer: Timer | None = None
        self._liveness_at = 0
        self._talk_outbox: dict[int, list[talk.StorageMessage]] = {}
        self._tokens: list[tuple[Replica, int]] = []
        self._controls: list[Callable[[], None]] = []
        self._backlog: deque[tuple[Replica | None, int, tuple[Frame, ...]]] = deque()
        self._reserving = Stamp(0)
        self._due: list[tuple[int, int, PartitionId]] = []
        self._due_seq = 0
        self._armed: dict[PartitionId, int] = {}
        self._timer: Timer | None = None
        self._timer_at = 0
        network.listen(self._receive)

    # ------------------------------------------------------------------ life

    def start(self, ready: Callable[[], None]) -> None:
        """Make this boot durable; `ready` runs once the node may speak."""

        def booted() -> None:
            self.started = True
            self._tick_liveness()
            ready()

        self.queue_control(Boot(self.boot_count), booted)
        self._reserve()
        self.flush()

    def stop(self) -> None:
        """Stop speaking. What is durable stays; call after hand-over and last checkpoints."""
        self._stopping = True
        for timer in (self._timer, self._liveness_timer, self._full_timer):
            if timer is not None:
                timer.cancel()
        self._timer = self._liveness_timer = self._full_timer = None
        for replica in list(self.replicas.values()):
            replica.stopped = True
            if replica.tree is not None:
                replica.tree.close()

    def now(self) -> Now:
        clock = self.env.clock
        return Now(clock.boot_us(), clock.wall_us())

    def boot_us(self) -> int:
        return self.env.clock.boot_us()

    def stamp(self) -> Stamp:
        """A new stamp. Raises Unavailable while the reservation is not durable."""
        try:
            return self.clock.tick(self.env.clock.wall_us())
        except Unavailable:
            self._reserve()
            raise

    def known(self, partition: PartitionId) -> bool:
        """The WAL knows this replica from an earlier life, or it runs."""
        return partition in self._logs or partition in self.replicas

    # ------------------------------------------------------------------ replicas

    def host(self, table: TableMeta, info: PartitionInfo, *, awaits_base: bool = False) -> Replica:
        """Run the replica of `info` on this node, made anew or as it was. awaits_base: do nothing until `load_base` brings rows."""
        present = self.replicas.get(info.partition_id)
        if present is not None:
            present.table, present.info = table, info
            return present
        member = next(member for member in info.members if member[0] == self.number)
        replica = Replica(self, table, info, member=Member(*member))
        self.replicas[info.partition_id] = replica
        log = self._logs.get(info.partition_id)
        if log is None and awaits_base:
            replica.state = BASE
        elif log is None:
            self.create_log(replica)
            self.engine.create(info.partition_id, lambda tree: self._tree_opened(replica, None, tree))
        else:
            self.engine.open(info.partition_id, lambda tree: self._tree_opened(replica, log, tree))
        return replica

    def create_log(self, replica: Replica) -> None:
        """Make the replica known to the WAL; its log starts at LSN 1."""
        self.queue_control(Create(replica.partition, replica.member, Lsn(1)))

    def _tree_opened(self, replica: Replica, log: ReplicaLog | None, tree: Tree | ScrubjayError) -> None:
        if isinstance(tree, ScrubjayError) or self._stopping:
            if self._stopping:
                return
            self._start_group(replica, log, Lsn(log.first - 1) if log is not None else Lsn(0))
            if isinstance(tree, ScrubjayError):
                if isinstance(tree, Missing) and log is not None and log.suspect == "tree":
                    replica.behind = True  # a heal was cut off after it had set the old tree aside: no new fault, the heal is due again
                else:
                    self.finding(replica, kind="unreadable", found_by="read", detail=f"tree cannot be opened: {tree}")
                replica.suspect(f"tree cannot be opened: {tree}")
            return
        try:
            replica.opened(tree)
        except Corrupt as error:
            tree.close()
            self._start_group(replica, log, Lsn(log.first - 1) if log is not None else Lsn(0))
            replica.behind = log is not None and log.suspect == "tree"  # a heal was cut off: it is due again
            replica.suspect(f"tree state malformed: {error}")
            return
        self._start_group(replica, log, tree.state.applied, tree.state.stamp)
        if log is not None:
            if log.suspect == "tree":
                replica.state = OK
                replica.set_state(SUSPECT, "found suspect before the last stop")
            if log.amnesia or log.suspect == "log":
                self.queue_control(Suspect(replica.partition, "log"))
                replica.set_state(AMNESIAC, log.amnesia or "its log lost synced bytes before the last stop")
        if log is not None and log.damaged and replica.state != AMNESIAC:
            replica.log_damaged(log.damaged[0][0], Corrupt("damage found in the log at start", what="wal", ranges=log.damaged))
        for own in replica.segments.facts.sealed:
            replica.state_segment(own, want=True)
        self.dirty(replica)

    def _start_group(self, replica: Replica, log: ReplicaLog | None, applied: Lsn, stamp: Stamp = Stamp(0)) -> None:
        if log is None:
            state = GroupState(Ballot(0), Ballot(0), Ballot(0), Lsn(1), Lsn(0), applied)
        else:
            first, last = log.first, log.last
            if applied > last:
                # The tree is ahead of its log (a heal whose Install was not synced when the node died): the log restarts behind it.
                first, last = Lsn(applied + 1), applied
                self.queue_control(Install(replica.partition, applied, log.accepted))
            state = GroupState(log.promised, log.accepted, log.resigned, first, last, applied, stamp)
        rand = self.env.rand
        replica.group = Group(
            partition=replica.partition,
            me=replica.member,
            members=tuple(Member(*member) for member in replica.info.members),
            state=state,
            log=_WalReader(self.wal, replica.partition),
            liveness=self.liveness,
            clock=self.clock,
            options=self._consensus_options,
            jitter=lambda: rand.uniform(0.0, 1.0),
        )
        replica.chosen = max(replica.chosen, applied)
        self.dirty(replica)

    def start_loaded(self, replica: Replica, tree: Tree) -> None:
        """A restored base is loaded (state at LSN 0): the replica begins its log."""
        if replica.group is None:
            if not self.known_log(replica.partition):
                self.create_log(replica)
            replica.opened(tree)
            self._start_group(replica, self._logs.get(replica.partition), tree.state.applied)

    def known_log(self, partition: PartitionId) -> bool:
        return partition in self._logs

    def forget(self, partition: PartitionId) -> None:
        """The table was dropped and its log is archived: remove the replica for good."""
        replica = self.replicas.pop(partition, None)
        self._logs.pop(partition, None)
        if replica is not None:
            replica.stopped = True
            tree = replica.detach_tree()
            if tree is not None:
                tree.close()
            if replica.group is not None or replica.state != BASE:
                self.queue_control(Drop(partition))
            self.engine.drop(partition)
            self._armed.pop(partition, None)
            self._dirty.pop(partition, None)
            self.schedule_flush()

    # ------------------------------------------------------------------ requests

    def write(self, partition: PartitionId, command: WriteCommand, done: Callable[[WriteAnswer | ScrubjayError], None]) -> None:
        replica = self._serving(partition)
        if isinstance(replica, ScrubjayError):
            done(replica)
        else:
            replica.write(command, done)

    def read(
        self, partition: PartitionId, key: bytes, *, consistent: bool, min_lsn: Lsn, done: Callable[[ReadAnswer | ScrubjayError], None]
    ) -> None:
        replica = self._serving(partition)
        if isinstance(replica, ScrubjayError):
            done(replica)
        else:
            replica.read(key, consistent=consistent, min_lsn=min_lsn, done=done)

    def read_range(
        self, partition: PartitionId, request: RangeRead, *, min_lsn: Lsn, done: Callable[[RangeAnswer | ScrubjayError], None]
    ) -> None:
        replica = self._serving(partition)
        if isinstance(replica, ScrubjayError):
            done(replica)
        else:
            replica.read_range(request, min_lsn=min_lsn, done=done)

    def _serving(self, partition: PartitionId) -> Replica | ScrubjayError:
        if self.failed is not None or self._stopping:
            return NotLeader("node is down", node=self.name)  # whoever asks goes on to another node, and does not wait for this one
        replica = self.replicas.get(partition)
        if replica is None or replica.group is None:
            return NotLeader("no such replica here (yet)", partition=partition, node=self.name)
        return replica

    # ------------------------------------------------------------------ the turn: ready, persist, send

    def dirty(self, replica: Replica) -> None:
        """Something happened in this group: look at its Ready at the end of the turn."""
        self._dirty[replica.partition] = replica
        if not self._flush_scheduled:
            self.schedule_flush()

    def soon(self, replica: Replica) -> None:
        """Go on applying in a later turn (a long log is applied in slices)."""
        self.env.tasks.call_soon(lambda: None if replica.stopped else replica.apply_ready())

    def schedule_flush(self) -> None:
        if not self._flush_scheduled:
            self._flush_scheduled = True
            self.env.tasks.call_soon(self.flush)

    def flush(self) -> None:
        """Carry out what all touched groups want, then commit and send."""
        self._flush_scheduled = False
        if self.failed is not None or self._stopping:
            self._dirty.clear()
            return
        while self._dirty:
            touched, self._dirty = self._dirty, {}
            for replica in touched.values():
                if replica.group is not None and not replica.stopped:
                    self._drain_checked(replica, replica.group)
        self._reserve()
        self._commit()
        self._send()
        self._arm_liveness()

    def _drain_checked(self, replica: Replica, group: Group) -> None:
        try:
            self._drain(replica, group)
        except Corrupt as error:
            replica.log_damaged(Lsn(int(error.fields.get("lsn", 0)) or replica.applied + 1), error)

    def _drain(self, replica: Replica, group: Group) -> None:
        ready = group.ready()
        while ready is not None:
            self._persist(replica, ready)
            self._post(replica.partition, ready.send_now)
            if ready.install_from is not None:
                replica.left_behind()
            if ready.deposed:
                replica.deposed()
            if ready.elected is not None:
                replica.elected()
            if ready.chosen:
                replica.take_chosen(ready.chosen)
            ready = group.ready()
        self.arm(replica)

    def _persist(self, replica: Replica, ready: Ready) -> None:
        if not ready.persist:
            return
        if self._backlog:
            self._backlog.append((replica, ready.token, ready.persist))
            return
        self._queue_frames(replica, ready.token, ready.persist)

    def _queue_frames(self, replica: Replica, token: int, frames: tuple[Frame, ...]) -> bool:
        for at, frame in enumerate(frames):
            try:
                self.wal.queue(frame)
            except DiskFull as error:
                self._backlog.appendleft((replica, token, frames[at:]))
                self._is_full(f"{error.message}: appends wait")
                return False
            except Corrupt as error:
                self._fail(error)
                return False
        self._tokens.append((replica, token))
        if self.wal.short:
            self._is_full("the log has no room for data beside its reserve: writes are refused")
        return True

    def _is_full(self, reason: str) -> None:
        """No more data is proposed here until there is room; what was proposed and the bookkeeping that makes room go on."""
        if not self.full:
            self.full = True
            self.log_state(None, "full", reason)
        if self._full_timer is None:
            self._full_timer = self.env.tasks.call_later(_RETRY_FULL_S, self._retry_full)

    def _retry_full(self) -> None:
        self._full_timer = None
        if self.failed is not None or self._stopping:
            return
        while self._backlog:
            replica, token, frames = self._backlog.popleft()
            assert replica is not None
            if not self._queue_frames(replica, token, frames):
                return
        if not self.wal.roomy():
            self._is_full("")
        elif self.full:
            self.full = False
            self.log_state(None, "ok", "the log has room again")
        self._commit()

    def queue_control(self, frame: Frame, synced: Callable[[], None] | None = None) -> None:
        """A frame of the node's own; `synced` runs once it is durable."""
        try:
            self.wal.queue(frame)
        except ScrubjayError as error:
            self._fail(error)
            return
        if synced is not None:
            self._controls.append(synced)
        self.schedule_flush()

    def _reserve(self) -> None:
        if self._reserving > self.clock.reservation:
            return  # one at a time: while it syncs the wall clock moves on, and every turn would want another
        want = self.clock.wants_reservation(self.env.clock.wall_us())
        if want is not None:
            self._reserving = want
            self.queue_control(Reserve(want), lambda: self.clock.reserved(want))

    def _commit(self) -> None:
        if self.wal.committing or (not self.wal.queued and not self._tokens and not self._controls):
            return
        tokens, self._tokens = self._tokens, []
        controls, self._controls = self._controls, []

        def done(error: ScrubjayError | None) -> None:
            if self._stopping:
                return
            if error is not None:
                self._fail(error)
                return
            for control in controls:
                control()
            self._persisted(tokens)
            self._commit()

        if not self.wal.commit(done):
            for control in controls:
                control()
            self._persisted(tokens)

    def _persisted(self, tokens: list[tuple[Replica, int]]) -> None:
        for replica, token in tokens:
            group = replica.group
            if group is not None and not replica.stopped:
                self._post(replica.partition, group.persisted(token))
                self._dirty[replica.partition] = replica
        if tokens:
            self.flush()

    def _fail(self, error: ScrubjayError) -> None:
        """The disk is not to be trusted any more: this node stops. Its peers go on without it."""
        if self.failed is None:
            self.failed = error
            self.log_state(None, "failed", f"disk failed, this node stops using it: {error}")
            for _, replica in sorted(self.replicas.items()):
                replica.deposed()

    # ------------------------------------------------------------------ messages

    def _post(self, partition: PartitionId, envelopes: tuple[Envelope, ...] | list[Envelope]) -> None:
        for envelope in envelopes:
            self._outbox.setdefault(envelope.to, []).append((partition, cast(consensus.PartitionMessage, envelope.message)))

    def _post_node(self, envelopes: list[Envelope]) -> None:
        for envelope in envelopes:
            self._node_outbox.setdefault(envelope.to, []).append(cast(consensus.NodeMessage, envelope.message))

    def _talk(self, to: int, message: talk.StorageMessage) -> None:
        self._talk_outbox.setdefault(to, []).append(message)
        self.schedule_flush()

    def _send(self) -> None:
        if not self.started:
            self._outbox.clear()
            self._node_outbox.clear()
            self._talk_outbox.clear()
            return
        if self._outbox or self._node_outbox:
            outbox, self._outbox = self._outbox, {}
            node_outbox, self._node_outbox = self._node_outbox, {}
            for to in sorted({*outbox, *node_outbox}):
                frame = consensus.encode_frame(
                    cluster=self._cluster, sender=self.number, node=node_outbox.get(to, ()), groups=outbox.get(to, ())
                )
                self.network.send(self._names[to], frame)
        if self._talk_outbox:
            said, self._talk_outbox = self._talk_outbox, {}
            for to in sorted(said):
                self.network.send(self._names[to], talk.encode_frame(said[to]))

    def _receive(self, sender: NodeName, frame: bytes) -> None:
        if not self.started or self.failed is not None or self._stopping:
            return
        number = self._numbers.get(sender)
        if number is None:
            return
        try:
            if frame[:4] == talk.MAGIC:
                for said in talk.decode_frame(frame):
                    self._on_talk(number, said)
                return
            content = consensus.decode_frame(frame, cluster=self._cluster)
        except Corrupt as error:
            self.log_state(None, "ok", f"dropped a damaged frame from {sender}: {error}")
            return
        now = self.now()
        if content.node:
            for node_message in content.node:
                self._post_node(self.liveness.step(number, node_message, now))
            self._after_liveness(now)
        for partition, message in content.groups:
            replica = self.replicas.get(partition)
            if replica is not None and replica.group is not None and not replica.stopped:
                try:
                    replica.group.step(number, message, now)
                except Corrupt as error:
                    replica.log_damaged(Lsn(int(error.fields.get("lsn", 0)) or replica.applied + 1), error)
                self._dirty[partition] = replica
        self.schedule_flush()

    def _after_liveness(self, now: Now) -> None:
        for sender, partition, ballot, lsn in self.liveness.take_chosen():
            replica = self.replicas.get(partition)
            if replica is not None and replica.group is not None and not replica.stopped:
                replica.group.step(sender, consensus.Chosen(ballot, lsn), now)
                self.dirty(replica)
        if self.liveness.changed():
            for replica in self.replicas.values():
                if replica.group is not None and not replica.stopped:
                    replica.group.on_liveness(now)
                    self.dirty(replica)

    def _on_talk(self, sender: int, message: talk.StorageMessage) -> None:
        replica = self.replicas.get(PartitionId(message.partition))
        if replica is None or replica.stopped or replica.group is None:
            return
        if isinstance(message, talk.Say):
            replica.segments.heard(sender, message.statement)
            if message.want:
                for own in replica.segments.facts.sealed:
                    if own.statement.last == message.statement.last:
                        self._talk(sender, talk.Say(message.partition, own.statement, want=False))
            replica.check_statements()
        elif isinstance(message, talk.Attest):
            replica.attested(sender, first=message.first, last=message.last, raw_sha256=message.raw_sha256)
        elif isinstance(message, talk.ManifestWritten):
            self.events.archive(replica.partition)
        elif isinstance(message, talk.AskRecords):
            self._answer_records(sender, replica, message)
        else:
            self._take_records(replica, message)

    def _answer_records(self, sender: int, replica: Replica, message: talk.AskRecords) -> None:
        if replica.state != OK:
            return
        end = min(message.end, replica.applied + 1)
        if message.first >= end:
            return
        try:
            found = self.wal.read(replica.partition, Lsn(message.first), Lsn(end), max_bytes=_REPAIR_BYTES_MAX)
        except (Missing, Corrupt):
            return
        self._talk(sender, talk.Records(message.partition, [record.data for record in found]))

    def _take_records(self, replica: Replica, message: talk.Records) -> None:
        try:
            good = [records.decode(data, owner=replica.owner) for data in message.records]
            self.wal.repair(replica.partition, good)
        except ScrubjayError as error:
            self.log_state(replica, replica.state, f"records from a peer were no use: {error}")
            return
        self._controls.append(replica.repaired)
        self.schedule_flush()

    # ------------------------------------------------------------------ what replicas ask of their node

    def raw_sha256(self, partition: PartitionId, first: Lsn, last: Lsn) -> bytes:
        """SHA-256 of records first..last as read back from this node's WAL. Raises Missing, Corrupt."""
        digest = hashlib.sha256()
        at = int(first)
        while at <= last:
            found = self.wal.read(partition, Lsn(at), Lsn(last + 1), max_bytes=_RAW_SLICE_BYTES)
            for record in found:
                if record.lsn != at:
                    raise Missing("hole in the log", what="record", lsn=at)
                digest.update(record.data)
                at += 1
        return digest.digest()

    def schema_payload(self, replica: Replica) -> bytes:
        """SCHEMA: canonical JSON of what the partition is. base: it starts from rows loaded at LSN 0, with this digest."""
        table, info = replica.table, replica.info
        total = replica.total()
        facts = {
            "attributes": [list(pair) for pair in table.attributes],
            "base": None if total.rows == 0 and table.restore_of is None else {"rows": total.rows, "sum": total.hex},
            "hi": info.hi,
            "key": json.loads(msgspec.json.encode(table.key)),
            "lo": info.lo,
            "name": table.name,
            "partition_id": info.partition_id,
            "table_id": table.table_id,
            "version": 1,
        }
        return json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()

    def say_statement(self, replica: Replica, statement: Statement, *, want: bool) -> None:
        for number in self._peers:
            self._talk(number, talk.Say(replica.partition, statement, want))

    def attest(self, replica: Replica, *, first: int, last: int, raw_sha256: bytes) -> None:
        """This member's agent compared the archived segment with its own WAL: tell every member (whoever leads logs it)."""
        for number in self._peers:
            self._talk(number, talk.Attest(replica.partition, first, last, raw_sha256))
        replica.attested(self.number, first=first, last=last, raw_sha256=raw_sha256)

    def ask_repair(self, replica: Replica, first: Lsn, end: Lsn) -> None:
        for number in self._peers:
            self._talk(number, talk.AskRecords(replica.partition, first, end))

    def hint(self, leader: Member | None) -> NodeName | None:
        return None if leader is None else self._names.get(leader[0])

    def archive_changed(self, partition: PartitionId) -> None:
        self.events.archive(partition)

    def finding(
        self,
        replica: Replica,
        *,
        kind: str,
        found_by: str,
        storage_key: bytes | None = None,
        lsn: Lsn | None = None,
        detail: str = "",
    ) -> None:
        self.events.finding(self, replica, kind=kind, found_by=found_by, storage_key=storage_key, lsn=lsn, detail=detail)

    def log_state(self, replica: Replica | None, state: str, reason: str) -> None:
        self.events.state(self, replica, state, reason)

    # ------------------------------------------------------------------ time

    def arm(self, replica: Replica, *, not_before: int = 0) -> None:
        """The replica's deadline may have moved. not_before: boot time; what could not be done just now is not tried again at once."""
        at = replica.deadline()
        if at is None:
            return
        at = max(at, not_before, self.boot_us() + _PAUSE_MIN_US)
        armed = self._armed.get(replica.partition)
        if armed is None or at < armed:
            self._armed[replica.partition] = at
            self._due_seq += 1
            heapq.heappush(self._due, (at, self._due_seq, replica.partition))
            self._set_timer()

    def _set_timer(self) -> None:
        if not self._due or self._stopping:
            return
        at = self._due[0][0]
        if self._timer is not None:
            if self._timer_at <= at:
                return
            self._timer.cancel()
        self._timer_at = at
        self._timer = self.env.tasks.call_later(max(0, at - self.boot_us()) / 1e6, self._fire)

    def _fire(self) -> None:
        self._timer = None
        if self.failed is not None or self._stopping:
            return
        now_us = self.boot_us()
        due: dict[PartitionId, None] = {}
        while self._due and self._due[0][0] <= now_us:
            at, _, partition = heapq.heappop(self._due)
            if self._armed.get(partition) == at:
                del self._armed[partition]
                due[partition] = None
        for partition in due:
            replica = self.replicas.get(partition)
            if replica is not None and not replica.stopped:
                replica.tick()
                self.arm(replica, not_before=now_us + _OVERDUE_PAUSE_US)
        self._set_timer()

    def _tick_liveness(self) -> None:
        self._liveness_timer = None
        if self.failed is not None or self._stopping:
            return
        now = self.now()
        self._reserve()
        self._post_node(self.liveness.tick(now))
        self._after_liveness(now)
        self.schedule_flush()
        self._arm_liveness()

    def _arm_liveness(self) -> None:
        if not self.started or self._stopping or self.failed is not None:
            return
        at = self.liveness.deadline()
        if self._liveness_timer is not None:
            if self._liveness_at <= at:
                return
            self._liveness_timer.cancel()
        self._liveness_at = at
        wait_us = max(_PAUSE_MIN_US, at - self.boot_us())
        self._liveness_timer = self.env.tasks.call_later(wait_us / 1e6, self._tick_liveness)


__all__ = ["BASE", "EMPTY", "OPENING", "Node", "NodeEvents"]
