"""Every metric of `/metrics`, once: name, labels, what it tells. docs/METRICS.md is generated from here, and a test compares both with a real server.

The labels of a family are bounded by what the cluster has: nodes, verbs, kinds of problem, webhooks; and tables, of which TABLES_MAX are told one by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from scrubjay.base.latency import Latency
from scrubjay.storage.control.indexing.feeds import IndexFeeds

COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"
TABLES_MAX = 500
"""Tables with series of their own: the first by name. What concerns the rest is in `scrubjay_problems` and `scrubjay_tables_by_verdict` all the same."""
LATENCY_BITS = range(9, 23)
"""Bounds of the latency histograms: 2^n microseconds, from half a millisecond to four seconds."""
RUN_BITS = range(17, 37)
"""Bounds of the histogram of runs: 2^n microseconds, from an eighth of a second to 19 hours."""


@dataclass(frozen=True, slots=True)
class Family:
    """name: without the `_total` of a counter. doc: of the `# HELP` line. bits: of a histogram, its bounds: 2^n microseconds."""

    name: str
    kind: str
    doc: str
    labels: tuple[str, ...] = ()
    bits: range = LATENCY_BITS

    @property
    def series(self) -> str:
        """As alerts name it: a counter ends with `_total`, a histogram's buckets with `_bucket`."""
        return {COUNTER: f"{self.name}_total", GAUGE: self.name, HISTOGRAM: f"{self.name}_bucket"}[self.kind]


