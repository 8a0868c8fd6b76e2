"""What leaves this machine is checked first: the last look at a segment before it becomes history.

`prepare` proves that the bytes read from this member's WAL are exactly the segment that the members agreed on, record by record, and makes the object.
It loops over every record, so a node runs it as a job in a worker process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scrubjay.archiver.format.keyfilter import KeyFilter
from scrubjay.archiver.format.manifest import Sums
from scrubjay.archiver.format.records import check_records
from scrubjay.archiver.format.segment import SegmentHead, encode_segment
from scrubjay.base.checksum import sha256_of
from scrubjay.base.env import JobContext
from scrubjay.base.errors import Corrupt
from scrubjay.storage.archive_port import PartitionFacts, SealedSegment
from scrubjay.storage.log import chain as chains
from scrubjay.storage.log.digest import Total


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A checked segment: its object's bytes, what its head says, the sums of both forms, and the filter of its keys."""

    data: bytes
    head: SegmentHead
    raw: Sums
    stored: Sums
    keys: KeyFilter | None


def request(segment: SealedSegment, facts: PartitionFacts, raw: bytes, *, generation: int, after_stamp: int) -> dict[str, Any]:
    """Arguments of `prepare`, all plain data. after_stamp: stamp of the last record before the segment, 0 if it is not known."""
    return {
        "cluster": facts.cluster,
        "place": facts.place(),
        "table": segment.table,
        "partition": segment.partition,
        "first": segment.first,
        "last": segment.last,
        "first_stamp": segment.first_stamp,
        "last_stamp": segment.last_stamp,
        "records": segment.records,
        "content": segment.content,
        "generation": generation,
        "after_stamp": after_stamp,
        "raw": raw,
        "raw_sha256": segment.raw_sha256,
        "before": [segment.before.hex, segment.before.rows],
        "after": [segment.total.hex, segment.total.rows],
        "closed": segment.seal.closed,
        "reason": segment.seal.reason,
        "tag": segment.seal.tag,
        "chain_before": segment.chain_before,
        "chain": segment.chain,
    }


def prepare(asked: dict[str, Any]) -> Outgoing:
    """Check and encode. Raises Corrupt: what this member read is not what the members agreed on, and must not leave."""
    where = f"{asked['partition']} [{asked['first']}, {asked['last']}]"
    raw: bytes = asked["raw"]
    sha = sha256_of(raw).digest()
    if sha != asked["raw_sha256"]:
        raise Corrupt(
            "the WAL's bytes differ from the agreed segment",
            what="segment",
            where=where,
            expected=asked["raw_sha256"].hex(),
            found=sha.hex(),
        )
    span = check_records(
        raw, partition=asked["partition"], first=asked["first"], last=asked["last"], where=where, after_stamp=asked["after_stamp"]
    )
    names = ("first", "last", "first_stamp", "last_stamp", "content", "closed", "reason", "tag")
    said = tuple(asked[name] for name in names)
    if said != (*span[:5], span.seal.closed, span.seal.reason, span.seal.tag) or asked["records"] != asked["last"] - asked["first"] + 1:
        raise Corrupt(
            "the sealed segment's facts differ from its records", what="segment", where=where, expected=list(span[:5]), found=list(said)
        )
    link = chains.Link(
        place=asked["place"],
        raw_size=len(raw),
        raw_sha256=sha,
        before=_total(asked["before"]),
        total=_total(asked["after"]),
        **{name: asked[name] for name in names},
    )
    chain = chains.next_chain(asked["chain_before"], link)
    if chain != asked["chain"]:
        raise Corrupt("the segment's chain value does not follow from its content", what="segment", where=where)
    head = SegmentHead(
        asked["cluster"], asked["table"], asked["partition"], asked["first"], asked["last"], asked["first_stamp"], asked["last_stamp"],
        asked["records"], asked["generation"],
    )  # fmt: skip
    data = encode_segment(head, raw)
    return Outgoing(data, head, Sums.of(raw), Sums.of(data), span.filter())


def _total(said: list[Any]) -> Total:
    return Total(int(said[0], 16), said[1])


async def prepare_job(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """`prepare` in a worker process."""
    made = prepare(arguments)
    keys = None if made.keys is None else [made.keys.count, made.keys.hashes, made.keys.bits]
    return {"data": made.data, "head": list(made.head), "raw": made.raw.fields(), "stored": made.stored.fields(), "keys": keys}


async def prepare_late_job(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """`prepare_job` under the name by which it gives way to nobody."""
    return await prepare_job(context, arguments)


def from_job(answer: dict[str, Any]) -> Outgoing:
    keys = None if answer["keys"] is None else KeyFilter(*answer["keys"])
    return Outgoing(answer["data"], SegmentHead(*answer["head"]), Sums(**answer["raw"]), Sums(**answer["stored"]), keys)
