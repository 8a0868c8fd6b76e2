"""What the `backup` verbs share: the fields of a backup, and how people see one."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from scrubjay.text import facts, plural
from scrubjay.units import human_size

TEMPLATE: Mapping[str, Any] = {
    "backup": None,
    "backup_id": None,
    "table": None,
    "table_id": None,
    "table_dropped_at": None,
    "at": None,
    "created": None,
    "state": None,
    "detail": None,
    "rows": None,
    "bytes": None,
    "ends": None,
}


def which(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="its name; or its id or ARN, where several have that name")


def lines(document: Mapping[str, Any]) -> Sequence[str]:
    """One backup for people."""
    dropped = f" (dropped {document['table_dropped_at']})" if document["table_dropped_at"] else ""
    return facts(
        {
            str(document["state"]): document["backup"],
            "id": document["backup_id"],
            "of": f"{document['table']}{dropped}",
            "as of": document["at"],
            "made": document["created"],
            "held then": f"{plural(document['rows'], 'row')}, {human_size(document['bytes'])}" if document["rows"] is not None else None,
            "proven by": _ends(document["ends"]),
            "because": document["detail"],
        }
    )


def _ends(ends: Sequence[Mapping[str, Any]] | None) -> str | None:
    """What tells its bytes from any others; of many partitions the first, the rest is in the JSON."""
    if not ends:
        return None
    more = f", and {plural(len(ends) - 1, 'partition')} more" if len(ends) > 1 else ""
    return f"chain {ends[0]['chain'][:16]} at LSN {ends[0]['lsn']}{more}"
