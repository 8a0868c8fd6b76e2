"""`recover`: the data folder is gone, the bucket is there. Real processes; the archive of the first test lies in MinIO."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures import child
from tests.fixtures.process import ScrubjayServer, scrubjay_command
from tests.fixtures.s3 import S3Bucket
from tests.fixtures.wait import wait_for
from tests.integration.process.load import Connection, Item, by_key, make_table, proven, put, rfc3339, scan

pytestmark = [pytest.mark.slow, pytest.mark.process, pytest.mark.timeout(400)]

QUICK = {
    "tables.initial_partitions": "2",
    "archive.segment_bytes": "32KiB",
    "archive.seal_age": "1s",
    "archive.closed_interval": "1s",
}
BIRDS = 300
Make = Callable[..., ScrubjayServer]


def bird(number: int, turn: int = 0) -> Item:
    return {"k": {"S": f"bird-{number}"}, "song": {"S": f"{turn}-{number} " + "tweet " * 20}}


def command(url: str, data: Path, *arguments: str) -> list[str]:
    return scrubjay_command("recover", "--archive", url, "--data", str(data), "--json", *arguments)


def recover(url: str, data: Path, *arguments: str, env: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(command(url, data, *arguments), capture_output=True, text=True, timeout=180, check=False, env=dict(env))
    assert "Traceback" not in done.stderr, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    assert document["exit"] == done.returncode
    return done.returncode, document


def names(server: ScrubjayServer) -> list[str]:
    with contextlib.closing(Connection(server.port)) as connection:
        found: list[str] = connection.call("ListTables", {}).body["TableNames"]
    return found


def killed_when(url: str, data: Path, happened: Callable[[], bool], *, env: Mapping[str, str]) -> None:
    """Run it and SIGKILL it as soon as that is so."""
    process = subprocess.Popen(command(url, data), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(env))
    try:
        wait_for(lambda: happened() or process.poll() is not None, timeout=60)
    finally:
        child.stop(process, patience=0)


@pytest.mark.s3
def test_everything_is_gone_but_the_bucket(scrubjay_server: Make, minio_bucket: S3Bucket, tmp_path: Path) -> None:
    """Tables, tags, settings; a dropped one, a restored one. Killed at several moments on the way. Then served, written to, archived, scrubbed."""
    server = scrubjay_server(archive=minio_bucket.url, env=minio_bucket.env, settings=QUICK)
    env = server._env
    client = server.client()
    for name in ("birds", "songs", "mistakes"):
        make_table(server.port, name)
    arn = client.describe_table(TableName="birds")["Table"]["TableArn"]
    client.tag_resource(ResourceArn=arn, Tags=[{"Key": "who", "Value": "jays"}])
    deny = {"Effect": "Deny", "Principal": "*", "Action": "dynamodb:DeleteTable", "Resource": arn}
    client.put_resource_policy(ResourceArn=arn, Policy=json.dumps({"Version": "2012-10-17", "Statement": [deny]}))
    policy = client.get_resource_policy(ResourceArn=arn)
    client.update_table(TableName="songs", DeletionProtectionEnabled=True)
    put(server.port, "mistakes", [bird(1)])
    first = put(server.port, "birds", [bird(number) for number in range(BIRDS)])
    wait_for(lambda: proven(server, "birds", first), timeout=90)
    assert server.cli_json("restore", "run", "--table", "birds", "--to", "birds-before", "--at", rfc3339(first))[0] == 0
    client.delete_table(TableName="mistakes")
    put(server.port, "birds", [bird(number, 1) for number in range(0, BIRDS, 3)])
    last = put(server.port, "songs", [bird(number, 2) for number in range(50)])
    for name in ("birds", "songs", "birds-before", "_scrubjay_metadata"):
        wait_for(lambda name=name: proven(server, name, last), timeout=90)  # type: ignore[misc]
    server.kill()
    shutil.rmtree(server.data)
    before = minio_bucket.keys()

    data = tmp_path / "recovered"
    code, plan = recover(minio_bucket.url, data, "--plan", env=env)
    assert (code, [one["table"] for one in plan["tables"]]) == (0, ["birds", "birds-before", "songs"]), plan
    assert plan["at"] >= rfc3339(last)
    assert ("mistakes", "dropped") in [(one["table"], one["why"]) for one in plan["left_out"]]
    assert not data.exists(), "a plan writes nothing"
    moments: list[Callable[[], bool]] = [
        lambda: any((data / "first-bases").glob("*.rows")),
        lambda: any((data / "nodes" / "n3" / "replicas").glob("*/btree/data.mdb")),
    ]
    for moment in moments:
        killed_when(minio_bucket.url, data, moment, env=env)
    half = ScrubjayServer(data, archive=minio_bucket.url, env=minio_bucket.env)
    refused = subprocess.run(half.command(), capture_output=True, text=True, timeout=60, check=False, env=env)
    assert refused.returncode == 4, refused.stderr
    assert "recover is unfinished, run it again" in refused.stderr
    code, report = recover(minio_bucket.url, data, env=env)
    assert (code, report["error"]) == (0, None), report
    rows = {one["table"]: (one["rows"], one["verdict"]) for one in report["tables"]}
    assert rows == {"birds": (BIRDS, "match"), "birds-before": (BIRDS, "match"), "songs": (50, "match")}
    assert list((data / "tmp" / "trees").glob("*")) == [], "trees are taken, and none of an earlier life's is left"
    assert minio_bucket.keys() == before, "the archive is only read"
    assert recover(minio_bucket.url, data, env=env)[1]["tables"] == report["tables"], "asked again, it says what it did"

    new = scrubjay_server(data.name, archive=minio_bucket.url, env=minio_bucket.env, settings=QUICK)
    assert names(new) == ["birds", "birds-before", "songs"]
    assert by_key(scan(new.port, "birds")) == by_key([bird(number, int(number % 3 == 0)) for number in range(BIRDS)])
    assert by_key(scan(new.port, "birds-before")) == by_key([bird(number) for number in range(BIRDS)])
    assert by_key(scan(new.port, "songs")) == by_key([bird(number, 2) for number in range(50)])
    client = new.client()
    table = client.describe_table(TableName="birds")["Table"]
    assert client.list_tags_of_resource(ResourceArn=table["TableArn"])["Tags"] == [{"Key": "who", "Value": "jays"}]
    kept = client.get_resource_policy(ResourceArn=table["TableArn"])
    assert [kept[name] for name in ("Policy", "RevisionId")] == [policy[name] for name in ("Policy", "RevisionId")]
    with pytest.raises(client.exceptions.PolicyNotFoundException):
        client.get_resource_policy(ResourceArn=table["TableArn"] + "-before")
    assert client.describe_table(TableName="songs")["Table"]["DeletionProtectionEnabled"] is True
    after = put(new.port, "birds", [bird(number, 3) for number in range(20)])
    wait_for(lambda: proven(new, "birds", after), timeout=90)
    code, scrubbed = new.cli_json("scrub", "run", timeout=240)
    assert (code, scrubbed["verdict"]) == (0, "match"), scrubbed
    assert not (data / "first-bases").exists()
    answer = minio_bucket.server.client().get_object(minio_bucket.name, f"archive/{report['cluster']}/identity")
    assert json.loads(answer.data)["parent"] == plan["parent"]
    answer.close()

    # Two clusters lie there now, the folder is served, and another one is not empty.
    code, refused_as = recover(minio_bucket.url, tmp_path / "other", env=env)
    assert (code, refused_as["error"]["code"]) == (64, "Ambiguous")
    assert plan["parent"] in refused_as["error"]["found"]
    assert report["cluster"] in refused_as["error"]["found"]
    code, refused_as = recover(minio_bucket.url, data, "--cluster", plan["parent"], env=env)
    assert (code, refused_as["error"]["code"]) == (4, "Unsafe")


def test_a_hole_and_what_is_refused(scrubjay_server: Make, tmp_path: Path) -> None:
    """An object of a table is gone: what it costs is named, nothing is written, and the moment that is proposed works."""
    folder = tmp_path / "bucket"
    server = scrubjay_server(archive=folder.as_uri(), settings=QUICK | {"tables.initial_partitions": "1"})
    env = server._env
    make_table(server.port, "birds")
    first = put(server.port, "birds", [bird(number) for number in range(40)])
    wait_for(lambda: proven(server, "birds", first), timeout=90)
    last = put(server.port, "birds", [bird(number, 1) for number in range(40)])
    wait_for(lambda: proven(server, "birds", last), timeout=90)
    table = server.client().describe_table(TableName="birds")["Table"]["TableId"]
    assert server.stop() == 0
    log = next(folder.glob(f"*/t={table}/p=*/log"))
    gone = max(log.glob("*.seg"))
    kept = gone.read_bytes()
    gone.unlink()
    url, data = folder.as_uri(), tmp_path / "recovered"
    code, report = recover(url, data, env=env)
    assert (code, report["error"]["code"]) == (2, "Missing"), report
    (hole,) = report["holes"]
    assert (hole["table"], hole["partition"]) == ("birds", log.parent.name.removeprefix("p="))
    assert (hole["first_lsn"], hole["last_lsn"]) == tuple(int(number, 16) for number in gone.name.split(".")[0].split("-"))
    assert report["works_at"] in report["error"]["next"]
    assert not data.exists()
    code, report = recover(url, data, "--at", report["works_at"], env=env)
    assert (code, [one["verdict"] for one in report["tables"]]) == (0, ["match"]), report
    assert report["tables"][0]["rows"] == 40
    gone.write_bytes(kept)
    assert recover(url, tmp_path / "whole", "--plan", env=env)[0] == 0

    for arguments, code, word in (
        (["--cluster", "00000000-0000-4000-8000-000000000000"], 1, "ResourceNotFound"),
        (["--table", "sparrows"], 1, "ResourceNotFound"),
        (["--at", "2001-01-01T00:00:00Z"], 4, "Unsafe"),
        (["--at", "2099-01-01T00:00:00Z"], 4, "Unsafe"),
        (["--at", "yesterday"], 64, "Invalid"),
    ):
        found, report = recover(url, tmp_path / "nothing", "--plan", *arguments, env=env)
        assert (found, report["error"]["code"]) == (code, word), report
    code, report = recover(url, data, "--at", rfc3339(last), env=env)
    assert (code, report["error"]["code"]) == (4, "Conflict"), "the folder is another moment's"
    # What it left for its own archive rots before it is served: it is read anew from the parent's, and everything is archived.
    (rows,) = (data / "first-bases").glob("*.rows")
    spoilt = bytearray(rows.read_bytes())
    spoilt[60] ^= 1
    rows.write_bytes(spoilt)
    new = scrubjay_server(data.name, archive=url, settings=QUICK)
    written = put(new.port, "birds", [bird(41)])
    wait_for(lambda: proven(new, "birds", written), timeout=90)
    assert not (data / "first-bases").exists()
    assert "was made anew from the archive of cluster" in new.log.read_text()
    problems = [one["kind"] for one in new.cli_json("status")[1]["problems"]]
    assert "first-base-owed" not in problems, problems
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious").write_text("mine")
    code, report = recover(url, tmp_path / "full", env=env)
    assert (code, report["error"]["code"]) == (4, "Unsafe")
    assert sorted(path.name for path in (tmp_path / "full").iterdir()) == ["precious"]
