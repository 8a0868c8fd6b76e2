"""Going back through `closed/`, for partitions that none of the newest objects names: nobody has led them since.

A look that begins cold reads the newest closed objects of each node, and those name what was led lately. What an earlier one closed was proven then and is
proven now: without it a table's window would end at that partition's last seal, before moments that were shown as restorable. Where every partition is led
nothing is read here. Not covered: what lies further back than BACK_MAX objects of a node.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from scrubjay.archiver.format.layout import ClosedKey, parse
from scrubjay.archiver.read.names import newest_closed
from scrubjay.archiver.read.partition import PartitionIndex
from scrubjay.base.env import ObjectStore
from scrubjay.base.hlc import stamp_micros
from scrubjay.base.ids import Stamp

BACK_STEP = 32
"""Closed objects of one node read at a time on the way back."""
BACK_MAX = 1_024
"""Of each node in all: some hours of them."""


class OlderClosed:
    """How far back each node's closed objects were read."""

    def __init__(self, store: ObjectStore, cluster: str) -> None:
        self._store, self._cluster = store, cluster
        self._oldest: dict[str, int] = {}
        self._read: dict[str, int] = {}

    def begun(self, keys: Iterable[str]) -> None:
        """Of one node, the first that were read."""
        for key in map(parse, keys):
            if isinstance(key, ClosedKey):
                self._oldest[key.node] = min(self._oldest.get(key.node, key.time_us), key.time_us)

    async def seek(self, partitions: Callable[[], Iterable[PartitionIndex]], read: Callable[[str], Awaitable[None]]) -> None:
        """Go back until every partition has a closed point, or nothing older can say more of it. read: takes in what one object says. Raises Unavailable."""
        for node in sorted(self._oldest):
            while self._read.get(node, 0) < BACK_MAX and any(_ends_us(one) < self._oldest[node] for one in partitions() if _wants(one)):
                before_us = self._oldest[node] - 1
                keys = await newest_closed(self._store, self._cluster, node, now_us=before_us, ahead_us=0, count=BACK_STEP)
                for key in reversed(keys):
                    await read(key)
                self.begun(keys)
                self._read[node] = self._read.get(node, 0) + len(keys) if keys else BACK_MAX


def _wants(index: PartitionIndex) -> bool:
    """Something is archived, and neither a closed point nor its own last seal (a dropped table's) closes it."""
    return not index.closed and len(index.rows) > 0 and index.rows[len(index.rows) - 1].closed < index.rows[len(index.rows) - 1].last_stamp


def _ends_us(index: PartitionIndex) -> int:
    return stamp_micros(Stamp(index.rows[len(index.rows) - 1].last_stamp))
