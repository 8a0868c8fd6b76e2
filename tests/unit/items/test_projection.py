"""Projections: refusals and what is cut out."""

from __future__ import annotations

from typing import Any

import pytest

from scrubjay.storage.items.errors import ItemError
from scrubjay.storage.items.expressions import parse_projection
from scrubjay.storage.items.wire import item_from_json, item_to_json

ITEM: dict[str, Any] = {
    "p": {"S": "key"},
    "a": {"M": {"b": {"L": [{"N": "2"}, {"N": "4"}, {"M": {"x": {"S": "hi"}, "y": {"S": "yo"}}}]}, "c": {"N": "5"}}},
    "b": {"S": "hello"},
    "a.b": {"S": "dotted"},
}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "The expression can not be empty;"),
        ("a,", 'Syntax error; token: "<EOF>", near: ","'),
        (",a", 'Syntax error; token: ",", near: ",a"'),
        ("a,,b", 'Syntax error; token: ",", near: ",,b"'),
        ("a b", 'Syntax error; token: "b", near: "a b"'),
        ("a[b]", 'Syntax error; token: "b", near: "[b]"'),
        ("a[-1]", 'Syntax error; token: "-", near: "[-1"'),
        ("size(a)", 'Syntax error; token: "(", near: "size(a"'),
        (":a", 'Syntax error; token: ":a", near: ":a"'),
        ("Comment", "Attribute name is a reserved keyword; reserved keyword: Comment"),
        ("a.#nope", "An expression attribute name used in the document path is not defined; attribute name: #nope"),
        *[
            (
                text,
                f"Two document paths overlap with each other; must remove or rewrite one of these paths; path one: {one}, path two: {two}",
            )
            for text, one, two in [
                ("a, a", "[a]", "[a]"),
                ("a.b[0],a.b[0]", "[a, b, [0]]", "[a, b, [0]]"),
                ("a, a.b[2].c", "[a]", "[a, b, [2], c]"),
                ("a.b.d.e, b, a.b", "[a, b, d, e]", "[a, b]"),
            ]
        ],
        (
            "a.b, a[1]",
            "Two document paths conflict with each other; must remove or rewrite one of these paths; path one: [a, b], path two: [a, [1]]",
        ),
    ],
)
def test_refused(text: str, message: str) -> None:
    with pytest.raises(ItemError) as fault:
        parse_projection(text, {"#a": "a"})
    assert fault.value.message == "Invalid ProjectionExpression: " + message


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("b", {"b": ITEM["b"]}),
        (" b , p ", {"b": ITEM["b"], "p": ITEM["p"]}),
        ("a", {"a": ITEM["a"]}),
        ("x, y.z", {}),
        ("a.b", {"a": {"M": {"b": ITEM["a"]["M"]["b"]}}}),
        ("#dotted", {"a.b": ITEM["a.b"]}),
        ("#a.#b", {"a": {"M": {"b": ITEM["a"]["M"]["b"]}}}),
        ("a.b[0]", {"a": {"M": {"b": {"L": [{"N": "2"}]}}}}),
        ("a.b[2].y", {"a": {"M": {"b": {"L": [{"M": {"y": {"S": "yo"}}}]}}}}),
        ("a.b[2].y, a.b[0]", {"a": {"M": {"b": {"L": [{"N": "2"}, {"M": {"y": {"S": "yo"}}}]}}}}),
        ("a.b[1], a.c, b", {"a": {"M": {"b": {"L": [{"N": "4"}]}, "c": {"N": "5"}}}, "b": ITEM["b"]}),
        ("a.b[3], a.x.y, a.c.z, b.q, p[0]", {}),
        ("a.x, a.b[0], x, a.b[3].x", {"a": {"M": {"b": {"L": [{"N": "2"}]}}}}),
        ("a[0]", {}),
        ("a.b.x", {}),
    ],
)
def test_projecting(text: str, wanted: dict[str, Any]) -> None:
    projection = parse_projection(text, {"#a": "a", "#b": "b", "#dotted": "a.b"})
    assert item_to_json(projection.project(item_from_json(ITEM))) == wanted
