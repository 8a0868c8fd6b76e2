"""A partition becomes two while it is written to (ADR 0078). The catalogue says which (`SplitIntent`), the log decides (SPLIT), the map follows.

Whoever works for the cluster carries a split on, after any stop, and so does the next one: each step may be taken again, and what is left to be done is read from the catalogue and from the
nodes alone. Nothing is taken back. While a split waits, and why is said (`waiting`), the partition goes on as ever.

The steps: the children are hosted, and their trees made of the parent's, on every storage member that is up; then SPLIT, through the parent's leader; both children lead; the catalogue names them
in the parent's place; when the archive has the parent's log to its end, the parent's copies go.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import NamedTuple

import msgspec

from scrubjay.base.env import Env, Task
from scrubjay.base.errors import Conflict, Corrupt, Internal, Invalid, ScrubjayError, Unavailable
from scrubjay.base.hlc import last_stamp_at
from scrubjay.base.ids import NodeName, PartitionId, Stamp, TableId
from scrubjay.base.latency import Latency
from scrubjay.base.together import gather
from scrubjay.storage.catalogue import (
    SYSTEM_TABLES,
    FinalSeal,
    FormerPartition,
    PartitionInfo,
    SplitIntent,
    TableMeta,
    coming,
    index_tables,
    leaving,
    with_children,
)
from scrubjay.storage.cluster_version import SPLITTING, SPLITTING_INDEXES, Feature
from scrubjay.storage.control.asking import Asking
from scrubjay.storage.control.feature_gate import ClusterVersion
from scrubjay.storage.control.fleet import Fleet
from scrubjay.storage.control.metadata import Metadata
from scrubjay.storage.log.configuration import Vote, decode_configuration
from scrubjay.storage.log.split import Split, check_split, split_from, was_split
from scrubjay.storage.node import errand_messages as messages
from scrubjay.storage.node.port import AskFacts, FactsOfReplicas, NodePort, ReplicaFacts, Sealed, SplitPartition, asked

REST_S = 2.0
"""Between two looks for splits that nobody carries on: who writes that a table is to be split, or reads it, is heard at once."""
WAIT_S = 0.2
"""Between two steps of a split that waits."""
STEP_S = 0.005
"""Between two steps while writes wait."""
LEFT_MAX = 500
"""So many records the children's trees may lack of the parent's when SPLIT is asked for: less than a checkpoint."""
PREPARED_MIN = 2
"""Storage members on which the children's trees are that far, at least, if there are so many."""
TELL_AGAIN_US = 5_000_000
AGAIN_US = 100_000
"""Between two questions for the children's trees while writes wait."""
ANSWER_US = 300_000
"""For who has to be told to begin at all, while writes wait."""
ERRAND_S = 30.0
ASK_S = 2.0
SPLIT_WAIT_S = 1.0
"""For a leader's word that its log has ended. Writes wait meanwhile; where it does not come, because the leader's node died or stands still, the others' logs may say so, and to ask again does no harm."""
DRAIN_POLL_S = 0.5
IN_USE = ("ACTIVE", "UPDATING")
NOTE = "split/"
"""Of the notes that say who carries a split on: and then the partition that is split."""
_NUMBERS = re.compile(r"\d+")


class TreesMade(NamedTuple):
    """What a node said of the children's trees on it. left: see `SplitPrepared`; begun: their replicas run there. lacks: it has no copy to make them of. why: it cannot make them now."""

    left: int
    begun: bool
    lacks: bool = False
    why: str = ""


def keeps_from(table: TableMeta, info: PartitionInfo, leader: ReplicaFacts | None, *, lacks: str) -> str:
    """Why a partition may not be split now, "": nothing keeps it. lacks: what of the cluster's version keeps it from being (`ClusterVersion.lacks`). Pure."""
    if table.status not in IN_USE or (table.restore_of is not None and table.restore_of.in_progress):
        return f"the table is {table.status}"
    if lacks:
        return lacks
    if info.fresh:
        return "a copy of it is being made on another node"
    if info.goes:
        return "a copy of it goes to another node"
    if _unsettled(table):
        return "a copy of what the table's last split made has not begun"
    if leader is None:
        return "it has no leader"
    lsn, payload = leader.configured
    places = decode_configuration(payload).places if lsn else ()
    # a log that stands by stays a learner, and so do those of the halves
    learners = [place for place in places if place.vote is Vote.LEARNER and place.member.node not in info.logs]
    if learners:
        return "a copy of it does not vote yet"
    return ""


