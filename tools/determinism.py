"""Find what would make one seed give two runs: iterating a set whose order depends on PYTHONHASHSEED, `id()`, `hash()`, unsorted folders, threads.

Ruff's banned imports cover time, randomness and sockets; this covers what no import shows. By syntax alone, so it is a net, not a proof (the proof
is the simulator's twin run under two hash seeds): it knows a set by its literal, its constructor, its annotation, and names bound to one of these in
the same file. Sets of integers iterate the same everywhere and are left alone when annotated so. A line that ends in
`# order-free: <reason>` is believed.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
# base.real and scrubjay run on the real machine only; sim and everything below must replay.
PACKAGES = ("base", "storage", "archiver", "scrubber", "pitr", "server", "drills", "sim")
EXEMPT = ("base/real/",)

_SET_NAMES = {"set", "frozenset", "Set", "FrozenSet", "AbstractSet", "MutableSet"}
_INTEGERS = {"int", "Lsn", "Stamp", "Ballot", "bool"}
# Taking a set in these loses its order again, or never depended on it.
_ORDER_FREE_CALLS = {"sorted", "len", "sum", "min", "max", "any", "all", "set", "frozenset", "bool"}
_ORDER_TAKING_CALLS = {"list", "tuple", "iter", "enumerate", "next", "dict", "zip", "map", "filter", "deque"}
_BANNED_CALLS = {"id": "addresses differ between runs", "hash": "of str and bytes it changes with PYTHONHASHSEED"}
_UNSORTED = {"iterdir", "glob", "rglob"}  # of a Path; the port's `listdir` is sorted by contract
_UNSORTED_OS = {"os.listdir", "os.scandir"}
_BANNED_MODULES = {"threading", "multiprocessing", "concurrent", "queue"}
_LOCKS = {"Lock", "RLock"}  # for work handed to `Tasks.blocking`; they order nothing by themselves


def _name_of(node: ast.expr) -> str | None:
    """`x` or `self.x` as text."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return f"{node.value.id}.{node.attr}"
    return None


def _annotated_set(annotation: ast.expr) -> bool | None:
    """True: a set of something whose order may vary; False: a set of integers; None: no set."""
    base, element = annotation, None
    if isinstance(annotation, ast.Subscript):
        base, element = annotation.value, annotation.slice
    name = base.attr if isinstance(base, ast.Attribute) else base.id if isinstance(base, ast.Name) else None
    if name not in _SET_NAMES:
        return None
    return not (isinstance(element, ast.Name) and element.id in _INTEGERS)


class _Names(ast.NodeVisitor):
    """Which names of one scope hold sets; fields (`self.x`) are gathered for the whole file. Nested functions are scopes of their own."""

    def __init__(self, fields: dict[str, bool], outer: dict[str, bool]) -> None:
        self.fields = fields
        self.names = dict(outer)

    def bind(self, target: ast.expr, varies: bool) -> None:
        name = _name_of(target)
        if name is not None:
            (self.fields if "." in name else self.names)[name] = varies

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        return  # its own scope

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815  the name that ast calls

    def visit_Lambda(self, node: ast.Lambda) -> None:
        return

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        varies = _annotated_set(node.annotation)
        if varies is not None:
            self.bind(node.target, varies)

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            name = _name_of(target)
            if name is not None and name not in self.fields and name not in self.names and _is_set(node.value, self.names, self.fields):
                self.bind(target, varies=True)


def _is_set(node: ast.expr, names: dict[str, bool], fields: dict[str, bool]) -> bool:
    """Whether `node` is, by its syntax, a set whose order may vary."""
    if isinstance(node, ast.Set):
        return not all(isinstance(part, ast.Constant) and isinstance(part.value, int) for part in node.elts)
    if isinstance(node, ast.SetComp):
        return True
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"set", "frozenset"}:
        return True
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr | ast.BitAnd | ast.Sub | ast.BitXor):
        return _is_set(node.left, names, fields) or _is_set(node.right, names, fields)
    if isinstance(node, ast.IfExp):
        return _is_set(node.body, names, fields) or _is_set(node.orelse, names, fields)
    name = _name_of(node)
    return name is not None and (names.get(name, False) or fields.get(name, False))


