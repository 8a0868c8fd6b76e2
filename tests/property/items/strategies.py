"""Hypothesis strategies for numbers, values and items."""

from __future__ import annotations

import base64
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from scrubjay.storage.items.numbers import canonical
from scrubjay.storage.items.values import Item, Value, make_set

texts = st.text(st.characters(codec="utf-8"), max_size=12)
names = st.one_of(st.sampled_from(["a", "b", "c", "d"]), st.text(st.characters(codec="utf-8"), min_size=1, max_size=8))


@st.composite
def decimals(draw: st.DrawFn) -> Decimal:
    """Any number DynamoDB can store."""
    digits = draw(st.one_of(st.integers(0, 999), st.integers(0, 10**38 - 1)))
    if not digits:
        return Decimal(0)
    length = len(str(digits))
    exponent = draw(st.one_of(st.integers(-3, 3), st.integers(-130 - length + 1, 126 - length)))
    value = Decimal((0, tuple(map(int, str(digits))), exponent))
    if not -130 <= value.adjusted() <= 125:
        value = Decimal(digits)
    return value.copy_negate() if draw(st.booleans()) else value  # a unary minus would round


numbers = decimals().map(lambda value: canonical(str(value)))
scalars: st.SearchStrategy[Value] = st.one_of(
    texts.map(lambda payload: ("S", payload)),
    numbers.map(lambda payload: ("N", payload)),
    st.binary(max_size=12).map(lambda payload: ("B", payload)),
    st.booleans().map(lambda payload: ("BOOL", payload)),
    st.just(("NULL", True)),
    st.lists(texts, min_size=1, max_size=4).map(lambda elements: make_set("SS", elements)),
    st.lists(numbers, min_size=1, max_size=4).map(lambda elements: make_set("NS", elements)),
    st.lists(st.binary(max_size=4), min_size=1, max_size=4).map(lambda elements: make_set("BS", elements)),
)
values: st.SearchStrategy[Value] = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.dictionaries(names, inner, max_size=4).map(lambda payload: ("M", payload)),
        st.lists(inner, max_size=4).map(lambda payload: ("L", tuple(payload))),
    ),
    max_leaves=12,
)
items: st.SearchStrategy[Item] = st.dictionaries(names, values, max_size=6)


def plain_json(value: Value) -> dict[str, Any]:
    """DynamoDB JSON of a value, written down a second time and as simply as can be."""
    kind, payload = value
    if kind == "B":
        return {"B": base64.b64encode(payload).decode()}
    if kind == "BS":
        return {"BS": [base64.b64encode(one).decode() for one in payload]}
    if kind == "M":
        return {"M": {name: plain_json(one) for name, one in payload.items()}}
    if kind == "L":
        return {"L": [plain_json(one) for one in payload]}
    if kind in ("SS", "NS"):
        return {kind: list(payload)}
    return {kind: payload}
