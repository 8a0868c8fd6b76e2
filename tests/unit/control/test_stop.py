"""A planned stop under load: no more writes, then the last seals, then the archive; nothing acknowledged is left behind. On the real classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from scrubjay.archiver.read.index import ArchiveIndex
from scrubjay.archiver.write.agent import ArchiveAgent
from scrubjay.archiver.write.writer import UNKNOWN
from scrubjay.base.errors import Exists, Unavailable
from scrubjay.base.hlc import stamp_micros
from scrubjay.base.ids import NodeName, PartitionId, Stamp
from scrubjay.pitr.target import RestoreTarget
from scrubjay.server.stop import LAST_WORDS_S, last_words, others_go_on, planned_stop, said, unclosed
from scrubjay.sim.whole.cluster import CLUSTER
from scrubjay.sim.whole.commands import key_of
from scrubjay.sim.whole.run import AGENT
from scrubjay.storage.catalogue import TableMeta
from scrubjay.storage.commands.values import WriteAnswer
from tests.unit.control.house import SECOND, House


class Load:
    """Writers that never rest. answers: key -> what it was told."""

    def __init__(self, house: House, table: TableMeta) -> None:
        self.house, self.table = house, table
        self.asked: dict[int, Any] = {}
        self._task = house.env.tasks.spawn(self._write(), name="load")

    def end(self) -> None:
        self._task.cancel()

    async def _write(self) -> None:
        for key in range(100_000):
            self.asked[key] = self.house.ask(self.table, key, key)
            await self.house.env.tasks.sleep(0.003)

    def told(self) -> dict[int, Any]:
        return {key: one.result() for key, one in self.asked.items() if one.done()}

    def acknowledged(self) -> dict[int, WriteAnswer]:
        return {key: one for key, one in self.told().items() if isinstance(one, WriteAnswer)}


async def nothing() -> None:
    return None


def stop(house: House, *, seconds: float = 30.0) -> tuple[int, float]:
    """(bytes left, virtual seconds that it took)."""
    began = house.world.now
    deadline = house.env.clock.boot_us() + int(seconds * SECOND)
    agents = list(house.agents.values())
    left = house.run(planned_stop(house.env, house.cluster.store, agents, quiet=nothing, deadline_us=deadline, log=house.lines.append))
    return left, (house.world.now - began) / SECOND


def check_archived(house: House, load: Load) -> None:
    acknowledged = load.acknowledged()
    assert len(acknowledged) > 50
    for answer in acknowledged.values():
        assert answer.lsn <= house.service.archived(PartitionId(answer.partition)), "acknowledged and not in the archive"
    refused = [one for one in load.told().values() if not isinstance(one, WriteAnswer)]
    assert refused
    assert all(isinstance(one, Unavailable) and not one.fields.get("unknown") for one in refused), "they may be asked again"


def test_at_once_after_the_start_it_waits_for_the_claim() -> None:
    """The claim is noted in the metadata log: a stop that closed that log first could archive nothing."""
    house = House()
    assert house.writer.state == UNKNOWN
    left, seconds = stop(house)
    assert (left, house.writer.state) == (0, "")
    assert seconds <= 5.0


@pytest.mark.slow
def test_under_load_it_ends_within_seconds_with_every_acknowledged_write_archived() -> None:
    house = House(partitions=3)
    table = house.create("orders")
    load = Load(house, table)
    house.pass_time(1.2)
    left, seconds = stop(house)
    assert (left, seconds <= 5.0) == (0, True), seconds
    check_archived(house, load)
    load.end()
    house.restart_control(power=True)
    for node in house.cluster.hosts:
        node.crash(power=True)
    for node in house.cluster.hosts:
        node.start()
    house.until(lambda: not house.cluster.store.unhosted())
    house.run(house.restore.start(house.table("orders"), "back", RestoreTarget(latest=True)))
    assert house.restored("back")["verdict"] == "match"
    rows = house.rows(house.table("back"))
    assert set(load.acknowledged()) == {key for key in load.asked if key_of(key) in rows}


@pytest.mark.slow
def test_a_leader_that_dies_in_the_middle_of_the_stop_leaves_nothing_behind() -> None:
    house = House(seed=5, partitions=2)
    table = house.create("orders")
    load = Load(house, table)
    house.pass_time(1.0)
    leader = house.cluster.leader(table.partitions[0].partition_id)
    assert leader is not None
    host = next(one for one in house.cluster.hosts if one.name == leader.node.name)
    house.world.after(30_000, lambda: host.crash(power=True))
    house.world.after(600_000, host.start)
    left, _ = stop(house)
    assert left == 0
    for answer in load.acknowledged().values():
        assert answer.lsn <= house.service.archived(PartitionId(answer.partition))


def test_a_write_that_waits_for_a_leader_is_told_at_once_to_ask_again() -> None:
    house = House()
    table = house.create("orders")
    house.put(table, 1, 1)
    house.pass_time(8)
    for host in house.cluster.hosts[:2]:
        host.crash(power=False)
    waiting = house.ask(table, 2, 2)
    house.pass_time(0.5)
    assert not waiting.done()
    house.env.tasks.spawn(house.cluster.store.stop(deadline_us=house.env.clock.boot_us() + SECOND), name="stop")
    house.pass_time(0.3)
    assert isinstance(waiting.result(), Unavailable)
    for change in (house.cluster.store.delete_table("orders"), house.cluster.store.set_continuous_backups("orders", enabled=True, days=1)):
        with pytest.raises(Unavailable, match="stopping"):
            house.run(change)


def test_while_the_store_is_down_it_says_what_is_left_when_its_time_is_up() -> None:
    house = House()
    table = house.create("orders")
    house.pass_time(6)
    house.cluster.archive.faults.down = True
    for key in range(5):
        house.put(table, key, key)
    left, seconds = stop(house, seconds=4.0)
    assert left > 0
    assert 3.9 <= seconds <= 5.0


def test_a_stop_begun_while_nobody_leads_waits_for_a_leader_and_seals() -> None:
    house = House()
    table = house.create("orders")
    (info,) = table.partitions
    house.put(table, 1, 1)
    leader = house.cluster.leader(info.partition_id)
    assert leader is not None
    next(host for host in house.cluster.hosts if host.name == leader.node.name).crash(power=False)
    assert house.cluster.leader(info.partition_id) is None
    left, seconds = stop(house)
    assert left == 0
    assert seconds < 15.0
    answer = house.service.archived(info.partition_id)
    assert answer >= 2, "what was acknowledged is archived"


def test_a_stop_begun_while_nobody_can_lead_ends_when_its_time_is_up_and_says_what_is_left() -> None:
    """Two of three nodes are gone: the write that the third holds cannot be sealed, so the stop may not end as if all were archived (exit 3)."""
    house = House()
    table = house.create("orders")
    (info,) = table.partitions
    house.until(lambda: house.cluster.store.unarchived_bytes() == 0)
    house.cluster.archive.faults.down = True
    house.put(table, 1, 1)
    leader = house.cluster.leader(info.partition_id)
    assert leader is not None
    house.pass_time(0.3)
    for host in house.cluster.hosts:
        if host.name != leader.node.name:
            host.crash(power=False)
    house.cluster.archive.faults.down = False
    house.pass_time(5.0)
    assert house.cluster.leader(info.partition_id) is None
    left, seconds = stop(house, seconds=4.0)
    assert left > 0
    assert 3.9 <= seconds <= 6.5


def test_what_only_a_follower_knows_of_counts_as_unarchived_while_nobody_leads() -> None:
    house = House()
    table = house.create("orders")
    (info,) = table.partitions
    house.until(lambda: house.cluster.store.unarchived_bytes() == 0)
    leader = house.cluster.leader(info.partition_id)
    assert leader is not None
    behind = next(host for host in house.cluster.hosts if host.name != leader.node.name)
    for other in house.cluster.hosts:
        if other is not behind:
            house.world.net.cut_link(behind.name, other.name)
            house.world.net.cut_link(other.name, behind.name)
    house.cluster.archive.faults.down = True
    house.put(table, 1, 1)
    house.pass_time(0.3)
    next(host for host in house.cluster.hosts if host.name == leader.node.name).crash(power=False)
    assert house.cluster.leader(info.partition_id) is None
    assert house.cluster.store.unarchived_bytes() > 0, "whichever order the nodes come in"
    fleet = house.cluster.parts.fleet
    fleet.ports = dict(reversed(fleet.ports.items()))
    assert house.cluster.store.unarchived_bytes() > 0


SELDOM = replace(AGENT, closed_interval_s=1_000.0)
"""Nothing is published by the way: what is closed, the last words have closed."""


def archived_house(*, partitions: int = 1) -> tuple[House, TableMeta]:
    """A cluster whose every write is archived and closed by nothing but the seals, as a planned stop leaves it before its last words."""
    house = House(partitions=partitions, agent=SELDOM)
    table = house.create("orders")
    for key in range(20):
        house.put(table, key, key)
    house.run(house.cluster.store.stop(deadline_us=house.env.clock.boot_us() + 30 * SECOND))
    assert house.cluster.store.unarchived_bytes() == 0
    return house, table


def spoken(house: House, agents: Sequence[ArchiveAgent], *, seconds: float = 60.0) -> float:
    """The virtual seconds that the last words took."""
    began = house.world.now
    deadline = house.env.clock.boot_us() + int(seconds * SECOND)
    house.run(last_words(house.env, house.cluster.store, agents, deadline_us=deadline, log=house.lines.append))
    return (house.world.now - began) / SECOND


def check_proven(house: House, table: TableMeta) -> None:
    """The archive alone proves every moment up to the last write."""
    index = ArchiveIndex(house.client(), CLUSTER, tasks=house.env.tasks)
    house.run(index.refresh(now_us=house.env.clock.wall_us()))
    for info in table.partitions:
        last = max(facts.last_content_stamp for facts in house.cluster.parts.fleet.facts(info.partition_id))
        latest = index.partitions[table.table_id, info.partition_id].window().latest_us
        assert latest is not None
        assert latest >= stamp_micros(Stamp(last)), "written, archived and not proven"


def leading(house: House, partition: PartitionId) -> str:
    leader = house.cluster.leader(partition)
    assert leader is not None
    return leader.node.name


def test_last_words_wait_for_a_partition_that_nobody_leads_just_now() -> None:
    house, table = archived_house(partitions=3)
    gone = leading(house, table.partitions[0].partition_id)
    next(host for host in house.cluster.hosts if host.name == gone).crash(power=False)
    agents = [agent for name, agent in house.agents.items() if name != gone]
    assert unclosed(house.run(house.cluster.store.look()), said(agents)), "there is something to say"
    assert house.cluster.store.leader(table.partitions[0].partition_id) is None
    assert spoken(house, agents) < LAST_WORDS_S
    check_proven(house, table)
    assert house.lines == []


def test_last_words_that_did_not_come_through_are_said_again() -> None:
    """The name was taken, or leadership moved between the look and the word: nothing was raised, and nothing was said."""
    house, table = archived_house()
    agent = house.agents[leading(house, table.partitions[0].partition_id)]  # type: ignore[index]
    store = agent.publisher._store
    put, refused = store.put, list[str]()

    async def taken(key: str, data: bytes) -> None:
        if not refused:
            refused.append(key)
            raise Exists("taken", key=key)
        await put(key, data)

    store.put = taken  # type: ignore[method-assign]
    assert spoken(house, list(house.agents.values())) < LAST_WORDS_S
    assert len(refused) == 1
    check_proven(house, table)


def test_what_the_last_words_cannot_close_in_time_is_told() -> None:
    house, table = archived_house()
    (info,) = table.partitions
    there = leading(house, info.partition_id)
    for host in house.cluster.hosts:
        if host.name != there:
            host.crash(power=False)
    house.pass_time(5.0)
    agents = [agent for name, agent in house.agents.items() if name == there]
    seconds = spoken(house, agents)
    assert LAST_WORDS_S <= seconds < LAST_WORDS_S + 2.0
    (line,) = house.lines
    assert "the restorable window ends before them" in line
    house.lines.clear()
    assert spoken(house, agents, seconds=2.0) < 4.0, "no longer than the stop may take"


def test_whoever_may_not_write_to_the_archive_does_not_keep_a_stop_waiting() -> None:
    house, _ = archived_house()
    house.writer.blocked = "the archive is not there"
    assert spoken(house, list(house.agents.values())) < 2.0
    assert len(house.lines) == 1


def test_a_copy_that_was_healed_does_not_keep_a_stop_waiting() -> None:
    """It takes the SEAL that it was rebuilt at for its last write, and the table rested since: no leader will ever say that this one is closed."""
    house = House(agent=SELDOM)
    table = house.create("orders")
    (info,) = table.partitions
    for key in range(20):
        house.put(table, key, key)
    sealed = house.run(house.service.seal(info.partition_id, reason=0))
    house.until(lambda: house.service.archived(info.partition_id) >= sealed.lsn)
    there = leading(house, info.partition_id)
    victim = next(host.name for host in house.cluster.hosts if host.name != there)
    reference = house.run(house.references().rebuild(table, info, until=sealed.lsn, progress=None))
    house.run(
        house.service.heal(
            info.partition_id, NodeName(victim), rows=reference.rows, lsn=reference.lsn, stamp=reference.stamp, total=reference.digest.total(),
            chain=reference.chain, reason="a test",
        )
    )  # fmt: skip
    facts = {one.node: one for one in house.run(house.cluster.store.look()) if one.partition == info.partition_id}
    assert facts[NodeName(victim)].last_content == sealed.lsn > facts[NodeName(there)].last_content
    left, seconds = stop(house)
    assert (left, seconds < LAST_WORDS_S) == (0, True), seconds
    assert not any("not closed" in line for line in house.lines)
    check_proven(house, table)
    only = [facts[NodeName(victim)]]
    assert unclosed(only, {}) == [info.partition_id], "where nobody knows better, its word stands"


# ------------------------------------------------------------------ of a node alone


def leaving(house: House, *, number: int = 0, seconds: float = 30.0) -> tuple[int, float]:
    """(bytes left, virtual seconds) of one node that is about to stop while the others go on."""
    began = house.world.now
    deadline = house.env.clock.boot_us() + int(seconds * SECOND)
    here = house.cluster.hosts[number].process.port
    system = house.cluster.metadata.system.table_id
    return house.run(others_go_on(house.env, house.cluster.store, here, system=system, deadline_us=deadline)), (
        house.world.now - began
    ) / SECOND


@pytest.mark.slow
def test_a_node_that_stops_waits_for_what_its_log_holds_and_not_for_what_comes_later() -> None:
    house = House(partitions=3)
    load = Load(house, house.create("orders"))
    house.pass_time(1.2)
    held = load.acknowledged()
    left, seconds = leaving(house)
    assert (left, seconds <= 5.0) == (0, True), seconds
    assert len(held) > 50
    for answer in held.values():
        assert answer.lsn <= house.service.archived(PartitionId(answer.partition)), "acknowledged before it stopped, and not in the archive"
    before = len(load.acknowledged())
    assert before > len(held), "the others took writes meanwhile"
    house.pass_time(0.5)
    assert len(load.acknowledged()) > before
    load.end()


def test_a_node_that_stops_does_not_wait_for_ever_and_says_what_is_left() -> None:
    house = House()
    table = house.create("orders")
    house.run(_claimed(house))
    house.stop_agents()
    house.put(table, 1, 1)
    left, seconds = leaving(house, seconds=3.0)
    facts = house.cluster.hosts[0].process.port.all_facts()
    assert left == sum(one.unarchived for one in facts if one.table == table.table_id) > 0
    assert sum(one.unarchived for one in facts) > left, "what the cluster notes of itself is waited for and not counted"
    assert 3.0 <= seconds <= 4.0


def test_the_last_of_a_cluster_waits_for_nothing() -> None:
    house = House()
    table = house.create("orders")
    house.run(_claimed(house))
    house.stop_agents()
    house.put(table, 1, 1)
    for host in house.cluster.hosts[1:]:
        host.crash(power=False)
    left, seconds = leaving(house)
    assert left > 0
    assert seconds <= 5.0


async def _claimed(house: House) -> None:
    while house.writer.state == UNKNOWN:
        await house.env.tasks.sleep(0.05)
