"""What is wrong, by name: pure rules from facts to problems, each with the page that says what to do (INTERFACE section 3, `status`).

Not covered: anything that only a scrub or a verify can find; their results are among the facts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf
from typing import NamedTuple

from scrubjay.base.env import FallenLoop
from scrubjay.storage.control.placement import COPIES

OK, DEGRADED, DOWN = "ok", "degraded", "down"
WAL_NEAR_SHARE = 0.75
"""A log that holds this share of what it may hold is a problem, before it refuses writes."""
UNREAD_S = 35 * 86_400.0
"""Everything that lies in the archive is read again within this, the longest window there is."""
LINK_DOWN_S = 10.0
"""A node that does not reach another for so long has a problem, though both run."""
SPLIT_LATE_S = 1_800.0
"""A partition that was to be split so long ago has a problem; to make the trees of a large one takes minutes."""
DISK_LOW_FILES = 4
"""A disk with less room than this many WAL files is a problem."""


class Rule(NamedTuple):
    """runbook: a page below runbooks/. found: it says that data is rotten, lost or forked (exit 2). grace_s: how long it must last to be shown: what heals
    itself in the ordinary course of things is none."""

    runbook: str
    found: bool = False
    grace_s: float = 0.0


RULES: dict[str, Rule] = {
    "no-leader": Rule("node-out-of-service.md", grace_s=3.0),
    "node-failed": Rule("node-out-of-service.md"),
    "node-not-started": Rule("node-out-of-service.md", grace_s=5.0),
    "node-full": Rule("disk-full.md"),
    "disk-low": Rule("disk-full.md"),
    "wal-near-limit": Rule("archive-lags-or-store-down.md"),
    "link-down": Rule("node-out-of-service.md"),
    "clock-ahead": Rule("clock-ahead.md", grace_s=1.0),
    "copy-suspect": Rule("scrub-mismatch.md"),
    "copy-amnesiac": Rule("node-out-of-service.md"),
    "copy-healing": Rule("node-out-of-service.md"),
    "copy-behind": Rule("node-out-of-service.md", grace_s=3.0),
    "copy-down": Rule("node-out-of-service.md", grace_s=15.0),
    "copies-few": Rule("node-out-of-service.md", grace_s=5.0),
    "archive-unreachable": Rule("archive-lags-or-store-down.md", grace_s=3.0),
    "archive-gone": Rule("archive-gone.md", found=True),
    "archive-fenced": Rule("archive-fenced.md"),
    "archive-diverged": Rule("archive-fenced.md", found=True),
    "archive-unclaimed": Rule("archive-lags-or-store-down.md", grace_s=15.0),
    "archive-agent": Rule("archive-lags-or-store-down.md", grace_s=30.0),
    "one-archive-away": Rule("two-archives.md", grace_s=5.0),
    "one-archive-behind": Rule("two-archives.md"),
    "archives-differ": Rule("two-archives.md", found=True),
    "archive-lags": Rule("archive-lags-or-store-down.md"),
    "archive-hole": Rule("archive-gone.md", found=True),
    "archive-no-key": Rule("key-lost.md"),
    "archive-fork": Rule("archive-fenced.md", found=True),
    "first-base-owed": Rule("lose-everything.md", grace_s=30.0),
    "finding": Rule("scrub-mismatch.md", found=True),
    "scrub-mismatch": Rule("scrub-mismatch.md", found=True),
    "verify-mismatch": Rule("scrub-mismatch.md", found=True),
    "scrub-overdue": Rule("unproven.md"),
    "verify-overdue": Rule("unproven.md"),
    "archive-unread": Rule("unproven.md"),
    "ledger-unkept": Rule("unproven.md"),
    "retention-stopped": Rule("retention-stopped.md"),
    "locks-not-extended": Rule("retention-stopped.md"),
    "packing-stopped": Rule("retention-stopped.md"),
    "drill-mismatch": Rule("drill-failed.md", found=True),
    "drill-failed": Rule("drill-failed.md"),
    "drill-key": Rule("drill-failed.md"),
    "loop-fallen": Rule("loop-fallen.md"),
    "fleet-away": Rule("unproven.md", grace_s=30.0),
    "ttl-late": Rule("retention-stopped.md"),
    "index-late": Rule("node-out-of-service.md"),
    "transaction-pending": Rule("node-out-of-service.md", grace_s=10.0),
    "split-waits": Rule("node-out-of-service.md"),
    "releases-differ": Rule("upgrade.md", grace_s=86_400.0),
    "version-held": Rule("upgrade.md", grace_s=86_400.0),
    "quorum-recovered": Rule("lost-quorum.md"),
}
"""Every kind of problem. Kinds are never renamed: alarms name them."""


class NodeHealth(NamedTuple):
    """why: the reason given with its last change of state. used, limit, file: bytes of its WAL. free: of its disk, None: not known. failed: why, or None.
    ahead_s: how far its time stamps run ahead of this machine's clock, beyond what is ordinary; 0 if they do not."""

    name: str
    started: bool
    failed: str | None
    full: bool
    why: str
    used: int
    limit: int
    file: int
    free: int | None
    ahead_s: float = 0.0


