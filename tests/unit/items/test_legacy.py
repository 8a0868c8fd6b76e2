"""The parameters from before expressions: refusals with AWS's texts, and the same meaning as their expressions."""

from __future__ import annotations

from typing import Any

import pytest

from scrubjay.storage.catalogue import KeyAttribute, KeySchema
from scrubjay.storage.items import legacy
from scrubjay.storage.items.errors import ItemError, SerializationError
from scrubjay.storage.items.expressions.keycondition import KeyCondition, bind
from scrubjay.storage.items.wire import item_from_json, item_to_json

INVALID = "One or more parameter values were invalid: "
RANGE = KeySchema(KeyAttribute("a", "S"), KeyAttribute("b", "S"))
HASH = KeySchema(KeyAttribute("a", "S"))
ITEM = item_from_json(
    {
        "n": {"N": "2"},
        "s": {"S": "hello"},
        "b": {"B": "aGkgdGhlcmU="},
        "ns": {"NS": ["2", "4"]},
        "l": {"L": [{"N": "2"}, {"S": "x"}]},
        "z": {"NULL": True},
    }
)


def message_of(call: Any, *arguments: Any) -> str:
    with pytest.raises(ItemError) as fault:
        call(*arguments)
    return str(fault.value.message)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ({}, INVALID + "Value must be provided when Exists is null for Attribute: a"),
        ({"Exists": True}, INVALID + "Value must be provided when Exists is true for Attribute: a"),
        ({"Exists": False, "Value": {"S": "a"}}, INVALID + "Value cannot be used when Exists is false for Attribute: a"),
        ({"Value": {}}, "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes"),
        ({"Value": {"NS": ["1", ""]}}, "The parameter cannot be converted to a numeric value"),
        ({"ComparisonOperator": "LT"}, INVALID + "Value or AttributeValueList must be used with ComparisonOperator: LT for Attribute: a"),
        ({"Exists": True, "ComparisonOperator": "LT"}, INVALID + "Exists and ComparisonOperator cannot be used together for Attribute: a"),
        (
            {"AttributeValueList": [{"S": "a"}], "Value": {"S": "a"}, "ComparisonOperator": "LT"},
            INVALID + "Value and AttributeValueList cannot be used together for Attribute: a",
        ),
        ({"AttributeValueList": [{"S": "a"}]}, INVALID + "AttributeValueList can only be used with a ComparisonOperator for Attribute: a"),
        (
            {"Exists": True, "AttributeValueList": [{"S": "a"}]},
            INVALID + "AttributeValueList can only be used with a ComparisonOperator for Attribute: a",
        ),
        ({"Value": {"S": "a"}, "ComparisonOperator": "NULL"}, INVALID + "Invalid number of argument(s) for the NULL ComparisonOperator"),
        (
            {"Value": {"S": "a"}, "ComparisonOperator": "BETWEEN"},
            INVALID + "Invalid number of argument(s) for the BETWEEN ComparisonOperator",
        ),
        ({"AttributeValueList": [], "ComparisonOperator": "EQ"}, INVALID + "Invalid number of argument(s) for the EQ ComparisonOperator"),
        ({"AttributeValueList": [], "ComparisonOperator": "IN"}, INVALID + "Invalid number of argument(s) for the IN ComparisonOperator"),
    ],
)
def test_expected_is_checked(condition: dict[str, Any], message: str) -> None:
    assert message_of(legacy.parse_expected, {"a": condition}) == message


ONE = {"S": "a"}


@pytest.mark.parametrize(
    ("operator", "values"),
    [
        *[(operator, []) for operator in ("EQ", "NE", "LE", "LT", "GE", "GT", "CONTAINS", "NOT_CONTAINS", "BEGINS_WITH", "IN", "BETWEEN")],
        *[
            (operator, [ONE, ONE])
            for operator in ("EQ", "NE", "LE", "LT", "GE", "GT", "CONTAINS", "NOT_CONTAINS", "BEGINS_WITH", "NULL", "NOT_NULL")
        ],
        ("BETWEEN", [ONE, ONE, ONE]),
        ("BETWEEN", [ONE]),
        ("NULL", [ONE]),
        ("NOT_NULL", [ONE]),
    ],
)
def test_number_of_values(operator: str, values: list[Any]) -> None:
    condition = {"a": {"ComparisonOperator": operator, "AttributeValueList": values}}
    for call in (legacy.parse_filter, legacy.parse_expected, legacy.parse_key_conditions):
        assert message_of(call, condition) == f"{INVALID}Invalid number of argument(s) for the {operator} ComparisonOperator"