SECTIONS: Mapping[str, tuple[Family, ...]] = {
    "The server": (
        Family("scrubjay_build_info", GAUGE, "Always 1; says which program answers", ("version", "python")),
        Family("scrubjay_health", GAUGE, "0 ok, 1 degraded, 2 down"),
        Family("scrubjay_serving", GAUGE, "1 while reads and writes would be served"),
        Family("scrubjay_durable", GAUGE, "1 while what is written is being archived too"),
        Family("scrubjay_cluster_version", GAUGE, "The cluster's version, as this process knows it (see scrubjay cluster version)"),
        Family("scrubjay_problems", GAUGE, "Things that are wrong now, by kind (see scrubjay status)", ("kind",)),
        Family("scrubjay_requests", COUNTER, "Answers of the DynamoDB API", ("operation", "status")),
        Family("scrubjay_request_seconds", HISTOGRAM, "Time from a request to its answer", ("operation",)),
        Family("scrubjay_requests_in_flight", GAUGE, "Requests under way"),
    ),
    "Nodes": (
        Family("scrubjay_replicas", GAUGE, "Replicas by node and state", ("node", "state")),
        Family("scrubjay_leaders", GAUGE, "Partitions led", ("node",)),
        Family("scrubjay_wal_used_bytes", GAUGE, "WAL bytes on disk in use", ("node",)),
        Family("scrubjay_wal_limit_bytes", GAUGE, "WAL bytes at which writes are refused", ("node",)),
        Family("scrubjay_disk_free_bytes", GAUGE, "Room on the node's disk", ("node",)),
        Family("scrubjay_node_full", GAUGE, "1 while the node takes no writes for want of room", ("node",)),
        Family("scrubjay_node_failed", GAUGE, "1 after the node stopped using its disk", ("node",)),
        Family("scrubjay_node_clock_ahead_seconds", GAUGE, "How far its time stamps run ahead of the clock; 0 in the ordinary", ("node",)),
        Family("scrubjay_quarantine_trees", GAUGE, "Trees set aside as evidence", ("node",)),
        Family("scrubjay_quarantine_bytes", GAUGE, "Room on disk that they take", ("node",)),
        Family("scrubjay_heals", COUNTER, "Copies rebuilt from the archive since the start", ("node", "outcome")),
    ),
    "Between processes": (
        Family("scrubjay_link_up", GAUGE, "1 while the connection that this process dials is up", ("peer", "channel")),
        Family("scrubjay_link_down_seconds", GAUGE, "For how long it is not; 0 while it is", ("peer", "channel")),
        Family("scrubjay_link_queued_bytes", GAUGE, "What waits to be sent over it", ("peer", "channel")),
        Family(
            "scrubjay_link_connections", COUNTER, "How often it came up since the start: more than once is a reconnect", ("peer", "channel")
        ),
        Family("scrubjay_link_dropped", COUNTER, "Frames that found no room in it, since the start", ("peer", "channel")),
        Family("scrubjay_link_refused", COUNTER, "Connections that were not let in since the start, here or by a peer"),
        Family("scrubjay_link_broken", COUNTER, "Connections that ended over bytes that no peer can have sent"),
    ),
    "Tables": (
        Family("scrubjay_table_latest_timestamp_seconds", GAUGE, "End of the table's proven window (Unix time)", ("table",)),
        Family("scrubjay_table_lag_seconds", GAUGE, "Age of the end of a table's proven window", ("table",)),
        Family("scrubjay_table_unproven_seconds", GAUGE, "For how long not every partition was proven equal to its archive", ("table",)),
        Family("scrubjay_table_unverified_seconds", GAUGE, "For how long not all of its archive was verified", ("table",)),
        Family("scrubjay_table_last_verdict", GAUGE, "Of its last scrub: 0 match, 2 mismatch, 3 unverified; absent before", ("table",)),
        Family("scrubjay_table_findings", GAUGE, "Damage that is known and that no scrub has told of yet", ("table",)),
        Family("scrubjay_ttl_expired_items", COUNTER, "Items whose time to live was over, taken away since the start", ("table",)),
        Family(
            "scrubjay_ttl_clean_timestamp_seconds",
            GAUGE,
            "What was over by then is gone (Unix time); absent before a first walk",
            ("table",),
        ),
        Family("scrubjay_ttl_behind_seconds", GAUGE, "How long an item whose time to live is over may have stayed, at most", ("table",)),
        Family("scrubjay_ttl_late", GAUGE, "1 while that is a problem", ("table",)),
        Family("scrubjay_index_lag_seconds", GAUGE, "Age of the newest change that a global index may lack", ("table", "index")),
        Family("scrubjay_index_backfilling", GAUGE, "1 while items are put into a global index, or it is built anew", ("table", "index")),
        Family("scrubjay_index_backfilled_items", COUNTER, "Items looked at for that since the start", ("table", "index")),
        Family(
            "scrubjay_transactions",
            COUNTER,
            "Transactions by how they ended, of those that this process coordinated or resolved",
            ("outcome",),
        ),
        Family("scrubjay_transactions_stalled", GAUGE, "Transactions that stay pending in partitions led here: their coordinator was lost"),
        Family("scrubjay_transactions_stalled_seconds", GAUGE, "For how long the oldest of them has; 0: there is none"),
        Family("scrubjay_stand_ins", GAUGE, "Partitions in which a log replica votes in the place of a member whose node is lost"),
        Family("scrubjay_partitions_short", GAUGE, "Partitions of which fewer than three members vote and answer"),
        Family("scrubjay_table_partitions", GAUGE, "Partitions of a table", ("table",)),
        Family(
            "scrubjay_partitions_large",
            GAUGE,
            "Partitions beyond tables.split_size that are not split yet (`scrubjay table partitions` says why)",
        ),
        Family("scrubjay_splits", COUNTER, "Splits of partitions that this process asked a log for, and carried to the map", ("step",)),
        Family("scrubjay_splits_by_size", COUNTER, "Splits that began for the partition's size, of those that this process began"),
        Family("scrubjay_balance_moves", COUNTER, "What this process did to even out what nodes hold (copies) and lead (leads)", ("what",)),
        Family("scrubjay_copies_moving", GAUGE, "Copies of partitions that go to another node though theirs stays"),
        Family("scrubjay_splits_under_way", GAUGE, "Partitions that are to be split, and are not yet"),
        Family(
            "scrubjay_split_pause_seconds",
            HISTOGRAM,
            "From the question for a split to the new map: for at most so long writes to the partition waited",
        ),
        Family("scrubjay_transactions_noted", COUNTER, "Decisions noted as done that a coordinator had left without that note"),
        Family("scrubjay_tables_by_verdict", GAUGE, "Tables by the verdict of their last scrub", ("verdict",)),
        Family("scrubjay_tables_untold", GAUGE, f"Tables without series of their own: there are more than {TABLES_MAX}"),
    ),
    "The archive": (
        Family("scrubjay_store_reachable", GAUGE, "1 if the last request was answered"),
        Family("scrubjay_store_unreachable_seconds", GAUGE, "How long the object store has not answered"),
        Family("scrubjay_archive_present", GAUGE, "0 if the archive was there and is gone"),
        Family("scrubjay_archive_fenced", GAUGE, "1 after another cluster took over our archive"),
        Family("scrubjay_archive_lag_seconds", GAUGE, "Age of the oldest sealed record that is not archived"),
        Family("scrubjay_archive_no_key_objects", GAUGE, "Objects of segments and bases that no key of encryption at hand opens"),
        Family("scrubjay_unarchived_bytes", GAUGE, "Raw bytes of log without a manifest"),
        Family("scrubjay_store_requests", COUNTER, "Requests to the object store that ended", ("verb", "result")),
        Family("scrubjay_store_errors", COUNTER, "Those that failed; an expected refusal is none", ("verb",)),
        Family("scrubjay_store_bytes", COUNTER, "Bytes to and from the object store", ("verb",)),
        Family("scrubjay_store_request_seconds", HISTOGRAM, "Time of a request to the object store", ("verb",)),
        Family("scrubjay_store_requests_per_minute", GAUGE, "Requests to the object store"),
    ),
    "Two archives": (
        Family("scrubjay_pair_reachable", GAUGE, "1 while this one of two archives answers", ("archive",)),
        Family("scrubjay_pair_decides", GAUGE, "1 for the one whose answer a create is", ("archive",)),
        Family("scrubjay_pair_lacking", GAUGE, "Objects that it may not have yet", ("archive",)),
        Family("scrubjay_pair_behind_seconds", GAUGE, "For how long it is not known to have everything", ("archive",)),
        Family("scrubjay_pair_differ", GAUGE, "Objects that differ from the other one's and were not mended", ("archive",)),
        Family("scrubjay_pair_requests", COUNTER, "Requests to it that ended", ("archive", "verb", "result")),
        Family("scrubjay_pair_copied", COUNTER, "Objects brought to one that lacked them, since the start"),
        Family("scrubjay_pair_copied_bytes", COUNTER, "Their bytes"),
        Family("scrubjay_pair_mended", COUNTER, "Objects that were lost or spoilt in one, and brought or put anew from the other"),
    ),
    "Proof": (
        Family(
            "scrubjay_runs",
            COUNTER,
            "Scrubs, verifies, expiries, restores, exports, imports and drills that ended since the start",
            ("verb", "verdict"),
        ),
        Family(
            "scrubjay_run_seconds", HISTOGRAM, "How long they took, from being asked for to their end, over restarts", ("verb",), RUN_BITS
        ),
        Family(
            "scrubjay_recovered_timestamp_seconds", GAUGE, "When the cluster was recovered from its archive (Unix time); absent: it was not"
        ),
        Family("scrubjay_recover_seconds", GAUGE, "How long that recovery took: its last process, if it was taken up again"),
        Family("scrubjay_findings_told", COUNTER, "Findings that scrubs and verifies told of", ("verb", "kind")),
        Family("scrubjay_findings", GAUGE, "Findings that no scrub has told of yet"),
        Family("scrubjay_findings_dropped", COUNTER, "Findings given up for want of room since the start"),
        Family("scrubjay_findings_unwritten", GAUGE, "1 while findings.json takes no change"),
        Family("scrubjay_ledger_unkept", GAUGE, "1 while what is verified is remembered by this process alone"),
        Family("scrubjay_job_overdue", GAUGE, "1 while a job of the schedule should have run and has not", ("name",)),
        Family("scrubjay_job_paused", GAUGE, "1 while somebody has paused it", ("name",)),
        Family(
            "scrubjay_locks_extended", COUNTER, "Objects that are needed for longer and that the store locked for longer, since the start"
        ),
        Family("scrubjay_locks_failed", COUNTER, "Objects that are needed for longer and that it did not"),
        Family("scrubjay_packs", COUNTER, "Packs made by compaction since the start: two objects each"),
        Family("scrubjay_packed_segments", COUNTER, "Segments in them"),
        Family(
            "scrubjay_packed_objects_deleted",
            COUNTER,
            "Objects that packs took the place of and that went; less those of packs made it is what was saved",
        ),
        Family("scrubjay_packs_named", COUNTER, "Packs whose manifest was gone or bad and was written anew"),
        Family(
            "scrubjay_segments_unpacked",
            GAUGE,
            "Small segments of days that are over which the last run could not pack; absent before one went over every table",
        ),
        Family("scrubjay_job_left", GAUGE, "What its last run left for the next", ("name",)),
    ),
    "Drills": (
        Family("scrubjay_drill_started_timestamp_seconds", GAUGE, "When the last drill of the scenario began (Unix time)", ("scenario",)),
        Family("scrubjay_drill_last_verdict", GAUGE, "What it came to: 0 match, 2 mismatch, 3 unverified", ("scenario",)),
        Family("scrubjay_drill_rto_seconds", GAUGE, "How long it took until what was lost was there again", ("scenario",)),
        Family("scrubjay_drill_rpo_seconds", GAUGE, "How much of the newest would have been lost", ("scenario",)),
        Family("scrubjay_drill_planted", GAUGE, "Faults that it planted", ("scenario",)),
        Family("scrubjay_drill_detected", GAUGE, "Those of them that were found", ("scenario",)),
    ),
    "Webhooks": (
        Family("scrubjay_webhook_posts", COUNTER, "Notices posted, by what came of it", ("webhook", "result")),
        Family("scrubjay_webhook_dropped", COUNTER, "Notices given up: too many waited, or for too long", ("webhook",)),
        Family("scrubjay_webhook_waiting", GAUGE, "Notices that wait to be taken", ("webhook",)),
        Family("scrubjay_webhook_failing", GAUGE, "1 after the last notice was not taken", ("webhook",)),
    ),
}
FAMILIES = {family.name: family for families in SECTIONS.values() for family in families}


