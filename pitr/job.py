"""A restore's durable notes (kept by `ServicePort.save_job` under `restore/<new table id>`) and its report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from scrubjay.base.env import Rand
from scrubjay.base.errors import Conflict, Corrupt, DiskFull, Fenced, Missing, ScrubjayError, Unavailable
from scrubjay.base.times import utc_text, utc_text_or_none
from scrubjay.pitr.part import PartAsked
from scrubjay.pitr.plan import PartitionPlan, Plan, forked_error
from scrubjay.storage.catalogue import PartitionInfo, TableMeta
from scrubjay.storage.log.digest import MASK, Total
from scrubjay.storage.service_port import ServicePort

PREFIX = "restore/"
VERSION = 3

PLAN, READ, LOAD, CONFIRM, PUBLISHED = "plan", "read", "load", "confirm", "published"
"""Phases, in order. A phase is noted before it begins."""

RUNNING, FAILED, DIFFERS, CANCELLED = "running", "failed", "differs", "cancelled"
"""States beside PUBLISHED. failed and differs can be resumed or cancelled."""

FINDINGS_MAX = 100
"""Damaged objects that the notes of one restore name. Which others there are, verify says."""


class PartitionJob(msgspec.Struct):
    """One partition of the target. sum, rows: proven by the rebuild (None until read); of a part of a table those of the rows chosen, and of_sum, of_rows those of
    all rows that it was chosen from. copies: recomputed digest and rows of each replica, once loaded. lacking: why a copy was gone on without, by node."""

    source: str
    target: str
    base_lsn: int = 0
    segments: int = 0
    bytes: int = 0
    raw: int = 0
    requests: int = 0
    from_lsn: int = 0
    to_lsn: int = 0
    sum: str | None = None
    rows: int | None = None
    base: str | None = None
    copies: dict[str, tuple[str, int]] | None = None
    lacking: dict[str, str] = msgspec.field(default_factory=dict)
    of_sum: str | None = None
    of_rows: int | None = None

    @property
    def total(self) -> Total | None:
        return _total(self.sum, self.rows)

    @property
    def of(self) -> Total | None:
        return _total(self.of_sum, self.of_rows)

    def plan_json(self) -> dict[str, Any]:
        return {
            "partition": self.source,
            "target": self.target,
            "base_lsn": self.base_lsn,
            "segments": self.segments,
            "bytes": self.bytes,
            "requests": self.requests,
            "from_lsn": self.from_lsn,
            "to_lsn": self.to_lsn,
        }


def parts_of(plan: Plan, source: TableMeta, target: TableMeta) -> list[PartitionJob]:
    """Each source partition with the target's partition of the same range. Raises Unavailable if the target was made before it was known that one of them had been split by then."""
    targets = {info.lo: info for info in target.partitions}
    sources = {info.partition_id: info for info in source.partitions}
    if targets.keys() != {info.lo for info in source.partitions}:
        raise Unavailable(
            "a partition of the table was split at that very moment", asked=source.name, next="cancel this restore and begin it again"
        )
    return [_part_of(part, targets[sources[part.partition].lo]) for part in plan.partitions]


def _part_of(plan: PartitionPlan, target: PartitionInfo) -> PartitionJob:
    return PartitionJob(
        source=plan.partition,
        target=target.partition_id,
        base_lsn=plan.base_lsn,
        segments=len(plan.segments),
        bytes=plan.bytes,
        raw=plan.raw,
        requests=plan.requests,
        from_lsn=plan.from_lsn,
        to_lsn=plan.to_lsn,
    )


class WindowNote(msgspec.Struct):
    """The proven window when the restore was planned, as it is printed."""

    earliest: str | None = None
    latest: str | None = None
    holes: list[dict[str, Any]] = msgspec.field(default_factory=list)


class AskedNote(msgspec.Struct, frozen=True):
    """How the moment was asked for, where the words alone do not fix it: `--minus` (microseconds) and `--latest`."""

    minus_us: int | None = None
    latest: bool = False


