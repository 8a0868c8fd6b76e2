"""How what is proven of a partition that was split goes on in its children (ADR 0078). Pure.

A child's log goes on at the LSN behind its parent's last, from its parent's chain value. What lies in front of that is the parent's: to coverage it is as if it were taken away, and what the child
rests on is the parent's state at its end, as far as it lies in the child's range. Of that somebody can be sure as long as the parent's archive leads there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

from scrubjay.archiver.coverage import path_to, table_window
from scrubjay.archiver.facts import Coverage, CoverageFacts, Path, Start, Window
from scrubjay.base.errors import Missing, Unavailable
from scrubjay.storage.log.split import Born

P = TypeVar("P", bound=str)


class Inherited(NamedTuple):
    """What a child rests on. start: as a base of the child. path: how to rebuild the parent there."""

    start: Start
    path: Path


def inherited(born: Born, facts: CoverageFacts, found: Coverage) -> Inherited | None:
    """None: the parent's archive does not lead to that state (any more). facts, found: of the parent."""
    try:
        path = path_to(facts, found, lsn=born.lsn)
    except (Missing, Unavailable):
        return None
    if path.spans:
        end = path.spans[-1]
        reached = (end.last, end.last_stamp, end.chain, end.epoch)
    else:
        assert path.start is not None, "without a segment only a base is at an LSN"
        reached = (path.start.lsn, path.start.stamp, path.start.chain, path.start.epoch)
    if reached[:3] != (born.lsn, born.stamp, born.chain):
        return None  # another history of the parent: nothing of the child follows from it
    return Inherited(Start(born.lsn, born.stamp, born.chain, born.total.state, epoch=reached[3]), path)


def child_facts(facts: CoverageFacts, born: Born, start: Start | None) -> CoverageFacts:
    """What is known of a child, for `coverage`. facts: of its own log and bases. start: what it inherits, None: nothing that can be had."""
    own = any(one.lsn == born.lsn for one in facts.starts)
    starts = facts.starts if own or start is None else (*facts.starts, start)
    return facts._replace(starts=starts, expired=max(facts.expired, born.lsn))


def joined(parent: Window, children: Sequence[Window]) -> Window:
    """The window of what was the parent's range. While a child proves nothing, that ends where the parent did."""
    after = table_window(children)
    holes = parent.holes + after.holes
    if after.earliest_us is None:
        return parent._replace(holes=holes)
    if parent.earliest_us is None or parent.latest_us is None or parent.latest_us + 1 < after.earliest_us:
        return after._replace(holes=holes)
    return Window(parent.earliest_us, after.latest_us, holes)


def window_across(windows: Mapping[P, Window], splits: Sequence[tuple[P, P, P]]) -> Window:
    """A table's window over its splits. windows: of every partition that it has and had. splits: (parent, left, right), oldest first; a child of which nothing is known proves nothing."""
    left_over, unknown = dict(windows), Window(None, None, ())
    for parent, *children in reversed(splits):
        halves = [left_over.pop(child, unknown) for child in children]
        left_over[parent] = joined(left_over.get(parent, unknown), halves)
    return table_window(list(left_over.values()))
