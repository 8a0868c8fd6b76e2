"""Who writes (DESIGN section 6): a random owner is written into the metadata log, then the next epoch is claimed by a create-once object that names it, then
the claim is noted. An epoch object whose owner is not in our metadata log was made by another cluster that holds our identity: a copied folder, a restored
machine image. Then nothing is written any more, over restarts, until a confirmed takeover.

Before a claim every partition's log is compared with the archive's end (`archiver.write.meeting`): who cannot continue the history does not claim, so that a stale
copy never fences the live cluster. While the store does not answer the epoch is unknown, and nothing is archived until it is known.

One of these runs beside the metadata leader. An idle one costs a request every `watch_s`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from scrubjay.archiver.format.identity import Attached, decode_epoch, encode_epoch
from scrubjay.archiver.format.layout import EpochKey, build, epoch_prefix
from scrubjay.archiver.read.names import epochs_after
from scrubjay.archiver.write.meeting import meet
from scrubjay.archiver.write.writer import DIVERGED, FENCED, Stopped, Writer
from scrubjay.base.env import Env, ObjectStore, Task
from scrubjay.base.errors import Conflict, Corrupt, Exists, Missing, NoKey, ScrubjayError, Unavailable, Unsafe
from scrubjay.storage.archive_port import LogSource
from scrubjay.storage.catalogue import WriterNotes

OWNERS_KEPT = 16
"""Owners remembered: those whose claim may still be on its way."""
TRIES = 16
"""Epochs tried in one claim: each is lost only to another term of our own."""
WAYS_OUT = (
    "put back the data folder that wrote the archive's end; or let this older state go on under the same identity, its newer history in the archive given up:"
    " `scrubjay cluster takeover --archive URL --data DIR --confirm`"
)


class ClaimBook(Protocol):
    """The notes in the metadata log."""

    @property
    def writer(self) -> WriterNotes: ...

    async def put_writer(self, notes: WriterNotes) -> None: ...

    async def newest(self) -> None:
        """`writer` as it is now, where other processes may have written it. Raises Unavailable."""


@dataclass(frozen=True, slots=True)
class ClaimOptions:
    """watch_s: between two looks while nothing is uploaded. fresh_s: a look this young is good enough before an upload. again_s, again_cap_s: between tries
    while the store or the metadata group does not answer. leaders_s: how long a start waits for partitions to have leaders before it goes on."""

    watch_s: float = 14.0
    fresh_s: float = 5.0
    again_s: float = 0.5
    again_cap_s: float = 10.0
    leaders_s: float = 5.0


Log = Callable[[str, str], object]
"""log(level, line): warning | error | info."""


class Claiming:
    """`await begin()` before serving, then `start()`; `stop()` before the store goes."""

    def __init__(
        self,
        env: Env,
        store: ObjectStore,
        writer: Writer,
        book: ClaimBook,
        sources: Callable[[], Sequence[LogSource]],
        *,
        log: Log,
        options: ClaimOptions | None = None,
    ) -> None:
        """sources: the logs of the nodes that run now."""
        self._env, self._store, self.writer, self._book = env, store, writer, book
        self._sources, self._log = sources, log
        self.options = options or ClaimOptions()
        self._task: Task[None] | None = None
        self._checked_us = 0
        self._turn = 0
        self._claimed = False
        """Nothing more is to be done to become the writer: it is claimed, or cannot be."""
        writer.assure = self.assure
        writer.diverged = self._diverged

    # --- life ---

    async def begin(self, *, taken_over: int | None = None) -> None:
        """What can be known before serving. taken_over: a confirmed takeover gives up other owners and histories up to this epoch. Raises Unsafe if a log does not continue the archive, Unavailable if the store does not answer (then `start` goes
        on trying and nothing is archived until it has)."""
        if taken_over is not None and taken_over > self._book.writer.taken_over:
            await self._note(taken_over=taken_over, stopped=None)
            self._log("warning", f"taken over: other owners and histories up to epoch {taken_over} are given up")
        self.writer.taken_over = self._book.writer.taken_over
        stopped = self._book.writer.stopped
        if stopped is not None and stopped[0] == FENCED:
            self._stopped(Stopped(*stopped))
            return
        reason = await self._meet_all(patience_s=self.options.leaders_s)
        if reason is not None:
            raise Unsafe(
                f"the data folder's log cannot continue the archive: {reason}",
                archive=self._store.url,
                cluster=self.writer.cluster,
                next=WAYS_OUT,
            )
        if await self._ours_up_to() is None:
            return
        if stopped is not None:
            await self._note(stopped=None)  # it was `diverged`, and the logs agree again: the right folder is back

    def start(self) -> None:
        self._task = self._env.tasks.keep(self._run, name="claim the archive")

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def rest(self) -> None:
        """Another process works from now on: nothing is written until the next `start`, which claims another epoch."""
        self.stop()
        self.writer.unclaim()
        self._claimed = False

    def reclaim(self) -> None:
        """Claim another epoch, at once: of two archives the other one decides from now on. Nothing is written until it is claimed. One that rests does so at its next start."""
        if self._task is not None:
            self.rest()
            self.start()

    async def _run(self) -> None:
        if not self._claimed:  # a look that fell over a bug begins here again
            await self._until_claimed()
        self._claimed = True
        while self.writer.stopped is None:
            await self._env.tasks.sleep(self.options.watch_s)
            try:
                await self.look(self._store)
            except ScrubjayError:
                continue  # the agents say so where it matters; here the next look does

    async def _until_claimed(self) -> None:
        wait_s = self.options.again_s
        told: set[tuple[str, object]] = set()
        while self.writer.stopped is None:
            try:
                await self.claim()
            except (Unavailable, Conflict) as error:
                kind = (error.message, error.fields.get("error_code"))  # not its fields: a store names every request anew
                if kind not in told:
                    told.add(kind)
                    self._log("warning", f"the archive is not claimed yet, nothing is archived until it is: {error}")
            except ScrubjayError as error:
                self._log("error", f"the archive cannot be claimed, nothing is archived: {error}")
            else:
                if self.writer.stopped is None:
                    self._log("info", f"writing to the archive as epoch {self.writer.attached.epoch}")
                return
            await self._env.tasks.sleep(self._env.rand.uniform(wait_s / 2, wait_s))
            wait_s = min(wait_s * 2, self.options.again_cap_s)

    # --- the claim ---

    async def claim(self) -> None:
        """Claim the next epoch, or stop. Raises Unavailable, Conflict (another term of ours writes the notes)."""
        self.writer.taken_over = self._book.writer.taken_over
        stopped = self._book.writer.stopped
        if stopped is not None:
            self._stopped(Stopped(*stopped))
            return
        ours = await self._ours_up_to()
        if ours is None:
            return
        reason = await self._meet_all(patience_s=0.0)
        if reason is not None:
            await self._diverged(reason)
            return
        owner = self._env.rand.uuid()
        # Epochs of ours whose claim was cut off, or not answered, are noted along: their owners are forgotten one day, and would then be taken for somebody else.
        await self._note(owners=(*self._book.writer.owners, owner)[-OWNERS_KEPT:], epoch=max(self._book.writer.epoch, ours))
        # Not behind what is listed by now: whose an epoch is that came up since the look is asked before anything above it is claimed.
        number = self._settled
        for _ in range(TRIES):
            number += 1
            made = Attached(self.writer.cluster, number, owner)
            key = build(EpochKey(made.cluster, number))
            try:
                await self._store.put(
                    key, encode_epoch(cluster=made.cluster, epoch=number, owner=owner, created_us=self._env.clock.wall_us())
                )
            except Exists:
                there = await self._owner_of(key)
                if not await self._ours(number, there):
                    await self._fence(key, there)
                    return
                if there != owner:
                    continue
            await self._note(epoch=max(self._book.writer.epoch, number))  # another process may have noted its own meanwhile
            self._checked_us = self._env.clock.boot_us()
            self.writer.claimed(made)
            return
        raise Unavailable("every epoch tried was claimed by another term of this cluster", tries=TRIES)

    async def _ours_up_to(self) -> int | None:
        """The highest epoch, as far as is known; all are ours. None: somebody else claimed one above the highest that we know to be ours, and we are fenced.
        Raises Unavailable."""
        # Over a delete marker a create succeeds: an epoch that somebody else claimed must be seen under one.
        await self._store.uncover(epoch_prefix(self.writer.cluster))
        highest = self._settled
        for key in await epochs_after(self._store, self.writer.cluster, highest):
            number, owner = int(key.rpartition("/")[2], 16), await self._owner_of(key)
            if not await self._ours(number, owner):
                await self._fence(key, owner)
                return None
            highest = max(highest, number)
        return highest

    @property
    def _settled(self) -> int:
        """Up to this epoch nobody has to be asked any more: each was found to be ours before a higher one was noted, or was given up by a takeover."""
        return max(self._book.writer.epoch, self._book.writer.taken_over)

    async def _ours(self, number: int, owner: str | None) -> bool:
        """Whether a process of this cluster claimed that epoch. owner: see `_owner_of`. Nobody is called a stranger by notes that may be old: another process may have claimed while
        this one was paused or cut off. Nor by an owner that is not remembered any more. Raises Unavailable."""
        if not self._known(number, owner):
            await self._book.newest()
        return self._known(number, owner)

    def _known(self, number: int, owner: str | None) -> bool:
        return number <= self._settled or (owner is not None and owner in self._book.writer.owners)

    async def _owner_of(self, key: str, store: ObjectStore | None = None) -> str | None:
        """None: the object cannot be read, twice, so it cannot be known to be ours; once, it may have been damaged on its way. Raises Unavailable."""
        for last in (False, True):
            try:
                return decode_epoch(await (store or self._store).get(key), where=key).owner
            except Corrupt:
                if last:
                    break
            except Missing as error:
                raise Unavailable("an epoch object was listed and is not there", key=key) from error
        return None

    async def _meet_all(self, *, patience_s: float) -> str | None:
        """Compare every partition led here with the archive's end. patience_s: how long to wait for leaders; a partition without one is compared before its
        first upload. Raises Unavailable."""
        until = self._env.clock.boot_us() + int(patience_s * 1e6)
        while True:
            missing = False
            for source in self._sources():
                for partition in source.hosted():
                    if partition in self.writer.met:
                        continue
                    try:
                        if source.history(partition) is None:
                            missing = True
                            continue
                        reason = await meet(self._store, self.writer.cluster, source, partition, taken_over=self.writer.taken_over)
                    except NoKey:
                        continue  # it is compared before its first upload, and waits alone
                    except Missing:
                        if partition in source.hosted():
                            raise
                        continue  # it was forgotten since it was listed: its table is dropped, or it was split
                    except Unavailable:
                        if partition in source.hosted() and source.history(partition) is not None:
                            raise
                        continue
                    if reason is not None:
                        return f"partition {partition}: {reason}"
                    self.writer.met[partition] = None
            if not missing or self._env.clock.boot_us() >= until or self._all_met():
                return None
            await self._env.tasks.sleep(0.02)

    def _all_met(self) -> bool:
        return all(partition in self.writer.met for source in self._sources() for partition in source.hosted())

    # --- the watch ---

    async def assure(self, store: ObjectStore) -> None:
        """Before an upload through `store`: raises Fenced, or Unavailable, unless a look at most `fresh_s` ago found nobody else and our own epoch still there."""
        _ = self.writer.attached
        if self._env.clock.boot_us() - self._checked_us >= self.options.fresh_s * 1e6:
            await self.look(store, both=True)
        _ = self.writer.attached

    async def look(self, store: ObjectStore, *, both: bool = False) -> None:
        """One request: is there an epoch behind those that are known to be ours, or, every other time, is our own gone? both: both. Raises Unavailable."""
        stopped, blocked = self.writer.stopped, self.writer.blocked
        if stopped is not None:
            return
        self.writer.blocked = ""
        try:
            mine = self.writer.attached
        finally:
            self.writer.blocked = blocked
        self._turn += 1
        if both or blocked or self._turn % 2:
            # Not our own next one: other processes of this cluster may have claimed many since, whose owners nobody remembers.
            number = max(mine.epoch, self._settled) + 1
            after = build(EpochKey(mine.cluster, number))
            if await store.head(after) is not None:
                owner = await self._owner_of(after, store)
                if not await self._ours(number, owner):
                    await self._fence(after, owner)
                    return
        if both or blocked or not self._turn % 2:
            key = build(EpochKey(mine.cluster, mine.epoch))
            gone = await store.head(key) is None
            self.writer.blocked = (
                f"the archive has lost this cluster's epoch object {key}: is it another place, or another bucket?" if gone else ""
            )
            if gone and not blocked:
                self._log("error", self.writer.blocked)
        if both or blocked:
            self._checked_us = self._env.clock.boot_us()  # half a look is none before an upload

    # --- stopping ---

    async def _fence(self, key: str, owner: str | None) -> None:
        who = f"owner {owner}" if owner is not None else "an owner that cannot be read"
        reason = (
            f"another cluster holds this identity: {key} was claimed by {who}, which is not in our metadata log. Stop the one that is the copy; to let this"
            " one go on: `scrubjay cluster takeover --archive URL --data DIR --confirm`"
        )
        await self._stop(Stopped(FENCED, reason, self._env.clock.wall_us()))

    async def _diverged(self, reason: str) -> None:
        await self._stop(Stopped(DIVERGED, f"the log cannot continue the archive: {reason}. {WAYS_OUT}", self._env.clock.wall_us()))

    async def _stop(self, stopped: Stopped) -> None:
        """At once in memory; durably as soon as the metadata group takes it (and found again by the next start if it never does)."""
        self._stopped(stopped)
        try:
            await self._note(stopped=(stopped.kind, stopped.reason, stopped.since_us))
        except ScrubjayError as error:
            self._log("error", f"that the archive is not ours could not be noted; the next start finds it again: {error}")

    def _stopped(self, stopped: Stopped) -> None:
        if self.writer.stopped is None:
            self.writer.stop(stopped)
            self._log("error", f"nothing is archived any more ({stopped.kind}): {stopped.reason}")

    async def _note(self, **changes: object) -> None:
        await self._book.put_writer(msgspec.structs.replace(self._book.writer, **changes))
