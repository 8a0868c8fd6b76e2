"""A retention run that is killed at every one of its requests, before and after its effect: whatever is left is a sound archive, and the next run goes on."""

from __future__ import annotations

import pytest

from scrubjay.archiver.expire.plan import DAY_US
from scrubjay.sim.lone import LoneStore
from tests.unit.archiver.expire_world import ExpireWorld


class Killed(Exception):
    """The process ends here."""


class DyingStore(LoneStore):
    """The world's store, for a process that dies at its request number `dies` (0: never), with or without its effect."""

    def __init__(self, world: ExpireWorld, *, dies: int = 0, after: bool = False) -> None:
        super().__init__()
        self._store = world.store._store
        self.dies, self.after = dies, after
        self.count = 0

    async def _begin(self) -> None:
        self.count += 1
        if self.dies and (self.count > self.dies or (self.count == self.dies and not self.after)):
            raise Killed
        await super()._begin()

    async def _end(self) -> None:
        if self.dies and self.count >= self.dies:
            raise Killed
        await super()._end()


def prepared(*, dropped: bool) -> ExpireWorld:
    world = ExpireWorld()
    world.keep_us = 2 * DAY_US
    world.days(6, writes=3, base_every=2)
    if dropped:
        world.dropped_at_us = world.now_us
        world.idle(3)
    return world


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("dropped", [False, True], ids=["live", "dropped"])
def test_killed_at_every_request(dropped: bool, after: bool) -> None:
    world = prepared(dropped=dropped)
    objects = world.store.objects
    start = dict(objects)
    whole = DyingStore(world)
    world.expire(whole)
    assert whole.count > 20
    end = set(objects)
    assert end < set(start) | {key for key in end if "/expired/" in key}
    seen: set[int] = set()
    for dies in range(1, whole.count + 1):
        objects.clear()
        objects.update(start)
        with pytest.raises(Killed):
            world.expire(DyingStore(world, dies=dies, after=after))
        state = hash(frozenset(objects))
        if state in seen:
            continue  # it died over a request that changes nothing
        seen.add(state)
        world.index = world.new_index()
        for offline in (False, True):
            assert world.verify("listed", offline=offline).findings == [], f"killed at request {dies}"
        if not dropped:
            earliest, latest = world.window()
            assert earliest is not None
            assert latest is not None
            assert earliest <= world.now_us - world.keep_us
            for at_us in (world.now_us - world.keep_us, latest):
                assert world.restored(at_us) == world.state_at(at_us), f"killed at request {dies}"
        report = world.expire()
        assert report.exit == 0
        assert set(objects) == end, f"killed at request {dies}: the next run does not end where one would have"
    assert len(seen) > 10
