"""Log lines: one JSON object each (on a terminal: lines for people), to stderr, never one per request. `bind` what a line is about: node, partition, job.
A server keeps its own besides, as JSON, in its data folder (`base.real.kept_lines`): who asks what went wrong may come when it has ended.

Logging never fails its caller: a closed or full stderr loses lines, nothing else; a value that JSON does not know is shown by its repr.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, MutableMapping
from typing import Any, TextIO

import msgspec

from scrubjay.base.errors import Invalid
from scrubjay.base.real.kept_lines import KeptLines
from scrubjay.base.real.left_out import left_out

with left_out("rich", "colorama", "better_exceptions"):  # for tracebacks in colour, which it would load for whoever logs, and we show none
    import structlog

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def logger(part: str) -> Any:
    """Of one part of the program, for its module: what `setup` says later counts."""
    return structlog.get_logger(part=part)


class _Lines:
    """What structlog writes through: one line a call, flushed."""

    def __init__(self, stream: TextIO, clean: Callable[[str], str]) -> None:
        self._stream, self._clean = stream, clean

    def msg(self, line: str) -> None:
        try:
            self._stream.write(self._clean(line) + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            return  # nobody is left to tell

    debug = info = warning = error = critical = exception = msg


def _order(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Time, level and event first: people read these lines too."""
    head = {"at": event.pop("timestamp", None), "level": event.pop("level", None), "event": event.pop("event", None)}
    return {**head, **event}


def _render(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
    try:
        return msgspec.json.encode(event, enc_hook=repr).decode()
    except (TypeError, ValueError):  # lone surrogates, odd keys
        return json.dumps(event, default=repr, skipkeys=True)


def _renderers(stream: TextIO) -> list[Any]:
    """The last steps of a line, for a terminal or for a machine."""
    if _is_terminal(stream):
        colours = "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
        return [
            structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
            structlog.dev.ConsoleRenderer(
                colors=colours, pad_event_to=0, pad_level=False, exception_formatter=structlog.dev.plain_traceback
            ),
        ]
    return [*_MACHINE]


_MACHINE: list[Any] = [structlog.processors.TimeStamper(fmt="iso", utc=True), structlog.processors.format_exc_info, _order, _render]


def _keeping(kept: KeptLines, clean: Callable[[str], str]) -> Any:
    """A step that keeps the line as JSON and hands it on as it was."""

    def keep(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        line: Any = dict(event)
        for step in _MACHINE:
            line = step(logger, method, line)
        kept.write(clean(line))
        return event

    return keep


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


def setup(
    level: str = "info", stream: TextIO | None = None, *, kept: KeptLines | None = None, clean: Callable[[str], str] = lambda line: line
) -> None:
    """Configure structlog for this process; call once, before the first line. stream: stderr unless given. kept: gets every line as well. clean: takes secrets
    out of a line, wherever it goes.

    A terminal gets lines for people, everything else JSON. Raises Invalid if `level` is no key of `LEVELS`.
    """
    if level.strip().lower() not in LEVELS:
        raise Invalid("no such log level", asked=f"SCRUBJAY_LOG={level}", found="none of ours", next=f"one of {', '.join(LEVELS)}")
    target = sys.stderr if stream is None else stream
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            *([] if kept is None else [_keeping(kept, clean)]),
            *_renderers(target),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level.strip().lower()]),
        logger_factory=lambda *_names: _Lines(target, clean),
        cache_logger_on_first_use=False,
    )
