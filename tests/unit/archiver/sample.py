"""A small partition with a random history, as its log, its model and its archive. It may end in a split, and go on in two children."""

from __future__ import annotations

import hashlib
import json
import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from scrubjay.archiver.format.identity import Attached
from scrubjay.archiver.format.keyfilter import KeyFilter
from scrubjay.archiver.format.layout import build
from scrubjay.archiver.format.manifest import SegmentManifest, Sums, encode_manifest, manifest_of
from scrubjay.archiver.format.records import BORN, check_records
from scrubjay.archiver.format.segment import SegmentHead, encode_segment
from scrubjay.base.checksum import row_hash
from scrubjay.base.errors import Corrupt
from scrubjay.base.hlc import last_stamp_at, stamp_micros, stamp_of
from scrubjay.base.ids import ClusterId, Lsn, PartitionId, Stamp, TableId, uuid_bytes
from scrubjay.storage.archive_port import PartitionFacts, SealedSegment
from scrubjay.storage.log import chain as chains
from scrubjay.storage.log import record as records
from scrubjay.storage.log.digest import MASK, Total
from scrubjay.storage.log.record import Effect, Op, Record, RecordKind, Seal
from scrubjay.storage.log.split import Born, Split, born_facts, encode_split

CLUSTER = "0c1a5e00-0000-4000-8000-000000000001"
OWNER = "0e4e0000-0000-4000-8000-000000000009"
ATTACHED = Attached(CLUSTER, 1, OWNER)
TABLE = "7ab1e000-0000-4000-8000-000000000002"
PARTITION = "9a471710-0000-4000-8000-000000000003"
START_US = 1_760_000_000_000_000
State = dict[bytes, bytes]


def total_of(state: State) -> Total:
    return Total(sum(row_hash(key, item) for key, item in state.items()) & MASK, len(state))


