"""Key conditions: the three stages of refusal, and the ranges they ask for."""

from __future__ import annotations

import pytest

from scrubjay.storage.catalogue import KeyAttribute, KeySchema
from scrubjay.storage.items.errors import ItemError
from scrubjay.storage.items.expressions import KeyCondition, bind, parse_key_expression
from scrubjay.storage.items.keys import storage_key
from scrubjay.storage.items.values import Value

HASH = KeySchema(KeyAttribute("a", "S"))
RANGE = KeySchema(KeyAttribute("a", "S"), KeyAttribute("b", "S"))
NUMBERS = KeySchema(KeyAttribute("a", "S"), KeyAttribute("b", "N"))
TEXTS: dict[str, Value] = {":a": ("S", "1"), ":b": ("S", "2"), ":e": ("S", "")}
ONES: dict[str, Value] = {":a": ("N", "1"), ":b": ("N", "1")}


def all_stages(text: str, names: dict[str, str] | None, values: dict[str, Value], schema: KeySchema) -> KeyCondition:
    """As a Query goes through them."""
    return bind(parse_key_expression(text, names, values).conditions(), schema)


def refused(text: str, values: dict[str, Value], schema: KeySchema = RANGE) -> str:
    with pytest.raises(ItemError) as fault:
        all_stages(text, None, values, schema)
    return fault.value.message


@pytest.mark.parametrize(
    ("text", "values", "message"),
    [
        ("", {}, "Invalid KeyConditionExpression: The expression can not be empty;"),
        ("a > 4", {}, 'Invalid KeyConditionExpression: Syntax error; token: "4", near: "> 4"'),
        ("a = :a AND b != :b", TEXTS, 'Invalid KeyConditionExpression: Syntax error; token: "!", near: "b !="'),
        ("a = :a AND dog(b, :b)", TEXTS, "Invalid KeyConditionExpression: Invalid function name; function: dog"),
        (
            "a = :z",
            TEXTS,
            "Invalid KeyConditionExpression: An expression attribute value used in expression is not defined; attribute value: :z",
        ),
        (
            "a = :a and begins_with(b, :n)",
            {**TEXTS, ":n": ("N", "1")},
            "Invalid KeyConditionExpression: Incorrect operand type for operator or function; operator or function: begins_with, operand type: N",
        ),
        (
            "a between :b and :a",
            TEXTS,
            (
                "Invalid KeyConditionExpression: The BETWEEN operator requires upper bound to be greater than or equal to lower bound; "
                "lower bound operand: AttributeValue: {S:2}, upper bound operand: AttributeValue: {S:1}"
            ),
        ),
    ],
)
def test_stage_one_syntax_names_and_values(text: str, values: dict[str, Value], message: str) -> None:
    assert refused(text, values) == message
    with pytest.raises(ItemError):
        parse_key_expression(text, None, values)


OPERATOR = "Invalid operator used in KeyConditionExpression: "
FIRST = "Invalid condition in KeyConditionExpression: {} operator must have the key attribute as its first operand"
NESTED = "KeyConditionExpressions cannot contain nested operations"
SEVERAL = "Invalid condition in KeyConditionExpression: Multiple attribute names used in one condition"
INSIDE = "KeyConditionExpressions cannot have conditions on nested attributes"
NO_KEY = "Invalid condition in KeyConditionExpression: No key attribute specified"
TWICE = "KeyConditionExpressions must only contain one condition per key"
LENGTH = "Conditions can be of length 1 or 2 only"


@pytest.mark.parametrize(
    ("text", "values", "message"),
    [
        ("a > b and size(b) > c or a > c", {}, OPERATOR + "OR"),
        ("a in (b, size(c), d)", {}, OPERATOR + "IN"),
        ("attribute_exists(a)", {}, OPERATOR + "attribute_exists"),
        ("attribute_not_exists(a)", {}, OPERATOR + "attribute_not_exists"),
        ("attribute_type(a, :t)", {":t": ("S", "S")}, OPERATOR + "attribute_type"),
        ("contains(a.d, b)", {}, OPERATOR + "contains"),
        ("not a > b", {}, OPERATOR + "NOT"),
        ("a <> b", {}, OPERATOR + "<>"),
        (":a between size(b) and size(a) and b > :b", TEXTS, FIRST.format("BETWEEN")),
        ("begins_with(:a, b) and a > :b", TEXTS, FIRST.format("begins_with")),
        ("size(b) > a AND a.b > b AND b > c", {}, NESTED),
        ("a > size(b.d)", {}, NESTED),
        ("a between size(b) and size(a)", {}, NESTED),
        ("b > a.b", {}, SEVERAL),
        ("b between c[1] and d", {}, SEVERAL),
        ("a between b and size(a)", {}, SEVERAL),
        ("begins_with(a, b)", {}, SEVERAL),
        ("b.d > a AND c.d > e.f", {}, INSIDE),
        ("a.d > c", {}, INSIDE),
        ("b[0] > a", {}, INSIDE),
        (":b > :a AND a < :b", ONES, NO_KEY),
        (":a > b AND :a < :b", ONES, NO_KEY),
        ("b > :a AND b < :a and c = :a and d = :a", ONES, TWICE),
        ("(a > :a and b > :a) and (b > :a and c > :a)", ONES, TWICE),
        ("a = :a AND a = :a", TEXTS, TWICE),
        (":a = a and b = :a and :a = c", TEXTS, LENGTH),
        ("(a > :a and b > :a) and (c > :a and d > :a) and (e > :a and f > :a)", TEXTS, LENGTH),
    ],
)
def test_stage_two_shape(text: str, values: dict[str, Value], message: str) -> None:
    expression = parse_key_expression(text, None, values)
    with pytest.raises(ItemError) as fault:
        expression.conditions()
    assert fault.value.message == message


