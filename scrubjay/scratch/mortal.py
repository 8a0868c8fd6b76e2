"""`scrubjay` as a child that dies with its parent: `scrubjay.scratch.mortal PARENT WORDS…`. A drill or a demo that is killed leaves no server behind."""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from scrubjay.base.oserrors import error_of_os
from scrubjay.base.real.child import interpreter_arguments
from scrubjay.base.worker import tie_to


def start(words: Sequence[str], *, environment: Mapping[str, str], out: IO[bytes], log: IO[bytes], folder: Path) -> subprocess.Popen[bytes]:
    """`scrubjay WORDS…`, alive no longer than the thread that calls this. What it makes for a while is made in `folder` too: of what a SIGKILL leaves, nothing is
    anywhere else. Raises the typed error of what the machine lacks."""
    try:
        return subprocess.Popen(  # noqa: S603 - our own interpreter and module, no shell
            interpreter_arguments("scrubjay.scratch.mortal", [str(os.getpid()), *words]),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=log,
            env={**environment, "TMPDIR": str(folder.absolute())},
            cwd=folder,
            start_new_session=True,
        )
    except OSError as error:
        raise error_of_os(error.errno, what=words[0], action="start a process") from error


def main(arguments: list[str]) -> None:
    """Ends as the command does."""
    parent, *words = arguments
    tie_to(int(parent))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a worker ignores both, and its children would too
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    sys.argv[1:] = words
    runpy.run_module("scrubjay", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
