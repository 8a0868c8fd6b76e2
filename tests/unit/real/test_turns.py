"""What the threads that serve ask of the kernel, on one that keeps it (Linux 6.12 and later). In processes of their own: nothing takes it back."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from scrubjay.base.real.turns import TURN_NS, turn_ns

kept = pytest.mark.skipif(not turn_ns(), reason="this kernel does not keep what a thread asks for at a time")


def said(program: str) -> Any:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    return json.loads(done.stdout)


@pytest.mark.slow
@kept
def test_the_thread_that_serves_asks_for_short_turns_and_what_it_starts_does_not() -> None:
    program = """
import json, os, subprocess, sys
from scrubjay.base.real.turns import turn_ns
from scrubjay.serving.listening import settle
os.nice(3)
before = turn_ns()
settle()
child = subprocess.run([sys.executable, "-c", "from scrubjay.base.real.turns import turn_ns; print(turn_ns())"], capture_output=True, text=True, check=True)
print(json.dumps([before, turn_ns(), int(child.stdout), os.nice(0)]))
"""
    before, served, child, nice = said(program)
    assert served == TURN_NS < before
    assert child == before, "a worker that gives way would take the core from whoever serves"
    assert nice == 3 + int(subprocess.run(["nice"], capture_output=True, text=True, check=True).stdout)


@kept
def test_the_thread_that_syncs_asks_for_short_turns_too() -> None:
    program = """
import json, queue, sys, tempfile
from pathlib import Path
from scrubjay.base.real.disk import RealDisk
from scrubjay.base.real.turns import turn_ns
with tempfile.TemporaryDirectory() as folder:
    posted, found = queue.Queue(), []
    disk = RealDisk(Path(folder), posted.put)
    disk.submit(lambda: found.append(turn_ns()), lambda outcome: None)
    posted.get(timeout=30)
    disk.close()
print(json.dumps([found, turn_ns()]))
"""
    found, mine = said(program)
    assert found == [TURN_NS]
    assert mine != TURN_NS
