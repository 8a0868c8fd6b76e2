"""Which retention a table has, and that nobody goes below it."""

from __future__ import annotations

import msgspec
import pytest

from scrubjay.archiver.expire.plan import DAY_US
from scrubjay.server.expiry import own_retention_us
from tests.unit.cli.fakes import table


@pytest.mark.parametrize(("days", "kept"), [(35, 35), (7, 7), (1, 1), (0, 1), (400, 35)])
def test_a_table_keeps_what_it_was_told_between_1_and_35_days(days: int, kept: int) -> None:
    assert own_retention_us(msgspec.structs.replace(table("cities", 1), pitr_days=days)) == kept * DAY_US
