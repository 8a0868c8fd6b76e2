"""`scrubjay schedule list`: the jobs that run by themselves, when they run next, and how the last run of each went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scrubjay.text import columns, second_of, wrapped
from scrubjay.units import human_size
from scrubjay.verb import Result, Verb, VerbCall, no_options


def _run(call: VerbCall) -> Result:
    document = call.client().get("schedule")
    return int(document["exit"]), document


def render_jobs(document: Mapping[str, Any]) -> Sequence[str]:
    """The jobs for people; shared by the verbs that change them."""
    lines = columns(("job", "cron", "zone", "next", "last", "verdict", "left"), [_row(job) for job in document["jobs"]])
    for job in document["jobs"]:
        bounds = [f"window {job['window']}"] if job["window"] else []
        bounds += [f"rate {human_size(job['rate_bytes'])}/s"] if job["rate_bytes"] else []
        bounds += [f"budget {job['budget_seconds']:.0f} s"] if job["budget_seconds"] else []
        bounds += [f"budget {human_size(job['budget_bytes'])}"] if job["budget_bytes"] else []
        lines += [f"{job['job']}: {', '.join(bounds)}"] if bounds else []
        lines += [f"{job['job']}: PAUSED since {_second(job['paused'])}"] if job["paused"] else []
        lines += [f"{job['job']}: running since {_second(job['running'])}"] if job["running"] else []
        lines += [f"{job['job']}: LEFT OUT until it is set anew: {job['left_out']}"] if job["left_out"] else []
        lines += [f"{job['job']}: tried again ({job['retries']}), the store was away"] if job["retries"] else []
        lines += _unwell(job)
        lines += [f"{job['job']}: OVERDUE, not done whole for {job['within_seconds'] / 3600:.1f} h"] if job["overdue"] else []
    return lines


def _unwell(job: Mapping[str, Any]) -> Sequence[str]:
    """What kept the last run from its work."""
    last = job["last"] or {}
    if last.get("verdict") not in ("failed", "refused", "incomplete", "unlocked") or not last.get("why"):
        return []
    return wrapped(f"{job['job']}: {last['verdict']}: {last['why']}", rest="  ")


def _row(job: Mapping[str, Any]) -> tuple[object, ...]:
    last = job["last"] or {}
    return job["job"], job["cron"], job["timezone"], _second(job["next"]), _second(last.get("at")), last.get("verdict"), last.get("left")


def _second(time: str | None) -> str | None:
    return None if time is None else second_of(time)


VERB = Verb(
    words=("schedule", "list"),
    summary="show the jobs that run by themselves, when they run next, and how the last run of each went",
    example=("scrubjay schedule list --json",),
    exits={
        0: "no job is overdue",
        1: "the cluster cannot be reached",
        3: "a job is overdue, or left out because its note cannot be understood",
    },
    template={"jobs": []},
    options=no_options,
    run=_run,
    render=render_jobs,
)
