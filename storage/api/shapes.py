"""Request shapes: what JSON an operation takes, and the constraints on its members, as tables.

Two walks, in the order AWS does them. `read` is the deserialiser: a wrong JSON type is a SerializationException, unknown members and nulls are
dropped. `constrain` is the validator: every broken constraint becomes one text, in the order of the table, and all of them one message.
Attribute values are left as they are by `read` (the operation reads them once, with `storage.items.wire`); `recheck` is the full walk for the error
path, so that a wrong JSON type wins over every other fault wherever it stands.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from scrubjay.storage.api import limits
from scrubjay.storage.items import wire
from scrubjay.storage.items.errors import SerializationError

_MODEL = "com.amazonaws.dynamodb.v20120810."


def lower_first(name: str) -> str:
    return name[:1].lower() + name[1:]


_SECONDS_MAX = 1 << 40
_KNOWN_MAX = 4096
"""Strings remembered as keeping their constraints, per constraint."""


class Shape:
    """One type of the request model. `lazy` shapes are not looked into by `read`."""

    lazy = False
    java = "java.lang.Object"
    """How the deserialiser names the type."""

    def read(self, obj: Any) -> Any:
        """The value as the operation wants it. Raises SerializationError."""
        raise TypeError

    def recheck(self, obj: Any) -> None:
        """Raise SerializationError for anything `read` skipped. obj is not None."""
        self.read(obj)

    def constrain(self, obj: Any, path: str, found: list[str]) -> None:
        """Append the text of each broken constraint."""

    def fits(self, obj: Any) -> bool:
        """Whether no constraint is broken (the quick question; `constrain` is for the answer)."""
        found: list[str] = []
        self.constrain(obj, "", found)
        return not found

    def text(self, obj: Any) -> str:
        """The value as Java prints it (AWS echoes refused values)."""
        return "null" if obj is None else str(obj)


def refuse(shape: Shape, obj: Any, path: str, constraint: str, found: list[str]) -> None:
    if len(found) < limits.VALIDATION_ERRORS_MAX:
        value = "null" if obj is None else f"'{shape.text(obj)}'"
        found.append(f"Value {value} at '{path}' failed to satisfy constraint: {constraint}")


class Str(Shape):
    java = "java.lang.String"

    def __init__(
        self, *, enum: Sequence[str] | None = None, pattern: str | None = None, min_chars: int | None = None, max_chars: int | None = None
    ) -> None:
        self.enum = None if enum is None else tuple(enum)
        self.pattern = pattern
        self.regex = None if pattern is None else re.compile(pattern)
        self.min_chars = min_chars
        self.max_chars = max_chars
        self._fit: dict[str, None] = dict.fromkeys(self.enum or ())
        self._free = enum is None and pattern is None and min_chars is None and max_chars is None

    def fits(self, obj: Any) -> bool:
        # the same few names come again and again
        if self._free or obj in self._fit:
            return True
        found: list[str] = []
        self.constrain(obj, "", found)
        if found:
            return False
        if len(self._fit) < _KNOWN_MAX:
            self._fit[obj] = None
        return True

    def read(self, obj: Any) -> str:
        if type(obj) is str:
            return obj
        wire.check_string_shape(obj)
        raise AssertionError

    def constrain(self, obj: str, path: str, found: list[str]) -> None:
        if self.regex is not None and self.regex.fullmatch(obj) is None:
            refuse(self, obj, path, f"Member must satisfy regular expression pattern: {self.pattern}", found)
        if self.min_chars is not None and len(obj) < self.min_chars:
            refuse(self, obj, path, f"Member must have length greater than or equal to {self.min_chars}", found)
        if self.max_chars is not None and len(obj) > self.max_chars:
            refuse(self, obj, path, f"Member must have length less than or equal to {self.max_chars}", found)
        if self.enum is not None and obj not in self.enum:
            refuse(self, obj, path, f"Member must satisfy enum value set: [{', '.join(self.enum)}]", found)


class Int(Shape):
    def __init__(self, *, minimum: int | None = None, maximum: int | None = None, java: str = "Integer") -> None:
        self.minimum = minimum
        self.maximum = maximum
        self.kind = java
        self.java = f"java.lang.{java}"

    def read(self, obj: Any) -> int:
        if type(obj) is int:
            return obj
        wire.check_integer_shape(obj, self.kind)
        return int(obj // 1)

    def constrain(self, obj: int, path: str, found: list[str]) -> None:
        if self.minimum is not None and obj < self.minimum:
            refuse(self, obj, path, f"Member must have value greater than or equal to {self.minimum}", found)
        if self.maximum is not None and obj > self.maximum:
            refuse(self, obj, path, f"Member must have value less than or equal to {self.maximum}", found)


class Double(Shape):
    java = "java.lang.Double"

    def read(self, obj: Any) -> float:
        if type(obj) is int or type(obj) is float:
            return float(obj)
        wire.check_integer_shape(obj, "Double")
        raise AssertionError


class Timestamp(Shape):
    """Seconds since the epoch, as a JSON number; `read` gives microseconds as an int."""

    java = "java.util.Date"

    def read(self, obj: Any) -> int:
        if type(obj) is int or type(obj) is float:
            # far beyond every calendar is as good as any other time that is not in a window
            return round(max(-_SECONDS_MAX, min(_SECONDS_MAX, obj)) * 1_000_000)
        wire.check_integer_shape(obj, "Date")
        raise AssertionError


class Bool(Shape):
    java = "java.lang.Boolean"

    def fits(self, obj: Any) -> bool:
        return True

    def read(self, obj: Any) -> bool:
        if type(obj) is bool:
            return obj
        wire.check_boolean_shape(obj)
        return str(obj).lower() in ("true", "yes", "1")

    def text(self, obj: Any) -> str:
        return {True: "true", False: "false"}.get(obj, "null")


class AttributeValue(Shape):
    """One attribute value, unread."""

    lazy = True
    java = _MODEL + "AttributeValue"
    _MEMBERS = ("S", "N", "B", "INT", "DECIMAL", "DOUBLE", "SS", "NS", "BS", "INTSET", "DECIMALSET", "DOUBLESET", "M", "L", "NULL", "BOOL")

    def read(self, obj: Any) -> Any:
        return obj

    def recheck(self, obj: Any) -> None:
        wire.check_value_shape(obj)

    def text(self, obj: Any) -> str:
        if not isinstance(obj, dict):
            return "null"
        return "AttributeValue(" + ", ".join(f"{lower_first(name)}={_value_text(name, obj.get(name))}" for name in self._MEMBERS) + ")"


def _value_text(kind: str, payload: Any) -> str:
    """As Java prints it; a payload of the wrong JSON type is only told as such, later, and need not be printed well."""
    if payload is None:
        return "null"
    if kind == "M" and isinstance(payload, dict):
        return "{" + ", ".join(f"{name}={VALUE.text(value)}" for name, value in payload.items()) + "}"
    if kind == "L" and isinstance(payload, list):
        return "[" + ", ".join(VALUE.text(value) for value in payload) + "]"
    if isinstance(payload, list):
        return "[" + ", ".join(map(str, payload)) + "]"
    return {True: "true", False: "false"}[payload] if isinstance(payload, bool) else str(payload)


class AttributeMap(Shape):
    """A map of attribute values (an item, a key, expression values), unread."""

    lazy = True
    java = f"java.util.Map<java.lang.String, {_MODEL}AttributeValue>"

    def read(self, obj: Any) -> Any:
        if type(obj) is not dict:
            wire.check_item_shape(obj)
        return obj

    def recheck(self, obj: Any) -> None:
        wire.check_item_shape(obj)

    def text(self, obj: Any) -> str:
        if not isinstance(obj, dict):
            return "null"
        return "{" + ", ".join(f"{name}={VALUE.text(value)}" for name, value in obj.items()) + "}"


class ListOf(Shape):
    """element_error: what the deserialiser says of a scalar in place of the list."""

    def __init__(self, child: Shape, *, min_items: int | None = None, max_items: int | None = None) -> None:
        self.child = child
        self.min_items = min_items
        self.max_items = max_items
        self.java = f"java.util.List<{child.java}>"

    def _check_outer(self, obj: Any) -> None:
        if isinstance(obj, dict):
            raise SerializationError("Start of structure or map found where not expected")
        if not isinstance(obj, list):
            raise SerializationError("Unexpected field type")

    def read(self, obj: Any) -> list[Any]:
        self._check_outer(obj)
        child = self.child
        return [None if one is None else child.read(one) for one in obj]

    def recheck(self, obj: Any) -> None:
        self._check_outer(obj)
        for one in obj:
            if one is not None:
                self.child.recheck(one)

    def constrain(self, obj: list[Any], path: str, found: list[str]) -> None:
        if self.min_items is not None and len(obj) < self.min_items:
            refuse(self, obj, path, f"Member must have length greater than or equal to {self.min_items}", found)
        if self.max_items is not None and len(obj) > self.max_items:
            refuse(self, obj, path, f"Member must have length less than or equal to {self.max_items}", found)
        if self.child.lazy:
            return
        for index, one in enumerate(obj, 1):
            if one is None:
                refuse(self.child, None, f"{path}.{index}.member", "Member must not be null", found)
            else:
                self.child.constrain(one, f"{path}.{index}.member", found)

    def text(self, obj: Any) -> str:
        return "[" + ", ".join("null" if one is None else self.child.text(one) for one in obj) + "]"


class MapOf(Shape):
    """key: constraints on names. value_range: (least, most) members of each value, which AWS words as one constraint on the map."""

    def __init__(
        self,
        child: Shape,
        *,
        min_items: int | None = None,
        key: Str | None = None,
        value_range: tuple[int, int] | None = None,
        json_text: bool = False,
    ) -> None:
        self.child = child
        self.min_items = min_items
        self.key = key
        self.value_range = value_range
        self.json_text = json_text
        self.java = f"java.util.Map<java.lang.String, {child.java}>"

    def _check_outer(self, obj: Any) -> None:
        if isinstance(obj, list):
            raise SerializationError(f"Unrecognized collection type {self.java}")
        if not isinstance(obj, dict):
            raise SerializationError("Unexpected field type")

    def read(self, obj: Any) -> dict[str, Any]:
        self._check_outer(obj)
        child = self.child
        return {name: child.read(value) for name, value in obj.items() if value is not None}

    def recheck(self, obj: Any) -> None:
        self._check_outer(obj)
        for value in obj.values():
            if value is not None:
                self.child.recheck(value)

    def constrain(self, obj: dict[str, Any], path: str, found: list[str]) -> None:
        if self.min_items is not None and len(obj) < self.min_items:
            refuse(self, obj, path, f"Member must have length greater than or equal to {self.min_items}", found)
        if self.key is not None and any(self._bad_key(name) for name in obj):
            key = self.key
            words = (
                f"Member must have length less than or equal to {key.max_chars}",
                f"Member must have length greater than or equal to {key.min_chars}",
                f"Member must satisfy regular expression pattern: {key.pattern}",
            )
            refuse(self, obj, path, f"Map keys must satisfy constraint: [{', '.join(words)}]", found)
        if self.value_range is not None:
            least, most = self.value_range
            if any(not least <= len(value) <= most for value in obj.values()):
                bounds = (
                    f"Member must have length less than or equal to {most}",
                    f"Member must have length greater than or equal to {least}",
                )
                refuse(self, obj, path, f"Map value must satisfy constraint: [{', '.join(bounds)}]", found)
        if not self.child.lazy:
            for name, value in obj.items():
                self.child.constrain(value, f"{path}.{name}.member", found)

    def _bad_key(self, name: str) -> bool:
        found: list[str] = []
        assert self.key is not None
        self.key.constrain(name, "", found)
        return bool(found)

    def text(self, obj: Any) -> str:
        if self.json_text:
            return _json_text(obj)
        return "{" + ", ".join(f"{name}={self.child.text(value)}" for name, value in obj.items()) + "}"


def _json_text(obj: Any) -> str:
    return msgspec.json.encode(obj).decode()


class Struct(Shape):
    """name: the model's name. members: in the order AWS validates them. java_members: further members that AWS prints (always null here)."""

    def __init__(
        self, name: str, members: Mapping[str, Shape], *, required: Sequence[str] = (), java_members: Sequence[str] | None = None
    ) -> None:
        self.name = name
        self.members = dict(members)
        self.required = tuple(required)
        self.java = _MODEL + name
        self.java_members = tuple(self.members if java_members is None else java_members)
        assert all(member in self.members for member in self.required)

    def _check_outer(self, obj: Any) -> None:
        if isinstance(obj, list):
            raise SerializationError(f"Unrecognized collection type class {self.java}")
        if not isinstance(obj, dict):
            raise SerializationError("Unexpected value type in payload")

    def read(self, obj: Any) -> dict[str, Any]:
        if type(obj) is not dict:
            self._check_outer(obj)
        members = self.members
        result = {}
        for name, value in obj.items():
            shape = members.get(name)
            if shape is not None and value is not None:
                result[name] = shape.read(value)
        return result

    def recheck(self, obj: Any) -> None:
        self._check_outer(obj)
        for name, value in obj.items():
            shape = self.members.get(name)
            if shape is not None and value is not None:
                shape.recheck(value)

    def fits(self, obj: Any) -> bool:
        for name in self.required:
            if name not in obj:
                return False
        members = self.members
        for name, value in obj.items():
            shape = members[name]
            if not shape.lazy and not shape.fits(value):
                return False
        return True

    def constrain(self, obj: dict[str, Any], path: str, found: list[str]) -> None:
        prefix = path + "." if path else ""
        for name, shape in self.members.items():
            value = obj.get(name)
            if value is None:
                if name in self.required:
                    refuse(shape, None, prefix + lower_first(name), "Member must not be null", found)
            elif not shape.lazy:
                shape.constrain(value, prefix + lower_first(name), found)

    def text(self, obj: Any) -> str:
        parts = []
        for name in self.java_members:
            value = obj.get(name)
            parts.append(f"{lower_first(name)}={'null' if value is None else self.members[name].text(value)}")
        return f"{self.name}({', '.join(parts)})"


