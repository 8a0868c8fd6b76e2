"""A compaction that is killed at every one of its requests, before and after its effect: what is proven of the archive is the same at every cut, and the next run goes on."""

from __future__ import annotations

import pytest

from tests.unit.archiver.compact_world import CompactWorld
from tests.unit.archiver.test_expire_kill import DyingStore, Killed


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_coverage_is_the_same_wherever_it_is_killed(after: bool) -> None:
    world = CompactWorld()
    world.trickle(3, per_day=4)
    objects = world.store.objects
    start, before = dict(objects), world.coverage()
    whole = DyingStore(world)
    assert world.compact(whole).exit == 0
    end = dict(objects)
    assert len(end) < len(start)
    seen: set[int] = set()
    for dies in range(1, whole.count + 1):
        objects.clear()
        objects.update(start)
        with pytest.raises(Killed):
            world.compact(DyingStore(world, dies=dies, after=after))
        state = hash(frozenset(objects))
        if state in seen:
            continue  # it died over a request that changes nothing
        seen.add(state)
        world.index = world.new_index()
        assert world.coverage() == before, f"killed at request {dies}"
        for offline in (bool(dies % 2),):
            assert world.verify("listed", offline=offline).findings == [], f"killed at request {dies}"
        if len(seen) % 6 == 0:
            assert world.verify("replayed").findings == [], f"killed at request {dies}"
            at_us = world.now_us - 2 * 86_400_000_000
            assert world.restored(at_us) == world.state_at(at_us), f"killed at request {dies}"
        report = world.compact()
        assert report.exit == 0
        assert objects == end, f"killed at request {dies}: the next run does not end where one would have"
    assert len(seen) > 15
