"""`FleetJobs` on a real Dask scheduler with two workers: jobs travel, files stay where they were made, and a worker that is killed loses nothing."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from scrubjay.base.errors import Internal, Missing, Unavailable
from scrubjay.base.real import fleet_wire
from scrubjay.base.real.fleet_jobs import FleetJobs
from scrubjay.base.real.jobs import WorkerJobs
from scrubjay.base.real.localfs import LocalStore
from scrubjay.base.real.loop import AsyncTasks, run
from tests.fixtures.fleet import Fleet
from tests.unit.real.test_jobs import wait_gone

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

SAMPLES = "tests.unit.real.job_samples"
CLUSTER = "6d1b6c0e-0000-4000-8000-000000000001"
TRAVELS = tuple(f"{SAMPLES}:{name}" for name in ("echo", "fails", "breaks", "makes", "makes_its_own", "hangs", "spins", "waits", "dies"))
ROWS = "tmp/some/rows"

Body = Callable[[FleetJobs, str], Awaitable[Any]]


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    fleet = Fleet(tmp_path_factory.mktemp("fleet"))
    for _ in range(2):
        fleet.add()
    yield fleet
    fleet.close()


@pytest.fixture
def fleet(dask: Fleet) -> Fleet:
    """With two workers, whatever the test before did to them."""
    dask.workers = [one for one in dask.workers if one.poll() is None]
    while len(dask.workers) < 2:
        dask.add()
    return dask


def on(address: str, folder: Path, body: Body, *, wait_s: float = 30.0) -> Any:
    """Run `body(jobs, url)` with a fleet's jobs, over an archive that holds CLUSTER."""

    async def main(tasks: AsyncTasks) -> Any:
        store = LocalStore(folder / "archive")
        await store.put(f"{CLUSTER}/identity", b"ours")
        data = folder / "data"
        data.mkdir(exist_ok=True)
        jobs = FleetJobs(WorkerJobs(data, workers=1), data, address=address, travels=TRAVELS, url=store.url, cluster=CLUSTER, wait_s=wait_s)
        try:
            return await body(jobs, store.url)
        finally:
            await jobs.close()

    return run(main)


def left_on(fleet: Fleet) -> set[Path]:
    """Files of sessions on the workers; those of workers that were killed stay."""
    return {path for path in fleet.folder.glob("scratch*/dask-scratch-space/*/scrubjay/*/*/tmp/some/*") if path.is_file()}


def workers_of(fleet: Fleet) -> dict[int, Any]:
    return {process.pid: process for process in fleet.workers}


def test_a_job_travels_with_its_errors_and_others_stay(fleet: Fleet, tmp_path: Path) -> None:
    async def body(jobs: FleetJobs, url: str) -> None:
        assert (await jobs.run(f"{SAMPLES}:echo", {"url": url, "raw": b"\x00\xff"}))["raw"] == b"\x00\xff"
        with pytest.raises(Missing) as missing:
            await jobs.run(f"{SAMPLES}:fails", {"url": url})
        assert (missing.value.fields["lsn"], missing.value.message) == (17, "segment not there")
        with pytest.raises(Internal, match="oops"):
            await jobs.run(f"{SAMPLES}:breaks", {"url": url})
        assert not (tmp_path / "data" / "from").exists()
        await jobs.run(f"{SAMPLES}:writes", {"url": url})
        assert (tmp_path / "data" / "from/job").read_bytes() == b"bytes", "not one that travels"
        await jobs.run(f"{SAMPLES}:makes", {"url": "file:///elsewhere", "output": ROWS, "size": 256})
        assert (tmp_path / "data" / ROWS).exists(), "another archive than the cluster's is read here"
        assert jobs.trouble is None

    on(fleet.address, tmp_path, body)


