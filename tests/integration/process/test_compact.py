"""A real server, killed while it packs: the next life packs on, and every record is where it was."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from scrubjay.archiver.format.layout import SegmentKey, parse
from tests.fixtures.faketime import FakeClock
from tests.fixtures.process import ScrubjayServer, scrubjay_command
from tests.fixtures.wait import wait_for
from tests.integration.process.load import Item, by_key, make_table, put, rfc3339, scan

Make = Callable[..., ScrubjayServer]
WRITES = 36
"""Of 40 KB: a segment for every three or four."""


def log_of(archive: Path, table: str) -> set[str]:
    """Objects of a table's log, by their keys. table: id."""
    names = [path.relative_to(archive).as_posix() for path in archive.rglob("*") if ".tmp" not in path.name]
    return {name for name in names if isinstance(key := parse(name), SegmentKey) and key.table == table}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_killed_while_it_packs(scrubjay_server: Make, tmp_path: Path) -> None:
    clock, archive = FakeClock(tmp_path, "-2d"), tmp_path / "archive"
    server = scrubjay_server(settings={"archive.segment_bytes": "64KiB"}, env=clock.env, archive=archive.as_uri())
    assert server.cli("schedule", "pause").returncode == 0  # nothing packs by itself
    make_table(server.port, "birds")
    items: list[Item] = [{"k": {"S": str(number % 5)}, "v": {"S": f"{number:040000d}"}} for number in range(WRITES)]
    then_us = put(server.port, "birds", items[: WRITES // 2])
    put(server.port, "birds", items[WRITES // 2 :])
    wait_for(lambda: server.cli_json("archive", "status", "--table", "birds")[0] == 0, timeout=60)
    clock.set("+0")
    plan = {"totals": {"segments": 0}}

    def over() -> bool:
        nonlocal plan
        plan = server.cli_json("archive", "compact", "birds", "--plan")[1]
        return plan["totals"]["segments"] >= 6

    wait_for(over, timeout=60)
    table = plan["tables"][0]["table_id"]
    log = log_of(archive, table)
    command = [*scrubjay_command("archive", "compact", "birds"), "--endpoint", server.url]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as packing:
        wait_for(lambda: log_of(archive, table) != log, timeout=60)
        server.kill()
        packing.kill()
    server.start()
    wait_for(lambda: server.cli_json("archive", "status", "--table", "birds")[0] == 0, timeout=60)
    code, done = server.cli_json("archive", "compact", "birds")
    assert code == 0, done
    code, left = server.cli_json("archive", "compact", "birds", "--plan")
    assert (code, left["totals"]["objects_saved"], left["totals"]["unnamed"]) == (0, 0, 0), left
    assert len(log_of(archive, table)) <= len(log) - plan["totals"]["objects_saved"] + 2, "the newest may have been sealed since"
    code, report = server.cli_json("verify")
    assert (code, report["verdict"]) == (0, "match"), report
    code, report = server.cli_json("restore", "run", "--table", "birds", "--to", "again", "--at", rfc3339(then_us))
    assert (code, report["verdict"]) == (0, "match"), report
    assert by_key(scan(server.port, "again")) == by_key(items[WRITES // 2 - 5 : WRITES // 2])
    assert "Traceback" not in server.log.read_text()
