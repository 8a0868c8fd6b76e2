"""The same operations to a server and to the model; the first difference, cut down to the operations it needs."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any, Protocol

from scrubjay.storage.api.errors import CANNOT_NOW
from tests.model import generate
from tests.model.dynamo_model import EXACT, Item, Refused, Table, Units, rank
from tests.model.generate import Generator, Op, for_model, operation_of, request_of
from tests.model.wire import item_from_wire


class Subject(Protocol):
    """A server with the tables of `generate.KEYS`."""

    def ask(self, operation: str, request: dict[str, Any]) -> tuple[int, Any]:
        """Status and JSON of one request. Raises Interrupted."""
        ...

    def empty(self, name: str, keys: list[Item]) -> None:
        """Make the table empty again. keys: of the rows it should have."""
        ...


class Interrupted(Exception):
    """The server says by name what it lacks just now (a leader in time): whether a write was done is not known, so nothing more can be said of this table. A 500 without that name
    is an answer like any other, and differs."""


def check_not_interrupted(status: int, answer: Any) -> None:
    """Raises Interrupted."""
    if status == 500 and str(answer.get("message", "")).startswith(CANNOT_NOW):
        raise Interrupted(answer["message"])


class Different(Exception):
    """The server answered otherwise than the model. op: the operation as it was asked."""

    def __init__(self, op: Op, request: dict[str, Any], expected: object, got: object) -> None:
        super().__init__(_short(f"{operation_of(op)} {json.dumps(request)}\n  model:  {expected!r}\n  server: {got!r}"))
        self.op = op


def _short(text: str) -> str:
    """`text` for a person: long runs of one character are counted."""
    return re.sub(r"(.)\1{49,}", lambda run: f"{run[1]}<{len(run[0])} times>", text)


@dataclass
class Failure:
    """seed: of the sequence. table: its name. ops: all that is needed. text: for a person."""

    seed: int
    table: str
    ops: list[Op]
    text: str


_TRIALS = count(1)
"""A server remembers tokens; each trial has its own."""


class Trial:
    """One table and its model, in step."""

    def __init__(self, subject: Subject, name: str) -> None:
        self.subject = subject
        self.name = name
        self.table = Table(*generate.KEYS[name])
        self.outcomes: Counter[str] = Counter()
        self._number = next(_TRIALS)

    def run(self, op: Op) -> None:
        """Raises Different."""
        if op.get("stated") and op["do"] in ("get", "query", "scan"):
            self._all_selected(op)
            return
        if op["do"] in ("scan", "index_scan", "index_query"):
            self._all_pages(op)
            return
        while True:
            request = request_of(self.name, self.table, op)
            if "ClientRequestToken" in request:
                request["ClientRequestToken"] += f"-{self._number}"
            expected = self._expected(op)
            status, answer = self.subject.ask(operation_of(op), request)
            self._compare(op, request, expected, status, answer)
            if op["do"] != "query" or isinstance(expected, Refused) or expected["last"] is None:
                return
            op = {**op, "start": expected["last"]}

    def _expected(self, op: Op) -> Any:
        try:
            outcome = getattr(self.table, op["do"])(for_model(op))
        except Refused as refused:
            self._met(op, refused.name)
            for reason in {code for code, _ in refused.reasons if code != "None"}:
                self._met(op, reason)
            return refused
        self._met(op, "repeated" if outcome.get("repeated") else "done")
        return outcome

    def _met(self, op: Op, outcome: str) -> None:
        self.outcomes[f"{'stated ' if op.get('stated') else ''}{op['do']} {outcome}"] += 1

    def _compare(self, op: Op, request: dict[str, Any], expected: Any, status: int, answer: Any) -> None:
        if isinstance(expected, Refused):
            got: Any = (status, answer.get("__type", "").partition("#")[2], _item(answer.get("Item")))
            wanted: Any = (400, expected.name, expected.item)
            if expected.reasons:
                told = answer.get("CancellationReasons", ())
                got = (*got, len(told), [_reason(one) for one in told[: len(expected.reasons)]])
                wanted = (*wanted, len(op["actions" if "actions" in op else "gets"]), expected.reasons)
        elif status != 200:
            got, wanted = answer, expected
        else:
            got, wanted = self._shown(op, answer, expected), _wanted(op, expected)
        if got != wanted:
            raise Different(op, request, wanted, got)

    def _shown(self, op: Op, answer: Any, expected: dict[str, Any]) -> dict[str, Any]:
        """The answer in the model's terms; whatever it holds beyond them stays in it, and so differs."""
        rest = dict(answer)
        shown: dict[str, Any] = {}
        do = op["do"]
        if do in ("create_index", "delete_index"):
            told = rest.pop("TableDescription")["GlobalSecondaryIndexes"]
            return {"indexes": sorted([one["IndexName"] for one in told]), **rest}
        if op.get("stated") and do in ("put", "delete", "update"):
            items = rest.pop("Items")
            shown["attributes"] = items if len(items) > 1 else _item(items[0]) if items else None
        elif do in ("put", "delete", "update"):
            shown["attributes"] = _item(rest.pop("Attributes", None))
        elif do == "get":
            shown["item"] = _item(rest.pop("Item", None))
        elif do == "query":
            items = rest.pop("Items", None)
            shown["items"] = None if items is None else [item_from_wire(item) for item in items]
            shown["count"], shown["scanned"] = rest.pop("Count"), rest.pop("ScannedCount")
            shown["last"] = _item(rest.pop("LastEvaluatedKey", None))
        elif do.startswith("transact_"):
            if do == "transact_get":
                shown["items"] = [_item(one.get("Item")) for one in rest.pop("Responses")]
            elif op.get("stated") and rest.get("Responses") == []:
                del rest["Responses"]
            member = "WriteCapacityUnits" if do == "transact_write" and not expected.get("repeated") else "ReadCapacityUnits"
            shown["units"] = _transacted_units(rest.pop("ConsumedCapacity", None), self.name, member, expected["units"])
            if "repeated" in expected:
                shown["repeated"] = True
            return {**shown, "rest": rest} if rest else shown
        elif do == "batch_write":
            shown["left"] = rest.pop("UnprocessedItems")
        else:
            shown["left"] = rest.pop("UnprocessedKeys")
            shown["items"] = _unordered([item_from_wire(item) for item in rest.pop("Responses")[self.name]])
        shown["units"] = _units(rest.pop("ConsumedCapacity", None), self.name, expected["units"])
        if rest:
            shown["rest"] = rest
        return shown

    def _all_selected(self, op: Op) -> None:
        """Page through what a SELECT reads; of a scan in whatever order."""
        request, asked = request_of(self.name, self.table, op), {name: value for name, value in op.items() if name != "limit"}
        try:
            if op["do"] == "scan":
                self.table.check_scan(asked)
                whole = self.table.page(list(self.table.rows.values()), asked)
            else:
                whole = getattr(self.table, op["do"])(asked)
        except Refused as refused:
            self._met(op, refused.name)
            status, answer = self.subject.ask(operation_of(op), request)
            self._compare(op, request, refused, status, answer)
            return
        self._met(op, "done")
        wanted = ([] if whole["item"] is None else [whole["item"]]) if op["do"] == "get" else whole["items"]
        items: list[Item] = []
        pages = 0
        while True:
            status, answer = self.subject.ask(operation_of(op), request)
            if status != 200:
                raise Different(op, request, "a page", answer)
            pages += 1
            items += [item_from_wire(item) for item in answer["Items"]]
            if ("NextToken" in answer) != ("LastEvaluatedKey" in answer) or len(answer["Items"]) > op.get("limit", 1 << 30):
                raise Different(op, request, "a token with a key to go on behind, and no more than the limit", answer)
            if "NextToken" not in answer:
                break
            request = {**request, "NextToken": answer["NextToken"]}
        if (_unordered(items) != _unordered(wanted)) if op["do"] == "scan" else (items != wanted):
            raise Different(op, request, wanted, items)
        if pages == 1 and _wanted(op, {"units": whole["units"]})["units"] != _units(
            answer.get("ConsumedCapacity"), self.name, whole["units"]
        ):
            raise Different(op, request, whole["units"], answer.get("ConsumedCapacity"))

    def _rows(self, asked: Op) -> list[Item]:
        """What a scan, or a read of an index, goes through. Raises Refused."""
        if asked["do"] != "scan":
            return self.table.index_rows(asked)
        self.table.check_scan(asked)
        return list(self.table.rows.values())

    def _all_pages(self, op: Op) -> None:
        """Page through every segment; what comes, in whatever order, must be what the model holds. Rows of an index with equal keys have no order either."""
        request = request_of(self.name, self.table, op)
        asked = for_model(op)
        try:
            rows = self._rows(asked)
        except Refused as refused:
            self.outcomes[f"{op['do']} {refused.name}"] += 1
            status, answer = self.subject.ask(operation_of(op), request)
            self._compare(op, request, refused, status, answer)
            return
        self.outcomes[f"{op['do']} done"] += 1
        items, totals, units = self._read_pages(op, request)
        whole = self.table.page(rows, {**asked, "limit": None})
        expected = (whole["count"], whole["scanned"], _unordered(whole["items"] or []))
        got = (totals["count"], totals["scanned"], _unordered(items))
        if got != expected:
            raise Different(op, request, expected, got)
        if op["do"] != "scan" and len(units) == 1 and op.get("capacity"):
            consumed = Units(0.0, {op["index"]: whole["units"].table})
            if _units(units[0], self.name, consumed) != consumed:
                raise Different(op, request, consumed, units[0])
        if "projection" not in op and not op.get("count_only"):
            if op["do"] == "scan":
                self._check_order(op, request, items)
            else:
                self._check_index_order(op, request, items)

    def _read_pages(self, op: Op, request: dict[str, Any]) -> tuple[list[Item], Counter[str], list[Any]]:
        """All that comes; the sums of what is said of each page; the capacity of each."""
        segments = op.get("segments")
        items: list[Item] = []
        totals, units = Counter[str](), list[Any]()
        for segment in range(segments or 1):
            page = dict(request)
            if segments is not None:
                page |= {"Segment": segment, "TotalSegments": segments}
            while True:
                status, answer = self.subject.ask(operation_of(op), page)
                if status != 200:
                    raise Different(op, page, "a page", answer)
                items += [item_from_wire(item) for item in answer.get("Items", ())]
                totals["count"] += answer["Count"]
                totals["scanned"] += answer["ScannedCount"]
                units.append(answer.get("ConsumedCapacity"))
                last = answer.get("LastEvaluatedKey")
                full = answer["ScannedCount"] == op.get("limit")
                if answer["ScannedCount"] > op.get("limit", 1 << 30) or (last is not None) != full:
                    raise Different(op, page, "a last key when the limit is reached, and only then", answer)
                if last is None:
                    break
                page["ExclusiveStartKey"] = last
        return items, totals, units

    def _check_index_order(self, op: Op, request: dict[str, Any], items: list[Item]) -> None:
        """Rows of one hash key come together and by sort key, in a segment."""
        index = self.table.indexes[op["index"]]
        if op.get("segments", 1) > 1:
            return
        places = list(dict.fromkeys([item[index.hash[0]] for item in items]))
        together = [item for place in places for item in items if item[index.hash[0]] == place]
        if together != items:
            raise Different(op, request, "rows of one hash key together", items)
        if index.sort is None:
            return
        name = index.sort[0]
        for place in places:
            values = [rank(item[name]) for item in items if item[index.hash[0]] == place]
            if values != sorted(values, reverse=op.get("reverse", False)):
                raise Different(op, request, "rows by sort key", items)

    def _check_order(self, op: Op, request: dict[str, Any], items: list[Item]) -> None:
        """Rows of one partition key come together and by sort key."""
        groups: dict[Any, list[Item]] = {}
        for item in items:
            groups.setdefault(item[self.table.pk[0]][1], []).append(item)
        together = [item for group in groups.values() for item in group]
        if together != items:
            raise Different(op, request, "rows of one partition key together", items)
        for pk, group in groups.items():
            ordered = [item for item in self.table.group(pk) if item in group]
            if ordered != group:
                raise Different(op, request, ordered, group)


