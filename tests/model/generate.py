"""Random operations, biased to keys that were written before, and their requests.

An operation is a dict that the model understands (`dynamo_model`); `request_of` writes it down as a client would. Most are sound; some are refused.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from tests.model.dynamo_model import Index, Item, Path, Table, Tree, Value
from tests.model.legacy import legacy_condition
from tests.model.statements import can_be_stated, stated_request
from tests.model.wire import Text, item_to_wire, to_wire

Op = dict[str, Any]

KEYS: dict[str, tuple[tuple[str, str], tuple[str, str] | None]] = {
    "plain": (("pk", "S"), None),
    "sorted": (("pk", "S"), ("sk", "S")),
    "counted": (("pk", "S"), ("sk", "N")),
    "binary": (("pk", "N"), ("sk", "B")),
}
"""Tables: partition key and sort key."""
NAMES = ("a", "b", "c", "status", "d e")
INNER = ("p", "q", "x.y")
STRINGS = ("", "a", "ab", "b", "é", "\uffff", "\U0001f600", "a" * 1200, "z" * 5000)
NUMBERS = tuple(
    map(Decimal, ("0", "1", "-1", "2", "3", "1.5", "-0.001", "10", "100.5", "9.9E+125", "-9.9E+125", "1E-130", "1.1E-130", "9" * 38))
)
BINARIES = (b"", b"\x00", b"a", b"ab", b"\xff\xff")
KEY_VALUES: dict[str, tuple[Any, ...]] = {
    "S": ("a", "ab", "b", "é", "\uffff", "\U0001f600"),
    "N": tuple(map(Decimal, ("-10", "-1", "-0.5", "0", "0.5", "1", "2", "10", "1E+30"))),
    "B": (b"\x00", b"a", b"ab", b"\x7f", b"\x80", b"\xff"),
}
INDEXED = {"g": "S", "h": "N"}
"""Attributes that are keys of global indexes, where a sequence has those."""
INDEXED_VALUES: dict[str, tuple[Any, ...]] = {"g": ("x", "x\x00", "y"), "h": tuple(map(Decimal, ("-1", "0.5", "2")))}
COMPARE = ("=", "<>", "<", "<=", ">", ">=")
RETURNS = ("NONE", "ALL_OLD", "ALL_NEW", "UPDATED_OLD", "UPDATED_NEW")


def tables() -> dict[str, Table]:
    return {name: Table(*keys) for name, keys in KEYS.items()}


class Generator:
    """Operations on one table."""

    def __init__(self, rand: random.Random, name: str, table: Table, *, indexes: bool = True, stated: float = 0.0) -> None:
        """indexes: some sequences make global indexes, and read them: at once, as they are written. stated: how many of the operations that can be are said in PartiQL."""
        self.stated = stated
        self.indexed = indexes and rand.random() < 0.3
        self.rand = rand
        self.name = name
        self.table = table

    def maybe(self, share: float) -> bool:
        return self.rand.random() < share

    # -- values

    def scalar(self, kind: str) -> Value:
        rand = self.rand
        if kind == "S":
            # long ones are there for capacity; most stay short
            return kind, rand.choice(STRINGS if rand.random() < 0.2 else STRINGS[:7])
        if kind == "N":
            return kind, rand.choice(NUMBERS if rand.random() < 0.3 else NUMBERS[:9])
        if kind == "B":
            return kind, rand.choice(BINARIES)
        return (kind, True) if kind == "NULL" else (kind, rand.random() < 0.5)

    def value(self, depth: int = 2) -> Value:
        rand = self.rand
        kind = rand.choice(("S", "S", "N", "N", "N", "B", "BOOL", "NULL", "SS", "NS", "BS", "L", "L", "M", "M"))
        if kind in ("SS", "NS", "BS"):
            return kind, frozenset(self.scalar(kind[0])[1] for _ in range(rand.randint(1, 3)))
        if kind == "L":
            return kind, tuple(self.value(depth - 1) for _ in range(rand.randint(0, 3 if depth > 0 else 0)))
        if kind == "M":
            return kind, {name: self.value(depth - 1) for name in rand.sample(INNER, rand.randint(0, 2 if depth > 0 else 0))}
        return self.scalar(kind)

    def key(self) -> Item:
        """Mostly one of few, so that operations meet."""
        rand = self.rand
        if self.table.rows and rand.random() < 0.6:
            item = rand.choice(list(self.table.rows.values()))
            return {name: item[name] for name in self.table.keys}
        (pk, pk_kind), sk = self.table.pk, self.table.sk
        key = {pk: (pk_kind, rand.choice(KEY_VALUES[pk_kind][:2]))}
        if sk is not None:
            key[sk[0]] = (sk[1], rand.choice(KEY_VALUES[sk[1]]))
        if rand.random() < 0.01:
            key[rand.choice(list(key))] = self.value()
        return key

    def item(self) -> Item:
        item = self.key()
        for name in self.rand.sample(NAMES, self.rand.randint(0, 4)):
            item[name] = self.value()
        if self.indexed:
            item |= {name: self.indexed_value(name) for name in INDEXED if self.maybe(0.75)}
        return item

    def indexed_value(self, name: str) -> Value:
        """Mostly of the type that a key of an index has."""
        return self.value() if self.maybe(0.06) else (INDEXED[name], self.rand.choice(INDEXED_VALUES[name]))

    def path(self, *, deep: float = 0.4) -> Path:
        rand = self.rand
        path: list[Any] = [rand.choice(NAMES)]
        while rand.random() < deep and len(path) < 4:
            path.append(rand.choice(INNER) if rand.random() < 0.5 else rand.randint(0, 3))
        return tuple(path)

    def path_there(self) -> Path:
        """Often one that leads somewhere in a row that exists."""
        rand = self.rand
        if not self.table.rows or rand.random() < 0.3:
            return self.path()
        item = rand.choice(list(self.table.rows.values()))
        names = [name for name in item if name not in self.table.keys]
        if not names:
            return self.path()
        path: list[Any] = [rand.choice(names)]
        value = item[path[0]]
        while value[0] in ("L", "M") and value[1] and rand.random() < 0.7:
            step = rand.randrange(len(value[1])) if value[0] == "L" else rand.choice(list(value[1]))
            path.append(step)
            value = value[1][step]
        if rand.random() < 0.1:
            path.append(rand.choice((*INNER, 0, 5)))
        return tuple(path)

    def paths(self) -> list[Path]:
        return [(self.rand.choice(self.table.keys),) if self.maybe(0.2) else self.path_there() for _ in range(self.rand.randint(1, 3))]

    # -- conditions

    def operand(self, *, keys: bool) -> Tree:
        way = self.rand.random()
        if way < 0.45:
            return "value", self.value(1)
        if keys and way < 0.55:
            return "path", (self.rand.choice(self.table.keys),)
        return ("path" if way < 0.85 else "size"), self.path_there()

    def ordered(self, kind: str) -> Tree:
        way = self.rand.random()
        return ("value", self.scalar(kind)) if way < 0.8 else ("path", self.path_there())

    def condition(self, depth: int = 2, *, keys: bool = True) -> Tree:
        rand = self.rand
        way = rand.random()
        if depth and way < 0.25:
            return rand.choice(("and", "or")), [self.condition(depth - 1, keys=keys) for _ in range(rand.randint(2, 3))]
        if depth and way < 0.35:
            return "not", self.condition(depth - 1, keys=keys)
        if way < 0.55:
            operator = rand.choice(COMPARE)
            left = ("path", self.path_there()) if rand.random() < 0.8 else self.operand(keys=keys)
            if operator in ("=", "<>"):
                return "compare", operator, left, self.operand(keys=keys)
            return "compare", operator, left, self.ordered(rand.choice("SNB"))
        if way < 0.65:
            kind = rand.choice("SNB")
            return "between", ("path", self.path_there()), self.ordered(kind), self.ordered(kind)
        if way < 0.72:
            return "in", ("path", self.path_there()), [self.operand(keys=keys) for _ in range(rand.randint(1, 3))]
        if way < 0.82:
            return rand.choice(("exists", "missing")), self.path_there()
        if way < 0.88:
            return "type", self.path_there(), rand.choice(("S", "N", "B", "SS", "NS", "BS", "L", "M", "NULL", "BOOL"))
        if way < 0.94:
            return "begins", self.path_there(), self.ordered(rand.choice("SSB"))
        return "contains", self.path_there(), self.operand(keys=keys)

    def legacy_terms(self) -> tuple[list[tuple[str, str, list[Value]]], str | None]:
        terms = []
        for name in self.rand.sample(NAMES, self.rand.randint(1, 3)):
            operator = self.rand.choice(
                ("EQ", "NE", "LT", "LE", "GT", "GE", "BETWEEN", "IN", "NULL", "NOT_NULL", "BEGINS_WITH", "CONTAINS", "NOT_CONTAINS")
            )
            terms.append((name, operator, self._legacy_values(operator)))
        join = self.rand.choice(("AND", "OR")) if len(terms) > 1 and self.maybe(0.6) else None
        return terms, join

    def _legacy_values(self, operator: str) -> list[Value]:
        rand = self.rand
        if operator in ("NULL", "NOT_NULL"):
            return []
        if operator in ("EQ", "NE"):
            return [self.value(1)]
        kind = rand.choice("SB" if operator == "BEGINS_WITH" else "SNB")
        if operator == "BETWEEN":
            return [self.scalar(kind), self.scalar(kind)]
        return [self.scalar(kind) for _ in range(rand.randint(1, 3) if operator == "IN" else 1)]

    # -- updates

    def source(self, depth: int = 2) -> Tree:
        rand = self.rand
        way = rand.random()
        if way < 0.4 or not depth:
            return "value", self.value()
        if way < 0.55:
            return "path", self.path_there()
        if way < 0.75:
            return rand.choice("+-"), self._term(), self._term()
        if way < 0.88:
            return "if_not_exists", self.path_there(), self.source(0) if rand.random() < 0.8 else ("path", self.path_there())
        return "list_append", self._list(), self._list()

    def _term(self) -> Tree:
        way = self.rand.random()
        if way < 0.4:
            return "value", self.scalar("N")
        return ("path", self.path_to("N")) if way < 0.7 else ("if_not_exists", self.path_to("N"), ("value", self.scalar("N")))

    def _list(self) -> Tree:
        way = self.rand.random()
        if way < 0.4:
            return "value", ("L", (self.value(0), self.value(0)))
        return ("path", self.path_to("L")) if way < 0.7 else ("if_not_exists", self.path_to("L"), ("value", ("L", ())))

    def change(self) -> Tree:
        rand = self.rand
        if self.indexed and self.maybe(0.3):
            name = rand.choice(list(INDEXED))
            source = ("value", self.indexed_value(name)) if self.maybe(0.8) else ("path", self.path_there())
            return ("SET", (name,), source) if self.maybe(0.75) else ("REMOVE", (name,))
        section = rand.choice(("SET", "SET", "SET", "REMOVE", "REMOVE", "ADD", "DELETE"))
        path = (
            (rand.choice(self.table.keys),) if rand.random() < 0.01 else self.path_there() if rand.random() < 0.7 else (rand.choice(NAMES),)
        )
        if section == "SET":
            return section, path, self.source()
        if section == "REMOVE":
            return section, path
        kinds = ("SS", "NS", "BS") if section == "DELETE" else ("N", "N", "SS", "NS", "BS")
        kind = rand.choice(kinds)
        if rand.random() < 0.8:
            paths = self._paths_to(kinds)
            if paths:
                path, kind = rand.choice(paths)
        if kind == "N":
            return section, path, self.scalar("N")
        return section, path, (kind, frozenset(self.scalar(kind[0])[1] for _ in range(rand.randint(1, 2))))

    def _paths_to(self, kinds: tuple[str, ...]) -> list[tuple[Path, str]]:
        """Where in some row values of `kinds` are, and of which."""
        if not self.table.rows:
            return []
        found: list[tuple[Path, str]] = []

        def walk(path: Path, value: Value) -> None:
            if value[0] in kinds:
                found.append((path, value[0]))
            elif value[0] in ("L", "M"):
                for step, one in enumerate(value[1]) if value[0] == "L" else value[1].items():
                    walk((*path, step), one)

        for name, value in self.rand.choice(list(self.table.rows.values())).items():
            if name not in self.table.keys:
                walk((name,), value)
        return found

    def path_to(self, kind: str) -> Path:
        paths = self._paths_to((kind,)) if self.maybe(0.8) else []
        return self.rand.choice(paths)[0] if paths else self.path_there()

    def legacy_change(self, name: str) -> Tree:
        rand = self.rand
        way = rand.random()
        if way < 0.4:
            return "SET", (name,), ("value", self.value())
        if way < 0.6:
            return "REMOVE", (name,)
        if way < 0.7:
            return "ADD", (name,), ("L", (self.value(0),))
        section, path, value = "DELETE" if way > 0.9 else "ADD", (name,), ("N", rand.choice(NUMBERS[:9]))
        if section == "DELETE" or rand.random() < 0.5:
            kind = rand.choice(("SS", "NS", "BS"))
            value = (kind, frozenset(self.scalar(kind[0])[1] for _ in range(rand.randint(1, 2))))
        return section, path, value

    # -- operations

    def operation(self) -> Op:
        make = self.rand.choices(_MAKERS, _WEIGHTS)[0] if not self.table.tokens or self.maybe(0.8) else Generator.transact_write
        op = self._of_index() if self.indexed and self.maybe(0.4) else make(self)
        if "spelling" in op:
            return op  # a transaction once more, to the letter, or another by its token
        if self.stated and self.maybe(self.stated):
            plainer = {name: value for name, value in op.items() if op["do"] != "put" or name in ("do", "item")}
            op = {**plainer, "stated": True} if can_be_stated(plainer, self.table) else op
        op = {**op, "spelling": self.rand.getrandbits(32)}
        if self.maybe(0.3):
            op["capacity"] = True
        return op

    def _guard(self, op: Op) -> Op:
        """Half of the writes have a condition."""
        if self.maybe(0.4):
            if self.maybe(0.75):
                op["condition"] = self.condition()
            else:
                op["expected"] = self.legacy_terms()
            if self.maybe(0.5):
                op["on_failure"] = self.rand.choice(("ALL_OLD", "NONE"))
        return op

    def put(self) -> Op:
        op: Op = {"do": "put", "item": self.item()}
        if self.maybe(0.3):
            op["return"] = self.rand.choice(("ALL_OLD", "NONE"))
        return self._guard(op)

    def delete(self) -> Op:
        op: Op = {"do": "delete", "key": self.key()}
        if self.maybe(0.4):
            op["return"] = self.rand.choice(("ALL_OLD", "NONE"))
        return self._guard(op)

    def update(self) -> Op:
        op: Op = {"do": "update", "key": self.key()}
        if self.maybe(0.6):
            op["return"] = self.rand.choice(RETURNS)
        if self.maybe(0.8):
            op["changes"] = [self.change() for _ in range(self.rand.choice((1, 1, 2, 2, 3, 4)))]
            if self.maybe(0.4):
                op["condition"] = self.condition()
                if self.maybe(0.5):
                    op["on_failure"] = self.rand.choice(("ALL_OLD", "NONE"))
            return op
        op["legacy"] = True
        op["changes"] = [self.legacy_change(name) for name in self.rand.sample(NAMES, self.rand.randint(0, 3))]
        if self.maybe(0.3):
            op["expected"] = self.legacy_terms()
        return op

    def get(self) -> Op:
        op: Op = {"do": "get", "key": self.key(), "consistent": self.maybe(0.5)}
        if self.maybe(0.4):
            op["projection"] = self.paths()
        return op

    def query(self) -> Op:
        key = self.key()
        op: Op = {"do": "query", "pk": key[self.table.pk[0]], "reverse": self.maybe(0.4), "consistent": self.maybe(0.5)}
        sk = self.table.sk
        if sk is not None and self.maybe(0.6):
            operator = self.rand.choice(("=", "<", "<=", ">", ">=", "BETWEEN", "begins_with"))
            values = [(sk[1], self.rand.choice(KEY_VALUES[sk[1]])) for _ in range(2 if operator == "BETWEEN" else 1)]
            op["sort"] = (operator, sorted(values) if operator == "BETWEEN" and self.maybe(0.8) and sk[1] != "S" else values)
        if self.maybe(0.35):
            if self.maybe(0.8):
                op["filter"] = self.condition(keys=self.maybe(0.1))
            else:
                op["filtered"] = self.legacy_terms()
        if self.maybe(0.4):
            op["limit"] = self.rand.randint(1, 4)
        if self.maybe(0.15):
            start = self.key()
            op["start"] = {**start, self.table.pk[0]: op["pk"]} if self.maybe(0.8) else start
        return self._shape(op)

    def scan(self) -> Op:
        op: Op = {"do": "scan", "consistent": self.maybe(0.5)}
        if self.maybe(0.5):
            if self.maybe(0.8):
                op["filter"] = self.condition()
            else:
                op["filtered"] = self.legacy_terms()
        if self.maybe(0.6):
            op["limit"] = self.rand.randint(1, 5)
        if self.maybe(0.3):
            op["segments"] = self.rand.randint(1, 4)
        return self._shape(op)

    def _shape(self, op: Op) -> Op:
        if self.maybe(0.15):
            op["count_only"] = True
        elif self.maybe(0.3) and "filtered" not in op:
            op["projection"] = self.paths()
        return op

    def batch_write(self) -> Op:
        requests = [("put", self.item()) if self.maybe(0.7) else ("delete", self.key()) for _ in range(self.rand.randint(1, 5))]
        return {"do": "batch_write", "requests": requests}

    def batch_get(self) -> Op:
        op: Op = {"do": "batch_get", "keys": [self.key() for _ in range(self.rand.randint(1, 4))], "consistent": self.maybe(0.5)}
        if self.maybe(0.3):
            op["projection"] = self.paths()
        return op

    # -- global indexes

    def _of_index(self) -> Op:
        known = list(self.table.indexes)
        name = self.rand.choice(known) if known and self.maybe(0.93) else self.rand.choice(("one", "two"))
        way = self.rand.random()
        if not known and way < 0.7:
            way = 0.0
        if way < 0.12:
            return self._create_index(name if self.maybe(0.3) else self.rand.choice(("one", "two")))
        if way < 0.25:
            return {"do": "delete_index", "index": name if self.maybe(0.5) else "three"}
        index = self.table.indexes.get(name) or Index(("g", "S"), None, None)
        return self._index_scan(name) if way < 0.5 else self._index_query(name, index)

    def _create_index(self, name: str) -> Op:
        names = self.rand.sample(list(INDEXED), self.rand.choice((1, 2, 2)))
        keys = [(one, INDEXED[one]) for one in names]
        more = self.rand.choice((None, None, (), ("a", "status")))
        return {"do": "create_index", "index": name, "of": Index(keys[0], keys[1] if len(keys) > 1 else None, more)}

    def _index_query(self, name: str, index: Index) -> Op:
        placed = index.hash[0]
        op: Op = {"do": "index_query", "index": name, "pk": self.indexed_value(placed), "reverse": self.maybe(0.4)}
        ordered = "h" if index.sort is None else index.sort[0]
        if self.maybe(0.5 if index.sort is not None else 0.05):
            kind = INDEXED[ordered]
            operator = self.rand.choice(("=", "<", "<=", ">", ">=", "BETWEEN", "begins_with"))
            values = [(kind, self.rand.choice(INDEXED_VALUES[ordered])) for _ in range(2 if operator == "BETWEEN" else 1)]
            op["sort"] = (operator, values)
        if self.maybe(0.3):
            op["filter"] = self.condition(keys=False)
        if self.maybe(0.4):
            op["limit"] = self.rand.randint(1, 3)
        return self._shape(op)

    def _index_scan(self, name: str) -> Op:
        op: Op = {"do": "index_scan", "index": name}
        if self.maybe(0.3):
            op["filter"] = self.condition()
        if self.maybe(0.5):
            op["limit"] = self.rand.randint(1, 3)
        if self.maybe(0.3):
            op["segments"] = self.rand.randint(1, 3)
        return self._shape(op)

    # -- transactions

    def _action(self) -> Op:
        do = self.rand.choice(("put", "put", "update", "update", "update", "delete", "check"))
        action: Op = {"do": do, "item": self.item()} if do == "put" else {"do": do, "key": self.key()}
        if do == "update":
            action["changes"] = [self.change() for _ in range(self.rand.choice((1, 1, 2, 3)))]
        if do == "check" or self.maybe(0.3):
            action["condition"] = (
                self.condition() if self.maybe(0.5) else (self.rand.choice(("exists", "missing")), (self.rand.choice(NAMES),))
            )
            if self.maybe(0.5):
                action["on_failure"] = self.rand.choice(("ALL_OLD", "NONE"))
        return action

    def _apart(self, ops: list[Op], of: Callable[[Op], Item]) -> list[Op]:
        """Mostly of different items: more than that is refused."""
        seen: list[Any] = []
        kept = []
        for op in ops:
            key = {name: of(op).get(name) for name in self.table.keys}
            if key not in seen or self.maybe(0.05):
                kept.append(op)
            seen.append(key)
        return kept

    def transact_write(self) -> Op:
        known = list(self.table.tokens.values())
        if known and self.maybe(0.5):
            done: Op = self.rand.choice(known)
            if self.maybe(0.5):
                return done
            *first, last = done["actions"]
            of = last["item"] if last["do"] == "put" else last["key"]
            return {**done, "actions": [*first, {"do": "delete", "key": {name: of[name] for name in self.table.keys}}]}
        actions = self._apart(
            [self._action() for _ in range(self.rand.randint(1, 4))], lambda one: one["item" if one["do"] == "put" else "key"]
        )
        op: Op = {"do": "transact_write", "actions": actions}
        if self.maybe(0.6):
            op["token"] = f"{self.rand.getrandbits(32):08x}"
        return op

    def transact_get(self) -> Op:
        gets: list[Op] = []
        for _ in range(self.rand.randint(1, 4)):
            get: Op = {"key": self.key()}
            if self.maybe(0.3):
                get["projection"] = self.paths()
            gets.append(get)
        return {"do": "transact_get", "gets": self._apart(gets, lambda get: get["key"])}


_CHOICES: tuple[tuple[Callable[[Generator], Op], int], ...] = (
    (Generator.put, 20),
    (Generator.update, 34),
    (Generator.delete, 8),
    (Generator.get, 10),
    (Generator.query, 13),
    (Generator.scan, 7),
    (Generator.batch_write, 5),
    (Generator.batch_get, 3),
    (Generator.transact_write, 11),
    (Generator.transact_get, 3),
)
_MAKERS = [maker for maker, _ in _CHOICES]
_WEIGHTS = [weight for _, weight in _CHOICES]


def for_model(op: Op) -> Op:
    """`op` with its legacy conditions as trees."""
    if "expected" in op:
        op = {**op, "condition": legacy_condition(*op["expected"])}
    if "filtered" in op:
        op = {**op, "filter": legacy_condition(*op["filtered"])}
    return op


# --- requests ------------------------------------------------------------------------------------------------------------------------------

OPERATION = {
    "put": "PutItem",
    "delete": "DeleteItem",
    "update": "UpdateItem",
    "get": "GetItem",
    "query": "Query",
    "scan": "Scan",
    "batch_write": "BatchWriteItem",
    "batch_get": "BatchGetItem",
    "transact_write": "TransactWriteItems",
    "transact_get": "TransactGetItems",
    "create_index": "UpdateTable",
    "delete_index": "UpdateTable",
    "index_query": "Query",
    "index_scan": "Scan",
}
_ACTION = {"put": "Put", "update": "Update", "delete": "Delete", "check": "ConditionCheck"}


def operation_of(op: Op) -> str:
    if op.get("stated"):
        return "ExecuteTransaction" if op["do"].startswith("transact_") else "ExecuteStatement"
    return OPERATION[op["do"]]


def request_of(name: str, table: Table, op: Op) -> dict[str, Any]:
    """What a client would send for `op` on the table `name`. A given op always gives the same text."""
    if op.get("stated"):
        return stated_request(name, table, op)
    rand = random.Random(op.get("spelling", 0))
    text = Text(rand)
    request: dict[str, Any] = {}
    if op.get("capacity"):
        request["ReturnConsumedCapacity"] = rand.choice(("TOTAL", "INDEXES"))
    do = op["do"]
    if do == "batch_write":
        groups = [
            {"PutRequest": {"Item": item_to_wire(item, rand)}} if verb == "put" else {"DeleteRequest": {"Key": item_to_wire(item, rand)}}
            for verb, item in op["requests"]
        ]
        return {**request, "RequestItems": {name: groups}}
    if do == "batch_get":
        wanted: dict[str, Any] = {"Keys": [item_to_wire(key, rand) for key in op["keys"]]}
        if op.get("consistent"):
            wanted["ConsistentRead"] = True
        if "projection" in op:
            wanted["ProjectionExpression"] = ", ".join([text.path(path) for path in op["projection"]])
            wanted.update(text.parameters())
        return {**request, "RequestItems": {name: wanted}}
    if do in ("transact_write", "transact_get"):
        if "token" in op:
            request["ClientRequestToken"] = op["token"]
        parts = [
            ({"Get": one} if do == "transact_get" else {_ACTION[one["do"]]: one}) for one in op["actions" if "actions" in op else "gets"]
        ]
        return {**request, "TransactItems": [{kind: _part(name, one, rand)} for part in parts for kind, one in part.items()]}
    request["TableName"] = name
    if do in ("create_index", "delete_index"):
        return _index_change(name, op)
    if "index" in op:
        request["IndexName"] = op["index"]
    if "item" in op:
        request["Item"] = item_to_wire(op["item"], rand)
    if "key" in op:
        request["Key"] = item_to_wire(op["key"], rand)
    _write_parameters(op, request, text)
    _read_parameters(table, op, request, text)
    request.update(text.parameters())
    return request


def _index_change(name: str, op: Op) -> dict[str, Any]:
    if op["do"] == "delete_index":
        return {"TableName": name, "GlobalSecondaryIndexUpdates": [{"Delete": {"IndexName": op["index"]}}]}
    index: Index = op["of"]
    kinds = {None: {"ProjectionType": "ALL"}, (): {"ProjectionType": "KEYS_ONLY"}}
    made = {
        "IndexName": op["index"],
        "KeySchema": [{"AttributeName": key, "KeyType": kind} for key, kind in zip(index.keys, ("HASH", "RANGE"), strict=False)],
        "Projection": kinds.get(index.more) or {"ProjectionType": "INCLUDE", "NonKeyAttributes": list(index.more or ())},
    }
    defined = [{"AttributeName": key, "AttributeType": kind} for key, kind in index.attributes]
    return {"TableName": name, "AttributeDefinitions": defined, "GlobalSecondaryIndexUpdates": [{"Create": made}]}


def _part(name: str, op: Op, rand: random.Random) -> dict[str, Any]:
    """One item of a transaction: its expressions share no names or values with another's."""
    text = Text(rand)
    part: dict[str, Any] = {"TableName": name}
    for member, field in (("Item", "item"), ("Key", "key")):
        if field in op:
            part[member] = item_to_wire(op[field], rand)
    if "changes" in op:
        part["UpdateExpression"] = text.update(op["changes"])
    if "condition" in op:
        part["ConditionExpression"] = text.condition(op["condition"])
    if "on_failure" in op:
        part["ReturnValuesOnConditionCheckFailure"] = op["on_failure"]
    if "projection" in op:
        part["ProjectionExpression"] = ", ".join([text.path(path) for path in op["projection"]])
    return {**part, **text.parameters()}


