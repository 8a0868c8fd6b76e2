"""Which members found an archived segment equal to their own log, and which found it bad: when a segment counts as archived.

Pure. A segment counts when two members attest the same generation of its object and at least one of them read the object back and compared it with its own
WAL: nothing is archived on the word of the one who uploaded it. A member that finds a generation bad refutes it: that generation never counts, whatever
was attested of it before, and the next generation is written by whoever's WAL agrees with the seal. Nothing here is durable: it is said again until it
has its effect, an ARCHIVED record.
"""

from __future__ import annotations

from storage.archive_port import Attestation

MEMBERS_MIN = 2
KEPT_MAX = 10_000
"""Segments; what is said of more is dropped and said again."""


class Attestations:
    """One replica's memory of what was said, by the segment's last LSN."""

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
