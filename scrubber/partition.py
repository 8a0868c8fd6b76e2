"""The scrub of one partition: seal, pin, scan, rebuild, compare, descend, heal, compare again.

Everything that could not be done becomes a reason on a copy or on the partition, never a silent skip.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from base.env import Env
from base.errors import Corrupt, Internal, Missing, ScrubjayError, Unavailable
from base.ids import Lsn, NodeName
from scrubber.compare import differences_in, ranges_to_descend
from scrubber.conclude import Comparison, CopyVerdict, conclude
from scrubber.evidence import ARCHIVE, SUSPECT, Absentee, Difference, Ruling, Side
from scrubber.gather import settle
from scrubber.reference import Damage, Origin, Reference, References, base_due
from scrubber.report import Found, PartitionReport, fault_of, merge_findings, same_fault
from scrubber.verdict import Verdict
from storage.btree.engine import RowFact, ScanResult
from storage.catalogue import KeySchema, PartitionInfo, TableMeta
from storage.items.encoding import decode_item
from storage.items.wire import value_to_json
from storage.log.record import Seal
from storage.service_port import Copy, Finding, Pinned, SealPoint, ServicePort

Progress = Callable[[str, int], None]
"""(phase, bytes read of this partition so far: of the copies that are scanned, and of the log that the reference is rebuilt from)."""

PASSING = ("behind",)
"""Reasons for which a copy could not be scanned that end by themselves."""
RANGES_AT_ONCE = 16
"""Sub-ranges whose reference rows are fetched in one go: bounds memory to a sixteenth of the partition's row facts."""


@dataclass(frozen=True, slots=True)
class ScrubOptions:
    """rate_bytes: bytes per second read from one copy, None: no bound. lanes: partitions at once. findings_max: item-level findings per partition whose
    keys are told; what differs beyond is judged key by key all the same. origins_max: findings per partition whose log record is searched for."""

    archive_wait_s: float = 60.0
    pin_wait_s: float = 30.0
    heal_wait_s: float = 60.0
    rate_bytes: int | None = None
    lanes: int = 2
    findings_max: int = 1000
    origins_max: int = 200


@dataclass(slots=True)
class _Pass:
    """One comparison at one seal and what it was made from. began_us: wall time before the seal."""

    began_us: int
    seal: SealPoint
    outcome: Comparison
    reference: Reference | None
    findings: list[Found]
    bytes: int


