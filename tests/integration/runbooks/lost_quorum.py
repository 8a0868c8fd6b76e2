"""The state that runbooks/lost-quorum.md is for: of three node processes two are SIGKILLed, and their folders are gone. What a person does there by hand; and, around it, what has to be true."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.fixtures.cluster import DURABILITY, NODES, ClusterOfProcesses
from tests.fixtures.process import scrubjay_command
from tests.fixtures.wait import wait_for

TABLE = "orders"
STAYS, LOST = "n1", ("n2", "n3")
WRITTEN = 50


class LostQuorum:
    """The cluster as `Scenario` sees a server, and its steps."""

    def __init__(self, cluster: ClusterOfProcesses) -> None:
        self.cluster = cluster
        self.data = cluster.root
        self.url = cluster.url(DURABILITY)
        self.kept_to = 0

    def client(self) -> Any:
        return self.cluster.client(STAYS)

    def asked(self, path: str) -> tuple[int, dict[str, Any]]:
        document = self.cluster.asked(path)
        return int(document.get("exit", 0)), document

    def value(self, key: str, *, at: str = STAYS) -> str:
        found = self.cluster.client(at).get_item(TableName=TABLE, Key={"pk": {"S": key}}, ConsistentRead=True)
        return str(found["Item"]["value"]["S"])

    def problems(self) -> list[dict[str, Any]]:
        return list(self.asked("status")[1]["problems"])

    def recover(self, *more: str) -> tuple[int, dict[str, Any]]:
        lost = [word for name in LOST for word in ("--lost", name)]
        command = ("cluster", "recover-quorum", "--config", str(self.cluster.file), "--name", STAYS, *lost, *more, "--json")
        done = subprocess.run(scrubjay_command(*command), capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, json.loads(done.stdout)

    def lose(self) -> None:
        """Two are gone. Writes and strong reads are refused with what an SDK tries again, what may be stale is read, and the state says which partitions, and why."""
        cluster = self.cluster
        for name in LOST:
            cluster.kill(name)
            (cluster.root / name).rename(cluster.root / f"{name}.old")
        once = cluster.client(STAYS, tries=1)
        for refused in (
            lambda: once.put_item(TableName=TABLE, Item={"pk": {"S": "no"}, "value": {"S": "0"}}),
            lambda: once.get_item(TableName=TABLE, Key={"pk": {"S": "k1"}}, ConsistentRead=True),
        ):
            with pytest.raises(ClientError) as error:
                refused()
            assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] >= 500, error.value.response
        assert once.get_item(TableName=TABLE, Key={"pk": {"S": "k1"}})["Item"]["value"]["S"] == "1"
        wait_for(lambda: "no-leader" in {one["kind"] for one in self.problems()}, timeout=30)
        wait_for(lambda: any(TABLE in one["what"] for one in self.problems() if one["kind"] == "no-leader"), timeout=30)
        code, refusal = self.recover("--confirm")
        assert (code, refusal["error"]["code"]) == (4, "Unsafe"), "the one that is left still runs"

    def stop(self) -> None:
        self.cluster.kill(STAYS)
        code, refusal = self.recover("--plan")
        assert (code, refusal["error"]["message"].split(":")[0]) == (4, "the durability process runs"), refusal
        self.cluster.stop(DURABILITY)
        code, plan = self.recover("--plan")
        assert (code, plan["confirmed"], plan["recovers"], plan["refused"]) == (0, False, 2, 0), plan
        table = next(one for one in plan["partitions"] if one["table"] == TABLE)
        assert (table["standing"], table["voters"]) == ("lost", list(NODES)), plan
        self.kept_to = table["kept_to"]
        assert self.kept_to > WRITTEN

    def start(self) -> None:
        """Recovered. A folder of the former membership stays out by the archive's word alone, while nobody is there who knows better; then the one that is left is started."""
        cluster = self.cluster
        code, again = self.recover("--confirm")
        assert (code, again["recovers"], again["number"]) == (0, 0, None), "asked again, nothing is left to be done"
        (cluster.root / "n2.old").rename(cluster.root / "n2")
        cluster.spawn("n2")
        wait_for(lambda: "of a former membership" in cluster.log("n2").read_text(), timeout=30)
        cluster.kill("n2")
        shutil.rmtree(cluster.root / "n2")
        cluster.spawn(STAYS)
        cluster.spawn(DURABILITY)
        cluster.ready(STAYS)
        cluster.ready(DURABILITY)
        for number in range(WRITTEN):
            assert self.value(f"k{number}") == str(number)
        self.client().put_item(TableName=TABLE, Item={"pk": {"S": "after"}, "value": {"S": "1"}})
        told = [one for one in self.problems() if one["kind"] == "quorum-recovered"]
        assert told, self.problems()
        assert {one["runbook"] for one in told} == {"runbooks/lost-quorum.md"}
        shown = next(one for one in self.asked("cluster/status")[1]["partitions"] if one["table"] == TABLE)["recovered"]
        assert (shown["from"], shown["lost"], shown["kept_to"], shown["proven"]) == (STAYS, list(LOST), self.kept_to, None), shown

    def others(self) -> None:
        """With empty folders they come, and stay out until they are joined."""
        for name in LOST:
            self.cluster.spawn(name)
        for name in LOST:
            wait_for(lambda name=name: "this node stays out" in self.cluster.log(name).read_text(), timeout=30)  # type: ignore[misc]

    def over(self) -> None:
        """What one of those that joined serves is all of it; and another old folder is not let in by who is there."""
        cluster = self.cluster
        assert {one["voters"] for one in self.asked("cluster/status")[1]["partitions"]} == {3}
        assert self.value("after", at="n2") == "1"
        cluster.kill("n3")
        shutil.rmtree(cluster.root / "n3")
        (cluster.root / "n3.old").rename(cluster.root / "n3")
        before = len(cluster.log("n3").read_text())
        cluster.spawn("n3")
        wait_for(lambda: "this node stays out" in cluster.log("n3").read_text()[before:], timeout=30)
        for number in range(WRITTEN):
            assert self.value(f"k{number}", at="n2") == str(number)


def lost_quorum(root: Path, scenario: Callable[[LostQuorum], Any]) -> Iterator[Any]:
    """scenario: makes a `Scenario` of it."""
    with ClusterOfProcesses(root) as cluster:
        for name in (*NODES, DURABILITY):
            cluster.spawn(name)
        wait_for(lambda: cluster.cli("cluster", "init")[0] == 0, timeout=60)
        for name in (*NODES, DURABILITY):
            cluster.ready(name)
        house = LostQuorum(cluster)
        made = scenario(house)
        made.make_table(rows=0)
        made.status_is(0)  # all of that is archived
        for number in range(WRITTEN):
            made.put(f"k{number}", str(number))
        house.lose()
        made.variables |= {"CONFIG": str(cluster.file), "LEFT": STAYS, "GONE": LOST[0], "GONE2": LOST[1]}
        made.hands |= {"stop-what-is-left": house.stop, "start-what-is-left": house.start, "start-empty": house.others}
        yield made
        house.over()
