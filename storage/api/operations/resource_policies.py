"""PutResourcePolicy, GetResourcePolicy and DeleteResourcePolicy, of tables and of streams. What they set counts from the next request on (`storage.api.guard`).

Texts as the service gave them in October 2026, by recorded answers. It shows a policy some seconds late, applies it later still, and lets none be changed twice within 15 seconds; here it holds at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from scrubjay.base.errors import Conflict, Missing
from scrubjay.storage.api import errors, guard, limits
from scrubjay.storage.api.call import Body, Call
from scrubjay.storage.api.operations.operation import Operation, check_constraints, read_input
from scrubjay.storage.api.operations.tables import find_table, later, new_policy
from scrubjay.storage.api.policy.document import PolicyText
from scrubjay.storage.api.policy.rules import Judgement
from scrubjay.storage.api.shapes import BOOLEAN, STRING, TABLE_NAME, Str, Struct
from scrubjay.storage.catalogue import ResourcePolicy, TableMeta

_INVALID = "One or more parameter values were invalid: "
_NO_POLICY = "Resource-based policy not found for the provided ResourceArn: "
_NONE_WANTED = "NO_POLICY"
"""As an ExpectedRevisionId: there is to be none yet."""
_REVISION = Str(min_chars=1, max_chars=limits.POLICY_REVISION_CHARS_MAX)
_RESOURCE_ARN = Str(min_chars=1, max_chars=limits.POLICY_ARN_CHARS_MAX)
_GET = Struct("GetResourcePolicyInput", {"ResourceArn": _RESOURCE_ARN}, required=("ResourceArn",))
_PUT = Struct(
    "PutResourcePolicyInput",
    {"ResourceArn": _RESOURCE_ARN, "Policy": STRING, "ExpectedRevisionId": _REVISION, "ConfirmRemoveSelfResourceAccess": BOOLEAN},
    required=("ResourceArn", "Policy"),
)
_DELETE = Struct("DeleteResourcePolicyInput", {"ResourceArn": _RESOURCE_ARN, "ExpectedRevisionId": _REVISION}, required=("ResourceArn",))


class _Place(NamedTuple):
    """Where a policy is attached. table: its name. stream: label, "": it is the table's."""

    table: str
    stream: str


def _place_of(call: Call, arn: str) -> _Place:
    """What a ResourceArn names. Raises as AWS does of each form that is none."""
    if not arn.startswith("arn:"):
        raise errors.validation(f"{_INVALID}ARNs must start with 'arn:': {arn}")
    pieces = arn.split(":", 5)
    if len(pieces) < 6 or pieces[1] != "aws" or pieces[2] != "dynamodb":
        raise errors.validation(f"{_INVALID}Invalid resource Arn: {arn}")
    if pieces[4] != call.api.account:
        raise errors.validation("This action is only supported by accounts that match the resource owner\u2019s account.")
    kind, _, name = pieces[5].partition("/")
    if kind == "table" and "/index/" in name:
        raise errors.validation(f"{_INVALID}Invalid resource arn provided, only table or stream is accepted. Provided resource arn: {arn}")
    table, _, stream = name.partition("/stream/")
    if kind != "table" or not TABLE_NAME.fits(table) or (not stream and "/" in name):
        raise errors.validation(f"{_INVALID}Provided Arn is not a DynamoDB resource arn: {arn}")
    return _Place(table, stream)


def _of_policy(call: Call) -> tuple[Body, _Place, TableMeta]:
    """The request, what it names, and the table. Raises ApiError, also of a caller who may not."""
    data = read_input(call)
    check_constraints(call)
    place = _place_of(call, data["ResourceArn"])
    if not place.stream:
        return data, place, find_table(call, place.table)
    table = call.api.backend.table(place.table)
    arn = f"{call.api.table_arn(place.table)}/stream/{place.stream}"
    if table is None or place.stream not in [one.label for one in table.streams_kept(call.api.env.clock.wall_us())]:
        call.check_sure()
        if call.role is not None:
            guard.check_absent(call, call.operation, arn)
        raise errors.resource_not_found(f"Requested resource not found: Stream: {place.stream} not found for Table: {place.table}")
    if call.role is not None:
        guard.check(call, table, call.operation, arn, stream=place.stream)
    return data, place, table


