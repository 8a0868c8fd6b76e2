"""Trees of expressions, as plain data: what crosses to a partition's leader inside a command (docs/formats/command.md), and what evaluates there.

The parser makes trees whose leaves are still tokens (`UnboundPath`, `UnboundValue`) and that all requests with the same text share; `bind` gives each
request a tree of its own with names and values put in. Only bound trees are evaluated, and only they are data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from scrubjay.storage.items.expressions.lexer import Token
from scrubjay.storage.items.expressions.paths import Path, read
from scrubjay.storage.items.numbers import compare
from scrubjay.storage.items.values import Item, Value

EMPTY_ITEM: Item = {}


# --- leaves before names and values are put in -----------------------------------------------------------------------------------------------


class UnboundPath:
    """tokens: NAME, ALIAS and INDEX tokens in order. bound: the path, for all uses of the tree, if there is no ALIAS in it."""

    __slots__ = ("bound", "tokens")

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.bound: PathNode | None = None


class UnboundValue:
    """A ":value"."""

    __slots__ = ("token",)

    def __init__(self, token: Token) -> None:
        self.token = token


class Paren:
    """A pair of parentheses, kept until the parser has seen whether they are redundant."""

    __slots__ = ("inner",)

    def __init__(self, inner: Any) -> None:
        self.inner = inner


# --- operands ------------------------------------------------------------------------------------------------------------------------------


class PathNode(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=1):
    """A document path."""

    path: tuple[str | int, ...]

    def read(self, item: Item) -> Value | None:
        """The value against `item`, None if it has none."""
        path: Path = self.path
        return item.get(path[0]) if len(path) == 1 else read(item, path)


class ValueNode(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=2):
    """A constant."""

    value: Any

    def read(self, item: Item) -> Value | None:
        value: Value = self.value
        return value


class FunctionNode(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=3):
    """A call. As a condition it must be one of CONDITION_FUNCTIONS, as an operand one of OPERAND_FUNCTIONS or, in an update, one of its own; the check
    says so."""

    name: str
    arguments: tuple[Operand, ...]

    def read(self, item: Item) -> Value | None:
        return OPERAND_FUNCTIONS[self.name](self.arguments, item)

    def evaluate(self, item: Item) -> bool:
        return CONDITION_FUNCTIONS[self.name](self.arguments, item)


class Arithmetic(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=4):
    """left + right or left - right. Of updates, which evaluate it."""

    operator: str
    left: Operand
    right: Operand

    def read(self, item: Item) -> Value | None:
        raise AssertionError("arithmetic stands in updates only")


# --- conditions ----------------------------------------------------------------------------------------------------------------------------


class And(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=5):
    terms: tuple[Term, ...]

    def evaluate(self, item: Item) -> bool:
        for term in self.terms:  # noqa: SIM110 (a generator per evaluation costs more than the loop)
            if not term.evaluate(item):
                return False
        return True


class Or(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=6):
    terms: tuple[Term, ...]

    def evaluate(self, item: Item) -> bool:
        for term in self.terms:  # noqa: SIM110
            if term.evaluate(item):
                return True
        return False


class Not(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=7):
    """One NOT or several in a row; odd: they negate."""

    term: Term
    odd: bool = True

    def evaluate(self, item: Item) -> bool:
        return self.term.evaluate(item) is not self.odd


class Compare(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=8):
    """operator: one of COMPARISONS."""

    operator: str
    left: Operand
    right: Operand

    def evaluate(self, item: Item) -> bool:
        return COMPARISONS[self.operator](self.left.read(item), self.right.read(item))


class Between(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=9):
    operand: Operand
    low: Operand
    high: Operand

    def evaluate(self, item: Item) -> bool:
        value = self.operand.read(item)
        return is_between(value, self.low.read(item), self.high.read(item))


class In(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=10):
    operand: Operand
    candidates: tuple[Operand, ...]

    def evaluate(self, item: Item) -> bool:
        value = self.operand.read(item)
        return value is not None and any(candidate.read(item) == value for candidate in self.candidates)


Operand = PathNode | ValueNode | FunctionNode | Arithmetic
Term = And | Or | Not | Compare | Between | In | FunctionNode


class Action(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One action of an update. section: one of SECTIONS. operand: what SET writes, the value of ADD and DELETE, None for REMOVE."""

    section: str
    target: PathNode
    operand: Operand | None = None


SECTIONS = ("SET", "REMOVE", "ADD", "DELETE")


# --- what walks over trees -----------------------------------------------------------------------------------------------------------------


def children(node: Any) -> Sequence[Any]:
    """Direct children, in the order of the text."""
    if isinstance(node, (Compare, Arithmetic)):
        return (node.left, node.right)
    if isinstance(node, (And, Or)):
        return node.terms
    if isinstance(node, Not):
        return (node.term,)
    if isinstance(node, Between):
        return (node.operand, node.low, node.high)
    if isinstance(node, In):
        return (node.operand, *node.candidates)
    if isinstance(node, FunctionNode):
        return node.arguments
    return ()


def walk(node: Any) -> list[Any]:
    """Every node of a tree, parents first, in the order of the text."""
    found: list[Any] = []
    waiting = [node]
    while waiting:
        node = waiting.pop()
        found.append(node)
        waiting.extend(reversed(children(node)))
    return found


