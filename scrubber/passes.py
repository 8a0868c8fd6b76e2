"""One pass over one partition: seal, pin, scan, rebuild the reference, compare, descend to the rows, at one LSN.

Everything that could not be done becomes a reason on a copy or on the partition, never a silent skip. Nothing is judged here: `scrubber.compare`,
`scrubber.judge` and `scrubber.conclude` do, from values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from scrubjay.archiver.format.fault import Fault, fault_of
from scrubjay.base.env import Env
from scrubjay.base.errors import Corrupt, Internal, Missing, NoKey, ScrubjayError
from scrubjay.base.gate import Gate
from scrubjay.base.ids import Lsn, NodeName
from scrubjay.base.together import gather
from scrubjay.scrubber.compare import differences_in, ranges_to_descend
from scrubjay.scrubber.conclude import Comparison, conclude
from scrubjay.scrubber.evidence import ARCHIVE, SUSPECT, Absentee, Difference, Ruling, Side
from scrubjay.scrubber.finding_names import FindingNaming
from scrubjay.scrubber.meter import Meter
from scrubjay.scrubber.options import ScrubOptions
from scrubjay.scrubber.outcome import Pass
from scrubjay.scrubber.plan import why_not_scanned
from scrubjay.scrubber.reference import Reference, References
from scrubjay.storage.btree.engine import RowFact, ScanResult
from scrubjay.storage.btree.index_rows import IndexTally, whole_digest
from scrubjay.storage.catalogue import PartitionInfo, TableMeta
from scrubjay.storage.log.digest import RangeDigest
from scrubjay.storage.log.record import Seal
from scrubjay.storage.service_port import Copy, Pinned, ServicePort

PASSING = ("behind",)
"""Reasons for which a copy could not be scanned that end by themselves."""
RANGES_AT_ONCE = 16
"""Sub-ranges whose reference rows are fetched in one go: bounds memory to a sixteenth of the partition's row facts."""


@dataclass(slots=True)
class _NoReference:
    """Why there is no reference. damage: empty if the archive was merely out of reach."""

    reason: str
    damage: tuple[Fault, ...] = ()


