"""What a partition must hold as of a moment, by two ways that are not the restore's own: the archive from another base, and the live copies, which never saw it.

The comparison itself is the scrub's (`scrubber.compare`), and the rebuild is everybody's (`archiver.read.rebuild`).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from scrubjay.archiver.facts import Window
from scrubjay.archiver.read.index import ArchiveIndex
from scrubjay.archiver.read.rebuild import from_answer
from scrubjay.base.env import Disk, Env, Jobs
from scrubjay.base.errors import Corrupt, Missing, ScrubjayError, Unavailable
from scrubjay.base.hlc import last_stamp_at
from scrubjay.base.ids import Lsn, NodeName, PartitionId, Stamp
from scrubjay.base.together import gather
from scrubjay.drills.against import AGAINST
from scrubjay.drills.scenario import DIFFERENCES_MAX, Dice, Drill
from scrubjay.pitr.plan import PartitionHistory, PartitionPlan, plan_partition
from scrubjay.pitr.source import seen_of
from scrubjay.scrubber.compare import ranges_to_descend
from scrubjay.scrubber.evidence import Side
from scrubjay.scrubber.jobs import HASH_BYTES, REFERENCE
from scrubjay.storage.btree.engine import RowFact
from scrubjay.storage.catalogue import LEDGER_TABLE, METADATA_TABLE, PartitionInfo, TableMeta, as_of
from scrubjay.storage.items.local_index import LocalRows
from scrubjay.storage.log.digest import RangeDigest
from scrubjay.storage.log.record import Seal
from scrubjay.storage.service_port import Pinned, ServicePort

FOLDER = "tmp/drills"
PREFIX = "drill-"
"""Of the names of scratch tables."""
RESTORED, LIVE = "restored", "live copy"
ROWS_AT_ONCE = 20_000
"""So many rows of sub-ranges that differ go to a worker at a time: some milliseconds to pack."""
SPARE_BYTES = 256 << 20
"""So much of the disk must stay free beside what a drill writes: no rehearsal may be what fills it."""
BESIDE_COPIES = 3
"""What a restore writes beside the copies of the scratch table: its first base in the archive, which may lie on the same disk, a row file, and a base that was fetched."""
PIN_WAIT_S = 30.0
TRIES_MAX = 40
TRY_AGAIN_S = 0.25

Range = tuple[bytes, bytes | None]


class Expected(NamedTuple):
    """Rows of one partition as of a moment. rows: path of the row file. digest: recomputed from it. applied: LSN of the last record in it. another: it was read from another
    base than a restore begins with. indexing: of the table's local indexes, `LocalRows.encode()`; nothing: it has none."""

    rows: str
    digest: RangeDigest
    applied: Lsn
    another: bool
    indexing: bytes


class Compared(NamedTuple):
    """rows: keys that both sides were asked for. differences: in words, the first DIFFERENCES_MAX."""

    rows: int
    differences: list[str]


def usable(table: TableMeta) -> bool:
    """A live table of users, and no scratch table."""
    live = table.dropped_at is None and table.status == "ACTIVE" and not (table.restore_of is not None and table.restore_of.in_progress)
    return live and table.name not in (METADATA_TABLE, LEDGER_TABLE) and not table.name.startswith(PREFIX)


def bounds_of(info: PartitionInfo) -> dict[str, bytes | None]:
    """The hash range of a partition, as jobs take it."""
    return {"lo": bytes.fromhex(info.lo), "hi": bytes.fromhex(info.hi) if info.hi else None}


def empty_digest(info: PartitionInfo) -> RangeDigest:
    return RangeDigest(bytes.fromhex(info.lo), bytes.fromhex(info.hi) if info.hi else None)


def another_way(history: PartitionHistory, cut: Stamp) -> tuple[PartitionPlan, bool]:
    """A plan that does without the base that a restore begins with, if one can be had; and whether it could. Pure. Raises Missing, Unavailable."""
    usual = plan_partition(history, cut)
    if usual.base is not None:
        with suppress(Missing, Unavailable):
            return plan_partition(history._replace(bases=tuple(base for base in history.bases if base != usual.base)), cut), True
    return usual, False


