"""Random operation sequences to the real API and to a plain model of what DynamoDB documents: no answer may differ.

A failure prints the seed, the requests that are needed for it, and both answers. More: python -m tests.model --sequences 100000 --seed 1
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Context
from typing import Any

import pytest

from scrubjay.base.errors import Unavailable
from scrubjay.storage.api import capacity, errors, pages
from scrubjay.storage.api.operations import transactions
from scrubjay.storage.items import global_index, index_keys, numbers, size
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
        "transact_write": (
            "done",
            "repeated",
            "ValidationException",
            "TransactionCanceledException",
            "IdempotentParameterMismatchException",
            "ConditionalCheckFailed",
            "ValidationError",
        ),
        "transact_get": ("done", "ValidationException"),
        "create_index": ("done", "ValidationException"),
        "delete_index": ("done", "ResourceNotFoundException"),
        "index_query": ("done", "ValidationException"),
        "index_scan": ("done", "ValidationException"),
    }.items()
    for outcome in outcomes
]


STATED = 0.5
"""How many of the operations that can be are said in PartiQL, in the sequences with statements."""
EVERY_STATED_OUTCOME = [
    f"stated {operation} {outcome}"
    for operation, outcomes in {
        "put": ("done", "DuplicateItemException", "ValidationException"),
        "update": ("done", "ValidationException", "ConditionalCheckFailedException"),
        "delete": ("done", "ValidationException", "ConditionalCheckFailedException"),
        "get": ("done", "ValidationException"),
        "query": ("done", "ValidationException"),
        "scan": ("done", "ValidationException"),
        "transact_write": (
            "done",
            "repeated",
            "ValidationException",
            "TransactionCanceledException",
            "IdempotentParameterMismatchException",
            "ConditionalCheckFailed",
            "DuplicateItem",
            "ValidationError",
        ),
        "transact_get": ("done", "ValidationException"),
    }.items()
    for outcome in outcomes
]


def compare(seeds: range, *, stated: float = 0.0) -> differ.Failure | None:
    subject = InProcess()
    outcomes, failure = differ.run(subject, seeds, stated=stated)
    assert subject.unexpected == []
    if failure is None:
        wanted, least = (EVERY_STATED_OUTCOME, len(seeds) // CHUNK) if stated else (EVERY_OUTCOME, len(seeds) // 100)
        rare = [outcome for outcome in wanted if outcomes[outcome] < least]
        assert not rare, f"hardly met: {rare} in {outcomes}"
    return failure


def test_a_thousand_sequences() -> None:
    failure = compare(range(1_000_000, 1_001_000))
    assert failure is None, failure and failure.text


@pytest.mark.slow
def test_five_hundred_sequences_with_statements() -> None:
    """What can be said in PartiQL is, half of the time, among requests on the same table."""
    failure = compare(range(3_000_000, 3_000_500), stated=STATED)
    assert failure is None, failure and failure.text


@pytest.mark.slow
@pytest.mark.parametrize("first", range(4_000_000, 4_000_000 + 2 * CHUNK, CHUNK))
def test_ten_thousand_sequences_with_statements(first: int) -> None:
    failure = compare(range(first, first + CHUNK), stated=STATED)
    assert failure is None, failure and failure.text


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 4 * CHUNK, CHUNK))
def test_twenty_thousand_sequences(first: int) -> None:
    failure = compare(range(first, first + CHUNK))
    assert failure is None, failure and failure.text


def _read_with_a_hole(item: Any, path: Any) -> Any:
    return None if 1 in path else _read(item, path)


def _reason_without_its_item(outcome: Any, *, wants_item: bool) -> Any:
    return _reason(outcome, wants_item=False)


def _parts_of_one_item(actions: Any, tables: Any) -> Any:
    return [transactions.TransactPart(tables[one.body["TableName"]], one.make(tables[one.body["TableName"]])) for one in actions]


_reason = transactions.reason_of
_read, _deleted, _contains, _take = paths.read, update._deleted, tree.contains, pages.Page._take


def _page_forgets_its_end(self: Any, answer: Any) -> None:
    _take(self, answer)
    if self.scanned == 2:
        self.last = None


def _between_without_its_ends(value: Any, low: Any, high: Any) -> bool:
    return tree.order(low, value) == -1 and tree.order(value, high) == -1


def _rows_of_all_that_items_have(patch: pytest.MonkeyPatch) -> None:
    def made(self: Any, key: Any, index: Any) -> None:
        _made(self, key, index)
        self._names = None

    patch.setattr(global_index.GlobalRows, "__init__", made)


_made = global_index.GlobalRows.__init__


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
    "a token may be used for something else": lambda patch: patch.setattr(transactions, "digest_of", lambda asked: b""),
    "a cancelled transaction never shows an item": lambda patch: patch.setattr(transactions, "reason_of", _reason_without_its_item),
    "a transaction costs what its writes cost": lambda patch: patch.setattr(transactions, "_doubled", lambda body, member: body),
    "a transaction may write one item twice": lambda patch: patch.setattr(transactions, "_parts", _parts_of_one_item),
    "a row that moves in an index costs as one that stays": lambda patch: patch.setattr(
        capacity, "_row_units", lambda row: capacity.write_units(row.before or 0, row.after or 0)
    ),
    "an index shows of an item all that it has": _rows_of_all_that_items_have,
    "an update makes what it likes of an index's key": lambda patch: patch.setattr(
        index_keys.IndexKeys, "check_updated", lambda self, new: None
    ),
    "sums of 38 digits are rounded": lambda patch: patch.setattr(numbers, "_EXACT", Context(prec=30)),
}


FINDERS = (2_005_413, 2_002_826)
"""Seeds that find what few others do."""


@pytest.mark.slow
@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found_and_cut_down(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    PLANTED[fault](monkeypatch)
    _, failure = differ.run(InProcess(), (*FINDERS, *range(2_000_000, 2_006_000)))
    assert failure is not None
    assert len(failure.ops) <= 3, failure.text
    assert f"seed {failure.seed}" in failure.text


class _Lacking(InProcess):
    """From the fourth request of data on each ends in a 500 with this message."""

    def __init__(self, message: str) -> None:
        self._message, self._left = message, 4
        super().__init__()

    def ask(self, operation: str, request: dict[str, Any]) -> tuple[int, Any]:
        self._left -= operation != "CreateTable"
        status, answer = (
            super().ask(operation, request) if self._left > 0 else (500, {"__type": "x#InternalServerError", "message": self._message})
        )
        differ.check_not_interrupted(status, answer)
        return status, answer


def test_a_server_that_says_what_it_lacks_is_not_called_wrong_and_one_that_does_not_is() -> None:
    with pytest.raises(differ.Interrupted):
        differ.run(_Lacking(errors.from_store(Unavailable("no leader")).message or ""), range(4))
    _, failure = differ.run(_Lacking(errors.internal().message or ""), range(4))
    assert failure is not None
    assert "unknown error" in failure.text