class Scraped(Collector):
    """What `/metrics` shows of one process: `collect` reads its parts at each scrape, and nothing before the first."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def render(self) -> bytes:
        return generate_latest(self._registry)

    def describe(self) -> list[Metric]:
        return []


@dataclass(slots=True)
class Exposition:
    """One scrape. Every family is there, also one without a series."""

    found: dict[str, Metric] = field(default_factory=lambda: {family.name: _empty(family) for family in FAMILIES.values()})

    def tell(self, name: str, value: float, *labels: str) -> None:
        """One series of a gauge or a counter."""
        family = self.found[name]
        assert isinstance(family, GaugeMetricFamily | CounterMetricFamily), name
        family.add_metric(labels, value)

    def took(self, name: str, latency: Latency, *labels: str) -> None:
        """One series of a histogram."""
        family = self.found[name]
        assert isinstance(family, HistogramMetricFamily), name
        below = [(str((1 << bits) / 1e6), float(sum(latency.counts[: bits + 1]))) for bits in FAMILIES[name].bits]
        family.add_metric(labels, buckets=[*below, ("+Inf", float(sum(latency.counts)))], sum_value=latency.total_us / 1e6)

    def families(self) -> list[Metric]:
        return list(self.found.values())


def _empty(family: Family) -> Metric:
    kind = {COUNTER: CounterMetricFamily, GAUGE: GaugeMetricFamily, HISTOGRAM: HistogramMetricFamily}[family.kind]
    metric: Metric = kind(family.name, family.doc, labels=family.labels)
    return metric


def metrics_page() -> str:
    """docs/METRICS.md."""
    lines = [
        "<!-- Generated by `python -m scrubjay.reference_pages docs`. Do not edit. -->",
        "# Metrics",
        "",
        "`GET /metrics` in Prometheus' text format, without a key. A counter's name ends with `_total`, a histogram's with `_bucket`, `_sum` and `_count`. Counters begin at 0",
        "when the server starts. Alert rules and a Grafana board on these names lie in [monitoring/](../monitoring/README.md).",
        "",
        f"Labels are bounded: nodes, verbs, kinds; and tables, of which the first {TABLES_MAX} by name have series of their own. A table that was dropped has none.",
        "What is wrong with the others is counted in `scrubjay_problems` all the same. `result` of a request to the store: `ok`; `exists`, a conditional put (412) that was",
        "asked to be refused; `missing`, there is no such object (404); `locked`, an object lock keeps what was to go; `error`. Only the last counts as an error.",
        "",
    ]
    for section, families in SECTIONS.items():
        lines += [f"## {section}", "", "| metric | type | labels | meaning |", "|---|---|---|---|"]
        lines += [
            f"| `{family.name}{'_total' if family.kind == COUNTER else ''}` | {family.kind} | {', '.join(f'`{name}`' for name in family.labels)} | {family.doc} |"
            for family in families
        ]
        lines.append("")
    return "\n".join(lines)


def tell_indexes(out: Exposition, feeds: IndexFeeds | None) -> None:
    """Of the global indexes that this process feeds; of those of the first tables by name. feeds None: it feeds none."""
    for state in ([] if feeds is None else feeds.states())[:TABLES_MAX]:
        out.tell("scrubjay_index_lag_seconds", state.lag_us / 1e6, state.table.name, state.named)
        out.tell("scrubjay_index_backfilling", int(state.backfilling), state.table.name, state.named)
        out.tell("scrubjay_index_backfilled_items", state.rows, state.table.name, state.named)
