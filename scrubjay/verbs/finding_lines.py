"""Findings for people: the same lines under `verify` and `scrub run`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from scrubjay.text import wrapped

_TABLE_OF = re.compile(r"(?:^|/)t=([^/]+)/")


def finding_lines(findings: Sequence[Mapping[str, Any]], *, table: str | None = None) -> list[str]:
    """What each finding is, where it is, who saw it, what was done, and where the evidence lies. table: its name, if the findings do not say it."""
    lines = []
    for finding in findings:
        where = table or finding.get("table") or _table_of(finding)
        lines += wrapped(
            f"FOUND {finding['kind']}{f' in {where}' if where else ''}: {finding.get('action')} (by {finding.get('found_by')})", rest="  "
        )
        for label in ("copy", "partition", "key", "object", "segment", "lsn", "detail"):
            value = finding.get(label)
            if value is None or (label == "segment" and value == finding.get("object")):
                continue
            lines += wrapped(f"{label} {json.dumps(value, ensure_ascii=False) if label == 'key' else value}", first="  ", rest="    ")
        if finding.get("evidence"):
            lines += wrapped(f"quarantine {finding['evidence']}", first="  ", rest="    ")
    return lines


def _table_of(finding: Mapping[str, Any]) -> str | None:
    """The id of the table that a finding about an object is about."""
    match = _TABLE_OF.search(str(finding.get("object") or ""))
    return None if match is None else f"table {match[1]}"


def fork_lines(document: Mapping[str, Any]) -> list[str]:
    """A line for each place where the archive holds two histories."""
    return [f"FORK in partition {one['partition']} from LSN {one['first_lsn']} on" for one in document["forks"]]
