"""Which moment, and which tables: from what was asked for to a choice that is proven for all of it, or to a refusal that says what would work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from scrubjay.archiver.format.fault import object_of
from scrubjay.base.errors import Corrupt, Missing, ScrubjayError, Unavailable, Unsafe
from scrubjay.base.times import FIRST_US, utc_text, utc_text_or_none
from scrubjay.pitr.recover.moment import Lost, NeededPart, begun, blocking, highest, lost_above, lost_at, lost_next, present, why_left_out
from scrubjay.pitr.recover.parent import Catalogue, Parent
from scrubjay.pitr.window import LIST_KEY
from scrubjay.storage.catalogue import TableMeta

STEPS_MAX = 1_000
"""Moments tried. Each step back is to another edge of what is proven."""
DAMAGED_MAX = 16
"""Objects of the metadata group's log that may turn out to be damaged before it is given up."""


class Choice(NamedTuple):
    """tables: what comes back, by name. empty: those of them that were only just being made. left_out: (table, why). pieces: what was proven of all that has content."""

    at_us: int
    catalogue: Catalogue
    tables: tuple[TableMeta, ...]
    empty: tuple[TableMeta, ...]
    left_out: tuple[tuple[TableMeta, str], ...]
    pieces: tuple[NeededPart, ...]


class Chooser:
    """only: names or ids of the tables that are wanted; none: all. now_us: this machine's clock."""

    def __init__(self, parent: Parent, *, only: Sequence[str], now_us: int) -> None:
        self._parent, self._only, self._now_us = parent, only, now_us

    async def choose(self, at_us: int | None) -> Choice:
        """at_us: that moment; None: the latest that is proven for everything.

        Raises Missing (a hole costs that moment, or later ones than could be had; `body`: the holes and a moment that works), Unsafe (the moment lies outside what
        is proven), Unavailable (ResourceNotFound: no such table), Corrupt.
        """
        system = self._parent.system_piece()
        latest = None if system.found is None else system.found.window.latest_us
        if latest is None:
            holes = [] if system.found is None else [Lost(self._parent.system, hole) for hole in system.found.window.holes]
            raise _refused(holes, at_us, None, "nothing is proven of the metadata group's log, which says what tables there were")
        if at_us is not None and at_us > max(self._now_us, latest):
            raise _refused([], at_us, await self.settle(latest), "the moment has not come yet")
        ahead_us = self._parent.ahead_of_clock()
        if at_us is None and ahead_us is not None:
            raise _clock_behind(ahead_us, self._now_us, await self.settle(latest))
        wanted = latest if at_us is None else at_us
        choice = await self.settle(wanted)
        system = self._parent.system_piece()  # anew: what was read and found bad is left out of it by now
        if at_us is not None and choice is not None and choice.at_us == wanted:
            return choice
        pieces = [system, *await self._wanted(wanted)]
        if at_us is not None:
            stuck = blocking(pieces, wanted)
            why = f"nothing proves {_names(stuck)} at that moment" if stuck else "not everything is proven at that moment"
            raise _refused(lost_at(pieces, wanted), wanted, choice or await self.settle(latest), why)
        if choice is None:
            raise _refused(lost_at(pieces, wanted), wanted, None, "there is no moment at which everything is proven")
        # A moment is looked for from what the metadata group proves: what it has lost behind that is no moment anybody could have hoped for, and is lost all the same.
        lost = lost_above(pieces, choice.at_us, end_us=wanted) or lost_next(system, choice.at_us)
        if lost:
            raise _refused(lost, None, choice, "a hole in the archive")
        return choice

    async def settle(self, at_us: int) -> Choice | None:
        """The last moment at or before `at_us` at which the catalogue, and all that it names and is wanted, is proven; None if there is none."""
        at: int | None = at_us
        damaged = 0
        for _ in range(STEPS_MAX):
            at = highest(self._parent.system_piece(), at) if at is not None and at >= FIRST_US else None
            if at is None:
                return None
            try:
                catalogue = await self._parent.catalogue(at)
            except (Corrupt, Missing) as error:
                damaged += 1
                if damaged > DAMAGED_MAX or object_of(error) is None:
                    raise
                continue
            found = self._choice(catalogue)
            if self._lacking(found):
                return None
            low = min((highest(piece, at) or FIRST_US for piece in found.pieces), default=at)
            if low == at:
                return found
            at = low
        return None

    async def _wanted(self, at_us: int) -> list[NeededPart]:
        """What would have to be proven at a moment, as far as the catalogue at it (or the last before it) says."""
        at = highest(self._parent.system_piece(), at_us)
        if at is None:
            return []
        choice = self._choice(await self._parent.catalogue(at))
        lacking = self._lacking(choice)
        if lacking:
            raise Unavailable(
                "no such table at that moment",
                error_code="ResourceNotFound",
                asked=", ".join(lacking),
                found=f"as of {utc_text(at)}: {', '.join(one.name for one in choice.catalogue.tables if present(one)) or 'no table'}",
                next="leave --table out, or give --at a moment at which it was there",
            )
        return list(choice.pieces)

    def _choice(self, catalogue: Catalogue) -> Choice:
        chosen = [table for table in catalogue.tables if not self._only or table.table_id in self._only or table.name in self._only]
        there = [table for table in chosen if why_left_out(table) is None]
        out = tuple((table, why) for table in chosen if (why := why_left_out(table)) is not None)
        pieces = tuple(self._parent.pieces(table for table in there if present(table)))
        return Choice(catalogue.at_us, catalogue, tuple(there), tuple(table for table in there if begun(table)), out, pieces)

    def _lacking(self, choice: Choice) -> list[str]:
        """Of the names and ids that are wanted, those that no table has at that moment."""
        known = {name for table in choice.tables for name in (table.name, table.table_id)}
        return [name for name in self._only if name not in known]