def _wanted(op: Op, expected: dict[str, Any]) -> dict[str, Any]:
    wanted = dict(expected)
    if op["do"] in ("batch_write", "batch_get"):
        wanted["left"] = {}
    if op["do"] == "batch_get":
        wanted["items"] = _unordered(wanted["items"])
    if not op.get("capacity") and "units" in wanted:
        wanted["units"] = None
    return wanted


def _item(obj: Any) -> Item | None:
    return None if obj is None else item_from_wire(obj)


def _unordered(items: list[Item]) -> list[str]:
    return sorted(repr(_sortable(("M", item))) for item in items)


def _sortable(value: Any) -> Any:
    """A form of a value whose text is the same for equal values."""
    kind, payload = value
    if kind == "M":
        return kind, sorted((name, _sortable(one)) for name, one in payload.items())
    if kind == "L":
        return kind, [_sortable(one) for one in payload]
    if kind in ("SS", "BS"):
        return kind, sorted(payload)
    if kind == "NS":
        return kind, sorted(str(number.normalize(EXACT)) if number else "0" for number in payload)
    if kind == "N":
        return kind, str(payload.normalize(EXACT)) if payload else "0"
    return kind, payload


def _units(capacity: Any, name: str, expected: Units) -> Any:
    """`expected`, if the answer's ConsumedCapacity says that, whole or by index; else what it says."""
    if isinstance(capacity, list):
        return _units(capacity[0], name, expected) if len(capacity) == 1 else capacity
    if capacity is None:
        return None
    by_index = {"GlobalSecondaryIndexes": {one: {"CapacityUnits": units} for one, units in expected.indexes.items()}}
    whole = {"TableName": name, "CapacityUnits": expected.total}
    sound = (whole, {**whole, "Table": {"CapacityUnits": expected.table}, **(by_index if expected.indexes else {})})
    return expected if capacity in sound else capacity


