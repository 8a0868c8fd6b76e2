"""Key conditions of a Query: which partition key, which range of sort keys.

DynamoDB finds their faults in three stages, with other parameters checked in between, so they are three calls: `parse_key_expression` (syntax, names,
values), `KeyExpression.conditions` (shape, still without the table) and `bind` (against the table's schema).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from scrubjay.storage.catalogue import KeySchema
from scrubjay.storage.items.errors import ItemError
from scrubjay.storage.items.expressions.condition import as_placeholders, bind_condition, parsed
from scrubjay.storage.items.expressions.placeholders import Placeholders
from scrubjay.storage.items.expressions.tree import And, Between, Compare, FunctionNode, In, Not, Or, PathNode, ValueNode, children
from scrubjay.storage.items.keys import CompositeKey, check_key_sizes, check_not_empty, hash_prefix, key_attributes, key_bounds, sort_bounds
from scrubjay.storage.items.values import Item, Value

_KIND = "KeyConditionExpression"
NOT_SUPPORTED = "Query key condition not supported"
NOT_INDEXABLE = "Attempted conditional constraint is not an indexable operation"
WRONG_LENGTH = "Conditions can be of length 1 or 2 only"
WRONG_TYPE = "One or more parameter values were invalid: Condition parameter type does not match schema type"
_MIRRORED = {"=": "=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_INDEXABLE = frozenset(("=", "<", "<=", ">", ">=", "BETWEEN", "begins_with"))


class AttributeCondition(NamedTuple):
    """One condition: operator is one that `keys.sort_bounds` knows, or (legacy only) a comparison that no key can have; values: its constants."""

    operator: str
    values: tuple[Value, ...]


class KeyCondition(NamedTuple):
    """What a Query asks for. hash_values: of every attribute that places a row. operator: None when the sort key is free, else one that `keys.sort_bounds` knows, with its sort_values. equal: of a key
    with several sort attributes, values of those before the one that `operator` is for."""

    schema: KeySchema | CompositeKey
    hash_values: tuple[Value, ...]
    operator: str | None
    sort_values: tuple[Value, ...]
    equal: tuple[Value, ...] = ()

    @property
    def hash_value(self) -> Value:
        return self.hash_values[0]

    def bounds(self) -> tuple[bytes, bytes | None]:
        """Storage keys [start, end) that can meet the condition, hash prefix included; end None at the end of the key space. Of a table's key."""
        assert isinstance(self.schema, KeySchema)
        return key_bounds(self.schema, self.hash_value, self.operator, self.sort_values)

    def sort_bounds(self) -> tuple[bytes | None, bytes | None]:
        """As `bounds`, of the sort key bytes alone; None is an open end."""
        assert isinstance(self.schema, KeySchema)
        return sort_bounds(self.schema, self.operator, self.sort_values)

    def prefix(self) -> bytes:
        """The 16 bytes all its rows' keys begin with."""
        assert isinstance(self.schema, KeySchema)
        return hash_prefix(self.schema, self.hash_value)


class KeyExpression:
    """A parsed KeyConditionExpression whose names and values are in. `conditions` finds the faults of its shape."""

    __slots__ = ("_tree",)

    def __init__(self, tree: Any) -> None:
        self._tree = tree

    def conditions(self, *, limit: int = 2) -> dict[str, AttributeCondition]:
        """Attribute name to its condition. limit: how many a key can have. Raises ItemError (operators, nesting, several names or conditions, too many)."""
        found: dict[str, AttributeCondition] = {}
        _collect(self._tree, found)
        if len(found) > limit:
            raise ItemError(WRONG_LENGTH)
        return found


def parse_key_expression(
    text: str, names: Mapping[str, str] | Placeholders | None = None, values: Mapping[str, Value] | None = None
) -> KeyExpression:
    """Stage one. names: the request's Placeholders, or a plain mapping beside `values`. Raises ItemError."""
    return KeyExpression(bind_condition(parsed(text, _KIND), _KIND, as_placeholders(names, values)).tree)


