"""The public list of mutants fits the source as it is, and names tests that there are: code that moves takes its mutants along."""

from __future__ import annotations

import re
from pathlib import Path

from tests.docs.tree import ROOT, python_files, text_of
from tests.mutants.catalogue import collect, faults
from tests.mutants.scripts import LISTS

AT_LEAST = 250


def test_every_mutant_fits_the_source_and_names_a_test_that_there_is() -> None:
    mutants = collect()
    assert faults(mutants, ROOT) == []
    assert len(mutants) >= AT_LEAST


def test_every_mutation_made_by_hand_before_is_a_mutant_now() -> None:
    names = {mutant.name for mutant in collect()}
    assert [now for table in LISTS for now in table.values() if now not in names] == []
    assert [len(table) for table in LISTS] == [30, 33, 3]


# --- doubles

_NO_DOUBLES = ("SimpleNamespace", "MagicMock", "unittest.mock", "unittest import mock")


def doubles(text: str) -> list[str]:
    """Stand-ins without a class of their own: they agree to anything, so that nothing is tested against them."""
    return [word for word in _NO_DOUBLES if word in text]


def test_nothing_stands_in_for_a_real_part_without_a_name() -> None:
    found = {str(name): doubles(text_of(name) or "") for name in python_files() if name.parts[:2] != ("tests", "docs")}
    assert {name: words for name, words in found.items() if words} == {}


_DOUBLE = re.compile(r"^class ((?:Fake|Memory|Dict|Stub|Mock)\w*)", re.MULTILINE)
_ROW = re.compile(r"^\| ((?:`\w+`(?:, )?)+) \| `([\w/]+)` \|", re.MULTILINE)


def test_every_double_is_on_the_page_with_its_reason() -> None:
    """By name and place."""
    there = {
        (name, path.parent.as_posix())
        for path in python_files()
        if path.parts[0] == "tests"
        for name in _DOUBLE.findall(text_of(path) or "")
    }
    section = (text_of(Path("docs/DEVELOPING.md")) or "").partition("### Doubles")[2].partition("\n## ")[0]
    told = {(name, place) for names, place in _ROW.findall(section) for name in re.findall(r"\w+", names)}
    assert there - told == set()
    assert told


def test_doubles_are_found() -> None:
    assert doubles("from types import SimpleNamespace") == ["SimpleNamespace"]
    assert doubles("from unittest import mock") == ["unittest import mock"]
