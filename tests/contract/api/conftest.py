"""One server with a few tables for the whole module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api_server import ApiServer


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with ApiServer() as started:
        started.make_table("hash", "pk:S")
        started.make_table("composite", "pk:S", "sk:S")
        started.make_table("numeric", "pk:S", "sk:N")
        started.make_table("binary", "pk:B")
        yield started
        assert started.unexpected == []
