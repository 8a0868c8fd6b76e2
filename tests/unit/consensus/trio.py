"""Three real groups on an ideal network and an ideal disk, driven by hand: what a test needs to say "now this message is lost"."""

from __future__ import annotations

from collections.abc import Callable

from scrubjay.base.errors import Missing
from scrubjay.base.hlc import HybridClock, stamp_of
from scrubjay.base.ids import Ballot, Lsn, Member, PartitionId, uuid_bytes
from scrubjay.storage.consensus.group import Group
from scrubjay.storage.consensus.group_config import GroupConfig, GroupStart
from scrubjay.storage.consensus.liveness import Liveness
from scrubjay.storage.consensus.membership import Membership
from scrubjay.storage.consensus.messages import Ask, Chosen, Grant, Moved, PartitionMessage
from scrubjay.storage.consensus.options import ConsensusOptions
from scrubjay.storage.consensus.ready import Envelope, Now
from scrubjay.storage.log.configuration import founding
from scrubjay.storage.log.record import Record, RecordKind, encode, owner_tag
from scrubjay.storage.wal import port as wal

PARTITION = PartitionId("11111111-2222-4333-8444-555555555555")
OWNER = owner_tag(uuid_bytes(PARTITION))
WALL = 1_800_000_000_000_000
OPTIONS = ConsensusOptions(
    grant_us=1_000_000, interval_us=200_000, drift_us=10_000, election_us=100_000, retry_us=200_000, batch_bytes=400, tail_bytes=2_000
)


class Disk:
    """Frames as queued; records of the log by LSN."""

    def __init__(self) -> None:
        self.frames: list[wal.Frame] = []
        self.log: dict[int, Record] = {}
        self.staged: dict[int, Record] = {}

    def queue(self, frame: wal.Frame) -> None:
        self.frames.append(frame)
        if isinstance(frame, wal.Append):
            (self.staged if frame.staged else self.log).update({record.lsn: record for record in frame.records})
        elif isinstance(frame, wal.Adopt):
            self.log = {lsn: record for lsn, record in self.log.items() if lsn <= frame.cut_at}
            self.log.update({lsn: record for lsn, record in self.staged.items() if frame.cut_at < lsn <= frame.adopted_last})
            self.staged = {}

    def read(self, first: Lsn, end: Lsn, *, max_bytes: int) -> list[Record]:
        if first not in self.log:
            raise Missing("trimmed", what="record", lsn=first)
        found, size = [], 0
        for lsn in range(first, end):
            found.append(self.log[lsn])
            size += len(self.log[lsn].data)
            if size >= max_bytes:
                break
        return found


class Node:
    def __init__(
        self,
        trio: Trio,
        number: int,
        *,
        boot: int = 1,
        start: GroupStart | None = None,
        disk: Disk | None = None,
        members: Membership | None = None,
        heir: bool = False,
    ) -> None:
        self.number = number
        self.disk = disk or Disk()
        self.clock = HybridClock(reservation=stamp_of(WALL + 10**12), max_offset_us=500_000)
        self.clock.latest = stamp_of(1)
        self.liveness = Liveness(me=number, boot_count=boot, clock=self.clock, options=OPTIONS, now=trio.now)
        self.group = Group(
            GroupConfig(
                partition=PARTITION,
                members=members or Membership(Member(number, 1), founding(trio.members)),
                start=start or GroupStart(Ballot(0), Ballot(0), Ballot(0), Lsn(1), Lsn(0), Lsn(0)),
                reader=self.disk,
                liveness=self.liveness,
                clock=self.clock,
                options=OPTIONS,
                jitter=lambda: 0.1 * number,
                heir=heir,
            )
        )
        self.chosen: list[Record] = []
        self.elected: list[Ballot] = []
        self.deposed = 0
        self.install_from: Member | None = None
        self.tokens: list[int] = []
        self.hold_sync = False


