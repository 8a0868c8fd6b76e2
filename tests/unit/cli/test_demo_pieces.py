"""The demo's parts, each alone: data, model, planted damage, the story and its table."""

from __future__ import annotations

import random
from pathlib import Path

import lmdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrubjay.demo.cities import City, item_of, load_cities
from scrubjay.demo.copying import copy_archive
from scrubjay.demo.report import table_lines
from scrubjay.demo.story import CheckFailed, Story
from scrubjay.drills.damage import damage_archive, flip_live_bit, live_in_trees, live_offset
from scrubjay.drills.model import canonical, compare, decode, key_of, merge, number
from scrubjay.output import VerbFailure

PARIS = City(2988507, "FR", "Paris", 2138551, "48.85341", "2.3488", "Europe/Paris", "11", ("Lutetia", "Paris"))


@pytest.mark.slow
def test_the_largest_set_is_whole_and_its_keys_are_unique() -> None:
    available, cities = load_cities()
    assert len(cities) == available > 200_000
    assert len({(city.country, city.sort) for city in cities}) == len(cities)
    assert cities[0].population >= cities[1].population >= cities[-1].population
    assert all(city.country and city.name for city in cities)
    assert load_cities(7) == (available, cities[:7])


@given(st.decimals(allow_nan=False, allow_infinity=False, places=7, min_value=-1000, max_value=1000))
def test_numbers_are_plain_and_equal(value: object) -> None:
    text = number(value)
    assert float(text) == float(str(value))
    assert "E" not in text
    assert text == number(text)


def test_equal_items_have_equal_bytes() -> None:
    item = item_of(PARIS)
    other = {name: item[name] for name in sorted(item, reverse=True)}
    other["latitude"] = {"N": "48.853410"}
    other["names"] = {"SS": ["Paris", "Lutetia"]}
    assert canonical(item) == canonical(other)
    assert decode(canonical(item)) == item
    assert key_of(item) == ("FR", "Paris#2988507")
    other["population"] = {"N": "2138552"}
    assert canonical(item) != canonical(other)


def test_comparison_goes_both_ways() -> None:
    model = {("a", "1"): b"x", ("a", "2"): b"y", ("a", "3"): b"z"}
    found = {("a", "1"): b"x", ("a", "2"): b"Y", ("b", "9"): b"w"}
    difference = compare(model, found)
    assert difference.lacking == (("a", "3"),)
    assert difference.different == (("a", "2"),)
    assert difference.extra == (("b", "9"),)
    assert difference.total == 3
    assert compare(model, dict(model)).total == 0
    with pytest.raises(AssertionError):
        merge([model, {("a", "1"): b"x"}])


def _tree(path: Path, rows: dict[bytes, bytes], *, rewrites: int) -> Path:
    """An LMDB file with rows that were written several times, so that it is full of old copies."""
    path.mkdir(parents=True, exist_ok=True)
    with lmdb.open(str(path), map_size=64 << 20, lib_version=1) as environment:
        for _ in range(rewrites + 1):
            with environment.begin(write=True) as transaction:
                for key, value in rows.items():
                    transaction.put(key, value)
    return path / "data.mdb"


def _read(path: Path) -> dict[bytes, bytes]:
    with lmdb.open(str(path.parent), readonly=True, lock=False, lib_version=1) as environment, environment.begin() as transaction:
        return {bytes(key): bytes(value) for key, value in transaction.cursor()}


@pytest.mark.parametrize("size", [40, 700, 9_000], ids=["small", "page", "overflow"])
def test_a_flip_hits_the_live_value_among_old_copies(tmp_path: Path, size: int) -> None:
    generator = random.Random(size)
    needle = b"counted again, sheet 000123"
    rows = {f"{number:04}".encode(): generator.randbytes(size) for number in range(300)}
    rows[b"0123"] = rows[b"0123"] + needle + generator.randbytes(size)
    file = _tree(tmp_path / "nodes/n2/replicas/p1/btree", rows, rewrites=3)
    _tree(tmp_path / "nodes/n1/replicas/p0/btree", {b"k": b"v"}, rewrites=0)
    assert file.read_bytes().count(needle) > 1 or size > 4096, "the case has old copies"
    flip = flip_live_bit(tmp_path, needle)
    assert flip is not None
    assert (flip.node, flip.file) == ("n2", file)
    now = _read(file)
    changed = [key for key in rows if rows[key] != now[key]]
    assert changed == [b"0123"]
    bits = sum((left ^ right).bit_count() for left, right in zip(rows[b"0123"], now[b"0123"], strict=True))
    assert bits == 1


