"""The fuzzer for a few seconds, what it ever found, and proof that it can find something."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scrubjay.storage.api.call import Call
from scrubjay.storage.api.operations import OPERATIONS
from tests.api_server import ApiServer
from tests.fuzz.api_fuzz import VECTORS, fuzz

REQUESTS = 4_000
SECONDS = 6.0


@pytest.mark.slow
def test_a_short_run_finds_nothing() -> None:
    stats = fuzz(seed=20260601, seconds=SECONDS, requests=REQUESTS)
    assert stats.findings == []
    assert stats.requests > 200
    assert set(stats.statuses) == {200, 400}
    # every kind of mutation was tried, and the requests got past the parser often enough to mean something
    assert len(stats.mutations) >= 12
    assert stats.errors["ValidationException"] > 50


@pytest.mark.parametrize("path", sorted(VECTORS.glob("*.json")), ids=lambda path: path.stem)
def test_what_was_found_once_stays_fixed(path: Path) -> None:
    """A vector: {"operation", "body" (the request's text), "status", "type"}."""
    vector = json.loads(path.read_text())
    with ApiServer() as server:
        server.make_table("fuzz", "pk:S", "sk:N")
        answer = server.post(vector["operation"], vector["body"].encode("utf-8", "surrogatepass"))
        assert answer.status == vector["status"]
        assert answer.json()["__type"].partition("#")[2] == vector["type"]
        assert server.unexpected == []


@pytest.mark.slow
def test_a_planted_fault_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(call: Call) -> None:
        raise RuntimeError("planted")

    monkeypatch.setitem(OPERATIONS, "ListTables", OPERATIONS["ListTables"]._replace(run=fails))
    stats = fuzz(seed=3, seconds=5.0, requests=300)
    assert any("status 500: ListTables" in finding for finding in stats.findings)
    assert any("unexpected in ListTables" in finding for finding in stats.findings)
