"""The metadata group's answer is lost, or nobody waits for it: what the log holds then is known soon, not at the next start, and nothing is made of what was remembered."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from scrubjay.base.errors import Conflict, Corrupt, ScrubjayError, Unavailable
from scrubjay.sim.whole.commands import SCHEMA
from scrubjay.storage.backend import TableSpec
from scrubjay.storage.catalogue import RestoreOrigin, TableMeta, Throughput
from scrubjay.storage.commands.values import SwapCommand
from scrubjay.storage.node import port, port_remote
from tests.unit.control.house import House
from tests.unit.control.test_fleet import Losing, losing

ALL = 1_000
"""More answers than anybody waits for."""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port_remote, "DATA_WAIT_S", 0.5)


def spec(name: str) -> TableSpec:
    return TableSpec(name=name, key=SCHEMA, attributes=(("k", "S"),), billing="PAY_PER_REQUEST", throughput=Throughput())


def refused(house: House, work: Any) -> ScrubjayError:
    with pytest.raises(ScrubjayError) as raised:
        house.run(work)
    return raised.value


def unanswered(house: House, wire: Losing, work: Any) -> None:
    """`work`, of whose write no answer comes."""
    wire.lose(port.Write, ALL, answers=True)
    error = refused(house, work)
    wire.left = 0
    assert isinstance(error, Unavailable)
    assert error.fields.get("unknown") is True, error


def named(house: House, name: str) -> list[TableMeta]:
    return [table for table in house.cluster.metadata.tables.values() if table.name == name]


def test_a_table_whose_making_was_not_answered_is_made_once() -> None:
    """It is in the log: asked for again it would be there twice under one name, and after a restart either may own it, with the other's rows hidden."""
    house, wire = losing()
    unanswered(house, wire, house.cluster.store.create_table(spec("orders")))
    assert named(house, "orders") == [], "nobody knows yet"
    assert isinstance(refused(house, house.cluster.store.create_table(spec("orders"))), Conflict)
    house.until(lambda: house.table("orders").status == "ACTIVE")
    house.put(house.table("orders"), 1, 7)
    house.restart_control()
    assert len(named(house, "orders")) == 1
    assert list(house.rows(house.table("orders")).values()) == [7]


def test_a_table_whose_deletion_was_not_answered_does_not_live_on_until_the_next_start() -> None:
    """Writes to it would be acknowledged, and gone with the next start."""
    house, wire = losing()
    table = house.create("orders")
    unanswered(house, wire, house.cluster.store.delete_table("orders"))
    house.until(lambda: house.known(table.table_id).status == "DROPPED")
    assert isinstance(house.run(house.ask(table, 1, 1)), ScrubjayError)


def test_a_table_becomes_active_though_the_answers_are_lost() -> None:
    house, wire = losing()
    house.run(house.cluster.store.create_table(spec("orders")))
    wire.lose(port.Write, 6, answers=True)
    house.until(lambda: house.table("orders").status == "ACTIVE")
    assert wire.left == 0


def test_a_table_becomes_active_after_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    """The metadata group has no leader for a while, just then: a table does not stay CREATING until the next start for that."""
    house, _ = losing()
    tried: list[SwapCommand] = []
    go_on = house.cluster.router.write

    def write(table: TableMeta, command: SwapCommand, done: Any, **named: Any) -> None:
        tried.append(command)
        go_on(table, command, done, **named) if len(tried) in (1, 4) else done(Unavailable("no leader for this partition in time"))

    monkeypatch.setattr(house.cluster.router, "write", write)
    house.run(house.cluster.store.create_table(spec("orders")))
    house.until(lambda: house.table("orders").status == "ACTIVE")


def test_no_kind_of_error_ends_the_search_for_what_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The leader's tree is rotten just there, for a while: that says nothing about what an earlier try came to."""
    house, _ = losing()
    tried: list[SwapCommand] = []
    go_on = house.cluster.router.write

    def write(table: TableMeta, command: SwapCommand, done: Any, **named: Any) -> None:
        if tried and command.key != tried[0].key:
            go_on(table, command, done, **named)  # of another item
            return
        tried.append(command)
        if len(tried) == 1:
            go_on(table, command, lambda _: done(Unavailable("no answer in time", unknown=True)), **named)
        elif len(tried) <= 3:
            done(Corrupt("rot in the tree", what="tree"))
        else:
            go_on(table, command, done, **named)

    monkeypatch.setattr(house.cluster.router, "write", write)
    error = refused(house, house.cluster.store.create_table(spec("orders")))
    assert isinstance(error, Corrupt)
    assert error.fields["unknown"] is True
    house.until(lambda: [table.status for table in named(house, "orders")] == ["ACTIVE"])


def test_a_write_that_nobody_waits_for_any_more_is_known_all_the_same() -> None:
    """A restore that is cancelled while it is being published is published: to remove its target then would remove a table that is in use after the next start."""
    house, wire = losing()
    table = house.create("orders")
    metadata, tasks = house.cluster.metadata, house.cluster.control.env.tasks
    origin = RestoreOrigin(table.table_id, "orders", 1, in_progress=True)
    restoring = house.run(metadata.put_table(msgspec.structs.replace(table, restore_of=origin)))
    wire.lose(port.Write, 1, answers=True)
    publishing = tasks.spawn(house.service.publish(restoring.table_id), name="publish")
    house.pass_time(0.01)
    publishing.cancel()
    error = refused(house, house.service.abandon(table.table_id))
    assert "published already" in str(error)
    published = house.known(table.table_id).restore_of
    assert published is not None
    assert not published.in_progress


def test_what_was_changed_meanwhile_is_taken_in_when_a_write_finds_it() -> None:
    house, _ = losing()
    table = house.create("orders")
    ours = house.cluster.metadata
    house.restart_control()
    theirs = house.cluster.metadata
    house.run(theirs.put_table(msgspec.structs.replace(house.table("orders"), pitr_days=7)))
    assert theirs is not ours
    theirs._raw[f"table/{table.table_id}"] = ours._raw[f"table/{table.table_id}"]
    theirs._take(ours._raw[f"table/{table.table_id}"])
    assert isinstance(refused(house, theirs.put_table(msgspec.structs.replace(table, pitr_days=8))), Conflict)
    assert house.known(table.table_id).pitr_days == 7


def test_a_table_that_another_change_found_to_be_updating_becomes_active() -> None:
    """Seed 16041: an update was written, its answers were lost, and a split wrote over it, so that the update was refused in the end: nobody went on with it."""
    house, _ = losing()
    table = house.create("orders")
    metadata, name = house.cluster.metadata, f"table/{table.table_id}"
    before = metadata._raw[name]
    house.run(metadata.put_table(msgspec.structs.replace(table, status="UPDATING")))
    metadata._raw[name] = before
    metadata._take(before)
    assert isinstance(refused(house, metadata.put_table(msgspec.structs.replace(table, pitr_days=8))), Conflict)
    house.until(lambda: house.known(table.table_id).status == "ACTIVE")
