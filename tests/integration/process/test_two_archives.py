"""Two archives with real processes: one is killed and a server runs on without it, over a restart too; one loses an object, one rots; the archive
moves from one to the other; one is lost for good and a new one takes its place; either alone is enough."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from scrubjay.client import AdminClient
from tests.fixtures.false_s3 import false_s3, refusal
from tests.fixtures.process import ScrubjayServer, scrubjay_command
from tests.fixtures.s3 import S3Bucket
from tests.fixtures.wait import wait_for
from tests.integration.process.load import Item, by_key, make_table, put, rfc3339, scan
from tests.integration.process.stores import MortalStore

pytestmark = [pytest.mark.slow, pytest.mark.s3, pytest.mark.timeout(600)]

QUICK = {
    "archive.seal_age": "1s",
    "archive.closed_interval": "1s",
    "archive.timeout": "15s",  # who is killed, refuses or is deleted says so at once; who is only slow on a loaded machine is not away
    "second.decides_after": "2s",
    "storage.checkpoint_age": "200ms",
}
TABLE = "birds"
Make = Callable[..., ScrubjayServer]


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[tuple[MortalStore, MortalStore]]:
    """Of two makes: what one of them does another way shows."""
    with ExitStack() as stack:
        made = []
        for kind in ("minio", "seaweed"):
            made.append(MortalStore(kind, tmp_path / kind))
            stack.callback(made[-1].close)
        yield made[0], made[1]


def as_second(bucket: S3Bucket) -> dict[str, str]:
    """Its settings."""
    env = bucket.env
    return {
        "second.url": bucket.url,
        "second.endpoint_url": env["AWS_ENDPOINT_URL_S3"],
        "second.access_key_id": env["AWS_ACCESS_KEY_ID"],
        "second.secret_access_key": env["AWS_SECRET_ACCESS_KEY"],
        "second.region": env["AWS_REGION"],
    }


def birds(first: int, end: int) -> list[Item]:
    return [{"k": {"S": f"bird-{number}"}, "n": {"N": str(number)}} for number in range(first, end)]


def start(server: ScrubjayServer) -> None:
    """Again, as an operator would, where a loaded machine keeps two stores from answering within the ten seconds that a start gives them."""
    wait_for(lambda: server.start(timeout=150), timeout=60, ignoring=(RuntimeError,))


def status(server: ScrubjayServer) -> dict[str, Any]:
    return AdminClient(server.url).get("status")


def halves(server: ScrubjayServer) -> tuple[int, list[dict[str, Any]], list[str]]:
    report = status(server)
    return report["exit"], report["archive"]["archives"], [problem["kind"] for problem in report["problems"]]


def caught_up(server: ScrubjayServer) -> bool:
    code, (first, second), _ = halves(server)
    return (
        code == 0 and first["decides"] and not second["decides"] and all(one["compared"] and not one["lacking"] for one in (first, second))
    )


def proven(server: ScrubjayServer, at_us: int) -> bool:
    """The archive proves the table as of that moment."""
    return (status(server)["tables"][0]["latest"] or "") >= rfc3339(at_us)


def alone(url: str, env: Mapping[str, str]) -> int:
    """Verify of one of the two, without a server and without the other."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SCRUBJAY_"))}
    command = scrubjay_command("verify", "--archive", url, "--level", "replayed", "--json")
    return subprocess.run(command, env=plain | dict(env), capture_output=True, timeout=120, check=False).returncode


def each_alone(*places: tuple[str, Mapping[str, str]]) -> list[int]:
    with ThreadPoolExecutor() as pool:
        return [one.result() for one in [pool.submit(alone, *place) for place in places]]


