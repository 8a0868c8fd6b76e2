"""What lies below `pins/`: backups, and what this version cannot read."""

from __future__ import annotations

from typing import NamedTuple

from scrubjay.archiver.format.fault import Fault, said_of
from scrubjay.archiver.format.layout import PinKey, build, parse, pins_prefix
from scrubjay.archiver.format.pin import BackupPin, decode_pin
from scrubjay.archiver.read.names import PARALLEL, list_all
from scrubjay.base.env import ObjectStore, Tasks
from scrubjay.base.errors import UNREADABLE, Corrupt, Missing, NoKey
from scrubjay.base.together import in_parallel


class PinsFound(NamedTuple):
    """pins: sorted by id, oldest first. unread: what is below `pins/` and is no pin that can be read: nobody knows what it keeps."""

    pins: tuple[BackupPin, ...]
    unread: tuple[Fault, ...]


class PinReader:
    """A pin is put once and never changed: one that was read is not read again for as long as it is listed."""

    def __init__(self, tasks: Tasks | None, store: ObjectStore, cluster: str) -> None:
        self._tasks, self._store, self._cluster = tasks, store, cluster
        self._known: dict[str, BackupPin] = {}

    async def all(self) -> PinsFound:
        """By a new listing. Raises Unavailable."""
        keys = list(await list_all(self._store, pins_prefix(self._cluster)))
        read = await in_parallel(self._tasks, self._read, keys, lanes=PARALLEL, name="read pins")
        self._known = {build(one.key()): one for one in read if isinstance(one, BackupPin)}
        pins = sorted(self._known.values(), key=lambda one: one.id)
        return PinsFound(tuple(pins), tuple(one for one in read if isinstance(one, Fault)))

    async def one(self, id_: str) -> BackupPin | None:
        """As it lies there now; None: there is no such pin. Raises Corrupt, Unavailable."""
        where = build(PinKey(self._cluster, id_))
        try:
            return decode_pin(await self._store.get(where), where=where)
        except Missing:
            return None

    async def _read(self, where: str) -> BackupPin | Fault | None:
        if where in self._known:
            return self._known[where]
        if not isinstance(parse(where), PinKey):
            return Fault(UNREADABLE, where, None, "no pin of this version")
        try:
            return decode_pin(await self._store.get(where), where=where)
        except (Corrupt, NoKey) as error:
            return Fault(error.kind, where, None, said_of(error))
        except Missing:
            # Deleted since it was listed; or listed still, and not to be had: then nobody knows what it keeps.
            again = await self._store.list(where, limit=1)
            listed = any(info.key == where for info in again.objects)
            return Fault(UNREADABLE, where, None, "it is listed, and the store does not have it") if listed else None
