"""What people read: it fits 80 columns, the bad comes first, the error last, units are human, and colour is for terminals."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import select
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from scrubjay import cli, text
from scrubjay.base.real import log_lines
from scrubjay.output import error_lines
from scrubjay.parser import build
from scrubjay.progress import LineProgress, amount, shown_progress, told
from scrubjay.verbs import archive_status, every_verb, restore_plan, restore_run, scrub_run, scrub_status, verify

COLUMNS = 80
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
UUID = "00000000-0000-4000-8000-{:012d}"
T1, T2 = "2026-03-01T02:14:59.123456Z", "2026-03-01T02:15:59.654321Z"
NOWHERE = "http://127.0.0.1:9"


def too_wide(lines: str | list[str]) -> list[str]:
    """Lines wider than the terminal, but for single words that are: names and paths are never cut."""
    found = lines.splitlines() if isinstance(lines, str) else [part for line in lines for part in line.splitlines()]
    return [line for line in found if len(COLOUR.sub("", line)) > COLUMNS and len(line.split()) > 2]


def in_terminal(argv: list[str], **env: str) -> tuple[int, str]:
    """Exit code and everything a terminal of 80 columns shows of a command."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        argv,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**os.environ, "COLUMNS": str(COLUMNS), "TERM": "xterm-256color", **env},
        close_fds=True,
    )
    os.close(slave)
    shown = b""
    while select.select([master], [], [], 60)[0]:
        try:
            part = os.read(master, 65536)
        except OSError:  # the other side is gone
            break
        if not part:
            break
        shown += part
    os.close(master)
    return process.wait(60), shown.decode().replace("\r\n", "\n")


def copy(name: str, verdict: str, *, kind: str = "storage", rows: int = 1234567, reason: str | None = None) -> dict[str, Any]:
    return {"copy": name, "kind": kind, "rows": rows, "digest": "0123456789abcdef" * 2, "verdict": verdict, "reason": reason}


def finding(**more: Any) -> dict[str, Any]:
    return {
        "kind": "different",
        "copy": "n2",
        "partition": UUID.format(7),
        "key": {"pk": {"S": "Corvidae"}, "sk": {"S": "scrub jay"}},
        "object": None,
        "lsn": 123456,
        "segment": None,
        "found_by": "scrub",
        "action": "quarantined",
        "evidence": "nodes/n2/quarantine/00000000-0000-4000-8000-000000000007-1",
        "detail": "the bytes of a row do not have the checksum they were written with",
        "at": T1,
    } | more


def partition(number: int, verdict: str, **more: Any) -> dict[str, Any]:
    copies = [copy("n1", "match"), copy("n2", verdict), copy("n3", "match"), copy("archive", "match", kind="reference")]
    return {
        "partition": UUID.format(number),
        "lsn": 12345678,
        "verdict": verdict,
        "reason": None,
        "healed": False,
        "copies": copies,
        "findings": [finding()] if verdict == "mismatch" else [],
    } | more


SCRUB = {
    "verdict": "mismatch",
    "healed": True,
    "tables": [
        {"table": "cities", "table_id": UUID.format(1), "verdict": "match", "partitions": [partition(1, "match"), partition(2, "match")]},
        {
            "table": "a-table-with-a-name-" + "x" * 20,
            "table_id": UUID.format(2),
            "verdict": "mismatch",
            "partitions": [
                partition(3, "match"),
                partition(4, "unverified", reason="archive_lags", copies=[]),
                partition(5, "mismatch", reason="a copy differs from all the others"),
            ],
        },
    ],
    "totals": {"partitions": 5, "rows": 1234567, "bytes": 987654321, "seconds": 200.4},
}


def status_table(name: str, *, holes: int = 0, proven: bool = True, lag: float | None = 2.25) -> dict[str, Any]:
    hole = {"partition": UUID.format(9), "first_lsn": 1000, "last_lsn": 2000, "from": T1, "to": T2}
    return {
        "table": name,
        "table_id": UUID.format(1),
        "dropped_at": None,
        "window": {"earliest": T1 if proven else None, "latest": T2 if proven else None, "holes": [hole] * holes},
        "lag_seconds": lag,
        "unarchived_bytes": 8_500_000,
        "segments": 123456,
        "packs": 0,
        "bytes_stored": 1 << 40,
        "bytes_raw": 1 << 41,
        "attestations": {"1": 0, "2": 0, "3": 3},
    }


