"""The operations by name. An operation of the real API that is not in this table answers UnknownOperationException."""

from __future__ import annotations

from scrubjay.storage.api.operations import (
    backups,
    batch,
    items,
    query,
    resource_policies,
    scan,
    statement_transactions,
    statements,
    streams,
    table_backups,
    table_exports,
    table_extras,
    table_imports,
    tables,
    tags,
    time_to_live,
    transactions,
)
from scrubjay.storage.api.operations.operation import Operation

OPERATIONS: dict[str, Operation] = {
    **tables.OPERATIONS,
    **tags.OPERATIONS,
    **items.OPERATIONS,
    **batch.OPERATIONS,
    **query.OPERATIONS,
    **scan.OPERATIONS,
    **statements.OPERATIONS,
    **statement_transactions.OPERATIONS,
    **backups.OPERATIONS,
    **table_backups.OPERATIONS,
    **table_exports.OPERATIONS,
    **table_imports.OPERATIONS,
    **table_extras.OPERATIONS,
    **time_to_live.OPERATIONS,
    **resource_policies.OPERATIONS,
    **transactions.OPERATIONS,
}

STREAM_OPERATIONS = streams.STREAM_OPERATIONS

__all__ = ["OPERATIONS", "STREAM_OPERATIONS", "Operation"]
