"""A small node around real `Group`s for the consensus profile: a register per key instead of a tree, the reduced WAL, and the answers' rules of DESIGN section 4.
Its turn and its boxes are production's (`storage.node.turn`, `storage.node.post`): there is no second shell.

Every answer waits: a write for its record to be applied; a refused condition is a strong read at the last LSN proposed, sent once that is applied under the same ballot with the lease held.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, ParamSpec

import msgspec

from scrubjay.base.env import Timer
from scrubjay.base.errors import Corrupt, Invalid, ScrubjayError, Unavailable
from scrubjay.base.hlc import HybridClock
from scrubjay.base.ids import Ballot, Lsn, Member, NodeName, PartitionId, Stamp, uuid_bytes
from scrubjay.sim.checkers.group import CHAIN_START, GroupChecker, chain
from scrubjay.sim.group_wal import GroupWal
from scrubjay.storage.consensus.group import Group
from scrubjay.storage.consensus.group_config import GroupConfig, GroupStart
from scrubjay.storage.consensus.liveness import Liveness
from scrubjay.storage.consensus.membership import Change, Membership
from scrubjay.storage.consensus.messages import Chosen, PartitionMessage, Question, ShellMessage, decode_frame
from scrubjay.storage.consensus.options import ConsensusOptions
from scrubjay.storage.consensus.ready import Envelope, Now
from scrubjay.storage.consensus.resignation import resigned_for_good
from scrubjay.storage.log.configuration import Configuration, decode_configuration, encode_configuration
from scrubjay.storage.log.record import Record, RecordKind, encode, owner_tag
from scrubjay.storage.node.post import Post
from scrubjay.storage.node.turn import Turn
from scrubjay.storage.wal import port as wal

if TYPE_CHECKING:
    from scrubjay.sim.world import WorldHost

P = ParamSpec("P")

CLUSTER = b"simulate"


class GroupWrite(msgspec.Struct, array_like=True, frozen=True):
    """Payload of a record. id: of the write, 0 for the shell's own. rests_on: hash of the log before it. closed: as in a SEAL, 0 if none."""

    id: int
    rests_on: bytes
    key: int
    value: int
    closed: int


class GroupTree(NamedTuple):
    """Applied state: lsn, stamp and hash of the last record; the registers; who is a member (payload of a CONFIG)."""

    lsn: Lsn
    stamp: Stamp
    chain: bytes
    values: dict[int, int]
    members: bytes


class GroupCopy(NamedTuple):
    """The catalogue's word: this member's copy is to be hosted. base: who is a member where its log begins; nobody, of a learner's."""

    member: Member
    base: Configuration

    def empty(self) -> GroupTree:
        """Nothing is applied."""
        return GroupTree(Lsn(0), Stamp(0), CHAIN_START, {}, encode_configuration(self.base))


class GroupRequest(NamedTuple):
    """kind: write | read | cas | weak. done(outcome, value, lsn): outcome ok | refused | retry (certainly no effect) | unknown."""

    id: int
    kind: str
    key: int
    value: int
    expected: int | None
    done: Callable[[str, int | None, int | None], None]


class GroupWaiting(NamedTuple):
    """An answer that waits for `lsn` to be applied under `ballot`."""

    lsn: Lsn
    ballot: Ballot
    request: GroupRequest
    outcome: str
    value: int | None


_WRITE = msgspec.msgpack.Decoder(GroupWrite)


def decode_write(record: Record) -> GroupWrite:
    """What a record of this profile says."""
    return _WRITE.decode(record.payload)


_TREE = msgspec.msgpack.Decoder(tuple[int, int, bytes, dict[int, int], bytes])


