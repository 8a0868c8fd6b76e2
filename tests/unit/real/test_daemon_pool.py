"""Threads that serve in order, a few at a time, and never hold up the end of the process."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from scrubjay.base.errors import Exhausted
from scrubjay.base.real.daemon_pool import DaemonPool
from scrubjay.base.real.disk import RealDisk
from scrubjay.base.real.loop import AsyncTasks, run
from scrubjay.base.real.stores import bare_store


def test_work_is_done_by_a_few_threads_and_errors_come_back() -> None:
    pool = DaemonPool(3, name="t")
    names: list[str] = []
    gate = threading.Barrier(3, timeout=10)

    def work(number: int) -> int:
        if number < 3:
            gate.wait()  # three run at once
        names.append(threading.current_thread().name)
        return number * 2

    assert [future.result(10) for future in [pool.submit(work, number) for number in range(20)]] == [number * 2 for number in range(20)]
    assert len(set(names)) == 3
    assert isinstance(pool.submit(int, "x").exception(10), ValueError)
    pool.shutdown(wait=True)


class Refused:
    """A system that starts `allowed` more threads."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, allowed: int) -> None:
        self.allowed = allowed
        self._start = threading.Thread.start
        monkeypatch.setattr(threading.Thread, "start", lambda thread: self.start(thread))

    def start(self, thread: threading.Thread) -> None:
        if self.allowed <= 0:
            raise RuntimeError("can't start new thread")
        self.allowed -= 1
        self._start(thread)


def test_without_a_thread_nothing_is_taken_and_the_reason_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, done = DaemonPool(3, name="t"), threading.Event()
    system = Refused(monkeypatch, 0)
    with pytest.raises(Exhausted, match="no more threads"):
        pool.submit(done.set)
    system.allowed = 1
    assert pool.submit(int, "7").result(10) == 7
    assert not done.is_set(), "what was refused is not done later"
    pool.shutdown(wait=True)


def test_with_fewer_threads_than_wanted_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = DaemonPool(3, name="t")
    Refused(monkeypatch, 1)
    gate = threading.Event()
    first, second = pool.submit(gate.wait, 10), pool.submit(int, "2")
    gate.set()
    assert first.result(10)
    assert second.result(10) == 2
    pool.shutdown(wait=True)


def test_other_pools_say_it_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    Refused(monkeypatch, 0)

    async def work(tasks: AsyncTasks) -> None:
        with pytest.raises(Exhausted, match="no more threads"):
            await tasks.blocking(int)
        with pytest.raises(Exhausted, match="no more threads"):
            await bare_store(tmp_path.as_uri()).put("x", b"y")
        disk = RealDisk(tmp_path, post=tasks.post)
        said: list[object] = []
        disk.submit(lambda: said.append("done"), said.append)
        disk.create_ahead("ahead", 4096, said.append)
        assert [type(one) for one in said] == [Exhausted, Exhausted]

    run(work)


@pytest.mark.slow
def test_a_call_that_hangs_does_not_keep_the_process() -> None:
    code = (
        "import socket, concurrent.futures as f\n"
        "from scrubjay.base.real.daemon_pool import DaemonPool\n"
        "a, b = socket.socketpair()\n"
        "pool = {}(1)\n"
        "pool.submit(a.recv, 1)\n"
        "print('leaving', flush=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code.format("(lambda n: DaemonPool(n, name='t'))")], capture_output=True, timeout=20, check=False
    )
    assert (done.returncode, done.stdout) == (0, b"leaving\n"), done.stderr
    hangs = subprocess.Popen([sys.executable, "-c", code.format("f.ThreadPoolExecutor")], stdout=subprocess.PIPE)
    assert hangs.stdout is not None
    assert hangs.stdout.readline() == b"leaving\n"
    try:
        hangs.wait(1)
    except subprocess.TimeoutExpired:
        hangs.kill()
        hangs.communicate()
    else:
        raise AssertionError("the negative control left: then this test shows nothing")
