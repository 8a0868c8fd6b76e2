"""The writes an API call sends to a partition's leader: put, update and delete of one item, each under an optional condition.

`evaluate` is pure and never raises: what it finds wrong it returns. The router has parsed and checked everything that does not need the item.
"""

from __future__ import annotations

from storage.api import limits
from storage.command import Outcome, Verdict
from storage.items.encoding import decode_item, encode_item
from storage.items.expressions.condition import Condition
from storage.items.expressions.update import Update
from storage.items.size import check_item_size
from storage.items.values import Item


class PutCommand:
    """Write `item` (canonical bytes) whole. blind: the answer does not show or weigh what was there before."""

    __slots__ = ("blind", "condition", "item", "key", "key_item")

    def __init__(self, key: bytes, key_item: bytes, item: bytes, condition: Condition | None = None, *, blind: bool = False) -> None:
        self.blind = blind and condition is None
        self.key = key
        self.key_item = key_item
        self.item = item
        self.condition = condition

    def evaluate(self, old: bytes | None) -> Outcome:
        condition = self.condition
        if condition is not None:
            try:
                if not condition.evaluate(None if old is None else decode_item(old)):
                    return Outcome(Verdict.CONDITION_FAILED, old, old)
            except Exception as error:  # noqa: BLE001 the leader must not fall over a request
                return Outcome(Verdict.REFUSED, old, old, error)
        return Outcome(Verdict.PUT, old, self.item)


class UpdateCommand:
    """Apply `update` to the item, or to the bare key if there is none; what only removes makes no item. update None: make sure the item exists."""

    __slots__ = ("blind", "condition", "key", "key_item", "key_values", "update")

    def __init__(self, key: bytes, key_item: bytes, key_values: Item, update: Update | None, condition: Condition | None = None) -> None:
        self.blind = False
        self.key = key
        self.key_item = key_item
        self.key_values = key_values
        self.update = update
        self.condition = condition

    def evaluate(self, old: bytes | None) -> Outcome:
        try:
            item = None if old is None else decode_item(old)
            if self.condition is not None and not self.condition.evaluate(item):
                return Outcome(Verdict.CONDITION_FAILED, old, old)
            changed = (item or self.key_values) if self.update is None else self.update.update_item(item, self.key_values)
            if changed is None:
                return Outcome(Verdict.UNCHANGED, None, None)
            new = encode_item(changed)
            if len(new) > limits.ITEM_BYTES_MAX:
                # the encoding is never shorter than the size, so only long ones are counted
                check_item_size(changed, update=True)
        except Exception as error:  # noqa: BLE001 the leader must not fall over a request
            return Outcome(Verdict.REFUSED, old, old, error)
        if new == old:
            return Outcome(Verdict.UNCHANGED, old, old)
        return Outcome(Verdict.PUT, old, new)


class DeleteCommand:
    """Remove the item, if it is there."""

    __slots__ = ("blind", "condition", "key", "key_item")

    def __init__(self, key: bytes, key_item: bytes, condition: Condition | None = None) -> None:
        self.blind = False
        self.key = key
        self.key_item = key_item
        self.condition = condition

    def evaluate(self, old: bytes | None) -> Outcome:
        condition = self.condition
        if condition is not None:
            try:
                if not condition.evaluate(None if old is None else decode_item(old)):
                    return Outcome(Verdict.CONDITION_FAILED, old, old)
            except Exception as error:  # noqa: BLE001 the leader must not fall over a request
                return Outcome(Verdict.REFUSED, old, old, error)
        if old is None:
            return Outcome(Verdict.UNCHANGED, None, None)
        return Outcome(Verdict.DELETE, old, None)
