"""What an error tells a person to do: every verb, flag and page named anywhere in our texts exists."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from scrubjay.base import errors
from scrubjay.base.errors import ScrubjayError
from scrubjay.output import failure_of
from scrubjay.parser import build
from scrubjay.verbs import every_verb

ROOT = Path(__file__).parents[3]
PACKAGES = ("archiver", "base", "drills", "pitr", "scrubber", "scrubjay", "server", "sim", "storage")
WORDS = {verb.words for verb in every_verb()}
GROUPS = {verb.words[0] for verb in every_verb() if len(verb.words) == 2}
PAGES = ("README.md", "CHANGELOG.md", *sorted(str(page.relative_to(ROOT)) for page in (ROOT / "runbooks").glob("*.md")))
COMMAND = re.compile(r"\bscrubjay ((?:[a-z]+|-h\b)(?: [a-z]+(?:-[a-z]+)*)?)([^`\n#;|]*)")
NO_COMMANDS = frozenset(("base", "chain", "closed", "expired", "epoch", "former", "identity", "index", "manifest", "pack", "pin", "place"))
"""Words behind `scrubjay` in the tags of our checksums and formats."""


def texts(path: Path) -> Iterator[tuple[str, str]]:
    """(where, text) of every string in a module, f-strings with their holes as `X`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        where = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.JoinedStr):
            yield where, "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield where, node.value


@functools.cache
def all_texts() -> list[tuple[str, str]]:
    """Of the modules that name a command or a page at all: to take every one apart costs seconds."""
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return [found for path in paths if re.search(r"scrubjay |\.md\b", path.read_text(encoding="utf-8")) for found in texts(path)]


def verb_of(command: str) -> tuple[str, ...] | None:
    """The verb that `command` begins with."""
    words = tuple(command.split())
    return next((words[:count] for count in (2, 1) if words[:count] in WORDS), None)


def unknown_verbs(text: str) -> list[str]:
    found = []
    for match in COMMAND.finditer(text):
        command = match[1]
        first = command.split()[0]
        if first in NO_COMMANDS or first == "-h" or verb_of(command) is not None:
            continue
        found.append(command)
    return found


@pytest.mark.slow
@pytest.mark.slow
def test_no_text_names_a_verb_that_is_not_there() -> None:
    named = [(where, command) for where, text in all_texts() for command in unknown_verbs(text)]
    # `scrubjay archive` and the like alone are named where the groups are told
    assert [one for one in named if one[1] not in GROUPS] == []


def test_the_hints_look_closely() -> None:
    assert unknown_verbs("run scrubjay mend first") == ["mend first"]
    assert unknown_verbs("scrubjay scrub diff shows it") == ["scrub diff"]
    assert unknown_verbs("scrubjay verify names it; then scrubjay scrub run, scrubjay restore status X") == []


@pytest.mark.parametrize("page", PAGES)
def test_commands_on_pages_have_their_verb_and_their_flags(page: str) -> None:
    _, parsers = build(every_verb())
    for match in COMMAND.finditer((ROOT / page).read_text(encoding="utf-8")):
        command, rest = match[1], match[2]
        if "--" not in rest and verb_of(command) is None and command.split()[0] not in {words[0] for words in WORDS}:
            continue  # prose
        verb = verb_of(command)
        assert verb is not None, match[0]
        known = {option for action in parsers[verb]._actions for option in action.option_strings}
        flags = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", rest))
        assert flags <= known, match[0]


@pytest.mark.slow
def test_every_page_a_text_names_is_there() -> None:
    named = {name for _, text in all_texts() for name in re.findall(r"\b(?:runbooks|docs)/[\w./-]+\.md\b", text)}
    assert named
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


@pytest.mark.parametrize("local", [True, False])
def test_every_kind_of_error_says_what_to_do_next(local: bool) -> None:
    kinds = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ScrubjayError) and kind is not ScrubjayError
    ]
    assert len(kinds) > 10
    for kind in kinds:
        step = failure_of(kind("x"), local=local).error["next"]
        assert step, kind
        if local:
            assert "scrubjay archive status" not in step, kind
    assert failure_of(errors.Unsafe("x", next="do this")).error["next"] == "do this"