def _attached(table: TableMeta, place: _Place) -> ResourcePolicy | None:
    last = table.policy(place.stream)
    return last if last is not None and last.text else None


def get_resource_policy(call: Call) -> None:
    data, place, table = _of_policy(call)
    policy = _attached(table, place)
    if policy is None:
        raise errors.policy_not_found(_NO_POLICY + data["ResourceArn"])
    call.reply({"Policy": policy.text, "RevisionId": policy.revision})


def _check_expected(data: Body, place: _Place, policy: ResourcePolicy | None) -> None:
    """Raises PolicyNotFoundException."""
    expected = data.get("ExpectedRevisionId")
    if expected is None:
        return
    name = place.stream or place.table
    if expected == _NONE_WANTED:
        if policy is not None:
            raise errors.policy_not_found(
                f"{_NO_POLICY}Requested policy update expecting none to be present for table {name}, but a policy exists with revision id {policy.revision}."
            )
        if "Policy" in data:
            return
    if policy is None:
        raise errors.policy_not_found(
            f"{_NO_POLICY}Requested update for policy with revision id {expected}, but table {name} has no associated resource-based policy."
        )
    if policy.revision != expected:
        raise errors.policy_not_found(
            f"{_NO_POLICY}Requested update for policy with revision id {expected}, but the policy associated to target table {name} has revision id {policy.revision}."
        )


def _check_changeable(table: TableMeta) -> None:
    if table.status in ("CREATING", "DELETING") or (table.restore_of is not None and table.restore_of.in_progress):
        raise errors.table_busy(table.name, "CREATING" if table.status == "ACTIVE" else table.status)


async def put_resource_policy(call: Call) -> None:
    data, place, table = _of_policy(call)
    wanted = new_policy(call, data["Policy"], stream=place.stream)
    arn = call.api.table_arn(place.table) + (f"/stream/{place.stream}" if place.stream else "")
    locked_out = guard.judged(call, wanted, call.operation, arn, {}) is Judgement.DENIED
    if locked_out and not data.get("ConfirmRemoveSelfResourceAccess", False):
        raise errors.access_denied("The new resource policy will not allow you to update the resource policy in the future.")

    def decide(known: TableMeta) -> ResourcePolicy | None:
        _check_changeable(known)
        last, policy = known.policy(place.stream), _attached(known, place)
        _check_expected(data, place, policy)
        if policy is not None and PolicyText(wanted.text, wanted.versioned).is_same(policy.text, versioned=policy.versioned):
            return None
        return ResourcePolicy(wanted.text, later(call, last), place.stream, wanted.versioned)

    changed = _attached(await _set(call, table, decide), place)
    assert changed is not None
    call.reply({"RevisionId": changed.revision})


async def delete_resource_policy(call: Call) -> None:
    data, place, table = _of_policy(call)
    removed: list[ResourcePolicy | None] = []

    def decide(known: TableMeta) -> ResourcePolicy | None:
        _check_changeable(known)
        policy = _attached(known, place)
        _check_expected(data, place, policy)
        # of a policy that is gone already the answer tells when it went
        removed.append(policy or known.policy(place.stream))
        return None if policy is None else ResourcePolicy("", later(call, policy), place.stream)

    await _set(call, table, decide)
    call.reply({} if removed[-1] is None else {"RevisionId": removed[-1].revision})


async def _set(call: Call, table: TableMeta, decide: Callable[[TableMeta], ResourcePolicy | None]) -> TableMeta:
    try:
        return await call.api.backend.set_policy(table.name, decide)
    except Missing:
        raise errors.table_not_found(table.name) from None
    except Conflict:
        raise errors.resource_in_use(
            f"Attempt to change a resource which is still in use: Table is pending previous resource-based policy update: {table.name}"
        ) from None


OPERATIONS: dict[str, Operation] = {
    "GetResourcePolicy": Operation(_GET, get_resource_policy),
    "PutResourcePolicy": Operation(_PUT, put_resource_policy),
    "DeleteResourcePolicy": Operation(_DELETE, delete_resource_policy),
}
