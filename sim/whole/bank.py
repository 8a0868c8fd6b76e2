"""Money goes from account to account in transactions, over two tables of two partitions, while machines die: the sum holds in every read of all, and at every restored moment; the history is serializable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from scrubjay.archiver.format.base import decode_base
from scrubjay.archiver.read.index import ArchiveIndex
from scrubjay.archiver.read.rebuild import rebuild, segment_keys
from scrubjay.archiver.read.replay import Cut
from scrubjay.archiver.write.attach import attach
from scrubjay.base.errors import Conflict, ScrubjayError
from scrubjay.base.hlc import last_stamp_at, stamp_micros, stamp_of
from scrubjay.pitr.plan import plan_partition
from scrubjay.pitr.source import history_of
from scrubjay.sim.checkers.transactions import Account, Transaction, check_serializable
from scrubjay.sim.rand import Stream
from scrubjay.sim.whole.cluster import CLUSTER, WholeCluster
from scrubjay.sim.whole.commands import SCHEMA
from scrubjay.sim.whole.door import Rough
from scrubjay.sim.whole.run import AGENT, CONSENSUS, STORAGE
from scrubjay.sim.world import World
from scrubjay.storage.backend import TableSpec, TransactPart
from scrubjay.storage.btree.rowfile import read_rowfile
from scrubjay.storage.catalogue import TableMeta, Throughput
from scrubjay.storage.commands.values import Decision, PutCommand, WriteAnswer
from scrubjay.storage.items.encoding import decode_item, encode_item
from scrubjay.storage.items.expressions.condition import Condition
from scrubjay.storage.items.expressions.tree import And, Compare, FunctionNode, Not, PathNode, ValueNode
from scrubjay.storage.items.keys import storage_key

SECOND = 1_000_000
TABLES = ("left", "right")
ACCOUNTS = 5
"""Of each table."""
EACH = 100
TOTAL = EACH * ACCOUNTS * len(TABLES)
CLIENT_TIMEOUT_S = 25.0
CUTS = 40


def key_of(number: int) -> bytes:
    return storage_key(SCHEMA, {"k": ("S", f"account-{number}")})


def put(number: int, amount: int, version: int, expect: int | None) -> PutCommand:
    """expect: version that must be there, None: no item."""
    item = encode_item({"k": ("S", f"account-{number}"), "a": ("N", str(amount)), "u": ("N", str(version))})
    there = FunctionNode("attribute_exists", (PathNode(("k",)),))
    same = Compare("=", PathNode(("u",)), ValueNode(("N", str(expect))))
    condition = Condition(Not(there) if expect is None else And((there, same)))
    return PutCommand(key_of(number), encode_item({"k": ("S", f"account-{number}")}), item, condition)


def read_of(item: bytes | None) -> tuple[int, int]:
    """(amount, version) of an account; version 0: it is not there."""
    if item is None:
        return 0, 0
    found = decode_item(item)
    return int(found["a"][1]), int(found["u"][1])


@dataclass
class BankOutcome:
    """faults: everything that was counted, what struck among it."""

    seed: int
    violation: str
    digest: str
    virtual_us: int
    events: int
    faults: dict[str, int]


class Bank:
    """seconds: of faults. calm: none at all. `run` says what broke, "" if all held.

    More than 15 fields: one run's cluster, clients and all that is judged.
    """

    def __init__(self, seed: int, *, seconds: int = 25, calm: bool = False, show: Callable[[str], object] | None = None) -> None:
        self.world = World(seed, show=show)
        self.seed = seed
        self.draw = self.world.stream("bank")
        lines = self.world.stream("lines")
        self.wire = Rough(lines) if not calm and lines.chance(0.5) else None
        self.cluster = WholeCluster(
            self.world, storage=STORAGE, consensus=CONSENSUS, agent=AGENT, initial_partitions=2, wal_file_bytes=1 << 15, wire=self.wire
        )
        self.env, self.tasks = self.cluster.env, self.cluster.env.tasks
        self.seconds, self.calm = seconds, calm
        self.history: list[Transaction] = []
        self.stamps: list[int] = []
        self.versions = self.ids = 0
        self.done = False
        self.active = 0
        self.counts: dict[str, int] = {}
        self.broken: list[str] = []
        self.world.after_event = self._step
        self._events = 0

    def _step(self) -> None:
        self._events += 1
        if self._events % 64 == 0:
            self.cluster.check_invariants()

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    def table(self, name: str) -> TableMeta | None:
        if self.cluster.control.process is None:
            return None
        table = self.cluster.store.table(name)
        return table if table is not None and table.status == "ACTIVE" else None

    def fresh(self) -> int:
        self.versions += 1
        return self.versions

    async def call(self, work: Any) -> Any:
        """What a coroutine in the control part's life answers; None: nobody knows."""
        try:
            return await self.cluster.ask(work, seconds=CLIENT_TIMEOUT_S)
        except ScrubjayError as error:
            return error

    async def transact(self, reads: dict[Account, tuple[int, int]], new: dict[Account, int], start: int) -> bool:
        tables = {name: self.table(name) for name in TABLES}
        if any(table is None for table in tables.values()):
            return False
        self.ids += 1
        versions = {account: self.fresh() for account in new}
        one = Transaction(self.ids, {account: version for account, (_, version) in reads.items()}, versions, start)
        parts = []
        for account, amount in new.items():
            table = tables[account[0]]
            assert table is not None
            parts.append(TransactPart(table, put(account[1], amount, versions[account], reads[account][1] or None)))
        token = f"t{self.ids}" if self.draw.chance(0.5) else None
        answer = await self.call(self.cluster.store.transact_write(parts, token=token, digest=b"d"))
        if isinstance(answer, ScrubjayError):
            if answer.fields.get("unknown"):
                self.count("unknown")
                self.history.append(one)
                if token is not None and self.draw.chance(0.7):
                    await self.tasks.sleep(self.draw.between(0, 8_000) / 1000)
                    if self.table(TABLES[0]) is not None:
                        again = await self.call(self.cluster.store.transact_write(parts, token=token, digest=b"d"))
                        if not isinstance(again, ScrubjayError) and again.committed:
                            one.sure, one.end = True, self.world.now
                            self.count("found out by token")
            else:
                self.count(f"refused {type(answer).__name__}")
            return False
        if not answer.committed:
            self.count("conflict" if any(o.decision is Decision.LOCKED for o in answer.outcomes) else "condition")
            return False
        one.sure, one.end = True, self.world.now
        self.history.append(one)
        self.stamps.append(answer.stamp)
        self.count("committed")
        return True

    async def look(self, accounts: list[Account]) -> dict[Account, tuple[int, int]] | None:
        tables = {name: table for name in TABLES if (table := self.table(name)) is not None}
        if len(tables) < len(TABLES):
            return None
        answer = await self.call(self.cluster.store.transact_read([(tables[name], key_of(number)) for name, number in accounts]))
        if isinstance(answer, ScrubjayError) or answer.held:
            self.count("not read")
            return None
        return {account: read_of(item) for account, item in zip(accounts, answer.items, strict=True)}

    async def client(self, number: int) -> None:
        draw = self.world.stream(f"client/{number}")
        everyone: list[Account] = [(name, at) for name in TABLES for at in range(ACCOUNTS)]
        while not self.done:
            await self.tasks.sleep(draw.between(1, 80) / 1000)
            if any(self.table(name) is None for name in TABLES):
                await self.tasks.sleep(0.1)
                continue
            start, kind = self.world.now, draw.random()
            self.active += 1
            try:
                if kind < 0.2:
                    found = await self.look(everyone)
                    if found is not None:
                        self.ids += 1
                        reads = {account: version for account, (_, version) in found.items()}
                        self.history.append(Transaction(self.ids, reads, {}, start, self.world.now, sure=True))
                        total = sum(amount for amount, _ in found.values())
                        self.count("read all")
                        if total != TOTAL:
                            self.broken.append(f"a read of all sums to {total}: {found}")
                    continue
                some = _some(draw, everyone)
                found = await self.look(some)
                if found is None:
                    continue
                if kind < 0.35:
                    await self.single(some[0], found[some[0]], start)
                    continue
                moved = draw.between(1, 9)
                new = {account: amount for account, (amount, _) in found.items()}
                new[some[0]] -= moved
                new[some[1]] += moved
                await self.transact(found, new, start)
            finally:
                self.active -= 1

    async def single(self, account: Account, was: tuple[int, int], start: int) -> None:
        """The same amount, written by itself."""
        table = self.table(account[0])
        if table is None:
            return
        self.ids += 1
        version = self.fresh()
        one = Transaction(self.ids, {account: was[1]}, {account: version}, start)
        future = self.tasks.future()

        def settle(answer: Any) -> None:
            if not future.done():
                future.set_result(answer)

        self.tasks.call_later(12.0, lambda: settle(None))
        self.cluster.store.write(table, put(account[1], was[0], version, was[1] or None), settle)
        answer = await future
        if isinstance(answer, WriteAnswer):
            if answer.outcome.decision is Decision.PUT:
                one.sure, one.end = True, self.world.now
                self.history.append(one)
                self.count("single")
        elif answer is None or answer.fields.get("unknown"):
            self.history.append(one)
            self.count("single unknown")
        elif isinstance(answer, Conflict):
            self.count("single in conflict")

    async def strike(self) -> None:
        draw, cluster = self.draw, self.cluster
        kind = draw.choice(("node", "node", "power", "all", "control", "both"))
        self.count(f"struck {kind}")
        hosts = [draw.choice(cluster.hosts)] if kind in ("node", "power", "both") else list(cluster.hosts) if kind == "all" else []
        power = kind != "node"
        if kind in ("control", "both"):
            cluster.control.crash(power=draw.chance(0.5))
        for host in hosts:
            if host.up:
                host.crash(power=power)
        await self.tasks.sleep(draw.between(100, 3_000) / 1000)
        for host in hosts:
            if not host.up:
                host.start()
        if not cluster.control.up:
            cluster.control.start()

    async def opened(self, everyone: list[Account]) -> bool:
        """Every account has its money, by this attempt or by one before it that nobody was told of: what was asked may happen though its answer is lost."""
        if await self.transact(dict.fromkeys(everyone, (0, 0)), dict.fromkeys(everyone, EACH), self.world.now):
            return True
        found = await self.look(everyone)
        return found is not None and all(version for _, version in found.values())

    async def main(self) -> None:
        await attach(self.cluster.look, self.env, cluster_id=CLUSTER, folder_is_new=True)
        self.cluster.start()
        await self.cluster.up()
        for name in TABLES:
            spec = TableSpec(name=name, key=SCHEMA, attributes=(("k", "S"),), billing="PAY_PER_REQUEST", throughput=Throughput())
            await self.cluster.ask(self.cluster.store.create_table(spec), seconds=60.0)
        while any(self.table(name) is None for name in TABLES):
            await self.tasks.sleep(0.05)
        everyone: list[Account] = [(name, at) for name in TABLES for at in range(ACCOUNTS)]
        while not await self.opened(everyone):
            await self.tasks.sleep(0.2)
        # Of one that nobody was told of, no more is known than that it was before this.
        first = min(self.stamps, default=stamp_of(self.env.clock.wall_us()))
        clients = [self.tasks.spawn(self.client(number), name=f"client {number}") for number in range(4)]
        end = self.world.now + self.seconds * SECOND
        while self.world.now < end:
            await self.tasks.sleep(self.draw.between(300, 3_000) / 1000)
            if not self.calm:
                await self.strike()
        self.done = True
        if self.wire is not None:
            self.wire.mend()
        for one in clients:
            await one
        deadline = self.world.now + 60 * SECOND
        while not self.cluster.ready or self.cluster.store.unhosted():
            assert self.world.now < deadline, "no leader after the faults ended"
            await self.tasks.sleep(0.1)
        await self.tasks.sleep(8)
        for _ in range(20):
            found = await self.look(everyone)
            if found is not None:
                break
            await self.tasks.sleep(0.5)
        assert found is not None, "something is held long after everything ended"
        self.ids += 1
        now = self.world.now
        self.history.append(Transaction(self.ids, {a: v for a, (_, v) in found.items()}, {}, now, now + 1, sure=True))
        total = sum(amount for amount, _ in found.values())
        assert total == TOTAL, f"in the end it sums to {total}: {found}"
        assert not self.broken, self.broken[0]
        wrong = check_serializable(self.history)
        assert not wrong, wrong[:3]
        await self.restored(first)

    async def restored(self, first: int) -> None:
        deadline = self.world.now + 120 * SECOND
        while self.cluster.store.unarchived_bytes():
            assert self.world.now < deadline, "the archive does not catch up"
            await self.tasks.sleep(0.2)
        await self.tasks.sleep(6)
        index = ArchiveIndex(self.cluster.look, CLUSTER, tasks=self.tasks)
        await index.refresh(now_us=self.env.clock.wall_us())
        tables = [table for name in TABLES if (table := self.table(name)) is not None]
        places = [(table, info) for table in tables for info in table.partitions]
        latest = min(
            found.window().latest_us or 0 for table, info in places if (found := index.partitions[table.table_id, info.partition_id])
        )
        moments = sorted({stamp_micros(stamp) + off for stamp in self.stamps for off in (-1, 0, 1, 400)})
        moments = [one for one in moments if stamp_micros(first) <= one <= latest]
        self.counts["moments"] = len(moments)
        some = moments if len(moments) <= CUTS else sorted(_some(self.draw, moments, CUTS))
        for at_us in some:
            total = rows = 0
            for table, info in places:
                items = await self.rows(index, table, info, at_us)
                rows += len(items)
                total += sum(read_of(item)[0] for item in items)
            assert (total, rows) == (TOTAL, ACCOUNTS * len(TABLES)), f"restored to {at_us} it sums to {total} over {rows} accounts"
            self.count("restored")

    async def rows(self, index: ArchiveIndex, table: TableMeta, info: Any, at_us: int) -> list[bytes]:
        disk = self.cluster.folder.disk
        cut = last_stamp_at(at_us)
        plan = plan_partition(history_of(info, index.partitions[table.table_id, info.partition_id]), cut)
        base = None if plan.base is None else decode_base(await self.cluster.look.get(plan.base.object), where=plan.base.object)
        await rebuild(
            self.cluster.look, disk, base=base, segments=segment_keys(plan.objects()), cut=Cut(cut), output="bank", work="bank-work"
        )
        file = disk.open("bank")
        try:
            return [row.item for row in read_rowfile(file.pread, file.size())]
        finally:
            file.close()
            disk.remove("bank")

    def outcome(self) -> BankOutcome:
        """`run`, as every profile tells of a seed."""
        violation = self.run()
        counts = dict(sorted(self.counts.items()))
        return BankOutcome(self.seed, violation, self.world.trace.digest, self.world.now, self.world.events, counts)

    def run(self) -> str:
        """What broke, "" if all held."""
        task = self.tasks.spawn(self.main(), name="bank")
        try:
            if not self.world.run(until_us=(self.seconds + 600) * SECOND, stop=task.done):
                return "the run did not come to its end"
            task.result()
        except (AssertionError, ScrubjayError) as error:
            return f"{type(error).__name__}: {error}"
        return ""


def _some(draw: Stream, of: list[Any], count: int | None = None) -> list[Any]:
    left = list(of)
    return [left.pop(draw.between(0, len(left) - 1)) for _ in range(count or draw.between(2, 4))]