SAMPLES: dict[str, Any] = {
    "S": "a",
    "N": "1",
    "B": "YQ==",
    "BOOL": True,
    "NULL": True,
    "SS": ["a"],
    "NS": ["1"],
    "BS": ["abcd"],
    "M": {},
    "L": [],
}


@pytest.mark.parametrize(
    ("operator", "refused"),
    [
        *[(operator, ("BOOL", "NULL", "SS", "NS", "BS", "M", "L")) for operator in ("LT", "LE", "GT", "GE", "IN", "BETWEEN")],
        *[(operator, ("SS", "NS", "BS", "M", "L")) for operator in ("CONTAINS", "NOT_CONTAINS")],
        ("BEGINS_WITH", ("N", "BOOL", "NULL", "SS", "NS", "BS", "M", "L")),
        ("EQ", ()),
        ("NE", ()),
    ],
)
def test_types_of_values(operator: str, refused: tuple[str, ...]) -> None:
    for kind, payload in SAMPLES.items():
        condition = {"a": {"ComparisonOperator": operator, "AttributeValueList": [{kind: payload}] * (2 if operator == "BETWEEN" else 1)}}
        if kind in refused:
            assert (
                message_of(legacy.parse_filter, condition)
                == f"{INVALID}ComparisonOperator {operator} is not valid for {kind} AttributeValue type"
            )
        else:
            legacy.parse_filter(condition)


def test_values_among_each_other() -> None:
    mixed = {"a": {"ComparisonOperator": "IN", "AttributeValueList": [{"S": "b"}, {"N": "1"}]}}
    assert message_of(legacy.parse_filter, mixed) == INVALID + "AttributeValues inside AttributeValueList must be of same type"
    reversed_ = {"a": {"ComparisonOperator": "BETWEEN", "AttributeValueList": [{"S": "b"}, {"S": "a"}]}}
    assert (
        message_of(legacy.parse_filter, reversed_)
        == "The BETWEEN condition was provided a range where the lower bound is greater than the upper bound"
    )
    with pytest.raises(SerializationError):
        legacy.parse_filter({"a": {"ComparisonOperator": "EQ", "AttributeValueList": ["x"]}})


def test_conditional_operator() -> None:
    legacy.check_conditional_operator(None, None)
    legacy.check_conditional_operator("OR", {"a": {}, "b": {}})
    assert message_of(legacy.check_conditional_operator, "OR", None) == "ConditionalOperator cannot be used without Filter or Expected"
    assert message_of(legacy.check_conditional_operator, "AND", {"a": {}}) == (
        "ConditionalOperator can only be used when Filter or Expected has two or more elements"
    )


@pytest.mark.parametrize(
    ("name", "operator", "values", "met"),
    [
        ("n", "EQ", [{"N": "2.0"}], True),
        ("n", "EQ", [{"S": "2"}], False),
        ("q", "EQ", [{"N": "2"}], False),
        ("ns", "EQ", [{"NS": ["4", "2"]}], True),
        ("n", "NE", [{"N": "3"}], True),
        ("n", "NE", [{"S": "2"}], True),
        ("q", "NE", [{"N": "3"}], True),
        ("n", "LE", [{"N": "2"}], True),
        ("n", "LT", [{"N": "2"}], False),
        ("s", "GT", [{"S": "hell"}], True),
        ("n", "GE", [{"S": "1"}], False),
        ("b", "LT", [{"B": "/w=="}], True),
        ("z", "NOT_NULL", None, True),
        ("q", "NOT_NULL", [], False),
        ("q", "NULL", None, True),
        ("z", "NULL", None, False),
        ("s", "CONTAINS", [{"S": "ell"}], True),
        ("ns", "CONTAINS", [{"N": "4"}], True),
        ("l", "CONTAINS", [{"N": "2"}], True),
        ("b", "CONTAINS", [{"B": "aGVyZQ=="}], True),
        ("q", "CONTAINS", [{"N": "2"}], False),
        ("s", "NOT_CONTAINS", [{"S": "ell"}], False),
        ("s", "NOT_CONTAINS", [{"N": "1"}], True),
        ("ns", "NOT_CONTAINS", [{"N": "3"}], True),
        ("q", "NOT_CONTAINS", [{"N": "1"}], False),
        ("s", "BEGINS_WITH", [{"S": "hell"}], True),
        ("n", "BEGINS_WITH", [{"S": "2"}], False),
        ("n", "IN", [{"N": "1"}, {"N": "2"}], True),
        ("ns", "IN", [{"N": "2"}], False),
        ("n", "BETWEEN", [{"N": "1"}, {"N": "2"}], True),
        ("q", "BETWEEN", [{"N": "1"}, {"N": "2"}], False),
    ],
)
def test_comparisons(name: str, operator: str, values: list[Any] | None, met: bool) -> None:
    condition: dict[str, Any] = {"ComparisonOperator": operator}
    if values is not None:
        condition["AttributeValueList"] = values
    assert legacy.parse_filter({name: condition}).evaluate(ITEM) is met
    assert legacy.parse_expected({name: condition}).evaluate(ITEM) is met


