"""The demo's DynamoDB client: plain boto3. The functions here run in worker processes: building and parsing requests costs more than sending them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

from scrubjay.demo.cities import KEY, City, item_of, key_item, key_of
from scrubjay.drills.model import Item, Key, Model, canonical
from scrubjay.machine import pause

BATCH = 25
"""BatchWriteItem's own bound."""
THREADS = 4
ATTEMPTS_MAX = 40
RECOUNT_MORE = 10


@cache
def dynamodb(endpoint: str) -> Any:
    """A boto3 client of one endpoint, made once per process. The key and secret are as good as any: `--dev` checks only their form."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        "dynamodb",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="demo",
        aws_secret_access_key="demo",  # noqa: S106 - not a secret, see above
        # Our items are well formed: checking them against the service model once more would take a third of the time of a bulk load.
        config=Config(
            parameter_validation=False,
            retries={"mode": "standard", "total_max_attempts": 8},
            connect_timeout=5,
            read_timeout=60,
            max_pool_connections=THREADS * 2,
            proxies={},
        ),
    )


def create_table(endpoint: str, table: str) -> str:
    """Create the demo's table, wait until it is ACTIVE; its id."""
    client = dynamodb(endpoint)
    client.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": KEY[0], "KeyType": "HASH"}, {"AttributeName": KEY[1], "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in KEY],
        BillingMode="PAY_PER_REQUEST",
    )
    for _ in range(600):
        description = client.describe_table(TableName=table)["Table"]
        if description["TableStatus"] == "ACTIVE":
            return str(description["TableId"])
        pause(0.05)
    raise TimeoutError(f"table {table} did not become ACTIVE")


def put_cities(endpoint: str, table: str, cities: Sequence[City]) -> Model:
    """Write cities; returns exactly what was acknowledged."""
    items = [item_of(city) for city in cities]
    _batches(endpoint, table, [{"PutRequest": {"Item": item}} for item in items])
    return {key_of(item): canonical(item) for item in items}


def put_items(endpoint: str, table: str, items: Sequence[Item]) -> int:
    """Write items as they are; how many."""
    _batches(endpoint, table, [{"PutRequest": {"Item": item}} for item in items])
    return len(items)


def delete_keys(endpoint: str, table: str, keys: Sequence[Key]) -> int:
    """Delete items; how many."""
    _batches(endpoint, table, [{"DeleteRequest": {"Key": key_item(key)}} for key in keys])
    return len(keys)


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


def scan(endpoint: str, table: str, segment: int, segments: int) -> Model:
    """One segment of a strongly consistent parallel scan."""
    client = dynamodb(endpoint)
    found: Model = {}
    start: Item | None = None
    while True:
        more: Mapping[str, Any] = {"ExclusiveStartKey": start} if start else {}
        page = client.scan(TableName=table, Segment=segment, TotalSegments=segments, ConsistentRead=True, **more)
        for item in page["Items"]:
            key = key_of(item)
            assert key not in found, f"scan gave {key} twice"
            found[key] = canonical(item)
        start = page.get("LastEvaluatedKey")
        if not start:
            return found


def server_time(answer: Mapping[str, Any]) -> str:
    """The effective time the server gave a write (RFC 3339, microseconds), from its answer's headers."""
    return max(str(answer["ResponseMetadata"]["HTTPHeaders"]["x-scrubjay-timestamp"]).split(","))


def _batches(endpoint: str, table: str, requests: Sequence[dict[str, Any]]) -> None:
    client = dynamodb(endpoint)

    def one(batch: Sequence[dict[str, Any]]) -> None:
        left: Any = list(batch)
        for attempt in range(ATTEMPTS_MAX):
            left = client.batch_write_item(RequestItems={table: left}).get("UnprocessedItems", {}).get(table)
            if not left:
                return
            pause(min(1.0, 0.02 * 2**attempt))
        raise TimeoutError(f"{len(left)} writes stayed unprocessed after {ATTEMPTS_MAX} attempts")

    with ThreadPoolExecutor(THREADS) as pool:
        _run_all(pool.map, one, _chunks(requests, BATCH))


def _run_all(mapper: Callable[..., Iterator[None]], work: Callable[..., None], parts: Iterator[Any]) -> None:
    for _ in mapper(work, parts):
        continue


def _chunks(requests: Sequence[dict[str, Any]], size: int) -> Iterator[Sequence[dict[str, Any]]]:
    for at in range(0, len(requests), size):
        yield requests[at : at + size]
