"""A cluster of real processes whose members change: a fourth node joins, a founding one is drained while clients write, and is removed; what stays has everything, and the one that was removed stays out."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fixtures.cluster import DURABILITY, NODES, ClusterOfProcesses
from tests.fixtures.wait import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.process, pytest.mark.timeout(400)]

TABLE = "birds"
JOINS, LEAVES = "n4", "n1"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterOfProcesses]:
    with ClusterOfProcesses(
        tmp_path_factory.mktemp("members"),
        spares={JOINS: "z0"},
        settings="[tables]\ninitial_partitions = 2\n",
        stand_in_after="2s",
    ) as made:
        for name in (*NODES, JOINS, DURABILITY):
            made.spawn(name)
        wait_for(lambda: made.cli("cluster", "init")[0] == 0, timeout=60)
        for name in (*NODES, JOINS, DURABILITY):
            made.ready(name)
        yield made


class Writer(threading.Thread):
    """Puts ever higher numbers under keys of its own, through the routers that stay, in turn, as a client does that tries again as often as boto3 does by itself; remembers what went wrong all the same."""

    def __init__(self, cluster: ClusterOfProcesses, number: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._clients = [cluster.client(name, tries=10) for name in ("n2", JOINS)]  # n3 is killed on the way, LEAVES goes
        self._number, self._stop_asked = number, stop
        self.acked: dict[str, int] = {}
        self.errors: list[str] = []

    def run(self) -> None:
        count = 0
        while not self._stop_asked.is_set():
            count += 1
            key = f"{self._number}-{count % 50}"
            try:
                self._clients[count % len(self._clients)].put_item(TableName=TABLE, Item={"k": {"S": key}, "v": {"N": str(count)}})
            except Exception as error:
                self.errors.append(f"{type(error).__name__}: {error}")
            else:
                self.acked[key] = count


def value(client: Any, key: str) -> int:
    return int(client.get_item(TableName=TABLE, Key={"k": {"S": key}}, ConsistentRead=True)["Item"]["v"]["N"])


def indexed(client: Any, number: int) -> set[str]:
    """Keys of the items that the index has under a number."""
    found = client.query(
        TableName=TABLE, IndexName="by-number", KeyConditionExpression="v = :v", ExpressionAttributeValues={":v": {"N": str(number)}}
    )
    return {item["k"]["S"] for item in found["Items"]}


def group(cluster: ClusterOfProcesses, at: str = "n2") -> list[dict[str, Any]]:
    partitions: list[dict[str, Any]] = cluster.cli("cluster", "status", at=at)[1]["partitions"]
    return partitions


def hosts(cluster: ClusterOfProcesses) -> set[tuple[str, ...]]:
    return {tuple(sorted(copy["node"] for copy in one["members"])) for one in cluster.cli("cluster", "status", at="n2")[1]["partitions"]}


def test_a_node_joins_another_is_drained_under_writers_and_removed(cluster: ClusterOfProcesses) -> None:
    client = cluster.client("n2")
    client.create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}, {"AttributeName": "v", "AttributeType": "N"}],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "by-number",
                "KeySchema": [{"AttributeName": "v", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    wait_for(lambda: client.describe_table(TableName=TABLE)["Table"]["TableStatus"] == "ACTIVE", timeout=30)
    wait_for(lambda: cluster.cli("status")[0] == 0, timeout=60)
    assert [node["node"] for node in cluster.cli("status")[1]["nodes"]] == list(NODES), "a node that has not joined is none of the cluster"
    code, refused = cluster.cli("cluster", "drain", LEAVES)
    assert (code, refused["error"]["code"]) == (4, "Unsafe"), refused
    code, joined = cluster.cli("cluster", "join", JOINS, timeout=60)
    assert (code, joined["node"], joined["incarnation"], joined["zone"]) == (0, JOINS, 1, "z0"), joined
    stop = threading.Event()
    writers = [Writer(cluster, number, stop) for number in range(3)]
    for writer in writers:
        writer.start()
    wait_for(lambda: all(writer.acked for writer in writers), timeout=30)
    # A node is lost: a log replica on the one that holds nothing yet stands in for it everywhere, and rests when it is back.
    cluster.kill("n3")
    began = time.monotonic()
    wait_for(lambda: {one["stand_in"] for one in group(cluster)} == {JOINS}, timeout=60)
    print(f"stood in everywhere {time.monotonic() - began:.1f} s after the node was killed, of which 2 s are waited")
    assert {copy["kind"] for one in group(cluster) for copy in one["members"] if copy["node"] == JOINS} == {"log"}
    cluster.spawn("n3")
    cluster.ready("n3")
    wait_for(lambda: {(one["stand_in"], one["voters"]) for one in group(cluster)} == {(None, 3)}, timeout=60)
    # Whoever works for the cluster dies in the middle of a drain: the next one goes on with it.
    drains = threading.Thread(target=lambda: cluster.cli("cluster", "drain", LEAVES, at="n3", timeout=120), daemon=True)
    drains.start()
    wait_for(lambda: any(node["state"] == "draining" for node in cluster.cli("cluster", "status", at="n2")[1]["nodes"]), timeout=30)
    cluster.kill(DURABILITY)
    cluster.spawn(DURABILITY)
    cluster.ready(DURABILITY)
    drains.join(120)
    code, drained = cluster.cli("cluster", "drain", LEAVES, at="n3", timeout=120)
    assert (code, drained["left"]) == (0, 0), drained
    assert hosts(cluster) == {("n2", "n3", JOINS)}
    code, removed = cluster.cli("cluster", "remove", LEAVES, timeout=60)
    assert (code, removed["node"]) == (0, LEAVES), removed
    cluster.kill(LEAVES)
    stop.set()
    for writer in writers:
        writer.join(60)
    assert [error for writer in writers for error in writer.errors] == []
    for writer in writers:
        assert writer.acked
        for key, count in writer.acked.items():
            assert value(client, key) == count
    key, count = next(iter(writers[0].acked.items()))
    wait_for(lambda: key in indexed(client, count), timeout=60)
    code, report = cluster.cli("scrub", "run", "--table", TABLE, timeout=120)
    assert (code, report["verdict"]) == (0, "match"), report
    assert {one["copy"] for table in report["tables"] for part in table["partitions"] for one in part["copies"]} >= {"n2", "n3", JOINS}
    stay = [("n2", "ok"), ("n3", "ok"), (JOINS, "ok")]
    wait_for(lambda: [(node["node"], node["state"]) for node in cluster.cli("status")[1]["nodes"]] == stay, timeout=60)


def test_all_of_them_start_again_without_it_and_it_stays_out(cluster: ClusterOfProcesses) -> None:
    """Where the metadata group is by now, each finds out from its own log, or from the others."""
    for name in ("n2", "n3", JOINS):
        cluster.kill(name)
    for name in ("n3", JOINS, LEAVES):
        cluster.spawn(name)
    for name in ("n3", JOINS):
        cluster.ready(name)
    wait_for(lambda: "was removed from the cluster" in cluster.log(LEAVES).read_text(), timeout=60)
    client = cluster.client(JOINS, tries=10)
    client.put_item(TableName=TABLE, Item={"k": {"S": "without n1 and n2"}, "v": {"N": "5"}})
    assert value(cluster.client("n3", tries=10), "without n1 and n2") == 5
