"""What an archiving agent can and cannot do, as a value: status, metrics, health and the console read this and nothing else of it."""

from __future__ import annotations

from typing import NamedTuple


class Trouble(NamedTuple):
    """error: the latest, in one line. since_us: wall time at which it began; it did not work once since."""

    error: str
    since_us: int


class PartitionQueue(NamedTuple):
    """Sealed segments of one partition that are not archived yet. lag_us: age of the oldest record in them. trouble: of this partition alone."""

    table: str
    partition: str
    segments: int
    bytes: int
    lag_us: int
    trouble: Trouble | None


class AgentState(NamedTuple):
    """One node's agent. stopped: "" while it may write, else fenced | diverged | unknown_epoch | archive_gone. fenced: for good, until an operator acts.

    trouble: the oldest thing that it cannot do now, None if it can do all. queue: partitions with something unarchived.
    """

    node: str
    reachable: bool
    stopped: str
    fenced: bool
    trouble: Trouble | None
    unarchived_bytes: int
    lag_us: int
    failures: int
    queue: tuple[PartitionQueue, ...]