def test_the_first_one_is_killed_and_comes_back(scrubjay_server: Make, stores: tuple[MortalStore, MortalStore]) -> None:
    store, second = stores
    server = scrubjay_server(archive=store.bucket.url, env=store.bucket.env, settings=QUICK | as_second(second.bucket), start=False)
    start(server)
    make_table(server.port, TABLE)
    put(server.port, TABLE, birds(0, 100))
    wait_for(lambda: caught_up(server), timeout=120)

    store.kill()
    last = put(server.port, TABLE, birds(100, 200))
    wait_for(lambda: proven(server, last), timeout=120)  # archived without the first one
    wait_for(lambda: halves(server)[2] == ["one-archive-away"], timeout=120)
    code, (first, other), _ = halves(server)
    assert (code, first["reachable"], first["decides"], other["decides"]) == (3, False, False, True)
    assert server.cli_json("restore", "run", "--table", TABLE, "--to", "again", "--at", rfc3339(last))[0] == 0
    assert scan(server.port, "again") == scan(server.port, TABLE)

    server.kill()  # and the next process begins without it
    start(server)
    last = put(server.port, TABLE, birds(200, 300))
    wait_for(lambda: proven(server, last), timeout=120)

    store.back()
    wait_for(lambda: caught_up(server), timeout=120)
    last = put(server.port, TABLE, birds(300, 400))
    wait_for(lambda: proven(server, last), timeout=120)  # it is claimed again
    assert server.stop() == 0
    assert each_alone(*((one.bucket.url, one.bucket.env) for one in stores)) == [0, 0]


def test_the_first_one_answers_503_to_everything_and_the_archive_moves_to_another_server(
    scrubjay_server: Make, minio_bucket: S3Bucket, seaweed_bucket: S3Bucket
) -> None:
    """Behind a load balancer whose upstream is gone. Then it is back, has all, and what decides moves from one make of server to the other."""
    with false_s3(minio_bucket.server.url) as front:
        env = minio_bucket.env | {"AWS_ENDPOINT_URL_S3": front.url}
        settings = QUICK | as_second(seaweed_bucket)
        server = scrubjay_server(archive=minio_bucket.url, env=env, settings=settings, start=False)
        start(server)
        make_table(server.port, TABLE)
        put(server.port, TABLE, birds(0, 100))
        wait_for(lambda: caught_up(server), timeout=240)

        front.before = lambda asked: refusal(503, "ServiceUnavailable")
        last = put(server.port, TABLE, birds(100, 200))
        wait_for(lambda: proven(server, last), timeout=240)  # agents go on with the second one
        wait_for(lambda: halves(server)[2] == ["one-archive-away"], timeout=240)
        code, (first, other), _ = halves(server)
        assert (code, first["reachable"], first["decides"], other["decides"]) == (3, False, False, True)
        assert "ServiceUnavailable" in first["last_error"], first
        meanwhile = set(seaweed_bucket.keys())
        assert meanwhile - set(minio_bucket.keys()), "nothing passes the front"
        assert server.cli_json("scrub", "run")[0] == 0

        front.before = lambda asked: None
        wait_for(lambda: caught_up(server), timeout=240)
        assert meanwhile <= set(minio_bucket.keys())

        code, report = server.cli_json("archive", "move", "--confirm")
        assert (code, report["decides"], report["differences"]) == (0, seaweed_bucket.url, []), report
        last = put(server.port, TABLE, birds(200, 300))
        wait_for(lambda: proven(server, last), timeout=240)
        assert server.stop() == 0
    assert each_alone((minio_bucket.url, minio_bucket.env), (seaweed_bucket.url, seaweed_bucket.env)) == [0, 0]


