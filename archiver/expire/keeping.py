"""Keeping what must stay locked in the store, along a run of retention (`locks` says what that is): asks for longer locks, and notes what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import NamedTuple

from scrubjay.archiver.expire.locks import FOREVER, Extend, LockBook, needed_until, to_extend
from scrubjay.archiver.expire.plan import PIN, Need, PartPlan, concerns
from scrubjay.archiver.expire.report import LockOutcome
from scrubjay.archiver.facts import Coverage
from scrubjay.archiver.format.layout import ClosedKey, ExpiredKey, IdentityKey, build, epoch_prefix, parse
from scrubjay.archiver.read.formers import former_names
from scrubjay.archiver.read.names import PARALLEL, Names, list_all
from scrubjay.archiver.read.partition import PartitionIndex
from scrubjay.archiver.read.replaced import replaced_by_packs
from scrubjay.base.env import Env, ObjectStore
from scrubjay.base.errors import Missing, ScrubjayError, Unavailable
from scrubjay.base.together import in_parallel

LOCK_BATCH = 1_024
"""Objects of which longer locks are asked between two looks at whether the run must end."""


class PartLook(NamedTuple):
    """A look at one partition, and what it came to."""

    plan: PartPlan
    known: PartitionIndex
    names: Names
    found: Coverage


class LockKeeper:
    """One run's. outcome: None: the store locks nothing, and all of this does nothing. stop(): why the run must end."""

    def __init__(
        self,
        env: Env,
        store: ObjectStore,
        book: LockBook,
        *,
        cluster: str,
        stop: Callable[[], str | None],
        progress: Callable[[dict[str, object]], None],
    ) -> None:
        self._env, self._store, self._book, self._cluster, self._stop, self._progress = env, store, book, cluster, stop, progress
        self.outcome = LockOutcome() if book.locks_us else None
        self._listed: Mapping[str, int] = {}
        self._free: frozenset[str] = frozenset()

    async def ask_of_words(self, index: PartitionIndex, names: Names) -> None:
        """When the locks of older words about what expired end: nothing else tells when they were put. Raises Unavailable."""
        if self.outcome is None or index.beginning is None:
            return
        for name in names.expired:
            if isinstance(key := parse(name), ExpiredKey) and key.lsn < index.beginning.lsn and not self._book.until(name):
                with suppress(Missing):
                    self._book.note(name, max(1, await self._store.retain(name, 0)))

    def count(self, look: PartLook, holds: Iterable[Need]) -> None:
        """Of one partition, without asking for anything."""
        if self.outcome is not None:
            self.outcome.due += sum(1 for _ in self._of(look, holds))

    async def extend(self, look: PartLook, holds: Iterable[Need]) -> None:
        """Of one partition. holds: of any table; what reads for hours alone is no reason to lock for weeks."""
        if self.outcome is not None:
            await self._retain(self.outcome, self._of(look, holds))

    def _of(self, look: PartLook, holds: Iterable[Need]) -> Iterator[Extend]:
        plan, index, names, found = look
        wanted = plan.wanted
        goes = {name for name, _ in plan.objects}
        # What a pack took the place of goes as soon as its lock ends.
        goes |= {name for one in replaced_by_packs(index, names, index.rows_of(found.thread)) for name, _ in one.objects}
        pins = [one.at_us for one in holds if one.by == PIN and concerns(one, wanted)]
        needed = needed_until(
            found, keep_us=wanted.keep_us, archived=wanted.archived, pins=pins, dropped_at_us=None if wanted.heirs else wanted.dropped_at_us
        )
        return to_extend(names, goes.__contains__, found, needed, index.beginning, self._book, now_us=self._env.clock.wall_us())

    def closed(self, listed: Mapping[str, int], free: frozenset[str]) -> None:
        """Closed objects that were listed, and those of them that nobody needs any more."""
        self._listed, self._free = listed, free

    async def extend_others(self, closed_keep_us: int | None) -> None:
        """What is of no partition: identity, epochs and former members for ever, closed objects as long as they stay. closed_keep_us: that long; None: they are left out. Raises Unavailable."""
        if self.outcome is None or closed_keep_us is None:
            return
        now_us, book = self._env.clock.wall_us(), self._book
        due_us, most_us = now_us + book.ahead_us, now_us + book.locks_us
        names = [
            build(IdentityKey(self._cluster)),
            *await list_all(self._store, epoch_prefix(self._cluster)),
            *await former_names(self._store, self._cluster),
        ]
        await self._retain(self.outcome, (Extend(name, most_us) for name in names if book.until(name) < due_us))
        some = []
        for name in sorted(self._listed):
            key = parse(name)
            if isinstance(key, ClosedKey) and name not in self._free:
                put_us = key.time_us + book.locks_us if book.since_us is not None and key.time_us >= book.since_us else 0
                needed_us = key.time_us + closed_keep_us
                needed_us = needed_us if needed_us > now_us else FOREVER  # it is among the newest of its node, or a backup's
                if max(book.until(name), put_us) < min(needed_us, due_us):
                    some.append(Extend(name, min(needed_us, most_us)))
        await self._retain(self.outcome, iter(some))

    async def _retain(self, outcome: LockOutcome, some: Iterator[Extend]) -> None:
        """Ask for longer locks, so many at a time. What cannot be had is noted, and ends this for the run if it is the store's; the next run goes on."""

        async def extend(one: Extend) -> Extend | None:
            if outcome.gave_up:
                return None
            outcome.asked += 1
            try:
                until_us = await self._store.retain(one.name, one.until_us)
            except ScrubjayError as error:
                outcome.failed += 1
                outcome.error = outcome.error or f"{one.name}: {error}"
                outcome.gave_up = outcome.gave_up or isinstance(error, Unavailable)
                return None
            return one._replace(until_us=until_us)

        while batch := list(islice(some, LOCK_BATCH)):
            outcome.due += len(batch)
            if outcome.gave_up or self._stop() is not None:
                outcome.all = False
                continue
            self._book.learn(await in_parallel(self._env.tasks, extend, batch, lanes=PARALLEL, name="extend locks"))
            self._progress({"phase": "lock", "done": outcome.asked, "total": outcome.due, "unit": "objects"})
