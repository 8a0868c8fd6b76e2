"""Ends transactions that stay pending in a partition: their coordinator died, or lost its way to it. What the ledger says is done; what is not decided there is decided never to be.

Beside every node's process, for the leaders that it knows. Doing it twice, or beside a coordinator that lives, does no harm: whoever is later finds it done.

Each is ended by itself, and its parts at once: one whose other partition cannot be reached, or whose row of the ledger cannot be read, holds no other up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from scrubjay.base.env import Env
from scrubjay.base.errors import ScrubjayError, Unavailable
from scrubjay.base.ids import NodeName, TableId
from scrubjay.base.kept_loops import KeptLoop
from scrubjay.storage.control.metadata import Metadata
from scrubjay.storage.control.transactions.coordinator import Coordinator
from scrubjay.storage.control.transactions.decisions import BEGUN, Entry, LockedKey
from scrubjay.storage.node.port import NodePort

EVERY_S = 0.25
"""Between two looks."""
ENDING_MAX = 64
"""Ended at once; each takes as long as a request may where something cannot be reached."""
AGAIN_US = 1_000_000
"""Before one that could not be ended is tried again; twice as long after each further time, up to `AGAIN_MAX_US`."""
AGAIN_MAX_US = 30_000_000


class _Stalled(NamedTuple):
    """A transaction that stays pending. id: of its attempt. key: one of those that it locks."""

    partition: str
    table: TableId
    id: bytes
    token: str
    key: bytes


class _Met:
    """What is known of one. since_us, after_us: boot time when it was met first, and before which it is not tried again. why: it could not be ended the last time, "": it was not tried."""

    __slots__ = ("after_us", "since_us", "tries", "under_way", "why")

    def __init__(self, since_us: int) -> None:
        self.since_us, self.after_us, self.tries, self.why = since_us, 0, 0, ""
        self.under_way = False


class PendingResolver:
    """nodes: whose leaders are looked at. failing: why those that were met last could not be ended, by partition; told once each."""

    def __init__(
        self, env: Env, metadata: Metadata, coordinator: Coordinator, nodes: Mapping[NodeName, NodePort], *, log: Callable[[str], None]
    ) -> None:
        self._env, self._metadata, self._coordinator, self._nodes, self._log = env, metadata, coordinator, nodes, log
        self._loop = KeptLoop(self._env.tasks, self._follow, name="pending transactions")
        self._met: dict[tuple[str, bytes], _Met] = {}
        self.failing: dict[str, str] = {}

    def start(self) -> None:
        self._loop.start()

    def stop(self) -> None:
        self._loop.stop()

    @property
    def stalled(self) -> int:
        """Transactions that stay pending, as far as they were met."""
        return len(self._met)

    @property
    def oldest_us(self) -> int:
        """How long ago the one was met that was met first; 0: there is none."""
        now_us = self._env.clock.boot_us()
        return max((now_us - met.since_us for met in self._met.values()), default=0)

    async def _follow(self) -> None:
        while True:
            await self._env.tasks.sleep(EVERY_S)
            self.look()

    def look(self) -> None:
        """Once over all leaders: begin to end what is not being ended already. Waits for none of it."""
        now_us = self._env.clock.boot_us()
        found = [
            _Stalled(one.partition, one.table, one.id, one.token.decode(), one.key)
            for _, node in sorted(self._nodes.items())
            for one in node.stalled()
        ]
        self._forget({(one.partition, one.id) for one in found})
        tried: list[tuple[int, _Stalled, _Met]] = []
        for one in found:
            met = self._met.setdefault((one.partition, one.id), _Met(now_us))
            if not met.under_way and met.after_us <= now_us:
                tried.append((met.tries, one, met))
        room = ENDING_MAX - sum(met.under_way for met in self._met.values())
        for _, one, met in sorted(tried, key=lambda it: it[0])[: max(0, room)]:  # those that failed before take nobody's place
            met.under_way = True
            self._env.tasks.spawn(self._try(one, met), name="end a transaction")

    def _forget(self, found: set[tuple[str, bytes]]) -> None:
        """What is not pending any more, or another node's to look after."""
        for place, met in list(self._met.items()):
            if place not in found and not met.under_way:
                del self._met[place]
        why = dict.fromkeys(self.failing, "")
        for (partition, _), met in self._met.items():
            why[partition] = why.get(partition) or met.why
        for partition, reason in why.items():
            self._told(partition, reason)

    def _told(self, partition: str, why: str) -> None:
        if why != self.failing.get(partition, ""):
            self._log(f"partition {partition}: {f'a transaction stays pending: {why}' if why else 'no transaction stays pending any more'}")
        if why:
            self.failing[partition] = why
        else:
            self.failing.pop(partition, None)

    async def _try(self, one: _Stalled, met: _Met) -> None:
        try:
            await self._end(one)
        except ScrubjayError as error:
            met.why = str(error)
            met.after_us = self._env.clock.boot_us() + min(AGAIN_US << min(met.tries, 10), AGAIN_MAX_US)
            met.tries += 1
        else:
            met.why = ""
        finally:
            met.under_way = False

    async def _end(self, one: _Stalled) -> None:
        """Raises Unavailable, Corrupt (a row of the ledger)."""
        ledger = self._coordinator.ledger
        entry = await ledger.read(one.token)
        mine = entry is not None and entry.attempt == one.id
        if mine and entry is not None and entry.state == BEGUN:
            stands = await ledger.swap(entry.token, entry, None)
            mine = stands is not None and stands.attempt == one.id
            if mine and stands is not None and stands.state == BEGUN:
                raise Unavailable("a row of the ledger is not as it was read", token=one.token)
            entry = stands  # None, another attempt's, or it was decided just now
        if mine and entry is not None:
            await self._coordinator.complete(entry)  # here too, at the same time as everywhere else
        else:
            await self._coordinator.finish(LockedKey(one.table, one.key), Entry(one.token, one.id, b"", BEGUN, 0))
        self._coordinator.counts["resolved"] += 1
