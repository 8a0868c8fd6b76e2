"""What the profile whole calls wrong with a global index."""

from __future__ import annotations

from scrubjay.sim.rand import stream
from scrubjay.sim.whole.indexed import INDEXED_FROM, compared, draw_indexed

ITEMS = [(1, 5), (2, 97), (3, 194 + 3), (4, None)]


def test_a_row_that_lacks_is_left_or_is_there_twice_is_wrong() -> None:
    right = [(1, 5), (3, 197)]
    assert compared(ITEMS, right) == []
    assert compared(ITEMS, right[:1]) == ["row (3, 197) is there 0 times, not 1"]
    assert compared(ITEMS, [*right, (2, 97)]) == ["row (2, 97) is there 1 times, not 0"]
    assert compared(ITEMS, [*right, (1, 5)]) == ["row (1, 5) is there 2 times, not 1"]
    assert len(compared(ITEMS, [(1, 6), (3, 197)])) == 2


def test_seeds_below_are_what_they_were_found_for() -> None:
    assert not any(draw_indexed(seed, stream(seed, "indexes")) for seed in range(INDEXED_FROM - 50, INDEXED_FROM))
    assert any(draw_indexed(seed, stream(seed, "indexes")) for seed in range(INDEXED_FROM, INDEXED_FROM + 5))
