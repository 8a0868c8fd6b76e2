"""Nights on which the process is killed while it writes."""

from __future__ import annotations

import pytest

from scrubjay.archiver.read.index import ArchiveIndex
from scrubjay.archiver.verify.report import VerifyOptions
from scrubjay.archiver.verify.run import verify
from scrubjay.scrubber.options import ScrubOptions
from scrubjay.scrubber.rebuilt import ArchiveReferences
from scrubjay.scrubber.schedule.settings import DAY_US
from scrubjay.scrubber.schedule.views import Shift, ShiftOutcome
from scrubjay.scrubber.service import ScrubService
from scrubjay.scrubber.shelves import StoreShelves
from scrubjay.scrubber.sqlite_ledger import MEMORY, SqliteLedger
from scrubjay.scrubber.telling import Telling
from scrubjay.server.nightly import DEFAULTS, base_work
from scrubjay.server.verifying import VerifyRuns
from scrubjay.sim.jobs import SimJobs
from scrubjay.sim.store import SimStoreClient
from scrubjay.sim.whole.cluster import CLUSTER
from scrubjay.storage.catalogue import TableMeta
from tests.unit.control.house import House


class Killed(Exception):
    """The process ends here."""


class DyingStore(SimStoreClient):
    """The archive, for a process that dies at its put number `dies` (0: never), with or without its effect."""

    def __init__(self, house: House, *, dies: int = 0, after: bool = False) -> None:
        super().__init__(house.cluster.archive, house.env.tasks)
        self.dies, self.after, self.count = dies, after, 0

    async def put(self, key: str, data: bytes) -> None:
        self.count += 1
        if self.count == self.dies and not self.after:
            raise Killed
        await super().put(key, data)
        if self.count == self.dies:
            raise Killed


def verdict(house: House, *, offline: bool = False) -> tuple[str, list[str]]:
    """Of a verify of everything, and what it found."""
    if offline:
        options = VerifyOptions(cluster=CLUSTER, wall_us=house.env.clock.wall_us, ahead_us=2_000_000)
        found = house.run(
            verify(
                house.client(), house.cluster.folder.disk, options=options, now_us=house.env.clock.boot_us, work="v", tasks=house.env.tasks
            )
        )
        return found.verdict, [f"{one.kind} {one.object}" for one in found.findings]
    ledger = house.run(SqliteLedger.open(house.env.tasks, MEMORY))
    runs = VerifyRuns(
        house.env, house.client(), house.cluster.folder.disk, house.jobs(), ledger, house.cluster.parts,
        ArchiveIndex(house.client(), CLUSTER, tasks=house.env.tasks), ahead_us=2_000_000, telling=Telling(lambda _: None), log=lambda _: None,
    )  # fmt: skip
    report = house.run(runs.verify(tables=None, level="records", budget_us=None, max_age_us=0, progress=lambda _: None))
    return str(report["verdict"]), [f"{found['kind']} {found['object']}" for found in report["findings"]]


def base_night(house: House, table: TableMeta, store: DyingStore) -> ShiftOutcome:
    """A life of a process that makes the bases that are due."""
    index = ArchiveIndex(store, CLUSTER, tasks=house.env.tasks)
    disk, jobs = house.cluster.folder.disk, SimJobs(house.env.tasks, house.cluster.folder.disk, lambda _url: store)
    references = ArchiveReferences(
        house.env, jobs, disk, StoreShelves(store, index, house.env.clock), url=house.cluster.archive.url, writer=house.writer
    )
    references.sweep()
    for info in table.partitions:
        house.run(references._shelves.shelf(table.table_id, info.partition_id, upto=house.service.archived(info.partition_id)))
    scrub = ScrubService(house.env, house.service, references, None, ScrubOptions(lanes=1), log=house.lines.append)

    def due() -> frozenset[str]:
        parts = [info for info in table.partitions if references.base_due(table, info, until=house.service.archived(info.partition_id))]
        return frozenset(info.partition_id for info in parts)

    return house.run(base_work(scrub, due)(Shift(DEFAULTS["base"], house.env.clock.wall_us() - DAY_US, lambda _: None)))


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("dies", [1, 2])
def test_killed_at_any_put_of_the_job_base_the_archive_is_sound_and_the_next_life_makes_it(dies: int, after: bool) -> None:
    """A base is its rows and then its manifest. It is there, or it is not; rows without a manifest are what was cut off, where somebody knows better or a later base stands."""
    house = House()
    table = house.create("birds")
    for key in range(20):
        house.put(table, key, key)
    house.checkpointed(table, 20)
    house.until(lambda: all(house.service.archived(info.partition_id) >= 2 for info in table.partitions))
    with pytest.raises(Killed):
        base_night(house, table, DyingStore(house, dies=dies, after=after))
    assert verdict(house) == ("match", [])
    there = [key for key in house.cluster.archive.objects if "/base/" in key and key.endswith("manifest.json")]
    assert len(there) == (1 if (dies, after) == (2, True) else 0)
    outcome = base_night(house, table, DyingStore(house))
    assert outcome.verdict == ("nothing_due" if there else "match")
    assert len([key for key in house.cluster.archive.objects if "/base/" in key and key.endswith("manifest.json")]) == 1
    for key in range(20):
        house.put(table, key, key + 1)
    house.until(lambda: house.scrub().exit_code == 0, seconds=120)
    assert verdict(house) == verdict(house, offline=True) == ("match", [])
    assert not [path for path in house.cluster.folder.disk.paths() if path.endswith((".rows", ".base"))]
