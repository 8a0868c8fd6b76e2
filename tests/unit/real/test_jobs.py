"""`WorkerJobs`: real worker processes that answer, fail, die, are cancelled, and never outlive their parent."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from scrubjay.base import errors
from scrubjay.base.giving_way import NICE
from scrubjay.base.real import child, job_wire, jobs
from scrubjay.base.real.jobs import WorkerJobs
from scrubjay.base.real.loop import AsyncTasks, RealTask, run
from scrubjay.base.real.worker_process import WorkerProcess

SAMPLES = "tests.unit.real.job_samples"


def pooled(folder: Path, body: Callable[[WorkerJobs, AsyncTasks], Awaitable[Any]], *, workers: int = 1) -> Any:
    """Run `body` with a pool that is closed afterwards."""

    async def main(tasks: AsyncTasks) -> Any:
        pool = WorkerJobs(folder, workers=workers)
        try:
            return await body(pool, tasks)
        finally:
            await pool.close()

    return run(main)


async def begin(pool: WorkerJobs, tasks: AsyncTasks, job: str) -> tuple[RealTask[dict[str, Any]], int]:
    """Start a job that reports its process id; the task and the id. Fails if the job ends before."""
    started = tasks.future()

    async def watched() -> dict[str, Any]:
        try:
            return await pool.run(f"{SAMPLES}:{job}", {}, progress=started.set_result)
        except BaseException as error:
            if not started.done():
                started.set_exception(error)
            raise

    task = tasks.spawn(watched(), name=job)
    return task, (await started)["pid"]


def gone(pid: int) -> bool:
    """Whether the process has ended (a zombie counts: it runs no more)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def wait_gone(pid: int) -> bool:
    deadline = time.monotonic() + 5
    while not gone(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return gone(pid)


def test_one_worker_serves_many_jobs(tmp_path: Path) -> None:
    async def body(pool: WorkerJobs, tasks: AsyncTasks) -> list[dict[str, Any]]:
        return [await pool.run(f"{SAMPLES}:echo", {"n": n, "raw": b"\x00\xff", "text": "ü"}) for n in range(3)]

    answers = pooled(tmp_path, body)
    assert [answer["n"] for answer in answers] == [0, 1, 2]
    assert answers[0]["raw"] == b"\x00\xff"
    assert len({answer["pid"] for answer in answers}) == 1
    assert answers[0]["pid"] != os.getpid()


def test_jobs_run_side_by_side_up_to_the_bound(tmp_path: Path) -> None:
    async def body(pool: WorkerJobs, tasks: AsyncTasks) -> list[dict[str, Any]]:
        running = [tasks.spawn(pool.run(f"{SAMPLES}:echo", {"n": n}), name="job") for n in range(6)]
        return [await task for task in running]

    answers = pooled(tmp_path, body, workers=2)
    assert [answer["n"] for answer in answers] == list(range(6))
    assert 1 <= len({answer["pid"] for answer in answers}) <= 2


def test_a_large_frame_travels_whole(tmp_path: Path) -> None:
    data = os.urandom(20 << 20)

    async def body(pool: WorkerJobs, tasks: AsyncTasks) -> bool:
        return bool((await pool.run(f"{SAMPLES}:echo", {"data": data}))["data"] == data)

    assert pooled(tmp_path, body)


@pytest.mark.slow
def test_a_large_argument_travels_in_parts_between_which_others_are_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A segment on its way to the archive is 8 MiB, and every request waits for what is copied at once."""
    data = os.urandom((8 << 20) + 5)
    turns, sent, send = [0], [], WorkerProcess.send

    def noted(process: WorkerProcess, frame: bytes) -> None:
        sent.append((len(frame), turns[0]))
        send(process, frame)

    monkeypatch.setattr(WorkerProcess, "send", noted)

    async def body(pool: WorkerJobs, tasks: AsyncTasks) -> list[bool]:
        async def others() -> None:
            while True:
                turns[0] += 1
                await tasks.sleep(0)

        beside = tasks.spawn(others(), name="others")
        try:
            answers = [await pool.run(f"{SAMPLES}:echo", {"data": whole, "n": 7}) for whole in (data, b"short")]
        finally:
            beside.cancel()
        return [(answer["data"], answer["n"]) == (whole, 7) for answer, whole in zip(answers, (data, b"short"), strict=True)]

    assert pooled(tmp_path, body) == [True, True]
    assert max(size for size, _ in sent) < jobs.PART_BYTES + 100
    assert len({turn for _, turn in sent}) >= len(data) // jobs.PART_BYTES, "others had their turn between the parts"


def test_printing_does_not_disturb_the_frames(tmp_path: Path) -> None:
    async def body(pool: WorkerJobs, tasks: AsyncTasks) -> Any:
        return await pool.run(f"{SAMPLES}:shouts", {})

    assert pooled(tmp_path, body) == {"ok": True}


def test_progress_is_passed_on_and_limited(tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []

    async def body(pool: WorkerJobs, tasks: AsyncTasks) -> None:
        await pool.run(f"{SAMPLES}:reports", {}, progress=seen.append)

    pooled(tmp_path, body)
    assert seen[0] == {"done": 0}
    assert len(seen) < 100


def test_the_disk_is_rooted_at_the_data_folder(tmp_path: Path) -> None:
    async def body(pool: WorkerJobs, tasks: AsyncTasks) -> None:
        await pool.run(f"{SAMPLES}:writes", {})

    pooled(tmp_path, body)
    assert (tmp_path / "from" / "job").read_bytes() == b"bytes"


def test_a_job_reaches_an_object_store(tmp_path: Path) -> None:
    async def body(pool: WorkerJobs, tasks: AsyncTasks) -> Any:
        (tmp_path / "store").mkdir()  # a worker makes no archive
        return await pool.run(f"{SAMPLES}:keeps", {"url": (tmp_path / "store").as_uri()})

    assert pooled(tmp_path, body) == {"found": b"kept"}


def test_errors_keep_class_and_fields_and_the_worker(tmp_path: Path) -> None:
    async def body(pool: WorkerJobs, tasks: AsyncTasks) -> tuple[int, int]:
        before = (await pool.run(f"{SAMPLES}:echo", {}))["pid"]
        with pytest.raises(errors.Missing, match="segment not there") as missing:
            await pool.run(f"{SAMPLES}:fails", {})
        assert missing.value.fields == {"what": "segment", "lsn": 17}
        with pytest.raises(errors.Internal, match="KeyError") as broken:
            await pool.run(f"{SAMPLES}:breaks", {})
        assert "Traceback" in broken.value.fields["trace"]
        for job in (f"{SAMPLES}:nothing", "no.such.module:job", "nonsense"):
            with pytest.raises(errors.Invalid, match="no such job"):
                await pool.run(job, {})
        return before, (await pool.run(f"{SAMPLES}:echo", {}))["pid"]

    before, after = pooled(tmp_path, body)
    assert before == after


@pytest.mark.slow
def test_an_answer_too_large_to_travel_is_an_error_not_a_hang(tmp_path: Path) -> None:
    async def body(pool: WorkerJobs, tasks: AsyncTasks) -> None:
        with pytest.raises(errors.Invalid, match="too large"):
            await pool.run(f"{SAMPLES}:answers_nonsense", {"size": job_wire.FRAME_BYTES_MAX + 1})

    pooled(tmp_path, body)


def test_a_worker_that_dies_is_unavailable_and_replaced(tmp_path: Path) -> None:
    async def body(pool: WorkerJobs, tasks: AsyncTasks) -> bool:
        before = (await pool.run(f"{SAMPLES}:echo", {}))["pid"]
        with pytest.raises(errors.Unavailable, match="died") as died:
            await pool.run(f"{SAMPLES}:dies", {})
        assert died.value.fields["status"] == -9
        return bool((await pool.run(f"{SAMPLES}:echo", {}))["pid"] != before)

    assert pooled(tmp_path, body)


@pytest.mark.parametrize("job", ["hangs", "spins"])
def test_cancelling_a_caller_kills_its_worker_and_frees_the_slot(tmp_path: Path, job: str) -> None:
    async def body(pool: WorkerJobs, tasks: AsyncTasks) -> int:
        task, pid = await begin(pool, tasks, job)
        task.cancel()
        await pool.run(f"{SAMPLES}:echo", {})
        return pid

    assert gone(pooled(tmp_path, body))


@pytest.mark.parametrize("error", [errors.Unavailable("the drill was cut off"), KeyError("a bug")])
def test_a_worker_whose_caller_went_away_in_the_middle_is_not_used_again(tmp_path: Path, error: Exception) -> None:
    """A callback that raises a typed error is no answer of the job's: it is still at work."""
    pids: list[int] = []

    def told(facts: dict[str, Any]) -> None:
        pids.append(facts["pid"])
        raise error

    async def body(pool: WorkerJobs, tasks: AsyncTasks) -> int:
        with pytest.raises(type(error)):
            await pool.run(f"{SAMPLES}:hangs", {}, progress=told)
        return int((await asyncio.wait_for(pool.run(f"{SAMPLES}:echo", {}), 20))["pid"])

    assert pooled(tmp_path, body) not in pids
    assert gone(pids[0])


def test_a_cancelled_waiter_leaves_the_queue(tmp_path: Path) -> None:
    async def body(pool: WorkerJobs, tasks: AsyncTasks) -> None:
        first, _pid = await begin(pool, tasks, "hangs")
        second = tasks.spawn(pool.run(f"{SAMPLES}:echo", {}), name="job")
        await tasks.sleep(0)
        second.cancel()
        await tasks.sleep(0)
        assert second.done()
        first.cancel()
        await pool.run(f"{SAMPLES}:echo", {})

    pooled(tmp_path, body)


def test_the_queue_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "QUEUE_MAX", 1)

    async def body(pool: WorkerJobs, tasks: AsyncTasks) -> None:
        first, _pid = await begin(pool, tasks, "hangs")
        second = tasks.spawn(pool.run(f"{SAMPLES}:echo", {}), name="job")
        await tasks.sleep(0)
        with pytest.raises(errors.Unavailable, match="too many"):
            await pool.run(f"{SAMPLES}:echo", {})
        first.cancel()
        await second

    pooled(tmp_path, body)


