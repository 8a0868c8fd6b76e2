"""Durations and sizes as people type and read them (points in time: `base/times.py`). Pure: `now` is never asked for here.

Inside the system a duration is an integer of microseconds and a size an integer of bytes; this module is where text becomes one and back.
All parsers raise `base.errors.Invalid` (exit 64) naming what was asked and an example of what is understood.
"""

from __future__ import annotations

import re

from scrubjay.base.errors import Invalid

SECOND_US = 1_000_000

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(us|ms|s|m|h|d)")
_DURATION_US = {"us": 1, "ms": 1_000, "s": SECOND_US, "m": 60 * SECOND_US, "h": 3_600 * SECOND_US, "d": 86_400 * SECOND_US}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|KiB|MiB|GiB|TiB|kB|KB|MB|GB|TB)?")
_SIZE_BYTES = {
    "B": 1,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
    "TiB": 1 << 40,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
}
SHOWN_MAX = 40
"""Characters of what is refused that are shown again."""

NUMBER_MAX = (1 << 53) - 1
"""Microseconds, and bytes: 285 years, 8 PiB. Whole numbers up to it are exact in any JSON, and fit into whatever they are kept in."""


def parse_duration(text: str) -> int:
    """Microseconds of `10s`, `5m`, `1.5h`, `500ms`, `2d`. A bare number is refused: nobody should have to guess its unit. Raises Invalid."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise Invalid("not a duration", asked=text, found="no number with a unit", next="write for example 500ms, 10s, 5m, 2h or 7d")
    us = float(match[1]) * _DURATION_US[match[2]]
    if us > NUMBER_MAX:
        raise Invalid("so long a time is meant by nobody", asked=text[:SHOWN_MAX], found="more than 285 years", next="give a shorter one")
    return round(us)


def parse_back(text: str) -> int:
    """Microseconds of a `--minus` argument: a whole number of s, m, h or d."""
    match = re.fullmatch(r"(\d{1,9})([smhd])", text.strip())
    if match is None:
        raise Invalid(
            "not a span to count back",
            asked=f"--minus {text}",
            found="no whole number with s, m, h or d",
            next="write for example --minus 5m",
        )
    return int(match[1]) * _DURATION_US[match[2]]


def format_duration(us: int) -> str:
    """The shortest exact text that `parse_duration` reads back: 10s, 5m, 500ms."""
    for unit in ("d", "h", "m", "s", "ms"):
        if us and us % _DURATION_US[unit] == 0:
            return f"{us // _DURATION_US[unit]}{unit}"
    return f"{us}us" if us else "0s"


def parse_size(text: str) -> int:
    """Bytes of `8MiB`, `1.5GiB`, `64kB`, `512`. Raises Invalid."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise Invalid("not a size", asked=text, found="no number of bytes", next="write for example 512KiB, 8MiB or 2GiB")
    size = float(match[1]) * _SIZE_BYTES[match[2] or "B"]
    if size > NUMBER_MAX:
        raise Invalid("so many bytes are nowhere", asked=text[:SHOWN_MAX], found="more than 8 PiB", next="give a smaller size")
    return round(size)


def format_size(size: int) -> str:
    """The shortest exact text that `parse_size` reads back."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size and size % _SIZE_BYTES[unit] == 0:
            return f"{size // _SIZE_BYTES[unit]}{unit}"
    return str(size)


def human_size(size: int | None) -> str:
    """For people, rounded: `8.1 MiB`."""
    if size is None:
        return "-"
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"
