"""`scrubjay demo` on fewer cities: everything it claims was checked, and it does not claim what did not happen."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from scrubjay.demo import client
from scrubjay.demo import run as demo
from scrubjay.demo.damage import Flip
from scrubjay.verb import Call
from tests.fixtures.process import scrubjay_command
from tests.fixtures.s3 import S3Bucket

pytestmark = [pytest.mark.slow, pytest.mark.process, pytest.mark.timeout(300)]

STEPS = ["start", "load", "change", "bad job", "bit rot", "verify", "scrub", "restore", "compare", "stop"]


def _run(*arguments: str, env: dict[str, str] | None = None) -> tuple[int, dict[str, Any], str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SCRUBJAY_"))}
    done = subprocess.run(
        scrubjay_command("demo", "--rows", "5000", *arguments),
        env=clean | (env or {}),
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    document = json.loads(done.stdout) if "--json" in arguments else {}
    return done.returncode, document, done.stdout + done.stderr


def test_every_claim_is_checked(tmp_path: Path) -> None:
    code, document, shown = _run("--json", "--data", str(tmp_path / "demo"))
    assert code == 0, shown
    assert document["checked"] is True
    assert [step["step"] for step in document["steps"]] == STEPS
    assert all(step["ok"] and step["checked"] for step in document["steps"])
    assert document["rows"] == 5000
    exits = [(command["command"].split()[1], command["exit"]) for step in document["steps"] for command in step["commands"]]
    assert exits == [("archive", exits[0][1]), ("verify", 2), ("verify", 0), ("scrub", 2), ("scrub", 0), ("restore", 0), ("restore", 0)]
    assert (tmp_path / "demo" / "data" / "nodes").is_dir(), "--data keeps what it made"
    code, document, shown = _run("--json", "--data", str(tmp_path / "demo"))
    assert (code, document["error"]["code"]) == (4, "Unsafe"), "never into a folder with something in it"


def test_on_s3_and_in_words(seaweed_bucket: S3Bucket) -> None:
    code, _, shown = _run("--archive", seaweed_bucket.url, env=seaweed_bucket.env)
    assert code == 0, shown
    assert "Everything above was checked: 5000 cities" in shown
    assert "checked: 5000 items equal, 0 lacking, 0 different, 0 extra" in shown
    assert any(key.endswith(".seg") for key in seaweed_bucket.keys())  # noqa: SIM118 - a bucket, no dict


def test_ctrl_c_leaves_nothing_running(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
        process = subprocess.Popen(scrubjay_command("demo", "--data", str(folder)), stdout=out, stderr=err, start_new_session=True)
    waiting = threading.Event()
    for _ in range(600):
        if b"2. Load" in (tmp_path / "out").read_bytes():
            break
        assert process.poll() is None, (tmp_path / "err").read_text()
        waiting.wait(0.1)
    waiting.wait(0.4)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) == 130
    shown = (tmp_path / "err").read_text()
    assert "Traceback" not in shown, shown
    assert "interrupted" in shown
    left = subprocess.run(["pgrep", "-f", str(folder)], capture_output=True, text=True, check=False).stdout
    assert left == "", "the server is gone"


def _in_process(folder: Path) -> dict[str, Any]:
    code, document = demo.run_demo(Call(argparse.Namespace(rows=5000, data=str(folder), json=True, quiet=True)))
    assert document is not None
    assert code == 2, document["error"]
    assert document["checked"] is False
    assert document["error"]["code"] == "CheckFailed"
    return document


def _failed(document: dict[str, Any]) -> list[str]:
    return [step["step"] for step in document["steps"] if not step["ok"]]


def test_a_scrub_that_finds_nothing_is_not_called_good(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(demo, "flip_live_bit", lambda data, needle: Flip("n1", data, 0, 0, 0, 0))
    assert _failed(_in_process(tmp_path / "demo")) == ["scrub"]


def test_a_restored_table_that_differs_is_not_called_equal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    restore = demo.Demo.restore

    def tampered(self: demo.Demo) -> None:
        restore(self)
        client.put_items(self.server.endpoint, demo.RESTORED, [{"country": {"S": "XX"}, "city": {"S": "nowhere"}}])
        client.delete_keys(self.server.endpoint, demo.RESTORED, [self.victim])

    monkeypatch.setattr(demo.Demo, "restore", tampered)
    document = _in_process(tmp_path / "demo")
    assert _failed(document) == ["compare"]
    assert "1 lacking, 0 different, 1 extra" in document["error"]["found"]
