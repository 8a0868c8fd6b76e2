"""Conditions and filters: every refusal with its text and its rank, and what evaluation makes of items."""

from __future__ import annotations

from typing import Any

import pytest

from scrubjay.storage.catalogue import KeyAttribute, KeySchema
from scrubjay.storage.items.errors import ItemError
from scrubjay.storage.items.expressions import Placeholders, check_key_paths, parse_condition, parse_filter
from scrubjay.storage.items.expressions.reserved import RESERVED
from scrubjay.storage.items.values import Item
from scrubjay.storage.items.wire import item_from_json, value_from_json

RANGE = KeySchema(KeyAttribute("a", "S"), KeyAttribute("b", "S"))


def refused(text: str, *, names: dict[str, str] | None = None, values: dict[str, Any] | None = None, kind: str = "FilterExpression") -> str:
    with pytest.raises(ItemError) as fault:
        parse_condition(text, names, {key: value_from_json(value) for key, value in (values or {}).items()}, kind=kind)
    prefix = f"Invalid {kind}: "
    assert fault.value.message.startswith(prefix)
    return fault.value.message[len(prefix) :]


@pytest.mark.parametrize(
    ("text", "token", "near"),
    [
        ("things are not gonna be ok", "are", "things are not"),
        ("a > 4", "4", "> 4"),
        ("a", "<EOF>", "a"),
        (":a", "<EOF>", ":a"),
        ("a >", "<EOF>", ">"),
        ("(a)", "<EOF>", ")"),
        ("(a = b", "<EOF>", "b"),
        ("a = b)", ")", "b)"),
        ("a != b", "!", "a !="),
        ("a == b", "=", "== b"),
        ("_id = :a", "_", "_id"),
        ("a = :a and _type <> b", "_", "and _type"),
        ("hi-there = b", "-", "hi-there"),
        ("attribute_exists(Pictures-RearView)", "-", "Pictures-RearView"),
        ('attribute_exists("Pictures.RearView")', '"', '("Pictures'),
        ("attribute_exists(Pictures..RearView)", ".", "..RearView"),
        ("attribute_exists(Pi#ctures.RearView)", "#ctures", "Pi#ctures."),
        ("attribute_exists()", ")", "()"),
        ("a.:a < b.:b", ":a", ".:a <"),
        ("a > between", "between", "> between"),
        ("a in b", "b", "in b"),
        ("a in (b,c,)", ")", ",)"),
        ("a in ()", ")", "()"),
        ("a between b or c", "or", "b or c"),
        ("(a)between(b.(c.d))and(c)", "(", ".(c"),
        ("(a)between(b.c.d)and((c)", "<EOF>", ")"),
        ("#$.b > a", "#", "#$"),
        ("a > :things.stuff", ".", ":things.stuff"),
        ("b[:a] > a", ":a", "[:a]"),
        ("b[#_] > a", "#_", "[#_]"),
        ("b[c] > a", "c", "[c]"),
        ("b[1 > a", ">", "1 > a"),
        ("ü > a", "ü", "ü >"),
        ("(a)between(b.c[4.5].#d)and(:a)", ".", "4.5"),
        ("size(a).b > a", ".", ").b"),
        ("(size(a)).b > a", ".", ").b"),
        ("size(a)[0] > a", "[", ")[0"),
        ("(size(a))[0] > a", "[", ")[0"),
        ("NOT a", "<EOF>", "a"),
        ("a = b AND", "<EOF>", "AND"),
        ("a = b c = d", "c", "b c ="),
        ("a = b = c", "=", "b = c"),
        ("(a = b) = c", "=", ") = c"),
        ("a AND b = c", "AND", "a AND b"),
        ("set = and", "and", "= and"),
    ],
)
def test_syntax_errors_show_token_and_neighbours(text: str, token: str, near: str) -> None:
    assert refused(text) == f'Syntax error; token: "{token}", near: "{near}"'


@pytest.mark.parametrize("text", ["", "  ", "\n\t"])
def test_empty(text: str) -> None:
    for kind in ("ConditionExpression", "FilterExpression", "KeyConditionExpression"):
        assert refused(text, kind=kind) == "The expression can not be empty;"


