"""A copy whose tree rotted under a row that is overwritten knows no digest any more, and the chain of segments is over digests: the archive is not judged by its word."""

from __future__ import annotations

from scrubjay.base.ids import PartitionId
from tests.unit.control.house import House


def test_the_archive_is_not_judged_by_it() -> None:
    house = House()
    table = house.create("orders")
    for key in range(12):
        house.put(table, key, key)
    house.checkpointed(table, 12)
    partition = PartitionId(table.partitions[0].partition_id)
    follower = next(node for node in house.cluster.nodes() if not node.replicas[partition].leads)
    house.rot(follower.name, table, 1)
    follower.replicas[partition].follow.void = True  # as when the row that rotted is overwritten
    follower.replicas[partition].suspect("rot in the tree")
    before = house.service.archived(partition)
    house.put(table, 1, 100)
    house.until(lambda: house.service.archived(partition) > before)
    house.pass_time(2)
    chains = {facts.node: facts.archived_chain for facts in house.service._fleet.facts(partition)}
    sound = {chain for node, chain in chains.items() if node != follower.name}
    assert chains[follower.name] == b"", chains
    assert len(sound) == 1, "the others know one chain"
    assert sound != {b""}
