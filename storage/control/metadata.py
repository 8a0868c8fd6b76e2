"""The metadata group: tables and coordinators' notes as items of one partition, replicated, archived and scrubbed like any other.

Item: k (S) = "table/<table id>", "job/<key>", "node/<name>", "hosts", "version" or "writer", v (S) = JSON. Every write is a compare-and-set on the whole old item, so a second writer loses
instead of overwriting. The map in memory is what the last read or write of this process saw.

A write whose answer never came, or for which nobody waited to the end, may have happened: what is remembered of its item may be behind the log. Such a write
is made again, by itself, until it is known what stands there (a compare-and-set that finds its own value has happened), and no other write of that item, and
no new name, goes before that.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from scrubjay.base.env import Env, Task
from scrubjay.base.errors import Conflict, Corrupt, ScrubjayError, Unavailable, Unsafe
from scrubjay.base.gate import Gate
from scrubjay.base.ids import Lsn, Member, NodeName, PartitionId, TableId
from scrubjay.base.together import settle
from scrubjay.storage.catalogue import (
    INCARNATION_FIRST,
    METADATA_TABLE,
    KeyAttribute,
    KeySchema,
    NodeMember,
    PartitionInfo,
    TableMeta,
    VersionNote,
    WriterNotes,
    index_tables,
    placed,
    with_index_table,
    with_partition,
)
from scrubjay.storage.commands.values import Decision, RangeAnswer, RangeRead, ReadAnswer, SwapCommand
from scrubjay.storage.control.router import Router
from scrubjay.storage.control.swapping import swap
from scrubjay.storage.items.encoding import decode_item, encode_item
from scrubjay.storage.items.keys import storage_key

SCHEMA = KeySchema(KeyAttribute("k", "S"))
_PAGE_BYTES = 1 << 20
_TRIES = 5
_AGAIN_S, _AGAIN_MAX_S = 0.2, 5.0
"""Between two tries at what has to be written in the end."""
WRITER = "writer"
_VERSION = "version"
NODE = "node/"
HOSTS = "hosts"
"""Where the copies of the metadata group itself are, once they are not where it was founded."""


class Hosts(msgspec.Struct, frozen=True):
    hosts: tuple[int, ...]
    fresh: tuple[int, ...] = ()
    logs: tuple[int, ...] = ()
    again: tuple[Member, ...] = ()
    goes: tuple[int, ...] = ()

    def of(self, system: TableMeta) -> TableMeta:
        """The metadata group with its copies where this says that they are."""
        info = msgspec.structs.replace(
            system.partitions[0], hosts=self.hosts, fresh=self.fresh, logs=self.logs, again=self.again, goes=self.goes
        )
        return msgspec.structs.replace(system, partitions=(info,))


def metadata_table(table_id: TableId, partition_id: PartitionId, *, members: tuple[Member, ...], created_at: int) -> TableMeta:
    """The system table itself; its ids are minted with the cluster and kept in the data folder. created_at: microseconds."""
    info = PartitionInfo(partition_id, "0" * 32, "", members)
    return TableMeta(
        table_id=table_id,
        name=METADATA_TABLE,
        status="ACTIVE",
        key=SCHEMA,
        attributes=(("k", "S"),),
        partitions=(info,),
        created_at=created_at,
        billing="PAY_PER_REQUEST",
    )


def metadata_write(name: str, *, expect: bytes | None, value: str | None) -> SwapCommand:
    """Compare-and-set of one metadata item. expect: canonical item bytes, None for absent. value: JSON, None to remove the item."""
    key = {"k": ("S", name)}
    return SwapCommand(
        storage_key(SCHEMA, key), encode_item(key), expect, None if value is None else encode_item({**key, "v": ("S", value)})
    )


class Metadata:
    """tables: by id, dropped ones too. `on_version` is called with each version of the cluster, `on_change` with each table written or read anew; `on_learned` with each table of which it became known late
    what stands in the log, and whoever wrote it has given up.

    More than 15 fields, more than 25 methods: the map, what is not known of it, and what is on its way.
    """

    def __init__(self, env: Env, router: Router, system: TableMeta, *, alone: bool = True) -> None:
        """alone: nobody but this process writes to the metadata group; else others do too, and what is known of it here may be old."""
        self._env, self._router, self.system, self.alone = env, router, system, alone
        self.tables: dict[TableId, TableMeta] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.writer = WriterNotes()
        self.version = VersionNote()
        self.nodes: dict[NodeName, NodeMember] = {}
        """Of the nodes that joined, were replaced, or are leaving; the others are as they were founded."""
        self._raw: dict[str, bytes] = {}
        self._by_name: dict[str, TableMeta] = {}
        self._places: dict[PartitionId, TableId] = {}
        self._owners: dict[TableId, TableId] = {}
        """Of tables, and of internal tables of indexes, whose item says of them."""
        self.on_change: list[Callable[[TableMeta], None]] = []
        self.on_version: list[Callable[[VersionNote], None]] = []
        self.on_learned: list[Callable[[TableMeta], None]] = []
        self._unsure: dict[str, SwapCommand] = {}
        """Writes whose outcome is not known, by item."""
        self._finding_out = Gate(env.tasks)
        self._loading = Gate(env.tasks)
        self._names: dict[bytes, str] = {}
        """Of the items read last, by their storage keys: what has not changed is not decoded again."""
        self._read_at = -1
        """LSN of the metadata group up to which all was read at least, by the last strong read of all."""
        self._touched: dict[str, None] = {}
        """Items that were written, or read by themselves, since the load under way began: what it read of them may be older."""
        self._finder: Task[None] | None = None
        self._moment = 0
        """The latest effective time of a write since `moment` was asked for."""
        router.maps.catalogue = self
        self.on_change.append(router.maps.heard)

    def by_name(self, name: str) -> TableMeta | None:
        """The table that owns the name now (dropped tables own none)."""
        return self._by_name.get(name)

    def standing(self, name: NodeName, number: int) -> NodeMember | None:
        """Which member of the cluster that node is, one that was removed too; None: it never joined."""
        known = self.nodes.get(name)
        if known is None and any(member[0] == number for member in self.system.partitions[0].members):
            return NodeMember(number, INCARNATION_FIRST, "", 0)
        return known

    def place(self, partition: PartitionId) -> tuple[TableMeta, PartitionInfo]:
        """Whose partition this is; costs the same for any number of tables. One that is to be, or was split and may have copies still, is told of too. Raises Unavailable if the catalogue does
        not know it."""
        id_ = self._places.get(partition)
        table = self.system if id_ is None else self.tables[id_]
        for info in placed(table):
            if info.partition_id == partition:
                return table, info
        for index in index_tables(table):
            for info in placed(index):
                if info.partition_id == partition:
                    return index, info
        raise Unavailable("no such partition", partition=partition)

    def any_table(self, table_id: TableId) -> TableMeta | None:
        """The table, or internal table of an index, of that id; None: there is none (any more)."""
        table = self.tables.get(table_id)
        if table is not None:
            return table
        owner = self.tables.get(self._owners.get(table_id, table_id))
        return None if owner is None else next((one for one in index_tables(owner) if one.table_id == table_id), None)

    def known(self, table: TableMeta) -> TableMeta:
        """See `storage.control.map_waits.KnownTables`."""
        if table.table_id == self.system.table_id:
            return self.system
        if not table.index_of:
            return self.tables.get(table.table_id, table)
        owner = self.tables.get(table.index_of.table_id)
        return next((one for one in index_tables(owner) if one.table_id == table.table_id), table) if owner is not None else table

    async def load(self) -> None:
        """Read everything, strongly, beside whatever is written meanwhile; what others removed is not known any more, what they wrote is. Raises Unavailable while
        the metadata group has no leader: then nothing has changed."""
        await self._load(consistent=True)

    async def load_known(self) -> None:
        """Read everything as some replica knows it, which may be behind: for who serves by it until `load` can be done. Raises Unavailable."""
        await self._load(consistent=False)

    async def _load(self, *, consistent: bool) -> None:
        async with self._loading:
            self._touched.clear()
            items, lsn = await self._pages(consistent=consistent)
            names = {key: self._names.get(key) or metadata_item(item)[0] for key, item in items}
            self._names = names
            found = {names[key]: item for key, item in items}
            changed: list[TableMeta] = []
            for name, item in found.items():
                if name not in self._touched and self._raw.get(name) != item:
                    self._take(item)
                    if (table := self._table_of(name)) is not None:
                        changed.append(table)
            for name in [name for name in self._raw if name not in found and name not in self._touched]:
                self._gone(name)
            if consistent:
                self._read_at = lsn
        for table in sorted(changed, key=lambda each: each.table_id):
            self._changed(table)

    async def newest(self) -> None:
        """Before something is decided by what the catalogue says: where others may have changed it, as it is now. All of it is read if the log has moved since it was read last. Raises Unavailable."""
        if self.alone:
            return
        if (await self._read(WRITER)).lsn > self._read_at:
            await self.load()

    async def _pages(self, *, consistent: bool) -> tuple[list[tuple[bytes, bytes]], Lsn]:
        """Every item (storage key, bytes) of the metadata group, and an LSN that all of them are no older than. Raises Unavailable."""
        found: list[tuple[bytes, bytes]] = []
        start = b""
        lsn: Lsn | None = None
        while True:
            future = self._env.tasks.future()
            request = RangeRead(start, None, 10_000, _PAGE_BYTES, reverse=False, consistent=consistent)
            self._router.read_range(self.system.partitions[0].partition_id, request, partial(settle, future))
            page: RangeAnswer = await future
            lsn = Lsn(page.lsn) if lsn is None else min(lsn, Lsn(page.lsn))
            found += page.rows
            if page.rows:
                start = page.rows[-1][0] + b"\x00"
            if not page.more:
                return found, lsn

    async def glimpse(self) -> list[TableMeta]:
        """The tables as some replica knows them now, which may be behind. Changes nothing. Raises Unavailable."""
        items = [metadata_item(item) for _, item in (await self._pages(consistent=False))[0]]
        return [table_from(name, text) for name, text in items if name.startswith("table/")]

    async def change(
        self, table_id: TableId, of: Callable[[TableMeta], TableMeta | None], *, until: Callable[[], bool]
    ) -> TableMeta | None:
        """Change a table that is our own to change, or an index's internal table as `put_table` does, from whatever stands there at the time; tried again while the metadata group has no leader.

        of: the changed table, None if there is nothing to change (any more). None: that, or `until` came true first.
        """
        pause_s = _AGAIN_S
        while not until():
            table = self.any_table(table_id)
            changed = None if table is None else of(table)
            if changed is None:
                return None
            try:
                return await self.put_table(changed)
            except (Unavailable, Conflict):
                await self._env.tasks.sleep(pause_s)
                pause_s = min(pause_s * 2, _AGAIN_MAX_S)
        return None

    async def put_table(self, table: TableMeta) -> TableMeta:
        """Write a table (version one above the last), or of an index's internal table what its owner's item says of it: its partitions and their splits. Raises Conflict if someone else wrote it
        meanwhile, or the index is gone; Unavailable (`unknown`: it may have been written)."""
        if table.index_of:
            owner = self.tables.get(table.index_of.table_id)
            changed = None if owner is None else with_index_table(owner, table)
            if changed is None:
                raise Conflict("the index is gone, or being removed", index=table.name)
            await self.put_table(changed)
            return self.known(table)
        before = self.tables.get(table.table_id)
        table = msgspec.structs.replace(table, version=(before.version if before is not None else 0) + 1)
        await self._put(f"table/{table.table_id}", msgspec.json.encode(table).decode())
        self._changed(table)
        return table

    async def remove_table(self, table_id: TableId) -> None:
        """Forget a table that was never published."""
        await self._put(f"table/{table_id}", None)
        gone = self.tables.get(table_id)
        if gone is not None:
            self._forget(gone)

    async def put_writer(self, notes: WriterNotes) -> None:
        """Who of this cluster may write to its archive. Raises Conflict if someone else wrote it meanwhile."""
        await self._put(WRITER, msgspec.json.encode(notes).decode())
        self.writer = notes

    async def put_version(self, note: VersionNote) -> None:
        """The cluster's version, or what holds it. Raises Unsafe: it never goes down; Conflict if someone else wrote it meanwhile: then `version` is what stands there; Unavailable."""
        if note.number < self.version.number:
            raise Unsafe("the cluster's version is never lowered", asked=note.number, found=self.version.number)
        await self._put(_VERSION, msgspec.json.encode(note).decode())
        self._versioned(note)

    def _versioned(self, note: VersionNote) -> None:
        self.version = note
        for listener in self.on_version:
            listener(note)

    async def put_node(self, name: NodeName, member: NodeMember) -> None:
        """Which member a node is from now on. Raises Conflict if someone else wrote it meanwhile."""
        await self._put(f"{NODE}{name}", msgspec.json.encode(member).decode())
        self.nodes[name] = member

    def spoke_as(self, number: int) -> int:
        """The highest incarnation of any copy on that node that came back to its group there, 0: none did. The node's next one is above it: what it lost may have spoken as that."""
        tables = (self.system, *self.tables.values())
        infos = [info for table in tables for one in (table, *index_tables(table)) for info in placed(one)]
        return max([member[1] for info in infos for member in info.again if member[0] == number], default=0)

    async def put_partition(self, table_id: TableId, before: PartitionInfo, info: PartitionInfo) -> bool:
        """Where the copies of a partition are from now on, of a table, an index or the metadata group itself; whatever else its table says. before: as it was when that was decided. False: it is
        not there, or not so, any more. Raises Conflict, Unavailable."""
        if table_id == self.system.table_id:
            if self.system.partitions[0] != before:
                return False
            hosts = Hosts(info.hosts, info.fresh, info.logs, info.again, info.goes)
            await self._put(HOSTS, msgspec.json.encode(hosts).decode())
            self._founded_at(hosts)
            return True
        table = self.tables.get(self._owners.get(table_id, table_id))
        changed = None if table is None else with_partition(table, before, info)
        if changed is None:
            return False
        await self.put_table(changed)
        return True

    def _founded_at(self, hosts: Hosts) -> None:
        self.system = hosts.of(self.system)

    async def put_job(self, key: str, job: dict[str, Any] | None) -> None:
        """Durable notes of a coordinator; None removes them."""
        await self._put(f"job/{key}", None if job is None else json.dumps(job, sort_keys=True))
        if job is None:
            self.jobs.pop(key, None)
        else:
            self.jobs[key] = job

    async def moment(self, key: str, job: dict[str, Any]) -> int:
        """Notes of a coordinator that were never written before, and when (microseconds since the epoch) that took effect: not before any write of the catalogue that is known here. Raises Conflict,
        Unavailable."""
        self._moment = 0
        await self.put_job(key, job)
        if not self._moment:
            raise Unavailable("nobody knows when that was written", item=key)  # the answer was lost, and it was found written
        return self._moment

    async def fetch_job(self, key: str) -> dict[str, Any] | None:
        """A coordinator's notes as they are now, strongly; `jobs` has them then. Raises Unavailable."""
        name = f"job/{key}"
        item = await self._fetch(name)
        if item is None:
            self._gone(name)
        else:
            self._take(item)
        return self.jobs.get(key)

    def gone(self, table: TableMeta) -> bool:
        """See `storage.control.map_waits.KnownTables`."""
        owner = table.index_of.table_id if table.index_of else table.table_id
        known = self.tables.get(owner)
        return owner != self.system.table_id and (known is None or known.status == "DROPPED")

    async def fetch_table(self, table_id: TableId) -> None:
        """See `storage.control.map_waits.KnownTables`."""
        name = f"table/{table_id}"
        before = self._raw.get(name)
        item = await self._fetch(name)
        if self._raw.get(name) == before and item != before:  # else who has written it meanwhile knows better
            self._stands(name, item)

    async def _fetch(self, name: str) -> bytes | None:
        """An item as it is now, strongly; None: it is not there. Raises Unavailable."""
        answer = await self._read(name)
        self._touched[name] = None
        return answer.item

    async def _read(self, name: str) -> ReadAnswer:
        """Strongly. Raises Unavailable."""
        future = self._env.tasks.future()
        self._router.read(self.system, storage_key(SCHEMA, {"k": ("S", name)}), consistent=True, done=partial(settle, future))
        answer: ReadAnswer = await future
        return answer

    # ------------------------------------------------------------------

    async def _put(self, name: str, value: str | None) -> None:
        if name in self._unsure:
            before = self._raw.get(name)
            await self.settle()
            stands = self._raw.get(name)
            if stands == metadata_write(name, expect=None, value=value).new:
                return
            if stands != before:
                raise Conflict("an earlier write of this came through after all", item=name)
        command = metadata_write(name, expect=self._raw.get(name), value=value)
        found = await self._swap(name, command)
        if found != command.new:
            self._stands(name, found)
            if self.alone:
                # It was this process: whoever asked for it waits for its answer still, or is told of the next change instead.
                self._tell_learned(name)
            raise Conflict("metadata was changed by someone else", item=name)
        self._remember(name, command.new)

    async def _swap(self, name: str, command: SwapCommand) -> bytes | None:
        """What stands in the item after a compare-and-set. If nobody gets to know that, it is found out later, whoever asked."""
        try:
            answer = await swap(self._env, self._router, self.system, command, tries=_TRIES)
        except ScrubjayError as error:
            if error.fields.get("unknown"):
                self._doubt(name, command)
            raise
        except self._env.tasks.Cancelled:  # it is on its way
            self._doubt(name, command)
            raise
        self._moment = max(self._moment, answer.timestamp_us or 0)
        return answer.outcome.old if answer.outcome.decision is Decision.CONDITION_FAILED else command.new

    # ------------------------------------------------------------------ what is not known

    def _doubt(self, name: str, command: SwapCommand) -> None:
        self._unsure[name] = command
        if not self._router.closed and (self._finder is None or self._finder.done()):
            self._finder = self._env.tasks.keep(self._find_out, name="metadata of unknown outcome")

    async def _find_out(self) -> None:
        """For as long as it takes: what stands in the log would come to light at the next start, as a table that is gone, or twice."""
        pause_s = _AGAIN_S
        while self._unsure and not self._router.closed:
            await self._env.tasks.sleep(pause_s)
            pause_s = min(pause_s * 2, _AGAIN_MAX_S)
            try:
                await self.settle()
            except ScrubjayError:
                continue  # of whatever kind: nobody else would find it out

    async def settle(self) -> None:
        """Get to know what came of every write without an outcome. Raises Unavailable if that cannot be known now."""
        async with self._finding_out:
            for name, command in list(self._unsure.items()):
                found = await self._swap(name, command)
                del self._unsure[name]
                self._stands(name, found)
                self._tell_learned(name)

    def _tell_learned(self, name: str) -> None:
        table = self._table_of(name)
        if table is not None:
            for listener in self.on_learned:
                listener(table)

    def _stands(self, name: str, item: bytes | None) -> None:
        """Take in what was found in an item."""
        self._remember(name, item)
        if item is not None:
            self._take(item)
            table = self._table_of(name)
            if table is not None:
                self._changed(table)
        else:
            self._gone(name)

    def _gone(self, name: str) -> None:
        """An item is not there any more."""
        self._raw.pop(name, None)
        if (gone := self._table_of(name)) is not None:
            self._forget(gone)
        else:
            self.jobs.pop(name.removeprefix("job/"), None)

    def _table_of(self, name: str) -> TableMeta | None:
        """The table that an item is about."""
        return self.tables.get(TableId(name.removeprefix("table/"))) if name.startswith("table/") else None

    def _remember(self, name: str, item: bytes | None) -> None:
        self._touched[name] = None
        if item is None:
            self._raw.pop(name, None)
        else:
            self._raw[name] = item

    def _take(self, item: bytes) -> None:
        name, text = metadata_item(item)
        self._raw[name] = item
        if name.startswith("table/"):
            self._keep(table_from(name, text))
            return
        try:
            if name == WRITER:
                self.writer = msgspec.json.decode(text, type=WriterNotes)
            elif name == _VERSION:
                self._versioned(msgspec.json.decode(text, type=VersionNote))
            elif name.startswith(NODE):
                self.nodes[NodeName(name.removeprefix(NODE))] = msgspec.json.decode(text, type=NodeMember)
            elif name == HOSTS:
                self._founded_at(msgspec.json.decode(text, type=Hosts))
            else:
                self.jobs[name.removeprefix("job/")] = json.loads(text)
        except (msgspec.MsgspecError, ValueError) as error:
            raise Corrupt("metadata item malformed", what="metadata", item=name) from error

    def _keep(self, table: TableMeta) -> None:
        self.tables[table.table_id] = table
        for one in (table, *index_tables(table)):
            self._owners[one.table_id] = table.table_id
            for info in placed(one):
                self._places[info.partition_id] = table.table_id

    def _forget(self, gone: TableMeta) -> None:
        del self.tables[gone.table_id]
        for one in (gone, *index_tables(gone)):
            self._owners.pop(one.table_id, None)
            for info in placed(one):
                self._places.pop(info.partition_id, None)
        if self._by_name.get(gone.name) is gone:
            del self._by_name[gone.name]

    def _changed(self, table: TableMeta) -> None:
        self._keep(table)
        owner = self._by_name.get(table.name)
        if table.status == "DROPPED":
            if owner is not None and owner.table_id == table.table_id:
                del self._by_name[table.name]
        else:
            self._by_name[table.name] = table
        for listener in self.on_change:
            listener(table)


def metadata_item(item: bytes) -> tuple[str, str]:
    """k and v of a metadata item. Raises Corrupt."""
    values = decode_item(item)
    name, text = values["k"][1], values["v"][1]
    if not isinstance(name, str) or not isinstance(text, str):
        raise Corrupt("metadata item malformed", what="metadata")
    return name, text


def table_from(name: str, text: str) -> TableMeta:
    """What the item `name` says of its table. Raises Corrupt."""
    try:
        return msgspec.json.decode(text, type=TableMeta)
    except (msgspec.MsgspecError, ValueError) as error:
        raise Corrupt("metadata item malformed", what="metadata", item=name) from error
