"""The commands' evaluation: pure, and never raising."""

from __future__ import annotations

import pytest

from scrubjay.storage.commands.evaluate import evaluate
from scrubjay.storage.commands.values import (
    Decision,
    DeleteCommand,
    ExpireCommand,
    Failure,
    Outcome,
    PutCommand,
    SwapCommand,
    UpdateCommand,
)
from scrubjay.storage.items.encoding import decode_item, encode_item, encode_value
from scrubjay.storage.items.errors import ItemError
from scrubjay.storage.items.expressions.condition import parse_condition
from scrubjay.storage.items.expressions.update import NO_ATTRIBUTE, parse_update
from scrubjay.storage.items.values import Item

KEY: Item = {"pk": ("S", "k")}
OLD = encode_item({**KEY, "n": ("N", "1")})
NEW = encode_item({**KEY, "n": ("N", "2")})
EXISTS = parse_condition("attribute_exists(pk)")


def test_put() -> None:
    command = PutCommand(b"key", encode_item(KEY), NEW)
    assert evaluate(command, None) == Outcome(Decision.PUT, None, NEW)
    assert evaluate(command, OLD) == Outcome(Decision.PUT, OLD, NEW)
    guarded = PutCommand(b"key", encode_item(KEY), NEW, EXISTS)
    assert evaluate(guarded, None) == Outcome(Decision.CONDITION_FAILED, None, None)
    assert evaluate(guarded, OLD).decision is Decision.PUT


def test_delete() -> None:
    assert evaluate(DeleteCommand(b"key", encode_item(KEY)), OLD) == Outcome(Decision.DELETE, OLD, None)
    assert evaluate(DeleteCommand(b"key", encode_item(KEY)), None) == Outcome(Decision.UNCHANGED, None, None)
    assert evaluate(DeleteCommand(b"key", encode_item(KEY), EXISTS), None).decision is Decision.CONDITION_FAILED


def test_what_is_over_goes_only_as_it_was_found_and_by_the_leaders_clock_too() -> None:
    now = 1_800_000_000
    ends = ("N", str(now - 10))
    over = encode_item({**KEY, "ends": ends})
    command = ExpireCommand(b"key", encode_item(KEY), "ends", encode_value(ends))
    assert evaluate(command, over, now_s=now) == Outcome(Decision.DELETE, over, None)
    assert evaluate(command, None, now_s=now) == Outcome(Decision.UNCHANGED, None, None)
    stays = [
        (over, None),
        (over, now - 10),
        (over, now - 3600),
        (encode_item({**KEY, "ends": ("N", str(now + 10))}), now),
        (encode_item({**KEY, "ends": ("N", str(now - 11))}), now),
        (encode_item({**KEY, "ends": ("S", str(now - 10))}), now),
        (encode_item({**KEY, "ended": ends}), now),
        (encode_item(KEY), now),
    ]
    for item, now_s in stays:
        assert evaluate(command, item, now_s=now_s) == Outcome(Decision.CONDITION_FAILED, item, item)


def test_update() -> None:
    add = parse_update("SET n = n + :one", None, {":one": ("N", "1")})
    command = UpdateCommand(b"key", encode_item(KEY), add)
    assert evaluate(command, OLD) == Outcome(Decision.PUT, OLD, NEW)
    refused = evaluate(command, None)
    assert refused == Outcome(Decision.REFUSED, None, None, Failure(ItemError.code, NO_ATTRIBUTE))
    assert KEY == {"pk": ("S", "k")}


def test_an_update_of_nothing_makes_the_item_once() -> None:
    command = UpdateCommand(b"key", encode_item(KEY), None)
    first = evaluate(command, None)
    assert first.decision is Decision.PUT
    assert first.new is not None
    assert decode_item(first.new) == KEY
    assert evaluate(command, first.new) == Outcome(Decision.UNCHANGED, first.new, first.new)


@pytest.mark.parametrize("text", ["REMOVE n", "REMOVE a.b, c[1]", "DELETE s :s", "DELETE s :s REMOVE n"])
def test_what_only_removes_makes_no_item(text: str) -> None:
    update = parse_update(text, None, {":s": ("SS", ("a",))} if ":s" in text else None)
    assert evaluate(UpdateCommand(b"key", encode_item(KEY), update), None) == Outcome(Decision.UNCHANGED, None, None)


def test_an_update_that_changes_nothing_proposes_nothing() -> None:
    same = parse_update("SET n = :n", None, {":n": ("N", "1")})
    assert evaluate(UpdateCommand(b"key", encode_item(KEY), same), OLD) == Outcome(Decision.UNCHANGED, OLD, OLD)


@pytest.mark.parametrize("size", [400 * 1024, 400 * 1024 + 1])
def test_the_size_limit_of_updates_is_exact(size: int) -> None:
    # the item is pk "k" (3 bytes) and x (1 byte and its value)
    grow = parse_update("SET x = :x", None, {":x": ("S", "x" * (size - 4))})
    outcome = evaluate(UpdateCommand(b"key", encode_item(KEY), grow), None)
    assert outcome.decision is (Decision.PUT if size <= 400 * 1024 else Decision.REFUSED)
    if outcome.error is not None:
        assert outcome.error.message == "Item size to update has exceeded the maximum allowed size"


def test_rotten_bytes_are_refused_not_raised() -> None:
    for command in (
        PutCommand(b"key", encode_item(KEY), NEW, EXISTS),
        DeleteCommand(b"key", encode_item(KEY), EXISTS),
        UpdateCommand(b"key", encode_item(KEY), None),
    ):
        outcome = evaluate(command, b"\x01rotten")
        assert outcome.decision is Decision.REFUSED
        assert outcome.error is not None
        assert outcome.error.code == "Corrupt"


def test_a_mistake_of_ours_is_refused_by_its_name() -> None:
    broken = parse_update("SET n = n + :one", None, {":one": ("N", "no number")})
    outcome = evaluate(UpdateCommand(b"key", encode_item(KEY), broken), encode_item({**KEY, "n": ("N", "1.5")}))
    assert outcome.error is not None
    assert (outcome.decision, outcome.error.code) == (Decision.REFUSED, "Internal")
    assert "InvalidOperation" in outcome.error.fields["cause"]


def test_swap() -> None:
    def swap(expect: bytes | None, new: bytes | None) -> SwapCommand:
        return SwapCommand(b"key", encode_item(KEY), expect, new)

    assert evaluate(swap(None, NEW), None) == Outcome(Decision.PUT, None, NEW)
    assert evaluate(swap(OLD, NEW), OLD) == Outcome(Decision.PUT, OLD, NEW)
    assert evaluate(swap(OLD, None), OLD) == Outcome(Decision.DELETE, OLD, None)
    assert evaluate(swap(OLD, OLD), OLD) == Outcome(Decision.UNCHANGED, OLD, OLD)
    assert evaluate(swap(None, None), None) == Outcome(Decision.UNCHANGED, None, None)
    for expect, old in ((None, OLD), (OLD, None), (OLD, NEW)):
        assert evaluate(swap(expect, NEW), old) == Outcome(Decision.CONDITION_FAILED, old, old)
