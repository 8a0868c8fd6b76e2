"""Where one member's log is cut into segments, what it states about each, and which statements agree.

Pure, but for reading the log back. On applying a SEAL each member states two values: the hash of the segment's raw bytes in its WAL, and its digest at that LSN (and so the chain).
Two members that agree make a segment archivable; a member that differs from an agreed pair is suspect. What is durable here goes into the
tree's state with every checkpoint (`dump`), so that a restart states the same.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from contextlib import suppress

import msgspec

from scrubjay.base.errors import Corrupt, Missing
from scrubjay.base.ids import Lsn, PartitionId, Stamp
from scrubjay.storage.archive_port import ToArchive
from scrubjay.storage.log import chain as chains
from scrubjay.storage.log.digest import Total
from scrubjay.storage.log.record import Archived, Record, Seal
from scrubjay.storage.log.split import Born
from scrubjay.storage.wal.port import WalLog

RAW_SLICE_BYTES = 1 << 20
STEP_BYTES = 128 << 10
"""Of records, between two times at which they are read back while their segment grows."""


class Statement(msgspec.Struct, frozen=True, array_like=True):
    """What a member says of the segment that ends at `last`. sum: 16 bytes, little-endian. A log replica knows no digest: its `sum` and `chain` are empty."""

    first: int
    last: int
    raw_sha256: bytes
    sum: bytes
    rows: int
    chain: bytes


class OwnSegment(msgspec.Struct, frozen=True, array_like=True):
    """A sealed segment as this member applied it, above the archived LSN."""

    statement: Statement
    first_stamp: int
    last_stamp: int
    records: int
    content: int
    raw_size: int
    closed: int
    reason: int
    tag: bytes
    chain_before: bytes
    sum_before: bytes
    rows_before: int

    @property
    def known(self) -> bool:
        """Digest and chain, in front of it and at its end, are known: always to a storage replica, to a log replica once it learned them."""
        return bool(self.chain_before and self.sum_before and self.statement.sum)

    @property
    def before(self) -> Total:
        """The state digest in front of the segment."""
        return Total(int.from_bytes(self.sum_before, "little"), self.rows_before)

    @property
    def total(self) -> Total:
        return Total(int.from_bytes(self.statement.sum, "little"), self.statement.rows)

    @property
    def seal(self) -> Seal:
        return Seal(Lsn(self.statement.first), Stamp(self.closed), self.reason, self.tag)


class SegmentFacts(msgspec.Struct, array_like=True):
    """The durable part. size: raw bytes of the open segment. first: where the open segment starts. attested: (last LSN, members) of the newest archived segments; counts: how many
    archived segments 1, 2, 3 members attested. sum, rows: state digest at the last SEAL, where the open segment starts. ended: LSN of the SEAL after which the log takes
    nothing more (its table was dropped, or the partition split), 0 while it goes on; ended_closed: its closed timestamp. archived_first: first LSN of the segment that ends at `archived`
    (0: unknown); archived_chain: chain value there (empty: unknown)."""

    first: int = 1
    size: int = 0
    records: int = 0
    content: int = 0
    first_stamp: int = 0
    chain: bytes = chains.START
    archived: int = 0
    last_content: int = 0
    last_content_stamp: int = 0
    last_seal: int = 0
    sealed: list[OwnSegment] = msgspec.field(default_factory=list)
    counts: list[int] = msgspec.field(default_factory=lambda: [0, 0, 0])
    attested: list[tuple[int, int]] = msgspec.field(default_factory=list)
    sum: bytes = bytes(16)
    rows: int = 0
    ended: int = 0
    ended_closed: int = 0
    archived_first: int = 0
    archived_chain: bytes = b""


ATTESTED_KEPT = 16


def _last(own: OwnSegment) -> int:
    return own.statement.last


def _same_bytes(one: Statement, other: Statement) -> bool:
    return (one.first, one.last, one.raw_sha256) == (other.first, other.last, other.raw_sha256)


def _alike(one: Statement, other: Statement) -> bool:
    """They do not contradict each other: equal, or over the same bytes where one states no digest."""
    return one == other or (not (one.sum and other.sum) and _same_bytes(one, other))


class SegmentTracker:
    """One replica's segments. place: whose log it is (storage.log.chain.place_of). me: this member's node number. digests: it knows the state's digest; a log
    replica does not, states bytes alone, and learns digest and chain from two members that state them alike over the bytes it has. born: as a log says that begins behind that of a
    partition that was split: chain and digest there, taken once what two members state follows from them."""

    def __init__(self, *, place: bytes, me: int, facts: SegmentFacts, digests: bool = True) -> None:
        self._place = place
        self._digests = digests
        self._me = me
        self.facts = facts
        self.opened_at_us: int | None = None
        """Boot time at which the open segment got its first content record; None while it has none."""
        self._others: dict[int, dict[int, Statement]] = {}
        self._news: dict[int, None] = {}
        """Last LSNs of segments of which something was stated since `news` was last asked."""
        self.born: Born | None = None
        self._learned = 0
        """Of a log replica: up to there it has learned what the others state, without a gap."""
        self.sealed_bytes = sum(own.raw_size for own in facts.sealed)
        """Raw bytes of all sealed segments above the archived LSN. Kept as they come and go, like what can be archived of them: an outage makes thousands, and health looks every second."""
        able = [own for own in facts.sealed if own.known]
        self._able, self._able_bytes = len(able), sum(own.raw_size for own in able)

    def _counts(self, own: OwnSegment, sign: int) -> None:
        """A sealed segment comes (1) or goes (-1)."""
        self.sealed_bytes += sign * own.raw_size
        if own.known:
            self._able += sign
            self._able_bytes += sign * own.raw_size

    def applied(self, record: Record, now_us: int) -> None:
        """Count a record (a SEAL too, before `sealed`) into the open segment. now_us: boot time."""
        facts = self.facts
        if not facts.records:
            facts.first_stamp = record.stamp
        facts.records += 1
        facts.size += len(record.data)
        if record.kind.is_content:
            facts.content += 1
            facts.last_content = record.lsn
            facts.last_content_stamp = record.stamp
            if self.opened_at_us is None:
                self.opened_at_us = now_us

    def sealed(self, record: Record, seal: Seal, *, raw_sha256: bytes, total: Total | None) -> OwnSegment:
        """The SEAL `record` was applied: close the segment and state it. total: state digest there, None where there is no state (a log replica). Raises Corrupt if it does not start where the last one ended."""
        facts = self.facts
        if seal.first != facts.first:
            raise Corrupt(
                "seal does not continue the segment before it", what="log", lsn=record.lsn, expected=facts.first, found=seal.first
            )
        sum_, rows = (b"", 0) if total is None else (total.sum.to_bytes(16, "little"), total.rows)
        own = OwnSegment(
            statement=Statement(seal.first, record.lsn, raw_sha256, sum_, rows, b""),
            first_stamp=facts.first_stamp,
            last_stamp=record.stamp,
            records=facts.records,
            content=facts.content,
            raw_size=facts.size,
            closed=seal.closed,
            reason=seal.reason,
            tag=seal.tag,
            chain_before=facts.chain,
            sum_before=facts.sum,
            rows_before=facts.rows,
        )
        if total is not None:
            chain = chains.next_chain(facts.chain, self._link_of(own, own.statement))
            own = msgspec.structs.replace(own, statement=msgspec.structs.replace(own.statement, chain=chain))
        if record.lsn > facts.archived:
            facts.sealed.append(own)
            self._counts(own, 1)
            self._news[record.lsn] = None
        facts.first, facts.size, facts.records, facts.content = record.lsn + 1, 0, 0, 0
        facts.chain, facts.last_seal = own.statement.chain, record.lsn
        facts.sum, facts.rows = sum_, rows
        if seal.reason in Seal.LAST:
            facts.ended, facts.ended_closed = record.lsn, seal.closed
        self.opened_at_us = None
        if not self._digests:
            self._learn()
        return own

    def word(self, own: OwnSegment) -> Statement:
        """What this member states of a segment: never what it only learned."""
        return own.statement if self._digests else msgspec.structs.replace(own.statement, sum=b"", rows=0, chain=b"")

    def heard(self, node: int, statement: Statement) -> None:
        """Another member's statement; kept while its segment is not archived."""
        if statement.last > self.facts.archived and len(self._others) < 10_000:
            self._others.setdefault(statement.last, {})[node] = statement
            self._news[statement.last] = None
            if not self._digests:
                self._learn()

    def _learn(self) -> None:
        """Complete what this log replica knows of its segments. A chain value that does not follow from the one before it and the bytes here is not taken."""
        facts = self.facts
        for at in range(bisect_left(facts.sealed, self._learned, key=_last), len(facts.sealed)):
            own = facts.sealed[at]
            if not own.statement.sum:
                alike = [
                    said for said in self._others.get(own.statement.last, {}).values() if said.sum and _same_bytes(said, own.statement)
                ]
                twice = next((said for said in alike if alike.count(said) >= 2), None)
                if twice is None or (
                    own.chain_before and own.sum_before and chains.next_chain(own.chain_before, self._link_of(own, twice)) != twice.chain
                ):
                    break
                own = self._replaced(at, msgspec.structs.replace(self._begun(own, twice), statement=twice))
            said = own.statement
            self._learned = said.last
            if at + 1 < len(facts.sealed):
                before = facts.sealed[at + 1]
                if (before.chain_before, before.sum_before, before.rows_before) != (said.chain, said.sum, said.rows):
                    self._replaced(
                        at + 1, msgspec.structs.replace(before, chain_before=said.chain, sum_before=said.sum, rows_before=said.rows)
                    )
            else:
                facts.chain, facts.sum, facts.rows = said.chain, said.sum, said.rows

    def _begun(self, own: OwnSegment, said: Statement) -> OwnSegment:
        """With chain and digest in front of it, if it is the log's first and they are what was stated of its end follows from: the log has them of its first leader alone."""
        born = self.born
        if own.chain_before or born is None or own.statement.first != born.lsn + 1:
            return own
        total = born.total
        begun = msgspec.structs.replace(own, chain_before=born.chain, sum_before=total.sum.to_bytes(16, "little"), rows_before=total.rows)
        return begun if chains.next_chain(born.chain, self._link_of(begun, said)) == said.chain else own

    def _replaced(self, at: int, own: OwnSegment) -> OwnSegment:
        """More is known of a sealed segment."""
        self._counts(self.facts.sealed[at], -1)
        self.facts.sealed[at] = own
        self._counts(own, 1)
        self._news[own.statement.last] = None
        return own

    def _link_of(self, own: OwnSegment, said: Statement) -> chains.Link:
        return chains.Link(
            place=self._place,
            first=said.first,
            last=said.last,
            first_stamp=own.first_stamp,
            last_stamp=own.last_stamp,
            content=own.content,
            raw_size=own.raw_size,
            raw_sha256=said.raw_sha256,
            before=own.before,
            total=Total(int.from_bytes(said.sum, "little"), said.rows),
            closed=own.closed,
            reason=own.reason,
            tag=own.tag,
        )

    def passed(self, record: Record, seal: Seal) -> None:
        """A SEAL of a log replica whose log begins inside the segment: it was let go of, so it is archived. What follows is cut as ever."""
        facts = self.facts
        facts.first, facts.size, facts.records, facts.content = record.lsn + 1, 0, 0, 0
        facts.last_seal = record.lsn
        facts.archived = max(facts.archived, record.lsn)
        if seal.reason in Seal.LAST:
            facts.ended, facts.ended_closed = record.lsn, seal.closed
        self.opened_at_us = None

    def agreed(self, own: OwnSegment) -> tuple[tuple[int, ...], bool]:
        """(members whose statement equals ours, rising; whether two others agree on something else)."""
        others = self._others.get(own.statement.last, {})
        same = sorted([self._me, *(node for node, said in others.items() if own.statement.sum and said == own.statement)])
        different = [said for _, said in sorted(others.items()) if not _alike(said, own.statement)]
        outvoted = len(same) == 1 and any(different.count(said) >= 2 for said in different)
        return tuple(same), outvoted

    def on_archived(self, archived: Archived) -> None:
        """An ARCHIVED record was applied: segments up to it need no statement any more."""
        facts = self.facts
        before = dict(facts.attested)
        old = before.get(archived.last, 0)
        new = min(3, len(archived.members))
        if old != new:
            counts = list(facts.counts)
            if old:
                counts[old - 1] -= 1
            counts[new - 1] += 1
            facts.counts = counts
            before[archived.last] = new
            facts.attested = sorted(before.items())[-ATTESTED_KEPT:]
        if archived.last > facts.archived:
            facts.archived, facts.archived_first = archived.last, archived.first
            own = self.sealed_at(archived.last)
            facts.archived_chain = b"" if own is None else own.statement.chain
            gone = bisect_left(facts.sealed, archived.last + 1, key=_last)
            for own in facts.sealed[:gone]:
                self._counts(own, -1)
            del facts.sealed[:gone]
            for last in [last for last in self._others if last <= archived.last]:
                del self._others[last]
            for last in [last for last in self._news if last <= archived.last]:
                del self._news[last]

    # ------------------------------------------------------------------ what waits for the archive

    def sealed_at(self, last: int) -> OwnSegment | None:
        """The sealed segment that ends there, above the archived LSN."""
        sealed = self.facts.sealed
        at = bisect_left(sealed, last, key=_last)
        return sealed[at] if at < len(sealed) and sealed[at].statement.last == last else None

    def news(self) -> list[OwnSegment]:
        """Sealed segments of which something was stated, here or elsewhere, since this was last asked; rising."""
        news, self._news = self._news, {}
        return [own for own in map(self.sealed_at, sorted(news)) if own is not None]

    @property
    def waiting(self) -> ToArchive:
        """Costs the same however many there are."""
        oldest = next((own.first_stamp for own in self.facts.sealed if own.known), 0) if self._able else 0
        return ToArchive(self._able, self._able_bytes, oldest)

    def check_invariants(self) -> None:
        """Programmer errors only."""
        sealed = self.facts.sealed
        assert self.sealed_bytes == sum(own.raw_size for own in sealed), "bytes that are sealed were miscounted"
        able = [own for own in sealed if own.known]
        assert (self._able, self._able_bytes) == (len(able), sum(own.raw_size for own in able)), "what can be archived was miscounted"


