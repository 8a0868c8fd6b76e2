"""What the ledger said last of what was proven when. It is asked on the side: a disk on which it hangs keeps nobody from an answer, and nobody from being told
of anything; that it hangs is told itself."""

from __future__ import annotations

from scrubjay.base.env import Env, Future
from scrubjay.base.errors import ScrubjayError
from scrubjay.base.together import settle
from scrubjay.scrubber.ledger import READ, SCRUB, PartitionProof, last_verify
from scrubjay.scrubber.plan import last_matched
from scrubjay.scrubber.sqlite_ledger import SqliteLedger

PATIENCE_S = 2.0
"""Whoever asks waits no longer, and is answered with what was known."""
HANGS_S = 30.0
"""A ledger that has not answered for so long is in trouble."""


class Remembered:
    """One question under way at a time, however many wait for it."""

    def __init__(self, env: Env, ledger: SqliteLedger) -> None:
        self._env, self._ledger = env, ledger
        self._waiting: list[Future[None]] = []
        self._asked_us: int | None = None
        """Since when (boot clock) a question is under way."""
        self.known = False
        """The ledger has answered once. What it has not been asked yet is not called overdue: each start of an old cluster would be an alarm for nothing."""
        self.proofs: dict[str, PartitionProof] = {}
        """The last scrub of each partition."""
        self.matched: dict[str, int] = {}
        self.checks: dict[str, tuple[int, str]] = {}
        """Of each partition, when its archive was verified last and what stands."""
        self.read_us = 0
        """Since then all that lies in the archive was read; 0: that is not known."""

    @property
    def trouble(self) -> str | None:
        """Why nothing is remembered beyond this process, or is not told; None: it is."""
        waited_us = 0 if self._asked_us is None else self._env.clock.boot_us() - self._asked_us
        return f"it has not answered for {waited_us // 1_000_000} s" if waited_us > HANGS_S * 1e6 else self._ledger.trouble

    async def look(self) -> None:
        """Ask anew, and wait for the answer for PATIENCE_S. A question that was under way before is none of ours: what was done meanwhile is not in its answer."""
        answered = self._env.tasks.future()
        self._waiting.append(answered)
        if self._asked_us is None:
            self._asked_us = self._env.clock.boot_us()
            self._env.tasks.spawn(self._ask(), name="asking the ledger")
        timer = self._env.tasks.call_later(PATIENCE_S, lambda: settle(answered, None))
        try:
            await answered
        finally:
            timer.cancel()

    async def _ask(self) -> None:
        try:
            while self._waiting:
                asking, self._waiting = self._waiting, []
                self._asked_us = self._env.clock.boot_us()
                try:
                    self._note(await self._ledger.partitions())
                except ScrubjayError:
                    pass  # a ledger that cannot be read now: what it said last stands
                except Exception as error:  # noqa: BLE001  a bug is raised where somebody waits
                    for one in asking:
                        settle(one, error)
                for one in asking:
                    settle(one, None)
        finally:
            self._asked_us = None

    def _note(self, proofs: list[PartitionProof]) -> None:
        by_partition: dict[str, list[PartitionProof]] = {}
        for proof in proofs:
            by_partition.setdefault(proof.partition, []).append(proof)
        found = {partition: last_verify(some) for partition, some in by_partition.items()}
        self.known = True
        self.proofs = {proof.partition: proof for proof in proofs if proof.depth == SCRUB}
        self.matched = last_matched(proofs)
        self.read_us = max((one.at_us for one in proofs if one.depth == READ), default=0)
        self.checks = {partition: check for partition, check in found.items() if check is not None}
