"""Continuous backups and point-in-time restore, in DynamoDB's words."""

from __future__ import annotations

import re
from collections.abc import Coroutine
from typing import Any

from scrubjay.base.errors import Conflict, Invalid, Missing, Unsafe
from scrubjay.base.times import utc_text
from scrubjay.storage.api import errors, limits
from scrubjay.storage.api.call import Body, Call
from scrubjay.storage.api.describe import backup_arn
from scrubjay.storage.api.index_definitions import index_overrides
from scrubjay.storage.api.operations.operation import Operation, check_constraints, check_not_asked, read_input
from scrubjay.storage.api.operations.table_shapes import (
    BILLING_MODE,
    ENCRYPTION,
    GLOBAL_INDEX_OVERRIDE,
    LOCAL_INDEX_OVERRIDE,
    ON_DEMAND_THROUGHPUT,
    PROVISIONED_THROUGHPUT,
    VECTOR_INDEXES,
)
from scrubjay.storage.api.operations.tables import check_encryption, describe, is_restoring
from scrubjay.storage.api.shapes import BOOLEAN, NAME_PATTERN, TABLE_NAME_OR_ARN, Int, Str, Struct, Timestamp
from scrubjay.storage.api.throughput import check_capacity, on_demand_of
from scrubjay.storage.backend import ContinuousBackups
from scrubjay.storage.catalogue import TableMeta, Throughput

_INVALID = "One or more parameter values were invalid: "
_REQUEST = "Invalid Request: "
_SECOND_US = 1_000_000
TARGET_NAME = Str(pattern=NAME_PATTERN, min_chars=limits.TABLE_NAME_CHARS_MIN, max_chars=limits.TABLE_NAME_CHARS_MAX)

_DESCRIBE = Struct("DescribeContinuousBackupsInput", {"TableName": TABLE_NAME_OR_ARN}, required=("TableName",))
_UPDATE = Struct(
    "UpdateContinuousBackupsInput",
    {
        "TableName": TABLE_NAME_OR_ARN,
        "PointInTimeRecoverySpecification": Struct(
            "PointInTimeRecoverySpecification",
            {
                "PointInTimeRecoveryEnabled": BOOLEAN,
                "RecoveryPeriodInDays": Int(minimum=limits.RECOVERY_PERIOD_DAYS_MIN, maximum=limits.RECOVERY_PERIOD_DAYS_MAX),
            },
            required=("PointInTimeRecoveryEnabled",),
        ),
    },
    required=("TableName", "PointInTimeRecoverySpecification"),
)
_RESTORE = Struct(
    "RestoreTableToPointInTimeInput",
    {
        "SourceTableArn": Str(min_chars=1, max_chars=limits.TABLE_ARN_CHARS_MAX),
        "SourceTableName": TABLE_NAME_OR_ARN,
        "TargetTableName": TARGET_NAME,
        "UseLatestRestorableTime": BOOLEAN,
        "RestoreDateTime": Timestamp(),
        "BillingModeOverride": BILLING_MODE,
        "GlobalSecondaryIndexOverride": GLOBAL_INDEX_OVERRIDE,
        "LocalSecondaryIndexOverride": LOCAL_INDEX_OVERRIDE,
        "VectorIndexOverride": VECTOR_INDEXES,
        "ProvisionedThroughputOverride": PROVISIONED_THROUGHPUT,
        "OnDemandThroughputOverride": ON_DEMAND_THROUGHPUT,
        "SSESpecificationOverride": ENCRYPTION,
    },
    required=("TargetTableName",),
)


