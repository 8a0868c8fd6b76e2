"""How the command line names a part of a table: keys here and in files, and the line that is to be copied names it again."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from scrubjay import cli
from scrubjay.client import AdminClient
from scrubjay.verbs.restore_target import KEYS_FILE, KEYS_SHOWN, PLAN_TEMPLATE, exact_line, plan_lines

KEYS = [{"id": {"S": f"it's k{number}"}} for number in range(3)]
ONE = ["restore", "plan", "--table", "a", "--to", "b", "--at", "2026-03-01T00:00:00Z"]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the verb asks the server."""
    found: list[dict[str, Any]] = []

    def post(self: AdminClient, path: str, body: dict[str, Any]) -> dict[str, Any]:
        found.append(body)
        plan = {"table": "a", "to": "b", "at": "2026-03-01T00:00:00.000000Z", "bytes": 1, "requests": 1, "max_clock_offset": 0.5}
        return {**PLAN_TEMPLATE, **plan, "exit": 0, "error": None, "predicted_seconds": 1.0, "part": body.get("part")}

    monkeypatch.setattr(AdminClient, "post", post)
    return found


def words(keys: list[dict[str, Any]], folder: Path, form: str) -> list[str]:
    lines, whole = folder / "lines", folder / "list"
    lines.write_text("\n".join(map(json.dumps, keys)) + "\n\n")
    whole.write_text(json.dumps(keys, indent=2))
    return {"words": [json.dumps(one) for one in keys], "a list": [json.dumps(keys)], "lines": [str(lines)], "a file": [str(whole)]}[form]


@pytest.mark.parametrize("form", ["words", "a list", "lines", "a file"])
def test_keys_are_given_here_or_in_files(form: str, asked: list[dict[str, Any]], tmp_path: Path) -> None:
    assert cli.main([*ONE, "--keys", *words(KEYS, tmp_path, form)]) == 0
    assert asked[0]["part"] == {"keys": KEYS}
    assert cli.main([*ONE, "--keys", *words(KEYS, tmp_path, form), *words(KEYS, tmp_path, "words")]) == 0
    assert asked[1]["part"] == {"keys": [*KEYS, *KEYS]}


def test_a_whole_table_has_no_part(asked: list[dict[str, Any]]) -> None:
    assert cli.main(ONE) == 0
    assert "part" not in asked[0]


@pytest.mark.parametrize(
    "options",
    [
        ["--keys", *map(json.dumps, KEYS)],
        ["--prefix", '{"id": {"S": "a b"}}'],
        ["--where", "#n = :v AND size(x) > :w", "--names", '{"#n": "na me"}', "--values", '{":v": {"S": "it\'s"}, ":w": {"N": "1"}}'],
        ["--prefix", '{"id": {"S": "a"}}', "--where", "attribute_exists(x)"],
    ],
    ids=["keys", "prefix", "where", "prefix and where"],
)
def test_the_line_that_is_to_be_copied_names_the_same_part(
    options: list[str], asked: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*ONE, *options]) == 0
    shown = capsys.readouterr().out
    line = shown[shown.index("scrubjay restore run") :].replace("\\\n", " ")
    copied = shlex.split(line)[1:]
    copied[1] = "plan"
    assert cli.main(copied) == 0
    assert asked[0] == asked[1]


def test_of_many_keys_the_line_names_a_file() -> None:
    document = {**PLAN_TEMPLATE, "table": "a", "to": "b", "at": "t", "part": {"keys": KEYS * KEYS_SHOWN}}
    assert f"  --keys {KEYS_FILE}" in "\n".join(exact_line({**document, "table": "a" * 60}))
    assert "only" in "\n".join(plan_lines({**document, "bytes": 1, "requests": 1, "predicted_seconds": 1.0, "max_clock_offset": 0.5}))


@pytest.mark.parametrize(
    "options",
    [
        ["--keys", "/no/such/file"],
        ["--keys", "{"],
        ["--keys", "[1]"],
        ["--keys", "[{"],
        ["--keys"],
        ["--prefix", "1"],
        ["--values", "[]"],
        ["--keys", "{}", "--prefix", "{}"],
    ],
    ids=" ".join,
)
def test_what_names_no_part_is_wrong_usage(options: list[str], asked: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*ONE, *options]) == 64
    assert asked == []
    assert "Traceback" not in capsys.readouterr().err
