"""One meaning per word: a class, or a module, whose bare name stands in two places is on the page with the reason why both keep it."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from tests.docs.tree import python_files, text_of

_ROW = re.compile(r"^\| `(\w+)` \| ((?:`[\w/.]+`(?:, )?)+) \| (\S.+) \|$", re.MULTILINE)


def _twice(places: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for name, place in places:
        found[name].append(place)
    return {name: sorted(where) for name, where in found.items() if len(where) > 1}


def classes_twice(sources: Iterable[tuple[Path, str]]) -> dict[str, list[str]]:
    """Public classes by the files that define one of that name at their top, where there are several."""
    return _twice(
        (node.name, path.as_posix())
        for path, text in sources
        for node in ast.parse(text).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )


def modules_twice(paths: Iterable[Path]) -> dict[str, list[str]]:
    """Modules by their files, where several have one name. Those of the simulator and of the verbs (named after what a user types) are left out."""
    return _twice(
        (path.stem, path.as_posix())
        for path in paths
        if not path.stem.startswith("__") and path.parts[0] != "sim" and path.parts[:2] != ("scrubjay", "verbs")
    )


def listed(title: str) -> dict[str, list[str]]:
    """The table of a chapter of the glossary: name to its places."""
    section = (text_of(Path("docs/GLOSSARY.md")) or "").partition(f"### {title}\n")[2].partition("\n#")[0]
    return {name: sorted(re.findall(r"[\w/.]+", places)) for name, places, _why in _ROW.findall(section)}


def test_a_class_is_the_only_one_of_its_name_or_says_why_not() -> None:
    """Exactly those of the page: what was renamed leaves it."""
    there = classes_twice((path, text_of(path) or "") for path in python_files(packages_only=True))
    assert there == listed("Classes")


def test_a_module_is_the_only_one_of_its_name_or_says_why_not() -> None:
    """By name: one more room with a `plan` needs no new line if its plan is what the line says."""
    there, told = modules_twice(python_files(packages_only=True)), listed("Modules")
    assert sorted(there) == sorted(told)
    assert {name: places for name, places in told.items() if not set(places) <= set(there[name])} == {}


def test_a_second_one_is_found() -> None:
    one, two = Path("base/one.py"), Path("storage/one.py")
    assert classes_twice([(one, "class Row: ..."), (two, "class Row: ...\nclass _Row: ...")]) == {"Row": ["base/one.py", "storage/one.py"]}
    assert classes_twice([(one, "class _Row: ..."), (two, "class _Row: ...\nclass Row:\n    class Row: ...")]) == {}
    assert modules_twice([one, two, Path("base/two.py")]) == {"one": ["base/one.py", "storage/one.py"]}
    assert modules_twice([one, Path("sim/one.py"), Path("base/__init__.py"), Path("sim/__init__.py")]) == {}
