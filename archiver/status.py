"""`archive status`: every table's proven window and what it rests on (INTERFACE section 3). Pure: facts in, the answer's fields out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from archiver.index import ArchiveIndex, PartitionIndex
from archiver.window import Hole, Window, table_window

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class TableFacts(NamedTuple):
    """What the cluster says of a table; of one that only the archive knows (offline), partitions are those found there.

    attestations: segments by number of members that attested (1, 2, 3), None: not known here (then the manifests' members count).
    """

    table_id: str
    name: str
    partitions: tuple[str, ...]
    dropped_at_us: int | None = None
    unarchived_bytes: int | None = None
    attestations: Mapping[int, int] | None = None


class StoreFacts(NamedTuple):
    url: str
    reachable: bool
    last_error: str | None


def time_text(micros: int | None) -> str | None:
    """RFC 3339 in UTC with microseconds."""
    if micros is None:
        return None
    return (_EPOCH + timedelta(microseconds=micros)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def tables_in(index: ArchiveIndex) -> list[TableFacts]:
    """The tables that the archive itself knows, sorted by id."""
    partitions: dict[str, list[PartitionIndex]] = {}
    for (table, _), found in sorted(index.partitions.items()):
        partitions.setdefault(table, []).append(found)
    return [
        TableFacts(table, next((one.table_name for one in some if one.table_name), ""), tuple(one.partition for one in some))
        for table, some in partitions.items()
    ]


def window_of_table(index: ArchiveIndex, table: TableFacts) -> Window:
    """The proven window of a table: every partition of it counts, one without any object proves nothing."""
    found = [index.partitions.get((table.table_id, partition)) for partition in table.partitions]
    return table_window([one.window() if one is not None else Window(None, None, ()) for one in found])


def table_status(index: ArchiveIndex, table: TableFacts, *, now_us: int) -> dict[str, Any]:
    """One entry of `tables[]`."""
    window = window_of_table(index, table)
    mine = [index.partitions[key] for key in sorted(index.partitions) if key[0] == table.table_id]
    entries = [entry for one in mine for entry in one.entries.values()]
    attested = table.attestations if table.attestations is not None else _by_members(min(entry.members, 3) for entry in entries)
    return {
        "table": table.name,
        "table_id": table.table_id,
        "dropped_at": time_text(table.dropped_at_us),
        "window": {
            "earliest": time_text(window.earliest_us),
            "latest": time_text(window.latest_us),
            "holes": [hole_json(hole) for hole in window.holes],
        },
        "lag_seconds": None if window.latest_us is None else round(max(now_us - window.latest_us, 0) / 1e6, 3),
        "unarchived_bytes": table.unarchived_bytes,
        "segments": len(entries),
        "bytes_stored": sum(size for one in mine for size in one.sizes.values()) + sum(one.base_bytes for one in mine),
        "bytes_raw": sum(entry.raw for entry in entries),
        "attestations": {str(number): attested.get(number, 0) for number in (1, 2, 3)},
    }


def hole_json(hole: Hole) -> dict[str, Any]:
    return {
        "partition": hole.partition,
        "first_lsn": hole.first_lsn,
        "last_lsn": hole.last_lsn,
        "from": time_text(hole.from_us),
        "to": time_text(hole.to_us),
    }


def archive_status(
    index: ArchiveIndex, *, tables: Sequence[TableFacts], store: StoreFacts, now_us: int, lag_alarm_s: float
) -> dict[str, Any]:
    """The whole answer without `schema` and `error`; `exit` as INTERFACE has it: 1 store unreachable, 2 a hole, 3 no proven window or lag above the alarm."""
    entries = [table_status(index, table, now_us=now_us) for table in tables]
    return {
        "tables": entries,
        "store": {"url": store.url, "reachable": store.reachable, "last_error": store.last_error},
        "exit": exit_code(entries, reachable=store.reachable, lag_alarm_s=lag_alarm_s),
    }


def exit_code(entries: Sequence[Mapping[str, Any]], *, reachable: bool, lag_alarm_s: float) -> int:
    """2 before 1 before 3. A dropped table's window does not move, so its age is no lag."""
    if any(entry["window"]["holes"] for entry in entries):
        return 2
    if not reachable:
        return 1
    for entry in entries:
        lag = entry["lag_seconds"]
        if lag is None or (lag > lag_alarm_s and entry["dropped_at"] is None):
            return 3
    return 0


def _by_members(counts: Iterable[int]) -> dict[int, int]:
    found: dict[int, int] = {}
    for count in counts:
        found[count] = found.get(count, 0) + 1
    return found
