"""The table at the end of the demo: what happened, what was checked, how long it took."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

WIDTH_MAX = 140
WIDTH_MIN = 80


def table_lines(document: Mapping[str, Any], *, width: int | None = None, color: bool | None = None) -> Sequence[str]:
    """Lines of a rich table, coloured on a terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    color = sys.stdout.isatty() if color is None else color
    width = width or max(WIDTH_MIN, min(WIDTH_MAX, shutil.get_terminal_size().columns if color else WIDTH_MIN))
    table = Table(title="What happened", title_justify="left", show_lines=False)
    table.add_column("", justify="right")
    table.add_column("step", ratio=2)
    table.add_column("outcome", ratio=4)
    table.add_column("seconds", justify="right")
    for number, step in enumerate(document["steps"], start=1):
        outcome = Text(f"checked: {step['checked']}") if step["ok"] else Text(f"FAILED: {step['failure']}", style="bold red")
        table.add_row(str(number), Text(step["title"]), outcome, f"{step['seconds']:.1f}")
    buffer = io.StringIO()
    console = Console(file=buffer, width=width, force_terminal=color, highlight=False, no_color=not color)
    console.print()
    console.print(table)
    console.print(_last_line(document), style="bold" if color else None, markup=False)
    return [line.rstrip() for line in buffer.getvalue().rstrip("\n").splitlines()]


def _last_line(document: Mapping[str, Any]) -> str:
    kept = f" Files: {document['data']}" if document["data"] else ""
    if document["exit"] == 0:
        return (
            f"Everything above was checked: {document['rows']} cities, {len(document['steps'])} steps, {document['seconds']:.0f} s.{kept}"
        )
    return f"NOT everything held (exit {document['exit']}).{kept}"
