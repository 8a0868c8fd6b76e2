"""Runbooks have their parts, promise something for each command, and use only verbs that exist."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from scrubjay.parser import parse
from scrubjay.verbs import asked_for, every_verb
from tests.integration.runbooks.pages import FOLDER, PARTS, Command, pages, pieces


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_a_page_has_its_parts_in_order(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    heads = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    assert heads[0] in ("Symptom", "Alarm")
    places = [heads.index(part) for part in PARTS]
    assert places == sorted(places)
    assert page.name in (FOLDER / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_each_command_of_ours_is_understood(page: Path) -> None:
    commands = [piece for piece in pieces(page.read_text(encoding="utf-8")) if isinstance(piece, Command)]
    assert len(commands) >= 3
    for command in commands:
        words = shlex.split(command.shell.replace('"$AT"', "2026-01-01T00:00:00Z"))
        if words[0] == "scrubjay":
            verb, _ = parse(asked_for(words[1:]), every_verb, words[1:])
            assert command.exit_code in verb.exits


def test_a_command_without_a_promise_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no 'Exit N\.'"):
        pieces("```sh\nscrubjay scrub run\n```\nand so on\n")
