"""What the real service can do to a table beside its items, and this store does to none yet: contributor insights, Kinesis destinations, resource
policies, global tables. Tools ask for it all before they do anything: they hear what an account hears whose tables have none of it. Turning one on is refused by name.

The texts are those that the service gave in October 2026, by recorded answers.
"""

from __future__ import annotations

from typing import Any

from scrubjay.storage.api import errors, limits
from scrubjay.storage.api.call import Body, Call
from scrubjay.storage.api.operations.operation import Operation, check_constraints, read_input
from scrubjay.storage.api.operations.tables import find_table, read_of_table
from scrubjay.storage.api.shapes import BOOLEAN, INDEX_NAME, STRING, TABLE_NAME, TABLE_NAME_OR_ARN, Int, ListOf, Str, Struct
from scrubjay.storage.catalogue import TableMeta

_INVALID = "One or more parameter values were invalid: "
_NO_POLICY = "Resource-based policy not found for the provided ResourceArn: "
_REVISION = Str(min_chars=1, max_chars=limits.POLICY_REVISION_CHARS_MAX)
_RESOURCE_ARN = Str(min_chars=1, max_chars=limits.POLICY_ARN_CHARS_MAX)
_STREAM_ARN = Str(min_chars=limits.STREAM_ARN_CHARS_MIN, max_chars=limits.STREAM_ARN_CHARS_MAX)
_KINESIS = Struct("EnableKinesisStreamingConfiguration", {"ApproximateCreationDateTimePrecision": Str(enum=("MILLISECOND", "MICROSECOND"))})
_INSIGHTS_MODE = Str(enum=("ACCESSED_AND_THROTTLED_KEYS", "THROTTLED_KEYS"))

_DESCRIBE_INSIGHTS = Struct(
    "DescribeContributorInsightsInput", {"TableName": TABLE_NAME_OR_ARN, "IndexName": INDEX_NAME}, required=("TableName",)
)
_UPDATE_INSIGHTS = Struct(
    "UpdateContributorInsightsInput",
    {
        "TableName": TABLE_NAME_OR_ARN,
        "IndexName": INDEX_NAME,
        "ContributorInsightsAction": Str(enum=("ENABLE", "DISABLE")),
        "ContributorInsightsMode": _INSIGHTS_MODE,
    },
    required=("TableName", "ContributorInsightsAction"),
)
_LIST_INSIGHTS = Struct(
    "ListContributorInsightsInput",
    {"TableName": TABLE_NAME_OR_ARN, "NextToken": STRING, "MaxResults": Int(maximum=limits.LIST_INSIGHTS_MAX)},
)
_DESCRIBE_KINESIS = Struct("DescribeKinesisStreamingDestinationInput", {"TableName": TABLE_NAME_OR_ARN}, required=("TableName",))
_KINESIS_MEMBERS = {"TableName": TABLE_NAME_OR_ARN, "StreamArn": _STREAM_ARN, "EnableKinesisStreamingConfiguration": _KINESIS}
_ENABLE_KINESIS = Struct("EnableKinesisStreamingDestinationInput", _KINESIS_MEMBERS, required=("TableName", "StreamArn"))
_DISABLE_KINESIS = Struct("DisableKinesisStreamingDestinationInput", _KINESIS_MEMBERS, required=("TableName", "StreamArn"))
_GET_POLICY = Struct("GetResourcePolicyInput", {"ResourceArn": _RESOURCE_ARN}, required=("ResourceArn",))
_PUT_POLICY = Struct(
    "PutResourcePolicyInput",
    {"ResourceArn": _RESOURCE_ARN, "Policy": STRING, "ExpectedRevisionId": _REVISION, "ConfirmRemoveSelfResourceAccess": BOOLEAN},
    required=("ResourceArn", "Policy"),
)
_DELETE_POLICY = Struct(
    "DeleteResourcePolicyInput", {"ResourceArn": _RESOURCE_ARN, "ExpectedRevisionId": _REVISION}, required=("ResourceArn",)
)
_AUTO_SCALING = Struct("DescribeTableReplicaAutoScalingInput", {"TableName": TABLE_NAME_OR_ARN}, required=("TableName",))
_LIST_GLOBAL = Struct("ListGlobalTablesInput", {"ExclusiveStartGlobalTableName": TABLE_NAME, "Limit": Int(minimum=1), "RegionName": STRING})
_DESCRIBE_GLOBAL = Struct("DescribeGlobalTableInput", {"GlobalTableName": TABLE_NAME}, required=("GlobalTableName",))
_GLOBAL_SETTINGS = Struct("DescribeGlobalTableSettingsInput", {"GlobalTableName": TABLE_NAME}, required=("GlobalTableName",))
_CREATE_GLOBAL = Struct(
    "CreateGlobalTableInput",
    {"GlobalTableName": TABLE_NAME, "ReplicationGroup": ListOf(Struct("Replica", {"RegionName": STRING}))},
    required=("GlobalTableName", "ReplicationGroup"),
)


def _to_change(call: Call) -> tuple[Body, TableMeta]:
    """As `_asked`. Raises also what a table says that is being made or dropped."""
    data, meta = read_of_table(call)
    if meta.status in ("CREATING", "DELETING"):
        raise errors.table_busy(meta.name, meta.status)
    return data, meta


# -- contributor insights --------------------------------------------------------------------------------------------------------------


