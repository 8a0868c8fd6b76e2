"""A store and an archive of lists, for the restore coordinator. The process may die at any call that changes something durable."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import msgspec

from scrubjay.archiver.facts import CoverageFacts, Span, Start, Window
from scrubjay.base.checksum import row_hash
from scrubjay.base.errors import Conflict, Corrupt, ScrubjayError, Unavailable
from scrubjay.base.hlc import last_stamp_at, stamp_micros, stamp_of
from scrubjay.base.ids import Lsn, Member, NodeName, PartitionId, Stamp, TableId
from scrubjay.pitr.archive import RestoredRows, TableArchive
from scrubjay.pitr.job import folder_of
from scrubjay.pitr.options import RestoreOptions
from scrubjay.pitr.plan import BaseFacts, PartitionHistory, PartitionPlan, PlannedSegment
from scrubjay.pitr.service import RestoreService
from scrubjay.sim.lone import LoneHost
from scrubjay.storage.btree.engine import TreeFile
from scrubjay.storage.catalogue import PartitionInfo, TableMeta
from scrubjay.storage.log.digest import MASK, Total
from scrubjay.storage.service_port import Finding, LoadedBase, SealPoint, Told
from tests.unit.scrubber.scrub_world import NODES, item_of, storage_key, table_of

Rows = dict[bytes, bytes]


class Killed(BaseException):
    """The process died here."""


def total_of(rows: Rows) -> Total:
    return Total(sum(row_hash(key, item) for key, item in rows.items()) & MASK, len(rows))


@dataclass
class Entry:
    lsn: int
    stamp: int
    key: bytes | None
    item: bytes | None
    seal: bool = False


@dataclass
class SourceLog:
    info: PartitionInfo
    entries: list[Entry] = field(default_factory=list)
    archived: int = 0
    bases: list[tuple[int, int]] = field(default_factory=list)

    def append(self, stamp: int, key: bytes | None, item: bytes | None, *, seal: bool = False) -> int:
        lsn = len(self.entries) + 1
        assert not self.entries or stamp > self.entries[-1].stamp
        self.entries.append(Entry(lsn, stamp, key, item, seal))
        return lsn

    def segments(self) -> list[PlannedSegment]:
        found, first = [], 1
        for entry in self.entries:
            if entry.seal and entry.lsn <= self.archived:
                span = self.entries[first - 1 : entry.lsn]
                chains = [at.to_bytes(32, "big") for at in (first - 1, entry.lsn)]
                state = total_of(self.rows_at(entry.stamp)).state
                facts = Span(first, entry.lsn, span[0].stamp, entry.stamp, entry.stamp, len(span), 0, 1, chains[0], chains[1], state)
                found.append(PlannedSegment(facts, 10 * len(span), 100 * len(span), f"seg{first}"))
            if entry.seal:
                first = entry.lsn + 1
        return found

    def rows_at(self, cut: int) -> Rows:
        rows: Rows = {}
        for entry in self.entries:
            if entry.stamp <= cut and entry.key is not None:
                if entry.item is None:
                    rows.pop(entry.key, None)
                else:
                    rows[entry.key] = entry.item
        return rows


class RestoreWorld:
    """Durable: tables, jobs, loaded copies, uploaded bases, row files. `restart()` makes a new service over them."""

    def __init__(self, partitions: int = 2, seed: int = 1) -> None:
        self.loop = LoneHost(seed)
        self.env = self.loop.env()
        self.source = table_of(1, partitions)
        self.metas: dict[str, TableMeta] = {self.source.table_id: self.source}
        self.logs = {info.partition_id: SourceLog(info) for info in self.source.partitions}
        self.notes: dict[str, dict[str, Any]] = {}
        self.known_notes: dict[str, dict[str, Any] | None] = {}
        self.copies: dict[str, dict[NodeName, Rows]] = {}
        self.bases: dict[str, tuple[Total, int]] = {}
        self.files: dict[str, Rows] = {}
        self.elsewhere: set[str] = set()
        """Row files that were made on another machine and not fetched yet."""
        self.published: list[str] = []
        self.looked = 0
        self.kill_at: int | None = None
        self.changes = 0
        self.spoil: Callable[[NodeName, Rows], None] | None = None
        self.out: set[NodeName] = set()
        """Nodes that are down."""
        self.cut_shift = 0
        self.proven_short = 0
        self.load_errors: list[ScrubjayError] = []
        self.rebuild_error: ScrubjayError | None = None
        self.archive_stuck = False
        self.created_us = self.loop.now_us
        self.lines: list[str] = []
        self.found: list[Finding] = []
        for log in self.logs.values():
            log.append(stamp_of(self.now_us), None, None)
            self.now_us += 10
            log.append(stamp_of(self.now_us), None, None, seal=True)
            log.archived = 2
        self.service = self.restart()

    # time

    @property
    def now_us(self) -> int:
        return self.loop.now_us

    @now_us.setter
    def now_us(self, value: int) -> None:
        self.loop.now_us = value

    # life

    def restart(self) -> RestoreService:
        """A new process: nothing but what is durable is left."""
        self.loop.kill()
        self.known_notes = dict(self.notes)
        self.loop = LoneHost(self.loop.now_us & 0xFFFF, start_us=self.loop.now_us)
        self.env = self.loop.env()
        world: Any = self
        options = RestoreOptions(archive_wait_s=10.0, lanes=2)
        self.service = RestoreService(self.env, world, world, options, max_offset_us=500_000, log=self.lines.append)
        return self.service

    def changing(self) -> None:
        """Called before and after each durable change."""
        self.changes += 1
        if self.kill_at is not None and self.changes == self.kill_at:
            raise Killed

    def run(self, work: Awaitable[Any]) -> Any:
        async def body() -> Any:
            return await work

        return self.loop.run(body())

    def finish(self) -> None:
        """Run until the coordinators have ended."""
        self.loop.drain()

    # the source

    def write(self, rng: random.Random, steps: int) -> None:
        for step in range(steps):
            self.now_us += rng.randrange(1, 5000)
            number = rng.randrange(30)
            key = storage_key(number)
            log = next(
                one
                for one in self.logs.values()
                if bytes.fromhex(one.info.lo) <= key[:16] and (not one.info.hi or key[:16] < bytes.fromhex(one.info.hi))
            )
            log.append(stamp_of(self.now_us), key, None if rng.random() < 0.25 else item_of(number, step))
            if rng.random() < 0.2:
                self.seal_all(rng)

    def seal_all(self, rng: random.Random | None = None) -> None:
        for log in self.logs.values():
            if rng is None or rng.random() < 0.7:
                self.now_us += 3
                log.archived = log.append(stamp_of(self.now_us), None, None, seal=True)
                if rng is not None and rng.random() < 0.3:
                    log.bases.append((log.archived, log.entries[-1].stamp))

    def model(self, at_us: int) -> Rows:
        rows: Rows = {}
        for log in self.logs.values():
            rows.update(log.rows_at(last_stamp_at(at_us)))
        return rows

    def restored(self, table_id: str) -> Rows:
        rows: Rows = {}
        for info in self.metas[table_id].partitions:
            copies = list(self.copies[info.partition_id].values())
            assert all(copy == copies[0] for copy in copies)
            rows.update(copies[0])
        return rows

    # RestoreArchive

    async def look(self, table: TableMeta) -> TableArchive:
        self.looked += 1
        await self.env.tasks.sleep(0.01)
        histories = []
        for info in table.partitions:
            log = self.logs[info.partition_id]
            bases = tuple(
                BaseFacts(Start(lsn, stamp, lsn.to_bytes(32, "big"), total_of(log.rows_at(stamp)).state, 1), 50, 500, 5, 2, f"base{lsn}")
                for lsn, stamp in log.bases
            )
            segments = tuple(log.segments())
            closed = tuple((one.last_stamp, one.last) for one in segments)
            facts = CoverageFacts(info.partition_id, [one.span for one in segments], [one.start for one in bases])
            histories.append(PartitionHistory(info.partition_id, info.lo, info.hi, bases, segments, closed, facts))
        latest = min(stamp_micros(max(history.closed)[0]) - 1 for history in histories)
        earliest = max(stamp_micros(log.entries[0].stamp) for log in self.logs.values())
        return TableArchive(Window(earliest, latest, ()), tuple(histories))

    async def rebuild(
        self, table: TableMeta, info: PartitionInfo, plan: PartitionPlan, *, cut: Stamp, path: str, part: Any, progress: Any
    ) -> RestoredRows:
        await self.env.tasks.sleep(0.2)
        if self.rebuild_error is not None:
            raise self.rebuild_error
        self.changing()
        log = self.logs[info.partition_id]
        needed = [entry.lsn for entry in log.entries if entry.stamp <= cut and entry.key is not None]
        assert plan.base_lsn < plan.from_lsn
        assert not needed or needed[-1] <= plan.to_lsn, "the plan reads everything up to the cut"
        rows = log.rows_at(cut + self.cut_shift)
        self.files[path] = rows
        self.elsewhere.add(path)
        self.changing()
        return RestoredRows(path, total_of(rows), plan.raw, plan.bytes, Lsn(plan.to_lsn - self.proven_short))

    async def upload_base(self, source: TableMeta | None, target: TableMeta, info: PartitionInfo, rows: RestoredRows, *, at_us: int) -> str:
        self.changing()
        assert source is None or target.table_id != source.table_id
        key = f"t={target.table_id}/p={info.partition_id}/base/0"
        assert self.bases.get(key, (rows.total, at_us)) == (rows.total, at_us), "create-once objects never change"
        self.bases[key] = (rows.total, at_us)
        self.changing()
        return key

    def rows_path(self, target_id: str, partition: str) -> str:
        return f"{folder_of(target_id)}/{partition}.rows"

    def tree_asked(self, path: str, *, lo: str, hi: str) -> dict[str, Any] | None:
        return None

    async def at_hand(self, path: str) -> None:
        await self.env.tasks.sleep(0.001)
        self.elsewhere.discard(path)

    def loaded(self, path: str) -> None:
        self.discard(path)

    def discard(self, path: str) -> None:
        self.files = {name: rows for name, rows in self.files.items() if name != path and not name.startswith(path + "/")}

    # ServicePort

    def tables(self) -> tuple[TableMeta, ...]:
        return tuple(self.metas[table_id] for table_id in sorted(self.metas))

    def note(self, finding: Finding) -> None:
        self.found.append(finding)

    async def closed_point(self, partition: PartitionId) -> tuple[Stamp, Lsn, Lsn] | None:
        log = self.logs[partition]
        seals = [entry.lsn for entry in log.entries if entry.seal]
        content = [entry.lsn for entry in log.entries if entry.key is not None]
        return stamp_of(self.now_us - 200_000), Lsn(max(content, default=1)), Lsn(seals[-1])

    async def seal(self, partition: PartitionId, *, reason: int, tag: bytes = bytes(16)) -> SealPoint:
        await self.env.tasks.sleep(0.001)
        log = self.logs[partition]
        lsn = log.append(stamp_of(self.now_us), None, None, seal=True)
        return SealPoint(Lsn(lsn), Stamp(log.entries[-1].stamp), Stamp(0))

    async def wait_archived(self, partition: PartitionId, lsn: Lsn, *, timeout_s: float) -> bool:
        await self.env.tasks.sleep(timeout_s if self.archive_stuck else 0.3)
        if self.archive_stuck:
            return False
        self.logs[partition].archived = max(self.logs[partition].archived, lsn)
        return True

    def new_partitions(self) -> tuple[PartitionInfo, ...]:
        rand, (first, *_) = self.env.rand, self.source.partitions
        return tuple(PartitionInfo(PartitionId(rand.uuid()), one.lo, one.hi, first.members) for one in self.source.partitions)

    def placed(self, count: int) -> list[tuple[Member, ...]]:
        return [self.source.partitions[0].members] * count

    async def create_restoring(self, meta: TableMeta) -> TableMeta:
        await self.env.tasks.sleep(0.001)
        self.changing()
        if any(table.name == meta.name and table.dropped_at is None for table in self.metas.values()):
            raise Conflict("table already exists", table=meta.name)
        assert meta.restore_of is not None
        assert meta.restore_of.in_progress
        self.metas[meta.table_id] = meta
        self.changing()
        return meta

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
        await self.env.tasks.sleep(0.1)
        self.changing()
        if self.load_errors:
            raise self.load_errors.pop(0)
        if rows not in self.files or rows in self.elsewhere:
            raise Corrupt("no row file", what="rows")
        copies = self.copies.setdefault(partition, {})
        up = [node for node in NODES if node not in self.out]
        for node in up:
            if node not in copies:
                copies[node] = dict(self.files[rows])
                if self.spoil is not None:
                    self.spoil(node, copies[node])
        self.changing()
        lacking = {node: Unavailable("this copy is down", node=node) for node in NODES if node not in up}
        return LoadedBase({node: total_of(copies[node]) for node in up}, lacking)

    async def publish(self, table: TableId) -> TableMeta:
        await self.env.tasks.sleep(0.001)
        self.changing()
        meta = self.metas[table]
        assert meta.restore_of is not None
        origin = msgspec.structs.replace(meta.restore_of, in_progress=False)
        self.metas[table] = msgspec.structs.replace(meta, status="ACTIVE", restore_of=origin)
        self.published.append(table)
        self.changing()
        return self.metas[table]

    async def abandon(self, table: TableId) -> None:
        await self.env.tasks.sleep(0.001)
        meta = self.metas.get(table)
        if meta is None:
            return
        assert meta.restore_of is not None
        if not meta.restore_of.in_progress:
            raise Unavailable("published already")
        del self.metas[table]
        for info in meta.partitions:
            self.copies.pop(info.partition_id, None)

    async def save_job(self, key: str, job: dict[str, Any] | None) -> None:
        before = self.known_notes.get(key)
        done = self.env.tasks.future()
        self.env.tasks.call_later(0.03, lambda: done.set_result(self._put(key, job, before)))
        error = await done
        if error is not None:
            raise error
        self.known_notes[key] = self.notes.get(key)

    def _put(self, key: str, job: dict[str, Any] | None, before: Any) -> ScrubjayError | None:
        """Happens whether or not the caller still waits: a compare-and-set against what the process last saw."""
        if self.notes.get(key) is not before:
            self.known_notes[key] = self.notes.get(key)
            return Conflict("metadata was changed by someone else", item=key)
        self.changing()
        if job is None:
            self.notes.pop(key, None)
        else:
            self.notes[key] = msgspec.json.decode(msgspec.json.encode(job))
        self.changing()
        return None

    def jobs(self, prefix: str) -> dict[str, dict[str, Any]]:
        return {key: job for key, job in sorted(self.notes.items()) if key.startswith(prefix)}
