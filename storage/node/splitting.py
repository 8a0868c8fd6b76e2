"""How a node makes the children's trees of its own copy of a partition that is to be split (ADR 0078): most of it before the log has ended, the rest when it has.

The parent's tree is pinned as it is, each half of it is written as a row file and loaded, and what the log says since is taken from the log. That goes on by itself until the log has ended;
then both trees are committed as of its last SEAL, their digests must come to the parent's, and the children's replicas begin. Until then nothing of a child is worth anything: what was
half made when the node died, or when something failed, is thrown away and made again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scrubjay.base.env import Disk, Future, Task
from scrubjay.base.errors import Corrupt, DiskFull, Invalid, ScrubjayError, Unavailable
from scrubjay.base.hlc import last_stamp_at, stamp_micros
from scrubjay.base.ids import Lsn, PartitionId, Stamp
from scrubjay.base.together import settle
from scrubjay.storage.btree.engine import PinnedTree, TreeState
from scrubjay.storage.catalogue import PartitionInfo
from scrubjay.storage.log.digest import MASK, Total
from scrubjay.storage.log.split import Born, Split, check_split, decode_born, encode_born
from scrubjay.storage.node.errand_messages import NOT_MADE, PrepareSplit, SplitPrepared, room_to_split
from scrubjay.storage.node.errands import Note
from scrubjay.storage.node.healing import Healing
from scrubjay.storage.node.home import Home
from scrubjay.storage.node.hosting import Hosting
from scrubjay.storage.node.spool import FOLDER
from scrubjay.storage.replica import OPENING, LogReplica, Replica, healed_state
from scrubjay.storage.replica.overlay import layer_changes
from scrubjay.storage.replica.segments import SegmentFacts
from scrubjay.storage.replica.state import encode_extra

POLL_S = 0.005
"""How often the parent's log is looked at: a part of what writes wait for at the split."""
RETRY_S = 1.0
PINS_MAX = 20


class _Over(Exception):
    """There is nothing to divide any more: the log ended otherwise, or one of the three is gone from this node."""


class _Division:
    """One split, of one copy. children: those that have not begun. at: up to where their trees, and what is in memory above them, have the parent's log. trouble: why the last try ended."""

    def __init__(self, split: Split, parent: Replica, children: tuple[Replica, ...]) -> None:
        self.split, self.parent, self.children = split, parent, children
        self.at = Lsn(0)
        self.made = False
        """Both trees are there. Before, what they lack is all of the parent's rows, however few records its log has: those of a base stand in none."""
        self.held: Lsn | None = None
        self.trouble: ScrubjayError | None = None
        self.over = False
        self.task: Task[None] | None = None

    def hold(self, lsn: Lsn | None) -> None:
        """Keep the parent's log above that, and no longer what was kept before. None: nothing."""
        before, self.held = self.held, lsn
        if lsn is not None:
            self.parent.checkpoints.hold(lsn)
        if before is not None:
            self.parent.checkpoints.release_hold(before)


