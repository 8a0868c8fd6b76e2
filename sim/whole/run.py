"""The profile "whole": a cluster of the real classes under clients and faults, then everything that is promised about its history.

Phase 1, faults on (sim.whole.nemesis): clients write, compare-and-set and read, tables come and go. Now and then the
clients rest and what is there is remembered with its instant.
Phase 2, faults off: the cluster must converge, the archive must catch up, a scrub must heal what rotted and then match, `verify` must find nothing,
and a restore to a remembered instant must equal what was remembered, extra keys included.
Judged: a ledger outside the store knows what each key may hold: the strong reads and scans at the end, every copy after the scrub, and the restore must hold
just that. Reads at the end are operations of the history like any other, and the whole of it must be linearizable (black box, and by LSN witness).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from scrubjay.archiver.read.index import ArchiveIndex
from scrubjay.archiver.write.agent_state import AgentOptions
from scrubjay.archiver.write.attach import attach
from scrubjay.base.errors import ScrubjayError
from scrubjay.base.ids import Lsn, NodeName, PartitionId
from scrubjay.base.sealed import SECRET_BYTES, Key, Keyring
from scrubjay.pitr.target import RestoreTarget
from scrubjay.sim.checkers.linear import check_linear
from scrubjay.sim.checkers.registers import compare
from scrubjay.sim.checkers.witness import check_witness
from scrubjay.sim.rand import Stream
from scrubjay.sim.whole.churn import Churn, spec_of
from scrubjay.sim.whole.clients import KEYS, LAST_CLIENT, LIMIT, STRANGERS, Clients, Said
from scrubjay.sim.whole.cluster import CLUSTER, MEMBERS, WholeCluster
from scrubjay.sim.whole.commands import number_of, value_of
from scrubjay.sim.whole.door import Rough
from scrubjay.sim.whole.indexed import IndexCheck, draw_indexed, indexed
from scrubjay.sim.whole.members_operator import BALANCE_AFTER_US, STAND_IN_US, MembersOperator, draw_operator
from scrubjay.sim.whole.nemesis import SKEW_US, Nemesis, draw_clocks
from scrubjay.sim.whole.packing import Packing, draw_packing
from scrubjay.sim.whole.splits_operator import SplitsOperator, draw_index_splits, draw_size, draw_splits
from scrubjay.sim.whole.spoiler import Spoiler, draw_spoiler
from scrubjay.sim.whole.stream_turns import LineageReader, StreamTurner, draw_turns
from scrubjay.sim.whole.streaming import VIEW, StreamFollower, draw_streamed
from scrubjay.sim.world import World
from scrubjay.storage.catalogue import PartitionInfo, TableMeta, index_tables
from scrubjay.storage.commands.values import RangeAnswer, RangeRead, ReadAnswer
from scrubjay.storage.consensus.options import ConsensusOptions
from scrubjay.storage.node import Node
from scrubjay.storage.options import StorageOptions
from scrubjay.storage.replica import Replica

SECOND = 1_000_000
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
    keep_log_us=0,
)
AGENT = AgentOptions(backup_after_s=5.0, closed_interval_s=2.0, backoff_cap_s=3.0)


ROUGH = 0.3
"""In how many of the seeds the connections between control part and nodes are bad ones."""


LOGS, LOGS_FROM = 0.5, 1_000
"""In how many of the seeds, of those from LOGS_FROM on, a node keeps the log alone of every partition made; seeds below are what they were found for."""


SEALED, SEALED_FROM = 0.5, 2_000
"""In how many of the seeds, of those from SEALED_FROM on, the archive is encrypted."""


KEPT, KEPT_FROM = 0.5, 6_000
"""In how many of the seeds, of those from KEPT_FROM on, nodes keep some seconds of the log for a member that is away."""


REPLACED, REPLACED_FROM = 0.7, 7_000
"""In how many of the seeds, of those from REPLACED_FROM on, nodes whose disk is lost are replaced; where no node keeps the log alone."""


SPLIT_LOSSES_FROM = 16_000
"""From this seed on faults may take what was durable from a node while partitions are split; seeds below are what they were found for."""


SPLIT_LOGS_FROM = 17_000
"""From this seed on a node may keep the log alone of partitions that are split; seeds below are what they were found for."""


SPOILT_SPLITS_FROM = 18_000
"""From this seed on the store may spoil uploads while partitions are split: copies of what was split are kept until the archive's were read back. Seeds below are what they were found for."""


