"""A storage node: it hosts many replicas over one WAL, one liveness state per peer node, one clock and one tree engine.

Synchronous, on its loop. Everything that arrives in one turn leaves as one frame per peer and goes to the WAL as one batch (`storage.node.turn`).
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from typing import NamedTuple, ParamSpec

from scrubjay.base.env import Env, Network, Timer
from scrubjay.base.errors import Corrupt, Internal, Missing, NotLeader, ScrubjayError, Unavailable
from scrubjay.base.hlc import HybridClock
from scrubjay.base.ids import ClusterId, Lsn, Member, NodeName, PartitionId, Stamp, uuid_bytes
from scrubjay.storage.archive_port import Attestation
from scrubjay.storage.btree.engine import Tree, TreeEngine
from scrubjay.storage.catalogue import PartitionInfo, TableMeta
from scrubjay.storage.commands.values import RangeAnswer, RangeRead, ReadAnswer, WriteAnswer, WriteCommand
from scrubjay.storage.consensus import messages as consensus
from scrubjay.storage.consensus.liveness import Liveness
from scrubjay.storage.consensus.options import ConsensusOptions
from scrubjay.storage.consensus.ready import Envelope, Now
from scrubjay.storage.log import record as records
from scrubjay.storage.node import talk as talk
from scrubjay.storage.node.clockwatch import ClockWatch
from scrubjay.storage.node.deadlines import PAUSE_MIN_US, Deadlines
from scrubjay.storage.node.hosting import Hosting
from scrubjay.storage.node.post import Post
from scrubjay.storage.node.turn import Turn
from scrubjay.storage.options import StorageOptions
from scrubjay.storage.replica import OK, Replica
from scrubjay.storage.replica.host import Driven, Hosted
from scrubjay.storage.replica.segments import Statement
from scrubjay.storage.wal.port import Boot, Frame, Recovered, Reserve, WalLog

P = ParamSpec("P")

HAND_OVER_S = 1.0
_OVERDUE_PAUSE_US = 10_000
_REPAIR_BYTES_MAX = 4 << 20


class NodeEvents(NamedTuple):
    """How a node tells the world outside storage. finding(node, replica, **facts); state(node, replica, state, reason); archive(partition)."""

    finding: Callable[..., None]
    state: Callable[..., None]
    archive: Callable[[PartitionId], None]


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
        cluster_id: ClusterId,
        joining: bool = False,
        alone_since_us: int | None = None,
    ) -> None:
        """joining: this node never was a member before (`storage.node.identity`). alone_since_us: boot time since which no earlier process of this node can
        have said anything; None: since now. It keeps quiet for one D from then."""
        self.name, self.number, self.env, self.network = name, number, env, network
        self.engine, self.wal, self.options, self.events = engine, wal, options, events
        self._peers = dict(peers)
        self._names = {number: name, **self._peers}
        self._numbers = {peer: at for at, peer in self._peers.items()}
        self.consensus_options = consensus_options
        self.cluster_id = cluster_id
        self._cluster = consensus.cluster_tag(uuid_bytes(cluster_id))
        allowed_us = options.max_clock_offset_us + options.clock_ahead_accepted_us
        self.clock = HybridClock(reservation=recovered.reservation, max_offset_us=allowed_us)
        self.clock_watch = ClockWatch(self.clock, allowed_us=allowed_us)
        self.boot_count = recovered.boot_count + 1
        now = self.now()
        began = now if alone_since_us is None else Now(min(alone_since_us, now.boot_us), now.wall_us)
        self.liveness = Liveness(me=number, boot_count=self.boot_count, clock=self.clock, options=consensus_options, now=began)
        self.failed: ScrubjayError | None = None
        self.started = False
        self.stopping = False
        self.joining = joining
        self.leaving: frozenset[int] | None = None
        """Set once a planned stop began: numbers of the nodes that stop too."""
        self._handed_over: Callable[[], None] | None = None
        self._leave_timer: Timer | None = None
        self._starting: Callable[[ScrubjayError | None], None] | None = None
        self.hosting = Hosting(self, recovered)
        self.replicas = self.hosting.replicas
        self.turn = Turn(tasks=env.tasks, wal=wal, shell=self)
        self.boxes = Post(network=network, number=number, names=self._names, cluster=self._cluster)
        self.deadlines = Deadlines(env, self.guarded(self._due))
        self._liveness_timer: Timer | None = None
        self._liveness_at = 0
        self._reserving = Stamp(0)
        wal.on_damage(self._damage)
        network.listen(self.guarded(self._receive))

    # ------------------------------------------------------------------ life

    def start(self, done: Callable[[ScrubjayError | None], None]) -> None:
        """Make this boot durable. done, once: None when the node may speak, or why it failed."""
        self._starting = done

        def booted() -> None:
            self.started = True
            self._tick_liveness()
            waiting, self._starting = self._starting, None
            if waiting is not None:
                waiting(None)

        self.queue_control(Boot(self.boot_count), booted)
        if self.running:
            self._reserve()
            self.turn.run()

    def hand_over(self, done: Callable[[], None], *, leaving: frozenset[int] = frozenset()) -> None:
        """Before a planned stop: every partition led here goes to the follower that can take it soonest, and nothing is led here any more. done, once: that
        is so, durably; at the latest after HAND_OVER_S, when what nobody took is given up for anybody to take. leaving: numbers of nodes that stop too."""
        self.leaving = leaving
        if not self.running or not self.started:
            done()
            return
        self._handed_over = done
        for _, replica in sorted(self.replicas.items()):
            replica.leave(leaving)
        self._leave_timer = self.env.tasks.call_later(HAND_OVER_S, self.guarded(self._give_up_leading))
        self.turn.schedule()

    def _give_up_leading(self) -> None:
        self._leave_timer = None
        for _, replica in sorted(self.replicas.items()):
            if replica.group is not None and not replica.stopped:
                replica.group.set_lead(False, self.now())
                self.dirty(replica)
        self.turn.schedule()

    def _look_handed_over(self) -> None:
        """Called at the end of a turn while a hand-over is under way."""
        if any(replica.group is not None and replica.group.leading for replica in self.replicas.values()):
            return
        done, self._handed_over = self._handed_over, None
        if self._leave_timer is not None:
            self._leave_timer.cancel()
        if done is not None:
            self.turn.after_sync(done)

    def stop(self) -> None:
        """Stop speaking. What is durable stays; call after hand-over and last checkpoints."""
        self.stopping = True
        self.turn.stop()
        self.deadlines.stop()
        if self._liveness_timer is not None:
            self._liveness_timer.cancel()
            self._liveness_timer = None
        for replica in list(self.replicas.values()):
            replica.stopped = True
            if replica.tree is not None:
                replica.tree.close()

    @property
    def running(self) -> bool:
        """It neither failed nor stops."""
        return self.failed is None and not self.stopping

    @property
    def full(self) -> bool:
        """The log has no room for data beside its reserve: no new writes."""
        return self.turn.full

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

    # ------------------------------------------------------------------ replicas

    def known(self, partition: PartitionId) -> bool:
        """The WAL knows this replica from an earlier life, or it runs."""
        return self.hosting.known(partition)

    def lack(self, partition: PartitionId) -> ScrubjayError | None:
        """What this machine lacks to open the replica's tree, if that is why it does not serve."""
        return self.hosting.blocked.get(partition)

    def host(self, table: TableMeta, info: PartitionInfo, *, awaits_base: bool = False) -> Replica | None:
        """Run the replica of `info` on this node, made anew or as it was; None if it is gone for good. awaits_base: do nothing until a base is loaded."""
        return self.hosting.host(table, info, awaits_base=awaits_base)

    def start_loaded(self, replica: Replica, tree: Tree) -> None:
        """A restored base is loaded (state at LSN 0): the replica begins its log."""
        self.hosting.start_loaded(replica, tree)

    def forget(self, partition: PartitionId) -> None:
        """The table was dropped and its log is archived: remove the replica for good."""
        self.hosting.forget(partition)

    # ------------------------------------------------------------------ requests

    def write(self, partition: PartitionId, command: WriteCommand, done: Callable[[WriteAnswer | ScrubjayError], None]) -> None:
        replica = self.serving(partition)
        if isinstance(replica, ScrubjayError):
            done(replica)
        else:
            replica.write(command, done)

    def read(
        self, partition: PartitionId, key: bytes, *, consistent: bool, min_lsn: Lsn, done: Callable[[ReadAnswer | ScrubjayError], None]
    ) -> None:
        replica = self.serving(partition)
        if isinstance(replica, ScrubjayError):
            done(replica)
        else:
            replica.read(key, consistent=consistent, min_lsn=min_lsn, done=done)

    def read_range(
        self, partition: PartitionId, request: RangeRead, *, min_lsn: Lsn, done: Callable[[RangeAnswer | ScrubjayError], None]
    ) -> None:
        replica = self.serving(partition)
        if isinstance(replica, ScrubjayError):
            done(replica)
        else:
            replica.read_range(request, min_lsn=min_lsn, done=done)

    def serving(self, partition: PartitionId) -> Replica | ScrubjayError:
        if not self.running:
            return NotLeader("node is down", node=self.name)  # whoever asks goes on to another node, and does not wait for this one
        replica = self.replicas.get(partition)
        if replica is None or replica.group is None:
            lack = self.hosting.blocked.get(partition)
            reason = "no such replica here (yet)" if lack is None else f"its tree cannot be opened now: {lack}"
            return NotLeader(reason, partition=partition, node=self.name)
        return replica

    # ------------------------------------------------------------------ the turn

    def dirty(self, replica: Driven) -> None:
        """Something happened in this group: look at its Ready at the end of the turn."""
        self.turn.touch(replica)

    def run_turn(self, replica: Driven) -> None:
        """Carry out what this group wants at once: what it persists stands in the log before whatever is queued next."""
        self.turn.touch(replica)
        self.guarded(self.turn.run)()

    def soon(self, replica: Hosted) -> None:
        """Go on applying in a later turn (a long log is applied in slices)."""
        self.env.tasks.call_soon(self.guarded(lambda: None if replica.stopped or not self.running else replica.apply_ready()))

    def queue_control(self, frame: Frame, synced: Callable[[], None] | None = None) -> None:
        """A frame of the node's own; `synced` runs once it is durable."""
        self.turn.control(frame, synced)

    def _reserve(self) -> None:
        if self._reserving > self.clock.reservation:
            return  # one at a time: while it syncs the wall clock moves on, and every turn would want another
        want = self.clock.wants_reservation(self.env.clock.wall_us())
        if want is not None:
            self._reserving = want
            self.queue_control(Reserve(want), lambda: self.clock.reserved(want))

    def post(self, partition: PartitionId, envelopes: Sequence[Envelope]) -> None:
        self.boxes.group(partition, envelopes)

    def send(self) -> None:
        if self.started:
            self.boxes.send()
        else:
            self.boxes.drop()

    def before_commit(self) -> None:
        self._reserve()

    def turned(self) -> None:
        self._arm_liveness()
        if self._handed_over is not None:
            self._look_handed_over()

    def room_changed(self, full: bool, reason: str) -> None:
        self.log_state(None, "full" if full else "ok", reason)

    # ------------------------------------------------------------------ failing

    def guarded(self, work: Callable[P, object]) -> Callable[P, None]:
        """`work` as a callback from outside (network, timer, sync, tree): an exception that escapes it fails the node, it never goes on half done."""

        def enter(*arguments: P.args, **named: P.kwargs) -> None:
            try:
                work(*arguments, **named)
            except Exception as error:  # noqa: BLE001  whatever it is: nobody below could handle it
                self.broken(error)

        return enter

    def broken(self, error: Exception) -> None:
        """A rule of this node's own does not hold, or something failed that nobody expected to: it stops, with a finding. Its peers go on without it."""
        where = traceback.extract_tb(error.__traceback__)[-1:]
        place = f" at {PurePath(where[0].filename).name}:{where[0].lineno}" if where else ""
        what = f"{type(error).__name__}{place}: {error}"
        at = self.replicas.get(self.turn.at) if self.turn.at is not None else None
        failure = Internal("a rule of this node's own was broken; it stops", cause=what)
        failure.__cause__ = error
        first = self.failed is None
        self.fail(failure)
        if first:
            for replica in [at] if at is not None else list(self.replicas.values())[:1]:
                self.finding(
                    replica, kind="unreadable", found_by="read", lsn=replica.applied, detail=f"its node broke a rule of its own: {what}"
                )

    def fail(self, error: ScrubjayError) -> None:
        """This node stops: its disk is not to be trusted any more, or it broke a rule. Its peers go on without it."""
        if self.failed is None:
            self.failed = error
            stops = "this node stops" if isinstance(error, Internal) else "disk failed, this node stops using it"
            self.log_state(None, "failed", f"{stops}: {error}")
            for _, replica in sorted(self.replicas.items()):
                replica.node_failed()
            waiting, self._starting = self._starting, None
            if waiting is not None:
                waiting(error)
            leaving, self._handed_over = self._handed_over, None
            if leaving is not None:
                leaving()

    # ------------------------------------------------------------------ messages

    def _talk(self, to: int, message: talk.StorageMessage) -> None:
        self.boxes.talk(to, message)
        self.turn.schedule()

    def _receive(self, sender: NodeName, frame: bytes) -> None:
        if not self.started or not self.running:
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
                self.boxes.node(self.liveness.step(number, node_message, now))
            self._after_liveness(now)
        choked = self.turn.choked
        for partition, message in content.groups:
            if choked and isinstance(message, consensus.Accept | consensus.Stage):
                continue
            replica = self.replicas.get(partition)
            if replica is not None and replica.group is not None and not replica.stopped:
                try:
                    replica.group.step(number, message, now)
                except Corrupt as error:
                    replica.log_failed(error)
                self.dirty(replica)
        self.turn.schedule()

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
            replica.attest.heard(sender, message.statement, want=message.want)
        elif isinstance(message, talk.Attest):
            replica.attest.attested(sender, last=message.last, said=Attestation(message.raw_sha256, message.generation, message.read))
        elif isinstance(message, talk.Refute):
            replica.attest.refuted(last=message.last, generation=message.generation, reason=message.reason)
        elif isinstance(message, talk.ManifestWritten):
            replica.attest.manifest_written(message.last)
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

    def _damage(self, partition: PartitionId, error: ScrubjayError) -> None:
        """A read of the log, or copying it forward, met damage: its replica hears of it in a turn of its own."""

        def tell() -> None:
            replica = self.replicas.get(partition)
            if self.running and replica is not None and replica.group is not None and isinstance(error, Corrupt):
                replica.log_failed(error)

        self.env.tasks.call_soon(self.guarded(tell))

    def _take_records(self, replica: Replica, message: talk.Records) -> None:
        try:
            good = [records.decode(data, owner=replica.owner, opaque=True) for data in message.records]
            self.wal.repair(replica.partition, good)
        except ScrubjayError as error:
            self.log_state(replica, replica.state, f"records from a peer were no use: {error}")
            return
        self.turn.after_sync(replica.repair.repaired)

    # ------------------------------------------------------------------ what replicas ask of their node

    def say_statement(self, partition: PartitionId, statement: Statement, *, want: bool, to: Sequence[int] | None = None) -> None:
        """to: node numbers, None: every peer."""
        for number in self._peers if to is None else to:
            self._talk(number, talk.Say(partition, statement, want))

    def attest(self, replica: Replica, *, first: int, last: int, said: Attestation) -> None:
        """This member's agent holds the archived segment for equal to its own WAL: tell every member (whoever leads logs it)."""
        for number in self._peers:
            self._talk(number, talk.Attest(replica.partition, first, last, said.raw_sha256, said.generation, said.read))
            if not said.read:
                self._talk(number, talk.ManifestWritten(replica.partition, first, last, said.raw_sha256))
        replica.attest.attested(self.number, last=last, said=said)

    def refute(self, replica: Replica, *, last: int, generation: int, object: str, reason: str) -> None:  # noqa: A002 - as in the message
        """This member's agent read an archived segment back and found this generation bad: tell every member, so that it never counts."""
        for number in self._peers:
            self._talk(number, talk.Refute(replica.partition, last, generation, object, reason))
        replica.attest.refuted(last=last, generation=generation, reason=reason)

    def ask_repair(self, partition: PartitionId, first: Lsn, end: Lsn) -> None:
        for number in self._peers:
            self._talk(number, talk.AskRecords(partition, first, end))

    def hint(self, leader: Member | None) -> NodeName | None:
        return None if leader is None else self._names.get(leader[0])

    def archive_changed(self, partition: PartitionId) -> None:
        self.events.archive(partition)

    def finding(
        self,
        replica: Hosted,
        *,
        kind: str,
        found_by: str,
        storage_key: bytes | None = None,
        lsn: Lsn | None = None,
        detail: str = "",
        object: str | None = None,  # noqa: A002 - it is the finding's field
    ) -> None:
        """object: the fault is the archive's, in the object with this key; None: this node's copy is at fault."""
        self.events.finding(self, replica, kind=kind, found_by=found_by, storage_key=storage_key, lsn=lsn, detail=detail, object=object)

    def log_state(self, replica: Hosted | None, state: str, reason: str) -> None:
        self.events.state(self, replica, state, reason)

    # ------------------------------------------------------------------ time

    def arm(self, replica: Hosted, *, not_before: int = 0) -> None:
        """The replica's deadline may have moved. not_before: boot time; what could not be done just now is not tried again at once."""
        self.deadlines.arm(replica.partition, replica.deadline(), not_before=not_before)

    def _due(self, partitions: list[PartitionId], now_us: int) -> None:
        if not self.running:
            return
        for partition in partitions:
            replica = self.replicas.get(partition)
            if replica is not None and not replica.stopped:
                replica.tick()
                self.arm(replica, not_before=now_us + _OVERDUE_PAUSE_US)

    def _tick_liveness(self) -> None:
        self._liveness_timer = None
        if not self.running:
            return
        now = self.now()
        if self.clock_watch.look(now.wall_us):
            self.log_state(None, "clock" if self.clock_watch.fault else "ok", self.clock_watch.fault or "the clock has caught up")
        self._reserve()
        self.boxes.node(self.liveness.tick(now))
        self._after_liveness(now)
        self.turn.schedule()
        self._arm_liveness()

    def _arm_liveness(self) -> None:
        if not self.started or not self.running:
            return
        at = self.liveness.deadline()
        if self._liveness_timer is not None:
            if self._liveness_at <= at:
                return
            self._liveness_timer.cancel()
        self._liveness_at = at
        wait_us = max(PAUSE_MIN_US, at - self.boot_us())
        self._liveness_timer = self.env.tasks.call_later(wait_us / 1e6, self.guarded(self._tick_liveness))
