"""Reports of drills: verdicts, what has become worse, the page, and those that are kept."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.dom.minidom import parseString

import pytest

from scrubjay.base.errors import Corrupt, Unavailable
from scrubjay.base.real.disk import RealDisk
from scrubjay.drills.kept import FOLDER, KEPT_MAX, DrillBook
from scrubjay.drills.page import page
from scrubjay.drills.regression import EARLIER_MIN, key_trouble, worse
from scrubjay.drills.report import FORMAT, VERSION, DrillOutcome, DrillSigner
from scrubjay.drills.scenario import Dice
from tests.unit.drills.drill_house import Secret


def report(number: int = 0, **fields: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "id": f"d{number}",
        "scenario": "restore-random",
        "seed": number,
        "started": f"2026-03-{number + 1:02}T02:00:00Z",
        "seconds": 5.0,
        "verdict": "match",
        "tables": ["birds"],
        "rto_seconds": 20.0,
        "rpo_seconds": 1.5,
        "predicted_seconds": 10.0,
        "rows_compared": 100,
        "planted": 0,
        "detected": 0,
        "differences": [],
        "facts": {"at": "2026-03-01T01:00:00Z"},
        "steps": [{"step": "restore", "seconds": 4.0, "ok": True}],
        "error": None,
        "cluster": "c",
    }
    return DrillSigner(Secret()).signed({**plain, **fields})


@pytest.mark.parametrize(
    ("outcome", "verdict"),
    [
        (DrillOutcome(), "unverified"),
        (DrillOutcome(rows_compared=1), "match"),
        (DrillOutcome(rows_compared=1, differences=["x"]), "mismatch"),
        (DrillOutcome(planted=6, detected=6), "match"),
        (DrillOutcome(planted=6, detected=5, rows_compared=9), "mismatch"),
    ],
)
def test_a_verdict_rests_on_what_was_compared(outcome: DrillOutcome, verdict: str) -> None:
    assert outcome.verdict == verdict


def test_much_slower_than_usual_for_as_much_is_told() -> None:
    usual = [report(number) for number in range(EARLIER_MIN)]
    assert worse([*usual, report(9, rto_seconds=39.0)]) == []
    (told,) = worse([*usual, report(9, rto_seconds=41.0)])
    assert (told.scenario, told.found) == ("restore-random", False)
    assert "41 s where 20 s were usual" in told.what
    assert worse([*usual, report(9, rto_seconds=400.0, predicted_seconds=200.0)]) == [], "a larger table takes longer"
    assert worse([*usual[1:], report(9, rto_seconds=400.0)]) == [], "two earlier ones make no median"
    assert worse([*usual, report(9, rto_seconds=11.0, predicted_seconds=0.1)]) == [], "nobody is woken for seconds"


def test_losing_more_and_finding_later_than_usual_is_told_too() -> None:
    usual = [report(number, facts={"found_seconds": {"segment": 2.0, "base": 15.0}}) for number in range(EARLIER_MIN)]
    for facts, rpo, words in (
        ({}, 11.0, None),
        ({}, 12.0, "would have lost the newest 12 s where 2 s were usual"),
        ({"found_seconds": {"segment": 29.0}}, 1.5, None),
        ({"found_seconds": {"segment": 31.0, "base": 1.0}}, 1.5, "found what was planted within 31 s where 15 s were usual"),
        ({"found_seconds": "soon"}, None, None),
    ):
        told = worse([*usual, report(9, facts=facts, rpo_seconds=rpo)])
        assert [one.what.partition("random ")[2] for one in told] == ([] if words is None else [words])
        assert not any(one.found for one in told)


def test_another_key_is_told_until_two_reports_in_a_row_carry_it() -> None:
    old, new = report(0), {**report(1), "public_key": "bmV3", "started": "2026-03-02T02:00:00Z"}
    mine = old["public_key"]
    assert key_trouble([], None) is None, "no report, no key: nothing was signed yet"
    assert key_trouble([old], mine) is None
    assert "gone" in str(key_trouble([old], None))
    assert "another than that of the newest, d0" in str(key_trouble([old], "bmV3"))
    assert "another key since 2026-03-02T02:00:00Z" in str(key_trouble([old, old, new], "bmV3"))
    assert key_trouble([old, new, new], "bmV3") is None


def test_what_failed_is_told_until_it_matches_again() -> None:
    missed = report(1, verdict="mismatch", planted=6, detected=5)
    assert [(one.found, "1 of 6" in one.what) for one in worse([missed])] == [(True, True)]
    failed = report(2, verdict="unverified", error={"message": "no archive"})
    assert [(one.found, "1 of 6" in one.what) for one in worse([missed, failed])] == [(True, True)], "what proved nothing ends nothing"
    assert [(one.found, "no archive" in one.what) for one in worse([report(0), failed])] == [(False, True)]
    assert worse([missed, failed, report(3)]) == []
    other = report(4, scenario="rot")
    assert [one.scenario for one in worse([missed, other])] == ["restore-random"], "each scenario by its own last run"


def test_a_match_of_another_table_ends_no_mismatch() -> None:
    wrong = report(1, verdict="mismatch", tables=["birds"], differences=["restored: lacking key 00"])
    other = report(2, tables=["plants"])
    assert [(one.found, "lacking" in one.what) for one in worse([wrong, other])] == [(True, True)]
    assert worse([wrong, other, report(3, tables=["birds"])]) == []
    assert worse([wrong, other], live=["plants"]) == [], "a table that is gone cannot be tried again"
    assert worse([other, wrong], live=["plants"]) == []
    both = report(1, verdict="mismatch", tables=["birds", "plants"])
    assert len(worse([both, other])) == 1
    assert worse([both, other, report(3, tables=["birds"])], live=["birds", "plants"]) == []


class Unreadable(Secret):
    def read(self) -> bytes | None:
        raise Unavailable("the machine refused")


def test_what_cannot_be_read_does_not_keep_status_from_answering(tmp_path: Path) -> None:
    disk, lines = RealDisk(tmp_path), list[str]()
    DrillBook(disk, log=lines.append).keep(report(1), began_us=1)
    disk.mkdir(f"{FOLDER}/{2:016x}-d2.json")
    assert [one["id"] for one in DrillBook(disk, log=lines.append).all()] == ["d1"]
    assert "left out" in lines[0]
    assert DrillSigner(Unreadable()).public_key is None
    with pytest.raises(Unavailable):
        DrillSigner(Unreadable()).signed({})


def test_the_page_is_one_file_and_escapes_what_it_shows() -> None:
    evil = "<script>alert('x')</script>"
    runs = [report(number, rto_seconds=None if number == 2 else 20.0 + number) for number in range(6)]
    last = report(7, tables=[evil], differences=[evil], verdict="mismatch", error={"message": evil}, facts={evil: evil})
    text = page(last, [*runs, last])
    assert "<script" not in text
    assert text.count("&lt;script&gt;") == 5
    assert not re.search(r"(?:href|src)=|url\(|@import", text), "nothing outside of it"
    assert text.count("<svg") == 3
    for drawing in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        parseString(drawing)
    assert page(runs[0], runs[:1]).count("<circle") == 3, "one run is a trend of one"
    rot = [report(number, rto_seconds=None, planted=4, detected=4 - number) for number in range(2)]
    assert "found, percent" in page(rot[1], rot)
    assert "75, match" in page(rot[1], rot), "three of four"
    assert "seconds (grey" not in page(rot[1], rot), "of what no run measured there is no empty plot"
    assert "The last 2 runs" in page(rot[1], rot)
    facts = {
        "found_seconds": {"segment": 0.07, "base": 0.1},
        "found_of": {"segment": {"planted": 1, "detected": 1}, "base": {"planted": 2, "detected": 1}},
        "not_there": [],
    }
    told = page({**rot[0], "facts": facts}, rot[:1])
    assert "<td>segment 0.07, base 0.1</td>" in told
    assert "<td>segment planted 1, detected 1; base planted 2, detected 1</td>" in told
    assert "<th>not there</th><td>none</td>" in told
    assert "&#x27;" not in told, "no Python is shown to people"
    assert "The first run" in told


def test_the_oldest_reports_go(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("scrubjay.drills.kept.KEPT_MAX", 3)
    assert KEPT_MAX > 100
    disk, lines = RealDisk(tmp_path), list[str]()
    book = DrillBook(disk, log=lines.append)
    for number in range(5):
        book.keep(report(number), began_us=number)
    assert [one["id"] for one in book.all()] == ["d2", "d3", "d4"]
    again = DrillBook(disk, log=lines.append)
    assert again.all() == book.all()
    assert (again.find("d3") or {})["seed"] == 3
    assert (again.find(None) or {})["id"] == "d4"
    assert (again.find("d0"), lines) == (None, [])
    assert len(disk.listdir(FOLDER)) == 3


def test_what_is_no_report_counts_for_nothing(tmp_path: Path) -> None:
    """Neither one that lacks a field, whoever signed it, nor one that was cut short."""
    disk, lines = RealDisk(tmp_path), list[str]()
    book = DrillBook(disk, log=lines.append)
    for number in range(3):
        book.keep(report(number), began_us=number)
    first, second, _ = disk.listdir(FOLDER)
    without = {name: value for name, value in report(0).items() if name not in ("planted", "signature")}
    disk.write_file(f"{FOLDER}/{first}", json.dumps(DrillSigner(Secret()).signed(without)).encode())
    disk.write_file(f"{FOLDER}/{second}", (disk.read_file(f"{FOLDER}/{second}") or b"")[:-20])
    again = DrillBook(disk, log=lines.append)
    assert [one["id"] for one in again.all()] == [one["id"] for one in again.all()] == ["d2"]
    assert sum("left out" in line for line in lines) == 2
    assert {*again.damaged} == {first, second}
    for drill in ("d0", "d1"):
        with pytest.raises(Corrupt, match="drill's report") as told:
            again.find(drill)
        assert str(told.value.fields["where"]).endswith(f"-{drill}.json")
    assert (again.find("d2") or {})["id"] == (again.find(None) or {})["id"] == "d2"
    assert again.find("d") is again.find("d9") is None, "there is none, and nothing is said of another"


def test_a_report_that_was_changed_is_not_called_absent_and_an_older_one_is_not_the_newest(tmp_path: Path) -> None:
    disk, lines = RealDisk(tmp_path), list[str]()
    for number in range(2):
        DrillBook(disk, log=lines.append).keep(report(number), began_us=number)
    newest = f"{FOLDER}/{disk.listdir(FOLDER)[-1]}"
    sound = disk.read_file(newest) or b""
    disk.write_file(newest, sound.replace(b'"seed": 1', b'"seed": 2'))
    book = DrillBook(disk, log=lines.append)
    for drill in ("d1", None):
        with pytest.raises(Corrupt, match="the signature of a drill's report does not fit"):
            book.find(drill)
    assert [one["id"] for one in book.all()] == ["d0"]


def test_what_the_machine_could_not_read_is_read_the_next_time_and_told_once(tmp_path: Path) -> None:
    disk, lines = RealDisk(tmp_path), list[str]()
    DrillBook(disk, log=lines.append).keep(report(1), began_us=1)
    book, read = DrillBook(disk, log=lines.append), disk.read_file

    def refused(_: str) -> bytes:
        raise Unavailable("too many open files")

    disk.read_file = refused  # type: ignore[assignment,method-assign]
    assert [book.all(), book.all(), lines] == [[], [], [lines[0]]]
    assert book.damaged == {}
    disk.read_file = read  # type: ignore[method-assign]
    assert [one["id"] for one in book.all()] == ["d1"]


def test_a_seed_draws_the_same_again() -> None:
    dice = Dice(7)
    drawn = [dice.below(1000) for _ in range(50)]
    again = Dice(7)
    assert drawn == [again.below(1000) for _ in range(50)]
    assert len(set(drawn)) > 40
    assert drawn != [Dice(8).below(1000) for _ in range(50)]
    assert {Dice(seed).below(2) for seed in range(20)} == {0, 1}
