"""Backups by name: a pin in the archive says which moment of a table has to stay restorable. No copy is made; retention reads the pins (`archiver.expire`).

A pin is one create-once object. It is there or it is not, wherever a process is killed; whether its moment is proven is asked of the archive anew each time. A note in the
metadata group says that there was one: a pin that the store loses is missed, and its moment is held, until somebody gives the backup up.

A pin says which bytes it is of: the chain value of each partition's log at the seal that ends the moment. An archive that is whole and consistent with itself, and holds
another history there, is found out by it, years later too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec

from scrubjay.archiver.expire.plan import PIN, Need, pin_need
from scrubjay.archiver.format.fault import Fault
from scrubjay.archiver.format.layout import PIN_ID, PinKey, build, pins_prefix
from scrubjay.archiver.format.pin import BackupPin, PinEnd, encode_pin
from scrubjay.archiver.read.backup_pins import PinReader
from scrubjay.archiver.read.names import list_all
from scrubjay.archiver.write.writer import Writer
from scrubjay.base.env import Env, ObjectStore
from scrubjay.base.errors import NO_KEY, Conflict, Corrupt, Exists, Invalid, Missing, Unavailable, Unsafe
from scrubjay.base.hlc import last_stamp_at, stamp_micros
from scrubjay.base.ids import Lsn
from scrubjay.base.together import in_parallel
from scrubjay.pitr.archive import RestoreArchive, TableArchive
from scrubjay.pitr.job import new_id
from scrubjay.pitr.options import TRY_AGAIN_S, RestoreOptions
from scrubjay.pitr.plan import PartitionPlan, Plan, ends_reached, plan_table, with_closed
from scrubjay.pitr.rates import rates_of
from scrubjay.pitr.service import Report, RestoreService
from scrubjay.pitr.target import RestoreTarget
from scrubjay.storage.catalogue import RestoreOrigin, TableMeta, TableStats, as_of, definition_anew
from scrubjay.storage.cluster_version import DETAILED_BACKUPS, Feature
from scrubjay.storage.log.chain import START as CHAIN_START
from scrubjay.storage.log.record import Seal
from scrubjay.storage.service_port import ServicePort

BACKUPS_MAX = 10_000
"""Of one cluster. Each is read once by whoever lists them, and by every run of retention."""
NOTES = "backup/"
"""Of the notes that there was a pin, by its id. Written after it was put, taken away before it is deleted."""
ENDS_WAIT_S = 5.0
"""How long a backup waits for the archive to prove its moment, so that its pin says which bytes it is of. Then it is made without."""
ADOPTED_MAX = 32
"""Pins without a note, as a process leaves one that dies in between, that one listing notes."""
CREATING, AVAILABLE, DAMAGED, UNREAD = "creating", "available", "damaged", "unread"


class BackupState(NamedTuple):
    """word: CREATING: the archive does not prove the moment yet; AVAILABLE: it can be restored; DAMAGED: it cannot, `detail` says why;
    UNREAD: it cannot until a key of encryption is there, which `detail` names."""

    word: str
    detail: str | None = None


class LostBackup(NamedTuple):
    """A backup whose pin was there once, and is not. at_us: its moment; 0: the note does not say."""

    id: str
    name: str
    table: str
    table_id: str
    at_us: int


class BackupsFound(NamedTuple):
    """pins: oldest first. unread: see PinsFound. lost: oldest first."""

    pins: tuple[BackupPin, ...]
    unread: tuple[Fault, ...]
    lost: tuple[LostBackup, ...]


class BackupService:
    """hurry: have the archive moved on soon. restorer: restores to a new table, and says between which moments a backup may lie. given_up: is told of each object
    that nobody misses any more. lacks: why the cluster must not write something yet (`ClusterVersion.lacks`)."""

    def __init__(
        self,
        env: Env,
        port: ServicePort,
        archive: RestoreArchive,
        store: ObjectStore,
        writer: Writer,
        restorer: RestoreService,
        options: RestoreOptions,
        *,
        hurry: Callable[[], None],
        lacks: Callable[[Feature], str],
        given_up: Callable[[str], None] = lambda _key: None,
    ) -> None:
        self._env, self._port, self._archive, self._store = env, port, archive, store
        self._writer, self._restorer, self._options, self._hurry = writer, restorer, options, hurry
        self._given_up, self._lacks = given_up, lacks
        self._reader = PinReader(env.tasks, store, writer.cluster)
        self._held: dict[str, Need] = {}
        """What the backups that this process made need, by id, from before their pin is put: a run of retention that listed the pins before sees it all the same.
        One whose put was tried and not answered stays in it until the process ends: its pin may be there."""

    def needs(self) -> list[Need]:
        """What retention must leave beside what it finds below `pins/` itself: for backups that are being made, and for those whose pin is lost. Never waits."""
        noted = (one for one in self._noted().values() if one.id not in self._held)
        return [*self._held.values(), *(Need(one.table_id or None, one.at_us, PIN, f"{one.name} ({one.id})") for one in noted)]

    def noted(self) -> list[str]:
        """Keys of the pins that there are, as far as this cluster remembers. Never waits."""
        return [self._key(id_) for id_ in self._noted()]

    def _key(self, id_: str) -> str:
        return build(PinKey(self._writer.cluster, id_))

    def _noted(self) -> dict[str, LostBackup]:
        """By id. Notes are the metadata group's own, and their fields are taken as they are: one that lacks a field holds more, not less."""
        found = {}
        for key, note in self._port.jobs(NOTES).items():
            id_ = key.removeprefix(NOTES)
            if PIN_ID.fullmatch(id_):
                name, table, table_id = (str(note.get(field, "")) for field in ("name", "table", "table_id"))
                at_us = note.get("at_us", 0)
                found[id_] = LostBackup(id_, name, table, table_id, at_us if isinstance(at_us, int) else 0)
        return found

    async def _note(self, pin: BackupPin) -> None:
        """Raises Unavailable."""
        note = {"name": pin.name, "table": pin.table.name, "table_id": pin.table.table_id, "at_us": pin.at_us}
        await self._port.save_job(NOTES + pin.id, note)

    # ------------------------------------------------------------------ making and deleting

    async def create(self, table: TableMeta, name: str, *, asked: RestoreTarget | None, stats: TableStats) -> BackupPin:
        """asked None: now (of a dropped table: its last moment): the leaders seal first, so whatever was acknowledged before this was called is in.
        stats: of the table's leaders now; of another moment the archive says how many rows there were (`_stats_at`).

        Returns once the pin is there; see `state` for whether its moment is proven. Raises Unsafe (outside the window, too many), Fenced, Unavailable: a pin
        whose put was not answered may be there all the same, and is then in the list.
        """
        table = await self._restorer.preparing.settled(table)
        now_us = self._env.clock.wall_us()
        id_ = new_id(self._env.rand, now_us)
        there = max(len(await list_all(self._store, pins_prefix(self._writer.cluster))), len(self._held))
        if there >= BACKUPS_MAX:
            raise Unsafe("there are as many backups as there may be", found=there, next="delete some: scrubjay backup list")
        # Said before the archive is looked at: retention says what goes before it asks who needs what, so one of the two sees the other.
        self._held[id_] = Need(table.table_id, 0, PIN, f"{name} ({id_})")
        tried = False
        try:
            at_us = await self._moment(table, asked, now_us)
            if asked is not None or table.dropped_at is not None:
                stats = await self._stats_at(table, at_us, stats)
            ends = await self._ends(table, at_us)
            # A release before could not read the pin, and would hold everything for it: the way back is open while the version is low.
            known = asked is None and table.dropped_at is None and not self._lacks(DETAILED_BACKUPS)
            who = self._writer.attached
            pin = BackupPin(
                cluster=who.cluster, id=id_, name=name, at_us=at_us, created_us=now_us, table=_as_pinned(table), rows=stats.rows, bytes=stats.bytes,
                epoch=who.epoch, owner=who.owner, ends=ends, **_features(table if known else None),
            )  # fmt: skip
            self._held[id_] = pin_need(pin)
            await self._writer.assure(self._store)
            tried = True
            await self._put(pin)
            with suppress(Unavailable, Conflict):  # the backup is there; who lists it next notes it
                await self._note(pin)
        except BaseException:
            if not tried:
                del self._held[id_]
            raise
        return pin

    async def _moment(self, table: TableMeta, asked: RestoreTarget | None, now_us: int) -> int:
        if asked is not None or table.dropped_at is not None:
            return await self._restorer.preparing.moment_of(table, asked or RestoreTarget(latest=True), now_us)
        ids = [info.partition_id for info in table.partitions]
        seals = await in_parallel(
            self._env.tasks, lambda one: self._port.seal(one, reason=Seal.RESTORE), ids, lanes=self._options.lanes, name="backup seal"
        )
        return max(stamp_micros(seal.stamp) for seal in seals)

    async def _stats_at(self, table: TableMeta, at_us: int, now: TableStats) -> TableStats:
        """Rows as the digests count them that a restore of that moment would be checked against: the first agreed ones at or after it; bytes by the mean of an item now,
        or where no leader has any, of what its log wrote. Raises Unavailable."""
        seen = await self._archive.look(table)
        try:
            plan = self._plan(table, seen, at_us)
        except (Missing, Corrupt):
            return now  # the backup will be told as damaged
        rows = written = content = 0
        for part in plan.partitions:
            if part.segments:
                rows += int.from_bytes(part.segments[-1].span.state[16:], "little")
            elif part.base is not None:
                rows += part.base.start.rows()
            written += part.raw
            content += sum(one.span.content for one in part.segments) + (part.base.rows if part.base is not None else 0)
        mean = now.bytes / now.rows if now.rows else written / max(content, 1)
        return TableStats(rows, round(rows * mean))

    async def _ends(self, table: TableMeta, at_us: int) -> tuple[PinEnd, ...] | None:
        """Where the logs end that hold the moment, once the archive proves it. None: it does not within ENDS_WAIT_S, or not at all, which `state` will say."""
        give_up = self._env.clock.boot_us() + int(ENDS_WAIT_S * 1e6)
        while True:
            self._hurry()
            try:
                seen = await self._archive.look(table)
            except Unavailable:
                return None  # whether a pin can be put is not decided here
            try:
                plan = self._plan(table, seen, at_us)
            except (Missing, Corrupt):
                return None
            except Unavailable:
                if self._env.clock.boot_us() >= give_up:
                    return None
                await self._env.tasks.sleep(TRY_AGAIN_S)
            else:
                return tuple(sorted(map(_end_of, plan.partitions)))

    def _plan(self, source: TableMeta, seen: TableArchive, at_us: int) -> Plan:
        """Raises Unavailable (the archive has not come so far), Missing, Corrupt."""
        asked = seen.of(as_of(source, at_us).partitions)
        ends = ends_reached(source, asked)
        histories = [with_closed(history, ends) for history in asked]
        return plan_table(histories, at_us=at_us, cut=last_stamp_at(at_us), rates=rates_of(self._port), workers=self._options.lanes)

    async def _put(self, pin: BackupPin) -> None:
        where, data = build(pin.key()), encode_pin(pin)
        with suppress(Exists):  # of a try of ours that was not answered
            await self._store.put(where, data)
        if await self._store.get(where) != data:
            raise Corrupt("the pin does not hold what was put there", what="pin", where=where, next="delete the object, then try again")

    async def delete(self, pin: BackupPin) -> None:
        """Raises Unsafe (the store keeps it: a lock), Fenced, Unavailable. A restore from it that has begun goes on."""
        _ = self._writer.attached
        await self._writer.assure(self._store)
        await self.give_up(pin.id)
        await self._store.delete(build(pin.key()))
        self._held.pop(pin.id, None)
        await self.give_up(pin.id)  # who listed it meanwhile may have noted it anew

    async def give_up(self, id_: str) -> None:
        """Miss its pin no more, and hold nothing for it if that is lost. Raises Unavailable."""
        if NOTES + id_ in self._port.jobs(NOTES):
            await self._port.save_job(NOTES + id_, None)
        self._given_up(self._key(id_))

    # ------------------------------------------------------------------ looking

    async def all(self) -> BackupsFound:
        """By a new listing. Raises Unavailable."""
        before = self._noted()
        found = await self._reader.all()
        there = {self._key(pin.id) for pin in found.pins} | {fault.object for fault in found.unread}
        still = self._noted()  # a backup that was deleted meanwhile has no note any more
        lost = tuple(one for id_, one in sorted(before.items()) if id_ in still and self._key(id_) not in there)
        for pin in [one for one in found.pins if one.id not in still][:ADOPTED_MAX]:
            with suppress(Unavailable, Conflict):
                await self._note(pin)
                if await self._store.head(self._key(pin.id)) is None:  # deleted meanwhile
                    await self.give_up(pin.id)
        return BackupsFound(found.pins, found.unread, lost)

    async def one(self, id_: str) -> BackupPin | None:
        """None: there is no such backup. Raises Corrupt, Unavailable."""
        return await self._reader.one(id_) if PIN_ID.fullmatch(id_) else None

    async def find(self, text: str) -> BackupPin:
        """By id, by ARN, or by name if one backup alone has it. Raises Unavailable (ResourceNotFound, or the store), Invalid (several have it), Corrupt (its pin,
        or of a name that none has, a pin that cannot be read: it may be that one), Missing (its pin is lost; field `backup`: its id)."""
        id_ = text.rpartition("/backup/")[2]
        by_id = await self.one(id_)
        found = await self.all() if by_id is None else BackupsFound((by_id,), (), ())
        named = [one for one in found.pins if by_id is not None or one.name == text]
        if not named and found.unread and not PIN_ID.fullmatch(id_):
            bad = found.unread[0]
            raise Corrupt(
                "none of the backups that can be read has that name, and one cannot be read",
                what="pin", where=bad.object, detail=bad.detail, asked=text, next="scrubjay backup list",
            )  # fmt: skip
        missed = [one for one in found.lost if id_ == one.id or one.name == text] if not named else []
        if len(missed) == 1:
            raise Missing(
                "the pin of that backup is gone from the archive", what="pin", where=self._key(missed[0].id), backup=missed[0].id, asked=text,
                next="put the object back from another copy of the archive, or give the backup up: scrubjay backup delete",
            )  # fmt: skip
        if not named and not missed:
            raise Unavailable("no such backup", error_code="ResourceNotFound", asked=text, next="scrubjay backup list")
        if len(named) != 1:
            those = ", ".join(
                [*(f"{one.id} (of {one.table.name})" for one in named), *(f"{one.id} (of {one.table}, lost)" for one in missed)]
            )
            raise Invalid("several backups have that name", asked=text, found=those, next="say which by its id")
        return named[0]

    async def state(self, pin: BackupPin) -> BackupState:
        """By a new look at the archive. Raises Unavailable (the store)."""
        return (await self.states([pin]))[pin.id]

    async def states(self, pins: Sequence[BackupPin]) -> dict[str, BackupState]:
        """Of several, by id: one look at the archive for each of their tables. Raises Unavailable (the store)."""
        found: dict[str, BackupState] = {}
        for table_id in dict.fromkeys(pin.table.table_id for pin in pins):
            of_table = [pin for pin in pins if pin.table.table_id == table_id]
            source = self._source(of_table[0])
            if source is None:
                found |= {pin.id: BackupState(DAMAGED, "the table is not in the catalogue") for pin in of_table}
            else:
                seen = await self._archive.look(source)
                found |= {pin.id: self._state(pin, source, seen) for pin in of_table}
        return found

    def _state(self, pin: BackupPin, source: TableMeta, seen: TableArchive) -> BackupState:
        try:
            self._plan(source, seen, pin.at_us)
        except Unavailable as error:
            return BackupState(CREATING, str(error))
        except (Missing, Corrupt) as error:
            return BackupState(UNREAD if error.kind == NO_KEY else DAMAGED, str(error))
        other = _other_history(pin, seen)
        return BackupState(AVAILABLE) if other is None else BackupState(DAMAGED, str(other))

    async def settled(self, pin: BackupPin) -> BackupState:
        """Its state once the archive proves it, or after `archive_wait_s`. The pin stands whatever comes of it."""
        give_up = self._env.clock.boot_us() + int(self._options.archive_wait_s * 1e6)
        while True:
            self._hurry()
            try:
                state = await self.state(pin)
            except Unavailable as error:
                state = BackupState(CREATING, str(error))
            if state.word != CREATING or self._env.clock.boot_us() >= give_up:
                return state
            await self._env.tasks.sleep(TRY_AGAIN_S)

    def _source(self, pin: BackupPin) -> TableMeta | None:
        return next((table for table in self._port.tables() if table.table_id == pin.table.table_id), None)

    # ------------------------------------------------------------------ restoring

    async def restore(self, pin: BackupPin, to: str, overrides: dict[str, object] | None = None) -> Report:
        """Start, or attach to the unfinished restore of the same moment to that name. The new table has the settings of the backup. Raises Conflict, Unsafe, Missing,
        Unavailable, Corrupt (the archive holds another history than was backed up)."""
        source = self._source(pin)
        if source is None:
            raise Missing("the table of that backup is not in the catalogue", what="table", asked=pin.table.table_id)
        other = _other_history(pin, await self._archive.look(source))
        if other is not None:
            raise other
        settings: dict[str, Any] = {name: getattr(pin.table, name) for name in ("billing", "throughput", "on_demand", "table_class")}
        settings["restore_of"] = RestoreOrigin(source.table_id, source.name, pin.at_us, True, pin.id)
        return await self._restorer.start(source, to, RestoreTarget(at_us=pin.at_us), overrides={**settings, **(overrides or {})})


