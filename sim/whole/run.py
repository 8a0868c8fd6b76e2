"""The profile "whole": a cluster of the real classes under clients and faults, then everything that is promised about its history.

Phase 1, faults on: clients write, compare-and-set and read; processes die, machines lose power, links break, the object store throttles, times out after
the effect, goes down; bits rot in one replica's tree. Now and then the clients rest and what is there is remembered with its instant.
Phase 2, faults off: the cluster must converge, the archive must catch up, a scrub must heal what rotted and then match, `verify` must find nothing,
and a restore to a remembered instant must equal what was remembered, extra keys included.
Judged: a ledger outside the store knows what each key may hold: the strong reads and scans at the end, every copy after the scrub, and the restore must hold
just that. Reads at the end are operations of the history like any other, and the whole of it must be linearizable (black box, and by LSN witness).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from archiver.agent import AgentOptions, ArchiveAgent
from archiver.identity import attach
from archiver.index import ArchiveIndex
from archiver.verify import VerifyOptions, verify
from archiver.writer import Writer
from base.env import Future
from base.errors import ScrubjayError
from base.ids import Lsn, NodeName, PartitionId
from base.wrap.retry import RetryingStore
from pitr.restore import RestoreOptions
from pitr.service import RestoreService
from pitr.source import ArchiveSource
from pitr.target import Asked
from scrubber.healer import Healer
from scrubber.partition import ScrubOptions
from scrubber.rebuilt import ArchiveReferences
from scrubber.service import ScrubService
from scrubber.shelves import StoreShelves
from server.node import RunningNode
from server.windows import archived_here
from sim.checkers.history import FOREVER, Kind, Operation
from sim.checkers.linear import check_linear
from sim.checkers.registers import RegisterLedger, compare
from sim.checkers.witness import check_witness
from sim.jobs import SimJobs
from sim.whole.cluster import CLUSTER, NAMES, WholeCluster
from sim.whole.commands import SCHEMA, Cas, Put, key_of, number_of, value_of
from sim.world import Host, World
from storage.api.backend import TableSpec
from storage.command import RangeAnswer, RangeRead, ReadAnswer, Verdict, WriteAnswer
from storage.consensus.options import ConsensusOptions
from storage.control.catalogue import TableMeta, Throughput
from storage.node import Node
from storage.options import StorageOptions
from storage.replica import Replica

SECOND = 1_000_000
CLIENT_TIMEOUT_S = 12.0
KEYS = 12
STRANGERS = 2
"""Keys that nobody writes to; they are read all the same."""
LAST_CLIENT = 1_000
"""Who reads everything at the end."""
TABLE = "sim"
RESTORED = "sim-restored"

CONSENSUS = ConsensusOptions(
    grant_us=1_000_000,
    interval_us=200_000,
    drift_us=10_000,
    election_us=150_000,
    campaign_us=800_000,
    retry_us=250_000,
    resign_after_us=2_000_000,
)
STORAGE = StorageOptions(
    checkpoint_interval_us=400_000,
    checkpoint_idle_interval_us=5_000_000,
    checkpoint_bytes=8_000,
    seal_bytes=20_000,
    seal_age_us=2_000_000,
    pin_timeout_us=60_000_000,
    statement_retry_us=1_000_000,
    attest_wait_us=1_000_000,
)
AGENT = AgentOptions(backup_after_s=5.0, closed_interval_s=2.0, backoff_cap_s=3.0)


class Violation(AssertionError):
    """A promise was broken."""


@dataclass
class WholeResult:
    """violation: "" if all held. unknown: keys whose history could not be judged within the step limit."""

    seed: int
    violation: str = ""
    digest: str = ""
    virtual_us: int = 0
    events: int = 0
    operations: int = 0
    acknowledged: int = 0
    unknown: int = 0
    snapshots: int = 0
    restored_rows: int = 0
    scrub: str = ""
    faults: dict[str, int] = field(default_factory=dict)

    @property
    def replay(self) -> str:
        return f"python -m sim run --profile whole --seed {self.seed} --trace"


@dataclass(slots=True)
class Snapshot:
    """What was there at `at_us` while no client was active: per key the values it may have had then."""

    at_us: int
    values: dict[int, list[int | None]]


class WholeRun:
    """One run. seconds: of faults."""

    def __init__(self, seed: int, *, seconds: int = 30, show: Callable[[str], object] | None = None, calm: bool = False) -> None:
        self.world = World(seed, show=show)
        self.result = WholeResult(seed)
        self._seconds = seconds
        self._calm = calm
        self._draw = self.world.stream("whole")
        self.cluster = WholeCluster(
            self.world,
            storage=STORAGE,
            consensus=CONSENSUS,
            initial_partitions=self._draw.between(1, 2),
            wal_file_bytes=1 << 15,
            checkpoint_s=self._draw.choice((0.002, 0.05, 0.3)),
        )
        self.cluster.on_node.append(self._start_agent)
        self.env = self.cluster.env
        self._store = RetryingStore(self.cluster.archive.client(self.env.tasks), self.env)
        self._writer = Writer(CLUSTER)
        self.history: list[Operation] = []
        self.ledger = RegisterLedger()
        self._last: dict[int, int | None] = {}
        self._value = 0
        self._operations = 0
        self._resting = False
        self._active = 0
        self._done = False
        self.snapshots: list[Snapshot] = []
        self._calls = 0
        self.world.after_event = self._step
        self.cluster.archive.on_put = self._object_made
        self._said: list[tuple[str, int, int]] = []
        self._broken = ""

    def run(self) -> WholeResult:
        """Raises nothing: what broke is in the result."""
        result = self.result
        main = self.env.tasks.spawn(self._main(), name="whole")
        try:
            self.world.run(until_us=(self._seconds + 400) * SECOND, stop=main.done)
            if not main.done():
                raise Violation("the run did not come to its end: " + self._where())
            main.result()
        except Violation as error:
            result.violation = str(error)
        except AssertionError as error:
            result.violation = f"{type(error).__name__}: {error}"
        except ScrubjayError as error:
            result.violation = f"{type(error).__name__}: {error}"
        result.digest = self.world.trace.digest
        result.virtual_us, result.events, result.operations = self.world.now, self.world.events, len(self.history)
        return result

    # ------------------------------------------------------------------ the cluster

    def _start_agent(self, host: Host, life: RunningNode) -> None:
        store = RetryingStore(self.cluster.archive.client(host.env.tasks), host.env)
        ArchiveAgent(host.env, store, life.source, self._writer, options=AGENT).start()

    def _object_made(self, key: str) -> None:
        """Write order of the archive: no manifest without its segment, at any moment."""
        if key.endswith(".json") and "/log/" in key and key.removesuffix("json") + "seg" not in self.cluster.archive.objects:
            self._broken = f"a manifest came before its segment: {key}"

    async def _watch_window(self) -> None:
        """What is published as restorable must be: every write acknowledged at or before `latest` lies in the archive."""
        index = ArchiveIndex(self._store, CLUSTER, tasks=self.env.tasks)
        while True:
            await self.env.tasks.sleep(1.5)
            said = list(self._said)
            try:
                await index.refresh(now_us=self.env.clock.wall_us())
            except ScrubjayError:
                continue
            for found in index.partitions.values():
                latest = found.window().latest_us
                late = [
                    one for one in said if one[0] == found.partition and latest is not None and one[1] <= latest and one[2] > found.reach()
                ]
                if late:
                    self._broken = (
                        f"latest {latest} of {found.partition} is published, but LSN {late[0][2]} of {late[0][1]} is not archived"
                    )

    def _step(self) -> None:
        self._calls += 1
        if self._broken:
            raise Violation(self._broken)
        if self._calls % 64 == 0:
            self.cluster.check_invariants()

    async def _main(self) -> None:
        await attach(self._store, self.env, cluster_id=CLUSTER, folder_is_new=True)
        self.cluster.start()
        await self.cluster.up()
        self.cluster.claim(self._store, self._writer)
        store = self.cluster.store
        await store.create_table(
            TableSpec(name=TABLE, key=SCHEMA, attributes=(("k", "S"),), billing="PAY_PER_REQUEST", throughput=Throughput())
        )
        while store.table(TABLE) is None or self._table().status != "ACTIVE":
            await self.env.tasks.sleep(0.05)
        healer = self._healer()
        watch = self.env.tasks.spawn(self._watch_window(), name="window")
        clients = [self.env.tasks.spawn(self._client(number), name=f"client {number}") for number in range(self._draw.between(2, 5))]
        await self._faults()
        self._done = True
        await self._calm_down()
        for client in clients:
            await client
        await self._judge_history()
        await self._converged()
        await self._scrub()
        await self._copies_hold()
        await self._verify()
        await self._restore()
        healer.stop()
        watch.cancel()

    def _table(self) -> TableMeta:
        table = self.cluster.store.table(TABLE)
        assert table is not None
        return table

    # ------------------------------------------------------------------ clients

    async def _client(self, number: int) -> None:
        draw = self.world.stream(f"client/{number}")
        while not self._done:
            if self._resting:
                await self.env.tasks.sleep(0.05)
                continue
            self._active += 1
            try:
                key = draw.between(0, KEYS - 1)
                kind = draw.random()
                if kind < 0.45:
                    await self._write(number, key, delete=draw.chance(0.15), blind=draw.chance(0.5))
                elif kind < 0.65:
                    await self._cas(number, key, draw.chance(0.7))
                else:
                    await self._read(number, key)
            finally:
                self._active -= 1
            await self.env.tasks.sleep(draw.between(5, 120) / 1000)

    def _answer(self) -> tuple[Future[Any], Callable[[Any], None]]:
        future = self.env.tasks.future()

        def settle(answer: Any) -> None:
            if not future.done():
                future.set_result(answer)

        self.env.tasks.call_later(CLIENT_TIMEOUT_S, partial(settle, None))
        return future, settle

    def _next(self) -> tuple[int, int]:
        self._operations += 1
        self._value += 1
        return self._operations, self._value

    async def _write(self, client: int, key: int, *, delete: bool, blind: bool) -> None:
        id_, fresh = self._next()
        value = None if delete else fresh
        start = self.world.now
        self.ledger.sent(key, id_, value)
        future, settle = self._answer()
        self.cluster.store.write(self._table(), Put(key, value, blind=blind), settle)
        answer = await future
        operation = Operation(id_, client, key, Kind.WRITE, start, FOREVER, value=value)
        if isinstance(answer, WriteAnswer):
            self._noted(answer)
            self._last[key] = value
            self.result.acknowledged += 1
            if answer.outcome.verdict is Verdict.UNCHANGED:
                # a delete of an absent key proposes nothing: to the history it is a read of "absent"
                self.ledger.failed(key, id_)
                operation = Operation(id_, client, key, Kind.READ, start, self.world.now, value=None, lsn=answer.lsn)
            else:
                self.ledger.acknowledged(key, id_, answer.lsn)
                operation = Operation(id_, client, key, Kind.WRITE, start, self.world.now, value=value, lsn=answer.lsn)
        elif self._had_no_effect(answer):
            self.ledger.failed(key, id_)
            return
        self.history.append(operation)

    async def _cas(self, client: int, key: int, likely: bool) -> None:
        id_, fresh = self._next()
        expected = self._last.get(key) if likely else fresh - 1
        start = self.world.now
        self.ledger.sent(key, id_, fresh, compare=True, expected=expected)
        future, settle = self._answer()
        self.cluster.store.write(self._table(), Cas(key, expected, fresh), settle)
        answer = await future
        if isinstance(answer, WriteAnswer):
            ok = answer.outcome.verdict is Verdict.PUT
            self._noted(answer)
            if ok:
                self.ledger.acknowledged(key, id_, answer.lsn)
                self._last[key] = fresh
                self.result.acknowledged += 1
            else:
                self.ledger.failed(key, id_)
            self.history.append(
                Operation(id_, client, key, Kind.CAS, start, self.world.now, value=fresh, expected=expected, ok=ok, lsn=answer.lsn)
            )
        elif self._had_no_effect(answer):
            self.ledger.failed(key, id_)
        else:
            self.history.append(Operation(id_, client, key, Kind.CAS, start, FOREVER, value=fresh, expected=expected))

    async def _read(self, client: int, key: int) -> None:
        id_, _ = self._next()
        start = self.world.now
        future, settle = self._answer()
        self.cluster.store.read(self._table(), key_of(key), consistent=True, done=settle)
        answer = await future
        if isinstance(answer, ReadAnswer):
            self._saw(client, id_, key, start, value_of(answer.item), answer.lsn)

    def _saw(self, client: int, id_: int, key: int, start: int, value: int | None, lsn: int) -> None:
        self.ledger.read(key, value, lsn)
        self.history.append(Operation(id_, client, key, Kind.READ, start, self.world.now, value=value, lsn=lsn))

    def _noted(self, answer: WriteAnswer) -> None:
        if answer.timestamp_us is not None:
            self._said.append((answer.partition, answer.timestamp_us, answer.lsn))

    def _had_no_effect(self, answer: Any) -> bool:
        return isinstance(answer, ScrubjayError) and not answer.fields.get("unknown")

    # ------------------------------------------------------------------ faults

    def _count(self, fault: str) -> None:
        self.result.faults[fault] = self.result.faults.get(fault, 0) + 1

    async def _faults(self) -> None:
        draw, world = self._draw, self.world
        kinds = [
            kind
            for kind in ("crash", "power", "cut", "isolate", "blackout", "lossy", "store", "store-down", "rot", "slow-disk")
            if draw.chance(0.55)
        ] or ["crash"]
        rotten: list[NodeName] = []
        end = world.now + self._seconds * SECOND
        rest_at = world.now + draw.between(3, 6) * SECOND
        while world.now < end:
            await self.env.tasks.sleep(draw.between(100, 2_500) / 1000)
            if world.now >= rest_at:
                await self._rest()
                rest_at = world.now + draw.between(4, 9) * SECOND
            if not self._calm:
                await self._strike(draw.choice(kinds), rotten)
        await self._rest()

    async def _strike(self, kind: str, rotten: list[NodeName]) -> None:
        draw, world, cluster = self._draw, self.world, self.cluster
        host = draw.choice(cluster.hosts)
        self._count(kind)
        if kind in ("crash", "power"):
            if host.up:
                host.crash(power=kind == "power")
                world.after(draw.between(20, 3_000) * 1000, partial(self._start, host))
        elif kind == "cut":
            name, other = draw.sample(list(NAMES), 2)
            world.net.cut_link(name, other)
            if draw.chance(0.6):
                world.net.cut_link(other, name)
            world.after(draw.between(300, 4_000) * 1000, world.net.heal)
        elif kind == "isolate":
            leader = next(
                (node.name for node in cluster.nodes() for replica in node.replicas.values() if replica.leading is not None), host.name
            )
            for peer in [name for name in NAMES if name != leader]:
                world.net.cut_link(leader, peer)
                world.net.cut_link(peer, leader)
            world.after(draw.between(1_500, 6_000) * 1000, world.net.heal)
        elif kind == "blackout":
            # The power of the whole room: what was not synced is gone everywhere at once.
            for machine in cluster.hosts:
                if machine.up:
                    machine.crash(power=True)
                world.after(draw.between(20, 1_500) * 1000, partial(self._start, machine))
        elif kind == "slow-disk":
            host.disk.faults.slow = 0.0 if host.disk.faults.slow else 0.1
        elif kind == "lossy":
            world.net.faults.loss = 0.0 if world.net.faults.loss else 0.04
            world.net.faults.duplicate = world.net.faults.loss
        elif kind == "store":
            faults = cluster.archive.faults
            on = not faults.throttled
            faults.throttled = faults.timeout_after = faults.timeout_before = 0.1 if on else 0.0
        elif kind == "store-down":
            cluster.archive.faults.down = True
            world.after(draw.between(500, 6_000) * 1000, self._store_up)
        elif kind == "rot":
            self._rot(host, rotten)

    def _start(self, host: Host) -> None:
        if not host.up:
            host.start()

    def _store_up(self) -> None:
        self.cluster.archive.faults.down = False

    def _rot(self, host: Host, rotten: list[NodeName]) -> None:
        """One replica's tree rots: bits of values, or rows that vanish; often the leader's, whose rows are read most. Never two nodes in one run: two rotten
        copies of three are beyond the promise."""
        draw = self._draw
        info = draw.choice(self._table().partitions)
        leader = self.cluster.store.leader(info.partition_id)
        name = leader.node.name if leader is not None and draw.chance(0.7) else host.name
        if rotten and name != rotten[0]:
            return
        trees = self.cluster.trees[name]
        content = trees.trees.get(PartitionId(info.partition_id))
        if content is None or not content.rows:
            return
        for key in draw.sample(list(content.rows), min(3, len(content.rows))):
            if draw.chance(0.7):
                hit = trees.flip_row(info.partition_id, key, draw.between(0, len(content.rows[key]) * 8 - 1))
            else:
                hit = trees.lose_row(info.partition_id, key)
            if hit:
                rotten.append(name)
                self.world.note(f"rot {name} {info.partition_id} {key.hex()}")

    async def _rest(self) -> None:
        """Let the clients finish, then remember what may be there and when."""
        self._resting = True
        while self._active:
            await self.env.tasks.sleep(0.05)
        await self.env.tasks.sleep(0.01)
        # Every clock of the cluster is the true one here, so an instant between the last answer and the next request splits them.
        self.snapshots.append(Snapshot(self.env.clock.wall_us(), self.ledger.snapshot(range(KEYS))))
        await self.env.tasks.sleep(0.01)
        self._resting = False

    async def _calm_down(self) -> None:
        world, cluster = self.world, self.cluster
        world.net.heal()
        world.net.faults.loss = world.net.faults.duplicate = 0.0
        cluster.archive.faults = type(cluster.archive.faults)()
        for host in cluster.hosts:
            host.disk.faults.slow = 0.0
            self._start(host)
        deadline = world.now + 20 * SECOND
        while cluster.store.unhosted():
            if world.now > deadline:
                raise Violation("no leader for every partition 20 s after the faults ended: " + self._where())
            await self.env.tasks.sleep(0.1)

    async def _converged(self) -> None:
        """Every copy serves again, unless its tree rotted (that waits for the scrub)."""
        deadline = self.world.now + 60 * SECOND
        while self._unsettled():
            if self.world.now > deadline:
                raise Violation("not all copies serve 60 s after the faults ended: " + self._where())
            await self.env.tasks.sleep(0.2)

    def _unsettled(self) -> bool:
        states = [copy.state for info in self._table().partitions for copy in self.cluster.service.copies(info.partition_id)]
        return any(state not in ("ok", "suspect") for state in states)

    def _where(self) -> str:
        return "; ".join(
            f"{node.name} {partition[:8]} {replica.state} applied {replica.applied} chosen {replica.chosen} {replica.reason}"
            for node in self.cluster.nodes()
            for partition, replica in sorted(node.replicas.items())
        )

    # ------------------------------------------------------------------ judging

    async def _judge_history(self) -> None:
        """Read everything, key by key and as a scan; then every checker judges what it is about."""
        found: dict[int, int | None] = {}
        for key in range(KEYS + STRANGERS):
            id_, _ = self._next()
            start = self.world.now
            future, settle = self._answer()
            self.cluster.store.read(self._table(), key_of(key), consistent=True, done=settle)
            answer = await future
            if not isinstance(answer, ReadAnswer):
                raise Violation(f"key {key} cannot be read after the faults ended: {answer}")
            found[key] = value_of(answer.item)
            self._saw(LAST_CLIENT, id_, key, start, found[key], answer.lsn)
        scanned = await self._scan(self._table())
        verdicts = {**self.judge(), "reads": self.ledger.check(found), "scan": self.ledger.check(scanned)}
        bad = {checker: findings for checker, findings in verdicts.items() if findings}
        if bad:
            raise Violation("; ".join(f"{checker}: {findings[0]} ({len(findings)} in all)" for checker, findings in bad.items()))

    def judge(self) -> dict[str, list[str]]:
        """What each checker of histories finds in the history so far."""
        witness: list[str] = []
        for info in self._table().partitions:
            witness += check_witness([one for one in self.history if self._partition(one.key) == info.partition_id])
        verdict = check_linear(self.history)
        self.result.unknown = int(verdict.outcome == "unknown")
        linear = [f"key {verdict.key} is not linearizable"] if verdict.outcome == "bad" else []
        return {"witness": witness, "linear": linear}

    async def _scan(self, table: TableMeta) -> dict[int, int | None]:
        """Every row of a table, by strong reads of its ranges. Of the table under test they are operations of the history too."""
        found: dict[int, int | None] = {}
        for info in table.partitions:
            start = self.world.now
            future, settle = self._answer()
            request = RangeRead(b"", None, 10_000, 1 << 30, reverse=False, consistent=True)
            self.cluster.store.read_range(table, info, request, settle)
            answer = await future
            if not isinstance(answer, RangeAnswer):
                raise Violation(f"partition {info.partition_id} cannot be scanned after the faults ended: {answer}")
            rows = {number_of(item): value_of(item) for _, item in answer.rows}
            found |= rows
            if table.name == TABLE:
                for key in [one for one in sorted({*range(KEYS), *rows}) if one in rows or self._partition(one) == info.partition_id]:
                    self._saw(LAST_CLIENT, self._next()[0], key, start, rows.get(key), answer.lsn)
        return found

    async def _copies_hold(self) -> None:
        """Every copy, asked by itself, holds what the ledger allows, and no two of them differ."""
        deadline = self.world.now + 60 * SECOND
        for info in self._table().partitions:
            seen: dict[NodeName, dict[int, int | None]] = {}
            least = self._leader_of(info.partition_id).applied
            for node in self.cluster.nodes():
                while (answer := await self._copy_rows(node, info.partition_id, least)) is None:
                    if self.world.now > deadline:
                        raise Violation(f"{node.name} cannot be read after scrub and heal: " + self._where())
                    await self.env.tasks.sleep(0.2)
                seen[node.name] = answer
            for name, rows in seen.items():
                allowed = {key: may for key, may in self.ledger.snapshot(range(KEYS)).items() if self._partition(key) == info.partition_id}
                findings = compare(allowed, rows)
                if findings:
                    raise Violation(f"the copy on {name}: {findings[0]} ({len(findings)} in all)")
            if len({tuple(sorted(rows.items())) for rows in seen.values()}) > 1:
                raise Violation(f"the copies of {info.partition_id} differ: {seen}")

    async def _copy_rows(self, node: Node, partition: PartitionId, least: Lsn) -> dict[int, int | None] | None:
        future, settle = self._answer()
        request = RangeRead(b"", None, 10_000, 1 << 30, reverse=False, consistent=False)
        node.read_range(partition, request, min_lsn=least, done=settle)
        answer = await future
        return {number_of(item): value_of(item) for _, item in answer.rows} if isinstance(answer, RangeAnswer) else None

    def _leader_of(self, partition: PartitionId) -> Replica:
        leader = self.cluster.store.leader(partition)
        if leader is None:
            raise Violation(f"no leader of {partition} after the faults ended: " + self._where())
        return leader

    def _partition(self, key: int) -> str:
        return self.cluster.router.partition_of(self._table(), key_of(key)).partition_id

    def _references(self) -> ArchiveReferences:
        return ArchiveReferences(
            self.env,
            self._jobs(),
            self.cluster.control.disk,
            StoreShelves(self._store, ArchiveIndex(self._store, CLUSTER, tasks=self.env.tasks), self.env.clock),
            url=self.cluster.archive.url,
            writer=self._writer,
        )

    def _jobs(self) -> SimJobs:
        return SimJobs(self.env.tasks, self.cluster.control.disk, lambda _url: self._store)

    def _healer(self) -> Healer:
        healer = Healer(self.env, self.cluster.service, self._references(), log=self.world.note)
        healer.start()
        return healer

    async def _scrub(self) -> None:
        options = ScrubOptions(archive_wait_s=60.0)
        service = ScrubService(self.env, self.cluster.service, self._references(), None, options, log=self.world.note)
        first = await service.run()
        self.result.scrub = str(first["verdict"])
        if first["verdict"] == "unverified":
            raise Violation(f"the scrub could not compare everything: {first}")
        second = await service.run()
        if second["verdict"] != "match":
            raise Violation(f"the second scrub does not match: {second}")
        if first["verdict"] == "mismatch" and not self.result.faults.get("rot"):
            raise Violation(f"a scrub found a difference though nothing rotted: {first}")

    async def _verify(self) -> None:
        report = await verify(
            self._store,
            self.cluster.control.disk,
            options=VerifyOptions(
                level="replayed", cluster=CLUSTER, archived=archived_here(self.cluster.parts), wall_us=self.env.clock.wall_us()
            ),
            now_us=self.env.clock.boot_us,
            work="verify.base",
        )
        if report.verdict != "match":
            raise Violation(f"verify: {[finding.as_json() for finding in report.findings[:3]]}")

    async def _restore(self) -> None:
        self.result.snapshots = len(self.snapshots)
        snapshot = self._draw.choice(self.snapshots)
        service = RestoreService(
            self.env,
            self.cluster.service,
            ArchiveSource(
                self.env,
                self._jobs(),
                self.cluster.control.disk,
                ArchiveIndex(self._store, CLUSTER, tasks=self.env.tasks),
                url=self.cluster.archive.url,
                writer=self._writer,
            ),
            RestoreOptions(archive_wait_s=60.0),
            max_offset_us=500_000,
            log=self.world.note,
        )
        await service.start(self._table(), RESTORED, Asked(at_us=snapshot.at_us))
        deadline = self.world.now + 120 * SECOND
        while (report := service.status(RESTORED)) is not None and report["state"] == "running":
            if self.world.now > deadline:
                raise Violation(f"the restore did not end: {report}")
            await self.env.tasks.sleep(0.1)
        if report is None or report["state"] != "published":
            raise Violation(f"the restore failed: {report}")
        restored = self.cluster.store.table(RESTORED)
        assert restored is not None
        found = await self._scan(restored)
        self.result.restored_rows = len(found)
        findings = compare(snapshot.values, found)
        if findings:
            raise Violation(f"restored to {snapshot.at_us}: {findings[0]} ({len(findings)} in all)")
