"""Alert rules, board and the page of metrics agree with what is exported and with the problems that there are."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from scrubjay.base.ids import ClusterId, PartitionId, TableId
from scrubjay.base.latency import Latency
from scrubjay.server.problems import RULES
from scrubjay.serving.families import FAMILIES, Exposition, metrics_page
from scrubjay.serving.folder import ClusterFile, RecoverFile
from scrubjay.serving.metrics import tell_recovery
from tests.unit.monitoring.files import ROOT, board, board_exprs, known_series, rules, series_of, strange_labels
from tests.unit.monitoring.schema import faults

_KIND = re.compile(r'scrubjay_problems\{kind="([a-z-]+)"\}')


def test_the_page_is_the_code() -> None:
    assert (ROOT / "docs" / "METRICS.md").read_text(encoding="utf-8") == metrics_page(), "run: python -m scrubjay.reference_pages docs"


def test_every_kind_of_problem_has_its_alert_with_its_runbook() -> None:
    alerts = {kind: rule for rule in rules() for kind in _KIND.findall(rule.expr)}
    assert set(alerts) == set(RULES)
    assert {kind: rule.annotations["runbook"] for kind, rule in alerts.items()} == {
        kind: f"runbooks/{rule.runbook}" for kind, rule in RULES.items()
    }
    assert {kind for kind, rule in RULES.items() if rule.found} <= {kind for kind, rule in alerts.items() if rule.severity == "critical"}


def test_every_kind_of_problem_is_in_the_page_for_administrators() -> None:
    page = (ROOT / "docs" / "ADMIN.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([a-z-]+)` \|.*\(\.\./runbooks/([a-z0-9-]+\.md)\) \|$", page, re.MULTILINE))
    assert rows == {kind: rule.runbook for kind, rule in RULES.items()}


def test_every_alert_says_what_it_must() -> None:
    names = [rule.name for rule in rules()]
    assert len(set(names)) == len(names)
    for rule in rules():
        assert re.fullmatch(r"Scrubjay[A-Za-z]+", rule.name)
        assert re.fullmatch(r"\d+[smh]", rule.hold), rule
        assert rule.severity in ("critical", "warning", "info")
        assert set(rule.annotations) == {"summary", "description", "runbook"}
        assert (ROOT / rule.annotations["runbook"]).is_file(), rule


def test_every_page_is_the_way_out_of_an_alert_or_a_task() -> None:
    """restore-at-2am is for people's damage, lose-everything for an empty machine, key-lost for a server that does not start: no metric sees them."""
    led_to = {rule.annotations["runbook"].rpartition("/")[2] for rule in rules()}
    pages = {page.name for page in (ROOT / "runbooks").glob("*.md")} - {"README.md"}
    assert led_to | {"key-lost.md", "lose-everything.md", "restore-at-2am.md"} == pages


@pytest.mark.parametrize("expr", [*(rule.expr for rule in rules()), *board_exprs()])
def test_an_expression_names_what_there_is(expr: str) -> None:
    assert series_of(expr) <= known_series()
    assert series_of(expr) or expr.startswith("up{")
    assert strange_labels(expr) == []


def test_a_name_or_a_label_that_is_not_there_is_found() -> None:
    assert series_of("rate(scrubjay_requests[5m])") - known_series() == {"scrubjay_requests"}, "a counter without its _total"
    assert strange_labels('scrubjay_node_full{nodes="n1"}') == ["scrubjay_node_full.nodes"]
    assert strange_labels("max by (table) (scrubjay_node_full)") == ["table"]
    assert strange_labels("sum by (verb, le) (rate(scrubjay_store_request_seconds_bucket[5m]))") == []


def test_the_board_is_whole() -> None:
    panels = board()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not taken & cells, panel["title"]
        taken |= cells
        if panel["type"] != "row":
            assert panel["title"]
            assert panel["targets"]