@dataclass(slots=True)
class _Fault:
    """Why there is no reference. damage: empty if the archive was merely out of reach."""

    reason: str
    damage: tuple[Damage, ...] = ()


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
        progress: Progress,
        notes: list[str],
    ) -> None:
        self._env = env
        self._port = port
        self._references = references
        self._table = table
        self._info = info
        self._partition = info.partition_id
        self._options = options
        self._tell = progress
        self._phase = ""
        self._read: dict[tuple[int, str], int] = {}
        """Bytes by pass and source."""
        self._passes = 0
        self._notes = notes
        self._let_go: list[Callable[[], None]] = []

    async def run(self) -> PartitionReport:
        """Scrub, heal one round of outvoted copies, scrub again. The log above the seals is kept until then: a healed copy must find what follows."""
        try:
            return await self._run()
        finally:
            while self._let_go:
                self._let_go.pop()()

    async def _run(self) -> PartitionReport:
        await self._quiet()
        known = self._port.findings(self._partition)
        try:
            first = await self._compare_once()
            if any(copy.reason in PASSING for copy in first.outcome.copies) and not first.outcome.heal:
                # A copy was on its way back from a heal: what kept it out passes by itself, so look once more before calling it unverified.
                self._discard(first)
                await self._quiet()
                first = await self._compare_once()
        except ScrubjayError as error:
            return self._not_begun(known, error)
        try:
            await self._survey(first)
            # Read again: what a checkpoint or a read ran into while the copies were compared belongs to this report, not to the next.
            known = self._port.findings(self._partition)
            outside = await self._named([Found(one, one.evidence) for one in known], first.reference)
            if not first.outcome.heal:
                base = await self._maybe_base(first)
                return self._report(known, outside, first, None, {}, base)
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
        return self._report(known, outside, first, second, evidence, base)

    def _progress(self, phase: str) -> None:
        self._phase = phase
        self._tell(phase, sum(self._read.values()))

    def _moved(self, source: str, bytes_: int) -> None:
        """So much of a source is read in this pass."""
        self._read[self._passes, source] = bytes_
        self._progress(self._phase)

    def _reference_moved(self, facts: dict[str, Any]) -> None:
        if isinstance(facts.get("raw_bytes"), int):
            self._moved(ARCHIVE, facts["raw_bytes"])

    async def _quiet(self) -> None:
        """Wait for running heals. A copy that is still healing afterwards shows up as such among the copies."""
        try:
            await self._port.healed(self._partition, timeout_s=self._options.heal_wait_s)
        except Unavailable as error:
            self._note(f"a heal did not end in time: {error}")

    # ------------------------------------------------------------------ one comparison

    async def _compare_once(self) -> _Pass:
        """Raises ScrubjayError: no seal could be had, so there is no LSN to compare at."""
        self._passes += 1
        self._progress("seal")
        began_us = self._env.clock.wall_us()
        tag = self._env.rand.u64().to_bytes(8, "little") + self._env.rand.u64().to_bytes(8, "little")
        seal = await self._port.seal(self._partition, reason=Seal.SCRUB, tag=tag)
        self._let_go.append(self._port.keep_log(self._partition, seal.lsn))
        pins: dict[str, Pinned] = {}
        reference: Reference | None = None
        try:
            reference_task = self._env.tasks.spawn(self._reference(seal.lsn), name=f"scrub reference {self._partition}")
            try:
                sides, absent, read = await self._scan(seal.lsn, pins)
                built = await reference_task
            finally:
                if not reference_task.done():
                    reference_task.cancel()
            fault = built if isinstance(built, _Fault) else None
            reference = built if isinstance(built, Reference) else None
            self._progress("compare")
            try:
                outcome = await self._judge(sides, absent, pins, reference, fault)
            except ScrubjayError as error:
                self._note(f"the reference could not be read: {error}")
                fault = _Fault("reference_lost")
                outcome = await self._judge(sides, absent, pins, None, fault)
            findings = await self._findings(outcome, pins, reference)
            damage = fault.damage if fault is not None else reference.damage if reference is not None else ()
            findings += [self._archive_finding(one) for one in damage]
            read += reference.bytes if reference is not None else 0
            return _Pass(began_us, seal, outcome, reference, findings, read)
        except BaseException:
            if reference is not None:
                self._references.discard(reference)
            raise
        finally:
            for pin in pins.values():
                pin.release()

    async def _scan(self, lsn: Lsn, pins: dict[str, Pinned]) -> tuple[list[Side], list[Absentee], int]:
        """Pin and scan every storage copy at once. Fills `pins` with those that could be scanned."""
        absent: list[Absentee] = []
        wanted: list[Copy] = []
        for copy in sorted(self._port.copies(self._partition), key=lambda one: one.number):
            missed = _not_scannable(copy)
            if missed is None:
                wanted.append(copy)
            else:
                absent.append(missed)
        self._progress("scan")
        results = await settle(
            self._env.tasks, [self._scan_one(copy.node, lsn, pins) for copy in wanted], name=f"scrub scan {self._partition}"
        )
        sides: list[Side] = []
        read = 0
        since = {copy.node: copy for copy in self._port.copies(self._partition)}
        for copy, result in zip(wanted, results, strict=True):
            if isinstance(result, ScanResult):
                sides.append(Side(copy.node, result.digest, result.bad, result.structure, copy.state == SUSPECT))
                read += result.bytes_read
            else:
                absent.append(_absentee(since.get(copy.node, copy), result))
        return sides, absent, read

    async def _scan_one(self, node: NodeName, lsn: Lsn, pins: dict[str, Pinned]) -> ScanResult:
        pin = await self._port.pin(self._partition, node, lsn, timeout_s=self._options.pin_wait_s)
        pins[node] = pin
        scanned = await pin.digest(bytes_per_second=self._options.rate_bytes)
        self._moved(node, scanned.bytes_read)
        return scanned

    async def _reference(self, lsn: Lsn) -> Reference | _Fault:
        try:
            if not await self._port.wait_archived(self._partition, lsn, timeout_s=self._options.archive_wait_s):
                return _Fault("archive_lags")
            built = await self._references.rebuild(self._table, self._info, until=lsn, progress=self._reference_moved)
        except (Corrupt, Missing) as error:
            if error.fields.get("what") == "rowfile":
                self._note(f"the reference's own file is damaged: {error}")
                return _Fault("reference_lost")
            damage = error.fields.get("damage") or (Damage(error.kind, "", error.fields.get("lsn"), str(error)),)
            return _Fault("archive_damaged", tuple(damage))
        except ScrubjayError as error:
            self._note(f"no reference: {error}")
            return _Fault("archive_unreachable")
        if built.lsn != lsn:
            self._references.discard(built)
            raise Internal("the rebuild stopped at another LSN", partition=self._partition, expected=lsn, found=built.lsn)
        return built

    def _archive_finding(self, damage: Damage) -> Found:
        object_ = damage.object or None
        segment = object_ if object_ is not None and "/log/" in object_ else None
        return Found(self._finding(damage.kind, ARCHIVE, object_=object_, lsn=damage.lsn, segment=segment, detail=damage.detail))

    # ------------------------------------------------------------------ judging

    async def _judge(
        self, sides: Sequence[Side], absent: Sequence[Absentee], pins: dict[str, Pinned], reference: Reference | None, fault: _Fault | None
    ) -> Comparison:
        truth = reference.digest if reference is not None else None
        differences: list[Difference] = []
        further: set[tuple[Ruling, str]] = set()
        unexplained: list[int] = []
        lost: list[Absentee] = []
        here = list(sides)
        expected: dict[int, list[RowFact]] = {}
        wanted = ranges_to_descend(sides, truth)
        for at, index in enumerate(wanted):
            facts, gone = await self._facts(index, here, pins)
            lost += gone
            here = [side for side in here if side.copy in facts]
            if at % RANGES_AT_ONCE == 0 or index not in expected:
                expected = await self._reference_facts(reference, wanted[at : at + RANGES_AT_ONCE])
            found = differences_in(facts, expected.pop(index) if reference is not None else None)
            room = max(0, self._options.findings_max - len(differences))
            differences += found[:room]
            further |= {(one.ruling, one.copy) for one in found[room:]}
            if not found and not any(_bad_in(side, index) for side in here):
                unexplained.append(index)
            await self._env.tasks.sleep(0)
        return conclude(
            here,
            [*absent, *lost],
            truth,
            differences,
            reference_reason=None if fault is None else fault.reason,
            reference_rotten=fault is not None and bool(fault.damage),
            further=further,
            unexplained=unexplained,
        )

    async def _facts(self, index: int, sides: Sequence[Side], pins: dict[str, Pinned]) -> tuple[dict[str, list[RowFact]], list[Absentee]]:
        """The rows of one sub-range of every copy. A copy that cannot give them any more leaves the comparison."""
        if not sides:
            return {}, []
        start, end = sides[0].digest.bounds(index)
        results = await settle(self._env.tasks, [pins[side.copy].rows(start, end) for side in sides], name="scrub rows")
        facts: dict[str, list[RowFact]] = {}
        gone: list[Absentee] = []
        for side, result in zip(sides, results, strict=True):
            if isinstance(result, ScrubjayError):
                gone.append(_lost(side.copy, result))
            else:
                facts[side.copy] = result
        return facts, gone

    async def _reference_facts(self, reference: Reference | None, indices: Sequence[int]) -> dict[int, list[RowFact]]:
        if reference is None:
            return {}
        found = await self._references.facts(reference, [reference.digest.bounds(index) for index in indices])
        return dict(zip(indices, found, strict=True))

    # ------------------------------------------------------------------ findings

    async def _findings(self, outcome: Comparison, pins: dict[str, Pinned], reference: Reference | None) -> list[Found]:
        told = outcome.differences
        origins = await self._origins(told[: self._options.origins_max], reference)
        keys = await self._keys([one.key for one in told if one.key is not None], pins, reference)
        found: list[Found] = []
        for at, one in enumerate(told):
            origin = origins[at] if at < len(origins) else Origin(one.lsn or None, None)
            key = None if one.key is None else keys[one.key]
            found.append(
                Found(
                    self._finding(
                        one.kind.value,
                        one.copy,
                        key=key,
                        storage_key=one.key,
                        object_=origin.object if one.copy == ARCHIVE else None,
                        lsn=origin.lsn,
                        segment=origin.object,
                        detail=one.detail or ("" if one.ruling is Ruling.COPY else one.ruling.value),
                    )
                )
            )
        return found

    async def _origins(self, told: Sequence[Difference], reference: Reference | None) -> list[Origin]:
        wanted = [one for one in told if one.key is not None]
        if reference is None or not wanted:
            return [Origin(one.lsn or None, None) for one in told]
        try:
            keys = [(one.key or b"", one.lsn) for one in wanted]
            found = iter(await self._references.origins(self._table, self._info, reference, keys))
        except ScrubjayError as error:
            self._note(f"the log records behind the findings were not found: {error}")
            return [Origin(one.lsn or None, None) for one in told]
        return [next(found) if one.key is not None else Origin(None, None) for one in told]

    async def _keys(
        self, keys: Sequence[bytes], pins: dict[str, Pinned], reference: Reference | None
    ) -> dict[bytes, dict[str, Any] | None]:
        """The key attributes as DynamoDB JSON, from the reference or any copy that holds a good row there."""
        wanted = sorted(set(keys))
        items: dict[bytes, bytes | None] = dict.fromkeys(wanted)
        if reference is not None and wanted:
            try:
                items = dict(zip(wanted, await self._references.items(reference, wanted), strict=True))
            except ScrubjayError as error:
                self._note(f"the keys of the findings could not be read from the reference: {error}")
        for key in wanted:
            for node in sorted(pins):
                if items[key] is None:
                    items[key] = await _or_none(pins[node].item(key))
        return {key: None if item is None else key_json(item, self._table.key) for key, item in items.items()}

    async def _named(self, outside: Sequence[Found], reference: Reference | None) -> list[Found]:
        """Findings that know only a raw tree key get the key's attributes from the reference."""
        raw = [one.finding.storage_key for one in outside if one.finding.key is None and one.finding.storage_key is not None]
        keys = await self._keys(raw, {}, reference)
        return [
            Found(one.finding._replace(key=keys[one.finding.storage_key]), one.evidence)
            if one.finding.key is None and one.finding.storage_key is not None
            else one
            for one in outside
        ]

    def _finding(
        self,
        kind: str,
        copy: str,
        *,
        key: dict[str, Any] | None = None,
        storage_key: bytes | None = None,
        object_: str | None = None,
        lsn: int | None = None,
        segment: str | None = None,
        detail: str = "",
    ) -> Finding:
        at = self._env.clock.wall_us()
        return Finding(kind, copy, self._partition, key, storage_key, object_, lsn, segment, "scrub", "none", detail, at)

    # ------------------------------------------------------------------ healing

    async def _heal(self, first: _Pass) -> dict[str, str | None]:
        """Rebuild the outvoted copies from the reference, one after another. Of each that was set aside, where it lies below the data folder."""
        assert first.reference is not None
        reference = first.reference
        evidence: dict[str, str | None] = {}
        for copy in first.outcome.heal:
            if not any(one.state == "ok" and one.node != copy for one in self._port.copies(self._partition)):
                self._note(f"{copy} was not healed: no other copy serves while it is set aside")
                continue
            self._progress(f"heal {copy}")
            kinds = sorted({one.kind.value for one in first.outcome.differences if one.copy == copy})
            try:
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

    async def _survey(self, first: _Pass) -> None:
        """A copy that will be healed though it could not be compared: what is rotten in it is noted before it is set aside."""
        compared = {copy.copy for copy in first.outcome.copies if copy.rows is not None}
        for copy in first.outcome.heal:
            if copy not in compared:
                try:
                    await self._port.survey(self._partition, NodeName(copy))
                except ScrubjayError as error:
                    self._note(f"{copy} could not be surveyed before its heal: {error}")

    async def _again(self) -> _Pass | None:
        await self._quiet()
        try:
            return await self._compare_once()
        except ScrubjayError as error:
            self._note(f"the second comparison could not begin: {error}")
            return None

    async def _maybe_base(self, one: _Pass) -> str | None:
        """A reference that matched a majority of the copies, and that nothing speaks against, becomes the next base snapshot if it is worth it."""
        reference = one.reference
        if reference is None or not _proven(one.outcome):
            return None
        if not base_due(base_lsn=reference.base_lsn, base_raw=reference.base_raw, log_raw=reference.log_raw):
            return None
        self._progress("base")
        try:
            return await self._references.write_base(self._table, self._info, reference)
        except ScrubjayError as error:
            self._note(f"no base snapshot was written: {error}")
            return None

    def _discard(self, one: _Pass) -> None:
        if one.reference is not None:
            self._references.discard(one.reference)

    # ------------------------------------------------------------------ report

    def _report(
        self,
        known: Sequence[Finding],
        outside: Sequence[Found],
        first: _Pass,
        second: _Pass | None,
        evidence: dict[str, str | None],
        base: str | None,
    ) -> PartitionReport:
        """known: what was found outside, as the store keeps it; outside: the same with its keys."""
        last = second or first
        matched = [copy.copy for copy in last.outcome.copies if copy.verdict is Verdict.MATCH]
        # What was found after the last scan of a copy had begun says more than that scan: it is told now and kept for the run that looks there again.
        late = [one for one in known if one.at_us > last.began_us and one.copy in matched]
        own = [_settled(found, matched=matched, evidence=evidence) for found in first.findings]
        own += [] if second is None else second.findings
        own = [found for found in own if not _told_outside(found, outside)]
        # The healer may have set a copy aside while it was compared here.
        aside = {fault_of(one): one.evidence for one in self._port.findings(self._partition) if one.evidence is not None}
        findings = [
            found
            if found.finding.copy == ARCHIVE or any(same_fault(one, found.finding) for one in late)
            else _settled(found, matched=matched, evidence=evidence)
            for found in (
                one if one.evidence is not None else replace(one, evidence=aside.get(fault_of(one.finding)))
                for one in merge_findings(outside, own)
            )
        ]
        verdict, reason = first.outcome.verdict, first.outcome.reason
        if findings and verdict is not Verdict.MISMATCH:
            damaged = any(found.finding.copy == ARCHIVE and found.finding.found_by == "scrub" for found in findings)
            verdict, reason = Verdict.MISMATCH, reason or ("archive_damaged" if damaged else "found_outside_scrub")
        if second is not None and second.outcome.verdict is not Verdict.MATCH:
            reason = second.outcome.reason or reason
        healed = verdict is Verdict.MISMATCH and last.outcome.verdict is Verdict.MATCH and all(_healed(found) for found in findings)
        rows = next((copy.rows for copy in reversed(last.outcome.copies) if copy.rows is not None), 0)
        return PartitionReport(
            self._partition,
            first.seal.lsn,
            verdict,
            reason,
            healed,
            first.outcome.copies,
            tuple(findings),
            rows or 0,
            first.bytes + (second.bytes if second is not None else 0),
            base,
            () if last.reference is None else last.reference.objects,
            None if second is None else (second.seal.lsn, second.outcome.copies),
            tuple(one for one in known if one not in late),
        )

    def _not_begun(self, known: Sequence[Finding], error: ScrubjayError) -> PartitionReport:
        """Nothing was compared: what is known is told, and kept for the run that compares."""
        self._note(f"no seal: {error}")
        outside = tuple(Found(one, one.evidence) for one in known)
        copies = [CopyVerdict(one.node, one.kind, None, None, Verdict.UNVERIFIED, "no_seal") for one in self._port.copies(self._partition)]
        copies.append(CopyVerdict(ARCHIVE, "reference", None, None, Verdict.UNVERIFIED, "no_seal"))
        verdict = Verdict.MISMATCH if outside else Verdict.UNVERIFIED
        return PartitionReport(self._partition, None, verdict, "no_seal", False, tuple(copies), outside, 0, 0)

    def _note(self, text: str) -> None:
        self._notes.append(f"{self._table.name} {self._partition}: {text}")


