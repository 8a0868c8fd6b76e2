"""docs/API.md names every operation and every parameter that the code knows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scrubjay.storage.api.operations import OPERATIONS
from tests.api_model import service_model

PAGE = (Path(__file__).parents[3] / "docs" / "API.md").read_text()
WORDS = frozenset(re.findall(r"\w+", PAGE))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_and_parameter_is_on_the_page(operation: str) -> None:
    assert operation in WORDS
    assert [name for name in OPERATIONS[operation].shape.members if name not in WORDS] == []


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_parameter_of_the_service_is_known_to_the_code(operation: str) -> None:
    """A parameter we do not know would be dropped in silence: a made-up success."""
    model = service_model().operation_model(operation).input_shape
    assert sorted(model.members) == sorted(OPERATIONS[operation].shape.members)


def test_every_operation_of_the_service_is_on_the_page() -> None:
    absent = set(service_model().operation_names) - set(OPERATIONS)
    refused = set(re.findall(r"\w+", PAGE.partition("### Not here")[2].partition("Every operation")[0]))
    assert sorted(absent - refused) == []
    assert sorted(refused & set(OPERATIONS)) == []
