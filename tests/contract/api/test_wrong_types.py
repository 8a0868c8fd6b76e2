"""A wrong JSON type is a SerializationException, wherever in a request it stands and whatever else is wrong: every member of the service model, one by one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from scrubjay.storage.api.operations import OPERATIONS
from tests.api_model import service_model
from tests.api_server import ApiServer

DEPTH_MAX = 5
_WRONG: dict[str, list[Any]] = {
    "string": [5, {"a": 1}],
    "integer": ["x", []],
    "long": ["x", {}],
    "double": ["x", []],
    "boolean": [5, []],
    "timestamp": ["x", []],
    "list": ["x", {"a": "b"}],
    "map": ["x", ["a"]],
    "structure": ["x", ["a"]],
    "blob": [5, {}],
}


def wrong_documents(shape: Any, seen: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """(path, document) pairs: a document of `shape` in which only the member at `path` is given, and has a wrong type."""
    if len(seen) > DEPTH_MAX or seen.count(shape.name) > 1:
        return
    if seen:
        for wrong in _WRONG[shape.type_name]:
            yield "", wrong
    below = (*seen, shape.name)
    if shape.type_name == "structure":
        for name, member in shape.members.items():
            for path, document in wrong_documents(member, below):
                yield f"{name}.{path}", {name: document}
    elif shape.type_name == "list":
        for path, document in wrong_documents(shape.member, below):
            yield f"[].{path}", [document]
    elif shape.type_name == "map":
        for path, document in wrong_documents(shape.value, below):
            yield f"x.{path}", {"x": document}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_wrong_type_wins_over_everything_else(server: ApiServer, operation: str) -> None:
    tried = 0
    for path, document in wrong_documents(service_model().operation_model(operation).input_shape):
        assert (path, document, server.refusal(operation, document)[0]) == (path, document, "SerializationException")
        tried += 1
    assert tried > 0 or not service_model().operation_model(operation).input_shape.members
