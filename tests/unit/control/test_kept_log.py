"""What nodes keep of the log for a member that was away for some seconds: it goes on from there, where it had to be healed, and while it was, one more away meant no leader."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scrubjay.base.ids import PartitionId
from scrubjay.sim.whole.run import STORAGE
from scrubjay.storage.catalogue import TableMeta
from tests.unit.control.house import SECOND, House

KEEP_S = 20


class Away:
    """A table under steady writes, all of them archived and in the trees, while one node is away."""

    def __init__(self, keep_s: int) -> None:
        self.house = House(storage=replace(STORAGE, keep_log_us=keep_s * SECOND))
        self.table: TableMeta = self.house.create("orders")
        self.key = PartitionId(self.table.partitions[0].partition_id)
        self.victim = next(host for host in self.house.cluster.hosts if host.process.node.replicas[self.key].term is None)
        self.written()

    def written(self) -> None:
        """More of the table, archived everywhere, and a checkpoint behind it."""
        house = self.house
        house.put(self.table, 1, house.world.now)
        sealed = house.run(house.service.seal(self.key, reason=0))
        house.until(lambda: house.service.archived(self.key) >= sealed.lsn)
        house.pass_time(1.0)

    def kept_from(self) -> int:
        leader = self.house.cluster.leader(self.key)
        return leader.group.log.first if leader is not None and leader.group is not None else 0

    def back(self) -> list[str]:
        """What the copy was seen as since its node came back, until it has all that there was."""
        house, seen = self.house, []
        self.victim.start()
        until = house.service.archived(self.key)

        def follows() -> bool:
            replica = self.victim.process.node.replicas.get(self.key)
            if replica is None:
                return False
            if not seen or seen[-1] != replica.state:
                seen.append(replica.state)
            return replica.applied >= until or replica.behind

        house.until(follows)
        return seen


def test_who_was_away_for_less_than_the_log_is_kept_goes_on_from_it() -> None:
    away = Away(KEEP_S)
    had = away.victim.process.node.replicas[away.key].group.log.last
    away.victim.crash(power=True)
    for _ in range(6):
        away.written()
    assert away.kept_from() <= had + 1
    assert "suspect" not in away.back()
    assert not away.victim.process.node.replicas[away.key].behind


def test_what_the_log_held_before_a_restart_is_kept_as_long_as_what_came_after() -> None:
    """Two nodes restart while the third is away: what that one lacks lies in their logs still."""
    away = Away(KEEP_S)
    had = away.victim.process.node.replicas[away.key].group.log.last
    away.victim.crash(power=True)
    for _ in range(2):
        away.written()
    for host in away.house.cluster.hosts:
        if host is not away.victim:
            host.crash(power=False)
            host.start()
    away.written()
    assert away.kept_from() <= had + 1
    assert "suspect" not in away.back()


def test_without_it_the_copy_is_left_behind() -> None:
    away = Away(0)
    had = away.victim.process.node.replicas[away.key].group.log.last
    away.victim.crash(power=True)
    for _ in range(6):
        away.written()
    assert away.kept_from() > had + 1
    away.back()
    assert away.victim.process.node.replicas[away.key].behind


def test_what_was_kept_goes_by_itself_once_its_time_is_over() -> None:
    away = Away(KEEP_S)
    for _ in range(3):
        away.written()
    kept = away.kept_from()
    away.house.pass_time(KEEP_S / 2)
    assert away.kept_from() == kept
    away.house.pass_time(KEEP_S / 2 + 1)
    assert away.kept_from() > kept


def test_where_room_is_short_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    away = Away(KEEP_S)
    kept = away.kept_from()
    for node in away.house.cluster.nodes():
        monkeypatch.setattr(node.wal, "ample", lambda: False, raising=False)
    away.written()
    away.written()
    assert away.kept_from() > kept
