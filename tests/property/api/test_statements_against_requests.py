"""A statement means what the same request means: random statements and the requests they stand for, on two tables with the same items, and no answer differs."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.lark import from_lark
from lark import Lark

from scrubjay.storage.items.partiql.grammar import GRAMMAR
from tests.model.in_process import InProcess, create_request

NAMES = ("a", "b", "m.x", "l[0]")
PK, SK = st.sampled_from("pq"), st.integers(0, 4)
VALUES: st.SearchStrategy[Any] = st.one_of(
    st.integers(-2, 3).map(lambda number: {"N": str(number)}),
    st.sampled_from(["", "x", "xy", "y"]).map(lambda text: {"S": text}),
    st.booleans().map(lambda truth: {"BOOL": truth}),
    st.just({"NULL": True}),
    st.just({"SS": ["x", "y"]}),
    st.just({"NS": ["1"]}),
    st.just({"L": [{"N": "1"}, {"S": "x"}]}),
    st.just({"M": {"x": {"N": "1"}}}),
)
ITEMS = st.fixed_dictionaries(
    {"pk": PK.map(lambda text: {"S": text}), "sk": SK.map(lambda number: {"N": str(number)})},
    optional={"a": VALUES, "b": VALUES, "m": st.just({"M": {"x": {"S": "xy"}}}), "l": st.just({"L": [{"N": "2"}]})},
)


def literal(value: Any) -> str:
    """A value as a statement writes it."""
    ((kind, payload),) = value.items()
    if kind == "N":
        return str(payload)
    if kind == "S":
        return f"'{payload}'"
    if kind in ("BOOL", "NULL"):
        return str(payload).lower() if kind == "BOOL" else "NULL"
    if kind in ("SS", "NS"):
        return "<<" + ", ".join([f"'{one}'" if kind == "SS" else one for one in payload]) + ">>"
    if kind == "L":
        return "[" + ", ".join(map(literal, payload)) + "]"
    return "{" + ", ".join([f"'{name}': {literal(one)}" for name, one in payload.items()]) + "}"


class Pair:
    """Text of a statement and of an expression, grown together. Values are literals or parameters of the one, and placeholders of the other."""

    def __init__(self, draw: Any) -> None:
        self._draw = draw
        self.values: dict[str, Any] = {}
        self.parameters: list[Any] = []

    def value(self, value: Any) -> tuple[str, str]:
        name = f":v{len(self.values)}"
        self.values[name] = value
        if self._draw(st.booleans()):
            self.parameters.append(value)
            return "?", name
        return literal(value), name

    def condition(self, depth: int = 0) -> tuple[str, str]:
        kind = self._draw(
            st.sampled_from(("compare", "between", "in", "function", "missing", "type", *(("and", "or", "not") if depth < 2 else ())))
        )
        path = self._draw(st.sampled_from(NAMES))
        if kind in ("and", "or"):
            one, other = self.condition(depth + 1), self.condition(depth + 1)
            return f"({one[0]} {kind} {other[0]})", f"({one[1]} {kind} {other[1]})"
        if kind == "not":
            one = self.condition(depth + 1)
            return f"NOT ({one[0]})", f"NOT {one[1]}" if one[1].startswith("(") else f"NOT ({one[1]})"
        if kind == "missing":
            denied = self._draw(st.booleans())
            return f"{path} IS {'NOT ' if denied else ''}MISSING", f"attribute_{'' if denied else 'not_'}exists({path})"
        if kind == "type":
            word, letter = self._draw(
                st.sampled_from((("STRING", "S"), ("NULL", "NULL"), ("LIST", "L"), ("BOOLEAN", "BOOL"), ("STRUCT", "M"), ("NUMERIC", "N")))
            )
            name = f":v{len(self.values)}"
            self.values[name] = {"S": letter}
            return f"{path} IS {word}", f"attribute_type({path}, {name})"
        first = self.value(self._draw(VALUES))
        if kind == "compare":
            operator = self._draw(st.sampled_from(("=", "<>", "<", "<=", ">", ">=")))
            return f"{path} {operator} {first[0]}", f"{path} {operator} {first[1]}"
        if kind == "function":
            name = self._draw(st.sampled_from(("contains", "begins_with", "size")))
            if name == "size":
                return f"size({path}) > {first[0]}", f"size({path}) > {first[1]}"
            return f"{name}({path}, {first[0]})", f"{name}({path}, {first[1]})"
        second = self.value(self._draw(VALUES))
        if kind == "between":
            return f"{path} BETWEEN {first[0]} AND {second[0]}", f"{path} BETWEEN {first[1]} AND {second[1]}"
        return f"{path} IN [{first[0]}, {second[0]}]", f"{path} IN ({first[1]}, {second[1]})"


class Both:
    """Two tables with the same items: one is asked in statements, the other in requests."""

    def __init__(self, rows: list[Any]) -> None:
        self.subject = InProcess()
        for name in ("stated", "asked"):
            assert self.subject.ask("CreateTable", create_request(name, ("pk", "S"), ("sk", "N")))[0] == 200
            for row in rows:
                assert self.subject.ask("PutItem", {"TableName": name, "Item": row})[0] == 200

    def state(self, statement: str, parameters: list[Any], **more: Any) -> tuple[int, Any]:
        status, answer = self.subject.ask(
            "ExecuteStatement",
            {"Statement": statement, "ReturnConsumedCapacity": "TOTAL", **({"Parameters": parameters} if parameters else {}), **more},
        )
        assert self.subject.unexpected == []
        return status, answer

    def ask(self, operation: str, request: dict[str, Any], values: dict[str, Any]) -> tuple[int, Any]:
        given = {"ExpressionAttributeValues": values} if values else {}
        return self.subject.ask(operation, {"TableName": "asked", "ReturnConsumedCapacity": "TOTAL", **request, **given})

    def rows(self, name: str) -> Any:
        return self.subject.ask("Scan", {"TableName": name})[1]["Items"]


def kind_of(answer: Any) -> str:
    return str(answer["__type"].rpartition("#")[2])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_reads(data: st.DataObject) -> None:
    both = Both(data.draw(st.lists(ITEMS, max_size=8)))
    pair = Pair(data.draw)
    words: list[str] = []
    request: dict[str, Any] = {}
    if data.draw(st.booleans()):
        key = pair.value({"S": data.draw(PK)})
        words, conditions = [f"pk = {key[0]}"], [f"pk = {key[1]}"]
        sort = data.draw(st.sampled_from(("", "=", "<", "<=", ">", ">=", "BETWEEN")))
        if sort == "BETWEEN":
            low, high = sorted((data.draw(SK), data.draw(SK)))
            one, other = pair.value({"N": str(low)}), pair.value({"N": str(high)})
            words.append(f"sk BETWEEN {one[0]} AND {other[0]}")
            conditions.append(f"sk BETWEEN {one[1]} AND {other[1]}")
        elif sort:
            one = pair.value({"N": str(data.draw(SK))})
            words.append(f"sk {sort} {one[0]}")
            conditions.append(f"sk {sort} {one[1]}")
        request["KeyConditionExpression"] = " AND ".join(conditions)
    if data.draw(st.booleans()):
        filtered = pair.condition()
        words.append(f"({filtered[0]})")
        request["FilterExpression"] = filtered[1]
    statement = "SELECT * FROM stated" + (" WHERE " + " AND ".join(words) if words else "")
    if "KeyConditionExpression" in request and data.draw(st.booleans()):
        statement += " ORDER BY sk DESC"
        request["ScanIndexForward"] = False
    more: dict[str, Any] = {"ConsistentRead": data.draw(st.booleans())}
    if data.draw(st.booleans()) and "sk = " not in statement:
        more["Limit"] = data.draw(st.integers(1, 3))
    operation = "Query" if "KeyConditionExpression" in request else "Scan"
    while True:
        status, answer = both.state(statement, pair.parameters, **more)
        other_status, other = both.ask(
            operation, {**request, **{name: value for name, value in more.items() if name != "NextToken"}}, pair.values
        )
        assert status == other_status, (statement, answer, other)
        if status != 200:
            assert kind_of(answer) == kind_of(other)
            return
        assert answer["Items"] == other["Items"], (statement, request)
        assert answer["ConsumedCapacity"]["CapacityUnits"] == other["ConsumedCapacity"]["CapacityUnits"]
        assert answer.get("LastEvaluatedKey") == other.get("LastEvaluatedKey")
        assert ("NextToken" in answer) == ("LastEvaluatedKey" in other)
        if "NextToken" not in answer:
            return
        more["NextToken"] = answer["NextToken"]
        request["ExclusiveStartKey"] = other["LastEvaluatedKey"]


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_writes(data: st.DataObject) -> None:
    both = Both(data.draw(st.lists(ITEMS, max_size=6)))
    for _ in range(4):
        pair = Pair(data.draw)
        key = {"pk": {"S": data.draw(PK)}, "sk": {"N": str(data.draw(SK))}}
        kind = data.draw(st.sampled_from(("insert", "update", "delete")))
        returned = "NONE"
        if kind == "insert":
            item = {**data.draw(ITEMS), **key}
            statement = "INSERT INTO stated VALUE " + literal({"M": item})
            operation, request = "PutItem", {"Item": item, "ConditionExpression": "attribute_not_exists(pk)"}
        else:
            actions: list[str] = []
            expression: list[str] = []
            if kind == "update":
                statement, returned, operation = (
                    "UPDATE stated ",
                    data.draw(st.sampled_from(("NONE", "ALL_OLD", "ALL_NEW", "UPDATED_OLD", "UPDATED_NEW"))),
                    "UpdateItem",
                )
                for path in data.draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=2, unique=True)):
                    action = data.draw(st.sampled_from(("set", "remove", "sum", "append", "add", "delete")))
                    if action == "remove":
                        actions.append(f"REMOVE {path}")
                        expression.append(f"REMOVE {path}")
                        continue
                    value = pair.value(
                        data.draw(
                            VALUES
                            if action in ("set", "sum")
                            else st.just({"L": [{"S": "z"}]})
                            if action == "append"
                            else st.just({"SS": ["x", "z"]})
                        )
                    )
                    forms = {
                        "set": (f"SET {path} = {value[0]}", f"SET {path} = {value[1]}"),
                        "sum": (f"SET {path} = {path} + {value[0]}", f"SET {path} = {path} + {value[1]}"),
                        "append": (f"SET {path} = list_append({path}, {value[0]})", f"SET {path} = list_append({path}, {value[1]})"),
                        "add": (f"SET {path} = set_add({path}, {value[0]})", f"ADD {path} {value[1]}"),
                        "delete": (f"SET {path} = set_delete({path}, {value[0]})", f"DELETE {path} {value[1]}"),
                    }
                    actions.append(forms[action][0])
                    expression.append(forms[action][1])
            else:
                statement, returned, operation = "DELETE FROM stated", data.draw(st.sampled_from(("NONE", "ALL_OLD"))), "DeleteItem"
            statement += " ".join(actions) + f" WHERE pk = {literal(key['pk'])} AND sk = {literal(key['sk'])}"
            condition = "attribute_exists(pk)" if kind == "update" else ""
            if data.draw(st.booleans()):
                demanded = pair.condition()
                statement += f" AND ({demanded[0]})"
                within = demanded[1] if demanded[1].startswith("(") else f"({demanded[1]})"
                condition = f"attribute_exists(pk) AND {within}" if kind == "update" else f"attribute_not_exists(pk) OR {within}"
            if returned != "NONE":
                statement += " RETURNING " + returned.replace("UPDATED", "MODIFIED").replace("_", " ") + " *"
            request = {"Key": key, "ReturnValues": returned, **({"ConditionExpression": condition} if condition else {})}
            if expression:
                request["UpdateExpression"] = joined(expression)
        status, answer = both.state(statement, pair.parameters)
        other_status, other = both.ask(operation, request, pair.values)
        assert status == other_status, (statement, answer, request, other)
        if status == 200:
            assert answer["Items"] == ([other["Attributes"]] if "Attributes" in other else []), (statement, request)
            assert answer["ConsumedCapacity"]["CapacityUnits"] == other["ConsumedCapacity"]["CapacityUnits"]
        else:
            said = kind_of(answer)
            assert kind_of(other) == ("ConditionalCheckFailedException" if said == "DuplicateItemException" else said)
        assert both.rows("stated") == both.rows("asked")


def joined(actions: list[str]) -> str:
    """One section of each kind, as an UpdateExpression needs it."""
    sections: dict[str, list[str]] = {}
    for action in actions:
        word, _, rest = action.partition(" ")
        sections.setdefault(word, []).append(rest)
    return " ".join([f"{word} {', '.join(parts)}" for word, parts in sections.items()])


WORDS = {name: f" {name} " for name in ["SELECT", "FROM", "WHERE", "INSERT", "INTO", "VALUE", "UPDATE", "SET", "REMOVE", "DELETE", "RETURNING", "ORDER", "BY", "ASC", "DESC", "LIMIT", "GROUP", "HAVING", "AS"]} | {
    name: f" {name} " for name in ["AND", "OR", "NOT", "BETWEEN", "IN", "IS", "LIKE", "MISSING", "NULL", "TRUE", "FALSE", "EXISTS", "ALL", "MODIFIED", "OLD", "NEW"]
}  # fmt: skip
TERMINALS = {name: st.just(text) for name, text in WORDS.items()} | {
    "RESERVED": st.sampled_from((" count", " size", " lower")),
    "TYPE": st.sampled_from((" STRING ", " int4 ", " TUPLE ", " double precision ")),
    "IDENT": st.sampled_from(
        (" stated ", " pk ", " sk ", " a ", " m ", " contains", " begins_with", " list_append", " set_add", " attribute_exists", " nope")
    ),
    "QUOTED": st.sampled_from(('"stated"', '"pk"', '"x y"', '""')),
    "STRING": st.sampled_from(("'p'", "'x'", "''", "'S'")),
    "NUMBER": st.sampled_from(("1", "0", "2.5", "1e200", ".5 ", "99999999999")),
}


@pytest.fixture(scope="module")
def one_row() -> Both:
    return Both([{"pk": {"S": "p"}, "sk": {"N": "1"}, "a": {"S": "x"}}])


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    from_lark(Lark(GRAMMAR.replace("%ignore SPACE\n%ignore COMMENT\n", "")), start="start", explicit=TERMINALS),
    st.lists(VALUES, max_size=3),
    st.booleans(),
)
@example(statement=" FROM  MODIFIED  WHERE  TRUE --1 OR 1 REMOVE  stated ", parameters=[], fit=False)
def test_whatever_the_grammar_makes_is_answered(one_row: Both, statement: str, parameters: list[Any], fit: bool) -> None:
    """fit: as many parameters as there are question marks."""
    statement = re.sub("-(?=-)", "- ", statement)  # two signs beside each other begin a comment, which the grammar does not mean here
    if fit:
        parameters = [{"S": "p"}] * statement.count("?")
    status, answer = one_row.state(statement[:8192], parameters)
    assert status in (200, 400), answer
    if len(statement) <= 8192 and status == 400 and "well formed" in answer.get("message", ""):
        # some of what the grammar makes is refused by its depth, or by a number that no one can write
        assert answer["message"].endswith(("nested too deeply", "Unexpected term", "Invalid path component")), (statement, answer)
