"""SIGKILL under load, again and again on one folder, three times while a partition becomes two: nothing acknowledged is lost, nothing is left behind, the next start succeeds at once."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable

import pytest

from tests.fixtures.process import ScrubjayServer, scrubjay_command
from tests.fixtures.wait import wait_for
from tests.integration.process.load import Ledger, Writers, by_key, live_in_session, make_table, now_us, rfc3339, scan
from tests.integration.process.test_restart import FILES_MAX

ROUNDS = 7
START_SECONDS_MAX = 30.0
"""Ten on an idle machine; this is shared by whole test runs."""

Make = Callable[..., ScrubjayServer]


def left_behind(server: ScrubjayServer, pid: int) -> None:
    """No process of the killed server's session, nobody on its port."""
    wait_for(lambda: not live_in_session(pid), timeout=30)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", server.port))


def partitions(server: ScrubjayServer) -> tuple[int, int, bool]:
    """Of `birds`: how many it has, how many were split, whether one is being split."""
    code, found = server.asked("table/partitions", table="birds")
    assert code == 0, found
    return len(found["partitions"]), len(found["former"]), found["split"] is not None


def begin_to_split(server: ScrubjayServer, before: int) -> None:
    """Ask for a split of `birds`, and wait until it is decided on. before: how many partitions were split already.

    Just after a start a copy of what the last split made may not have begun: then it is refused for now, and asked for again.
    """
    command = [*scrubjay_command("table", "split", "birds"), "--endpoint", server.url]
    asking: list[subprocess.Popen[bytes]] = []

    def begun() -> bool:
        if partitions(server)[1] + partitions(server)[2] > before:
            return True
        if not asking or asking[-1].poll() is not None:
            asking.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        return False

    try:
        wait_for(begun, timeout=60)
    finally:
        for one in asking:
            one.kill()
            one.wait()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_under_load_again_and_again(scrubjay_server: Make) -> None:
    server = scrubjay_server(settings={"tables.initial_partitions": "2", "archive.segment_bytes": "64KiB", "archive.seal_age": "1s"})
    make_table(server.port, "birds")
    ledger = Ledger()
    remembered: list[tuple[int, dict[str, object] | None]] = []
    slowest, splits = 0.0, 0
    for turn in range(ROUNDS):
        with Writers(ledger, server.port, table="birds", first=turn * 1_000_000) as writers:
            writers.until(40 + turn * 53 % 300)
            if turn % 2:  # killed at once, and later and later
                begin_to_split(server, splits)
                splits += 1
                writers.until(writers.answered + 40 * (turn // 2))
            if turn % 5 == 2:
                remembered.append((now_us(), None))
            assert server.process is not None
            pid = server.process.pid
            server.kill()
        assert not writers.surprises
        left_behind(server, pid)
        began = time.monotonic()
        server.start(timeout=START_SECONDS_MAX)
        slowest = max(slowest, time.monotonic() - began)
        assert len(list((server.data / "nodes").glob("*/wal/*.wal"))) <= FILES_MAX, f"round {turn}"
        found = by_key(scan(server.port, "birds"))
        assert ledger.compare(found) == [], f"round {turn}"
        ledger.settle(found)
        if turn % 5 == 4:
            remembered.append((now_us(), dict(found)))
    assert ledger.acknowledged > ROUNDS * 40
    wait_for(lambda: partitions(server) == (2 + splits, splits, False), timeout=60)
    print(f"{ledger.acknowledged} acknowledged writes, slowest start {slowest:.1f} s")

    code, report = server.cli_json("scrub", "run", timeout=240)
    assert (code, report["verdict"]) == (0, "match"), report
    code, report = server.cli_json("verify", timeout=240)
    assert (code, report["verdict"]) == (0, "match"), report
    for number, (at, whole) in enumerate(remembered[-4:]):
        code, report = server.cli_json("restore", "run", "--table", "birds", "--to", f"restored-{number}", "--at", rfc3339(at), timeout=240)
        assert (code, report["verdict"]) == (0, "match"), report
        found = by_key(scan(server.port, f"restored-{number}"))
        assert ledger.compare(found, at) == []
        assert whole is None or found == whole
    assert "Traceback" not in server.log.read_text()
    assert server.stop() == 0