def test_a_file_stays_where_it_was_made_until_it_is_brought(fleet: Fleet, tmp_path: Path) -> None:
    size = (9 << 20) + 256
    before = left_on(fleet)

    async def body(jobs: FleetJobs, url: str) -> None:
        await jobs.run(f"{SAMPLES}:makes", {"url": url, "output": ROWS, "size": size})
        here = tmp_path / "data" / ROWS
        assert not here.exists()
        for _ in range(3):
            found = await jobs.run(f"{SAMPLES}:measures", {"rows": ROWS})
            assert (found["size"], found["pid"] in workers_of(fleet)) == (size, True)
        await jobs.bring(ROWS)
        assert here.read_bytes() == bytes(range(256)) * (size // 256)
        assert [path.name for path in here.parent.iterdir()] == [here.name]
        jobs.drop(ROWS)
        found = await jobs.run(f"{SAMPLES}:measures", {"rows": ROWS})
        assert (found["size"], found["pid"]) == (size, os.getpid()), "what was brought is the caller's, and is read here"
        await jobs.bring("tmp/never/made")
        await jobs.run(f"{SAMPLES}:makes", {"url": url, "output": ROWS + "2", "size": 512})
        found = await jobs.run(f"{SAMPLES}:measures", {"url": "file:///a/folder/here", "rows": ROWS + "2"})
        assert found == {"size": 512, "pid": os.getpid()}, "what is put into a folder of this machine is put there from here"

    on(fleet.address, tmp_path, body)
    assert left_on(fleet) <= before, "nothing of this session is left on the workers"


def test_a_worker_killed_with_its_files_loses_nothing(fleet: Fleet, tmp_path: Path) -> None:
    async def body(jobs: FleetJobs, url: str) -> None:
        await jobs.run(f"{SAMPLES}:makes", {"url": url, "output": ROWS, "size": 4096})
        first = (await jobs.run(f"{SAMPLES}:measures", {"rows": ROWS}))["pid"]
        workers_of(fleet)[first].kill()
        some = await asyncio.gather(*(jobs.run(f"{SAMPLES}:measures", {"rows": ROWS}) for _ in range(3)), jobs.bring(ROWS))
        assert {one["size"] for one in some[:3]} == {4096}
        assert {one["pid"] for one in some[:3]} == {pid for pid, process in workers_of(fleet).items() if pid != first}
        assert (tmp_path / "data" / ROWS).stat().st_size == 4096

    on(fleet.address, tmp_path, body)


def test_a_file_made_again_must_be_the_one_that_was_lost(fleet: Fleet, tmp_path: Path) -> None:
    async def body(jobs: FleetJobs, url: str) -> None:
        made = (await jobs.run(f"{SAMPLES}:makes_its_own", {"url": url, "output": ROWS}))["made"]
        workers_of(fleet)[made].kill()
        with pytest.raises(Unavailable, match="another than before"):
            await jobs.bring(ROWS)
        assert not (tmp_path / "data" / ROWS).exists()

    on(fleet.address, tmp_path, body)


def test_a_worker_killed_in_a_job_has_it_done_by_another(fleet: Fleet, tmp_path: Path) -> None:
    until = tmp_path / "go"

    async def body(jobs: FleetJobs, url: str) -> None:
        began: list[int] = []

        def progress(facts: dict[str, Any]) -> None:
            began.append(facts["parent"])
            if len(began) == 1:
                os.kill(began[0], signal.SIGKILL)
            else:
                until.touch()

        done = await jobs.run(f"{SAMPLES}:waits", {"url": url, "until": str(until)}, progress=progress)
        assert len(set(began)) == 2
        assert done["parent"] == began[-1]

    on(fleet.address, tmp_path, body)


def test_whoever_gives_up_has_the_job_ended(fleet: Fleet, tmp_path: Path) -> None:
    async def body(jobs: FleetJobs, url: str) -> None:
        for job in ("hangs", "spins"):
            said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
            task = asyncio.ensure_future(jobs.run(f"{SAMPLES}:{job}", {"url": url}, progress=said.put_nowait))
            pid = (await said.get())["pid"]
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(wait_gone, pid)
        assert (await jobs.run(f"{SAMPLES}:echo", {"url": url, "n": 1}))["n"] == 1, "both slots are free again"

    on(fleet.address, tmp_path, body)


def test_a_child_that_dies_is_unavailable(fleet: Fleet, tmp_path: Path) -> None:
    async def body(jobs: FleetJobs, url: str) -> None:
        with pytest.raises(Unavailable, match="the worker process died"):
            await jobs.run(f"{SAMPLES}:dies", {"url": url})

    on(fleet.address, tmp_path, body)


def test_a_worker_that_sees_another_archive_calls_nothing_lost(fleet: Fleet, tmp_path: Path) -> None:
    async def body(jobs: FleetJobs, url: str) -> None:
        await LocalStore(tmp_path / "archive").delete(f"{CLUSTER}/identity")
        with pytest.raises(Unavailable, match="sees another archive"):
            await jobs.run(f"{SAMPLES}:fails", {"url": url})

    on(fleet.address, tmp_path, body)


def test_what_was_seen_a_moment_ago_goes_with_a_task_and_a_fleet_that_is_back_is_not_called_away(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scrubjay.base.real.fleet_jobs.WATCH_S", 0.05)

    async def young() -> str:
        return f"{CLUSTER}/closed/n1/7.json"

    async def body(jobs: FleetJobs, url: str) -> None:
        jobs.witness = young
        with pytest.raises(Unavailable, match="sees an older copy"):
            await jobs.run(f"{SAMPLES}:echo", {"url": url})
        jobs._away("no worker of the fleet is there")
        async with asyncio.timeout(30):
            while jobs.trouble is not None:
                await asyncio.sleep(0.02)

    on(fleet.address, tmp_path, body)


def test_how_long_no_worker_was_there_is_known_only_while_somebody_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("scrubjay.base.real.fleet_jobs.time.monotonic", lambda: now)

    async def main(tasks: AsyncTasks) -> None:
        nonlocal now
        jobs = FleetJobs(
            WorkerJobs(tmp_path, workers=1), tmp_path, address="tcp://nowhere:1", travels=(), url="u", cluster="c", wait_s=30.0
        )
        looks = []
        for after, present in ((0, []), (20, []), (20, []), (3600, []), (1, ["w"]), (1, []), (5, [])):
            now += after
            looks.append(jobs._alone_for_s(present))
        assert looks == [0, 20, 40, 0, 0, 0, 5]
        await jobs.close()

    run(main)


def test_a_worker_of_another_version_is_refused_by_name(fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scrubjay.base.real.fleet_jobs.version", lambda: "0.0.1")

    async def body(jobs: FleetJobs, url: str) -> None:
        with pytest.raises(Unavailable, match="another version") as refused:
            await jobs.run(f"{SAMPLES}:echo", {"url": url})
        assert (refused.value.fields["expected"], refused.value.fields["found"]) == ("0.0.1", fleet_wire.version())

    on(fleet.address, tmp_path, body)


def test_a_fleet_that_is_away_is_said_and_comes_back(tmp_path: Path) -> None:
    empty = Fleet(tmp_path / "fleet")

    async def body(jobs: FleetJobs, url: str) -> None:
        with pytest.raises(Unavailable, match="no worker of the fleet"):
            async with asyncio.timeout(30):
                await jobs.run(f"{SAMPLES}:echo", {"url": url})
        assert "no worker of the fleet" in (jobs.trouble or "")
        await asyncio.to_thread(empty.add)
        assert (await jobs.run(f"{SAMPLES}:echo", {"url": url, "n": 1}))["n"] == 1
        assert jobs.trouble is None
        empty.scheduler.kill()
        with pytest.raises(Unavailable):
            await jobs.run(f"{SAMPLES}:echo", {"url": url})
        assert jobs.trouble is not None

    try:
        on(empty.address, tmp_path, body, wait_s=2.0)
    finally:
        empty.close()
