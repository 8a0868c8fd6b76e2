"""`scrubjay demo` on fewer cities: everything it claims was checked, and it does not claim what did not happen."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from scrubjay.demo import run as demo
from scrubjay.demo.story import CheckFailed
from scrubjay.drills.damage import Flip
from scrubjay.scratch import client
from scrubjay.scratch.processes import NODES
from scrubjay.verb import VerbCall
from tests.fixtures import child
from tests.fixtures.process import scrubjay_command
from tests.fixtures.s3 import S3Bucket
from tests.fixtures.wait import wait_for
from tests.integration.process.load import live_in_session

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


def test_on_a_cluster_of_processes_and_s3_in_words_and_a_node_is_killed_on_the_way(tmp_path: Path, seaweed_bucket: S3Bucket) -> None:
    code, _, shown = _run("--cluster", "--archive", seaweed_bucket.url, "--data", str(tmp_path / "demo"), env=seaweed_bucket.env)
    assert code == 0, shown
    assert "Everything above was checked: 5000 cities" in shown
    assert "checked: 5000 items equal, 0 lacking, 0 different, 0 extra" in shown
    assert any(key.endswith(".seg") for key in seaweed_bucket.keys())  # noqa: SIM118 - a bucket, no dict
    starts = [(tmp_path / "demo" / f"{name}.log").read_text().count('"event":"started"') for name in NODES]
    assert sorted(starts) == [1] * (len(NODES) - 1) + [2], "one was killed and came back"


def test_ctrl_c_leaves_nothing_running(tmp_path: Path) -> None:
    """While the workers load: these, the server and its own workers end with it."""
    folder, log = tmp_path / "demo", tmp_path / "err"
    command = scrubjay_command("demo", "--rows", "50000", "--data", str(folder))
    with (tmp_path / "out").open("wb") as out, log.open("wb") as err:
        process = subprocess.Popen(command, stdout=out, stderr=err, start_new_session=True, preexec_fn=child.in_the_foreground)
    child.wait_until(lambda: b"2. Load" in (tmp_path / "out").read_bytes(), timeout=120, what="the load", process=process, log=log)
    # Two nodes have written some of it to their logs: the load is in full swing.
    logs = folder / "data" / "nodes"
    child.wait_until(
        lambda: sum(b"Europe/" in path.read_bytes() for path in logs.glob("*/wal/*")) >= 2,
        timeout=60,
        what="rows",
        process=process,
        log=log,
    )
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(90) == 130
    shown = log.read_text()
    assert "Traceback" not in shown, shown
    assert "interrupted" in shown
    left = subprocess.run(["pgrep", "-f", "-a", str(folder)], capture_output=True, text=True, check=False).stdout
    assert left == "", "the server is gone"
    # Its own workers; the keeper of their shared memory notices a moment later.
    wait_for(lambda: not live_in_session(process.pid), timeout=20)


def test_what_does_not_hold_is_not_called_good(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A scrub that finds nothing after the disk rotted, and a restored table that differs: each step fails by itself, and the demo with them."""
    restore = demo.Demo.restore

    def tampered(self: demo.Demo) -> None:
        restore(self)
        client.put_items(self.server.endpoint, demo.RESTORED, [{"country": {"S": "XX"}, "city": {"S": "nowhere"}}])
        client.delete_keys(self.server.endpoint, demo.RESTORED, [self.victim])

    def on_after_the_scrub(self: demo.Demo) -> None:
        """`run`, but the first failure does not hide the second."""
        for step in (self.start, self.load, self.change, self.break_table, self.rot_a_replica, self.verify_archive):
            step()
        with pytest.raises(CheckFailed):
            self.scrub()
        tampered(self)
        self.compare()

    monkeypatch.setattr(demo, "flip_live_bit", lambda data, needle: Flip("n1", data, 0, 0, 0, 0))
    monkeypatch.setattr(demo.Demo, "run", on_after_the_scrub)
    code, document = demo.run_demo(VerbCall(argparse.Namespace(rows=5000, data=str(tmp_path / "demo"), json=True, quiet=True)))
    assert document is not None
    assert code == 2, document["error"]
    assert document["checked"] is False
    assert document["error"]["code"] == "CheckFailed"
    assert [step["step"] for step in document["steps"] if not step["ok"]] == ["scrub", "compare"]
    assert "1 lacking, 0 different, 1 extra" in document["error"]["found"]
