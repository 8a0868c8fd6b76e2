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

from tests.fixtures.process import ScrubjayServer

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:8000"


def _lines(word: str) -> list[str]:
    return [line.partition("#")[0].strip() for line in README.splitlines() if line.startswith(f"    {word} ")]


@pytest.mark.slow
def test_the_tour_works_as_printed(scrubjay_server: Callable[..., ScrubjayServer]) -> None:
    server = scrubjay_server(settings={"archive.seal_age": "1s", "archive.closed_interval": "1s"})
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SCRUBJAY_"))}
    env |= {
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
        "PATH": f"{Path(sys.executable).parent}:{env['PATH']}",
    }
    env["SCRUBJAY_ENDPOINT"] = server.url

    def typed(command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-c", command.replace(ADDRESS, server.url)], env=env, capture_output=True, text=True, timeout=120, check=False
        )

    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert code is not None
    done = subprocess.run(
        [sys.executable, "-c", code[1].replace(ADDRESS, server.url)], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr

    (scan,) = _lines("aws")
    done = typed(scan)
    assert done.returncode == 0, done.stderr
    assert "scrub jay" in done.stdout

    verbs = [line for line in _lines("scrubjay") if " serve " not in line]
    assert [line.split()[1] for line in verbs] == ["archive", "verify", "scrub", "restore", "restore"]
    for line in verbs:
        deadline = time.monotonic() + 45
        while (done := typed(line)).returncode in (3, 4) and time.monotonic() < deadline:
            time.sleep(0.3)  # the table is younger than what the line asks for
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    assert server.client().scan(TableName="birds-before")["Count"] in (0, 1)


def test_every_page_it_names_is_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
