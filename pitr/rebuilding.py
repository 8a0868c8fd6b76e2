"""Rebuilding the partitions of a table as of one moment, by a plan that is made anew when a base that it rests on turns out rotten."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from scrubjay.archiver.format.fault import Fault, object_of
from scrubjay.archiver.format.layout import BaseKey, is_of_base, parse, segment_of
from scrubjay.base.errors import Corrupt, Missing
from scrubjay.base.ids import Lsn, PartitionId, Stamp
from scrubjay.pitr.archive import Progress, RestoreArchive, RestoredRows
from scrubjay.pitr.confirm import check_proven
from scrubjay.pitr.part import PartAsked
from scrubjay.pitr.plan import BaseFacts, PartitionPlan, Plan
from scrubjay.pitr.planning import Planning
from scrubjay.scrubber.evidence import ARCHIVE
from scrubjay.storage.catalogue import PartitionInfo
from scrubjay.storage.service_port import Finding, ServicePort

Met = Callable[[Finding], None]


class Rebuilding:
    """cut: inclusive. met: hears of all that was found bad in the archive. Of a table that scrubs still cover it is told with what they find, too."""

    def __init__(
        self, port: ServicePort, archive: RestoreArchive, planning: Planning, *, cut: Stamp, met: Met, now_us: Callable[[], int]
    ) -> None:
        self._port, self._archive, self._planning, self._cut, self._met, self._now_us = port, archive, planning, cut, met, now_us
        self.plans: dict[str, PartitionPlan] = {}

    def take(self, plan: Plan) -> None:
        self.plans = {part.partition: part for part in plan.partitions}

    async def rows(self, info: PartitionInfo, *, path: str, part: PartAsked | None, progress: Progress | None) -> RestoredRows:
        """The rows of one partition in the row file `path`, proven to the end of its plan. Raises Missing, Corrupt, Unavailable."""
        while True:
            plan = self.plans[info.partition_id]
            try:
                rows = await self._archive.rebuild(
                    self._planning.source, info, plan, cut=self._cut, path=path, part=part, progress=progress
                )  # fmt: skip
            except (Corrupt, Missing) as error:
                self._tell(info, error.fields.get("damage", ()))
                rotted = None if plan.base is None else _base_of(error, plan.base)
                if rotted is None:
                    raise
                self._planning.do_without(rotted)
                reached = {PartitionId(one): (self._cut, Lsn(known.to_lsn)) for one, known in self.plans.items()}
                self.take(await self._planning.once(reached))
            else:
                self._tell(info, rows.damage)
                check_proven(rows.proven, plan.to_lsn)
                return rows

    def _tell(self, info: PartitionInfo, damage: Sequence[Fault]) -> None:
        for one in damage:
            segment = segment_of(one.object)
            found = Finding(
                one.kind, ARCHIVE, info.partition_id, None, None, one.object, one.lsn, segment, "read", "none", one.detail, self._now_us()
            )
            if self._planning.lives():
                self._port.note(found)
            self._met(found)


def _base_of(error: Corrupt | Missing, base: BaseFacts) -> str | None:
    """Key of the base manifest of which the error names an object, if it is read for `base`."""
    bad = object_of(error) or ""
    return next((name for name in base.bases if isinstance(key := parse(name), BaseKey) and is_of_base(bad, key)), None)
