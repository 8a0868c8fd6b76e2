"""Proven windows and `archive status`, from the one index of the archive that a process has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from scrubjay.archiver.facts import Window
from scrubjay.archiver.format.layout import ClosedKey, IdentityKey, build, closed_prefix, parse
from scrubjay.archiver.read.archive_status import ArchivedTable, StoreFacts, archive_status, window_of_table
from scrubjay.archiver.read.index import ArchiveIndex, KnownArchived
from scrubjay.archiver.read.suspects import Suspect
from scrubjay.archiver.verify.report import is_gone
from scrubjay.archiver.write.agent import ArchiveAgent
from scrubjay.archiver.write.writer import BLOCKED
from scrubjay.base.env import Env, ObjectStore, Task
from scrubjay.base.errors import ScrubjayError, Unavailable
from scrubjay.base.ids import PartitionId
from scrubjay.base.steady import Changes
from scrubjay.base.together import within
from scrubjay.base.wrap.metered import MeteredStore
from scrubjay.scrubber.ledger import Proof
from scrubjay.server.control import Control
from scrubjay.server.ports import Report
from scrubjay.storage.catalogue import TableMeta, every_partition, parent_of, splits_of
from scrubjay.storage.control.fleet import Fleet, unarchived
from scrubjay.storage.node.port import ReplicaFacts

FOLLOW_S = 0.5
"""Between two cheap looks at the archive, which move the windows that the API shows: no request while nothing was archived."""
MOVED_FOR_S = 3.0
"""A partition of which a node said that it moved is followed for so long: what the node told of its copies last may be older than that word, up to `peer_nodes.STALE_US`."""
AGAIN_S = 30.0
"""Between two looks at what is damaged, while something is: what was put back is seen without being asked."""
LOOK_ROUND_S = 60.0
"""Between two rounds through all partitions, for whatever no node told of. Between rounds a look costs what moved, not what there is."""
CLOSED_LOOK_S = 60.0
"""Between two looks whether a node's newest closed object is still there, the nodes in turn: a request each."""
CLOSED_KEPT_S = 600.0
"""Between two notes of the newest closed objects in the book, so that the next start knows what must be there."""
STATUS_PATIENCE_S = 10.0
"""How long `archive status` waits for a new look at the whole archive before it reports what is known, and says that it is not complete."""
PRESENCE_PATIENCE_S = 10.0
"""How long it waits for the one answer that says whether the store is there at all."""

Log = Callable[[str], None]


class WindowBook(Protocol):
    """Keeps over restarts which objects of the archive were found bad, and which closed objects were there (scrubber.ledger). Raises Unavailable."""

    async def newest(self, prefix: str) -> str | None: ...

    async def proved(self, proofs: Sequence[Proof]) -> None: ...

    async def suspects(self) -> Mapping[str, tuple[str, str, str]]: ...

    async def keep_suspects(self, found: Mapping[str, tuple[str, str, str]]) -> None: ...


