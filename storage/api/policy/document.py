"""A resource policy as text: what is taken, the words in which the rest is refused, and the form in which it is kept. Pure.

Words, and the form, as the service gave them in October 2026, by recorded answers; what it takes and this store cannot hold to is refused by name. Positions of a syntax error are those of the text's end.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from scrubjay.storage.api import errors, limits
from scrubjay.storage.api.policy.rules import (
    CONDITION_KEYS,
    EVERYONE,
    OPERATORS,
    VARIABLES,
    Clause,
    Operator,
    PolicyStatement,
    fits,
    variables_of,
)

_WRONG = "One or more parameter values were invalid: "
_UNBOUNDED = "Resource-based policy grants unbounded access in one or more elements. Please revise the policy to ensure least-privilege form of access"
_VERSIONS = ("2008-10-17", "2012-10-17")
_OLD_VERSION = _VERSIONS[0]
_STATEMENT_MEMBERS = ("Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition")
_PRINCIPAL_KEYS = ("aws:principalarn", "aws:principalaccount", "aws:username")

STREAM_ACTIONS = (
    "DescribeStream",
    "GetRecords",
    "GetShardIterator",
    "GetResourcePolicy",
    "PutResourcePolicy",
    "DeleteResourcePolicy",
)
TABLE_ACTIONS = (
    "BatchGetItem",
    "BatchWriteItem",
    "ConditionCheckItem",
    "CreateBackup",
    "DeleteItem",
    "DeleteResourcePolicy",
    "DeleteTable",
    "DescribeContinuousBackups",
    "DescribeContributorInsights",
    "DescribeKinesisStreamingDestination",
    "DescribeTable",
    "DescribeTableReplicaAutoScaling",
    "DescribeTimeToLive",
    "DisableKinesisStreamingDestination",
    "EnableKinesisStreamingDestination",
    "ExportTableToPointInTime",
    "GetItem",
    "GetResourcePolicy",
    "ListTagsOfResource",
    "PartiQLDelete",
    "PartiQLInsert",
    "PartiQLSelect",
    "PartiQLUpdate",
    "PutItem",
    "PutResourcePolicy",
    "Query",
    "RestoreTableToPointInTime",
    "Scan",
    "TagResource",
    "UntagResource",
    "UpdateContinuousBackups",
    "UpdateContributorInsights",
    "UpdateItem",
    "UpdateKinesisStreamingDestination",
    "UpdateTable",
    "UpdateTableReplicaAutoScaling",
    "UpdateTimeToLive",
)


class PolicyText(NamedTuple):
    """A policy that was taken. text: the form in which it is shown and kept. versioned: it said its Version, which one that did not shows too."""

    text: str
    versioned: bool

    def is_same(self, text: str, *, versioned: bool) -> bool:
        """Whether it is the policy that is kept: to attach it again changes nothing."""
        return self.versioned == versioned and json.loads(self.text) == json.loads(text)


class PolicyOwner(NamedTuple):
    """What a policy is to be attached to. account: of the store. users: names of its access keys, None: they are not known. stream: it is a table's stream."""

    account: str
    users: frozenset[str] | None
    stream: bool = False


def wrong(message: str) -> errors.ApiError:
    return errors.validation(f"{_WRONG}Invalid policy document: {message}")


def read_policy(text: str, owner: PolicyOwner) -> PolicyText:
    """The policy of a request. Raises ValidationException."""
    if len(text.encode("utf-8", "surrogatepass")) > limits.POLICY_BYTES_MAX:
        raise errors.validation(f"{_WRONG}Maximum policy size of {limits.POLICY_BYTES_MAX} bytes exceeded")
    try:
        document = json.loads(text)
        text.encode()
    except (ValueError, RecursionError):
        raise wrong("This policy contains invalid Json") from None
    if document is None:
        raise wrong("This text appears not to be a policy")
    if not isinstance(document, dict):
        raise wrong("This policy contains invalid Json")
    shown = _Reader(text, owner).document(document)
    return PolicyText(json.dumps(shown, separators=(",", ":"), ensure_ascii=False), "Version" in document)


@lru_cache(maxsize=256)
def statements_of(text: str) -> tuple[PolicyStatement, ...]:
    """The statements of a policy that was taken, by the text in which it is kept."""
    return tuple([_statement(one) for one in json.loads(text)["Statement"]])


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _short(values: list[Any]) -> Any:
    """A list of one is shown as the one."""
    return values[0] if len(values) == 1 else values


