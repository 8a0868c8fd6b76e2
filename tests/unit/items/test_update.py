"""Updates: refusals before any item is seen, what applying does, and what it refuses then."""

from __future__ import annotations

from typing import Any

import pytest

from scrubjay.storage.catalogue import KeyAttribute, KeySchema
from scrubjay.storage.items.errors import ItemError
from scrubjay.storage.items.expressions import parse_update
from scrubjay.storage.items.values import Item
from scrubjay.storage.items.wire import item_from_json, item_to_json, value_from_json

RANGE = KeySchema(KeyAttribute("a", "S"), KeyAttribute("b", "S"))
PREFIX = "Invalid UpdateExpression: "


def refused(text: str, *, names: dict[str, str] | None = None, values: dict[str, Any] | None = None) -> str:
    with pytest.raises(ItemError) as fault:
        parse_update(text, names, {key: value_from_json(value) for key, value in (values or {}).items()})
    assert fault.value.message.startswith(PREFIX)
    return fault.value.message.removeprefix(PREFIX)


@pytest.mark.parametrize(
    ("text", "token", "near"),
    [
        ("whatever", "whatever", "whatever"),
        ("HELLO b = :val1", "HELLO", "HELLO b"),
        ("set", "<EOF>", "set"),
        ("set a", "<EOF>", "a"),
        ("add a", "<EOF>", "a"),
        ("delete a", "<EOF>", "a"),
        ("set a=set", "set", "=set"),
        ("remove a = b", "=", "a = b"),
        ("add a = b", "=", "a = b"),
        ("delete a b", "b", "a b"),
        ("delete a if_not_exist(b)", "if_not_exist", "a if_not_exist("),
        ("add abort b", "b", "abort b"),
        ("remove a b", "b", "a b"),
        ("set a b", "b", "a b"),
        ("set :a = b", ":a", "set :a ="),
        ("add :a b", ":a", "add :a b"),
        ("remove :a", ":a", "remove :a"),
        ("set a = b / c", "/", "b / c"),
        ("set a = b * c", "*", "b * c"),
        ('set a[1] = "eight"', '"', '= "eight'),
        ("set a[1] = 1", "1", "= 1"),
        ("SET a = if_not_exist(a, 100)", "100", ", 100)"),
        ("SET if_not_exist(a, b) = a", "(", "if_not_exist(a"),
        ("set (a = (b + c))", "(", "set (a"),
        ("set a = (b.c).d + e", ".", ").d"),
        ("set a = (b.c)[0] + e", "[", ")[0"),
        ("set a = b + c + d", "+", "c + d"),
        ("SET _something = :something", "_", "SET _something"),
        ("SET 123a = :v", "123", "SET 123a"),
        ("SET hi-there = :v", "-", "hi-there"),
        ("SET # = :v", "#", "SET # ="),
        ("SET a = :", ":", "= :"),
        ("SET a = f(b, :v + :v)", "+", ":v + :v"),
        ("SET a = _f(b)", "_", "= _f"),
        ("SET a = :v,", "<EOF>", ","),
        ("SET a[:x] = :v", ":x", "[:x]"),
        ("REMOVE a SET", "<EOF>", "SET"),
    ],
)
def test_syntax_errors(text: str, token: str, near: str) -> None:
    assert refused(text) == f'Syntax error; token: "{token}", near: "{near}"'


def test_empty() -> None:
    assert refused("") == "The expression can not be empty;"


def test_operators_are_counted() -> None:
    values = {":v": {"S": "x"}}
    parse_update("SET " + ",".join(f"a{at}=:v" for at in range(300)), None, {":v": ("S", "x")})
    assert (
        refused("SET " + ",".join(f"a{at}=:v" for at in range(301)), values=values)
        == "The expression contains too many operators; operator count: 301"
    )


