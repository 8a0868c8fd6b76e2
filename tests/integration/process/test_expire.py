"""A real server whose history has outlived its retention: weeks pass between two starts, by its clock. What is left of it becomes packs two days later, and it is killed on the way."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from scrubjay.archiver.format.layout import SegmentKey, parse
from tests.fixtures.faketime import FakeClock
from tests.fixtures.process import ScrubjayServer, scrubjay_command
from tests.fixtures.wait import wait_for
from tests.integration.process.load import Item, make_table, micros, now_us, proven, rfc3339, scan

Make = Callable[..., ScrubjayServer]
FAST = {"archive.segment_bytes": "64KiB", "archive.seal_age": "1s", "archive.seal_age_max": "1s", "archive.closed_interval": "1s"}
START_S = 150
"""A start costs some five seconds of a processor, and whole test runs share two."""


def log_of(archive: Path, table: str) -> set[str]:
    """Objects of a table's log, by their keys. table: id."""
    names = [path.relative_to(archive).as_posix() for path in archive.rglob("*") if ".tmp" not in path.name]
    return {name for name in names if isinstance(key := parse(name), SegmentKey) and key.table == table}


def kill_while_it_packs(server: ScrubjayServer, archive: Path, table: str) -> set[str]:
    """Begin to pack `birds`, and kill the server when the first object of its log came or went. table: its id. The log before."""
    log = log_of(archive, table)
    command = [*scrubjay_command("archive", "compact", "birds"), "--endpoint", server.url]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as packing:
        wait_for(lambda: log_of(archive, table) != log, timeout=60)
        server.kill()
        packing.kill()
    return log


def archived(archive: Path, table: str, lsn: int) -> bool:
    """The record lies in a segment that has its manifest. table: id, of one partition."""
    return any(isinstance(key := parse(name), SegmentKey) and key.manifest and key.last >= lsn for name in log_of(archive, table))


def put_three(client: Any, items: list[Item]) -> tuple[int, int]:
    """Put them into `birds`: effective time and LSN of the last."""
    for item in items:
        headers = client.put_item(TableName="birds", Item=item)["ResponseMetadata"]["HTTPHeaders"]
    return micros(headers["x-scrubjay-timestamp"]), int(headers["x-scrubjay-lsn"])


@pytest.mark.timeout(400)
def test_history_leaves_when_its_window_ends_and_what_is_inside_stays_right(scrubjay_server: Make, tmp_path: Path) -> None:
    clock = FakeClock(tmp_path, "-40d")
    server = scrubjay_server(settings=FAST, env=clock.env)
    make_table(server.port, "birds")
    make_table(server.port, "dropped")
    client = server.client()
    client.put_item(TableName="birds", Item={"k": {"S": "old"}, "v": {"S": "first"}})
    client.put_item(TableName="dropped", Item={"k": {"S": "old"}})
    client.delete_table(TableName="dropped")
    wait_for(lambda: server.asked("archive/status", table="birds")[0] == 0, timeout=30)
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

    many: list[Item] = [{"k": {"S": f"m{number % 5}"}, "v": {"S": f"{number:040000d}"}} for number in range(24)]
    archive = server.data / "archive"
    table_id = status["tables"][0]["table_id"]
    then_us = 0
    for first in range(0, 24, 3):  # a seal takes in whatever was written until it is decided: on a busy machine all of it
        last_us, lsn = put_three(client, many[first : first + 3])
        then_us = last_us if first < 12 else then_us
        wait_for(partial(archived, archive, table_id, lsn), timeout=30)
    asked = now_us()
    wait_for(lambda: proven(server, "birds", asked), timeout=60)
    clock.set("+2d")
    wait_for(lambda: server.cli_json("archive", "compact", "birds", "--plan")[1]["totals"]["segments"] >= 6, timeout=60)
    log = kill_while_it_packs(server, archive, table_id)
    server.start(timeout=START_S)
    wait_for(lambda: server.asked("archive/status", table="birds")[0] == 0, timeout=60)
    code, done = server.cli_json("archive", "compact", "birds")
    assert code == 0, done
    code, left = server.cli_json("archive", "compact", "birds", "--plan")
    assert (code, left["totals"]["objects_saved"], left["totals"]["unnamed"]) == (0, 0, 0), left
    assert len(log_of(archive, table_id)) < len(log) / 2, "of every pair of objects few are left"
    assert server.cli_json("verify")[0] == 0, "over a restart too: what went by retention, and what is in packs"
    code, restored = server.cli_json("restore", "run", "--table", "birds", "--to", "then", "--at", rfc3339(then_us))
    assert (code, restored["verdict"]) == (0, "match"), restored
    found = {item["k"]["S"]: item["v"]["S"] for item in scan(server.port, "then")}
    assert found == {"old": "second", "new": "third", **{item["k"]["S"]: item["v"]["S"] for item in many[7:12]}}
    assert "Traceback" not in server.log.read_text()
