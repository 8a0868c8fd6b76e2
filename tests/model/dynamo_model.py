"""DynamoDB's documented semantics for items, written a second time and plainly: dicts, `decimal`, sorted lists, and no code of the service.

Expressions come as trees (below) and are evaluated as they are; only the generator turns them into text, and nothing here reads text. Faults are told by
error name, not by message (tests/contract/api has those). Not covered: limits of size, tables themselves but for their global indexes, recovery, authentication.

    value      (type, payload): N a Decimal, B bytes, sets frozensets, L a tuple, M a dict
    path       ("a", "b", 1): names and list indexes
    operand    ("path", path) | ("value", value) | ("size", path)
    condition  ("and" | "or", [condition, ...]) | ("not", condition) | ("compare", "<", operand, operand) | ("between", operand, low, high)
               | ("in", operand, [operand, ...]) | ("exists" | "missing", path) | ("type", path, "S") | ("begins" | "contains", path, operand)
    change     ("SET", path, source) | ("REMOVE", path) | ("ADD" | "DELETE", path, value)
    source     operand | ("+" | "-", source, source) | ("if_not_exists", path, source) | ("list_append", source, source)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Context, Decimal
from typing import Any, NamedTuple

from tests.model.stated import as_request

Value = tuple[str, Any]
Item = dict[str, Value]
Path = tuple[Any, ...]
Tree = tuple[Any, ...]

VALIDATION = "ValidationException"
CONDITION = "ConditionalCheckFailedException"
DUPLICATE = "DuplicateItemException"
CANCELLED = "TransactionCanceledException"
MISMATCH = "IdempotentParameterMismatchException"
_CODES = {CONDITION: "ConditionalCheckFailed", DUPLICATE: "DuplicateItem"}
EXACT = Context(prec=600)
SCALARS = ("S", "N", "B")
SETS = {"SS": "S", "NS": "N", "BS": "B"}


Reason = tuple[str, Item | None]
"""Of one item of a transaction: why it was cancelled ("None": not because of this one), and the item that is shown."""


class Refused(Exception):
    """An error answer. name: of the error. item: what ReturnValuesOnConditionCheckFailure shows. reasons: of a transaction that is cancelled, in order; as far as they are documented: up to the first where some
    are nothing of their table."""

    def __init__(self, name: str, item: Item | None = None, reasons: Sequence[Reason] = ()) -> None:
        super().__init__(name)
        self.name = name
        self.item = item
        self.reasons = list(reasons)


class EmptyKey(Refused):
    """A key attribute, of the table or of an index, is an empty string or binary: that is said of a whole transaction."""


def invalid() -> Refused:
    return Refused(VALIDATION)


# --- values --------------------------------------------------------------------------------------------------------------------------------


def storable(number: Decimal) -> bool:
    """At most 38 digits, 1E-130 to 9.9...E+125, or zero."""
    number = number.normalize(EXACT)
    return not number or (len(number.as_tuple().digits) <= 38 and -130 <= number.adjusted() <= 125)


def size_of_number(number: Decimal) -> int:
    """A byte for the exponent, one for every two digits on each side of the point, one for the minus sign; zeros at the ends do not count."""
    number = number.normalize(EXACT)
    if not number:
        return 1
    sign, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    before = max(0, len(digits) + exponent)
    pairs = (len(digits) + 1) // 2 if exponent >= 0 or before == 0 else (before + 1) // 2 + (len(digits) - before + 1) // 2
    return 1 + pairs + sign


def size_of(value: Value) -> int:
    kind, payload = value
    if kind == "S":
        return len(payload.encode())
    if kind == "B":
        return len(payload)
    if kind == "N":
        return size_of_number(payload)
    if kind in ("BOOL", "NULL"):
        return 1
    if kind == "L":
        return 3 + sum(1 + size_of(element) for element in payload)
    if kind == "M":
        return 3 + sum(1 + len(name.encode()) + size_of(element) for name, element in payload.items())
    return sum(size_of((SETS[kind], element)) for element in payload)


def size_of_item(item: Item | None) -> int:
    return sum(len(name.encode()) + size_of(value) for name, value in (item or {}).items())


def read_units(size: int, consistent: bool) -> float:
    units = max(1, -(-size // 4096))
    return float(units) if consistent else units / 2


def write_units(*items: Item | None) -> float:
    return float(max(1, -(-max(map(size_of_item, items)) // 1024)))


class Units(NamedTuple):
    """What a request consumed: of the table, and of each index that it touched."""

    table: float
    indexes: dict[str, float]

    @property
    def total(self) -> float:
        return self.table + sum(self.indexes.values())


def added(many: Iterable[Units], times: int = 1) -> Units:
    """All together, each so many times."""
    table, indexes = 0.0, dict[str, float]()
    for one in many:
        table += times * one.table
        for name, units in one.indexes.items():
            indexes[name] = indexes.get(name, 0.0) + times * units
    return Units(table, indexes)


# --- paths ---------------------------------------------------------------------------------------------------------------------------------


def look(item: Item, path: Path) -> Value | None:
    value: Value | None = ("M", item)
    for step in path:
        if value is None:
            return None
        kind, payload = value
        if isinstance(step, int):
            value = payload[step] if kind == "L" and step < len(payload) else None
        else:
            value = payload.get(step) if kind == "M" else None
    return value


def check_apart(paths: Sequence[Path]) -> None:
    """No path may lead to or through another, and none may take for a list what another takes for a map."""
    for at, one in enumerate(paths):
        for two in paths[:at]:
            for left, right in zip(one, two, strict=False):
                if isinstance(left, int) != isinstance(right, int):
                    raise invalid()
                if left != right:
                    break
            else:
                raise invalid()


def project(item: Item, paths: Iterable[Path]) -> Item:
    """What lies at `paths`; elements of lists close up, and containers of which nothing is asked do not show."""
    wanted: dict[Any, Any] = {}
    for path in paths:
        if look(item, path) is not None:
            place = wanted
            for step in path[:-1]:
                place = place.setdefault(step, {})
            place[path[-1]] = None

    def cut(value: Value, below: dict[Any, Any] | None) -> Value:
        if below is None:
            return value
        if value[0] == "L":
            return "L", tuple(cut(value[1][index], below[index]) for index in sorted(below))
        return "M", {name: cut(value[1][name], rest) for name, rest in below.items()}

    shown: Item = cut(("M", item), wanted)[1]
    return shown


# --- conditions ----------------------------------------------------------------------------------------------------------------------------


def operand(tree: Tree, item: Item) -> Value | None:
    if tree[0] == "value":
        value: Value = tree[1]
        return value
    value_there = look(item, tree[1])
    if tree[0] == "path" or value_there is None:
        return value_there
    kind, payload = value_there
    if kind in ("N", "BOOL", "NULL"):
        return None
    return "N", Decimal(len(payload.encode("utf-16-le")) // 2 if kind == "S" else len(payload))


def ordered(left: Value | None, right: Value | None) -> bool:
    return left is not None and right is not None and left[0] == right[0] and left[0] in SCALARS


def rank(value: Value) -> Any:
    return value[1].encode() if value[0] == "S" else value[1]


def less(left: Value, right: Value) -> bool:
    return bool(rank(left) < rank(right))


def compare(operator: str, left: Value | None, right: Value | None) -> bool:
    if operator == "=":
        return left is not None and left == right
    if operator == "<>":
        return left is None or left != right
    if not ordered(left, right):
        return False
    assert left is not None
    assert right is not None
    if operator == "<":
        return less(left, right)
    if operator == "<=":
        return not less(right, left)
    return less(right, left) if operator == ">" else not less(left, right)


def begins(value: Value | None, prefix: Value | None) -> bool:
    if value is None or prefix is None or value[0] != prefix[0] or value[0] not in ("S", "B"):
        return False
    return bool(value[1][: len(prefix[1])] == prefix[1])


def contains(value: Value | None, wanted: Value | None) -> bool:
    if value is None or wanted is None:
        return False
    kind, payload = value
    if kind in ("S", "B"):
        return wanted[0] == kind and wanted[1] in payload
    if kind in SETS:
        return wanted[0] == SETS[kind] and wanted[1] in payload
    return kind == "L" and wanted in payload


def holds(tree: Tree, item: Item) -> bool:
    """Whether an item ({}: there is none) meets a condition."""
    kind = tree[0]
    if kind == "and":
        return all(holds(term, item) for term in tree[1])
    if kind == "or":
        return any(holds(term, item) for term in tree[1])
    if kind == "not":
        return not holds(tree[1], item)
    if kind == "compare":
        return compare(tree[1], operand(tree[2], item), operand(tree[3], item))
    if kind == "between":
        value, low, high = (operand(one, item) for one in tree[1:])
        return compare("<=", low, value) and compare("<=", value, high)
    if kind == "in":
        value = operand(tree[1], item)
        return value is not None and any(operand(one, item) == value for one in tree[2])
    if kind == "exists":
        return look(item, tree[1]) is not None
    if kind == "missing":
        return look(item, tree[1]) is None
    if kind == "type":
        return (look(item, tree[1]) or ("",))[0] == tree[2]
    value, other = look(item, tree[1]), operand(tree[2], item)
    return begins(value, other) if kind == "begins" else contains(value, other)


def known_type(tree: Tree) -> str | None:
    """The type an operand has whatever the item is."""
    if tree[0] == "value":
        kind: str = tree[1][0]
        return kind
    return "N" if tree[0] == "size" else None


def check_condition(tree: Tree) -> None:
    """Raise what DynamoDB refuses before it looks at any item."""
    kind = tree[0]
    if kind in ("and", "or"):
        for term in tree[1]:
            check_condition(term)
    elif kind == "not":
        check_condition(tree[1])
    elif kind == "compare":
        operands = list(tree[2:])
        _check_distinct(operands)
        if tree[1] not in ("=", "<>"):
            _check_scalars(operands)
    elif kind == "between":
        _check_distinct(list(tree[1:]))
        _check_scalars(list(tree[1:]))
        low, high = tree[2], tree[3]
        if low[0] == high[0] == "value" and (low[1][0] != high[1][0] or less(high[1], low[1])):
            raise invalid()
    elif kind == "in":
        _check_distinct([tree[1], *tree[2]])
    elif kind == "begins":
        if known_type(tree[2]) not in (None, "S", "B"):
            raise invalid()
        _check_distinct([("path", tree[1]), tree[2]])
    elif kind == "contains":
        _check_distinct([("path", tree[1]), tree[2]])


def _check_distinct(operands: list[Tree]) -> None:
    if operands[0][0] == "path" and operands[0] in operands[1:]:
        raise invalid()


def _check_scalars(operands: list[Tree]) -> None:
    if any(known_type(one) not in (None, *SCALARS) for one in operands):
        raise invalid()


def paths_of(tree: Any) -> list[Path]:
    """Every path in a condition or source."""
    if isinstance(tree, list):
        return [path for one in tree for path in paths_of(one)]
    kind = tree[0]
    if kind in ("path", "size", "exists", "missing", "type"):
        return [tree[1]]
    if kind in ("begins", "contains", "if_not_exists"):
        return [tree[1], *paths_of(tree[2])]
    if kind == "value":
        return []
    return [path for one in tree[1:] if not isinstance(one, str) for path in paths_of(one)]


# --- updates -------------------------------------------------------------------------------------------------------------------------------


def source(tree: Tree, item: Item) -> Value:
    kind = tree[0]
    if kind in ("+", "-"):
        left, right = source(tree[1], item), source(tree[2], item)
        if left[0] != "N" or right[0] != "N":
            raise invalid()
        total = EXACT.add(left[1], right[1]) if kind == "+" else EXACT.subtract(left[1], right[1])
        if not storable(total):
            raise invalid()
        return "N", total
    if kind == "if_not_exists":
        there = look(item, tree[1])
        return source(tree[2], item) if there is None else there
    if kind == "list_append":
        head, tail = source(tree[1], item), source(tree[2], item)
        if head[0] != "L" or tail[0] != "L":
            raise invalid()
        return "L", head[1] + tail[1]
    value = operand(tree, item)
    if value is None:
        raise invalid()
    return value


def check_source(tree: Tree) -> None:
    """Raise what is refused of a SET before any item is seen."""
    kind = tree[0]
    if kind in ("+", "-", "list_append"):
        wanted = "L" if kind == "list_append" else "N"
        for one in tree[1:]:
            check_source(one)
            if (known_type(one) or ("L" if one[0] == "list_append" else None)) not in (None, wanted):
                raise invalid()
    elif kind == "if_not_exists":
        check_source(tree[2])


def check_changes(changes: Sequence[Tree], keys: Sequence[str]) -> None:
    check_apart([change[1] for change in changes])
    for change in changes:
        if change[1][0] in keys:
            raise invalid()
        if change[0] == "SET":
            check_source(change[2])
            if any(len(path) > 1 and path[0] in keys for path in paths_of(change[2])):
                raise invalid()
        elif change[0] in ("ADD", "DELETE") and change[2][0] not in SETS and not (change[0] == "ADD" and change[2][0] == "N"):
            raise invalid()


def combined(section: str, old: Value | None, value: Value) -> Value | None:
    """ADD and DELETE."""
    if old is None:
        return value if section == "ADD" else None
    if old[0] != value[0]:
        raise invalid()
    kind, payload = old
    if kind == "N":
        total = EXACT.add(payload, value[1])
        if not storable(total):
            raise invalid()
        return kind, total
    if kind == "L":
        return kind, payload + value[1]
    left = payload | value[1] if section == "ADD" else payload - value[1]
    return (kind, left) if left else None


class _Cell:
    """A place in the item under change. value: None for nothing; a list's or map's places are cells of their own."""

    def __init__(self, value: Value | None) -> None:
        self.kind = value[0] if value is not None else None
        self.plain = value
        self.below: Any = None
        if value is not None and value[0] == "L":
            self.below = [_Cell(one) for one in value[1]]
        elif value is not None and value[0] == "M":
            self.below = {name: _Cell(one) for name, one in value[1].items()}

    def freeze(self) -> Value | None:
        if self.kind == "L":
            return "L", tuple(one for one in (cell.freeze() for cell in self.below) if one is not None)
        if self.kind == "M":
            return "M", {name: one for name, one in ((name, cell.freeze()) for name, cell in self.below.items()) if one is not None}
        return self.plain


def changed(item: Item, changes: Sequence[Tree], *, exists: bool) -> Item:
    """The item after an update: everything is read from what was; indexes mean those of the old lists."""
    results: list[tuple[Path, Value | None]] = []
    for change in changes:
        section, path = change[0], change[1]
        if section == "SET":
            results.append((path, source(change[2], item)))
        elif section == "REMOVE":
            results.append((path, None))
        else:
            results.append((path, combined(section, look(item, path), change[2])))
    root = _Cell(("M", item))
    appended: list[tuple[_Cell, int, Value]] = []
    for (path, value), change in zip(results, changes, strict=True):
        if not exists and len(path) > 1 and change[0] == "REMOVE":
            continue
        cell = root
        for step in path[:-1]:
            cell = _step(cell, step)
        last = path[-1]
        if cell.kind != ("L" if isinstance(last, int) else "M"):
            raise invalid()
        if isinstance(last, str) or last < len(cell.below):
            cell.below[last] = _Cell(value)
        elif value is not None:
            appended.append((cell, last, value))
    for cell, _, value in sorted(appended, key=lambda one: one[1]):
        cell.below.append(_Cell(value))
    frozen = root.freeze()
    assert frozen is not None
    new: Item = frozen[1]
    return new


def _step(cell: _Cell, step: Any) -> _Cell:
    if isinstance(step, int):
        if cell.kind == "L" and step < len(cell.below):
            below: _Cell = cell.below[step]
            return below
    elif cell.kind == "M" and step in cell.below:
        return cell.below[step]
    raise invalid()


# --- tables --------------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Index:
    """A global index. hash, sort: (name, type). more: attributes beside the keys that it has; None: all."""

    hash: tuple[str, str]
    sort: tuple[str, str] | None
    more: tuple[str, ...] | None

    @property
    def attributes(self) -> list[tuple[str, str]]:
        return [self.hash] if self.sort is None else [self.hash, self.sort]

    def sound(self, item: Item) -> list[bool]:
        """Whether an item has each key as an index can hold it."""
        return [sound_key(item.get(name), kind, longest) for (name, kind), longest in zip(self.attributes, (2048, 1024), strict=False)]

    @property
    def keys(self) -> list[str]:
        return [name for name, _ in self.attributes]

    def row(self, item: Item | None, keys: Sequence[str]) -> Item | None:
        """What it has of an item, if the item is in it. keys: the table's."""
        if item is None or not all(self.sound(item)):
            return None
        return {name: value for name, value in item.items() if self.has(name, keys)}

    def has(self, name: str, keys: Sequence[str]) -> bool:
        return self.more is None or name in (*keys, *self.keys, *self.more)

    def units(self, old: Item | None, new: Item | None, keys: Sequence[str]) -> float | None:
        """Of a write of an item; None: none of its rows changed. One whose key changed is taken away and made."""
        before, after = self.row(old, keys), self.row(new, keys)
        if before == after:
            return None
        if before is not None and after is not None and all(before[name] == after[name] for name in self.keys):
            return write_units(before, after)
        return sum([write_units(one) for one in (before, after) if one is not None])