class Contents:
    """url: of the archive, as the workers open it. disk: rooted at the data folder. rate_bytes: per second read of one copy, None: no bound."""

    def __init__(
        self, env: Env, port: ServicePort, index: ArchiveIndex, jobs: Jobs, disk: Disk, *, url: str, rate_bytes: int | None = None
    ) -> None:
        self._rate_bytes = rate_bytes
        self._env, self._port, self._index, self._jobs, self._disk, self._url = env, port, index, jobs, disk, url

    async def window(self, table: TableMeta) -> Window:
        """What is proven of a table by now. Raises Unavailable, Corrupt."""
        await self._index.refresh(now_us=self._env.clock.wall_us(), table=table.table_id)
        return seen_of(self._index, table).window

    async def any_proven(self) -> bool:
        """A table has a proven moment: there is something to rehearse a loss with. Raises Unavailable, Corrupt."""
        for table in self._port.tables():
            if usable(table) and (await self.window(table)).latest_us is not None:
                return True
        return False

    def check_room(self, table: TableMeta, *, at_us: int) -> None:
        """A restore to that moment and the comparison fit on the disk, by what the archive held at the last look (`window`). Raises Unavailable."""
        cut, raw = last_stamp_at(at_us), 0
        for history in seen_of(self._index, table).of(as_of(table, at_us).partitions):
            with suppress(Missing, Unavailable):  # the restore says so
                raw += plan_partition(history, cut).raw
        copies = max([len(info.members) for info in table.partitions], default=0)
        needed, free = SPARE_BYTES + (copies + BESIDE_COPIES) * raw, self._disk.free_bytes()
        if needed > free:
            raise Unavailable(
                "there is no room to rehearse a restore of this table", table=table.name, needed_bytes=needed, free_bytes=free
            )

    async def expected(self, table: TableMeta, info: PartitionInfo, *, at_us: int) -> Expected:
        """Rebuild a partition as of a moment, inclusive. Raises Missing, Corrupt, Unavailable."""
        cut = last_stamp_at(at_us)
        history = next(one for one in seen_of(self._index, table).histories if one.partition == info.partition_id)
        plan, another = another_way(history, cut)
        self._disk.mkdir(FOLDER)
        path = f"{FOLDER}/{self._env.rand.uuid()}.rows"
        arguments = {
            "url": self._url,
            "base": None if plan.base is None else plan.base.object,
            "segments": [segment.object for segment in plan.segments],
            "stamp": cut,
            "output": path,
            "work": path + ".base",
            "rebase": True,
            "indexing": b"",  # a scrub proves index rows; here items are compared
            **bounds_of(info),
        }
        try:
            answer = await self._jobs.run(REFERENCE, arguments)
        except BaseException:
            self._remove(path, path + ".base")  # a worker that was killed took nothing away
            raise
        digest = empty_digest(info)
        digest.load(answer.pop("digest"))
        del answer["entries"]
        local = LocalRows.of_table(table.key, table.local_indexes)
        return Expected(path, digest, Lsn(from_answer(answer).applied), another, b"" if local is None else local.encode())

    async def bring(self, expected: Expected) -> None:
        """Its row file lies on this machine when it returns: what is no job of the server's reads it here. Raises Unavailable."""
        await self._jobs.bring(expected.rows)

    def discard(self, expected: Expected) -> None:
        self._jobs.drop(expected.rows)
        self._remove(expected.rows)

    def _remove(self, *paths: str) -> None:
        for path in paths:
            if self._disk.exists(path):
                self._disk.remove(path)

    async def pinned(self, partition: PartitionId, dice: Dice) -> Pinned:
        """One sound copy as it is now, whichever the dice say. A leader may just be moving: tried for a while. Raises Unavailable, Corrupt."""
        for left in reversed(range(TRIES_MAX)):
            try:
                copies = [one for one in self._port.copies(partition) if one.kind == "storage" and one.scannable]
                sound = [one.node for one in copies if one.state == "ok"]
                if not sound:
                    raise Unavailable("no copy can be read", partition=partition)
                tag = self._env.rand.u64().to_bytes(8, "little") + self._env.rand.u64().to_bytes(8, "little")
                seal = await self._port.seal(partition, reason=Seal.SCRUB, tag=tag)
                return await self._alone(partition, sound[dice.below(len(sound))], [one.node for one in copies], seal.lsn)
            except Unavailable:
                if not left:
                    raise
                await self._env.tasks.sleep(TRY_AGAIN_S)
        raise AssertionError("unreachable")

    async def _alone(self, partition: PartitionId, chosen: NodeName, nodes: Sequence[NodeName], lsn: Lsn) -> Pinned:
        """The copy on one node. Every replica pins its tree at a scrub's seal, and holds its log above it, until somebody lets go or `pin_timeout` is over: those that
        nobody reads are let go at once. Raises Unavailable, Corrupt."""
        work = [self._port.pin(partition, node, lsn, timeout_s=PIN_WAIT_S) for node in nodes]
        found = await gather(self._env.tasks, work, name=f"drill pin {partition}")
        for node, other in zip(nodes, found, strict=True):
            if node != chosen and not isinstance(other, ScrubjayError):
                other.release()
        wanted = found[nodes.index(chosen)]
        if isinstance(wanted, ScrubjayError):
            raise wanted
        return wanted

    async def compare(self, drill: Drill, expected: Expected, restored: Pinned) -> Compared:
        """Every row of a restored partition with what the archive says. Raises Unavailable, Corrupt, CutOff."""
        return await self._against(drill, expected, restored, RESTORED)

    async def compare_live(self, drill: Drill, expected: Expected, live: Pinned) -> Compared:
        """The rows of a live copy that nothing wrote since the moment, with what the archive says of it. Raises Unavailable, Corrupt, CutOff."""
        return await self._against(drill, expected, live, LIVE)

    async def _against(self, drill: Drill, expected: Expected, copy: Pinned, what: str) -> Compared:
        """Digests first, at the scrub's pace; rows only of sub-ranges in which they differ, some at a time, and those in a worker."""
        scanned = await copy.digest(bytes_per_second=self._rate_bytes)
        left = ranges_to_descend([Side(what, scanned.digest, scanned.bad, scanned.structure)], expected.digest)
        differing = set(left)
        rows = sum(count for index, count in enumerate(expected.digest.rows) if index not in differing)
        differences = [f"{what}: {one}" for one in scanned.structure]
        while left:
            drill.go_on()
            asked: list[Range] = []
            found: list[list[RowFact]] = []
            while left and sum(map(len, found)) < ROWS_AT_ONCE:
                asked.append(expected.digest.bounds(left.pop(0)))
                found.append(await copy.rows(*asked[-1]))
            answer = await self.ruled(expected, asked, found, what)
            rows += answer.rows
            differences += answer.differences
        return Compared(rows, differences[:DIFFERENCES_MAX])

    async def ruled(self, expected: Expected, ranges: Sequence[Range], found: Sequence[Sequence[RowFact]], what: str) -> Compared:
        """Rows of some ranges, in a worker. A row file of our own that cannot be read says nothing about the archive. Raises Unavailable."""
        packed = [[(row.key, row.hash.to_bytes(HASH_BYTES, "little"), row.lsn) for row in some] for some in found]
        applied = expected.applied if what == LIVE else None
        arguments = {
            "rows": expected.rows,
            "ranges": [list(pair) for pair in ranges],
            "indexing": expected.indexing,
            "found": packed,
            "applied": applied,
            "what": what,
        }
        try:
            answer = await self._jobs.run(AGAINST, arguments)
        except (Corrupt, Missing) as error:
            raise Unavailable(f"the drill's own row file cannot be read: {error}", path=expected.rows) from error
        return Compared(answer["rows"], answer["differences"])
