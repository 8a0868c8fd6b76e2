"""Whether somebody saw the time pass by which things are old. A machine that boots with its clock days ahead would find everything outlived.

The witnesses are the closed objects: whenever a cluster lives, a leader publishes one at least every few minutes, named by the time. A day in which nobody did,
because the cluster was off or because a clock leapt over it, does not age anything: what lies there is kept for so much longer. That holds over restarts
too, since what a wrong clock published stands behind the gap; and it is over by itself, once the gap is older than every window. Where it cannot be told
when the gap began nothing is taken away at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from scrubjay.archiver.expire.plan import DAY_US
from scrubjay.archiver.format.layout import ClosedKey, closed_prefix, parse, time_text
from scrubjay.archiver.read.names import closed_nodes
from scrubjay.base.env import ObjectStore
from scrubjay.base.times import utc_text

STEP_US = DAY_US
"""Between two places looked at; what is silent for longer is a gap. One of two days is always seen, one of less than a day never."""


class Lived(NamedTuple):
    """unlived_us: so much of the time up to now nobody saw. doubt: why nothing at all is known to be old."""

    unlived_us: int
    doubt: str | None = None


async def lived(store: ObjectStore, cluster: str, *, now_us: int, keep_us: int) -> Lived:
    """By the names of the closed objects of all nodes: one short listing for each day and node. keep_us: how long closed objects are kept; of an earlier time
    only what still lies there by chance is known. Raises Unavailable."""
    nodes = await closed_nodes(store, cluster)
    oldest_us = await _next(store, cluster, nodes, 0)
    if oldest_us is None or oldest_us > now_us:
        return Lived(0, "nobody has published a closed timestamp up to now, by this machine's clock: whether it is right cannot be told")
    at_us, unlived_us = max(oldest_us, now_us - keep_us), 0
    if oldest_us < at_us:
        found_us = min(await _next(store, cluster, nodes, at_us) or now_us, now_us)
        if found_us - at_us > STEP_US:
            begin_us = await _last_before(store, cluster, nodes, at_us, keep_us)
            if begin_us is None:
                seen = f"between {utc_text(at_us - keep_us)} and {utc_text(found_us)}"
                return Lived(0, f"nobody published a closed timestamp {seen}, by this machine's clock: whether it is right cannot be told")
            # Counted here, from a witness in front of it that this run therefore keeps: steps from there may land in the gap and miss it, and the next run
            # would then find no beginning.
            at_us, unlived_us = found_us, found_us - begin_us
    while at_us < now_us:
        found_us = await _next(store, cluster, nodes, at_us) or now_us
        seen_us = min(now_us, found_us)
        if seen_us - at_us > STEP_US:
            unlived_us += seen_us - at_us + STEP_US
        at_us = max(at_us, seen_us) + STEP_US
    return Lived(unlived_us)


async def _next(store: ObjectStore, cluster: str, nodes: Sequence[str], at_us: int) -> int | None:
    """When the first closed object at or after that moment was published, by whichever node; None: there is none."""
    found: list[int] = []
    for node in nodes:
        prefix = closed_prefix(cluster, node)
        page = await store.list(prefix, after=prefix + time_text(at_us), limit=1)
        found += [key.time_us for info in page.objects if isinstance(key := parse(info.key), ClosedKey)]
    return min(found, default=None)


async def _last_before(store: ObjectStore, cluster: str, nodes: Sequence[str], at_us: int, back_us: int) -> int | None:
    """When a closed object in front of that moment was published, to a step the last one; None: none at most so long before."""
    for back in range(STEP_US, back_us + STEP_US, STEP_US):
        found_us = await _next(store, cluster, nodes, max(at_us - back, 0))
        if found_us is not None and found_us < at_us:
            return found_us
    return None
