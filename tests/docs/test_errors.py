"""The error tree: one code per class, exit codes of the contract, drawn as it is. The list is printed by `python tools/errorlist.py`."""

from __future__ import annotations

from scrubjay.base import errors
from tools.errorlist import all_classes, problems


def ours() -> list[type[errors.ScrubjayError]]:
    return [kind for kind in all_classes() if kind.__module__ == errors.__name__]


def test_no_clash_in_the_tree() -> None:
    assert len(ours()) > 10
    assert problems(ours(), docstring=errors.__doc__ or "") == []


def test_a_shared_code_is_found() -> None:
    double = type("Double", (errors.Invalid,), {})
    assert any("share the code Invalid" in line for line in problems([*ours(), double], docstring=errors.__doc__ or ""))


def test_a_foreign_exit_code_is_found() -> None:
    odd = type("Odd", (errors.Invalid,), {"code": "Odd", "exit_code": 7})
    assert any("exits 7" in line for line in problems([*ours(), odd], docstring=errors.__doc__ or ""))


def test_a_stale_drawing_is_found() -> None:
    stale = (errors.__doc__ or "").replace("+-- Fenced ", "+-- Walled ")
    found = problems(ours(), docstring=stale)
    assert any("Fenced is missing" in line for line in found)
    assert any("draws Walled" in line for line in found)


def test_a_wrong_exit_code_in_the_drawing_is_found() -> None:
    wrong = (errors.__doc__ or "").replace("exit 64", "exit 4")
    assert any("the tree says 4" in line for line in problems(ours(), docstring=wrong))
