"""Operations of the model as PartiQL: another way to say the same. Written for the model: the service's own code is not used.

A statement stands for a request with a condition of its own (`stated.as_request`). Not everything can be said (`can_be_stated`); what is said is a statement with literals and parameters, as they fall.
"""

from __future__ import annotations

import random
import re
from decimal import Decimal
from typing import Any

from tests.model.dynamo_model import Item, Path, Table, Tree, Value, paths_of
from tests.model.wire import NEEDS_ALIAS, plain, to_wire

STATEMENT_CHARS_MAX = 8192
_MARK = re.compile("\x01(\\d+)\x01")
_TYPES = {"S": "STRING", "N": "NUMERIC", "B": "BLOB", "L": "LIST", "M": "STRUCT", "BOOL": "BOOLEAN", "NULL": "NULL"}
_UNSAID = ("expected", "filtered", "legacy", "index", "segments", "count_only", "start")
"""Members of operations that no statement has."""


def can_be_stated(op: dict[str, Any], table: Table) -> bool:
    """Whether a statement says all of `op`, or of a transaction."""
    do = op["do"]
    if do.startswith("transact_"):
        parts = op["actions" if "actions" in op else "gets"]
        return all(can_be_stated({"do": "get", **one}, table) for one in parts)
    if do not in ("put", "update", "delete", "check", "get", "query", "scan") or any(name in op for name in _UNSAID):
        return False
    for tree in (op.get("condition"), op.get("filter")):
        if tree is not None and any(path[0] in table.keys for path in paths_of(tree)):
            return False  # what a WHERE says of a key says what is read
    if do == "put":
        return "condition" not in op and "return" not in op and "on_failure" not in op
    if do == "update" and not (op["changes"] and all(map(_can_be_set, op["changes"]))):
        return False
    if any(len(path) > 1 for path in op.get("projection", ())) or len(set(op.get("projection", ()))) < len(op.get("projection", ())):
        return False  # its columns are named otherwise
    return do != "query" or _is_one_range(op, table)


def _can_be_set(change: Tree) -> bool:
    if change[0] in ("ADD", "DELETE"):
        return change[2][0] in ("SS", "NS", "BS")
    return change[0] == "REMOVE" or _can_be_source(change[2])


def _can_be_source(tree: Tree) -> bool:
    if tree[0] in ("+", "-", "list_append"):
        return all(map(_can_be_source, tree[1:]))
    return tree[0] in ("value", "path")


def _is_one_range(op: dict[str, Any], table: Table) -> bool:
    """Of a table without sort key, or where that is given, a statement reads an item, and has no pages."""
    if table.sk is None or op.get("sort", ("=",))[0] == "=":
        return table.sk is not None and "sort" not in op
    return True


class Words:
    """One statement as it grows. Parameters are marked where they stand, so that their order is the text's."""

    def __init__(self, rand: random.Random, *, literals: float = 0.5) -> None:
        self._rand, self._literals = rand, literals
        self._values: list[Value] = []

    def said(self, text: str) -> tuple[str, list[dict[str, Any]]]:
        """(statement, parameters)."""
        order = [self._values[int(mark[1])] for mark in _MARK.finditer(text)]
        return _MARK.sub("?", text), [to_wire(value, self._rand) for value in order]

    def value(self, value: Value) -> str:
        if self._rand.random() < self._literals and (text := _literal(value)) is not None:
            return text
        self._values.append(value)
        return f"\x01{len(self._values) - 1}\x01"

    def path(self, path: Path) -> str:
        text = ""
        for step in path:
            text += f"[{step}]" if isinstance(step, int) else ("." if text else "") + self._name(step)
        return text

    def _name(self, name: str) -> str:
        return name if name not in NEEDS_ALIAS and self._rand.random() < 0.6 else f'"{name}"'

    def operand(self, tree: Tree) -> str:
        if tree[0] == "value":
            return self.value(tree[1])
        return self.path(tree[1]) if tree[0] == "path" else f"size({self.path(tree[1])})"

    def condition(self, tree: Tree) -> str:
        kind = tree[0]
        if kind in ("and", "or"):
            return "(" + f" {kind.upper() if self._rand.random() < 0.7 else kind} ".join(map(self.condition, tree[1])) + ")"
        if kind == "not":
            return f"NOT ({self.condition(tree[1])})"
        if kind == "compare":
            return f"{self.operand(tree[2])} {tree[1]} {self.operand(tree[3])}"
        if kind == "between":
            return f"{self.operand(tree[1])} BETWEEN {self.operand(tree[2])} AND {self.operand(tree[3])}"
        if kind == "in":
            return f"{self.operand(tree[1])} IN [{', '.join(map(self.operand, tree[2]))}]"
        if kind in ("exists", "missing"):
            if self._rand.random() < 0.5:
                return f"{self.path(tree[1])} IS {'NOT ' if kind == 'exists' else ''}MISSING"
            return f"attribute_{'exists' if kind == 'exists' else 'not_exists'}({self.path(tree[1])})"
        if kind == "type":
            if tree[2] in _TYPES and self._rand.random() < 0.7:
                return f"{self.path(tree[1])} IS {_TYPES[tree[2]]}"
            return f"attribute_type({self.path(tree[1])}, {self.value(('S', tree[2]))})"
        return f"{'begins_with' if kind == 'begins' else 'contains'}({self.path(tree[1])}, {self.operand(tree[2])})"

    def _source(self, tree: Tree) -> str:
        if tree[0] in ("+", "-"):
            return f"{self._source(tree[1])} {tree[0]} {self._source(tree[2])}"
        if tree[0] == "list_append":
            return f"list_append({self._source(tree[1])}, {self._source(tree[2])})"
        return self.operand(tree)

    def change(self, change: Tree) -> str:
        path = self.path(change[1])
        if change[0] == "REMOVE":
            return f"REMOVE {path}"
        if change[0] == "SET":
            return f"SET {path} = {self._source(change[2])}"
        return f"SET {path} = set_{'add' if change[0] == 'ADD' else 'delete'}({path}, {self.value(change[2])})"

    def where(self, terms: list[str]) -> str:
        self._rand.shuffle(terms)
        return " WHERE " + " AND ".join(terms) if terms else ""

    def key(self, key: Item) -> list[str]:
        return [f"{self._name(name)} = {self.value(value)}" for name, value in key.items()]


