"""Two archives with real processes: one is killed and a server runs on without it, over a restart too; one loses an object, one rots; the archive
moves from one to the other; either alone is enough."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from scrubjay.client import AdminClient
from tests.fixtures.process import ScrubjayServer
from tests.fixtures.wait import wait_for
from tests.integration.process.load import Item, make_table, put, rfc3339, scan
from tests.integration.process.stores import MortalStore

pytestmark = [pytest.mark.slow, pytest.mark.s3, pytest.mark.timeout(300)]

QUICK = {
    "archive.seal_age": "1s",
    "archive.closed_interval": "1s",
    "archive.timeout": "2s",
    "second.decides_after": "2s",
    "storage.checkpoint_age": "200ms",
}
TABLE = "birds"
Make = Callable[..., ScrubjayServer]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MortalStore]:
    made = MortalStore("minio", tmp_path / "store")
    yield made
    made.close()


def birds(first: int, end: int) -> list[Item]:
    return [{"k": {"S": f"bird-{number}"}, "n": {"N": str(number)}} for number in range(first, end)]


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


def alone(server: ScrubjayServer, url: str) -> int:
    """Verify of one of the two, without a server and without the other."""
    return server.cli("verify", "--archive", url, "--level", "replayed", "--json").returncode


def each_alone(server: ScrubjayServer, *urls: str) -> list[int]:
    with ThreadPoolExecutor() as pool:
        return list(pool.map(partial(alone, server), urls))


def test_the_first_one_is_killed_and_comes_back(scrubjay_server: Make, store: MortalStore, tmp_path: Path) -> None:
    second = (tmp_path / "second").as_uri()
    server = scrubjay_server(archive=store.bucket.url, env=store.bucket.env, settings={**QUICK, "second.url": second})
    make_table(server.port, TABLE)
    put(server.port, TABLE, birds(0, 100))
    wait_for(lambda: caught_up(server), timeout=60)

    store.kill()
    last = put(server.port, TABLE, birds(100, 200))
    wait_for(lambda: proven(server, last), timeout=60)  # archived without the first one
    wait_for(lambda: halves(server)[2] == ["one-archive-away"], timeout=60)
    code, (first, other), _ = halves(server)
    assert (code, first["reachable"], first["decides"], other["decides"]) == (3, False, False, True)
    assert server.cli_json("restore", "run", "--table", TABLE, "--to", "again", "--at", rfc3339(last))[0] == 0
    assert scan(server.port, "again") == scan(server.port, TABLE)

    server.kill()  # and the next process begins without it
    server.start()
    last = put(server.port, TABLE, birds(200, 300))
    wait_for(lambda: proven(server, last), timeout=60)

    store.back()
    wait_for(lambda: caught_up(server), timeout=60)
    assert server.stop() == 0
    assert each_alone(server, store.bucket.url, second) == [0, 0]


def test_one_loses_an_object_and_the_other_rots_and_the_archive_moves(scrubjay_server: Make, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    server = scrubjay_server(settings={**QUICK, "archive.url": first.as_uri(), "second.url": second.as_uri()})
    make_table(server.port, TABLE)
    last = put(server.port, TABLE, birds(0, 100))
    wait_for(lambda: caught_up(server) and proven(server, last), timeout=60)

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

    # And the archive moves to the second one. The old place changes places with it, and nothing is copied anew.
    code, report = server.cli_json("archive", "move", "--confirm")
    assert (code, report["decides"], report["differences"]) == (0, second.as_uri(), []), report
    last = put(server.port, TABLE, birds(100, 200))
    assert server.stop() == 0
    server.set("archive.url", second.as_uri())
    server.set("second.url", first.as_uri())
    server.start()
    wait_for(lambda: proven(server, last) and caught_up(server), timeout=60)
    assert [one["url"] for one in halves(server)[1]] == [second.as_uri(), first.as_uri()]
    assert len(scan(server.port, TABLE)) == 200
    assert server.stop() == 0
    assert each_alone(server, first.as_uri(), second.as_uri()) == [0, 0]
