"""What the process answers over HTTP beside the DynamoDB API: health, metrics, the admin API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from scrubjay import __version__
from scrubjay.admin import AdminApi, NodeVerb
from scrubjay.admin_door import PREFIX
from scrubjay.admin_version import VersionCalls
from scrubjay.base.env import Env
from scrubjay.base.http_values import Handler, HttpLimits, Request, Response
from scrubjay.base.real.open_files import Descriptors
from scrubjay.config import Config
from scrubjay.drills.runs import Drills
from scrubjay.secrets_out import shown
from scrubjay.server.cluster_status import cluster_report
from scrubjay.server.durability import Durability
from scrubjay.server.health import Health
from scrubjay.server.moving import Moves
from scrubjay.server.ports import SplitPort
from scrubjay.server.webhooks import Webhooks
from scrubjay.serving.cluster import Cluster
from scrubjay.serving.folder import ClusterFile
from scrubjay.serving.metrics import Metrics
from scrubjay.storage.api import limits
from scrubjay.storage.api.sigv4 import AccessKey, SignatureVerifier
from scrubjay.storage.node.port import NodePort, error_of


def keys_of(config: Config) -> dict[str, AccessKey] | None:
    """The access keys to check against, None without `--auth`."""
    if not config.serve.auth:
        return None
    return {key.id: AccessKey(key.secret, key.role) for key in config.auth.keys}


def http_limits(config: Config, descriptors: Descriptors) -> HttpLimits:
    return replace(
        limits.HTTP,
        connections=min(config.limits.connections, descriptors.connections),
        body_bytes=config.limits.request_bytes,
        headers_timeout_ms=config.limits.header_timeout_us // 1000,
        body_timeout_ms=config.limits.body_timeout_us // 1000,
        idle_timeout_ms=config.limits.idle_timeout_us // 1000,
    )


def surface(
    env: Env,
    config: Config,
    folder: Path,
    cluster: Cluster,
    file: ClusterFile,
    archive_url: str,
    durability: Durability,
    moves: Moves,
    drills: Drills,
    health: Health,
    metrics: Metrics,
    webhooks: Webhooks,
    unexpected: Callable[[str, BaseException], None],
    nodes: Mapping[str, NodeVerb] | None = None,
    splits: SplitPort | None = None,
) -> Mapping[str, Handler]:
    """Routes by path prefix."""
    keys, configured = keys_of(config), shown(config)

    def facts() -> dict[str, Any]:
        return {
            "cluster_id": file.cluster_id,
            "archive": archive_url,
            "version": __version__,
            "created_at_us": file.created_at,
            "data": str(folder),
            "config": configured,
            "nodes": {name: as_json(node) for name, node in cluster.control.ports.items()},
        }

    def as_json(node: NodePort) -> dict[str, Any]:
        status = node.status()
        return {
            "failed": None if status.failed is None else str(error_of(status.failed)),
            "full": status.full,
            "replicas": {one.partition: {"state": one.state, "reason": one.reason, "applied": one.applied} for one in node.all_facts()},
        }

    admin = AdminApi(
        env,
        tables=cluster.service.tables,
        archive=durability.archive,
        verify=durability.verify,
        scrub=durability.scrub,
        expire=durability.expire,
        compact=durability.compact,
        move=moves,
        restore=durability.restorer,
        timeline=durability.timeline,
        backups=durability.named,
        transfers=durability.transfers,
        schedule=durability.schedule,
        drills=drills,
        cluster=facts,
        status=health.status,
        members=lambda: cluster_report(cluster.control, dict(cluster.zones)),
        nodes=nodes,
        splits=splits,
        version=VersionCalls(cluster.control),
        alerts=webhooks.test,
        verifier=SignatureVerifier(env.clock, keys) if keys is not None else None,
        log=unexpected,
    )

    async def healthz(request: Request) -> Response:
        """Body: one word. Plain: would reads and writes be served? ?durable: and is what is written being archived? ?live: the process answers."""
        asked = parse_qs(request.query, keep_blank_values=True)
        if "live" in asked:
            return Response(200, (("Content-Type", "text/plain"),), b"live\n")
        view = health.view()
        good = view.durable if "durable" in asked else view.serves
        return Response(200 if good else 503, (("Content-Type", "text/plain"),), f"{view.health}\n".encode())

    async def show_metrics(request: Request) -> Response:
        del request
        return Response(200, (("Content-Type", "text/plain; version=0.0.4; charset=utf-8"),), metrics.render())

    return {"/healthz": healthz, "/metrics": show_metrics, PREFIX: admin.handle}