STATUS = {
    "exit": 1,
    "findings": [
        {"object": f"{UUID.format(1)}/closed/n1/" + "2" * 60 + ".json", "kind": "hole", "detail": "the object was written and is gone"}
    ],
    "tables": [
        status_table("healthy"),
        status_table("late", lag=4000.0),
        status_table("new", proven=False, lag=None),
        status_table("holed-" + "x" * 70, holes=2),
    ],
    "metadata": None,
    "forks": [{"partition": UUID.format(3), "first_lsn": 5, "epochs": [1, 2]}],
    "store": {
        "url": "s3://a-bucket-with-a-long-name/and/a/prefix",
        "reachable": False,
        "last_error": "connection refused " * 5,
        "since": T1,
    },
}
PLAN = {
    "table": "cities",
    "to": "cities-good",
    "at": T1,
    "max_clock_offset": 0.5,
    "part": None,
    "window": {"earliest": T1, "latest": T2, "holes": []},
    "partitions": [{"partition": UUID.format(1), "base_lsn": 1, "from_lsn": 2, "to_lsn": 123456789, "segments": 1234, "bytes": 1 << 33}],
    "bytes": 1 << 33,
    "forks": [],
    "requests": 1,
    "predicted_seconds": 75.0,
}
RUN = PLAN | {
    "state": "published",
    "rows": 1,
    "digest": "0123456789abcdef" * 2,
    "verdict": "match",
    "seconds": {"plan": 0.1, "read": 12.0, "load": 3.0, "confirm": 2.0, "total": 4000.0},
    "progress": None,
    "findings": [],
}
VERIFY = {
    "verdict": "mismatch",
    "url": "s3://a-bucket-with-a-long-name/and/a/prefix/that/goes/on/and/on",
    "cluster": UUID.format(1),
    "reason": "the budget is spent",
    "objects": {"checked": 1234567, "skipped_fresh": 0, "failed": 1},
    "bytes": 1 << 35,
    "end_checked": False,
    "findings": [
        finding(
            object=f"v1/{UUID.format(1)}/t={UUID.format(2)}/p={UUID.format(3)}/log/000000000001.seg",
            found_by="verify",
            copy="archive",
            key=None,
            evidence=None,
        )
    ],
}
DOCUMENTS = [
    (archive_status.VERB, STATUS),
    (scrub_run.VERB, SCRUB),
    (
        scrub_status.VERB,
        {
            "running": True,
            "started": T1,
            "finished": T2,
            "progress": {"phase": "scan", "done": 1, "total": 1, "unit": "partitions"},
            "last": SCRUB,
        },
    ),
    (restore_plan.VERB, PLAN),
    (restore_run.VERB, RUN),
    (verify.VERB, VERIFY),
]


@pytest.mark.parametrize(("verb", "document"), DOCUMENTS, ids=lambda value: getattr(value, "name", ""))
def test_reports_fit_80_columns(verb: Any, document: Mapping[str, Any]) -> None:
    lines = verb.render({**verb.template, **document})
    assert lines
    assert too_wide(list(lines)) == []
    long = json.loads(json.dumps(document).replace('"a-table-with-a-name-', f'"{"n" * 200}'))
    assert too_wide(list(verb.render({**verb.template, **long}))) == []


@pytest.mark.parametrize("verb", every_verb(), ids=lambda verb: verb.name)
def test_help_fits_80_columns(verb: Any) -> None:
    root, parsers = build(every_verb())
    assert too_wide(parsers[verb.words].format_help()) == []
    assert too_wide(root.format_help()) == []


