"""Backups by name, in DynamoDB's words. What is behind them: `storage.backend.TableBackups`."""

from __future__ import annotations

from typing import Any

from scrubjay.base.errors import Conflict, Missing, ScrubjayError, Unsafe
from scrubjay.storage.api import errors, limits
from scrubjay.storage.api.call import Body, Call
from scrubjay.storage.api.describe import backup_arn, global_index_info, index_info, key_schema, on_demand_member, seconds
from scrubjay.storage.api.operations.backups import TARGET_NAME, backed_up_table, check_settled, check_target, restore_overrides
from scrubjay.storage.api.operations.operation import Operation, check_constraints, check_name_length, check_not_asked, read_input
from scrubjay.storage.api.operations.table_shapes import (
    BILLING_MODE,
    ENCRYPTION,
    GLOBAL_INDEX_OVERRIDE,
    LOCAL_INDEX_OVERRIDE,
    ON_DEMAND_THROUGHPUT,
    PROVISIONED_THROUGHPUT,
    VECTOR_INDEXES,
)
from scrubjay.storage.api.operations.tables import check_encryption, describe
from scrubjay.storage.api.shapes import NAME_PATTERN, STRING, TABLE_NAME_OR_ARN, Int, Str, Struct, Timestamp
from scrubjay.storage.backend import BackupInfo
from scrubjay.storage.catalogue import GlobalIndex

_ARN = Str(min_chars=limits.BACKUP_ARN_CHARS_MIN, max_chars=limits.BACKUP_ARN_CHARS_MAX)
_ANY_ARN = Str(max_chars=limits.BACKUP_ARN_CHARS_MAX)
"""One that is short is told as one that is wrong."""
_NAME = Str(pattern=NAME_PATTERN, min_chars=limits.TABLE_NAME_CHARS_MIN, max_chars=limits.TABLE_NAME_CHARS_MAX)

_CREATE = Struct("CreateBackupInput", {"TableName": TABLE_NAME_OR_ARN, "BackupName": _NAME}, required=("TableName", "BackupName"))
_DESCRIBE = Struct("DescribeBackupInput", {"BackupArn": _ANY_ARN}, required=("BackupArn",))
_DELETE = Struct("DeleteBackupInput", {"BackupArn": _ANY_ARN}, required=("BackupArn",))
_LIST = Struct(
    "ListBackupsInput",
    {
        "TableName": TABLE_NAME_OR_ARN,
        "Limit": Int(minimum=1, maximum=limits.LIST_BACKUPS_MAX),
        "TimeRangeLowerBound": Timestamp(),
        "TimeRangeUpperBound": Timestamp(),
        "ExclusiveStartBackupArn": _ARN,
        "BackupType": Str(enum=("AWS_BACKUP", "ALL", "USER", "SYSTEM")),
    },
)
_RESTORE = Struct(
    "RestoreTableFromBackupInput",
    {
        "TargetTableName": STRING,
        "BackupArn": _ARN,
        "BillingModeOverride": BILLING_MODE,
        "GlobalSecondaryIndexOverride": GLOBAL_INDEX_OVERRIDE,
        "LocalSecondaryIndexOverride": LOCAL_INDEX_OVERRIDE,
        "VectorIndexOverride": VECTOR_INDEXES,
        "ProvisionedThroughputOverride": PROVISIONED_THROUGHPUT,
        "OnDemandThroughputOverride": ON_DEMAND_THROUGHPUT,
        "SSESpecificationOverride": ENCRYPTION,
    },
    required=("TargetTableName", "BackupArn"),
)


def _id_of(call: Call, arn: str) -> tuple[str, str]:
    """Table name and id in a BackupArn. Raises ValidationException, AccessDeniedException (of another account)."""
    pieces = arn.split(":", 5)
    bad = errors.validation("Invalid Backup ARN")
    if len(pieces) < 6 or pieces[0] != "arn":
        raise bad
    if pieces[4] != call.api.account:
        raise errors.access_denied()
    if pieces[1:3] != ["aws", "dynamodb"]:
        raise errors.validation("Invalid Request: BackupArn is not valid")
    words = pieces[5].split("/")
    if len(words) != 4 or (words[0], words[2]) != ("table", "backup") or not TARGET_NAME.fits(words[1]):
        raise bad
    return words[1], words[3]


async def _found(call: Call, arn: str) -> BackupInfo:
    table, id_ = _id_of(call, arn)
    try:
        info = await call.api.backend.table_backups().describe(id_)
    except Missing:
        raise errors.backup_not_found(arn) from None
    if info.table.name != table:
        raise errors.backup_not_found(arn)
    return info


def _details(call: Call, info: BackupInfo) -> Body:
    return {
        "BackupArn": backup_arn(call.api.table_arn(info.table.name), info.id),
        "BackupName": info.name,
        "BackupSizeBytes": info.bytes,
        "BackupStatus": info.status,
        "BackupType": "USER",
        "BackupCreationDateTime": seconds(info.created_us),
    }


