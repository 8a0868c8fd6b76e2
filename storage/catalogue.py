"""What the metadata group knows about a table: frozen values, decoded from the items of the metadata partition.

Times are microseconds since the epoch. The catalogue is the router's in-memory map; `storage.control.metadata` keeps it.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from scrubjay.base.hlc import stamp_micros
from scrubjay.base.ids import Member, PartitionId, Stamp, TableId
from scrubjay.base.times import utc_text
from scrubjay.storage.cluster_version import LOWEST

METADATA_TABLE = "_scrubjay_metadata"
"""Name of the system table that the metadata group keeps. Not visible in the DynamoDB API."""

LEDGER_TABLE = "_scrubjay_transactions"
"""Name of the system table in which transactions are decided. Made when the first one wants it; not visible in the DynamoDB API."""

SYSTEM_TABLES = (METADATA_TABLE, LEDGER_TABLE)
"""Names that nobody's table has."""


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
    member keeps the log alone (a log replica); the others are storage replicas. members: who founded the group; who is a member since, its log says (ADR 0075).

    hosts: numbers of the nodes that have a copy, or are making one, once they are not those of `members` any more; (): they are. fresh: of them those whose copy is being made:
    no CONFIG names them yet, so a log that is not there is begun, and not lost. Both are moved by `server.relocating` alone (ADR 0077).

    goes: of them those whose copy goes, though their node stays: another has taken it, or is about to. again: as which member a copy speaks that came back to a node after one of its group had left that
    node: no member comes back under its id. Of others that follows from their node (ADR 0086)."""

    partition_id: PartitionId
    lo: str
    hi: str
    members: tuple[Member, ...]
    logs: tuple[int, ...] = ()
    hosts: tuple[int, ...] = ()
    fresh: tuple[int, ...] = ()
    goes: tuple[int, ...] = ()
    again: tuple[Member, ...] = ()

    def member_on(self, number: int, incarnation: int) -> Member:
        """The member that the copy on that node is. incarnation: of the node."""
        return Member(number, max([incarnation, *[member[1] for member in self.again if member[0] == number]]))

    @property
    def nodes(self) -> tuple[int, ...]:
        """Numbers of the nodes that have a copy, or are making one."""
        return self.hosts or tuple([member[0] for member in self.members])


class Throughput(msgspec.Struct, frozen=True):
    read: int = 0
    write: int = 0


class GlobalIndex(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A global secondary index: items by attributes of their own choice, in a table of its own. hash, sort: its key attributes, one to four, none to four. projection, attributes: as of
    a LocalIndex. table_id, partitions: of the internal table that holds its rows; "", (): not made yet. status: CREATING | ACTIVE | UPDATING | DELETING. backfilling: the table's items are
    being put into it. created_at: microseconds since the epoch. throughput, throughput_changed_at, on_demand, warm, decreases: as of a table."""

    name: str
    hash: tuple[KeyAttribute, ...]
    sort: tuple[KeyAttribute, ...] = ()
    projection: str = "ALL"
    attributes: tuple[str, ...] = ()
    table_id: TableId = TableId("")
    partitions: tuple[PartitionInfo, ...] = ()
    status: str = "CREATING"
    backfilling: bool = False
    created_at: int = 0
    throughput: Throughput = Throughput()
    throughput_changed_at: tuple[int | None, int | None] = (None, None)
    on_demand: Throughput | None = None
    warm: Throughput | None = None
    made: bool = False
    """Every partition of its table has had a leader."""
    absent: tuple[int, ...] = ()
    """As of a table, once it was made."""
    next: GlobalIndex | None = None
    """The one that is built to take its place, as its rows cannot be relied on or its copies are bad: it is read until then."""
    decreases: int = 0
    split: SplitIntent | msgspec.UnsetType = msgspec.UNSET
    """As of a table (ADR 0087)."""
    former: tuple[FormerPartition, ...] | msgspec.UnsetType = msgspec.UNSET
    """As of a table, for as long as some partition of it may have to be told how far the one that it came of was fed, or a copy may still be there."""


class IndexOf(msgspec.Struct, frozen=True):
    """Which index of which table an internal table has the rows of."""

    table_id: TableId
    index: str


INCARNATION_FIRST = 1
"""Of a member that founded the cluster, or joined it with the first folder of its node."""

MEMBER, DRAINING, REMOVED = "", "draining", "removed"
"""What a node of the cluster is: DRAINING: its copies go to others, and it gets none. REMOVED: it is none any more."""


