"""Power loss under a tree: from every recorded write and sync of a real worker's life, what a disk may hold after a cut opens with nothing acknowledged lost."""

from __future__ import annotations

import faulthandler
import os
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

import pytest

from scrubjay.base.ids import uuid_bytes
from scrubjay.storage.btree import worker_wire
from scrubjay.storage.btree.lmdb_tree import TreeReader, open_databases, open_environment
from scrubjay.storage.btree.worker import TREE, WriteRole, replica_folder
from tests.crash import recorded
from tests.crash.recorded import Cut, Life, Recording
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
    recording = Recording([Life(trace, root)], root, acks)
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
    """What is wrong with the tree on disk; nothing if it holds exactly what it holds after `rows`."""
    ask(role, root, worker_wire.Close(0, P))  # LMDB opens a file once in a process
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
    answer = ask(role, root, worker_wire.Open(900, P))
    if answer.error == "Missing":
        if cut.acknowledged:
            return "an acknowledged tree is gone"
        made = ask(role, root, worker_wire.Build(901, P, None, 0, 0, b"", False))
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
    further = checkpoint(902, found, dict.fromkeys((1, 77, 4000), b"further"), found.applied + 1)
    answer = ask(role, root, further.request)
    return f"cannot go on: {answer.error} {answer.message}" if answer.error else held(role, root, further)


class Verdicts:
    """looked: images looked at. wrong: what was wrong with which."""

    def __init__(self) -> None:
        self.looked = 0
        self.wrong: list[str] = []


def judged(folder: Path, steps: list[Step], cuts: Callable[[], Iterator[Cut]], *, enough: int = 1 << 30) -> Verdicts:
    """Look at all images in forked children: what a bad one maps may end the process that reads it. Then the next child goes on behind it."""
    verdicts = Verdicts()
    while len(verdicts.wrong) < enough:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            faulthandler.disable()
            status = 1
            try:
                look_at(folder, steps, islice(cuts(), verdicts.looked, None), writing, enough)
                status = 0
            finally:
                os._exit(status)
        os.close(writing)
        with os.fdopen(reading) as lines:
            said = [line.rstrip("\n").partition("\t") for line in lines]
        _, status = os.waitpid(child, 0)
        verdicts.looked += len(said)
        verdicts.wrong += [
            f"{what}: {wrong or f'killed by {signal.Signals(status & 0x7F).name}'}" for what, _, wrong in said if wrong != "good"
        ]
        if not os.WIFSIGNALED(status):
            assert status == 0, "the child could not make an image"
            break
    return verdicts


def look_at(folder: Path, steps: list[Step], cuts: Iterable[Cut], out: int, enough: int) -> None:
    """One line for each image: what it is, a tab, what is wrong with it or `good`."""
    for number, cut in enumerate(cuts):
        root = folder / f"{os.getpid()}-{number}"
        cut.image.write(root)
        os.write(out, f"{cut.acknowledged} answered, {cut.what}\t".encode())
        try:
            said = look(root, cut, steps)
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
        os.write(out, f"{' '.join(said.split()) or 'good'}\n".encode())
        shutil.rmtree(root)
        enough -= bool(said)
        if not enough:
            return


@pytest.mark.slow
def test_no_cut_loses_what_a_tree_acknowledged(tmp_path: Path, scratch: Path) -> None:
    recording, steps = record(tmp_path)
    kinds = Counter(type(event).__name__ if not isinstance(event, recorded.Sync) else event.call for event in recording.events)
    checkpoints = sum(isinstance(step.request, worker_wire.Checkpoint) for step in steps)
    assert min(kinds["fdatasync"], kinds["O_DSYNC"]) >= checkpoints, kinds
    assert (kinds["fsync"], kinds["Move"]) == (8, 4), kinds
    verdicts = judged(scratch, steps, lambda: recorded.cuts(recording, seed=11))
    print(f"{verdicts.looked} images of {sum(kinds.values())} events: {dict(kinds)}")
    assert not verdicts.wrong, "\n".join(verdicts.wrong[:20])
    assert verdicts.looked >= 300


@pytest.mark.slow
@pytest.mark.parametrize("deaf", ["fdatasync", "O_DSYNC", "fsync"])
def test_a_disk_that_ignores_one_kind_of_sync_is_found(tmp_path: Path, scratch: Path, deaf: str) -> None:
    """Negative control: the same life, with syncs that do nothing."""
    recording, steps = record(tmp_path)
    assert judged(scratch, steps, lambda: recorded.cuts(recording, seed=11, deaf=frozenset({deaf})), enough=1).wrong


@pytest.mark.slow
def test_a_tree_without_syncs_is_found(tmp_path: Path, scratch: Path) -> None:
    """Negative control: a worker that opens its trees with sync off."""
    recording, steps = record(tmp_path, "unsynced")
    assert not any(isinstance(event, recorded.Sync) and event.call == "O_DSYNC" for event in recording.events)
    wrong = judged(scratch, steps, lambda: recorded.cuts(recording, seed=11), enough=40).wrong
    print("\n".join(wrong))
    assert any("may be at" in said for said in wrong), wrong


def test_a_bad_image_that_kills_its_reader_is_told_and_the_next_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = [Cut(at, "drawn", recorded.Image({0})) for at in range(4)]

    def looked(_: Path, cut: Cut, __: list[Step]) -> str:
        if cut.acknowledged == 1:
            os.kill(os.getpid(), signal.SIGBUS)
        return "bad rows" if cut.acknowledged == 3 else ""

    monkeypatch.setattr("tests.crash.test_tree_power_loss.look", looked)
    verdicts = judged(tmp_path, [], lambda: iter(given))
    assert verdicts.looked == 4
    assert verdicts.wrong == ["1 answered, drawn: killed by SIGBUS", "3 answered, drawn: bad rows"]
