"""Conditions and filters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

import msgspec

from scrubjay.storage.catalogue import KeySchema
from scrubjay.storage.items.errors import ItemError
from scrubjay.storage.items.expressions import check
from scrubjay.storage.items.expressions.check import invalid, operand_type, wrong_count, wrong_type
from scrubjay.storage.items.expressions.parser import ConditionParser
from scrubjay.storage.items.expressions.paths import Path
from scrubjay.storage.items.expressions.placeholders import Placeholders
from scrubjay.storage.items.expressions.tree import (
    ARITY,
    CONDITION_FUNCTIONS,
    EMPTY_ITEM,
    OPERAND_FUNCTIONS,
    And,
    Between,
    Compare,
    FunctionNode,
    In,
    Not,
    Or,
    PathNode,
    Term,
    UnboundPath,
    ValueNode,
    children,
    order,
    walk,
)
from scrubjay.storage.items.keys import CompositeKey, key_attributes
from scrubjay.storage.items.values import TYPES, Item, Value
from scrubjay.storage.items.wire import value_to_json

_UNORDERED = frozenset(("SS", "NS", "BS", "M", "L", "BOOL", "NULL"))
_UNSIZED = frozenset(("N", "BOOL", "NULL"))
_NO_PREFIX = frozenset(TYPES) - {"S", "B"}


class Condition(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A checked condition."""

    tree: Term

    def evaluate(self, item: Item | None) -> bool:
        """Whether `item` (None: there is none) meets the condition. Never raises."""
        return self.tree.evaluate(EMPTY_ITEM if item is None else item)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The document paths it reads, in the order of the text."""
        return tuple([node.path for node in walk(self.tree) if type(node) is PathNode])


def as_placeholders(names: Mapping[str, str] | Placeholders | None, values: Mapping[str, Value] | None) -> Placeholders:
    """The request's shared Placeholders if one was given, else one for this expression alone."""
    return names if isinstance(names, Placeholders) else Placeholders(names, values)


def parse_condition(
    text: str,
    names: Mapping[str, str] | Placeholders | None = None,
    values: Mapping[str, Value] | None = None,
    *,
    kind: str = "ConditionExpression",
) -> Condition:
    """Parse and check a condition. names: the request's Placeholders, or a plain mapping beside `values`. Raises ItemError."""
    return bind_condition(parsed(text, kind), kind, as_placeholders(names, values))


PARSED_KEPT = 1024
"""Parsed expressions kept for the next request with the same text (at most 4 KB of text each)."""


@lru_cache(maxsize=PARSED_KEPT)
def parsed(text: str, kind: str) -> Any:
    """The tree of a condition, checked as far as names and values do not matter. Shared by all uses. Raises ItemError."""
    parser = ConditionParser(text, kind)
    tree = parser.parse()
    nodes = walk(tree)
    check.check_limits(parser, nodes)
    _check_use(tree, kind, as_condition=True)
    check.check_reserved([node for node in nodes if isinstance(node, UnboundPath)], kind)
    return tree


def bind_condition(tree: Any, kind: str, placeholders: Placeholders) -> Condition:
    """A parsed tree with names and values put in, checked. Raises ItemError."""
    return Condition(check.bind(tree, placeholders, kind, partial(check_node, kind)))


def parse_filter(
    text: str,
    names: Mapping[str, str] | Placeholders | None = None,
    values: Mapping[str, Value] | None = None,
    *,
    schema: KeySchema | None = None,
) -> Condition:
    """A FilterExpression. schema: of a Query, whose filter may not name key attributes (a Scan's may: leave it out). Raises ItemError."""
    condition = parse_condition(text, names, values, kind="FilterExpression")
    if schema is not None:
        check_no_keys(condition, schema)
    return condition


def check_no_keys(condition: Condition, schema: KeySchema | CompositeKey) -> None:
    """Raise ItemError if the filter of a Query names a key attribute."""
    keys = key_names(schema)
    for path in condition.paths:
        if path[0] in keys:
            raise ItemError("Filter Expression can only contain non-primary key attributes: Primary key attribute: " + str(path[0]))


def check_key_paths(paths: tuple[Path, ...] | list[Path], schema: KeySchema) -> None:
    """Raise ItemError if a path goes into a key attribute: keys are scalars."""
    keys = key_names(schema)
    for path in paths:
        if len(path) > 1 and path[0] in keys:
            raise ItemError(f"Key attributes must be scalars; list random access '[]' and map lookup '.' are not allowed: Key: {path[0]}")


