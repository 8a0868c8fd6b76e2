"""At which one moment everything that is wanted can be rebuilt, by what coverage proves of each partition. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from scrubjay.archiver.facts import Coverage, Hole, RestorableRun
from scrubjay.storage.catalogue import METADATA_TABLE, PartitionInfo, TableMeta, parent_of

YOUNG_US = 60_000_000
"""A table of which nothing is in the archive, made so shortly before the end: its log was on its way. An older one was archived, and that is gone."""


class NeededPart(NamedTuple):
    """A partition that must be proven at the moment. found: what coverage says of it, None if the archive says nothing of it."""

    table: TableMeta
    info: PartitionInfo
    found: Coverage | None


class Lost(NamedTuple):
    """A hole that keeps a moment from being proven."""

    table: TableMeta
    hole: Hole


def present(table: TableMeta) -> bool:
    """The table has content at the moment of its catalogue entry: it serves, and is neither being made, nor restored, nor dropped."""
    return table.status in ("ACTIVE", "UPDATING") and not (table.restore_of is not None and table.restore_of.in_progress)


def begun(table: TableMeta) -> bool:
    """It was created and nothing was written to it yet: it comes back empty."""
    return table.status == "CREATING" and table.restore_of is None


def why_left_out(table: TableMeta) -> str | None:
    """Why a table of the catalogue does not come back; None if it does."""
    if present(table) or begun(table):
        return None
    return "dropped" if table.status in ("DELETING", "DROPPED") else "a restore to it was under way: nothing had been published"


def highest(piece: NeededPart, at_us: int) -> int | None:
    """The last moment at or before `at_us` at which this piece stands in nobody's way: proven, or in front of its beginning: a child's of a split, where its parent counts, a table's at its creation. None:
    there is none."""
    best = max((min(at_us, run.high_us) for run in _runs(piece) if run.low_us <= at_us), default=None)
    if best is not None or piece.table.name == METADATA_TABLE:
        return best
    return min(at_us, _begins_us(piece) - 1)


def blocking(pieces: Iterable[NeededPart], at_us: int) -> list[NeededPart]:
    """Those that are not proven at that moment."""
    return [piece for piece in pieces if not any(run.low_us <= at_us <= run.high_us for run in _runs(piece))]


def lost_at(pieces: Iterable[NeededPart], at_us: int) -> list[Lost]:
    """The holes that cost this moment."""
    return [
        Lost(piece.table, hole)
        for piece in blocking(pieces, at_us)
        for hole in _holes(piece, at_us)
        if (hole.from_us is None or hole.from_us < at_us) and (hole.to_us is None or hole.to_us > at_us)
    ]


def lost_above(pieces: Iterable[NeededPart], at_us: int, *, end_us: int) -> list[Lost]:
    """The holes that cost moments behind `at_us`: without them a later one would have been proven. end_us: the moment that was hoped for."""
    return [
        Lost(piece.table, hole)
        for piece in pieces
        if highest(piece, end_us) != end_us
        for hole in _holes(piece, end_us)
        if hole.to_us is None or hole.to_us > at_us
    ]


def lost_next(piece: NeededPart, at_us: int) -> list[Lost]:
    """The holes in front of which the moment lies: what this piece proves would go on behind it, but for them."""
    return [
        Lost(piece.table, hole)
        for hole in _holes(piece, at_us)
        if hole.from_us is not None and hole.from_us <= at_us and (hole.to_us is None or hole.to_us > at_us)
    ]


def _begins_us(piece: NeededPart) -> int:
    """The first moment at which its partition was there."""
    parent = parent_of(piece.table, piece.info.partition_id)
    return piece.table.created_at if parent is None else parent.closed_us + 1


def _runs(piece: NeededPart) -> Sequence[RestorableRun]:
    return [] if piece.found is None else [run for run in piece.found.runs if run.low_us <= run.high_us]


def _holes(piece: NeededPart, at_us: int) -> Sequence[Hole]:
    if piece.found is not None and piece.found.end > 0:
        return piece.found.window.holes
    # Nothing of it ever arrived, as far as anybody says: a closed point, or a base with no log on it, proves no moment.
    if at_us - _begins_us(piece) < YOUNG_US:
        return ()
    return (Hole(piece.info.partition_id, 1, 1, None, None),)
