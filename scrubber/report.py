"""What a scrub says: the values behind `scrub run --json` (INTERFACE section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from scrubjay.base.times import utc_text
from scrubjay.scrubber.conclude import CopyVerdict
from scrubjay.scrubber.plan import ScrubPlan
from scrubjay.scrubber.verdict import Verdict, exit_code, worst
from scrubjay.storage.service_port import Finding


@dataclass(frozen=True, slots=True)
class ScrubFound:
    """A finding and where its evidence lies (quarantine path below the data folder; None: there is none)."""

    finding: Finding
    evidence: str | None = None

    def acted(self, action: str, evidence: str | None) -> ScrubFound:
        """evidence: of a heal since; what lies aside already is where it was found."""
        return ScrubFound(self.finding._replace(action=action), self.evidence or evidence)

    def as_json(self) -> dict[str, Any]:
        one = self.finding
        return {
            "kind": one.kind,
            "copy": one.copy,
            "partition": one.partition,
            "key": one.key,
            "object": one.object,
            "lsn": one.lsn,
            "segment": one.segment,
            "found_by": one.found_by,
            "action": one.action,
            "evidence": self.evidence,
            "detail": one.detail or None,
            "at": utc_text(one.at_us),
        }


@dataclass(frozen=True, slots=True)
class PartitionReport:
    """One partition. copies: as found, before any heal. bytes: read from copies and archive. objects: archived
    objects proven on the way. rescrub: lsn and copies of the pass after a heal. reported: findings from outside that this report settles, as the store
    keeps them; it may forget exactly these."""

    partition: str
    lsn: int | None
    verdict: Verdict
    reason: str | None
    healed: bool
    copies: tuple[CopyVerdict, ...]
    findings: tuple[ScrubFound, ...]
    rows: int
    bytes: int
    base: str | None = None
    objects: tuple[str, ...] = ()
    rescrub: tuple[int, tuple[CopyVerdict, ...]] | None = None
    reported: tuple[Finding, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {
            "partition": self.partition,
            "lsn": self.lsn,
            "verdict": self.verdict.value,
            "reason": self.reason,
            "healed": self.healed,
            "copies": [copy_json(copy) for copy in self.copies],
            "findings": [found.as_json() for found in self.findings],
            "base": self.base,
            "rescrub": None if self.rescrub is None else {"lsn": self.rescrub[0], "copies": [copy_json(copy) for copy in self.rescrub[1]]},
        }


def copy_json(copy: CopyVerdict) -> dict[str, Any]:
    return {
        "copy": copy.copy,
        "kind": copy.kind,
        "rows": copy.rows,
        "digest": copy.digest,
        "verdict": copy.verdict.value,
        "reason": copy.reason,
    }


@dataclass(frozen=True, slots=True)
class TableReport:
    table: str
    table_id: str
    partitions: tuple[PartitionReport, ...]

    @property
    def verdict(self) -> Verdict:
        return worst(part.verdict for part in self.partitions)

    def as_json(self) -> dict[str, Any]:
        return {
            "table": self.table,
            "table_id": self.table_id,
            "verdict": self.verdict.value,
            "partitions": [part.as_json() for part in self.partitions],
        }


@dataclass(frozen=True, slots=True)
class ScrubReport:
    """A whole run. seconds: wall time of the run. plan: what it set out to do (None: it was not planned). cut: why it ended with `left` partitions not begun."""

    tables: tuple[TableReport, ...]
    seconds: float
    notes: tuple[str, ...] = field(default=())
    plan: ScrubPlan | None = None
    left: int = 0
    cut: str | None = None

    @property
    def verdict(self) -> Verdict:
        return worst(table.verdict for table in self.tables)

    @property
    def healed(self) -> bool:
        """Something was wrong, and everything that was wrong has been healed."""
        wrong = [part for table in self.tables for part in table.partitions if part.verdict is Verdict.MISMATCH]
        return bool(wrong) and all(part.healed for part in wrong)

    @property
    def exit_code(self) -> int:
        return exit_code(self.verdict) or (3 if self.left else 0)

    def as_json(self) -> dict[str, Any]:
        parts = [part for table in self.tables for part in table.partitions]
        return {
            "exit": self.exit_code,
            "error": None,
            "verdict": self.verdict.value,
            "healed": self.healed,
            "tables": [table.as_json() for table in self.tables],
            "totals": {
                "partitions": len(parts),
                "rows": sum(part.rows for part in parts),
                "bytes": sum(part.bytes for part in parts),
                "seconds": round(self.seconds, 3),
            },
            "plan": None if self.plan is None else self.plan.as_json(),
            "notes": list(self.notes),
            "left": self.left,
            "cut": self.cut,
        }


def same_fault(one: Finding, other: Finding) -> bool:
    """Two findings tell of one fault: found again by the scrub after a read or a seal found it first."""
    return subject_of(one) == subject_of(other)


def subject_of(one: Finding) -> tuple[object, ...]:
    """What it tells of, whoever found it: one item of a copy, or one place in it. An object of the archive is the same one, though a half of a split partition met it, which rests on it."""
    place = (one.storage_key,) if one.storage_key is not None else (one.kind, one.object, one.lsn)
    return one.copy, one.partition if one.object is None else None, *place


def merge_findings(outside: Sequence[ScrubFound], own: Sequence[ScrubFound]) -> list[ScrubFound]:
    """Those found outside first; one the scrub found again is told once, by who found it first, with what the scrub knows beside it."""
    merged = list(outside)
    for found in own:
        at = next((index for index, known in enumerate(merged) if same_fault(known.finding, found.finding)), None)
        if at is None:
            merged.append(found)
            continue
        known = merged[at].finding
        merged[at] = replace(
            merged[at],
            finding=known._replace(
                key=known.key or found.finding.key,
                lsn=known.lsn if known.lsn is not None else found.finding.lsn,
                segment=known.segment or found.finding.segment,
            ),
        )
    return merged