def _write_parameters(op: Op, request: dict[str, Any], text: Text) -> None:
    if "return" in op:
        request["ReturnValues"] = op["return"]
    if "on_failure" in op:
        request["ReturnValuesOnConditionCheckFailure"] = op["on_failure"]
    if "condition" in op:
        request["ConditionExpression"] = text.condition(op["condition"])
    if "expected" in op:
        request["Expected"], join = _terms(*op["expected"], text.rand)
        if join:
            request["ConditionalOperator"] = join
    if op["do"] != "update":
        return
    if not op.get("legacy"):
        request["UpdateExpression"] = text.update(op["changes"])
    elif op["changes"] or text.rand.random() < 0.5:
        updates = request["AttributeUpdates"] = {}
        for change in op["changes"]:
            action = {"SET": "PUT", "REMOVE": "DELETE"}.get(change[0], change[0])
            updates[change[1][0]] = {"Action": action}
            if change[0] != "REMOVE":
                value = change[2][1] if change[0] == "SET" else change[2]
                updates[change[1][0]]["Value"] = to_wire(value, text.rand)


def _terms(terms: list[tuple[str, str, list[Value]]], join: str | None, rand: random.Random) -> tuple[dict[str, Any], str | None]:
    written: dict[str, Any] = {}
    for name, operator, values in terms:
        written[name] = {"ComparisonOperator": operator}
        if values:
            written[name]["AttributeValueList"] = [to_wire(value, rand) for value in values]
    return written, join