class CopyHealth(NamedTuple):
    """state: as storage.service_port.Copy has it. why: the reason given with its last change of state."""

    node: str
    state: str
    why: str


class PartitionHealth(NamedTuple):
    """table: its name. led: a leader serves. roomy: that leader's node takes writes. takers: members whose node runs and has room."""

    table: str
    partition: str
    led: bool
    roomy: bool
    takers: int
    copies: tuple[CopyHealth, ...]

    @property
    def serves(self) -> bool:
        """Reads and writes would be served."""
        return self.led and self.roomy and self.takers * 2 > len(self.copies)


class ArchiveHealth(NamedTuple):
    """present: our own objects are there, None: not looked yet. stopped: why nothing is written, "" if it may be: fenced | diverged | unknown_epoch |
    archive_gone; why: in words. last_error, since_us: of the store, None while there is none. agents: (node, error) of those that cannot go on."""

    url: str
    reachable: bool
    present: bool | None
    stopped: str
    why: str
    last_error: str | None
    since_us: int | None
    requests_per_minute: int
    agents: tuple[tuple[str, str], ...]
    findings: tuple[str, ...] = ()
    """Objects of no table that were found bad or gone, until they are sound again."""
    verify: str | None = None
    """What stands of the last verifies outside of any table; None without one."""
    unread_s: float = 0.0
    """For how long not everything that lies there was read."""


class HalfHealth(NamedTuple):
    """One of two archives. decides: creates are its answers. error, since_us (wall clock): None while it answers. lacking: objects that it may not have; compared: and
    no others. behind_s: for how long it has not had everything. differ: objects that differ from the other one's and were not mended."""

    url: str
    decides: bool
    error: str | None
    since_us: int | None
    lacking: int
    compared: bool
    behind_s: float
    differ: int


class TableHealth(NamedTuple):
    """A table of users, or the metadata group. age_s: since it was created. lag_s: None while no window is proven. holes, forks: places, for people.
    findings: kept since the last scrub that reported some. verdict: of its last scrub, None without one. dropped: only its history counts.
    verified_us, verify: when each of its partitions had been verified at least once since, and what stands of that; None without one. unproven_s: for how long not
    every partition of it was proven equal to its archive; unverified_s: nor every one verified. owed: first bases of a recovered table that its archive does not hold
    yet, with the reason; unread: of its objects those that no key at hand opens, by key; for people."""

    name: str
    table_id: str
    age_s: float
    latest_us: int | None
    lag_s: float | None
    holes: tuple[str, ...]
    forks: tuple[str, ...]
    findings: tuple[str, ...]
    verdict: str | None
    dropped: bool = False
    verified_us: int | None = None
    verify: str | None = None
    unproven_s: float = 0.0
    unverified_s: float = 0.0
    owed: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()


class TtlHealth(NamedTuple):
    """A table whose items stay longer than their time to live says. behind_s: for so long, at most. why: what keeps them, "" nothing known."""

    name: str
    table_id: str
    behind_s: float
    why: str


