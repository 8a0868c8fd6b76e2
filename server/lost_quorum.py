"""`scrubjay cluster recover-quorum`: groups whose quorum is lost for good go on from the one voter that is left (ADR 0084).

Works on the stopped folder of that one node, and on the archive: without its metadata group a cluster has nobody to ask. Nothing is asked of a quorum, so it is a person who says that the lost
nodes never come back; what this module holds is that they could not if they tried, and that what may be lost is told.

In this order, each step durable before the next, and each found done when it is asked for again:

1. the archive says whose folders are of a former membership (`archiver.format.former`): from then on no folder of a lost node speaks that can reach it;
2. the list of members of this folder has those nodes cut off: no other folder of theirs is let in here;
3. what the archive has of a group behind the survivor's log comes into that log: it was chosen, and new records must not take its LSNs;
4. one batch of the log has, for each group, the CONFIG by which the survivor alone votes, and for the metadata group what makes the lost nodes no members of the cluster.

Then the node is started as ever. What it leads it may be joined in: nodes with empty folders join, and copies are made on them as after any removal.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import msgspec

from scrubjay.archiver.format.closed import decode_closed
from scrubjay.archiver.format.former import CutGroup, Former, FormerMember, encode_former
from scrubjay.archiver.format.identity import decode_epoch
from scrubjay.archiver.format.layout import SegmentKey, closed_prefix, log_prefix, parse, time_text
from scrubjay.archiver.read.archived_log import ListedLog
from scrubjay.archiver.read.formers import formers
from scrubjay.archiver.read.names import epochs_after, list_all
from scrubjay.archiver.write.claiming import OWNERS_KEPT
from scrubjay.base.env import Env, ObjectStore
from scrubjay.base.errors import Corrupt, Exists, Missing, NoKey, ScrubjayError, Unsafe
from scrubjay.base.hlc import stamp_micros, stamp_of
from scrubjay.base.ids import ClusterId, Lsn, Member, NodeName, PartitionId, Stamp, TableId, uuid_bytes
from scrubjay.server.cut_histories import key_of, note_of
from scrubjay.storage.btree.engine import Row, TreeState
from scrubjay.storage.catalogue import REMOVED, NodeMember, PartitionInfo, TableMeta, WriterNotes, coming, every_partition, index_tables
from scrubjay.storage.consensus.membership import has_quorum, left_alone
from scrubjay.storage.control.kept_catalogue import KeptCatalogue, catalogue_record
from scrubjay.storage.control.metadata import NODE, WRITER
from scrubjay.storage.log import record as records
from scrubjay.storage.log.configuration import Configuration, Vote, decode_configuration, encode_configuration, founding
from scrubjay.storage.log.record import Record, RecordKind, Seal, decode_seal
from scrubjay.storage.node.identity import FORMER, Members
from scrubjay.storage.replica.state import BornExtra
from scrubjay.storage.wal.port import Append, Recovered, ReplicaLog, Reserve
from scrubjay.storage.wal.wal import Wal

CLOSED_US = 7_200_000_000
"""Closed timestamps published so long ago are not looked at for what the lost nodes had."""
READ_BYTES = 8 << 20
"""Of a log or of the archive at a time."""
PUT_TRIES = 8

LOST, QUORUM, ELSEWHERE, LEFT, REFUSED = "lost", "quorum", "elsewhere", "left", "refused"
"""How a group stands: it is recovered; it needs nothing; this node has no vote in it, or no copy; it stays without a quorum, and is needed no more; it keeps all of this from being done."""


class TreeLook(Protocol):
    """A tree as its last checkpoint left it. Raises Corrupt."""

    @property
    def state(self) -> TreeState: ...

    def range(self, start: bytes, end: bytes | None) -> Iterator[Row]: ...

    def close(self) -> None: ...


class Survivor(NamedTuple):
    """The one node that is left, which does not run. number: of the node; id, incarnation: of its folder. look: its tree of a partition; raises Missing, Corrupt, Unavailable. log_members: it keeps
    the log alone of that partition."""

    name: NodeName
    number: int
    id: str
    incarnation: int
    wal: Wal
    recovered: Recovered
    look: Callable[[PartitionId], TreeLook]
    keeps_log: Callable[[PartitionId], bool]


@dataclass(slots=True)
class GroupPlan:
    """One group. standing: see above; why: in words. log, configuration: as the survivor has them, None: it has no log, or cannot tell. applied: up to there its tree is, so it was chosen.
    archived: the last LSN that the archive has, 0: none. takes: so many records come from there. known: the last content LSN that any leader said it had closed: what lies between that and
    `ends` is lost for certain."""

    table: TableMeta
    info: PartitionInfo
    standing: str = ELSEWHERE
    why: str = ""
    log: ReplicaLog | None = None
    configuration: Configuration | None = None
    applied: int = 0
    archived: int = 0
    takes: int = 0
    known: int = 0
    newest: Stamp = Stamp(0)
    """Stamp of its last record, those that come from the archive too."""
    after: Configuration | None = None

    @property
    def partition(self) -> PartitionId:
        return self.info.partition_id

    @property
    def last(self) -> int:
        return 0 if self.log is None else int(self.log.last)

    @property
    def ends(self) -> int:
        """Up to where its history goes on: whatever was acknowledged behind it is lost."""
        return self.last + self.takes

    def as_json(self, names: Mapping[int, NodeName]) -> dict[str, Any]:
        places = () if self.configuration is None else self.configuration.places
        told = self.standing == LOST
        return {
            "table": self.table.name,
            "table_id": self.table.table_id,
            "partition": self.partition,
            "standing": self.standing,
            "why": self.why or None,
            "voters": [names.get(place.member.node, NodeName(f"node {place.member.node}")) for place in places if place.vote is Vote.VOTES],
            "log": None
            if self.log is None
            else {"first": int(self.log.first), "last": self.last, "known_chosen": max(self.applied, min(self.archived, self.last))},
            "archived": self.archived,
            "from_archive": self.takes,
            "kept_to": self.ends if told else None,
            "may_be_lost_after": self.ends if told else None,
            "lost_for_certain": max(0, self.known - self.ends) if told else None,
        }


@dataclass(slots=True)
class QuorumPlan:
    """What is to be done. groups: the metadata group first. lost: nodes that never come back. known: recoveries that the archive tells of. above: every new stamp lies above it."""

    cluster: ClusterId
    survivor: NodeName
    lost: tuple[FormerMember, ...]
    numbers: dict[NodeName, int]
    groups: list[GroupPlan]
    unknown: list[PartitionId]
    known: list[Former]
    above: Stamp
    catalogue: dict[str, str] = field(default_factory=dict)
    """Items that the metadata group is to say, JSON by name."""

    @property
    def recovers(self) -> list[GroupPlan]:
        return [group for group in self.groups if group.standing == LOST]

    def refusals(self) -> list[GroupPlan]:
        return [group for group in self.groups if group.standing == REFUSED]

    def check(self) -> None:
        """Raises Unsafe if any group is in the way: half of a cluster is not recovered."""
        refused = self.refusals()
        if refused:
            first = refused[0]
            raise Unsafe(
                "a group cannot be recovered from this node: nothing was changed",
                table=first.table.name,
                partition=first.partition,
                why=first.why,
                groups_refused=len(refused),
                next="runbooks/lost-quorum.md; what the archive holds: scrubjay recover --archive URL --data NEW --plan",
            )


# --- looking ---


async def plan_recovery(
    env: Env,
    store: ObjectStore,
    survivor: Survivor,
    system: TableMeta,
    *,
    cluster: ClusterId,
    members: Members,
    lost: Mapping[NodeName, int],
) -> QuorumPlan:
    """What recovering means, group by group; changes nothing. system: the metadata group as it was founded. lost: numbers by name.

    Raises Unsafe (this node cannot be recovered from), Corrupt (what was read of the node or the archive), Unavailable (the archive: what may be lost cannot be told).
    """
    known = await formers(store, cluster)
    ours = ListedLog(store, cluster, env.tasks)
    for former in known:
        if any(member.names(survivor.name, survivor.id, survivor.incarnation) for member in former.members):
            raise Unsafe(
                "this node is of a former membership itself: the cluster was recovered without it",
                node=survivor.name,
                recovered_from=former.survivor,
                number=former.number,
                next=f"go on from {former.survivor}; start this node with an empty data folder, and: scrubjay cluster join",
            )
    closed, above = await _closed(store, cluster, env.clock.wall_us())
    gone = frozenset(lost.values())
    looker = _Looker(ours, store, cluster, survivor, gone, closed)
    metadata = GroupPlan(system, system.partitions[0])
    if metadata.partition not in survivor.recovered.replicas:
        raise Unsafe(
            "this node has no copy of the metadata group: which groups it belongs to cannot be told",
            node=survivor.name,
            next="run it on a node that has one; tables of which no such node has a copy are restored from the archive: scrubjay restore",
        )
    kept = await looker.catalogue(metadata)
    groups = [metadata]
    named = {metadata.partition}
    if metadata.standing != REFUSED:
        for table in sorted(kept.tables().values(), key=lambda one: (one.name, one.table_id)):
            for one in (table, *index_tables(table)):
                named |= {info.partition_id for info in (*every_partition(one), *coming(one))}
                for info in (*one.partitions, *(half for half in coming(one) if half.partition_id in survivor.recovered.replicas)):
                    group = GroupPlan(one, info)
                    await looker.look(group, archived=one is table)
                    groups.append(group)
    plan = QuorumPlan(
        cluster,
        survivor.name,
        tuple(_former(name, members, kept, known, lost, groups) for name in sorted(lost)),
        dict(lost),
        groups,
        sorted(set(survivor.recovered.replicas) - named),
        known,
        Stamp(max([above, *(group.newest for group in groups)])),
    )
    if metadata.standing == LOST:
        plan.catalogue = await _catalogue_items(env, store, cluster, kept, plan)
    return plan


def _former(
    name: NodeName,
    members: Members,
    kept: KeptCatalogue,
    known: Sequence[Former],
    lost: Mapping[NodeName, int],
    groups: Sequence[GroupPlan],
) -> FormerMember:
    """What is known of a lost node: the highest incarnation that anything names, and the id of its folder if that is the one."""
    seat, member = members.seats.get(name), kept.nodes().get(name)
    incarnations = [
        place.member.incarnation
        for group in groups
        if group.configuration is not None
        for place in group.configuration.places
        if place.member.node == lost[name]
    ]
    ids = {one.incarnation: one.id for former in known for one in former.members if one.node == name}
    if member is not None and member.id:
        ids[member.incarnation] = member.id
    if seat is not None and seat.id not in (FORMER, "unknown"):
        ids[seat.incarnation] = seat.id
    highest = max([1, *incarnations, *ids, *([seat.incarnation] if seat is not None else [])])
    return FormerMember(name, ids.get(highest, ""), highest)


async def _catalogue_items(env: Env, store: ObjectStore, cluster: ClusterId, kept: KeptCatalogue, plan: QuorumPlan) -> dict[str, str]:
    """The lost nodes are no members of the cluster any more. An epoch whose claim was noted behind this copy's log was ours: it is noted again, or the archive would fence who goes on.
    Raises Corrupt, Unavailable."""
    nodes = kept.nodes()
    found: dict[str, str] = {}
    for one in plan.lost:
        before = nodes.get(NodeName(one.node))
        if before is None or before.state != REMOVED:
            gone = NodeMember(plan.numbers[NodeName(one.node)], one.incarnation, one.id, env.clock.wall_us(), REMOVED)
            found[NODE + one.node] = msgspec.json.encode(gone).decode()
    notes = kept.writer()
    owners, epoch = list(notes.owners), notes.epoch
    for key in await epochs_after(store, cluster, max(notes.epoch, notes.taken_over)):
        claim = decode_epoch(await store.get(key), where=key)
        epoch = max(epoch, claim.epoch)
        if claim.owner not in owners:
            owners.append(claim.owner)
    if (tuple(owners), epoch) != (notes.owners, notes.epoch):
        after = WriterNotes(tuple(owners[-OWNERS_KEPT:]), epoch, notes.taken_over, notes.stopped)
        found[WRITER] = msgspec.json.encode(after).decode()
    return found


async def _closed(store: ObjectStore, cluster: ClusterId, now_us: int) -> tuple[dict[str, int], Stamp]:
    """By partition the last content LSN that a leader said it had closed, of late; and the highest timestamp so said. What cannot be read says nothing. Raises Unavailable."""
    content: dict[str, int] = {}
    highest = 0
    since = time_text(max(0, now_us - CLOSED_US))
    nodes = {name.removeprefix(closed_prefix(cluster)).partition("/")[0] for name in await list_all(store, closed_prefix(cluster))}
    for node in sorted(nodes):
        for name in await list_all(store, closed_prefix(cluster, node), after=f"{closed_prefix(cluster, node)}{since}"):
            try:
                said = decode_closed(await store.get(name), where=name)
            except (Corrupt, Missing, NoKey):
                continue
            for point in said.points:
                content[point.partition] = max(content.get(point.partition, 0), point.last_content)
                highest = max(highest, point.closed)
    return content, Stamp(highest)


class _Looker:
    """Finds out how a group stands. gone: numbers of the lost nodes. closed: see `_closed`."""

    def __init__(
        self,
        archived: ListedLog,
        store: ObjectStore,
        cluster: ClusterId,
        survivor: Survivor,
        gone: frozenset[int],
        closed: Mapping[str, int],
    ) -> None:
        self._archived, self._store, self._cluster, self._survivor, self._gone, self._closed = (
            archived,
            store,
            cluster,
            survivor,
            gone,
            closed,
        )

    async def catalogue(self, group: GroupPlan) -> KeptCatalogue:
        """Look at the metadata group, and read what it says: the survivor's tree and log, and what the archive has behind them."""
        tree = self._survivor.look(group.partition)
        try:
            kept = KeptCatalogue((row.key, row.item) for row in tree.range(b"", None))
            applied = tree.state.applied
        finally:
            tree.close()
        log = self._survivor.recovered.replicas[group.partition]
        for page in self._records(group.partition, Lsn(max(log.first, applied + 1)), log.last):
            kept.apply(page)
        group.table = kept.hosts(group.table)
        group.info = group.table.partitions[0]
        await self.look(group, archived=True, take=kept.apply)
        return kept

    async def look(self, group: GroupPlan, *, archived: bool, take: Callable[[Sequence[Record]], None] = lambda _: None) -> None:
        """Fill in how the group stands. archived: its log goes to the archive. take: hears the records that the archive has behind the survivor's. Raises Unavailable."""
        log = group.log = self._survivor.recovered.replicas.get(group.partition)
        if log is None or self._survivor.number not in group.info.nodes:
            others = [number for number in group.info.nodes if number not in {*self._gone, self._survivor.number}]
            group.standing = ELSEWHERE if others else LEFT
            group.why = "this node has no copy" if others else "no copy is left: what it was is in the archive"
            return
        if group.table.status == "DROPPED":
            group.standing, group.why = LEFT, "its table was dropped: what the archive has of it stays there"
            return
        try:
            ended = self._read(group, log)
            if group.configuration is None:
                return
            if has_quorum(group.configuration, lost=self._gone):
                group.standing = QUORUM
                return
            if ended:
                raise Unsafe("its log has ended, and its table goes by it still: it is being split, or dropped")
            group.after = left_alone(group.configuration, self._member(group), lost=self._gone)
            if not log.accepted or log.last < 1:
                raise Unsafe("this node has nothing of the group's log yet")
            group.known = self._closed.get(group.partition, 0)
            if archived:
                await self._compare(group, log, take)
            group.standing = LOST
        except (Unsafe, Corrupt, Missing, NoKey) as error:
            group.standing, group.why = REFUSED, str(error)

    def _member(self, group: GroupPlan) -> Member:
        """Who the survivor is in that group."""
        return group.info.member_on(self._survivor.number, self._survivor.incarnation)

    def _read(self, group: GroupPlan, log: ReplicaLog) -> bool:
        """What the survivor holds of it. True: the log has ended. Raises Unsafe, Corrupt, Missing, Unavailable."""
        partition = group.partition
        if log.member != self._member(group):
            raise Unsafe("the log is of an earlier member of this node")
        if log.vote == "amnesiac":
            raise Unsafe(f"this node's log has lost synced bytes: {log.amnesia}")
        if log.damaged:
            raise Unsafe("this node's log is damaged, and no other copy is there to repair it", ranges=log.damaged)
        if self._survivor.keeps_log(partition):
            raise Unsafe("this node keeps the log alone: a log replica does not lead")
        if log.tree != "ok":
            raise Unsafe(f"this node's tree is {log.tree}")
        tree = self._survivor.look(partition)
        try:
            state = tree.state
        finally:
            tree.close()
        group.applied, group.newest = int(state.applied), state.stamp
        known, ended = Lsn(0), False
        founders = tuple([Member(*member) for member in group.info.members])
        configuration = founding(founders, logs=tuple(group.info.logs))
        if state.extra:
            try:
                extra = msgspec.msgpack.decode(state.extra, type=BornExtra)
            except msgspec.MsgspecError as error:
                raise Corrupt("replica state in the tree is malformed", what="tree", partition=partition) from error
            ended = bool(extra.segments.ended)
            if extra.configured.lsn:
                known, configuration = extra.configured.lsn, decode_configuration(extra.configured.payload)
        if state.applied > log.last:
            raise Unsafe("this node's tree is beyond the end of its log", applied=state.applied, last=log.last)
        for page in self._records(partition, Lsn(max(log.first, state.applied + 1)), log.last):
            for record in page:
                group.newest = max(group.newest, record.stamp)
                if record.kind is RecordKind.UNKNOWN:
                    raise Unsafe("its log has a record of a later release", lsn=record.lsn)
                if record.kind is RecordKind.CONFIG and record.lsn > known:
                    configuration = decode_configuration(record.payload)
                ended = (
                    ended or record.kind is RecordKind.SPLIT or (record.kind is RecordKind.SEAL and decode_seal(record).reason in Seal.LAST)
                )
        group.configuration = configuration
        return ended

    def _records(self, partition: PartitionId, first: Lsn, last: Lsn) -> Iterator[list[Record]]:
        """The survivor's own, in pages. Raises Missing, Corrupt."""
        at = first
        while at <= last:
            page = self._survivor.wal.read(partition, at, Lsn(last + 1), max_bytes=READ_BYTES)
            yield page
            at = Lsn(page[-1].lsn + 1)

    async def _compare(self, group: GroupPlan, log: ReplicaLog, take: Callable[[Sequence[Record]], None]) -> None:
        """Where the archive and the survivor's log both have a record behind the tree, it is the same; and what the archive has behind the log is there without a gap. Raises Unsafe, Corrupt,
        Unavailable."""
        listed = await list_all(self._store, log_prefix(self._cluster, group.table.table_id, group.partition))
        group.archived = max((key.last for key in map(parse, listed) if isinstance(key, SegmentKey) and key.manifest), default=0)
        first = Lsn(max(log.first, group.applied + 1))
        reached = first - 1
        if group.archived < first:
            return
        async for page in archived_records(self._archived, group, first):
            own = {record.lsn: record.data for record in self._own(group.partition, page, log)}
            for record in page:
                if record.lsn in own and own[record.lsn] != record.data:
                    raise Unsafe("the archive holds another history than this node's log", lsn=record.lsn)
                if record.lsn > log.last:
                    group.takes += 1
                    group.newest = max(group.newest, record.stamp)
            take([record for record in page if record.lsn > log.last])
            reached = page[-1].lsn
        if reached < group.archived:
            raise Unsafe(
                "the archive names records that this node lacks, and does not have them: new ones would take their place",
                first=max(reached, log.last) + 1,
                last=group.archived,
            )

    def _own(self, partition: PartitionId, page: Sequence[Record], log: ReplicaLog) -> list[Record]:
        first, end = page[0].lsn, min(page[-1].lsn, log.last) + 1
        return [record for part in self._records(partition, first, Lsn(end - 1)) for record in part] if first < end else []


