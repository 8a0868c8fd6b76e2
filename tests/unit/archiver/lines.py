"""Histories as coverage sees them: segments, bases and closed points by hand, without objects. A record of LSN n has its stamp n milliseconds after START."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from scrubjay.archiver.facts import Closed, Span, Start
from scrubjay.base.hlc import stamp_of
from scrubjay.storage.log import chain as chains

START_US = 1_760_000_000_000_000
STEP_US = 1000
PARTITION = "9a471710-0000-4000-8000-000000000003"


def stamp_at(lsn: int) -> int:
    return stamp_of(START_US + lsn * STEP_US)


@dataclass
class Line:
    """One history. rows: state rows it begins with. lasts: LSN at which each segment ends."""

    rows: int = 0
    epoch: int = 1
    seed: str = ""
    spans: list[Span] = field(default_factory=list)

    def grow(self, *lasts: int, epoch: int | None = None, seed: str | None = None) -> Line:
        self.epoch, self.seed = epoch or self.epoch, self.seed if seed is None else seed
        for last in lasts:
            before = self.spans[-1] if self.spans else None
            first = before.last + 1 if before is not None else 1
            chain_before = before.chain if before is not None else chains.START
            chain = hashlib.sha256(f"{self.seed} {first} {last} ".encode() + chain_before).digest()
            state = hashlib.sha256(b"state" + chain).digest()[:16] + (1).to_bytes(8, "little")
            self.spans.append(
                Span(
                    first, last, stamp_at(first), stamp_at(last), stamp_at(last) - 1, last - first, self.rows if first == 1 else 1, self.epoch,
                    chain_before, chain, state,
                )
            )  # fmt: skip
        return self

    def fork(self, at: int, *lasts: int, epoch: int, seed: str = "other") -> Line:
        """Another history that leaves this one behind the segment that ends at `at`."""
        kept = [span for span in self.spans if span.last <= at]
        return Line(self.rows, epoch, seed, kept).grow(*lasts)

    def span(self, last: int) -> Span:
        return next(span for span in self.spans if span.last == last)

    def base(self, lsn: int) -> Start:
        if lsn == 0:
            return Start(0, 0, chains.START, bytes(16) + self.rows.to_bytes(8, "little"), 1)
        span = self.span(lsn)
        return Start(lsn, span.last_stamp, span.chain, span.state, span.epoch)

    def closed(self, at_us: int, *, last_content: int | None = None, last_seal: int | None = None) -> Closed:
        """Closed at START + at_us, everything written so far below it."""
        end = self.spans[-1].last
        seal = end if last_seal is None else last_seal
        chain = self.span(seal).chain if seal else chains.START
        return Closed(stamp_of(START_US + at_us), end - 1 if last_content is None else last_content, seal, chain, self.epoch)


def without(spans: Sequence[Span], *lasts: int) -> list[Span]:
    return [span for span in spans if span.last not in lasts]