class Allowed(NamedTuple):
    """How old a proof may be by the schedule, in seconds: since the last scrub that matched, and since the last verify."""

    scrub_s: float
    verify_s: float


class DrillHealth(NamedTuple):
    """The last drill of a scenario did not come to what it should. found: content was not as it must be, or planted damage went unseen."""

    scenario: str
    what: str
    found: bool


class IndexHealth(NamedTuple):
    """A global index that lacks what was changed so long ago. why: what keeps it, "" nothing known."""

    table: str
    table_id: str
    named: str
    lag_s: float
    why: str


class PendingHealth(NamedTuple):
    """A transaction that stays pending in a partition. id: hex. why: what keeps it from being ended, "" nothing known."""

    table: str
    partition: str
    id: str
    why: str


class SplitHealth(NamedTuple):
    """A partition that is to be split, and is not yet. why: what it waits for, "" nothing known."""

    table: str
    partition: str
    waits_s: float
    why: str


class VersionHealth(NamedTuple):
    """The cluster's version, where it is below what some process can. differ: what each process that can less, or is away, keeps it from. held_us: since when somebody holds it (wall clock), None: nobody does."""

    number: int
    differ: tuple[str, ...]
    held_us: int | None


class CutHealth(NamedTuple):
    """A partition whose quorum was lost: its history was cut, and no scrub has matched since. last: up to which LSN it was kept. archived: up to where the archive had it. survivor: from whose log it went on."""

    table: str
    partition: str
    last: int
    archived: int
    survivor: str
    at_us: int


class LinkHealth(NamedTuple):
    """A node does not reach a peer of its cluster. error: as it says, "": it does not know."""

    node: str
    peer: str
    down_s: float
    error: str


class HealthFacts(NamedTuple):
    """allowed None: there is no schedule, or nobody knows yet what was proven. ledger: why nothing is remembered beyond this process, None: it is. drills: scenarios whose last run is a problem; drill_key: what is wrong with the key of their reports, None: nothing. loops: that fell over a bug. retention: why what
    has outlived its window stays, None: it goes. packing: why small segments are not packed, None: they are. ttl: tables whose items stay too long. indexes: global ones that are late. pending: of each partition the oldest transaction that stays pending. splits: partitions that are to be split. cuts: partitions whose lost quorum was recovered. version: None: nothing keeps the cluster's version. fleet: why its workers cannot be used, None: they can, or there is none. locks: why what must stay could not be locked for longer, None: it was.
    up_s: since this process began to look. What it has not looked at long enough is not called late: at a start nothing of the archive is known yet."""

    nodes: Sequence[NodeHealth]
    partitions: Sequence[PartitionHealth]
    tables: Sequence[TableHealth]
    archive: ArchiveHealth
    lag_alarm_s: float
    allowed: Allowed | None = None
    ledger: str | None = None
    drills: Sequence[DrillHealth] = ()
    drill_key: str | None = None
    loops: Sequence[FallenLoop] = ()
    up_s: float = inf
    retention: str | None = None
    fleet: str | None = None
    locks: str | None = None
    packing: str | None = None
    pair: Sequence[HalfHealth] = ()
    ttl: Sequence[TtlHealth] = ()
    links: Sequence[LinkHealth] = ()
    indexes: Sequence[IndexHealth] = ()
    pending: Sequence[PendingHealth] = ()
    splits: Sequence[SplitHealth] = ()
    version: VersionHealth | None = None
    cuts: Sequence[CutHealth] = ()


class FoundProblem(NamedTuple):
    """A problem as the rules find it. subject: of which thing; with the kind it says that it is the same problem as before. since_us: if the facts know."""

    kind: str
    subject: str
    what: str
    table: str | None = None
    since_us: int | None = None