def test_size_limit_is_4096_bytes_of_text() -> None:
    parse_condition("a=b" + " " * 4093)
    assert refused("a=b" + " " * 4094) == "Expression size has exceeded the maximum allowed size; expression size: 4097"
    assert refused("ü" * 2049).endswith("expression size: 4098")


def test_operator_limit_is_300() -> None:
    names = [f"a{at}" for at in range(151)]
    parse_condition(" or ".join(f"{name}=b" for name in names[:150]))
    assert refused(" or ".join(f"{name}=b" for name in names)) == "The expression contains too many operators; operator count: 301"


@pytest.mark.parametrize(
    "text",
    [
        "a=a and a > ((views))",
        "(a)between(((b.c)).d)and(c)",
        "a > whatever((:things), ((a)))",
        "a=a AND ((a=a AND a=a)) AND a=a",
        "a=a OR ((a=a OR a=a)) OR a=a",
        "a=a AND ((a=a AND (a=a AND a=a)))",
        "((a = b))",
        "((attribute_exists(a)))",
        "a in (((b)))",
    ],
)
def test_redundant_parentheses(text: str) -> None:
    assert refused(text) == "The expression has redundant parentheses;"


@pytest.mark.parametrize(
    ("text", "function"),
    [
        ("a=a and whatever((:things)) > a", "whatever"),
        ("attRIbute_exIsts((views), #a)", "attRIbute_exIsts"),
        ("LIST_APPEND(a, b)", "LIST_APPEND"),
        ("size(f(a)) > b", "f"),
    ],
)
def test_unknown_functions(text: str, function: str) -> None:
    assert refused(text) == f"Invalid function name; function: {function}"


@pytest.mark.parametrize(
    ("text", "function"),
    [
        ("a=a and attribute_exists((views), (#a)) > b", "attribute_exists"),
        ("attribute_not_exists(things) > b", "attribute_not_exists"),
        ("attribute_type(things, :a) > b", "attribute_type"),
        ("begins_with(things, a) > b", "begins_with"),
        ("contains(:things, c) > b", "contains"),
        ("size(contains(a, b)) > a", "contains"),
        ("size(things)", "size"),
        ("a between b and attribute_exists(things)", "attribute_exists"),
        ("a in (b, attribute_exists(things))", "attribute_exists"),
        ("if_not_exists(a, a) = :arg", "if_not_exists"),
        ("list_append(a, a) = :arg", "list_append"),
        ("if_not_exists(a, a)", "if_not_exists"),
    ],
)
def test_functions_in_the_wrong_place(text: str, function: str) -> None:
    assert refused(text) == f"The function is not allowed to be used this way in an expression; function: {function}"


@pytest.mark.parametrize(
    ("text", "word"),
    [("attribute_exists(views, #a)", "views"), (":a < abOrT", "abOrT"), ("a.b.Year = #undefined", "Year"), ("size = :a", "size")],
)
def test_reserved_words(text: str, word: str) -> None:
    assert refused(text) == f"Attribute name is a reserved keyword; reserved keyword: {word}"


