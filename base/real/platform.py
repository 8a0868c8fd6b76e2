"""What the operating system must offer. Only Linux is supported: syncs, locks and the death of children are built on its calls."""

from __future__ import annotations

import ctypes
import os
import sys

from scrubjay.base.errors import Unsafe

NEEDED = ("fdatasync", "fsync", "pread", "pwritev")


def usable_cores() -> int:
    """Processor cores that this process may run on: those of the machine, or fewer where it was given fewer (a container, `taskset`)."""
    return len(os.sched_getaffinity(0))


def check_platform() -> None:
    """Raise Unsafe if this system lacks what keeps a promise made here. Called before a data folder is touched."""
    missing = [] if sys.platform == "linux" else [f"this is {sys.platform}"]
    missing += [f"no {name}" for name in NEEDED if not hasattr(os, name)]
    try:
        _ = ctypes.CDLL(None).prctl
    except (OSError, AttributeError):
        missing.append("no prctl")
    if missing:
        raise Unsafe(
            "only Linux is supported",
            asked="to serve from this machine",
            found=", ".join(missing),
            next="run it on Linux, or in a Linux container (docker-compose.yml)",
        )
