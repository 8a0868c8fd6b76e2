"""How a copy is made anew from a row file, step by step, by the node it lives on: healed (the old tree is set aside as evidence first), or loaded as the base
of a restored table.

A heal that is cut off by the death of the node is due again: that it had begun was made durable before the old tree went. One whose asker died goes on. A copy
serves only if the digest recomputed from the bytes that were loaded is the one that was proven.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scrubjay.base.env import Future
from scrubjay.base.errors import Corrupt, Missing, ScrubjayError, Unavailable
from scrubjay.base.ids import Lsn, PartitionId
from scrubjay.base.together import settle
from scrubjay.storage.btree.engine import EMPTY, Done, PinnedTree, ScanResult, Tree, TreeFile, TreeState
from scrubjay.storage.btree.index_rows import IndexTally, Sizes
from scrubjay.storage.btree.row import HEADER_SIZE
from scrubjay.storage.log.configuration import decode_configuration
from scrubjay.storage.log.digest import RangeDigest
from scrubjay.storage.log.split import encode_split, split_from
from scrubjay.storage.log.stated import SILENT, Stated
from scrubjay.storage.node.errand_messages import LOOK_S, NO_TREE, Heal, Healed, Load, Loaded, Reread, Sum, Survey, Surveyed, TakeTree
from scrubjay.storage.node.errands import Note
from scrubjay.storage.node.home import Home
from scrubjay.storage.node.hosting import Hosting
from scrubjay.storage.node.pins import copy_on, named
from scrubjay.storage.node.spool import Spool
from scrubjay.storage.replica import AMNESIAC, BASE, HEALING, STOPPED, SUSPECT, Configured, Replica, base_state, healed_state

_POLL_S = 0.05
_PINS_MAX = 20
_REREAD_GIVE_UP_US = 30_000_000
TREE_WAIT_S = 900.0
"""The longest an operation on a whole tree may take: a worker that hangs is waited for no longer."""


def _stated(replica: Replica, request: Heal) -> Stated:
    """What the log said last of its table as of the seal: the newest that is known here or was told."""
    told = SILENT if request.stated is None else request.stated
    return max([one for one in (SILENT, told, replica.stated) if one.lsn <= request.lsn], key=lambda one: one.lsn)


def _split(request: Heal) -> bytes:
    """Payload of the SPLIT that ended the log at that seal. Raises Corrupt."""
    if request.ended is None or not request.split:
        return b""
    return encode_split(split_from(request.split))


class Healing:
    """One at a time on each copy. spool: where row files come in.

    More than 25 methods: each step that makes a copy anew, and what is waited for in it."""

    def __init__(self, node: Home, hosting: Hosting, spool: Spool) -> None:
        self._node, self._hosting, self._spool = node, hosting, spool
        self._working: dict[PartitionId, int] = {}
        """What works on a copy's tree: heals and loads, and the worker's part in one that was given up."""

    async def settled(self, partition: PartitionId) -> None:
        """Once nothing works on the copy's tree. Raises Unavailable if something does after LOOK_S still."""
        give_up = self._node.boot_us() + int(LOOK_S * 1e6)
        while self.busy(partition):
            if self._node.boot_us() >= give_up:
                raise Unavailable("this copy is worked on", partition=partition, node=self._node.name, working=True)
            await self._node.env.tasks.sleep(_POLL_S)

    def busy(self, partition: PartitionId) -> bool:
        return bool(self._working.get(partition))

    def refuse(self, partition: PartitionId) -> Replica:
        """The copy. Raises Unavailable if none is here, it is worked on already, or nothing of this kind helps it."""
        replica = copy_on(self._node, partition)
        if self.busy(partition):
            raise Unavailable("this copy is being healed already", partition=partition, node=self._node.name, refused=True)
        if replica.status.tree == STOPPED or replica.status.vote == AMNESIAC:
            raise Unavailable(
                "no heal brings this copy back",
                partition=partition,
                node=self._node.name,
                state=replica.state,
                reason=replica.reason,
                refused=True,
            )
        return replica

    # ------------------------------------------------------------------ heal

    async def heal(self, request: Heal, note: Note) -> Healed:
        """See `errand_messages.Heal`."""
        replica = self.refuse(request.partition)
        path = self._spool.take(request.spooled)
        self._work(request.partition, 1)
        try:
            await self._healed(replica, path, request, note)
        except BaseException:
            if not replica.stopped:
                replica.set_state(SUSPECT, f"heal failed: {request.reason}")
            raise
        finally:
            self._work(request.partition, -1)
            self._spool.discard(request.spooled)
        return Healed()

    async def _healed(self, replica: Replica, path: str, request: Heal, note: Note) -> None:
        note(await self._set_aside(replica, request.reason) or NO_TREE)
        state = TreeState(request.lsn, request.stamp, b"")
        tree, digest, size, indexes = await self.load_rows(replica, path, state)
        if digest.total() != request.total.total:
            tree.close()
            self._node.engine.set_aside(replica.partition, "loaded copy differs from its reference")
            raise Corrupt(
                "the loaded copy does not have the reference's digest",
                what="tree",
                expected=request.total.total.hex,
                found=digest.total().hex,
            )
        if request.lsn:
            state = healed_state(
                digest,
                size,
                lsn=request.lsn,
                stamp=request.stamp,
                chain=request.chain,
                archived=min(request.archived, request.lsn),
                ended_closed=request.ended,
                indexes=indexes,
                configured=self._configured(replica, request),
                stated=_stated(replica, request),
                split=_split(request),
                born=replica.born or request.born,
            )
        else:
            state = base_state(digest, size, indexes)
        if state.extra:
            await self._commit(replica, tree, state)
        replica.replace_tree(tree)

    def _configured(self, replica: Replica, request: Heal) -> Configured:
        """Who is a member: the newest that is known here or was told. Raises Corrupt."""
        told = Configured(*request.configured)
        if told.lsn:
            decode_configuration(told.payload)
            self._node.note_configured()
        return max(told, replica.configured)

    async def _set_aside(self, replica: Replica, reason: str) -> str:
        """The old tree goes to quarantine. Where it lies below the node's folder, "" if the whole of it was gone."""
        replica.suspect(reason)
        replica.set_state(HEALING, reason)
        old = replica.detach_tree()
        if old is not None:
            old.close()
        # Durable before the tree goes: a node that dies half-way then knows at its next start why there is none.
        noted = self.future()
        replica.keep_tree(HEALING, lambda: settle(noted, None))
        await self.bounded(noted)
        self._still_here(replica)
        try:
            return self._node.engine.set_aside(replica.partition, reason)
        except Missing:
            return ""

    # ------------------------------------------------------------------ load

    async def load(self, request: Load, note: Note) -> Loaded:
        """See `errand_messages.Load`."""
        replica = self._waiting(request.partition)
        path = self._spool.take(request.spooled)
        self._work(request.partition, 1)
        try:
            tree, digest, size, indexes = await self.load_rows(replica, path, EMPTY)
            return await self._begin(replica, tree, digest, size, request.total, indexes)
        finally:
            self._work(request.partition, -1)
            self._spool.discard(request.spooled)

    async def adopt(self, request: TakeTree, note: Note) -> Loaded:
        """See `errand_messages.TakeTree`. What was read back of the file was read back of this copy, whose bytes have its hash."""
        replica = self._waiting(request.partition)
        if replica.local is not None:
            raise Missing("a tree that was made for all copies has no index rows", what="tree", partition=replica.partition)
        digest = RangeDigest(replica.lo, replica.hi)
        digest.load(request.digest)
        made = TreeFile(request.size, request.hash, request.digest, request.item_bytes)
        self._work(request.partition, 1)
        try:
            tree = await self._arrival(
                replica.partition, lambda arrived: self._node.engine.adopt(replica.partition, made, arrived, last=request.last)
            )
            try:
                self._still_here(replica)
            except BaseException:
                self._give_back(replica, tree)
                raise
            return await self._begin(replica, tree, digest, request.item_bytes, request.total)
        finally:
            self._work(request.partition, -1)

    def _waiting(self, partition: PartitionId) -> Replica:
        """A copy that waits for its base. Raises Unavailable."""
        replica = self.refuse(partition)
        if replica.state != BASE:
            raise Unavailable("this copy waits for no base", partition=partition, node=self._node.name, state=replica.state)
        return replica

    async def _begin(self, replica: Replica, tree: Tree, digest: RangeDigest, size: int, total: Sum, indexes: Sizes = ()) -> Loaded:
        """Its log begins on that tree, if the tree has the rows that were proven."""
        if digest.total() != total.total:
            tree.close()
            return Loaded(Sum.of(digest.total()))
        state = base_state(digest, size, indexes)
        if state.extra:
            await self._commit(replica, tree, state)
        if replica.state != BASE:
            tree.close()  # its log has begun without: it is healed
            raise Unavailable("the table is served by now: this copy is healed", partition=replica.partition, node=self._node.name)
        self._hosting.start_loaded(replica, tree)
        return Loaded(Sum.of(digest.total()))

    async def reread(self, request: Reread, note: Note) -> Loaded:
        """The digest of a copy that an earlier life loaded, from its bytes: nothing has been written to it since. Raises Corrupt, Unavailable."""
        replica = copy_on(self._node, request.partition)
        give_up = self._node.boot_us() + _REREAD_GIVE_UP_US
        while True:
            tree, why = replica.tree, f"its replica is {replica.state}"
            if tree is not None:
                try:
                    return Loaded(Sum.of((await self._scan(tree, replica, tree.state.applied)).digest.total()))
                except Unavailable as error:  # a checkpoint came between, or the scanner has no room: neither says anything about the copy
                    why = str(error)
            if replica.stopped or self._node.boot_us() >= give_up:
                raise Unavailable("a loaded copy cannot be read back", partition=replica.partition, node=self._node.name, why=why)
            await self._node.env.tasks.sleep(_POLL_S)

    # ------------------------------------------------------------------ survey

    async def survey(self, request: Survey, note: Note) -> Surveyed:
        """Before a copy that no scrub has compared is healed: what is rotten in it. Nothing if it has no tree, or serves."""
        replica = copy_on(self._node, request.partition)
        pin = None if replica.status.serves else await self._pin_as_it_is(replica)
        if pin is None:
            return Surveyed(replica.applied, ())
        try:
            found = await self._digest(pin, replica)
        finally:
            pin.release()
        return Surveyed(replica.applied, named(found.bad))

    async def _pin_as_it_is(self, replica: Replica) -> PinnedTree | None:
        """The tree at whatever LSN it is; None if there is none. A suspect is still applied to: a checkpoint that came in between is a reason to ask again."""
        for left in reversed(range(_PINS_MAX)):
            tree = replica.tree
            if tree is None:
                return None
            try:
                return await self._pin(tree, tree.state.applied)
            except Unavailable as error:
                if not left or "found" not in error.fields:
                    raise
            await self._node.env.tasks.sleep(_POLL_S)
        raise Unavailable("the copy's tree changes too fast to be surveyed", partition=replica.partition, node=self._node.name)

    # ------------------------------------------------------------------ trees

    def _work(self, partition: PartitionId, more: int) -> None:
        left = self._working.get(partition, 0) + more
        if left:
            self._working[partition] = left
        else:
            self._working.pop(partition, None)

    async def load_rows(self, replica: Replica, path: str, state: TreeState) -> tuple[Tree, RangeDigest, int, Sizes]:
        """Bulk-load a row file and recompute its digest from the tree's bytes. Returns tree, digest, bytes of the items, sizes of the local indexes, whose rows were
        derived on the way. A tree that nobody takes is closed."""
        indexing = b"" if replica.local is None else replica.local.encode()
        tree = await self._arrival(
            replica.partition, lambda arrived: self._node.engine.load(replica.partition, path, state, arrived, indexing=indexing)
        )
        try:
            self._still_here(replica)
            result = await self._scan(tree, replica, state.applied)
            self._still_here(replica)
        except BaseException:
            self._give_back(replica, tree)
            raise
        tally = IndexTally(replica.lo, replica.hi)
        tally.load(result.entries)
        rows = result.digest.total().rows + tally.digest.total().rows
        return tree, result.digest, result.bytes_read - tally.size - HEADER_SIZE * rows, tally.sizes

    async def _arrival(self, partition: PartitionId, begin: Callable[[Done[Tree]], None]) -> Tree:
        """The tree that the engine makes."""
        loaded = self.future()
        self._work(partition, 1)

        def arrived(result: Tree | ScrubjayError) -> None:
            self._work(partition, -1)
            if loaded.done() and not isinstance(result, ScrubjayError):
                result.close()  # it was waited for too long
            else:
                settle(loaded, result)

        begin(arrived)
        tree: Tree = await self.bounded(loaded)
        return tree

    async def _scan(self, tree: Tree, replica: Replica, applied: Lsn) -> ScanResult:
        """Every row of a loaded tree, from its bytes. Raises Corrupt if anything does not check."""
        pin = await self._pin(tree, applied)
        try:
            result = await self._digest(pin, replica)
        finally:
            pin.release()
        if result.bad or result.structure:
            raise Corrupt("the loaded copy does not check", what="tree", bad=len(result.bad), structure=list(result.structure))
        return result

    async def _pin(self, tree: Tree, applied: Lsn) -> PinnedTree:
        pinned = self.future()
        tree.pin(applied, lambda result: settle(pinned, result), hurry=True)
        pin: PinnedTree = await self.bounded(pinned)
        return pin

    async def _digest(self, pin: PinnedTree, replica: Replica) -> ScanResult:
        scanned = self.future()
        pin.digest(
            replica.lo,
            replica.hi,
            bytes_per_second=None,
            done=lambda result: settle(scanned, result),
            indexed=replica.local is not None,
        )
        result: ScanResult = await self.bounded(scanned)
        return result

    async def _commit(self, replica: Replica, tree: Tree, state: TreeState) -> None:
        committed = self.future()
        tree.checkpoint((), state, lambda result: settle(committed, result))
        try:
            await self.bounded(committed)
            self._still_here(replica)
        except BaseException:
            self._give_back(replica, tree)
            raise

    def _still_here(self, replica: Replica) -> None:
        """Raises Unavailable if the replica was removed while its tree was worked on."""
        if replica.stopped:
            raise Unavailable("the copy was removed meanwhile", partition=replica.partition, node=self._node.name)

    def _give_back(self, replica: Replica, tree: Tree) -> None:
        """Nobody takes a tree. If its replica was removed meanwhile nobody ever will."""
        tree.close()
        if replica.stopped and replica.partition not in self._node.replicas:
            self._node.engine.drop(replica.partition)

    def future(self) -> Future[Any]:
        return self._node.env.tasks.future()

    async def bounded(self, future: Future[Any]) -> Any:
        """The future's value. Raises Unavailable if it does not come in time."""

        def late() -> None:
            if not future.done():
                future.set_exception(Unavailable("the tree was not worked on in time", node=self._node.name, seconds=TREE_WAIT_S))

        timer = self._node.env.tasks.call_later(TREE_WAIT_S, late)
        try:
            return await future
        finally:
            timer.cancel()
