"""A restore, and SIGKILL at any moment of it: the next start carries on, the target is invisible until its digests agree, and it ends equal to the ledger."""

from __future__ import annotations

import contextlib
import random
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.fixtures.process import ScrubjayServer, scrubjay_command
from tests.fixtures.wait import wait_for
from tests.integration.process.load import Connection, Item, by_key, make_table, proven, put, rfc3339, scan

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

QUICK = {
    "tables.initial_partitions": "3",
    "archive.segment_bytes": "64KiB",
    "archive.seal_age": "1s",
    "archive.closed_interval": "1s",
    "pitr.parallel": "1",
}
BIRDS = 900
MOMENTS = 4
Make = Callable[..., ScrubjayServer]


def bird(number: int, turn: int) -> Item:
    return {"k": {"S": f"bird-{number}"}, "song": {"S": f"{turn}-{number} " + "tweet " * 20}}


def visible(server: ScrubjayServer, name: str) -> str:
    """Of the target, now: nothing, restoring, or published. Raises AssertionError if any data operation answers before it is published."""
    with contextlib.closing(Connection(server.port)) as connection:
        read = connection.call("GetItem", {"TableName": name, "Key": {"k": {"S": "bird-0"}}, "ConsistentRead": True})
        listed = connection.call("Scan", {"TableName": name})
        wrote = connection.call(
            "UpdateItem", {"TableName": name, "Key": {"k": {"S": "no-bird"}}, "ConditionExpression": "attribute_exists(k)"}
        )
        told = connection.call("DescribeTable", {"TableName": name})
    if told.status != 200:
        assert told.kind == "ResourceNotFoundException"
        return "nothing"
    table = told.body["Table"]
    if table["TableStatus"] == "CREATING":
        # (it may have been published between the first of these calls and the last one)
        assert table["RestoreSummary"]["RestoreInProgress"] is True
        assert {read.kind, listed.kind, wrote.kind} == {"ResourceNotFoundException"}, (read, listed, wrote)
        return "restoring"
    return "published"


def start_restore(server: ScrubjayServer, name: str, at: int) -> subprocess.Popen[bytes]:
    command = scrubjay_command("restore", "run", "--table", "birds", "--to", name, "--at", rfc3339(at), "--endpoint", server.url, "--json")
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def status(server: ScrubjayServer, name: str) -> tuple[int, dict[str, Any]]:
    return server.asked("restore/status", to=name)


def test_killed_at_many_moments(scrubjay_server: Make) -> None:
    server = scrubjay_server(settings=QUICK)
    make_table(server.port, "birds")
    at = put(server.port, "birds", [bird(number, 0) for number in range(BIRDS)])
    put(server.port, "birds", [bird(number, 1) for number in range(0, BIRDS, 3)])
    expected = by_key([bird(number, 0) for number in range(BIRDS)])
    wait_for(lambda: proven(server, "birds", at), timeout=60)
    took = time.monotonic()
    code, report = server.cli_json("restore", "run", "--table", "birds", "--to", "whole", "--at", rfc3339(at))
    took = time.monotonic() - took
    assert (code, report["verdict"], report["rows"]) == (0, "match", BIRDS), report
    rng = random.Random(7)
    carried_on = 0
    for moment in range(MOMENTS):
        name = f"killed-{moment}"
        client = start_restore(server, name, at)
        wait_for(lambda name=name: visible(server, name) != "nothing", timeout=30)  # type: ignore[misc]
        until = time.monotonic() + took * rng.random()
        seen = visible(server, name)
        while time.monotonic() < until and seen == "restoring":
            seen = visible(server, name)
        server.kill()
        server.start()  # (the client looks for it for half a minute)
        carried_on += "restoring" in (seen, visible(server, name))
        wait_for(lambda name=name: (visible(server, name), status(server, name)[0])[1] != 3, timeout=90)  # type: ignore[misc]
        code, report = status(server, name)
        assert (code, report["verdict"], report["rows"]) == (0, "match", BIRDS), report
        assert visible(server, name) == "published"
        assert by_key(scan(server.port, name)) == expected
        client.wait(60)
    assert carried_on >= 2, "most kills should fall into the restore"
    code, report = server.cli_json("scrub", "run", timeout=240)
    assert (code, report["verdict"]) == (0, "match"), report


def test_cancel_over_a_kill_leaves_nothing(scrubjay_server: Make) -> None:
    """Cancelled while it runs, and after a kill: the name is free, no replica's files stay, and a restore to the same name works."""
    server = scrubjay_server(settings=QUICK)
    make_table(server.port, "birds")
    at = put(server.port, "birds", [bird(number, 0) for number in range(300)])
    wait_for(lambda: server.asked("archive/status", table="birds")[0] == 0, timeout=60)
    files = {path.name for path in (server.data / "nodes" / "n1" / "replicas").iterdir()}
    for turn in range(2):
        client = start_restore(server, "twice", at)
        wait_for(lambda: visible(server, "twice") != "nothing", timeout=30)
        if turn:
            server.kill()
            server.start()
        code, report = server.cli_json("restore", "cancel", "twice")
        client.wait(60)
        if code == 4:  # it was faster
            assert visible(server, "twice") == "published"
            server.client().delete_table(TableName="twice")
        else:
            assert (code, report["state"]) == (0, "cancelled"), report
        wait_for(lambda: visible(server, "twice") == "nothing", timeout=60)
    wait_for(lambda: {path.name for path in (server.data / "nodes" / "n1" / "replicas").iterdir()} == files, timeout=60)
    assert not list((server.data / "tmp").glob("restore/*"))
    code, report = server.cli_json("restore", "run", "--table", "birds", "--to", "twice", "--at", rfc3339(at))
    assert (code, report["verdict"]) == (0, "match"), report
    assert by_key(scan(server.port, "twice")) == by_key([bird(number, 0) for number in range(300)])


def test_a_planned_stop_archives_everything(scrubjay_server: Make) -> None:
    """SIGTERM straight after the writes, nothing sealed yet: exit 0, and the archive alone has it all."""
    server = scrubjay_server(settings={"archive.seal_age": "60s", "archive.closed_interval": "60s"})
    make_table(server.port, "birds")
    last = put(server.port, "birds", [bird(number, 0) for number in range(50)])
    assert server.stop() == 0
    done = subprocess.run(
        scrubjay_command("verify", "--archive", (server.data / "archive").as_uri(), "--level", "replayed", "--json"),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
    server.start()
    code, report = server.cli_json("restore", "run", "--table", "birds", "--to", "again", "--at", rfc3339(last))
    assert (code, report["verdict"], report["rows"]) == (0, "match", 50), report
    assert by_key(scan(server.port, "again")) == by_key([bird(number, 0) for number in range(50)])