GIVEN: dict[str, Any] = {":a": {"S": "a"}, ":b": {"S": "a"}}
NAMES = {"#a": "a", "#b": "b"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (" set #c = :c set abOrt = true ", "Attribute name is a reserved keyword; reserved keyword: abOrt"),
        (" remove Absolute ", "Attribute name is a reserved keyword; reserved keyword: Absolute"),
        ("set #c = if_not_exist(:c) set c = d", "Invalid function name; function: if_not_exist"),
        ("SET a = f123_hi(b,c,d)", "Invalid function name; function: f123_hi"),
        ("SET a = size(b)", "The function is not allowed to be used this way in an expression; function: size"),
        ("SET a = attribute_exists(b)", "The function is not allowed to be used this way in an expression; function: attribute_exists"),
        (
            "SET a = list_append(list_append(:a, :b), :c)",
            "The function is not allowed to be used this way in an expression; function: list_append",
        ),
        ("set a = #c set c = :d", 'The "SET" section can only be used once in an update expression;'),
        ("remove #d set a = b remove e", 'The "REMOVE" section can only be used once in an update expression;'),
        ("add #d :e set a = b add e :f", 'The "ADD" section can only be used once in an update expression;'),
        ("delete #d :e set a = b delete #e :f", 'The "DELETE" section can only be used once in an update expression;'),
        ("SET #c = if_not_exists(:c)", "An expression attribute name used in the document path is not defined; attribute name: #c"),
        ("SET #a = if_not_exists(:c)", "An expression attribute value used in expression is not defined; attribute value: :c"),
        ("SET a = ((:a))", "The expression has redundant parentheses;"),
        (
            "set a = if_not_exists(c)",
            "Incorrect number of operands for operator or function; operator or function: if_not_exists, number of operands: 1",
        ),
        (
            "set a = list_append(c)",
            "Incorrect number of operands for operator or function; operator or function: list_append, number of operands: 1",
        ),
        (
            "set a = list_append(b, c, d)",
            "Incorrect number of operands for operator or function; operator or function: list_append, number of operands: 3",
        ),
        ("set a = if_not_exists(:a, c)", "Operator or function requires a document path; operator or function: if_not_exists"),
        (
            "set a = if_not_exists(if_not_exists(a, b), c)",
            "Operator or function requires a document path; operator or function: if_not_exists",
        ),
    ],
)
def test_refusals_in_their_order(text: str, message: str) -> None:
    assert refused(text, names=NAMES, values=GIVEN) == message


@pytest.mark.parametrize(
    ("text", "word", "one", "two"),
    [
        ("set d[1] = a, d.b = a, c[1].a = a, #c = if_not_exists(a)", "overlap", "[c, [1], a]", "[c]"),
        ("set c.b.#c = a, c = a, #d = a", "overlap", "[c, b, c]", "[c]"),
        ("set a = b remove a, #c, #d", "overlap", "[a]", "[a]"),
        ("set #c[3].#d = a, #c[3] = a", "overlap", "[c, [3], [3]]", "[c, [3]]"),
        ("remove c, #c.a, #d", "overlap", "[c]", "[c, a]"),
        ("remove a, #c, a, #d", "overlap", "[a]", "[a]"),
        ("SET a[1][1][1][1] = :v, a[1][1] = :v", "overlap", "[a, [1], [1], [1], [1]]", "[a, [1], [1]]"),
        ("set #c[3].#d = a, #c.#d[3] = if_not_exists(a)", "conflict", "[c, [3], [3]]", "[c, [3], [3]]"),
        ("remove a.#c set a[1] = #d", "conflict", "[a, c]", "[a, [1]]"),
        ("SET a.b.c = :v, a.b[2] = :v", "conflict", "[a, b, c]", "[a, b, [2]]"),
    ],
)
def test_paths_in_each_others_way(text: str, word: str, one: str, two: str) -> None:
    assert refused(text, names={"#c": "c", "#d": "[3]"}, values={":v": {"N": "1"}}) == (
        f"Two document paths {word} with each other; must remove or rewrite one of these paths; path one: {one}, path two: {two}"
    )


LONG = {"S": "STRING", "N": "NUMBER", "B": "BINARY", "M": "MAP", "L": "LIST", "NULL": "NULL", "BOOL": "BOOLEAN"}
ONE_OF_EACH: list[dict[str, Any]] = [
    {"S": "a"},
    {"B": "YQ=="},
    {"BOOL": "no"},
    {"NULL": "true"},
    {"SS": ["a"]},
    {"NS": ["1"]},
    {"BS": ["YQ=="]},
    {"M": {}},
    {"L": []},
    {"N": "1"},
]