@pytest.mark.parametrize("group", ["archive", "scrub", "restore"])
def test_help_of_a_group_fits_and_its_error_stands_last(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([group]) == 64
    shown = capsys.readouterr().err
    assert too_wide(shown) == []
    assert shown.rstrip().splitlines()[-1] == f"scrubjay: scrubjay {group}: which verb?"


def test_wrong_usage_says_what_is_wrong_below_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", "--no-such-flag"]) == 64
    assert capsys.readouterr().err.rstrip().splitlines()[-1] == "scrubjay: unrecognized arguments: --no-such-flag"


def test_what_is_bad_stands_first() -> None:
    scrub = list(scrub_run.render_scrub(SCRUB))
    verdicts = [line.split(":")[0] for line in scrub if re.match(r"(match|mismatch|unverified): ", line)]
    assert verdicts == ["mismatch", "unverified", "match", "match"]
    worst = scrub[: scrub.index("")]
    copies = [line.split()[0] for line in worst if re.search(r" (storage|reference) ", line)]
    assert copies[0] == "n2"
    shown = list(archive_status.VERB.render({**archive_status.VERB.template, **STATUS}))
    named = [line.split()[1] for line in shown if line.startswith("  of ")]
    assert [name[:6] for name in named] == ["holed-", "new", "late", "health"]
    assert any(line.startswith("BAD (hole)") for line in shown)
    assert next(at for at, line in enumerate(shown) if line.startswith("HOLE")) < next(
        at for at, line in enumerate(shown) if "healthy" in line
    )
    shut = json.loads(json.dumps(STATUS))
    for table in shut["tables"]:
        for hole in table["window"]["holes"]:
            hole |= {"no_key": "under key 2027", "to": None}
    shown = list(archive_status.VERB.render({**archive_status.VERB.template, **shut}))
    assert not any(line.startswith("HOLE") for line in shown), "nobody knows that anything is gone"
    assert any(line.endswith(" to the end") for line in shown)


def test_the_store_says_what_it_could_not_do_unless_all_is_well_again() -> None:
    store = {"url": "s3://b/p", "reachable": True, "present": True, "fenced": False, "last_error": "an agent failed", "since": T1}
    cases: list[tuple[dict[str, Any], int, str | None]] = [
        ({}, 3, f"  last error {T1}: an agent failed"),
        ({}, 0, None),
        ({"fenced": True}, 3, "store s3://b/p: FENCED: an agent failed"),
        ({"present": False}, 2, "store s3://b/p: the archive that was there is GONE"),
        ({"reachable": False}, 1, "store s3://b/p: NOT REACHABLE: an agent failed"),
    ]
    for change, code, line in cases:
        shown = "\n".join(archive_status.VERB.render({**archive_status.VERB.template, "exit": code, "store": store | change})).splitlines()
        assert (line in shown) if line is not None else not any("an agent failed" in one for one in shown), shown


def test_a_reason_is_no_digest() -> None:
    scrub = list(scrub_run.render_scrub(SCRUB))
    assert "  reason: archive_lags" in scrub
    for line in scrub:
        if "archive_lags" in line:
            assert line.strip().startswith("reason:")


def test_a_finding_names_its_table_and_where_the_evidence_lies() -> None:
    shown = "\n".join(scrub_run.render_scrub(SCRUB))
    assert "FOUND different in a-table-with-a-name-" in shown
    assert "quarantine nodes/n2/quarantine/00000000-0000-4000-8000-000000000007-1" in shown
    offline = "\n".join(verify.VERB.render({**verify.VERB.template, **VERIFY}))
    assert f"FOUND different in table {UUID.format(2)}" in offline


def test_one_is_singular_and_numbers_are_for_people() -> None:
    shown = "\n".join(scrub_run.render_scrub(SCRUB | {"totals": {"partitions": 1, "rows": 1, "bytes": 987654321, "seconds": 200.4}}))
    assert "1 partition, 1 row, 941.9 MiB in 3 min 20 s" in shown
    assert "1,234,567 rows" in "\n".join(scrub_run.render_scrub(SCRUB))
    assert "in 1 request" in "\n".join(restore_plan.VERB.render(PLAN))
    assert "1 row" in "\n".join(restore_run.VERB.render(RUN))
    assert [text.seconds(value) for value in (None, 0.04, 59.9, 61, 3600, 3660, 90_000, 172_800)] == [
        "-",
        "0.0 s",
        "59.9 s",
        "1 min 1 s",
        "1 h",
        "1 h 1 min",
        "1 d 1 h",
        "2 d",
    ]


@pytest.mark.parametrize(
    ("facts", "shown"),
    [
        ({}, "running"),
        ({"phase": "scan", "done": 0, "total": 1, "unit": "partitions"}, "reading copies 0 of 1 partition"),
        ({"phase": "scan", "done": 2, "total": 3, "unit": "partitions", "bytes": 5 << 20}, "reading copies 2 of 3 partitions 5.0 MiB"),
        ({"phase": "write", "rows": 12345}, "writing rows 12,345 rows"),
        ({"phase": "read", "segments": 3, "raw_bytes": 1 << 30, "lsn": 7}, "reading the archive 1.0 GiB"),
        ({"phase": "read", "raw_bytes": 0, "done": 0, "total": 3, "unit": "tables"}, "reading the archive 0 of 3 tables"),
        ({"phase": "objects", "checked": 3, "bytes": 2048}, "reading segments 2.0 KiB"),
        ({"phase": "read", "raw_bytes": 1 << 30, "left_s": 12.3}, "reading the archive, about 12 s left 1.0 GiB"),
        ({"phase": "load", "left_s": 0.2}, "loading, about 1 s left"),
    ],
)
def test_progress_is_in_bytes_or_rows(facts: dict[str, Any], shown: str) -> None:
    assert shown_progress(facts) == shown
    stream, now = io.StringIO(), [0.0]
    progress = LineProgress(stream, clock=lambda: now[0])
    now[0] = 12.0
    progress.update(*told(facts))
    assert stream.getvalue() == f"{shown} (12 s)\n"


def test_one_of_one_is_singular() -> None:
    assert amount(1, None, "rows") == " 1 row"
    assert amount(1, 1, "partitions") == " 1 of 1 partition"
    assert amount(1, 2, "partitions") == " 1 of 2 partitions"


def test_an_error_fits_too() -> None:
    error = {"code": "Unavailable", "message": "word " * 40, "asked": "word " * 40, "found": "word " * 40, "next": "word " * 40}
    assert too_wide(error_lines(error)) == []


# -- in a terminal ---------------------------------------------------------------------------------------------------------------------

SCRUBJAY = [sys.executable, "-m", "scrubjay"]


@pytest.mark.slow
def test_a_terminal_gets_colour_and_a_pipe_does_not() -> None:
    command = [*SCRUBJAY, "archive", "status", "--endpoint", NOWHERE]
    code, shown = in_terminal(command)
    assert (code, too_wide(shown)) == (1, [])
    assert "\x1b[1;31mscrubjay: cannot reach the cluster" in shown
    for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        code, plain = in_terminal(command, **env)
        assert (code, COLOUR.search(plain)) == (1, None)
        assert plain == COLOUR.sub("", shown)
    piped = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (piped.returncode, COLOUR.search(piped.stdout + piped.stderr)) == (1, None)


def test_verdicts_have_their_colours() -> None:
    assert text.coloured("verdict match; mismatch here") == "verdict \x1b[32mmatch\x1b[0m; \x1b[1;31mmismatch\x1b[0m here"
    assert text.coloured("unverified: t, a matchbox") == "\x1b[33munverified\x1b[0m: t, a matchbox"


@pytest.mark.slow
def test_help_in_a_terminal_fits() -> None:
    for words in ([], ["serve"], ["restore", "run"]):
        code, shown = in_terminal([*SCRUBJAY, *words, "-h"])
        assert (code, too_wide(shown)) == (0, [])


@pytest.mark.slow
def test_log_lines_are_for_people_on_a_terminal_and_json_elsewhere() -> None:
    program = "from scrubjay.base.real import log_lines; import structlog; log_lines.setup('INFO'); structlog.get_logger(part='serve').warning('state', node='n1')"
    code, shown = in_terminal([sys.executable, "-c", program])
    assert code == 0
    plain = COLOUR.sub("", shown)
    assert re.match(r"\d\d:\d\d:\d\d \[warning\] +state +node=n1 part=serve\n", plain), plain
    assert shown != plain
    assert COLOUR.search(in_terminal([sys.executable, "-c", program], NO_COLOR="1")[1]) is None
    piped = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert '"event":"state"' in piped.stderr
    assert piped.stderr.startswith('{"at":')


def test_a_closed_stream_is_no_terminal() -> None:
    stream = io.StringIO()
    stream.close()
    log_lines.setup("info", stream)
    log_lines.setup("info", io.StringIO())
    assert not text.has_colour(stream)