DURABLE_LOSSES = ("rot", "wal-rot", "amnesia", "empty-disk")
"""Faults that take from a node what was durable."""


def draw_storage(seed: int, draw: Stream) -> StorageOptions:
    kept = seed >= KEPT_FROM and draw.chance(KEPT)
    return replace(STORAGE, keep_log_us=draw.between(1, 20) * SECOND) if kept else STORAGE


def draw_ring(seed: int, draw: Stream) -> Keyring | None:
    """The keys of an archive that was written under two, one after the other."""
    if seed < SEALED_FROM or not draw.chance(SEALED):
        return None
    return Keyring(tuple(Key(name, draw.randbytes(SECRET_BYTES)) for name in ("second", "first")))


def draw_log_node(seed: int, draw: Stream) -> int | None:
    return draw.choice(MEMBERS).node if seed >= LOGS_FROM and draw.chance(LOGS) else None


class WholeViolation(AssertionError):
    """A promise was broken."""


@dataclass
class WholeResult:
    """violation: "" if all held. unknown: keys whose history could not be judged within the step limit. faults: how often each struck, calm counts too."""

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
        return f"python -m scrubjay.sim run --profile whole --seed {self.seed} --trace"


@dataclass(slots=True)
class WorldSnapshot:
    """What was there at `at_us` while no client was active: per key the values it may have had then."""

    at_us: int
    values: dict[int, list[int | None]]


def but_for(report: dict[str, Any], lost_its_log: Callable[[NodeName], bool]) -> bool:
    """A scrub's report is a match but for copies whose node lost its log, and logs without a tree, which no scrub reads yet: each partition that is none says which
    copy or which finding it is about."""
    parts = [part for table in report["tables"] for part in table["partitions"]]
    explained = []
    for part in parts:
        odd = [copy for copy in part["copies"] if copy["verdict"] != "match"]
        explained += [
            copy["verdict"] == "unverified" and (copy["reason"] == "log_not_read" or lost_its_log(NodeName(copy["copy"]))) for copy in odd
        ]
        if part["verdict"] == "mismatch":
            told = part["findings"]
            explained += [one["kind"] == "unreadable" and one["found_by"] == "seal" and lost_its_log(NodeName(one["copy"])) for one in told]
            explained.append(bool(told))
        elif part["verdict"] != "match":
            explained.append(bool(odd))
    return bool(explained) and all(explained)


