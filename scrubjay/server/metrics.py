"""`GET /metrics`: Prometheus text, computed when asked; nothing is counted per request beyond what the parts count anyway."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from archiver.agent import ArchiveAgent
from base.wrap.metered import MeteredStore
from scrubjay.server.cluster import Cluster
from storage.api.api import DynamoApi


class Metrics(Collector):
    """Reads the parts at each scrape."""

    def __init__(self, cluster: Cluster, api: DynamoApi, meter: MeteredStore, agents: Sequence[ArchiveAgent]) -> None:
        self._cluster, self._api, self._meter, self._agents = cluster, api, meter, agents
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def render(self) -> bytes:
        return generate_latest(self._registry)

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> list[Metric]:
        return [*self._requests(), *self._storage(), *self._archive()]

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
        for name, node in self._cluster.nodes.items():
            count: dict[str, int] = {}
            for replica in node.replicas.values():
                count[replica.state] = count.get(replica.state, 0) + 1
            for state, number in sorted(count.items()):
                states.add_metric((name, state), number)
            leaders.add_metric((name,), sum(replica.leading is not None for replica in node.replicas.values()))
            if name in self._cluster.wals:
                used.add_metric((name,), self._cluster.wals[name].usage().used)
            full.add_metric((name,), int(node.full))
            failed.add_metric((name,), int(node.failed is not None))
        return [states, leaders, used, full, failed]

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
