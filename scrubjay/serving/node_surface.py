"""What a storage node's process answers over HTTP beside the DynamoDB API: health, metrics, and of the admin API what a node can do. The rest is the durability process's: it is
passed on, so that any node answers everything."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs

from prometheus_client.core import Metric

from scrubjay import __version__
from scrubjay.admin_door import PREFIX, AdminDoor
from scrubjay.admin_version import VersionCalls
from scrubjay.archiver.write.writer import Writer
from scrubjay.base.env import Env
from scrubjay.base.errors import Unavailable
from scrubjay.base.http_values import Handler, Request, Respond, Response
from scrubjay.base.real.http_forward import HttpForward
from scrubjay.base.real.peer_net import PeerNet
from scrubjay.base.wrap.metered import MeteredStore
from scrubjay.client import CLUSTER_HEADER, UNREACHABLE
from scrubjay.config import Config
from scrubjay.output import FAILED, VerbFailure
from scrubjay.server.cluster_status import cluster_report, serves
from scrubjay.server.founding import Founder
from scrubjay.server.ports import Report
from scrubjay.server.problems import DEGRADED, DOWN, OK
from scrubjay.serving.cluster import Cluster
from scrubjay.serving.families import Exposition, Scraped, tell_indexes
from scrubjay.serving.links import tell_links
from scrubjay.serving.plan import ClusterPlan
from scrubjay.serving.surface import keys_of
from scrubjay.storage.api.api import DynamoApi
from scrubjay.storage.api.operations import table_backups, table_exports, table_imports
from scrubjay.storage.api.sigv4 import SignatureVerifier
from scrubjay.storage.node.port import NodePort, error_of

OF_DURABILITY = frozenset(
    (
        "DescribeContinuousBackups",
        "UpdateContinuousBackups",
        "RestoreTableToPointInTime",
        *table_backups.OPERATIONS,
        *table_exports.OPERATIONS,
        *table_imports.OPERATIONS,
    )
)
"""Operations of the API that need the archive's index, or jobs that run beside it."""
_TEXT = (("Content-Type", "text/plain"),)
NOT_FOUNDED = "not initialised"


class NodeDoor(AdminDoor):
    """forward: to the durability process, None: the cluster is not founded, and it answers nothing yet."""

    def __init__(
        self,
        env: Env,
        config: Config,
        *,
        cluster_id: Callable[[], str],
        forward: HttpForward | None,
        log: Callable[[str, BaseException], None],
    ) -> None:
        keys = keys_of(config)
        super().__init__(cluster_id=cluster_id, verifier=None if keys is None else SignatureVerifier(env.clock, keys), log=log)
        self._forward = forward

    async def answer(self, request: Request) -> Response:
        if (request.method, request.path.removeprefix(PREFIX)) in self.routes:
            return await super().answer(request)
        asked = f"{request.method} {request.path}"
        if self._forward is None:
            raise VerbFailure(
                f"this cluster is {NOT_FOUNDED}",
                code="NotInitialised",
                exit_code=FAILED,
                asked=asked,
                next_step="start its nodes, then: scrubjay cluster init --config FILE",
            )
        try:
            found = await self._forward.send(request)
        except Unavailable as error:
            raise VerbFailure(
                "the durability process, which answers this, cannot be asked",
                code=UNREACHABLE,
                exit_code=FAILED,
                asked=asked,
                found=str(error),
                next_step="start it (scrubjay serve --role durability), and ask again; tables go on meanwhile",
            ) from error
        return found._replace(headers=tuple(one for one in found.headers if one[0].lower() != CLUSTER_HEADER))


