"""Drills on scratch clusters, started by a real server: they end, they prove what they say, and a server that is killed in the middle leaves no process and no file of theirs."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scrubjay.base.env import ObjectStore
from scrubjay.base.real.disk import RealDisk
from scrubjay.scratch.clone import clone_job
from scrubjay.scratch.lost_nodes import zone_job
from scrubjay.scratch.lying_store import lie_job
from scrubjay.scratch.rotten import rot_job
from tests.fixtures.process import ScrubjayServer, scrubjay_command
from tests.fixtures.wait import wait_for
from tests.integration.process.load import rfc3339

Make = Callable[..., ScrubjayServer]

pytestmark = [pytest.mark.process, pytest.mark.timeout(300)]


def running_below(folder: Path) -> list[str]:
    """Command lines of processes that were given a path below that folder."""
    found = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = line.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if any(word.startswith(str(folder)) for word in words):
            found.append(" ".join(words))
    return found


def test_the_cluster_comes_back_from_the_archive_alone_and_a_kill_leaves_nothing_of_a_drill(scrubjay_server: Make, tmp_path: Path) -> None:
    secret = tmp_path / "archive.key"
    secret.write_text("5a" * 32)
    secret.chmod(0o600)
    keys = '[{id="local", secret="local", role="admin"}, {id="other", secret="with \\"marks\\" in it"}]'
    settings = {
        "archive.closed_interval": "1s",
        "tables.initial_partitions": "2",
        "auth.keys": keys,
    }
    own = {"SCRUBJAY_ACCESS_KEY_ID": "local", "SCRUBJAY_SECRET_ACCESS_KEY": "local", "SCRUBJAY_ENCRYPTION_KEYS": f"2026=file:{secret}"}
    server = scrubjay_server(settings=settings, env=own, arguments=["--auth"])
    drills = server.data / "tmp" / "drills"
    client = server.client()
    key = {"KeySchema": [{"AttributeName": "k", "KeyType": "HASH"}], "AttributeDefinitions": [{"AttributeName": "k", "AttributeType": "S"}]}
    index = {"IndexName": "by-b", "KeySchema": [{"AttributeName": "b", "KeyType": "HASH"}], "Projection": {"ProjectionType": "ALL"}}
    key["AttributeDefinitions"].append({"AttributeName": "b", "AttributeType": "B"})
    client.create_table(TableName="birds", BillingMode="PAY_PER_REQUEST", GlobalSecondaryIndexes=[index], **key)
    client.get_waiter("table_exists").wait(TableName="birds", WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    for number in range(20):
        item = {"k": {"S": f"bird-{number}"}, "b": {"B": b"\x00\xff"}, "s": {"BS": [b"z", b"a"]}, "n": {"N": "1.50"}}
        client.put_item(TableName="birds", Item=item)

    wrote = rfc3339(time.time_ns() // 1000)

    def comes_back() -> bool:
        """The whole cluster is proven as of a moment with every item in it. That the table is says less: the group that knows of it may be seconds behind."""
        archive = (server.data / "archive").as_uri()
        code, plan = server.cli_json("recover", "--plan", "--archive", archive, "--data", str(tmp_path / "planned"))
        return code == 0 and plan["at"] >= wrote

    wait_for(comes_back, timeout=60)
    code, report = server.cli_json("drill", "run", "lose-cluster", timeout=180)
    assert (code, report["verdict"]) == (0, "match"), report
    assert report["rows_compared"] > 0
    assert report["facts"]["rows_live"] == report["rows_compared"]
    assert 0 < report["rto_seconds"] < report["seconds"]
    assert report["predicted_seconds"] > 0
    assert report["facts"]["asks_for_keys"], "what is recovered asks for the keys of the original"
    assert report["facts"]["archive_encrypted"], "and its archive is as unreadable as the original's"
    assert (list(drills.iterdir()), running_below(drills)) == ([], [])
    code, report = server.cli_json("drill", "run", "restore-random", timeout=180)
    assert (code, report["verdict"], report["rows_compared"]) == (0, "match", 20), report
    indexed = {"IndexName": "by-b", "KeyConditionExpression": "b = :b", "ExpressionAttributeValues": {":b": {"B": b"\x00\xff"}}}
    assert client.query(TableName="birds", **indexed)["Count"] == 20, "what a drill made and dropped took nothing of the original's index"

    asked = subprocess.Popen(
        scrubjay_command("drill", "run", "lose-cluster", "--endpoint", server.url),
        env={**os.environ, **own},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: any(" recover " in one for one in running_below(drills)), timeout=60)
        wait_for(lambda: any(drills.glob("*/scrubjay-recover-*")), timeout=60)  # what it makes for a while lies there too
        server.kill()
        wait_for(lambda: not running_below(drills), timeout=20)
    finally:
        asked.kill()
        asked.wait()
    server.start()
    assert not drills.exists() or not list(drills.iterdir())
    assert server.stop() == 0


class Context:
    """A job's own, in this process."""

    def __init__(self, folder: Path) -> None:
        self.disk = RealDisk(folder)
        self.said: list[dict[str, Any]] = []

    def store(self, url: str) -> ObjectStore:
        raise AssertionError(url)

    def progress(self, facts: dict[str, Any]) -> None:
        self.said.append(facts)


@pytest.mark.parametrize(
    ("job", "planted"),
    [(clone_job, 2), (zone_job, 1), (lie_job, 6), (rot_job, 4)],
    ids=["clone", "lose-zone", "lying-store", "rot of replicas"],
)
def test_what_is_done_to_a_scratch_cluster_is_found_out(tmp_path: Path, job: Any, planted: int) -> None:
    context = Context(tmp_path)
    answer = asyncio.run(job(context, {"folder": str(tmp_path), "seed": 5, "faults": 2}))
    assert (answer["error"], answer["differences"]) == (None, [])
    assert (answer["planted"], answer["detected"]) == (planted, planted)
    assert all(ok for _, _, ok in answer["steps"])
    assert context.said
    wait_for(lambda: not running_below(tmp_path), timeout=20)
