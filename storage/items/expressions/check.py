"""What is checked of every expression between parsing and evaluation, in AWS's order: the first fault found is the one told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from scrubjay.storage.items.errors import ItemError
from scrubjay.storage.items.expressions.lexer import TokenKind
from scrubjay.storage.items.expressions.parser import OPERATORS_MAX, Parser
from scrubjay.storage.items.expressions.paths import PATH_DEPTH_MAX, Path, show
from scrubjay.storage.items.expressions.placeholders import Placeholders
from scrubjay.storage.items.expressions.reserved import RESERVED
from scrubjay.storage.items.expressions.tree import ARITY, FunctionNode, PathNode, UnboundPath, UnboundValue, ValueNode, rebuilt

IN_OPERANDS_MAX = 100
"""With the operand before IN."""
_NOTHING = Placeholders()
FUNCTIONS = frozenset(ARITY)
"""Of all grammars: one of them in the wrong place is told as such, any other name as unknown."""
INDEX_MAX = (1 << 32) - 2


def invalid(kind: str, text: str) -> ItemError:
    """A fault of the expression in the request parameter `kind`."""
    return ItemError(f"Invalid {kind}: {text}")


def check_limits(parser: Parser, nodes: Iterable[Any]) -> None:
    """Doubled parentheses, functions that there are not, and too many operators. nodes: all of the expression's."""
    if parser.redundant:
        raise invalid(parser.kind, "The expression has redundant parentheses;")
    for node in nodes:
        if isinstance(node, FunctionNode) and node.name not in FUNCTIONS:
            raise parser.unknown_function(node.name)
    if parser.operators > OPERATORS_MAX:
        raise parser.too_many_operators()


def check_reserved(paths: list[UnboundPath], kind: str) -> None:
    """No bare name may be a reserved word. Paths without aliases get their final form on the way, for all uses of a shared tree."""
    for node in paths:
        for token in node.tokens:
            if token.kind is TokenKind.NAME and token.text.upper() in RESERVED:
                raise invalid(kind, f"Attribute name is a reserved keyword; reserved keyword: {token.text}")
    for node in paths:
        if not any(token.kind is TokenKind.ALIAS for token in node.tokens):
            with suppress(ItemError):
                node.bound = bind_path(node, _NOTHING, kind)


def bind(node: Any, placeholders: Placeholders, kind: str, inner: Callable[[Any], None] | None = None) -> Any:
    """The tree with names and values put in, in the order of the text. inner: as for `rebuilt`. Raises ItemError."""

    def leaf(node: UnboundPath | UnboundValue) -> PathNode | ValueNode:
        return bind_path(node, placeholders, kind) if isinstance(node, UnboundPath) else bind_value(node, placeholders, kind)

    return rebuilt(node, leaf, inner)


def bind_path(node: UnboundPath, placeholders: Placeholders, kind: str) -> PathNode:
    """Put names into a path. Raises ItemError (undefined name, too deep, index out of range)."""
    if node.bound is not None:
        return node.bound
    path: list[str | int] = []
    for token in node.tokens:
        if token.kind is TokenKind.NAME:
            path.append(token.text)
        elif token.kind is TokenKind.INDEX:
            index = int(token.text) if len(token.text) <= 10 else INDEX_MAX + 1
            if index > INDEX_MAX:
                raise invalid(kind, f"List index is not within the allowable range; index: [{token.text}]")
            path.append(index)
        else:
            name = placeholders.name(token.text)
            if name is None:
                raise invalid(kind, f"An expression attribute name used in the document path is not defined; attribute name: {token.text}")
            path.append(name)
    if len(path) > PATH_DEPTH_MAX:
        raise invalid(kind, f"The document path has too many nesting elements; nesting levels: {len(path)}")
    return PathNode(tuple(path))


def bind_value(node: UnboundValue, placeholders: Placeholders, kind: str) -> ValueNode:
    """Put in the value. Raises ItemError (undefined)."""
    value = placeholders.value(node.token.text)
    if value is None:
        raise invalid(kind, f"An expression attribute value used in expression is not defined; attribute value: {node.token.text}")
    return ValueNode(value)


def operand_type(node: Any) -> str | None:
    """The type an operand is known to have before any item is seen, or None."""
    if isinstance(node, ValueNode):
        kind: str = node.value[0]
        return kind
    if isinstance(node, FunctionNode) and node.name == "size":
        return "N"
    return None


def misused(kind: str, name: str) -> ItemError:
    return invalid(kind, f"The function is not allowed to be used this way in an expression; function: {name}")


def wrong_count(kind: str, name: str, count: int) -> ItemError:
    return invalid(
        kind, f"Incorrect number of operands for operator or function; operator or function: {name}, number of operands: {count}"
    )


def wrong_type(kind: str, name: str, type_: str) -> ItemError:
    return invalid(kind, f"Incorrect operand type for operator or function; operator or function: {name}, operand type: {type_}")


def needs_path(kind: str, name: str) -> ItemError:
    return invalid(kind, f"Operator or function requires a document path; operator or function: {name}")


def check_distinct(kind: str, operator: str, operands: Sequence[Any]) -> None:
    """The first operand may not occur again when it is a path."""
    first = operands[0]
    if isinstance(first, PathNode) and any(isinstance(other, PathNode) and _same(first.path, other.path) for other in operands[1:]):
        raise invalid(
            kind,
            "The first operand must be distinct from the remaining operands for this operator or function; "
            f"operator: {operator}, first operand: {show(first.path)}",
        )


def _same(one: Path, two: Path) -> bool:
    return one == two and all(type(left) is type(right) for left, right in zip(one, two, strict=True))
