"""Health of a server: gathers what the parts know of themselves, keeps since when something has been wrong, says so in one log line at once, and
answers `scrubjay status`, `/healthz` and the metrics from the same facts. Asks nobody over the network: every answer is from what is known here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from msgspec import UnsetType

from scrubjay.archiver.read.archive_status import window_of_table
from scrubjay.archiver.read.index import ArchiveIndex
from scrubjay.archiver.write.agent import ArchiveAgent
from scrubjay.archiver.write.writer import Writer
from scrubjay.base.env import Env, Task
from scrubjay.base.errors import ScrubjayError
from scrubjay.base.ids import NodeName, PartitionId, TableId
from scrubjay.base.steady import Changes
from scrubjay.base.times import utc_text_or_none
from scrubjay.base.wrap.metered import MeteredStore
from scrubjay.scrubber.ledger import WHOLE
from scrubjay.scrubber.schedule.scheduler import Scheduler
from scrubjay.scrubber.sqlite_ledger import SqliteLedger
from scrubjay.server.control import Control
from scrubjay.server.cut_histories import cuts_of
from scrubjay.server.duty import Duty
from scrubjay.server.nightly import skipped_us
from scrubjay.server.node import RESERVATION_US
from scrubjay.server.pairing import PairKeeper
from scrubjay.server.ports import Report
from scrubjay.server.problems import (
    RULES,
    Allowed,
    ArchiveHealth,
    CopyHealth,
    CutHealth,
    DrillHealth,
    FoundProblem,
    HalfHealth,
    HealthFacts,
    IndexHealth,
    LinkHealth,
    NodeHealth,
    PartitionHealth,
    PendingHealth,
    SplitHealth,
    TableHealth,
    TtlHealth,
    VersionHealth,
    durable,
    exit_of,
    health_of,
    problems,
    serving,
)
from scrubjay.server.process_talk import IndexLate, LinkDown, NodeTold, NodeToldLate
from scrubjay.server.raising import below_of, processes
from scrubjay.server.remembered import Remembered
from scrubjay.server.ttl.walker import TtlWalker
from scrubjay.server.windows import archived_table
from scrubjay.storage.catalogue import METADATA_TABLE, TableMeta, index_tables
from scrubjay.storage.control.fleet import copy_of
from scrubjay.storage.control.indexing.feeds import IndexFeeds
from scrubjay.storage.node.port import NodeStatus, ReplicaFacts, error_of

LOOK_S = 1.0
"""Between two looks at everything; a problem is known this soon."""
FRESH_US = 200_000
"""Whoever asks meanwhile gets the last look if it is younger than this."""
LEDGER_S = 10.0
"""Between two looks into the ledger."""
Named = TypeVar("Named", PartitionHealth, FoundProblem)
INDEX_LATE_US = 60_000_000
"""A global index that lacks what was changed so long ago is a problem."""
MAKING_US = 60_000_000
"""A table that is being made for longer has a problem."""
GONE = ("ArchiveGone", "BucketMissing")


class HealthOptions(NamedTuple):
    """url: of the archive. version: of this program. zones: by node. Sizes in bytes: WAL file and limit."""

    url: str
    version: str
    zones: Mapping[NodeName, str]
    wal_file: int
    wal_limit: int
    lag_alarm_us: int


class Problem(NamedTuple):
    found: FoundProblem
    since_us: int

    def as_json(self) -> dict[str, Any]:
        return {
            "kind": self.found.kind,
            "what": self.found.what,
            "since": utc_text_or_none(self.since_us),
            "runbook": f"runbooks/{RULES[self.found.kind].runbook}",
        }


class View(NamedTuple):
    """One look. problems: what has lasted beyond its grace."""

    at_us: int
    facts: HealthFacts
    serves: bool
    durable: bool
    problems: tuple[Problem, ...]

    @property
    def health(self) -> str:
        return health_of([problem.found for problem in self.problems], serves=self.serves)


class Heard:
    """The last word of each node and copy about its state; the parts tell it as it happens."""

    def __init__(self) -> None:
        self._why: dict[tuple[str, str | None], str] = {}

    def told(self, node: NodeName, partition: PartitionId | None, state: str, reason: str) -> None:
        """state `ok`: nothing to explain any more."""
        if state == "ok":
            self._why.pop((node, partition), None)
        else:
            self._why[node, partition] = reason

    def why(self, node: str, partition: str | None) -> str:
        return self._why.get((node, partition), "")


class DrillWatch(Protocol):
    """What health asks of the drills, which lie one room up."""

    @property
    def public_key(self) -> str | None: ...
    def worse(self) -> Sequence[DrillHealth]: ...
    def key_trouble(self) -> str | None: ...


class Health:
    """`start()` once everything is wired. log(problem, over): called once when a problem begins and once when it is over (`base.steady`).

    More than 15 fields: everything that is looked at is wired here, once.
    """

    def __init__(
        self,
        env: Env,
        *,
        control: Control,
        heard: Heard,
        agents: Sequence[ArchiveAgent],
        writer: Writer,
        meter: MeteredStore,
        index: ArchiveIndex,
        ledger: SqliteLedger,
        free: Callable[[NodeName], int | None],
        options: HealthOptions,
        log: Callable[[Problem, bool], None],
        schedule: Scheduler | None = None,
        duty: Duty | None = None,
        owed: Callable[[], Mapping[str, str]] = dict,
        drills: DrillWatch | None = None,
        fleet: Callable[[], str | None] = lambda: None,
        locks: Callable[[], str | None] = lambda: None,
        pair: PairKeeper | None = None,
        ttl: TtlWalker | None = None,
        told: Callable[[NodeName], NodeTold | None] = lambda _: None,
    ) -> None:
        """told: of nodes in other processes, how their machines are. ttl: walks over tables with a time to live, None: nobody does here. pair: keeps two archives, None: there is one. owed: partitions whose first base is not in the archive yet, each with the reason, "" without one (`pitr.first_base`)."""
        self._owed = owed
        self._schedule, self._drills, self._fleet, self._locks, self._duty = schedule, drills, fleet, locks, duty
        self._told = told
        self._pair, self._ttl = pair, ttl
        self._env, self._control, self._heard, self._agents, self._writer, self._meter = env, control, heard, agents, writer, meter
        self._index, self._ledger, self._free, self._options = index, ledger, free, options
        self._since: dict[tuple[str, str], int] = {}
        self._changes: Changes[tuple[str, str], Problem] = Changes(env.clock, log)
        self._remembered = Remembered(env, ledger)
        self._began_us = env.clock.boot_us()
        self._view: View | None = None
        self._status: dict[NodeName, NodeStatus] = {}
        self._view_boot_us = 0
        self._loops: Sequence[Task[None]] = ()

    def start(self) -> None:
        """Two loops: a disk on which the ledger hangs must not keep anybody from being told of it."""
        self._loops = [self._env.tasks.keep(self._remember, name="what was proven"), self._env.tasks.keep(self._watch, name="health")]

    def stop(self) -> None:
        for loop in self._loops:
            loop.cancel()

    async def _watch(self) -> None:
        while True:
            self.look()
            await self._env.tasks.sleep(LOOK_S)

    async def _remember(self) -> None:
        while True:
            await self._remembered.look()
            await self._env.tasks.sleep(LEDGER_S)

    # ------------------------------------------------------------------ looking

    def view(self) -> View:
        """The last look, or a new one if that is too old."""
        if self._view is None or self._env.clock.boot_us() - self._view_boot_us > FRESH_US:
            return self.look()
        return self._view

    def look(self) -> View:
        now_us = self._env.clock.wall_us()
        facts = self._facts(now_us)
        found = {(one.kind, one.subject): one for one in problems(facts)}
        began = {place: since for place, since in self._since.items() if place in found or place in self._changes}
        self._since = began | {place: found[place].since_us or now_us for place in found if place not in began}
        shown = {
            place: Problem(one, self._since[place])
            for place, one in found.items()
            if place in self._changes or now_us - self._since[place] >= RULES[one.kind].grace_s * 1e6
        }
        self._changes.look(shown)
        serves = serving(facts)
        self._view = View(now_us, facts, serves, serves and durable(facts, now_us=now_us), tuple(shown.values()))
        self._view_boot_us = self._env.clock.boot_us()
        return self._view

    def _facts(self, now_us: int) -> HealthFacts:
        tables = [table for table in self._control.service.tables() if not restoring(table)]
        self._status = {name: node.status() for name, node in self._control.ports.items()}
        copies = {(facts.node, facts.partition): facts for facts in self._control.fleet.all_facts()}
        owed = self._owed()
        members = self._control.members()
        return HealthFacts(
            [self._node(self._status[name]) for name in members],
            [part for table in tables if in_use(table, now_us) for part in self._partitions(table, copies, now_us)],
            [self._table(table, now_us, owed) for table in tables],
            self._archive(now_us),
            self._options.lag_alarm_us / 1e6,
            allowed(self._schedule) if self._schedule is not None and self._remembered.known else None,
            self._remembered.trouble,
            () if self._drills is None else self._drills.worse(),
            None if self._drills is None else self._drills.key_trouble(),
            self._env.tasks.fallen(),
            (self._env.clock.boot_us() - self._began_us) / 1e6,
            None if self._schedule is None else stopped(self._schedule, "expire"),
            self._fleet(),
            self._locks(),
            None if self._schedule is None else stopped(self._schedule, "compact"),
            () if self._pair is None else pair_health(self._pair, now_us),
            () if self._ttl is None else ttl_health(self._ttl),
            [
                LinkHealth(name, *link)
                for name, told in self._machines()
                for link in lost_peers(told)
                if name in members and link[0] in members
            ],
            self._indexes(),
            self._pending(copies.values()),
            self._splits(tables, now_us),
            self._version(),
            self._cuts(),
        )

    def _version(self) -> VersionHealth | None:
        """Where every process can the same, and nobody holds it, it is raised in a moment."""
        note = self._control.metadata.version
        told = processes(self._control)
        newest = max((one.can for one in told if one.can is not None), default=0)
        differ = tuple(below_of(told, newest))
        held_us = note.held_at if note.held else None
        return VersionHealth(note.number, differ, held_us) if newest > note.number and (differ or note.held) else None

    def _cuts(self) -> list[CutHealth]:
        """What was recovered of a lost quorum, and no scrub has matched since. What is gone meanwhile is nobody's problem."""
        metadata = self._control.metadata
        cuts = cuts_of(metadata.jobs)
        tables = (self._control.system, *metadata.tables.values()) if cuts else ()
        there = [(table.name, info.partition_id) for table in tables if table.status != "DROPPED" for info in table.partitions]
        found = [(name, *cuts[partition]) for name, partition in there if partition in cuts]
        return [
            CutHealth(name, cut.partition, cut.last, cut.archived, note.survivor, note.at_us)
            for name, note, cut in found
            if cut.over_us is None
        ]

    def _splits(self, tables: Iterable[TableMeta], now_us: int) -> list[SplitHealth]:
        carried = self._control.splits
        waiting = {} if carried is None else carried.waiting
        return [
            SplitHealth(one.name, one.split.parent, (now_us - one.split.began_at) / 1e6, waiting.get(one.table_id, ""))
            for table in tables
            if table.status != "DROPPED"
            for one in (table, *index_tables(table))
            if not isinstance(one.split, UnsetType)
        ]

    def _pending(self, copies: Iterable[ReplicaFacts]) -> list[PendingHealth]:
        """Of each partition the oldest. Why is known here of those that this process ends."""
        names = {table.table_id: table.name for table in self._control.metadata.tables.values()}
        resolver = self._control.resolver
        why = {} if resolver is None else resolver.failing
        return [
            PendingHealth(names.get(one.table, one.table), one.partition, one.stalled[0][0].hex(), why.get(one.partition, ""))
            for one in copies
            if one.leads and one.stalled
        ]

    def _indexes(self) -> list[IndexHealth]:
        """Those that are late, here or as other processes tell; by the one that is latest of each."""
        found: dict[tuple[str, str], IndexHealth] = {}
        for late in [
            *late_indexes(self._control.feeds),
            *(one for _, told in self._machines() if isinstance(told, NodeToldLate) for one in told.indexes),
        ]:
            place = late.table_id, late.index
            if place not in found or found[place].lag_s < late.lag_s:
                found[place] = IndexHealth(late.table, late.table_id, late.index, late.lag_s, late.why)
        return [one for _, one in sorted(found.items())]

    def _node(self, status: NodeStatus) -> NodeHealth:
        return NodeHealth(
            status.name,
            status.started,
            None if status.failed is None else str(error_of(status.failed)),
            status.full,
            self._heard.why(status.name, None),
            status.wal_used,
            self._options.wal_limit,
            self._options.wal_file,
            self._free(status.name),
            0.0 if status.failed is not None else self._ahead_s(status),
        )

    def _ahead_s(self, status: NodeStatus) -> float:
        ahead_us = status.reserved_us - self._env.clock.wall_us()
        return ahead_us / 1e6 if ahead_us > RESERVATION_US + status.offset_us else 0.0

    def _partitions(
        self, table: TableMeta, known: Mapping[tuple[NodeName, PartitionId], ReplicaFacts], now_us: int
    ) -> list[PartitionHealth]:
        found = []
        for info in table.partitions:
            if self._control.fleet.awaited(table, info.partition_id, now_us):
                continue
            members = self._control.fleet.counted(info)
            copies = [copy_of(node, known.get((node.name, info.partition_id))) for node, _ in members]
            leader = next(
                (name for name in self._status if (one := known.get((name, info.partition_id))) is not None and one.answers), None
            )
            takers = sum(copy.state != "down" and not self._status[copy.node].full for copy in copies)
            found.append(
                PartitionHealth(
                    table.name,
                    info.partition_id,
                    leader is not None,
                    leader is not None and not self._status[leader].full,
                    takers,
                    tuple(CopyHealth(copy.node, copy.state, self._heard.why(copy.node, info.partition_id)) for copy in copies),
                )
            )
        return found

    def _table(self, table: TableMeta, now_us: int, owed: Mapping[str, str]) -> TableHealth:
        ids = tuple(info.partition_id for info in table.partitions)
        stored = archived_table(table)
        window = window_of_table(self._index, stored)
        archived = [one for one in (self._index.partitions.get((table.table_id, at)) for at in stored.partitions) if one is not None]
        proofs = [self._remembered.proofs[info.partition_id] for info in table.partitions if info.partition_id in self._remembered.proofs]
        verdicts = [proof.verdict for proof in proofs]
        verdict = next((word for word in ("mismatch", "unverified", "match") if word in verdicts), None)
        checks = [self._remembered.checks[partition] for partition in ids if partition in self._remembered.checks]
        findings = [finding for at in stored.partitions for finding in self._control.service.findings(PartitionId(at))]
        bad = (self._index.found_of(table.table_id, at) for at in stored.partitions)
        suspects = [f"{one.kind} in the archive: {name}" for some in bad for name, one in some.items()]
        # Of a partition that was split the archive is still what moments before are restored from.
        wrong = any(at in self._remembered.checks and self._remembered.checks[at][1] == "mismatch" for at in stored.partitions)
        verified_us = min(at_us for at_us, _ in checks) if checks and len(checks) == len(ids) else None
        began_us = table.created_at if self._schedule is None else max(table.created_at, self._schedule.views.since_us)
        matched = [self._remembered.matched[partition] for partition in ids if partition in self._remembered.matched]
        proven_us = min(matched) if len(matched) == len(ids) else began_us
        return TableHealth(
            table.name,
            table.table_id,
            (now_us - table.created_at) / 1e6,
            window.latest_us,
            None if window.latest_us is None else max(0.0, (now_us - window.latest_us) / 1e6),
            tuple(f"partition {hole.partition}, lsn {hole.first_lsn} to {hole.last_lsn}" for hole in window.holes if hole.no_key is None),
            tuple(f"partition {fork.partition} from lsn {fork.first_lsn} on" for one in archived for fork in one.summary().forks),
            (*(f"{finding.kind} on {finding.copy}" for finding in findings), *suspects),
            verdict,
            _dropped(table),
            verified_us,
            "mismatch" if wrong else "match" if any(word == "match" for _, word in checks) else None,
            max(0, now_us - proven_us) / 1e6,
            max(0, now_us - (began_us if verified_us is None else verified_us)) / 1e6,
            tuple(f"partition {partition}{f', {owed[partition]}' if owed[partition] else ''}" for partition in ids if partition in owed),
            tuple(
                f"{detail}: {count} objects"
                for detail, count in sorted(Counter(one.detail for part in archived for one in part.unread()).items())
            ),
        )

    def _archive(self, now_us: int) -> ArchiveHealth:
        state = self._meter.state()
        stopped, why = self._writer.state, self._why_stopped()
        gone = state.code in GONE or stopped == "archive_gone"
        states = [agent.state() for agent in self._agents]
        failing = tuple((state.node, state.trouble.error) for state in states if state.trouble is not None)
        failing += tuple((str(name), told.agent) for name, told in self._machines() if told.agent)
        return ArchiveHealth(
            self._options.url,
            state.reachable or gone,
            False if gone else None if stopped == "unknown_epoch" else True,
            stopped,
            why,
            state.last_error,
            state.since_us,
            state.requests_per_minute,
            failing,
            tuple(f"{one.kind}: {name}" for name, one in self._index.found_elsewhere().items()),
            self._remembered.checks.get(WHOLE, (0, None))[1],
            0.0 if self._schedule is None else max(0, now_us - max(self._remembered.read_us, self._schedule.views.since_us)) / 1e6,
        )

    def _machines(self) -> list[tuple[NodeName, NodeTold]]:
        return [(name, told) for name in self._control.ports if (told := self._told(name)) is not None]

    def _why_stopped(self) -> str:
        """In words, "" if it may write."""
        try:
            _ = self._writer.attached
        except ScrubjayError as error:
            return error.message
        return ""

    # ------------------------------------------------------------------ telling

    async def status(self) -> Report:
        """`scrubjay status`."""
        await self._remembered.look()
        view = self.look()
        found = [problem.found for problem in view.problems]
        archive = view.facts.archive
        parts, mine = _by_table(view.facts.partitions), _by_table(found)
        since = min((problem.since_us for problem in view.problems if problem.found.kind.startswith("archive-")), default=archive.since_us)
        return {
            "exit": exit_of(found, serves=view.serves),
            "error": None,
            "health": view.health,
            "nodes": [self._node_json(facts, view) for facts in view.facts.nodes],
            "tables": [
                self._table_json(facts, parts.get(facts.name, []), mine.get(facts.name, []))
                for facts in view.facts.tables
                if facts.name != METADATA_TABLE and not facts.dropped
            ],
            "archive": {
                "url": archive.url,
                "reachable": archive.reachable,
                "present": archive.present,
                "fenced": archive.stopped == "fenced",
                "last_error": archive.last_error or archive.why or None,
                "since": utc_text_or_none(since),
                "requests_per_minute": archive.requests_per_minute,
                "archives": [] if self._pair is None else [half_json(one) for one in view.facts.pair],
            },
            "ledger": self._ledger_json(),
            "problems": [problem.as_json() for problem in view.problems],
            "paused": [] if self._schedule is None else self._schedule.views.paused(),
            "durability": None if self._duty is None else self._duty.state,
            "drills": None if self._drills is None else {"public_key": self._drills.public_key},
        }

    def _large_json(self, table: str) -> list[dict[str, Any]]:
        """Partitions that are too large and not split yet, its indexes' too, as whoever works for the cluster sees it."""
        by_size, known = self._control.by_size, self._control.metadata.tables.get(TableId(table))
        if by_size is None or known is None:
            return []
        return [
            {
                "partition": large.partition,
                "bytes": large.size,
                "waits": large.why or None,
                "index": one.index_of.index if one.index_of else None,
            }
            for one in (known, *index_tables(known))
            for large in by_size.large.get(one.table_id, [])
        ]

    def _ledger_json(self) -> dict[str, Any]:
        rebuilt = self._ledger.rebuilt
        return {
            "kept": self._remembered.trouble is None,
            "rebuilt": None if rebuilt is None else utc_text_or_none(rebuilt.at_us),
            "proofs": None if rebuilt is None else rebuilt.proofs,
            "objects": None if rebuilt is None else rebuilt.objects,
            "missed": None if rebuilt is None else rebuilt.missed,
            "runs": None if rebuilt is None else rebuilt.runs,
        }

    def _node_json(self, facts: NodeHealth, view: View) -> dict[str, Any]:
        status = self._status[NodeName(facts.name)]
        state = "ok" if facts.started else "starting"
        state = "failed" if facts.failed is not None else "full" if facts.full else state
        return {
            "node": facts.name,
            "zone": self._options.zones.get(NodeName(facts.name)),
            "state": state,
            "leaders": status.leaders if facts.failed is None else 0,
            "replicas": status.replicas,
            "wal_bytes": facts.used,
            "wal_limit_bytes": facts.limit,
            "full": facts.full,
            "failed": facts.failed,
            "fenced": view.facts.archive.stopped == "fenced",
            "disk_free_bytes": facts.free,
            "version": self._options.version,
        }

    def _table_json(self, facts: TableHealth, parts: Sequence[PartitionHealth], mine: Sequence[FoundProblem]) -> dict[str, Any]:
        proofs = [self._remembered.proofs[part.partition] for part in parts if part.partition in self._remembered.proofs]
        return {
            "table": facts.name,
            "table_id": facts.table_id,
            "health": health_of(mine, serves=all(part.serves for part in parts)),
            "latest": utc_text_or_none(facts.latest_us),
            "lag_seconds": None if facts.lag_s is None else round(facts.lag_s, 3),
            "last_scrub": utc_text_or_none(min((proof.at_us for proof in proofs), default=None)),
            "last_verdict": facts.verdict,
            "last_verify": utc_text_or_none(facts.verified_us),
            "oldest_unproven_seconds": round(facts.unproven_s, 3),
            "large": self._large_json(facts.table_id),
        }