class _Finder(ast.NodeVisitor):
    """One file. scopes: the names that hold sets, innermost function last."""

    def __init__(self, source: str, tree: ast.Module) -> None:
        self.lines = source.splitlines()
        self.found: list[tuple[int, str]] = []
        self.fields: dict[str, bool] = {}
        self.order_free: list[ast.AST] = []
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                self._fields_of(node)
        self.scopes = [self._names_of(tree.body, {})]

    def _fields_of(self, node: ast.ClassDef) -> None:
        for part in node.body:
            if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
                varies = _annotated_set(part.annotation)
                if varies is not None:
                    self.fields[f"self.{part.target.id}"] = varies
            elif isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
                names = _Names(self.fields, {})
                for statement in part.body:
                    names.visit(statement)

    def _names_of(self, body: list[ast.stmt], outer: dict[str, bool]) -> dict[str, bool]:
        names = _Names(self.fields, outer)
        for statement in body:
            names.visit(statement)
        return names.names

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        arguments = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
        inner = {name: varies for name, varies in self.scopes[-1].items() if name not in {argument.arg for argument in arguments}}
        for argument in arguments:
            varies = None if argument.annotation is None else _annotated_set(argument.annotation)
            if varies is not None:
                inner[argument.arg] = varies
        self.scopes.append(self._names_of(node.body, inner))
        self.generic_visit(node)
        self.scopes.pop()

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815  the name that ast calls

    def say(self, node: ast.expr | ast.stmt, what: str) -> None:
        _, mark, reason = self.lines[node.lineno - 1].partition("# order-free:")
        if not mark or not reason.strip():
            self.found.append((node.lineno, what))

    def is_set(self, node: ast.expr) -> bool:
        return _is_set(node, self.scopes[-1], self.fields)

    def iterates(self, node: ast.expr) -> None:
        if self.is_set(node):
            self.say(node, "iterates a set: its order changes with PYTHONHASHSEED; sort it first")

    def visit_For(self, node: ast.For) -> None:
        self.iterates(node.iter)
        self.generic_visit(node)

    def visit_AsyncFor(self, node: ast.AsyncFor) -> None:
        self.iterates(node.iter)
        self.generic_visit(node)

    def comprehension(self, node: ast.ListComp | ast.DictComp | ast.GeneratorExp | ast.SetComp, *, order_free: bool) -> None:
        if not order_free:
            for part in node.generators:
                self.iterates(part.iter)
        self.generic_visit(node)

    def visit_ListComp(self, node: ast.ListComp) -> None:
        self.comprehension(node, order_free=False)

    def visit_DictComp(self, node: ast.DictComp) -> None:
        self.comprehension(node, order_free=False)

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> None:
        self.comprehension(node, order_free=node in self.order_free)

    def visit_SetComp(self, node: ast.SetComp) -> None:
        self.comprehension(node, order_free=True)

    def visit_Set(self, node: ast.Set) -> None:
        self.order_free += node.elts
        self.generic_visit(node)

    def visit_Starred(self, node: ast.Starred) -> None:
        if node not in self.order_free:
            self.iterates(node.value)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        name = node.func.id if isinstance(node.func, ast.Name) else None
        attribute = node.func.attr if isinstance(node.func, ast.Attribute) else None
        if name in _ORDER_FREE_CALLS:
            self.order_free += node.args
        if name in _ORDER_TAKING_CALLS or attribute in {"join", "extend", "fromkeys"}:
            for argument in node.args[:1] if attribute == "fromkeys" else node.args:
                self.iterates(argument)
        if attribute == "pop" and not node.args and isinstance(node.func, ast.Attribute) and self.is_set(node.func.value):
            self.say(node, "pops from a set: which element comes changes with PYTHONHASHSEED")
        if name in _BANNED_CALLS:
            self.say(node, f"calls {name}(): {_BANNED_CALLS[name]}")
        if (attribute in _UNSORTED or _name_of(node.func) in _UNSORTED_OS) and node not in self.order_free:
            self.say(node, f"{attribute}() comes in the folder's order; sort it")
        self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            if alias.name.partition(".")[0] in _BANNED_MODULES:
                self.say(node, f"imports {alias.name}: threads and processes belong into base.real")

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        names = {alias.name for alias in node.names}
        if (node.module or "").partition(".")[0] in _BANNED_MODULES and not names <= _LOCKS:
            self.say(node, f"imports {node.module}: threads and processes belong into base.real")


def problems(source: str) -> list[tuple[int, str]]:
    """(line, what) for each finding in one file's text, in order."""
    tree = ast.parse(source)
    finder = _Finder(source, tree)
    finder.visit(tree)
    return sorted(set(finder.found))


def check_tree(root: Path = ROOT) -> list[str]:
    """Findings in every package that must replay, as `path:line: what`."""
    found: list[str] = []
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            name = path.relative_to(root).as_posix()
            if not name.startswith(EXEMPT):
                found += [f"{name}:{line}: {what}" for line, what in problems(path.read_text(encoding="utf-8"))]
    return found


if __name__ == "__main__":
    findings = check_tree()
    print("\n".join(findings))
    sys.exit(1 if findings else 0)
