"""Text of an expression to tokens.

Kinds: NAME (identifier or keyword), ALIAS (#name), VALUE (:name), INDEX (digits), SYMBOL, BAD (a character no expression has) and END.
"""

from __future__ import annotations

import re
from enum import IntEnum
from typing import NamedTuple

from scrubjay.storage.items.errors import ItemError

EXPRESSION_BYTES_MAX = 4096
END_TEXT = "<EOF>"


class TokenKind(IntEnum):
    NAME = 1
    ALIAS = 2
    VALUE = 3
    INDEX = 4
    SYMBOL = 5
    BAD = 6
    END = 7


class Token(NamedTuple):
    """text lies at [start, end) of the expression."""

    kind: TokenKind
    text: str
    start: int
    end: int


_TOKEN = re.compile(
    r"[ \t\r\n\f]*(?:([A-Za-z][A-Za-z0-9_]*)|(#[A-Za-z0-9_]+)|(:[A-Za-z0-9_]+)|([0-9]+)|(<>|<=|>=|[=<>()\[\].,+\-])|(\S)|$)", re.ASCII
)
_KINDS = (TokenKind.END, TokenKind.NAME, TokenKind.ALIAS, TokenKind.VALUE, TokenKind.INDEX, TokenKind.SYMBOL, TokenKind.BAD)


def tokenize(text: str, kind: str) -> list[Token]:
    """All tokens, an END token last. kind: the request parameter, for the error. Raises ItemError (empty, or longer than 4 KB)."""
    if not text.strip():
        raise ItemError(f"Invalid {kind}: The expression can not be empty;")
    size = len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
    if size > EXPRESSION_BYTES_MAX:
        how = "" if kind == "UpdateExpression" else f" expression size: {size}"
        raise ItemError(f"Invalid {kind}: Expression size has exceeded the maximum allowed size;{how}")
    tokens: list[Token] = []
    at = 0
    while True:
        match = _TOKEN.match(text, at)
        if match is None or match.lastindex is None:
            tokens.append(Token(TokenKind.END, END_TEXT, len(text), len(text)))
            return tokens
        group = match.lastindex
        start, at = match.span(group)
        tokens.append(Token(_KINDS[group], match[group], start, at))