def _settled(found: Found, *, matched: Sequence[str], evidence: dict[str, str | None]) -> Found:
    """What became of a copy's finding: healed once the copy matches, quarantined if it was set aside and not proven since."""
    copy = found.finding.copy
    if copy == ARCHIVE:
        return found
    if copy in matched:
        return found.acted("healed", evidence.get(copy))
    return found.acted("quarantined", evidence.get(copy)) if copy in evidence or found.evidence is not None else found


def _told_outside(found: Found, outside: Sequence[Found]) -> bool:
    """That a copy is suspect says no more than the finding that made it so."""
    own = found.finding
    return own.detail == SUSPECT and own.storage_key is None and any(one.finding.copy == own.copy for one in outside)


def _healed(found: Found) -> bool:
    return found.finding.action == "healed"


def _proven(outcome: Comparison) -> bool:
    """The reference equals a majority of the storage copies and nothing was found to differ."""
    storage = sum(1 for copy in outcome.copies if copy.kind == "storage")
    return outcome.verdict is not Verdict.MISMATCH and outcome.copies[-1].verdict is Verdict.MATCH and outcome.matched_copies * 2 > storage


def _not_scannable(copy: Copy) -> Absentee | None:
    """Why a copy cannot be scanned; None if it can."""
    if copy.kind != "storage":
        return Absentee(copy.node, copy.kind, "log_not_read")
    if copy.state == "ok" or (copy.state == SUSPECT and copy.scannable):
        return None
    return Absentee(copy.node, copy.kind, copy.state, rotten=copy.state == SUSPECT)