def test_there_are_573_reserved_words() -> None:
    assert len(RESERVED) == 573
    assert all(word == word.upper() for word in RESERVED)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        *[
            (text, f"An expression attribute name used in the document path is not defined; attribute name: {name}")
            for text, name in [
                ("attribute_exists(#Pictures.RearView, :a) and a=a", "#Pictures"),
                ("begins_with(Pictures.#RearView)", "#RearView"),
                ("(#P between :lo and :hi) and (#PC in (:cat1, :cat2))", "#P"),
                ("#4g > a", "#4g"),
                ("#_ > a", "#_"),
                ("(a)between(b.c[45].#d)and(:a)", "#d"),
            ]
        ],
        *[
            (text, f"An expression attribute value used in expression is not defined; attribute value: {name}")
            for text, name in [("begins_with(:hello, #a, #b)", ":hello"), (":a < :b", ":a"), (":_ > a", ":_"), ("a BETWEEN b AND :c", ":c")]
        ],
        *[
            (text, f"Incorrect number of operands for operator or function; operator or function: {name}, number of operands: {count}")
            for text, name, count in [
                ("attribute_exists(things, a) and a=a", "attribute_exists", 2),
                ("attribute_not_exists(things, b)", "attribute_not_exists", 2),
                ("attribute_type(things)", "attribute_type", 1),
                ("begins_with(things)", "begins_with", 1),
                ("begins_with(things, size(a), b)", "begins_with", 3),
                ("contains(things)", "contains", 1),
                ("size(things, a) > b", "size", 2),
            ]
        ],
        (
            "attribute_type(ab.bc[1].a, SS)",
            "Incorrect operand type for operator or function; operator or function: attribute_type, operand type: {NS,SS,L,BS,N,M,B,BOOL,NULL,S}",
        ),
    ],
)
def test_faults_of_one_operator_at_a_time(text: str, message: str) -> None:
    assert refused(text) == message


NOT_STRINGS: list[dict[str, Any]] = [
    {"N": "1"},
    {"BOOL": True},
    {"NULL": True},
    {"L": []},
    {"M": {}},
    {"SS": ["1"]},
    {"NS": ["1"]},
    {"BS": ["YQ=="]},
]


@pytest.mark.parametrize(
    ("text", "function", "value"),
    [
        ("attribute_type(a, size(a)) and a=a and a=:a", "attribute_type", {"N": "1"}),
        ("attribute_type(a, :a)", "attribute_type", {"B": "YQ=="}),
        *[("attribute_type(a, :a)", "attribute_type", value) for value in NOT_STRINGS],
        ("begins_with(a, size(a)) and a=:a", "begins_with", {"N": "1"}),
        *[("begins_with(a, :a)", "begins_with", value) for value in NOT_STRINGS],
        *[("begins_with(:a, a)", "begins_with", value) for value in NOT_STRINGS],
        ("size(size(a)) > :a", "size", {"N": "1"}),
        ("attribute_not_exists(size(:a))", "size", {"N": "1"}),
        ("size(:a) > a", "size", {"BOOL": True}),
        ("size(:a) > a", "size", {"NULL": True}),
        *[(f"a {operator} :a", operator, value) for operator in ("<", "<=", ">", ">=") for value in NOT_STRINGS[1:]],
        ("a BETWEEN :a AND b", "BETWEEN", {"L": []}),
    ],
)
def test_operands_of_the_wrong_type(text: str, function: str, value: dict[str, Any]) -> None:
    kind = next(iter(value))
    message = f"Incorrect operand type for operator or function; operator or function: {function}, operand type: {kind}"
    assert refused(text, values={":a": value}) == message


def test_attribute_type_wants_a_type() -> None:
    assert (
        refused("attribute_type(a, :a)", values={":a": {"S": "1"}})
        == "Invalid attribute type name found; type: 1, valid types: {B,NULL,SS,BOOL,L,BS,N,NS,S,M}"
    )


@pytest.mark.parametrize(
    ("text", "function"), [("attribute_exists(:a) and a=a", "attribute_exists"), ("attribute_not_exists(size(:a))", "attribute_not_exists")]
)
def test_existence_is_asked_of_paths(text: str, function: str) -> None:
    assert refused(text, values={":a": {"S": "1"}}) == f"Operator or function requires a document path; operator or function: {function}"


@pytest.mark.parametrize(
    ("text", "operator", "path"),
    [
        ("a = a AND #a = b AND :views > a", "=", "[a]"),
        ("#a <> a", "<>", "[a]"),
        ("a > #a", ">", "[a]"),
        ("((a=a) OR (a=a))", "=", "[a]"),
        ("contains(ab.bc[1].a, ab.bc[1].#a)", "contains", "[ab, bc, [1], a]"),
        ("attribute_type(ab.bc[1].#a, ab.bc[1].a)", "attribute_type", "[ab, bc, [1], a]"),
        ("begins_with(ab.bc[1].a, ab.bc[1].#a)", "begins_with", "[ab, bc, [1], a]"),
        ("a BETWEEN b AND a", "BETWEEN", "[a]"),
        ("a IN (b, a)", "IN", "[a]"),
    ],
)
def test_operands_must_be_distinct(text: str, operator: str, path: str) -> None:
    message = f"The first operand must be distinct from the remaining operands for this operator or function; operator: {operator}, first operand: {path}"
    assert refused(text, names={"#a": "a"}) == message


