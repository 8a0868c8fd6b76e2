"""The README's five minutes, typed by a test."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from scrubjay.base.real.free_ports import free_ports
from tests.fixtures import child
from tests.fixtures.process import ScrubjayServer
from tests.fixtures.s3 import S3Bucket
from tests.fixtures.wait import wait_for

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BIN = Path(sys.executable).parent
ADDRESS = "http://127.0.0.1:8000"


def _lines(word: str) -> list[str]:
    return [line.partition("#")[0].strip() for line in README.splitlines() if re.match(rf"    (\.venv/bin/)?{word} ", line)]


def _env(**more: str) -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SCRUBJAY_"))}
    return env | more | {"PATH": f"{BIN}:{env['PATH']}"}


def _typed(command: str, env: dict[str, str], *, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A line of the README, typed into a shell. `.venv` is wherever these tests run from."""
    command = command.replace(".venv/bin/", f"{BIN}/")
    return subprocess.run(["sh", "-c", command], env=env, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.slow
def test_the_tour_works_as_printed(scrubjay_server: Callable[..., ScrubjayServer], tmp_path: Path) -> None:
    server = scrubjay_server(settings={"archive.seal_age": "1s", "archive.closed_interval": "1s"})
    env = _env(AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x", AWS_DEFAULT_REGION="us-east-1", SCRUBJAY_ENDPOINT=server.url)

    def typed(command: str) -> subprocess.CompletedProcess[str]:
        command = command.replace("--archive URL", f"--archive {(server.data / 'archive').as_uri()}")
        return _typed(command.replace(ADDRESS, server.url), env, cwd=tmp_path)

    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert code is not None
    done = subprocess.run(
        [sys.executable, "-c", code[1].replace(ADDRESS, server.url)], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "scrub jay" in done.stdout  # it shows something

    (scan,) = _lines("aws")
    done = typed(scan)
    assert done.returncode == 0, done.stderr
    assert "scrub jay" in done.stdout

    verbs = [line for line in _lines("scrubjay") if " serve " not in line and "--endpoint" not in line]
    assert all(line.startswith(".venv/bin/scrubjay ") for line in _lines("scrubjay"))
    assert [line.split()[1] for line in verbs] == [
        "archive",
        "verify",
        "scrub",
        "expire",
        "history",
        "restore",
        "restore",
        "recover",
        "recover",
    ]
    for line in verbs:
        deadline = time.monotonic() + 45
        while (done := typed(line)).returncode in (3, 4) and time.monotonic() < deadline:
            time.sleep(0.3)  # the table is younger than what the line asks for
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    assert server.client().scan(TableName="birds-before")["Count"] in (0, 1)


@pytest.mark.slow
@pytest.mark.s3
def test_its_s3_section_works_after_the_five_minutes(
    scrubjay_server: Callable[..., ScrubjayServer], minio_bucket: S3Bucket, tmp_path: Path
) -> None:
    """Beside the first server, which goes on: the same folder, the commands as printed but for addresses, bucket and keys."""
    first = scrubjay_server("scrubjay-data")
    port = free_ports(1)[0]
    url = f"http://127.0.0.1:{port}"
    section = README.partition("## Where the archive lives")[2].partition("\n## ")[0]
    export, serve, ask = [line.strip() for line in section.splitlines() if line.startswith("    ")]
    store = {"KEY": minio_bucket.env["AWS_ACCESS_KEY_ID"], "SECRET": minio_bucket.env["AWS_SECRET_ACCESS_KEY"]}
    for name, value in store.items():
        export = export.replace(f"={name} ", f"={value} ")
    export = export.replace("http://127.0.0.1:9000", minio_bucket.env["AWS_ENDPOINT_URL_S3"])
    serve = serve.replace("s3://bucket/prefix", minio_bucket.url).replace("8001", str(port))
    command = f"{export} && exec {serve.replace('.venv/bin/', f'{BIN}/')}"
    with (tmp_path / "s3.log").open("wb") as log:
        process = subprocess.Popen(
            ["sh", "-c", command], cwd=tmp_path, env=_env(), stdout=log, stderr=log, preexec_fn=child.die_with_parent
        )
    try:
        wait_for(lambda: f"ready {url}" in (tmp_path / "s3.log").read_text(), timeout=60)
        done = _typed(ask.replace("http://127.0.0.1:8001", url), _env(), cwd=tmp_path)
        assert done.returncode in (0, 3), done.stderr
        assert minio_bucket.url in done.stdout
        assert first.client().list_tables()["TableNames"] == []
    finally:
        assert child.stop(process, patience=40) == 0


def test_every_page_it_names_is_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
