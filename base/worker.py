"""The child's side of every worker process of ours; the parent's is `base/real/worker_process.py`.

Commands come on standard input and answers leave on what was standard output, both as frames (`base/frames.py`); whatever is printed goes to standard error.
Two ropes tie a worker to its parent: PR_SET_PDEATHSIG (the kernel kills it at once, also from a tight loop) and end of file on standard input.

Only the `main` of a process of its own calls this: it lies outside `base/real` because the storage worker is one, and storage may not import that.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Iterator

from scrubjay.base.errors import Internal
from scrubjay.base.frames import FrameReader

COMMANDS = 0
"""The descriptor on which commands come."""
READ_BYTES = 1 << 20
_PR_SET_PDEATHSIG = 1
_ORPHAN = 3


def become_worker(parent: int) -> int:
    """Tie this process to its parent, and leave its end to it; the descriptor on which answers leave. Ends the process if the parent is gone already.

    A Ctrl-C in the terminal, or a SIGTERM for a whole service, reaches the workers too: the parent decides when they end. parent: its process id.
    """
    tie_to(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    answers = os.dup(1)
    os.dup2(2, 1)
    return answers


def tie_to(parent: int) -> None:
    """The kernel kills this process as soon as the thread that started it has ended. Ends the process if that is so already. parent: its process id."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise Internal("prctl(PR_SET_PDEATHSIG) failed", errno=ctypes.get_errno())
    if os.getppid() != parent:
        raise SystemExit(_ORPHAN)


def commands() -> Iterator[bytes]:
    """The bodies of the frames that come, until the input ends."""
    frames = FrameReader()
    while data := os.read(COMMANDS, READ_BYTES):
        yield from frames.feed(data)


def answer(descriptor: int, frame: bytes) -> None:
    """Write one frame, whole. Raises BrokenPipeError if nobody listens any more."""
    view = memoryview(frame)
    while view:
        view = view[os.write(descriptor, view) :]
