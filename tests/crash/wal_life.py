"""One life of a log on the real disk: `python -m tests.crash.wal_life FOLDER ACKS COMMITS [HOW]`.

FOLDER: the node's folder, with what an earlier life left. ACKS: file that gets two lines for each commit, what the log will hold when it is begun and the
same when it was acknowledged. HOW, negative controls: `unnamed-new` and `unnamed-old` leave out the folder's sync after a file was made, or renamed.

Two replicas: P is appended to and trimmed, so that files are recycled. Q is adopted time and again and never trimmed, so that it is copied forward.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from scrubjay.base.errors import ScrubjayError
from scrubjay.base.ids import Ballot, Lsn, Member, PartitionId, Stamp
from scrubjay.base.real.disk import RealDisk
from scrubjay.storage.log.record import Record, RecordKind, encode
from scrubjay.storage.wal.port import Adopt, Append, Boot, Create, Promise, Reserve
from scrubjay.storage.wal.wal import Wal

P = PartitionId("00000000-0000-4000-8000-00000000000a")
Q = PartitionId("10000000-0000-4000-8000-00000000000b")
FILE = 1 << 14
KEPT = 25
"""Records of P that are not trimmed."""


def record(partition: PartitionId, lsn: int, salt: int = 0) -> Record:
    owner = bytes.fromhex(partition.replace("-", ""))[:8]
    size = 600 if partition == P else 80
    return encode(
        owner=owner, lsn=lsn, stamp=1000 * (salt + 1) + lsn, kind=RecordKind.DATA, payload=bytes([lsn & 0xFF, salt & 0xFF]) * size
    )


class Facts:
    """What the log holds. q: the salt of each record of Q."""

    def __init__(self, boot: int, p: int, q: list[int], promised: int) -> None:
        self.boot, self.p, self.q, self.promised = boot, p, q, promised

    def line(self) -> str:
        return json.dumps(self.__dict__)


def salts(wal: Wal) -> list[int]:
    """The salts of Q's records; the stamp carries them."""
    if Q not in wal._states:
        return []
    last = wal._states[Q].last
    return [one.stamp // 1000 - 1 for one in wal.read(Q, Lsn(1), Lsn(last + 1))]


class Loop:
    """Callbacks in the order they come; timers when the life is quiet."""

    def __init__(self) -> None:
        self.posted: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self.timers: list[Callable[[], object]] = []

    def until(self, said: list[Any]) -> None:
        while not said:
            self.posted.get()()

    def quiet(self) -> None:
        timers, self.timers = self.timers, []
        for timer in timers:
            timer()


def live(root: Path, acks: int, commits: int) -> None:
    loop = Loop()
    disk = RealDisk(root, loop.posted.put)
    wal, found = Wal.open(
        disk,
        "wal",
        file_size=FILE,
        limit_bytes=64 * FILE,
        reserve_bytes=0,
        call_later=lambda _, timer: loop.timers.append(timer),
    )
    if wal.findings:
        sys.exit(f"a restart finds {wal.findings}")
    facts = Facts(found.boot_count, found.replicas[P].last if P in found.replicas else 0, salts(wal), 0)
    if P in found.replicas:
        facts.promised = found.replicas[P].promised
    for turn in range(commits):
        change(wal, facts, turn)
        os.write(acks, f"begun {facts.line()}\n".encode())
        said: list[ScrubjayError | None] = []
        if not wal.commit(said.append):
            sys.exit("nothing to commit")
        loop.until(said)
        if said != [None]:
            sys.exit(f"commit: {said}")
        os.write(acks, f"acked {facts.line()}\n".encode())
        wal.trim(P, Lsn(max(1, facts.p - KEPT)))
        if turn % 9 == 8:
            loop.quiet()
    disk.close()


def change(wal: Wal, facts: Facts, turn: int) -> None:
    """Queue the frames of one commit."""
    if turn == 0:
        facts.boot += 1
        wal.queue(Boot(facts.boot))
        wal.queue(Reserve(Stamp(facts.boot * 1000)))
        if facts.boot == 1:
            for partition in (P, Q):
                wal.queue(Create(partition, Member(1, 1), Lsn(1)))
    end = facts.p + 2 + turn % 3
    wal.queue(Append(P, Ballot(1), tuple(record(P, lsn) for lsn in range(facts.p + 1, end)), staged=False))
    facts.p = end - 1
    if turn % 4 == 1:
        facts.promised = max(facts.promised + 1, 2)
        wal.queue(Promise(P, Ballot(facts.promised)))
    if turn % 5 == 2:
        salt = wal._states[Q].accepted + 1
        last = len(facts.q)
        cut = max(0, last - 1)
        taken = tuple(record(Q, lsn, salt) for lsn in range(cut + 1, cut + 3))
        wal.queue(Append(Q, Ballot(salt), taken, staged=True))
        wal.queue(Adopt(Q, Ballot(salt), Lsn(cut), Lsn(cut + 2)))
        facts.q[cut:] = [salt, salt]


def leave_out_the_sync_behind_a_new_file() -> None:
    sync_dir = RealDisk.sync_dir

    def rename_sync(disk: RealDisk, source: str, target: str, done: Callable[[ScrubjayError | None], None]) -> None:
        def work() -> None:
            disk.rename(source, target)
            sync_dir(disk, target.rpartition("/")[0])

        disk.submit(work, done)

    RealDisk.rename_sync = rename_sync  # type: ignore[method-assign]
    RealDisk.sync_dir = lambda disk, path: None  # type: ignore[method-assign]


def main() -> None:
    root, acks, commits = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    how = sys.argv[4] if len(sys.argv) > 4 else ""
    if how == "unnamed-new":
        leave_out_the_sync_behind_a_new_file()
    elif how == "unnamed-old":
        RealDisk.rename_sync = lambda disk, source, target, done: disk.submit(lambda: disk.rename(source, target), done)  # type: ignore[method-assign]
    elif how:
        sys.exit(f"no such control: {how}")
    live(root, os.open(acks, os.O_WRONLY | os.O_CREAT | os.O_APPEND), commits)


if __name__ == "__main__":
    main()
