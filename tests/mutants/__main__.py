"""Tries the mutants of the catalogue: python -m tests.mutants [NAME…] [--room ROOM] [--unchecked] [--timeout SECONDS] [--list].

Exit code 0: every one was killed; 1: one survived, or its test could not be tried.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.mutants.catalogue import ROOMS, collect
from tests.mutants.runner import Bench, RunnerError


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutants", description="Change the source on purpose, one text at a time; the named test must fail."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these")
    parser.add_argument("--room", choices=ROOMS, action="append", help="only those of this room; may be repeated")
    parser.add_argument("--unchecked", action="store_true", help="do not first run each killer on the source as it is")
    parser.add_argument("--timeout", type=float, default=300.0, metavar="SECONDS", help="per run of a killer (default 300)")
    parser.add_argument("--list", action="store_true", help="name them and end")
    asked = parser.parse_args()
    mutants = collect(tuple(asked.room) if asked.room else ROOMS)
    if asked.names:
        unknown = set(asked.names) - {mutant.name for mutant in mutants}
        if unknown:
            parser.error(f"no such mutant: {', '.join(sorted(unknown))}")
        mutants = [mutant for mutant in mutants if mutant.name in asked.names]
    if asked.list:
        for mutant in mutants:
            print(f"{mutant.name:32} {mutant.file:32} {' '.join(mutant.killer) or 'equivalent: ' + mutant.note}")
        return 0
    killed = survived = untried = equivalent = 0
    slowest = (0.0, "none")
    with TemporaryDirectory(prefix="scrubjay-mutants-") as folder:
        bench = Bench(Path(folder), timeout_s=asked.timeout)
        for mutant in mutants:
            if mutant.equivalent:
                equivalent += 1
                print(f"{mutant.name:32} equivalent: {mutant.note}", flush=True)
                continue
            try:
                verdict = bench.try_one(mutant, check_green=not asked.unchecked)
            except RunnerError as error:
                untried += 1
                print(f"{mutant.name:32} NOT TRIED  {error}", flush=True)
                continue
            killed += verdict.killed
            survived += not verdict.killed
            slowest = max(slowest, (verdict.seconds, mutant.name)) if verdict.killed else slowest
            print(
                f"{mutant.name:32} {'killed' if verdict.killed else 'SURVIVED':9} {verdict.seconds:6.1f} s  {verdict.said[:160]}",
                flush=True,
            )
    print(
        f"{killed} killed, {survived} survived, {untried} not tried, {equivalent} equivalent; the slowest kill: {slowest[1]}, {slowest[0]:.1f} s"
    )
    return 1 if survived or untried else 0


if __name__ == "__main__":
    sys.exit(main())
