"""Where a partition is cut: between partition keys, near the half, whatever is heavy where (ADR 0078)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scrubjay.storage.btree.split_point import CutPoint, SplitPoint
from scrubjay.storage.items.keys import HASH_BYTES


def key(number: int, row: int = 0) -> bytes:
    return number.to_bytes(HASH_BYTES, "big") + row.to_bytes(4, "big")


def walked(weights: list[list[int]]) -> SplitPoint:
    """weights: of each partition key's rows."""
    point = SplitPoint()
    for number, rows in enumerate(weights):
        for row, weight in enumerate(rows):
            point.add(key(number + 1, row), weight)
    point.check_invariants()
    return point


def best(weights: list[list[int]]) -> CutPoint | None:
    """Of all boundaries, as whoever has room for all of them finds it."""
    sums = [sum(rows) for rows in weights]
    total = sum(sums)
    cuts = [CutPoint(key(number + 1)[:HASH_BYTES], sum(sums[:number]), total) for number in range(1, len(sums))]
    return min(cuts, key=lambda one: abs(2 * one.left - total), default=None)


@given(st.lists(st.lists(st.integers(1, 50), min_size=1, max_size=5), max_size=12))
def test_it_lies_between_the_two_partition_keys_that_are_nearest_to_the_half(weights: list[list[int]]) -> None:
    assert walked(weights).nearest() == best(weights)


def test_one_partition_key_is_never_divided() -> None:
    assert SplitPoint().nearest() is None
    assert walked([[1] * 1000]).nearest() is None
    assert walked([[1], [10_000], [1]]).nearest() == CutPoint(key(2)[:HASH_BYTES], 1, 10_002)


@given(st.integers(0, 3), st.integers(0, 400), st.integers(1, 30))
def test_what_it_forgets_costs_a_grain_at_most(heavy: int, at: int, small: int) -> None:
    """Far more partition keys than it remembers, and heavy ones next to each other somewhere: none of the boundaries beside those may be lost."""
    grains = 16
    point, exact, sums = SplitPoint(grains), 0, list[int]()
    for number in range(400):
        weight = 1_000_000 if at <= number < at + heavy else small
        point.add(key(number + 1), weight)
        sums.append(exact)
        exact += weight
    point.check_invariants()
    found = point.nearest()
    assert found is not None
    assert found.left == sums[int.from_bytes(found.cut, "big") - 1]
    nearest = min(abs(2 * one - exact) for one in sums[1:])
    assert abs(2 * found.left - exact) <= nearest + 2 * (exact // grains + 1)
