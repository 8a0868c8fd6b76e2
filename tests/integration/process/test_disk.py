"""The disk full, the log at its limit, a sync that fails: writes are refused in time and in words, reads go on, and what was acknowledged stays."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.process import ScrubjayServer
from tests.fixtures.small_disk import small_disk
from tests.fixtures.wait import wait_for
from tests.integration.process.load import Connection, Ledger, Reply, Writers, by_key, make_table, scan
from tests.integration.process.stores import MortalStore

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

Make = Callable[..., ScrubjayServer]
QUICK = {"archive.seal_age": "1s", "archive.closed_interval": "1s", "archive.segment_bytes": "256KiB", "archive.timeout": "3s"}


def big(connection: Connection, number: int) -> Reply:
    return connection.call("PutItem", {"TableName": "birds", "Item": {"k": {"S": f"big-{number}"}, "v": {"S": "x" * 100_000}}})


def fill(connection: Connection, *, most: int, first: int = 0) -> tuple[int, Reply]:
    """Put large items until one is refused; how many were accepted, and the refusal."""
    for number in range(first, most):
        reply = big(connection, number)
        if reply.status != 200:
            return number, reply
    raise AssertionError(f"{most} large items were accepted")


def crowd(server: ScrubjayServer) -> bool:
    """Many large items at once. Where the followers' logs are full and the leader's is not yet, each write waits in vain for them: together they fill it."""

    def one(number: int) -> None:
        with contextlib.closing(Connection(server.port)) as connection:
            big(connection, number)

    with ThreadPoolExecutor(24) as pool:
        list(pool.map(one, range(9000 - 24, 9000)))
    return False


def reads(server: ScrubjayServer, connection: Connection, count: int) -> None:
    """Strong reads find everything at once. The others are served too, by a copy that may have heard of the last writes only in a moment."""

    def there(number: int, *, strong: bool) -> bool:
        reply = connection.steadily("GetItem", {"TableName": "birds", "Key": {"k": {"S": f"big-{number}"}}, "ConsistentRead": strong})
        assert reply.status == 200, reply
        return "Item" in reply.body and len(reply.body["Item"]["v"]["S"]) == 100_000

    for number in range(0, count, 7):
        assert there(number, strong=True), f"big-{number} is not found by a strong read"
        wait_for(lambda number=number: there(number, strong=False), timeout=20)  # type: ignore[misc]


def named_refusal(server: ScrubjayServer, connection: Connection, *, runbook: str) -> None:
    """The client is told in words, /healthz says that writes are not served, and the status names nodes and page. At the limit a little room comes and goes, so nothing is
    asked twice and expected to be the same."""
    replies: list[Reply] = []
    reports: list[tuple[int, dict[str, Any]]] = []

    def refused() -> bool:
        replies.append(big(connection, 9998))
        return replies[-1].kind == "ServiceUnavailableException" or crowd(server)

    def down() -> bool:
        reports.append(server.asked("status"))
        return (reports[-1][0], reports[-1][1]["health"]) == (3, "down")

    wait_for(refused, timeout=90)
    assert replies[-1].status == 503
    assert "no room" in replies[-1].body["message"], replies[-1]
    wait_for(lambda: connection.get("/healthz") == (503, "down\n"), timeout=20)
    assert connection.get("/healthz?live")[0] == 200
    wait_for(down, timeout=20)
    report = reports[-1][1]
    full = [problem for problem in report["problems"] if problem["kind"] == "node-full"]
    assert full, report["problems"]
    assert {problem["runbook"] for problem in full} == {f"runbooks/{runbook}"}
    assert [node["full"] for node in report["nodes"]].count(True) == len(full)
    assert next(table for table in report["tables"] if table["table"] == "birds")["health"] == "down"


def all_well(server: ScrubjayServer, connection: Connection) -> None:
    wait_for(lambda: connection.get("/healthz") == (200, "ok\n"), timeout=60)

    def well() -> bool:
        code, report = server.asked("status")
        return (code, report["health"], report["problems"]) == (0, "ok", [])

    wait_for(well, timeout=60)


def test_the_log_at_its_limit_refuses_writes_until_the_store_is_back(scrubjay_server: Make, tmp_path: Path) -> None:
    with contextlib.closing(MortalStore("minio", tmp_path / "store")) as store:
        limits = {"storage.wal_file": "2MiB", "storage.wal_limit": "16MiB", "storage.wal_reserve": "4MiB"}
        server = scrubjay_server(archive=store.bucket.url, env=store.bucket.env, settings=QUICK | limits)
        make_table(server.port, "birds")
        with contextlib.closing(Connection(server.port)) as connection:
            assert big(connection, 0).status == 200
            wait_for(lambda: server.asked("archive/status")[0] == 0, timeout=60)
            store.kill()
            began = time.monotonic()
            count, refusal = fill(connection, most=400, first=1)
            assert count > 30
            assert refusal.status in (500, 503), refusal  # every SDK tries these again
            assert time.monotonic() - began < 60
            named_refusal(server, connection, runbook="disk-full.md")
            began = time.monotonic()
            again = big(connection, 9999)
            assert again.status in (200, 500, 503), again  # at the limit a little room comes and goes
            assert time.monotonic() - began < 20, "a refusal does not hang"
            assert "no room for data" in server.log_tail()
            reads(server, connection, count)
            wait_for(lambda: connection.get("/healthz") == (503, "down\n"), timeout=20)  # at the limit a little room comes and goes
            assert 'scrubjay_node_full{node="' in connection.get("/metrics")[1]
            code, report = server.cli_json("archive", "status", "--table", "birds")
            assert code == 1
            assert report["tables"][0]["unarchived_bytes"] > 1_000_000
            store.back()
            wait_for(lambda: big(connection, 5000).status == 200, timeout=90)
            reads(server, connection, count)
            all_well(server, connection)
        found = by_key(scan(server.port, "birds"))
        assert {f"big-{number}" for number in range(count)} <= set(found)
        wait_for(lambda: server.asked("archive/status")[0] == 0, timeout=60)
        code, report = server.cli_json("verify")
        assert (code, report["verdict"]) == (0, "match"), report
        # and over a stop and a start
        assert server.stop() == 0
        server.start()
        assert by_key(scan(server.port, "birds")) == found


def test_a_stop_and_a_kill_with_the_log_at_its_limit(scrubjay_server: Make, tmp_path: Path) -> None:
    """Full to the limit, the store away: a kill and a start lose nothing, and the start serves reads."""
    with contextlib.closing(MortalStore("minio", tmp_path / "store")) as store:
        limits = {"storage.wal_file": "2MiB", "storage.wal_limit": "16MiB", "storage.wal_reserve": "4MiB"}
        server = scrubjay_server(
            archive=store.bucket.url, env=store.bucket.env, settings=QUICK | limits, arguments=["--stop-timeout", "2s"]
        )
        make_table(server.port, "birds")
        store.kill()
        with contextlib.closing(Connection(server.port)) as connection:
            count, _ = fill(connection, most=400)
        server.kill()
        server.start()
        with contextlib.closing(Connection(server.port)) as connection:
            reads(server, connection, count)
        assert server.stop(patience=60) == 3
        store.back()
        server.start()
        with contextlib.closing(Connection(server.port)) as connection:
            wait_for(lambda: big(connection, 5000).status == 200, timeout=90)
            reads(server, connection, count)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 160 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    with small_disk(folder, "160m"):
        yield folder


def test_a_full_disk(scrubjay_server: Make, small: Path, tmp_path: Path) -> None:
    """Log, trees and all on a disk that fills up: refused, not hung, not dead; room made, it goes on; nothing acknowledged is lost over a kill."""
    ballast = small / "ballast"
    ballast.write_bytes(bytes(64 << 20))
    server = scrubjay_server(
        "small/data", archive=(tmp_path / "archive").as_uri(), settings=QUICK | {"storage.wal_file": "2MiB", "storage.wal_reserve": "4MiB"}
    )
    make_table(server.port, "birds")
    with contextlib.closing(Connection(server.port)) as connection:
        count, refusal = fill(connection, most=2000)
        assert refusal.status in (500, 503), refusal
        assert server.process is not None
        assert server.process.poll() is None, "a full disk kills nobody"
        named_refusal(server, connection, runbook="disk-full.md")
        reads(server, connection, count)
        ballast.unlink()
        try:
            wait_for(lambda: big(connection, 9000).status == 200, timeout=40)
            all_well(server, connection)
            resumed = True
        except AssertionError:
            resumed = False
    server.kill()
    server.start()
    with contextlib.closing(Connection(server.port)) as connection:
        reads(server, connection, count)
        wait_for(lambda: big(connection, 9001).status == 200, timeout=60)
    assert resumed, "only a restart brought writes back"


def test_an_idle_log_is_quiet(scrubjay_server: Make) -> None:
    """A clock reservation that is being synced is not asked for again in every turn of the loop: that filled logs, reserve and all, and kept the loop busy."""
    server = scrubjay_server()
    began = time.monotonic()
    wait_for(lambda: time.monotonic() > began + 3, timeout=10)
    server.kill()
    for node in ("n1", "n2", "n3"):
        raw = b"".join(path.read_bytes() for path in (server.data / "nodes" / node / "wal").iterdir())
        reserves = raw.count(b"SF\x02\x00")
        assert 2 <= reserves < 60, f"{node} has logged {reserves} reservations"


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_a_failed_sync_stops_one_node_and_two_go_on(scrubjay_server: Make, tmp_path: Path) -> None:
    """EIO from one fdatasync of one node's log: that node writes no more, says so, and no acknowledged write is lost, not after a restart either."""
    server = scrubjay_server(settings=QUICK | {"tables.initial_partitions": "4"})
    make_table(server.port, "birds")
    assert server.process is not None
    ledger = Ledger()
    with contextlib.closing(Connection(server.port)) as connection:
        led = re.findall(r'scrubjay_leaders{node="(n\d)"} (\d+)', connection.get("/metrics")[1])
    victim = max(led, key=lambda one: int(one[1]))[0]  # the one that leads most: its leaderships must move
    log = sorted((server.data / "nodes" / victim / "wal").iterdir())
    tracer = subprocess.Popen(
        [
            *("strace", "-f", "-p", str(server.process.pid), "-o", str(tmp_path / "strace.out")),
            *(part for path in log for part in ("-P", str(path))),
            *("-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO:when=3"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert tracer.stderr is not None
    first = tracer.stderr.readline()
    if b"attached" not in first:
        tracer.kill()
        tracer.wait()
        pytest.skip(f"strace cannot attach: {first!r}")
    try:
        with Writers(ledger, server.port, table="birds", threads=3, keep_on=True) as writers:
            wait_for(lambda: "this node stops using it" in server.log.read_text(), timeout=60)
            writers.until(writers.answered + 300)
    finally:
        tracer.terminate()
        tracer.communicate()
    assert b"EIO" in (tmp_path / "strace.out").read_bytes(), "the fault was injected"
    with contextlib.closing(Connection(server.port)) as connection:
        assert f'scrubjay_node_failed{{node="{victim}"}} 1.0' in connection.get("/metrics")[1]
        wait_for(lambda: connection.get("/healthz") == (200, "degraded\n"), timeout=30)
    code, report = server.cli_json("status")
    assert code == 3, report["problems"]
    (failed,) = [problem for problem in report["problems"] if problem["kind"] == "node-failed"]
    assert victim in failed["what"]
    assert {node["node"] for node in report["nodes"] if node["failed"]} == {victim}
    assert not writers.surprises
    found = by_key(scan(server.port, "birds"))
    assert ledger.compare(found) == []
    ledger.settle(found)
    code, report = server.cli_json("scrub", "run", "--table", "birds")
    assert (code, report["verdict"]) == (3, "unverified"), report
    server.kill()
    server.start()
    assert ledger.compare(by_key(scan(server.port, "birds"))) == []

    def whole() -> bool:
        code, report = server.cli_json("scrub", "run", "--table", "birds")
        return code == 0 and all(copy["verdict"] == "match" for copy in report["tables"][0]["partitions"][0]["copies"])

    wait_for(whole, timeout=60)
