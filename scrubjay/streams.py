"""The process's three standard streams, whatever state they are handed over in. Called before anything else opens a file."""

from __future__ import annotations

import atexit
import io
import os
import sys
import threading
from typing import NoReturn, TextIO


def secure() -> None:
    """Open /dev/null on each of descriptors 0, 1, 2 that is closed, and let text that the terminal's encoding lacks be written escaped.

    A file opened later would get the free descriptor, and what a library or a child prints to "standard error" would go into that file.
    """
    for number, name in ((0, "stdin"), (1, "stdout"), (2, "stderr")):
        if not _is_open(number):
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False))  # noqa: SIM115 - lives as long as the process
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def paths_in_utf8() -> None:
    """Where the locale makes Python read paths in another encoding (LC_ALL=C and the like), start over in its UTF-8 mode, as the same process.

    A path that came as bytes and one that came out of a URL would be two otherwise.
    """
    if sys.getfilesystemencoding() != "utf-8" and os.environ.get("PYTHONUTF8") != "1":
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - ourselves


def json_output(stream: TextIO) -> None:
    """JSON is UTF-8, whatever the locale says."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def give_up_stdout() -> None:
    """Nobody takes what is written to stdout: let Python's own flush at exit find nothing to complain about."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def leave(code: int) -> NoReturn:
    """End this process with `code` as the interpreter would (threads that it waits for, what was to be done at the end, what was printed), but for its last step: its memory the kernel
    takes back in one piece. Taking a thousand modules apart first was an eighth of all that a short server costs.

    `sys.exit` where output is left that nobody takes: Python says so in its own way.
    """
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()  # temporary folders are among them
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except (OSError, ValueError):
        sys.exit(code)
    os._exit(code)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
