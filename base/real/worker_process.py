"""A child process that a state machine talks to: spawn, send bytes, hear bytes, hear that it ended. Descriptors on the loop, no threads.

The child runs the same interpreter; what it does with its descriptors is in `base/worker.py`. Storage workers (`storage/btree/lmdb_engine.py`) and job workers
(`base/real/jobs.py`) are both started here.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import subprocess
from collections import deque
from collections.abc import Callable, Sequence

from scrubjay.base.oserrors import error_of_os
from scrubjay.base.real.child import interpreter_arguments, require_same_program

READ_BYTES = 1 << 20
PIPE_BYTES = 1 << 20
"""Asked of the kernel for both pipes, so that a checkpoint of some MiB costs few turns of the loop."""


class WorkerProcess:
    """One child. Nothing is lost while it lives: what the pipe does not take waits here (bounded by what the caller has outstanding)."""

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        *,
        on_data: Callable[[bytes], None],
        on_exit: Callable[[int], None],
        loop: asyncio.AbstractEventLoop | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        """module: run as `__main__`, isolated (base.real.child). on_exit: once, with the exit status (negative: the signal), unless `close` came first.
        environment: None: ours.

        Raises the typed error of what the machine lacks (memory, descriptors, processes), Unavailable if our source is not what this process was loaded from.
        """
        require_same_program()
        self._loop = loop or asyncio.get_running_loop()
        self._on_data = on_data
        self._on_exit = on_exit
        self._waiting: deque[memoryview] = deque()
        self._writing = False
        self._ended = False
        try:
            self._process = subprocess.Popen(  # noqa: S603  (our own interpreter and module)
                interpreter_arguments(module, arguments), stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, env=environment
            )
        except OSError as error:
            raise error_of_os(error.errno, what=module, action="start a worker process") from error
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

    @property
    def alive(self) -> bool:
        """It has not ended, as far as the system knows."""
        return not self._ended and self._process.poll() is None

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
        self._on_exit(self._process.wait())

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

    def kill(self) -> None:
        """End the child at once, in the middle of whatever it does; `on_exit` tells when it has gone."""
        self._process.kill()

    def close(self) -> None:
        """End the child at once and wait for it; `on_exit` is not called. Safe at any moment: what it commits is atomic."""
        self._end()
        self._process.wait()
