"""A node in little for kill tests: `python -m tests.crash.tree_node FOLDER` checkpoints without end and prints each LSN once it is committed."""

from __future__ import annotations

import sys
from pathlib import Path

from scrubjay.base.errors import Missing
from scrubjay.base.ids import Lsn, Stamp
from scrubjay.storage.btree.engine import Change, TreeState
from tests.unit.btree.engines import Bench, P

WIDTH = 60


def key(n: int) -> bytes:
    return n.to_bytes(16, "big") + b"k"


def changes(lsn: int) -> list[Change]:
    """What checkpoint `lsn` writes."""
    return [Change(key(n), Lsn(lsn), Stamp(lsn), b"%d " % lsn * 40) for n in sorted((lsn * 37 + at * 11) % 500 for at in range(WIDTH))]


def main() -> None:
    bench = Bench(Path(sys.argv[1]))
    try:
        tree = bench.run(bench.engine.open, P)
    except Missing:
        tree = bench.run(bench.engine.create, P)
    lsn = tree.state.applied
    print(f"at {lsn}", flush=True)
    while True:
        lsn += 1
        bench.run(tree.checkpoint, changes(lsn), TreeState(Lsn(lsn), Stamp(lsn), b""))
        print(lsn, flush=True)


if __name__ == "__main__":
    main()
