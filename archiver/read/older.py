"""Going back through `closed/`, for partitions of which the newest objects prove nothing: nobody has led them since, or what these name is not archived yet.

A look that begins cold reads the newest closed objects of each node, and those name what was led lately, up to the last write. What an earlier one closed was
proven then and is proven now: without it a table's window would end at that partition's last seal, before moments that were shown as restorable. Where the
newest ones prove of every partition more than its last seal does nothing is read here. Objects are read in the order of their times, whoever published them,
so that of each partition the newest that can be reached counts. Not covered: what lies further back than BACK_MAX objects of a node.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from scrubjay.archiver.coverage import last_micros
from scrubjay.archiver.format.layout import ClosedKey, build, parse
from scrubjay.archiver.read.names import newest_closed
from scrubjay.archiver.read.partition import PartitionIndex
from scrubjay.base.env import ObjectStore
from scrubjay.base.hlc import stamp_micros
from scrubjay.base.ids import Stamp

BACK_STEP = 32
"""Closed objects of one node listed at a time on the way back."""
BACK_MAX = 1_024
"""Of each node in all: some hours of them."""


class OlderClosed:
    """How far back each node's closed objects were read."""

    def __init__(self, store: ObjectStore, cluster: str) -> None:
        self._store, self._cluster = store, cluster
        self._oldest: dict[str, int] = {}
        self._read: dict[str, int] = {}
        self._next: dict[str, list[ClosedKey]] = {}
        """By node, those that are listed and not read yet, rising; at most BACK_STEP."""

    def begun(self, key: str) -> None:
        """One of the first that were read."""
        found = parse(key)
        if isinstance(found, ClosedKey):
            self._oldest[found.node] = min(self._oldest.get(found.node, found.time_us), found.time_us)

    async def seek(self, partitions: Callable[[], Iterable[PartitionIndex]], read: Callable[[str], Awaitable[None]]) -> None:
        """Go back until every partition is proven behind its last seal, or nothing older can say more of it. read: takes in what one object says. Raises
        Unavailable: what was read until then stays."""
        while wanted := sorted((one for one in partitions() if _wants(one)), key=_ends_us, reverse=True):
            found = await self._listed(_ends_us(wanted[-1]))
            if not found:
                return
            while True:
                while wanted and not _wants(wanted[-1]):
                    wanted.pop()
                if not wanted:
                    break
                key = max(found.values(), key=lambda one: one.time_us)
                if key.time_us <= _ends_us(wanted[-1]):
                    return
                await read(build(key))
                self._oldest[key.node] = key.time_us
                self._read[key.node] = self._read.get(key.node, 0) + 1
                left = self._next[key.node]
                left.pop()
                if not left:
                    break  # what comes next of this node has to be listed
                found[key.node] = left[-1]

    async def _listed(self, until_us: int) -> dict[str, ClosedKey]:
        """By node, the newest of its objects that was not read, where there is one behind `until_us`."""
        for node in sorted(self._oldest):
            if not self._next.get(node) and self._read.get(node, 0) < BACK_MAX and until_us < self._oldest[node]:
                before_us = self._oldest[node] - 1
                names = await newest_closed(self._store, self._cluster, node, now_us=before_us, ahead_us=0, count=BACK_STEP)
                self._next[node] = [key for key in map(parse, names) if isinstance(key, ClosedKey)]
                if not names:
                    self._read[node] = BACK_MAX
        return {node: keys[-1] for node, keys in self._next.items() if keys and keys[-1].time_us > until_us}


def _wants(index: PartitionIndex) -> bool:
    """Something is archived, and nothing closes it behind its last seal; nor does that seal itself (a dropped table's)."""
    if not len(index.rows):
        return False
    last = index.rows[len(index.rows) - 1]
    if last.closed >= last.last_stamp:
        return False
    latest = index.window().latest_us
    return not index.closed if latest is None else latest <= last_micros(last.closed)


def _ends_us(index: PartitionIndex) -> int:
    return stamp_micros(Stamp(index.rows[len(index.rows) - 1].last_stamp))
