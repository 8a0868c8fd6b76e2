"""Python libraries above boto3 against the server at argv[1]: dyntastic, Celery's result backend, LangGraph's checkpointer and store. Prints one JSON object: of each what it
reports, or `{failed}` with where it did.

Runs in an environment of its own (requirements.lock), so that what they bring along is nobody else's.
"""

import json
import sys
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import boto3
from botocore.config import Config

URL = sys.argv[1]
ACCESS = {"region_name": "us-east-1", "aws_access_key_id": "local", "aws_secret_access_key": "local"}
SESSION = boto3.Session(**ACCESS)
ONCE = Config(retries={"max_attempts": 0})
EVENTUALLY_S = 20
"""Seconds within which a global index shows what its table has."""


def client() -> Any:
    return SESSION.client("dynamodb", endpoint_url=URL, config=ONCE)


def eventually(ask: Callable[[], list[Any]], count: int) -> list[Any]:
    """Ask again until there are so many."""
    end = time.monotonic() + EVENTUALLY_S
    while len(found := ask()) != count:
        assert time.monotonic() < end, found
        time.sleep(0.02)
    return found


# -- dyntastic -------------------------------------------------------------------------------------------------------------------------


def dyntastic() -> dict[str, Any]:
    import dyntastic
    from dyntastic import A, Dyntastic, Index
    from dyntastic.exceptions import DoesNotExist
    from pydantic import Field

    dyntastic.main.boto3 = SESSION

    class Product(Dyntastic):
        __table_name__ = "dyntastic-products"
        __table_host__ = URL
        __table_region__ = "us-east-1"
        __hash_key__ = "shop"
        __range_key__ = "name"

        shop: str
        name: str
        maker: str = "nobody"
        price: Decimal = Decimal(1)
        tags: set[str] | None = None
        parts: list[str] = Field(default_factory=list)
        sizes: dict[str, int] = Field(default_factory=dict)

    Product.create_table(Index("maker", "name"), Index("name", index_name="names", keys_only=True))
    with Product.batch_writer():
        for at in range(40):
            Product(shop="s", name=f"p{at:02}", maker="ann" if at % 4 else "bob", price=Decimal(at) / 4).save()
    made = Product.query_page(A.maker == "ann", index="maker_name-index")
    made_all = eventually(lambda: list(Product.query(A.maker == "ann", index="maker_name-index", per_page=7)), 30)
    page = Product.query_page("s", range_key_condition=A.name.begins_with("p1"), per_page=4, scan_index_forward=False)
    second = Product.query_page(
        "s", range_key_condition=A.name.begins_with("p1"), last_evaluated_key=page.last_evaluated_key, scan_index_forward=False
    )
    named = eventually(lambda: list(Product.query(A.name == "p03", index="names", load_full_item=True)), 1)

    chair = Product(shop="t", name="chair", tags={"wood", "old"}, parts=["leg"], sizes={"high": 80}, price=Decimal("19.90"))
    chair.save(condition=A.name.not_exists())
    refused = None
    try:
        chair.save(condition=A.name.not_exists())
    except Product.ConditionException() as error:
        refused = error.response["Error"]["Code"]
    chair.update(
        A.price.set(A.price + Decimal("0.10")),
        A.parts.append(["arm"]),
        A.tags.delete({"old"}),
        A("sizes.wide").set(40),
        condition=A.price < 20,
    )
    found = Product.get("t", "chair", consistent_read=True)

    # both or none
    def move(amount: int) -> None:
        with dyntastic.transaction():
            Product(shop="t", name="table", price=Decimal(amount)).save(condition=A.name.not_exists())
            chair.update(A.price.set(A.price - amount), condition=A.price >= amount, require_condition=True, refresh=False)

    move(15)
    reasons: list[str] = []
    chair.refresh()
    try:
        move(15)
    except Exception as error:
        reasons = [one["Code"] for one in error.response["CancellationReasons"]]
    left = [Product.get("t", name, consistent_read=True).price for name in ("chair", "table")]
    many = Product.batch_get([("s", "p01"), ("s", "p02"), ("s", "absent")], consistent_read=True)
    found.delete()
    try:
        Product.get("t", "chair", consistent_read=True)
        gone = False
    except DoesNotExist:
        gone = True
    return {
        "made": [len(made.items) <= 30, len(made_all)],
        "pages": [[one.name for one in page.items], len(second.items)],
        "named": [one.maker for one in named],
        "refused": refused,
        "found": [str(found.price), found.parts, sorted(found.tags or ()), found.sizes],
        "reasons": reasons,
        "left": [str(price) for price in left],
        "many": sorted(one.name for one in many),
        "scanned": len(list(Product.scan(A.price > 9, per_page=10, consistent_read=True))),
        "gone": gone,
    }


# -- Celery ----------------------------------------------------------------------------------------------------------------------------


