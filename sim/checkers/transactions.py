"""Whether a history of transactions and single writes is serializable, each between its start and its end (`sim.whole.bank` makes such histories).

Every write names the version that it replaced, so the order of the versions of an item is known: what remains is to look for a circle. Pure.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

FOREVER = 1 << 62
Account = tuple[str, int]
"""Table and number."""


@dataclass(slots=True)
class Transaction:
    """A transaction, or a single write. reads: the version of each account that it read. writes: the version that it made. end: FOREVER: nobody knows whether it happened."""

    id: int
    reads: dict[Account, int]
    writes: dict[Account, int]
    start: int
    end: int = FOREVER
    sure: bool = False


def check_serializable(history: list[Transaction]) -> list[str]:
    """What is wrong with it, in words. Of those that may not have happened, only what somebody saw counts."""
    made: dict[tuple[Account, int], Transaction] = {}
    for one in history:
        for account, version in one.writes.items():
            made[account, version] = one
    seen = {(account, version) for one in history if one.sure for account, version in one.reads.items()}
    happened = {one.id for one in history if one.sure}
    grown = True
    while grown:  # one that was seen has happened, and what it read was there
        grown = False
        for one in history:
            if one.id not in happened and any(place in seen for place in one.writes.items()):
                happened.add(one.id)
                seen |= set(one.reads.items())
                grown = True
    nodes = [one for one in history if one.id in happened]
    found: list[str] = []
    replaced: dict[tuple[Account, int], Transaction] = {}
    after: dict[int, set[int]] = {one.id: set() for one in nodes}
    for one in nodes:
        for account, version in one.reads.items():
            if version and (account, version) not in made:
                found.append(f"{one.id} read a version of {account} that nobody made")
            if account in one.writes:
                other = replaced.setdefault((account, version), one)
                if other is not one:
                    found.append(f"{one.id} and {other.id} both replaced version {version} of {account}")
    for one in nodes:
        for account, version in one.reads.items():
            maker = made.get((account, version))
            if maker is not None and maker is not one:
                after[maker.id].add(one.id)
            later = replaced.get((account, version))
            if later is not None and later is not one:
                after[one.id].add(later.id)
    # In real time: by a chain through the ends in order (-1, -2 …: so many are over), or there were as many edges as pairs.
    ends = sorted((one for one in nodes if one.end != FOREVER), key=lambda one: one.end)
    for at, one in enumerate(ends):
        after[-at - 1] = {-at - 2} if at + 1 < len(ends) else set()
        after[one.id].add(-at - 1)
    for one in nodes:
        over = bisect_left(ends, one.start, key=lambda other: other.end)
        if over:
            after[-over].add(one.id)
    circle = _circle(after)
    if circle:
        found.append(f"no order: {[one for one in circle if one > 0]}")
    return found


def _circle(after: dict[int, set[int]]) -> list[int]:
    state: dict[int, int] = {}
    for root in after:
        if root in state:
            continue
        path: list[tuple[int, Iterator[int]]] = [(root, iter(sorted(after[root])))]
        state[root] = 1
        while path:
            node, rest = path[-1]
            for other in rest:
                if state.get(other) == 1:
                    names = [one for one, _ in path]
                    return names[names.index(other) :]
                if other not in state and other in after:
                    state[other] = 1
                    path.append((other, iter(sorted(after[other]))))
                    break
            else:
                state[node] = 2
                path.pop()
    return []