class Windows:
    """Proven windows, kept up by what the nodes of this process say was archived and by what their agents publish.

    More than 15 fields: whom it follows, and when each kind of look is due again.
    """

    def __init__(
        self, env: Env, store: ObjectStore, index: ArchiveIndex, meter: MeteredStore, *, url: str, lag_alarm_us: int, log: Log
    ) -> None:
        self._env, self._store, self.index, self._meter = env, store, index, meter
        self._url, self._lag_alarm_us, self._log = url, lag_alarm_us, log
        self._task: Task[None] | None = None
        self._look: Task[ScrubjayError | None] | None = None
        self._failed: tuple[str, int] | None = None
        """What the last look met, and since when one has been failing."""
        self._changes: Changes[str, str] = Changes(env.clock, self._tell)
        self.book: WindowBook | None = None
        self._unkept = self._unnoted = False
        """That it could not be kept in the book has been said."""
        self._expected = False
        self._closed_look_us = self._closed_kept_us = self._turn = 0
        self._kept = -1
        """Up to which change of the suspects the book knows them; -1: it has not been read yet."""
        self.nodes: Sequence[str] = ()
        """Whose closed objects the book may know."""
        self.control: Control | None = None
        self.agents: Sequence[ArchiveAgent] = ()
        self._moved: dict[PartitionId, int] = {}
        """Partitions of which a node said something lately, until when (boot clock) they are followed: bounded by what there is."""

    def watch(self, control: Control, agents: Sequence[ArchiveAgent]) -> None:
        """Before `start`: whose archive this is, and the agents that write it here."""
        self.control, self.agents, self.nodes = control, agents, list(control.ports)
        for agent in agents:
            self.hear(agent)

    def hear(self, agent: ArchiveAgent) -> None:
        """Listen to one more agent: a node's next life has a new one."""
        agent.published = self.index.heard
        agent.moved = self.note_moved

    def note_moved(self, partition: PartitionId) -> None:
        self._moved[partition] = self._env.clock.boot_us() + int(MOVED_FOR_S * 1e6)

    def start(self) -> None:
        self._task = self._env.tasks.keep(self._follow, name="windows")

    def stop(self) -> None:
        for task in (self._task, self._look):
            if task is not None:
                task.cancel()

    async def _follow(self) -> None:
        """One look at everything, then only at what grows."""
        seen = False
        again_us = self._env.clock.boot_us() + int(AGAIN_S * 1e6)
        round_us = 0
        while True:
            await self._keep_suspects()
            await self._keep_closed()
            now_us = self._env.clock.boot_us()
            whole = not seen or now_us >= round_us
            try:
                archived = self.archived() if whole else self._archived_of(self._moved)
                if seen:
                    await self.index.follow(now_us=self._env.clock.wall_us(), archived=archived)
                else:
                    await self.index.refresh(now_us=self._env.clock.wall_us(), archived=archived)
                    seen = True
                await self._check_closed()
                if self._env.clock.boot_us() >= again_us:
                    again_us = self._env.clock.boot_us() + int(AGAIN_S * 1e6)
                    await self.index.look_again(now_us=self._env.clock.wall_us(), archived=self.archived())
                if whole:
                    round_us = now_us + int(LOOK_ROUND_S * 1e6)
                self._moved = {partition: until_us for partition, until_us in self._moved.items() if until_us > now_us}
                self._note(None)
            except ScrubjayError as error:
                self._note(error)
            await self._env.tasks.sleep(FOLLOW_S)

    async def _keep_suspects(self) -> None:
        """What was found bad stays so over a restart, until it is found sound. A ledger that does not take it is tried again at each look."""
        suspects = self.index.suspects
        if self.book is None or self._kept == suspects.changes:
            return
        try:
            if self._kept < 0:
                known = await self.book.suspects()
                self.index.remember({name: Suspect(*one) for name, one in known.items()})
                self._kept = 0
            changes = suspects.changes
            if changes != self._kept:
                await self.book.keep_suspects(dict(suspects.by_object))
            self._kept = changes
        except ScrubjayError as error:
            if not self._unkept:
                self._log(f"what is bad in the archive cannot be kept over a restart: {error}")
            self._unkept = True
        else:
            self._unkept = False

    async def _check_closed(self) -> None:
        """One node's newest closed object, now and then. Raises Unavailable."""
        now_us = self._env.clock.boot_us()
        if now_us < self._closed_look_us:
            return
        self._closed_look_us = now_us + int(CLOSED_LOOK_S * 1e6)
        nodes = [key.node for key in map(parse, self.index.newest_heard()) if isinstance(key, ClosedKey)]
        if nodes:
            self._turn += 1
            await self.index.check_closed([nodes[self._turn % len(nodes)]])

    async def _keep_closed(self) -> None:
        """Newest closed objects go into the book at the first chance and then now and then; what it knew before this start is expected to be there."""
        now_us = self._env.clock.boot_us()
        if self.book is None or now_us < self._closed_kept_us:
            return
        try:
            if not self._expected:
                for node in self.nodes:
                    known = await self.book.newest(closed_prefix(self.index.cluster, node))
                    if known is not None:
                        self.index.expect_closed(known)
                self._expected = True
            newest = [key for key in self.index.newest_heard() if key not in self.index.suspects.by_object]
            if newest:
                await self.book.proved([Proof(key, "listed", self._env.clock.wall_us()) for key in newest])
                self._closed_kept_us = now_us + int(CLOSED_KEPT_S * 1e6)
        except ScrubjayError as error:
            self._closed_kept_us = now_us + int(CLOSED_LOOK_S * 1e6)
            if not self._unnoted:
                self._log(f"the newest closed objects cannot be noted: {error}")
            self._unnoted = True
        else:
            self._unnoted = False

    def _note(self, error: ScrubjayError | None) -> None:
        """One line when looking begins to fail and one when it works again. A look for which nothing had to be asked is no sign that it does."""
        if error is not None:
            self._failed = (str(error), self._env.clock.wall_us() if self._failed is None else self._failed[1])
        elif self._meter.reachable:
            self._failed = None
        self._changes.look({} if self._failed is None else {"": self._failed[0]})

    def _tell(self, error: str, over: bool) -> None:
        self._log("the archive can be followed again" if over else f"the archive could not be followed: {error}")

    def archived(self) -> list[KnownArchived]:
        """What the nodes of this process know to be archived, by partition."""
        return [] if self.control is None else archived_here(self.control)

    def _archived_of(self, partitions: Iterable[PartitionId]) -> list[KnownArchived]:
        moved, control = list(partitions), self.control
        if control is None or not moved:
            return []
        tables = {table.table_id: table for table in (*control.service.tables(), control.system)}
        places = {info.partition_id: table for table in tables.values() for info in every_partition(table)}
        return [found for one in moved if (found := _archived_of(control, places, one)) is not None]

    def proven(self, table: TableMeta) -> Window:
        """As it is known now, with its holes; looks at nothing."""
        return window_of_table(self.index, archived_table(table))

    def window(self, table: TableMeta) -> tuple[int, int] | None:
        """See storage.control.backups.DurabilityPort."""
        found = self.proven(table)
        if found.earliest_us is None or found.latest_us is None:
            return None
        return found.earliest_us, found.latest_us

    async def status(self, tables: Sequence[TableMeta]) -> Report:
        """`archive status`, from a new look at every name; if that takes longer than one may wait, from what is known by then."""
        store = await self._store_facts()
        return archive_status(
            self.index,
            tables=[archived_table(table) if self.control is None else archived_table_now(table, self.control.fleet) for table in tables],
            store=store,
            now_us=self._env.clock.wall_us(),
            lag_alarm_s=self._lag_alarm_us / 1e6,
        )

    async def _store_facts(self) -> StoreFacts:
        reachable, complete, last_error, present = True, True, None, None
        key = build(IdentityKey(self.index.cluster))
        try:
            identity = await within(
                self._env.tasks, self._store.head(key), seconds=PRESENCE_PATIENCE_S, what="the object store does not answer in time"
            )
            present = identity is not None
            complete, error = await self._new_look()
            if error is not None:
                reachable, last_error = not isinstance(error, Unavailable), str(error)
        except Unavailable as error:
            reachable, last_error = False, str(error)
            present = False if is_gone(error) else present
        except ScrubjayError as error:
            last_error = str(error)
        states = [agent.state() for agent in self.agents]
        if any(state.stopped == BLOCKED for state in states):
            present = False
        fenced = next((state.trouble.error for state in states if state.fenced and state.trouble is not None), None)
        trouble = min((state.trouble for state in states if state.trouble is not None), key=lambda one: one.since_us, default=None)
        told = trouble.error if trouble is not None else None
        since = [one for one in (self._failed[1] if self._failed else None, trouble.since_us if trouble is not None else None) if one]
        return StoreFacts(
            self._url,
            reachable,
            present,
            fenced,
            last_error or told or self._meter.last_error,
            min(since, default=None),
            complete,
            stuck=trouble is not None,
        )

    async def _new_look(self) -> tuple[bool, ScrubjayError | None]:
        """Look at everything anew: (whether it was done in time, what it met). A look that takes longer goes on, and the next call waits for it."""
        if self._look is None or self._look.done():
            self._look = self._env.tasks.spawn(self._refresh(), name="archive look")
        look = self._look
        end_us = self._env.clock.boot_us() + int(STATUS_PATIENCE_S * 1e6)
        while not look.done():
            if self._env.clock.boot_us() >= end_us:
                return False, None
            await self._env.tasks.sleep(0.02)
        return True, look.result()

    async def _refresh(self) -> ScrubjayError | None:
        try:
            await self.index.refresh(now_us=self._env.clock.wall_us(), archived=self.archived())
        except ScrubjayError as error:
            return error
        return None