class WholeRun:
    """One run. seconds: of faults. calm: none at all.

    More than 15 fields, more than 25 methods: what strikes and what judges, and a step of the run each, in order.
    """

    def __init__(self, seed: int, *, seconds: int = 30, show: Callable[[str], object] | None = None, calm: bool = False) -> None:
        self.world = World(seed, show=show)
        self.result = WholeResult(seed)
        self._seconds = seconds
        self._calm = calm
        self._draw = self.world.stream("whole")
        clocks = {} if calm else draw_clocks(self.world.stream("clocks"))
        draw = self.world.stream("lines")
        self.wire = Rough(draw) if not calm and draw.chance(ROUGH) else None
        """Between control part and nodes, where it loses and delays frames."""
        members, splits = draw_operator(seed, self.world), draw_splits(seed, self.world)
        logs = members is None and (splits is None or seed >= SPLIT_LOGS_FROM)
        log_node = draw_log_node(seed, self.world.stream("logs")) if logs else None
        self._replaces = seed >= REPLACED_FROM and members is None and log_node is None and self.world.stream("operator").chance(REPLACED)
        self.cluster = WholeCluster(
            self.world,
            storage=draw_storage(seed, self.world.stream("kept")),
            consensus=CONSENSUS,
            agent=AGENT,
            clocks=clocks,
            initial_partitions=self._draw.between(1, 2),
            split_size=draw_size(splits),
            wal_file_bytes=1 << 15,
            checkpoint_s=self._draw.choice((0.002, 0.05, 0.3)),
            wire=self.wire,
            log_node=log_node,
            ring=draw_ring(seed, self.world.stream("keys")),
            replaces=self._replaces,
            spares=0 if members is None else 1,
            stand_in_us=STAND_IN_US,
            balance_after_us=BALANCE_AFTER_US,
        )
        self.env = self.cluster.env
        self.clients = Clients(self.world, self.cluster, TABLE)
        self.churn = Churn(self.cluster, self.clients, self.world.stream("churn"))
        self.indexes = IndexCheck(self.cluster, self.clients) if draw_indexed(seed, self.world.stream("indexes")) else None
        self.nemesis = Nemesis(self.world, self.cluster, self.clients, clocks, self._count, self._not_archived)
        self.operator = None
        if members is not None and not calm:
            self.operator = MembersOperator(self.world, self.cluster, members, self._count)
            # A node that is away, or leaves, is a fault until its copies are elsewhere: no other one loses what was durable meanwhile.
            self.nemesis.kinds = [kind for kind in self.nemesis.kinds if kind not in DURABLE_LOSSES] or ["crash"]
        self.splitter = None
        if splits is not None and not calm:
            self.splitter = SplitsOperator(self.world, self.cluster, splits, TABLE, self._stays_out, draw_index_splits(seed, self.world))
            if seed < SPLIT_LOSSES_FROM:
                self.nemesis.kinds = [kind for kind in self.nemesis.kinds if kind not in DURABLE_LOSSES] or ["crash"]
        if clocks:
            self.result.faults["skew"] = len(clocks)
        self.snapshots: list[WorldSnapshot] = []
        self._events = 0
        self._broken = ""
        self.world.after_event = self._step
        spoils = draw_spoiler(seed, self.world.stream("spoils"))
        spoilt = not calm and spoils is not None and (splits is None or seed >= SPOILT_SPLITS_FROM)
        self.spoiler = Spoiler(self.cluster.archive, spoils, self._count) if spoilt and spoils is not None else None
        packs = draw_packing(seed, self.world.stream("packs"))
        self.packing = None if calm or packs is None else Packing(self.world, self.cluster, packs, self._count)
        streamed = draw_streamed(seed, self.world.stream("streamed"))
        turns = draw_turns(seed, self.world.stream("turns"))
        self.follower: StreamFollower | LineageReader | None = None
        self.turner = None
        if turns is not None and not calm:
            self.clients.while_updating = True
            self.turner = StreamTurner(self.cluster, self.clients, turns, self._count)
            self.follower = LineageReader(self.cluster, self.clients, self.world.stream("lineage"), self._count)
        elif streamed is not None:
            self.follower = StreamFollower(self.cluster, self.clients, streamed, self._count)
        self.cluster.archive.on_put = self._object_made

    def run(self) -> WholeResult:
        """Raises nothing: what broke is in the result."""
        result = self.result
        main = self.env.tasks.spawn(self._main(), name="whole")
        try:
            self.world.run(until_us=(self._seconds + (500 if self.indexes is None else 1_000)) * SECOND, stop=main.done)
            if not main.done():
                raise WholeViolation("the run did not come to its end: " + self._where())
            main.result()
        except WholeViolation as error:
            result.violation = str(error)
        except AssertionError as error:
            result.violation = f"{type(error).__name__}: {error}"
        except ScrubjayError as error:
            result.violation = f"{type(error).__name__}: {error}"
        result.digest = self.world.trace.digest
        result.virtual_us, result.events, result.operations = self.world.now, self.world.events, len(self.clients.history)
        result.acknowledged = self.clients.acknowledged
        for name, count in {
            **self.nemesis.counts(),
            "tables made": self.churn.made,
            "tables dropped": self.churn.dropped,
            "weak reads": self.clients.weak,
            "nodes replaced": self.cluster.folders.renewed,
            "partitions split": 0 if self.splitter is None else self.splitter.done(),
            "index partitions split": 0 if self.splitter is None else self.splitter.index_splits(),
        }.items():
            if count:
                result.faults[name] = count
        return result

    # ------------------------------------------------------------------ watching

    def _count(self, fault: str) -> None:
        self.result.faults[fault] = self.result.faults.get(fault, 0) + 1

    def _object_made(self, key: str) -> None:
        """Write order of the archive: no manifest without its segment, at any moment."""
        if key.endswith(".json") and "/log/" in key and key.removesuffix("json") + "seg" not in self.cluster.archive.objects:
            self._broken = f"a manifest came before its segment: {key}"
        if self.spoiler is not None:
            self.spoiler.made(key)

    async def _watch_window(self) -> None:
        """What is published as restorable must be: every write acknowledged at or before `latest` lies in the archive."""
        index = ArchiveIndex(self.cluster.look, CLUSTER, tasks=self.env.tasks)
        while True:
            await self.env.tasks.sleep(1.5)
            said = list(self.clients.said)
            try:
                await index.refresh(now_us=self.env.clock.wall_us())
            except ScrubjayError:
                continue
            for found in index.partitions.values():
                latest, reach = found.window().latest_us, found.reach()
                for one in said if latest is not None else ():
                    if one.partition == found.partition and latest is not None and one.timestamp_us <= latest and one.lsn > reach:
                        self._broken = (
                            f"latest {latest} of {found.partition} is published, but LSN {one.lsn} of {one.timestamp_us} is not archived"
                        )

    async def _not_archived(self, said: list[Said]) -> str:
        """Which of these acknowledged writes the archive lacks; "" if none, or if the store does not answer now."""
        index = ArchiveIndex(self.cluster.look, CLUSTER, tasks=self.env.tasks)
        try:
            await index.refresh(now_us=self.env.clock.wall_us())
        except ScrubjayError:
            return ""
        reach = {found.partition: found.reach() for found in index.partitions.values()}
        late = [one for one in said if one.lsn > reach.get(one.partition, 0)]
        return f"{len(late)} acknowledged writes are not, LSN {late[0].lsn} of {late[0].partition} among them" if late else ""

    def _step(self) -> None:
        self._events += 1
        broken = self._broken or self.nemesis.broken or (self.follower.broken if self.follower is not None else "")
        if broken:
            raise WholeViolation(broken)
        if self._events % 64 == 0:
            self.cluster.check_invariants()

    def _where(self) -> str:
        return "; ".join(
            f"{node.name} {partition[:8]} {replica.state} applied {replica.applied} chosen {replica.chosen} {replica.reason}"
            for node in self.cluster.nodes()
            for partition, replica in sorted(node.members.items())
        )

    # ------------------------------------------------------------------ the run

    async def _main(self) -> None:
        tasks = self.env.tasks
        await attach(self.cluster.look, self.env, cluster_id=CLUSTER, folder_is_new=True)
        self.cluster.start()
        await self.cluster.up()
        spec = spec_of(TABLE, stream_view=VIEW if self.follower else "")
        await self.cluster.ask(self.cluster.store.create_table(spec if self.indexes is None else indexed(spec)), seconds=60.0)
        while self.clients.table() is None:
            await tasks.sleep(0.05)
        watch = tasks.spawn(self._watch_window(), name="window")
        mending = tasks.spawn(self.nemesis.mend_failed(), name="mending")
        tasks.spawn(self.nemesis.keep_clocks(), name="clocks")
        clients = [tasks.spawn(self.clients.run(number), name=f"client {number}") for number in range(self._draw.between(2, 5))]
        churn = tasks.spawn(self.churn.run(), name="churn")
        operating = [tasks.spawn(one.run(), name="operator") for one in (self.operator, self.splitter, self.turner) if one is not None]
        if self.splitter is not None:
            operating.append(tasks.spawn(self.splitter.run_indexes(), name="index splits"))
        following = [] if self.follower is None else [tasks.spawn(self.follower.run(), name="follower")]
        await self._faults()
        self.clients.done = True
        for one in (self.operator, self.splitter, self.turner):
            if one is not None:
                one.over = True
        await self._calm_down()
        for task in (*clients, churn, mending, *following, *operating):
            await task
        await self._splits_over()
        await self._judge_history()
        await self._converged()
        if self.packing is not None and (why := await self.packing.run()):
            raise WholeViolation(why)
        await self._indexes_hold(TABLE)
        await self._scrub()
        await self._copies_hold()
        await self._logs_hold()
        await self._verify()
        await self._restore()
        watch.cancel()

    async def _faults(self) -> None:
        draw, world = self._draw, self.world
        end = world.now + self._seconds * SECOND
        rest_at = world.now + draw.between(3, 6) * SECOND
        while world.now < end:
            await self.env.tasks.sleep(draw.between(100, 2_500) / 1000)
            if world.now >= rest_at:
                await self._rest()
                rest_at = world.now + draw.between(4, 9) * SECOND
            if not self._calm:
                await self.nemesis.strike()
        await self._rest()

    async def _rest(self) -> None:
        """Let the clients finish, then remember what may be there and when. Clocks may be off: the instant lies that far from what is before and after it."""
        clients, sleep = self.clients, self.env.tasks.sleep
        clients.resting = True
        while clients.active:
            await sleep(0.05)
        await sleep(2.2 * SKEW_US / 1e6)
        self.snapshots.append(WorldSnapshot(self.env.clock.wall_us(), clients.ledger.snapshot(range(KEYS))))
        await sleep(2.2 * SKEW_US / 1e6)
        clients.resting = False

    async def _calm_down(self) -> None:
        world, cluster = self.world, self.cluster
        self.nemesis.end()
        if self.spoiler is not None:
            self.spoiler.over = True
        if self.wire is not None:
            self.wire.mend()
            self.result.faults["requests lost"] = self.wire.count
        deadline = world.now + 30 * SECOND
        while not cluster.ready or cluster.store.unhosted():
            if world.now > deadline:
                raise WholeViolation(
                    f"30 s after the faults ended: control part ready {cluster.ready}, a leader is missing: " + self._where()
                )
            await self.env.tasks.sleep(0.1)

    def _table(self) -> TableMeta:
        table = self.clients.table()
        assert table is not None
        return table

    # ------------------------------------------------------------------ judging

    async def _judge_history(self) -> None:
        """Read everything, key by key and as a scan; then every checker judges what it is about."""
        clients, found = self.clients, dict[int, int | None]()
        for key in range(KEYS + STRANGERS):
            answer = await clients.read(self._table(), LAST_CLIENT, key)
            if not isinstance(answer, ReadAnswer):
                raise WholeViolation(f"key {key} cannot be read after the faults ended: {answer}")
            found[key] = value_of(answer.item)
        scanned = await clients.scan(self._table())
        verdicts = {
            "scan": [scanned] if isinstance(scanned, str) else clients.ledger.check(scanned),
            "reads": clients.ledger.check(found),
            **self.judge(),
            "tables": await self.churn.check(),
            "stream": [] if self.follower is None else await self.follower.judge(),
        }
        bad = {checker: findings for checker, findings in verdicts.items() if findings}
        if bad:
            raise WholeViolation("; ".join(f"{checker}: {findings[0]} ({len(findings)} in all)" for checker, findings in bad.items()))

    def judge(self) -> dict[str, list[str]]:
        """What each checker of histories finds in the history so far."""
        clients, table, witness = self.clients, self._table(), list[str]()
        for info in table.partitions:
            witness += check_witness([one for one in clients.history if clients.partition(table, one.key) == info.partition_id])
        verdict = check_linear(clients.history)
        self.result.unknown = int(verdict.outcome == "unknown")
        linear = [f"key {verdict.key} is not linearizable"] if verdict.outcome == "bad" else []
        return {"witness": witness, "linear": linear}

    async def _splits_over(self) -> None:
        """What was begun to be split is, on every node; and a stream that was to be turned on or off is."""
        deadline = self.world.now + 120 * SECOND
        for one in (self.splitter, self.turner):
            while one is not None and (left := one.left()):
                if self.world.now > deadline:
                    raise WholeViolation(f"a split, or a stream, is not over 120 s after the faults ended: {left}: " + self._where())
                await self.env.tasks.sleep(0.2)

    async def _converged(self) -> None:
        """Every copy serves again, unless its tree rotted (that waits for the scrub) or its node lost what it must not lose."""
        deadline = self.world.now + (60 if self.operator is None else 240) * SECOND
        while self.operator is not None and (left := self.operator.left(self._infos())):
            if self.world.now > deadline:
                raise WholeViolation(f"what the operator asked for is not done 240 s after the faults ended: {left}: " + self._where())
            await self.env.tasks.sleep(0.2)
        if self.operator is not None:
            self.result.faults |= self.operator.evened()
        deadline = self.world.now + 60 * SECOND
        while self._unsettled():
            if self.world.now > deadline:
                raise WholeViolation("not all copies serve 60 s after the faults ended: " + self._where())
            await self.env.tasks.sleep(0.2)

    def _infos(self) -> list[PartitionInfo]:
        """Of every table that is there, and of the metadata group."""
        tables = [one for one in self.cluster.metadata.tables.values() if one.status == "ACTIVE"]
        return [info for one in (self.cluster.metadata.system, *tables) for table in (one, *index_tables(one)) for info in table.partitions]

    def _unsettled(self) -> bool:
        live = [one for one in self.cluster.service.tables() if one.dropped_at is None]
        copies = [copy for table in live for info in table.partitions for copy in self.cluster.service.copies(info.partition_id)]
        # A claim whose answer was lost while the wire lost frames is known half a minute later: until then no base is written, and no restore.
        unclaimed = self.cluster.writer.claimed_as is None and self.cluster.writer.stopped is None
        return unclaimed or any(copy.state not in ("ok", "suspect") and not self._lost_its_log(copy.node) for copy in copies)

    def _lost_its_log(self, node: NodeName) -> bool:
        struck = ("wal-rot", "amnesia") if self._replaces else ("wal-rot", "amnesia", "empty-disk")
        return node == self.nemesis.victim and any(self.result.faults.get(kind) for kind in struck)

    def _stays_out(self, number: int) -> bool:
        """Its disk was lost, and nobody replaces it."""
        return not self._replaces and self.nemesis.victim == self.cluster.names[number - 1] and bool(self.result.faults.get("empty-disk"))

    async def _scrub(self) -> None:
        first = await self.cluster.ask(self.cluster.durability.scrub.run(), seconds=200.0)
        self.result.scrub = str(first["verdict"])
        if first["verdict"] == "unverified" and not self._but_for_the_victim(first):
            raise WholeViolation(f"the scrub could not compare everything: {first}")
        await self._indexes_hold(TABLE)  # one may have been built anew
        second = await self.cluster.ask(self.cluster.durability.scrub.run(), seconds=200.0)
        if second["verdict"] != "match" and not self._but_for_the_victim(second):
            raise WholeViolation(f"the second scrub does not match: {second}")
        if first["verdict"] == "mismatch" and self.nemesis.victim is None and not self._but_for_uploads(first):
            raise WholeViolation(f"a scrub found a difference though nothing rotted: {first}")

    async def _indexes_hold(self, name: str) -> None:
        if self.indexes is not None:
            why = await self.indexes.wrong(name)
            if why:
                raise WholeViolation(f"table {name}, {why}: " + self._where())
            self._count("indexes compared")

    def _but_for_uploads(self, report: dict[str, Any]) -> bool:
        """All that it found are objects of the archive that were spoilt when they came."""
        struck = () if self.spoiler is None else self.spoiler.struck
        spoilt = [self.cluster.seen_as(key) for key in struck]
        parts = [part for table in report["tables"] for part in table["partitions"] if part["verdict"] == "mismatch"]
        return all(part["findings"] and all(one["object"] in spoilt for one in part["findings"]) for part in parts)

    def _but_for_the_victim(self, report: dict[str, Any]) -> bool:
        """All that could be compared matches; what could not, or was told of, is the log of a node that lost what it must not lose."""
        return but_for(report, self._lost_its_log)

    async def _copies_hold(self) -> None:
        """Every copy that serves, asked by itself, holds what the ledger allows, and no two of them differ."""
        deadline = self.world.now + 60 * SECOND
        table = self._table()
        allowed = self.clients.ledger.snapshot(range(KEYS))
        for info in table.partitions:
            seen: dict[NodeName, dict[int, int | None]] = {}
            least = (await self._leader_of(PartitionId(info.partition_id))).applied
            mine = {key: may for key, may in allowed.items() if self.clients.partition(table, key) == info.partition_id}
            for node in self.cluster.nodes():
                if node.number in info.logs or node.number not in info.nodes:
                    continue
                while (rows := await self._copy_rows(node, PartitionId(info.partition_id), least)) is None:
                    if self._lost_its_log(node.name):
                        break
                    if self.world.now > deadline:
                        raise WholeViolation(f"{node.name} cannot be read after scrub and heal: " + self._where())
                    await self.env.tasks.sleep(0.2)
                if rows is None:
                    continue
                seen[node.name] = rows
                findings = compare(mine, rows)
                if findings:
                    raise WholeViolation(f"the copy on {node.name}: {findings[0]} ({len(findings)} in all)")
            if len({tuple(sorted(rows.items())) for rows in seen.values()}) > 1:
                raise WholeViolation(f"the copies of {info.partition_id} differ: {seen}")

    async def _logs_hold(self) -> None:
        """Every copy that keeps the log alone follows to its end, and has the very records that the leader has; it votes, unless its node lost what it must not lose."""
        deadline = self.world.now + 60 * SECOND
        for info in self._table().partitions:
            leader = await self._leader_of(PartitionId(info.partition_id))
            for node in [one for one in self.cluster.nodes() if one.number in info.logs]:
                log = node.members[PartitionId(info.partition_id)]
                if log.behind or self._lost_its_log(node.name):
                    self._count("logs left behind")
                    continue
                place = None if leader.group is None else leader.group.members_chosen.configuration.place(node.number)
                if (
                    place is None or place.member != log.member
                ):  # its node came back with another disk: it is let learn when it has to stand in
                    self._count("logs that nobody waits for")
                    continue
                while log.applied < leader.applied:
                    if self.world.now > deadline:
                        raise WholeViolation(f"the log on {node.name} does not follow: " + self._where())
                    await self.env.tasks.sleep(0.2)
                # One that stands by, as an operator's cluster may have, does not vote.
                if (log.state, log.status.vote, log.damaged) != ("log", "votes" if self.operator is None else "learner", False):
                    raise WholeViolation(f"the log on {node.name} is no whole log: " + self._where())
                assert log.group is not None
                assert leader.group is not None
                first, end = max(log.group.log.first, leader.group.log.first), Lsn(log.applied + 1)
                for lsn in range(first, end):
                    mine, theirs = (one.wal.read(leader.partition, Lsn(lsn), Lsn(lsn + 1))[0].data for one in (node, leader.node))
                    if mine != theirs:
                        raise WholeViolation(f"the log on {node.name} differs from the leader's at LSN {lsn} of {leader.partition}")
                self._count("logs compared")

    async def _copy_rows(self, node: Node, partition: PartitionId, least: Lsn) -> dict[int, int | None] | None:
        future, settle = self.clients.call()
        node.requests.read_range(
            partition, RangeRead(b"", None, LIMIT, 1 << 30, reverse=False, consistent=False), min_lsn=least, done=settle
        )
        answer = await future
        return {number_of(item): value_of(item) for _, item in answer.rows} if isinstance(answer, RangeAnswer) else None

    async def _leader_of(self, partition: PartitionId) -> Replica:
        deadline = self.world.now + 30 * SECOND
        while (leader := self.cluster.leader(partition)) is None:
            if self.world.now > deadline:
                raise WholeViolation(f"no leader of {partition} after the faults ended: " + self._where())
            await self.env.tasks.sleep(0.1)
        return leader

    async def _verify(self) -> None:
        work = self.cluster.durability.verify.verify(
            tables=None, level="replayed", budget_us=None, max_age_us=0, progress=lambda _facts: None
        )
        report: dict[str, Any] = await self.cluster.ask(work, seconds=200.0)
        if report["exit"] != 0:
            raise WholeViolation(f"verify: {report}")

    async def _restore(self) -> None:
        self.result.snapshots = len(self.snapshots)
        snapshot = self._draw.choice(self.snapshots)
        restorer = self.cluster.durability.restorer
        await self.cluster.ask(restorer.start(self._table(), RESTORED, RestoreTarget(at_us=snapshot.at_us)), seconds=120.0)
        deadline = self.world.now + 120 * SECOND
        while (report := restorer.status(RESTORED)) is not None and report["state"] == "running":
            if self.world.now > deadline:
                raise WholeViolation(f"the restore did not end: {report}")
            await self.env.tasks.sleep(0.1)
        if self.cluster.absent and report is not None and report["state"] == "failed" and report["error"]["message"] == "this copy is down":
            self._count("restores that a node staying out held up")  # every copy loads its base, or the restore says whose does not
            return
        if report is None or report["state"] != "published":
            raise WholeViolation(f"the restore failed: {report}")
        restored = self.cluster.store.table(RESTORED)
        assert restored is not None
        found = await self.clients.scan(restored)
        if isinstance(found, str):
            raise WholeViolation(f"the restored table: {found}")
        self.result.restored_rows = len(found)
        findings = compare(snapshot.values, found)
        if findings:
            raise WholeViolation(f"restored to {snapshot.at_us}: {findings[0]} ({len(findings)} in all)")
        await self._indexes_hold(RESTORED)
