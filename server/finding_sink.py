"""Where every node of a process tells what it found, in production and in the simulator: heard at once, and kept by the control part as soon as there is one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from scrubjay.storage.control.findings import KEPT_MAX
from scrubjay.storage.service_port import Finding

Note = Callable[[Finding], None]


class FindingSink:
    """keeper: who keeps findings now (`Service.note`), None while nobody does; what is found meanwhile waits, the newest KEPT_MAX of it. heard: is told of each
    finding at once. Called in the turn of the node that found something: neither may raise."""

    def __init__(self, *, keeper: Callable[[], Note | None], heard: Note) -> None:
        self._keeper = keeper
        self._heard = heard
        self._early: deque[Finding] = deque(maxlen=KEPT_MAX)

    def __call__(self, finding: Finding) -> None:
        self._heard(finding)
        self._early.append(finding)
        self.hand_over()

    def hand_over(self) -> None:
        """There may be a keeper now: give it what waits, in the order in which it was found."""
        note = self._keeper()
        while note is not None and self._early:
            note(self._early.popleft())
