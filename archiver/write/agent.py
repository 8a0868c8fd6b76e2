"""The archiving agent: one per node, for all its replicas (DESIGN section 6).

It takes the sealed segments that members agreed on, oldest first, and sees to it that each is in the archive and equal to this member's WAL, then says so
(`LogSource.announce`), whoever uploaded it. The leader's agent uploads at once; the others read back and compare what it uploaded, say so when it is bad
(`refute`: then the next generation is written), and upload themselves after a delay.

While the store is down, slow or full nothing is lost and nothing is dropped: segments stay in the WAL, the agent tries again at a growing, bounded
interval, says what is wrong in `state`, and catches up by itself. Memory: at most `parallel` segments at a time. Idle partitions cost nothing here.
Guarantees: never two different objects under one name; a manifest only after its segment; nothing at all while the epoch is unknown or another holds it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from scrubjay.archiver.format.closed import ClosedObject
from scrubjay.archiver.write.agent_state import AgentOptions, AgentState, AgentStatus, PartitionQueue, Trouble
from scrubjay.archiver.write.publishing import ClosedPublisher
from scrubjay.archiver.write.settling import Settler
from scrubjay.archiver.write.writer import Writer
from scrubjay.base.env import Env, Future, Jobs, ObjectStore, Task
from scrubjay.base.errors import Fenced, NoKey, ScrubjayError, Unavailable
from scrubjay.base.hlc import stamp_micros
from scrubjay.base.ids import PartitionId, Stamp
from scrubjay.base.steady import Changes
from scrubjay.base.times import utc_text
from scrubjay.storage.archive_port import LogSource, SealedSegment
from scrubjay.storage.replica.attest import MEMBERS_MIN


@dataclass(slots=True)
class _Work:
    """One partition with something to do. due_us: when to look again. last: highest LSN announced, at announced_us. seen: when a segment was first seen."""

    due_us: int
    running: bool = False
    again: bool = False
    last: int = 0
    announced_us: int = 0
    polls: int = 0
    seen: dict[int, int] = field(default_factory=dict)
    before: SealedSegment | None = None
    """The newest segment proven."""
    trouble: Trouble | None = None


class ArchiveAgent:
    """`start()` once the archive is attached; `stop()` before the node goes. Everything runs on the node's loop except checks and compression (jobs).

    More than 15 fields: what it was wired to, and of its work what status shows.
    """

    def __init__(
        self,
        env: Env,
        store: ObjectStore,
        source: LogSource,
        writer: Writer,
        *,
        options: AgentOptions | None = None,
        jobs: Jobs | None = None,
        log: Callable[[str, str], object] | None = None,
    ) -> None:
        """store: with retries and a pace already around it. jobs: worker processes for checks and compression; None: done inline. log(level, line)."""
        self.status_now = AgentStatus()
        self.published: Callable[[ClosedObject], None] = _nobody
        """Told of every closed object that this agent has put into the archive."""
        self.moved: Callable[[PartitionId], None] = _nobody
        """Told of every partition whose archiving its node says went on."""
        self.options = options or AgentOptions()
        self.writer = writer
        self._env = env
        self._source = source
        self._log = log
        self._settler = Settler(env, store, source, writer, options=self.options, status=self.status_now, jobs=jobs)
        self.publisher = ClosedPublisher(
            env, store, source, writer, max_offset_us=self.options.max_offset_us, told=lambda made: self.published(made)
        )
        self._work: dict[PartitionId, _Work] = {}
        self._running = 0
        self._wake: Future[None] | None = None
        self._tasks: list[Task[Any]] = []
        self._stopping = False
        self._trouble_now: Trouble | None = None
        self._closed_trouble: Trouble | None = None
        self._closed_away = False
        """It is the store that does not answer."""
        self._changes: Changes[str, Trouble] = Changes(env.clock, self._tell)
        self._pause_until_us = 0
        self._backoff_s = 0.0

    # --- life ---

    def start(self) -> None:
        """Begin to archive. Subscribes to the source."""
        self._source.subscribe(self._changed)
        for name, loop in (("dispatch", self._dispatch), ("closed", self._publish)):
            self._tasks.append(self._env.tasks.keep(loop, name=f"archive {name} {self._source.node}"))

    def stop(self) -> None:
        """Stop at the next step; nothing half-done needs cleaning up."""
        self._stopping = True
        self.publisher.stop()
        for task in self._tasks:
            task.cancel()
        self._tasks = []

    async def drain(self, timeout_s: float) -> int:
        """Wait until everything sealed here is archived, at most `timeout_s`; the raw bytes that are not. For a planned stop."""
        end = self._env.clock.boot_us() + int(timeout_s * 1e6)
        while (left := self.status().unarchived_bytes) and self.writer.stopped is None and self._env.clock.boot_us() < end:
            await self._env.tasks.sleep(0.05)
        return left

    def status(self) -> AgentStatus:
        """The present numbers, with what is unarchived counted now."""
        now, size, segments, oldest = self._env.clock.wall_us(), 0, 0, 0
        for partition in self._source.partitions():
            waiting = self._source.waiting(partition)
            size += waiting.bytes
            segments += waiting.segments
            at = stamp_micros(Stamp(waiting.oldest))
            oldest = min(oldest, at) if oldest else at
        found = self.status_now
        found.unarchived_bytes, found.unarchived_segments = size, segments
        found.lag_us = max(now - oldest, 0) if oldest else 0
        found.stopped = self.writer.stopped.reason if self.writer.stopped is not None else ""
        found.closed_published = self.publisher.count
        return found

    def state(self) -> AgentState:
        """What this agent can and cannot do now, by partition: for status, metrics and health."""
        numbers = self.status()
        now = self._env.clock.wall_us()
        queue = []
        for partition in self._source.partitions():
            waiting = self._source.waiting(partition)
            work = self._work.get(partition)
            trouble = work.trouble if work is not None else None
            table, lag_us = str(self._source.facts(partition).table), max(now - stamp_micros(Stamp(waiting.oldest)), 0)
            queue.append(PartitionQueue(table, str(partition), waiting.segments, waiting.bytes, lag_us, trouble))
        return AgentState(
            node=str(self._source.node),
            reachable=numbers.reachable,
            stopped=self.writer.state,
            fenced=self.writer.stopped is not None,
            trouble=self._worst(queue),
            unarchived_bytes=numbers.unarchived_bytes,
            lag_us=numbers.lag_us,
            failures=numbers.failures,
            queue=tuple(queue),
        )

    def _worst(self, queue: list[PartitionQueue]) -> Trouble | None:
        stopped = self.writer.stopped
        if stopped is not None:
            return Trouble(stopped.reason, stopped.since_us)
        known = [self._trouble_now, self._closed_trouble, *(one.trouble for one in queue)]
        return min((one for one in known if one is not None), key=lambda one: one.since_us, default=None)

    # --- what wakes it ---

    def _changed(self, partition: PartitionId) -> None:
        """A segment became agreed here, a member wrote a manifest or found one bad, or an ARCHIVED record was applied."""
        self.moved(partition)
        work = self._work.get(partition)
        now = self._env.clock.boot_us()
        if work is None:
            due = now if self._source.leads(partition) else now + int(self.options.compare_after_s * 1e6)
            self._work[partition] = _Work(due)
        elif work.running:
            work.again = True
        elif self._source.leads(partition) or self._source.written(partition) > work.last:
            work.due_us = now
        self._signal()

    def _signal(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def _dispatch(self) -> None:
        """Start due partitions, at most `parallel` at a time; look for forgotten ones now and then."""
        rescan_us = 0
        while not self._stopping:
            now = self._env.clock.boot_us()
            if now >= rescan_us:
                rescan_us = now + int(self.options.rescan_s * 1e6)
                self._rescan(now)
            if now >= self._pause_until_us and not self.writer.state:
                # After an error one try at a time, until one succeeds: a store in trouble is not helped by a crowd.
                free = (1 if self._backoff_s else self.options.parallel) - self._running
                due = sorted((work.due_us, partition) for partition, work in self._work.items() if work.due_us <= now and not work.running)
                for _, partition in due[: max(free, 0)]:
                    self._work[partition].running = True
                    self._running += 1
                    self._env.tasks.spawn(self._one(partition), name=f"archive partition {partition} {self._source.node}")
            await self._rest(now, rescan_us)

    async def _rest(self, now: int, rescan_us: int) -> None:
        """Sleep until the next due partition, the rescan, or a signal."""
        soonest = rescan_us
        if self._running < self.options.parallel and not self.writer.state:
            waiting = [max(work.due_us, self._pause_until_us) for work in self._work.values() if not work.running]
            soonest = min([soonest, *(at for at in waiting if at > now)])
        self._wake = self._env.tasks.future()
        timer = self._env.tasks.call_later(max(soonest - now, 1000) / 1e6, self._signal)
        try:
            await self._wake
        finally:
            timer.cancel()

    def _rescan(self, now: int) -> None:
        """Take up what no signal told of; forget partitions with nothing left to do."""
        present = self._source.partitions()
        for partition in present:
            if partition not in self._work:
                self._work[partition] = _Work(now)
        kept = dict.fromkeys(present)
        for partition in [partition for partition, work in self._work.items() if partition not in kept and not work.running]:
            del self._work[partition]
        if self._trouble_now is not None and not self._work:
            self._answered()  # what we could not archive another member did: nothing is left that we cannot do

    # --- one partition ---

    async def _one(self, partition: PartitionId) -> None:
        work = self._work[partition]
        try:
            wait_s = await self._partition(partition, work)
            work.trouble = None
            self._changes.look(self._troubles())
        except NoKey as error:
            # The store has answered, and other partitions may lie under keys that are at hand: this one waits alone.
            wait_s = self._held_up(partition, work, error)
        except Unavailable as error:
            self._unreachable(error)
            wait_s = 0.0  # the pause holds everybody back
        except Fenced:
            wait_s = self.options.backoff_cap_s  # the writer's own word says it all
        except ScrubjayError as error:
            # A fault of this segment or of this member's WAL. Others may do better; look again, not too often.
            wait_s = self._held_up(partition, work, error)
        except Exception as error:
            # A bug. It is logged as one where tasks end; here it is a trouble that lasts, and holds up no other partition.
            work.trouble = self._noted(work.trouble, f"partition {partition}: a bug: {error!r}")
            work.due_us = self._env.clock.boot_us() + int(self.options.backoff_cap_s * 1e6)
            raise
        finally:
            work.running = False
            self._running -= 1
        work.due_us = self._env.clock.boot_us() + (0 if work.again else int(wait_s * 1e6))
        work.again = False
        self._signal()

    def _held_up(self, partition: PartitionId, work: _Work, error: ScrubjayError) -> float:
        """This partition cannot go on, others can; seconds until it should be looked at again."""
        self._failed(error)
        work.trouble = self._noted(work.trouble, f"partition {partition}: {error}")
        self._changes.look(self._troubles())
        return self.options.backoff_cap_s

    async def _partition(self, partition: PartitionId, work: _Work) -> float:
        """Bring this partition forward as far as it goes; seconds until it should be looked at again."""
        now = self._env.clock.boot_us()
        segments = self._source.sealed(partition)
        for segment in segments:
            if segment.last <= work.last and self._source.refuted(partition, segment.last):
                work.last = segment.first - 1  # what was announced was found bad, here or elsewhere: see to it again
                break
        if work.last and segments and work.last >= segments[0].last and now - work.announced_us >= self.options.again_after_s * 1e6:
            work.last = 0  # announced, but no ARCHIVED came of it (the leader changed, a message was lost): say it again
        work.seen = {segment.last: work.seen.get(segment.last, now) for segment in segments if segment.last > work.last}
        for segment in segments:
            if self._stopping or self.writer.state:
                break
            if segment.last <= work.last:
                continue
            if segment.suspect or len(segment.agreed) < MEMBERS_MIN:
                return self.options.rescan_s
            age_us = self._env.clock.boot_us() - work.seen[segment.last]
            said = await self._settler.settle(segment, work.before, age_us)
            self._answered()  # and nowhere else: a partition with nothing to do asks the store nothing
            if said is None:
                work.polls += 1
                return min(self.options.compare_after_s * 2.0 ** min(work.polls, 10), self.options.backup_after_s / 3)
            work.polls = 0
            work.last, work.announced_us = segment.last, self._env.clock.boot_us()
            work.before = segment
            work.seen.pop(segment.last, None)
            self._source.announce(partition, segment.first, segment.last, said)
        return self.options.again_after_s

    # --- the store's state ---

    def _answered(self) -> None:
        self.status_now.reachable = True
        self._backoff_s = 0.0
        self._trouble_now = None
        self._changes.look(self._troubles())

    def _failed(self, error: ScrubjayError) -> None:
        self.status_now.failures += 1
        self.status_now.last_error, self.status_now.last_error_us = str(error), self._env.clock.wall_us()

    def _noted(self, before: Trouble | None, error: str) -> Trouble:
        """The trouble with its beginning."""
        return Trouble(error, self._env.clock.wall_us() if before is None else before.since_us)

    def _troubles(self) -> dict[str, Trouble]:
        """By what they are about, for people. A store that does not answer is one of them, whoever asked it."""
        found: dict[str, Trouble] = {partition: work.trouble for partition, work in self._work.items() if work.trouble is not None}
        if self._closed_trouble is not None:
            found["store" if self._closed_away else "closed timestamps"] = self._closed_trouble
        if self._trouble_now is not None:
            found["store"] = self._trouble_now
        return found

    def _tell(self, trouble: Trouble, over: bool) -> None:
        if over:
            self._say("info", f"archiving goes on; it could not since {utc_text(trouble.since_us)}: {trouble.error}")
        else:
            self._say("warning", f"cannot archive: {trouble.error}")

    def _unreachable(self, error: Unavailable) -> None:
        """The store did not answer: everybody waits, longer each time, and one then tries."""
        self._failed(error)
        self.status_now.reachable = False
        self._trouble_now = self._noted(self._trouble_now, str(error))
        self._changes.look(self._troubles())
        self._backoff_s = min(max(self._backoff_s * 2, self.options.backoff_s), self.options.backoff_cap_s)
        wait = self._env.rand.uniform(self._backoff_s / 2, self._backoff_s)
        self._pause_until_us = self._env.clock.boot_us() + int(wait * 1e6)

    def _say(self, level: str, line: str) -> None:
        if self._log is not None:
            self._log(level, f"{self._source.node}: {line}")

    # --- closed timestamps ---

    async def _publish(self) -> None:
        """One `closed/` object an interval, for all partitions led; none while none is led. A missed one is not made up for: the next says more."""
        await self.publisher.pause(self._env.rand.uniform(0.1, self.options.closed_interval_s / 2))
        while not self._stopping:
            try:
                await self.publish_closed()
                self._closed_trouble = None
            except Fenced:
                pass  # the writer's own word says it all
            except ScrubjayError as error:
                self._failed(error)
                if isinstance(error, Unavailable) and not self.writer.state:
                    self.status_now.reachable = False
                self._closed_trouble = self._noted(self._closed_trouble, f"closed timestamps: {error}")
                self._closed_away = isinstance(error, Unavailable)
            self._changes.look(self._troubles())
            await self.publisher.pause(self.options.closed_interval_s)

    def closed_soon(self) -> None:
        """Publish closed timestamps soon, not at the end of the interval: somebody waits for a table's first proven window."""
        if not self._stopping:
            self.publisher.soon()

    async def publish_closed(self) -> bool:
        """Publish now. False if there is nothing to say. Raises Unavailable, Fenced."""
        if not await self.publisher.publish():
            return False
        self.status_now.reachable = True
        return True


def _nobody(_what: object) -> None:
    """Nobody listens."""
