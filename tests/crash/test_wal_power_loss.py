"""Power loss under the log: from every recorded write and sync of real lives on the real disk, killed and restarted, what may be left recovers with nothing lost."""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from scrubjay.base.ids import Ballot, Lsn
from scrubjay.storage.wal.port import Append
from scrubjay.storage.wal.wal import Wal
from tests.crash import recorded
from tests.crash.recorded import Ack, Cut, Life, Move, Recording, Sync
from tests.crash.wal_life import FILE, KEPT, Facts, P, Q, record, salts
from tests.unit.wal.wal_disk import Content, MemoryDisk

ROOT = Path(__file__).parent.parent.parent
LIVES = ((26, ("fdatasync", 23)), (22, ("fsync", 2)), (22, None))
"""Commits of a life, and where it is killed."""


class Lived:
    """said: what was said of each commit before the n-th answer: (acknowledged, what the log then holds)."""

    def __init__(self, recording: Recording, said: list[tuple[bool, Facts]]) -> None:
        self.recording = recording
        self.said = said

    def may_hold(self, lines: int) -> list[Facts]:
        """What the log may hold when `lines` lines were written: the newest acknowledged commit, or one begun since. Nothing is acknowledged: no facts."""
        acknowledged = max((at for at in range(lines) if self.said[at][0]), default=-1)
        return [facts for _, facts in self.said[max(0, acknowledged) : lines]] if acknowledged >= 0 else []


def lived(folder: Path, lives: tuple[tuple[int, tuple[str, int] | None], ...] = LIVES, *how: str) -> Lived:
    root, acks = folder / "node", folder / "acks"
    root.mkdir(parents=True)
    recorded_lives = []
    for number, (commits, killed_at) in enumerate(lives):
        life = Life(folder / f"trace{number}", folder / f"left{number}")
        arguments = [sys.executable, "-m", "tests.crash.wal_life", str(root), str(acks), str(commits), *how]
        recorded.strace(arguments, life.trace, cwd=ROOT, threads=True, killed_at=killed_at)
        shutil.copytree(root, life.left)
        recorded_lives.append(life)
    said = []
    for line in acks.read_text().splitlines():
        word, _, facts = line.partition(" ")
        said.append((word == "acked", Facts(**json.loads(facts))))
    recording = Recording(recorded_lives, root, acks)
    assert sum(isinstance(event, Ack) for event in recording.events) == len(said)
    assert recorded.everything(recording).listed("wal") == {path.name: path.read_bytes() for path in (root / "wal").iterdir()}
    return Lived(recording, said)


def on_a_disk(cut: Cut) -> MemoryDisk:
    disk = MemoryDisk()
    for name, data in cut.image.listed("wal").items():
        disk.files[f"wal/{name}"] = Content()
        disk.files[f"wal/{name}"].synced = bytearray(data)
    return disk


def opened(disk: MemoryDisk) -> tuple[Wal, str]:
    """The log, and what is wrong with what it says of itself."""
    wal, found = Wal.open(disk, "wal", file_size=FILE, limit_bytes=64 * FILE, reserve_bytes=0)
    wrong = [*wal.findings]
    for log in found.replicas.values():
        wrong += [f"{log.partition}: {log.amnesia} damaged {log.damaged}"] if log.amnesia or log.damaged or log.vote != "votes" else []
    return wal, "; ".join(wrong)


def look(cut: Cut, possible: list[Facts]) -> str:
    """Recover an image and go on with it. What is wrong, or ""."""
    disk = on_a_disk(cut)
    wal, wrong = opened(disk)
    if wrong or not possible:
        return wrong
    if P not in wal._states or Q not in wal._states:
        return "a replica is forgotten"
    p, q = wal._states[P], wal._states[Q]
    facts = (p.last, salts(wal), p.promised, wal._boot_count)
    for at, (mine, theirs) in enumerate(
        zip(facts, zip(*[(one.p, one.q, one.promised, one.boot) for one in possible], strict=True), strict=True)
    ):
        # A commit that goes over the edge of a file may be there in part, frame by frame.
        if mine not in theirs and not (at == 2 and mine == 1):
            return f"{('P ends at', 'Q holds', 'promised', 'boots')[at]} {mine}, may be {theirs}"
    if wal._reservation < wal._boot_count * 1000:
        return f"reservation {wal._reservation} in life {wal._boot_count}"
    if p.first > max(1, p.last - KEPT) or wal.read(P, Lsn(p.first), Lsn(p.last + 1)) != [
        record(P, lsn) for lsn in range(p.first, p.last + 1)
    ]:
        return f"P reads wrong from {p.first} on"
    if wal.read(Q, Lsn(1), Lsn(q.last + 1)) != [record(Q, lsn, salt) for lsn, salt in enumerate(salts(wal), 1)]:
        return "Q reads wrong"
    return goes_on(wal, disk)


def goes_on(wal: Wal, disk: MemoryDisk) -> str:
    last = wal._states[P].last
    said: list[object] = []
    wal.queue(Append(P, Ballot(9), tuple(record(P, lsn) for lsn in range(last + 1, last + 4)), staged=False))
    wal.commit(said.append)
    if said != [None]:
        return f"cannot go on: {said}"
    again, wrong = opened(disk.after_crash())
    return wrong or ("" if again._states[P].last == last + 3 else "what came behind is lost")


def wrongs(life: Lived, *, deaf: frozenset[str] = frozenset()) -> Iterator[str]:
    """For each image: what is wrong with it, or ""."""
    for cut in recorded.cuts(life.recording, seed=5, deaf=deaf, sample=3):
        try:
            wrong = look(cut, life.may_hold(cut.acknowledged))
        except Exception as error:
            wrong = f"{type(error).__name__}: {error}"
        yield f"{cut.acknowledged} lines, {cut.what}: {wrong}" if wrong else ""


@pytest.mark.slow
def test_no_cut_loses_or_accuses_what_a_log_acknowledged(tmp_path: Path) -> None:
    life = lived(tmp_path)
    kinds = Counter(event.call if isinstance(event, Sync) else type(event).__name__ for event in life.recording.events)
    moves = [event for event in life.recording.events if isinstance(event, Move)]
    assert sum(one.source.startswith(".") for one in moves) >= 3, "files were made ahead"
    assert sum(one.source.endswith(".wal") for one in moves) >= 3, "and recycled"
    assert sum(acked for acked, _ in life.said) < len(life.said) / 2, "a life was killed within a commit"
    found = list(wrongs(life))
    print(f"{len(found)} images of {sum(kinds.values())} events: {dict(kinds)}")
    assert not any(found), "\n".join([wrong for wrong in found if wrong][:20])
    assert len(found) > 600


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "deaf", "expected"),
    [
        ((), {"fdatasync"}, "may be"),
        (("unnamed-new",), set(), "forgotten"),
        (("unnamed-old",), set(), "is gone"),
    ],
)
def test_a_sync_left_out_is_found(tmp_path: Path, how: tuple[str, ...], deaf: set[str], expected: str) -> None:
    """Negative controls: an acknowledged batch that was not synced, a folder that was not synced after a file was made, or renamed."""
    life = lived(tmp_path, ((40, None),), *how)
    assert any(expected in wrong for wrong in wrongs(life, deaf=frozenset(deaf)))
