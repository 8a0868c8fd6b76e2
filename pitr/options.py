"""How a restore goes about it: what it waits for, how often it asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

POLL_S = 0.1
TRIES_MAX = 20
TRY_AGAIN_S = 0.5
PATIENCE_S = 20.0
"""So long after a first try was in vain none is begun any more."""
ARCHIVE_LAGS: Final = "ArchiveLags"
"""Code of the error when all that lacks is the archive's arrival: nothing is wrong, and nothing is proven."""


@dataclass(frozen=True, slots=True)
class RestoreOptions:
    """archive_wait_s: how long a target after `latest` waits for leaders and archive. lanes: partitions at once."""

    archive_wait_s: float = 60.0
    lanes: int = 2
