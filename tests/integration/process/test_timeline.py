"""Time travel on a real server: a bad job is found, told apart from what was written meanwhile, and undone."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import pytest

from tests.fixtures.process import ScrubjayServer
from tests.fixtures.wait import wait_for
from tests.integration.process.load import Item, by_key, make_table, now_us, proven, put, rfc3339, scan

Make = Callable[..., ScrubjayServer]
FAST = {"tables.initial_partitions": "2", "archive.seal_age": "1s", "archive.closed_interval": "1s"}
BIRDS = 300


def bird(number: int, song: str) -> Item:
    return {"k": {"S": f"bird-{number}"}, "song": {"S": song}}


@pytest.mark.timeout(240)
def test_a_bad_job_is_found_and_undone_and_what_was_written_meanwhile_stays(scrubjay_server: Make, tmp_path: Path) -> None:
    server = scrubjay_server(settings=FAST)
    make_table(server.port, "birds")
    good = put(server.port, "birds", [bird(number, f"good {number}") for number in range(BIRDS)])
    before = by_key(scan(server.port, "birds"))
    client = server.client()
    bad = put(server.port, "birds", [bird(number, "spoilt") for number in range(0, BIRDS, 2)])
    client.delete_item(TableName="birds", Key={"k": {"S": "bird-1"}})
    answer = client.put_item(TableName="birds", Item=bird(BIRDS, "never was"))
    end = str(answer["ResponseMetadata"]["HTTPHeaders"]["x-scrubjay-timestamp"])
    meanwhile = bird(4, "new and right")
    client.put_item(TableName="birds", Item=meanwhile)
    client.put_item(TableName="birds", Item=bird(6, "spoilt"))  # the same again, and meant

    asked_us = now_us()
    wait_for(
        lambda: proven(server, "birds", asked_us), timeout=60
    )  # a table that is a second old has no proven moment yet, and that is said (4)
    code, told = server.cli_json("history", "birds", "--key", '{"k": {"S": "bird-4"}}')
    assert code == 0, told
    # each once, or twice where a machine that stands still loses an answer, and the write is made again
    assert [song for song, _ in groupby(one["item"]["song"]["S"] for one in told["versions"])] == ["new and right", "spoilt", "good 4"]
    assert all(one["object"] and one["op"] == "put" for one in told["versions"])

    asked = ("birds", "--from", rfc3339(good), "--to", end)
    output = tmp_path / "changes.jsonl"
    code, compared = server.cli_json("diff", *asked, "--output", str(output))
    assert code == 0, compared
    assert compared["totals"] == {"added": 1, "removed": 1, "changed": BIRDS // 2, "same": BIRDS // 2 - 1}
    lines = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    assert len(lines) == BIRDS // 2 + 2
    assert all(one["lsn"] and good < bad for one in lines)
    assert server.cli_json("diff", *asked, "--key", '{"k": {"S": "bird-1"}}')[1]["changes"][0]["after"] is None

    spoilt = by_key(scan(server.port, "birds"))
    code, planned = server.cli_json("undo", *asked)
    assert (code, planned["written"], planned["totals"]["conflicts"]) == (0, False, 1), planned  # reading does not tell who wrote it
    assert by_key(scan(server.port, "birds")) == spoilt
    code, done = server.cli_json("undo", *asked, "--confirm")
    assert code == 3, done
    assert done["totals"] == {"restored": BIRDS // 2 - 1, "deleted": 1, "unchanged": 0, "conflicts": 2}
    conflicts = {one["key"]["k"]["S"]: one["found"] for one in done["conflicts"]}
    assert conflicts == {"bird-4": meanwhile, "bird-6": bird(6, "spoilt")}
    assert by_key(scan(server.port, "birds")) == {**before, "bird-4": meanwhile, "bird-6": bird(6, "spoilt")}
    code, again = server.cli_json("undo", *asked, "--confirm")
    assert (code, again["totals"]["unchanged"], again["totals"]["restored"]) == (3, BIRDS // 2, 0)

    code, refused = server.cli_json("diff", "birds", "--from", "2001-01-01T00:00:00Z", "--to", end)
    assert (code, refused["window"]["earliest"] is not None) == (4, True), refused
    assert server.cli_json("undo", "birds", "--from", end, "--to", rfc3339(good))[0] == 64
    assert server.cli_json("scrub", "run")[0] == 0
    plan = server.cli("restore", "plan", "--table", "birds", "--to", "copy", "--at", rfc3339(good))
    exact = next(line for line in plan.stdout.splitlines() if line.startswith("scrubjay restore run")).split()[1:]
    assert server.cli(*exact).returncode == 0
    assert server.cli(*exact).returncode == 0, "it is done, and says so"
    assert by_key(scan(server.port, "copy")) == before
