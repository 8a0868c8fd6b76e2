"""Threads that serve in order, a few at a time, and never hold up the end of the process."""

from __future__ import annotations

import subprocess
import sys
import threading

from base.real.daemon_pool import DaemonPool


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


def test_a_call_that_hangs_does_not_keep_the_process() -> None:
    code = (
        "import socket, concurrent.futures as f\n"
        "from base.real.daemon_pool import DaemonPool\n"
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
