"""As tests/property/api/test_against_model.py, against a real server process: HTTP, router, consensus, log and tree in between."""

from __future__ import annotations

import http.client
import itertools
import json
import random
import time
from collections import Counter
from contextlib import closing
from functools import partial
from typing import Any

from tests.api_server import ServerAt, request_headers
from tests.fixtures.process import ScrubjayServer
from tests.fixtures.wait import wait_for
from tests.model import differ, generate
from tests.model.dynamo_model import Item
from tests.model.in_process import create_request
from tests.model.wire import item_to_wire

SECONDS = 15.0
SEQUENCES_MIN = 20
"""A transaction takes several rounds of a cluster, and the machine may be busy."""


class OverHttp:
    """A `differ.Subject` on one kept connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._rand = random.Random(0)
        self._caller = ServerAt(port)
        self._make(*generate.KEYS)

    def _make(self, *names: str) -> None:
        for name in names:
            self._caller.ok("CreateTable", create_request(name, *generate.KEYS[name]))
        for name in names:
            self._caller.wait_active(name)

    def renew(self) -> None:
        """Other tables by the same names: whatever is still under way for the present ones is not for these."""
        for name in generate.KEYS:
            wait_for(partial(self._gone, name), timeout=60)
        wait_for(self._made, timeout=60)

    def _gone(self, name: str) -> bool:
        return self._caller.ask("DeleteTable", {"TableName": name})[1].get("__type", "").endswith("ResourceNotFoundException")

    def _made(self) -> bool:
        for name, keys in generate.KEYS.items():
            self._caller.ask("CreateTable", create_request(name, *keys))
        told = [self._caller.ask("DescribeTable", {"TableName": name})[1] for name in generate.KEYS]
        return all(one.get("Table", {}).get("TableStatus") == "ACTIVE" for one in told)

    def close(self) -> None:
        self._connection.close()

    def ask(self, operation: str, request: dict[str, Any]) -> tuple[int, Any]:
        self._connection.request("POST", "/", json.dumps(request), request_headers(operation))
        response = self._connection.getresponse()
        answer = json.loads(response.read())
        differ.check_not_interrupted(response.status, answer)
        return response.status, answer

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
        try:
            failure = differ.sequence(subject, seed, outcomes, strong=True)
        except differ.Interrupted:
            subject.renew()
            continue
        assert failure is None, failure.text
        done += 1
        if time.monotonic() > end:
            break
    return done
