"""`serve --dev` as a process: the ready line, signals, and each way it refuses to start."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fixtures.process import ScrubjayServer, scrubjay_command

Make = Callable[..., ScrubjayServer]


def refused(*arguments: str) -> tuple[int, dict[str, object]]:
    done = subprocess.run(scrubjay_command("serve", "--dev", *arguments, "--json"), capture_output=True, text=True, timeout=60, check=False)
    document = json.loads(done.stdout)
    assert document["exit"] == done.returncode
    assert "Traceback" not in done.stderr
    error: dict[str, object] = document["error"]
    assert error["message"]
    return done.returncode, error


def test_a_second_process_on_the_same_folder_is_refused(scrubjay_server: Make) -> None:
    server = scrubjay_server()
    code, error = refused("--data", str(server.data), "--port", "0")
    assert code == 4, error
    assert server.client().list_tables()["TableNames"] == []


def test_a_taken_port_is_an_operational_failure(scrubjay_server: Make, tmp_path: Path) -> None:
    server = scrubjay_server()
    code, error = refused("--data", str(tmp_path / "other"), "--port", str(server.port))
    assert code == 1, error
    assert str(server.port) in str(error)


def test_a_foreign_archive_is_refused_and_named(scrubjay_server: Make, tmp_path: Path) -> None:
    archive = (tmp_path / "shared").as_uri()
    first = scrubjay_server("first", archive=archive)
    assert first.stop() == 0
    code, error = refused("--data", str(tmp_path / "second"), "--port", "0", "--archive", archive)
    assert code == 4, error
    assert "--archive" in str(error)
    assert "recover" in str(error)
    code, error = refused("--data", str(first.data), "--port", "0", "--archive", (tmp_path / "another").as_uri())
    assert code == 4, error
    assert "--archive" in str(error)
    first.start()
    assert first.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_planned_stop_ends_with_0(scrubjay_server: Make, number: signal.Signals) -> None:
    server = scrubjay_server()
    server.client().create_table(
        TableName="birds",
        KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    assert server.process is not None
    server.process.send_signal(number)
    assert server.process.wait(40) == 0
    assert "Traceback" not in server.log_tail()


def test_with_auth_the_admin_api_wants_an_admin_key(scrubjay_server: Make, tmp_path: Path) -> None:
    config = tmp_path / "scrubjay.toml"
    config.write_text('[[auth.keys]]\nid = "boss"\nsecret = "s1"\nrole = "admin"\n\n[[auth.keys]]\nid = "clerk"\nsecret = "s2"\n')
    server = scrubjay_server(arguments=["--auth", "--config", str(config)])
    for key, secret, code in (("boss", "s1", (0, 3)), ("clerk", "s2", (1,)), ("boss", "wrong", (1,))):
        done = subprocess.run(
            scrubjay_command("archive", "status", "--json", "--endpoint", server.url),
            env={"SCRUBJAY_ACCESS_KEY_ID": key, "SCRUBJAY_SECRET_ACCESS_KEY": secret, "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode in code, done.stdout
