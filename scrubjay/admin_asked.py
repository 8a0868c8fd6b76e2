"""How a question to the admin API is read: its JSON body, the table it names, and what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeVar

import msgspec

from scrubjay.base.http_values import Request
from scrubjay.base.times import utc_text
from scrubjay.output import FAILED, USAGE, VerbFailure
from scrubjay.storage.catalogue import TableMeta

TABLE_NAME = re.compile(r"[a-zA-Z0-9_.-]{3,255}")
T = TypeVar("T")


def resolve_table(tables: Sequence[TableMeta], text: str) -> TableMeta:
    """A table by id; else the live one of that name; else the one dropped table that had it. Raises Failure: ResourceNotFound (1), Ambiguous (64)."""
    for table in tables:
        if table.table_id == text:
            return table
    named = [table for table in tables if table.name == text]
    live = [table for table in named if table.dropped_at is None]
    if len(live) == 1 or (not live and len(named) == 1):
        return (live or named)[0]
    if not named:
        raise VerbFailure(
            "no such table",
            code="ResourceNotFound",
            exit_code=FAILED,
            asked=f"table {text}",
            found="neither a name nor an id",
            next_step="scrubjay archive status lists all tables",
        )
    ids = ", ".join(f"{table.table_id} (dropped {utc_text(table.dropped_at)})" for table in named if table.dropped_at is not None)
    raise VerbFailure(
        "several dropped tables had that name",
        code="Ambiguous",
        exit_code=USAGE,
        asked=f"table {text}",
        found=ids,
        next_step="say which by its id",
    )


def body_of(request: Request, kind: type[T]) -> T:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise usage("a JSON body is needed", asked=request.path, found=request.headers.get("content-type", "no content type"))
    try:
        return msgspec.json.decode(request.body, type=kind)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise usage("the request is not understood", asked=request.path, found=str(error)) from None


def usage(message: str, *, asked: str | None = None, found: str | None = None, next_step: str = "docs/ADMIN.md") -> VerbFailure:
    return VerbFailure(message, code="Usage", exit_code=USAGE, asked=asked, found=found, next_step=next_step)


def check_name(text: str, whose: str, asked: str) -> None:
    """Raises Failure unless it can name a table, or a backup."""
    if not TABLE_NAME.fullmatch(text):
        raise usage(f"not {whose} name", asked=asked, found="names have 3 to 255 of a-z, A-Z, 0-9, _ . -", next_step="give another name")
