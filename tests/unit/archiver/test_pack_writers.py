"""What those who write to an archive make of packs: a log that goes on behind them, one that is behind them, and a member that hears late of a segment that was packed."""

from __future__ import annotations

import pytest

from scrubjay.archiver.write.meeting import AHEAD, meet
from scrubjay.archiver.write.placing import Placer
from scrubjay.base.ids import PartitionId
from tests.unit.archiver.compact_world import CompactWorld
from tests.unit.archiver.sample import CLUSTER
from tests.unit.archiver.test_archive_agent import FakeSource


def compacted() -> CompactWorld:
    world = CompactWorld()
    world.trickle(3, per_day=6)
    assert world.compact().exit == 0
    return world


def met(world: CompactWorld, archived: int) -> str | None:
    source = FakeSource(1, [world.sample], leads=True)
    source.archived_lsn[PartitionId(world.sample.partition)] = archived
    found: str | None = world.loop.run(meet(world.store, CLUSTER, source, PartitionId(world.sample.partition), taken_over=0))
    return found


@pytest.mark.slow
def test_a_log_meets_an_archive_of_packs() -> None:
    world = compacted()
    segments = world.sample.segments
    assert met(world, segments[-1].last) is None
    for kept in range(1, len(segments) - 1):
        behind = compacted()
        del behind.sample.segments[kept:]
        del behind.sample.records[behind.sample.segments[-1].last :]
        behind.sample.chain = behind.sample.segments[-1].chain
        reason = met(behind, behind.sample.segments[-1].last)
        assert reason is not None, f"the archive is ahead of a log that ends with segment {kept}"
        assert AHEAD in reason


def test_a_late_member_finds_its_segment_in_the_pack() -> None:
    world = compacted()
    placer = Placer(world.store, world.loop.env(), writer=world.writer, node="n2")
    packed = {part.last for pack in world.packs() for part in pack.parts}
    for segment in world.sample.segments:
        raw = world.sample.raw(segment)
        found = world.loop.run(placer.packed(segment, raw))
        assert found == (1 if segment.last in packed else None)
        assert world.loop.run(placer.packed(segment, raw[:-1] + b"x")) is None
        assert world.loop.run(placer.rival(segment)) is None, "a pack that begins with it is no other history"
    other = CompactWorld(seed=9)
    other.trickle(3, per_day=6)
    begins = {pack.first for pack in world.packs()}
    rivals = [one for one in other.sample.segments if one.first in begins and world.loop.run(placer.rival(one)) is not None]
    assert rivals, "and one that begins there and says something else is"
