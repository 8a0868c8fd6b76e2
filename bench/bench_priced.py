"""Requests to the object store by kind, per day, and what they cost: of a cluster whose tables rest, of what a table adds that is written to, and of packing a day of one that trickles.

    .venv/bin/python -m bench.bench_priced [--seconds 600] [--every 2.5]

In the simulator, so no machine's speed is in it: the cluster that `serve --dev` assembles (three nodes, agents, windows, healer, health), watched for so many virtual seconds and
scaled to a day of 86,400 and a month of 30 days. Prices: $0.005 for 1,000 PUT or LIST, $0.0004 for 1,000 GET or HEAD; a DELETE is free. Packing is measured with two numbers of segments, and told for the 144
that a trickle seals in a day. Not in it: the other jobs of the night, and bytes. Prints a line for each case.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import partial

from scrubjay.base.env import Env
from scrubjay.base.together import settle
from scrubjay.sim.store import StoreRequests
from scrubjay.sim.whole.commands import put
from scrubjay.sim.whole.idle import SECOND, IdleRun
from scrubjay.storage.options import StorageOptions

PUT_LIST, GET_HEAD = 0.005 / 1000, 0.0004 / 1000
DAY_S, MONTH_DAYS = 86_400, 30
TRICKLE = 144
"""Segments that a table seals in a day that is written to now and then: one in ten minutes."""


class PricedRun(IdleRun):
    """written: tables that get a write every `every_s`; the others rest. spent: the requests of the time that was watched."""

    def __init__(self, *, tables: int, written: int, every_s: float, seconds: int) -> None:
        super().__init__(idle=tables, empty=0, seconds=seconds)
        self._written, self._every_s = written, every_s
        self.spent = StoreRequests()

    async def _watch(self, env: Env) -> None:
        before = replace(self.cluster.archive.requests)
        store, end_us, number = self.cluster.store, self.world.now + self._seconds * SECOND, 0
        while self.world.now < end_us:
            await env.tasks.sleep(min(self._every_s, (end_us - self.world.now) / SECOND))
            number += 1
            for table in (store.table(f"t{one:05d}") for one in range(self._written)):
                assert table is not None
                answer = env.tasks.future()
                store.write(table, put(number % 50, number, blind=True), partial(settle, answer))
                await answer
        after = self.cluster.archive.requests
        self.spent = StoreRequests(after.put - before.put, after.get - before.get, after.head - before.head, after.list - before.list)


class PackedRun(IdleRun):
    """One partition with `segments` small segments of a day that is over, packed. spent: the requests of that."""

    def __init__(self, segments: int) -> None:
        super().__init__(idle=1, empty=0, seconds=0)
        self._segments = segments
        self.cluster.storage = StorageOptions(seal_age_us=SECOND, seal_age_max_us=SECOND)
        self.spent = StoreRequests()
        self.packed = self.deleted = 0

    async def _watch(self, env: Env) -> None:
        store, durability = self.cluster.store, self.cluster.durability
        table = store.table("t00000")
        assert table is not None
        for number in range(self._segments):
            answer = env.tasks.future()
            store.write(table, put(number % 50, number, blind=True), partial(settle, answer))
            await answer
            await env.tasks.sleep(3.0)
        while store.unarchived_bytes():
            await env.tasks.sleep(1.0)
        await durability.schedule.pause(None, paused=True)
        for host in self.world.hosts.values():
            host.clock.jump(2 * DAY_S * SECOND)
        await env.tasks.sleep(60.0)
        before = replace(self.cluster.archive.requests)
        report = await durability.compact.compact(tables=[table.table_id], confirm=True, progress=lambda _facts: None)
        after = self.cluster.archive.requests
        assert report["exit"] == 0, report
        assert report["totals"]["made"] == 1, report
        self.packed, self.deleted = report["totals"]["packed"], report["totals"]["deleted"]
        self.spent = StoreRequests(after.put - before.put, after.get - before.get, after.head - before.head, after.list - before.list)


def packing() -> tuple[StoreRequests, int]:
    """Requests that pack a day of a trickle, of one partition; objects that go."""
    few, many = PackedRun(12), PackedRun(36)
    few.run()
    many.run()
    more = many.packed - few.packed

    def day(kind: str) -> int:
        a, b = getattr(few.spent, kind), getattr(many.spent, kind)
        return round(b + (b - a) / more * (TRICKLE - many.packed))

    return StoreRequests(day("put"), day("get"), day("head"), day("list")), many.deleted * TRICKLE // many.packed


def month(spent: StoreRequests, seconds: int) -> float:
    """Dollars."""
    priced = (spent.put + spent.list) * PUT_LIST + (spent.get + spent.head) * GET_HEAD
    return priced * DAY_S / seconds * MONTH_DAYS


def line(what: str, spent: StoreRequests, seconds: int, tables: int = 1) -> str:
    kinds = "  ".join(f"{getattr(spent, kind) * DAY_S / seconds / tables:8,.0f} {kind.upper()}" for kind in ("put", "list", "get", "head"))
    return f"{what:<44} {kinds}   ${month(spent, seconds) / tables:6.2f} a month"


def less(spent: StoreRequests, rest: StoreRequests) -> StoreRequests:
    return StoreRequests(spent.put - rest.put, spent.get - rest.get, spent.head - rest.head, spent.list - rest.list)


def main() -> None:
    parser = argparse.ArgumentParser(description="Requests to the object store, priced.")
    parser.add_argument("--seconds", type=int, default=600, help="virtual, of each case (default 600)")
    parser.add_argument("--every", type=float, default=2.5, help="seconds between two writes to a written table (default 2.5)")
    asked = parser.parse_args()
    ran: dict[tuple[int, int], StoreRequests] = {}
    for tables, written in ((24, 0), (60, 0), (24, 4)):
        run = PricedRun(tables=tables, written=written, every_s=asked.every, seconds=asked.seconds)
        run.run()
        ran[tables, written] = run.spent
    print("requests a day")
    print(line("a cluster of 3 nodes, 24 tables at rest", ran[24, 0], asked.seconds))
    print(line("an idle table more (of 36)", less(ran[60, 0], ran[24, 0]), asked.seconds, 36))
    print(line(f"a table written to every {asked.every:g} s adds", less(ran[24, 4], ran[24, 0]), asked.seconds, 4))
    spent, gone = packing()
    print(line(f"packing {TRICKLE} segments, a partition", spent, DAY_S) + f"; {gone} objects go for {spent.put}")


if __name__ == "__main__":
    main()