class Passes:
    """Compares one partition, as often as asked. keep: is given what lets the log above each seal go again, once it is called."""

    def __init__(
        self,
        env: Env,
        port: ServicePort,
        references: References,
        table: TableMeta,
        info: PartitionInfo,
        options: ScrubOptions,
        *,
        naming: FindingNaming,
        meter: Meter,
        note: Callable[[str], None],
        keep: Callable[[Callable[[], None]], None],
    ) -> None:
        self._env = env
        self._port = port
        self._references = references
        self._table = table
        self._info = info
        self._partition = info.partition_id
        self._options = options
        self._naming = naming
        self._meter = meter
        self._note = note
        self._keep = keep

    async def compare(self) -> Pass:
        """Raises ScrubjayError: no seal could be had, so there is no LSN to compare at."""
        self._meter.begin_pass()
        self._meter.phase("seal")
        began_us = self._env.clock.wall_us()
        tag = self._env.rand.u64().to_bytes(8, "little") + self._env.rand.u64().to_bytes(8, "little")
        seal = await self._port.seal(self._partition, reason=Seal.SCRUB, tag=tag)
        self._keep(await self._port.keep_log(self._partition, seal.lsn))
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
            fault = built if isinstance(built, _NoReference) else None
            reference = built if isinstance(built, Reference) else None
            self._meter.phase("compare")
            try:
                outcome = await self._descend(sides, absent, pins, reference, fault)
            except ScrubjayError as error:
                self._note(f"the reference could not be read: {error}")
                fault = _NoReference("reference_lost")
                outcome = await self._descend(sides, absent, pins, None, fault)
            findings = await self._naming.findings(outcome, pins, reference)
            damage = fault.damage if fault is not None else reference.damage if reference is not None else ()
            findings += [self._naming.of_archive(one) for one in damage]
            read += reference.bytes if reference is not None else 0
            return Pass(began_us, seal, outcome, reference, findings, read)
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
            missed = why_not_scanned(copy)
            if missed is None:
                wanted.append(copy)
            else:
                absent.append(missed)
        self._meter.phase("scan")
        turn = Gate(self._env.tasks) if self._options.in_turn else None
        results = await gather(
            self._env.tasks, [self._scan_one(copy.node, lsn, pins, turn) for copy in wanted], name=f"scrub scan {self._partition}"
        )
        sides: list[Side] = []
        read = 0
        since = {copy.node: copy for copy in self._port.copies(self._partition)}
        for copy, result in zip(wanted, results, strict=True):
            if isinstance(result, ScanResult):
                sides.append(Side(copy.node, self._whole(result), result.bad, result.structure, copy.state == SUSPECT))
                read += result.bytes_read
            else:
                absent.append(_absentee(since.get(copy.node, copy), result))
        return sides, absent, read

    def _whole(self, scanned: ScanResult) -> RangeDigest:
        """Items and index rows of a copy: both are compared. Raises Corrupt."""
        if not scanned.entries:
            return scanned.digest
        tally = IndexTally(bytes.fromhex(self._info.lo), bytes.fromhex(self._info.hi) or None)
        tally.load(scanned.entries)
        return whole_digest(scanned.digest, tally.digest)

    async def _scan_one(self, node: NodeName, lsn: Lsn, pins: dict[str, Pinned], turn: Gate | None) -> ScanResult:
        """All are pinned at once, at the seal; turn: they are read one at a time."""
        pin = await self._port.pin(self._partition, node, lsn, timeout_s=self._options.pin_wait_s)
        pins[node] = pin
        if turn is None:
            scanned = await pin.digest(bytes_per_second=self._options.rate_bytes)
        else:
            async with turn:
                scanned = await pin.digest(bytes_per_second=self._options.rate_bytes)
        self._meter.moved(node, scanned.bytes_read)
        return scanned

    async def _reference(self, lsn: Lsn) -> Reference | _NoReference:
        try:
            if not await self._port.wait_archived(self._partition, lsn, timeout_s=self._options.archive_wait_s):
                return _NoReference("archive_lags")
            built = await self._references.rebuild(self._table, self._info, until=lsn, progress=self._reference_moved)
        except (Corrupt, Missing) as error:
            if error.fields.get("what") == "rowfile":
                self._note(f"the reference's own file is damaged: {error}")
                return _NoReference("reference_lost")
            damage = error.fields.get("damage") or (fault_of(error),)
            return _NoReference("archive_damaged", tuple(damage))
        except ScrubjayError as error:
            self._note(f"no reference: {error}")
            return _NoReference("archive_no_key" if isinstance(error, NoKey) else "archive_unreachable")
        if built.lsn != lsn:
            self._references.discard(built)
            raise Internal("the rebuild stopped at another LSN", partition=self._partition, expected=lsn, found=built.lsn)
        return built

    async def _descend(
        self,
        sides: Sequence[Side],
        absent: Sequence[Absentee],
        pins: dict[str, Pinned],
        reference: Reference | None,
        fault: _NoReference | None,
    ) -> Comparison:
        truth = reference.whole if reference is not None else None
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
        results = await gather(self._env.tasks, [pins[side.copy].rows(start, end) for side in sides], name="scrub rows")
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

    def _reference_moved(self, facts: dict[str, Any]) -> None:
        if isinstance(facts.get("raw_bytes"), int):
            self._meter.moved(ARCHIVE, facts["raw_bytes"])


def _absentee(copy: Copy, error: ScrubjayError) -> Absentee:
    """A copy that was to be scanned, as it is now. One that is suspect, or healed because of that, is known to be bad whatever kept it from being read."""
    lost = _lost(copy.node, error)
    if copy.state in PASSING:
        return lost._replace(reason=copy.state)
    return lost._replace(reason=SUSPECT, rotten=True) if copy.state in (SUSPECT, "healing") else lost


def _lost(node: str, error: ScrubjayError) -> Absentee:
    rotten = isinstance(error, Corrupt)
    return Absentee(node, "storage", "unreadable" if rotten else "pin_lost" if "pin" in error.fields else "not_pinned", rotten=rotten)


def _bad_in(side: Side, index: int) -> bool:
    lo, hi = side.digest.bounds(index)
    return any(lo <= key and (hi is None or key < hi) for key in side.bad)