def celery() -> dict[str, Any]:
    """Tasks, groups and a chord by a worker in this process; their results are in a table with a time to live."""
    from celery import Celery, chord, group
    from celery.contrib.testing.worker import start_worker

    host = URL.removeprefix("http://")
    app = Celery("sums", broker="memory://", backend=f"dynamodb://local:local@{host}/celery-results?read=5&write=5&ttl_seconds=600")
    app.conf.update(worker_hijack_root_logger=False, broker_transport_options={"polling_interval": 0.01}, result_extended=True)

    @app.task(name="add")
    def add(x: int, y: int) -> int:
        return x + y

    @app.task(name="total")
    def total(numbers: list[int]) -> int:
        return sum(numbers)

    @app.task(name="fail")
    def fail() -> None:
        raise ValueError("as asked")

    with start_worker(app, perform_ping_check=False, pool="solo", loglevel="ERROR", shutdown_timeout=30):
        one = add.delay(2, 3)
        answer = one.get(timeout=30, interval=0.01)
        many = group(add.s(at, at) for at in range(8))().get(timeout=30, interval=0.01)
        summed = chord((add.s(at, 1) for at in range(6)), total.s())().get(timeout=30, interval=0.01)
        failed = fail.delay()
        try:
            failed.get(timeout=30, interval=0.01)
            error = "none"
        except ValueError as raised:
            error = str(raised)
    kept = client().get_item(TableName="celery-results", Key={"id": {"S": str(app.backend.get_key_for_task(one.id))}}, ConsistentRead=True)[
        "Item"
    ]
    one.forget()
    lives = client().describe_time_to_live(TableName="celery-results")["TimeToLiveDescription"]
    return {
        "answer": answer,
        "many": many,
        "summed": summed,
        "error": [error, failed.state],
        "kept": sorted(kept),
        "forgotten": app.AsyncResult(one.id).state,
        "lives": [lives["TimeToLiveStatus"], lives["AttributeName"]],
    }


# -- LangGraph -------------------------------------------------------------------------------------------------------------------------


def langgraph() -> dict[str, Any]:
    """A graph whose steps are kept, so that it goes on where it was stopped; its memory is in the store."""
    import operator
    from typing import Annotated, TypedDict

    from langgraph.graph import END, START, StateGraph
    from langgraph_checkpoint_aws import DynamoDBSaver, DynamoDBStore

    name = "langgraph-steps"
    dynamodb = client()
    dynamodb.create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in ("PK", "SK")],
        KeySchema=[{"AttributeName": "PK", "KeyType": "HASH"}, {"AttributeName": "SK", "KeyType": "RANGE"}],
        BillingMode="PAY_PER_REQUEST",
        SSESpecification={"Enabled": False},
    )
    dynamodb.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1})
    dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification={"Enabled": True, "AttributeName": "ttl"})

    class State(TypedDict):
        said: Annotated[list[str], operator.add]
        blob: bytes

    graph = StateGraph(State)
    graph.add_node("ask", lambda state: {"said": [f"ask {len(state['said'])}"]})
    graph.add_node("answer", lambda state: {"said": [f"answer {len(state['said'])}"]})
    for before, after in ((START, "ask"), ("ask", "answer"), ("answer", END)):
        graph.add_edge(before, after)
    saver = DynamoDBSaver(table_name=name, session=SESSION, endpoint_url=URL, ttl_seconds=3600, enable_checkpoint_compression=True)
    app = graph.compile(checkpointer=saver, interrupt_before=["answer"])
    thread = {"configurable": {"thread_id": "t1"}}
    first = app.invoke({"said": ["hello"], "blob": bytes(range(256)) * 300}, thread)
    # another process goes on from what was kept
    again = graph.compile(checkpointer=DynamoDBSaver(table_name=name, session=SESSION, endpoint_url=URL), interrupt_before=["answer"])
    waiting = again.get_state(thread).next
    done = again.invoke(None, thread)
    history = list(again.get_state_history(thread))
    branch = again.update_state(history[-2].config, {"said": ["otherwise"]})
    branched = again.get_state(branch).values["said"]
    again.invoke({"said": ["other"], "blob": b""}, {"configurable": {"thread_id": "t2"}})
    listed = len(list(saver.list({"configurable": {"thread_id": "t1"}}, limit=3)))
    saver.delete_thread("t1")
    left = [again.get_state({"configurable": {"thread_id": thread}}).values.get("said") for thread in ("t1", "t2")]

    store = DynamoDBStore(
        table_name="langgraph-store", boto3_session=SESSION, endpoint_url=URL, ttl={"default_ttl": 60, "refresh_on_read": True}
    )
    store.setup()
    for at in range(5):
        store.put(("people", "ann"), f"m{at}", {"text": f"memory {at}", "kind": "fact" if at % 2 else "wish", "weight": at * 4})
    store.put(("people", "bob"), "m", {"text": "his"})
    store.delete(("people", "ann"), "m0")
    item = store.get(("people", "ann"), "m3")
    return {
        "first": first["said"],
        "waiting": list(waiting),
        "done": [done["said"], len(done["blob"])],
        "history": len(history),
        "branched": branched,
        "listed": listed,
        "left": left,
        "store": [item.value["text"], int(item.value["weight"]), store.get(("people", "ann"), "m0")],
        "searched": [one.key for one in store.search(("people", "ann"), filter={"kind": "fact"})],
        "names": sorted("/".join(one) for one in store.list_namespaces()),
    }


def report_of(library: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return library()
    except BaseException:
        return {"failed": traceback.format_exc()}


if __name__ == "__main__":
    libraries = {one.__name__: one for one in (dyntastic, celery, langgraph)}
    with ThreadPoolExecutor() as pool:
        print(json.dumps(dict(zip(sys.argv[2:], pool.map(report_of, [libraries[name] for name in sys.argv[2:]]), strict=True))))
