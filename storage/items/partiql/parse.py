"""The text of a statement to its tree. Faults are told in the service's words: what it says depends on what could stand where the text goes wrong."""

from __future__ import annotations

import base64
import hashlib
import io
import zlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import lark
from lark import Lark, Token
from lark.exceptions import UnexpectedCharacters, UnexpectedToken

from scrubjay.storage.items.errors import ItemError, SerializationError
from scrubjay.storage.items.partiql import syntax, tables
from scrubjay.storage.items.partiql.builder import Builder, malformed
from scrubjay.storage.items.partiql.grammar import GRAMMAR
from scrubjay.storage.items.partiql.values import fits_exponent
from scrubjay.storage.items.partiql.words import KEYWORDS, OPERATORS, OTHER_TYPES, RESERVED, SOFT, TYPES

PARSED_KEPT = 1024
"""Parsed statements kept for the next request with the same text (at most 8 KB of text each)."""
_END = "$END"


def prepare() -> None:
    """See to it that no request waits long for the parser. The tables that came along are read when the first statement comes, in some milliseconds; where they are of another grammar
    or another Lark, they are made now: a sixth of a second, once a process.
    """
    if fingerprint() != tables.OF:
        _parser()


def parse(text: str) -> syntax.Parsed:
    """The statement. Raises ItemError."""
    outcome = _outcome(text)
    if isinstance(outcome, ItemError):
        raise type(outcome)(outcome.message)
    return outcome


@lru_cache(maxsize=PARSED_KEPT)
def _outcome(text: str) -> syntax.Parsed | ItemError:
    """What comes of a text, a fault too: neither is found out twice."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return SerializationError("Unable to parse the text of a string: it has half a surrogate pair")
    try:
        return _parsed(text)
    except ItemError as error:
        return error.with_traceback(None)


def _parsed(text: str) -> syntax.Parsed:
    tokens = _tokens(text)
    parser: Any = _parser().parse_interactive()
    for index, token in enumerate(tokens):
        try:
            parser.feed_token(token)
        except UnexpectedToken:
            raise _syntax_error(tokens, index, parser.accepts()) from None
    try:
        statement = parser.feed_eof(tokens[-1] if tokens else None)
    except UnexpectedToken:
        raise _syntax_error(tokens, len(tokens), parser.accepts()) from None
    return syntax.Parsed(statement, sum(token.type == "PARAMETER" for token in tokens))


@lru_cache(maxsize=1)
def _parser() -> Lark:
    if fingerprint() != tables.OF:
        return made_anew()
    return Lark.load(io.BytesIO(zlib.decompress(base64.b64decode(tables.SAVED))))


def fingerprint() -> str:
    """What tables depend on."""
    return hashlib.sha256(f"{lark.__version__}\n{GRAMMAR}".encode()).hexdigest()


def made_anew() -> Lark:
    """The parser, from the text of the grammar."""
    return Lark(GRAMMAR, parser="lalr", lexer="basic", transformer=Builder(), maybe_placeholders=False)


# --- tokens --------------------------------------------------------------------------------------------------------------------------------


def _tokens(text: str) -> list[Token]:
    """All tokens, words told apart and parameters numbered. Raises ItemError."""
    try:
        raw = list(_parser().lex(text))
    except UnexpectedCharacters:
        raise malformed("") from None
    tokens: list[Token] = []
    parameters = 0
    for token in raw:
        if tokens and _wants_type(tokens):
            token = _type(token)
        elif token.type == "IDENT" and _continues_type(tokens, token):
            continue
        elif token.type == "IDENT":
            word = token.lower()
            if word in KEYWORDS or word in SOFT:
                token = Token.new_borrow_pos(word.upper(), token, token)
            elif word in RESERVED:
                token = Token.new_borrow_pos("RESERVED", token, token)
        elif token.type == "PARAMETER":
            token = Token.new_borrow_pos("PARAMETER", str(parameters), token)
            parameters += 1
        elif token.type == "NUMBER" and not fits_exponent(token):
            raise malformed("")
        tokens.append(token)
    return tokens


def _wants_type(tokens: Sequence[Token]) -> bool:
    return tokens[-1].type == "IS" or (tokens[-1].type == "NOT" and len(tokens) > 1 and tokens[-2].type == "IS")


def _type(token: Token) -> Token:
    word = token.lower()
    if token.type == "IDENT" and word == "not":
        return Token.new_borrow_pos("NOT", token, token)
    if token.type == "IDENT" and (word in TYPES or word in OTHER_TYPES):
        return Token.new_borrow_pos("TYPE", word, token)
    if token.type == "IDENT" and word in KEYWORDS:
        return Token.new_borrow_pos(word.upper(), token, token)
    return token


def _continues_type(tokens: Sequence[Token], token: Token) -> bool:
    """DOUBLE PRECISION and CHARACTER VARYING are one type of two words."""
    return bool(tokens) and tokens[-1].type == "TYPE" and (tokens[-1], token.lower()) in (("double", "precision"), ("character", "varying"))


# --- faults --------------------------------------------------------------------------------------------------------------------------------


def _syntax_error(tokens: Sequence[Token], index: int, accepts: set[str]) -> ItemError:
    """What the service says of a statement that cannot go on with token `index`, where one of `accepts` could."""
    kind = _END if index >= len(tokens) or tokens[index].type == "SEMICOLON" else tokens[index].type
    before = tokens[index - 1].type if index else ""
    first = tokens[0].type if tokens else ""
    if kind != _END and (_END in accepts or (first == "INSERT" and "VALUE" in accepts)):
        follows = tokens[index + 1].type if index + 1 < len(tokens) else ""
        if kind == "STAR" and follows == "FROM":
            # what looks like a product with a statement that begins with FROM, and that must change something
            return malformed("Expected data manipulation")
        return malformed("Unexpected token after expression")
    if before == "IS" or (before == "NOT" and index > 1 and tokens[index - 2].type == "IS"):
        return malformed("Expected type name")
    if _at_target(tokens, index):
        return malformed("Expected identifier for simple path")
    if before == "DOT":
        return malformed("Invalid path dot component")
    if first == "FROM" and "SET" in accepts:
        return malformed("Expected data manipulation")
    if kind == _END and before in OPERATORS | {"EQUALS"} and before != "STAR":
        return malformed("Missing right-hand side expression of infix operator")
    if kind in OPERATORS or kind == "EQUALS":
        return malformed("Unexpected operator")
    if kind == "RESERVED" or kind.lower() in KEYWORDS:
        return malformed("Unexpected keyword")
    return malformed("Unexpected term")


def _at_target(tokens: Sequence[Token], index: int) -> bool:
    """Where the table of a write should stand."""
    kinds = [token.type for token in tokens[:index]]
    return kinds in (["DELETE", "FROM"], ["UPDATE"], ["INSERT", "INTO"])
