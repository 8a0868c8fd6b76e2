"""monitoring/alerts.yml as Prometheus evaluates it: each alert fires on what a server tells in its bad state, after its `for` and not before, and on nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from scrubjay.server.problems import RULES
from scrubjay.serving.families import FAMILIES, Exposition
from tests.fixtures.promtool import FIRST_M, Promtool, Told
from tests.unit.monitoring.files import FOLDER, board_exprs, rules

_KIND = re.compile(r'scrubjay_problems\{kind="([a-z-]+)"\}')
_MINUTES = {"s": 1 / 60, "m": 1.0, "h": 60.0}
ALERTS = {kind: rule for rule in rules() for kind in _KIND.findall(rule.expr)}


def minutes(hold: str) -> float:
    return int(hold[:-1]) * _MINUTES[hold[-1]]


class Case(NamedTuple):
    """bad: series as (name, labels, value at first, value then) on which `alert` fires; well: on which it does not."""

    alert: str
    bad: list[tuple[str, dict[str, str], float | None, float | None]]
    well: list[tuple[str, dict[str, str], float | None, float | None]]


RUNS, ERRORS, REQUESTS = "scrubjay_runs_total", "scrubjay_store_errors_total", "scrubjay_store_requests_total"
RESTORE = {"verb": "restore"}
CASES = [
    Case("ScrubjayDown", [("up", {}, 1, 0)], [("up", {}, 1, 1)]),
    Case("ScrubjayNotServing", [("scrubjay_serving", {}, 1, 0)], [("scrubjay_serving", {}, 0, 1)]),
    Case("ScrubjayNotDurable", [("scrubjay_durable", {}, 1, 0)], [("scrubjay_durable", {}, 0, 1)]),
    Case(
        "ScrubjayRestoreFailed",
        [(RUNS, {**RESTORE, "verdict": "failed"}, 0, 1)],
        [(RUNS, {**RESTORE, "verdict": "failed"}, 3, 3), (RUNS, {**RESTORE, "verdict": "published"}, 0, 2)],
    ),
    Case(
        "ScrubjayRestoreFailed", [(RUNS, {**RESTORE, "verdict": "differs"}, 2, 3)], [(RUNS, {"verb": "export", "verdict": "failed"}, 0, 1)]
    ),
    Case("ScrubjayJobOverdue", [("scrubjay_job_overdue", {"name": "scrub"}, 0, 1)], [("scrubjay_job_overdue", {"name": "scrub"}, 1, 0)]),
    Case(
        "ScrubjayPeerAway",
        [("scrubjay_link_down_seconds", {"peer": "n2", "channel": "port"}, 0, 31)],
        [
            ("scrubjay_link_down_seconds", {"peer": "n2", "channel": "port"}, 0, 29),
            ("scrubjay_link_down_seconds", {"peer": "n3", "channel": "talk"}, 25, 0),
        ],
    ),
    Case(
        "ScrubjayFindingsDropped",
        [("scrubjay_findings_dropped_total", {}, 0, 1), ("scrubjay_findings_unwritten", {}, 0, 0)],
        [("scrubjay_findings_dropped_total", {}, 4, 4), ("scrubjay_findings_unwritten", {}, 0, 0)],
    ),
    Case("ScrubjayFindingsDropped", [("scrubjay_findings_unwritten", {}, 0, 1)], [("scrubjay_findings_unwritten", {}, 1, 0)]),
    Case(
        "ScrubjayWebhookFailing",
        [("scrubjay_webhook_failing", {"webhook": "h#1"}, 0, 1), ("scrubjay_webhook_failing", {"webhook": "h#2"}, 0, 0)],
        [("scrubjay_webhook_failing", {"webhook": "h#1"}, 1, 0)],
    ),
]


def as_told(rows: list[tuple[str, dict[str, str], float | None, float | None]]) -> list[Told]:
    found = [Told(*row) for row in rows]
    return found if any(one.name == "up" for one in found) else [Told("up", {}, 1, 1), *found]


def test_prometheus_takes_the_rules(promtool: Promtool) -> None:
    done = promtool.run("check", "rules", str(FOLDER / "alerts.yml"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"SUCCESS: {len(rules())} rules found" in done.stdout + done.stderr


def test_prometheus_parses_every_query_of_the_board(promtool: Promtool, tmp_path: Path) -> None:
    """As recording rules, with what Grafana puts in the place of its variables."""

    def parsed(exprs: list[str]) -> tuple[int, str]:
        filled = [
            expr.replace("$__rate_interval", "5m").replace("$__range", "6h").replace("$job", "scrubjay").replace("$instance", ".+")
            for expr in exprs
        ]
        assert not any("$" in expr for expr in filled)
        group = {"name": "board", "rules": [{"record": f"panel:{number}", "expr": expr} for number, expr in enumerate(filled)]}
        path = tmp_path / "board.yml"
        path.write_text(yaml.safe_dump({"groups": [group]}))
        done = promtool.run("check", "rules", str(path))
        return done.returncode, done.stdout + done.stderr

    code, said = parsed(board_exprs())
    assert code == 0, said
    assert f"SUCCESS: {len(board_exprs())} rules found" in said
    assert parsed([*board_exprs(), "sum by operation (rate(scrubjay_requests_total[5m]))"])[0] != 0, "what is no query is seen"


def test_prometheus_has_nothing_against_the_metrics(promtool: Promtool) -> None:
    """Names, units and help of all families, by its linter."""

    class All(Collector):
        def collect(self) -> list[Metric]:
            out = Exposition()
            for family in FAMILIES.values():
                if family.kind != "histogram":
                    out.tell(family.name, 1, *("x" for _ in family.labels))
            return out.families()

    registry = CollectorRegistry(auto_describe=False)
    registry.register(All())
    done = promtool.run("check", "metrics", text=generate_latest(registry).decode())
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    assert promtool.run("check", "metrics", text="# HELP scrubjay_x A counter\n# TYPE scrubjay_x counter\nscrubjay_x 1\n").returncode != 0


def test_the_alert_of_each_kind_of_problem_fires_on_it_alone_and_after_its_time(promtool: Promtool) -> None:
    """All kinds at once are 0 at first; each in turn becomes 1."""
    everything = [Told("up", {}, 1, 1), *(Told("scrubjay_problems", {"kind": kind}, 0, 0) for kind in RULES)]
    assert promtool.fired_by(everything) == set(), "a server that is well"
    every = [Told("up", {}, 1, 1), *(Told("scrubjay_problems", {"kind": kind}, 0, 1) for kind in RULES)]
    for hold in sorted({rule.hold for rule in ALERTS.values()}, key=minutes):
        due = {rule.name for rule in ALERTS.values() if minutes(rule.hold) <= minutes(hold)}
        assert promtool.fired_by(every, within_m=int(minutes(hold)) + 1) == due, hold
    kinds = sorted(RULES)
    for half in range(len(kinds).bit_length()):  # each kind has a pattern of its own
        now = {kind for number, kind in enumerate(kinds, 1) if number >> half & 1}
        some = [Told("up", {}, 1, 1), *(Told("scrubjay_problems", {"kind": kind}, 0, int(kind in now)) for kind in RULES)]
        assert promtool.fired_by(some) == {ALERTS[kind].name for kind in now}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.alert)
def test_an_alert_fires_on_its_bad_state_and_not_on_a_good_one(case: Case, promtool: Promtool) -> None:
    (rule,) = [rule for rule in rules() if rule.name == case.alert]
    hold = int(minutes(rule.hold))
    assert promtool.fired_by(as_told(case.bad)) == {case.alert}
    if hold:
        assert promtool.fired_by(as_told(case.bad), within_m=hold) == set(), "it waits for its time"
    assert promtool.fired_by(as_told(case.well), after_m=5) == set()


def test_one_in_ten_requests_that_fails_is_an_alarm_and_one_in_twenty_is_none(promtool: Promtool) -> None:
    def fired(*, errors: float, within_m: int = 60) -> set[str]:
        """Of 60 requests a minute."""
        rows = [("up", "1+0x200"), (f'{ERRORS}{{verb="get"}}', f"0+{errors}x200"), (f'{REQUESTS}{{verb="get",result="ok"}}', "0+60x200")]
        return promtool.fired_by([Moving(name, values) for name, values in rows], within_m=within_m)

    assert fired(errors=9) == {"ScrubjayStoreErrors"}
    assert fired(errors=3) == set()
    assert fired(errors=0) == set()


class Moving(NamedTuple):
    """A series that goes on growing, in promtool's words."""

    series: str
    values: str

    def as_input(self) -> dict[str, str]:
        bare, _, labels = self.series.partition("{")
        own = f"{labels.removesuffix('}')}," if labels else ""
        return {"series": f'{bare}{{{own}job="scrubjay",instance="here"}}', "values": self.values}


def test_every_alert_is_tried_here() -> None:
    assert {rule.name for rule in ALERTS.values()} | {case.alert for case in CASES} | {"ScrubjayStoreErrors"} == {
        rule.name for rule in rules()
    }


def test_a_rule_that_asks_for_another_series_fires_never(promtool: Promtool, tmp_path: Path) -> None:
    """The harness sees a rule that is wrong: the negative control of this file."""
    text = (FOLDER / "alerts.yml").read_text(encoding="utf-8")
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(text.replace("scrubjay_serving == 0", "scrubjay_serves == 0"))
    bad = as_told([("scrubjay_serving", {}, 1, 0)])
    assert promtool.fired_by(bad) == {"ScrubjayNotServing"}
    assert promtool.fired_by(bad, rules=wrong) == set()
    assert FIRST_M > 60, "so that nothing of before the change is left in the range of an hour"
