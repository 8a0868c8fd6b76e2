"""What a failed system call means: one table for files, trees, workers and the folder archive.

Only an error that says "the medium cannot give back these bytes" is a fact about data (Corrupt). That the machine has run out of something, or does not let
us, says nothing about what lies on the disk: it is said by name, retried or refused, and never kept.
"""

from __future__ import annotations

import errno
import os

from scrubjay.base.errors import Corrupt, DiskFull, Exhausted, Exists, Missing, ScrubjayError, Unavailable

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
EXHAUSTED = {
    errno.ENOMEM: "memory",
    errno.EMFILE: "file descriptors of this process",
    errno.ENFILE: "file descriptors of this machine",
    errno.EAGAIN: "processes or locks",
    errno.ENOLCK: "file locks",
    errno.ENOBUFS: "network buffers",
}
"""errno -> what the machine has no more of."""
REFUSED = frozenset(
    {
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.EBUSY,
        errno.EINTR,
        errno.ETIMEDOUT,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENODEV,
    }
)


def error_of_os(number: int | None, *, what: str, action: str) -> ScrubjayError:
    """The typed error of errno `number`. what: the path or thing concerned; action: what was tried, a verb."""
    if number in FULL:
        return DiskFull("the disk is full", what=what, action=action)
    if number == errno.ENOENT:
        return Missing("no such file", what=what)
    if number == errno.EEXIST:
        return Exists("file exists", key=what)
    if number in EXHAUSTED:
        return Exhausted(f"the machine has no more {EXHAUSTED[number]}", what=what, action=action)
    text = os.strerror(number) if number is not None else "unknown error"
    if number in REFUSED:
        return Unavailable(f"the machine refused: {text}", what=what, action=action)
    return Corrupt(f"the disk failed: {text}", what=what, action=action, errno=number)
