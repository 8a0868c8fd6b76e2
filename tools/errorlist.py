"""Print every error class with its code and exit code, and what is wrong with the list. `python tools/errorlist.py`; exit 1 on a clash.

A code is a word that scripts match on, so two classes never share one; an exit code is one of the contract's.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable

from scrubjay.base import errors

EXIT_CODES = (0, 1, 2, 3, 4, 64, 130)


def all_classes(root: type[errors.ScrubjayError] = errors.ScrubjayError) -> list[type[errors.ScrubjayError]]:
    """`root` and what derives from it, wherever it was defined, by name."""
    found = [root]
    for child in root.__subclasses__():
        found += all_classes(child)
    return sorted(set(found), key=lambda kind: kind.__name__)


def problems(classes: Iterable[type[errors.ScrubjayError]], *, docstring: str) -> list[str]:
    """Clashes between classes, exit codes outside the contract, and differences to the tree drawn in `docstring`."""
    found: list[str] = []
    by_code: dict[str, str] = {}
    drawn = {name: (int(code) if code else None) for name, code in re.findall(r"\+-- (\w+)\s.*?(?:exit (\d+))?$", docstring, re.MULTILINE)}
    for kind in classes:
        if kind.__name__ == "ScrubjayError":
            continue  # the root: never raised itself
        other = by_code.setdefault(kind.code, kind.__name__)
        if other != kind.__name__:
            found.append(f"{kind.__name__} and {other} share the code {kind.code}")
        if kind.exit_code not in EXIT_CODES or kind.exit_code in (0, 130):
            found.append(f"{kind.__name__} exits {kind.exit_code}, which no failure may")
        if kind.__module__ == errors.__name__:
            if kind.__name__ not in drawn:
                found.append(f"{kind.__name__} is missing in the tree of base/errors.py")
            elif drawn[kind.__name__] not in (None, kind.exit_code):
                found.append(f"{kind.__name__} exits {kind.exit_code}; the tree says {drawn[kind.__name__]}")
            drawn.pop(kind.__name__, None)
    found += [f"the tree of base/errors.py draws {name}, which does not exist" for name in drawn]
    return found


def main() -> int:
    """Print the list; 1 if something is wrong with it."""
    classes = all_classes()
    for kind in classes:
        print(f"{kind.exit_code:>3}  {kind.code:<16} {kind.__name__:<16} {(inspect.getdoc(kind) or '').splitlines()[0]}")
    wrong = problems(classes, docstring=errors.__doc__ or "")
    for line in wrong:
        print(f"clash: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
