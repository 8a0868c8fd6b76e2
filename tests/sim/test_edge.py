"""The edges of a server over the simulated cluster: the DynamoDB API and the admin API, without sockets, while machines fail under them.

What a client is told is judged as in the profile "whole": by a ledger outside the store. 200 is done, 400 is not done, 500 may be either.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Coroutine
from typing import Any

from scrubjay.admin import AdminApi
from scrubjay.admin_door import PREFIX
from scrubjay.archiver.write.attach import attach
from scrubjay.base.http_values import Request
from scrubjay.server.moving import Moves
from scrubjay.sim.checkers.registers import RegisterLedger
from scrubjay.sim.whole.cluster import CLUSTER, WholeCluster
from scrubjay.sim.whole.run import AGENT, CONSENSUS, STORAGE
from scrubjay.sim.world import World
from scrubjay.storage.api.api import DynamoApi
from tests.api_server import request_headers
from tests.unit.cli.fakes import FakeDrills, FakeServices

SECOND = 1_000_000
TABLE = {
    "TableName": "edge",
    "AttributeDefinitions": [{"AttributeName": "k", "AttributeType": "S"}],
    "KeySchema": [{"AttributeName": "k", "KeyType": "HASH"}],
    "BillingMode": "PAY_PER_REQUEST",
}
KEYS = 6


class Edge:
    """One cluster, the API and the admin API over the present life of its control part."""

    def __init__(self, seed: int) -> None:
        self.world = World(seed)
        self.cluster = WholeCluster(self.world, storage=STORAGE, consensus=CONSENSUS, agent=AGENT)
        self.bugs: list[str] = []
        self.answers = Counter[int]()
        self.run(attach(self.cluster.look, self.cluster.env, cluster_id=CLUSTER, folder_is_new=True))
        self.cluster.start()
        self.run(self.cluster.up())
        self.open()

    def open(self) -> None:
        """As a start of the process does it."""
        cluster, env = self.cluster, self.cluster.control.env
        self.api = DynamoApi(cluster.store, env, log=self._bug)
        self.admin = AdminApi(
            env,
            tables=cluster.service.tables,
            archive=cluster.durability.archive,
            verify=cluster.durability.verify,
            scrub=cluster.durability.scrub,
            expire=cluster.durability.expire,
            compact=cluster.durability.compact,
            move=Moves(env, None, cluster.writer),
            restore=cluster.durability.restorer,
            timeline=cluster.durability.timeline,
            backups=cluster.durability.named,
            transfers=cluster.durability.transfers,
            schedule=cluster.durability.schedule,
            drills=FakeDrills(FakeServices()),
            cluster=lambda: {"cluster_id": CLUSTER, "archive": cluster.archive.url},
            status=cluster.health.status,
            verifier=None,
            log=self._bug,
        )

    def _bug(self, what: str, error: BaseException) -> None:
        self.bugs.append(f"{what}: {error!r}")

    def run(self, work: Coroutine[Any, Any, Any], *, seconds: float = 120) -> Any:
        task = self.cluster.env.tasks.spawn(work, name="edge")
        assert self.world.run(until_us=self.world.now + int(seconds * SECOND), stop=task.done), "no end"
        return task.result()

    async def post(self, operation: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """(status, answer). Every request is answered within 30 s, exactly once."""
        answer = self.cluster.env.tasks.future()
        headers = {name.lower(): value for name, value in request_headers(operation, Host="edge").items()}
        self.api.handle(
            Request("POST", "/", "", headers, json.dumps(body).encode()), lambda status, _headers, data: answer.set_result((status, data))
        )
        end = self.world.now + 30 * SECOND
        while not answer.done():
            assert self.world.now < end, f"{operation} was never answered"
            await self.cluster.env.tasks.sleep(0.01)
        status, data = answer.result()
        self.answers[status] += 1
        return status, json.loads(data)

    async def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        path, _, query = path.partition("?")
        data = b"" if body is None else json.dumps(body).encode()
        response = await self.admin.handle(Request(method, PREFIX + path, query, {"content-type": "application/json"}, data))
        found: dict[str, Any] = json.loads(response.body)
        return found

    async def work(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The report of a job."""
        job = await self.ask("POST", path, body)
        assert job["exit"] == 0, job
        while (found := await self.ask("GET", f"jobs/{job['id']}")).get("running"):
            await self.cluster.env.tasks.sleep(0.1)
        return found

    async def table(self) -> None:
        status, _ = await self.post("CreateTable", TABLE)
        assert status == 200
        while (await self.post("DescribeTable", {"TableName": "edge"}))[1]["Table"]["TableStatus"] != "ACTIVE":
            await self.cluster.env.tasks.sleep(0.05)

    async def rows(self, table: str) -> dict[int, int | None]:
        status, found = await self.post("Scan", {"TableName": table, "ConsistentRead": True})
        assert status == 200, found
        return {int(item["k"]["S"]): int(item["v"]["N"]) for item in found["Items"]}

    async def exit_is(self, wanted: int) -> dict[str, Any]:
        """`scrubjay status`, once its exit is this one."""
        end = self.world.now + 60 * SECOND
        while (report := await self.ask("GET", "status"))["exit"] != wanted:
            assert self.world.now < end, report
            await self.cluster.env.tasks.sleep(0.5)
        return report


