"""SIGKILL of a node and its worker in the middle of checkpoints: nothing committed is lost, no tree is suspect, the next start succeeds at once."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from scrubjay.storage.btree.lmdb_tree import TreeReader, open_databases, open_environment
from tests.crash.tree_node import P, changes

ROOT = Path(__file__).parent.parent.parent


def start(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", "tests.crash.tree_node", str(folder)], stdout=subprocess.PIPE, text=True, cwd=ROOT)


@pytest.mark.slow
def test_a_node_killed_in_checkpoints_goes_on_where_it_was(tmp_path: Path) -> None:
    rand = random.Random(1)
    acknowledged = 0
    for _ in range(5):
        node = start(tmp_path)
        assert node.stdout is not None
        first = node.stdout.readline()
        assert first.startswith("at "), "the tree opened, with whatever the kill left behind"
        found = int(first.split()[1])
        assert acknowledged <= found <= acknowledged + 1
        acknowledged = found
        for _ in range(rand.randrange(1, 12)):
            acknowledged = int(node.stdout.readline())
        node.send_signal(signal.SIGKILL)
        rest = node.stdout.read().split()
        node.wait()
        node.stdout.close()
        acknowledged = max([acknowledged, *map(int, rest)])
    environment = open_environment(str(tmp_path / "replicas" / P / "btree"), write=False)
    databases = open_databases(environment, create=False)
    reader = TreeReader(environment.begin(), databases, bytes.fromhex(P.replace("-", "")))
    applied = reader.verify(values=True).state.applied
    assert applied >= acknowledged > 5
    model = {change.key: change for lsn in range(1, applied + 1) for change in changes(lsn)}
    assert list(reader.range(b"", None)) == [model[key] for key in sorted(model)]
    environment.close()


@pytest.mark.slow
def test_the_worker_dies_with_a_killed_node(tmp_path: Path) -> None:
    node = start(tmp_path)
    assert node.stdout is not None
    node.stdout.readline()
    children = Path(f"/proc/{node.pid}/task/{node.pid}/children").read_text().split()
    assert children
    node.kill()
    node.wait()
    node.stdout.close()
    again = start(tmp_path)  # its worker takes the lock that a living one would hold
    assert again.stdout is not None
    assert again.stdout.readline().startswith("at ")
    again.kill()
    again.wait()
    again.stdout.close()
    assert not [child for child in children if running(child)]


def running(child: str) -> bool:
    """The process is there and not merely waiting to be collected."""
    try:
        state = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"
