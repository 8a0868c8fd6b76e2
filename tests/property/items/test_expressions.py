"""Expressions against a naive evaluator that works on DynamoDB JSON, and token soup that may raise nothing but ItemError."""

from __future__ import annotations

import copy
from collections.abc import Callable
from decimal import Context, Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scrubjay.storage.catalogue import KeyAttribute, KeySchema
from scrubjay.storage.items.errors import ItemError
from scrubjay.storage.items.expressions import (
    Placeholders,
    bind,
    parse_condition,
    parse_filter,
    parse_key_expression,
    parse_projection,
    parse_update,
)
from scrubjay.storage.items.values import Item, Value
from scrubjay.storage.items.wire import item_from_json, item_to_json, value_from_json
from tests.property.items.strategies import plain_json, scalars, values

EXACT = Context(prec=300)
NAMES = ["a", "b", "c"]
SMALL: dict[str, Value] = {
    ":one": ("N", "1"),
    ":two": ("N", "2"),
    ":s": ("S", "ab"),
    ":p": ("S", "a"),
    ":bin": ("B", b"a"),
    ":l": ("L", (("N", "1"), ("S", "a"))),
    ":ss": ("SS", ("a", "b")),
    ":ns": ("NS", ("1", "2")),
    ":m": ("M", {"a": ("N", "1"), "b": ("L", (("N", "2"), ("S", "ab")))}),
    ":t": ("BOOL", True),
}
ORDERED = [":one", ":two", ":s", ":p", ":bin"]

small_values = st.one_of(st.sampled_from(sorted(SMALL)).map(lambda name: SMALL[name]), scalars)
small_items: st.SearchStrategy[Item] = st.dictionaries(
    st.sampled_from(NAMES),
    st.one_of(
        small_values,
        st.dictionaries(st.sampled_from(NAMES), small_values, max_size=3).map(lambda payload: ("M", payload)),
        st.lists(small_values, max_size=3).map(lambda payload: ("L", tuple(payload))),
    ),
    max_size=3,
)
paths = st.builds(
    lambda head, rest: head + "".join(rest),
    st.sampled_from(NAMES),
    st.lists(st.sampled_from([".a", ".b", "[0]", "[1]", "[4]"]), max_size=2),
)


# --- the naive evaluator: DynamoDB JSON, paths as text ------------------------------------------------------------------------------------------


def look_up(item: dict[str, Any], path: str) -> dict[str, Any] | None:
    found: Any = {"M": item}
    for step in path.replace("[", ".[").split("."):
        if found is None:
            return None
        if step.startswith("["):
            elements = found.get("L")
            index = int(step[1:-1])
            found = elements[index] if elements is not None and index < len(elements) else None
        else:
            found = found["M"].get(step) if "M" in found else None
    return found if isinstance(found, dict) else None


def comparable(value: dict[str, Any] | None) -> tuple[str, Any] | None:
    """A form that Python's own operators compare as DynamoDB does."""
    if value is None:
        return None
    ((kind, payload),) = value.items()
    if kind == "N":
        return kind, Decimal(payload)
    if kind == "B":
        return kind, value_from_json(value)[1]
    if kind in ("SS", "BS"):
        return kind, frozenset(payload)
    if kind == "NS":
        return kind, frozenset(map(Decimal, payload))
    if kind == "M":
        return kind, {name: comparable(one) for name, one in payload.items()}
    if kind == "L":
        return kind, [comparable(one) for one in payload]
    return kind, payload


Evaluator = Callable[[dict[str, Any]], bool]
Reader = Callable[[dict[str, Any]], "dict[str, Any] | None"]


def reader(operand: str) -> Reader:
    if operand.startswith(":"):
        constant = plain_json(SMALL[operand])
        return lambda item: constant
    if operand.startswith("size("):
        inner = reader(operand[5:-1])

        def size(item: dict[str, Any]) -> dict[str, Any] | None:
            value = inner(item)
            if value is None:
                return None
            ((kind, payload),) = value.items()
            if kind in ("N", "BOOL", "NULL"):
                return None
            if kind == "S":
                return {"N": str(sum(1 + (ord(character) > 0xFFFF) for character in payload))}
            return {"N": str(len(value_from_json(value)[1]))}

        return size
    return lambda item: look_up(item, operand)


