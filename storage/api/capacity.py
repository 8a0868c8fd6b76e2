"""Consumed capacity, as DynamoDB computes it: reads by 4 KB, halved when eventually consistent, writes by 1 KB, at least one unit each."""

from __future__ import annotations

from scrubjay.storage.api import limits
from scrubjay.storage.api.call import Body
from scrubjay.storage.catalogue import TableMeta
from scrubjay.storage.items.encoding import decode_item
from scrubjay.storage.items.global_index import GlobalRows
from scrubjay.storage.items.local_index import LocalRows, Units, row_units, units_of
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
    """What a request has consumed of one table: of the table itself, and of each index that it touched, local and global."""

    __slots__ = ("global_", "local", "table")

    def __init__(self, table: float = 0.0) -> None:
        self.table = table
        self.local: dict[str, float] = {}
        self.global_: dict[str, float] = {}

    def wrote(self, meta: TableMeta, key: bytes, old: bytes | None, new: bytes | None) -> None:
        """One write: of the item, and of each index row that it made, changed or took away. key: the item's storage key."""
        self.table += write_units(stored_size(old), stored_size(new))
        local = LocalRows.of_table(meta.key, meta.local_indexes)
        if local is not None:
            for name, row in units_of(local, key, old, new).items():
                add(self.local, name, _row_units(row))
        for index in meta.global_indexes or ():
            gone, come = GlobalRows(meta.key, index).change(key, old, new)
            touched = row_units(next(iter(gone.items()), None), next(iter(come.items()), None))
            if touched is not None and index.status != "DELETING":
                add(self.global_, index.name, _row_units(touched))

    def add(self, other: Consumed) -> None:
        """What another request of the same call consumed of the table."""
        self.table += other.table
        for mine, theirs in ((self.local, other.local), (self.global_, other.global_)):
            for name, units in theirs.items():
                add(mine, name, units)

    def body(self, mode: str | None, table: str) -> Body | None:
        """The ConsumedCapacity member for ReturnConsumedCapacity=`mode`; None if it was not asked for. table: as the request named it."""
        total = self.table + sum(self.local.values()) + sum(self.global_.values())
        if mode == "TOTAL":
            return {"TableName": table, "CapacityUnits": total}
        if mode != "INDEXES":
            return None
        body: Body = {"TableName": table, "CapacityUnits": total, "Table": {"CapacityUnits": self.table}}
        for member, units in (("LocalSecondaryIndexes", self.local), ("GlobalSecondaryIndexes", self.global_)):
            if units:
                body[member] = {name: {"CapacityUnits": one} for name, one in units.items()}
        return body


def add(units: dict[str, float], name: str, more: float) -> None:
    """More of index `name`."""
    units[name] = units.get(name, 0.0) + more


def _row_units(row: Units) -> float:
    """A row whose key changed was taken away and made."""
    if row.moved:
        return write_units(row.before or 0, 0) + write_units(0, row.after or 0)
    return write_units(row.before or 0, row.after or 0)


def consumed(mode: str | None, table: str, units: float) -> Body | None:
    """`Consumed.body` of the table alone."""
    return Consumed(units).body(mode, table)