def test_same_value_twice_is_fine() -> None:
    assert parse_condition(":a = :a", None, {":a": ("N", "1")}).evaluate(None)


def test_between_bounds() -> None:
    values = {":n": {"N": "3"}, ":m": {"N": "2"}, ":s": {"S": "x"}, ":b": {"B": "YQ=="}}
    assert refused("a BETWEEN :n AND :m", values=values) == (
        "The BETWEEN operator requires upper bound to be greater than or equal to lower bound; "
        "lower bound operand: AttributeValue: {N:3}, upper bound operand: AttributeValue: {N:2}"
    )
    assert refused("a BETWEEN :n AND :s", values=values) == (
        "The BETWEEN operator requires same data type for lower and upper bounds; "
        "lower bound operand: AttributeValue: {N:3}, upper bound operand: AttributeValue: {S:x}"
    )


def test_in_takes_100_operands() -> None:
    values = {f":v{at}": ("N", str(at)) for at in range(100)}
    assert parse_condition(f"a IN ({', '.join(list(values)[:99])})", None, values).evaluate({"a": ("N", "37")})
    with pytest.raises(ItemError, match=r"The IN operator is provided with too many operands; number of operands: 101$"):
        parse_condition(f"a IN ({', '.join(values)})", None, values)


def test_paths_have_limits() -> None:
    parse_condition("attribute_exists(" + ".".join(["a"] * 32) + ")")
    assert "too many nesting elements; nesting levels: 33" in refused("attribute_exists(" + ".".join(["a"] * 33) + ")")
    parse_condition("attribute_exists(a[4294967294])")
    for index in ("4294967295", "99999999999"):
        assert refused(f"attribute_exists(a[{index}])") == f"List index is not within the allowable range; index: [{index}]"


def test_deep_expressions_are_refused_not_crashed_on() -> None:
    # as long as 4 KB allow, and as the service words it
    assert parse_condition("a<b " + "or (a<b " * 149 + ")" * 149).evaluate({"a": ("N", "1"), "b": ("N", "2")})
    for text in ("a<b " + "or (a<b " * 454 + ")" * 454, "not " * 1000 + "a<b", "a < " + "size(" * 680 + "b" + ")" * 680):
        assert refused(text) == "The expression contains too many operators; operator count: 301"
    assert refused("(" * 2046 + "a<b" + ")" * 2046) == "The expression has redundant parentheses;"
    for text in ("a < " + "f(" * 1355 + "b" + ")" * 1355, "a < " + "size(" * 340 + "f(b)" + ")" * 340, " or ".join(["f(a) = b"] * 200)):
        assert refused(text) == "Invalid function name; function: f"
    assert refused("a < " + "f(" * 1355).startswith("Syntax error")
    assert refused("(" * 4096).startswith('Syntax error; token: "<EOF>"')
    assert parse_condition("NOT " * 298 + "a<>b").evaluate(None)
    assert not parse_condition("NOT " * 299 + "a<>b").evaluate(None)


def test_unused_placeholders() -> None:
    placeholders = Placeholders({"#a": "a", "#b": "b"}, {":a": ("S", "x"), ":b": ("S", "y")})
    parse_condition("#a = :b", placeholders)
    with pytest.raises(ItemError) as fault:
        placeholders.check_all_used()
    assert fault.value.message == "Value provided in ExpressionAttributeNames unused in expressions: keys: {#b}"
    parse_filter("#b <> #a", placeholders)
    with pytest.raises(ItemError) as fault:
        placeholders.check_all_used()
    assert fault.value.message == "Value provided in ExpressionAttributeValues unused in expressions: keys: {:a}"
    parse_condition("c = :a", placeholders)
    placeholders.check_all_used()