def problems(facts: HealthFacts) -> Iterator[FoundProblem]:
    """All that is wrong, what stops tables first."""
    out = {node.name for node in facts.nodes if node.failed is not None or not node.started}
    for part in facts.partitions:
        yield from _partition(part, out)
    for node in facts.nodes:
        yield from _node(node)
    for link in facts.links:
        if link.down_s >= LINK_DOWN_S and not {link.node, link.peer} & out:
            why = f": {link.error}" if link.error else ""
            told = f"node {link.node} has not reached {link.peer} for {_seconds(link.down_s)}{why}"
            yield FoundProblem("link-down", f"{link.node} {link.peer}", told)
    for table in facts.tables:
        yield from _table(table)
        if facts.allowed is not None and not table.dropped:
            yield from _overdue(table, facts.allowed)
    yield from _archive(facts)
    yield from _pair(facts)
    for drill in facts.drills:
        yield FoundProblem("drill-mismatch" if drill.found else "drill-failed", drill.scenario, drill.what)
    if facts.drill_key is not None:
        yield FoundProblem("drill-key", "key", facts.drill_key)
    if facts.ledger is not None:
        yield FoundProblem("ledger-unkept", "ledger", f"what is verified is remembered only until this process ends: {facts.ledger}")
    if facts.retention is not None:
        yield FoundProblem("retention-stopped", "expire", f"what has outlived its retention stays in the archive: {facts.retention}")
    if facts.locks is not None:
        yield FoundProblem("locks-not-extended", "locks", f"the store's locks end before what they keep may go: {facts.locks}")
    if facts.packing is not None:
        yield FoundProblem("packing-stopped", "compact", f"small segments stay as they are in the archive: {facts.packing}")
    if facts.fleet is not None:
        yield FoundProblem("fleet-away", "fleet", f"scrubs, verifies and restores have no workers: {facts.fleet}")
    for late in facts.ttl:
        told = f"items whose time to live is over may have stayed for {_seconds(late.behind_s)}{f': {late.why}' if late.why else ''}"
        yield FoundProblem("ttl-late", late.table_id, f"table {late.name}: {told}", late.name)
    for index in facts.indexes:
        told = f"index {index.named} lacks what was changed {_seconds(index.lag_s)} ago{f': {index.why}' if index.why else ''}"
        yield FoundProblem("index-late", f"{index.table_id} {index.named}", f"table {index.table}: {told}", index.table)
    for cut in facts.cuts:
        told = f"its quorum was lost, and it went on from {cut.survivor} behind LSN {cut.last}: what was acknowledged with a higher LSN before that may be lost (the archive had it up to {cut.archived})"
        yield FoundProblem(
            "quorum-recovered", cut.partition, f"table {cut.table}, partition {cut.partition}: {told}", cut.table, since_us=cut.at_us
        )
    for held in facts.pending:
        told = f"a transaction stays pending, so nothing of it is sealed or archived{f': {held.why}' if held.why else ''}"
        yield FoundProblem(
            "transaction-pending", f"{held.partition} {held.id}", f"table {held.table}, partition {held.partition}: {told}", held.table
        )
    for split in facts.splits:
        if split.waits_s >= SPLIT_LATE_S:
            why = f": {split.why}" if split.why else ""
            told = f"table {split.table}: partition {split.partition} was to be split {_seconds(split.waits_s)} ago, and goes on undivided{why}"
            yield FoundProblem("split-waits", split.partition, told, split.table)
    if facts.version is not None:
        yield from _version(facts.version)
    for loop in facts.loops:
        often = f", {loop.times} times" if loop.times > 1 else ""
        yield FoundProblem(
            "loop-fallen", loop.name, f"a loop of the server, {loop.name}, fell over a bug{often}: {loop.error}", since_us=loop.since_us
        )


def serving(facts: HealthFacts) -> bool:
    """Reads and writes would be served, everywhere."""
    return all(part.serves for part in facts.partitions)


def _partition(part: PartitionHealth, out: set[str]) -> Iterator[FoundProblem]:
    """out: nodes that are a problem themselves; their copies need no line each."""
    where = f"table {part.table}, partition {part.partition}"
    if not part.led:
        yield FoundProblem("no-leader", part.partition, f"{where}: no leader, so no writes and no consistent reads", part.table)
    if len(part.copies) < COPIES:
        told = f"{where}: {len(part.copies)} copies, where {COPIES} belong; no node is there that takes another"
        yield FoundProblem("copies-few", part.partition, told, part.table)
    for copy in part.copies:
        if copy.state != "ok" and copy.node not in out:
            why = f": {copy.why}" if copy.why else ""
            yield FoundProblem(
                f"copy-{copy.state}", f"{part.partition} {copy.node}", f"{where}: the copy on {copy.node} is {copy.state}{why}", part.table
            )


