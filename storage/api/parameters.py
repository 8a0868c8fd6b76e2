"""Expression parameters of the item operations, and the wording of what is wrong with a request's values.

DynamoDB checks values and expressions in one of two layers, and which one an operation runs decides the words (docs/API.md, "Wording"):

    ENVELOPED  PutItem, UpdateItem, DeleteItem: the current words behind "1 validation error detected: "
    BARE       GetItem, BatchGetItem, Query: the current words alone
    OLDER      BatchWriteItem, Scan: the older words, expression values named by their key
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Sequence
from enum import Enum
from typing import Any

from scrubjay.storage.api import errors
from scrubjay.storage.api.call import Body
from scrubjay.storage.api.errors import ApiError
from scrubjay.storage.items.errors import ItemError, SerializationError
from scrubjay.storage.items.expressions.condition import Condition, parse_condition
from scrubjay.storage.items.expressions.placeholders import Placeholders
from scrubjay.storage.items.expressions.projection import Projection, parse_projection
from scrubjay.storage.items.expressions.update import Update, parse_update
from scrubjay.storage.items.legacy import check_conditional_operator, parse_attribute_updates, parse_attributes_to_get, parse_expected
from scrubjay.storage.items.numbers import NOT_NUMERIC

_INVALID = "One or more parameter values were invalid: "


class Layer(Enum):
    ENVELOPED = 1
    BARE = 2
    OLDER = 3


_WRAPPED = re.compile(r"ExpressionAttributeValues contains invalid value: (.*) for key :[A-Za-z0-9_]+", re.DOTALL)
_DUPLICATES = re.compile(r"(?:One or more parameter values were invalid: )?Input collection.*contains duplicates\.?", re.DOTALL)


def worded(error: ItemError, layer: Layer, raw: Any) -> Exception:
    """`error` in the words of `layer`. raw: the request, in which a set with duplicates is looked up again."""
    if isinstance(error, SerializationError):
        return error
    message = error.message
    if layer is Layer.OLDER:
        return errors.validation(message)
    wrapped = _WRAPPED.fullmatch(message)
    if wrapped is not None:
        message = wrapped[1]
    if message == NOT_NUMERIC:
        message += ": "
    elif _DUPLICATES.fullmatch(message):
        message = _INVALID + _duplicates_text(raw)
    return errors.enveloped(message) if layer is Layer.ENVELOPED else errors.validation(message)


def refused(message: str, layer: Layer) -> ApiError:
    """A fault of the parameters themselves."""
    return errors.enveloped(message) if layer is Layer.ENVELOPED else errors.validation(message)


def _duplicates_text(raw: Any) -> str:
    found = _set_with_duplicates(raw)
    if found is None or found[0] == "NS":
        return "Input collection contains duplicates."
    kind, members = found
    seen: dict[str, None] = {}
    for member in members:
        if member in seen:
            break
        seen[member] = None
    repeat = len(seen)
    order = sorted(seen, key=str.encode) if kind == "SS" else sorted(seen, key=_unbase64)
    shown = [f'"{member}"' for member in [*order, *members[repeat:]]]
    if kind == "SS":
        return f"Input collection [{', '.join(shown)}] contains duplicates."
    return f"Input collection [{','.join(shown)}]of type BS contains duplicates."


def _unbase64(text: str) -> bytes:
    return binascii.a2b_base64(text)


def _set_with_duplicates(raw: Any) -> tuple[str, list[str]] | None:
    if isinstance(raw, dict):
        for name, value in raw.items():
            if name in ("SS", "NS", "BS") and isinstance(value, list) and value and all(isinstance(one, str) for one in value):
                if len(dict.fromkeys(value)) != len(value) or name == "NS":
                    return name, value
            else:
                found = _set_with_duplicates(value)
                if found is not None:
                    return found
    elif isinstance(raw, list):
        for value in raw:
            found = _set_with_duplicates(value)
            if found is not None:
                return found
    return None


# -- which parameters go together ------------------------------------------------------------------------------------------------------


def check_mixing(data: Body, expressions: Sequence[str], legacy: Sequence[str], layer: Layer) -> None:
    """Expressions and legacy parameters exclude each other; names and values need an expression. Raises ApiError."""
    given = [name for name in expressions if name in data]
    if given:
        old = [name for name in legacy if name in data]
        if old:
            raise refused(
                "Can not use both expression and non-expression parameters in the same request: "
                f"Non-expression parameters: {{{', '.join(old)}}} Expression parameters: {{{', '.join(given)}}}",
                layer,
            )
    elif "ExpressionAttributeNames" in data:
        raise refused("ExpressionAttributeNames can only be specified when using expressions", layer)
    if "ExpressionAttributeValues" in data:
        users = [name for name in expressions if name != "ProjectionExpression"]
        if not any(name in data for name in users):
            message = "ExpressionAttributeValues can only be specified when using expressions"
            if layer is Layer.OLDER:
                message += f": {' and '.join(users)} {'are' if len(users) > 1 else 'is'} null"
            raise refused(message, layer)


def placeholders_of(data: Body) -> Placeholders:
    """Names and values of the request, checked. Raises ItemError."""
    return Placeholders.from_json(data.get("ExpressionAttributeNames"), data.get("ExpressionAttributeValues"))


def projection_of(data: Body, placeholders: Placeholders | None) -> Projection | None:
    """What ProjectionExpression or AttributesToGet asks for; None: everything. Raises ItemError."""
    names = data.get("AttributesToGet")
    if names is not None:
        return parse_attributes_to_get(names)
    text = data.get("ProjectionExpression")
    if text is None:
        return None
    return parse_projection(text, placeholders)


def condition_of(data: Body, placeholders: Placeholders | None) -> Condition | None:
    """What ConditionExpression or Expected demands; None: nothing. Raises ItemError."""
    check_conditional_operator(data.get("ConditionalOperator"), data.get("Expected"))
    text = data.get("ConditionExpression")
    if text is not None:
        return parse_condition(text, placeholders)
    expected = data.get("Expected")
    return parse_expected(expected, data.get("ConditionalOperator")) if expected else None


def update_of(data: Body, placeholders: Placeholders | None) -> Update | None:
    """What UpdateExpression or AttributeUpdates does; None: nothing. Raises ItemError."""
    text = data.get("UpdateExpression")
    if text is not None:
        return parse_update(text, placeholders)
    updates = data.get("AttributeUpdates")
    return parse_attribute_updates(updates) if updates else None
