"""Which keys a SELECT has to read: ranges of partition keys that its WHERE pins, or all of them.

A WHERE pins the partition key where every way to meet it has an equality with it. It is then as many queries as it names ranges ("decomposed reads"), at most
READS_MAX; two that overlap are refused, unless one of them denies something of the sort key. Everything else is a scan. What is left of the WHERE is
the filter.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cmp_to_key
from itertools import pairwise, product
from typing import Any, NamedTuple

from scrubjay.storage.catalogue import KeySchema
from scrubjay.storage.items.errors import ItemError
from scrubjay.storage.items.expressions.keycondition import KeyCondition
from scrubjay.storage.items.expressions.tree import And, Between, Compare, FunctionNode, In, Not, Or, PathNode, ValueNode, order, walk
from scrubjay.storage.items.keys import check_key_sizes, check_not_empty
from scrubjay.storage.items.partiql.bind import equality_of, terms_of
from scrubjay.storage.items.values import Value

READS_MAX = 50
"""Of one statement."""
TOO_MANY = "Too many decomposed read operations for a given query."
OVERLAP = "Overlapping conditions with range keys are not supported in where clause"
_MIRRORED = {"=": "=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_SCALARS = ("S", "N", "B")


class KeyReach(NamedTuple):
    """keys: what to query, in the order of the keys; None: scan. filter: the condition on each row, None: every row is wanted. whole: exactly one item's key."""

    keys: tuple[KeyCondition, ...] | None
    filter: Any
    whole: bool = False


class _Branch(NamedTuple):
    """One way to meet a WHERE: what must hold then. denies: the sort key is denied something."""

    hash_value: Value
    sort: tuple[str, tuple[Value, ...]] | None
    rest: tuple[Any, ...]
    denies: bool


def reach_of(condition: Any, schema: KeySchema) -> KeyReach:
    """condition: the tree of a WHERE, None: there is none. schema: of the table or index that is read. Raises ItemError."""
    if condition is None or not _pins(condition, schema):
        return KeyReach(None, condition)
    ways = _ways(condition, schema)
    branches = [_branch(way, schema) for way in ways]
    for branch in branches:
        _check_types(branch, schema)
    if len(branches) == 1:
        branch = branches[0]
        key = _key(branch, schema)
        rest = branch.rest
        left = None if not rest else rest[0] if len(rest) == 1 else And(rest)
        whole = schema.sort is None or (branch.sort is not None and branch.sort[0] == "=")
        return KeyReach((key,), left, whole)
    return KeyReach(tuple(_disjoint(branches, schema)), condition)


def in_order(keys: Sequence[KeyCondition], *, hash_descending: bool, sort_descending: bool) -> list[KeyCondition]:
    """keys: of a `KeyReach`, which has them ascending."""
    groups: list[list[KeyCondition]] = []
    for key in keys:
        if groups and groups[-1][0].hash_value == key.hash_value:
            groups[-1].append(key)
        else:
            groups.append([key])
    if hash_descending:
        groups.reverse()
    return [key for group in groups for key in (reversed(group) if sort_descending else group)]


# --- ways --------------------------------------------------------------------------------------------------------------------------------


def _pins(term: Any, schema: KeySchema) -> bool:
    """Whether every way to meet `term` names the partition key's value."""
    if isinstance(term, And):
        return any(_pins(one, schema) for one in term.terms)
    if isinstance(term, Or):
        return all(_pins(one, schema) for one in term.terms)
    equality = equality_of(term)
    if equality is not None:
        return equality[0] == schema.partition.name
    return _is_in_of(term, schema.partition.name)


def _is_in_of(term: Any, name: str | None) -> bool:
    return isinstance(term, In) and _is_name(term.operand, name) and all(isinstance(one, ValueNode) for one in term.candidates)


def _is_name(node: Any, name: str | None) -> bool:
    return isinstance(node, PathNode) and node.path == (name,)


def _ways(condition: Any, schema: KeySchema) -> list[tuple[Any, ...]]:
    """The condition as alternatives of terms, as far as keys are concerned. Raises ItemError: more than can be read."""
    names = {schema.partition.name, *(() if schema.sort is None else (schema.sort.name,))}
    if isinstance(condition, And):
        parts = [_ways(one, schema) for one in condition.terms]
        count = 1
        for part in parts:
            count *= len(part)
            if count > READS_MAX:
                raise ItemError(TOO_MANY)
        return [tuple([term for way in ways for term in way]) for ways in product(*parts)]
    if isinstance(condition, Or) and _mentions(condition, names):
        found: list[tuple[Any, ...]] = []
        for one in condition.terms:
            found += _ways(one, schema)
            if len(found) > READS_MAX:
                raise ItemError(TOO_MANY)
        return found
    if any(_is_in_of(condition, name) for name in names):
        if len(condition.candidates) > READS_MAX:
            raise ItemError(TOO_MANY)
        return [(Compare("=", condition.operand, one),) for one in condition.candidates]
    return [(condition,)]