@pytest.mark.parametrize("value", [value for value in ONE_OF_EACH if next(iter(value)) in LONG])
def test_add_and_delete_take_sets(value: dict[str, Any]) -> None:
    kind = next(iter(value))
    for section in ("ADD", "DELETE"):
        if (section, kind) == ("ADD", "N"):
            continue
        # told before the faults of functions
        text = f"set b = list_append(:a, a), c = if_not_exists(a) {section.lower()} a.b :a"
        assert (
            refused(text, values={":a": value})
            == f"Incorrect operand type for operator or function; operator: {section}, operand type: {LONG[kind]}"
        )


@pytest.mark.parametrize("value", ONE_OF_EACH)
def test_constants_of_the_wrong_type(value: dict[str, Any]) -> None:
    kind = next(iter(value))
    given = {":x": value}
    message = "Incorrect operand type for operator or function; operator or function: {}, operand type: " + kind
    if kind != "L":
        assert refused("set a = list_append(:x, a)", values=given) == message.format("list_append")
        assert refused("set a = list_append(a, :x)", values=given) == message.format("list_append")
    if kind != "N":
        assert refused("set a = a + :x", values=given) == message.format("+")
        assert refused("set a = :x - a", values=given) == message.format("-")


def test_keys_cannot_be_updated() -> None:
    for text, key in (("set d[1] = :a add b.b :a", "b"), ("remove a", "a"), ("set a = :a", "a"), ("set c = :a, a.x = :a", "a")):
        with pytest.raises(ItemError) as fault:
            parse_update(text, None, {":a": ("N", "1")}).check_keys(RANGE)
        assert (
            fault.value.message
            == f"One or more parameter values were invalid: Cannot update attribute {key}. This attribute is part of the key"
        )
    parse_update("set c = a + b").check_keys(RANGE)


# --- applying ------------------------------------------------------------------------------------------------------------------------------

OLD: dict[str, Any] = {
    "k": {"S": "key"},
    "n": {"N": "3"},
    "s": {"S": "hi"},
    "l": {"L": [{"N": "2"}, {"N": "3"}, {"N": "4"}, {"N": "5"}]},
    "m": {"M": {"x": {"N": "1"}, "y": {"L": [{"S": "a"}, {"M": {"q": {"SS": ["p"]}}}]}, "one": {"M": {"sole": {"N": "1"}}}}},
    "ss": {"SS": ["cat", "dog"]},
    "ns": {"NS": ["1", "2"]},
}


def applied(text: str, values: dict[str, Any] | None = None, names: dict[str, str] | None = None) -> dict[str, Any]:
    """What the update changes in OLD: attribute to its new value, None where it went."""
    old = item_from_json(OLD)
    before = item_from_json(OLD)
    new = parse_update(text, names, {key: value_from_json(value) for key, value in (values or {}).items()}).apply(old)
    assert old == before, "the old item must not change"
    shown = item_to_json(new)
    changed: dict[str, Any] = {name: value for name, value in shown.items() if OLD.get(name) != value}
    return changed | dict.fromkeys(name for name in OLD if name not in shown)


