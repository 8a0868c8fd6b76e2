"""A scrub run: plans it, carries the plan out, some partitions at once, and reports all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from scrubjay.base.env import Env
from scrubjay.base.errors import ScrubjayError
from scrubjay.base.ids import PartitionId
from scrubjay.base.together import in_parallel
from scrubjay.scrubber.conclude import CopyVerdict
from scrubjay.scrubber.evidence import ARCHIVE
from scrubjay.scrubber.ledger import SCRUB, Ledger, PartitionProof, Proof
from scrubjay.scrubber.options import ScrubOptions, Turns
from scrubjay.scrubber.partition import PartitionScrub
from scrubjay.scrubber.plan import ScrubPlan, Target, choose, live, of_round, plan_scrub
from scrubjay.scrubber.reference import References
from scrubjay.scrubber.report import PartitionReport, ScrubReport, TableReport
from scrubjay.scrubber.verdict import Verdict
from scrubjay.storage.service_port import ServicePort

Progress = Callable[[dict[str, Any]], None]
Rest = Callable[[float], Awaitable[None]]
"""Seconds that a partition took."""

DROPPED = "table_dropped"
"""Reason of a partition that could not be compared because its table was deleted meanwhile."""


async def scrub(
    env: Env,
    port: ServicePort,
    references: References,
    ledger: Ledger | None,
    options: ScrubOptions,
    *,
    tables: Sequence[str] | None = None,
    partition: str | None = None,
    progress: Progress | None = None,
    planned: Callable[[ScrubPlan], None] | None = None,
    turns: Turns | None = None,
    rest: Rest | None = None,
    at: set[PartitionId] | None = None,
) -> ScrubReport:
    """Scrub every live partition chosen, by a plan, and report. planned: hears of the plan before it is carried out. rest: awaited after each partition. at: partitions that are looked at just now are kept in it. turns: a run of the
    schedule, which is none and leaves no trace where nothing is due; None: all that was chosen. Raises Unavailable (unknown table or partition); all else is in the report.

    What was found outside a scrub is given up only once the report that tells of it is in the ledger, and only what that report tells: a finding made
    since waits for the next run. If the ledger cannot be written, what this run itself found goes to the store's findings, so that it is not lost either.
    """
    began = env.clock.boot_us()
    started = env.clock.wall_us()
    chosen = choose(port.tables(), chosen=tables, partition=partition)
    notes: list[str] = []
    run: int | None = None
    proofs: Sequence[PartitionProof] = ()
    if ledger is not None:
        try:
            proofs = await ledger.partitions()
        except ScrubjayError as error:
            notes.append(f"the ledger could not be used: {error}")
    if turns is not None:
        chosen = of_round(chosen, proofs, round_us=turns.round_us, now_us=started, again=turns.again, only=turns.only)
        if not chosen:
            return ScrubReport((), 0.0, tuple(notes))
    if ledger is not None:
        try:
            run = await ledger.begin_run(started)
        except ScrubjayError as error:
            notes.append(f"the ledger could not be used: {error}")
    plan = _plan(port, references, chosen, proofs, options, as_given=turns is not None)
    if planned is not None:
        planned(plan)
    targets = [one.target for one in plan.parts]
    done = read = shown = 0
    under_way: dict[str, int] = {}

    def tell(at: str, phase: str, moved: int) -> None:
        """Bytes never go back, whatever a partition is at in the end counted with (raw bytes of log while it is read, stored ones in its report)."""
        nonlocal shown
        under_way[at] = moved
        shown = read if done == len(targets) else max(shown, read + sum(under_way.values()))
        if progress is not None:
            progress({"phase": phase, "done": done, "total": len(targets), "unit": "partitions", "bytes": shown})

    cut: str | None = None

    async def one(target: Target) -> PartitionReport | None:
        """None: the run ended before its turn."""
        nonlocal done, read, cut
        if turns is not None:
            cut = cut or turns.stop(shown)
        if cut is not None:
            return None
        name, boot_us = target.info.partition_id, env.clock.boot_us()
        looks = set() if at is None else at
        looks.add(name)
        try:
            report = await _scrub_one(env, port, references, target, options, partial(tell, name), notes)
        finally:
            looks.discard(name)
        if report.verdict is Verdict.UNVERIFIED and not any(one.table_id == target.table.table_id for one in live(port.tables())):
            report = replace(report, reason=DROPPED)
        await _remember(env, ledger, run, target, report, notes)
        done += 1
        read += report.bytes
        tell(name, "partition done", 0)
        if rest is not None:
            await rest((env.clock.boot_us() - boot_us) / 1e6)
        return report

    ended = zip(targets, await in_parallel(env.tasks, one, targets, lanes=plan.lanes, name="scrub"), strict=True)
    through = [(target, found) for target, found in ended if found is not None]
    reports = [found for _, found in through]
    seconds, left = (env.clock.boot_us() - began) / 1e6, len(targets) - len(through)
    report = ScrubReport(_by_table([target for target, _ in through], reports), seconds, tuple(notes), plan, left, cut if left else None)
    kept = ledger is None
    if ledger is not None and run is not None:
        verdict = report.verdict.value
        try:
            await ledger.end_run(run, finished_us=env.clock.wall_us(), verdict=verdict, healed=report.healed, report=report.as_json())
            kept = True
        except ScrubjayError as error:
            report = replace(report, notes=(*notes, f"the ledger could not be written: {error}"))
    for part in reports:
        if kept:
            for place in dict.fromkeys([part.partition, *(found.partition for found in part.reported)]):
                port.reported(PartitionId(place), part.reported)
        else:
            _hand_back(port, part)
    return report


def _plan(
    port: ServicePort,
    references: References,
    chosen: Sequence[Target],
    proofs: Sequence[PartitionProof],
    options: ScrubOptions,
    *,
    as_given: bool,
) -> ScrubPlan:
    """What is known without asking anybody: nothing is listed and nothing is sealed for a plan."""
    ids = [one.info.partition_id for one in chosen]
    costs = {one.info.partition_id: references.cost(one.table, one.info, until=port.archived(one.info.partition_id)) for one in chosen}
    return plan_scrub(
        chosen,
        proofs,
        copies={one: port.copies(one) for one in ids},
        costs={partition: cost for partition, cost in costs.items() if cost is not None},
        lanes=options.lanes,
        as_given=as_given,
    )


def _hand_back(port: ServicePort, part: PartitionReport) -> None:
    """No ledger remembers this report: what it found is kept with what was found outside a scrub, until a run that the ledger takes tells of it."""
    for found in part.findings:
        if found.finding.found_by == "scrub":
            port.note(found.finding)


async def _scrub_one(
    env: Env,
    port: ServicePort,
    references: References,
    target: Target,
    options: ScrubOptions,
    tell: Callable[[str, int], None],
    notes: list[str],
) -> PartitionReport:
    """An error nobody foresaw leaves this partition unverified, not the run without a report; what was found there is then kept for the next run."""
    scrubber = PartitionScrub(env, port, references, target.table, target.info, options, tell=tell, notes=notes)
    try:
        return await scrubber.run()
    except ScrubjayError as error:
        notes.append(f"{target.table.name} {target.info.partition_id}: {error}")
        copies = [CopyVerdict(ARCHIVE, "reference", None, None, Verdict.UNVERIFIED, error.code)]
        return PartitionReport(target.info.partition_id, None, Verdict.UNVERIFIED, error.code, False, tuple(copies), (), 0, 0)


async def _remember(env: Env, ledger: Ledger | None, run: int | None, target: Target, report: PartitionReport, notes: list[str]) -> None:
    if ledger is None:
        return
    reference = next((copy for copy in report.copies if copy.kind == "reference"), None)
    proof = PartitionProof(
        report.partition,
        target.table.table_id,
        SCRUB,
        env.clock.wall_us(),
        report.lsn,
        report.verdict.value,
        report.healed,
        None if reference is None else reference.rows,
        None if reference is None else reference.digest,
        run,
    )
    try:
        await ledger.scrubbed(proof)
        await ledger.proved([Proof(key, "replayed", proof.at_us, run) for key in report.objects])
    except ScrubjayError as error:
        notes.append(f"the ledger could not be written: {error}")


def _by_table(targets: Sequence[Target], reports: Sequence[PartitionReport]) -> tuple[TableReport, ...]:
    found: dict[str, list[tuple[str, PartitionReport]]] = {}
    names: dict[str, str] = {}
    for target, report in zip(targets, reports, strict=True):
        names[target.table.table_id] = target.table.name
        found.setdefault(target.table.table_id, []).append((target.info.lo, report))
    return tuple(
        TableReport(names[table_id], table_id, tuple(report for _, report in sorted(found[table_id], key=lambda pair: pair[0])))
        for table_id in sorted(found, key=lambda one: (names[one], one))
    )
