"""A history noted from outside by writers of a real cluster, and everything that tells of the past held against it.

    python -m tests.witness [--seconds 40] [--seed 1] [--moments 5] [--folder DIR] [--control]

Three writers put, update, delete, batch, transact and say statements over two tables, in each item one after the other, so that what an item was at a moment is known,
or one of few. Partitions of both and of an index are split, and nodes killed. Then the tables, a stream, restores to random moments with their indexes, diffs,
histories, an export that is imported, an undo, a scrub and a verify are judged; in the end all processes are killed under writes, and what `recover` makes of the
archive is. Nothing of the product is imported: nothing here can agree with it by sharing its mistakes.

Exit code: 0 nothing is wrong; 2 something is. --control judges restores as if they were of two seconds before: it must end with 2.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from tests.witness.run import run


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--moments", type=int, default=5)
    parser.add_argument("--folder")
    parser.add_argument("--control", action="store_true")
    asked = parser.parse_args(arguments)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        found = run(
            Path(folder),
            seed=asked.seed,
            seconds=asked.seconds,
            moments=asked.moments,
            control=asked.control,
            say=lambda what: print(f"{time.monotonic() - began:7.1f} {what}", file=sys.stderr, flush=True),
        )
    print(json.dumps({"seed": asked.seed, "seconds": asked.seconds, **found._asdict(), "wrong": found.wrong[:20]}))
    return 2 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
