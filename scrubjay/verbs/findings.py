"""Findings for people: the same lines under `verify` and `scrub run`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any


def finding_lines(findings: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line per finding: what, where, who saw it, what was done."""
    lines = []
    for finding in findings:
        where = [
            f"{label} {finding[name] if name != 'key' else json.dumps(finding[name], ensure_ascii=False)}"
            for label, name in (("copy", "copy"), ("key", "key"), ("object", "object"), ("lsn", "lsn"), ("segment", "segment"))
            if finding.get(name) is not None and (name != "segment" or finding[name] != finding.get("object"))
        ]
        lines.append(f"FOUND {finding['kind']}: {', '.join(where)} (by {finding.get('found_by')}; action: {finding.get('action')})")
    return lines
