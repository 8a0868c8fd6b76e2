"""The scrub of one partition: one pass, a heal of the copies that it outvoted, and a pass again. Coordinates only: what a pass compares says `scrubber.passes`,
who is wrong `scrubber.judge`, what it all comes to `scrubber.outcome`.

Everything that could not be done becomes a reason on a copy or on the partition, or a note, never a silent skip.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from scrubjay.archiver.write.bases import base_due
from scrubjay.base.env import Env
from scrubjay.base.errors import ScrubjayError, Unavailable
from scrubjay.base.ids import NodeName, PartitionId
from scrubjay.scrubber.finding_names import FindingNaming
from scrubjay.scrubber.meter import Meter, Tell
from scrubjay.scrubber.options import ScrubOptions
from scrubjay.scrubber.outcome import Pass, not_begun, proven, report_of
from scrubjay.scrubber.passes import PASSING, Passes
from scrubjay.scrubber.reference import References
from scrubjay.scrubber.report import PartitionReport, ScrubFound
from scrubjay.scrubber.verdict import Verdict
from scrubjay.storage.catalogue import PartitionInfo, TableMeta, told_by
from scrubjay.storage.service_port import Finding, ServicePort

INDEX = "index_not_compared"
"""Reason of a partition that matches, of which a global index could not be compared."""


class PartitionScrub:
    """Scrubs one partition once. notes: lines for the log, about what is no finding."""

    def __init__(
        self,
        env: Env,
        port: ServicePort,
        references: References,
        table: TableMeta,
        info: PartitionInfo,
        options: ScrubOptions,
        *,
        tell: Tell,
        notes: list[str],
    ) -> None:
        self._env = env
        self._port = port
        self._references = references
        self._table = table
        self._info = info
        self._partition = info.partition_id
        self._options = options
        self._meter = Meter(tell)
        self._notes = notes
        self._unproven: list[str] = []
        """Why global indexes of the table were not compared."""
        self._let_go: list[Callable[[], None]] = []
        self._naming = FindingNaming(env.clock, references, table, info, origins_max=options.origins_max, note=self._note)
        self._passes = Passes(
            env, port, references, table, info, options, naming=self._naming, meter=self._meter, note=self._note, keep=self._let_go.append
        )

    async def run(self) -> PartitionReport:
        """Scrub, heal one round of outvoted copies, scrub again. The log above the seals is kept until then: a healed copy must find what follows."""
        try:
            return await self._run()
        finally:
            self._keep_no_log()

    def _keep_no_log(self) -> None:
        while self._let_go:
            self._let_go.pop()()

    async def _run(self) -> PartitionReport:
        await self._quiet()
        known = self._kept()
        try:
            first = await self._passes.compare()
            if any(copy.reason in PASSING for copy in first.outcome.copies) and not first.outcome.heal:
                # A copy was on its way back from a heal: what kept it out passes by itself, so look once more before calling it unverified.
                self._discard(first)
                await self._quiet()
                first = await self._passes.compare()
        except ScrubjayError as error:
            self._note(f"no seal: {error}")
            return not_begun(self._partition, known, self._port.copies(self._partition))
        try:
            await self._survey(first)
            if self._table.global_indexes:
                await self._prove_indexes(first)
            # Read again: what a checkpoint or a read ran into while the copies were compared belongs to this report, not to the next.
            known = self._kept()
            outside = await self._naming.named([ScrubFound(one, one.evidence) for one in known], first.reference)
            if not first.outcome.heal:
                base = await self._maybe_base(first)
                return self._report(first, None, known, outside, {}, base)
            evidence = await self._heal(first)
        finally:
            self._discard(first)
        second = await self._again()
        base = None
        if second is not None:
            try:
                base = await self._maybe_base(second)
            finally:
                self._discard(second)
        return self._report(first, second, known, outside, evidence, base)

    def _kept(self) -> list[Finding]:
        """What was found outside a scrub, of this partition and of those that were split into it: no scrub compares them any more."""
        places = (self._partition, *told_by(self._table, PartitionId(self._partition)))
        return [one for place in places for one in self._port.findings(place)]

    async def _prove_indexes(self, first: Pass) -> None:
        """May take hours, for which no log is kept and no copy waits to be healed."""
        if first.outcome.heal:
            self._unproven = ["indexes: copies of the table are healed first, the next scrub compares them"]
        else:
            self._keep_no_log()
            self._meter.phase("indexes")
            self._unproven = await self._port.prove_indexes(self._table, self._info)
        for why in self._unproven:
            self._note(f"not compared: {why}")

    async def _quiet(self) -> None:
        """Wait for running heals. A copy that is still healing afterwards shows up as such among the copies."""
        try:
            await self._port.healed(self._partition, timeout_s=self._options.heal_wait_s)
        except Unavailable as error:
            self._note(f"a heal did not end in time: {error}")

    async def _heal(self, first: Pass) -> dict[str, str | None]:
        """Rebuild the outvoted copies from the reference, one after another. Of each that was set aside, where it lies below the data folder."""
        assert first.reference is not None
        reference = first.reference
        evidence: dict[str, str | None] = {}
        for copy in first.outcome.heal:
            if not any(one.state == "ok" and one.node != copy for one in self._port.copies(self._partition)):
                self._note(f"{copy} was not healed: no other copy serves while it is set aside")
                continue
            self._meter.phase(f"heal {copy}")
            kinds = sorted({one.kind.value for one in first.outcome.differences if one.copy == copy})
            try:
                await self._references.at_hand(reference)
                path = await self._port.heal(
                    self._partition,
                    NodeName(copy),
                    rows=reference.rows,
                    lsn=reference.lsn,
                    stamp=reference.stamp,
                    total=reference.digest.total(),
                    chain=reference.chain,
                    reason=f"scrub at LSN {reference.lsn}: {', '.join(kinds)}",
                )
            except ScrubjayError as error:
                self._note(f"{copy} was not healed: {error}")
            else:
                evidence[copy] = path or None
        return evidence

    async def _survey(self, first: Pass) -> None:
        """A copy that will be healed though it could not be compared: what is rotten in it is noted before it is set aside."""
        compared = {copy.copy for copy in first.outcome.copies if copy.rows is not None}
        for copy in first.outcome.heal:
            if copy not in compared:
                try:
                    await self._port.survey(self._partition, NodeName(copy))
                except ScrubjayError as error:
                    self._note(f"{copy} could not be surveyed before its heal: {error}")

    async def _again(self) -> Pass | None:
        await self._quiet()
        try:
            return await self._passes.compare()
        except ScrubjayError as error:
            self._note(f"the second comparison could not begin: {error}")
            return None

    async def _maybe_base(self, one: Pass) -> str | None:
        """A reference that matched a majority of the copies, and that nothing speaks against, becomes the next base snapshot if it is worth it."""
        reference = one.reference
        if reference is None or not proven(one.outcome):
            return None
        age_us = self._env.clock.wall_us() - reference.base_us
        if not base_due(
            base_lsn=reference.base_lsn, base_raw=reference.base_raw, log_raw=reference.log_raw, segments=reference.segments, age_us=age_us
        ):
            return None
        self._meter.phase("base")
        try:
            return await self._references.write_base(self._table, self._info, reference)
        except ScrubjayError as error:
            self._note(f"no base snapshot was written: {error}")
            return None

    def _discard(self, one: Pass) -> None:
        if one.reference is not None:
            self._references.discard(one.reference)

    def _report(
        self,
        first: Pass,
        second: Pass | None,
        known: Sequence[Finding],
        outside: Sequence[ScrubFound],
        evidence: dict[str, str | None],
        base: str | None,
    ) -> PartitionReport:
        now = self._kept()  # the healer may have set a copy aside while it was compared here
        report = report_of(self._partition, first, second, known=known, outside=outside, now=now, evidence=evidence, base=base)
        if self._unproven and report.verdict is Verdict.MATCH:
            report = replace(report, verdict=Verdict.UNVERIFIED, reason=INDEX)
        return report

    def _note(self, text: str) -> None:
        self._notes.append(f"{self._table.name} {self._partition}: {text}")
