"""docs/API.md names every operation and every parameter that the code knows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from scrubjay.storage.api.operations import OPERATIONS, STREAM_OPERATIONS
from tests.api_model import service_model
from tests.api_server import ApiServer

PAGE = (Path(__file__).parents[3] / "docs" / "API.md").read_text()
ALL = {**OPERATIONS, **STREAM_OPERATIONS}
WORDS = frozenset(re.findall(r"\w+", PAGE))


@pytest.mark.parametrize("operation", ALL)
def test_every_operation_and_parameter_is_on_the_page(operation: str) -> None:
    assert operation in WORDS
    assert [name for name in ALL[operation].shape.members if name not in WORDS] == []


@pytest.mark.parametrize("operation", ALL)
def test_every_parameter_of_the_service_is_known_to_the_code(operation: str) -> None:
    """A parameter we do not know would be dropped in silence: a made-up success."""
    model = service_model("dynamodb" if operation in OPERATIONS else "dynamodbstreams").operation_model(operation).input_shape
    assert sorted(model.members) == sorted(ALL[operation].shape.members)


@pytest.mark.slow
def test_every_operation_of_the_service_is_on_the_page() -> None:
    assert set(service_model("dynamodbstreams").operation_names) == set(STREAM_OPERATIONS)
    absent = set(service_model().operation_names) - set(OPERATIONS)
    refused = set(re.findall(r"\w+", PAGE.partition("### Not here")[2].partition("Every operation")[0]))
    assert sorted(absent - refused) == []
    assert sorted(refused & set(OPERATIONS)) == []


# --- what the page says is refused ---------------------------------------------------------------------------------------------------------


def rows() -> list[tuple[str, list[str], str]]:
    """Operation, parameters and state of each row of the table of operations."""
    found: list[tuple[str, list[str], str]] = []
    for line in PAGE.partition("## Operations")[2].partition("### Not here")[0].splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) == 3 and cells[0] not in ("operation", "---"):
            found.append((cells[0] or found[-1][0], re.findall(r"`(\w+)`", cells[1]), cells[2]))
    return found


def sample(shape: Any) -> Any:
    """Something that a parameter may be."""
    if shape.type_name == "structure":
        return {name: sample(shape.members[name]) for name in shape.required_members or list(shape.members)[:1]}
    if shape.type_name == "list":
        return [sample(shape.member)]
    if shape.type_name in ("integer", "long"):
        return 1
    if shape.type_name == "boolean":
        return True
    return shape.enum[0] if getattr(shape, "enum", None) else "a" * max(shape.metadata.get("min", 3), 3)


MADE = {
    "TableName": "made",
    "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
    "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
    "BillingMode": "PAY_PER_REQUEST",
}
OF_TABLES = ("CreateTable", "UpdateTable")
REFUSED = [(operation, name) for operation, names, state in rows() if state == "refused" and operation in OF_TABLES for name in names]


def test_the_page_is_read() -> None:
    assert len(rows()) > 60
    assert ("CreateTable", "VectorIndexes") in REFUSED
    assert ("UpdateTable", "ReplicaUpdates") in REFUSED


@pytest.mark.parametrize(("operation", "parameter"), REFUSED)
def test_what_is_refused_is_refused_by_name(operation: str, parameter: str) -> None:
    value = sample(service_model().operation_model(operation).input_shape.members[parameter])
    with ApiServer() as server:
        server.make_table("docs")
        name, message = server.refusal(operation, {**(MADE if operation == "CreateTable" else {"TableName": "docs"}), parameter: value})
        assert (name, message) == ("ValidationException", f"One or more parameter values were invalid: {parameter} is not supported")
