"""A closed object that is dated in the future: a clock that ran ahead, or a lie. Nobody goes by it, and somebody is told."""

from __future__ import annotations

from scrubjay.archiver.expire.plan import DAY_US
from scrubjay.archiver.format.closed import ClosedObject, encode_closed
from scrubjay.base.hlc import last_stamp_at
from scrubjay.base.ids import Lsn, PartitionId, Stamp, TableId
from scrubjay.storage.archive_port import ClosedPoint
from tests.unit.archiver.expire_world import ExpireWorld
from tests.unit.archiver.sample import CLUSTER


def from_the_future(world: ExpireWorld, *, days: int) -> str:
    """Its key. It says that everything is closed until then."""
    sample, then_us = world.sample, world.now_us + days * DAY_US
    last = Lsn(sample.segments[-1].last)
    point = ClosedPoint(
        TableId(sample.table), PartitionId(sample.partition), Stamp(last_stamp_at(then_us - 1000)), Lsn(last - 1), last, sample.chain, last
    )
    made = ClosedObject(CLUSTER, "n1", then_us, sample.attached.epoch, sample.attached.owner, (point,), world.now_us)
    world.store.objects[made.key()] = encode_closed(made)
    return made.key()


def test_verify_calls_it_forged_and_neither_window_nor_retention_believes_it() -> None:
    world, honest = ExpireWorld(), ExpireWorld()
    for one in (world, honest):
        one.keep_us = 2 * DAY_US
        one.days(6, writes=3, base_every=2)
    key = from_the_future(world, days=400)
    found = [(one.kind, one.object) for one in world.verify("records").findings]
    assert found == [("forged", key)]
    assert honest.verify("records").findings == []

    assert world.window() == honest.window(), "the window ends where the others say"
    plan, sound = world.plan(), honest.plan()
    assert (plan.exit, [one.lsn for one in (part.plan for part in plan.outcomes)]) == (
        sound.exit,
        [part.plan.lsn for part in sound.outcomes],
    )
    assert world.expire().exit == 0
    honest.expire()
    assert set(world.store.objects) - {key} == set(honest.store.objects), "the same goes, and it stays"
    assert key in world.store.objects
    at_us = world.now_us - DAY_US
    assert world.restored(at_us) == world.state_at(at_us)


def test_in_an_idle_table_it_does_not_move_the_window_either() -> None:
    world = ExpireWorld()
    world.days(2)
    key = from_the_future(world, days=3)
    _, before_us = world.window()
    assert before_us is not None
    assert before_us < world.now_us, "not what the future says"
    world.idle(1)
    _, after_us = world.window()
    assert after_us is not None
    assert before_us < after_us < world.now_us
    assert [one.object for one in world.verify("records").findings] == [key]
    world.idle(3)
    assert world.verify("records").findings == [], "its time has come: nothing tells it from others any more"