def _node(node: NodeHealth) -> Iterator[FoundProblem]:
    if node.failed is not None:
        yield FoundProblem("node-failed", node.name, f"node {node.name} has stopped: {node.failed}")
        return
    if not node.started:
        yield FoundProblem("node-not-started", node.name, f"node {node.name} has not started{f': {node.why}' if node.why else ''}")
        return
    if node.full:
        yield FoundProblem("node-full", node.name, f"node {node.name} takes no writes: {node.why or 'its log has no room'}")
    elif node.used > WAL_NEAR_SHARE * node.limit:
        share = f"{100 * node.used // node.limit} % of its {_size(node.limit)}"
        yield FoundProblem("wal-near-limit", node.name, f"the log of node {node.name} holds {share}: writes are refused when it is full")
    if node.ahead_s > 0:
        yield FoundProblem(
            "clock-ahead", node.name, f"time stamps of node {node.name} run {_seconds(node.ahead_s)} ahead of this machine's clock"
        )
    if node.free is not None and node.free < DISK_LOW_FILES * node.file and not node.full:
        yield FoundProblem("disk-low", node.name, f"the disk of node {node.name} has {_size(node.free)} left")


def _table(table: TableHealth) -> Iterator[FoundProblem]:
    if table.holes:
        yield FoundProblem("archive-hole", table.table_id, f"table {table.name}: history is missing: {_some(table.holes)}", table.name)
    if table.unread:
        yield FoundProblem(
            "archive-no-key", table.table_id, f"table {table.name}: history cannot be read: {_some(table.unread)}", table.name
        )
    if table.forks:
        yield FoundProblem(
            "archive-fork", table.table_id, f"table {table.name}: two histories of the same LSNs: {_some(table.forks)}", table.name
        )
    if table.owed:
        told = f"recovered, and not restorable or healable from its archive yet: {_some(table.owed)}"
        yield FoundProblem("first-base-owed", table.table_id, f"table {table.name}: {told}", table.name)
    if table.findings:
        yield FoundProblem("finding", table.table_id, f"table {table.name}: found outside a scrub: {_some(table.findings)}", table.name)
    if table.verdict == "mismatch" and not table.dropped:
        yield FoundProblem("scrub-mismatch", table.table_id, f"table {table.name}: the last scrub ended with mismatch", table.name)
    if table.verify == "mismatch":
        yield FoundProblem(
            "verify-mismatch", table.table_id, f"table {table.name}: the last verify found damage in its archive", table.name
        )


def _overdue(table: TableHealth, allowed: Allowed) -> Iterator[FoundProblem]:
    if table.unproven_s > allowed.scrub_s:
        told = f"not every copy was proven equal to the archive for {_seconds(table.unproven_s)}"
        yield FoundProblem(
            "scrub-overdue", table.table_id, f"table {table.name}: {told}, {_seconds(allowed.scrub_s)} are allowed", table.name
        )
    if table.unverified_s > allowed.verify_s:
        told = f"its archive was not verified for {_seconds(table.unverified_s)}"
        yield FoundProblem(
            "verify-overdue", table.table_id, f"table {table.name}: {told}, {_seconds(allowed.verify_s)} are allowed", table.name
        )


