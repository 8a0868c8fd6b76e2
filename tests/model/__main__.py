"""Compare the API in this process with the model, for as long as is wanted: python -m tests.model --sequences 100000 --seed 1"""

from __future__ import annotations

import argparse
import sys

from tests.model import differ
from tests.model.in_process import InProcess


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sequences", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0, help="of the first sequence")
    parser.add_argument("--stated", type=float, default=0.0, help="how many of the operations that can be are said in PartiQL, 0 to 1")
    arguments = parser.parse_args()
    outcomes, failure = differ.run(InProcess(), range(arguments.seed, arguments.seed + arguments.sequences), stated=arguments.stated)
    for outcome, count in sorted(outcomes.items()):
        print(f"{count:8} {outcome}")
    if failure is not None:
        print(failure.text, file=sys.stderr)
    return failure is not None


if __name__ == "__main__":
    sys.exit(main())
