"""The ledger: what was verified when, and to which level. What it remembers, and what verify, scrub and status ask of it; `scrubber.sqlite_ledger` keeps it.

It is a memory that saves work and dates alarms, never a proof: losing it costs a re-reading of the archive, nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from scrubjay.base.errors import Invalid

LEVELS = ("listed", "objects", "records", "replayed")
"""Levels of `verify`, each containing the one before."""

SCRUB = "scrub"
WHOLE = "archive"
"""Stands for what belongs to no partition: identity, epochs, closed objects, objects of unknown tables."""


MATCHED = "matched"
"""Depth of the last scrub that proved a partition equal to its reference, whatever a later one could not compare."""
READ = "read"
"""Depth of a proof of WHOLE, dated at a moment since which everything that lies in the archive has been read, and found to be as it should or told of."""
VERIFY = "verify"
"""Kinds of run are SCRUB and VERIFY."""
WINDOW_US = 35 * 86_400_000_000
"""How long a run and its findings stay readable: as long as history can be restored."""


class Proof(NamedTuple):
    """An archived object was proven at a level. object: its key below the archive URL. at_us: when the check ended. run: which run proved it, None: none."""

    object: str
    level: str
    at_us: int
    run: int | None = None


class PartitionProof(NamedTuple):
    """A partition was scrubbed (depth SCRUB), or its archive verified (depth: the level). lsn, rows, digest: of the comparison, None if there was none.
    verdict: match | mismatch | unverified. partition WHOLE, table_id "": what a verify of everything found outside of any partition."""

    partition: str
    table_id: str
    depth: str
    at_us: int
    lsn: int | None
    verdict: str
    healed: bool
    rows: int | None
    digest: str | None
    run: int | None = None


class LedgerRun(NamedTuple):
    """A run as remembered. finished_us None: it was cut off by the end of its process. report: the JSON answer of its verb. kind: SCRUB | VERIFY."""

    id: int
    started_us: int
    finished_us: int | None
    verdict: str | None
    healed: bool
    report: dict[str, Any] | None
    kind: str = SCRUB


class RebuiltLedger(NamedTuple):
    """at_us: when it was begun anew. proofs: partitions' proofs that came from the metadata. objects: names that came from the archive, None: not yet. missed: names
    that its daily index tells and that are not there. runs: that came from there."""

    at_us: int
    proofs: int
    objects: int | None
    missed: int = 0
    runs: int = 0


class Ledger(Protocol):
    """What verify and scrub ask of it. rebuilt: since when it holds no more than it could be begun anew with; None: it was not lost."""

    rebuilt: RebuiltLedger | None

    async def skip(self, objects: Sequence[str], *, level: str, since_us: int, until_us: int | None = None) -> list[str]:
        """Those of `objects` proven at `level` or deeper at or after `since_us`, in the order given. until_us: and not after it: what is dated later than now was
        dated by a clock that ran ahead, and would be skipped until that day. Raises Invalid (unknown level)."""
        ...

    async def proved(self, proofs: Sequence[Proof]) -> None: ...

    async def failed(self, objects: Sequence[str]) -> None:
        """Objects that failed a check lose every earlier proof: they are looked at again by each run until they pass. That they once were there is
        remembered, so what is gone is missed by every run, not only by the first."""
        ...

    async def known(self, prefix: str) -> list[str]:
        """Objects ever proven whose key begins with `prefix`, in key order: the names of what may be gone."""
        ...

    async def known_partitions(self, cluster: str) -> list[tuple[str, str]]:
        """(table, partition) of every partition of an archive with an object that was ever proven, sorted."""
        ...

    async def scrubbed(self, proof: PartitionProof) -> None:
        """depth SCRUB. One that matched, or was healed to match, is kept as MATCHED too."""
        ...

    async def verified(self, proofs: Sequence[PartitionProof]) -> None: ...

    async def partitions(self) -> list[PartitionProof]: ...

    async def begin_run(self, started_us: int, *, kind: str = SCRUB) -> int: ...

    async def end_run(self, run: int, *, finished_us: int, verdict: str, healed: bool, report: dict[str, Any]) -> None: ...

    async def runs(self, limit: int, *, kind: str | None = None, since_us: int | None = None) -> list[LedgerRun]:
        """The newest first. kind None: any. since_us: those that began then or later."""
        ...


class _PartTold(msgspec.Struct):
    partition: str
    verdict: str
    findings: list[dict[str, Any]]


class _TableTold(msgspec.Struct):
    table: str
    partitions: list[_PartTold]
    table_id: str | None = None


class _ReportTold(msgspec.Struct):
    """What is read of a run's report by whoever tells of it later."""

    exit: int | None = None
    verdict: str | None = None
    totals: dict[str, Any] | None = None
    tables: list[_TableTold] | None = None
    findings: list[dict[str, Any]] | None = None


def report_read(text: str | None) -> dict[str, Any] | None:
    """A run's report from where it was kept. None: it has none, or one that cannot be read any more: SQLite does not check what a row holds, and the archive's index proves
    bytes and no sense. Pure."""
    try:
        found = None if text is None else msgspec.json.decode(text, type=dict[str, Any])
        msgspec.convert(found, _ReportTold | None)
    except (ValueError, RecursionError):
        return None
    return found


def matched(proof: PartitionProof) -> bool:
    """It was equal to its reference in the end."""
    return proof.verdict == "match" or proof.healed


def last_verify(proofs: Sequence[PartitionProof]) -> tuple[int, str] | None:
    """When one partition's archive was verified last, and what stands: a mismatch does until a verify at its level or deeper has passed since. Pure.

    proofs: of that partition. None: it never was.
    """
    checks = [(LEVELS.index(one.depth), one) for one in proofs if one.depth in LEVELS]
    if not checks:
        return None
    passed = [(level, one.at_us) for level, one in checks if one.verdict == "match"]
    stands = any(
        one.verdict != "match" and not any(deep >= level and at_us >= one.at_us for deep, at_us in passed) for level, one in checks
    )
    return max(one.at_us for _, one in checks), "mismatch" if stands else "match"


def findings_of(report: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Every finding of a run's report, each with its table where the report names it; of a run that was cut off, none. Pure."""
    if report is None:
        return []
    tables = report.get("tables") or []
    inside = [{"table": table["table"], **found} for table in tables for part in table["partitions"] for found in part["findings"]]
    return inside + [dict(found) for found in report.get("findings") or []]


def level_rank(level: str) -> int:
    """1 for `listed` to 4 for `replayed`. Raises Invalid."""
    if level not in LEVELS:
        raise Invalid("unknown level", asked=level, found=", ".join(LEVELS))
    return LEVELS.index(level) + 1
