"""A real server whose history has outlived its retention: weeks pass between two starts, by its clock."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fixtures.faketime import FakeClock
from tests.fixtures.process import ScrubjayServer
from tests.fixtures.wait import wait_for
from tests.integration.process.load import make_table, now_us, proven

Make = Callable[..., ScrubjayServer]
FAST = {"archive.seal_age": "1s", "archive.seal_age_max": "1s", "archive.closed_interval": "1s"}


@pytest.mark.timeout(300)
def test_history_leaves_when_its_window_ends_and_what_is_inside_stays_right(scrubjay_server: Make, tmp_path: Path) -> None:
    clock = FakeClock(tmp_path, "-40d")
    server = scrubjay_server(settings=FAST, env=clock.env)
    make_table(server.port, "birds")
    make_table(server.port, "dropped")
    client = server.client()
    client.put_item(TableName="birds", Item={"k": {"S": "old"}, "v": {"S": "first"}})
    client.put_item(TableName="dropped", Item={"k": {"S": "old"}})
    client.delete_table(TableName="dropped")
    wait_for(lambda: server.cli_json("archive", "status", "--table", "birds")[0] == 0, timeout=30)
    early = server.cli_json("archive", "status", "--table", "birds")[1]["tables"][0]["window"]["latest"]
    client.put_item(TableName="birds", Item={"k": {"S": "old"}, "v": {"S": "second"}})
    assert server.cli_json("scrub", "run")[0] == 0
    assert server.cli("schedule", "pause").returncode == 0  # a drill that is overdue would bring a table of its own
    assert server.stop() == 0

    clock.set("+0")
    server.start()
    client = server.client()
    client.put_item(TableName="birds", Item={"k": {"S": "new"}, "v": {"S": "third"}})
    wait_for(
        lambda: any(part["whole"] for table in server.cli_json("expire", "plan")[1]["tables"] for part in table["partitions"]), timeout=40
    )
    code, plan = server.cli_json("expire", "run")
    assert (code, plan["ran"]) == (0, False), "without --confirm it only says what it would do"
    assert plan["totals"]["objects"] > 0
    assert server.cli_json("expire", "run", "--keep", "3d", "--confirm")[0] == 4, "less than the table's own retention"
    code, done = server.cli_json("expire", "run", "--confirm")
    assert code == 0, done
    assert done["totals"]["deleted"] >= plan["totals"]["objects"]

    code, status = server.cli_json("archive", "status")
    assert code == 0, status
    assert [table["table"] for table in status["tables"]] == ["birds"], "the dropped one has left"
    assert status["tables"][0]["window"]["earliest"] > early
    assert server.cli_json("verify")[0] == 0
    assert server.cli_json("scrub", "run")[0] == 0
    code, refused = server.cli_json("restore", "run", "--table", "birds", "--to", "before", "--at", early)
    assert code == 4, refused
    asked = now_us()
    wait_for(lambda: proven(server, "birds", asked), timeout=60)
    code, restored = server.cli_json("restore", "run", "--table", "birds", "--to", "copy", "--latest")
    assert code == 0, restored
    items = client.scan(TableName="copy", ConsistentRead=True)["Items"]
    assert {item["k"]["S"]: item["v"]["S"] for item in items} == {"old": "second", "new": "third"}
    assert server.stop() == 0
    server.start()
    assert server.cli_json("verify")[0] == 0, "over a restart too"
