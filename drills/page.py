"""A drill's report as a page that a person reads: one file, nothing outside of it. Every text in it is escaped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 640, 170, 60, 24, 18
SHOWN_MAX = 60
_STYLE = """body{font:16px/1.45 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.25rem .6rem .25rem 0;border-bottom:1px solid #ddd;vertical-align:top}
.match{color:#0a6b2d}.mismatch{color:#b00020}.unverified{color:#8a5a00}code{word-break:break-all;font-size:.85em}
svg{max-width:100%;height:auto}svg text{font:12px system-ui,sans-serif;fill:#444}"""
_WORDS = {
    "match": "Everything that came back is what it must be.",
    "mismatch": "Something is NOT as it must be.",
    "unverified": "It could not be carried out: nothing is proven.",
}

_SIGNED = """Ed25519 over the report's JSON without <code>signature</code>, keys sorted, no spaces: <code>scrubjay drill report</code> checks it,
<code>scrubjay status --json</code> names the cluster's key."""


def page(report: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> str:
    """runs: those of the same scenario up to this one, oldest first."""
    verdict = str(report["verdict"])
    shown = runs[-SHOWN_MAX:]
    facts = {
        "drill": report["id"],
        "started": report["started"],
        "cluster": report["cluster"],
        "tables": ", ".join(report["tables"]) or "none",
        **{name.replace("_", " "): _plain(value) for name, value in report["facts"].items()},
        "items compared": report["rows_compared"],
        **({"faults planted / found": f"{report['planted']} / {report['detected']}"} if report["planted"] else {}),
        "back after (RTO)": _seconds(report["rto_seconds"]),
        "predicted": _seconds(report["predicted_seconds"]),
        "newest that was not proven (RPO)": _seconds(report["rpo_seconds"]),
        "seed": report["seed"],
    }
    wrong = [*report["differences"], *([str(report["error"]["message"])] if report["error"] else [])]
    parts = [
        f"<h1>Drill {escape(str(report['scenario']))}: <span class='{escape(verdict)}'>{escape(verdict)}</span></h1>",
        f"<p>{_WORDS.get(verdict, '')}</p>",
        *([f"<ul>{''.join(f'<li>{escape(str(one))}</li>' for one in wrong)}</ul>"] if wrong else []),
        _table(facts),
        f"<h2>{'The first run' if len(shown) == 1 else f'The last {len(shown)} runs'}</h2>",
        _plot("Back after, seconds (grey: predicted)", shown, lambda one: one["rto_seconds"], lambda one: one["predicted_seconds"]),
        _plot("Newest that was not proven, seconds", shown, lambda one: one["rpo_seconds"]),
        _plot("Items compared", shown, lambda one: one["rows_compared"]),
        _plot("Planted faults that were found, percent", shown, _detected),
        "<h2>Steps</h2>",
        _table({one["step"]: _seconds(one["seconds"]) + ("" if one["ok"] else ", cut off") for one in report["steps"]}),
        f"<h2>Signature</h2><p>{_SIGNED}</p>",
        _table({"key": report["public_key"], "signature": report["signature"]}),
    ]
    return (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>Drill {escape(str(report['id']))}</title><style>{_STYLE}</style></head>"
        f"<body>{''.join(parts)}</body></html>"
    )


def _plain(value: Any) -> str:
    """A fact as people write it: nested ones with commas between, nothing as "none"."""
    if isinstance(value, Mapping):
        parts = [f"{name} {_plain(one)}" for name, one in value.items()]
        return ", ".join(part if "," not in part else f"{part};" for part in parts).replace(";,", ";").removesuffix(";") or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value)) or "none"
    return "none" if value is None else str(value)


def _detected(report: Mapping[str, Any]) -> float | None:
    return 100.0 * report["detected"] / report["planted"] if report["planted"] else None


def _table(facts: Mapping[str, Any]) -> str:
    rows = "".join(f"<tr><th>{escape(str(name))}</th><td>{escape(str(value))}</td></tr>" for name, value in facts.items())
    return f"<table>{rows}</table>"


def _seconds(value: float | None) -> str:
    return "not known" if value is None else f"{value:.1f} s"


Value = Callable[[Mapping[str, Any]], Any]


def _plot(title: str, runs: Sequence[Mapping[str, Any]], value: Value, beside: Value | None = None) -> str:
    """A line over the runs, a dot each in the colour of its verdict. A run without the value leaves a gap; nothing where no run has it."""
    values = [value(one) for one in runs]
    if all(one is None for one in values):
        return ""
    others = [beside(one) for one in runs] if beside is not None else []
    top = max([1.0, *(float(one) for one in (*values, *others) if one is not None)])

    def x(at: int) -> float:
        return LEFT + (WIDTH - LEFT - 10) * (at / max(1, len(runs) - 1))

    def y(number: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - float(number) / top)

    def line(numbers: Sequence[Any], colour: str) -> str:
        points = " ".join(f"{x(at):.1f},{y(number):.1f}" for at, number in enumerate(numbers) if number is not None)
        return f"<polyline points='{points}' fill='none' stroke='{colour}' stroke-width='1.5'/>"

    dots = "".join(
        f"<circle cx='{x(at):.1f}' cy='{y(number):.1f}' r='3' fill='{'#0a6b2d' if one['verdict'] == 'match' else '#b00020'}'>"
        f"<title>{escape(str(one['started']))}: {number:g}, {escape(str(one['verdict']))}</title></circle>"
        for at, (one, number) in enumerate(zip(runs, values, strict=True))
        if number is not None
    )
    first, last = (escape(str(runs[at]["started"])[:10]) for at in (0, -1))
    return (
        f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' role='img' aria-label='{escape(title)}'><text x='{LEFT}' y='12'>{escape(title)}</text>"
        f"<line x1='{LEFT}' y1='{HEIGHT - BOTTOM}' x2='{WIDTH - 10}' y2='{HEIGHT - BOTTOM}' stroke='#999'/>"
        f"<text x='{LEFT - 6}' y='{TOP + 5}' text-anchor='end'>{top:.4g}</text><text x='{LEFT - 6}' y='{HEIGHT - BOTTOM}' text-anchor='end'>0</text>"
        f"<text x='{LEFT}' y='{HEIGHT - 6}'>{first}</text><text x='{WIDTH - 10}' y='{HEIGHT - 6}' text-anchor='end'>{last}</text>"
        f"{line(others, '#aaa') if others else ''}{line(values, '#1a5fb4')}{dots}</svg>"
    )
