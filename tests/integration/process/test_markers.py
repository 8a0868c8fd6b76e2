"""A bucket with versions on a real MinIO, in which somebody deletes objects: what a scrub reads, what says so, and what ends it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from minio.commonconfig import ENABLED
from minio.versioningconfig import VersioningConfig

from tests.fixtures.process import ScrubjayServer
from tests.fixtures.s3 import S3Bucket
from tests.fixtures.wait import wait_for
from tests.integration.process.load import make_table, put, rfc3339

pytestmark = [pytest.mark.slow, pytest.mark.s3, pytest.mark.timeout(600)]

QUICK = {"archive.seal_age": "1s", "archive.closed_interval": "1s", "storage.checkpoint_age": "200ms"}
Make = Callable[..., ScrubjayServer]


def latest_of(server: ScrubjayServer) -> str:
    _, report = server.asked("archive/status")
    return str(report["tables"][0]["window"]["latest"] or "")


def found(findings: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [(one["kind"], one["object"], one["found_by"]) for one in findings]


def test_a_scrub_reads_what_lies_under_a_delete_marker_and_it_is_named_until_the_marker_is_gone(
    scrubjay_server: Make, minio_bucket: S3Bucket
) -> None:
    client = minio_bucket.server.client()
    client.set_bucket_versioning(minio_bucket.name, VersioningConfig(ENABLED))
    server = scrubjay_server(archive=minio_bucket.url, env=minio_bucket.env, settings=QUICK)
    make_table(server.port, "birds")
    last = put(server.port, "birds", [{"k": {"S": f"bird-{number}"}} for number in range(50)])
    wait_for(lambda: latest_of(server) >= rfc3339(last), timeout=120)
    table = server.client().describe_table(TableName="birds")["Table"]["TableId"]
    listed = minio_bucket.keys()
    victim = next(key for key in listed if f"/t={table}/" in key and key.endswith(".seg"))
    client.remove_object(minio_bucket.name, victim)
    listed = minio_bucket.keys()
    assert victim not in listed
    named = [("hole", victim.removeprefix("archive/"), "verify")]

    code, report = server.cli_json("scrub", "run", "--table", "birds")
    assert (code, report["verdict"], report["plan"]["partitions"][0]["base_lsn"]) == (0, "match", None), (
        "what was put is read, from the first record on"
    )
    code, status = server.cli_json("archive", "status")
    (said,) = status["findings"]
    assert (code, said["kind"], said["object"]) == (2, "hole", named[0][1])
    assert said["detail"].startswith("deleted: a delete marker stands over version ")
    code, report = server.cli_json("verify", "--table", "birds")
    assert (code, found(report["findings"])) == (2, named)
    code, report = server.cli_json("scrub", "run", "--table", "birds")
    (part,) = report["tables"][0]["partitions"]
    assert (code, found(part["findings"])) == (2, named), "what verify found counts in the next scrub"
    assert {copy["verdict"] for copy in part["copies"]} == {"match"}

    (marker,) = [one for one in client.list_objects(minio_bucket.name, prefix=victim, include_version=True) if one.is_delete_marker]
    client.remove_object(minio_bucket.name, victim, version_id=marker.version_id)
    assert server.cli_json("verify", "--table", "birds")[0] == 0
    assert server.cli_json("scrub", "run", "--table", "birds")[0] == 0
