"""Short turns: a thread that serves says to the kernel that it never wants a core for long, and so gets it at once when it wakes.

Since Linux 6.12 the time that a thread asks for at a time (`sched_runtime` of `sched_setattr`, for those of no real-time class too) decides who goes first among those that may run: who asks for less takes the core from who asks for
more. Nobody gets more of a core by it, and no right is needed. An older kernel takes the call and does nothing; on another machine, or where the call is refused, everything is as without.
"""

from __future__ import annotations

import ctypes
import platform
import struct

TURN_NS = 100_000
"""The least that can be asked for."""
_CALLS = {"x86_64": (314, 315), "aarch64": (274, 275)}
"""Numbers of sched_setattr and sched_getattr."""
_ATTRIBUTES = struct.Struct("<IIQiIQQQ")
"""size, policy, flags, nice, priority, runtime, deadline, period."""
_OTHER = 0
_RESET_ON_FORK = 0x01


def _attributes() -> tuple[int, ...] | None:
    """Of the calling thread; None: they cannot be had."""
    calls = _CALLS.get(platform.machine())
    if calls is None:
        return None
    buffer = ctypes.create_string_buffer(_ATTRIBUTES.size)
    if ctypes.CDLL(None).syscall(calls[1], 0, buffer, _ATTRIBUTES.size, 0) != 0:
        return None
    found: tuple[int, ...] = _ATTRIBUTES.unpack(buffer.raw)
    return found


def short_turns() -> None:
    """For the calling thread from now on; not for the processes and threads that it starts, which say it themselves if they serve."""
    now = _attributes()
    if now is None or now[1] != _OTHER:
        return
    size, policy, flags, nice, priority, *_ = now
    asked = ctypes.create_string_buffer(_ATTRIBUTES.pack(size, policy, flags | _RESET_ON_FORK, nice, priority, TURN_NS, 0, 0))
    ctypes.CDLL(None).syscall(_CALLS[platform.machine()][0], 0, asked, 0)


def turn_ns() -> int | None:
    """What the calling thread asks for at a time; None or 0: the kernel does not say."""
    now = _attributes()
    return None if now is None else now[5]
