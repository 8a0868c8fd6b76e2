"""Which values are times that have passed."""

from __future__ import annotations

import pytest

from scrubjay.storage.items.ttl import YEARS_S, has_passed
from scrubjay.storage.items.values import Value

NOW = 1_800_000_000


@pytest.mark.parametrize(
    ("value", "passed"),
    [
        (("N", str(NOW - 1)), True),
        (("N", str(NOW)), False),
        (("N", str(NOW + 1)), False),
        (("N", f"{NOW - 1}.999"), True),
        (("N", f"{NOW}.001"), False),
        (("N", str(NOW - YEARS_S)), True),
        (("N", str(NOW - YEARS_S - 1)), False),
        (("N", f"{NOW - YEARS_S - 1}.5"), False),
        (("N", str(NOW * 1000)), False),
        (("N", "1" + "0" * 125), False),
        (("N", "0." + "0" * 129 + "1"), False),
        (("N", "0"), False),
        (("N", f"-{NOW}"), False),
        (("S", str(NOW - 1)), False),
        (("NS", (str(NOW - 1),)), False),
        (("L", (("N", str(NOW - 1)),)), False),
        (("NULL", True), False),
        (None, False),
    ],
)
def test_only_a_number_of_the_last_five_years_has_passed(value: Value | None, passed: bool) -> None:
    assert has_passed(value, now_s=NOW) is passed