def hole_json(lost: Lost) -> dict[str, Any]:
    return {
        "table": lost.table.name,
        "table_id": lost.table.table_id,
        "partition": lost.hole.partition,
        "first_lsn": lost.hole.first_lsn,
        "last_lsn": lost.hole.last_lsn,
        "from": utc_text_or_none(lost.hole.from_us),
        "to": utc_text_or_none(lost.hole.to_us),
        "no_key": lost.hole.no_key,
    }


def _refused(lost: Sequence[Lost], asked_us: int | None, works: Choice | None, why: str) -> ScrubjayError:
    """With a hole: Missing (exit 2); else Unsafe (4): also where nothing is known to be gone, and only keys are lacking."""
    at = None if works is None else utc_text(works.at_us)
    step = "nothing in this archive can be recovered as it is" if at is None else f"scrubjay recover with --at {at}, which is proven"
    body = {"holes": [hole_json(one) for one in lost], "works_at": at}
    asked = "--latest" if asked_us is None else utc_text(asked_us)
    if lost:
        shown = "; ".join(
            f"table {one.table.name}, partition {one.hole.partition}, LSN {one.hole.first_lsn} to {one.hole.last_lsn}" for one in lost[:4]
        )
        more = f"; and {len(lost) - 4} more" if len(lost) > 4 else ""
        no_key = next((one.hole.no_key for one in lost if one.hole.no_key is not None), None)
        if no_key is not None and all(one.hole.no_key is not None for one in lost):
            return Unsafe(no_key, asked=asked, found=shown + more, next=f"{LIST_KEY}; or {step}" if at else LIST_KEY, body=body)
        return Missing(
            "the archive has a hole where this moment needs it", what="segment", asked=asked, found=shown + more, next=step, body=body
        )
    return Unsafe(f"outside what the archive proves: {why}", asked=asked, found=f"proven up to {at}" if at else None, next=step, body=body)


def _clock_behind(ahead_us: int, now_us: int, works: Choice | None) -> Unsafe:
    """What lies ahead of this clock is not believed: the latest moment would be one of long ago, and everything since be lost without a word."""
    at = None if works is None else utc_text(works.at_us)
    return Unsafe(
        "the archive holds records that are ahead of this machine's clock: which moment is the latest cannot be told here",
        asked="--latest",
        found=f"records of {utc_text(ahead_us)}, and this clock says {utc_text(now_us)}",
        next="set this machine's clock right"
        + (f"; or say with --at which moment it shall be (proven, by this clock, up to {at})" if at else ""),
        body={"holes": [], "works_at": at},
    )


def _names(pieces: Sequence[NeededPart]) -> str:
    return ", ".join(dict.fromkeys(piece.table.name for piece in pieces[:4])) + (" and others" if len(pieces) > 4 else "")
