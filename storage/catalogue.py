"""What the metadata group knows about a table: frozen values, decoded from the items of the metadata partition.

Times are microseconds since the epoch. The catalogue is the router's in-memory map; `storage.control.metadata` keeps it.
"""

from __future__ import annotations

import msgspec

from scrubjay.base.ids import Member, PartitionId, TableId

METADATA_TABLE = "_scrubjay_metadata"
"""Name of the system table that the metadata group keeps. Not visible in the DynamoDB API."""


class KeyAttribute(msgspec.Struct, frozen=True):
    """name and type ('S', 'N' or 'B') of a key attribute."""

    name: str
    type: str


class KeySchema(msgspec.Struct, frozen=True):
    partition: KeyAttribute
    sort: KeyAttribute | None = None


class LocalIndex(msgspec.Struct, frozen=True):
    """A local secondary index: the items of one partition key, in the order of another attribute. sort: that attribute. projection: ALL | KEYS_ONLY | INCLUDE.
    attributes: of INCLUDE, beside the keys, as given."""

    name: str
    sort: KeyAttribute
    projection: str = "ALL"
    attributes: tuple[str, ...] = ()


class PartitionInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """A contiguous range of a table's hash space: [lo, hi), 16-byte bounds as 32 hex digits; hi "" is the end of the space. logs: numbers of the nodes whose
    member keeps the log alone (a log replica); the others are storage replicas."""

    partition_id: PartitionId
    lo: str
    hi: str
    members: tuple[Member, ...]
    logs: tuple[int, ...] = ()


class Throughput(msgspec.Struct, frozen=True):
    read: int = 0
    write: int = 0


class FinalSeal(msgspec.Struct, frozen=True):
    """Where the log of a dropped table's partition ends: LSN and stamp of its last SEAL, chain value (hex), and digest (hex) and rows of the state there,
    as at least two members stated them. What the archive holds of the table is whole once it reaches these."""

    partition_id: PartitionId
    lsn: int
    stamp: int
    chain: str
    digest: str
    rows: int


class TimeToLive(msgspec.Struct, frozen=True):
    """The time to live of a table's items, as it was last set. attribute: which one holds the time. changed_at: microseconds since the epoch."""

    enabled: bool
    attribute: str
    changed_at: int


class TableMeta(msgspec.Struct, frozen=True, kw_only=True):
    """One table, live or dropped.

    status: CREATING | ACTIVE | UPDATING | DELETING | DROPPED. restore_of: ids and instant of the source while and after a restore.
    attributes: attribute definitions as given, (name, type), in order. tags: sorted pairs.
    on_demand: ceilings of an on-demand table in request units, -1 for none.
    absent: numbers of members that held no log of this table when it became ACTIVE (they were down) and may still make one; anybody else's missing log is lost.
    pitr_enabled_at: when the API last enabled point-in-time recovery; None while disabled (archiving goes on all the same).
    local_indexes: in the order given, which numbers their rows (`storage.items.local_index`); they never change. A table without any says nothing of them.
    finals: of a dropped table, the end of each partition's log. archived_at: when all of them had reached the archive, and the replicas could go.
    """

    table_id: TableId
    name: str
    status: str
    key: KeySchema
    attributes: tuple[tuple[str, str], ...]
    partitions: tuple[PartitionInfo, ...]
    created_at: int
    billing: str = "PROVISIONED"
    billing_changed_at: int | None = None
    throughput: Throughput = Throughput()
    throughput_changed_at: tuple[int | None, int | None] = (None, None)
    deletion_protection: bool = False
    table_class: str = "STANDARD"
    table_class_changed_at: int | None = None
    tags: tuple[tuple[str, str], ...] = ()
    pitr_enabled_at: int | None = None
    pitr_days: int = 35
    dropped_at: int | None = None
    restore_of: RestoreOrigin | None = None
    version: int = 1
    on_demand: Throughput | None = None
    finals: tuple[FinalSeal, ...] = ()
    archived_at: int | None = None
    absent: tuple[int, ...] = ()
    local_indexes: tuple[LocalIndex, ...] | msgspec.UnsetType = msgspec.UNSET
    ttl: TimeToLive | msgspec.UnsetType = msgspec.UNSET
    """UNSET: it was never set, as in a table that was restored or imported."""

    @property
    def ttl_attribute(self) -> str | None:
        """Which attribute holds the time after which an item goes; None: none of them go by themselves."""
        return self.ttl.attribute if isinstance(self.ttl, TimeToLive) and self.ttl.enabled else None


class RestoreOrigin(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a restored table came from. at: the target instant, microseconds, inclusive. in_progress: digests not yet agreed. backup: id of the backup, if it was one.

    imported: id of the import that made the table: it came from no table, and table_id and table_name are its own."""

    table_id: TableId
    table_name: str
    at: int
    in_progress: bool
    backup: str | None = None
    imported: str | None = None


class WriterNotes(msgspec.Struct, frozen=True):
    """Who of this cluster may write to its archive (archiver.write.claiming).

    owners: random ids, each written here before it claims an epoch; newest last. epoch: the highest that was noted as claimed by us. taken_over: up to this
    epoch, other owners and other histories were given up by a confirmed takeover. stopped: why nothing may be written any more, [kind, reason, since (us)].
    """

    owners: tuple[str, ...] = ()
    epoch: int = 0
    taken_over: int = 0
    stopped: tuple[str, str, int] | None = None


class TableStats(msgspec.Struct, frozen=True):
    """Rows and bytes (key and item, as stored) of a table's leaders, as of their last applied record. indexes: the same of each local index."""

    rows: int
    bytes: int
    indexes: tuple[tuple[int, int], ...] = ()
