"""What somebody outside knows of each item: what it may have been at any moment, and which writes were one transaction."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

Item = Mapping[str, Any]
"""DynamoDB JSON."""


class Name(NamedTuple):
    """An item of a table. key: the values of its key attributes, as text."""

    table: str
    key: tuple[str, ...]


class Written(NamedTuple):
    """One request that left an item like this. began, ended: seconds since the epoch; ended: when it was answered. state: `normal`; None: no item. transaction: its number, None if it was none."""

    began: float
    ended: float
    state: str | None
    transaction: int | None


class Transaction(NamedTuple):
    began: float
    ended: float
    names: tuple[Name, ...]


class Notes:
    """What all writers were answered. Each item has one writer, which waits for its answer: its states have an order."""

    def __init__(self) -> None:
        self.of: dict[Name, list[Written]] = defaultdict(list)
        self.transactions: list[Transaction] = []
        self._lock = threading.Lock()

    def note(self, began: float, ended: float, states: Mapping[Name, Item | None], *, at_once: bool = False) -> None:
        """states: as a request left them. at_once: as one transaction."""
        with self._lock:
            number = None
            if at_once:
                number = len(self.transactions)
                self.transactions.append(Transaction(began, ended, tuple(states)))
            for name, item in states.items():
                self.of[name].append(Written(began, ended, normal(item), number))

    def table(self, table: str) -> Iterator[tuple[Name, list[Written]]]:
        return ((name, written) for name, written in list(self.of.items()) if name.table == table)

    def states(self, name: Name) -> list[str | None]:
        """All states in their order, each that differs from the one before; without the beginning, at which there is no item."""
        found: list[str | None] = []
        for one in self.of.get(name, ()):
            if one.state != (found[-1] if found else None):
                found.append(one.state)
        return found

    def may_be(self, name: Name, at: float, *, without: int | None = None) -> list[str | None]:
        """What the item may have been at that moment. without: as if this transaction had not been."""
        found: list[str | None] = [None]
        for one in self.of.get(name, ()):
            if without is not None and one.transaction == without:
                continue
            if one.ended < at:
                found = [one.state]
            elif one.began <= at:
                found.append(one.state)
        return found

    def wrong(self, table: str, at: float, items: Iterable[Item]) -> list[str]:
        """What cannot have been so, of all the items that a table is said to have had at that moment."""
        found, said = [], {}
        for item in items:
            name = name_of(table, item)
            if name in said:
                found.append(f"{name} twice")
            said[name] = normal(item)
        found += [f"{name} was never written" for name in said if name not in self.of]
        for name, _ in self.table(table):
            if said.get(name) not in self.may_be(name, at):
                found.append(f"{name} at {at:.6f}: {said.get(name)}; it may have been {self.may_be(name, at)}")
        return found

    def halves(self, at: float, tables: Mapping[str, Iterable[Item]]) -> list[str]:
        """Transactions that were under way at that moment, and are there in part. tables: the items of all of them, as of that moment."""
        said = {name_of(table, item): normal(item) for table, items in tables.items() for item in items}
        found = []
        for number, transaction in enumerate(self.transactions):
            if not transaction.began <= at <= transaction.ended:
                continue
            sides = set()
            for name in transaction.names:
                after = next(one.state for one in self.of[name] if one.transaction == number)
                is_before, is_after = said.get(name) in self.may_be(name, at, without=number), said.get(name) == after
                if is_before != is_after:  # else it tells nothing
                    sides.add("after" if is_after else "before")
            if len(sides) > 1:
                found.append(f"half of transaction {number}: {transaction.names}")
        return found


def name_of(table: str, item: Item) -> Name:
    return Name(table, tuple(str(next(iter(item[attribute].values()))) for attribute in ("k", "r") if attribute in item))


def normal(item: Item | None) -> str | None:
    """Equal items, and only they, have equal texts."""
    return None if item is None else json.dumps({name: _plain(value) for name, value in sorted(item.items())})


def _plain(value: Mapping[str, Any]) -> Any:
    ((kind, what),) = value.items()
    if kind == "N":
        return [kind, str(Decimal(what).normalize())]
    if kind in ("SS", "NS"):
        return [kind, sorted(str(Decimal(one).normalize()) if kind == "NS" else one for one in what)]
    if kind == "L":
        return [kind, [_plain(one) for one in what]]
    if kind == "M":
        return [kind, {name: _plain(one) for name, one in sorted(what.items())}]
    return [kind, what]
