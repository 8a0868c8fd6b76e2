"""The word of one member on its segments: what it states of each, what the others state, and when a segment counts as archived.

A statement is said when its SEAL is applied, and asked for again until two members agree. A segment counts when two members attest the same generation of its object and at least one of them read the object back and compared it with its own
WAL: nothing is archived on the word of the one who uploaded it. A member that finds a generation bad refutes it: that generation never counts, whatever
was attested of it before, and the next generation is written by whoever's WAL agrees with the seal. Nothing here is durable: it is said again until it
has its effect, an ARCHIVED record.
"""

from __future__ import annotations

from typing import Protocol

from scrubjay.base.ids import Lsn
from scrubjay.storage.archive_port import Attestation
from scrubjay.storage.catalogue import PartitionInfo
from scrubjay.storage.log.record import Archived
from scrubjay.storage.replica.host import Hosted, ReplicaHost
from scrubjay.storage.replica.segments import ATTESTED_KEPT, OwnSegment, SegmentTracker, Statement

ASKED_MAX = 64
"""Segments whose statements are asked for at once."""
MEMBERS_MIN = 2
KEPT_MAX = 10_000
"""Segments; what is said of more is dropped and said again."""


class Attestations:
    """Pure: which members found an archived segment equal to their own log, and which found it bad. One replica's memory of what was said, by the segment's last LSN."""

    def __init__(self) -> None:
        self._said: dict[int, dict[int, Attestation]] = {}
        self._bad: dict[int, dict[int, str]] = {}

    def lasts(self) -> list[int]:
        """Last LSNs of the segments of which something was said, rising."""
        return sorted({*self._said, *self._bad})

    def attested(self, last: int, node: int, said: Attestation) -> None:
        """A later word of a member replaces its earlier one, except that what it read back it need not read again."""
        if last not in self._said and len(self._said) >= KEPT_MAX:
            return
        known = self._said.setdefault(last, {})
        old = known.get(node)
        if old is None or not old.read or said.read or (old.raw_sha256, old.generation) != (said.raw_sha256, said.generation):
            known[node] = said

    def refuted(self, last: int, generation: int, reason: str) -> bool:
        """True if this was not known."""
        if last not in self._bad and len(self._bad) >= KEPT_MAX:
            return False
        known = self._bad.setdefault(last, {})
        if generation in known:
            return False
        known[generation] = reason
        return True

    def bad(self, last: int) -> dict[int, str]:
        """Generations that a member found bad, with its reason."""
        return dict(self._bad.get(last, {}))

    def archived(self, last: int, raw_sha256: bytes) -> tuple[int, ...]:
        """The members on whose word the segment counts as archived, rising; empty while it does not. raw_sha256: what the members agreed on at the seal."""
        bad = self._bad.get(last, {})
        good = {
            node: said for node, said in self._said.get(last, {}).items() if said.raw_sha256 == raw_sha256 and said.generation not in bad
        }
        best: tuple[int, ...] = ()
        for generation in sorted({said.generation for said in good.values()}):
            members = tuple(sorted(node for node, said in good.items() if said.generation == generation))
            if len(members) >= MEMBERS_MIN and any(good[node].read for node in members) and len(members) >= len(best):
                best = members
        return best

    def forget(self, last: int) -> None:
        self._said.pop(last, None)
        self._bad.pop(last, None)


class Attesting(Hosted, Protocol):
    """What this part asks of its replica. digest_void: it does not know what its digest should be, and states nothing. compares: it minds what others state."""

    node: ReplicaHost
    info: PartitionInfo

    @property
    def archives(self) -> bool: ...
    @property
    def segments(self) -> SegmentTracker: ...
    @property
    def digest_void(self) -> bool: ...

    @property
    def compares(self) -> bool: ...
    @property
    def follows(self) -> bool:
        """It goes on following what is chosen: what is archived will be known to it."""
        ...

    def suspect(self, reason: str) -> None: ...

    def log_archived(self, *, complete_only: bool) -> None:
        """Whoever leads logs ARCHIVED for what counts as archived. complete_only: only where every member attested it."""
        ...


