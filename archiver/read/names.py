"""Names in an archive: listings, grouped by partition."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field

from scrubjay.archiver.format.layout import (
    AFTER_ALL,
    BaseKey,
    ClosedKey,
    EpochKey,
    ExpiredKey,
    SegmentKey,
    build,
    closed_prefix,
    cluster_of,
    parse,
    partition_prefix,
    tables_prefix,
    time_text,
)
from scrubjay.base.env import ObjectStore

PARALLEL = 8
"""Requests at a time (`base.together.in_parallel`)."""


@dataclass(slots=True)
class Names:
    """The listed objects of one partition with their sizes: its log, its bases, and what says that a beginning was taken away."""

    table: str
    partition: str
    log: dict[str, int] = field(default_factory=dict)
    base: dict[str, int] = field(default_factory=dict)
    expired: dict[str, int] = field(default_factory=dict)

    def size(self) -> int:
        """Bytes of all of them."""
        return sum(sum(some.values()) for some in (self.log, self.base, self.expired))

    def without(self, took: Callable[[str], bool]) -> Names:
        """Without what was taken away and may still lie there; `expired` stays whole."""
        log = {name: size for name, size in self.log.items() if not took(name)}
        base = {name: size for name, size in self.base.items() if not took(name)}
        return Names(self.table, self.partition, log, base, self.expired)


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
            if not isinstance(key, SegmentKey | BaseKey | ExpiredKey):
                continue
            if at is None or (at.table, at.partition) != (key.table, key.partition):
                if at is not None:
                    yield at
                at = Names(key.table, key.partition)
            (at.log if isinstance(key, SegmentKey) else at.base if isinstance(key, BaseKey) else at.expired)[info.key] = info.size
        if not page.more or not page.objects:
            break
    if at is not None:
        yield at


async def names_of(store: ObjectStore, cluster: str, table: str, partition: str) -> Names:
    """The names of one partition, none if nothing is there. Raises Unavailable."""
    found = [one async for one in sweep(store, cluster, table=table, partition=partition)]
    return found[0] if found else Names(table, partition)


def seems_whole(names: Names, *, begin: int, end: int) -> bool:
    """By the names alone: manifests from the first record behind `begin` to `end` without a gap, and a segment beside each. A listing is no snapshot: what seems to lack
    something is listed again before anybody is told."""
    manifests = sorted((key.first, key.last) for key in map(parse, names.log) if isinstance(key, SegmentKey) and key.manifest)
    reach = begin
    for first, last in manifests:
        if first > reach + 1:
            return False
        reach = max(reach, last)
    twins = all(build(key.twin()) in names.log for key in map(parse, names.log) if isinstance(key, SegmentKey))
    return twins and reach >= end


CLUSTERS_MAX = 100
"""Clusters named in one error or listing; a prefix normally holds one."""


async def clusters(store: ObjectStore) -> list[str]:
    """Ids of the clusters that have objects below the prefix, sorted; at most CLUSTERS_MAX. Objects that are none of ours do not count."""
    found: list[str] = []
    after = ""
    while len(found) < CLUSTERS_MAX:
        page = await store.list("", after=after, limit=100)
        if not page.objects:
            break
        for info in page.objects:
            cluster = cluster_of(info.key)
            if cluster is not None:
                found.append(cluster)
                after = f"{cluster}/{AFTER_ALL}"
                break
            after = info.key
        else:
            if not page.more:
                break
    return found


async def clusters_for(store: ObjectStore, asked: str | None) -> list[str]:
    """The same, looking under delete markers too where the one that is asked for, or any, is not there: an archive that was deleted in a bucket with versions."""
    present = await clusters(store)
    if not present or asked not in (None, *present):
        await store.uncover("" if asked is None else f"{asked}/")
        present = await clusters(store)
    return present


async def epochs_after(store: ObjectStore, cluster: str, number: int) -> list[str]:
    """Keys of the epoch objects above `number`, rising."""
    found: list[str] = []
    after = build(EpochKey(cluster, number)) if number else ""
    while True:
        page = await store.list(f"{cluster}/epoch/", after=after)
        found += [info.key for info in page.objects if isinstance(parse(info.key), EpochKey)]
        if not page.more or not page.objects:
            return found
        after = page.objects[-1].key


async def closed_nodes(store: ObjectStore, cluster: str) -> list[str]:
    """The nodes that have closed objects: a short listing each. Raises Unavailable."""
    found: list[str] = []
    prefix, after = closed_prefix(cluster), ""
    while True:
        page = await store.list(prefix, after=after, limit=10)
        for info in page.objects:
            after = info.key
            key = parse(info.key)
            if isinstance(key, ClosedKey):
                found.append(key.node)
                after = closed_prefix(cluster, key.node) + AFTER_ALL
                break
        else:
            if not page.more or not page.objects:
                return found


LOOK_BACK_US = (3_600_000_000, 86_400_000_000, 36 * 86_400_000_000)
"""How far back the search for a node's newest closed object goes, step by step, before it lists them all."""


def closed_until(names: Iterable[str], until_us: int) -> list[str]:
    """Of some names those of closed objects, none published after `until_us`: what is none of ours, or says a time that has not come, must not stand in front
    of those that count."""
    return [name for name in names if isinstance(key := parse(name), ClosedKey) and key.time_us <= until_us]


async def newest_closed(store: ObjectStore, cluster: str, node: str, *, now_us: int, ahead_us: int, count: int = 1) -> list[str]:
    """Keys of a node's newest closed objects, rising, at most `count`, however long ago it last wrote; none further ahead of the clock than `ahead_us`.
    Raises Unavailable."""
    prefix = closed_prefix(cluster, node)
    for back in (*(back for back in LOOK_BACK_US if back < now_us), None):
        found: list[str] = []
        after = "" if back is None else prefix + time_text(now_us - back)
        more = True
        while more:
            page = await store.list(prefix, after=after)
            found = [*found, *closed_until((info.key for info in page.objects), now_us + ahead_us)][-count:]
            after = page.objects[-1].key if page.objects else after
            more = page.more and bool(page.objects)
        if found:
            return found
    return []