def _archive(facts: HealthFacts) -> Iterator[FoundProblem]:
    archive = facts.archive
    said = f": {told}" if (told := archive.last_error or archive.why) else ""
    if archive.present is False:
        yield FoundProblem("archive-gone", archive.url, f"the archive {archive.url} was there and is gone{said}", since_us=archive.since_us)
    elif not archive.reachable:
        yield FoundProblem(
            "archive-unreachable", archive.url, f"the archive {archive.url} cannot be reached{said}", since_us=archive.since_us
        )
    if archive.findings:
        yield FoundProblem("finding", archive.url, f"the archive {archive.url} holds damage: {_some(archive.findings)}")
    if facts.allowed is not None and archive.unread_s > UNREAD_S:
        told = f"not all that lies there was read within {archive.unread_s / 86_400:.0f} days, {UNREAD_S / 86_400:.0f} are allowed"
        yield FoundProblem("archive-unread", archive.url, f"the archive {archive.url}: {told}")
    if archive.verify == "mismatch":
        yield FoundProblem("verify-mismatch", archive.url, f"the archive {archive.url}: the last verify found damage outside of any table")
    answers = archive.reachable and archive.present is not False
    if archive.stopped in ("fenced", "diverged"):
        yield FoundProblem(f"archive-{archive.stopped}", archive.url, f"nothing is archived any more: {archive.why}")
    elif archive.stopped == "unknown_epoch" and answers:
        yield FoundProblem("archive-unclaimed", archive.url, f"nothing is archived yet: who may write to {archive.url} is not known{said}")
    elif answers:
        for node, error in archive.agents:
            yield FoundProblem("archive-agent", node, f"the archive agent of node {node} cannot go on: {error}")
    watched = facts.up_s > facts.lag_alarm_s
    for table in (one for one in facts.tables if watched and not one.dropped):
        if table.lag_s is None and table.age_s > facts.lag_alarm_s:
            yield FoundProblem(
                "archive-lags",
                table.table_id,
                f"table {table.name}: no proven window yet, {_seconds(table.age_s)} after it was made",
                table.name,
            )
        elif table.lag_s is not None and table.lag_s > facts.lag_alarm_s:
            yield FoundProblem(
                "archive-lags", table.table_id, f"table {table.name}: the archive is {_seconds(table.lag_s)} behind", table.name
            )


def _pair(facts: HealthFacts) -> Iterator[FoundProblem]:
    for one in facts.pair:
        if one.error is not None:
            told = f"one of two archives does not answer, the other one is enough to go on: {one.url}: {one.error}"
            yield FoundProblem("one-archive-away", one.url, told, since_us=one.since_us)
        elif one.behind_s > facts.lag_alarm_s:
            lacks = f"{one.lacking} objects or more" if one.lacking else "nobody knows yet how much"
            told = f"the archive {one.url} has not had everything for {_seconds(one.behind_s)}; it lacks {lacks}"
            yield FoundProblem("one-archive-behind", one.url, told)
        if one.differ:
            yield FoundProblem(
                "archives-differ", one.url, f"{one.differ} objects in the archive {one.url} differ from the other one's (see the log)"
            )


def _version(version: VersionHealth) -> Iterator[FoundProblem]:
    if version.differ:
        told = f"processes of different releases run, and the cluster's version stays at {version.number}: {_some(version.differ)}"
        yield FoundProblem("releases-differ", "version", told)
    if version.held_us is not None:
        told = f"the cluster's version is held at {version.number}: nothing is written that the release before cannot read"
        yield FoundProblem("version-held", "version", told, since_us=version.held_us)


def health_of(found: Sequence[FoundProblem], *, serves: bool) -> str:
    """One word."""
    return DOWN if not serves else DEGRADED if found else OK


def exit_of(found: Sequence[FoundProblem], *, serves: bool) -> int:
    """0 all well; 2 rot, hole, fork or lost archive; 3 anything else."""
    if any(RULES[one.kind].found for one in found):
        return 2
    return 0 if serves and not found else 3


def durable(facts: HealthFacts, *, now_us: int) -> bool:
    """What is written is being archived: the store is reachable (or has not been for less than the alarm), present, ours alone."""
    archive = facts.archive
    long = archive.since_us is not None and now_us - archive.since_us > facts.lag_alarm_s * 1e6
    forked = any(table.forks for table in facts.tables)
    return archive.present is not False and archive.stopped not in ("fenced", "diverged") and not forked and (archive.reachable or not long)


def _some(places: Sequence[str]) -> str:
    return "; ".join(places[:3]) + (f" and {len(places) - 3} more" if len(places) > 3 else "")


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def _size(size: int) -> str:
    return f"{size / (1 << 20):.0f} MiB" if size < 1 << 30 else f"{size / (1 << 30):.1f} GiB"