class Attest:
    """tally: what was said of archived segments. written: highest last LSN of a segment whose manifest a member says it has written. Times on the boot clock."""

    def __init__(self, replica: Attesting) -> None:
        self._replica = replica
        self.tally = Attestations()
        self.written = Lsn(0)
        self._ask_at_us: int | None = None
        self._log_at_us: int | None = None

    # ------------------------------------------------------------------ statements

    def state(self, own: OwnSegment) -> None:
        """Tell the other members what this one has for a segment, and ask for theirs."""
        self._say(own, want=True)
        self._ask_at_us = self._replica.node.boot_us() + self._replica.node.options.statement_retry_us
        self.check()

    def state_all(self) -> None:
        """After a start or a heal: what is not archived yet is stated anew."""
        for own in list(self._replica.segments.facts.sealed):
            self.state(own)

    def _say(self, own: OwnSegment, *, want: bool, to: tuple[int, ...] | None = None) -> None:
        """Nothing is said by a copy that does not know its digest, nor if it is asked."""
        if not self._replica.digest_void:
            self._replica.node.say_statement(self._replica.partition, self._replica.segments.word(own), want=want, to=to)

    def heard(self, sender: int, statement: Statement, *, want: bool) -> None:
        """A member's statement. want: it asks for ours."""
        segments = self._replica.segments
        segments.heard(sender, statement)
        self._replica.node.stirred(self._replica.partition)
        own = segments.sealed_at(statement.last) if want else None
        if own is not None:
            self._say(own, want=False, to=(sender,))
        self.check()

    def check(self) -> None:
        """Compare what was stated since the last time; announce agreement, notice being outvoted."""
        replica = self._replica
        if not replica.compares:
            return
        agreement = False
        for own in replica.segments.news():
            agreed, outvoted = replica.segments.agreed(own)
            if outvoted:
                replica.node.finding(
                    replica, kind="different", found_by="seal", lsn=Lsn(own.statement.last), detail="this member's statement was outvoted"
                )
                replica.suspect(f"its statement on the segment ending at {own.statement.last} was outvoted")
                return
            agreement = agreement or len(agreed) >= MEMBERS_MIN
        if agreement and replica.archives:
            replica.node.archive_changed(replica.partition)
        elif agreement:
            self._settle()

    def _settle(self) -> None:
        """Of a log that is not archived: what members agree on needs no other word for it, and may be let go of."""
        for own in self._replica.segments.facts.sealed:
            agreed, _ = self._replica.segments.agreed(own)
            if len(agreed) >= MEMBERS_MIN:
                for node in agreed:
                    self.tally.attested(own.statement.last, node, Attestation(own.statement.raw_sha256, 0, read=True))
        self._replica.log_archived(complete_only=False)

    def _ask(self, now_us: int) -> None:
        """One that follows no further is told of no end of it, and asks no more: a heal states all anew."""
        replica = self._replica
        if not replica.follows:
            self._ask_at_us = None
            return
        open_ones = [own for own in replica.segments.facts.sealed if len(replica.segments.agreed(own)[0]) < MEMBERS_MIN]
        self._ask_at_us = now_us + replica.node.options.statement_retry_us if open_ones else None
        for own in open_ones[:ASKED_MAX]:
            self._say(own, want=True)

    # ------------------------------------------------------------------ attestations

    def attested(self, node: int, *, last: int, said: Attestation) -> None:
        """A member holds the archived segment for equal to its WAL. The leader collects these and logs ARCHIVED."""
        replica = self._replica
        self.tally.attested(last, node, said)
        if self._log_at_us is None:
            self._log_at_us = replica.node.boot_us() + replica.node.options.attest_wait_us
        replica.log_archived(complete_only=True)
        replica.node.arm(replica)

    def refuted(self, *, last: int, generation: int, reason: str) -> None:
        """A member found this generation of an archived segment bad: it does not count, and this node's agent looks again."""
        if self.tally.refuted(last, generation, reason):
            self._replica.node.archive_changed(self._replica.partition)

    def manifest_written(self, last: int) -> None:
        """A member says that it has written this segment's manifest."""
        self.written = Lsn(max(self.written, last))
        self._replica.node.archive_changed(self._replica.partition)

    def on_archived(self, archived: Archived) -> None:
        """ARCHIVED was applied: what was said of it needs no memory; a little is kept while not every member is named in it."""
        done = [last for last in self.tally.lasts() if last <= archived.last]
        whole = len(archived.members) >= len(self._replica.info.members)
        for last in done if whole else done[:-ATTESTED_KEPT]:
            self.tally.forget(last)

    # ------------------------------------------------------------------ time

    def deadline(self) -> int | None:
        return min((at for at in (self._ask_at_us, self._log_at_us) if at is not None), default=None)

    def tick(self, now_us: int) -> None:
        if self._ask_at_us is not None and now_us >= self._ask_at_us:
            self._ask(now_us)
        if self._log_at_us is not None and now_us >= self._log_at_us:
            self._log_at_us = None
            self._replica.log_archived(complete_only=False)
