"""The command line: exit codes, JSON shapes, help, and that nothing ends in a traceback."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from scrubjay import cli
from scrubjay.base.errors import Corrupt, Unsafe
from scrubjay.output import EXIT_MEANING, VerbFailure, answer, failure_of, merge_exits
from scrubjay.reference_pages import cli_page
from scrubjay.verb import Verb
from scrubjay.verbs import every_verb

ROOT = Path(__file__).parents[3]
NOWHERE = "http://127.0.0.1:9"

CLIENT_CALLS = [
    ["archive", "status"],
    ["verify"],
    ["scrub", "run"],
    ["scrub", "status"],
    ["restore", "plan", "--table", "a", "--to", "b", "--latest"],
    ["restore", "run", "--table", "a", "--to", "b", "--minus", "5m"],
    ["restore", "status", "b"],
    ["restore", "resume", "b"],
    ["restore", "cancel", "b"],
    ["drill", "list"],
    ["drill", "run", "restore-random"],
    ["drill", "report"],
]


def run_json(argv: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    code = cli.main([*argv, "--json"])
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert document["schema"] == 1
    assert document["exit"] == code
    return code, document


@pytest.mark.parametrize("argv", CLIENT_CALLS, ids=" ".join)
def test_an_unreachable_cluster_is_exit_1_with_the_whole_shape(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code, document = run_json([*argv, "--endpoint", NOWHERE], capsys)
    assert code == 1
    assert document["error"]["code"] == "Unreachable"
    assert set(document["error"]) == {"code", "message", "asked", "found", "next"}
    verb = next(verb for verb in every_verb() if list(verb.words) == argv[: len(verb.words)])
    assert set(verb.template) <= set(document)


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["archive"],
        ["history", "t"],
        ["scrub", "history", "--since", "yesterday"],
        ["backup", "forget"],
        ["archive", "status", "--no-such-flag"],
        ["archive", "status", "extra"],
        ["restore", "plan", "--table", "a", "--to", "b"],
        ["restore", "plan", "--table", "a", "--to", "b", "--latest", "--minus", "5m"],
        ["restore", "plan", "--table", "a", "--to", "b", "--at", "2026-01-01T00:00:00"],
        ["restore", "run", "--table", "a", "--to", "b", "--minus", "5"],
        ["restore", "run", "--table", "a", "--to", "b", "--latest", "--wait", "--no-wait"],
        ["verify", "--level", "deep"],
        ["verify", "--cluster", "c"],
        ["verify", "--budget", "10"],
        ["verify", "--max-age", "9" * 30 + "d"],
        ["schedule", "set", "scrub", "0 2 * * *", "--rate", "0"],
        ["schedule", "set", "scrub", "0 2 * * *", "--budget", "0h"],
        ["schedule", "set", "scrub", "0 2 * * *", "--budget", "0GiB"],
        ["schedule", "set", "scrub", "0 2 * * *", "--within", "0d"],
        ["drill", "run", "rot", "--seed", "-7"],
        ["drill", "run", "rot", "--faults", "0"],
        ["drill", "run", "rot", "--faults", "10001"],
        ["serve"],
        ["serve", "--dev", "--set", "archive.seal_agee=5s"],
        ["serve", "--dev", "--port", "http"],
        ["serve", "--dev", "--auth"],
        ["archive", "status", "--endpoint", "nowhere"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_64_in_text_and_json(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(argv) == 64
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    assert 1 <= len(captured.err.splitlines()) <= 50, "one screen"
    code, document = run_json(argv, capsys)
    assert code == 64
    assert document["error"]["next"]


def test_options_may_stand_before_and_after_the_verb(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in (
        ["--endpoint", NOWHERE, "--json", "scrub", "status"],
        ["scrub", "--endpoint", NOWHERE, "status", "--json"],
        ["scrub", "status", "--json", "--endpoint", NOWHERE],
    ):
        assert cli.main(argv) == 1
        assert NOWHERE in json.loads(capsys.readouterr().out)["error"]["asked"]


def test_the_endpoint_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("SCRUBJAY_ENDPOINT", "http://127.0.0.1:7")
    _, document = run_json(["scrub", "status"], capsys)
    assert "127.0.0.1:7/" in document["error"]["asked"]


@pytest.mark.parametrize("verb", every_verb(), ids=lambda verb: verb.name)
def test_each_verb_has_help_with_example_and_exit_codes(verb: Verb, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*verb.words, "-h"]) == 0
    text = capsys.readouterr().out
    assert "example:" in text
    assert f"scrubjay {verb.name}" in text.split("example:")[1]
    assert "exit codes:" in text
    for code in (*verb.exits, 64, 130):
        assert f"\n{code:>5}  " in text
    assert set(verb.exits) < set(EXIT_MEANING)
    assert cli.main([*verb.words, "-h", "--json"]) == 0
    assert "example:" in json.loads(capsys.readouterr().out)["help"]


@pytest.mark.slow
def test_the_page_of_the_command_line_is_current() -> None:
    assert (ROOT / "docs" / "CLI.md").read_text(encoding="utf-8") == cli_page(), "run: python -m scrubjay.reference_pages docs"


@pytest.mark.parametrize(("codes", "merged"), [([], 0), ([0, 0], 0), ([0, 3], 3), ([3, 1, 0], 1), ([1, 3, 2], 2)])
def test_two_before_one_before_three(codes: list[int], merged: int) -> None:
    assert merge_exits(codes) == merged


def test_an_answer_fills_what_is_absent() -> None:
    document = answer(3, {"verdict": "unverified"}, template={"verdict": None, "findings": [], "bytes": None})
    assert document == {"schema": 1, "exit": 3, "error": None, "verdict": "unverified", "findings": [], "bytes": None}


def test_our_errors_become_failures() -> None:
    failure = failure_of(Corrupt("bytes failed their check", where="t=1", expected=2, found=3), asked="verify")
    assert (failure.exit_code, failure.error["code"], failure.error["asked"]) == (2, "Corrupt", "verify")
    assert failure.error["found"] == "3; expected=2, where=t=1"
    refused = failure_of(Unsafe("outside the window", body={"window": {"earliest": None}}))
    assert refused.body == {"window": {"earliest": None}}
    assert refused.exit_code == 4


@pytest.mark.parametrize(("error", "code"), [(ZeroDivisionError("x"), 1), (KeyboardInterrupt(), 130), (Unsafe("no"), 4)])
def test_no_exception_escapes(error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def explode(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("scrubjay.client.AdminClient.get", explode)
    got, document = run_json(["scrub", "status"], capsys)
    assert got == code
    assert document["error"]["code"] in ("Internal", "Interrupted", "Unsafe")
    assert cli.main(["scrub", "status"]) == code
    assert "Traceback" not in capsys.readouterr().err


def test_an_unsafe_listen_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    code, document = run_json(["serve", "--dev", "--listen", "0.0.0.0"], capsys)
    assert code == 4
    assert "--insecure-listen" in document["error"]["next"]


def test_a_reader_who_leaves_early_is_no_traceback() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys\nfrom scrubjay.cli import main\nimport os\nos.close(1)\nr, w = os.pipe()\nos.close(r)\nos.dup2(w, 1)\nsys.exit(main(['-h']))",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.stderr == ""
    assert done.returncode == 1


def test_stripped_assertions_are_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-O", "-m", "scrubjay", "scrub", "status", "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 4
    assert json.loads(done.stdout)["error"]["next"] == "run it without -O"


def test_failures_show_what_was_asked_found_and_what_to_do(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise VerbFailure(
            "no such table", code="ResourceNotFound", exit_code=1, asked="table x", found="a, b", next_step="scrubjay archive status"
        )

    monkeypatch.setattr("scrubjay.client.AdminClient.get", refuse)
    assert cli.main(["archive", "status", "--table", "x"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "scrubjay: no such table [ResourceNotFound]",
        "  asked: table x",
        "  found: a, b",
        "  next:  scrubjay archive status",
    ]


@pytest.mark.parametrize("flags", [[], ["--json"]], ids=["text", "json"])
def test_serve_says_ready_once(
    flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    seen: list[Any] = []

    def serve(config: Any, lock: Any) -> int:
        assert lock.folder == tmp_path / "scrubjay-data"
        seen.append(config)
        sys.stdout.write("ready http://127.0.0.1:8123\n")
        sys.stdout.flush()
        return 3

    monkeypatch.setattr("scrubjay.serving.dev.serve", serve)
    assert cli.main(["serve", "--dev", "--port", "8123", "--archive", "s3://b/p", "--set", "tables.initial_partitions=3", *flags]) == 3
    out = capsys.readouterr().out
    assert (json.loads(out)["ready"] if flags else out) == ("http://127.0.0.1:8123" if flags else "ready http://127.0.0.1:8123\n")
    assert (seen[0].serve.port, seen[0].archive.url, seen[0].tables.initial_partitions) == (8123, "s3://b/p", 3)


def test_one_version_everywhere(capsys: pytest.CaptureFixture[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"scrubjay {project['version']}\n"


def test_an_undo_says_how_many_conflicts_it_does_not_name() -> None:
    (verb,) = [one for one in every_verb() if one.name == "undo"]
    totals = {"restored": 0, "deleted": 0, "unchanged": 0, "conflicts": 1_002}
    conflict = {"key": {"id": {"S": "a"}}, "before": None, "expected": None, "found": None}
    told = verb.render({**verb.template, "written": True, "totals": totals, "conflicts": [conflict]})
    assert "and 1,001 more conflicts: --key or --prefix shows them" in told
    told = verb.render({**verb.template, "written": True, "totals": {**totals, "conflicts": 1}, "conflicts": [conflict]})
    assert not [line for line in told if "more conflicts" in line]


@pytest.mark.parametrize(
    ("argv", "asked"),
    [
        (["schedule", "set", "scrub", "0 2 * * *", "--rate", "0"], "--rate 0"),
        (["schedule", "set", "scrub", "0 2 * * *", "--budget", "0 h"], "--budget 0 h"),
        (["schedule", "set", "scrub", "0 2 * * *", "--within", "0d"], "--within 0d"),
        (["drill", "run", "rot", "--seed", str(1 << 53)], f"--seed {1 << 53}"),
        (["drill", "run", "rot", "--faults", "0"], "--faults 0"),
    ],
)
def test_a_number_out_of_bounds_is_told_by_its_option(argv: list[str], asked: str, capsys: pytest.CaptureFixture[str]) -> None:
    """And not as the server would: by a field of its JSON, and with a page that says how to write a client."""
    code, document = run_json(argv, capsys)
    assert (code, document["error"]["asked"]) == (64, asked)
    assert "$" not in document["error"]["found"]
