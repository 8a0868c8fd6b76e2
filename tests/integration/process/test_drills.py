"""Drills on scratch clusters, started by a real server: they end, they prove what they say, and a server that is killed in the middle leaves no process and no file of theirs."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fixtures.process import ScrubjayServer, scrubjay_command
from tests.fixtures.wait import wait_for
from tests.integration.process.load import make_table

Make = Callable[..., ScrubjayServer]

pytestmark = pytest.mark.timeout(300)


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


def test_the_cluster_comes_back_from_the_archive_alone_and_a_kill_leaves_nothing_of_a_drill(scrubjay_server: Make) -> None:
    server = scrubjay_server(settings={"archive.closed_interval": "1s", "tables.initial_partitions": "2"})
    drills = server.data / "tmp" / "drills"
    make_table(server.port, "birds")
    client = server.client()
    for number in range(20):
        item = {"k": {"S": f"bird-{number}"}, "b": {"B": b"\x00\xff"}, "s": {"BS": [b"z", b"a"]}, "n": {"N": "1.50"}}
        client.put_item(TableName="birds", Item=item)

    def proven() -> bool:
        code, report = server.cli_json("restore", "plan", "--table", "birds", "--to", "other", "--latest")
        return code == 0 and report["bytes"] > 0

    wait_for(proven, timeout=60)
    code, report = server.cli_json("drill", "run", "lose-cluster", timeout=180)
    assert (code, report["verdict"]) == (0, "match"), report
    assert report["rows_compared"] > 0
    assert report["facts"]["rows_live"] == report["rows_compared"]
    assert 0 < report["rto_seconds"] < report["seconds"]
    assert report["predicted_seconds"] > 0
    assert (list(drills.iterdir()), running_below(drills)) == ([], [])

    asked = subprocess.Popen(
        scrubjay_command("drill", "run", "lose-cluster", "--endpoint", server.url), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(lambda: any(" recover " in one for one in running_below(drills)), timeout=60)
        server.kill()
        wait_for(lambda: not running_below(drills), timeout=20)
    finally:
        asked.kill()
        asked.wait()
    server.start()
    assert not drills.exists() or not list(drills.iterdir())
    assert server.stop() == 0
