"""The in-memory overlay of a replica: the newest version of every key written since the last checkpoint, above the tree.

Writes go into the *active* layer. `freeze` turns it into a frozen layer that goes down to the tree as one checkpoint; several may wait
(a scrub seal freezes at exactly its LSN even while a checkpoint runs). Look-ups go newest first: active, frozen layers, tree.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

from sortedcontainers import SortedDict

from scrubjay.base.ids import Lsn, Stamp
from scrubjay.storage.btree.engine import Change, Tree, TreeState

_CHANGE_OVERHEAD_BYTES = 120


class FrozenLayer(NamedTuple):
    """A frozen layer and the tree state it leads to. pin: the tree is to be pinned once this layer is committed (a scrub seal)."""

    changes: SortedDict
    state: TreeState
    pin: bool


class Overlay:
    """active_bytes: rough memory of the active layer, the measure for the next checkpoint. size: the same of all layers, what waits for the tree."""

    def __init__(self) -> None:
        self.active: SortedDict = SortedDict()
        self.frozen: deque[FrozenLayer] = deque()
        self.active_bytes = 0
        self._frozen_bytes: deque[int] = deque()

    @property
    def size(self) -> int:
        return self.active_bytes + sum(self._frozen_bytes)

    def put(self, key: bytes, lsn: Lsn, stamp: Stamp, item: bytes | None) -> None:
        self.active[key] = Change(key, lsn, stamp, item)
        self.active_bytes += len(key) + (len(item) if item is not None else 0) + _CHANGE_OVERHEAD_BYTES

    def find(self, key: bytes) -> Change | None:
        """The newest change of `key` above the tree, None if the tree decides."""
        change: Change | None = self.active.get(key)
        if change is not None or not self.frozen:
            return change
        for layer in reversed(self.frozen):
            change = layer.changes.get(key)
            if change is not None:
                return change
        return None

    def freeze(self, state: TreeState, *, pin: bool = False) -> FrozenLayer:
        """Close the active layer as what leads to `state`."""
        layer = FrozenLayer(self.active, state, pin)
        self.frozen.append(layer)
        self._frozen_bytes.append(self.active_bytes)
        self.active = SortedDict()
        self.active_bytes = 0
        return layer

    def committed(self) -> None:
        """The oldest frozen layer is in the tree."""
        self.frozen.popleft()
        self._frozen_bytes.popleft()

    def clear(self) -> None:
        self.active = SortedDict()
        self.frozen.clear()
        self._frozen_bytes.clear()
        self.active_bytes = 0

    def merged(self, tree: Tree, start: bytes, end: bytes | None, *, reverse: bool) -> Iterator[tuple[bytes, bytes]]:
        """(key, item) of [start, end) over all layers and the tree, newest version of each key. Raises what `Tree.range` raises."""
        layers = [self.active, *(layer.changes for layer in reversed(self.frozen))]
        streams: list[Iterator[tuple[bytes, int, bytes | None]]] = []
        for rank, changes in enumerate(layers):
            if changes:
                keys = changes.irange(start, end, inclusive=(True, False), reverse=reverse)
                streams.append(_ranked(changes, keys, -rank if reverse else rank))
        below = len(layers)
        rows = ((row.key, -below if reverse else below, row.item) for row in tree.range(start, end, reverse=reverse))
        if not streams:
            for key, _, item in rows:
                yield key, item
            return
        last: bytes | None = None
        by: Callable[[tuple[bytes, int, bytes | None]], tuple[bytes, int]] = _order
        for key, _, body in heapq.merge(*streams, rows, key=by, reverse=reverse):
            if key != last:
                last = key
                if body is not None:
                    yield key, body


def _order(entry: tuple[bytes, int, bytes | None]) -> tuple[bytes, int]:
    return entry[0], entry[1]


def _ranked(changes: SortedDict, keys: Iterator[bytes], rank: int) -> Iterator[tuple[bytes, int, bytes | None]]:
    return ((key, rank, changes[key].item) for key in keys)


def layer_changes(layer: FrozenLayer) -> list[Change]:
    """The layer's changes in ascending key order."""
    return list(layer.changes.values())


__all__ = ["FrozenLayer", "Overlay", "layer_changes"]
