"""Run seeds of the simulator on every processor and note what came of them in the ledger of proof.

    make sim SEEDS=1:201 PROFILE=whole          the same as: .venv/bin/python tools/seeds.py 1:201 --profile whole --ledger docs/seeds.jsonl

The ledger has one JSON document a line: `date` (UTC), `commit` (with `+` if files were changed since), `profile`, `seeds` (first:end, half-open), `ran`, `bad` (seeds), `virtual_hours`, `events`, `faults` (by kind).
A seed whose process died counts as bad. Exit code 0: all held and noted; 1: a seed is bad, noted too; 64: wrong usage.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
CHUNK = 10
"""Seeds a process."""


def ran(profile: str, first: int, end: int) -> list[dict[str, Any]]:
    """One document a seed, as `sim run --json` has it."""
    command = [sys.executable, "-m", "scrubjay.sim", "run", "--profile", profile, "--seeds", f"{first}:{end}", "--json"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    told = {one["seed"]: one for one in map(json.loads, (line for line in done.stdout.splitlines() if line.startswith("{")))}
    died = f"the process ended with {done.returncode}"
    outcomes = [told.get(seed, {"seed": seed, "violation": died, "virtual_us": 0, "events": 0, "faults": {}}) for seed in range(first, end)]
    for one in outcomes:
        if one["violation"]:
            print(f"{profile} {one['seed']}: {one['violation'][:200]}", flush=True)
    return outcomes


def sums(profile: str, first: int, end: int, outcomes: list[dict[str, Any]]) -> dict[str, Any]:
    """A line of the ledger."""
    faults: Counter[str] = Counter()
    for one in outcomes:
        faults.update(one["faults"])
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit(),
        "profile": profile,
        "seeds": f"{first}:{end}",
        "ran": len(outcomes),
        "bad": [one["seed"] for one in outcomes if one["violation"]],
        "virtual_hours": round(sum(one["virtual_us"] for one in outcomes) / 3.6e9, 3),
        "events": sum(one["events"] for one in outcomes),
        "faults": dict(sorted(faults.items())),
    }


def commit() -> str:
    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()

    return git("rev-parse", "--short=9", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seeds", help="first:end, half-open")
    parser.add_argument("--profile", choices=["bank", "consensus", "members", "whole"], default="whole")
    parser.add_argument("--ledger", type=Path, help="append what came of it to this file")
    args = parser.parse_args()
    first, _, end = args.seeds.partition(":")
    if not (first.isdecimal() and end.isdecimal() and int(first) < int(end)):
        parser.exit(64, f"seeds are first:end, half-open, for example 1:51; found: {args.seeds}\n")
    spans = [(at, min(at + CHUNK, int(end))) for at in range(int(first), int(end), CHUNK)]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        outcomes = [one for some in pool.map(lambda span: ran(args.profile, *span), spans) for one in some]
    line = sums(args.profile, int(first), int(end), outcomes)
    print(json.dumps(line))
    if args.ledger is not None:
        with args.ledger.open("a") as ledger:
            ledger.write(json.dumps(line) + "\n")
    return 1 if line["bad"] else 0


if __name__ == "__main__":
    sys.exit(main())
