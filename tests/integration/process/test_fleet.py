"""A server whose jobs travel to a real Dask cluster: scrub, heal, verify and restore over MinIO, with a worker killed on the way, and with none left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fixtures.fleet import Fleet
from tests.fixtures.process import ScrubjayServer
from tests.fixtures.s3 import S3Bucket
from tests.fixtures.wait import wait_for
from tests.integration.process.load import make_table, now_us, proven, put, scan
from tests.integration.process.tree_bytes import flip, spot_of

pytestmark = [pytest.mark.slow, pytest.mark.s3, pytest.mark.process, pytest.mark.timeout(400)]

Make = Callable[..., ScrubjayServer]
SETTINGS = {
    "tables.initial_partitions": "2",
    "storage.checkpoint_age": "200ms",
    "archive.seal_age": "1s",
    "archive.closed_interval": "1s",
    "jobs.backend": "dask",
    "jobs.wait": "2s",
    "scrub.parallel": "2",
    "pitr.parallel": "2",
}
FLOCK = [{"k": {"S": f"bird-{number:04d}"}, "song": {"S": f"<song {number:04d}> " + "tweet " * 20}} for number in range(400)]


@pytest.fixture
def fleet(tmp_path: Path, minio_bucket: S3Bucket) -> Iterator[Fleet]:
    made = Fleet(tmp_path / "fleet", env=minio_bucket.env)
    for _ in range(2):
        made.add()
    yield made
    made.close()


def sessions(fleet: Fleet) -> list[Path]:
    """Folders of scrubjay's on the workers: one for each server that sent jobs."""
    return list(fleet.folder.glob("scratch*/dask-scratch-space/*/scrubjay/*"))


def test_jobs_travel_a_dead_worker_changes_nothing_and_none_at_all_is_said(
    scrubjay_server: Make, minio_bucket: S3Bucket, fleet: Fleet
) -> None:
    server = scrubjay_server(archive=minio_bucket.url, env=minio_bucket.env, settings={**SETTINGS, "jobs.address": fleet.address})
    make_table(server.port, "birds")
    put(server.port, "birds", FLOCK)
    written = now_us()
    wait_for(lambda: all(spot_of(server.data, node, b"<song 0399>") for node in ("n1", "n2", "n3")), timeout=60)
    wait_for(lambda: proven(server, "birds", written), timeout=60)

    code, report = server.cli_json("scrub", "run", "--table", "birds")
    assert (code, report["verdict"], report["totals"]["rows"]) == (0, "match", len(FLOCK)), report
    assert sessions(fleet), "the references were rebuilt on the workers"

    spot = spot_of(server.data, "n2", b"<song 0123>")
    assert spot is not None
    flip(spot.file, spot.value[0] + spot.value[1].index(b"<song") + 7, 3)
    code, report = server.cli_json("scrub", "run", "--table", "birds")
    assert (code, report["verdict"], report["healed"]) == (2, "mismatch", True), report
    code, report = server.cli_json("verify", "--table", "birds", "--level", "replayed")
    assert (code, report["verdict"]) == (0, "match"), report

    fleet.workers[0].kill()
    code, report = server.cli_json("restore", "run", "--table", "birds", "--to", "again", "--latest")
    assert (code, report["verdict"], report["rows"]) == (0, "match", len(FLOCK)), report
    assert scan(server.port, "again") == scan(server.port, "birds")

    fleet.workers[1].kill()
    code, report = server.cli_json("scrub", "run", "--table", "birds", timeout=240)
    assert (code, report["verdict"]) == (3, "unverified"), report
    fleet.add()
    code, report = server.cli_json("scrub", "run", "--table", "birds")
    assert (code, report["verdict"]) == (0, "match"), report
    assert server.stop() == 0
