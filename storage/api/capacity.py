"""Consumed capacity, as DynamoDB computes it: reads by 4 KB, halved when eventually consistent, writes by 1 KB, at least one unit each."""

from __future__ import annotations

from scrubjay.storage.api import limits
from scrubjay.storage.api.call import Body
from scrubjay.storage.items.encoding import decode_item
from scrubjay.storage.items.size import item_size


def stored_size(data: bytes | None) -> int:
    """Size of canonical item bytes as DynamoDB counts it; 0 for none."""
    return 0 if data is None else item_size(decode_item(data))


def read_units(size: int, *, consistent: bool) -> float:
    """size: bytes read, as one read."""
    whole = max(1, -(-size // limits.READ_UNIT_BYTES))
    return float(whole) if consistent else whole / 2


def write_units(old_size: int, new_size: int) -> float:
    """The larger of the item before and after counts."""
    return float(max(1, -(-max(old_size, new_size) // limits.WRITE_UNIT_BYTES)))


def consumed(mode: str | None, table: str, units: float) -> Body | None:
    """The ConsumedCapacity member for ReturnConsumedCapacity=`mode`; None if it was not asked for. table: as the request named it."""
    if mode == "TOTAL":
        return {"TableName": table, "CapacityUnits": units}
    if mode == "INDEXES":
        return {"TableName": table, "CapacityUnits": units, "Table": {"CapacityUnits": units}}
    return None