@dataclass
class Sample:
    """One partition's truth: records, sealed segments, and the state after every LSN."""

    partition: str = PARTITION
    table: str = TABLE
    seed: int = 1
    start_state: State = field(default_factory=dict)
    item_bytes: int = 40
    keys: int = 60
    old_items: bool = False
    attached: Attached = ATTACHED
    lo: str = "00" * 16
    hi: str = ""
    born: Born | None = None

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.records: list[Record] = []
        self.states: list[State] = [dict(self.start_state)]
        self.segments: list[SealedSegment] = []
        self.state: State = dict(self.start_state)
        self.offset = 0 if self.born is None else self.born.lsn
        """LSN in front of the first record."""
        self.stamp = stamp_of(START_US) if self.born is None else self.born.stamp
        self.first = self.offset + 1
        self.chain = chains.START if self.born is None else self.born.chain
        self.before = total_of(self.start_state)
        self.facts = PartitionFacts(
            ClusterId(CLUSTER), TableId(self.table), "orders", PartitionId(self.partition), '{"key":{}}', self.lo, self.hi, self.born
        )

    @property
    def lsn(self) -> int:
        return self.offset + len(self.records)

    def state_at(self, lsn: int) -> State:
        return self.states[lsn - self.offset]

    def append(self, kind: RecordKind, payload: bytes, count: int = 0, step_us: int = 1000) -> Record:
        self.stamp = Stamp(self.stamp + (step_us << 12))
        owner = records.owner_tag(uuid_bytes(self.partition))
        made = records.encode(owner=owner, lsn=self.lsn + 1, stamp=self.stamp, kind=kind, payload=payload, count=count)
        self.records.append(made)
        self.states.append(dict(self.state))
        return made

    def write(self, effects: list[Effect]) -> Record:
        if self.old_items:
            effects = [one if one.old is not None else one._replace(old=self.state.get(one.key, b"")) for one in effects]
        for op, key, body, _ in effects:
            if op == Op.PUT:
                self.state[key] = body
            else:
                self.state.pop(key, None)
        return self.append(RecordKind.DATA, records.encode_effects(effects), len(effects))

    def random_write(self) -> Record:
        effects = []
        for _ in range(self.rng.choice((1, 1, 1, 3))):
            key = self.random_key()
            if self.rng.random() < 0.25:
                effects.append(Effect(Op.DELETE, key, b"key"))
            else:
                effects.append(Effect(Op.PUT, key, self.rng.randbytes(self.rng.randrange(1, self.item_bytes))))
        return self.write(effects)

    def random_key(self) -> bytes:
        """In its range."""
        while True:
            key = hashlib.md5(str(self.rng.randrange(self.keys)).encode()).digest() + b"s"
            if self.holds(key):
                return key

    def holds(self, key: bytes) -> bool:
        return bytes.fromhex(self.lo) <= key and (not self.hi or key < bytes.fromhex(self.hi))

    def seal(self, *, closed: int | None = None, agreed: tuple[int, ...] = (1, 2, 3), reason: int = Seal.AGE) -> SealedSegment:
        payload = records.encode_seal(Seal(Lsn(self.first), Stamp(self.stamp if closed is None else closed), reason, bytes(16)))
        self.append(RecordKind.SEAL, payload)
        mine = self.records[self.first - 1 - self.offset :]
        raw = b"".join(one.data for one in mine)
        sha, total = hashlib.sha256(raw).digest(), total_of(self.state)
        seal = records.decode_seal(mine[-1])
        link = chains.Link(
            place=self.facts.place(),
            first=self.first,
            last=self.lsn,
            first_stamp=mine[0].stamp,
            last_stamp=mine[-1].stamp,
            content=sum(one.kind.is_content for one in mine),
            raw_size=len(raw),
            raw_sha256=sha,
            before=self.before,
            total=total,
            closed=seal.closed,
            reason=seal.reason,
            tag=seal.tag,
        )
        chain = chains.next_chain(self.chain, link)
        segment = SealedSegment(
            table=TableId(self.table),
            partition=PartitionId(self.partition),
            first=Lsn(self.first),
            last=Lsn(self.lsn),
            first_stamp=mine[0].stamp,
            last_stamp=mine[-1].stamp,
            records=len(mine),
            content=link.content,
            raw_size=len(raw),
            raw_sha256=sha,
            before=self.before,
            total=total,
            seal=seal,
            chain_before=self.chain,
            chain=chain,
            agreed=agreed,
            suspect=False,
        )
        self.segments.append(segment)
        self.first, self.chain, self.before = self.lsn + 1, chain, total
        return segment

    def raw(self, segment: SealedSegment) -> bytes:
        return b"".join(one.data for one in self.records[segment.first - 1 - self.offset : segment.last - self.offset])

    def manifest(self, segment: SealedSegment, generation: int = 1) -> tuple[SegmentManifest, bytes]:
        """(manifest, segment object)."""
        raw = self.raw(segment)
        head = SegmentHead(
            CLUSTER,
            self.table,
            self.partition,
            segment.first,
            segment.last,
            segment.first_stamp,
            segment.last_stamp,
            segment.records,
            generation,
        )
        data = encode_segment(head, raw)
        made = manifest_of(
            segment,
            self.facts,
            writer=self.attached,
            node="n1",
            raw=Sums.of(raw),
            stored=Sums.of(data),
            keys=self.filter(segment),
            generation=generation,
        )
        return made, data

    def filter(self, segment: SealedSegment) -> KeyFilter | None:
        """None also for records of which no agent would make a manifest."""
        try:
            walked = check_records(self.raw(segment), partition=self.partition, first=segment.first, last=segment.last, where="sample")
        except Corrupt:
            return None
        return walked.filter()

    def split(self, cut: str = "80" + "00" * 15, *, seed: int = 0, names: Sequence[str] = ()) -> tuple[Sample, Sample]:
        """Its log ends, and two go on: each begins with SCHEMA, sealed at once. names: ids of the children."""
        left, right = names or [other_partition(1 + 2 * seed + self.seed), other_partition(2 + 2 * seed + self.seed)]
        split = Split(bytes(16), bytes.fromhex(cut), PartitionId(left), PartitionId(right))
        self.append(RecordKind.SPLIT, encode_split(split))
        end = self.seal(closed=last_stamp_at(stamp_micros(Stamp(self.stamp + (1000 << 12)))), reason=Seal.SPLIT)
        children = []
        for name, lo, hi in ((left, self.lo, cut), (right, cut, self.hi)):
            kept = {key: item for key, item in self.state.items() if lo <= key[:16].hex() and (not hi or key[:16].hex() < hi)}
            born = Born(PartitionId(self.partition), end.last, end.last_stamp, end.chain, total_of(kept))
            child = Sample(name, self.table, self.rng.randrange(1 << 30), kept, lo=lo, hi=hi, born=born)
            child.facts = child.facts._replace(table_name=self.facts.table_name, schema=self.facts.schema)
            said: dict[str, Any] = {BORN: born_facts(born)}
            if "attributes" in (schema := json.loads(self.facts.schema)):
                said |= {"table_id": self.table, "partition_id": name, "name": self.facts.table_name, "lo": lo, "hi": hi, **schema}
            child.append(RecordKind.SCHEMA, json.dumps(said, sort_keys=True, separators=(",", ":")).encode())
            child.seal(reason=Seal.SCHEMA)
            children.append(child)
        return children[0], children[1]

    def write_segments(self, count: int, *, writes: int = 12) -> Sample:
        """Segments of random writes."""
        for _ in range(count):
            for _ in range(writes):
                self.random_write()
            self.seal()
        return self

    def manifests(self) -> list[SegmentManifest]:
        return [self.manifest(segment)[0] for segment in self.segments]

    def objects(self) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for segment in self.segments:
            made, data = self.manifest(segment)
            found[build(made.key())] = data
            found[build(made.key().twin())] = encode_manifest(made)
        return found


def history(*, seed: int = 1, segments: int = 4, writes: int = 12, partition: str = PARTITION, start: State | None = None) -> Sample:
    """SCHEMA sealed at once, then segments of random writes."""
    sample = Sample(seed=seed, partition=partition, start_state=start or {})
    sample.append(RecordKind.SCHEMA, b"{}")
    sample.seal(reason=Seal.SCHEMA)
    return sample.write_segments(segments, writes=writes)


def other_partition(number: int) -> str:
    return str(uuid.UUID(int=0x9A47171000004000800000000000F000 + (number << 96)))


__all__ = ["ATTACHED", "CLUSTER", "OWNER", "PARTITION", "START_US", "TABLE", "Sample", "history", "other_partition", "replace", "total_of"]
