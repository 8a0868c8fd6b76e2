"""`GET /metrics`: Prometheus text, computed when asked; nothing is counted per request beyond what the parts count anyway. What there is to tell: `families`."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from msgspec import UnsetType
from prometheus_client.core import Metric

from scrubjay import __version__
from scrubjay.archiver.write.agent import ArchiveAgent
from scrubjay.base.latency import Latency
from scrubjay.base.real.peer_net import PeerNet
from scrubjay.base.times import parse_time
from scrubjay.base.wrap.metered import ERROR, MeteredStore
from scrubjay.drills.runs import Drills
from scrubjay.pitr.job import CANCELLED, DIFFERS, FAILED, PUBLISHED
from scrubjay.pitr.transfer.running import COMPLETED
from scrubjay.server.cluster_status import stand_in, voters_up
from scrubjay.server.compaction import COMPACT_WORDS
from scrubjay.server.control import Control
from scrubjay.server.durability import Durability
from scrubjay.server.expiry import WORDS
from scrubjay.server.health import Health, View
from scrubjay.server.pairing import PairKeeper
from scrubjay.server.problems import DEGRADED, DOWN, OK, RULES, HalfHealth
from scrubjay.server.relocating import partitions_of
from scrubjay.server.webhooks import Webhooks
from scrubjay.serving.cluster import Cluster
from scrubjay.serving.families import TABLES_MAX, Exposition, Scraped, tell_indexes
from scrubjay.serving.folder import RecoverFile
from scrubjay.serving.links import tell_links
from scrubjay.storage.api.api import DynamoApi
from scrubjay.storage.catalogue import METADATA_TABLE, index_tables
from scrubjay.storage.control.placement import COPIES

_VERDICTS = {"match": 0, "mismatch": 2, "unverified": 3}
"""As exit codes."""
_NONE_ENDED = {
    **{(verb, verdict): 0 for verb in ("scrub", "verify", "drill") for verdict in _VERDICTS},
    **{(verb, state): 0 for verb in ("export", "import") for state in (COMPLETED, FAILED)},
    **{("restore", state): 0 for state in (PUBLISHED, FAILED, DIFFERS, CANCELLED)},
    **{("expire", word): 0 for word in WORDS.values()},
    **{("compact", word): 0 for word in COMPACT_WORDS.values()},
}
"""A counter that first appears as 1 has not grown, for who looks at growth."""


class Metrics(Scraped):
    """Reads the parts at each scrape."""

    def __init__(
        self,
        cluster: Cluster,
        api: DynamoApi,
        meter: MeteredStore,
        agents: Sequence[ArchiveAgent],
        health: Health,
        durability: Durability,
        webhooks: Webhooks,
        drills: Drills,
        recovered: RecoverFile | None,
        pair: PairKeeper | None,
        net: PeerNet | None,
    ) -> None:
        """net: connects this process with others, None: there are none. recovered: how this cluster came out of its archive, None: it was not recovered. pair: keeps two archives, None: there is one."""
        self._pair = pair
        self._cluster, self._api, self._meter, self._agents, self._health = cluster, api, meter, agents, health
        self._durability, self._webhooks, self._drills = durability, webhooks, drills
        self._recovered, self._net = recovered, net
        super().__init__()

    def collect(self) -> list[Metric]:
        out, view = Exposition(), self._health.view()
        self._server(out, view)
        self._nodes(out, view)
        if self._net is not None:
            tell_links(out, self._net)
        self._tables(out, view)
        tell_indexes(out, self._cluster.control.feeds)
        tell_voters(out, self._cluster.control)
        tell_splits(out, self._cluster.control)
        tell_balance(out, self._cluster.control)
        tell_transactions(out, self._cluster.control)
        self._archive(out, view)
        if self._pair is not None:
            tell_pair(out, self._pair, view.facts.pair)
        self._proof(out, view)
        tell_recovery(out, self._recovered)
        tell_drills(out, self._drills.last())
        for hook in self._webhooks.hooks:
            out.tell("scrubjay_webhook_posts", hook.taken, hook.name, "taken")
            out.tell("scrubjay_webhook_posts", hook.failed, hook.name, "failed")
            out.tell("scrubjay_webhook_dropped", hook.dropped, hook.name)
            out.tell("scrubjay_webhook_waiting", len(hook.queue), hook.name)
            out.tell("scrubjay_webhook_failing", int(hook.error is not None), hook.name)
        return out.families()

    def _server(self, out: Exposition, view: View) -> None:
        out.tell("scrubjay_build_info", 1, __version__, platform.python_version())
        out.tell("scrubjay_health", (OK, DEGRADED, DOWN).index(view.health))
        out.tell("scrubjay_serving", int(view.serves))
        out.tell("scrubjay_durable", int(view.durable))
        out.tell("scrubjay_cluster_version", self._cluster.metadata.version.number)
        for kind in RULES:
            out.tell("scrubjay_problems", sum(problem.found.kind == kind for problem in view.problems), kind)
        for (operation, status), count in sorted(self._api.counts.items()):
            out.tell("scrubjay_requests", count, operation or "none", str(status))
        for operation, latency in sorted(self._api.latency.items()):
            out.took("scrubjay_request_seconds", latency, operation or "none")
        out.tell("scrubjay_requests_in_flight", self._api.in_flight)

    def _nodes(self, out: Exposition, view: View) -> None:
        for name, node in self._cluster.control.ports.items():
            status = node.status()
            for state, number in sorted(status.states.items()):
                out.tell("scrubjay_replicas", number, name, state)
            out.tell("scrubjay_leaders", status.leaders, name)
            if name in self._cluster.running:
                out.tell("scrubjay_wal_used_bytes", status.wal_used, name)
            out.tell("scrubjay_node_full", int(status.full), name)
            out.tell("scrubjay_node_failed", int(status.failed is not None), name)
            quarantine = self._cluster.quarantine(name)
            out.tell("scrubjay_quarantine_trees", quarantine.trees, name)
            out.tell("scrubjay_quarantine_bytes", quarantine.bytes, name)
            for outcome in ("done", "failed"):
                out.tell("scrubjay_heals", self._cluster.service.heals.get((name, outcome), 0), name, outcome)
        for one in view.facts.nodes:
            out.tell("scrubjay_wal_limit_bytes", one.limit, one.name)
            out.tell("scrubjay_node_clock_ahead_seconds", one.ahead_s, one.name)
            if one.free is not None:
                out.tell("scrubjay_disk_free_bytes", one.free, one.name)

    def _tables(self, out: Exposition, view: View) -> None:
        """A dropped table has no series: another may have its name by now."""
        tables = sorted(
            (table for table in view.facts.tables if not table.dropped), key=lambda table: (table.name != METADATA_TABLE, table.name)
        )
        for table in islice(tables, TABLES_MAX):
            if table.latest_us is not None:
                out.tell("scrubjay_table_latest_timestamp_seconds", table.latest_us / 1e6, table.name)
            if table.lag_s is not None:
                out.tell("scrubjay_table_lag_seconds", round(table.lag_s, 3), table.name)
            out.tell("scrubjay_table_unproven_seconds", round(table.unproven_s, 3), table.name)
            out.tell("scrubjay_table_unverified_seconds", round(table.unverified_s, 3), table.name)
            if table.verdict is not None:
                out.tell("scrubjay_table_last_verdict", _VERDICTS[table.verdict], table.name)
            out.tell("scrubjay_table_findings", len(table.findings), table.name)
        for walk in islice(self._durability.ttl.views(), TABLES_MAX):
            out.tell("scrubjay_ttl_expired_items", walk.expired, walk.table.name)
            if walk.clean_us is not None:
                out.tell("scrubjay_ttl_clean_timestamp_seconds", walk.clean_us / 1e6, walk.table.name)
            out.tell("scrubjay_ttl_behind_seconds", round(walk.behind_us / 1e6, 3), walk.table.name)
            out.tell("scrubjay_ttl_late", int(walk.late), walk.table.name)
        for verdict in (*_VERDICTS, "none"):
            out.tell("scrubjay_tables_by_verdict", sum((table.verdict or "none") == verdict for table in tables), verdict)
        out.tell("scrubjay_tables_untold", max(0, len(tables) - TABLES_MAX))

    def _archive(self, out: Exposition, view: View) -> None:
        archive = view.facts.archive
        down_s = 0.0 if archive.reachable or archive.since_us is None else max(0, view.at_us - archive.since_us) / 1e6
        out.tell("scrubjay_store_reachable", int(self._meter.reachable))
        out.tell("scrubjay_store_unreachable_seconds", down_s)
        out.tell("scrubjay_archive_present", int(archive.present is not False))
        out.tell("scrubjay_archive_fenced", int(archive.stopped == "fenced"))
        out.tell("scrubjay_archive_lag_seconds", max((agent.status().lag_us for agent in self._agents), default=0) / 1e6)
        unread = sum(len(one.unread()) for one in self._durability.archive.index.partitions.values())
        out.tell("scrubjay_archive_no_key_objects", unread)
        out.tell("scrubjay_unarchived_bytes", self._cluster.store.unarchived_bytes())
        for verb, stats in sorted(self._meter.stats.items()):
            for result, count in stats.ended.items():
                out.tell("scrubjay_store_requests", count, verb, result)
            out.tell("scrubjay_store_errors", stats.ended[ERROR], verb)
            out.tell("scrubjay_store_bytes", stats.bytes, verb)
            out.took("scrubjay_store_request_seconds", stats.latency, verb)
        out.tell("scrubjay_store_requests_per_minute", archive.requests_per_minute)

    def _proof(self, out: Exposition, view: View) -> None:
        telling, kept = self._durability.telling, self._cluster.service.found
        drills = {("drill", verdict): count for verdict, count in self._drills.ended.items()}
        for (verb, verdict), count in sorted({**_NONE_ENDED, **telling.ended, **drills}.items()):
            out.tell("scrubjay_runs", count, verb, verdict)
        took = {"drill": self._drills.took, **telling.took}
        for verb in sorted({verb for verb, _ in _NONE_ENDED}):
            out.took("scrubjay_run_seconds", took.get(verb, Latency()), verb)
        for (verb, kind), count in sorted(telling.found.items()):
            out.tell("scrubjay_findings_told", count, verb, kind)
        out.tell("scrubjay_findings", len(kept))
        out.tell("scrubjay_findings_dropped", kept.dropped)
        out.tell("scrubjay_findings_unwritten", int(kept.trouble is not None))
        out.tell("scrubjay_ledger_unkept", int(view.facts.ledger is not None))
        out.tell("scrubjay_locks_extended", self._durability.expire.locks.extended)
        out.tell("scrubjay_locks_failed", self._durability.expire.locks.failed)
        compact = self._durability.compact.done
        out.tell("scrubjay_packs", compact.made)
        out.tell("scrubjay_packed_segments", compact.packed)
        out.tell("scrubjay_packed_objects_deleted", compact.deleted)
        out.tell("scrubjay_packs_named", compact.named)
        if compact.unpacked is not None:
            out.tell("scrubjay_segments_unpacked", compact.unpacked)
        for job in self._durability.schedule.views.listed()["jobs"]:
            out.tell("scrubjay_job_overdue", int(job["overdue"]), job["job"])
            out.tell("scrubjay_job_paused", int(job["paused"] is not None), job["job"])
            if job["last"] is not None:
                out.tell("scrubjay_job_left", job["last"]["left"], job["job"])


def tell_voters(out: Exposition, control: Control) -> None:
    """Of all partitions, as this process knows them."""
    infos = [info for table in (control.system, *control.metadata.tables.values()) if table.status == "ACTIVE" for info in table.partitions]
    out.tell("scrubjay_stand_ins", sum(stand_in(control, info) is not None for info in infos))
    out.tell("scrubjay_partitions_short", sum(voters_up(control, info) < COPIES for info in infos))


def tell_splits(out: Exposition, control: Control) -> None:
    """Partitions of tables by name; what this process, where it works for the cluster, has done about splits."""
    tables = [table for table in control.metadata.tables.values() if table.status in ("ACTIVE", "UPDATING")]
    for table in sorted(tables, key=lambda one: one.name)[:TABLES_MAX]:
        out.tell("scrubjay_table_partitions", len(table.partitions), table.name)
    all_ = [one for table in tables for one in (table, *index_tables(table))]
    out.tell("scrubjay_splits_under_way", sum(not isinstance(one.split, UnsetType) for one in all_))
    splits, by_size = control.splits, control.by_size
    if splits is not None and by_size is not None:
        for step, count in splits.counts.items():
            out.tell("scrubjay_splits", count, step)
        out.tell("scrubjay_splits_by_size", by_size.begun)
        out.tell("scrubjay_partitions_large", sum(len(large) for large in by_size.large.values()))
        out.took("scrubjay_split_pause_seconds", splits.pauses)


def tell_balance(out: Exposition, control: Control) -> None:
    """Copies that are on their way, by the catalogue; what this process, where it works for the cluster, has done."""
    out.tell("scrubjay_copies_moving", sum(len(info.goes) for _, _, info in partitions_of(control)))
    if control.evens is not None:
        for what, count in control.evens.counts.items():
            out.tell("scrubjay_balance_moves", count, what)


def tell_transactions(out: Exposition, control: Control) -> None:
    for outcome, count in sorted(control.store.transactions.counts.items()):
        out.tell("scrubjay_transactions", count, outcome)
    resolver, sweep = control.resolver, control.sweep
    if resolver is not None and sweep is not None:
        out.tell("scrubjay_transactions_stalled", resolver.stalled)
        out.tell("scrubjay_transactions_stalled_seconds", round(resolver.oldest_us / 1e6, 3))
        out.tell("scrubjay_transactions_noted", sweep.noted)


def tell_recovery(out: Exposition, recovered: RecoverFile | None) -> None:
    """A recovery is a process of its own, without a front door: the cluster that it made tells of it, for as long as the folder remembers."""
    if recovered is None:
        return
    out.tell("scrubjay_recovered_timestamp_seconds", recovered.cluster.created_at / 1e6)
    took = recovered.report.get("seconds")
    if took is not None:
        out.tell("scrubjay_recover_seconds", took["total"])


def tell_pair(out: Exposition, keeper: PairKeeper, pair: Sequence[HalfHealth]) -> None:
    """Without two archives there are none of these series."""
    for name, half in zip(("first", "second"), pair, strict=True):
        out.tell("scrubjay_pair_reachable", int(half.error is None), name)
        out.tell("scrubjay_pair_decides", int(half.decides), name)
        out.tell("scrubjay_pair_lacking", half.lacking, name)
        out.tell("scrubjay_pair_behind_seconds", round(half.behind_s, 3), name)
        out.tell("scrubjay_pair_differ", half.differ, name)
    for number, name in enumerate(("first", "second")):
        for verb, stats in sorted(keeper.meter(number).stats.items()):
            for result, count in stats.ended.items():
                out.tell("scrubjay_pair_requests", count, name, verb, result)
    out.tell("scrubjay_pair_copied", keeper.copied)
    out.tell("scrubjay_pair_copied_bytes", keeper.copied_bytes)
    out.tell("scrubjay_pair_mended", keeper.mended)


def tell_drills(out: Exposition, reports: Sequence[Mapping[str, Any]]) -> None:
    """reports: the newest of each scenario. What a drill did not measure has no series."""
    for report in reports:
        name = str(report["scenario"])
        out.tell("scrubjay_drill_started_timestamp_seconds", parse_time(str(report["started"])) / 1e6, name)
        out.tell("scrubjay_drill_last_verdict", _VERDICTS[report["verdict"]], name)
        for what in ("rto_seconds", "rpo_seconds", "planted", "detected"):
            if report[what] is not None:
                out.tell(f"scrubjay_drill_{what}", report[what], name)
