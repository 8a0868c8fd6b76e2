"""Update expressions: checks with AWS's order of faults, and their application to an item.

Every operand is read from the item as it was; then SET, ADD and DELETE take effect, then REMOVE, so that list indexes mean those of the old item.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec

from scrubjay.storage.catalogue import KeySchema
from scrubjay.storage.items import numbers
from scrubjay.storage.items.errors import ItemError
from scrubjay.storage.items.expressions import check
from scrubjay.storage.items.expressions.check import invalid, operand_type, wrong_count, wrong_type
from scrubjay.storage.items.expressions.condition import PARSED_KEPT, as_placeholders, key_names
from scrubjay.storage.items.expressions.parser import UpdateParser
from scrubjay.storage.items.expressions.paths import Path, check_disjoint, project, read
from scrubjay.storage.items.expressions.placeholders import Placeholders
from scrubjay.storage.items.expressions.tree import (
    ARITY,
    UPDATE_FUNCTIONS,
    Action,
    Arithmetic,
    FunctionNode,
    PathNode,
    UnboundPath,
    ValueNode,
    children,
    walk,
)
from scrubjay.storage.items.values import NESTING_MAX, SET_TYPES, Item, Value, is_deeper_than, make_set
from scrubjay.storage.items.wire import TOO_DEEP

_KIND = "UpdateExpression"
_LONG_TYPES = {"S": "STRING", "N": "NUMBER", "B": "BINARY", "M": "MAP", "L": "LIST", "NULL": "NULL", "BOOL": "BOOLEAN"}

INVALID_PATH = "The document path provided in the update expression is invalid for update"
WRONG_TYPE = "An operand in the update expression has an incorrect data type"
TYPE_MISMATCH = "Type mismatch for attribute to update"
NO_ATTRIBUTE = "The provided expression refers to an attribute that does not exist in the item"


class Update(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A checked update. legacy: it comes from AttributeUpdates, which has its own word for a value of the wrong type in the item."""

    actions: tuple[Action, ...]
    legacy: bool = False

    @property
    def type_error(self) -> str:
        """What is said when a value in the item has the wrong type for its action."""
        return TYPE_MISMATCH if self.legacy else WRONG_TYPE

    @property
    def paths(self) -> tuple[Path, ...]:
        """Its target paths, in the order of the text."""
        return tuple([action.target.path for action in self.actions])

    @property
    def reads(self) -> tuple[Path, ...]:
        """The document paths its operands read."""
        return tuple([node.path for action in self.actions for node in walk(action.operand) if type(node) is PathNode])

    def check_keys(self, schema: KeySchema) -> None:
        """Raise ItemError if a key attribute would be updated, or a path goes into one."""
        keys = key_names(schema)
        for path in self.paths:
            if path[0] in keys:
                raise ItemError(
                    f"One or more parameter values were invalid: Cannot update attribute {path[0]}. This attribute is part of the key"
                )

    def update_item(self, old: Item | None, key: Item) -> Item | None:
        """The item after the update of `old` (None: there is none). key: the key attributes alone.

        Returns None if there is no item and the update makes none: it only removes. Raises ItemError, as `apply`.
        """
        if old is not None:
            return self.apply(old)
        if self.actions and all(action.section in ("REMOVE", "DELETE") for action in self.actions):
            return None
        return self.apply(key, exists=False)

    def apply(self, item: Item, *, exists: bool = True) -> Item:
        """The updated item; `item` stays as it is. Raises ItemError (what AWS finds out only when it sees the item).

        exists: False if `item` is only the key of one to be made; removing from inside what it does not have is no error then.
        """
        changes: list[tuple[Path, Value | None]] = []
        for action in self.actions:
            section, path = action.section, action.target.path
            if section == "SET":
                changes.append((path, self._operand(action.operand, item)))
            elif section == "REMOVE":
                if exists or len(path) == 1:
                    changes.append((path, None))
            else:
                old = read(item, path)
                combine = _added if section == "ADD" else _deleted
                changes.append((path, combine(old, _constant(action.operand), self.type_error)))
        return _write(item, changes)

    def project_touched(self, item: Item) -> Item:
        """The parts of `item` (old or new) that the update names: for UPDATED_OLD and UPDATED_NEW."""
        return project(item, self.paths)

    def _operand(self, node: Any, item: Item) -> Value:
        if isinstance(node, ValueNode):
            return _constant(node)
        if isinstance(node, PathNode):
            value = node.read(item)
            if value is None:
                raise ItemError(NO_ATTRIBUTE)
            return value
        if isinstance(node, Arithmetic):
            left, right = self._operand(node.left, item), self._operand(node.right, item)
            if left[0] != "N" or right[0] != "N":
                raise ItemError(WRONG_TYPE)
            return "N", (numbers.add if node.operator == "+" else numbers.subtract)(left[1], right[1])
        assert isinstance(node, FunctionNode)
        if node.name == "if_not_exists":
            present: Value | None = node.arguments[0].read(item)
            return self._operand(node.arguments[1], item) if present is None else present
        head, tail = self._operand(node.arguments[0], item), self._operand(node.arguments[1], item)
        if head[0] != "L" or tail[0] != "L":
            raise ItemError(WRONG_TYPE)
        return "L", tuple(head[1]) + tuple(tail[1])


