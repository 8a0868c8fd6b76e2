"""A store that keeps some uploads badly: a bit of a segment, of its manifest or of a base flips in the moment that it is there.

Nobody has read it back by then, so nothing counts as archived, and the logs still hold the records: members must find it, say so, and write it anew. The seeds in which
it happens are of their own, so that no seed that something was found with becomes another.
"""

from __future__ import annotations

from collections.abc import Callable

from scrubjay.sim.rand import Stream
from scrubjay.sim.store import SimStore

SPOILT, SPOILT_FROM = 0.5, 3_000
"""In how many of the seeds, of those from SPOILT_FROM on, the store does so."""
CHANCE = 0.12
MOST = 12
"""Objects in a run."""


def draw_spoiler(seed: int, draw: Stream) -> Stream | None:
    """What the spoiler of this seed draws from; None: it has none."""
    return draw if seed >= SPOILT_FROM and draw.chance(SPOILT) else None


class Spoiler:
    """struck: keys, as they lie there. count: told of each."""

    def __init__(self, store: SimStore, draw: Stream, count: Callable[[str], None]) -> None:
        self._store, self._draw, self._count = store, draw, count
        self.struck: list[str] = []
        self.over = False

    def made(self, key: str) -> None:
        """An object exists from now on."""
        if self.over or not ("/log/" in key or "/base/" in key) or len(self.struck) >= MOST or not self._draw.chance(CHANCE):
            return
        self._store.flip_bit(key)
        self.struck.append(key)
        self._count("uploads spoilt")
