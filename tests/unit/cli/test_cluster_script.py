"""`tools/cluster.sh`, with programs that only say that they serve."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "tools" / "cluster.sh"
PROGRAM = """#!/bin/bash
case $1 in
serve) echo "ready http://here"; exec sleep 60 ;;
archive) echo '{"tables": []}' ;;
esac
"""


@pytest.mark.slow
def test_a_process_that_died_is_started_again_also_while_nobody_has_taken_note_of_it(tmp_path: Path) -> None:
    """Else the cluster is said to serve, with exit 0, and one of its processes is not there."""
    program = tmp_path / "bin" / "scrubjay"
    program.parent.mkdir()
    program.write_text(PROGRAM)
    program.chmod(0o755)
    (program.parent / "python").symlink_to(sys.executable)
    folder = tmp_path / "cluster"

    def cluster(verb: str) -> subprocess.CompletedProcess[str]:
        environ = {**os.environ, "SCRUBJAY": str(program)}
        return subprocess.run([str(SCRIPT), verb, str(folder)], capture_output=True, text=True, env=environ, timeout=30, check=False)

    dead = subprocess.Popen(["true"])
    os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and stays a zombie until it is waited for
    try:
        folder.mkdir()
        (folder / "durability.pid").write_text(str(dead.pid))
        (folder / "durability.out").write_text("ready http://of-the-dead\n")
        started = cluster("start")
        assert (started.returncode, started.stderr) == (0, "")
        assert started.stdout.splitlines() == [f"{name} http://here" for name in ("n1", "n2", "n3", "durability")]
        pids = {name: (folder / f"{name}.pid").read_text() for name in ("n1", "n2", "n3", "durability")}
        assert pids["durability"].strip() != str(dead.pid)
        assert cluster("start").returncode == 0
        assert pids == {name: (folder / f"{name}.pid").read_text() for name in pids}, "what lives is left alone"
    finally:
        dead.wait()
        stopped = cluster("stop")
    assert (stopped.returncode, stopped.stderr) == (0, "")
    assert not list(folder.glob("*.pid"))