def test_what_the_api_answers_while_nodes_lose_power_is_true() -> None:
    edge = Edge(3)
    ledger = RegisterLedger()
    draw = edge.world.stream("edge")
    done = Counter[str]()

    async def client(number: int) -> None:
        for turn in range(40):
            key, id_ = draw.between(0, KEYS - 1), number * 1000 + turn
            item = {"k": {"S": str(key)}, "v": {"N": str(id_)}}
            ledger.sent(key, id_, id_)
            status, answer = await edge.post("PutItem", {"TableName": "edge", "Item": item})
            if status == 200:
                done["puts"] += 1
                ledger.acknowledged(key, id_, ledger.acknowledgements + 1)
            else:
                assert status >= 500, answer
            status, answer = await edge.post("GetItem", {"TableName": "edge", "Key": {"k": item["k"]}, "ConsistentRead": True})
            if status == 200:
                done["gets"] += 1
                value = int(answer["Item"]["v"]["N"]) if "Item" in answer else None
                assert value in ledger.allowed(key), f"key {key} is {value}: {ledger.allowed(key)}"
            await edge.cluster.env.tasks.sleep(draw.between(5, 60) / 1000)

    async def blows() -> None:
        for _ in range(3):
            await edge.cluster.env.tasks.sleep(0.6)
            leader = edge.cluster.leader(edge.cluster.store.table("edge").partitions[0].partition_id)  # type: ignore[union-attr]
            if leader is not None:
                host = edge.world.hosts[leader.node.name]
                host.crash(power=True)
                done["power"] += 1
                await edge.cluster.env.tasks.sleep(0.3)
                host.start()

    async def story() -> None:
        await edge.table()
        tasks = [edge.cluster.env.tasks.spawn(one, name="beside") for one in (client(1), blows())]
        for task in tasks:
            await task
        assert ledger.check(await edge.rows("edge")) == []

    edge.run(story())
    assert edge.bugs == []
    assert done["power"] >= 2, done
    assert done["puts"] > 20, done
    assert done["gets"] > 20, done


def test_the_admin_api_tells_of_a_store_that_is_down_and_proves_and_restores_once_it_is_back() -> None:
    edge = Edge(4)

    async def story() -> None:
        await edge.table()
        for key in range(KEYS):
            assert (await edge.post("PutItem", {"TableName": "edge", "Item": {"k": {"S": str(key)}, "v": {"N": str(key)}}}))[0] == 200
        await edge.exit_is(0)
        edge.cluster.archive.faults.down = True
        report = await edge.exit_is(3)
        assert {problem["kind"] for problem in report["problems"]} & {"archive-unreachable", "archive-agent"}
        assert (await edge.post("PutItem", {"TableName": "edge", "Item": {"k": {"S": "9"}, "v": {"N": "9"}}}))[0] == 200, "tables go on"
        edge.cluster.archive.faults.down = False
        await edge.exit_is(0)
        scrub = await edge.work("scrub", {"table": "edge"})
        assert scrub["verdict"] == "match"
        assert (await edge.work("verify", {"level": "replayed"}))["exit"] == 0
        started = await edge.ask("POST", "restore/run", {"table": "edge", "to": "edge-then", "latest": True})
        assert started["error"] is None, started
        while (found := await edge.ask("GET", "restore/status?to=edge-then"))["running"]:
            await edge.cluster.env.tasks.sleep(0.1)
        assert found["exit"] == 0, found
        assert await edge.rows("edge-then") == {**{key: key for key in range(KEYS)}, 9: 9}

    edge.run(story(), seconds=400)
    assert edge.bugs == []


def test_the_edges_of_a_new_life_of_the_services_know_what_the_old_one_did() -> None:
    edge = Edge(5)

    async def before() -> None:
        await edge.table()
        assert (await edge.post("PutItem", {"TableName": "edge", "Item": {"k": {"S": "1"}, "v": {"N": "1"}}}))[0] == 200

    edge.run(before())
    edge.cluster.control.crash(power=True)
    edge.cluster.control.start()
    edge.run(edge.cluster.up())
    edge.open()

    async def after() -> None:
        await edge.exit_is(0)
        assert await edge.rows("edge") == {1: 1}
        assert (await edge.ask("GET", "jobs/none"))["error"]["code"] == "ResourceNotFound"

    edge.run(after())
    assert edge.bugs == []
