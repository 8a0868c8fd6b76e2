"""One process of several keeps up with the catalogue that all of them change.

Every node that has a copy of the metadata group is asked to say when that has applied more (`AwaitApplied`): it answers then, and nothing is sent while nothing happens. Then, and every REFRESH_S whether somebody
said so or not, the group is asked whether its log has moved since all was read, and if so all is read again; every WHOLE_S all is read anyhow. What that costs the group's leader does not depend on how often a router was wrong. While the group has no leader,
what was known last goes on being served.

A node beside this one is told what to host by its own process. What a process began with a table (make, change, drop) it ends itself; if it died, the process that works for the
cluster goes on with it, once it has stood still for ADOPT_US: to make, to change and to drop may be done by two at once, the catalogue takes one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from scrubjay.base.env import Env, Future, Task
from scrubjay.base.errors import Conflict, ScrubjayError, Unavailable
from scrubjay.base.ids import Lsn, NodeName, TableId
from scrubjay.base.together import settle
from scrubjay.storage.catalogue import TableMeta
from scrubjay.storage.control.fleet import Fleet
from scrubjay.storage.control.metadata import Metadata
from scrubjay.storage.control.tables import Tables
from scrubjay.storage.node import port
from scrubjay.storage.node.port import NodePort

BUSY = 4
"""Between two reads of the catalogue lies at least this many times what the last one took."""
REFRESH_S = 2.0
WHOLE_S = 30.0
PAUSE_S, AGAIN_S = 0.02, 0.2
"""After a read at least; and after one that failed."""
AWAIT_S = 20.0
"""How long a node is waited for to say that the metadata group has moved, before it is asked again."""
ADOPT_US = 5_000_000
"""A table that is being made, changed or dropped and has not moved for so long is gone on with by whoever works."""


class Following:
    """here: the node of this process, None: it has none. works: whether this process is the one that works for the cluster (`server.duty`). failed: why the catalogue could not
    be read the last time, None: it could.

    More than 15 fields: how far the catalogue is known to have moved, and what is done of each table.
    """

    def __init__(
        self,
        env: Env,
        *,
        fleet: Fleet,
        metadata: Metadata,
        tables: Tables,
        here: NodePort | None,
        works: Callable[[], bool],
    ) -> None:
        self._env, self._fleet, self._metadata, self._tables = env, fleet, metadata, tables
        self._here, self.works = here, works
        self.failed: ScrubjayError | None = None
        self._system = metadata.system
        self._moved = self._seen = -1
        """How far the metadata group has moved, as far as any node told; and as of the last read."""
        self._awaiting: set[NodeName] = set()
        """Nodes that will say when it moves."""
        self._wake: Future[None] | None = None
        self._whole_us = 0
        self._hosted: dict[TableId, int] = {table.table_id: table.version for table in metadata.tables.values()}
        self._since: dict[TableId, tuple[int, int]] = {}
        """Of each table on its way: its version, and since when it stands there."""
        self._adopted: dict[TableId, int] = {}
        self._task: Task[None] | None = None

    def start(self) -> None:
        self._task = self._env.tasks.keep(self._follow, name="catalogue")

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _follow(self) -> None:
        while True:
            self._await_all()
            await self._until_moved(REFRESH_S)
            began_us, moved = self._env.clock.boot_us(), self._moved
            try:
                await self._read(began_us)
                self.failed = None
            except ScrubjayError as error:
                self.failed = error
                await self._env.tasks.sleep(AGAIN_S)
                continue
            self._seen = moved
            self._host()
            if self.works():
                await self._adopt()
            await self._env.tasks.sleep(max(PAUSE_S, BUSY * (self._env.clock.boot_us() - began_us) / 1e6))

    async def _read(self, now_us: int) -> None:
        """Raises Unavailable."""
        if now_us - self._whole_us < WHOLE_S * 1e6:
            await self._metadata.newest()
        else:
            await self._metadata.load()
            self._whole_us = now_us

    async def _until_moved(self, seconds: float) -> None:
        if self._moved > self._seen:
            return
        self._wake = self._env.tasks.future()
        timer = self._env.tasks.call_later(seconds, partial(settle, self._wake, None))
        try:
            await self._wake
        finally:
            timer.cancel()
            self._wake = None

    def _await_all(self) -> None:
        for node in self._fleet.members(self._metadata.system.partitions[0]):
            if node.name not in self._awaiting:
                self._awaiting.add(node.name)
                self._await(node)

    def _await(self, node: NodePort) -> None:
        request = port.AwaitApplied(self._metadata.system.partitions[0].partition_id, Lsn(max(self._moved, 0)), int(AWAIT_S * 1e6))
        node.ask(request, partial(self._heard, node.name), timeout_s=2 * AWAIT_S)

    def _heard(self, name: NodeName, answer: object) -> None:
        """Said, or not: it is asked again with the next read."""
        self._awaiting.discard(name)
        applied = max((one.applied for one in answer.replicas), default=Lsn(0)) if isinstance(answer, port.FactsOfReplicas) else Lsn(0)
        if applied > self._moved:
            self._moved = applied
            if self._wake is not None:
                settle(self._wake, None)

    def _host(self) -> None:
        """Tell the node here of each table that is new, or has changed."""
        here = self._here
        if here is None or not self._tables.may_host():
            return
        if self._system != self._metadata.system:
            self._system = self._metadata.system
            self._fleet.host_on(here, self._system)
        for table in list(self._metadata.tables.values()):
            if self._hosted.get(table.table_id) == table.version:
                continue
            self._hosted[table.table_id] = table.version
            if table.status != "CREATING":  # whoever makes it says so by itself, once it has its name
                self._fleet.host_on(here, table)
        for gone in sorted(self._hosted.keys() - self._metadata.tables.keys()):
            del self._hosted[gone]

    async def _adopt(self) -> None:
        now_us = self._env.clock.boot_us()
        waiting = list(self._on_its_way())
        for gone in sorted(self._since.keys() - {table.table_id for table in waiting}):
            del self._since[gone]
        for table in waiting:
            version, since_us = self._since.get(table.table_id, (0, 0))
            if version != table.version:
                self._since[table.table_id] = table.version, now_us
            elif now_us - since_us > ADOPT_US and self._adopted.get(table.table_id) != table.version and await self._is_the_only_one(table):
                self._adopted[table.table_id] = table.version
                self._go_on(table)

    def _on_its_way(self) -> Iterable[TableMeta]:
        for table in self._metadata.tables.values():
            begun = table.status in ("UPDATING", "DELETING") or (table.status == "DROPPED" and table.archived_at is None)
            made = table.status == "CREATING" and table.restore_of is None  # a restore under way is its service's
            if begun or made or (table.status == "ACTIVE" and table.absent):
                yield table

    async def _is_the_only_one(self, table: TableMeta) -> bool:
        """Of two tables that were made under one name at once, and left alone, one goes: the one that is not served, or has the higher id."""
        if table.status != "CREATING":
            return True
        for other in list(self._metadata.tables.values()):
            rival = other.name == table.name and other.table_id != table.table_id and other.status != "DROPPED"
            if rival and (other.status != "CREATING" or other.table_id < table.table_id):
                try:
                    await self._metadata.remove_table(table.table_id)
                except (Conflict, Unavailable):
                    return False
                self._fleet.forget_indexes(table)
                for info in table.partitions:
                    for node in self._fleet.members(info):
                        self._fleet.forget(info.partition_id, node)
                return False
        return True

    def _go_on(self, table: TableMeta) -> None:
        if table.status == "DROPPED":
            self._tables.drops.resume(table)
            return
        self._tables.host(table)
        self._tables.go_on(table)
