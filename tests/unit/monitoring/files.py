"""What monitoring/ says: rules and panels, and the series and labels that their expressions name."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from scrubjay.serving.families import FAMILIES, HISTOGRAM

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "monitoring"
SCRAPED = {"job", "instance"}
"""Labels that Prometheus adds."""
_NAME = re.compile(r"\bscrubjay_\w+")
_MATCHED = re.compile(r"\b(scrubjay_\w+)(?:\{([^}]*)\})?")
_BY = re.compile(r"\bby \(([^)]*)\)")


class Rule(NamedTuple):
    name: str
    expr: str
    hold: str
    severity: str
    annotations: dict[str, str]


def rules(text: str | None = None) -> list[Rule]:
    document = yaml.safe_load(text if text is not None else (FOLDER / "alerts.yml").read_text(encoding="utf-8"))
    assert set(document) == {"groups"}
    found = []
    for group in document["groups"]:
        assert set(group) == {"name", "rules"}
        for rule in group["rules"]:
            assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}, rule
            found.append(Rule(rule["alert"], rule["expr"], rule["for"], rule["labels"]["severity"], rule["annotations"]))
    return found


def board() -> dict[str, Any]:
    document: dict[str, Any] = json.loads((FOLDER / "grafana.json").read_text(encoding="utf-8"))
    return document


def board_exprs() -> list[str]:
    return [target["expr"] for panel in board()["panels"] for target in panel.get("targets", ())]


def series_of(expr: str) -> set[str]:
    return set(_NAME.findall(expr))


def known_series() -> set[str]:
    found = {family.series for family in FAMILIES.values()}
    return found | {f"{family.name}{end}" for family in FAMILIES.values() if family.kind == HISTOGRAM for end in ("_sum", "_count")}


def strange_labels(expr: str) -> list[str]:
    """Labels that an expression asks for and the families that it names do not have."""
    labels = {family.series: {*family.labels, *SCRAPED} for family in FAMILIES.values()}
    every: set[str] = set()
    strange = []
    for series, matchers in _MATCHED.findall(expr):
        have = labels.get(series, SCRAPED)
        every |= have | ({"le"} if series.endswith("_bucket") else set())
        strange += [f"{series}.{name}" for name in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", matchers) if name not in have]
    for names in _BY.findall(expr):
        strange += [name.strip() for name in names.split(",") if name.strip() not in every]
    return strange
