"""What expressions may say of the key attributes of secondary indexes."""

from __future__ import annotations

from collections.abc import Iterable

from scrubjay.storage.items.errors import ItemError
from scrubjay.storage.items.expressions.paths import Path
from scrubjay.storage.items.expressions.tree import ValueNode
from scrubjay.storage.items.expressions.update import Update
from scrubjay.storage.items.index_keys import IndexKeys


def check_index_paths(paths: Iterable[Path], indexes: IndexKeys) -> None:
    """Raise ItemError if a path goes into a key attribute of an index: keys are scalars."""
    keys = {attribute.name for _, attribute in indexes.attributes}
    for path in paths:
        if len(path) > 1 and path[0] in keys:
            raise ItemError(
                f"Key attributes must be scalars; list random access '[]' and map lookup '.' are not allowed: IndexKey: {path[0]}"
            )


def check_index_values(update: Update, indexes: IndexKeys) -> None:
    """Raise ItemError if an update gives a key attribute of an index a constant of another type. What it computes, the leader looks at."""
    for action in update.actions:
        if action.section in ("SET", "ADD") and isinstance(action.operand, ValueNode) and len(action.target.path) == 1:
            kind = action.operand.value[0]
            for index, attribute in indexes.attributes:
                if action.target.path[0] == attribute.name and kind != attribute.type:
                    raise ItemError(
                        f"One or more parameter values were invalid: Type mismatch for Index Key {attribute.name} Expected: {attribute.type} "
                        f"Actual: {kind} IndexName: {index}"
                    )
