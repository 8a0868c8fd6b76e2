"""`lose-cluster`: the data folder is gone. A new cluster is recovered from the archive alone into a scratch folder, served, and read back whole through its front door.

Every item that it gives is compared with the archive as of that moment, read from another base than the recovery began with wherever there is one; and that reading with a live
copy of the same partition, of every row that nothing wrote since. The recovered cluster has an id of its own and archives into the scratch folder: the archive is only read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from scrubjay.base.env import Env
from scrubjay.base.errors import Unavailable
from scrubjay.base.times import parse_time
from scrubjay.drills.contents import Contents, Expected, usable
from scrubjay.drills.report import DrillOutcome
from scrubjay.drills.scenario import Drill
from scrubjay.drills.scratch import ROOM_BYTES, ScratchPlace
from scrubjay.storage.catalogue import PartitionInfo, TableMeta
from scrubjay.storage.service_port import ServicePort

COPIES = 3
BESIDE_COPIES = 4
"""Copies of everything that lie on the disk beside the recovered cluster's own: its first bases, their objects, the row files it is compared with, and its logs. What its three
logs preallocate comes on top, however little it holds (ROOM_BYTES)."""

JUST_MADE_US = 10_000_000
"""The catalogue as of a moment need not have a table yet that was made so short a time before it."""


class LoseJobs(NamedTuple):
    """Names of the jobs: what would be recovered (arguments url, cluster), and that it is (and at, tables)."""

    plan: str
    recover: str


class LoseCluster:
    """url, cluster: the archive, and whose."""

    name = "lose-cluster"
    summary = "recover the whole cluster from the archive alone in a scratch folder, serve it, compare every item"

    def __init__(
        self, env: Env, port: ServicePort, contents: Contents, place: ScratchPlace, *, url: str, cluster: str, jobs: LoseJobs
    ) -> None:
        self._env, self._port, self._contents, self._place = env, port, contents, place
        self._archive, self._jobs = {"url": url, "cluster": cluster}, jobs

    async def due(self) -> bool:
        """See Scenario: a table has a proven moment."""
        return await self._contents.any_proven()

    async def run(self, drill: Drill) -> DrillOutcome:
        """See Scenario. It is of the whole cluster: --table does not narrow it."""
        outcome = drill.outcome
        outcome.tables = []
        lost_us = self._env.clock.wall_us()
        place = self._place.place(drill, self.name)
        try:
            plan = (await self._place.run(drill, self._jobs.plan, place, self._archive))["plan"]
            at_us = parse_time(plan["at"])
            outcome.rpo_seconds = round(max(0, lost_us - at_us) / 1e6, 3)
            outcome.predicted_seconds = plan["predicted_seconds"]
            outcome.facts |= {"at": plan["at"], "raw_bytes": plan["raw_bytes"]}
            self._place.check_room(ROOM_BYTES + (COPIES + BESIDE_COPIES) * plan["raw_bytes"])
            await self._compared(drill, place, plan, at_us)
        finally:
            await self._place.remove(place)
        return outcome

    async def _compared(self, drill: Drill, place: str, plan: Mapping[str, Any], at_us: int) -> None:
        known = {table.table_id: table for table in self._port.tables()}
        drill.differ([f"{name} is live, and would not come back" for name in lost(known.values(), plan, at_us)])
        tables = [known[one["source_id"]] for one in plan["tables"] if one["source_id"] in known]
        made: list[tuple[PartitionInfo, Expected]] = []
        try:
            asked = []
            with drill.steps.step("read the archive another way"):
                for table in tables:
                    files = await self._expected(drill, table, at_us, made)
                    if files:
                        asked.append(_asked(table, files))
            drill.outcome.tables = [one["table"] for one in asked]
            compared = {one["table"] for one in asked}
            drill.outcome.facts |= {
                "tables_recovered": len(plan["tables"]),
                "tables_not_compared": sorted(one.name for one in known.values() if usable(one) and one.name not in compared),
                "partitions_from_another_base": sum(expected.another for _, expected in made),
            }
            await self._place.run(drill, self._jobs.recover, place, {**self._archive, "at": plan["at"], "tables": asked})
            with drill.steps.step("compare with live copies"):
                await self._live(drill, made)
        finally:
            for _, expected in made:
                self._contents.discard(expected)

    async def _expected(
        self, drill: Drill, table: TableMeta, at_us: int, made: list[tuple[PartitionInfo, Expected]]
    ) -> list[tuple[PartitionInfo, Expected]]:
        """Row files of a table as of the moment, each into `made` at once. None of a table that was only just being made: nothing of it is in the archive. Raises Unavailable, Corrupt, Missing."""
        window = await self._contents.window(table)
        if window.earliest_us is None or window.earliest_us > at_us:
            return []
        files = []
        for info in table.partitions:
            drill.go_on()
            files.append((info, await self._contents.expected(table, info, at_us=at_us)))
            made.append(files[-1])
            await self._contents.bring(files[-1][1])
        return files

    async def _live(self, drill: Drill, made: list[tuple[PartitionInfo, Expected]]) -> None:
        """Of tables that are gone since there is no copy left to ask: told as such."""
        lived = unasked = 0
        for info, expected in made:
            drill.go_on()
            try:
                live = await self._contents.pinned(info.partition_id, drill.dice)
            except Unavailable:
                unasked += 1
                continue
            try:
                compared = await self._contents.compare_live(drill, expected, live)
            finally:
                live.release()
            lived += compared.rows
            drill.differ(compared.differences)
        drill.outcome.facts |= {"rows_live": lived, "partitions_without_live_copy": unasked}

    async def sweep(self) -> int:
        """See Scenario."""
        return self._place.sweep(self.name)


def lost(live: Iterable[TableMeta], plan: Mapping[str, Any], at_us: int) -> list[str]:
    """Tables that were there at the moment, and of which the plan says neither that they come back nor why they do not. Pure."""
    told = {one["source_id"] for one in plan["tables"]} | {one["table_id"] for one in plan["left_out"]}
    return [one.name for one in live if usable(one) and one.created_at + JUST_MADE_US <= at_us and one.table_id not in told]


def _asked(table: TableMeta, files: list[tuple[PartitionInfo, Expected]]) -> dict[str, Any]:
    """A table for the job: its key's attributes as (name, type), and its row files in the order of their keys."""
    key = [(one.name, one.type) for one in (table.key.partition, table.key.sort) if one is not None]
    ordered = sorted(files, key=lambda one: one[0].lo)
    return {"table": table.name, "key": key, "rows": [expected.rows for _, expected in ordered]}
