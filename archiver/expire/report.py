"""A plan, and what a run made of it, as plain data (INTERFACE section 3, `expire`). Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from scrubjay.archiver.coverage import table_window
from scrubjay.archiver.expire.lived import Lived
from scrubjay.archiver.expire.plan import Held, PartPlan, Wanted
from scrubjay.archiver.facts import Window
from scrubjay.archiver.format.fault import Fault
from scrubjay.base.times import utc_text, utc_text_or_none

LIVED = Lived(0)
DONE, FAILED, INCOMPLETE, REFUSED = 0, 1, 3, 4


@dataclass(slots=True)
class PartOutcome:
    """What a run did with one partition. deleted, freed: objects and bytes. held, refused: beside what the plan says, what the run met. error: why it ended."""

    plan: PartPlan
    deleted: int = 0
    freed: int = 0
    held: list[Held] = field(default_factory=list)
    refused: str | None = None
    error: str | None = None

    @property
    def nothing_left(self) -> bool:
        """All of it was to go, and by this look had gone before."""
        quiet = self.error is None and self.refused is None and not self.held
        return quiet and self.plan.whole and not self.plan.lsn and not self.plan.objects and not self.plan.held


@dataclass(slots=True)
class LockOutcome:
    """What was done about locks that end before their objects may go. due: objects of which that is so, as far as is known. asked: of the store. failed: could not be
    extended; error: why the first could not. gave_up: no more was asked of the store. all: nothing was left out."""

    due: int = 0
    asked: int = 0
    failed: int = 0
    error: str | None = None
    gave_up: bool = False
    all: bool = True

    @property
    def complete(self) -> bool:
        """Everything that was due was asked for."""
        return self.all and self.error is None

    def as_json(self) -> dict[str, Any]:
        return {"due": self.due, "asked": self.asked, "failed": self.failed, "error": self.error}


@dataclass(slots=True)
class ExpireReport:
    """keep_us: what was asked for, None: each table's own. closed: closed objects that go, with their bytes; closed_deleted: that went. ran: or only planned.
    foreign: tables of the archive that the catalogue does not know. lived: how much of the time nobody saw pass. attended: see Expirer.
    unread: what lies below `pins/` and cannot be read, so that nothing may go. locks: None: this store locks nothing. cut: why the run ended in front of `left`, None: it went through."""

    now_us: int
    keep_us: int | None
    ran: bool
    outcomes: list[PartOutcome] = field(default_factory=list)
    closed: tuple[tuple[str, int], ...] = ()
    closed_deleted: int = 0
    foreign: tuple[str, ...] = ()
    error: str | None = None
    lived: Lived = LIVED
    attended: bool = False
    unread: tuple[Fault, ...] = ()
    cut: str | None = None
    left: tuple[Wanted, ...] = ()
    locks: LockOutcome | None = None

    @property
    def dated_us(self) -> int:
        """The time by which things are old: now, less what nobody vouches for."""
        return self.now_us - (0 if self.attended else self.lived.unlived_us)

    @property
    def complete(self) -> bool:
        """Every partition was looked at."""
        return not self.doubted and self.error is None and self.cut is None and not any(one.error for one in self.outcomes)

    @property
    def doubted(self) -> bool:
        """Nobody vouches for the clock, and what the archive witnesses does not either."""
        return self.lived.doubt is not None and not self.attended

    @property
    def exit(self) -> int:
        """1: the store did not answer, or a fault of ours, whatever else was found; 4: something old must stay because taking it away would be unsafe; 3: the
        store kept something that was to go, or did not lock what must stay."""
        if self.error is not None or any(one.error for one in self.outcomes):
            return FAILED
        if self.doubted or self.unread or any(one.plan.refused or one.refused for one in self.outcomes):
            return REFUSED
        left = any(one.held for one in self.outcomes) or self.closed_deleted < len(self.closed)
        unlocked = self.locks is not None and self.locks.error is not None
        return INCOMPLETE if self.ran and (left or unlocked) else DONE

    def as_json(self) -> dict[str, Any]:
        tables: dict[str, list[PartOutcome]] = {}
        for one in self.outcomes:
            tables.setdefault(one.plan.wanted.table, []).append(one)
        errors = [one.error for one in self.outcomes if one.error] + ([self.error] if self.error else [])
        return {
            "exit": self.exit,
            "error": self._error(errors),
            "ran": self.ran,
            "at": utc_text(self.now_us),
            "unlived_seconds": self.lived.unlived_us // 1_000_000,
            "clock": self.lived.doubt,
            "tables": [_table(some) for _, some in sorted(tables.items(), key=lambda one: (one[1][0].plan.wanted.table_name, one[0]))],
            "closed": {"objects": len(self.closed), "bytes": sum(size for _, size in self.closed), "deleted": self.closed_deleted},
            "foreign": list(self.foreign),
            "locks": None if self.locks is None else self.locks.as_json(),
            "cut": self.cut,
            "left": len(self.left),
            "totals": {
                "objects": sum(len(one.plan.objects) for one in self.outcomes) + len(self.closed),
                "bytes": sum(one.plan.bytes for one in self.outcomes) + sum(size for _, size in self.closed),
                "deleted": sum(one.deleted for one in self.outcomes) + self.closed_deleted,
                "freed": sum(one.freed for one in self.outcomes),
            },
        }

    def _error(self, errors: Sequence[str]) -> dict[str, Any] | None:
        if errors:
            code, message, then = "Unavailable", errors[0], "run it again: it goes on where it ended"
        elif self.doubted:
            code, message, then = (
                "Unsafe",
                str(self.lived.doubt),
                "see to the clock; if it is right, nothing is to be done: what is kept too long goes later",
            )
        elif self.unread:
            bad = self.unread[0]
            more = f", and {len(self.unread) - 1} more" if len(self.unread) > 1 else ""
            code, then = "Unsafe", "runbooks/retention-stopped.md"
            message = f"a pin cannot be read, and nobody knows what it keeps: nothing may go: {bad.object}: {bad.detail}{more}"
        else:
            return None
        return {"code": code, "message": message, "asked": None, "found": None, "next": then}


def _table(some: Sequence[PartOutcome]) -> dict[str, Any]:
    first = some[0].plan
    windows = [one.plan.window for one in some]
    before = table_window(windows)
    after = table_window([Window(one.plan.earliest_us, one.plan.window.latest_us if not one.plan.whole else None, ()) for one in some])
    refused = [text for one in some for text in (one.plan.refused, one.refused) if text]
    return {
        "table": first.wanted.table_name,
        "table_id": first.wanted.table,
        "dropped_at": utc_text_or_none(first.wanted.dropped_at_us),
        "keep_seconds": first.wanted.keep_us // 1_000_000,
        "keep_from": utc_text(first.keep_from_us),
        "objects": sum(len(one.plan.objects) for one in some),
        "bytes": sum(one.plan.bytes for one in some),
        "deleted": sum(one.deleted for one in some),
        "window": _window(before),
        "window_after": _window(after),
        "held": [_held(one.plan.wanted.partition, held) for one in some for held in (*one.plan.held, *one.held)],
        "refused": refused[0] if refused else None,
        "partitions": [_part(one) for one in some],
    }


def _held(partition: str, held: Held) -> dict[str, Any]:
    return {
        "partition": partition,
        "by": held.by,
        "name": held.name,
        "detail": held.detail,
        "until": utc_text_or_none(held.until_us),
        "objects": held.objects,
        "bytes": held.bytes,
    }


def _part(one: PartOutcome) -> dict[str, Any]:
    plan = one.plan
    return {
        "partition": plan.wanted.partition,
        "up_to_lsn": plan.lsn or None,
        "base_lsn": plan.base.lsn if plan.base is not None else None,
        "whole": plan.whole,
        "objects": len(plan.objects),
        "bytes": plan.bytes,
        "deleted": one.deleted,
        "refused": plan.refused or one.refused,
        "error": one.error,
    }


def _window(window: Window) -> dict[str, Any]:
    return {"earliest": utc_text_or_none(window.earliest_us), "latest": utc_text_or_none(window.latest_us)}
