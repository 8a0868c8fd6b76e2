"""Whether the time of an item has passed: the one rule of time to live, for whoever looks for such items and for the leader that decides. Pure."""

from __future__ import annotations

from decimal import Decimal

from scrubjay.storage.items.values import Value

YEARS_S = 5 * 365 * 86_400
"""What says that it ended longer ago than this stays: it is rather a mistake than a time, and the service itself deletes none of it."""
_WHOLE_DIGITS_MAX = 12
"""Of a time in seconds until the year 33,658; longer ones, fractions and exponents go the slow way."""


def has_passed(value: Value | None, *, now_s: int) -> bool:
    """value: of the table's TTL attribute, None: the item has none. now_s: seconds since the epoch. Only a Number is a time: seconds since the epoch, too, the fraction
    of one included. False for what lies more than YEARS_S back."""
    if value is None or value[0] != "N":
        return False
    text: str = value[1]
    at_s = int(text) if len(text) <= _WHOLE_DIGITS_MAX and text.isdigit() else Decimal(text)
    return now_s - YEARS_S <= at_s < now_s
