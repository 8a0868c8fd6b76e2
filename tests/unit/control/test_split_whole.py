"""A partition splits under writes, from the intent until its copies are gone: real nodes, logs, trees, archive and routers, in simulated time."""

from __future__ import annotations

from typing import Any

import pytest

from scrubjay.archiver.format.manifest import SegmentManifest, decode_manifest
from scrubjay.base.errors import Unavailable
from scrubjay.base.ids import Lsn, NodeName, PartitionId
from scrubjay.scrubber.healer import Healer
from scrubjay.sim.whole.commands import key_of
from scrubjay.storage.btree.engine import Tree
from scrubjay.storage.catalogue import PartitionInfo, SplitIntent, TableMeta
from scrubjay.storage.commands.values import WriteAnswer
from scrubjay.storage.control.splits import Splits
from scrubjay.storage.node.errand_messages import Heal, Healed
from scrubjay.storage.node.errands import Note
from scrubjay.storage.node.healing import Healing
from scrubjay.storage.node.hosting import Hosting
from scrubjay.storage.node.port import ReplicaFacts
from scrubjay.storage.node.splitting import Splitting
from scrubjay.storage.replica import Replica
from tests.unit.control.house import SECOND, House

HALF = bytes([0x80]) + bytes(15)
KEYS = 20


class Writing:
    """A table that is written to all the while, key after key; what is acknowledged is remembered."""

    def __init__(self, *, log_node: int | None = None) -> None:
        """log_node: keeps the log alone of every table made."""
        self.house = House()
        if log_node is not None:
            self.house.cluster.log_node = log_node
            self.house.restart_control()
        self.table = self.house.create("orders")
        (self.info,) = self.table.partitions
        self.asked: list[tuple[int, int, int, Any]] = []
        for _ in range(KEYS):
            self.step()

    @property
    def splits(self) -> Splits:
        found: Splits | None = self.house.cluster.parts.splits
        assert found is not None
        return found

    @property
    def now(self) -> TableMeta:
        return self.house.known(self.table.table_id)

    def begin(self) -> SplitIntent:
        return self.house.run(self.splits.begin(self.now, self.info, HALF))

    def step(self) -> None:
        number = len(self.asked)
        self.asked.append((self.house.world.now, number % KEYS, number, self.house.ask(self.table, number % KEYS, number)))
        self.house.pass_time(0.01)

    def write_until(self, done: Any, *, seconds: float = 60.0) -> None:
        end = self.house.world.now + int(seconds * SECOND)
        while not done():
            assert self.house.world.now < end, self.splits.waiting
            self.step()

    def mapped(self) -> tuple[PartitionInfo, ...]:
        self.write_until(lambda: bool(self.now.former))
        return self.now.partitions

    def check(self) -> None:
        """No write failed, and every key has what was written to it last."""
        self.house.until(lambda: all(answer.done() for *_, answer in self.asked))
        wrong = [answer.result() for *_, answer in self.asked if not isinstance(answer.result(), WriteAnswer)]
        assert not wrong, wrong[:3]
        last: dict[bytes, tuple[int, int]] = {}
        lsns: dict[bytes, list[int]] = {}
        for _, key, value, answer in self.asked:
            lsn = answer.result().lsn
            last[key_of(key)] = max(last.get(key_of(key), (0, 0)), (lsn, value))
            lsns.setdefault(key_of(key), []).append(lsn)
        assert self.house.rows(self.now) == {key: value for key, (_, value) in last.items()}
        assert all(len(set(found)) == len(found) for found in lsns.values()), "along one key no LSN comes twice"

    def led_by(self, info: PartitionInfo) -> str:
        leader = self.house.cluster.parts.fleet.leader(info.partition_id)
        assert leader is not None
        return leader.node

    def gone(self) -> bool:
        """No node has a copy of the parent any more."""
        return all(node.facts(self.info.partition_id) is None for node in self.house.cluster.parts.fleet.ports.values())


def test_no_write_fails_and_every_copy_of_each_child_is_the_same() -> None:
    writing = Writing()
    house = writing.house
    led_by = writing.led_by(writing.info)
    split = writing.begin()
    children = writing.mapped()
    assert [info.partition_id for info in children] == [split.left, split.right]
    for _ in range(KEYS):
        writing.step()
    writing.check()
    assert [writing.led_by(info) for info in children] == [led_by, led_by], "the others leave it the time"
    assert writing.splits.pauses.max_us < 100_000
    house.until(writing.gone)
    house.pass_time(2)
    for info in children:
        facts = house.cluster.parts.fleet.facts(PartitionId(info.partition_id))
        assert [one.state for one in facts] == ["ok"] * 3
        assert len({one.rows for one in facts}) == 1
        assert all(one.born for one in facts)
    assert house.scrub().verdict.value == "match", "the archive leads to the same rows"


