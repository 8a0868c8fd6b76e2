"""Rot is told of three times: a row in the ledger (the run with its report), a line in the log, and a count for the metrics. Here the last two, and how long runs take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scrubjay.base.latency import Latency
from scrubjay.scrubber.ledger import findings_of

Log = Callable[[str], None]


class Telling:
    """found: findings told of since the start, by (verb, kind). ended: runs, by (verb, verdict). took: their durations, by verb."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.found: dict[tuple[str, str], int] = {}
        self.ended: dict[tuple[str, str], int] = {}
        self.took: dict[str, Latency] = {}
        self.unsound: Callable[[], object] = lambda: None
        """Called after each run that did not end with a match, whoever asked for it."""

    def tell(self, verb: str, report: dict[str, Any], us: int) -> None:
        """A run has ended. verb: scrub | verify. report: its JSON answer. us: microseconds that it took."""
        self.over(verb, str(report["verdict"]), us)
        for found in findings_of(report):
            kind = str(found["kind"])
            self.found[verb, kind] = self.found.get((verb, kind), 0) + 1
            self._log(finding_line(verb, found))
        if report["verdict"] != "match":
            self.unsound()

    def over(self, verb: str, verdict: str, us: int) -> None:
        """Count a run that has ended. verb: also expire | compact | restore | export | import. us: microseconds since it began; of one that a start carried on, since its first
        process began it."""
        self.ended[verb, verdict] = self.ended.get((verb, verdict), 0) + 1
        self.took.setdefault(verb, Latency()).took(us)


def finding_line(verb: str, found: dict[str, Any]) -> str:
    """A finding as one line of the log."""
    of = found.get("table") or found.get("table_id") or "the archive"
    where = found["object"] or f"{found['copy']} {found['partition']}"
    detail = f", {found['detail']}" if verb == "verify" else ""
    evidence = f", evidence {found['evidence']}" if "evidence" in found else ""
    return (
        f"{verb} of {of}: {found['kind']} in {where}, key {found['key']}, found by {found['found_by']}, {found['action']}{evidence}{detail}"
    )
