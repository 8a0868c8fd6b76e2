"""What has become worse, from the reports alone. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from scrubjay.drills.report import MATCH, MISMATCH
from scrubjay.server.problems import DrillHealth

EARLIER_MIN = 3
"""So many earlier runs that matched make a median."""
WORSE_FACTOR = 2.0
WORSE_S = 10.0
"""Much worse: more than WORSE_FACTOR times what it was, and more than WORSE_S above it. A drill of a second is nobody's alarm."""


def slowness(report: Mapping[str, Any]) -> float | None:
    """RTO as a multiple of what was predicted, where a prediction was made: tables are of all sizes."""
    rto, predicted = report["rto_seconds"], report["predicted_seconds"]
    return None if rto is None else float(rto) / max(1.0, float(predicted or 1.0))


def worse(reports: Sequence[Mapping[str, Any]], *, live: Collection[str] | None = None) -> list[DrillHealth]:
    """What stands of each scenario. reports: oldest first. live: names of the tables that are there, None: all are."""
    found = []
    for scenario in sorted({str(one["scenario"]) for one in reports}):
        runs = [one for one in reports if one["scenario"] == scenario]
        *earlier, last = runs
        stands = _standing(runs, live)
        if stands is None and last["verdict"] == MISMATCH:
            continue  # of a table that is gone
        told = _worse(stands or last, [one for one in earlier if one["verdict"] == MATCH])
        if told is not None:
            found.append(told)
    return found


def key_trouble(reports: Sequence[Mapping[str, Any]], key: str | None) -> str | None:
    """What is wrong with the key that signs: what was signed before can be checked by the public half that somebody noted, what comes now only by the new one. Stands until two
    reports in a row are signed with the key that is there. reports: oldest first. key: the public half of the one that is there, None: none can be read."""
    if not reports:
        return None
    last = reports[-1]
    if key is None:
        return "the key that signs the reports of drills is gone, or cannot be read"
    if last["public_key"] != key:
        return f"the key that signs the reports of drills is another than that of the newest, {last['id']}"
    if len(reports) > 1 and reports[-2]["public_key"] != key:
        return f"the reports of drills are signed with another key since {last['started']}"
    return None


def _standing(runs: Sequence[Mapping[str, Any]], live: Collection[str] | None) -> Mapping[str, Any] | None:
    """The newest mismatch that no later match has ended. A match of another table ends nothing, nor does a run that proved nothing; a table that is gone ends it."""
    proven: set[str] = set()
    matched = False
    one: Mapping[str, Any]
    for one in reversed(runs):
        if one["verdict"] == MATCH:
            proven.update(one["tables"])
            matched = True
        elif one["verdict"] == MISMATCH:
            still = [table for table in one["tables"] if table not in proven and (live is None or table in live)]
            if still or not (one["tables"] or matched):
                return one
    return None


def _worse(last: Mapping[str, Any], earlier: Sequence[Mapping[str, Any]]) -> DrillHealth | None:
    name = str(last["scenario"])
    if last["detected"] < last["planted"]:
        return DrillHealth(
            name, f"drill {name}: {last['planted'] - last['detected']} of {last['planted']} planted faults were not found", True
        )
    if last["verdict"] != MATCH:
        why = "; ".join(last["differences"][:2]) or (last["error"] or {}).get("message") or "nothing was compared"
        return DrillHealth(name, f"drill {name} ended with {last['verdict']}: {why}", last["verdict"] == MISMATCH)
    told = [
        f"{words} {now * unit:.0f} s where {usual * unit:.0f} s were usual{more}"
        for words, more, now, usual, unit in _figures(last, earlier)
        if now > WORSE_FACTOR * usual and now * unit > usual * unit + WORSE_S
    ]
    return DrillHealth(name, f"drill {name} {', '.join(told)}", False) if told else None


def _figures(last: Mapping[str, Any], earlier: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str, float, float, float]]:
    """Of each figure that has been measured often enough: how it is told, what it is and was, and how many seconds that is a unit of."""
    figures: tuple[tuple[str, str, Callable[[Mapping[str, Any]], float | None], float], ...] = (
        ("took", " for as much", slowness, max(1.0, float(last["predicted_seconds"] or 1.0))),
        ("would have lost the newest", "", lambda one: one["rpo_seconds"], 1.0),
        ("found what was planted within", "", found_s, 1.0),
    )
    for words, more, figure, unit in figures:
        now, before = figure(last), [was for one in earlier if (was := figure(one)) is not None]
        if now is not None and len(before) >= EARLIER_MIN:
            yield words, more, now, median(before), unit


def found_s(report: Mapping[str, Any]) -> float | None:
    """How long it took to find what was planted, of the kind that took longest; None: nothing says so."""
    times = report["facts"].get("found_seconds")
    numbers = [one for one in times.values() if isinstance(one, int | float)] if isinstance(times, dict) else []
    return max(map(float, numbers), default=None)