def ttl_health(walker: TtlWalker) -> list[TtlHealth]:
    """Of the tables whose items stay too long."""
    return [TtlHealth(one.table.name, one.table.table_id, one.behind_us / 1e6, one.why) for one in walker.views() if one.late]


def late_indexes(feeds: IndexFeeds | None) -> tuple[IndexLate, ...]:
    """Of the global indexes that this process feeds those that are late. feeds None: it feeds none."""
    states = [] if feeds is None else feeds.states()
    return tuple(
        [
            IndexLate(one.table.name, one.table.table_id, one.named, one.lag_us / 1e6, one.why)
            for one in states
            if one.lag_us > INDEX_LATE_US
        ]
    )


def pair_health(keeper: PairKeeper, now_us: int) -> tuple[HalfHealth, ...]:
    differ = Counter(archive for archive, _ in keeper.outstanding)
    return tuple(
        HalfHealth(
            one.url,
            one.decides,
            one.error,
            one.since_us,
            one.lacking,
            one.compared,
            max(0, now_us - one.behind_since_us) / 1e6 if one.behind_since_us is not None else 0.0,
            differ[one.url],
        )
        for one in keeper.states()
    )


def lost_peers(told: NodeTold) -> list[tuple[str, float, str]]:
    """(peer, for how long, why) of those that a node does not reach, by the channel that was lost first."""
    longest: dict[str, LinkDown] = {}
    for link in told.links:
        if link.peer not in longest or link.down_s > longest[link.peer].down_s:
            longest[link.peer] = link
    return [(peer, link.down_s, link.error) for peer, link in sorted(longest.items())]