def archived_here(control: Control) -> list[KnownArchived]:
    """Every partition that a node holds, or whose end the catalogue knows, with the LSN up to which it was archived."""
    found: list[KnownArchived] = []
    copies = _by_partition(control)
    tables = {table.table_id: table for table in (*control.service.tables(), control.system)}
    for table in tables.values():
        finals = {final.partition_id: final for final in table.finals} if table.archived_at is not None else {}
        finals |= {former.info.partition_id: former.final for former in table.former or () if former.archived_at is not None}
        for info in every_partition(table):
            known = [_end(facts) for facts in copies.get(info.partition_id, ())]
            if info.partition_id in finals:
                known.append((finals[info.partition_id].lsn, bytes.fromhex(finals[info.partition_id].chain)))
            if known:
                found += _told(table, KnownArchived(table.table_id, info.partition_id, *agreed_end(known)))
    return found


def _told(table: TableMeta, known: KnownArchived) -> list[KnownArchived]:
    """Unless it is a child of a split of whose own log nothing is archived: what lies below its beginning is its parent's."""
    parent = parent_of(table, PartitionId(known.partition))
    return [] if parent is not None and known.lsn <= parent.final.lsn else [known]


def _by_partition(control: Control) -> dict[PartitionId, list[ReplicaFacts]]:
    found: dict[PartitionId, list[ReplicaFacts]] = {}
    for facts in control.fleet.all_facts():
        found.setdefault(facts.partition, []).append(facts)
    return found


