"""Comparison of the copies of one partition at one LSN: pure, both ways, from range digests down to keys (ADR 0006).

Who is compared: every storage copy, as its bytes were scanned, and the reference rebuilt from the archive alone. Comparison goes in two steps, so
that rows are fetched only where something differs:

1. `ranges_to_descend` names the sub-ranges in which the scanned copies and the reference do not all agree, or a row failed its check;
2. `differences_in` compares the rows of one such sub-range and rules, key by key, who is wrong; `conclude` adds everything up.

Who is wrong is decided by majority *and* log. A copy is outvoted where the reference and at least one other copy hold the same value and no other
value has as many holders. Where all copies agree against the reference the archive is wrong; anything else has no majority. It is decided key by key:
rot in all three copies at three different keys leaves a majority at each of them, so each copy may be healed though none matches as a whole. A copy is
healed from the reference only if the reference has that majority at every key of the partition at which anything differs.

It does not cover: a fault that all copies and the reference share.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from base.ids import Lsn
from scrubber.verdict import Verdict, worst
from storage.btree.engine import RowFact
from storage.log.digest import RANGES, RangeDigest, Total

ARCHIVE: Final = "archive"
"""The name under which the reference, and any fault of the archive, is reported."""

SUSPECT: Final = "suspect"
"""Detail of the finding about a suspect copy in which nothing else was found."""

ABSENT: Final = -1
UNREADABLE: Final = -2
"""Values a copy may hold at a key beside a row hash (which is never negative)."""


class Kind(StrEnum):
    """What is wrong with a copy at a key."""

    DIFFERENT = "different"
    LACKING = "lacking"
    EXTRA = "extra"
    UNREADABLE = "unreadable"


class Ruling(StrEnum):
    """Who is wrong. COPY: outvoted by the reference and another copy. ARCHIVE: all copies agree against it. UNDECIDED: no majority. PEERS: outvoted
    by other copies while there is no reference, so nothing may be healed on it."""

    COPY = "copy"
    ARCHIVE = "archive"
    UNDECIDED = "no_majority"
    PEERS = "peers"


class Side(NamedTuple):
    """One storage copy as scanned from its bytes. bad: keys, as found, of rows that failed. structure: faults of the tree that are not a row's.

    suspect: rot was found in it before; it is wrong whatever this scan says.
    """

    copy: str
    digest: RangeDigest
    bad: tuple[bytes, ...] = ()
    structure: tuple[str, ...] = ()
    suspect: bool = False


class Absentee(NamedTuple):
    """A copy that could not be scanned. rotten: it is known to be bad (unreadable, suspect), not merely out of reach."""

    copy: str
    kind: str
    reason: str
    rotten: bool = False


class Difference(NamedTuple):
    """One copy that is wrong, or may be, at one key. key None: the tree as a whole. lsn: of the record that made the row, None if unknown."""

    kind: Kind
    copy: str
    key: bytes | None
    lsn: Lsn | None
    ruling: Ruling
    detail: str = ""


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


def rule(values: Mapping[str, Hashable], reference: Hashable | None) -> tuple[Ruling, tuple[str, ...]] | None:
    """Who is wrong about one value. values: what each copy holds (UNREADABLE: nothing that checks). reference None: there is none.

    Returns None if all agree, else the ruling and the copies it speaks of (ARCHIVE: none of them).
    """
    readable = {copy: value for copy, value in values.items() if value != UNREADABLE}
    holders: dict[Hashable, int] = {}
    for value in readable.values():
        holders[value] = holders.get(value, 0) + 1
    if reference is None:
        return _rule_among_peers(values, holders)
    wrong = tuple(copy for copy, value in values.items() if value != reference)
    if not wrong:
        return None
    supporters = holders.pop(reference, 0)
    rivals = max(holders.values(), default=0)
    if supporters and supporters + 1 > rivals:
        return Ruling.COPY, wrong
    if not supporters and rivals == len(values) and rivals > 1:
        return Ruling.ARCHIVE, ()
    return Ruling.UNDECIDED, wrong


def _rule_among_peers(values: Mapping[str, Hashable], holders: Mapping[Hashable, int]) -> tuple[Ruling, tuple[str, ...]] | None:
    if len(holders) <= 1 and UNREADABLE not in values.values():
        return None
    best = max(holders.values(), default=0)
    if best * 2 > len(values):
        winner = next(value for value, count in holders.items() if count == best)
        return Ruling.PEERS, tuple(copy for copy, value in values.items() if value != winner)
    return Ruling.UNDECIDED, tuple(values)


def ranges_to_descend(sides: Sequence[Side], reference: RangeDigest | None) -> list[int]:
    """Sub-range indices whose rows must be looked at, rising: digests not all equal, or a row there failed its check."""
    digests = [side.digest for side in sides]
    if reference is not None:
        digests.append(reference)
    if not digests:
        return []
    first = digests[0]
    found = {
        index
        for index in range(RANGES)
        if any(other.sums[index] != first.sums[index] or other.rows[index] != first.rows[index] for other in digests[1:])
    }
    edges = first.bounds(0)[0], first.bounds(RANGES - 1)[1]
    for side in sides:
        found.update(first.range_of(key) for key in side.bad if len(key) >= 16 and edges[0] <= key and (edges[1] is None or key < edges[1]))
    return sorted(found)


def differences_in(facts: Mapping[str, Sequence[RowFact]], reference: Sequence[RowFact] | None) -> list[Difference]:
    """Every disagreement in one sub-range, keys rising. facts: the rows each scanned copy holds there, good or not. Both ways: keys of all sides."""
    held = {copy: _by_key(rows) for copy, rows in facts.items()}
    truth = None if reference is None else _by_key(reference)
    keys: set[bytes] = set()
    for table in held.values():
        keys.update(table)
    if truth is not None:
        keys.update(truth)
    found: list[Difference] = []
    for key in sorted(keys):
        values = {copy: table[key].hash if key in table else ABSENT for copy, table in held.items()}
        expected = None if truth is None else (truth[key].hash if key in truth else ABSENT)
        ruled = rule(values, expected)
        if ruled is not None:
            found += _explain(key, values, expected, ruled, held, truth)
    return found


def _by_key(rows: Sequence[RowFact]) -> dict[bytes, RowFact]:
    """Rows by key. An unreadable row has hash 0 as fetched and UNREADABLE here; a key found twice has no value that can be trusted."""
    table: dict[bytes, RowFact] = {}
    for row in rows:
        bad = row.hash == 0 or row.key in table
        table[row.key] = row._replace(hash=UNREADABLE) if bad else row
    return table


def _explain(
    key: bytes,
    values: Mapping[str, int],
    expected: int | None,
    ruled: tuple[Ruling, tuple[str, ...]],
    held: Mapping[str, Mapping[bytes, RowFact]],
    truth: Mapping[bytes, RowFact] | None,
) -> list[Difference]:
    """Findings of one key. The LSN is that of the row that should be there; None where none should: the log knows what removed it, if anything did."""
    ruling, wrong = ruled
    present = [table[key].lsn for table in held.values() if key in table and table[key].hash != UNREADABLE]
    if truth is not None and key in truth:
        lsn: Lsn | None = truth[key].lsn
    else:
        lsn = max(present, default=None) if truth is None or ruling is Ruling.ARCHIVE else None
    if ruling is Ruling.ARCHIVE:
        value = next(iter(values.values()))
        return [Difference(_kind_of(expected if expected is not None else ABSENT, value), ARCHIVE, key, lsn, ruling)]
    if expected is None:
        good = [value for copy, value in values.items() if copy not in wrong]
        against = good[0] if good else next((value for value in values.values() if value >= 0), ABSENT)
        return [Difference(_kind_of(values[copy], against), copy, key, lsn, ruling) for copy in wrong]
    return [Difference(_kind_of(values[copy], expected), copy, key, lsn, ruling) for copy in wrong]


def _kind_of(held: int, expected: int) -> Kind:
    if held == UNREADABLE:
        return Kind.UNREADABLE
    if held == ABSENT:
        return Kind.LACKING
    return Kind.EXTRA if expected == ABSENT else Kind.DIFFERENT


def fold_strays(differences: Sequence[Difference]) -> list[Difference]:
    """Explain unreadable rows that stand under a key nobody else has: a flipped key byte makes one row both `lacking` and a stray.

    A stray is one whose lsn no good side gave (None). Each is folded into a `lacking` difference of the same copy; strays that are left stay as they are.
    """
    lacking: dict[str, list[int]] = {}
    for at, one in enumerate(differences):
        if one.kind is Kind.LACKING:
            lacking.setdefault(one.copy, []).append(at)
    result: list[Difference | None] = list(differences)
    for at, one in enumerate(differences):
        if one.kind is Kind.UNREADABLE and one.lsn is None and one.key is not None and lacking.get(one.copy):
            home = lacking[one.copy].pop(0)
            result[at] = None
            result[home] = differences[home]._replace(detail=f"an unreadable row stands under the key {one.key.hex()} instead")
    return [one for one in result if one is not None]


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
    rulings = {one.ruling for one in found} | {ruling for ruling, _ in further}
    copies = [
        _judge(side, found, reference, reference_reason, unexplained=unexplained, doubt=bool(rulings - {Ruling.COPY})) for side in sides
    ]
    named = {one.copy for one in found}
    copies += [
        CopyVerdict(one.copy, one.kind, None, None, Verdict.MISMATCH if one.copy in named else Verdict.UNVERIFIED, one.reason)
        for one in absent
    ]
    # COPY says that a copy holds what the reference holds at that key; where nothing differs every scanned copy does.
    trusted = reference is not None and bool(sides) and not rulings - {Ruling.COPY}
    copies.append(_judge_reference(reference, reference_reason, rotten=reference_rotten, rulings=rulings, compared=bool(sides)))
    wrong = {one.copy for one in found if one.ruling is Ruling.COPY} | {copy for ruling, copy in further if ruling is Ruling.COPY}
    heal = tuple(copy.copy for copy in copies[:-1] if copy.copy in wrong) if trusted else ()
    reason = _reason(copies, rulings, reference_reason, unexplained)
    return Comparison(worst(copy.verdict for copy in copies), reason, tuple(copies), tuple(found), heal)


def _bad_elsewhere(sides: Sequence[Side], differences: Sequence[Difference]) -> list[Difference]:
    """Bad rows of the scan that no descended range accounts for: keys outside the partition, or rows that read well the second time."""
    named = {(one.copy, one.key) for one in differences}
    return [
        Difference(Kind.UNREADABLE, side.copy, key, None, Ruling.COPY, "the row failed its check in the scan")
        for side in sides
        for key in side.bad
        if (side.copy, key) not in named
    ]


def _structural(sides: Sequence[Side]) -> list[Difference]:
    return [Difference(Kind.UNREADABLE, side.copy, None, None, Ruling.COPY, text) for side in sides for text in side.structure]


def _suspects(sides: Sequence[Side], found: Sequence[Difference]) -> list[Difference]:
    """A suspect copy in which this scan saw nothing wrong is rebuilt all the same: what made it suspect was real."""
    named = {one.copy for one in found}
    return [
        Difference(Kind.UNREADABLE, side.copy, None, None, Ruling.COPY, SUSPECT)
        for side in sides
        if side.suspect and side.copy not in named
    ]


def _rotten(absent: Sequence[Absentee]) -> list[Difference]:
    return [Difference(Kind.UNREADABLE, one.copy, None, None, Ruling.COPY, one.reason) for one in absent if one.rotten]


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
