"""`python -m scrubjay.sim`: run seeds, replay one, hunt planted bugs.

    python -m scrubjay.sim run --seed 7 --profile consensus --trace     one seed, every event shown
    python -m scrubjay.sim run --seeds 1:200                            many seeds; prints a line each and the sums
    python -m scrubjay.sim mutants                                      which seed kills each planted bug

Exit code 0: all held; 1: a violation, or a mutant survived; 64: wrong usage.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any, NoReturn, Protocol

from scrubjay.sim.consensus_run import ConsensusRun
from scrubjay.sim.members_run import MembersRun
from scrubjay.sim.mutants import CONSENSUS, MEMBERS, hunt
from scrubjay.sim.whole.bank import Bank
from scrubjay.sim.whole.mutants import WHOLE, hunt_whole
from scrubjay.sim.whole.run import WholeRun


class RunOutcome(Protocol):
    """What a profile reports of a seed."""

    seed: int
    violation: str
    digest: str
    virtual_us: int
    events: int
    faults: dict[str, int]


def _consensus(seed: int, seconds: int, show: Callable[[str], object] | None) -> RunOutcome:
    return ConsensusRun(seed, seconds=seconds, show=show).run()


def _whole(seed: int, seconds: int, show: Callable[[str], object] | None) -> RunOutcome:
    return WholeRun(seed, seconds=seconds, show=show).run()


def _bank(seed: int, seconds: int, show: Callable[[str], object] | None) -> RunOutcome:
    return Bank(seed, seconds=seconds, show=show).outcome()


def _members(seed: int, seconds: int, show: Callable[[str], object] | None) -> RunOutcome:
    return MembersRun(seed, seconds=seconds, show=show).run()


PROFILES: dict[str, Callable[[int, int, Callable[[str], object] | None], RunOutcome]] = {
    "bank": _bank,
    "consensus": _consensus,
    "members": _members,
    "whole": _whole,
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_help(sys.stderr)
        self.exit(64, f"\n{self.prog}: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m scrubjay.sim", description="The simulated world.")
    verbs = parser.add_subparsers(dest="verb", required=True, parser_class=_Parser)
    run = verbs.add_parser("run", help="run one seed or a range of seeds")
    run.add_argument("--seed", type=int, help="one seed")
    run.add_argument("--seeds", help="first:end, half-open")
    run.add_argument("--profile", choices=sorted(PROFILES), default="consensus")
    run.add_argument("--seconds", type=int, default=20, help="virtual seconds with faults on")
    run.add_argument("--trace", action="store_true", help="show every event")
    run.add_argument("--json", action="store_true", help="one JSON document a seed")
    mutants = verbs.add_parser("mutants", help="plant each bug and look for the seed that notices")
    mutants.add_argument("--seeds", default="1:200", help="first:end, half-open")
    mutants.add_argument("--name", help="only this one")
    return parser


def _range(text: str) -> range:
    first, _, end = text.partition(":")
    return range(int(first), int(end))


def _run(args: argparse.Namespace) -> int:
    seeds = range(args.seed, args.seed + 1) if args.seed is not None else _range(args.seeds or "1:51")
    bad, events, virtual, faults = 0, 0, 0, dict[str, int]()
    for seed in seeds:
        outcome = PROFILES[args.profile](seed, args.seconds, print if args.trace else None)
        bad += bool(outcome.violation)
        events += outcome.events
        virtual += outcome.virtual_us
        for name, count in outcome.faults.items():
            faults[name] = faults.get(name, 0) + count
        _report(args, outcome)
    if len(seeds) > 1:
        print(f"{len(seeds)} seeds, {bad} bad, {virtual / 3.6e9:.2f} virtual hours, {events} events, faults {dict(sorted(faults.items()))}")
    return 1 if bad else 0


def _report(args: argparse.Namespace, outcome: RunOutcome) -> None:
    if args.json:
        facts: dict[str, Any] = {name: getattr(outcome, name) for name in ("seed", "violation", "digest", "virtual_us", "events", "faults")}
        print(json.dumps(facts, sort_keys=True))
    else:
        print(f"seed {outcome.seed} {outcome.violation or 'ok'} trace {outcome.digest} events {outcome.events}")
    if outcome.violation:
        print(
            f"replay: python -m scrubjay.sim run --profile {args.profile} --seed {outcome.seed} --seconds {args.seconds} --trace",
            file=sys.stderr,
        )


def _mutants(args: argparse.Namespace) -> int:
    survived = 0
    for mutant in (*CONSENSUS, *MEMBERS, *WHOLE):
        if args.name not in {None, mutant.name}:
            continue
        result, tried = (hunt_whole if mutant.profile == "whole" else hunt)(mutant, _range(args.seeds))
        if result is None:
            survived += 1
            print(f"{mutant.name:24} SURVIVED {tried} seeds  ({mutant.rule})", flush=True)
        else:
            print(f"{mutant.name:24} killed by seed {result.seed}: {result.violation[:100]}", flush=True)
    return 1 if survived else 0


def main(arguments: list[str] | None = None) -> int:
    args = _parser().parse_args(arguments)
    return _run(args) if args.verb == "run" else _mutants(args)


if __name__ == "__main__":
    sys.exit(main())
