"""A process that only routes, from its start or because its node stays out: it serves what it knows while the metadata group is away, from the start too, and what it costs that group's leader does not depend on what it is asked."""

from __future__ import annotations

from typing import Any

import pytest

from scrubjay.base.errors import ScrubjayError, Unsafe
from scrubjay.base.ids import NodeName
from scrubjay.server.cluster_status import serves
from scrubjay.server.control import Control
from scrubjay.server.node import start_node
from scrubjay.storage.control.fleet import AWAITED_US
from tests.unit.control.test_following import Pair, spec, status

ASKED_S = 40


def of_metadata(pair: Pair, parts: Control) -> list[tuple[NodeName, str]]:
    """From now on: what this process asks of the metadata group, by node and kind."""
    asked: list[tuple[NodeName, str]] = []
    system = pair.cluster.system.partitions[0].partition_id
    for name, node in parts.router.nodes.items():
        for kind in ("read", "read_range", "write"):
            before = getattr(node, kind)

            def counted(partition: Any, *a: Any, before: Any = before, kind: str = kind, name: NodeName = name, **k: Any) -> None:
                if partition == system:
                    asked.append((name, kind))
                before(partition, *a, **k)

            setattr(node, kind, counted)
    return asked


def test_what_a_router_costs_the_metadata_group_does_not_depend_on_whether_it_knows_what_it_is_asked() -> None:
    pair = Pair()
    pair.run(0, pair.one.store.create_table(spec("orders")))
    pair.until(lambda: status(pair.two, "orders") == "ACTIVE")
    asked = of_metadata(pair, pair.two)
    found = []
    for known, forgets in ((True, False), (False, False), (True, True)):
        asked.clear()
        for _ in range(ASKED_S * 10):
            table = pair.two.store.table("orders" if known else "nobody's")
            assert (table is not None) is known
            if table is not None:
                if forgets:
                    pair.two.router.leaders.pop(table.partitions[0].partition_id, None)
                pair.two.router.read(table, bytes(17), consistent=True, done=lambda answer: None)
            pair.pass_time(0.1)
        found.append(len(asked))
    assert min(found) >= ASKED_S / 2 - 2
    assert max(found) <= 1.1 * min(found) + 1, f"all known, none known, no leader known: {found}"


@pytest.mark.parametrize("routes", [True, False])
def test_a_router_that_starts_without_a_leader_of_the_metadata_serves_what_a_copy_knows(routes: bool) -> None:
    pair = Pair()
    pair.run(0, pair.one.store.create_table(spec("orders")))
    pair.until(lambda: status(pair.two, "orders") == "ACTIVE")
    router = pair.cluster.others[0]
    router.crash(power=False)
    for host in pair.cluster.hosts[:2]:
        host.crash(power=False)
    pair.pass_time(5.0)
    router.start()
    pair.parts(1).store.tables.serves_what_is_known = routes
    pair.pass_time(10.0)
    assert router.process.up is routes
    if not routes:
        return
    cold = pair.parts(1)
    table = cold.store.table("orders")
    assert table is not None
    answers: list[Any] = []
    cold.router.read(table, bytes(17), consistent=False, done=answers.append)
    pair.until(lambda: answers)
    assert answers[0].item is None, "an eventual read is served"
    for host in pair.cluster.hosts[:2]:
        host.start()
    pair.until(lambda: cold.following is not None and cold.following.failed is None and serves(cold, pair.world.now))
    pair.run(0, pair.one.store.create_table(spec("later")))
    pair.until(lambda: status(cold, "later") == "ACTIVE")


def test_tables_are_served_while_the_metadata_group_has_no_leader() -> None:
    pair = Pair()
    pair.run(0, pair.one.store.create_table(spec("orders")))
    pair.until(lambda: status(pair.two, "orders") == "ACTIVE" and serves(pair.two, pair.world.now))
    system, leader = pair.cluster.system.partitions[0].partition_id, pair.two.fleet.leader
    pair.two.fleet.leader = lambda partition: None if partition == system else leader(partition)  # type: ignore[method-assign]
    assert serves(pair.two, pair.world.now)
    pair.two.metadata.tables.clear()
    assert not serves(pair.two, pair.world.now), "where there is no table, none can be made"


def test_a_table_that_was_just_made_takes_no_router_out_of_service_before_it_has_heard_who_leads() -> None:
    pair = Pair()
    pair.run(0, pair.one.store.create_table(spec("orders")))
    pair.until(lambda: status(pair.two, "orders") == "ACTIVE")
    table = pair.two.store.table("orders")
    assert table is not None
    pair.two.fleet._led.clear()
    known, pair.two.fleet.facts = pair.two.fleet.facts, lambda partition: []  # type: ignore[method-assign]
    assert serves(pair.two, table.created_at + AWAITED_US)
    assert not serves(pair.two, table.created_at + AWAITED_US + 1), "by now they should have told"
    pair.two.fleet.facts = known  # type: ignore[method-assign]
    assert serves(pair.two, table.created_at)
    pair.two.fleet.facts = lambda partition: []  # type: ignore[method-assign]
    assert not serves(pair.two, table.created_at), "it was led, and is not any more: that is no matter of news"


def test_a_process_whose_node_learns_before_it_speaks_that_it_stays_out_waits_no_longer_for_it() -> None:
    pair = Pair()
    node = pair.cluster.nodes()[2]
    why = Unsafe("it stays out")
    node.fail(why)
    told: list[ScrubjayError | None] = []
    start_node(node, pair.cluster.members, told.append)
    pair.pass_time(1.0)
    assert told == [why]
