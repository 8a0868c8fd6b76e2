"""One sealed segment, settled: see to it that it is in the archive and equal to this member's WAL, whoever uploads it.

The leader's agent uploads at once. The others read back and compare what it uploaded, say so when it is bad (`refute`: then the next generation is
written), and upload themselves after a delay. Before anything leaves, the log must continue the archive, and nobody else's history may lie there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable

from scrubjay.archiver.format.layout import build
from scrubjay.archiver.write.agent_state import AgentOptions, AgentStatus
from scrubjay.archiver.write.meeting import meet
from scrubjay.archiver.write.outgoing import Outgoing, from_job, prepare, request
from scrubjay.archiver.write.placing import Bad, Placer
from scrubjay.archiver.write.writer import Writer
from scrubjay.base.env import Env, Jobs, ObjectStore
from scrubjay.base.errors import FORGED, Corrupt, Missing, ScrubjayError
from scrubjay.base.ids import PartitionId
from scrubjay.storage.archive_port import Attestation, LogSource, SealedSegment
from scrubjay.storage.log import chain as chains

PREPARE_JOB = "scrubjay.archiver.write.outgoing:prepare_job"
PREPARE_LATE_JOB = "scrubjay.archiver.write.outgoing:prepare_late_job"
"""The same, of a segment that waits already: it gives way to nobody."""


class _Own:
    """A member's record bytes of one segment, read when they are first asked for and once: most who look do it before anybody has archived the segment, and need none.

    let_go: the log has let go of them (`Settler._own`)."""

    def __init__(self, read: Callable[[], Awaitable[bytes | None]]) -> None:
        self._read = read
        self._raw: bytes | None = None
        self.let_go = False

    async def raw(self) -> bytes | None:
        """None: let go. Raises as `Settler._own`."""
        if self._raw is None and not self.let_go:
            self._raw = await self._read()
            self.let_go = self._raw is None
        return self._raw


class Settler:
    """For all partitions of one node; keeps nothing between two segments."""

    def __init__(
        self,
        env: Env,
        store: ObjectStore,
        source: LogSource,
        writer: Writer,
        *,
        options: AgentOptions,
        status: AgentStatus,
        jobs: Jobs | None,
    ) -> None:
        """status: counted in. jobs: worker processes for checks and compression of what is larger than `checked_here_bytes`; None: done inline."""
        self.writer = writer
        self.options = options
        self.status_now = status
        self._env = env
        self._store = store
        self._source = source
        self._jobs = jobs
        self._placer = Placer(store, env, writer=writer, node=source.node)

    async def settle(self, segment: SealedSegment, before: SealedSegment | None, age_us: int) -> Attestation | None:
        """See to it that the segment is archived and equal to ours. None: somebody else's turn still.

        before: the newest segment of its partition that was proven in this process' life. age_us: since this agent first saw the segment.
        Raises Unavailable (the store), Fenced, Corrupt or Missing (this member's log, or a rival history).
        """
        leads = self._source.leads(segment.partition)
        refuted = self._source.refuted(segment.partition, segment.last)
        own = _Own(lambda: self._own(segment, age_us))
        if not leads:
            generation, bad = await self._placer.compare(segment, own.raw, refuted=refuted)
            self._refute(segment, bad)
            if generation is not None:
                self.status_now.compared += 1
                return Attestation(segment.raw_sha256, generation, read=True)
            if age_us < self.options.backup_after_s * 1e6:
                return None
            raw = await own.raw()
            if raw is None:
                return None
            generation = await self._placer.packed(segment, raw)
            if generation is not None:
                self.status_now.compared += 1
                return Attestation(segment.raw_sha256, generation, read=True)
            refuted = self._source.refuted(segment.partition, segment.last)
        self._check_follows(segment, before)
        await self.writer.assure(self._store)
        await self._meet(segment.partition, leads)
        # A leader that has just archived what comes before knows that nobody else writes here; everybody else looks first.
        if not leads or before is None:
            await self._check_rival(segment)
        raw = await own.raw()
        if raw is None:
            return None
        return await self._place(segment, raw, before, refuted, late=age_us >= self.options.late_after_s * 1e6)

    async def _own(self, segment: SealedSegment, age_us: int) -> bytes | None:
        """This member's record bytes, proven to be what the members agreed on. Raises Corrupt: then it may neither upload nor judge what others uploaded.

        None: the log has let go of them. It lets go of what is archived alone: another member saw to it since the segments were named (after an hour without the store, hundreds
        at once), and after a restart the record that says so is applied again a moment later; a segment of which that is not so after `backup_after_s` is a fault (Missing).
        """
        raw = await self._at_once(segment)
        if raw is not None:
            return raw
        pieces: list[bytes] = []
        try:
            for piece in self._source.read_raw(segment.partition, segment.first, segment.last):
                pieces.append(piece)
                await self._env.tasks.sleep(0)
        except Missing:
            if age_us < self.options.backup_after_s * 1e6 or self._source.archived(segment.partition) >= segment.last:
                return None
            raise
        raw = b"".join(pieces)
        found = await self._env.tasks.blocking(lambda: hashlib.sha256(raw).digest())
        if found != segment.raw_sha256:
            detail = f"the log's bytes of [{segment.first}, {segment.last}] differ from the agreed segment"
            self._source.faulty(segment.partition, lsn=segment.first, detail=detail)
            raise Corrupt(detail, what="segment", lsn=segment.first, expected=segment.raw_sha256.hex(), found=found.hex())
        return raw

    async def _at_once(self, segment: SealedSegment) -> bytes | None:
        """As `_own`, off the loop: record by record, three members of a segment of 8 MiB keep everybody waiting whom their process serves. None: not to be had so, which is
        nothing that can be said of the log; read record by record, it says what is wrong itself."""
        try:
            read = self._source.read_at_once(segment.partition, segment.first, segment.last)
            if read is None:
                return None
            return await self._env.tasks.blocking(lambda: raw if hashlib.sha256(raw := read()).digest() == segment.raw_sha256 else None)
        except ScrubjayError:
            return None

    def _refute(self, segment: SealedSegment, bad: tuple[Bad, ...]) -> None:
        for one in bad:
            self.status_now.refuted += 1
            self._source.refute(
                segment.partition, segment.last, generation=one.generation, object=one.object, kind=one.kind, reason=one.reason
            )

    async def _meet(self, partition: PartitionId, leads: bool) -> None:
        """Once in this process' life: the log continues the archive. Raises Fenced if it does not (for good), Unavailable."""
        if not leads or partition in self.writer.met:
            return
        reason = await meet(self._store, self.writer.cluster, self._source, partition, taken_over=self.writer.taken_over)
        if reason is not None:
            await self.writer.diverged(f"partition {partition}: {reason}")
            _ = self.writer.attached
        self.writer.met[partition] = None

    async def _check_rival(self, segment: SealedSegment) -> None:
        """Raises Corrupt if another history of the same LSNs is archived in our own epoch or a later one. One of an earlier epoch is a branch that lost."""
        rival = await self._placer.rival(segment)
        if rival is None:
            return
        name = build(rival.key().twin())
        detail = f"{name}: another history of the same LSNs is archived (epoch {rival.epoch}, owner {rival.owner})"
        self._source.blame(segment.partition, object=name, kind=FORGED, lsn=segment.first, detail=detail)
        if rival.epoch >= self.writer.attached.epoch:
            raise Corrupt(detail, what="manifest", where=name, lsn=segment.first)

    def _check_follows(self, segment: SealedSegment, before: SealedSegment | None) -> None:
        """Raises Corrupt unless the chain and the LSNs go on from the segment before, as far as it is known."""
        if segment.first == 1 and segment.chain_before != chains.START:
            raise Corrupt("the first segment's chain does not start at the start", what="segment", lsn=1)
        if before is not None and before.last + 1 == segment.first and before.chain != segment.chain_before:
            raise Corrupt(
                "the chain does not continue",
                what="segment",
                lsn=segment.first,
                expected=before.chain.hex(),
                found=segment.chain_before.hex(),
            )

    async def _place(
        self, segment: SealedSegment, raw: bytes, before: SealedSegment | None, refuted: dict[int, str], *, late: bool
    ) -> Attestation:
        follows = before is not None and before.last + 1 == segment.first
        after_stamp = before.last_stamp if before is not None and follows else 0
        facts = self._source.facts(segment.partition)
        if not self._source.knows_birth(segment.partition):
            facts = facts._replace(born=await self._placer.birth(segment))

        async def checked(generation: int) -> Outgoing:
            asked = request(segment, facts, raw, generation=generation, after_stamp=after_stamp)
            if self._jobs is not None and len(raw) > self.options.checked_here_bytes:
                return from_job(await self._jobs.run(PREPARE_LATE_JOB if late else PREPARE_JOB, asked))
            return await self._env.tasks.blocking(lambda: prepare(asked))

        placed = await self._placer.place(segment, facts, checked, refuted=refuted)
        self._refute(segment, placed.bad)
        self.status_now.placed += 1
        return Attestation(segment.raw_sha256, placed.generation, placed.read)