class Trio:
    """now: one clock for all. heir: see `GroupConfig`, 0: nobody. drop(sender, receiver, message): True loses it."""

    def __init__(self, size: int = 3, *, heir: int = 0) -> None:
        self.now = Now(1_000_000, WALL)
        self.members = tuple([Member(number, 1) for number in range(1, size + 1)])
        self.queue: list[tuple[int, int, object]] = []
        self.drop: Callable[[int, int, object], bool] = lambda sender, receiver, message: False
        self.delivered: list[tuple[int, int, object]] = []
        self.nodes = {number: Node(self, number, heir=number == heir) for number in range(1, size + 1)}

    def __getitem__(self, number: int) -> Node:
        return self.nodes[number]

    def post(self, sender: int, envelopes: tuple[Envelope, ...] | list[Envelope]) -> None:
        self.queue += [(sender, one.to, one.message) for one in envelopes]

    def pump(self, node: Node) -> None:
        group = node.group
        while (ready := group.ready()) is not None:
            for frame in ready.persist:
                node.disk.queue(frame)
            self.post(node.number, ready.send_now)
            if ready.elected is not None:
                node.elected.append(ready.elected)
            node.deposed += ready.deposed
            node.install_from = ready.install_from or node.install_from
            if ready.chosen:
                node.chosen += ready.chosen
                group.applied_to(ready.chosen[-1].lsn)
            if ready.token:
                node.tokens.append(ready.token)
                if not node.hold_sync:
                    self.sync(node)
        group.check_invariants()

    def sync(self, node: Node) -> None:
        if node.tokens:
            token, node.tokens = node.tokens[-1], []
            self.post(node.number, node.group.persisted(token))
            self.pump(node)

    def settle(self) -> None:
        """Deliver until nothing is under way."""
        for _ in range(20_000):
            if not self.queue:
                return
            sender, to, message = self.queue.pop(0)
            node = self.nodes.get(to)
            if node is None or self.drop(sender, to, message):
                continue
            self.delivered.append((sender, to, message))
            if isinstance(message, Ask | Grant | Moved):
                self.post(to, node.liveness.step(sender, message, self.now))
                self.after_liveness(node)
            else:
                node.group.step(sender, message, self.now)  # type: ignore[arg-type]
            self.pump(node)
        raise AssertionError("messages go round in circles")

    def after_liveness(self, node: Node) -> None:
        for sender, _, ballot, lsn in node.liveness.take_chosen():
            node.group.step(sender, Chosen(ballot, lsn), self.now)
        if node.liveness.changed():
            node.group.on_liveness(self.now)

    def advance(self, by_us: int, *, step_us: int = 25_000) -> None:
        """Let time pass, with all that falls due."""
        end = self.now.boot_us + by_us
        while self.now.boot_us < end:
            self.now = Now(self.now.boot_us + step_us, self.now.wall_us + step_us)
            for node in self.nodes.values():
                if node.liveness.deadline() <= self.now.boot_us:
                    self.post(node.number, node.liveness.tick(self.now))
                    self.after_liveness(node)
                due = node.group.deadline()
                if due is not None and due <= self.now.boot_us:
                    node.group.tick(self.now)
                self.pump(node)
            self.settle()

    def leader(self) -> Node:
        leading = [node for node in self.nodes.values() if node.group.leading and node.group.lease.held(self.now)]
        assert len(leading) == 1, [node.number for node in leading]
        return leading[0]

    def elect(self) -> Node:
        """Until somebody leads and its first record is chosen."""
        self.advance(3_000_000)
        node = self.leader()
        self.propose(node, 1, kind=RecordKind.NOOP)
        self.advance(100_000)
        return node

    def make(self, node: Node, count: int, *, kind: RecordKind = RecordKind.DATA, size: int = 60) -> list[Record]:
        return [
            encode(
                owner=OWNER,
                lsn=node.group.next_lsn + at,
                stamp=node.clock.tick(self.now.wall_us),
                kind=kind,
                payload=b"" if kind is RecordKind.NOOP else bytes(size),
            )
            for at in range(count)
        ]

    def propose(self, node: Node, count: int, *, kind: RecordKind = RecordKind.DATA) -> None:
        node.group.propose(self.make(node, count, kind=kind))
        self.pump(node)

    def said(self, kind: type[PartitionMessage]) -> list[tuple[int, int, object]]:
        return [one for one in self.delivered if isinstance(one[2], kind)]

    def restart(self, number: int, *, boot: int) -> Node:
        """The process ends; what was synced is back (here: all that was queued)."""
        old = self.nodes[number]
        group = old.group
        state, log = group.state, group.log
        start = GroupStart(state.promised, state.accepted, state.resigned, log.first, log.last, log.applied)
        self.queue = [one for one in self.queue if one[1] != number]
        node = self.nodes[number] = Node(self, number, boot=boot, start=start, disk=old.disk)
        node.chosen = list(old.chosen)
        return node
