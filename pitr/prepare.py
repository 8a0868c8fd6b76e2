"""From a question to a job: the source as it ends, the window, the target inside it, a first plan, and the notes of the new table. Changes nothing."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from scrubjay.base.env import Env
from scrubjay.base.errors import Conflict, Missing, Unavailable
from scrubjay.base.ids import Member, PartitionId, TableId
from scrubjay.pitr.archive import RestoreArchive, TableArchive
from scrubjay.pitr.job import AskedNote, RestoreJob, WindowNote, parts_of
from scrubjay.pitr.options import POLL_S, RestoreOptions
from scrubjay.pitr.part import PartAsked, part_of, unread_of
from scrubjay.pitr.plan import Plan, ends_reached, plan_table, with_closed
from scrubjay.pitr.rates import rates_of
from scrubjay.pitr.target import Bounds, Reach, RestoreTarget
from scrubjay.pitr.window import bounds_of, in_a_hole, reach_in, resolve_in, window_note, window_text
from scrubjay.storage.catalogue import METADATA_TABLE, PITR_DAYS, PartitionInfo, RestoreOrigin, TableMeta, as_of, definition_anew
from scrubjay.storage.service_port import ServicePort

FIRST_LOOK_S = 25.0
"""How long a restore of a dropped table waits, before it answers, for the first of its log to arrive in the archive: claimed anew after a start, sealed, read back.
Less than SDKs wait for an answer."""


class Preparing:
    """max_offset_us: `max_clock_offset`, printed with every plan. pitr_default: whether a restored table has point-in-time recovery on in the API."""

    def __init__(
        self, env: Env, port: ServicePort, archive: RestoreArchive, options: RestoreOptions, *, max_offset_us: int, pitr_default: bool
    ) -> None:
        self._env = env
        self._port = port
        self._archive = archive
        self._options = options
        self._max_offset_us = max_offset_us
        self._pitr_default = pitr_default

    async def job_for(
        self, source: TableMeta, to: str, asked: RestoreTarget, received_us: int, *, overrides: dict[str, object] | None = None
    ) -> tuple[RestoreJob, Plan]:
        """received_us: the clock when the question came, which `--minus` counts back from. What is closed by now is judged by the clock after the look.

        Raises Invalid (the part), Unsafe (outside the window), Conflict (the name is taken), Missing, Unavailable.
        """
        if asked.part is not None:
            part_of(source.key, asked.part)
        source = await self.settled(source)
        seen, window = await self.look(source)
        shown = window_note(seen)
        now_us = self._env.clock.wall_us()
        if any(table.name == to and table.dropped_at is None for table in self._port.tables()):
            raise Conflict(
                "a table of that name exists: a restore writes only into a new one",
                asked=to,
                found=window_text(shown),
                next="choose another name",
                body={"to": to, "window": msgspec.to_builtins(shown)},
            )
        target = reach_in(resolve_in(asked, window, shown, received_us), window, shown, now_us=now_us)
        source = as_of(source, target.at_us)
        plan = self._plan(source, seen, target, shown, asked.part)
        job = self._job(source, to, target, asked, shown, now_us, overrides or {})
        job.partitions = parts_of(plan, source, job.target_meta)
        job.predicted_seconds, job.forks = plan.predicted_seconds, plan.forks
        return job, plan

    async def moment_of(self, source: TableMeta, asked: RestoreTarget, received_us: int) -> int:
        """The instant that was asked for, if it can be restored or will be once the archive has come so far. Raises Unsafe (outside the window, a hole), Unavailable."""
        source = await self.settled(source)
        seen, window = await self.look(source)
        shown = window_note(seen)
        target = reach_in(resolve_in(asked, window, shown, received_us), window, shown, now_us=self._env.clock.wall_us())
        self._plan(as_of(source, target.at_us), seen, target, shown, None)
        return target.at_us

    async def settled(self, source: TableMeta) -> TableMeta:
        """A table whose past may be asked for. Of one whose deletion is under way, once it is known where its logs end: until then nobody can say what its latest
        moment is. Raises Unavailable."""
        if source.name == METADATA_TABLE:
            raise Unavailable(
                "no such table", error_code="ResourceNotFound", asked=source.name, found="a system table is not restored as a table"
            )
        if source.restore_of is not None and source.restore_of.in_progress:
            raise Unavailable("no such table", error_code="ResourceNotFound", asked=source.name, found="it is itself being restored")
        give_up = self._env.clock.boot_us() + int(self._options.archive_wait_s * 1e6)
        while source.status == "DELETING":
            if self._env.clock.boot_us() >= give_up:
                raise Unavailable("the table is being deleted and its log has not ended yet", asked=source.name, next="try again")
            await self._env.tasks.sleep(POLL_S)
            source = next((table for table in self._port.tables() if table.table_id == source.table_id), source)
        return source

    async def look(self, source: TableMeta) -> tuple[TableArchive, Bounds]:
        """What the archive holds. Of a dropped table, nothing proven yet is waited for (bounded): its log may still be on the way."""
        give_up = self._env.clock.boot_us() + int(min(self._options.archive_wait_s, FIRST_LOOK_S) * 1e6)
        while True:
            seen = await self._archive.look(source)
            window = bounds_of(source, seen)
            if window.ends_us is None or seen.window.latest_us is not None or self._env.clock.boot_us() >= give_up:
                return seen, window
            await self._env.tasks.sleep(POLL_S)

    def _plan(self, source: TableMeta, seen: TableArchive, target: Reach, shown: WindowNote, part: PartAsked | None) -> Plan:
        """A first plan, of the source as of the target; one beyond `latest` is made again once the archive has come so far. A moment inside a hole is outside the window."""
        histories = seen.of(source.partitions)
        ends = ends_reached(source, histories)
        try:
            return plan_table(
                [with_closed(history, ends) for history in histories],
                at_us=target.at_us,
                cut=target.cut,
                rates=rates_of(self._port),
                workers=self._options.lanes,
                preview=target.beyond_latest,
                unread=unread_of(source, part),
            )
        except Missing as error:
            raise in_a_hole(error, shown, at_us=target.at_us) from None

    def _job(
        self, source: TableMeta, to: str, target: Reach, asked: RestoreTarget, shown: WindowNote, now_us: int, overrides: dict[str, object]
    ) -> RestoreJob:
        rand = self._env.rand
        meta = msgspec.structs.replace(
            definition_anew(source),
            table_id=TableId(rand.uuid()),
            name=to,
            status="CREATING",
            partitions=tuple(
                PartitionInfo(PartitionId(rand.uuid()), info.lo, info.hi, members, _logs(info, members))
                for info, members in zip(source.partitions, self._port.placed(len(source.partitions)), strict=True)
            ),
            created_at=now_us,
            billing_changed_at=now_us if overrides.get("billing", source.billing) == "PAY_PER_REQUEST" else None,
            throughput_changed_at=(None, None),
            decreases=msgspec.UNSET,
            table_class_changed_at=None,
            class_named=msgspec.UNSET,
            deletion_protection=False,
            tags=(),
            pitr_enabled_at=now_us if self._pitr_default else None,
            pitr_days=PITR_DAYS,  # a shorter period is set up by hand, as all settings of point-in-time recovery are
            dropped_at=None,
            restore_of=RestoreOrigin(source.table_id, source.name, target.at_us, True),
            finals=(),
            archived_at=None,
            ttl=msgspec.UNSET,
            streams=msgspec.UNSET,
            policies=msgspec.UNSET,
            version=1,
        )
        meta = definition_anew(msgspec.structs.replace(meta, **overrides))  # what was asked for names indexes as the source has them
        return RestoreJob(
            source_id=source.table_id,
            source_name=source.name,
            target=to,
            target_id=meta.table_id,
            at_us=target.at_us,
            asked=AskedNote(asked.minus_us, asked.latest),
            beyond_latest=target.beyond_latest,
            created_us=now_us,
            meta=msgspec.to_builtins(meta),
            window=shown,
            max_offset_us=self._max_offset_us,
            part=asked.part,
        )


def _logs(info: PartitionInfo, members: Sequence[Member]) -> tuple[int, ...]:
    """Who keeps the log alone of the new partition: who founded the source's as such, where it is a member here too. Not who stands in there for a node that is lost: the new one would have two copies for good."""
    return tuple([one for one in info.logs if one in _numbers(info.members) and one in _numbers(members)])


def _numbers(members: Sequence[Member]) -> list[int]:
    return [member[0] for member in members]
