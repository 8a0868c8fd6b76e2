"""Reductions of the grammar to trees: what the parser calls while it goes, children first. Nothing is judged here but depth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from lark import Token, Transformer

from scrubjay.storage.items.errors import ItemError
from scrubjay.storage.items.partiql import syntax
from scrubjay.storage.items.partiql.syntax import At

DEPTH_MAX = 128
"""Levels of one expression that are not parentheses. Bounds the recursion of all that walks over its tree."""


def malformed(detail: str) -> ItemError:
    """A statement that cannot be read."""
    return ItemError(f"Statement wasn't well formed, can't be processed: {detail}")


def _at(token: Token) -> At:
    assert token.line is not None
    assert token.column is not None
    assert token.start_pos is not None
    assert token.end_pos is not None
    return At(token.line, token.column, token.end_pos - token.start_pos)


class _Where(NamedTuple):
    expression: Any


class _Orders(NamedTuple):
    terms: tuple[syntax.OrderSyntax, ...]


class _Columns(NamedTuple):
    columns: tuple[syntax.Column, ...]


class _Limit(NamedTuple):
    clause: str
    at: At


class _Alias(NamedTuple):
    """A second name."""


class _Actions(NamedTuple):
    actions: tuple[syntax.Assign, ...]


def _deeper(*children: Any) -> int:
    """The depth of a node over `children`. Raises ItemError if that is more than can be walked over."""
    depth = 1 + max([getattr(child, "depth", 0) for child in children], default=0)
    if depth > DEPTH_MAX:
        raise malformed("Expression is nested too deeply")
    return depth


def _nodes(children: Sequence[Any]) -> tuple[Any, ...]:
    """Without the tokens."""
    return tuple([child for child in children if not isinstance(child, Token)])


def _one(children: Sequence[Any], kind: type) -> Any:
    """The child of this kind, or None."""
    return next((child for child in children if isinstance(child, kind)), None)


def _where(children: Sequence[Any]) -> Any:
    where = _one(children, _Where)
    return None if where is None else where.expression


def _actions(children: Sequence[Any]) -> tuple[syntax.Assign, ...]:
    return tuple([action for child in children if isinstance(child, _Actions) for action in child.actions])


class Builder(Transformer[Token, Any]):
    """One method a rule, called while the parser goes: children first. More than 25 methods: a grammar has as many rules."""

    # -- statements

    def start(self, children: list[Any]) -> Any:
        return children[0]

    def select(self, children: list[Any]) -> syntax.SelectSyntax:
        orders, limit = _one(children, _Orders), _one(children, _Limit)
        return syntax.SelectSyntax(
            _one(children, _Columns).columns,
            _one(children, syntax.SourceSyntax),
            _where(children),
            () if orders is None else orders.terms,
            None if limit is None else tuple(limit),
        )

    def columns(self, children: list[Any]) -> _Columns:
        return _Columns(tuple(children))

    def all_columns(self, children: list[Any]) -> syntax.Column:
        return syntax.Column(None)

    def column(self, children: list[Any]) -> syntax.Column:
        return syntax.Column(children[0], len(children) > 1)

    def alias(self, children: list[Any]) -> _Alias:
        return _Alias()

    def source(self, children: list[Any]) -> syntax.SourceSyntax:
        return syntax.SourceSyntax(children[0], len(children) > 1)

    def where(self, children: list[Any]) -> _Where:
        return _Where(children[1])

    def order(self, children: list[Any]) -> _Orders:
        return _Orders(_nodes(children))

    def order_term(self, children: list[Any]) -> syntax.OrderSyntax:
        return syntax.OrderSyntax(children[0], len(children) > 1 and children[1].type == "DESC")

    def limit(self, children: list[Any]) -> _Limit:
        return _Limit(" ".join([child.upper() for child in children if isinstance(child, Token)]), children[-1].at)

    def insert(self, children: list[Any]) -> syntax.InsertSyntax:
        path, value = _nodes(children)[:2]
        return syntax.InsertSyntax(syntax.SourceSyntax(path), value, _one(children, syntax.Returning))

    def update(self, children: list[Any]) -> syntax.UpdateSyntax:
        return syntax.UpdateSyntax(
            _one(children, syntax.SourceSyntax), _actions(children), _where(children), _one(children, syntax.Returning)
        )

    from_first = update

    def delete(self, children: list[Any]) -> syntax.DeleteSyntax:
        return syntax.DeleteSyntax(_one(children, syntax.SourceSyntax), _where(children), _one(children, syntax.Returning))

    def set(self, children: list[Any]) -> _Actions:
        return _Actions(_nodes(children))

    def assign(self, children: list[Any]) -> syntax.Assign:
        return syntax.Assign(children[0], children[2])

    def remove(self, children: list[Any]) -> _Actions:
        return _Actions(tuple([syntax.Assign(path, None) for path in _nodes(children)]))

    def returning(self, children: list[Token]) -> syntax.Returning:
        return syntax.Returning(children[1].type == "ALL", children[2].type == "NEW")

    def exists(self, children: list[Any]) -> syntax.ExistsSyntax:
        return syntax.ExistsSyntax(children[1])

    def bare(self, children: list[Any]) -> syntax.BareSyntax:
        return syntax.BareSyntax(children[0])

    # -- conditions

    def _junction(self, operator: str, children: list[Any]) -> syntax.JunctionSyntax:
        operands = _nodes(children)
        return syntax.JunctionSyntax(operator, operands, operands[0].at, _deeper(*operands))

    def or_(self, children: list[Any]) -> syntax.JunctionSyntax:
        return self._junction("OR", children)

    def and_(self, children: list[Any]) -> syntax.JunctionSyntax:
        return self._junction("AND", children)

    def negated(self, children: list[Any]) -> syntax.NotSyntax:
        return syntax.NotSyntax(children[1], _at(children[0]), _deeper(children[1]))

    def comparison(self, children: list[Any]) -> syntax.InfixSyntax:
        left, operator, right = children
        return syntax.InfixSyntax("<>" if operator == "!=" else str(operator), left, right, _at(operator), _deeper(left, right))

    def like(self, children: list[Any]) -> syntax.InfixSyntax:
        left, operator, right = children
        return syntax.InfixSyntax("LIKE", left, right, _at(operator), _deeper(left, right))

    def sum(self, children: list[Any]) -> syntax.InfixSyntax:
        left, operator, right = children
        return syntax.InfixSyntax(str(operator), left, right, _at(operator), _deeper(left, right))

    def between(self, children: list[Any]) -> syntax.BetweenSyntax:
        operand, low, high = _nodes(children)
        return syntax.BetweenSyntax(operand, low, high, operand.at, _deeper(operand, low, high))

    def in_(self, children: list[Any]) -> syntax.InSyntax:
        operand, candidates = _nodes(children)
        return syntax.InSyntax(operand, candidates, operand.at, _deeper(operand, candidates))

    def is_(self, children: list[Any]) -> syntax.IsSyntax:
        return syntax.IsSyntax(children[0], str(children[-1]), children[0].at, _deeper(children[0]))

    def _not(self, node: Any) -> syntax.NotSyntax:
        return syntax.NotSyntax(node, node.at, _deeper(node))

    def not_between(self, children: list[Any]) -> syntax.NotSyntax:
        return self._not(self.between(children))

    def not_in(self, children: list[Any]) -> syntax.NotSyntax:
        return self._not(self.in_(children))

    def is_not(self, children: list[Any]) -> syntax.NotSyntax:
        return self._not(self.is_(children))

    # -- operands

    def signed(self, children: list[Token]) -> syntax.NumberSyntax:
        sign, number = children
        return syntax.NumberSyntax(sign + number, _at(number))

    def number(self, children: list[Token]) -> syntax.NumberSyntax:
        return syntax.NumberSyntax(str(children[0]), _at(children[0]))

    def string(self, children: list[Token]) -> syntax.ConstantSyntax:
        return syntax.ConstantSyntax(_unquoted(children[0]), _at(children[0]))

    def true(self, children: list[Token]) -> syntax.ConstantSyntax:
        return syntax.ConstantSyntax(True, _at(children[0]))

    def false(self, children: list[Token]) -> syntax.ConstantSyntax:
        return syntax.ConstantSyntax(False, _at(children[0]))

    def null(self, children: list[Token]) -> syntax.ConstantSyntax:
        return syntax.ConstantSyntax(None, _at(children[0]))

    def missing(self, children: list[Token]) -> syntax.MissingSyntax:
        return syntax.MissingSyntax(_at(children[0]))

    def parameter(self, children: list[Token]) -> syntax.ParameterSyntax:
        return syntax.ParameterSyntax(int(children[0]), _at(children[0]))

    def _sequence(self, kind: str, children: list[Any]) -> syntax.SequenceSyntax:
        elements = _nodes(children)
        at = elements[0].at if elements else At(1, 1, 1)
        return syntax.SequenceSyntax(kind, elements, at, _deeper(*elements))

    def list_(self, children: list[Any]) -> syntax.SequenceSyntax:
        return self._sequence("list", children)

    def bag_(self, children: list[Any]) -> syntax.SequenceSyntax:
        return self._sequence("bag", children)

    def tuple_(self, children: list[Any]) -> syntax.SequenceSyntax:
        return self._sequence("tuple", children)

    def group(self, children: list[Any]) -> Any:
        return children[0]

    def struct_(self, children: list[Any]) -> syntax.StructSyntax:
        at = children[0][1].at if children else At(1, 1, 1)
        return syntax.StructSyntax(tuple(children), at, _deeper(*[value for _, value in children]))

    def member(self, children: list[Any]) -> tuple[str, Any]:
        return _unquoted(children[0]), children[1]

    def call(self, children: list[Any]) -> syntax.CallSyntax:
        arguments = _nodes(children)
        return syntax.CallSyntax(children[0].lower(), arguments, _at(children[0]), _deeper(*arguments))

    def path(self, children: list[Token]) -> syntax.PathSyntax:
        steps: list[str | int] = [_name(children[0])]
        for token in children[1:]:
            if token.type == "NUMBER":
                if not token.isdigit():
                    raise malformed("Invalid path component")
                steps.append(int(token) if len(token) <= 10 else 1 << 40)
            else:
                steps.append(_name(token))
        return syntax.PathSyntax(tuple(steps), _at(children[0]))


def _unquoted(token: Token) -> str:
    quote = token[0]
    return token[1:-1].replace(quote * 2, quote)


def _name(token: Token) -> str:
    return _unquoted(token) if token.type in ("QUOTED", "STRING") else str(token)
