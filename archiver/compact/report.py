"""A plan, and what a run made of it, as plain data. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from scrubjay.archiver.compact.plan import PackedPlace, PackPlan
from scrubjay.archiver.expire.plan import Held
from scrubjay.archiver.format.fault import Fault
from scrubjay.base.times import utc_text, utc_text_or_none

DONE, FAILED, FOUND, INCOMPLETE, REFUSED = 0, 1, 2, 3, 4


@dataclass(slots=True)
class PackOutcome:
    """What a run did with one partition. packs, packed: made, and segments in them. named: packs whose manifest was gone or bad and was written anew. deleted, freed: objects and bytes that a pack took the place of. faults: what was found bad on the way.
    held: what stays for now, and why. error: why it ended."""

    plan: PackPlan
    packs: int = 0
    packed: int = 0
    named: int = 0
    deleted: int = 0
    freed: int = 0
    faults: list[Fault] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    error: str | None = None


@dataclass(slots=True)
class PackReport:
    """ran: or only planned. cut: why the run ended in front of `left`, None: it went through. bytes: read from the archive."""

    now_us: int
    ran: bool
    outcomes: list[PackOutcome] = field(default_factory=list)
    cut: str | None = None
    left: tuple[PackedPlace, ...] = ()
    bytes: int = 0

    @property
    def exit(self) -> int:
        """2: an object is bad; 1: the store did not answer, or a fault of ours; 4: refused, because something is amiss with a partition; 3: something stays for now."""
        if any(one.faults for one in self.outcomes):
            return FOUND
        if any(one.error for one in self.outcomes):
            return FAILED
        if any(one.plan.refused for one in self.outcomes):
            return REFUSED
        return INCOMPLETE if self.ran and any(one.held for one in self.outcomes) else DONE

    def as_json(self) -> dict[str, Any]:
        tables: dict[str, list[PackOutcome]] = {}
        for one in self.outcomes:
            tables.setdefault(one.plan.place.table, []).append(one)
        errors = [one.error for one in self.outcomes if one.error]
        return {
            "exit": self.exit,
            "error": _error(errors[0]) if errors else None,
            "ran": self.ran,
            "at": utc_text(self.now_us),
            "tables": [_table(some) for _, some in sorted(tables.items(), key=lambda one: (one[1][0].plan.place.table_name, one[0]))],
            "cut": self.cut,
            "left": len(self.left),
            "totals": _totals(self.outcomes),
        }


def _error(message: str) -> dict[str, Any]:
    return {"code": "Unavailable", "message": message, "asked": None, "found": None, "next": "run it again: it goes on where it ended"}


def _totals(some: Sequence[PackOutcome]) -> dict[str, int]:
    return {
        "segments": sum(one.plan.segments for one in some),
        "packs": sum(len(one.plan.runs) for one in some),
        "raw_bytes": sum(one.plan.raw_bytes for one in some),
        "objects_saved": sum(one.plan.saved for one in some),
        "made": sum(one.packs for one in some),
        "packed": sum(one.packed for one in some),
        "named": sum(one.named for one in some),
        "unnamed": sum(len(one.plan.nameless) for one in some),
        "not_packed": sum(one.plan.packable for one in some),
        "deleted": sum(one.deleted for one in some),
        "freed": sum(one.freed for one in some),
    }


def _table(some: Sequence[PackOutcome]) -> dict[str, Any]:
    place = some[0].plan.place
    refused = [one.plan.refused for one in some if one.plan.refused]
    plans = [one.plan.held for one in some if one.plan.held is not None]
    return {
        "table": place.table_name,
        "table_id": place.table,
        **_totals(some),
        "refused": refused[0] if refused else None,
        "held": [_held(one) for one in (*plans, *(held for one in some for held in one.held))],
        "findings": [one._asdict() for some_one in some for one in some_one.faults],
    }


def _held(one: Held) -> dict[str, Any]:
    return {**one._asdict(), "until": utc_text_or_none(one.until_us)}