TINY_PART = 128
"""A segment sealed by its age below 1/128 of the size at which it would have been sealed anyway is tiny (64 KiB at 8 MiB)."""
DOUBLINGS_MAX = 20


def seal_age_us(facts: SegmentFacts, *, trickle: int, size_bytes: int, age_us: int, age_max_us: int) -> int:
    """At which age the open segment is sealed. trickle: how many before it were sealed by their age and were tiny: each doubles it, up to `age_max_us`.

    One that is no longer tiny waits no longer than `age_us`. age_max_us below age_us: nothing backs off.
    """
    if not is_tiny(facts.size, size_bytes):
        return age_us
    return max(age_us, min(age_us << min(trickle, DOUBLINGS_MAX), age_max_us))


def is_tiny(size: int, size_bytes: int) -> bool:
    """size: raw bytes of a segment. size_bytes: at which one is sealed."""
    return size * TINY_PART < size_bytes


def needs_seal(facts: SegmentFacts, *, opened_at_us: int | None, now_us: int, size_bytes: int, age_us: int) -> int | None:
    """Why the open segment should be sealed now (Seal.SIZE or Seal.AGE), or None. Bookkeeping alone never opens the timer."""
    if facts.size >= size_bytes and facts.records > 1:
        return Seal.SIZE
    if facts.content and opened_at_us is not None and now_us - opened_at_us >= age_us:
        return Seal.AGE
    return None


