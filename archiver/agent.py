"""The archiving agent: one per node, for all its replicas (DESIGN section 6).

It takes the sealed segments that members agreed on, oldest first, and sees to it that each is in the archive and equal to this member's WAL, then says so
(`LogSource.announce`), whoever uploaded it. The leader's agent uploads at once; the others compare what it uploaded, and upload themselves after a delay.

While the store is down, slow or full nothing is lost and nothing is dropped: segments stay in the WAL, the agent tries again at a growing, bounded
interval, says what is wrong in `status`, and catches up by itself. Memory: at most `parallel` segments at a time. Idle partitions cost nothing here.
Guarantees: never two different objects under one name; a manifest only after its segment; nothing at all once a newer epoch is there (Fenced).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from archiver.closed import ClosedObject, encode_closed, newest_closed
from archiver.identity import Writer, check_epoch
from archiver.layout import ClosedKey, parse
from archiver.outgoing import Outgoing, from_job, prepare, request
from archiver.placing import Placer
from base.env import Env, Future, Jobs, ObjectStore, Task, Timer
from base.errors import Corrupt, Exists, Fenced, Missing, ScrubjayError, Unavailable
from base.hlc import stamp_micros
from base.ids import PartitionId
from storage import chain as chains
from storage.archive_port import LogSource, SealedSegment

PREPARE_JOB = "archiver.outgoing:prepare_job"
CLOSED_SOON_S = 0.5
"""How long after it is asked for a `closed/` object out of turn is published; they are at least so far apart."""


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """parallel: segments in memory at a time. compare_after_s: how soon a member that does not lead looks for what the leader uploaded.
    backup_after_s: when it uploads itself. closed_interval_s: between two `closed/` objects. again_after_s: when an announcement without effect is repeated.
    backoff_s, backoff_cap_s: between tries while the store does not answer. check_s: between two looks at epoch and identity."""

    parallel: int = 3
    compare_after_s: float = 0.7
    backup_after_s: float = 15.0
    again_after_s: float = 10.0
    rescan_s: float = 2.0
    backoff_s: float = 0.5
    backoff_cap_s: float = 10.0
    closed_interval_s: float = 10.0
    check_s: float = 30.0


@dataclass(slots=True)
class AgentStatus:
    """reachable: the latest call to the store was answered. stopped: why this agent writes no more (Fenced), "" if it does.

    unarchived_bytes: raw bytes of sealed segments that are not archived yet; lag_us: age of the oldest of them. placed: segments found or made good in the
    archive by this agent; closed_published: `closed/` objects; failures: tries that ended in an error.
    """

    reachable: bool = True
    last_error: str | None = None
    last_error_us: int = 0
    stopped: str = ""
    unarchived_bytes: int = 0
    unarchived_segments: int = 0
    lag_us: int = 0
    placed: int = 0
    compared: int = 0
    closed_published: int = 0
    failures: int = 0


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


class ArchiveAgent:
    """`start()` once the archive is attached; `stop()` before the node goes. Everything runs on the node's loop except checks and compression (jobs)."""

    def __init__(
        self,
        env: Env,
        store: ObjectStore,
        source: LogSource,
        writer: Writer,
        *,
        options: AgentOptions | None = None,
        jobs: Jobs | None = None,
    ) -> None:
        """store: with retries and a pace already around it. jobs: worker processes for checks and compression; None: done inline."""
        self.status_now = AgentStatus()
        self.published: Callable[[ClosedObject], None] = _nobody
        """Told of every closed object that this agent has put into the archive."""
        self.options = options or AgentOptions()
        self.writer = writer
        self._env = env
        self._store = store
        self._source = source
        self._jobs = jobs
        self._placer = Placer(store, env, writer=writer, node=source.node, note=self._on_bad_object)
        self._work: dict[PartitionId, _Work] = {}
        self._running = 0
        self._wake: Future[None] | None = None
        self._tasks: list[Task[Any]] = []
        self._stopping = False
        self._blocked = ""
        self._pause_until_us = 0
        self._backoff_s = 0.0
        self._closed_at_us = 0
        self._closed_known = False
        self._closed_wake: Future[None] | None = None
        self._closed_timer: Timer | None = None

    # --- life ---

    def start(self) -> None:
        """Begin to archive. Subscribes to the source."""
        self._source.subscribe(self._changed)
        for name, loop in (("dispatch", self._dispatch()), ("closed", self._publish()), ("epoch", self._watch())):
            self._tasks.append(self._spawn(loop, name))

    def _spawn(self, coro: Coroutine[Any, Any, None], name: str) -> Task[None]:
        return self._env.tasks.spawn(coro, name=f"archive {name} {self._source.node}")

    def stop(self) -> None:
        """Stop at the next step; nothing half-done needs cleaning up."""
        self._stopping = True
        if self._closed_timer is not None:
            self._closed_timer.cancel()
        for task in self._tasks:
            task.cancel()
        self._tasks = []

    async def drain(self, timeout_s: float) -> int:
        """Wait until everything sealed here is archived, at most `timeout_s`; the raw bytes that are not. For a planned stop."""
        end = self._env.clock.boot_us() + int(timeout_s * 1e6)
        while (left := self.status().unarchived_bytes) and not self.status_now.stopped and self._env.clock.boot_us() < end:
            await self._env.tasks.sleep(0.05)
        return left

    def status(self) -> AgentStatus:
        """The present state, with what is unarchived counted now."""
        now, size, segments, oldest = self._env.clock.wall_us(), 0, 0, 0
        for partition in self._source.partitions():
            for segment in self._source.sealed(partition):
                size += segment.raw_size
                segments += 1
                at = stamp_micros(segment.first_stamp)
                oldest = min(oldest, at) if oldest else at
        found = self.status_now
        found.unarchived_bytes, found.unarchived_segments = size, segments
        found.lag_us = max(now - oldest, 0) if oldest else 0
        return found

    # --- what wakes it ---

    def _changed(self, partition: PartitionId) -> None:
        """A segment became agreed here, or an ARCHIVED record was applied."""
        work = self._work.get(partition)
        now = self._env.clock.boot_us()
        if work is None:
            due = now if self._source.leads(partition) else now + int(self.options.compare_after_s * 1e6)
            self._work[partition] = _Work(due)
        elif work.running:
            work.again = True
        elif self._source.leads(partition):
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
            if now >= self._pause_until_us and not self.status_now.stopped and not self._blocked:
                # After an error one try at a time, until one succeeds: a store in trouble is not helped by a crowd.
                free = (1 if self._backoff_s else self.options.parallel) - self._running
                due = sorted((work.due_us, partition) for partition, work in self._work.items() if work.due_us <= now and not work.running)
                for _, partition in due[: max(free, 0)]:
                    self._work[partition].running = True
                    self._running += 1
                    self._spawn(self._one(partition), f"partition {partition}")
            await self._rest(now, rescan_us)

    async def _rest(self, now: int, rescan_us: int) -> None:
        """Sleep until the next due partition, the rescan, or a signal."""
        soonest = rescan_us
        if self._running < self.options.parallel:
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

    # --- one partition ---

    async def _one(self, partition: PartitionId) -> None:
        work = self._work[partition]
        try:
            wait_s = await self._partition(partition, work)
            self._answered()
        except Unavailable as error:
            self._trouble(error)
            wait_s = 0.0  # the pause holds everybody back
        except ScrubjayError as error:
            # A fault of this segment or of this member's WAL. Others may do better; look again, not too often.
            self._failed(error)
            wait_s = self.options.backoff_cap_s
        finally:
            work.running = False
            self._running -= 1
        work.due_us = self._env.clock.boot_us() + (0 if work.again else int(wait_s * 1e6))
        work.again = False
        self._signal()

    async def _partition(self, partition: PartitionId, work: _Work) -> float:
        """Bring this partition forward as far as it goes; seconds until it should be looked at again."""
        now = self._env.clock.boot_us()
        segments = self._source.sealed(partition)
        if work.last and segments and work.last >= segments[0].last and now - work.announced_us >= self.options.again_after_s * 1e6:
            work.last = 0  # announced, but no ARCHIVED came of it (the leader changed, a message was lost): say it again
        work.seen = {segment.last: work.seen.get(segment.last, now) for segment in segments if segment.last > work.last}
        for segment in segments:
            if self._stopping or self.status_now.stopped:
                break
            if segment.last <= work.last:
                continue
            if segment.suspect or len(segment.agreed) < 2:
                return self.options.rescan_s
            age_us = self._env.clock.boot_us() - work.seen[segment.last]
            if not await self._settle(segment, work, age_us):
                work.polls += 1
                return min(self.options.compare_after_s * 2.0 ** min(work.polls, 10), self.options.backup_after_s / 3)
            work.polls = 0
            work.last, work.announced_us = segment.last, self._env.clock.boot_us()
            work.before = segment
            work.seen.pop(segment.last, None)
            self._source.announce(partition, segment.first, segment.last, segment.raw_sha256)
            self._answered()
        return self.options.again_after_s

    async def _settle(self, segment: SealedSegment, work: _Work, age_us: int) -> bool:
        """See to it that the segment is archived and equal to ours. False: somebody else's turn still."""
        leads = self._source.leads(segment.partition)
        raw: bytes | None = None
        if not leads:
            raw = self._source.read_raw(segment.partition, segment.first, segment.last)
            if await self._placer.compare(segment, raw):
                self.status_now.compared += 1
                return True
            if age_us < self.options.backup_after_s * 1e6:
                return False
        self._check_follows(segment, work)
        # A leader that has just archived what comes before knows that nobody else writes here; everybody else looks first.
        rival = None if leads and work.before is not None else await self._placer.rival(segment)
        if rival is not None:
            detail = f"{rival}: another history of the same LSNs is archived"
            self._source.differs(segment.partition, detail)
            raise Corrupt(detail, what="manifest", where=rival, lsn=segment.first)
        raw = raw if raw is not None else self._source.read_raw(segment.partition, segment.first, segment.last)
        await self._place(segment, raw, work)
        return True

    def _check_follows(self, segment: SealedSegment, work: _Work) -> None:
        """Raises Corrupt unless the chain and the LSNs go on from the segment before, as far as it is known."""
        before = work.before
        if segment.first == 1 and segment.chain_before != chains.START:
            raise Corrupt("the first segment's chain does not start at the start", what="segment", lsn=1)
        if before is not None and before.last + 1 == segment.first and before.chain != segment.chain_before:
            raise Corrupt(
                "the chain does not continue",
                what="segment",
                lsn=segment.first,
                expected=before.chain.hex(),
                found=segment.chain_before.hex(),
            )

    async def _place(self, segment: SealedSegment, raw: bytes, work: _Work) -> None:
        follows = work.before is not None and work.before.last + 1 == segment.first
        after_stamp = work.before.last_stamp if work.before is not None and follows else 0

        facts = self._source.facts(segment.partition)

        async def checked(generation: int) -> Outgoing:
            asked = request(segment, facts, raw, generation=generation, after_stamp=after_stamp)
            if self._jobs is not None:
                return from_job(await self._jobs.run(PREPARE_JOB, asked))
            return await self._env.tasks.blocking(lambda: prepare(asked))

        await self._placer.place(segment, facts, checked)
        self.status_now.placed += 1

    def _on_bad_object(self, partition: str, key: str, reason: str) -> None:
        self._source.differs(PartitionId(partition), f"{key}: {reason}")

    # --- the store's state ---

    def _answered(self) -> None:
        self.status_now.reachable = True
        self._backoff_s = 0.0

    def _failed(self, error: ScrubjayError) -> None:
        self.status_now.failures += 1
        self.status_now.last_error, self.status_now.last_error_us = str(error), self._env.clock.wall_us()

    def _trouble(self, error: Unavailable) -> None:
        """The store did not answer: everybody waits, longer each time, and one then tries."""
        self._failed(error)
        self.status_now.reachable = False
        self._backoff_s = min(max(self._backoff_s * 2, self.options.backoff_s), self.options.backoff_cap_s)
        wait = self._env.rand.uniform(self._backoff_s / 2, self._backoff_s)
        self._pause_until_us = self._env.clock.boot_us() + int(wait * 1e6)

    # --- closed timestamps, epoch ---

    async def _publish(self) -> None:
        """One `closed/` object an interval, for all partitions led; none while none is led. A missed one is not made up for: the next says more."""
        await self._closed_pause(self._env.rand.uniform(0.1, self.options.closed_interval_s / 2))
        while not self._stopping:
            try:
                await self.publish_closed()
            except Unavailable as error:
                self._failed(error)
                self.status_now.reachable = False
            except ScrubjayError as error:
                self._failed(error)
            await self._closed_pause(self.options.closed_interval_s)

    async def _closed_pause(self, seconds: float) -> None:
        """Until `seconds` have passed, or CLOSED_SOON_S after `closed_soon`."""
        wake = self._closed_wake = self._env.tasks.future()
        timer = self._env.tasks.call_later(seconds, self._end_closed_pause)
        try:
            await wake
        finally:
            timer.cancel()

    def _end_closed_pause(self) -> None:
        if self._closed_timer is not None:
            self._closed_timer.cancel()
            self._closed_timer = None
        if self._closed_wake is not None and not self._closed_wake.done():
            self._closed_wake.set_result(None)

    def closed_soon(self) -> None:
        """Publish closed timestamps after CLOSED_SOON_S, not at the end of the interval: somebody waits for a table's first proven window."""
        if self._closed_timer is None and not self._stopping:
            self._closed_timer = self._env.tasks.call_later(CLOSED_SOON_S, self._end_closed_pause)

    async def publish_closed(self) -> bool:
        """Publish now. False if there is nothing to say. Raises Unavailable."""
        if self.status_now.stopped or self._blocked:
            return False
        points = self._source.closed_points()
        if not points:
            return False
        if not self._closed_known:
            await self._find_last_closed()
        time_us = max(self._env.clock.wall_us(), self._closed_at_us + 1)
        before_us = self._closed_at_us or None
        who = self.writer.attached
        made = ClosedObject(who.cluster, self._source.node, time_us, who.epoch, who.owner, tuple(points), before_us)
        data = await self._env.tasks.blocking(lambda: encode_closed(made))
        try:
            await self._store.put(made.key(), data)
        except Exists:
            self._closed_known = False  # an answer was lost, or this name was used before: look again at the next interval
            return False
        self._closed_at_us = time_us
        self.published(made)
        self.status_now.closed_published += 1
        self.status_now.reachable = True
        return True

    async def _find_last_closed(self) -> None:
        """The newest closed object of this node from before this start: the next one names it. Raises Unavailable."""
        now_us = max(self._env.clock.wall_us(), self._closed_at_us)
        for name in await newest_closed(self._store, self.writer.cluster, self._source.node, now_us=now_us):
            key = parse(name)
            if isinstance(key, ClosedKey):
                self._closed_at_us = max(self._closed_at_us, key.time_us)
        self._closed_known = True

    async def _watch(self) -> None:
        """Look at epoch and identity now and then."""
        while not self._stopping:
            try:
                await check_epoch(self._store, self.writer.attached)
                self._blocked = ""
            except Fenced as error:
                self._failed(error)
                self.status_now.stopped = str(error)
                return
            except Missing as error:
                self._failed(error)
                self._blocked = str(error)
            except ScrubjayError as error:
                self._failed(error)
                self.status_now.reachable = not isinstance(error, Unavailable)
            await self._env.tasks.sleep(self.options.check_s)


def _nobody(closed: ClosedObject) -> None:
    """Nobody listens."""
