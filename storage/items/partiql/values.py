"""Literals and parameters as attribute values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scrubjay.storage.items.errors import ItemError
from scrubjay.storage.items.numbers import NOT_NUMERIC, OVERFLOW, UNDERFLOW, canonical
from scrubjay.storage.items.partiql import syntax
from scrubjay.storage.items.values import NESTING_MAX, Item, Value, is_deeper_than, make_set
from scrubjay.storage.items.wire import TOO_DEEP, check_name, value_from_json

PARAMETER_COUNT = "Number of parameters in request and statement don't match."
_SETS = {"S": "SS", "N": "NS", "B": "BS"}
_ROOT = "root"


def read_parameters(parsed: syntax.Parsed, given: Sequence[Any] | None) -> list[Value]:
    """The request's Parameters, as many as the statement has. Raises ItemError, SerializationError."""
    values = [_parameter(one) for one in given or ()]
    if len(values) != parsed.parameters:
        raise ItemError(PARAMETER_COUNT)
    return values


def _parameter(obj: Any) -> Value:
    try:
        return value_from_json(obj)
    except ItemError as error:
        text = obj.get("N") if isinstance(obj, dict) else None
        if error.message in (OVERFLOW, UNDERFLOW) and isinstance(text, str) and not fits_exponent(text):
            # a parameter is read as a literal is
            raise ItemError(f"{NOT_NUMERIC}: {text}") from None
        raise


def fits_exponent(number: str) -> bool:
    """Whether the exponent, and the digits behind the point less the exponent, are 32-bit integers, as the service's parser needs them."""
    mantissa, _, exponent = number.lower().partition("e")
    if not exponent:
        return True
    power = int(exponent) if len(exponent) < 20 else 1 << 40
    scale = len(mantissa.partition(".")[2]) - power
    return -(1 << 31) <= power < 1 << 31 and -(1 << 31) <= scale < 1 << 31


def is_value(node: Any) -> bool:
    """Whether `node` is a literal or a parameter: what it is does not depend on an item."""
    return isinstance(
        node, (syntax.NumberSyntax, syntax.ConstantSyntax, syntax.ParameterSyntax, syntax.SequenceSyntax, syntax.StructSyntax)
    )


def value_of(node: Any, parameters: Sequence[Value]) -> Value:
    """The value of a literal or parameter. Raises ItemError: of numbers, sets, depth, and of what is no value."""
    value = _value(node, parameters, _ROOT)
    if value[0] in ("M", "L") and is_deeper_than(value, NESTING_MAX):
        raise ItemError(TOO_DEEP)
    return value


def item_of(node: Any, parameters: Sequence[Value]) -> Item:
    """What INSERT writes. Raises ItemError."""
    if isinstance(node, syntax.ParameterSyntax):
        kind, payload = parameters[node.number]
        if kind == "M":
            return {check_name(name): value for name, value in payload.items()}
    if not isinstance(node, syntax.StructSyntax):
        raise ItemError(
            "Unsupported format in item expression. Please use struct format {...} to express item values for insert statement."
        )
    item: Item = {}
    for name, member in node.members:
        if name in item:
            raise ItemError(f"Duplicate keys in tuple. Key: {name} under {_ROOT}")
        item[check_name(name)] = value_of(member, parameters)
    return item


def _value(node: Any, parameters: Sequence[Value], place: str) -> Value:
    """place: where in the value it stands, for messages."""
    if isinstance(node, syntax.ParameterSyntax):
        return parameters[node.number]
    if isinstance(node, syntax.NumberSyntax):
        try:
            return "N", canonical(node.text)
        except ItemError as error:
            raise ItemError(f"{error.message} under {place}") from None
    if isinstance(node, syntax.ConstantSyntax):
        if node.value is None:
            return "NULL", True
        return ("BOOL" if isinstance(node.value, bool) else "S"), node.value
    if isinstance(node, syntax.StructSyntax):
        members: Item = {}
        for name, member in node.members:
            if name in members:
                raise ItemError(f"Duplicate keys in tuple. Key: {name} under {place}")
            members[check_name(name, empty=True)] = _value(member, parameters, f"{place}.{name}")
        return "M", members
    if isinstance(node, syntax.SequenceSyntax) and node.kind != "tuple":
        elements = [_value(element, parameters, f"{place}[{index}]") for index, element in enumerate(node.elements)]
        return ("L", tuple(elements)) if node.kind == "list" else _set(elements)
    name = node.name if isinstance(node, syntax.CallSyntax) else type(node).__name__.removesuffix("Syntax")
    raise ItemError(f"Unsupported data type: {name} under key {place} at {node.at}")


def _set(elements: Sequence[Value]) -> Value:
    if not elements:
        raise ItemError("Empty bags are not supported")
    kind = elements[0][0]
    if kind not in _SETS or any(element[0] != kind for element in elements):
        raise ItemError("Unsupported data type in Bag. DynamoDB only supports either numbers or strings in bags")
    value = make_set(_SETS[kind], [element[1] for element in elements])
    if len(value[1]) != len(elements):
        if kind == "S":
            shown = ", ".join([str(element[1]) for element in elements])
            raise ItemError(f"One or more parameter values were invalid: Input collection [{shown}] contains duplicates.")
        raise ItemError("One or more parameter values were invalid: Input collection contains duplicates.")
    return value
