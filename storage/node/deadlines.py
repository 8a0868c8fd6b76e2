"""The heap of due times of a node's replicas: one timer for all."""

from __future__ import annotations

import heapq
from collections.abc import Callable

from scrubjay.base.env import Env, Timer
from scrubjay.base.ids import PartitionId

PAUSE_MIN_US = 1_000


class Deadlines:
    """fire(partitions, now_us): what is due; each is out of the heap then and armed anew by whoever is asked. Times in microseconds of the boot clock."""

    def __init__(self, env: Env, fire: Callable[[list[PartitionId], int], None]) -> None:
        self._env, self._due_now = env, fire
        self._heap: list[tuple[int, int, PartitionId]] = []
        self._sequence = 0
        self._armed: dict[PartitionId, int] = {}
        self._timer: Timer | None = None
        self._timer_at = 0
        self._stopped = False

    def arm(self, partition: PartitionId, at: int | None, *, not_before: int = 0) -> None:
        """Wake `partition` at `at` (None: nothing is due), unless it is woken before. not_before: what could not be done just now is not tried again at once."""
        if at is None:
            return
        at = max(at, not_before, self._env.clock.boot_us() + PAUSE_MIN_US)
        armed = self._armed.get(partition)
        if armed is None or at < armed:
            self._armed[partition] = at
            self._sequence += 1
            heapq.heappush(self._heap, (at, self._sequence, partition))
            self._set_timer()

    def forget(self, partition: PartitionId) -> None:
        self._armed.pop(partition, None)

    def stop(self) -> None:
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self) -> None:
        if not self._heap or self._stopped:
            return
        at = self._heap[0][0]
        if self._timer is not None:
            if self._timer_at <= at:
                return
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._env.tasks.call_later(max(0, at - self._env.clock.boot_us()) / 1e6, self._fire)

    def _fire(self) -> None:
        self._timer = None
        if self._stopped:
            return
        now_us = self._env.clock.boot_us()
        due: dict[PartitionId, None] = {}
        while self._heap and self._heap[0][0] <= now_us:
            at, _, partition = heapq.heappop(self._heap)
            if self._armed.get(partition) == at:
                del self._armed[partition]
                due[partition] = None
        self._due_now(list(due), now_us)
        self._set_timer()
