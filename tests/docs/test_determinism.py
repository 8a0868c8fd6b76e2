"""The determinism lint: nothing in the tree, and every kind of finding has a snippet that must be found, and a twin that must not."""

from __future__ import annotations

import textwrap

import pytest

from tools.determinism import check_tree, problems

BAD = {
    "for over a literal": "for x in {'a', 'b'}: act(x)",
    "for over a constructor": "for x in set(names): act(x)",
    "for over a name": "seen = set()\nfor x in seen: act(x)",
    "for over an annotated name": "seen: set[str] = make()\nfor x in seen: act(x)",
    "for over a field": "class A:\n    def __init__(self):\n        self.seen: set[bytes] = set()\n    def go(self):\n        for x in self.seen: act(x)",
    "for over a dataclass field": "@dataclass\nclass A:\n    seen: set[str]\n    def go(self):\n        for x in self.seen: act(x)",
    "for over an argument": "def go(seen: frozenset[str]):\n    for x in seen: act(x)",
    "a difference": "def go(old: set[str], new: set[str]):\n    for x in old - new: act(x)",
    "list of a set": "seen = {f(x) for x in y}\nact(list(seen))",
    "join": "act(','.join({'a', b}))",
    "list comprehension": "seen = set(y)\nact([f(x) for x in seen])",
    "starred": "seen = set(y)\nact(*seen)",
    "pop": "seen = set(y)\nact(seen.pop())",
    "id": "act(id(x))",
    "hash": "act(hash(x))",
    "unsorted folder": "for x in folder.iterdir(): act(x)",
    "unsorted folder by os": "for x in os.listdir(path): act(x)",
    "a nested function": "def go():\n    seen = set(y)\n    def inner():\n        for x in seen: act(x)",
    "thread": "import threading",
    "pool": "from concurrent.futures import ThreadPoolExecutor",
    "an excuse without a reason": "for x in set(names): act(x)  # order-free:",
}

GOOD = {
    "sorted set": "for x in sorted({'a', 'b'}): act(x)",
    "sorted comprehension": "seen = set(y)\nact(sorted(f(x) for x in seen))",
    "length": "seen = set(y)\nact(len(seen), sum(seen), any(x for x in seen))",
    "set of integers": "seen: set[int] = set()\nfor x in seen: act(x)",
    "set of lsns in a field": "class A:\n    def __init__(self):\n        self.seen: set[Lsn] = set()\n    def go(self):\n        for x in self.seen: act(x)",
    "set to set": "seen = set(y)\nother = {f(x) for x in seen}",
    "membership": "seen = set(y)\nif x in seen: act(x)",
    "dict": "seen = dict.fromkeys(y)\nfor x in seen: act(x)",
    "a name of another function": "def go():\n    seen = set(y)\ndef other(seen: list[str]):\n    for x in seen: act(x)",
    "the port's folder": "for x in self._disk.listdir(path): act(x)",
    "starred into a set": "seen = set(y)\nact(sorted({*seen, 'a'}))",
    "a lock": "from threading import Lock",
    "set as a value": "seen = frozenset(y)\nact(dict.fromkeys(names, seen))",
    "list pop": "seen = [1]\nact(seen.pop())",
    "sorted folder": "for x in sorted(folder.iterdir()): act(x)",
    "excused": "for x in set(names): act(x)  # order-free: act only counts",
}


def test_the_tree_replays() -> None:
    assert check_tree() == []


@pytest.mark.parametrize("name", BAD)
def test_found(name: str) -> None:
    assert problems(textwrap.dedent(BAD[name])), BAD[name]


@pytest.mark.parametrize("name", GOOD)
def test_left_alone(name: str) -> None:
    assert problems(textwrap.dedent(GOOD[name])) == [], GOOD[name]