class GroupReplica:
    """One partition on one node."""

    def __init__(self, node: GroupNode, partition: PartitionId, group: Group, tree: GroupTree) -> None:
        self.node = node
        self.partition = partition
        self.group = group
        self.owner = owner_tag(uuid_bytes(partition))
        self.tree = tree._replace(values=dict(tree.values))
        self.spec_chain = CHAIN_START
        self.spec_values: dict[int, int] = {}
        self.waiting: list[GroupWaiting] = []
        self.caught_up = False
        self.begun = True
        self.stopped = False

    # --- leadership, as the turn says ---

    def elected(self) -> None:
        """The speculative state is the applied one plus the adopted log that is not applied yet."""
        self.spec_chain, self.spec_values = self.tree.chain, dict(self.tree.values)
        at = self.tree.lsn + 1
        while at <= self.group.last:
            records = self.group.log.read(at, self.group.last + 1, max_bytes=1 << 20)
            for record in records:
                self._speculate(record)
            at = records[-1].lsn + 1
        self.begun = False
        self.node.world.note(f"{self.node.host.name} leads {self.group.ballot:x} from {self.group.next_lsn}")
        self.begin(self.node.now())
        if self.node.on_elected is not None:
            self.node.on_elected(self.node)

    def begin(self, now: Now) -> None:
        if not self.begun and self.group.can_propose(100, now):
            self.begun = self.propose(GroupWrite(0, b"", 0, 0, 0), now) is not None

    def deposed(self) -> None:
        self.begun = True
        self.caught_up = False
        waiting, self.waiting = self.waiting, []
        for one in waiting:
            one.request.done("retry" if one.outcome != "ok" or one.request.kind == "read" else "unknown", None, None)

    def install_from(self, leader: Member) -> None:
        """The log no longer reaches back to what is lacking here: ask for the leader's registers."""
        self.node.boxes.node([Envelope(leader.node, ShellMessage("snapshot?", self.partition.encode()))])

    def log_failed(self, error: Corrupt) -> None:
        """The reduced log never rots."""
        raise error

    def drained(self) -> None:
        last = self.group.last
        self.begin(self.node.now())
        if self.group.last != last:
            self.node.turn.touch(self)

    def _speculate(self, record: Record) -> None:
        self.spec_chain = chain(self.spec_chain, record.data)
        if record.kind is RecordKind.CONFIG:
            return
        write = _WRITE.decode(record.payload)
        if write.id:
            self.spec_values[write.key] = write.value

    def propose(self, write: GroupWrite, now: Now) -> Lsn | None:
        """None if it cannot be proposed now."""
        if not self.group.can_propose(200, now):
            return None
        closed = 0
        if write.id == 0:
            closed = self.group.closed(now, in_seal=True) or 0
        try:
            stamp = self.node.clock.tick(now.wall_us)
        except Unavailable:
            return None
        full = GroupWrite(write.id, self.spec_chain, write.key, write.value, closed)
        lsn = self.group.next_lsn
        record = encode(
            owner=self.owner,
            lsn=lsn,
            stamp=stamp,
            kind=RecordKind.DATA if write.id else RecordKind.NOOP,
            payload=msgspec.msgpack.encode(full),
        )
        self.group.propose((record,))
        self._speculate(record)
        return lsn

    def change_members(self, change: Change) -> bool:
        """Propose the CONFIG that makes this change. False: not now, or never."""
        now = self.node.now()
        try:
            if not self.begun or not self.group.can_propose(200, now):
                return False
            after = self.group.plan_members(change, now)
            stamp = self.node.clock.tick(now.wall_us)
        except (Unavailable, Invalid):
            return False
        record = encode(owner=self.owner, lsn=self.group.next_lsn, stamp=stamp, kind=RecordKind.CONFIG, payload=encode_configuration(after))
        self.group.propose((record,))
        self._speculate(record)
        self.node.world.note(f"{self.node.host.name} proposes {change} at {record.lsn}")
        self.node.soon()
        return True

    # --- requests ---

    def handle(self, request: GroupRequest, now: Now) -> None:
        group = self.group
        if request.kind == "weak":
            request.done("ok", self.tree.values.get(request.key), self.tree.lsn)
            return
        if request.kind == "read":
            if not group.serving(now):
                request.done("retry", None, None)
                return
            self.answer_read(request, self.tree.values.get(request.key), self.tree.lsn, now)
            return
        if not self.begun or not group.can_propose(200, now):
            request.done("retry", None, None)
            return
        present = self.spec_values.get(request.key)
        if request.kind == "cas" and present != request.expected:
            self.answer_negative(GroupWaiting(Lsn(group.last), group.ballot, request, "refused", present), now)
            return
        lsn = self.propose(GroupWrite(request.id, b"", request.key, request.value, 0), now)
        if lsn is None:
            request.done("retry", None, None)
        else:
            self.waiting.append(GroupWaiting(lsn, group.ballot, request, "ok", request.value))

    def answer_read(self, request: GroupRequest, value: int | None, lsn: Lsn, now: Now) -> None:
        """The lease is checked after the read, before the answer."""
        if self.group.serving(now):
            request.done("ok", value, lsn)
        else:
            request.done("retry", None, None)

    def answer_negative(self, waiting: GroupWaiting, now: Now) -> None:
        """What it was evaluated on may never be chosen: it waits like a write."""
        self.waiting.append(waiting)
        self._answer(now)

    def _answer(self, now: Now) -> None:
        while self.waiting and self.waiting[0].lsn <= self.tree.lsn:
            one = self.waiting.pop(0)
            if one.outcome == "refused" and not (self.group.serving(now) and self.group.ballot == one.ballot):
                one.request.done("retry", None, None)
            else:
                one.request.done(one.outcome, one.value, one.lsn)

    # --- applying ---

    def take_chosen(self, records: tuple[Record, ...]) -> None:
        tree, checker = self.tree, self.node.checkers[self.partition]
        for record in records:
            if record.kind is RecordKind.CONFIG:
                checker.applied(self.node.host.name, record, None)
                tree = GroupTree(record.lsn, record.stamp, chain(tree.chain, record.data), tree.values, record.payload)
                continue
            write = _WRITE.decode(record.payload)
            checker.applied(self.node.host.name, record, write.rests_on)
            if write.id:
                tree.values[write.key] = write.value
            if write.closed:
                checker.closed(self.node.host.name, write.closed, record.lsn)
            tree = GroupTree(record.lsn, record.stamp, chain(tree.chain, record.data), tree.values, tree.members)
        self.tree = tree
        self.group.applied_to(tree.lsn)
        self._answer(self.node.now())