def compare(operator: str, left: Reader, right: Reader) -> Evaluator:
    def evaluate(item: dict[str, Any]) -> bool:
        one, two = comparable(left(item)), comparable(right(item))
        if operator == "=":
            return one is not None and one == two
        if operator == "<>":
            return one is None or two is None or one != two
        if one is None or two is None or one[0] != two[0] or one[0] not in ("S", "N", "B"):
            return False
        return bool({"<": one[1] < two[1], "<=": one[1] <= two[1], ">": one[1] > two[1], ">=": one[1] >= two[1]}[operator])

    return evaluate


def holds(container: dict[str, Any] | None, wanted: dict[str, Any] | None) -> bool:
    one, two = comparable(container), comparable(wanted)
    if one is None or two is None:
        return False
    if one[0] == "L":
        return two in one[1]
    if one[0] in ("S", "B"):
        return one[0] == two[0] and two[1] in one[1]
    if one[0] in ("SS", "NS"):
        return one[0][0] == two[0] and two[1] in one[1]
    if one[0] == "BS":
        return two[0] == "B" and wanted is not None and wanted["B"] in one[1]
    return False


def starts(value: dict[str, Any] | None, prefix: dict[str, Any] | None) -> bool:
    one, two = comparable(value), comparable(prefix)
    return one is not None and two is not None and one[0] == two[0] and one[0] in ("S", "B") and bool(one[1].startswith(two[1]))


operands = st.one_of(paths, st.sampled_from(sorted(SMALL)))
ordered_operands = st.one_of(paths, st.sampled_from(ORDERED), paths.map(lambda path: f"size({path})"))


@st.composite
def primitives(draw: st.DrawFn) -> tuple[str, Evaluator]:
    form = draw(st.sampled_from(["compare", "order", "between", "in", "exists", "missing", "type", "begins", "contains"]))
    if form == "compare":
        left, right, operator = draw(operands), draw(operands), draw(st.sampled_from(["=", "<>"]))
        return f"{left} {operator} {right}", compare(operator, reader(left), reader(right))
    if form == "order":
        left, right, operator = draw(ordered_operands), draw(ordered_operands), draw(st.sampled_from(["<", "<=", ">", ">="]))
        return f"{left}{operator}{right}", compare(operator, reader(left), reader(right))
    if form == "between":
        value, low, high = draw(ordered_operands), draw(paths), draw(ordered_operands)
        above, below = compare(">=", reader(value), reader(low)), compare("<=", reader(value), reader(high))
        return f"{value} BETWEEN {low} AND {high}", lambda item: above(item) and below(item)
    if form == "in":
        value, candidates = draw(operands), draw(st.lists(operands, min_size=1, max_size=3))
        tests = [compare("=", reader(value), reader(candidate)) for candidate in candidates]
        return f"{value} in ({', '.join(candidates)})", lambda item: any(test(item) for test in tests)
    path = draw(paths)
    read = reader(path)
    if form == "exists":
        return f"attribute_exists({path})", lambda item: read(item) is not None
    if form == "missing":
        return f"attribute_not_exists ( {path} )", lambda item: read(item) is None
    if form == "type":
        kind = draw(st.sampled_from(["S", "N", "M", "L", "NS"]))
        return f"attribute_type({path}, :type{kind})", lambda item: kind in (read(item) or {})
    if form == "begins":
        prefix = draw(st.one_of(paths, st.sampled_from([":s", ":p", ":bin"])))
        return f"begins_with({path}, {prefix})", lambda item: starts(read(item), reader(prefix)(item))
    wanted = draw(operands)
    return f"contains({path},{wanted})", lambda item: holds(read(item), reader(wanted)(item))


def _negated(inner: tuple[str, Evaluator]) -> tuple[str, Evaluator]:
    text, evaluate = inner
    return f"NOT ({text})", lambda item: not evaluate(item)