def _no_insights(data: Body, meta: TableMeta) -> Body:
    if "IndexName" in data:
        raise errors.resource_not_found(f"Requested resource not found: Index: {data['IndexName']} not found")
    return {"TableName": meta.name, "ContributorInsightsStatus": "DISABLED"}


def describe_contributor_insights(call: Call) -> None:
    call.reply(_no_insights(*read_of_table(call)))


def update_contributor_insights(call: Call) -> None:
    data, meta = _to_change(call)
    answer = _no_insights(data, meta)
    if data["ContributorInsightsAction"] == "ENABLE":
        raise errors.not_built("ContributorInsightsAction ENABLE")
    call.reply(answer)


def list_contributor_insights(call: Call) -> None:
    data = read_input(call)
    check_constraints(call)
    if "TableName" in data:
        find_table(call, data["TableName"])
    call.reply({"ContributorInsightsSummaries": []})


# -- Kinesis ---------------------------------------------------------------------------------------------------------------------------


def describe_kinesis(call: Call) -> None:
    _, meta = read_of_table(call)
    call.reply({"TableName": meta.name, "KinesisDataStreamDestinations": []})


def enable_kinesis(call: Call) -> None:
    _to_change(call)
    raise errors.not_built("StreamArn")


def disable_kinesis(call: Call) -> None:
    _to_change(call)
    raise errors.validation(
        "Table is not in a valid state to enable Kinesis Streaming Destination: KinesisStreamingDestination must be ACTIVE to perform DISABLE operation."
    )


# -- resource policies -----------------------------------------------------------------------------------------------------------------


def _of_policy(call: Call) -> tuple[Body, TableMeta]:
    """The request and the table whose ARN it names. Raises as AWS does of each form that is none."""
    data = read_input(call)
    check_constraints(call)
    arn: str = data["ResourceArn"]
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
    if kind == "table" and "/stream/" in name:
        table, _, label = name.partition("/stream/")
        raise errors.resource_not_found(f"Requested resource not found: Stream: {label} not found for Table: {table}")
    if kind != "table" or not TABLE_NAME.fits(name):
        raise errors.validation(f"{_INVALID}Provided Arn is not a DynamoDB resource arn: {arn}")
    return data, find_table(call, name)


def get_resource_policy(call: Call) -> None:
    data, _ = _of_policy(call)
    raise errors.policy_not_found(_NO_POLICY + data["ResourceArn"])


def put_resource_policy(call: Call) -> None:
    _of_policy(call)
    raise errors.not_built("Policy")


def delete_resource_policy(call: Call) -> None:
    data, meta = _of_policy(call)
    if "ExpectedRevisionId" in data:
        revision = data["ExpectedRevisionId"]
        raise errors.policy_not_found(
            f"{_NO_POLICY}Requested update for policy with revision id {revision}, but table {meta.name} has no associated resource-based policy."
        )
    call.reply({})


# -- global tables ---------------------------------------------------------------------------------------------------------------------


def describe_replica_auto_scaling(call: Call) -> None:
    _, meta = read_of_table(call)
    raise errors.resource_not_found(f"Global table with name: {meta.name} does not exist.")


def list_global_tables(call: Call) -> None:
    read_input(call)
    check_constraints(call)
    call.reply({"GlobalTables": []})


def describe_global_table(call: Call) -> None:
    name = _global_name(call)
    raise errors.global_table_not_found(f"Global table not found: Global table with name: '{name}' does not exist.")


def describe_global_table_settings(call: Call) -> None:
    raise errors.global_table_not_found(f"Global table with name: '{_global_name(call)}' does not exist.")


def _global_name(call: Call) -> str:
    data = read_input(call)
    check_constraints(call)
    return str(data["GlobalTableName"])


def create_global_table(call: Call) -> None:
    """The service itself makes none of this version any more."""
    _global_name(call)
    raise errors.validation(
        f"{_INVALID}DynamoDB global tables version 2017.11.29 is not supported. We recommend using DynamoDB global tables version 2019.11.21, "
        "instead of version 2017.11.29 (Legacy)."
    )


OPERATIONS: dict[str, Any] = {
    "DescribeContributorInsights": Operation(_DESCRIBE_INSIGHTS, describe_contributor_insights),
    "UpdateContributorInsights": Operation(_UPDATE_INSIGHTS, update_contributor_insights),
    "ListContributorInsights": Operation(_LIST_INSIGHTS, list_contributor_insights),
    "DescribeKinesisStreamingDestination": Operation(_DESCRIBE_KINESIS, describe_kinesis),
    "EnableKinesisStreamingDestination": Operation(_ENABLE_KINESIS, enable_kinesis),
    "DisableKinesisStreamingDestination": Operation(_DISABLE_KINESIS, disable_kinesis),
    "GetResourcePolicy": Operation(_GET_POLICY, get_resource_policy),
    "PutResourcePolicy": Operation(_PUT_POLICY, put_resource_policy),
    "DeleteResourcePolicy": Operation(_DELETE_POLICY, delete_resource_policy),
    "DescribeTableReplicaAutoScaling": Operation(_AUTO_SCALING, describe_replica_auto_scaling),
    "ListGlobalTables": Operation(_LIST_GLOBAL, list_global_tables),
    "DescribeGlobalTable": Operation(_DESCRIBE_GLOBAL, describe_global_table),
    "DescribeGlobalTableSettings": Operation(_GLOBAL_SETTINGS, describe_global_table_settings),
    "CreateGlobalTable": Operation(_CREATE_GLOBAL, create_global_table),
}
