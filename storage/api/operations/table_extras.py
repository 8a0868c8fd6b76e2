"""What the real service can do to a table beside its items, and this store does to none yet: contributor insights, Kinesis destinations, global
tables. Tools ask for it all before they do anything: they hear what an account hears whose tables have none of it. Turning one on is refused by name.

The texts are those that the service gave in October 2026, by recorded answers.
"""

from __future__ import annotations

from typing import Any

from scrubjay.storage.api import errors, limits
from scrubjay.storage.api.call import Body, Call
from scrubjay.storage.api.operations.operation import Operation, check_constraints, check_name_length, read_input
from scrubjay.storage.api.operations.tables import find_table, read_of_table
from scrubjay.storage.api.shapes import BOOLEAN, INDEX_NAME, STRING, TABLE_NAME, TABLE_NAME_OR_ARN, Double, Int, ListOf, Str, Struct
from scrubjay.storage.catalogue import TableMeta

_INVALID = "One or more parameter values were invalid: "
_STREAM_ARN = Str(min_chars=limits.STREAM_ARN_CHARS_MIN, max_chars=limits.STREAM_ARN_CHARS_MAX)
_KINESIS = Struct("EnableKinesisStreamingConfiguration", {"ApproximateCreationDateTimePrecision": Str(enum=("MILLISECOND", "MICROSECOND"))})
_INSIGHTS_MODE = Str(enum=("THROTTLED_KEYS", "ACCESSED_AND_THROTTLED_KEYS"))

