"""Backups by name as a server shows them: to the DynamoDB API (`storage.backend.TableBackups`), and to the admin API as reports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from scrubjay.archiver.expire.plan import UNPROVEN
from scrubjay.archiver.facts import Window
from scrubjay.archiver.format.pin import BackupPin
from scrubjay.base.env import Env
from scrubjay.base.errors import NO_KEY, Conflict, Missing, Unavailable
from scrubjay.base.times import utc_text, utc_text_or_none
from scrubjay.base.together import within
from scrubjay.pitr.backups import AVAILABLE, CREATING, DAMAGED, UNREAD, BackupService, BackupState, LostBackup
from scrubjay.pitr.target import RestoreTarget
from scrubjay.server.ports import ProgressSink, Report
from scrubjay.storage.backend import BackupInfo, TableBackups
from scrubjay.storage.catalogue import TableMeta, TableStats

CREATE_PATIENCE_S = 20.0
"""A client that waits longer sends the call again."""
FOLLOWED_MAX = 32
"""Backups that are seen on their way into the archive at a time. Those beyond it come at the archive's own pace."""
LOST = "lost"
EXITS = {AVAILABLE: 0, CREATING: 3, DAMAGED: 2, UNREAD: 3}


class NamedBackups:
    """stats: of a table's leaders. tables: every table, dropped ones included. proven: a table's window as it is known now, without looking."""

    def __init__(
        self,
        env: Env,
        service: BackupService,
        *,
        stats: Callable[[TableMeta], TableStats],
        tables: Callable[[], Sequence[TableMeta]],
        proven: Callable[[TableMeta], Window],
    ) -> None:
        self._env, self._service = env, service
        self._stats, self._tables, self._proven = stats, tables, proven
        self._followed = 0

    # ------------------------------------------------------------------ the DynamoDB API

    async def create(self, table: TableMeta, name: str) -> BackupInfo:
        made = self._service.create(table, name, asked=None, stats=self._stats(table))
        pin = await within(self._env.tasks, made, seconds=CREATE_PATIENCE_S, what="the archive does not answer in time")
        if self._followed < FOLLOWED_MAX:
            self._followed += 1
            self._env.tasks.spawn(self._follow(pin), name=f"backup {name}")
        return _info(pin, "CREATING")

    async def _follow(self, pin: BackupPin) -> None:
        """Nobody waits for it: what comes of it is asked when somebody describes it."""
        try:
            await self._service.settled(pin)
        finally:
            self._followed -= 1

    async def list(self) -> Sequence[BackupInfo]:
        pins = (await self._service.all()).pins
        states = await self._states(pins)
        return [_info(pin, _word(states[pin.id])) for pin in pins]

    async def describe(self, id_: str) -> BackupInfo:
        pin = await self._one(id_)
        return _info(pin, _word((await self._states([pin]))[pin.id]))

    async def delete(self, id_: str) -> BackupInfo:
        pin = await self._one(id_)
        await self._service.delete(pin)
        return _info(pin, "DELETED")

    async def restore(self, id_: str, target: str, overrides: dict[str, object]) -> TableMeta:
        pin = await self._one(id_)
        if any(table.name == target and table.dropped_at is None for table in self._tables()):
            raise Conflict("table already exists", table=target)
        report = await self._service.restore(pin, target, overrides)
        return next(table for table in self._tables() if table.table_id == report["to_id"])

    async def _one(self, id_: str) -> BackupPin:
        pin = await self._service.one(id_)
        if pin is None:
            raise Missing("no such backup", what="backup", backup=id_)
        return pin

    async def _states(self, pins: Sequence[BackupPin]) -> dict[str, BackupState]:
        """By id: as the window is known, if it has come so far and no hole is in it; else by a look, one for each table. Raises Unavailable."""
        tables = {table.table_id: table for table in self._tables()}
        windows = {
            id_: self._proven(tables[id_]) if id_ in tables else UNPROVEN for id_ in dict.fromkeys(pin.table.table_id for pin in pins)
        }
        asked = [pin for pin in pins if not _within(windows[pin.table.table_id], pin.at_us)]
        return {**{pin.id: BackupState(AVAILABLE) for pin in pins}, **await self._service.states(asked)}

    # ------------------------------------------------------------------ the admin API (server.ports.BackupPort)

    async def make(self, table: TableMeta, name: str, asked: RestoreTarget | None, progress: ProgressSink) -> Report:
        progress({"phase": "seal"})
        pin = await self._service.create(table, name, asked=asked, stats=self._stats(table))
        progress({"phase": "archive"})
        return self._report(pin, await self._service.settled(pin))

    async def listed(self, table: TableMeta | None) -> Report:
        found = await self._service.all()
        wanted = [pin for pin in found.pins if table is None or pin.table.table_id == table.table_id]
        states = await self._states(wanted)
        shown = [self._shown(pin, states[pin.id]) for pin in wanted]
        unread = [{"object": one.object, "kind": one.kind, "detail": one.detail} for one in found.unread]
        lost = [_lost(one) for one in found.lost if table is None or one.table_id == table.table_id]
        bad = lost or any(one.kind != NO_KEY for one in found.unread)
        return {"exit": 2 if bad else 3 if unread else 0, "error": None, "backups": shown, "unread": unread, "lost": lost}

    async def show(self, name: str) -> Report:
        pin = await self._service.find(name)
        return self._report(pin, await self._service.state(pin))

    async def remove(self, name: str, *, confirm: bool) -> Report:
        try:
            pin = await self._service.find(name)
        except Missing as gone:
            return await self._give_up(str(gone.fields["backup"]), confirm=confirm)
        if confirm:
            await self._service.delete(pin)
        return {**self._shown(pin, BackupState("deleted" if confirm else "kept")), "exit": 0, "error": None, "deleted": confirm}

    async def _give_up(self, id_: str, *, confirm: bool) -> Report:
        """One whose pin is lost already. Raises Unavailable."""
        lost = next((one for one in (await self._service.all()).lost if one.id == id_), None)
        if lost is None:
            raise Unavailable("the pin of that backup was gone, and is there again", asked=id_, next="scrubjay backup list")
        if confirm:
            await self._service.give_up(id_)
        return {**_lost(lost), "exit": 0, "error": None, "state": "deleted" if confirm else LOST, "deleted": confirm}

    async def bring_back(self, name: str, to: str) -> Report:
        pin = await self._service.find(name)
        return {**await self._service.restore(pin, to), "backup": pin.name, "backup_id": pin.id}

    def _report(self, pin: BackupPin, state: BackupState) -> Report:
        return {**self._shown(pin, state), "exit": EXITS[state.word], "error": None}

    def _shown(self, pin: BackupPin, state: BackupState) -> dict[str, Any]:
        source = next((table for table in self._tables() if table.table_id == pin.table.table_id), None)
        return {
            "backup": pin.name,
            "backup_id": pin.id,
            "table": pin.table.name,
            "table_id": pin.table.table_id,
            "table_dropped_at": utc_text_or_none(source.dropped_at) if source is not None else None,
            "at": utc_text(pin.at_us),
            "created": utc_text(pin.created_us),
            "state": state.word,
            "detail": state.detail,
            "rows": pin.rows,
            "bytes": pin.bytes,
            "ends": None if pin.ends is None else [end._asdict() for end in pin.ends],
        }