def test_close_ends_busy_and_idle_workers(tmp_path: Path) -> None:
    async def main(tasks: AsyncTasks) -> list[int]:
        pool = WorkerJobs(tmp_path, workers=2)
        busy, pid = await begin(pool, tasks, "hangs")
        idle = (await pool.run(f"{SAMPLES}:echo", {}))["pid"]
        await pool.close()
        with pytest.raises(errors.Unavailable):
            await busy
        with pytest.raises(errors.Unavailable, match="closed"):
            await pool.run(f"{SAMPLES}:echo", {})
        return [idle, pid]

    assert all(gone(pid) for pid in run(main))


@pytest.mark.parametrize("job", ["hangs", "spins"])
def test_workers_die_with_a_killed_parent(tmp_path: Path, job: str) -> None:
    """SIGKILL leaves the parent no chance to clean up: the kernel and the closed pipe must do it."""
    script = (
        "import sys, asyncio\n"
        "from scrubjay.base.real.jobs import WorkerJobs\n"
        "from scrubjay.base.real.loop import run\n"
        "async def main(tasks):\n"
        "    pool = WorkerJobs(sys.argv[1], workers=1)\n"
        f"    await pool.run('{SAMPLES}:{job}', {{}}, progress=lambda facts: print(facts['pid'], flush=True))\n"
        "run(main)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert not gone(pid)
        parent.kill()
    assert wait_gone(pid)


def test_a_slot_handed_over_to_a_cancelled_waiter_is_passed_on(tmp_path: Path) -> None:
    """The race: the slot is given in the same turn in which its waiter is cancelled."""

    async def body(pool: WorkerJobs, tasks: AsyncTasks) -> Any:
        await pool._places.take()
        waiter = asyncio.ensure_future(pool._places.take())
        await tasks.sleep(0)
        pool._places.give()
        waiter.cancel()
        await asyncio.gather(waiter, return_exceptions=True)
        return await asyncio.wait_for(pool.run(f"{SAMPLES}:echo", {"n": 1}), 10)

    assert pooled(tmp_path, body)["n"] == 1


@pytest.mark.slow
def test_jobs_that_read_the_archive_give_way_and_no_others(tmp_path: Path) -> None:
    async def main(tasks: AsyncTasks) -> None:
        pool = WorkerJobs(tmp_path, workers=1, give_way=[f"{SAMPLES}:says_how_nice"])
        try:
            night = [await pool.run(f"{SAMPLES}:says_how_nice", {}) for _ in range(2)]
            (await pool.run(f"{SAMPLES}:echo", {}))
            night.append(await pool.run(f"{SAMPLES}:says_how_nice", {}))
            assert len({one["pid"] for one in night}) == 1, "each kind has its process, and keeps it"
            assert {one["nice"] for one in night} == {min(19, os.nice(0) + NICE)}
            other = WorkerJobs(tmp_path, workers=1)
            try:
                assert (await other.run(f"{SAMPLES}:says_how_nice", {}))["nice"] == os.nice(0)
            finally:
                await other.close()
        finally:
            await pool.close()

    run(main)


@pytest.mark.slow
def test_a_job_that_nobody_waits_for_rests_while_others_are_served_and_no_other_job_does(tmp_path: Path) -> None:
    """How often it let go of the processor is counted: how long it took would be the machine's business."""

    async def main(tasks: AsyncTasks) -> None:
        works = f"{SAMPLES}:works"
        night = WorkerJobs(tmp_path, workers=1, give_way=[works], rest=[works])
        awaited = WorkerJobs(tmp_path, workers=1, give_way=[works])
        try:
            for pool in (night, awaited):
                pool.share(0.5)
            rested = (await night.run(works, {"cpu_s": 0.1}))["let_go"]
            assert rested >= 8, rested
            assert (await awaited.run(works, {"cpu_s": 0.1}))["let_go"] < rested / 2
            night.share(1.0)
            assert (await night.run(works, {"cpu_s": 0.1}))["let_go"] < rested / 2
            in_the_middle = await night.run(works, {"cpu_s": 0.1}, progress=lambda _facts: night.share(0.5))
            assert in_the_middle["let_go"] >= 8
        finally:
            await night.close()
            await awaited.close()

    run(main)


def test_no_worker_of_another_program_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An upgrade in place under a running server: its new workers would answer in other words, and whoever asked them waited for ever."""
    program = tmp_path / "program"
    (program / "__pycache__").mkdir(parents=True)
    (program / "part.py").write_text("one = 1\n")
    monkeypatch.setattr(child, "PROGRAM_ROOT", str(program))
    monkeypatch.setattr(child, "_OURS", child.program_on_disk())

    async def asked(pool: WorkerJobs, tasks: AsyncTasks) -> None:
        (program / "__pycache__" / "part.pyc").write_bytes(b"compiled")
        (program / "notes.txt").write_text("no source")
        assert (await pool.run(f"{SAMPLES}:echo", {"a": 1}))["a"] == 1

    pooled(tmp_path, asked)

    async def refused(pool: WorkerJobs, tasks: AsyncTasks) -> None:
        with pytest.raises(errors.Unavailable, match="exchanged while it runs"):
            await pool.run(f"{SAMPLES}:echo", {})

    (program / "part.py").write_text("two = 2\n")
    pooled(tmp_path, refused)
    (program / "part.py").unlink()
    pooled(tmp_path, refused)
