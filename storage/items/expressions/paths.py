"""Document paths: a name, then members (.b) and list elements ([1]). Reading them, and telling which of several stand in each other's way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from scrubjay.storage.items.errors import ItemError
from scrubjay.storage.items.values import Item, Value

Path = tuple[Any, ...]
"""Names (str) and list indexes (int); the first element is a name."""

PATH_DEPTH_MAX = 32


def show(path: Path) -> str:
    """As AWS prints paths in messages: [a, b, [1]]."""
    return "[" + ", ".join([f"[{element}]" if isinstance(element, int) else element for element in path]) + "]"


def read(item: Item, path: Path) -> Value | None:
    """The value at `path`, or None if there is none."""
    value = item.get(path[0])
    if value is None or len(path) == 1:
        return value
    for element in path[1:]:
        kind, payload = value
        if type(element) is int:
            if kind != "L" or element >= len(payload):
                return None
            value = payload[element]
        else:
            if kind != "M":
                return None
            value = payload.get(element)
            if value is None:
                return None
    return value


def check_disjoint(paths: Sequence[Path], kind: str) -> None:
    """Raise ItemError if two paths overlap (one leads through or to the other), else if two conflict (member against element of one node).

    Linear in the length of the paths: an expression may hold a thousand.
    """
    if len(paths) < 2:
        return
    root: dict[Any, Any] = {}
    conflict: int | None = None
    for at, path in enumerate(paths):
        node = root
        for element in path:
            if _END in node:
                raise _in_the_way(paths, at, _overlap, "overlap", kind)
            step = (element,) if type(element) is int else element
            below = node.get(step)
            if below is None:
                if conflict is None and node and type(step) is not type(next(iter(node))):
                    conflict = at
                below = node[step] = {}
            node = below
        if node:
            raise _in_the_way(paths, at, _overlap, "overlap", kind)
        node[_END] = None
    if conflict is not None:
        raise _in_the_way(paths, conflict, _conflict, "conflict", kind)


_END = None
"""Marks, in the tree of paths, where one ends. Steps are names, or list indexes in a tuple, so that the kinds can be told apart."""


def _in_the_way(paths: Sequence[Path], later: int, test: Callable[[Path, Path], bool], word: str, kind: str) -> ItemError:
    one = next(path for path in paths[:later] if test(path, paths[later]))
    return ItemError(
        f"Invalid {kind}: Two document paths {word} with each other; must remove or rewrite one of these paths; "
        f"path one: {show(one)}, path two: {show(paths[later])}"
    )


def _overlap(one: Path, two: Path) -> bool:
    shorter = min(len(one), len(two))
    return _same(one[:shorter], two[:shorter])


def _conflict(one: Path, two: Path) -> bool:
    for left, right in zip(one, two, strict=False):
        if type(left) is not type(right):
            return True
        if left != right:
            return False
    return False


def _same(one: Path, two: Path) -> bool:
    return all(type(left) is type(right) and left == right for left, right in zip(one, two, strict=True))


def project(item: Item, paths: Iterable[Path]) -> Item:
    """The parts of `item` at disjoint `paths`, in their places; list elements close up in their order. Paths that lead nowhere leave no trace."""
    plain: Item = {}
    nested: dict[str, list[Path]] = {}
    for path in paths:
        if len(path) == 1:
            value = item.get(path[0])
            if value is not None:
                plain[path[0]] = value
        else:
            nested.setdefault(path[0], []).append(path[1:])
    for name, rests in nested.items():
        value = item.get(name)
        if value is not None:
            part = _part(value, rests)
            if part is not None:
                plain[name] = part
    return plain


def _part(value: Value, paths: list[Path]) -> Value | None:
    kind, payload = value
    below: dict[Any, list[Path]] = {}
    for path in paths:
        below.setdefault(path[0], []).append(path[1:])
    if kind == "M":
        members: Item = {}
        for name, rests in below.items():
            if isinstance(name, str) and name in payload:
                part = payload[name] if () in rests else _part(payload[name], rests)
                if part is not None:
                    members[name] = part
        return ("M", members) if members else None
    if kind == "L":
        elements: list[Value] = []
        for index in sorted([index for index in below if isinstance(index, int) and index < len(payload)]):
            rests = below[index]
            part = payload[index] if () in rests else _part(payload[index], rests)
            if part is not None:
                elements.append(part)
        return ("L", tuple(elements)) if elements else None
    return None
