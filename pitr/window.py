"""A table's proven window as a restore sees it and prints it: bounds of a target, notes, refusals. Pure. The window itself is `archiver.coverage`'s."""

from __future__ import annotations

import msgspec

from scrubjay.archiver.read.archive_status import hole_json
from scrubjay.base.errors import NO_KEY, Missing, Unsafe
from scrubjay.base.hlc import stamp_micros
from scrubjay.base.ids import Stamp
from scrubjay.base.times import utc_text, utc_text_or_none
from scrubjay.pitr.archive import TableArchive
from scrubjay.pitr.job import WindowNote
from scrubjay.pitr.target import Bounds, Reach, RestoreTarget, reach, resolve
from scrubjay.storage.catalogue import TableMeta

LIST_KEY = "list the key in encryption.keys (runbooks/key-lost.md)"
"""What to do where nothing but a key is lacking."""
_INSIDE = "choose a moment inside the window"


def bounds_of(source: TableMeta, seen: TableArchive) -> Bounds:
    """Between which moments a target may lie. Pure."""
    ends_us = max((stamp_micros(Stamp(final.stamp)) for final in source.finals), default=None)
    return Bounds(seen.window.earliest_us, seen.window.latest_us, source.dropped_at is not None, ends_us)


def window_note(seen: TableArchive) -> WindowNote:
    """The window as it is printed."""
    holes = [hole_json(hole) for hole in seen.window.holes]
    return WindowNote(utc_text_or_none(seen.window.earliest_us), utc_text_or_none(seen.window.latest_us), holes)


def resolve_in(asked: RestoreTarget, window: Bounds, shown: WindowNote, now_us: int) -> int:
    """`pitr.target.resolve` with the window in the refusal."""
    try:
        return resolve(asked, window, now_us=now_us)
    except Unsafe as error:
        raise explained(error, shown) from None


def reach_in(at_us: int, window: Bounds, shown: WindowNote, *, now_us: int) -> Reach:
    """`pitr.target.reach` with the window in the refusal."""
    try:
        return reach(at_us, window, now_us=now_us)
    except Unsafe as error:
        raise explained(error, shown) from None


def in_a_hole(error: Missing, shown: WindowNote, *, at_us: int) -> Unsafe:
    """A moment that a plan cannot reach because something is absent in front of it: it is outside the window."""
    return explained(Unsafe(f"outside the restorable window: {error.message}", **{**error.fields, "asked": at_us}), shown)


def window_text(shown: WindowNote) -> str:
    if shown.earliest is None or shown.latest is None:
        return "no proven window yet"
    return f"proven window {shown.earliest} to {shown.latest}"


def explained(error: Unsafe, shown: WindowNote) -> Unsafe:
    fields = {name: value for name, value in error.fields.items() if name not in ("earliest", "latest")}
    asked = fields.pop("asked", None)
    return Unsafe(
        error.message,
        **fields,
        asked=None if asked is None else utc_text(asked),
        found=window_text(shown),
        next=f"{LIST_KEY}, or {_INSIDE}" if fields.get("kind") == NO_KEY else _INSIDE,
        body={"at": None if asked is None else utc_text(asked), "window": msgspec.to_builtins(shown)},
    )
