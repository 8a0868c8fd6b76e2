"""Every place that docs/ARCHITECTURE.md names as `file.py:Name` exists: a newcomer who follows it arrives."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.docs.tree import ROOT, pages, text_of

_PLACE = re.compile(r"`([\w/]+\.py):(\w+(?:\.\w+)*)`")
_SECTION = re.compile(r"^## Where is it decided$(.*?)^## ", re.MULTILINE | re.DOTALL)


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
    section = _SECTION.search(text_of(Path("docs/ARCHITECTURE.md")) or "")
    assert section is not None
    rows = [line for line in section[1].splitlines() if line.startswith("|")][2:]
    assert len(rows) >= 10
    assert [row for row in rows if not _PLACE.search(row)] == []


def test_a_place_that_is_not_there_is_found() -> None:
    good = "`tests/docs/test_where.py:lost_places` `tests/docs/test_where.py:_PLACE` `tests/docs/tree.py:pages`"
    assert lost_places(good) == []
    for bad in ("tests/docs/nowhere.py:lost_places", "tests/docs/test_where.py:found_places", "tests/docs/test_where.py:lost_places.more"):
        assert lost_places(f"`{bad}`") == [bad]
