"""The parameters from before expressions, turned into the same trees: Expected, ConditionalOperator, AttributeUpdates, KeyConditions, QueryFilter,
ScanFilter, AttributesToGet.

All take the JSON of the request member, whose enumerations (ComparisonOperator, Action) have been checked against the service model before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from scrubjay.storage.catalogue import KeySchema
from scrubjay.storage.items.errors import ItemError
from scrubjay.storage.items.expressions.condition import Condition, key_names
from scrubjay.storage.items.expressions.keycondition import WRONG_LENGTH, AttributeCondition
from scrubjay.storage.items.expressions.projection import Projection
from scrubjay.storage.items.expressions.tree import Action, And, Between, Compare, FunctionNode, In, Not, Or, PathNode, ValueNode, order
from scrubjay.storage.items.expressions.update import Update
from scrubjay.storage.items.keys import CompositeKey
from scrubjay.storage.items.values import SET_TYPES, Item, Value
from scrubjay.storage.items.wire import check_name, value_from_json

_INVALID = "One or more parameter values were invalid: "
_NO_VALUES = ("NULL", "NOT_NULL")
_COMPARE = {"EQ": "=", "NE": "<>", "LE": "<=", "LT": "<", "GE": ">=", "GT": ">"}
_SCALARS = frozenset(("S", "N", "B"))
_VALID_TYPES: dict[str, frozenset[str]] = {
    **dict.fromkeys(("LE", "LT", "GE", "GT", "IN", "BETWEEN"), _SCALARS),
    **dict.fromkeys(("CONTAINS", "NOT_CONTAINS"), _SCALARS | {"BOOL", "NULL"}),
    "BEGINS_WITH": frozenset(("S", "B")),
}
_BOUNDS_REVERSED = "The BETWEEN condition was provided a range where the lower bound is greater than the upper bound"


# --- conditions ----------------------------------------------------------------------------------------------------------------------------


def _check_names(names: Iterable[str]) -> None:
    """Raise ItemError if one of `names` cannot name an attribute."""
    for name in names:
        check_name(name)


def check_conditional_operator(operator: str | None, conditions: Mapping[str, object] | None) -> None:
    """Raise ItemError if ConditionalOperator is given without something to join. conditions: Expected, QueryFilter or ScanFilter."""
    if operator is None:
        return
    if not conditions:
        raise ItemError("ConditionalOperator cannot be used without Filter or Expected")
    if len(conditions) == 1:
        raise ItemError("ConditionalOperator can only be used when Filter or Expected has two or more elements")


def parse_expected(expected: Mapping[str, Mapping[str, Any]], operator: str | None = None) -> Condition:
    """Expected with its ConditionalOperator (AND, OR or None). Raises ItemError, SerializationError."""
    _check_names(expected)
    values = {name: _expected_values(condition) for name, condition in expected.items()}
    terms = [_expected_term(name, condition, *values[name]) for name, condition in expected.items()]
    return _joined(terms, operator)


def _expected_values(condition: Mapping[str, Any]) -> tuple[Value | None, tuple[Value, ...] | None]:
    value, listed = condition.get("Value"), condition.get("AttributeValueList")
    return (
        None if value is None else value_from_json(value),
        None if listed is None else tuple([value_from_json(one) for one in listed]),
    )


def _expected_term(name: str, condition: Mapping[str, Any], value: Value | None, listed: tuple[Value, ...] | None) -> Any:
    operator, exists = condition.get("ComparisonOperator"), condition.get("Exists")
    if value is not None and listed is not None:
        raise ItemError(f"{_INVALID}Value and AttributeValueList cannot be used together for Attribute: {name}")
    if operator is not None:
        if exists is not None:
            raise ItemError(f"{_INVALID}Exists and ComparisonOperator cannot be used together for Attribute: {name}")
        if operator not in _NO_VALUES and value is None and listed is None:
            raise ItemError(f"{_INVALID}Value or AttributeValueList must be used with ComparisonOperator: {operator} for Attribute: {name}")
        given = listed if listed is not None else () if value is None else (value,)
        check_arguments(operator, given)
        return _comparison(name, operator, given)
    if listed is not None:
        raise ItemError(f"{_INVALID}AttributeValueList can only be used with a ComparisonOperator for Attribute: {name}")
    if exists is False:
        if value is not None:
            raise ItemError(f"{_INVALID}Value cannot be used when Exists is false for Attribute: {name}")
        return _comparison(name, "NULL", ())
    if value is None:
        word = "null" if exists is None else "true"
        raise ItemError(f"{_INVALID}Value must be provided when Exists is {word} for Attribute: {name}")
    return _comparison(name, "EQ", (value,))


def parse_filter(conditions: Mapping[str, Mapping[str, Any]], operator: str | None = None) -> Condition:
    """QueryFilter or ScanFilter with its ConditionalOperator. Raises ItemError, SerializationError."""
    checked = _conditions(conditions)
    return _joined([_comparison(name, *condition) for name, condition in checked.items()], operator)


def check_no_keys(conditions: Mapping[str, object], schema: KeySchema | CompositeKey) -> None:
    """Raise ItemError if a QueryFilter names a key attribute."""
    for name in key_names(schema):
        if name in conditions:
            raise ItemError(f"QueryFilter can only contain non-primary key attributes: Primary key attribute: {name}")


def _conditions(conditions: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[str, tuple[Value, ...]]]:
    """Values of all conditions first, then what each operator takes."""
    _check_names(conditions)
    checked: dict[str, tuple[str, tuple[Value, ...]]] = {}
    for name, condition in conditions.items():
        values = tuple([value_from_json(one) for one in condition.get("AttributeValueList") or ()])
        checked[name] = (condition["ComparisonOperator"], values)
    for operator, values in checked.values():
        check_arguments(operator, values)
    return checked


def check_arguments(operator: str, values: tuple[Value, ...]) -> None:
    """Raise ItemError if a ComparisonOperator does not take these values: number, types, order of BETWEEN."""
    count = len(values)
    if operator in _NO_VALUES:
        fits = count == 0
    elif operator == "BETWEEN":
        fits = count == 2
    elif operator == "IN":
        fits = count >= 1
    else:
        fits = count == 1
    if not fits:
        raise ItemError(f"{_INVALID}Invalid number of argument(s) for the {operator} ComparisonOperator")
    if any(value[0] != values[0][0] for value in values):
        raise ItemError(_INVALID + "AttributeValues inside AttributeValueList must be of same type")
    valid = _VALID_TYPES.get(operator)
    if valid is not None and values[0][0] not in valid:
        raise ItemError(f"{_INVALID}ComparisonOperator {operator} is not valid for {values[0][0]} AttributeValue type")
    if operator == "BETWEEN" and order(values[0], values[1]) == 1:
        raise ItemError(_BOUNDS_REVERSED)


def _path(name: str) -> PathNode:
    return PathNode((name,))


def _call(name: str, arguments: list[Any]) -> FunctionNode:
    return FunctionNode(name, tuple(arguments))


def _comparison(name: str, operator: str, values: tuple[Value, ...]) -> Any:
    path, constants = _path(name), [ValueNode(value) for value in values]
    if operator in _COMPARE:
        return Compare(_COMPARE[operator], path, constants[0])
    if operator == "NOT_CONTAINS":
        # An attribute that is not there contains nothing, and does not "not contain" anything either.
        return And((_call("attribute_exists", [path]), Not(_call("contains", [path, constants[0]]))))
    if operator == "BETWEEN":
        return Between(path, constants[0], constants[1])
    if operator == "IN":
        return In(path, tuple(constants))
    function = {"NULL": "attribute_not_exists", "NOT_NULL": "attribute_exists", "CONTAINS": "contains", "BEGINS_WITH": "begins_with"}
    return _call(function[operator], [path, *constants])


def _joined(terms: list[Any], operator: str | None) -> Condition:
    join: Callable[[tuple[Any, ...]], Any] = Or if operator == "OR" and terms else And
    return Condition(terms[0] if len(terms) == 1 else join(tuple(terms)))


# --- keys ----------------------------------------------------------------------------------------------------------------------------------


def parse_key_conditions(conditions: Mapping[str, Mapping[str, Any]]) -> dict[str, AttributeCondition]:
    """KeyConditions, checked as far as it goes without the table; `keycondition.bind` does the rest. Raises ItemError, SerializationError."""
    checked = _conditions(conditions)
    if not 1 <= len(checked) <= 2:
        raise ItemError(WRONG_LENGTH)
    words = {**_COMPARE, "BEGINS_WITH": "begins_with"}
    return {name: AttributeCondition(words.get(operator, operator), values) for name, (operator, values) in checked.items()}


# --- updates -------------------------------------------------------------------------------------------------------------------------------


def parse_attribute_updates(updates: Mapping[str, Mapping[str, Any]]) -> Update:
    """AttributeUpdates. Raises ItemError, SerializationError."""
    _check_names(updates)
    values: Item = {name: value_from_json(update["Value"]) for name, update in updates.items() if update.get("Value") is not None}
    actions: list[Action] = []
    for name, update in updates.items():
        action, value = update.get("Action") or "PUT", values.get(name)
        if value is None:
            if action != "DELETE":
                raise ItemError(_INVALID + "Only DELETE action is allowed when no attribute value is specified")
            actions.append(Action("REMOVE", _path(name), None))
            continue
        kind = value[0]
        if action == "DELETE" and kind not in SET_TYPES:
            raise ItemError(f"{_INVALID}DELETE action with value is not supported for the type {kind}")
        if action == "ADD" and kind not in SET_TYPES and kind not in ("N", "L"):
            raise ItemError(f"{_INVALID}ADD action is not supported for the type {kind}")
        actions.append(Action("SET" if action == "PUT" else action, _path(name), ValueNode(value)))
    return Update(tuple(actions), legacy=True)


# --- projections ---------------------------------------------------------------------------------------------------------------------------


def parse_attributes_to_get(names: list[str]) -> Projection:
    """AttributesToGet. Raises ItemError (a name twice)."""
    _check_names(names)
    seen: dict[str, None] = {}
    for name in names:
        if name in seen:
            raise ItemError(f"{_INVALID}Duplicate value in attribute name: {name}")
        seen[name] = None
    return Projection(tuple([(name,) for name in names]))
