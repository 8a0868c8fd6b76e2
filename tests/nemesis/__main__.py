"""A real cluster of four processes under faults for as long as one likes, and whether what its clients saw has an order.

    python -m tests.nemesis [--minutes 10] [--seed 1] [--folder DIR] [--control] [--no-network]

Six clients write, read strongly and write on conditions, each with one request under way. Meanwhile nodes are killed, stopped, restarted, cut off one way or both, from
one other or from all, or lose a third of what they hear (network namespaces; root), one at a time or two at once, and partitions are split. In the end nothing
befalls anybody, every copy must be whole, a scrub, a verify and `status` must be good, and per key what everybody saw must be linearizable.

Exit code: 0 all is well; 2 it is not, or that could not be decided; 3 nothing befell the network, for this machine has no namespaces. --control notes
eventually consistent reads as if they were strong: it must end with 2.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from pathlib import Path

from tests.fixtures import networks
from tests.fixtures.cluster import DURABILITY, NODES
from tests.fixtures.networks import Networks
from tests.nemesis.run import run


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder")
    parser.add_argument("--control", action="store_true")
    parser.add_argument("--no-network", action="store_true")
    asked = parser.parse_args(arguments)
    lacking = "asked for" if asked.no_network else networks.why_not()
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=asked.folder)))
        spaces = None if lacking else stack.enter_context(Networks((*NODES, DURABILITY)))
        found = run(
            root,
            seed=asked.seed,
            seconds=60 * asked.minutes,
            spaces=spaces,
            weak=asked.control,
            say=lambda what: print(f"{time.monotonic() - began:7.1f} {what}", file=sys.stderr, flush=True),
        )
    print(json.dumps({"seed": asked.seed, "minutes": asked.minutes, "network": lacking or "in namespaces", **found._asdict()}))
    return 2 if not found.good else 3 if lacking else 0


if __name__ == "__main__":
    sys.exit(main())
