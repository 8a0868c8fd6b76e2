"""A scripted life of one tree in the write worker's own role: `python -m tests.crash.tree_life FOLDER ACKS ROWS [unsynced]`.

FOLDER: the node's folder. ACKS: file that gets one byte per step once its answer is there. ROWS: a row file as `write_rows` makes it.
unsynced: the negative control, every tree is opened without LMDB's syncs.
"""

from __future__ import annotations

import os
import random
import sys
from functools import partial
from pathlib import Path
from typing import NamedTuple

from scrubjay.base.ids import Lsn, Stamp
from scrubjay.storage.btree import worker, worker_wire
from scrubjay.storage.btree.engine import Row
from scrubjay.storage.btree.lmdb_tree import OPENING, TreeWriter
from scrubjay.storage.btree.rowfile import RowFileWriter
from tests.unit.btree.engines import P

LOADED_ROWS = 260
LOADED_AT = 1000
Contents = dict[bytes, Row]


class Step(NamedTuple):
    """request: what the worker is asked. applied, rows: what the tree holds once it has answered."""

    request: worker_wire.Request
    applied: int
    rows: Contents


def key(n: int) -> bytes:
    return n.to_bytes(16, "big") + b"k"


def loaded() -> list[Row]:
    return [Row(key(n * 3), Lsn(0), Stamp(0), b"loaded %d " % n * 20) for n in range(LOADED_ROWS)]


def write_rows(path: Path) -> None:
    with path.open("wb") as file:
        writer = RowFileWriter(lambda data: (file.write(data), None)[1])
        for row in loaded():
            writer.add(row.key, row.lsn, row.stamp, row.item)
        writer.finish()


def checkpoint(id_: int, before: Step, changes: dict[int, bytes | None], applied: int) -> Step:
    """A checkpoint of `changes` on top of `before`."""
    stamp = applied * 10
    rows = dict(before.rows)
    listed: list[tuple[bytes, int, int, bytes | None]] = []
    for n in sorted(changes):
        item = changes[n]
        listed.append((key(n), applied, stamp, item))
        if item is None:
            rows.pop(key(n), None)
        else:
            rows[key(n)] = Row(key(n), Lsn(applied), Stamp(stamp), item)
    return Step(worker_wire.Checkpoint(id_, P, before.applied, applied, stamp, b"extra %d" % applied, listed), applied, rows)


def life(rows: str) -> list[Step]:
    """Creates, grows by checkpoints of one row to hundreds, shrinks, opens again, is loaded anew in place, and goes on."""
    rand = random.Random(7)
    steps = [Step(worker_wire.Build(1, P, None, 0, 0, b"", False), 0, {})]

    def more(changes: dict[int, bytes | None]) -> None:
        last = steps[-1]
        steps.append(checkpoint(len(steps) + 1, last, changes, last.applied + 1))

    def again() -> None:
        steps.append(steps[-1]._replace(request=worker_wire.Open(len(steps) + 1, P)))

    more({5: b"one"})
    more({n: b"%d " % n * 20 for n in range(40)})
    more({n: b"large %d " % n * 900 for n in (3, 50)})
    more({n: b"wide %d " % n * 15 for n in range(0, 600, 2)})
    again()
    more(dict.fromkeys(range(0, 200, 3)))
    more({n: b"new %d " % n * rand.randrange(1, 60) for n in rand.sample(range(600), 30)})
    more({3: None, 50: b"small"})
    build = worker_wire.Build(len(steps) + 1, P, rows, LOADED_AT, LOADED_AT, b"loaded", True)
    steps.append(Step(build, LOADED_AT, {row.key: row for row in loaded()}))
    more({n: b"after %d " % n * 10 for n in rand.sample(range(800), 60)})
    again()
    for _ in range(4):
        chosen = rand.sample(range(800), rand.choice((1, 8, 40)))
        more({n: rand.choice((None, b"item %d " % n * rand.randrange(1, 80))) for n in chosen})
    more(dict.fromkeys(range(800)))
    more({n: b"last %d" % n for n in range(10)})
    return steps


def ask(role: worker.WriteRole, root: Path, request: worker_wire.Request) -> worker_wire.Answer:
    """As the engine does: the marker goes when the answer is there."""
    answer = role.answer(request)
    if isinstance(request, worker_wire.Open):
        (worker.replica_folder(root, P) / OPENING).unlink(missing_ok=True)
    return answer


def main() -> None:
    root, acks, rows = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    if sys.argv[4:] == ["unsynced"]:
        worker.TreeWriter = partial(TreeWriter, sync=False)  # type: ignore[assignment,misc]  # a caller's own sync= still wins
    role = worker.WriteRole(root)
    descriptor = os.open(acks, os.O_WRONLY | os.O_CREAT)
    for step in life(rows):
        answer = ask(role, root, step.request)
        if answer.error:
            sys.exit(f"{step.request}: {answer.error} {answer.message} {answer.fields}")
        os.write(descriptor, b".")


if __name__ == "__main__":
    main()
