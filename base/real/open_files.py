"""File descriptors: the soft limit is raised to the hard one, and what there is is shared out, so that no part of a server starves another.

What a partition needs is nothing: its log lies in the node's WAL, and its tree is open only while it is among the `trees_per_node` read last.
"""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator
from typing import NamedTuple

from scrubjay.base.errors import Exhausted

OWN = 96
"""What the process needs whatever it holds: standard streams, event loop, ledger, pipes of the workers, connections to the object store."""
FEWEST = 192
"""Below so many a server does not start."""
PER_TREE = 2


class Descriptors(NamedTuple):
    """limit: of the process. connections: of clients. trees_per_node: open for reading at once. wal_files_per_node: that may lie in a node's log."""

    limit: int
    connections: int
    trees_per_node: int
    wal_files_per_node: int


def raise_descriptors() -> int:
    """Raise RLIMIT_NOFILE to its hard limit; children inherit it. Returns the limit now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or soft >= hard:
        return soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def share_out(limit: int, *, nodes: int) -> Descriptors:
    """A third of what the process itself does not need each for connections, trees and logs. Raises Exhausted below FEWEST. nodes: in this process."""
    if limit < FEWEST:
        raise Exhausted("too few file descriptors to start with: raise the limit (ulimit -n)", limit=limit, at_least=FEWEST)
    third = (limit - OWN) // 3
    return Descriptors(limit, third, third // (PER_TREE * nodes), third // nodes)


@contextlib.contextmanager
def thread_limit() -> Iterator[None]:
    """Around what may start a thread: one that the system refuses (`ulimit -u`, `-v`, a cgroup's pids) raises Exhausted, not Python's nameless RuntimeError."""
    try:
        yield
    except RuntimeError as error:
        if "start new thread" not in str(error):
            raise
        raise Exhausted("the machine starts no more threads (ulimit -u, ulimit -v)", cause=str(error)) from error
