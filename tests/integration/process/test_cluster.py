"""A cluster of real processes: founded once, any router makes and serves tables, a killed node loses nothing and comes back, an emptied folder stays out until it is made another member, and the
durability process proves what is there."""

from __future__ import annotations

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from scrubjay.client import AdminClient
from scrubjay.server.raising import FILE
from scrubjay.storage.cluster_version import NEWEST
from tests.fixtures.certificates import Authority
from tests.fixtures.cluster import DURABILITY, NODES, ClusterOfProcesses
from tests.fixtures.wait import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.process, pytest.mark.timeout(400)]

TABLE, ROUTER = "birds", "r1"
PATIENCE_S = 4.0
"""Of a writer for one answer: what was under way at the kill may have none for longer, and is tried again as what may have happened."""
FAIL_OVER_S = 20.0
"""A lease, an election and a client's next tries, on a machine that does much else meanwhile."""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[ClusterOfProcesses]:
    """Every process shows a certificate that names it, and asks for one of the others."""
    with ClusterOfProcesses(
        tmp_path_factory.mktemp("cluster"), tls=lambda name: authority.files(name, names=[name]), routers=[ROUTER]
    ) as made:
        for name in (*NODES, ROUTER, DURABILITY):
            made.spawn(name)
        yield made


def health(cluster: ClusterOfProcesses, name: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"{cluster.url(name)}/healthz", timeout=5) as answer:
            return answer.status, answer.read().decode().strip()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode().strip()


