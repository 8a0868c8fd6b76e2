"""What the clients of the profile "whole" do, and what is written down about it: the history, and the ledger of what each key may hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from scrubjay.base.env import Future
from scrubjay.base.errors import ScrubjayError
from scrubjay.base.ids import PartitionId
from scrubjay.sim.checkers.history import FOREVER, HistoryOperation, Kind
from scrubjay.sim.checkers.registers import RegisterLedger
from scrubjay.sim.whole.cluster import WholeCluster
from scrubjay.sim.whole.commands import cas, key_of, number_of, put, value_of
from scrubjay.sim.world import World
from scrubjay.storage.catalogue import TableMeta
from scrubjay.storage.commands.values import Decision, RangeAnswer, RangeRead, ReadAnswer, WriteAnswer

CLIENT_TIMEOUT_S = 12.0
KEYS = 12
STRANGERS = 2
"""Keys that nobody writes to; they are read all the same."""
LAST_CLIENT = 1_000
"""Who reads everything at the end."""
LIMIT = 10_000


@dataclass(frozen=True, slots=True)
class Said:
    """An acknowledged write: the partition, the store's timestamp of it, its LSN."""

    partition: PartitionId
    timestamp_us: int
    lsn: int


class Clients:
    """Clients of one table. They live on the machine that looks on: they outlive everything they talk to.

    More than 15 fields: one run's clients and all that their history is checked by.
    """

    def __init__(self, world: World, cluster: WholeCluster, table: str) -> None:
        self.world, self.cluster, self.table_name = world, cluster, table
        self.tasks = cluster.env.tasks
        self.history: list[HistoryOperation] = []
        self.ledger = RegisterLedger()
        self.said: list[Said] = []
        self.acknowledged = self.weak = 0
        self.resting = self.done = False
        self.while_updating = False
        """They go on while the table is UPDATING."""
        self.active = 0
        self._last: dict[int, int | None] = {}
        self._value = self._operations = 0
        self._open: dict[int, Callable[[Any], None]] = {}
        self._calls = 0

    def table(self) -> TableMeta | None:
        """As the present control part knows it; None while it does not."""
        if self.cluster.control.process is None:
            return None
        table = self.cluster.store.table(self.table_name)
        served = ("ACTIVE", "UPDATING") if self.while_updating else ("ACTIVE",)
        return table if table is not None and table.status in served else None

    async def run(self, number: int) -> None:
        draw = self.world.stream(f"client/{number}")
        while not self.done:
            table = self.table()
            if self.resting or table is None:
                await self.tasks.sleep(0.05)
                continue
            self.active += 1
            try:
                key = draw.between(0, KEYS - 1)
                kind = draw.random()
                if kind < 0.45:
                    await self._write(table, number, key, delete=draw.chance(0.15), blind=draw.chance(0.5))
                elif kind < 0.65:
                    await self._cas(table, number, key, draw.chance(0.7))
                elif kind < 0.85:
                    await self.read(table, number, key)
                else:
                    await self._weak(table, number, key)
            finally:
                self.active -= 1
            await self.tasks.sleep(draw.between(5, 120) / 1000)

    def hang_up(self) -> None:
        """Whom the clients talked to is gone: what is under way is never answered."""
        waiting, self._open = self._open, {}
        for settle in waiting.values():
            settle(None)

    def call(self) -> tuple[Future[Any], Callable[[Any], None]]:
        """(answer, how to give it). None: no answer came."""
        future = self.tasks.future()
        self._calls += 1
        id_ = self._calls

        def settle(answer: Any) -> None:
            if not future.done():
                self._open.pop(id_, None)
                future.set_result(answer)

        self._open[id_] = settle
        self.tasks.call_later(CLIENT_TIMEOUT_S, partial(settle, None))
        return future, settle

    def next_(self) -> tuple[int, int]:
        """(id of an operation, a value nobody has written)."""
        self._operations += 1
        self._value += 1
        return self._operations, self._value

    async def _write(self, table: TableMeta, client: int, key: int, *, delete: bool, blind: bool) -> None:
        id_, fresh = self.next_()
        value = None if delete else fresh
        start = self.world.now
        self.ledger.sent(key, id_, value)
        future, settle = self.call()
        self.cluster.store.write(table, put(key, value, blind=blind), settle)
        answer = await future
        operation = HistoryOperation(id_, client, key, Kind.WRITE, start, FOREVER, value=value)
        if isinstance(answer, WriteAnswer):
            self._noted(answer)
            self._last[key] = value
            self.acknowledged += 1
            if answer.outcome.decision is Decision.UNCHANGED:
                # a delete of an absent key proposes nothing: to the history it is a read of "absent"
                self.ledger.failed(key, id_)
                operation = HistoryOperation(id_, client, key, Kind.READ, start, self.world.now, value=None, lsn=answer.lsn)
            else:
                self.ledger.acknowledged(key, id_, answer.lsn)
                operation = HistoryOperation(id_, client, key, Kind.WRITE, start, self.world.now, value=value, lsn=answer.lsn)
        elif had_no_effect(answer):
            self.ledger.failed(key, id_)
            return
        self.history.append(operation)

    async def _cas(self, table: TableMeta, client: int, key: int, likely: bool) -> None:
        id_, fresh = self.next_()
        expected = self._last.get(key) if likely else fresh - 1
        start = self.world.now
        self.ledger.sent(key, id_, fresh, compare=True, expected=expected)
        future, settle = self.call()
        self.cluster.store.write(table, cas(key, expected, fresh), settle)
        answer = await future
        if isinstance(answer, WriteAnswer):
            value_of(answer.outcome.old)  # an evaluation that saw a wrong byte is noticed, whatever came of it
            ok = answer.outcome.decision is Decision.PUT
            self._noted(answer)
            if ok:
                self.ledger.acknowledged(key, id_, answer.lsn)
                self._last[key] = fresh
                self.acknowledged += 1
            else:
                self.ledger.failed(key, id_)
            self.history.append(
                HistoryOperation(id_, client, key, Kind.CAS, start, self.world.now, value=fresh, expected=expected, ok=ok, lsn=answer.lsn)
            )
        elif had_no_effect(answer):
            self.ledger.failed(key, id_)
        else:
            self.history.append(HistoryOperation(id_, client, key, Kind.CAS, start, FOREVER, value=fresh, expected=expected))

    async def read(self, table: TableMeta, client: int, key: int) -> Any:
        """A strong read. Returns the answer."""
        id_, _ = self.next_()
        start = self.world.now
        future, settle = self.call()
        self.cluster.store.read(table, key_of(key), consistent=True, done=settle)
        answer = await future
        if isinstance(answer, ReadAnswer):
            self.saw(client, id_, key, start, value_of(answer.item), answer.lsn)
        return answer

    async def _weak(self, table: TableMeta, client: int, key: int) -> None:
        """An eventually consistent read: it may be late, but it is what was there at the LSN that it names."""
        id_, _ = self.next_()
        start = self.world.now
        future, settle = self.call()
        self.cluster.store.read(table, key_of(key), consistent=False, done=settle)
        answer = await future
        if isinstance(answer, ReadAnswer):
            self.weak += 1
            value = value_of(answer.item)
            self.ledger.read(key, value, answer.lsn)
            self.history.append(HistoryOperation(id_, client, key, Kind.WEAK, start, self.world.now, value=value, lsn=answer.lsn))

    async def scan(self, table: TableMeta) -> dict[int, int | None] | str:
        """Every row of a table, by strong reads of its ranges; or why that could not be. Of the table under test they are operations of the history too."""
        found: dict[int, int | None] = {}
        for info in table.partitions:
            start = self.world.now
            future, settle = self.call()
            self.cluster.store.read_range(table, info, RangeRead(b"", None, LIMIT, 1 << 30, reverse=False, consistent=True), settle)
            answer = await future
            if not isinstance(answer, RangeAnswer):
                return f"partition {info.partition_id} cannot be scanned: {answer}"
            rows = {number_of(item): value_of(item) for _, item in answer.rows}
            found |= rows
            if table.name == self.table_name:
                for key in [one for one in sorted({*range(KEYS), *rows}) if one in rows or self.partition(table, one) == info.partition_id]:
                    self.saw(LAST_CLIENT, self.next_()[0], key, start, rows.get(key), answer.lsn)
        return found

    def saw(self, client: int, id_: int, key: int, start: int, value: int | None, lsn: int) -> None:
        self.ledger.read(key, value, lsn)
        self.history.append(HistoryOperation(id_, client, key, Kind.READ, start, self.world.now, value=value, lsn=lsn))

    def partition(self, table: TableMeta, key: int) -> PartitionId:
        return PartitionId(self.cluster.router.partition_of(table, key_of(key)).partition_id)

    def _noted(self, answer: WriteAnswer) -> None:
        if answer.timestamp_us is not None:
            self.said.append(Said(PartitionId(answer.partition), answer.timestamp_us, answer.lsn))


def had_no_effect(answer: Any) -> bool:
    """The answer says: certainly not done."""
    return isinstance(answer, ScrubjayError) and not answer.fields.get("unknown")
