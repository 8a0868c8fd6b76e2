"""What the control part has begun comes to its end: lost writes of the catalogue, members out of reach, a race for an item, an asker that gives up."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from scrubjay.base.errors import Conflict, Missing
from scrubjay.sim.whole.commands import SCHEMA
from scrubjay.storage.backend import TableSpec
from scrubjay.storage.catalogue import Throughput
from scrubjay.storage.control.metadata import Metadata
from scrubjay.storage.node import port
from scrubjay.storage.node.port import node_down
from tests.unit.control.house import House
from tests.unit.control.test_errands_cut_off import intercept
from tests.unit.control.test_fleet import losing
from tests.unit.control.test_heal_races import VICTIM, begin, heal, outcome

SPEC = TableSpec(name="orders", key=SCHEMA, attributes=(("k", "S"),), billing="PAY_PER_REQUEST", throughput=Throughput())
WRITE_TRIES = 5
"""How often one change of the catalogue is written before it is given up, while nothing is heard of it."""


def test_who_lost_the_race_for_an_item_goes_on_from_what_stands_there() -> None:
    """Its next word would else take the place of what the other said, which it never read."""
    house = House()
    table = house.create("orders")
    mine = house.cluster.metadata
    other = Metadata(house.cluster.control.env, house.cluster.router, house.cluster.system)
    house.run(other.load())
    house.run(other.put_table(msgspec.structs.replace(table, tags=(("who", "other"),))))
    with pytest.raises(Conflict):
        house.run(mine.put_table(msgspec.structs.replace(table, pitr_days=7)))
    assert house.table("orders").tags == (("who", "other"),)
    house.run(mine.put_table(msgspec.structs.replace(house.table("orders"), pitr_days=7)))
    house.run(other.load())
    found = other.tables[table.table_id]
    assert (found.tags, found.pitr_days, found.version) == ((("who", "other"),), 7, table.version + 2)


def test_what_another_removed_is_gone_for_who_lost_the_race() -> None:
    house = House()
    table = house.create("orders")
    other = Metadata(house.cluster.control.env, house.cluster.router, house.cluster.system)
    house.run(other.load())
    house.run(other.put_job("restore/x", {"to": "x"}))
    house.run(house.cluster.metadata.load())
    house.run(other.remove_table(table.table_id))
    house.run(other.put_job("restore/x", None))
    for change in (
        house.cluster.metadata.put_table(msgspec.structs.replace(table, pitr_days=7)),
        house.cluster.metadata.put_job("restore/x", {"to": "y"}),
    ):
        with pytest.raises(Conflict):
            house.run(change)
    assert house.cluster.store.table("orders") is None
    assert house.cluster.metadata.jobs == {}


@pytest.mark.slow
def test_a_table_becomes_active_though_the_catalogue_takes_no_write_for_a_while() -> None:
    house, wire = losing()
    house.run(house.cluster.store.create_table(SPEC))
    wire.lose(port.Write, 3 * WRITE_TRIES)
    house.until(lambda: house.table("orders").status == "ACTIVE", seconds=1_200)
    assert wire.seen[port.Write] > 3 * WRITE_TRIES


def test_an_update_that_a_stop_cut_off_ends_at_the_next_start() -> None:
    house = House()
    house.create("orders")
    house.run(house.cluster.store.update_table("orders", {"status": "UPDATING"}))
    house.pass_time(0.001)
    house.restart_control()
    house.pass_time(1)
    assert house.table("orders").status == "ACTIVE"


def test_a_member_that_could_not_be_reached_when_a_table_was_made_is_told_again() -> None:
    """It went on all the while: no start of its own has it told what to host."""
    house = House()
    cut = [True]

    def refuse(request: Any, done: Any, go_on: Any) -> None:
        if cut:
            done(node_down(VICTIM))  # type: ignore[arg-type]
        else:
            go_on(request, done)

    intercept(house, port.Host, refuse)
    table = house.create("orders")
    house.put(table, 1, 1)
    assert house.table("orders").absent
    cut.clear()
    (info,) = table.partitions
    house.until(lambda: not house.table("orders").absent)
    assert {copy.state for copy in house.service.copies(info.partition_id)} <= {"ok", "behind"}


def test_a_window_that_is_hurried_while_its_table_is_dropped_breaks_nothing() -> None:
    house = House()
    table = house.create("orders")
    (info,) = table.partitions
    house.until(lambda: not house.cluster.parts.fleet.leader(info.partition_id).sealed)  # type: ignore[union-attr]
    house.put(table, 1, 1)
    house.put(table, 2, 2)
    for node in house.cluster.parts.fleet.ports.values():
        door: Any = node
        door.ask = lambda request, done, **options: done(Missing("the table is dropped: its log takes nothing more", what="table"))
    house.run(house.cluster.store.backups._seal_open(table))


def test_a_heal_that_is_given_up_before_it_began_is_waited_for_by_nobody() -> None:
    house = House()
    _, partition, reference = begin(house)
    task: Any = house.env.tasks.spawn(outcome(heal(house, partition, reference)), name="heal")
    house.env.tasks.call_soon(task.cancel)
    house.pass_time(0.001)
    assert task.done()
    house.run(house.service.healed(partition, timeout_s=0.0))  # type: ignore[arg-type]


def test_who_asks_a_node_to_hand_over_while_it_does_is_told_too() -> None:
    house = House()
    house.create("orders")
    (node,) = [one for one in house.cluster.nodes() if one.name == VICTIM]
    told: list[str] = []
    node.departure.hand_over(lambda: told.append("first"))
    node.departure.hand_over(lambda: told.append("second"))
    house.pass_time(2)
    assert sorted(told) == ["first", "second"]
