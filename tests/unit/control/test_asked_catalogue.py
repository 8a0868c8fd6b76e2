"""What one router was told to do with a table holds through every other at once: who would say that something is not there asks first, many with one question (ADR 0085).

The second process's `Following` is stopped throughout: nothing but asking tells it anything.
"""

from __future__ import annotations

from typing import Any

import pytest

from scrubjay.base.http_values import Request
from scrubjay.storage.catalogue import TableMeta
from scrubjay.storage.control import newest
from scrubjay.storage.dropped import is_dropped
from tests.api_server import request_headers
from tests.fixtures.api_calls import ApiCalls
from tests.unit.control.test_following import Pair, msgspec_replace, status
from tests.unit.control.test_routers_alone import of_metadata

KEY: dict[str, Any] = {
    "KeySchema": [{"AttributeName": "k", "KeyType": "HASH"}],
    "AttributeDefinitions": [{"AttributeName": "k", "AttributeType": "S"}],
    "BillingMode": "PAY_PER_REQUEST",
}
ONE = {"k": {"S": "a"}}
INDEX = {
    "AttributeDefinitions": [{"AttributeName": "k", "AttributeType": "S"}, {"AttributeName": "g", "AttributeType": "S"}],
    "GlobalSecondaryIndexUpdates": [
        {
            "Create": {
                "IndexName": "by-g",
                "KeySchema": [{"AttributeName": "g", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "ALL"},
            }
        }
    ],
}


class Routers:
    """one, two: the API through either process; two is told of nothing."""

    def __init__(self, *, known: bool = False) -> None:
        self.pair = Pair()
        self.one, self.two = self.api(0), self.api(1)
        if known:
            self.make()
            self.pair.until(lambda: status(self.pair.two, "orders") == "ACTIVE")
        assert self.pair.two.following is not None
        self.pair.two.following.stop()

    def api(self, number: int) -> ApiCalls:
        host = (self.pair.cluster.control, *self.pair.cluster.others)[number]
        return ApiCalls(self.pair.parts(number).store, host.env, wait=lambda holds: self.pair.until(holds))

    def make(self, **more: Any) -> None:
        self.one.ok("CreateTable", TableName="orders", **{**KEY, **more})
        self.active()

    def active(self) -> None:
        self.pair.until(lambda: self.one.ok("DescribeTable", TableName="orders")["Table"]["TableStatus"] == "ACTIVE")

    def knows(self, old: TableMeta) -> None:
        """Two knows this table alone, as if it had been told of nothing since."""
        metadata = self.pair.two.metadata
        metadata.tables.clear()
        metadata.tables[old.table_id] = metadata._by_name[old.name] = old
        metadata._raw.clear()
        metadata._read_at = -1

    def drop(self) -> None:
        self.one.ok("DeleteTable", TableName="orders")
        self.pair.until(lambda: self.pair.one.store.table("orders") is None)


@pytest.mark.parametrize(
    ("operation", "request_"),
    [
        ("PutItem", {"Item": ONE}),
        ("UpdateItem", {"Key": ONE}),
        ("GetItem", {"Key": ONE}),
        ("Scan", {}),
        ("DescribeTable", {}),
        ("UpdateTable", {"DeletionProtectionEnabled": True}),
    ],
)
def test_what_one_router_made_is_there_through_every_other(operation: str, request_: dict[str, Any]) -> None:
    routers = Routers()
    routers.make()
    assert routers.two.ok(operation, TableName="orders", **request_) is not None


def test_so_it_is_for_several_items_statements_and_streams() -> None:
    routers = Routers()
    routers.make(StreamSpecification={"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"})
    arn = routers.one.ok("DescribeTable", TableName="orders")["Table"]["LatestStreamArn"]
    assert routers.api(1).ok("DescribeStream", StreamArn=arn)["StreamDescription"]["StreamStatus"] == "ENABLED"
    for operation, request in (
        ("BatchWriteItem", {"RequestItems": {"orders": [{"PutRequest": {"Item": ONE}}]}}),
        ("TransactWriteItems", {"TransactItems": [{"Put": {"TableName": "orders", "Item": ONE}}]}),
        ("BatchGetItem", {"RequestItems": {"orders": {"Keys": [ONE]}}}),
        ("ExecuteStatement", {"Statement": 'SELECT * FROM "orders"'}),
        ("BatchExecuteStatement", {"Statements": [{"Statement": "INSERT INTO \"orders\" VALUE {'k': 'b'}"}]}),
    ):
        routers.pair.two.metadata.tables.clear()
        routers.pair.two.metadata._by_name.clear()
        routers.pair.two.metadata._raw.clear()
        routers.pair.two.metadata._read_at = -1
        answer = routers.two.ok(operation, **request)
        assert not any("Error" in one for one in answer.get("Responses", ()) if isinstance(one, dict)), answer


def test_a_table_of_a_dropped_ones_name_is_the_one_that_every_router_serves() -> None:
    routers = Routers(known=True)
    routers.one.ok("PutItem", TableName="orders", Item={**ONE, "v": {"S": "old"}})
    old = routers.pair.two.store.table("orders")
    assert old is not None
    routers.drop()
    assert routers.pair.two.store.table("orders") == old, "it was told of nothing"
    for strong in (True, False):
        routers.knows(old)
        status, answer = routers.two.ask("GetItem", TableName="orders", Key=ONE, ConsistentRead=strong)
        assert (status, "ResourceNotFound" in str(answer)) == (400, True), answer
    routers.make()
    routers.knows(old)
    routers.two.ok("PutItem", TableName="orders", Item={**ONE, "v": {"S": "new"}})
    routers.knows(old)
    assert routers.two.ok("GetItem", TableName="orders", Key=ONE, ConsistentRead=True)["Item"]["v"] == {"S": "new"}
    routers.knows(old)
    assert routers.two.ok("Scan", TableName="orders")["Items"] == [{**ONE, "v": {"S": "new"}}]


def test_of_several_parts_none_is_done_twice_and_all_may_be_tried_again() -> None:
    routers = Routers(known=True)
    old = routers.pair.two.store.table("orders")
    assert old is not None
    routers.drop()
    routers.make()
    routers.knows(old)
    write = {"RequestItems": {"orders": [{"PutRequest": {"Item": ONE}}]}}
    status, answer = routers.two.ask("BatchWriteItem", **write)
    assert (status, "InternalServerError" in str(answer)) == (500, True), answer
    assert routers.two.ok("BatchWriteItem", **write)["UnprocessedItems"] == {}
    routers.knows(old)
    statement = {"Statements": [{"Statement": "SELECT * FROM \"orders\" WHERE k = 'a'"}]}
    assert routers.two.ok("BatchExecuteStatement", **statement)["Responses"][0]["Error"]["Code"] == "InternalServerError"


def test_what_is_changed_of_a_table_shows_through_every_router() -> None:
    routers = Routers(known=True)
    routers.one.ok("UpdateTable", TableName="orders", **INDEX)
    routers.pair.until(lambda: status(routers.pair.one, "orders") == "ACTIVE")
    table = routers.pair.one.store.table("orders")
    assert table is not None
    assert table.global_indexes
    full = msgspec_replace(table.global_indexes[0], status="ACTIVE", backfilling=False)  # what it is once its rows are in
    routers.pair.run(0, routers.pair.one.metadata.put_table(msgspec_replace(table, global_indexes=(full,))))
    asks = {"IndexName": "by-g", "KeyConditionExpression": "g = :g", "ExpressionAttributeValues": {":g": {"S": "x"}}}
    assert routers.two.ok("Query", TableName="orders", **asks)["Items"] == []
    routers.one.ok("UpdateTimeToLive", TableName="orders", TimeToLiveSpecification={"Enabled": True, "AttributeName": "t"})
    assert "ENABL" in str(routers.two.ok("DescribeTimeToLive", TableName="orders")["TimeToLiveDescription"]["TimeToLiveStatus"])
    stream = {"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"}
    routers.one.ok("UpdateTable", TableName="orders", StreamSpecification=stream)
    assert routers.two.ok("DescribeTable", TableName="orders")["Table"]["StreamSpecification"] == stream
    routers.drop()
    assert routers.two.ok("ListTables")["TableNames"] == []


@pytest.mark.slow
def test_what_is_not_there_costs_the_metadata_group_the_same_however_often_it_is_asked_for() -> None:
    routers = Routers(known=True)
    asked = of_metadata(routers.pair, routers.pair.two)
    found = []
    for at_once in (1, 50):
        asked.clear()
        api, answers = routers.two._api, list[int]()
        end = routers.pair.world.now + 5_000_000
        waiting = 0
        while routers.pair.world.now < end:
            while waiting - len(answers) < at_once:
                waiting += 1
                ask(api, answers)
            routers.pair.pass_time(0.01)
        assert set(answers) == {400}
        assert len(answers) >= 50 * at_once
        found.append(len(asked))
    most = 5 / newest.ASK_S
    assert max(found) <= most + 5, f"questions of one router in 5 s: {found}"
    assert all(kind == "read" for _, kind in asked), "one item each: nothing has changed"


def ask(api: Any, answers: list[int]) -> None:
    headers = {name.lower(): value for name, value in request_headers("GetItem").items()}
    body = b'{"TableName":"nobodys","Key":{"k":{"S":"a"}}}'
    api.handle(Request("POST", "/", "", headers, body), lambda status, headers, body: answers.append(status))


def test_while_the_metadata_is_away_what_is_known_is_served_and_nobody_is_told_that_something_is_not_there() -> None:
    routers = Routers(known=True)
    for host in routers.pair.cluster.hosts[:2]:
        host.crash(power=False)
    routers.pair.pass_time(3.0)
    assert routers.two.ok("GetItem", TableName="orders", Key=ONE) == {}
    assert routers.two.ok("DescribeTable", TableName="orders")["Table"]["TableStatus"] == "ACTIVE"
    for operation, request in (("PutItem", {"Item": ONE}), ("GetItem", {"Key": ONE}), ("DescribeTable", {}), ("DeleteTable", {})):
        began = routers.pair.world.now
        status, answer = routers.two.ask(operation, TableName="nobodys", **request)
        assert (status, "InternalServerError" in str(answer)) == (500, True), answer
        assert routers.pair.world.now - began < 3_800_000
    assert routers.pair.two.store.newest.away
    for host in routers.pair.cluster.hosts[:2]:
        host.start()
    routers.pair.until(lambda: routers.two.ask("GetItem", TableName="nobodys", Key=ONE)[0] == 400)
    assert not routers.pair.two.store.newest.away


async def settled(told: Any) -> None:
    await told


def read(routers: Routers, table: TableMeta, *, consistent: bool) -> Any:
    answers: list[Any] = []
    routers.pair.two.router.read(table, bytes(17), consistent=consistent, done=answers.append)
    routers.pair.until(lambda: answers)
    return answers[0]


def test_a_request_on_its_way_to_a_table_that_is_gone_with_its_copies_hears_so_at_once() -> None:
    routers = Routers(known=True)
    two = routers.pair.two
    old = two.store.table("orders")
    assert old is not None
    routers.drop()
    for node in routers.pair.one.router.nodes.values():  # as once the archive has all of it
        routers.pair.run(0, settled(routers.pair.one.fleet.forget(old.partitions[0].partition_id, node)))
    routers.pair.run(1, two.metadata.load())
    for consistent in (True, False):
        began = routers.pair.world.now
        assert is_dropped(read(routers, old, consistent=consistent))
        assert routers.pair.world.now - began < 500_000


def test_a_question_answers_those_who_came_before_it_was_sent() -> None:
    """Who comes while one is under way may know of what that one does not see."""
    routers = Routers(known=True)
    two, env = routers.pair.two, routers.pair.cluster.others[0].env
    sent: list[Any] = []

    async def asked() -> None:
        future = env.tasks.future()
        sent.append(future)
        await future

    two.metadata.newest = asked  # type: ignore[method-assign]
    first = routers.pair.spawn(1, two.store.newest(1.0))
    routers.pair.until(lambda: len(sent) == 1)
    second = routers.pair.spawn(1, two.store.newest(1.0))
    third = routers.pair.spawn(1, two.store.newest(1.0))
    routers.pair.pass_time(0.01)
    sent[0].set_result(None)
    routers.pair.until(first.done)
    assert not second.done()
    assert not third.done()
    routers.pair.until(lambda: len(sent) == 2)
    sent[1].set_result(None)
    routers.pair.until(lambda: second.done() and third.done())
    assert len(sent) == 2, "one question for both"