async def archived_records(archive: ListedLog, group: GroupPlan, first: Lsn) -> AsyncIterator[list[Record]]:
    """What the archive has of a group from an LSN on, in pages, up to the first that it lacks. Raises Corrupt, Unavailable."""
    at = first
    while at <= group.archived:
        try:
            page = await archive.read(TableId(group.table.table_id), group.partition, at, bytes_max=READ_BYTES)
        except Missing:
            return
        yield page
        at = Lsn(page[-1].lsn + 1)


# --- doing ---


async def recover_quorum(
    env: Env, store: ObjectStore, survivor: Survivor, plan: QuorumPlan, *, members: Members, max_offset_us: int = 500_000
) -> Former | None:
    """Carry the plan out. None: every group has its quorum, nothing was to be done. Returns what the archive says of it. May be asked again after any stop, with a plan made anew.

    max_offset_us: `consensus.max_clock_offset`. Raises Unsafe (a group, or this machine's clock, is in the way: nothing was changed), Unavailable, DiskFull.
    """
    plan.check()
    if not plan.recovers:
        return None
    ahead_us = stamp_micros(plan.above) - env.clock.wall_us()
    if ahead_us > max_offset_us:  # nobody leads whose own log is further ahead of his clock than that
        raise Unsafe(
            "this machine's clock is behind what the lost nodes have said is closed",
            node=plan.survivor,
            ahead_seconds=round(ahead_us / 1e6, 3),
            next="set it right if it is wrong; else wait until it has caught up, and ask again",
        )
    former = await _put_former(env, store, plan)
    members.cut_off({NodeName(one.node): one.incarnation for one in plan.lost})
    archive = ListedLog(store, plan.cluster, env.tasks)
    for group in plan.recovers:
        await _take(env, survivor, archive, group)
    if plan.groups[0].standing == LOST:
        plan.catalogue[f"job/{key_of(former.number)}"] = json.dumps(note_of(former), sort_keys=True)
    stamp = Stamp(max(plan.above, stamp_of(env.clock.wall_us())) + 1)
    if stamp > survivor.recovered.reservation:
        survivor.wal.queue(Reserve(Stamp(stamp + 1)))
    for group in plan.recovers:
        assert group.log is not None
        assert group.after is not None
        survivor.wal.queue(Append(group.partition, group.log.accepted, _config(group, plan, stamp), staged=False))
    await _committed(env, survivor.wal)
    return former