def _transacted_units(capacity: Any, name: str, member: str, expected: Units) -> Any:
    """As `_units`; a transaction says as well whether they were read or written."""
    if capacity is None:
        return None
    if len(capacity) != 1:
        return capacity
    told = dict(capacity[0])
    table = dict(told.get("Table", {}))
    if told.pop(member, None) != expected.total or (table and table.pop(member, None) != expected.table):
        return capacity
    return _units({**told, **({"Table": table} if table else {})}, name, expected)


def _reason(told: Any) -> Any:
    """A cancellation reason in the model's terms; whatever it holds beyond them stays in it, and so differs."""
    sound = set(told) <= {"Code", "Message", "Item"} and ("Message" in told) == (told["Code"] != "None")
    return (told["Code"], _item(told.get("Item"))) if sound else told


# --- sequences -----------------------------------------------------------------------------------------------------------------------------


def sequence(subject: Subject, seed: int, outcomes: Counter[str], *, strong: bool = False, stated: float = 0.0) -> Failure | None:
    """One short random sequence on an empty table. stated: how many of the operations that can be are said in PartiQL. strong: all reads are; others may show what was before, where there is more than one copy, and global
    indexes always may: there are none then.

    Raises Interrupted: the table was not made empty again."""
    rand = random.Random(seed)
    name = rand.choice(list(generate.KEYS))
    trial = Trial(subject, name)
    generator = Generator(rand, name, trial.table, indexes=not strong, stated=stated)
    ops: list[Op] = []
    try:
        for _ in range(rand.randint(3, 9)):
            ops.append(generator.operation())
            if strong:
                ops[-1]["consistent"] = True
            trial.run(ops[-1])
        trial.run({"do": "scan", "consistent": True})
    except Different as different:
        subject.empty(name, _keys(trial.table))
        if not ops or (different.op["do"] == "scan" and "spelling" not in different.op):
            ops.append({"do": "scan", "consistent": True})
        small = shrink(ops, lambda some: fails(subject, name, some) is not None)
        return Failure(
            seed,
            name,
            small,
            f"seed {seed}, table {name} {generate.KEYS[name]}, {len(small)} operations:\n{explain(subject, name, small)}\nfirst met: {different}",
        )
    subject.empty(name, _keys(trial.table))
    outcomes.update(trial.outcomes)
    return None