def sound_key(value: Value | None, kind: str, longest: int) -> bool:
    """longest: in bytes."""
    return value is not None and value[0] == kind and (kind == "N" or bool(value[1])) and size_of(value) <= longest


@dataclass
class Table:
    """pk, sk: (name, type); sk None for a table without sort key. rows: by key values. indexes: global ones, by name."""

    pk: tuple[str, str]
    sk: tuple[str, str] | None
    rows: dict[tuple[Any, Any], Item] = field(default_factory=dict)
    tokens: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Of transactions that were done: what was asked for."""
    indexes: dict[str, Index] = field(default_factory=dict)

    @property
    def keys(self) -> list[str]:
        return [self.pk[0]] if self.sk is None else [self.pk[0], self.sk[0]]

    def key_of(self, item: Item) -> tuple[Any, Any]:
        """Raises Refused unless the item has sound key attributes."""
        for (name, kind), longest in zip((self.pk, *([] if self.sk is None else [self.sk])), (2048, 1024), strict=False):
            value = item.get(name)
            if value is not None and value[0] == kind and kind in ("S", "B") and not value[1]:
                raise EmptyKey(VALIDATION)
            if value is None or value[0] != kind or size_of(value) > longest:
                raise invalid()
        return item[self.pk[0]][1], None if self.sk is None else item[self.sk[0]][1]

    def exact_key(self, key: Item) -> tuple[Any, Any]:
        if len(key) != len(self.keys):
            raise invalid()
        return self.key_of(key)

    def check_paths(self, paths: Iterable[Path]) -> None:
        scalars = {*self.keys, *[name for index in self.indexes.values() for name in index.keys]}
        if any(len(path) > 1 and path[0] in scalars for path in paths):
            raise invalid()

    def check(self, condition: Tree | None) -> None:
        if condition is not None:
            check_condition(condition)
            self.check_paths(paths_of(condition))

    def group(self, pk: Any) -> list[Item]:
        """The rows of one partition key, by sort key."""
        rows = [(key, item) for key, item in self.rows.items() if key[0] == pk]
        if self.sk is None:
            return [item for _, item in rows]
        kind = self.sk[1]
        return [item for _, item in sorted(rows, key=lambda row: rank((kind, row[0][1])))]

    # -- what indexes ask of writes

    def check_index_keys(self, item: Item) -> None:
        """An attribute that is a key of an index has its type, is not empty, and not too long. Items from before the index may lack either, until they are written."""
        for index in self.indexes.values():
            for name, kind in (one for one, sound in zip(index.attributes, index.sound(item), strict=True) if one[0] in item and not sound):
                raise EmptyKey(VALIDATION) if item[name] in ((kind, ""), (kind, b"")) else invalid()

    def check_index_changes(self, changes: Sequence[Tree]) -> None:
        """What an update would make of a key of an index whatever the item is."""
        self.check_paths([path for change in changes for path in (change[1], *(paths_of(change[2]) if change[0] == "SET" else ()))])
        kinds = {name: kind for index in self.indexes.values() for name, kind in index.attributes}
        for change in changes:
            value = change[2] if change[0] == "ADD" else change[2][1] if change[0] == "SET" and change[2][0] == "value" else None
            if len(change[1]) == 1 and value is not None and value[0] != kinds.get(change[1][0], value[0]):
                raise invalid()

    def written(self, old: Item | None, new: Item | None) -> Units:
        units = {name: index.units(old, new, self.keys) for name, index in self.indexes.items()}
        return Units(write_units(old, new), {name: one for name, one in units.items() if one is not None})

    # -- operations; each returns the parts of the answer as values of this module

    def put(self, op: dict[str, Any]) -> dict[str, Any]:
        op = as_request(op, self.keys)
        condition, item = op.get("condition"), op["item"]
        self.check(condition)
        key = self.key_of(item)
        self.check_index_keys(item)
        old = self.rows.get(key)
        self._test(op, condition, old)
        self.rows[key] = item
        return {"attributes": old if op.get("return") == "ALL_OLD" else None, "units": self.written(old, item)}

    def delete(self, op: dict[str, Any]) -> dict[str, Any]:
        op = as_request(op, self.keys)
        condition = op.get("condition")
        self.check(condition)
        key = self.exact_key(op["key"])
        old = self.rows.get(key)
        self._test(op, condition, old)
        self.rows.pop(key, None)
        return {"attributes": old if op.get("return") == "ALL_OLD" else None, "units": self.written(old, None)}

    def update(self, op: dict[str, Any]) -> dict[str, Any]:
        op = as_request(op, self.keys)
        condition, changes = op.get("condition"), op["changes"]
        if not op.get("legacy"):
            check_changes(changes, self.keys)
        elif any(change[1][0] in self.keys for change in changes):
            raise invalid()
        self.check_index_changes(changes)
        self.check(condition)
        key = self.exact_key(op["key"])
        old = self.rows.get(key)
        self._test(op, condition, old)
        new: Item | None
        if old is None and changes and all(change[0] in ("REMOVE", "DELETE") for change in changes):
            new = None  # what only removes makes no item
        else:
            new = changed(op["key"] if old is None else old, changes, exists=old is not None)
            if new != old:
                self.check_index_keys(new)
            self.rows[key] = new
        wanted, paths = op.get("return", "NONE"), [change[1] for change in changes]
        shown = {
            "NONE": None,
            "ALL_OLD": old,
            "ALL_NEW": new,
            "UPDATED_OLD": old and project(old, paths),
            "UPDATED_NEW": new and project(new, paths),
        }[wanted]
        return {"attributes": shown or None, "units": self.written(old, new)}

    def _test(self, op: dict[str, Any], condition: Tree | None, old: Item | None) -> None:
        if condition is not None and not holds(condition, old or {}):
            raise Refused(DUPLICATE if op.get("inserts") else CONDITION, old if op.get("on_failure") == "ALL_OLD" else None)

    def get(self, op: dict[str, Any]) -> dict[str, Any]:
        paths = op.get("projection")
        self._check_projection(paths)
        item = self.rows.get(self.exact_key(op["key"]))
        shown = item if item is None or paths is None else project(item, paths)
        return {"item": shown, "units": Units(read_units(size_of_item(item), op.get("consistent", False)), {})}

    def _check_projection(self, paths: Sequence[Path] | None) -> None:
        if paths is not None:
            check_apart(paths)
            self.check_paths(paths)

    def query(self, op: dict[str, Any]) -> dict[str, Any]:
        """sort: (operator, values) on the sort key, or None. start: the key to go on after."""
        condition, paths, sort = op.get("filter"), op.get("projection"), op.get("sort")
        if condition is not None:
            check_condition(condition)
            if any(path[0] in self.keys for path in paths_of(condition)):
                raise invalid()
            self.check_paths(paths_of(condition))
        self._check_projection(paths)
        pk_name, pk_kind = self.pk
        if op["pk"][0] != pk_kind:
            raise invalid()
        self.key_of({pk_name: op["pk"], **({} if self.sk is None else {self.sk[0]: (self.sk[1], _ANY[self.sk[1]])})})
        rows = self.group(op["pk"][1])
        if sort is not None:
            rows = self._sorted_by(rows, *sort)
        if op.get("reverse"):
            rows.reverse()
        start = op.get("start")
        if start is not None:
            rows = self._after(rows, op, start)
        return self.page(rows, op)

    def _sorted_by(self, rows: list[Item], operator: str, values: list[Value], *, index: Index | None = None) -> list[Item]:
        sort = self.sk if index is None else index.sort
        if sort is None:
            raise invalid()
        name, kind = sort
        for value in values:
            if value[0] != kind or (kind in ("S", "B") and not value[1]):
                raise invalid()
        if operator == "BETWEEN":
            if less(values[1], values[0]):
                raise invalid()
            return [row for row in rows if compare("<=", values[0], row[name]) and compare("<=", row[name], values[1])]
        if operator == "begins_with":
            if kind == "N":
                raise invalid()
            return [row for row in rows if begins(row[name], values[0])]
        return [row for row in rows if compare(operator, row[name], values[0])]

    def _after(self, rows: list[Item], op: dict[str, Any], start: Item) -> list[Item]:
        key = self.exact_key(start)
        if start[self.pk[0]] != op["pk"]:
            raise invalid()
        if self.sk is None:
            return []
        if op.get("sort") is not None and not self._sorted_by([start], *op["sort"]):
            raise invalid()
        kind = self.sk[1]
        after = (kind, key[1])
        name = self.sk[0]
        return [row for row in rows if (less(row[name], after) if op.get("reverse") else less(after, row[name]))]

    def page(self, rows: list[Item], op: dict[str, Any]) -> dict[str, Any]:
        """The first page of `rows`. The last key is there when the limit was reached, even if nothing follows."""
        limit, condition, paths = op.get("limit"), op.get("filter"), op.get("projection")
        seen = rows if limit is None else rows[:limit]
        found = [row for row in seen if condition is None or holds(condition, row)]
        last = None if limit is None or len(seen) < limit else {name: seen[-1][name] for name in self.keys}
        return {
            "items": None if op.get("count_only") else [row if paths is None else project(row, paths) for row in found],
            "count": len(found),
            "scanned": len(seen),
            "last": last,
            "units": Units(read_units(sum(map(size_of_item, seen)), op.get("consistent", False)), {}),
        }

    def check_scan(self, op: dict[str, Any]) -> None:
        """Scans have no order a model could know: the caller pages through one and compares the whole."""
        self.check(op.get("filter"))
        self._check_projection(op.get("projection"))

    # -- global indexes

    def create_index(self, op: dict[str, Any]) -> dict[str, Any]:
        """index: its name. of: an Index."""
        if op["index"] in self.indexes:
            raise invalid()
        self.indexes[op["index"]] = op["of"]
        return {"indexes": sorted(self.indexes)}

    def delete_index(self, op: dict[str, Any]) -> dict[str, Any]:
        names = sorted(self.indexes)
        if self.indexes.pop(op["index"], None) is None:
            raise Refused("ResourceNotFoundException")
        return {"indexes": names}

    def index_rows(self, op: dict[str, Any]) -> list[Item]:
        """The rows that an index_query or index_scan goes through, unordered. Raises Refused."""
        index = self.indexes.get(op["index"])
        if index is None:
            raise invalid()
        condition, paths = op.get("filter"), op.get("projection")
        if condition is not None:
            check_condition(condition)
        asked = op["do"] == "index_query"
        named = [path[0] for path in paths or ()]
        if asked and condition is not None:
            filtered = [path[0] for path in paths_of(condition)]
            if any(name in index.keys for name in filtered):
                raise invalid()
            named += filtered
        if not all(index.has(name, self.keys) for name in named):
            raise invalid()
        if paths is not None:
            check_apart(paths)
        self.check_paths([*(paths or ()), *([] if condition is None else paths_of(condition))])
        rows = [row for row in (index.row(item, self.keys) for item in self.rows.values()) if row is not None]
        if not asked:
            return rows
        name, kind = index.hash
        if not sound_key(op["pk"], kind, 2048):
            raise invalid()
        rows = [row for row in rows if row[name] == op["pk"]]
        return rows if op.get("sort") is None else self._sorted_by(rows, *op["sort"], index=index)

    def batch_write(self, op: dict[str, Any]) -> dict[str, Any]:
        """requests: ("put", item) or ("delete", key)."""
        planned: list[tuple[tuple[Any, Any], Item | None]] = []
        for verb, item in op["requests"]:
            planned.append((self.key_of(item), item) if verb == "put" else (self.exact_key(item), None))
            if verb == "put":
                self.check_index_keys(item)
        if len({key for key, _ in planned}) != len(planned):
            raise invalid()
        units = []
        for key, item in planned:
            units.append(self.written(self.rows.get(key), item))
            if item is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = item
        return {"units": added(units)}

    def batch_get(self, op: dict[str, Any]) -> dict[str, Any]:
        self._check_projection(op.get("projection"))
        keys = [self.exact_key(key) for key in op["keys"]]
        if len(set(keys)) != len(keys):
            raise invalid()
        answers = [self.get({**op, "key": key}) for key in op["keys"]]
        return {"items": [one["item"] for one in answers if one["item"] is not None], "units": added([one["units"] for one in answers])}

    # -- transactions

    def transact_write(self, op: dict[str, Any]) -> dict[str, Any]:
        """actions: each as a single write, or a "check" with a key and a condition. token: None, or by what it is known."""
        actions, token = op["actions"], op.get("token")
        actions = [as_request({**action, "stated": op.get("stated", False)}, self.keys) for action in actions]
        for action in actions:  # what is nothing by itself, whatever the table is
            if action.get("condition") is not None:
                check_condition(action["condition"])
            check_changes(action.get("changes", ()), ())
        keys = self._all_of([lambda action=action: self._sound(action) for action in actions], op)
        known = None if token is None else self.tokens.get(token)
        if known is not None:
            if known != op:
                raise Refused(MISMATCH)
            return {"units": self._read_together([self.rows.get(key) for key in keys]), "repeated": True}
        olds = [self.rows.get(key) for key in keys]
        news: list[Item | None] = []
        reasons: list[Reason] = []
        for action, old in zip(actions, olds, strict=True):
            try:
                news.append(self._done(action, old))
                reasons.append(("None", None))
            except Refused as refused:
                reasons.append((_CODES.get(refused.name, "ValidationError"), refused.item))
        if len(news) < len(actions):
            raise Refused(CANCELLED, reasons=reasons)
        for key, new in zip(keys, news, strict=True):
            if new is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = new
        if token is not None:
            self.tokens[token] = op
        return {"units": added([self.written(old, new) for old, new in zip(olds, news, strict=True)], times=2)}

    def _read_together(self, rows: Sequence[Item | None]) -> Units:
        return Units(2 * sum(read_units(size_of_item(row), consistent=True) for row in rows), {})

    def _sound(self, action: dict[str, Any]) -> tuple[Any, Any]:
        """Its key. Raises Refused: it is nothing of this table."""
        key = self.key_of(action["item"]) if action["do"] == "put" else self.exact_key(action["key"])
        if action["do"] == "put":
            self.check_index_keys(action["item"])
        check_changes(action.get("changes", ()), self.keys)
        self.check_index_changes(action.get("changes", ()))
        self.check(action.get("condition"))
        return key

    def _done(self, action: dict[str, Any], old: Item | None) -> Item | None:
        """What is there afterwards. Raises Refused."""
        self._test(action, action.get("condition"), old)
        do = action["do"]
        if do == "put":
            item: Item = action["item"]
            return item
        if do != "update":
            return old if do == "check" else None
        changes = action["changes"]
        if old is None and all(change[0] in ("REMOVE", "DELETE") for change in changes):
            return None
        new = changed(action["key"] if old is None else old, changes, exists=old is not None)
        if new != old:
            self.check_index_keys(new)
        return new

    def _all_of(self, sound: Sequence[Callable[[], tuple[Any, Any]]], op: dict[str, Any]) -> list[tuple[Any, Any]]:
        """The keys of all items of a transaction. Raises Refused: one is nothing of this table (of statements that is said of them all), or two are the same."""
        keys: list[tuple[Any, Any]] = []
        failed = -1
        for at, one in enumerate(sound):
            try:
                keys.append(one())
            except EmptyKey:
                raise
            except Refused:
                failed = at if failed < 0 else failed
        if failed >= 0:
            raise invalid() if op.get("stated") else Refused(CANCELLED, reasons=[("None", None)] * failed + [("ValidationError", None)])
        if len(set(keys)) != len(keys):
            raise invalid()
        return keys

    def transact_get(self, op: dict[str, Any]) -> dict[str, Any]:
        """gets: each with a key, and perhaps a projection."""
        for get in op["gets"]:
            check_apart(get.get("projection", ()))

        def sound(get: dict[str, Any]) -> tuple[Any, Any]:
            key = self.exact_key(get["key"])
            self._check_projection(get.get("projection"))
            return key

        keys = self._all_of([lambda get=get: sound(get) for get in op["gets"]], op)
        rows = [self.rows.get(key) for key in keys]
        shown = [
            row if row is None or "projection" not in get else project(row, get["projection"])
            for row, get in zip(rows, op["gets"], strict=True)
        ]
        return {"items": shown, "units": self._read_together(rows)}


_ANY = {"S": "x", "N": Decimal(0), "B": b"x"}
"""A sort key value that is surely sound."""
