"""What `verify` is asked and what it answers (INTERFACE section 3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from scrubjay.archiver.read.index import AHEAD_US, KnownArchived
from scrubjay.base.errors import ScrubjayError

GONE = ("ArchiveGone", "BucketMissing")
"""Error codes of stores whose folder or bucket is not there."""


class Memory(Protocol):
    """What was once proven to be there (a ledger)."""

    async def partitions(self, cluster: str) -> list[tuple[str, str]]:
        """(table, partition) of every partition with an object that was ever proven."""
        ...

    async def objects(self, prefix: str) -> list[str]:
        """Keys that begin with `prefix` and were ever proven."""
        ...


class ArchiveFinding(NamedTuple):
    """kind: `unreadable` (its bytes fail a check) | `hole` (it is gone; `object` is the name it should have, null if that cannot be known) | `forged` (its
    sums fit, its content does not). table, partition: None outside a partition. lsn: first record concerned."""

    kind: str
    object: str | None
    lsn: int | None
    segment: str | None
    table: str | None
    partition: str | None
    detail: str

    def as_json(self) -> dict[str, Any]:
        """With the fields that every finding has (INTERFACE section 3)."""
        return {
            "kind": self.kind,
            "copy": "archive",
            "key": None,
            "object": self.object,
            "lsn": self.lsn,
            "segment": self.segment,
            "found_by": "verify",
            "action": "none",
            "partition": self.partition,
            "table_id": self.table,
            "detail": self.detail,
        }


@dataclass(slots=True)
class VerifyReport:
    """complete: everything asked for was looked at and all that was found is told; else `reason` says why not (budget_spent, too_many_findings, archive_gone,
    or what `VerifyOptions.stop` said). covered: (table, partition) looked at whole before that. verdict: match | mismatch | unverified."""

    cluster: str
    level: str
    end_checked: bool
    checked: int = 0
    skipped_fresh: int = 0
    failed: int = 0
    bytes: int = 0
    complete: bool = True
    reason: str | None = None
    findings: list[ArchiveFinding] = field(default_factory=list)
    covered: list[tuple[str, str]] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        if self.findings:
            return "mismatch"
        return "match" if self.complete else "unverified"

    @property
    def exit(self) -> int:
        return {"match": 0, "mismatch": 2, "unverified": 3}[self.verdict]

    def as_json(self) -> dict[str, Any]:
        return {
            "cluster": self.cluster,
            "level": self.level,
            "verdict": self.verdict,
            "reason": self.reason,
            "objects": {"checked": self.checked, "skipped_fresh": self.skipped_fresh, "failed": self.failed},
            "bytes": self.bytes,
            "end_checked": self.end_checked,
            "findings": [finding.as_json() for finding in self.findings],
            "exit": self.exit,
        }


@dataclass(frozen=True, slots=True)
class VerifyOptions:
    """cluster: None picks the one there is. table: id, None for all. budget_us: of the clock that `now_us` reads; None: no end.

    archived: what the cluster says is archived, it must be there; None: offline. expected: keys of objects that are known to have been written.
    stop(bytes read): why the run must end here, None: it goes on. members: numbers of the nodes there are, None: not known.
    noted(): keys of the backups' pins that somebody remembers, asked before they are listed and after.
    first: (table, partition), to be looked at before all others, in this order.
    parallel: partitions looked at at once, where there are workers that do it.
    wall_us: the time of day, asked for each object: what was written while the run went on is not ahead of it; None: no timestamp is called untrue.
    ahead_us: how far clocks may be apart.
    """

    level: str = "records"
    cluster: str | None = None
    table: str | None = None
    budget_us: int | None = None
    archived: Sequence[KnownArchived] | None = None
    expected: Sequence[str] = ()
    members: frozenset[int] | None = None
    wall_us: Callable[[], int] | None = None
    ahead_us: int = AHEAD_US
    stop: Callable[[int], str | None] | None = None
    first: Sequence[tuple[str, str]] = ()
    noted: Callable[[], Sequence[str]] = tuple
    parallel: int = 1


def is_gone(error: ScrubjayError) -> bool:
    """The store answers, and the place where the archive was is not there any more (a folder moved away, a bucket deleted)."""
    return error.fields.get("error_code") in GONE
