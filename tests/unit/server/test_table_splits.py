"""`table split` and `table partitions`, on real nodes in simulated time."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from scrubjay.base.errors import Invalid, Unavailable, Unsafe
from scrubjay.server.cluster_status import cluster_report
from scrubjay.server.table_splits import TableSplits
from scrubjay.sim.whole.commands import key_of
from scrubjay.storage.catalogue import TableMeta, VersionNote
from scrubjay.storage.cluster_version import SPLITS_INDEXES
from scrubjay.storage.items.global_index import hash_prefix
from scrubjay.storage.items.keys import HASH_BYTES
from tests.unit.control.house import House
from tests.unit.control.test_global_indexes import BY_COLOUR, Indexed


def housed() -> tuple[House, TableMeta, TableSplits, list[dict[str, Any]]]:
    house = House()
    table = house.create("orders")
    answers = [house.ask(table, key, key) for key in range(20)]
    for answer in answers:
        house.run(answer)
    house.pass_time(2)
    return house, house.table("orders"), TableSplits(house.env, house.cluster.parts, works=lambda: True), []


def test_the_largest_partition_is_split_at_half_and_a_key_names_where_the_next_one_is() -> None:
    house, table, splitting, told = housed()
    (before,) = splitting.partitions(table)["partitions"]
    assert (before["items"], before["lo"], before["hi"]) == (20, "0" * 32, "")
    first = house.run(splitting.split(table, None, told.append))
    shown = splitting.partitions(house.known(table.table_id))
    assert [one["partition"] for one in shown["partitions"]] == [first["left"], first["right"]]
    assert abs(shown["partitions"][0]["items"] - 10) <= 2
    assert sum(one["items"] for one in shown["partitions"]) == 20
    assert [one["partition"] for one in shown["former"]] == [first["partition"]]
    assert told[0]["phase"] == "splitting"
    key = next(key for key in range(20) if key_of(key)[:HASH_BYTES].hex() > first["cut"])
    second = house.run(splitting.split(table, {"k": {"S": f"key-{key}"}}, told.append))
    assert (second["partition"], second["cut"]) == (first["right"], key_of(key)[:HASH_BYTES].hex())
    assert len(house.rows(house.known(table.table_id))) == 20
    lineages = {
        one["partition"]: one["lineage"] for one in cluster_report(house.cluster.parts, {})["partitions"] if one["table"] == "orders"
    }
    halved, split_again = splitting.partitions(house.known(table.table_id))["former"]
    assert lineages == {
        first["left"]: {name: halved[name] for name in ("partition", "lsn", "until")},
        second["left"]: {name: split_again[name] for name in ("partition", "lsn", "until")},
        second["right"]: {name: split_again[name] for name in ("partition", "lsn", "until")},
    }
    assert all(one["lineage"] is None for one in cluster_report(house.cluster.parts, {})["partitions"] if one["table"] != "orders")


def test_below_the_version_that_it_needs_an_index_is_not_split_and_asking_again_is_not_advised() -> None:
    house = House()
    indexed = Indexed(house, BY_COLOUR)
    splitting = TableSplits(house.env, house.cluster.parts, works=lambda: True)
    with pytest.raises(Unsafe, match="needs version 8 of the cluster") as refused:
        house.run(splitting.split(indexed.table, None, lambda _: None, index="by-colour"))
    assert "bring every process to this release" in str(refused.value.fields["next"])


@pytest.mark.slow
def test_a_partition_of_an_index_is_split_by_hand() -> None:
    house = House()
    house.run(house.cluster.parts.metadata.put_version(VersionNote(SPLITS_INDEXES)))
    indexed = Indexed(house, BY_COLOUR)
    indexed.write(60, keys=40)
    indexed.agrees()
    house.pass_time(2)
    splitting = TableSplits(house.env, house.cluster.parts, works=lambda: True)
    first = house.run(splitting.split(indexed.table, None, [].append, index="by-colour"))
    assert (first["table"], first["index"]) == ("indexed", "by-colour")
    (shown,) = splitting.partitions(indexed.table)["indexes"]
    assert (shown["index"], [one["partition"] for one in shown["partitions"]]) == ("by-colour", [first["left"], first["right"]])
    assert len(splitting.partitions(indexed.table)["partitions"]) == 1
    cuts = {colour: hash_prefix([("S", colour)]).hex() for colour in ("red", "green", "blue")}
    colour = next(one for one, cut in cuts.items() if cut != first["cut"])
    second = house.run(splitting.split(indexed.table, {"c": {"S": colour}}, [].append, index="by-colour"))
    assert second["cut"] == cuts[colour]
    indexed.agrees()
    for index, at in (("no-such", None), ("by-colour", {"k": {"S": "k1"}}), ("by-colour", {"c": {"N": "1"}}), ("by-colour", {"c": "a"})):
        with pytest.raises(Invalid):
            house.run(splitting.split(indexed.table, at, [].append, index=index))


def test_what_cannot_be_split_says_why() -> None:
    house, table, splitting, told = housed()
    for at in ({"k": {"N": "1"}}, {"other": {"S": "a"}}, {"k": "a"}):
        with pytest.raises(Invalid):
            house.run(splitting.split(table, at, told.append))
    other = TableSplits(house.env, house.cluster.parts, works=lambda: False)
    with pytest.raises(Unavailable, match="another durability process"):
        house.run(other.split(table, None, told.append))
    empty = house.create("empty")
    with pytest.raises(Invalid, match="nowhere to cut"):
        house.run(splitting.split(empty, None, told.append))
    assert house.known(table.table_id).split is msgspec.UNSET
