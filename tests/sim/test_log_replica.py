"""A group of two storage replicas and one log replica, of the real classes: the third votes, keeps the log, states and attests segments, and serves nobody."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from scrubjay.base.errors import NotLeader
from scrubjay.base.ids import Lsn, TableId
from scrubjay.pitr.target import RestoreTarget
from scrubjay.sim.whole.cluster import NAMES
from scrubjay.sim.whole.commands import key_of, put
from scrubjay.storage.catalogue import TableMeta
from scrubjay.storage.replica import LOG, LogReplica, Replica
from scrubjay.storage.replica.attest import Attest
from scrubjay.storage.replica.segments import Statement
from tests.unit.control.house import House

LOG_NODE = 3


class Group:
    """A table `t` of one partition, whose member on node 3 keeps the log alone."""

    def __init__(self) -> None:
        self.house = House()
        plain = self.house.create("plain")
        tables = self.house.cluster.store.tables
        info = msgspec.structs.replace(tables.new_partitions(1)[0], logs=(LOG_NODE,))
        table = msgspec.structs.replace(
            plain, table_id=TableId(self.house.env.rand.uuid()), name="t", status="CREATING", partitions=(info,)
        )
        self.house.run(tables.add(table))
        self.house.until(lambda: self.table.status == "ACTIVE")
        self.partition = info.partition_id
        self.keeper = self.house.cluster.hosts[LOG_NODE - 1]

    @property
    def table(self) -> TableMeta:
        return self.house.table("t")

    @property
    def log(self) -> LogReplica:
        found: LogReplica = self.keeper.process.node.members[self.partition]
        return found

    def storage(self) -> list[Replica]:
        return [node.replicas[self.partition] for node in self.house.cluster.nodes() if self.partition in node.replicas]

    def leader(self) -> Replica:
        self.house.until(lambda: self.house.cluster.leader(self.partition) is not None)
        found = self.house.cluster.leader(self.partition)
        assert found is not None
        return found

    def other(self) -> Any:
        """The host of the storage replica that does not lead."""
        return next(host for host in self.house.cluster.hosts if host.name not in (self.leader().node.name, self.keeper.name))

    def host(self, name: str) -> Any:
        return next(host for host in self.house.cluster.hosts if host.name == name)

    def archived_by_all(self, above: int) -> int:
        """Wait until a segment above this LSN is archived on the word of three members; its last LSN."""

        def last() -> int:
            return max((last for last, members in self.leader().segments.facts.attested if members == 3), default=0)

        self.house.until(lambda: last() > above)
        return last()


@pytest.fixture(scope="module")
def group() -> Group:
    return Group()


def test_it_follows_the_log_and_serves_nobody(group: Group) -> None:
    assert len(NAMES) == 3
    for number in range(5):
        group.house.put(group.table, number, number)
    group.house.until(lambda: group.log.applied >= group.leader().applied)
    log = group.log
    assert type(log) is LogReplica
    assert (log.state, log.status.vote) == (LOG, "votes")
    assert group.partition not in group.keeper.process.node.replicas
    assert not group.house.cluster.trees[group.keeper.name].trees.get(group.partition), "it has no tree"
    node, heard = group.keeper.process.node, []
    node.requests.read(group.partition, key_of(1), consistent=False, min_lsn=Lsn(0), done=heard.append)
    node.requests.write(group.partition, put(1, 1, blind=True), heard.append)
    assert [type(one) for one in heard] == [NotLeader, NotLeader]
    log.check_invariants()


def test_a_segment_is_archived_on_its_word_too_and_it_lets_go_of_the_log_behind(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    """Digest and chain it only learns, from two that agree over the bytes it has; what it states is bytes."""
    said: list[Statement] = []
    heard = Attest.heard

    def listen(self: Attest, sender: int, statement: Statement, *, want: bool) -> None:
        if sender == LOG_NODE and self._replica.partition == group.partition:
            said.append(statement)
        heard(self, sender, statement, want=want)

    monkeypatch.setattr(Attest, "heard", listen)
    before = group.archived_by_all(0)
    group.house.put(group.table, 10, 10)
    last = group.archived_by_all(before)
    group.house.until(lambda: group.log.segments.facts.archived >= last)
    assert said
    assert all(not one.sum and not one.chain and one.raw_sha256 for one in said)
    own_group = group.log.group
    assert own_group is not None
    group.house.until(lambda: own_group.log.first > 1)


def test_with_it_alone_the_leader_has_a_quorum_and_the_other_copy_gets_what_was_written_from_it(group: Group) -> None:
    """The write is acknowledged by the leader and the log replica; then the leader dies: who takes over must adopt the log from the one that has no tree."""
    other = group.other()
    other.crash(power=False)
    group.house.put(group.table, 20, 42)
    first = group.host(group.leader().node.name)
    first.crash(power=False)
    other.start()
    group.house.until(lambda: group.house.cluster.leader(group.partition) is not None)
    assert group.leader().node.name == other.name
    assert group.house.rows(group.table)[key_of(20)] == 42
    first.start()
    group.house.until(lambda: len(group.storage()) == 2 and all(one.applied >= group.leader().applied for one in group.storage()))


def test_the_lead_is_not_handed_to_it(group: Group) -> None:
    """Though it is the only one that has the whole log: nobody would lead, until the others notice."""
    other, leader = group.other(), group.leader()
    own = leader.group
    assert own is not None
    other.crash(power=False)
    now = leader.node.now
    group.house.until(lambda: own.successor(now(), besides=frozenset()) is None)
    own.transfer(group.log.member, now())
    assert not leader.hand_over(frozenset())
    assert not own.handing_over
    assert leader.leads
    other.start()
    group.house.until(lambda: len(group.storage()) == 2 and all(one.applied >= leader.applied for one in group.storage()))


def test_it_never_leads(group: Group) -> None:
    hosts = [host for host in group.house.cluster.hosts if host is not group.keeper]
    for host in hosts:
        host.crash(power=False)
    group.house.pass_time(15.0)
    own_group = group.log.group
    assert own_group is not None
    assert not own_group.leading
    for host in hosts:
        host.start()
    group.leader()


def test_a_restart_goes_on_with_the_log_that_is_left_and_attests_again(group: Group) -> None:
    group.house.put(group.table, 30, 1)
    before = group.archived_by_all(0)
    group.keeper.crash(power=True)
    group.keeper.start()
    group.house.until(lambda: group.keeper.process is not None and group.partition in group.keeper.process.node.members)
    group.house.until(lambda: group.log.applied >= group.leader().applied)
    assert group.log.state == LOG
    for number in range(3):
        group.house.put(group.table, 40 + number, number)
        group.house.pass_time(3.0)
    assert group.archived_by_all(before) > before
    group.log.check_invariants()


def test_what_was_not_let_go_of_before_the_power_went_is_followed_again(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SEAL, and the word that its segment is archived, come in one slice of the log: the group learns how far that was followed only at its end."""
    group.house.until(lambda: group.log.applied >= group.leader().applied)
    before = group.archived_by_all(0)
    with monkeypatch.context() as patch:
        patch.setattr(type(group.keeper.process.node.wal), "trim", lambda *_: None)
        group.house.put(group.table, 50, 1)
        archived = group.archived_by_all(before)
        group.house.until(lambda: group.log.segments.facts.archived >= archived)
        group.keeper.crash(power=True)
    group.keeper.start()
    group.house.until(lambda: group.keeper.process is not None and group.partition in group.keeper.process.node.members)
    group.house.until(lambda: group.log.applied >= group.leader().applied)
    assert group.log.segments.facts.archived >= archived
    own_group = group.log.group
    assert own_group is not None
    assert own_group.log.first == group.log.segments.facts.archived + 1


