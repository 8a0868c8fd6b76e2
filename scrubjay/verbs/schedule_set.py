"""`scrubjay schedule set`: when a job runs, and how much it may take."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from scrubjay.base.errors import Invalid
from scrubjay.units import parse_duration, parse_size
from scrubjay.verb import Result, Verb, VerbCall
from scrubjay.verbs.schedule_list import render_jobs


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("job", metavar="JOB", help="scrub, verify, base, expire, compact or drill:restore-random")
    parser.add_argument("cron", metavar="CRON", help="'minute hour day month weekday', or six fields with seconds first")
    parser.add_argument("--timezone", metavar="ZONE", default="UTC", help="whose clock the times are of (default: UTC)")
    parser.add_argument("--window", metavar="01:00-05:00", help="runs only then; what is left goes on the next night")
    parser.add_argument("--rate", metavar="20MiB", help="bytes a second that a node may be asked to read")
    parser.add_argument(
        "--budget", metavar="2h", action="append", default=[], help="longest run, or most bytes read (50GiB); may be given for both"
    )
    parser.add_argument("--within", metavar="7d", help="what the job proves must not be older than this; older is overdue")


def _run(call: VerbCall) -> Result:
    budgets: dict[str, int] = {}
    for text in call.option("budget"):
        name, value = _budget(text)
        if name in budgets:
            raise Invalid("two budgets of one kind", asked=text, found=name, next="give one duration and one size at most")
        budgets[name] = value
    request = {
        "job": call.option("job"),
        "cron": call.option("cron"),
        "timezone": call.option("timezone"),
        "window": call.option("window"),
        "rate_bytes": _some("rate", call.option("rate"), parse_size),
        "within_us": _some("within", call.option("within"), parse_duration),
        **budgets,
    }
    document = call.client().post("schedule/set", request)
    return 0, {**document, "exit": 0}


def _budget(text: str) -> tuple[str, int]:
    name, parse = ("budget_us", parse_duration) if text.strip().endswith(("s", "m", "h", "d")) else ("budget_bytes", parse_size)
    value = _some("budget", text, parse)
    assert value is not None
    return name, value


def _some(name: str, text: str | None, parse: Callable[[str], int]) -> int | None:
    """What an option gives, None where it is not given. Raises Invalid: of nothing nothing can be done."""
    value = None if text is None else parse(text)
    if value == 0:
        raise Invalid(
            f"--{name} leaves nothing", asked=f"--{name} {text}", found="0", next="leave it out: then there is no bound of its own"
        )
    return value


VERB = Verb(
    words=("schedule", "set"),
    summary="say when a job runs by itself, and how much it may take",
    example=(
        "scrubjay schedule set scrub '0 2 * * *' --window 01:00-05:00 --rate 20MiB",
        "scrubjay schedule set verify '0 4 * * *' --timezone Europe/Berlin",
    ),
    exits={0: "set, from the next time on", 1: "the cluster cannot be reached"},
    template={"jobs": []},
    options=_options,
    run=_run,
    render=render_jobs,
)
