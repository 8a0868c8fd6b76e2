"""The object store down, frozen, unreachable, foreign: writes go on, the lag is told, a stop is bounded, and it catches up alone."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scrubjay.base.real.free_ports import free_ports
from tests.fixtures.process import ScrubjayServer
from tests.fixtures.wait import wait_for
from tests.integration.process.load import Ledger, Writers, by_key, make_table, now_us, put, rfc3339, scan
from tests.integration.process.stores import MortalStore

pytestmark = [pytest.mark.slow, pytest.mark.s3, pytest.mark.timeout(400)]

QUICK = {
    "archive.segment_bytes": "32KiB",
    "archive.seal_age": "1s",
    "archive.closed_interval": "1s",
    "archive.timeout": "3s",
    "archive.lag_alarm": "5s",
}
Make = Callable[..., ScrubjayServer]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MortalStore]:
    made = MortalStore("minio", tmp_path / "store")
    yield made
    made.close()


def status(server: ScrubjayServer) -> tuple[int, dict[str, object]]:
    code, report = server.asked("archive/status", table="birds")
    return code, report


def caught_up(server: ScrubjayServer, at_us: int) -> bool:
    """The proven window has passed an instant, without a hole."""
    code, report = status(server)
    (table,) = report["tables"]  # type: ignore[misc]
    latest = table["window"]["latest"]
    return code == 0 and not table["window"]["holes"] and latest is not None and latest >= rfc3339(at_us)


def proves(server: ScrubjayServer, ledger: Ledger, at_us: int, name: str) -> None:
    code, report = server.cli_json("restore", "run", "--table", "birds", "--to", name, "--at", rfc3339(at_us), timeout=180)
    assert (code, report["verdict"]) == (0, "match"), report
    assert ledger.compare(by_key(scan(server.port, name)), at_us) == []


@pytest.mark.parametrize("how", ["kill", "freeze"])
def test_writes_go_on_while_the_store_is_away_and_it_catches_up(scrubjay_server: Make, store: MortalStore, how: str) -> None:
    server = scrubjay_server(archive=store.bucket.url, env=store.bucket.env, settings=QUICK)
    make_table(server.port, "birds")
    ledger = Ledger()
    with Writers(ledger, server.port, table="birds") as writers:
        writers.until(300)
        wait_for(lambda: status(server)[0] == 0, timeout=60)
        store.kill() if how == "kill" else store.freeze()
        away = now_us()
        before = writers.answered
        writers.until(before + 300)
        wait_for(lambda: now_us() > away + 7_000_000, timeout=20)
        began = time.monotonic()
        code, report = status(server)
        took = time.monotonic() - began
        assert code == 1, report
        assert took < 30, "the report comes although the store does not"
        assert report["error"] is not None or report["store"]["reachable"] is False  # type: ignore[index]
        (table,) = report["tables"]  # type: ignore[misc]
        assert report["store"]["reachable"] is False  # type: ignore[index]
        assert table["lag_seconds"] > 3
        assert table["unarchived_bytes"] > 0
        during = now_us()
        writers.until(writers.answered + 100)
        store.back() if how == "kill" else store.thaw()
        assert len(writers.refusals) <= 6, "no more than one of each writer, should leadership have moved"
    wait_for(lambda: caught_up(server, now_us() - 30_000_000) and caught_up(server, during), timeout=120)
    assert ledger.compare(by_key(scan(server.port, "birds"))) == []
    proves(server, ledger, during, "while-away")
    code, report = server.cli_json("verify")
    assert (code, report["verdict"]) == (0, "match"), report
    assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize("how", ["kill", "freeze"])
def test_a_stop_with_the_store_away_is_bounded_and_nothing_is_lost(scrubjay_server: Make, store: MortalStore, how: str) -> None:
    server = scrubjay_server(archive=store.bucket.url, env=store.bucket.env, settings=QUICK, arguments=["--stop-timeout", "3s"])
    make_table(server.port, "birds")
    wait_for(lambda: status(server)[0] == 0, timeout=60)
    ledger = Ledger()
    store.kill() if how == "kill" else store.freeze()
    with Writers(ledger, server.port, table="birds") as writers:
        writers.until(200)
    instant = now_us()
    began = time.monotonic()
    assert server.stop(patience=60) == 3
    took = time.monotonic() - began
    assert took < 20, f"--stop-timeout 3s took {took:.1f} s"
    assert "bytes not archived yet" in server.log_tail()
    # It comes up without its store, serves, and archives what it owes once the store is back.
    server.start(timeout=60)
    assert ledger.compare(by_key(scan(server.port, "birds"))) == []
    store.back() if how == "kill" else store.thaw()
    wait_for(lambda: caught_up(server, instant), timeout=120)
    proves(server, ledger, instant, "after-the-stop")
    assert server.stop() == 0


def test_a_fresh_folder_needs_its_store_and_its_own_prefix(scrubjay_server: Make, store: MortalStore) -> None:
    nowhere = store.bucket.env | {"AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{free_ports(1)[0]}"}
    server = scrubjay_server("fresh", archive=store.bucket.url, env=nowhere, start=False)
    with pytest.raises(RuntimeError, match="process ended with 1\n"):
        server.start()
    assert "Traceback" not in server.log_tail()
    assert "127.0.0.1" in server.log_tail() or store.bucket.name in server.log_tail()

    owner = scrubjay_server("owner", archive=store.bucket.url, env=store.bucket.env)
    assert owner.stop() == 0
    for name, archive in (("fresh", store.bucket.url), ("owner", store.server.make_bucket().url)):
        other = scrubjay_server(name, archive=archive, env=store.bucket.env, start=False)
        with pytest.raises(RuntimeError, match="process ended with 4\n"):
            other.start()
        text = other.log_tail()
        assert "recover" in text
        assert "--archive" in text
        assert "Traceback" not in text
    gone = scrubjay_server("no-bucket", archive="s3://never-made/x", env=store.bucket.env, start=False)
    with pytest.raises(RuntimeError, match="process ended with 1\n"):
        gone.start()
    assert "bucket does not exist" in gone.log_tail()


def test_a_seaweed_that_dies_and_comes_back(scrubjay_server: Make, tmp_path: Path) -> None:
    with contextlib.closing(MortalStore("seaweed", tmp_path / "seaweed")) as weed:
        server = scrubjay_server(archive=weed.bucket.url, env=weed.bucket.env, settings=QUICK)
        make_table(server.port, "birds")
        put(server.port, "birds", [{"k": {"S": "before"}}])
        wait_for(lambda: status(server)[0] == 0, timeout=60)
        weed.kill()
        instant = put(server.port, "birds", [{"k": {"S": f"during {number}"}} for number in range(30)])
        assert status(server)[0] == 1
        weed.back()
        wait_for(lambda: caught_up(server, instant), timeout=120)
        code, report = server.cli_json("verify")
        assert (code, report["verdict"]) == (0, "match"), report
