"""A restore while a node is down, of the real classes: a quorum makes the table, and the copy that lacks is healed once its node is there (ADR 0091)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from scrubjay.base.errors import DiskFull, Internal, ScrubjayError
from scrubjay.base.ids import NodeName
from scrubjay.pitr.job import LOAD
from scrubjay.pitr.target import RestoreTarget
from scrubjay.scrubber.healer import Healer
from scrubjay.sim.whole.commands import key_of
from scrubjay.storage.catalogue import TableMeta
from scrubjay.storage.service_port import Copy
from tests.unit.control.house import House
from tests.unit.control.test_restore_whole import notes, until_noted

ROWS = 12
WANT = {key_of(key): key for key in range(ROWS)}
LOST, SECOND = NodeName("n3"), NodeName("n2")


class Ward(House):
    """A house with one table, a healer, and nodes that die."""

    def __init__(self, *, partitions: int = 2) -> None:
        super().__init__(partitions=partitions)
        table = self.create("orders")
        for key in range(ROWS):
            self.put(table, key, key)
        self.pass_time(6)
        self.target = RestoreTarget(at_us=self.run(self.restore.preparing.look(table))[1].latest_us)
        Healer(self.env, self.service, self.references(), interval_s=0.5, log=self.lines.append).start()

    def host(self, name: NodeName) -> Any:
        return next(host for host in self.cluster.hosts if host.name == name)

    def down(self, *names: NodeName) -> None:
        for name in names:
            self.host(name).crash(power=False)
        self.pass_time(1)

    def begin(self) -> None:
        self.run(self.restore.start(self.table("orders"), "back", self.target))

    def copies(self, table: TableMeta) -> list[Copy]:
        return [copy for info in table.partitions for copy in self.service.copies(info.partition_id)]

    def healed(self) -> None:
        """Every copy of the new table serves, in the log and by its rows, and nobody may be begun anew any more."""
        self.until(lambda: all(copy.state == "ok" for copy in self.copies(self.table("back"))))
        self.until(lambda: self.table("back").absent == ())
        assert self.rows(self.table("back")) == WANT | {key_of(99): 99}
        report = self.scrub()
        found = [one for table in report.tables for part in table.partitions for one in part.findings]
        assert (report.verdict, found) == ("match", [])


@pytest.fixture
def ward() -> Ward:
    return Ward()


def test_two_of_three_make_the_table_and_the_third_copy_is_healed_when_its_node_is_back(ward: Ward) -> None:
    ward.down(LOST)
    ward.begin()
    report = ward.restored("back")
    assert (report["state"], report["verdict"]) == ("published", "match"), report
    assert [one["node"] for one in report["degraded"]] == [LOST, LOST]
    table = ward.table("back")
    assert [len(info.members) for info in table.partitions] == [3, 3], "a quorum is counted over three"
    assert table.absent == (3,)
    assert {copy.state for copy in ward.copies(table) if copy.node == LOST} == {"down"}
    ward.put(table, 99, 99)
    ward.pass_time(8)  # it is archived meanwhile: the log that the third one lacks is let go of
    ward.host(LOST).start()
    mine: list[Any] = []

    def hosted() -> bool:
        (node,) = [one for one in ward.cluster.nodes() if one.name == LOST] or [None]
        mine[:] = [one for one in node.replicas.values() if one.table.name == "back"] if node is not None else []
        return len(mine) == 2

    ward.until(hosted)
    assert [one.state for one in mine] == ["suspect", "suspect"], "an empty tree is not what the log goes on from"
    ward.healed()
    again = ward.restore.status("back")
    assert again is not None
    assert again["degraded"] == [], "what was healed is no news"
    # It is one of three like any: with another one gone, the two that are left serve what was acknowledged.
    ward.down(SECOND)
    ward.until(lambda: all(ward.cluster.parts.fleet.leader(info.partition_id) is not None for info in table.partitions))
    assert ward.rows(ward.table("back")) == WANT | {key_of(99): 99}


def test_a_node_is_waited_for_once_however_many_partitions_there_are() -> None:
    ward = Ward(partitions=4)
    ward.down(LOST)
    began = ward.world.now
    ward.begin()
    assert len(ward.restored("back")["degraded"]) == 4
    assert 9_000_000 < ward.world.now - began < 18_000_000


def test_with_two_of_three_down_it_is_refused_by_name_and_resumed_later(ward: Ward) -> None:
    ward.begin()
    ward.down(LOST, SECOND)
    began = ward.world.now
    report = ward.restored("back")
    assert (report["state"], report["error"]["code"]) == ("failed", "Unavailable"), report
    assert ward.world.now - began < 60_000_000
    ward.host(SECOND).start()
    ward.pass_time(5)
    ward.run(ward.restore.resume("back"))
    report = ward.restored("back")
    assert (report["state"], report["verdict"]) == ("published", "match"), report
    ward.put(ward.table("back"), 99, 99)
    ward.host(LOST).start()
    ward.healed()


@pytest.mark.parametrize("phase", ["read", LOAD])
def test_a_node_that_dies_on_the_way_does_not_stop_it(ward: Ward, phase: str) -> None:
    ward.begin()
    until_noted(ward, lambda said: said["phase"] == phase)
    ward.down(LOST)
    report = ward.restored("back")
    assert (report["state"], report["verdict"]) == ("published", "match"), report
    ward.put(ward.table("back"), 99, 99)
    ward.pass_time(8)
    ward.host(LOST).start()
    ward.healed()


def test_a_node_that_is_back_before_it_is_given_up_loads_its_copy(ward: Ward) -> None:
    ward.down(LOST)
    ward.begin()
    until_noted(ward, lambda said: said["phase"] == LOAD)
    ward.host(LOST).start()
    report = ward.restored("back")
    assert (report["state"], report["degraded"]) == ("published", []), report
    assert all(len(part["copies"]) == 3 for part in notes(ward)["partitions"])
    ward.put(ward.table("back"), 99, 99)
    ward.healed()


def test_a_node_that_runs_and_cannot_load_begins_without_and_is_healed(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its copy waits for a base when the table is published: it is told so, and is no copy that waits for ever."""
    (found,) = [one for one in ward.cluster.nodes() if one.name == LOST]
    engine: Any = found.engine
    load = engine.load
    full = True

    def refuses(partition: Any, path: str, state: Any, done: Callable[[ScrubjayError], None], **named: Any) -> None:
        if full:
            done(DiskFull("no room"))
        else:
            load(partition, path, state, done, **named)

    monkeypatch.setattr(engine, "load", refuses)
    ward.begin()
    report = ward.restored("back")
    assert (report["state"], report["verdict"]) == ("published", "match"), report
    assert ["no room" in one["why"] for one in report["degraded"]] == [True, True]
    ward.until(lambda: all(replica.logged for replica in found.replicas.values()))
    ward.put(ward.table("back"), 99, 99)
    full = False
    ward.healed()