class _Reader:
    """Reads one document into the form in which it is shown. Raises ValidationException."""

    def __init__(self, text: str, owner: PolicyOwner) -> None:
        self._text, self._owner = text, owner
        self._names = STREAM_ACTIONS if owner.stream else TABLE_ACTIONS

    def _syntax(self) -> errors.ApiError:
        lines = self._text.split("\n")
        return wrong(f"Syntax error at position ({len(lines)},{len(lines[-1]) + 1})")

    def document(self, raw: dict[str, Any]) -> dict[str, Any]:
        if "Statement" not in raw or set(raw) - {"Version", "Id", "Statement"}:
            raise self._syntax()
        if raw.get("Version", _OLD_VERSION) not in _VERSIONS or not isinstance(raw.get("Id", ""), str):
            raise self._syntax()
        given = _list(raw["Statement"])
        if not given:
            raise wrong("Could not parse the policy: Statement is empty!")
        statements = [self._statement(one, variables=raw.get("Version") == _VERSIONS[1]) for one in given]
        sids = [one["Sid"] for one in statements if one.get("Sid")]
        if len(set(sids)) != len(sids):
            raise wrong("The Statement Ids in the policy are not unique")
        shown = {"Version": raw.get("Version", _OLD_VERSION)}
        if "Id" in raw:
            shown["Id"] = raw["Id"]
        return {**shown, "Statement": statements}

    def _statement(self, raw: Any, *, variables: bool) -> dict[str, Any]:
        if not isinstance(raw, dict) or set(raw) - set(_STATEMENT_MEMBERS) or not isinstance(raw.get("Sid", ""), str):
            raise self._syntax()
        for name in ("Effect", "Principal", "Action", "Resource"):
            given = [one for one in (name, f"Not{name}") if one in raw]
            if not given:
                raise wrong(f"Missing required field {name}")
            if len(given) > 1:
                raise self._syntax()
        effect = raw["Effect"].capitalize() if isinstance(raw["Effect"], str) else ""
        if effect not in ("Allow", "Deny"):
            raise self._syntax()
        shown = {"Sid": raw["Sid"]} if "Sid" in raw else {}
        shown["Effect"] = effect
        for name, read in (("Principal", self._principal), ("Action", self._actions), ("Resource", self._resources)):
            member = name if name in raw else f"Not{name}"
            shown[member] = read(raw[member])
        condition = self._condition(raw["Condition"], variables=variables) if "Condition" in raw else {}
        if condition:
            shown["Condition"] = condition
        for resource in _list(shown.get("Resource", shown.get("NotResource"))):
            self._check_variables(resource, variables=variables)
        if effect == "Allow" and ("NotPrincipal" in shown or _is_everyone(shown["Principal"])) and not _narrowed(condition):
            raise errors.validation(_UNBOUNDED)
        return shown

    # -- who, what, of what -----------------------------------------------------------------------------------------------------------

    def _principal(self, raw: Any) -> Any:
        if raw == EVERYONE:
            return EVERYONE
        if not isinstance(raw, dict) or not raw:
            raise self._syntax()
        shown: dict[str, Any] = {}
        for kind, given in raw.items():
            names = _list(given)
            if not names or not all(isinstance(one, str) for one in names):
                raise self._syntax()
            if kind == "AWS":
                names = [self._account_principal(one) for one in names]
            elif kind != "Service" or not all(one.endswith(".amazonaws.com") for one in names):
                raise _no_such_principal()
            shown[kind] = _short(list(dict.fromkeys(names)))
        return shown

    def _account_principal(self, name: str) -> str:
        """The ARN that a principal is kept by. Raises ValidationException: there is none of that name here."""
        account = self._owner.account
        if name == EVERYONE:
            return name
        if name == account:
            return f"arn:aws:iam::{account}:root"
        pieces = name.split(":", 5)
        if len(pieces) != 6 or pieces[:2] != ["arn", "aws"] or pieces[2] not in ("iam", "sts") or pieces[4] != account:
            raise _no_such_principal()
        kind, _, user = pieces[5].partition("/")
        if pieces[5] == "root" or (kind == "user" and user and (self._owner.users is None or user in self._owner.users)):
            return name
        if self._owner.users is None and kind in ("role", "assumed-role") and user:
            # nobody is known by name: who it was meant for may be configured later
            return name
        raise _no_such_principal()

    def _actions(self, raw: Any) -> Any:
        names = _list(raw)
        if not names or not all(isinstance(one, str) for one in names):
            raise self._syntax()
        known = [f"dynamodb:{one}".lower() for one in self._names]
        unknown = [one for one in names if not any(fits(one.lower(), action) for action in known)]
        if unknown:
            raise wrong("The following action names are invalid: " + ", ".join([f'"{one}"' for one in unknown]))
        return _short(names)

    def _resources(self, raw: Any) -> Any:
        names = _list(raw)
        if not names or not all(isinstance(one, str) for one in names):
            raise self._syntax()
        for name in names:
            if name == EVERYONE:
                continue
            pieces = name.split(":", 5)
            if len(pieces) != 6 or pieces[0] != "arn":
                raise wrong(f'Resource {name} must be in ARN format or "*".')
            relative = pieces[5]
            if (
                not fits(pieces[2], "dynamodb")
                or (relative != EVERYONE and not relative.startswith("table/"))
                or self._is_of_other(relative)
            ):
                raise wrong(f'The relative-id "{relative}" is invalid for ARN "{name}"')
        return _short(names)

    def _is_of_other(self, relative: str) -> bool:
        """A stream's policy speaks of streams, a table's of all but them."""
        streams = "/stream/" in relative
        return ("/index/" in relative) if self._owner.stream else streams

    # -- conditions --------------------------------------------------------------------------------------------------------------------

    def _condition(self, raw: Any, *, variables: bool) -> dict[str, Any]:
        if not isinstance(raw, dict):
            raise self._syntax()
        shown: dict[str, Any] = {}
        for name, block in raw.items():
            if operator_of(name) is None:
                raise wrong(f"The condition operator {name} is not supported")
            if not isinstance(block, dict) or not block:
                raise self._syntax()
            shown[name] = {key: self._condition_values(key, given, variables=variables) for key, given in block.items()}
        return shown

    def _condition_values(self, key: str, raw: Any, *, variables: bool) -> Any:
        if key.lower() not in CONDITION_KEYS:
            raise wrong(f"The condition key {key} is not supported")
        values = [("true" if one else "false") if isinstance(one, bool) else one for one in _list(raw)]
        if not values or not all(isinstance(one, str) for one in values):
            raise self._syntax()
        for one in values:
            self._check_variables(one, variables=variables)
        return _short(values)

    def _check_variables(self, text: str, *, variables: bool) -> None:
        if variables:
            known = {one.lower() for one in VARIABLES}
            for name in variables_of(text):
                if name.lower() not in known:
                    raise wrong(f"The policy variable ${{{name}}} is not supported")
        elif variables_of(text):
            raise wrong(f"Policy variables need the Version {_VERSIONS[1]}")