def rebuilt(node: Any, leaf: Callable[[Any], Any], inner: Callable[[Any], None] | None = None) -> Any:
    """A copy of the tree with `leaf(node)` in place of each leaf. inner: told every other node of the copy, children first, in the order of the text."""
    kind = type(node)
    new: Any
    if kind is Compare or kind is Arithmetic:
        new = kind(node.operator, rebuilt(node.left, leaf, inner), rebuilt(node.right, leaf, inner))
    elif kind is FunctionNode:
        new = FunctionNode(node.name, tuple([rebuilt(argument, leaf, inner) for argument in node.arguments]))
    elif kind is And or kind is Or:
        new = kind(tuple([rebuilt(term, leaf, inner) for term in node.terms]))
    elif kind is Not:
        new = Not(rebuilt(node.term, leaf, inner), node.odd)
    elif kind is Between:
        new = Between(rebuilt(node.operand, leaf, inner), rebuilt(node.low, leaf, inner), rebuilt(node.high, leaf, inner))
    elif kind is In:
        new = In(rebuilt(node.operand, leaf, inner), tuple([rebuilt(candidate, leaf, inner) for candidate in node.candidates]))
    else:
        return leaf(node)
    if inner is not None:
        inner(new)
    return new


# --- comparisons ---------------------------------------------------------------------------------------------------------------------------


def order(left: Value | None, right: Value | None) -> int | None:
    """-1, 0 or 1; None if the two cannot be ordered (missing, of different types, or of a type without an order)."""
    if left is None or right is None:
        return None
    kind = left[0]
    if kind != right[0]:
        return None
    if kind == "N":
        return compare(left[1], right[1])
    if kind == "S" or kind == "B":
        one, two = left[1], right[1]
        return 0 if one == two else -1 if one < two else 1
    return None


def equals(left: Value | None, right: Value | None) -> bool:
    """Same type and value; a missing operand equals nothing."""
    return left is not None and left == right


def _differs(left: Value | None, right: Value | None) -> bool:
    return left is None or left != right


def _less(left: Value | None, right: Value | None) -> bool:
    return order(left, right) == -1


def _less_equal(left: Value | None, right: Value | None) -> bool:
    return order(left, right) in (-1, 0)


def _greater(left: Value | None, right: Value | None) -> bool:
    return order(left, right) == 1


def _greater_equal(left: Value | None, right: Value | None) -> bool:
    return order(left, right) in (0, 1)


COMPARISONS: dict[str, Callable[[Value | None, Value | None], bool]] = {
    "=": equals,
    "<>": _differs,
    "<": _less,
    "<=": _less_equal,
    ">": _greater,
    ">=": _greater_equal,
}


def is_between(value: Value | None, low: Value | None, high: Value | None) -> bool:
    """low <= value <= high, all of one ordered type."""
    return order(low, value) in (-1, 0) and order(value, high) in (-1, 0)


def begins_with(value: Value | None, prefix: Value | None) -> bool:
    """Both strings or both binaries, and `value` begins with `prefix`."""
    return (
        value is not None
        and prefix is not None
        and value[0] == prefix[0]
        and value[0] in ("S", "B")
        and bool(value[1].startswith(prefix[1]))
    )


def contains(container: Value | None, wanted: Value | None) -> bool:
    """A string holds a substring, a binary a sub-sequence, a set or list an element."""
    if container is None or wanted is None:
        return False
    kind, payload = container
    if kind == "L":
        return wanted in payload
    if kind in ("S", "B"):
        return wanted[0] == kind and wanted[1] in payload
    if kind in ("SS", "NS", "BS"):
        return wanted[0] == kind[0] and wanted[1] in payload
    return False


def size_of(value: Value | None) -> Value | None:
    """What size() gives: UTF-16 code units of a string, bytes of a binary, elements of the others; None for numbers, booleans and null."""
    if value is None:
        return None
    kind, payload = value
    if kind == "S":
        return "N", str(len(payload) if payload.isascii() else len(payload.encode("utf-16-le")) // 2)
    if kind in ("N", "BOOL", "NULL"):
        return None
    return "N", str(len(payload))


CONDITION_FUNCTIONS: dict[str, Callable[[Sequence[Any], Item], bool]] = {
    "attribute_exists": lambda arguments, item: arguments[0].read(item) is not None,
    "attribute_not_exists": lambda arguments, item: arguments[0].read(item) is None,
    "attribute_type": lambda arguments, item: (arguments[0].read(item) or ("",))[0] == arguments[1].read(item)[1],
    "begins_with": lambda arguments, item: begins_with(arguments[0].read(item), arguments[1].read(item)),
    "contains": lambda arguments, item: contains(arguments[0].read(item), arguments[1].read(item)),
}
OPERAND_FUNCTIONS: dict[str, Callable[[Sequence[Any], Item], Value | None]] = {
    "size": lambda arguments, item: size_of(arguments[0].read(item)),
}
UPDATE_FUNCTIONS = ("if_not_exists", "list_append")
"""Operands of updates, which evaluate them."""
ARITY = {
    "attribute_exists": 1,
    "attribute_not_exists": 1,
    "attribute_type": 2,
    "begins_with": 2,
    "contains": 2,
    "size": 1,
    "if_not_exists": 2,
    "list_append": 2,
}
"""Operands of each function."""