def test_what_a_checkpoint_is_still_to_bring_is_not_live_yet(tmp_path: Path) -> None:
    """Old copies of a value, and a tree of another node, do not count."""
    _tree(tmp_path / "nodes/n1/replicas/p0/btree", {b"k": b"first value"}, rewrites=0)
    _tree(tmp_path / "nodes/n1/replicas/p0/btree", {b"k": b"second value"}, rewrites=0)
    _tree(tmp_path / "nodes/n1/replicas/p1/btree", {b"k": b"third value"}, rewrites=0)
    _tree(tmp_path / "nodes/n2/replicas/p1/btree", {b"k": b"fourth value"}, rewrites=0)
    assert live_in_trees(tmp_path, [b"second", b"third"], node="n1")
    for gone in (b"first", b"fourth"):
        assert not live_in_trees(tmp_path, [b"second", b"third", gone], node="n1")


def test_a_value_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    file = _tree(tmp_path / "nodes/n1/replicas/p0/btree", {b"k": b"v"}, rewrites=1)
    assert live_offset(file, b"absent") is None
    assert flip_live_bit(tmp_path, b"absent") is None
    assert flip_live_bit(tmp_path / "nowhere", b"absent") is None


def _archive(folder: Path, segments: int) -> None:
    for at in range(segments):
        name = f"c/t=T/p=P/log/{at * 10 + 1:016x}-{at * 10 + 10:016x}.0.{'ab' * 8}"
        path = folder / f"{name}.seg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(range(100)))
        (folder / f"{name}.json").write_text("{}")


@pytest.mark.parametrize("segments", [2, 4])
def test_a_copy_of_an_archive_is_damaged_and_the_original_is_not(tmp_path: Path, segments: int) -> None:
    original, copy = tmp_path / "archive", tmp_path / "copy"
    _archive(original, segments)
    before = {path: path.read_bytes() for path in original.rglob("*") if path.is_file()}
    assert copy_archive(original.as_uri(), copy) == 2 * segments
    damage = damage_archive(copy, "T")
    assert damage.flipped != damage.removed
    assert not (copy / damage.removed).exists()
    assert (copy / damage.flipped).read_bytes() != (original / damage.flipped).read_bytes()
    newest = max(path.name for path in original.rglob("*.seg"))
    assert newest != Path(damage.removed).name, "the newest segment's loss cannot be seen offline"
    assert before == {path: path.read_bytes() for path in original.rglob("*") if path.is_file()}


def test_too_small_an_archive_is_said_so(tmp_path: Path) -> None:
    _archive(tmp_path, 1)
    with pytest.raises(ValueError, match="two segments"):
        damage_archive(tmp_path, "T")
    with pytest.raises(ValueError, match="two segments"):
        damage_archive(tmp_path, "other")


def _story() -> tuple[Story, list[str]]:
    lines: list[str] = []
    ticks = iter(range(100))
    return Story(lines.append, clock=lambda: float(next(ticks))), lines


def test_a_story_tells_and_keeps_what_was_checked() -> None:
    story, lines = _story()
    with story.step("load", "Load") as step:
        step.proven("7 items", items=7)
    assert story.exit_code == 0
    assert [(one.ok, one.checked, one.facts) for one in story.steps] == [(True, "7 items", {"items": 7})]
    assert any("checked: 7 items" in line for line in lines)


def test_what_it_tells_fits_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    story, lines = _story()
    with story.step("load", "Load " + "real data " * 12) as step:
        story.say("a line that " * 10)
        story.say("partition                             base  from")
        step.proven("cities " * 20)
    assert max(map(len, lines)) < 80
    assert "     partition                             base  from" in lines, "columns stay columns"
    assert " ".join(" ".join(lines).split()).count("real data") == 12
    document = {"exit": 0, "steps": [one.as_json() for one in story.steps], "rows": 5, "seconds": 3.0, "data": None}
    assert max(map(len, table_lines(document, color=False))) <= 80


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (CheckFailed("differs"), 2),
        (CheckFailed("too slow", exit_code=3), 3),
        (OSError("gone"), 1),
        (VerbFailure("no", code="X", exit_code=4), 4),
        (None, 3),
    ],
)
def test_a_step_that_proves_nothing_or_breaks_ends_the_story(error: Exception | None, code: int) -> None:
    story, lines = _story()

    def tell() -> None:
        with story.step("scrub", "Scrub") as step:
            if error is not None:
                step.proven("claimed too early")
                raise error

    with pytest.raises(CheckFailed):
        tell()
    assert story.exit_code == code
    assert story.error is not None
    assert story.steps[0].ok is False
    assert any("FAILED" in line for line in lines)


def test_the_table_is_readable_and_says_checked(tmp_path: Path) -> None:
    story, _ = _story()
    with story.step("load", "Load [real] data") as step:
        step.proven("234908 items")
    with pytest.raises(CheckFailed), story.step("scrub", "Scrub"):
        raise CheckFailed("the scrub ended with 0, not 2")
    document = {"exit": 2, "steps": [one.as_json() for one in story.steps], "rows": 5, "seconds": 3.0, "data": None}
    text = "\n".join(table_lines(document, width=100, color=False))
    assert "Load [real] data" in text
    assert "checked: 234908 items" in text
    assert "FAILED: the scrub ended with 0, not 2" in text
    assert "NOT everything held (exit 2)" in text
    assert "\x1b" not in text
    assert max(len(line) for line in text.splitlines()) <= 100
