"""A start that is refused says why where the data folder's own log is, once, and nowhere that is not its own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scrubjay.server.raising import FILE
from scrubjay.serving.refused import EVENT
from scrubjay.storage.cluster_version import NEWEST
from tests.fixtures.process import ScrubjayServer, scrubjay_command

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]
SECRET = "a-secret-that-is-nobodys-business"


def refused(server: ScrubjayServer, *arguments: str, data: Path | None = None) -> int:
    """The exit code of another start on its folder."""
    command = scrubjay_command("serve", "--dev", "--data", str(data or server.data), "--set", f"alerts.secret={SECRET}", *arguments)
    return subprocess.run(command, env=server._env, capture_output=True, text=True, timeout=60, check=False).returncode


def kept(server: ScrubjayServer) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (server.data / "log" / "server.log").read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line["event"] == EVENT]


def test_a_refused_start_is_told_in_the_folder_unless_somebody_serves_from_it(
    scrubjay_server: Callable[..., ScrubjayServer], module_server: ScrubjayServer, tmp_path: Path
) -> None:
    server = scrubjay_server()
    assert refused(server) == 4, "it is in use"
    assert refused(server, "--set", "archive.seal_age=soon") == 64
    assert kept(server) == [], "who serves writes there, and nobody else"
    assert server.stop() == 0
    assert kept(server) == [], "an orderly end is none of these"

    tries: list[tuple[int, str, tuple[str, ...]]] = [
        (64, "Invalid", ("--set", "archive.seal_age=soon")),
        (4, "Unsafe", ("--listen", "0.0.0.0")),
        (1, "Unavailable", ("--port", str(module_server.port))),
        (4, "Unsafe", ("--archive", tmp_path.joinpath(SECRET).as_uri(), "--port", "0")),
    ]
    for number, (code, _, arguments) in enumerate(tries, 1):
        assert refused(server, *arguments) == code, arguments
        assert len(kept(server)) == number, arguments
    assert [(line["exit"], line["code"], line["level"], line["part"]) for line in kept(server)] == [
        (code, name, "error", "serve") for code, name, _ in tries
    ]
    assert [line["message"] for line in kept(server)][2] == "the port is taken"
    assert all(line["next"] and line["at"].endswith("Z") for line in kept(server))
    assert SECRET not in (server.data / "log" / "server.log").read_text(encoding="utf-8")

    note = server.data / FILE
    assert json.loads(note.read_text(encoding="utf-8"))["number"] == NEWEST
    note.write_text('{"version": 1, "number": 99}', encoding="utf-8")
    assert refused(server) == 4
    assert "too old: the cluster's version is 99" in kept(server)[-1]["message"]
    note.unlink()

    assert refused(server, "--listen", "0.0.0.0", data=tmp_path / "not-there") == 4
    assert not (tmp_path / "not-there").exists()
    empty = tmp_path / "empty"
    empty.mkdir()
    assert refused(server, "--set", "archive.seal_age=soon", data=empty) == 64
    assert not list(empty.iterdir()), "no cluster has been here"
