"""Random operation sequences to the real API and to a plain model of what DynamoDB documents: no answer may differ.

A failure prints the seed, the requests that are needed for it, and both answers. More: python -m tests.model --sequences 100000 --seed 1
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Context
from typing import Any

import pytest

from scrubjay.storage.api import pages
from scrubjay.storage.items import numbers, size
from scrubjay.storage.items.expressions import paths, tree, update
from tests.model import differ
from tests.model.in_process import InProcess

CHUNK = 5_000
EVERY_OUTCOME = [
    f"{operation} {outcome}"
    for operation, outcomes in {
        "put": ("done", "ValidationException", "ConditionalCheckFailedException"),
        "update": ("done", "ValidationException", "ConditionalCheckFailedException"),
        "delete": ("done", "ValidationException", "ConditionalCheckFailedException"),
        "get": ("done", "ValidationException"),
        "query": ("done", "ValidationException"),
        "scan": ("done", "ValidationException"),
        "batch_write": ("done", "ValidationException"),
        "batch_get": ("done", "ValidationException"),
    }.items()
    for outcome in outcomes
]


def compare(seeds: range) -> differ.Failure | None:
    subject = InProcess()
    outcomes, failure = differ.run(subject, seeds)
    assert subject.unexpected == []
    if failure is None:
        rare = [outcome for outcome in EVERY_OUTCOME if outcomes[outcome] < len(seeds) // 100]
        assert not rare, f"hardly met: {rare} in {outcomes}"
    return failure


def test_a_thousand_sequences() -> None:
    failure = compare(range(1_000_000, 1_001_000))
    assert failure is None, failure and failure.text


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 4 * CHUNK, CHUNK))
def test_twenty_thousand_sequences(first: int) -> None:
    failure = compare(range(first, first + CHUNK))
    assert failure is None, failure and failure.text


def _read_with_a_hole(item: Any, path: Any) -> Any:
    return None if 1 in path else _read(item, path)


_read, _deleted, _contains, _take = paths.read, update._deleted, tree.contains, pages.Page._take


def _page_forgets_its_end(self: Any, answer: Any) -> None:
    _take(self, answer)
    if self.scanned == 2:
        self.last = None


def _between_without_its_ends(value: Any, low: Any, high: Any) -> bool:
    return tree.order(low, value) == -1 and tree.order(value, high) == -1


PLANTED: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "BETWEEN leaves out its ends": lambda patch: patch.setattr(tree, "is_between", _between_without_its_ends),
    "DELETE of the last element keeps the set": lambda patch: patch.setattr(
        update, "_deleted", lambda old, value, fault: _deleted(old, value, fault) or old
    ),
    "a missing attribute is not unlike a value": lambda patch: patch.setitem(
        tree.COMPARISONS, "<>", lambda left, right: left is not None and left != right
    ),
    "size() counts bytes": lambda patch: patch.setattr(
        tree, "size_of", lambda value: None if value is None else ("N", str(size.value_size(value)))
    ),
    "element 1 of a list is not there": lambda patch: patch.setattr(tree, "read", _read_with_a_hole),
    "a page of two forgets its last key": lambda patch: patch.setattr(pages.Page, "_take", _page_forgets_its_end),
    "sums of 38 digits are rounded": lambda patch: patch.setattr(numbers, "_EXACT", Context(prec=30)),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found_and_cut_down(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    PLANTED[fault](monkeypatch)
    _, failure = differ.run(InProcess(), range(2_000_000, 2_006_000))
    assert failure is not None
    assert len(failure.ops) <= 3, failure.text
    assert f"seed {failure.seed}" in failure.text
