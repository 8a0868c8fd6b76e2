"""A client of a scratch cluster's DynamoDB API: plain boto3. The functions may run in worker processes: building and parsing requests costs more than sending them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

from scrubjay.base.errors import Corrupt
from scrubjay.drills.model import KEY, Item, Key, Model, canonical, key_item, key_of
from scrubjay.machine import pause
from scrubjay.scratch.access_keys import ANYBODY, ClientKey

BATCH = 25
"""BatchWriteItem's own bound."""
THREADS = 4
ATTEMPTS_MAX = 40
REFUSALS = ("UnrecognizedClientException", "InvalidSignatureException")


@cache
def dynamodb(endpoint: str, key: ClientKey = ANYBODY) -> Any:
    """A boto3 client of one endpoint, made once per process. key: without one, one that is as good as any where no keys are configured."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        "dynamodb",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=key.id,
        aws_secret_access_key=key.secret,
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
    """Create a table with the model's key, wait until it is ACTIVE; its id."""
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


def put_items(endpoint: str, table: str, items: Sequence[Item]) -> int:
    """Write items as they are; how many."""
    _batches(endpoint, table, [{"PutRequest": {"Item": item}} for item in items])
    return len(items)


def delete_keys(endpoint: str, table: str, keys: Sequence[Key]) -> int:
    """Delete items; how many."""
    _batches(endpoint, table, [{"DeleteRequest": {"Key": key_item(key)}} for key in keys])
    return len(keys)


def scan(endpoint: str, table: str, segment: int, segments: int) -> Model:
    """One segment of a strongly consistent parallel scan. Raises Corrupt: it gave an item twice."""
    found: Model = {}
    for page in pages(endpoint, table, Segment=segment, TotalSegments=segments):
        for item in page:
            key = key_of(item)
            if key in found:
                raise Corrupt("a scan gave a key twice", what="scan", key=key)
            found[key] = canonical(item)
    return found


def refuses(endpoint: str, key: ClientKey) -> bool:
    """A request that is signed with that key gets no answer but a refusal."""
    from botocore.exceptions import ClientError

    try:
        dynamodb(endpoint, key).list_tables(Limit=1)
    except ClientError as error:
        if error.response["Error"]["Code"] not in REFUSALS:
            raise
        return True
    return False


def pages(endpoint: str, table: str, *, key: ClientKey = ANYBODY, **more: Any) -> Iterator[list[Item]]:
    """The items of a strongly consistent scan, page by page. more: parameters of Scan."""
    client = dynamodb(endpoint, key)
    start: Item | None = None
    while True:
        from_there: Mapping[str, Any] = {"ExclusiveStartKey": start} if start else {}
        page = client.scan(TableName=table, ConsistentRead=True, **more, **from_there)
        yield page["Items"]
        start = page.get("LastEvaluatedKey")
        if not start:
            return


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
