"""`GET /metrics`: Prometheus text, computed when asked; nothing is counted per request beyond what the parts count anyway."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from scrubjay.archiver.write.agent import ArchiveAgent
from scrubjay.base.wrap.metered import MeteredStore
from scrubjay.server.durability import Durability
from scrubjay.server.health import Health
from scrubjay.server.problems import DEGRADED, DOWN, OK, RULES
from scrubjay.serving.cluster import Cluster
from scrubjay.storage.api.api import DynamoApi


class Metrics(Collector):
    """Reads the parts at each scrape."""

    def __init__(
        self, cluster: Cluster, api: DynamoApi, meter: MeteredStore, agents: Sequence[ArchiveAgent], health: Health, durability: Durability
    ) -> None:
        self._cluster, self._api, self._meter, self._agents, self._health = cluster, api, meter, agents, health
        self._durability = durability
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def render(self) -> bytes:
        return generate_latest(self._registry)

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> list[Metric]:
        return [*self._requests(), *self._storage(), *self._archive(), *self._runs(), *self._problems()]

    def _requests(self) -> list[Metric]:
        answers = CounterMetricFamily("scrubjay_requests", "Answers of the DynamoDB API", labels=("operation", "status"))
        for (operation, status), count in sorted(self._api.counts.items()):
            answers.add_metric((operation or "none", str(status)), count)
        flight = GaugeMetricFamily("scrubjay_requests_in_flight", "Requests under way", value=self._api.in_flight)
        return [answers, flight]

    def _storage(self) -> list[Metric]:
        states = GaugeMetricFamily("scrubjay_replicas", "Replicas by node and state", labels=("node", "state"))
        leaders = GaugeMetricFamily("scrubjay_leaders", "Partitions led", labels=("node",))
        used = GaugeMetricFamily("scrubjay_wal_used_bytes", "WAL bytes on disk in use", labels=("node",))
        full = GaugeMetricFamily("scrubjay_node_full", "1 while the WAL limit refuses writes", labels=("node",))
        failed = GaugeMetricFamily("scrubjay_node_failed", "1 after the node stopped using its disk", labels=("node",))
        for name, node in self._cluster.control.ports.items():
            status = node.status()
            for state, number in sorted(status.states.items()):
                states.add_metric((name, state), number)
            leaders.add_metric((name,), status.leaders)
            if name in self._cluster.running:
                used.add_metric((name,), status.wal_used)
            full.add_metric((name,), int(status.full))
            failed.add_metric((name,), int(status.failed is not None))
        return [states, leaders, used, full, failed, *self._findings()]

    def _findings(self) -> list[Metric]:
        service = self._cluster.service
        heals = CounterMetricFamily("scrubjay_heals", "Copies rebuilt from the archive since the start", labels=("node", "outcome"))
        for name in self._cluster.control.ports:
            for outcome in ("done", "failed"):
                heals.add_metric((name, outcome), service.heals.get((name, outcome), 0))
        kept = GaugeMetricFamily("scrubjay_findings", "Findings that no scrub has told of yet", value=len(service.found))
        lost = CounterMetricFamily(
            "scrubjay_findings_dropped", "Findings given up for want of room since the start", value=service.found.dropped
        )
        unkept = GaugeMetricFamily(
            "scrubjay_findings_unwritten", "1 while findings.json takes no change", value=int(service.found.trouble is not None)
        )
        return [heals, kept, lost, unkept]

    def _archive(self) -> list[Metric]:
        requests = CounterMetricFamily("scrubjay_store_requests", "Requests to the object store", labels=("verb",))
        errors = CounterMetricFamily("scrubjay_store_errors", "Requests to the object store that failed", labels=("verb",))
        size = CounterMetricFamily("scrubjay_store_bytes", "Bytes to and from the object store", labels=("verb",))
        for verb, stats in sorted(self._meter.stats.items()):
            requests.add_metric((verb,), stats.requests)
            errors.add_metric((verb,), stats.errors)
            size.add_metric((verb,), stats.bytes)
        reachable = GaugeMetricFamily("scrubjay_store_reachable", "1 if the last request was answered", value=int(self._meter.reachable))
        pending = GaugeMetricFamily(
            "scrubjay_unarchived_bytes", "Raw bytes of log without a manifest", value=self._cluster.store.unarchived_bytes()
        )
        lag = GaugeMetricFamily(
            "scrubjay_archive_lag_seconds",
            "Age of the oldest sealed record that is not archived",
            value=max((agent.status().lag_us for agent in self._agents), default=0) / 1e6,
        )
        return [requests, errors, size, reachable, pending, lag]

    def _runs(self) -> list[Metric]:
        telling = self._durability.telling
        ended = CounterMetricFamily("scrubjay_runs", "Scrubs and verifies that ended since the start", labels=("verb", "verdict"))
        for (verb, verdict), count in sorted(telling.ended.items()):
            ended.add_metric((verb, verdict), count)
        found = CounterMetricFamily("scrubjay_findings_told", "Findings that they told of", labels=("verb", "kind"))
        for (verb, kind), count in sorted(telling.found.items()):
            found.add_metric((verb, kind), count)
        ledger = self._durability.ledger
        forgets = GaugeMetricFamily(
            "scrubjay_ledger_unkept", "1 while what is verified is remembered by this process alone", value=int(ledger.trouble is not None)
        )
        return [ended, found, forgets]

    def _problems(self) -> list[Metric]:
        view = self._health.view()
        word = GaugeMetricFamily("scrubjay_health", "0 ok, 1 degraded, 2 down", value=(OK, DEGRADED, DOWN).index(view.health))
        served = GaugeMetricFamily("scrubjay_serving", "1 while reads and writes would be served", value=int(view.serves))
        kept = GaugeMetricFamily("scrubjay_durable", "1 while what is written is being archived too", value=int(view.durable))
        wrong = GaugeMetricFamily("scrubjay_problems", "Things that are wrong now, by kind (see scrubjay status)", labels=("kind",))
        for kind in RULES:
            wrong.add_metric((kind,), sum(problem.found.kind == kind for problem in view.problems))
        limit = GaugeMetricFamily("scrubjay_wal_limit_bytes", "WAL bytes at which writes are refused", labels=("node",))
        free = GaugeMetricFamily("scrubjay_disk_free_bytes", "Room on the node's disk", labels=("node",))
        for node in view.facts.nodes:
            limit.add_metric((node.name,), node.limit)
            if node.free is not None:
                free.add_metric((node.name,), node.free)
        lag = GaugeMetricFamily("scrubjay_table_lag_seconds", "Age of the end of a table's proven window", labels=("table",))
        for table in view.facts.tables:
            if table.lag_s is not None:
                lag.add_metric((table.name,), round(table.lag_s, 3))
        verdicts = GaugeMetricFamily("scrubjay_tables_by_verdict", "Tables by the verdict of their last scrub", labels=("verdict",))
        for verdict in ("match", "mismatch", "unverified", "none"):
            verdicts.add_metric((verdict,), sum((table.verdict or "none") == verdict for table in view.facts.tables if not table.dropped))
        archive = view.facts.archive
        present = GaugeMetricFamily(
            "scrubjay_archive_present", "0 if the archive was there and is gone", value=int(archive.present is not False)
        )
        fenced = GaugeMetricFamily(
            "scrubjay_archive_fenced", "1 after another cluster took over our archive", value=int(archive.stopped == "fenced")
        )
        since = archive.since_us
        down_s = 0.0 if archive.reachable or since is None else max(0, view.at_us - since) / 1e6
        silent = GaugeMetricFamily("scrubjay_store_unreachable_seconds", "How long the object store has not answered", value=down_s)
        pace = GaugeMetricFamily("scrubjay_store_requests_per_minute", "Requests to the object store", value=archive.requests_per_minute)
        return [word, served, kept, wrong, limit, free, lag, verdicts, present, fenced, silent, pace]