class NodeMember(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which member a node is that joined, was replaced, or is leaving. id: of the folder that was given that incarnation, and of no other (`storage.node.identity`); "": nobody knows it.
    replaced_at: microseconds. state: MEMBER | DRAINING | REMOVED."""

    number: int
    incarnation: int
    id: str
    replaced_at: int
    state: str = MEMBER


class VersionNote(msgspec.Struct, frozen=True):
    """The cluster's version (`storage.cluster_version`); it never goes down. held: above which it is not raised, as somebody asked (0: nobody did), held_at: when (microseconds)."""

    number: int = LOWEST
    held: int = 0
    held_at: int = 0


class FinalSeal(msgspec.Struct, frozen=True):
    """Where the log of a dropped table's partition ends, or of one that was split: LSN and stamp of its last SEAL, chain value (hex), and digest (hex) and rows of the state there,
    as at least two members stated them. What the archive holds of it is whole once it reaches these."""

    partition_id: PartitionId
    lsn: int
    stamp: int
    chain: str
    digest: str
    rows: int


class SplitIntent(msgspec.Struct, frozen=True):
    """That a partition is to become two (ADR 0078). It is never taken back: a command may be under way that nobody knows of. id: 32 hex digits, names it. cut: 32 hex digits, what lies below goes
    left. left, right: the children. began_at: microseconds since the epoch."""

    id: str
    parent: PartitionId
    cut: str
    left: PartitionId
    right: PartitionId
    began_at: int


class FormerPartition(msgspec.Struct, frozen=True, omit_defaults=True):
    """A partition that was split. info: as it was. final: where its log ends; its history is whole up to the end of that stamp's microsecond, and the children's begins behind it. archived_at: when
    the archive had reached that, and its copies could go."""

    info: PartitionInfo
    final: FinalSeal
    split: SplitIntent
    archived_at: int | None = None

    @property
    def closed_us(self) -> int:
        """The last microsecond of its history."""
        return stamp_micros(Stamp(self.final.stamp))


class TimeToLive(msgspec.Struct, frozen=True):
    """The time to live of a table's items, as it was last set. attribute: which one holds the time. changed_at: microseconds since the epoch."""

    enabled: bool
    attribute: str
    changed_at: int


class ResourcePolicy(msgspec.Struct, frozen=True, omit_defaults=True):
    """The policy that is attached to a table or a stream of it (ADR 0079). text: as it is shown, "": it was removed. changed_at: microseconds since the epoch, later than any before. stream: label, "": it is
    the table's. versioned: the request said its Version."""

    text: str
    changed_at: int
    stream: str = ""
    versioned: bool = True

    @property
    def revision(self) -> str:
        """By which a request means it."""
        return str(self.changed_at // 1000)


class StreamShard(msgspec.Struct, frozen=True):
    """What a stream shows of one partition's log: the records behind LSN `first`, up to `last`, itself included; None: it goes on. parent: the partition that it came of at a split, of which the stream
    shows something too; UNSET: none."""

    partition_id: PartitionId
    first: int
    last: int | None = None
    parent: PartitionId | msgspec.UnsetType = msgspec.UNSET


class TableStream(msgspec.Struct, frozen=True, kw_only=True):
    """A stream of a table's changes, on or off (ADR 0073). label: names it among the table's. view: KEYS_ONLY | NEW_IMAGE | OLD_IMAGE | NEW_AND_OLD_IMAGES. status: ENABLING |
    ENABLED | DISABLING | DISABLED. shards: of each partition of which it is known where the stream begins in its log. ended_at: when it was turned off."""

    label: str
    view: str
    status: str
    created_at: int
    ended_at: int | None = None
    shards: tuple[StreamShard, ...] = ()

    @property
    def on(self) -> bool:
        """Changes go into it."""
        return self.status in ("ENABLING", "ENABLED")


STREAM_KEPT_US = 24 * 3_600_000_000
"""How long what a stream shows can be read, and a stream that is off."""


def new_stream(view: str, now_us: int) -> TableStream:
    """A stream that is being turned on now."""
    return TableStream(label=utc_text(now_us)[:23], view=view, status="ENABLING", created_at=now_us)


PITR_DAYS = 35
"""How long history is kept unless somebody asked for less."""


class TableMeta(msgspec.Struct, frozen=True, kw_only=True):
    """One table, live or dropped.

    status: CREATING | ACTIVE | UPDATING | DELETING | DROPPED. restore_of: ids and instant of the source while and after a restore.
    attributes: attribute definitions as given, (name, type), in order; they never change. attributes_now: what global indexes made and removed since have made of them. tags: sorted pairs.
    on_demand: ceilings of an on-demand table in request units, -1 for none. warm: units a second that were asked to be warm.
    absent: numbers of members that held no log of this table when it became ACTIVE (they were down) and may still make one; anybody else's missing log is lost.
    pitr_enabled_at: when the API last enabled point-in-time recovery; None while disabled (archiving goes on all the same).
    local_indexes: in the order given, which numbers their rows (`storage.items.local_index`); they never change. A table without any says nothing of them.
    global_indexes: in the order they were made, those that are being made or removed included. A table without any says nothing of them.
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
    pitr_days: int = PITR_DAYS
    dropped_at: int | None = None
    restore_of: RestoreOrigin | None = None
    version: int = 1
    on_demand: Throughput | None = None
    finals: tuple[FinalSeal, ...] = ()
    archived_at: int | None = None
    absent: tuple[int, ...] = ()
    local_indexes: tuple[LocalIndex, ...] | msgspec.UnsetType = msgspec.UNSET
    global_indexes: tuple[GlobalIndex, ...] | msgspec.UnsetType = msgspec.UNSET
    attributes_now: tuple[tuple[str, str], ...] | msgspec.UnsetType = msgspec.UNSET
    index_of: IndexOf | msgspec.UnsetType = msgspec.UNSET
    """Of an internal table, which no catalogue has by itself: `index_table`."""
    gone: tuple[PartitionInfo, ...] | msgspec.UnsetType = msgspec.UNSET
    """Partitions of indexes that were removed, while some member may still have a copy."""
    warm: Throughput | msgspec.UnsetType = msgspec.UNSET
    decreases: int | msgspec.UnsetType = msgspec.UNSET
    """How often provisioned throughput was decreased on the day (UTC) of the last time. UNSET: never."""
    class_named: bool | msgspec.UnsetType = msgspec.UNSET
    """CreateTable named the class, which is then shown though it be the usual one. UNSET: it did not, as in a table that was restored or imported."""
    ttl: TimeToLive | msgspec.UnsetType = msgspec.UNSET
    """UNSET: it was never set, as in a table that was restored or imported."""
    streams: tuple[TableStream, ...] | msgspec.UnsetType = msgspec.UNSET
    """The newest last, and before it those that were turned off not long ago. UNSET: there was none yet, as in a table that was restored or imported."""
    policies: tuple[ResourcePolicy, ...] | msgspec.UnsetType = msgspec.UNSET
    """At most one of the table, and one of each of its streams. UNSET: there was none yet, as in a table that was restored or imported."""
    split: SplitIntent | msgspec.UnsetType = msgspec.UNSET
    """Of the partition that is to become two; one at a time. UNSET: none is."""
    former: tuple[FormerPartition, ...] | msgspec.UnsetType = msgspec.UNSET
    """Partitions that were split, in the order in which they were. UNSET: none was, as in a table that was restored or imported."""

    def policy(self, stream: str = "") -> ResourcePolicy | None:
        """The last that was set or removed. stream: label, "": of the table."""
        return next((one for one in self.policies or () if one.stream == stream), None)

    @property
    def stream(self) -> TableStream | None:
        """The one that is on; None: none is."""
        return self.streams[-1] if self.streams and self.streams[-1].on else None

    def streams_kept(self, now_us: int) -> list[TableStream]:
        """Those that can be read, oldest first: off, or of a table that was dropped, for not longer than a day. As they are: the table's end turns off what was on."""
        kept = []
        for one in self.streams or ():
            if one.on and self.status in ("DELETING", "DROPPED"):
                finals = {final.partition_id: final.lsn for final in self.finals}
                shards = tuple(
                    [
                        msgspec.structs.replace(shard, last=finals.get(shard.partition_id)) if shard.last is None else shard
                        for shard in one.shards
                    ]
                )
                status = "DISABLING" if self.status == "DELETING" else "DISABLED"
                one = msgspec.structs.replace(one, status=status, shards=shards, ended_at=self.dropped_at or now_us)
            if one.ended_at is None or now_us - one.ended_at < STREAM_KEPT_US:
                kept.append(one)
        return kept

    @property
    def stream_label(self) -> str:
        """Of the stream that is on, "": none is."""
        return "" if self.stream is None else self.stream.label

    @property
    def keeps_old(self) -> bool:
        """Records of this table's changes carry the item that was there before: somebody reads the log for it."""
        return self.stream is not None or bool(self.global_indexes)

    @property
    def shown_attributes(self) -> tuple[tuple[str, str], ...]:
        """The attribute definitions as of now."""
        return self.attributes if isinstance(self.attributes_now, msgspec.UnsetType) else self.attributes_now

    @property
    def ttl_attribute(self) -> str | None:
        """Which attribute holds the time after which an item goes; None: none of them go by themselves."""
        return self.ttl.attribute if isinstance(self.ttl, TimeToLive) and self.ttl.enabled else None


def with_policy(table: TableMeta, policy: ResourcePolicy) -> TableMeta:
    """The table with a policy in place of the one of the same stream; those of streams that nobody can read any more go."""
    labels = {"", policy.stream, *(stream.label for stream in table.streams or ())}
    kept = [one for one in table.policies or () if one.stream != policy.stream and one.stream in labels]
    changed: TableMeta = msgspec.structs.replace(table, policies=(*kept, policy))
    return changed


def index_table(table: TableMeta, index: GlobalIndex) -> TableMeta:
    """The internal table that holds the rows of an index: a table like any other to the nodes that hold its partitions, and to none else. It is not archived, for it is derived."""
    first, sort = index.hash[0], index.sort[0] if index.sort else None
    return TableMeta(
        table_id=index.table_id,
        name=f"{table.name}/{index.name}",
        status="ACTIVE" if index.made else "CREATING",
        key=KeySchema(first, sort),
        attributes=(),
        partitions=index.partitions,
        created_at=index.created_at,
        billing=table.billing,
        version=table.version,
        absent=index.absent,
        index_of=IndexOf(table.table_id, index.name),
        split=index.split,
        former=index.former,
    )


def index_tables(table: TableMeta) -> tuple[TableMeta, ...]:
    """Those of all indexes of a table that are there or being made, and of those that are built to take the place of one."""
    if table.status in ("DELETING", "DROPPED"):
        return ()
    found: list[TableMeta] = []
    for index in table.global_indexes or ():
        found += [index_table(table, one) for one in (index, index.next) if one is not None and index.status != "DELETING"]
    return tuple(found)


def with_index_table(table: TableMeta, changed: TableMeta) -> TableMeta | None:
    """The table with what `changed`, the internal table of an index of it or of one that is built beside it, says of its partitions and their splits; None: it has no such index, or says the same."""

    def put(index: GlobalIndex) -> GlobalIndex:
        if index.table_id == changed.table_id:
            return msgspec.structs.replace(index, partitions=changed.partitions, split=changed.split, former=changed.former)
        return index if index.next is None else msgspec.structs.replace(index, next=put(index.next))

    indexes = tuple([index if index.status == "DELETING" else put(index) for index in table.global_indexes or ()])
    if indexes == (table.global_indexes or ()):
        return None
    with_: TableMeta = msgspec.structs.replace(table, global_indexes=indexes)
    return with_


def with_partition(table: TableMeta, before: PartitionInfo, info: PartitionInfo) -> TableMeta | None:
    """The table with `info` in the place of what it says of a partition, its own or an index's; None: it says something else of it than `before`."""

    def put(partitions: tuple[PartitionInfo, ...]) -> tuple[PartitionInfo, ...]:
        return tuple([info if one == before else one for one in partitions])

    def indexed(index: GlobalIndex) -> GlobalIndex:
        following = None if index.next is None else indexed(index.next)
        return msgspec.structs.replace(index, partitions=put(index.partitions), next=following)

    changed: TableMeta = msgspec.structs.replace(table, partitions=put(table.partitions))
    if table.global_indexes:
        changed = msgspec.structs.replace(changed, global_indexes=tuple([indexed(index) for index in table.global_indexes]))
    return None if changed == table else changed


def halves(info: PartitionInfo, split: SplitIntent) -> tuple[PartitionInfo, PartitionInfo]:
    """The two that a partition becomes, where its own copies are."""
    left = msgspec.structs.replace(info, partition_id=split.left, hi=split.cut)
    return left, msgspec.structs.replace(info, partition_id=split.right, lo=split.cut)


def coming(table: TableMeta) -> tuple[PartitionInfo, ...]:
    """The two that a partition of the table is to become; (): none is to be split."""
    split = table.split
    if isinstance(split, msgspec.UnsetType):
        return ()
    return next((halves(info, split) for info in table.partitions if info.partition_id == split.parent), ())


def leaving(table: TableMeta) -> tuple[PartitionInfo, ...]:
    """Those that were split and of which nodes may still have copies."""
    return tuple([former.info for former in table.former or () if former.archived_at is None])


def with_children(table: TableMeta, final: FinalSeal) -> TableMeta:
    """The table once both children of its split serve. final: where the parent's log ended."""
    split, children = table.split, coming(table)
    assert not isinstance(split, msgspec.UnsetType)
    assert children, "whoever calls this has seen the parent"
    assert final.partition_id == split.parent
    parent = next(info for info in table.partitions if info.partition_id == split.parent)
    partitions = tuple([one for info in table.partitions for one in (children if info is parent else (info,))])
    former = (*(table.former or ()), FormerPartition(parent, final, split))
    streams = tuple([_stream_over(one, split, final.lsn) for one in table.streams]) if table.streams else table.streams
    changed: TableMeta = msgspec.structs.replace(table, partitions=partitions, former=former, streams=streams, split=msgspec.UNSET)
    return changed


def _stream_over(stream: TableStream, split: SplitIntent, lsn: int) -> TableStream:
    """What a stream shows of a partition that was split ends with that one's log, at `lsn`, and goes on in its children. One that has ended before shows nothing of them."""
    shards: list[StreamShard] = []
    for shard in stream.shards:
        if shard.partition_id != split.parent or shard.last is not None:
            shards.append(shard)
            continue
        children = [StreamShard(child, lsn, parent=split.parent) for child in (split.left, split.right)]
        shards += [msgspec.structs.replace(shard, last=lsn), *children]
    return msgspec.structs.replace(stream, shards=tuple(shards))


def partitions_at(table: TableMeta, at_us: int) -> tuple[PartitionInfo, ...]:
    """The partitions that hold what a table was at a moment (microseconds, inclusive), in the order of their ranges: in the place of two children their parent, as long as its history goes."""
    found = {info.partition_id: info for info in table.partitions}
    for former in reversed(table.former or ()):
        if at_us <= former.closed_us:
            for child in (former.split.left, former.split.right):
                found.pop(child, None)
            found[former.info.partition_id] = former.info
    return tuple(sorted(found.values(), key=lambda info: info.lo))


def as_of(table: TableMeta, at_us: int) -> TableMeta:
    """The table with the partitions that it had at a moment (`partitions_at`); of splits it knows those before that."""
    if not table.former:
        return table
    former = tuple([one for one in table.former if one.closed_us < at_us])
    changed: TableMeta = msgspec.structs.replace(table, partitions=partitions_at(table, at_us), former=former or msgspec.UNSET)
    return changed


def every_partition(table: TableMeta) -> tuple[PartitionInfo, ...]:
    """Those that it has and those that were split: all that the archive may hold of it."""
    return (*table.partitions, *[one.info for one in table.former or ()])


def placed(table: TableMeta) -> tuple[PartitionInfo, ...]:
    """Partitions that it has, is to have, and had: all that nodes may have copies of, and of those that were split the archive the log."""
    return (*every_partition(table), *coming(table))


def splits_of(table: TableMeta) -> tuple[tuple[PartitionId, PartitionId, PartitionId], ...]:
    """(parent, left, right) of each of its splits, oldest first."""
    return tuple([(one.info.partition_id, one.split.left, one.split.right) for one in table.former or ()])


def parent_of(table: TableMeta, partition: PartitionId) -> FormerPartition | None:
    """The one that was split into this partition and another; None: it was made with the table."""
    return next((former for former in table.former or () if partition in (former.split.left, former.split.right)), None)


def told_by(table: TableMeta, partition: PartitionId) -> tuple[PartitionId, ...]:
    """Those that were split, of what the partition goes on from, of which it has the lowest keys: nobody looks at their copies any more, and what was found of them is told once, with it."""
    left = {former.info.partition_id: former.split.left for former in table.former or ()}
    found = []
    for former in left:
        heir = former
        while heir in left:
            heir = left[heir]
        if heir == partition:
            found.append(former)
    return tuple(found)


def without_past(table: TableMeta, gone: Collection[PartitionId]) -> TableMeta | None:
    """The table without those of its former partitions that nothing is left of to be asked for; None: there is none. gone: partitions of which the archive has nothing any more. One that was itself made by a split
    stays as long as what it was made of, for a moment is looked up from the last split to the first; one that a stream shows, or of which a copy of a child may still begin its log, stays too."""
    shown = {shard.partition_id for stream in table.streams or () for shard in stream.shards}
    fresh = {info.partition_id for info in table.partitions if info.fresh}
    kept = list(table.former or ())
    for former in list(kept):  # oldest first
        place, children = former.info.partition_id, {former.split.left, former.split.right}
        older = any(place in (one.split.left, one.split.right) for one in kept)
        if place in gone and former.archived_at is not None and not (older or place in shown or children & fresh):
            kept.remove(former)
    if len(kept) == len(table.former or ()):
        return None
    changed: TableMeta = msgspec.structs.replace(table, former=tuple(kept) or msgspec.UNSET)
    return changed


def unmade(index: GlobalIndex) -> GlobalIndex:
    """An index's definition, of which nobody has made a table yet."""
    plain: GlobalIndex = msgspec.structs.replace(
        index,
        table_id=TableId(""),
        partitions=(),
        status="CREATING",
        backfilling=False,
        created_at=0,
        made=False,
        absent=(),
        next=None,
        split=msgspec.UNSET,
        former=msgspec.UNSET,
    )
    return plain


def definition_anew(table: TableMeta) -> TableMeta:
    """A table's definition for another table that is made after it: of its global indexes that are not being removed what users set, for they are made anew. It has no past."""
    fresh = tuple(
        [
            msgspec.structs.replace(unmade(index), throughput_changed_at=(None, None), decreases=0)
            for index in table.global_indexes or ()
            if index.status != "DELETING"
        ]
    )
    return msgspec.structs.replace(
        table,
        attributes=table.shown_attributes,
        attributes_now=msgspec.UNSET,
        global_indexes=fresh or msgspec.UNSET,
        gone=msgspec.UNSET,
        split=msgspec.UNSET,
        former=msgspec.UNSET,
    )


def without_index(table: TableMeta, name: str) -> TableMeta:
    """The table once an index is gone. An attribute that was a key of it alone is defined no more; the definitions that the table was made with stand in `attributes` for ever."""
    left = tuple([index for index in table.global_indexes or () if index.name != name])
    without: TableMeta = msgspec.structs.replace(table, global_indexes=left or msgspec.UNSET)
    return msgspec.structs.replace(without, attributes_now=used_attributes(without))


def used_attributes(table: TableMeta) -> tuple[tuple[str, str], ...]:
    """The attribute definitions of a table that are of keys, its own or its indexes'."""
    used = {table.key.partition.name} if table.key.sort is None else {table.key.partition.name, table.key.sort.name}
    used.update(index.sort.name for index in table.local_indexes or ())
    used.update(one.name for index in table.global_indexes or () for one in (*index.hash, *index.sort))
    return tuple([pair for pair in table.shown_attributes if pair[0] in used])


def index_remains(table: TableMeta) -> tuple[PartitionInfo, ...]:
    """Partitions of indexes that are to be gone: those removed, and all of a table that is dropped."""
    dropped = table.status in ("DELETING", "DROPPED")
    found = list(table.gone or ())
    for index in table.global_indexes or ():
        if dropped or index.status == "DELETING":
            found += index_places(table, index)
    return tuple(found)


def index_places(table: TableMeta, index: GlobalIndex) -> tuple[PartitionInfo, ...]:
    """All that nodes may have copies of, of an index and of one that is built beside it."""
    return tuple([info for one in (index, index.next) if one is not None for info in placed(index_table(table, one))])


class RestoreOrigin(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a restored table came from. at: the target instant, microseconds, inclusive. in_progress: digests not yet agreed. backup: id of the backup, if it was one.

    imported: id of the import that made the table: it came from no table, and table_id and table_name are its own. published_at: when its digests agreed, microseconds; 0: they have not, or an
    older release published it."""

    table_id: TableId
    table_name: str
    at: int
    in_progress: bool
    backup: str | None = None
    imported: str | None = None
    published_at: int = 0

    def brings(self, index: GlobalIndex) -> bool:
        """The index came with the table, and its rows are still being made. One that is added later is the table's own change."""
        return index.status == "CREATING" and index.created_at <= self.published_at


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
