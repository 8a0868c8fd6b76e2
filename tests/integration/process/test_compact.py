"""A real server on a real S3, killed while it packs: the next life packs on, and every record is where it was."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from scrubjay.archiver.format.layout import SegmentKey, parse
from tests.fixtures.faketime import FakeClock
from tests.fixtures.process import ScrubjayServer, scrubjay_command
from tests.fixtures.wait import wait_for
from tests.integration.process.load import Item, by_key, make_table, put, rfc3339, scan
from tests.integration.process.stores import MortalStore

Make = Callable[..., ScrubjayServer]
SMALL = {"archive.segment_bytes": "64KiB"}
WRITES = 28
"""Of 40 KB: a segment for every other."""


def log_of(store: MortalStore) -> set[str]:
    """Objects of the logs of tables, by their keys below the archive."""
    names = [name.removeprefix("archive/") for name in store.bucket.keys()]
    return {name for name in names if isinstance(parse(name), SegmentKey)}


@pytest.mark.s3
@pytest.mark.timeout(240)
def test_killed_while_it_packs(scrubjay_server: Make, tmp_path: Path) -> None:
    clock, before = FakeClock(tmp_path, "-2d"), tmp_path / "before"
    server = scrubjay_server(settings=SMALL, env=clock.env, archive=before.as_uri())
    make_table(server.port, "birds")
    items: list[Item] = [{"k": {"S": str(number % 5)}, "v": {"S": f"{number:040000d}"}} for number in range(WRITES)]
    then_us = put(server.port, "birds", items[: WRITES // 2])
    put(server.port, "birds", items[WRITES // 2 :])
    assert server.cli("schedule", "pause").returncode == 0  # nothing packs by itself
    assert server.stop() == 0
    store = MortalStore("minio", tmp_path / "minio")  # its clock is the machine's, so that it takes no request of two days ago
    try:
        for path in sorted(before.rglob("*")):
            if path.is_file():
                store.server.client().fput_object(store.bucket.name, f"archive/{path.relative_to(before).as_posix()}", str(path))
        clock.set("+0")
        packed = scrubjay_server(settings=SMALL, env={**clock.env, **store.bucket.env}, archive=store.bucket.url)
        wait_for(lambda: packed.cli_json("archive", "status", "--table", "birds")[0] == 0, timeout=60)
        log = log_of(store)
        code, plan = packed.cli_json("archive", "compact", "birds", "--plan")
        assert (code, plan["totals"]["segments"] >= WRITES // 2 - 3) == (0, True), plan
        command = [*scrubjay_command("archive", "compact", "birds"), "--endpoint", packed.url]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as packing:
            wait_for(lambda: log_of(store) != log, timeout=60)
            packed.kill()
            packing.kill()
        packed.start()
        wait_for(lambda: packed.cli_json("archive", "status", "--table", "birds")[0] == 0, timeout=60)
        code, done = packed.cli_json("archive", "compact", "birds")
        assert code == 0, done
        code, left = packed.cli_json("archive", "compact", "birds", "--plan")
        assert (code, left["totals"]["objects_saved"], left["totals"]["unnamed"]) == (0, 0, 0)
        assert len(log_of(store)) <= len(log) - 2 * (plan["totals"]["segments"] - plan["totals"]["packs"]) + 4
        code, report = packed.cli_json("verify")
        assert (code, report["verdict"]) == (0, "match"), report
        code, report = packed.cli_json("restore", "run", "--table", "birds", "--to", "again", "--at", rfc3339(then_us))
        assert (code, report["verdict"]) == (0, "match"), report
        assert by_key(scan(packed.port, "again")) == by_key(items[WRITES // 2 - 5 : WRITES // 2])
        assert "Traceback" not in packed.log.read_text()
    finally:
        store.close()