@pytest.mark.parametrize(
    ("names", "values", "message"),
    [
        ({}, {}, "ExpressionAttributeNames must not be empty"),
        ({"a": "a"}, {}, 'ExpressionAttributeNames contains invalid key: Syntax error; key: "a"'),
        ({"#": "a"}, {}, 'ExpressionAttributeNames contains invalid key: Syntax error; key: "#"'),
        ({"#a-b": "a"}, {}, 'ExpressionAttributeNames contains invalid key: Syntax error; key: "#a-b"'),
        (None, {}, "ExpressionAttributeValues must not be empty"),
        (None, {":b": {"a": ""}, "b": {"S": "a"}}, 'ExpressionAttributeValues contains invalid key: Syntax error; key: "b"'),
    ],
)
def test_placeholder_maps(names: Any, values: Any, message: str) -> None:
    with pytest.raises(ItemError) as fault:
        Placeholders.from_json(names, values)
    assert fault.value.message == message


def test_key_attributes_in_filters() -> None:
    for text, key in (("attribute_exists(a.b) AND c = :v", "a"), ("b[1] = :v", "b"), ("a = :v", "a")):
        with pytest.raises(ItemError) as fault:
            parse_filter(text, None, {":v": ("N", "1")}, schema=RANGE)
        assert fault.value.message == f"Filter Expression can only contain non-primary key attributes: Primary key attribute: {key}"
    for text in ("attribute_exists(a.b.c) and #a = c", "attribute_exists(#a[0])"):
        with pytest.raises(ItemError) as fault:
            check_key_paths(parse_filter(text, {"#a": "a"}).paths, RANGE)
        assert fault.value.message == "Key attributes must be scalars; list random access '[]' and map lookup '.' are not allowed: Key: a"
    check_key_paths(parse_filter("a = :v", None, {":v": ("S", "x")}).paths, RANGE)


# --- evaluation ----------------------------------------------------------------------------------------------------------------------------

ITEM: Item = item_from_json(
    {
        "n": {"N": "1"},
        "m": {"N": "2"},
        "s": {"S": "hello"},
        "s1": {"S": "a1b"},
        "u": {"S": "zürich"},
        "bird": {"S": "é\U0001d11e"},
        "bin": {"B": "aGkgdGhlcmU="},
        "t": {"BOOL": True},
        "z": {"NULL": True},
        "l": {"L": [{"N": "2"}, {"S": "dog"}, {"NS": ["1", "2"]}, {"L": [{"N": "3"}]}]},
        "d": {"M": {"x": {"N": "1"}, "y": {"L": [{"N": "-1"}, {"N": "2"}]}, "dot.ted": {"S": "p"}}},
        "ss": {"SS": ["dog", "cat"]},
        "ns": {"NS": ["2", "4", "7"]},
        "bs": {"BS": ["YQ==", "Yg=="]},
    }
)
VALUES = {
    ":one": ("N", "1"),
    ":five": ("N", "5"),
    ":six": ("N", "6"),
    ":three": ("N", "3"),
    ":text": ("S", "1"),
    ":two": ("S", "2"),
    ":hell": ("S", "hell"),
    ":ell": ("S", "ell"),
    ":hi": ("B", b"hi"),
    ":set": ("SS", ("cat", "dog")),
    ":numbers": ("NS", ("1", "2")),
    ":list": ("L", (("N", "3"),)),
    ":four": ("N", "4"),
    ":true": ("BOOL", True),
    ":N": ("S", "N"),
    ":SS": ("S", "SS"),
}


