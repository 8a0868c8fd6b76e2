"""Clients that are not ours, against a server process and, where that is cheap, the API over the in-memory store: the aws cli, PynamoDB, the SDKs of
JavaScript and Go, and the libraries that people put above the SDKs of JavaScript and Python.

Programs but for the first two are in tests/clients/. What they need is fetched once, by the lock files there, into a cache outside this tree.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pynamodb.attributes import ListAttribute, MapAttribute, NumberAttribute, UnicodeAttribute, UnicodeSetAttribute
from pynamodb.exceptions import DoesNotExist, PutError
from pynamodb.models import Model

from tests.api_server import REGION, ApiCaller, ApiServer, ServerAt
from tests.fixtures.process import ScrubjayServer
from tests.fixtures.require import unavailable

CLIENTS = Path(__file__).parents[2] / "clients"
FETCH_S = 240
"""Seconds; a Go SDK is compiled once, from source."""
QUICK = {"archive.seal_age": "1s", "archive.closed_interval": "1s"}


@pytest.fixture(scope="module")
def process(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerAt]:
    real = ScrubjayServer(tmp_path_factory.mktemp("clients") / "data", settings=QUICK)
    request.node.stash.setdefault(ScrubjayServer.STARTED, []).append(real)
    with real:
        yield ServerAt(real.port)


@pytest.fixture(scope="module")
def model() -> Iterator[ApiServer]:
    with ApiServer() as started:
        yield started
        assert started.unexpected == []


@pytest.fixture(params=["model", pytest.param("process", marks=pytest.mark.process)])
def server(request: pytest.FixtureRequest) -> ApiCaller:
    found: ApiCaller = request.getfixturevalue(request.param)
    return found


# --- programs in other languages -----------------------------------------------------------------------------------------------------------

EXPECTED = {"batch": 2, "pages": 6, "queried": list(range(29, 9, -1)), "scanned": 50}
"""What both programs find in what they wrote; beside it, whether the item is in the restored table and in its source."""


def cache_for(*paths: Path) -> Path:
    """A folder for what is made of the files `paths`, and of nothing else."""
    base = os.environ.get("SCRUBJAY_CACHE") or os.environ.get("XDG_CACHE_HOME", "") or str(Path.home() / ".cache")
    digest = hashlib.sha256(b"\0".join(path.read_bytes() for path in paths)).hexdigest()[:16]
    folder = Path(base) / ("clients" if os.environ.get("SCRUBJAY_CACHE") else "scrubjay/clients") / f"{paths[0].parent.name}-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def tool(name: str, what: str) -> str:
    found = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
    if found is None:
        unavailable(what, f"no {name} here")
    return found


def fetch(what: str, command: list[str], folder: Path, cache: Path, done: Path, *, made: Path | None = None) -> None:
    """Run `command` in `folder` unless `done` is there; one process at a time, by a lock in `cache`. made: what it makes, if that is `done` only when it is whole."""
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if done.exists():
            return
        if made is not None:
            shutil.rmtree(made, ignore_errors=True)
        try:
            ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=FETCH_S, check=False)
        except subprocess.TimeoutExpired:
            unavailable(what, f"{command[:2]} took more than {FETCH_S} s")
        if ran.returncode == 0 and made is not None:
            made.rename(done)
        if ran.returncode or not done.exists():
            unavailable(what, (ran.stdout + ran.stderr)[-2000:])


def report_of(command: list[str], **options: Any) -> Any:
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)
    assert ran.returncode == 0, ran.stderr[-4000:]
    return json.loads(ran.stdout)


def javascript_packages() -> tuple[str, Path]:
    """Node, and the folder with the packages: modules are looked for beside the program."""
    sources = CLIENTS / "js"
    npm, node = tool("npm", "js"), tool("node", "js")
    cache = cache_for(sources / "package-lock.json", sources / "package.json")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(sources / name, cache / name)
    # TypeDORM would like version 2 of the SDK, too, and uses whichever it is given
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--legacy-peer-deps"]
    fetch("js", [npm, "ci", *options], cache, cache, cache / "node_modules" / ".package-lock.json")
    return node, cache


def test_the_javascript_sdk(process: ServerAt) -> None:
    node, cache = javascript_packages()
    program = cache / f"client-{os.getpid()}.mjs"
    shutil.copy(CLIENTS / "js" / "client.mjs", program)
    try:
        report = report_of([node, "--no-warnings", str(program), process.url])
    finally:
        program.unlink()
    assert report == {**EXPECTED, "restored": {"pk": "many", "sk": 7, "half": 3.5}, "source": None}


def test_the_go_sdk(process: ServerAt) -> None:
    sources = CLIENTS / "go"
    cache = cache_for(*(sources / name for name in ("main.go", "go.mod", "go.sum")))
    fetch("go", [tool("go", "go"), "build", "-trimpath", "-o", str(cache / "client"), "."], sources, cache, cache / "client")
    assert report_of([str(cache / "client"), process.url]) == {**EXPECTED, "restored": 3, "source": 0}


# --- libraries above the SDKs --------------------------------------------------------------------------------------------------------------

JAVASCRIPT: dict[str, Any] = {
    "documents": {
        "city": ["p1", "p3", "p5", "p7", "p9"],
        "named": [f"n{at}" for at in range(10)],
        "reasons": [["ConditionalCheckFailed", "70"], ["None", None], ["None", None], ["None", None]],
        "read": [70, 130, None],
        "selected": [["s1", ["x"]]],
        "batch": [100, "ResourceNotFound"],
        "seen": 1,
        "stated": 0,
        "exact": "123456789012345678901234567890.12345678",
        "lives": ["ENABLED", "until"],
    },
    "dynamoose": {
        "again": "ConditionalCheckFailedException",
        "all": 13,
        "pages": 3,
        "paged": 12,
        "oldest": [12, 11, 10, 9, 8, 7],
        "pugs": ["dog0", "dog3", "dog6", "dog9", "rex"],
        "rex": {"age": 4, "walks": [1, 2, 3], "tags": None, "city": "Utrecht", "since": 0},
        "stamped": [True, True, True],
        "clash": "ConditionalCheckFailedException",
        "cancelled": ["TransactionCanceledException", ["None", "ConditionalCheckFailed"]],
        "together": [12, 0],
        "left": ["dog4"],
        "count": 9,
    },
    "electrodb": {
        # 4001: a condition that failed, of an item that was to be new
        "again": 4001,
        "pages": [8, 8, 8, 6],
        "ranked": ["z", "z", "y", "y", "x", "x"],
        "desk": ["Janet", 20],
        "patched": {"status": "closed", "points": 5, "labels": ["paint"], "comments": [{"by": "janet", "text": "done"}]},
        "clash": "ConditionalCheckFailedException",
        "closed": ["t01"],
        "taken": [False, True, [[True, "ConditionalCheckFailed", "janet"], [False, "None", None], [False, "None", None]]],
        "read": ["janet", "janet", None],
        "load": 1,
        "got": [["t03"], 0],
        "matched": ["t01"],
        "left": 27,
    },
    "typedorm": {
        "taken": "TransactionCancelledException",
        "updated": [105, "away"],
        "stamped": True,
        "clash": "ConditionalCheckFailedException",
        "found": [105, "2@x.test"],
        "batch": [0, 0],
        "read": [["10", "35"], 0],
        "pages": [12, 12, 6],
        "away": ["2"],
        "named": ["n8", "n7", "n6", "n5"],
        "refused": "TransactionCancelledException",
        "together": [40, 160, None],
        "exists": [False, True],
        "scanned": 28,
        "segments": 28,
    },
    "onetable": {
        "exists": True,
        "again": "ConditionalCheckFailedException",
        "taken": "UniqueError",
        "pages": [8, 8, 5],
        "rich": ["u17@x.test", "u18@x.test", "u19@x.test"],
        "young": [str(year) for year in range(1999, 1989, -1)],
        "admins": ["Ann"],
        "changed": "ValidationException",
        "zip": 4,
        "clash": "ConditionalCheckFailedException",
        "refused": "TransactionCanceledException",
        "together": [3, 8],
        "count": 20,
        "scanned": 20,
    },
}
PYTHON: dict[str, Any] = {
    "dyntastic": {
        "made": [True, 30],
        "pages": [["p19", "p18", "p17", "p16"], 6],
        "named": ["ann"],
        "refused": "ConditionalCheckFailedException",
        "found": ["20", ["leg", "arm"], ["wood"], {"high": 80, "wide": 40}],
        "reasons": ["ConditionalCheckFailed", "ConditionalCheckFailed"],
        "left": ["5", "15"],
        "many": ["p01", "p02"],
        "scanned": 4,
        "gone": True,
    },
    "celery": {
        "answer": 5,
        "many": [0, 2, 4, 6, 8, 10, 12, 14],
        "summed": 21,
        "error": ["as asked", "FAILURE"],
        "kept": ["id", "result", "timestamp", "ttl"],
        "forgotten": "PENDING",
        "lives": ["ENABLED", "ttl"],
    },
    "langgraph": {
        "first": ["hello", "ask 1"],
        "waiting": ["answer"],
        "done": [["hello", "ask 1", "answer 2"], 76_800],
        "history": 4,
        "branched": ["hello", "otherwise"],
        "listed": 3,
        "left": [None, ["other", "ask 1"]],
        "store": ["memory 3", 12, None],
        "searched": ["m1", "m3"],
        "names": ["people/ann", "people/bob"],
    },
}


@pytest.fixture(scope="module")
def javascript(process: ServerAt) -> Any:
    """What the libraries of JavaScript report, all of them from one process: what costs is to load the SDK."""
    node, cache = javascript_packages()
    beside = cache / f"mappers-{os.getpid()}"
    shutil.copytree(CLIENTS / "js" / "mappers", beside / "mappers")
    shutil.copy(CLIENTS / "js" / "mappers.mjs", beside)
    try:
        return report_of([node, "--no-warnings", str(beside / "mappers.mjs"), process.url, *JAVASCRIPT])
    finally:
        shutil.rmtree(beside)


@pytest.fixture(scope="module")
def python(process: ServerAt) -> Any:
    """What the libraries of Python report, with packages of their own, and none of ours."""
    sources = CLIENTS / "python"
    cache = cache_for(sources / "requirements.lock")
    packages, fetched = cache / f"packages-{sys.implementation.cache_tag}", cache / "fetched"
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-compile", "--require-hashes", "--only-binary", ":all:"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(fetched), "-r", str(sources / "requirements.lock")]
    fetch("python", command, cache, cache, packages, made=fetched)
    # -S: without what is installed beside this interpreter
    environment = {"PATH": os.environ.get("PATH", ""), "HOME": str(cache), "PYTHONPATH": str(packages)}
    return report_of([sys.executable, "-S", str(sources / "mappers.py"), process.url, *PYTHON], env=environment)


@pytest.mark.process
@pytest.mark.parametrize("library", JAVASCRIPT)
def test_a_library_of_javascript(javascript: Any, library: str) -> None:
    found = javascript[library]
    assert "failed" not in found, found["failed"]
    assert found == JAVASCRIPT[library]


@pytest.mark.process
@pytest.mark.parametrize("library", PYTHON)
def test_a_library_of_python(python: Any, library: str) -> None:
    found = python[library]
    assert "failed" not in found, found["failed"]
    assert found == PYTHON[library]


# --- the aws cli and PynamoDB --------------------------------------------------------------------------------------------------------------


def aws(server: ApiCaller, *arguments: str, ok: bool = True) -> Any:
    """Run `aws dynamodb …` and return its JSON, or its error text."""
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": os.environ.get("HOME", "/"),
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_PAGER": "",
        "AWS_MAX_ATTEMPTS": "1",
    }
    command = [str(Path(sys.executable).with_name("aws")), "dynamodb", *arguments, "--endpoint-url", server.url, "--output", "json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode == 0) == ok, done.stderr
    return (json.loads(done.stdout) if done.stdout.strip() else None) if ok else done.stderr


def test_the_aws_cli(process: ServerAt) -> None:
    aws(
        process,
        "create-table",
        "--table-name=cli",
        "--attribute-definitions=AttributeName=pk,AttributeType=S",
        "--key-schema=AttributeName=pk,KeyType=HASH",
        "--billing-mode=PAY_PER_REQUEST",
    )
    aws(process, "wait", "table-exists", "--table-name=cli")
    item = '{"pk": {"S": "a"}, "raw": {"B": "aGVsbG8="}, "n": {"N": "1.50"}}'
    aws(process, "put-item", "--table-name=cli", f"--item={item}")
    assert aws(process, "get-item", "--table-name=cli", '--key={"pk": {"S": "a"}}')["Item"] == {
        "pk": {"S": "a"},
        # version 1 of the cli takes a blob as text and encodes it
        "raw": {"B": "YUdWc2JHOD0="},
        "n": {"N": "1.5"},
    }
    assert aws(process, "scan", "--table-name=cli")["Count"] == 1
    refused = aws(process, "put-item", "--table-name=cli", f"--item={item}", "--condition-expression=attribute_not_exists(pk)", ok=False)
    assert "ConditionalCheckFailedException" in refused
    recovery = aws(process, "describe-continuous-backups", "--table-name=cli")["ContinuousBackupsDescription"]
    assert recovery["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"
    assert aws(process, "delete-table", "--table-name=cli")["TableDescription"]["TableStatus"] == "DELETING"


class City(Model):
    class Meta:
        table_name = "pynamodb-cities"
        region = REGION
        host = ""
        aws_access_key_id = "test"
        aws_secret_access_key = "test"
        billing_mode = "PAY_PER_REQUEST"

    country = UnicodeAttribute(hash_key=True)
    name = UnicodeAttribute(range_key=True)
    population: Any = NumberAttribute(default=0)
    aliases: Any = UnicodeSetAttribute(null=True)
    history: Any = ListAttribute(default=list)
    place: Any = MapAttribute(default=dict)


def test_pynamodb(server: ApiCaller) -> None:
    City.Meta.host = server.url
    City._connection = None  # kept per class: the other server's, else
    City.create_table(wait=True)
    assert City.exists()
    with City.batch_write() as batch:
        for index in range(30):
            batch.save(City("nl", f"city-{index:02}", population=index * 1000))
    city = City("nl", "amsterdam", population=900_000, aliases={"mokum", "020"}, history=[1275, "founded"], place={"lat": 52.37})
    city.save(condition=City.country.does_not_exist())
    with pytest.raises(PutError):
        city.save(condition=City.country.does_not_exist())
    city.update(actions=[City.population.add(1), City.aliases.delete({"020"}), City.history.set(City.history.append([1300]))])
    got = City.get("nl", "amsterdam", consistent_read=True)
    assert (got.population, got.aliases, got.history, got.place["lat"]) == (900_001, {"mokum"}, [1275, "founded", 1300], 52.37)
    found = City.query("nl", City.name.startswith("city-1"), filter_condition=City.population > 14_000, limit=3)
    assert [one.name for one in found] == ["city-15", "city-16", "city-17"]
    assert City.count("nl") == 31
    assert len(list(City.scan(page_size=4))) == 31
    got.delete()
    with pytest.raises(DoesNotExist):
        City.get("nl", "amsterdam")
    City.delete_table()
