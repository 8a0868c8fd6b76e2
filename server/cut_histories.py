"""That a lost quorum was recovered, as the catalogue tells it: what history was cut, behind which LSN, and what may be lost. It is a problem until a scrub has proven each of the groups equal to the
archive again, and is shown by `cluster status` for good (ADR 0084).

A note for each recovery: written with the recovery itself where the metadata group was among what was lost; else, and for what that copy did not know, from what the archive says.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec

from scrubjay.archiver.format.former import Former
from scrubjay.archiver.read.formers import FormersSeen
from scrubjay.base.env import Env, ObjectStore
from scrubjay.base.errors import ScrubjayError
from scrubjay.base.kept_loops import KeptLoop
from scrubjay.scrubber.ledger import PartitionProof
from scrubjay.scrubber.ledger_keeping import KeptLedger
from scrubjay.scrubber.plan import last_matched
from scrubjay.scrubber.schedule.notes import Notes

PREFIX = "recovered/"
ROUND_S = 30.0
"""Between two looks whether a scrub has matched, while one is waited for; nothing leaves the process without."""
LOOK_S = 600.0
"""Between two looks into the archive."""


class CutHistory(msgspec.Struct, frozen=True):
    """One group. last: up to where its history was kept. archived: up to where the archive had it then. over_us: when a scrub was found to have proven it since; None: not yet."""

    table: str
    partition: str
    last: int
    archived: int
    over_us: int | None = None


class RecoveredNote(msgspec.Struct, frozen=True):
    """One recovery. at_us: microseconds since the epoch. survivor: whose log the groups went on from. nodes: that were lost."""

    at_us: int
    survivor: str
    nodes: tuple[str, ...]
    groups: tuple[CutHistory, ...]


def key_of(number: int) -> str:
    return f"{PREFIX}{number}"


def note_of(former: Former) -> dict[str, Any]:
    """As it is kept, before any scrub."""
    groups = tuple([CutHistory(one.table, one.partition, one.last, one.archived) for one in former.groups])
    note = RecoveredNote(former.at_us, former.survivor, tuple([one.node for one in former.members]), groups)
    found: dict[str, Any] = msgspec.to_builtins(note)
    return found


def notes_in(jobs: Mapping[str, Any]) -> dict[str, RecoveredNote]:
    """By key, oldest first. One that is malformed is left out."""
    found = {}
    for key in jobs:
        if key.startswith(PREFIX):
            try:
                found[key] = msgspec.convert(jobs[key], RecoveredNote)
            except msgspec.ValidationError:
                continue
    return dict(sorted(found.items(), key=lambda one: one[1].at_us))


def cuts_of(jobs: Mapping[str, Any]) -> dict[str, tuple[RecoveredNote, CutHistory]]:
    """Of each partition its last cut."""
    return {group.partition: (note, group) for note in notes_in(jobs).values() for group in note.groups}


class Recoveries:
    """notes: in the metadata group. Runs where somebody works for the cluster."""

    def __init__(self, env: Env, store: ObjectStore, notes: Notes, ledger: KeptLedger, *, cluster: str) -> None:
        self._env, self._notes, self._ledger = env, notes, ledger
        self._formers = FormersSeen(store, cluster)
        self._loop = KeptLoop(self._env.tasks, self._run, name="recovered")

    def start(self) -> None:
        self._loop.start()

    def stop(self) -> None:
        self._loop.stop()

    async def _run(self) -> None:
        due_us = 0
        while True:
            if self._env.clock.boot_us() >= due_us:
                try:
                    await self._learn()
                    due_us = self._env.clock.boot_us() + int(LOOK_S * 1e6)
                except ScrubjayError:
                    pass  # the archive or the metadata group does not answer: asked again at the next round
            if any(cut.over_us is None for _, cut in cuts_of(self._notes.jobs).values()):
                with suppress(ScrubjayError):  # as above
                    await self.settle(await self._ledger.partitions())
            await self._env.tasks.sleep(ROUND_S)

    async def _learn(self) -> None:
        for former in await self._formers.look():
            if key_of(former.number) not in self._notes.jobs:
                await self._notes.put_job(key_of(former.number), note_of(former))

    async def settle(self, proofs: list[PartitionProof]) -> None:
        """A group that a scrub has matched since is told of no more. Raises Unavailable, Conflict."""
        matched, now_us = last_matched(proofs), self._env.clock.wall_us()
        for key, note in notes_in(self._notes.jobs).items():
            groups = tuple(
                [
                    msgspec.structs.replace(group, over_us=now_us)
                    if group.over_us is None and matched.get(group.partition, 0) > note.at_us
                    else group
                    for group in note.groups
                ]
            )
            if groups != note.groups:
                await self._notes.put_job(key, msgspec.to_builtins(msgspec.structs.replace(note, groups=groups)))
