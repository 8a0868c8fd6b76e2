"""Tags: what may be one, and the three operations on them."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

from scrubjay.base.errors import Conflict, Missing
from scrubjay.storage.api import errors, limits
from scrubjay.storage.api.call import Body, Call
from scrubjay.storage.api.operations.operation import Operation, check_constraints, read_input
from scrubjay.storage.api.operations.table_shapes import TAGS
from scrubjay.storage.api.shapes import STRING, TABLE_NAME, ListOf, Struct
from scrubjay.storage.catalogue import TableMeta

_SIGNS = frozenset("_.:/=+-@")
_INVALID = "One or more parameter values were invalid: "
_TOO_MANY = "Number of Tags exceed the current limit for the provided ResourceArn"


def _allowed(text: str) -> bool:
    """Letters, spaces and numbers of any script, and a few signs."""
    return all(sign in _SIGNS or unicodedata.category(sign)[0] in "LZN" for sign in text)


def _check_key(key: str | None) -> str:
    if key is None or not 1 <= len(key) <= limits.TAG_KEY_CHARS_MAX or not _allowed(key):
        raise errors.validation(f"The Tag Key provided is invalid, Key: {'null' if key is None else key}")
    if key.lower().startswith("aws:"):
        raise errors.validation(f"Tag Key cannot be prefixed with aws:, Key: {key}")
    return key


def check_tags(tags: Sequence[Body]) -> dict[str, str]:
    """Tags by key. Raises ValidationException: a key or value of bad length or characters, a reserved or repeated key, too many."""
    result: dict[str, str] = {}
    for tag in tags:
        key, value = _check_key(tag.get("Key")), tag.get("Value")
        if value is None or len(value) > limits.TAG_VALUE_CHARS_MAX or not _allowed(value):
            raise errors.validation(f"The Tag Value provided is invalid, Value: {'null' if value is None else value}")
        if key in result:
            raise errors.validation(f"Duplicate Tag Keys provided as input: Duplicate Tag Key found {key}")
        result[key] = value
    if len(result) > limits.TAGS_PER_TABLE_MAX:
        raise errors.validation(_TOO_MANY)
    return result


_TAG = Struct("TagResourceInput", {"ResourceArn": STRING, "Tags": TAGS}, required=("Tags",))
_UNTAG = Struct("UntagResourceInput", {"ResourceArn": STRING, "TagKeys": ListOf(STRING)}, required=("TagKeys",))
_LIST_TAGS = Struct("ListTagsOfResourceInput", {"ResourceArn": STRING, "NextToken": STRING})


def _name_of_arn(call: Call, data: Body) -> str:
    """The table a ResourceArn names. Raises as AWS: no ARN, no permission on what is not one of this account, a constraint, a bad ARN."""
    arn = data.get("ResourceArn")
    if arn is None:
        raise errors.validation("Invalid TableArn")
    api = call.api
    check_constraints(call)
    if not arn.startswith("arn:"):
        raise errors.validation(f"{_INVALID}ARNs must start with 'arn:': {arn}")
    pieces = arn.split(":", 5)
    if len(pieces) == 6 and pieces[2] != "dynamodb":
        raise errors.validation(f"{_INVALID}Provided Arn is not a DynamoDB resource arn: {arn}")
    if len(pieces) < 6 or "/" not in pieces[5] or pieces[4] != api.account:
        user = f"arn:aws:iam::{api.account}:root"
        raise errors.access_denied(f"User: {user} is not authorized to perform: dynamodb:{call.operation} on resource: {arn or '*'}")
    kind, _, name = pieces[5].partition("/")
    if kind == "table" and "/index/" in name:
        raise errors.validation(f"{_INVALID}Invalid resource arn provided, only table or stream is accepted. Provided resource arn: {arn}")
    if kind == "table" and "/backup/" in name:
        raise errors.validation(f"{_INVALID}Provided Arn is not a DynamoDB resource arn: {arn}")
    if kind != "table" or not TABLE_NAME.fits(name):
        raise errors.validation(f"Invalid TableArn: Invalid ResourceArn provided as input {arn}")
    return str(name)


def _table(call: Call, data: Body, name: str) -> TableMeta:
    meta = call.api.backend.table(name)
    if meta is None:
        call.check_sure()
        call.check_absent(name)
    else:
        call.check_policy(meta)
    if meta is None or (meta.restore_of is not None and meta.restore_of.in_progress):
        raise errors.resource_not_found(f"Requested resource not found: ResourcArn: {data['ResourceArn']} not found")
    return meta


async def tag_resource(call: Call) -> None:
    data = read_input(call)
    name = _name_of_arn(call, data)
    if not data["Tags"]:
        raise errors.validation("Atleast one Tag needs to be provided as Input.")
    if None in data["Tags"]:
        check_constraints(call)
    asked = check_tags(data["Tags"])
    meta = _table(call, data, name)
    tags = {**dict(meta.tags), **asked}
    if len(tags) > limits.TAGS_PER_TABLE_MAX:
        raise errors.validation(_TOO_MANY)
    await _set_tags(call, meta, tags)


async def untag_resource(call: Call) -> None:
    data = read_input(call)
    name = _name_of_arn(call, data)
    keys = data["TagKeys"]
    if not keys:
        raise errors.validation("Atleast one Tag Key needs to be provided as Input.")
    for key in keys:
        _check_key(key)
    if len(keys) > limits.TAGS_PER_TABLE_MAX:
        raise errors.validation(_TOO_MANY)
    meta = _table(call, data, name)
    await _set_tags(call, meta, {key: value for key, value in meta.tags if key not in keys})


async def _set_tags(call: Call, meta: TableMeta, tags: dict[str, str]) -> None:
    if meta.status in ("CREATING", "DELETING"):
        raise errors.table_busy(meta.name, meta.status)
    try:
        await call.api.backend.update_table(meta.name, {"tags": tuple(sorted(tags.items()))})
    except Missing:
        raise errors.table_not_found(meta.name) from None
    except Conflict:
        raise errors.table_busy(meta.name, "UPDATING") from None
    call.send(200, b"", ())
    call.answered = True


def list_tags_of_resource(call: Call) -> None:
    data = read_input(call)
    meta = _table(call, data, _name_of_arn(call, data))
    call.reply({"Tags": [{"Key": key, "Value": value} for key, value in meta.tags]})


OPERATIONS: dict[str, Any] = {
    "TagResource": Operation(_TAG, tag_resource),
    "UntagResource": Operation(_UNTAG, untag_resource),
    "ListTagsOfResource": Operation(_LIST_TAGS, list_tags_of_resource),
}
