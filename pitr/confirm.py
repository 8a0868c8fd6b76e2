"""The proofs before a table is published, or an export called one. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from scrubjay.base.errors import Corrupt
from scrubjay.base.ids import Lsn, NodeName
from scrubjay.storage.log.digest import Total


def faults_of(partition: str, proven: Total, copies: Mapping[NodeName, Total]) -> list[str]:
    """The copies that are not what the rebuild proved, by digest or by row count. Pure."""
    return [
        f"{partition} on {node}: {found.rows} rows, {found.hex} instead of {proven.rows} rows, {proven.hex}"
        for node, found in sorted(copies.items())
        if found.sum != proven.sum or found.rows != proven.rows
    ]


def check_proven(proven: Lsn, to_lsn: int) -> None:
    """proven: LSN of the last seal on which a rebuild was checked. to_lsn: of the one that its plan ends with. Raises Corrupt."""
    if proven < to_lsn:
        raise Corrupt("the rebuild ended before the seal that proves it", what="rows", lsn=to_lsn, found=proven)
