"""The store as the durability services see it: `storage.service_port.ServicePort` over nodes, store and metadata."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from scrubjay.base.env import Disk, Env, Future
from scrubjay.base.errors import Corrupt, Internal, Missing, ScrubjayError, Unavailable
from scrubjay.base.ids import Lsn, NodeName, PartitionId, Stamp, TableId
from scrubjay.base.together import settle
from scrubjay.storage.btree.engine import PinnedTree, RowFact, ScanResult, Tree, TreeState
from scrubjay.storage.catalogue import PartitionInfo, TableMeta
from scrubjay.storage.control.findings import WINDOW_US, Findings
from scrubjay.storage.control.fleet import Fleet
from scrubjay.storage.control.metadata import Metadata
from scrubjay.storage.control.tables import Tables
from scrubjay.storage.items.encoding import decode_item
from scrubjay.storage.items.keys import key_item
from scrubjay.storage.items.wire import item_to_json
from scrubjay.storage.log.digest import RangeDigest, Total
from scrubjay.storage.node import Node
from scrubjay.storage.replica import AMNESIAC, BASE, HEALING, STOPPED, Replica, base_state, healed_state
from scrubjay.storage.service_port import Copy, Finding, Pinned, SealPoint

_POLL_S = 0.05
_PINS_MAX = 20
_SEAL_GIVE_UP_US = 15_000_000
_REREAD_GIVE_UP_US = 30_000_000
_FOLLOW_STALL_US = 10_000_000
"""A healed copy that learns nothing for so long is waited for no more: nobody leads, or its node is cut off."""
EXPIRE_US = 3_600_000_000
"""Between two looks for findings that have outlived the history they are about."""


class Service:
    """nodes: by name. disk: rooted at the data folder (findings live there)."""

    def __init__(
        self,
        env: Env,
        *,
        nodes: Mapping[NodeName, Node],
        fleet: Fleet,
        tables: Tables,
        metadata: Metadata,
        disk: Disk,
        node_folder: Callable[[NodeName, str], str],
        tree_timeout_s: float = 900.0,
    ) -> None:
        """tree_timeout_s: the longest a node may take for one operation on a whole tree; a node that died in it never answers. node_folder(node, path): a path below the data folder as that node's engine wants it (relative to the node's own folder or absolute)."""
        self._env, self._nodes, self._fleet, self._tables, self._metadata = env, dict(nodes), fleet, tables, metadata
        self._findings = Findings(disk)
        self._node_path = node_folder
        self._tree_timeout_s = tree_timeout_s
        self._healing: dict[PartitionId, int] = {}
        self.heals: dict[tuple[NodeName, str], int] = {}
        """Heals since the start by node and outcome: `done`, `failed`."""
        self._expire_due_us = 0
        self._loading: dict[PartitionId, int] = {}
        """Loads that a node's engine works on, asked for or not any more."""

    # ------------------------------------------------------------------ looking

    def tables(self) -> tuple[TableMeta, ...]:
        return tuple(sorted((self._metadata.system, *self._metadata.tables.values()), key=lambda table: table.table_id))

    def copies(self, partition: PartitionId) -> list[Copy]:
        return self._fleet.copies(self._metadata.place(partition)[1])

    def archived(self, partition: PartitionId) -> Lsn:
        return self._fleet.archived(partition)

    def closed_point(self, partition: PartitionId) -> tuple[Stamp, Lsn, Lsn] | None:
        leader = self._fleet.leader(partition)
        if leader is None or leader.closed is None:
            return None
        closed, content, seal = leader.closed
        return Stamp(closed), content, seal

    async def wait_archived(self, partition: PartitionId, lsn: Lsn, *, timeout_s: float) -> bool:
        deadline = self._env.clock.boot_us() + int(timeout_s * 1e6)
        while self.archived(partition) < lsn:
            if self._env.clock.boot_us() >= deadline:
                return False
            await self._env.tasks.sleep(_POLL_S)
        return True

    # ------------------------------------------------------------------ findings

    @property
    def found(self) -> Findings:
        """All that is kept, and how keeping it goes."""
        return self._findings

    def findings(self, partition: PartitionId) -> list[Finding]:
        self._expire()
        return self._findings.of(partition)

    def _expire(self) -> None:
        now_us = self._env.clock.boot_us()
        if now_us < self._expire_due_us:
            return
        self._expire_due_us = now_us + EXPIRE_US
        dropped = {
            info.partition_id for table in self._metadata.tables.values() if table.dropped_at is not None for info in table.partitions
        }
        self._findings.expire(dropped, before_us=self._env.clock.wall_us() - WINDOW_US)

    def note(self, finding: Finding) -> None:
        if finding.key is None and finding.storage_key is not None:
            # If no copy can name the key now, or the catalogue is not read yet, the raw key is kept: a scrub names it.
            with suppress(ScrubjayError):
                finding = finding._replace(key=self.key_of(PartitionId(finding.partition), finding.storage_key))
        self._findings.add(finding)

    def reported(self, partition: PartitionId, findings: Sequence[Finding]) -> None:
        self._findings.forget(one for one in findings if one.partition == partition)

    def key_of(self, partition: PartitionId, storage_key: bytes) -> dict[str, Any] | None:
        """The key attributes (DynamoDB JSON) of a row, from the good copies; None if none has it."""
        table, info = self._metadata.place(partition)
        for node in self._members(info):
            replica = node.replicas.get(partition)
            if replica is None or not replica.status.serves or replica.tree is None:
                continue
            try:
                item = replica.find(storage_key)
                if item is not None:
                    return item_to_json(key_item(table.key, decode_item(item)))
            except Corrupt:
                continue
        return None

    # ------------------------------------------------------------------ scrub

    async def seal(self, partition: PartitionId, *, reason: int, tag: bytes = bytes(16)) -> SealPoint:
        give_up = self._env.clock.boot_us() + _SEAL_GIVE_UP_US
        while True:
            try:
                sealed = await self._fleet.seal(partition, reason, tag)
            except Unavailable:
                if self._env.clock.boot_us() >= give_up:
                    raise
                await self._env.tasks.sleep(_POLL_S)
            else:
                return SealPoint(sealed.lsn, Stamp(sealed.stamp), Stamp(sealed.closed))

    async def pin(self, partition: PartitionId, node: NodeName, lsn: Lsn, *, timeout_s: float) -> Pinned:
        replica = self._replica(partition, node)
        future = self._env.tasks.future()
        timer = self._env.tasks.call_later(
            timeout_s,
            lambda: None if future.done() else future.set_exception(Unavailable("the copy was not pinned in time", node=node, lsn=lsn)),
        )

        def done(result: PinnedTree | ScrubjayError) -> None:
            settle(future, result)

        replica.checkpoints.pinned(lsn, done)
        try:
            tree: PinnedTree = await future
        finally:
            timer.cancel()
        return _PinnedCopy(self._env, self._nodes[node], replica, tree, lsn)

    def keep_log(self, partition: PartitionId, lsn: Lsn) -> Callable[[], None]:
        _, info = self._metadata.place(partition)
        held = [node.replicas[partition] for node in self._members(info) if partition in node.replicas]
        for replica in held:
            replica.checkpoints.hold(lsn)

        def release() -> None:
            while held:
                held.pop().checkpoints.release_hold(lsn)

        return release

    async def survey(self, partition: PartitionId, node: NodeName) -> int:
        replica = self._replica(partition, node)
        if replica.status.serves:
            return 0
        pin = await self._pin_as_it_is(replica)
        if pin is None:
            return 0
        try:
            scanned = self._env.tasks.future()
            pin.digest(replica.lo, replica.hi, bytes_per_second=None, done=lambda result: settle(scanned, result))
            result: ScanResult = await self._bounded(scanned)
        finally:
            pin.release()
        for key in result.bad:
            self.note(
                Finding(
                    kind="unreadable",
                    copy=node,
                    partition=partition,
                    key=None,
                    storage_key=key,
                    object=None,
                    lsn=replica.applied,
                    segment=None,
                    found_by="read",
                    action="none",
                    detail="found when the copy was set aside",
                    at_us=self._env.clock.wall_us(),
                )
            )
        return len(result.bad)

    async def _pin_as_it_is(self, replica: Replica) -> PinnedTree | None:
        """The tree at whatever LSN it is; None if there is none. A suspect is still applied to: a checkpoint that came in between is a reason to ask again."""
        for left in reversed(range(_PINS_MAX)):
            tree = replica.tree
            if tree is None:
                return None
            pinned = self._env.tasks.future()
            tree.pin(tree.state.applied, lambda result, pinned=pinned: settle(pinned, result))  # type: ignore[misc]
            try:
                pin: PinnedTree = await self._bounded(pinned)
            except Unavailable as error:
                if not left or "found" not in error.fields:
                    raise
                await self._env.tasks.sleep(_POLL_S)
            else:
                return pin
        raise Internal("unreachable")

    async def healed(self, partition: PartitionId, *, timeout_s: float) -> None:
        deadline = self._env.clock.boot_us() + int(timeout_s * 1e6)
        while self._healing.get(partition) or any(copy.state == "behind" for copy in self.copies(partition)):
            if self._env.clock.boot_us() >= deadline:
                raise Unavailable("a heal of this partition still runs", partition=partition)
            await self._env.tasks.sleep(_POLL_S)

    async def heal(
        self, partition: PartitionId, node: NodeName, *, rows: str, lsn: Lsn, stamp: Stamp, total: Total, chain: bytes, reason: str
    ) -> str:
        replica = self._replica(partition, node)
        if replica.status.tree == HEALING and self._healing.get(partition):
            # A heal that nobody here carries out was cut off with its control part: it is begun anew.
            raise Unavailable("this copy is being healed already", partition=partition, node=node)
        if replica.status.tree == STOPPED or replica.status.vote == AMNESIAC:
            raise Unavailable("no heal brings this copy back", partition=partition, node=node, state=replica.state, reason=replica.reason)
        self._healing[partition] = self._healing.get(partition, 0) + 1
        replica.checkpoints.hold(lsn)
        outcome = "failed"
        try:
            evidence = await self._heal(replica, node, rows=rows, lsn=lsn, stamp=stamp, total=total, chain=chain, reason=reason)
            outcome = "done"
            await self._follows(replica)
            return evidence
        finally:
            self.heals[node, outcome] = self.heals.get((node, outcome), 0) + 1
            replica.checkpoints.release_hold(lsn)
            self._healing[partition] -= 1

    async def _heal(
        self, replica: Replica, name: NodeName, *, rows: str, lsn: Lsn, stamp: Stamp, total: Total, chain: bytes, reason: str
    ) -> str:
        node, partition = self._nodes[name], replica.partition
        archived = Lsn(max(self.archived(partition), lsn))
        replica.suspect(reason)
        replica.set_state(HEALING, reason)
        old = replica.detach_tree()
        if old is not None:
            old.close()
        # Durable before the tree goes: a node that dies half-way then knows at its next start why there is none.
        noted = self._env.tasks.future()
        replica.keep_tree(HEALING, lambda: settle(noted, None))
        await self._bounded(noted)
        try:
            evidence = f"nodes/{name}/{node.engine.set_aside(partition, reason)}"
        except Missing:
            evidence = ""  # the whole tree was gone: nothing to keep
        else:
            self._findings.set_aside(partition, name, evidence)
        try:
            tree, digest, size = await self._load(node, replica, rows, TreeState(lsn, stamp, b""))
            if digest.total() != total:
                tree.close()
                node.engine.set_aside(partition, "loaded copy differs from its reference")
                raise Corrupt(
                    "the loaded copy does not have the reference's digest", what="tree", expected=total.hex, found=digest.total().hex
                )
            ended = self._ended_closed(partition, lsn)
            state = healed_state(digest, size, lsn=lsn, stamp=stamp, chain=chain, archived=min(archived, lsn), ended_closed=ended)
            await self._commit_state(tree, state)
        except BaseException:
            replica.set_state("suspect", f"heal failed: {reason}")
            raise
        replica.replace_tree(tree)
        return evidence

    async def _follows(self, replica: Replica) -> None:
        """Wait until a healed copy's log has all that the others may let go of, while they still hold it for this heal (`keep_log`). Left to itself before, it is
        left behind again at once wherever more was archived while it was healed: under steady writes, for ever. Bounded."""
        clock, reached = self._env.clock, replica.chosen
        end_us = clock.boot_us() + int(self._tree_timeout_s * 1e6)
        stalled_us = clock.boot_us() + _FOLLOW_STALL_US
        while not replica.stopped and not replica.behind and replica.chosen < self.archived(replica.partition):
            if replica.chosen > reached:
                reached, stalled_us = replica.chosen, clock.boot_us() + _FOLLOW_STALL_US
            if clock.boot_us() >= min(end_us, stalled_us):
                return
            await self._env.tasks.sleep(_POLL_S)

    def _ended_closed(self, partition: PartitionId, lsn: Lsn) -> Stamp | None:
        """The closed timestamp of the seal `lsn` if it is the log's last: a copy rebuilt there must know that nothing follows."""
        _, info = self._metadata.place(partition)
        facts = [node.replicas[partition].segments.facts for node in self._members(info) if partition in node.replicas]
        return next((Stamp(one.ended_closed) for one in facts if one.ended == lsn), None)

    async def _load(self, node: Node, replica: Replica, rows: str, state: TreeState) -> tuple[Tree, RangeDigest, int]:
        """Bulk-load a row file and recompute its digest from the tree's bytes. Returns tree, digest, bytes. A tree that nobody takes is closed."""
        loaded = self._env.tasks.future()
        partition = replica.partition
        self._loading[partition] = self._loading.get(partition, 0) + 1

        def arrived(result: Tree | ScrubjayError) -> None:
            self._loading[partition] -= 1
            if loaded.done() and not isinstance(result, ScrubjayError):
                result.close()  # whoever asked was cancelled, or has given up
            else:
                settle(loaded, result)

        node.engine.load(partition, self._node_path(node.name, rows), state, arrived)
        tree: Tree = await self._bounded(loaded)
        try:
            result = await self._scan(tree, replica, state.applied)
        except BaseException:
            tree.close()
            raise
        return tree, result.digest, result.bytes_read

    async def _scan(self, tree: Tree, replica: Replica, applied: Lsn) -> ScanResult:
        """Every row of a loaded tree, from its bytes. Raises Corrupt if anything does not check."""
        pinned = self._env.tasks.future()
        tree.pin(applied, lambda result: settle(pinned, result))
        pin: PinnedTree = await self._bounded(pinned)
        try:
            scanned = self._env.tasks.future()
            pin.digest(replica.lo, replica.hi, bytes_per_second=None, done=lambda result: settle(scanned, result))
            result: ScanResult = await self._bounded(scanned)
        finally:
            pin.release()
        if result.bad or result.structure:
            raise Corrupt("the loaded copy does not check", what="tree", bad=len(result.bad), structure=list(result.structure))
        return result

    async def _bounded(self, future: Future[Any]) -> Any:
        """The future's value. Raises Unavailable if it does not come in time."""

        def late() -> None:
            if not future.done():
                future.set_exception(Unavailable("the node did not finish in time", seconds=self._tree_timeout_s))

        timer = self._env.tasks.call_later(self._tree_timeout_s, late)
        try:
            return await future
        finally:
            timer.cancel()

    async def _commit_state(self, tree: Tree, state: TreeState) -> None:
        committed = self._env.tasks.future()
        tree.checkpoint((), state, lambda result: settle(committed, result))
        try:
            await self._bounded(committed)
        except BaseException:
            tree.close()
            raise

    # ------------------------------------------------------------------ restore

    async def create_restoring(self, meta: TableMeta) -> TableMeta:
        return await self._tables.add(meta)

    async def load_base(self, partition: PartitionId, *, rows: str, total: Total) -> dict[NodeName, Total]:
        _, info = self._metadata.place(partition)
        found: dict[NodeName, Total] = {}
        for node in self._members(info):
            replica = self._replica(partition, node.name)
            if replica.state == BASE:
                tree, digest, size = await self._load(node, replica, rows, TreeState(Lsn(0), Stamp(0), b""))
                found[node.name] = digest.total()
                if digest.total() != total:
                    tree.close()
                    continue
                state = base_state(digest, size)
                if state.extra:
                    await self._commit_state(tree, state)
                node.hosting.start_loaded(replica, tree)
            else:
                found[node.name] = await self._reread(replica)
        return found

    async def _reread(self, replica: Replica) -> Total:
        """The digest of a copy that an earlier life loaded, from its bytes: nothing has been written to it since. Raises Corrupt, Unavailable."""
        give_up = self._env.clock.boot_us() + _REREAD_GIVE_UP_US
        while True:
            tree, why = replica.tree, f"its replica is {replica.state}"
            if tree is not None:
                try:
                    return (await self._scan(tree, replica, tree.state.applied)).digest.total()
                except Unavailable as error:  # a checkpoint came between, or the scanner has no room: neither says anything about the copy
                    why = str(error)
            if self._env.clock.boot_us() >= give_up:
                raise Unavailable("a loaded copy cannot be read back", partition=replica.partition, node=replica.node.name, why=why)
            await self._env.tasks.sleep(_POLL_S)

    async def publish(self, table: TableId) -> TableMeta:
        meta = self._metadata.tables[table]
        deadline = self._env.clock.boot_us() + _SEAL_GIVE_UP_US
        while any(self._fleet.leader(info.partition_id) is None for info in meta.partitions):
            if self._env.clock.boot_us() >= deadline:
                raise Unavailable("a partition of the restored table has no leader", table=meta.name)
            await self._env.tasks.sleep(_POLL_S)
        assert meta.restore_of is not None
        origin = msgspec.structs.replace(meta.restore_of, in_progress=False)
        absent = self._fleet.without_log(meta)
        return await self._metadata.put_table(msgspec.structs.replace(meta, status="ACTIVE", restore_of=origin, absent=absent))

    async def abandon(self, table: TableId) -> None:
        meta = self._metadata.tables.get(table)
        if meta is None:
            return
        if meta.restore_of is None or not meta.restore_of.in_progress:
            raise Unavailable("the table is published already", table=meta.name)
        give_up = self._env.clock.boot_us() + int(self._tree_timeout_s * 1e6)
        while any(self._loading.get(info.partition_id) for info in meta.partitions):
            # its coordinator is gone, but a worker still writes into the folder that is about to be removed
            if self._env.clock.boot_us() >= give_up:
                raise Unavailable("a load of this table still runs", table=meta.name)
            await self._env.tasks.sleep(_POLL_S)
        await self._metadata.remove_table(table)
        for info in meta.partitions:
            self._findings.forget(self._findings.of(info.partition_id))
            for node in self._fleet.members(info):
                self._fleet.forget(info.partition_id, node)

    async def save_job(self, key: str, job: dict[str, Any] | None) -> None:
        await self._metadata.put_job(key, job)

    def jobs(self, prefix: str) -> dict[str, dict[str, Any]]:
        return {key: job for key, job in sorted(self._metadata.jobs.items()) if key.startswith(prefix)}

    # ------------------------------------------------------------------

    def _members(self, info: PartitionInfo) -> list[Node]:
        numbers = {member[0] for member in info.members}
        return [node for node in self._nodes.values() if node.number in numbers]

    def _replica(self, partition: PartitionId, node: NodeName) -> Replica:
        host = self._nodes.get(node)
        replica = host.replicas.get(partition) if host is not None and host.failed is None else None
        if replica is None:
            raise Unavailable("this copy is down", partition=partition, node=node)
        return replica


class _PinnedCopy:
    """A pinned tree with awaitable methods; releasing it also lets the replica's log go."""

    def __init__(self, env: Env, node: Node, replica: Replica, tree: PinnedTree, lsn: Lsn) -> None:
        self._env, self._node, self._replica, self._tree, self._lsn = env, node, replica, tree, lsn

    async def digest(self, *, bytes_per_second: int | None) -> ScanResult:
        future = self._env.tasks.future()
        self._tree.digest(self._replica.lo, self._replica.hi, bytes_per_second=bytes_per_second, done=lambda result: settle(future, result))
        found: ScanResult = await future
        return found

    async def rows(self, start: bytes, end: bytes | None) -> list[RowFact]:
        future = self._env.tasks.future()
        self._tree.rows(start, end, lambda result: settle(future, result))
        found: list[RowFact] = await future
        return found

    async def item(self, key: bytes) -> bytes | None:
        """From the replica's live tree if it still is the pinned version; what names a key does not change with versions."""
        return self._replica.find(key)

    def release(self) -> None:
        self._replica.checkpoints.unpin(self._lsn)
