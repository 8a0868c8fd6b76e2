"""Projections."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from scrubjay.storage.items.expressions import check
from scrubjay.storage.items.expressions.condition import PARSED_KEPT, as_placeholders
from scrubjay.storage.items.expressions.parser import ProjectionParser
from scrubjay.storage.items.expressions.paths import Path, check_disjoint, project
from scrubjay.storage.items.expressions.placeholders import Placeholders
from scrubjay.storage.items.expressions.tree import UnboundPath
from scrubjay.storage.items.values import Item

_KIND = "ProjectionExpression"


class Projection:
    """Disjoint document paths. top: the attribute names if no path goes deeper (the common case), else None."""

    __slots__ = ("paths", "top")

    def __init__(self, paths: tuple[Path, ...]) -> None:
        self.paths = paths
        self.top: tuple[str, ...] | None = tuple([path[0] for path in paths]) if all(len(path) == 1 for path in paths) else None

    def project(self, item: Item) -> Item:
        """The projected parts of `item`."""
        if self.top is not None:
            return {name: item[name] for name in self.top if name in item}
        return project(item, self.paths)


def parse_projection(text: str, names: Mapping[str, str] | Placeholders | None = None) -> Projection:
    """Parse and check a ProjectionExpression. Raises ItemError."""
    placeholders = as_placeholders(names, None)
    paths = tuple([check.bind_path(node, placeholders, _KIND).path for node in parsed(text)])
    check_disjoint(paths, _KIND)
    return Projection(paths)


@lru_cache(maxsize=PARSED_KEPT)
def parsed(text: str) -> list[UnboundPath]:
    """The paths, reserved words checked. Shared by all uses. Raises ItemError."""
    nodes = ProjectionParser(text).parse()
    check.check_reserved(nodes, _KIND)
    return nodes