class RestoreJob(msgspec.Struct, kw_only=True):
    """version: of this layout. asked: the target as it was put. meta: the target as it was first asked for (TableMeta as plain data). seconds: per phase, summed over resumptions.

    findings: damage that was met in the archive, each object once, as they are printed; the restore went on without it or ended there. part: which items, None: all.
    forks: where the log of what was read has two histories, as they are printed.
    """

    version: int = VERSION
    source_id: str
    source_name: str
    target: str
    target_id: str
    at_us: int
    asked: AskedNote
    beyond_latest: bool
    created_us: int
    meta: dict[str, Any]
    window: WindowNote
    max_offset_us: int
    phase: str = PLAN
    state: str = RUNNING
    partitions: list[PartitionJob] = msgspec.field(default_factory=list)
    predicted_seconds: float | None = None
    seconds: dict[str, float] = msgspec.field(default_factory=dict)
    finished_us: int | None = None
    error: dict[str, Any] | None = None
    findings: list[dict[str, Any]] = msgspec.field(default_factory=list)
    part: PartAsked | None = None
    forks: list[dict[str, Any]] = msgspec.field(default_factory=list)

    @property
    def key(self) -> str:
        return PREFIX + self.target_id

    @property
    def target_meta(self) -> TableMeta:
        return msgspec.convert(self.meta, TableMeta)

    @property
    def unfinished(self) -> bool:
        return self.state in (RUNNING, FAILED, DIFFERS)

    def as_notes(self) -> dict[str, Any]:
        notes: dict[str, Any] = msgspec.to_builtins(self)
        if not self.forks:  # as the notes have been since version 3
            del notes["forks"]
        for part in notes["partitions"]:
            if not part["lacking"]:
                del part["lacking"]
        return notes

    def proven(self) -> Total | None:
        """Sum over all partitions, None until every one is read."""
        return _sum([part.total for part in self.partitions])

    def part_json(self) -> dict[str, Any] | None:
        """What of the table was asked for, and the digest and rows of all that it was chosen from, proven as those of a whole restore are."""
        if self.part is None:
            return None
        of = _sum([part.of for part in self.partitions])
        return {**self.part.as_json(), "of_rows": None if of is None else of.rows, "of_digest": None if of is None else of.hex}

    def report(self, progress: dict[str, Any] | None = None) -> dict[str, Any]:
        """The answer of `restore run|status` (INTERFACE section 3)."""
        proven = self.proven()
        verdict = {PUBLISHED: "match", DIFFERS: "mismatch"}.get(self.state, "unverified")
        seconds = {name: _rounded(self.seconds.get(name)) for name in (PLAN, READ, LOAD, CONFIRM, "total")}
        return {
            "table": self.source_name,
            "table_id": self.source_id,
            "to": self.target,
            "to_id": self.target_id,
            "at": utc_text(self.at_us),
            "max_clock_offset": self.max_offset_us / 1e6,
            "beyond_latest": self.beyond_latest,
            "window": msgspec.to_builtins(self.window),
            "part": self.part_json(),
            "partitions": [part.plan_json() for part in self.partitions],
            "bytes": sum(part.bytes for part in self.partitions),
            "requests": sum(part.requests for part in self.partitions),
            "predicted_seconds": self.predicted_seconds,
            "state": self.state,
            "phase": self.phase,
            "rows": None if proven is None else proven.rows,
            "digest": None if proven is None else proven.hex,
            "verdict": verdict if self.state != RUNNING else None,
            "seconds": seconds,
            "progress": progress if self.state == RUNNING else None,
            "started": utc_text(self.created_us),
            "finished": utc_text_or_none(self.finished_us),
            "findings": list(self.findings),
            "forks": list(self.forks),
            "degraded": [
                {"partition": part.target, "node": node, "why": why} for part in self.partitions for node, why in part.lacking.items()
            ],
            "error": self.error or (forked_error(self.forks) if self.forks and self.state == PUBLISHED else None),
        }


def _total(sum_: str | None, rows: int | None) -> Total | None:
    return None if sum_ is None or rows is None else Total(int(sum_, 16), rows)


def _sum(totals: Sequence[Total | None]) -> Total | None:
    """None until every one is known."""
    known = [total for total in totals if total is not None]
    if not totals or len(known) != len(totals):
        return None
    return Total(sum(total.sum for total in known) & MASK, sum(total.rows for total in known))


def folder_of(target_id: str) -> str:
    """Where the row files of a restore lie, below the data folder."""
    return f"tmp/restore/{target_id}"


def load_job(notes: dict[str, Any]) -> RestoreJob | None:
    """A job from its notes. None if they are of another version or malformed: such a job is left as it is and told of, never guessed at."""
    try:
        job = msgspec.convert(notes, RestoreJob)
    except msgspec.ValidationError:
        return None
    return job if job.version == VERSION else None


NOTE_TRIES_MAX = 4


def new_id(rand: Rand, now_us: int) -> str:
    """Of a backup, an export, an import, and as its ARN ends: 14 digits (milliseconds, when it was asked for), `-`, 8 random hex digits. By it they are in order."""
    return f"{now_us // 1000:014d}-{rand.u64() & 0xFFFFFFFF:08x}"


async def note(port: ServicePort, key: str, notes: dict[str, Any] | None) -> None:
    """Save notes that this process alone writes. Raises Unavailable, Conflict.

    Notes are compare-and-set. A Conflict here means that an earlier write of ours, cut off by a cancel, came through after all; by the next try the store
    knows what stands there.
    """
    for _ in range(NOTE_TRIES_MAX - 1):
        try:
            return await port.save_job(key, notes)
        except Conflict:
            continue
    return await port.save_job(key, notes)


def next_step(error: ScrubjayError, *, source: str, target: str, named: bool) -> str:
    """What to do after a restore failed. named: the findings name what is damaged in the archive."""
    if isinstance(error, (Corrupt, Missing)) and named:
        return f"scrubjay verify --table {source} names all that is damaged; put it back and scrubjay restore resume {target}, or restore as of another moment"
    if isinstance(error, Conflict):
        return f"scrubjay restore cancel {target}, then restore to another name"
    if isinstance(error, Fenced):
        return f"runbooks/archive-fenced.md, then scrubjay restore resume {target}"
    if isinstance(error, DiskFull):
        return f"make room (runbooks/disk-full.md), then scrubjay restore resume {target}"
    if isinstance(error, Unavailable) and "node" in error.fields:
        who = error.fields["node"]
        return f"a quorum of the copies of {target} takes part: bring {who} back, or replace it (runbooks/node-out-of-service.md), then scrubjay restore resume {target}"
    return f"scrubjay restore resume {target}, or restore cancel {target}"


def error_json(error: ScrubjayError, *, asked: str, next_step: str) -> dict[str, Any]:
    """The `error` object of an answer."""
    facts = "; ".join(
        f"{name}={value}" for name, value in error.fields.items() if name not in ("asked", "next", "body", "error_code", "damage")
    )
    return {
        "code": str(error.fields.get("error_code", error.code)),
        "message": error.message,
        "asked": asked,
        "found": facts or None,
        "next": str(error.fields.get("next", next_step)),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
