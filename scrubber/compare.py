"""Comparison of the copies of one partition at one LSN, both ways, from range digests down to keys. Pure.

Who is compared: every storage copy, as its bytes were scanned, and the reference rebuilt from the archive alone. Comparison goes in two steps, so
that rows are fetched only where something differs:

1. `ranges_to_descend` names the sub-ranges in which the scanned copies and the reference do not all agree, or a row failed its check;
2. `differences_in` compares the rows of one such sub-range, key by key. Who is wrong at a key says `scrubber.judge`; `scrubber.conclude` adds it up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scrubjay.base.ids import Lsn
from scrubjay.scrubber.evidence import ABSENT, ARCHIVE, UNREADABLE, Difference, DifferenceKind, Ruling, Side
from scrubjay.scrubber.judge import who_is_wrong
from scrubjay.storage.btree.engine import RowFact
from scrubjay.storage.log.digest import RANGES, RangeDigest


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
        ruled = who_is_wrong(values, expected)
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


def _kind_of(held: int, expected: int) -> DifferenceKind:
    if held == UNREADABLE:
        return DifferenceKind.UNREADABLE
    if held == ABSENT:
        return DifferenceKind.LACKING
    return DifferenceKind.EXTRA if expected == ABSENT else DifferenceKind.DIFFERENT


def fold_strays(differences: Sequence[Difference]) -> list[Difference]:
    """Explain unreadable rows that stand under a key nobody else has: a flipped key byte makes one row both `lacking` and a stray.

    A stray is one whose lsn no good side gave (None). Each is folded into a `lacking` difference of the same copy; strays that are left stay as they are.
    """
    lacking: dict[str, list[int]] = {}
    for at, one in enumerate(differences):
        if one.kind is DifferenceKind.LACKING:
            lacking.setdefault(one.copy, []).append(at)
    result: list[Difference | None] = list(differences)
    for at, one in enumerate(differences):
        if one.kind is DifferenceKind.UNREADABLE and one.lsn is None and one.key is not None and lacking.get(one.copy):
            home = lacking[one.copy].pop(0)
            result[at] = None
            result[home] = differences[home]._replace(detail=f"an unreadable row stands under the key {one.key.hex()} instead")
    return [one for one in result if one is not None]