@pytest.mark.parametrize("who", ["control", "leader"])
def test_whoever_dies_behind_the_split_the_children_take_over(who: str) -> None:
    writing = Writing()
    house, fleet = writing.house, writing.house.cluster.parts.fleet
    writing.begin()
    writing.write_until(lambda: any(facts.split for facts in fleet.facts(writing.info.partition_id)))
    assert not writing.now.former
    if who == "control":
        house.restart_control()
    else:
        leader = max(fleet.facts(writing.info.partition_id), key=lambda facts: bool(facts.split)).node
        host = next(host for host in house.cluster.hosts if host.name == leader)
        host.crash(power=True)
        house.pass_time(3)
        host.start()
    writing.mapped()
    house.until(writing.gone)


def test_who_keeps_the_log_alone_keeps_the_childrens_too() -> None:
    writing = Writing(log_node=3)
    house = writing.house
    assert writing.info.logs == (3,)
    writing.begin()
    children = writing.mapped()
    assert [info.fresh for info in children] == [(), ()], "it can help to elect before the map is written"
    logs = [house.cluster.parts.fleet.ports[NodeName("n3")].facts(info.partition_id) for info in children]
    assert [(log.tree, log.vote) if log is not None else None for log in logs] == [("log", "votes")] * 2
    node = next(node for node in house.cluster.nodes() if node.name == "n3")
    firsts = [node.members[PartitionId(info.partition_id)].segments for info in children]
    house.stop_agents()
    writing.write_until(lambda: all(first.facts.sealed and first.facts.sealed[0].statement.sum for first in firsts))
    assert all(first.facts.sealed[0].known for first in firsts), "what it goes on from, its log says"
    writing.check()


def test_a_copy_that_died_before_its_log_knew_of_its_tree_is_made_anew_though_it_dies_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tree lay there as of the parent's end, and the log that was begun without it ended at 0: the next start took that for amnesia, and the copy stayed out for good."""
    writing = Writing()
    house, fleet = writing.house, writing.house.cluster.parts.fleet
    leader = writing.led_by(writing.info)
    host = next(host for host in house.cluster.hosts if host.name != leader)
    committed: list[PartitionId] = []
    start_loaded, heal = Hosting.start_loaded, Healing.heal

    def dies_first(self: Hosting, replica: Replica, tree: Tree, *, heir: bool = False) -> None:
        if self._node.name == host.name:
            committed.append(replica.partition)
            raise Unavailable("the node dies here")
        start_loaded(self, replica, tree, heir=heir)

    async def not_yet(self: Healing, request: Heal, note: Note) -> Healed:
        if self._node.name == host.name:
            raise Unavailable("the node dies before")
        return await heal(self, request, note)

    def copies() -> list[ReplicaFacts | None]:
        return [fleet.ports[NodeName(host.name)].facts(info.partition_id) for info in writing.now.partitions]

    writing.begin()
    with monkeypatch.context() as patched:
        patched.setattr(Hosting, "start_loaded", dies_first)
        patched.setattr(Healing, "heal", not_yet)
        writing.write_until(lambda: committed)
        host.crash(power=False)
        writing.mapped()
        host.start()
        writing.write_until(lambda: all(copy is not None and copy.state == "suspect" for copy in copies()))
        for _ in range(20):
            writing.step()
        host.crash(power=False)
    host.start()
    Healer(house.env, house.service, house.references(), interval_s=0.5, log=house.lines.append).start()

    def whole() -> bool:
        (former,) = writing.now.former or ()
        served = [copy.applied for copy in copies() if copy is not None and copy.state == "ok"]
        assert all(applied >= former.final.lsn for applied in served), "an empty tree is none of this partition's"
        return len(served) == 2

    writing.write_until(whole)
    assert [copy is not None and copy.vote for copy in copies()] == ["votes"] * 2
    writing.check()
    assert house.scrub().verdict.value == "match"


