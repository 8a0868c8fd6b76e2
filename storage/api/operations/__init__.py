"""The operations by name. An operation of the real API that is not in this table answers UnknownOperationException."""

from __future__ import annotations

from scrubjay.storage.api.operations import (
    backups,
    batch,
    items,
    query,
    scan,
    table_backups,
    table_exports,
    table_extras,
    table_imports,
    tables,
    tags,
    time_to_live,
)
from scrubjay.storage.api.operations.operation import Operation

OPERATIONS: dict[str, Operation] = {
    **tables.OPERATIONS,
    **tags.OPERATIONS,
    **items.OPERATIONS,
    **batch.OPERATIONS,
    **query.OPERATIONS,
    **scan.OPERATIONS,
    **backups.OPERATIONS,
    **table_backups.OPERATIONS,
    **table_exports.OPERATIONS,
    **table_imports.OPERATIONS,
    **table_extras.OPERATIONS,
    **time_to_live.OPERATIONS,
}

__all__ = ["OPERATIONS", "Operation"]
