"""Drills over a whole cluster of the real classes, in simulated time."""

from __future__ import annotations

from typing import Any

from scrubjay.archiver.read.index import ArchiveIndex
from scrubjay.base.env import Jobs
from scrubjay.base.wrap.retry import RetryingStore
from scrubjay.drills.contents import PREFIX, Contents
from scrubjay.drills.kept import DrillBook
from scrubjay.drills.lose_cluster import LoseCluster, LoseJobs
from scrubjay.drills.report import DrillSigner
from scrubjay.drills.restore_random import RestoreRandom, Restores
from scrubjay.drills.rot import Rot
from scrubjay.drills.runs import Drills
from scrubjay.drills.scenario import Scenario
from scrubjay.drills.scratch import ScratchPlace
from scrubjay.sim.jobs import SimJobs
from scrubjay.sim.store import SimStore
from scrubjay.sim.whole.cluster import CLUSTER
from scrubjay.storage.catalogue import TableMeta
from tests.unit.control.house import House


class Secret:
    """A key that is made once."""

    def __init__(self) -> None:
        self.made: bytes | None = None

    def read(self) -> bytes | None:
        return self.made

    def make(self) -> bytes:
        self.made = bytes(range(32))
        return self.made


class DrillHouse(House):
    """A house with one table of `rows` items in two partitions, all of it archived."""

    def __init__(self, seed: int = 1, *, rows: int = 20) -> None:
        super().__init__(seed, partitions=2)
        self.secret = Secret()
        self.copies: dict[str, SimStore] = {}
        self.birds = self.create("birds")
        for key in range(rows):
            self.put(self.birds, key, key)
        self.pass_time(20)
        for key in range(0, rows, 3):
            self.put(self.birds, key, 1000 + key)
        self.put(self.birds, 1, None)
        self.pass_time(20)

    def contents(self) -> Contents:
        index = ArchiveIndex(self.client(), CLUSTER, tasks=self.env.tasks)
        return Contents(self.env, self.service, index, self.jobs(), self.cluster.folder.disk, url=self.cluster.archive.url)

    def drills(self, *, restores: Restores | None = None, level: str = "records") -> Drills:
        """Of this life of the control part."""
        disk = self.cluster.folder.disk
        scenario = RestoreRandom(self.env, self.service, restores or self.restore, self.contents(), drop=self.cluster.store.delete_table)
        rot = Rot(self.env, self.client(), self.copy, self.both(), disk, cluster=CLUSTER, ahead_us=1_000_000, level=level)
        return self.with_scenarios(scenario, rot)

    def lose_cluster(self, own: Jobs) -> Drills:
        """`lose-cluster` with jobs of a process of its own."""
        disk = self.cluster.folder.disk
        place = ScratchPlace(self.env, own, disk, root="/data")
        jobs = LoseJobs("plan", "recover")
        url = self.cluster.archive.url
        scenario = LoseCluster(self.env, self.service, self.contents(), place, url=url, cluster=CLUSTER, jobs=jobs)
        return self.with_scenarios(scenario)

    def with_scenarios(self, *scenarios: Scenario) -> Drills:
        book = DrillBook(self.cluster.folder.disk, log=self.lines.append)
        return Drills(
            self.env, book, DrillSigner(self.secret), scenarios, facts={"cluster": CLUSTER}, live=self.live, log=self.lines.append
        )

    def live(self) -> list[str]:
        return [one.name for one in self.service.tables() if one.dropped_at is None]

    def held(self, table: TableMeta) -> list[tuple[list[int], list[int]]]:
        """Of every copy of a table: where its tree is pinned, and above what its log is held."""
        partitions = [info.partition_id for info in table.partitions]
        checkpoints = [node.replicas[partition].checkpoints for node in self.cluster.nodes() for partition in partitions]
        return [(sorted(one._pins), sorted(one._holds)) for one in checkpoints]

    def copy(self, place: str) -> RetryingStore:
        """A store of its own by each name."""
        store = self.copies.setdefault(place, SimStore(self.world, place.replace("/", "-")))
        return RetryingStore(store.client(self.env.tasks), self.env)

    def both(self) -> SimJobs:
        """Workers that open the archive and the copies of it by their URLs."""

        def opened(url: str) -> RetryingStore:
            return next((self.copy(place) for place, one in self.copies.items() if one.url == url), self.client())

        return SimJobs(self.env.tasks, self.cluster.folder.disk, opened)

    def drill(self, drills: Drills, seed: int, scenario: str = "restore-random") -> dict[str, Any]:
        report: dict[str, Any] = self.run(drills.run(scenario, seed=seed, progress=lambda _facts: None))
        return report

    def scratch(self) -> list[TableMeta]:
        """Scratch tables that are still there."""
        return [one for one in self.service.tables() if one.name.startswith(PREFIX) and one.dropped_at is None and one.status != "DELETING"]
