"""What `make sim` notes: a bad seed, and one whose process died, stay in the ledger."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools" / "seeds.py"


def asked(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(TOOL), *words], capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_what_held_is_noted_with_its_counts(tmp_path: Path) -> None:
    ledger = tmp_path / "seeds.jsonl"
    ledger.write_text('{"ran": 7}\n')
    done = asked("1:3", "--profile", "consensus", "--ledger", str(ledger))
    assert done.returncode == 0, done.stderr
    earlier, line = map(json.loads, ledger.read_text().splitlines())
    assert earlier == {"ran": 7}
    assert (line["profile"], line["seeds"], line["ran"], line["bad"]) == ("consensus", "1:3", 2, [])
    assert line["events"] > 1000
    assert line["virtual_hours"] > 0
    assert sum(line["faults"].values()) > 0


def test_a_seed_whose_process_died_or_that_did_not_hold_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    tool = runpy.run_path(str(TOOL))
    monkeypatch.setattr(sys, "executable", "/bin/false")
    outcomes = tool["ran"]("consensus", 4, 6)
    held = {"seed": 6, "violation": "", "virtual_us": 3_600_000_000, "events": 5, "faults": {"cut": 2}}
    line = tool["sums"]("consensus", 4, 8, [*outcomes, held, {**held, "seed": 7, "violation": "two leases"}])
    assert line["bad"] == [4, 5, 7]
    assert (line["ran"], line["virtual_hours"], line["events"], line["faults"]) == (4, 2.0, 10, {"cut": 4})


@pytest.mark.parametrize("seeds", ["5", "2:1", "a:b", "1:1"])
def test_what_is_no_range_is_refused(seeds: str) -> None:
    done = asked(seeds)
    assert done.returncode == 64
    assert "1:51" in done.stderr