class RawHash:
    """SHA-256 of the records of the open segment as they lie on this node's disk, not as a cache remembers them.

    They are read back in steps of STEP_BYTES while the segment grows: all of it at its seal would keep everybody waiting who is served by this process. What rots between
    a step and the seal is found before anything is uploaded: whoever archives reads all of it once more and compares it with this hash.
    """

    def __init__(self) -> None:
        self._begin(0)

    def _begin(self, first: int) -> None:
        self._first = self._next = first
        self._unread = 0
        self._digest = hashlib.sha256()

    def grown(self, wal: WalLog, partition: PartitionId, *, first: int, last: int, size: int) -> None:
        """The record `last`, of so many bytes, was applied to the segment that begins at `first`. What cannot be read now is read, and told of, at the seal."""
        if self._first != first:
            self._begin(first)
        self._unread += size
        if self._unread >= STEP_BYTES:
            with suppress(Corrupt, Missing):
                self._take(wal, partition, last)
            self._unread = 0

    def sha256(self, wal: WalLog, partition: PartitionId, first: Lsn, last: Lsn) -> bytes:
        """Of records first..last. Raises Missing, Corrupt."""
        if self._first != first or self._next > last + 1:
            self._begin(first)
        self._take(wal, partition, last)
        return self._digest.digest()

    def _take(self, wal: WalLog, partition: PartitionId, last: int) -> None:
        """Up to `last`. Raises Missing, Corrupt: then it goes on where it stopped."""
        if self._next > last:
            return
        wal.reread(partition, Lsn(self._next), Lsn(last + 1))
        while self._next <= last:
            for record in wal.read(partition, Lsn(self._next), Lsn(last + 1), max_bytes=RAW_SLICE_BYTES):
                if record.lsn != self._next:
                    raise Missing("hole in the log", what="record", lsn=self._next)
                self._digest.update(record.data)
                self._next += 1
