"""The proof before a table is published. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from scrubjay.base.ids import NodeName
from scrubjay.storage.log.digest import Total


def faults_of(partition: str, proven: Total, copies: Mapping[NodeName, Total]) -> list[str]:
    """The copies that are not what the rebuild proved, by digest or by row count. Pure."""
    return [
        f"{partition} on {node}: {found.rows} rows, {found.hex} instead of {proven.rows} rows, {proven.hex}"
        for node, found in sorted(copies.items())
        if found.sum != proven.sum or found.rows != proven.rows
    ]