@pytest.mark.slow
def test_a_copy_that_waits_for_its_tree_is_no_new_fault_however_often_it_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seed 14013: its first start behind a power loss knew that a heal was due, and noted that the tree was suspect; the second one told a fault of a tree that was never there."""
    writing = Writing()
    house, fleet = writing.house, writing.house.cluster.parts.fleet
    leader = writing.led_by(writing.info)
    host = next(host for host in house.cluster.hosts if host.name != leader)
    heal = Healing.heal

    async def not_yet(self: Healing, request: Heal, note: Note) -> Healed:
        if self._node.name == host.name:
            raise Unavailable("the node dies before")
        return await heal(self, request, note)

    def states() -> list[str]:
        found = [fleet.ports[NodeName(host.name)].facts(info.partition_id) for info in writing.now.partitions]
        return ["" if copy is None else copy.state for copy in found]

    with monkeypatch.context() as patched:
        patched.setattr(Healing, "heal", not_yet)
        host.crash(power=True)
        house.pass_time(3)
        writing.begin()
        writing.mapped()
        host.start()
        for start in (True, True, False):
            writing.write_until(lambda: states() == ["suspect"] * 2)
            house.pass_time(1)
            host.crash(power=True)
            house.pass_time(1)
            if start:
                host.start()
    host.start()
    writing.write_until(lambda: states() == ["suspect"] * 2)
    assert house.cluster.findings == []
    Healer(house.env, house.service, house.references(), interval_s=0.5, log=house.lines.append).start()
    writing.write_until(lambda: states() == ["ok"] * 2)
    writing.check()
    assert house.scrub().verdict.value == "match"


def test_a_copy_of_what_was_split_that_rots_before_its_end_is_archived_is_healed() -> None:
    """No scrub goes over what was split, and the healer left it to the scrub: where another copy keeps the log alone two trees have to state the log's end, and it was never archived."""
    writing = Writing(log_node=3)
    house = writing.house
    writing.write_until(lambda: house.service.archived(PartitionId(writing.info.partition_id)) > 0)
    Healer(house.env, house.service, house.references(), interval_s=0.5, log=house.lines.append).start()
    house.cluster.archive.faults.down = True
    leader = writing.led_by(writing.info)
    writing.begin()
    writing.mapped()
    hosts = {host.name: host for host in house.cluster.hosts}
    rotten = next(name for name in hosts if name not in (leader, "n3"))
    replica = next(node for node in house.cluster.nodes() if node.name == rotten).replicas[PartitionId(writing.info.partition_id)]
    replica.follow.void = True  # a row that rotted was written over: it states nothing any more
    replica.suspect("of this test")
    for name in (leader, "n3"):
        hosts[name].crash(power=True)  # what it was told of the log's end it forgets
        hosts[name].start()
    house.cluster.archive.faults.down = False
    house.until(writing.gone)
    house.pass_time(5)
    for info in writing.now.partitions:
        assert [one.state for one in house.cluster.parts.fleet.facts(PartitionId(info.partition_id))] == ["ok", "ok", "log"]
    writing.check()


def test_a_half_that_lacks_one_of_two_trees_is_healed_by_its_parents_archive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Seed 17011: two trees have to state what a half archives, and how it began its own manifests alone said: there were none, and it was not healed for want of them."""
    writing = Writing(log_node=3)
    house, fleet = writing.house, writing.house.cluster.parts.fleet
    leader = writing.led_by(writing.info)
    late = next(host.name for host in house.cluster.hosts if host.name not in (leader, "n3"))
    finish = Splitting._finish

    async def rots(self: Splitting, division: Any, ended: Lsn) -> None:
        if self._node.name == late:
            division.parent.suspect("of this test")
            raise Unavailable("the copy that is divided serves no more")
        await finish(self, division, ended)

    monkeypatch.setattr(Splitting, "_finish", rots)
    writing.begin()
    children = writing.mapped()
    house.until(lambda: all(fleet.ports[late].facts(info.partition_id).behind for info in children))
    Healer(house.env, house.service, house.references(), interval_s=0.5, log=house.lines.append).start()
    writing.write_until(lambda: all([one.state for one in fleet.facts(info.partition_id)] == ["ok", "ok", "log"] for info in children))
    writing.check()


@pytest.mark.slow
@pytest.mark.parametrize("again", [False, True], ids=["its log begins with it", "it was let go of"])
def test_who_keeps_the_log_alone_archives_what_a_child_says_of_its_beginning(again: bool) -> None:
    """Its manifests said that no split had made the partition: they, or all others of that log, were called forged."""
    writing = Writing(log_node=3)
    house = writing.house
    writing.begin()
    children = writing.mapped()

    def manifests(info: PartitionInfo) -> list[SegmentManifest]:
        names = [key for key in house.cluster.archive.objects if info.partition_id in key and "/log/" in key and key.endswith(".json")]
        return [decode_manifest(house.cluster.archive.objects[key].data, where=key) for key in sorted(names)]

    writing.write_until(writing.gone)
    logs = [house.cluster.parts.fleet.facts(PartitionId(info.partition_id))[2] for info in children]
    assert [log.born for log in logs] == [house.cluster.parts.fleet.facts(PartitionId(info.partition_id))[0].born for info in children]
    if again:
        writing.write_until(lambda: all(len(manifests(info)) > 1 for info in children))
        keeper = next(host for host in house.cluster.hosts if host.name == "n3")
        keeper.crash(power=True)
        keeper.start()
        house.pass_time(3)
        assert not any(keeper.process.node.members[PartitionId(info.partition_id)].knows_birth for info in children)
    for name in ("n1", "n2"):
        house.agents[NodeName(name)].stop()
    writing.write_until(lambda: all(any(one.node == "n3" for one in manifests(info)) for info in children))
    for info in children:
        born = {one.born for one in manifests(info)}
        assert len(born) == 1
        assert None not in born
