"""Progress: nothing under a second, a line every ten where nobody watches, a bar where somebody does, silence on request."""

from __future__ import annotations

import io

import pytest

from scrubjay.progress import BarProgress, LineProgress, SilentProgress, amount, open_progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_right_kind_for_the_stream() -> None:
    assert isinstance(open_progress(quiet=False, stream=io.StringIO()), LineProgress)
    assert isinstance(open_progress(quiet=False, stream=Terminal()), BarProgress)
    assert isinstance(open_progress(quiet=True, stream=Terminal()), SilentProgress)


def test_a_line_every_ten_seconds() -> None:
    stream, clock = io.StringIO(), Clock()
    with LineProgress(stream, clock=clock) as progress:
        for _ in range(250):
            progress.update("comparing", 3, 10, "partitions")
            clock.now += 0.1
    assert stream.getvalue().splitlines() == ["comparing 3 of 10 partitions (10 s)", "comparing 3 of 10 partitions (20 s)"]


def test_a_bar_only_after_a_second() -> None:
    stream, clock = Terminal(), Clock()
    with BarProgress(stream, clock=clock) as progress:
        progress.update("comparing", 1, 2)
        assert stream.getvalue() == ""
        clock.now += 1.5
        progress.update("comparing", 1, 2)
    assert "comparing" in stream.getvalue()


@pytest.mark.parametrize(
    ("done", "total", "unit", "text"),
    [(None, 5, "rows", ""), (3, None, "", " 3"), (3, 4, "rows", " 3 of 4 rows"), (1 << 20, 1 << 21, "bytes", " 1.0 MiB of 2.0 MiB")],
)
def test_amounts(done: int | None, total: int | None, unit: str, text: str) -> None:
    assert amount(done, total, unit) == text
