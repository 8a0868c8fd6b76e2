"""What share of planted rot is found, how soon, and what is blamed that was well: `drill run rot --faults N` on a small cluster of its own.

    .venv/bin/python -m bench.bench_rot [--faults 1000]

Kinds: segment, manifest, base and closed objects of a copy of the archive (one bit, then a verify of all of it); live values in trees (a scrub); live records in logs (recovery).
A line a kind; exit 0 if every fault was found and nothing was blamed that was well. With --json the drill's report instead.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scrubjay.machine import monotonic_s, pause
from scrubjay.scratch.client import create_table, put_items
from scrubjay.scratch.rehearsal import QUICK
from scrubjay.scratch.server import Server

ROWS = 300
TABLE = "drill"
WITHIN_S = 24 * 3600.0
TRIES_MAX = 120
LOCALS = ("tree", "log")
"""Kinds of the scratch cluster; all others are objects."""


def until(server: Server, *words: str) -> None:
    """Again until it ends with 0."""
    for _ in range(TRIES_MAX):
        if server.verb(*words)[0] == 0:
            return
        pause(0.25)
    raise SystemExit(f"scrubjay {' '.join(words)} did not end with 0 in {TRIES_MAX} tries")


def lines(report: dict[str, Any], took_s: float) -> Iterator[str]:
    """The figures of a report, for people."""
    facts = report["facts"]
    yield f"{'kind':<10}{'planted':>9}{'found':>8}{'rate':>10}{'false alarms':>15}{'seconds until found':>22}"
    rows = [(kind, of["planted"], of["detected"], "", f"at most {facts['found_seconds'][kind]}") for kind, of in facts["found_of"].items()]
    for kind in LOCALS:
        if f"{kind}_faults" in facts:
            found = (facts[f"{kind}_found"], facts[f"{kind}_false_alarms"], f"{facts[f'{kind}_found_seconds']} (mean)")
            rows.append((kind, facts[f"{kind}_faults"], *found))
    for kind, planted, detected, alarms, seconds in rows:
        yield f"{kind:<10}{planted:>9}{detected:>8}{100 * detected / planted:>9.2f}%{alarms!s:>15}{seconds:>22}"
    yield f"false alarms in the copy of the archive, over all of its verifies: {facts['false_alarms']}"
    for one in facts.get("tree_healed_later", ()):
        yield f"found by one scrub and healed by a later one: {one}"
    for kind in facts["not_there"]:
        yield f"no {kind} was there to rot"
    for difference in report["differences"]:
        yield f"NOT AS IT MUST BE: {difference}"
    if report["error"]:
        yield f"error: {report['error']['message']}"
    yield f"{report['verdict']}: {report['detected']} of {report['planted']} found; {took_s:.0f} s in all, of which the drill {report['seconds']:.0f} s"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=1000, help="of each kind")
    parser.add_argument("--json", action="store_true", help="the drill's report")
    arguments = parser.parse_args()
    began = monotonic_s()
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
    if arguments.json:
        print(json.dumps(report, indent=2))
    else:
        print("\n".join(lines(report, monotonic_s() - began)))
    return code


if __name__ == "__main__":
    raise SystemExit(main())
