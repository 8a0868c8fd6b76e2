"""The rules from facts to problems, one by one, and what follows from them: health, exit code, /healthz."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from scrubjay.base.env import FallenLoop
from scrubjay.server.problems import (
    RULES,
    UNREAD_S,
    Allowed,
    ArchiveHealth,
    CopyHealth,
    CutHealth,
    DrillHealth,
    HalfHealth,
    HealthFacts,
    IndexHealth,
    LinkHealth,
    NodeHealth,
    PartitionHealth,
    PendingHealth,
    SplitHealth,
    TableHealth,
    TtlHealth,
    VersionHealth,
    durable,
    exit_of,
    health_of,
    problems,
    serving,
)

ROOT = Path(__file__).parents[3]
MIB = 1 << 20
COPIES = tuple(CopyHealth(name, "ok", "") for name in ("n1", "n2", "n3"))
NODE = NodeHealth("n1", True, None, False, "", 10 * MIB, 100 * MIB, 2 * MIB, 1000 * MIB)
PART = PartitionHealth("birds", "p1", True, True, 3, COPIES)
TABLE = TableHealth("birds", "t1", 1000.0, 1, 2.0, (), (), (), None)
STORE = ArchiveHealth("s3://b/p", True, True, "", "", None, None, 5, ())
WELL = HealthFacts([NODE], [PART], [TABLE], STORE, 120.0, Allowed(3600.0, 7200.0))


def kinds(facts: HealthFacts) -> list[str]:
    return [found.kind for found in problems(facts)]


def copies(state: str) -> tuple[CopyHealth, ...]:
    return (CopyHealth("n2", state, "because"), *COPIES[1:])


def test_all_well() -> None:
    assert kinds(WELL) == []
    assert serving(WELL)
    assert durable(WELL, now_us=0)
    assert health_of([], serves=True) == "ok"
    assert exit_of([], serves=True) == 0


HALF = HalfHealth("file:///one", True, None, None, 0, True, 0.0, 0)
CASES: dict[str, HealthFacts] = {
    "loop-fallen": WELL._replace(loops=[FallenLoop("healer", "KeyError(1)", 1, 2)]),
    "no-leader": WELL._replace(partitions=[PART._replace(led=False)]),
    "node-failed": WELL._replace(nodes=[NODE._replace(failed="EIO")]),
    "node-not-started": WELL._replace(nodes=[NODE._replace(started=False)]),
    "node-full": WELL._replace(nodes=[NODE._replace(full=True)]),
    "disk-low": WELL._replace(nodes=[NODE._replace(free=7 * MIB)]),
    "wal-near-limit": WELL._replace(nodes=[NODE._replace(used=76 * MIB)]),
    "link-down": WELL._replace(links=[LinkHealth("n1", "n3", 10.0, "refused")]),
    "clock-ahead": WELL._replace(nodes=[NODE._replace(ahead_s=90.0)]),
    "copy-suspect": WELL._replace(partitions=[PART._replace(copies=copies("suspect"))]),
    "copy-amnesiac": WELL._replace(partitions=[PART._replace(copies=copies("amnesiac"))]),
    "copy-healing": WELL._replace(partitions=[PART._replace(copies=copies("healing"))]),
    "copy-behind": WELL._replace(partitions=[PART._replace(copies=copies("behind"))]),
    "copies-few": WELL._replace(partitions=[PART._replace(takers=2, copies=COPIES[1:])]),
    "copy-down": WELL._replace(partitions=[PART._replace(copies=copies("down"))]),
    "archive-unreachable": WELL._replace(archive=STORE._replace(reachable=False, last_error="refused", since_us=1)),
    "archive-gone": WELL._replace(archive=STORE._replace(present=False)),
    "archive-fenced": WELL._replace(archive=STORE._replace(stopped="fenced", why="epoch 2")),
    "archive-diverged": WELL._replace(archive=STORE._replace(stopped="diverged", why="another chain")),
    "archive-unclaimed": WELL._replace(archive=STORE._replace(stopped="unknown_epoch")),
    "archive-agent": WELL._replace(archive=STORE._replace(agents=(("n1", "too long"),))),
    "one-archive-away": WELL._replace(pair=[HALF, HALF._replace(error="refused", since_us=1, behind_s=999.0)]),
    "one-archive-behind": WELL._replace(pair=[HALF, HALF._replace(lacking=3, behind_s=121.0)]),
    "archives-differ": WELL._replace(pair=[HALF._replace(differ=2), HALF]),
    "archive-lags": WELL._replace(tables=[TABLE._replace(lag_s=121.0)]),
    "archive-hole": WELL._replace(tables=[TABLE._replace(holes=("partition p1, lsn 3 to 5",))]),
    "archive-no-key": WELL._replace(tables=[TABLE._replace(unread=("encrypted under key 2027: 2 objects",))]),
    "archive-fork": WELL._replace(tables=[TABLE._replace(forks=("partition p1 from lsn 7",))]),
    "finding": WELL._replace(tables=[TABLE._replace(findings=("unreadable on n2",))]),
    "scrub-mismatch": WELL._replace(tables=[TABLE._replace(verdict="mismatch")]),
    "verify-mismatch": WELL._replace(tables=[TABLE._replace(verify="mismatch")]),
    "scrub-overdue": WELL._replace(tables=[TABLE._replace(unproven_s=3601.0)]),
    "verify-overdue": WELL._replace(tables=[TABLE._replace(unverified_s=7201.0)]),
    "archive-unread": WELL._replace(archive=STORE._replace(unread_s=UNREAD_S + 1)),
    "first-base-owed": WELL._replace(tables=[TABLE._replace(owed=("partition p1, the row file is gone",))]),
    "ledger-unkept": WELL._replace(ledger="disk full"),
    "retention-stopped": WELL._replace(retention="a pin cannot be read"),
    "locks-not-extended": WELL._replace(locks="refused"),
    "packing-stopped": WELL._replace(packing="two histories"),
    "ttl-late": WELL._replace(ttl=[TtlHealth("birds", "t1", 7200.0, "the clock leapt")]),
    "index-late": WELL._replace(indexes=[IndexHealth("birds", "t1", "by-colour", 61.0, "no leader")]),
    "quorum-recovered": WELL._replace(cuts=[CutHealth("birds", "p1", 40, 30, "n1", 5)]),
    "split-waits": WELL._replace(splits=[SplitHealth("birds", "p1", 1_900.0, "it has no leader")]),
    "releases-differ": WELL._replace(version=VersionHealth(5, ("n2 can 5",), None)),
    "version-held": WELL._replace(version=VersionHealth(5, (), 7)),
    "transaction-pending": WELL._replace(pending=[PendingHealth("birds", "p1", "ab", "no leader")]),
    "fleet-away": WELL._replace(fleet="no worker of the fleet is there"),
    "drill-mismatch": WELL._replace(drills=[DrillHealth("rot", "1 of 6 planted faults were not found", True)]),
    "drill-failed": WELL._replace(drills=[DrillHealth("rot", "it could not be carried out", False)]),
    "drill-key": WELL._replace(drill_key="the key is another"),
}


def test_what_is_as_old_as_is_allowed_or_dropped_or_of_no_schedule_is_not_overdue() -> None:
    old = TABLE._replace(unproven_s=3600.0, unverified_s=7200.0)
    assert kinds(WELL._replace(tables=[old])) == []
    older = old._replace(unproven_s=9e9, unverified_s=9e9)
    assert kinds(WELL._replace(tables=[older])) == ["scrub-overdue", "verify-overdue"]
    assert kinds(WELL._replace(tables=[older._replace(dropped=True)])) == []
    assert kinds(WELL._replace(tables=[older], allowed=None)) == []
    assert kinds(WELL._replace(archive=STORE._replace(unread_s=UNREAD_S))) == []
    assert kinds(WELL._replace(archive=STORE._replace(unread_s=9e9), allowed=None)) == []


def test_small_segments_that_stay_are_told_of() -> None:
    found = [one for one in problems(WELL._replace(packing="two histories from LSN 3 on")) if one.subject == "compact"]
    assert [(one.kind, "two histories" in one.what) for one in found] == [("packing-stopped", True)]


def test_a_link_is_a_problem_of_its_own_only_while_both_its_ends_run_and_after_a_while() -> None:
    link = LinkHealth("n1", "n3", 10.0, "")
    assert kinds(WELL._replace(links=[link._replace(down_s=9.0)])) == []
    assert kinds(WELL._replace(links=[link])) == ["link-down"]
    for name in ("n1", "n3"):
        assert kinds(WELL._replace(links=[link], nodes=[NODE._replace(name=name, failed="EIO")])) == ["node-failed"]


def test_every_kind_has_a_case() -> None:
    assert set(CASES) == set(RULES)


@pytest.mark.parametrize("kind", CASES)
def test_a_fact_is_one_problem_by_its_name(kind: str) -> None:
    facts = CASES[kind]
    assert kinds(facts) == [kind]
    (found,) = problems(facts)
    serves = serving(facts)
    assert serves == (kind != "no-leader")
    assert health_of([found], serves=serves) == ("down" if kind == "no-leader" else "degraded")
    assert exit_of([found], serves=serves) == (2 if RULES[kind].found else 3)
    assert found.subject
    assert not re.search(r"\bNone\b", found.what)


@pytest.mark.parametrize("kind", RULES)
def test_every_kind_has_a_page_that_names_it(kind: str) -> None:
    page = ROOT / "runbooks" / RULES[kind].runbook
    assert page.is_file()
    assert f"| `{kind}` |" in (ROOT / "docs" / "ADMIN.md").read_text(encoding="utf-8")
    if RULES[kind].runbook not in ("scrub-mismatch.md", "clock-ahead.md"):
        assert f"`{kind}`" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("part", "serves"),
    [
        (PART, True),
        (PART._replace(takers=2), True),
        (PART._replace(takers=1), False),
        (PART._replace(roomy=False), False),
        (PART._replace(led=False), False),
        (PART._replace(takers=2, copies=(*COPIES, CopyHealth("n4", "ok", ""))), False),  # half of four is no quorum
    ],
)
def test_what_serves(part: PartitionHealth, serves: bool) -> None:
    facts = WELL._replace(partitions=[PART, part])
    assert serving(facts) == serves
    assert health_of(list(problems(facts)), serves=serves) == ("ok" if serves else "down")
    assert exit_of([], serves=serves) == (0 if serves else 3)


def test_an_outage_is_durable_until_the_alarm() -> None:
    down = WELL._replace(archive=STORE._replace(reachable=False, since_us=1_000_000))
    assert durable(down, now_us=121_000_000)
    assert not durable(down, now_us=121_000_001)
    for kind in ("archive-gone", "archive-fenced", "archive-diverged", "archive-fork"):
        assert not durable(CASES[kind], now_us=0)
        assert serving(CASES[kind])


def test_a_node_that_is_out_takes_its_copies_along() -> None:
    """One line, not one a partition; a copy of another node still has its own."""
    facts = WELL._replace(
        nodes=[NODE, NODE._replace(name="n2", failed="EIO")],
        partitions=[PART._replace(partition=f"p{number}", copies=copies("down")) for number in range(100)],
    )
    assert kinds(facts) == ["node-failed"]


def test_a_table_without_a_window_is_given_its_time() -> None:
    young = WELL._replace(tables=[TABLE._replace(lag_s=None, age_s=119.0)])
    assert kinds(young) == []
    assert kinds(WELL._replace(tables=[TABLE._replace(lag_s=None, age_s=121.0)])) == ["archive-lags"]
    for old in (TABLE._replace(lag_s=None, age_s=1e6), TABLE._replace(lag_s=1e6, age_s=1e6)):
        assert kinds(WELL._replace(tables=[old], up_s=119.0)) == [], (
            "a process that has just begun knows of no window yet, and has published none"
        )
        assert kinds(WELL._replace(tables=[old], up_s=121.0)) == ["archive-lags"]
    assert kinds(WELL._replace(tables=[TABLE._replace(lag_s=120.0)])) == []


def test_what_is_gone_is_not_unreachable_too() -> None:
    gone = STORE._replace(present=False, reachable=False, stopped="archive_gone", agents=(("n1", "it is gone"),))
    assert kinds(WELL._replace(archive=gone)) == ["archive-gone"]
    away = STORE._replace(reachable=False, stopped="unknown_epoch", agents=(("n1", "no answer"),))
    assert kinds(WELL._replace(archive=away)) == ["archive-unreachable"]


def test_of_a_dropped_table_only_the_history_counts() -> None:
    dropped = TABLE._replace(dropped=True, lag_s=1e6, verdict="mismatch")
    assert kinds(WELL._replace(tables=[dropped])) == []
    assert kinds(WELL._replace(tables=[dropped._replace(holes=("partition p1, lsn 3 to 5",))])) == ["archive-hole"]


def test_the_rules_know_every_kind_that_is_written_and_none_is_there_for_nothing() -> None:
    """Those that are put together (`copy-…`: see test_health; `archive-…`: of two words) are named beside their beginning."""
    written = set()
    for call in ast.walk(ast.parse((ROOT / "server" / "problems.py").read_text(encoding="utf-8"))):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "FoundProblem":
            kind = call.args[0]
            written |= {one.value for one in ast.walk(kind) if isinstance(one, ast.Constant) and isinstance(one.value, str)}
    made = {kind for kind in RULES if kind.startswith("copy-")} | {"archive-fenced", "archive-diverged"}
    assert {"copy-", "archive-"} <= written
    assert written - {"copy-", "archive-"} | made == set(RULES)
