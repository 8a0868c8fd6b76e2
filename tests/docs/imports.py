"""Which module of ours imports which, from the source: imports inside functions and under TYPE_CHECKING count too."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.docs.tree import ROOT, python_files

TOP = "scrubjay"


def module_of(name: Path) -> str:
    """The module that a file is: `storage/wal/wal.py` is scrubjay.storage.wal.wal, and the front door's files keep their name."""
    parts = name.with_suffix("").parts
    dotted = ".".join(parts if parts[0] == TOP else (TOP, *parts))
    return dotted.removesuffix(".__init__")


def sources() -> dict[str, str]:
    """The source of every module of the product."""
    return {module_of(name): (ROOT / name).read_text(encoding="utf-8") for name in python_files(packages_only=True)}


def imported(source: str) -> Iterator[str]:
    """Everything a source imports, by its full dotted name: `from a.b import c` is a.b.c, whatever c is."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def graph(modules: Mapping[str, str]) -> dict[str, list[str]]:
    """Module to the modules that it imports, sorted. modules: source by name."""
    found: dict[str, list[str]] = {}
    for name, source in modules.items():
        targets = set()
        for target in imported(source):
            while target and target not in modules:
                target = target.rpartition(".")[0]
            if target and target != name:
                targets.add(target)
        found[name] = sorted(targets)
    return found


def circles(arrows: Mapping[str, list[str]]) -> list[list[str]]:
    """The modules that can reach themselves, one sorted list for each set that hangs together (Tarjan's strongly connected components)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    open_: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        order[name] = low[name] = len(order)
        open_.append(name)
        for target in arrows[name]:
            if target not in order:
                visit(target)
                low[name] = min(low[name], low[target])
            elif target in open_:
                low[name] = min(low[name], order[target])
        if low[name] == order[name]:
            at = open_.index(name)
            together = sorted(open_[at:])
            del open_[at:]
            if len(together) > 1:
                found.append(together)

    for name in arrows:
        if name not in order:
            visit(name)
    return sorted(found)