def _no_such_principal() -> errors.ApiError:
    return errors.validation(f"{_WRONG}Invalid principal in policy document.")


def _is_everyone(principal: Any) -> bool:
    return principal == EVERYONE or EVERYONE in _list(principal.get("AWS", []))


def _narrowed(condition: Mapping[str, Mapping[str, Any]]) -> bool:
    """Some clause says who may: a positive one, of the principal, with names in it."""
    for name, block in condition.items():
        operator = operator_of(name)
        assert operator is not None
        if operator.negated or operator.if_exists or operator.quantifier == "ForAllValues" or operator.test == "null":
            continue
        for key, values in block.items():
            if key.lower() in _PRINCIPAL_KEYS and not any(one.strip("*?") == "" for one in _list(values)):
                return True
    return False


def operator_of(name: str) -> Operator | None:
    """A condition's operator by its name, None: it is none that is known."""
    quantifier, _, rest = name.rpartition(":")
    if_exists = rest.endswith("IfExists") and rest != "Null"
    found = OPERATORS.get(rest.removesuffix("IfExists") if if_exists else rest)
    if found is None or quantifier not in ("", "ForAllValues", "ForAnyValue") or (found.test == "null" and (quantifier or if_exists)):
        return None
    return found._replace(quantifier=quantifier, if_exists=if_exists)


def _statement(shown: Mapping[str, Any]) -> PolicyStatement:
    """A statement out of the form in which it is kept."""

    def member(name: str) -> tuple[Any, bool]:
        other = f"Not{name}" in shown
        return shown[f"Not{name}" if other else name], other

    principal, other_principals = member("Principal")
    actions, other_actions = member("Action")
    resources, other_resources = member("Resource")
    clauses = []
    for name, block in shown.get("Condition", {}).items():
        operator = operator_of(name)
        assert operator is not None
        clauses += [Clause(operator, key.lower(), tuple(_list(values))) for key, values in block.items()]
    return PolicyStatement(
        shown["Effect"] == "Allow",
        (EVERYONE,) if principal == EVERYONE else tuple([one for names in principal.values() for one in _list(names)]),
        tuple(_list(actions)),
        tuple(_list(resources)),
        tuple(clauses),
        other_principals,
        other_actions,
        other_resources,
    )