class NodeApi:
    """The DynamoDB API of a node: what only the durability process knows is asked of it."""

    def __init__(self, env: Env, api: DynamoApi, forward: HttpForward, log: Callable[[str, BaseException], None]) -> None:
        self._env, self._api, self._forward, self._log = env, api, forward, log
        self.error = api.error

    def handle(self, request: Request, respond: Respond) -> None:
        if request.method == "POST" and request.headers.get("x-amz-target", "").rpartition(".")[2] in OF_DURABILITY:
            self._env.tasks.spawn(self._pass_on(request, respond), name="passed on")
        else:
            self._api.handle(request, respond)

    async def _pass_on(self, request: Request, respond: Respond) -> None:
        try:
            found = await self._forward.send(request)
        except Unavailable as error:
            found = self._api.error(503, f"The durability process, which answers this, cannot be asked: {error}")
        except Exception as error:  # noqa: BLE001 - the last line of defence: one bad answer, not a dead connection
            self._log("a request to the durability process", error)
            found = self._api.error(503, "The durability process, which answers this, cannot be asked")
        respond(found.status, found.headers, found.body)


class NotServed:
    """Answers for the DynamoDB API where that is not served, always the same: status, the error's type and message."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        self._status, self._kind, self._message = status, kind, message

    def handle(self, request: Request, respond: Respond) -> None:
        del request
        said = self.error(self._status, self._message)
        respond(said.status, said.headers, said.body)

    def error(self, status: int, message: str) -> Response:
        body = '{"__type":"' + self._kind + '","message":"' + message.replace('"', "'") + '"}'
        return Response(status, (("Content-Type", "application/x-amz-json-1.0"),), body.encode())


def not_founded() -> NotServed:
    """Ask again, later."""
    return NotServed(503, "com.amazonaws.dynamodb.v20120810#InternalServerError", f"this cluster is {NOT_FOUNDED} (scrubjay cluster init)")


def not_routing(name: str) -> NotServed:
    """Ask somebody else: an SDK does not try again."""
    said = f"node {name} does not route (--no-router): ask a router, or a node that does"
    return NotServed(400, "com.amazon.coral.service#UnknownOperationException", said)


def founding_routes(founder: Founder, door: AdminDoor) -> Mapping[str, Handler]:
    """Of a process that waits to be founded."""

    async def init(request: Request) -> Report:
        del request
        return await founder.init()

    door.routes["POST", "cluster/init"] = init

    async def healthz(request: Request) -> Response:
        if "live" in parse_qs(request.query, keep_blank_values=True):
            return Response(200, _TEXT, b"live\n")
        return Response(503, _TEXT, f"{NOT_FOUNDED}\n".encode())

    return {"/healthz": healthz, PREFIX: door.handle}


class NodeView:
    """A process that routes, as it is now. here: its own node, writer: under which that archives; None: it has none."""

    def __init__(
        self, env: Env, config: Config, cluster: Cluster, here: NodePort | None, writer: Writer | None, meter: MeteredStore
    ) -> None:
        self._env, self._config, self._cluster, self._here, self._writer, self._meter = env, config, cluster, here, writer, meter

    @property
    def serves(self) -> bool:
        """A request that comes here would be served, by whichever nodes."""
        return serves(self._cluster.control, self._env.clock.wall_us())

    @property
    def durable(self) -> bool | None:
        """And what is written is being archived, as far as this node sees; None: there is no node here."""
        if self._writer is None:
            return None
        state = self._meter.state()
        away_us = 0 if state.reachable or state.since_us is None else self._env.clock.wall_us() - state.since_us
        return self.serves and self._writer.stopped is None and not self._writer.blocked and away_us < self._config.archive.lag_alarm_us

    @property
    def health(self) -> str:
        if not self.serves:
            return DOWN
        if self._here is None or self._writer is None:
            return OK
        status = self._here.status()
        return DEGRADED if status.failed is not None or status.full or self._writer.stopped is not None or self._writer.blocked else OK


class NodeMetrics(Scraped):
    """Reads the parts at each scrape; of the families of docs/METRICS.md those that a node has."""

    def __init__(self, view: NodeView, cluster: Cluster, api: DynamoApi, net: PeerNet) -> None:
        self._view, self._cluster, self._api, self._net = view, cluster, api, net
        super().__init__()

    def collect(self) -> list[Metric]:
        out, view = Exposition(), self._view
        out.tell("scrubjay_build_info", 1, __version__, platform.python_version())
        out.tell("scrubjay_health", (OK, DEGRADED, DOWN).index(view.health))
        out.tell("scrubjay_serving", int(view.serves))
        out.tell("scrubjay_cluster_version", self._cluster.metadata.version.number)
        if view.durable is not None:
            out.tell("scrubjay_durable", int(view.durable))
        for (operation, status), count in sorted(self._api.counts.items()):
            out.tell("scrubjay_requests", count, operation or "none", str(status))
        for operation, latency in sorted(self._api.latency.items()):
            out.took("scrubjay_request_seconds", latency, operation or "none")
        out.tell("scrubjay_requests_in_flight", self._api.in_flight)
        for name in self._cluster.running:
            told = self._cluster.control.ports[name].status()
            for state, number in sorted(told.states.items()):
                out.tell("scrubjay_replicas", number, name, state)
            out.tell("scrubjay_leaders", told.leaders, name)
            out.tell("scrubjay_wal_used_bytes", told.wal_used, name)
            out.tell("scrubjay_wal_limit_bytes", self._cluster.sizes.limit, name)
            out.tell("scrubjay_node_full", int(told.full), name)
            out.tell("scrubjay_node_failed", int(told.failed is not None), name)
            free = self._cluster.free_bytes(name)
            if free is not None:
                out.tell("scrubjay_disk_free_bytes", free, name)
            quarantine = self._cluster.quarantine(name)
            out.tell("scrubjay_quarantine_trees", quarantine.trees, name)
            out.tell("scrubjay_quarantine_bytes", quarantine.bytes, name)
        tell_links(out, self._net)
        tell_indexes(out, self._cluster.control.feeds)
        return [metric for metric in out.families() if metric.samples]


def node_routes(
    view: NodeView,
    metrics: NodeMetrics,
    cluster: Cluster,
    plan: ClusterPlan,
    founder: Founder,
    door: AdminDoor,
    links: Callable[[], list[Any]],
    forward: HttpForward,
) -> Mapping[str, Handler]:
    """links: connections to the other processes, as facts. forward: to the durability process, which is asked whether what is written is archived where there is no node here."""

    async def init(request: Request) -> Report:
        del request
        return await founder.init()

    async def status(request: Request) -> Report:
        del request
        return cluster_report(cluster.control, dict(plan.zones))

    async def facts(request: Request) -> Report:
        del request
        failed = {name: node.status().failed for name, node in cluster.control.ports.items()}
        return {
            "cluster_id": founder.known and founder.known.cluster_id,
            "version": __version__,
            "nodes": {name: {"failed": None if error is None else str(error_of(error))} for name, error in failed.items()},
            "links": links(),
        }

    door.routes["POST", "cluster/init"] = init
    door.routes |= VersionCalls(cluster.control).routes
    door.routes["GET", "cluster/status"] = status
    door.routes["GET", "cluster"] = facts

    async def healthz(request: Request) -> Response:
        """As `scrubjay.serving.surface` has it."""
        asked = parse_qs(request.query, keep_blank_values=True)
        if "live" in asked:
            return Response(200, _TEXT, b"live\n")
        if "durable" in asked and view.durable is None:
            try:
                return await forward.send(request)
            except Unavailable:
                return Response(503, _TEXT, b"the durability process cannot be asked\n")
        good = view.durable if "durable" in asked else view.serves
        return Response(200 if good else 503, _TEXT, f"{view.health}\n".encode())

    async def show(request: Request) -> Response:
        del request
        return Response(200, (("Content-Type", "text/plain; version=0.0.4; charset=utf-8"),), metrics.render())

    return {"/healthz": healthz, "/metrics": show, PREFIX: door.handle}
