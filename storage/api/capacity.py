"""Consumed capacity, as DynamoDB computes it: reads by 4 KB, halved when eventually consistent, writes by 1 KB, at least one unit each."""

from __future__ import annotations

from scrubjay.storage.api import limits
from scrubjay.storage.api.call import Body
from scrubjay.storage.items.encoding import decode_item
from scrubjay.storage.items.local_index import LocalRows, units_of
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


class Consumed:
    """What a request has consumed of one table: of the table itself, and of each local index that it touched."""

    __slots__ = ("indexes", "table")

    def __init__(self, table: float = 0.0) -> None:
        self.table = table
        self.indexes: dict[str, float] = {}

    def index(self, name: str, units: float) -> None:
        self.indexes[name] = self.indexes.get(name, 0.0) + units

    def wrote(self, local: LocalRows | None, key: bytes, old: bytes | None, new: bytes | None) -> None:
        """One write: of the item, and of each index row that it made, changed or took away. A row whose key changed was taken away and made. key: the item's storage key."""
        self.table += write_units(stored_size(old), stored_size(new))
        if local is None:
            return
        for name, row in units_of(local, key, old, new).items():
            if row.moved:
                self.index(name, write_units(row.before or 0, 0) + write_units(0, row.after or 0))
            else:
                self.index(name, write_units(row.before or 0, row.after or 0))

    def body(self, mode: str | None, table: str) -> Body | None:
        """The ConsumedCapacity member for ReturnConsumedCapacity=`mode`; None if it was not asked for. table: as the request named it."""
        total = self.table + sum(self.indexes.values())
        if mode == "TOTAL":
            return {"TableName": table, "CapacityUnits": total}
        if mode != "INDEXES":
            return None
        body: Body = {"TableName": table, "CapacityUnits": total, "Table": {"CapacityUnits": self.table}}
        if self.indexes:
            body["LocalSecondaryIndexes"] = {name: {"CapacityUnits": units} for name, units in self.indexes.items()}
        return body


def consumed(mode: str | None, table: str, units: float) -> Body | None:
    """`Consumed.body` of the table alone."""
    return Consumed(units).body(mode, table)
