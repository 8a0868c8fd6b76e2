"""Wall clocks that were wrong, on a real server: stepped while it runs, ahead once and then corrected, set back while it was down."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from scrubjay.base.hlc import stamp_micros
from scrubjay.base.real.disk import RealDisk
from scrubjay.storage.wal.recover import replay
from tests.fixtures.faketime import FakeClock
from tests.fixtures.process import ScrubjayServer
from tests.fixtures.wait import wait_for
from tests.integration.process.load import make_table, micros, proven

Make = Callable[..., ScrubjayServer]
FAST = {"archive.seal_age": "1s", "archive.seal_age_max": "1s", "archive.closed_interval": "1s"}


def put(client: Any, key: str) -> bool:
    return put_at(client, key) > 0


def put_at(client: Any, key: str) -> int:
    """Its effective time by the cluster's clock, 0 if it was refused."""
    try:
        answer = client.put_item(TableName="birds", Item={"k": {"S": key}})
    except ClientError:
        return 0
    return micros(answer["ResponseMetadata"]["HTTPHeaders"]["x-scrubjay-timestamp"])


def count(client: Any) -> int:
    return int(client.scan(TableName="birds", ConsistentRead=True, Select="COUNT")["Count"])


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_clock_stepped_ahead_and_back_while_running_is_said_and_has_a_way_out(scrubjay_server: Make, tmp_path: Path) -> None:
    clock = FakeClock(tmp_path)
    server = scrubjay_server(settings=FAST, env=clock.env)
    make_table(server.port, "birds")
    client = server.client()
    before = put_at(client, "before")
    assert before
    clock.set("+2h")
    wait_for(lambda: put_at(client, "ahead") > before + 3600 * 10**6, timeout=20)
    ahead = put_at(client, "ahead")
    clock.set("+0")
    wait_for(lambda: '"state":"clock"' in server.log.read_text(), timeout=20)
    assert "of this machine's clock" in server.log.read_text()
    server.stop()
    with pytest.raises(RuntimeError, match="process ended with 4"):
        server.start()
    assert "consensus.clock_ahead_accepted=2h" in server.log.read_text()
    server.set("consensus.clock_ahead_accepted", "3h")
    server.start()
    client = server.client()
    assert put(client, "after")
    assert count(client) == 3
    wait_for(lambda: proven(server, "birds", ahead), timeout=60)
    assert server.cli_json("scrub", "run")[0] == 0
    assert server.cli_json("verify")[0] == 0
    code, restored = server.cli_json("restore", "run", "--table", "birds", "--to", "birds-latest", "--latest")
    assert code == 0, restored
    assert restored["rows"] >= 2, "what was written while the clock was ahead is in the window"


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_machine_that_starts_in_1970_goes_on_when_its_clock_is_set(scrubjay_server: Make, tmp_path: Path) -> None:
    clock = FakeClock(tmp_path, "@1970-01-01 00:01:00")
    server = scrubjay_server(settings=FAST, env=clock.env)
    make_table(server.port, "birds")
    assert put(server.client(), "1970")
    clock.set("+0")
    wait_for(lambda: put(server.client(), "now"), timeout=30)
    assert server.stop() == 0
    server.start()
    assert count(server.client()) == 2


def reserved_us(data: Path, tmp_path: Path) -> int:
    """How far the furthest of a stopped server's nodes may have stamped, by a copy of its log: microseconds since the epoch."""
    furthest = 0
    for node in (data / "nodes").iterdir():
        copy = shutil.copytree(node / "wal", tmp_path / "logs" / node.name)
        furthest = max(furthest, stamp_micros(replay(RealDisk(copy.parent), copy.name).reservation))
    return furthest


@pytest.mark.timeout(400)
def test_a_clock_set_back_a_little_while_it_was_down_is_no_fault(scrubjay_server: Make, tmp_path: Path) -> None:
    clock = FakeClock(tmp_path)
    server = scrubjay_server(settings=FAST, env=clock.env)
    make_table(server.port, "birds")
    assert put(server.client(), "a")
    assert server.stop() == 0
    # Its log says how far it may have stamped: a second ahead, more where syncs were slow. Set back to where that is the most that is in order.
    clock.set(f"{min(reserved_us(server.data, tmp_path) / 1e6 - 1.4 - time.time(), 0):+.1f}s")
    server.start()
    assert put(server.client(), "b")
    assert '"state":"clock"' not in server.log.read_text()
