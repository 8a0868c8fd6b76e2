"""Document paths: a name, then members (.b) and list elements ([1]). Reading them, and telling which of several stand in each other's way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from storage.items.errors import ItemError
from storage.items.values import Item, Value

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
    """Raise ItemError if two paths overlap (one leads through or to the other), else if two conflict (member against element of one node)."""
    if len(paths) < 2:
        return
    heads: dict[str, list[Path]] = {}
    shared: list[list[Path]] = []
    for path in paths:
        group = heads.setdefault(path[0], [])
        group.append(path)
        if len(group) == 2:
            shared.append(group)
    if not shared:
        return
    for test, word in ((_overlap, "overlap"), (_conflict, "conflict")):
        found: list[tuple[int, int, Path, Path]] = []
        for group in shared:
            pair = _first_pair(group, test)
            if pair is not None:
                found.append((paths.index(pair[1]), paths.index(pair[0]), *pair))
        if found:
            _, _, one, two = min(found, key=lambda entry: entry[:2])
            raise ItemError(
                f"Invalid {kind}: Two document paths {word} with each other; must remove or rewrite one of these paths; "
                f"path one: {show(one)}, path two: {show(two)}"
            )


def _first_pair(group: list[Path], test: Any) -> tuple[Path, Path] | None:
    for later in range(1, len(group)):
        for earlier in range(later):
            if test(group[earlier], group[later]):
                return group[earlier], group[later]
    return None


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
