"""What a request is told of a table that is dropped, by its log and by whoever routes."""

from __future__ import annotations

from scrubjay.base.errors import Missing


def dropped(name: str) -> Missing:
    """A log that ended with its table takes nothing more and shows nothing more. name: of the table."""
    return Missing("the table is dropped: its log takes nothing more", what="table", table=name)


def is_dropped(answer: object) -> bool:
    """Whether that is it. Every copy that knows the end says so, and none that does not will say more."""
    return isinstance(answer, Missing) and answer.fields.get("what") == "table"
