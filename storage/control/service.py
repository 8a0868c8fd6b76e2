"""The store as the durability services see it: `storage.service_port.ServicePort`, by asking nodes through their port. What is done to a copy is done by the node
it lives on (`storage.node.healing`); here is who is asked, in which order, and what is kept of the answers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

import msgspec

from scrubjay.base.env import Disk, Env
from scrubjay.base.errors import Conflict, Corrupt, Missing, ScrubjayError, Unavailable
from scrubjay.base.ids import Lsn, Member, NodeName, PartitionId, Stamp, TableId
from scrubjay.base.together import in_parallel
from scrubjay.storage.btree.engine import TreeFile
from scrubjay.storage.catalogue import SYSTEM_TABLES, PartitionInfo, TableMeta
from scrubjay.storage.control.asking import Asking
from scrubjay.storage.control.findings import WINDOW_US, Findings
from scrubjay.storage.control.fleet import Fleet
from scrubjay.storage.control.holds import hold_log
from scrubjay.storage.control.indexing.proof import IndexProver
from scrubjay.storage.control.metadata import Metadata
from scrubjay.storage.control.naming import Naming
from scrubjay.storage.control.pinned import PinnedCopy
from scrubjay.storage.control.tables import Tables
from scrubjay.storage.items.encoding import decode_item
from scrubjay.storage.items.keys import key_item
from scrubjay.storage.items.local_index import as_item
from scrubjay.storage.items.wire import item_to_json
from scrubjay.storage.log.digest import Total
from scrubjay.storage.log.split import Born, decode_born
from scrubjay.storage.log.stated import Stated
from scrubjay.storage.node import errand_messages as messages
from scrubjay.storage.node.port import Fine, NodePort
from scrubjay.storage.service_port import Copy, Finding, LoadedBase, Pinned, SealPoint, Told

_POLL_S = 0.05
_SEAL_GIVE_UP_US = 15_000_000
_FOLLOW_STALL_US = 10_000_000
"""A healed copy that learns nothing for so long is waited for no more: nobody leads, or its node is cut off."""
_PIN_GRACE_S = 2.0
"""A node says itself that a pin did not come in time; so much later nothing comes any more."""
EXPIRE_US = 3_600_000_000
"""Between two looks for findings that have outlived the history they are about."""


class Service:
    """disk: where findings live. scratch: where the row files of this process's coordinators lie.

    More than 25 methods: it is all of `ServicePort`, twenty of them, over its parts (asking, holds, naming, pinned).
    """

    def __init__(
        self,
        env: Env,
        *,
        fleet: Fleet,
        tables: Tables,
        metadata: Metadata,
        disk: Disk,
        scratch: Disk,
        tree_timeout_s: float = 900.0,
    ) -> None:
        """tree_timeout_s: the longest a node may take for one operation on a whole tree; a node that died in it never answers."""
        self._env, self._fleet, self._tables, self._metadata = env, fleet, tables, metadata
        self._scratch = scratch
        self._findings = Findings(disk)
        self._asking = Asking(env, fleet.ports, limit_s=tree_timeout_s)
        self._naming = Naming(env, self._findings, self.key_of)
        self._healing: dict[PartitionId, int] = {}
        self.heals: dict[tuple[NodeName, str], int] = {}
        """Heals since the start by node and outcome: `done`, `failed`. Not one that the node refused to begin."""
        self._expire_due_us = 0
        self.prover: IndexProver | None = None
        """Set by who assembles the control part (`server.control`)."""

    # ------------------------------------------------------------------ looking

    def tables(self) -> tuple[TableMeta, ...]:
        return tuple(sorted((self._metadata.system, *self._metadata.tables.values()), key=lambda table: table.table_id))

    def copies(self, partition: PartitionId) -> list[Copy]:
        return self._fleet.copies(self._metadata.place(partition)[1])

    def archived(self, partition: PartitionId) -> Lsn:
        return self._fleet.archived(partition)

    async def closed_point(self, partition: PartitionId) -> tuple[Stamp, Lsn, Lsn] | None:
        closed = await self._fleet.closed(partition)
        return None if closed is None else (Stamp(closed[0]), closed[1], closed[2])

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
        self._findings.add(finding)
        self._naming.wanted(finding)

    def reported(self, partition: PartitionId, findings: Sequence[Finding]) -> None:
        self._findings.forget(one for one in findings if one.partition == partition)

    async def key_of(self, partition: PartitionId, storage_key: bytes) -> dict[str, Any] | None:
        """The key attributes (DynamoDB JSON) of a row, from the good copies; None if none has it."""
        table, info = self._metadata.place(partition)
        for node in self._members(info):
            facts = node.facts(partition)
            if facts is None or (facts.tree, facts.vote) != ("ok", "votes"):
                continue
            try:
                found = await self._asking.ask(node.name, messages.ReadRow(partition, storage_key, serving=True), messages.FoundRow)
                if found.item is not None:
                    return item_to_json(key_item(table.key, decode_item(as_item(found.item))))
            except ScrubjayError:
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
        copy = PinnedCopy(self._env, self._asking, node, partition, lsn)
        try:
            request = messages.PinCopy(partition, lsn, int(timeout_s * 1e6))
            await self._asking.ask(node, request, Fine, timeout_s=timeout_s + _PIN_GRACE_S)
        except BaseException:
            copy.release()  # it may come yet, and nobody would read it
            raise
        copy.keep()
        return copy

    async def keep_log(self, partition: PartitionId, lsn: Lsn) -> Callable[[], None]:
        _, info = self._metadata.place(partition)
        return await hold_log(self._env, self._asking, partition, [node.name for node in self._members(info)], lsn)

    async def survey(self, partition: PartitionId, node: NodeName) -> int:
        found = await self._asking.errand(node, messages.Survey(partition), messages.Surveyed)
        for key in found.bad:
            self.note(
                Finding(
                    kind="unreadable",
                    copy=node,
                    partition=partition,
                    key=None,
                    storage_key=key,
                    object=None,
                    lsn=found.applied,
                    segment=None,
                    found_by="read",
                    action="none",
                    detail="found when the copy was set aside",
                    at_us=self._env.clock.wall_us(),
                )
            )
        return len(found.bad)

    async def prove_indexes(self, table: TableMeta, info: PartitionInfo) -> list[str]:
        assert self.prover is not None
        return await self.prover.prove(table, info)

    async def healed(self, partition: PartitionId, *, timeout_s: float) -> None:
        deadline = self._env.clock.boot_us() + int(timeout_s * 1e6)
        while self._healing.get(partition) or any(copy.state in ("behind", "healing") for copy in self.copies(partition)):
            if self._env.clock.boot_us() >= deadline:
                raise Unavailable("a heal of this partition still runs", partition=partition)
            await self._env.tasks.sleep(_POLL_S)

    async def heal(
        self, partition: PartitionId, node: NodeName, *, rows: str, lsn: Lsn, stamp: Stamp, total: Total, chain: bytes, reason: str
    ) -> str:
        let_go = await hold_log(self._env, self._asking, partition, [node], lsn)
        self._healing[partition] = self._healing.get(partition, 0) + 1
        outcome = "failed"
        try:
            there = await self._asking.bring(node, partition, self._scratch, rows)
            errand = messages.Heal(
                partition,
                there,
                lsn,
                stamp,
                messages.Sum.of(total),
                chain,
                archived=self.archived(partition),
                ended=self._ended_closed(partition, lsn),
                reason=reason,
                configured=self._configured(partition, lsn),
                stated=self._stated(partition, lsn),
                split=self._split(partition, lsn),
                born=self._born(partition),
            )
            evidence: list[str] = []
            await self._asking.errand(node, errand, messages.Healed, noted=partial(self._set_aside, partition, node, evidence))
            outcome = "done"
            await self._follows(partition, node)
            return evidence[-1] if evidence else ""
        except Unavailable as error:
            if error.fields.get("refused"):
                outcome = ""
            raise
        finally:
            if outcome:
                self.heals[node, outcome] = self.heals.get((node, outcome), 0) + 1
            let_go()
            self._healing[partition] -= 1

    def _set_aside(self, partition: PartitionId, node: NodeName, evidence: list[str], path: str) -> None:
        """The old tree lies in quarantine now, below its node's folder: told at once, whatever becomes of the heal."""
        if path != messages.NO_TREE:
            evidence.append(f"nodes/{node}/{path}")
            self._findings.set_aside(partition, node, evidence[-1])

    async def _follows(self, partition: PartitionId, node: NodeName) -> None:
        """Wait until a healed copy's log has all that the others may let go of, while they still hold it for this heal (`keep_log`). Left to itself before, it is
        left behind again at once wherever more was archived while it was healed: under steady writes, for ever. Bounded."""
        clock, reached = self._env.clock, Lsn(0)
        end_us = clock.boot_us() + int(self._asking.limit_s * 1e6)
        stalled_us = clock.boot_us() + _FOLLOW_STALL_US
        while (
            (facts := self._fleet.ports[node].facts(partition)) is not None and not facts.behind and facts.chosen < self.archived(partition)
        ):
            if facts.chosen > reached:
                reached, stalled_us = facts.chosen, clock.boot_us() + _FOLLOW_STALL_US
            if clock.boot_us() >= min(end_us, stalled_us):
                return
            await self._env.tasks.sleep(_POLL_S)

    def _configured(self, partition: PartitionId, lsn: Lsn) -> tuple[Lsn, bytes]:
        """Who is a member of the group, as of `lsn` or later: the archive does not say, a copy that is that far does. Raises Unavailable if none is."""
        far = [facts for facts in self._fleet.facts(partition) if facts.up and facts.usable and facts.applied >= lsn]
        if not far and self._metadata.nodes:
            raise Unavailable("no copy is far enough to say who is a member", partition=partition, lsn=lsn)
        return max([facts.configured for facts in far], default=(Lsn(0), b""))

    def _stated(self, partition: PartitionId, lsn: Lsn) -> Stated | None:
        """What the log said last of its table, as of `lsn`: the archive's rows do not say. None: nothing, or nobody knows; then the log says it again (`Term.define`)."""
        known = [facts.stated for facts in self._fleet.facts(partition) if facts.up and facts.applied >= lsn and facts.stated is not None]
        return max([one for one in known if one.lsn <= lsn], key=lambda one: one.lsn, default=None)

    def _split(self, partition: PartitionId, lsn: Lsn) -> bytes:
        """In which split the log ended, if `lsn` is its last seal: a copy that is rebuilt there must know whom to send others to."""
        return next((facts.split for facts in self._fleet.facts(partition) if facts.split and facts.ended == lsn), b"")

    def born(self, partition: PartitionId) -> Born | None:
        """How a partition began that a split made, as its copies say; None: none says so. Nobody has proven it. Raises Corrupt."""
        return decode_born(self._born(partition))

    def _born(self, partition: PartitionId) -> bytes:
        """How a partition began that a split made: as any other copy says."""
        return next((facts.born for facts in self._fleet.facts(partition) if facts.born), b"")

    def _ended_closed(self, partition: PartitionId, lsn: Lsn) -> Stamp | None:
        """The closed timestamp of the seal `lsn` if it is the log's last: a copy rebuilt there must know that nothing follows."""
        return next((Stamp(facts.ended_closed) for facts in self._fleet.facts(partition) if facts.ended == lsn), None)

    # ------------------------------------------------------------------ restore

    def new_partitions(self) -> tuple[PartitionInfo, ...]:
        return self._tables.initial_partitions()

    def placed(self, count: int) -> list[tuple[Member, ...]]:
        return self._tables.placed(count)

    async def create_restoring(self, meta: TableMeta) -> TableMeta:
        origin = meta.restore_of
        if meta.name in SYSTEM_TABLES and origin is not None and (origin.imported is not None or origin.table_name != meta.name):
            raise Conflict("table already exists", table=meta.name)  # a recovery makes it of what it was
        return await self._tables.add(meta)

    async def load_base(
        self,
        partition: PartitionId,
        *,
        rows: str,
        total: Total,
        tree: TreeFile | None = None,
        told: Told | None = None,
        done: Collection[NodeName] = (),
    ) -> LoadedBase:
        _, info = self._metadata.place(partition)
        # A log replica keeps the log alone, and that begins behind the base.
        nodes = [node for node in self._members(info) if node.number not in info.logs and not self._has_base(node, partition, done)]
        down = [node for node in nodes if (facts := node.facts(partition)) is None or not facts.up]
        nodes = [node for node in nodes if node not in down]

        async def load(node: NodePort) -> Total | ScrubjayError:
            try:
                return await self._load_on(node, partition, rows, total, tree, last=node is nodes[-1], told=told)
            except ScrubjayError as error:  # the others go on: what they load counts when this is asked again
                return error

        # The last one may take the tree file itself: not before the others have theirs.
        loaded: list[Total | ScrubjayError] = []
        for some in [nodes] if tree is None else [nodes[:-1], nodes[-1:]]:
            loaded += await in_parallel(self._env.tasks, load, some, lanes=max(1, len(some)), name="load base")
        wrong = [one for one in loaded if isinstance(one, ScrubjayError) and not isinstance(one, Unavailable)]
        if wrong:  # rows that are no good are no better for whom they did not reach
            raise next((error for error in wrong if isinstance(error, Corrupt)), wrong[0])
        found = list(zip(nodes, loaded, strict=True))
        lacking = {node.name: Unavailable("this copy is down", partition=partition, node=node.name) for node in down}
        lacking |= {node.name: one for node, one in found if isinstance(one, Unavailable)}
        return LoadedBase({node.name: one for node, one in found if isinstance(one, Total)}, lacking)

    def _has_base(self, node: NodePort, partition: PartitionId, done: Collection[NodeName]) -> bool:
        """It loaded it in this life of whoever asks. One that died before its log began waits for the base again."""
        facts = node.facts(partition)
        return node.name in done and (facts is None or facts.state != "base")

    async def _load_on(
        self, node: NodePort, partition: PartitionId, rows: str, total: Total, tree: TreeFile | None, *, last: bool, told: Told | None
    ) -> Total:
        facts = node.facts(partition)
        errand: messages.Errand = messages.Reread(partition)
        if facts is not None and facts.state == "base":
            if tree is not None:
                try:
                    return await self._adopt_on(node, partition, total, tree, last=last)
                except (Missing, Corrupt, Unavailable) as error:
                    # of a scratch file, or of the moment: the rows are there, and what is wrong with the machine they meet too
                    if told is not None:
                        told(node.name, error)
            there = await self._asking.bring(node.name, partition, self._scratch, rows)
            errand = messages.Load(partition, there, messages.Sum.of(total))
        return (await self._asking.errand(node.name, errand, messages.Loaded)).total.total

    async def _adopt_on(self, node: NodePort, partition: PartitionId, total: Total, tree: TreeFile, *, last: bool) -> Total:
        errand = messages.TakeTree(partition, *tree, last, messages.Sum.of(total))
        return (await self._asking.errand(node.name, errand, messages.Loaded)).total.total

    async def publish(self, table: TableId) -> TableMeta:
        meta = self._metadata.tables[table]
        deadline = self._env.clock.boot_us() + _SEAL_GIVE_UP_US
        while any(self._fleet.leader(info.partition_id) is None for info in meta.partitions):
            if self._env.clock.boot_us() >= deadline:
                raise Unavailable("a partition of the restored table has no leader", table=meta.name)
            await self._env.tasks.sleep(_POLL_S)
        assert meta.restore_of is not None
        if not meta.restore_of.in_progress:
            return meta  # by a try whose answer was lost
        origin = msgspec.structs.replace(meta.restore_of, in_progress=False, published_at=self._env.clock.wall_us())
        absent = self._fleet.without_log(meta)
        try:
            meta = await self._metadata.put_table(msgspec.structs.replace(meta, status="ACTIVE", restore_of=origin, absent=absent))
        except Conflict as error:
            raise Unavailable("the table was changed meanwhile", table=meta.name, cause=str(error)) from error
        if absent:
            self._tables.host(meta)  # a copy that waits for its base still will have none: it begins behind the others
        return meta

    async def abandon(self, table: TableId) -> None:
        await self._metadata.settle()  # it may have been published, and whoever did it was not told
        meta = self._metadata.tables.get(table)
        if meta is None:
            return
        if meta.restore_of is None or not meta.restore_of.in_progress:
            raise Unavailable("the table is published already", table=meta.name)
        await self._settled(meta)
        await self._metadata.remove_table(table)
        self._fleet.forget_indexes(meta)
        for info in meta.partitions:
            self._findings.forget(self._findings.of(info.partition_id))
            for node in self._members(info):
                self._fleet.forget(info.partition_id, node)

    async def _settled(self, meta: TableMeta) -> None:
        """Whoever asked for them is gone, but loads go on, into folders that are about to be removed. Raises Unavailable if they do not end in time."""
        give_up = self._env.clock.boot_us() + int(self._asking.limit_s * 1e6)
        for info in meta.partitions:
            for node in self._members(info):
                while await self._works(node.name, info.partition_id):
                    if self._env.clock.boot_us() >= give_up:
                        raise Unavailable("a load of this table still runs", table=meta.name)

    async def _works(self, node: NodeName, partition: PartitionId) -> bool:
        try:
            await self._asking.ask(node, messages.Settle(partition), Fine)
        except Unavailable as error:
            return bool(error.fields.get("working") or error.fields.get("unknown"))  # else it is down: nothing works there
        return False

    async def save_job(self, key: str, job: dict[str, Any] | None) -> None:
        await self._metadata.put_job(key, job)

    def jobs(self, prefix: str) -> dict[str, dict[str, Any]]:
        return {key: job for key, job in sorted(self._metadata.jobs.items()) if key.startswith(prefix)}

    # ------------------------------------------------------------------

    def _members(self, info: PartitionInfo) -> list[NodePort]:
        return self._fleet.members(info)
