"""Which of several durability processes of one cluster works (ADR 0057): it heals, runs the schedule, and carries on with restores, exports and imports; the others say so and wait.

Who works holds a note in the metadata group by compare-and-set and renews it; whoever waits reads it, and measures on its own boot clock how long it has stood still. No clocks are
compared. One that cannot renew its note stops working before anybody may think it dead. A process that is alone (it holds the lock of the only folder) needs no note, and writes none.
A note that was written from the folder whose lock this process holds is a dead one's: it goes on at once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from scrubjay.base.env import Env, Task
from scrubjay.base.errors import Conflict, ScrubjayError
from scrubjay.scrubber.schedule.notes import Notes

KEY = "duty"
BEAT_S = 20.0
"""Between two renewals, and between two looks of one that waits."""
SOON_S = 2.0
"""Between two tries to renew while the metadata group does not answer."""
STALE_US = 120_000_000
"""A note that stands still for so long, on the clock of whoever waits, is nobody's."""
UNSURE_US = 80_000_000
"""Who could not renew its note for so long stops: well before another may take over."""

WORKS, WAITS = "works", "waits"


class DutyNote(msgspec.Struct, frozen=True):
    """owner: the process, new in each of its lives. beat: rises while it lives. place: of the lock that it holds, "": nobody knows."""

    owner: str
    beat: int = 0
    place: str = ""


MALFORMED = DutyNote("")


def decoded(found: dict[str, Any]) -> DutyNote:
    """One that is not understood is somebody's too, until it has stood still for long enough."""
    try:
        return msgspec.convert(found, DutyNote)
    except msgspec.ValidationError:
        return MALFORMED


class Duty:
    """place: names the lock that this process holds, as no other lock is ever named (`serving.lock.FolderLock.place`), "": none does. begin: from now on this process works; awaited, and tried again if it raises a ScrubjayError. end: it does no longer. state: WORKS | WAITS."""

    def __init__(
        self,
        env: Env,
        notes: Notes,
        *,
        alone: bool,
        place: str = "",
        begin: Callable[[], Awaitable[None]],
        end: Callable[[], Awaitable[None]],
        log: Callable[[str], None],
    ) -> None:
        self._env, self._notes, self._alone, self._place = env, notes, alone, place
        self._begin, self._end, self._log = begin, end, log
        self.state = WORKS if alone else WAITS
        self._me = ""
        self._mine: DutyNote | None = None
        self._sure_us = 0
        """When the note was last known to be ours."""
        self._other: tuple[DutyNote, int] | None = None
        """Whose note was last seen, and since when on our boot clock it stands still."""
        self._said: str | None = None
        self._task: Task[None] | None = None

    def start(self) -> None:
        """One that is alone has begun already: whoever made it says so."""
        if not self._alone:
            self._me = self._env.rand.uuid()
            self._task = self._env.tasks.keep(self._follow, name="duty")

    def halt(self) -> None:
        """Neither take over nor renew any more."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def leave(self) -> None:
        """At a planned stop, once nothing works any more: the next takes over at once. Who is killed is waited for."""
        self.halt()
        mine, self._mine = self._mine, None
        if mine is not None and self._stands(mine):
            try:
                await self._notes.put_job(KEY, None)
            except ScrubjayError as error:
                self._log(f"the next durability process takes over in {STALE_US // 1_000_000} s: {error}")

    async def _follow(self) -> None:
        while True:
            pause_s = BEAT_S
            try:
                await self.look()
                self._said = None
            except ScrubjayError as error:
                pause_s = SOON_S
                if self._said != error.code:
                    self._log(f"it cannot be noted which durability process works: {error}")
                self._said = error.code
                await self._unless_sure()
            await self._env.tasks.sleep(pause_s)

    async def look(self) -> None:
        """Renew the note, or look whether it may be had. Raises Unavailable."""
        if self._mine is not None and await self._written(msgspec.structs.replace(self._mine, beat=self._mine.beat + 1), over=self._mine):
            if self.state != WORKS:
                await self._works()
            return
        found = await self._notes.fetch_job(KEY)
        note = None if found is None else decoded(found)
        now_us = self._env.clock.boot_us()
        if note is not None and note.owner != self._me:
            if self._mine is not None:
                self._mine = None
                self._log("another durability process has taken over")
            await self._rests()
            if self._place and note.place == self._place:
                self._log("the durability process that worked with this folder before is gone: this one goes on")
            else:
                if self._other is None or self._other[0].owner != note.owner:
                    self._log("another durability process works; this one waits")
                if self._other is None or self._other[0] != note:
                    self._other = note, now_us
                if now_us - self._other[1] <= STALE_US:
                    return
        if await self._written(DutyNote(self._me, place=self._place), over=note):
            if self._other is not None:
                self._log("the durability process that worked was not heard of any more: this one takes over")
            self._other = None
            await self._works()

    def _stands(self, note: DutyNote | None) -> bool:
        """As far as is known: that note is still there, or one of our own. What is written goes over whatever this process has read last, and the catalogue is read behind our back: to write over another's
        note without having looked at it would be to take its work from it, while it goes on."""
        found = self._notes.jobs.get(KEY)
        stands = None if found is None else decoded(found)
        return stands == note or (stands is not None and stands.owner == self._me)

    async def _written(self, note: DutyNote, *, over: DutyNote | None) -> bool:
        """over: what stands there. False: somebody else wrote it meanwhile. Raises Unavailable."""
        if not self._stands(over):
            return False
        began_us = self._env.clock.boot_us()
        try:
            await self._notes.put_job(KEY, msgspec.to_builtins(note))
        except Conflict:
            return False
        self._mine, self._sure_us = note, began_us
        return True

    async def _works(self) -> None:
        await self._begin()
        self.state = WORKS

    async def _rests(self) -> None:
        if self.state == WORKS:
            self.state = WAITS
            await self._end()

    async def _unless_sure(self) -> None:
        if self.state == WORKS and self._env.clock.boot_us() - self._sure_us > UNSURE_US:
            self._log("this durability process stops working: it could not note for a while that it does")
            await self._rests()