@pytest.mark.parametrize(
    ("panel", "change", "said"),
    [
        (6, lambda panel: panel["targets"][0].update(exprs="x"), "no such key"),
        (6, lambda panel: panel.update(fieldconfig={}), "no such key"),
        (6, lambda panel: panel["gridPos"].update(w="8"), "is no int"),
        (6, lambda panel: panel.update(type="graph"), "no panel graph"),
        (6, lambda panel: panel["targets"][0]["datasource"].update(type="prom"), "no data source prom"),
        (6, lambda panel: panel["fieldConfig"]["defaults"].update(unit="seconds"), "no unit seconds"),
        (1, lambda panel: panel["options"].update(graphMode="bars"), "is no BigValueGraphMode"),
        (1, lambda panel: panel["fieldConfig"]["defaults"]["thresholds"].update(mode="relative"), "is no ThresholdsMode"),
        (1, lambda panel: panel["fieldConfig"]["defaults"]["thresholds"]["steps"][1].update(value="1"), "is no number"),
        (1, lambda panel: panel["fieldConfig"]["defaults"]["mappings"][0].update(type="values"), "cannot be read"),
    ],
)
def test_grafana_understands_the_board_and_what_it_would_not_is_seen(panel: int, change: Callable[[Any], None], said: str) -> None:
    document = board()
    assert faults(document) == []
    change(document["panels"][panel])
    assert any(said in one for one in faults(document)), faults(document)


def test_a_histogram_counts_what_took_at_most_its_bound() -> None:
    latency = Latency()
    for us in (0, 511, 512, 900, 5_000_000, 60_000_000):
        latency.took(us)
    out = Exposition()
    out.took("scrubjay_store_request_seconds", latency, "get")
    (family,) = [one for one in out.families() if one.name == "scrubjay_store_request_seconds"]
    buckets = {sample.labels["le"]: sample.value for sample in family.samples if sample.name.endswith("_bucket")}
    assert buckets["0.000512"] == 2
    assert buckets["0.001024"] == 4
    assert buckets["4.194304"] == 4
    assert buckets["+Inf"] == 6
    assert list(buckets.values()) == sorted(buckets.values())


def test_a_run_of_a_night_has_a_bound_of_its_own() -> None:
    took = Latency()
    for seconds in (0.05, 1, 60, 3_600, 8 * 3_600, 200 * 3_600):
        took.took(int(seconds * 1e6))
    out = Exposition()
    out.took("scrubjay_run_seconds", took, "scrub")
    (family,) = [one for one in out.families() if one.name == "scrubjay_run_seconds"]
    below = {float(sample.labels["le"]): sample.value for sample in family.samples if sample.name.endswith("_bucket")}
    assert [next(le for le, count in below.items() if count >= number) for number in range(1, 7)] == [
        0.131072, 1.048576, 67.108864, 4294.967296, 34359.738368, float("inf"),
    ]  # fmt: skip


def test_a_recovered_cluster_says_when_and_how_long_for_as_long_as_its_folder_remembers() -> None:
    def told(recovered: RecoverFile | None) -> dict[str, float]:
        out = Exposition()
        tell_recovery(out, recovered)
        return {sample.name: sample.value for family in out.families() for sample in family.samples}

    assert told(None) == {}
    made = ClusterFile(1, ClusterId("c"), TableId("t"), PartitionId("p"), 1_700_000_000_500_000, attached=True, parent=ClusterId("old"))
    folder = RecoverFile(url="s3://b", parent=ClusterId("old"), asked_us=None, at_us=1, only=(), cluster=made, done=True)
    assert told(folder) == {"scrubjay_recovered_timestamp_seconds": 1_700_000_000.5}, "a report of an older version"
    seconds = {"plan": 1.5, "recover": 60.25, "total": 61.75}
    assert told(msgspec.structs.replace(folder, report={"seconds": seconds}))["scrubjay_recover_seconds"] == 61.75


def test_every_family_is_told_once() -> None:
    assert len({family.series for family in FAMILIES.values()}) == len(FAMILIES)
    assert {one.name for one in Exposition().families()} == set(FAMILIES)
