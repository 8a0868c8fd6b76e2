"""Ordinary lacks of the machine at a start, on a real server: killed workers, no memory, few descriptors, an odd folder. Each is said by name; none is rot, none is kept."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.process import ScrubjayServer
from tests.fixtures.wait import wait_for
from tests.integration.process.load import make_table

Make = Callable[..., ScrubjayServer]
FAST = {"archive.seal_age": "1s", "archive.seal_age_max": "1s", "archive.closed_interval": "1s"}


def put(client: Any, table: str, key: str) -> None:
    client.put_item(TableName=table, Item={"k": {"S": key}, "v": {"N": "1"}})


def holds(client: Any, table: str, key: str) -> bool:
    return "Item" in client.get_item(TableName=table, Key={"k": {"S": key}}, ConsistentRead=True)


def untouched(server: ScrubjayServer) -> None:
    """Nothing was called rot: no finding, nothing set aside, and a scrub of everything matches."""
    log = server.log.read_text()
    assert '"event":"finding"' not in log, log[-3000:]
    assert not list(server.data.glob("nodes/*/quarantine/*"))
    code, report = server.cli_json("scrub", "run")
    assert (code, report["verdict"]) == (0, "match"), report


def workers_of(pid: int) -> list[int]:
    """The storage workers of a server."""
    out = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False).stdout.split()
    return [int(child) for child in out if b"scrubjay.storage.btree.worker" in _command_line(child)]


def _command_line(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""  # it has ended


@pytest.mark.timeout(400)
def test_tree_workers_killed_while_a_start_opens_the_trees(scrubjay_server: Make) -> None:
    server = scrubjay_server(settings=FAST | {"tables.initial_partitions": "4"})
    make_table(server.port, "birds")
    client = server.client()
    for number in range(20):
        put(client, "birds", f"k{number}")
    assert server.stop() == 0
    killed: list[int] = []
    over = threading.Event()

    def strike() -> None:
        """Until eight of them are dead: more than any one open is repeated."""
        while not over.is_set() and len(killed) < 8:
            process = server.process
            for pid in workers_of(process.pid) if process is not None and process.poll() is None else ():
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
                killed.append(pid)
            over.wait(0.01)

    killer = threading.Thread(target=strike)
    killer.start()
    try:
        server.start()
    finally:
        over.set()
        killer.join()
    assert len(killed) >= 4, "the killer met nobody"
    assert all(holds(server.client(), "birds", f"k{number}") for number in range(20))
    untouched(server)


@pytest.mark.timeout(400)
def test_too_little_address_space_fails_the_start_by_name_and_the_next_start_is_whole(scrubjay_server: Make) -> None:
    server = scrubjay_server(settings=FAST)
    make_table(server.port, "birds")
    put(server.client(), "birds", "k")
    assert server.stop() == 0
    server.limits = {resource.RLIMIT_AS: (560_000 << 10, 560_000 << 10)}
    with pytest.raises(RuntimeError, match="process ended with 1"):
        server.start()
    assert "no more memory" in server.log.read_text()
    server.limits = {}
    server.log.unlink()
    server.start()
    assert holds(server.client(), "birds", "k")
    untouched(server)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_more_tables_than_a_hard_limit_of_descriptors_could_hold_open(scrubjay_server: Make) -> None:
    """256 descriptors, 45 tables on three nodes: each would have taken six."""
    bounds = (256, 256)
    server = scrubjay_server(settings=FAST, limits={resource.RLIMIT_NOFILE: bounds})
    client = server.client()
    for number in range(45):
        make_table(server.port, f"t{number:02d}")
        put(client, f"t{number:02d}", "k")
    assert all(holds(client, f"t{number:02d}", "k") for number in range(45))
    assert server.process is not None
    assert len(list(Path(f"/proc/{server.process.pid}/fd").iterdir())) < 200
    server.kill()
    server.start()
    client = server.client()
    assert all(holds(client, f"t{number:02d}", "k") for number in range(45))
    untouched(server)
    assert "Too many open files" not in server.log.read_text()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_one_table_of_more_partitions_than_the_soft_limit_of_descriptors(scrubjay_server: Make) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    server = scrubjay_server(settings=FAST | {"tables.initial_partitions": "110"}, limits={resource.RLIMIT_NOFILE: (1024, hard)})
    make_table(server.port, "wide")
    client = server.client()
    for number in range(50):
        put(client, "wide", f"k{number}")
    server.kill()
    server.limits = {resource.RLIMIT_NOFILE: (512, 512)}
    server.start()
    client = server.client()
    wait_for(lambda: all(holds(client, "wide", f"k{number}") for number in range(50)), timeout=60)
    untouched(server)


def test_too_few_descriptors_are_refused_by_name(scrubjay_server: Make) -> None:
    server = scrubjay_server(start=False, limits={resource.RLIMIT_NOFILE: (100, 100)})
    with pytest.raises(RuntimeError, match="process ended with 1"):
        server.start()
    assert "too few file descriptors" in server.log.read_text()
    assert not (server.data / "nodes").exists()


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_too_few_processes_are_said_by_name_and_the_next_start_is_whole(scrubjay_server: Make, tmp_path: Path) -> None:
    """As under `ulimit -u`, which binds no root: from its third thread or process on a start gets none."""
    server = scrubjay_server(settings=FAST)
    make_table(server.port, "birds")
    put(server.client(), "birds", "k")
    server.kill()
    calls = "clone,clone3,?vfork,?fork"
    strace = [
        "strace",
        "-f",
        "-qq",
        "-o",
        str(tmp_path / "strace.out"),
        "-e",
        f"trace={calls}",
        "-e",
        f"inject={calls}:error=EAGAIN:when=3+",
    ]
    done = subprocess.run([*strace, *server.command()], capture_output=True, text=True, timeout=90, check=False)
    if "PTRACE" in done.stderr:
        pytest.skip(f"strace cannot trace: {done.stderr[:200]}")
    assert done.returncode == 1, done.stderr
    assert "starts no more threads (ulimit -u" in done.stderr
    assert "bug" not in done.stderr
    server.start()
    assert holds(server.client(), "birds", "k")
    untouched(server)


@pytest.mark.timeout(400)
def test_a_start_in_a_folder_that_holds_packages_named_like_ours(scrubjay_server: Make, tmp_path: Path) -> None:
    odd = tmp_path / "odd"
    for name in ("base", "storage", "archiver", "scrubber", "pitr", "lmdb", "msgspec", "runpy"):
        (odd / name).mkdir(parents=True)
        (odd / name / "__init__.py").write_text(f"open({str(odd / 'imported')!r}, 'a').write('{name} ')\nraise SystemExit(9)\n")
    server = scrubjay_server(settings=FAST, cwd=odd)
    make_table(server.port, "birds")
    put(server.client(), "birds", "k")
    server.kill()
    server.start()
    assert holds(server.client(), "birds", "k")
    untouched(server)
    assert not (odd / "imported").exists()
