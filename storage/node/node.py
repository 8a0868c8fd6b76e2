"""A storage node: it hosts many replicas over one WAL, one liveness state per peer node, one clock and one tree engine.

Synchronous, on its loop. Everything that arrives in one turn leaves as one frame per peer and goes to the WAL as one batch (`storage.node.turn`).
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from typing import NamedTuple, ParamSpec

from scrubjay.base.env import Disk, Env, Network
from scrubjay.base.errors import Corrupt, Internal, ScrubjayError
from scrubjay.base.ids import ClusterId, Lsn, Member, NodeName, PartitionId, Stamp
from scrubjay.storage.btree.engine import TreeEngine
from scrubjay.storage.catalogue import INCARNATION_FIRST
from scrubjay.storage.consensus.options import ConsensusOptions
from scrubjay.storage.consensus.ready import Envelope, Now
from scrubjay.storage.node import talk as talk
from scrubjay.storage.node.deadlines import Deadlines
from scrubjay.storage.node.departure import Departure
from scrubjay.storage.node.hosting import Hosting
from scrubjay.storage.node.identity import first_start
from scrubjay.storage.node.log_members import decode_log_members, encode_log_members, log_members_file
from scrubjay.storage.node.peers import Peers
from scrubjay.storage.node.pulse import Pulse
from scrubjay.storage.node.requests import Requests
from scrubjay.storage.node.services import Services
from scrubjay.storage.node.turn import Turn
from scrubjay.storage.options import StorageOptions
from scrubjay.storage.replica.host import Driven, Hosted
from scrubjay.storage.replica.segments import Statement
from scrubjay.storage.replica.state import Configured
from scrubjay.storage.wal.port import Boot, Frame, Recovered, WalLog

P = ParamSpec("P")

_OVERDUE_PAUSE_US = 10_000
CONFIGURED_FILE = "configured"
"""In the node's folder, once a CONFIG was applied there."""


class NodeEvents(NamedTuple):
    """How a node tells the world outside storage. finding(node, replica, **facts); state(node, replica, state, reason); archive(partition)."""

    finding: Callable[..., None]
    state: Callable[..., None]
    archive: Callable[[PartitionId], None]


