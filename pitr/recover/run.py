"""A recovery's work in the new cluster: one restore per table, several at once, each as any restore (`pitr.restore`), from the parent's archive.

It may be killed at any point and run again: a restore's notes lie in the new cluster's metadata group, a table that is published is not touched again, and a row
file that was rebuilt is not read again. A table that only just began at the moment is made anew, empty.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from scrubjay.base.env import Env
from scrubjay.base.errors import Unavailable
from scrubjay.base.ids import Member, PartitionId, TableId
from scrubjay.base.times import utc_text
from scrubjay.base.together import in_parallel
from scrubjay.pitr.archive import RestoreArchive
from scrubjay.pitr.job import PREFIX, PUBLISHED, AskedNote, PartitionJob, RestoreJob, WindowNote, load_job, note
from scrubjay.pitr.options import RestoreOptions
from scrubjay.pitr.pace import Work, seconds_left
from scrubjay.pitr.recover.choose import Choice
from scrubjay.pitr.recover.schedules import carried
from scrubjay.pitr.restore import Restore
from scrubjay.storage.catalogue import METADATA_TABLE, PartitionInfo, RestoreOrigin, TableMeta, definition_anew
from scrubjay.storage.service_port import ServicePort

MADE_POLL_S = 0.05
MADE_WAIT_S = 30.0
TELL_S = 0.5


class Brought(NamedTuple):
    """One table as it came back, or did not. report: of its restore."""

    source: TableMeta
    report: dict[str, Any]

    @property
    def published(self) -> bool:
        return bool(self.report["state"] == PUBLISHED)

    def as_json(self) -> dict[str, Any]:
        report = self.report
        return {
            "table": self.source.name,
            "table_id": report["to_id"],
            "source_id": self.source.table_id,
            "at": report["at"],
            "partitions": len(self.source.partitions),
            "bytes": report["bytes"],
            "requests": report["requests"],
            "state": report["state"],
            "rows": report["rows"],
            "digest": report["digest"],
            "verdict": report["verdict"],
            "seconds": report["seconds"],
            "error": report["error"],
        }


class Foreseen(NamedTuple):
    """seconds: that were predicted. works: of each table's partitions. copies: of each."""

    seconds: float
    works: Mapping[str, Mapping[str, Work]]
    copies: int

    @property
    def whole(self) -> float:
        """All of it, one after the other."""
        every = [work for works in self.works.values() for work in works.values()]
        return sum(work.read + self.copies * (work.copy + work.sync + work.hash) for work in every)


