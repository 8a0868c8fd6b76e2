"""An encrypted archive with real processes: nothing readable in it, every verb works, a key is changed, one is lost, and the cluster comes back from the bucket."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.process import ScrubjayServer, scrubjay_command
from tests.fixtures.wait import wait_for
from tests.integration.process.load import Item, make_table, proven, put, rfc3339, scan

pytestmark = [pytest.mark.slow, pytest.mark.process, pytest.mark.timeout(400)]

QUICK = {"archive.seal_age": "1s", "archive.closed_interval": "1s", "storage.checkpoint_age": "200ms"}
NEEDLE = "a nest in the old oak"
TABLE = "hidden-nests"
FIRST, SECOND = "11" * 32, "22" * 32
Make = Callable[..., ScrubjayServer]


def nest(number: int) -> Item:
    return {"k": {"S": f"nest-{number}"}, "where": {"S": f"{NEEDLE} {number}"}}


def run(server: ScrubjayServer, *arguments: str, keys: str) -> tuple[int, dict[str, Any]]:
    """Without a server, with other keys."""
    env = server._env | {"SCRUBJAY_ENCRYPTION_KEYS": keys}
    done = subprocess.run(scrubjay_command(*arguments, "--json"), env=env, capture_output=True, text=True, timeout=180, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    for secret in (FIRST, SECOND):
        assert secret not in done.stdout + done.stderr
    return done.returncode, json.loads(done.stdout)


def test_nothing_is_readable_and_everything_works(scrubjay_server: Make, tmp_path: Path) -> None:
    key = tmp_path / "first.key"
    key.write_text(FIRST)
    key.chmod(0o600)
    one, both = f"first=file:{key}", f"second=env:SECOND_KEY,first=file:{key}"
    archive = tmp_path / "bucket"
    url = archive.as_uri()
    server = scrubjay_server(archive=url, settings={**QUICK, "encryption.keys": one}, env={"SECOND_KEY": SECOND})
    make_table(server.port, TABLE)
    last = put(server.port, TABLE, [nest(number) for number in range(200)])
    wait_for(lambda: proven(server, TABLE, last), timeout=90)

    assert server.cli_json("verify", "--level", "replayed")[0] == 0
    assert server.cli_json("scrub", "run", "--table", TABLE)[0] == 0
    assert server.cli_json("restore", "run", "--table", TABLE, "--to", "again", "--at", rfc3339(last))[0] == 0
    assert scan(server.port, "again") == scan(server.port, TABLE)
    assert server.cli_json("drill", "run", "rot")[0] == 0

    # What leaves for others is theirs to read.
    place = tmp_path / "out"
    place.mkdir()
    code, exported = server.cli_json("export", TABLE, "--to", place.as_uri())
    assert (code, exported["rows"]) == (0, 200), exported
    assert any(NEEDLE.encode() in gzip.decompress(path.read_bytes()) for path in place.rglob("*.json.gz"))

    # Another key from now on; what lies there under the first is read.
    assert server.stop() in (0, 3)
    server.set("encryption.keys", both)
    server.start()
    last = put(server.port, TABLE, [nest(number) for number in range(200, 300)])
    wait_for(lambda: proven(server, TABLE, last), timeout=90)
    assert server.cli_json("verify")[0] == 0
    assert server.stop() == 0
    for secret in (FIRST, SECOND):
        assert secret.encode() not in server.log.read_bytes()

    files = [path for path in archive.rglob("*") if path.is_file()]
    assert len(files) > 10
    for path in files:
        data = path.read_bytes()
        assert data.startswith(b"SJsealed")
        assert not [word for word in (NEEDLE, TABLE, "nest-1") if word.encode() in data]
    assert {data[16:32].rstrip(b"\0") for data in (path.read_bytes() for path in files)} == {b"first", b"second"}

    # The archive alone, and a copy of it elsewhere.
    copy = tmp_path / "elsewhere" / "below"
    shutil.copytree(archive, copy)
    assert run(server, "verify", "--archive", copy.as_uri(), keys=both)[0] == 0
    for keys, lost in (("", "first"), ("second=env:SECOND_KEY", "first"), (one, "second"), ("first=env:SECOND_KEY", "first")):
        code, report = run(server, "verify", "--archive", url, keys=keys)
        assert (code, report["verdict"], report["findings"]) == (3, "unverified", []), keys
        assert f"key {lost}" in report["reason"]

    # A server without the keys comes up for nobody.
    for keys, code, said in (("", 4, "key first, which is not configured"), ("first=env:NONE", 1, "the variable of key first is not set")):
        server.set("encryption.keys", keys)
        refused = subprocess.run(server.command(), env=server._env, capture_output=True, text=True, timeout=120, check=False)
        assert refused.returncode == code, refused.stderr
        assert said in " ".join((refused.stdout + refused.stderr).split())
        assert "Traceback" not in refused.stderr

    data = tmp_path / "recovered"
    assert run(server, "recover", "--archive", url, "--data", str(data), keys="")[0] != 0
    code, report = run(server, "recover", "--archive", url, "--data", str(data), keys=both)
    assert code == 0, report
    back = scrubjay_server("recovered", archive=url, settings={**QUICK, "encryption.keys": both}, env={"SECOND_KEY": SECOND})
    assert len(scan(back.port, TABLE)) == 300
