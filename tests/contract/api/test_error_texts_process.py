"""The same refusals from a real server process: nothing between the HTTP port and the replicas words them otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.api_server import ServerAt
from tests.contract.api.error_cases import CASES, TABLE_KEYS, case_id
from tests.fixtures.process import ScrubjayServer


@pytest.fixture(scope="module")
def caller(module_server: ScrubjayServer) -> Iterator[ServerAt]:
    asking = ServerAt(module_server.port)
    for name, (partition, sort) in TABLE_KEYS.items():
        asking.make_table(name, partition, sort)
    for name in TABLE_KEYS:
        asking.wait_active(name)
    yield asking
    for name in TABLE_KEYS:
        assert asking.ok("Scan", {"TableName": name})["Count"] == 0, "a refused request wrote something"


@pytest.mark.parametrize(("request_", "name", "message"), CASES, ids=case_id)
def test_refused_in_the_words_of_dynamodb(caller: ServerAt, request_: tuple[str, Any], name: str, message: str) -> None:
    assert caller.refusal(*request_) == (name, message)