def test_a_base_that_comes_after_the_table_is_served_is_not_taken(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = [one for one in ward.cluster.nodes() if one.name == LOST]
    engine: Any = found.engine
    load = engine.load
    held: list[Callable[[], None]] = []

    trees: list[Any] = []

    def late(partition: Any, path: str, state: Any, done: Callable[[Any], None], **named: Any) -> None:
        def made(tree: Any) -> None:
            trees.append(tree)
            done(tree)

        held.append(lambda: load(partition, path, state, made, **named))

    monkeypatch.setattr(engine, "load", late)
    monkeypatch.setattr(ward.service._asking, "limit_s", 3.0)  # it is waited for no longer
    ward.begin()
    report = ward.restored("back")
    assert (report["state"], report["verdict"]) == ("published", "match"), report
    ward.until(lambda: all(replica.logged for replica in found.replicas.values()))
    monkeypatch.setattr(engine, "load", load)
    ward.put(ward.table("back"), 99, 99)
    late_ones, held[:] = list(held), []
    assert len(late_ones) == 2
    begun: list[Any] = []
    monkeypatch.setattr(found.hosting, "start_loaded", lambda *given, **_: begun.append(given))
    for go_on in late_ones:
        go_on()
    ward.healed()
    assert begun == []
    assert len(trees) == 2
    for tree in trees:
        with pytest.raises(Internal, match="closed"):
            tree.get(key_of(1))


def test_a_copy_that_died_before_its_log_began_loads_again(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    """It said that it had loaded its base, and waits for one again since: it is no copy that need not be asked."""
    port: Any = ward.service
    load_base = port.load_base

    def told_of_all(partition: Any, **more: Any) -> Any:
        return load_base(partition, **{**more, "done": frozenset(ward.cluster.trees)})

    monkeypatch.setattr(port, "load_base", told_of_all)
    ward.begin()
    report = ward.restored("back")
    assert (report["state"], report["degraded"]) == ("published", []), report
    assert all(len(part["copies"]) == 3 for part in notes(ward)["partitions"])