def whole_seconds_up(micros: int) -> int:
    return -(-micros // _SECOND_US)


def whole_seconds_down(micros: int) -> int:
    return micros // _SECOND_US


def continuous_backups_description(backups: ContinuousBackups) -> Body:
    """The ContinuousBackupsDescription. The restorable window is rounded inwards to whole seconds, which is all an SDK can send."""
    recovery: Body = {"PointInTimeRecoveryStatus": "ENABLED" if backups.enabled else "DISABLED"}
    if backups.enabled:
        recovery["RecoveryPeriodInDays"] = backups.days
        if backups.earliest_us is not None and backups.latest_us is not None:
            earliest, latest = whole_seconds_up(backups.earliest_us), whole_seconds_down(backups.latest_us)
            if earliest <= latest:
                recovery["EarliestRestorableDateTime"] = earliest
                recovery["LatestRestorableDateTime"] = latest
    return {"ContinuousBackupsStatus": "ENABLED", "PointInTimeRecoveryDescription": recovery}


def backed_up_table(call: Call, name: str, asked: str | None = None) -> TableMeta:
    """The table of a name or an ARN. asked: as the request has it, for who hears that there is none. Raises TableNotFoundException."""
    meta = call.api.backend.table(call.api.table_name(name, call.operation))
    if meta is None or meta.status == "DELETING":
        call.check_sure()
        call.check_absent(name)
        raise errors.backups_table_not_found(asked or name)
    call.check_policy(meta)
    if is_restoring(meta):
        raise errors.backups_table_not_found(asked or name)
    return meta


def check_settled(meta: TableMeta) -> None:
    """Raises TableInUseException of a table that is being made."""
    if meta.status not in ("ACTIVE", "UPDATING") or (meta.restore_of is not None and meta.restore_of.in_progress):
        raise errors.table_in_use(f"Table is being {meta.status.lower().removesuffix('ing')}ed: {meta.name}")


def describe_continuous_backups(call: Call) -> Coroutine[Any, Any, None] | None:
    data = read_input(call)
    check_constraints(call)
    meta = backed_up_table(call, data["TableName"])
    description = _backups(call, meta)
    if _window_is_due(call, meta, description):
        return _describe_with_window(call, meta)
    call.reply({"ContinuousBackupsDescription": description})
    return None


def _backups(call: Call, meta: TableMeta) -> Body:
    return continuous_backups_description(call.api.backend.continuous_backups(meta))


def _window_is_due(call: Call, meta: TableMeta, description: Body) -> bool:
    """No window yet, of a table so young that it is about to have one. An older one lacks it for a reason (the archive cannot be reached)."""
    recovery = description["PointInTimeRecoveryDescription"]
    if meta.pitr_enabled_at is None or "LatestRestorableDateTime" in recovery:
        return False
    return call.api.env.clock.wall_us() - meta.pitr_enabled_at < limits.FIRST_WINDOW_AGE_MS * 1000


async def _describe_with_window(call: Call, meta: TableMeta) -> None:
    """The answer once the table has its first whole second to restore to, at the latest after FIRST_WINDOW_MS_MAX."""
    backend, env = call.api.backend, call.api.env
    until = env.clock.boot_us() + limits.FIRST_WINDOW_MS_MAX * 1000
    while True:
        description = _backups(call, meta)
        if not _window_is_due(call, meta, description) or env.clock.boot_us() >= until:
            break
        backend.hurry_window(meta)
        await env.tasks.sleep(limits.FIRST_WINDOW_POLL_MS / 1000)
    call.reply({"ContinuousBackupsDescription": description})


async def update_continuous_backups(call: Call) -> None:
    data = read_input(call)
    check_constraints(call)
    specification = data["PointInTimeRecoverySpecification"]
    enabled: bool = specification["PointInTimeRecoveryEnabled"]
    days: int | None = specification.get("RecoveryPeriodInDays")
    if days is not None and not enabled:
        raise errors.validation(_REQUEST + "Cannot specify RecoveryPeriodInDays when disabling point-in-time recovery.")
    meta = backed_up_table(call, data["TableName"])
    if meta.status == "CREATING" or (meta.restore_of is not None and meta.restore_of.in_progress):
        raise errors.continuous_backups_unavailable(f"Backups are being enabled for the table: {meta.name}. Please retry later")
    if enabled and days is None and meta.pitr_enabled_at is None:
        days = limits.RECOVERY_PERIOD_DAYS_MAX  # what it had before it was turned off is forgotten
    try:
        backups = await call.api.backend.set_continuous_backups(meta.name, enabled=enabled, days=days)
    except Missing:
        raise errors.backups_table_not_found(data["TableName"]) from None
    call.reply({"ContinuousBackupsDescription": continuous_backups_description(backups)})


# -- RestoreTableToPointInTime ---------------------------------------------------------------------------------------------------------


def table_of_arn(call: Call, arn: str) -> str:
    """The name in a TableArn. Raises ValidationException, AccessDeniedException (of another account)."""
    pieces = arn.split(":", 5)
    if len(pieces) < 6 or pieces[0] != "arn":
        raise errors.validation(_INVALID + "tableArn is not a valid ARN")
    if pieces[4] != call.api.account:
        raise errors.access_denied()
    kind, _, name = pieces[5].partition("/")
    if pieces[2] != "dynamodb" or kind != "table" or not TARGET_NAME.fits(name):
        raise errors.validation(_REQUEST + "Table ARN is invalid.")
    return name


def _source_name(call: Call, data: Body) -> str:
    name, arn = data.get("SourceTableName"), data.get("SourceTableArn")
    if name is not None and arn is not None:
        raise errors.validation(_INVALID + "Must provide exactly one of: sourceTableArn, sourceTableName")
    if name is not None:
        assert isinstance(name, str)
        return name
    if arn is None:
        raise errors.validation("The parameter 'TableName' is required but was not present in the request")
    if not arn.startswith("arn:"):
        raise errors.validation(f"{_INVALID}ARNs must start with 'arn:': {arn}")
    match = _ARN.fullmatch(arn)
    if match is None:
        raise errors.validation(_INVALID + "sourceTableArn is not a valid ARN")
    if match[1] != call.api.account:
        raise errors.validation("This action is only supported by accounts that match the resource owner\u2019s account.")
    return match[2]


_ARN = re.compile(r"arn:[^:]*:dynamodb:[^:]*:([^:]*):table/([a-zA-Z0-9_.-]{3,255})")


def _target_time(data: Body) -> int | None:
    """Microseconds, or None for the latest."""
    at_us: int | None = data.get("RestoreDateTime")
    latest = data.get("UseLatestRestorableTime", False)
    if at_us is not None and latest:
        raise errors.validation(
            _REQUEST + "Both RestoreDateTime and UseLatestRestorableTime cannot be set for point-in-time restore request. "
            "Please specify either RestoreDateTime time or UseLatestRestorableTime"
        )
    if at_us is None and not latest:
        raise errors.validation(_REQUEST + "Either one of RestoreDateTime or UseLatestRestorableTime must be specified, but not both")
    return at_us


def restore_overrides(data: Body, source: TableMeta) -> dict[str, object]:
    """Fields of TableMeta that the new table has otherwise than its source."""
    result: dict[str, object] = {}
    billing: str = data.get("BillingModeOverride", source.billing)
    throughput = data.get("ProvisionedThroughputOverride")
    if billing != source.billing:
        result["billing"] = billing
    if billing == "PAY_PER_REQUEST":
        if throughput is not None:
            why = (
                "if BillingMode is overridden to PAY_PER_REQUEST" if "BillingModeOverride" in data else "unless BillingMode is PROVISIONED"
            )
            raise errors.validation(f"{_REQUEST}Cannot override ProvisionedThroughput {why}")
        if source.billing != billing:
            result["throughput"] = Throughput()
    elif throughput is not None:
        result["throughput"] = check_capacity(throughput)
    elif source.billing != billing:
        raise errors.validation(_REQUEST + "Must override ProvisionedThroughput if BillingMode is overridden to PROVISIONED")
    on_demand = _on_demand(data.get("OnDemandThroughputOverride"), billing)
    if on_demand is not None:
        result["on_demand"] = on_demand
    return result | index_overrides(data, source, billing)


def _on_demand(asked: Body | None, billing: str) -> Throughput | None:
    """The ceilings that an override asks for; -1 is none. Raises ValidationException."""
    for member, value in (asked or {}).items():
        if billing != "PAY_PER_REQUEST":
            raise errors.validation(
                f"{_REQUEST}Cannot override {member} for OnDemandThroughput unless BillingModeOverride is PAY_PER_REQUEST"
            )
        if value < 1:
            raise errors.validation(f"{_REQUEST}Requested {member} for OnDemandThroughput is outside of valid range")
    return on_demand_of(asked, billing)


async def restore_table_to_point_in_time(call: Call) -> None:
    data = read_input(call)
    check_constraints(call)
    source_name = _source_name(call, data)
    target: str = data["TargetTableName"]
    at_us = _target_time(data)
    check_not_asked(data, "VectorIndexOverride")
    check_encryption(data, "SSESpecificationOverride")
    backend = call.api.backend
    source = backed_up_table(call, source_name)
    overrides = restore_overrides(data, source)
    check_settled(source)
    backups = backend.continuous_backups(source)
    if not backups.enabled:
        raise errors.point_in_time_recovery_unavailable(source_name)
    _check_window(backups, at_us)
    check_target(call, target)
    if backups.latest_us is None:
        raise errors.invalid_restore_time(f"Nothing of table '{source_name}' can be restored yet")
    try:
        meta = await backend.restore_table(source, target, at_us=at_us, overrides=overrides)
    except Conflict:
        raise errors.table_already_exists(target) from None
    except (Unsafe, Invalid) as error:
        raise errors.invalid_restore_time(f"Invalid restore time: {error}") from None
    except Missing:
        raise errors.backups_table_not_found(source_name) from None
    call.reply({"TableDescription": describe(call, meta, "CREATING")})


def _check_window(backups: ContinuousBackups, at_us: int | None) -> None:
    """Raises InvalidRestoreTimeException. Of a window that is not proven yet nothing is said."""
    earliest, latest = backups.earliest_us, backups.latest_us
    if at_us is not None and earliest is not None and latest is not None and not earliest <= at_us <= latest:
        first, last = whole_seconds_up(earliest) * _SECOND_US, whole_seconds_down(latest) * _SECOND_US
        raise errors.invalid_restore_time(
            f"RestoreDateTime '{_second(at_us)}' must be within EarliestRestorableDateTime '{_second(first)}' and "
            f"LatestRestorableDateTime '{_second(last)}'"
        )


def _second(micros: int) -> str:
    return f"{utc_text(micros)[:19]}Z"


def check_target(call: Call, name: str) -> None:
    """Raises TableAlreadyExistsException, or TableInUseException of one that a backup is being restored to."""
    meta = call.api.backend.table(name)
    if meta is None:
        return
    if meta.restore_of is not None and meta.restore_of.in_progress and meta.restore_of.backup is not None:
        arn = backup_arn(call.api.table_arn(meta.restore_of.table_name), meta.restore_of.backup)
        raise errors.table_in_use(f"Table: {name} is already being restored from backup: {arn}")
    raise errors.table_already_exists(name)


OPERATIONS: dict[str, Any] = {
    "DescribeContinuousBackups": Operation(_DESCRIBE, describe_continuous_backups),
    "UpdateContinuousBackups": Operation(_UPDATE, update_continuous_backups),
    "RestoreTableToPointInTime": Operation(_RESTORE, restore_table_to_point_in_time),
}