def split_of(table: TableMeta) -> Feature:
    """What a split of a partition of the table is, or of the index whose internal table it is. Pure."""
    return SPLITTING_INDEXES if table.index_of else SPLITTING


def lacks_of(version: ClusterVersion, table: TableMeta) -> str:
    """What of the cluster's version keeps a partition of the table, or of the index whose internal table it is, from being split, "": nothing does."""
    return version.lacks(split_of(table))


def voters_of(info: PartitionInfo, leader: ReplicaFacts | None) -> int:
    """How many members vote, by what its leader goes by. Pure."""
    lsn, payload = (0, b"") if leader is None else leader.configured
    return sum(place.vote is Vote.VOTES for place in decode_configuration(payload).places) if lsn else len(info.nodes)


def short_of(prepared: Mapping[int, TreesMade], info: PartitionInfo, voters: int) -> str:
    """Why SPLIT would make writes wait too long, or leave a child without a quorum, "": it may come. prepared: by node number, of those that are up. voters: see `voters_of`. Pure."""
    storage = [number for number in info.nodes if number not in info.logs]
    wanted = max(min(PREPARED_MIN, len(storage)), voters // 2 + 1)
    able = {number: one for number, one in prepared.items() if not one.lacks}
    if len(able) < wanted:
        return f"{len(able)} of {len(storage)} storage members can make the children's trees, {wanted} have to"
    trouble = next(
        (f"the children's trees cannot be made on node {number}: {one.why}" for number, one in sorted(able.items()) if one.why), ""
    )
    if trouble:
        return trouble
    behind = [one.left for one in able.values() if one.left > LEFT_MAX]
    if behind and max(behind) >= messages.NOT_MADE:
        return "the children's trees are being made"
    if behind:
        return f"the children's trees lack {max(behind)} records on one of {len(able)} members"
    return ""


class Splits:
    """stopping: whether the store stops; works: whether this process works for the cluster. log: hears what a server's log is to say.

    waiting: why a table's split does not go on just now, by table. counts: splits begun and done since the start. pauses: of each that this process carried over it, from the question for SPLIT to
    the map."""

    def __init__(
        self,
        env: Env,
        *,
        fleet: Fleet,
        metadata: Metadata,
        stopping: Callable[[], bool],
        works: Callable[[], bool],
        log: Callable[[str], None],
    ) -> None:
        self._env, self._fleet, self._metadata = env, fleet, metadata
        self._stopping, self._works, self._log = stopping, works, log
        self._asking = Asking(env, fleet.ports, limit_s=ERRAND_S)
        self.version = ClusterVersion(metadata, fleet.ports)
        self._task: Task[None] | None = None
        self._carried: dict[TableId, Task[None]] = {}
        self.waiting: dict[TableId, str] = {}
        self._said: dict[TableId, tuple[str, set[str]]] = {}
        """Of each table the split that waits, and what was said of it, without its numbers."""
        self.counts = {"begun": 0, "done": 0}
        self.pauses = Latency()
        metadata.on_change.append(self._look)

    def start(self) -> None:
        self._task = self._env.tasks.keep(self._run, name="splits")

    def stop(self) -> None:
        for task in (self._task, *self._carried.values()):
            if task is not None:
                task.cancel()
        self._task = None
        self._carried.clear()

    def lacks(self, table: TableMeta) -> str:
        """See `lacks_of`."""
        return lacks_of(self.version, table)

    # ------------------------------------------------------------------ asked for

    async def begin(self, table: TableMeta, info: PartitionInfo, cut: bytes) -> SplitIntent:
        """Note that a partition is to become two at `cut`. It is carried on from then on, whatever happens to whom. Raises Invalid (no such cut), Conflict (the table is being split, or was changed by
        somebody else), Unavailable (not now, and why)."""
        await self._metadata.newest()
        known = self._metadata.any_table(table.table_id)
        if known is None or info not in known.partitions:
            raise Conflict("the partition is another by now", table=table.name, partition=info.partition_id)
        if known.name in SYSTEM_TABLES:
            raise Invalid("a table of the system is not split", table=known.name)
        if not isinstance(known.split, msgspec.UnsetType):
            raise Conflict("the table is being split: one partition after the other", table=known.name, partition=known.split.parent)
        rand = self._env.rand
        left, right = PartitionId(rand.uuid()), PartitionId(rand.uuid())
        split = Split(bytes.fromhex(rand.uuid().replace("-", "")), cut, left, right)
        check_split(split, parent=info.partition_id, lo=bytes.fromhex(info.lo), hi=bytes.fromhex(info.hi) if info.hi else None)
        why = keeps_from(known, info, self._fleet.leader(info.partition_id), lacks=self.lacks(known))
        if why:
            raise Unavailable("the partition cannot be split now", table=known.name, partition=info.partition_id, why=why)
        intent = SplitIntent(split.id.hex(), info.partition_id, cut.hex(), left, right, self._env.clock.wall_us())
        await self._metadata.put_table(msgspec.structs.replace(known, split=intent))
        self._log(f"{known.name}: partition {info.partition_id} is to be split at {intent.cut}")
        return intent

    # ------------------------------------------------------------------ carried on

    async def _run(self) -> None:
        while True:
            for table in list(self._metadata.tables.values()):
                self._look(table)
            self._forget_gone()
            await self._clean_notes()
            await self._env.tasks.sleep(REST_S)

    def _look(self, table: TableMeta) -> None:
        """Carry on what the splits of a table, and of its indexes, leave to be done."""
        for one in (table, *index_tables(table)):
            self._look_at(one)

    def _look_at(self, table: TableMeta) -> None:
        """Unless that is done already."""
        open_ = leaving(table) or (table.status != "DROPPED" and (not isinstance(table.split, msgspec.UnsetType) or _unsettled(table)))
        if not open_ or self._task is None or not self._goes_on():
            return
        carried = self._carried.get(table.table_id)
        if carried is None or carried.done():
            self._carried[table.table_id] = self._env.tasks.spawn(self._carry(table.table_id), name=f"split {table.name}")

    def _forget_gone(self) -> None:
        """What waited of an index that is gone waits no more."""
        for noted in (self.waiting, self._said, self._carried):
            for table_id in [one for one in noted if self._metadata.any_table(one) is None]:
                del noted[table_id]

    async def _clean_notes(self) -> None:
        """Notes of splits that nobody carries on any more go: their table or index was dropped meanwhile, or who wrote the map died before it removed them. The intent is written first: a note whose intent is not
        there has none any more."""
        notes = {key: key.removeprefix(NOTE) for key in self._metadata.jobs if key.startswith(NOTE)}
        if not notes or not self._goes_on():
            return
        under_way = {
            one.split.parent
            for table in self._metadata.tables.values()
            if table.status != "DROPPED"
            for one in (table, *index_tables(table))
            if not isinstance(one.split, msgspec.UnsetType)
        }
        for key, parent in notes.items():
            if parent not in under_way:
                with suppress(Conflict, Unavailable):
                    await self._metadata.put_job(key, None)

    def _goes_on(self) -> bool:
        return self._works() and not self._stopping()

    async def _carry(self, table_id: TableId) -> None:
        """All that is left to be done about a table's splits. Ends early where this process is not the one any more, or a node cannot be asked: the next look begins again."""
        try:
            table = self._metadata.any_table(table_id)
            if table is None:
                return
            if not isinstance(table.split, msgspec.UnsetType) and table.status != "DROPPED":
                await self._split(table_id, table.split)
            await self._drain(table_id)
        except (Unavailable, Conflict) as error:
            self.waiting[table_id] = str(error)
        else:
            self.waiting.pop(table_id, None)

    async def _split(self, table_id: TableId, split: SplitIntent) -> None:
        began = _Carried(self._env, self._fleet, self._metadata, self._asking, table_id, split)
        bound = await began.moment()
        while not await began.ended():
            why = await began.ready()
            if why is None:
                return  # the table is gone, or its log ended otherwise
            if not why:
                if not began.asked_us:
                    self.counts["begun"] += 1
                    began.asked_us = self._env.clock.boot_us()
                why = await began.ask(bound)
            self._says(table_id, split, why)
            if not self._goes_on():
                return
            await self._env.tasks.sleep(WAIT_S if why else STEP_S)
        began.asked_us = began.asked_us or self._env.clock.boot_us()
        while (final := await began.led()) is None:
            self._says(table_id, split, began.why)
            if not self._goes_on():
                return
            await self._env.tasks.sleep(STEP_S)
        fresh = began.without_log()
        mapped = await self._metadata.change(table_id, lambda known: _mapped(known, split, final, fresh), until=lambda: not self._goes_on())
        if mapped is not None:
            took_us = self._env.clock.boot_us() - began.asked_us
            self.pauses.took(took_us)
            self.counts["done"] += 1
            self.waiting.pop(table_id, None)
            self._said.pop(table_id, None)
            self._fleet.host(mapped)
            with suppress(Conflict, Unavailable):
                await self._metadata.put_job(began.key, None)
            self._log(
                f"{mapped.name}: partition {split.parent} is {split.left} and {split.right} now; writes waited for {took_us / 1e6:.3f} s"
            )

    def _says(self, table_id: TableId, split: SplitIntent, why: str) -> None:
        """Once for each reason, however its numbers change."""
        if self._said.get(table_id, ("",))[0] != split.id:
            self._said[table_id] = split.id, set()
        said, reason = self._said[table_id][1], _NUMBERS.sub("", why)
        if why and reason not in said:
            said.add(reason)
            self._log(f"the split of partition {split.parent} waits: {why}")
        if why:
            self.waiting[table_id] = why
        else:
            self.waiting.pop(table_id, None)

    # ------------------------------------------------------------------ afterwards

    async def _drain(self, table_id: TableId) -> None:
        """Keep the copies of what was split until its log is archived to its end; that is noted before the first goes. And until every copy of a child has a log, the catalogue says which may begin one."""
        while self._goes_on() and (table := self._metadata.any_table(table_id)) is not None and isinstance(table.split, msgspec.UnsetType):
            await self._settle(table)
            former = next((one for one in table.former or () if one.archived_at is None), None)
            if former is None:
                if table.status == "DROPPED" or not _unsettled(table):
                    return
            elif self._fleet.archived(former.info.partition_id) >= former.final.lsn:
                await self._forget(table_id, former)
                continue
            await self._env.tasks.sleep(DRAIN_POLL_S)

    async def _forget(self, table_id: TableId, former: FormerPartition) -> None:
        at_us = self._env.clock.wall_us()
        await self._metadata.change(table_id, lambda known: _archived(known, former, at_us), until=lambda: not self._goes_on())
        known = self._metadata.any_table(table_id)
        if known is not None and former not in (known.former or ()):
            for node in self._fleet.members(former.info):
                self._fleet.forget(former.info.partition_id, node)

    async def _settle(self, table: TableMeta) -> None:
        """A copy of a child that was not begun when the map was written begins its log, and then the catalogue says so."""
        for former in table.former or ():
            children = [info for info in table.partitions if info.partition_id in (former.split.left, former.split.right)]
            if len(children) == 2 and any(info.fresh for info in children):
                await self._begin_rest(table, former, *children)
        for info in _unsettled(table):
            ports = self._fleet.members(info)
            left = tuple([node.number for node in ports if node.number in info.fresh and not _logged(node, info.partition_id)])
            if left != info.fresh:
                with suppress(Conflict, Unavailable):
                    await self._metadata.put_partition(table.table_id, info, msgspec.structs.replace(info, fresh=left))

    async def _begin_rest(self, table: TableMeta, former: FormerPartition, left: PartitionInfo, right: PartitionInfo) -> None:
        """Its node may have been away, and told of nothing, from SPLIT to the map: of its copy of the parent it makes the children still, or begins without a tree."""
        split = former.split
        parent, id_, cut = former.info.partition_id, bytes.fromhex(split.id), bytes.fromhex(split.cut)
        for node in self._fleet.members(former.info):
            if node.number in (*left.fresh, *right.fresh) and node.status().failed is None:
                errand = messages.PrepareSplit(parent, table, id_, cut, left, right, heal=True)
                with suppress(Unavailable, Corrupt):
                    await self._asking.errand(node.name, errand, messages.SplitPrepared)


class _Carried:
    """One split on its way, as one process carries it on. asked_us: boot time at which SPLIT was first asked for, 0: not yet. why: what `led` waits for."""

    def __init__(self, env: Env, fleet: Fleet, metadata: Metadata, asking: Asking, table_id: TableId, split: SplitIntent) -> None:
        self._env, self._fleet, self._metadata, self._asking = env, fleet, metadata, asking
        self._version = ClusterVersion(metadata, fleet.ports)
        self._table_id, self._split = table_id, split
        self._told_us = 0
        self.asked_us = 0
        self.why = ""
        self._children: dict[PartitionId, dict[NodeName, ReplicaFacts]] = {}
        self._again_us = 0
        self._preparing: dict[NodeName, Task[TreesMade | None]] = {}

    async def moment(self) -> Stamp:
        """A stamp behind that of the intent, whoever wrote it: of a write of the catalogue that comes later. Raises Unavailable, Conflict."""
        return last_stamp_at(await self._metadata.moment(self.key, {"split": self._split.id, "carried": self._env.rand.uuid()}))

    @property
    def key(self) -> str:
        """Of the notes that say who carries it on."""
        return f"{NOTE}{self._split.parent}"

    def _info(self) -> tuple[TableMeta, PartitionInfo] | None:
        table = self._metadata.any_table(self._table_id)
        if table is None or isinstance(table.split, msgspec.UnsetType) or table.split.id != self._split.id or table.status == "DROPPED":
            return None
        return next(((table, info) for info in table.partitions if info.partition_id == self._split.parent), None)

    async def _facts(self, info: PartitionInfo) -> dict[NodeName, ReplicaFacts]:
        """Of every copy that can be asked, as it is now."""

        async def one(node: NodePort) -> ReplicaFacts | None:
            answer = await asked(self._env.tasks, node, AskFacts(info.partition_id), FactsOfReplicas, timeout_s=ASK_S)
            return answer.replicas[0] if answer.replicas else None

        ports = [node for node in self._fleet.members(info) if node.status().failed is None]
        found = await gather(self._env.tasks, [one(node) for node in ports], name="facts")
        return {node.name: facts for node, facts in zip(ports, found, strict=True) if isinstance(facts, ReplicaFacts)}

    async def ended(self) -> bool:
        """The parent's log ends in this split."""
        known = self._info()
        if known is None:
            return False
        found = [one for one in (await self._facts(known[1])).values() if one.split]
        for one in found:
            if split_from(one.split).id.hex() != self._split.id:
                raise Internal("a log ends in another split than the catalogue names", partition=self._split.parent, split=self._split.id)
        return bool(found)

    async def ready(self) -> str | None:
        """Host the children, have their trees made; why SPLIT may not come yet, "": it may. None: it is not wanted any more."""
        known = self._info()
        if known is None:
            return None
        table, info = known
        self._host(table)
        leader = self._fleet.leader(info.partition_id)
        why = keeps_from(table, info, leader, lacks=lacks_of(self._version, table))
        return why or short_of(await self._prepare(table, info), info, voters_of(info, leader))

    def _host(self, table: TableMeta) -> None:
        """Not for each step: a node that starts is told by its own process."""
        now_us = self._env.clock.boot_us()
        if not self._told_us or now_us - self._told_us >= TELL_AGAIN_US:
            self._told_us = now_us
            self._fleet.host(table)

    async def _prepare(self, table: TableMeta, info: PartitionInfo) -> dict[int, TreesMade]:
        """What each storage member that is up says."""
        ports = self._asked_to_prepare(info, logs=False)
        found = await gather(self._env.tasks, [self._prepare_on(node, table, info) for node in ports], name="prepare split")
        # who is up and says nothing is not as far as the others
        said = [one if isinstance(one, TreesMade) else TreesMade(LEFT_MAX + 1, False) for one in found]
        return {node.number: one for node, one in zip(ports, said, strict=True)}

    def _asked_to_prepare(self, info: PartitionInfo, *, logs: bool) -> list[NodePort]:
        """logs: those that keep the log alone are asked too: they begin once it has ended, and elect."""
        return [node for node in self._fleet.members(info) if (logs or node.number not in info.logs) and node.status().failed is None]

    async def _prepare_on(self, node: NodePort, table: TableMeta, info: PartitionInfo, *, heal: bool = False) -> TreesMade | None:
        """heal: see `PrepareSplit`. None: it says nothing."""
        left, right = coming(table)
        split = self._split
        errand = messages.PrepareSplit(info.partition_id, table, bytes.fromhex(split.id), bytes.fromhex(split.cut), left, right, heal)
        try:
            said = await self._asking.errand(node.name, errand, messages.SplitPrepared)
        except ScrubjayError as error:
            if error.fields.get("heal"):
                return TreesMade(0, False, lacks=True)
            why = error.fields.get("why")  # of who is not asked in time nothing is known
            return TreesMade(LEFT_MAX + 1, False, why=str(why)) if why else None
        return TreesMade(said.left, said.begun)

    async def _prepare_again(self, table: TableMeta, info: PartitionInfo, *, heal: bool, logs: bool) -> None:
        """Each member is asked by itself, now and then, for writes wait: for who may not begin by itself (heal, logs) a moment, and for one that died or stands still no longer than that."""
        self._ask_again(table, info, heal=heal, logs=logs)
        until_us = self._env.clock.boot_us() + ANSWER_US
        while (heal or logs) and not all(task.done() for task in self._preparing.values()) and self._env.clock.boot_us() < until_us:
            await self._env.tasks.sleep(STEP_S)

    def _ask_again(self, table: TableMeta, info: PartitionInfo, *, heal: bool, logs: bool) -> None:
        now_us = self._env.clock.boot_us()
        if now_us < self._again_us and not (heal or logs):
            return
        self._again_us = now_us + AGAIN_US
        for node in self._asked_to_prepare(info, logs=logs):
            before = self._preparing.get(node.name)
            if before is None or before.done():
                work = self._prepare_on(node, table, info, heal=heal)
                self._preparing[node.name] = self._env.tasks.spawn(work, name=f"prepare split {info.partition_id}")

    async def ask(self, after: Stamp) -> str:
        """Ask for SPLIT; why it is not there yet, "": it is, or is about to be."""
        split = self._split
        leader = self._fleet.leader(split.parent)
        if leader is None:
            return "it has no leader"
        request = SplitPartition(split.parent, bytes.fromhex(split.id), bytes.fromhex(split.cut), split.left, split.right, after)
        try:
            await asked(self._env.tasks, self._fleet.ports[leader.node], request, Sealed, timeout_s=SPLIT_WAIT_S)
        except Unavailable as error:
            return "" if was_split(error) else str(error)
        return ""

    async def led(self) -> FinalSeal | None:
        """Where the parent's log ended, once both children serve; None: not yet."""
        known = self._info()
        if known is None:
            raise Unavailable("the table is gone", partition=self._split.parent)
        table, info = known
        children = coming(table)
        # all at once: writes wait for what this sees
        *found, parent = await gather(self._env.tasks, [self._facts(one) for one in (*children, info)], name="facts")
        for child, facts in zip(children, found, strict=True):
            self._children[child.partition_id] = {} if isinstance(facts, BaseException) else facts
        serve = [any(one.answers for one in self._children[child.partition_id].values()) for child in children]
        missing = [node for node in self._fleet.members(info) if any(node.name not in found for found in self._children.values())]
        if not all(serve) or missing:
            self._host(table)
            await self._prepare_again(table, info, heal=all(serve), logs=bool(missing or info.logs))
        if not all(serve):
            self.why = "a child has no leader yet"
            return None
        final = None if isinstance(parent, BaseException) else next((one.final for one in parent.values() if one.final is not None), None)
        self.why = "no two members have stated the end of its log yet"
        return final

    def without_log(self) -> dict[PartitionId, tuple[int, ...]]:
        """Of each child the numbers of those on which it has no log yet, as far as they say: nobody can have counted on them. One that says nothing is among them, as with a table that is made: what it lacks it could never
        begin otherwise; what it has it keeps, and `_settle` takes it off. A node that lost the log of one partition alone, and says so to nobody, there is not: its WAL is one for all, and tells a lost end by itself."""
        known = self._info()
        if known is None:
            return {}
        nodes = self._fleet.members(known[1])
        found: dict[PartitionId, tuple[int, ...]] = {}
        for child, facts in self._children.items():
            found[child] = tuple([node.number for node in nodes if (one := facts.get(node.name)) is None or not one.logged])
        return found


def _mapped(known: TableMeta, split: SplitIntent, final: FinalSeal, fresh: Mapping[PartitionId, tuple[int, ...]]) -> TableMeta | None:
    """The table with its children in the parent's place; None: it has them, or is gone."""
    if isinstance(known.split, msgspec.UnsetType) or known.split.id != split.id or known.status == "DROPPED":
        return None
    changed = with_children(known, final)
    partitions = [msgspec.structs.replace(info, fresh=fresh.get(info.partition_id, info.fresh)) for info in changed.partitions]
    return msgspec.structs.replace(changed, partitions=tuple(partitions))


def _archived(known: TableMeta, former: FormerPartition, at_us: int) -> TableMeta | None:
    """The table once the archive has what was split to its end; None: it says so."""
    if former not in (known.former or ()):
        return None
    done = msgspec.structs.replace(former, archived_at=at_us)
    return msgspec.structs.replace(known, former=tuple([done if one == former else one for one in known.former or ()]))


def _unsettled(table: TableMeta) -> list[PartitionInfo]:
    """Children that some copy of may still begin its log."""
    born = {child for former in table.former or () for child in (former.split.left, former.split.right)}
    return [info for info in table.partitions if info.fresh and info.partition_id in born]


def _logged(node: NodePort, partition: PartitionId) -> bool:
    facts = node.facts(partition)
    return facts is not None and facts.logged