def test_expected_values_and_joining() -> None:
    assert legacy.parse_expected({"n": {"Value": {"N": "2"}}}).evaluate(ITEM)
    assert legacy.parse_expected({"n": {"Exists": True, "Value": {"N": "2"}}}).evaluate(ITEM)
    assert not legacy.parse_expected({"n": {"Exists": False}}).evaluate(ITEM)
    assert legacy.parse_expected({"n": {"Exists": False}}).evaluate(None)
    assert legacy.parse_expected({}).evaluate(None)
    half = {"n": {"Value": {"N": "2"}}, "s": {"Value": {"S": "no"}}}
    assert not legacy.parse_expected(half).evaluate(ITEM)
    assert not legacy.parse_expected(half, "AND").evaluate(ITEM)
    assert legacy.parse_expected(half, "OR").evaluate(ITEM)
    assert legacy.parse_expected(half).paths == (("n",), ("s",))


def test_query_filters_leave_keys_alone() -> None:
    assert (
        message_of(legacy.check_no_keys, {"c": {}, "b": {}}, RANGE)
        == "QueryFilter can only contain non-primary key attributes: Primary key attribute: b"
    )
    legacy.check_no_keys({"b": {}}, HASH)


def key_condition(operator: str, *values: Any) -> dict[str, Any]:
    return {"ComparisonOperator": operator, "AttributeValueList": list(values)}


EQ = key_condition("EQ", ONE)


def bound(conditions: dict[str, Any], schema: KeySchema) -> KeyCondition:
    return bind(legacy.parse_key_conditions(conditions), schema)


@pytest.mark.parametrize(
    ("schema", "conditions", "message"),
    [
        (HASH, {}, "Conditions can be of length 1 or 2 only"),
        (HASH, {name: {"ComparisonOperator": "NULL"} for name in "abc"}, "Conditions can be of length 1 or 2 only"),
        *[
            (HASH, {"a": condition}, "Attempted conditional constraint is not an indexable operation")
            for condition in (
                {"ComparisonOperator": "NULL"},
                {"ComparisonOperator": "NOT_NULL"},
                key_condition("NE", {"N": "1"}),
                key_condition("CONTAINS", ONE),
                key_condition("NOT_CONTAINS", ONE),
                key_condition("IN", ONE),
            )
        ],
        (RANGE, {"a": EQ, "b": {"ComparisonOperator": "NULL"}}, "Attempted conditional constraint is not an indexable operation"),
        (RANGE, {"z": {"ComparisonOperator": "NULL"}}, "Query condition missed key schema element: a"),
        (RANGE, {"a": EQ, "c": {"ComparisonOperator": "NULL"}}, "Query condition missed key schema element: b"),
        (HASH, {"a": EQ, "b": EQ}, "Query key condition not supported"),
        *[
            (HASH, {"a": key_condition(operator, ONE)}, "Query key condition not supported")
            for operator in ("LE", "LT", "GE", "GT", "BEGINS_WITH")
        ],
        (HASH, {"a": key_condition("BETWEEN", ONE, ONE)}, "Query key condition not supported"),
        (HASH, {"a": key_condition("EQ", {"N": "1"})}, INVALID + "Condition parameter type does not match schema type"),
    ],
)
def test_key_conditions_are_checked(schema: KeySchema, conditions: dict[str, Any], message: str) -> None:
    assert message_of(bound, conditions, schema) == message