@pytest.mark.parametrize(
    ("text", "values", "changed"),
    [
        ("SET b = :v", {":v": {"N": "4.0"}}, {"b": {"N": "4"}}),
        ("SET b = n, n = :v", {":v": {"S": "x"}}, {"b": {"N": "3"}, "n": {"S": "x"}}),
        ("REMOVE n SET b = n", None, {"b": {"N": "3"}, "n": None}),
        ("SET n = n + :v, b = :v - n", {":v": {"N": "1"}}, {"n": {"N": "4"}, "b": {"N": "-2"}}),
        ("SET n = if_not_exists(q, n) + if_not_exists(p, :v)", {":v": {"N": "0.5"}}, {"n": {"N": "3.5"}}),
        ("SET s = if_not_exists(s, :v), q = if_not_exists(q, if_not_exists(m.x, :v))", {":v": {"S": "no"}}, {"q": {"N": "1"}}),
        ("SET q = list_append(:v, l)", {":v": {"L": [{"S": "x"}]}}, {"q": {"L": [{"S": "x"}, *OLD["l"]["L"]]}}),
        ("SET q = list_append(if_not_exists(q, :v), m.y)", {":v": {"L": []}}, {"q": OLD["m"]["M"]["y"]}),
        ("SET l[1] = :v", {":v": {"S": "x"}}, {"l": {"L": [{"N": "2"}, {"S": "x"}, {"N": "4"}, {"N": "5"}]}}),
        (
            "SET l[84] = :a, l[37] = :b, l[9] = :c",
            {":a": {"S": "a"}, ":b": {"S": "b"}, ":c": {"S": "c"}},
            {"l": {"L": [*OLD["l"]["L"], {"S": "c"}, {"S": "b"}, {"S": "a"}]}},
        ),
        ("REMOVE l[1] SET l[3] = :v", {":v": {"N": "17"}}, {"l": {"L": [{"N": "2"}, {"N": "4"}, {"N": "17"}]}}),
        ("REMOVE l[0], l[2], l[17]", None, {"l": {"L": [{"N": "3"}, {"N": "5"}]}}),
        ("REMOVE l[0] SET l[7] = :v", {":v": {"N": "6"}}, {"l": {"L": [{"N": "3"}, {"N": "4"}, {"N": "5"}, {"N": "6"}]}}),
        ("REMOVE q, m.zzz, l[99], m.y[9]", None, {}),
        (
            "SET m.x = :v, m.#new = n REMOVE m.y[0], m.one.sole",
            {":v": {"N": "9"}},
            {"m": {"M": {"x": {"N": "9"}, "new": {"N": "3"}, "y": {"L": [OLD["m"]["M"]["y"]["L"][1]]}, "one": {"M": {}}}}},
        ),
        (
            "ADD n :v, q :v, m.x :v",
            {":v": {"N": "-5"}},
            {"n": {"N": "-2"}, "q": {"N": "-5"}, "m": {"M": {**OLD["m"]["M"], "x": {"N": "-4"}}}},
        ),
        ("ADD ss :v, q :v", {":v": {"SS": ["dog", "ant"]}}, {"ss": {"SS": ["ant", "cat", "dog"]}, "q": {"SS": ["ant", "dog"]}}),
        ("ADD ns :v", {":v": {"NS": ["10", "2.0"]}}, {"ns": {"NS": ["1", "2", "10"]}}),
        ("DELETE ss :v", {":v": {"SS": ["dog", "pig"]}}, {"ss": {"SS": ["cat"]}}),
        ("DELETE ss :v, q :v, m.zz :v", {":v": {"SS": ["dog", "cat"]}}, {"ss": None}),
        ("DELETE m.y[1].q :v", {":v": {"SS": ["p"]}}, {"m": {"M": {**OLD["m"]["M"], "y": {"L": [{"S": "a"}, {"M": {}}]}}}}),
        ("SET k2 = k", None, {"k2": {"S": "key"}}),
        ("SET #new = :v", {":v": {"S": ""}}, {"new": {"S": ""}}),
    ],
)
def test_applying(text: str, values: dict[str, Any] | None, changed: dict[str, Any]) -> None:
    names = {"#new": "new"} if "#new" in text else None
    assert applied(text, values, names) == changed


BAD_PATH = "The document path provided in the update expression is invalid for update"
BAD_TYPE = "An operand in the update expression has an incorrect data type"
MISSING = "The provided expression refers to an attribute that does not exist in the item"


