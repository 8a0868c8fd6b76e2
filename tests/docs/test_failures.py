"""docs/FAILURES.md: every bad day has a state and tests, and the tests are there."""

from __future__ import annotations

import re
from pathlib import Path

from scrubjay.server.problems import RULES
from tests.docs.tree import ROOT, text_of
from tests.mutants.catalogue import exists

_TEST = re.compile(r"`(tests/[\w/]+\.py::\w+)`")
_STATE = re.compile(r"`([a-z]+(?:-[a-z]+)+)`")


def rows() -> list[list[str]]:
    """The cells of each day."""
    lines = [line for line in (text_of(Path("docs/FAILURES.md")) or "").splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_bad_day_has_a_state_a_promise_and_tests() -> None:
    assert len(rows()) >= 19
    assert [row[0] for row in rows() if len(row) != 4 or not all(row) or not _TEST.search(row[3])] == []


def test_every_test_that_is_named_is_there() -> None:
    assert [name for row in rows() for name in _TEST.findall(row[3]) if not exists(ROOT, name)] == []
    assert not exists(ROOT, "tests/docs/test_failures.py::test_that_is_not_there")


def test_every_state_that_is_named_is_one() -> None:
    assert [state for row in rows() for state in _STATE.findall(row[1]) if state not in RULES] == []