def _description(call: Call, info: BackupInfo) -> Body:
    table = info.table
    source: Body = {
        "TableName": table.name,
        "TableId": table.table_id,
        "TableArn": call.api.table_arn(table.name),
        "TableSizeBytes": info.bytes,
        "KeySchema": key_schema(table),
        "TableCreationDateTime": seconds(table.created_at),
        "ProvisionedThroughput": {"ReadCapacityUnits": table.throughput.read, "WriteCapacityUnits": table.throughput.write},
        "ItemCount": info.rows,
        "BillingMode": table.billing,
    }
    source |= on_demand_member(table.on_demand)
    features: Body = {}
    if table.local_indexes:
        features["LocalSecondaryIndexes"] = [index_info(table.key, index) for index in table.local_indexes]
    if table.global_indexes:
        features["GlobalSecondaryIndexes"] = [_global_index(index) for index in table.global_indexes]
    if info.stream_view:
        features["StreamDescription"] = {"StreamEnabled": True, "StreamViewType": info.stream_view}
    if info.ttl_attribute:
        features["TimeToLiveDescription"] = {"TimeToLiveStatus": "ENABLED", "AttributeName": info.ttl_attribute}
    return {"BackupDetails": _details(call, info), "SourceTableDetails": source, "SourceTableFeatureDetails": features}


def _global_index(index: GlobalIndex) -> Body:
    """The GlobalSecondaryIndexInfo of an index."""
    units = {"ReadCapacityUnits": index.throughput.read, "WriteCapacityUnits": index.throughput.write}
    info: Body = {**global_index_info(index), "ProvisionedThroughput": units}
    info |= on_demand_member(index.on_demand)
    return info


async def create_backup(call: Call) -> None:
    data = read_input(call)
    check_constraints(call)
    meta = backed_up_table(call, data["TableName"])
    if meta.status == "CREATING":
        raise errors.backups_table_not_found(data["TableName"])
    check_settled(meta)
    try:
        info = await call.api.backend.table_backups().create(meta, data["BackupName"])
    except Unsafe as error:
        raise errors.limit_exceeded(error.message) from None
    except ScrubjayError as error:
        raise errors.internal(f"The backup was not made, or ListBackups shows it: {error.message}") from error
    call.reply({"BackupDetails": _details(call, info)})


async def describe_backup(call: Call) -> None:
    data = read_input(call)
    check_constraints(call)
    call.reply({"BackupDescription": _description(call, await _found(call, data["BackupArn"]))})


async def delete_backup(call: Call) -> None:
    data = read_input(call)
    check_constraints(call)
    info = await _found(call, data["BackupArn"])
    try:
        gone = await call.api.backend.table_backups().delete(info.id)
    except Missing:
        raise errors.backup_not_found(data["BackupArn"]) from None
    call.reply({"BackupDescription": _description(call, gone)})


async def list_backups(call: Call) -> None:
    data = read_input(call)
    check_constraints(call)
    name = data.get("TableName")
    table = None if name is None else call.api.table_name(name, call.operation)
    after = _id_of(call, data["ExclusiveStartBackupArn"])[1] if "ExclusiveStartBackupArn" in data else ""
    low, high = data.get("TimeRangeLowerBound"), data.get("TimeRangeUpperBound")
    if low is not None and high is not None and low > high:
        raise errors.validation(
            "One or more parameter values were invalid: Time range lower bound must be less than or equal to upper bound"
        )
    limit: int = data.get("Limit", limits.LIST_BACKUPS_MAX)
    found = [
        info
        for info in await call.api.backend.table_backups().list()
        if (table is None or info.table.name == table)
        and info.id > after
        and (low is None or info.created_us >= low)
        and (high is None or info.created_us < high)
        and data.get("BackupType", "USER") in ("USER", "ALL")
    ]
    answer: Body = {"BackupSummaries": [_summary(call, info) for info in found[:limit]]}
    if len(found) > limit:
        answer["LastEvaluatedBackupArn"] = answer["BackupSummaries"][-1]["BackupArn"]
    call.reply(answer)


def _summary(call: Call, info: BackupInfo) -> Body:
    table = info.table
    return {"TableName": table.name, "TableId": table.table_id, "TableArn": call.api.table_arn(table.name), **_details(call, info)}


def _check_target_name(name: str) -> None:
    """Raises ValidationException, of its length by the words of this operation alone."""
    check_name_length(name, "TableName")
    found: list[str] = []
    TARGET_NAME.constrain(name, "targetTableName", found)
    if found:
        raise errors.constraints(found)


async def restore_table_from_backup(call: Call) -> None:
    data = read_input(call)
    check_constraints(call)
    arn, target = data["BackupArn"], data["TargetTableName"]
    _check_target_name(target)
    check_not_asked(data, "VectorIndexOverride")
    check_encryption(data, "SSESpecificationOverride")
    check_target(call, target)
    info = await _found(call, arn)
    overrides = restore_overrides(data, info.table)
    if info.status != "AVAILABLE":
        raise errors.backup_in_use(f"Backup is not available to be restored yet: {arn}")
    try:
        meta = await call.api.backend.table_backups().restore(info.id, target, overrides)
    except Conflict:
        raise errors.table_already_exists(target) from None
    except Missing:
        raise errors.backup_not_found(arn) from None
    call.reply({"TableDescription": describe(call, meta, "CREATING")})


OPERATIONS: dict[str, Any] = {
    "CreateBackup": Operation(_CREATE, create_backup),
    "DescribeBackup": Operation(_DESCRIBE, describe_backup),
    "ListBackups": Operation(_LIST, list_backups),
    "DeleteBackup": Operation(_DELETE, delete_backup),
    "RestoreTableFromBackup": Operation(_RESTORE, restore_table_from_backup),
}
