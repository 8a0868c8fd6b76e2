"""Random histories, random instants, random deaths: a restore gives exactly the rows of the model, no more and no fewer, and is published once."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scrubjay.pitr.target import RestoreTarget
from tests.unit.pitr.restore_world import Killed, RestoreWorld


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1 << 40),
    partitions=st.integers(1, 5),
    steps=st.integers(0, 80),
    deaths=st.lists(st.integers(1, 40), max_size=3),
    where=st.floats(0, 1),
)
def test_restores_equal_the_model_whatever_happens(seed: int, partitions: int, steps: int, deaths: list[int], where: float) -> None:
    rng = random.Random(seed)
    world = RestoreWorld(partitions, seed)
    world.write(rng, steps)
    world.seal_all()
    world.now_us += rng.randrange(0, 3_000_000)
    window = world.run(world.look(world.source)).window
    assert window.earliest_us is not None
    at = window.earliest_us + int((world.now_us - window.earliest_us) * where)
    expected = world.model(at)
    for death in deaths:
        world.kill_at = world.changes + death
        try:
            world.service.resume_unfinished()
            world.finish()
            if world.service.status("new") is None:
                world.run(world.service.start(world.source, "new", RestoreTarget(at_us=at)))
            world.finish()
        except Killed:
            world.kill_at = None
            world.restart()
    world.kill_at = None
    world.service.resume_unfinished()
    world.finish()
    if world.service.status("new") is None:
        world.run(world.service.start(world.source, "new", RestoreTarget(at_us=at)))
        world.finish()
    report = world.service.status("new")
    assert report is not None
    assert report["state"] == "published", report["error"]
    restored = world.restored(report["to_id"])
    assert restored.keys() - expected.keys() == set(), "extra keys"
    assert expected.keys() - restored.keys() == set(), "missing keys"
    assert restored == expected
    assert world.published == [report["to_id"]]
    assert len(world.metas) == 2
