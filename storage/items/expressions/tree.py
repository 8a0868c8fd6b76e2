"""Trees of expressions. The parser makes them from tokens; `check` puts names and values in; then operands read and conditions evaluate.

Before the check a path holds tokens and a value node no value; nothing is evaluated before the check.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import is_
from typing import Any, ClassVar

from storage.items.expressions.lexer import Token
from storage.items.expressions.paths import Path, read
from storage.items.numbers import compare
from storage.items.values import Item, Value

EMPTY_ITEM: Item = {}


class Node:
    """Any node. `fresh` gives a node of its own to each use of a parsed (and shared) tree: names and values are put into it."""

    __slots__ = ()

    def fresh(self) -> Any:
        """This tree, with copies in place of all that depends on names and values; parts that do not are shared."""
        raise AssertionError(type(self))


# --- operands ------------------------------------------------------------------------------------------------------------------------------


class Operand(Node):
    __slots__ = ()

    def read(self, item: Item) -> Value | None:
        """The operand's value against `item`, None if it has none."""
        raise AssertionError(type(self))


class PathNode(Operand):
    """tokens: NAME, ALIAS and INDEX tokens in order. path: set by the check; at once, for all uses, if there is no ALIAS in it."""

    __slots__ = ("path", "tokens")

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.path: Path = ()

    def fresh(self) -> PathNode:
        return self if self.path else PathNode(self.tokens)

    def read(self, item: Item) -> Value | None:
        path = self.path
        return item.get(path[0]) if len(path) == 1 else read(item, path)


class ValueNode(Operand):
    """A ":value"; value: set by the check."""

    __slots__ = ("token", "value")

    def __init__(self, token: Token | None, value: Value | None = None) -> None:
        self.token = token
        self.value = value

    def fresh(self) -> ValueNode:
        return ValueNode(self.token, self.value)

    def read(self, item: Item) -> Value | None:
        return self.value


class FunctionNode(Operand):
    """A call. As a condition it must be one of CONDITIONS, as an operand one of OPERANDS; the check says so."""

    __slots__ = ("arguments", "name")

    CONDITIONS: ClassVar[dict[str, Callable[[list[Any], Item], bool]]] = {}
    OPERANDS: ClassVar[dict[str, Callable[[list[Any], Item], Value | None]]] = {}

    def __init__(self, name: str, arguments: list[Any]) -> None:
        self.name = name
        self.arguments = arguments

    def fresh(self) -> FunctionNode:
        arguments = [argument.fresh() for argument in self.arguments]
        return self if all(map(is_, arguments, self.arguments)) else FunctionNode(self.name, arguments)

    def read(self, item: Item) -> Value | None:
        return self.OPERANDS[self.name](self.arguments, item)

    def evaluate(self, item: Item) -> bool:
        return self.CONDITIONS[self.name](self.arguments, item)


class Paren(Node):
    """A pair of parentheses, kept until the parser has seen whether they are redundant."""

    __slots__ = ("inner",)

    def __init__(self, inner: Any) -> None:
        self.inner = inner


# --- conditions ----------------------------------------------------------------------------------------------------------------------------


class And(Node):
    __slots__ = ("terms",)

    def __init__(self, terms: list[Any]) -> None:
        self.terms = terms

    def fresh(self) -> And:
        return And([term.fresh() for term in self.terms])

    def evaluate(self, item: Item) -> bool:
        for term in self.terms:  # noqa: SIM110 (a generator per evaluation costs more than the loop)
            if not term.evaluate(item):
                return False
        return True


class Or(Node):
    __slots__ = ("terms",)

    def __init__(self, terms: list[Any]) -> None:
        self.terms = terms

    def fresh(self) -> Or:
        return Or([term.fresh() for term in self.terms])

    def evaluate(self, item: Item) -> bool:
        for term in self.terms:  # noqa: SIM110
            if term.evaluate(item):
                return True
        return False


class Not(Node):
    """One NOT or several in a row; odd: they negate."""

    __slots__ = ("odd", "term")

    def __init__(self, term: Any, *, odd: bool = True) -> None:
        self.term = term
        self.odd = odd

    def fresh(self) -> Not:
        return Not(self.term.fresh(), odd=self.odd)

    def evaluate(self, item: Item) -> bool:
        met: bool = self.term.evaluate(item)
        return met is not self.odd


class Compare(Node):
    __slots__ = ("left", "operator", "right", "run")

    def __init__(self, operator: str, left: Operand, right: Operand) -> None:
        self.operator = operator
        self.left = left
        self.right = right
        self.run = COMPARISONS[operator]

    def fresh(self) -> Compare:
        return Compare(self.operator, self.left.fresh(), self.right.fresh())

    def evaluate(self, item: Item) -> bool:
        return self.run(self.left.read(item), self.right.read(item))


class Between(Node):
    __slots__ = ("high", "low", "operand")

    def __init__(self, operand: Operand, low: Operand, high: Operand) -> None:
        self.operand = operand
        self.low = low
        self.high = high

    def fresh(self) -> Between:
        return Between(self.operand.fresh(), self.low.fresh(), self.high.fresh())

    def evaluate(self, item: Item) -> bool:
        value = self.operand.read(item)
        return is_between(value, self.low.read(item), self.high.read(item))


class In(Node):
    __slots__ = ("candidates", "operand")

    def __init__(self, operand: Operand, candidates: list[Any]) -> None:
        self.operand = operand
        self.candidates = candidates

    def fresh(self) -> In:
        return In(self.operand.fresh(), [candidate.fresh() for candidate in self.candidates])

    def evaluate(self, item: Item) -> bool:
        value = self.operand.read(item)
        return value is not None and any(candidate.read(item) == value for candidate in self.candidates)


# --- comparisons ---------------------------------------------------------------------------------------------------------------------------

ORDERED_TYPES = ("S", "N", "B")
"""Types that <, <=, >, >= and BETWEEN compare."""


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


FunctionNode.CONDITIONS.update(
    {
        "attribute_exists": lambda arguments, item: arguments[0].read(item) is not None,
        "attribute_not_exists": lambda arguments, item: arguments[0].read(item) is None,
        "attribute_type": lambda arguments, item: (arguments[0].read(item) or ("",))[0] == arguments[1].read(item)[1],
        "begins_with": lambda arguments, item: begins_with(arguments[0].read(item), arguments[1].read(item)),
        "contains": lambda arguments, item: contains(arguments[0].read(item), arguments[1].read(item)),
    }
)
FunctionNode.OPERANDS["size"] = lambda arguments, item: size_of(arguments[0].read(item))
