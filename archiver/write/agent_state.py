"""What an archiving agent is told, its numbers, and what it can and cannot do, as values: status, metrics, health and the console read these alone."""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """parallel: segments in memory at a time. compare_after_s: how soon a member that does not lead looks for what the leader uploaded.
    backup_after_s: when it uploads itself. late_after_s: a segment that is not archived so long after it was seen is behind, and its check gives way to nobody. closed_interval_s: between two `closed/` objects. again_after_s: when an announcement without effect is repeated.
    checked_here_bytes: a segment of no more is checked and encoded in this process, in a millisecond: a worker takes a hundred to start, and 40 MiB, for what an idle server seals.
    backoff_s, backoff_cap_s: between tries while the store does not answer. max_offset_us: a closed timestamp further ahead of the clock is not published."""

    parallel: int = 3
    compare_after_s: float = 0.7
    backup_after_s: float = 15.0
    late_after_s: float = 5.0
    again_after_s: float = 10.0
    checked_here_bytes: int = 16 << 10
    rescan_s: float = 2.0
    backoff_s: float = 0.5
    backoff_cap_s: float = 10.0
    closed_interval_s: float = 16.0
    max_offset_us: int = 500_000


@dataclass(slots=True)
class AgentStatus:
    """reachable: the latest call to the store was answered. stopped: why this agent writes no more (Fenced), "" if it does.

    unarchived_bytes: raw bytes of sealed segments that are not archived yet; lag_us: age of the oldest of them. placed: segments found or made good in the
    archive by this agent; refuted: generations that it found bad; closed_published: `closed/` objects; failures: tries that ended in an error.
    """

    reachable: bool = True
    last_error: str | None = None
    last_error_us: int = 0
    stopped: str = ""
    unarchived_bytes: int = 0
    unarchived_segments: int = 0
    lag_us: int = 0
    placed: int = 0
    compared: int = 0
    refuted: int = 0
    closed_published: int = 0
    failures: int = 0
