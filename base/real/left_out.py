"""Importing a library without what it loads only because it is there."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast


@contextmanager
def left_out(*packages: str) -> Iterator[None]:
    """Inside, importing one of `packages` fails as if it were not installed; what is loaded already stays. For imports at the head of a module, before there are threads."""
    modules = cast(dict[str, Any], sys.modules)
    hidden = [name for name in packages if name not in modules]
    modules.update(dict.fromkeys(hidden))
    try:
        yield
    finally:
        for name in hidden:
            del modules[name]
