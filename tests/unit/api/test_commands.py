"""The commands' evaluation: pure, and never raising."""

from __future__ import annotations

import pytest

from storage.api.commands import DeleteCommand, PutCommand, UpdateCommand
from storage.command import Verdict
from storage.items.encoding import decode_item, encode_item
from storage.items.errors import ItemError
from storage.items.expressions.condition import parse_condition
from storage.items.expressions.update import parse_update
from storage.items.values import Item

KEY: Item = {"pk": ("S", "k")}
OLD = encode_item({**KEY, "n": ("N", "1")})
NEW = encode_item({**KEY, "n": ("N", "2")})
EXISTS = parse_condition("attribute_exists(pk)")


def test_put() -> None:
    command = PutCommand(b"key", encode_item(KEY), NEW)
    assert command.evaluate(None) == (Verdict.PUT, None, NEW, None)
    assert command.evaluate(OLD) == (Verdict.PUT, OLD, NEW, None)
    guarded = PutCommand(b"key", encode_item(KEY), NEW, EXISTS)
    assert guarded.evaluate(None) == (Verdict.CONDITION_FAILED, None, None, None)
    assert guarded.evaluate(OLD).verdict is Verdict.PUT


def test_delete() -> None:
    assert DeleteCommand(b"key", encode_item(KEY)).evaluate(OLD) == (Verdict.DELETE, OLD, None, None)
    assert DeleteCommand(b"key", encode_item(KEY)).evaluate(None) == (Verdict.UNCHANGED, None, None, None)
    assert DeleteCommand(b"key", encode_item(KEY), EXISTS).evaluate(None).verdict is Verdict.CONDITION_FAILED


def test_update() -> None:
    add = parse_update("SET n = n + :one", None, {":one": ("N", "1")})
    command = UpdateCommand(b"key", encode_item(KEY), KEY, add)
    assert command.evaluate(OLD) == (Verdict.PUT, OLD, NEW, None)
    refused = command.evaluate(None)
    assert (refused.verdict, refused.new) == (Verdict.REFUSED, None)
    assert isinstance(refused.error, ItemError)
    assert KEY == {"pk": ("S", "k")}


def test_an_update_of_nothing_makes_the_item_once() -> None:
    command = UpdateCommand(b"key", encode_item(KEY), KEY, None)
    first = command.evaluate(None)
    assert first.verdict is Verdict.PUT
    assert first.new is not None
    assert decode_item(first.new) == KEY
    assert command.evaluate(first.new) == (Verdict.UNCHANGED, first.new, first.new, None)


@pytest.mark.parametrize("text", ["REMOVE n", "REMOVE a.b, c[1]", "DELETE s :s", "DELETE s :s REMOVE n"])
def test_what_only_removes_makes_no_item(text: str) -> None:
    update = parse_update(text, None, {":s": ("SS", ("a",))} if ":s" in text else None)
    assert UpdateCommand(b"key", encode_item(KEY), KEY, update).evaluate(None) == (Verdict.UNCHANGED, None, None, None)


def test_an_update_that_changes_nothing_proposes_nothing() -> None:
    same = parse_update("SET n = :n", None, {":n": ("N", "1")})
    assert UpdateCommand(b"key", encode_item(KEY), KEY, same).evaluate(OLD) == (Verdict.UNCHANGED, OLD, OLD, None)


@pytest.mark.parametrize("size", [400 * 1024, 400 * 1024 + 1])
def test_the_size_limit_of_updates_is_exact(size: int) -> None:
    # the item is pk "k" (3 bytes) and x (1 byte and its value)
    grow = parse_update("SET x = :x", None, {":x": ("S", "x" * (size - 4))})
    outcome = UpdateCommand(b"key", encode_item(KEY), KEY, grow).evaluate(None)
    assert outcome.verdict is (Verdict.PUT if size <= 400 * 1024 else Verdict.REFUSED)
    if outcome.error is not None:
        assert str(outcome.error) == "Item size to update has exceeded the maximum allowed size"


def test_rotten_bytes_are_refused_not_raised() -> None:
    for command in (
        PutCommand(b"key", encode_item(KEY), NEW, EXISTS),
        DeleteCommand(b"key", encode_item(KEY), EXISTS),
        UpdateCommand(b"key", encode_item(KEY), KEY, None),
    ):
        outcome = command.evaluate(b"\x01rotten")
        assert outcome.verdict is Verdict.REFUSED
        assert outcome.error is not None
