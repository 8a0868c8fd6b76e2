"""Tokens to trees, for the four grammars: conditions, updates, projections, key conditions (which are conditions until they are checked).

A syntax error wins over everything else; what is wrong with parentheses is noted and told by the check. Nothing here looks at names or values.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from scrubjay.storage.items.errors import ItemError
from scrubjay.storage.items.expressions.lexer import Token, TokenKind, tokenize
from scrubjay.storage.items.expressions.tree import (
    ARITY,
    SECTIONS,
    Action,
    And,
    Arithmetic,
    Between,
    Compare,
    FunctionNode,
    In,
    Not,
    Or,
    Paren,
    UnboundPath,
    UnboundValue,
)

_COMPARATORS = frozenset(("=", "<>", "<", "<=", ">", ">="))
_CONDITION_WORDS = frozenset(("AND", "OR", "NOT", "IN", "BETWEEN"))
_SECTIONS = frozenset(SECTIONS)
_OPERANDS = (UnboundPath, UnboundValue, FunctionNode)
_DEPTH_MAX = 160
"""Levels of parentheses and calls: more than 300 operators can fill without doubling parentheses. Bounds the recursion of parser and evaluation."""
OPERATORS_MAX = 300


class Parser:
    """One pass over one expression. kind: the request parameter, for errors. redundant: doubled parentheses were seen."""

    def __init__(self, text: str, kind: str, keywords: frozenset[str]) -> None:
        self.text = text
        self.kind = kind
        self.tokens = tokenize(text, kind)
        self.at = 0
        self.redundant = False
        self.operators = 0
        self._keywords = keywords
        self._depth = 0

    # tokens

    def peek(self) -> Token:
        return self.tokens[self.at]

    def symbol(self, text: str) -> bool:
        """Take the symbol if it is next."""
        token = self.tokens[self.at]
        if token.kind is TokenKind.SYMBOL and token.text == text:
            self.at += 1
            return True
        return False

    def expect(self, text: str) -> None:
        if not self.symbol(text):
            raise self.syntax_error()

    def keyword(self, word: str) -> bool:
        """Take the keyword (any case) if it is next."""
        token = self.tokens[self.at]
        if token.kind is TokenKind.NAME and token.text.upper() == word:
            self.at += 1
            return True
        return False

    def end(self) -> None:
        if self.tokens[self.at].kind is not TokenKind.END:
            raise self.syntax_error()

    def syntax_error(self) -> ItemError:
        """At the next token, with the one before and the one behind it, as AWS shows it."""
        token = self.tokens[self.at]
        start = self.tokens[self.at - 1].start if self.at else token.start
        stop = self.tokens[self.at + 1].end if self.at + 1 < len(self.tokens) else token.end
        return ItemError(f'Invalid {self.kind}: Syntax error; token: "{token.text}", near: "{self.text[start:stop].strip()}"')

    def deeper(self) -> None:
        """One level down. Too deep can only be what is refused anyway: functions that there are not, too many operators, doubled parentheses, or one never closed."""
        self._depth += 1
        if self._depth <= _DEPTH_MAX:
            return
        if sum(token.text == ")" for token in self.tokens) < self._depth:
            self.at = len(self.tokens) - 1
            raise self.syntax_error()
        calls = [one.text for one, behind in pairwise(self.tokens) if self.is_name(one) and behind.text == "("]
        unknown = next((name for name in calls if name not in ARITY), None)
        if unknown is not None:
            raise self.unknown_function(unknown)
        if self.operators > _DEPTH_MAX // 2:
            raise self.too_many_operators()
        raise ItemError(f"Invalid {self.kind}: The expression has redundant parentheses;")

    def unknown_function(self, name: str) -> ItemError:
        return ItemError(f"Invalid {self.kind}: Invalid function name; function: {name}")

    def too_many_operators(self) -> ItemError:
        """AWS stops counting at the first one too many."""
        return ItemError(f"Invalid {self.kind}: The expression contains too many operators; operator count: {OPERATORS_MAX + 1}")

    def higher(self) -> None:
        self._depth -= 1

    # operands

    def is_name(self, token: Token) -> bool:
        return token.kind is TokenKind.NAME and token.text.upper() not in self._keywords

    def path(self) -> UnboundPath:
        token = self.peek()
        if token.kind is not TokenKind.ALIAS and not self.is_name(token):
            raise self.syntax_error()
        self.at += 1
        node = UnboundPath([token])
        self.path_rest(node)
        return node

    def path_rest(self, node: UnboundPath) -> None:
        """Members and list elements behind a path."""
        while True:
            if self.symbol("."):
                token = self.peek()
                if token.kind is not TokenKind.ALIAS and not self.is_name(token):
                    raise self.syntax_error()
            elif self.symbol("["):
                token = self.peek()
                if token.kind is not TokenKind.INDEX:
                    raise self.syntax_error()
            else:
                return
            node.tokens.append(token)
            self.at += 1
            if token.kind is TokenKind.INDEX:
                self.expect("]")

    def call_or_path(self) -> FunctionNode | UnboundPath:
        token = self.peek()
        if self.is_name(token):
            following = self.tokens[self.at + 1]
            if following.kind is TokenKind.SYMBOL and following.text == "(":
                self.at += 2
                return self.call(token)
        return self.path()

    def call(self, name: Token) -> FunctionNode:
        self.operators += 1
        self.deeper()
        arguments: list[Any] = [bare(self.operand())]
        while self.symbol(","):
            arguments.append(bare(self.operand()))
        self.expect(")")
        self.higher()
        return FunctionNode(name.text, tuple(arguments))

    def operand(self) -> Any:
        """A value, path or call, perhaps in parentheses (then a Paren)."""
        if self.symbol("("):
            self.deeper()
            inner = self.operand()
            self.expect(")")
            self.higher()
            return self.closed(inner)
        if self.peek().kind is TokenKind.VALUE:
            self.at += 1
            return UnboundValue(self.tokens[self.at - 1])
        return self.call_or_path()

    def closed(self, inner: Any) -> Any:
        """What a pair of parentheses around `inner` stands for; a path goes on behind them."""
        if isinstance(inner, Paren):
            self.redundant = True
            inner = inner.inner
        if isinstance(inner, UnboundPath):
            parts = len(inner.tokens)
            self.path_rest(inner)
            if len(inner.tokens) != parts:
                return inner
        return Paren(inner)


def bare(node: Any) -> Any:
    """The node without its parentheses."""
    return node.inner if isinstance(node, Paren) else node


class ConditionParser(Parser):
    """Conditions, filters and key conditions."""

    def __init__(self, text: str, kind: str) -> None:
        super().__init__(text, kind, _CONDITION_WORDS)

    def parse(self) -> Any:
        """The condition's tree. Raises ItemError."""
        node = self.condition()
        self.end()
        return bare(node)

    def condition(self, *, nested: bool = False) -> Any:
        """OR of ANDs. nested: inside parentheses, where a lone operand may stand too. May return a Paren, so that doubled ones are seen."""
        alternatives: list[Any] = []
        terms: list[Any] = []
        node = self.term(nested=nested)
        while True:
            if self.keyword("AND"):
                self.operators += 1
                self.must_be_condition(node)
                terms.append(bare(node))
            elif self.keyword("OR"):
                self.operators += 1
                self.must_be_condition(node)
                terms.append(bare(node))
                alternatives.append(terms)
                terms = []
            else:
                break
            node = self.term(nested=False)
        if not terms and not alternatives:
            return node
        terms.append(bare(node))
        alternatives.append(terms)
        ands = [And(tuple(group)) if len(group) > 1 else group[0] for group in alternatives]
        return Or(tuple(ands)) if len(ands) > 1 else ands[0]

    def must_be_condition(self, node: Any) -> None:
        if isinstance(bare(node), (UnboundPath, UnboundValue)):
            self.at -= 1
            raise self.syntax_error()

    def term(self, *, nested: bool) -> Any:
        """One condition with its NOTs; a lone operand only if `nested` and the parenthesis closes behind it."""
        negations = 0
        while self.keyword("NOT"):
            negations += 1
        if negations:
            self.operators += negations
            return Not(bare(self.term(nested=False)), odd=negations % 2 == 1)
        if self.symbol("("):
            self.deeper()
            inner = self.condition(nested=True)
            self.expect(")")
            self.higher()
            node = self.closed(inner)
        elif self.peek().kind is TokenKind.VALUE:
            self.at += 1
            node = UnboundValue(self.tokens[self.at - 1])
        else:
            node = self.call_or_path()
        if isinstance(bare(node), _OPERANDS):
            return self.comparison(node, nested=nested)
        return node

    def comparison(self, node: Any, *, nested: bool) -> Any:
        token = self.peek()
        if token.kind is TokenKind.SYMBOL and token.text in _COMPARATORS:
            self.at += 1
            self.operators += 1
            return Compare(token.text, bare(node), bare(self.operand()))
        if self.keyword("BETWEEN"):
            self.operators += 1
            low = self.operand()
            if not self.keyword("AND"):
                raise self.syntax_error()
            return Between(bare(node), bare(low), bare(self.operand()))
        if self.keyword("IN"):
            self.operators += 1
            self.expect("(")
            candidates = [bare(self.operand())]
            while self.symbol(","):
                candidates.append(bare(self.operand()))
            self.expect(")")
            return In(bare(node), tuple(candidates))
        if isinstance(bare(node), FunctionNode):
            return node
        if nested and token.kind is TokenKind.SYMBOL and token.text == ")":
            return node
        raise self.syntax_error()


