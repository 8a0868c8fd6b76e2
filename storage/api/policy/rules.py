"""What a resource policy says of one request: it denies it, it allows it, or it says nothing of it. Pure; ADR 0079.

Actions are compared without regard to case, resources with it but without their region, which nobody looks at here. `*` is any text, `?` any sign.

What a request does not tell (`UNKNOWN`) counts against it: a Deny that asks for it applies, an Allow does not. So does a key of many values that is asked for without ForAllValues or ForAnyValue: of a
Deny one value is enough, of an Allow all have to fit.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

UNKNOWN = None
"""In place of a key's values: the request has some, and which ones is not known."""

Values = tuple[str, ...] | None
EVERYONE = "*"
ATTRIBUTES = "dynamodb:Attributes"
FULL_TABLE_SCAN = "dynamodb:FullTableScan"
LEADING_KEYS = "dynamodb:LeadingKeys"
CONDITION_KEYS = {
    name.lower(): name
    for name in (
        ATTRIBUTES,
        FULL_TABLE_SCAN,
        LEADING_KEYS,
        "dynamodb:EnclosingOperation",
        "dynamodb:ReturnConsumedCapacity",
        "dynamodb:ReturnValues",
        "dynamodb:Select",
        "aws:PrincipalAccount",
        "aws:PrincipalArn",
        "aws:username",
    )
}
"""Those that are known of a request, by their names in lower case."""
VARIABLES = ("aws:username", "aws:PrincipalArn", "aws:PrincipalAccount")
"""Of those that may stand as `${...}` in a value or a resource."""
_VARIABLE = re.compile(r"\$\{([^}]*)\}")


class Judgement(enum.Enum):
    DENIED = "denied"
    ALLOWED = "allowed"
    SILENT = "silent"


class Operator(NamedTuple):
    """A condition's. test: of a value of the request and one of the policy. negated: none of the policy's may fit. quantifier: "", ForAllValues or ForAnyValue. if_exists: a key that is absent fits."""

    test: str
    negated: bool = False
    quantifier: str = ""
    if_exists: bool = False


class Clause(NamedTuple):
    """One key of a Condition. All clauses of a statement have to hold. key: in lower case."""

    operator: Operator
    key: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PolicyStatement:
    """principals: ARNs, or EVERYONE. other_principals, other_actions, other_resources: it is about all but those (NotPrincipal, NotAction, NotResource)."""

    allows: bool
    principals: tuple[str, ...]
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: tuple[Clause, ...] = ()
    other_principals: bool = False
    other_actions: bool = False
    other_resources: bool = False


class PolicyRequest(NamedTuple):
    """A request as policies see it. principal: ARN of who asks. action: with its service. resource: ARN. context: what is known of condition keys, by their names in lower case; one that is not there is absent."""

    principal: str
    action: str
    resource: str
    context: Mapping[str, Values]


def judgement(statements: Sequence[PolicyStatement], asked: PolicyRequest) -> Judgement:
    """What a policy says: one Deny that applies outweighs every Allow."""
    found = Judgement.SILENT
    for statement in statements:
        if not _applies(statement, asked):
            continue
        if not statement.allows:
            return Judgement.DENIED
        found = Judgement.ALLOWED
    return found


def account_root(principal: str) -> str:
    """The ARN that stands for everybody of the account that an ARN is of."""
    return f"arn:aws:iam::{principal.split(':')[4]}:root"


def _applies(statement: PolicyStatement, asked: PolicyRequest) -> bool:
    named = EVERYONE in statement.principals or any(one in statement.principals for one in (asked.principal, account_root(asked.principal)))
    if named == statement.other_principals:
        return False
    acted = any(fits(one.lower(), asked.action.lower()) for one in statement.actions)
    if acted == statement.other_actions:
        return False
    resource = without_region(asked.resource)
    met = any(fits(without_region(one), resource, asked.context) for one in statement.resources)
    if met == statement.other_resources:
        return False
    return all(_holds(clause, asked.context, allows=statement.allows) for clause in statement.conditions)


def without_region(arn: str) -> str:
    """An ARN, or a pattern of some, for any region."""
    pieces = arn.split(":", 5)
    return arn if len(pieces) < 6 else ":".join([*pieces[:3], "", *pieces[4:]])


