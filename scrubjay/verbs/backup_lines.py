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
            "because": document["detail"],
        }
    )
