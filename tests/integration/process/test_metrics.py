"""`/metrics` of a real server, read by Prometheus' own parser: what docs/METRICS.md, the alert rules and the board say is there is there, and nothing else."""

from __future__ import annotations

import contextlib
import json
import tarfile
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from scrubjay import cli
from scrubjay.server.problems import RULES
from scrubjay.serving.families import COUNTER, FAMILIES, RUN_BITS
from tests.fixtures.process import ScrubjayServer
from tests.fixtures.promtool import Promtool
from tests.fixtures.wait import wait_for
from tests.integration.process.load import Connection, make_table
from tests.unit.monitoring.files import board_exprs, known_series, rules, series_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Scraped:
    def __init__(self, port: int) -> None:
        with contextlib.closing(Connection(port)) as connection:
            status, text = connection.get("/metrics")
        assert status == 200
        self.text = text
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self.series: Series = {}
        for family in self.families.values():
            for sample in family.samples:
                place = (sample.name, frozenset(sample.labels.items()))
                assert place not in self.series, f"two series of one name: {place}"
                self.series[place] = sample.value

    def value(self, name: str, **labels: str) -> float | None:
        return self.series.get((name, frozenset(labels.items())))


def test_nothing_fires_on_a_server_that_is_well_and_much_on_one_that_is_gone(module_server: ScrubjayServer, promtool: Promtool) -> None:
    wait_for(lambda: module_server.cli("status").returncode == 0, timeout=60)
    text = Scraped(module_server.port).text
    assert promtool.fired(text, text) == set()
    assert promtool.fired(text, None) == {"ScrubjayDown"}
    assert promtool.run("check", "metrics", text=text).stderr == ""


def test_a_server_tells_what_the_page_says(module_server: ScrubjayServer) -> None:
    make_table(module_server.port, "birds")
    with contextlib.closing(Connection(module_server.port)) as connection:
        connection.steadily("PutItem", {"TableName": "birds", "Item": {"k": {"S": "jay"}, "v": {"S": "x"}}})
        connection.steadily("DeleteTable", {"TableName": "birds"})
        wait_for(lambda: connection.call("DescribeTable", {"TableName": "birds"}).status != 200, timeout=60)
    make_table(module_server.port, "birds")  # two tables had that name, one has it
    wait_for(lambda: Scraped(module_server.port).value("scrubjay_table_lag_seconds", table="birds") is not None, timeout=60)
    scraped = Scraped(module_server.port)
    assert {name: family.type for name, family in scraped.families.items()} == {family.name: family.kind for family in FAMILIES.values()}
    for name, family in scraped.families.items():
        assert family.documentation == FAMILIES[name].doc
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(FAMILIES[name].labels), sample
    named = {series for expr in [*(rule.expr for rule in rules()), *board_exprs()] for series in series_of(expr)}
    assert named <= known_series()
    assert {kind for name, labels in scraped.series for _, kind in labels if name == "scrubjay_problems"} == set(RULES)
    assert scraped.value("scrubjay_table_unproven_seconds", table="birds") is not None
    assert len({labels for name, labels in scraped.series if name == "scrubjay_wal_limit_bytes"}) == 3
    put = scraped.value("scrubjay_request_seconds_count", operation="PutItem")
    assert put is not None
    assert put >= 1
    # The probe at every start asks for refusals, of which none is an error.
    assert scraped.value("scrubjay_store_requests_total", verb="put", result="exists")
    assert sum(scraped.value("scrubjay_store_errors_total", verb=verb) or 0 for verb in ("put", "get", "head")) == 0
    with_samples = {name for name, family in scraped.families.items() if family.samples}
    quiet = {name for name in FAMILIES if name not in with_samples and FAMILIES[name].kind != COUNTER}
    # none was run; one archive, one process; no table has a time to live or a global index
    kinds = ("scrubjay_drill_", "scrubjay_pair_", "scrubjay_link_", "scrubjay_ttl_", "scrubjay_index_")
    quiet = {name for name in quiet if not name.startswith(kinds)}
    unless = {
        "scrubjay_table_last_verdict",
        "scrubjay_job_left",
        "scrubjay_segments_unpacked",
        "scrubjay_recover_seconds",
        "scrubjay_recovered_timestamp_seconds",
    }
    assert quiet - unless == {"scrubjay_webhook_waiting", "scrubjay_webhook_failing"}, "none is configured"


def test_each_kind_of_run_is_counted_and_timed(module_server: ScrubjayServer, tmp_path: Path) -> None:
    server = module_server
    verbs = ("scrub", "verify", "expire", "restore", "export", "import", "drill")
    fresh = Scraped(server.port)
    assert {fresh.value("scrubjay_run_seconds_count", verb=verb) is not None for verb in verbs} == {True}, (
        "a series that appears has not grown"
    )
    make_table(server.port, "runs")
    with contextlib.closing(Connection(server.port)) as connection:
        connection.steadily("PutItem", {"TableName": "runs", "Item": {"k": {"S": "jay"}}})
    wait_for(lambda: server.cli("scrub", "run", "--table", "runs").returncode == 0, timeout=60)
    place = tmp_path / "out"
    place.mkdir()
    began = time.monotonic()
    # A drill compares nothing, and says so, until the window reaches the first item.
    wait_for(lambda: server.cli("drill", "run", "restore-random", "--table", "runs").returncode == 0, timeout=60)
    for arguments in (
        ("verify", "--table", "runs"),
        ("expire", "run", "--confirm"),
        ("restore", "run", "--table", "runs", "--to", "runs-restored", "--latest"),
        ("export", "runs", "--to", place.as_uri()),
        ("import", place.as_uri(), "--table", "runs-imported"),
    ):
        done = server.cli(*arguments)
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
    took = time.monotonic() - began
    scraped = Scraped(server.port)

    def grown(name: str, verb: str) -> float:
        return (scraped.value(name, verb=verb) or 0) - (fresh.value(name, verb=verb) or 0)

    for verb in verbs:
        runs = {place: value for place, value in scraped.series.items() if place[0] == "scrubjay_runs_total" and ("verb", verb) in place[1]}
        before = {place: fresh.series.get(place, 0) for place in runs}
        counted = grown("scrubjay_run_seconds_count", verb)
        assert counted == sum(runs.values()) - sum(before.values()) >= 1, verb
        assert 0 < grown("scrubjay_run_seconds_sum", verb) < took + 60, "seconds"
        assert scraped.value("scrubjay_run_seconds_bucket", verb=verb, le=str((1 << RUN_BITS[-1]) / 1e6)) == scraped.value(
            "scrubjay_run_seconds_count", verb=verb
        ), "19 hours hold all of them"
    assert scraped.value("scrubjay_recover_seconds") is None, "it was not recovered"


def test_a_bundle_of_a_server_lacks_nothing(module_server: ScrubjayServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = cli.main(["debug", "bundle", str(tmp_path / "b.tar.gz"), "--endpoint", module_server.url, "--json"])
    document = json.loads(capsys.readouterr().out)
    assert (code, document["missing"], document["folder"]) == (0, [], str(module_server.data))
    with tarfile.open(tmp_path / "b.tar.gz") as tar:
        parts = {entry.name.partition("/")[2]: tar.extractfile(entry) for entry in tar.getmembers()}
        log = parts["log/server.log"]
        assert log is not None
        assert "started" in {json.loads(line)["event"] for line in log.read().decode().splitlines()}
        ledger = parts["folder/ledger.jsonl"]
        assert ledger is not None
        assert "_sqlite_migrations" in {json.loads(line)["table"] for line in ledger.read().decode().splitlines()}
