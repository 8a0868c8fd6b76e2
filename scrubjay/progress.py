"""Progress on stderr: a rich bar on a terminal, a plain line every 10 s elsewhere, nothing with --quiet, nothing at all under a second."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Protocol, TextIO

from scrubjay.machine import monotonic_s
from scrubjay.text import count
from scrubjay.units import human_size

FIRST_S = 1.0
LINE_EVERY_S = 10.0


class Progress(Protocol):
    """Tell it what is going on as often as you like; it decides what to show."""

    def update(self, phase: str, done: int | None = None, total: int | None = None, unit: str = "") -> None: ...
    def close(self) -> None: ...
    def __enter__(self) -> Progress: ...
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


class _Base:
    def __enter__(self) -> Any:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Nothing is left on the screen but finished lines."""


class SilentProgress(_Base):
    """--quiet."""

    def update(self, phase: str, done: int | None = None, total: int | None = None, unit: str = "") -> None:
        """Shows nothing."""


class LineProgress(_Base):
    """For logs: a line every 10 s, the first after 10 s."""

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = monotonic_s) -> None:
        self._stream = stream
        self._clock = clock
        self._started = self._shown = clock()

    def update(self, phase: str, done: int | None = None, total: int | None = None, unit: str = "") -> None:
        now = self._clock()
        if now - self._shown >= LINE_EVERY_S:
            self._shown = now
            print(f"{phase}{amount(done, total, unit)} ({now - self._started:.0f} s)", file=self._stream, flush=True)


class BarProgress(_Base):
    """For people: one rich bar, shown once a second has passed."""

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = monotonic_s) -> None:
        self._stream = stream
        self._clock = clock
        self._started = clock()
        self._bar: Any = None
        self._task: Any = None

    def update(self, phase: str, done: int | None = None, total: int | None = None, unit: str = "") -> None:
        if self._bar is None:
            if self._clock() - self._started < FIRST_S:
                return
            self._open()
        self._bar.update(self._task, description=phase, completed=done or 0, total=total, amount=amount(done, total, unit).strip())

    def _open(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[amount]}"),
            TimeElapsedColumn(),
            console=Console(file=self._stream),
            transient=True,
        )
        self._task = self._bar.add_task("", total=None, amount="")
        self._bar.start()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def amount(done: int | None, total: int | None, unit: str) -> str:
    """` 3 of 10 partitions`, ` 1 row`, ` 1.2 MiB of 8.0 MiB`, or nothing."""
    if done is None:
        return ""
    show = human_size if unit == "bytes" else count
    of = f" of {show(total)}" if total is not None else ""
    word = unit[:-1] if (done if total is None else total) == 1 and unit.endswith("s") else unit
    return f" {show(done)}{of}{'' if unit in ('', 'bytes') else ' ' + word}"


PHASES = {
    "log": "reading manifests",
    "objects": "reading segments",
    "replay": "rebuilding",
    "closed": "reading closed times",
    "seal": "sealing",
    "scan": "reading copies",
    "compare": "comparing",
    "read": "reading the archive",
    "write": "writing rows",
    "load": "loading",
    "confirm": "comparing digests",
}
"""The server's words for what it is at, as people say it."""


def told(facts: Mapping[str, Any]) -> tuple[str, int | None, int | None, str]:
    """Arguments of `update` for what a server or a verifier tells: rows or bytes where it knows them, else what it counts."""
    word = str(facts.get("phase") or "running")
    phase = PHASES.get(word, word)
    if isinstance(left := facts.get("left_s"), float):
        phase += f", about {count(max(1, round(left)))} s left"
    for name, unit in (("rows", "rows"), ("bytes", "bytes"), ("raw_bytes", "bytes")):
        if isinstance(facts.get(name), int) and facts[name]:  # nothing yet: what it counts says more
            done, total = facts.get("done"), facts.get("total")
            if done is not None and total is not None and facts.get("unit") != unit and total > 1:
                phase += amount(done, total, str(facts.get("unit") or ""))
            return phase, facts[name], None, unit
    return phase, facts.get("done"), facts.get("total"), str(facts.get("unit") or "")


def shown_progress(facts: Mapping[str, Any]) -> str:
    """The same as one line."""
    phase, done, total, unit = told(facts)
    return phase + amount(done, total, unit)


def open_progress(*, quiet: bool, stream: TextIO | None = None) -> Progress:
    """The right one for this stderr."""
    stream = stream or sys.stderr
    if quiet:
        return SilentProgress()
    return BarProgress(stream) if stream.isatty() else LineProgress(stream)
