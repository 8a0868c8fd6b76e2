"""The verbs over real HTTP against the admin API, with services that answer what a test tells them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from scrubjay import cli
from scrubjay.admin import AdminApi
from scrubjay.base.env import Env
from scrubjay.base.http_values import Headers, Request, Response
from scrubjay.base.real.clock import RealClock
from scrubjay.base.real.http_server import HttpServer
from scrubjay.base.real.loop import AsyncTasks, run
from scrubjay.base.real.rand import RealRand
from scrubjay.server.ports import ProgressSink, Report
from scrubjay.storage.api.limits import HTTP
from scrubjay.storage.api.sigv4 import ROLE_ADMIN, ROLE_DATA, AccessKey, SignatureVerifier
from tests.fixtures import child
from tests.fixtures.wait import wait_for
from tests.unit.cli.fakes import (
    FakeArchive,
    FakeBackups,
    FakeDrills,
    FakeRestore,
    FakeSchedule,
    FakeScrub,
    FakeServices,
    FakeTransfers,
    table,
)

ROOT = Path(__file__).parents[3]


class NoApi:
    def handle(self, request: Request, respond: Callable[[int, Headers, bytes], None]) -> None:
        respond(*self.error(404, "nothing here"))

    def error(self, status: int, message: str) -> Response:
        return Response(status, (("Content-Type", "text/plain"),), message.encode())


class Endpoint:
    """An HTTP server in a thread of its own."""

    def __init__(self, *, keys: dict[str, AccessKey] | None = None, admin: bool = True) -> None:
        self.services = FakeServices()
        self.url = ""
        self.tasks: AsyncTasks
        self._keys = keys
        self._admin = admin
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: run(self._main), daemon=True)
        self._thread.start()
        assert self._ready.wait(10)

    async def _main(self, tasks: AsyncTasks) -> None:
        self.tasks = tasks
        clock = RealClock()
        api = AdminApi(
            Env(clock, RealRand(), tasks),
            tables=lambda: [table("cities", 1)],
            archive=FakeArchive(self.services),
            verify=self.services,
            scrub=FakeScrub(self.services),
            expire=self.services,
            compact=self.services,
            move=self.services,
            restore=FakeRestore(self.services),
            timeline=self.services,
            backups=FakeBackups(self.services),
            transfers=FakeTransfers(self.services),
            schedule=FakeSchedule(self.services),
            drills=FakeDrills(self.services),
            status=self.services.status,
            cluster=lambda: {"cluster": "c"},
            verifier=SignatureVerifier(clock, self._keys) if self._keys is not None else None,
            log=lambda what, error: None,
        )
        server = HttpServer("127.0.0.1", 0, NoApi(), {"/admin/v1/": api.handle} if self._admin else {}, limits=HTTP)
        await server.start()
        self.url = f"http://127.0.0.1:{server.port}"
        self._over = tasks.future()
        self._ready.set()
        await self._over
        await server.stop(0.1)

    def on_loop(self, work: Callable[[], object]) -> None:
        self.tasks.loop.call_soon_threadsafe(work)

    def close(self) -> None:
        self.on_loop(lambda: self._over.set_result(None))
        self._thread.join(10)


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "SCRUBJAY_ACCESS_KEY_ID", "SCRUBJAY_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    one = Endpoint()
    monkeypatch.setenv("SCRUBJAY_ENDPOINT", one.url)
    yield one
    one.close()


def ask(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, dict[str, Any]]:
    code = cli.main([*argv, "--json"])
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert document["exit"] == code
    return code, document


def test_reports_come_through_as_they_are(endpoint: Endpoint, capsys: pytest.CaptureFixture[str]) -> None:
    code, document = ask(capsys, "verify", "--table", "cities", "--level", "objects", "--max-age", "7d", "--budget", "10m")
    assert (code, document["verdict"], document["error"]) == (2, "mismatch", None)
    assert "running" not in document
    assert endpoint.services.calls[0][2:] == ("objects", 600_000_000, 604_800_000_000)
    code, document = ask(capsys, "scrub", "run")
    assert (code, document["verdict"]) == (0, "match")
    endpoint.services.scrub_status = {"exit": 2, "error": None, "running": False, "last": {"verdict": "mismatch"}}
    code, document = ask(capsys, "scrub", "status")
    assert (code, document["running"], document["last"]["verdict"]) == (2, False, "mismatch")
    code, document = ask(capsys, "archive", "status", "--table", "cities")
    assert (code, document["store"]["reachable"]) == (0, True)


def test_an_unreachable_store_still_gives_the_report(endpoint: Endpoint, capsys: pytest.CaptureFixture[str]) -> None:
    window = {"earliest": None, "latest": None, "holes": []}
    row = {
        "table": "cities",
        "table_id": "i",
        "dropped_at": None,
        "window": window,
        "lag_seconds": None,
        "unarchived_bytes": 5,
        "segments": 0,
        "packs": 0,
        "bytes_stored": 0,
    }
    endpoint.services.archive_report = {
        "exit": 1,
        "error": {
            "code": "Unavailable",
            "message": "the store cannot be reached",
            "asked": None,
            "found": "refused",
            "next": "bring it back",
        },
        "tables": [row],
        "store": {"url": "s3://b/p", "reachable": False, "last_error": "refused"},
    }
    code, document = ask(capsys, "archive", "status")
    assert (code, len(document["tables"]), document["error"]["code"]) == (1, 1, "Unavailable")
    assert cli.main(["archive", "status"]) == 1
    captured = capsys.readouterr()
    assert "NOT REACHABLE: refused" in captured.out
    assert "the store cannot be reached" in captured.err


def test_unknown_tables_and_refusals(endpoint: Endpoint, capsys: pytest.CaptureFixture[str]) -> None:
    code, document = ask(capsys, "scrub", "run", "--table", "none")
    assert (code, document["error"]["code"], document["tables"]) == (1, "ResourceNotFound", [])
    code, document = ask(capsys, "restore", "plan", "--table", "cities", "--to", "new", "--at", "1970-01-01T00:00:00.000001Z")
    assert (code, document["window"]["earliest"], document["partitions"]) == (4, "2026-01-01T00:00:00.000000Z", [])
    code, document = ask(capsys, "restore", "status", "none")
    assert (code, document["error"]["code"]) == (1, "ResourceNotFound")


def test_a_restore_is_waited_for(endpoint: Endpoint, capsys: pytest.CaptureFixture[str]) -> None:
    def publish() -> None:
        endpoint.services.restores["new"] = {
            **endpoint.services.restores["new"],
            "state": "published",
            "verdict": "match",
            "rows": 7,
            "digest": "d",
        }

    code, document = ask(capsys, "restore", "run", "--table", "cities", "--to", "new", "--latest", "--no-wait")
    assert (code, document["state"]) == (3, "running")
    endpoint.on_loop(lambda: endpoint.tasks.call_later(0.2, publish))
    code, document = ask(capsys, "restore", "run", "--table", "cities", "--to", "new", "--latest", "--quiet")
    assert (code, document["state"]) == (0, "published")
    code, document = ask(capsys, "restore", "resume", "new", "--quiet")
    assert (code, document["state"], document["rows"]) == (0, "published", 7)
    assert cli.main(["restore", "status"]) == 0
    assert "published" in capsys.readouterr().out
    code, document = ask(capsys, "restore", "cancel", "new")
    assert (code, document["state"]) == (0, "cancelled")


def test_ctrl_c_detaches_with_130_and_the_work_goes_on(endpoint: Endpoint) -> None:
    done = threading.Event()

    async def slow(progress: ProgressSink) -> Report:
        progress({"phase": "comparing"})
        while not done.is_set():
            await endpoint.tasks.sleep(0.02)
        return endpoint.services.scrub_report

    endpoint.services.scrub_work = slow
    process = subprocess.Popen(
        [sys.executable, "-m", "scrubjay", "scrub", "run", "--json"],
        cwd=ROOT,
        env={**os.environ, "SCRUBJAY_ENDPOINT": endpoint.url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=child.in_the_foreground,
    )
    wait_for(lambda: endpoint.services.calls, timeout=60)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert json.loads(out)["error"]["code"] == "Interrupted"
    assert "Traceback" not in err
    done.set()


def test_with_keys_the_cli_signs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    endpoint = Endpoint(keys={"boss": AccessKey("s1", ROLE_ADMIN), "clerk": AccessKey("s2", ROLE_DATA)})
    try:
        monkeypatch.setenv("SCRUBJAY_ENDPOINT", endpoint.url)
        for prefix, key, secret, code in (
            ("SCRUBJAY", "boss", "s1", 0),
            ("AWS", "boss", "s1", 0),
            ("SCRUBJAY", "clerk", "s2", 1),
            ("SCRUBJAY", "boss", "wrong", 1),
            ("SCRUBJAY", "", "", 1),
        ):
            for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "SCRUBJAY_ACCESS_KEY_ID", "SCRUBJAY_SECRET_ACCESS_KEY"):
                monkeypatch.delenv(name, raising=False)
            monkeypatch.setenv(f"{prefix}_ACCESS_KEY_ID", key)
            monkeypatch.setenv(f"{prefix}_SECRET_ACCESS_KEY", secret)
            got, document = ask(capsys, "scrub", "run", "--table", "cities")
            assert got == code, document["error"]
            assert code == 0 or document["error"]["code"] == "AccessDenied"
            got, document = ask(capsys, "archive", "status", "--table", "a b/ä&c=d")
            assert document["error"]["code"] == ("ResourceNotFound" if code == 0 else "AccessDenied")
    finally:
        endpoint.close()


def test_an_endpoint_that_is_something_else(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    endpoint = Endpoint(admin=False)
    try:
        monkeypatch.setenv("SCRUBJAY_ENDPOINT", endpoint.url)
        code, document = ask(capsys, "scrub", "status")
        assert (code, document["error"]["code"]) == (1, "NotScrubjay")
    finally:
        endpoint.close()
