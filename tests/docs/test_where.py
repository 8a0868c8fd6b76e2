"""Every place that docs/ARCHITECTURE.md names as `file.py:Name` exists: a newcomer who follows it arrives."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.docs.tree import ROOT, pages, text_of

_PLACE = re.compile(r"`([\w/]+\.py):(\w+(?:\.\w+)*)`")


def _section(title: str) -> str:
    """The text of a chapter of the page."""
    found = re.search(rf"^## {title}$(.*?)^## ", text_of(Path("docs/ARCHITECTURE.md")) or "", re.MULTILINE | re.DOTALL)
    assert found is not None, title
    return found[1]


def _names(body: list[ast.stmt], name: str) -> list[ast.stmt] | None:
    """The body of the class or function of that name, [] for a value; None if there is none."""
    for one in body:
        if isinstance(one, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and one.name == name:
            return one.body
        targets = one.targets if isinstance(one, ast.Assign) else [one.target] if isinstance(one, ast.AnnAssign) else []
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return []
    return None


def lost_places(text: str) -> list[str]:
    """Places that are not there."""
    found = []
    for file, name in _PLACE.findall(text):
        body: list[ast.stmt] | None = ast.parse((ROOT / file).read_text(encoding="utf-8")).body if (ROOT / file).is_file() else None
        for part in name.split("."):
            body = _names(body, part) if body is not None else None
        if body is None:
            found.append(f"{file}:{name}")
    return found


def test_every_place_is_there() -> None:
    assert [place for page in pages() for place in lost_places(text_of(page) or "")] == []


def test_every_question_has_a_place() -> None:
    rows = [line for line in _section("Where is it decided").splitlines() if line.startswith("|")][2:]
    assert len(rows) >= 10
    assert [row for row in rows if not _PLACE.search(row)] == []


def test_no_answer_takes_more_than_three_steps() -> None:
    """A room, a file, a function: the file says the room, and a question has at most three places."""
    rows = [line for line in _section("Where is it decided").splitlines() if line.startswith("|")][2:]
    assert [row for row in rows if len(_PLACE.findall(row)) > 3] == []


def test_every_walk_goes_on_without_going_back() -> None:
    walks = _section("Six walks").split("\n- ")[1:]
    assert len(walks) == 6
    for walk in walks:
        steps = _PLACE.findall(walk)
        assert len(steps) >= 6, walk
        assert walk.count("`") == 2 * len(steps), f"a step is no place: {walk}"
        assert len(set(steps)) == len(steps), f"a step twice: {walk}"


def test_a_place_that_is_not_there_is_found() -> None:
    good = "`tests/docs/test_where.py:lost_places` `tests/docs/test_where.py:_PLACE` `tests/docs/tree.py:pages`"
    assert lost_places(good) == []
    for bad in ("tests/docs/nowhere.py:lost_places", "tests/docs/test_where.py:found_places", "tests/docs/test_where.py:lost_places.more"):
        assert lost_places(f"`{bad}`") == [bad]