def bind(conditions: Mapping[str, AttributeCondition], schema: KeySchema | CompositeKey) -> KeyCondition:
    """Stage three: conditions on attributes against the key: every attribute that places a row is given, of those that order it the first ones, and only the last of these by anything but
    equality. Raises ItemError."""
    parts, attributes = CompositeKey.of(schema), key_attributes(schema)
    if len(conditions) > len(attributes):
        raise ItemError(NOT_SUPPORTED)
    given = attributes[: max(len(conditions), len(parts.hash))]
    if len(parts.sort) > 1 and all(one.name in conditions for one in parts.hash):
        _check_from_the_left([one.name for one in parts.sort], conditions)
    for attribute in given:
        if attribute.name not in conditions:
            raise ItemError(f"Query condition missed key schema element: {attribute.name}")
    if any(condition.operator not in _INDEXABLE for condition in conditions.values()):
        raise ItemError(NOT_INDEXABLE)
    for attribute in given:
        for value in conditions[attribute.name].values:
            if value[0] != attribute.type:
                raise ItemError(WRONG_TYPE)
    sorts = given[len(parts.hash) :]
    if any(conditions[attribute.name].operator != "=" for attribute in (*parts.hash, *sorts[:-1])):
        raise ItemError(NOT_SUPPORTED)
    key: Item = {attribute.name: conditions[attribute.name].values[0] for attribute in (*parts.hash, *sorts[:-1])}
    for attribute in (*parts.hash, *sorts[:-1]):
        check_not_empty(attribute.name, key[attribute.name])
    hash_values = tuple([key[attribute.name] for attribute in parts.hash])
    if not sorts:
        check_key_sizes(schema, key)
        return KeyCondition(schema, hash_values, None, ())
    last = conditions[sorts[-1].name]
    for value in last.values:
        check_not_empty(sorts[-1].name, value)
        check_key_sizes(schema, {**key, sorts[-1].name: value})
    return KeyCondition(schema, hash_values, last.operator, last.values, tuple([key[attribute.name] for attribute in sorts[:-1]]))


def _check_from_the_left(names: Sequence[str], conditions: Mapping[str, AttributeCondition]) -> None:
    """Of several attributes that order rows, those before the last one that is asked for equal something. Raises ItemError."""
    last = max([at for at, name in enumerate(names) if name in conditions], default=0)
    free = [name for name in names[:last] if name not in conditions or conditions[name].operator != "="]
    if free:
        raise ItemError(
            f"RANGE key attributes {', '.join(free)} must have equality conditions specified in the query because a condition is present on key attribute {names[last]}"
        )


# --- shape ---------------------------------------------------------------------------------------------------------------------------------


def _collect(node: Any, found: dict[str, AttributeCondition]) -> None:
    if isinstance(node, And):
        for term in node.terms:
            _collect(term, found)
        return
    operator, operands = _operator(node), children(node)
    if operator not in _INDEXABLE:
        raise ItemError(f"Invalid operator used in KeyConditionExpression: {operator}")
    if operator in ("BETWEEN", "begins_with") and isinstance(operands[0], ValueNode):
        raise ItemError(
            f"Invalid condition in KeyConditionExpression: {operator} operator must have the key attribute as its first operand"
        )
    name: str | None = None
    for operand in operands:
        if isinstance(operand, FunctionNode):
            raise ItemError("KeyConditionExpressions cannot contain nested operations")
        if isinstance(operand, PathNode):
            if name is not None:
                raise ItemError("Invalid condition in KeyConditionExpression: Multiple attribute names used in one condition")
            if len(operand.path) > 1:
                raise ItemError("KeyConditionExpressions cannot have conditions on nested attributes")
            name = str(operand.path[0])
    if name is None:
        raise ItemError("Invalid condition in KeyConditionExpression: No key attribute specified")
    if name in found:
        raise ItemError("KeyConditionExpressions must only contain one condition per key")
    if isinstance(operands[0], ValueNode):
        operator = _MIRRORED[operator]
    found[name] = AttributeCondition(operator, tuple([operand.value for operand in operands if isinstance(operand, ValueNode)]))


def _operator(node: Any) -> str:
    if isinstance(node, (Compare, FunctionNode)):
        name: str = node.operator if isinstance(node, Compare) else node.name
        return name
    for kind, word in ((Or, "OR"), (Not, "NOT"), (Between, "BETWEEN"), (In, "IN")):
        if isinstance(node, kind):
            return word
    raise AssertionError(type(node))