def _absentee(copy: Copy, error: ScrubjayError) -> Absentee:
    """A copy that was to be scanned, as it is now. One that is suspect, or healed because of that, is known to be bad whatever kept it from being read."""
    lost = _lost(copy.node, error)
    if copy.state in PASSING:
        return lost._replace(reason=copy.state)
    return lost._replace(reason=SUSPECT, rotten=True) if copy.state in (SUSPECT, "healing") else lost


def _lost(node: str, error: ScrubjayError) -> Absentee:
    rotten = isinstance(error, Corrupt)
    return Absentee(node, "storage", "unreadable" if rotten else "not_pinned", rotten=rotten)


def _bad_in(side: Side, index: int) -> bool:
    lo, hi = side.digest.bounds(index)
    return any(lo <= key and (hi is None or key < hi) for key in side.bad)


async def _or_none(item: Any) -> bytes | None:
    """The item, or None where it cannot be had from there."""
    try:
        found: bytes | None = await item
    except (Corrupt, Missing, Unavailable):
        return None
    return found


def key_json(item: bytes, key: KeySchema) -> dict[str, Any] | None:
    """The key attributes of a canonical item as DynamoDB JSON. None if the bytes are no item."""
    try:
        whole = decode_item(item)
    except Corrupt:
        return None
    names = [key.partition.name] + ([key.sort.name] if key.sort is not None else [])
    return {name: value_to_json(whole[name]) for name in names if name in whole}
