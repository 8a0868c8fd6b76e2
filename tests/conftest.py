"""What every test may ask for: real S3 servers, a real `scrubjay serve --dev`, golden files, free ports.

Fixtures live in `tests/fixtures/`, by role. What a test asks for decides its markers: S3 servers make it `s3`, a server process `process`,
containers `containers`. They run first, the tests of one file on one worker (`tests/fixtures/schedule.py`).
A test whose server cannot be had is skipped with the reason, or fails if SCRUBJAY_REQUIRE (comma-separated: minio, seaweed, containers, js, go, python, promtool, history) names it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator

import pytest
from xdist.remote import Producer

from tests.fixtures.containers import container_engine, debian_base
from tests.fixtures.golden import golden
from tests.fixtures.named_tuples import let_import
from tests.fixtures.process import ScrubjayServer, module_server, scrubjay_server
from tests.fixtures.promtool import promtool
from tests.fixtures.s3 import minio, minio_bucket, s3_bucket, s3_server, seaweed, seaweed_bucket
from tests.fixtures.schedule import SPARE_NICE, HouseScheduling, is_spare

__all__ = [
    "container_engine",
    "debian_base",
    "golden",
    "minio",
    "minio_bucket",
    "module_server",
    "promtool",
    "s3_bucket",
    "s3_server",
    "scrubjay_server",
    "seaweed",
    "seaweed_bucket",
]

_MARKS = {
    "minio": "s3",
    "seaweed": "s3",
    "s3_server": "s3",
    "s3_bucket": "s3",
    "minio_bucket": "s3",
    "seaweed_bucket": "s3",
    "scrubjay_server": "process",
    "module_server": "process",
    "process": "process",
    "container_engine": "containers",
    "promtool": "slow",
}
# Long ones first, so that no worker is left alone with them at the end; of one kind, those that may take the longest.
_FIRST = ("containers", "process", "s3", "slow")
FAST_CPU_S = 240.0
"""What a run without the slow ones may cost of processors, so that two of them are done in two minutes. One that costs more names its dearest: they belong to the slow ones (a third
of a second and more, but for a few that tell more than all others). A word and no failure: machines differ."""
_DEAREST = 15


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rewrite-golden",
        action="store_true",
        help="write tests/golden/ and the traces of tests/unit/consensus/ anew from what the code produces now",
    )
    parser.addoption(
        "--spare",
        type=int,
        default=0,
        metavar="N",
        help="of the workers of -n, how many take no test with servers and give way to the others (tests/fixtures/schedule.py)",
    )


def pytest_configure(config: pytest.Config) -> None:
    worker = getattr(config, "workerinput", None)
    if worker is not None and is_spare(worker["workerid"], workers=worker["workercount"], spare=config.getoption("spare")):
        os.nice(SPARE_NICE)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> HouseScheduling | None:
    return HouseScheduling(config, log) if config.getvalue("dist") == "loadscope" else None


def pytest_collection_finish() -> None:
    let_import()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def rank(item: pytest.Item) -> tuple[int, float]:
        names = [mark.name for mark in item.iter_markers()]
        limit = item.get_closest_marker("timeout")
        return next((place for place, kind in enumerate(_FIRST) if kind in names), len(_FIRST)), -limit.args[
            0
        ] if limit and limit.args else 0

    for item in items:
        for fixture in getattr(item, "fixturenames", ()):
            if fixture in _MARKS:
                item.add_marker(_MARKS[fixture])
    items.sort(key=rank)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the end of the server's log beside a failure."""
    report = yield
    if report.failed:
        for server in item.stash.get(ScrubjayServer.STARTED, []):
            report.sections.append((f"log of {server.url or server.data}", server.log_tail()))
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    before = time.process_time()
    yield
    item.user_properties.append(("cpu_s", round(time.process_time() - before, 3)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if "not slow" not in config.getoption("markexpr"):
        return
    dear = sorted(
        ((dict(report.user_properties).get("cpu_s", 0.0), report.nodeid) for report in terminalreporter.stats.get("passed", [])),
        reverse=True,
    )
    if sum(cpu_s for cpu_s, _ in dear) > FAST_CPU_S:
        for cpu_s, name in dear[:_DEAREST]:
            terminalreporter.write_line(f"{cpu_s:.1f} s of processor: mark it slow, or make it cheaper: {name}")