def _joined(word: str, left: tuple[str, Evaluator], right: tuple[str, Evaluator]) -> tuple[str, Evaluator]:
    one, two = left[1], right[1]
    text = f"({left[0]}) {word} ({right[0]})"
    if word.upper() == "AND":
        return text, lambda item: one(item) and two(item)
    return text, lambda item: one(item) or two(item)


conditions = st.recursive(
    primitives(),
    lambda inner: st.one_of(inner.map(_negated), st.builds(_joined, st.sampled_from(["AND", "or"]), inner, inner)),
    max_leaves=4,
)
ALL_VALUES = SMALL | {f":type{kind}": ("S", kind) for kind in ("S", "N", "M", "L", "NS")}


@pytest.mark.slow
@given(conditions, small_items)
@settings(max_examples=300)
def test_conditions_against_the_naive_evaluator(condition: tuple[str, Evaluator], item: Item) -> None:
    text, expected = condition
    try:
        parsed = parse_condition(text, None, ALL_VALUES)
    except ItemError as fault:
        # the generator does not avoid what is refused statically
        if "must be distinct" not in fault.message and "parentheses" not in fault.message:
            raise
        return
    assert parsed.evaluate(item) == expected(item_to_json(item))
    assert parsed.evaluate(None) == expected({})
    again = parse_filter(text, Placeholders(None, ALL_VALUES))
    assert again.evaluate(item) == parsed.evaluate(item)


def test_the_naive_evaluator_can_disagree() -> None:
    """Negative control: a wrong expectation is noticed."""
    assert parse_condition("a < :two", None, SMALL).evaluate({"a": ("N", "10")}) != compare(
        "<", lambda _: {"S": "10"}, lambda _: {"S": "2"}
    )({})


# --- updates ---------------------------------------------------------------------------------------------------------------------------------


class Refused(Exception):
    """The naive update's way to say ItemError."""


@st.composite
def updates(draw: st.DrawFn) -> tuple[str, list[tuple[str, str, str]]]:
    """Text, and (section, path, operand) in order. Targets are of disjoint attributes or members."""
    targets = draw(st.lists(st.sampled_from(["a", "b.a", "b.b", "c[0]", "c[1]", "c[4]", "d"]), min_size=1, max_size=5, unique=True))
    actions: list[tuple[str, str, str]] = []
    for target in targets:
        section = draw(st.sampled_from(["SET", "REMOVE", "ADD", "DELETE"]))
        if section == "SET":
            operand = draw(
                st.one_of(
                    operands,
                    st.builds("{} + {}".format, st.one_of(paths, st.just(":one")), st.sampled_from([":two", "a"])),
                    st.builds("if_not_exists({}, {})".format, paths, operands),
                    st.builds("list_append({}, {})".format, st.one_of(paths, st.just(":l")), st.just(":l")),
                )
            )
        else:
            operand = "" if section == "REMOVE" else draw(st.sampled_from([":ss", ":ns"] + [":one"] * (section == "ADD")))
        actions.append((section, target, operand))
    parts = []
    for section, glue in (("SET", " = "), ("REMOVE", ""), ("ADD", " "), ("DELETE", " ")):
        chosen = [target + glue + operand for one, target, operand in actions if one == section]
        if chosen:
            parts.append(section + " " + ", ".join(chosen))
    return " ".join(draw(st.permutations(parts))), actions


def naive_operand(item: dict[str, Any], operand: str) -> dict[str, Any]:
    if operand.startswith("if_not_exists("):
        path, other = operand[14:-1].split(", ")
        value = look_up(item, path)
        return naive_operand(item, other) if value is None else value
    if operand.startswith("list_append("):
        one, two = (naive_operand(item, part) for part in operand[12:-1].split(", "))
        if "L" not in one or "L" not in two:
            raise Refused
        return {"L": one["L"] + two["L"]}
    if " + " in operand:
        one, two = (naive_operand(item, part) for part in operand.split(" + "))
        if "N" not in one or "N" not in two:
            raise Refused
        total = EXACT.add(Decimal(one["N"]), Decimal(two["N"]))
        return {"N": value_sum(total)}
    value = reader(operand)(item)
    if value is None:
        raise Refused
    return value


