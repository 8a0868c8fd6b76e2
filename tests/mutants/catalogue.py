"""The list of changes to the source that the tests must notice.

A mutant is one replacement of text in one file and the test that goes red with it. `python -m tests.mutants` tries them; tests/unit/test_mutant_catalogue.py
holds the list against the source on every run, so that code which moves takes its mutants along.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

ROOMS = (
    "wal",
    "node",
    "consensus",
    "members",
    "members_shell",
    "lost_quorum",
    "transactions",
    "moved_facts",
    "transactions_left",
    "split_archive",
    "splits",
    "split_trees",
    "split_by_size",
    "balance",
    "split_control",
    "index_splits",
    "replica",
    "btree",
    "local_index",
    "item_collections",
    "global_index_api",
    "apimore",
    "archiver",
    "reading",
    "stores",
    "verify",
    "forged",
    "expire",
    "compact",
    "locks",
    "pair",
    "scrubber",
    "ledger",
    "pitr",
    "recover",
    "backups",
    "transfer",
    "timeline",
    "control",
    "base",
    "encryption",
    "server",
    "drills",
    "api",
    "commands",
    "shell",
    "wire",
    "cluster",
    "routes",
    "failover",
    "ttl",
    "streams",
    "global_index",
    "relocating",
    "standing_in",
    "start",
    "suite",
    "answers",
    "differential",
    "partiql",
    "policies",
    "night",
    "downrestore",
    "version",
)


@dataclass(frozen=True, slots=True)
class Mutant:
    """name: unique over all rooms. file: from the repository's root; `old` occurs in it exactly once and becomes `new`. killer: pytest node ids, of which
    at least one must fail; none for a mutant that no behaviour can show, and then `note` says why.
    """

    name: str
    file: str
    old: str
    new: str
    killer: tuple[str, ...]
    note: str = ""

    @property
    def equivalent(self) -> bool:
        return not self.killer


def collect(rooms: tuple[str, ...] = ROOMS) -> list[Mutant]:
    """Every mutant of `rooms`, in their order."""
    return [mutant for room in rooms for mutant in import_module(f"tests.mutants.{room}").MUTANTS]


def faults(mutants: list[Mutant], root: Path) -> list[str]:
    """What is wrong with `mutants` on the source under `root`, in words; empty when all is well."""
    found = []
    names = set()
    for mutant in mutants:
        if mutant.name in names:
            found.append(f"{mutant.name}: the name occurs twice")
        names.add(mutant.name)
        source = root / mutant.file
        count = source.read_text().count(mutant.old) if source.is_file() else 0
        if count != 1:
            found.append(f"{mutant.name}: its text occurs {count} times in {mutant.file}")
        if mutant.old == mutant.new:
            found.append(f"{mutant.name}: changes nothing")
        if mutant.equivalent and not mutant.note:
            found.append(f"{mutant.name}: neither a killer nor a reason why there is none")
        found += [f"{mutant.name}: no test {killer}" for killer in mutant.killer if not exists(root, killer)]
    return found


def exists(root: Path, killer: str) -> bool:
    """Whether the file of a node id is there and holds its test (class and function; parameters are not looked at)."""
    path, *names = killer.partition("[")[0].split("::")
    if not (root / path).is_file():
        return False
    body = _statements(root / path)
    for name in names:
        found = [one for one in body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and one.name == name]
        if not found:
            return False
        body = found[0].body
    return True


@cache
def _statements(path: Path) -> list[ast.stmt]:
    return ast.parse(path.read_text()).body
