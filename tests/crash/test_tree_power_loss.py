"""Power loss under a tree: from every recorded write and sync of a real worker's life, what a disk may hold after a cut opens with nothing acknowledged lost."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from base.ids import uuid_bytes
from storage.btree import wire
from storage.btree.lmdb_tree import TreeReader, open_databases, open_environment
from storage.btree.worker import TREE, WriteRole, replica_folder
from tests.crash import recorded
from tests.crash.recorded import Cut, Recording
from tests.crash.tree_life import Step, ask, checkpoint, life, write_rows
from tests.unit.btree.engines import P

ROOT = Path(__file__).parent.parent.parent


def record(folder: Path, *how: str) -> tuple[Recording, list[Step]]:
    """A life recorded. how: as `tests.crash.tree_life` takes it."""
    root, acks, rows, trace = folder / "node", folder / "acks", folder / "rows", folder / "trace"
    root.mkdir(parents=True)
    write_rows(rows)
    recorded.strace([sys.executable, "-m", "tests.crash.tree_life", str(root), str(acks), str(rows), *how], trace, cwd=ROOT)
    steps = life(str(rows))
    recording = Recording(trace, root, acks)
    assert sum(isinstance(event, recorded.Ack) for event in recording.events) == len(steps)
    return recording, steps


@pytest.fixture
def scratch() -> Iterator[Path]:
    """In memory where that can be had: thousands of small files are made and synced."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="scrubjay-", dir=memory if os.access(memory, os.W_OK) else None))
    yield folder
    shutil.rmtree(folder)


def held(role: WriteRole, root: Path, rows: Step) -> str:
    """"" if the tree on disk holds exactly what it holds after `rows`."""
    ask(role, root, wire.Close(0, P))  # LMDB opens a file once in a process
    environment = open_environment(str(replica_folder(root, P) / TREE), write=False)
    databases = open_databases(environment, create=False)
    with environment.begin() as transaction:
        reader = TreeReader(transaction, databases, uuid_bytes(P))
        applied = reader.verify(values=True).state.applied
        found = {row.key: row for row in reader.range(b"", None)}
    environment.close()
    if applied != rows.applied:
        return f"at LSN {applied}, not {rows.applied}"
    return "" if found == rows.rows else f"other rows at LSN {applied}"


def look(root: Path, cut: Cut, steps: list[Step]) -> str:
    """Open an image as a node does, compare it with what may be there, and go on with it. What is wrong, or ""."""
    role = WriteRole(root)
    answer = ask(role, root, wire.Open(900, P))
    if answer.error == "Missing":
        if cut.acknowledged:
            return "an acknowledged tree is gone"
        made = ask(role, root, wire.Build(901, P, None, 0, 0, b"", False))
        return f"cannot be made again: {made.error} {made.message}" if made.error else held(role, root, steps[0])
    if answer.error:
        return f"does not open: {answer.error} {answer.message}"
    possible = {step.applied: step for step in steps[max(0, cut.acknowledged - 1) : cut.acknowledged + 1]}
    found = possible.get(answer.value[0])
    if found is None:
        return f"opens at LSN {answer.value[0]}, may be at {sorted(possible)}"
    wrong = held(role, root, found)
    if wrong:
        return wrong
    further = checkpoint(902, found, {n: b"further" for n in (1, 77, 4000)}, found.applied + 1)
    answer = ask(role, root, further.request)
    return f"cannot go on: {answer.error} {answer.message}" if answer.error else held(role, root, further)


def in_child(root: Path, cut: Cut, steps: list[Step]) -> str:
    """`look` in a forked child: what a bad image maps may end the process that reads it."""
    cut.image.write(root)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            said = look(root, cut, steps)
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(writing, said.encode()[:4000])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    shutil.rmtree(root)
    return f"killed by {signal.Signals(os.WTERMSIG(status)).name}" if os.WIFSIGNALED(status) else said


def judged(folder: Path, recording: Recording, steps: list[Step], *, deaf: frozenset[str] = frozenset(), enough: int = 1 << 30) -> tuple[int, list[str]]:
    """Images looked at, and what was wrong with which; stops at `enough` wrong ones."""
    looked, wrong = 0, []
    for number, cut in enumerate(recorded.cuts(recording, seed=11, deaf=deaf)):
        looked += 1
        said = in_child(folder / f"image-{number}", cut, steps)
        if said:
            wrong.append(f"image {number}, {cut.acknowledged} answered, {cut.what}: {said}")
            if len(wrong) >= enough:
                break
    return looked, wrong


@pytest.mark.slow
def test_no_cut_loses_what_a_tree_acknowledged(tmp_path: Path, scratch: Path) -> None:
    recording, steps = record(tmp_path)
    kinds = Counter(type(event).__name__ if not isinstance(event, recorded.Sync) else event.call for event in recording.events)
    assert kinds["fdatasync"] > len(steps) / 2 and kinds["O_DSYNC"] > len(steps) / 2 and kinds["fsync"] >= 4 and kinds["Move"] == 4, kinds
    looked, wrong = judged(scratch, recording, steps)
    print(f"{looked} images of {sum(kinds.values())} events: {dict(kinds)}")
    assert not wrong, "\n".join(wrong[:20])
    assert looked >= 300


@pytest.mark.slow
@pytest.mark.parametrize("deaf", ["fdatasync", "O_DSYNC", "fsync"])
def test_a_disk_that_ignores_one_kind_of_sync_is_found(tmp_path: Path, scratch: Path, deaf: str) -> None:
    """Negative control: the same life, with syncs that do nothing."""
    recording, steps = record(tmp_path)
    _, wrong = judged(scratch, recording, steps, deaf=frozenset({deaf}), enough=1)
    assert wrong


@pytest.mark.slow
def test_a_tree_without_syncs_is_found(tmp_path: Path, scratch: Path) -> None:
    """Negative control: a worker that opens its trees with sync off."""
    recording, steps = record(tmp_path, "unsynced")
    assert not any(isinstance(event, recorded.Sync) and event.call == "O_DSYNC" for event in recording.events)
    _, wrong = judged(scratch, recording, steps, enough=3)
    assert any("may be at" in said for said in wrong), wrong
