"""What a comparison comes to: a verdict for each copy and for the archive, a reason, and what is healed. Pure. Who is wrong says `scrubber.judge`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from scrubjay.scrubber.compare import fold_strays
from scrubjay.scrubber.evidence import ARCHIVE, SUSPECT, Absentee, Difference, DifferenceKind, Ruling, Side
from scrubjay.scrubber.judge import may_heal
from scrubjay.scrubber.verdict import Verdict, worst
from scrubjay.storage.log.digest import RANGES, RangeDigest, Total


@dataclass(frozen=True, slots=True)
class CopyVerdict:
    """A line of `copies[]`. kind: storage | log | reference. rows, digest: None if it was not scanned."""

    copy: str
    kind: str
    rows: int | None
    digest: str | None
    verdict: Verdict
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """The outcome for one partition. heal: copies that may be rebuilt from the reference, in order."""

    verdict: Verdict
    reason: str | None
    copies: tuple[CopyVerdict, ...]
    differences: tuple[Difference, ...]
    heal: tuple[str, ...]

    @property
    def matched_copies(self) -> int:
        """Storage copies proven equal to the reference."""
        return sum(1 for copy in self.copies if copy.kind == "storage" and copy.verdict is Verdict.MATCH)


def conclude(
    sides: Sequence[Side],
    absent: Sequence[Absentee],
    reference: RangeDigest | None,
    differences: Sequence[Difference],
    *,
    reference_reason: str | None = None,
    reference_rotten: bool = False,
    further: Collection[tuple[Ruling, str]] = (),
    unexplained: Sequence[int] = (),
) -> Comparison:
    """Add up one partition.

    differences: of every descended range. reference_reason: why there is no reference. reference_rotten: it could not be built because the archive is
    damaged. further: rulings of differences beyond the bound on findings, each with the copy it speaks of. unexplained: ranges whose digests differ
    while their rows, read again, agree.
    """
    assert reference is not None or reference_reason is not None
    found = [*fold_strays([*differences, *_bad_elsewhere(sides, differences)]), *_structural(sides), *_rotten(absent)]
    found += _suspects(sides, found)
    spoken = {(one.ruling, one.copy) for one in found} | set(further)
    rulings = {ruling for ruling, _ in spoken}
    copies = [
        _judge(side, found, reference, reference_reason, unexplained=unexplained, doubt=bool(rulings - {Ruling.COPY})) for side in sides
    ]
    named = {one.copy for one in found}
    copies += [
        CopyVerdict(one.copy, one.kind, None, None, Verdict.MISMATCH if one.copy in named else Verdict.UNVERIFIED, one.reason)
        for one in absent
    ]
    copies.append(_judge_reference(reference, reference_reason, rotten=reference_rotten, rulings=rulings, compared=bool(sides)))
    healable = may_heal(spoken, compared=reference is not None and bool(sides))
    heal = tuple(copy.copy for copy in copies[:-1] if copy.copy in healable)
    reason = _reason(copies, rulings, reference_reason, unexplained)
    return Comparison(worst(copy.verdict for copy in copies), reason, tuple(copies), tuple(found), heal)


def _bad_elsewhere(sides: Sequence[Side], differences: Sequence[Difference]) -> list[Difference]:
    """Bad rows of the scan that no descended range accounts for: keys outside the partition, or rows that read well the second time."""
    named = {(one.copy, one.key) for one in differences}
    return [
        Difference(DifferenceKind.UNREADABLE, side.copy, key, None, Ruling.COPY, "the row failed its check in the scan")
        for side in sides
        for key in side.bad
        if (side.copy, key) not in named
    ]


def _structural(sides: Sequence[Side]) -> list[Difference]:
    return [Difference(DifferenceKind.UNREADABLE, side.copy, None, None, Ruling.COPY, text) for side in sides for text in side.structure]


def _suspects(sides: Sequence[Side], found: Sequence[Difference]) -> list[Difference]:
    """A suspect copy in which this scan saw nothing wrong is rebuilt all the same: what made it suspect was real."""
    named = {one.copy for one in found}
    return [
        Difference(DifferenceKind.UNREADABLE, side.copy, None, None, Ruling.COPY, SUSPECT)
        for side in sides
        if side.suspect and side.copy not in named
    ]


def _rotten(absent: Sequence[Absentee]) -> list[Difference]:
    return [Difference(DifferenceKind.UNREADABLE, one.copy, None, None, Ruling.COPY, one.reason) for one in absent if one.rotten]


def _equal(one: RangeDigest, other: RangeDigest) -> bool:
    return one.sums == other.sums and one.rows == other.rows


def _judge(
    side: Side,
    found: Sequence[Difference],
    reference: RangeDigest | None,
    reference_reason: str | None,
    *,
    unexplained: Sequence[int],
    doubt: bool,
) -> CopyVerdict:
    """One scanned copy. It matches only if a reference is there and every range of it, by its own digest, is equal."""
    total = side.digest.total()
    line = CopyVerdict(side.copy, "storage", total.rows, total.hex, Verdict.MATCH)
    named = any(one.copy == side.copy for one in found)
    if named or side.bad or side.structure:
        return _with(line, Verdict.MISMATCH, None)
    if reference is None:
        return _with(line, Verdict.UNVERIFIED, reference_reason)
    if _equal(side.digest, reference):
        return line
    differing = [i for i in range(RANGES) if (side.digest.sums[i], side.digest.rows[i]) != (reference.sums[i], reference.rows[i])]
    if all(index in unexplained for index in differing):
        return _with(line, Verdict.UNVERIFIED, "unstable_reads")
    return _with(line, Verdict.MISMATCH, "differs_from_reference" if doubt else None)


def _with(line: CopyVerdict, verdict: Verdict, reason: str | None) -> CopyVerdict:
    return CopyVerdict(line.copy, line.kind, line.rows, line.digest, verdict, reason)


def _judge_reference(
    reference: RangeDigest | None, reason: str | None, *, rotten: bool, rulings: set[Ruling], compared: bool
) -> CopyVerdict:
    if reference is None:
        return CopyVerdict(ARCHIVE, "reference", None, None, Verdict.MISMATCH if rotten else Verdict.UNVERIFIED, reason)
    total: Total = reference.total()
    line = CopyVerdict(ARCHIVE, "reference", total.rows, total.hex, Verdict.MATCH)
    if Ruling.ARCHIVE in rulings:
        return _with(line, Verdict.MISMATCH, "copies_agree_against_archive")
    if Ruling.UNDECIDED in rulings:
        return _with(line, Verdict.UNVERIFIED, Ruling.UNDECIDED.value)
    if not compared:
        return _with(line, Verdict.UNVERIFIED, "no_copy_compared")
    return line


def _reason(copies: Sequence[CopyVerdict], rulings: set[Ruling], reference_reason: str | None, unexplained: Sequence[int]) -> str | None:
    """One word for the partition: the gravest first; the rest stands beside each copy."""
    if Ruling.ARCHIVE in rulings:
        return "copies_agree_against_archive"
    if Ruling.UNDECIDED in rulings:
        return Ruling.UNDECIDED.value
    if reference_reason is not None:
        return reference_reason
    if unexplained:
        return "unstable_reads"
    return next((copy.reason for copy in copies if copy.verdict is not Verdict.MATCH and copy.reason), None)
