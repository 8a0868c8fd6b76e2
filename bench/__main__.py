"""`make bench`: every measurement of this folder, one process after another, with the machine it ran on.

    python -m bench [NAME ...]      names without their prefix: wal, tree, rebuild, requests

A figure without its machine and command is no figure: both are printed first. Exit 1 if one of them failed.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent


def machine() -> str:
    """CPU, cores, memory, kernel, interpreter."""
    cpu = next(
        (line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")),
        "unknown CPU",
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{cpu}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.release()}, Python {platform.python_version()}"


def main() -> int:
    """Run what was asked for, or everything."""
    names = {path.stem.removeprefix("bench_"): path.stem for path in sorted(FOLDER.glob("bench_*.py"))}
    wanted = sys.argv[1:] or list(names)
    unknown = [name for name in wanted if name not in names]
    if unknown:
        print(f"no such measurement: {', '.join(unknown)}; there are {', '.join(names)}", file=sys.stderr)
        return 64
    print(machine(), flush=True)
    failed = []
    for name in wanted:
        print(f"\n== python -m bench.{names[name]}", flush=True)
        if subprocess.run([sys.executable, "-m", f"bench.{names[name]}"], cwd=FOLDER.parent, check=False).returncode != 0:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
