"""What share of planted rot is found, how soon, and what is blamed that was well: `drill run rot --faults N` on a small cluster of its own.

    .venv/bin/python -m bench.bench_rot [--faults 1000]

Kinds: segment, manifest, base and closed objects of a copy of the archive (one bit, then a verify of all of it); live values in trees (a scrub); live records in logs (recovery).
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from scrubjay.machine import pause
from scrubjay.scratch.client import create_table, put_items
from scrubjay.scratch.rehearsal import QUICK
from scrubjay.scratch.server import Server

ROWS = 300
TABLE = "drill"
WITHIN_S = 24 * 3600.0
TRIES_MAX = 120


def until(server: Server, *words: str) -> None:
    """Again until it ends with 0."""
    for _ in range(TRIES_MAX):
        if server.verb(*words)[0] == 0:
            return
        pause(0.25)
    raise SystemExit(f"scrubjay {' '.join(words)} did not end with 0 in {TRIES_MAX} tries")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=1000, help="of each kind")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="scrubjay-rot-") as scratch:
        server = Server(Path(scratch), archive=None, settings=QUICK)
        try:
            server.start()
            create_table(server.endpoint, TABLE)
            items = [{"country": {"S": f"c{n % 7}"}, "city": {"S": f"n{n}"}, "remark": {"S": f"{n:040}"}} for n in range(ROWS)]
            put_items(server.endpoint, TABLE, items)
            until(server, "restore", "run", "--table", TABLE, "--to", "with-a-base", "--latest")
            until(server, "archive", "status")
            code, report = server.verb("drill", "run", "rot", "--faults", str(arguments.faults), within_s=WITHIN_S)
        finally:
            server.stop()
    shown = ("verdict", "seconds", "planted", "detected", "rows_compared", "differences", "facts", "steps", "error")
    print(json.dumps({"exit": code, **{name: report[name] for name in shown}}, indent=2))


if __name__ == "__main__":
    main()
