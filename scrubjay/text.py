"""What people read: tables and paragraphs that fit a terminal of 80 columns, units, and colour where there is a terminal to show it."""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

WIDTH = 79
"""Columns a line may take: a terminal of 80 wraps none of them."""
_GAP = "  "

RED, YELLOW, GREEN = "1;31", "33", "32"
_COLOURS: Sequence[tuple[re.Pattern[str], str]] = (
    (re.compile(r"\b(mismatch|HOLE|FORK|FOUND|FAILED|failed|differs|FENCED|GONE|NOT REACHABLE|error)\b"), RED),
    (re.compile(r"\b(unverified|running|degraded|no proven window)\b"), YELLOW),
    (re.compile(r"\b(match|published|reachable|ok)\b"), GREEN),
)
_ANY = re.compile("|".join(f"(?P<c{at}>{pattern.pattern})" for at, (pattern, _) in enumerate(_COLOURS)))


def columns(head: Sequence[str], rows: Iterable[Sequence[object]], *, indent: str = "", width: int = WIDTH) -> list[str]:
    """A plain table: left-aligned columns as wide as their widest cell, no frame, so that it can be cut and grepped.

    One that would be wider than `width` has its first column on lines of their own, and the others below it, indented.
    """
    cells = [[str(cell) for cell in head], *([("-" if cell is None else str(cell)) for cell in row] for row in rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(head))]
    if len(indent) + sum(widths) + len(_GAP) * (len(head) - 1) <= width or len(head) < 3:
        return [indent + _joined(row, widths) for row in cells]
    lines = [indent + cells[0][0], indent + _GAP + _joined(cells[0][1:], widths[1:])]
    for row in cells[1:]:
        lines += [indent + row[0], indent + _GAP + _joined(row[1:], widths[1:])]
    return lines


def _joined(row: Sequence[str], widths: Sequence[int]) -> str:
    return _GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def wrapped(text: str, *, first: str = "", rest: str = "", width: int = WIDTH) -> list[str]:
    """`text` in lines that fit; words longer than a line (names, paths) are left whole. first, rest: before the first line and the others."""
    return textwrap.wrap(text, width, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False) or [
        first.rstrip()
    ]


def facts(pairs: Mapping[str, object]) -> list[str]:
    """Labelled lines, a fact each; those that are None are left out."""
    known = {label: value for label, value in pairs.items() if value is not None}
    wide = max(map(len, known), default=0)
    return [
        line
        for label, value in known.items()
        for line in wrapped(str(value), first=f"{label:<{wide}}{_GAP}", rest=" " * (wide + len(_GAP)))
    ]


def plural(number: int | None, thing: str) -> str:
    """`1 partition`, `1,204 rows`."""
    return f"{count(number)} {thing}{'' if number == 1 else 's'}"


def count(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"


def seconds(value: float | None) -> str:
    """A span for people: `0.4 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`."""
    if value is None:
        return "-"
    if value < 60:
        return f"{value:.1f} s"
    whole = round(value)
    for unit, small, size, part in (("min", "s", 60, 1), ("h", "min", 3600, 60), ("d", "h", 86400, 3600)):
        if whole < size * (60 if unit == "min" else 24 if unit == "h" else 1 << 40):
            rest = whole % size // part
            return f"{whole // size} {unit}" + (f" {rest} {small}" if rest else "")
    return f"{whole} s"


def second_of(time: str) -> str:
    """A time as `base.times.utc_text` tells it, without the fraction of its second."""
    return time.partition(".")[0] + "Z"


def has_colour(stream: TextIO) -> bool:
    """Whether `stream` is a terminal that shows colours, and nobody asked for none (NO_COLOR)."""
    try:
        return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    except ValueError:  # closed
        return False


def painted(line: str, style: str) -> str:
    return f"\x1b[{style}m{line}\x1b[0m"


def coloured(line: str) -> str:
    """The words that carry a verdict, in their colours."""

    def paint(match: re.Match[str]) -> str:
        at = next(int(name[1:]) for name, value in match.groupdict().items() if value is not None)
        return painted(match[0], _COLOURS[at][1])

    return _ANY.sub(paint, line)


def without(document: Mapping[str, Any]) -> str | None:
    """Of two archives the one that was done without, and why; None: there was no need."""
    away = document.get("away")
    return None if not away else f"{away['url']}, which does not answer: {away['error']}"
