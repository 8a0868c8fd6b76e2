"""How a child process of ours is started: the same interpreter, isolated, with our own packages found where this process found them.

The folder a user starts us in, `PYTHONPATH` and the user's site-packages must not decide what a worker runs: a folder called `storage` there would be
imported in place of ours. So children run under `-I`, with the folder that holds our packages put before the site-packages; what else this process had on
its path comes last, where it can shadow nothing.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import scrubjay
from scrubjay.base.errors import Unavailable

PACKAGES_ROOT = str(Path(scrubjay.__path__[0]).resolve().parent)
"""The folder that holds `base`, `storage` and the others."""

_BETWEEN = "\x1f"
_BOOT = f"""
import runpy, sys
root, rest, module = sys.argv[1:4]
at = next((i for i, path in enumerate(sys.path) if path.endswith("site-packages")), len(sys.path))
sys.path.insert(at, root)
sys.path += [path for path in rest.split({_BETWEEN!r}) if path and path not in sys.path]
sys.argv[1:4] = []
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


def program_on_disk() -> str:
    """A name for our source as it lies there now: any file that came, went, or was written anew changes it. Milliseconds, and nothing is read."""
    named = hashlib.sha256()
    for folder, folders, files in os.walk(PROGRAM_ROOT, followlinks=True):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted(files):
            if name.endswith(".py"):
                told = os.stat(os.path.join(folder, name))  # noqa: PTH116, PTH118  (a Path for each costs as much as the rest)
                named.update(f"{folder}/{name} {told.st_size} {told.st_mtime_ns}\n".encode())
    return named.hexdigest()


PROGRAM_ROOT = str(Path(scrubjay.__path__[0]))
_OURS = program_on_disk()
"""As this process was loaded from it."""


def require_same_program() -> None:
    """Raises Unavailable if our source was exchanged while this process runs, as an upgrade in place does: a child would be of the new one, and the two would not understand each other."""
    try:
        found = program_on_disk()
    except OSError:
        found = ""  # in the middle of being exchanged
    if found != _OURS:
        raise Unavailable("the program was exchanged while it runs, and no worker of it starts until it is restarted", found=PROGRAM_ROOT)


def _started_in() -> str:
    try:
        return str(Path.cwd())
    except OSError:
        return ""  # the folder was deleted: nothing can be imported from it


def interpreter_arguments(module: str, arguments: Sequence[str] = ()) -> list[str]:
    """argv of `python -m module arguments…`, isolated. module: of ours, by its dotted name."""
    rest = _BETWEEN.join(path for path in sys.path[1:] if path not in {"", _started_in()})
    return [sys.executable, "-I", "-c", _BOOT, PACKAGES_ROOT, rest, module, *arguments]
