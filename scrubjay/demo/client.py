"""What the demo writes beyond what every client of a scratch cluster does (`scrubjay.scratch.client`): cities, and a recount of them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from scrubjay.demo.cities import City, item_of
from scrubjay.drills.model import Key, Model, canonical, key_item, key_of
from scrubjay.scratch.client import THREADS, dynamodb, put_items

RECOUNT_MORE = 10


def put_cities(endpoint: str, table: str, cities: Sequence[City]) -> Model:
    """Write cities; returns exactly what was acknowledged."""
    items = [item_of(city) for city in cities]
    put_items(endpoint, table, items)
    return {key_of(item): canonical(item) for item in items}


def recount(endpoint: str, table: str, cities: Sequence[tuple[Key, str]]) -> Model:
    """An UpdateItem each: ten more people and a remark. Returns the new items as the store answered them."""
    client = dynamodb(endpoint)

    def one(city: tuple[Key, str]) -> tuple[Key, bytes]:
        answer = client.update_item(
            TableName=table,
            Key=key_item(city[0]),
            UpdateExpression="SET #p = #p + :more, remark = :remark",
            ConditionExpression="attribute_exists(country)",
            ExpressionAttributeNames={"#p": "population"},
            ExpressionAttributeValues={":more": {"N": str(RECOUNT_MORE)}, ":remark": {"S": city[1]}},
            ReturnValues="ALL_NEW",
        )
        return city[0], canonical(answer["Attributes"])

    with ThreadPoolExecutor(THREADS) as pool:
        return dict(pool.map(one, cities))
