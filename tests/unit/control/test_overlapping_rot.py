"""Rot in all three copies, at keys that overlap: each key still has a copy that agrees with the archive, so every copy is healed, one after another."""

from __future__ import annotations

from scrubjay.pitr.target import RestoreTarget
from scrubjay.sim.whole.commands import key_of
from scrubjay.storage.catalogue import TableMeta
from tests.unit.control.house import House

ROTTEN = {"n1": (1, 2), "n2": (2, 3), "n3": (3, 1)}


def rotted(house: House, rotten: dict[str, tuple[int, ...]]) -> TableMeta:
    table = house.create("orders")
    for key in range(12):
        house.put(table, key, key)
    house.checkpointed(table, 12)
    assert house.scrub().exit_code == 0
    for node, keys in rotten.items():
        for key in keys:
            house.rot(node, table, key)
    return table


def test_every_copy_is_healed_and_nothing_is_lost() -> None:
    house = House()
    table = rotted(house, ROTTEN)
    first = house.scrub()
    (part,) = next(one for one in first.tables if one.table == "orders").partitions
    assert (first.exit_code, part.healed) == (2, True), part
    assert {(one.finding.copy, one.finding.action) for one in part.findings} == {(node, "healed") for node in ROTTEN}
    assert len(part.findings) == 6
    assert {(node, outcome): count for (node, outcome), count in house.service.heals.items()} == {(node, "done"): 1 for node in ROTTEN}
    assert house.scrub().exit_code == 0
    assert house.rows(table) == {key_of(key): key for key in range(12)}


def test_a_key_that_rotted_everywhere_is_told_and_nothing_is_set_aside_for_it() -> None:
    """The archive alone says what was there: it is not put in place on its word only, and it is not forgotten either."""
    house = House()
    table = rotted(house, {"n1": (5,), "n2": (5,), "n3": (5,)})
    first = house.scrub()
    (part,) = next(one for one in first.tables if one.table == "orders").partitions
    assert (first.exit_code, part.healed, part.reason) == (2, False, "no_majority")
    assert house.service.heals == {}
    again = house.scrub()
    assert again.exit_code == 2, "outstanding until a person has seen to it"
    house.run(house.restore.start(table, "back", RestoreTarget(latest=True)))
    report = house.restored("back")
    assert (report["state"], report["rows"]) == ("published", 12)
    assert house.rows(house.table("back")) == {key_of(key): key for key in range(12)}
