"""What one request may cost: in proportion to its length, and never the loop's other work for long."""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import time
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from scrubjay.base.env import Env
from scrubjay.base.http_values import Request
from scrubjay.base.real.clock import RealClock
from scrubjay.base.real.loop import AsyncTasks
from scrubjay.base.real.rand import RealRand
from scrubjay.storage.api.api import DynamoApi
from tests.api_server import request_headers
from tests.fixtures.memory_backend import MemoryBackend
from tests.model.in_process import InProcess, create_request

ROOT = Path(__file__).parents[3]
ELEMENTS = 25_000
CPU_S_MAX = 3.0
"""Of this process. In proportion these requests take 0.1 s; with a look at every element for every element 10 s and more."""


def update(expression: str, value: Any) -> dict[str, Any]:
    return {"TableName": "plain", "Key": KEY, "UpdateExpression": expression, "ExpressionAttributeValues": {":v": value}}


KEY = {"pk": {"S": "a"}}
STRINGS = [f"element {index}" for index in range(ELEMENTS)]
BINARIES = [b64encode(text.encode()).decode() for text in STRINGS]


def test_a_large_set_is_taken_from_a_large_set_in_proportion() -> None:
    world = InProcess()
    assert world.ask("UpdateItem", update("ADD v :v", {"SS": STRINGS}))[0] == 200
    begin = time.process_time()
    status, _ = world.ask("UpdateItem", update("DELETE v :v", {"SS": STRINGS[1:]}))
    assert time.process_time() - begin < CPU_S_MAX
    assert status == 200
    assert world.ask("GetItem", {"TableName": "plain", "Key": KEY})[1]["Item"]["v"] == {"SS": STRINGS[:1]}


@pytest.mark.parametrize(("kind", "members"), [("SS", STRINGS), ("BS", BINARIES)])
def test_a_large_set_with_a_duplicate_is_refused_in_proportion(kind: str, members: list[str]) -> None:
    world = InProcess()
    begin = time.process_time()
    status, answer = world.ask("PutItem", {"TableName": "plain", "Item": {**KEY, "v": {kind: [*members, members[-1]]}}})
    assert time.process_time() - begin < CPU_S_MAX
    assert status == 400
    assert "contains duplicates." in answer["message"]


def items(count: int, values: int) -> list[dict[str, Any]]:
    return [{"pk": {"S": f"key {index}"}, "v": {"L": [{"N": "1e125"}] * values}} for index in range(count)]


@pytest.mark.slow
@pytest.mark.parametrize("bad", [False, True])
def test_a_long_batch_lets_others_have_their_turn(bad: bool) -> None:
    """Between two of its items the loop goes round: heartbeats and other clients do not wait for all of it."""
    written = items(25, 3_000)
    if bad:
        written[-1]["v"] = {"N": "1e126"}
    request = {"RequestItems": {"plain": [{"PutRequest": {"Item": item}} for item in written]}}
    turns, status, answer = asyncio.run(asked(request))
    assert turns >= 25
    assert (status, answer.get("message", "")[:15]) == ((400, "Number overflow") if bad else (200, ""))


def test_a_short_batch_is_done_at_once() -> None:
    request = {"RequestItems": {"plain": [{"PutRequest": {"Item": item}} for item in items(25, 10)]}}
    turns, status, _ = asyncio.run(asked(request))
    assert (turns, status) == (0, 200)


async def asked(request: dict[str, Any]) -> tuple[int, int, Any]:
    """(turns of the loop before the answer, status, answer) of a BatchWriteItem."""
    tasks = AsyncTasks()
    env = Env(RealClock(), RealRand(), tasks)
    api = DynamoApi(MemoryBackend(env), env)
    answers: list[tuple[int, bytes]] = []

    def ask(operation: str, body: Any) -> None:
        headers = {name.lower(): value for name, value in request_headers(operation).items()}
        text = json.dumps(body).encode()
        api.handle(Request("POST", "/", "", headers, text), lambda status, headers, body: answers.append((status, body)))

    ask("CreateTable", create_request("plain", ("pk", "S"), None))
    while not answers:
        await asyncio.sleep(0)
    answers.clear()
    ask("BatchWriteItem", request)
    turns = 0
    while not answers:
        await asyncio.sleep(0)
        turns += 1
    await tasks.close()
    ((status, body),) = answers
    return turns, status, json.loads(body)


ASKED: list[tuple[str, dict[str, Any], int]] = [
    ("PutItem", {"TableName": "plain", "Item": {**KEY, "v": {"S": "x"}}}, 200),
    ("GetItem", {"TableName": "plain", "Key": KEY, "ConsistentRead": True}, 200),
    ("GetItem", {"TableName": "plain", "Key": KEY}, 200),
    ("UpdateItem", update("SET v = :v", {"S": "y"}), 200),
    ("PutItem", {"TableName": "plain", "Item": KEY, "ConditionExpression": "attribute_not_exists(pk)"}, 400),
    ("PutItem", {"TableName": "plain", "Item": {}}, 400),
    ("GetItem", {"TableName": "absent", "Key": KEY}, 400),
    ("BatchWriteItem", {"RequestItems": {"plain": [{"PutRequest": {"Item": KEY}}]}}, 200),
    ("BatchGetItem", {"RequestItems": {"plain": {"Keys": [KEY]}}}, 200),
    ("Scan", {"TableName": "plain"}, 200),
    ("Query", {"TableName": "plain", "KeyConditionExpression": "pk = :v", "ExpressionAttributeValues": {":v": {"S": "a"}}}, 200),
    ("DeleteItem", {"TableName": "plain", "Key": KEY}, 200),
]


def report() -> None:
    """By request, what the collector found after twenty of it. In a process of its own: what earlier tests left would be found here, and of that what came to life again
    while it was collected only now."""
    left = {}
    for nth, (operation, asked_for, status) in enumerate(ASKED):
        world = InProcess()
        world.ask(operation, asked_for)
        gc.collect()
        gc.disable()
        for _ in range(20):
            assert world.ask(operation, asked_for)[0] == status
        left[f"{operation}-{nth}"] = gc.collect()
        gc.enable()
    sys.stdout.write(json.dumps(left))


@pytest.mark.slow
def test_a_request_leaves_nothing_to_the_collector() -> None:
    """What only the collector finds has to be walked, and while it walks nobody is served: 50,000 objects took a tenth of a second."""
    code = "from tests.unit.api.test_request_cost import report; report()"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, check=True)
    left = json.loads(done.stdout)
    assert len(left) == len(ASKED)
    assert {name: found for name, found in left.items() if found >= 20} == {}, "each request leaves garbage"