def _keys(table: Table) -> list[Item]:
    return [{name: item[name] for name in table.keys} for item in table.rows.values()]


def fails(subject: Subject, name: str, ops: list[Op]) -> str | None:
    """What differs when `ops` run on an empty table."""
    trial = Trial(subject, name)
    try:
        for op in ops:
            trial.run(op)
    except Different as different:
        return str(different)
    finally:
        subject.empty(name, _keys(trial.table))
    return None


def explain(subject: Subject, name: str, ops: list[Op]) -> str:
    """The requests, and the difference at the end."""
    table = Table(*generate.KEYS[name])
    lines = [f"  {operation_of(op)} {json.dumps(request_of(name, table, op))}" for op in ops]
    return "\n".join([*map(_short, lines), f"difference: {fails(subject, name, ops)}"])


def shrink(ops: list[Op], still: Callable[[list[Op]], bool], *, tries: int = 600) -> list[Op]:
    """Fewer and simpler operations that still fail; greedy, at most `tries` runs."""
    progress = True
    while progress and tries > 0:
        progress = False
        for smaller in _smaller(ops):
            tries -= 1
            if still(smaller):
                ops, progress = smaller, True
                break
            if tries <= 0:
                break
    return ops


def _smaller(ops: list[Op]) -> Iterator[list[Op]]:
    for at in range(len(ops)):
        yield ops[:at] + ops[at + 1 :]
    for at, op in enumerate(ops):
        for simpler in _simpler(op):
            yield [*ops[:at], simpler, *ops[at + 1 :]]