def _mentions(condition: Any, names: set[str]) -> bool:
    return any(isinstance(node, PathNode) and node.path[0] in names for node in walk(condition))


# --- branches ----------------------------------------------------------------------------------------------------------------------------


def _branch(way: Sequence[Any], schema: KeySchema) -> _Branch:
    """The key of one way: the first equality with the partition key, and what bounds the sort key best: an equality, else the first that does."""
    terms = [one for term in way for one in terms_of(term)]
    at = next(index for index, term in enumerate(terms) if _pins(term, schema))
    found = equality_of(terms.pop(at))
    assert found is not None
    sort: tuple[str, tuple[Value, ...]] | None = None
    denies = False
    if schema.sort is not None:
        bounds = [_sort_bound(term, schema.sort.name) for term in terms]
        equal = [index for index, bound in enumerate(bounds) if bound is not None and bound[0] == "="]
        best = [*equal, *[index for index, bound in enumerate(bounds) if bound is not None]]
        if best:
            sort = bounds[best[0]]
            terms.pop(best[0])
        denies = any(_denies(term, schema.sort.name) for term in terms)
    return _Branch(found[1], sort, tuple(terms), denies)


def _sort_bound(term: Any, name: str) -> tuple[str, tuple[Value, ...]] | None:
    """Operator and values, if the term bounds the sort key."""
    if isinstance(term, Compare) and term.operator in _MIRRORED:
        if _is_name(term.left, name) and isinstance(term.right, ValueNode):
            return term.operator, (term.right.value,)
        if _is_name(term.right, name) and isinstance(term.left, ValueNode):
            return _MIRRORED[term.operator], (term.left.value,)
    if isinstance(term, Between) and _is_name(term.operand, name) and isinstance(term.low, ValueNode) and isinstance(term.high, ValueNode):
        return "BETWEEN", (term.low.value, term.high.value)
    if isinstance(term, FunctionNode) and term.name == "begins_with":
        path, prefix = term.arguments
        if _is_name(path, name) and isinstance(prefix, ValueNode):
            return "begins_with", (prefix.value,)
    return None


def _denies(term: Any, name: str) -> bool:
    if isinstance(term, Not):
        return any(_is_name(node, name) for node in walk(term))
    return isinstance(term, Compare) and term.operator == "<>" and (_is_name(term.left, name) or _is_name(term.right, name))


def _check_types(branch: _Branch, schema: KeySchema) -> None:
    """Values of keys have the types that the schema says. Raises ItemError."""
    asked = [(schema.partition, branch.hash_value)]
    if schema.sort is not None and branch.sort is not None:
        asked += [(schema.sort, value) for value in branch.sort[1]]
    for attribute, value in asked:
        check_key_type(attribute.name, attribute.type, value)


def check_key_type(name: str, wanted: str, value: Value) -> None:
    """Raises ItemError."""
    if value[0] not in _SCALARS:
        raise ItemError(f"Key value must be of type S, N, or B. Key name: {name}, Key type: {value[0]}")
    if value[0] != wanted:
        raise ItemError(f"Key attribute's data type should match its data type in table's schema: Key {name}")


def _key(branch: _Branch, schema: KeySchema) -> KeyCondition:
    """Raises ItemError: a value that no key can have."""
    check_not_empty(schema.partition.name, branch.hash_value)
    key = {schema.partition.name: branch.hash_value}
    if schema.sort is None or branch.sort is None:
        check_key_sizes(KeySchema(schema.partition), key)
        return KeyCondition(schema, (branch.hash_value,), None, ())
    operator, values = branch.sort
    for value in values:
        check_not_empty(schema.sort.name, value)
        check_key_sizes(schema, {**key, schema.sort.name: value})
    return KeyCondition(schema, (branch.hash_value,), operator, values)


def _disjoint(branches: Sequence[_Branch], schema: KeySchema) -> list[KeyCondition]:
    """The keys of several branches, in order. Raises ItemError: two overlap."""
    groups: list[tuple[Value, list[_Branch]]] = []
    for branch in branches:
        group = next((group for value, group in groups if value == branch.hash_value), None)
        if group is None:
            groups.append((branch.hash_value, [branch]))
        else:
            group.append(branch)
    groups.sort(key=cmp_to_key(_by_hash))
    found: list[KeyCondition] = []
    for value, group in groups:
        if len(group) > 1 and any(branch.denies for branch in group):
            # what each of them selects is told by the filter
            found.append(_key(_Branch(value, None, (), False), schema))
            continue
        keys = sorted([_key(branch, schema) for branch in group], key=_start)
        for one, other in pairwise(keys):
            end = one.bounds()[1]
            if end is None or other.bounds()[0] < end:
                raise ItemError(OVERLAP)
        found += keys
    return found


def _by_hash(one: tuple[Value, Any], other: tuple[Value, Any]) -> int:
    return order(one[0], other[0]) or 0


def _start(key: KeyCondition) -> bytes:
    return key.bounds()[0]
