"""`archive status`: every table's proven window and what it rests on (INTERFACE section 3). Pure: facts in, the answer's fields out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from scrubjay.archiver.facts import Fork, Hole, Window
from scrubjay.archiver.lineage import window_across
from scrubjay.archiver.read.index import ArchiveIndex
from scrubjay.archiver.read.partition import PartitionIndex
from scrubjay.base.times import utc_text_or_none

UNREAD_TOLD = 16
"""Keys of encryption that are told of as not at hand."""


class ArchivedTable(NamedTuple):
    """What the cluster says of a table; of one that only the archive knows (offline), partitions are those found there. splits: (parent, left, right), oldest first; beside these counts what manifests say.

    attestations: segments by number of members that attested (1, 2, 3), None: not known here (then the manifests' members count).
    """

    table_id: str
    name: str
    partitions: tuple[str, ...]
    dropped_at_us: int | None = None
    unarchived_bytes: int | None = None
    attestations: Mapping[int, int] | None = None
    splits: tuple[tuple[str, str, str], ...] = ()


class StoreFacts(NamedTuple):
    """present: the objects that say whose archive this is are there (None: not asked). fenced: why nobody here writes any more, None if they do. last_error:
    what the store or an agent could not do last, since_us when. complete: everything was looked at for this answer. stuck: an agent cannot work."""

    url: str
    reachable: bool
    present: bool | None = None
    fenced: str | None = None
    last_error: str | None = None
    since_us: int | None = None
    complete: bool = True
    stuck: bool = False

    def as_json(self) -> dict[str, Any]:
        return {
            "url": self.url,
            "reachable": self.reachable,
            "present": self.present,
            "fenced": self.fenced is not None,
            "last_error": self.fenced or self.last_error,
            "since": utc_text_or_none(self.since_us),
            "complete": self.complete,
        }


def window_of_table(index: ArchiveIndex, table: ArchivedTable) -> Window:
    """The proven window of a table: every partition of it counts, one without any object proves nothing; what was split goes on in its children."""
    found = {partition: index.partitions.get((table.table_id, partition)) for partition in table.partitions}
    windows = {partition: one.window() if one is not None else Window(None, None, ()) for partition, one in found.items()}
    return window_across(windows, table.splits or _splits_found([one for one in found.values() if one is not None]))


def _splits_found(partitions: Sequence[PartitionIndex]) -> list[tuple[str, str, str]]:
    """As manifests say it, where no catalogue does. A child of which nothing is there has no name."""
    children: dict[str, list[PartitionIndex]] = {}
    for one in partitions:
        if one.born is not None and one.misled() is None:
            children.setdefault(one.born.parent, []).append(one)
    order = sorted(children, key=lambda parent: max(one.born.stamp for one in children[parent] if one.born is not None))
    named = {parent: [*(one.partition for one in children[parent]), "", ""] for parent in order}
    return [(parent, named[parent][0], named[parent][1]) for parent in order]


def table_status(index: ArchiveIndex, table: ArchivedTable, *, now_us: int) -> dict[str, Any]:
    """One entry of `tables[]`."""
    window = window_of_table(index, table)
    mine = [index.partitions[key] for key in sorted(index.partitions) if key[0] == table.table_id]
    segments, packed, raw, members = 0, 0, 0, {1: 0, 2: 0, 3: 0}
    packs: set[tuple[str, tuple[int, int, int, str]]] = set()
    for one in mine:
        for row in one.best():
            segments += 1
            if row.pack is not None:
                packed += 1
                packs.add((one.partition, row.pack))
            raw += row.raw
            if row.members:
                members[min(row.members, 3)] += 1
    attested = table.attestations if table.attestations is not None else members
    return {
        "table": table.name,
        "table_id": table.table_id,
        "dropped_at": utc_text_or_none(table.dropped_at_us),
        "window": {
            "earliest": utc_text_or_none(window.earliest_us),
            "latest": utc_text_or_none(window.latest_us),
            "holes": [hole_json(hole) for hole in window.holes],
        },
        "lag_seconds": None if window.latest_us is None else round(max(now_us - window.latest_us, 0) / 1e6, 3),
        "unarchived_bytes": table.unarchived_bytes,
        "segments": segments,
        "packed": packed,
        "packs": len(packs),
        "bytes_stored": sum(one.stored_bytes for one in mine),
        "bytes_raw": raw,
        "attestations": {str(number): attested.get(number, 0) for number in (1, 2, 3)},
        "forks": [fork_json(fork) for one in mine for fork in one.summary().forks],
    }


def _ended(index: ArchiveIndex, table: ArchivedTable) -> bool:
    """Nothing of the table is left, and nothing should be."""
    found = [index.partitions.get((table.table_id, partition)) for partition in table.partitions]
    return table.dropped_at_us is not None and bool(found) and all(one is not None and one.gone() for one in found)


def fork_json(fork: Fork) -> dict[str, Any]:
    return {"partition": fork.partition, "first_lsn": fork.first_lsn, "epochs": list(fork.epochs)}


def hole_json(hole: Hole) -> dict[str, Any]:
    return {
        "partition": hole.partition,
        "first_lsn": hole.first_lsn,
        "last_lsn": hole.last_lsn,
        "from": utc_text_or_none(hole.from_us),
        "to": utc_text_or_none(hole.to_us),
        "no_key": hole.no_key,
    }


def archive_status(
    index: ArchiveIndex, *, tables: Sequence[ArchivedTable], store: StoreFacts, now_us: int, lag_alarm_s: float
) -> dict[str, Any]:
    """The whole answer without `schema` and `error`; `exit` as INTERFACE has it. A dropped table whose window has ended, and which retention took away, is
    listed no more."""
    tables = [table for table in tables if not _ended(index, table)]
    entries = [table_status(index, table, now_us=now_us) for table in tables]
    forks = [fork for entry in entries for fork in entry["forks"]]
    found = index.found_elsewhere()
    for table in tables:
        for partition in table.partitions:
            found |= index.found_of(table.table_id, partition)
    mine = [one for table in tables for at in table.partitions if (one := index.partitions.get((table.table_id, at))) is not None]
    unread = Counter(fault.detail for one in mine for fault in one.unread())
    return {
        "tables": entries,
        "forks": forks,
        "findings": [{"object": name, "kind": one.kind, "detail": one.detail} for name, one in found.items()],
        "unread": [{"detail": detail, "objects": count} for detail, count in sorted(unread.items())[:UNREAD_TOLD]],
        "store": store.as_json(),
        "exit": exit_code(
            entries, store, bad=bool(forks or found or any(one.lost() for one in mine)), unread=bool(unread), lag_alarm_s=lag_alarm_s
        ),
    }


def exit_code(entries: Sequence[Mapping[str, Any]], store: StoreFacts, *, bad: bool, unread: bool, lag_alarm_s: float) -> int:
    """2: `bad` (a hole, a fork, an object known to be bad), or an archive that was there and is gone; before 1: the store cannot be reached; before 3: no proven
    window yet, objects that the keys at hand do not open (`unread`), agents that cannot work, or lag above the alarm. A dropped table's window does not move, so its age is no lag."""
    if bad or store.present is False:
        return 2
    if not store.reachable:
        return 1
    if store.fenced is not None or store.stuck or unread:
        return 3
    for entry in entries:
        lag = entry["lag_seconds"]
        if lag is None or (lag > lag_alarm_s and entry["dropped_at"] is None):
            return 3
    return 0
