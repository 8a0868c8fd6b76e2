"""What share of planted rot is found, how soon, and what is blamed that was well: `drill run rot --faults N` on a small cluster of its own.

    .venv/bin/python -m bench.bench_rot [--faults 1000] [--piece N --state FILE]

In pieces: drill after drill of N faults of each kind, each of a seed of its own, until there are --faults of them. What each found is added to FILE, so a run that was cut off (by a time limit, a
reboot) is called again and goes on behind the last whole piece; only that one is lost.

Kinds: segment, manifest, base and closed objects of a copy of the archive (one bit, then a verify of all of it); live values in trees (a scrub); live records in logs (recovery).
A line a kind; exit 0 if every fault was found and nothing was blamed that was well. With --json the drill's report instead.
"""

from __future__ import annotations

import argparse
import json
import sys
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


def together(reports: list[dict[str, Any]]) -> dict[str, Any]:
    """One report of several drills: counts added, the longest time of objects, the mean of local ones over all faults, every difference."""
    each = [report["facts"] for report in reports]
    kinds = sorted({kind for facts in each for kind in facts["found_of"]})
    facts: dict[str, Any] = {
        "found_of": {
            kind: {what: sum(of["found_of"].get(kind, {}).get(what, 0) for of in each) for what in ("planted", "detected")}
            for kind in kinds
        },
        "found_seconds": {kind: max(of["found_seconds"].get(kind, 0.0) for of in each) for kind in kinds},
        "false_alarms": sum(of["false_alarms"] for of in each),
        "tree_healed_later": [one for of in each for one in of.get("tree_healed_later", ())],
        "not_there": sorted({kind for of in each for kind in of["not_there"]}),
    }
    for kind in LOCALS:
        those = [of for of in each if f"{kind}_faults" in of]
        if those:
            for what in ("faults", "found", "false_alarms"):
                facts[f"{kind}_{what}"] = sum(of[f"{kind}_{what}"] for of in those)
            spent = sum(of[f"{kind}_found_seconds"] * of[f"{kind}_faults"] for of in those)
            facts[f"{kind}_found_seconds"] = round(spent / facts[f"{kind}_faults"], 3)
    return {
        "facts": facts,
        "differences": [one for report in reports for one in report["differences"]],
        "error": next((report["error"] for report in reports if report["error"]), None),
        "verdict": max((report["verdict"] for report in reports), key=("match", "unverified", "mismatch").index),
        **{what: sum(report[what] for report in reports) for what in ("planted", "detected", "seconds")},
    }


class Pieces:
    """The reports of a run in pieces, in a file. Raises SystemExit where the file is of a run of another size."""

    def __init__(self, path: Path | None, *, piece: int) -> None:
        self._path, self.piece = path, piece
        self.reports: list[dict[str, Any]] = []
        if path is not None and path.exists():
            known = json.loads(path.read_text())
            if known["piece"] != piece:
                raise SystemExit(f"{path} is of a run in pieces of {known['piece']}, not {piece}: name another file, or go on with those")
            self.reports = known["reports"]

    @property
    def done(self) -> int:
        """Faults of each kind so far."""
        return len(self.reports) * self.piece

    def add(self, report: dict[str, Any]) -> None:
        self.reports.append(report)
        if self._path is not None:
            beside = self._path.with_name(self._path.name + ".new")
            beside.write_text(json.dumps({"piece": self.piece, "reports": self.reports}))
            beside.replace(self._path)


def drilled(pieces: Pieces, *, faults: int) -> None:
    """Those that are left, on one cluster."""
    with tempfile.TemporaryDirectory(prefix="scrubjay-rot-") as scratch:
        server = Server(Path(scratch), archive=None, settings=QUICK)
        try:
            server.start()
            create_table(server.endpoint, TABLE)
            items = [{"country": {"S": f"c{n % 7}"}, "city": {"S": f"n{n}"}, "remark": {"S": f"{n:040}"}} for n in range(ROWS)]
            put_items(server.endpoint, TABLE, items)
            until(server, "restore", "run", "--table", TABLE, "--to", "with-a-base", "--latest")
            until(server, "archive", "status")
            while pieces.done < faults:
                seed = str(len(pieces.reports) + 1)
                code, report = server.verb("drill", "run", "rot", "--faults", str(pieces.piece), "--seed", seed, within_s=WITHIN_S)
                if report.get("error") is not None or "facts" not in report:
                    raise SystemExit(f"piece {seed} ended with {code}: {report.get('error')}")
                pieces.add(report)
                print(f"piece {seed}: {report['verdict']}, {pieces.done} of {faults} of each kind", file=sys.stderr, flush=True)
        finally:
            server.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=1000, help="of each kind")
    parser.add_argument("--piece", type=int, metavar="N", help="of each kind in one drill; default: all")
    parser.add_argument("--state", type=Path, metavar="FILE", help="what was found so far: go on there")
    parser.add_argument("--json", action="store_true", help="the drill's report")
    arguments = parser.parse_args()
    piece = arguments.piece or arguments.faults
    pieces = Pieces(arguments.state, piece=piece)
    began = monotonic_s()
    if pieces.done < arguments.faults:
        drilled(pieces, faults=arguments.faults)
    report = together(pieces.reports)
    print(json.dumps(report, indent=2) if arguments.json else "\n".join(lines(report, monotonic_s() - began)))
    return 0 if report["verdict"] == "match" else 2


if __name__ == "__main__":
    raise SystemExit(main())
