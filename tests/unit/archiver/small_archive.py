"""A small but complete archive: identity, epoch, two partitions (one with a base in the middle of its log), closed objects."""

from __future__ import annotations

from scrubjay.archiver.format.base import BaseManifest
from scrubjay.archiver.format.closed import ClosedObject, encode_closed
from scrubjay.archiver.format.identity import encode_epoch, encode_identity
from scrubjay.archiver.format.layout import EpochKey, IdentityKey, build
from scrubjay.archiver.read.index import KnownArchived
from scrubjay.archiver.read.rebuild import rebuild
from scrubjay.archiver.read.replay import Cut
from scrubjay.archiver.write.bases import upload_base
from scrubjay.base.ids import Lsn, PartitionId, Stamp, TableId
from scrubjay.sim.lone import LoneDisk, LoneHost, LoneStore
from scrubjay.storage.archive_port import ClosedPoint
from tests.unit.archiver.sample import ATTACHED, CLUSTER, OWNER, START_US, Sample, history, other_partition


class SmallArchive:
    """samples: what is in it. store, disk, loop: where."""

    def __init__(self, *, segments: int = 3, seed: int = 20) -> None:
        self.loop, self.store, self.disk = LoneHost(), LoneStore(), LoneDisk()
        self.samples = [history(seed=seed, segments=segments), history(seed=seed + 1, segments=segments, partition=other_partition(7))]
        objects = self.store.objects
        objects[build(IdentityKey(CLUSTER))] = encode_identity(cluster=CLUSTER, created_us=START_US, parent=None)
        objects[build(EpochKey(CLUSTER, 1))] = encode_epoch(cluster=CLUSTER, epoch=1, owner=OWNER, created_us=START_US)
        for sample in self.samples:
            objects.update(sample.objects())
        self.base = self.add_base(self.samples[0], 1)
        for number in range(2):
            points = tuple(
                ClosedPoint(
                    TableId(s.table),
                    PartitionId(s.partition),
                    Stamp(s.stamp + ((number + 1) * 10_000_000 << 12)),
                    Lsn(s.lsn - 1),
                    Lsn(s.lsn),
                    s.chain,
                    Lsn(s.lsn),
                )
                for s in self.samples
            )
            made = ClosedObject(
                CLUSTER, "n1", START_US + (number + 1) * 10_000_000, 1, OWNER, points, START_US + 10_000_000 if number else None
            )
            objects[made.key()] = encode_closed(made)

    def add_base(self, sample: Sample, index: int) -> BaseManifest:
        """A base at the sample's segment `index`."""
        cut = Cut(lsn=sample.segments[index].last)
        done = self.loop.run(rebuild(self.store, self.disk, base=None, segments=sample.manifests(), cut=cut, output="rows", work="w"))
        facts = sample.facts
        return self.loop.run(
            upload_base(
                self.store, self.disk, "rows", writer=ATTACHED, table=sample.table, partition=sample.partition, table_name=facts.table_name,
                schema=facts.schema, lo=facts.lo, hi=facts.hi, lsn=done.applied, stamp=done.stamp, chain=done.chain, total=done.total,
            )
        )  # fmt: skip

    def archived(self) -> list[KnownArchived]:
        """What the cluster knows to be archived."""
        return [KnownArchived(sample.table, sample.partition, sample.lsn, sample.chain) for sample in self.samples]
