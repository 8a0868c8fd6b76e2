"""Whether a request may do what it asks of a table, by the table's policy and by whose key signed it (ADR 0079). Without `--auth` nobody is known, and everybody may.

A key of role `data` or `admin` may do everything that no policy denies it, one of role `policy` what some policy allows it, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from scrubjay.storage.api import errors
from scrubjay.storage.api.policy.document import statements_of
from scrubjay.storage.api.policy.rules import (
    ATTRIBUTES,
    FULL_TABLE_SCAN,
    LEADING_KEYS,
    UNKNOWN,
    Judgement,
    PolicyRequest,
    Values,
    judgement,
)
from scrubjay.storage.api.sigv4 import ROLE_ADMIN, ROLE_POLICY
from scrubjay.storage.catalogue import ResourcePolicy, TableMeta
from scrubjay.storage.items.expressions.condition import Condition
from scrubjay.storage.items.expressions.projection import Projection
from scrubjay.storage.items.expressions.update import Update
from scrubjay.storage.items.values import Item
from scrubjay.storage.items.wire import item_to_json

GUARDED = frozenset(
    (
        "BatchExecuteStatement",
        "BatchGetItem",
        "BatchWriteItem",
        "DeleteItem",
        "DeleteResourcePolicy",
        "DeleteTable",
        "DescribeContinuousBackups",
        "DescribeContributorInsights",
        "DescribeKinesisStreamingDestination",
        "DescribeStream",
        "DescribeTable",
        "DescribeTableReplicaAutoScaling",
        "DescribeTimeToLive",
        "DisableKinesisStreamingDestination",
        "EnableKinesisStreamingDestination",
        "ExecuteStatement",
        "ExecuteTransaction",
        "GetItem",
        "GetRecords",
        "GetResourcePolicy",
        "GetShardIterator",
        "ListTagsOfResource",
        "PutItem",
        "PutResourcePolicy",
        "Query",
        "Scan",
        "TagResource",
        "TransactGetItems",
        "TransactWriteItems",
        "UntagResource",
        "UpdateContinuousBackups",
        "UpdateContributorInsights",
        "UpdateItem",
        "UpdateKinesisStreamingDestination",
        "UpdateTable",
        "UpdateTableReplicaAutoScaling",
        "UpdateTimeToLive",
    )
)
"""Operations that do nothing without `check`, and so may be asked for by a key that may only do what policies allow."""
_PARAMETERS = ("Select", "ReturnConsumedCapacity")
_RETURN_VALUES = "dynamodb:returnvalues"
_SHOWING = frozenset(("BatchGetItem", "GetItem", "PartiQLSelect", "Query", "Scan"))
"""Actions that answer with items, or with the part of them that is asked for."""


class NamedItems(NamedTuple):
    """What an action names of a table and its items.

    items: each with its key at least, in so far as the request names it; none: it names no partition key; None: it is not known which. A statement's are found once the table is: it is a function then.
    named: the expressions it has. index_name: of the index that it reads, None: the table. within: the operation that it is a part of, "": of none.
    returns: what it shows of an item that it writes, beside what the request's own parameters say, in words of ReturnValues.
    """

    items: Sequence[Item] | Callable[[TableMeta], Sequence[Item] | None] | None
    named: Sequence[Condition | Projection | Update | None] = ()
    index_name: str | None = None
    within: str = ""
    returns: tuple[str, ...] = ()


class Caller(Protocol):
    """What of a call is looked at (`storage.api.call.Call`). role: None: nobody is known by a key."""

    @property
    def role(self) -> str | None: ...
    @property
    def key_id(self) -> str: ...
    @property
    def input(self) -> Mapping[str, Any]: ...
    @property
    def account(self) -> str: ...


def principal_of(call: Caller) -> str:
    """The ARN by which policies name an access key."""
    return f"arn:aws:iam::{call.account}:user/{call.key_id}"


def denied(call: Caller, action: str, resource: str, *, by_policy: bool) -> errors.ApiError:
    """by_policy: a Deny applies; else no Allow does."""
    why = (
        "with an explicit deny in a resource-based policy"
        if by_policy
        else f"because no resource-based policy allows the dynamodb:{action} action"
    )
    return errors.access_denied(f"User: {principal_of(call)} is not authorized to perform: dynamodb:{action} on resource: {resource} {why}")


def check_unnamed(call: Caller, operation: str) -> None:
    """Before an operation whose table no policy is asked about. Raises AccessDeniedException."""
    if call.role == ROLE_POLICY and operation not in GUARDED:
        raise denied(call, operation, "*", by_policy=False)


def check_absent(call: Caller, action: str, resource: str) -> None:
    """Of a table that is not there: who may only do what policies allow hears nothing of that. Raises AccessDeniedException."""
    if call.role == ROLE_POLICY:
        raise denied(call, action, resource, by_policy=False)


def check(
    call: Caller, table: TableMeta, action: str, resource: str, *, stream: str = "", context: Mapping[str, Values] | None = None
) -> None:
    """Raises AccessDeniedException. resource: ARN of the table, of an index of it, or of its stream of that label. context: condition keys beside those that any request has."""
    if _asks_nothing(call, table, stream):
        return
    policy = table.policy(stream)
    if action == "DeleteResourcePolicy" and call.role == ROLE_ADMIN:
        # as the root of an account: there is always somebody who can open what a policy has shut
        return
    found = judged(call, policy, action, resource, context or {})
    if found is Judgement.DENIED or (found is Judgement.SILENT and call.role == ROLE_POLICY):
        raise denied(call, action, resource, by_policy=found is Judgement.DENIED)


def _asks_nothing(call: Caller, table: TableMeta, stream: str = "") -> bool:
    """Nobody is known, or there is no policy and whoever calls needs none."""
    if call.role is None:
        return True
    policy = table.policy(stream)
    return (policy is None or not policy.text) and call.role != ROLE_POLICY


def judged(call: Caller, policy: ResourcePolicy | None, action: str, resource: str, context: Mapping[str, Values]) -> Judgement:
    """What a policy says of whoever calls."""
    if policy is None or not policy.text:
        return Judgement.SILENT
    principal = principal_of(call)
    known: dict[str, Values] = {
        "aws:principalarn": (principal,),
        "aws:principalaccount": (call.account,),
        "aws:username": (call.key_id,),
        **context,
    }
    for name in _PARAMETERS:
        if isinstance(value := call.input.get(name), str):
            known[f"dynamodb:{name.lower()}"] = (value,)
    returns = [*(known.get(_RETURN_VALUES) or ()), *([call.input["ReturnValues"]] if "ReturnValues" in call.input else [])]
    if call.input.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD":
        # who may not see the item that was there may not see it by demanding what it is not, either
        returns.append("ALL_OLD")
    if returns:
        known[_RETURN_VALUES] = tuple(dict.fromkeys(returns))
    return judgement(statements_of(policy.text), PolicyRequest(principal, f"dynamodb:{action}", resource, known))


def check_items(call: Caller, table: TableMeta, action: str, arn: str, touched: NamedItems) -> None:
    """As `check`, of an action on items. arn: of the table."""
    if _asks_nothing(call, table):
        return
    resource = arn if touched.index_name is None else f"{arn}/index/{touched.index_name}"
    check(call, table, action, resource, context=item_context(table, action, touched))


def item_context(table: TableMeta, action: str, touched: NamedItems) -> dict[str, Values]:
    """The condition keys that tell of items.

    `Attributes` are those that the request names, whatever for, and the key's of the table and of the index that is read: no item is reached without them. A read that names none of what it wants shows all
    of it, which `Select` tells of.
    """
    context: dict[str, Values] = {"dynamodb:enclosingoperation": (touched.within,)} if touched.within else {}
    items = touched.items(table) if callable(touched.items) else touched.items
    attributes = [name for item in items or () for name in item]
    for one in touched.named:
        if one is not None:
            attributes += [str(path[0]) for path in (*one.paths, *(one.reads if isinstance(one, Update) else ()))]
    context[ATTRIBUTES.lower()] = tuple(dict.fromkeys([*attributes, *_key_attributes(table, touched.index_name)]))
    if items is None:
        context[LEADING_KEYS.lower()] = UNKNOWN
    elif items:
        name = _leading_attribute(table, touched.index_name)
        context[LEADING_KEYS.lower()] = tuple([_text(item, name) for item in items]) if all(name in item for item in items) else UNKNOWN
    if action in _SHOWING:
        specific = any(isinstance(one, Projection) for one in touched.named)
        everything = "ALL_ATTRIBUTES" if touched.index_name is None else "ALL_PROJECTED_ATTRIBUTES"
        context["dynamodb:select"] = ("SPECIFIC_ATTRIBUTES" if specific else everything,)
    if action == "PartiQLSelect":
        context[FULL_TABLE_SCAN.lower()] = ("true" if items is None else "false",)
    if touched.returns:
        context[_RETURN_VALUES] = touched.returns
    return context


def _key_attributes(table: TableMeta, index: str | None) -> list[str]:
    keys = [table.key.partition.name, *([] if table.key.sort is None else [table.key.sort.name])]
    keys += [local.sort.name for local in table.local_indexes or () if local.name == index]
    keys += [attribute.name for one in table.global_indexes or () if one.name == index for attribute in (*one.hash, *one.sort)]
    return keys


def _leading_attribute(table: TableMeta, index: str | None) -> str:
    for one in table.global_indexes or ():
        if one.name == index:
            return one.hash[0].name
    return table.key.partition.name


def _text(item: Item, name: str) -> str:
    """A key's value as it is written on the wire: one text for one value."""
    (value,) = item_to_json({name: item[name]})[name].values()
    return str(value)