def test_one_loses_an_object_and_the_other_rots_and_the_archive_moves(scrubjay_server: Make, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    server = scrubjay_server(settings={**QUICK, "archive.url": first.as_uri(), "second.url": second.as_uri()})
    make_table(server.port, TABLE)
    last = put(server.port, TABLE, birds(0, 100))
    wait_for(lambda: caught_up(server) and proven(server, last), timeout=120)

    lost, rotten = sorted(path.relative_to(first) for path in first.rglob("*.seg"))[:2]
    (first / lost).unlink()
    spoilt = second / rotten
    good = spoilt.read_bytes()
    spoilt.write_bytes(good[:200] + bytes([good[200] ^ 1]) + good[201:])
    assert server.cli_json("verify", "--level", "replayed")[0] == 0, "each is sound in the other one"
    wait_for(lambda: (first / lost).exists(), timeout=30)  # without waiting for a comparison

    code, report = server.cli_json("schedule", "run", "compare")
    assert (code, report["last"]["verdict"]) == (2, "mismatch"), report
    assert spoilt.read_bytes() == good
    assert [path.suffix for path in (server.data / "quarantine" / "archives").iterdir()] == [".seg"]

    # Both are well again, and a person hears of it: now, of the next scrub, and in its history.
    keys = {str(lost): "hole", str(rotten): "unreadable"}
    assert "finding" in [one["kind"] for one in server.asked("status")[1]["problems"]]
    code, report = server.cli_json("scrub", "run")
    told = [one for table in report["tables"] for part in table["partitions"] for one in part["findings"]]
    assert (code, report["verdict"], report["healed"]) == (2, "mismatch", True), report
    assert {one["object"]: one["kind"] for one in told} == keys
    assert {(one["copy"], one["found_by"], one["action"]) for one in told} == {("archive", "agent", "healed")}
    assert server.cli_json("scrub", "run")[0] == 0
    runs = server.asked("scrub/history")[1]["runs"]
    assert [{one["object"] for one in run["findings"]} for run in runs] == [set(), set(keys)]

    # And the archive moves to the second one. The old place changes places with it, and nothing is copied anew.
    code, report = server.cli_json("archive", "move", "--confirm")
    assert (code, report["decides"], report["differences"]) == (0, second.as_uri(), []), report
    last = put(server.port, TABLE, birds(100, 200))
    assert server.stop() == 0
    server.set("archive.url", second.as_uri())
    server.set("second.url", first.as_uri())
    server.start()
    wait_for(lambda: proven(server, last) and caught_up(server), timeout=120)
    assert [one["url"] for one in halves(server)[1]] == [second.as_uri(), first.as_uri()]
    assert len(scan(server.port, TABLE)) == 200
    assert server.stop() == 0
    assert each_alone((first.as_uri(), {}), (second.as_uri(), {})) == [0, 0]


def test_one_is_lost_for_good_and_a_new_one_is_filled(scrubjay_server: Make, tmp_path: Path) -> None:
    """Its folder is deleted under the running server. Nothing is missed but a flag; a new and empty second one has all of it, proven, after one start."""
    lost, left, new = tmp_path / "lost", tmp_path / "left", tmp_path / "new"
    server = scrubjay_server(settings={**QUICK, "archive.url": lost.as_uri(), "second.url": left.as_uri()})
    make_table(server.port, TABLE)
    last = put(server.port, TABLE, birds(0, 100))
    wait_for(lambda: caught_up(server) and proven(server, last), timeout=120)

    lost.rename(tmp_path / "gone")  # at once, whatever is being put into it
    shutil.rmtree(tmp_path / "gone")
    last = put(server.port, TABLE, birds(100, 200))
    wait_for(lambda: proven(server, last), timeout=120)
    wait_for(lambda: halves(server)[2] == ["one-archive-away"], timeout=120)
    assert server.cli_json("scrub", "run")[0] == 0
    code, report = server.cli_json("restore", "run", "--table", TABLE, "--to", "again", "--at", rfc3339(last))
    assert (code, report["verdict"]) == (0, "match"), report
    assert by_key(scan(server.port, "again")) == by_key(scan(server.port, TABLE)) == by_key(birds(0, 200))
    assert halves(server)[2] == ["one-archive-away"]
    assert not lost.exists(), "nobody makes a folder that is gone: it may be a disk that is not mounted"

    assert server.stop() == 0
    server.set("archive.url", left.as_uri())
    server.set("second.url", new.as_uri())
    start(server)
    wait_for(lambda: caught_up(server), timeout=120)
    code, report = server.cli_json("schedule", "run", "compare")
    assert (code, report["last"]["verdict"]) == (0, "match"), report
    assert server.stop() == 0
    assert each_alone((left.as_uri(), {}), (new.as_uri(), {})) == [0, 0]
