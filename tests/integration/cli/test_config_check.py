"""`config check` against real ports, disks, limits and stores: what would not work is named, and nothing is changed."""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from scrubjay.base.real.free_ports import free_ports
from tests.fixtures.false_s3 import Answer, Asked, false_s3
from tests.fixtures.process import scrubjay_command
from tests.fixtures.s3 import S3Server

Report = tuple[int, dict[str, Any]]


def check(data: Path, *arguments: str, env: Mapping[str, str] | None = None, limit: Callable[[], None] | None = None) -> Report:
    words = scrubjay_command("config", "check", "--data", str(data), "--json", *arguments)
    if "--port" not in arguments:
        words += ["--port", str(free_ports(1)[0])]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SCRUBJAY_"))}
    clean |= {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"} | dict(
        env or {}
    )
    done = subprocess.run(words, env=clean, capture_output=True, text=True, timeout=60, check=False, preexec_fn=limit)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout)


def verdicts(report: Report) -> dict[str, str]:
    return {one["check"]: one["verdict"] for one in report[1]["checks"]}


def failed(report: Report, name: str) -> str:
    """What the one failed check found."""
    assert report[0] == 4, report
    bad = [one for one in report[1]["checks"] if one["verdict"] == "failed"]
    assert [one["check"] for one in bad] == [name], report
    assert bad[0]["next"]
    return str(bad[0]["found"])


def everything(folder: Path) -> list[tuple[str, int]]:
    return sorted((str(path), path.stat().st_mtime_ns) for path in folder.rglob("*"))


def test_what_would_work_is_ok_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "somewhere").mkdir()
    before = everything(tmp_path)
    report = check(tmp_path / "somewhere" / "data")
    assert report[0] == 0
    assert set(verdicts(report)) == {"files", "keys", "memory", "data", "port", "clock", "archive", "store"}
    assert [name for name, _ in everything(tmp_path)] == [name for name, _ in before]


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert port in failed(check(tmp_path / "data", "--port", port), "port")


def test_a_data_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("not a folder")
    assert "no folder" in failed(check(tmp_path / "data", "--archive", (tmp_path / "archive").as_uri()), "data")


def test_an_archive_of_somebody_else(tmp_path: Path) -> None:
    cluster = str(uuid.uuid4())
    (tmp_path / "archive" / cluster).mkdir(parents=True)
    (tmp_path / "archive" / cluster / "identity").write_text("{}")
    assert cluster in failed(check(tmp_path / "data", "--archive", (tmp_path / "archive").as_uri()), "store")


@pytest.mark.slow
def test_limits_of_the_process(tmp_path: Path) -> None:
    def files() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))

    def memory() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))

    assert "descriptors" in failed(check(tmp_path / "data", limit=files), "files")
    assert "2048 MiB" in failed(check(tmp_path / "data", limit=memory), "memory")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--set", "storage.wal_limit=70MiB"],
        ["--set", "consensus.lease=300ms"],
        ["--set", "archive.segment_bytes=40MiB", "--set", "storage.wal_limit=128MiB", "--set", "storage.wal_file=8MiB"],
        ["--set", "s3.access_key_id=only"],
        ["--set", "storage.wal_limits=1GiB"],
        ["--set", "s3.endpoint_url=127.0.0.1:9000", "--archive", "s3://bucket/p"],
    ],
)
def test_what_can_never_work_is_wrong_usage(tmp_path: Path, arguments: list[str]) -> None:
    code, document = check(tmp_path / "data", *arguments)
    assert code == 64
    assert document["error"]["next"]


@pytest.mark.s3
@pytest.mark.xdist_group("s3")
class TestStores:
    def test_a_good_store_is_left_as_it_was(self, minio: S3Server, tmp_path: Path) -> None:
        bucket = minio.make_bucket()
        report = check(tmp_path / "data", "--archive", bucket.url, env=bucket.env)
        assert report[0] == 0, report
        assert verdicts(report)["store clock"] == "ok"
        assert bucket.keys() == []

    def test_a_store_whose_clock_is_off(self, minio: S3Server, tmp_path: Path) -> None:
        bucket = minio.make_bucket()
        date = format_datetime(datetime.now(UTC) + timedelta(minutes=5), usegmt=True)

        def later(asked: Asked, answer: Answer) -> Answer:
            kept = [(name, value) for name, value in answer.headers if name.lower() != "date"]
            return replace(answer, headers=(*kept, ("Date", date)))

        with false_s3(minio.url) as gateway:
            gateway.after = later
            report = check(tmp_path / "data", "--archive", bucket.url, env=bucket.env | {"AWS_ENDPOINT_URL_S3": gateway.url})
        seconds = int(failed(report, "store clock").split()[0])  # the date was made a little before it is compared
        assert 280 <= seconds <= 301

    def test_a_store_that_ignores_conditions(self, minio: S3Server, tmp_path: Path) -> None:
        bucket = minio.make_bucket()

        def unconditional(asked: Asked) -> Answer | None:
            if asked.method == "PUT" and "if-none-match" in asked.headers:
                return Answer(200, b"", (("ETag", '"x"'),))
            return None

        with false_s3(minio.url) as gateway:
            gateway.before = unconditional
            report = check(tmp_path / "data", "--archive", bucket.url, env=bucket.env | {"AWS_ENDPOINT_URL_S3": gateway.url})
        assert "probe" in failed(report, "store")

    def test_refusals_by_name(self, minio: S3Server, tmp_path: Path) -> None:
        bucket = minio.make_bucket()
        for env, name in (
            ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "CredentialsRefused"),
            ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "CredentialsMissing"),
            ({"AWS_PROFILE": "absent", "AWS_ACCESS_KEY_ID": ""}, "CredentialsMissing"),
        ):
            given = {name: value for name, value in (bucket.env | env).items() if value}
            assert name in failed(check(tmp_path / "data", "--archive", bucket.url, env=given), "store")
        missing = check(tmp_path / "data", "--archive", "s3://there-is-no-such-bucket/p", env=bucket.env)
        assert "BucketMissing" in failed(missing, "store")
