"""No circle of modules: whatever is read first can be understood without what comes later. Type-checking imports count: who names a class depends on it."""

from __future__ import annotations

from tests.docs.imports import circles, graph, imported, sources


def test_no_module_of_the_product_reaches_itself() -> None:
    arrows = graph(sources())
    assert sum(len(targets) for targets in arrows.values()) > 1_000, "the imports were not read"
    assert circles(arrows) == []


def test_a_circle_is_found_wherever_it_hides() -> None:
    modules = {
        "scrubjay.a": "from scrubjay.b import thing",
        "scrubjay.b": "def later():\n    from scrubjay import c",
        "scrubjay.c": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from scrubjay.a import Other",
        "scrubjay.d": "import scrubjay.e\nfrom scrubjay.a import thing",
        "scrubjay.e": "import os",
    }
    assert circles(graph(modules)) == [["scrubjay.a", "scrubjay.b", "scrubjay.c"]]
    del modules["scrubjay.c"]
    assert circles(graph(modules)) == []


def test_two_circles_are_two_and_names_inside_a_module_are_that_module() -> None:
    modules = {
        "scrubjay.a": "from scrubjay.b.deep import Class",
        "scrubjay.b.deep": "from scrubjay.a import name",
        "scrubjay.c": "from scrubjay.d import x\nfrom scrubjay.a import y",
        "scrubjay.d": "from scrubjay.c import z",
    }
    assert list(imported("import a.b, c\nfrom d import e as f, g")) == ["a.b", "c", "d.e", "d.g"]
    assert circles(graph(modules)) == [["scrubjay.a", "scrubjay.b.deep"], ["scrubjay.c", "scrubjay.d"]]
