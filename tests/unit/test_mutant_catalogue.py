"""What holds the list of mutants against the source, and the runner, against themselves. The list itself: tests/docs/test_mutants.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutants.catalogue import Mutant, collect, faults
from tests.mutants.runner import ROOT, Bench, RunnerError

KILLER = "tests/unit/consensus/test_liveness.py::test_credit_is_counted_from_sending_and_ends_before_support"
LIVENESS = "storage/consensus/liveness.py"
DRIFT = "self.options.grant_us - self.options.drift_us"
TRIED = ("epoch-once",)


def test_negative_control_a_list_that_does_not_fit_is_named(tmp_path: Path) -> None:
    (tmp_path / "some.py").write_text("twice\ntwice\nonce\n")
    (tmp_path / "test_some.py").write_text("class TestIt:\n    def test_in(self): ...\n\n\ndef test_out(): ...\n")
    good = Mutant("good", "some.py", "once", "never", ("test_some.py::test_out", "test_some.py::TestIt::test_in[1]", "test_some.py"))
    assert faults([good], tmp_path) == []
    bad = [
        good,
        Mutant("good", "some.py", "once", "never", ("test_some.py",)),
        Mutant("unclear", "some.py", "twice", "never", ("test_some.py",)),
        Mutant("moved", "some.py", "thrice", "never", ("test_some.py",)),
        Mutant("gone", "other.py", "once", "never", ("test_some.py",)),
        Mutant("idle", "some.py", "once", "once", ("test_some.py",)),
        Mutant("unkilled", "some.py", "once", "never", ()),
        Mutant("untested", "some.py", "once", "never", ("test_some.py::test_in", "test_other.py::test_out")),
    ]
    assert faults(bad, tmp_path) == [
        "good: the name occurs twice",
        "unclear: its text occurs 2 times in some.py",
        "moved: its text occurs 0 times in some.py",
        "gone: its text occurs 0 times in other.py",
        "idle: changes nothing",
        "unkilled: neither a killer nor a reason why there is none",
        "untested: no test test_some.py::test_in",
        "untested: no test test_other.py::test_out",
    ]


@pytest.mark.slow
def test_the_runner_kills_what_is_wrong_and_says_what_survives(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    for mutant in collect(("consensus",)):
        if mutant.name in TRIED:
            assert bench.try_one(mutant).killed, mutant.name
    harmless = Mutant("comment", LIVENESS, DRIFT, f"{DRIFT}  # as before", (KILLER,))
    verdict = bench.try_one(harmless)
    assert not verdict.killed
    assert "passed" in verdict.said
    with pytest.raises(RunnerError, match="does not pass without it"):
        bench.try_one(Mutant("red anyway", LIVENESS, DRIFT, "0", ("tests/unit/no_such_test.py",)))
    assert (tmp_path / LIVENESS).read_text() == (ROOT / LIVENESS).read_text()
    hangs = Mutant("hangs", LIVENESS, DRIFT, "sum(iter(int, 1))", (KILLER,))
    bench.timeout_s = 10.0
    assert bench.try_one(hangs, check_green=False).said == "cut off after 10 s"
