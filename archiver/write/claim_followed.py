"""The claim of the archive in a process that does not make it: a storage node beside others. One process of the cluster claims (`claiming`); the metadata log says
which epoch it was and whose, and a node's agent writes under that one. It looks as the claimer does whether somebody else writes by now; what it finds stops the
whole cluster, durably, as soon as the newest notes do not know that owner either.
"""

from __future__ import annotations

from scrubjay.archiver.format.identity import Attached
from scrubjay.archiver.format.layout import EpochKey, build
from scrubjay.archiver.write.claiming import Claiming
from scrubjay.archiver.write.writer import Stopped
from scrubjay.base.errors import ScrubjayError, Unavailable

NOTES_S = 1.0
"""Between two looks whether the notes tell of another epoch; no request leaves for them."""


class FollowedClaim(Claiming):
    """sources: the logs of this process's node."""

    async def _run(self) -> None:
        await self._until_claimed()
        looked_us = self._env.clock.boot_us()
        while self.writer.stopped is None:
            await self._env.tasks.sleep(NOTES_S)
            stopped = self._book.writer.stopped
            if stopped is not None:
                self._stopped(Stopped(*stopped))
            elif self._book.writer.epoch != self._epoch():
                await self._until_claimed()
            elif self._env.clock.boot_us() - looked_us >= self.options.watch_s * 1e6:
                looked_us = self._env.clock.boot_us()
                try:
                    await self.look(self._store)
                except ScrubjayError:
                    continue  # the agent says so where it matters; here the next look does

    async def claim(self) -> None:
        """Write under the epoch that the cluster has noted. The agent compares its log with the archive's end before its first upload. Raises Unavailable."""
        notes = self._book.writer
        self.writer.taken_over = notes.taken_over
        if notes.stopped is not None:
            self._stopped(Stopped(*notes.stopped))
            return
        if notes.epoch <= notes.taken_over:
            raise Unavailable("no process of this cluster has claimed the archive yet")
        key = build(EpochKey(self.writer.cluster, notes.epoch))
        owner = await self._owner_of(key)
        if owner is None or owner not in notes.owners:
            await self._book.newest()
            raise Unavailable("whose the noted epoch is cannot be told", key=key)
        self.writer.claimed(Attached(self.writer.cluster, notes.epoch, owner))

    def _epoch(self) -> int:
        """That this process writes under; 0: none."""
        attached = self.writer.claimed_as
        return 0 if attached is None else attached.epoch
