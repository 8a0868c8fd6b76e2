"""The ledger itself: a store that lost, kept back, doubled or invented anything does not pass it."""

from __future__ import annotations

from tests.integration.process.load import Item, Ledger, Write, body, micros, rfc3339


def item(number: int, counter: int) -> Item:
    return {"k": {"S": "a"}, **body(number, counter)}


def added(number: int, value: int, counter: int) -> Item:
    return item(value, counter) | {"n": {"N": str(number)}}


def ledger(*writes: Write) -> Ledger:
    return Ledger({"a": list(writes)})


def test_acknowledged_means_there() -> None:
    book = ledger(Write("put", 1, 10, 11), Write("add", 2, 20, 21))
    assert book.compare({"a": added(2, 1, 1)}) == []
    for wrong in ({}, {"a": item(1, 0)}, {"a": added(2, 1, 2)}, {"a": added(2, 1, 1), "b": item(1, 0)}):
        assert book.compare(wrong), wrong
    gone = ledger(Write("put", 1, 10, 11), Write("delete", 2, 20, 21))
    assert gone.compare({}) == []
    assert gone.compare({"a": item(1, 0)}), "a deleted item came back"


def test_unacknowledged_may_be_either_and_refused_may_not() -> None:
    book = ledger(Write("put", 1, 10, 11), Write("add", 2, 20), Write("add", 3, 30))
    for counter, number in ((0, 1), (1, 2), (1, 3), (2, 3)):
        assert book.compare({"a": added(number, 1, counter)}) == []
    assert book.compare({"a": added(3, 1, 3)}), "twice"
    book.settle({"a": added(3, 1, 1)})
    assert book.compare({"a": added(3, 1, 2)}), "what a read has settled stays"
    assert ledger(Write("put", 1, 10, 11), Write("put", 2, 20, refused=True)).compare({"a": item(2, 0)})


def test_as_of_an_instant() -> None:
    book = ledger(Write("put", 1, 10, 11), Write("put", 2, 20, 21), Write("delete", 3, 30, 31))
    assert book.compare({}, 10) == []
    for at, number in ((11, 1), (20, 1), (21, 2), (30, 2)):
        assert book.compare({"a": item(number, 0)}, at) == []
        assert book.compare({}, at)
        assert book.compare({"a": item(3 - number, 0)}, at)
    assert book.compare({}, 31) == []


def test_times_go_both_ways() -> None:
    assert micros(rfc3339(1_763_000_000_000_007)) == 1_763_000_000_000_007
    assert rfc3339(7) == "1970-01-01T00:00:00.000007Z"