def value_sum(total: Decimal) -> str:
    try:
        text = value_from_json({"N": str(total) if total else "0"})[1]
    except ItemError:
        raise Refused from None
    assert isinstance(text, str)
    return text


def naive_update(item: dict[str, Any], actions: list[tuple[str, str, str]]) -> dict[str, Any]:
    new: Any = copy.deepcopy(item)
    results: list[tuple[str, Any]] = []
    for section, target, operand in actions:
        old = look_up(item, target)
        if section == "SET":
            results.append((target, naive_operand(item, operand)))
        elif section == "REMOVE":
            results.append((target, None))
        else:
            constant = plain_json(SMALL[operand])
            ((kind, payload),) = constant.items()
            if old is not None and kind not in old:
                raise Refused
            if section == "ADD" and kind == "N":
                results.append((target, {"N": value_sum(EXACT.add(Decimal((old or {"N": "0"})["N"]), Decimal(payload)))}))
            elif section == "ADD":
                results.append(
                    (target, {kind: sorted(set((old or {kind: []})[kind]) | set(payload), key=Decimal if kind == "NS" else None)})
                )
            else:
                left = [one for one in (old or {kind: []})[kind] if one not in payload]
                results.append((target, {kind: left} if left else None))
    # lists last to first, so that removals and appends do not move what is still to be changed
    for target, value in results:
        if "." in target:
            head, member = target.split(".")
            if "M" not in new.get(head, {}) or "M" not in item.get(head, {}):
                raise Refused
            if value is None:
                new[head]["M"].pop(member, None)
            else:
                new[head]["M"][member] = value
        elif "[" not in target:
            if value is None:
                new.pop(target, None)
            else:
                new[target] = value
    elements = {int(target[2:-1]): value for target, value in results if "[" in target}
    if elements:
        if "L" not in item.get("c", {}):
            raise Refused
        old_list = item["c"]["L"]
        merged = [elements.get(at, one) for at, one in enumerate(old_list)]
        merged += [elements[at] for at in sorted(elements) if at >= len(old_list)]
        new["c"] = {"L": [one for one in merged if one is not None]}
    return dict(new)


@pytest.mark.slow
@given(updates(), small_items)
@settings(max_examples=300)
def test_updates_against_the_naive_one(update: tuple[str, list[tuple[str, str, str]]], item: Item) -> None:
    text, actions = update
    parsed = parse_update(text, None, SMALL)
    before = copy.deepcopy(item)
    try:
        expected: dict[str, Any] | None = naive_update(item_to_json(item), actions)
    except Refused:
        expected = None
    try:
        new: Item | None = parsed.apply(item)
    except ItemError:
        new = None
    assert item == before
    assert (None if new is None else item_to_json(new)) == expected
    if new is not None:
        assert item_from_json(item_to_json(new)) == new, "the outcome must be canonical"


@given(st.lists(paths, min_size=1, max_size=4), small_items)
def test_projections_keep_what_their_paths_lead_to(wanted: list[str], item: Item) -> None:
    try:
        projection = parse_projection(", ".join(wanted))
    except ItemError as fault:
        assert "overlap" in fault.message or "conflict" in fault.message  # noqa: PT017
        return
    shown, whole = item_to_json(projection.project(item)), item_to_json(item)
    found = {path: look_up(whole, path) for path in wanted}
    assert bool(shown) == any(value is not None for value in found.values())
    for path, value in found.items():
        if "[" not in path:
            assert look_up(shown, path) == value

    def leaves(value: Any) -> list[Any]:
        ((kind, payload),) = value.items()
        if kind == "M":
            return [leaf for one in payload.values() for leaf in leaves(one)] or [value]
        if kind == "L":
            return [leaf for one in payload for leaf in leaves(one)] or [value]
        return [value]

    expected = [leaf for value in found.values() if value is not None for leaf in leaves(value)]
    assert sorted(map(repr, leaves({"M": shown}))) == sorted(map(repr, expected)) or not shown


# --- soup ----------------------------------------------------------------------------------------------------------------------------------