@pytest.mark.parametrize(
    ("text", "met"),
    [
        ("n = :one", True),
        ("n = :text", False),
        ("n <> :text", True),
        ("q = zz", False),
        ("q <> zz", True),
        ("q <> :one", True),
        (":one <> q", True),
        ("ss = :set", True),
        ("t = :true", True),
        ("n < m", True),
        ("m < n", False),
        ("n <= n2 OR n >= :one", True),
        ("n < :text", False),
        ("q < :one", False),
        (":one >= q", False),
        ("l < :one", False),
        ("s > :hell", True),
        ("q < zz OR q <= zz OR q > zz OR q >= zz", False),
        ("n BETWEEN :one AND m", True),
        ("m BETWEEN :one AND n", False),
        ("q BETWEEN :one AND m", False),
        ("n BETWEEN l AND d", False),
        ("n BETWEEN m AND :one", False),
        ("n IN (:text, m, :one)", True),
        ("q IN (zz, :one)", False),
        ("attribute_exists(d.x)", True),
        ("attribute_exists(d.y[1])", True),
        ("attribute_exists(d.y[2])", False),
        ("attribute_exists(d[0])", False),
        ("attribute_exists(l.x)", False),
        ("attribute_exists(s.x)", False),
        ("attribute_not_exists(q.r.s)", True),
        ("attribute_not_exists(d.#dot)", False),
        ("attribute_type(n, :N)", True),
        ("attribute_type(ss, :SS)", True),
        ("attribute_type(q, :N)", False),
        ("attribute_type(:one, :N)", True),
        ("begins_with(s, :hell)", True),
        ("begins_with(:hell, s)", False),
        ("begins_with(bin, :hi)", True),
        ("begins_with(bin, :hell)", False),
        ("begins_with(n, :hell)", False),
        ("begins_with(q, :hell)", False),
        ("contains(s, :ell)", True),
        ("contains(s, :one)", False),
        ("contains(bin, :hi)", True),
        ("contains(ns, :four)", True),
        ("contains(ns, :five)", False),
        ("contains(ss, :text)", False),
        ("contains(l, :numbers)", True),
        ("contains(l, :list)", True),
        ("contains(n, :one)", False),
        ("contains(s1, :one)", False),
        ("contains(s1, :text)", True),
        ("contains(ns, :two)", False),
        ("contains(q, :one)", False),
        ("contains(d, :one)", False),
        ("size(s) = :five", True),
        ("size(u) = :six", True),
        ("size(bird) = :three", True),
        ("size(l) = :four", True),
        ("size(d) < :four", True),
        ("size(ns) >= size(ss)", True),
        ("size(bin) > :five", True),
        ("size(n) = :one OR size(t) = :one OR size(z) = :one OR size(q) = :one", False),
        ("size(s) = :text", False),
        ("size(n) <> :one", True),
        ("d.x < d.y[1] AND d.y[0] < d.x", True),
        ("n = m OR m = n AND s = s2", False),
        ("n < m OR m < n AND m < n", True),
        ("NOT n < m AND m < n", False),
        ("NOT (n < m AND m < n)", True),
        ("NOT NOT NOT NOT n < m", True),
        ("(n < m or m < n) aNd (n < m AnD (m < n oR nOt m < n))", True),
        ("m BETWEEN n AND :five AND n < m", True),
        ("(n) < (m)", True),
        ("(d).x = :one", True),
    ],
)
def test_evaluation(text: str, met: bool) -> None:
    assert parse_condition(text, {"#dot": "dot.ted"}, VALUES).evaluate(ITEM) is met


def test_no_item() -> None:
    assert parse_condition("attribute_not_exists(a)").evaluate(None)
    assert parse_condition("a <> :one", None, VALUES).evaluate(None)
    assert not parse_condition("attribute_exists(a)").evaluate(None)
    assert not parse_condition("a = :one", None, VALUES).evaluate(None)


def test_the_same_text_with_other_names_and_values_is_another_condition() -> None:
    first = parse_condition("#a = :v AND b = :v", {"#a": "x"}, {":v": ("N", "1")})
    second = parse_condition("#a = :v AND b = :v", {"#a": "y"}, {":v": ("N", "2")})
    assert first.paths == (("x",), ("b",))
    assert second.paths == (("y",), ("b",))
    assert first.evaluate({"x": ("N", "1"), "b": ("N", "1")})
    assert not second.evaluate({"x": ("N", "1"), "b": ("N", "1")})
    assert second.evaluate({"y": ("N", "2"), "b": ("N", "2")})
