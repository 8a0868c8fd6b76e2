"""A partition that trickles: many small segments a day in virtual time, compaction run over its archive, and everything that readers say of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from scrubjay.archiver.compact.plan import PackedPlace
from scrubjay.archiver.compact.report import PackReport
from scrubjay.archiver.compact.run import Compactor, CompactParts
from scrubjay.archiver.expire.plan import DAY_US
from scrubjay.archiver.facts import Coverage
from scrubjay.archiver.format.layout import SegmentKey, parse
from scrubjay.archiver.format.manifest import PackManifest, decode_manifest
from scrubjay.archiver.read.index import ArchiveIndex
from scrubjay.archiver.read.partition import PartitionIndex
from scrubjay.base.env import ObjectStore
from scrubjay.base.hlc import stamp_of
from tests.unit.archiver.expire_world import ExpireWorld
from tests.unit.archiver.sample import CLUSTER, START_US


def at_midnight(us: int) -> int:
    return us // DAY_US * DAY_US


class CompactWorld(ExpireWorld):
    def __init__(self, *, seed: int = 5, keys: int = 20) -> None:
        super().__init__(seed=seed, keys=keys)
        self.now_us = at_midnight(START_US) + DAY_US

    def trickle(self, days: int, *, per_day: int = 12, writes: int = 1) -> None:
        """So many days, each with `per_day` segments."""
        for _ in range(days):
            begins_us = self.now_us
            for number in range(per_day):
                for write in range(writes):
                    self.sample.stamp = stamp_of(begins_us + number * (DAY_US // (per_day + 1)) + write * 1_000_000)
                    self.sample.random_write()
                self._seal()
            self.now_us = begins_us + DAY_US
            self.close()

    def place(self) -> PackedPlace:
        return PackedPlace(self.sample.table, "orders", self.sample.partition, self.sample.segments[-1].last, self.keep_us)

    def compactor(self, store: ObjectStore | None = None, *, stop: Callable[[int], str | None] | None = None) -> Compactor:
        at = store or self.store

        async def forget(keys: Sequence[str]) -> None:
            self.forgotten += keys

        index = self.index if store is None else ArchiveIndex(at, CLUSTER, tasks=self.loop.tasks)
        parts = CompactParts(
            env=self.loop.env(), store=at, disk=self.disk, jobs=None, index=index, writer=self.writer, locks=self.book, archived=self.archived,
            forget=forget, progress=lambda facts: None,
        )  # fmt: skip
        return Compactor(parts, stop=stop)

    def compact(self, store: ObjectStore | None = None, *, stop: Callable[[int], str | None] | None = None) -> PackReport:
        self.loop.now_us = self.now_us
        found: PackReport = self.loop.run(self.compactor(store, stop=stop).run([self.place()]))
        return found

    def planned(self) -> PackReport:
        self.loop.now_us = self.now_us
        found: PackReport = self.loop.run(self.compactor().plan([self.place()]))
        return found

    # --- what is there, and what is said of it ---

    def log_keys(self) -> list[SegmentKey]:
        return [key for key in map(parse, self.keys("log")) if isinstance(key, SegmentKey)]

    def packs(self) -> list[PackManifest]:
        found = [decode_manifest(self.store.objects[name], where=name) for name in self.keys("log") if name.endswith(".json")]
        return [one for one in found if isinstance(one, PackManifest)]

    def afresh(self) -> PartitionIndex:
        """As a process finds it that has just begun."""
        index = self.new_index()
        self.loop.run(index.refresh(now_us=self.now_us, archived=self.archived()))
        return index.partitions[self.sample.table, self.sample.partition]

    def coverage(self) -> Coverage:
        return self.afresh().coverage()

    def narrow(self) -> list[str]:
        """Names of the segments that are no packs."""
        packs = {(one.first, one.last) for one in self.packs()}
        return [name for name in self.keys("log") if isinstance(key := parse(name), SegmentKey) and (key.first, key.last) not in packs]
