"""Parameters from before expressions, as the conditions of the model (`dynamo_model`)."""

from __future__ import annotations

from collections.abc import Sequence

from tests.model.dynamo_model import Path, Tree, Value

_WORDS = {"EQ": "=", "NE": "<>", "LT": "<", "LE": "<=", "GT": ">", "GE": ">="}


def legacy_condition(terms: Sequence[tuple[str, str, list[Value]]], join: str | None) -> Tree:
    """Expected, QueryFilter or ScanFilter as a condition. terms: (attribute, ComparisonOperator, values). join: ConditionalOperator."""
    trees = [_legacy_term((name,), operator, [("value", value) for value in values]) for name, operator, values in terms]
    return ("or" if join == "OR" else "and", trees)


def _legacy_term(path: Path, operator: str, values: list[Tree]) -> Tree:
    here = ("path", path)
    if operator in _WORDS:
        return "compare", _WORDS[operator], here, values[0]
    if operator == "BETWEEN":
        return "between", here, values[0], values[1]
    if operator == "IN":
        return "in", here, values
    if operator in ("NULL", "NOT_NULL"):
        return "missing" if operator == "NULL" else "exists", path
    if operator == "BEGINS_WITH":
        return "begins", path, values[0]
    holding = ("contains", path, values[0])
    return holding if operator == "CONTAINS" else ("and", [("exists", path), ("not", holding)])