_DESCRIBE_INSIGHTS = Struct(
    "DescribeContributorInsightsInput", {"TableName": TABLE_NAME_OR_ARN, "IndexName": STRING}, required=("TableName",)
)
_UPDATE_INSIGHTS = Struct(
    "UpdateContributorInsightsInput",
    {
        "TableName": TABLE_NAME_OR_ARN,
        "IndexName": STRING,
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
_AUTO_SCALING = Struct("DescribeTableReplicaAutoScalingInput", {"TableName": TABLE_NAME_OR_ARN}, required=("TableName",))
_LIST_GLOBAL = Struct("ListGlobalTablesInput", {"ExclusiveStartGlobalTableName": TABLE_NAME, "Limit": Int(minimum=1), "RegionName": STRING})
_DESCRIBE_GLOBAL = Struct("DescribeGlobalTableInput", {"GlobalTableName": STRING}, required=("GlobalTableName",))
_GLOBAL_SETTINGS = Struct("DescribeGlobalTableSettingsInput", {"GlobalTableName": STRING}, required=("GlobalTableName",))
_CREATE_GLOBAL = Struct(
    "CreateGlobalTableInput",
    {"GlobalTableName": TABLE_NAME, "ReplicationGroup": ListOf(Struct("Replica", {"RegionName": STRING}))},
    required=("GlobalTableName", "ReplicationGroup"),
)
_UPDATE_KINESIS = Struct(
    "UpdateKinesisStreamingDestinationInput",
    {
        "TableName": TABLE_NAME_OR_ARN,
        "StreamArn": _STREAM_ARN,
        "UpdateKinesisStreamingConfiguration": Struct(
            "UpdateKinesisStreamingConfiguration", {"ApproximateCreationDateTimePrecision": Str(enum=("MILLISECOND", "MICROSECOND"))}
        ),
    },
    required=("TableName", "StreamArn"),
)
_UNITS = Int(minimum=1, java="Long")
_SCALED = Struct(
    "AutoScalingSettingsUpdate",
    {
        "MinimumUnits": _UNITS,
        "MaximumUnits": _UNITS,
        "AutoScalingDisabled": BOOLEAN,
        "AutoScalingRoleArn": STRING,
        "ScalingPolicyUpdate": Struct(
            "AutoScalingPolicyUpdate",
            {
                "PolicyName": STRING,
                "TargetTrackingScalingPolicyConfiguration": Struct(
                    "AutoScalingTargetTrackingScalingPolicyConfigurationUpdate",
                    {"DisableScaleIn": BOOLEAN, "ScaleInCooldown": Int(), "ScaleOutCooldown": Int(), "TargetValue": Double()},
                    required=("TargetValue",),
                ),
            },
            required=("TargetTrackingScalingPolicyConfiguration",),
        ),
    },
)
_SCALE = Struct(
    "UpdateTableReplicaAutoScalingInput",
    {
        "GlobalSecondaryIndexUpdates": ListOf(
            Struct(
                "GlobalSecondaryIndexAutoScalingUpdate", {"IndexName": INDEX_NAME, "ProvisionedWriteCapacityAutoScalingUpdate": _SCALED}
            ),
            min_items=1,
        ),
        "TableName": TABLE_NAME_OR_ARN,
        "ProvisionedWriteCapacityAutoScalingUpdate": _SCALED,
        "ReplicaUpdates": ListOf(
            Struct(
                "ReplicaAutoScalingUpdate",
                {
                    "RegionName": STRING,
                    "ReplicaGlobalSecondaryIndexUpdates": ListOf(
                        Struct(
                            "ReplicaGlobalSecondaryIndexAutoScalingUpdate",
                            {"IndexName": INDEX_NAME, "ProvisionedReadCapacityAutoScalingUpdate": _SCALED},
                        )
                    ),
                    "ReplicaProvisionedReadCapacityAutoScalingUpdate": _SCALED,
                },
                required=("RegionName",),
            ),
            min_items=1,
        ),
    },
    required=("TableName",),
)
_REGION = Struct("ReplicaAction", {"RegionName": STRING}, required=("RegionName",))
_UPDATE_GLOBAL = Struct(
    "UpdateGlobalTableInput",
    {"GlobalTableName": TABLE_NAME, "ReplicaUpdates": ListOf(Struct("ReplicaUpdate", {"Create": _REGION, "Delete": _REGION}))},
    required=("GlobalTableName", "ReplicaUpdates"),
)
_UPDATE_SETTINGS = Struct(
    "UpdateGlobalTableSettingsInput",
    {
        "GlobalTableName": TABLE_NAME,
        "GlobalTableBillingMode": Str(enum=("PROVISIONED", "PAY_PER_REQUEST")),
        "GlobalTableProvisionedWriteCapacityUnits": _UNITS,
        "GlobalTableProvisionedWriteCapacityAutoScalingSettingsUpdate": _SCALED,
        "GlobalTableGlobalSecondaryIndexSettingsUpdate": ListOf(
            Struct(
                "GlobalTableGlobalSecondaryIndexSettingsUpdate",
                {
                    "IndexName": INDEX_NAME,
                    "ProvisionedWriteCapacityUnits": _UNITS,
                    "ProvisionedWriteCapacityAutoScalingSettingsUpdate": _SCALED,
                },
                required=("IndexName",),
            ),
            min_items=1,
            max_items=20,
        ),
        "ReplicaSettingsUpdate": ListOf(
            Struct(
                "ReplicaSettingsUpdate",
                {
                    "RegionName": STRING,
                    "ReplicaProvisionedReadCapacityUnits": _UNITS,
                    "ReplicaProvisionedReadCapacityAutoScalingSettingsUpdate": _SCALED,
                    "ReplicaGlobalSecondaryIndexSettingsUpdate": ListOf(
                        Struct(
                            "ReplicaGlobalSecondaryIndexSettingsUpdate",
                            {
                                "IndexName": INDEX_NAME,
                                "ProvisionedReadCapacityUnits": _UNITS,
                                "ProvisionedReadCapacityAutoScalingSettingsUpdate": _SCALED,
                            },
                            required=("IndexName",),
                        ),
                        min_items=1,
                        max_items=20,
                    ),
                    "ReplicaTableClass": Str(enum=("STANDARD", "STANDARD_INFREQUENT_ACCESS")),
                },
                required=("RegionName",),
            ),
            min_items=1,
            max_items=50,
        ),
    },
    required=("GlobalTableName",),
)


def _to_change(call: Call) -> tuple[Body, TableMeta]:
    """As `_asked`. Raises also what a table says that is being made or dropped."""
    data, meta = read_of_table(call)
    if meta.status in ("CREATING", "DELETING"):
        raise errors.table_busy(meta.name, meta.status)
    return data, meta


# -- contributor insights --------------------------------------------------------------------------------------------------------------


def _no_insights(data: Body, meta: TableMeta) -> Body:
    name = data.get("IndexName")
    if name is None:
        return {"TableName": meta.name, "ContributorInsightsStatus": "DISABLED"}
    check_name_length(name, "IndexName")
    if name not in [index.name for index in meta.global_indexes or ()]:
        raise errors.resource_not_found(f"Requested resource not found: Index: {name} not found for table: {meta.name}")
    return {"TableName": meta.name, "IndexName": name, "ContributorInsightsStatus": "DISABLED"}


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


def update_kinesis(call: Call) -> None:
    data, _ = _to_change(call)
    if not data.get("UpdateKinesisStreamingConfiguration"):
        raise errors.validation(
            "Streaming destination cannot be updated with given parameters: UpdateKinesisStreamingConfiguration cannot be null or contain only null values"
        )
    raise errors.validation(
        "Table is not in a valid state to enable Kinesis Streaming Destination: KinesisStreamingDestination must be ACTIVE to perform UPDATE operation."
    )


# -- global tables ---------------------------------------------------------------------------------------------------------------------


def describe_replica_auto_scaling(call: Call) -> None:
    """Of a table without replicas, which cannot be scaled as such either."""
    _, meta = read_of_table(call)
    raise errors.resource_not_found(f"Global table with name: {meta.name} does not exist.")


def list_global_tables(call: Call) -> None:
    read_input(call)
    check_constraints(call)
    call.reply({"GlobalTables": []})


def describe_global_table(call: Call) -> None:
    """There is none to be described or changed."""
    name = _global_name(call)
    raise errors.global_table_not_found(f"Global table not found: Global table with name: '{name}' does not exist.")


def update_global_table(call: Call) -> None:
    """An update of nothing is told without any words of its own."""
    name = _global_name(call)
    if not all(call.input["ReplicaUpdates"]):
        raise errors.validation(_INVALID.removesuffix(": "))
    raise errors.global_table_not_found(f"Global table not found: Global table with name: '{name}' does not exist.")


def describe_global_table_settings(call: Call) -> None:
    raise errors.global_table_not_found(f"Global table with name: '{_global_name(call)}' does not exist.")


def _global_name(call: Call) -> str:
    data = read_input(call)
    check_constraints(call)
    name = str(data["GlobalTableName"])
    check_name_length(name, "TableName")
    return name


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
    "DescribeTableReplicaAutoScaling": Operation(_AUTO_SCALING, describe_replica_auto_scaling),
    "UpdateKinesisStreamingDestination": Operation(_UPDATE_KINESIS, update_kinesis),
    "UpdateTableReplicaAutoScaling": Operation(_SCALE, describe_replica_auto_scaling),
    "UpdateGlobalTable": Operation(_UPDATE_GLOBAL, update_global_table),
    "UpdateGlobalTableSettings": Operation(_UPDATE_SETTINGS, describe_global_table_settings),
    "ListGlobalTables": Operation(_LIST_GLOBAL, list_global_tables),
    "DescribeGlobalTable": Operation(_DESCRIBE_GLOBAL, describe_global_table),
    "DescribeGlobalTableSettings": Operation(_GLOBAL_SETTINGS, describe_global_table_settings),
    "CreateGlobalTable": Operation(_CREATE_GLOBAL, create_global_table),
}