def _literal(value: Value) -> str | None:
    """None: it is a parameter, or nothing."""
    kind, payload = value
    if kind == "S":
        return None if "\x00" in payload else "'" + payload.replace("'", "''") + "'"
    if kind == "N":
        return _number(payload)
    if kind in ("BOOL", "NULL"):
        return "NULL" if kind == "NULL" else str(payload).lower()
    if kind in ("SS", "NS"):
        members = [_literal((kind[0], one)) for one in sorted(payload)]
        return None if None in members else f"<<{', '.join(map(str, members))}>>"
    if kind == "L":
        members = [_literal(one) for one in payload]
        return None if None in members else f"[{', '.join(map(str, members))}]"
    if kind == "M":
        pairs = [(name, _literal(one)) for name, one in payload.items()]
        return None if None in [text for _, text in pairs] else "{" + ", ".join([f"'{name}': {text}" for name, text in pairs]) + "}"
    return None


def _number(number: Decimal) -> str | None:
    return plain(number) if abs(number.adjusted()) < 20 else None


# --- requests ------------------------------------------------------------------------------------------------------------------------------


def stated_request(name: str, table: Table, op: dict[str, Any]) -> dict[str, Any]:
    """ExecuteStatement's or ExecuteTransaction's, for `op` on the table `name`. A given op always gives the same text."""
    rand = random.Random(op.get("spelling", 0))
    request: dict[str, Any] = {"ReturnConsumedCapacity": rand.choice(("TOTAL", "INDEXES"))} if op.get("capacity") else {}
    if op["do"].startswith("transact_"):
        if "token" in op:
            request["ClientRequestToken"] = op["token"]
        parts = [{"do": "get", **one} for one in op["actions" if "actions" in op else "gets"]]
        return {**request, "TransactStatements": [_stated(name, table, one, rand) for one in parts]}
    if op.get("consistent"):
        request["ConsistentRead"] = True
    if "limit" in op:
        request["Limit"] = op["limit"]
    return {**request, **_stated(name, table, op, rand)}


def _stated(name: str, table: Table, op: dict[str, Any], rand: random.Random) -> dict[str, Any]:
    seed = rand.getrandbits(32)
    text, parameters = _statement(name, table, op, Words(random.Random(seed)))
    if len(text) > STATEMENT_CHARS_MAX:
        text, parameters = _statement(name, table, op, Words(random.Random(seed), literals=0.0))
    stated: dict[str, Any] = {"Statement": text}
    if parameters:
        stated["Parameters"] = parameters
    if "on_failure" in op:
        stated["ReturnValuesOnConditionCheckFailure"] = op["on_failure"]
    return stated


def _statement(name: str, table: Table, op: dict[str, Any], words: Words) -> tuple[str, list[dict[str, Any]]]:
    do = op["do"]
    demanded = [] if op.get("condition") is None else [words.condition(op["condition"])]
    returned = f" RETURNING {op['return'].replace('UPDATED', 'MODIFIED').replace('_', ' ')} *" if op.get("return", "NONE") != "NONE" else ""
    if do == "put":
        text = f"INSERT INTO {name} VALUE " + "{" + ", ".join([f"'{one}': {words.value(value)}" for one, value in op["item"].items()]) + "}"
    elif do == "update":
        text = f"UPDATE {name} " + " ".join(map(words.change, op["changes"])) + words.where([*words.key(op["key"]), *demanded]) + returned
    elif do == "delete":
        text = f"DELETE FROM {name}" + words.where([*words.key(op["key"]), *demanded]) + returned
    elif do == "check":
        text = f"EXISTS(SELECT * FROM {name}" + words.where([*words.key(op["key"]), *demanded]) + ")"
    else:
        text = _select(name, table, op, words)
    return words.said(text)


def _select(name: str, table: Table, op: dict[str, Any], words: Words) -> str:
    columns = ", ".join(map(words.path, op["projection"])) if "projection" in op else "*"
    terms = words.key(op["key"]) if op["do"] == "get" else []
    if op["do"] == "query":
        terms = words.key({table.pk[0]: op["pk"]})
        if "sort" in op:
            assert table.sk is not None
            operator, values = op["sort"]
            path, said = words.path((table.sk[0],)), [words.value(one) for one in values]
            terms.append(
                f"{path} BETWEEN {said[0]} AND {said[1]}"
                if operator == "BETWEEN"
                else f"begins_with({path}, {said[0]})"
                if operator == "begins_with"
                else f"{path} {operator} {said[0]}"
            )
    if "filter" in op:
        terms.append(f"({words.condition(op['filter'])})")
    order = f" ORDER BY {table.sk[0]} DESC" if op["do"] == "query" and op.get("reverse") and table.sk is not None else ""
    return f"SELECT {columns} FROM {name}" + words.where(terms) + order
