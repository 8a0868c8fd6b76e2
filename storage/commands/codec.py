"""Commands and answers as bytes (docs/formats/command.md): a version byte, then MessagePack, every struct an array behind its tag.

Nothing here runs inside one process. Bytes that no encoder can have made raise Corrupt and nothing else; constants of expressions travel in the item's
own encoding. There is no checksum: what carries these bytes between processes has one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from scrubjay.base.errors import ScrubjayError, from_code
from scrubjay.base.ids import TRANSACTION_ID_BYTES, TRANSACTION_TOKEN_BYTES_MAX
from scrubjay.base.packed import malformed, packed, unpacked
from scrubjay.storage.commands.values import (
    CheckCommand,
    Decision,
    DeleteCommand,
    ExpireCommand,
    Failure,
    FeedCommand,
    FinishCommand,
    IndexRangeAnswer,
    LookCommand,
    Outcome,
    PrepareCommand,
    PutCommand,
    RangeAnswer,
    ReadAnswer,
    Said,
    SwapCommand,
    TransactAnswer,
    TransactedCommand,
    UpdateCommand,
    WriteAnswer,
    WriteCommand,
)
from scrubjay.storage.items.encoding import decode_value, encode_value
from scrubjay.storage.items.expressions.check import INDEX_MAX
from scrubjay.storage.items.expressions.condition import Condition
from scrubjay.storage.items.expressions.parser import OPERATORS_MAX
from scrubjay.storage.items.expressions.paths import PATH_DEPTH_MAX
from scrubjay.storage.items.expressions.tree import (
    ARITY,
    COMPARISONS,
    CONDITION_FUNCTIONS,
    OPERAND_FUNCTIONS,
    SECTIONS,
    UPDATE_FUNCTIONS,
    Action,
    And,
    Arithmetic,
    Compare,
    FunctionNode,
    Not,
    Or,
    PathNode,
    ValueNode,
    children,
    rebuilt,
)
from scrubjay.storage.items.expressions.update import Update
from scrubjay.storage.items.keys import HASH_BYTES, SORT_KEY_BYTES_MAX
from scrubjay.storage.items.size import ITEM_ENCODED_BYTES_MAX
from scrubjay.storage.items.values import NESTING_MAX, is_deeper_than

VERSION = 1
COMMAND_BYTES_MAX = 32 << 20
"""Bytes. The item and the constants of its expressions come in one request body of 16 MiB."""
ANSWER_BYTES_MAX = 32 << 20
"""Bytes. Two images of one item, or a page of 1 MiB and one item more."""
KEY_BYTES_MAX = HASH_BYTES + SORT_KEY_BYTES_MAX
"""Bytes of a storage key."""
ROW_KEY_BYTES_MAX = 1978
"""Bytes of the key of a row of an index: what a tree takes."""
EXPRESSION_DEPTH_MAX = OPERATORS_MAX + 1
"""Nodes from the root of an expression to a leaf: every other node takes an operator."""

_commands: msgspec.msgpack.Decoder[WriteCommand] = msgspec.msgpack.Decoder(WriteCommand)
_answers: msgspec.msgpack.Decoder[WriteAnswer | TransactAnswer | ReadAnswer | RangeAnswer | IndexRangeAnswer | Failure] = (
    msgspec.msgpack.Decoder(WriteAnswer | TransactAnswer | ReadAnswer | RangeAnswer | IndexRangeAnswer | Failure)
)
PARTS_MAX = 100
"""Of one transaction."""


# --- commands ------------------------------------------------------------------------------------------------------------------------------


def encode_command(command: WriteCommand) -> bytes:
    """Raises Invalid if it is too large, or no data."""
    return packed(command, version=VERSION, what="command", limit=COMMAND_BYTES_MAX, outward=_outward)


def _outward(command: WriteCommand) -> WriteCommand:
    """The command with its constants as bytes. Trees are shared by all requests with the same text: a copy."""
    if isinstance(command, PrepareCommand):
        return msgspec.structs.replace(command, parts=tuple([_part_outward(part) for part in command.parts]))
    if isinstance(command, SwapCommand | ExpireCommand | FeedCommand) or (
        command.condition is None and not isinstance(command, UpdateCommand)
    ):
        return command
    return _part_outward(command)  # type: ignore[return-value]  # a condition alone comes among parts only


def _part_outward(command: TransactedCommand) -> TransactedCommand:
    if isinstance(command, CheckCommand):
        return CheckCommand(command.key, command.key_item, Condition(rebuilt(command.condition.tree, _leaf_outward)))
    condition = None if command.condition is None else Condition(rebuilt(command.condition.tree, _leaf_outward))
    if isinstance(command, PutCommand):
        return PutCommand(command.key, command.key_item, command.item, condition, command.blind)
    if isinstance(command, DeleteCommand):
        return DeleteCommand(command.key, command.key_item, condition)
    update = command.update
    if update is not None:
        update = Update(tuple([_action_outward(action) for action in update.actions]), update.legacy)
    return UpdateCommand(command.key, command.key_item, update, condition)


def _action_outward(action: Action) -> Action:
    return action if action.operand is None else Action(action.section, action.target, rebuilt(action.operand, _leaf_outward))


def _leaf_outward(node: PathNode | ValueNode) -> PathNode | ValueNode:
    return ValueNode(encode_value(node.value)) if isinstance(node, ValueNode) else node


def decode_command(data: bytes | memoryview) -> WriteCommand:
    """Raises Corrupt on anything but what `encode_command` makes of a command that a router may send, as far as structure tells."""
    command = unpacked(_commands, data, version=VERSION, what="command", limit=COMMAND_BYTES_MAX)
    if not 0 < len(command.key) <= KEY_BYTES_MAX:
        raise malformed("command", "length of the key", len(command.key))
    if isinstance(command, PrepareCommand | FinishCommand | LookCommand):
        return _taken(command)
    if isinstance(command, SwapCommand):
        _check_item(command.new)
        return command
    if isinstance(command, FeedCommand):
        if not FeedCommand.BEGIN <= command.kind <= FeedCommand.PAGE or not 0 <= command.after <= command.upto:
            raise malformed("command", "what is fed", command.kind)
        if any(not 0 < len(key) <= ROW_KEY_BYTES_MAX for _, key, _ in command.rows):
            raise malformed("command", "length of a row's key", len(command.rows))
        return command
    if isinstance(command, ExpireCommand):
        if decode_value(command.value)[0] != "N":
            raise malformed("command", "a time that is no number", len(command.value))
        return command
    _take_part(command)
    return command


def _taken(command: PrepareCommand | FinishCommand | LookCommand) -> WriteCommand:
    """A command of a transaction, checked."""
    if isinstance(command, LookCommand):
        keys: Sequence[bytes] = command.keys
    else:
        if len(command.id) != TRANSACTION_ID_BYTES:
            raise malformed("command", "id of a transaction", len(command.id))
        keys = () if isinstance(command, FinishCommand) else [part.key for part in command.parts]
        if isinstance(command, PrepareCommand):
            if not 0 < len(command.token) <= TRANSACTION_TOKEN_BYTES_MAX:
                raise malformed("command", "token of a transaction", len(command.token))
            for part in command.parts:
                _take_part(part)
    if not isinstance(command, FinishCommand) and (not 0 < len(keys) <= PARTS_MAX or command.key != keys[0] or len(set(keys)) != len(keys)):
        raise malformed("command", "keys of a transaction", len(keys))
    if any(not 0 < len(key) <= KEY_BYTES_MAX for key in keys):
        raise malformed("command", "length of a key", max(map(len, keys)))
    return command


def _take_part(command: TransactedCommand) -> None:
    if isinstance(command, PutCommand):
        _check_item(command.item)
    condition = command.condition
    if condition is not None:
        if command.blind:
            raise malformed("command", "a condition that looks at nothing", 1)
        _take_tree(condition.tree, CONDITION_FUNCTIONS)
    if isinstance(command, UpdateCommand) and command.update is not None:
        for action in command.update.actions:
            _take_action(action)


def _check_item(item: bytes | None) -> None:
    if item is not None and len(item) > ITEM_ENCODED_BYTES_MAX:
        raise malformed("command", "size of an item", len(item))


def _take_action(action: Action) -> None:
    section, operand = action.section, action.operand
    if section not in SECTIONS:
        raise malformed("command", "section", section)
    if (operand is None) != (section == "REMOVE") or (section in ("ADD", "DELETE") and type(operand) is not ValueNode):
        raise malformed("command", "operand of a section", section)
    _take_leaf(action.target)
    if operand is not None:
        _take_tree(operand, UPDATE_FUNCTIONS)


def _take_tree(root: Any, functions: Collection[str]) -> None:
    """Check a decoded tree and put its constants in place. functions: what may be called at its root. Without recursion: depth is what is checked."""
    waiting: list[tuple[Any, Collection[str], int]] = [(root, functions, 1)]
    while waiting:
        node, functions, depth = waiting.pop()
        if depth > EXPRESSION_DEPTH_MAX:
            raise malformed("command", "depth of an expression", depth)
        if isinstance(node, PathNode | ValueNode):
            _take_leaf(node)
            continue
        if isinstance(node, Compare) and node.operator not in COMPARISONS:
            raise malformed("command", "comparison", node.operator)
        if isinstance(node, Arithmetic) and (functions is not UPDATE_FUNCTIONS or node.operator not in ("+", "-")):
            raise malformed("command", "arithmetic", node.operator)
        if isinstance(node, FunctionNode) and (node.name not in functions or len(node.arguments) != ARITY[node.name]):
            raise malformed("command", "function", node.name)
        if functions is CONDITION_FUNCTIONS and not isinstance(node, And | Or | Not):
            functions = OPERAND_FUNCTIONS
        waiting.extend([(child, functions, depth + 1) for child in children(node)])


def _take_leaf(node: PathNode | ValueNode) -> None:
    if isinstance(node, PathNode):
        path = node.path
        if not 0 < len(path) <= PATH_DEPTH_MAX or not isinstance(path[0], str):
            raise malformed("command", "path", len(path))
        if any(isinstance(step, int) and not 0 <= step <= INDEX_MAX for step in path):
            raise malformed("command", "list index", max(step for step in path if isinstance(step, int)))
        return
    if type(node.value) is not bytes:
        raise malformed("command", "constant", type(node.value).__name__)
    value = decode_value(node.value)
    if is_deeper_than(value, NESTING_MAX):
        raise malformed("command", "depth of a constant", NESTING_MAX + 1)
    # the node was decoded a moment ago and is nobody else's yet
    msgspec.structs.force_setattr(node, "value", value)


# --- answers -------------------------------------------------------------------------------------------------------------------------------


def encode_answer(answer: Said) -> bytes:
    """An answer, or the error that stands for one. Fields that are no data are said as text. Raises Invalid if it is too large."""
    return packed(answer, version=VERSION, what="answer", limit=ANSWER_BYTES_MAX, outward=_said)


def _said(answer: Said) -> WriteAnswer | ReadAnswer | RangeAnswer | Failure:
    return Failure(answer.code, answer.message, answer.fields) if isinstance(answer, ScrubjayError) else answer


def decode_answer(data: bytes | memoryview) -> Said:
    """Raises Corrupt; an error that was sent is returned."""
    said = unpacked(_answers, data, version=VERSION, what="answer", limit=ANSWER_BYTES_MAX)
    if isinstance(said, Failure):
        return from_code(said.code, said.message, said.fields)
    if isinstance(said, WriteAnswer):
        _check_outcome(said)
    return said


def _check_outcome(answer: WriteAnswer) -> None:
    """The parts of an outcome belong together: see the table of decisions."""
    outcome = answer.outcome
    proposed = outcome.decision in (Decision.PUT, Decision.DELETE)
    if proposed == (answer.timestamp_us is None) or outcome.decision is Decision.LOCKED:
        raise malformed("answer", "parts of an outcome", outcome.decision)
    _check_images(outcome)
    if isinstance(answer, TransactAnswer):
        for one in answer.outcomes:
            _check_images(one)


def _check_images(outcome: Outcome) -> None:
    decision = outcome.decision
    if (decision is Decision.REFUSED) == (outcome.error is None):
        raise malformed("answer", "parts of an outcome", decision)
    if (
        outcome.new is None
        if decision is Decision.PUT
        else (outcome.new is not None if decision is Decision.DELETE else outcome.new != outcome.old)
    ):
        raise malformed("answer", "images of an outcome", decision)