_OPTIONAL = (
    "condition",
    "expected",
    "filter",
    "filtered",
    "projection",
    "limit",
    "segments",
    "sort",
    "start",
    "return",
    "on_failure",
    "capacity",
    "count_only",
    "spelling",
    "token",
    "stated",
)


def _simpler(op: Op) -> Iterator[Op]:
    for name in ("actions", "gets"):
        for at, part in enumerate(op.get(name, ())):
            for simpler in _simpler(part):
                yield {**op, name: [*op[name][:at], simpler, *op[name][at + 1 :]]}
    for name in _OPTIONAL:
        if name in op:
            yield {key: value for key, value in op.items() if key != name}
    for name in ("condition", "filter"):
        if name in op and op[name][0] in ("and", "or", "not"):
            for term in op[name][1] if isinstance(op[name][1], list) else [op[name][1]]:
                yield {**op, name: term}
    for name in ("changes", "requests", "keys", "projection", "actions", "gets"):
        if len(op.get(name, ())) > 1:
            for at in range(len(op[name])):
                yield {**op, name: op[name][:at] + op[name][at + 1 :]}
    for name in op.get("item", ()):
        if name not in ("pk", "sk"):
            yield {**op, "item": {key: value for key, value in op["item"].items() if key != name}}


def run(subject: Subject, seeds: Iterable[int], *, stated: float = 0.0) -> tuple[Counter[str], Failure | None]:
    """Sequences until one fails. stated: see `sequence`. Returns how often each kind of outcome was met."""
    outcomes: Counter[str] = Counter()
    for seed in seeds:
        failure = sequence(subject, seed, outcomes, stated=stated)
        if failure is not None:
            return outcomes, failure
    return outcomes, None
