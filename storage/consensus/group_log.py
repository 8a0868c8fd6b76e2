"""The log of one replica as the core sees it: its bounds and watermarks, the tail in memory, and a reader for what has left memory.

Bounds: `first` is the first LSN that can still be read (moved by `trimmed` and `installed`); `last` the last one accepted (queued to the WAL, not necessarily
synced); `_base` the first LSN in memory. Watermarks: `synced` is the last LSN in the synced log under the accepted ballot; `chosen` the last one known chosen;
`given` the last one given to the shell as chosen; `applied` what the shell says it applied.

Invariant: first <= last + 1, _base <= last + 1, synced <= last, chosen <= last, applied <= given <= min(chosen, synced).
"""

from __future__ import annotations

from collections.abc import Sequence

from scrubjay.base.errors import Missing
from scrubjay.base.ids import Lsn
from scrubjay.storage.consensus.ready import LogReader
from scrubjay.storage.log.record import Record


def _size(records: Sequence[Record]) -> int:
    return sum([len(record.data) for record in records])


class GroupLog:
    """Records first..last of one partition."""

    __slots__ = ("_base", "_reader", "_records", "applied", "chosen", "first", "given", "last", "memory_bytes", "synced")

    def __init__(self, reader: LogReader, *, first: Lsn, last: Lsn, applied: Lsn) -> None:
        """applied: known chosen. Whatever lies above may yet be cut by whoever leads."""
        self._reader = reader
        self.first = first
        self.last = last
        self.synced = last
        self.chosen = applied
        self.given = applied
        self.applied = applied
        self._base = last + 1
        self._records: list[Record] = []
        self.memory_bytes = 0

    # --- its end ---

    def append(self, records: Sequence[Record], size: int | None = None) -> None:
        """Records that continue the log. size: their bytes, if known."""
        assert records[0].lsn == self.last + 1
        self._records += records
        self.last = records[-1].lsn
        self.memory_bytes += _size(records) if size is None else size

    def cut(self, at: Lsn) -> None:
        """Drop everything above `at`."""
        assert at >= self.first - 1
        if at < self._base:
            self._records = []
            self._base = at + 1
            self.memory_bytes = 0
        elif at < self.last:
            keep = at + 1 - self._base
            self.memory_bytes -= _size(self._records[keep:])
            del self._records[keep:]
        self.last = min(self.last, at)
        self.synced = min(self.synced, at)

    def skip_to(self, last: Lsn) -> None:
        """Records up to `last` were appended to the WAL without passing through memory."""
        self._records = []
        self.memory_bytes = 0
        self.last = last
        self._base = last + 1

    # --- its beginning ---

    def forget(self, below: Lsn) -> None:
        """Drop records below this LSN from memory; they stay readable through the reader."""
        count = min(below, self.last + 1) - self._base
        if count > 0:
            if count == len(self._records):
                self._records = []
                self.memory_bytes = 0
            else:
                self.memory_bytes -= _size(self._records[:count])
                del self._records[:count]
            self._base += count

    def trim(self, below: Lsn) -> None:
        """The WAL no longer holds records below this LSN."""
        assert below <= self.applied + 1
        self.first = max(self.first, below)

    def install(self, at: Lsn) -> None:
        """A snapshot at `at` stands for everything up to there: the log begins anew behind it, empty, unless it reaches further."""
        assert at > self.applied
        if self.last <= at:
            self._records = []
            self.memory_bytes = 0
            self.first = Lsn(at + 1)
            self.last = at
            self.synced = at
            self._base = at + 1
        else:
            self.first = max(self.first, Lsn(at + 1))
            self.forget(Lsn(at + 1))
            self.synced = max(self.synced, at)
        self.chosen = max(self.chosen, at)
        self.applied = self.given = at

    # --- what is chosen ---

    def learn(self, chosen: int) -> None:
        """The leader of the accepted ballot says so."""
        if chosen > self.chosen:
            self.chosen = Lsn(max(self.chosen, min(chosen, self.last)))

    def take_chosen(self, max_bytes: int) -> tuple[Record, ...]:
        """Records chosen, in the own synced log and not given yet. Raises Corrupt, Missing."""
        end = min(self.chosen, self.synced)
        if end <= self.given:
            return ()
        records = tuple(self.read(self.given + 1, end + 1, max_bytes=max_bytes))
        assert records[0].lsn == self.given + 1
        self.given = records[-1].lsn
        return records

    # --- reading ---

    def read(self, first: int, end: int, *, max_bytes: int) -> list[Record]:
        """Records [first, end), at least one, about max_bytes at most. Raises Missing below `self.first`, Corrupt."""
        assert first < end <= self.last + 1
        if first < self.first:
            raise Missing("log does not reach back", what="record", lsn=first)
        if first < self._base:
            return self._reader.read(Lsn(first), Lsn(min(end, self._base)), max_bytes=max_bytes)
        found = self._records[first - self._base : end - self._base]
        if len(found) > 1 and self.memory_bytes > max_bytes:
            total = 0
            for index, record in enumerate(found):
                total += len(record.data)
                if total > max_bytes:
                    return found[: max(1, index)]
        return found

    def check_invariants(self) -> None:
        """Raises AssertionError."""
        assert self.first <= self.last + 1
        assert self._base <= self.last + 1
        assert self._base + len(self._records) == self.last + 1
        assert self.memory_bytes == _size(self._records)
        assert not self._records or self._records[0].lsn == self._base
        assert self.given <= min(self.chosen, self.synced), "given what is not chosen and synced"
        assert self.applied <= self.given, "applied what was not given"
        assert self.chosen <= self.last, "chosen beyond the log"
        assert self.synced <= self.last, "synced beyond the log"
