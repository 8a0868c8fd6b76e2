"""Hypothesis strategies for commands and answers: whatever tree a router could send, built directly, and every answer."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from scrubjay.base import errors
from scrubjay.base.errors import ScrubjayError
from scrubjay.storage.commands.values import (
    Decision,
    DeleteCommand,
    Failure,
    Outcome,
    PutCommand,
    RangeAnswer,
    ReadAnswer,
    Said,
    SwapCommand,
    UpdateCommand,
    WriteAnswer,
    WriteCommand,
)
from scrubjay.storage.items.encoding import encode_item
from scrubjay.storage.items.expressions.check import INDEX_MAX
from scrubjay.storage.items.expressions.condition import Condition
from scrubjay.storage.items.expressions.tree import (
    COMPARISONS,
    Action,
    And,
    Arithmetic,
    Between,
    Compare,
    FunctionNode,
    In,
    Not,
    Or,
    PathNode,
    ValueNode,
)
from scrubjay.storage.items.expressions.update import Update
from scrubjay.storage.items.values import Item
from tests.property.items.strategies import items, names, values

images = items.map(encode_item)
keys = st.binary(min_size=1, max_size=40)
indexes = st.one_of(st.integers(0, 3), st.integers(0, INDEX_MAX))
paths = st.builds(lambda head, rest: PathNode((head, *rest)), names, st.lists(st.one_of(names, indexes), max_size=3))
constants = values.map(ValueNode)
leaves = st.one_of(paths, constants)
operands = st.one_of(leaves, leaves.map(lambda leaf: FunctionNode("size", (leaf,))))
primitives: st.SearchStrategy[Any] = st.one_of(
    st.builds(Compare, st.sampled_from(sorted(COMPARISONS)), operands, operands),
    st.builds(Between, operands, operands, operands),
    st.builds(In, operands, st.lists(operands, min_size=1, max_size=3).map(tuple)),
    st.builds(lambda name, path: FunctionNode(name, (path,)), st.sampled_from(["attribute_exists", "attribute_not_exists"]), paths),
    st.builds(lambda name, one, two: FunctionNode(name, (one, two)), st.sampled_from(["begins_with", "contains"]), leaves, leaves),
    st.builds(lambda path, kind: FunctionNode("attribute_type", (path, ValueNode(("S", kind)))), paths, st.sampled_from(["S", "N", "M"])),
)
terms: st.SearchStrategy[Any] = st.recursive(
    primitives,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda one: And(tuple(one))),
        st.lists(inner, max_size=3).map(lambda one: Or(tuple(one))),
        st.builds(Not, inner, st.booleans()),
    ),
    max_leaves=5,
)
conditions = terms.map(Condition)
sources: st.SearchStrategy[Any] = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(Arithmetic, st.sampled_from("+-"), inner, inner),
        st.builds(lambda path, other: FunctionNode("if_not_exists", (path, other)), paths, inner),
        st.builds(lambda one, two: FunctionNode("list_append", (one, two)), inner, inner),
    ),
    max_leaves=4,
)
actions = st.one_of(
    st.builds(Action, st.just("SET"), paths, sources),
    st.builds(Action, st.just("REMOVE"), paths),
    st.builds(Action, st.sampled_from(["ADD", "DELETE"]), paths, constants),
)
updates = st.builds(Update, st.lists(actions, max_size=4).map(tuple), st.booleans())
maybe = st.none() | conditions

commands: st.SearchStrategy[WriteCommand] = st.one_of(
    st.builds(PutCommand, keys, images, images, conditions),
    st.builds(PutCommand, keys, images, images, blind=st.booleans()),
    st.builds(UpdateCommand, keys, images, st.none() | updates, maybe),
    st.builds(DeleteCommand, keys, images, maybe),
    st.builds(SwapCommand, keys, images, st.none() | images, st.none() | images),
)
"""Their images are any items: a command does not look whether the key's are the item's."""

facts: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    st.text(max_size=5),
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.text(max_size=5), st.binary(max_size=5)),
    max_size=3,
)
failures = st.builds(Failure, st.text(max_size=12), st.text(max_size=12), facts)
KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ScrubjayError) and kind is not ScrubjayError]


def _failed(kind: type[ScrubjayError], message: str, fields: dict[str, Any]) -> ScrubjayError:
    error = kind(message)
    error.fields = fields
    return error


@st.composite
def outcomes(draw: st.DrawFn) -> Outcome:
    # LOCKED is said of an item in a transaction's answer, never of a single write's.
    decision = draw(st.sampled_from([one for one in Decision if one is not Decision.LOCKED]))
    old = draw(st.none() | images)
    if decision is Decision.PUT:
        return Outcome(decision, old, draw(images))
    if decision is Decision.DELETE:
        return Outcome(decision, old, None)
    return Outcome(decision, old, old, draw(failures) if decision is Decision.REFUSED else None)


numbers = st.integers(0, 2**63 - 1)


@st.composite
def written(draw: st.DrawFn) -> WriteAnswer:
    outcome = draw(outcomes())
    proposed = outcome.decision in (Decision.PUT, Decision.DELETE)
    return WriteAnswer(outcome, draw(st.text(max_size=5)), draw(numbers), draw(numbers) if proposed else None)


answers: st.SearchStrategy[Said] = st.one_of(
    written(),
    st.builds(ReadAnswer, st.none() | images, st.text(max_size=5), numbers),
    st.builds(RangeAnswer, st.lists(st.tuples(keys, images), max_size=3), st.booleans(), st.text(max_size=5), numbers),
    st.builds(_failed, st.sampled_from(KINDS), st.text(max_size=12), facts),
)

SMALL: list[Item | None] = [
    None,
    {},
    {"a": ("N", "1")},
    {"a": ("L", (("N", "2"),)), "b": ("M", {"c": ("S", "ab")})},
    {"a": ("SS", ("a", "b"))},
]
olds = st.one_of(st.sampled_from(SMALL).map(lambda item: None if item is None else encode_item(item)), images)