class Writer(threading.Thread):
    """Puts ever higher numbers under keys of its own, through one router after the other; remembers what was acknowledged, and what may have happened since."""

    def __init__(self, cluster: ClusterOfProcesses, number: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._clients = [cluster.client(name, tries=1, patience_s=PATIENCE_S) for name in NODES]
        self._number, self._stop_asked = number, stop
        self.acked: dict[str, int] = {}
        self.perhaps: dict[str, set[int]] = {}
        self.last_ack = time.monotonic()
        self.worst_gap_s = 0.0

    def run(self) -> None:
        count, at = 0, self._number
        while not self._stop_asked.is_set():
            count += 1
            key = f"{self._number}-{count % 20}"
            try:
                self._clients[at % len(NODES)].put_item(TableName=TABLE, Item={"k": {"S": key}, "v": {"N": str(count)}})
            except (ClientError, BotoCoreError):
                self.perhaps.setdefault(key, set()).add(count)
                at += 1
                self._stop_asked.wait(0.05)
            else:
                now = time.monotonic()
                self.worst_gap_s, self.last_ack = max(self.worst_gap_s, now - self.last_ack), now
                self.acked[key] = count
                self.perhaps[key] = set()


def value(client: Any, key: str) -> int | None:
    item = client.get_item(TableName=TABLE, Key={"k": {"S": key}}, ConsistentRead=True).get("Item")
    return None if item is None else int(item["v"]["N"])


def test_a_cluster_is_founded_and_every_router_serves_every_table(cluster: ClusterOfProcesses) -> None:
    wait_for(lambda: health(cluster, "n1") == (503, "not initialised"), timeout=60, ignoring=(OSError,))
    wait_for(lambda: health(cluster, "n3") == (503, "not initialised"), timeout=60, ignoring=(OSError,))
    wait_for(lambda: cluster.cli("cluster", "init")[0] == 0, timeout=60)
    for name in (*NODES, ROUTER, DURABILITY):
        cluster.ready(name)
    code, again = cluster.cli("cluster", "init")
    assert (code, again["founded"], again["nodes"]) == (0, False, list(NODES))
    one, two = cluster.client("n1"), cluster.client("n2")
    one.create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    with pytest.raises(ClientError, match="ResourceInUse"):
        two.create_table(
            TableName=TABLE,
            KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
    wait_for(lambda: one.describe_table(TableName=TABLE)["Table"]["TableStatus"] == "ACTIVE", timeout=30)
    for name in (ROUTER, DURABILITY, *NODES):  # who was told so by one may go by it through any other, without a try more
        client = cluster.client(name)
        client.put_item(TableName=TABLE, Item={"k": {"S": name}, "v": {"N": "7"}})
        assert all(value(cluster.client(other), name) == 7 for other in NODES)
        assert client.describe_table(TableName=TABLE)["Table"]["TableStatus"] == "ACTIVE"
        assert (found := health(cluster, name))[0] == 200, (name, found)
    for name in (*NODES, ROUTER):
        wait_for(lambda name=name: cluster.cli("status", at=name)[0] == 0, timeout=60)  # type: ignore[misc]
        status = cluster.cli("status", at=name)[1]
        assert (status["durability"], len(status["nodes"])) == ("works", len(NODES)), "passed on to the durability process"


def test_the_version_is_raised_once_every_process_is_there_and_any_of_them_holds_it(cluster: ClusterOfProcesses) -> None:
    for name in (*NODES, ROUTER, DURABILITY):
        wait_for(lambda name=name: cluster.asked("cluster/version", at=name)["version"] == NEWEST, timeout=15)  # type: ignore[misc]
        assert (cluster.root / name / FILE).exists()
    roles = {**dict.fromkeys(NODES, "node"), ROUTER: "router", DURABILITY: "durability"}

    def told() -> dict[str, tuple[str, int | None]]:
        return {one["name"]: (one["role"], one["can"]) for one in cluster.asked("cluster/version", at="n2")["processes"]}

    wait_for(lambda: told() == {name: (role, NEWEST) for name, role in roles.items()}, timeout=15)  # a peer's news is a second old, or late
    code, held = cluster.cli("cluster", "version", "--hold", at=ROUTER)
    assert (code, held["version"], bool(held["held"])) == (0, NEWEST, True)
    wait_for(lambda: cluster.asked("cluster/version")["held"] == held["held"], timeout=15)
    code, status = cluster.cli("cluster", "status", at="n1")
    assert (code, status["version"]["version"]) == (0, NEWEST)
    assert cluster.cli("cluster", "version", "--release", at="n3")[1]["held"] is None
    assert f"scrubjay_cluster_version {NEWEST}.0" in metrics(cluster, ROUTER)


def test_a_router_stores_nothing_and_starts_cold(cluster: ClusterOfProcesses) -> None:
    known = ["cluster-version.json", "cluster.json", "lock", "log", "members.json", "tmp"]
    assert sorted(path.name for path in (cluster.root / ROUTER).iterdir()) == known
    assert 'scrubjay_requests_total{operation="PutItem",status="200"} 1.0' in metrics(cluster, ROUTER)
    assert "scrubjay_wal_used_bytes" not in metrics(cluster, ROUTER)
    cluster.kill(ROUTER)
    cluster.spawn(ROUTER)
    client = cluster.client(ROUTER)
    wait_for(lambda: value(client, ROUTER) == 7, timeout=30, ignoring=(BotoCoreError, ClientError))
    with urllib.request.urlopen(f"{cluster.url(ROUTER)}/healthz?durable", timeout=5) as answer:
        assert answer.status == 200, "passed on to the durability process"
    assert cluster.stop(ROUTER) == 0


def windows(cluster: ClusterOfProcesses) -> list[Any]:
    found = []
    for name in (*NODES, DURABILITY):
        told = cluster.client(name).describe_continuous_backups(TableName=TABLE)["ContinuousBackupsDescription"]
        found.append(told["PointInTimeRecoveryDescription"].get("EarliestRestorableDateTime"))
    return found


def partitions(cluster: ClusterOfProcesses) -> tuple[int, int, bool]:
    """Of the table: how many it has, how many were split, whether one is being split."""
    found = AdminClient(cluster.url(DURABILITY)).get("table/partitions", {"table": TABLE})
    return len(found["partitions"]), len(found["former"]), found["split"] is not None


def test_a_node_that_is_killed_while_what_it_leads_is_split_loses_nothing_and_comes_back(cluster: ClusterOfProcesses) -> None:
    stop = threading.Event()
    writers = [Writer(cluster, number, stop) for number in range(6)]
    for writer in writers:
        writer.start()
    wait_for(lambda: all(writer.acked for writer in writers), timeout=30)
    code, status = cluster.cli("cluster", "status")
    assert code == 0
    leader = next(one["leader"] for one in status["partitions"] if one["table"] == TABLE)
    AdminClient(cluster.url(DURABILITY)).post("table/split", {"table": TABLE, "at": None})
    wait_for(lambda: partitions(cluster)[1:] != (0, False), timeout=30)
    cluster.kill(leader)
    killed = time.monotonic()
    wait_for(lambda: all(writer.last_ack > killed + 1.0 for writer in writers), timeout=FAIL_OVER_S + 5)
    others = [name for name in NODES if name != leader]
    assert value(cluster.client(others[0]), leader) == 7, "a strong read of what was written before"
    cluster.spawn(leader)
    cluster.ready(leader)
    stop.set()
    for writer in writers:
        writer.join(30)
    assert max(writer.worst_gap_s for writer in writers) < FAIL_OVER_S
    clients = [cluster.client(name) for name in NODES]
    for writer in writers:
        for place, (key, count) in enumerate(sorted(writer.acked.items())):
            found = value(clients[place % len(clients)], key)
            assert found == count or found in writer.perhaps[key], (key, count, found)
    wait_for(lambda: partitions(cluster) == (2, 1, False), timeout=60)
    wait_for(lambda: cluster.cli("cluster", "status", at=leader)[0] == 0, timeout=90)


def test_what_is_there_is_proven_and_survives_the_durability_process(cluster: ClusterOfProcesses) -> None:
    wait_for(lambda: None not in windows(cluster), timeout=60)
    assert len(set(windows(cluster))) == 1
    cluster.kill(DURABILITY)
    code, refused = cluster.cli("status", at="n2")
    assert (code, refused["error"]["code"]) == (1, "Unreachable")
    assert "--role durability" in refused["error"]["next"]
    with pytest.raises(ClientError, match="durability process"):
        cluster.client("n2", tries=2).describe_continuous_backups(TableName=TABLE)
    cluster.client("n2").put_item(TableName=TABLE, Item={"k": {"S": "without"}, "v": {"N": "9"}})
    cluster.spawn(DURABILITY)
    cluster.ready(DURABILITY)
    wait_for(
        lambda: cluster.cli("status")[1]["durability"] == "works", timeout=30
    )  # with its folder; another one would wait for two minutes
    code, report = cluster.cli("scrub", "run")
    assert (code, report["verdict"]) == (0, "match"), report
    assert {one["copy"] for table in report["tables"] for part in table["partitions"] for one in part["copies"]} >= set(NODES)
    code, report = cluster.cli("verify", "--level", "records")
    assert (code, report["verdict"]) == (0, "match"), report
    wait_for(lambda: [node["state"] for node in cluster.cli("status")[1]["nodes"]] == ["ok"] * len(NODES), timeout=60)
    wait_for(lambda: all(node["disk_free_bytes"] for node in cluster.cli("status")[1]["nodes"]), timeout=20)  # each told by its own process


def metrics(cluster: ClusterOfProcesses, name: str) -> str:
    with urllib.request.urlopen(f"{cluster.url(name)}/metrics", timeout=5) as answer:
        return str(answer.read().decode())


def test_who_shows_a_certificate_of_another_authority_or_of_another_node_is_not_let_in(
    cluster: ClusterOfProcesses, authority: Authority, tmp_path: Path
) -> None:
    up = 'scrubjay_link_up{channel="port",peer="n3"} '
    assert all(up + "1.0" in metrics(cluster, name) for name in ("n1", DURABILITY))
    assert cluster.stop("n3") == 0
    cluster.spawn("n3", shows=Authority(tmp_path, "foreign").files("n3", names=["n3"]))
    wait_for(lambda: "certificate verify failed" in cluster.log("n1").read_text() or "TLS: " in cluster.log("n1").read_text(), timeout=60)
    assert up + "0.0" in metrics(cluster, "n1")
    cluster.kill("n3")
    cluster.spawn("n3", shows=authority.files("n2-of-n3", names=["n2"]))
    wait_for(
        lambda: "its certificate names neither it nor its role (name=n3, role=node, certificate=n2)" in cluster.log("n1").read_text(),
        timeout=60,
    )
    assert up + "0.0" in metrics(cluster, "n1")
    cluster.kill("n3")
    cluster.client("n1").put_item(TableName=TABLE, Item={"k": {"S": "without n3"}, "v": {"N": "4"}})


def stays_out(cluster: ClusterOfProcesses, node: str) -> bool:
    code, status = cluster.cli("cluster", "status", at="n1")
    found = next(one for one in status["nodes"] if one["node"] == node)
    return code == 3 and found["state"] == "failed" and "stays out" in (found["failed"] or "")


def test_an_emptied_folder_stays_out_and_the_others_serve(cluster: ClusterOfProcesses) -> None:
    (cluster.root / "n3").rename(cluster.root / "n3 before")
    cluster.spawn("n3", routes=False)
    wait_for(lambda: stays_out(cluster, "n3"), timeout=90)
    cluster.ready("n3")
    with pytest.raises(ClientError, match=r"UnknownOperation.* does not route"):
        cluster.client("n3").put_item(TableName=TABLE, Item={"k": {"S": "nowhere"}})
    client = cluster.client("n1")
    client.put_item(TableName=TABLE, Item={"k": {"S": "after"}, "v": {"N": "3"}})
    assert value(cluster.client("n2"), "after") == 3


def test_it_is_made_another_member_while_clients_write_and_votes_like_any(cluster: ClusterOfProcesses) -> None:
    code, refused = cluster.cli("cluster", "replace", "n1")
    assert code == 4, refused
    assert "is a member" in refused["error"]["message"]
    stop = threading.Event()
    writers = [Writer(cluster, 10 + number, stop) for number in range(2)]
    for writer in writers:
        writer.start()
    answers: list[tuple[int, dict[str, Any]]] = []

    def replaced() -> bool:
        answers.append(cluster.cli("cluster", "replace", "n3", at="n2"))
        return answers[-1][0] != 1  # 1: who works for the cluster has no connection to the node yet, which has just come back

    wait_for(replaced, timeout=60)
    code, done = answers[-1]
    assert (code, done["node"], done["incarnation"]) == (0, "n3", 2), done
    stop.set()
    for writer in writers:
        writer.join()
    wait_for(lambda: cluster.cli("cluster", "status")[0] == 0, timeout=60)
    _, status = cluster.cli("cluster", "status")
    copies = [copy for one in status["partitions"] for copy in one["members"] if copy["node"] == "n3"]
    assert {(copy["incarnation"], copy["vote"], copy["tree"]) for copy in copies} == {(2, "votes", "ok")}, copies
    scrubs: list[Any] = []

    def compared() -> bool:
        scrubs.append(cluster.cli("scrub", "run", "--table", TABLE, timeout=180)[1])
        return bool(scrubs[-1]["verdict"] != "unverified")  # on a loaded machine one copy may not have come so far in time

    wait_for(compared, timeout=120)
    assert scrubs[-1]["verdict"] == "match", scrubs[-1]
    # With another one gone, two of two that are left serve.
    cluster.kill("n2")
    client = cluster.client("n1", tries=20)
    client.put_item(TableName=TABLE, Item={"k": {"S": "with n3"}, "v": {"N": "5"}})
    for writer in writers:
        assert writer.acked
        for key, count in writer.acked.items():
            assert value(client, key) in {count, *writer.perhaps[key]}