class UpdateParser(Parser):
    def __init__(self, text: str) -> None:
        super().__init__(text, "UpdateExpression", _SECTIONS)
        self.repeated: str | None = None

    def parse(self) -> list[Action]:
        """The actions, in the order of the text. Raises ItemError. `repeated` names the first section that occurs twice."""
        actions: list[Action] = []
        seen: list[str] = []
        while True:
            token = self.peek()
            section = token.text.upper()
            if token.kind is not TokenKind.NAME or section not in _SECTIONS:
                raise self.syntax_error()
            self.at += 1
            if section in seen:
                self.repeated = self.repeated or section
            seen.append(section)
            actions.append(self.action(section))
            while self.symbol(","):
                actions.append(self.action(section))
            if self.peek().kind is TokenKind.END:
                return actions

    def action(self, section: str) -> Action:
        self.operators += 1
        target: Any = self.path()
        if section == "REMOVE":
            return Action(section, target, None)
        if section == "SET":
            self.expect("=")
            return Action(section, target, bare(self.sum()))
        token = self.peek()
        if token.kind is not TokenKind.VALUE:
            raise self.syntax_error()
        self.at += 1
        operand: Any = UnboundValue(token)
        return Action(section, target, operand)

    def sum(self) -> Any:
        """An operand, or one sum or difference of two."""
        left = self.operand()
        for operator in ("+", "-"):
            if self.symbol(operator):
                self.operators += 1
                return Arithmetic(operator, bare(left), bare(self.operand()))
        return left

    def operand(self) -> Any:
        if self.symbol("("):
            self.deeper()
            inner = self.sum()
            self.expect(")")
            self.higher()
            if isinstance(inner, Paren):
                self.redundant = True
                return inner
            return Paren(inner)
        return super().operand()


class ProjectionParser(Parser):
    def __init__(self, text: str) -> None:
        super().__init__(text, "ProjectionExpression", frozenset())

    def parse(self) -> list[UnboundPath]:
        """The paths, in order. Raises ItemError."""
        paths = [self.path()]
        while self.symbol(","):
            paths.append(self.path())
        self.end()
        return paths