TOKENS = [
    "a",
    "b",
    "c",
    "#a",
    "#b",
    "#zz",
    ":one",
    ":s",
    ":zz",
    "(",
    ")",
    "[",
    "]",
    ",",
    ".",
    "+",
    "-",
    "=",
    "<>",
    "<",
    "<=",
    ">",
    ">=",
    "0",
    "1",
    "99",
    "99999999999",
    "AND",
    "OR",
    "NOT",
    "IN",
    "BETWEEN",
    "SET",
    "REMOVE",
    "ADD",
    "DELETE",
    "size",
    "contains",
    "begins_with",
    "attribute_exists",
    "attribute_not_exists",
    "attribute_type",
    "if_not_exists",
    "list_append",
    "f",
    "name",
    "_",
    "!",
    "$",
    '"',
    "'",
    "ü",
    "\x00",
    "#",
    ":",
    "@",
    "*",
    "/",
]
RANGE = KeySchema(KeyAttribute("a", "S"), KeyAttribute("b", "N"))
SEEDS = [
    "a = :one AND b > :one",
    "a = :s AND begins_with(b, :s)",
    "a = :s and b BETWEEN :one AND :one",
    "NOT (contains(a, :s) OR size(b.c[1]) <> :one) AND a IN (b, c)",
    "SET a = if_not_exists(a, :one) + :one, b.c[0] = list_append(c, c) REMOVE #a.b ADD c[1] :one DELETE c[2] :zz",
    "a, b.c[0], #a.b",
]
mutated = st.builds(
    lambda words, cuts: " ".join([*words[: cuts[0]], cuts[2], *words[cuts[1] :]]),
    st.sampled_from(SEEDS).map(lambda seed: seed.replace("(", " ( ").replace(")", " ) ").replace(",", " , ").split()),
    st.tuples(st.integers(0, 12), st.integers(0, 14), st.sampled_from(TOKENS)),
)


@pytest.mark.slow
@given(
    st.one_of(
        st.lists(st.sampled_from(TOKENS), max_size=14).map(" ".join),
        st.lists(st.sampled_from(TOKENS), max_size=14).map("".join),
        mutated,
        st.text(max_size=20),
    ),
    small_items,
)
@settings(max_examples=400)
def test_soup_raises_nothing_but_item_errors(text: str, item: Item) -> None:
    given_names, given_values = {"#a": "a", "#b": "b"}, {":one": ("N", "1"), ":s": ("S", "x")}
    attempts: list[Callable[[], Any]] = [
        lambda: parse_condition(text, given_names, given_values).evaluate(item),
        lambda: parse_filter(text, given_names, given_values, schema=RANGE).evaluate(None),
        lambda: parse_update(text, given_names, given_values).apply(item),
        lambda: parse_update(text, given_names, given_values).update_item(None, {}),
        lambda: parse_projection(text, given_names).project(item),
        lambda: bind(parse_key_expression(text, given_names, given_values).conditions(), RANGE).bounds(),
    ]
    for attempt in attempts:
        try:
            attempt()
        except ItemError as fault:
            assert fault.message  # noqa: PT017


@given(
    st.dictionaries(st.text(max_size=4), st.one_of(values.map(plain_json), st.just({}), st.none()), max_size=3),
    st.dictionaries(st.text(max_size=4), st.text(max_size=3), max_size=3),
)
def test_any_placeholders_are_taken_or_refused(sent_values: dict[str, Any], sent_names: dict[str, str]) -> None:
    try:
        placeholders = Placeholders.from_json(sent_names or None, sent_values or None)
        placeholders.check_all_used()
    except ItemError as fault:
        assert fault.message.split(" ")[0] in ("ExpressionAttributeNames", "ExpressionAttributeValues", "Value")  # noqa: PT017


def test_soup_reaches_both_sides() -> None:
    """Negative control: the seeds themselves parse, so the soup is not refused wholesale."""
    parse_update(SEEDS[4], {"#a": "z"}, {":one": ("N", "1"), ":zz": ("SS", ("q",))})
    parse_condition(SEEDS[3], None, {":one": ("N", "1"), ":s": ("S", "x")})
    with pytest.raises(ItemError):
        parse_condition(SEEDS[5])