def _read_parameters(table: Table, op: Op, request: dict[str, Any], text: Text) -> None:
    if op.get("consistent"):
        request["ConsistentRead"] = True
    if "projection" in op:
        request["ProjectionExpression"] = ", ".join([text.path(path) for path in op["projection"]])
    if op["do"] not in ("query", "scan", "index_query", "index_scan"):
        return
    if "filter" in op:
        request["FilterExpression"] = text.condition(op["filter"])
    if op.get("count_only"):
        request["Select"] = "COUNT"
    if "limit" in op:
        request["Limit"] = op["limit"]
    if op["do"] in ("scan", "index_scan"):
        if "filtered" in op:
            request["ScanFilter"], join = _terms(*op["filtered"], text.rand)
            if join:
                request["ConditionalOperator"] = join
        return
    if op.get("reverse"):
        request["ScanIndexForward"] = False
    if "start" in op:
        request["ExclusiveStartKey"] = item_to_wire(op["start"], text.rand)
    _key_condition(table, op, request, text)


_OLD_WORDS = {"=": "EQ", "<": "LT", "<=": "LE", ">": "GT", ">=": "GE", "BETWEEN": "BETWEEN", "begins_with": "BEGINS_WITH"}


def _key_condition(table: Table, op: Op, request: dict[str, Any], text: Text) -> None:
    pk, sk, lacking = table.pk, table.sk, "sk"
    if "index" in op:
        index = table.indexes.get(op["index"]) or Index(("g", "S"), None, None)
        pk, sk, lacking = index.hash, index.sort, "g" if index.hash[0] == "h" else "h"
    terms = [(pk[0], "=", [op["pk"]])]
    if "sort" in op:
        # a table without sort key is asked for one that it does not have
        terms.append((lacking if sk is None else sk[0], *op["sort"]))
    if "filtered" in op:
        old = [(name, _OLD_WORDS[operator], values) for name, operator, values in terms]
        request["KeyConditions"], _ = _terms(old, None, text.rand)
        request["QueryFilter"], join = _terms(*op["filtered"], text.rand)
        if join:
            request["ConditionalOperator"] = join
        return
    parts = []
    for name, operator, values in terms:
        path, written = text.path((name,)), [text.value(value) for value in values]
        if operator == "BETWEEN":
            parts.append(f"{path} BETWEEN {written[0]} AND {written[1]}")
        elif operator == "begins_with":
            parts.append(f"begins_with({path}, {written[0]})")
        else:
            parts.append(f"{path} {operator} {written[0]}")
    text.rand.shuffle(parts)
    request["KeyConditionExpression"] = " AND ".join(parts)