class Splitting:
    """Of one life of a node."""

    def __init__(self, node: Home, hosting: Hosting, healing: Healing, disk: Disk) -> None:
        self._node, self._hosting, self._healing, self._disk = node, hosting, healing, disk
        self._under: dict[PartitionId, _Division] = {}

    async def prepare(self, request: PrepareSplit, note: Note) -> SplitPrepared:
        """See `errand_messages.PrepareSplit`."""
        del note
        split = Split(request.id, request.cut, request.left.partition_id, request.right.partition_id)
        children = [self._child(request, info) for info in (request.left, request.right)]
        waiting = [child for child in children if not child.begun and not child.out]
        if not waiting:
            return SplitPrepared(0, begun=True)
        parent = self._node.members.get(request.partition)
        if parent is not None and not isinstance(parent, Replica):
            return self._logs_alone(parent, split, waiting)
        if parent is None or not _whole(parent):
            return self._nothing_to_divide(request, parent, waiting)
        check_split(split, parent=parent.partition, lo=parent.lo, hi=parent.hi)
        if parent.split is not None and parent.split != split:
            raise Invalid("the partition was split otherwise", partition=parent.partition, split=parent.split.id.hex())
        division = self._under.get(parent.partition)
        if division is None or division.over or division.parent is not parent or division.split != split:
            division = self._begin(split, parent, tuple([child for child in waiting if isinstance(child, Replica)]))
        if division.trouble is not None:
            raise Unavailable("the children's trees cannot be made now", partition=parent.partition, why=str(division.trouble))
        return SplitPrepared(max(1, parent.applied - division.at) if division.made else max(parent.applied, NOT_MADE), begun=False)

    def stop(self) -> None:
        """The node stops: what is half made is let go of."""
        for division in self._under.values():
            division.over = True
            if division.task is not None:
                division.task.cancel()

    # ------------------------------------------------------------------ without a tree

    def _child(self, request: PrepareSplit, info: PartitionInfo) -> LogReplica:
        child = self._hosting.host(request.table, info, coming=True)
        if child is None:
            raise Unavailable("the table is dropped: nothing of it begins", partition=info.partition_id, node=self._node.name)
        return child

    def _logs_alone(self, parent: LogReplica, split: Split, waiting: list[LogReplica]) -> SplitPrepared:
        """A log replica has no tree to divide: its children's logs begin behind its own."""
        facts = parent.segments.facts
        if not facts.ended or parent.split != split:
            return SplitPrepared(0, begun=False)
        for child in waiting:
            self._hosting.begin_following(child, Lsn(facts.ended))
        return SplitPrepared(0, begun=True)

    def _nothing_to_divide(self, request: PrepareSplit, parent: Replica | None, waiting: list[LogReplica]) -> SplitPrepared:
        opening = parent is not None and parent.state == OPENING
        if not request.heal or opening:
            raise Unavailable(
                "there is no copy here that the children could be made of",
                partition=request.partition,
                node=self._node.name,
                state="" if parent is None else parent.state,
                **({} if opening else {"heal": True}),
            )
        division = self._under.pop(request.partition, None)
        if division is not None:
            division.over = True
            self._let_go(division)
        for child in waiting:
            self._hosting.begin_behind(child)
        return SplitPrepared(0, begun=True)

    # ------------------------------------------------------------------ with one

    def _begin(self, split: Split, parent: Replica, children: tuple[Replica, ...]) -> _Division:
        before = self._under.get(parent.partition)
        if before is not None and not before.over:
            before.over = True
            self._let_go(before)
        division = self._under[parent.partition] = _Division(split, parent, children)
        division.task = self._node.env.tasks.spawn(self._run(division), name=f"split {parent.partition}")
        return division

    async def _run(self, division: _Division) -> None:
        node = self._node
        try:
            while not division.over:
                try:
                    await self._divide(division)
                    division.over = True
                except _Over:
                    division.over = True
                except ScrubjayError as error:
                    if str(error) != str(division.trouble):
                        node.log_state(division.parent, division.parent.state, f"its children's trees are made again: {error}")
                    division.trouble = error
                finally:
                    self._let_go(division)
                if not division.over:
                    await node.env.tasks.sleep(RETRY_S)
            if self._under.get(division.parent.partition) is division:
                del self._under[division.parent.partition]
        except Exception as error:  # noqa: BLE001  a bug of ours: the node stops, as for one anywhere else
            node.broken(error)

    def _let_go(self, division: _Division) -> None:
        """What was made for children that did not begin is worth nothing."""
        division.hold(None)
        for child in division.children:
            if child.group is None and child.tree is not None:
                tree = child.detach_tree()
                if tree is not None:
                    tree.close()

    def _look(self, division: _Division) -> Lsn:
        """How far the trees have to go now: the LSN of the log's end, or 0 while it goes on. Raises _Over, Unavailable, Corrupt."""
        parent, facts = division.parent, division.parent.segments.facts
        if division.over or parent.stopped or any(child.stopped for child in division.children):
            raise _Over
        if any(child.digest_void for child in division.children):
            raise Corrupt("a child's tree rotted while it was made", what="tree", partition=parent.partition)
        if not _whole(parent):
            raise Unavailable("the copy that is divided serves no more", partition=parent.partition, state=parent.state)
        if facts.ended and parent.split is None:
            raise _Over  # its table was dropped
        return Lsn(facts.ended)

    async def _divide(self, division: _Division) -> None:
        parent = division.parent
        state = await self._halve(division)
        division.at, division.made = state, True
        division.trouble = None
        step = self._node.options.apply_slice_bytes
        while True:
            ended = self._look(division)
            end = ended or parent.applied
            if division.at < end:
                for record in self._node.wal.read(parent.partition, Lsn(division.at + 1), Lsn(end + 1), max_bytes=step):
                    for child in division.children:
                        child.follow.inherit(record)
                    division.at = record.lsn
                division.hold(division.at)
                for child in division.children:
                    if child.overlay.active_bytes >= self._node.options.checkpoint_bytes:
                        await self._down(division, child, TreeState(child.applied, child.stamp, b""))
            elif ended:
                break
            await self._node.env.tasks.sleep(0 if division.at < end else POLL_S)
        await self._finish(division, ended)

    async def _halve(self, division: _Division) -> Lsn:
        """Trees of the parent's as it is now. Which LSN they are at."""
        parent = division.parent
        ended = self._look(division)
        free, need = self._disk.free_bytes(), room_to_split(parent.size)
        if free < need:
            raise DiskFull("no room for the children's trees", free=free, need=need)
        pin, at, stamp = await self._pin(division, hurry=bool(ended))
        if ended:
            at = min(at, ended)  # what is behind changed no row
        paths = [f"{FOLDER}/{child.partition}.split" for child in division.children]
        try:
            try:
                for child, path in zip(division.children, paths, strict=True):
                    try:
                        await self._wait(lambda done, child=child, path=path: pin.dump(path, done, start=child.lo, end=child.hi))  # type: ignore[misc]
                    except Corrupt as rot:
                        parent.found_rot(rot, found_by="read")
                        raise
            finally:
                pin.release()
            for child, path in zip(division.children, paths, strict=True):
                self._look(division)
                tree, digest, size, indexes = await self._healing.load_rows(child, path, TreeState(at, stamp, b""))
                try:
                    self._look(division)  # the child may have begun without a tree meanwhile
                except BaseException:
                    tree.close()
                    raise
                child.inherits(tree, TreeState(at, stamp, encode_extra(digest, size, SegmentFacts(), indexes)))
                if self._node.full and not ended:
                    raise Unavailable("the log is full: what is kept of it for the split is let go of", partition=parent.partition)
        finally:
            for path in paths:
                if self._disk.exists(path):
                    self._disk.remove(path)
        return at

    async def _pin(self, division: _Division, *, hurry: bool) -> tuple[PinnedTree, Lsn, Stamp]:
        """The parent's tree at whatever LSN it is; the log above that is kept from here on."""
        parent = division.parent
        for left in reversed(range(PINS_MAX)):
            self._look(division)
            tree = parent.tree
            assert tree is not None
            state = tree.state
            division.hold(state.applied)
            try:
                pin: PinnedTree = await self._wait(lambda done, tree=tree, at=state.applied: tree.pin(at, done, hurry=hurry))  # type: ignore[misc]
            except Unavailable as error:
                if not left or "found" not in error.fields:
                    raise
            else:
                return pin, state.applied, state.stamp
            await self._node.env.tasks.sleep(POLL_S)
        raise Unavailable("the copy's tree changes too fast to be divided", partition=parent.partition, node=self._node.name)

    async def _finish(self, division: _Division, ended: Lsn) -> None:
        """The parent's log has ended and the trees have all of it. Raises Corrupt: they do not come to what it was."""
        parent, facts = division.parent, division.parent.segments.facts
        stamp = self._end_stamp(parent, ended)
        if not self._node.heard(last_stamp_at(stamp_micros(stamp))):
            raise Unavailable("the end of the log lies too far ahead of this clock", partition=parent.partition)
        expected = Total(int.from_bytes(facts.sum, "little"), facts.rows)
        found = self._added(division)
        if found is not None and found != expected:
            wrong = Corrupt(
                "the halves of a copy do not come to the whole", what="tree", partition=parent.partition, expected=expected, found=found
            )
            parent.found_rot(wrong, found_by="read")
            raise wrong
        down = []
        for child in division.children:
            born = Born(parent.partition, ended, stamp, facts.chain, child.total())
            state = healed_state(
                child.follow.digest,
                child.size,
                lsn=ended,
                stamp=stamp,
                chain=facts.chain,
                archived=ended,
                indexes=child.index_sizes,
                configured=parent.configured,
                born=encode_born(born),
            )
            down.append((child, self._freeze(child, state)))
        for child, committed in down:
            await self._healing.bounded(committed)
            self._look(division)  # the child may be gone from here by now, with what was in memory
            child.overlay.committed()
        for child in division.children:
            assert child.tree is not None
            # The node of the parent's leader should go on: the others would take it for a leader that fell silent, and wait as long.
            self._hosting.start_loaded(child, child.tree, heir=parent.group is not None and parent.group.leading)
            child.attest.state_all()
            self._node.dirty(child)

    def _added(self, division: _Division) -> Total | None:
        """What both children come to; None: one of them began before, and nobody knows here with what."""
        totals = []
        for partition in (division.split.left, division.split.right):
            child = self._node.replicas[partition]
            born = decode_born(child.born)
            if not child.begun:
                totals.append(child.total())
            elif born is not None:
                totals.append(born.total)
            else:
                return None
        return Total(sum(total.sum for total in totals) & MASK, sum(total.rows for total in totals))

    def _end_stamp(self, parent: Replica, ended: Lsn) -> Stamp:
        """Of the SEAL that the log ends with: as its record has it, or as the heal was told that began behind it."""
        facts = parent.segments.facts
        if facts.last_content == ended:
            return Stamp(facts.last_content_stamp)
        (record,) = self._node.wal.read(parent.partition, ended, Lsn(ended + 1), max_bytes=1)
        return Stamp(record.stamp)

    # ------------------------------------------------------------------ the engine

    def _freeze(self, child: Replica, state: TreeState) -> Future[Any]:
        """Begin to commit what is in memory, as of that state."""
        layer = child.overlay.freeze(state)
        committed = self._healing.future()
        assert child.tree is not None
        child.tree.checkpoint(layer_changes(layer), state, lambda result: settle(committed, result))
        return committed

    async def _down(self, division: _Division, child: Replica, state: TreeState) -> None:
        await self._healing.bounded(self._freeze(child, state))
        self._look(division)
        child.overlay.committed()

    async def _wait(self, begin: Callable[[Callable[[Any], None]], None]) -> Any:
        future = self._healing.future()
        begin(lambda result: settle(future, result))
        return await self._healing.bounded(future)


def _whole(parent: Replica) -> bool:
    """A tree can be made of this copy."""
    return parent.status.serves and parent.group is not None and parent.tree is not None and not parent.digest_void and not parent.stuck
