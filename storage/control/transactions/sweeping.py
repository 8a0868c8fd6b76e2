"""Finds rows of the ledger that say `commit` and were never noted as done: whoever coordinated them died between the last COMMIT and the note, so nothing is pending and nobody asks for them.

Beside every node's process, for the partitions of the ledger that it leads: all their rows, page by page at a bounded pace, again and again. What is older than a token is remembered is told to every partition once
more, which does nothing where it is done already, and noted. So a second walk, or one beside a coordinator that lives, does no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from scrubjay.base.env import Env
from scrubjay.base.errors import Corrupt, ScrubjayError
from scrubjay.base.ids import NodeName, PartitionId
from scrubjay.base.kept_loops import KeptLoop
from scrubjay.base.together import settle
from scrubjay.storage.commands.values import RangeAnswer, RangeRead
from scrubjay.storage.control.router import Router
from scrubjay.storage.control.transactions.coordinator import Coordinator
from scrubjay.storage.control.transactions.decisions import COMMIT, KEPT_US, decode_entry
from scrubjay.storage.node.port import NodePort

PAGE_ROWS = 200
PAGE_BYTES = 1 << 20
PAUSE_S = 0.5
"""After each page."""
REST_S = 60.0
"""Between two walks."""


class LedgerSweep:
    """nodes: whose leaders are looked at. noted: rows that were noted as done, since the start."""

    def __init__(
        self, env: Env, router: Router, coordinator: Coordinator, nodes: Mapping[NodeName, NodePort], *, log: Callable[[str], None]
    ) -> None:
        self._env, self._router, self._coordinator, self._nodes, self._log = env, router, coordinator, nodes, log
        self._loop = KeptLoop(self._env.tasks, self._follow, name="ledger of transactions")
        self._bad: set[bytes] = set()
        self.noted = 0

    def start(self) -> None:
        self._loop.start()

    def stop(self) -> None:
        self._loop.stop()

    async def _follow(self) -> None:
        while True:
            await self._env.tasks.sleep(REST_S)
            await self.walk()

    async def walk(self) -> None:
        """Once over all partitions of the ledger that are led here. What cannot be read, or told, waits for the next walk."""
        table = self._coordinator.ledger.known()
        if table is None:
            return
        led = [
            facts.partition
            for _, node in sorted(self._nodes.items())
            for facts in node.all_facts()
            if facts.leads and facts.table == table.table_id
        ]
        for partition in dict.fromkeys(led):
            try:
                await self._walk(partition)
            except ScrubjayError as error:
                self._log(f"partition {partition}: the ledger of transactions was not looked through: {error}")

    async def _walk(self, partition: PartitionId) -> None:
        start = b""
        while True:
            future = self._env.tasks.future()
            asked = RangeRead(start, None, limit=PAGE_ROWS, max_bytes=PAGE_BYTES, reverse=False, consistent=True)
            self._router.read_range(partition, asked, partial(settle, future))
            page: RangeAnswer = await future
            for key, item in page.rows:
                await self._look(key, item)
            if not page.more or not page.rows:
                return
            start = page.rows[-1][0] + b"\x00"
            await self._env.tasks.sleep(PAUSE_S)

    async def _look(self, key: bytes, item: bytes) -> None:
        try:
            entry = decode_entry(item)
        except Corrupt as error:
            if key not in self._bad:
                self._bad.add(key)
                self._log(f"a row of the ledger of transactions is none: {error}")
            return
        if entry.state != COMMIT or entry.done_us or self._env.clock.wall_us() - entry.at_us < KEPT_US:
            return
        try:
            await self._coordinator.complete(entry)
        except ScrubjayError:
            return  # a partition cannot be asked just now
        self.noted += 1
