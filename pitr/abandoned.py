"""Restores that were cancelled: what they had put into the archive by then is of a table that nobody knows. A note in the metadata group, `abandoned/<table id>`,
says that it was ours, so that retention takes it away when it is as old as everything else (`server/expiry.py`)."""

from __future__ import annotations

from typing import Any

import msgspec

from scrubjay.storage.catalogue import TableMeta

PREFIX = "abandoned/"


class AbandonedTable(msgspec.Struct, frozen=True):
    """A target that was never published. at_us: when it was given up."""

    name: str
    at_us: int
    partitions: tuple[str, ...]


def abandoned(table: TableMeta, *, at_us: int) -> AbandonedTable:
    return AbandonedTable(table.name, at_us, tuple(info.partition_id for info in table.partitions))


def load_abandoned(notes: dict[str, Any]) -> AbandonedTable | None:
    """None: malformed, and left alone."""
    try:
        return msgspec.convert(notes, AbandonedTable)
    except msgspec.ValidationError:
        return None