def _constant(node: Any) -> Value:
    value: Value = node.value
    return value


def _added(old: Value | None, value: Value, type_error: str) -> Value:
    """ADD: a number is added, a set is united; onto nothing the value itself."""
    if old is None:
        return value
    kind = value[0]
    if old[0] != kind:
        raise ItemError(type_error)
    if kind == "N":
        return "N", numbers.add(old[1], value[1])
    if kind == "L":
        return "L", tuple(old[1]) + tuple(value[1])
    return make_set(kind, old[1] + value[1])


def _deleted(old: Value | None, value: Value, type_error: str) -> Value | None:
    """DELETE: the set without the elements; None (the attribute goes) when nothing is left, or nothing was there."""
    if old is None:
        return None
    if old[0] != value[0]:
        raise ItemError(type_error)
    gone = frozenset(value[1])
    left = tuple([element for element in old[1] if element not in gone])
    return (old[0], left) if left else None


# --- writing -------------------------------------------------------------------------------------------------------------------------------


class _Branch:
    """Changes below one place of the item. below: next path element to Branch or value (None: removed)."""

    __slots__ = ("below",)

    def __init__(self) -> None:
        self.below: dict[Any, _Branch | tuple[Value | None]] = {}


def _write(item: Item, changes: list[tuple[Path, Value | None]]) -> Item:
    new = dict(item)
    branches: dict[str, _Branch] = {}
    for path, value in changes:
        if len(path) == 1:
            if value is None:
                new.pop(path[0], None)
            else:
                new[path[0]] = value
            continue
        branch = branches.get(path[0])
        if branch is None:
            branch = branches[path[0]] = _Branch()
        for element in path[1:-1]:
            deeper = branch.below.get(element)
            if not isinstance(deeper, _Branch):
                deeper = branch.below[element] = _Branch()
            branch = deeper
        branch.below[path[-1]] = (value,)
        if value is not None and value[0] in ("M", "L") and is_deeper_than(value, NESTING_MAX - len(path) + 1):
            raise ItemError(TOO_DEEP)
    for name, branch in branches.items():
        new[name] = _rewritten(item.get(name), branch)
    return new


def _rewritten(old: Value | None, branch: _Branch) -> Value:
    """The map or list `old` with the changes of `branch` below it. Raises ItemError if it is not there, or of the other kind."""
    if old is None:
        raise ItemError(INVALID_PATH)
    kind, payload = old
    if kind == "M":
        members = dict(payload)
        for name, change in branch.below.items():
            if isinstance(name, int):
                raise ItemError(INVALID_PATH)
            if isinstance(change, _Branch):
                members[name] = _rewritten(payload.get(name), change)
            elif change[0] is None:
                members.pop(name, None)
            else:
                members[name] = change[0]
        return "M", members
    if kind != "L" or any(isinstance(index, str) for index in branch.below):
        raise ItemError(INVALID_PATH)
    elements: list[Value | None] = list(payload)
    for index in sorted(branch.below):
        change = branch.below[index]
        if isinstance(change, _Branch):
            elements[index : index + 1] = [_rewritten(payload[index] if index < len(payload) else None, change)]
        elif index < len(payload):
            elements[index] = change[0]
        elif change[0] is not None:
            elements.append(change[0])
    return "L", tuple([element for element in elements if element is not None])