def test_key_conditions_ask_for_ranges() -> None:
    found = bound({"b": key_condition("BEGINS_WITH", {"S": "aa"}), "a": EQ}, RANGE)
    assert (found.hash_value, found.operator, found.sort_bounds()) == (("S", "a"), "begins_with", (b"aa", b"ab"))
    assert bound({"a": EQ, "b": key_condition("GT", {"S": "x"})}, RANGE).sort_bounds() == (b"x\x00", None)


@pytest.mark.parametrize(
    ("update", "message"),
    [
        ({}, INVALID + "Only DELETE action is allowed when no attribute value is specified"),
        ({"Action": "ADD"}, INVALID + "Only DELETE action is allowed when no attribute value is specified"),
        *[
            (
                {"Action": "DELETE", "Value": {kind: SAMPLES[kind]}},
                f"{INVALID}DELETE action with value is not supported for the type {kind}",
            )
            for kind in ("S", "N", "B", "NULL", "BOOL", "M", "L")
        ],
        *[
            ({"Action": "ADD", "Value": {kind: SAMPLES[kind]}}, f"{INVALID}ADD action is not supported for the type {kind}")
            for kind in ("S", "B", "NULL", "BOOL", "M")
        ],
    ],
)
def test_attribute_updates_are_checked(update: dict[str, Any], message: str) -> None:
    assert message_of(legacy.parse_attribute_updates, {"a": update}) == message


def test_attribute_updates_apply() -> None:
    updates = {
        "n": {"Action": "ADD", "Value": {"N": "5"}},
        "ns": {"Action": "DELETE", "Value": {"NS": ["2", "9"]}},
        "l": {"Action": "ADD", "Value": {"L": [{"S": "more"}]}},
        "new": {"Action": "ADD", "Value": {"L": [{"S": "a"}]}},
        "s": {"Value": {"S": "put"}},
        "a.b": {"Action": "PUT", "Value": {"N": "3"}},
        "z": {"Action": "DELETE"},
        "absent": {"Action": "DELETE"},
    }
    update = legacy.parse_attribute_updates(updates)
    new = item_to_json(update.apply(ITEM))
    assert new == {
        "n": {"N": "7"},
        "ns": {"NS": ["4"]},
        "l": {"L": [{"N": "2"}, {"S": "x"}, {"S": "more"}]},
        "new": {"L": [{"S": "a"}]},
        "s": {"S": "put"},
        "a.b": {"N": "3"},
        "b": {"B": "aGkgdGhlcmU="},
    }
    assert "z" in update.project_touched(ITEM)
    with pytest.raises(ItemError, match="Cannot update attribute n"):
        update.check_keys(KeySchema(KeyAttribute("q", "S"), KeyAttribute("n", "N")))


@pytest.mark.parametrize(
    ("name", "update"),
    [
        ("ns", {"Action": "DELETE", "Value": {"SS": ["1"]}}),
        ("n", {"Action": "DELETE", "Value": {"NS": ["1"]}}),
        ("s", {"Action": "ADD", "Value": {"N": "1"}}),
        ("ns", {"Action": "ADD", "Value": {"N": "1"}}),
    ],
)
def test_attribute_updates_meet_another_type(name: str, update: dict[str, Any]) -> None:
    assert message_of(legacy.parse_attribute_updates({name: update}).apply, ITEM) == "Type mismatch for attribute to update"


def test_attribute_updates_without_an_item() -> None:
    key = item_from_json({"k": {"S": "x"}})
    assert legacy.parse_attribute_updates({}).update_item(None, key) == key
    assert legacy.parse_attribute_updates({"a": {"Action": "DELETE"}}).update_item(None, key) is None


def test_attributes_to_get() -> None:
    assert legacy.parse_attributes_to_get(["n", "q"]).project(ITEM) == {"n": ("N", "2")}
    assert message_of(legacy.parse_attributes_to_get, ["a", "b", "a"]) == INVALID + "Duplicate value in attribute name: a"
