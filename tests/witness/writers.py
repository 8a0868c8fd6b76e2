"""Writers through boto3, each of items of its own, in two tables: every way in which an item is written, one request at a time."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from tests.witness.notes import Item, Name, Notes

MANY, ONE = "many", "one"
"""Tables: of a partition key `k` and a sort key `r`, a number; and of `k` alone. `g` is the key of a global index of both, `n` of a local one of MANY."""
PAUSE_S = 0.01
ADD = "ADD n :n"
UPDATES: tuple[tuple[str, Callable[[Random], dict[str, Any]]], ...] = (
    ("SET v = :v, g = :g", lambda rand: {":v": {"S": str(rand.random())}, ":g": {"S": f"g{rand.randrange(6)}"}}),
    (ADD, lambda rand: {":n": {"N": str(rand.randrange(-3, 9))}}),
    ("REMOVE g SET w = :w", lambda rand: {":w": {"N": str(rand.randrange(9))}}),
    ("ADD tags :t", lambda rand: {":t": {"SS": ["t1", f"t{rand.randrange(20)}"]}}),
)


def make_tables(client: Any) -> None:
    """MANY with a stream."""
    index = {"IndexName": "by-g", "KeySchema": [{"AttributeName": "g", "KeyType": "HASH"}], "Projection": {"ProjectionType": "ALL"}}
    local = {
        "IndexName": "by-n",
        "KeySchema": [{"AttributeName": "k", "KeyType": "HASH"}, {"AttributeName": "n", "KeyType": "RANGE"}],
        "Projection": {"ProjectionType": "ALL"},
    }
    kinds = {"k": "S", "r": "N", "n": "N", "g": "S"}
    for table, keys, more in (
        (
            MANY,
            "krng",
            {"LocalSecondaryIndexes": [local], "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}},
        ),
        (ONE, "kg", {}),
    ):
        client.create_table(
            TableName=table,
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": kinds[name]} for name in keys],
            KeySchema=[
                {"AttributeName": name, "KeyType": kind} for name, kind in (("k", "HASH"), ("r", "RANGE")) if name == "k" or table == MANY
            ],
            BillingMode="PAY_PER_REQUEST",
            GlobalSecondaryIndexes=[index],
            **more,
        )
    for table in (MANY, ONE):
        client.get_waiter("table_exists").wait(TableName=table, WaiterConfig={"Delay": 1})


def key_item(name: Name) -> dict[str, Any]:
    return {attribute: {kind: value} for (attribute, kind), value in zip((("k", "S"), ("r", "N")), name.key, strict=False)}


class Writer(threading.Thread):
    """clients: of one node each; every request goes through one of them. once: the same, which never ask twice: what is added twice was something else in between.
    What was refused or not answered is read until it is known what it left."""

    def __init__(self, number: int, clients: Sequence[Any], once: Sequence[Any], notes: Notes, *, seed: int, stop: threading.Event) -> None:
        super().__init__(daemon=True, name=f"writer {number}")
        self.done, self.refused = Counter[str](), Counter[str]()
        self._number, self._clients, self._once, self._notes, self._stopped = number, clients, once, notes, stop
        self._random = Random(f"{seed} {number}")
        self._there: dict[Name, Item | None] = {}

    def run(self) -> None:
        ways = (self._by_put, self._by_delete, self._by_update, self._by_batch, self._by_statement, self._by_transact)
        while not self._stopped.wait(self._random.uniform(0, PAUSE_S)):
            way = self._random.choices(ways, (35, 15, 20, 10, 5, 15))[0]
            names = self._names(5 if way == self._by_transact else 4 if way == self._by_batch else 1)
            began = time.time()
            try:
                states = way(names)
            except (ClientError, BotoCoreError) as error:
                self.refused[type(error).__name__] += 1
                states = self._as_it_is(names)
                if states is None:
                    return
                for name, item in states.items():
                    self._notes.note(began, time.time(), {name: item})
            else:
                self._notes.note(began, time.time(), states, at_once=way == self._by_transact)
                self.done[way.__name__.removeprefix("_by_")] += 1
            self._there |= states

    def _as_it_is(self, names: Sequence[Name]) -> dict[Name, Item | None] | None:
        """None: nobody answers any more, and it is over."""
        found: dict[Name, Item | None] = {}
        while len(found) < len(names):
            name = names[len(found)]
            try:
                found[name] = self._client.get_item(TableName=name.table, Key=key_item(name), ConsistentRead=True).get("Item")
            except (ClientError, BotoCoreError):
                if self._stopped.wait(0.3):
                    return None
        return found

    @property
    def _client(self) -> Any:
        return self._random.choice(self._clients)

    def _names(self, count: int) -> list[Name]:
        found: dict[Name, None] = {}
        while len(found) < count:
            if self._random.random() < 0.5:
                found[Name(MANY, (f"w{self._number}-{self._random.randrange(8)}", str(self._random.randrange(5))))] = None
            else:
                found[Name(ONE, (f"w{self._number}-{self._random.randrange(25)}",))] = None
        return list(found)

    def _item(self, name: Name) -> Item:
        rand, item = self._random, key_item(name)
        item["v"] = {"S": "x" * rand.randrange(400) + str(rand.random())}
        if rand.random() < 0.8:
            item["g"] = {"S": f"g{rand.randrange(6)}"}
        if rand.random() < 0.7:
            item["n"] = {"N": str(rand.randrange(100))}
        if rand.random() < 0.2:
            item["tags"] = {"SS": sorted({f"t{rand.randrange(9)}" for _ in range(3)})}
        if rand.random() < 0.2:
            item["l"] = {"L": [{"N": "1"}, {"M": {"a": {"BOOL": True}}}]}
        return item

    def _items(self, names: Sequence[Name]) -> dict[Name, Item | None]:
        """What each is to become; of some nothing."""
        return {name: self._item(name) if self._random.random() < 0.75 else None for name in names}

    def _by_put(self, names: Sequence[Name]) -> dict[Name, Item | None]:
        item = self._item(names[0])
        self._client.put_item(TableName=names[0].table, Item=item)
        return {names[0]: item}

    def _by_delete(self, names: Sequence[Name]) -> dict[Name, Item | None]:
        self._client.delete_item(TableName=names[0].table, Key=key_item(names[0]))
        return {names[0]: None}

    def _by_update(self, names: Sequence[Name]) -> dict[Name, Item | None]:
        expression, values = self._random.choice(UPDATES)
        client = self._random.choice(self._once) if expression == ADD else self._client
        answer = client.update_item(
            TableName=names[0].table,
            Key=key_item(names[0]),
            UpdateExpression=expression,
            ExpressionAttributeValues=values(self._random),
            ReturnValues="ALL_NEW",
        )
        return {names[0]: answer["Attributes"]}

    def _by_batch(self, names: Sequence[Name]) -> dict[Name, Item | None]:
        states, asked = self._items(names), defaultdict(list)
        for name, item in states.items():
            asked[name.table].append({"DeleteRequest": {"Key": key_item(name)}} if item is None else {"PutRequest": {"Item": item}})
        if self._client.batch_write_item(RequestItems=dict(asked))["UnprocessedItems"]:
            raise BotoCoreError
        return states

    def _by_statement(self, names: Sequence[Name]) -> dict[Name, Item | None]:
        """An update of an item that is there, else a put."""
        (name,) = names
        if self._there.get(name) is None:
            return self._by_put(names)
        where = " AND ".join(f"{attribute} = ?" for attribute in key_item(name))
        answer = self._client.execute_statement(
            Statement=f'UPDATE "{name.table}" SET v = ? WHERE {where} RETURNING ALL NEW *',
            Parameters=[{"S": str(self._random.random())}, *key_item(name).values()],
        )
        return {name: answer["Items"][0]}

    def _by_transact(self, names: Sequence[Name]) -> dict[Name, Item | None]:
        states = self._items(names)
        self._client.transact_write_items(
            TransactItems=[
                {"Delete": {"TableName": name.table, "Key": key_item(name)}}
                if item is None
                else {"Put": {"TableName": name.table, "Item": item}}
                for name, item in states.items()
            ]
        )
        return states