# --- checks --------------------------------------------------------------------------------------------------------------------------------


def parse_update(text: str, names: Mapping[str, str] | Placeholders | None = None, values: Mapping[str, Value] | None = None) -> Update:
    """Parse and check an UpdateExpression. names: the request's Placeholders, or a plain mapping beside `values`. Raises ItemError."""
    placeholders = as_placeholders(names, values)
    return checked(tuple([_bound(action, placeholders) for action in parsed(text)]))


def checked(actions: tuple[Action, ...]) -> Update:
    """Bound actions as an update. Raises ItemError: what is wrong with them whatever the item."""
    check_disjoint([action.target.path for action in actions], _KIND)
    for action in actions:
        if action.section in ("ADD", "DELETE"):
            _check_set_action(action.section, _constant(action.operand))
    for action in actions:
        if action.section == "SET":
            _check_operand(action.operand)
    return Update(actions)


def _bound(action: Action, placeholders: Placeholders) -> Action:
    """With names and values put in."""
    target: Any = action.target
    target = check.bind_path(target, placeholders, _KIND)
    return Action(action.section, target, None if action.operand is None else check.bind(action.operand, placeholders, _KIND))


@lru_cache(maxsize=PARSED_KEPT)
def parsed(text: str) -> list[Action]:
    """The actions of an update, checked as far as names and values do not matter. Shared by all uses. Raises ItemError."""
    parser = UpdateParser(text)
    actions = parser.parse()
    nodes = [node for action in actions for node in (action.target, *([] if action.operand is None else walk(action.operand)))]
    check.check_limits(parser, nodes)
    for action in actions:
        _check_use(action.operand, nested=False)
    check.check_reserved([node for node in nodes if isinstance(node, UnboundPath)], _KIND)
    if parser.repeated is not None:
        raise invalid(_KIND, f'The "{parser.repeated}" section can only be used once in an update expression;')
    return actions


def _check_use(node: Any, *, nested: bool) -> None:
    """Functions of conditions have no place here, and list_append none inside another function."""
    if isinstance(node, FunctionNode):
        if node.name not in UPDATE_FUNCTIONS or (nested and node.name == "list_append"):
            raise check.misused(_KIND, node.name)
        nested = True
    for child in children(node):
        _check_use(child, nested=nested)


def _check_set_action(section: str, value: Value) -> None:
    kind = value[0]
    if kind not in SET_TYPES and not (section == "ADD" and kind == "N"):
        raise invalid(_KIND, f"Incorrect operand type for operator or function; operator: {section}, operand type: {_LONG_TYPES[kind]}")


def _check_operand(node: Any) -> None:
    """Children first."""
    for child in children(node):
        _check_operand(child)
    if isinstance(node, FunctionNode):
        name, arguments = node.name, node.arguments
        if len(arguments) != ARITY[name]:
            raise wrong_count(_KIND, name, len(arguments))
        if name == "if_not_exists":
            if not isinstance(arguments[0], PathNode):
                raise check.needs_path(_KIND, name)
            return
        for argument in arguments:
            type_ = operand_type(argument)
            if type_ is not None and type_ != "L":
                raise wrong_type(_KIND, name, type_)
    elif isinstance(node, Arithmetic):
        for operand in (node.left, node.right):
            type_ = operand_type(operand)
            if type_ is None and isinstance(operand, FunctionNode) and operand.name == "list_append":
                type_ = "L"
            if type_ is not None and type_ != "N":
                raise wrong_type(_KIND, node.operator, type_)