class Node:
    """name, number: this node. peers: number -> name of the others. See the module.

    More than 25 methods, more than 15 fields: what replicas (`storage.replica.host`) and the turn ask of their node, most of it one line, and the parts that share it.
    """

    def __init__(
        self,
        *,
        name: NodeName,
        number: int,
        peers: Mapping[int, NodeName],
        env: Env,
        network: Network,
        engine: TreeEngine,
        disk: Disk,
        wal: WalLog,
        recovered: Recovered,
        options: StorageOptions,
        consensus_options: ConsensusOptions,
        events: NodeEvents,
        cluster_id: ClusterId,
        incarnation: int = INCARNATION_FIRST,
        joining: bool = False,
        alone_since_us: int | None = None,
    ) -> None:
        """disk: the node's own folder. incarnation: of the member that it is. (`fresh`: its log knows of no start before this one.) joining: this node never was a member before (`storage.node.identity`). alone_since_us: boot time since which no earlier process of this node can
        have said anything; None: since now. It keeps quiet for one D from then."""
        self.name, self.number, self.env = name, number, env
        self.engine, self.wal, self.options, self.events = engine, wal, options, events
        self.cluster_id = cluster_id
        self.boot_count = first_start(recovered.boot_count, incarnation)
        self.incarnation = incarnation
        self._disk = disk
        self.configured = disk.exists(CONFIGURED_FILE)
        self.failed: ScrubjayError | None = None
        self.started = False
        self.stopping = False
        self.joining = joining
        self.fresh = recovered.boot_count == 0 and not recovered.replicas
        self._starting: Callable[[ScrubjayError | None], None] | None = None
        self.on_stir: list[Callable[[PartitionId], None]] = []
        """Called whenever something may have happened to a replica, within its turn: what it is afterwards may be asked, and nothing changed."""
        self.turn = Turn(tasks=env.tasks, wal=wal, shell=self)
        self.pulse = Pulse(self, recovered=recovered, options=consensus_options, alone_since_us=alone_since_us)
        self.hosting = Hosting(self, recovered, self.pulse)
        self.members, self.replicas = self.hosting.members, self.hosting.replicas
        """What runs here, and of that the storage replicas."""
        self.peers = Peers(self, peers=peers, network=network, liveness=self.pulse.liveness)
        self.pulse.on_beat = self.peers.beat
        self.requests = Requests(self, self.hosting.blocked)
        self.departure = Departure(self)
        self.services = Services(self, self.hosting, disk)
        self.deadlines = Deadlines(env, self.guarded(self._due))
        wal.on_damage(self._damage)
        network.listen(self.guarded(self.peers.receive))

    # ------------------------------------------------------------------ life

    def start(self, done: Callable[[ScrubjayError | None], None]) -> None:
        """Make this boot durable. done, once: None when the node may speak, or why it failed."""
        self._starting = done

        def booted() -> None:
            self.started = True
            self.pulse.tick()
            waiting, self._starting = self._starting, None
            if waiting is not None:
                waiting(None)

        self.queue_control(Boot(self.boot_count), booted)
        if self.running:
            self.pulse.reserve()
            self.turn.run()

    def stop(self) -> None:
        """Stop speaking. What is durable stays; call after hand-over and last checkpoints."""
        self.stopping = True
        self.services.stop()
        self.turn.stop()
        self.deadlines.stop()
        self.pulse.stop()
        for replica in list(self.members.values()):
            replica.close()

    @property
    def running(self) -> bool:
        """It neither failed nor stops."""
        return self.failed is None and not self.stopping

    @property
    def full(self) -> bool:
        """The log has no room for data beside its reserve: no new writes."""
        return self.turn.full

    @property
    def leaving(self) -> frozenset[int] | None:
        """Set once a planned stop began: numbers of the nodes that stop too."""
        return self.departure.leaving

    def now(self) -> Now:
        clock = self.env.clock
        return Now(clock.boot_us(), clock.wall_us())

    def boot_us(self) -> int:
        return self.env.clock.boot_us()

    def stamp(self) -> Stamp:
        """A new stamp. Raises Unavailable while the reservation is not durable."""
        return self.pulse.stamp()

    def heard(self, stamp: Stamp) -> bool:
        """Every stamp from now on is above this one. False: it is too far ahead of this machine's clock."""
        return self.pulse.clock.merge(stamp, self.env.clock.wall_us())

    # ------------------------------------------------------------------ the turn

    def dirty(self, replica: Driven) -> None:
        """Something happened in this group: look at its Ready at the end of the turn."""
        self.turn.touch(replica)
        self.stirred(replica.partition)

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

    def note_configured(self) -> None:
        """See `storage.replica.host`."""
        if not self.configured:
            self._disk.write_file(CONFIGURED_FILE, b"a tree here may hold who is a member of its group\n")
            self.configured = True

    def keep_log_members(self, partition: PartitionId, lsn: Lsn, payload: bytes) -> None:
        """See `storage.replica.host`."""
        self._disk.write_file(log_members_file(partition), encode_log_members(lsn, payload))

    def log_members(self, partition: PartitionId) -> Configured | None:
        """What a log replica here keeps; None: the copy of this partition is none. Raises Corrupt."""
        data = self._disk.read_file(log_members_file(partition))
        return None if data is None else decode_log_members(data)

    def forget_log_members(self, partition: PartitionId) -> None:
        """The copy here, if any, is no log replica."""
        if self._disk.exists(log_members_file(partition)):
            self._disk.remove(log_members_file(partition))
            self._disk.sync_dir("")

    def post(self, partition: PartitionId, envelopes: Sequence[Envelope]) -> None:
        self.peers.boxes.group(partition, envelopes)

    def send(self) -> None:
        self.peers.send()

    def before_commit(self) -> None:
        self.pulse.reserve()

    def turned(self) -> None:
        self.pulse.arm()
        self.departure.turned()

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
        at = self.members.get(self.turn.at) if self.turn.at is not None else None
        failure = Internal("a rule of this node's own was broken; it stops", cause=what)
        failure.__cause__ = error
        first = self.failed is None
        self.fail(failure)
        if first:
            for replica in [at] if at is not None else list(self.members.values())[:1]:
                self.finding(
                    replica, kind="unreadable", found_by="read", lsn=replica.applied, detail=f"its node broke a rule of its own: {what}"
                )

    def fail(self, error: ScrubjayError) -> None:
        """This node stops: its disk is not to be trusted any more, or it broke a rule. Its peers go on without it."""
        if self.failed is None:
            self.failed = error
            stops = "this node stops" if isinstance(error, Internal) else "disk failed, this node stops using it"
            self.log_state(None, "failed", f"{stops}: {error}")
            for _, replica in sorted(self.members.items()):
                replica.node_failed()
            waiting, self._starting = self._starting, None
            if waiting is not None:
                waiting(error)
            self.departure.failed()

    def _damage(self, partition: PartitionId, error: ScrubjayError) -> None:
        """A read of the log, or copying it forward, met damage: its replica hears of it in a turn of its own."""

        def tell() -> None:
            replica = self.members.get(partition)
            if self.running and replica is not None and replica.group is not None and isinstance(error, Corrupt):
                replica.log_failed(error)

        self.env.tasks.call_soon(self.guarded(tell))

    # ------------------------------------------------------------------ what replicas ask of their node

    def say_statement(self, partition: PartitionId, statement: Statement, *, want: bool, to: Sequence[int] | None = None) -> None:
        self.peers.say_statement(partition, statement, want=want, to=to)

    def ask_repair(self, partition: PartitionId, first: Lsn, end: Lsn) -> None:
        self.peers.ask_repair(partition, first, end)

    def hint(self, leader: Member | None) -> NodeName | None:
        return self.peers.name_of(leader)

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
        """Something was done with the replica: its deadline may have moved. not_before: boot time; what could not be done just now is not tried again at once."""
        self.deadlines.arm(replica.partition, replica.deadline(), not_before=not_before)
        self.stirred(replica.partition)

    def stirred(self, partition: PartitionId) -> None:
        for listener in self.on_stir:
            listener(partition)

    def _due(self, partitions: list[PartitionId], now_us: int) -> None:
        if not self.running:
            return
        for partition in partitions:
            replica = self.members.get(partition)
            if replica is not None and not replica.stopped:
                replica.tick()
                self.arm(replica, not_before=now_us + _OVERDUE_PAUSE_US)
