"""A quarter of a minute of every kind of write on a real cluster, noted from outside, with splits and deaths; then all that tells of the past is held against the notes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.tree import ROOT
from tests.witness.notes import Name, Notes, normal
from tests.witness.run import run

A, B = Name("one", ("a",)), Name("one", ("b",))
OLD, NEW = {"k": {"S": "a"}, "n": {"N": "1"}}, {"k": {"S": "a"}, "n": {"N": "2"}}
OTHER = {"k": {"S": "b"}}


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.timeout(400)
def test_what_was_is_what_was_answered(tmp_path: Path) -> None:
    found = run(tmp_path, seed=20261129, seconds=15, moments=2, say=print)
    assert found.wrong == []
    assert min(found.done.values()) > 20
    assert found.transactions > 50
    assert found.recovered_as_of


def test_the_judge_shares_nothing_with_what_it_judges() -> None:
    for name in ("notes", "writers", "judge"):
        assert not re.search(r"scrubjay", (ROOT / "tests" / "witness" / f"{name}.py").read_text(encoding="utf-8")), name


def notes() -> Notes:
    """At 10 a is old; from 20 to 22 it becomes new and b there, at once; from 30 to 31 b goes."""
    found = Notes()
    found.note(9.0, 10.0, {A: OLD})
    found.note(20.0, 22.0, {A: NEW, B: OTHER}, at_once=True)
    found.note(30.0, 31.0, {B: None})
    return found


@pytest.mark.parametrize(
    ("at", "items"),
    [
        (5.0, []),
        (15.0, [OLD]),
        (21.0, [OLD]),
        (21.0, [NEW, OTHER]),
        (25.0, [NEW, OTHER]),
        (30.5, [NEW]),
        (30.5, [NEW, OTHER]),
        (40.0, [NEW]),
    ],
)
def test_what_may_have_been_is_right(at: float, items: list[dict[str, dict[str, str]]]) -> None:
    assert notes().wrong("one", at, items) == []
    assert notes().halves(at, {"one": items}) == []


@pytest.mark.parametrize(
    ("at", "items"),
    [
        (5.0, [OLD]),
        (15.0, []),
        (15.0, [NEW]),
        (25.0, [OLD, OTHER]),
        (25.0, [NEW]),
        (40.0, [NEW, OTHER]),
        (40.0, [NEW, NEW]),
        (40.0, [NEW, {"k": {"S": "c"}}]),
    ],
)
def test_what_cannot_have_been_is_wrong(at: float, items: list[dict[str, dict[str, str]]]) -> None:
    assert notes().wrong("one", at, items) != []


@pytest.mark.parametrize("items", [[NEW], [OLD, OTHER]])
def test_half_a_transaction_is_wrong_though_each_item_may_have_been_so(items: list[dict[str, dict[str, str]]]) -> None:
    assert notes().wrong("one", 21.0, items) == []
    assert notes().halves(21.0, {"one": items}) != []


def test_what_a_value_is_does_not_hang_on_how_it_is_written() -> None:
    assert normal({"n": {"N": "1.0"}, "t": {"SS": ["b", "a"]}}) == normal({"t": {"SS": ["a", "b"]}, "n": {"N": "1"}})
    assert normal({"n": {"N": "1"}}) != normal({"n": {"S": "1"}})
    assert notes().states(B) == [normal(OTHER), None]
