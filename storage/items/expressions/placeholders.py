"""ExpressionAttributeNames and ExpressionAttributeValues of one request, and which of them its expressions have used."""

from __future__ import annotations

import re
from collections.abc import Mapping

from scrubjay.storage.items.errors import ItemError
from scrubjay.storage.items.values import Value
from scrubjay.storage.items.wire import NAME_TOO_LONG, TOO_DEEP, check_item_shape, value_from_json

_NAME_KEY = re.compile(r"#[A-Za-z0-9_]+", re.ASCII)
_VALUE_KEY = re.compile(r":[A-Za-z0-9_]+", re.ASCII)
_NAME_BYTES_MAX = 65535
_KEY_LENGTH_MAX = 255


class Placeholders:
    """One object serves all expressions of a request; call `check_all_used` after the last has been parsed."""

    __slots__ = ("_names", "_used_names", "_used_values", "_values")

    def __init__(self, names: Mapping[str, str] | None = None, values: Mapping[str, Value] | None = None) -> None:
        """names: "#n" to attribute name; values: ":v" to value; as checked by `names_from_json` and `values_from_json`."""
        self._names: Mapping[str, str] = names or {}
        self._values: Mapping[str, Value] = values or {}
        self._used_names: dict[str, None] = {}
        self._used_values: dict[str, None] = {}

    @classmethod
    def from_json(cls, names: object, values: object) -> Placeholders:
        """From the two request members (None: absent). Raises ItemError, SerializationError."""
        return cls(names_from_json(names), values_from_json(values))

    def name(self, alias: str) -> str | None:
        """The attribute name of "#alias", None if it is not defined."""
        self._used_names[alias] = None
        return self._names.get(alias)

    def value(self, reference: str) -> Value | None:
        """The value of ":reference", None if it is not defined."""
        self._used_values[reference] = None
        return self._values.get(reference)

    def check_all_used(self) -> None:
        """Raise ItemError if a name or a value was given that no expression used."""
        for word, given, used in (("Names", self._names, self._used_names), ("Values", self._values, self._used_values)):
            unused = [key for key in given if key not in used]
            if unused:
                raise ItemError(f"Value provided in ExpressionAttribute{word} unused in expressions: keys: {{{', '.join(unused)}}}")


def names_from_json(obj: object) -> dict[str, str] | None:
    """ExpressionAttributeNames as sent (None: absent), checked. Raises ItemError."""
    if obj is None:
        return None
    assert isinstance(obj, dict)
    if not obj:
        raise ItemError("ExpressionAttributeNames must not be empty")
    for key, name in obj.items():
        _check_key("Names", _NAME_KEY, key)
        if not name:
            raise ItemError(f"ExpressionAttributeNames contains invalid value: Empty attribute name for key {key}")
        if len(name) * 3 > _NAME_BYTES_MAX and len(name.encode("utf-8", "replace")) > _NAME_BYTES_MAX:
            raise ItemError(NAME_TOO_LONG)
    return obj


def values_from_json(obj: object) -> dict[str, Value] | None:
    """ExpressionAttributeValues as sent (None: absent), checked. Raises ItemError, SerializationError."""
    if obj is None:
        return None
    if type(obj) is not dict:
        check_item_shape(obj)
    assert isinstance(obj, dict)
    if not obj:
        raise ItemError("ExpressionAttributeValues must not be empty")
    for key in obj:
        _check_key("Values", _VALUE_KEY, key)
    values: dict[str, Value] = {}
    for key, wrapped in obj.items():
        try:
            values[key] = value_from_json(wrapped)
        except ItemError as fault:
            check_item_shape(obj)
            if fault.message in (TOO_DEEP, NAME_TOO_LONG):
                raise
            raise ItemError(f"ExpressionAttributeValues contains invalid value: {fault.message} for key {key}") from None
    return values


def _check_key(word: str, pattern: re.Pattern[str], key: str) -> None:
    if pattern.fullmatch(key) is None:
        raise ItemError(f'ExpressionAttribute{word} contains invalid key: Syntax error; key: "{key}"')
    if len(key) > _KEY_LENGTH_MAX:
        raise ItemError(
            f"ExpressionAttribute{word} contains invalid key: The expression attribute map contains a key that is too long; "
            f'key: "{key}", length: {len(key)}'
        )
