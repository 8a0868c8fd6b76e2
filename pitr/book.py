"""The restores that are remembered: by their notes, and of one that runs by its live state."""

from __future__ import annotations

from collections.abc import Callable

from scrubjay.archiver.expire.plan import RESTORE, Need
from scrubjay.base.errors import ScrubjayError, Unavailable
from scrubjay.pitr.job import PREFIX, PUBLISHED, RestoreJob, load_job, note
from scrubjay.storage.catalogue import TableMeta
from scrubjay.storage.service_port import ServicePort

JOBS_KEPT = 50
"""Published restores remembered for `restore status`."""


class RestoreBook:
    """live: the state of the restore to that table id if it runs here."""

    def __init__(self, port: ServicePort, *, live: Callable[[str], RestoreJob | None], log: Callable[[str], None]) -> None:
        self._port = port
        self._live = live
        self._log = log

    def jobs(self) -> list[RestoreJob]:
        """Every job, oldest first; of a running one its live state."""
        found: list[RestoreJob] = []
        for key, notes in sorted(self._port.jobs(PREFIX).items()):
            job = self._live(key.removeprefix(PREFIX)) or load_job(notes)
            if job is None:
                self._log(f"notes under {key} are not understood by this version and left alone")
            else:
                found.append(job)
        return sorted(found, key=lambda job: (job.created_us, job.target_id))

    def needs(self) -> list[Need]:
        """What unfinished restores read: every moment of their source from theirs on. Notes of another version may stand for one: they need everything."""
        found = []
        for key, notes in self._port.jobs(PREFIX).items():
            job = self._live(key.removeprefix(PREFIX)) or load_job(notes)
            if job is None:
                found.append(Need(None, 0, RESTORE, key))
            elif job.unfinished:
                found.append(Need(job.source_id, job.at_us, RESTORE, job.target))
        return found

    def find(self, to: str) -> RestoreJob | None:
        """The newest to that name."""
        named = [job for job in self.jobs() if job.target == to]
        return named[-1] if named else None

    def unfinished(self, to: str) -> RestoreJob | None:
        return next((job for job in self.jobs() if job.target == to and job.unfinished), None)

    def published(self, to: str) -> RestoreJob | None:
        """The published restore whose table has that name now."""
        live = {
            table.table_id for table in self._port.tables() if table.name == to and table.dropped_at is None and table.status != "DELETING"
        }
        return next((job for job in self.jobs() if job.state == PUBLISHED and job.target_id in live), None)

    def known(self, to: str) -> RestoreJob:
        """Raises Unavailable (ResourceNotFound)."""
        job = self.find(to)
        if job is None:
            raise Unavailable("no such restore", error_code="ResourceNotFound", asked=to, next="scrubjay restore status lists all restores")
        return job

    def source_of(self, job: RestoreJob) -> TableMeta:
        """Raises Unavailable (ResourceNotFound)."""
        found = next((table for table in self._port.tables() if table.table_id == job.source_id), None)
        if found is None:
            raise Unavailable("the source table is not known any more", error_code="ResourceNotFound", asked=job.source_name)
        return found

    async def forget_old(self) -> None:
        """Of the published ones, all but the newest."""
        published = [job for job in self.jobs() if job.state == PUBLISHED]
        for job in published[: max(0, len(published) - JOBS_KEPT)]:
            try:
                await note(self._port, job.key, None)
            except ScrubjayError as error:
                self._log(f"an old restore could not be forgotten: {error}")
                return