STRING = Str()
BOOLEAN = Bool()
VALUE = AttributeValue()
VALUES = AttributeMap()

NAME_PATTERN = "[a-zA-Z0-9_.-]+"
TABLE_NAME = Str(pattern=NAME_PATTERN, min_chars=limits.TABLE_NAME_CHARS_MIN, max_chars=limits.TABLE_NAME_CHARS_MAX)


class TableNameOrArn(Str):
    """A table name or ARN, as the table operations take it (all but CreateTable)."""

    def constrain(self, obj: str, path: str, found: list[str]) -> None:
        if not obj.startswith("arn:"):
            super().constrain(obj, path, found)
        elif len(obj) > limits.TABLE_ARN_CHARS_MAX:
            refuse(self, obj, path, f"Member must have length less than or equal to {limits.TABLE_ARN_CHARS_MAX}", found)


class DataTableName(Str):
    """A table name or ARN, as the item operations take it: the length is looked at first, and only a name of good length meets the pattern."""

    def constrain(self, obj: str, path: str, found: list[str]) -> None:
        if obj.startswith("arn:"):
            if len(obj) > limits.TABLE_ARN_CHARS_MAX:
                refuse(self, obj, path, f"Member must have length less than or equal to {limits.TABLE_ARN_CHARS_MAX}", found)
        elif not obj:
            refuse(self, obj, path, "Member must have length greater than or equal to 1", found)
        elif len(obj) > limits.TABLE_NAME_CHARS_MAX:
            refuse(self, obj, path, f"Member must have length less than or equal to {limits.TABLE_NAME_CHARS_MAX}", found)
        else:
            super().constrain(obj, path, found)


