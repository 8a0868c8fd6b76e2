"""Real processes: a table deleted under load and over SIGKILL comes back whole; SIGTERM under load ends with 0 within seconds and leaves nothing behind."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable

import pytest

from tests.fixtures.process import ScrubjayServer, scrubjay_command
from tests.integration.process.load import Connection, Ledger, Writers, by_key, make_table, scan

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

Make = Callable[..., ScrubjayServer]
STOP_S = 20.0
"""A planned stop under load on a healthy store, on a machine shared by whole test runs. tests/unit/control/test_stop.py holds it to five seconds of simulated time."""


def delete(server: ScrubjayServer, table: str) -> str:
    """Delete a table; its id."""
    with contextlib.closing(Connection(server.port)) as connection:
        reply = connection.call("DeleteTable", {"TableName": table})
    assert reply.status == 200, reply
    return str(reply.body["TableDescription"]["TableId"])


@pytest.mark.parametrize("pause", [None, 0.0, 0.2], ids=str)
def test_a_table_deleted_under_load_comes_back_with_all_that_was_acknowledged(scrubjay_server: Make, pause: float | None) -> None:
    """pause: seconds between DeleteTable's answer and SIGKILL; None: no kill."""
    server = scrubjay_server(settings={"tables.initial_partitions": "3"})
    make_table(server.port, "birds")
    ledger = Ledger()
    with Writers(ledger, server.port, table="birds", keep_on=True) as writers:
        writers.until(200)
        table = delete(server, "birds")
        if pause is not None:
            time.sleep(pause)
            server.kill()
    if pause is not None:
        server.start()
    code, report = server.cli_json("restore", "run", "--table", table, "--to", "back", "--latest", timeout=120)
    assert (code, report["state"], report["verdict"]) == (0, "published", "match"), report
    found = by_key(scan(server.port, "back"))
    assert report["rows"] == len(found)
    assert ledger.compare(found) == []
    assert ledger.acknowledged >= 200
    assert server.stop() == 0


def test_sigterm_under_load_ends_within_seconds_and_the_archive_has_every_acknowledged_write(scrubjay_server: Make) -> None:
    server = scrubjay_server(settings={"tables.initial_partitions": "2", "archive.seal_age": "60s", "archive.closed_interval": "60s"})
    make_table(server.port, "birds")
    ledger = Ledger()
    with Writers(ledger, server.port, table="birds", keep_on=True) as writers:
        writers.until(300)
        began = time.monotonic()
        code = server.stop()
        seconds = time.monotonic() - began
    assert code == 0
    assert seconds <= STOP_S
    assert not writers.surprises
    verified = scrubjay_command("verify", "--archive", (server.data / "archive").as_uri(), "--level", "replayed", "--json")
    assert subprocess.run(verified, capture_output=True, timeout=120, check=False).returncode == 0
    server.start()
    code, report = server.cli_json("restore", "run", "--table", "birds", "--to", "back", "--latest", timeout=120)
    assert (code, report["verdict"]) == (0, "match"), report
    assert ledger.compare(by_key(scan(server.port, "back"))) == []
    assert ledger.compare(by_key(scan(server.port, "birds"))) == []
