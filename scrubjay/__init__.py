"""The front door: command line, configuration, the admin API behind it, and the composition of the server."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

__version__ = "0.1.0"

PACKAGES = frozenset(("archiver", "base", "drills", "pitr", "scrubber", "server", "sim", "storage"))
"""Our other top-level packages: ordinary words, which somebody else's folder may be called too."""
_ROOT = str(Path(__file__).resolve().parent.parent)


class OwnPackages:
    """Finds PACKAGES beside this one, whatever the folder we were started in or PYTHONPATH holds under the same names."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        return PathFinder.find_spec(name, [_ROOT], target) if path is None and name in PACKAGES else None


if OwnPackages not in sys.meta_path:
    sys.meta_path.insert(0, OwnPackages)
