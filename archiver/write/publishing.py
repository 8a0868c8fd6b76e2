"""Publishing the closed timestamps of the partitions that a node leads: one `closed/` object at a time, each naming the one before it."""

from __future__ import annotations

from collections.abc import Callable

from scrubjay.archiver.format.closed import ClosedObject, encode_closed
from scrubjay.archiver.format.layout import ClosedKey, parse
from scrubjay.archiver.read.names import newest_closed
from scrubjay.archiver.write.writer import Writer
from scrubjay.base.env import Env, Future, ObjectStore, Timer
from scrubjay.base.errors import Exists
from scrubjay.base.gate import Gate
from scrubjay.base.hlc import stamp_micros
from scrubjay.base.ids import Lsn, PartitionId
from scrubjay.storage.archive_port import LogSource

SOON_S = 0.5
"""How long after it is asked for an object out of turn is published; they are at least so far apart."""


class ClosedPublisher:
    """One node's. max_offset_us: a closed timestamp further ahead of this machine's clock is kept back, readers would refuse it. told: of every object put."""

    def __init__(
        self, env: Env, store: ObjectStore, source: LogSource, writer: Writer, *, max_offset_us: int, told: Callable[[ClosedObject], None]
    ) -> None:
        self._env, self._store, self._source, self._writer = env, store, source, writer
        self._max_offset_us = max_offset_us
        self._at_us = 0
        self._known = False
        self._wake: Future[None] | None = None
        self._soon: Timer | None = None
        self._told = told
        self._gate = Gate(env.tasks)
        self.count = 0
        self.said: dict[PartitionId, Lsn] = {}
        """By partition, the newest content record that an object put in this life closes."""

    async def pause(self, seconds: float) -> None:
        """Until `seconds` have passed, or SOON_S after `soon`."""
        wake = self._wake = self._env.tasks.future()
        timer = self._env.tasks.call_later(seconds, self._end_pause)
        try:
            await wake
        finally:
            timer.cancel()

    def soon(self) -> None:
        """Publish after SOON_S, not at the end of the interval: somebody waits for a table's first proven window."""
        if self._soon is None:
            self._soon = self._env.tasks.call_later(SOON_S, self._end_pause)

    def stop(self) -> None:
        if self._soon is not None:
            self._soon.cancel()

    def _end_pause(self) -> None:
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def publish(self) -> bool:
        """Publish now. False if there is nothing to say, or the epoch is not known yet. Raises Unavailable, Fenced.

        One at a time: two that began in one microsecond would want one name, and the later one, which says more, would be the one that is dropped.
        """
        async with self._gate:
            return await self._publish()

    async def _publish(self) -> bool:
        if self._writer.state and self._writer.stopped is None:
            return False
        who = self._writer.attached
        newest = self._env.clock.wall_us() + self._max_offset_us
        points = tuple(point for point in self._source.closed_points() if stamp_micros(point.closed) <= newest)
        if not points:
            return False
        if not self._known:
            await self._find_last()
        time_us = max(self._env.clock.wall_us(), self._at_us + 1)
        made = ClosedObject(who.cluster, self._source.node, time_us, who.epoch, who.owner, points, self._at_us or None)
        data = await self._env.tasks.blocking(lambda: encode_closed(made))
        try:
            await self._store.put(made.key(), data)
        except Exists:
            self._known = False  # an answer was lost, or this name was used before: look again at the next interval
            return False
        self._at_us = time_us
        self.count += 1
        for point in points:
            self.said[point.partition] = max(self.said.get(point.partition, Lsn(0)), point.last_content)
        self._told(made)
        return True

    async def _find_last(self) -> None:
        """The newest closed object of this node from before this start: the next one names it. Raises Unavailable."""
        now_us = max(self._env.clock.wall_us(), self._at_us)
        node = self._source.node
        for name in await newest_closed(self._store, self._writer.cluster, node, now_us=now_us, ahead_us=self._max_offset_us):
            key = parse(name)
            if isinstance(key, ClosedKey):
                self._at_us = max(self._at_us, key.time_us)
        self._known = True