def key_names(schema: KeySchema | CompositeKey) -> tuple[str, ...]:
    """Names of the key attributes, partition key first."""
    return tuple([one.name for one in key_attributes(schema)])


def _check_use(node: Any, kind: str, *, as_condition: bool) -> None:
    """size() is an operand only, the others are conditions only; AWS says which one first from the outside in."""
    if isinstance(node, FunctionNode):
        if node.name not in (CONDITION_FUNCTIONS if as_condition else OPERAND_FUNCTIONS):
            raise check.misused(kind, node.name)
        as_condition = False
    elif isinstance(node, (Compare, Between, In)):
        as_condition = False
    for child in children(node):
        _check_use(child, kind, as_condition=as_condition)


def check_node(kind: str, node: Any) -> None:
    """One bound node, its children checked before: each operator and function is checked whole before the next one."""
    operands = children(node)
    if isinstance(node, FunctionNode):
        _check_function(node, kind)
    elif isinstance(node, Compare):
        if node.operator not in ("=", "<>"):
            _check_ordered(node.operator, operands, kind)
        check.check_distinct(kind, node.operator, operands)
    elif isinstance(node, Between):
        _check_ordered("BETWEEN", operands, kind)
        _check_bounds(node, kind)
        check.check_distinct(kind, "BETWEEN", operands)
    elif isinstance(node, In):
        if len(operands) > check.IN_OPERANDS_MAX:
            raise invalid(kind, f"The IN operator is provided with too many operands; number of operands: {len(operands)}")
        check.check_distinct(kind, "IN", operands)
    else:
        assert isinstance(node, (And, Or, Not)), type(node)


def _check_ordered(operator: str, operands: Sequence[Any], kind: str) -> None:
    for operand in operands:
        type_ = operand_type(operand)
        if type_ in _UNORDERED:
            raise invalid(kind, f"Incorrect operand type for operator or function; operator or function: {operator}, operand type: {type_}")


def show_operand(value: Value) -> str:
    """As AWS prints a value in a message."""
    ((type_, payload),) = value_to_json(value).items()
    return f"AttributeValue: {{{type_}:{payload}}}"


def _check_bounds(node: Between, kind: str) -> None:
    if not isinstance(node.low, ValueNode) or not isinstance(node.high, ValueNode):
        return
    check_bounds(node.low.value, node.high.value, kind)


def check_bounds(low: Value, high: Value, kind: str) -> None:
    """Raise ItemError unless the two bounds of BETWEEN have one type and the right order."""
    shown = f"lower bound operand: {show_operand(low)}, upper bound operand: {show_operand(high)}"
    if low[0] != high[0]:
        raise invalid(kind, f"The BETWEEN operator requires same data type for lower and upper bounds; {shown}")
    if order(low, high) == 1:
        raise invalid(kind, f"The BETWEEN operator requires upper bound to be greater than or equal to lower bound; {shown}")


def _check_function(node: FunctionNode, kind: str) -> None:
    name, arguments = node.name, node.arguments
    if len(arguments) != ARITY[name]:
        raise wrong_count(kind, name, len(arguments))
    if name in ("attribute_exists", "attribute_not_exists"):
        if not isinstance(arguments[0], PathNode):
            raise check.needs_path(kind, name)
    elif name == "size":
        type_ = operand_type(arguments[0])
        if type_ in _UNSIZED:
            raise wrong_type(kind, name, type_ or "")
    elif name == "begins_with":
        for argument in arguments:
            type_ = operand_type(argument)
            if type_ in _NO_PREFIX:
                raise wrong_type(kind, name, type_ or "")
    elif name == "attribute_type":
        _check_attribute_type(arguments, kind)
    check.check_distinct(kind, name, arguments)


def _check_attribute_type(arguments: Sequence[Any], kind: str) -> None:
    wanted = arguments[1]
    type_ = operand_type(wanted)
    if isinstance(wanted, PathNode):
        check.check_distinct(kind, "attribute_type", arguments)
        raise wrong_type(kind, "attribute_type", "{NS,SS,L,BS,N,M,B,BOOL,NULL,S}")
    if type_ != "S":
        raise wrong_type(kind, "attribute_type", type_ or "")
    name = wanted.value[1]
    if name not in TYPES:
        raise invalid(kind, f"Invalid attribute type name found; type: {name}, valid types: {{B,NULL,SS,BOOL,L,BS,N,NS,S,M}}")
