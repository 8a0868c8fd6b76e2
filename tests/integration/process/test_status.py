"""What the server cannot do is seen: `scrubjay status`, /healthz, metrics and one log line, while it lasts and not longer."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from minio.credentials import StaticProvider
from minio.minioadmin import MinioAdmin

from tests.fixtures.false_s3 import Answer, Asked, false_s3, refusal
from tests.fixtures.process import ScrubjayServer
from tests.fixtures.s3 import S3Server
from tests.fixtures.wait import wait_for
from tests.integration.process.load import Connection, make_table
from tests.integration.process.stores import MortalStore
from tests.integration.runbooks.test_runbooks import claim_again

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

Make = Callable[..., ScrubjayServer]
QUICK = {"archive.seal_age": "1s", "archive.closed_interval": "1s", "archive.timeout": "5s", "archive.lag_alarm": "12s"}


class Watched:
    """A server with a table, and what it says of itself."""

    def __init__(self, server: ScrubjayServer) -> None:
        self.server = server
        make_table(server.port, "birds")
        self.put("first")
        wait_for(lambda: self.status()[0] == 0, timeout=60)
        wait_for(lambda: self.health() == (200, "ok"), timeout=30)
        assert self.health("?durable") == (200, "ok")

    def put(self, key: str) -> None:
        with contextlib.closing(Connection(self.server.port)) as connection:
            reply = connection.steadily("PutItem", {"TableName": "birds", "Item": {"k": {"S": key}, "v": {"S": "x"}}})
            assert reply.status == 200, reply

    def status(self) -> tuple[int, dict[str, Any]]:
        return self.server.asked("status")

    def kinds(self) -> set[str]:
        return {problem["kind"] for problem in self.status()[1]["problems"]}

    def health(self, query: str = "") -> tuple[int, str]:
        with contextlib.closing(Connection(self.server.port)) as connection:
            status, body = connection.get(f"/healthz{query}")
        return status, body.strip()

    def metric(self, name: str) -> float:
        with contextlib.closing(Connection(self.server.port)) as connection:
            body = connection.get("/metrics")[1]
        found = re.search(rf"^{re.escape(name)} (\S+)$", body, re.MULTILINE)
        assert found, name
        return float(found[1])

    def lines(self, event: str, kind: str) -> list[dict[str, Any]]:
        """Log lines about a kind of problem."""
        told = [json.loads(line) for line in self.server.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in told if line["event"] == event and line.get("kind") == kind]

    def problem(self, kind: str, *, code: int, writing: bool = False) -> dict[str, Any]:
        """The one problem of that kind, once it is there; code: the exit code of `status` then. writing: with new writes until then (an idle server looks at
        whose archive it is every minute or so, one that has something to archive before it does)."""

        def there() -> bool:
            if writing:
                self.put("more")
            return kind in self.kinds()

        wait_for(there, timeout=60)
        found, report = self.status()
        assert found == code, report
        (problem,) = [one for one in report["problems"] if one["kind"] == kind]
        assert (Path(__file__).parents[3] / problem["runbook"]).is_file()
        wait_for(lambda: len(self.lines("problem", kind)) == 1, timeout=30)
        assert self.lines("problem", kind)[0]["level"] == "error"
        assert self.metric(f'scrubjay_problems{{kind="{kind}"}}') == 1
        shown = self.server.cli("status")
        assert shown.returncode == code
        assert problem["runbook"] in shown.stdout
        return problem

    def over(self, kind: str) -> None:
        wait_for(lambda: self.kinds() == set(), timeout=60)
        assert self.metric(f'scrubjay_problems{{kind="{kind}"}}') == 0
        wait_for(lambda: len(self.lines("problem over", kind)) == 1, timeout=30)  # once it has stayed away
        assert len(self.lines("problem", kind)) == 1
        assert self.health() == (200, "ok")
        assert self.health("?durable") == (200, "ok")


def test_an_archive_folder_that_is_moved_away(scrubjay_server: Make, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    watched = Watched(scrubjay_server(archive=archive.as_uri(), settings=QUICK))
    archive.rename(tmp_path / "away")
    problem = watched.problem("archive-gone", code=2)
    assert "was there and is gone" in problem["what"]
    asked = time.monotonic()
    while (
        time.monotonic() - asked < 5
    ):  # the searches for a newer epoch and of the index, which ask a folder nothing at their beginning, end nothing
        assert watched.status()[0] == 2
    assert watched.status()[1]["archive"]["present"] is False
    assert watched.health() == (200, "degraded")  # tables go on
    assert watched.health("?durable") == (503, "degraded")
    assert watched.health("?live") == (200, "live")
    assert watched.metric("scrubjay_archive_present") == 0
    watched.put("meanwhile")
    assert not archive.exists(), "nobody begins a new archive in its place"
    (tmp_path / "away").rename(archive)
    watched.over("archive-gone")
    assert watched.server.cli_json("verify")[0] == 0


def test_an_archive_folder_that_is_not_there_at_the_start(scrubjay_server: Make, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    server = scrubjay_server(archive=archive.as_uri(), settings=QUICK)
    watched = Watched(server)
    assert server.stop() == 0
    archive.rename(tmp_path / "away")
    server.start()
    watched.problem("archive-gone", code=2)
    watched.put("meanwhile")
    (tmp_path / "away").rename(archive)
    wait_for(lambda: watched.status()[0] == 0, timeout=60)
    assert server.cli_json("verify")[0] == 0


@pytest.mark.s3
def test_a_bucket_that_is_emptied(scrubjay_server: Make, minio: S3Server, tmp_path: Path) -> None:
    bucket = minio.make_bucket()
    watched = Watched(scrubjay_server(archive=bucket.url, env=bucket.env, settings=QUICK))
    names = bucket.keys()
    for key in names:
        minio.client().remove_object(bucket.name, key)
    watched.problem("archive-gone", code=2, writing=True)
    assert watched.health()[0] == 200
    assert watched.health("?durable")[0] == 503


def test_another_cluster_in_our_archive(scrubjay_server: Make, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    watched = Watched(scrubjay_server(archive=archive.as_uri(), settings=QUICK, arguments=["--stop-timeout", "2s"]))
    claim_again(archive)
    problem = watched.problem("archive-fenced", code=3, writing=True)
    assert "another cluster holds this identity" in problem["what"]
    watched.put("and again")
    assert watched.health() == (200, "degraded")
    assert watched.health("?durable")[0] == 503
    report = watched.status()[1]
    assert report["archive"]["fenced"] is True
    assert all(node["fenced"] for node in report["nodes"])
    assert watched.metric("scrubjay_archive_fenced") == 1


def test_a_store_that_freezes(scrubjay_server: Make, tmp_path: Path) -> None:
    with contextlib.closing(MortalStore("minio", tmp_path / "store")) as store:
        watched = Watched(scrubjay_server(archive=store.bucket.url, env=store.bucket.env, settings=QUICK))
        store.freeze()
        watched.put("meanwhile")
        problem = watched.problem("archive-unreachable", code=3)
        assert problem["since"]
        assert watched.health()[0] == 200
        wait_for(lambda: watched.health("?durable")[0] == 503, timeout=30)
        assert watched.metric("scrubjay_store_unreachable_seconds") > 12  # not before archive.lag_alarm
        assert watched.metric("scrubjay_store_reachable") == 0
        wait_for(lambda: "archive-lags" in watched.kinds(), timeout=30)
        store.thaw()
        watched.over("archive-unreachable")


@pytest.mark.s3
def test_credentials_that_expire_and_are_renewed(scrubjay_server: Make, minio: S3Server, tmp_path: Path) -> None:
    """By name in the status, and taken by the server and by its worker processes without a restart."""
    bucket = minio.make_bucket()
    expired: list[str] = []

    def gate(asked: Asked) -> Answer | None:
        return refusal(400, "ExpiredToken") if asked.key_id in expired else None

    home = tmp_path / "aws"
    home.mkdir()

    def hand_out(key: str, secret: str) -> None:
        (home / "new").write_text(f"[lab]\naws_access_key_id={key}\naws_secret_access_key={secret}\n")
        (home / "new").rename(home / "credentials")

    with false_s3(minio.url) as gateway:
        gateway.before = gate
        hand_out(minio.access_key, minio.secret_key)
        (home / "config").write_text(f"[profile lab]\nendpoint_url={gateway.url}\nregion=us-east-1\n")
        env = {"AWS_PROFILE": "lab", "AWS_SHARED_CREDENTIALS_FILE": str(home / "credentials"), "AWS_CONFIG_FILE": str(home / "config")}
        watched = Watched(scrubjay_server(archive=bucket.url, env=env, settings=QUICK))
        assert watched.server.cli_json("scrub", "run")[0] == 0  # workers have clients of their own by now
        expired.append(minio.access_key)
        watched.put("meanwhile")
        problem = watched.problem("archive-unreachable", code=3)
        assert "expired" in problem["what"]
        # A second account of the same server: what a program that renews credentials would write.
        second = ("renewed-key", "renewed-secret")
        new_account(minio, *second)
        hand_out(*second)
        watched.over("archive-unreachable")
        before = len(gateway.seen)
        assert watched.server.cli_json("scrub", "run")[0] == 0
        assert watched.server.cli_json("verify")[0] == 0
        assert {asked.key_id for asked in gateway.seen[before:]} == {second[0]}


def new_account(server: S3Server, key: str, secret: str) -> None:
    """Another pair of keys of MinIO, with the rights of its owner."""
    keys = StaticProvider(server.access_key, server.secret_key)
    admin = MinioAdmin(endpoint=server.url.removeprefix("http://"), credentials=keys, secure=False)
    admin.add_service_account(access_key=key, secret_key=secret)


def test_rot_is_outstanding_until_a_scrub_finds_all_well(scrubjay_server: Make, tmp_path: Path) -> None:
    from scrubjay.drills.damage import flip_live_bit

    watched = Watched(scrubjay_server(archive=(tmp_path / "archive").as_uri(), settings=QUICK | {"storage.checkpoint_age": "1s"}))
    needle = "needle-in-the-tree-" + "z" * 40
    watched.put(needle)
    wait_for(lambda: flip_live_bit(watched.server.data, needle.encode()) is not None, timeout=30)
    assert watched.server.cli_json("scrub", "run", "--table", "birds")[0] == 2
    watched.problem("scrub-mismatch", code=2)
    table = next(one for one in watched.status()[1]["tables"] if one["table"] == "birds")
    assert (table["health"], table["last_verdict"]) == ("degraded", "mismatch")
    assert table["last_scrub"]
    wait_for(lambda: watched.server.cli_json("scrub", "run", "--table", "birds")[0] == 0, timeout=60)
    watched.over("scrub-mismatch")
    table = next(one for one in watched.status()[1]["tables"] if one["table"] == "birds")
    assert (table["health"], table["last_verdict"]) == ("ok", "match")


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    server = ScrubjayServer(tmp_path / "data")
    code, report = server.cli_json("status")
    assert code == 1
    assert report["error"]["next"]
    assert report["problems"] == []
    shutil.rmtree(tmp_path / "data", ignore_errors=True)
