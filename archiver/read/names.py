"""Names in an archive: listings, grouped by partition."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from scrubjay.archiver.format.layout import AFTER_ALL, BaseKey, SegmentKey, build, parse, partition_prefix, tables_prefix
from scrubjay.base.env import ObjectStore

PARALLEL = 8
"""Requests at a time (`base.together.in_parallel`)."""


@dataclass(slots=True)
class Names:
    """The listed objects of one partition with their sizes: its log, and its bases."""

    table: str
    partition: str
    log: dict[str, int] = field(default_factory=dict)
    base: dict[str, int] = field(default_factory=dict)


async def list_all(store: ObjectStore, prefix: str, *, after: str = "") -> dict[str, int]:
    """Every key below a prefix with its size, in byte order."""
    found: dict[str, int] = {}
    while True:
        page = await store.list(prefix, after=after)
        for info in page.objects:
            found[info.key] = info.size
            after = info.key
        if not page.more or not page.objects:
            return found


async def sweep(store: ObjectStore, cluster: str, *, table: str | None = None, partition: str | None = None) -> AsyncIterator[Names]:
    """The names of every partition, one partition after the other, from one listing: a request for every 1,000 objects, however many partitions.

    Holds one partition's names at a time. Objects that are none of ours are left out. Raises Unavailable.
    """
    prefix = tables_prefix(cluster)
    if table is not None:
        prefix = partition_prefix(cluster, table, partition) if partition is not None else f"{prefix}{table}/"
    at, after = None, ""
    while True:
        page = await store.list(prefix, after=after)
        for info in page.objects:
            after = info.key
            key = parse(info.key)
            if not isinstance(key, SegmentKey | BaseKey):
                continue
            if at is None or (at.table, at.partition) != (key.table, key.partition):
                if at is not None:
                    yield at
                at = Names(key.table, key.partition)
            (at.log if isinstance(key, SegmentKey) else at.base)[info.key] = info.size
        if not page.more or not page.objects:
            break
    if at is not None:
        yield at


async def names_of(store: ObjectStore, cluster: str, table: str, partition: str) -> Names:
    """The names of one partition, none if nothing is there. Raises Unavailable."""
    found = [one async for one in sweep(store, cluster, table=table, partition=partition)]
    return found[0] if found else Names(table, partition)


def seems_whole(names: Names, *, end: int) -> bool:
    """By the names alone: manifests from the first record to `end` without a gap, and a segment beside each. A listing is no snapshot: what seems to lack
    something is listed again before anybody is told."""
    manifests = sorted((key.first, key.last) for key in map(parse, names.log) if isinstance(key, SegmentKey) and key.manifest)
    reach = 0
    for first, last in manifests:
        if first > reach + 1:
            return False
        reach = max(reach, last)
    twins = all(build(key.twin()) in names.log for key in map(parse, names.log) if isinstance(key, SegmentKey))
    return twins and reach >= end


async def partitions_of(store: ObjectStore, cluster: str) -> list[tuple[str, str]]:
    """(table, partition) of every partition with an object, sorted; one request for each."""
    found: list[tuple[str, str]] = []
    prefix, after = tables_prefix(cluster), ""
    while True:
        page = await store.list(prefix, after=after, limit=50)
        for info in page.objects:
            after = info.key
            key = parse(info.key)
            if isinstance(key, SegmentKey | BaseKey):
                found.append((key.table, key.partition))
                after = f"{cluster}/t={key.table}/p={key.partition}/{AFTER_ALL}"
                break
        else:
            if not page.more:
                return found
