"""How far the scrub of one partition is: its phase, and the bytes it has read."""

from __future__ import annotations

from collections.abc import Callable

Tell = Callable[[str, int], None]
"""(phase, bytes read of this partition so far: of the copies that are scanned, and of the log that the reference is rebuilt from)."""


class Meter:
    """Sums the bytes of every source over every pass; tells of each change."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._phase = ""
        self._pass = 0
        self._read: dict[tuple[int, str], int] = {}
        """Bytes by pass and source."""

    def begin_pass(self) -> None:
        self._pass += 1

    def phase(self, phase: str) -> None:
        self._phase = phase
        self._tell(phase, sum(self._read.values()))

    def moved(self, source: str, bytes_: int) -> None:
        """So much of a source is read in this pass."""
        self._read[self._pass, source] = bytes_
        self.phase(self._phase)
