"""A table with local and global indexes through what happens to tables: items whose time is over, a recovery of everything. Every index shows what the items say, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from scrubjay.pitr.options import RestoreOptions
from scrubjay.pitr.recover.choose import Chooser
from scrubjay.pitr.recover.parent import Parent
from scrubjay.pitr.recover.parent_source import RecoverySource
from scrubjay.pitr.recover.run import Recovery
from scrubjay.scrubber.verdict import Verdict
from scrubjay.sim.whole.cluster import CLUSTER
from scrubjay.storage.commands.values import Decision, ExpireCommand, WriteAnswer
from scrubjay.storage.items.encoding import encode_item, encode_value
from scrubjay.storage.items.keys import key_item, storage_key
from scrubjay.storage.items.wire import item_from_json
from tests.unit.control.house import House
from tests.unit.control.test_local_indexes import of

NAME = "both"
LOCAL = {
    "IndexName": "by-n",
    "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "n", "KeyType": "RANGE"}],
    "Projection": {"ProjectionType": "ALL"},
}
GLOBAL = {"IndexName": "by-c", "KeySchema": [{"AttributeName": "c", "KeyType": "HASH"}], "Projection": {"ProjectionType": "ALL"}}

Items = dict[str, dict[str, Any]]


def filled(house: House) -> Items:
    """A table whose items are in both indexes, in one of them, or in none; some are over. By sort key."""
    calls = of(house)
    calls.ok(
        "CreateTable",
        TableName=NAME,
        AttributeDefinitions=[
            {"AttributeName": name, "AttributeType": kind} for name, kind in (("pk", "S"), ("sk", "S"), ("n", "N"), ("c", "S"))
        ],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        LocalSecondaryIndexes=[LOCAL],
        GlobalSecondaryIndexes=[GLOBAL],
        BillingMode="PAY_PER_REQUEST",
    )
    house.until(lambda: house.table(NAME).status == "ACTIVE")
    items: Items = {}
    now_s = house.env.clock.wall_us() // 1_000_000
    for number in range(12):
        item: dict[str, Any] = {"pk": {"S": f"p{number % 3}"}, "sk": {"S": f"s{number:02}"}, "ends": {"N": str(now_s - 100 - number)}}
        if number % 4:
            item["n"] = {"N": str(number % 5)}
        if number % 3:
            item["c"] = {"S": f"c{number % 2}"}
        calls.ok("PutItem", TableName=NAME, Item=item)
        items[item["sk"]["S"]] = item
    return items


def agree(house: House, items: Items) -> None:
    """Table and indexes show these items, and scrubs agree."""
    calls = of(house)

    def shown(**where: Any) -> Items:
        status, found = calls.ask("Scan", TableName=NAME, **where)
        return {item["sk"]["S"]: item for item in found["Items"]} if status == 200 else {"none": found}

    house.until(lambda: house.table(NAME).status == "ACTIVE")
    assert shown(ConsistentRead=True) == items
    assert shown(IndexName="by-n", ConsistentRead=True) == {sk: item for sk, item in items.items() if "n" in item}
    house.until(lambda: shown(IndexName="by-c") == {sk: item for sk, item in items.items() if "c" in item}, seconds=120)
    house.until(lambda: all(index.status == "ACTIVE" for index in house.table(NAME).global_indexes or ()))
    assert house.scrub().verdict is Verdict.MATCH


def test_an_item_whose_time_is_over_goes_from_every_index() -> None:
    house = House(91, partitions=2)
    items = filled(house)
    agree(house, items)
    table = house.table(NAME)
    for sk in [sk for sk in items if sk < "s06"]:
        item = item_from_json(items[sk])
        key = storage_key(table.key, item)
        command = ExpireCommand(key, encode_item(key_item(table.key, item)), "ends", encode_value(item["ends"]))
        future = house.env.tasks.future()
        house.cluster.store.write(table, command, future.set_result)
        answer = house.run(future)
        assert isinstance(answer, WriteAnswer)
        assert answer.outcome.decision is Decision.DELETE
        del items[sk]
    agree(house, items)


@pytest.mark.slow
def test_a_recovery_of_everything_has_all_indexes_again() -> None:
    house = House(93, partitions=2)
    items = filled(house)
    agree(house, items)
    house.pass_time(6)

    def opened() -> Parent:
        parent = Parent(house.env, house.client(), house.cluster.folder.disk, CLUSTER, ahead_us=5_000_000)
        house.run(parent.open())
        return parent

    at = house.run(Chooser(opened(), only=(NAME,), now_us=house.env.clock.wall_us()).choose(None)).at_us
    house.run(house.cluster.store.delete_table(NAME))
    house.until(lambda: not house.cluster.store.table_names())
    house.pass_time(6)
    parent = opened()
    choice = house.run(Chooser(parent, only=(NAME,), now_us=house.env.clock.wall_us()).choose(at))
    source = RecoverySource(
        house.env, house.service, house.jobs(), house.cluster.folder.disk, parent, url=house.cluster.archive.url, trees=None
    )
    recovery = Recovery(
        house.env,
        house.service,
        source,
        RestoreOptions(),
        choice,
        max_offset_us=500_000,
        tell=lambda _: None,
        log=house.lines.append,
        foreseen=None,
    )
    (brought,) = house.run(recovery.run())
    assert (brought.report["state"], brought.report["rows"]) == ("published", len(items))
    house.run(recovery.settled([brought], lambda: None))
    assert house.table(NAME).restore_of is not None
    calls = of(house)
    local = calls.ok("Scan", TableName=NAME, IndexName="by-n", ConsistentRead=True)["Items"]
    assert {item["sk"]["S"]: item for item in local} == {sk: item for sk, item in items.items() if "n" in item}
    wanted = {sk: item for sk, item in items.items() if "c" in item}

    def filled_again() -> bool:
        status, found = calls.ask("Scan", TableName=NAME, IndexName="by-c")
        return status == 200 and {item["sk"]["S"]: item for item in found["Items"]} == wanted

    house.until(filled_again, seconds=120)