def _config(group: GroupPlan, plan: QuorumPlan, stamp: Stamp) -> tuple[Record, ...]:
    assert group.after is not None
    owner = records.owner_tag(uuid_bytes(group.partition))
    payload = encode_configuration(group.after)
    config = records.encode(owner=owner, lsn=group.ends + 1, stamp=stamp, kind=RecordKind.CONFIG, payload=payload)
    if group is not plan.groups[0] or not plan.catalogue:
        return (config,)
    return config, catalogue_record(plan.catalogue, owner=owner, lsn=Lsn(group.ends + 2), stamp=Stamp(stamp + 1))


async def _put_former(env: Env, store: ObjectStore, plan: QuorumPlan) -> Former:
    """Raises Unavailable, Corrupt."""
    groups = tuple(
        [
            CutGroup(group.table.table_id, group.partition, group.ends, group.archived)
            for group in sorted(plan.recovers, key=lambda one: one.partition)
            if not group.table.index_of  # derived: it has no history
        ]
    )
    known = plan.known
    for _ in range(PUT_TRIES):
        for one in known:
            if (one.survivor, one.members, one.groups) == (plan.survivor, plan.lost, groups):
                return one  # an earlier try came so far
        number = max((one.number for one in known), default=0) + 1
        former = Former(plan.cluster, number, plan.survivor, env.clock.wall_us(), plan.lost, groups)
        try:
            await store.put(former.key(), encode_former(former))
        except Exists:
            known = await formers(store, plan.cluster)
        else:
            return former
    raise Unsafe("others recover this cluster at the same time", tries=PUT_TRIES)


async def _take(env: Env, survivor: Survivor, archive: ListedLog, group: GroupPlan) -> None:
    """What was chosen, and this log lacks. Raises Unavailable, Corrupt, DiskFull."""
    if not group.takes:
        return
    assert group.log is not None
    async for page in archived_records(archive, group, Lsn(group.log.last + 1)):
        survivor.wal.queue(Append(group.partition, group.log.accepted, tuple(page), staged=False))
        await _committed(env, survivor.wal)


async def _committed(env: Env, wal: Wal) -> None:
    """Raises what kept it from being synced."""
    future = env.tasks.future()
    if wal.commit(future.set_result):
        error: ScrubjayError | None = await future
        if error is not None:
            raise error