DATA_TABLE_NAME = DataTableName(pattern=NAME_PATTERN)
TABLE_NAME_OR_ARN = TableNameOrArn(pattern=NAME_PATTERN, min_chars=limits.TABLE_NAME_CHARS_MIN, max_chars=limits.TABLE_NAME_CHARS_MAX)
INDEX_NAME = Str(pattern=NAME_PATTERN, min_chars=limits.TABLE_NAME_CHARS_MIN, max_chars=limits.TABLE_NAME_CHARS_MAX)
RETURN_CONSUMED_CAPACITY = Str(enum=("INDEXES", "TOTAL", "NONE"))
RETURN_ITEM_COLLECTION_METRICS = Str(enum=("SIZE", "NONE"))
RETURN_VALUES = Str(enum=("ALL_NEW", "UPDATED_OLD", "ALL_OLD", "NONE", "UPDATED_NEW"))
RETURN_ON_FAILURE = Str(enum=("ALL_OLD", "NONE"))
SELECT = Str(enum=("SPECIFIC_ATTRIBUTES", "COUNT", "ALL_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES"))
CONDITIONAL_OPERATOR = Str(enum=("OR", "AND"))
COMPARISON_OPERATORS = (
    "IN",
    "NULL",
    "BETWEEN",
    "LT",
    "NOT_CONTAINS",
    "EQ",
    "GT",
    "NOT_NULL",
    "NE",
    "LE",
    "BEGINS_WITH",
    "GE",
    "CONTAINS",
)
COMPARISON_OPERATOR = Str(enum=COMPARISON_OPERATORS)
ATTRIBUTES_TO_GET = ListOf(STRING, min_items=1, max_items=limits.ATTRIBUTES_TO_GET_MAX)
NAMES = MapOf(STRING)
CONDITION = Struct(
    "Condition", {"AttributeValueList": ListOf(VALUE), "ComparisonOperator": COMPARISON_OPERATOR}, required=("ComparisonOperator",)
)
CONDITIONS = MapOf(CONDITION)
EXPECTED = MapOf(
    Struct(
        "ExpectedAttributeValue",
        {"AttributeValueList": ListOf(VALUE), "ComparisonOperator": COMPARISON_OPERATOR, "Exists": BOOLEAN, "Value": VALUE},
    )
)
ATTRIBUTE_UPDATES = MapOf(Struct("AttributeValueUpdate", {"Action": Str(enum=("ADD", "PUT", "DELETE")), "Value": VALUE}))
