"""What a recovery says: before it begins, and what came of it (INTERFACE section 3). Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scrubjay.archiver.format.pin import BackupPin
from scrubjay.archiver.read.backup_pins import PinsFound
from scrubjay.base.hlc import last_stamp_at
from scrubjay.base.times import utc_text
from scrubjay.pitr.pace import Costs, predict_seconds
from scrubjay.pitr.plan import Plan, fork_json, plan_table
from scrubjay.pitr.rates import Rates
from scrubjay.pitr.recover.choose import Choice, hole_json
from scrubjay.pitr.recover.moment import Lost
from scrubjay.pitr.recover.parent import Parent
from scrubjay.pitr.recover.schedules import carried
from scrubjay.pitr.source import seen_of
from scrubjay.storage.catalogue import TableMeta


def plans_of(parent: Parent, choice: Choice, *, rates: Rates, workers: int) -> dict[str, Plan]:
    """What each table with content reads, by its id. Raises Missing, Unavailable."""
    cut = last_stamp_at(choice.at_us)
    return {
        table.table_id: plan_table(
            seen_of(parent.index, table).of(table.partitions), at_us=choice.at_us, cut=cut, rates=rates, workers=workers
        )
        for table in choice.tables
        if table not in choice.empty
    }


def plan_report(
    parent: Parent, choice: Choice, plans: Mapping[str, Plan], *, costs: Costs, workers: int, lanes: int, copies: int, backups: PinsFound
) -> dict[str, Any]:
    """costs: of this machine. lanes: tables side by side. copies: of every partition of the new cluster. backups: of the parent, which do not come along. Everything that is known before anything is written. end_checked: that the newest objects are not lost, to which nothing later refers, nobody can tell here."""
    raw = [part.raw for plan in plans.values() for part in plan.partitions]
    tables_work = [[costs.work(table, log=part.raw_log, base=part.raw_base) for part in plan.partitions] for table, plan in plans.items()]
    predicted = predict_seconds(tables_work, costs, workers=workers, lanes=lanes, copies=copies)
    pieces = [parent.system_piece(), *choice.pieces]
    return {
        "parent": parent.cluster,
        "at": utc_text(choice.at_us),
        "tables": [_planned(table, plans.get(table.table_id), choice.at_us) for table in choice.tables],
        "left_out": [{"table": table.name, "table_id": table.table_id, "why": why} for table, why in choice.left_out],
        "bytes": sum(plan.bytes for plan in plans.values()),
        "raw_bytes": sum(raw),
        "requests": sum(plan.requests for plan in plans.values()),
        "predicted_seconds": predicted,
        "rates": rates_json(costs, plans),
        "holes": [hole_json(Lost(piece.table, hole)) for piece in pieces if piece.found is not None for hole in piece.found.window.holes],
        "forks": [fork_json(fork) for piece in pieces if piece.found is not None for fork in piece.found.forks],
        "schedules": list(carried(choice.catalogue.jobs).said),
        "backups": [_backup(pin) for pin in backups.pins],
        "backups_unread": [fault.object for fault in backups.unread],
        "end_checked": False,
    }


def rates_json(costs: Costs, plans: Mapping[str, Plan]) -> dict[str, Any]:
    """Bytes a second as a plan counts them, over all that is read: read, by one worker; load, of one copy; sync, of that what the disk takes. fixed: seconds, samples: pieces that were measured."""
    works = [
        (part.raw, costs.work(table, log=part.raw_log, base=part.raw_base)) for table, plan in plans.items() for part in plan.partitions
    ]
    raw = sum(size for size, _ in works)
    spent = {
        "read": sum(work.read for _, work in works),
        "load": sum(work.copy + work.sync + work.hash for _, work in works),
        "sync": sum(work.sync for _, work in works),
    }
    return {
        **{name: None if not seconds else round(raw / seconds) for name, seconds in spent.items()},
        "fixed": costs.fixed,
        "samples": costs.samples,
    }


def _backup(pin: BackupPin) -> dict[str, Any]:
    """What a recovery of that moment alone has to be asked for."""
    return {"backup": pin.name, "backup_id": pin.id, "table": pin.table.name, "table_id": pin.table.table_id, "at": utc_text(pin.at_us)}


def _planned(table: TableMeta, plan: Plan | None, at_us: int) -> dict[str, Any]:
    return {
        "table": table.name,
        "table_id": None,
        "source_id": table.table_id,
        "at": utc_text(at_us),
        "partitions": len(table.partitions),
        "bytes": 0 if plan is None else plan.bytes,
        "requests": 0 if plan is None else plan.requests,
        "state": None,
        "rows": None,
        "digest": None,
        "verdict": None,
        "seconds": None,
        "error": None,
    }


def findings_of(reports: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Damage that was met, each object once."""
    found: dict[str, dict[str, Any]] = {}
    for report in reports:
        for finding in report["findings"]:
            found.setdefault(str(finding["object"]), dict(finding))
    return list(found.values())