def _end_of(part: PartitionPlan) -> PinEnd:
    """The seal, or the base, that the rebuild of the moment ends with. Pure."""
    if part.segments:
        return PinEnd(part.partition, part.segments[-1].last, part.segments[-1].chain.hex())
    if part.base is not None:
        return PinEnd(part.partition, part.base.lsn, part.base.start.chain.hex())
    return PinEnd(part.partition, Lsn(0), CHAIN_START.hex())


def _other_history(pin: BackupPin, seen: TableArchive) -> Corrupt | None:
    """The first partition whose log is not the one that was backed up: at that LSN the archive has another chain value, or none. A hole is not said here: it has no plan. Pure."""
    for end in pin.ends or ():
        if end.lsn == 0 and end.chain == CHAIN_START.hex():
            continue  # there was nothing yet
        history = next((one for one in seen.histories if one.partition == end.partition), None)
        found = {}
        if history is not None:
            found = {base.lsn: base.start.chain for base in history.bases} | {segment.last: segment.chain for segment in history.segments}
        chain = found.get(end.lsn)
        if chain is None or chain.hex() != end.chain:
            return Corrupt(
                "the archive holds another history than the one that was backed up",
                what="chain", partition=end.partition, lsn=end.lsn, expected=end.chain, found=None if chain is None else chain.hex(),
            )  # fmt: skip
    return None


def _features(table: TableMeta | None) -> dict[str, str]:
    """What a pin says beside the table's definition. None: nobody knows what it was at that moment, or a release before would have to read it. Pure."""
    if table is None:
        return {}
    return {"stream": "" if table.stream is None else table.stream.view, "ttl": table.ttl_attribute or ""}


def _as_pinned(table: TableMeta) -> TableMeta:
    """What a pin keeps of a table. Pure."""
    kept = {
        name: getattr(table, name)
        for name in (
            "table_id", "name", "key", "attributes", "created_at", "billing", "throughput", "on_demand", "table_class", "local_indexes",
            "attributes_now",
        )
    }  # fmt: skip
    kept["global_indexes"] = definition_anew(table).global_indexes
    partitions = tuple(msgspec.structs.replace(info, members=(), logs=()) for info in table.partitions)
    return TableMeta(status="ACTIVE", partitions=partitions, **kept)
