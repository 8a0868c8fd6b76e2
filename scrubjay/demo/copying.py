"""A copy of an archive, for damage that must not touch the original."""

from __future__ import annotations

from pathlib import Path

from scrubjay.base.real.loop import run
from scrubjay.base.real.stores import bare_store
from scrubjay.drills.damage import copy_objects


def copy_archive(url: str, folder: Path) -> int:
    """Every object below an archive's URL, byte for byte, into a folder that `file://` can read; how many."""
    return run(lambda _tasks: copy_objects(bare_store(url), folder))
