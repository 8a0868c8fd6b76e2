"""A child process that a state machine talks to: spawn, send bytes, hear bytes, hear that it ended. Descriptors on the loop, no threads.

The child runs the same interpreter, gets frames on standard input and answers on standard output; its standard error is ours. It is expected to end
when its input ends (and by PR_SET_PDEATHSIG when we die).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence

READ_BYTES = 1 << 20
PIPE_BYTES = 1 << 20
"""Asked of the kernel for both pipes, so that a checkpoint of some MiB costs few turns of the loop."""


class WorkerProcess:
    """One child. Nothing is lost while it lives: what the pipe does not take waits here (bounded by what the caller has outstanding)."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        on_data: Callable[[bytes], None],
        on_exit: Callable[[str], None],
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """arguments: for the interpreter, for example ("-m", "package.module", ...). on_exit: once, with the exit status as text, unless `close` came first."""
        self._loop = loop or asyncio.get_running_loop()
        self._on_data = on_data
        self._on_exit = on_exit
        self._waiting: deque[memoryview] = deque()
        self._writing = False
        self._ended = False
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        self._process = subprocess.Popen(  # noqa: S603  (our own interpreter and module)
            [sys.executable, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, bufsize=0
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in = self._process.stdin.fileno()
        self._out = self._process.stdout.fileno()
        for descriptor in (self._in, self._out):
            os.set_blocking(descriptor, False)
            with contextlib.suppress(OSError):
                fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._loop.add_reader(self._out, self._readable)

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, data: bytes) -> None:
        """Queue bytes for the child. Dropped once it has ended: `on_exit` says so."""
        if self._ended:
            return
        self._waiting.append(memoryview(data))
        if not self._writing:
            self._write()

    def _write(self) -> None:
        waiting = self._waiting
        try:
            while waiting:
                written = os.writev(self._in, list(waiting)[:64])
                while written:
                    if written >= len(waiting[0]):
                        written -= len(waiting.popleft())
                    else:
                        waiting[0] = waiting[0][written:]
                        written = 0
        except BlockingIOError:
            if not self._writing:
                self._writing = True
                self._loop.add_writer(self._in, self._write)
            return
        except (BrokenPipeError, ConnectionError):
            waiting.clear()  # it died: the end of its output tells
        if self._writing:
            self._writing = False
            self._loop.remove_writer(self._in)

    def _readable(self) -> None:
        try:
            data = os.read(self._out, READ_BYTES)
        except BlockingIOError:
            return
        if data:
            self._on_data(data)
            return
        self._end()
        status = self._process.wait()
        self._on_exit(f"killed by signal {-status}" if status < 0 else f"exit status {status}")

    def _end(self) -> None:
        if self._ended:
            return
        self._ended = True
        self._loop.remove_reader(self._out)
        if self._writing:
            self._loop.remove_writer(self._in)
            self._writing = False
        self._waiting.clear()
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def close(self) -> None:
        """End the child at once and wait for it; `on_exit` is not called. Safe at any moment: what it commits is atomic."""
        self._end()
        self._process.wait()