def _archived_of(control: Control, places: Mapping[PartitionId, TableMeta], partition: PartitionId) -> KnownArchived | None:
    """One partition, as its nodes know it. places: of all that the catalogue has; a child of a split is none before that."""
    copies = control.fleet.facts(partition)
    if not copies:
        return None
    table = places.get(partition)
    if table is None:
        return None
    return next(iter(_told(table, KnownArchived(table.table_id, partition, *agreed_end([_end(facts) for facts in copies])))), None)


def agreed_end(known: Sequence[tuple[int, bytes | None]]) -> tuple[int, bytes | None]:
    """The furthest archived LSN that somebody knows, and the chain value there: one that nobody who knows one contradicts, else the one that most state, None if no more
    state it than another. A copy whose tree rotted unseen has a digest of its own, and the chain is over digests. Pure."""
    lsn = max(end for end, _ in known)
    counted = Counter(chain for end, chain in known if end == lsn and chain is not None).most_common(2)
    if not counted or (len(counted) == 2 and counted[0][1] == counted[1][1]):
        return lsn, None
    return lsn, counted[0][0]


def _end(facts: ReplicaFacts) -> tuple[int, bytes | None]:
    """A replica's archived LSN, and the chain value there if it still has it."""
    return facts.archived, facts.archived_chain or None


def archived_table(table: TableMeta) -> ArchivedTable:
    """As the catalogue says it."""
    partitions = tuple(info.partition_id for info in every_partition(table))
    return ArchivedTable(table.table_id, table.name, partitions, table.dropped_at, splits=splits_of(table))


def archived_table_now(table: TableMeta, fleet: Fleet) -> ArchivedTable:
    """And what its copies say of their logs."""
    known_table = archived_table(table)
    lacking = 0
    counts = {1: 0, 2: 0, 3: 0}
    known = False
    for partition in known_table.partitions:
        copies = fleet.facts(PartitionId(partition))
        if copies:
            known = True
            lacking += unarchived(copies)
            best = max(copies, key=lambda facts: (facts.archived, sum(facts.archived_by)))
            for number in (1, 2, 3):
                counts[number] += best.archived_by[number - 1]
    return known_table._replace(unarchived_bytes=lacking, attestations=counts if known else None)