def test_a_log_that_begins_inside_an_archived_segment_is_followed_from_there(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who had to take the log from a copy that lets go of what its own tree holds, record by record, gets no whole segment first."""
    group.house.until(lambda: group.log.applied >= group.leader().applied)
    before, wal = group.archived_by_all(0), group.keeper.process.node.wal
    trim = type(wal).trim
    with monkeypatch.context() as patch:
        patch.setattr(type(wal), "trim", lambda *_: None)
        for number in range(4):
            group.house.put(group.table, 70 + number, number)
        group.house.until(lambda: group.log.segments.facts.archived > before)
        archived = group.log.segments.facts.archived
        inside = Lsn(archived - 1)
        assert inside > before + 1
        trim(wal, group.partition, inside)
        wal._queue_trims()  # as when a file of the log is used again
        group.house.put(group.table, 75, 1)
        group.house.until(lambda: group.log.applied >= group.leader().applied)
        group.keeper.crash(power=True)
    opened: list[Lsn] = []
    begins = LogReplica.opened_log

    def noted(self: LogReplica, first: Lsn) -> None:
        if self.partition == group.partition:
            opened.append(first)
        begins(self, first)

    with monkeypatch.context() as patch:
        patch.setattr(LogReplica, "opened_log", noted)
        group.keeper.start()
        group.house.until(lambda: group.keeper.process is not None and group.partition in group.keeper.process.node.members)
    assert opened == [inside]
    group.house.until(lambda: group.log.applied >= group.leader().applied)
    assert (group.log.state, group.log.reason) == (LOG, "")
    for number in range(3):
        group.house.put(group.table, 80 + number, 1)
        group.house.pass_time(3.0)
    assert group.archived_by_all(archived) > archived, "it states and attests again what it has whole"
    group.log.check_invariants()


def test_left_behind_it_asks_for_no_statements_any_more(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that it does not follow will ever be archived for it: there would be no end of asking."""
    group.house.until(lambda: group.log.applied >= group.leader().applied)
    log = group.log
    now = group.keeper.process.node.boot_us
    with monkeypatch.context() as patch:
        patch.setattr(log.segments, "heard", lambda *_: None)
        group.house.put(group.table, 60, 1)
        group.house.until(lambda: any(not own.statement.sum for own in log.segments.facts.sealed))
        log.attest.tick(log.attest.deadline() or now())
        assert log.attest.deadline() is not None
        log.left_behind()
        log.attest.tick(log.attest.deadline() or now())
        assert log.attest.deadline() is None
    log.behind = False
    log.apply_ready()
    group.house.until(lambda: group.log.applied >= group.leader().applied)


def test_where_the_log_of_a_dropped_table_ends_is_told_by_who_knows_the_state_there_and_it_goes_too(group: Group) -> None:
    told: dict[str, Any] = {}

    def look() -> bool:
        for node in group.house.cluster.nodes():
            facts = group.house.cluster.parts.fleet.ports[node.name].facts(group.partition)
            if facts is not None and facts.ended:
                told[node.name] = facts.final
        return len(told) == 3

    group.house.run(group.house.cluster.store.delete_table("t"))
    group.house.until(look)
    assert told[group.keeper.name] is None
    group.house.until(lambda: all(group.partition not in node.members for node in group.house.cluster.nodes()), seconds=120.0)


def test_a_restored_table_keeps_its_logs_where_its_source_keeps_them() -> None:
    """The member has nothing to load, and is no copy that must prove what it loaded."""
    group = Group()
    house = group.house
    for key in range(8):
        house.put(group.table, key, key)
    house.pass_time(6)
    house.run(house.restore.start(group.table, "back", RestoreTarget(latest=True)))
    assert house.restored("back")["state"] == "published"
    back = house.table("back")
    (info,) = back.partitions
    assert info.logs == (LOG_NODE,)
    member = group.keeper.process.node.members[info.partition_id]
    assert (type(member), member.status.tree) == (LogReplica, LOG)
    assert house.rows(back) == house.rows(group.table)
    house.put(back, 9, 9)
    house.until(lambda: member.chosen >= house.cluster.leader(info.partition_id).applied)  # type: ignore[union-attr]
    assert not house.cluster.broken