def half_json(one: HalfHealth) -> dict[str, Any]:
    return {
        "url": one.url,
        "decides": one.decides,
        "reachable": one.error is None,
        "last_error": one.error,
        "since": utc_text_or_none(one.since_us),
        "lacking": one.lacking,
        "compared": one.compared,
        "differ": one.differ,
    }


def allowed(schedule: Scheduler) -> Allowed:
    """What the schedule's settings allow: a nightly verify leaves out what is fresh, so that all is read in time only if it comes soon enough again."""
    verify = schedule.views.settings("verify")
    return Allowed(schedule.views.settings("scrub").within_us / 1e6, (verify.within_us - skipped_us(verify)) / 1e6)


def stopped(schedule: Scheduler, job: str) -> str | None:
    """Why the last run of `expire` or `compact` by the schedule did less than it should; None: it did not."""
    last = schedule.views.ended(job)
    return (last.why or last.verdict) if last is not None and last.verdict in ("refused", "failed", "mismatch") else None


def _by_table(found: Iterable[Named]) -> dict[str | None, list[Named]]:
    """By the table's name."""
    sorted_: dict[str | None, list[Named]] = {}
    for one in found:
        sorted_.setdefault(one.table, []).append(one)
    return sorted_


def _dropped(table: TableMeta) -> bool:
    """Nobody reads or writes it any more; its history still counts."""
    return table.status in ("DROPPED", "DELETING")


def in_use(table: TableMeta, now_us: int) -> bool:
    """It is read and written, or should be by now: while a table is being made, every request for it has its answer."""
    return not _dropped(table) and (table.status != "CREATING" or now_us - table.created_at > MAKING_US)


def restoring(table: TableMeta) -> bool:
    """Nobody can see it yet."""
    return table.restore_of is not None and table.restore_of.in_progress
