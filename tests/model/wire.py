"""Values of the model to and from DynamoDB JSON, and expression trees to text. Written for the model: the service's own code is not used."""

from __future__ import annotations

import base64
import random
from decimal import Decimal
from typing import Any

from tests.model.dynamo_model import SETS, Item, Path, Tree, Value

NEEDS_ALIAS = frozenset(("status", "d e", "x.y"))
"""Names of the generator that are reserved words or no identifiers."""


def plain(number: Decimal) -> str:
    """The one text in which DynamoDB returns a number."""
    if not number:
        return "0"
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def spelled(number: Decimal, rand: random.Random) -> str:
    """One of the texts a client may write."""
    text = plain(number)
    way = rand.random()
    if way < 0.7:
        return text
    if way < 0.8:
        return "+" + text if number > 0 else text
    if way < 0.9:
        return text + (".0" if "." not in text else "00")
    return f"{number:E}"


def to_wire(value: Value, rand: random.Random) -> dict[str, Any]:
    kind, payload = value
    if kind == "N":
        return {kind: spelled(payload, rand)}
    if kind == "B":
        return {kind: base64.b64encode(payload).decode()}
    if kind == "L":
        return {kind: [to_wire(one, rand) for one in payload]}
    if kind == "M":
        return {kind: item_to_wire(payload, rand)}
    if kind in SETS:
        members = [to_wire((SETS[kind], one), rand)[SETS[kind]] for one in sorted(payload)]
        rand.shuffle(members)
        return {kind: members}
    return {kind: payload}


def item_to_wire(item: Item, rand: random.Random) -> dict[str, Any]:
    return {name: to_wire(value, rand) for name, value in item.items()}


def from_wire(obj: dict[str, Any]) -> Value:
    """Raises ValueError on what DynamoDB would not have sent, texts of numbers included."""
    ((kind, payload),) = obj.items()
    if kind == "N":
        number = Decimal(payload)
        if plain(number) != payload:
            raise ValueError(f"not the text of a number as DynamoDB gives it: {payload}")
        return kind, number
    if kind == "B":
        return kind, base64.b64decode(payload, validate=True)
    if kind == "L":
        return kind, tuple(from_wire(one) for one in payload)
    if kind == "M":
        return kind, item_from_wire(payload)
    if kind in SETS:
        members = [from_wire({SETS[kind]: one})[1] for one in payload]
        if not members or len(frozenset(members)) != len(members):
            raise ValueError(f"not a set: {payload}")
        return kind, frozenset(members)
    if (kind, payload) != ("NULL", True) and (kind != "BOOL" or type(payload) is not bool) and (kind != "S" or type(payload) is not str):
        raise ValueError(f"not a value: {obj}")
    return kind, payload


def item_from_wire(obj: dict[str, Any]) -> Item:
    return {name: from_wire(value) for name, value in obj.items()}


class Text:
    """Turns the trees of one request into expressions that share names and values."""

    def __init__(self, rand: random.Random) -> None:
        self.rand = rand
        self.names: dict[str, str] = {}
        self.values: dict[str, Any] = {}

    def parameters(self) -> dict[str, Any]:
        """ExpressionAttributeNames and ExpressionAttributeValues, as far as they are needed."""
        given: dict[str, Any] = {}
        if self.names:
            given["ExpressionAttributeNames"] = self.names
        if self.values:
            given["ExpressionAttributeValues"] = self.values
        return given

    def path(self, path: Path) -> str:
        text = ""
        for step in path:
            if isinstance(step, int):
                text += f"[{step}]"
            else:
                text += ("." if text else "") + self._name(step)
        return text

    def _name(self, name: str) -> str:
        if name not in NEEDS_ALIAS and self.rand.random() < 0.6:
            return name
        for alias, known in self.names.items():
            if known == name:
                return alias
        alias = f"#n{len(self.names)}"
        self.names[alias] = name
        return alias

    def value(self, value: Value) -> str:
        key = f":v{len(self.values)}"
        self.values[key] = to_wire(value, self.rand)
        return key

    def operand(self, tree: Tree) -> str:
        if tree[0] == "value":
            return self.value(tree[1])
        return self.path(tree[1]) if tree[0] == "path" else f"size({self.path(tree[1])})"

    def condition(self, tree: Tree) -> str:
        kind = tree[0]
        if kind in ("and", "or"):
            word = kind.upper() if self.rand.random() < 0.8 else kind
            return f" {word} ".join([self._inner(term, kind) for term in tree[1]])
        if kind == "not":
            return f"NOT {self._inner(tree[1], 'not')}"
        if kind == "compare":
            return f"{self.operand(tree[2])} {tree[1]} {self.operand(tree[3])}"
        if kind == "between":
            return f"{self.operand(tree[1])} BETWEEN {self.operand(tree[2])} AND {self.operand(tree[3])}"
        if kind == "in":
            return f"{self.operand(tree[1])} IN ({', '.join([self.operand(one) for one in tree[2]])})"
        if kind == "type":
            return f"attribute_type({self.path(tree[1])}, {self.value(('S', tree[2]))})"
        if kind in ("exists", "missing"):
            return f"attribute_{'exists' if kind == 'exists' else 'not_exists'}({self.path(tree[1])})"
        return f"{'begins_with' if kind == 'begins' else 'contains'}({self.path(tree[1])}, {self.operand(tree[2])})"

    def _inner(self, tree: Tree, above: str) -> str:
        """Parentheses where the binding asks for them (NOT before AND before OR), and sometimes where it does not."""
        text = self.condition(tree)
        if tree[0] not in ("and", "or", "not"):
            return f"({text})" if self.rand.random() < 0.15 else text
        if len(tree[1]) == 1 and tree[0] != "not":
            # one term alone: it may have brought parentheses of its own
            return text if text.startswith("(") else f"({text})"
        return text if above == "or" and tree[0] == "and" and self.rand.random() < 0.5 else f"({text})"

    def source(self, tree: Tree) -> str:
        kind = tree[0]
        if kind in ("+", "-"):
            return f"{self.source(tree[1])} {kind} {self.source(tree[2])}"
        if kind == "if_not_exists":
            return f"if_not_exists({self.path(tree[1])}, {self.source(tree[2])})"
        if kind == "list_append":
            return f"list_append({self.source(tree[1])}, {self.source(tree[2])})"
        return self.operand(tree)

    def update(self, changes: list[Tree]) -> str:
        sections: dict[str, list[str]] = {}
        for change in changes:
            path = self.path(change[1])
            if change[0] == "SET":
                text = f"{path} = {self.source(change[2])}"
            elif change[0] == "REMOVE":
                text = path
            else:
                text = f"{path} {self.value(change[2])}"
            sections.setdefault(change[0], []).append(text)
        return " ".join([f"{section} {', '.join(texts)}" for section, texts in sections.items()])
