"""A store of dicts and an archive of a list, for the scrub coordinator: faults can be planted in every copy and in the archive."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from scrubjay.base.checksum import row_hash
from scrubjay.base.env import Env
from scrubjay.base.errors import Corrupt, ScrubjayError, Unavailable
from scrubjay.base.ids import Lsn, Member, NodeName, PartitionId, Stamp, TableId
from scrubjay.scrubber.reference import Cost, Reference, RowOrigin
from scrubjay.storage.btree.engine import RowFact, ScanResult
from scrubjay.storage.catalogue import KeyAttribute, KeySchema, PartitionInfo, TableMeta
from scrubjay.storage.items.encoding import encode_item
from scrubjay.storage.log.digest import RangeDigest, Total
from scrubjay.storage.service_port import Copy, Finding, SealPoint

NODES = (NodeName("n1"), NodeName("n2"), NodeName("n3"))
KEY = KeySchema(KeyAttribute("pk", "S"), KeyAttribute("sk", "N"))

Row = tuple[bytes, int]


def storage_key(number: int) -> bytes:
    return row_hash(b"pk", f"p{number}".encode()).to_bytes(16, "big") + f"{number:06d}".encode()


def item_of(number: int, version: int) -> bytes:
    return encode_item({"pk": ("S", f"p{number}"), "sk": ("N", str(number)), "v": ("N", str(version))})


def key_of(number: int) -> dict[str, Any]:
    return {"pk": {"S": f"p{number}"}, "sk": {"N": str(number)}}


def table_of(number: int, partitions: int = 1, status: str = "ACTIVE") -> TableMeta:
    bounds = [(1 << 128) * at // partitions for at in range(partitions)] + [None]
    infos = []
    for at in range(partitions):
        low, high = bounds[at], bounds[at + 1]
        assert low is not None
        infos.append(
            PartitionInfo(
                PartitionId(f"{number:08x}-0000-4000-8000-{at:012x}"),
                f"{low:032x}",
                "" if high is None else f"{high:032x}",
                tuple(Member(n, 1) for n in (1, 2, 3)),
            )
        )
    return TableMeta(
        table_id=TableId(f"{number:08x}-1111-4000-8000-000000000000"),
        name=f"table{number}",
        status=status,
        key=KEY,
        attributes=(("pk", "S"), ("sk", "N")),
        partitions=tuple(infos),
        created_at=1,
    )


@dataclass
class CopyModel:
    rows: dict[bytes, Row] = field(default_factory=dict)
    bad: set[bytes] = field(default_factory=set)
    structure: tuple[str, ...] = ()
    state: str = "ok"
    kind: str = "storage"
    scannable: bool = True
    pin_error: ScrubjayError | None = None
    rots_at_seal: Finding | None = None
    scan_error: ScrubjayError | None = None
    loses_rows: bool = False


@dataclass
class PartitionModel:
    info: PartitionInfo
    log: list[tuple[int, bytes, bytes | None]] = field(default_factory=list)
    copies: dict[NodeName, CopyModel] = field(default_factory=lambda: {node: CopyModel() for node in NODES})
    lsn: int = 1
    archived: int = 1
    findings: list[Finding] = field(default_factory=list)
    damage: ScrubjayError | None = None
    archive_down: bool = False
    archive_stuck: bool = False
    forged: dict[bytes, Row | None] = field(default_factory=dict)
    bases: list[tuple[int, str]] = field(default_factory=list)
    heals: list[tuple[str, str]] = field(default_factory=list)
    heal_error: ScrubjayError | None = None
    heal_is_false: bool = False
    healer_was_first: bool = False
    healing_until_us: int = 0
    seal_error: ScrubjayError | None = None

    def write(self, number: int, version: int | None) -> None:
        self.lsn += 1
        key = storage_key(number)
        item = None if version is None else item_of(number, version)
        self.log.append((self.lsn, key, item))
        for copy in self.copies.values():
            if item is None:
                copy.rows.pop(key, None)
            else:
                copy.rows[key] = (item, self.lsn)

    def state(self, upto: int) -> dict[bytes, Row]:
        rows: dict[bytes, Row] = {}
        for lsn, key, item in self.log:
            if lsn <= upto:
                if item is None:
                    rows.pop(key, None)
                else:
                    rows[key] = (item, lsn)
        for key, row in self.forged.items():
            if row is None:
                rows.pop(key, None)
            else:
                rows[key] = row
        return rows


def digest_of(info: PartitionInfo, rows: dict[bytes, Row], bad: Sequence[bytes] = ()) -> RangeDigest:
    digest = RangeDigest(bytes.fromhex(info.lo), bytes.fromhex(info.hi) if info.hi else None)
    for key, (item, _) in rows.items():
        if key not in bad:
            digest.add(key, row_hash(key, item))
    return digest


def facts_of(rows: dict[bytes, Row], bad: Sequence[bytes], start: bytes, end: bytes | None) -> list[RowFact]:
    found = []
    for key in sorted(rows):
        if start <= key and (end is None or key < end):
            item, lsn = rows[key]
            found.append(RowFact(key, 0 if key in bad else row_hash(key, item), Lsn(lsn)))
    return found


class FakePin:
    def __init__(self, model: PartitionModel, copy: CopyModel) -> None:
        self.model = model
        self.copy = copy
        self.rows_then = dict(copy.rows)
        self.bad_then = sorted(copy.bad)
        self.released = False

    async def digest(self, *, bytes_per_second: int | None) -> ScanResult:
        assert not self.released
        if self.copy.scan_error is not None:
            raise self.copy.scan_error
        bad = tuple(key for key in self.bad_then if key in self.rows_then)
        return ScanResult(digest_of(self.model.info, self.rows_then, bad), bad, self.copy.structure, 100 * len(self.rows_then))

    async def rows(self, start: bytes, end: bytes | None) -> list[RowFact]:
        assert not self.released
        if self.copy.loses_rows:
            raise Unavailable("the worker died")
        return facts_of(self.rows_then, self.bad_then, start, end)

    async def item(self, key: bytes) -> bytes | None:
        if key in self.bad_then:
            raise Corrupt("rotted")
        return self.rows_then[key][0] if key in self.rows_then else None

    def release(self) -> None:
        self.released = True


class FakeStore:
    """The scrub half of ServicePort."""

    def __init__(self, env: Env, tables: Sequence[TableMeta]) -> None:
        self.env = env
        self._tables = list(tables)
        self.models = {info.partition_id: PartitionModel(info) for table in tables for info in table.partitions}
        self.pins: list[FakePin] = []
        self.reports: list[str] = []
        self.kept: dict[str, int] = {}
        self.seals: list[tuple[str, int, bytes]] = []

    def tables(self) -> tuple[TableMeta, ...]:
        return tuple(sorted(self._tables, key=lambda one: one.table_id))

    def copies(self, partition: PartitionId) -> list[Copy]:
        model = self.models[partition]
        return [
            Copy(node, number, copy.kind, copy.state, Lsn(model.lsn), copy.scannable)
            for number, (node, copy) in enumerate(model.copies.items(), 1)
        ]

    async def seal(self, partition: PartitionId, *, reason: int, tag: bytes = bytes(16)) -> SealPoint:
        model = self.models[partition]
        await self.env.tasks.sleep(0.001)
        if model.seal_error is not None:
            raise model.seal_error
        model.lsn += 1
        self.seals.append((partition, reason, tag))
        return SealPoint(Lsn(model.lsn), Stamp(model.lsn << 12), Stamp(0))

    async def pin(self, partition: PartitionId, node: NodeName, lsn: Lsn, *, timeout_s: float) -> FakePin:
        model = self.models[partition]
        copy = model.copies[node]
        await self.env.tasks.sleep(0.002)
        if copy.rots_at_seal is not None:
            self.note(copy.rots_at_seal)
            copy.rots_at_seal, copy.state, copy.scannable = None, "suspect", False
            raise Unavailable("the checkpoint at the seal ran into rot")
        if copy.pin_error is not None:
            raise copy.pin_error
        assert lsn == model.lsn, "a pin is taken at the seal"
        pin = FakePin(model, copy)
        self.pins.append(pin)
        return pin

    def archived(self, partition: PartitionId) -> Lsn:
        return Lsn(self.models[partition].archived)

    async def wait_archived(self, partition: PartitionId, lsn: Lsn, *, timeout_s: float) -> bool:
        model = self.models[partition]
        if model.archive_stuck:
            await self.env.tasks.sleep(timeout_s)
            return False
        await self.env.tasks.sleep(0.05)
        model.archived = max(model.archived, lsn)
        return True

    def findings(self, partition: PartitionId) -> list[Finding]:
        return list(self.models[partition].findings)

    def note(self, finding: Finding) -> None:
        self.models[PartitionId(finding.partition)].findings.append(finding)

    def reported(self, partition: PartitionId, findings: Sequence[Finding]) -> None:
        self.reports.append(partition)
        kept = self.models[partition].findings
        kept[:] = [one for one in kept if one not in findings]

    async def keep_log(self, partition: PartitionId, lsn: Lsn) -> Callable[[], None]:
        self.kept[partition] = self.kept.get(partition, 0) + 1

        def let_go() -> None:
            self.kept[partition] -= 1

        return let_go

    async def survey(self, partition: PartitionId, node: NodeName) -> int:
        return 0

    async def healed(self, partition: PartitionId, *, timeout_s: float) -> None:
        model = self.models[partition]
        left = (model.healing_until_us - self.env.clock.wall_us()) / 1e6
        if left > timeout_s:
            await self.env.tasks.sleep(timeout_s)
            raise Unavailable("a heal is running")
        if left > 0:
            await self.env.tasks.sleep(left)
            for copy in model.copies.values():
                copy.state = "ok" if copy.state == "healing" else copy.state

    async def heal(
        self, partition: PartitionId, node: NodeName, *, rows: str, lsn: Lsn, stamp: Stamp, total: Total, chain: bytes, reason: str
    ) -> str:
        model = self.models[partition]
        assert not any(pin.model is model and not pin.released for pin in self.pins), "nothing is pinned while a copy is healed"
        model.heals.append((node, reason))
        if model.heal_error is not None:
            raise model.heal_error
        good = FakeReferences.files[rows]
        if model.healer_was_first:
            model.findings[:] = [one._replace(evidence=f"nodes/{one.copy}/quarantine/healer") for one in model.findings]
            model.copies[node] = CopyModel(rows=dict(good))
            raise Unavailable("this copy is being healed already")
        assert digest_of(model.info, good).total() == total
        path = f"nodes/{node}/quarantine/{partition}-{len(model.heals)}"
        if not model.heal_is_false:
            model.copies[node] = CopyModel(rows=dict(good))
        return path


class FakeReferences:
    files: ClassVar[dict[str, dict[bytes, Row]]] = {}

    def __init__(self, env: Env, store: FakeStore) -> None:
        self.env = env
        self.store = store
        self.made = 0
        self.discarded: list[str] = []
        self.lost = False

    def cost(self, table: TableMeta, info: PartitionInfo, *, until: Lsn) -> Cost | None:
        base = self.store.models[info.partition_id].bases[-1][0] if self.store.models[info.partition_id].bases else None
        return Cost(Lsn(base) if base else None, 3, 5000, 20_000) if until else None

    async def rebuild(self, table: TableMeta, info: PartitionInfo, *, until: Lsn, progress: Any) -> Reference:
        model = self.store.models[info.partition_id]
        await self.env.tasks.sleep(0.1)
        if model.archive_down:
            raise Unavailable("the store is down")
        if model.damage is not None:
            raise model.damage
        rows = model.state(until)
        self.made += 1
        path = f"tmp/scrub/{info.partition_id}-{self.made}"
        FakeReferences.files[path] = rows
        base = model.bases[-1][0] if model.bases else None
        return Reference(until, Stamp(until << 12), digest_of(info, rows), bytes(32), path, Lsn(base) if base else None, 10**6, 1000, 5000)

    async def beginning(self, table: TableMeta, info: PartitionInfo) -> Reference:
        return await self.rebuild(table, info, until=Lsn(0), progress=None)

    async def facts(self, reference: Reference, ranges: Sequence[tuple[bytes, bytes | None]]) -> list[list[RowFact]]:
        if self.lost:
            raise Unavailable("the worker died")
        return [facts_of(FakeReferences.files[reference.rows], (), start, end) for start, end in ranges]

    async def items(self, reference: Reference, keys: Sequence[bytes]) -> list[bytes | None]:
        rows = FakeReferences.files[reference.rows]
        return [rows[key][0] if key in rows else None for key in keys]

    async def origins(
        self, table: TableMeta, info: PartitionInfo, reference: Reference, keys: Sequence[tuple[bytes, Lsn | None]]
    ) -> list[RowOrigin]:
        log = self.store.models[info.partition_id].log
        found = []
        for key, lsn in keys:
            known = lsn or max((one for one, touched, _ in log if touched == key), default=None)
            found.append(RowOrigin(Lsn(known) if known else None, f"segment-of-{known}" if known else None))
        return found

    async def at_hand(self, reference: Reference) -> None:
        assert reference.rows in FakeReferences.files

    async def write_base(self, table: TableMeta, info: PartitionInfo, reference: Reference) -> str:
        object_ = f"base/{reference.lsn:016x}"
        self.store.models[info.partition_id].bases.append((reference.lsn, object_))
        return object_

    def discard(self, reference: Reference) -> None:
        assert reference.rows in FakeReferences.files, "discarded once"
        self.discarded.append(reference.rows)
        del FakeReferences.files[reference.rows]


def random_history(model: PartitionModel, rng: random.Random, steps: int, keys: int = 40) -> None:
    low = bytes.fromhex(model.info.lo)
    high = bytes.fromhex(model.info.hi) if model.info.hi else None
    mine = [n for n in range(keys) if low <= storage_key(n) and (high is None or storage_key(n)[:16] < high)]
    for step in range(steps):
        if mine:
            model.write(rng.choice(mine), None if rng.random() < 0.2 else step)
