"""A class with more than 15 fields or 25 methods says why, in its docstring."""

from __future__ import annotations

import ast

from tests.docs.tree import python_files, text_of

FIELDS_MAX = 15
METHODS_MAX = 25


def fields_of(found: ast.ClassDef) -> set[str]:
    """Names that `__init__` assigns on self."""
    made = [each for each in found.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"]
    assigned = [each for init in made for each in ast.walk(init) if isinstance(each, ast.Assign | ast.AnnAssign)]
    targets = [target for each in assigned for target in (each.targets if isinstance(each, ast.Assign) else [each.target])]
    names = [name for target in targets for name in ast.walk(target) if isinstance(name, ast.Attribute)]
    return {name.attr for name in names if isinstance(name.value, ast.Name) and name.value.id == "self"}


def unexplained(text: str) -> list[str]:
    """Classes beyond a bound whose docstring does not say why, with what they have."""
    found = []
    for each in ast.walk(ast.parse(text)):
        if isinstance(each, ast.ClassDef):
            said = (ast.get_docstring(each) or "").lower()
            fields = len(fields_of(each))
            methods = sum(isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) for one in each.body)
            if fields > FIELDS_MAX and f"more than {FIELDS_MAX} fields" not in said:
                found.append(f"{each.name}: {fields} fields")
            if methods > METHODS_MAX and f"more than {METHODS_MAX} methods" not in said:
                found.append(f"{each.name}: {methods} methods")
    return found


def test_a_large_class_says_why() -> None:
    assert [f"{name} {one}" for name in python_files(packages_only=True) for one in unexplained(text_of(name) or "")] == []


def test_one_that_does_not_is_found() -> None:
    methods = "".join(f"    def m{number}(self): ...\n" for number in range(METHODS_MAX + 1))
    fields = "".join(f"        self.f{number} = 0\n" for number in range(FIELDS_MAX + 1))
    assert unexplained(f"class Large:\n{methods}") == ["Large: 26 methods"]
    assert unexplained(f"class Wide:\n    def __init__(self):\n{fields}") == ["Wide: 16 fields"]
    assert unexplained(f'class Said:\n    """More than 25 methods: a table."""\n{methods}') == []
