"""docker-compose.yml, brought up for real: MinIO, its bucket and four processes of a cluster find each other, take writes, archive them, lose a node, and go down in order."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from minio import Minio

from scrubjay.base.real.free_ports import free_ports
from tests.fixtures.containers import Engine
from tests.fixtures.require import unavailable
from tests.fixtures.s3 import minio_binary
from tests.fixtures.wait import wait_for

ROOT = Path(__file__).parent.parent.parent.parent
GO_TAG = "localhost/scrubjay-test-go"
USER, PASSWORD = "composetest", "composetest-secret"

pytestmark = [pytest.mark.containers, pytest.mark.slow, pytest.mark.timeout(900)]


class World:
    """The compose project, under a name and on ports of its own."""

    def __init__(self, engine: Engine, base: str, go: str) -> None:
        self.engine = engine
        *self.ports, self.minio_port = free_ports(4)
        self.env = os.environ | engine.env
        self.env |= {"BASE_IMAGE": base, "GO_IMAGE": go, "MINIO_PORT": str(self.minio_port)}
        self.env |= dict(zip(("SCRUBJAY_PORT", "SCRUBJAY_PORT_2", "SCRUBJAY_PORT_3"), map(str, self.ports), strict=True))
        self.env |= {"MINIO_ROOT_USER": USER, "MINIO_ROOT_PASSWORD": PASSWORD, "COMPOSE_PROJECT_NAME": f"scrubjaytest{self.minio_port}"}
        self.env |= {"MINIO_IMAGE": "localhost/scrubjay-minio-test", "SCRUBJAY_IMAGE": "localhost/scrubjay-test"}

    def compose(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = [*self.engine.compose, "-f", str(ROOT / "docker-compose.yml"), *arguments]
        done = subprocess.run(command, env=self.env, cwd=ROOT, capture_output=True, text=True, timeout=800, check=False)
        if check and done.returncode != 0:
            raise AssertionError(
                f"{' '.join(command)} exited {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}\n{self.logs()}"
            )
        return done

    def logs(self) -> str:
        return self.compose("logs", "--tail", "60", check=False).stdout if self.engine else ""

    def minio(self) -> Minio:
        return Minio(f"127.0.0.1:{self.minio_port}", access_key=USER, secret_key=PASSWORD, region="us-east-1", secure=False)

    def archived(self) -> list[str]:
        return [str(entry.object_name) for entry in self.minio().list_objects("archive", recursive=True)]

    def dynamodb(self, node: int = 0, *, tries: int = 1) -> Any:
        """A client of one node, counted from 0."""
        return boto3.client(
            "dynamodb",
            endpoint_url=f"http://127.0.0.1:{self.ports[node]}",
            region_name="us-east-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",
            config=Config(retries={"total_max_attempts": tries}, connect_timeout=5, read_timeout=30),
        )


@pytest.fixture(scope="module")
def go_image(container_engine: Engine, debian_base: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """In place of an image with a Go toolchain, which cannot be pulled here: one that holds what it would have built."""
    binary = minio_binary()
    if binary is None:
        unavailable("containers", "the MinIO binary is not in the cache; `make minio` builds it")
    context = tmp_path_factory.mktemp("go")
    shutil.copy(binary, context / "minio")
    (context / "Dockerfile").write_text(f"FROM {debian_base}\nCOPY minio /out/minio\n")
    client = container_engine.client()
    try:
        client.images.build(path=str(context), tag=GO_TAG, rm=True)
    finally:
        client.close()
    return GO_TAG


@pytest.fixture(scope="module")
def world(container_engine: Engine, debian_base: str, go_image: str) -> Iterator[World]:
    world = World(container_engine, debian_base, go_image)
    yield world
    world.compose("down", "--volumes", "--timeout", "5", check=False)


def test_a_fresh_clone_holds_what_the_images_are_built_from() -> None:
    """Nothing that git does not track is copied, and every package goes into the image."""
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for name in (
        "docker/Dockerfile",
        "docker/minio.Dockerfile",
        "docker/make_bucket.py",
        "docker/healthy.py",
        "docker/cluster.toml",
        "requirements.lock",
        "pyproject.toml",
        "README.md",
    ):
        assert name in tracked
    packages = {name.partition("/")[0] for name in tracked if name.endswith("/__init__.py")} - {"tests", "bench", "docs"}
    assert {f"!{package}" for package in packages} <= set(ignore)
    assert "make images" not in (ROOT / "docker-compose.yml").read_text(encoding="utf-8")


def test_the_file_is_valid(world: World) -> None:
    services = world.compose("config", "--services").stdout.split()
    assert sorted(services) == ["bucket", "durability", "init", "minio", "n1", "n2", "n3"]


def test_minio_alone_comes_up(world: World) -> None:
    world.compose("up", "-d", "minio")
    wait_for(lambda: world.minio().list_buckets() == [], timeout=30, ignoring=(Exception,))


def test_the_image_holds_the_command(world: World) -> None:
    world.compose("build", "n1")
    client = world.engine.client()
    try:
        out = client.containers.run(world.env["SCRUBJAY_IMAGE"], ["-h"], remove=True)
    finally:
        client.close()
    assert b"serve" in out


def test_written_anywhere_read_everywhere_and_archived(world: World) -> None:
    """A table through boto3, its archive in MinIO; health and status as an operator asks for them."""
    world.compose("up", "-d")
    client = world.dynamodb()
    wait_for(lambda: client.list_tables()["TableNames"] == [], timeout=120, ignoring=(BotoCoreError, ClientError))
    client.create_table(
        TableName="towns",
        AttributeDefinitions=[{"AttributeName": "name", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "name", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    wait_for(lambda: client.describe_table(TableName="towns")["Table"]["TableStatus"] == "ACTIVE", timeout=30)
    table = client.describe_table(TableName="towns")["Table"]["TableId"]
    for number in range(50):
        client.put_item(TableName="towns", Item={"name": {"S": f"town {number}"}, "people": {"N": str(number * 1000)}})
    assert people(world.dynamodb(1, tries=5), 7) == {"N": "7000"}
    for ending in (".seg", ".json"):
        wait_for(lambda ending=ending: any(f"/t={table}/" in key and key.endswith(ending) for key in world.archived()), timeout=60)
    healthy = ["/opt/scrubjay/.venv/bin/python", "/opt/scrubjay/docker/healthy.py"]
    for service in ("n1", "n2", "n3", "durability"):
        wait_for(lambda service=service: world.compose("exec", "-T", service, *healthy, check=False).returncode == 0, timeout=60)
    status = world.compose("exec", "-T", "durability", "scrubjay", "status", "--json", check=False)
    assert {node["node"] for node in json.loads(status.stdout)["nodes"]} == {"n1", "n2", "n3"}


def test_a_node_is_killed_and_comes_back(world: World) -> None:
    world.compose("kill", "n2")
    client = world.dynamodb(2, tries=10)
    client.put_item(TableName="towns", Item={"name": {"S": "town 50"}, "people": {"N": "50000"}})
    world.compose("start", "n2")
    back = world.dynamodb(1, tries=10)
    wait_for(lambda: people(back, 50) == {"N": "50000"}, timeout=90, ignoring=(BotoCoreError, ClientError))


def test_stopped_in_order(world: World) -> None:
    """Once all is archived every process leaves with 0."""

    def archived() -> bool:
        found = json.loads(world.compose("exec", "-T", "durability", "scrubjay", "archive", "status", "--json", check=False).stdout)
        return not any(one["unarchived_bytes"] for one in found["tables"] if not one["table"].startswith("_"))

    wait_for(archived, timeout=60)
    processes = ("n1", "n2", "n3", "durability")
    world.compose("stop", "--timeout", "45", *processes)
    docker = world.engine.client()
    try:
        containers = {name: world.compose("ps", "-q", name).stdout.split()[0] for name in processes}
        left = {name: docker.containers.get(container).attrs["State"]["ExitCode"] for name, container in containers.items()}
    finally:
        docker.close()
    assert left == dict.fromkeys(processes, 0), world.logs()


def people(client: Any, number: int) -> Any:
    """Of a town, read strongly."""
    return client.get_item(TableName="towns", Key={"name": {"S": f"town {number}"}}, ConsistentRead=True)["Item"]["people"]
