"""Log lines that stay in the data folder: two files, neither beyond its bound, and what could not be written is said."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import structlog

from scrubjay.base.real import log_lines
from scrubjay.base.real.kept_lines import KeptLines


def test_two_files_hold_the_newest_lines_whole(tmp_path: Path) -> None:
    path = tmp_path / "log" / "server.log"
    kept = KeptLines(path, limit=1000)
    for number in range(500):
        kept.write(f"line {number:04}")
    kept.close()
    lines = [*kept.before.read_text().splitlines(), *path.read_text().splitlines()]
    assert lines == [f"line {number:04}" for number in range(500 - len(lines), 500)]
    assert 1000 < kept.before.stat().st_size + path.stat().st_size <= 2000
    assert sorted(path.parent.iterdir()) == [path, kept.before]
    assert path.stat().st_mode & 0o077 == 0


def test_the_next_process_goes_on_behind_half_a_line(tmp_path: Path) -> None:
    path = tmp_path / "log" / "server.log"
    path.parent.mkdir()
    path.write_bytes(b'{"event":"wh')
    KeptLines(path).write("next")
    assert path.read_bytes() == b'{"event":"wh\nnext\n'


def test_what_could_not_be_written_is_counted_and_said(tmp_path: Path) -> None:
    path = tmp_path / "log" / "server.log"
    path.parent.write_text("a file where the folder should be")
    kept = KeptLines(path, limit=1000)
    kept.write("one")
    kept.write("two")
    assert kept.lost == 2
    path.parent.unlink()
    kept.write("x" * 1000)
    assert kept.lost == 3, "no file could hold it"
    kept.write("three")
    assert path.read_text().splitlines() == ['{"event":"lines of the log were lost","lines":3}', "three"]
    assert kept.lost == 0


@pytest.mark.parametrize("terminal", [False, True])
def test_a_line_is_kept_as_json_and_secrets_are_taken_out_wherever_it_goes(tmp_path: Path, terminal: bool) -> None:
    class Stream(io.StringIO):
        def isatty(self) -> bool:
            return terminal

    stream, path = Stream(), tmp_path / "log" / "server.log"
    before = structlog.get_config()
    try:
        log_lines.setup("info", stream, kept=KeptLines(path), clean=lambda line: line.replace("hunter2", "***"))
        structlog.get_logger(part="serve").debug("below the level")
        try:
            raise ValueError("no hunter2 here")
        except ValueError as error:
            structlog.get_logger(part="serve").error("state", node="n1", why="hunter2 \ud800", exc_info=error)
    finally:
        structlog.configure(**before)
    (line,) = path.read_text().splitlines()
    found = json.loads(line)
    assert (found["event"], found["node"], found["level"], found["part"]) == ("state", "n1", "error", "serve")
    assert found["at"].endswith("Z")
    assert "ValueError: no *** here" in found["exception"]
    assert "hunter2" not in stream.getvalue() + line
    assert stream.getvalue().startswith("{") is not terminal
