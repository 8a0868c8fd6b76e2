"""Night by itself, on a real server: a scheduled scrub whose hour passed while the server was dead is caught up once, recorded, and paused over a kill."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.fixtures.process import ScrubjayServer
from tests.fixtures.wait import wait_for
from tests.integration.process.load import Connection, make_table

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

Make = Callable[..., ScrubjayServer]
QUICK = {"archive.seal_age": "1s", "archive.closed_interval": "1s"}
AHEAD_S, AGAIN_S = 10, 60
"""The job fires at a second of the minute that lies so far ahead, and a minute later again."""


def ask(server: ScrubjayServer, path: str) -> Any:
    with contextlib.closing(Connection(server.port)) as connection:
        return json.loads(connection.get(f"/admin/v1/{path}")[1])


def scrub_job(server: ScrubjayServer) -> dict[str, Any]:
    return next(job for job in ask(server, "schedule")["jobs"] if job["job"] == "scrub")


def runs(server: ScrubjayServer) -> list[dict[str, Any]]:
    return [run for run in ask(server, "scrub/history")["runs"] if run["finished"] is not None]


def test_what_a_dead_server_missed_is_caught_up_once_and_a_pause_outlives_a_kill(scrubjay_server: Make) -> None:
    server = scrubjay_server(settings=QUICK)
    make_table(server.port, "birds")
    fresh = scrub_job(server)
    assert (fresh["cron"], fresh["last"], fresh["overdue"], runs(server)) == ("0 2 * * *", None, False, []), "a fresh cluster is left alone"
    fires = int(time.time()) + AHEAD_S
    cron = f"{fires % 60} * * * * *"
    assert server.cli("schedule", "set", "scrub", cron).returncode == 0
    server.kill()
    wait_for(lambda: time.time() > fires + 1, timeout=AHEAD_S + 30)
    server.start()
    wait_for(lambda: scrub_job(server)["last"] is not None, timeout=AGAIN_S + 40)  # where the setting took too long, it is the next minute
    done = runs(server)
    job = scrub_job(server)
    if time.time() < fires + AGAIN_S:
        assert len(done) == 1, "once"
    assert (job["cron"], job["last"]["verdict"], job["last"]["left"], job["paused"]) == (cron, "match", 0, None)
    assert {"birds"} < set(done[0]["tables"]), "with the metadata group"
    assert server.cli("scrub", "pause").returncode == 0
    wait_for(lambda: scrub_job(server)["running"] is None, timeout=40)
    before = len(runs(server))
    server.kill()
    server.start()
    job = scrub_job(server)
    assert (job["cron"], job["next"], job["paused"] is not None) == (cron, None, True), "kept over a kill"
    assert server.cli("scrub", "run").returncode == 0, "a hand is not barred"
    assert len(runs(server)) == before + 1, "what a run before the kill was is remembered, and nothing was caught up"
    code, document = server.cli_json("schedule", "run", "verify")
    assert (code, document["last"]["verdict"], document["last"]["left"]) == (0, "match", 0)
    assert server.cli("schedule", "set", "drill:rot", cron).returncode == 64
    assert server.stop() == 0