def variables_of(text: str) -> list[str]:
    """The names in its `${...}`."""
    return _VARIABLE.findall(text)


def filled(text: str, context: Mapping[str, Values]) -> str:
    """A value with what its variables stand for."""

    def value(match: re.Match[str]) -> str:
        known = context.get(match[1].lower())
        assert known is not None
        return known[0]

    return _VARIABLE.sub(value, text) if "${" in text else text


def fits(pattern: str, text: str, context: Mapping[str, Values] | None = None) -> bool:
    """Whether all of `text` is what `pattern` says. What its variables stand for is taken as it is: no sign of that stands for others. Costs no more than the length of both, whatever the pattern."""
    if pattern in (EVERYONE, text):
        return True
    values = tuple([filled(f"${{{name}}}", context or {}) for name in variables_of(pattern)])
    first, *rest = _pieces(pattern, values)
    found = first.match(text)
    if found is None or not rest:
        return found is not None and found.end() == len(text)
    at = found.end()
    for piece in rest[:-1]:
        found = piece.search(text, at)
        if found is None:
            return False
        at = found.end()
    # every piece is of fixed length, so the last has one place
    start = len(text) - _split(pattern, values)[-1][1]
    return start >= at and rest[-1].fullmatch(text, start) is not None


@lru_cache(maxsize=4096)
def _split(pattern: str, values: tuple[str, ...]) -> tuple[tuple[str, int], ...]:
    """The pieces between the `*` of a pattern, as regular expressions, with how many signs each is long."""
    pieces: list[tuple[str, int]] = [("", 0)]
    for at, part in enumerate(_VARIABLE.split(pattern)):
        if at % 2:
            value = values[at // 2]
            pieces[-1] = (pieces[-1][0] + re.escape(value), pieces[-1][1] + len(value))
            continue
        for sign in part:
            if sign == "*":
                pieces.append(("", 0))
            else:
                pieces[-1] = (pieces[-1][0] + ("." if sign == "?" else re.escape(sign)), pieces[-1][1] + 1)
    return tuple(pieces)


@lru_cache(maxsize=4096)
def _pieces(pattern: str, values: tuple[str, ...]) -> tuple[re.Pattern[str], ...]:
    return tuple([re.compile(text, re.DOTALL) for text, _ in _split(pattern, values)])


def _equal(value: str, wanted: str) -> bool:
    return value == wanted


def _equal_ignoring_case(value: str, wanted: str) -> bool:
    return value.casefold() == wanted.casefold()


TESTS: dict[str, Callable[[str, str], bool]] = {"equals": _equal, "equals_ignoring_case": _equal_ignoring_case}
"""Of those to which no sign stands for others."""
OPERATORS = {
    "StringEquals": Operator("equals"),
    "StringNotEquals": Operator("equals", negated=True),
    "StringEqualsIgnoreCase": Operator("equals_ignoring_case"),
    "StringNotEqualsIgnoreCase": Operator("equals_ignoring_case", negated=True),
    "StringLike": Operator("like"),
    "StringNotLike": Operator("like", negated=True),
    "ArnEquals": Operator("like"),
    "ArnNotEquals": Operator("like", negated=True),
    "ArnLike": Operator("like"),
    "ArnNotLike": Operator("like", negated=True),
    "Bool": Operator("equals_ignoring_case"),
    "Null": Operator("null"),
}


def _holds(clause: Clause, context: Mapping[str, Values], *, allows: bool) -> bool:
    operator, absent = clause.operator, clause.key not in context
    if operator.test == "null":
        return any((wanted.lower() == "true") == absent for wanted in clause.values)
    values = context.get(clause.key, ())
    if values is UNKNOWN:
        return not allows
    if absent and operator.if_exists:
        return True
    held = [any(_meets(operator, value, one, context) for one in clause.values) != operator.negated for value in values]
    if operator.quantifier == "ForAllValues":
        return all(held)
    if operator.quantifier == "ForAnyValue":
        return any(held)
    if not held:
        return operator.negated
    return all(held) if allows else any(held)


def _meets(operator: Operator, value: str, wanted: str, context: Mapping[str, Values]) -> bool:
    return fits(wanted, value, context) if operator.test == "like" else TESTS[operator.test](value, filled(wanted, context))
