"""Tables that come and go under faults: made, written to, dropped, made again under the same name. Each life of a name has a ledger of its own."""

from __future__ import annotations

from typing import Any

from scrubjay.base.errors import ScrubjayError
from scrubjay.sim.checkers.registers import RegisterLedger
from scrubjay.sim.rand import Stream
from scrubjay.sim.whole.clients import Clients, had_no_effect
from scrubjay.sim.whole.cluster import WholeCluster
from scrubjay.sim.whole.commands import SCHEMA, put
from scrubjay.storage.backend import TableSpec
from scrubjay.storage.catalogue import TableMeta, Throughput
from scrubjay.storage.commands.values import WriteAnswer

NAMES = ("extra-1", "extra-2")
ASK_S = 15.0
KEYS = 4


def spec_of(name: str, *, stream_view: str = "") -> TableSpec:
    return TableSpec(
        name=name, key=SCHEMA, attributes=(("k", "S"),), billing="PAY_PER_REQUEST", throughput=Throughput(), stream_view=stream_view
    )


class Churn:
    """made, dropped: how often. standing: name -> (table id, ledger) of tables that must be there; gone: names that must not be. Neither: nobody knows."""

    def __init__(self, cluster: WholeCluster, clients: Clients, draw: Stream) -> None:
        self._cluster, self._clients, self._draw = cluster, clients, draw
        self.made = self.dropped = 0
        self.standing: dict[str, tuple[str, RegisterLedger]] = {}
        self.gone: dict[str, None] = {}
        self._unclear: dict[str, None] = {}

    async def run(self) -> None:
        draw, tasks = self._draw, self._cluster.env.tasks
        while not self._clients.done:
            await tasks.sleep(draw.between(500, 2_500) / 1000)
            name = draw.choice(NAMES)
            if name in self._unclear or not self._cluster.ready:
                continue
            if name not in self.standing:
                await self._make(name)
            elif draw.chance(0.5):
                await self._drop(name)
            else:
                await self._write(name)

    async def _make(self, name: str) -> None:
        try:
            table: TableMeta = await self._cluster.ask(self._cluster.store.create_table(spec_of(name)), seconds=ASK_S)
        except ScrubjayError as error:
            self._unsure(name, error)
            return
        self.made += 1
        self.gone.pop(name, None)
        self.standing[name] = (table.table_id, RegisterLedger())

    async def _drop(self, name: str) -> None:
        table = self._known(name)
        if table is None or table.status != "ACTIVE":
            return
        try:
            await self._cluster.ask(self._cluster.store.delete_table(name), seconds=ASK_S)
        except ScrubjayError as error:
            self._unsure(name, error)
            return
        self.dropped += 1
        del self.standing[name]
        self.gone[name] = None

    def _unsure(self, name: str, error: ScrubjayError) -> None:
        """Whether it was done is not known (a refusal is known): the name is left alone from now on."""
        self._cluster.world.note(f"table {name}: {error}")
        if error.fields.get("unknown") or not had_no_effect(error):
            self._unclear[name] = None
            self.standing.pop(name, None)
            self.gone.pop(name, None)

    def _known(self, name: str) -> TableMeta | None:
        return self._cluster.store.table(name) if self._cluster.control.process is not None else None

    async def _write(self, name: str) -> None:
        table = self._known(name)
        id_, ledger = self.standing[name]
        if table is None or table.status != "ACTIVE" or table.table_id != id_:
            return
        key = self._draw.between(0, KEYS - 1)
        number, value = self._clients.next_()
        ledger.sent(key, number, value)
        future, settle = self._clients.call()
        self._cluster.store.write(table, put(key, value, blind=True), settle)
        answer: Any = await future
        if isinstance(answer, WriteAnswer):
            ledger.acknowledged(key, number, answer.lsn)
        elif had_no_effect(answer):
            ledger.failed(key, number)

    async def check(self) -> list[str]:
        """Findings, once the faults are over: what must be there is there and holds what it must, what was dropped is gone."""
        findings = []
        for name in self.gone:
            table = self._known(name)
            if table is not None and table.status != "DELETING":
                findings.append(f"table {name} was dropped and is there, {table.status}")
        for name, (id_, ledger) in self.standing.items():
            table = self._known(name)
            if table is None or table.table_id != id_:
                findings.append(f"table {name} was made and is not there")
                continue
            found = await self._clients.scan(table)
            findings += [found] if isinstance(found, str) else [f"table {name}: {one}" for one in ledger.check(found)]
        return findings