def _info(pin: BackupPin, status: str) -> BackupInfo:
    return BackupInfo(
        id=pin.id,
        name=pin.name,
        status=status,
        created_us=pin.created_us,
        table=pin.table,
        rows=pin.rows,
        bytes=pin.bytes,
        stream_view=pin.stream,
        ttl_attribute=pin.ttl,
    )


def _word(state: BackupState) -> str:
    """The API has no word for a damaged one: it cannot be restored, as one that is not there yet."""
    return "AVAILABLE" if state.word == AVAILABLE else "CREATING"


def _within(window: Window, at_us: int) -> bool:
    low, high = window.earliest_us, window.latest_us
    return low is not None and high is not None and low <= at_us <= high and not window.holes


def _lost(one: LostBackup) -> dict[str, Any]:
    """With the fields of one that is there: what only its pin said is not known."""
    known = {"backup": one.name, "backup_id": one.id, "table": one.table, "table_id": one.table_id, "at": utc_text(one.at_us)}
    unknown = dict.fromkeys(("table_dropped_at", "created", "rows", "bytes", "ends"))
    return {**known, **unknown, "state": LOST, "detail": "its pin is gone from the archive; its moment is held until the backup is deleted"}


def _check_port(backups: NamedBackups) -> TableBackups:
    """For the type checker: NamedBackups are TableBackups."""
    return backups