NOT_SUPPORTED = "Query key condition not supported"
MISMATCH = "One or more parameter values were invalid: Condition parameter type does not match schema type"
EMPTY = "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty string value. Key: "


@pytest.mark.slow
@pytest.mark.parametrize(
    ("schema", "text", "values", "message"),
    [
        (RANGE, "b = :a", TEXTS, "Query condition missed key schema element: a"),
        (RANGE, "z between :a and :b", TEXTS, "Query condition missed key schema element: a"),
        (RANGE, "a = :a and c = :b", TEXTS, "Query condition missed key schema element: b"),
        (HASH, "z = :a", TEXTS, "Query condition missed key schema element: a"),
        (HASH, "y = :a and z = :a", TEXTS, NOT_SUPPORTED),
        (HASH, "a = :a AND b = :a", TEXTS, NOT_SUPPORTED),
        (HASH, ":a > a", ONES, MISMATCH),
        (RANGE, "a = :a AND b = :n", {":a": ("S", "1"), ":n": ("N", "1")}, MISMATCH),
        (NUMBERS, "a = :a AND b = :b", TEXTS, MISMATCH),
        *[
            (RANGE, text, TEXTS, NOT_SUPPORTED)
            for text in ("a > :a", "a < :a", ":a <= a", ":a >= a", "begins_with(a, :a)", "a between :a and :a", "a > :a and b = :b")
        ],
        (RANGE, "a = :e", TEXTS, EMPTY + "a"),
        (RANGE, "a = :a and begins_with(b, :e)", TEXTS, EMPTY + "b"),
        (
            HASH,
            "a = :l",
            {":l": ("S", "x" * 2049)},
            "One or more parameter values were invalid: Size of hashkey has exceeded the maximum size limit of2048 bytes",
        ),
        (
            RANGE,
            "a = :a and b > :l",
            {":a": ("S", "x"), ":l": ("S", "x" * 1025)},
            "One or more parameter values were invalid: Aggregated size of all range keys has exceeded the size limit of 1024 bytes",
        ),
    ],
)
def test_stage_three_schema(schema: KeySchema, text: str, values: dict[str, Value], message: str) -> None:
    assert refused(text, values, schema) == message


@pytest.mark.parametrize(
    ("text", "operator", "wanted"),
    [
        ("a = :p", None, [-20, -3, 0, 5, 7, 12]),
        (":p = a", None, [-20, -3, 0, 5, 7, 12]),
        ("a = :p AND b = :x", "=", [5]),
        ("b = :x AND a = :p", "=", [5]),
        ("((b = :x) AND (a = :p))", "=", [5]),
        ("a = :p AND b < :x", "<", [-20, -3, 0]),
        ("a = :p AND :x > b", "<", [-20, -3, 0]),
        ("a = :p AnD b <= :x", "<=", [-20, -3, 0, 5]),
        ("a = :p AND :x >= b", "<=", [-20, -3, 0, 5]),
        ("a = :p AND b > :x", ">", [7, 12]),
        ("a = :p AND b >= :x", ">=", [5, 7, 12]),
        ("a = :p AND :x <= b", ">=", [5, 7, 12]),
        ("a = :p AND b BeTwEeN :m aNd :x", "BETWEEN", [-3, 0, 5]),
    ],
)
def test_ranges(text: str, operator: str | None, wanted: list[int]) -> None:
    values: dict[str, Value] = {":p": ("S", "part"), ":x": ("N", "5"), ":m": ("N", "-3")}
    condition = all_stages(text, None, values, NUMBERS)
    assert condition.operator == operator
    assert condition.hash_value == ("S", "part")
    start, end = condition.bounds()
    assert start.startswith(condition.prefix())
    keys = {number: storage_key(NUMBERS, {"a": ("S", "part"), "b": ("N", str(number))}) for number in (12, 7, 5, 0, -3, -20)}
    assert sorted(number for number, key in keys.items() if start <= key and (end is None or key < end)) == wanted
    other = storage_key(NUMBERS, {"a": ("S", "other"), "b": ("N", "5")})
    assert not (start <= other and (end is None or other < end))


def test_names_by_alias() -> None:
    condition = all_stages("#p = :a AND begins_with(#s, :b)", {"#p": "a", "#s": "b"}, TEXTS, RANGE)
    assert (condition.operator, condition.sort_values) == ("begins_with", (("S", "2"),))
    assert condition.sort_bounds() == (b"2", b"3")
