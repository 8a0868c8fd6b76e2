"""What the log may let go of after a checkpoint: on a real replica of a simulated cluster, whose checkpoints and seals come when the test says so."""

from __future__ import annotations

import pytest

from scrubjay.base.ids import Lsn, PartitionId
from scrubjay.sim.whole.run import STORAGE
from scrubjay.storage.log.record import Seal
from scrubjay.storage.options import StorageOptions
from scrubjay.storage.replica import Replica
from tests.unit.control.house import House

NEVER_US = 1 << 50


def by_hand() -> StorageOptions:
    named = {name: getattr(STORAGE, name) for name in STORAGE.__slots__}
    named |= dict.fromkeys(("checkpoint_interval_us", "checkpoint_idle_interval_us", "seal_age_us"), NEVER_US)
    return StorageOptions(**named | dict.fromkeys(("checkpoint_bytes", "seal_bytes"), 1 << 30))


class Bench:
    """One table and the replica that leads it. Nothing is archived while the agents rest."""

    def __init__(self) -> None:
        self.house = House(storage=by_hand())
        self.table = self.house.create("t")
        self.partition: PartitionId = self.table.partitions[0].partition_id
        self.written = 0
        self.write()
        self.archived_to(self.seal())

    @property
    def replica(self) -> Replica:
        found = self.house.cluster.leader(self.partition)
        assert found is not None
        return found

    @property
    def kept_from(self) -> int:
        """First LSN that the log still holds."""
        group = self.replica.group
        assert group is not None
        return int(group.log.first)

    def write(self) -> None:
        self.written += 1
        self.house.put(self.table, self.written, self.written)

    def seal(self) -> int:
        """LSN of a new SEAL."""
        return int(self.house.run(self.house.cluster.store.seal(self.partition, Seal.STOP)).lsn)

    def archived_to(self, lsn: int) -> None:
        self.house.until(lambda: all(node.replicas[self.partition].segments.facts.archived >= lsn for node in self.house.cluster.nodes()))

    def checkpoint(self) -> int:
        """The LSN that the tree is at then."""
        self.write()
        replica = self.replica
        self.house.until(lambda: replica.applied == replica.chosen)
        at = replica.applied
        replica.checkpoints.freeze(pin=False)
        self.house.until(lambda: replica.checkpoints.committed >= at)
        return int(at)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_the_first_record_that_is_not_archived_is_kept(bench: Bench) -> None:
    bench.house.stop_agents()
    archived = bench.replica.segments.facts.archived
    assert archived > 0
    bench.write()
    bench.seal()
    for _ in range(4):
        bench.checkpoint()
    assert bench.kept_from == archived + 1


def test_a_segment_open_at_the_checkpoint_before_the_last_is_kept_whole_though_it_is_archived_since(bench: Bench) -> None:
    """A restart goes on from a checkpoint inside that segment, meets its SEAL again and reads the segment back from its beginning."""
    bench.checkpoint()
    first = bench.seal()
    bench.archived_to(first)
    inside = bench.checkpoint()
    second = bench.seal()
    bench.archived_to(second)
    assert first < inside < second
    bench.checkpoint()
    assert bench.replica.segments.facts.archived >= second
    assert bench.kept_from == first + 1
    bench.checkpoint()
    assert bench.kept_from == second + 1, "one checkpoint later it may go"


def test_a_hold_keeps_what_follows_it_until_the_last_who_asked_lets_go(bench: Bench) -> None:
    held = bench.seal()
    checkpoints = bench.replica.checkpoints
    checkpoints.hold(Lsn(held))
    checkpoints.hold(Lsn(held))
    for _ in range(3):
        bench.archived_to(bench.seal())
        bench.checkpoint()
    assert bench.kept_from == held + 1
    checkpoints.release_hold(Lsn(held))
    assert bench.kept_from == held + 1
    checkpoints.release_hold(Lsn(held))
    assert bench.kept_from > held + 1


def test_a_tree_that_is_ahead_of_its_log_lets_go_of_what_the_group_has_applied_and_no_more(bench: Bench) -> None:
    """Seed 14008 of the whole profile: a hold ended while a copy's tree was ahead of what its group had applied."""
    held = bench.seal()
    replica = bench.replica
    replica.checkpoints.hold(Lsn(held))
    for _ in range(3):
        bench.archived_to(bench.seal())
        bench.checkpoint()
    assert replica.group is not None
    applied = replica.group.log.applied
    replica.group.log.applied = Lsn(held + 2)
    replica.checkpoints.release_hold(Lsn(held))
    assert bench.kept_from == held + 3
    replica.group.log.applied = applied
    replica.checkpoints.trim()
    assert bench.kept_from > held + 3


def test_a_checkpoint_of_a_tree_that_was_let_go_moves_nothing(bench: Bench) -> None:
    replica = bench.replica
    bench.write()
    replica.checkpoints.freeze(pin=False)
    before = replica.checkpoints.committed
    replica.give_up_tree()
    bench.house.pass_time(1.0)
    assert replica.checkpoints.committed == before


def test_a_replica_without_its_group_lets_go_of_nothing(bench: Bench) -> None:
    """Its log was lost, or it waits for its tree: what it needs is not known."""
    replica, kept = bench.replica, bench.kept_from
    bench.archived_to(bench.seal())
    group, replica.group = replica.group, None
    replica.checkpoints.trim()
    replica.group = group
    assert bench.kept_from == kept
