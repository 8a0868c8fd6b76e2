"""What a statement of PartiQL stands for: a request with a condition of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def as_request(op: dict[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    """An operation as it is evaluated. keys: names of the table's key attributes. INSERT writes where nothing is, UPDATE what is there; DELETE with a demand is content where nothing is."""
    if not op.get("stated"):
        return op
    there, missing, condition = ("exists", (keys[0],)), ("missing", (keys[0],)), op.get("condition")
    if op["do"] == "put":
        return {**op, "condition": missing, "inserts": True}
    if op["do"] == "update":
        return {**op, "condition": there if condition is None else ("and", [there, condition])}
    if op["do"] == "delete" and condition is not None:
        return {**op, "condition": ("or", [missing, condition])}
    return op
