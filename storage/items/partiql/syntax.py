"""What a statement is once it is parsed: plain values, shared by all requests with the same text. Parameters are still their numbers.

`at` is where the service's messages point: line, column and length of a token, counted from 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple


class At(NamedTuple):
    line: int
    column: int
    length: int

    def __str__(self) -> str:
        return f"{self.line}:{self.column}:{self.length}"


# --- expressions ---------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PathSyntax:
    """steps: a name, then names and list indexes (as digits: they may be too large)."""

    steps: tuple[str | int, ...]
    at: At


@dataclass(frozen=True, slots=True)
class ParameterSyntax:
    """number: from 0, in the order of the text."""

    number: int
    at: At


@dataclass(frozen=True, slots=True)
class NumberSyntax:
    """text: as written, with its sign."""

    text: str
    at: At


@dataclass(frozen=True, slots=True)
class ConstantSyntax:
    """value: str, bool, or None for NULL."""

    value: str | bool | None
    at: At


@dataclass(frozen=True, slots=True)
class MissingSyntax:
    at: At


@dataclass(frozen=True, slots=True)
class SequenceSyntax:
    """[...], <<...>>, or (...) of several. kind: "list", "bag" or "tuple"."""

    kind: str
    elements: tuple[Any, ...]
    at: At
    depth: int


@dataclass(frozen=True, slots=True)
class StructSyntax:
    members: tuple[tuple[str, Any], ...]
    at: At
    depth: int


@dataclass(frozen=True, slots=True)
class CallSyntax:
    """name: in lower case."""

    name: str
    arguments: tuple[Any, ...]
    at: At
    depth: int


@dataclass(frozen=True, slots=True)
class InfixSyntax:
    """A comparison, sum, difference or LIKE. operator: = <> < <= > >= + - LIKE."""

    operator: str
    left: Any
    right: Any
    at: At
    depth: int


@dataclass(frozen=True, slots=True)
class BetweenSyntax:
    operand: Any
    low: Any
    high: Any
    at: At
    depth: int


@dataclass(frozen=True, slots=True)
class InSyntax:
    operand: Any
    candidates: Any
    at: At
    depth: int


@dataclass(frozen=True, slots=True)
class IsSyntax:
    """type: lower case, as written."""

    operand: Any
    type: str
    at: At
    depth: int


@dataclass(frozen=True, slots=True)
class NotSyntax:
    operand: Any
    at: At
    depth: int


@dataclass(frozen=True, slots=True)
class JunctionSyntax:
    """operator: AND or OR."""

    operator: str
    operands: tuple[Any, ...]
    at: At
    depth: int


# --- statements ----------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SourceSyntax:
    """What a statement reads or writes. path: table, then perhaps index. alias: a second name was given."""

    path: PathSyntax
    alias: bool = False


@dataclass(frozen=True, slots=True)
class Column:
    """One projected expression; None: everything. alias: it was to be called otherwise."""

    expression: Any
    alias: bool = False


@dataclass(frozen=True, slots=True)
class OrderSyntax:
    expression: Any
    descending: bool


@dataclass(frozen=True, slots=True)
class SelectSyntax:
    """unsupported: a clause that SQL has and DynamoDB has not, with where its operand is."""

    columns: tuple[Column, ...]
    source: SourceSyntax
    where: Any = None
    order: tuple[OrderSyntax, ...] = ()
    unsupported: tuple[str, At] | None = None


@dataclass(frozen=True, slots=True)
class Returning:
    """all: the whole item, else what was modified. new: as it is afterwards."""

    all: bool
    new: bool

    @property
    def text(self) -> str:
        return f"{'ALL' if self.all else 'MODIFIED'} {'NEW' if self.new else 'OLD'} *"


@dataclass(frozen=True, slots=True)
class InsertSyntax:
    target: SourceSyntax
    value: Any
    returning: Returning | None = None


@dataclass(frozen=True, slots=True)
class Assign:
    """SET target = value; value None: REMOVE target."""

    target: PathSyntax
    value: Any


@dataclass(frozen=True, slots=True)
class UpdateSyntax:
    target: SourceSyntax
    actions: tuple[Assign, ...]
    where: Any = None
    returning: Returning | None = None


@dataclass(frozen=True, slots=True)
class DeleteSyntax:
    target: SourceSyntax
    where: Any = None
    returning: Returning | None = None


@dataclass(frozen=True, slots=True)
class ExistsSyntax:
    """EXISTS(SELECT ...) as a statement: a condition of a transaction."""

    select: SelectSyntax


@dataclass(frozen=True, slots=True)
class BareSyntax:
    """An expression alone: it parses, and is refused."""

    expression: Any


Statement = SelectSyntax | InsertSyntax | UpdateSyntax | DeleteSyntax | ExistsSyntax | BareSyntax


@dataclass(frozen=True, slots=True)
class Parsed:
    """parameters: how many the statement has."""

    statement: Statement
    parameters: int
