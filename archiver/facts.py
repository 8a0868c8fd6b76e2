"""What coverage is asked about, and what it answers: values. Every `…_us` is a wall time in microseconds, every stamp a hybrid one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Span(NamedTuple):
    """One usable segment: object and manifest are there. closed: closed timestamp in its SEAL (0: none). content: content records. state, state_before: the
    agreed digest at `last`, and in front of `first`, as bytes. rests: state rows in front of `first`."""

    first: int
    last: int
    first_stamp: int
    last_stamp: int
    closed: int
    content: int
    rests: int
    epoch: int
    chain_before: bytes
    chain: bytes
    state: bytes


class Start(NamedTuple):
    """A verified base snapshot. lsn 0: the first state of a restored table. state: its digest, 16 bytes of sum and 8 of rows, little-endian."""

    lsn: int
    stamp: int
    chain: bytes
    state: bytes
    epoch: int = 0

    def rows(self) -> int:
        return int.from_bytes(self.state[16:], "little")


class Closed(NamedTuple):
    """A closed point. chain: the chain value at `last_seal`, the newest SEAL that its author had applied."""

    closed: int
    last_content: int
    last_seal: int
    chain: bytes
    epoch: int = 0


class Mark(NamedTuple):
    """Somebody who is trusted (the cluster, a ledger, a listed name) knows that the log up to `lsn` was archived. chain: the value there, None if not known."""

    lsn: int
    chain: bytes | None


class CoverageFacts(NamedTuple):
    """What is known of one partition. spans: usable segments, any order, also of several histories. expired: the last LSN that retention took away; gone: and
    nothing was to stay behind it, the table was dropped.
    given_up: (LSN, chain value) up to which somebody took his history away that does not count (`branches.disowned`).
    credible: the highest closed timestamp that can be true by now (a clock, and how far clocks may be apart); whoever claims more is not believed.
    unread: ranges of LSNs, and unread_bases: LSNs, of objects that are there under a key that is not at hand, each with what is said of that."""

    partition: str
    spans: Sequence[Span] = ()
    starts: Sequence[Start] = ()
    closed: Sequence[Closed] = ()
    marks: Sequence[Mark] = ()
    expired: int = 0
    gone: bool = False
    given_up: Sequence[tuple[int, bytes]] = ()
    credible: int = (1 << 64) - 1
    unread: Sequence[tuple[int, int, str]] = ()
    unread_bases: Sequence[tuple[int, str]] = ()


class Hole(NamedTuple):
    """Records [first_lsn, last_lsn] of a partition are not in the archive: moments between from_us and to_us, both exclusive (None: nothing before /
    behind it can be restored either), are lost. base: no records: the base at that LSN, on which the log rests, is gone.
    no_key: nobody knows that anything is gone: it lies there under a key of encryption that is not at hand; what is said of that, with the key's id."""

    partition: str
    first_lsn: int
    last_lsn: int
    from_us: int | None
    to_us: int | None
    base: bool = False
    no_key: str | None = None


class Fork(NamedTuple):
    """From first_lsn on there are two histories. epochs: who wrote them, rising."""

    partition: str
    first_lsn: int
    epochs: tuple[int, ...]


class Window(NamedTuple):
    """Microseconds since the epoch, both inclusive; None until proven. holes: what is absent in between, and behind."""

    earliest_us: int | None
    latest_us: int | None
    holes: tuple[Hole, ...]


class RestorableRun(NamedTuple):
    """Moments [low_us, high_us] that one start and the contiguous log behind it can restore. reach: last LSN of that log. closed: highest closed stamp."""

    start: Start
    reach: int
    low_us: int
    high_us: int
    closed: int


class Coverage(NamedTuple):
    """thread: the segments that count, rising, holes between them. starts: bases that count. astray: segments and bases that are there and fit nowhere
    (of another history, or doubtful). end: the last LSN known to have been archived."""

    window: Window
    forks: tuple[Fork, ...]
    thread: tuple[Span, ...]
    runs: tuple[RestorableRun, ...]
    starts: tuple[Start, ...]
    astray: tuple[Span | Start | Closed, ...]
    end: int

    def reach(self) -> int:
        """Last LSN of the contiguous log from its lowest start (0: nothing)."""
        return self.runs[0].reach if self.runs else 0


class Path(NamedTuple):
    """start: None is the empty partition. spans: contiguous behind it. reach: last LSN of them."""

    start: Start | None
    spans: tuple[Span, ...]
    reach: int
