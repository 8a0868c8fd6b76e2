"""Safety of one replication group, judged at every step from what its members apply and claim: agreement, no record on a lost one, rising stamps, one lease, closed timestamps."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Sequence

from scrubjay.storage.log.record import Record

CHAIN_START = bytes(16)


def chain(before: bytes, data: bytes) -> bytes:
    """Hash of a log: of the hash before and the record's bytes. Each proposal carries the hash of all that its leader thought was before it."""
    return hashlib.blake2b(before + data, digest_size=16).digest()


class GroupViolation(AssertionError):
    """A safety property does not hold."""


class GroupChecker:
    """One group. log: the chosen records as first applied anywhere; `chains` the hash up to each."""

    def __init__(self) -> None:
        self.log: list[Record] = []
        self.chains: list[bytes] = [CHAIN_START]
        self._closed_now = 0
        self._closed_later: list[tuple[int, int]] = []
        self.publications = 0

    def applied(self, who: str, record: Record, rests_on: bytes | None) -> None:
        """A member applies a record. rests_on: hash its proposer named, None if the record carries none."""
        at = record.lsn
        if at <= len(self.log):
            known = self.log[at - 1]
            if known.data != record.data:
                raise GroupViolation(f"agreement: {who} applies another record at LSN {at}")
            return
        if at != len(self.log) + 1:
            raise GroupViolation(f"order: {who} applies LSN {at} when {len(self.log)} are known")
        if self.log and record.stamp <= self.log[-1].stamp:
            raise GroupViolation(f"rising: stamp of LSN {at} is not above the one before")
        if rests_on is not None and rests_on != self.chains[-1]:
            raise GroupViolation(f"rests: LSN {at} was evaluated on a record that is not there")
        while self._closed_later and self._closed_later[0][0] < at:
            self._closed_now = max(self._closed_now, heapq.heappop(self._closed_later)[1])
        if record.stamp <= self._closed_now:
            raise GroupViolation(f"closed: LSN {at} carries a stamp at or below a published closed timestamp")
        self.log.append(record)
        self.chains.append(chain(self.chains[-1], record.data))

    def closed(self, who: str, stamp: int, last: int) -> None:
        """A leader says: nothing above LSN `last` will carry a stamp <= `stamp`."""
        self.publications += 1
        if last < len(self.log):
            if self.log[last].stamp <= stamp:
                raise GroupViolation(f"closed: {who} closes at a stamp that LSN {last + 1} does not exceed")
            self._closed_now = max(self._closed_now, stamp)
        else:
            heapq.heappush(self._closed_later, (last, stamp))

    def leases(self, holders: Sequence[tuple[str, int]]) -> None:
        """holders: (member, last LSN of its log) of all that claim the lease at this instant."""
        if len(holders) > 1:
            raise GroupViolation(f"one lease: {' and '.join([name for name, _ in holders])} hold it")
        if holders and holders[0][1] < len(self.log):
            raise GroupViolation(f"fresh: {holders[0][0]} holds the lease and lacks LSN {len(self.log)}")
