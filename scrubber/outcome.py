"""What the scrub of one partition comes to, after one pass or two: its verdict, what became of each finding, whether all was healed. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from scrubjay.scrubber.conclude import Comparison, CopyVerdict
from scrubjay.scrubber.evidence import ARCHIVE, SUSPECT
from scrubjay.scrubber.reference import Reference
from scrubjay.scrubber.report import PartitionReport, ScrubFound, merge_findings, same_fault, subject_of
from scrubjay.scrubber.verdict import Verdict
from scrubjay.storage.service_port import Copy, Finding, SealPoint


@dataclass(slots=True)
class Pass:
    """One comparison at one seal and what it was made from. began_us: wall time before the seal. bytes: read from copies and archive."""

    began_us: int
    seal: SealPoint
    outcome: Comparison
    reference: Reference | None
    findings: list[ScrubFound]
    bytes: int


def report_of(
    partition: str,
    first: Pass,
    second: Pass | None,
    *,
    known: Sequence[Finding],
    outside: Sequence[ScrubFound],
    now: Sequence[Finding],
    evidence: Mapping[str, str | None],
    base: str | None,
) -> PartitionReport:
    """second: the pass after a heal. known: what was found outside, as the store kept it when the heal began; outside: the same with its keys; now: as the
    store keeps it by now. evidence: of each copy that was set aside, where it lies. base: key of the base snapshot that was written."""
    last = second or first
    matched = [copy.copy for copy in last.outcome.copies if copy.verdict is Verdict.MATCH]
    # What was found after the last scan of a copy had begun says more than that scan: it is told now and kept for the run that looks there again.
    late = [one for one in known if one.at_us > last.began_us and one.copy in matched]
    own = [_settled(found, matched=matched, evidence=evidence) for found in first.findings]
    own += [] if second is None else second.findings
    own = [found for found in own if not _told_outside(found, outside)]
    # The healer may have set a copy aside while it was compared here.
    aside = {subject_of(one): one.evidence for one in now if one.evidence is not None}
    findings = [
        found
        if found.finding.copy == ARCHIVE or any(same_fault(one, found.finding) for one in late)
        else _settled(found, matched=matched, evidence=evidence)
        for found in (
            one if one.evidence is not None else replace(one, evidence=aside.get(subject_of(one.finding)))
            for one in merge_findings(outside, own)
        )
    ]
    verdict, reason = first.outcome.verdict, first.outcome.reason
    if findings and verdict is not Verdict.MISMATCH:
        damaged = any(found.finding.copy == ARCHIVE and found.finding.found_by == "scrub" for found in findings)
        verdict, reason = Verdict.MISMATCH, reason or ("archive_damaged" if damaged else "found_outside_scrub")
    if second is not None and second.outcome.verdict is not Verdict.MATCH:
        reason = second.outcome.reason or reason
    healed = verdict is Verdict.MISMATCH and last.outcome.verdict is Verdict.MATCH and all(_healed(found) for found in findings)
    rows = next((copy.rows for copy in reversed(last.outcome.copies) if copy.rows is not None), 0)
    return PartitionReport(
        partition,
        first.seal.lsn,
        verdict,
        reason,
        healed,
        first.outcome.copies,
        tuple(findings),
        rows or 0,
        first.bytes + (second.bytes if second is not None else 0),
        base,
        () if last.reference is None else last.reference.objects,
        None if second is None else (second.seal.lsn, second.outcome.copies),
        tuple(one for one in known if one not in late),
    )


def not_begun(partition: str, known: Sequence[Finding], copies: Sequence[Copy]) -> PartitionReport:
    """No seal could be had, so nothing was compared: what is known is told, and kept for the run that compares."""
    outside = tuple(ScrubFound(one, one.evidence) for one in known)
    lines = [CopyVerdict(one.node, one.kind, None, None, Verdict.UNVERIFIED, "no_seal") for one in copies]
    lines.append(CopyVerdict(ARCHIVE, "reference", None, None, Verdict.UNVERIFIED, "no_seal"))
    verdict = Verdict.MISMATCH if outside else Verdict.UNVERIFIED
    return PartitionReport(partition, None, verdict, "no_seal", False, tuple(lines), outside, 0, 0)


def _settled(found: ScrubFound, *, matched: Sequence[str], evidence: Mapping[str, str | None]) -> ScrubFound:
    """What became of a copy's finding: healed once the copy matches, quarantined if it was set aside and not proven since."""
    copy = found.finding.copy
    if copy == ARCHIVE:
        return found
    if copy in matched:
        return found.acted("healed", evidence.get(copy))
    return found.acted("quarantined", evidence.get(copy)) if copy in evidence or found.evidence is not None else found


def _told_outside(found: ScrubFound, outside: Sequence[ScrubFound]) -> bool:
    """That a copy is suspect says no more than the finding that made it so."""
    own = found.finding
    return own.detail == SUSPECT and own.storage_key is None and any(one.finding.copy == own.copy for one in outside)


def _healed(found: ScrubFound) -> bool:
    return found.finding.action == "healed"


def proven(outcome: Comparison) -> bool:
    """The reference equals a majority of the storage copies and nothing was found to differ."""
    storage = sum(1 for copy in outcome.copies if copy.kind == "storage")
    return outcome.verdict is not Verdict.MISMATCH and outcome.copies[-1].verdict is Verdict.MATCH and outcome.matched_copies * 2 > storage
