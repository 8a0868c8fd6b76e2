"""A compaction that is killed at every one of its requests, before and after its effect: what is proven of the archive is the same at every cut, and the next run goes on."""

from __future__ import annotations

import pytest

from scrubjay.archiver.format.layout import SegmentKey, build, parse
from scrubjay.archiver.verify.report import VerifyOptions
from scrubjay.archiver.verify.run import verify
from tests.unit.archiver.compact_world import CompactWorld
from tests.unit.archiver.sample import CLUSTER
from tests.unit.archiver.test_archive_verify import Remembered
from tests.unit.archiver.test_expire_kill import DyingStore, Killed


@pytest.mark.slow
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


@pytest.mark.parametrize("left", ["nothing", "bodies"])
def test_what_the_ledger_goes_on_remembering_of_parts_is_no_hole(left: str) -> None:
    """Killed behind the delete and before the ledger forgot."""
    world = CompactWorld()
    world.trickle(3, per_day=5)
    start = dict(world.store.objects)
    known = [*world.keys("log")]
    assert world.compact().exit == 0
    if left == "bodies":
        world.store.objects.update({name: data for name, data in start.items() if name.endswith(".seg")})
    options = VerifyOptions(level="listed", cluster=CLUSTER, archived=world.archived(), wall_us=lambda: world.now_us, ahead_us=5_000_000)

    def found(remembered: list[str]) -> list[str | None]:
        report = world.loop.run(
            verify(
                world.store, world.disk, options=options, now_us=lambda: 0, work="v", tasks=world.loop.tasks, memory=Remembered(remembered)
            )
        )
        return [one.object for one in report.findings]

    assert found(known) == []
    key = parse(known[0])
    assert isinstance(key, SegmentKey)
    beyond = build(key._replace(first=key.last + 10_000, last=key.last + 10_001))
    across = build(key._replace(last=key.last + 10_001))
    assert sorted(map(str, found([*known, beyond, across]))) == sorted([beyond, across]), "what lies in no object is gone"
    pack = build(world.packs()[0].key().twin())
    del world.store.objects[pack]
    assert pack in found([*known, pack]), "a pack does not take the place of itself"