@pytest.mark.parametrize(
    ("text", "values", "message"),
    [
        *[
            (text, {":a": {"SS": ["a"]}}, BAD_PATH)
            for text in [
                *(
                    f"{section} {target}{rest}"
                    for target in ("s.a", "s[1]", "y.a", "y[1]", "m[1]", "l.q", "m.zz.a", "l[9].a", "l[0].a", "m.y[7][0]")
                    for section, rest in (("set", " = :a"), ("remove", ""), ("add", " :a"), ("delete", " :a"))
                ),
                "set b = :a, y.a = :a",
            ]
        ],
        ("set q = s + :a", {":a": {"N": "1"}}, BAD_TYPE),
        ("set q = :a - m", {":a": {"N": "1"}}, BAD_TYPE),
        ("set q = list_append(ss, if_not_exists(f, :a))", {":a": {"L": []}}, BAD_TYPE),
        ("add s :a", {":a": {"N": "1"}}, BAD_TYPE),
        ("add ns :a", {":a": {"N": "1"}}, BAD_TYPE),
        ("add m :a", {":a": {"NS": ["1"]}}, BAD_TYPE),
        ("delete ns :a", {":a": {"SS": ["1"]}}, BAD_TYPE),
        ("delete m.y[1].q :a", {":a": {"NS": ["1"]}}, BAD_TYPE),
        ("set c = q", None, MISSING),
        ("set c = q + :a", {":a": {"N": "1"}}, MISSING),
        ("set c = list_append(q, :a)", {":a": {"L": []}}, MISSING),
        ("set x = :a, y = x", {":a": {"L": []}}, MISSING),
        ("set q = if_not_exists(q, p)", None, MISSING),
        (
            "set q = :a + n",
            {":a": {"N": "9" * 38 + "0" * 88}},
            "Number overflow. Attempting to store a number with magnitude larger than supported range",
        ),
    ],
)
def test_refused_when_the_item_is_seen(text: str, values: dict[str, Any] | None, message: str) -> None:
    with pytest.raises(ItemError) as fault:
        applied(text, values)
    assert fault.value.message == message


def test_depth_of_the_outcome() -> None:
    value: Any = {"S": "x"}
    for _ in range(30):
        value = {"L": [value]}
    apply = parse_update("SET m.x = :v", None, {":v": value_from_json(value)}).apply
    apply(item_from_json({"m": {"M": {}}}))
    deep = parse_update("SET m.x.y = :v", None, {":v": value_from_json(value)})
    with pytest.raises(ItemError, match="Nesting Levels have exceeded supported limits"):
        deep.apply(item_from_json({"m": {"M": {"x": {"M": {}}}}}))


def test_an_item_that_is_not_there() -> None:
    key: Item = {"k": ("S", "key")}

    def made(text: str) -> Item | None:
        return parse_update(text, None, {":v": ("NS", ("1",))} if ":v" in text else None).update_item(None, key)

    assert made("SET b = k") == {"k": ("S", "key"), "b": ("S", "key")}
    assert made("ADD b :v") == {"k": ("S", "key"), "b": ("NS", ("1",))}
    assert made("REMOVE b") is None
    assert made("REMOVE x.y, z[0]") is None
    assert made("DELETE b :v") is None
    assert made("REMOVE x.y SET b = k") == {"k": ("S", "key"), "b": ("S", "key")}
    for text in ("SET b.a = k", "SET b[1] = k"):
        with pytest.raises(ItemError, match="document path"):
            made(text)
    existing: Item = {"k": ("S", "key"), "b": ("N", "1")}
    assert parse_update("REMOVE b").update_item(existing, key) == key


@pytest.mark.parametrize(
    ("text", "old", "new"),
    [
        ("SET s = :v, q = :v", {"s": {"S": "hi"}}, {"s": {"N": "7"}, "q": {"N": "7"}}),
        ("REMOVE s", {"s": {"S": "hi"}}, {}),
        (
            "SET m.x = :v, m.y[0] = :v",
            {"m": {"M": {"x": {"N": "1"}, "y": {"L": [{"S": "a"}]}}}},
            {"m": {"M": {"x": {"N": "7"}, "y": {"L": [{"N": "7"}]}}}},
        ),
        ("REMOVE l[1], l[7]", {"l": {"L": [{"N": "3"}]}}, {"l": {"L": [{"N": "4"}]}}),
        ("SET l[100] = :v", {}, {}),
        ("SET m.new = :v", {}, {"m": {"M": {"new": {"N": "7"}}}}),
    ],
)
def test_touched_parts(text: str, old: dict[str, Any], new: dict[str, Any]) -> None:
    update = parse_update(text.replace("m.new", "m.#new"), {"#new": "new"}, {":v": ("N", "7")})
    item = item_from_json(OLD)
    assert item_to_json(update.project_touched(item)) == old
    assert item_to_json(update.project_touched(update.apply(item))) == new