class GroupNode:
    """A node's process. It is made anew at each start of its host; `wal` and `trees` are what the host kept.

    More than 25 methods, more than 15 fields: a whole node's parts, without the rooms that a real one keeps them in.
    """

    def __init__(
        self,
        host: WorldHost,
        *,
        number: int,
        names: dict[int, NodeName],
        copies: dict[PartitionId, GroupCopy],
        wal_: GroupWal,
        trees: dict[PartitionId, GroupTree],
        options: ConsensusOptions,
        checkers: dict[PartitionId, GroupChecker],
        max_offset_us: int,
    ) -> None:
        self.host = host
        self.number = number
        self.names = names
        self.numbers = {name: one for one, name in names.items()}
        self.copies = copies
        self.wal = wal_
        self.trees = trees
        self.options = options
        self.checkers = checkers
        self.replicas: dict[PartitionId, GroupReplica] = {}
        self.liveness: Liveness | None = None
        self.world = host.world
        self.turn = Turn(tasks=host.env.tasks, wal=wal_, shell=self)
        self.boxes = Post(network=host.network, number=number, names=names, cluster=CLUSTER)
        self.timer: Timer | None = None
        self.timer_at = 0
        self.reserving = Stamp(0)
        self.on_elected: Callable[[GroupNode], None] | None = None
        wal_.restart()
        self.boot_count = self._boot_count()
        self.clock = HybridClock(reservation=self._reservation(), max_offset_us=max_offset_us)
        host.network.listen(self._receive)
        self.turn.control(wal.Boot(self.boot_count), self._booted)
        self._reserve()
        self.turn.run()

    # --- rules that the simulator breaks on purpose ---

    def _boot_count(self) -> int:
        return self.wal.boot_count + 1

    def _reservation(self) -> Stamp:
        return self.wal.reservation

    def _may_vote(self, partition: PartitionId) -> bool:
        return partition not in self.wal.lost

    # --- life ---

    def now(self) -> Now:
        clock = self.host.clock
        return Now(clock.boot_us(), clock.wall_us())

    def _booted(self) -> None:
        now = self.now()
        self.liveness = Liveness(me=self.number, boot_count=self.boot_count, clock=self.clock, options=self.options, now=now)
        for partition, copy in self.copies.items():
            self._start_copy(partition, copy)
        self._tick()

    def _start_copy(self, partition: PartitionId, copy: GroupCopy) -> None:
        assert self.liveness is not None
        fresh = (self.wal.replica(partition).member or Member(self.number, 1)) != copy.member
        if fresh:
            # The log knows another copy, or none: this one is made anew, on the word of the catalogue.
            self.wal.queue(wal.Create(partition, copy.member, Lsn(1)))
            self.trees.pop(partition, None)
        image, tree = self.wal.replica(partition), self.trees.get(partition) or copy.empty()
        if tree.lsn > image.last:
            self.wal.queue(wal.Install(partition, tree.lsn, image.accepted))
        draw = self.host.world.stream(f"{self.host.name}/{partition}/{self.host.starts}")
        group = Group(
            GroupConfig(
                partition=partition,
                members=Membership(copy.member, decode_configuration(tree.members)),
                start=GroupStart(image.promised, image.accepted, image.resigned, image.first, image.last, tree.lsn, tree.stamp),
                reader=_Reader(self.wal, partition),
                liveness=self.liveness,
                clock=self.clock,
                options=self.options,
                jitter=draw.random,
            )
        )
        self.replicas[partition] = GroupReplica(self, partition, group, tree)
        if not fresh and not self._may_vote(partition):
            group.set_vote(False, self.now())

    def host_copy(self, partition: PartitionId, copy: GroupCopy) -> None:
        """The catalogue says that this copy is here; what else this node had of the partition is gone."""
        self.drop_copy(partition)
        self.copies[partition] = copy
        if self.liveness is not None:
            self._start_copy(partition, copy)
            self._tick()

    def drop_copy(self, partition: PartitionId) -> None:
        """The catalogue says that there is no copy here."""
        self.copies.pop(partition, None)
        replica = self.replicas.pop(partition, None)
        if replica is not None:
            replica.deposed()
            replica.stopped = True
            self.turn.forget(partition)
            self.turn.control(wal.Drop(partition))
            self.trees.pop(partition, None)

    def _reserve(self) -> None:
        want = self.clock.wants_reservation(self.host.clock.wall_us())
        if want is not None and want > self.reserving:
            self.reserving = want
            began_us = self.now().boot_us
            self.turn.control(wal.Reserve(want), lambda: self.clock.reserved(want, took_us=self.now().boot_us - began_us))

    # --- the shell around the turn (storage.node.turn.Shell) ---

    @property
    def running(self) -> bool:
        """A life that ended runs nothing, so a turn that runs belongs to a living one."""
        return True

    def post(self, partition: PartitionId, envelopes: Sequence[Envelope]) -> None:
        self.boxes.group(partition, envelopes)

    def send(self) -> None:
        self.boxes.send()

    def before_commit(self) -> None:
        self._reserve()

    def turned(self) -> None:
        self._arm()

    def fail(self, error: ScrubjayError) -> None:
        raise error

    def guarded(self, work: Callable[P, object]) -> Callable[P, None]:
        """A rule that does not hold ends the run here, as a violation."""

        def enter(*arguments: P.args, **named: P.kwargs) -> None:
            work(*arguments, **named)

        return enter

    def room_changed(self, full: bool, reason: str) -> None:
        raise AssertionError(reason)

    def soon(self) -> None:
        """Look at every group at the end of this turn."""
        for replica in self.replicas.values():
            self.turn.touch(replica)
        self.turn.schedule()

    # --- messages ---

    def _receive(self, sender: NodeName, data: bytes) -> None:
        if self.liveness is None:
            return
        try:
            frame = decode_frame(data, cluster=CLUSTER)
        except Corrupt:
            return
        now = self.now()
        for message in frame.node:
            if isinstance(message, ShellMessage):
                self._on_shell(frame.sender, message, now)
            else:
                self.boxes.node(self.liveness.step(frame.sender, message, now))
        self._after_liveness(now)
        for partition, group_message in frame.groups:
            replica = self.replicas.get(partition)
            if replica is None:
                self._answer_for_none(frame.sender, partition, group_message)
                continue
            group = replica.group
            group.step(frame.sender, group_message, now)
            group.check_invariants()
        self.soon()

    def _after_liveness(self, now: Now) -> None:
        assert self.liveness is not None
        for sender, partition, ballot, lsn in self.liveness.take_chosen():
            replica = self.replicas.get(partition)
            if replica is not None:
                replica.group.step(sender, Chosen(ballot, lsn), now)
        if self.liveness.changed():
            for replica in self.replicas.values():
                replica.group.on_liveness(now)

    def _answer_for_none(self, sender: int, partition: PartitionId, message: PartitionMessage) -> None:
        """A member that is here no more acts under no ballot."""
        if isinstance(message, Question):
            self.boxes.group(partition, resigned_for_good(sender, message, self.number))

    def _on_shell(self, sender: int, message: ShellMessage, now: Now) -> None:
        if message.kind == "snapshot?":
            asked = self.replicas.get(PartitionId(message.body.decode()))
            if asked is None:
                return
            replica = asked
            body = msgspec.msgpack.encode((replica.partition, msgspec.msgpack.encode(replica.tree)))
            self.boxes.node([Envelope(sender, ShellMessage("snapshot", body))])
        elif message.kind == "snapshot":
            partition, raw = msgspec.msgpack.decode(message.body, type=tuple[str, bytes])
            told = self.replicas.get(PartitionId(partition))
            if told is None:
                return
            replica = told
            lsn, stamp, digest, values, members = _TREE.decode(raw)
            if lsn > replica.group.log.applied and not replica.group.leading:
                self.host.world.note(f"{self.host.name} installs a snapshot at {lsn}")
                replica.tree = GroupTree(Lsn(lsn), Stamp(stamp), digest, values, members)
                self.trees[replica.partition] = replica.tree._replace(values=dict(values))
                replica.group.installed(Lsn(lsn), Stamp(stamp), now, members=decode_configuration(members))

    # --- time ---

    def _tick(self) -> None:
        if self.liveness is None:
            return
        now = self.now()
        self.timer = None
        self._reserve()
        if self.liveness.deadline() <= now.boot_us:
            self.boxes.node(self.liveness.tick(now))
            self._after_liveness(now)
        for replica in self.replicas.values():
            at = replica.group.deadline()
            if at is not None and at <= now.boot_us:
                replica.group.tick(now)
                replica.group.check_invariants()
        self.soon()
        self.turn.run()

    def _arm(self) -> None:
        if self.liveness is None:
            return
        at = self.liveness.deadline()
        for replica in self.replicas.values():
            due = replica.group.deadline()
            if due is not None and due < at:
                at = due
            if not replica.begun:
                at = min(at, self.now().boot_us + 10_000)
        if self.timer is not None:
            if self.timer_at <= at:
                return
            self.timer.cancel()
        self.timer_at = at
        self.timer = self.host.env.tasks.call_later(max(1, at - self.host.clock.boot_us()) / 1e6, self._tick)

    # --- what the world asks of it ---

    def submit(self, partition: PartitionId, request: GroupRequest) -> None:
        replica = self.replicas.get(partition)
        if replica is None:
            request.done("retry", None, None)
            return
        replica.handle(request, self.now())
        self.soon()

    def checkpoint(self, *, trim: bool) -> None:
        """Make the applied state durable; trim: let go of the log below it."""
        for partition, replica in self.replicas.items():
            tree = replica.tree
            image = self.wal.durable.get(partition)
            if tree.lsn and image is not None and image.last >= tree.lsn and image.first <= tree.lsn + 1:
                before = self.trees.get(partition)
                self.trees[partition] = tree._replace(values=dict(tree.values))
                if trim and before is not None:
                    self.wal.trim(partition, Lsn(before.lsn + 1))
                    replica.group.trimmed(Lsn(before.lsn + 1))

    def publish(self) -> None:
        """Say "closed at C" outside the log."""
        now = self.now()
        for partition, replica in self.replicas.items():
            closed = replica.group.closed(now)
            if closed is not None:
                self.checkers[partition].closed(self.host.name, closed, replica.group.log.chosen)


class _Reader:
    def __init__(self, wal_: GroupWal, partition: PartitionId) -> None:
        self._wal, self._partition = wal_, partition

    def read(self, first: Lsn, end: Lsn, *, max_bytes: int) -> list[Record]:
        return self._wal.read(self._partition, first, end, max_bytes=max_bytes)
