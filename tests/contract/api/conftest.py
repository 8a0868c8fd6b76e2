"""One server with a few tables for the whole module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api_server import ApiServer
from tests.contract.api.error_cases import TABLE_KEYS


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with ApiServer() as started:
        for name, (partition, sort) in TABLE_KEYS.items():
            started.make_table(name, partition, sort)
        yield started
        assert started.unexpected == []
