"""A heal that is cut off by what it does not expect: its table is dropped, its control part dies. On the real classes, at many moments."""

from __future__ import annotations

from typing import Any

import pytest

from scrubjay.base.errors import ScrubjayError
from scrubjay.base.ids import PartitionId
from scrubjay.storage.catalogue import TableMeta
from scrubjay.storage.control import drops
from tests.unit.control.house import House

VICTIM = "n2"
MOMENTS_MS = [0, 3, 6, 9, 12, 15, 20, 30]
"""Virtual milliseconds into a heal, which takes about thirty."""


def begin(house: House) -> tuple[TableMeta, str, Any]:
    """A table with rows, its one partition, and what it is to be rebuilt from."""
    table = house.create("orders")
    for key in range(12):
        house.put(table, key, key)
    (info,) = table.partitions
    sealed = house.run(house.service.seal(info.partition_id, reason=0))
    house.until(lambda: house.service.archived(info.partition_id) >= sealed.lsn)
    return table, info.partition_id, house.run(house.references().rebuild(table, info, until=sealed.lsn, progress=None))


def heal(house: House, partition: str, reference: Any) -> Any:
    """The coroutine of a heal of the victim's copy, by the present control part."""
    return house.service.heal(
        partition,  # type: ignore[arg-type]
        VICTIM,  # type: ignore[arg-type]
        rows=reference.rows,
        lsn=reference.lsn,
        stamp=reference.stamp,
        total=reference.digest.total(),
        chain=reference.chain,
        reason="a test",
    )


async def outcome(work: Any) -> Any:
    try:
        return await work
    except ScrubjayError as error:
        return error


@pytest.mark.parametrize("ms", MOMENTS_MS)
def test_a_heal_racing_delete_table_ends_and_leaves_nothing_behind(ms: int) -> None:
    house = House()
    table, partition, reference = begin(house)
    healing = house.env.tasks.spawn(outcome(heal(house, partition, reference)), name="heal")
    house.pass_time(ms / 1000)
    house.run(house.cluster.store.delete_table("orders"))
    house.until(healing.done)
    house.until(lambda: house.known(table.table_id).archived_at is not None)
    house.until(lambda: not any(node.hosting.known(partition) for node in house.cluster.nodes()))  # type: ignore[arg-type]
    assert not house.cluster.broken
    assert all(partition not in trees.trees for trees in house.cluster.trees.values()), "a tree that nobody will ever remove"
    assert house.service._healing.get(partition, 0) == 0  # type: ignore[call-overload]
    house.create("orders")  # the name, and the cluster, are as good as new


@pytest.mark.parametrize("ms", MOMENTS_MS)
def test_a_heal_whose_control_part_died_is_begun_anew_and_the_copy_serves(ms: int) -> None:
    house = House()
    table, partition, reference = begin(house)
    house.cluster.control.env.tasks.spawn(outcome(heal(house, partition, reference)), name="heal")
    house.pass_time(ms / 1000)
    house.restart_control()
    (info,) = table.partitions
    (node,) = [one for one in house.cluster.nodes() if one.name == VICTIM]
    replica = node.replicas[info.partition_id]
    again = house.run(house.references().rebuild(table, info, until=house.service.archived(info.partition_id), progress=None))
    found = house.run(outcome(heal(house, partition, again)))
    assert not isinstance(found, ScrubjayError), found
    assert (replica.status.tree, replica.status.vote) == ("ok", "votes")
    house.put(house.table("orders"), 99, 99)
    house.until(lambda: replica.applied >= max(one.replicas[info.partition_id].applied for one in house.cluster.nodes()))
    assert len({one.replicas[info.partition_id].total().hex for one in house.cluster.nodes()}) == 1
    assert not house.cluster.broken


@pytest.mark.parametrize("alive", [True, False])
def test_a_dropped_tables_copy_is_left_to_a_heal_for_a_bounded_time(*, alive: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tree in other hands is not taken away; whose control part died without a word is carried out by nobody: to wait for its end would be for ever."""
    monkeypatch.setattr(drops, "HEAL_WAIT_S", 8.0)
    house = House()
    table, _partition, _ = begin(house)
    (info,) = table.partitions
    (node,) = [one for one in house.cluster.nodes() if one.name == VICTIM]
    replica = node.replicas[info.partition_id]
    replica.set_state("healing", "a test")
    house.run(house.cluster.store.delete_table("orders"))
    house.until(lambda: house.known(table.table_id).archived_at is not None)
    house.pass_time(4.0)
    assert node.replicas[info.partition_id] is replica
    if alive:
        replica.set_state("suspect", "the heal has ended")
        house.pass_time(2.0)
    else:
        house.pass_time(6.0)
    assert not any(one.hosting.known(info.partition_id) for one in house.cluster.nodes())
    assert all(info.partition_id not in trees.trees for trees in house.cluster.trees.values())
    assert not house.cluster.broken


def test_a_copy_healed_while_more_was_archived_follows_the_log_that_was_kept_for_it() -> None:
    """The log kept for a heal goes as soon as the heal ends: a copy that has not followed it by then is left behind anew, and under steady writes for ever."""
    house = House()
    table, partition, _ = begin(house)
    victim = next(host for host in house.cluster.hosts if host.name == VICTIM)
    key = PartitionId(partition)

    def archive_more() -> None:
        house.put(table, 1, house.world.now)
        sealed = house.run(house.service.seal(key, reason=0))
        house.until(lambda: house.service.archived(key) >= sealed.lsn)

    def kept_from() -> int:
        leader = house.cluster.leader(key)
        return leader.group.log.first if leader is not None and leader.group is not None else 0

    had = victim.process.node.replicas[key].group.log.last
    victim.crash(power=True)
    while kept_from() <= had + 1:
        archive_more()
        house.pass_time(1.0)
    victim.start()
    house.until(lambda: any(copy.state == "behind" for copy in house.service.copies(key)))
    replica = victim.process.node.replicas[key]
    until = house.service.archived(key)
    let_go = house.run(house.service.keep_log(key, until))
    reference = house.run(house.references().rebuild(table, table.partitions[0], until=until, progress=None))
    for _ in range(3):
        archive_more()
        house.pass_time(1.0)
    assert kept_from() == until + 1
    house.run(heal(house, partition, reference))
    let_go()
    house.pass_time(5.0)
    assert kept_from() > until + 1, "the log went when it was not kept any more"
    assert (replica.state, replica.behind, replica.applied >= house.service.archived(key)) == ("ok", False, True)
