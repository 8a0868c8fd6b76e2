"""Reads a runbook as a person does: commands in order, the exit code and the output each promises, and what is done by hand in between."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parents[3] / "runbooks"
PARTS = ("Confirm", "Steps", "What must not be run", "It is over when")

_PIECE = re.compile(r"```sh\n(?P<command>.*?)```\n(?P<promise>[^\n]*)|<!-- hand: (?P<hand>[a-z-]+) -->", re.DOTALL)
_EXIT = re.compile(r"Exit (\d+)\.")
_PRINTS = re.compile(r"`([^`]+)`")


class Command(NamedTuple):
    """shell: as printed in the page. exit_code, prints: what the line below it promises. on_stderr: where it prints that."""

    shell: str
    exit_code: int
    prints: tuple[str, ...]
    on_stderr: bool


class Hand(NamedTuple):
    """Something a person does; the scenario does it."""

    name: str


def pieces(text: str) -> list[Command | Hand]:
    """Raises ValueError on a command without a promise below it."""
    found: list[Command | Hand] = []
    for match in _PIECE.finditer(text):
        if match["hand"]:
            found.append(Hand(match["hand"]))
            continue
        promise = match["promise"]
        exit_code = _EXIT.match(promise)
        if exit_code is None:
            raise ValueError(f"no 'Exit N.' below the command: {match['command'].strip()}")
        found.append(Command(match["command"].strip(), int(exit_code[1]), tuple(_PRINTS.findall(promise)), "on stderr" in promise))
    return found


def pages() -> list[Path]:
    return sorted(path for path in FOLDER.glob("*.md") if path.name != "README.md")
