"""As tests/property/api/test_against_model.py, against a real server process: HTTP, router, consensus, log and tree in between."""

from __future__ import annotations

import http.client
import itertools
import json
import random
import time
from collections import Counter
from contextlib import closing
from typing import Any

from tests.api_server import ServerAt, request_headers
from tests.fixtures.process import ScrubjayServer
from tests.model import differ, generate
from tests.model.dynamo_model import Item
from tests.model.in_process import create_request
from tests.model.wire import item_to_wire

SECONDS = 15.0
SEQUENCES_MIN = 100


class OverHttp:
    """A `differ.Subject` on one kept connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._rand = random.Random(0)
        caller = ServerAt(port)
        for name, keys in generate.KEYS.items():
            caller.ok("CreateTable", create_request(name, *keys))
        for name in generate.KEYS:
            caller.wait_active(name)

    def close(self) -> None:
        self._connection.close()

    def ask(self, operation: str, request: dict[str, Any]) -> tuple[int, Any]:
        self._connection.request("POST", "/", json.dumps(request), request_headers(operation))
        response = self._connection.getresponse()
        return response.status, json.loads(response.read())

    def empty(self, name: str, keys: list[Item]) -> None:
        for start in range(0, len(keys), 25):
            deletes = [{"DeleteRequest": {"Key": item_to_wire(key, self._rand)}} for key in keys[start : start + 25]]
            status, answer = self.ask("BatchWriteItem", {"RequestItems": {name: deletes}})
            assert status == 200, answer
            assert not answer["UnprocessedItems"]


def test_a_server_answers_as_the_model(module_server: ScrubjayServer) -> None:
    with closing(OverHttp(module_server.port)) as subject:
        done = run_for(subject, SECONDS)
    assert done >= SEQUENCES_MIN, f"only {done} sequences in {SECONDS} s"


def run_for(subject: OverHttp, seconds: float) -> int:
    """Sequences done without a difference."""
    outcomes: Counter[str] = Counter()
    end = time.monotonic() + seconds
    done = 0
    for seed in itertools.count(3_000_000):
        failure = differ.sequence(subject, seed, outcomes, strong=True)
        assert failure is None, failure.text
        done += 1
        if time.monotonic() > end:
            break
    return done