class Recovery:
    """port: of the new cluster. options.lanes: tables at once, and partitions of one. foreseen: for telling what is left. log: hears of copies that load rows."""

    def __init__(
        self,
        env: Env,
        port: ServicePort,
        archive: RestoreArchive,
        options: RestoreOptions,
        choice: Choice,
        *,
        max_offset_us: int,
        tell: Callable[[dict[str, Any]], None],
        log: Callable[[str], None],
        foreseen: Foreseen | None = None,
    ) -> None:
        self._env, self._port, self._archive, self._options = env, port, archive, options
        self._choice, self._max_offset_us, self._tell, self._log = choice, max_offset_us, tell, log
        self._foreseen, self._began_us = foreseen, env.clock.boot_us()
        self.schedules = carried(choice.catalogue.jobs)
        self._running: dict[str, Restore] = {}
        self._done = 0
        system = next(table for table in port.tables() if table.name == METADATA_TABLE)
        self._members: tuple[Member, ...] = system.partitions[0].members

    async def run(self) -> list[Brought]:
        """Every table of the choice, by name. What did not come back says why in its report; a later run takes it up again."""
        telling = self._env.tasks.spawn(self._keep_telling(), name="tell of the recovery")
        try:
            return await in_parallel(self._env.tasks, self._one, self._choice.tables, lanes=self._options.lanes, name="recover table")
        finally:
            telling.cancel()

    async def settled(self, brought: Sequence[Brought], done: Callable[[], None]) -> None:
        """All of it is there: `done` says so for good. Only then is what was noted on the way let go of, so that the new cluster begins with no restores of its own:
        a life that found tables and no notes of them would take them for strangers' and never end."""
        for key, value in self.schedules.notes.items():
            if self._port.jobs(key).get(key) != value:
                await note(self._port, key, value)
        done()
        for one in brought:
            await note(self._port, PREFIX + one.report["to_id"], None)

    async def _one(self, source: TableMeta) -> Brought:
        empty = source in self._choice.empty
        job = self._known(source) or self._job(source)
        await note(self._port, job.key, job.as_notes())
        if empty:
            await self._make(job)
        else:
            # Of the new cluster's making it is not: none of its leaders can be asked, and no scrub of it will tell of the parent's damage.
            gone = msgspec.structs.replace(source, status="DROPPED", dropped_at=self._choice.at_us, split=msgspec.UNSET)
            restore = Restore(self._env, self._port, self._archive, self._options, job, gone, log=self._log)
            self._running[source.table_id] = restore
            await restore.run()
        self._done += 1
        return Brought(source, job.report())

    def _known(self, source: TableMeta) -> RestoreJob | None:
        jobs = (load_job(notes) for notes in self._port.jobs(PREFIX).values())
        return next((job for job in jobs if job is not None and job.source_id == source.table_id), None)

    def _job(self, source: TableMeta) -> RestoreJob:
        meta = self.target_of(source)
        at_us = self._choice.at_us
        return RestoreJob(
            source_id=source.table_id,
            source_name=source.name,
            target=source.name,
            target_id=meta.table_id,
            at_us=at_us,
            asked=AskedNote(),
            beyond_latest=False,
            created_us=self._env.clock.wall_us(),
            meta=msgspec.to_builtins(meta),
            window=WindowNote(None, utc_text(at_us)),
            max_offset_us=self._max_offset_us,
        )

    def target_of(self, source: TableMeta) -> TableMeta:
        """The table as it shall be: all that users set stays, but for a time to live, which would begin to take away what was just recovered; ids and members are the new
        cluster's."""
        rand = self._env.rand
        empty = source in self._choice.empty
        return msgspec.structs.replace(
            definition_anew(source),
            table_id=TableId(rand.uuid()),
            status="CREATING",
            partitions=tuple(
                PartitionInfo(PartitionId(rand.uuid()), info.lo, info.hi, self._members, self._logs(info)) for info in source.partitions
            ),
            dropped_at=None,
            restore_of=None if empty else RestoreOrigin(source.table_id, source.name, self._choice.at_us, True),
            finals=(),
            archived_at=None,
            absent=(),
            ttl=msgspec.UNSET,
            streams=msgspec.UNSET,
            version=1,
        )

    def _logs(self, info: PartitionInfo) -> tuple[int, ...]:
        """Who keeps the log alone: in the new cluster's list of members those at the places of the parent's log replicas, so that each range has as many as before.
        At least one member has the rows, whatever the parent's list looked like."""
        places = [place for place, member in enumerate(info.members) if member.node in info.logs]
        return tuple(self._members[place].node for place in places if place < len(self._members))[: len(self._members) - 1]

    async def _make(self, job: RestoreJob) -> None:
        """A table that was being created: made anew, empty. Raises Unavailable."""
        if self._target(job) is None:
            await self._port.create_restoring(job.target_meta)
        give_up = self._env.clock.boot_us() + int(MADE_WAIT_S * 1e6)
        while (found := self._target(job)) is None or found.status == "CREATING":
            if self._env.clock.boot_us() >= give_up:
                raise Unavailable("a new table of the recovered cluster gets no leader", table=job.target)
            await self._env.tasks.sleep(MADE_POLL_S)
        job.partitions = [PartitionJob(info.partition_id, info.partition_id, sum="0" * 32, rows=0) for info in job.target_meta.partitions]
        job.state = job.phase = PUBLISHED
        await note(self._port, job.key, job.as_notes())

    def _target(self, job: RestoreJob) -> TableMeta | None:
        return next((table for table in self._port.tables() if table.table_id == job.target_id), None)

    def _left(self, foreseen: Foreseen) -> float:
        """Seconds, by what is done of the work that was foreseen, and how long that took."""
        done = 0.0
        for table, works in foreseen.works.items():
            restore = self._running.get(table)
            known = {} if restore is None else restore.done()
            for partition, work in works.items():
                read, loaded = known.get(partition, (0.0, 0.0))
                done += read * work.read + loaded * foreseen.copies * (work.copy + work.sync + work.hash)
        elapsed_s = (self._env.clock.boot_us() - self._began_us) / 1e6
        return round(seconds_left(foreseen.seconds, done=done / foreseen.whole if foreseen.whole else 0.0, elapsed_s=elapsed_s), 1)

    async def _keep_telling(self) -> None:
        while True:
            raw = sum(int(one.progress.get("raw_bytes", 0)) for one in self._running.values())
            loading = sum(one.job.phase == "load" for one in self._running.values())
            phase = "load" if loading else "read"
            facts = {"phase": phase, "raw_bytes": raw, "done": self._done, "total": len(self._choice.tables), "unit": "tables"}
            self._tell(facts if self._foreseen is None else {**facts, "left_s": self._left(self._foreseen)})
            await self._env.tasks.sleep(TELL_S)
