"""What the log may let go of after a checkpoint."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from base.ids import Lsn, PartitionId, Stamp
from storage.checkpoints import Checkpoints
from storage.options import StorageOptions
from storage.overlay import Overlay
from storage.segments import SegmentFacts
from tests.unit.storage.test_overlay import DictTree


class Bench:
    """A replica of which only what checkpoints touch is there. trimmed: the LSN below which the log was let go."""

    def __init__(self) -> None:
        self.trimmed = 1
        wal = SimpleNamespace(trim=lambda _partition, below: setattr(self, "trimmed", int(below)))
        node: Any = SimpleNamespace(options=StorageOptions(), boot_us=lambda: 0, arm=lambda _: None, wal=wal, guarded=lambda work: work)
        self.replica: Any = SimpleNamespace(
            stopped=False,
            node=node,
            overlay=Overlay(),
            tree=DictTree(),
            usable=True,
            applied=Lsn(0),
            chosen=Lsn(0),
            stamp=Stamp(0),
            fresh=(),
            partition=PartitionId("p"),
            segments=SimpleNamespace(facts=SegmentFacts()),
            group=SimpleNamespace(trimmed=lambda _: None),
            extra=lambda: b"",
        )
        self.checkpoints = Checkpoints(self.replica)

    def checkpoint(self, applied: int, *, first: int, archived: int) -> None:
        facts = self.replica.segments.facts
        facts.first, facts.archived = first, archived
        self.replica.applied = Lsn(applied)
        self.checkpoints.freeze(pin=False)


def test_the_log_is_kept_to_the_checkpoint_before_the_last_and_until_archived() -> None:
    bench = Bench()
    bench.checkpoint(10, first=1, archived=0)
    bench.checkpoint(20, first=1, archived=0)
    assert bench.trimmed == 1, "nothing is archived"
    bench.checkpoint(30, first=16, archived=15)
    assert bench.trimmed == 1, "the checkpoint before the last was taken inside the segment that began at 1"
    bench.checkpoint(40, first=16, archived=15)
    assert bench.trimmed == 16


def test_a_segment_open_at_the_checkpoint_before_the_last_is_kept_whole_though_it_is_archived_since() -> None:
    """A restart goes on from a checkpoint inside that segment, meets its SEAL again and reads the segment back from its beginning."""
    bench = Bench()
    bench.checkpoint(10, first=11, archived=10)
    bench.checkpoint(15, first=11, archived=10)
    bench.checkpoint(25, first=21, archived=20)
    assert bench.trimmed == 11, "LSN 15 lies inside the segment 11..20"


def test_a_hold_keeps_what_follows_it() -> None:
    bench = Bench()
    bench.checkpoints.hold(Lsn(5))
    for applied in (10, 20, 30):
        bench.checkpoint(applied, first=applied + 1, archived=applied)
    assert bench.trimmed == 6
    bench.checkpoints.release_hold(Lsn(5))
    assert bench.trimmed == 21


def test_the_first_record_that_is_not_archived_is_kept() -> None:
    bench = Bench()
    for applied in (10, 20, 30):
        bench.checkpoint(applied, first=applied - 5, archived=4)
    assert bench.trimmed == 5
