"""A command against the item as it is now. Pure, total, and run by a partition's leader only."""

from __future__ import annotations

from scrubjay.base.errors import Internal, ScrubjayError
from scrubjay.storage.commands.values import (
    CheckCommand,
    Decision,
    DeleteCommand,
    ExpireCommand,
    Failure,
    Outcome,
    PutCommand,
    SwapCommand,
    TransactedCommand,
    UpdateCommand,
)
from scrubjay.storage.items.encoding import decode_item, encode_item, encode_value
from scrubjay.storage.items.errors import ItemError
from scrubjay.storage.items.expressions.condition import Condition
from scrubjay.storage.items.index_keys import IndexKeys
from scrubjay.storage.items.size import ITEM_SIZE_MAX, check_encoded_size, check_item_size
from scrubjay.storage.items.ttl import has_passed


def evaluate(
    command: TransactedCommand | SwapCommand | ExpireCommand,
    old: bytes | None,
    *,
    lsn: int | None = None,
    now_s: int | None = None,
    indexes: IndexKeys | None = None,
) -> Outcome:
    """old: the item's canonical bytes in the leader's speculative state, None if absent. lsn: of the record that wrote it, where the command asks for one. now_s: seconds since
    the epoch by the leader's clock, for an ExpireCommand; None: no time has passed. indexes: of a table with indexes, which refuse what an update makes of their keys. Never
    raises: what it finds wrong it returns as REFUSED."""
    try:
        if type(command) is PutCommand:
            if command.condition is not None and not _meets(command.condition, old):
                return Outcome(Decision.CONDITION_FAILED, old, old)
            return Outcome(Decision.PUT, old, command.item)
        if type(command) is UpdateCommand:
            return _updated(command, old, indexes)
        if type(command) is DeleteCommand:
            if command.condition is not None and not _meets(command.condition, old):
                return Outcome(Decision.CONDITION_FAILED, old, old)
            return Outcome(Decision.UNCHANGED, None, None) if old is None else Outcome(Decision.DELETE, old, None)
        if type(command) is CheckCommand:
            return Outcome(Decision.UNCHANGED if _meets(command.condition, old) else Decision.CONDITION_FAILED, old, old)
        if type(command) is ExpireCommand:
            return _expired(command, old, now_s)
        assert type(command) is SwapCommand, type(command)
        return _swapped(command, old, lsn)
    except Exception as error:  # noqa: BLE001 the leader must not fall over a request
        return Outcome(Decision.REFUSED, old, old, failure_of(error))


def _meets(condition: Condition, old: bytes | None) -> bool:
    return condition.evaluate(None if old is None else decode_item(old))


def _updated(command: UpdateCommand, old: bytes | None, indexes: IndexKeys | None) -> Outcome:
    item = None if old is None else decode_item(old)
    if command.condition is not None and not command.condition.evaluate(item):
        return Outcome(Decision.CONDITION_FAILED, old, old)
    if item is not None:
        changed = item if command.update is None else command.update.update_item(item, item)
    else:
        key = decode_item(command.key_item)
        changed = key if command.update is None else command.update.update_item(None, key)
    if changed is None:
        return Outcome(Decision.UNCHANGED, None, None)
    new = encode_item(changed)
    if len(new) > ITEM_SIZE_MAX:
        # the encoding is never shorter than the size, so only long ones are counted
        check_item_size(changed, update=True)
        check_encoded_size(new, update=True)
    if new == old:
        return Outcome(Decision.UNCHANGED, old, new)
    if indexes is not None:
        indexes.check_updated(new)
    return Outcome(Decision.PUT, old, new)


def _swapped(command: SwapCommand, old: bytes | None, lsn: int | None) -> Outcome:
    if old != command.expect or (command.lsn is not None and lsn != command.lsn):
        return Outcome(Decision.CONDITION_FAILED, old, old)
    if command.new == old:
        return Outcome(Decision.UNCHANGED, old, old)
    return Outcome(Decision.DELETE if command.new is None else Decision.PUT, old, command.new)


def _expired(command: ExpireCommand, old: bytes | None, now_s: int | None) -> Outcome:
    if old is None:
        return Outcome(Decision.UNCHANGED, None, None)
    value = decode_item(old).get(command.attribute)
    if value is None or encode_value(value) != command.value or now_s is None or not has_passed(value, now_s=now_s):
        return Outcome(Decision.CONDITION_FAILED, old, old)
    return Outcome(Decision.DELETE, old, None)


def failure_of(error: Exception) -> Failure:
    """An error as code and fields; one that is neither ours nor DynamoDB's is a mistake of ours, and says which."""
    if isinstance(error, ScrubjayError):
        return Failure(error.code, error.message, error.fields)
    if isinstance(error, ItemError):
        return Failure(error.code, error.message)
    return Failure(Internal.code, "a command cannot be evaluated", {"cause": repr(error)})
