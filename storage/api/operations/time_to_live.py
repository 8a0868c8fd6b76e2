"""UpdateTimeToLive and DescribeTimeToLive. What they set, the service that works carries out (`server.ttl`).

Texts, and the order in which they come, as the service gave them in October 2026, by recorded answers: it was never seen to be ENABLING or DISABLING, and took a second
change after 31 minutes, not before.
"""

from __future__ import annotations

from scrubjay.base.errors import Conflict, Missing
from scrubjay.storage.api import errors, limits
from scrubjay.storage.api.call import Call
from scrubjay.storage.api.operations.operation import Operation
from scrubjay.storage.api.operations.tables import read_of_table
from scrubjay.storage.api.shapes import BOOLEAN, TABLE_NAME_OR_ARN, Str, Struct
from scrubjay.storage.catalogue import TableMeta, TimeToLive

CHANGE_AFTER_US = 31 * 60 * 1_000_000
"""A setting stands for so long before it may be changed again."""

_DESCRIBE = Struct("DescribeTimeToLiveInput", {"TableName": TABLE_NAME_OR_ARN}, required=("TableName",))
_UPDATE = Struct(
    "UpdateTimeToLiveInput",
    {
        "TableName": TABLE_NAME_OR_ARN,
        "TimeToLiveSpecification": Struct(
            "TimeToLiveSpecification",
            {"Enabled": BOOLEAN, "AttributeName": Str(min_chars=1, max_chars=limits.TTL_ATTRIBUTE_CHARS_MAX)},
            required=("Enabled", "AttributeName"),
        ),
    },
    required=("TableName", "TimeToLiveSpecification"),
)


def describe_time_to_live(call: Call) -> None:
    _, meta = read_of_table(call)
    if meta.status in ("CREATING", "DELETING"):
        raise errors.validation(f"Cannot describe time to live while table is in {meta.status} state: Current table state is {meta.status}")
    attribute = meta.ttl_attribute
    told = {"TimeToLiveStatus": "DISABLED"} if attribute is None else {"TimeToLiveStatus": "ENABLED", "AttributeName": attribute}
    call.reply({"TimeToLiveDescription": told})


async def update_time_to_live(call: Call) -> None:
    data, meta = read_of_table(call)
    asked = data["TimeToLiveSpecification"]
    wanted = TimeToLive(asked["Enabled"], asked["AttributeName"], call.api.env.clock.wall_us())

    def decide(table: TableMeta) -> TimeToLive:
        _check(table, wanted)
        return wanted

    try:
        await call.api.backend.set_time_to_live(meta.name, decide)
    except Missing:
        raise errors.table_not_found(data["TableName"]) from None
    except Conflict:
        raise errors.resource_in_use(f"Attempt to change a resource which is still in use: Table {meta.name} is being updated") from None
    call.reply({"TimeToLiveSpecification": {"Enabled": wanted.enabled, "AttributeName": wanted.attribute}})


def _check(table: TableMeta, wanted: TimeToLive) -> None:
    """Raises what keeps the setting from being made. What is asked for counts before the time that must pass."""
    if table.status in ("CREATING", "DELETING"):
        doing = "created" if table.status == "CREATING" else "deleted"
        raise errors.resource_in_use(f"Attempt to change a resource which is still in use: Table {table.name} is being {doing}")
    attribute = table.ttl_attribute
    if attribute is None and not wanted.enabled:
        raise errors.validation("TimeToLive is already disabled")
    if attribute is not None and attribute != wanted.attribute:
        raise errors.validation(f"TimeToLive is active on a different AttributeName: current AttributeName is {attribute}")
    if attribute is not None and wanted.enabled:
        raise errors.validation("TimeToLive is already enabled")
    last = table.ttl
    if isinstance(last, TimeToLive) and 0 <= wanted.changed_at - last.changed_at < CHANGE_AFTER_US:
        raise errors.validation("Time to live has been modified multiple times within a fixed interval")


OPERATIONS: dict[str, Operation] = {
    "DescribeTimeToLive": Operation(_DESCRIBE, describe_time_to_live),
    "UpdateTimeToLive": Operation(_UPDATE, update_time_to_live),
}
